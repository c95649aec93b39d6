#include "norm/parts.h"
#include "core/float_mode.h"
#include <stdatomic.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* A call's units: blocks of channels, and spans of space; or stretches of samples. */
typedef struct {
    const norm_t *norm;
    ptrdiff_t channels; /* of a block */
    ptrdiff_t blocks;
    ptrdiff_t span; /* of space, in elements; of sums, a part */
    int finishes;   /* a unit of sums is of whole groups and all of space, and finishes their statistics, too */
    enum round round;
    atomic_int *second; /* statistics that must have a second round */
} schedule_t;

/* Results that went past the caches are seen by other threads before the call ends. */
static void order_streams(const norm_t *norm)
{
#ifdef __SSE2__
    if (norm->past || norm->stream)
        _mm_sfence();
#endif
    (void)norm;
}

/* ---- Blocks of channels (PLANES, PIXELS) */

/* Return how many of the groups must have a second round. */
static int finish_groups(const norm_t *norm, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t end_channel, enum round round)
{
    ptrdiff_t at = o * norm->groups;
    return finish_statistics(norm, at + channel / norm->per_group, at + ceil_div(end_channel, norm->per_group), round);
}

static void apply_channels(const norm_t *norm, int thread, ptrdiff_t o, ptrdiff_t channel, ptrdiff_t end_channel,
                           ptrdiff_t begin, ptrdiff_t end)
{
    if (norm->elements == PANEL_KERNELS)
        return;
    if (norm->walk == PLANES)
        apply_region(norm, thread, o, channel, end_channel, begin, end);
    else
        apply_region(norm, thread, o, begin, end, channel, end_channel);
}

/* Whole groups, one block after the other: summed up, and applied while they are in cache. */
static void run_groups(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *call = argument;
    const norm_t *norm = call->norm;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        ptrdiff_t o = unit / call->blocks, channel = unit % call->blocks * call->channels;
        ptrdiff_t end_channel = smaller(channel + call->channels, norm->channels.count);
        for (int round = FIRST, left = 1; left; round++) {
            for (ptrdiff_t part = 0; part < norm->parts; part++)
                sum_part(norm, thread, o, channel, end_channel, part, round);
            left = finish_groups(norm, o, channel, end_channel, round);
        }
        apply_channels(norm, thread, o, channel, end_channel, 0, norm->space.count);
    }
    order_streams(norm);
}

static ptrdiff_t spans(const schedule_t *call) { return ceil_div(call->norm->space.count, call->span); }

static ptrdiff_t units_of(const schedule_t *call)
{
    return call->norm->outer.count * spans(call) * call->blocks;
}

/* Where a unit stands; spans vary slower than blocks of channels, as they do in memory. */
typedef struct {
    ptrdiff_t o, channel, end_channel, begin, end;
} region_t;

static region_t region_of(const schedule_t *call, ptrdiff_t unit)
{
    const norm_t *norm = call->norm;
    region_t place;
    place.channel = unit % call->blocks * call->channels;
    place.end_channel = smaller(place.channel + call->channels, norm->channels.count);
    place.begin = unit / call->blocks % spans(call) * call->span;
    place.end = smaller(place.begin + call->span, norm->space.count);
    place.o = unit / call->blocks / spans(call);
    return place;
}

static void sum_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *call = argument;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        region_t at = region_of(call, unit);
        sum_part(call->norm, thread, at.o, at.channel, at.end_channel, at.begin / PART, call->round);
        if (call->finishes)
            atomic_fetch_add(call->second, finish_groups(call->norm, at.o, at.channel, at.end_channel, call->round));
    }
}

/* Those whose results stay in the caches lie evenly among the others. */
static int is_kept(const schedule_t *call, ptrdiff_t unit)
{
    double kept = call->norm->kept;
    return (ptrdiff_t)((double)(unit + 1) * kept) > (ptrdiff_t)((double)unit * kept);
}

static void apply_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *call = argument;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        region_t at = region_of(call, unit);
        const norm_t *norm = is_kept(call, unit) ? call->norm->keeps : call->norm;
        apply_channels(norm, thread, at.o, at.channel, at.end_channel, at.begin, at.end);
    }
    order_streams(call->norm);
}

static void sum_and_apply_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t unit = first; unit < last; unit++) {
        sum_units(argument, thread, unit, unit + 1);
        apply_units(argument, thread, unit, unit + 1);
    }
}

static void finish_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *call = argument;
    (void)thread;
    atomic_fetch_add(call->second, finish_statistics(call->norm, first, last, call->round));
}

static ptrdiff_t channel_bytes(const norm_t *norm)
{
    return in_bytes(norm, norm->space.count) * (is_backward(norm) ? (norm->data[Y] ? 3 : 2) : 1);
}

/* True if some array's columns do not stand together. */
static int has_crossing(const norm_t *norm) { return norm->max_rows == CROSSING_ROWS; }

/* How many channels a block should have, for memory to be read in long runs. */
static ptrdiff_t channels_together(const norm_t *norm, int threads)
{
    ptrdiff_t channels = norm->channels.count, together;
    if (norm->walk == PLANES) {
        ptrdiff_t run = run_from(&norm->space, 0);
        together = ceil_div(UNIT_RUN_ELEMENTS, larger(run, 1));
        together = has_crossing(norm) ? larger(together, CROSSING_ROWS) : together;
    } else {
        ptrdiff_t share = ceil_div(channels, threads);
        together = larger(UNIT_CHANNELS, ceil_div(share, UNIT_CHANNELS) * UNIT_CHANNELS);
        together = norm->outer.count * norm->parts >= 4 * threads ? channels : together;
    }
    return larger(1, smaller(together, channels));
}

/* How many channels a block of whole groups should have, of so many that could be together. */
static ptrdiff_t channels_of_whole_groups(const norm_t *norm, ptrdiff_t together, int threads)
{
    if (norm->walk == PIXELS && threads > 1) {
        ptrdiff_t share = ceil_div(norm->channels.count, threads), blocks = ceil_div(share, OWNED_CHANNELS);
        together = ceil_div(ceil_div(share, blocks), UNIT_CHANNELS) * UNIT_CHANNELS;
    }
    return ceil_div(together, norm->per_group) * norm->per_group;
}

/* Threads that write to the same rows must be far apart: a core that asks for lines ahead takes them from another. */
static int are_far_apart(const norm_t *norm, const schedule_t *call, int threads)
{
    return in_bytes(norm, norm->channels.count / threads) >= OWNED_ROW_BYTES &&
           call->channels * in_bytes(norm, norm->space.count) <= OWNED_BYTES;
}

static int fits_whole_groups(const norm_t *norm, const schedule_t *call, int threads)
{
    ptrdiff_t units = norm->outer.count * call->blocks;
    if (norm->walk == PIXELS && threads > 1 && !are_far_apart(norm, call, threads))
        return 0;
    return call->channels * channel_bytes(norm) <= FUSED_BYTES && (units >= 4 * threads || units % threads == 0);
}

static void set_blocks(schedule_t *call, ptrdiff_t channels, ptrdiff_t span)
{
    call->channels = channels;
    call->blocks = ceil_div(call->norm->channels.count, channels);
    call->span = span;
}

/* Units for a pass over memory in its own order. */
static void set_blocks_in_order(schedule_t *call)
{
    const norm_t *norm = call->norm;
    ptrdiff_t channels = norm->channels.count, unit = is_addition(norm) ? ADDITION_UNIT_ELEMENTS : UNIT_ELEMENTS;
    if (norm->walk == PLANES) {
        ptrdiff_t span = smaller(run_from(&norm->space, 0), unit);
        set_blocks(call, larger(1, smaller(channels, unit / span)), span);
    } else {
        ptrdiff_t width = smaller(channels, unit);
        set_blocks(call, width, unit / width);
    }
}

static void apply_in_order(schedule_t *call, int threads)
{
    norm_t *keeps = call->norm->keeps;
    if (keeps) {
        *keeps = *call->norm;
        keeps->past = keeps->stream = 0;
    }
    set_blocks_in_order(call);
    call->norm->parallel_for(apply_units, call, units_of(call), LARGEST_CHUNK, threads);
}

static int ask_for_second(const norm_t *norm)
{
    for (ptrdiff_t i = 0; i < norm->outer.count * norm->groups; i++)
        norm->rstd[i] = -1;
    return 1;
}

static void run_spatial(norm_t *norm, int threads)
{
    atomic_int second = 0;
    schedule_t call = {.norm = norm, .second = &second};
    ptrdiff_t groups = norm->outer.count * norm->groups;
    if (norm->pass == INFERENCE || norm->pass == BACKWARD_INFERENCE)
        prepare_fixed(norm);
    else if (norm->values == 0 && !is_backward(norm)) /* statistics of nothing */
        norm->parallel_for(finish_units, &call, groups, LARGEST_CHUNK, 1);
    if (norm->outer.count * norm->channels.count * norm->space.count == 0)
        return;

    ptrdiff_t together = channels_together(norm, threads);
    int waits = norm->pass == FORWARD || norm->pass == BACKWARD;
    set_blocks(&call, channels_of_whole_groups(norm, together, threads), norm->space.count);
    if (waits && fits_whole_groups(norm, &call, threads)) {
        norm->parallel_for(run_groups, &call, units_of(&call), LARGEST_CHUNK, threads);
        return;
    }
    set_blocks(&call, together, PART);
    call.finishes = norm->parts == 1 && together % norm->per_group == 0;
    if (norm->pass == BACKWARD_INFERENCE) {
        norm->parallel_for(sum_and_apply_units, &call, units_of(&call), LARGEST_CHUNK, threads);
        if (!call.finishes)
            norm->parallel_for(finish_units, &call, groups, LARGEST_CHUNK, 1);
        return;
    }
    if (norm->pass == MOMENTS && norm->compute == FLOAT32) /* all digits: float64 terms at once */
        second = ask_for_second(norm);
    if (norm->pass != INFERENCE)
        do {
            call.round = second ? SECOND : FIRST;
            second = 0;
            norm->parallel_for(sum_units, &call, units_of(&call), LARGEST_CHUNK, threads);
            if (!call.finishes)
                norm->parallel_for(finish_units, &call, groups, LARGEST_CHUNK, groups * norm->parts < SERIAL_STATISTICS_BELOW ? 1 : threads);
        } while (second);
    if (norm->elements != PANEL_KERNELS)
        apply_in_order(&call, threads);
}

static void run_addition(norm_t *norm, int threads)
{
    schedule_t call = {.norm = norm};
    if (norm->channels.count * norm->space.count != 0)
        apply_in_order(&call, threads);
}

/* ---- Stretches of samples (SAMPLES) */

/* Samples that are summed up and applied together: backward, whole groups of the sums of dweight and dbias. */
static ptrdiff_t samples_together(const norm_t *norm)
{
    ptrdiff_t group = is_backward(norm) ? GROUP : 1, elements = BACKWARD_ELEMENTS;
    if (!is_backward(norm))
        elements = norm->past || norm->stream ? NONTEMPORAL_ELEMENTS : FORWARD_ELEMENTS;
    return larger(elements / norm->channels.count / group, 1) * group;
}

static void apply_samples(const norm_t *norm, int thread, ptrdiff_t sample, ptrdiff_t end_sample, ptrdiff_t begin,
                          ptrdiff_t end)
{
    if (norm->groups == 1) {
        apply_region(norm, thread, sample, sample, end_sample, begin, end);
        if (is_backward(norm))
            add_parameter_terms(norm, thread, sample, end_sample, begin, end);
        return;
    }
    for (ptrdiff_t at = begin, stop; at < end; at = stop) {
        stop = smaller(end, (at / norm->per_group + 1) * norm->per_group);
        for (ptrdiff_t i = sample; i < end_sample; i++)
            apply_region(norm, thread, i, i, i + 1, at, stop);
        if (is_backward(norm))
            add_parameter_terms(norm, thread, sample, end_sample, at, stop);
    }
}

static void clear_parameter_terms(const norm_t *norm, ptrdiff_t part, ptrdiff_t begin, ptrdiff_t end)
{
    if (!is_backward(norm))
        return;
    size_t bytes = (size_t)(end - begin) * sizeof(double);
    memset(norm->dbias_parts + part * norm->channels.count + begin, 0, bytes);
    memset(norm->dweight_parts + part * norm->channels.count + begin, 0, bytes);
}

/* Sum up statistics at, ..., end - 1, in as many rounds as they need. */
static void sum_rounds(const norm_t *norm, ptrdiff_t at, ptrdiff_t end)
{
    for (int round = FIRST, left = 1; left; round++) {
        for (ptrdiff_t i = at, count; i < end; i += count) {
            count = samples_in_rows(norm, i, end, round);
            for (ptrdiff_t p = 0; p < norm->parts && (round == FIRST || waits_for_second(norm, i)); p++)
                sum_samples(norm, i, count, p, round);
        }
        left = finish_statistics(norm, at, end, round);
    }
}

/* Whole samples, one outer part after the other. */
static void run_samples(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const norm_t *norm = ((const schedule_t *)argument)->norm;
    ptrdiff_t together = samples_together(norm);
    for (ptrdiff_t part = first; part < last; part++) {
        ptrdiff_t end = smaller((part + 1) * norm->outer_part, norm->outer.count);
        clear_parameter_terms(norm, part, 0, norm->channels.count);
        for (ptrdiff_t sample = part * norm->outer_part; sample < end; sample += together) {
            ptrdiff_t stop = smaller(sample + together, end);
            sum_rounds(norm, sample * norm->groups, stop * norm->groups);
            apply_samples(norm, thread, sample, stop, 0, norm->channels.count);
        }
    }
    order_streams(norm);
}

/* Few samples, but long ones: threads share each. */
static void sum_sample_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *call = argument;
    const norm_t *norm = call->norm;
    (void)thread;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        ptrdiff_t statistic = unit / norm->parts;
        if (call->round == FIRST || waits_for_second(norm, statistic))
            sum_samples(norm, statistic, 1, unit % norm->parts, call->round);
    }
}

static void apply_sample_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *call = argument;
    const norm_t *norm = call->norm;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        ptrdiff_t part = unit / call->blocks, begin = unit % call->blocks * PART;
        ptrdiff_t end = smaller(begin + PART, norm->channels.count);
        clear_parameter_terms(norm, part, begin, end);
        apply_samples(norm, thread, part * norm->outer_part, smaller((part + 1) * norm->outer_part, norm->outer.count),
                      begin, end);
    }
    order_streams(norm);
}

static void run_sampled(norm_t *norm, int threads)
{
    atomic_int second = 0;
    schedule_t call = {.norm = norm, .channels = PART, .blocks = ceil_div(norm->channels.count, PART), .second = &second};
    prepare_rows(norm);
    if (norm->channels.count == 0 || norm->outer.count == 0)
        return;
    if (norm->outer_parts >= threads) {
        norm->parallel_for(run_samples, &call, norm->outer_parts, LARGEST_CHUNK, threads);
        return;
    }
    do {
        call.round = second ? SECOND : FIRST;
        second = 0;
        norm->parallel_for(sum_sample_units, &call, norm->outer.count * norm->groups * norm->parts, LARGEST_CHUNK, threads);
        norm->parallel_for(finish_units, &call, norm->outer.count * norm->groups, LARGEST_CHUNK, 1);
    } while (second);
    norm->parallel_for(apply_sample_units, &call, norm->outer_parts * call.blocks, LARGEST_CHUNK, threads);
}

/* ---- Both */

static void finish_channels(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const norm_t *norm = ((const schedule_t *)argument)->norm;
    (void)thread;
    finish_parameters(norm, first * PARAMETER_CHANNELS, smaller(last * PARAMETER_CHANNELS, norm->channels.count));
}

void run_norm(norm_t *norm, int threads)
{
    float_mode_t caller = enter_float_mode();
    if (is_addition(norm))
        run_addition(norm, threads);
    else if (norm->walk == SAMPLES)
        run_sampled(norm, threads);
    else
        run_spatial(norm, threads);
    if (is_backward(norm) && (!has_own_channels(norm) || norm->values == 0)) {
        ptrdiff_t sums = norm->channels.count * (norm->walk == SAMPLES ? norm->outer_parts : norm->outer.count);
        schedule_t call = {.norm = norm};
        norm->parallel_for(finish_channels, &call, ceil_div(norm->channels.count, PARAMETER_CHANNELS), LARGEST_CHUNK, sums < SERIAL_PARAMETERS_BELOW ? 1 : threads);
    }
    leave_float_mode(caller);
}
