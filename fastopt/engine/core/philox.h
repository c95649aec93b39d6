/* Philox 4x32-10: random bits that are a function of a key and a counter, independent of the order of calls. See
 * J. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.
 *
 * This is the only implementation in C, for one counter and for vectors of counters; fastopt/backends/cuda/random.py
 * has the one for devices. PHILOX defines a function that replaces the four words of N counters by random words. A word
 * is the lower half of 64 bits, and the upper half is never read, so that a vector's products need no shuffling. gcc's
 * vectors of 32-bit words take 1.2 to 2.2 times as long. */
#ifndef FASTOPT_PHILOX_H
#define FASTOPT_PHILOX_H
#include "fastopt_specs.h"
#include <stdint.h>

/* The purpose of the bits (enum purpose, from fastopt/specs/random.py) is the counter's highest byte: two purposes
 * never share bits, whatever their seeds and offsets. Stochastic rounding (codecs.c) stores the step there; its
 * highest byte is 0 for the first 2^24 steps. */

/* WORD is uint64_t or a vector of uint64_t; PRODUCT multiplies the lower halves of two words. */
#define PHILOX(name, WORD, N, PRODUCT)                                                            \
    static inline void name(WORD x[4][N], WORD key0, WORD key1)                                   \
    {                                                                                             \
        const WORD none = {0}, factor0 = none + 0xD2511F53, factor1 = none + 0xCD9E8D57;          \
        _Pragma("GCC unroll 10") for (int round = 0; round < 10; round++) {                       \
            _Pragma("GCC unroll 8") for (int i = 0; i < N; i++) {                                 \
                WORD a = PRODUCT(factor0, x[0][i]), b = PRODUCT(factor1, x[2][i]);                \
                x[0][i] = (b >> 32) ^ x[1][i] ^ key0;                                             \
                x[2][i] = (a >> 32) ^ x[3][i] ^ key1;                                             \
                x[1][i] = b;                                                                      \
                x[3][i] = a;                                                                      \
            }                                                                                     \
            key0 += 0x9E3779B9;                                                                   \
            key1 += 0xBB67AE85;                                                                   \
        }                                                                                         \
    }

#define PHILOX_PRODUCT(a, b) ((a) * (uint32_t)(b))
PHILOX(philox_one, uint64_t, 1, PHILOX_PRODUCT)

/* Replace the counter's four words by random words. */
static inline void philox(uint32_t x[4], uint32_t key0, uint32_t key1)
{
    uint64_t words[4][1] = {{x[0]}, {x[1]}, {x[2]}, {x[3]}};
    philox_one(words, key0, key1);
    for (int i = 0; i < 4; i++)
        x[i] = (uint32_t)words[i][0];
}

#endif
