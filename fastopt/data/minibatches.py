"""Mini-batches: shuffled epochs over arrays, gathered into buffers that are used again."""

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

#: A batch looks as the arrays were given: one, several, or by name.
Batch = TypeVar("Batch")

SEED = "None or a whole number from 0 to 2**64 - 1"
EPOCH = "a whole number from 0 to 2**56 - 1"
SAMPLES = "arrays, or a number of samples from 1 to 2**59"

#: What has to be the same for batches to be the same, beside the seed.
FIXED = ("samples", "batch_size", "shuffle", "drop_last")


class MiniBatches(Guarded, Display, Generic[Batch]):
    """Epochs of mini-batches, which `fastopt.minibatches` makes: each pass over the object is the next epoch.

    Attributes
    ----------
    samples, batch_size : int
        Samples of an epoch; of a batch, the last but for.
    seed : int
        The seed, also where none was given.
    epoch : int
        The epoch of the pass that is under way, or of the last one; before any, of the first.
    shuffle, drop_last : bool
        Whether an epoch has an order of its own; whether a short batch is left out.

    All of them are only read: another epoch is what ``load_state_dict`` is for.

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
        #: Where the next batch comes from, and the pass that is under way, if any.
        self._position = (self.epoch, 0)
        self._pass: object = None

    def _parts(self) -> list[str]:
        options = {name: getattr(self, name) for name in ("batch_size", "shuffle", "drop_last", "seed", "epoch")}
        return [number_of(self.samples, "sample"), *keywords(options)]

    def __getstate__(self) -> dict[str, Any]:
        """Let a copy go on where this object is, in memory of its own."""
        return {**self.__dict__, "_numbers": self._numbers.copy(), "_buffers": None, "_pass": None, "_pins": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pins = pinned(self._arrays)

    def __len__(self) -> int:
        """Return how many batches an epoch has."""
        whole_batches, rest = divmod(self.samples, self.batch_size)
        return int(whole_batches + (rest > 0 and not self.drop_last))

    def __iter__(self) -> Iterator[Batch]:
        """Walk the epoch of the next batch to its end. A pass that is left before leaves the rest of its epoch out."""
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
        finally:  # also where a loop is left: Python then closes its iterator, unless someone keeps it
            if self._pass is this_pass:
                self._leave()

    def _leave(self) -> None:
        """End the pass that is under way: the next batch is the next epoch's first."""
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
        """Memory for a batch: new, or the same as for the last one."""
        if self._copy:
            return _empty(self._arrays, count)
        if self._buffers is None:
            self._buffers = _empty(self._arrays, min(self.batch_size, self.samples))
        return tuple([buffer[:count] for buffer in self._buffers])  # new views, whose shape and dtype may be set

    def state_dict(self) -> dict[str, Any]:
        """Return where the next batch comes from, and what that depends on: numbers and flags.

        In a loop over the batches that is the next one of this epoch; after it, the first of the next epoch, whether
        the loop came to its end or was left. An iterator that is kept is in its loop until it is closed or let go of.

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
        """Let the next pass go on where `state_dict` was taken. With an error, nothing has changed.

        Seed and position become those of the state; samples, batch_size, shuffle and drop_last must be the same.

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
            raise ValueError(f"state has {', '.join(map(repr, foreign))}; expected no more than {', '.join(own)}")
        for name in FIXED:
            if state[name] != own[name]:
                raise ValueError(f"{name} is {brief(state[name])}; expected {own[name]!r}, which it is here")
        seed = whole("seed", state["seed"], "a whole number from 0 to 2**64 - 1", 2**64 - 1, 0)
        epoch = whole("epoch", state["epoch"], "a whole number from 0 to 2**56", 2**56, 0)  # 2**56: none is left
        last = len(self) - 1
        batch = whole("batch", state["batch"], f"a whole number from 0 to {last}", last, 0)
        vars(self).update(seed=seed, epoch=epoch, _pass=None, _position=(epoch, batch))


class _Options(TypedDict, total=False):
    """What `minibatches` takes by keyword, but for what must be given, and ``indices_only``: what batches are."""

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
    """Epochs of mini-batches: samples in an order that a seed decides, gathered into buffers that are used again.

        batch b of an epoch = x[order[b * batch_size : (b + 1) * batch_size]]
        order = a permutation that depends on seed, epoch and the number of samples alone

    Each pass over the object that is returned is one epoch. A batch is like the arrays that were given: an array for
    one, a tuple for several, a dict for a dict. **It is valid until the next one**, which is written into the same
    memory, so that a training allocates nothing; with ``copy`` each batch has its own.

    Parameters
    ----------
    arrays : array, several, or one dict of them
        Read; of any dtype without Python objects, shape and strides, in the host's memory (NumPy, DLPack or buffer
        protocol). The first axis counts samples, and all have as many. A `numpy.memmap` is read where a batch's samples
        are. bfloat16 that comes through DLPack is batches of uint16, the same bits. With ``indices_only``, a number of
        samples may stand in their place, up to 2**59.
    batch_size : int
        Samples of a batch, from 1 to 2**63 - 1. More than there are make one short batch.
    seed : int, optional
        From 0 to 2**64 - 1. None draws one, which is ``.seed`` then.
    shuffle : bool
        Whether an epoch has an order of its own, or that of the arrays.
    drop_last : bool
        Whether the last batch is left out where it would be short.
    epoch : int
        The epoch of the first pass: from 0 to 2**56 - 1.
    indices_only : bool
        Whether a batch is the numbers of its samples (read-only, int64), and nothing is gathered.
    copy : bool
        Whether each batch has memory of its own.
    num_threads : int, optional
        See `fastopt.updates`.

    Returns
    -------
    MiniBatches
        ``len`` is the number of batches of an epoch. ``epoch`` is that of the pass under way. ``state_dict()`` and
        ``load_state_dict(state)`` let a training go on amid an epoch, with the same batches.

    Raises
    ------
    ValueError
        If there are no samples, or not as many in all arrays; if an array has no axis; if batch_size is below 1, or
        with drop_last above the number of samples; if seed or epoch is out of its range. In a pass after epoch
        2**56 - 1, the last one.
    TypeError
        If something is no array, or holds Python objects; if a number is not a whole one, or a flag not True or False.
    BackendUnavailable
        If an array lies on a CUDA device.

    Notes
    -----
    The permutation is Fisher and Yates' shuffle of 0, 1, ..., by 64-bit numbers r that Philox 4x32-10 makes of the key
    ``seed`` and the counters (0, epoch + 2^58), (1, epoch + 2^58), ...: for i from the last place down to 1, place i is
    swapped with place r mod (i + 1), where an r beyond the last whole multiple of i + 1 is passed over. It is the same
    on every machine, with every version of NumPy, and on any number of threads.

    A loop that is left before its end leaves the rest of its epoch out: the next one walks the next epoch. Only with a
    state that was taken in a loop, and loaded, a pass begins amid an epoch. One pass at a time: an older one that asks
    for its next batch gets a RuntimeError. A copy (`copy.copy`) goes on by itself from where its original is.

    PyTorch's DataLoader makes a new batch each time, of single samples that it puts together, and draws its order from
    a generator: what comes out depends on what else has drawn from it.

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


# ---- Intake: rows are bytes, so that arrays may be of dtypes in which nothing computes


def _checked(given: tuple[Any, ...], indices_only: bool) -> tuple[tuple[NDArray[Any], ...], int, Any]:
    """Return the arrays, how many samples they have, and what keeps their memory."""
    if not given or (isinstance(given[0], Mapping) and not given[0]):
        raise TypeError("arrays are none; expected one or more, or a dict of them")
    if len(given) == 1 and isinstance(given[0], Mapping):
        by_name = {f"arrays[{name!r}]": array for name, array in given[0].items()}
    elif indices_only and len(given) == 1 and hasattr(given[0], "__index__") and getattr(given[0], "shape", ()) == ():
        return (), whole("arrays[0]", given[0], SAMPLES, 2**59), None
    else:
        by_name = {f"arrays[{i}]": array for i, array in enumerate(given)}
    pins = pinned(by_name.values())  # before any of them is looked at, and the code of others runs
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
    """Return a plain ndarray over the memory of an array, or raise."""
    array = host_array(name, given)
    if not array.ndim:
        raise ValueError(f"{name} has shape (); expected one axis or more, of which the first counts samples")
    return array
