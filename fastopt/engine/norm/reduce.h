/* Sums of terms: over a part of a channel's space, over a sample's channels, or over all pixels of some channels. */
#ifndef FASTOPT_NORM_REDUCE_H
#define FASTOPT_NORM_REDUCE_H
#include "norm/norm.h"

/* NCHW: reduce one part of a channel. */
void reduce_channel(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t part,
                    enum statistics_pass pass);

/* ROWS: reduce one part of several statistics, at most samples_per_call of them. */
void reduce_samples(const norm_t *norm, int thread, ptrdiff_t at, ptrdiff_t count, ptrdiff_t part,
                    enum statistics_pass pass);

/* The number of statistics, starting at this one, that one call reduces in this pass. */
ptrdiff_t samples_per_call(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum statistics_pass pass);

/* NHWC: reduce one part of `width` channels, at most MAX_STRIPE. */
void reduce_stripe(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t width, ptrdiff_t part,
                   enum statistics_pass pass);

/* The bytes of scratch memory that this requires per thread. */
ptrdiff_t stripe_bytes(const norm_t *norm);

/* ---- Functions for both */

/* Set the values from which deviations of some statistics are measured. */
void centres_of(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum statistics_pass pass, double *centres);

/* Set the parameters of some statistics' reductions; return the number of parameters. */
int reduce_parameters(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum statistics_pass pass, double *first,
                      double *second);

/* The elements that a partial reducer adds to lanes, `width` per pixel; pixels are contiguous. */
typedef struct {
    ptrdiff_t width;
    char *starts[ARRAYS];      /* addresses of the elements to reduce next; of WEIGHT, or NULL */
    ptrdiff_t aheads[ARRAYS];  /* prefetch distance in elements; 0: no prefetching */
    char *parameters[2];       /* of the kernel */
    ptrdiff_t parameter_bytes; /* bytes between the parameters of two columns; 0: the same for all columns */
    double *lanes[2];          /* LANES times `width` sums */
} line_t;

/* Add this many pixels, the first of which belongs to lane 0. */
void add_line(const norm_t *norm, const line_t *line, ptrdiff_t pixels, enum statistics_pass pass);

#endif
