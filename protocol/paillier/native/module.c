/* The Python module `protocol.paillier._native`: its table of functions. */
#include "python_arguments.h"

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

static PyMethodDef methods[] = {
    {"engines", engines, METH_NOARGS, "Names of the engines of this processor, fastest first."},
    {"radix", radix, METH_VARARGS, "(bits per limb, multiples of limbs, fewest limbs)."},
    {"owner", python_new_owner, METH_VARARGS, "A private key from its constants."},
    {"tables", python_new_tables, METH_VARARGS, "The fixed-base tables of one prime."},
    {"encrypt", python_encrypt, METH_VARARGS, "Encrypts rows from tables."},
    {"textbook", python_textbook, METH_VARARGS, "Encrypts rows with given units."},
    {"decrypt", python_decrypt, METH_VARARGS, "Decrypts rows; False if one is no ciphertext."},
    {"below", python_below, METH_VARARGS, "Uniform rows below a bound, by rejection."},
    {"all_below", python_all_below, METH_VARARGS, "Whether every row is below a bound."},
    {"public", python_new_public, METH_VARARGS, "A public key from its constants."},
    {"products", python_products, METH_VARARGS, "Products of runs of rows."},
    {"multiply", python_multiply, METH_VARARGS, "Rows times rows."},
    {"power", python_power_of, METH_VARARGS, "Rows to one public power."},
    {"weighted", python_weighted, METH_VARARGS, "Products of buckets to their numbers."},
    {"check", python_check, METH_VARARGS, "Range, common factors and fingerprints of rows."},
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
