/* What the parts of a norm's run know of each other: where elements stand, sums, statistics. */
#ifndef FASTOPT_NORM_PARTS_H
#define FASTOPT_NORM_PARTS_H
#include "norm/norm.h"
#include <stdint.h>

static inline int is_backward(const norm_t *norm) { return norm->pass >= BACKWARD; }

static inline int is_addition(const norm_t *norm)
{
    return norm->pass == ADDITION || norm->pass == ADDITION_BACKWARD;
}

/* How many elements from this one on stand at one distance from each other. */
static inline ptrdiff_t run_from(const axes_t *axes, ptrdiff_t index)
{
    if (axes->ndim < 2)
        return axes->count - index;
    ptrdiff_t extent = axes->axis[axes->ndim - 1].extent;
    return extent - index % extent;
}

static inline ptrdiff_t inner_stride(const axes_t *axes, int array)
{
    return axes->ndim ? axes->axis[axes->ndim - 1].strides[array] : 0;
}

/* Bytes from element 0 to element `index`. */
static inline ptrdiff_t offset_of(const axes_t *axes, int array, ptrdiff_t index)
{
    ptrdiff_t offset = 0;
    for (int i = axes->ndim - 1; i > 0; i--) {
        const norm_axis_t *axis = &axes->axis[i];
        offset += index % axis->extent * axis->strides[array];
        index /= axis->extent;
    }
    return axes->ndim ? offset + index * axes->axis[0].strides[array] : offset;
}

static inline void set_real(const norm_t *norm, char *array, ptrdiff_t index, double value)
{
    if (norm->compute == FLOAT64)
        ((double *)array)[index] = value;
    else
        ((float *)array)[index] = (float)value;
}

static inline double get_real(const norm_t *norm, const char *array, ptrdiff_t index)
{
    return norm->compute == FLOAT64 ? ((const double *)array)[index] : ((const float *)array)[index];
}

/* A distance in memory, in elements of the kernels' arrays. A division by what the compiler does not know takes as long
 * as ten elements. */
static inline ptrdiff_t in_elements(const norm_t *norm, ptrdiff_t bytes)
{
    if (norm->element == FLOAT64)
        return bytes / 8;
    return norm->element == FLOAT32 ? bytes / 4 : bytes / 2;
}

static inline ptrdiff_t in_bytes(const norm_t *norm, ptrdiff_t elements)
{
    return elements * storage_size(norm->element);
}

/* The axes of a panel's rows and columns, and the distances of neighbours along them. */
static inline const axes_t *row_axes(const norm_t *norm)
{
    return norm->walk == PLANES ? &norm->channels : (norm->walk == PIXELS ? &norm->space : &norm->outer);
}

static inline const axes_t *col_axes(const norm_t *norm)
{
    return norm->walk == PLANES ? &norm->space : &norm->channels;
}

ptrdiff_t col_stride(const norm_t *norm, int array);

/* True if deviations are summed up, and not the terms of gradients. */
static inline int sums_deviations(const norm_t *norm) { return norm->sums[LANE_SUMS][FIRST] == DEVIATIONS; }

static inline int sums_nothing(const norm_t *norm) { return norm->sums[LANE_SUMS][FIRST] == PANEL_KERNELS; }

/* True if a statistic is a channel's, and of no other: its gradients are known as soon as its sums are. */
static inline int has_own_channels(const norm_t *norm)
{
    return norm->walk != SAMPLES && norm->outer.count == 1 && norm->per_group == 1;
}

/* A statistic between its rounds. */
static inline int waits_for_second(const norm_t *norm, ptrdiff_t statistic)
{
    return norm->rstd[statistic] < 0;
}

/* ---- norm_panel.c */

/* A panel as the kernel sees it, and the blocks for arrays that it can't be pointed to. */
typedef struct {
    _Alignas(CACHE_LINE) char blocks[ARRAYS][BLOCK_BYTES];
    void *arrays[SLOTS];
    ptrdiff_t sizes[SIZES];
    ptrdiff_t repeated_columns; /* of the rows that pixels are joined to; 0: parameters are not made yet */
    _Alignas(CACHE_LINE) char repeated[5][JOINED_ELEMENTS * sizeof(double) + CACHE_LINE];
} kernel_args_t;

/* What a thread needs to compute results, or to sum up what is scattered: more than some threads' stacks hold. */
#define ROOM_BYTES 53248

static inline void *room_of(const norm_t *norm, int thread) { return norm->rooms + (ptrdiff_t)thread * ROOM_BYTES; }

/* Part of an array, all of whose neighbours stand at one distance, at these rows and columns. */
tile_t tile_of(const norm_t *norm, int array, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col, ptrdiff_t cols);

/* Load a tile into a block. */
void load_tile(const norm_t *norm, int array, const tile_t *tile, char *block);

/* Compute the result on rows and columns of one outer index (SAMPLES: rows are outer indices). */
void apply_region(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                  ptrdiff_t cols_end);

/* SAMPLES: add these samples to the sums of dweight and dbias of their part. */
void add_parameter_terms(const norm_t *norm, int thread, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                         ptrdiff_t cols_end);

/* ---- norm_sums.c */

/* Sum up one part of channels channel, ..., end_channel - 1. */
void sum_part(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t end_channel, ptrdiff_t part,
              enum round round);

/* What deviations of some statistics are measured from. */
void centres_of(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum round round, double *centres);

/* The parameters of some statistics' sums. Return how many there are. */
int sum_parameters_of(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum round round, double *first,
                      double *second);

/* Run a kernel that adds up the rows of `count` statistics, each by itself. */
void sum_whole(const norm_t *norm, enum way way, void **arrays, const ptrdiff_t *sizes, ptrdiff_t at, ptrdiff_t count,
               enum round round, ptrdiff_t sum);

/* ---- norm_lines.c: sums along one axis, the space of a channel or the channels of a sample */

/* PLANES: sum up one part of a channel. */
void sum_plane(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t part, enum round round);

/* SAMPLES: sum up one part of so many statistics: as many at most as samples_in_rows says. */
void sum_samples(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, ptrdiff_t part, enum round round);

/* How many statistics from this one on are summed up by one call in this round. */
ptrdiff_t samples_in_rows(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum round round);

/* ---- norm_scattered.c: sums along an axis whose elements stand together in short runs */

/* True if elements along these axes can be summed up where they stand. */
int has_scattered(const norm_t *norm, const axes_t *axes, enum round round);

/* Sum up elements at, ..., end - 1 of a statistic, a part of a sum at most; arrays begin there. */
void sum_scattered(const norm_t *norm, int thread, const axes_t *axes, char *const *bases, ptrdiff_t at, ptrdiff_t end,
                   ptrdiff_t statistic, enum round round, ptrdiff_t sum);

/* ---- norm_stripes.c: sums across pixels, where every column is a channel */

/* PIXELS: sum up one part of `width` channels, MAX_STRIPE at most. */
void sum_stripe(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t width, ptrdiff_t part,
                enum round round);

/* Bytes that a thread needs for it. */
ptrdiff_t stripe_bytes(const norm_t *norm);

/* ---- norm_vectors.c */

/* Load values at, ..., at + count - 1, which are given: in the compute type, or as doubles. */
void load_reals(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, char *to);
void load_doubles(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, double *to);

/* Store them, each rounded once to the compute type and then to what the array stores; nothing, if there is none. */
void store_doubles(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, const double *from);

/* running = (1 - momentum) * running + momentum * factor * batch, which saturates rather than become infinite; of STAT_BLOCK at
 * most. */
void update_running(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, const double *batch,
                    double factor);

/* ---- engine/norm/statistics.c */

/* The mean and rstd that a call is given. */
void given_statistics(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, double *mean, double *rstd);

/* From sums to statistics at, ..., end - 1 and the kernel's parameters. Return how many must have a second round. */
int finish_statistics(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum round round);

/* Parameters that need no sums. */
void prepare_fixed(const norm_t *norm);
void prepare_rows(const norm_t *norm);

/* dweight and dbias of some channels, from sums over all outer indices. */
void finish_parameters(const norm_t *norm, ptrdiff_t channel, ptrdiff_t end_channel);

#endif
