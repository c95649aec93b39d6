/* The C versions of fastopt/rules/random_primitives.py, one per compute type. Bits to convert are below 2^31, so they
 * are an int32_t: every instruction set can convert vectors of int32_t. */
#ifndef FASTOPT_RANDOM_PRIMITIVES_H
#define FASTOPT_RANDOM_PRIMITIVES_H
#include <stdint.h>
#include <string.h>

#define RANDOM_PRIMITIVES(T, dtype, BITS, DIGITS, ONE, ROOT_HALF)                                                \
    static inline BITS bits_of_##dtype(T x) { BITS u; memcpy(&u, &x, sizeof u); return u; }                       \
    static inline T of_bits_##dtype(BITS u) { T x; memcpy(&x, &u, sizeof x); return x; }                          \
    static inline T top21_##dtype(uint32_t bits) { return (T)(int32_t)(bits >> 11); }                             \
    static inline T top24_##dtype(uint32_t bits) { return (T)(int32_t)(bits >> 8); }                              \
    static inline T top26_##dtype(uint32_t bits) { return (T)(int32_t)(bits >> 6); }                              \
    static inline T top27_##dtype(uint32_t bits) { return (T)(int32_t)(bits >> 5); }                              \
    static inline T low31_##dtype(uint32_t bits) { return (T)(int32_t)(bits & 0x7fffffff); }                      \
    static inline T other31_##dtype(uint32_t bits) { return (T)(int32_t)(~bits & 0x7fffffff); }                   \
    static inline T signed_##dtype(T x, uint32_t bits)                                                            \
    {                                                                                                             \
        return of_bits_##dtype(bits_of_##dtype(x) ^ (BITS)(bits >> 31) << (sizeof(T) * 8 - 1));                   \
    }                                                                                                             \
    static inline T exponent_##dtype(T x)                                                                         \
    {                                                                                                             \
        return (T)((int32_t)((bits_of_##dtype(x) + (ONE - ROOT_HALF)) >> DIGITS) - (int32_t)(ONE >> DIGITS));     \
    }                                                                                                             \
    static inline T mantissa_##dtype(T x)                                                                         \
    {                                                                                                             \
        BITS u = bits_of_##dtype(x) + (ONE - ROOT_HALF);                                                          \
        return of_bits_##dtype((u & (((BITS)1 << DIGITS) - 1)) + ROOT_HALF);                                      \
    }

RANDOM_PRIMITIVES(float, float32, uint32_t, 23, 0x3f800000u, 0x3f3504f3u)
RANDOM_PRIMITIVES(double, float64, uint64_t, 52, 0x3ff0000000000000u, 0x3fe6a09e667f3bcdu)

#endif
