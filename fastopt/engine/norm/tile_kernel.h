/* What a norm's kernel is: a function of rules/norm.py compiled into a loop over a tile, a rectangle of elements.
 *
 * A kernel takes arrays and sizes. In each array, the columns of the tile lie next to each other. Sizes are the
 * number of rows and columns, then each array's distance from row to row, in elements. Elements are of the compute
 * type, or all of bfloat16, which the kernel converts to it and back. WEIGHT is of the compute type, and so are
 * parameters: one value for each row or for each column (the kernel knows which). A wide kernel computes in float64,
 * and its parameters are float64.
 *
 * A kernel that reduces computes two terms of every element. In each column, the terms of GROUP rows, or of those
 * left at the end, are added in order, and then added to the column's sums, which are float64.
 *
 * - A partial reducer adds to sums. If SUM_STEP is not 0, columns have one sum for each lane (core/sum_tree.h), this
 *   far apart, and rows belong to lanes in turn: at most GROUP rows of each lane.
 * - A full reducer by row adds up each row by itself, over lanes to which its columns belong in turn. It has a
 *   parameter, and writes a sum of each term, for every row: sums lie SUM_STEP apart.
 * - A full reducer by column adds up each of its columns, STRIPE at most, over lanes to which its rows belong in
 *   turn. It works in memory of WORK_BYTES, at WORK, because stacks may be small.
 * - A scattered reducer adds up one row whose elements may lie anywhere: its arrays are tables of the addresses of
 *   each LANES elements, and of all that are left over at the end.
 *
 * If x's AHEAD is not 0, x comes from beyond a core's own caches; of each array, the elements this far ahead will be
 * reduced soon, and can be prefetched (0: none of them).
 *
 * A kernel that writes arrays uses non-temporal stores if NONTEMPORAL is not 0 and it can (is_ahead_of_time in
 * norm.h). */
#ifndef FASTOPT_TILE_KERNEL_H
#define FASTOPT_TILE_KERNEL_H
#include "core/sum_tree.h"
#include <stddef.h>

/* STRIPE columns' lanes are kept together. */
#define WORK_BYTES (6 * LANES * STRIPE * 8)

typedef void (*tile_kernel_t)(void **arrays, const ptrdiff_t *sizes);

#endif
