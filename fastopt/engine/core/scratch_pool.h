/* A pool of scratch memory that calls reuse. Memory freed to malloc is returned to the system, and cleared pages must
 * be requested again, which may take longer than the call (batch norm, 8x16384, two threads: forward 660 us, 170 with
 * the pool). The caller must hold the GIL. */
#ifndef FASTOPT_SCRATCH_POOL_H
#define FASTOPT_SCRATCH_POOL_H
#include <stddef.h>

/* Return a block of at least so many bytes, aligned to a cache line; NULL if memory is exhausted. */
void *take_memory(size_t bytes);

/* Return a block to the pool, or free it if it is too large. NULL is allowed. */
void leave_memory(void *memory);

#endif
