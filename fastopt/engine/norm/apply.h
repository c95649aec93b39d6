/* Kernels that run tile by tile: those that write elements, and those that compute the terms of dweight and dbias. */
#ifndef FASTOPT_NORM_APPLY_H
#define FASTOPT_NORM_APPLY_H
#include "norm/norm.h"

/* Compute the results for rows and columns of one outer index (ROWS: rows are outer indices). */
void apply_region(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                  ptrdiff_t cols_end);

/* ROWS: add these samples to the sums of dweight and dbias of their part. */
void add_parameter_terms(const norm_t *norm, int thread, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                         ptrdiff_t cols_end);

#endif
