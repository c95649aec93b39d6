/* Codecs carry numbers between an array, however it stores and lays them out, and a block of the compute type. */
#ifndef FASTOPT_CODECS_H
#define FASTOPT_CODECS_H
#include "kernel.h"

/* Part of an array: rows x cols elements, the strides in bytes. */
typedef struct {
    char *data;
    ptrdiff_t rows, cols, row_stride, col_stride;
} tile_t;

typedef struct {
    void (*load)(const tile_t *from, void *block);
    void (*store)(const tile_t *to, const void *block);
    /* As store, past the caches; NULL where there is no such thing. Elements stand together. */
    void (*stream)(const tile_t *to, const void *block);
} codec_t;

#endif
