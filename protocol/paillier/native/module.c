/* The Python module `protocol.paillier._native`: checks every argument, releases the interpreter,
 * calls the kernel.
 *
 * Limited API of Python 3.11: one build serves every later version.  Arrays come through the
 * buffer protocol (rows may have a stride, as columns of a memory map do) and are written in
 * place; keys are capsules, wiped when their last reference goes.  Whatever the caller passes,
 * nothing is read or written outside the arrays: widths, counts and indices are checked here.
 */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "native.h"

#include <string.h>

#define MOST 8

/* The buffers of one call, released together. */
typedef struct {
    Py_buffer held[MOST];
    int count;
} buffers;

static void release(buffers *b)
{
    while (b->count > 0)
        PyBuffer_Release(&b->held[--b->count]);
}

static Py_buffer *take(buffers *b, PyObject *object, int flags)
{
    if (b->count == MOST) {
        PyErr_SetString(PyExc_SystemError, "too many buffers in one call");
        return NULL;
    }
    Py_buffer *view = &b->held[b->count];
    if (PyObject_GetBuffer(object, view, flags) < 0)
        return NULL;
    b->count++;
    return view;
}

/* uint8[rows, width], bytes of a row adjacent. */
static int rows_of(buffers *b, PyObject *object, int writable, matrix *m)
{
    Py_buffer *view = take(b, object, PyBUF_STRIDES | (writable ? PyBUF_WRITABLE : 0));
    if (view == NULL)
        return 0;
    if (view->ndim != 2 || view->itemsize != 1 || (view->shape[1] > 1 && view->strides[1] != 1) ||
        view->shape[1] < 1) {
        PyErr_SetString(PyExc_ValueError, "an array is not uint8[rows, width]");
        return 0;
    }
    *m = (matrix){view->buf, view->strides[0], (size_t)view->shape[0], (size_t)view->shape[1]};
    return 1;
}

static int bytes_of(buffers *b, PyObject *object, const uint8_t **data, size_t *length)
{
    Py_buffer *view = take(b, object, PyBUF_SIMPLE);
    if (view == NULL)
        return 0;
    *data = view->buf;
    *length = (size_t)view->len;
    return 1;
}

/* A contiguous one-dimensional array of 64-bit items. */
static int words_of(buffers *b, PyObject *object, const void **data, size_t *length)
{
    Py_buffer *view = take(b, object, PyBUF_ND);
    if (view == NULL)
        return 0;
    if (view->ndim != 1 || view->itemsize != 8) {
        PyErr_SetString(PyExc_ValueError, "an array does not have 64-bit items");
        return 0;
    }
    *data = view->buf;
    *length = (size_t)view->shape[0];
    return 1;
}

static int require(int holds, const char *what)
{
    if (!holds)
        PyErr_Format(PyExc_ValueError, "native kernel: %s", what);
    return holds;
}

static const engine *engine_of(const char *name)
{
    if (strcmp(name, portable_engine.name) == 0)
        return &portable_engine;
    const engine *ifma = ifma_engine();
    if (ifma != NULL && strcmp(name, ifma->name) == 0)
        return ifma;
    PyErr_Format(PyExc_ValueError, "this processor has no engine %s", name);
    return NULL;
}

#define OWNER "assent.owner"
#define TABLES "assent.tables"
#define PUBLIC "assent.public"

static void drop_owner(PyObject *capsule)
{
    owner_free(PyCapsule_GetPointer(capsule, OWNER));
}

static void drop_tables(PyObject *capsule)
{
    tables_free(PyCapsule_GetPointer(capsule, TABLES));
}

static void drop_public(PyObject *capsule)
{
    public_free(PyCapsule_GetPointer(capsule, PUBLIC));
}

static PyObject *done(buffers *b, int status)
{
    release(b);
    if (PyErr_Occurred())
        return NULL;
    if (status < 0)
        return PyErr_NoMemory();
    return PyBool_FromLong(status == 0);
}

/* -- what there is -------------------------------------------------------------------------- */

static PyObject *engines(PyObject *self, PyObject *none)
{
    (void)self;
    (void)none;
    const engine *ifma = ifma_engine();
    if (ifma != NULL)
        return Py_BuildValue("(ss)", ifma->name, portable_engine.name);
    return Py_BuildValue("(s)", portable_engine.name);
}

static PyObject *radix(PyObject *self, PyObject *args)
{
    const char *name;
    (void)self;
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    const engine *e = engine_of(name);
    return e == NULL ? NULL : Py_BuildValue("(iii)", e->radix, e->step, MIN_LIMBS);
}

/* -- the owner ------------------------------------------------------------------------------ */

static PyObject *new_owner(PyObject *self, PyObject *args)
{
    const char *name;
    int half;
    PyObject *data;
    matrix constants;
    buffers b = {.count = 0};
    (void)self;
    if (!PyArg_ParseTuple(args, "siO", &name, &half, &data))
        return NULL;
    const engine *e = engine_of(name);
    owner *made = NULL;
    if (e != NULL && rows_of(&b, data, 0, &constants) &&
        require(constants.rows == 2 * C_COUNT && constants.stride == (ptrdiff_t)constants.width,
                "wrong number of constants") &&
        require(half >= MIN_LIMBS && 2 * half <= MAX_LIMBS && half % e->step == 0,
                "a prime has a size that is not supported") &&
        require(8 * constants.width <= 2 * (size_t)half * (size_t)e->radix, "constants too wide")) {
        made = owner_new(e, half, constants.data, constants.width);
        require(made != NULL, "the constants are no key's, or memory is short");
    }
    release(&b);
    return made == NULL ? NULL : PyCapsule_New(made, OWNER, drop_owner);
}

static PyObject *new_tables(PyObject *self, PyObject *args)
{
    const char *name;
    int half, window, count;
    PyObject *r, *s, *first;
    matrix residues, slopes;
    const uint8_t *start;
    size_t width;
    buffers b = {.count = 0};
    (void)self;
    if (!PyArg_ParseTuple(args, "siiiOOO", &name, &half, &window, &count, &r, &s, &first))
        return NULL;
    const engine *e = engine_of(name);
    tables *made = NULL;
    if (e != NULL && rows_of(&b, r, 0, &residues) && rows_of(&b, s, 0, &slopes) &&
        bytes_of(&b, first, &start, &width) &&
        require(half >= MIN_LIMBS && 2 * half <= MAX_LIMBS && half % e->step == 0,
                "a prime has a size that is not supported") &&
        require(window >= 1 && window <= MAX_WINDOW && count >= 1 && count <= 4096,
                "a window that is not supported") &&
        require(residues.rows == (size_t)count << window && slopes.rows == residues.rows &&
                    residues.width * 8 <= (size_t)half * (size_t)e->radix &&
                    slopes.width * 8 <= (size_t)half * (size_t)e->radix,
                "tables of another size")) {
        made = tables_new(e, half, window, count, &residues, &slopes, start, width);
        if (made == NULL)
            PyErr_NoMemory();
    }
    release(&b);
    return made == NULL ? NULL : PyCapsule_New(made, TABLES, drop_tables);
}

static int plain_fits(const owner *o, const matrix *plain, const matrix *out)
{
    return require(plain->rows == out->rows && out->width == 2 * plain->width &&
                       8 * plain->width <= 2 * (size_t)o->half * (size_t)o->e->radix,
                   "plaintexts and ciphertexts of other sizes");
}

static PyObject *encrypt(PyObject *self, PyObject *args)
{
    PyObject *key, *of_p, *of_q, *a, *c, *m, *to;
    matrix ep, eq, plain, out;
    buffers b = {.count = 0};
    int status = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOOO", &key, &of_p, &of_q, &a, &c, &m, &to))
        return NULL;
    const owner *o = PyCapsule_GetPointer(key, OWNER);
    const tables *tp = o == NULL ? NULL : PyCapsule_GetPointer(of_p, TABLES);
    const tables *tq = tp == NULL ? NULL : PyCapsule_GetPointer(of_q, TABLES);
    if (tq != NULL && rows_of(&b, a, 0, &ep) && rows_of(&b, c, 0, &eq) &&
        rows_of(&b, m, 0, &plain) && rows_of(&b, to, 1, &out) && plain_fits(o, &plain, &out) &&
        require(tp->e == o->e && tq->e == o->e && tp->half == o->half && tq->half == o->half,
                "tables of another key") &&
        require(ep.rows == out.rows && eq.rows == out.rows && ep.width <= out.width &&
                    eq.width <= out.width,
                "exponents of another size")) {
        Py_BEGIN_ALLOW_THREADS
        status = owner_encrypt(o, tp, tq, &ep, &eq, &plain, &out);
        Py_END_ALLOW_THREADS
    }
    return done(&b, status);
}

static PyObject *textbook(PyObject *self, PyObject *args)
{
    PyObject *key, *of_p, *of_q, *r, *m, *to;
    matrix units, plain, out;
    const uint8_t *np, *nq;
    size_t wp, wq;
    buffers b = {.count = 0};
    int status = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOO", &key, &of_p, &of_q, &r, &m, &to))
        return NULL;
    const owner *o = PyCapsule_GetPointer(key, OWNER);
    if (o != NULL && bytes_of(&b, of_p, &np, &wp) && bytes_of(&b, of_q, &nq, &wq) &&
        rows_of(&b, r, 0, &units) && rows_of(&b, m, 0, &plain) && rows_of(&b, to, 1, &out) &&
        plain_fits(o, &plain, &out) &&
        require(wp == wq && wp > 0 && wp <= out.width, "exponents of another size") &&
        require(units.rows == out.rows && units.width == plain.width, "units of another size")) {
        Py_BEGIN_ALLOW_THREADS
        status = owner_textbook(o, np, nq, wp, &units, &plain, &out);
        Py_END_ALLOW_THREADS
    }
    return done(&b, status);
}

static PyObject *decrypt(PyObject *self, PyObject *args)
{
    PyObject *key, *from, *to;
    matrix cts, out;
    buffers b = {.count = 0};
    int status = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOO", &key, &from, &to))
        return NULL;
    const owner *o = PyCapsule_GetPointer(key, OWNER);
    if (o != NULL && rows_of(&b, from, 0, &cts) && rows_of(&b, to, 1, &out) &&
        plain_fits(o, &out, &cts)) {
        Py_BEGIN_ALLOW_THREADS
        status = owner_decrypt(o, &cts, &out);
        Py_END_ALLOW_THREADS
    }
    return done(&b, status);
}

/* Keeps the rows of `drawn` that are below `bound`, once `top` has masked their last byte. */
static PyObject *below(PyObject *self, PyObject *args)
{
    PyObject *from, *limit, *to;
    unsigned char top;
    matrix drawn, out;
    const uint8_t *bound;
    size_t width, kept = 0;
    buffers b = {.count = 0};
    (void)self;
    if (!PyArg_ParseTuple(args, "ObOO", &from, &top, &limit, &to))
        return NULL;
    if (rows_of(&b, from, 1, &drawn) && bytes_of(&b, limit, &bound, &width) &&
        rows_of(&b, to, 1, &out) &&
        require(drawn.width == width && out.width == width, "rows of other sizes")) {
        for (size_t i = 0; i < drawn.rows && kept < out.rows; i++) {
            uint8_t *at = row(&drawn, i);
            at[width - 1] &= top;
            if (less(at, bound, width))
                memcpy(row(&out, kept++), at, width);
            wipe(at, width);
        }
    }
    release(&b);
    return PyErr_Occurred() ? NULL : PyLong_FromSize_t(kept);
}

static PyObject *all_below(PyObject *self, PyObject *args)
{
    PyObject *from, *limit;
    matrix rows;
    const uint8_t *bound;
    size_t width;
    int well = 1;
    buffers b = {.count = 0};
    (void)self;
    if (!PyArg_ParseTuple(args, "OO", &from, &limit))
        return NULL;
    if (rows_of(&b, from, 0, &rows) && bytes_of(&b, limit, &bound, &width) &&
        require(rows.width == width, "rows of another size"))
        for (size_t i = 0; i < rows.rows; i++)
            well &= less(row(&rows, i), bound, width);
    return done(&b, !well);
}

/* -- anybody -------------------------------------------------------------------------------- */

static PyObject *new_public(PyObject *self, PyObject *args)
{
    const char *name;
    int n_limbs, limbs;
    PyObject *object[4];
    const uint8_t *data[4] = {NULL};
    size_t width[4] = {0};
    buffers b = {.count = 0};
    (void)self;
    if (!PyArg_ParseTuple(args, "siiOOOO", &name, &n_limbs, &limbs, &object[0], &object[1],
                          &object[2], &object[3]))
        return NULL;
    const engine *e = engine_of(name);
    int well = e != NULL;
    for (int i = 0; i < 4 && well; i++)
        well = bytes_of(&b, object[i], &data[i], &width[i]) &&
               require(width[i] == width[0] && width[i] > 0, "constants of other sizes");
    public_key *made = NULL;
    if (well && require(n_limbs >= MIN_LIMBS && limbs >= n_limbs && limbs <= MAX_LIMBS &&
                            2 * n_limbs >= limbs && limbs % e->step == 0 &&
                            n_limbs % e->step == 0 &&
                            8 * width[0] < (size_t)limbs * (size_t)e->radix &&
                            8 * width[0] <= 2 * (size_t)n_limbs * (size_t)e->radix,
                        "a modulus has a size that is not supported")) {
        made = public_new(e, n_limbs, limbs, data[0], data[1], data[2], data[3], width[0]);
        require(made != NULL, "the constants are no key's, or memory is short");
    }
    release(&b);
    return made == NULL ? NULL : PyCapsule_New(made, PUBLIC, drop_public);
}

static int runs_fit(const int64_t *order, size_t ordered, const int64_t *runs, size_t count,
                    size_t rows)
{
    for (size_t i = 0; i < count; i++) {
        const int64_t start = runs[2 * i], end = runs[2 * i + 1];
        if (start < 0 || end < start || (uint64_t)end > ordered || end - start > MAX_RUN)
            return 0;
        for (int64_t j = start; j < end; j++)
            if (order[j] < 0 || (uint64_t)order[j] >= rows)
                return 0;
    }
    return 1;
}

static PyObject *products(PyObject *self, PyObject *args)
{
    PyObject *key, *from, *which, *cut, *to;
    matrix cts, out;
    const void *order, *runs;
    size_t ordered, cuts;
    buffers b = {.count = 0};
    int status = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOO", &key, &from, &which, &cut, &to))
        return NULL;
    const public_key *k = PyCapsule_GetPointer(key, PUBLIC);
    if (k != NULL && rows_of(&b, from, 0, &cts) && words_of(&b, which, &order, &ordered) &&
        words_of(&b, cut, &runs, &cuts) && rows_of(&b, to, 1, &out) &&
        require(cts.width == k->width && out.width == k->width, "rows of another width") &&
        require(cuts == 2 * out.rows && runs_fit(order, ordered, runs, out.rows, cts.rows),
                "runs outside the rows")) {
        Py_BEGIN_ALLOW_THREADS
        status = public_products(k, &cts, order, runs, &out);
        Py_END_ALLOW_THREADS
    }
    return done(&b, status);
}

static PyObject *multiply(PyObject *self, PyObject *args)
{
    PyObject *key, *left, *right, *to;
    matrix x, y, out;
    buffers b = {.count = 0};
    int status = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOO", &key, &left, &right, &to))
        return NULL;
    const public_key *k = PyCapsule_GetPointer(key, PUBLIC);
    if (k != NULL && rows_of(&b, left, 0, &x) && rows_of(&b, right, 0, &y) &&
        rows_of(&b, to, 1, &out) &&
        require(x.width == k->width && y.width == k->width && out.width == k->width &&
                    x.rows == out.rows && y.rows == out.rows,
                "rows of another width or number")) {
        Py_BEGIN_ALLOW_THREADS
        status = public_multiply(k, &x, &y, &out);
        Py_END_ALLOW_THREADS
    }
    return done(&b, status);
}

static PyObject *power_of(PyObject *self, PyObject *args)
{
    PyObject *key, *from, *by, *to;
    int bits;
    matrix x, out;
    const uint8_t *data;
    size_t length;
    buffers b = {.count = 0};
    int status = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOiO", &key, &from, &by, &bits, &to))
        return NULL;
    const public_key *k = PyCapsule_GetPointer(key, PUBLIC);
    if (k != NULL && rows_of(&b, from, 0, &x) && bytes_of(&b, by, &data, &length) &&
        rows_of(&b, to, 1, &out) &&
        require(x.width <= k->width && out.width == k->width && x.rows == out.rows,
                "rows of another width or number") &&
        require(bits >= 0 && (size_t)bits <= 8 * length, "an exponent shorter than said")) {
        exponent exp = {data, bits, 0};
        Py_BEGIN_ALLOW_THREADS
        status = public_power(k, &x, exp, &out);
        Py_END_ALLOW_THREADS
    }
    return done(&b, status);
}

static PyObject *weighted(PyObject *self, PyObject *args)
{
    PyObject *key, *from, *undo, *to;
    Py_ssize_t count;
    matrix buckets, out;
    const uint8_t *fix;
    size_t width;
    buffers b = {.count = 0};
    int status = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOnOO", &key, &from, &count, &undo, &to))
        return NULL;
    const public_key *k = PyCapsule_GetPointer(key, PUBLIC);
    if (k != NULL && rows_of(&b, from, 0, &buckets) && bytes_of(&b, undo, &fix, &width) &&
        rows_of(&b, to, 1, &out) &&
        require(buckets.width == k->width && out.width == k->width && width == k->width,
                "rows of another width") &&
        require(count >= 1 && count <= 1 << 20 && buckets.rows / (size_t)count == out.rows &&
                    buckets.rows % (size_t)count == 0,
                "buckets of another number")) {
        Py_BEGIN_ALLOW_THREADS
        status = public_weighted(k, &buckets, (size_t)count, fix, &out);
        Py_END_ALLOW_THREADS
    }
    return done(&b, status);
}

static PyObject *check(PyObject *self, PyObject *args)
{
    PyObject *key, *from, *by, *digests, *to;
    matrix cts, prints, product;
    const void *keys;
    size_t words;
    buffers b = {.count = 0};
    int status = 0;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOO", &key, &from, &by, &digests, &to))
        return NULL;
    const public_key *k = PyCapsule_GetPointer(key, PUBLIC);
    if (k != NULL && rows_of(&b, from, 0, &cts) && words_of(&b, by, &keys, &words) &&
        rows_of(&b, digests, 1, &prints) && rows_of(&b, to, 1, &product) &&
        require(cts.width == k->width && words >= 4 * ((k->width + 7) / 8), "rows of another width") &&
        require(prints.rows == cts.rows && prints.width == 16 && product.rows == LANES,
                "results of another size")) {
        Py_BEGIN_ALLOW_THREADS
        status = public_check(k, &cts, keys, &prints, &product);
        Py_END_ALLOW_THREADS
    }
    return done(&b, status);
}

static PyMethodDef methods[] = {
    {"engines", engines, METH_NOARGS, "Names of the engines of this processor, fastest first."},
    {"radix", radix, METH_VARARGS, "(bits per limb, multiples of limbs, fewest limbs)."},
    {"owner", new_owner, METH_VARARGS, "A private key from its constants."},
    {"tables", new_tables, METH_VARARGS, "The fixed-base tables of one prime."},
    {"encrypt", encrypt, METH_VARARGS, "Encrypts rows from tables."},
    {"textbook", textbook, METH_VARARGS, "Encrypts rows with given units."},
    {"decrypt", decrypt, METH_VARARGS, "Decrypts rows; False if one is no ciphertext."},
    {"below", below, METH_VARARGS, "Uniform rows below a bound, by rejection."},
    {"all_below", all_below, METH_VARARGS, "Whether every row is below a bound."},
    {"public", new_public, METH_VARARGS, "A public key from its constants."},
    {"products", products, METH_VARARGS, "Products of runs of rows."},
    {"multiply", multiply, METH_VARARGS, "Rows times rows."},
    {"power", power_of, METH_VARARGS, "Rows to one public power."},
    {"weighted", weighted, METH_VARARGS, "Products of buckets to their numbers."},
    {"check", check, METH_VARARGS, "Range, common factors and fingerprints of rows."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "protocol.paillier._native",
    .m_doc = "Batched Paillier arithmetic; see protocol.paillier.native.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModule_Create(&definition);
}
