/* Weights and statistics, in the arrays of the caller. */
#ifndef FASTOPT_NORM_VECTORS_H
#define FASTOPT_NORM_VECTORS_H
#include "norm/plan.h"
#include <float.h>
#include <math.h>

/* The smallest normal number. With eps = 0, values that are all equal would have 0 * inf otherwise. */
static inline double least_variance(const norm_t *norm) { return norm->compute == FLOAT64 ? DBL_MIN : FLT_MIN; }

/* The reciprocal root of a variance plus eps, which is at least `least`. */
static inline double rstd_of(double variance, double least)
{
    return 1 / sqrt(variance >= 0 && variance < least ? least : variance);
}

/* Load values at, ..., at + count - 1 of an array that is given: in the compute type, or as doubles. */
void load_reals(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, char *to);
void load_doubles(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, double *to);

/* Store values, each rounded once to the compute type and then to what the array stores; nothing, if there is none. */
void store_doubles(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, const double *from);

/* running = (1 - momentum) * running + momentum * factor * batch, which saturates rather than become infinite; of
 * STAT_BLOCK values at most. */
void update_running(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, const double *batch,
                    double factor);

/* Load the mean and the rstd that a call is given. */
void given_statistics(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, double *mean, double *rstd);

#endif
