"""What the coefficients of several updates have in common.

An update's own function of coefficients stands with the update, in ``fastopt/updates/``. Of hyperparameters that have
been checked, it returns in float64 the scalars of a kernel: ``grad_scale``, the coupled ``weight_decay``, the decoupled
``decay`` (lr * weight_decay, as a rule), and then the rule's others, in the order of its signature in
``fastopt/rules/update.py``. ``step`` counts from 1.

Numba compiles these functions too, for `fastopt.numba`: they unpack no stars and format no messages.
"""

from __future__ import annotations

from fastopt.common.messages import brief

#: What eps = 0 becomes where it is added to something other than a root: 0 / 0 is then 0. An `eps` that is added to a
#: root needs nothing here: the engine sees to it.
TINY = 2.2250738585072014e-308


def refuse(name, value, expected, bound=None):
    """Raise what names a hyperparameter; ``bound`` is the value of what is expected, where that has a name only."""
    raise ValueError(f"{name} is {brief(value)}; expected {expected}{'' if bound is None else f', which is {bound}'}")
