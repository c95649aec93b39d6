#include "norm/parts.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* With eps = 0, values that are all equal would have 0 * inf: the least variance is the smallest normal number. */
static inline double rstd_of(double floored, double least)
{
    return 1 / sqrt(floored >= 0 && floored < least ? least : floored);
}

static double least_variance(const norm_t *norm) { return norm->compute == FLOAT64 ? DBL_MIN : FLT_MIN; }

static double sum_parts(const double *sums, ptrdiff_t parts)
{
    double sum = 0;
    for (ptrdiff_t p = 0; p < parts; p++)
        sum += sums[p];
    return sum;
}

/* Weights of some channels. */
static void weights_of(const norm_t *norm, ptrdiff_t channel, ptrdiff_t count, double *weights)
{
    if (norm->vectors[WEIGHTS].data) {
        load_doubles(norm, WEIGHTS, channel, count, weights);
        return;
    }
    for (ptrdiff_t k = 0; k < count; k++)
        weights[k] = 1;
}

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

/* Some statistics side by side: those of an outer index, by groups, then those of the next. */
typedef struct {
    const norm_t *norm;
    ptrdiff_t at, count; /* the first, and how many: STAT_BLOCK at most */
    double first[STAT_BLOCK], second[STAT_BLOCK]; /* sums */
    double lost[STAT_BLOCK]; /* the mean rounded to float64, less the mean */
} some_t;

/* ---- From sums to statistics */

/* The first round's centre is so many standard deviations from the mean at most. */
#define FARTHEST 4

/* Below, squares of float32 deviations might be subnormal, and so lost. */
#define LEAST_VARIANCE 0x1p-96

/* Add up the sums of statistics at, ..., at + count - 1: parts in order, then channels. Statistics of one sum each, which
 * are those of most calls with thousands, have a loop that vectorises. */
static void collect_sums(const norm_t *norm, const double *sums, ptrdiff_t at, ptrdiff_t count, double *to)
{
    ptrdiff_t channels = norm->walk == SAMPLES ? 1 : norm->per_group, parts = norm->parts;
    if (channels == 1 && parts == 1) {
        for (ptrdiff_t k = 0; k < count; k++)
            to[k] = 0 + sums[at + k]; /* no -0 */
        return;
    }
    for (ptrdiff_t k = 0; k < count; k++) {
        to[k] = 0;
        for (ptrdiff_t channel = (at + k) * channels; channel < (at + k + 1) * channels; channel++)
            to[k] += sum_parts(sums + channel * parts, parts);
    }
}

/* Make rstd -1 where sums of float32 terms, or of float64 terms at all, can be made better by a second round. */
static void mark_for_second(const some_t *some, const double *squares, double *rstd)
{
    const norm_t *norm = some->norm;
    double per_value = norm->per_value, eps = norm->eps;
    int can_be_good = norm->compute != FLOAT64;
    for (ptrdiff_t k = 0; k < some->count; k++) {
        double distance = some->first[k] * (some->first[k] * per_value), var = squares[k] * per_value;
        int good = (distance <= FARTHEST * FARTHEST * squares[k]) & (squares[k] <= DBL_MAX) &
                   (var + eps >= LEAST_VARIANCE);
        rstd[k] = good & can_be_good ? rstd[k] : -1;
    }
}

/* Hand statistics that are final to the caller. */
static void give_moments(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, const double *mean, const double *rstd,
                         const double *var)
{
    double values = (double)norm->values;
    store_doubles(norm, MEANS, at, count, mean);
    store_doubles(norm, RSTDS, at, count, rstd);
    if (!norm->vectors[RUNNING_MEANS].data || norm->values == 0)
        return;
    update_running(norm, RUNNING_MEANS, at, count, mean, 1);
    if (!norm->is_unbiased)
        update_running(norm, RUNNING_VARS, at, count, var, 1);
    else if (norm->values > 1) /* of one value, there is no unbiased variance */
        update_running(norm, RUNNING_VARS, at, count, var, values / (values - 1));
}

/* Return how many must have a second round. Their rstd is -1 meanwhile, and what the kernel's parameters become of that is
 * written over by that round. */
static int finish_moments(some_t *some, enum round round)
{
    const norm_t *norm = some->norm;
    double *mean = norm->mean + some->at, *var = norm->var + some->at, *rstd = norm->rstd + some->at;
    double centres[STAT_BLOCK], squares[STAT_BLOCK], per_value = norm->per_value, eps = norm->eps, least = least_variance(norm);
    collect_sums(norm, norm->first, some->at, some->count, some->first);
    collect_sums(norm, norm->second, some->at, some->count, some->second);
    centres_of(norm, some->at, some->count, round, centres);
    for (ptrdiff_t k = 0; k < some->count; k++) {
        squares[k] = some->second[k] - some->first[k] * (some->first[k] * per_value);
        double moved = some->first[k] * per_value;
        mean[k] = centres[k] + moved;
        double back = mean[k] - centres[k]; /* the rounding of a sum is known exactly: Knuth, volume 2, section 4.2.2 */
        some->lost[k] = (back - moved) + ((mean[k] - back) - centres[k]);
        var[k] = (squares[k] < 0 ? 0 : squares[k]) * per_value;
        rstd[k] = rstd_of(var[k] + eps, least);
    }
    if (round == FIRST)
        mark_for_second(some, squares, rstd);
    int second = 0;
    for (ptrdiff_t k = 0, run; k < some->count; k += run) {
        int waits = rstd[k] < 0;
        for (run = 1; k + run < some->count && (rstd[k + run] < 0) == waits; run++)
            continue;
        second += waits ? (int)run : 0;
        if (!waits)
            give_moments(norm, some->at + k, run, mean + k, rstd + k, var + k);
    }
    return second;
}

static void finish_nothing(some_t *some)
{
    const norm_t *norm = some->norm;
    double *mean = norm->mean + some->at, *var = norm->var + some->at, *rstd = norm->rstd + some->at;
    for (ptrdiff_t k = 0; k < some->count; k++) {
        mean[k] = var[k] = some->lost[k] = 0;
        rstd[k] = rstd_of(norm->eps, least_variance(norm));
    }
    give_moments(norm, some->at, some->count, mean, rstd, var);
}

/* ---- Parameters of the kernels */

static void copy_reals(const norm_t *norm, char *to, const double *from, ptrdiff_t count)
{
    if (norm->compute == FLOAT64)
        memcpy(to, from, (size_t)count * sizeof(double));
    for (ptrdiff_t i = 0; i < count && norm->compute != FLOAT64; i++)
        ((float *)to)[i] = (float)from[i];
}

/* Write a parameter: of the statistics themselves (SAMPLES), or of each of their channels. */
static void set_parameter(const some_t *some, int parameter, const double *values)
{
    const norm_t *norm = some->norm;
    ptrdiff_t each = norm->walk == SAMPLES ? 1 : norm->per_group;
    char *array = norm->parameters[parameter] + some->at * each * norm->itemsize;
    if (each == 1)
        copy_reals(norm, array, values, some->count);
    for (ptrdiff_t k = 0; k < some->count && each > 1; k++)
        for (ptrdiff_t i = k * each; i < (k + 1) * each; i++)
            set_real(norm, array, i, values[k]);
}

/* Values of channels in the compute type: those of a vector, if it is given. */
static void set_values(const norm_t *norm, char *to, enum vector which, ptrdiff_t channel, ptrdiff_t count,
                       double otherwise)
{
    if (norm->vectors[which].data)
        load_reals(norm, which, channel, count, to);
    for (ptrdiff_t k = 0; k < count && !norm->vectors[which].data; k++)
        set_real(norm, to, k, otherwise);
}

/* Write a parameter that each channel has its own of. */
static void set_channels(const some_t *some, int parameter, enum vector which, double otherwise)
{
    const norm_t *norm = some->norm;
    ptrdiff_t i = some->at * norm->per_group, end = i + some->count * norm->per_group;
    if (norm->walk == SAMPLES) /* one array for all samples: prepare_rows */
        return;
    ptrdiff_t channel = i % larger(norm->channels.count, 1);
    for (ptrdiff_t run; i < end; i += run, channel = 0) {
        run = smaller(end - i, norm->channels.count - channel);
        set_values(norm, norm->parameters[parameter] + i * norm->itemsize, which, channel, run, otherwise);
    }
}

static void prepare_normalise(const some_t *some, const double *mean, const double *rstd)
{
    const norm_t *norm = some->norm;
    double rounded[STAT_BLOCK], shift[STAT_BLOCK];
    for (ptrdiff_t k = 0; k < some->count; k++) {
        rounded[k] = norm->compute == FLOAT64 ? mean[k] : (float)mean[k];
        shift[k] = (norm->compute == FLOAT64 ? some->lost[k] : rounded[k] - mean[k]) * rstd[k];
    }
    set_parameter(some, 0, rounded);
    set_parameter(some, 1, rstd);
    set_parameter(some, 2, shift);
    set_channels(some, 3, WEIGHTS, 1);
    set_channels(some, 4, BIASES, 0);
}

/* The sums of channels' parts stand, added up, in the first of them afterwards. */
static void collect_parts(double *sums, ptrdiff_t channels, ptrdiff_t parts)
{
    for (ptrdiff_t i = 0; i < channels && parts == 1; i++)
        sums[i] = 0 + sums[i]; /* no -0 */
    for (ptrdiff_t i = 0; i < channels && parts > 1; i++)
        sums[i * parts] = sum_parts(sums + i * parts, parts);
}

/* The sum over neighbouring channels, each by its weight. */
static double weighted_sum(const norm_t *norm, ptrdiff_t channel, ptrdiff_t count, const double *sums)
{
    double sum = 0, weights[STAT_BLOCK];
    for (ptrdiff_t c = 0, some; c < count; c += some) {
        some = smaller(count - c, STAT_BLOCK);
        weights_of(norm, channel + c, some, weights);
        for (ptrdiff_t k = 0; k < some; k++)
            sum += weights[k] * sums[(c + k) * norm->parts];
    }
    return sum;
}

/* Add up the channels of statistics, each by its weight; samples have been weighted before they were added up. */
static void collect_weighted(const some_t *some, const double *sums, double *to)
{
    const norm_t *norm = some->norm;
    ptrdiff_t each = norm->per_group, parts = norm->parts, group = some->at % norm->groups;
    if (norm->walk == SAMPLES) {
        for (ptrdiff_t k = 0; k < some->count; k++)
            to[k] = sums[(some->at + k) * parts];
    } else if (each == 1 && group + some->count <= norm->groups) {
        weights_of(norm, group, some->count, to);
        for (ptrdiff_t k = 0; k < some->count; k++)
            to[k] = 0 + to[k] * sums[(some->at + k) * parts];
    } else {
        for (ptrdiff_t k = 0; k < some->count; k++)
            to[k] = weighted_sum(norm, (some->at + k) % norm->groups * each, each, sums + (some->at + k) * each * parts);
    }
}

static void prepare_input_gradient(some_t *some)
{
    const norm_t *norm = some->norm;
    double mean[STAT_BLOCK], rstd[STAT_BLOCK];
    given_statistics(norm, some->at, some->count, mean, rstd);
    for (ptrdiff_t k = 0; k < some->count; k++) {
        some->first[k] = some->first[k] * norm->per_value;
        some->second[k] = rstd[k] * (some->second[k] * norm->per_value);
    }
    set_parameter(some, 0, mean);
    set_parameter(some, 1, rstd);
    set_parameter(some, 2, some->second); /* slope */
    set_parameter(some, 3, some->first);  /* offset */
    set_channels(some, 4, WEIGHTS, 1);
}

/* ---- All of it */

static void finish_gradients(some_t *some)
{
    const norm_t *norm = some->norm;
    ptrdiff_t each = norm->walk == SAMPLES ? 1 : norm->per_group, begin = some->at * each * norm->parts;
    collect_parts(norm->first + begin, some->count * each, norm->parts);
    collect_parts(norm->second + begin, some->count * each, norm->parts);
    if (has_own_channels(norm))
        finish_parameters(norm, some->at, some->at + some->count);
    if (norm->pass == BACKWARD) {
        collect_weighted(some, norm->first, some->first);
        collect_weighted(some, norm->second, some->second);
        prepare_input_gradient(some);
    }
}

static int finish_some(some_t *some, enum round round)
{
    const norm_t *norm = some->norm;
    int second = 0;
    if (is_backward(norm)) {
        finish_gradients(some);
        return 0;
    }
    if (norm->values == 0)
        finish_nothing(some);
    else
        second = finish_moments(some, round);
    if (norm->pass == FORWARD)
        prepare_normalise(some, norm->mean + some->at, norm->rstd + some->at);
    return second;
}

/* How many statistics from this one on are finished together: in the second round, only those that waited for it. */
static ptrdiff_t alike_from(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum round round)
{
    ptrdiff_t count = 1, most = smaller(end - at, STAT_BLOCK);
    if (round == FIRST)
        return most;
    while (count < most && waits_for_second(norm, at + count) == waits_for_second(norm, at))
        count++;
    return count;
}

int finish_statistics(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum round round)
{
    some_t some = {.norm = norm};
    int second = 0;
    for (; at < end; at += some.count) {
        some.at = at;
        some.count = alike_from(norm, at, end, round);
        if (round == FIRST || waits_for_second(norm, at))
            second += finish_some(&some, round);
    }
    return second;
}

void prepare_fixed(const norm_t *norm)
{
    some_t some = {.norm = norm};
    double mean[STAT_BLOCK], rstd[STAT_BLOCK];
    ptrdiff_t end = norm->outer.count * norm->groups;
    for (; some.at < end; some.at += some.count) {
        some.count = smaller(end - some.at, STAT_BLOCK);
        given_statistics(norm, some.at, some.count, mean, rstd);
        if (norm->pass == INFERENCE) {
            prepare_normalise(&some, mean, rstd);
        } else {
            set_parameter(&some, 0, rstd);
            set_channels(&some, 1, WEIGHTS, 1);
        }
    }
}

void prepare_rows(const norm_t *norm)
{
    set_values(norm, norm->weight_row, WEIGHTS, 0, norm->channels.count, 1);
    set_values(norm, norm->bias_row, BIASES, 0, norm->channels.count, 0);
}

/* ---- The gradients of weight and bias */

static void add_to(double *sums, const double *terms, ptrdiff_t count, ptrdiff_t step)
{
    for (ptrdiff_t k = 0; k < count; k++)
        sums[k] += terms[k * step];
}

void finish_parameters(const norm_t *norm, ptrdiff_t channel, ptrdiff_t end_channel)
{
    ptrdiff_t channels = norm->channels.count;
    double dbias[STAT_BLOCK], dweight[STAT_BLOCK];
    if (has_own_channels(norm) && norm->parts == 1) { /* they stand there as they are */
        store_doubles(norm, DBIASES, channel, end_channel - channel, norm->first + channel);
        store_doubles(norm, DWEIGHTS, channel, end_channel - channel, norm->second + channel);
        return;
    }
    for (ptrdiff_t count; channel < end_channel; channel += count) {
        count = smaller(end_channel - channel, STAT_BLOCK);
        memset(dbias, 0, sizeof dbias);
        memset(dweight, 0, sizeof dweight);
        for (ptrdiff_t part = 0; part < norm->outer_parts && norm->walk == SAMPLES; part++) {
            add_to(dbias, norm->dbias_parts + part * channels + channel, count, 1);
            add_to(dweight, norm->dweight_parts + part * channels + channel, count, 1);
        }
        for (ptrdiff_t o = 0; o < norm->outer.count && norm->walk != SAMPLES && norm->parts; o++) {
            add_to(dbias, norm->first + (o * channels + channel) * norm->parts, count, norm->parts);
            add_to(dweight, norm->second + (o * channels + channel) * norm->parts, count, norm->parts);
        }
        store_doubles(norm, DBIASES, channel, count, dbias);
        store_doubles(norm, DWEIGHTS, channel, count, dweight);
    }
}
