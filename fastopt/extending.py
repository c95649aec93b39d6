"""User-defined updates: a few lines of scalar Python become an update like those of the library."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import update_wrapper
from inspect import Parameter, Signature
from types import FunctionType
from typing import Any, TypeAlias, overload

import numpy as np

from fastopt import primitives
from fastopt.codegen.parse import SHARED_SCALARS
from fastopt.codegen.user_rule import TAKEN, RuleError, UserRule, read_rule
from fastopt.coefficients.ranges import ANY, RANGES
from fastopt.common.display import Display
from fastopt.common.guarded import Guarded
from fastopt.common.messages import brief
from fastopt.common.types import Array, Backend, Params, Real, Stream
from fastopt.engine.update.run import run
from fastopt.optim.optimizer import Optimizer
from fastopt.specs.updates import UpdateSpec

#: A function from hyperparameters to a rule's coefficients: a dict by name, or a tuple in order.
Prepare: TypeAlias = Callable[..., Mapping[str, float] | tuple[float, ...]]

#: The functions that the text of a rule calls, by name.
PRIMITIVES = {name: getattr(primitives, name) for name in primitives.__all__}

#: The functions that a user may call in a rule, and their primitives: fastopt's own, and those of other modules.
FUNCTIONS: dict[Any, str] = {
    **{function: name for name, function in PRIMITIVES.items()},
    **dict.fromkeys((math.sqrt, np.sqrt), "sqrt"),
    **dict.fromkeys((abs, math.fabs, np.fabs, np.abs), "fabs"),
    np.sign: "sign",
}

#: The arguments of every call besides a rule's own hyperparameters.
SHARED = {"weight_decay": 0.0, "grad_scale": 1.0}

#: The maximum number of hyperparameters of a call, including the shared ones.
MOST_HYPERPARAMETERS = 16

#: The default backend for user-defined rules; on a CUDA device, it is "cuda".
BACKEND = "numba"


class Rule(Guarded, Display):
    """A user-defined update; `fastopt.rule` makes it.

    Attributes
    ----------
    name : str
        Name of the function.
    arrays, hyperparameters : tuple of str
        Arguments of a call: arrays by position, hyperparameters by keyword.
    """

    _instead = dict.fromkeys(
        ("function", "name", "arrays", "hyperparameters", "defaults"), "fastopt.rule makes another rule"
    )

    def __init__(self, function: Callable[..., Any], prepare: Prepare | None):
        self.function = function
        update_wrapper(self, function, assigned=("__module__", "__name__", "__qualname__", "__doc__"), updated=())
        self._read = read_rule(function, FUNCTIONS)
        self._prepare = prepare
        self.name = self._read.name
        self.arrays = self._read.arrays
        own = _parameters(prepare) if prepare is not None else self._read.defaults
        #: The defaults of hyperparameters; `Parameter.empty` if there is none.
        self.defaults: dict[str, Any] = {**own, **{name: value for name, value in SHARED.items() if name not in own}}
        self.hyperparameters = tuple(self.defaults)
        if len(self.hyperparameters) > MOST_HYPERPARAMETERS:
            raise RuleError(
                f"{self._read.where}: rule {self.name!r} has {len(self.hyperparameters)} hyperparameters, weight_decay "
                f"and grad_scale among them; expected at most {MOST_HYPERPARAMETERS}"
            )
        keyword = {**self.defaults, **dict.fromkeys(("backend", "num_threads", "stream"))}
        self.__signature__ = Signature(
            [Parameter(name, Parameter.POSITIONAL_ONLY) for name in self.arrays]
            + [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in keyword.items()]
        )
        # If the rule itself has a weight_decay, it is not added to the gradient as well.
        self._coupled = "weight_decay" not in own
        # A rule's own hyperparameters must be finite; the shared ones have their own ranges.
        ranges = {name: RANGES[name] if name in SHARED else ANY for name in self.hyperparameters}
        self._spec = UpdateSpec(
            self.name, _compiled(self._read), self._scalars_function(), ranges=ranges, backend=BACKEND
        )

    def __repr__(self) -> str:
        return f"<rule {self.name}{self.__signature__}>"

    def __get__(self, instance: object, owner: type | None = None) -> Rule:
        """Return the rule, which takes no self as a class attribute. `help` shows objects with __get__ as functions."""
        return self

    def __reduce__(self) -> str:
        """Pickle the rule by name, like a function."""
        return self.function.__qualname__

    def __call__(
        self,
        *arrays: Array,
        backend: Backend = None,
        num_threads: int | None = None,
        stream: Stream = None,
        **given: Real,
    ) -> None:
        """Update param and state in place, like the functions of `fastopt`."""
        if isinstance(backend, str) and backend == "reference":
            self.reference(*arrays, **given)
        else:
            run(self._spec, arrays, self._values(given), backend, num_threads, stream)

    def reference(self, *arrays: np.ndarray[Any, Any], **given: Real) -> None:
        """Run the function as written, element by element, in Python, for debugging."""
        if len(arrays) != len(self.arrays):
            raise ValueError(f"{len(arrays)} arrays given; expected {len(self.arrays)}: {', '.join(self.arrays)}")
        if odd := [i for i, array in enumerate(arrays) if np.shape(array) != np.shape(arrays[0])]:
            shape, expected = np.shape(arrays[odd[0]]), np.shape(arrays[0])
            raise ValueError(f"{self.arrays[odd[0]]} has shape {shape}; expected {expected}, the shape of param")
        scale, decay, _, *scalars = self._spec.updates[()].prepare(self._values(given))
        own = scalars[: len(self._read.scalars)]
        written = [i for i, name in enumerate(self.arrays) if name != "grad"]
        # Names of primitives that the function's module lacks refer to fastopt's.
        names, code = {**PRIMITIVES, **self.function.__globals__}, self.function.__code__
        function = FunctionType(code, names, self.name, None, self.function.__closure__)
        for place in np.ndindex(np.shape(arrays[0])):
            values = [float(array[place]) for array in arrays]
            values[1] = scale * values[1] + (decay * values[0] if decay else 0.0)
            returned = function(*values, **dict(zip(self._read.scalars, own, strict=True)))
            for i, value in zip(written, returned if len(written) > 1 else (returned,), strict=True):
                with np.errstate(over="ignore"):  # kernels do not warn either
                    arrays[i][place] = value

    def optimizer(self, params: Params, **given: Any) -> Optimizer:
        """Return a stateful optimizer with this update: see `fastopt.optim`.

        Its keyword arguments are the rule's hyperparameters and the options of every optimizer. State starts at zero.
        """
        own = {name: value for name, value in self.defaults.items() if name not in ("step", "grad_scale")}
        options = {name: given.pop(name) for name in list(given) if name not in own}
        values = self._named({**given, "step": 1, "grad_scale": 1.0} if "step" in self.defaults else given)
        members = {"spec": self._spec, "__doc__": self.__doc__, "__module__": self.__module__}
        kind: Any = type(self.name, (Optimizer,), members)
        kind._is_foreign = False  # although its module is the user's, it has no attributes that the user added
        optimizer: Optimizer = kind(params, {name: values[name] for name in own}, **{"backend": None, **options})
        return optimizer

    def _named(self, given: dict[str, Any]) -> dict[str, Any]:
        if foreign := [name for name in given if name not in self.defaults]:
            raise TypeError(
                f"{self.name} has no hyperparameter {brief(foreign[0])}; expected {', '.join(self.hyperparameters)}"
            )
        values = {**self.defaults, **given}
        if missing := [name for name, value in values.items() if value is Parameter.empty]:
            raise TypeError(
                f"{self.name} needs {', '.join(missing)}, which {'has' if len(missing) == 1 else 'have'} no default"
            )
        return values

    def _values(self, given: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(self._named(given).values())

    def _scalars_function(self) -> Callable[..., tuple[float, ...]]:
        """Return a function of the hyperparameters by name, as `Update` requires it."""
        names = ", ".join(self.hyperparameters)
        scope: dict[str, Any] = {"scalars_": self._scalars}
        exec(f"def prepare({names}):\n    return scalars_({names})\n", scope)
        function: Callable[..., tuple[float, ...]] = scope["prepare"]
        return function

    def _scalars(self, *values: Any) -> tuple[float, ...]:
        """Return the coefficients for checked hyperparameters: the shared ones, the rule's own, and the literals."""
        checked = dict(zip(self.hyperparameters, values, strict=True))
        scale = checked.pop("grad_scale")
        decay = checked.pop("weight_decay") if self._coupled else 0.0
        own: Any = checked
        if self._prepare is not None:
            own = self._prepare(**checked)
            if not isinstance(own, Mapping):
                own = dict(zip(self._read.scalars, own, strict=False)) if len(own) == len(self._read.scalars) else {}
            if set(own) != set(self._read.scalars):
                raise ValueError(
                    f"prepare of {self.name} gives {', '.join(own) or 'none'}; expected {', '.join(self._read.scalars)}"
                )
        return scale, decay, 0.0, *(float(own[name]) for name in self._read.scalars), *self._read.literals.values()


def _parameters(prepare: Prepare) -> dict[str, Any]:
    """Return the names and defaults of a function's arguments."""
    if not callable(prepare):
        raise RuleError(f"prepare is {brief(prepare)}; expected a function of the hyperparameters")
    try:
        parameters = inspect.signature(prepare).parameters.values()
    except ValueError as error:  # raised for some built-in functions
        raise RuleError(f"prepare is {brief(prepare)}, whose arguments can't be read; expected a function") from error
    if odd := [each for each in parameters if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]:
        raise RuleError(f"prepare takes {odd[0]}; expected each hyperparameter by its name")
    if taken := [each.name for each in parameters if each.name in TAKEN]:
        raise RuleError(f"prepare takes {taken[0]}, which calls take already; expected another name")
    return {each.name: each.default for each in parameters}


def _compiled(read: UserRule) -> Callable[..., Any]:
    """Return the rule as a Python function that carries its source, for the compilers."""
    scope: dict[str, Any] = dict(PRIMITIVES)
    exec(read.text, scope)
    function: Any = scope[read.name]
    function.rule_source = read.text
    return function  # type: ignore[no-any-return]


@overload
def rule(function: Callable[..., Any]) -> Rule: ...
@overload
def rule(*, prepare: Prepare) -> Callable[[Callable[..., Any]], Rule]: ...
def rule(function: Callable[..., Any] | None = None, *, prepare: Prepare | None = None) -> Any:
    """Decorator that turns a scalar function into an update.

    The function computes one element. Arguments before ``/`` are elements of arrays: param, grad, then the state; those
    after it are the same for all elements. It returns the new values: param, then the state in order::

        g = grad_scale * grad + weight_decay * param
        param, *state = function(param, g, *state, **scalars)

    The update is called like those of `fastopt`: arrays by position, the rest by keyword, with the same layouts, float
    types, threads, devices and errors. weight_decay and grad_scale are added automatically; a rule with its own
    argument weight_decay has no coupled decay. Numba compiles the rule at the first call and caches it on disk.

    Parameters
    ----------
    function : function
        It may contain ``+ - * /``, ``x**2``, comparisons, ``a if condition else b``, assignments, numbers, and calls of
        sqrt, abs, sign and relu (of fastopt.primitives, or math's and NumPy's). Numbers are rounded to the compute
        type. grad is only read.
    prepare : function, optional
        A Python function from hyperparameters to the rule's coefficients (a dict, or a tuple in order), called once per
        call. Its arguments are then the update's hyperparameters; optimizers pass the one called step, if there is one.

    Returns
    -------
    Rule
        The update. `Rule.optimizer` holds state for a whole model, `Rule.reference` runs it as plain Python.

    Raises
    ------
    ValueError
        The function is not a valid rule: the message names the line, and quotes it.

    Examples
    --------
    >>> import numpy as np, fastopt
    >>> @fastopt.rule
    ... def heavy_ball(param, grad, velocity, /, lr, momentum=0.5):
    ...     velocity = momentum * velocity - lr * grad
    ...     return param + velocity, velocity
    >>> param, velocity = np.ones(2, np.float32), np.zeros(2, np.float32)
    >>> heavy_ball(param, np.array([1.0, -1.0], np.float32), velocity, lr=0.25)
    >>> param
    array([0.75, 1.25], dtype=float32)
    """
    if function is not None:
        return Rule(function, prepare)
    return lambda function: Rule(function, prepare)


assert SHARED_SCALARS[:2] == ("grad_scale", "weight_decay")
