/* Gathers rows of arrays for mini-batches, and shuffles row numbers by a key for the order of an epoch. */
#ifndef FASTOPT_ROWS_H
#define FASTOPT_ROWS_H
#include "core/util.h"
#include <stddef.h>
#include <stdint.h>

/* An array with its rows' contiguous destination. Elements are bytes of any meaning. */
typedef struct {
    const char *data; /* address of row 0 */
    char *out;
    ptrdiff_t stride; /* bytes between rows */
    ptrdiff_t bytes;  /* bytes of a gathered row */
    ptrdiff_t run;    /* contiguous bytes of a row */
    /* The axes of runs in a row, in logical order; none: a row is one run. */
    int ndim;
    ptrdiff_t shape[MAX_DIMS], strides[MAX_DIMS];
    /* Computed by number_row_units */
    ptrdiff_t rows_of_unit, units_before;
} rows_t;

/* One call gathers the same rows of several arrays. */
typedef struct {
    rows_t *arrays;
    int narrays;
    const int64_t *numbers;
    ptrdiff_t count;
} gather_t;

/* Append an axis to a row; the first one has single elements (`run` bytes). */
void add_row_axis(rows_t *rows, ptrdiff_t extent, ptrdiff_t stride);

/* Merge the last axis into the run if its elements are contiguous. */
void close_row(rows_t *rows);

/* Divide the work into units; return their number. */
ptrdiff_t number_row_units(gather_t *gather);

/* Gather units first, ..., last - 1. */
void gather_units(void *gather, int thread, ptrdiff_t first, ptrdiff_t last);

/* True if every number is at least 0 and below rows. */
int are_rows(const int64_t *numbers, ptrdiff_t count, ptrdiff_t rows);

/* Write 0, 1, ..., count - 1 in the order determined by a seed and an epoch below 2^56: the same on every machine. */
void shuffle_rows(int64_t *numbers, ptrdiff_t count, uint64_t seed, uint64_t epoch);

#endif
