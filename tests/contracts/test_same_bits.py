"""The same bits whatever the threads, the instruction set, the backend and the memory layout: for every function.

What a result may not depend on besides, the other elements, samples or columns, is tested by family.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastopt.backends.cython import built_isas
from tests.contracts.families import BY_NAME, CALLS, DTYPES, Call, every_call
from tests.support import LAYOUTS, Arrays, assert_same_bits, copies, cpus, f_order, run_python


def in_turn(arrays: Arrays, *layouts) -> Arrays:
    """Return copies in these layouts: the first array in the first one, and so on."""
    return {name: layout(array) for (name, array), layout in zip(arrays.items(), itertools.cycle(layouts))}


def runs_on_several_threads(call: Call):
    for shape in call.large:
        yield shape, call.dtypes[0], (np.copy,)
    for shape, dtype in itertools.product(call.large[:2], call.dtypes):
        yield shape, dtype, (np.copy, f_order)


@every_call
def test_thread_counts(call):
    for shape, dtype, layouts in runs_on_several_threads(call):
        arrays = in_turn(call.make(shape, dtype), *layouts)
        wanted = copies(call.run(copies(arrays), num_threads=1))
        with cpus(7):
            for threads in (2, 7):
                got = call.run(copies(arrays), num_threads=threads)
                assert_same_bits(got, wanted, f"{shape}, {dtype}, {threads} threads")


@every_call
def test_python_threads_at_once(call):
    """Each with a call of its own, which together have more threads than the machine."""
    arrays = call.make(call.large[0], call.dtypes[0])
    wanted = copies(call.run(copies(arrays), num_threads=1))
    with cpus(4), ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: call.run(copies(arrays)), range(8)):
            assert_same_bits(got, wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("call", [call for call in CALLS if len(call.backends) > 1], ids=lambda call: call.name)
def test_backends(call, dtype):
    if dtype not in call.dtypes:
        return
    for shape, layouts in itertools.product(call.small, ((np.copy,), (f_order, np.copy))):
        arrays = in_turn(call.make(shape, dtype), *layouts)
        wanted = call.run(copies(arrays), backend="cython")
        assert_same_bits(call.run(copies(arrays), backend="numba"), wanted, f"{shape}, {layouts}")


@pytest.mark.parametrize("call", [call for call in CALLS if call.name != "Whitener"], ids=lambda call: call.name)
def test_layouts(call):
    """All arrays in one layout, and each in another one. Whitening is NumPy's matrix products, which may differ."""
    for shape, dtype in itertools.product(call.small, call.dtypes):
        arrays = call.make(shape, dtype)
        wanted = copies(call.run(copies(arrays)))
        for i, layout in enumerate(LAYOUTS):
            for layouts in ([layout], LAYOUTS[i:] + LAYOUTS[:i]):
                got = call.run(in_turn(arrays, *layouts))
                assert_same_bits(got, wanted, f"{shape}, {dtype}, {[each.__name__ for each in layouts]}")


DIGESTS = """
import json
from fastopt.backends.cython import ISA
from tests.contracts.families import CALLS, digests
made = {call.name: digests(call, call.small) for call in CALLS if "cython" in call.backends or not call.backends}
print(json.dumps({"isa": ISA, "made": made}))
"""


def test_instruction_sets():
    isas = built_isas()
    answers = [json.loads(run_python(DIGESTS, FASTOPT_ISA=isa)) for isa in isas]
    assert [answer["isa"] for answer in answers] == isas
    for answer in answers[1:]:
        assert [name for name in answer["made"] if answer["made"][name] != answers[0]["made"][name]] == []


@pytest.mark.parametrize("name", ["adam", "batch forward", "batch backward", "StandardScaler.fit", "normal_"])
def test_the_gil_is_released_during_a_large_call(name):
    """No thread is made to give way, so that another gets on only when a call lets it."""
    call = BY_NAME[name]
    shape = (20_000, 200) if call.family == "scaling" else (8, 32, 120, 120)
    arrays = call.make(shape, "f4")
    turns = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(lambda: [(call.run(arrays), len(turns))[1] for _ in range(25)])
            while not done.done():
                turns.append(None)
                time.sleep(0)  # lets the other thread on, should it wait
    finally:
        sys.setswitchinterval(interval)
    assert len(set(done.result())) > 2, "other threads stood still from call to call"
