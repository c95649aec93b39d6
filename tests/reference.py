"""The tests' oracle: the plain formula of each update, in float64."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastopt.specs.updates import UPDATES
from tests.cases import Case, Hyperparameters

Arrays = dict[str, np.ndarray]

#: Options of the public functions that say how to compute, not what.
NOT_OF_THE_FORMULA = {"backend", "num_threads", "stream"}


def hyperparameters(case: Case, step: int = 1, **options: Any) -> Hyperparameters:
    """Return every hyperparameter of one step: defaults, then the case's, then ``options``."""
    parameters = inspect.signature(case.update).parameters.values()
    defaults = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in NOT_OF_THE_FORMULA
    }
    complete = {**defaults, **case.hyperparameters(step), **options}
    return {name: value for name, value in complete.items() if name not in NOT_OF_THE_FORMULA}


def expected(case: Case, arrays: Arrays, step: int = 1, **options: Any) -> Arrays:
    """Return what one step should make of the arrays, as float64 copies; the arrays given stay as they are."""
    copies = {name: np.array(array, dtype=np.float64, order="C") for name, array in arrays.items()}
    formula = UPDATES[case.update.__name__].reference
    with np.errstate(all="ignore"):  # NaN and infinity are answers too
        formula(**copies, **hyperparameters(case, step, **options))
    return copies


def steps(case: Case, arrays: Arrays, grads: Iterable[np.ndarray], first: int = 1, **options: Any) -> list[Arrays]:
    """Return the arrays after each step, one gradient a step, counting steps from ``first``."""
    history = []
    for step, grad in enumerate(grads, first):
        arrays = expected(case, {**arrays, "grad": grad}, step, **options)
        history.append(arrays)
    return history
