"""The load of other programs, which distorts measurements.

Threads of OpenMP (PyTorch's, and those of the bound) each have a fixed part of the work: if one has to wait for its
processor, all of them wait, and a call of 50 us takes 8 ms.
"""

from __future__ import annotations

import os
import time


class OtherPrograms:
    """Counts processor time from its creation."""

    def __init__(self) -> None:
        self.start = _processor_times()

    def share(self) -> float | None:
        """Return the share of the processors that others have used since then, or None if the system does not tell."""
        if self.start is None:
            return None
        (all_now, idle_now, own_now), (everything, idle, own) = _processor_times(), self.start
        others = (all_now - everything) - (idle_now - idle) - (own_now - own)
        return min(1.0, max(0.0, others / max(all_now - everything, 1e-9)))


def share_of_others(seconds: float) -> float | None:
    """Wait, and return the share of the processors that other programs have used meanwhile."""
    others = OtherPrograms()
    time.sleep(seconds)
    return others.share()


def _processor_times() -> tuple[float, float, float] | None:
    """Return seconds of all processors: total, idle, and by this process and its finished children."""
    try:
        with open("/proc/stat") as file:
            ticks = [float(number) for number in file.readline().split()[1:9]]  # user to steal
    except OSError:
        return None
    per_second = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]  # idle, and waiting for a disk
    return sum(ticks) / per_second, idle / per_second, sum(os.times()[:4])
