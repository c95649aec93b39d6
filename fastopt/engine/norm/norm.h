/* Normalisation: forward, inference and backward passes over any array, for every kind of norm.
 *
 * All kinds are one. Elements have three indices: outer o, channel c, and space s. Channels stand in groups of
 * `per_group`. Each (outer, group) has a statistic, over its channels and all of space; each channel has a weight and a
 * bias. Batch norm: no outer axis, a group is a channel, space is all other axes. Instance and group norm: outer is the
 * sample, space the pixels. Layer norm: outer are the samples, channels are the features, all one group; no space.
 *
 * Which way memory is walked, `walk` says. */
#ifndef FASTOPT_NORM_H
#define FASTOPT_NORM_H
#include "core/codecs.h"
#include "core/tuning.h"
#include "norm/panel.h"
#include "threads/parallel_for.h"

/* Statistics are summed up in one round over the elements, or in two.
 *
 * Deviations are measured from the first value of the statistic's, which lies within a few standard deviations of the
 * mean: what is lost then to cancellation is a few of the last bits. Sums tell whether it does. If not, and also where
 * float32 squares were too large, a second round computes in float64, in which no first value does harm: it is no
 * further from the mean than sqrt(values) standard deviations. float64 arrays always have a second round, about the mean
 * that the first one tells. */
enum round { FIRST, SECOND, ROUNDS };

/* Kernels that add up: lanes, whatever stands in them; whole sums, by row or by column (PIXELS); and whole sums of what
 * is scattered. Every backend has the first. */
enum way { LANE_SUMS, WHOLE_SUMS, SCATTERED_SUMS, WAYS };

/* An axis: its extent, and how far apart neighbours stand in each array. */
typedef struct {
    ptrdiff_t extent;
    ptrdiff_t strides[ARRAYS];
} norm_axis_t;

/* Elements along some axes of the arrays, in logical order; neighbours are merged where every array allows. */
typedef struct {
    int ndim;
    ptrdiff_t count;
    norm_axis_t axis[MAX_DIMS];
} axes_t;

/* One value for each channel, or for each statistic, in logical order; data is NULL: the call has no such array. */
typedef struct {
    char *data;
    enum storage storage;
    int ndim; /* neighbouring axes are merged where they can be */
    struct {
        ptrdiff_t extent, stride;
    } axis[MAX_DIMS];
} vector_t;

/* Forward writes mean and rstd, and updates the running statistics; backward reads mean and rstd; in inference, mean and
 * the biased variance are read. The gradients are written. Without weight or bias, these are ones and zeros. */
enum vector { WEIGHTS, BIASES, MEANS, RSTDS, VARS, DWEIGHTS, DBIASES, RUNNING_MEANS, RUNNING_VARS, VECTORS };

enum walk {
    PLANES,  /* neighbours in memory share a statistic: a panel's rows are channels, its columns space */
    PIXELS,  /* neighbours are channels: rows are space, columns channels */
    SAMPLES, /* no space: rows are outer, columns channels */
};

/* Additions are residual connections without a norm: elements and no statistics, whatever their axes, all in space. */
enum pass { MOMENTS, FORWARD, INFERENCE, ADDITION, ADDITION_BACKWARD, BACKWARD, BACKWARD_INFERENCE };

typedef struct norm {
    /* Filled in by the caller. */
    enum pass pass;
    axes_t outer, channels, space;
    ptrdiff_t groups, per_group;
    char *data[ARRAYS]; /* NULL: the call has no such array */
    enum storage storage[ARRAYS];
    enum storage compute;
    int form;
    const codec_t *codecs;
    int is_ahead_of_time; /* kernels can put results past the caches themselves, and there are some of bfloat16 */
    double eps, momentum;
    int is_unbiased; /* running_var is */
    vector_t vectors[VECTORS];

    /* Worked out by plan_norm. */
    enum walk walk;
    ptrdiff_t itemsize;     /* of the compute type */
    enum storage element;   /* what the kernels' arrays store: the compute type, or bfloat16 as all arrays do */
    ptrdiff_t line;         /* elements of the compute type in a cache line */
    ptrdiff_t parts;        /* of a sum's tree */
    ptrdiff_t values;       /* of one statistic */
    double per_value;       /* 1 / values */
    ptrdiff_t outer_part;   /* SAMPLES: samples whose sums of dweight and dbias are one part of that tree */
    ptrdiff_t outer_parts;
    int used[ARRAYS], nused; /* the call's arrays, first those that are read, then those that are written */
    int nread;
    int native[ARRAYS];     /* panels are read or written in place */
    int reads[3], nreads;   /* those that are summed up */
    int sums_in_place;      /* all of them are native */
    ptrdiff_t max_rows, max_cols; /* of a panel */
    int past;               /* results go past the caches: by the kernel itself */
    int stream;             /* ... or through blocks, where it can't */
    double kept;            /* but for so much of them, from 0 to 1 */
    int far;                /* what is read does not fit the caches */
    enum panel_kernel sums[WAYS][ROUNDS], elements; /* the kernels of the pass; PANEL_KERNELS: none */
    int sums_form;          /* of the first round */

    /* Filled in after plan_norm, by the caller again: what it said that it needs. */
    panel_kernel_t sums_kernels[WAYS][ROUNDS]; /* NULL: the backend has none */
    panel_kernel_t elements_kernel, parameters_kernel;
    char *scratch;
    parallel_for_fn parallel_for;

    /* Where in scratch things stand. */
    double *mean, *rstd, *var; /* of every (outer, group): forward, and moments */
    double *first, *second; /* sums of every (outer, channel, part); SAMPLES: of every (outer, group, part) */
    double *dbias_parts, *dweight_parts; /* SAMPLES: of every (outer part, channel) */
    char *stripes;          /* PIXELS: what every thread needs to sum up a stripe of channels */
    char *parameters[5];    /* of the kernel, for every (outer, channel); SAMPLES: for every (outer, group) */
    char *rooms;            /* of every thread */
    struct norm *keeps;     /* the same, but that results stay in the caches, if some do */
    char *weight_row, *bias_row; /* SAMPLES: of every channel, in the compute type */
} norm_t;

/* Add an axis behind those that axes has. */
void add_axis(norm_t *norm, axes_t *axes, ptrdiff_t extent, const ptrdiff_t *strides);

/* The same for a vector. */
void add_vector_axis(vector_t *vector, ptrdiff_t extent, ptrdiff_t stride);

/* The largest finite number that an array can store. */
double largest_of(enum storage storage);

/* Decide how the caller's arrays are walked; return how many bytes of scratch that takes on so many threads. */
size_t plan_norm(norm_t *norm, int threads);

/* Do it all. */
void run_norm(norm_t *norm, int threads);

#endif
