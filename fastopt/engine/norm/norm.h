/* Normalisation: forward, inference and backward passes over any array, for every kind of norm.
 *
 * All kinds are one. Elements have three indices: outer o, channel c, and space s. Channels form groups of
 * `per_group`. Each (outer, group) has a statistic, over its channels and all of space; each channel has a weight
 * and a bias. Batch norm: no outer axis, a group is a channel, space is all other axes. Instance and group norm:
 * outer is the sample, space is the pixels. Layer norm: outer is the samples, channels are the features, which are
 * all one group; no space. */
#ifndef FASTOPT_NORM_H
#define FASTOPT_NORM_H
#include "core/codecs.h"
#include "norm/tile_kernel.h"
#include "threads/parallel_for.h"

/* Statistics are computed in one pass over the elements, or in two.
 *
 * Deviations are measured from the statistic's first value, which lies within a few standard deviations of the mean:
 * cancellation then costs a few of the last bits. The sums tell whether it does. If not, and also if float32 squares
 * were too large, a second pass computes in float64, in which no first value does harm: it is no further from the
 * mean than sqrt(values) standard deviations. float64 arrays always have a second pass, about the mean that the
 * first one found. */
enum statistics_pass { FIRST_PASS, SECOND_PASS, STATISTICS_PASSES };

/* fastopt_specs.h has the rest of a norm's terms, from fastopt/specs/norms.py: layouts of memory (enum layout; NCHW: a
 * tile's rows are channels, its columns space; NHWC: rows are space, columns channels; ROWS: rows are outer, columns
 * channels), passes over the arrays (enum op), kernels (enum tile_kernel), and those that reduce (enum reducer): every
 * backend has partial reducers. */

/* An axis: its extent, and the distance between neighbours in each array. */
typedef struct {
    ptrdiff_t extent;
    ptrdiff_t strides[ARRAYS];
} norm_axis_t;

/* Elements along some axes of the arrays, in logical order; neighbouring axes are merged where every array allows. */
typedef struct {
    int ndim;
    ptrdiff_t count;
    norm_axis_t axis[MAX_DIMS];
} axes_t;

/* One value for each channel, or for each statistic, in logical order. data is NULL if the call has no such array. */
typedef struct {
    char *data;
    enum storage storage;
    int ndim; /* neighbouring axes are merged where they can be */
    struct {
        ptrdiff_t extent, stride;
    } axis[MAX_DIMS];
} vector_t;

/* Forward writes mean and rstd, and updates the running statistics; backward reads mean and rstd; inference reads
 * mean and the biased variance. The gradients are written. Without weight or bias, these are ones and zeros. */
enum vector { WEIGHTS, BIASES, MEANS, RSTDS, VARS, DWEIGHTS, DBIASES, RUNNING_MEANS, RUNNING_VARS, VECTORS };

/* In additions, all axes are space. */
typedef struct norm {
    /* Filled in by the caller. */
    enum op op;
    axes_t outer, channels, space;
    ptrdiff_t groups, per_group;
    char *data[ARRAYS]; /* NULL: the call has no such array */
    enum storage storage[ARRAYS];
    enum storage compute;
    int variant;
    const codec_t *codecs;
    int is_ahead_of_time; /* kernels can use non-temporal stores themselves, and there are kernels of bfloat16 */
    double eps, momentum;
    int is_unbiased; /* running_var is */
    vector_t vectors[VECTORS];

    /* Worked out by plan_norm. */
    enum layout layout;
    ptrdiff_t itemsize;       /* of the compute type */
    enum storage element;     /* what the kernels' arrays store: the compute type, or bfloat16 if all arrays do */
    ptrdiff_t line_elements;  /* elements of the compute type in a cache line */
    ptrdiff_t parts;          /* of a sum's tree */
    ptrdiff_t values;         /* of one statistic */
    double per_value;         /* 1 / values */
    ptrdiff_t outer_part;     /* ROWS: samples whose sums of dweight and dbias are one part of that tree */
    ptrdiff_t outer_parts;
    int used[ARRAYS], nused;  /* the call's arrays, first those that are read, then those that are written */
    int nread;
    int direct[ARRAYS];       /* kernels read or write the array in place */
    int reads[3], nreads;     /* the arrays that are reduced */
    int reads_direct;         /* all of them are direct */
    ptrdiff_t max_rows, max_cols; /* of a tile */
    int nontemporal;          /* kernels write results with non-temporal stores */
    int nontemporal_blocks;   /* or kernels can't, and codecs do, from blocks */
    double cached_fraction;   /* the fraction of the results that are written with plain stores all the same */
    int exceeds_l2;           /* what is read does not fit a core's own caches */
    enum tile_kernel reductions[REDUCERS][STATISTICS_PASSES], apply; /* the kernels of the op; NO_KERNEL: none */
    int reduce_variant;       /* of the first pass */

    /* Filled in after plan_norm, by the caller again: what the plan needs. */
    tile_kernel_t reduce_kernels[REDUCERS][STATISTICS_PASSES]; /* NULL: the backend has none */
    tile_kernel_t apply_kernel, parameters_kernel;
    char *scratch;
    parallel_for_fn parallel_for;

    /* Positions in scratch. */
    double *mean, *rstd, *var; /* of every (outer, group): forward, and moments */
    double *first, *second;    /* sums of every (outer, channel, part); ROWS: of every (outer, group, part) */
    double *dbias_parts, *dweight_parts; /* ROWS: of every (outer part, channel) */
    char *stripe_scratch;      /* NHWC: what every thread needs to reduce a stripe of channels */
    char *parameters[5];       /* of the kernel, for every (outer, channel); ROWS: for every (outer, group) */
    char *thread_scratch;      /* of every thread */
    struct norm *cached;       /* the same plan with plain stores, if cached_fraction is not 0 */
    char *weight_row, *bias_row; /* ROWS: of every channel, in the compute type */
} norm_t;

/* Add an axis behind the last one of axes. */
void add_axis(norm_t *norm, axes_t *axes, ptrdiff_t extent, const ptrdiff_t *strides);

/* Add an axis behind the last one of a vector. */
void add_vector_axis(vector_t *vector, ptrdiff_t extent, ptrdiff_t stride);

/* The largest finite number that an array can store. */
double largest_of(enum storage storage);

/* Decide how the caller's arrays are processed; return the bytes of scratch that this takes on so many threads. */
size_t plan_norm(norm_t *norm, int threads);

/* Do what is planned. */
void run_norm(norm_t *norm, int threads);

#endif
