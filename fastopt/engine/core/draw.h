/* Random bits for the elements of an array. They are a function of a source and of the element's position, so they
 * do not depend on threads, layout or earlier draws. */
#ifndef FASTOPT_DRAW_H
#define FASTOPT_DRAW_H
#include "core/codecs.h"
#include "core/philox.h"
#include "core/tuning.h"

typedef struct {
    uint64_t seed;
    uint64_t offset; /* below 2^56 */
    enum purpose purpose;
} source_t;

/* Draw 32 bits for each element of a tile that holds the elements' positions in C order in place of addresses. `bits`
 * has BITS_CAPACITY words: some words after those of the tile may be overwritten. */
typedef void (*draw_t)(const tile_t *places, const source_t *source, uint32_t *bits);

#define BITS_CAPACITY (BLOCK_ELEMENTS + 4 * 64)

#endif
