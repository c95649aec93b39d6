/* Reductions across pixels, where every column is a channel. */
#include "norm/reduce.h"
#include "norm/tile.h"
#include <string.h>

_Static_assert(WORK_BYTES <= THREAD_SCRATCH_BYTES, "a thread's scratch memory holds what a kernel works in");

typedef struct {
    const norm_t *norm;
    enum statistics_pass pass;
    int thread;
    ptrdiff_t o, channel, width; /* of the stripe */
    line_t line;                 /* the pixels to reduce next; in a narrow stripe, parameters repeat LANES times */
    char *blocks[3];             /* for GROUPS pixels of STRIPE channels */
    ptrdiff_t steps[ARRAYS];     /* strides between pixels, in elements */
} stripe_t;

static ptrdiff_t widest_stripe(const norm_t *norm) { return smaller(norm->channels.count, MAX_STRIPE); }

static ptrdiff_t parameters_of(const norm_t *norm)
{
    return larger(widest_stripe(norm), smaller(widest_stripe(norm), NARROW_STRIPE) * LANES);
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
    char *memory = norm->stripe_scratch + thread * stripe_bytes(norm);
    ptrdiff_t lanes = LANES * stripe->width * (ptrdiff_t)sizeof(double);
    ptrdiff_t parameters = parameters_of(norm) * (ptrdiff_t)sizeof(double);
    ptrdiff_t block = GROUPS * smaller(norm->channels.count, STRIPE) * norm->itemsize;
    for (int i = 0; i < 2; i++)
        stripe->line.lanes[i] = (double *)(memory + i * lanes);
    for (int i = 0; i < 2; i++)
        stripe->line.parameters[i] = memory + 2 * lanes + i * parameters;
    for (int n = 0; n < 3; n++)
        stripe->blocks[n] = memory + 2 * lanes + 2 * parameters + n * block;
}

/* Run a kernel on pixels of some columns with these sums. */
static void run_on_pixels(const stripe_t *stripe, tile_kernel_t kernel, ptrdiff_t rows, ptrdiff_t column,
                          ptrdiff_t cols, int in_place, double *first, double *second, ptrdiff_t sum_step)
{
    const norm_t *norm = stripe->norm;
    void *arrays[SLOTS];
    ptrdiff_t sizes[SIZES];
    sizes[TILE_ROWS] = rows;
    sizes[TILE_COLUMNS] = cols;
    sizes[SUM_STEP] = sum_step;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        arrays[i] = stripe->line.starts[i];
        sizes[STEP + i] = stripe->steps[i];
        sizes[AHEAD + i] = in_place && norm->exceeds_l2 ? GROUPS * stripe->steps[i] : 0;
    }
    for (int i = 0; i < 2; i++)
        arrays[PARAMETER + i] = stripe->line.parameters[i] + column * stripe->line.parameter_bytes;
    arrays[SUM] = first;
    arrays[SUM + 1] = second;
    arrays[WORK] = thread_scratch_of(norm, stripe->thread);
    kernel(arrays, sizes);
}

/* Add pixels of some columns, each to its lane. */
static void add_pixels(const stripe_t *stripe, ptrdiff_t rows, ptrdiff_t column, ptrdiff_t cols, int in_place)
{
    run_on_pixels(stripe, stripe->norm->reduce_kernels[REDUCE_PARTIAL][stripe->pass], rows, column, cols, in_place,
                  stripe->line.lanes[0] + column, stripe->line.lanes[1] + column, stripe->width);
}

/* Set the address of pixels of the n-th array that is read: in place, or in the stripe's blocks after loading. */
static void point_to_pixels(stripe_t *stripe, int n, ptrdiff_t pixel, ptrdiff_t rows, ptrdiff_t column, ptrdiff_t cols,
                            int in_place)
{
    const norm_t *norm = stripe->norm;
    int i = norm->reads[n];
    tile_t tile = tile_of(norm, i, stripe->o, pixel, rows, stripe->channel + column, cols);
    stripe->line.starts[i] = in_place ? tile.data : stripe->blocks[n];
    stripe->steps[i] = in_place ? in_elements(norm, tile.row_stride) : cols;
    if (!in_place)
        load_rows(norm, i, stripe->o, pixel, rows, stripe->channel + column, cols, stripe->blocks[n]);
}

/* Add a rectangle of pixels, the first of which belongs to lane 0, and columns. */
static void add_rectangle(stripe_t *stripe, ptrdiff_t pixel, ptrdiff_t rows, ptrdiff_t column, ptrdiff_t cols,
                          int in_place)
{
    const norm_t *norm = stripe->norm;
    int end_to_end = cols == stripe->width && cols < NARROW_STRIPE;
    for (int n = 0; n < norm->nreads; n++) {
        point_to_pixels(stripe, n, pixel, rows, column, cols, in_place);
        end_to_end &= stripe->steps[norm->reads[n]] == cols;
    }
    if (end_to_end)
        add_line(norm, &stripe->line, rows, stripe->pass);
    else
        add_pixels(stripe, rows, column, cols, in_place);
}

/* Add a part's pixels in memory order, by whole groups; in place if their stride is constant. */
static void add_part(stripe_t *stripe, ptrdiff_t begin, ptrdiff_t end)
{
    const norm_t *norm = stripe->norm;
    for (ptrdiff_t pixel = begin, rows; pixel < end; pixel += rows) {
        rows = smaller(end - pixel, GROUPS);
        int in_place = norm->reads_direct && run_from(&norm->space, pixel) >= rows;
        for (ptrdiff_t column = 0, cols; column < stripe->width; column += cols) {
            cols = smaller(stripe->width - column, run_from(&norm->channels, stripe->channel + column));
            cols = in_place ? cols : smaller(cols, STRIPE);
            add_rectangle(stripe, pixel, rows, column, cols, in_place);
        }
    }
}

/* Add the lanes of each channel; a lane has `width` sums, and several channels are added at once. */
static inline void fold_lanes(const double *restrict lanes, ptrdiff_t width, double *restrict sums)
{
    for (ptrdiff_t c = 0; c < width; c++)
        sums[c] = sum_of_lanes(lanes + c, width);
}

/* Reduce all channels of the stripe by a partial reducer, piece by piece; `sum` is the position of the first
 * channel's sums. */
static void reduce_stripe_by_lanes(stripe_t *stripe, ptrdiff_t pixel, ptrdiff_t rows, ptrdiff_t sum)
{
    const norm_t *norm = stripe->norm;
    double first[MAX_STRIPE], second[MAX_STRIPE];
    memset(stripe->line.lanes[0], 0, (size_t)(2 * LANES * stripe->width) * sizeof(double));
    add_part(stripe, pixel, pixel + rows);
    fold_lanes(stripe->line.lanes[0], stripe->width, first);
    fold_lanes(stripe->line.lanes[1], stripe->width, second);
    for (ptrdiff_t c = 0; c < stripe->width; c++) {
        norm->first[sum + c * norm->parts] = first[c];
        norm->second[sum + c * norm->parts] = second[c];
    }
}

/* True if a full reducer is used, for STRIPE columns at a time. For wider stripes, it is faster with few rows, and with
 * several arrays, whose lanes would not stay in the first-level cache otherwise (1024x512, backward: 0.124 -> 0.115 ms;
 * one array, forward: 0.079 -> 0.081), unless they exceed the second-level cache (NHWC 32x28x28x256, backward: 2.7 ->
 * 3.9). */
static int can_reduce_by_columns(const stripe_t *stripe, ptrdiff_t pixel, ptrdiff_t rows)
{
    const norm_t *norm = stripe->norm;
    ptrdiff_t widest = (norm->nreads > 1 || rows <= 2 * GROUPS) && !norm->exceeds_l2 ? MAX_STRIPE : STRIPE;
    return norm->reduce_kernels[REDUCE_FULL][stripe->pass] && norm->reads_direct && stripe->width >= NARROW_STRIPE &&
           stripe->width <= widest && run_from(&norm->space, pixel) >= rows &&
           run_from(&norm->channels, stripe->channel) >= stripe->width;
}

static void reduce_stripe_by_columns(stripe_t *stripe, ptrdiff_t pixel, ptrdiff_t rows, ptrdiff_t sum)
{
    const norm_t *norm = stripe->norm;
    for (ptrdiff_t column = 0, cols; column < stripe->width; column += cols) {
        cols = smaller(stripe->width - column, STRIPE);
        for (int n = 0; n < norm->nreads; n++)
            point_to_pixels(stripe, n, pixel, rows, column, cols, 1);
        run_on_pixels(stripe, norm->reduce_kernels[REDUCE_FULL][stripe->pass], rows, column, cols, 1,
                      norm->first + sum + column * norm->parts, norm->second + sum + column * norm->parts, norm->parts);
    }
}

/* Set a parameter of some of the stripe's channels, repeated LANES times if the stripe is narrow. */
static void set_stripe_values(const stripe_t *stripe, int parameter, ptrdiff_t channel, ptrdiff_t count,
                              const double *values)
{
    ptrdiff_t repeats = stripe->width < NARROW_STRIPE ? LANES : 1, bytes = stripe->line.parameter_bytes;
    for (ptrdiff_t n = 0; n < repeats; n++) {
        char *to = stripe->line.parameters[parameter] + (n * stripe->width + channel) * bytes;
        copy_reals(type_of_terms(stripe->norm, stripe->pass), to, values, count);
    }
}

/* Set the parameters of all channels; a channel has those of its group. */
static void set_stripe_parameters(const stripe_t *stripe)
{
    const norm_t *norm = stripe->norm;
    double values[2][STRIPE];
    for (ptrdiff_t c = 0, run; c < stripe->width; c += run) {
        ptrdiff_t channel = stripe->channel + c, group = channel / norm->per_group;
        ptrdiff_t at = stripe->o * norm->groups + group;
        ptrdiff_t alike = (group + 1) * norm->per_group - channel; /* remaining channels of this group */
        run = smaller(stripe->width - c, norm->per_group == 1 ? STRIPE : smaller(alike, STRIPE));
        ptrdiff_t count = norm->per_group == 1 ? run : 1;
        int parameters = reduce_parameters(norm, at, count, stripe->pass, values[0], values[1]);
        for (int i = 0; i < parameters; i++) {
            for (ptrdiff_t k = count; k < run; k++)
                values[i][k] = values[i][0];
            set_stripe_values(stripe, i, c, run, values[i]);
        }
    }
}

void reduce_stripe(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t width, ptrdiff_t part,
                   enum statistics_pass pass)
{
    stripe_t stripe = {.norm = norm, .pass = pass, .thread = thread, .o = o, .channel = channel, .width = width};
    stripe.line.width = width;
    stripe.line.parameter_bytes = storage_size(type_of_terms(norm, pass));
    point_to_stripe(&stripe, thread);
    set_stripe_parameters(&stripe);
    ptrdiff_t pixel = part * PART, rows = smaller(PART, norm->space.count - pixel);
    ptrdiff_t sum = (o * norm->channels.count + channel) * norm->parts + part;
    if (can_reduce_by_columns(&stripe, pixel, rows))
        reduce_stripe_by_columns(&stripe, pixel, rows, sum);
    else
        reduce_stripe_by_lanes(&stripe, pixel, rows, sum);
}
