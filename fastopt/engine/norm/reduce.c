#include "norm/reduce.h"
#include "core/tuning.h"
#include "norm/axes.h"
#include "norm/vectors.h"
#include <string.h>

static double value_at(const norm_t *norm, char *element)
{
    _Alignas(8) char value[8];
    if (norm->storage[X] == norm->compute)
        return get_real(norm, element, 0);
    norm->codecs[norm->storage[X]].load(&(tile_t){element, 1, 1, 0, 0}, value);
    return get_real(norm, value, 0);
}

void centres_of(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum statistics_pass pass, double *centres)
{
    if (pass == SECOND_PASS && norm->compute == FLOAT64) {
        memcpy(centres, norm->mean + at, (size_t)count * sizeof(double));
        return;
    }
    ptrdiff_t o = at / norm->groups, group = at % norm->groups;
    int one_group = norm->groups == 1;
    ptrdiff_t step = one_group ? inner_stride(&norm->outer, X) : norm->per_group * inner_stride(&norm->channels, X);
    for (ptrdiff_t k = 0, run; k < count; k += run) { /* statistics with first values at a constant stride */
        ptrdiff_t channel = group * norm->per_group;
        char *first = norm->data[X] + offset_of(&norm->outer, X, o) + offset_of(&norm->channels, X, channel);
        run = one_group ? run_from(&norm->outer, o) : ceil_div(run_from(&norm->channels, channel), norm->per_group);
        run = smaller(count - k, one_group ? run : smaller(run, norm->groups - group));
        if (norm->storage[X] == FLOAT32 && norm->compute == FLOAT32) /* codec calls took 7 % of 16x4096, forward */
            for (ptrdiff_t i = 0; i < run; i++)
                centres[k + i] = *(const float *)(first + i * step);
        else
            for (ptrdiff_t i = 0; i < run; i++)
                centres[k + i] = value_at(norm, first + i * step);
        group += run;
        if (one_group || group == norm->groups) {
            group = 0;
            o += one_group ? run : 1;
        }
    }
}

int reduce_parameters(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, enum statistics_pass pass, double *first,
                      double *second)
{
    if (reduces_deviations(norm)) {
        centres_of(norm, at, count, pass, first);
        return 1;
    }
    given_statistics(norm, at, count, first, second);
    return 2;
}

/* Add `rows` rows of `columns` columns to lanes, starting at a position in elements and a column. */
static void add_rows(const norm_t *norm, const line_t *line, ptrdiff_t position, ptrdiff_t rows, ptrdiff_t column,
                     ptrdiff_t columns, enum statistics_pass pass)
{
    ptrdiff_t row = LANES * line->width;
    ptrdiff_t sizes[SIZES] = {rows, columns, row, row, row, row, row, row, row};
    void *arrays[SLOTS];
    if (rows == 0 || columns == 0)
        return;
    for (int n = 0; n < norm->nreads; n++) {
        int i = norm->reads[n];
        arrays[i] = line->starts[i] + in_bytes(norm, position + column);
        sizes[AHEAD + i] = line->aheads[i];
    }
    if (line->starts[WEIGHT])
        arrays[WEIGHT] = line->starts[WEIGHT] + (position + column) * norm->itemsize;
    for (int i = 0; i < 2; i++) {
        arrays[PARAMETER + i] = line->parameters[i] + column * line->parameter_bytes;
        arrays[SUM + i] = line->lanes[i] + column;
    }
    norm->reduce_kernels[REDUCE_PARTIAL][pass](arrays, sizes);
}

/* LANES pixels form one row. In an incomplete group, the first lanes have one more. */
void add_line(const norm_t *norm, const line_t *line, ptrdiff_t pixels, enum statistics_pass pass)
{
    ptrdiff_t width = line->width, rest = pixels % GROUPS, whole = pixels - rest, longer = rest % LANES;
    add_rows(norm, line, 0, whole / LANES, 0, LANES * width, pass);
    add_rows(norm, line, whole * width, rest / LANES + 1, 0, longer * width, pass);
    add_rows(norm, line, whole * width, rest / LANES, longer * width, (LANES - longer) * width, pass);
}
