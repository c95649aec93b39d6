"""The command line: record a build's digests, and compare them with another's."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.bits.call import THREADS
from benchmarks.builds import Build

ISAS = ("x86-64-v4", "x86-64-v3", "x86-64-v2")

#: Number of parallel processes
AT_ONCE = 2

#: Maximum number of printed differences per function
SHOWN = 3


@dataclass(frozen=True)
class Line:
    """The record of a call: its digest, and its arguments as text."""

    digest: str
    arguments: str


Record = dict[str, Line]


@dataclass(frozen=True)
class Setting:
    """Settings that must not affect results: instruction set ("" is the widest), backend, and threads of each call."""

    isa: str
    backend: str
    shift: int

    def __str__(self) -> str:
        return f"backend {self.backend}, {self.isa or 'the widest instruction set'}"


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if all bits are equal, else 1."""
    options = parse(arguments)
    if options.command == "record":
        record, same = run(Build.of(options.build) if options.build else Build.current(), options.every)
        write(options.file, record)
        print(f"{len(record)} digests are in {options.file}.")
        return 0 if same else 1
    old, same = read(options.file), True
    if options.other:
        new = read(options.other)
    else:
        new, same = run(Build.of(options.build) if options.build else Build.current(), options.every)
    return 0 if compare(old, new, part=options.every > 1) and same else 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bits", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", help="write the digests of all calls to a file")
    other = commands.add_parser("compare", help="list the calls whose digests differ; the exit code is 1 if any does")
    for each in (record, other):
        each.add_argument("file", type=Path)
        each.add_argument("--every", type=int, default=1, help="make one of this many calls, always the same ones")
        each.add_argument("--build", help="a built tree or an interpreter, in place of the installed fastopt")
    other.add_argument("other", type=Path, nargs="?", help="a second file, instead of new calls")
    return parser.parse_args(arguments)


# ---- Recording


def run(build: Build, every: int) -> tuple[Record, bool]:
    """Make all calls with every setting; return their record, and whether all settings give the same bits."""
    isas = [isa for isa in ISAS if is_usable(build, isa)] or [""]
    settings = [Setting(isas[shift % len(isas)], "cython", shift) for shift in range(len(THREADS))]
    settings += [Setting("", backend, 0) for backend in ("numba", "reference")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        records = list(pool.map(lambda setting: run_with(build, setting, every), settings))
    record, same = records[0] | records[-1], True
    for setting, other in zip(settings[1:-1], records[1:-1], strict=True):
        for name, line in other.items():
            if line.digest != record[name].digest:
                same = False
                print(f"{name} has other bits with {setting}: {line.arguments}")
    if same:
        described = "; ".join(f"{setting} ({len(each)} calls)" for setting, each in zip(settings, records, strict=True))
        print(f"Equal bits with 1, 2 and 3 threads and with each of: {described.rpartition('; ')[0]}.")
    errors = Counter(line.digest for line in record.values() if line.digest.endswith("Error"))
    print("Refused:", ", ".join(f"{count} calls by {error}" for error, count in errors.items()) or "no call")
    return record, same


def is_usable(build: Build, isa: str) -> bool:
    """Return whether an instruction set was built and is supported here."""
    probe = subprocess.run(
        [build.python, "-c", f"import sys; sys.path[:0] = {[build.tree] if build.tree else []!r}; import fastopt"],
        env={**os.environ, "FASTOPT_ISA": isa},
        cwd="/",
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return probe.returncode == 0


def run_with(build: Build, setting: Setting, every: int) -> Record:
    """Make the calls of one setting in a process."""
    environment = {**os.environ, "FASTOPT_ISA": setting.isa} if setting.isa else {**os.environ}
    command = build.command("benchmarks.bits.worker", str(every), setting.backend, str(setting.shift))
    done = subprocess.run(command, env=environment, cwd="/", stdout=subprocess.PIPE, text=True, check=True)
    return parse_lines(done.stdout)


# ---- Files


def parse_lines(text: str) -> Record:
    """Return the record in a file."""
    rows = (line.split("\t") for line in text.splitlines())
    return {name: Line(digest, arguments) for name, digest, arguments in rows}


def read(path: Path) -> Record:
    """Read a record."""
    return parse_lines(path.read_text())


def write(path: Path, record: Record) -> None:
    """Write a record."""
    path.write_text("".join(f"{name}\t{line.digest}\t{line.arguments}\n" for name, line in record.items()))


# ---- Comparing


def compare(old: Record, new: Record, part: bool) -> bool:
    """Print the calls with different digests; return whether there are none."""
    differing = [name for name, line in new.items() if name in old and old[name].digest != line.digest]
    for function, names in groupby(differing, lambda name: name.partition("/")[0]):
        of_function = list(names)
        print(f"{function}: {len(of_function)} calls differ")
        for name in of_function[:SHOWN]:
            print(f"    {name}: {old[name].digest} is now {new[name].digest}: {new[name].arguments}")
    common = old.keys() & new.keys()
    print(f"{len(differing)} of {len(common)} digests differ.")
    missing = [] if part else [name for name in old if name not in new]
    if missing:
        print(f"{len(missing)} calls are only in the old record, such as {missing[0]}.")
    if len(new) > len(common):
        print(f"{len(new) - len(common)} calls are only in the new record.")
    return not differing and not missing and bool(common)


if __name__ == "__main__":
    sys.exit(main())
