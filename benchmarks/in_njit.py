"""Measures `fastopt.numba.adam` in a compiled function, and a handwritten loop: ``python -m benchmarks.in_njit``."""

from __future__ import annotations

from math import sqrt
from statistics import median
from time import perf_counter

import numba
import numpy as np

import fastopt.numba

SIZES = {1000: 2000, 100_000: 40, 1_000_000: 4}  # elements, and calls per sample
SAMPLES = 200


@numba.njit
def by_fastopt(param, grad, m, v, calls):
    """Updates by the library's functions."""
    for step in range(1, calls + 1):
        fastopt.numba.adam(param, grad, m, v, step=step)


@numba.njit(error_model="numpy")
def by_hand(param, grad, m, v, calls):
    """Optimised handwritten updates: one division, float32 scalars, no checks."""
    beta1, beta2, eps = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
    gain1, gain2 = np.float32(1 - 0.9), np.float32(1 - 0.999)
    for step in range(1, calls + 1):
        step_size = np.float32(1e-3 / (1 - 0.9 ** float(step)))
        correction = np.float32(1 / sqrt(1 - 0.999 ** float(step)))
        for i in range(param.size):
            m[i] = beta1 * m[i] + gain1 * grad[i]
            v[i] = beta2 * v[i] + gain2 * (grad[i] * grad[i])
            param[i] -= step_size * m[i] / (sqrt(v[i]) * correction + eps)


def sample(function, arrays, calls: int) -> float:
    """Return the time of one call in microseconds."""
    begin = perf_counter()
    function(*arrays, calls)
    return (perf_counter() - begin) / calls * 1e6


def main() -> None:
    """Print the medians, and the median ratio of consecutive samples."""
    rng = np.random.default_rng(0)
    for size, calls in SIZES.items():
        arrays = [np.abs(rng.standard_normal(size, np.float32)) for _ in range(4)]
        for function in (by_fastopt, by_hand):
            sample(function, arrays, 1)
        pairs = [(sample(by_fastopt, arrays, calls), sample(by_hand, arrays, calls)) for _ in range(SAMPLES)]
        ours, theirs = (median(times) for times in zip(*pairs, strict=True))
        ratio = median(a / b for a, b in pairs)
        print(f"{size:>9,} elements: fastopt.numba.adam {ours:8.2f} us, by hand {theirs:8.2f} us, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
