#include "norm/plan.h"
#include "core/tuning.h"
#include "norm/axes.h"
#include "norm/reduce.h"
#include <string.h>

void add_axis(norm_t *norm, axes_t *axes, ptrdiff_t extent, const ptrdiff_t *strides)
{
    axes->count *= extent;
    if (extent == 1)
        return;
    norm_axis_t *axis = &axes->axis[larger(axes->ndim - 1, 0)]; /* the last axis, if there is one */
    int merges = axes->ndim > 0;
    for (int i = 0; i < ARRAYS && merges; i++)
        if (norm->data[i])
            merges = axis->strides[i] == strides[i] * extent;
    if (!merges) {
        axis = &axes->axis[axes->ndim++];
        axis->extent = 1;
    }
    axis->extent *= extent;
    for (int i = 0; i < ARRAYS; i++)
        axis->strides[i] = strides[i];
}

/* Additions: the last axis becomes the columns; axes that were not merged with it become rows. */
static void set_rows_apart(norm_t *norm)
{
    axes_t *space = &norm->space, *rows = &norm->channels;
    int last = space->ndim - 1;
    if (last < 1 || space->count == 0)
        return;
    *rows = *space;
    rows->ndim = last;
    rows->count = space->count / space->axis[last].extent;
    space->ndim = 1;
    space->axis[0] = space->axis[last];
    space->count = space->axis[0].extent;
}

/* Choose the layout by the memory order of x, which every op reads. */
static enum layout choose_layout(const norm_t *norm)
{
    if (is_addition(norm))
        return NCHW;
    if (norm->space.count == 1 && norm->per_group > 1)
        return ROWS;
    if (norm->channels.ndim == 0)
        return NCHW;
    if (norm->space.ndim == 0)
        return NHWC;
    ptrdiff_t across = inner_stride(&norm->channels, X), along = inner_stride(&norm->space, X);
    return magnitude(across) < magnitude(along) ? NHWC : NCHW;
}

static ptrdiff_t bytes_of(const norm_t *norm, int array)
{
    return norm->outer.count * norm->channels.count * norm->space.count * storage_size(norm->storage[array]);
}

static ptrdiff_t bytes_of_arrays(const norm_t *norm, int first, int end)
{
    ptrdiff_t bytes = 0;
    for (int i = first; i < end; i++)
        bytes += norm->data[i] ? bytes_of(norm, i) : 0;
    return bytes;
}

static int exceeds_caches(const norm_t *norm)
{
    return norm->data[OUT] && bytes_of_arrays(norm, 0, ARRAYS) >= NONTEMPORAL_FROM;
}

/* The fraction of the results that is written with plain stores, so that it stays cached for the next reader or writer.
 * If only x is read, it is the part of y that fits in the caches beside x (forward, NHWC 21x56x56x64: 1 to 17 % faster
 * than without; inference, NCHW 24x64x56x56: 2 to 10 %; 32x64x56x56, where the part is small: 3 % faster to 8 %
 * slower). A larger part would evict x. If two arrays are read, it is 0 (an addition of 3,000,000 elements: 0.27 ms
 * with a cached part, 0.24 without). */
static double cached_fraction_of(const norm_t *norm)
{
    ptrdiff_t free_bytes = CACHED_BYTES - bytes_of_arrays(norm, 0, OUT);
    int reads_only_x = (norm->op == FORWARD || norm->op == INFERENCE) && !norm->data[RESIDUAL];
    return reads_only_x && free_bytes > 0 ? (double)free_bytes / (double)bytes_of_arrays(norm, OUT, ARRAYS) : 0;
}

/* Kernels write direct results with non-temporal stores if they can; codecs write all other results from blocks. */
static void choose_stores(norm_t *norm)
{
    int is_nontemporal = exceeds_caches(norm);
    int in_place = norm->direct[OUT] && (!norm->data[DRESIDUAL] || norm->direct[DRESIDUAL]);
    norm->nontemporal =
        is_nontemporal && in_place && norm->is_ahead_of_time && norm->codecs[norm->element].store_nontemporal;
    norm->nontemporal_blocks = is_nontemporal && !norm->nontemporal && norm->element == norm->compute;
    norm->cached_fraction = is_nontemporal ? cached_fraction_of(norm) : 0;
    if (norm->nontemporal_blocks)
        norm->direct[OUT] = norm->direct[DRESIDUAL] = 0;
}

/* True if a kernel for these elements could read or write the array in place. */
static int can_be_direct(const norm_t *norm, int array)
{
    int is_contiguous = col_stride(norm, array) == storage_size(norm->storage[array]);
    int is_out_itself = array < OUT && norm->data[array] == norm->data[OUT]; /* a kernel's arrays must not overlap */
    return is_contiguous && inner_stride(row_axes(norm), array) >= 0 && !is_out_itself;
}

/* If all arrays are bfloat16 and can be direct, kernels convert between bfloat16 and the compute type: conversion
 * through blocks takes as long as the arithmetic (NCHW 32x64x56x56: forward 1.5 ms, without blocks 1.2; backward 2.5,
 * 1.8; channels last, backward: 3.2, 1.3). */
static enum storage element_of(const norm_t *norm)
{
    int all = norm->is_ahead_of_time && norm->compute == FLOAT32;
    for (int i = 0; i < ARRAYS && all; i++)
        all = !norm->data[i] || (norm->storage[i] == BFLOAT16 && can_be_direct(norm, i));
    return all ? BFLOAT16 : norm->compute;
}

/* Choose the largest tiles. Without blocks, they may have any size. With blocks, they have at most the blocks' size. If
 * columns of some array are not contiguous, tiles are almost square, so that each fetched cache line is fully used. */
static void choose_tiles(norm_t *norm)
{
    int staged = 0, crossing = 0;
    norm->exceeds_l2 = norm->data[X] && bytes_of(norm, X) >= EXCEEDS_L2_FROM;
    norm->element = element_of(norm);
    norm->nused = norm->nread = 0;
    for (int i = 0; i < ARRAYS; i++) { /* written arrays also come last in enum slot */
        if (!norm->data[i])
            continue;
        norm->used[norm->nused++] = i;
        norm->nread += i < OUT;
        norm->direct[i] = norm->storage[i] == norm->element && can_be_direct(norm, i);
        crossing |= col_stride(norm, i) != storage_size(norm->storage[i]);
    }
    choose_stores(norm);
    for (int n = 0; n < norm->nused; n++)
        staged |= !norm->direct[norm->used[n]];
    ptrdiff_t block = BLOCK_BYTES / norm->itemsize;
    norm->max_rows = staged ? (crossing ? CROSSING_ROWS : block) : PTRDIFF_MAX;
    norm->max_cols = staged ? (crossing ? block / CROSSING_ROWS : block) : PTRDIFF_MAX;
}

static void choose_kernels(norm_t *norm)
{
    static const enum tile_kernel apply[OPS][LAYOUTS] = APPLY_KERNELS;
    static const enum tile_kernel reductions[OPS][LAYOUTS][REDUCERS][STATISTICS_PASSES] = REDUCE_KERNELS;
    norm->apply = apply[norm->op][norm->layout];
    memcpy(norm->reductions, reductions[norm->op][norm->layout], sizeof norm->reductions);
    norm->reduce_variant = is_backward(norm) ? norm->variant & WITH_RELU : PLAIN;
    norm->nreads = 0;
    norm->reads_direct = 1;
    for (int i = X; i <= Y; i++)
        if (norm->data[i]) {
            norm->reads[norm->nreads++] = i;
            norm->reads_direct &= norm->direct[i];
        }
}

/* Reserve bytes of scratch memory, or only count them. */
static void *carve(const norm_t *norm, size_t *used, ptrdiff_t bytes)
{
    void *memory = norm->scratch ? norm->scratch + *used : NULL;
    *used += whole_lines((size_t)bytes);
    return memory;
}

/* The same, with the offset from a cache line that the results written in place have: cache lines of both are then read
 * and written together. */
static char *carve_beside_out(const norm_t *norm, size_t *used, ptrdiff_t bytes)
{
    char *memory = carve(norm, used, bytes + CACHE_LINE);
    int is_direct = norm->direct[OUT] && norm->element == norm->compute;
    return memory && is_direct ? memory + (uintptr_t)norm->data[OUT] % CACHE_LINE : memory;
}

static size_t carve_scratch(norm_t *norm, int threads)
{
    size_t used = 0;
    ptrdiff_t doubles = sizeof(double);
    ptrdiff_t channels = norm->outer.count * norm->channels.count, statistics = norm->outer.count * norm->groups;
    int rows = norm->layout == ROWS;
    norm->thread_scratch = carve(norm, &used, (ptrdiff_t)threads * THREAD_SCRATCH_BYTES);
    norm->cached = norm->cached_fraction > 0 ? carve(norm, &used, sizeof(norm_t)) : NULL;
    if (is_addition(norm))
        return used;
    ptrdiff_t sums = (rows ? statistics : channels) * norm->parts;
    ptrdiff_t computed = norm->op == FORWARD || norm->op == MOMENTS ? statistics : 0;
    norm->mean = carve(norm, &used, computed * doubles);
    norm->rstd = carve(norm, &used, computed * doubles);
    norm->var = carve(norm, &used, computed * doubles);
    norm->first = carve(norm, &used, reduces_nothing(norm) ? 0 : sums * doubles);
    norm->second = carve(norm, &used, reduces_nothing(norm) ? 0 : sums * doubles);
    for (int i = 0; i < 5; i++)
        norm->parameters[i] = carve(norm, &used, (rows ? statistics : channels) * norm->itemsize);
    if (norm->layout == NHWC)
        norm->stripe_scratch = carve(norm, &used, threads * stripe_bytes(norm));
    if (rows) {
        ptrdiff_t columns = norm->channels.count;
        norm->weight_row = carve_beside_out(norm, &used, columns * norm->itemsize);
        norm->bias_row = carve_beside_out(norm, &used, columns * norm->itemsize);
        if (is_backward(norm)) {
            norm->dbias_parts = carve(norm, &used, norm->outer_parts * columns * doubles);
            norm->dweight_parts = carve(norm, &used, norm->outer_parts * columns * doubles);
        }
    }
    return used;
}

size_t plan_norm(norm_t *norm, int threads)
{
    if (!norm->scratch) {
        norm->itemsize = storage_size(norm->compute);
        norm->line_elements = CACHE_LINE / norm->itemsize;
        if (is_addition(norm))
            set_rows_apart(norm);
        norm->layout = choose_layout(norm);
        norm->values = norm->per_group * norm->space.count;
        norm->per_value = norm->values ? 1 / (double)norm->values : 0;
        norm->parts = ceil_div(norm->layout == ROWS ? norm->per_group : norm->space.count, PART);
        ptrdiff_t outer_part = larger(MIN_OUTER_PART, ceil_div(norm->outer.count, MAX_OUTER_PARTS));
        norm->outer_part = ceil_div(outer_part, GROUP) * GROUP;
        norm->outer_parts = ceil_div(norm->outer.count, norm->outer_part);
        choose_tiles(norm);
        choose_kernels(norm);
    }
    return carve_scratch(norm, threads);
}
