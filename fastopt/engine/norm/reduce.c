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
    for (ptrdiff_t k = 0, run; k < count; k += run) { /* statistics whose first values lie at one distance */
        ptrdiff_t channel = group * norm->per_group;
        char *first = norm->data[X] + offset_of(&norm->outer, X, o) + offset_of(&norm->channels, X, channel);
        run = one_group ? run_from(&norm->outer, o) : ceil_div(run_from(&norm->channels, channel), norm->per_group);
        run = smaller(count - k, one_group ? run : smaller(run, norm->groups - group));
        if (norm->storage[X] == FLOAT32 && norm->compute == FLOAT32) /* a call for each was 7 % of 16x4096, forward */
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

void reduce_full(const norm_t *norm, enum reducer reducer, void **arrays, const ptrdiff_t *sizes, ptrdiff_t at,
                 ptrdiff_t count, enum statistics_pass pass, ptrdiff_t sum)
{
    int is_double = pass == SECOND_PASS || norm->compute == FLOAT64;
    double values[2][MAX_REDUCED_ROWS];
    float rounded[2][MAX_REDUCED_ROWS];
    int parameters = reduce_parameters(norm, at, count, pass, values[0], values[1]);
    for (int i = 0; i < parameters; i++) {
        for (ptrdiff_t k = 0; k < count; k++)
            rounded[i][k] = (float)values[i][k];
        arrays[PARAMETER + i] = is_double ? (void *)values[i] : (void *)rounded[i];
    }
    arrays[SUM] = norm->first + sum;
    arrays[SUM + 1] = norm->second + sum;
    norm->reduce_kernels[reducer][pass](arrays, sizes);
}
