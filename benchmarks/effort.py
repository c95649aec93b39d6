"""The extent of measurements: full, or quick."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Effort:
    """Sizes and numbers of samples."""

    #: Elements of the arrays of updates
    sizes: tuple[int, ...]
    #: Elements of the largest norm
    largest_norm: int
    #: Parameters of the largest model
    largest_model: int
    #: Samples per candidate and workload; fewer, but at least 3, if they would exceed `budget`.
    samples: int
    #: Time limit in seconds
    budget: float
    #: Number of new interpreters for one-time costs
    processes: int
    #: False: only Adam is given 10,000 zero gradients.
    zero_gradient_of_all: bool


FULL = Effort((1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000), 100_000_000, 200_000_000, 11, 0.4, 7, True)
QUICK = Effort((1_000, 100_000, 1_000_000), 10_000_000, 1_000_000, 3, 0.1, 3, False)

#: Samples on a device are short, so there are many.
DEVICE = replace(FULL, sizes=(1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000), samples=51)
DEVICE_QUICK = replace(QUICK, samples=11)
