"""How much is measured: everything, or enough for a look."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Effort:
    """Sizes and numbers of samples."""

    #: Elements of the arrays of updates.
    sizes: tuple[int, ...]
    #: Elements of the largest norm.
    largest_norm: int
    #: Parameters of the largest model.
    largest_model: int
    #: Of each candidate on each workload, unless they would take longer than `budget`: then fewer, but at least 3.
    samples: int
    #: Seconds.
    budget: float
    #: Runs of a fresh interpreter, for what happens once in a process.
    processes: int
    #: False if only Adam is given 10,000 zero gradients.
    zero_gradient_of_all: bool


FULL = Effort((1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000), 100_000_000, 200_000_000, 11, 0.4, 7, True)
QUICK = Effort((1_000, 100_000, 1_000_000), 10_000_000, 1_000_000, 3, 0.1, 3, False)

#: On a device a sample is short, and many of them are soon taken.
DEVICE = replace(FULL, sizes=(1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000), samples=51)
DEVICE_QUICK = replace(QUICK, samples=11)
