/* Reductions along one axis: the space of a channel, or the channels of a sample. */
#ifndef FASTOPT_NORM_REDUCE_ROWS_H
#define FASTOPT_NORM_REDUCE_ROWS_H
#include "norm/norm.h"

/* NCHW: reduce one part of a channel. */
void reduce_channel(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t part,
                    enum statistics_pass pass);

/* ROWS: reduce one part of so many statistics, at most as many as samples_per_call says. */
void reduce_samples(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, ptrdiff_t part, enum statistics_pass pass);

/* How many statistics, from this one on, one call reduces in this pass. */
ptrdiff_t samples_per_call(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum statistics_pass pass);

#endif
