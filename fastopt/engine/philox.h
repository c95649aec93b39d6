/* Philox 4x32-10: random bits that are a function of a key and a counter, so that no order of calls matters
 * (J. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011). */
#ifndef FASTOPT_PHILOX_H
#define FASTOPT_PHILOX_H
#include <stdint.h>

/* Replace the counter's four words by random ones. */
static inline void philox(uint32_t x[4], uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53 * x[0], b = (uint64_t)0xCD9E8D57 * x[2];
        uint32_t y0 = (uint32_t)(b >> 32) ^ x[1] ^ key0, y2 = (uint32_t)(a >> 32) ^ x[3] ^ key1;
        x[1] = (uint32_t)b;
        x[3] = (uint32_t)a;
        x[0] = y0;
        x[2] = y2;
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
}

#endif
