"""Every message that docs/troubleshooting.md shows is one that fastopt gives."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import fastopt
from fastopt import optim
from tests.peers import peer
from tests.support import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()

#: The messages, by their first words.
MESSAGES = re.findall(r"^```text\n(.*?)\n```$", PAGE, re.M | re.S)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def read_only() -> np.ndarray:
    return np.broadcast_to(np.float32(1), 4)


def step(grads, **options):
    optim.AdamW({"weight": ones(4), "bias": ones(2)}, **options).step(grads)


def without_gradients_of_all():
    step({"weight": ones(4)})


def not_finite():
    optimizer = optim.AdamW([ones(2)])
    optimizer.step([np.array([1.0, np.nan], np.float32)], max_norm=1.0)


def assigned():
    optim.AdamW([ones(2)]).lr = 0.1


def overlapping():
    param = ones(4)
    fastopt.sgd(param, param, lr=0.1)


def checkpoint_of_another(tmp_path):
    optim.AdamW([ones(2)]).save(tmp_path / "adam.npz")
    optim.AdamW([ones(3)]).load(tmp_path / "adam.npz")


#: What raises each message, by the words that it begins with.
CAUSES = {
    "ValueError: grad has shape": lambda: fastopt.sgd(ones(4), ones(3), lr=0.1),
    "ValueError: weight has shape": lambda: fastopt.batch_norm_forward(ones(2, 5, 5, 3), ones(3)),
    "TypeError: param has dtype": lambda: fastopt.sgd(np.array([1, 2, 3]), np.ones(3), lr=0.1),
    "TypeError: param is a list": lambda: fastopt.sgd([1.0], [1.0], lr=0.1),
    "ValueError: grad overlaps": overlapping,
    "ValueError: grads lacks": without_gradients_of_all,
    "TypeError: param is read-only": lambda: fastopt.sgd(read_only(), ones(4), lr=0.1),
    "ValueError: step is 0": lambda: fastopt.adam(ones(1), ones(1), ones(1), ones(1), step=0),
    "TypeError: AdamW takes": lambda: optim.AdamW([ones(1)], betas=(0.9, 0.99)),
    "AttributeError: lr of AdamW": assigned,
    "ValueError: the norm": not_finite,
}


def said_by(cause):
    with pytest.raises(Exception) as raised:  # noqa: PT011  (the message says which)
        cause()
    return f"{raised.type.__name__}: {raised.value}"


def assert_shown(said):
    """A message is one of the page's, but for what it leaves out."""
    patterns = [".*".join(map(re.escape, shown.split("…"))) for shown in MESSAGES]
    assert any(re.fullmatch(pattern, said, re.S) for pattern in patterns), said


@pytest.mark.parametrize("words", CAUSES)
def test_the_message_is_what_is_said(words):
    said = said_by(CAUSES[words])
    assert said.startswith(words)
    assert_shown(said)


def test_the_message_of_a_checkpoint(tmp_path):
    assert_shown(said_by(lambda: checkpoint_of_another(tmp_path)))


@pytest.mark.peers
def test_the_message_of_autograd():
    torch = peer("torch")
    assert_shown(said_by(lambda: fastopt.sgd(torch.nn.Parameter(torch.ones(3)), torch.ones(3), lr=0.1)))


def test_the_message_of_a_missing_package():
    program = "import sys; sys.modules['torch'] = None; import fastopt.torch"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert_shown(done.stderr.strip().splitlines()[-1].rpartition("errors.")[2])


def test_the_message_of_a_missing_backend():
    said = said_by(lambda: fastopt.sgd(ones(3), ones(3), lr=0.1, backend="cuda"))
    if not said.startswith("BackendUnavailable"):
        pytest.skip("there is a CUDA device")
    assert_shown(said)


def test_the_message_of_a_package_that_was_not_built(tmp_path):
    shutil.copytree(ROOT / "fastopt", tmp_path / "fastopt", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    done = subprocess.run([sys.executable, "-c", "import fastopt"], cwd=tmp_path, capture_output=True, text=True)
    assert_shown(done.stderr.strip().splitlines()[-1])


def test_messages_of_the_build_are_in_its_text():
    """Other tests fail a build, and run a wheel on an old processor."""
    build = (ROOT / "fastopt" / "codegen" / "build.py").read_text()
    assert "no working C compiler that accepts {' '.join(REQUIRED_FLAGS)}" in build
    assert 'REQUIRED_FLAGS = ["-std=c11", "-O3", "-ffp-contract=off"]' in build
    backend = (ROOT / "fastopt" / "backends" / "cython.py").read_text()
    assert "this build of fastopt has no kernels that this processor can run; expected x86-64-v2 or more" in backend


def test_every_message_of_the_page_has_a_test():
    tested_elsewhere = (
        "error: no working C compiler", "ModuleNotFoundError:", "ImportError:", "BackendUnavailable: backend",
        "BackendUnavailable: fastopt.torch", "TypeError: param requires grad", "ValueError: … is not a checkpoint",
    )  # fmt: skip
    for shown in MESSAGES:
        assert shown.startswith((*CAUSES, *tested_elsewhere)), shown
