#include "rows/windows.h"
#include "core/util.h"
#include <string.h>

void merge_channels(windows_t *windows)
{
    ptrdiff_t channels = windows->shape[CHANNELS];
    if (channels > 1 && (windows->strides[CHANNELS] != windows->bytes || windows->out_strides[CHANNELS] != windows->bytes))
        return;
    windows->bytes *= channels;
    windows->shape[CHANNELS] = 1;
}

/* Where `bytes` is a constant, a copy is a load and a store. */
static inline void copy_each(char *out, ptrdiff_t out_stride, const char *from, ptrdiff_t stride, ptrdiff_t count,
                             size_t bytes)
{
    for (ptrdiff_t i = 0; i < count; i++)
        memcpy(out + i * out_stride, from + i * stride, bytes);
}

/* Copy `count` bytes in reverse, `from` being the last: eight at a time, where a byte at a time takes 4 times as long. */
static void copy_reversed(char *out, const char *from, ptrdiff_t count)
{
    for (; count >= 8; count -= 8, out += 8, from -= 8) {
        uint64_t word;
        memcpy(&word, from - 7, 8);
        word = __builtin_bswap64(word);
        memcpy(out, &word, 8);
    }
    copy_each(out, 1, from, -1, count, 1);
}

static void copy_pixels(char *out, ptrdiff_t out_stride, const char *from, ptrdiff_t stride, ptrdiff_t count,
                        ptrdiff_t bytes)
{
    if (out_stride == bytes && stride == bytes) {
        memcpy(out, from, (size_t)(count * bytes));
        return;
    }
    if (bytes == 1 && out_stride == 1 && stride == -1) {
        copy_reversed(out, from, count);
        return;
    }
    switch (bytes) {
    case 1: copy_each(out, out_stride, from, stride, count, 1); break;
    case 2: copy_each(out, out_stride, from, stride, count, 2); break;
    case 3: copy_each(out, out_stride, from, stride, count, 3); break;
    case 4: copy_each(out, out_stride, from, stride, count, 4); break;
    case 8: copy_each(out, out_stride, from, stride, count, 8); break;
    case 12: copy_each(out, out_stride, from, stride, count, 12); break;
    default: copy_each(out, out_stride, from, stride, count, (size_t)bytes);
    }
}

/* Copy one row of a window that begins at column `left` of the image's row; `from` is NULL outside of the image. */
static void copy_window_row(const windows_t *windows, char *out, const char *from, ptrdiff_t left, int is_flipped)
{
    ptrdiff_t width = windows->out_shape[IMAGE_COLUMNS], columns = windows->shape[IMAGE_COLUMNS];
    ptrdiff_t stride = windows->strides[IMAGE_COLUMNS], step = windows->out_strides[IMAGE_COLUMNS];
    ptrdiff_t bytes = windows->bytes;
    ptrdiff_t begin = from ? smaller(larger(-left, 0), width) : width;
    ptrdiff_t end = from ? larger(smaller(columns - left, width), begin) : width;
    if (begin)
        copy_pixels(out, step, windows->fill, bytes, begin, bytes);
    if (begin < end && is_flipped)
        copy_pixels(out, step, from + (columns - 1) * stride, -stride, end, bytes);
    else if (begin < end)
        copy_pixels(out + begin * step, step, from + (left + begin) * stride, stride, end - begin, bytes);
    if (end < width)
        copy_pixels(out + end * step, step, windows->fill, bytes, width - end, bytes);
}

/* The random words of sample i are those of the counter whose upper half is its own, and whose lower half is 0. */
static void draw_sample(const windows_t *windows, ptrdiff_t i, uint32_t words[4])
{
    uint64_t tweak = (windows->offset + (uint64_t)i) | (uint64_t)windows->purpose << 56;
    words[0] = words[1] = 0;
    words[2] = (uint32_t)tweak;
    words[3] = (uint32_t)(tweak >> 32);
    philox(words, (uint32_t)windows->seed, (uint32_t)(windows->seed >> 32));
}

static ptrdiff_t draw_position(const windows_t *windows, int axis, const uint32_t *words)
{
    uint64_t number = words[0] | (uint64_t)words[1] << 32;
    return windows->first[axis] + (ptrdiff_t)(number % (uint64_t)windows->count[axis]);
}

void copy_windows(void *argument, int thread, ptrdiff_t first, ptrdiff_t last)
{
    const windows_t *windows = argument;
    const ptrdiff_t *strides = windows->strides, *out_strides = windows->out_strides;
    (void)thread;
    for (ptrdiff_t i = first; i < last; i++) {
        uint32_t words[4];
        draw_sample(windows, i, words);
        ptrdiff_t top = draw_position(windows, 0, words), left = draw_position(windows, 1, words + 2);
        int is_flipped = words[0] >> 8 < windows->flips;
        for (ptrdiff_t c = 0; c < windows->shape[CHANNELS]; c++)
            for (ptrdiff_t row = 0; row < windows->out_shape[IMAGE_ROWS]; row++) {
                char *out = windows->out + i * out_strides[SAMPLES] + c * out_strides[CHANNELS] + row * out_strides[IMAGE_ROWS];
                const char *from = NULL;
                if (top + row >= 0 && top + row < windows->shape[IMAGE_ROWS])
                    from = windows->data + i * strides[SAMPLES] + c * strides[CHANNELS] + (top + row) * strides[IMAGE_ROWS];
                copy_window_row(windows, out, from, left, is_flipped);
            }
    }
}
