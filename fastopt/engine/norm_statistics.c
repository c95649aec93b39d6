#include "norm_parts.h"
#include <float.h>
#include <math.h>

static double weight_of(const norm_t *norm, ptrdiff_t channel) { return norm->weight ? norm->weight[channel] : 1; }
static double bias_of(const norm_t *norm, ptrdiff_t channel) { return norm->bias ? norm->bias[channel] : 0; }

/* With eps = 0, values that are all equal would have 0 * inf: the least variance is the smallest normal number. */
static double rstd_of(const norm_t *norm, double var)
{
    double least = norm->compute == FLOAT64 ? DBL_MIN : FLT_MIN, floored = var + norm->eps;
    return 1 / sqrt(floored >= 0 && floored < least ? least : floored);
}

static double sum_parts(const double *sums, ptrdiff_t parts)
{
    double sum = 0;
    for (ptrdiff_t p = 0; p < parts; p++)
        sum += sums[p];
    return sum;
}

static double as_real(const norm_t *norm, double value) { return norm->compute == FLOAT64 ? value : (float)value; }

/* ---- From sums to statistics */

/* The first round's centre is so many standard deviations from the mean at most. */
#define FAR 4

/* Below, squares of float32 deviations might be subnormal, and so lost. */
#define LEAST_VARIANCE 0x1p-96

/* True if sums of float32 terms, or of float64 terms at all, can be made better by a second round. */
static int wants_second(const norm_t *norm, double first, double squares)
{
    double distance = first * (first * norm->per_value), var = squares * norm->per_value;
    int good = distance <= FAR * FAR * squares && squares <= DBL_MAX && var + norm->eps >= LEAST_VARIANCE;
    return norm->compute == FLOAT64 || !good;
}

static int finish_statistic(const norm_t *norm, ptrdiff_t o, ptrdiff_t group, enum round round)
{
    ptrdiff_t at = o * norm->groups + group;
    ptrdiff_t sums = norm->walk == SAMPLES ? 1 : norm->per_group;
    double first = 0, second = 0;
    if (norm->values == 0) {
        norm->mean[at] = norm->var[at] = 0;
        norm->rstd[at] = rstd_of(norm, 0);
        return 0;
    }
    if (round == SECOND && !waits_for_second(norm, o, group))
        return 0;
    for (ptrdiff_t k = 0; k < sums; k++) {
        first += sum_parts(norm->first + (at * sums + k) * norm->parts, norm->parts);
        second += sum_parts(norm->second + (at * sums + k) * norm->parts, norm->parts);
    }
    double squares = second - first * (first * norm->per_value);
    norm->mean[at] = centre_of(norm, o, group, round) + first * norm->per_value;
    norm->var[at] = (squares < 0 ? 0 : squares) * norm->per_value;
    norm->rstd[at] = rstd_of(norm, norm->var[at]);
    if (round == SECOND || !wants_second(norm, first, squares))
        return 0;
    norm->rstd[at] = -1;
    return 1;
}

/* ---- Parameters of the kernels */

static void prepare_normalise(const norm_t *norm, ptrdiff_t o, ptrdiff_t group)
{
    ptrdiff_t at = o * norm->groups + group;
    double rstd = norm->rstd[at], mean = as_real(norm, norm->mean[at]), lost = mean - norm->mean[at];
    int samples = norm->walk == SAMPLES;
    for (ptrdiff_t k = 0; k < (samples ? 1 : norm->per_group); k++) {
        ptrdiff_t channel = group * norm->per_group + k, i = samples ? at : o * norm->channels.count + channel;
        set_real(norm, norm->parameters[0], i, mean);
        set_real(norm, norm->parameters[1], i, rstd);
        set_real(norm, norm->parameters[2], i, lost * rstd);
        if (samples)
            continue;
        set_real(norm, norm->parameters[3], i, weight_of(norm, channel));
        set_real(norm, norm->parameters[4], i, bias_of(norm, channel));
    }
}

static void prepare_input_gradient(const norm_t *norm, ptrdiff_t o, ptrdiff_t group, double first, double second)
{
    ptrdiff_t at = o * norm->groups + group;
    double rstd = norm->rstd[at];
    double slope = rstd * (second * norm->per_value);
    double offset = first * norm->per_value;
    int samples = norm->walk == SAMPLES;
    for (ptrdiff_t k = 0; k < (samples ? 1 : norm->per_group); k++) {
        ptrdiff_t channel = group * norm->per_group + k, i = samples ? at : o * norm->channels.count + channel;
        set_real(norm, norm->parameters[0], i, norm->mean[at]);
        set_real(norm, norm->parameters[1], i, rstd);
        set_real(norm, norm->parameters[2], i, slope);
        set_real(norm, norm->parameters[3], i, offset);
        if (!samples)
            set_real(norm, norm->parameters[4], i, weight_of(norm, channel));
    }
}

/* The sums of a channel's parts stand, added up, in the first of them afterwards. */
static double collect(double *sums, ptrdiff_t parts)
{
    return parts ? (sums[0] = sum_parts(sums, parts)) : 0;
}

static void finish_gradient(const norm_t *norm, ptrdiff_t o, ptrdiff_t group)
{
    ptrdiff_t at = o * norm->groups + group;
    double first = 0, second = 0;
    if (norm->walk == SAMPLES) {
        first = sum_parts(norm->first + at * norm->parts, norm->parts);
        second = sum_parts(norm->second + at * norm->parts, norm->parts);
    } else {
        for (ptrdiff_t k = 0; k < norm->per_group; k++) {
            ptrdiff_t channel = group * norm->per_group + k, i = (o * norm->channels.count + channel) * norm->parts;
            first += weight_of(norm, channel) * collect(norm->first + i, norm->parts);
            second += weight_of(norm, channel) * collect(norm->second + i, norm->parts);
        }
    }
    if (norm->pass == BACKWARD)
        prepare_input_gradient(norm, o, group, first, second);
}

int finish_group(const norm_t *norm, ptrdiff_t o, ptrdiff_t group, enum round round)
{
    if (is_backward(norm)) {
        finish_gradient(norm, o, group);
        return 0;
    }
    if (finish_statistic(norm, o, group, round))
        return 1;
    if (norm->pass == FORWARD)
        prepare_normalise(norm, o, group);
    return 0;
}

void prepare_fixed(const norm_t *norm, ptrdiff_t o, ptrdiff_t group)
{
    ptrdiff_t at = o * norm->groups + group;
    norm->rstd[at] = rstd_of(norm, norm->var[at]);
    if (norm->pass == INFERENCE)
        prepare_normalise(norm, o, group);
    else
        for (ptrdiff_t channel = group * norm->per_group; channel < (group + 1) * norm->per_group; channel++) {
            set_real(norm, norm->parameters[0], o * norm->channels.count + channel, norm->rstd[at]);
            set_real(norm, norm->parameters[1], o * norm->channels.count + channel, weight_of(norm, channel));
        }
}

void prepare_rows(const norm_t *norm)
{
    for (ptrdiff_t channel = 0; channel < norm->channels.count; channel++) {
        set_real(norm, norm->weight_row, channel, weight_of(norm, channel));
        set_real(norm, norm->bias_row, channel, bias_of(norm, channel));
    }
}

/* ---- The gradients of weight and bias */

void finish_parameters(const norm_t *norm, ptrdiff_t channel, ptrdiff_t end_channel)
{
    ptrdiff_t channels = norm->channels.count;
    for (ptrdiff_t c = channel; c < end_channel; c++)
        norm->dbias[c] = norm->dweight[c] = 0;
    if (norm->walk == SAMPLES) {
        for (ptrdiff_t part = 0; part < norm->outer_parts; part++)
            for (ptrdiff_t c = channel; c < end_channel; c++) {
                norm->dbias[c] += norm->dbias_parts[part * channels + c];
                norm->dweight[c] += norm->dweight_parts[part * channels + c];
            }
    } else if (norm->parts) {
        for (ptrdiff_t o = 0; o < norm->outer.count; o++)
            for (ptrdiff_t c = channel; c < end_channel; c++) {
                norm->dbias[c] += norm->first[(o * channels + c) * norm->parts];
                norm->dweight[c] += norm->second[(o * channels + c) * norm->parts];
            }
    }
}
