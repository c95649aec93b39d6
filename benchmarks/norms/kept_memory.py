"""Measures large backward passes when malloc keeps freed memory.

PyTorch's backward pass allocates its result. By default, glibc returns blocks of more than 32 MB to the system, which
must then create every page again: 60 of 100 ms at 64x64x112x112. fastopt writes into the caller's array.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.competition import compete
from benchmarks.effort import Effort
from benchmarks.norms.candidates import CYTHON
from benchmarks.norms.workload import NormWorkload
from benchmarks.results import Result, Results, read_csv, write_csv

ROOT = Path(__file__).parents[2]

MEASURE = "norm, memory kept"

#: glibc reads this at the start of a process.
KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}

SCRIPT = """
from pathlib import Path
from benchmarks.norms.kept_memory import measure_here
measure_here({asked!r}, {threads}, Path({path!r}))
"""


def measure_kept_memory(workload: NormWorkload, effort: Effort, threads: int) -> Iterator[Result]:
    """Time fastopt and PyTorch in a separate process."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "results.csv"
        script = SCRIPT.format(asked=(asdict(workload), asdict(effort)), threads=threads, path=str(path))
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, env={**os.environ, **KEEP}, check=True)
        yield from read_csv(path).rows


def measure_here(asked: tuple[dict, dict], threads: int, path: Path) -> None:
    """Write the results of this process, which was started with the variable for malloc."""
    from benchmarks.norms.peers import peers_of  # imported late: PyTorch is optional

    workload, effort = NormWorkload(**asked[0]), Effort(**asked[1])
    rows = compete(MEASURE, {workload: [CYTHON, *peers_of(workload)]}, effort, threads)
    write_csv(Results({}, list(rows)), path)
