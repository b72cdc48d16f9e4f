/* The module's functions that need a private key, and the drawing of exponents.
 *
 * Who runs it: `protocol.paillier.native_keys.OwnerKey`.
 */
#include "python_arguments.h"

#define OWNER "assent.owner"
#define TABLES "assent.tables"

static void drop_owner(PyObject *capsule)
{
    owner_free(PyCapsule_GetPointer(capsule, OWNER));
}

static void drop_tables(PyObject *capsule)
{
    tables_free(PyCapsule_GetPointer(capsule, TABLES));
}

PyObject *python_new_owner(PyObject *self, PyObject *args)
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

PyObject *python_new_tables(PyObject *self, PyObject *args)
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

PyObject *python_encrypt(PyObject *self, PyObject *args)
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

PyObject *python_textbook(PyObject *self, PyObject *args)
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

PyObject *python_decrypt(PyObject *self, PyObject *args)
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
PyObject *python_below(PyObject *self, PyObject *args)
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

PyObject *python_all_below(PyObject *self, PyObject *args)
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
