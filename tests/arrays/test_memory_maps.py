"""Memory-mapped arrays: updated in the file without being loaded into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import fastopt
from tests.support import run_python

#: Maps two sparse files, updates what it is told to with 8 MiB of memory to spare, checks it, and prints by how many
#: bytes its own memory has grown.
PROGRAM = """
import re, resource, sys
from pathlib import Path
import numpy as np
import fastopt
from fastopt.optim import SGD

def memory(kind):
    return 1024 * int(re.search(kind + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

folder, elements, parts = Path(sys.argv[1]), int(sys.argv[2]), eval(sys.argv[3])
warm = [np.ones(1 << 20, "f4") for _ in range(2)]
fastopt.sgd(*warm, lr=0.5)  # threads are started
param, grad = (np.memmap(folder / name, "f4", "r+", shape=elements) for name in ("param", "grad"))
before = memory("RssAnon")
resource.setrlimit(resource.RLIMIT_DATA, (memory("VmData") + 2**23, resource.RLIM_INFINITY))
for part in parts:
    of_grad = grad[part]
    of_grad[::max(1, len(of_grad) // 1000)] = 2
    fastopt.sgd(param[part], of_grad, lr=0.25)
    SGD([param[part]], lr=0.25).step([of_grad])
grown = memory("RssAnon") - before
resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for part in parts:
    assert np.array_equal(param[part], -0.5 * grad[part])
    assert np.any(param[part])
print(grown)
"""

MIB = 1 << 20


def sparse(path: Path, elements: int) -> Path:
    with path.open("wb") as file:
        file.truncate(4 * elements)
    return path


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Callable[[int], list[Path]]]:
    """Make files for param and grad, which are gone after the test."""
    made = [tmp_path / "param", tmp_path / "grad"]
    yield lambda elements: [sparse(path, elements) for path in made]
    for path in made:
        path.unlink(missing_ok=True)


def growth(param: Path, elements: int, parts: str) -> int:
    return int(run_python(PROGRAM, str(param.parent), str(elements), parts))


def test_parts_of_4_gb(files):
    """The end of a map, and elements all over it. All else stays a hole in the file."""
    elements = 1_000_000_000
    param, _ = files(elements)
    assert growth(param, elements, "[slice(-1_000_000, None), slice(0, -1_000_000, 20_000_000)]") < 4 * MIB
    assert 512 * param.stat().st_blocks < 64 * MIB
    assert param.stat().st_size == 4 * elements


def test_all_of_256_mib(files):
    elements = 64 * MIB
    param, _ = files(elements)
    assert growth(param, elements, "[slice(None)]") < 4 * MIB
    assert 512 * param.stat().st_blocks >= 256 * MIB


def test_a_map_is_updated_on_disk(tmp_path):
    np.save(tmp_path / "param.npy", np.ones((3, 4), "f4"))
    param = np.load(tmp_path / "param.npy", mmap_mode="r+")
    fastopt.sgd(param, np.ones((3, 4), "f4"), lr=0.25)
    param.flush()
    assert np.all(np.load(tmp_path / "param.npy") == 0.75)
    with pytest.raises(TypeError, match="param is read-only"):
        fastopt.sgd(np.load(tmp_path / "param.npy", mmap_mode="r"), np.ones((3, 4), "f4"), lr=0.25)
