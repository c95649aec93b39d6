#include "norm/vectors.h"
#include "core/tuning.h"
#include <string.h>

/* The thread that uses some values loads them, and the thread that computed them stores them. If one thread did both
 * for all, others would wait and fetch the data from its core (two threads, 64x2048: forward 47 -> 36 us, backward 44
 * -> 35; 16x4096: 55 -> 37 and 53 -> 47). */

void add_vector_axis(vector_t *vector, ptrdiff_t extent, ptrdiff_t stride)
{
    int last = vector->ndim - 1;
    if (extent == 1)
        return;
    if (last >= 0 && vector->axis[last].stride == stride * extent)
        vector->axis[last].extent *= extent;
    else
        vector->axis[++last].extent = extent;
    vector->axis[last].stride = stride;
    vector->ndim = last + 1;
}

/* The number of values, starting at this one, with a constant stride; limited to `most`. */
static inline tile_t run_of(const vector_t *vector, ptrdiff_t at, ptrdiff_t most)
{
    int last = vector->ndim - 1;
    ptrdiff_t stride = last < 0 ? storage_size(vector->storage) : vector->axis[last].stride;
    if (last < 1)
        return (tile_t){vector->data + at * stride, 1, most, 0, stride};
    ptrdiff_t extent = vector->axis[last].extent, index = at % extent;
    char *data = vector->data + index * stride;
    at /= extent;
    for (int i = last - 1; i >= 0; i--) {
        data += (i ? at % vector->axis[i].extent : at) * vector->axis[i].stride;
        at /= vector->axis[i].extent;
    }
    return (tile_t){data, 1, smaller(most, extent - index), 0, stride};
}

static inline int needs_no_codec(const norm_t *norm, const vector_t *vector, const tile_t *run)
{
    return vector->storage == norm->compute && run->col_stride == norm->itemsize;
}

void load_reals(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, char *to)
{
    const vector_t *vector = &norm->vectors[which];
    for (ptrdiff_t end = at + count; at < end;) {
        tile_t run = run_of(vector, at, end - at);
        if (needs_no_codec(norm, vector, &run))
            memcpy(to, run.data, (size_t)(run.cols * norm->itemsize));
        else
            norm->codecs[vector->storage].load(&run, to);
        at += run.cols;
        to += run.cols * norm->itemsize;
    }
}

void load_doubles(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, double *to)
{
    const vector_t *vector = &norm->vectors[which];
    _Alignas(CACHE_LINE) char block[STAT_BLOCK * sizeof(double)];
    for (ptrdiff_t end = at + count; at < end;) {
        tile_t run = run_of(vector, at, smaller(end - at, STAT_BLOCK));
        const char *values = block;
        if (needs_no_codec(norm, vector, &run))
            values = run.data;
        else
            norm->codecs[vector->storage].load(&run, block);
        for (ptrdiff_t k = 0; k < run.cols; k++)
            to[k] = get_real(norm, values, k);
        at += run.cols;
        to += run.cols;
    }
}

void store_doubles(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, const double *from)
{
    const vector_t *vector = &norm->vectors[which];
    _Alignas(CACHE_LINE) char block[STAT_BLOCK * sizeof(double)];
    for (ptrdiff_t end = vector->data ? at + count : at; at < end;) {
        tile_t run = run_of(vector, at, smaller(end - at, STAT_BLOCK));
        int in_place = needs_no_codec(norm, vector, &run);
        char *values = in_place ? run.data : block;
        copy_reals(norm->compute, values, from, run.cols);
        if (!in_place)
            norm->codecs[vector->storage].store(&run, block);
        at += run.cols;
        from += run.cols;
    }
}

/* ---- Statistics */

void given_statistics(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, double *mean, double *rstd)
{
    load_doubles(norm, MEANS, at, count, mean);
    if (!norm->vectors[VARS].data) {
        load_doubles(norm, RSTDS, at, count, rstd);
        return;
    }
    double least = least_variance(norm);
    load_doubles(norm, VARS, at, count, rstd);
    for (ptrdiff_t k = 0; k < count; k++)
        rstd[k] = rstd_of(rstd[k] + norm->eps, least);
}

double largest_of(enum storage storage)
{
    static const double largest[STORAGES] = STORAGE_LARGEST;
    return largest[storage];
}

/* Like the rule `average`: if the batch's value equals the running one, the running value does not change. The
 * difference is added to the value with the larger weight, which avoids cancellation. If the difference is not finite,
 * the weighted values are added. */
static double average(double running, double batch, double momentum)
{
    double rest = 1 - momentum, weight = rest > momentum ? momentum : rest;
    double start = rest > momentum ? running : batch, end = rest > momentum ? batch : running;
    double difference = weight > 0 ? end - start : 0;
    return fabs(difference) <= DBL_MAX ? start + weight * difference : rest * running + momentum * batch;
}

void update_running(const norm_t *norm, enum vector which, ptrdiff_t at, ptrdiff_t count, const double *batch,
                    double factor)
{
    double running[STAT_BLOCK], value[STAT_BLOCK];
    double momentum = norm->momentum, limit = largest_of(norm->vectors[which].storage);
    if (momentum == 0)
        return;
    load_doubles(norm, which, at, count, running);
    for (ptrdiff_t k = 0; k < count; k++)
        value[k] = average(running[k], factor * batch[k], momentum);
    for (ptrdiff_t k = 0; k < count; k++) {
        double within = value[k] > limit ? limit : value[k];
        within = within < -limit ? -limit : within;
        running[k] = fabs(value[k]) <= DBL_MAX ? within : value[k];
    }
    store_doubles(norm, which, at, count, running);
}
