/* How Python's arguments become the kernel's: checked here, so that nothing is read or written
 * outside the arrays whatever the caller passes.
 *
 * Limited API of Python 3.11: one build serves every later version.  Arrays come through the
 * buffer protocol (rows may have a stride, as columns of a memory map do) and are written in
 * place; keys are capsules, wiped when their last reference goes.
 */
#ifndef ASSENT_PYTHON_ARGUMENTS_H
#define ASSENT_PYTHON_ARGUMENTS_H

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

static inline void release(buffers *b)
{
    while (b->count > 0)
        PyBuffer_Release(&b->held[--b->count]);
}

static inline Py_buffer *take(buffers *b, PyObject *object, int flags)
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
static inline int rows_of(buffers *b, PyObject *object, int writable, matrix *m)
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

static inline int bytes_of(buffers *b, PyObject *object, const uint8_t **data, size_t *length)
{
    Py_buffer *view = take(b, object, PyBUF_SIMPLE);
    if (view == NULL)
        return 0;
    *data = view->buf;
    *length = (size_t)view->len;
    return 1;
}

/* A contiguous one-dimensional array of 64-bit items. */
static inline int words_of(buffers *b, PyObject *object, const void **data, size_t *length)
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

static inline int require(int holds, const char *what)
{
    if (!holds)
        PyErr_Format(PyExc_ValueError, "native kernel: %s", what);
    return holds;
}

static inline const engine *engine_of(const char *name)
{
    if (strcmp(name, portable_engine.name) == 0)
        return &portable_engine;
    const engine *ifma = ifma_engine();
    if (ifma != NULL && strcmp(name, ifma->name) == 0)
        return ifma;
    PyErr_Format(PyExc_ValueError, "this processor has no engine %s", name);
    return NULL;
}

static inline PyObject *done(buffers *b, int status)
{
    release(b);
    if (PyErr_Occurred())
        return NULL;
    if (status < 0)
        return PyErr_NoMemory();
    return PyBool_FromLong(status == 0);
}

/* -- the functions of the module; python_owner.c, python_public.c -- */

PyObject *python_new_owner(PyObject *self, PyObject *args);
PyObject *python_new_tables(PyObject *self, PyObject *args);
PyObject *python_encrypt(PyObject *self, PyObject *args);
PyObject *python_textbook(PyObject *self, PyObject *args);
PyObject *python_decrypt(PyObject *self, PyObject *args);
PyObject *python_below(PyObject *self, PyObject *args);
PyObject *python_all_below(PyObject *self, PyObject *args);
PyObject *python_new_public(PyObject *self, PyObject *args);
PyObject *python_products(PyObject *self, PyObject *args);
PyObject *python_multiply(PyObject *self, PyObject *args);
PyObject *python_power_of(PyObject *self, PyObject *args);
PyObject *python_weighted(PyObject *self, PyObject *args);
PyObject *python_check(PyObject *self, PyObject *args);

#endif
