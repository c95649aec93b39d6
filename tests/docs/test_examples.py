"""The examples run as documented."""

from __future__ import annotations

import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastopt import schedules

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_plot_schedules(tmp_path: Path) -> None:
    """It draws every schedule."""
    pytest.importorskip("matplotlib")
    drawn = runpy.run_path(str(EXAMPLES / "plot_schedules.py"))
    assert {*drawn["PANELS"]} == {*schedules.__all__}
    assert all(code.startswith(f"{name}(") for name, codes in drawn["PANELS"].items() for code in codes)
    drawn["draw"](tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.ci
def test_train_digits(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    run = subprocess.run(
        [sys.executable, EXAMPLES / "train_digits.py", "--out", tmp_path], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    accuracies = [float(percent) for percent in re.findall(r"test accuracy ([\d.]+)%", run.stdout)]
    assert len(accuracies) == 2
    assert min(accuracies) >= 97
    assert abs(accuracies[0] - accuracies[1]) <= 0.5  # two or so of 450 images
    epochs = dict(re.findall(r"^(\w+(?: \w+)?) +([\d.]+) on average:", run.stdout, re.M))
    assert list(epochs) == ["plain", "batch norm"]
    assert float(epochs["batch norm"]) < float(epochs["plain"])
    picture = (tmp_path / "train_digits.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


@pytest.mark.ci
def test_train_residual(tmp_path: Path) -> None:
    """A few images, with each technique left out in turn; the table goes into a page."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- ablation:begin -->\nold\n<!-- ablation:end -->\nafter\n")
    command = [
        sys.executable,
        EXAMPLES / "train_residual.py",
        "--quick",
        "--ablate",
        "--update",
        page,
        "--out",
        tmp_path,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = re.findall(r"^\| (.+?) \| .* \| ([\d.]+)% \| ([\d.]+)% \|$", page.read_text(), re.M)
    assert len(rows) == 10
    assert float(rows[0][1]) > 30  # of ten digits, after three epochs
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")
    assert "old" not in page.read_text()
    assert (tmp_path / "train_residual.png").read_bytes().startswith(b"\x89PNG")


def test_the_residual_networks_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backward beside differences of the loss, with and without norms and residual connections."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module("train_residual")
    digits, _ = example.load(example.QUICK, scaled=True)
    x, y = digits.train_x[:16], digits.train_y[:16]
    for recipe in (example.Recipe(), example.Recipe(batch_norm=False), example.Recipe(residual=False)):
        network = example.Network(recipe, seed=1)

        def loss(network=network) -> tuple[float, np.ndarray]:
            network.step = 0  # the same dropout
            probabilities = network.forward(x, training=True)
            return -np.log(probabilities[np.arange(16), y]).mean(dtype="f8"), probabilities

        network.backward(loss()[1], y)
        grads = [grad.copy() for grad in network.grads]
        rng = np.random.default_rng(0)
        for param, grad in zip(network.params, grads, strict=True):
            direction = rng.standard_normal(param.shape).astype("f4")
            direction *= np.float32(3e-3) / np.linalg.norm(direction)
            before = param.copy()
            param += direction
            above, _ = loss()
            param[...] = before - direction
            below, _ = loss()
            param[...] = before
            assert (above - below) / 2 == pytest.approx(float((grad * direction).sum()), rel=0.1, abs=2e-5)


def test_train_in_njit() -> None:
    command = [sys.executable, "-W", "error", EXAMPLES / "train_in_njit.py"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", run.stdout)]
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01 * losses[0]


@pytest.mark.ci
def test_plot_learning_curves(tmp_path: Path) -> None:
    """Four small pictures."""
    pytest.importorskip("matplotlib")
    drawn = runpy.run_path(str(EXAMPLES.parent / "plot_learning_curves.py"))["draw"](tmp_path)
    assert [path.name for path in drawn] == [
        f"learning_curves_{name}.png" for name in ("rates", "overfitting", "plateaus", "batches")
    ]
    page = (EXAMPLES.parent / "learning-curves.md").read_text()
    for path in drawn:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 150_000
        assert f"]({path.name})" in page
