/* The fixed tree of a sum. For every memory layout and number of threads, terms are added in this order, so that the
 * bits of a result never change. The constants here, and GROUP, LANES and PART of fastopt/specs/sums.py, determine the
 * results: they are not tuning parameters.
 *
 * A sum over space (or, without space, over a group's channels) has parts of PART elements. In a part, element i
 * belongs to lane i % LANES. A lane adds GROUP terms in their own type and then adds the result to its sum, which is
 * float64. Lanes are added pairwise, and parts in order. */
#ifndef FASTOPT_SUM_TREE_H
#define FASTOPT_SUM_TREE_H
#include "fastopt_specs.h"
#include <stddef.h>

#define GROUPS (GROUP * LANES) /* elements that complete a group in every lane */

/* Sums over samples, if there is no space (the gradients of weight and bias): a part has at least MIN_OUTER_PART
 * samples, and there are at most MAX_OUTER_PARTS parts. */
#define MIN_OUTER_PART 16
#define MAX_OUTER_PARTS 64

/* Sums of squares, for the norms of tensors: the number of lanes, and the elements of a part. */
#define SQUARE_LANES 16
#define SQUARE_PART 65536

/* Add the values of lanes pairwise. */
#define FOUR_LANES(lane, i) ((lane(i) + lane(i + 8)) + (lane(i + 4) + lane(i + 12)))
#define SUM_OF_LANES(lane) \
    ((FOUR_LANES(lane, 0) + FOUR_LANES(lane, 2)) + (FOUR_LANES(lane, 1) + FOUR_LANES(lane, 3)))

/* The same for lanes that are `step` elements apart in memory. */
static inline double sum_of_lanes(const double *lanes, ptrdiff_t step)
{
#define LANE(i) lanes[(i) * step]
    return SUM_OF_LANES(LANE);
#undef LANE
}

#endif
