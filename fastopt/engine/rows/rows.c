#include "rows/rows.h"
#include "core/philox.h"
#include "core/tuning.h"
#include <string.h>

/* ---- Planning */

void add_row_axis(rows_t *rows, ptrdiff_t extent, ptrdiff_t stride)
{
    rows->bytes *= extent;
    if (extent == 1)
        return;
    int last = rows->ndim - 1;
    if (last >= 0 && rows->strides[last] == stride * extent) {
        rows->shape[last] *= extent;
        rows->strides[last] = stride;
        return;
    }
    rows->shape[rows->ndim] = extent;
    rows->strides[rows->ndim++] = stride;
}

void close_row(rows_t *rows)
{
    if (rows->ndim && rows->strides[rows->ndim - 1] == rows->run)
        rows->run *= rows->shape[--rows->ndim];
}

ptrdiff_t number_row_units(gather_t *gather)
{
    ptrdiff_t units = 0;
    for (int i = 0; i < gather->narrays; i++) {
        rows_t *rows = &gather->arrays[i];
        rows->rows_of_unit = larger(1, ROWS_UNIT_BYTES / larger(rows->bytes, 1));
        rows->units_before = units;
        units += rows->bytes ? ceil_div(gather->count, rows->rows_of_unit) : 0;
    }
    return units;
}

int are_rows(const int64_t *numbers, ptrdiff_t count, ptrdiff_t rows)
{
    for (ptrdiff_t i = 0; i < count; i++)
        if (numbers[i] < 0 || numbers[i] >= rows)
            return 0;
    return 1;
}

/* ---- Gathering */

/* Copy runs along one axis. If `bytes` is a constant, each copy is one load and one store. */
static inline char *copy_runs(char *out, const char *from, ptrdiff_t count, ptrdiff_t stride, size_t bytes)
{
    for (ptrdiff_t i = 0; i < count; i++, out += bytes)
        memcpy(out, from + i * stride, bytes);
    return out;
}

static char *copy_axis(char *out, const char *from, ptrdiff_t count, ptrdiff_t stride, size_t bytes)
{
    switch (bytes) {
    case 1: return copy_runs(out, from, count, stride, 1);
    case 2: return copy_runs(out, from, count, stride, 2);
    case 4: return copy_runs(out, from, count, stride, 4);
    case 8: return copy_runs(out, from, count, stride, 8);
    default: return copy_runs(out, from, count, stride, bytes);
    }
}

/* Copy a row that consists of separate runs; return the destination of the next row. */
static char *copy_row(const rows_t *rows, int axis, char *out, const char *from)
{
    if (axis == rows->ndim - 1)
        return copy_axis(out, from, rows->shape[axis], rows->strides[axis], (size_t)rows->run);
    for (ptrdiff_t i = 0; i < rows->shape[axis]; i++)
        out = copy_row(rows, axis + 1, out, from + i * rows->strides[axis]);
    return out;
}

static void prefetch_row(const char *row, ptrdiff_t bytes) { prefetch_l1(row, smaller(bytes, ROWS_BYTES_AHEAD)); }

/* Gather contiguous rows. */
static inline void gather_runs(const rows_t *rows, const int64_t *numbers, ptrdiff_t first, ptrdiff_t last,
                               size_t bytes)
{
    ptrdiff_t ahead = larger(1, smaller(MAX_ROWS_AHEAD, ROWS_BYTES_AHEAD / (ptrdiff_t)bytes));
    for (ptrdiff_t i = first; i < smaller(first + ahead, last); i++)
        prefetch_row(rows->data + numbers[i] * rows->stride, (ptrdiff_t)bytes);
    for (ptrdiff_t i = first; i < last; i++) {
        if (i + ahead < last)
            prefetch_row(rows->data + numbers[i + ahead] * rows->stride, (ptrdiff_t)bytes);
        memcpy(rows->out + i * (ptrdiff_t)bytes, rows->data + numbers[i] * rows->stride, bytes);
    }
}

static void gather_rows(const rows_t *rows, const int64_t *numbers, ptrdiff_t first, ptrdiff_t last)
{
    if (rows->ndim) {
        for (ptrdiff_t i = first; i < last; i++)
            copy_row(rows, 0, rows->out + i * rows->bytes, rows->data + numbers[i] * rows->stride);
        return;
    }
    switch (rows->bytes) {
    case 1: gather_runs(rows, numbers, first, last, 1); break;
    case 2: gather_runs(rows, numbers, first, last, 2); break;
    case 4: gather_runs(rows, numbers, first, last, 4); break;
    case 8: gather_runs(rows, numbers, first, last, 8); break;
    default: gather_runs(rows, numbers, first, last, (size_t)rows->bytes);
    }
}

void gather_units(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const gather_t *gather = argument;
    (void)thread;
    for (int i = 0; i < gather->narrays; i++) {
        const rows_t *rows = &gather->arrays[i];
        ptrdiff_t row = larger(0, first - rows->units_before) * rows->rows_of_unit;
        ptrdiff_t end = smaller(gather->count, (last - rows->units_before) * rows->rows_of_unit);
        if (row < end && rows->bytes)
            gather_rows(rows, gather->numbers, row, end);
    }
}

/* ---- The order of an epoch: the Fisher-Yates shuffle in the form of R. Durstenfeld (1964) */

/* Random numbers of 64 bits, two from each counter. */
typedef struct {
    uint64_t seed, epoch, counter;
    uint32_t words[4];
    int left;
} random_stream_t;

static uint64_t next_number(random_stream_t *stream)
{
    if (!stream->left) {
        uint64_t counter = stream->counter++;
        stream->words[0] = (uint32_t)counter;
        stream->words[1] = (uint32_t)(counter >> 32);
        stream->words[2] = (uint32_t)stream->epoch;
        stream->words[3] = (uint32_t)(stream->epoch >> 32);
        philox(stream->words, (uint32_t)stream->seed, (uint32_t)(stream->seed >> 32));
        stream->left = 2;
    }
    const uint32_t *pair = &stream->words[4 - 2 * stream->left--];
    return pair[0] | (uint64_t)pair[1] << 32;
}

/* A uniform number below bound: numbers beyond the last whole multiple of bound are rejected. */
static uint64_t next_below(random_stream_t *stream, uint64_t bound)
{
    uint64_t number, rest;
    do {
        number = next_number(stream);
        rest = number % bound;
    } while (number - rest > UINT64_MAX - (bound - 1));
    return rest;
}

void shuffle_rows(int64_t *numbers, ptrdiff_t count, uint64_t seed, uint64_t epoch)
{
    random_stream_t stream = {seed, epoch | (uint64_t)SHUFFLE << 56, 0, {0}, 0};
    ptrdiff_t places[SHUFFLE_AHEAD];
    for (ptrdiff_t i = 0; i < count; i++)
        numbers[i] = i;
    for (ptrdiff_t i = count - 1, drawn; i > 0; i -= drawn) {
        drawn = smaller(SHUFFLE_AHEAD, i);
        for (ptrdiff_t k = 0; k < drawn; k++) {
            places[k] = (ptrdiff_t)next_below(&stream, (uint64_t)(i - k) + 1);
            prefetch_l1(numbers + places[k], 1);
        }
        for (ptrdiff_t k = 0; k < drawn; k++) {
            int64_t number = numbers[i - k];
            numbers[i - k] = numbers[places[k]];
            numbers[places[k]] = number;
        }
    }
}
