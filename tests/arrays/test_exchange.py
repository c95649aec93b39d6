"""PyTorch tensors through its table of C functions, and the cases that fall back to ``__dlpack__``."""

from __future__ import annotations

import gc
import importlib
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt.engine.core import exchange
from fastopt.engine.update.run import run_many
from fastopt.init import normal_
from fastopt.optim import Adam
from fastopt.scaling import StandardScaler, Whitener
from fastopt.updates.descent import SGD
from tests.peers import peer

pytestmark = pytest.mark.peers

torch = peer("torch")
fingerprints = importlib.import_module("fastopt.torch.fingerprint")

both = pytest.mark.parametrize("kind", [exchange.TensorFingerprint, fingerprints.SlowFingerprint])


def tensors() -> list[Any]:
    return [torch.ones(4, 6), torch.ones(()), torch.ones(0, 3), torch.ones(5, dtype=torch.bfloat16)]


def test_this_pytorch_has_a_table() -> None:
    """Without one, no test here would see what it is for."""
    assert exchange.has_table()
    assert fingerprints.TensorFingerprint is exchange.TensorFingerprint


@both
def test_tensors_stand_where_they_stood(kind: Any) -> None:
    found = tensors()
    before = kind(found)
    assert before.holds(found)
    assert before.holds([tensor.detach() for tensor in found])
    found[0].fill_(2.0)
    assert before.holds(found)
    assert not before.holds(found[:-1])
    assert not before.holds([*found, torch.ones(3)])


@both
@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.clone(),
        lambda tensor: tensor[1:],
        lambda tensor: tensor[:, :5],
        lambda tensor: tensor.view(6, 4),
        lambda tensor: tensor.view(24),
        lambda tensor: tensor.view(torch.int32),
        lambda tensor: tensor.as_strided((4, 6), (1, 4)),
        lambda tensor: tensor.to_sparse(),
    ],
)
def test_a_change_is_seen(kind: Any, change: Callable[[Any], Any]) -> None:
    found = tensors()
    before = kind(found)
    assert not before.holds([change(found[0]), *found[1:]])


@both
def test_what_has_no_memory_can_not_be_looked_at(kind: Any) -> None:
    for odd in (torch.ones(3).to_sparse(), torch.ones(3, device="meta")):
        if kind is exchange.TensorFingerprint or odd.layout is not torch.strided:
            with pytest.raises(RuntimeError):
                kind([torch.ones(3), odd])
    assert fingerprints.fingerprint([torch._neg_view(torch.ones(3))]) is None


def test_what_is_no_tensor_is_not_looked_at() -> None:
    with pytest.raises(RuntimeError, match="tensor 1 has no memory of its own"):
        exchange.TensorFingerprint([torch.ones(3), np.ones(3)])
    assert not exchange.TensorFingerprint([torch.ones(3)]).holds([None])


def test_an_update_takes_hold_of_a_tensor_and_lets_it_go() -> None:
    param = torch.ones(3)
    storage = weakref.ref(param.untyped_storage())
    fastopt.sgd(param, torch.ones(3), lr=0.5)
    assert param.tolist() == [0.5, 0.5, 0.5]
    del param
    gc.collect()
    assert storage() is None


def test_a_subclass_is_asked_itself() -> None:
    asked = []

    class Own(torch.Tensor):
        def __dlpack__(self, **arguments: Any) -> Any:
            asked.append(arguments)
            return self.as_subclass(torch.Tensor).__dlpack__(**arguments)

    param = torch.ones(3).as_subclass(Own)
    fastopt.sgd(param, np.ones(3, np.float32), lr=0.5)
    assert asked
    assert param.tolist() == [0.5, 0.5, 0.5]


def test_what_would_be_read_wrongly_is_refused() -> None:
    grad = np.ones(3, np.float32)
    with pytest.raises(TypeError, match=r"param is a Tensor that can't be exported.*: it is a negated view"):
        fastopt.sgd(torch._neg_view(torch.ones(3)), grad, lr=0.1)
    fastopt.sgd(torch.nn.Parameter(torch.ones(3), requires_grad=False), grad, lr=0.1)


@pytest.mark.parametrize(
    "move",
    [
        lambda tensor: setattr(tensor, "data", torch.ones(1000)),
        lambda tensor: tensor.set_(torch.ones(1000)),
        lambda tensor: tensor.resize_(100_000),
        lambda tensor: tensor.resize_(100),
        lambda tensor: setattr(tensor, "data", tensor.data.view(16, 64)),
        lambda tensor: setattr(tensor, "data", tensor.data.t()),
        lambda tensor: setattr(tensor, "data", tensor.data[::2]),
    ],
)
def test_a_tensor_that_has_moved_is_refused_by_an_optimizer(move: Callable[[Any], None]) -> None:
    params, grads = ([torch.ones(32, 32), torch.ones(32, 32)] for _ in range(2))
    optimizer = Adam(params)
    optimizer.step(grads)
    before = params[0].clone()
    move(params[1])
    for _ in range(3):
        with pytest.raises(ValueError, match=r"params\[1\] has been moved in memory; expected its original address"):
            optimizer.step(grads)
    assert torch.equal(params[0], before)
    assert optimizer.steps.tolist() == [1, 1]


def test_a_tensor_that_has_been_put_straight_is_refused_by_an_optimizer() -> None:
    param, grad = torch.ones(4, 4).t(), torch.ones(4, 4)
    optimizer = Adam([param])
    optimizer.step([grad])
    param.data = param.data.t()
    with pytest.raises(ValueError, match="has been moved in memory"):
        optimizer.step([grad])


def test_a_tensor_that_has_been_transposed_in_its_place_is_refused_by_an_optimizer() -> None:
    """Its address and shape are as before, and it is contiguous neither before nor after."""
    whole, grad = torch.ones(8, 8), torch.ones(4, 4)
    param = whole[:4, :4]
    optimizer = Adam([param])
    optimizer.step([grad])
    before = whole.clone()
    param.data = whole.t()[:4, :4]
    with pytest.raises(ValueError, match="has been moved in memory"):
        optimizer.step([grad])
    assert torch.equal(whole, before)


@pytest.mark.parametrize("kind", ["TensorFingerprint", "SlowFingerprint"])
def test_steps_are_the_same_however_tensors_are_looked_at(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "TensorFingerprint", getattr(fingerprints, kind))
    ours = importlib.import_module("fastopt.torch")
    params = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = ours.SGD(params, lr=0.25)
    for i in range(4):
        for param in params:
            if i in (1, 3):  # in turns the same gradients, and others
                param.grad = torch.full((3,), 1.0)
            elif param.grad is not None:
                param.grad.fill_(2.0)
        if i == 2:
            params[1].data = torch.full((3,), 5.0)
        optimizer.step()
    assert params[0].tolist() == [1 - 0.25 * (1 + 2 + 1)] * 3
    assert params[1].tolist() == [5 - 0.25 * (2 + 1)] * 3


def test_a_gradient_that_has_become_negated_is_read_so() -> None:
    ours = importlib.import_module("fastopt.torch")
    param = torch.nn.Parameter(torch.zeros(3))
    grad = torch.ones(3)
    optimizer = ours.SGD([param], lr=1.0)
    for each in (grad, grad, torch._neg_view(grad)):
        param.grad = each
        optimizer.step()
    assert param.tolist() == [-1.0, -1.0, -1.0]


def test_a_parameter_that_has_become_negated_is_refused() -> None:
    ours = importlib.import_module("fastopt.torch")
    param = torch.nn.Parameter(torch.ones(3))
    param.grad = torch.ones(3)
    optimizer = ours.SGD([param], lr=0.5)
    optimizer.step()
    param.data = torch._neg_view(param.data)
    with pytest.raises(TypeError, match=r"param_groups\[0\]\['params'\]\[0\] is .*negated"):
        optimizer.step()
    assert param.tolist() == [-0.5, -0.5, -0.5]


# ---- What autograd must know


def stale(change: Callable[[Any], object]) -> bool:
    """Whether autograd sees that a tensor, which it has saved, has been changed."""
    weight = torch.nn.Parameter(torch.ones(4, 3))
    loss = (weight * weight).sum()
    change(weight.detach())
    try:
        loss.backward()
    except RuntimeError as error:
        return "has been modified by an inplace operation" in str(error)
    return False


def rows(scale: float = 1.0) -> Any:
    return np.full((4, 3), scale, np.float32)


def numbers() -> Any:
    return np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def kernel_call(tensor: Any) -> None:
    kernel = fastopt.kernel("sgd", "float32")
    kernel(tensor, rows(), scalars=kernel.prepare(lr=0.1))


WRITE = [
    lambda tensor: fastopt.sgd(tensor, rows(), lr=0.1),
    lambda tensor: fastopt.sgd(tensor, rows(), lr=0.1, backend="numba"),
    lambda tensor: fastopt.sgd(tensor, rows(), lr=0.1, backend="reference"),
    lambda tensor: fastopt.momentum(rows(), rows(), tensor, lr=0.1),
    lambda tensor: Adam([rows(), tensor]).step([rows(), rows()]),
    lambda tensor: fastopt.batch_norm_forward(rows(), out=(tensor, None, None)),
    lambda tensor: fastopt.batch_norm_forward(rows(), running_mean=tensor[0], running_var=np.ones(3, np.float32)),
    lambda tensor: fastopt.batch_norm_inference(rows(), None, None, rows()[0], rows()[0], out=tensor),
    lambda tensor: fastopt.layer_norm_backward(
        rows(), rows(), None, np.zeros(4, np.float32), np.ones(4, np.float32), out=(tensor, None, None)
    ),
    lambda tensor: run_many(SGD.only, [(rows(), rows()), (tensor, rows())], (0.1, 0.0, 1.0), None, None),
    lambda tensor: StandardScaler().fit(numbers()).transform_(tensor),
    lambda tensor: StandardScaler().fit(numbers()).inverse_transform(numbers(), tensor),
    lambda tensor: Whitener().fit(numbers()).transform_(tensor),
    lambda tensor: Whitener().fit(numbers()).inverse_transform(numbers(), tensor),
    lambda tensor: fastopt.dropout_forward(rows(), p=0.5, seed=1, out=tensor),
    lambda tensor: fastopt.residual_add(rows(), rows(), out=tensor),
    lambda tensor: normal_(tensor, seed=1),
    kernel_call,
]

READ = [
    lambda tensor: fastopt.sgd(rows(), tensor, lr=0.1),
    lambda tensor: Adam([rows()]).step([tensor]),
    lambda tensor: Adam([rows(), tensor]).step([rows(), None]),
    lambda tensor: fastopt.batch_norm_forward(tensor),
    lambda tensor: run_many(SGD.only, [(rows(), rows()), (rows(), tensor)], (0.1, 0.0, 1.0), None, None),
    lambda tensor: StandardScaler().fit(tensor).transform(tensor),
    lambda tensor: Whitener(eps=1.0).fit(tensor).transform(tensor),
    lambda tensor: fastopt.dropout_forward(tensor, p=0.5, seed=1),
    lambda tensor: fastopt.residual_add(tensor, tensor),
]


@pytest.mark.parametrize("change", WRITE)
def test_autograd_is_told_of_what_is_written(change: Callable[[Any], object]) -> None:
    assert stale(change)


@pytest.mark.parametrize("change", READ)
def test_autograd_is_not_told_of_what_is_read(change: Callable[[Any], object]) -> None:
    assert not stale(change)


def test_tensors_of_inference_mode_are_updated() -> None:
    with torch.inference_mode():
        param = torch.ones(3)
    other = torch.ones(3)
    fastopt.momentum(param, torch.ones(3), other, lr=0.5, momentum=0.0)
    assert param.tolist() == [0.5, 0.5, 0.5]
    assert other._version > 0


# ---- Tensors that require grad


class Subclass(torch.Tensor):
    """Asked itself, by __dlpack__."""


def parameter(kind: str) -> Any:
    values = torch.full((4, 3), 2.0)
    if kind == "subclass":
        return values.as_subclass(Subclass).requires_grad_()
    return torch.nn.Parameter(values) if kind == "parameter" else values.requires_grad_() * 1.0


every_kind = pytest.mark.parametrize("kind", ["parameter", "subclass", "result"])


@every_kind
@pytest.mark.parametrize("call", [*WRITE, *READ])
def test_what_autograd_would_have_to_record_is_refused(kind: str, call: Callable[[Any], object]) -> None:
    """Read or written, by name, as PyTorch refuses its numpy() and an update of a leaf in place."""
    tensor = parameter(kind)
    before, version = tensor.detach().clone(), tensor._version
    message = r"^[\w\[\] ]+ requires grad, and autograd does not record this call; expected its detach\(\), or the call"
    with pytest.raises(TypeError, match=message):
        call(tensor)
    assert torch.equal(tensor, before)
    assert tensor._version == version


@every_kind
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("call", [*WRITE, *READ])
def test_without_autograd_it_is_accepted(kind: str, mode: Any, call: Callable[[Any], object]) -> None:
    """The same values as of the detached tensor, and a new version where it is written."""
    tensor, plain = parameter(kind), parameter(kind).detach()
    version = tensor._version
    with mode():
        call(tensor)
    call(plain)
    assert tensor.requires_grad
    assert torch.equal(tensor.detach().as_subclass(torch.Tensor), plain.as_subclass(torch.Tensor))
    assert (tensor._version > version) == (call not in READ)


def test_an_optimizer_of_parameters_that_require_grad() -> None:
    """Made and stepped under no_grad; a step outside of it is refused, and nothing is changed."""
    params = [torch.nn.Parameter(torch.ones(3)), torch.ones(2)]
    with torch.no_grad():
        optimizer = Adam(params, lr=0.5)
        optimizer.step([torch.ones(3), torch.ones(2)])
    before = params[0].detach().clone()
    with pytest.raises(TypeError, match=r"params\[0\] requires grad"):
        optimizer.step([torch.ones(3), torch.ones(2)])
    assert torch.equal(params[0], before)
    assert optimizer.steps.tolist() == [1, 1]


def test_a_norm_within_a_function_of_autograd() -> None:
    """Its forward pass runs under no_grad, and gets the tensors that require grad."""

    class Norm(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Any) -> Any:
            y = torch.empty_like(x)
            _, mean, rstd = fastopt.layer_norm_forward(x, out=(y, None, None))
            context.save_for_backward(x)
            context.statistics = mean, rstd
            return y

        @staticmethod
        def backward(context: Any, dy: Any) -> Any:
            (x,) = context.saved_tensors
            dx = torch.empty_like(x)
            fastopt.layer_norm_backward(dy, x, None, *context.statistics, out=(dx, None, None))
            return dx

    x = torch.linspace(-1, 2, 12).reshape(4, 3).square().requires_grad_()
    twin = x.detach().clone().requires_grad_()
    weights = torch.arange(12.0).reshape(4, 3)
    (Norm.apply(x) * weights).sum().backward()
    (torch.nn.functional.layer_norm(twin, (3,)) * weights).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad, rtol=1e-5, atol=1e-5)


def test_an_older_pytorch_is_told_of_one_tensor_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which refuses lists, and tensors of inference mode."""
    increment = torch.autograd.graph.increment_version

    def before(tensor: Any) -> None:
        if not isinstance(tensor, torch.Tensor):
            raise TypeError("expected one tensor")
        if tensor.is_inference():
            raise RuntimeError("inference tensors have no version")
        increment(tensor)

    monkeypatch.setattr(torch.autograd.graph, "increment_version", before)
    with torch.inference_mode():
        param = torch.ones(3)
    others = [torch.ones(3), torch.ones(3)]
    versions = [other._version for other in others]
    fastopt.momentum(param, torch.ones(3), others[0], lr=0.5, momentum=0.0)
    fastopt.momentum(others[1], torch.ones(3), others[0], lr=0.5, momentum=0.0)
    assert param.tolist() == [0.5, 0.5, 0.5]
    assert [other._version - version for other, version in zip(others, versions, strict=True)] == [2, 1]
