"""fastopt.torch against torch.optim: the same steps, state and behaviour."""

from __future__ import annotations

import copy
import doctest
import importlib
import inspect
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.docs.test_pages import ROOT, blocks_of
from tests.optim_cases import CLASSES
from tests.peers import peer

torch = peer("torch")
ours = importlib.import_module("fastopt.torch")
name_of = importlib.import_module("fastopt.torch.optimizer").name_of

# Relative to the largest element of a tensor: 20 steps in float32 differ by 1.1e-5 at most, measured; a wrong
# convention (the first velocity dampened, say) by more than 1e-3.
TOLERANCE = 2e-5

#: A class, and arguments that make another formula, or other state, of it.
VARIANTS = {
    "SGD": [
        {}, {"weight_decay": 0.1, "maximize": True}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.5},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
    "RMSprop": [{}, {"centered": True}, {"momentum": 0.9}, {"centered": True, "momentum": 0.9, "weight_decay": 0.1}],
    "Adagrad": [{}, {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}, {"maximize": True}],
    "Adadelta": [{}, {"rho": 0.8, "weight_decay": 0.1}, {"maximize": True}],
    "Adam": [
        {}, {"amsgrad": True, "maximize": True}, {"weight_decay": 0.1, "betas": (0.8, 0.99)},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "AdamW": [{}, {"amsgrad": True, "weight_decay": 0.1}, {"maximize": True}],
    "Adamax": [{}, {"weight_decay": 0.1, "maximize": True}],
    "NAdam": [{}, {"momentum_decay": 0.1, "weight_decay": 0.1}, {"decoupled_weight_decay": True, "weight_decay": 0.1}],
    "RAdam": [{}, {"betas": (0.9, 0.8), "weight_decay": 0.1}, {"decoupled_weight_decay": True, "weight_decay": 0.1}],
}  # fmt: skip

variants = pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param(name, arguments, id="-".join([name, *arguments]))
        for name, rows in VARIANTS.items()
        for arguments in rows
    ],
)

SHAPES = [(7, 5), (13,), (), (0, 3), (2, 3, 4)]


def parameters(dtype: str = "float32", shapes: list[tuple[int, ...]] = SHAPES) -> list[Any]:
    rng = np.random.default_rng(0)
    return [torch.nn.Parameter(torch.tensor(rng.standard_normal(shape)).to(getattr(torch, dtype))) for shape in shapes]


def set_grads(params: list[Any], step: int) -> None:
    """Give every parameter a new gradient; every third none at each second step."""
    rng = np.random.default_rng(step)
    for i, param in enumerate(params):
        grad = torch.tensor(rng.standard_normal(param.shape)).to(param.dtype)
        param.grad = None if i % 3 == 1 and step % 2 else grad


def train(optimizer: Any, params: list[Any], steps: range, lr: Callable[[int], float] = lambda step: 0.01) -> None:
    for step in steps:
        for group in optimizer.param_groups:
            group["lr"] = lr(step)
        set_grads(params, step)
        optimizer.step()


def assert_same(actual: Any, desired: Any, tolerance: float = TOLERANCE) -> None:
    actual, desired = (tensor.detach().double() for tensor in (actual, desired))
    assert actual.shape == desired.shape
    assert desired.isfinite().all()
    if actual.numel():
        assert (actual - desired).abs().max() <= tolerance * desired.abs().max()


def assert_same_state(actual: Any, desired: Any) -> None:
    """Compare state dicts: keys, and values."""
    actual, desired = actual.state_dict(), desired.state_dict()
    assert [set(group) for group in actual["param_groups"]] == [set(group) for group in desired["param_groups"]]
    assert actual["state"].keys() == desired["state"].keys()
    for i, state in desired["state"].items():
        assert set(actual["state"][i]) == set(state)
        for name, tensor in state.items():
            assert actual["state"][i][name].dtype == tensor.dtype
            assert_same(actual["state"][i][name], tensor)


def both(name: str, arguments: dict[str, Any], **more: Any) -> tuple[Any, list[Any], Any, list[Any]]:
    our_params, their_params = parameters(**more), parameters(**more)
    return (
        getattr(ours, name)(our_params, **arguments), our_params,
        getattr(torch.optim, name)(their_params, **arguments), their_params,
    )  # fmt: skip


# ---- The same steps


@variants
def test_steps(name: str, arguments: dict[str, Any]) -> None:
    """Parameters and state are PyTorch's while a scheduler changes the learning rate, and gradients come and go."""
    one, our_params, other, their_params = both(name, {"lr": 0.01, **arguments})
    schedulers = [torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5) for optimizer in (one, other)]
    for step in range(20):
        for optimizer, params, scheduler in zip((one, other), (our_params, their_params), schedulers, strict=True):
            set_grads(params, step)
            optimizer.step()
            scheduler.step()
        assert_same_state(one, other)
        for ours_now, theirs in zip(our_params, their_params, strict=True):
            assert_same(ours_now, theirs)
    assert one.param_groups[0]["lr"] == other.param_groups[0]["lr"] < 0.01


@variants
def test_state_dicts_go_both_ways(name: str, arguments: dict[str, Any]) -> None:
    """10 steps here and 10 there are 20 steps of either."""
    one, our_params, other, their_params = both(name, arguments)
    train(one, our_params, range(10))
    train(other, their_params, range(10))
    one, other = copy.deepcopy(one.state_dict()), copy.deepcopy(other.state_dict())
    theirs_continued = getattr(torch.optim, name)(our_params, **arguments)
    ours_continued = getattr(ours, name)(their_params, **arguments)
    theirs_continued.load_state_dict(one)
    ours_continued.load_state_dict(other)
    train(theirs_continued, our_params, range(10, 20))
    train(ours_continued, their_params, range(10, 20))
    straight, params = getattr(torch.optim, name)(fresh := parameters(), **arguments), fresh
    train(straight, params, range(20))
    for a, b, c in zip(our_params, their_params, params, strict=True):
        assert_same(a, c)
        assert_same(b, c)
    assert_same_state(ours_continued, straight)


@pytest.mark.parametrize("name", ours.__all__)
def test_steps_are_those_of_our_optimizers(name: str) -> None:
    """The same bits as those of the class in fastopt.optim that has the same update and hyperparameters."""
    tensor, param = torch.nn.Parameter(torch.ones(5)), np.ones(5, np.float32)
    optimizer = getattr(ours, name)([tensor], lr=0.1, weight_decay=0.01)
    (group,) = optimizer.param_groups
    spec = optimizer.spec_of(group)
    theirs = CLASSES[spec.name]
    values = {}
    for hyperparameter in inspect.signature(theirs).parameters:
        key, i = name_of(spec, hyperparameter)
        if key in group and key != "params":
            values[hyperparameter] = group[key] if i is None else group[key][i]
    assert {"lr", "weight_decay"} <= set(values)
    other = theirs([param], **values)
    for step in range(5):
        grad = np.random.default_rng(step).standard_normal(5).astype("f4")
        tensor.grad = torch.tensor(grad)
        optimizer.step()
        other.step([grad])
    assert tensor.detach().numpy().tobytes() == param.tobytes()


def test_lion() -> None:
    """Lion takes the steps of fastopt.lion."""
    import fastopt

    param, average = np.ones(5, np.float32), np.zeros(5, np.float32)
    tensor = torch.nn.Parameter(torch.ones(5))
    optimizer = ours.Lion([tensor], lr=0.1, betas=(0.8, 0.7), weight_decay=0.1, maximize=True)
    for step in range(5):
        grad = np.random.default_rng(step).standard_normal(5).astype("f4")
        tensor.grad = torch.tensor(grad)
        optimizer.step()
        fastopt.lion(param, grad, average, lr=0.1, beta1=0.8, beta2=0.7, weight_decay=0.1, grad_scale=-1.0)
    assert tensor.detach().numpy().tobytes() == param.tobytes()
    assert optimizer.state[tensor]["exp_avg"].numpy().tobytes() == average.tobytes()
    defaults = {name: p.default for name, p in inspect.signature(ours.Lion).parameters.items() if name != "params"}
    assert defaults == {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0, "maximize": False}
    with pytest.raises(ValueError, match=r"beta2 is 1\.0"):
        ours.Lion([tensor], betas=(0.9, 1.0))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("bfloat16", 3e-2), ("float16", 3e-2)])
@pytest.mark.parametrize("name", VARIANTS)
def test_dtypes(name: str, dtype: str, tolerance: float) -> None:
    """State has the parameter's dtype. PyTorch computes in 16 bits: its eps of 1e-8 is 0, and small squares are."""
    arguments = {"eps": 1e-3} if dtype == "float16" and name != "SGD" else {}
    one, our_params, other, their_params = both(name, arguments, dtype=dtype)
    train(one, our_params, range(4))
    train(other, their_params, range(4))
    for a, b in zip(our_params, their_params, strict=True):
        assert_same(a, b, tolerance)
        if "momentum_buffer" not in one.state.get(a, {}):
            arrays = {k: v.dtype for k, v in one.state.get(a, {}).items() if k not in ("step", "mu_product")}
            assert arrays == dict.fromkeys(arrays, a.dtype)


def test_int16_is_no_bfloat16_elsewhere() -> None:
    """Only a plan that was told so takes the bits of bfloat16 for gradients."""
    from fastopt.engine.update.plan import Plan, Tensor
    from fastopt.updates.descent import SGD

    grad = torch.full((3,), 2.0, dtype=torch.bfloat16).view(torch.int16).numpy()
    for told in (True, False):
        param = torch.ones(3)
        plan = Plan([Tensor("param", 0, (param,))], of_torch=told)
        if told:
            plan.step(lambda *_: (SGD.only, (0.25, 0.0, 1.0)), [grad])
            assert param.tolist() == [0.5] * 3
        else:
            with pytest.raises(TypeError, match="grad of param has dtype int16"):
                plan.step(lambda *_: (SGD.only, (0.25, 0.0, 1.0)), [grad])


def test_mixed_dtypes() -> None:
    """One optimizer may have parameters of all dtypes."""
    params = [torch.nn.Parameter(torch.ones(5, dtype=d)) for d in (torch.float32, torch.bfloat16, torch.float64)]
    theirs = copy.deepcopy(params)
    for some, module in ((params, ours), (theirs, torch.optim)):
        train(module.AdamW(some), some, range(3))
    for a, b in zip(params, theirs, strict=True):
        assert_same(a, b, 1e-2 if a.dtype == torch.bfloat16 else TOLERANCE)


def test_layouts() -> None:
    """Parameters and gradients that are not contiguous are updated where they are."""
    results = []
    for module in (ours, torch.optim):
        base = torch.arange(48.0).reshape(4, 3, 2, 2)
        param = torch.nn.Parameter(base.to(memory_format=torch.channels_last))
        other = torch.nn.Parameter(torch.arange(20.0).reshape(4, 5).t())
        optimizer = module.AdamW([param, other], lr=0.1)
        address = param.data_ptr()
        for step in range(3):
            param.grad = torch.full((2, 2, 3, 4), step + 1.0).permute(3, 2, 0, 1)
            other.grad = torch.arange(10.0).reshape(1, 10).expand(4, 10)[:, ::2].t()
            optimizer.step()
        assert param.data_ptr() == address
        assert optimizer.state[param]["exp_avg"].stride() == param.stride()
        results.append((param, other))
    for a, b in zip(*results, strict=True):
        assert_same(a, b)


def test_learning_rate_as_tensor() -> None:
    """It is read at each step."""
    params = parameters(shapes=[(3,)])
    theirs = copy.deepcopy(params)
    for some, module in ((params, ours), (theirs, torch.optim)):
        lr = torch.tensor(0.1)
        optimizer = module.Adam(some, lr=lr)
        for step in range(3):
            set_grads(some, step)
            optimizer.step()
            lr.mul_(0.5)
    assert_same(params[0], theirs[0])


def test_groups_have_their_own_hyperparameters() -> None:
    """A group that is added later starts at its first step; a group's variant may change."""
    results = []
    for module in (ours, torch.optim):
        params = parameters()
        optimizer = module.SGD([{"params": params[:2], "lr": 0.1}], lr=1.0, momentum=0.9, dampening=0.5)
        train(optimizer, params, range(3), lambda step: 0.1)
        optimizer.add_param_group({"params": params[2:], "weight_decay": 0.1, "nesterov": True, "dampening": 0.0})
        train(optimizer, params, range(3, 6), lambda step: 0.1)
        optimizer.param_groups[0]["momentum"] = 0.0
        train(optimizer, params, range(6, 9), lambda step: 0.1)
        results.append(params)
    for a, b in zip(*results, strict=True):
        assert_same(a, b)


def test_adagrad_groups_that_are_added() -> None:
    """Their sums start from the optimizer's initial value, at the first gradient."""
    results = []
    for module in (ours, torch.optim):
        params = parameters()
        optimizer = module.Adagrad(params[:2], initial_accumulator_value=0.5)
        optimizer.add_param_group({"params": params[2:]})
        assert params[2] not in optimizer.state
        train(optimizer, params, range(3))
        results.append(optimizer)
    assert_same_state(*results)


def test_a_variant_with_as_much_state() -> None:
    """State goes by its name: an average of gradients does not become a velocity."""
    results = []
    for module in (ours, torch.optim):
        params = parameters()
        optimizer = module.RMSprop(params, centered=True)
        train(optimizer, params, range(0, 6, 2))
        for param in params:
            optimizer.state[param]["momentum_buffer"] = torch.zeros_like(param)
        train(optimizer, params, range(0, 6, 2))
        optimizer.param_groups[0].update(centered=False, momentum=0.9)
        train(optimizer, params, range(0, 6, 2))
        results.append((optimizer, params))
    assert_same_state(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert_same(a, b)


def test_nadam_products_differ() -> None:
    """Parameters that have made the same number of steps may have come to it by different momenta."""
    results = []
    for module in (ours, torch.optim):
        params = parameters(shapes=[(3,), (4,)])
        optimizer = module.NAdam(params, lr=0.1)
        for step in range(7):
            set_grads(params, 2 * step)
            if step:  # both, then one, then the other: by another beta
                params[step < 4].grad = None
            optimizer.param_groups[0]["betas"] = (0.9 if step < 4 else 0.5, 0.999)
            optimizer.step()
        for step in range(3):
            set_grads(params, 2 * step)
            optimizer.step()
        results.append((params, [optimizer.state[p]["mu_product"] for p in params]))
    for a, b in zip(results[0][0] + results[0][1], results[1][0] + results[1][1], strict=True):
        assert_same(a, b)
    assert results[0][1][0] != results[0][1][1]


# ---- The same ways


def test_classes_are_theirs() -> None:
    """Arguments, their order and defaults are PyTorch's, whatever its version."""
    for name in VARIANTS:
        assert issubclass(getattr(ours, name), getattr(torch.optim, name))
        assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(torch.optim, name))
    assert {name for name in ours.__all__ if hasattr(torch.optim, name)} == set(VARIANTS)
    assert all(issubclass(getattr(ours, name), torch.optim.Optimizer) for name in ours.__all__)


@pytest.mark.parametrize("name", ours.__all__)
def test_names_are_theirs(name: str) -> None:
    """Tab completion has no others; `repr` is PyTorch's."""
    optimizer = getattr(ours, name)(parameters())
    shown = set(dir(optimizer))
    assert shown <= set(dir(getattr(torch.optim, name, torch.optim.SGD)(parameters())))
    assert {"add_param_group", "load_state_dict", "param_groups", "state", "step", "zero_grad"} <= shown
    assert repr(optimizer).startswith(f"{name} (\nParameter Group 0\n")


def test_closure_and_hooks() -> None:
    """A closure runs with gradients on, even under no_grad, and its loss is returned; hooks run around the step."""
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = ours.SGD([param], lr=0.5)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    optimizer.register_state_dict_post_hook(lambda _, state: calls.append("state"))
    optimizer.register_load_state_dict_pre_hook(lambda _, state: calls.append("load"))

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (param * 2).sum()
        loss.backward()
        calls.append("closure")
        return loss

    with torch.no_grad():
        assert optimizer.step(closure) == 6.0
    assert param.tolist() == [0.0] * 3
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["before", "closure", "after", "state", "load"]


@pytest.mark.parametrize("fused", [None, True])
def test_grad_scaler(fused: bool | None) -> None:
    """Gradients are unscaled, and a step is skipped where one is infinite; with fused=True, within the update."""
    results = []
    for module in (ours, torch.optim):
        param = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        optimizer = module.AdamW([param], lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
        for step in range(6):
            optimizer.zero_grad(set_to_none=True)
            loss = (param * torch.tensor([3.0, float("inf") if step == 3 else step - 1.0])).sum()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        results.append((param, optimizer.state[param]["step"], torch.tensor(scaler.get_scale())))
    for a, b in zip(*results, strict=True):
        assert_same(a, b)
    assert results[0][1] == 5


@pytest.mark.parametrize("name", ["AdamW", "NAdam", "SGD", "Adagrad"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_go_on_by_themselves(name: str, copied: Callable[[Any], Any]) -> None:
    """A copy of an optimizer makes the same steps, and shares nothing with the first."""
    arguments = {"momentum": 0.9, "dampening": 0.5} if name == "SGD" else {}
    params = parameters()
    optimizer = getattr(ours, name)(params, **arguments)
    train(optimizer, params, range(3))
    twin, twin_params = copied((optimizer, params))
    before = [param.detach().clone() for param in params]
    train(twin, twin_params, range(3, 6))
    assert all(map(torch.equal, params, before))
    train(optimizer, params, range(3, 6))
    assert all(map(torch.equal, params, twin_params))
    for param, twin_param in zip(params, twin_params, strict=True):
        for key, value in optimizer.state[param].items():
            assert torch.equal(value, twin.state[twin_param][key])


def test_pickles_are_small() -> None:
    """Steps stand in one piece of memory; each is pickled alone."""
    params = [torch.nn.Parameter(torch.ones(1)) for _ in range(300)]
    sizes = []
    for module in (ours, torch.optim):
        optimizer = module.AdamW(params)
        train(optimizer, params, range(0, 4, 2))
        sizes.append(len(pickle.dumps(optimizer)))
    assert sizes[0] < 1.05 * sizes[1]


def test_saved_and_loaded(tmp_path: Any) -> None:
    """torch.save and torch.load with weights_only, whose tensors keep sharing memory."""
    params = parameters()
    optimizer = ours.NAdam(params)
    train(optimizer, params, range(4))
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    twin_params = copy.deepcopy(params)
    twin = ours.NAdam(twin_params)
    twin.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for some, one in ((params, optimizer), (twin_params, twin)):
        train(one, some, range(4, 8))
    for a, b in zip(params, twin_params, strict=True):
        assert_same(a, b)


def test_autograd_learns_of_the_step() -> None:
    """Each step makes a parameter's version larger, if it has a gradient, so that stale graphs are found out."""
    param, frozen = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    optimizer = ours.AdamW([param, frozen])
    loss = (param * param).sum()
    param.grad = torch.ones(3)
    versions = [param._version]
    for _ in range(3):
        optimizer.step()
        versions.append(param._version)
    assert versions == sorted(set(versions))
    assert frozen._version == 0
    assert frozen not in optimizer.state
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    param.grad, frozen.grad = None, torch.ones(3)
    optimizer.step()
    assert param._version == versions[-1]
    assert frozen._version == 1
    assert optimizer.state[frozen]["step"] == 1


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph:UserWarning")
def test_training_of_tied_weights() -> None:
    """A whole training loop: tied weights, frozen ones, accumulation, gradients with graphs."""
    results = []
    for module in (ours, torch.optim):
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
        )
        model[2].weight = model[0].weight
        model[3].bias.requires_grad_(False)
        optimizer = module.AdamW(model.parameters(), lr=0.05)
        for step in range(5):
            optimizer.zero_grad(set_to_none=step % 2 == 0)
            for _ in range(2):
                model(torch.linspace(-1, 1, 12).reshape(3, 4)).square().sum().backward(create_graph=step == 3)
            optimizer.step()
            for param in model.parameters():
                param.grad = None if param.grad is None else param.grad.detach()
        results.append(list(model.parameters()))
    assert len(results[0]) == 5
    for a, b in zip(*results, strict=True):
        assert_same(a, b)


def test_steps_without_gradients() -> None:
    """Nothing happens, and no state appears; what stands in the state beside parameters is let be."""
    params = parameters()
    optimizer = ours.NAdam(params)
    optimizer.step()
    assert not optimizer.state
    optimizer.state["of somebody"] = 3
    for step in (0, 1, 2):
        train(optimizer, params, range(step, step + 1))
    assert copy.deepcopy(optimizer).state["of somebody"] == 3
    assert [optimizer.state[param]["step"].item() for param in params] == [3, 2, 3, 3, 2]


# ---- What moves


@pytest.mark.parametrize(
    "move",
    [
        pytest.param(lambda p: setattr(p, "data", p.data.clone()), id="storage"),
        pytest.param(lambda p: setattr(p, "data", p.data.double()), id="dtype"),
        pytest.param(lambda p: setattr(p, "data", p.data.t()), id="layout"),
        pytest.param(lambda p: setattr(p, "data", p.data[:2]), id="shape"),
    ],
)
def test_moved_parameters(move: Callable[[Any], None]) -> None:
    """A parameter that has another storage, layout, dtype or shape is updated where it is."""
    results = []
    for module in (ours, torch.optim):
        param, other = parameters(shapes=[(4, 4), (3,)])
        optimizer = module.SGD([param, other], lr=0.1)
        set_grads([param, other], 0)
        optimizer.step()
        old = param.data
        kept = old.clone()
        param.grad = None
        move(param)
        set_grads([param, other], 2)
        optimizer.step()
        if old.data_ptr() != param.data_ptr():
            assert torch.equal(old, kept)
        results.append((param, other))
    for a, b in zip(*results, strict=True):
        assert_same(a, b)


def test_bits_that_mean_something_else() -> None:
    """A parameter whose memory is taken for another dtype."""
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.float16))
    optimizer = ours.SGD([param], lr=0.5)
    param.grad = torch.ones_like(param)
    optimizer.step()
    param.grad = None
    param.data = param.data.view(torch.bfloat16).fill_(2.0)
    param.grad = torch.ones_like(param)
    optimizer.step()
    assert param.tolist() == [1.5] * 3


def test_moved_state() -> None:
    """State that is put in place of another counts, as a tensor, as its data, and as its values."""
    results = []
    for module in (ours, torch.optim):
        params = parameters(shapes=[(4,), (3,)])
        optimizer = module.AdamW(params, lr=0.1)
        train(optimizer, params, range(0, 4, 2))
        state = optimizer.state[params[0]]
        state["exp_avg"] = torch.full((4,), 2.0)
        train(optimizer, params, range(0, 4, 2))
        state["exp_avg_sq"].data = torch.full((4,), 3.0)
        train(optimizer, params, range(0, 4, 2))
        state["step"].fill_(1)
        train(optimizer, params, range(0, 4, 2))
        state["step"] = torch.tensor(2.0)
        train(optimizer, params, range(0, 4, 2))
        optimizer.state[params[1]] = {}
        train(optimizer, params, range(0, 4, 2))
        optimizer.state.clear()
        train(optimizer, params, range(0, 4, 2))
        results.append((optimizer, params))
    assert_same_state(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert_same(a, b)


def test_parameters_that_are_exchanged() -> None:
    """The list of a group's parameters may be written into."""
    params = parameters(shapes=[(3,), (3,)])
    optimizer = ours.Adam(params[:1], lr=0.1)
    train(optimizer, params[:1], range(2))
    optimizer.param_groups[0]["params"][0] = params[1]
    before = params[1].detach().clone()
    params[1].grad = torch.ones(3)
    optimizer.step()
    assert_same(params[1], before - 0.01)


# ---- What is refused, with nothing written


def refused(optimizer: Any, params: list[Any], error: type[Exception], message: str) -> None:
    before = [param.detach().clone() for param in params]
    state = copy.deepcopy(optimizer.state_dict()["state"])
    versions = [param._version for param in params]
    with pytest.raises(error, match=message):
        optimizer.step()
    assert all(map(torch.equal, params, before))
    assert [param._version for param in params] == versions
    after = optimizer.state_dict()["state"]
    assert after.keys() == state.keys()
    for i, values in state.items():
        assert all(torch.equal(after[i][name], value) for name, value in values.items())


@pytest.mark.parametrize("steps", [0, 2])
def test_gradients_that_are_refused(steps: int) -> None:
    """At the first step, and at a later one."""
    params = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3, 2))]
    optimizer = ours.AdamW([("first", params[0]), ("second", params[1])])
    train(optimizer, params, range(0, 2 * steps, 2))
    params[0].grad = torch.ones(3)
    params[1].grad = torch.ones(3, 2).to_sparse()
    refused(optimizer, params, TypeError, "grad of parameter 'second' is sparse; expected a dense tensor")
    params[1].grad = torch.ones(3, 2)
    params[1].grad.data = torch.ones(2, 3)
    refused(optimizer, params, ValueError, r"grad of parameter 'second' has shape \(2, 3\); expected \(3, 2\)")
    params[1].grad = params[1].data
    refused(optimizer, params, ValueError, "grad of parameter 'second' overlaps parameter 'second'")
    params[1].grad = torch.ones(3, 2)
    optimizer.param_groups[0]["eps"] = -1.0
    refused(optimizer, params, ValueError, r"eps is -1\.0")
    optimizer.param_groups[0]["eps"] = 1e-8
    optimizer.step()
    assert optimizer.state[params[0]]["step"] == steps + 1


def test_parameters_that_are_refused() -> None:
    for make, error, message in [
        (
            lambda: torch.ones(3, dtype=torch.complex64),
            TypeError,
            "has dtype torch.complex64; expected float16, bfloat16",
        ),
        (lambda: torch.ones(1).expand(3), ValueError, "overlaps itself"),
        (lambda: torch.ones(3, device="meta"), ValueError, "is on device meta"),
    ]:
        params = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(make())]
        optimizer = ours.SGD(params, lr=0.1)
        params[0].grad, params[1].grad = torch.ones(2), torch.ones_like(params[1])
        with pytest.raises(error, match=r"param_groups\[0\]\['params'\]\[1\] " + message):
            optimizer.step()
        assert params[0].tolist() == [1, 1]


def test_parameters_that_share_memory_are_refused() -> None:
    memory = torch.ones(4)
    params = [torch.nn.Parameter(memory[:3]), torch.nn.Parameter(memory[2:])]
    optimizer = ours.SGD(params, lr=0.1)
    set_grads(params, 0)
    refused(optimizer, params, ValueError, r"param_groups\[0\]\['params'\]\[1\] overlaps param_groups")


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_differentiable_and_capturable_are_refused(name: str) -> None:
    """By name, for the optimizer and for a group."""
    made, params = getattr(ours, name), parameters()
    for argument in {"differentiable", "capturable"} & set(inspect.signature(made).parameters):
        with pytest.raises(ValueError, match=f"{argument} is True; expected False"):
            made(params, **{argument: True})
        with pytest.raises(ValueError, match=f"{argument} is True; expected False"):
            made([{"params": params, argument: True}])


@pytest.mark.parametrize("option", ["differentiable", "capturable"])
@pytest.mark.parametrize("name", ours.__all__)
def test_differentiable_and_capturable_are_refused_later(name: str, option: str) -> None:
    """In a state dict and in a copy, with nothing changed; in a group, by the next step."""
    params = parameters()
    optimizer = getattr(ours, name)(params)
    train(optimizer, params, range(0, 4, 2))
    message = f"{option} is True; expected False"
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0].update({option: True, "lr": 123.0})
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == before["param_groups"][0]["lr"]
    optimizer.param_groups[0][option] = True
    refused(optimizer, params, ValueError, message)
    with pytest.raises(ValueError, match=message):
        copy.deepcopy(optimizer)
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], option: True})
    optimizer.param_groups[0][option] = False
    optimizer.step()


@pytest.mark.parametrize("arguments", [{"foreach": True}, {"foreach": False}, {"fused": True}, {"fused": False}])
def test_choices_of_implementations_have_no_effect(arguments: dict[str, bool]) -> None:
    params, plain = parameters(), parameters()
    train(ours.AdamW(params, **arguments), params, range(3))
    train(ours.AdamW(plain), plain, range(3))
    assert all(map(torch.equal, params, plain))


# ---- Parameters on devices: tensors of the host's that pass for such


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tensors of more than one axis pass for a device's: their updates go the way of those, to run_many."""
    from fastopt.torch import tensors

    machine = peer("fastopt.device.select")  # which needs numba-cuda
    monkeypatch.setattr(tensors, "is_on_device", lambda tensor: tensor.ndim > 1)
    monkeypatch.setattr(machine, "machine", lambda: None)


@variants
@pytest.mark.usefixtures("devices")
def test_mixed_devices(name: str, arguments: dict[str, Any]) -> None:
    """Groups may have parameters in the host's memory and on devices."""
    one, our_params, other, their_params = both(name, {"lr": 0.01, **arguments})
    for step in range(6):
        for optimizer, params in ((one, our_params), (other, their_params)):
            set_grads(params, step)
            optimizer.step()
        assert_same_state(one, other)
        for a, b in zip(our_params, their_params, strict=True):
            assert_same(a, b)


@pytest.mark.usefixtures("devices")
def test_refusals_on_devices() -> None:
    """What is wrong on one side leaves the other as it was, too."""
    params = parameters(shapes=[(3,), (2, 2)])
    optimizer = ours.AdamW(params)
    params[0].grad, params[1].grad = torch.ones(3), torch.ones(2, 2).to_sparse()
    refused(optimizer, params, TypeError, r"grad of .* is sparse")
    params[1].grad = torch.ones(2, 2)
    params[1].grad.data = torch.ones(4, 1)
    refused(optimizer, params, ValueError, r"has shape \(4, 1\); expected \(2, 2\)")
    params[0].grad.data, params[1].grad = torch.ones(4), torch.ones(2, 2)
    refused(optimizer, params, ValueError, r"has shape \(4,\); expected \(3,\)")


@pytest.mark.usefixtures("devices")
def test_devices_that_can_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what runs kernels, and while a graph is captured, the host's parameters stay as they are too."""
    from fastopt import BackendUnavailable
    from fastopt.device import select as machine

    params = parameters(shapes=[(3,), (2, 2)])
    optimizer = ours.AdamW(params)
    set_grads(params, 0)

    def missing() -> None:
        raise BackendUnavailable("no CUDA here")

    with monkeypatch.context() as patch:
        patch.setattr(machine, "machine", missing)
        refused(optimizer, params, BackendUnavailable, "no CUDA here")
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        refused(optimizer, params, RuntimeError, "a CUDA graph is being captured")
    optimizer.step()
    assert optimizer.state[params[0]]["step"] == 1


@pytest.mark.usefixtures("devices")
def test_a_launch_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's parameters have been updated, once, and counted."""
    from fastopt.torch import devices as module

    params = parameters(shapes=[(3,), (2, 2)])
    optimizer = ours.NAdam(params)
    train(optimizer, params, range(0, 4, 2))
    set_grads(params, 4)
    expected = 0.9 * optimizer.state[params[0]]["exp_avg"] + 0.1 * params[0].grad

    def fail(*_: Any) -> None:
        raise ValueError("no launch")

    with monkeypatch.context() as patch:
        patch.setattr(module, "run_many", fail)
        with pytest.raises(ValueError, match="no launch"):
            optimizer.step()
    assert [optimizer.state[param]["step"].item() for param in params] == [3, 2]
    assert_same(optimizer.state[params[0]]["exp_avg"], expected)
    train(optimizer, params, range(4, 6, 2))
    assert [optimizer.state[param]["step"].item() for param in params] == [4, 3]


# ---- The module


def test_importing_fastopt_does_not_import_torch() -> None:
    program = (
        "import sys, fastopt, fastopt.optim; assert 'torch' not in sys.modules and 'fastopt.torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_missing_torch_is_named() -> None:
    program = """
import sys
sys.modules["torch"] = None
import fastopt
try:
    import fastopt.torch
except fastopt.BackendUnavailable as error:
    assert "`pip install torch`" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", [None, *sorted(ours.__all__)])
def test_docstrings(name: str | None) -> None:
    """Every class documents its arguments; examples give what they say."""
    documented = ours if name is None else getattr(ours, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(documented, str(name), globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
    if name is not None:
        section = re.search(r"Parameters\n-+\n(.*?)\n\n", inspect.getdoc(documented) or "", re.S)
        assert section
        names = [entry for line in re.findall(r"^(\w.*?) : ", section[1], re.M) for entry in line.split(", ")]
        assert set(names) == set(inspect.signature(documented).parameters)


def test_the_page_runs() -> None:
    """Every block of docs/torch.md, which other tests leave alone where PyTorch may be missing."""
    blocks = blocks_of(ROOT / "docs" / "torch.md")
    assert len(blocks) == 3
    for block in blocks:
        assert not block.is_complete
        exec(compile(block.text, f"docs/torch.md, line {block.line}", "exec"), {"__name__": "__main__"})


def test_gradients_over_the_same_memory_are_told_apart() -> None:
    """A step that finds them where they stood looks at nothing else of them."""
    memory = torch.randn(16)
    views = [memory.view(4, 4), memory.view(4, 4).t(), memory.view(4, 4), memory.view(4, 4)]
    mine, theirs = torch.ones(4, 4, requires_grad=True), torch.ones(4, 4, requires_grad=True)
    optimizer, other = ours.AdamW([mine], lr=0.1), torch.optim.AdamW([theirs], lr=0.1)
    for i, view in enumerate(views):
        mine.grad = view
        optimizer.step()
        theirs.grad = view.contiguous()
        other.step()
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
        if i == 2:
            memory.neg_()  # the values are read anew, wherever they stand
