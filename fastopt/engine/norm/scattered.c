#include "norm/parts.h"
#include <string.h>

/* Rows of lanes are found where they stand, in runs that are apart, by kernels that take tables of them: to collect
 * elements first takes longer than to add them up. */

/* Rows of a part that begin in one run and end in another. */
#define MAX_JOINED_ROWS (PART / SHORTEST_SCATTERED_RUN + 2)

/* Bytes of a row, and of elements that complete no group, of any type. */
#define ROW_BYTES (LANES * sizeof(double))
#define REST_BYTES (GROUPS * sizeof(double))

typedef struct {
    void *rows[PART / LANES + 1]; /* where they stand; behind them, what completes no group */
    _Alignas(64) char joined[MAX_JOINED_ROWS * 2 * ROW_BYTES], rest[REST_BYTES];
} row_table_t;

int has_scattered(const norm_t *norm, const axes_t *axes, enum round round)
{
    ptrdiff_t length = axes->ndim == 2 ? axes->axis[1].extent : 0;
    return norm->sums_in_place && norm->sums_kernels[SCATTERED_SUMS][round] && length >= SHORTEST_SCATTERED_RUN &&
           length <= LONGEST_SCATTERED_RUN;
}

/* Of a size that the compiler does not know, to copy is a call: 32 bytes have an instruction or two. */
static void copy_lanes(const norm_t *norm, char *to, const char *from)
{
    for (ptrdiff_t i = 0; i < in_bytes(norm, LANES); i += 32)
        memcpy(to + i, from + i, 32);
}

/* Find rows of an array, from element `at` on. One that begins in a run and ends in the next is joined: a whole row of
 * either is copied, and what is too much goes where no row stands, or not yet. */
static void find_rows(row_table_t *table, const norm_t *norm, const axes_t *axes, int array, char *base, ptrdiff_t at,
                      ptrdiff_t rows)
{
    ptrdiff_t length = axes->axis[1].extent, step = axes->axis[0].strides[array], row_bytes = in_bytes(norm, LANES);
    ptrdiff_t left = length - at % length; /* of the run */
    char *run_end = base + at / length * step + in_bytes(norm, length), *joined = table->joined + row_bytes;
    void **row = table->rows, **end = row + rows;
    for (;;) {
        char *place = run_end - in_bytes(norm, left);
        for (ptrdiff_t whole = smaller(left / LANES, end - row); whole > 0; whole--, place += row_bytes)
            *row++ = place;
        if (row == end)
            return;
        left %= LANES;
        run_end += step;
        if (left) {
            copy_lanes(norm, joined - row_bytes + in_bytes(norm, left), run_end - step - row_bytes);
            copy_lanes(norm, joined + in_bytes(norm, left), run_end - in_bytes(norm, length));
            *row++ = joined;
            joined += 2 * row_bytes;
            left -= LANES;
        }
        left += length;
    }
}

/* Load elements at, ..., end - 1 of an array, which may be of several runs. */
static void load_rest(const norm_t *norm, const axes_t *axes, int array, char *base, ptrdiff_t at, ptrdiff_t end, char *to)
{
    for (ptrdiff_t run; at < end; at += run, to += in_bytes(norm, run)) {
        run = smaller(end - at, run_from(axes, at));
        load_tile(norm, array, &(tile_t){base + offset_of(axes, array, at), 1, run, 0, inner_stride(axes, array)}, to);
    }
}

/* How far on the same elements of the next run stand, if they are to be asked for. */
static ptrdiff_t next_run(const norm_t *norm, const axes_t *axes, int array, ptrdiff_t at)
{
    ptrdiff_t length = axes->axis[1].extent;
    int asks = norm->far && length >= PREFETCHED_RUN && at + length < axes->count;
    return asks ? in_elements(norm, axes->axis[0].strides[array]) : 0;
}

_Static_assert(3 * sizeof(row_table_t) <= ROOM_BYTES, "a room holds the tables of all arrays that are summed up");

void sum_scattered(const norm_t *norm, int thread, const axes_t *axes, char *const *bases, ptrdiff_t at, ptrdiff_t end,
                   ptrdiff_t statistic, enum round round, ptrdiff_t sum)
{
    ptrdiff_t sizes[SIZES] = {1, end - at}, whole = (end - at) / GROUPS * GROUPS;
    row_table_t *tables = room_of(norm, thread);
    void *arrays[SLOTS];
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        find_rows(&tables[n], norm, axes, i, bases[i], at, whole / LANES);
        load_rest(norm, axes, i, bases[i], at + whole, end, tables[n].rest);
        tables[n].rows[whole / LANES] = tables[n].rest;
        arrays[i] = tables[n].rows;
        sizes[AHEAD + i] = next_run(norm, axes, i, at);
    }
    sum_whole(norm, SCATTERED_SUMS, arrays, sizes, statistic, 1, round, sum);
}
