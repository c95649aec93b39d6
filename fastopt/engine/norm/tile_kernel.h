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

#define STRIPE 64 /* columns whose lanes are kept together */
#define WORK_BYTES (6 * LANES * STRIPE * 8)

/* The arrays of a norm's kernels. OUT is y or dx; DRESIDUAL is the gradient that the norm passes on to a residual.
 * codegen/norm.py has the same list. */
enum slot {
    X, DY, Y, RESIDUAL, WEIGHT, OUT, DRESIDUAL, ARRAYS,
    PARAMETER = ARRAYS, SUM = PARAMETER + 5, WORK = SUM + 2, SLOTS
};

/* The positions in sizes. */
enum size { TILE_ROWS, TILE_COLUMNS, STEP, SUM_STEP = STEP + ARRAYS, NONTEMPORAL, AHEAD, SIZES = AHEAD + ARRAYS };

typedef void (*tile_kernel_t)(void **arrays, const ptrdiff_t *sizes);

/* The kernels, in the order of TILE_KERNELS in codegen/norm.py. Those that end in a layout are in the order of enum
 * layout. */
enum tile_kernel {
    NORMALISE_NCHW,
    NORMALISE_NHWC,
    NORMALISE_ROWS,
    INPUT_GRADIENT_NCHW,
    INPUT_GRADIENT_NHWC,
    INPUT_GRADIENT_ROWS,
    INPUT_GRADIENT_FIXED_NCHW,
    INPUT_GRADIENT_FIXED_NHWC,
    UNCHANGED,
    UNCHANGED_GRADIENT,
    DEVIATIONS,
    WIDE_DEVIATIONS,
    GRADIENT_TERMS,
    WEIGHTED_GRADIENT_TERMS,
    PARAMETER_TERMS,
    DEVIATIONS_BY_ROW,
    WIDE_DEVIATIONS_BY_ROW,
    GRADIENT_TERMS_BY_ROW,
    WEIGHTED_GRADIENT_TERMS_BY_ROW,
    DEVIATIONS_BY_COLUMN,
    WIDE_DEVIATIONS_BY_COLUMN,
    GRADIENT_TERMS_BY_COLUMN,
    SCATTERED_DEVIATIONS,
    WIDE_SCATTERED_DEVIATIONS,
    SCATTERED_GRADIENT_TERMS,
    TILE_KERNELS
};

/* A kernel's variant: WITH_RELU, and WITH_RESIDUAL (forward: it is added; backward: its gradient is written). */
enum variant { PLAIN, WITH_RELU, WITH_RESIDUAL, VARIANTS = 4 };

#endif
