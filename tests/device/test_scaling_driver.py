"""Calls of the CUDA driver for feature scaling, recorded by a mock: which calls synchronise."""

from __future__ import annotations

import struct

import pytest

from tests.peers import peer
from tests.support import parts_told

peer("numba_cuda")

# The stand-in's kernels do nothing: what is fetched is zeros, as its memory is.
PROGRAM = """
import numpy as np
from fastopt.scaling import MinMaxScaler, StandardScaler
from tests.cuda.support import Nowhere
x = Nowhere(0x10000000, (1_000_000, 6000))
known = np.arange(12000.0).reshape(2, 6000)
refusing, ignoring = MinMaxScaler().fit(known), MinMaxScaler(nan="ignore").fit(known)
StandardScaler(nan="ignore").fit(x, stream=5)
print("--")
ignoring.transform_(x, stream=5)
print("--")
ignoring.transform_(x, stream=5)
print("--")
refusing.transform_(x, stream=5)
print("--")
ignoring.transform(Nowhere(0x10000000, (7, 6000), "<f2"), stream=5)
print("--")
few = MinMaxScaler(nan="ignore").fit(known[:, :3])
few.transform_(Nowhere(0x10000000, (100, 3), "<f4", (-12, -4)), stream=5)
print("--")
few.transform_(Nowhere(0x10000000, (100_000, 3), "<f4", (4, 400_000)), stream=5)
print("--")
from cuda.bindings import driver
driver.cuStreamBeginCapture(9, driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL)
for call in (refusing.fit, refusing.transform_, ignoring.fit):
    try:
        call(x, stream=9)
    except ValueError as error:
        print(error)
print("--")
few.transform_(Nowhere(0x10000000, (100, 3)), stream=9)
few.transform_(Nowhere(0x10000000, (100, 3)), stream=9)
print("--")
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the stand-in says of the program's parts, whose kernels are compiled: no memory outlives its call."""
    folder = str(tmp_path_factory.mktemp("cache"))
    first = f"import gc, os\nos.environ['FASTOPT_CACHE_DIR'] = {folder!r}\ngc.disable()\n"
    return parts_told(first + PROGRAM, tmp_path_factory.mktemp("driver"), "push", "pop", "load", "kernel")


def kinds(part):
    return [line.split()[0] for line in part]


def launched(line):
    """A launch's blocks, threads and stream, and its words."""
    grid, _, parameters = line.removeprefix("launch ").partition(": ")
    given = bytes.fromhex(parameters)
    return grid, struct.unpack(f"={len(given) // 8}Q", given)


SAMPLES, FEATURES = 1_000_000, 6000

#: Samples of a part, 1,024 of which there may be; and from one that centres are refined by to the next.
PARTS, STEP = 489, 7813


def test_a_fit_waits_for_what_it_has_gathered(told):
    part = told[0]
    made, fetched = ["allocate", "allocate", "launch"], ["fetch", "synchronize"] * 2
    refined = [*fetched, "allocate", *["launch"] * (BRINGING // 2)]
    others = [kind for kind in kinds(part) if kind != "free"]
    assert others == [*made, *made, *refined, "launch", "launch", *fetched]
    assert kinds(part).count("free") == kinds(part).count("allocate")
    assert all(" on 5" in line for line in part)
    first, some, *_, gather, join = (launched(line) for line in part if line.startswith("launch"))
    sizes = [int(line.split()[1]) for line in part if line.startswith("allocate")]
    assert sizes == [8 * FEATURES, 8 * FEATURES, 8 * 5 * PARTS * FEATURES, 8 * 5 * FEATURES, 8 * 510 * (BRINGING // 2)]
    assert some[1][3:] == (128, FEATURES, 128, 1, STEP // 2 * FEATURES, STEP * FEATURES, 1)
    assert first[0] == "1056 x 32 on 5"
    assert first[1][0] == 0x10000000
    assert first[1][3:] == (SAMPLES, FEATURES, 0, FEATURES, 1)
    assert gather[0] == "1056 x 256 on 5"
    assert gather[1][3:] == (SAMPLES, FEATURES, 2048, PARTS, 0, FEATURES, 1)
    assert join[0] == "24 x 256 on 5"
    assert join[1][2:] == (SAMPLES, FEATURES, PARTS)
    assert some[1][1] == first[1][2]  # centres
    assert gather[1][2] == join[1][0]  # parts


#: Launches that bring a feature's four numbers, whose arguments they are: 255 features each.
BRINGING = -(-4 * FEATURES // 2 // 510)


def test_scales_come_and_go_with_the_call(told):
    """Nothing is kept that is a stream's own; and nothing is waited for."""
    assert kinds(told[1]) == ["allocate", *["launch"] * (BRINGING + 1), "free"]
    assert kinds(told[2]) == kinds(told[1])
    grid, words = launched(told[2][-2])
    assert grid == "1056 x 256 on 5"
    assert words[0] == words[2] == 0x10000000
    samples, features, units, chunks, width, span = words[3:9]
    assert (samples, features, chunks, width) == (SAMPLES, FEATURES, 24, 256)
    assert (chunks * span) * (units // chunks) >= SAMPLES * chunks > chunks * span * (units // chunks - 1)
    assert words[9:] == (0, FEATURES, 1) * 2


def test_a_look_for_nan_waits_for_a_word(told):
    """Zeroed before, by a launch; then comes what is launched where none is refused."""
    assert kinds(told[3])[:6] == ["allocate", "launch", "launch", "fetch", "synchronize", "free"]
    assert kinds(told[3])[6:] == kinds(told[2])
    assert told[3][3] == "fetch 8 on 5"


def test_a_new_array_comes_from_the_stream(told):
    assert kinds(told[4]) == ["allocate", "allocate", *["launch"] * (BRINGING + 1), "free", "free"]
    assert told[4][0] == f"allocate {7 * FEATURES * 2} on 5"
    assert launched(told[4][-3])[0] == "48 x 256 on 5"


def test_strides_below_zero_and_few_features(told):
    """The lowest element comes first; a block has as many samples of a feature as there is room for."""
    assert kinds(told[5]) == ["allocate", "launch", "launch", "free"]
    grid, words = launched(told[5][-2])
    assert grid == "1 x 256 on 5"
    assert words[0] == 0x10000000 - 4 * 299
    assert words[3:9] == (100, 3, 1, 1, 4, 256)
    assert words[9:12] == (299, 2**64 - 3, 2**64 - 1)


def test_samples_that_stand_together_are_walked_so(told):
    """A block has one feature."""
    grid, words = launched(told[6][-2])
    assert words[3:8] == (100_000, 3, words[5], 3, 1)
    assert grid == f"{words[5]} x 256 on 5"


def test_a_capture_is_not_waited_for(told):
    assert told[7] == ["x is used in a stream that is captured, which can't be synchronised; expected another"] * 3


def test_a_graph_brings_scales_at_each_replay(told):
    assert kinds(told[8]) == ["allocate", "launch", "launch", "free"] * 2
