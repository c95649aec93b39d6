/* Memory that a call leaves to the next one. What a program frees, malloc gives back to the system, page by page, and
 * must get again, cleared: that may take longer than the call (batch norm, 8x16384, two threads: forward 660 us, not
 * 170). A caller holds the GIL. */
#ifndef FASTOPT_SPARE_H
#define FASTOPT_SPARE_H
#include <stddef.h>

/* Memory of so many bytes, at the beginning of a cache line; NULL if there is none. */
void *take_memory(size_t bytes);

/* Leave it to the next call, or to others if it is too large to keep. NULL is nothing. */
void leave_memory(void *memory);

#endif
