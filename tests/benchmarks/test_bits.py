"""The recorder finds equal bits for all instruction sets, threads and backends, and reports a real difference."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bits import __main__ as bits
from benchmarks.bits.__main__ import main
from benchmarks.bits.digest import digest
from benchmarks.bits.inputs import LAYOUTS, laid_out
from benchmarks.builds import Build

#: One of so many calls is made.
EVERY = "100"


def test_no_setting_changes_a_bit_and_a_changed_digest_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, changed = tmp_path / "a.bits", tmp_path / "b.bits"
    assert main(["record", str(record), "--every", EVERY]) == 0
    assert "Equal bits with 1, 2 and 3 threads and with each of: backend cython, x86-64" in capsys.readouterr().out

    lines = record.read_text().splitlines(keepends=True)
    name, was, arguments = lines[7].split("\t")
    now = was.translate(str.maketrans("0123456789abcdef", "123456789abcdef0"))
    changed.write_text("".join([*lines[:7], "\t".join([name, now, arguments]), *lines[8:]]))
    assert main(["compare", str(changed), str(record)]) == 1
    printed = capsys.readouterr().out
    assert f"{name}: {now} is now {was}: {arguments}" in printed
    assert re.search(rf"^1 of {len(lines)} digests differ.$", printed, re.M)


def test_a_setting_that_changes_a_bit_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_with(build: Build, setting: bits.Setting, every: int) -> bits.Record:
        return {"adam/0": bits.Line("1" if setting.backend == "numba" else "0", "param: float32[1] C")}

    monkeypatch.setattr(bits, "run_with", run_with)
    assert main(["record", str(tmp_path / "a.bits")]) == 1
    assert "adam/0 has other bits with backend numba" in capsys.readouterr().out


def test_records_of_other_calls_differ(tmp_path: Path) -> None:
    for name, lines in {"both": "a\t1\t\nb\t2\t\n", "one": "a\t1\t\n", "none": ""}.items():
        (tmp_path / name).write_text(lines)
    codes = [
        main(["compare", str(tmp_path / old), str(tmp_path / new)])
        for old, new in [("both", "both"), ("one", "both"), ("both", "one"), ("none", "one")]
    ]
    assert codes == [0, 0, 1, 1]  # a record may gain calls and lose none


def test_a_digest_sees_one_bit_but_no_sign_of_nan() -> None:
    array = np.linspace(0, 1, 7, dtype=np.float32)
    other = array.copy()
    other.view(np.uint32)[3] ^= 1
    assert digest(array) == digest(array.copy())
    assert digest(array) != digest(other)
    assert digest(array) != digest(array.reshape(1, 7))
    assert digest(np.float32([0.0])) != digest(np.float32([-0.0]))
    assert digest(np.float32([np.nan])) == digest(-np.float32([np.nan]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 4, 5)])
def test_a_layout_changes_no_value(layout: str, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    array, memory = laid_out(values, layout, np.random.default_rng(0))
    assert np.array_equal(array, values)
    assert isinstance(array, np.ndarray)
    assert not array.size or np.shares_memory(array, memory)
