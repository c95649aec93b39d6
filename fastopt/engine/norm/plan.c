#include "norm/parts.h"

void add_axis(norm_t *norm, axes_t *axes, ptrdiff_t extent, const ptrdiff_t *strides)
{
    axes->count *= extent;
    if (extent == 1)
        return;
    norm_axis_t *axis = &axes->axis[larger(axes->ndim - 1, 0)]; /* the last one, if there is any */
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

/* The distance between columns; of a single column, what a contiguous array would have. */
ptrdiff_t col_stride(const norm_t *norm, int array)
{
    const axes_t *axes = col_axes(norm);
    return axes->ndim ? inner_stride(axes, array) : storage_size(norm->storage[array]);
}

/* Of an addition, the last axis is that of columns; those that did not merge with it are rows. */
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

/* Memory order decides, by the array that is read in every pass. */
static enum walk choose_walk(const norm_t *norm)
{
    if (is_addition(norm))
        return PLANES;
    if (norm->space.count == 1 && norm->per_group > 1)
        return SAMPLES;
    if (norm->channels.ndim == 0)
        return PLANES;
    if (norm->space.ndim == 0)
        return PIXELS;
    ptrdiff_t across = inner_stride(&norm->channels, X), along = inner_stride(&norm->space, X);
    return (across < 0 ? -across : across) < (along < 0 ? -along : along) ? PIXELS : PLANES;
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

static int goes_past_caches(const norm_t *norm)
{
    return norm->data[OUT] && bytes_of_arrays(norm, 0, ARRAYS) >= NONTEMPORAL_FROM;
}

/* What only goes from x to y keeps as much of y in the caches as fits there beside x, for whoever reads it next, or
 * writes it (forward, NHWC 21x56x56x64: 1 to 17 % faster than without; inference, NCHW 24x64x56x56: 2 to 10 %;
 * 32x64x56x56, of which little is kept: 3 % to -8). More is no good, for then x comes from memory again; and where two
 * arrays are read, none is (an addition of 3,000,000 elements: 0.27 ms, not 0.24). */
static double kept_in_caches(const norm_t *norm)
{
    ptrdiff_t room = CACHED_BYTES - bytes_of_arrays(norm, 0, OUT);
    int from_x_to_y = (norm->pass == FORWARD || norm->pass == INFERENCE) && !norm->data[RESIDUAL];
    return from_x_to_y && room > 0 ? (double)room / (double)bytes_of_arrays(norm, OUT, ARRAYS) : 0;
}

/* Results that are written in place, a kernel puts past the caches itself, if it can; all others go through blocks. */
static void choose_stores(norm_t *norm)
{
    int goes_past = goes_past_caches(norm);
    int in_place = norm->native[OUT] && (!norm->data[DRESIDUAL] || norm->native[DRESIDUAL]);
    norm->past = goes_past && in_place && norm->is_ahead_of_time && norm->codecs[norm->element].store_nontemporal;
    norm->stream = goes_past && !norm->past && norm->element == norm->compute;
    norm->kept = goes_past ? kept_in_caches(norm) : 0;
    if (norm->stream)
        norm->native[OUT] = norm->native[DRESIDUAL] = 0;
}

/* True if a kernel can be pointed to the array, once it has kernels of such elements. */
static int needs_no_blocks(const norm_t *norm, int array)
{
    int in_rows = col_stride(norm, array) == storage_size(norm->storage[array]) && inner_stride(row_axes(norm), array) >= 0;
    int is_out_itself = array < OUT && norm->data[array] == norm->data[OUT]; /* but a kernel's arrays are apart */
    return in_rows && !is_out_itself;
}

/* Where all arrays store bfloat16 and need no blocks, kernels carry it to the compute type and back: through blocks on
 * the stack, that takes as long as the arithmetic (NCHW 32x64x56x56: forward 1.5 ms, 1.2 so; backward 2.5, 1.8; channels
 * last, backward: 3.2, 1.3). */
static enum storage element_of(const norm_t *norm)
{
    int all = norm->is_ahead_of_time && norm->compute == FLOAT32;
    for (int i = 0; i < ARRAYS && all; i++)
        all = !norm->data[i] || (norm->storage[i] == BFLOAT16 && needs_no_blocks(norm, i));
    return all ? BFLOAT16 : norm->compute;
}

/* Panels in place may be as large as they are. Through blocks, they are as large as those; where some array runs
 * across the columns, they are almost square, so that a cache line fetched for it is used whole. */
static void choose_panels(norm_t *norm)
{
    int staged = 0, crossing = 0;
    norm->far = norm->data[X] && bytes_of(norm, X) >= EXCEEDS_L2_FROM;
    norm->element = element_of(norm);
    norm->nused = norm->nread = 0;
    for (int i = 0; i < ARRAYS; i++) { /* those that are written stand last in enum slot, too */
        if (!norm->data[i])
            continue;
        norm->used[norm->nused++] = i;
        norm->nread += i < OUT;
        norm->native[i] = norm->storage[i] == norm->element && needs_no_blocks(norm, i);
        crossing |= col_stride(norm, i) != storage_size(norm->storage[i]);
    }
    choose_stores(norm);
    for (int n = 0; n < norm->nused; n++)
        staged |= !norm->native[norm->used[n]];
    ptrdiff_t block = BLOCK_BYTES / norm->itemsize;
    norm->max_rows = staged ? (crossing ? CROSSING_ROWS : block) : PTRDIFF_MAX;
    norm->max_cols = staged ? (crossing ? block / CROSSING_ROWS : block) : PTRDIFF_MAX;
}

static void choose_sums(norm_t *norm, enum panel_kernel lanes)
{
    int pixels = norm->walk == PIXELS;
    for (int way = 0; way < WAYS; way++)
        norm->sums[way][FIRST] = norm->sums[way][SECOND] = PANEL_KERNELS;
    norm->sums[LANE_SUMS][FIRST] = lanes;
    if (lanes == DEVIATIONS) {
        norm->sums[LANE_SUMS][SECOND] = WIDE_DEVIATIONS;
        norm->sums[WHOLE_SUMS][FIRST] = pixels ? DEVIATIONS_BY_COLUMN : DEVIATIONS_BY_ROW;
        norm->sums[WHOLE_SUMS][SECOND] = pixels ? WIDE_DEVIATIONS_BY_COLUMN : WIDE_DEVIATIONS_BY_ROW;
        norm->sums[SCATTERED_SUMS][FIRST] = pixels ? PANEL_KERNELS : SCATTERED_DEVIATIONS;
        norm->sums[SCATTERED_SUMS][SECOND] = pixels ? PANEL_KERNELS : WIDE_SCATTERED_DEVIATIONS;
    } else if (lanes == GRADIENT_TERMS) {
        norm->sums[WHOLE_SUMS][FIRST] = pixels ? GRADIENT_TERMS_BY_COLUMN : GRADIENT_TERMS_BY_ROW;
        norm->sums[SCATTERED_SUMS][FIRST] = pixels ? PANEL_KERNELS : SCATTERED_GRADIENT_TERMS;
    } else if (lanes == WEIGHTED_GRADIENT_TERMS) {
        norm->sums[WHOLE_SUMS][FIRST] = WEIGHTED_GRADIENT_TERMS_BY_ROW;
    }
}

static void choose_kernels(norm_t *norm)
{
    enum panel_kernel sums = PANEL_KERNELS;
    switch (norm->pass) {
    case MOMENTS:
        sums = DEVIATIONS;
        norm->elements = PANEL_KERNELS;
        break;
    case FORWARD:
        sums = DEVIATIONS;
        norm->elements = NORMALISE_ROWS + norm->walk;
        break;
    case INFERENCE:
        norm->elements = NORMALISE_ROWS + norm->walk;
        break;
    case ADDITION:
        norm->elements = UNCHANGED;
        break;
    case ADDITION_BACKWARD:
        norm->elements = UNCHANGED_GRADIENT;
        break;
    case BACKWARD:
        sums = norm->walk == SAMPLES ? WEIGHTED_GRADIENT_TERMS : GRADIENT_TERMS;
        norm->elements = INPUT_GRADIENT_ROWS + norm->walk;
        break;
    case BACKWARD_INFERENCE:
        sums = GRADIENT_TERMS;
        norm->elements = INPUT_GRADIENT_FIXED_ROWS + norm->walk;
        break;
    }
    choose_sums(norm, sums);
    norm->sums_form = is_backward(norm) ? norm->form & WITH_RELU : PLAIN;
    norm->nreads = 0;
    norm->sums_in_place = 1;
    for (int i = X; i <= Y; i++)
        if (norm->data[i]) {
            norm->reads[norm->nreads++] = i;
            norm->sums_in_place &= norm->native[i];
        }
}

/* Hand out the next so many bytes of scratch, or only count them. */
static void *carve(const norm_t *norm, size_t *used, ptrdiff_t bytes)
{
    void *place = norm->scratch ? norm->scratch + *used : NULL;
    *used += whole_lines((size_t)bytes);
    return place;
}

/* The same, as far behind the beginning of a cache line as the results that a kernel writes in place: lines of both are
 * read and written together. */
static char *carve_beside_out(const norm_t *norm, size_t *used, ptrdiff_t bytes)
{
    char *place = carve(norm, used, bytes + CACHE_LINE);
    return place && norm->native[OUT] && norm->element == norm->compute ? place + (uintptr_t)norm->data[OUT] % CACHE_LINE : place;
}

static size_t carve_scratch(norm_t *norm, int threads)
{
    size_t used = 0;
    ptrdiff_t doubles = sizeof(double);
    ptrdiff_t channels = norm->outer.count * norm->channels.count, statistics = norm->outer.count * norm->groups;
    int samples = norm->walk == SAMPLES;
    norm->rooms = carve(norm, &used, (ptrdiff_t)threads * ROOM_BYTES);
    norm->keeps = norm->kept > 0 ? carve(norm, &used, sizeof(norm_t)) : NULL;
    if (is_addition(norm))
        return used;
    ptrdiff_t sums = (samples ? statistics : channels) * norm->parts;
    ptrdiff_t computed = norm->pass == FORWARD || norm->pass == MOMENTS ? statistics : 0;
    norm->mean = carve(norm, &used, computed * doubles);
    norm->rstd = carve(norm, &used, computed * doubles);
    norm->var = carve(norm, &used, computed * doubles);
    norm->first = carve(norm, &used, sums_nothing(norm) ? 0 : sums * doubles);
    norm->second = carve(norm, &used, sums_nothing(norm) ? 0 : sums * doubles);
    for (int i = 0; i < 5; i++)
        norm->parameters[i] = carve(norm, &used, (samples ? statistics : channels) * norm->itemsize);
    if (norm->walk == PIXELS)
        norm->stripes = carve(norm, &used, threads * stripe_bytes(norm));
    if (samples) {
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
        norm->line = CACHE_LINE / norm->itemsize;
        if (is_addition(norm))
            set_rows_apart(norm);
        norm->walk = choose_walk(norm);
        norm->values = norm->per_group * norm->space.count;
        norm->per_value = norm->values ? 1 / (double)norm->values : 0;
        norm->parts = ceil_div(norm->walk == SAMPLES ? norm->per_group : norm->space.count, PART);
        norm->outer_part = ceil_div(larger(MIN_OUTER_PART, ceil_div(norm->outer.count, MAX_OUTER_PARTS)), GROUP) * GROUP;
        norm->outer_parts = ceil_div(norm->outer.count, norm->outer_part);
        choose_panels(norm);
        choose_kernels(norm);
    }
    return carve_scratch(norm, threads);
}
