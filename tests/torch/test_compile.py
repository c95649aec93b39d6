"""torch.compile of whole training steps: the calls of fastopt.torch are not compiled."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from functools import partial
from typing import Any

import pytest

from tests.peers import peer
from tests.torch.test_torch import assert_same

pytestmark = [
    # PyTorch's own: when its compiler is imported, and of a loss behind a graph break, where warnings are errors.
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

torch = peer("torch")
ours = importlib.import_module("fastopt.torch")


def training(module: Any, name: str) -> tuple[Any, Any, Any]:
    """Return a training step, its optimizer and its model."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = getattr(module, name)(model.parameters(), lr=0.01)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step, optimizer, model


@pytest.mark.parametrize("name", ["AdamW", "NAdam", "SGD", "Lion"])
def test_graph_breaks(name: str) -> None:
    """No more than with torch.optim, and no warnings."""
    breaks = []
    for module in (ours, torch.optim):
        torch._dynamo.reset()
        if hasattr(module, name):
            step, _, _ = training(module, name)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                breaks.append(torch._dynamo.explain(step)(torch.ones(3, 4)).graph_break_count)
            if module is ours:
                assert [w.message for w in caught if "torch.jit" not in str(w.message)] == []
    assert breaks[0] <= breaks[-1]


@pytest.mark.parametrize("name", ["AdamW", "NAdam", "SGD"])
def test_a_compiled_training_step(name: str) -> None:
    """Its parameters are those of torch.optim; hooks, a scheduler and a profiler see its steps."""
    results = []
    for module in (ours, torch.optim):
        torch._dynamo.reset()
        step, optimizer, model = training(module, name)
        calls: list[str] = []
        optimizer.register_step_pre_hook(partial(note, calls, "before"))
        optimizer.register_step_post_hook(partial(note, calls, "after"))
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        run = torch.compile(step, backend="eager") if module is ours else step
        for i in range(4):
            run(torch.linspace(-1, 1, 12).reshape(3, 4) + i)
            scheduler.step()
        assert calls == ["before", "after"] * 4
        with torch.profiler.profile() as profile:
            optimizer.step()
        assert f"Optimizer.step#{name}.step" in {event.key for event in profile.key_averages()}
        results.append(list(model.parameters()))
    for a, b in zip(*results, strict=True):
        assert_same(a, b)


def note(calls: list[str], call: str, *_: Any) -> None:
    calls.append(call)


def test_a_closure_of_a_compiled_model() -> None:
    """A closure that a step calls is not kept from being compiled."""
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    _, optimizer, model = training(ours, "AdamW")
    compiled = torch.compile(model, backend=backend)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = compiled(torch.ones(3, 4)).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).requires_grad
    assert graphs


def test_importing_does_not_import_the_compiler() -> None:
    """It takes a second, and PyTorch imports it when the first optimizer is made."""
    program = "import sys, fastopt.torch; assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_torch_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch before 2.1 has no torch.compiler."""

    class Older:
        def __getattr__(self, name: str) -> Any:
            if name == "compiler":
                raise AttributeError(name)
            return getattr(torch, name)

    module = importlib.import_module("fastopt.torch.optimizer")
    original = getattr(module.Optimizer._update, "_torchdynamo_orig_callable", module.Optimizer._update)
    monkeypatch.setattr(module.Optimizer, "_update", original)
    monkeypatch.setattr(module, "torch", Older())
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = ours.SGD([param], lr=0.5)
    param.grad = torch.ones(3)
    optimizer.step()
    assert param.tolist() == [0.5] * 3
    assert module.Optimizer._update is original
