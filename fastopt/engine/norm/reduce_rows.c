#include "norm/reduce_rows.h"
#include "norm/reduce.h"
#include "norm/reduce_scattered.h"
#include "norm/tile.h"
#include <string.h>

/* What is reduced: the addresses of each array's element 0, and the axes along which the others follow. */
typedef struct {
    const norm_t *norm;
    const axes_t *axes;
    tile_kernel_t kernel;
    char *bases[ARRAYS], *weight; /* weight: of element 0, or NULL */
    char *starts[ARRAYS];         /* the addresses of the elements that are reduced next */
    ptrdiff_t aheads[ARRAYS];     /* how many elements ahead to prefetch; 0: not at all */
    _Alignas(CACHE_LINE) double parameters[2][LANES]; /* of the kernel */
    _Alignas(CACHE_LINE) double lanes[2][LANES];
    _Alignas(CACHE_LINE) char blocks[3][BLOCK_BYTES];
} reduction_t;

/* How many bytes ahead of an array's element the kernel should prefetch. What follows in runs that are separate is
 * not what lies 16 KiB ahead (batch norm, NCHW 32x64x56x56: forward 1.4 -> 1.3 ms, fused 2.1 -> 1.9, backward 2.8 ->
 * 2.4). If several arrays are read in turn, a processor prefetches long runs by itself (backward, NCHW
 * 64x64x112x112: 10 % slower with prefetching). */
static ptrdiff_t bytes_ahead(const reduction_t *reduction, int array, ptrdiff_t at)
{
    const norm_t *norm = reduction->norm;
    const axes_t *axes = reduction->axes;
    ptrdiff_t run = run_from(axes, 0);
    int is_long = in_bytes(norm, run) > LONG_RUN_BYTES;
    if (!norm->exceeds_l2 || (is_long && norm->nreads > 1))
        return 0;
    if (is_long || axes->ndim < 2)
        return ROW_BYTES_AHEAD;
    return at + run < axes->count ? offset_of(axes, array, at + run) - offset_of(axes, array, at) : 0;
}

/* Point to an array's element, and to its weight. */
static void start_at(reduction_t *reduction, ptrdiff_t at)
{
    const norm_t *norm = reduction->norm;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        reduction->starts[i] = reduction->bases[i] + offset_of(reduction->axes, i, at);
        reduction->aheads[i] = in_elements(norm, bytes_ahead(reduction, i, at));
    }
    if (reduction->weight)
        reduction->starts[WEIGHT] = reduction->weight + at * norm->itemsize;
}

/* ---- By full reducers, which add up each row by itself */

/* True if there is a kernel for elements that need not be collected in blocks, where they lie in one run. */
static int has_full_reducer(const norm_t *norm, enum statistics_pass pass)
{
    return norm->reads_direct && norm->reduce_kernels[REDUCE_FULL][pass];
}

/* Reduce `columns` elements of each of `count` statistics, whose rows follow each other, from the start on. */
static void reduce_rows(const reduction_t *reduction, ptrdiff_t columns, ptrdiff_t at, ptrdiff_t count,
                        enum statistics_pass pass, ptrdiff_t sum)
{
    const norm_t *norm = reduction->norm;
    ptrdiff_t sizes[SIZES] = {count, columns, [SUM_STEP] = norm->parts};
    int one_group = norm->groups == 1;
    void *arrays[SLOTS];
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        arrays[i] = reduction->starts[i];
        sizes[STEP + i] = one_group ? in_elements(norm, inner_stride(&norm->outer, i)) : norm->per_group;
        sizes[AHEAD + i] = reduction->aheads[i];
    }
    if (reduction->weight)
        arrays[WEIGHT] = reduction->starts[WEIGHT];
    sizes[STEP + WEIGHT] = one_group ? 0 : norm->per_group;
    reduce_full(norm, REDUCE_FULL, arrays, sizes, at, count, pass, sum);
}

/* ---- By partial reducers: elements may be collected in blocks */

/* Fill a parameter with one value for each lane. */
static void fill_lanes(char *parameter, int is_double, double value)
{
    float rounded = (float)value;
    for (int k = 0; k < LANES && is_double; k++)
        ((double *)parameter)[k] = value;
    for (int k = 0; k < LANES && !is_double; k++)
        ((float *)parameter)[k] = rounded;
}

/* Add `columns` columns of `rows` rows to lanes, from a position in elements and a lane on. */
static void add_rows(reduction_t *reduction, ptrdiff_t position, ptrdiff_t rows, ptrdiff_t lane, ptrdiff_t columns)
{
    const norm_t *norm = reduction->norm;
    ptrdiff_t sizes[SIZES] = {rows, columns, LANES, LANES, LANES, LANES, LANES, LANES, LANES};
    void *arrays[SLOTS];
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        arrays[i] = reduction->starts[i] + in_bytes(norm, position + lane);
        sizes[AHEAD + i] = reduction->aheads[i];
    }
    if (reduction->weight)
        arrays[WEIGHT] = reduction->starts[WEIGHT] + (position + lane) * norm->itemsize;
    arrays[PARAMETER] = reduction->parameters[0]; /* the same for all lanes */
    arrays[PARAMETER + 1] = reduction->parameters[1];
    arrays[SUM] = reduction->lanes[0] + lane;
    arrays[SUM + 1] = reduction->lanes[1] + lane;
    reduction->kernel(arrays, sizes);
}

/* Add `count` elements, the first of which belongs to lane 0. Of an incomplete group, the first lanes have one more. */
static void add_run(reduction_t *reduction, ptrdiff_t count)
{
    ptrdiff_t rest = count % GROUPS, whole = count - rest;
    if (whole)
        add_rows(reduction, 0, whole / LANES, 0, LANES);
    if (rest % LANES)
        add_rows(reduction, whole, rest / LANES + 1, 0, rest % LANES);
    if (rest >= LANES)
        add_rows(reduction, whole, rest / LANES, rest % LANES, LANES - rest % LANES);
}

/* Load elements into blocks, behind those that are there. */
static void collect(reduction_t *reduction, ptrdiff_t at, ptrdiff_t count, ptrdiff_t filled)
{
    const norm_t *norm = reduction->norm;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        tile_t tile = {reduction->bases[i] + offset_of(reduction->axes, i, at), 1, count, 0, col_stride(norm, i)};
        load_tile(norm, i, &tile, reduction->blocks[n] + in_bytes(norm, filled));
        reduction->starts[i] = reduction->blocks[n];
        reduction->aheads[i] = 0;
    }
    if (reduction->weight)
        reduction->starts[WEIGHT] = reduction->weight + (at - filled) * norm->itemsize;
}

/* True if so many elements of a run have a call of their own. What short runs leave for the next one to complete
 * costs more than to copy them (NCHW 32x256x14x14, forward, one thread: 1.0 ms, not 0.70); whole groups leave
 * nothing. */
static int is_read_in_place(const reduction_t *reduction, ptrdiff_t elements)
{
    ptrdiff_t run = run_from(reduction->axes, 0);
    return reduction->norm->reads_direct && elements >= GROUPS && (run >= 4 * GROUPS || run % GROUPS == 0);
}

/* Add elements at, at + 1, ..., end - 1. Whole groups are read in place if they can be; what is left between runs is
 * collected in blocks. */
static void add_elements(reduction_t *reduction, ptrdiff_t at, ptrdiff_t end)
{
    const norm_t *norm = reduction->norm;
    ptrdiff_t block = BLOCK_BYTES / norm->itemsize, filled = 0;
    for (ptrdiff_t run; at < end; at += run) {
        run = smaller(end - at, run_from(reduction->axes, at));
        int is_last = at + run == end, in_place = is_read_in_place(reduction, run);
        if (!filled && (in_place || (is_last && norm->reads_direct))) {
            run -= is_last ? 0 : run % GROUPS;
            start_at(reduction, at);
            add_run(reduction, run);
            continue;
        }
        run = smaller(run, in_place ? GROUPS - filled % GROUPS : block - filled);
        collect(reduction, at, run, filled);
        filled += run;
        if (filled % GROUPS == 0 || at + run == end) {
            add_run(reduction, filled);
            filled = 0;
        }
    }
}

/* Reduce elements at, ..., end - 1 of a statistic. */
static void reduce_by_lanes(reduction_t *reduction, ptrdiff_t at, ptrdiff_t end, ptrdiff_t statistic,
                            enum statistics_pass pass, ptrdiff_t sum)
{
    const norm_t *norm = reduction->norm;
    double values[2];
    int parameters = reduce_parameters(norm, statistic, 1, pass, values, values + 1);
    for (int i = 0; i < parameters; i++)
        fill_lanes((char *)reduction->parameters[i], pass == SECOND_PASS || norm->compute == FLOAT64, values[i]);
    reduction->kernel = norm->reduce_kernels[REDUCE_PARTIAL][pass];
    memset(reduction->lanes, 0, sizeof reduction->lanes);
    add_elements(reduction, at, end);
    norm->first[sum] = sum_of_lanes(reduction->lanes[0], 1);
    norm->second[sum] = sum_of_lanes(reduction->lanes[1], 1);
}

/* ---- By whichever reducer there is */

void reduce_channel(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t part,
                    enum statistics_pass pass)
{
    reduction_t reduction;
    ptrdiff_t sum = (o * norm->channels.count + channel) * norm->parts + part;
    ptrdiff_t begin = part * PART, end = smaller(begin + PART, norm->space.count);
    ptrdiff_t statistic = o * norm->groups + channel / norm->per_group;
    reduction.norm = norm;
    reduction.axes = &norm->space;
    reduction.weight = NULL;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        reduction.bases[i] = norm->data[i] + offset_of(&norm->outer, i, o) + offset_of(&norm->channels, i, channel);
    }
    if (has_full_reducer(norm, pass) && run_from(&norm->space, begin) >= end - begin) {
        start_at(&reduction, begin);
        reduce_rows(&reduction, end - begin, statistic, 1, pass, sum);
    } else if (can_reduce_scattered(norm, &norm->space, pass)) {
        reduce_scattered(norm, thread, &norm->space, reduction.bases, begin, end, statistic, pass, sum);
    } else {
        reduce_by_lanes(&reduction, begin, end, statistic, pass, sum);
    }
}

ptrdiff_t samples_per_call(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum statistics_pass pass)
{
    int is_reduced = pass == FIRST_PASS || needs_second_pass(norm, at);
    if (!is_reduced || !has_full_reducer(norm, pass) || norm->parts > 1 || norm->channels.ndim > 1)
        return 1;
    ptrdiff_t o = at / norm->groups, group = at % norm->groups, count = 1;
    ptrdiff_t most = norm->groups == 1 ? run_from(&norm->outer, o) : norm->groups - group;
    most = smaller(smaller(most, end - at), MAX_REDUCED_ROWS);
    while (count < most && (pass == FIRST_PASS || needs_second_pass(norm, at + count)))
        count++;
    return count;
}

void reduce_samples(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, ptrdiff_t part, enum statistics_pass pass)
{
    reduction_t reduction;
    ptrdiff_t o = at / norm->groups, group = at % norm->groups, sum = at * norm->parts + part;
    ptrdiff_t begin = group * norm->per_group + part * PART, end = begin + smaller(PART, norm->per_group - part * PART);
    reduction.norm = norm;
    reduction.axes = &norm->channels;
    reduction.weight = is_backward(norm) ? norm->weight_row : NULL;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        reduction.bases[i] = norm->data[i] + offset_of(&norm->outer, i, o);
    }
    if (has_full_reducer(norm, pass) && run_from(&norm->channels, begin) >= end - begin) {
        start_at(&reduction, begin);
        reduce_rows(&reduction, end - begin, at, count, pass, sum);
    } else {
        reduce_by_lanes(&reduction, begin, end, at, pass, sum);
    }
}
