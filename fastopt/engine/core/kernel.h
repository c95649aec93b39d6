/* A kernel is a rule compiled into a loop over one contiguous run of its compute type. */
#ifndef FASTOPT_KERNEL_H
#define FASTOPT_KERNEL_H
#include "fastopt_specs.h"
#include <stddef.h>

/* The maximum number of arrays and of scalars of a rule (the gradient's two scalars included). The rules in
 * rules/update.py use far fewer. */
#define MAX_ARRAYS 8
#define MAX_SCALARS 32

typedef void (*kernel_t)(void **arrays, ptrdiff_t n, const void *scalars);

/* The bytes of a number. The compute type is float64 if any array of a call is float64, otherwise float32. */
static inline ptrdiff_t storage_size(enum storage storage)
{
    static const unsigned char sizes[STORAGES] = STORAGE_SIZES;
    return sizes[storage];
}

#endif
