# cython: language_level=3
"""Which of the instruction sets that kernels are built for this processor has."""

cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <cpuid.h>
    static int x86_level(void)
    {
        unsigned a, b, c, d;
        __builtin_cpu_init();
        /* The builtin also asks whether the operating system saves the wide registers. */
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
    """
    int x86_level()


def supported_isas() -> list:
    """Return the names of the instruction sets that run here, the widest last."""
    return ["plain"] + [f"x86-64-v{level}" for level in range(2, x86_level() + 1)]
