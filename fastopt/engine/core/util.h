/* Small functions that every part of the engine uses. */
#ifndef FASTOPT_UTIL_H
#define FASTOPT_UTIL_H
#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE 64 /* bytes */

#define MAX_DIMS 64 /* axes of an array, as in NumPy */

static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
static inline ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* The absolute value of a stride. */
static inline ptrdiff_t magnitude(ptrdiff_t stride) { return stride < 0 ? -stride : stride; }

/* Bytes from an address to the next cache line: 0 if it is aligned to one. */
static inline ptrdiff_t bytes_to_line(const void *address) { return (ptrdiff_t)(-(uintptr_t)address % CACHE_LINE); }

/* Round a number of bytes up to whole cache lines. */
static inline size_t whole_lines(size_t bytes) { return (bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1); }

/* Prefetch memory that will be read soon. */
static inline void prefetch_l1(const void *address, ptrdiff_t bytes)
{
#ifdef __GNUC__
    for (ptrdiff_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch((const char *)address + i);
#else
    (void)address, (void)bytes;
#endif
}

/* Prefetch memory that will be read later into the second-level cache, which leaves the first-level one unchanged. */
static inline void prefetch_l2(const void *address, ptrdiff_t bytes)
{
#ifdef __GNUC__
    for (ptrdiff_t i = 0; i < bytes; i += CACHE_LINE)
        __builtin_prefetch((const char *)address + i, 0, 2);
#else
    (void)address, (void)bytes;
#endif
}

#endif
