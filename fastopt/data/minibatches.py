"""Mini-batches: shuffled epochs over arrays, gathered into reused buffers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Literal, SupportsIndex, TypedDict, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from fastopt.common.display import Display, keywords, number_of
from fastopt.common.guarded import Guarded
from fastopt.common.messages import brief
from fastopt.common.types import Array, Unpack
from fastopt.data.host_arrays import host_array
from fastopt.engine.core.hyperparameters import flag, whole
from fastopt.engine.core.options import check_num_threads
from fastopt.engine.core.pins import pinned
from fastopt.engine.rows.gather import gather, shuffle

#: A batch has the structure of the arrays: one array, a tuple, or a dict.
Batch = TypeVar("Batch")

SEED = "None or a whole number from 0 to 2**64 - 1"
EPOCH = "a whole number from 0 to 2**56 - 1"
SAMPLES = "arrays, or a number of samples from 1 to 2**59"

#: Parameters besides the seed that must be equal for equal batches.
FIXED = ("samples", "batch_size", "shuffle", "drop_last")


class MiniBatches(Guarded, Display, Generic[Batch]):
    """Epochs of mini-batches, as `fastopt.minibatches` returns them: each pass over the object is the next epoch.

    Attributes
    ----------
    samples, batch_size : int
        Samples in an epoch; samples in a batch, except that the last may be shorter.
    seed : int
        The seed, also if none was given.
    epoch : int
        The epoch of the current or last pass; before any pass, the first epoch.
    shuffle, drop_last : bool
        Whether each epoch has its own order; whether a short last batch is omitted.

    All attributes are read-only; use ``load_state_dict`` to change the epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import minibatches
    >>> batches = minibatches(np.arange(10.0), batch_size=4, seed=1)
    >>> len(batches), [len(batch) for batch in batches]
    (3, [4, 4, 2])
    """

    _instead = dict.fromkeys(FIXED, "fastopt.minibatches makes others") | dict.fromkeys(
        ("epoch", "seed"), "call load_state_dict"
    )

    def __init__(
        self,
        arrays: tuple[Any, ...],
        batch_size: SupportsIndex,
        seed: SupportsIndex | None,
        shuffle: bool,
        drop_last: bool,
        epoch: SupportsIndex,
        indices_only: bool,
        copy: bool,
        num_threads: int | None,
    ):
        self.batch_size = whole("batch_size", batch_size, "a whole number from 1 to 2**63 - 1")
        self.seed = secrets.randbits(64) if seed is None else whole("seed", seed, SEED, 2**64 - 1, 0)
        self.shuffle = flag("shuffle", shuffle)
        self.drop_last = flag("drop_last", drop_last)
        self.epoch = whole("epoch", epoch, EPOCH, 2**56 - 1, 0)
        self._indices_only = flag("indices_only", indices_only)
        self._copy = flag("copy", copy)
        check_num_threads(num_threads)
        self._num_threads = num_threads
        self._names = tuple(arrays[0]) if len(arrays) == 1 and isinstance(arrays[0], Mapping) else None
        self._arrays, self.samples, self._pins = _checked(arrays, self._indices_only)
        if self.drop_last and self.samples < self.batch_size:
            raise ValueError(
                f"batch_size is {self.batch_size}; expected at most {self.samples}, the number of samples, "
                "with drop_last: there would be no batch"
            )
        self._numbers = np.arange(self.samples, dtype=np.int64)
        self._buffers: tuple[NDArray[Any], ...] | None = None
        #: The position of the next batch, and the current pass, if any.
        self._position = (self.epoch, 0)
        self._pass: object = None

    def _parts(self) -> list[str]:
        options = {name: getattr(self, name) for name in ("batch_size", "shuffle", "drop_last", "seed", "epoch")}
        return [number_of(self.samples, "sample"), *keywords(options)]

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy, which continues from the same position with its own memory."""
        return {**self.__dict__, "_numbers": self._numbers.copy(), "_buffers": None, "_pass": None, "_pins": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pins = pinned(self._arrays)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        whole_batches, rest = divmod(self.samples, self.batch_size)
        return int(whole_batches + (rest > 0 and not self.drop_last))

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the rest of the current epoch. If a loop is left early, the rest of its epoch is skipped."""
        if self._pass is not None:
            self._leave()
        epoch, first = self._position
        vars(self)["epoch"] = whole("epoch", epoch, EPOCH, 2**56 - 1, 0)
        this_pass = self._pass = object()
        size, batches = self.batch_size, len(self)
        try:
            if self.shuffle:
                shuffle(self._numbers, self.seed, epoch)
            for number in range(first, batches):
                if self._pass is not this_pass:
                    raise RuntimeError(
                        "another pass over these batches has begun; expected one at a time: they share memory"
                    )
                batch = self._batch(self._numbers[number * size : (number + 1) * size])
                self._position = (epoch, number + 1) if number + 1 < batches else (epoch + 1, 0)
                yield batch
        finally:  # also if a loop is left: Python then closes its iterator, unless something refers to it
            if self._pass is this_pass:
                self._leave()

    def _leave(self) -> None:
        """End the current pass: the next batch is the first of the next epoch."""
        self._pass, self._position = None, (self.epoch + 1, 0)

    def _batch(self, numbers: NDArray[np.int64]) -> Any:
        if self._indices_only:
            if self._copy:
                return numbers.copy()
            numbers.flags.writeable = False
            return numbers
        outs = self._outs(len(numbers))
        gather(self._arrays, outs, numbers, self._num_threads)
        if self._names is not None:
            return dict(zip(self._names, outs, strict=True))
        return outs if len(outs) > 1 else outs[0]

    def _outs(self, count: int) -> tuple[NDArray[Any], ...]:
        """Return memory for a batch: new, or the same as for the previous batch."""
        if self._copy:
            return _empty(self._arrays, count)
        if self._buffers is None:
            self._buffers = _empty(self._arrays, min(self.batch_size, self.samples))
        return tuple([buffer[:count] for buffer in self._buffers])  # new views, because callers may set shape and dtype

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the next batch, and the parameters that determine it: numbers and flags.

        In a loop over the batches, that is the next batch of this epoch; after the loop, finished or left early, it is
        the first of the next epoch. A loop has not ended while its iterator is referenced and not closed.

        Examples
        --------
        >>> import numpy as np
        >>> from fastopt import minibatches
        >>> batches = minibatches(np.arange(6), batch_size=2, seed=3)
        >>> batches.state_dict()
        {'seed': 3, 'epoch': 0, 'batch': 0, 'samples': 6, 'batch_size': 2, 'shuffle': True, 'drop_last': False}
        """
        epoch, batch = self._position
        fixed = {name: getattr(self, name) for name in FIXED}
        return {"seed": self.seed, "epoch": epoch, "batch": batch, **fixed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the next pass from the position of `state_dict`. After an error, nothing has changed.

        Seed and position are those of the state; samples, batch_size, shuffle and drop_last must be the same.

        Examples
        --------
        >>> import numpy as np
        >>> from fastopt import minibatches
        >>> batches, again = (minibatches(np.arange(6), batch_size=2, copy=True) for _ in range(2))
        >>> walk = iter(batches)
        >>> _ = next(walk)
        >>> again.load_state_dict(batches.state_dict())
        >>> np.array_equal(np.concatenate(list(walk)), np.concatenate(list(again)))
        True
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state is a {type(state).__name__}; expected a dict, as state_dict returns it")
        own = self.state_dict()
        if missing := [name for name in own if name not in state]:
            raise ValueError(f"state lacks {', '.join(map(repr, missing))}")
        if foreign := [name for name in state if name not in own]:
            raise ValueError(f"state has {', '.join(map(repr, foreign))}; expected only {', '.join(own)}")
        for name in FIXED:
            if state[name] != own[name]:
                raise ValueError(f"{name} is {brief(state[name])}; expected {own[name]!r}, as in this object")
        seed = whole("seed", state["seed"], "a whole number from 0 to 2**64 - 1", 2**64 - 1, 0)
        epoch = whole("epoch", state["epoch"], "a whole number from 0 to 2**56", 2**56, 0)  # 2**56: after the last
        last = len(self) - 1
        batch = whole("batch", state["batch"], f"a whole number from 0 to {last}", last, 0)
        vars(self).update(seed=seed, epoch=epoch, _pass=None, _position=(epoch, batch))


class _Options(TypedDict, total=False):
    """The keyword arguments of `minibatches` except the required ones and ``indices_only``."""

    seed: SupportsIndex | None
    shuffle: bool
    drop_last: bool
    epoch: SupportsIndex
    copy: bool
    num_threads: int | None


@overload
def minibatches(
    arrays: Mapping[str, Array], /, *,
    batch_size: SupportsIndex, indices_only: Literal[False] = ..., **options: Unpack[_Options],
) -> MiniBatches[dict[str, NDArray[Any]]]: ...  # fmt: skip
@overload
def minibatches(
    array: Array, /, *, batch_size: SupportsIndex, indices_only: Literal[False] = ..., **options: Unpack[_Options],
) -> MiniBatches[NDArray[Any]]: ...  # fmt: skip
@overload
def minibatches(
    first: Array, second: Array, /, *more: Array,
    batch_size: SupportsIndex, indices_only: Literal[False] = ..., **options: Unpack[_Options],
) -> MiniBatches[tuple[NDArray[Any], ...]]: ...  # fmt: skip
@overload
def minibatches(
    *arrays: Array | Mapping[str, Array],
    batch_size: SupportsIndex, indices_only: Literal[True], **options: Unpack[_Options],
) -> MiniBatches[NDArray[np.int64]]: ...  # fmt: skip
@overload
def minibatches(
    *arrays: Array | Mapping[str, Array], batch_size: SupportsIndex, indices_only: bool, **options: Unpack[_Options],
) -> MiniBatches[Any]: ...  # fmt: skip
def minibatches(
    *arrays: Array | Mapping[str, Array],
    batch_size: SupportsIndex,
    seed: SupportsIndex | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    epoch: SupportsIndex = 0,
    indices_only: bool = False,
    copy: bool = False,
    num_threads: int | None = None,
) -> MiniBatches[Any]:
    """Iterate over shuffled mini-batches: samples in an order determined by a seed, gathered into reused buffers.

        batch b of an epoch = x[order[b * batch_size : (b + 1) * batch_size]]
        order = a permutation that depends only on seed, epoch and the number of samples

    Each pass over the returned object is one epoch. A batch has the structure of arrays: an array for one, a tuple for
    several, a dict for a dict. **It is valid until the next batch**, which is written into the same memory, so that
    training allocates nothing. With ``copy``, each batch has its own memory.

    Parameters
    ----------
    arrays : array, several, or one dict of them
        Read; of any dtype without Python objects, shape and strides, in host memory (NumPy, DLPack or buffer protocol).
        The first axis is the sample axis, of the same length in all. Of a `numpy.memmap`, only the samples of a batch
        are read. Batches of bfloat16 that comes through DLPack are uint16, with the same bits. With ``indices_only``, a
        number of samples up to 2**59 may be given instead.
    batch_size : int
        Samples in a batch, from 1 to 2**63 - 1. If it exceeds the number of samples, there is one short batch.
    seed : int, optional
        From 0 to 2**64 - 1. None draws a random seed, which is then the attribute ``seed``.
    shuffle : bool
        Whether each epoch has its own order, or that of the arrays.
    drop_last : bool
        Whether to omit the last batch if it is short.
    epoch : int
        Epoch of the first pass, from 0 to 2**56 - 1.
    indices_only : bool
        Whether a batch consists of the indices of its samples (read-only, int64), without their data.
    copy : bool
        Whether each batch has its own memory.
    num_threads : int, optional
        See `fastopt.updates`.

    Returns
    -------
    MiniBatches
        ``len`` is the number of batches in an epoch. ``epoch`` is the epoch of the current pass. With ``state_dict()``
        and ``load_state_dict(state)``, training can continue within an epoch, with the same batches.

    Raises
    ------
    ValueError
        If there are no samples, or the arrays differ in their number; if an array has no axis; if batch_size is below
        1, or with drop_last above the number of samples; if seed or epoch is out of its range; or in a pass after epoch
        2**56 - 1, the last one.
    TypeError
        If an argument is no array or holds Python objects, a number is not an integer, or a flag is not True or False.
    BackendUnavailable
        If an array is on a CUDA device.

    Notes
    -----
    The permutation is the Fisher-Yates shuffle of 0, 1, ..., with 64-bit numbers r that Philox 4x32-10 computes from
    the key ``seed`` and the counters (0, epoch + 2^58), (1, epoch + 2^58), ...: for i from the last position down to 1,
    position i is swapped with position r mod (i + 1); values of r at or above the largest multiple of i + 1 are
    rejected. It is the same on every machine, with every version of NumPy, and on any number of threads.

    If a loop is left early, the rest of its epoch is skipped. A pass begins within an epoch only after a state that was
    taken in a loop is loaded. Only one pass runs at a time: an older one raises RuntimeError when it requests its next
    batch. A copy (`copy.copy`) continues independently from the position of its original.

    PyTorch's DataLoader allocates each batch anew and collates it from single samples. It draws its order from a
    generator, so the order depends on what else has drawn from it.

    References
    ----------
    R. Durstenfeld, "Algorithm 235: Random Permutation", 1964. J. Salmon et al., "Parallel Random Numbers: As Easy as
    1, 2, 3", 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import minibatches
    >>> x, labels = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6)
    >>> batches = minibatches(x, labels, batch_size=4, seed=0)
    >>> for epoch in range(2):
    ...     for xb, yb in batches:
    ...         print(batches.epoch, yb, xb[:, 0])
    0 [5 3 1 0] [10.  6.  2.  0.]
    0 [2 4] [4. 8.]
    1 [0 2 3 5] [ 0.  4.  6. 10.]
    1 [4 1] [8. 2.]
    """
    return MiniBatches(arrays, batch_size, seed, shuffle, drop_last, epoch, indices_only, copy, num_threads)


def _empty(arrays: tuple[NDArray[Any], ...], count: int) -> tuple[NDArray[Any], ...]:
    return tuple(np.empty((count, *array.shape[1:]), array.dtype) for array in arrays)


# ---- Intake: rows are treated as bytes, so arrays may have any dtype, even those without arithmetic


def _checked(given: tuple[Any, ...], indices_only: bool) -> tuple[tuple[NDArray[Any], ...], int, Any]:
    """Return the arrays, the number of samples, and the objects that keep their memory alive."""
    if not given or (isinstance(given[0], Mapping) and not given[0]):
        raise TypeError("arrays are none; expected one or more, or a dict of them")
    if len(given) == 1 and isinstance(given[0], Mapping):
        by_name = {f"arrays[{name!r}]": array for name, array in given[0].items()}
    elif indices_only and len(given) == 1 and hasattr(given[0], "__index__") and getattr(given[0], "shape", ()) == ():
        return (), whole("arrays[0]", given[0], SAMPLES, 2**59), None
    else:
        by_name = {f"arrays[{i}]": array for i, array in enumerate(given)}
    pins = pinned(by_name.values())  # before any array is examined, which can run other code
    arrays = {name: _as_array(name, array) for name, array in by_name.items()}
    pins += pinned(arrays.values())
    first, samples = next((name, len(array)) for name, array in arrays.items())
    for name, array in arrays.items():
        if len(array) != samples:
            raise ValueError(f"{name} has {len(array)} samples; expected {samples}, as {first} has")
    if not samples:
        raise ValueError(f"{first} has no samples: its shape is {arrays[first].shape}; expected one or more")
    return tuple(arrays.values()), samples, pins


def _as_array(name: str, given: Any) -> NDArray[Any]:
    """Return a plain ndarray over the memory of an array, or raise an error."""
    array = host_array(name, given)
    if not array.ndim:
        raise ValueError(f"{name} has shape (); expected one axis or more, the first of which counts samples")
    return array
