/* Weights and statistics in the caller's arrays. */
#ifndef FASTOPT_NORM_VECTORS_H
#define FASTOPT_NORM_VECTORS_H
#include "norm/plan.h"
#include <float.h>
#include <math.h>

/* The smallest normal number. With eps = 0, equal values would otherwise give 0 * inf. */
static inline double least_variance(const norm_t *norm) { return norm->compute == FLOAT64 ? DBL_MIN : FLT_MIN; }

/* The reciprocal root of a variance plus eps, which is at least `least`. */
static inline double rstd_of(double variance, double least)
{
    return 1 / sqrt(variance >= 0 && variance < least ? least : variance);
}

/* Load values at, ..., at + count - 1 of a given array, in the compute type or as doubles. */
void load_reals(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, char *to);
void load_doubles(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, double *to);

/* Store values, rounded once to the compute type and then to the array's storage type; do nothing without an array. */
void store_doubles(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, const double *from);

/* running = (1 - momentum) * running + momentum * factor * batch, limited to finite numbers, for up to STAT_BLOCK
 * values. */
void update_running(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, const double *batch,
                    double factor);

/* Load the given mean and rstd of a call. */
void given_statistics(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, double *mean, double *rstd);

#endif
