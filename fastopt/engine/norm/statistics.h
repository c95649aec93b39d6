/* Computes statistics from sums, the kernels' parameters from statistics, and the gradients of weight and bias. */
#ifndef FASTOPT_NORM_STATISTICS_H
#define FASTOPT_NORM_STATISTICS_H
#include "norm/norm.h"

/* Compute statistics at, ..., end - 1 and the kernel's parameters from sums; return how many need a second pass. */
int finish_statistics(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum statistics_pass pass);

/* Compute the parameters of passes with given statistics. */
void prepare_fixed_parameters(const norm_t *norm);

/* ROWS: write the rows of weights and biases. */
void prepare_weights(const norm_t *norm);

/* Write dweight and dbias of some channels from sums over all outer indices. */
void finish_parameter_gradients(const norm_t *norm, ptrdiff_t channel, ptrdiff_t end_channel);

#endif
