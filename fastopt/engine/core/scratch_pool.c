#include "core/scratch_pool.h"
#include "core/tuning.h"
#include "core/util.h"
#include <stdint.h>
#include <stdlib.h>

/* The header of a block, in a separate cache line. */
typedef struct {
    void *allocated;
    size_t bytes;
} pooled_t;

static pooled_t *pool[POOLED_BLOCKS];

static pooled_t *block_of(void *memory) { return (pooled_t *)((char *)memory - CACHE_LINE); }

/* The smallest block that is large enough; -1 if none is. */
static int best_fit(size_t bytes)
{
    int best = -1;
    for (int i = 0; i < POOLED_BLOCKS; i++)
        if (pool[i] && pool[i]->bytes >= bytes && (best < 0 || pool[i]->bytes < pool[best]->bytes))
            best = i;
    return best;
}

void *take_memory(size_t bytes)
{
    int best = best_fit(bytes);
    if (best >= 0) {
        char *memory = (char *)pool[best] + CACHE_LINE;
        pool[best] = NULL;
        return memory;
    }
    char *allocated = bytes < SIZE_MAX - 2 * CACHE_LINE ? malloc(bytes + 2 * CACHE_LINE) : NULL;
    if (!allocated)
        return NULL;
    char *memory = allocated + 2 * CACHE_LINE - (uintptr_t)allocated % CACHE_LINE;
    *block_of(memory) = (pooled_t){allocated, bytes};
    return memory;
}

void leave_memory(void *memory)
{
    pooled_t *block = memory ? block_of(memory) : NULL;
    for (int i = 0; i < POOLED_BLOCKS && block && block->bytes <= LARGEST_POOLED; i++)
        if (!pool[i] || pool[i]->bytes < block->bytes) { /* free the smallest blocks */
            pooled_t *evicted = pool[i];
            pool[i] = block;
            block = evicted;
        }
    if (block)
        free(block->allocated);
}
