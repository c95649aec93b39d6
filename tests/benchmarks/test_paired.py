"""The paired benchmark times two builds in turns, and rejects builds with different bits."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("rich")

from benchmarks.builds import Build
from benchmarks.paired import __main__ as paired
from tests.support import ROOT


def test_a_build_beside_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert paired.main([str(ROOT), str(ROOT), "--rows", "adam 4,8x16", "--rounds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "adam 4" in printed
    assert "batch norm NC 8x16 forward" in printed
    assert "Median of all rows: " in printed


def test_other_bits_are_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Stub:
        rows = ("adam 4",)
        made = 0

        def __init__(self, *given: object) -> None:
            Stub.made += 1
            self.answers = iter([f"digest {Stub.made}", [1.0], [2.0]])

        def ask(self, row: str) -> object:
            return next(self.answers)

    monkeypatch.setattr(paired, "Worker", Stub)
    assert paired.main(["old", "new", "--rounds", "1"]) == 1
    assert "The builds' results differ in bits: adam 4" in capsys.readouterr().out


def test_a_build_is_a_tree_or_an_interpreter() -> None:
    assert Build.of(sys.executable) == Build(sys.executable, None)
    assert Build.of(str(ROOT)).tree == str(ROOT)
    assert Build.current().tree == str(ROOT)
