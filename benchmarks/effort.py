"""How much is measured: everything, or enough for a look."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.candidates import Candidate


@dataclass(frozen=True)
class Effort:
    """Sizes and numbers of samples."""

    sizes: tuple[int, ...]
    samples: int
    #: Of what takes over 0.1 s a call: all on `LARGE` arrays and more, slow candidates from a fifth of that.
    samples_large: int
    samples_slow: int
    #: Runs of a fresh interpreter, for what happens once in a process.
    processes: int
    #: False if only Adam is given 10,000 zero gradients.
    zero_gradient_of_all: bool

    def samples_of(self, candidate: Candidate, elements: int) -> int:
        """Return how many samples of a candidate are taken."""
        if candidate.slow and 5 * elements >= LARGE:
            return self.samples_slow
        return self.samples_large if elements >= LARGE else self.samples


LARGE = 50_000_000

FULL = Effort((1_000, 10_000, 100_000, 1_000_000, 10_000_000, LARGE), 7, 5, 3, 7, True)
QUICK = Effort((1_000, 100_000, 1_000_000), 3, 3, 1, 3, False)
