#include "update/job.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- Planning: from the caller's axes to a short list of axes in memory order */

/* True if axis a should be outside axis b. The first array whose strides differ decides, beginning with param. */
static int is_outside(const layout_t *layout, int narrays, int a, int b)
{
    for (int i = 0; i < narrays; i++) {
        ptrdiff_t outer = magnitude(layout->axes[a].strides[i]), inner = magnitude(layout->axes[b].strides[i]);
        if (outer != inner)
            return outer > inner;
    }
    return a < b;
}

/* Take the axes longer than one element, reversed where param's stride is negative. */
static void take_axes(job_t *job, layout_t *layout, int narrays, const view_t *views, int ndim, const ptrdiff_t *shape)
{
    int kept = 0;
    for (int axis = 0; axis < ndim; axis++) {
        if (shape[axis] == 1)
            continue;
        int turned = views[0].strides[axis] < 0;
        layout->axes[kept].extent = shape[axis];
        for (int i = 0; i < narrays; i++) {
            ptrdiff_t stride = views[i].strides[axis];
            if (turned)
                job->data[i] += (shape[axis] - 1) * stride;
            layout->axes[kept].strides[i] = turned ? -stride : stride;
        }
        kept++;
    }
    layout->ndim = kept;
}

static void order_axes(layout_t *layout, int narrays)
{
    for (int axis = 1; axis < layout->ndim; axis++)
        for (int k = axis; k > 0 && is_outside(layout, narrays, k, k - 1); k--) {
            axis_t inner = layout->axes[k - 1];
            layout->axes[k - 1] = layout->axes[k];
            layout->axes[k] = inner;
        }
}

/* Merge neighbouring axes if, in every array, the stride of the outer one equals the size of the inner one. */
static void merge_axes(layout_t *layout, int narrays)
{
    int last = 0;
    for (int axis = 1; axis < layout->ndim; axis++) {
        int merges = 1;
        for (int i = 0; i < narrays && merges; i++)
            merges = layout->axes[last].strides[i] == layout->axes[axis].strides[i] * layout->axes[axis].extent;
        ptrdiff_t extent = layout->axes[axis].extent * (merges ? layout->axes[last].extent : 1);
        last += !merges;
        layout->axes[last] = layout->axes[axis];
        layout->axes[last].extent = extent;
    }
    if (layout->ndim)
        layout->ndim = last + 1;
}

/* Return an axis other than the last along which some array has its smallest stride, or -1. */
static int crossing_axis(const layout_t *layout, int narrays)
{
    int last = layout->ndim - 1;
    for (int i = 0; i < narrays; i++) {
        int nearest = last;
        for (int axis = last - 1; axis >= 0; axis--)
            if (layout->axes[axis].strides[i]
                && magnitude(layout->axes[axis].strides[i]) < magnitude(layout->axes[nearest].strides[i]))
                nearest = axis;
        if (nearest != last)
            return nearest;
    }
    return -1;
}

/* A tile is a range of the last axis, as long as a block, with several rows if that axis is short. If the last axis is
 * not the contiguous one of some array, the tile is a square, so that each fetched cache line is fully used. */
static void choose_tile(layout_t *layout, int narrays, ptrdiff_t block)
{
    int last = layout->ndim - 1;
    ptrdiff_t cols = layout->axes[last].extent;
    int crossing = crossing_axis(layout, narrays);
    layout->row_axis = crossing >= 0 ? crossing : last - 1;
    ptrdiff_t rows = layout->row_axis >= 0 ? layout->axes[layout->row_axis].extent : 1;
    ptrdiff_t side = block == 1024 ? 32 : 16; /* rows; of either type, a row is 128 or 256 bytes: whole cache lines */
    layout->tile_cols = smaller(cols, crossing >= 0 ? (rows < side ? block / rows : block / side) : block);
    layout->tile_rows = smaller(rows, block / layout->tile_cols);
}

static ptrdiff_t tiles_along(const layout_t *layout, int axis)
{
    ptrdiff_t tile = axis == layout->ndim - 1 ? layout->tile_cols : (axis == layout->row_axis ? layout->tile_rows : 1);
    return ceil_div(layout->axes[axis].extent, tile);
}

/* The number of a job's arrays. For random rounding or sources, the positions of elements are one more array. */
static int views_of(const task_t *task) { return task->slots + (task->noise || task->sources); }

/* Plan a job; return whether it needs this layout. */
static int plan_in(layout_t *layout, job_t *job, const task_t *task, const view_t *views, int ndim,
                   const ptrdiff_t *shape)
{
    int nviews = views_of(task), contiguous = nviews == task->narrays;
    job->task = task;
    job->count = 1;
    for (int axis = 0; axis < ndim; axis++)
        job->count *= shape[axis];
    for (int i = 0; i < nviews; i++) {
        job->data[i] = views[i].data;
        job->storage[i] = (unsigned char)views[i].storage;
        contiguous &= views[i].storage == task->compute;
    }
    job->units = ceil_div(job->count, PIECE);
    if (job->count == 0)
        return 0;

    take_axes(job, layout, nviews, views, ndim, shape);
    order_axes(layout, nviews);
    merge_axes(layout, nviews);
    for (int i = 0; i < task->narrays && contiguous; i++)
        contiguous = layout->ndim == 0
                     || (layout->ndim == 1 && layout->axes[0].strides[i] == (ptrdiff_t)task->itemsize);
    if (contiguous)
        return 0;

    if (layout->ndim == 0) {
        layout->ndim = 1;
        layout->axes[0].extent = 1;
        for (int i = 0; i < nviews; i++)
            layout->axes[0].strides[i] = storage_size(job->storage[i]);
    }
    choose_tile(layout, task->slots, (ptrdiff_t)(BLOCK_BYTES / task->itemsize));
    job->units = 1;
    for (int axis = 0; axis < layout->ndim; axis++)
        job->units *= tiles_along(layout, axis);
    return 1;
}

int plan_job(job_t *job, const task_t *task, const view_t *views, int ndim, const ptrdiff_t *shape)
{
    layout_t layout, *kept = job->layout;
    if (!plan_in(&layout, job, task, views, ndim, shape)) {
        free(kept);
        job->layout = NULL;
        return 1;
    }
    size_t bytes = offsetof(layout_t, axes) + (size_t)layout.ndim * sizeof(axis_t);
    job->layout = realloc(kept, bytes);
    if (job->layout)
        memcpy(job->layout, &layout, bytes);
    else
        free(kept);
    return job->layout != NULL;
}

/* ---- Running */

static void run_pieces(const job_t *job, ptrdiff_t first, ptrdiff_t last)
{
    const task_t *task = job->task;
    ptrdiff_t begin = first * PIECE, end = smaller(last * PIECE, job->count);
    void *arrays[MAX_ARRAYS];
    for (int i = 0; i < task->narrays; i++)
        arrays[i] = job->data[i] + begin * (ptrdiff_t)task->itemsize;
    task->kernel(arrays, end - begin, task->scalars);
}

/* Compute tile number `unit`: its rows and columns, and each array's first element. */
static void find_tile(const job_t *job, int nviews, ptrdiff_t unit, tile_t *tiles)
{
    const layout_t *layout = job->layout;
    int last = layout->ndim - 1;
    ptrdiff_t rows = 1, cols = 1;
    for (int i = 0; i < nviews; i++)
        tiles[i].data = job->data[i];
    for (int axis = last; axis >= 0; axis--) {
        ptrdiff_t along = tiles_along(layout, axis), extent = layout->axes[axis].extent;
        ptrdiff_t position = unit % along;
        unit /= along;
        if (axis == last) {
            position *= layout->tile_cols;
            cols = smaller(layout->tile_cols, extent - position);
        } else if (axis == layout->row_axis) {
            position *= layout->tile_rows;
            rows = smaller(layout->tile_rows, extent - position);
        }
        for (int i = 0; i < nviews; i++)
            tiles[i].data += position * layout->axes[axis].strides[i];
    }
    for (int i = 0; i < nviews; i++) {
        tiles[i].rows = rows;
        tiles[i].cols = cols;
        tiles[i].row_stride = layout->row_axis >= 0 ? layout->axes[layout->row_axis].strides[i] : 0;
        tiles[i].col_stride = layout->axes[last].strides[i];
    }
}

/* Update the arrays that follow param: its average and its copy. */
static void follow(const task_t *task, void **arrays, const tile_t *tiles)
{
    if (task->average) {
        void *pair[] = {arrays[task->average], arrays[0]};
        task->average_kernel(pair, tiles[0].rows * tiles[0].cols, task->average_scalars);
    }
    if (task->copy)
        arrays[task->copy] = arrays[0];
}

/* Draw the random bits, which the kernel takes after its arrays, in the order of the tile's elements. */
static void draw_for(const task_t *task, void **arrays, const tile_t *places, uint32_t (*bits)[BITS_CAPACITY])
{
    for (int i = 0; i < task->sources; i++) {
        task->draw(places, &task->source[i], bits[i]);
        arrays[task->slots + i] = bits[i];
    }
}

static void run_tiles(const job_t *job, thread_scratch_t *scratch, ptrdiff_t first, ptrdiff_t last)
{
    const task_t *task = job->task;
    tile_t tiles[MAX_SLOTS];
    void *arrays[MAX_SLOTS];
    int staged[MAX_SLOTS];
    int rounded = task->noise ? task->copy : -1; /* the array that is rounded at random: the copy, or param */
    for (ptrdiff_t unit = first; unit < last; unit++) {
        find_tile(job, views_of(task), unit, tiles);
        for (int i = 0; i < task->slots; i++) {
            /* A kernel's arrays must not overlap: an array that is both read and written is loaded into a block. */
            staged[i] = tiles[i].rows != 1 || job->storage[i] != task->compute
                        || tiles[i].col_stride != (ptrdiff_t)task->itemsize || (task->copy && i == task->copy)
                        || (i && tiles[i].data == tiles[0].data);
            arrays[i] = staged[i] ? scratch->blocks[i] : tiles[i].data;
            if (staged[i] && !(task->copy && i == task->copy))
                task->codecs[job->storage[i]].load(&tiles[i], scratch->blocks[i]);
        }
        draw_for(task, arrays, &tiles[task->slots], scratch->bits);
        task->kernel(arrays, tiles[0].rows * tiles[0].cols, task->scalars);
        if (task->copy && job->storage[0] != task->compute) { /* the copy is of the master parameter as stored */
            task->codecs[job->storage[0]].store(&tiles[0], arrays[0]);
            task->codecs[job->storage[0]].load(&tiles[0], arrays[0]);
        }
        follow(task, arrays, tiles);
        for (int i = 0; i < task->slots; i++) {
            if (!staged[i] || i == task->grad)
                continue;
            if (i == rounded)
                task->codecs[BFLOAT16].store_rounded(&tiles[i], &tiles[task->slots], arrays[i], task->noise,
                                                     job->number);
            else
                task->codecs[job->storage[i]].store(&tiles[i], arrays[i]);
        }
    }
}

/* ---- Lists of jobs with consecutively numbered units */

void number_units(list_t *list)
{
    list->units = list->elements = list->is_tiled = 0;
    for (ptrdiff_t j = 0; j < list->njobs; j++) {
        job_t *job = &list->jobs[j];
        job->units_before = list->units;
        if (job->units == 0)
            continue;
        list->units += job->units;
        list->elements += job->count * (job->task->slots + job->task->sources);
        list->is_tiled |= job->layout != NULL;
    }
}

/* Find the job of a unit: the last job that has at most `unit` units before it. */
static ptrdiff_t job_of(const list_t *list, ptrdiff_t unit)
{
    ptrdiff_t low = 0, high = list->njobs;
    while (high - low > 1) {
        ptrdiff_t middle = low + (high - low) / 2;
        if (list->jobs[middle].units_before <= unit)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void run_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const list_t *list = argument;
    for (ptrdiff_t j = job_of(list, first); first < last; j++) {
        const job_t *job = &list->jobs[j];
        ptrdiff_t before = job->units_before, end = larger(first, smaller(last, before + job->units));
        if (first < end && job->layout)
            run_tiles(job, list->scratch + thread, first - before, end - before);
        else if (first < end)
            run_pieces(job, first - before, end - before);
        first = end;
    }
}
