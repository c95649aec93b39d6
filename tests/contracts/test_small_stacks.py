"""Threads with small stacks, as on some servers."""

from __future__ import annotations

import pytest

from tests.support import run_python

PROGRAM = """
import sys, threading
from fastopt.engine.threads.threads import pretend_cpu_limit
from tests.contracts.families import CALLS, digests

def run_with(stack, call):
    made = []
    threading.stack_size(stack)
    def run():
        if call.name == "Whitener":  # LAPACK, which is NumPy's, needs more for many features
            made.extend(digests(call, call.small[:1]))
        else:
            made.extend(digests(call, call.small[-1:]) + digests(call, call.large[-1:], dtypes=1))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return made

pretend_cpu_limit(int(sys.argv[1]))
for call in CALLS:
    print(call.name, flush=True)
    wanted = run_with(0, call)
    assert wanted, call.name
    assert run_with(65536, call) == wanted, call.name
"""


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_thread_with_a_stack_of_64_kib_can_call_everything(threads):
    run_python(PROGRAM, threads)
