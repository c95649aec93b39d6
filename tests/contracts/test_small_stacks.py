"""A thread with the smallest stack that NumPy works on, of 64 KiB, can call everything."""

from __future__ import annotations

import pytest

from tests.support import run_python

PROGRAM = "import runpy; runpy.run_module('tests.contracts.small_stack_calls', run_name='__main__')"


@pytest.mark.parametrize("threads", [1, 3])
def test_a_thread_with_a_small_stack_can_call_everything(threads: int) -> None:
    said = run_python(PROGRAM, str(threads)).splitlines()
    assert int(said[-1].removeprefix("all ")) > 400
