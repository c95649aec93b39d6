#include "norm/parts.h"
#include <string.h>

/* ---- Between arrays and the kernel's panel */

/* One long row, where rows stand end to end. */
static tile_t joined(tile_t tile)
{
    if (tile.row_stride == tile.cols * tile.col_stride) {
        tile.cols *= tile.rows;
        tile.rows = 1;
    }
    return tile;
}

/* Elements that the kernels load as they are. */
static void copy_tile(const norm_t *norm, const tile_t *from, char *block)
{
    ptrdiff_t row = in_bytes(norm, from->cols);
    for (ptrdiff_t r = 0; r < from->rows; r++)
        memcpy(block + r * row, from->data + r * from->row_stride, (size_t)row);
}

void load_tile(const norm_t *norm, int array, const tile_t *tile, char *block)
{
    tile_t from = joined(*tile);
    if (norm->element != norm->compute) {
        copy_tile(norm, &from, block);
        return;
    }
    const codec_t *codec = &norm->codecs[norm->storage[array]];
    int together = from.col_stride == storage_size(norm->storage[array]);
    (norm->far && together ? codec->load_prefetched : codec->load)(&from, block);
}

tile_t tile_of(const norm_t *norm, int array, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col, ptrdiff_t cols)
{
    ptrdiff_t outer = norm->walk == SAMPLES ? 0 : offset_of(&norm->outer, array, o);
    ptrdiff_t offset = outer + offset_of(row_axes(norm), array, row) + offset_of(col_axes(norm), array, col);
    return (tile_t){norm->data[array] + offset, rows, cols, inner_stride(row_axes(norm), array), col_stride(norm, array)};
}

/* Rows and columns of a tile. */
static inline tile_t subtile(const tile_t *tile, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col, ptrdiff_t cols)
{
    char *data = tile->data + row * tile->row_stride + col * tile->col_stride;
    return (tile_t){data, rows, cols, tile->row_stride, tile->col_stride};
}

static int is_streamed(const norm_t *norm, int array, const tile_t *tile)
{
    return norm->stream && norm->codecs[norm->storage[array]].store_nontemporal && tile->col_stride == norm->itemsize;
}

static void write_tile(const norm_t *norm, int array, const tile_t *tile, const char *block)
{
    tile_t to = joined(*tile);
    const codec_t *codec = &norm->codecs[norm->storage[array]];
    if (is_streamed(norm, array, &to))
        codec->store_nontemporal(&to, block);
    else
        codec->store(&to, block);
}

/* ---- Panels of results */

/* SAMPLES: the position of a sample's statistic; with several groups, a panel has one row and columns of one group. */
static ptrdiff_t statistic_of(const norm_t *norm, ptrdiff_t row, ptrdiff_t col)
{
    return norm->groups == 1 ? row : row * norm->groups + col / norm->per_group;
}

/* The kernel's parameters that stand in norm->parameters. */
static int own_parameters(const norm_t *norm)
{
    if (norm->pass == BACKWARD_INFERENCE)
        return 2;
    if (is_addition(norm))
        return 0;
    return norm->walk != SAMPLES ? 5 : (is_backward(norm) ? 4 : 3);
}

static void point_to_parameters(const norm_t *norm, kernel_args_t *panel, ptrdiff_t o, ptrdiff_t row, ptrdiff_t col)
{
    ptrdiff_t at;
    if (norm->walk == SAMPLES)
        at = statistic_of(norm, row, col);
    else
        at = o * norm->channels.count + (norm->walk == PLANES ? row : col);
    int own = own_parameters(norm);
    for (int i = 0; i < own; i++)
        panel->arrays[PARAMETER + i] = norm->parameters[i] + at * norm->itemsize;
    if (norm->walk == SAMPLES) {
        panel->arrays[PARAMETER + own] = norm->weight_row + col * norm->itemsize;
        if (own == 3)
            panel->arrays[PARAMETER + 4] = norm->bias_row + col * norm->itemsize;
    }
}

/* True if each row of every array begins where the one before ends. */
static int rows_end_to_end(const norm_t *norm, const kernel_args_t *panel)
{
    for (int n = 0; n < norm->nused; n++)
        if (panel->sizes[STEP + norm->used[n]] != panel->sizes[COLUMNS])
            return 0;
    return 1;
}

/* Give parameters for so many columns, and those of a line more. */
static void repeat_parameters(const norm_t *norm, kernel_args_t *panel, ptrdiff_t columns)
{
    ptrdiff_t bytes = (columns + norm->line) * norm->itemsize, period = panel->sizes[COLUMNS] * norm->itemsize;
    panel->repeated_columns = columns;
    for (int i = 0; i < own_parameters(norm); i++) {
        memcpy(panel->repeated[i], panel->arrays[PARAMETER + i], (size_t)smaller(period, bytes));
        for (ptrdiff_t done = period; done < bytes; done *= 2)
            memcpy(panel->repeated[i] + done, panel->repeated[i], (size_t)smaller(done, bytes - done));
    }
}

/* Run the kernel on rows x columns elements, which stand end to end, and move on behind them. */
static void run_and_move(const norm_t *norm, kernel_args_t *panel, ptrdiff_t rows, ptrdiff_t columns)
{
    panel->sizes[ROWS] = rows;
    panel->sizes[COLUMNS] = columns;
    for (int i = 0; i < ARRAYS; i++)
        panel->sizes[STEP + i] = columns;
    if (rows * columns != 0)
        norm->elements_kernel(panel->arrays, panel->sizes);
    for (int n = 0; n < norm->nused; n++)
        panel->arrays[norm->used[n]] = (char *)panel->arrays[norm->used[n]] + in_bytes(norm, rows * columns);
}

/* Several pixels as one row: their channels' parameters repeat. Results that go past the caches begin with a line. */
static void run_joined(const norm_t *norm, kernel_args_t *panel, ptrdiff_t columns)
{
    ptrdiff_t total = panel->sizes[ROWS] * panel->sizes[COLUMNS];
    ptrdiff_t head = smaller(norm->past ? in_elements(norm, bytes_to_line(panel->arrays[OUT])) : 0, total);
    if (panel->repeated_columns != columns)
        repeat_parameters(norm, panel, columns);
    for (int i = 0; i < own_parameters(norm); i++)
        panel->arrays[PARAMETER + i] = panel->repeated[i];
    run_and_move(norm, panel, 1, head);
    for (int i = 0; i < own_parameters(norm); i++)
        panel->arrays[PARAMETER + i] = panel->repeated[i] + head * norm->itemsize;
    run_and_move(norm, panel, (total - head) / columns, columns);
    run_and_move(norm, panel, 1, (total - head) % columns);
}

/* Columns of the rows that pixels should be joined to, or 0. Where results go past the caches, rows are whole lines, if
 * that is possible: all rows of 64 or more columns are joined for nothing else. */
static ptrdiff_t joined_columns(const norm_t *norm, const kernel_args_t *panel)
{
    ptrdiff_t cols = panel->sizes[COLUMNS], rows = panel->sizes[ROWS], pixels = 1;
    if (norm->walk != PIXELS || rows < 2 || !rows_end_to_end(norm, panel))
        return 0;
    while (norm->past && pixels * cols % norm->line)
        pixels *= 2;
    if (cols >= JOIN_BELOW)
        return norm->past && pixels * cols <= JOINED_ELEMENTS ? pixels * cols : 0;
    ptrdiff_t most = JOINED_ELEMENTS / cols;
    return cols * smaller(pixels <= most ? most / pixels * pixels : most, rows);
}

/* Compute rows x cols elements, from a row and a column of these tiles on. */
static void run_panel(const norm_t *norm, kernel_args_t *panel, const tile_t *tiles, ptrdiff_t row, ptrdiff_t rows,
                      ptrdiff_t col, ptrdiff_t cols)
{
    panel->sizes[ROWS] = rows;
    panel->sizes[COLUMNS] = cols;
    panel->sizes[PAST] = norm->past;
    for (int n = 0; n < norm->nused; n++) {
        int i = norm->used[n];
        tile_t tile = subtile(&tiles[i], row, rows, col, cols);
        panel->arrays[i] = norm->native[i] ? tile.data : panel->blocks[i];
        panel->sizes[STEP + i] = norm->native[i] ? in_elements(norm, tile.row_stride) : cols;
        if (!norm->native[i] && n < norm->nread)
            load_tile(norm, i, &tile, panel->blocks[i]);
    }
    ptrdiff_t together = joined_columns(norm, panel);
    if (together)
        run_joined(norm, panel, together);
    else
        norm->elements_kernel(panel->arrays, panel->sizes);
    for (int n = norm->nread; n < norm->nused; n++) {
        int i = norm->used[n];
        tile_t tile = subtile(&tiles[i], row, rows, col, cols);
        if (!norm->native[i])
            write_tile(norm, i, &tile, panel->blocks[i]);
    }
}

/* Elements between a result and the cache line that it begins in. Where results go past the caches, panels end with a
 * line: one written in two parts is read first, and everything waits for that (2.3 -> 1.5 ms). */
static ptrdiff_t past_line(const norm_t *norm, const tile_t *out, ptrdiff_t row, ptrdiff_t col)
{
    uintptr_t address = (uintptr_t)(out->data + row * out->row_stride + col * out->col_stride);
    return norm->past || is_streamed(norm, OUT, out) ? in_elements(norm, (ptrdiff_t)(address % CACHE_LINE)) : 0;
}

/* Cut into panels a rectangle in which neighbours along either axis are at one distance. */
static void apply_rectangle(const norm_t *norm, kernel_args_t *panel, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows,
                            ptrdiff_t col, ptrdiff_t cols)
{
    tile_t tiles[ARRAYS];
    ptrdiff_t max_cols = smaller(cols, norm->max_cols), max_rows = norm->max_rows;
    if (max_rows < PTRDIFF_MAX)
        max_rows = smaller(max_rows, BLOCK_BYTES / norm->itemsize / max_cols);
    for (int n = 0; n < norm->nused; n++)
        tiles[norm->used[n]] = tile_of(norm, norm->used[n], o, row, rows, col, cols);
    for (ptrdiff_t r = 0; r < rows; r += max_rows)
        for (ptrdiff_t c = 0, some; c < cols; c += some) {
            some = smaller(cols - c, max_cols - (max_rows == 1 ? past_line(norm, &tiles[OUT], r, c) : 0));
            point_to_parameters(norm, panel, o, row + r, col + c);
            panel->repeated_columns = max_cols < cols ? 0 : panel->repeated_columns;
            run_panel(norm, panel, tiles, r, smaller(rows - r, max_rows), c, some);
        }
}

_Static_assert(sizeof(kernel_args_t) <= ROOM_BYTES, "a room holds a panel");

void apply_region(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                  ptrdiff_t cols_end)
{
    kernel_args_t *panel = room_of(norm, thread);
    for (ptrdiff_t cols; col < cols_end; col += cols) {
        cols = smaller(cols_end - col, run_from(col_axes(norm), col));
        panel->repeated_columns = 0; /* columns change */
        for (ptrdiff_t r = row, rows; r < rows_end; r += rows) {
            rows = smaller(rows_end - r, run_from(row_axes(norm), r));
            apply_rectangle(norm, panel, o, r, rows, col, cols);
        }
    }
}

/* ---- The terms of dweight and dbias */

static void run_parameter_terms(const norm_t *norm, kernel_args_t *panel, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col,
                                ptrdiff_t cols)
{
    ptrdiff_t sums = row / norm->outer_part * norm->channels.count + col;
    _Alignas(8) char parameters[2][GROUP * sizeof(double)];
    panel->sizes[ROWS] = rows;
    panel->sizes[COLUMNS] = cols;
    panel->sizes[SUM_STEP] = 0;
    for (int n = 0; n < norm->nreads; n++)
        panel->sizes[AHEAD + norm->reads[n]] = 0;
    for (ptrdiff_t r = 0; r < rows; r++) {
        ptrdiff_t statistic = statistic_of(norm, row + r, col);
        for (int i = 0; i < 2; i++) /* mean and rstd are the first two parameters of the input gradient, too */
            set_real(norm, parameters[i], r, get_real(norm, norm->parameters[i], statistic));
    }
    panel->arrays[PARAMETER] = parameters[0];
    panel->arrays[PARAMETER + 1] = parameters[1];
    panel->arrays[SUM] = norm->dbias_parts + sums;
    panel->arrays[SUM + 1] = norm->dweight_parts + sums;
    norm->parameters_kernel(panel->arrays, panel->sizes);
}

/* A group of samples, whose terms are added up before they join the sums: collected in blocks, if it must be. */
static void add_group_terms(const norm_t *norm, kernel_args_t *panel, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col,
                            ptrdiff_t cols_end)
{
    int in_place = norm->sums_in_place && run_from(&norm->outer, row) >= rows;
    ptrdiff_t widest = BLOCK_BYTES / norm->itemsize / GROUP;
    for (ptrdiff_t c = col, cols; c < cols_end; c += cols) {
        cols = smaller(cols_end - c, run_from(&norm->channels, c));
        cols = in_place ? cols : smaller(cols, widest);
        for (int n = 0; n < norm->nreads; n++) {
            int i = norm->reads[n];
            tile_t tile = tile_of(norm, i, 0, row, rows, c, cols);
            panel->arrays[i] = in_place ? tile.data : panel->blocks[i];
            panel->sizes[STEP + i] = in_place ? in_elements(norm, tile.row_stride) : cols;
            for (ptrdiff_t r = 0; r < rows && !in_place; r++) {
                tile = tile_of(norm, i, 0, row + r, 1, c, cols);
                load_tile(norm, i, &tile, panel->blocks[i] + in_bytes(norm, r * cols));
            }
        }
        run_parameter_terms(norm, panel, row, rows, c, cols);
    }
}

void add_parameter_terms(const norm_t *norm, int thread, ptrdiff_t row, ptrdiff_t rows_end, ptrdiff_t col,
                         ptrdiff_t cols_end)
{
    for (ptrdiff_t rows; row < rows_end; row += rows) {
        rows = smaller(rows_end - row, GROUP);
        add_group_terms(norm, room_of(norm, thread), row, rows, col, cols_end);
    }
}
