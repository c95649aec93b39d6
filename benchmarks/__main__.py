"""The command line: options, measurements and output files."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import matplotlib
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import fastopt
from benchmarks.device.device import find_device
from benchmarks.device.libraries import missing_peers
from benchmarks.device.plan import GROUPS as DEVICE_GROUPS
from benchmarks.device.plan import plan as plan_on_device
from benchmarks.machine import describe_machine, machine_line
from benchmarks.others import OtherPrograms, share_of_others
from benchmarks.plan import GROUPS, Measurement, plan
from benchmarks.plot import draw
from benchmarks.results import Results, write_csv
from benchmarks.tables import GRIDS
from tests.cases import BY_NAME

#: Above this share of the processors, other programs cause a warning.
BUSY = 0.05

#: The output file for each device
CSV = {"host": "benchmarks.csv", "cuda": "cuda.csv"}


def main(arguments: list[str] | None = None) -> None:
    """Run the measurements, print the tables, and write the CSV file and the plots."""
    options = parse(arguments)
    # Before Numba loads the system's OpenMP, with which small steps of PyTorch take 3 ms instead of 0.1.
    if options.peers and find_spec("torch"):
        import benchmarks.updates.peers  # noqa: F401
    wide = Console()
    console = wide if wide.is_terminal else Console(width=190)
    machine, planned = prepare(options)
    results = Results(machine)
    console.print(machine_line(results.machine))
    before = share_of_others(seconds=0.5)
    if before is not None and before > BUSY:
        console.print(f"[red]Other programs have {before:.0%} of the processors: wait for them, or discard this run.")
    others = OtherPrograms()
    run(planned, results, console)
    share = others.share()
    if share is not None:
        results.machine["other programs"] = f"{share:.0%}"
    for grid in GRIDS.values():
        table = grid(results)
        if table.rows:
            console.print(table.for_terminal())
    options.out.mkdir(parents=True, exist_ok=True)
    csv = options.out / CSV[options.device]
    write_csv(results, csv)
    matplotlib.use("Agg")
    for written in (csv, *draw(results, options.out)):
        print(f"wrote {written}")


def prepare(options: argparse.Namespace) -> tuple[dict[str, str], list[Measurement]]:
    """Return the machine's description and the measurements, or exit if they are impossible."""
    machine = describe_machine(options.threads)
    if options.device == "host":
        return machine, plan(options)
    try:
        device = find_device()
    except fastopt.BackendUnavailable as error:
        raise SystemExit(str(error)) from None
    planned = plan_on_device(options, device)
    if not planned:
        raise SystemExit(f"no such measurement on a device; expected some of {', '.join(DEVICE_GROUPS)}")
    if options.peers:
        for missing in missing_peers():
            print(missing)
    return machine | {"device": device.description()}, planned


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the options, and reject impossible ones."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure fastopt beside NumPy and PyTorch.")
    parser.add_argument(
        "--sizes", type=sizes, metavar="N[,N]", help="elements of updates, such as 1e3,1e6; norms up to the largest"
    )
    parser.add_argument("--only", type=names, metavar="NAME[,NAME]", help=f"cases, or {', '.join(GROUPS)}")
    parser.add_argument("--device", choices=CSV, default="host", help="location of the arrays; default: %(default)s")
    parser.add_argument("--full", action="store_true", help="all sizes, more samples: about twenty minutes")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave PyTorch out")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: results/")
    parser.add_argument(
        "--threads", type=int, default=fastopt.get_num_threads(), metavar="N", help="default: %(default)s"
    )
    options = parser.parse_args(arguments)
    if options.device == "host" and options.peers and find_spec("torch") is None:
        print("PyTorch is not installed: its columns will be empty")
        options.peers = False
    return options


def sizes(text: str) -> tuple[int, ...]:
    """Parse sizes such as 1e3,1e6."""
    return tuple(int(float(size)) for size in text.split(","))


def names(text: str) -> list[str]:
    """Parse names of cases and groups."""
    known = [*BY_NAME, *GROUPS]
    for name in text.split(","):
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
    return text.split(",")


def run(planned: list[Measurement], results: Results, console: Console) -> None:
    """Run the measurements with a progress bar, or with a line for each without a terminal."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(planned))
        for number, (description, measure) in enumerate(planned, start=1):
            progress.update(task, description=description)
            start = perf_counter()
            results.rows.extend(measure())
            progress.advance(task)
            if not console.is_terminal:
                print(f"{number}/{len(planned)}  {description}: {perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
