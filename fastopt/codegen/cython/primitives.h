/* The C versions of fastopt/primitives.py, one per compute type. */
#ifndef FASTOPT_PRIMITIVES_H
#define FASTOPT_PRIMITIVES_H
#include <math.h>

#define PRIMITIVES(T, dtype, suffix)                                                                  \
    static inline T fabs_##dtype(T x) { return fabs##suffix(x); }                                      \
    static inline T sqrt_##dtype(T x) { return sqrt##suffix(x); }                                      \
    static inline T sign_##dtype(T x) { return fabs##suffix(x) > (T)0 ? copysign##suffix((T)1, x) : x; } \
    static inline T relu_##dtype(T x) { return x <= (T)0 ? (T)0 : x; }                                  \
    static inline T gate_##dtype(T dy, T y) { return y <= (T)0 ? (T)0 : dy; }

PRIMITIVES(float, float32, f)
PRIMITIVES(double, float64, )

#endif
