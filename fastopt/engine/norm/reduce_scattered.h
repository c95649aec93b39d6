/* Reductions along an axis whose elements lie together in short runs. */
#ifndef FASTOPT_NORM_REDUCE_SCATTERED_H
#define FASTOPT_NORM_REDUCE_SCATTERED_H
#include "norm/norm.h"

/* True if elements along these axes can be reduced where they lie. */
int can_reduce_scattered(const norm_t *norm, const axes_t *axes, enum statistics_pass pass);

/* Reduce elements at, ..., end - 1 of a statistic, a part of a sum at most; `bases` are the arrays' elements 0. */
void reduce_scattered(const norm_t *norm, int thread, const axes_t *axes, char *const *bases, ptrdiff_t at,
                      ptrdiff_t end, ptrdiff_t statistic, enum statistics_pass pass, ptrdiff_t sum);

#endif
