#include "norm/tile.h"
#include <string.h>

/* Convert a tile with contiguous rows to one long row. */
static tile_t joined(tile_t tile)
{
    if (tile.row_stride == tile.cols * tile.col_stride) {
        tile.cols *= tile.rows;
        tile.rows = 1;
    }
    return tile;
}

/* Copy elements that kernels load without conversion. */
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
    int is_contiguous = from.col_stride == storage_size(norm->storage[array]);
    (norm->exceeds_l2 && is_contiguous ? codec->load_prefetched : codec->load)(&from, block);
}

void load_rows(const norm_t *norm, int array, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col,
               ptrdiff_t cols, char *block)
{
    for (ptrdiff_t r = 0, run; r < rows; r += run) {
        run = smaller(rows - r, run_from(row_axes(norm), row + r));
        tile_t tile = tile_of(norm, array, o, row + r, run, col, cols);
        load_tile(norm, array, &tile, block + in_bytes(norm, r * cols));
    }
}

int is_stored_nontemporal(const norm_t *norm, int array, const tile_t *tile)
{
    return norm->nontemporal_blocks && norm->codecs[norm->storage[array]].store_nontemporal &&
           tile->col_stride == norm->itemsize;
}

void store_tile(const norm_t *norm, int array, const tile_t *tile, const char *block)
{
    tile_t to = joined(*tile);
    const codec_t *codec = &norm->codecs[norm->storage[array]];
    if (is_stored_nontemporal(norm, array, &to))
        codec->store_nontemporal(&to, block);
    else
        codec->store(&to, block);
}
