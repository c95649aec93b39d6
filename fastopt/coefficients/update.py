"""Helpers for the coefficients of several updates.

The function of coefficients of each update is in its module in ``fastopt/updates/``. It takes checked hyperparameters
and returns the coefficients of a kernel in float64: ``grad_scale``, the coupled ``weight_decay``, the decoupled
``decay`` (usually lr * weight_decay), and then the rule's own, in the order of its signature in
``fastopt/rules/update.py``. ``step`` counts from 1.

Numba also compiles these functions, for `fastopt.numba`: they must not unpack with stars or format messages.
"""

from __future__ import annotations

from fastopt.common.messages import brief

#: Replaces eps = 0 where eps is added to something other than a root, so that 0 / 0 becomes 0. An `eps` that is added
#: to a root needs no replacement: the engine has a lower bound for it.
TINY = 2.2250738585072014e-308


def refuse(name, value, expected, bound=None):
    """Raise the error for a hyperparameter; ``bound`` is the value of ``expected``, if that is only a name."""
    raise ValueError(f"{name} is {brief(value)}; expected {expected}{'' if bound is None else f', which is {bound}'}")
