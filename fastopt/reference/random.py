"""The plain formulas of random functions, in NumPy and float64: the oracle of the tests, ``backend="reference"``."""

from __future__ import annotations

from math import erf, erfc, inf, prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Constants of fastopt/engine/core/draw.h.
INITIAL, INITIAL_MORE, DROPOUT, NOISE, NOISE_MORE = 1, 2, 3, 5, 6

WORD = np.uint64(0xFFFFFFFF)

Words = NDArray[np.uint64]
Shape = tuple[int, ...]


def philox(counter: Words, key: Words) -> Words:
    """Return Philox 4x32-10 of counters (..., 4) and keys (..., 2), in words of 32 bits (Salmon et al., 2011)."""
    c0, c1, c2, c3 = np.moveaxis(counter.astype(np.uint64), -1, 0)
    key0, key1 = np.moveaxis(key.astype(np.uint64), -1, 0)
    half = np.uint64(32)
    for _ in range(10):
        product0, product1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1 = (product1 >> half) ^ c1 ^ key0, product1 & WORD
        c2, c3 = (product0 >> half) ^ c3 ^ key1, product0 & WORD
        key0, key1 = (key0 + np.uint64(0x9E3779B9)) & WORD, (key1 + np.uint64(0xBB67AE85)) & WORD
    return np.stack([c0, c1, c2, c3], -1)


def bits(shape: Shape, seed: int, offset: int, purpose: int) -> Words:
    """Return 32 bits for each element: word i % 4 of counter i // 4, where i is the index in C order."""
    elements = prod(shape)
    block = np.arange((elements + 3) // 4, dtype=np.uint64)
    tweak = offset + (purpose << 56)
    counter = np.empty((block.size, 4), np.uint64)
    counter[:, 0], counter[:, 1] = block & WORD, block >> np.uint64(32)
    counter[:, 2], counter[:, 3] = tweak & 0xFFFFFFFF, tweak >> 32
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint64)
    drawn: Words = philox(counter, key).reshape(-1)[:elements].reshape(shape)
    return drawn


def _all_bits(shape: Shape, dtype: str, seed: int, offset: int, purposes: tuple[int, int]) -> Words:
    """Return 64 bits for each element; for float32, the lower 32 are 0."""
    word: Words = bits(shape, seed, offset, purposes[0]) << np.uint64(32)
    return word if dtype == "float32" else word | bits(shape, seed, offset, purposes[1])


def uniform(
    shape: Shape,
    dtype: str,
    seed: int,
    offset: int,
    low: float,
    high: float,
    purposes: tuple[int, int] = (INITIAL, INITIAL_MORE),
) -> NDArray[np.float64]:
    """Return numbers in [low, high), from the first 24 bits, or from the first 27 and 26 of the second half."""
    word = _all_bits(shape, dtype, seed, offset, purposes)
    if dtype == "float32":
        fraction = (word >> np.uint64(40)) * 2.0**-24
    else:
        first, second = word >> np.uint64(37), (word & WORD) >> np.uint64(6)
        fraction = (first * 2.0**26 + second) * 2.0**-53
    return np.asarray(low + (high - low) * fraction)


def normal(
    shape: Shape,
    dtype: str,
    seed: int,
    offset: int,
    mean: float,
    std: float,
    bound: float = inf,
    purposes: tuple[int, int] = (INITIAL, INITIAL_MORE),
) -> NDArray[np.float64]:
    """Return normal numbers: the quantiles given by the bits, of which the highest is the sign."""
    word = _all_bits(shape, dtype, seed, offset, purposes)
    magnitude = (word >> np.uint64(32)) & np.uint64(0x7FFFFFFF)
    if dtype == "float32":
        above, total = magnitude + 0.5, 2.0**31
    else:
        above, total = magnitude * 2.0**21 + ((word & WORD) >> np.uint64(11)) + 0.5, 2.0**52
    # The tail beyond |z|, on one side: half of 1 - x, where x is uniform over the part within the bound.
    tail = (erfc(bound / sqrt(2)) + erf(bound / sqrt(2)) * (total - above) / total) / 2
    from statistics import NormalDist  # imported here because it takes 5 ms

    quantile = NormalDist().inv_cdf
    size = np.array([-quantile(each) for each in tail.reshape(-1)]).reshape(shape)
    return mean + std * np.where(word >> np.uint64(63), -size, size)


def noise(x: NDArray[Any], dtype: str, seed: int, offset: int, std: float) -> NDArray[np.float64]:
    """Return x with normal noise."""
    with np.errstate(all="ignore"):
        return x.astype(np.float64) + normal(x.shape, dtype, seed, offset, 0.0, std, purposes=(NOISE, NOISE_MORE))


def uniform_noise(x: NDArray[Any], dtype: str, seed: int, offset: int, std: float) -> NDArray[np.float64]:
    """Return x with uniform noise, from -std to below std."""
    with np.errstate(all="ignore"):
        return x.astype(np.float64) + uniform(x.shape, dtype, seed, offset, -std, std, (NOISE, NOISE_MORE))


def dropout(x: NDArray[Any], p: float, scale: float, seed: int, offset: int) -> NDArray[np.float64]:
    """Return scale * x where an element is kept, and zeros elsewhere."""
    kept = bits(x.shape, seed, offset, DROPOUT) >> np.uint64(8) >= round(p * 2**24)
    with np.errstate(all="ignore"):
        return np.where(kept, scale * x.astype(np.float64), 0.0)
