"""Whatever other code does to the arrays of a call while it runs, nothing outside them is read or written.

Other code runs in mid-call: other threads, `__dlpack__` of a later argument, a learning rate that is a function, and
callbacks of the garbage collector. It may reshape an array, change its strides, or let go of its memory.
"""

from __future__ import annotations

import gc
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt import augment, init, optim
from fastopt.engine.core.pins import pinned
from fastopt.norm import DatasetStatistics
from fastopt.scaling import StandardScaler, Whitener

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS, COLS = 64, 8

# ---- Families: from a maker of arrays to a call. Every array that it makes has the shape (ROWS, COLS).

Make = Callable[[], np.ndarray]
Call = Callable[[], Any]
FAMILIES: dict[str, Callable[[Make], Call]] = {}


def family(make_call: Callable[[Make], Call]) -> Callable[[Make], Call]:
    FAMILIES[make_call.__name__] = make_call
    return make_call


@family
def adam(make: Make) -> Call:
    arrays = [make() for _ in range(4)]
    return lambda: fastopt.adam(*arrays, step=1)


@family
def adam_reference(make: Make) -> Call:
    arrays = [make() for _ in range(4)]
    return lambda: fastopt.adam(*arrays, step=1, backend="reference")


@family
def accumulate(make: Make) -> Call:
    arrays = [make() for _ in range(2)]
    return lambda: fastopt.accumulate(*arrays)


@family
def kernel(make: Make) -> Call:
    sgd, arrays = fastopt.kernel("sgd", "float32"), [make() for _ in range(2)]
    if not arrays[0].flags.c_contiguous:
        arrays = [array[0] for array in arrays]
    return lambda: sgd(*arrays, scalars=sgd.prepare(lr=0.5))


@family
def step(make: Make) -> Call:
    optimizer, grads = optim.AdamW([make(), make()], lr=lambda step: 0.1), [make(), make()]
    return lambda: optimizer.step(grads)


@family
def clipped_step(make: Make) -> Call:
    optimizer, grads = optim.LAMB([make(), make()]), [make(), make()]
    return lambda: optimizer.step(grads, max_norm=1e-3)


@family
def layer_norm_forward(make: Make) -> Call:
    x, y, residual = make(), make(), make()
    return lambda: fastopt.layer_norm_forward(x, out=(y, None, None), residual=residual, axis=-1)


@family
def layer_norm_forward_reference(make: Make) -> Call:
    x, y = make(), make()
    return lambda: fastopt.layer_norm_forward(x, out=(y, None, None), backend="reference")


@family
def batch_norm_forward(make: Make) -> Call:
    x, y = make(), make()
    return lambda: fastopt.batch_norm_forward(x, out=(y, None, None))


@family
def batch_norm_inference(make: Make) -> Call:
    x, y, mean, var = make(), make(), np.zeros(COLS, "f4"), np.ones(COLS, "f4")
    return lambda: fastopt.batch_norm_inference(x, None, None, mean, var, out=y)


@family
def batch_norm_backward(make: Make) -> Call:
    dy, x, dx, mean, rstd = make(), make(), make(), np.zeros(COLS, "f4"), np.ones(COLS, "f4")
    return lambda: fastopt.batch_norm_backward(dy, x, None, mean, rstd, out=(dx, None, None))


@family
def group_norm_forward(make: Make) -> Call:
    x, y = make(), make()
    return lambda: fastopt.group_norm_forward(x, groups=2, out=(y, None, None))


@family
def moments(make: Make) -> Call:
    x = make()
    return lambda: DatasetStatistics(COLS).update(x)


@family
def residual_add(make: Make) -> Call:
    x, residual, y = make(), make(), make()
    return lambda: fastopt.residual_add(x, residual, out=y)


@family
def residual_add_backward(make: Make) -> Call:
    dy, y, dx = make(), make(), make()
    return lambda: fastopt.residual_add_backward(dy, y=y, out=dx, activation="relu")


@family
def dropout(make: Make) -> Call:
    x, y = make(), make()
    return lambda: fastopt.dropout_forward(x, p=0.5, seed=1, out=y)


@family
def noise(make: Make) -> Call:
    x = make()
    return lambda: augment.noise_(x, std=0.5, seed=1)


@family
def uniform(make: Make) -> Call:
    param = make()
    return lambda: init.uniform_(param, seed=1)


@family
def uniform_reference(make: Make) -> Call:
    param = make()
    return lambda: init.uniform_(param, seed=1, backend="reference")


@family
def dropout_reference(make: Make) -> Call:
    x, y = make(), make()
    return lambda: fastopt.dropout_forward(x, p=0.5, seed=1, out=y, backend="reference")


@family
def scaler(make: Make) -> Call:
    x, y, scaler = make(), make(), StandardScaler().fit(np.arange(ROWS * COLS, dtype="f4").reshape(ROWS, COLS))
    return lambda: scaler.transform(x, out=y)


@family
def fit(make: Make) -> Call:
    x = make()
    return lambda: StandardScaler().fit(x)


@family
def whitening(make: Make) -> Call:
    x, y = make(), make()
    scaler = Whitener(eps=1.0).fit(np.arange(ROWS * COLS, dtype="f4").reshape(ROWS, COLS))
    return lambda: scaler.transform(x, out=y)


@family
def batches(make: Make) -> Call:
    given = fastopt.minibatches(make(), make(), batch_size=16, seed=1)
    return lambda: list(given)


every_family = pytest.mark.parametrize("name", FAMILIES)

# ---- Arrays: blocks of columns of one matrix, the rest of which nobody may write; or arrays with memory of their own


class Blocks:
    """Arrays that are blocks of columns, whose elements stand between each other's."""

    def __init__(self) -> None:
        self.memory = np.linspace(1, 2, ROWS * 80, dtype="f4").reshape(ROWS, 80)
        self.arrays: list[np.ndarray] = []

    def __call__(self) -> np.ndarray:
        """Make an array."""
        first = 2 + 11 * len(self.arrays)
        self.arrays.append(self.memory[:, first : first + COLS])
        return self.arrays[-1]


class Owners:
    """Arrays that own their memory."""

    def __init__(self, shape: tuple[int, int] = (ROWS, COLS)) -> None:
        self.shape = shape
        self.arrays: list[np.ndarray] = []

    def __call__(self) -> np.ndarray:
        """Make an array."""
        self.arrays.append(np.linspace(1, 2, self.shape[0] * self.shape[1], dtype="f4").reshape(self.shape).copy())
        return self.arrays[-1]


def reshape(array: np.ndarray) -> None:
    """Give an array many more axes, or take them away again: NumPy then frees where its shape and strides stood."""
    rows, cols = array.shape[0], array.size // array.shape[0]
    array.shape = (rows, 1, cols, *(1,) * 20) if array.ndim == 2 else (rows, cols)


class Meddler:
    """What changes one array each time that it is called, and leaves its mark in memory that becomes free."""

    def __init__(self, array: np.ndarray, change: Callable[[np.ndarray], None]) -> None:
        self.array, self.change = array, change
        self.calls = 0
        self.marked: list[np.ndarray] = []

    def __call__(self, *ignored: Any) -> None:
        """Change the array; what NumPy has freed is somebody else's from now on."""
        self.calls += 1
        try:
            self.change(self.array)
        except ValueError:  # NumPy's, while the array is pinned
            return
        if len(self.marked) < 100:
            self.marked += [np.full(size, 77.0, "f4") for size in (8, 16, 44, 46, ROWS * COLS) for _ in range(2)]

    def expect_marks(self) -> None:
        """See that nobody has written there."""
        assert all(np.all(mark == 77.0) for mark in self.marked)


def shrink(array: np.ndarray) -> None:
    if array.size > 1:
        array.resize(1, refcheck=False)


@contextmanager
def collecting(meddler: Meddler) -> Iterator[None]:
    """Call it whenever Python collects garbage, which up to 3.11 may be whenever something is allocated."""
    before = gc.get_threshold()
    gc.callbacks.append(meddler)
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.callbacks.remove(meddler)
        gc.set_threshold(*before)


@contextmanager
def comparing(meddler: Meddler) -> Iterator[None]:
    """Call it when NumPy looks for common elements, which lets other threads run."""
    shares_memory = np.shares_memory

    def patched(*arguments: Any, **options: Any) -> bool:
        meddler()
        return bool(shares_memory(*arguments, **options))

    np.shares_memory = patched
    try:
        yield
    finally:
        np.shares_memory = shares_memory


@contextmanager
def meddling(meddler: Meddler) -> Iterator[None]:
    """Call it from a thread, again and again."""
    done = threading.Event()

    def meddle() -> None:
        while not done.is_set():
            meddler()

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=meddle)
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)


def outcome(call: Call) -> bool:
    """Whether a call was made; if not, by an error that says so."""
    try:
        call()
    except (ValueError, RuntimeError, TypeError):
        return False
    return True


@every_family
@pytest.mark.parametrize("way", [collecting, comparing, meddling])
def test_arrays_that_change_their_shape(name: str, way: Any) -> None:
    """A call gives what it gives alone, or an error and nothing; around its arrays nothing is written."""
    alone = Blocks()
    FAMILIES[name](alone)()
    for victim in range(len(alone.arrays)):
        for attempt in range(30 if way is meddling else 3):
            blocks = Blocks()
            call = FAMILIES[name](blocks)
            before = blocks.memory.copy()
            meddler = Meddler(blocks.arrays[victim], reshape)
            if attempt % 2:
                meddler()
            with way(meddler):
                made = outcome(call)
            np.testing.assert_array_equal(blocks.memory, alone.memory if made else before)
            meddler.expect_marks()


@every_family
@pytest.mark.parametrize("way", [collecting, comparing, meddling])
def test_arrays_whose_memory_is_let_go(name: str, way: Any) -> None:
    """What has become somebody else's memory is not written."""
    count = Owners()
    FAMILIES[name](count)()
    for victim in range(len(count.arrays)):
        for _ in range(30 if way is meddling else 1):
            owners = Owners()
            call = FAMILIES[name](owners)
            meddler = Meddler(owners.arrays[victim], shrink)
            with way(meddler):
                outcome(call)
            meddler.expect_marks()


class Asked:
    """An array of another library, whose `__dlpack__` calls something first."""

    def __init__(self, array: np.ndarray, meddler: Callable[[], None]) -> None:
        self.array, self.meddler = array, meddler

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        self.meddler()
        return self.array.__dlpack__(**options)


@pytest.mark.parametrize("change", [reshape, shrink])
@pytest.mark.parametrize("size", [8, 40_000])
def test_an_argument_that_changes_the_ones_before(change: Callable[[np.ndarray], None], size: int) -> None:
    for victim in range(3):
        owners = Owners((ROWS, COLS) if size == 8 else (ROWS, 8 * COLS))
        arrays = [owners() for _ in range(4)]
        meddler = Meddler(arrays[victim], change)
        with pytest.raises(ValueError, match="has shape"):
            fastopt.adam(*arrays[:3], Asked(arrays[3], meddler), step=1)
        assert meddler.calls
        for function in (fastopt.layer_norm_forward, fastopt.instance_norm_forward):
            arrays = [owners() for _ in range(3)]
            meddler = Meddler(arrays[0], shrink)
            with pytest.raises(ValueError, match="shape"):
                function(arrays[0], residual=arrays[1], out=(Asked(arrays[2], meddler), None, None))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("change", [reshape, shrink])
def test_a_learning_rate_that_changes_the_arrays_of_its_step(change: Any, large: bool, clipped: bool) -> None:
    """Of a large step, gradients can't be freed; of a small one, what has been changed is refused."""
    shape = (ROWS, COLS * (1000 if large else 1))
    for number in range(1, 4):
        params, grads = [[np.ones(shape, "f4") for _ in range(2)] for _ in range(2)]
        victim = [*params, *grads][number]
        before = [param.copy() for param in params]
        meddler = Meddler(victim, lambda array: None)
        optimizer = optim.SGD(params, lr=lambda step, meddler=meddler: meddler() or 0.5)
        meddler.change = change
        made = outcome(lambda: optimizer.step(grads, max_norm=1e9 if clipped else None))  # noqa: B023
        meddler.expect_marks()
        if change is shrink and (large or number == 1):  # pinned
            assert made
            assert victim.shape == shape
        for param, values in zip(params, before, strict=True):
            np.testing.assert_array_equal(param.reshape(shape), values - 0.5 if made else values)


def test_strides_that_change_within_a_call() -> None:
    """The example that wrote outside of all arrays, with strides in place of a shape."""
    blocks = Blocks()
    call = layer_norm_forward(blocks)
    alone = Blocks()
    layer_norm_forward(alone)()

    def turn(array: np.ndarray) -> None:
        array.strides = (320, 4) if array.strides[1] == 40 else (320, 40)

    with comparing(Meddler(blocks.arrays[1], turn)):
        made = outcome(call)
    assert made or np.array_equal(blocks.memory, Blocks().memory)
    assert not made or np.array_equal(blocks.memory, alone.memory)


@pytest.mark.parametrize("kind", ["array", "view", "strided", "memoryview", "bytearray", "mmap"])
def test_pinned_memory_is_not_freed(kind: str) -> None:
    """Of all that NumPy makes an array of, and only as long as the pin lives."""
    import mmap

    owner: Any = np.zeros(100, "f4")
    free: Callable[[], Any] = lambda: owner.resize(1, refcheck=False)  # noqa: E731
    if kind in ("bytearray", "mmap"):
        owner = bytearray(400) if kind == "bytearray" else mmap.mmap(-1, 4096)
        free = owner.clear if kind == "bytearray" else owner.close
    array = {
        "array": lambda: owner,
        "view": lambda: owner[3:50][::2],
        "strided": lambda: np.lib.stride_tricks.as_strided(owner, (3,), (8,)),
        "memoryview": lambda: np.asarray(memoryview(owner)),
        "bytearray": lambda: np.ndarray((100,), "f4", buffer=owner),
        "mmap": lambda: np.ndarray((100,), "f4", buffer=owner),
    }[kind]()
    pins = pinned([array])
    with pytest.raises((ValueError, BufferError)):
        free()
    del pins
    del array
    free()


def test_an_optimizer_pins_what_it_updates_for_as_long_as_it_lives() -> None:
    param = np.ones(8, "f4")
    optimizer = optim.Adam([param])
    held = [param, optimizer.state[0]["m"], optimizer.steps.base]
    for array in held:
        with pytest.raises(ValueError, match="cannot resize"):
            array.resize(100, refcheck=False)
    del optimizer, array
    gc.collect()
    held[0].resize(1, refcheck=False)


def test_batches_pin_what_they_gather_from() -> None:
    import copy
    import pickle

    array = np.arange(8)
    batches = fastopt.minibatches(array, batch_size=2, shuffle=False)
    with pytest.raises(ValueError, match="cannot resize"):
        array.resize(1, refcheck=False)
    assert [batch.tolist() for batch in pickle.loads(pickle.dumps(batches))] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    other = copy.copy(batches)
    del batches
    with pytest.raises(ValueError, match="cannot resize"):
        array.resize(1, refcheck=False)
    assert next(iter(other)).tolist() == [0, 1]


def test_a_scaler_that_is_fitted_to_fewer_features_in_a_call_is_refused() -> None:
    """Its numbers for each feature are read by their number as it was checked."""
    x = np.ones((5, 400), "f4")
    scaler = StandardScaler().fit(x)
    scaler._make_scales = lambda real: [np.ones(2, real)] * 4  # as a fit on another thread leaves them
    with pytest.raises(RuntimeError, match="fitted anew during the call"):
        scaler.transform_(x)


def test_meddling_is_noticed() -> None:
    """The ways of this file do run in mid-call."""
    seen = {}
    for way in (comparing, meddling, *([collecting] if sys.version_info < (3, 12) else [])):
        blocks = Blocks()
        call = adam(blocks)
        meddler = Meddler(np.ones((ROWS, COLS), "f4"), reshape)
        with way(meddler):
            for _ in itertools.repeat(None, 100):
                call()
        seen[way.__name__] = meddler.calls
    assert all(seen.values()), seen


class Resizing:
    """What resizes another array when it is asked for its memory."""

    def __init__(self, victim: np.ndarray, values: np.ndarray) -> None:
        self.victim, self.values = victim, values

    def __dlpack__(self, **options: Any) -> Any:
        """Shrink the other array, if that can be done, and give the values."""
        with suppress(ValueError):
            shrink(self.victim)
        return self.values.__dlpack__()

    def __dlpack_device__(self) -> Any:
        """Say that they are in the host's memory."""
        return self.values.__dlpack_device__()


def test_an_array_of_mini_batches_that_is_resized_while_they_are_made() -> None:
    x = np.ones((4096, 64))
    given = fastopt.minibatches(x, Resizing(x, np.ones(4096)), batch_size=64, seed=1)
    assert x.shape == (4096, 64)
    assert all(np.all(batch == 1) for batch, _ in given)


class Entries(dict[str, Any]):
    """A dict that resizes an array when another entry is looked up."""

    def __getitem__(self, name: str) -> Any:
        """Return an entry."""
        if name == "b":
            with suppress(ValueError):
                shrink(dict.__getitem__(self, "a")["m"])
        return dict.__getitem__(self, name)


def test_an_array_of_a_state_that_is_resized_while_it_is_loaded() -> None:
    old, new = (optim.Adam({"a": np.ones((512, 512)), "b": np.ones(3)}) for _ in range(2))
    old.step({"a": np.ones((512, 512)), "b": np.ones(3)})
    state = old.state_dict()
    state["state"] = Entries(state["state"])
    new.load_state_dict(state)
    np.testing.assert_array_equal(new.state["a"]["m"], old.state["a"]["m"])
