/* Sums of squares of tensors: of gradients, for their norm; of parameters and directions, for layer-wise rules.
 *
 * A sum is a tree over the elements in C order, regardless of their memory layout: a unit of SQUARE_PART elements is
 * summed in SQUARE_LANES sums in double, which are added pairwise; the sums of units, and then of tensors, are added in
 * order. So a norm has the same bits for every layout and number of threads. The two sums of a unit take 32 bytes
 * beside the 256 KiB of a float32 gradient. */
#ifndef FASTOPT_SUM_SQUARES_H
#define FASTOPT_SUM_SQUARES_H
#include "update/job.h"

/* The quantities that are summed for each tensor */
enum measured {
    GRADIENTS, /* of one array */
    PAIRS, /* of the first and of the second array */
    DIRECTIONS, /* of param, and of the step that the rule would subtract from it */
};

/* A sum times 2 to an exponent: squares of float64 numbers exceed the range of double. */
typedef struct {
    double value;
    int exponent;
} sum_t;

typedef struct {
    const view_t *views;
    int ndim;
    const ptrdiff_t *shape;
    unsigned straight; /* bit i: array i is C-contiguous */
    ptrdiff_t count; /* elements */
    ptrdiff_t units, units_before;
    const task_t *task;
    double weight_decay; /* its product with param is a part of the direction */
    sum_t *sums; /* two for each unit */
} measure_t;

/* A block of elements of either compute type. */
typedef struct {
    _Alignas(CACHE_LINE) char bytes[BLOCK_ELEMENTS * sizeof(double)];
} block_t;

/* A thread's buffers for elements: they would exceed the stacks of some threads. */
typedef struct {
    block_t first, others[MAX_ARRAYS]; /* of the first array; of the arrays measured with it */
} measure_scratch_t;

typedef struct {
    enum measured what;
    const summing_t *summing[2]; /* by whether the compute type is double */
    const measure_t *measures;
    ptrdiff_t count;
    measure_scratch_t *scratch; /* one for each thread */
} measures_t;

/* Measure the units first, first + 1, ..., last - 1 of a list. */
void measure_units(void *measures, int thread, ptrdiff_t first, ptrdiff_t last);

/* Add one sum to another. */
void add_sum(sum_t *to, const sum_t *sum);

/* The square root of a sum. */
double root_of(const sum_t *sum);

#endif
