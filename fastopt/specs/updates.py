"""The registry of updates: one declaration for each, from which all other code is derived.

The declarations are in the files of ``fastopt/updates/``, with their coefficients, references and public functions. The
public functions, `fastopt.optim`, `fastopt.torch`, `fastopt.numba`, `fastopt.kernel`, the C API, tests and benchmarks
take the variants, state and names of an update from its declaration.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from fastopt.coefficients.ranges import Range
from fastopt.engine.update.update import Update, Variants
from fastopt.rules import update as rules_of_updates

#: Distinguishes the variants of an update: the names of the optional state that is given, in order; or whether its
#: condition holds. An update with one variant has the key ().
Key: TypeAlias = tuple[str, ...] | bool

Rule: TypeAlias = Callable[..., Any]
Coefficients: TypeAlias = Callable[..., tuple[float, ...]]


class UpdateSpec(Variants):
    """The declaration of an update.

    Parameters
    ----------
    name : str
        Name of the public function.
    rules : function, or dict of functions by `Key`
        Functions of ``fastopt/rules/update.py``: one for each variant.
    coefficients : function, or dict of functions by `Key`
        From the hyperparameters to the coefficients: ``grad_scale``, the coupled ``weight_decay``, the decoupled
        ``decay``, then the rule's own in the order of its signature. Its parameters are the update's hyperparameters:
        it is called with floats (``step`` is an int) that are within their ranges.
    reference : function, optional
        The plain formula, called with the arrays and the hyperparameters by name.
    nonnegative : tuple of str
        The state that holds squares or magnitudes.
    starts : dict, optional
        Initial values of state that does not start from zero: a number, or a hyperparameter of the optimizer.
    options : dict, optional
        For each state that not every variant has, the hyperparameter of the optimizer that enables it.
    ranges : dict, optional
        The ranges of hyperparameters that ``fastopt/coefficients/ranges.py`` lacks, or that differ here.
    condition : str or function, optional
        Selects the variant True or False: a hyperparameter that is a flag, or a function of some
        hyperparameters.
    choices : dict, optional
        For each hyperparameter that is a string, its valid values.
    decoupled : bool or str
        Whether weight decay is decoupled, or the name of the flag for it.
    scale : str
        The hyperparameter that scales grad.
    torch_names : dict, optional
        PyTorch's names of hyperparameters and states that differ from ours and from `fastopt.torch.optimizer.NAMES`.
    backend : str
        The default backend.
    """

    def __init__(
        self,
        name: str,
        rules: Rule | Mapping[Key, Rule],
        coefficients: Coefficients | Mapping[Key, Coefficients],
        reference: Callable[..., None] | None = None,
        *,
        nonnegative: tuple[str, ...] = (),
        starts: Mapping[str, float | str] | None = None,
        options: Mapping[str, str] | None = None,
        ranges: dict[str, Range] | None = None,
        condition: str | Callable[..., bool] | None = None,
        choices: Mapping[str, tuple[str, ...]] | None = None,
        decoupled: bool | str = False,
        scale: str = "grad_scale",
        torch_names: Mapping[str, str] | None = None,
        backend: str = "cython",
    ):
        by_key: Mapping[Key, Rule] = {(): rules} if callable(rules) else rules
        computed = dict.fromkeys(by_key, coefficients) if callable(coefficients) else coefficients
        updates = {
            key: Update(rule, computed[key], reference, ranges=ranges, scale=scale, backend=backend)
            for key, rule in by_key.items()
        }
        longest = max(updates.values(), key=lambda update: len(update.arrays))
        self.state = longest.arrays[2:]
        self.nonnegative, self.starts, self.options = nonnegative, starts or {}, options or {}
        if unknown := {*nonnegative, *self.starts, *self.options}.difference(self.state):
            raise ValueError(f"{name} has no state {', '.join(unknown)}; expected {', '.join(self.state)}")
        super().__init__(updates, condition, tuple(self.options.items()))
        self.name = name
        #: The plain formula; None for updates without a public function.
        self.reference: Any = reference
        self.choices = choices or {}
        self.decoupled = decoupled
        self.torch_names = torch_names or {}

    def __repr__(self) -> str:
        return f"<update {self.name}>"

    @property
    def function(self) -> Callable[..., None]:
        """The public function, which is in the same module as the coefficients."""
        coefficients = next(iter(self.updates.values())).coefficients
        function: Callable[..., None] = getattr(sys.modules[coefficients.__module__], self.name)
        return function

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The defaults of the public function's hyperparameters; none for a user-defined rule."""
        if UPDATES.get(self.name) is not self:
            return {}
        parameters = inspect.signature(self.function).parameters.values()
        return {each.name: each.default for each in parameters if each.name in self.hyperparameters}

    @cached_property
    def flags(self) -> frozenset[str]:
        """The hyperparameters of the function and the optimizer that are True or False."""
        flags = [name for name, default in self.defaults.items() if isinstance(default, bool)]
        return frozenset([*flags, *(name for name in self.options.values() if name not in self.hyperparameters)])


#: All updates with a public function, by its name.
UPDATES: dict[str, UpdateSpec] = {}


def declare(name: str, *functions: Any, **options: Any) -> UpdateSpec:
    """Return a new `UpdateSpec`, which is added to the registry."""
    if name in UPDATES:
        raise ValueError(f"{name} is declared twice")
    spec = UPDATES[name] = UpdateSpec(name, *functions, **options)
    return spec


def _average_coefficients(decay: float) -> tuple[float, ...]:
    return 1.0, 0.0, 0.0, decay, 1.0 - decay


#: The moving average of parameters in optimizers: an update without a public function.
AVERAGE = UpdateSpec("average", rules_of_updates.average, _average_coefficients)


class Variant(NamedTuple):
    """One variant of an update, as the registry finds it by its rule."""

    spec: UpdateSpec
    key: Key
    update: Update


def variants_by_rule() -> dict[str, list[Variant]]:
    """Return the variants that use each rule, in the order of ``fastopt/rules/update.py``."""
    found: dict[str, list[Variant]] = {}
    for spec in (*UPDATES.values(), AVERAGE):
        for key, update in spec.updates.items():
            found.setdefault(update.rule.__name__, []).append(Variant(spec, key, update))
    return {name: found[name] for name in vars(rules_of_updates) if name in found}
