/* Runs units of work on several threads. */
#ifndef FASTOPT_PARALLEL_FOR_H
#define FASTOPT_PARALLEL_FOR_H
#include <stddef.h>

/* Runs the units first, first + 1, ..., last - 1; `thread` is the thread's number, starting at 0. */
typedef void (*range_fn)(void *argument, int thread, ptrdiff_t first, ptrdiff_t last);

/* Run units 0, 1, ..., units - 1 in any order on at most so many threads, including the caller's, all in the
 * floating-point mode of kernels. A thread takes at most largest_chunk units at a time. */
void parallel_for(range_fn run, void *argument, ptrdiff_t units, ptrdiff_t largest_chunk, int threads);

/* A pointer to parallel_for: other modules of the package are not linked with this one. */
typedef void (*parallel_for_fn)(range_fn run, void *argument, ptrdiff_t units, ptrdiff_t largest_chunk, int threads);

#endif
