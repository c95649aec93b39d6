"""Random flips, shifts and crops of image batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from fastopt.coefficients.ranges import ANY
from fastopt.common.messages import brief
from fastopt.common.types import Array, Real
from fastopt.data.host_arrays import host_array
from fastopt.engine.core.exchange import wrote
from fastopt.engine.core.hyperparameters import Hyperparameters, whole
from fastopt.engine.core.options import check_num_threads
from fastopt.engine.core.pins import pinned
from fastopt.engine.rows.augment import check_out, window
from fastopt.specs.random import purpose

Pair = tuple[int, int]

_of_flip = Hyperparameters("p")
_of_fill = Hyperparameters("fill", ranges={"fill": ANY})

#: The axis of the channels, by what ``axis`` may be.
CHANNELS = {1: 1, -3: 1, 3: 3, -1: 3}


class _Windows(NamedTuple):
    """The shape of a window, its first row and column, and the numbers of rows and columns at which it can begin."""

    shape: Pair
    first: Pair = (0, 0)
    positions: Pair = (1, 1)


def flip(
    x: Array,
    *,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    p: Real = 0.5,
    axis: SupportsIndex = 1,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Any:
    """Flip random images of a batch horizontally.

        out[i, :, row, column] = x[i, :, row, W - 1 - column] with probability p, else x[i, :, row, column]

    Parameters
    ----------
    x : array of any dtype
        Read; (N, C, H, W) with axis=1, (N, H, W, C) with axis=-1, and any strides.
    seed, offset
        See `fastopt.augment`.
    p : float in [0, 1]
        Probability that an image is flipped, rounded to a multiple of 2^-24.
    axis : {1, -1}
        The axis of the channels.
    out : array, optional
        Written and returned; of x's shape and dtype. It must not overlap x.
    num_threads : int, optional
        See `fastopt.updates`.

    Returns
    -------
    out : array
        out, or a new array of x's shape and dtype.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all of `fastopt.augment`.

    Notes
    -----
    torchvision's RandomHorizontalFlip and RandomCrop draw once for all images of a batch that is a tensor, from a
    generator with state. Keras' RandomFlip also flips vertically by default.

    References
    ----------
    A. Krizhevsky, I. Sutskever and G. Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
    section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.augment import flip
    >>> flip(np.array([[[[1, 2, 3]]], [[[4, 5, 6]]]], np.uint8), p=1.0, seed=1).tolist()
    [[[[3, 2, 1]]], [[[6, 5, 4]]]]
    """
    (probability,) = _of_flip(p)
    flips = round(probability * 2**24)
    return _copied("FLIP", x, seed, offset, axis, out, num_threads, _Windows, 0.0, flips)


def shift(
    x: Array,
    *,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    size: SupportsIndex | tuple[SupportsIndex, SupportsIndex],
    fill: Real = 0.0,
    axis: SupportsIndex = 1,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Any:
    """Shift each image by a random number of rows and columns.

        out[i, :, row, column] = x[i, :, row + r, column + s], or fill outside of the image
        r from -size[0] to size[0], s from -size[1] to size[1], with equal probability

    Parameters
    ----------
    x : array of any dtype
        Read; (N, C, H, W) with axis=1, (N, H, W, C) with axis=-1, and any strides.
    seed, offset
        See `fastopt.augment`.
    size : int >= 0, or two
        Largest shift in pixels, for both axes, or for rows and for columns. At most the height and width of the images.
    fill : float
        Value of the pixels outside the image: a finite number that x's dtype can store.
    axis : {1, -1}
        The axis of the channels.
    out : array, optional
        Written and returned; of x's shape and dtype. It must not overlap x.
    num_threads : int, optional
        See `fastopt.updates`.

    Returns
    -------
    out : array
        out, or a new array of x's shape and dtype.

    Raises
    ------
    ValueError, TypeError, BackendUnavailable
        As in all of `fastopt.augment`.

    Notes
    -----
    r and s are random numbers of 64 bits, modulo the number of shifts. Keras' RandomTranslation has sizes that are
    fractions of the image, interpolates, and mirrors the image at its edges by default; torchvision's
    RandomAffine(0, translate=...) has fractions, too.

    References
    ----------
    P. Simard, D. Steinkraus and J. Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document
    Analysis", 2003, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.augment import shift
    >>> shift(np.array([[[[1, 2, 3]]]] * 3, np.uint8), size=(0, 1), fill=9, seed=1).tolist()
    [[[[1, 2, 3]]], [[[1, 2, 3]]], [[[2, 3, 9]]]]
    """
    largest = _pair("size", size, 0)

    def plan(shape: Pair) -> _Windows:
        if largest[0] > shape[0] or largest[1] > shape[1]:
            raise ValueError(f"size is {largest}; expected at most {shape}, the height and width of the images")
        return _Windows(shape, (-largest[0], -largest[1]), (2 * largest[0] + 1, 2 * largest[1] + 1))

    return _copied("SHIFT", x, seed, offset, axis, out, num_threads, plan, fill)


def crop(
    x: Array,
    *,
    seed: SupportsIndex,
    offset: SupportsIndex = 0,
    shape: SupportsIndex | tuple[SupportsIndex, SupportsIndex],
    padding: SupportsIndex | tuple[SupportsIndex, SupportsIndex] = 0,
    fill: Real = 0.0,
    axis: SupportsIndex = 1,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Any:
    """Crop each image at a random position, with optional padding.

        out[i, :, row, column] = x[i, :, row + r, column + s], or fill outside of the image
        r from -padding[0] to H + padding[0] - shape[0], s from -padding[1] to W + padding[1] - shape[1],
        with equal probability

    Parameters
    ----------
    x : array of any dtype
        Read; (N, C, H, W) with axis=1, (N, H, W, C) with axis=-1, and any strides.
    seed, offset
        See `fastopt.augment`.
    shape : int >= 1, or two
        Height and width of the results.
    padding : int >= 0, or two
        Number of pixels added on each side, or above and below and on the left and right.
    fill : float
        Value of the padding: a finite number that x's dtype can store.
    axis : {1, -1}
        The axis of the channels.
    out : array, optional
        Written and returned; of the result's shape and x's dtype. It must not overlap x.
    num_threads : int, optional
        See `fastopt.updates`.

    Returns
    -------
    out : array
        out, or a new array of x's dtype: (N, C, h, w) with axis=1, (N, h, w, C) with axis=-1, where shape is (h, w).

    Raises
    ------
    ValueError
        If shape exceeds the shape of the padded images.
    TypeError, BackendUnavailable
        As in all of `fastopt.augment`.

    Notes
    -----
    r and s are random numbers of 64 bits, modulo the number of positions. torchvision's RandomCrop draws once for
    a batch (see `flip`). Keras' RandomCrop has no padding, and resizes images at test time.

    References
    ----------
    K. He, X. Zhang, S. Ren and J. Sun, "Deep Residual Learning for Image Recognition", 2016, section 4.2: 4 pixels of
    padding, and crops of 32 x 32.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.augment import crop
    >>> crop(np.arange(8).reshape(2, 1, 1, 4), shape=(1, 2), seed=1).tolist()
    [[[[2, 3]]], [[[5, 6]]]]
    """
    size, pad = _pair("shape", shape, 1), _pair("padding", padding, 0)

    def plan(shape: Pair) -> _Windows:
        largest = (shape[0] + 2 * pad[0], shape[1] + 2 * pad[1])
        if size[0] > largest[0] or size[1] > largest[1]:
            raise ValueError(f"shape is {size}; expected at most {largest}, the height and width of padded images")
        return _Windows(size, (-pad[0], -pad[1]), (largest[0] - size[0] + 1, largest[1] - size[1] + 1))

    return _copied("CROP", x, seed, offset, axis, out, num_threads, plan, fill)


def _copied(
    draws: str,
    x: Array,
    seed: SupportsIndex,
    offset: SupportsIndex,
    axis: SupportsIndex,
    out: Array | None,
    num_threads: int | None,
    plan: Callable[[Pair], _Windows],
    fill: Real,
    flips: int = 0,
) -> Any:
    """Copy a window of each image, as ``plan`` says for images of a height and width."""
    seed = whole("seed", seed, "a whole number from 0 to 2**64 - 1", 2**64 - 1, 0)
    offset = whole("offset", offset, "a whole number from 0 to 2**56 - 1", 2**56 - 1, 0)
    channels = _channels(axis)
    (value,) = _of_fill(fill)
    check_num_threads(num_threads)
    pins = pinned([x, out])  # before the code of others runs
    images = host_array("x", x)
    given = images if out is None else host_array("out", out)
    pins.extend(pinned([images, given]))
    if images.ndim != 4:
        expected = "(N, C, H, W) with axis=1, (N, H, W, C) with axis=-1"
        raise ValueError(f"x has shape {images.shape}; expected four axes: {expected}")
    images = np.moveaxis(images, channels, 1)
    if offset > 2**56 - len(images):
        raise ValueError(f"offset is {offset}; expected at most {2**56 - len(images)}, for x has {len(images)} samples")
    windows = plan((images.shape[2], images.shape[3]))
    shape = list(windows.shape)
    shape.insert(channels - 1, images.shape[1])
    line = _row(value, images.shape[1] * windows.shape[1], images.dtype)
    made = _target(images, (len(images), *shape), None if out is None else given)
    window(
        images, np.moveaxis(made, channels, 1), line, seed, offset, purpose(draws), windows.first, windows.positions,
        flips, num_threads,
    )  # fmt: skip
    if out is None:
        return made
    wrote([out])
    return out


def _target(images: NDArray[Any], shape: tuple[int, ...], out: NDArray[Any] | None) -> NDArray[Any]:
    """Return the array that is written, or raise."""
    if out is None:
        return np.empty(shape, images.dtype)
    if out.dtype != images.dtype:
        raise TypeError(f"out has dtype {out.dtype}; expected {images.dtype}, that of x")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}; expected {shape}")
    check_out(images, out)
    return out


def _channels(axis: SupportsIndex) -> int:
    """Return the axis of the channels, counted from the first."""
    expected = "1 for (N, C, H, W), or -1 for (N, H, W, C)"
    number = whole("axis", axis, expected, 3, -3)
    if number not in CHANNELS:
        raise ValueError(f"axis is {number}; expected {expected}")
    return CHANNELS[number]


def _pair(name: str, given: Any, lowest: int) -> Pair:
    """Return a number for rows and one for columns."""
    expected = f"a whole number from {lowest} to 2**31 - 1, or two, of rows and columns"
    both = given if isinstance(given, (tuple, list)) else (given, given)
    if len(both) != 2:
        raise ValueError(f"{name} is {brief(given)}; expected {expected}")
    rows, columns = (whole(name, each, expected, 2**31 - 1, lowest) for each in both)
    return rows, columns


def _row(value: float, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a row of fill values, or raise for a value that the dtype can't store."""
    row = np.zeros(count, dtype)
    if value:
        with np.errstate(all="ignore"):
            try:
                row[...] = stored = np.asarray(value).astype(dtype)
                fits = bool(stored == value if dtype.kind in "iub" else np.isfinite(stored))
            except (TypeError, ValueError):
                fits = False
        if not fits:
            raise ValueError(f"fill is {value}; expected a number that {dtype} can store")
    return row
