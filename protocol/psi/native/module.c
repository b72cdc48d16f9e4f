/* The Python module `protocol.psi._native`: checks every argument, releases the interpreter,
 * calls the kernel.
 *
 * Limited API of Python 3.11: one build serves every later version.  Arrays come through the
 * buffer protocol, contiguous, and results are written in place.  Whatever the caller passes,
 * nothing is read or written outside the arrays: every size is checked here.
 */
#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "ristretto_ifma.h"
#include "sha512.h"

#define POINT 32
#define WIDE 64

static PyObject *wrong(const char *what) {
    PyErr_SetString(PyExc_ValueError, what);
    return NULL;
}

static PyObject *available(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    return PyBool_FromLong(ristretto_available());
}

static PyObject *blind(PyObject *self, PyObject *args) {
    Py_buffer scalar, rows, out;
    int derived;
    PyObject *answer = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*pw*", &scalar, &rows, &derived, &out)) return NULL;
    const Py_ssize_t width = derived ? WIDE : POINT;
    if (!ristretto_available()) {
        wrong("this processor has no AVX-512 IFMA");
    } else if (scalar.len != POINT || rows.len % width || out.len != rows.len / width * POINT) {
        wrong("a scalar is 32 bytes, a point 32, a derivation 64; as many results as rows");
    } else {
        int64_t bad;
        Py_BEGIN_ALLOW_THREADS
        bad = ristretto_blind(scalar.buf, rows.buf, derived, out.buf, (size_t)(rows.len / width));
        Py_END_ALLOW_THREADS
        answer = PyLong_FromLongLong(bad);
    }
    PyBuffer_Release(&scalar);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&out);
    return answer;
}

static PyObject *derive(PyObject *self, PyObject *args) {
    Py_buffer rows, out;
    PyObject *answer = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*w*", &rows, &out)) return NULL;
    if (!ristretto_available()) {
        wrong("this processor has no AVX-512 IFMA");
    } else if (rows.len % WIDE || out.len != rows.len / WIDE * POINT) {
        wrong("rows are 64 bytes, points 32; as many points as rows");
    } else {
        Py_BEGIN_ALLOW_THREADS
        ristretto_map(rows.buf, out.buf, (size_t)(rows.len / WIDE));
        Py_END_ALLOW_THREADS
        answer = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&rows);
    PyBuffer_Release(&out);
    return answer;
}

static PyObject *digests(PyObject *self, PyObject *args) {
    Py_buffer prefix, offsets, data, out;
    PyObject *answer = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*w*", &prefix, &offsets, &data, &out)) return NULL;
    const Py_ssize_t n = offsets.len / 4 - 1;
    if (offsets.len % 4 || (uintptr_t)offsets.buf % 4 || n < 0 || out.len != n * WIDE) {
        wrong("offsets are int32, one more than strings; a digest is 64 bytes");
    } else {
        int bad;
        Py_BEGIN_ALLOW_THREADS
        bad = sha512_strings(prefix.buf, (size_t)prefix.len, offsets.buf, data.buf,
                             (size_t)data.len, out.buf, (size_t)n);
        Py_END_ALLOW_THREADS
        answer = bad ? wrong("offsets decrease or leave the data") : Py_NewRef(Py_None);
    }
    PyBuffer_Release(&prefix);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
    return answer;
}

static PyMethodDef methods[] = {
    {"available", available, METH_NOARGS,
     "available() -> bool\n\nDoes this processor have AVX-512 IFMA?  `digests` needs no such."},
    {"blind", blind, METH_VARARGS,
     "blind(scalar, rows, derived, out) -> int\n\n"
     "out[i] = scalar times point i of rows (uint8[n, 32], or with derived uint8[n, 64]).\n"
     "-1, the index of the first bad row, or -2: a derived point was the identity.\n"
     "The scalar must lie in 1…ℓ-1, which the caller checks."},
    {"derive", derive, METH_VARARGS,
     "derive(wide, out) -> None\n\nout[i] = the element of the 64 bytes of row i of wide."},
    {"digests", digests, METH_VARARGS,
     "digests(prefix, offsets, data, out) -> None\n\n"
     "out[i] = SHA-512(prefix | length | string i) of an Arrow string column."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "protocol.psi._native",
    .m_doc = "ristretto255 and SHA-512 over batches; protocol/psi/native/*.h say what.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
