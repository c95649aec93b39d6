"""For each variant of each update, the optimizer object that makes it: what tests of objects run over."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastopt
from fastopt import optim
from tests.cases import CASES as CASES_OF_UPDATES
from tests.cases import Case

CLASSES = {
    "sgd": optim.SGD, "momentum": optim.Momentum, "asgd": optim.ASGD, "signum": optim.Signum, "lion": optim.Lion,
    "rprop": optim.Rprop, "adagrad": optim.Adagrad, "rmsprop": optim.RMSprop, "adadelta": optim.Adadelta,
    "adam": optim.Adam, "adamw": optim.AdamW, "adamax": optim.Adamax, "nadam": optim.NAdam, "radam": optim.RAdam,
    "adabelief": optim.AdaBelief, "yogi": optim.Yogi, "ademamix": optim.AdEMAMix, "adan": optim.Adan,
}  # fmt: skip

#: What updates parameters.
CASES = [case for case in CASES_OF_UPDATES if case.target == "param"]

#: The options of an object that a function takes as arrays.
BY_STATE = {"v_max": "amsgrad", "grad_avg": "centered"}


def make(case: Case, params: Any, **options: Any) -> optim.Optimizer:
    """Return the object that does what the case's function does."""
    given = dict(case.fixed)
    given |= {BY_STATE[name]: True for name in case.state if name in BY_STATE}
    if case.name == "rprop":
        given["lr"] = case.start["step_size"]
    return CLASSES[case.update.__name__](params, **given, **options)


def zero_state(case: Case, param: np.ndarray, dtype: Any = None) -> dict[str, np.ndarray]:
    """Return the state that training starts from."""
    wide = np.float64 if param.dtype == np.float64 else np.float32
    start = {"v": 1e-6} if case.update is fastopt.yogi else case.start
    return {name: np.full(param.shape, start.get(name, 0.0), dtype or wide) for name in case.state}


#: Shapes of a small model, an empty tensor and one without axes among them.
SHAPES = [(33, 70), (70,), (0, 3), (), (5, 4, 3), (2500,)]

__all__ = ["CASES", "CLASSES", "SHAPES", "make", "zero_state"]
