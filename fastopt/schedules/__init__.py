"""Learning rates as functions of the step.

>>> from fastopt.schedules import cosine, warmup
>>> rate = warmup(cosine(0.1, steps=90), steps=10)
>>> rate(1), rate(6), rate(11), round(rate(56), 12), rate(101)
(0.0, 0.05, 0.1, 0.05, 0.0)
>>> rate
warmup(schedule=cosine(lr=0.1, steps=90, final=0.0), steps=10, start=0.0)

Pass it to an optimizer of `fastopt.optim` as ``lr``, or call it: ``fastopt.adam(..., step=step, lr=rate(step))``.

What all schedules share
========================
**Steps** count from 1, as in all of fastopt. In the formulas, ``t = step - 1`` is the number of updates made: the first
step has the rate of t = 0, and the rate after n updates is that of step n + 1. A step is an integer, also of a NumPy
type. After the last step of a schedule, the rate stays constant. A step may also count epochs.

**Functions**: except for `ReduceOnPlateau`, a schedule never changes, and its rate depends only on its arguments and
the step. So an optimizer that continues from a checkpoint, which stores the step, has the right rate. Schedules with
equal arguments are equal; they can be hashed, printed, copied and pickled. Arguments are attributes: ``rate.steps``.

**Composition**: `warmup`, `sequence` and `per_epoch` take any function of the step, including user-defined schedules
and each other: ``per_epoch(warmup(cosine(0.1, steps=90), steps=10), steps=len(batches))``.

Raises
------
ValueError
    When a schedule is made: a rate is negative, infinite or NaN; a length is below 1; a factor is out of its range;
    boundaries do not increase, or their number is wrong. When it is called: the step is below 1.
TypeError
    An argument is not a number; a length or step is not an integer (1.0 and True are not); or a schedule is not
    callable.
"""

from fastopt.schedules.cycles import cosine_restarts, one_cycle
from fastopt.schedules.decays import constant, cosine, exponential, inverse_sqrt, inverse_time, linear, polynomial, step
from fastopt.schedules.joined import per_epoch, piecewise, sequence, warmup
from fastopt.schedules.plateau import ReduceOnPlateau
from fastopt.schedules.schedule import Schedule

for _each in set(Schedule.__subclasses__()) - {ReduceOnPlateau}:
    for _name in ("__setattr__", "__delattr__"):
        setattr(_each, _name, Schedule._refuse)

__all__ = [
    "ReduceOnPlateau",
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_sqrt",
    "inverse_time",
    "linear",
    "one_cycle",
    "per_epoch",
    "piecewise",
    "polynomial",
    "sequence",
    "step",
    "warmup",
]

__dir__ = __all__.copy
