/* fastopt from C and C++: kernels, and the engine that runs them. See docs/calling-from-c.md.
 *
 * All functions are in one struct, which a PyCapsule holds. After Python.h, fastopt_import() returns the struct;
 * without Python.h, Python code passes on PyCapsule_GetPointer(fastopt._c_api, "fastopt._c_api"). It remains valid for
 * the lifetime of the process. None of its functions needs or releases the GIL. */
#ifndef FASTOPT_H
#define FASTOPT_H
#include <stddef.h>
#include "fastopt_rules.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A rule's compiled kernel: a loop over n elements of each of its arrays, all of one compute type. `scalars` holds the
 * rule's scalars in that type: a fastopt_<rule>_scalars_float32 or _float64. Arrays must not overlap. A kernel uses the
 * caller's floating-point mode, whereas fastopt's functions flush subnormal numbers to zero. */
typedef void (*fastopt_kernel)(void **arrays, ptrdiff_t n, const void *scalars);

/* The storage type of an array's numbers. The first two are compute types. */
typedef enum { FASTOPT_FLOAT32, FASTOPT_FLOAT64, FASTOPT_FLOAT16, FASTOPT_BFLOAT16 } fastopt_storage;

/* The variants of a kernel, to be added up. One without a decay ignores its scalar and does not multiply by 0, so that
 * an infinite parameter remains unchanged: 0 * inf would be NaN. */
typedef enum { FASTOPT_PLAIN = 0, FASTOPT_WEIGHT_DECAY = 1, FASTOPT_DECAY = 2 } fastopt_form;

typedef struct {
    const char *name;
    int narrays, nscalars;
    const char *const *arrays;    /* their names: param, grad, then the state */
    const char *const *scalars;   /* their names: grad_scale, weight_decay, decay, then the rule's own */
    fastopt_kernel kernels[2][4]; /* by compute type and variant; NULL: the rule has no decoupled decay */
} fastopt_rule;

/* One tensor's arrays, each contiguous, with `count` elements, and aligned to their size. */
typedef struct {
    void *const *arrays;  /* in the rule's order; grad (the second) is only read */
    const int *storages;  /* the fastopt_storage of each array */
    ptrdiff_t count;
} fastopt_tensor;

/* The result of run. In case of an error, nothing has been written. */
typedef enum {
    FASTOPT_OK = 0,
    FASTOPT_NULL_POINTER = 1,    /* a required pointer is NULL */
    FASTOPT_NEGATIVE_SIZE = 2,   /* a number of elements, tensors or threads is negative */
    FASTOPT_UNKNOWN_STORAGE = 3, /* a storage is not one of fastopt_storage */
    FASTOPT_MISALIGNED = 4,      /* an array is not aligned to its elements */
    FASTOPT_OVERLAP = 5,         /* two arrays of one tensor overlap in memory */
    FASTOPT_BAD_SCALAR = 6,      /* a scalar is not finite in the compute type, grad_scale underflows in it, or decay is
                                    not 0 and the rule has none */
    FASTOPT_NO_MEMORY = 7
} fastopt_error;

#define FASTOPT_ABI_VERSION 1

typedef struct {
    int version; /* FASTOPT_ABI_VERSION; it changes if an existing member changes */
    size_t size; /* of this struct; it grows if members are appended */

    /* Return the rule of that name, a function of fastopt/rules/update.py; NULL if there is none. */
    const fastopt_rule *(*find_rule)(const char *name);

    /* Update a list of tensors in place, on up to this many threads (0: the default of fastopt.set_num_threads or the
     * environment), with the same bits as the Python functions. `scalars` is a fastopt_<rule>_scalars_float64 for all
     * storages; it determines the variant and, rounded by the engine, the scalars of the compute type: float64 if any
     * array is, else float32. Tensors must not overlap each other, which is not checked. Returns a fastopt_error. */
    int (*run)(const fastopt_rule *rule, const void *scalars, const fastopt_tensor *tensors, ptrdiff_t ntensors, int threads);

    /* Return the message of a fastopt_error. */
    const char *(*message)(int error);
} fastopt_api;

#ifdef Py_PYTHON_H
/* Return the struct, or NULL with a Python exception if fastopt is missing or has another version. Needs the GIL. */
static inline const fastopt_api *fastopt_import(void)
{
    const fastopt_api *api = (const fastopt_api *)PyCapsule_Import("fastopt._c_api", 0);
    if (api && (api->version != FASTOPT_ABI_VERSION || api->size < sizeof *api)) {
        PyErr_Format(PyExc_ImportError,
                     "the C interface of fastopt has version %d, %zu bytes; expected version %d, %zu bytes or more",
                     api->version, api->size, FASTOPT_ABI_VERSION, sizeof *api);
        return NULL;
    }
    return api;
}
#endif

#ifdef __cplusplus
}
#endif

#endif
