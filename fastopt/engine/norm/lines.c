#include "norm/parts.h"
#include <string.h>

/* Sums along one axis: the space of a channel, or the channels of a sample. */

static void fill(char *parameter, int is_double, double value)
{
    float rounded = (float)value;
    for (int k = 0; k < LANES && is_double; k++)
        ((double *)parameter)[k] = value;
    for (int k = 0; k < LANES && !is_double; k++)
        ((float *)parameter)[k] = rounded;
}

/* What is summed up: where each array's element 0 is, along which axes; the weight of element 0, or NULL. */
typedef struct {
    const norm_t *norm;
    const axes_t *axes;
    panel_kernel_t kernel;
    char *bases[ARRAYS], *weight;
    char *starts[ARRAYS];     /* where the elements at hand begin */
    ptrdiff_t aheads[ARRAYS]; /* those to ask for stand so many elements on; 0: none */
    _Alignas(64) double parameters[2][LANES]; /* of the kernel */
    _Alignas(64) double lanes[2][LANES];
    _Alignas(64) char blocks[3][BLOCK_BYTES];
} line_t;

/* How far on from an array's element those stand that the kernel is to ask for, in bytes. Of runs that are apart, what
 * follows is not what stands 16 KiB on (batch norm, NCHW 32x64x56x56: forward 1.4 -> 1.3 ms, fused 2.1 -> 1.9, backward
 * 2.8 -> 2.4). Where several arrays are read by turns, a processor sees long runs coming by itself (backward, NCHW
 * 64x64x112x112: 10 % slower with asking). */
static ptrdiff_t ahead_of(const line_t *line, int array, ptrdiff_t at)
{
    const norm_t *norm = line->norm;
    const axes_t *axes = line->axes;
    ptrdiff_t run = run_from(axes, 0);
    int is_long = in_bytes(norm, run) > LONG_RUN_BYTES;
    if (!norm->far || (is_long && norm->nreads > 1))
        return 0;
    if (is_long || axes->ndim < 2)
        return ROW_BYTES_AHEAD;
    return at + run < axes->count ? offset_of(axes, array, at + run) - offset_of(axes, array, at) : 0;
}

/* ---- Row by row: by kernels that add up each by itself */

/* True if elements need not be collected, where they stand in line. */
static int has_rows(const norm_t *norm, enum round round)
{
    return norm->sums_in_place && norm->sums_kernels[WHOLE_SUMS][round];
}

/* Sum up `columns` elements of each of `count` statistics, whose rows follow each other, from these on. */
static void sum_by_row(const line_t *line, ptrdiff_t columns, ptrdiff_t at, ptrdiff_t count, enum round round, ptrdiff_t sum)
{
    const norm_t *norm = line->norm;
    ptrdiff_t sizes[SIZES] = {count, columns, [SUM_STEP] = norm->parts};
    int one_group = norm->groups == 1;
    void *arrays[SLOTS];
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        arrays[i] = line->starts[i];
        sizes[STEP + i] = one_group ? in_elements(norm, inner_stride(&norm->outer, i)) : norm->per_group;
        sizes[AHEAD + i] = line->aheads[i];
    }
    if (line->weight)
        arrays[WEIGHT] = line->starts[WEIGHT];
    sizes[STEP + WEIGHT] = one_group ? 0 : norm->per_group;
    sum_whole(norm, WHOLE_SUMS, arrays, sizes, at, count, round, sum);
}

/* ---- Element by element: a line may be collected in blocks */

/* Add `columns` columns of `rows` rows to lanes, from a position in elements and a lane on. */
static void sum_rows(line_t *line, ptrdiff_t position, ptrdiff_t rows, ptrdiff_t lane, ptrdiff_t columns)
{
    const norm_t *norm = line->norm;
    ptrdiff_t sizes[SIZES] = {rows, columns, LANES, LANES, LANES, LANES, LANES, LANES, LANES};
    void *arrays[SLOTS];
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        arrays[i] = line->starts[i] + in_bytes(norm, position + lane);
        sizes[AHEAD + i] = line->aheads[i];
    }
    if (line->weight)
        arrays[WEIGHT] = line->starts[WEIGHT] + (position + lane) * norm->itemsize;
    arrays[PARAMETER] = line->parameters[0]; /* the same for all lanes */
    arrays[PARAMETER + 1] = line->parameters[1];
    arrays[SUM] = line->lanes[0] + lane;
    arrays[SUM + 1] = line->lanes[1] + lane;
    line->kernel(arrays, sizes);
}

/* Add `count` elements, the first of which belongs to lane 0. Of an incomplete group, the first lanes have one more. */
static void sum_run(line_t *line, ptrdiff_t count)
{
    ptrdiff_t rest = count % GROUPS, whole = count - rest;
    if (whole)
        sum_rows(line, 0, whole / LANES, 0, LANES);
    if (rest % LANES)
        sum_rows(line, whole, rest / LANES + 1, 0, rest % LANES);
    if (rest >= LANES)
        sum_rows(line, whole, rest / LANES, rest % LANES, LANES - rest % LANES);
}

/* Point to an array's element, and to its weight. */
static void start_at(line_t *line, ptrdiff_t at)
{
    const norm_t *norm = line->norm;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        line->starts[i] = line->bases[i] + offset_of(line->axes, i, at);
        line->aheads[i] = in_elements(norm, ahead_of(line, i, at));
    }
    if (line->weight)
        line->starts[WEIGHT] = line->weight + at * norm->itemsize;
}

/* Load elements into the line's blocks, behind those that are there. */
static void collect(line_t *line, ptrdiff_t at, ptrdiff_t count, ptrdiff_t filled)
{
    const norm_t *norm = line->norm;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        tile_t tile = {line->bases[i] + offset_of(line->axes, i, at), 1, count, 0, col_stride(norm, i)};
        load_tile(norm, i, &tile, line->blocks[n] + in_bytes(norm, filled));
        line->starts[i] = line->blocks[n];
        line->aheads[i] = 0;
    }
    if (line->weight)
        line->starts[WEIGHT] = line->weight + (at - filled) * norm->itemsize;
}

/* True if so many elements in line have a call of their own. What short runs leave over for the next to complete costs
 * more than to copy them (NCHW 32x256x14x14, forward, one thread: 1.0 ms, not 0.70); whole groups leave nothing. */
static int stands_alone(const line_t *line, ptrdiff_t elements)
{
    ptrdiff_t run = run_from(line->axes, 0);
    return line->norm->sums_in_place && elements >= GROUPS && (run >= 4 * GROUPS || run % GROUPS == 0);
}

/* Sum up elements at, at + 1, ..., end - 1. Whole groups are read in place if they can be; what is left between runs is
 * collected in blocks. */
static void sum_elements(line_t *line, ptrdiff_t at, ptrdiff_t end)
{
    const norm_t *norm = line->norm;
    ptrdiff_t block = BLOCK_BYTES / norm->itemsize, filled = 0;
    for (ptrdiff_t run; at < end; at += run) {
        run = smaller(end - at, run_from(line->axes, at));
        int complete = at + run == end, alone = stands_alone(line, run);
        if (!filled && (alone || (complete && norm->sums_in_place))) {
            run -= complete ? 0 : run % GROUPS;
            start_at(line, at);
            sum_run(line, run);
            continue;
        }
        run = smaller(run, alone ? GROUPS - filled % GROUPS : block - filled);
        collect(line, at, run, filled);
        filled += run;
        if (filled % GROUPS == 0 || at + run == end) {
            sum_run(line, filled);
            filled = 0;
        }
    }
}

/* Sum up elements at, ..., end - 1 of a statistic. */
static void sum_line(line_t *line, ptrdiff_t at, ptrdiff_t end, ptrdiff_t statistic, enum round round, ptrdiff_t sum)
{
    const norm_t *norm = line->norm;
    double values[2];
    int parameters = sum_parameters_of(norm, statistic, 1, round, values, values + 1);
    for (int i = 0; i < parameters; i++)
        fill((char *)line->parameters[i], round == SECOND || norm->compute == FLOAT64, values[i]);
    line->kernel = norm->sums_kernels[LANE_SUMS][round];
    memset(line->lanes, 0, sizeof line->lanes);
    sum_elements(line, at, end);
    norm->first[sum] = sum_of_lanes(line->lanes[0], 1);
    norm->second[sum] = sum_of_lanes(line->lanes[1], 1);
}

/* ---- Either */

void sum_plane(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t part, enum round round)
{
    line_t line;
    ptrdiff_t sum = (o * norm->channels.count + channel) * norm->parts + part;
    ptrdiff_t begin = part * PART, end = smaller(begin + PART, norm->space.count);
    ptrdiff_t statistic = o * norm->groups + channel / norm->per_group;
    line.norm = norm;
    line.axes = &norm->space;
    line.weight = NULL;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        line.bases[i] = norm->data[i] + offset_of(&norm->outer, i, o) + offset_of(&norm->channels, i, channel);
    }
    if (has_rows(norm, round) && run_from(&norm->space, begin) >= end - begin) {
        start_at(&line, begin);
        sum_by_row(&line, end - begin, statistic, 1, round, sum);
    } else if (has_scattered(norm, &norm->space, round)) {
        sum_scattered(norm, thread, &norm->space, line.bases, begin, end, statistic, round, sum);
    } else {
        sum_line(&line, begin, end, statistic, round, sum);
    }
}

ptrdiff_t samples_in_rows(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum round round)
{
    int waits = round == FIRST || waits_for_second(norm, at);
    if (!waits || !has_rows(norm, round) || norm->parts > 1 || norm->channels.ndim > 1)
        return 1;
    ptrdiff_t o = at / norm->groups, group = at % norm->groups, count = 1;
    ptrdiff_t most = norm->groups == 1 ? run_from(&norm->outer, o) : norm->groups - group;
    most = smaller(smaller(most, end - at), MAX_REDUCED_ROWS);
    while (count < most && (round == FIRST || waits_for_second(norm, at + count)))
        count++;
    return count;
}

void sum_samples(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, ptrdiff_t part, enum round round)
{
    line_t line;
    ptrdiff_t o = at / norm->groups, group = at % norm->groups, sum = at * norm->parts + part;
    ptrdiff_t begin = group * norm->per_group + part * PART, end = begin + smaller(PART, norm->per_group - part * PART);
    line.norm = norm;
    line.axes = &norm->channels;
    line.weight = is_backward(norm) ? norm->weight_row : NULL;
    for (int n = 0; n < norm->nreads; n++)
        line.bases[norm->reads[n]] = norm->data[norm->reads[n]] + offset_of(&norm->outer, norm->reads[n], o);
    if (has_rows(norm, round) && run_from(&norm->channels, begin) >= end - begin) {
        start_at(&line, begin);
        sum_by_row(&line, end - begin, at, count, round, sum);
    } else {
        sum_line(&line, begin, end, at, round, sum);
    }
}
