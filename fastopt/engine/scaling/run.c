#include "scaling/scaling.h"
#include "core/float_mode.h"
#include "core/tuning.h"
#include "core/util.h"
#include <math.h>
#include <string.h>

/* From row to row, in elements. The stride of a single row may be anything. */
static inline ptrdiff_t step_of(ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t itemsize)
{
    return rows == 1 ? cols : stride / itemsize;
}

/* ---- How a call walks memory */

/* Rows and columns as they stand in memory: either axis may be the columns. */
typedef struct {
    const columns_t *columns;
    enum axis row, col;
    int in_place;
    ptrdiff_t itemsize;              /* of the compute type */
    ptrdiff_t max_rows, max_cols;    /* of a block */
    ptrdiff_t unit_rows, unit_cols;
    ptrdiff_t row_units, col_units;
    /* Scaling: the features' parameters; of joined rows, repeated. */
    const char *scales[SCALES];
    ptrdiff_t repeats;
    _Alignas(64) char repeated[SCALES][JOINED_ELEMENTS * sizeof(double)];
    atomic_int spoiled;
} walk_t;

static tile_t tile_at(const walk_t *walk, const matrix_t *table, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col,
                      ptrdiff_t cols)
{
    ptrdiff_t down = table->strides[walk->row], along = table->strides[walk->col];
    return (tile_t){table->data + row * down + col * along, rows, cols, down, along};
}

/* True if kernels can be pointed to the array. */
static int is_direct(const walk_t *walk, const matrix_t *table)
{
    const columns_t *columns = walk->columns;
    int together = table->strides[walk->col] == walk->itemsize || columns->extents[walk->col] == 1;
    return table->storage == columns->compute && together &&
           (table->strides[walk->row] >= 0 || columns->extents[walk->row] == 1);
}

static int crosses(const walk_t *walk, const matrix_t *table)
{
    return table->strides[walk->col] != storage_size(table->storage);
}

/* Memory order decides, by the array that is written. */
static void plan_walk(walk_t *walk, const columns_t *columns)
{
    const matrix_t *target = columns->out.data ? &columns->out : &columns->x;
    ptrdiff_t down = magnitude(target->strides[SAMPLE]), along = magnitude(target->strides[FEATURE]);
    int by_sample = columns->extents[FEATURE] == 1 || (columns->extents[SAMPLE] > 1 && down < along);
    walk->columns = columns;
    walk->row = by_sample ? FEATURE : SAMPLE;
    walk->col = by_sample ? SAMPLE : FEATURE;
    walk->itemsize = storage_size(columns->compute);
    walk->in_place = !columns->out.data && is_direct(walk, &columns->x);
    ptrdiff_t rows = columns->extents[walk->row], cols = columns->extents[walk->col];
    int crossing = crosses(walk, &columns->x) || (columns->out.data && crosses(walk, &columns->out));
    ptrdiff_t block = BLOCK_BYTES / walk->itemsize;
    walk->max_cols = smaller(cols, crossing ? block / CROSSING_ROWS : block);
    walk->max_rows = block / walk->max_cols;
    walk->unit_cols = smaller(cols, UNIT_ELEMENTS);
    walk->unit_rows = smaller(rows, larger(1, UNIT_ELEMENTS / walk->unit_cols));
    walk->row_units = ceil_div(rows, walk->unit_rows);
    walk->col_units = ceil_div(cols, walk->unit_cols);
    walk->repeats = 1;
    atomic_init(&walk->spoiled, 0);
}

typedef struct {
    ptrdiff_t row, rows, col, cols;
} rectangle_t;

static rectangle_t rectangle_of(const walk_t *walk, ptrdiff_t unit)
{
    rectangle_t at = {unit / walk->col_units * walk->unit_rows, walk->unit_rows,
                  unit % walk->col_units * walk->unit_cols, walk->unit_cols};
    at.rows = smaller(at.rows, walk->columns->extents[walk->row] - at.row);
    at.cols = smaller(at.cols, walk->columns->extents[walk->col] - at.col);
    return at;
}

/* A panel as a kernel sees it: x's part of a unit, in place or loaded into a block. */
typedef struct {
    char *x;
    ptrdiff_t rows, cols, step; /* in elements */
    ptrdiff_t row, col;         /* where it begins */
} x_tile_t;

typedef void (*panel_run_t)(walk_t *walk, const x_tile_t *panel);

/* Run something over a unit's panels; where they are loaded, and something is written, store them. */
static void run_unit(walk_t *walk, ptrdiff_t unit, panel_run_t run, int written)
{
    const columns_t *columns = walk->columns;
    const matrix_t *target = columns->out.data ? &columns->out : &columns->x;
    rectangle_t at = rectangle_of(walk, unit);
    _Alignas(64) char block[BLOCK_BYTES];
    if (walk->in_place) {
        tile_t tile = tile_at(walk, &columns->x, at.row, at.rows, at.col, at.cols);
        ptrdiff_t step = step_of(tile.row_stride, at.rows, at.cols, walk->itemsize);
        run(walk, &(x_tile_t){tile.data, at.rows, at.cols, step, at.row, at.col});
        return;
    }
    for (ptrdiff_t r = 0, rows; r < at.rows; r += rows) {
        rows = smaller(at.rows - r, walk->max_rows);
        for (ptrdiff_t c = 0, cols; c < at.cols; c += cols) {
            cols = smaller(at.cols - c, walk->max_cols);
            tile_t from = tile_at(walk, &columns->x, at.row + r, rows, at.col + c, cols);
            columns->codecs[columns->x.storage].load(&from, block);
            run(walk, &(x_tile_t){block, rows, cols, cols, at.row + r, at.col + c});
            tile_t to = tile_at(walk, target, at.row + r, rows, at.col + c, cols);
            if (written)
                columns->codecs[target->storage].store(&to, block);
        }
    }
}

/* ---- Are all finite? */

static void spoil(walk_t *walk, char *x, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t step)
{
    _Alignas(64) char spoiled[BLOCK_ELEMENTS * sizeof(double)];
    memset(spoiled, 0, (size_t)(cols * walk->itemsize));
    void *arrays[] = {x, spoiled};
    walk->columns->kernels[SPOIL](arrays, (ptrdiff_t[]){rows, cols, step});
    for (ptrdiff_t c = 0; c < cols; c++) {
        double sum = walk->itemsize == 8 ? ((double *)spoiled)[c] : ((float *)spoiled)[c];
        if (sum != 0)
            atomic_store_explicit(&walk->spoiled, 1, memory_order_relaxed);
    }
}

/* Which element belongs to which column does not matter here: what stands end to end becomes long rows. */
static void spoil_panel(walk_t *walk, const x_tile_t *panel)
{
    ptrdiff_t rows = panel->rows, cols = panel->cols, step = panel->step;
    if (rows == 1 || step == cols) {
        ptrdiff_t elements = rows * cols, row = smaller(elements, PROBE_ROW), rest = elements % row;
        spoil(walk, panel->x, elements / row, row, row);
        if (rest)
            spoil(walk, panel->x + (elements - rest) * walk->itemsize, 1, rest, rest);
        return;
    }
    for (ptrdiff_t c = 0; c < cols; c += BLOCK_ELEMENTS)
        spoil(walk, panel->x + c * walk->itemsize, rows, smaller(cols - c, BLOCK_ELEMENTS), step);
}

static void spoil_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    walk_t *walk = argument;
    (void)thread;
    for (; first < last && !atomic_load_explicit(&walk->spoiled, memory_order_relaxed); first++)
        run_unit(walk, first, spoil_panel, 0);
}

size_t walk_bytes(void) { return sizeof(walk_t); }

int all_finite(const columns_t *columns, void *scratch)
{
    walk_t *walk = scratch;
    columns_t reading = *columns;
    reading.out.data = NULL;
    if (columns->extents[SAMPLE] == 0 || columns->extents[FEATURE] == 0)
        return 1;
    plan_walk(walk, &reading);
    columns->parallel_for(spoil_units, walk, walk->row_units * walk->col_units, LARGEST_CHUNK, columns->threads);
    return !atomic_load(&walk->spoiled);
}

/* ---- Scaling */

static void scale(const walk_t *walk, char *x, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t step, const char *const *scales,
                  ptrdiff_t feature)
{
    void *arrays[1 + SCALES] = {x};
    for (int i = 0; i < SCALES; i++)
        arrays[1 + i] = (char *)scales[i] + feature * walk->itemsize;
    walk->columns->kernels[walk->col == FEATURE ? SCALE_COLUMNS : SCALE_ROWS](arrays, (ptrdiff_t[]){rows, cols, step});
}

static void scale_panel(walk_t *walk, const x_tile_t *panel)
{
    ptrdiff_t rows = panel->rows, cols = panel->cols, done = 0;
    ptrdiff_t feature = walk->col == FEATURE ? panel->col : panel->row;
    if (walk->repeats > 1 && panel->step == cols && cols == walk->columns->extents[FEATURE]) {
        const char *repeated[SCALES];
        ptrdiff_t row = cols * walk->repeats;
        for (int i = 0; i < SCALES; i++)
            repeated[i] = walk->repeated[i];
        done = rows / walk->repeats * walk->repeats;
        scale(walk, panel->x, rows / walk->repeats, row, row, repeated, 0);
        if (done < rows) /* as one row, too */
            scale(walk, panel->x + done * cols * walk->itemsize, 1, (rows - done) * cols, row, repeated, 0);
        return;
    }
    scale(walk, panel->x, rows, cols, panel->step, walk->scales, feature);
}

static void scale_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    (void)thread;
    for (; first < last; first++)
        run_unit(argument, first, scale_panel, 1);
}

static void repeat_scales(walk_t *walk)
{
    ptrdiff_t features = walk->columns->extents[FEATURE], bytes = features * walk->itemsize;
    if (walk->col != FEATURE || features >= JOIN_BELOW)
        return;
    walk->repeats = JOINED_ELEMENTS / features;
    for (int i = 0; i < SCALES; i++)
        for (ptrdiff_t n = 0; n < walk->repeats; n++)
            memcpy(walk->repeated[i] + n * bytes, walk->scales[i], (size_t)bytes);
}

void scale_columns(const columns_t *columns, void *scratch, const void *const *scales)
{
    walk_t *walk = scratch;
    if (columns->extents[SAMPLE] == 0 || columns->extents[FEATURE] == 0)
        return;
    plan_walk(walk, columns);
    for (int i = 0; i < SCALES; i++)
        walk->scales[i] = scales[i];
    repeat_scales(walk);
    columns->parallel_for(scale_units, walk, walk->row_units * walk->col_units, LARGEST_CHUNK, columns->threads);
}

/* ---- Gathering: by parts of samples, whichever way memory is walked */

typedef struct {
    const columns_t *columns;
    ptrdiff_t itemsize;
    ptrdiff_t part, parts; /* samples of one; how many */
    ptrdiff_t stripes;     /* of features */
    int by_row;            /* features stand together, of the compute type */
    double *centre;
    double *gathered;      /* of each part, vectors of all features */
} column_stats_t;

ptrdiff_t part_of(ptrdiff_t samples) { return larger(PART, ceil_div(samples, MAX_PARTS)); }

static double *vector_of(const column_stats_t *gather, ptrdiff_t part, int which)
{
    return gather->gathered + (part * GATHERED + which) * gather->columns->extents[FEATURE];
}

static const char *at(const column_stats_t *gather, ptrdiff_t sample, ptrdiff_t feature)
{
    const matrix_t *x = &gather->columns->x;
    return x->data + sample * x->strides[SAMPLE] + feature * x->strides[FEATURE];
}

static void add_panel(const column_stats_t *gather, ptrdiff_t part, ptrdiff_t feature, const char *x, ptrdiff_t rows,
                      ptrdiff_t cols, ptrdiff_t step)
{
    double one = 1;
    void *arrays[1 + GATHERED + 2] = {(char *)x};
    for (int i = 0; i < GATHERED; i++)
        arrays[1 + i] = vector_of(gather, part, i) + feature;
    arrays[1 + GATHERED] = gather->centre + feature;
    arrays[2 + GATHERED] = &one;
    gather->columns->kernels[GATHER](arrays, (ptrdiff_t[]){rows, cols, step});
}

/* Also where samples stand together: eight features side by side are added up faster than eight samples of one, which wait
 * for each other (1.1 ns an element, not 2.5, where there are 64 features). */
static void add_through_blocks(const column_stats_t *gather, ptrdiff_t part, ptrdiff_t sample, ptrdiff_t end,
                               ptrdiff_t feature, ptrdiff_t features)
{
    const columns_t *columns = gather->columns;
    const matrix_t *x = &columns->x;
    _Alignas(64) char block[BLOCK_BYTES];
    ptrdiff_t elements = BLOCK_BYTES / gather->itemsize, rows, cols;
    for (ptrdiff_t f = feature; f < feature + features; f += cols) {
        cols = smaller(feature + features - f, elements / CROSSING_ROWS);
        for (ptrdiff_t s = sample; s < end; s += rows) {
            rows = smaller(end - s, elements / cols);
            tile_t from = {(char *)at(gather, s, f), rows, cols, x->strides[SAMPLE], x->strides[FEATURE]};
            columns->codecs[x->storage].load(&from, block);
            add_panel(gather, part, f, block, rows, cols, cols);
        }
    }
}

static void stats_unit(const column_stats_t *gather, ptrdiff_t unit)
{
    const columns_t *columns = gather->columns;
    ptrdiff_t part = unit / gather->stripes, feature = unit % gather->stripes * STATS_STRIPE;
    ptrdiff_t features = smaller(columns->extents[FEATURE] - feature, STATS_STRIPE);
    ptrdiff_t sample = part * gather->part, end = smaller(sample + gather->part, columns->extents[SAMPLE]);
    for (int i = 0; i < GATHERED; i++)
        for (ptrdiff_t f = feature; f < feature + features; f++)
            vector_of(gather, part, i)[f] = i == LOWEST ? INFINITY : (i == HIGHEST ? -INFINITY : 0);
    if (gather->by_row)
        add_panel(gather, part, feature, at(gather, sample, feature), end - sample, features,
                  step_of(columns->x.strides[SAMPLE], end - sample, features, gather->itemsize));
    else
        add_through_blocks(gather, part, sample, end, feature, features);
}

static void stats_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    (void)thread;
    for (; first < last; first++)
        stats_unit(argument, first);
}

/* The first finite value of a feature; 0 where there is none. Mostly it is the very first: others are looked for in blocks. */
static double first_value(const column_stats_t *gather, ptrdiff_t feature)
{
    const columns_t *columns = gather->columns;
    const codec_t *codec = &columns->codecs[columns->x.storage];
    ptrdiff_t samples = columns->extents[SAMPLE], some;
    _Alignas(64) char block[BLOCK_BYTES];
    for (ptrdiff_t sample = 0; sample < samples; sample += some) {
        some = sample == 0 ? 1 : smaller(samples - sample, BLOCK_BYTES / gather->itemsize);
        codec->load(&(tile_t){(char *)at(gather, sample, feature), 1, some, 0, columns->x.strides[SAMPLE]}, block);
        for (ptrdiff_t s = 0; s < some; s++) {
            double value = gather->itemsize == 8 ? ((double *)block)[s] : ((float *)block)[s];
            if (isfinite(value))
                return value;
        }
    }
    return 0;
}

/* Move the centres near the means, which some of the samples tell: where a centre is d standard deviations off, sums of
 * deviations grow by d a sample, and their roundings cost the mean up to 2e-15 d. */
static void refine_centres(const column_stats_t *gather)
{
    columns_t some = *gather->columns;
    ptrdiff_t step = refining_step(some.extents[SAMPLE]);
    some.x.data += step / 2 * some.x.strides[SAMPLE]; /* the first of all may be unlike the others */
    some.extents[SAMPLE] = ceil_div(some.extents[SAMPLE] - step / 2, step);
    some.x.strides[SAMPLE] *= step;
    column_stats_t refining = *gather;
    refining.columns = &some;
    refining.part = some.extents[SAMPLE];
    refining.parts = 1;
    some.parallel_for(stats_units, &refining, refining.stripes, LARGEST_CHUNK, some.threads);
    move_centres(some.extents[FEATURE], vector_of(&refining, 0, COUNT), vector_of(&refining, 0, TOTAL), gather->centre);
}

static void join_parts(const column_stats_t *gather, double *const *gathered)
{
    for (ptrdiff_t f = 0; f < gather->columns->extents[FEATURE]; f++) {
        double sums[3] = {0, 0, 0}, lowest = INFINITY, highest = -INFINITY;
        for (ptrdiff_t part = 0; part < gather->parts; part++) {
            for (int i = COUNT; i <= SQUARES; i++)
                sums[i] += vector_of(gather, part, i)[f];
            double low = vector_of(gather, part, LOWEST)[f], high = vector_of(gather, part, HIGHEST)[f];
            lowest = low < lowest ? low : lowest;
            highest = high > highest ? high : highest;
        }
        for (int i = COUNT; i <= SQUARES; i++)
            gathered[i][f] = sums[i];
        gathered[LOWEST][f] = lowest;
        gathered[HIGHEST][f] = highest;
    }
}

ptrdiff_t refining_step(ptrdiff_t samples) { return larger(REFINING_STEP, ceil_div(samples, REFINING)); }

/* By a few digits only: of whole numbers, deviations stay exact. */
void move_centres(ptrdiff_t features, const double *count, const double *total, double *centre)
{
    float_mode_t caller = enter_float_mode();
    for (ptrdiff_t f = 0; f < features; f++) {
        double moved = centre[f] + (float)(total[f] / count[f]); /* NaN: none of the samples has this feature */
        centre[f] = isfinite(moved) ? moved : centre[f];
    }
    leave_float_mode(caller);
}

void finish_columns(ptrdiff_t features, const double *centre, double *const *gathered)
{
    float_mode_t caller = enter_float_mode();
    for (ptrdiff_t f = 0; f < features; f++) {
        double count = gathered[COUNT][f], total = gathered[TOTAL][f], lowest = gathered[LOWEST][f];
        double shift = count > 0 ? total / count : 0, squares = gathered[SQUARES][f] - total * shift;
        int constant = lowest == gathered[HIGHEST][f]; /* of which nothing need be lost */
        gathered[TOTAL][f] = constant ? lowest : (count > 0 ? centre[f] + shift : 0);
        gathered[SQUARES][f] = constant || squares < 0 ? 0 : squares;
    }
    leave_float_mode(caller);
}

size_t gather_bytes(const columns_t *columns)
{
    ptrdiff_t parts = ceil_div(columns->extents[SAMPLE], part_of(columns->extents[SAMPLE]));
    return (size_t)(1 + GATHERED * parts) * (size_t)columns->extents[FEATURE] * sizeof(double) + 1;
}

void gather_columns(const columns_t *columns, char *scratch, double *const *gathered)
{
    column_stats_t gather = {.columns = columns, .itemsize = storage_size(columns->compute)};
    ptrdiff_t samples = columns->extents[SAMPLE], features = columns->extents[FEATURE];
    const matrix_t *x = &columns->x;
    gather.part = part_of(samples);
    gather.parts = ceil_div(samples, gather.part);
    gather.stripes = ceil_div(features, STATS_STRIPE);
    gather.by_row = x->storage == columns->compute &&
                    (x->strides[FEATURE] == gather.itemsize || features == 1) &&
                    (x->strides[SAMPLE] >= 0 || samples == 1);
    gather.centre = (double *)scratch;
    gather.gathered = gather.centre + features;
    float_mode_t caller = enter_float_mode();
    for (ptrdiff_t f = 0; f < features; f++)
        gather.centre[f] = first_value(&gather, f);
    if (samples > REFINING_STEP)
        refine_centres(&gather);
    columns->parallel_for(stats_units, &gather, gather.parts * gather.stripes, LARGEST_CHUNK, columns->threads);
    join_parts(&gather, gathered);
    leave_float_mode(caller);
    finish_columns(features, gather.centre, gathered);
}
