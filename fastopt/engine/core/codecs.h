/* Codecs convert between an array, of any storage type and layout, and a block of the compute type. */
#ifndef FASTOPT_CODECS_H
#define FASTOPT_CODECS_H
#include "core/kernel.h"
#include "core/sum_tree.h"
#include "core/util.h"
#include <stdint.h>

/* What stochastic rounding depends on: a seed, the step, and (with each element) the tensor and the position. */
typedef struct {
    uint64_t seed;
    uint64_t step;
} noise_t;

/* Part of an array: rows x cols elements, the strides in bytes. */
typedef struct {
    char *data;
    ptrdiff_t rows, cols, row_stride, col_stride;
} tile_t;

typedef struct {
    void (*load)(const tile_t *from, void *block);
    /* As load, for an array from beyond the caches whose elements lie together: it prefetches what follows. */
    void (*load_prefetched)(const tile_t *from, void *block);
    void (*store)(const tile_t *to, const void *block);
    /* As store, with non-temporal stores; NULL if there are none. Elements lie together. */
    void (*store_nontemporal)(const tile_t *to, const void *block);
    /* As store, with stochastic rounding; NULL for all but bfloat16. `places` is a tile that has the positions of
     * elements in C order instead of addresses. */
    void (*store_rounded)(const tile_t *to, const tile_t *places, const void *block, const noise_t *noise,
                          uint32_t tensor);
} codec_t;

typedef struct {
    /* Add (scale * x)^2 of n elements of a block, the first of which belongs to lane 0. */
    void (*add_squares)(const void *block, ptrdiff_t n, double scale, double *lanes);
    /* Make each x of a block weight_decay * y - x, where y is another block's. */
    void (*subtract)(void *block, const void *other, ptrdiff_t n, double weight_decay);
} summing_t;

#endif
