"""The command line: ``python -m benchmarks.paired OLD NEW`` times two builds of fastopt in turns."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.builds import Build
from benchmarks.others import OtherPrograms

OLD, NEW = 0, 1

#: The rounds of all rows take about 4 minutes.
ROUNDS = 60


class Worker:
    """The process of a build."""

    def __init__(self, build: Build, stack: ExitStack) -> None:
        command = build.command("benchmarks.paired.worker")
        self.process = stack.enter_context(
            subprocess.Popen(command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        self.rows: list[str] = self.answer()

    def ask(self, row: str) -> Any:
        """Return the answer: a digest the first time, then samples."""
        self.process.stdin.write(row + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        """Wait for the next answer."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process of a build ended early (see its error above)")
        return json.loads(line)


def main(arguments: list[str] | None = None) -> int:
    """Time and print; return 1 if the builds' bits differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired", description=__doc__)
    parser.add_argument("old", help="a built tree, or an interpreter that has fastopt installed")
    parser.add_argument("new", help="the same for the build to compare")
    parser.add_argument("--rows", default="", help="only rows with one of these words (separated by commas)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    others = OtherPrograms()
    with ExitStack() as stack:
        workers = [Worker(Build.of(each), stack) for each in (options.old, options.new)]
        rows = [row for row in workers[OLD].rows if any(word in row for word in options.rows.split(","))]
        if not rows:
            parser.error(f"--rows is {options.rows!r}; expected words of these names: {'; '.join(workers[OLD].rows)}")
        differing = [row for row in rows if workers[OLD].ask(row) != workers[NEW].ask(row)]
        rounds = time_in_turns(workers, rows, options.rounds)
    print_table(rounds)
    share = others.share()
    if share is not None:
        print(f"Other programs had {share:.0%} of the processors.")
    for row in differing:
        print(f"The builds' results differ in bits: {row}")
    return 1 if differing else 0


def time_in_turns(workers: list[Worker], rows: list[str], rounds: int) -> dict[str, list[tuple[list[float], ...]]]:
    """Return both builds' samples by row and round, in alternating order: old, new; new, old."""
    samples: dict[str, list[tuple[list[float], ...]]] = {row: [] for row in rows}
    for turn in track(range(rounds), "rounds", console=Console(stderr=True), refresh_per_second=1):
        for row in rows:
            order = (OLD, NEW) if turn % 2 == 0 else (NEW, OLD)
            taken = {build: workers[build].ask(row) for build in order}
            samples[row].append((taken[OLD], taken[NEW]))
    return samples


def print_table(samples: dict[str, list[tuple[list[float], ...]]]) -> None:
    """Print minima and medians of each row, and the ratios new / old.

    The ratio of a round is that of its minima: other programs prolong samples, and the minimum is affected least.
    """
    table = Table(
        "row", *("old min", "new min", "old median", "new median", "of rounds", "of minima"), title="new / old"
    )
    ratios = []
    for row, rounds in samples.items():
        every = [[seconds for taken in rounds for seconds in taken[build]] for build in (OLD, NEW)]
        lowest, middle = [min(each) for each in every], [median(each) for each in every]
        ratios.append(median(min(new) / min(old) for old, new in rounds))
        cells = [*map(microseconds, lowest), *map(microseconds, middle)]
        table.add_row(row, *cells, f"{ratios[-1]:.3f}", f"{lowest[NEW] / lowest[OLD]:.3f}")
    console = Console() if sys.stdout.isatty() else Console(width=130)
    console.print(table)
    console.print(f"Median of all rows: {median(ratios):.3f}")


def microseconds(seconds: float) -> str:
    """Return a time as text."""
    return f"{seconds * 1e6:,.3g} us" if seconds < 1e-3 else f"{seconds * 1e3:,.3g} ms"


if __name__ == "__main__":
    sys.exit(main())
