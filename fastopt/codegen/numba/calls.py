"""Generates the Python modules from which Numba compiles an update called in a user's function.

One module contains the rule's loop. The other replaces the public function: it checks arrays, computes coefficients
from hyperparameters, and runs the loop. Messages are constants, since Numba supports no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..parse import PRIMITIVES, VARIANTS, Function, parse_functions
from .update import inlined, loop

ORIGIN = '"""Generated from fastopt/{}.py by fastopt/codegen/numba/calls.py: change those, not this."""'

LOOP_HEADER = f"""\
{ORIGIN.format("rules/update")}

from fastopt.backends.numba.compiler import compiled, float32, float64, inlined, {", ".join(PRIMITIVES)}
"""

CALL_HEADER = f"""\
{ORIGIN.format("updates")}

from fastopt.backends.numba.compiler import named_apart
from fastopt.numba.arrays import first_bytes, repeats, share_bytes
"""

CHECK_HEADER = f"""\
{ORIGIN.format("coefficients/ranges")}

from fastopt.backends.numba.compiler import compiled
"""


def loop_module(source: str, rule: str, dtype: str, ndim: int) -> str:
    """Return the text of a module with ``run_``, which takes a rule's arrays with this many axes, and coefficients."""
    functions = parse_functions(source)
    parts = [LOOP_HEADER, *variants(functions), inlined("rule_", functions[rule]), loop(functions[rule], ndim, dtype)]
    return "\n\n".join(parts)


def variants(functions: Mapping[str, Function]) -> list[str]:
    """Return the functions that a rule calls, in a form that tests for weight decay at run time."""
    parts = []
    for name, other in zip(VARIANTS[0], VARIANTS[-1], strict=True):
        parts += [inlined(f"plain_{name}", functions[name]), inlined(other, functions[other])]
        parts += [_either(name, f"plain_{name}", other, functions[name])]
    return parts


def _either(name: str, plain: str, decayed: str, function: Function) -> str:
    """Return the function with a choice of weight decay: LLVM compiles it to two loops or a blend.

    It was as fast as a loop for each variant (1.5 us per 1,000 elements of Adam), and compiles in half of the time.
    """
    names = ", ".join(function.scalars)
    choice = f"{decayed}({names}) if {function.scalars[-1]} else {plain}({names})"
    return f"@inlined\ndef {name}({names}):\n    return {choice}\n"


def call_module(
    name: str, parameters: Sequence[str], arrays: Mapping[str, bool], flat: str, calls: Sequence[str]
) -> str:
    """Return the text of a module in which ``name`` replaces the public function.

    ``arrays`` holds for each array whether it is contiguous; ``flat`` is an expression that flattens an array (if they
    are to be flattened); ``calls`` are the lines that run loops.
    """
    param, *others = arrays
    lines = []
    for other in others:
        lines += _refusal(
            f"{other}.shape != {param}.shape", f"{other} has another shape than {param}; expected the same"
        )
    for array, is_run in arrays.items():
        if not is_run and array != "grad":
            lines += _refusal(f"repeats({array})", f"{array} overlaps itself in memory; expected no stride of 0")
    addresses = "".join(f"{array}.ctypes.data, " for array in arrays)
    sizes = "".join(f"{array}.nbytes, " if is_run else f"first_bytes({array}), " for array, is_run in arrays.items())
    expected = f"{', '.join(arrays)} overlap in memory; expected arrays that share no element"
    lines += _refusal(f"share_bytes(({addresses}), ({sizes}))", expected)
    lines += [f"{array} = {flat.format(array)}" for array in arrays if flat]
    return f"{CALL_HEADER}\n\n{_function('named_apart', name, parameters, [*lines, *calls])}"


def call_lines(
    run: str, prepare: str, arrays: Sequence[str], hyperparameters: Sequence[str], scalars: Sequence[str]
) -> list[str]:
    """Return the lines that run a loop, given its name and that of its coefficients' function."""
    rounded = [f"{rounding_of(scalar)}(scalars_[{i}])" for i, scalar in enumerate(scalars)]
    return [f"scalars_ = {prepare}({', '.join(hyperparameters)})", f"{run}({', '.join([*arrays, *rounded])})"]


def rounding_of(scalar: str) -> str:
    """Return the function that rounds a coefficient to the compute type: see `fastopt.numba.rounding`."""
    if scalar.startswith("eps"):
        return "beside_root" if scalar == "eps" else "kept"
    return "not_vanishing" if scalar == "grad_scale" else "rounded"


def check_module(checks: Sequence[tuple[str, object, object, str]], then: str = "") -> str:
    """Return the text of a module with ``check``, which raises for a number out of range, and returns floats.

    A check is a name, the minimum and maximum, and the expected values; a flag has no minimum. With ``then``, ``check``
    returns the result of the function of this name.
    """
    names = [name for name, *_ in checks]
    lines = []
    results = ""
    for name, lowest, highest, expected in checks:
        results += f"{name}, " if lowest is None else f"float({name}), "
        if lowest is None:
            continue
        refusal = f"{name} is out of range; expected {expected}"
        lines += _refusal(f"not ({lowest!r} <= {name} <= {highest!r})", refusal)
    return f"{CHECK_HEADER}\n\n{_function('compiled', 'check', names, [*lines, f'return {then}({results})'])}"


def _refusal(condition: str, message: str) -> list[str]:
    return [f"if {condition}:", f"    raise ValueError({message!r})"]


def _function(decorator: str, name: str, parameters: Sequence[str], lines: Sequence[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"@{decorator}\ndef {name}({', '.join(parameters)}):\n{body}"
