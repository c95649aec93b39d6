#include "norm_parts.h"
#include <string.h>

/* Columns of pixels that are collected, or get their parameters, together. */
#define STRIPE 64

/* Fewer channels than this are summed up as rows of LANES pixels. */
#define NARROW 32

/* A line of more bytes is a long one. */
#define LONG_LINE 32768

/* Add up lanes pairwise; a lane is `width` sums. */
static inline void fold_lanes(double *restrict lanes, ptrdiff_t width)
{
    for (int half = LANES / 2; half; half /= 2)
        for (ptrdiff_t i = 0; i < half * width; i++)
            lanes[i] += lanes[half * width + i];
}

/* The same, of one sum. */
static inline double sum_of_lanes(double *lanes)
{
    for (int i = 0; i < 8; i++)
        lanes[i] += lanes[i + 8];
    for (int i = 0; i < 4; i++)
        lanes[i] += lanes[i + 4];
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
}

static double value_at(const norm_t *norm, char *element)
{
    _Alignas(8) char value[8];
    if (norm->storage[X] == norm->compute)
        return get_real(norm, element, 0);
    norm->codecs[norm->storage[X]].load(&(tile_t){element, 1, 1, 0, 0}, value);
    return get_real(norm, value, 0);
}

void centres_of(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum round round, double *centres)
{
    if (round == SECOND && norm->compute == FLOAT64) {
        memcpy(centres, norm->mean + at, (size_t)count * sizeof(double));
        return;
    }
    ptrdiff_t o = at / norm->groups, group = at % norm->groups;
    ptrdiff_t step = norm->per_group * inner_stride(&norm->channels, X);
    for (ptrdiff_t k = 0, run; k < count; k += run) { /* groups that stand at one distance */
        ptrdiff_t channel = group * norm->per_group;
        char *first = norm->data[X] + offset_of(&norm->outer, X, o) + offset_of(&norm->channels, X, channel);
        run = smaller(smaller(count - k, norm->groups - group), ceil_div(run_from(&norm->channels, channel), norm->per_group));
        for (ptrdiff_t i = 0; i < run; i++)
            centres[k + i] = value_at(norm, first + i * step);
        group += run;
        if (group == norm->groups) {
            group = 0;
            o++;
        }
    }
}

static void fill(char *parameter, int is_double, double value)
{
    float rounded = (float)value;
    for (int k = 0; k < LANES && is_double; k++)
        ((double *)parameter)[k] = value;
    for (int k = 0; k < LANES && !is_double; k++)
        ((float *)parameter)[k] = rounded;
}

static ptrdiff_t parameter_size(const norm_t *norm, enum round round)
{
    return round == SECOND ? (ptrdiff_t)sizeof(double) : norm->itemsize;
}

static panel_kernel_t kernel_of(const norm_t *norm, enum round round)
{
    return round == SECOND ? norm->second_sums_kernel : norm->sums_kernel;
}

/* ---- Along one axis: the space of a channel, or the channels of a sample */

/* What is summed up: where each array's element 0 is, along which axes; the weight of element 0, or NULL. */
typedef struct {
    const norm_t *norm;
    const axes_t *axes;
    panel_kernel_t kernel;
    char *bases[ARRAYS], *weight;
    char *starts[ARRAYS]; /* where the elements at hand begin */
    _Alignas(64) double parameters[2][LANES]; /* of the kernel */
    _Alignas(64) double lanes[2][LANES];
    _Alignas(64) char blocks[3][BLOCK_BYTES];
} line_t;

/* True if the kernel is to ask for what stands behind. Where several arrays are read by turns, it sees long lines coming
 * by itself (backward, NCHW 64x64x112x112: 10 % slower with asking), and short ones not (32x64x56x56: 12 % faster). */
static int asks(const line_t *line)
{
    const norm_t *norm = line->norm;
    return norm->far && (norm->nreads == 1 || line->axes->count * norm->itemsize <= LONG_LINE);
}

/* Add `columns` columns of `rows` rows to lanes, from a position in elements and a lane on. */
static void sum_rows(line_t *line, ptrdiff_t position, ptrdiff_t rows, ptrdiff_t lane, ptrdiff_t columns)
{
    const norm_t *norm = line->norm;
    ptrdiff_t sizes[SIZES] = {rows, columns, LANES, LANES, LANES, LANES, LANES, LANES, LANES, [FAR_AWAY] = asks(line)};
    void *arrays[SLOTS];
    ptrdiff_t offset = (position + lane) * norm->itemsize;
    for (int n = 0; n < norm->nreads; n++)
        arrays[norm->reads[n]] = line->starts[norm->reads[n]] + offset;
    if (line->weight)
        arrays[WEIGHT] = line->starts[WEIGHT] + offset;
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
        load_tile(norm, i, &tile, line->blocks[n] + filled * norm->itemsize);
        line->starts[i] = line->blocks[n];
    }
    if (line->weight)
        line->starts[WEIGHT] = line->weight + (at - filled) * norm->itemsize;
}

/* Sum up elements at, at + 1, ..., end - 1. Whole groups are read in place if they can be; what is left between runs is
 * collected in blocks. */
static void sum_elements(line_t *line, ptrdiff_t at, ptrdiff_t end)
{
    const norm_t *norm = line->norm;
    ptrdiff_t block = BLOCK_BYTES / norm->itemsize, filled = 0;
    for (ptrdiff_t run; at < end; at += run) {
        run = smaller(end - at, run_from(line->axes, at));
        int complete = at + run == end;
        if (norm->sums_in_place && !filled && (run >= GROUPS || complete)) {
            run -= complete ? 0 : run % GROUPS;
            start_at(line, at);
            sum_run(line, run);
            continue;
        }
        run = smaller(run, norm->sums_in_place && run >= GROUPS ? GROUPS - filled % GROUPS : block - filled);
        collect(line, at, run, filled);
        filled += run;
        if (filled % GROUPS == 0 || at + run == end) {
            sum_run(line, filled);
            filled = 0;
        }
    }
}

/* Sum up a part of one channel's space, or of one group's channels. */
static void sum_line(line_t *line, ptrdiff_t at, ptrdiff_t end, ptrdiff_t o, ptrdiff_t group, enum round round,
                     double *first, double *second)
{
    const norm_t *norm = line->norm;
    ptrdiff_t statistic = o * norm->groups + group;
    int is_double = round == SECOND || norm->compute == FLOAT64;
    double centre;
    if (norm->sums == DEVIATIONS) {
        centres_of(norm, statistic, 1, round, &centre);
        fill((char *)line->parameters[0], is_double, centre);
    } else {
        fill((char *)line->parameters[0], is_double, norm->mean[statistic]);
        fill((char *)line->parameters[1], is_double, norm->rstd[statistic]);
    }
    line->kernel = kernel_of(norm, round);
    memset(line->lanes, 0, sizeof line->lanes);
    sum_elements(line, at, end);
    *first = sum_of_lanes(line->lanes[0]);
    *second = sum_of_lanes(line->lanes[1]);
}

static void sum_plane(const norm_t *norm, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t part, enum round round)
{
    line_t line;
    line.norm = norm;
    line.axes = &norm->space;
    line.weight = NULL;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        line.bases[i] = norm->data[i] + offset_of(&norm->outer, i, o) + offset_of(&norm->channels, i, channel);
    }
    ptrdiff_t sum = (o * norm->channels.count + channel) * norm->parts + part;
    sum_line(&line, part * PART, smaller((part + 1) * PART, norm->space.count), o, channel / norm->per_group,
             round, &norm->first[sum], &norm->second[sum]);
}

void sum_sample(const norm_t *norm, ptrdiff_t o, ptrdiff_t group, ptrdiff_t part, enum round round)
{
    line_t line;
    line.norm = norm;
    line.axes = &norm->channels;
    line.weight = is_backward(norm) ? norm->weight_row : NULL;
    for (int n = 0; n < norm->nreads; n++)
        line.bases[norm->reads[n]] = norm->data[norm->reads[n]] + offset_of(&norm->outer, norm->reads[n], o);
    ptrdiff_t begin = group * norm->per_group, sum = (o * norm->groups + group) * norm->parts + part;
    sum_line(&line, begin + part * PART, begin + smaller((part + 1) * PART, norm->per_group), o, group, round,
             &norm->first[sum], &norm->second[sum]);
}

/* ---- Across pixels: every column is a channel */

typedef struct {
    const norm_t *norm;
    enum round round;
    ptrdiff_t o, channel, width; /* of the stripe */
    double *lanes[2];            /* LANES rows of sums of the stripe's channels */
    char *parameters[2];         /* of the stripe's channels; where it is narrow, LANES times */
    char *blocks[3];             /* for GROUPS pixels of STRIPE channels */
    char *data[ARRAYS];          /* where the rectangle at hand begins */
    ptrdiff_t steps[ARRAYS];     /* from pixel to pixel, in elements */
} stripe_t;

static ptrdiff_t widest_stripe(const norm_t *norm) { return smaller(norm->channels.count, MAX_STRIPE); }

static ptrdiff_t parameters_of(const norm_t *norm)
{
    return larger(widest_stripe(norm), smaller(widest_stripe(norm), NARROW) * LANES);
}

ptrdiff_t stripe_bytes(const norm_t *norm)
{
    ptrdiff_t doubles = 2 * LANES * widest_stripe(norm) + 2 * parameters_of(norm);
    ptrdiff_t blocks = 3 * GROUPS * smaller(norm->channels.count, STRIPE);
    return doubles * (ptrdiff_t)sizeof(double) + (blocks + 16) * norm->itemsize;
}

static void point_to_stripe(stripe_t *stripe, int thread)
{
    const norm_t *norm = stripe->norm;
    char *memory = norm->stripes + thread * stripe_bytes(norm);
    ptrdiff_t lanes = LANES * stripe->width * (ptrdiff_t)sizeof(double);
    ptrdiff_t parameters = parameters_of(norm) * (ptrdiff_t)sizeof(double);
    ptrdiff_t block = GROUPS * smaller(norm->channels.count, STRIPE) * norm->itemsize;
    for (int i = 0; i < 2; i++)
        stripe->lanes[i] = (double *)(memory + i * lanes);
    memset(memory, 0, (size_t)(2 * lanes));
    for (int i = 0; i < 2; i++)
        stripe->parameters[i] = memory + 2 * lanes + i * parameters;
    for (int n = 0; n < 3; n++)
        stripe->blocks[n] = memory + 2 * lanes + 2 * parameters + n * block;
}

/* Add pixels of some columns, each to its lane. */
static void add_pixels(const stripe_t *stripe, ptrdiff_t rows, ptrdiff_t column, ptrdiff_t cols, int in_place)
{
    const norm_t *norm = stripe->norm;
    void *arrays[SLOTS];
    ptrdiff_t sizes[SIZES];
    sizes[ROWS] = rows;
    sizes[COLUMNS] = cols;
    sizes[SUM_STEP] = stripe->width;
    sizes[FAR_AWAY] = in_place && norm->far;
    for (int n = 0; n < norm->nreads; n++) {
        arrays[norm->reads[n]] = stripe->data[norm->reads[n]];
        sizes[STEP + norm->reads[n]] = stripe->steps[norm->reads[n]];
    }
    for (int i = 0; i < 2; i++) {
        arrays[PARAMETER + i] = stripe->parameters[i] + column * parameter_size(norm, stripe->round);
        arrays[SUM + i] = stripe->lanes[i] + column;
    }
    kernel_of(norm, stripe->round)(arrays, sizes);
}

/* Add `columns` columns of `rows` joined rows to lanes, from a position in elements and a column on. */
static void add_joined_rows(const stripe_t *stripe, ptrdiff_t position, ptrdiff_t rows, ptrdiff_t column,
                            ptrdiff_t columns)
{
    const norm_t *norm = stripe->norm;
    ptrdiff_t row = LANES * stripe->width;
    ptrdiff_t sizes[SIZES] = {rows, columns, row, row, row, row, row, row, row};
    void *arrays[SLOTS];
    if (rows == 0 || columns == 0)
        return;
    for (int n = 0; n < norm->nreads; n++)
        arrays[norm->reads[n]] = stripe->data[norm->reads[n]] + (position + column) * norm->itemsize;
    arrays[PARAMETER] = stripe->parameters[0] + column * parameter_size(norm, stripe->round);
    arrays[PARAMETER + 1] = stripe->parameters[1] + column * parameter_size(norm, stripe->round);
    arrays[SUM] = stripe->lanes[0] + column;
    arrays[SUM + 1] = stripe->lanes[1] + column;
    kernel_of(norm, stripe->round)(arrays, sizes);
}

/* Add LANES pixels at a time as one row: all columns, where pixels stand end to end. */
static void add_joined(const stripe_t *stripe, ptrdiff_t rows)
{
    ptrdiff_t width = stripe->width, whole = rows - rows % GROUPS, rest = rows - whole;
    add_joined_rows(stripe, 0, whole / LANES, 0, LANES * width);
    add_joined_rows(stripe, whole * width, rest / LANES + 1, 0, rest % LANES * width);
    add_joined_rows(stripe, whole * width, rest / LANES, rest % LANES * width, (LANES - rest % LANES) * width);
}

static tile_t pixels_of(const stripe_t *stripe, int array, ptrdiff_t pixel, ptrdiff_t rows, ptrdiff_t column,
                        ptrdiff_t cols)
{
    return tile_of(stripe->norm, array, stripe->o, pixel, rows, stripe->channel + column, cols);
}

/* Load pixels of several runs into the stripe's blocks. */
static void collect_pixels(stripe_t *stripe, int n, ptrdiff_t pixel, ptrdiff_t rows, ptrdiff_t column, ptrdiff_t cols)
{
    const norm_t *norm = stripe->norm;
    int i = norm->reads[n];
    for (ptrdiff_t row = 0, run; row < rows; row += run) {
        run = smaller(rows - row, run_from(&norm->space, pixel + row));
        tile_t tile = pixels_of(stripe, i, pixel + row, run, column, cols);
        load_tile(norm, i, &tile, stripe->blocks[n] + row * cols * norm->itemsize);
    }
    stripe->data[i] = stripe->blocks[n];
    stripe->steps[i] = cols;
}

/* Add a rectangle of pixels, the first of which belongs to lane 0, and columns. */
static void add_rectangle(stripe_t *stripe, ptrdiff_t pixel, ptrdiff_t rows, ptrdiff_t column, ptrdiff_t cols,
                          int in_place)
{
    const norm_t *norm = stripe->norm;
    int end_to_end = cols == stripe->width && cols < NARROW;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        if (in_place) {
            tile_t tile = pixels_of(stripe, i, pixel, rows, column, cols);
            stripe->data[i] = tile.data;
            stripe->steps[i] = in_elements(norm, tile.row_stride);
        } else {
            collect_pixels(stripe, n, pixel, rows, column, cols);
        }
        end_to_end &= stripe->steps[i] == cols;
    }
    if (end_to_end)
        add_joined(stripe, rows);
    else
        add_pixels(stripe, rows, column, cols, in_place);
}

/* Walk a part's pixels in the order of memory, by whole groups; where they stand in line, in place. */
static void walk_pixels(stripe_t *stripe, ptrdiff_t begin, ptrdiff_t end)
{
    const norm_t *norm = stripe->norm;
    for (ptrdiff_t pixel = begin, rows; pixel < end; pixel += rows) {
        rows = smaller(end - pixel, GROUPS);
        int in_place = norm->sums_in_place && run_from(&norm->space, pixel) >= rows;
        for (ptrdiff_t column = 0, cols; column < stripe->width; column += cols) {
            cols = smaller(stripe->width - column, run_from(&norm->channels, stripe->channel + column));
            cols = in_place ? cols : smaller(cols, STRIPE);
            add_rectangle(stripe, pixel, rows, column, cols, in_place);
        }
    }
}

/* Set a parameter of some of the stripe's channels; where it is narrow, of each LANES times. */
static void spread_values(const stripe_t *stripe, int parameter, ptrdiff_t channel, ptrdiff_t count, const double *values)
{
    ptrdiff_t repeats = stripe->width < NARROW ? LANES : 1;
    int is_double = stripe->round == SECOND || stripe->norm->compute == FLOAT64;
    for (ptrdiff_t n = 0; n < repeats; n++) {
        ptrdiff_t begin = n * stripe->width + channel;
        if (is_double)
            memcpy((double *)stripe->parameters[parameter] + begin, values, (size_t)count * sizeof(double));
        for (ptrdiff_t i = 0; i < count && !is_double; i++)
            ((float *)stripe->parameters[parameter])[begin + i] = (float)values[i];
    }
}

/* A channel's values are those of its group. */
static void set_stripe_parameters(const stripe_t *stripe)
{
    const norm_t *norm = stripe->norm;
    double values[2][STRIPE];
    for (ptrdiff_t c = 0, some; c < stripe->width; c += some) {
        ptrdiff_t channel = stripe->channel + c, group = channel / norm->per_group, at = stripe->o * norm->groups + group;
        ptrdiff_t alike = (group + 1) * norm->per_group - channel; /* channels of this group that follow */
        some = smaller(stripe->width - c, norm->per_group == 1 ? STRIPE : smaller(alike, STRIPE));
        ptrdiff_t count = norm->per_group == 1 ? some : 1;
        if (norm->sums == DEVIATIONS) {
            centres_of(norm, at, count, stripe->round, values[0]);
        } else {
            memcpy(values[0], norm->mean + at, (size_t)count * sizeof(double));
            memcpy(values[1], norm->rstd + at, (size_t)count * sizeof(double));
        }
        for (int i = 0; i < (norm->sums == DEVIATIONS ? 1 : 2); i++) {
            for (ptrdiff_t k = count; k < some; k++)
                values[i][k] = values[i][0];
            spread_values(stripe, i, c, some, values[i]);
        }
    }
}

static void sum_stripe(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t width, ptrdiff_t part,
                       enum round round)
{
    stripe_t stripe;
    stripe.norm = norm;
    stripe.round = round;
    stripe.o = o;
    stripe.channel = channel;
    stripe.width = width;
    point_to_stripe(&stripe, thread);
    set_stripe_parameters(&stripe);
    walk_pixels(&stripe, part * PART, smaller((part + 1) * PART, norm->space.count));
    fold_lanes(stripe.lanes[0], width);
    fold_lanes(stripe.lanes[1], width);
    for (ptrdiff_t c = 0; c < width; c++) {
        ptrdiff_t sum = (o * norm->channels.count + channel + c) * norm->parts + part;
        norm->first[sum] = stripe.lanes[0][c];
        norm->second[sum] = stripe.lanes[1][c];
    }
}

void sum_part(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t end_channel, ptrdiff_t part,
              enum round round)
{
    for (ptrdiff_t width; channel < end_channel; channel += width) {
        width = norm->walk == PLANES ? 1 : smaller(end_channel - channel, MAX_STRIPE);
        if (norm->walk == PIXELS)
            sum_stripe(norm, thread, o, channel, width, part, round);
        else if (round == FIRST || waits_for_second(norm, o * norm->groups + channel / norm->per_group))
            sum_plane(norm, o, channel, part, round);
    }
}
