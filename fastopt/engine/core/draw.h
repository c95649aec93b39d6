/* Random bits for the elements of an array: a function of a source and of an element's place, so that neither threads
 * nor layout nor what was drawn before matter. */
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

/* Draw 32 bits for each element of a tile, which has where elements stand in C order in place of addresses. `bits` has
 * BITS_CAPACITY words: there may be some behind those of the tile. */
typedef void (*draw_t)(const tile_t *places, const source_t *source, uint32_t *bits);

#define BITS_CAPACITY (BLOCK_ELEMENTS + 4 * 64)

#endif
