/* The level of the x86-64 instruction set that this processor supports: 1 to 4; 0 on other processors. The build also
 * includes this file. */
#ifndef FASTOPT_CPU_H
#define FASTOPT_CPU_H

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
static int x86_level(void)
{
    unsigned a, b, c, d;
    __builtin_cpu_init();
    /* The builtin also checks that the operating system saves the wide registers. */
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt"))
        return 1;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 29)) || !(c & (1u << 22)))  /* F16C, MOVBE */
        return 2;
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !(c & (1u << 5)))  /* LZCNT */
        return 2;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi")
        || !__builtin_cpu_supports("bmi2"))
        return 2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw")
        || !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq")
        || !__builtin_cpu_supports("avx512vl"))
        return 3;
    return 4;
}
#else
static int x86_level(void) { return 0; }
#endif

#endif
