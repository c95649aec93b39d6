/* Computes the statistics of features in parts of samples and stripes of features. */
#include "scaling/scaling.h"
#include "core/float_mode.h"
#include "core/tuning.h"
#include "core/util.h"
#include <math.h>

/* Statistics are computed in parts of samples, independent of the memory order. */
typedef struct {
    const scaling_t *scaling;
    ptrdiff_t itemsize;
    ptrdiff_t part, parts; /* samples per part; number of parts */
    ptrdiff_t stripes;     /* number of stripes of features */
    int by_row;            /* features are contiguous and of the compute type */
    double *centre;
    double *sums;          /* for each part, vectors with one value per feature */
} column_stats_t;

ptrdiff_t samples_per_part(ptrdiff_t samples) { return larger(PART, ceil_div(samples, MAX_PARTS)); }

static double *vector_of(const column_stats_t *work, ptrdiff_t part, int which)
{
    return work->sums + (part * STATS_PER_COLUMN + which) * work->scaling->extents[FEATURE];
}

static const char *at(const column_stats_t *work, ptrdiff_t sample, ptrdiff_t feature)
{
    const matrix_t *x = &work->scaling->x;
    return x->data + sample * x->strides[SAMPLE] + feature * x->strides[FEATURE];
}

static void add_tile(const column_stats_t *work, ptrdiff_t part, ptrdiff_t feature, const char *x, ptrdiff_t rows,
                     ptrdiff_t cols, ptrdiff_t step)
{
    double one = 1;
    void *arrays[1 + STATS_PER_COLUMN + 2] = {(char *)x};
    for (int i = 0; i < STATS_PER_COLUMN; i++)
        arrays[1 + i] = vector_of(work, part, i) + feature;
    arrays[1 + STATS_PER_COLUMN] = work->centre + feature;
    arrays[2 + STATS_PER_COLUMN] = &one;
    work->scaling->kernels[COLUMN_STATS](arrays, (ptrdiff_t[]){rows, cols, step});
}

/* Also used if samples are contiguous: eight features side by side are added faster than eight samples of one, where
 * each addition waits for the previous one (1.1 ns an element instead of 2.5, for 64 features). */
static void add_through_blocks(const column_stats_t *work, ptrdiff_t part, ptrdiff_t sample, ptrdiff_t end,
                               ptrdiff_t feature, ptrdiff_t features)
{
    const scaling_t *scaling = work->scaling;
    const matrix_t *x = &scaling->x;
    _Alignas(CACHE_LINE) char block[BLOCK_BYTES];
    ptrdiff_t elements = BLOCK_BYTES / work->itemsize, rows, cols;
    for (ptrdiff_t f = feature; f < feature + features; f += cols) {
        cols = smaller(feature + features - f, elements / CROSSING_ROWS);
        for (ptrdiff_t s = sample; s < end; s += rows) {
            rows = smaller(end - s, elements / cols);
            tile_t from = {(char *)at(work, s, f), rows, cols, x->strides[SAMPLE], x->strides[FEATURE]};
            scaling->codecs[x->storage].load(&from, block);
            add_tile(work, part, f, block, rows, cols, cols);
        }
    }
}

static void stats_unit(const column_stats_t *work, ptrdiff_t unit)
{
    const scaling_t *scaling = work->scaling;
    ptrdiff_t part = unit / work->stripes, feature = unit % work->stripes * STATS_STRIPE;
    ptrdiff_t features = smaller(scaling->extents[FEATURE] - feature, STATS_STRIPE);
    ptrdiff_t sample = part * work->part, end = smaller(sample + work->part, scaling->extents[SAMPLE]);
    for (int i = 0; i < STATS_PER_COLUMN; i++)
        for (ptrdiff_t f = feature; f < feature + features; f++)
            vector_of(work, part, i)[f] = i == LOWEST ? INFINITY : (i == HIGHEST ? -INFINITY : 0);
    if (work->by_row)
        add_tile(work, part, feature, at(work, sample, feature), end - sample, features,
                 row_step(scaling->x.strides[SAMPLE], end - sample, features, work->itemsize));
    else
        add_through_blocks(work, part, sample, end, feature, features);
}

static void stats_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    (void)thread;
    for (; first < last; first++)
        stats_unit(argument, first);
}

/* The first finite value of a feature; 0 if there is none. Usually it is the first value; otherwise blocks are
 * searched. */
static double first_value(const column_stats_t *work, ptrdiff_t feature)
{
    const scaling_t *scaling = work->scaling;
    const codec_t *codec = &scaling->codecs[scaling->x.storage];
    ptrdiff_t samples = scaling->extents[SAMPLE], count;
    _Alignas(CACHE_LINE) char block[BLOCK_BYTES];
    for (ptrdiff_t sample = 0; sample < samples; sample += count) {
        count = sample == 0 ? 1 : smaller(samples - sample, BLOCK_BYTES / work->itemsize);
        codec->load(&(tile_t){(char *)at(work, sample, feature), 1, count, 0, scaling->x.strides[SAMPLE]}, block);
        for (ptrdiff_t s = 0; s < count; s++) {
            double value = work->itemsize == 8 ? ((double *)block)[s] : ((float *)block)[s];
            if (isfinite(value))
                return value;
        }
    }
    return 0;
}

/* Move the centres close to the means, estimated from a few samples: if a centre is d standard deviations off, sums of
 * deviations grow by d per sample, and rounding errors change the mean by up to 2e-15 d. */
static void refine_centres(const column_stats_t *work)
{
    scaling_t few = *work->scaling;
    ptrdiff_t step = refining_step(few.extents[SAMPLE]);
    few.x.data += step / 2 * few.x.strides[SAMPLE]; /* the first samples may be atypical */
    few.extents[SAMPLE] = ceil_div(few.extents[SAMPLE] - step / 2, step);
    few.x.strides[SAMPLE] *= step;
    column_stats_t refining = *work;
    refining.scaling = &few;
    refining.part = few.extents[SAMPLE];
    refining.parts = 1;
    few.parallel_for(stats_units, &refining, refining.stripes, LARGEST_CHUNK, few.threads);
    move_centres(few.extents[FEATURE], vector_of(&refining, 0, COUNT), vector_of(&refining, 0, TOTAL), work->centre);
}

static void join_parts(const column_stats_t *work, double *const *stats)
{
    for (ptrdiff_t f = 0; f < work->scaling->extents[FEATURE]; f++) {
        double sums[3] = {0, 0, 0}, lowest = INFINITY, highest = -INFINITY;
        for (ptrdiff_t part = 0; part < work->parts; part++) {
            for (int i = COUNT; i <= SQUARES; i++)
                sums[i] += vector_of(work, part, i)[f];
            double low = vector_of(work, part, LOWEST)[f], high = vector_of(work, part, HIGHEST)[f];
            lowest = low < lowest ? low : lowest;
            highest = high > highest ? high : highest;
        }
        for (int i = COUNT; i <= SQUARES; i++)
            stats[i][f] = sums[i];
        stats[LOWEST][f] = lowest;
        stats[HIGHEST][f] = highest;
    }
}

ptrdiff_t refining_step(ptrdiff_t samples) { return larger(REFINING_STEP, ceil_div(samples, REFINING)); }

/* Centres move to numbers with few digits, so that deviations of whole numbers remain exact. */
void move_centres(ptrdiff_t features, const double *count, const double *total, double *centre)
{
    float_mode_t caller = enter_float_mode();
    for (ptrdiff_t f = 0; f < features; f++) {
        double moved = centre[f] + (float)(total[f] / count[f]); /* NaN: all these samples lack the feature */
        centre[f] = isfinite(moved) ? moved : centre[f];
    }
    leave_float_mode(caller);
}

void finish_column_stats(ptrdiff_t features, const double *centre, double *const *stats)
{
    float_mode_t caller = enter_float_mode();
    for (ptrdiff_t f = 0; f < features; f++) {
        double count = stats[COUNT][f], total = stats[TOTAL][f], lowest = stats[LOWEST][f];
        double shift = count > 0 ? total / count : 0, squares = stats[SQUARES][f] - total * shift;
        int constant = lowest == stats[HIGHEST][f]; /* the results are then exact */
        stats[TOTAL][f] = constant ? lowest : (count > 0 ? centre[f] + shift : 0);
        stats[SQUARES][f] = constant || squares < 0 ? 0 : squares;
    }
    leave_float_mode(caller);
}

size_t column_stats_bytes(const scaling_t *scaling)
{
    ptrdiff_t parts = ceil_div(scaling->extents[SAMPLE], samples_per_part(scaling->extents[SAMPLE]));
    return (size_t)(1 + STATS_PER_COLUMN * parts) * (size_t)scaling->extents[FEATURE] * sizeof(double) + 1;
}

int compute_column_stats(const scaling_t *scaling, void *scratch, void *const *vectors)
{
    double *stats[STATS_PER_COLUMN];
    for (int i = 0; i < STATS_PER_COLUMN; i++)
        stats[i] = vectors[i];
    column_stats_t work = {.scaling = scaling, .itemsize = storage_size(scaling->compute)};
    ptrdiff_t samples = scaling->extents[SAMPLE], features = scaling->extents[FEATURE];
    const matrix_t *x = &scaling->x;
    work.part = samples_per_part(samples);
    work.parts = ceil_div(samples, work.part);
    work.stripes = ceil_div(features, STATS_STRIPE);
    work.by_row = x->storage == scaling->compute && (x->strides[FEATURE] == work.itemsize || features == 1) &&
                  (x->strides[SAMPLE] >= 0 || samples == 1);
    work.centre = scratch;
    work.sums = work.centre + features;
    float_mode_t caller = enter_float_mode();
    for (ptrdiff_t f = 0; f < features; f++)
        work.centre[f] = first_value(&work, f);
    if (samples > REFINING_STEP)
        refine_centres(&work);
    scaling->parallel_for(stats_units, &work, work.parts * work.stripes, LARGEST_CHUNK, scaling->threads);
    join_parts(&work, stats);
    leave_float_mode(caller);
    finish_column_stats(features, work.centre, stats);
    return 1;
}
