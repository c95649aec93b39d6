/* Rows of arrays, gathered by their numbers, for mini-batches; and the order of an epoch: numbers shuffled by a key. */
#ifndef FASTOPT_ROWS_H
#define FASTOPT_ROWS_H
#include "core/util.h"
#include <stddef.h>
#include <stdint.h>

/* An array whose rows are gathered, and their destination, which is contiguous. Elements are bytes, of any meaning. */
typedef struct {
    const char *data; /* of row 0 */
    char *out;
    ptrdiff_t stride; /* bytes from row to row */
    ptrdiff_t bytes;  /* of a row, gathered */
    ptrdiff_t run;    /* bytes of it that are contiguous */
    /* The axes along which runs follow each other, in logical order; none: a row is one run. */
    int ndim;
    ptrdiff_t shape[MAX_DIMS], strides[MAX_DIMS];
    /* Worked out by number_row_units. */
    ptrdiff_t rows_of_unit, units_before;
} rows_t;

/* What one call gathers: the same rows of several arrays. */
typedef struct {
    rows_t *arrays;
    int narrays;
    const int64_t *numbers;
    ptrdiff_t count;
} gather_t;

/* Add an axis of a row behind those that it has; the first is of single elements (`run` bytes). */
void add_row_axis(rows_t *rows, ptrdiff_t extent, ptrdiff_t stride);

/* Merge the last axis into the run, if its elements lie next to each other. */
void close_row(rows_t *rows);

/* Cut the work into units; return how many. */
ptrdiff_t number_row_units(gather_t *gather);

/* Gather units first, ..., last - 1. */
void gather_units(void *gather, int thread, ptrdiff_t first, ptrdiff_t last);

/* True if every number is from 0 to below rows. */
int are_rows(const int64_t *numbers, ptrdiff_t count, ptrdiff_t rows);

/* Write 0, 1, ..., count - 1 in the order that belongs to a seed and an epoch below 2^56: the same on every machine. */
void shuffle_rows(int64_t *numbers, ptrdiff_t count, uint64_t seed, uint64_t epoch);

#endif
