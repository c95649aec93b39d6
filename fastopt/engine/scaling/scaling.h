/* Feature scaling: computes the statistics of each feature of a matrix of samples by features, or scales it.
 *
 * A kernel is a function of rules/scaling.py compiled into a loop over a tile of x: void kernel(void **arrays, const
 * ptrdiff_t *sizes). The arrays are x, which is of the compute type with contiguous columns, and the function's other
 * values, one per column (or row). The sizes are rows, columns, and the stride between rows in elements. Statistics are
 * float64. */
#ifndef FASTOPT_SCALING_H
#define FASTOPT_SCALING_H
#include "core/codecs.h"
#include "core/sum_tree.h"
#include "threads/parallel_for.h"

/* The fixed tree of statistics: each part of PART samples is added in order, then the parts are. There are at most
 * MAX_PARTS parts, which limits scratch memory; larger arrays have larger parts. */
#define MAX_PARTS 1024

/* Centres are refined with every 16th sample, or with fewer, so that at most 128 are read: a mean with an error of a
 * tenth of a standard deviation is sufficient. */
#define REFINING_STEP 16
#define REFINING 128

typedef void (*scaling_kernel_t)(void **arrays, const ptrdiff_t *sizes);

/* An array's memory: strides in bytes between samples and between features. */
enum axis { SAMPLE, FEATURE };
typedef struct {
    char *data; /* NULL if there is no such array */
    enum storage storage;
    ptrdiff_t strides[2];
} matrix_t;

typedef struct {
    ptrdiff_t extents[2]; /* samples, features */
    matrix_t x;
    matrix_t out; /* if there is none, x is scaled in place */
    enum storage compute;
    const codec_t *codecs;
    scaling_kernel_t kernels[SCALING_KERNELS];
    parallel_for_fn parallel_for;
    int threads;
} scaling_t;

/* The stride between rows, in elements. The stride of a single row may be arbitrary. */
static inline ptrdiff_t row_step(ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t itemsize)
{
    return rows == 1 ? cols : stride / itemsize;
}

/* A function that uses scratch memory, aligned to a cache line, and reads or writes a vector for each scale or
 * statistic of the features. */
typedef int (*scaling_fn)(const scaling_t *scaling, void *scratch, void *const *vectors);

/* The bytes of scratch memory for the next two functions */
size_t pass_bytes(void);

/* Return false if a value of x is not finite. */
int all_finite(const scaling_t *scaling, void *scratch);

/* Scale x by the parameters of each feature, in the compute type: centre, divisor, factor and shift. Return true. */
int scale_matrix(const scaling_t *scaling, void *scratch, void *const *scales);

/* Do the same, and return false if a value of x is not finite, as all_finite does, with one read of x. */
int scale_and_probe_matrix(const scaling_t *scaling, void *scratch, void *const *scales);

/* The bytes of scratch memory for compute_column_stats */
size_t column_stats_bytes(const scaling_t *scaling);

/* The number of samples in a part, for this many samples. */
ptrdiff_t samples_per_part(ptrdiff_t samples);

/* The distance between samples that are used to refine centres. */
ptrdiff_t refining_step(ptrdiff_t samples);

/* Move centres by the mean of the deviations from them. */
void move_centres(ptrdiff_t features, const double *count, const double *total, double *centre);

/* Convert each feature's sums of deviations from its centre to its statistics. */
void finish_column_stats(ptrdiff_t features, const double *centre, double *const *stats);

/* Compute five vectors with one value per feature: the number of values that are not NaN, their mean, the sum of
 * their squared deviations from it, the minimum and the maximum. Return true. */
int compute_column_stats(const scaling_t *scaling, void *scratch, void *const *vectors);

#endif
