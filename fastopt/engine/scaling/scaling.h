/* Feature scaling: a matrix of samples by features, of which each feature's statistics are computed, or which is
 * scaled.
 *
 * A kernel is a function of rules/scaling.py compiled into a loop over a tile of x: void kernel(void **arrays, const
 * ptrdiff_t *sizes). The arrays are x, of the compute type, whose columns lie next to each other, and the function's
 * other values, one for each column (or row). The sizes are rows, columns, and the elements from row to row.
 * Statistics are float64. */
#ifndef FASTOPT_SCALING_H
#define FASTOPT_SCALING_H
#include "core/codecs.h"
#include "core/sum_tree.h"
#include "threads/parallel_for.h"

/* The fixed tree of statistics: a part of PART samples is added up in order, and then the parts are. There are at most
 * MAX_PARTS parts, of more samples then, so that little waits in scratch memory. */
#define MAX_PARTS 1024

/* Centres are refined by every 16th sample, or by fewer, so that there are 128 at most: it is near enough that a
 * mean is a tenth of a standard deviation off. */
#define REFINING_STEP 16
#define REFINING 128

typedef void (*scaling_kernel_t)(void **arrays, const ptrdiff_t *sizes);

/* An array's memory: bytes from sample to sample, and from feature to feature. */
enum axis { SAMPLE, FEATURE };
typedef struct {
    char *data; /* NULL: there is no such array */
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

/* The distance from row to row, in elements. The stride of a single row may be anything. */
static inline ptrdiff_t row_step(ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t itemsize)
{
    return rows == 1 ? cols : stride / itemsize;
}

/* A function that uses scratch memory, which begins at a cache line, and reads or writes a vector for each feature's
 * scale or statistic. */
typedef int (*scaling_fn)(const scaling_t *scaling, void *scratch, void *const *vectors);

/* The bytes of scratch memory that the next two functions take. */
size_t pass_bytes(void);

/* Return false if some x is not finite. */
int all_finite(const scaling_t *scaling, void *scratch);

/* Scale x by the values of each feature, of the compute type: centre, divisor, factor and shift. Return true. */
int scale_matrix(const scaling_t *scaling, void *scratch, void *const *scales);

/* The same; return false if some x is not finite, as all_finite does, for x that is read anyway. */
int scale_and_probe_matrix(const scaling_t *scaling, void *scratch, void *const *scales);

/* The bytes of scratch memory that compute_column_stats takes. */
size_t column_stats_bytes(const scaling_t *scaling);

/* The samples of a part, of so many samples. */
ptrdiff_t samples_per_part(ptrdiff_t samples);

/* The distance between the samples that centres are refined by. */
ptrdiff_t refining_step(ptrdiff_t samples);

/* Move centres by the mean of deviations from them. */
void move_centres(ptrdiff_t features, const double *count, const double *total, double *centre);

/* Turn each feature's sums, of deviations from its centre, into its statistics. */
void finish_column_stats(ptrdiff_t features, const double *centre, double *const *stats);

/* Compute for each feature: how many values are no NaN, their mean, the sum of their squared deviations from it, the
 * least and the greatest. Each of the five is a vector. Return true. */
int compute_column_stats(const scaling_t *scaling, void *scratch, void *const *vectors);

#endif
