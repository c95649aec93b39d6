"""Learning rates as functions of the step.

>>> from fastopt.schedules import cosine, warmup
>>> rate = warmup(cosine(0.1, steps=90), steps=10)
>>> rate(1), rate(6), rate(11), round(rate(56), 12), rate(101)
(0.0, 0.05, 0.1, 0.05, 0.0)
>>> rate
warmup(schedule=cosine(lr=0.1, steps=90, final=0.0), steps=10, start=0.0)

Give it to an optimizer of `fastopt.optim` as ``lr``, or call it: ``fastopt.adam(..., step=step, lr=rate(step))``.

What all schedules share
========================
**Steps** count from 1, as everywhere here. In the formulas, ``t = step - 1`` is how many updates have been made: the
first step has the rate of t = 0. What is so after n updates is so at step n + 1. A step is a whole number, NumPy's
included. It may be beyond the end, where the rate stays what it was last. An epoch is as good as a step.

**Functions**: but for `ReduceOnPlateau`, a schedule depends on its arguments and the step alone, and never changes. So
an optimizer that goes on from a checkpoint, which stores the step, has the right rate. Schedules with the same
arguments are equal; they can be hashed, printed, copied and pickled. Arguments are attributes: ``rate.steps``.

**Composition**: `warmup`, `sequence` and `per_epoch` take any function of the step, schedules of a user's own and each
other included: ``per_epoch(warmup(cosine(0.1, steps=90), steps=10), steps=len(batches))``.

Raises
------
ValueError
    When a schedule is made: a rate is negative, infinite or NaN; a length is below 1; a factor is out of its range;
    boundaries don't rise, or are not as many as there must be. When it is called: the step is below 1.
TypeError
    An argument is no number, a length or step is not a whole one (1.0 and True are none), or what should be a schedule
    can't be called.
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
