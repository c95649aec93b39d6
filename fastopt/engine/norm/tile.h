/* Transfers between arrays and the tiles that kernels take. */
#ifndef FASTOPT_NORM_TILE_H
#define FASTOPT_NORM_TILE_H
#include "core/tuning.h"
#include "norm/axes.h"

/* A kernel's arguments, and the blocks for arrays that it can't access in place. */
typedef struct {
    _Alignas(CACHE_LINE) char blocks[ARRAYS][BLOCK_BYTES];
    void *arrays[SLOTS];
    ptrdiff_t sizes[SIZES];
    ptrdiff_t repeated_columns; /* columns of joined rows; 0: their parameters are not written yet */
    _Alignas(CACHE_LINE) char repeated[5][JOINED_ELEMENTS * sizeof(double) + CACHE_LINE];
} tile_args_t;

_Static_assert(sizeof(tile_args_t) <= THREAD_SCRATCH_BYTES, "a thread's scratch memory holds what a kernel takes");

/* The part of an array with these rows and columns, which have constant strides. */
static inline tile_t tile_of(const norm_t *norm, int array, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col,
                             ptrdiff_t cols)
{
    ptrdiff_t outer = norm->layout == ROWS ? 0 : offset_of(&norm->outer, array, o);
    ptrdiff_t offset = outer + offset_of(row_axes(norm), array, row) + offset_of(col_axes(norm), array, col);
    ptrdiff_t row_stride = inner_stride(row_axes(norm), array);
    return (tile_t){norm->data[array] + offset, rows, cols, row_stride, col_stride(norm, array)};
}

/* Load a tile into a block. */
void load_tile(const norm_t *norm, int array, const tile_t *tile, char *block);

/* Load rows, which may be in several runs, into a block. */
void load_rows(const norm_t *norm, int array, ptrdiff_t o, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t col,
               ptrdiff_t cols, char *block);

/* Store a block in a tile. */
void store_tile(const norm_t *norm, int array, const tile_t *tile, const char *block);

/* True if the tile is stored with non-temporal stores. */
int is_stored_nontemporal(const norm_t *norm, int array, const tile_t *tile);

#endif
