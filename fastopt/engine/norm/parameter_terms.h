/* ROWS: the gradients of weight and bias, as sums over samples. */
#ifndef FASTOPT_NORM_PARAMETER_TERMS_H
#define FASTOPT_NORM_PARAMETER_TERMS_H
#include "norm/norm.h"

/* Add these samples to the sums of dweight and dbias of their part. */
void add_parameter_terms(const norm_t *norm, int thread, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                         ptrdiff_t cols_end);

#endif
