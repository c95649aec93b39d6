/* A pool of scratch memory, which one call leaves to the next. malloc returns freed memory to the system, page by
 * page, and must get cleared pages again: that may take longer than the call (batch norm, 8x16384, two threads:
 * forward 660 us, not 170). A caller holds the GIL. */
#ifndef FASTOPT_SCRATCH_POOL_H
#define FASTOPT_SCRATCH_POOL_H
#include <stddef.h>

/* Return memory of so many bytes, at the beginning of a cache line; NULL if there is none. */
void *take_memory(size_t bytes);

/* Leave memory to the next call, or free it if it is too large to keep. NULL is allowed. */
void leave_memory(void *memory);

#endif
