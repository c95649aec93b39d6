#include "norm/statistics.h"
#include "core/tuning.h"
#include "norm/reduce.h"
#include "norm/vectors.h"
#include <string.h>

static double sum_parts(const double *sums, ptrdiff_t parts)
{
    double sum = 0;
    for (ptrdiff_t p = 0; p < parts; p++)
        sum += sums[p];
    return sum;
}

/* Load the weights of some channels: ones if there are no weights. */
static void weights_of(const norm_t *norm, ptrdiff_t channel, ptrdiff_t count, double *weights)
{
    if (norm->vectors[WEIGHTS].data)
        load_doubles(norm, WEIGHTS, channel, count, weights);
    for (ptrdiff_t k = 0; k < count && !norm->vectors[WEIGHTS].data; k++)
        weights[k] = 1;
}

/* Statistics that are computed together, ordered by outer index, then by group. */
typedef struct {
    const norm_t *norm;
    ptrdiff_t at, count; /* position of the first one, and their number, at most STAT_BLOCK */
    double first[STAT_BLOCK], second[STAT_BLOCK]; /* sums */
    double lost[STAT_BLOCK]; /* the mean rounded to float64 minus the exact mean */
} stat_block_t;

/* ---- From sums to statistics */

/* The first pass is accurate if its centre is at most this many standard deviations from the mean. */
#define FARTHEST 4

/* Below this variance, squares of float32 deviations may be subnormal, and so be flushed to zero. */
#define LEAST_VARIANCE 0x1p-96

/* Add the sums of statistics at, ..., at + count - 1: parts in order, then channels. Statistics with one sum each have
 * a loop that is vectorised: most calls with thousands of statistics are of this kind. */
static void collect_sums(const norm_t *norm, const double *sums, ptrdiff_t at, ptrdiff_t count, double *to)
{
    ptrdiff_t channels = norm->layout == ROWS ? 1 : norm->per_group, parts = norm->parts;
    if (channels == 1 && parts == 1) {
        for (ptrdiff_t k = 0; k < count; k++)
            to[k] = 0 + sums[at + k]; /* avoids -0 */
        return;
    }
    for (ptrdiff_t k = 0; k < count; k++) {
        to[k] = 0;
        for (ptrdiff_t channel = (at + k) * channels; channel < (at + k + 1) * channels; channel++)
            to[k] += sum_parts(sums + channel * parts, parts);
    }
}

/* Set rstd to -1 where a second pass is needed: always in float64, and where sums of float32 terms are inaccurate. */
static void mark_for_second_pass(const stat_block_t *block, const double *squares, double *rstd)
{
    const norm_t *norm = block->norm;
    double per_value = norm->per_value, eps = norm->eps;
    int can_be_good = norm->compute != FLOAT64;
    for (ptrdiff_t k = 0; k < block->count; k++) {
        double distance = block->first[k] * (block->first[k] * per_value), var = squares[k] * per_value;
        int good = (distance <= FARTHEST * FARTHEST * squares[k]) & (squares[k] <= DBL_MAX) &
                   (var + eps >= LEAST_VARIANCE);
        rstd[k] = good & can_be_good ? rstd[k] : -1;
    }
}

/* Write final statistics to the caller's arrays. */
static void store_moments(const norm_t *norm, ptrdiff_t at, ptrdiff_t count, const double *mean, const double *rstd,
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
    else if (norm->values > 1) /* a single value has no unbiased variance */
        update_running(norm, RUNNING_VARS, at, count, var, values / (values - 1));
}

/* Return the number of statistics that need a second pass. Until then their rstd is -1, and the kernel's parameters are
 * undefined. */
static int finish_moments(stat_block_t *block, enum statistics_pass pass)
{
    const norm_t *norm = block->norm;
    double *mean = norm->mean + block->at, *var = norm->var + block->at, *rstd = norm->rstd + block->at;
    double centres[STAT_BLOCK], squares[STAT_BLOCK];
    double per_value = norm->per_value, eps = norm->eps, least = least_variance(norm);
    collect_sums(norm, norm->first, block->at, block->count, block->first);
    collect_sums(norm, norm->second, block->at, block->count, block->second);
    centres_of(norm, block->at, block->count, pass, centres);
    for (ptrdiff_t k = 0; k < block->count; k++) {
        squares[k] = block->second[k] - block->first[k] * (block->first[k] * per_value);
        double shift = block->first[k] * per_value;
        mean[k] = centres[k] + shift;
        double back = mean[k] - centres[k]; /* the exact rounding error of a sum: Knuth, volume 2, section 4.2.2 */
        block->lost[k] = (back - shift) + ((mean[k] - back) - centres[k]);
        var[k] = (squares[k] < 0 ? 0 : squares[k]) * per_value;
        rstd[k] = rstd_of(var[k] + eps, least);
    }
    if (pass == FIRST_PASS)
        mark_for_second_pass(block, squares, rstd);
    int second = 0;
    for (ptrdiff_t k = 0, run; k < block->count; k += run) {
        int needs_second = rstd[k] < 0;
        for (run = 1; k + run < block->count && (rstd[k + run] < 0) == needs_second; run++)
            continue;
        second += needs_second ? (int)run : 0;
        if (!needs_second)
            store_moments(norm, block->at + k, run, mean + k, rstd + k, var + k);
    }
    return second;
}

static void finish_empty(stat_block_t *block)
{
    const norm_t *norm = block->norm;
    double *mean = norm->mean + block->at, *var = norm->var + block->at, *rstd = norm->rstd + block->at;
    for (ptrdiff_t k = 0; k < block->count; k++) {
        mean[k] = var[k] = block->lost[k] = 0;
        rstd[k] = rstd_of(norm->eps, least_variance(norm));
    }
    store_moments(norm, block->at, block->count, mean, rstd, var);
}

/* ---- Parameters of the kernels */

/* Write a parameter of the statistics (ROWS), or of all of their channels. */
static void set_parameter(const stat_block_t *block, int parameter, const double *values)
{
    const norm_t *norm = block->norm;
    ptrdiff_t each = norm->layout == ROWS ? 1 : norm->per_group;
    char *array = norm->parameters[parameter] + block->at * each * norm->itemsize;
    if (each == 1)
        copy_reals(norm->compute, array, values, block->count);
    for (ptrdiff_t k = 0; k < block->count && each > 1; k++)
        for (ptrdiff_t i = k * each; i < (k + 1) * each; i++)
            set_real(norm, array, i, values[k]);
}

/* Write values of channels in the compute type: those of a vector, or `otherwise` if there is none. */
static void set_values(const norm_t *norm, char *to, enum vector which, ptrdiff_t channel, ptrdiff_t count,
                       double otherwise)
{
    if (norm->vectors[which].data)
        load_reals(norm, which, channel, count, to);
    for (ptrdiff_t k = 0; k < count && !norm->vectors[which].data; k++)
        set_real(norm, to, k, otherwise);
}

/* Write a parameter with one value per channel. */
static void set_channels(const stat_block_t *block, int parameter, enum vector which, double otherwise)
{
    const norm_t *norm = block->norm;
    ptrdiff_t i = block->at * norm->per_group, end = i + block->count * norm->per_group;
    if (norm->layout == ROWS) /* all samples share one row, written by prepare_weights */
        return;
    ptrdiff_t channel = i % larger(norm->channels.count, 1);
    for (ptrdiff_t run; i < end; i += run, channel = 0) {
        run = smaller(end - i, norm->channels.count - channel);
        set_values(norm, norm->parameters[parameter] + i * norm->itemsize, which, channel, run, otherwise);
    }
}

static void prepare_normalise(const stat_block_t *block, const double *mean, const double *rstd)
{
    const norm_t *norm = block->norm;
    double rounded[STAT_BLOCK], shift[STAT_BLOCK];
    for (ptrdiff_t k = 0; k < block->count; k++) {
        rounded[k] = norm->compute == FLOAT64 ? mean[k] : (float)mean[k];
        shift[k] = (norm->compute == FLOAT64 ? block->lost[k] : rounded[k] - mean[k]) * rstd[k];
    }
    set_parameter(block, 0, rounded);
    set_parameter(block, 1, rstd);
    set_parameter(block, 2, shift);
    set_channels(block, 3, WEIGHTS, 1);
    set_channels(block, 4, BIASES, 0);
}

/* Add the parts of each channel's sums, into the first part. */
static void collect_parts(double *sums, ptrdiff_t channels, ptrdiff_t parts)
{
    for (ptrdiff_t i = 0; i < channels && parts == 1; i++)
        sums[i] = 0 + sums[i]; /* avoids -0 */
    for (ptrdiff_t i = 0; i < channels && parts > 1; i++)
        sums[i * parts] = sum_parts(sums + i * parts, parts);
}

/* The weighted sum over neighbouring channels */
static double weighted_sum(const norm_t *norm, ptrdiff_t channel, ptrdiff_t count, const double *sums)
{
    double sum = 0, weights[STAT_BLOCK];
    for (ptrdiff_t c = 0, width; c < count; c += width) {
        width = smaller(count - c, STAT_BLOCK);
        weights_of(norm, channel + c, width, weights);
        for (ptrdiff_t k = 0; k < width; k++)
            sum += weights[k] * sums[(c + k) * norm->parts];
    }
    return sum;
}

/* Add the channels of statistics, weighted. The terms of samples (ROWS) are already weighted. */
static void collect_weighted(const stat_block_t *block, const double *sums, double *to)
{
    const norm_t *norm = block->norm;
    ptrdiff_t each = norm->per_group, parts = norm->parts, group = block->at % norm->groups;
    if (norm->layout == ROWS) {
        for (ptrdiff_t k = 0; k < block->count; k++)
            to[k] = sums[(block->at + k) * parts];
    } else if (each == 1 && group + block->count <= norm->groups) {
        weights_of(norm, group, block->count, to);
        for (ptrdiff_t k = 0; k < block->count; k++)
            to[k] = 0 + to[k] * sums[(block->at + k) * parts];
    } else {
        for (ptrdiff_t k = 0; k < block->count; k++)
            to[k] = weighted_sum(norm, (block->at + k) % norm->groups * each, each,
                                 sums + (block->at + k) * each * parts);
    }
}

static void prepare_input_gradient(stat_block_t *block)
{
    const norm_t *norm = block->norm;
    double mean[STAT_BLOCK], rstd[STAT_BLOCK];
    given_statistics(norm, block->at, block->count, mean, rstd);
    for (ptrdiff_t k = 0; k < block->count; k++) {
        block->first[k] = block->first[k] * norm->per_value;
        block->second[k] = rstd[k] * (block->second[k] * norm->per_value);
    }
    set_parameter(block, 0, mean);
    set_parameter(block, 1, rstd);
    set_parameter(block, 2, block->second); /* slope */
    set_parameter(block, 3, block->first);  /* offset */
    set_channels(block, 4, WEIGHTS, 1);
}

/* ---- Blocks of statistics */

static void finish_gradients(stat_block_t *block)
{
    const norm_t *norm = block->norm;
    ptrdiff_t each = norm->layout == ROWS ? 1 : norm->per_group, begin = block->at * each * norm->parts;
    collect_parts(norm->first + begin, block->count * each, norm->parts);
    collect_parts(norm->second + begin, block->count * each, norm->parts);
    if (has_own_channels(norm))
        finish_parameter_gradients(norm, block->at, block->at + block->count);
    if (norm->op == BACKWARD) {
        collect_weighted(block, norm->first, block->first);
        collect_weighted(block, norm->second, block->second);
        prepare_input_gradient(block);
    }
}

static int finish_block(stat_block_t *block, enum statistics_pass pass)
{
    const norm_t *norm = block->norm;
    int second = 0;
    if (is_backward(norm)) {
        finish_gradients(block);
        return 0;
    }
    if (norm->values == 0)
        finish_empty(block);
    else
        second = finish_moments(block, pass);
    if (norm->op == FORWARD)
        prepare_normalise(block, norm->mean + block->at, norm->rstd + block->at);
    return second;
}

/* The number of statistics, starting at this one, that are computed together; in the second pass, if they need it. */
static ptrdiff_t alike_from(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum statistics_pass pass)
{
    ptrdiff_t count = 1, most = smaller(end - at, STAT_BLOCK);
    if (pass == FIRST_PASS)
        return most;
    while (count < most && needs_second_pass(norm, at + count) == needs_second_pass(norm, at))
        count++;
    return count;
}

int finish_statistics(const norm_t *norm, ptrdiff_t at, ptrdiff_t end, enum statistics_pass pass)
{
    stat_block_t block = {.norm = norm};
    int second = 0;
    for (; at < end; at += block.count) {
        block.at = at;
        block.count = alike_from(norm, at, end, pass);
        if (pass == FIRST_PASS || needs_second_pass(norm, at))
            second += finish_block(&block, pass);
    }
    return second;
}

void prepare_fixed_parameters(const norm_t *norm)
{
    stat_block_t block = {.norm = norm};
    double mean[STAT_BLOCK], rstd[STAT_BLOCK];
    ptrdiff_t end = norm->outer.count * norm->groups;
    for (; block.at < end; block.at += block.count) {
        block.count = smaller(end - block.at, STAT_BLOCK);
        given_statistics(norm, block.at, block.count, mean, rstd);
        if (norm->op == INFERENCE) {
            prepare_normalise(&block, mean, rstd);
        } else {
            set_parameter(&block, 0, rstd);
            set_channels(&block, 1, WEIGHTS, 1);
        }
    }
}

void prepare_weights(const norm_t *norm)
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

void finish_parameter_gradients(const norm_t *norm, ptrdiff_t channel, ptrdiff_t end_channel)
{
    int rows = norm->layout == ROWS;
    const double *first = rows ? norm->dbias_parts : norm->first, *second = rows ? norm->dweight_parts : norm->second;
    ptrdiff_t channels = norm->channels.count, step = rows ? 1 : norm->parts;
    ptrdiff_t terms = rows ? norm->outer_parts : (norm->parts ? norm->outer.count : 0);
    double dbias[STAT_BLOCK], dweight[STAT_BLOCK];
    if (has_own_channels(norm) && norm->parts == 1) { /* the sums are the gradients */
        store_doubles(norm, DBIASES, channel, end_channel - channel, norm->first + channel);
        store_doubles(norm, DWEIGHTS, channel, end_channel - channel, norm->second + channel);
        return;
    }
    for (ptrdiff_t count; channel < end_channel; channel += count) {
        count = smaller(end_channel - channel, STAT_BLOCK);
        memset(dbias, 0, sizeof dbias);
        memset(dweight, 0, sizeof dweight);
        for (ptrdiff_t i = 0; i < terms; i++) {
            add_to(dbias, first + (i * channels + channel) * step, count, step);
            add_to(dweight, second + (i * channels + channel) * step, count, step);
        }
        store_doubles(norm, DBIASES, channel, count, dbias);
        store_doubles(norm, DWEIGHTS, channel, count, dweight);
    }
}
