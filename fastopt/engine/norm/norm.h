/* Normalisation: forward, inference and backward passes over arrays of any layout, for every kind of norm.
 *
 * One algorithm serves all kinds. Elements have three indices: outer o, channel c, and space s. Channels form groups of
 * `per_group`. Each (outer, group) has a statistic over its channels and all of space; each channel has a weight and a
 * bias. Batch norm: no outer axis, each channel is a group, space is all other axes. Instance and group norm: outer is
 * the sample, space is the pixels. Layer norm: outer is the samples; the channels are the features, all in one group;
 * there is no space. */
#ifndef FASTOPT_NORM_H
#define FASTOPT_NORM_H
#include "core/codecs.h"
#include "norm/tile_kernel.h"
#include "threads/parallel_for.h"

/* Statistics are computed in one or two passes over the elements.
 *
 * The first pass measures deviations from the statistic's first value, which is within a few standard deviations of the
 * mean: cancellation then costs a few of the last bits. The sums show whether that holds. If it does not, or if squares
 * exceed float32, a second pass computes in float64, where the first value is harmless: its distance from the mean is
 * at most sqrt(values) standard deviations. float64 arrays always have a second pass, about the mean from the first
 * one. */
enum statistics_pass { FIRST_PASS, SECOND_PASS, STATISTICS_PASSES };

/* fastopt_specs.h, generated from fastopt/specs/norms.py, defines further terms: memory layouts (enum layout; NCHW: a
 * tile's rows are channels, its columns space; NHWC: rows are space, columns channels; ROWS: rows are outer indices,
 * columns channels), passes over the arrays (enum op), kernels (enum tile_kernel), and reducers (enum reducer). Every
 * backend has partial reducers. */

/* An axis: its extent and its stride in each array. */
typedef struct {
    ptrdiff_t extent;
    ptrdiff_t strides[ARRAYS];
} norm_axis_t;

/* Elements along some axes of the arrays, in logical order; neighbouring axes are merged if every array allows it. */
typedef struct {
    int ndim;
    ptrdiff_t count;
    norm_axis_t axis[MAX_DIMS];
} axes_t;

/* One value per channel or per statistic, in logical order. data is NULL if the call has no such array. */
typedef struct {
    char *data;
    enum storage storage;
    int ndim; /* neighbouring axes are merged if possible */
    struct {
        ptrdiff_t extent, stride;
    } axis[MAX_DIMS];
} vector_t;

/* Forward writes mean and rstd, and updates the running statistics; backward reads mean and rstd; inference reads
 * mean and the biased variance. The gradients are written. A missing weight counts as ones, a missing bias as zeros. */
enum vector { WEIGHTS, BIASES, MEANS, RSTDS, VARS, DWEIGHTS, DBIASES, RUNNING_MEANS, RUNNING_VARS, VECTORS };

/* In additions, all axes are space. */
typedef struct norm {
    /* Set by the caller */
    enum op op;
    axes_t outer, channels, space;
    ptrdiff_t groups, per_group;
    char *data[ARRAYS]; /* NULL: the call has no such array */
    enum storage storage[ARRAYS];
    enum storage compute;
    int variant;
    const codec_t *codecs;
    int is_ahead_of_time; /* kernels can use non-temporal stores, and bfloat16 kernels exist */
    double eps, momentum;
    int is_unbiased; /* whether running_var is unbiased */
    vector_t vectors[VECTORS];

    /* Computed by plan_norm */
    enum layout layout;
    ptrdiff_t itemsize;       /* of the compute type */
    enum storage element;     /* storage type of the kernels' arrays: the compute type, or bfloat16 if all arrays are */
    ptrdiff_t line_elements;  /* elements of the compute type in a cache line */
    ptrdiff_t parts;          /* number of parts of a sum's tree */
    ptrdiff_t values;         /* number of values of one statistic */
    double per_value;         /* 1 / values */
    ptrdiff_t outer_part;     /* ROWS: samples of one part of the sums of dweight and dbias */
    ptrdiff_t outer_parts;
    int used[ARRAYS], nused;  /* the call's arrays: first those that are read, then those that are written */
    int nread;
    int direct[ARRAYS];       /* kernels read or write the array in place */
    int reads[3], nreads;     /* the arrays that are reduced */
    int reads_direct;         /* all of them are accessed directly */
    ptrdiff_t max_rows, max_cols; /* of a tile */
    int nontemporal;          /* kernels use non-temporal stores for results */
    int nontemporal_blocks;   /* kernels can't, but codecs do when storing blocks */
    double cached_fraction;   /* the fraction of the results that is nevertheless written with plain stores */
    int exceeds_l2;           /* the arrays that are read do not fit in a core's own caches */
    enum tile_kernel reductions[REDUCERS][STATISTICS_PASSES], apply; /* kernels of the op, or NO_KERNEL */
    int reduce_variant;       /* variant of the first pass's kernel */

    /* Set by the caller after plan_norm, according to the plan */
    tile_kernel_t reduce_kernels[REDUCERS][STATISTICS_PASSES]; /* NULL: the backend has none */
    tile_kernel_t apply_kernel, parameters_kernel;
    char *scratch;
    parallel_for_fn parallel_for;

    /* Addresses in scratch memory */
    double *mean, *rstd, *var; /* for every (outer, group): forward, and moments */
    double *first, *second;    /* sums for every (outer, channel, part); ROWS: for every (outer, group, part) */
    double *dbias_parts, *dweight_parts; /* ROWS: for every (outer part, channel) */
    char *stripe_scratch;      /* NHWC: each thread's memory for reducing a stripe of channels */
    char *parameters[5];       /* of the kernel, for every (outer, channel); ROWS: for every (outer, group) */
    char *thread_scratch;      /* for every thread */
    struct norm *cached;       /* the same plan with plain stores, if cached_fraction is not 0 */
    char *weight_row, *bias_row; /* ROWS: for every channel, in the compute type */
} norm_t;

/* Append an axis. */
void add_axis(norm_t *norm, axes_t *axes, ptrdiff_t extent, const ptrdiff_t *strides);

/* Append an axis of a vector. */
void add_vector_axis(vector_t *vector, ptrdiff_t extent, ptrdiff_t stride);

/* The largest finite number that an array can store. */
double largest_of(enum storage storage);

/* Decide how to process the caller's arrays; return the bytes of scratch memory required for this many threads. */
size_t plan_norm(norm_t *norm, int threads);

/* Execute the plan. */
void run_norm(norm_t *norm, int threads);

#endif
