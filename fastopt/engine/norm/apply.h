/* Kernels that run tile by tile: on elements of results, and on those of gradients of weight and bias. */
#ifndef FASTOPT_NORM_APPLY_H
#define FASTOPT_NORM_APPLY_H
#include "norm/norm.h"

/* Compute the results on rows and columns of one outer index (ROWS: rows are outer indices). */
void apply_region(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                  ptrdiff_t cols_end);

/* ROWS: add these samples to the sums of dweight and dbias of their part. */
void add_parameter_terms(const norm_t *norm, int thread, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                         ptrdiff_t cols_end);

#endif
