/* Windows of images, for augmentation: each sample is shifted, cropped or flipped as its own counter decides. */
#ifndef FASTOPT_WINDOWS_H
#define FASTOPT_WINDOWS_H
#include "core/philox.h"
#include <stddef.h>
#include <stdint.h>

/* The axes of an image batch, whatever their order in memory. */
enum image_axis { SAMPLES, CHANNELS, IMAGE_ROWS, IMAGE_COLUMNS, IMAGE_AXES };

/* What one call copies: from each image a window, which may reach beyond it, into an image of `out`. */
typedef struct {
    const char *data;
    char *out;
    ptrdiff_t shape[IMAGE_AXES], out_shape[IMAGE_AXES];
    ptrdiff_t strides[IMAGE_AXES], out_strides[IMAGE_AXES];
    ptrdiff_t bytes;  /* of an element; of all channels, where they are contiguous in both arrays */
    const char *fill; /* a row of the window, contiguous: what is outside of the image */
    uint64_t seed, offset;
    enum purpose purpose;
    /* A window begins at row first[0] at the earliest, and there are count[0] such rows; columns are [1]. */
    ptrdiff_t first[2], count[2];
    uint32_t flips; /* An image is flipped if its 24 random bits are below this. */
} windows_t;

/* Treat contiguous channels as one element. */
void merge_channels(windows_t *windows);

/* Copy the windows of samples first, ..., last - 1. */
void copy_windows(void *windows, int thread, ptrdiff_t first, ptrdiff_t last);

#endif
