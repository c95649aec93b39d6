#include "update/sum_squares.h"
#include <math.h>
#include <string.h>

/* Load the elements first, ..., first + n - 1 in C order, row by row. */
static void load_in_order(const measure_t *measure, int array, ptrdiff_t first, ptrdiff_t n, char *block)
{
    const task_t *task = measure->task;
    const view_t *view = &measure->views[array];
    const codec_t *codec = &task->codecs[view->storage];
    int last = measure->ndim - 1;
    if (measure->straight >> array & 1) {
        ptrdiff_t size = storage_size(view->storage);
        codec->load(&(tile_t){view->data + first * size, 1, n, 0, size}, block);
        return;
    }
    while (n > 0) {
        ptrdiff_t rest = first, column = rest % measure->shape[last];
        char *data = view->data + column * view->strides[last];
        rest /= measure->shape[last];
        for (int axis = last - 1; axis >= 0; axis--) {
            data += rest % measure->shape[axis] * view->strides[axis];
            rest /= measure->shape[axis];
        }
        ptrdiff_t cols = smaller(measure->shape[last] - column, n);
        codec->load(&(tile_t){data, 1, cols, 0, view->strides[last]}, block);
        block += cols * (ptrdiff_t)task->itemsize;
        first += cols;
        n -= cols;
    }
}

/* Return the elements: in place if they are one run of the compute type, otherwise loaded into the block. */
static void *elements(const measure_t *measure, int array, ptrdiff_t first, ptrdiff_t n, block_t *block)
{
    const task_t *task = measure->task;
    if (measure->straight >> array & 1 && measure->views[array].storage == task->compute)
        return measure->views[array].data + first * (ptrdiff_t)task->itemsize;
    load_in_order(measure, array, first, n, block->bytes);
    return block->bytes;
}

/* Compute the negative of the rule's step: the rule runs on copies, with a param of 0. */
static void *direction(const measure_t *measure, ptrdiff_t first, ptrdiff_t n, block_t *blocks)
{
    const task_t *task = measure->task;
    void *arrays[MAX_ARRAYS];
    memset(blocks[0].bytes, 0, (size_t)n * task->itemsize);
    for (int i = 0; i < task->narrays; i++) {
        arrays[i] = blocks[i].bytes;
        if (i)
            load_in_order(measure, i, first, n, blocks[i].bytes);
    }
    task->kernel(arrays, n, task->scalars);
    return blocks[0].bytes;
}

static double folded(double *lanes)
{
    for (int width = SQUARE_LANES / 2; width; width /= 2)
        for (int lane = 0; lane < width; lane++)
            lanes[lane] += lanes[lane + width];
    return lanes[0];
}

/* If squares would exceed the range of double, numbers are multiplied by 2 to this power or its negative. */
#define RESCALING_EXPONENT 600

/* Smaller sums of squares may have lost digits to underflow. */
#define SMALLEST 1e-280

/* Measure one unit's elements, multiplied by a power of 2. */
static void sum_unit(const measures_t *all, measure_scratch_t *scratch, const measure_t *measure, ptrdiff_t unit,
                     int exponent, double *sums)
{
    const summing_t *summing = all->summing[measure->task->compute == FLOAT64];
    ptrdiff_t first = unit * SQUARE_PART, end = smaller(first + SQUARE_PART, measure->count);
    double lanes[2][SQUARE_LANES] = {{0}}, scale = ldexp(1.0, exponent);
    for (; first < end; first += BLOCK_ELEMENTS) {
        ptrdiff_t n = smaller(end - first, BLOCK_ELEMENTS);
        void *x = elements(measure, 0, first, n, &scratch->first);
        summing->add_squares(x, n, scale, lanes[0]);
        if (all->what == PAIRS) {
            summing->add_squares(elements(measure, 1, first, n, scratch->others), n, scale, lanes[1]);
        } else if (all->what == DIRECTIONS) {
            void *moved = direction(measure, first, n, scratch->others);
            summing->subtract(moved, x, n, measure->weight_decay);
            summing->add_squares(moved, n, scale, lanes[1]);
        }
    }
    sums[0] = folded(lanes[0]);
    sums[1] = folded(lanes[1]);
}

static void measure_unit(const measures_t *all, measure_scratch_t *scratch, const measure_t *measure, ptrdiff_t unit)
{
    double values[2], again[2];
    sum_t *sums = &measure->sums[2 * unit];
    int measured = all->what == GRADIENTS ? 1 : 2;
    sum_unit(all, scratch, measure, unit, 0, values);
    sums[0] = (sum_t){values[0], 0};
    sums[1] = (sum_t){values[1], 0};
    for (int sign = 1; sign >= -1 && measure->task->compute == FLOAT64; sign -= 2) {
        int wrong[2] = {0, 0};
        for (int k = 0; k < measured; k++)
            wrong[k] = sign > 0 ? values[k] < SMALLEST : isinf(values[k]);
        if (!wrong[0] && !wrong[1])
            continue;
        sum_unit(all, scratch, measure, unit, sign * RESCALING_EXPONENT, again);
        for (int k = 0; k < measured; k++)
            if (wrong[k])
                sums[k] = (sum_t){again[k], -2 * sign * RESCALING_EXPONENT};
    }
}

void add_sum(sum_t *to, const sum_t *sum)
{
    if (sum->value == 0)
        return;
    if (to->value == 0) {
        *to = *sum;
    } else if (to->exponent >= sum->exponent) {
        to->value += ldexp(sum->value, sum->exponent - to->exponent);
    } else {
        to->value = ldexp(to->value, to->exponent - sum->exponent) + sum->value;
        to->exponent = sum->exponent;
    }
}

double root_of(const sum_t *sum) { return ldexp(sqrt(sum->value), sum->exponent / 2); }

void measure_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const measures_t *all = argument;
    ptrdiff_t low = 0, high = all->count;
    while (high - low > 1) {
        ptrdiff_t middle = low + (high - low) / 2;
        if (all->measures[middle].units_before <= first)
            low = middle;
        else
            high = middle;
    }
    for (; first < last; low++) {
        const measure_t *measure = &all->measures[low];
        for (; first < last && first < measure->units_before + measure->units; first++)
            measure_unit(all, all->scratch + thread, measure, first - measure->units_before);
    }
}
