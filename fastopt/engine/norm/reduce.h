/* What all reductions have in common: their parameters, and how full reducers are called. */
#ifndef FASTOPT_NORM_REDUCE_H
#define FASTOPT_NORM_REDUCE_H
#include "norm/norm.h"

/* The values that deviations of some statistics are measured from. */
void centres_of(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum statistics_pass pass, double *centres);

/* The parameters of some statistics' reductions. Return how many there are. */
int reduce_parameters(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum statistics_pass pass, double *first,
                      double *second);

/* Run a kernel that writes the sums of `count` statistics, MAX_REDUCED_ROWS at most: one row of its arrays for each. */
void reduce_full(const norm_t *norm, enum reducer reducer, void **arrays, const ptrdiff_t *sizes, ptrdiff_t at,
                 ptrdiff_t count, enum statistics_pass pass, ptrdiff_t sum);

#endif
