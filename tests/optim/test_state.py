"""Promise 18: the state of an optimizer changes atomically; no call sees, saves or leaves part of a step."""

from __future__ import annotations

import gc
import signal
import threading
import time
from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest

from fastopt import optim
from tests.support import assert_same_bits, succeeds_in_a_child

#: What reads or writes the state, given an optimizer, a state dict and a file of it.
CALLS = {
    "state_dict": lambda optimizer, state, path: optimizer.state_dict(),
    "save": lambda optimizer, state, path: optimizer.save(path),
    "load_state_dict": lambda optimizer, state, path: optimizer.load_state_dict(state),
    "load": lambda optimizer, state, path: optimizer.load(path),
    "step": lambda optimizer, state, path: optimizer.step([np.ones(3, np.float32)]),
}
every_call = pytest.mark.parametrize("call", CALLS)


def counting(shapes, **options):
    """An optimizer whose velocity is the number of updates, if all gradients are ones."""
    return optim.Momentum([np.zeros(shape, np.float32) for shape in shapes], lr=0.0, momentum=1.0, **options)


def ones(shapes):
    return [np.ones(shape, np.float32) for shape in shapes]


def assert_whole(state):
    """All parts of a state dict tell of the same number of steps."""
    assert set(state["steps"].tolist()) == {state["step_count"]}
    for own in state["state"]:
        assert (own["velocity"] == state["step_count"]).all()


# ---- One call at a time


@every_call
def test_calls_from_a_function_of_the_step_are_refused(tmp_path, call):
    """Of lr, in mid-step; whatever it does with the error."""
    optimizer = optim.Adam([np.ones(3, np.float32)], ema_decay=0.5)
    state, path, found = optimizer.state_dict(), tmp_path / "state.npz", []
    optimizer.save(path)
    before = path.read_bytes()

    def lr(step):
        with pytest.raises(RuntimeError, match=f"^{call} was called during step, by another thread or by a function"):
            CALLS[call](optimizer, state, path)
        found.append(step)
        return 0.5

    optimizer.groups[0].lr = lr
    assert optimizer.step([np.ones(3, np.float32)]).step == 1
    assert found == [1]
    assert path.read_bytes() == before
    optimizer.groups[0].lr = 0.5
    CALLS[call](optimizer, state, path)


@every_call
def test_calls_of_another_thread_are_refused(tmp_path, call):
    entered, leave = threading.Event(), threading.Event()
    optimizer = optim.Adam([np.ones(3, np.float32)])
    state, path = optimizer.state_dict(), tmp_path / "state.npz"
    optimizer.save(path)

    def lr(step):
        entered.set()
        assert leave.wait(60)
        return 0.5

    optimizer.groups[0].lr = lr
    thread = threading.Thread(target=optimizer.step, args=([np.ones(3, np.float32)],))
    thread.start()
    try:
        assert entered.wait(60)
        with pytest.raises(RuntimeError, match=f"^{call} was called during step"):
            CALLS[call](optimizer, state, path)
    finally:
        leave.set()
        thread.join()
    assert optimizer.step_count == 1


class Slow:
    """An array of another library, which lets others run while it is looked at."""

    def __init__(self, array):
        self.array, self.meanwhile = array, None

    def __dlpack__(self, **options):
        if self.meanwhile is not None:
            self.meanwhile()
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@every_call
@pytest.mark.parametrize("outer", [call for call in CALLS if call != "step"])
def test_no_call_comes_in_the_middle_of_another(tmp_path, outer, call):
    param, found = Slow(np.ones(3, np.float32)), []
    optimizer = optim.Adam([param])
    state, path, own = optimizer.state_dict(), tmp_path / "state.npz", tmp_path / "own.npz"
    optimizer.save(path)
    optimizer.save(own)

    def meanwhile():
        with pytest.raises(RuntimeError, match=f"^{call} was called during {outer}"):
            CALLS[call](optimizer, state, own)
        found.append(call)

    param.meanwhile = meanwhile
    CALLS[outer](optimizer, state, path)
    assert found
    param.meanwhile = None
    CALLS[call](optimizer, state, path)


def test_a_call_that_fails_does_not_refuse_the_next():
    optimizer = counting([3])
    for _ in range(2):
        with pytest.raises(TypeError, match="expected a dict"):
            optimizer.load_state_dict(None)
    with pytest.raises(ValueError, match="gradients given"):
        optimizer.step([])
    optimizer.step(ones([3]))
    assert_whole(optimizer.state_dict())


def test_state_dicts_during_steps_of_another_thread_are_whole_or_refused():
    """Copies of large arrays, and steps of them, let other threads run."""
    shapes = [(400_000,)] * 4
    optimizer, grads, stop, refused, taken = counting(shapes), ones(shapes), threading.Event(), 0, 0

    def train():
        while not stop.is_set():
            with suppress(RuntimeError):
                optimizer.step(grads)
            time.sleep(1e-3)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        while taken < 20 or refused < 5:
            refused += 1
            with suppress(RuntimeError):
                assert_whole(optimizer.state_dict())
                taken, refused = taken + 1, refused - 1
    finally:
        stop.set()
        thread.join()
    assert_whole(optimizer.state_dict())


def test_a_child_of_fork_reads_the_state_whatever_another_thread_was_at():
    entered, leave = threading.Event(), threading.Event()
    optimizer = counting([3])
    optimizer.groups[0].lr = lambda step: entered.set() or 0.0 * leave.wait(60)
    thread = threading.Thread(target=optimizer.step, args=(ones([3]),))
    thread.start()
    try:
        assert entered.wait(60)
        assert succeeds_in_a_child(lambda: assert_whole(optimizer.state_dict()))
    finally:
        leave.set()
        thread.join()


# ---- Ctrl-C


def interrupted(seconds, call):
    """Call a function, and raise KeyboardInterrupt, as Ctrl-C does, after some time; return whether that was early."""

    def interrupt(*given):
        raise KeyboardInterrupt

    early, before = True, signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # an interruption of a callback of the collector's, such as Hypothesis', would be lost
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            call()
            early = False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    return early


def test_an_interrupted_step_is_made_whole_or_not_at_all():
    shapes = [(3_000_000,), (3,)]
    optimizer, grads, early = counting(shapes, num_threads=1), ones(shapes), 0
    optimizer.step(grads)
    for _ in range(20):
        early += interrupted(3e-4, lambda: optimizer.step(grads))
        assert_whole(optimizer.state_dict())
    assert early
    assert optimizer.step(grads).step == optimizer.step_count > 1


def test_an_interruption_before_the_arrays_are_written_changes_nothing():
    optimizer = counting([3])
    optimizer.step(ones([3]))

    def lr(step):
        raise KeyboardInterrupt

    optimizer.groups[0].lr = lr
    with pytest.raises(KeyboardInterrupt):
        optimizer.step(ones([3]))
    assert_whole(optimizer.state_dict())
    assert optimizer.step_count == 1


def test_an_interrupted_load_is_made_whole_or_not_at_all():
    shapes = [(1000,)] * 300
    optimizer, states = counting(shapes), []
    for _ in range(2):
        optimizer.step(ones(shapes))
        states.append(optimizer.state_dict())
    early = 0
    for number in range(200):
        early += interrupted(2e-5 * (1 + number), lambda state=states[number % 2]: optimizer.load_state_dict(state))
        assert_whole(optimizer.state_dict())
    assert early


# ---- Arrays that have become read-only


OPTIONS = {"master_weights": True, "ema_decay": 0.5}


@pytest.mark.parametrize("kind", ["m", "v", "v_max", "master", "ema"])
@pytest.mark.parametrize("number", [0, 2])
def test_a_read_only_array_of_the_state_is_refused(tmp_path, kind, number):
    """By whatever writes it, with nothing written of the arrays around it."""
    params = [np.ones((2, 3), ml_dtypes.bfloat16) for _ in range(3)]
    optimizer, grads = optim.Adam(params, amsgrad=True, **OPTIONS), [np.ones((2, 3), np.float32)] * 3
    optimizer.step(grads)
    state, path = optimizer.state_dict(), tmp_path / "state.npz"
    optimizer.save(path)
    optimizer.step(grads)
    arrays = {f"{i} {name}": array for i, own in enumerate(optimizer.state) for name, array in own.items()}
    before = {name: array.copy() for name, array in arrays.items()}
    optimizer.state[number][kind].flags.writeable = False
    called = f"{'average' if kind == 'ema' else kind} of params[{number}]"
    with pytest.raises(TypeError) as error:
        optimizer.step(grads)
    assert str(error.value) == f"{called} is read-only; expected an array that can be written in place"
    for call in (lambda: optimizer.load_state_dict(state), lambda: optimizer.load(path)):
        with pytest.raises(TypeError, match=rf"^{kind} in state of params\[{number}\] is read-only in the optimizer"):
            call()
    assert_same_bits(arrays, before)
    assert optimizer.step_count == 2
    optimizer.state[number][kind].flags.writeable = True
    optimizer.step(grads)
    optimizer.load(path)
    assert optimizer.step_count == 1


# ---- What a step tells


def test_the_learning_rates_of_a_step():
    """One for each group: of a function, what it gave for the most updates that a parameter of the group has had."""
    params = [np.ones(3, np.float32) for _ in range(5)]
    groups = [
        {"params": params[:2]},
        {"params": params[2:4], "lr": 0.5},
        {"params": params[4:], "lr": np.float32(0.25)},
    ]
    optimizer = optim.Adam(groups, lr=lambda step: 1.0 / step)
    grad = np.ones(3, np.float32)
    assert optimizer.step([grad, grad, grad, grad, grad]) == (1, None, False, (1.0, 0.5, 0.25))
    assert optimizer.step([None, grad, None, None, grad]).lr == (0.5, None, 0.25)
    result = optimizer.step([grad, grad, None, grad, None])
    assert result.lr == (1 / 3, 0.5, None)
    assert [type(lr) for lr in result.lr] == [float, float, type(None)]
    assert optimizer.step([grad, None, None, None, None]).lr == (1 / 3, None, None)
    optimizer.groups[1].lr = 2
    assert optimizer.step([None, None, grad, grad, None]).lr == (None, 2.0, None)
    assert optimizer.step([None] * 5).lr == (None, None, None)
    bad = np.full(3, np.nan, np.float32)
    assert optimizer.step([bad] * 5, skip_nonfinite=True)[2:] == (True, (0.25, 2.0, 0.25))


@pytest.mark.parametrize(
    ("kind", "rates"), [("SGD", (0.5,)), ("LARS", (0.5,)), ("LAMB", (0.5,)), ("NAdam", (0.5,)), ("Rprop", (None,))]
)
def test_the_learning_rate_of_each_kind_of_rule(kind, rates):
    optimizer = getattr(optim, kind)([np.ones(3, np.float32)], lr=0.5)
    assert optimizer.step([np.ones(3, np.float32)]).lr == rates


@pytest.mark.parametrize("limit", ["max_norm", "max_tensor_norm"])
def test_an_infinite_limit_measures_and_does_not_clip(limit):
    params, wanted = ([np.full(n, 2.0, np.float32) for n in (3, 500)] for _ in range(2))
    grads = [np.full(n, 3e18, np.float32) for n in (3, 500)]
    result = optim.SGD(params, lr=1e-18).step(grads, **{limit: np.inf})
    assert result.grad_norm == pytest.approx(np.sqrt(503) * float(np.float32(3e18)), rel=1e-14)
    optim.SGD(wanted, lr=1e-18).step(grads)
    assert_same_bits(dict(enumerate(params)), dict(enumerate(wanted)))
    for bad, match in ((np.nan, "is nan"), (-np.inf, "is -inf"), (0.0, r"is 0\.0; expected a number above 0, or inf")):
        with pytest.raises(ValueError, match=f"^{limit} {match}"):
            optim.SGD(params, lr=0.1).step(grads, **{limit: bad})
    with pytest.raises(ValueError, match=r"^the norm of the gradients is nan; expected finite"):
        optim.SGD(params, lr=0.1).step([np.full(3, np.nan), grads[1]], **{limit: np.inf})


def test_a_state_of_the_optimizers_own_arrays_exchanged():
    """Each becomes what the other was, though they are written in turn."""
    optimizer = optim.Adam([np.zeros(3), np.zeros(3)])
    optimizer.step([np.full(3, 1.0), np.full(3, 5.0)])
    first, second = (arrays["m"].copy() for arrays in optimizer.state)
    state = optimizer.state_dict()
    state["state"] = [dict(arrays) for arrays in optimizer.state][::-1]
    state["state"][0]["m"] = state["state"][0]["m"][:]
    optimizer.load_state_dict(state)
    assert_same_bits(
        {"first": optimizer.state[0]["m"], "second": optimizer.state[1]["m"]}, {"first": second, "second": first}
    )


def test_a_call_within_a_step_is_refused_in_a_child_of_fork_too():
    outcome = []

    def lr(step):
        if optimizer.groups[0].weight_decay:
            return 0.5
        outcome.append(succeeds_in_a_child(lambda: optimizer.step(ones([3, 2]))))
        return 0.5

    optimizer = counting([3, 2])
    optimizer.groups[0].weight_decay = 0.0
    optimizer.groups[0].lr = lr
    optimizer.step(ones([3, 2]))
    assert outcome
    assert not any(outcome)
