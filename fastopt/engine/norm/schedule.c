/* Runs a norm's call: divides it into units of work, fused or in phases, for the threads. */
#include "core/float_mode.h"
#include "core/tuning.h"
#include "norm/apply.h"
#include "norm/axes.h"
#include "norm/reduce.h"
#include "norm/statistics.h"
#include <stdatomic.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The units of a call: blocks of channels by spans of space, or ranges of samples */
typedef struct {
    const norm_t *norm;
    ptrdiff_t channels; /* channels of a block */
    ptrdiff_t blocks;
    ptrdiff_t span; /* elements of space; of sums, a part */
    int finishes;   /* a unit of sums has whole groups and all of space, and also computes their statistics */
    enum statistics_pass pass;
    atomic_int *second; /* the number of statistics that need a second pass */
} schedule_t;

static void run_parallel(schedule_t *schedule, range_fn run, ptrdiff_t units, int threads)
{
    schedule->norm->parallel_for(run, schedule, units, LARGEST_CHUNK, threads);
}

/* Make non-temporal stores visible to other threads before the call ends. */
static void fence_nontemporal(const norm_t *norm)
{
#ifdef __SSE2__
    if (norm->nontemporal || norm->nontemporal_blocks)
        _mm_sfence();
#endif
    (void)norm;
}

/* ---- Blocks of channels (NCHW, NHWC) */

static ptrdiff_t spans(const schedule_t *schedule) { return ceil_div(schedule->norm->space.count, schedule->span); }

static ptrdiff_t units_of(const schedule_t *schedule)
{
    return schedule->norm->outer.count * spans(schedule) * schedule->blocks;
}

/* Find the elements of a unit. Spans vary more slowly than blocks of channels, as in memory. */
typedef struct {
    ptrdiff_t o, channel, end_channel, begin, end;
} region_t;

static region_t region_of(const schedule_t *schedule, ptrdiff_t unit)
{
    const norm_t *norm = schedule->norm;
    region_t region;
    region.channel = unit % schedule->blocks * schedule->channels;
    region.end_channel = smaller(region.channel + schedule->channels, norm->channels.count);
    region.begin = unit / schedule->blocks % spans(schedule) * schedule->span;
    region.end = smaller(region.begin + schedule->span, norm->space.count);
    region.o = unit / schedule->blocks / spans(schedule);
    return region;
}

/* Reduce one part of a region's channels. */
static void reduce_channels(const norm_t *norm, int thread, const region_t *region, ptrdiff_t part,
                            enum statistics_pass pass)
{
    ptrdiff_t o = region->o;
    for (ptrdiff_t channel = region->channel, width; channel < region->end_channel; channel += width) {
        width = norm->layout == NCHW ? 1 : smaller(region->end_channel - channel, MAX_STRIPE);
        if (norm->layout == NHWC)
            reduce_stripe(norm, thread, o, channel, width, part, pass);
        else if (pass == FIRST_PASS || needs_second_pass(norm, o * norm->groups + channel / norm->per_group))
            reduce_channel(norm, thread, o, channel, part, pass);
    }
}

/* Return the number of a region's groups that need a second pass. */
static int finish_groups(const norm_t *norm, const region_t *region, enum statistics_pass pass)
{
    ptrdiff_t at = region->o * norm->groups, end = at + ceil_div(region->end_channel, norm->per_group);
    return finish_statistics(norm, at + region->channel / norm->per_group, end, pass);
}

static void apply_channels(const norm_t *norm, int thread, const region_t *region)
{
    if (norm->apply == NO_KERNEL)
        return;
    if (norm->layout == NCHW)
        apply_region(norm, thread, region->o, region->channel, region->end_channel, region->begin, region->end);
    else
        apply_region(norm, thread, region->o, region->begin, region->end, region->channel, region->end_channel);
}

/* Fused: whole groups are reduced, and applied while they are cached, block by block. */
static void run_groups(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *schedule = argument;
    const norm_t *norm = schedule->norm;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        region_t region = region_of(schedule, unit);
        for (int pass = FIRST_PASS, left = 1; left; pass++) {
            for (ptrdiff_t part = 0; part < norm->parts; part++)
                reduce_channels(norm, thread, &region, part, pass);
            left = finish_groups(norm, &region, pass);
        }
        apply_channels(norm, thread, &region);
    }
    fence_nontemporal(norm);
}

static void reduce_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *schedule = argument;
    const norm_t *norm = schedule->norm;
    enum statistics_pass pass = schedule->pass;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        region_t region = region_of(schedule, unit);
        reduce_channels(norm, thread, &region, region.begin / PART, pass);
        if (schedule->finishes)
            atomic_fetch_add(schedule->second, finish_groups(norm, &region, pass));
    }
}

/* True if the unit's results should stay cached; such units are spread evenly over all units. */
static int is_cached(const schedule_t *schedule, ptrdiff_t unit)
{
    double fraction = schedule->norm->cached_fraction;
    return (ptrdiff_t)((double)(unit + 1) * fraction) > (ptrdiff_t)((double)unit * fraction);
}

static void apply_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *schedule = argument;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        region_t region = region_of(schedule, unit);
        const norm_t *norm = is_cached(schedule, unit) ? schedule->norm->cached : schedule->norm;
        apply_channels(norm, thread, &region);
    }
    fence_nontemporal(schedule->norm);
}

static void reduce_and_apply_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    for (ptrdiff_t unit = first; unit < last; unit++) {
        reduce_units(argument, thread, unit, unit + 1);
        apply_units(argument, thread, unit, unit + 1);
    }
}

static void finish_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *schedule = argument;
    (void)thread;
    atomic_fetch_add(schedule->second, finish_statistics(schedule->norm, first, last, schedule->pass));
}

/* Reduce units and compute their statistics, in as many passes as they need. */
static void run_passes(schedule_t *schedule, range_fn reduce, ptrdiff_t units, int threads, int finishing_threads)
{
    ptrdiff_t statistics = schedule->norm->outer.count * schedule->norm->groups;
    do {
        schedule->pass = *schedule->second ? SECOND_PASS : FIRST_PASS;
        *schedule->second = 0;
        run_parallel(schedule, reduce, units, threads);
        if (!schedule->finishes)
            run_parallel(schedule, finish_units, statistics, finishing_threads);
    } while (*schedule->second);
}

static ptrdiff_t channel_bytes(const norm_t *norm)
{
    return in_bytes(norm, norm->space.count) * (is_backward(norm) ? (norm->data[Y] ? 3 : 2) : 1);
}

/* True if the columns of some array are not contiguous. */
static int has_crossing(const norm_t *norm) { return norm->max_rows == CROSSING_ROWS; }

/* The channels of a block, chosen so that memory is read in long runs. */
static ptrdiff_t channels_together(const norm_t *norm, int threads)
{
    ptrdiff_t channels = norm->channels.count, together;
    if (norm->layout == NCHW) {
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

/* The channels of a block of whole groups; `together` is the result of channels_together. */
static ptrdiff_t channels_of_whole_groups(const norm_t *norm, ptrdiff_t together, int threads)
{
    if (norm->layout == NHWC && threads > 1) {
        ptrdiff_t share = ceil_div(norm->channels.count, threads), blocks = ceil_div(share, OWNED_CHANNELS);
        together = ceil_div(ceil_div(share, blocks), UNIT_CHANNELS) * UNIT_CHANNELS;
    }
    return ceil_div(together, norm->per_group) * norm->per_group;
}

/* True if each thread owns enough of every row; otherwise prefetching would take cache lines from another core. */
static int own_their_channels(const norm_t *norm, const schedule_t *schedule, int threads)
{
    return in_bytes(norm, norm->channels.count / threads) >= OWNED_ROW_BYTES &&
           schedule->channels * in_bytes(norm, norm->space.count) <= OWNED_BYTES;
}

static int fits_whole_groups(const norm_t *norm, const schedule_t *schedule, int threads)
{
    ptrdiff_t units = norm->outer.count * schedule->blocks;
    if (norm->layout == NHWC && threads > 1 && !own_their_channels(norm, schedule, threads))
        return 0;
    return schedule->channels * channel_bytes(norm) <= FUSED_BYTES && (units >= 4 * threads || units % threads == 0);
}

static void set_blocks(schedule_t *schedule, ptrdiff_t channels, ptrdiff_t span)
{
    schedule->channels = channels;
    schedule->blocks = ceil_div(schedule->norm->channels.count, channels);
    schedule->span = span;
}

/* Choose units that read memory in order. */
static void set_blocks_in_order(schedule_t *schedule)
{
    const norm_t *norm = schedule->norm;
    ptrdiff_t channels = norm->channels.count, unit = is_addition(norm) ? ADDITION_UNIT_ELEMENTS : UNIT_ELEMENTS;
    if (norm->layout == NCHW) {
        ptrdiff_t span = smaller(run_from(&norm->space, 0), unit);
        set_blocks(schedule, larger(1, smaller(channels, unit / span)), span);
    } else {
        ptrdiff_t width = smaller(channels, unit);
        set_blocks(schedule, width, unit / width);
    }
}

static void apply_in_order(schedule_t *schedule, int threads)
{
    norm_t *cached = schedule->norm->cached;
    if (cached) {
        *cached = *schedule->norm;
        cached->nontemporal = cached->nontemporal_blocks = 0;
    }
    set_blocks_in_order(schedule);
    run_parallel(schedule, apply_units, units_of(schedule), threads);
}

/* Mark all statistics as in need of a second pass. */
static int mark_all_for_second_pass(const norm_t *norm)
{
    for (ptrdiff_t i = 0; i < norm->outer.count * norm->groups; i++)
        norm->rstd[i] = -1;
    return 1;
}

static void run_channels(norm_t *norm, int threads)
{
    atomic_int second = 0;
    schedule_t schedule = {.norm = norm, .second = &second};
    ptrdiff_t groups = norm->outer.count * norm->groups;
    if (norm->op == INFERENCE || norm->op == BACKWARD_INFERENCE)
        prepare_fixed_parameters(norm);
    else if (norm->values == 0 && !is_backward(norm)) /* the statistics have no values */
        run_parallel(&schedule, finish_units, groups, 1);
    if (norm->outer.count * norm->channels.count * norm->space.count == 0)
        return;

    ptrdiff_t together = channels_together(norm, threads);
    int is_fusible = norm->op == FORWARD || norm->op == BACKWARD;
    set_blocks(&schedule, channels_of_whole_groups(norm, together, threads), norm->space.count);
    if (is_fusible && fits_whole_groups(norm, &schedule, threads)) {
        run_parallel(&schedule, run_groups, units_of(&schedule), threads);
        return;
    }
    set_blocks(&schedule, together, PART);
    schedule.finishes = norm->parts == 1 && together % norm->per_group == 0;
    if (norm->op == BACKWARD_INFERENCE) {
        run_parallel(&schedule, reduce_and_apply_units, units_of(&schedule), threads);
        if (!schedule.finishes)
            run_parallel(&schedule, finish_units, groups, 1);
        return;
    }
    if (norm->op == MOMENTS && norm->compute == FLOAT32) /* compute float64 terms, which are exact, in the first pass */
        second = mark_all_for_second_pass(norm);
    int finishing_threads = groups * norm->parts < SERIAL_STATISTICS_BELOW ? 1 : threads;
    if (norm->op != INFERENCE)
        run_passes(&schedule, reduce_units, units_of(&schedule), threads, finishing_threads);
    if (norm->apply != NO_KERNEL)
        apply_in_order(&schedule, threads);
}

static void run_addition(norm_t *norm, int threads)
{
    schedule_t schedule = {.norm = norm};
    if (norm->channels.count * norm->space.count != 0)
        apply_in_order(&schedule, threads);
}

/* ---- Ranges of samples (ROWS) */

/* Samples that are reduced and applied together; backward, whole groups of the sums of dweight and dbias. */
static ptrdiff_t samples_together(const norm_t *norm)
{
    ptrdiff_t group = is_backward(norm) ? GROUP : 1, elements = BACKWARD_ELEMENTS;
    if (!is_backward(norm))
        elements = norm->nontemporal || norm->nontemporal_blocks ? NONTEMPORAL_ELEMENTS : FORWARD_ELEMENTS;
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

/* Reduce statistics at, ..., end - 1 in as many passes as they need. */
static void reduce_in_passes(const norm_t *norm, int thread, ptrdiff_t at, ptrdiff_t end)
{
    for (int pass = FIRST_PASS, left = 1; left; pass++) {
        for (ptrdiff_t i = at, count; i < end; i += count) {
            count = samples_per_call(norm, i, end, pass);
            for (ptrdiff_t p = 0; p < norm->parts && (pass == FIRST_PASS || needs_second_pass(norm, i)); p++)
                reduce_samples(norm, thread, i, count, p, pass);
        }
        left = finish_statistics(norm, at, end, pass);
    }
}

/* Process whole samples, one outer part after the other. */
static void run_samples(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const norm_t *norm = ((const schedule_t *)argument)->norm;
    ptrdiff_t together = samples_together(norm);
    for (ptrdiff_t part = first; part < last; part++) {
        ptrdiff_t end = smaller((part + 1) * norm->outer_part, norm->outer.count);
        clear_parameter_terms(norm, part, 0, norm->channels.count);
        for (ptrdiff_t sample = part * norm->outer_part; sample < end; sample += together) {
            ptrdiff_t stop = smaller(sample + together, end);
            reduce_in_passes(norm, thread, sample * norm->groups, stop * norm->groups);
            apply_samples(norm, thread, sample, stop, 0, norm->channels.count);
        }
    }
    fence_nontemporal(norm);
}

/* Process few long samples: threads share each of them. */
static void reduce_sample_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *schedule = argument;
    const norm_t *norm = schedule->norm;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        ptrdiff_t statistic = unit / norm->parts;
        if (schedule->pass == FIRST_PASS || needs_second_pass(norm, statistic))
            reduce_samples(norm, thread, statistic, 1, unit % norm->parts, schedule->pass);
    }
}

static void apply_sample_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const schedule_t *schedule = argument;
    const norm_t *norm = schedule->norm;
    for (ptrdiff_t unit = first; unit < last; unit++) {
        ptrdiff_t part = unit / schedule->blocks, begin = unit % schedule->blocks * PART;
        ptrdiff_t end = smaller(begin + PART, norm->channels.count);
        clear_parameter_terms(norm, part, begin, end);
        apply_samples(norm, thread, part * norm->outer_part, smaller((part + 1) * norm->outer_part, norm->outer.count),
                      begin, end);
    }
    fence_nontemporal(norm);
}

static void run_rows(norm_t *norm, int threads)
{
    atomic_int second = 0;
    schedule_t schedule = {.norm = norm, .second = &second};
    set_blocks(&schedule, PART, 0);
    prepare_weights(norm);
    if (norm->channels.count == 0 || norm->outer.count == 0)
        return;
    if (norm->outer_parts >= threads) {
        run_parallel(&schedule, run_samples, norm->outer_parts, threads);
        return;
    }
    run_passes(&schedule, reduce_sample_units, norm->outer.count * norm->groups * norm->parts, threads, 1);
    run_parallel(&schedule, apply_sample_units, norm->outer_parts * schedule.blocks, threads);
}

/* ---- All layouts */

static void finish_channels(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const norm_t *norm = ((const schedule_t *)argument)->norm;
    (void)thread;
    ptrdiff_t end = smaller(last * PARAMETER_CHANNELS, norm->channels.count);
    finish_parameter_gradients(norm, first * PARAMETER_CHANNELS, end);
}

void run_norm(norm_t *norm, int threads)
{
    float_mode_t caller = enter_float_mode();
    if (is_addition(norm))
        run_addition(norm, threads);
    else if (norm->layout == ROWS)
        run_rows(norm, threads);
    else
        run_channels(norm, threads);
    if (is_backward(norm) && (!has_own_channels(norm) || norm->values == 0)) {
        ptrdiff_t sums = norm->channels.count * (norm->layout == ROWS ? norm->outer_parts : norm->outer.count);
        schedule_t schedule = {.norm = norm};
        ptrdiff_t units = ceil_div(norm->channels.count, PARAMETER_CHANNELS);
        run_parallel(&schedule, finish_channels, units, sums < SERIAL_PARAMETERS_BELOW ? 1 : threads);
    }
    leave_float_mode(caller);
}
