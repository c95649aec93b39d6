/* What a norm's kernel is: a function of rules/norm.py compiled into a loop over a panel, a rectangle of elements.
 *
 * Arrays are panels whose columns stand together; sizes has the number of rows and columns, then each array's distance
 * from row to row, in elements. They are of the compute type, or all of bfloat16, which the kernel then carries to it and
 * back; WEIGHT is of the compute type, and so are parameters, which are one value per row or per column (which, the
 * kernel knows). A wide kernel computes in float64, and so are its parameters.
 *
 * A kernel that adds up computes two terms of every element. Those of GROUP rows, or of what is left at the end, are
 * added up column by column, in order, and then join the column's sums, which are float64. Where SUM_STEP is not 0,
 * columns have as many sums as there are lanes (core/sum_tree.h), so far apart, to which rows belong in turn; GROUP rows of each
 * lane at most. Where x's AHEAD is not 0, what is added up comes from beyond a core's own caches; and of each array, what
 * stands so many elements further on will be added up soon (0: none of it).
 *
 * One that does so by row adds up each row by itself, over lanes to which its columns belong in turn (core/sum_tree.h). It has a
 * parameter, and a sum of each term, for every row: sums are written, SUM_STEP apart. One that does so by column adds up
 * each of its columns, STRIPE at most, over lanes to which its rows belong in turn; it works in memory of WORK_BYTES, at
 * WORK, for stacks may be small. A scattered one adds up one row, which need not stand together: its arrays are tables of
 * where each LANES elements do, and all that are left over at the end.
 *
 * A kernel that writes arrays puts them past the caches where PAST is not 0, if it can (is_ahead_of_time in norm.h). */
#ifndef FASTOPT_PANEL_H
#define FASTOPT_PANEL_H
#include "core/sum_tree.h"
#include <stddef.h>

#define STRIPE 64 /* columns whose lanes are kept together */
#define WORK_BYTES (6 * LANES * STRIPE * 8)

/* The arrays of a norm's kernels. OUT is y or dx; DRESIDUAL the gradient that the norm passes on to a residual.
 * codegen/norm.py has the same list. */
enum slot { X, DY, Y, RESIDUAL, WEIGHT, OUT, DRESIDUAL, ARRAYS, PARAMETER = ARRAYS, SUM = PARAMETER + 5, WORK = SUM + 2, SLOTS };

/* Where in sizes things stand. */
enum size { ROWS, COLUMNS, STEP, SUM_STEP = STEP + ARRAYS, PAST, AHEAD, SIZES = AHEAD + ARRAYS };

typedef void (*panel_kernel_t)(void **arrays, const ptrdiff_t *sizes);

/* The kernels, in the order of PANELS in codegen/norm.py. */
enum panel_kernel {
    NORMALISE_ROWS,
    NORMALISE_COLUMNS,
    NORMALISE_SAMPLES,
    INPUT_GRADIENT_ROWS,
    INPUT_GRADIENT_COLUMNS,
    INPUT_GRADIENT_SAMPLES,
    INPUT_GRADIENT_FIXED_ROWS,
    INPUT_GRADIENT_FIXED_COLUMNS,
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
    PANEL_KERNELS
};

/* A kernel's form: WITH_RELU, and WITH_RESIDUAL (forward: it is added; backward: its gradient is written). */
enum form { PLAIN, WITH_RELU, WITH_RESIDUAL, FORMS = 4 };

#endif
