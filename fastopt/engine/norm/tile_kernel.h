/* A norm's kernel is a function of rules/norm.py compiled into a loop over a tile, a rectangle of elements.
 *
 * A kernel takes arrays and sizes. In each array, the columns of the tile are contiguous. The sizes are the number of
 * rows and columns, then each array's stride between rows, in elements. Elements are of the compute type, or all
 * bfloat16, which the kernel converts to and from the compute type. WEIGHT and the parameters are of the compute type;
 * a parameter has one value per row or per column, depending on the kernel. A wide kernel computes in float64,
 * and its parameters are float64.
 *
 * A kernel that reduces computes two terms of every element. In each column, the terms of GROUP rows, or of the
 * remaining rows, are added in order, and then added to the column's sums, which are float64.
 *
 * - A partial reducer adds to sums. If SUM_STEP is not 0, columns have one sum for each lane (core/sum_tree.h) at this
 *   distance, and rows belong to lanes in turn: at most GROUP rows per lane.
 * - A full reducer by row adds up each row by itself, over lanes to which its columns belong in turn. It has a
 *   parameter, and writes a sum of each term for every row, at distances of SUM_STEP.
 * - A full reducer by column adds up each of its columns, at most STRIPE, over lanes to which its rows belong in turn.
 *   It uses WORK_BYTES of memory at WORK, because stacks may be small.
 * - A scattered reducer adds up one row of elements at arbitrary addresses: its arrays are tables of the addresses of
 *   each LANES elements, and of the remaining elements.
 *
 * If x's AHEAD is not 0, x is not in a core's own caches; in each array, the elements at this distance will be reduced
 * soon and can be prefetched (0: no prefetching).
 *
 * A kernel that writes arrays uses non-temporal stores if NONTEMPORAL is not 0 and if it can (is_ahead_of_time in
 * norm.h). */
#ifndef FASTOPT_TILE_KERNEL_H
#define FASTOPT_TILE_KERNEL_H
#include "core/sum_tree.h"
#include <stddef.h>

/* The lanes of STRIPE columns are adjacent. */
#define WORK_BYTES (6 * LANES * STRIPE * 8)

typedef void (*tile_kernel_t)(void **arrays, const ptrdiff_t *sizes);

#endif
