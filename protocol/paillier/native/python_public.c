/* The module's functions that need a public key only.
 *
 * Who runs it: `protocol.paillier.native_keys.SharedKey`.
 */
#include "python_arguments.h"

#define PUBLIC "assent.public"

static void drop_public(PyObject *capsule)
{
    public_free(PyCapsule_GetPointer(capsule, PUBLIC));
}

PyObject *python_new_public(PyObject *self, PyObject *args)
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

PyObject *python_products(PyObject *self, PyObject *args)
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

PyObject *python_multiply(PyObject *self, PyObject *args)
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

PyObject *python_power_of(PyObject *self, PyObject *args)
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

PyObject *python_weighted(PyObject *self, PyObject *args)
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

PyObject *python_check(PyObject *self, PyObject *args)
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
