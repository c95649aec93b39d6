"""Numbers in the state of fastopt.torch's optimizers: not moved, shared and read back, as in torch.optim."""

from __future__ import annotations

import copy
import importlib
import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.peers import peer
from tests.torch.test_torch import VARIANTS, assert_same, assert_same_state, parameters, set_grads, train

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),  # JAX's, of the threads that it may have
]

torch = peer("torch")
ours = importlib.import_module("fastopt.torch")
numbers = importlib.import_module("fastopt.torch.numbers")

#: What the state has as numbers.
NUMBERS = ("step", "mu_product")

COUNTED = [name for name in VARIANTS if name != "SGD"]

every_class = pytest.mark.parametrize("name", COUNTED)


def shared_state(name: str, params: list[Any], shape: tuple[int, ...]) -> dict[Any, dict[str, Any]]:
    """Return the state before the first step, in shared memory, as SharedAdam of many A3C programs makes it."""
    twins = [torch.nn.Parameter(param.detach().clone()) for param in params]
    optimizer = getattr(torch.optim, name)(twins)
    set_grads(twins, 0)
    optimizer.step()
    return {
        param: {
            key: torch.full(shape if value.ndim == 0 and key in NUMBERS else value.shape, float(key == "mu_product"))
            .to(value.dtype)
            .share_memory_()
            for key, value in optimizer.state[twin].items()
        }
        for param, twin in zip(params, twins, strict=True)
    }


def run_in(method: str, *calls: tuple[Any, ...]) -> None:
    """Call functions, each with its arguments and in a process of its own."""
    context = multiprocessing.get_context(method)
    processes = [context.Process(target=function, args=arguments) for function, *arguments in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0


# ---- Shared with other processes


def shared_parameters() -> list[Any]:
    """Return parameters in shared memory."""
    params = parameters(shapes=[(3,), (2, 2)])
    for param in params:
        param.share_memory_()
    return params


@every_class
@pytest.mark.parametrize("shape", [(), (1,)])
def test_processes_count_in_shared_memory(name: str, shape: tuple[int, ...]) -> None:
    """Two forked processes make five steps each, and their parent some before and after: all in the same state."""
    results = []
    for module in (ours, torch.optim):
        params = shared_parameters()
        optimizer = getattr(module, name)(params, lr=0.01)
        optimizer.state.update(shared_state(name, params, shape))
        held = [optimizer.state[param]["step"] for param in params]
        for first, last in ((0, 6), (6, 16), (16, 26)):
            run_in("fork", (train, optimizer, params, range(first, last, 2)))
        assert [int(step) for step in held] == [13, 13]
        train(optimizer, params, range(26, 30, 2))
        run_in("fork", (train, optimizer, params, range(30, 32, 2)))
        assert all(optimizer.state[param]["step"] is step for param, step in zip(params, held, strict=True))
        assert [int(step) for step in held] == [16, 16]
        assert all(step.is_shared() and step.shape == shape for step in held)
        results.append((optimizer, params))
    assert_same_state(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert_same(a, b)


def take_turns(optimizer: Any, params: list[Any], turns: list[Any], mine: int) -> None:
    for step in range(2 * mine, 20, 4):
        assert turns[mine].acquire(timeout=60)
        train(optimizer, params, range(step, step + 1))
        turns[1 - mine].release()


@pytest.mark.parametrize("name", ["AdamW", "NAdam"])
def test_processes_that_take_turns(name: str) -> None:
    """Each goes on from what the other one counted, with a plan of its own."""
    results = []
    for module in (ours, torch.optim):
        params = shared_parameters()
        optimizer = getattr(module, name)(params, lr=0.01)
        optimizer.state.update(shared_state(name, params, ()))
        turns = [multiprocessing.get_context("fork").Semaphore(first) for first in (1, 0)]
        run_in("fork", *((take_turns, optimizer, params, turns, mine) for mine in range(2)))
        assert [int(optimizer.state[param]["step"]) for param in params] == [10, 10]
        results.append((optimizer, params))
    assert_same_state(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert_same(a, b)


def test_a_spawned_process_shares_the_state_that_was_made_here() -> None:
    """What the optimizer made itself is sent to another process as memory that both have."""
    params = parameters(shapes=[(3,), (2, 2)])
    optimizer = ours.NAdam(params)
    train(optimizer, params, range(0, 4, 2))
    straight, straight_params = copy.deepcopy((optimizer, params))
    held = [optimizer.state[param]["step"] for param in params]
    importlib.import_module("torch.multiprocessing")  # sends tensors as shared memory
    run_in("spawn", (train, optimizer, params, range(4, 10, 2)))
    assert [int(step) for step in held] == [5, 5]
    train(optimizer, params, range(10, 14, 2))
    train(straight, straight_params, range(4, 14, 2))
    assert [int(step) for step in held] == [7, 7]
    assert all(map(torch.equal, params, straight_params))


def test_what_another_process_counts_during_a_step_is_not_lost() -> None:
    tensors = [torch.tensor(3.0), torch.tensor(4.0), torch.tensor(5.0)]
    counted = numbers.Numbers("step", tensors, 0.0, ["a", "b", "c"])
    tensors[1].add_(1)  # as if between this optimizer's look at it and its own addition
    counted.advance(np.array([True, True, False]))
    assert [tensor.item() for tensor in tensors] == [4, 6, 5]
    assert counted.read()
    assert counted.values.tolist() == [4, 6, 5]
    assert not counted.read()
    factored = numbers.Numbers("mu_product", tensors, 1.0, ["a", "b", "c"])
    tensors[1].mul_(0.5)
    factored.advance(np.array([True, True, False]), np.array([0.25, 0.5, 0.1]))
    assert [tensor.item() for tensor in tensors] == [1, 1.5, 5]
    assert factored.read()
    assert factored.values.tolist() == [1, 1.5, 5]


# ---- Held by others


@every_class
def test_a_held_number_tells_the_step(name: str) -> None:
    """Whatever is planned anew, the tensors in the state are those that it began with, and tell what it says."""
    params = parameters(shapes=[(4,), (3,), (2, 2)])
    optimizer = getattr(ours, name)(params, lr=0.01)
    params[0].grad = torch.ones(4)
    optimizer.step()
    keys = [key for key in NUMBERS if key in optimizer.state[params[0]]]
    held = {key: optimizer.state[params[0]][key] for key in keys}
    changes: list[Callable[[], Any]] = [
        lambda: setattr(params[0], "data", params[0].data.clone()),
        lambda: setattr(params[1], "grad", torch.ones(3)),
        lambda: optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]}),
        lambda: setattr(params[2], "grad", torch.ones(2, 2)),
        lambda: [tensor.share_memory_() for tensor in held.values()],
        lambda: None,
    ]
    for count, change in enumerate(changes, 2):
        change()
        before = {key: value.item() for key, value in held.items()}
        optimizer.step()
        assert held["step"].item() == count
        for key, tensor in held.items():
            assert optimizer.state[params[0]][key] is tensor
            assert tensor.item() != before[key]
    theirs = getattr(torch.optim, name)(parameters(shapes=[(4,)]), lr=0.01)
    for _ in range(len(changes) + 1):
        theirs.param_groups[0]["params"][0].grad = torch.ones(4)
        theirs.step()
    assert_same(params[0], theirs.param_groups[0]["params"][0])


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(lambda: torch.tensor(3.0), id="float32"),
        pytest.param(lambda: torch.tensor(3.0, dtype=torch.float64), id="float64"),
        pytest.param(lambda: torch.tensor(3, dtype=torch.int64), id="int64"),
        pytest.param(lambda: torch.tensor(3.0, dtype=torch.bfloat16), id="bfloat16"),
        pytest.param(lambda: torch.full((1,), 3.0), id="one-element"),
        pytest.param(lambda: torch.full((1, 1), 3.0), id="two-axes"),
        pytest.param(lambda: torch.arange(8.0)[3], id="view"),
    ],
)
def test_numbers_of_every_kind_are_kept(number: Any) -> None:
    """A state that somebody made by hand."""
    param = parameters(shapes=[(4,)])[0]
    optimizer, theirs = ours.AdamW([param]), torch.optim.AdamW(twin := copy.deepcopy([param]))
    step = number()
    for some, one, count in ((optimizer, param, step), (theirs, twin[0], torch.tensor(3.0))):
        some.state[one] = {"step": count, "exp_avg": torch.ones(4), "exp_avg_sq": torch.ones(4)}
        train(some, [one], range(0, 6, 2))
    assert optimizer.state[param]["step"] is step
    assert step.item() == 6
    assert_same(param, twin[0])


def test_a_number_that_is_no_tensor_becomes_one() -> None:
    """As states of PyTorch before 1.12 have it."""
    param = parameters(shapes=[(4,)])[0]
    optimizer = ours.AdamW([param])
    optimizer.state[param] = {"step": 3, "exp_avg": torch.ones(4), "exp_avg_sq": torch.ones(4)}
    train(optimizer, [param], range(1))
    assert isinstance(optimizer.state[param]["step"], torch.Tensor)
    assert optimizer.state[param]["step"] == 4


def test_a_number_whose_data_are_exchanged() -> None:
    param = parameters(shapes=[(4,)])[0]
    optimizer = ours.AdamW([param])
    train(optimizer, [param], range(0, 4, 2))
    held = optimizer.state[param]["step"]
    old = held.detach()
    held.data = torch.tensor(7.0)
    train(optimizer, [param], range(1))
    assert held == 8
    assert old == 2


def test_a_number_that_becomes_two() -> None:
    """Refused by name, as at first."""
    param = parameters(shapes=[(4,)])[0]
    optimizer = ours.AdamW([param])
    train(optimizer, [param], range(0, 4, 2))
    before = param.detach().clone()
    optimizer.state[param]["step"].data = torch.ones(2)
    with pytest.raises(ValueError, match=r"step of param_groups.* has shape \(2,\); expected one number"):
        optimizer.step()
    assert torch.equal(param, before)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, r"step of param_groups\[0\]\['params'\]\[0\] is 1\.5; expected a whole number"),
        (float("nan"), "is nan; expected a whole number"),
        (float("inf"), "is inf; expected a whole number"),
        (-1.0, "is -1; expected 0 to"),
        ([1.0, 2.0], r"has shape \(2,\); expected one number"),
    ],
)
@pytest.mark.parametrize("steps", [0, 2])
def test_numbers_that_make_no_sense(value: Any, message: str, steps: int) -> None:
    """Before the first step and after others: refused with nothing written."""
    param = parameters(shapes=[(4,)])[0]
    optimizer = ours.AdamW([param])
    train(optimizer, [param], range(0, 2 * steps, 2))
    optimizer.state[param]["step"] = torch.tensor(value)
    before = param.detach().clone()
    set_grads([param], 0)
    with pytest.raises(ValueError, match=message):
        optimizer.step()
    assert torch.equal(param, before)
    optimizer.state[param]["step"] = torch.tensor(5.0)
    optimizer.step()
    assert optimizer.state[param]["step"] == 6


def test_a_count_goes_on_where_its_tensor_can_not() -> None:
    """float32 has no 2**24 + 1: PyTorch counts no further, and neither does the tensor; the updates do."""
    tensor = torch.tensor(2.0**24 - 1)
    counted = numbers.Numbers("step", [tensor], 0.0, ["a"])
    for count in range(2**24, 2**24 + 5):
        counted.advance(np.array([True]))
        assert counted.values.tolist() == [count]
        assert not counted.read()
        assert tensor.item() == np.float32(count)


# ---- Where new ones are made


@every_class
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_new_numbers_have_the_dtype_that_pytorch_gives_them(name: str, dtype: str) -> None:
    """By PyTorch's default dtype, whatever the parameter's."""
    results = []
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        for module in (ours, torch.optim):
            params = parameters(shapes=[(4,)])
            optimizer = getattr(module, name)(params)
            train(optimizer, params, range(3))
            results.append({key: value.dtype for key, value in optimizer.state[params[0]].items()})
    finally:
        torch.set_default_dtype(torch.float32)
    assert results[0] == results[1]
    assert results[0]["step"] == (torch.float64 if dtype == "float64" else torch.float32)


def test_new_numbers_are_in_the_hosts_memory() -> None:
    params = parameters(shapes=[(4,)])
    optimizer = ours.NAdam(params)
    set_grads(params, 0)
    with torch.device("meta"):
        optimizer.step()
    assert {value.device.type for value in optimizer.state[params[0]].values()} == {"cpu"}


def test_numbers_on_devices_are_loaded_into_the_hosts_memory() -> None:
    """PyTorch's fused kernels have them on the device, from where each would be waited for at every step."""

    class OnDevice(torch.Tensor):
        is_cuda = True

        def cpu(self) -> Any:
            return self.as_subclass(torch.Tensor)

    param = parameters(shapes=[(4,)])[0]
    optimizer = ours.NAdam([param])
    train(optimizer, [param], range(3))
    state = optimizer.state_dict()
    for key in NUMBERS:
        state["state"][0][key] = state["state"][0][key].clone().as_subclass(OnDevice)
    optimizer.load_state_dict(state)
    assert {type(optimizer.state[param][key]) for key in NUMBERS} == {torch.Tensor}
    assert optimizer.state[param]["step"] == 3


# ---- After a step that failed


def shapes_differ(optimizer: Any, grad: Any) -> None:
    grad.data = torch.ones(2, 3)


def overlaps(optimizer: Any, grad: Any) -> None:
    grad.data = optimizer.param_groups[0]["params"][1].data


def is_sparse(optimizer: Any, grad: Any) -> None:
    optimizer.param_groups[0]["params"][1].grad = grad.to_sparse()


def rate_is_negative(optimizer: Any, grad: Any) -> None:
    optimizer.param_groups[0]["lr"] = -1.0


@pytest.mark.parametrize("spoil", [shapes_differ, overlaps, is_sparse, rate_is_negative])
def test_a_step_after_one_that_failed_reads_its_own_gradients(spoil: Callable[[Any, Any], None]) -> None:
    """Gradients that are back where the last good step found them: the failed one has looked at others meanwhile."""
    params = parameters(shapes=[(4,), (3, 2)])
    optimizer = ours.SGD(params, lr=1.0)
    before = [param.detach().clone() for param in params]
    good, other = ([torch.full_like(param, value) for param in params] for value in (1.0, 100.0))
    for grads in (good, good, other, good):
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        if grads is good:
            optimizer.step()
        else:
            spoil(optimizer, other[1])
            with pytest.raises((TypeError, ValueError)):
                optimizer.step()
            optimizer.param_groups[0]["lr"] = 1.0
    for param, start in zip(params, before, strict=True):
        assert_same(param, start - 3)
