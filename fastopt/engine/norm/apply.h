/* Results: elementwise kernels, tile by tile. */
#ifndef FASTOPT_NORM_APPLY_H
#define FASTOPT_NORM_APPLY_H
#include "norm/norm.h"

/* Compute the results on rows and columns of one outer index (ROWS: rows are outer indices). */
void apply_region(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                  ptrdiff_t cols_end);

#endif
