#include "norm/reduce_scattered.h"
#include "norm/reduce.h"
#include "norm/tile.h"
#include <string.h>

/* Rows of lanes are read where they lie, in separate runs, by kernels that take tables of their addresses: to
 * collect the elements first takes longer than to add them up. */

/* Rows of a part that begin in one run and end in another. */
#define MAX_JOINED_ROWS (PART / SHORTEST_SCATTERED_RUN + 2)

/* Bytes of a row, and of elements that complete no group, of any type. */
#define LANES_BYTES (LANES * sizeof(double))
#define REST_BYTES (GROUPS * sizeof(double))

typedef struct {
    void *rows[PART / LANES + 1]; /* their addresses; behind them, that of the elements that complete no group */
    _Alignas(CACHE_LINE) char joined[MAX_JOINED_ROWS * 2 * LANES_BYTES], rest[REST_BYTES];
} row_table_t;

_Static_assert(3 * sizeof(row_table_t) <= THREAD_SCRATCH_BYTES, "the scratch memory of a thread holds all tables");

int can_reduce_scattered(const norm_t *norm, const axes_t *axes, enum statistics_pass pass)
{
    ptrdiff_t length = axes->ndim == 2 ? axes->axis[1].extent : 0;
    return norm->reads_direct && norm->reduce_kernels[REDUCE_SCATTERED][pass] && length >= SHORTEST_SCATTERED_RUN &&
           length <= LONGEST_SCATTERED_RUN;
}

/* Copy one row of lanes. To copy a size that the compiler does not know is a call: 32 bytes take an instruction or
 * two. */
static void copy_lanes(const norm_t *norm, char *to, const char *from)
{
    for (ptrdiff_t i = 0; i < in_bytes(norm, LANES); i += 32)
        memcpy(to + i, from + i, 32);
}

/* Find rows of an array, from element `at` on. A row that begins in one run and ends in the next is joined: a whole
 * row of either is copied, and what is too much goes where no row lies, or not yet. */
static void find_rows(row_table_t *table, const norm_t *norm, const axes_t *axes, int array, char *base, ptrdiff_t at,
                      ptrdiff_t rows)
{
    ptrdiff_t length = axes->axis[1].extent, step = axes->axis[0].strides[array], row_bytes = in_bytes(norm, LANES);
    ptrdiff_t left = length - at % length; /* of the run */
    char *run_end = base + at / length * step + in_bytes(norm, length), *joined = table->joined + row_bytes;
    void **row = table->rows, **end = row + rows;
    for (;;) {
        char *address = run_end - in_bytes(norm, left);
        for (ptrdiff_t whole = smaller(left / LANES, end - row); whole > 0; whole--, address += row_bytes)
            *row++ = address;
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

/* Load elements at, ..., end - 1 of an array, which may lie in several runs. */
static void load_rest(const norm_t *norm, const axes_t *axes, int array, char *base, ptrdiff_t at, ptrdiff_t end,
                      char *to)
{
    for (ptrdiff_t run; at < end; at += run, to += in_bytes(norm, run)) {
        run = smaller(end - at, run_from(axes, at));
        load_tile(norm, array, &(tile_t){base + offset_of(axes, array, at), 1, run, 0, inner_stride(axes, array)}, to);
    }
}

/* The distance to the same elements of the next run, if they should be prefetched. */
static ptrdiff_t next_run(const norm_t *norm, const axes_t *axes, int array, ptrdiff_t at)
{
    ptrdiff_t length = axes->axis[1].extent;
    int prefetches = norm->exceeds_l2 && length >= PREFETCHED_RUN && at + length < axes->count;
    return prefetches ? in_elements(norm, axes->axis[0].strides[array]) : 0;
}

void reduce_scattered(const norm_t *norm, int thread, const axes_t *axes, char *const *bases, ptrdiff_t at,
                      ptrdiff_t end, ptrdiff_t statistic, enum statistics_pass pass, ptrdiff_t sum)
{
    ptrdiff_t sizes[SIZES] = {1, end - at}, whole = (end - at) / GROUPS * GROUPS;
    row_table_t *tables = thread_scratch_of(norm, thread);
    void *arrays[SLOTS];
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        find_rows(&tables[n], norm, axes, i, bases[i], at, whole / LANES);
        load_rest(norm, axes, i, bases[i], at + whole, end, tables[n].rest);
        tables[n].rows[whole / LANES] = tables[n].rest;
        arrays[i] = tables[n].rows;
        sizes[AHEAD + i] = next_run(norm, axes, i, at);
    }
    reduce_full(norm, REDUCE_SCATTERED, arrays, sizes, statistic, 1, pass, sum);
}
