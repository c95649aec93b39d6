/* Properties of a plan that all parts of a norm's run query. */
#ifndef FASTOPT_NORM_PLAN_H
#define FASTOPT_NORM_PLAN_H
#include "core/util.h"
#include "norm/norm.h"
#include <string.h>

static inline int is_backward(const norm_t *norm) { return norm->op >= BACKWARD; }

static inline int is_addition(const norm_t *norm) { return norm->op == ADDITION || norm->op == ADDITION_BACKWARD; }

/* True if deviations are reduced, as opposed to terms of gradients. */
static inline int reduces_deviations(const norm_t *norm)
{
    return norm->reductions[REDUCE_PARTIAL][FIRST_PASS] == DEVIATIONS;
}

static inline int reduces_nothing(const norm_t *norm)
{
    return norm->reductions[REDUCE_PARTIAL][FIRST_PASS] == NO_KERNEL;
}

/* True if each channel has exactly one statistic of its own: its gradients are known as soon as its sums are. */
static inline int has_own_channels(const norm_t *norm)
{
    return norm->layout != ROWS && norm->outer.count == 1 && norm->per_group == 1;
}

/* True for a statistic between its first and its second pass */
static inline int needs_second_pass(const norm_t *norm, ptrdiff_t statistic) { return norm->rstd[statistic] < 0; }

/* ROWS: the statistic of a sample. With several groups, a tile has one row, and columns of one group. */
static inline ptrdiff_t statistic_of(const norm_t *norm, ptrdiff_t row, ptrdiff_t col)
{
    return norm->groups == 1 ? row : row * norm->groups + col / norm->per_group;
}

/* ---- Numbers of the compute type */

static inline void set_real(const norm_t *norm, char *array, ptrdiff_t index, double value)
{
    if (norm->compute == FLOAT64)
        ((double *)array)[index] = value;
    else
        ((float *)array)[index] = (float)value;
}

static inline double get_real(const norm_t *norm, const char *array, ptrdiff_t index)
{
    return norm->compute == FLOAT64 ? ((const double *)array)[index] : ((const float *)array)[index];
}

/* Store values in an array of the compute type. */
static inline void copy_reals(enum storage type, char *to, const double *from, ptrdiff_t count)
{
    if (type == FLOAT64)
        memcpy(to, from, (size_t)count * sizeof(double));
    for (ptrdiff_t i = 0; i < count && type != FLOAT64; i++)
        ((float *)to)[i] = (float)from[i];
}

/* The type in which terms are computed */
static inline enum storage type_of_terms(const norm_t *norm, enum statistics_pass pass)
{
    return pass == SECOND_PASS ? FLOAT64 : norm->compute;
}

/* ---- Distances in memory: in bytes, and in elements of the kernels' arrays */

/* A division by a divisor unknown to the compiler takes as long as ten elements. */
static inline ptrdiff_t in_elements(const norm_t *norm, ptrdiff_t bytes)
{
    if (norm->element == FLOAT64)
        return bytes / 8;
    return norm->element == FLOAT32 ? bytes / 4 : bytes / 2;
}

static inline ptrdiff_t in_bytes(const norm_t *norm, ptrdiff_t elements)
{
    return elements * storage_size(norm->element);
}

/* ---- Scratch memory of a thread */

/* A thread's memory for tiles, or for reducing scattered elements: it would exceed the stacks of some threads. */
#define THREAD_SCRATCH_BYTES 53248

static inline void *thread_scratch_of(const norm_t *norm, int thread)
{
    return norm->thread_scratch + (ptrdiff_t)thread * THREAD_SCRATCH_BYTES;
}

#endif
