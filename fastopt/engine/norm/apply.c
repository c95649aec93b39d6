#include "norm/apply.h"
#include "norm/tile.h"
#include <string.h>

/* A rectangle of a tile. */
static inline tile_t subtile(const tile_t *tile, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col, ptrdiff_t cols)
{
    char *data = tile->data + row * tile->row_stride + col * tile->col_stride;
    return (tile_t){data, rows, cols, tile->row_stride, tile->col_stride};
}

/* The number of the kernel's parameters that are stored in norm->parameters */
static int own_parameters(const norm_t *norm)
{
    if (norm->op == BACKWARD_INFERENCE)
        return 2;
    if (is_addition(norm))
        return 0;
    return norm->layout != ROWS ? 5 : (is_backward(norm) ? 4 : 3);
}

static void point_to_parameters(const norm_t *norm, tile_args_t *args, ptrdiff_t o, ptrdiff_t row, ptrdiff_t col)
{
    ptrdiff_t at;
    if (norm->layout == ROWS)
        at = statistic_of(norm, row, col);
    else
        at = o * norm->channels.count + (norm->layout == NCHW ? row : col);
    int own = own_parameters(norm);
    for (int i = 0; i < own; i++)
        args->arrays[PARAMETER + i] = norm->parameters[i] + at * norm->itemsize;
    if (norm->layout == ROWS) {
        args->arrays[PARAMETER + own] = norm->weight_row + col * norm->itemsize;
        if (own == 3)
            args->arrays[PARAMETER + 4] = norm->bias_row + col * norm->itemsize;
    }
}

/* ---- Joined rows: several pixels as one row */

/* True if the rows of every array are contiguous with each other. */
static int rows_end_to_end(const norm_t *norm, const tile_args_t *args)
{
    for (int n = 0; n < norm->nused; n++)
        if (args->sizes[STEP + norm->used[n]] != args->sizes[TILE_COLUMNS])
            return 0;
    return 1;
}

/* Repeat the parameters for this many columns plus one cache line. */
static void repeat_parameters(const norm_t *norm, tile_args_t *args, ptrdiff_t columns)
{
    ptrdiff_t bytes = (columns + norm->line_elements) * norm->itemsize;
    ptrdiff_t period = args->sizes[TILE_COLUMNS] * norm->itemsize;
    args->repeated_columns = columns;
    for (int i = 0; i < own_parameters(norm); i++) {
        memcpy(args->repeated[i], args->arrays[PARAMETER + i], (size_t)smaller(period, bytes));
        for (ptrdiff_t done = period; done < bytes; done *= 2)
            memcpy(args->repeated[i] + done, args->repeated[i], (size_t)smaller(done, bytes - done));
    }
}

/* Run the kernel on rows x columns contiguous elements, and advance the arrays past them. */
static void run_and_move(const norm_t *norm, tile_args_t *args, ptrdiff_t rows, ptrdiff_t columns)
{
    args->sizes[TILE_ROWS] = rows;
    args->sizes[TILE_COLUMNS] = columns;
    for (int i = 0; i < ARRAYS; i++)
        args->sizes[STEP + i] = columns;
    if (rows * columns != 0)
        norm->apply_kernel(args->arrays, args->sizes);
    for (int n = 0; n < norm->nused; n++)
        args->arrays[norm->used[n]] = (char *)args->arrays[norm->used[n]] + in_bytes(norm, rows * columns);
}

/* Run the kernel on joined rows. With non-temporal stores, joined rows start at a cache line. */
static void run_joined(const norm_t *norm, tile_args_t *args, ptrdiff_t columns)
{
    ptrdiff_t total = args->sizes[TILE_ROWS] * args->sizes[TILE_COLUMNS];
    ptrdiff_t head = smaller(norm->nontemporal ? in_elements(norm, bytes_to_line(args->arrays[OUT])) : 0, total);
    if (args->repeated_columns != columns)
        repeat_parameters(norm, args, columns);
    for (int i = 0; i < own_parameters(norm); i++)
        args->arrays[PARAMETER + i] = args->repeated[i];
    run_and_move(norm, args, 1, head);
    for (int i = 0; i < own_parameters(norm); i++)
        args->arrays[PARAMETER + i] = args->repeated[i] + head * norm->itemsize;
    run_and_move(norm, args, (total - head) / columns, columns);
    run_and_move(norm, args, 1, (total - head) % columns);
}

/* The columns of joined rows, or 0 if rows should not be joined. With non-temporal stores, joined rows are whole cache
 * lines if possible; rows of at least JOIN_BELOW columns are joined only for that reason. */
static ptrdiff_t joined_columns(const norm_t *norm, const tile_args_t *args)
{
    ptrdiff_t cols = args->sizes[TILE_COLUMNS], rows = args->sizes[TILE_ROWS], pixels = 1;
    if (norm->layout != NHWC || rows < 2 || !rows_end_to_end(norm, args))
        return 0;
    while (norm->nontemporal && pixels * cols % norm->line_elements)
        pixels *= 2;
    if (cols >= JOIN_BELOW)
        return norm->nontemporal && pixels * cols <= JOINED_ELEMENTS ? pixels * cols : 0;
    ptrdiff_t most = JOINED_ELEMENTS / cols;
    return cols * smaller(pixels <= most ? most / pixels * pixels : most, rows);
}

/* ---- Tiles */

/* Compute rows x cols elements, starting at a row and a column of these tiles. */
static void apply_tile(const norm_t *norm, tile_args_t *args, const tile_t *tiles, ptrdiff_t row, ptrdiff_t rows,
                       ptrdiff_t col, ptrdiff_t cols)
{
    args->sizes[TILE_ROWS] = rows;
    args->sizes[TILE_COLUMNS] = cols;
    args->sizes[NONTEMPORAL] = norm->nontemporal;
    for (int n = 0; n < norm->nused; n++) {
        int i = norm->used[n];
        tile_t tile = subtile(&tiles[i], row, rows, col, cols);
        args->arrays[i] = norm->direct[i] ? tile.data : args->blocks[i];
        args->sizes[STEP + i] = norm->direct[i] ? in_elements(norm, tile.row_stride) : cols;
        if (!norm->direct[i] && n < norm->nread)
            load_tile(norm, i, &tile, args->blocks[i]);
    }
    ptrdiff_t together = joined_columns(norm, args);
    if (together)
        run_joined(norm, args, together);
    else
        norm->apply_kernel(args->arrays, args->sizes);
    for (int n = norm->nread; n < norm->nused; n++) {
        int i = norm->used[n];
        tile_t tile = subtile(&tiles[i], row, rows, col, cols);
        if (!norm->direct[i])
            store_tile(norm, i, &tile, args->blocks[i]);
    }
}

/* The number of elements between the start of a cache line and a result. With non-temporal stores, tiles end at the end
 * of a line: a line that is written in two parts must be read first, which stalls the core (2.3 -> 1.5 ms). */
static ptrdiff_t elements_since_line(const norm_t *norm, const tile_t *out, ptrdiff_t row, ptrdiff_t col)
{
    uintptr_t address = (uintptr_t)(out->data + row * out->row_stride + col * out->col_stride);
    int is_nontemporal = norm->nontemporal || is_stored_nontemporal(norm, OUT, out);
    return is_nontemporal ? in_elements(norm, (ptrdiff_t)(address % CACHE_LINE)) : 0;
}

/* Divide a rectangle, with constant strides along both axes, into tiles. */
static void apply_rectangle(const norm_t *norm, tile_args_t *args, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows,
                            ptrdiff_t col, ptrdiff_t cols)
{
    tile_t tiles[ARRAYS];
    ptrdiff_t max_cols = smaller(cols, norm->max_cols), max_rows = norm->max_rows;
    if (max_rows < PTRDIFF_MAX)
        max_rows = smaller(max_rows, BLOCK_BYTES / norm->itemsize / max_cols);
    for (int n = 0; n < norm->nused; n++)
        tiles[norm->used[n]] = tile_of(norm, norm->used[n], o, row, rows, col, cols);
    for (ptrdiff_t r = 0; r < rows; r += max_rows)
        for (ptrdiff_t c = 0, width; c < cols; c += width) {
            width = smaller(cols - c, max_cols - (max_rows == 1 ? elements_since_line(norm, &tiles[OUT], r, c) : 0));
            point_to_parameters(norm, args, o, row + r, col + c);
            args->repeated_columns = max_cols < cols ? 0 : args->repeated_columns;
            apply_tile(norm, args, tiles, r, smaller(rows - r, max_rows), c, width);
        }
}

void apply_region(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                  ptrdiff_t cols_end)
{
    tile_args_t *args = thread_scratch_of(norm, thread);
    for (ptrdiff_t cols; col < cols_end; col += cols) {
        cols = smaller(cols_end - col, run_from(col_axes(norm), col));
        args->repeated_columns = 0; /* columns change */
        for (ptrdiff_t r = row, rows; r < rows_end; r += rows) {
            rows = smaller(rows_end - r, run_from(row_axes(norm), r));
            apply_rectangle(norm, args, o, r, rows, col, cols);
        }
    }
}
