/* Scales a matrix, and tests whether all its values are finite. */
#include "scaling/scaling.h"
#include "core/float_mode.h"
#include "core/tuning.h"
#include "core/util.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* ---- A pass over the matrix in memory order */

/* Rows and columns in memory: either axis may be the columns. */
typedef struct {
    const scaling_t *scaling;
    enum axis row, col;
    int in_place;
    ptrdiff_t itemsize;              /* of the compute type */
    ptrdiff_t max_rows, max_cols;    /* of a block */
    ptrdiff_t unit_rows, unit_cols;
    ptrdiff_t row_units, col_units;
    /* Scaling: the parameters of the features, and their repetition for joined rows */
    const char *scales[SCALES];
    ptrdiff_t repeats;
    _Alignas(CACHE_LINE) char repeated[SCALES][JOINED_ELEMENTS * sizeof(double)];
    atomic_int nonfinite;
} matrix_pass_t;

static tile_t tile_at(const matrix_pass_t *pass, const matrix_t *matrix, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col,
                      ptrdiff_t cols)
{
    ptrdiff_t down = matrix->strides[pass->row], along = matrix->strides[pass->col];
    return (tile_t){matrix->data + row * down + col * along, rows, cols, down, along};
}

/* True if kernels can read and write the array in place. */
static int is_direct(const matrix_pass_t *pass, const matrix_t *matrix)
{
    const scaling_t *scaling = pass->scaling;
    int together = matrix->strides[pass->col] == pass->itemsize || scaling->extents[pass->col] == 1;
    return matrix->storage == scaling->compute && together &&
           (matrix->strides[pass->row] >= 0 || scaling->extents[pass->row] == 1);
}

static int crosses(const matrix_pass_t *pass, const matrix_t *matrix)
{
    return matrix->strides[pass->col] != storage_size(matrix->storage);
}

/* Choose rows and columns by the memory order of the array that is written. */
static void plan_pass(matrix_pass_t *pass, const scaling_t *scaling)
{
    const matrix_t *target = scaling->out.data ? &scaling->out : &scaling->x;
    ptrdiff_t down = magnitude(target->strides[SAMPLE]), along = magnitude(target->strides[FEATURE]);
    int by_sample = scaling->extents[FEATURE] == 1 || (scaling->extents[SAMPLE] > 1 && down < along);
    pass->scaling = scaling;
    pass->row = by_sample ? FEATURE : SAMPLE;
    pass->col = by_sample ? SAMPLE : FEATURE;
    pass->itemsize = storage_size(scaling->compute);
    pass->in_place = !scaling->out.data && is_direct(pass, &scaling->x);
    ptrdiff_t rows = scaling->extents[pass->row], cols = scaling->extents[pass->col];
    int crossing = crosses(pass, &scaling->x) || (scaling->out.data && crosses(pass, &scaling->out));
    ptrdiff_t block = BLOCK_BYTES / pass->itemsize;
    pass->max_cols = smaller(cols, crossing ? block / CROSSING_ROWS : block);
    pass->max_rows = block / pass->max_cols;
    pass->unit_cols = smaller(cols, UNIT_ELEMENTS);
    pass->unit_rows = smaller(rows, larger(1, UNIT_ELEMENTS / pass->unit_cols));
    pass->row_units = ceil_div(rows, pass->unit_rows);
    pass->col_units = ceil_div(cols, pass->unit_cols);
    pass->repeats = 1;
    atomic_init(&pass->nonfinite, 0);
}

/* A kernel's input: the part of x in a unit, in place or loaded into a block. */
typedef struct {
    char *x;
    ptrdiff_t rows, cols, step; /* in elements */
    ptrdiff_t row, col;         /* of its first element */
} x_tile_t;

typedef void (*tile_fn)(matrix_pass_t *pass, const x_tile_t *tile);

/* Run a function on a unit's tiles. Tiles that were loaded are stored afterwards if the function writes them. */
static void run_unit(matrix_pass_t *pass, ptrdiff_t unit, tile_fn run, int written)
{
    const scaling_t *scaling = pass->scaling;
    const matrix_t *target = scaling->out.data ? &scaling->out : &scaling->x;
    ptrdiff_t row = unit / pass->col_units * pass->unit_rows, col = unit % pass->col_units * pass->unit_cols;
    ptrdiff_t end_row = smaller(row + pass->unit_rows, scaling->extents[pass->row]);
    ptrdiff_t end_col = smaller(col + pass->unit_cols, scaling->extents[pass->col]);
    _Alignas(CACHE_LINE) char block[BLOCK_BYTES];
    if (pass->in_place) {
        tile_t tile = tile_at(pass, &scaling->x, row, end_row - row, col, end_col - col);
        ptrdiff_t step = row_step(tile.row_stride, tile.rows, tile.cols, pass->itemsize);
        run(pass, &(x_tile_t){tile.data, tile.rows, tile.cols, step, row, col});
        return;
    }
    for (ptrdiff_t r = row, rows; r < end_row; r += rows) {
        rows = smaller(end_row - r, pass->max_rows);
        for (ptrdiff_t c = col, cols; c < end_col; c += cols) {
            cols = smaller(end_col - c, pass->max_cols);
            tile_t from = tile_at(pass, &scaling->x, r, rows, c, cols);
            scaling->codecs[scaling->x.storage].load(&from, block);
            run(pass, &(x_tile_t){block, rows, cols, cols, r, c});
            tile_t to = tile_at(pass, target, r, rows, c, cols);
            if (written)
                scaling->codecs[target->storage].store(&to, block);
        }
    }
}

/* ---- Test for NaN and infinity */

static void probe(matrix_pass_t *pass, char *x, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t step)
{
    _Alignas(CACHE_LINE) char nonfinite[BLOCK_ELEMENTS * sizeof(double)];
    memset(nonfinite, 0, (size_t)(cols * pass->itemsize));
    void *arrays[] = {x, nonfinite};
    pass->scaling->kernels[NONFINITE_PROBE](arrays, (ptrdiff_t[]){rows, cols, step});
    for (ptrdiff_t c = 0; c < cols; c++) {
        double sum = pass->itemsize == 8 ? ((double *)nonfinite)[c] : ((float *)nonfinite)[c];
        if (sum != 0)
            atomic_store_explicit(&pass->nonfinite, 1, memory_order_relaxed);
    }
}

/* The test ignores which element belongs to which column, so contiguous rows are joined to long rows. */
static void probe_tile(matrix_pass_t *pass, const x_tile_t *tile)
{
    ptrdiff_t rows = tile->rows, cols = tile->cols, step = tile->step;
    if (rows == 1 || step == cols) {
        ptrdiff_t elements = rows * cols, row = smaller(elements, PROBE_ROW), rest = elements % row;
        probe(pass, tile->x, elements / row, row, row);
        if (rest)
            probe(pass, tile->x + (elements - rest) * pass->itemsize, 1, rest, rest);
        return;
    }
    for (ptrdiff_t c = 0; c < cols; c += BLOCK_ELEMENTS)
        probe(pass, tile->x + c * pass->itemsize, rows, smaller(cols - c, BLOCK_ELEMENTS), step);
}

static void probe_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    matrix_pass_t *pass = argument;
    (void)thread;
    for (; first < last && !atomic_load_explicit(&pass->nonfinite, memory_order_relaxed); first++)
        run_unit(pass, first, probe_tile, 0);
}

size_t pass_bytes(void) { return sizeof(matrix_pass_t); }

int all_finite(const scaling_t *scaling, void *scratch)
{
    matrix_pass_t *pass = scratch;
    scaling_t reading = *scaling;
    reading.out.data = NULL;
    if (scaling->extents[SAMPLE] == 0 || scaling->extents[FEATURE] == 0)
        return 1;
    plan_pass(pass, &reading);
    scaling->parallel_for(probe_units, pass, pass->row_units * pass->col_units, LARGEST_CHUNK, scaling->threads);
    return !atomic_load(&pass->nonfinite);
}

/* ---- Scaling */

static void scale(const matrix_pass_t *pass, char *x, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t step,
                  const char *const *scales, ptrdiff_t feature)
{
    void *arrays[1 + SCALES] = {x};
    for (int i = 0; i < SCALES; i++)
        arrays[1 + i] = (char *)scales[i] + feature * pass->itemsize;
    pass->scaling->kernels[pass->col == FEATURE ? SCALE_COLUMNS : SCALE_ROWS](arrays, (ptrdiff_t[]){rows, cols, step});
}

static void scale_tile(matrix_pass_t *pass, const x_tile_t *tile)
{
    ptrdiff_t rows = tile->rows, cols = tile->cols, done = 0;
    ptrdiff_t feature = pass->col == FEATURE ? tile->col : tile->row;
    if (pass->repeats > 1 && tile->step == cols && cols == pass->scaling->extents[FEATURE]) {
        const char *repeated[SCALES];
        ptrdiff_t row = cols * pass->repeats;
        for (int i = 0; i < SCALES; i++)
            repeated[i] = pass->repeated[i];
        done = rows / pass->repeats * pass->repeats;
        scale(pass, tile->x, rows / pass->repeats, row, row, repeated, 0);
        if (done < rows) /* the remaining rows as one row */
            scale(pass, tile->x + done * cols * pass->itemsize, 1, (rows - done) * cols, row, repeated, 0);
        return;
    }
    scale(pass, tile->x, rows, cols, tile->step, pass->scales, feature);
}

static void scale_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    (void)thread;
    for (; first < last; first++)
        run_unit(argument, first, scale_tile, 1);
}

static void probe_and_scale_tile(matrix_pass_t *pass, const x_tile_t *tile)
{
    probe_tile(pass, tile);
    scale_tile(pass, tile);
}

static void probe_and_scale_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    (void)thread;
    for (; first < last; first++)
        run_unit(argument, first, probe_and_scale_tile, 1);
}

static void repeat_scales(matrix_pass_t *pass)
{
    ptrdiff_t features = pass->scaling->extents[FEATURE], bytes = features * pass->itemsize;
    if (pass->col != FEATURE || features >= JOIN_BELOW)
        return;
    pass->repeats = JOINED_ELEMENTS / features;
    for (int i = 0; i < SCALES; i++)
        for (ptrdiff_t n = 0; n < pass->repeats; n++)
            memcpy(pass->repeated[i] + n * bytes, pass->scales[i], (size_t)bytes);
}

static int run_scale(const scaling_t *scaling, void *scratch, void *const *scales, range_fn run)
{
    matrix_pass_t *pass = scratch;
    if (scaling->extents[SAMPLE] == 0 || scaling->extents[FEATURE] == 0)
        return 1;
    plan_pass(pass, scaling);
    for (int i = 0; i < SCALES; i++)
        pass->scales[i] = scales[i];
    repeat_scales(pass);
    scaling->parallel_for(run, pass, pass->row_units * pass->col_units, LARGEST_CHUNK, scaling->threads);
    return !atomic_load(&pass->nonfinite);
}

int scale_matrix(const scaling_t *scaling, void *scratch, void *const *scales)
{
    return run_scale(scaling, scratch, scales, scale_units);
}

int scale_and_probe_matrix(const scaling_t *scaling, void *scratch, void *const *scales)
{
    return run_scale(scaling, scratch, scales, probe_and_scale_units);
}
