#include "core/scratch_pool.h"
#include <stdint.h>
#include <stdlib.h>

/* A call of a norm takes two, and two threads may be at one each. Larger ones are used for longer than it takes to get
 * them. */
#define SPARES 4
#define LARGEST ((size_t)8 << 20)

/* What stands in front of memory, in a cache line of its own. */
typedef struct {
    void *allocated;
    size_t bytes;
} block_t;

static block_t *spares[SPARES];

static block_t *block_of(void *memory) { return (block_t *)((char *)memory - 64); }

/* The smallest block that is large enough; -1: there is none. */
static int best_fit(size_t bytes)
{
    int best = -1;
    for (int i = 0; i < SPARES; i++)
        if (spares[i] && spares[i]->bytes >= bytes && (best < 0 || spares[i]->bytes < spares[best]->bytes))
            best = i;
    return best;
}

void *take_memory(size_t bytes)
{
    int best = best_fit(bytes);
    if (best >= 0) {
        char *memory = (char *)spares[best] + 64;
        spares[best] = NULL;
        return memory;
    }
    char *allocated = bytes < SIZE_MAX - 128 ? malloc(bytes + 128) : NULL;
    if (!allocated)
        return NULL;
    char *memory = allocated + 128 - (uintptr_t)allocated % 64;
    *block_of(memory) = (block_t){allocated, bytes};
    return memory;
}

void leave_memory(void *memory)
{
    block_t *block = memory ? block_of(memory) : NULL;
    for (int i = 0; i < SPARES && block && block->bytes <= LARGEST; i++)
        if (!spares[i] || spares[i]->bytes < block->bytes) { /* the smallest go */
            block_t *smaller = spares[i];
            spares[i] = block;
            block = smaller;
        }
    if (block)
        free(block->allocated);
}
