/* Reductions along one axis: the space of a channel, or the channels of a sample. */
#include "norm/reduce.h"
#include "norm/tile.h"
#include <string.h>

/* The elements to reduce: the address of each array's element 0, and the axes of the others. */
typedef struct {
    const norm_t *norm;
    const axes_t *axes;
    char *bases[ARRAYS], *weight; /* weight: of element 0, or NULL */
    line_t line;                  /* the elements to reduce next */
    _Alignas(CACHE_LINE) double parameters[2][LANES]; /* of the kernel */
    _Alignas(CACHE_LINE) double lanes[2][LANES];
    _Alignas(CACHE_LINE) char blocks[3][BLOCK_BYTES];
} reduction_t;

/* The kernel's prefetch distance in bytes. If runs are separate, the data that follow are not 16 KiB ahead (batch norm,
 * NCHW 32x64x56x56: forward 1.4 -> 1.3 ms, fused 2.1 -> 1.9, backward 2.8 -> 2.4). If several arrays with long runs are
 * read in turn, the hardware prefetches them by itself (backward, NCHW 64x64x112x112: 10 % slower with software
 * prefetching). */
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

/* Set the addresses of an array's element and of its weight. */
static void start_at(reduction_t *reduction, ptrdiff_t at)
{
    const norm_t *norm = reduction->norm;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        reduction->line.starts[i] = reduction->bases[i] + offset_of(reduction->axes, i, at);
        reduction->line.aheads[i] = in_elements(norm, bytes_ahead(reduction, i, at));
    }
    if (reduction->weight)
        reduction->line.starts[WEIGHT] = reduction->weight + at * norm->itemsize;
}

/* ---- Full reducers, which add up each row by itself */

/* True if there is a kernel for elements that can be read in place, in one run. */
static int has_full_reducer(const norm_t *norm, enum statistics_pass pass)
{
    return norm->reads_direct && norm->reduce_kernels[REDUCE_FULL][pass];
}

/* Run a kernel that writes the sums of `count` statistics, at most MAX_REDUCED_ROWS: one row of its arrays for each. */
static void reduce_full(const norm_t *norm, enum reducer reducer, void **arrays, const ptrdiff_t *sizes, ptrdiff_t at,
                        ptrdiff_t count, enum statistics_pass pass, ptrdiff_t sum)
{
    int is_double = type_of_terms(norm, pass) == FLOAT64;
    double values[2][MAX_REDUCED_ROWS];
    float rounded[2][MAX_REDUCED_ROWS];
    int parameters = reduce_parameters(norm, at, count, pass, values[0], values[1]);
    for (int i = 0; i < parameters; i++) {
        for (ptrdiff_t k = 0; k < count; k++)
            rounded[i][k] = (float)values[i][k];
        arrays[PARAMETER + i] = is_double ? (void *)values[i] : (void *)rounded[i];
    }
    arrays[SUM] = norm->first + sum;
    arrays[SUM + 1] = norm->second + sum;
    norm->reduce_kernels[reducer][pass](arrays, sizes);
}

/* Reduce `columns` elements of each of `count` statistics with consecutive rows. */
static void reduce_rows(const reduction_t *reduction, ptrdiff_t columns, ptrdiff_t at, ptrdiff_t count,
                        enum statistics_pass pass, ptrdiff_t sum)
{
    const norm_t *norm = reduction->norm;
    ptrdiff_t sizes[SIZES] = {count, columns, [SUM_STEP] = norm->parts};
    int one_group = norm->groups == 1;
    void *arrays[SLOTS];
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        arrays[i] = reduction->line.starts[i];
        sizes[STEP + i] = one_group ? in_elements(norm, inner_stride(&norm->outer, i)) : norm->per_group;
        sizes[AHEAD + i] = reduction->line.aheads[i];
    }
    if (reduction->weight)
        arrays[WEIGHT] = reduction->line.starts[WEIGHT];
    sizes[STEP + WEIGHT] = one_group ? 0 : norm->per_group;
    reduce_full(norm, REDUCE_FULL, arrays, sizes, at, count, pass, sum);
}

/* ---- Scattered reducers: rows of lanes are read in place, in separate runs, by kernels that take tables of their
 * addresses. Loading the elements into blocks first takes longer than adding them. */

/* The maximum number of rows of a part that cross a boundary between runs */
#define MAX_JOINED_ROWS (PART / SHORTEST_SCATTERED_RUN + 2)

/* The bytes of a row, and of the elements of an incomplete group, of any type */
#define LANES_BYTES (LANES * sizeof(double))
#define REST_BYTES (GROUPS * sizeof(double))

typedef struct {
    void *rows[PART / LANES + 1]; /* addresses of rows; the last one is that of the incomplete group's elements */
    _Alignas(CACHE_LINE) char joined[MAX_JOINED_ROWS * 2 * LANES_BYTES], rest[REST_BYTES];
} row_table_t;

_Static_assert(3 * sizeof(row_table_t) <= THREAD_SCRATCH_BYTES, "the scratch memory of a thread holds all tables");

static int can_reduce_scattered(const norm_t *norm, const axes_t *axes, enum statistics_pass pass)
{
    ptrdiff_t length = axes->ndim == 2 ? axes->axis[1].extent : 0;
    return norm->reads_direct && norm->reduce_kernels[REDUCE_SCATTERED][pass] && length >= SHORTEST_SCATTERED_RUN &&
           length <= LONGEST_SCATTERED_RUN;
}

/* Copy one row of lanes. A copy of a size unknown to the compiler is a function call; 32 bytes take one or two
 * instructions. */
static void copy_lanes(const norm_t *norm, char *to, const char *from)
{
    for (ptrdiff_t i = 0; i < in_bytes(norm, LANES); i += 32)
        memcpy(to + i, from + i, 32);
}

/* Find rows of an array, starting at element `at`. A row that crosses a boundary between runs is joined: a whole row is
 * copied from either run, and the surplus is overwritten or unused. */
static void find_rows(row_table_t *table, const norm_t *norm, const axes_t *axes, int array, char *base, ptrdiff_t at,
                      ptrdiff_t rows)
{
    ptrdiff_t length = axes->axis[1].extent, step = axes->axis[0].strides[array], row_bytes = in_bytes(norm, LANES);
    ptrdiff_t left = length - at % length; /* remaining elements of the run */
    char *run_end = base + at / length * step + in_bytes(norm, length), *joined = table->joined + row_bytes;
    void **row = table->rows, **end = row + rows;
    for (;;) {
        char *address = run_end - in_bytes(norm, left);
        for (ptrdiff_t whole = smaller(left / LANES, end - row); whole > 0; whole--, address += row_bytes)
            *row++ = address;
        if (row == end)
            return;
        left %= LANES;
        run_end += step;
        if (left) {
            copy_lanes(norm, joined - row_bytes + in_bytes(norm, left), run_end - step - row_bytes);
            copy_lanes(norm, joined + in_bytes(norm, left), run_end - in_bytes(norm, length));
            *row++ = joined;
            joined += 2 * row_bytes;
            left -= LANES;
        }
        left += length;
    }
}

/* Load elements at, ..., end - 1 of an array, which may be in several runs. */
static void load_rest(const norm_t *norm, const axes_t *axes, int array, char *base, ptrdiff_t at, ptrdiff_t end,
                      char *to)
{
    for (ptrdiff_t run; at < end; at += run, to += in_bytes(norm, run)) {
        run = smaller(end - at, run_from(axes, at));
        load_tile(norm, array, &(tile_t){base + offset_of(axes, array, at), 1, run, 0, inner_stride(axes, array)}, to);
    }
}

/* The distance to the same elements of the next run, if they should be prefetched */
static ptrdiff_t next_run(const norm_t *norm, const axes_t *axes, int array, ptrdiff_t at)
{
    ptrdiff_t length = axes->axis[1].extent;
    int prefetches = norm->exceeds_l2 && length >= PREFETCHED_RUN && at + length < axes->count;
    return prefetches ? in_elements(norm, axes->axis[0].strides[array]) : 0;
}

/* Reduce elements at, ..., end - 1 of a statistic, at most one part of a sum. */
static void reduce_scattered(const reduction_t *reduction, int thread, ptrdiff_t at, ptrdiff_t end,
                             ptrdiff_t statistic, enum statistics_pass pass, ptrdiff_t sum)
{
    const norm_t *norm = reduction->norm;
    const axes_t *axes = reduction->axes;
    ptrdiff_t sizes[SIZES] = {1, end - at}, whole = (end - at) / GROUPS * GROUPS;
    row_table_t *tables = thread_scratch_of(norm, thread);
    void *arrays[SLOTS];
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        find_rows(&tables[n], norm, axes, i, reduction->bases[i], at, whole / LANES);
        load_rest(norm, axes, i, reduction->bases[i], at + whole, end, tables[n].rest);
        tables[n].rows[whole / LANES] = tables[n].rest;
        arrays[i] = tables[n].rows;
        sizes[AHEAD + i] = next_run(norm, axes, i, at);
    }
    reduce_full(norm, REDUCE_SCATTERED, arrays, sizes, statistic, 1, pass, sum);
}

/* ---- Partial reducers: elements may be loaded into blocks */

/* Fill a parameter with one value for each lane. */
static void fill_lanes(char *parameter, int is_double, double value)
{
    float rounded = (float)value;
    for (int k = 0; k < LANES && is_double; k++)
        ((double *)parameter)[k] = value;
    for (int k = 0; k < LANES && !is_double; k++)
        ((float *)parameter)[k] = rounded;
}

/* Append elements to blocks. */
static void collect(reduction_t *reduction, ptrdiff_t at, ptrdiff_t count, ptrdiff_t filled)
{
    const norm_t *norm = reduction->norm;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        tile_t tile = {reduction->bases[i] + offset_of(reduction->axes, i, at), 1, count, 0, col_stride(norm, i)};
        load_tile(norm, i, &tile, reduction->blocks[n] + in_bytes(norm, filled));
        reduction->line.starts[i] = reduction->blocks[n];
        reduction->line.aheads[i] = 0;
    }
    if (reduction->weight)
        reduction->line.starts[WEIGHT] = reduction->weight + (at - filled) * norm->itemsize;
}

/* True if this many elements of a run have a kernel call of their own. If runs are short, completing groups from the
 * next run costs more than copying the elements (NCHW 32x256x14x14, forward, one thread: 1.0 ms instead of 0.70). Whole
 * groups need no completion. */
static int is_read_in_place(const reduction_t *reduction, ptrdiff_t elements)
{
    ptrdiff_t run = run_from(reduction->axes, 0);
    return reduction->norm->reads_direct && elements >= GROUPS && (run >= 4 * GROUPS || run % GROUPS == 0);
}

/* Add elements at, at + 1, ..., end - 1. Whole groups are read in place if possible; the rest between runs is loaded
 * into blocks. */
static void add_elements(reduction_t *reduction, ptrdiff_t at, ptrdiff_t end, enum statistics_pass pass)
{
    const norm_t *norm = reduction->norm;
    ptrdiff_t block = BLOCK_BYTES / norm->itemsize, filled = 0;
    for (ptrdiff_t run; at < end; at += run) {
        run = smaller(end - at, run_from(reduction->axes, at));
        int is_last = at + run == end, in_place = is_read_in_place(reduction, run);
        if (!filled && (in_place || (is_last && norm->reads_direct))) {
            run -= is_last ? 0 : run % GROUPS;
            start_at(reduction, at);
            add_line(norm, &reduction->line, run, pass);
            continue;
        }
        run = smaller(run, in_place ? GROUPS - filled % GROUPS : block - filled);
        collect(reduction, at, run, filled);
        filled += run;
        if (filled % GROUPS == 0 || at + run == end) {
            add_line(norm, &reduction->line, filled, pass);
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
    reduction->line.width = 1;
    reduction->line.parameter_bytes = 0;
    reduction->line.starts[WEIGHT] = NULL;
    for (int i = 0; i < 2; i++) {
        reduction->line.parameters[i] = (char *)reduction->parameters[i];
        reduction->line.lanes[i] = reduction->lanes[i];
    }
    for (int i = 0; i < parameters; i++)
        fill_lanes((char *)reduction->parameters[i], type_of_terms(norm, pass) == FLOAT64, values[i]);
    memset(reduction->lanes, 0, sizeof reduction->lanes);
    add_elements(reduction, at, end, pass);
    norm->first[sum] = sum_of_lanes(reduction->lanes[0], 1);
    norm->second[sum] = sum_of_lanes(reduction->lanes[1], 1);
}

/* ---- The choice of a reducer */

/* Reduce elements begin, ..., end - 1 of each of `count` statistics. */
static void reduce_part(reduction_t *reduction, int thread, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t at,
                        ptrdiff_t count, enum statistics_pass pass, ptrdiff_t sum)
{
    if (has_full_reducer(reduction->norm, pass) && run_from(reduction->axes, begin) >= end - begin) {
        start_at(reduction, begin);
        reduce_rows(reduction, end - begin, at, count, pass, sum);
    } else if (can_reduce_scattered(reduction->norm, reduction->axes, pass)) {
        reduce_scattered(reduction, thread, begin, end, at, pass, sum);
    } else {
        reduce_by_lanes(reduction, begin, end, at, pass, sum);
    }
}

/* Set the addresses of an outer index and a channel. */
static void point_to(reduction_t *reduction, const norm_t *norm, const axes_t *axes, ptrdiff_t o, ptrdiff_t channel)
{
    reduction->norm = norm;
    reduction->axes = axes;
    reduction->weight = norm->layout == ROWS && is_backward(norm) ? norm->weight_row : NULL;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        reduction->bases[i] = norm->data[i] + offset_of(&norm->outer, i, o) + offset_of(&norm->channels, i, channel);
    }
}

void reduce_channel(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t part,
                    enum statistics_pass pass)
{
    reduction_t reduction;
    ptrdiff_t sum = (o * norm->channels.count + channel) * norm->parts + part;
    ptrdiff_t begin = part * PART, end = smaller(begin + PART, norm->space.count);
    point_to(&reduction, norm, &norm->space, o, channel);
    reduce_part(&reduction, thread, begin, end, o * norm->groups + channel / norm->per_group, 1, pass, sum);
}

void reduce_samples(const norm_t *norm, int thread, ptrdiff_t at, ptrdiff_t count, ptrdiff_t part,
                    enum statistics_pass pass)
{
    reduction_t reduction;
    ptrdiff_t begin = at % norm->groups * norm->per_group + part * PART;
    ptrdiff_t end = begin + smaller(PART, norm->per_group - part * PART);
    point_to(&reduction, norm, &norm->channels, at / norm->groups, 0);
    reduce_part(&reduction, thread, begin, end, at, count, pass, at * norm->parts + part);
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
