/* Reductions across pixels, where every column is a channel. */
#ifndef FASTOPT_NORM_REDUCE_COLUMNS_H
#define FASTOPT_NORM_REDUCE_COLUMNS_H
#include "norm/norm.h"

/* NHWC: reduce one part of `width` channels, MAX_STRIPE at most. */
void reduce_stripe(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t width, ptrdiff_t part,
                   enum statistics_pass pass);

/* The bytes of scratch memory that a thread needs for it. */
ptrdiff_t stripe_bytes(const norm_t *norm);

#endif
