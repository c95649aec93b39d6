/* Feature scaling: samples by features, of each of which something is gathered or which are scaled.
 *
 * A kernel is a function of rules/scaling.py compiled into a loop over a panel of x: void kernel(void **arrays, const
 * ptrdiff_t *sizes). Arrays are x, of the compute type, whose columns stand together, and the function's other values, one
 * for each column (or row). Sizes are rows, columns, and the elements from row to row. What is gathered is float64. */
#ifndef FASTOPT_SCALING_H
#define FASTOPT_SCALING_H
#include "core/codecs.h"
#include "core/sum_tree.h"
#include "threads/parallel_for.h"
#include <stdatomic.h>

/* The fixed tree of what is gathered: a part of PART samples is added up in order, and then the parts are. There are
 * MAX_PARTS at most, of more samples then: what waits in scratch memory stays small. */
#define MAX_PARTS 1024

/* Centres are refined by every 16th sample, or by fewer, so that there are 128 at most: a mean that is a tenth of a
 * standard deviation off is near enough. */
#define REFINING_STEP 16
#define REFINING 128

/* The kernels, in the order of COLUMN_KERNELS in codegen/scaling.py. */
enum column_kernel { SCALE_COLUMNS, SCALE_ROWS, GATHER, SPOIL, COLUMN_KERNELS };

/* What is gathered of each feature, in the order of the kernel's arguments. */
enum gathered { COUNT, TOTAL, SQUARES, LOWEST, HIGHEST, GATHERED };

/* The arguments of scale. */
#define SCALES 4

typedef void (*column_kernel_t)(void **arrays, const ptrdiff_t *sizes);

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
    matrix_t out; /* where there is none, x is scaled in place */
    enum storage compute;
    const codec_t *codecs;
    column_kernel_t kernels[COLUMN_KERNELS];
    parallel_for_fn parallel_for;
    int threads;
} columns_t;

/* The bytes of scratch memory, at the beginning of a cache line, that the next two take. */
size_t walk_bytes(void);

/* Return false if some x is not finite. */
int all_finite(const columns_t *columns, void *scratch);

/* Scale x by what each feature has, of the compute type: centre, divisor, factor and shift. */
void scale_columns(const columns_t *columns, void *scratch, const void *const *scales);

/* The same of gathering. */
size_t gather_bytes(const columns_t *columns);

/* The samples of a part, of so many samples. */
ptrdiff_t part_of(ptrdiff_t samples);

/* The samples from one that centres are refined by to the next. */
ptrdiff_t refining_step(ptrdiff_t samples);

/* Move centres by the mean of deviations from them. */
void move_centres(ptrdiff_t features, const double *count, const double *total, double *centre);

/* Make of each feature's sums, of deviations from its centre, what is gathered of it. */
void finish_columns(ptrdiff_t features, const double *centre, double *const *gathered);

/* Gather of each feature: the values that are no NaN, their mean, the sum of their squared deviations from it, the least
 * and the greatest. Each of the five is a vector. */
void gather_columns(const columns_t *columns, char *scratch, double *const *gathered);

#endif
