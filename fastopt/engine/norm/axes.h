/* The positions of elements in memory. */
#ifndef FASTOPT_NORM_AXES_H
#define FASTOPT_NORM_AXES_H
#include "norm/plan.h"

/* The number of elements, starting at this one, with a constant stride. */
static inline ptrdiff_t run_from(const axes_t *axes, ptrdiff_t index)
{
    if (axes->ndim < 2)
        return axes->count - index;
    ptrdiff_t extent = axes->axis[axes->ndim - 1].extent;
    return extent - index % extent;
}

static inline ptrdiff_t inner_stride(const axes_t *axes, int array)
{
    return axes->ndim ? axes->axis[axes->ndim - 1].strides[array] : 0;
}

/* The offset of element `index` from element 0, in bytes. */
static inline ptrdiff_t offset_of(const axes_t *axes, int array, ptrdiff_t index)
{
    ptrdiff_t offset = 0;
    for (int i = axes->ndim - 1; i > 0; i--) {
        const norm_axis_t *axis = &axes->axis[i];
        offset += index % axis->extent * axis->strides[array];
        index /= axis->extent;
    }
    return axes->ndim ? offset + index * axes->axis[0].strides[array] : offset;
}

/* The axes of a tile's rows and columns. */
static inline const axes_t *row_axes(const norm_t *norm)
{
    return norm->layout == NCHW ? &norm->channels : (norm->layout == NHWC ? &norm->space : &norm->outer);
}

static inline const axes_t *col_axes(const norm_t *norm)
{
    return norm->layout == NCHW ? &norm->space : &norm->channels;
}

/* The stride between columns; for a single column, that of a contiguous array. */
static inline ptrdiff_t col_stride(const norm_t *norm, int array)
{
    const axes_t *axes = col_axes(norm);
    return axes->ndim ? inner_stride(axes, array) : storage_size(norm->storage[array]);
}

#endif
