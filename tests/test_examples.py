"""The examples run as a reader would run them."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from fastopt import schedules

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def test_plot_schedules(tmp_path: Path) -> None:
    """It draws every schedule."""
    pytest.importorskip("matplotlib")
    drawn = runpy.run_path(str(EXAMPLES / "plot_schedules.py"))
    assert {*drawn["PANELS"]} == {*schedules.__all__}
    assert all(code.startswith(f"{name}(") for name, codes in drawn["PANELS"].items() for code in codes)
    drawn["draw"](tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").read_bytes().startswith(b"\x89PNG")


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


def test_train_in_njit() -> None:
    command = [sys.executable, "-W", "error", EXAMPLES / "train_in_njit.py"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", run.stdout)]
    assert len(losses) == 5
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.01 * losses[0]
