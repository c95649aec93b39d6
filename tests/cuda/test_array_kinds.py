"""docs/array-libraries.md: each row of its table of device arrays, by stand-ins."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt.optim import Momentum
from tests.array_kinds import filled, plain, read_only
from tests.array_page import rows_below
from tests.cuda.support import Exported, OnDevice

ROWS = rows_below("On a CUDA device")


class OnAnotherMake(Exported):
    """A device that DLPack knows by another number than CUDA's."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 10, 0


#: How each is made of NumPy memory, and that memory.
KINDS = {
    "Numba": lambda: (OnDevice, plain()),
    "Numba, every second element": lambda: (OnDevice, filled(np.zeros(8, "f4")[::2])),
    "Numba, read-only": lambda: (OnDevice, read_only()),
    "Numba, of integers": lambda: (OnDevice, plain("i8")),
    "CuPy, PyTorch": lambda: (Exported, plain()),
    "CuPy, PyTorch, bfloat16": lambda: (Exported, plain(ml_dtypes.bfloat16)),
    "PyTorch, on an AMD device": lambda: (OnAnotherMake, plain()),
}


@fastopt.rule
def heavy_ball(param, grad, velocity, /, lr, momentum):
    velocity = momentum * velocity + grad
    return param - lr * velocity, velocity


every_kind = pytest.mark.parametrize("kind", KINDS)
every_way = pytest.mark.parametrize("update", [fastopt.momentum, heavy_ball], ids=["function", "rule"])


def test_every_row_is_a_kind_and_every_kind_a_row():
    assert list(ROWS) == list(KINDS)


def step(update: Any, *arrays: Any) -> None:
    update(*arrays, lr=0.5, momentum=0.5)


@every_way
@every_kind
def test_as_gradient(kind, update):
    show, grad = KINDS[kind]()
    param, velocity = (np.full(4, 8, "f4") for _ in range(2))
    call = (OnDevice(param), show(grad), OnDevice(velocity))
    ROWS[kind].check(ROWS[kind].as_grad, "grad", lambda: step(update, *call))
    changed = ROWS[kind].as_grad == "yes"
    np.testing.assert_array_equal(velocity, 4 + grad.astype("f8") if changed else 8)
    np.testing.assert_array_equal(param, 8 - 0.5 * velocity if changed else 8)


@every_way
@every_kind
def test_as_target(kind, update):
    (show, param), (_, velocity) = KINDS[kind](), KINDS[kind]()
    before = param.astype("f8")
    ROWS[kind].check(
        ROWS[kind].as_target, "param", lambda: step(update, show(param), OnDevice(np.ones(4, "f4")), show(velocity))
    )
    changed = ROWS[kind].as_target == "yes"
    np.testing.assert_array_equal(velocity.astype("f8"), 0.5 * before + 1 if changed else before)
    np.testing.assert_array_equal(param.astype("f8"), before - 0.5 * (0.5 * before + 1) if changed else before)


@pytest.mark.parametrize("kind", [kind for kind, row in ROWS.items() if row.as_target == "yes"])
def test_optimizers_are_the_hosts(kind):
    show, param = KINDS[kind]()
    with pytest.raises(ValueError, match=r"^params\[0\] is on CUDA device 0; expected it in the host's memory"):
        Momentum([show(param)], lr=0.5)
