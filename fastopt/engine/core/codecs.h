/* Codecs convert between an array of any storage type and layout and a block of the compute type. */
#ifndef FASTOPT_CODECS_H
#define FASTOPT_CODECS_H
#include "core/kernel.h"
#include "core/sum_tree.h"
#include "core/util.h"
#include <stdint.h>

/* The inputs of stochastic rounding: a seed and the step, together with each element's tensor and position. */
typedef struct {
    uint64_t seed;
    uint64_t step;
} noise_t;

/* Part of an array: rows x cols elements; strides are in bytes. */
typedef struct {
    char *data;
    ptrdiff_t rows, cols, row_stride, col_stride;
} tile_t;

typedef struct {
    void (*load)(const tile_t *from, void *block);
    /* Like load, for uncached arrays with contiguous rows: it prefetches the elements that follow. */
    void (*load_prefetched)(const tile_t *from, void *block);
    void (*store)(const tile_t *to, const void *block);
    /* Like store, with non-temporal stores, for contiguous rows; NULL if the storage type has none. */
    void (*store_nontemporal)(const tile_t *to, const void *block);
    /* Like store, with stochastic rounding; NULL for all types but bfloat16. The tile `places` holds the elements'
     * positions in C order in place of addresses. */
    void (*store_rounded)(const tile_t *to, const tile_t *places, const void *block, const noise_t *noise,
                          uint32_t tensor);
} codec_t;

typedef struct {
    /* Add (scale * x)^2 for n elements of a block, the first of which belongs to lane 0. */
    void (*add_squares)(const void *block, ptrdiff_t n, double scale, double *lanes);
    /* Replace each x of a block by weight_decay * y - x, where y is the element of another block. */
    void (*subtract)(void *block, const void *other, ptrdiff_t n, double weight_decay);
} summing_t;

#endif
