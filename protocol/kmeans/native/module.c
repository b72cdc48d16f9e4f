/* The Python module `protocol.kmeans._native`: checks every argument, releases the interpreter,
 * calls the kernel.
 *
 * Limited API of Python 3.11: one build serves every later version.  Arrays come through the
 * buffer protocol, contiguous, and results are written in place.  Whatever the caller passes,
 * nothing is read or written outside the arrays: every size is checked here.
 */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "step.h"

#include <string.h>

/* The rows of one call: the columns of `features`, from `first` on. */
typedef struct {
    points p;
    size_t first, rows;
    Py_buffer *held;
    const int64_t **columns;
    Py_ssize_t count; /* of held */
} table;

static int wrong(const char *what)
{
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, what);
    return 0;
}

static void release(table *t)
{
    while (t->count > 0)
        PyBuffer_Release(&t->held[--t->count]);
    PyMem_Free(t->held);
    PyMem_Free(t->columns);
}

/* Of 64-bit items, adjacent, aligned; NULL and no new buffer if not. */
static Py_buffer *items(table *t, PyObject *object)
{
    Py_buffer *view = &t->held[t->count];
    if (PyObject_GetBuffer(object, view, PyBUF_ND) < 0)
        return NULL;
    t->count++;
    if (view->ndim != 1 || view->itemsize != 8 || (uintptr_t)view->buf % 8) {
        wrong("a column is not a contiguous array of 64-bit items");
        return NULL;
    }
    return view;
}

/* Opens the columns and what is subtracted; every row of the call must lie inside each. */
static int open_table(table *t, PyObject *features, Py_ssize_t first, Py_ssize_t rows,
                      PyObject *middle)
{
    const Py_ssize_t d = PyTuple_Size(features);
    if (d < 1 || first < 0 || rows < 0 || first > PY_SSIZE_T_MAX - rows)
        return wrong("there is no feature, or rows are negative");
    t->held = PyMem_Malloc((size_t)(d + 1) * sizeof *t->held);
    t->columns = PyMem_Malloc((size_t)d * sizeof *t->columns);
    if (t->held == NULL || t->columns == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    for (Py_ssize_t j = 0; j < d; j++) {
        const Py_buffer *column = items(t, PyTuple_GetItem(features, j));
        if (column == NULL || column->shape[0] < first + rows)
            return wrong("a column is shorter than its rows");
        t->columns[j] = column->buf;
    }
    const Py_buffer *subtracted = items(t, middle);
    if (subtracted == NULL || subtracted->shape[0] != d)
        return wrong("there is not one middle per feature");
    t->p.d = (size_t)d;
    t->p.features = t->columns;
    t->p.middle = subtracted->buf;
    t->first = (size_t)first;
    t->rows = (size_t)rows;
    return 1;
}

/* Does a buffer hold `count` items of `size` bytes? */
static int holds(const Py_buffer *view, size_t count, size_t size)
{
    return (uintptr_t)view->buf % size == 0 && (size_t)view->len % size == 0 &&
           (size_t)view->len / size == count;
}

static PyObject *python_engines(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    engine found[ENGINES];
    const size_t count = engines(found);
    PyObject *names = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; names != NULL && i < count; i++)
        PyTuple_SetItem(names, (Py_ssize_t)i, PyUnicode_FromString(found[i].name));
    return names;
}

static int named(engine *e, const char *name)
{
    engine found[ENGINES];
    const size_t count = engines(found);
    for (size_t i = 0; i < count; i++)
        if (strcmp(found[i].name, name) == 0) {
            *e = found[i];
            return 1;
        }
    PyErr_Format(PyExc_ValueError, "this processor has no engine %s", name);
    return 0;
}

static PyObject *python_nearest(PyObject *self, PyObject *args)
{
    const char *name;
    PyObject *features, *middle;
    Py_ssize_t first, rows;
    Py_buffer slopes, starts, labels, sums;
    (void)self;
    if (!PyArg_ParseTuple(args, "sO!nnOy*y*w*w*", &name, &PyTuple_Type, &features, &first, &rows,
                          &middle, &slopes, &starts, &labels, &sums))
        return NULL;
    table t = {0};
    int status = 0;
    engine e;
    if (named(&e, name) && open_table(&t, features, first, rows, middle)) {
        const size_t d = t.p.d, k = (size_t)starts.len / 8;
        t.p.k = k;
        t.p.slopes = slopes.buf;
        t.p.starts = starts.buf;
        if (k < 1 || k > INT32_MAX || !holds(&starts, k, 8) || !holds(&slopes, k * d, 8)) {
            wrong("there is no centre, or a centre has not one slope per feature");
        } else if (labels.len && !holds(&labels, t.rows, 4)) {
            wrong("labels are int32, one per row or none");
        } else if (sums.len && !holds(&sums, k * (1 + d), 8)) {
            wrong("sums are 64-bit, per centre one and one per feature, or none");
        } else {
            Py_BEGIN_ALLOW_THREADS
            status = nearest(&e, &t.p, t.first, t.rows, labels.len ? labels.buf : NULL,
                             sums.len ? sums.buf : NULL);
            Py_END_ALLOW_THREADS
        }
    }
    release(&t);
    PyBuffer_Release(&slopes);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&labels);
    PyBuffer_Release(&sums);
    if (status < 0)
        return PyErr_NoMemory();
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static int in_range(const int32_t *labels, size_t rows, size_t k)
{
    for (size_t i = 0; i < rows; i++)
        if (labels[i] < 0 || (size_t)labels[i] >= k)
            return 0;
    return 1;
}

static PyObject *python_gaps(PyObject *self, PyObject *args)
{
    PyObject *features, *middle;
    Py_ssize_t first, rows;
    Py_buffer centres, scale, labels, out;
    (void)self;
    if (!PyArg_ParseTuple(args, "O!nnOy*y*y*w*", &PyTuple_Type, &features, &first, &rows, &middle,
                          &centres, &scale, &labels, &out))
        return NULL;
    table t = {0};
    if (open_table(&t, features, first, rows, middle)) {
        const size_t d = t.p.d, k = (size_t)centres.len / 8 / d;
        t.p.k = k;
        if (!holds(&centres, k * d, 8) || !holds(&scale, d, 8)) {
            wrong("centres are float64, one per feature; so is the scale");
        } else if (!holds(&labels, t.rows, 4) || !holds(&out, t.rows, 8)) {
            wrong("labels are int32 and gaps float64, one per row");
        } else if (!in_range(labels.buf, t.rows, k)) {
            wrong("a label names no centre");
        } else {
            Py_BEGIN_ALLOW_THREADS
            gaps(&t.p, centres.buf, scale.buf, t.first, t.rows, labels.buf, out.buf);
            Py_END_ALLOW_THREADS
        }
    }
    release(&t);
    PyBuffer_Release(&centres);
    PyBuffer_Release(&scale);
    PyBuffer_Release(&labels);
    PyBuffer_Release(&out);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"engines", python_engines, METH_NOARGS,
     "engines() -> tuple\n\nThe engines of this processor, the fastest first."},
    {"nearest", python_nearest, METH_VARARGS,
     "nearest(engine, features, first, rows, middle, slopes, starts, labels, sums) -> None\n\n"
     "Of `rows` rows from `first` on, out of a tuple of int64 columns: labels int32[rows] and\n"
     "sums uint64[k, 1 + d], modulo 2^64; either may be empty."},
    {"gaps", python_gaps, METH_VARARGS,
     "gaps(features, first, rows, middle, centres, scale, labels, out) -> None\n\n"
     "out[i] = the weighted squared distance of a row to the centre that labels[i] names."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "protocol.kmeans._native",
    .m_doc = "Lloyd's step over columns; protocol/kmeans/native/step.h says what.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
