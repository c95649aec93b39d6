"""For each variant of each update, the corresponding optimizer; tests of optimizers use them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt import optim
from fastopt.specs.updates import UPDATES
from tests.cases import CASES as CASES_OF_UPDATES
from tests.cases import Case

CLASSES = {
    each.spec.name: each
    for each in map(vars(optim).get, optim.__all__)
    if hasattr(each, "spec") and each.__module__ != optim.layerwise.__name__
}

#: What updates parameters.
CASES = [case for case in CASES_OF_UPDATES if case.update.__name__ in CLASSES]


def make(case: Case, params: Any, **options: Any) -> optim.Optimizer:
    """Return the object that does what the case's function does."""
    given = dict(case.fixed)
    spec = UPDATES[case.update.__name__]
    given |= {
        option: True
        for name, option in spec.options.items()
        if name in case.state and option not in spec.hyperparameters
    }
    if case.name == "rprop":
        given["lr"] = case.start["step_size"]
    return CLASSES[case.update.__name__](params, **given, **options)


def zero_state(case: Case, param: np.ndarray, dtype: Any = None) -> dict[str, np.ndarray]:
    """Return the state that training starts from."""
    wide = np.float64 if param.dtype == np.float64 else np.float32
    start = {**UPDATES[case.update.__name__].starts, **case.start}
    return {name: np.full(param.shape, start.get(name, 0.0), dtype or wide) for name in case.state}


#: Shapes of a small model, an empty tensor and one without axes among them.
SHAPES = [(33, 70), (70,), (0, 3), (), (5, 4, 3), (2500,)]

__all__ = ["CASES", "CLASSES", "SHAPES", "make", "zero_state"]
