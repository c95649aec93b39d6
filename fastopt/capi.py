"""The interface for other languages: addresses of kernels, and the directory of the headers."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastopt.backends import cython
from fastopt.codegen.parse import VARIANTS
from fastopt.common.display import Display, keywords
from fastopt.common.guarded import Guarded
from fastopt.common.messages import brief
from fastopt.common.types import Array
from fastopt.engine.capi.c_api import convert, run_kernel
from fastopt.engine.core.hyperparameters import flag
from fastopt.specs.dtypes import COMPUTE_TYPES
from fastopt.specs.updates import UPDATES, Variant, variants_by_rule


class Kernel(Guarded, Display):
    """One compiled kernel; `fastopt.kernel` makes it.

    Attributes
    ----------
    address : int
        Address of the C function ``void kernel(void **arrays, ptrdiff_t n, const void *scalars)``, valid until exit.
    arrays, scalars : tuple of str
        Names of its arguments, in order.
    name : str
        Name of the rule.
    dtype : numpy.dtype
        Dtype of arrays and scalars: float32 or float64.
    weight_decay, decay : bool
        Its variant: whether it has coupled weight decay, and decoupled decay.
    isa : str
        The instruction set for which it was compiled.
    """

    _instead = dict.fromkeys(
        ("address", "arrays", "scalars", "name", "dtype", "weight_decay", "decay", "isa"),
        "fastopt.kernel makes another kernel",
    )

    def __init__(self, name: str, dtype: str, weight_decay: bool, decay: bool):
        self._variant = variant_of(name, decay)
        self._update = self._variant.update
        self.name = name
        self.dtype = np.dtype(dtype)
        self.weight_decay = weight_decay
        self.decay = decay
        self.arrays = self._update.arrays
        self.scalars = self._update.scalars
        self.isa = cython.ISA
        self._form = weight_decay + 2 * decay
        self.address = cython.kernel("update", name, dtype, self._form)

    def _parts(self) -> list[str]:
        options = {name: getattr(self, name) for name in ("weight_decay", "decay", "isa", "arrays")}
        return [repr(self.name), repr(self.dtype.name), *keywords(options)]

    def prepare(self, **hyperparameters: Any) -> NDArray[Any]:
        """Return the coefficients for these hyperparameters, rounded to the kernel's type.

        Defaults are those of the Python function: `fastopt.adam`, or with ``decay``, `fastopt.adamw`. Hyperparameters
        that the choice of the kernel determines (nesterov, decoupled_weight_decay) are not arguments.
        """
        fixed = self._fixed()
        names = self._update.hyperparameters
        asked = inspect.Signature([self._parameter(name) for name in names if name not in fixed])
        try:
            bound = asked.bind(**hyperparameters)
        except TypeError as error:
            raise TypeError(f"{error}; expected the hyperparameters of {self.name}: {asked}") from None
        bound.apply_defaults()
        values = {**fixed, **bound.arguments}
        self._refuse_other_rule(values)
        given = tuple(values[name] for name in names)
        scalars = convert(self._update, self._update.prepare(given), self.dtype.name, given)
        self._check_form(scalars)
        return scalars

    def __call__(self, *arrays: Array, scalars: Array) -> None:
        """Run the kernel on C-contiguous arrays of its type: param and state are updated in place.

        ``scalars`` is the result of `prepare`. The kernel runs on this thread and flushes subnormal numbers to zero;
        the bits are those of the Python function.
        """
        scalars = np.asarray(scalars)
        if scalars.dtype != self.dtype or scalars.shape != (len(self.scalars),):
            raise ValueError(
                f"scalars is of {scalars.dtype} and shape {scalars.shape}; "
                f"expected {self.dtype}, ({len(self.scalars)},): {', '.join(self.scalars)}"
            )
        self._check_form(scalars)
        checked = convert(self._update, tuple(scalars.tolist()), self.dtype.name)
        run_kernel(self._update, self._form, self.dtype.name, arrays, checked)

    def _fixed(self) -> dict[str, bool]:
        """The flags that the choice of the kernel determines."""
        spec, key, _ = self._variant
        return {
            **({spec.condition: bool(key)} if isinstance(spec.condition, str) else {}),
            **({spec.decoupled: self.decay} if isinstance(spec.decoupled, str) else {}),
        }

    def _parameter(self, name: str) -> inspect.Parameter:
        """Return a hyperparameter with its default in the Python function, if there is one."""
        spec = self._variant.spec
        default = spec.defaults[name] if spec.name in UPDATES else inspect.Parameter.empty
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)

    def _refuse_other_rule(self, values: dict[str, Any]) -> None:
        """Raise if the update uses another rule at this step."""
        spec = self._variant.spec
        if "step" in spec.asked and (other := spec.update_for(values).rule.__name__) != self.name:
            raise ValueError(f"step is {values['step']}; expected one of {self.name}: this one uses kernel {other!r}")

    def _check_form(self, scalars: NDArray[Any]) -> None:
        for name in ("weight_decay", "decay"):
            value = scalars[self.scalars.index(name)]
            if value and not getattr(self, name):
                raise ValueError(
                    f"{name} is {value}; expected 0, because this kernel is the variant without it; "
                    f"the other is fastopt.kernel({self.name!r}, {self.dtype.name!r}, {name}=True)"
                )


def variant_of(rule: str, decay: bool) -> Variant:
    """Return the update that uses a rule; if there are two, the one with, or without, decoupled weight decay."""
    served = variants_by_rule()[rule]
    return next((variant for variant in served if variant.spec.decoupled is decay), served[0])


def kernel(name: str, dtype: DTypeLike, *, weight_decay: bool = False, decay: bool = False) -> Kernel:
    """Return a compiled kernel to be called from other languages: its address, and its arguments.

    A rule is compiled in up to four variants, with and without coupled weight decay and decoupled decay. The variants
    without decay do not read its coefficient, because 0 * inf would turn an infinite element of param into NaN.

    Parameters
    ----------
    name : str
        A rule of fastopt/rules/update.py: ``"adam"``, ``"amsgrad"`` (adam with v_max), ``"rmsprop_centered"``, ...
    dtype : {"float32", "float64"}
        The compute type, as a string or a NumPy dtype; all arrays and scalars have it.
    weight_decay : bool
        Whether to add weight_decay * param to the gradient.
    decay : bool
        Whether to subtract decay * param from param: with ``"adam"``, this is AdamW.

    Returns
    -------
    Kernel
        With the attributes address, scalars, arrays, name, dtype, weight_decay, decay and isa. Its method
        ``prepare(**hyperparameters)`` returns the scalars of one step. Called with arrays and ``scalars=``, it runs the
        kernel with all checks.

    Raises
    ------
    ValueError
        If there is no such rule (the message lists all rules), or it has no decoupled decay.
    TypeError
        If dtype is not a compute type.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> sgd = fastopt.kernel("sgd", "float32")
    >>> sgd.arrays, sgd.scalars
    (('param', 'grad'), ('grad_scale', 'weight_decay', 'decay', 'lr'))
    >>> scalars = sgd.prepare(lr=0.5)
    >>> scalars
    array([1. , 0. , 0. , 0.5], dtype=float32)
    >>> param = np.ones(2, np.float32)
    >>> sgd(param, np.array([1.0, -1.0], np.float32), scalars=scalars)
    >>> param
    array([0.5, 1.5], dtype=float32)
    """
    weight_decay, decay = flag("weight_decay", weight_decay), flag("decay", decay)
    if name not in variants_by_rule():
        raise ValueError(f"name is {brief(name)}; expected one of {', '.join(variants_by_rule())}")
    found = _compute_type(dtype)
    if found is None:
        raise TypeError(
            f"dtype is {brief(dtype)}; expected one of {', '.join(COMPUTE_TYPES)}: kernels compute in these"
        )
    if decay and len(cython.kernels("update", name, found)) < len(VARIANTS):
        raise ValueError(f"decay is {decay!r}; expected False: {name} has no decoupled decay")
    return Kernel(name, found, weight_decay, decay)


def _compute_type(dtype: DTypeLike) -> str | None:
    """Return the name of a compute type, or None for any other argument."""
    try:
        return next(name for name in COMPUTE_TYPES if dtype is not None and np.dtype(dtype) == name)
    except (StopIteration, TypeError):
        return None


def get_include() -> str:
    """Return the directory that holds fastopt.h, for C and C++ compilers.

    Returns
    -------
    str

    Examples
    --------
    >>> import os
    >>> import fastopt
    >>> os.path.exists(os.path.join(fastopt.get_include(), "fastopt.h"))
    True
    """
    return str(Path(__file__).parent / "include")
