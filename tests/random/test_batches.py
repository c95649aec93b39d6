"""Mini-batches: order by seed, rows of any arrays, reused memory, state, bad input."""

from __future__ import annotations

import array
import copy
import itertools
import json
import pickle

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt.engine.rows.gather import gather
from tests.cuda.support import Exported, OnDevice
from tests.peers import peer
from tests.support import LAYOUTS, bits, cpus, run_python

MASK32, MASK64 = 2**32 - 1, 2**64 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x32-10 as the paper has it (Salmon et al. 2011, section 4), in whole numbers."""
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [b >> 32 ^ counter[1] ^ key[0], b & MASK32, a >> 32 ^ counter[3] ^ key[1], a & MASK32]
        key = [key[0] + 0x9E3779B9 & MASK32, key[1] + 0xBB67AE85 & MASK32]
    return counter


def numbers(seed: int, epoch: int):
    counter = epoch + 2**58
    for i in itertools.count():
        words = philox([i & MASK32, i >> 32, counter & MASK32, counter >> 32], [seed & MASK32, seed >> 32])
        yield words[0] | words[1] << 32
        yield words[2] | words[3] << 32


def permutation(samples: int, seed: int, epoch: int) -> list[int]:
    order, stream = list(range(samples)), numbers(seed, epoch)
    for i in range(samples - 1, 0, -1):
        r = next(stream)
        while r >= 2**64 // (i + 1) * (i + 1):
            r = next(stream)
        order[i], order[r % (i + 1)] = order[r % (i + 1)], order[i]
    return order


def order_of(batches) -> np.ndarray:
    return np.concatenate([batch.copy() for batch in batches])


# ---- The order


def test_philox_is_the_published_one():
    """Of Random123's known answers."""
    assert philox([0, 0, 0, 0], [0, 0]) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([MASK32] * 4, [MASK32] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("samples", [1, 2, 3, 64, 65, 66, 129, 1000])
@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (0, 1), (1, 0), (MASK64, 2**40), (2**32, 7)])
def test_the_order_is_the_documented_shuffle(samples, seed, epoch):
    batches = fastopt.minibatches(samples, batch_size=7, seed=seed, epoch=epoch, indices_only=True)
    assert order_of(batches).tolist() == permutation(samples, seed, epoch)


def test_every_order_is_as_likely():
    counted = dict.fromkeys(itertools.permutations(range(4)), 0)
    batches = fastopt.minibatches(4, batch_size=4, seed=5, indices_only=True)
    for _ in range(24_000):
        counted[tuple(next(iter(batches)).tolist())] += 1
    chi_square = sum((count - 1000) ** 2 / 1000 for count in counted.values())
    assert chi_square < 50  # 23 degrees of freedom: more once in 1,000


def test_a_seed_that_is_not_given_is_drawn_and_told():
    first, second = (fastopt.minibatches(100, batch_size=9, indices_only=True) for _ in range(2))
    assert first.seed != second.seed
    again = fastopt.minibatches(100, batch_size=9, seed=first.seed, indices_only=True)
    np.testing.assert_array_equal(order_of(first), order_of(again))


def test_each_pass_is_the_next_epoch():
    batches = fastopt.minibatches(50, batch_size=8, seed=3, epoch=4, indices_only=True)
    assert batches.epoch == 4
    for epoch in (4, 5, 6):
        assert order_of(batches).tolist() == permutation(50, 3, epoch)
        assert batches.epoch == epoch
    next(iter(batches))  # the rest of epoch 7 is left out
    assert order_of(batches).tolist() == permutation(50, 3, 8)


def test_without_shuffling_the_order_is_the_arrays():
    x = np.arange(10.0)
    batches = fastopt.minibatches(x, batch_size=4, shuffle=False)
    for _ in range(2):
        np.testing.assert_array_equal(order_of(batches), x)


@pytest.mark.parametrize("samples", [1, 5, 6, 11, 12])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_are_full_but_for_the_last(samples, drop_last):
    size = 5 if samples >= 5 else 1
    batches = fastopt.minibatches(np.arange(samples), batch_size=size, drop_last=drop_last)
    lengths = [len(batch) for batch in batches]
    rest = [] if drop_last or samples % size == 0 else [samples % size]
    assert lengths == [size] * (samples // size) + rest
    assert len(batches) == len(lengths)
    if not drop_last:
        assert sorted(order_of(batches)) == list(range(samples))


def test_a_batch_may_be_larger_than_the_data():
    batches = fastopt.minibatches(np.arange(3), batch_size=10**12)
    assert [sorted(batch) for batch in batches] == [[0, 1, 2]]


# ---- Rows

SHAPES = [(13,), (13, 1), (13, 3), (13, 64), (13, 0), (13, 2, 3, 4), (13, 1, 5), (13, 700)]
DTYPES = [
    "f4",
    "f8",
    "f2",
    ">f4",
    "i8",
    "u1",
    "?",
    "c16",
    "U5",
    "M8[s]",
    [("a", "u1"), ("b", "f8")],
    ml_dtypes.bfloat16,
]


def values_of(shape, dtype):
    count = int(np.prod(shape))
    if np.dtype(dtype).names:
        made = np.zeros(shape, dtype)
        made["a"], made["b"] = np.arange(count).reshape(shape) % 251, np.arange(count).reshape(shape)
        return made
    return np.arange(count).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_batch_is_the_rows_of_its_numbers(shape, dtype):
    x = values_of(shape, dtype)
    order = permutation(13, 2, 0)
    for number, batch in enumerate(fastopt.minibatches(x, batch_size=4, seed=2)):
        wanted = x[order[4 * number : 4 * number + 4]]
        assert (batch.dtype, batch.shape) == (x.dtype, wanted.shape)
        assert batch.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
@pytest.mark.parametrize("shape", [(13, 3), (13, 2, 3, 4), (13, 40, 30)], ids=str)
def test_any_strides(shape, layout):
    x = layout(values_of(shape, "f4"))
    batches = fastopt.minibatches(x, x.T.T, np.broadcast_to(x[:1], x.shape), batch_size=5, seed=2)
    order = permutation(13, 2, 0)
    for number, got in enumerate(batches):
        rows = order[5 * number : 5 * number + 5]
        for batch, wanted in zip(got, (x[rows], x[rows], x[[0] * len(rows)]), strict=True):
            np.testing.assert_array_equal(batch, wanted)


def test_misaligned_rows():
    x = np.frombuffer(bytearray(range(1, 202)), "u1")[1:].view("f4").reshape(10, 5)
    for batch in fastopt.minibatches(x, batch_size=10, shuffle=False):
        assert batch.tobytes() == x.tobytes()


def test_the_same_bits_on_any_number_of_threads():
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((5000, 130), "f4"), rng.integers(0, 10, 5000), rng.random((5000, 3, 7))[:, ::2, ::-1]
    order = permutation(5000, 1, 0)
    with cpus(8):
        for threads in (1, 2, 7):
            for number, batch in enumerate(fastopt.minibatches(*arrays, batch_size=1999, seed=1, num_threads=threads)):
                for got, x in zip(batch, arrays, strict=True):
                    np.testing.assert_array_equal(got, x[order[1999 * number : 1999 * (number + 1)]])


def test_subnormals_and_nans_keep_their_bits():
    x = np.array([1e-40, -1e-45, np.nan, -np.nan, np.inf, 0.0, -0.0], "f4")
    x.view("u4")[2] |= 0x1234
    (batch,) = fastopt.minibatches(x, batch_size=7, shuffle=False)
    np.testing.assert_array_equal(bits(batch), bits(x))


def test_a_batch_looks_as_the_arrays_were_given():
    x, y = np.arange(6.0), np.arange(6)
    (one,) = fastopt.minibatches(x, batch_size=6, seed=0)
    ((first, second),) = fastopt.minibatches(x, y, batch_size=6, seed=0)
    (named,) = fastopt.minibatches({"x": x, "label": y}, batch_size=6, seed=0)
    assert isinstance(one, np.ndarray)
    assert list(named) == ["x", "label"]
    for got in (one, first, second, named["x"], named["label"]):
        np.testing.assert_array_equal(got, permutation(6, 0, 0))


def test_what_shares_its_memory_is_an_array():
    given = [memoryview(np.arange(5.0)), array.array("d", range(5))]
    for batch in fastopt.minibatches(*given, batch_size=5, shuffle=False):
        for got in batch:
            np.testing.assert_array_equal(got, np.arange(5.0))


@pytest.mark.peers
def test_pytorchs_tensors():
    torch = peer("torch")
    x = torch.arange(12.0).reshape(6, 2)
    for batch, label in fastopt.minibatches(x, torch.arange(6), batch_size=4, seed=0):
        np.testing.assert_array_equal(batch, x.numpy()[label])


@pytest.mark.peers
def test_every_dtype_of_pytorchs():
    torch = peer("torch")
    whole_numbers = [f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)]
    for name in ["bool", *whole_numbers, "float16", "float32", "float64", "complex64", "complex128"]:
        x = torch.arange(12).reshape(2, 6).T.to(getattr(torch, name))
        for batch, rows in fastopt.minibatches(x, np.arange(6), batch_size=4, seed=0):
            assert batch.dtype.name == name
            np.testing.assert_array_equal(batch, x.numpy()[rows])
    x = torch.arange(12.0).reshape(6, 2).bfloat16()
    for batch, rows in fastopt.minibatches(x, np.arange(6), batch_size=4, seed=0):
        assert batch.dtype == np.uint16
        assert torch.equal(torch.from_numpy(batch).view(torch.bfloat16), x[torch.from_numpy(rows)])


@pytest.mark.peers
@pytest.mark.parametrize("name", ["conj", "neg_view", "requires_grad_"])
def test_tensors_that_are_more_than_their_memory_are_refused(name):
    torch = peer("torch")
    x = torch.ones(6, dtype=torch.complex64)
    view = torch.Tensor._neg_view(x) if name == "neg_view" else getattr(x, name)()
    refusal = "requires grad" if name == "requires_grad_" else "is a Tensor that can't be exported through DLPack"
    with pytest.raises(TypeError, match=rf"arrays\[0\] {refusal}"):
        fastopt.minibatches(view, batch_size=2)


def test_memory_that_a_device_can_reach_is_the_hosts():
    class Pinned(Exported):
        def __dlpack_device__(self):
            return 3, 0

        def __dlpack__(self, *, max_version=None):
            return self.memory.__dlpack__()

    x = np.arange(6.0)
    (batch,) = fastopt.minibatches(Pinned(x), batch_size=6, shuffle=False)
    np.testing.assert_array_equal(batch, x)


# ---- Memory


def test_a_batch_is_written_into_the_same_memory():
    x = np.arange(20.0)
    batches = fastopt.minibatches(x, batch_size=6)
    places = {batch.ctypes.data for _ in range(3) for batch in batches}
    assert len(places) == 1
    kept = list(fastopt.minibatches(x, batch_size=6, copy=True))
    assert sorted(np.concatenate(kept)) == list(x)


@pytest.mark.parametrize("copy", [False, True])
def test_what_is_given_is_never_written_nor_shared(copy):
    x = np.arange(8.0)
    before = x.copy()
    x.flags.writeable = False
    for shuffle in (False, True):
        for batch in fastopt.minibatches(x, batch_size=3, shuffle=shuffle, copy=copy):
            assert not np.shares_memory(batch, x)
            batch[:] = -1
    np.testing.assert_array_equal(x, before)


def set_dtype(batch):
    batch.dtype = "i4"


def set_shape(batch):
    batch.shape = (1, -1)


def set_read_only(batch):
    batch.flags.writeable = False


@pytest.mark.parametrize("change", [set_dtype, set_shape, set_read_only])
@pytest.mark.filterwarnings("ignore:Setting the (dtype|shape):DeprecationWarning")
def test_what_is_done_to_a_batch_stays_with_it(change):
    x = np.arange(12, dtype="f4").reshape(6, 2)
    for number, batch in enumerate(fastopt.minibatches(x, batch_size=2, shuffle=False)):
        np.testing.assert_array_equal(batch, x[2 * number : 2 * number + 2])
        assert (batch.dtype, batch.flags.writeable) == (x.dtype, True)
        change(batch)


@pytest.mark.parametrize("name", ["samples", "batch_size", "seed", "epoch", "shuffle", "drop_last"])
def test_what_decides_the_batches_is_only_read(name):
    batches = fastopt.minibatches(10, batch_size=3, seed=1, epoch=2, indices_only=True)
    with pytest.raises(AttributeError, match=name):
        setattr(batches, name, 7)
    assert order_of(batches).tolist() == permutation(10, 1, 2)


def test_numbers_alone():
    batches = fastopt.minibatches(np.zeros((9, 4)), batch_size=4, seed=1, indices_only=True)
    for batch in batches:
        assert batch.dtype == np.int64
        with pytest.raises(ValueError, match="read-only"):
            batch[0] = 1
    kept = list(fastopt.minibatches(9, batch_size=4, seed=1, indices_only=True, copy=True))
    assert np.concatenate(kept).tolist() == permutation(9, 1, 0)


@pytest.mark.parametrize("number", [np.int64(9), np.uint8(9), np.array(9)], ids=repr)
def test_a_number_of_samples_may_be_numpys(number):
    batches = fastopt.minibatches(number, batch_size=4, seed=1, indices_only=True)
    assert order_of(batches).tolist() == permutation(9, 1, 0)


def test_an_epoch_allocates_nothing_that_grows():
    program = """
import numpy as np, tracemalloc, fastopt
x, y = np.zeros((20_000, 100), "f4"), np.zeros(20_000, "i8")
batches = fastopt.minibatches(x, y, batch_size=1000, seed=0)
for batch in batches: pass
tracemalloc.start()
for epoch in range(3):
    for batch in batches: pass
print(tracemalloc.get_traced_memory()[1])
"""
    assert int(run_python(program)) < 20_000


def test_of_a_memory_map_only_the_rows_are_read(tmp_path):
    """A map of 2 GB, most of which has no block on the disk."""
    program = f"""
import numpy as np, resource, fastopt
rows = 500_000
x = np.memmap({str(tmp_path / "x")!r}, "f4", "w+", shape=(rows, 1000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
batches = fastopt.minibatches(x, batch_size=64, seed=0)
walk = iter(batches)
for _ in range(10): batch = next(walk)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, type(batch).__name__, batch.shape)
"""
    grown, *rest = run_python(program).split(maxsplit=2)
    assert rest == ["ndarray", "(64, 1000)\n"]
    assert int(grown) < 100_000  # KiB; a page fault may bring its neighbours along, the whole is 2,000,000


def test_a_child_of_fork_goes_on():
    program = """
import numpy as np, os, fastopt
x = np.arange(4_000_000, dtype="f4").reshape(20_000, 200)
walk = iter(fastopt.minibatches(x, batch_size=5000, seed=0, num_threads=2))
next(walk)
pid = os.fork()
assert (next(walk)[:, 1] % 200 == 1).all()
if not pid:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
    run_python(program)


# ---- State


@pytest.mark.parametrize("stop", [0, 1, 4, 5, 7, 10])
def test_a_training_goes_on_amid_an_epoch(stop):
    def walk(batches):
        while True:
            for batch in batches:
                yield batches.epoch, batch.tolist()

    x = np.arange(23)
    first = fastopt.minibatches(x, batch_size=5, seed=9)
    walked = walk(first)
    for _ in range(stop):
        next(walked)
    state = json.loads(json.dumps(first.state_dict()))
    second = fastopt.minibatches(x, batch_size=5)
    assert second.load_state_dict(state) is None
    assert second.state_dict() == state
    assert [next(walked) for _ in range(12)] == list(itertools.islice(walk(second), 12))


def walk_steps(batches, epochs, steps):
    """Of each epoch so many batches."""
    seen = []
    for _ in range(epochs):
        for step, batch in enumerate(batches):
            seen.append((batches.epoch, batch.tolist()))
            if step + 1 == steps:
                break
    return seen


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("first", [1, 3])
def test_a_training_of_so_many_steps_an_epoch_goes_on(steps, first):
    uninterrupted = walk_steps(fastopt.minibatches(10, batch_size=3, seed=9, indices_only=True), 6, steps)
    batches = fastopt.minibatches(10, batch_size=3, seed=9, indices_only=True)
    again = fastopt.minibatches(10, batch_size=3, indices_only=True)
    seen = walk_steps(batches, first, steps)
    again.load_state_dict(batches.state_dict())
    assert seen + walk_steps(again, 6 - first, steps) == uninterrupted


def leave_by_break(batches):
    for _ in batches:
        break


def leave_by_error(batches):
    with pytest.raises(ZeroDivisionError):
        list(map(lambda batch: 1 / 0, batches))  # noqa: C417


def leave_by_close(batches):
    walk = iter(batches)
    next(walk)
    walk.close()


def leave_inside_others(batches):
    list(zip(range(1), itertools.islice(batches, 1), strict=True))


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error, leave_by_close, leave_inside_others])
def test_state_after_a_loop_that_is_left_is_the_next_epochs(leave):
    batches = fastopt.minibatches(10, batch_size=3, seed=9, epoch=5, indices_only=True)
    leave(batches)
    state = batches.state_dict()
    assert (state["epoch"], state["batch"]) == (6, 0)
    batches.load_state_dict(state)
    assert order_of(batches).tolist() == permutation(10, 9, 6)


def test_an_iterator_that_is_kept_is_under_way():
    batches = fastopt.minibatches(10, batch_size=3, seed=9, indices_only=True)
    walk = iter(batches)
    assert batches.state_dict()["batch"] == 0
    for _ in walk:
        break
    assert (batches.state_dict()["epoch"], batches.state_dict()["batch"]) == (0, 1)
    assert len(list(walk)) == 3
    for _ in batches:
        assert (batches.state_dict()["epoch"], batches.state_dict()["batch"]) == (1, 1)
        del walk  # of an older pass: nothing changes
        break
    assert (batches.state_dict()["epoch"], batches.state_dict()["batch"]) == (2, 0)


def test_a_pass_that_is_under_way_when_state_is_loaded_ends():
    batches = fastopt.minibatches(10, batch_size=3, seed=1, indices_only=True)
    walk = iter(batches)
    next(walk)
    batches.load_state_dict(batches.state_dict())
    with pytest.raises(RuntimeError, match="another pass over these batches has begun"):
        next(walk)
    assert batches.state_dict()["batch"] == 1  # it has left nothing out
    assert order_of(batches).tolist() == permutation(10, 1, 0)[3:]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"batch_size": 4}, ValueError, "batch_size is 4; expected 3, as in this object"),
        ({"samples": 11}, ValueError, "samples is 11; expected 10"),
        ({"shuffle": False}, ValueError, "shuffle is False; expected True"),
        ({"drop_last": True}, ValueError, "drop_last is True; expected False"),
        ({"batch": 4}, ValueError, "batch is 4; expected a whole number from 0 to 3"),
        ({"epoch": -1}, ValueError, "epoch is -1; expected a whole number from 0 to"),
        ({"seed": None}, TypeError, "seed is None, a NoneType; expected a whole number from 0"),
        ({"lr": 1}, ValueError, "state has 'lr'; expected only seed, epoch, batch"),
    ],
)
def test_states_of_others_are_refused(change, error, message):
    batches = fastopt.minibatches(10, batch_size=3, seed=1, indices_only=True)
    before = batches.state_dict()
    with pytest.raises(error, match=message):
        batches.load_state_dict({**before, **change})
    assert batches.state_dict() == before
    with pytest.raises(ValueError, match="state lacks 'seed', 'epoch'"):
        batches.load_state_dict({})
    with pytest.raises(TypeError, match="state is a list; expected a dict"):
        batches.load_state_dict([])


def test_after_the_last_epoch_there_is_none():
    batches = fastopt.minibatches(10, batch_size=3, seed=1, epoch=2**56 - 1, indices_only=True)
    assert order_of(batches).tolist() == permutation(10, 1, 2**56 - 1)
    again = fastopt.minibatches(10, batch_size=3, indices_only=True)
    again.load_state_dict(batches.state_dict())
    for ended in (batches, again):
        with pytest.raises(ValueError, match=r"epoch is 72057594037927936; expected .* to 2\*\*56 - 1"):
            next(iter(ended))
        assert ended.state_dict()["epoch"] == 2**56


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda batches: pickle.loads(pickle.dumps(batches))])
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_copy_goes_on_by_itself(duplicate, shuffle):
    order = permutation(10, 1, 0) if shuffle else list(range(10))
    batches = fastopt.minibatches(np.arange(10), batch_size=3, seed=1, shuffle=shuffle)
    walk = iter(batches)
    first = next(walk)
    other = duplicate(batches)
    assert other.state_dict() == batches.state_dict()
    assert order_of(other).tolist() == order[3:]
    assert len(list(other)) == 4  # in another order
    assert first.tolist() == order[:3]
    assert order_of(walk).tolist() == order[3:]


def test_one_pass_at_a_time():
    batches = fastopt.minibatches(np.arange(10), batch_size=3)
    first, second = iter(batches), iter(batches)
    next(first)
    next(second)
    with pytest.raises(RuntimeError, match="one at a time: they share memory"):
        next(first)
    assert len(list(second)) == 3


# ---- Bad input

X = np.zeros((6, 2))


@pytest.mark.parametrize(
    ("arrays", "options", "error", "message"),
    [
        ((), {}, TypeError, "arrays are none; expected one or more"),
        (({},), {}, TypeError, "arrays are none; expected one or more"),
        ((None,), {}, TypeError, r"arrays\[0\] is None; expected an array"),
        (([1, 2],), {}, TypeError, r"arrays\[0\] is a list; expected an array"),
        ((X, "abc"), {}, TypeError, r"arrays\[1\] is a str; expected an array"),
        ((X, {"y": X}), {}, TypeError, r"arrays\[1\] is a dict; expected an array"),
        ((6,), {}, TypeError, r"arrays\[0\] is a int; expected an array"),
        (({"x": X, "y": 1.0},), {}, TypeError, r"arrays\['y'\] is a float; expected an array"),
        ((np.ma.masked_array(X),), {}, TypeError, r"arrays\[0\] is a masked array"),
        ((np.array([None, 1]),), {}, TypeError, r"arrays\[0\] has dtype object; expected one without Python objects"),
        ((np.float32(1),), {}, ValueError, r"arrays\[0\] has shape \(\); expected"),
        ((np.zeros(()),), {}, ValueError, r"arrays\[0\] has shape \(\); expected one axis or more"),
        ((X, X[:5]), {}, ValueError, r"arrays\[1\] has 5 samples; expected 6, as arrays\[0\] has"),
        ((np.zeros((0, 3)),), {}, ValueError, r"arrays\[0\] has no samples: its shape is \(0, 3\)"),
        ((X,), {"batch_size": 0}, ValueError, r"batch_size is 0; expected a whole number from 1 to 2\*\*63 - 1"),
        ((X,), {"batch_size": 2**70}, ValueError, r"batch_size is 1180591620717411303424; .* to 2\*\*63 - 1"),
        ((X,), {"batch_size": -3}, ValueError, "batch_size is -3; expected"),
        ((X,), {"batch_size": 2.0}, TypeError, "batch_size is 2.0, a float; expected a whole number"),
        ((X,), {"batch_size": True}, TypeError, "batch_size is True, a bool; expected"),
        ((X,), {"batch_size": None}, TypeError, "batch_size is None, a NoneType; expected"),
        ((X,), {"batch_size": 7, "drop_last": True}, ValueError, "batch_size is 7; expected at most 6"),
        ((X,), {"seed": -1}, ValueError, "seed is -1; expected None or a whole number from 0"),
        ((X,), {"seed": 2**64}, ValueError, "seed is 18446744073709551616; expected"),
        ((X,), {"seed": 1.5}, TypeError, "seed is 1.5, a float; expected"),
        ((X,), {"epoch": -1}, ValueError, "epoch is -1; expected a whole number from 0 to"),
        ((X,), {"shuffle": 1}, TypeError, "shuffle is 1, a int; expected True or False"),
        ((X,), {"drop_last": "no"}, TypeError, "drop_last is 'no', a str; expected True or False"),
        ((X,), {"copy": None}, TypeError, "copy is None, a NoneType; expected True or False"),
        ((X,), {"num_threads": 0}, ValueError, "num_threads is 0; expected a whole number, 1 or more"),
        ((0,), {"indices_only": True}, ValueError, r"arrays\[0\] is 0; expected arrays, or a number of samples"),
        ((2**62,), {"indices_only": True}, ValueError, r"arrays\[0\] is 4611686018427387904; .* to 2\*\*59"),
        ((np.int64(-5),), {"indices_only": True}, ValueError, r"arrays\[0\] is -5; expected arrays, or a number"),
        (
            (np.array(1.5),),
            {"indices_only": True},
            TypeError,
            r"arrays\[0\] is array\(1.5\), a ndarray; expected arrays",
        ),
        ((True,), {"indices_only": True}, TypeError, r"arrays\[0\] is True, a bool; expected arrays"),
    ],
)
def test_bad_input_is_refused_by_name(arrays, options, error, message):
    with pytest.raises(error, match=message):
        fastopt.minibatches(*arrays, **{"batch_size": 2, **options})


@pytest.mark.parametrize("kind", [OnDevice, Exported])
def test_an_array_on_a_device_is_refused(kind):
    with pytest.raises(fastopt.BackendUnavailable, match=r"arrays\[1\] is on a device"):
        fastopt.minibatches(X, kind(X), batch_size=2)


def test_a_tensor_that_is_nowhere_is_refused():
    class Elsewhere:
        def __dlpack_device__(self):
            raise ValueError("Unknown device type meta")

        def __dlpack__(self, **_):
            raise AssertionError

    with pytest.raises(TypeError, match=r"arrays\[0\] is a Elsewhere that can't be exported through DLPack: Unknown"):
        fastopt.minibatches(Elsewhere(), batch_size=2)


@pytest.mark.parametrize("number", [-1, 6, 2**62])
def test_no_number_leaves_the_array(number):
    out = np.zeros((1, 2))
    with pytest.raises(ValueError, match="a row number is out of range"):
        gather((X,), (out,), np.array([number]))
