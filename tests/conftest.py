"""Fixtures and marks of whole folders, the number of processes of ``-n auto``, and a report of deselected tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: The folders whose tests have a marker in common.
MARKERS = {"benchmarks": "ci", "device": "peers", "torch": "peers"}


def pytest_itemcollected(item: pytest.Item) -> None:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    if folder in MARKERS:
        item.add_marker(MARKERS[folder])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return how many processors this process may use; psutil, which pytest-xdist asks, counts all of them."""
    return len(os.sched_getaffinity(0))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fail a test that skips for want of a library, unless `peers` lets CI run it where that library is."""
    report: Any = yield
    if report.skipped and "cannot be imported" in str(report.longrepr) and not item.get_closest_marker("peers"):
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr[2]}; expected the marker 'peers', since it needs that library"
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if "not ci" in config.option.markexpr:
        terminalreporter.write_line(
            "left out: tests that take long (-m ci), need other libraries (-m peers) or a GPU (-m gpu)"
        )
