/* Sums of terms: of a part of a channel's space, of a sample's channels, or of all pixels of some channels. */
#ifndef FASTOPT_NORM_REDUCE_H
#define FASTOPT_NORM_REDUCE_H
#include "norm/norm.h"

/* NCHW: reduce one part of a channel. */
void reduce_channel(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t part,
                    enum statistics_pass pass);

/* ROWS: reduce one part of so many statistics, at most as many as samples_per_call says. */
void reduce_samples(const norm_t *norm, int thread, ptrdiff_t at, ptrdiff_t count, ptrdiff_t part,
                    enum statistics_pass pass);

/* How many statistics, from this one on, one call reduces in this pass. */
ptrdiff_t samples_per_call(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum statistics_pass pass);

/* NHWC: reduce one part of `width` channels, MAX_STRIPE at most. */
void reduce_stripe(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t width, ptrdiff_t part,
                   enum statistics_pass pass);

/* The bytes of scratch memory that a thread needs for it. */
ptrdiff_t stripe_bytes(const norm_t *norm);

/* ---- What these have in common */

/* The values that deviations of some statistics are measured from. */
void centres_of(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum statistics_pass pass, double *centres);

/* The parameters of some statistics' reductions. Return how many there are. */
int reduce_parameters(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum statistics_pass pass, double *first,
                      double *second);

/* Elements that a partial reducer adds to lanes, `width` of each pixel; pixels lie end to end. */
typedef struct {
    ptrdiff_t width;
    char *starts[ARRAYS];      /* the addresses of the elements that are reduced next; of WEIGHT, or NULL */
    ptrdiff_t aheads[ARRAYS];  /* how many elements ahead to prefetch; 0: not at all */
    char *parameters[2];       /* of the kernel */
    ptrdiff_t parameter_bytes; /* from one column's to the next one's; 0: they are the same for all */
    double *lanes[2];          /* LANES times `width` sums */
} line_t;

/* Add so many pixels, the first of which belongs to lane 0. */
void add_line(const norm_t *norm, const line_t *line, ptrdiff_t pixels, enum statistics_pass pass);

#endif
