"""Checks what a wheel has: no sources of the engine, a description whose links all lead somewhere, at most 12 MB."""

import re
import sys
from pathlib import PurePosixPath
from zipfile import ZipFile

#: What C, C++ and Cython callers read.
PUBLIC = {
    "fastopt/include/fastopt.h",
    "fastopt/include/fastopt_rules.h",
    "fastopt/kernels/__init__.pxd",
    "fastopt/kernels/typed.pxd",
}
MOST_BYTES = 12e6

with ZipFile(sys.argv[1]) as wheel:
    names = wheel.namelist()
    sources = {name for name in names if PurePosixPath(name).suffix in (".c", ".h", ".pyx", ".pxd")}
    assert sources == PUBLIC, f"sources in the wheel: {sorted(sources ^ PUBLIC)}"
    size = sum(entry.file_size for entry in wheel.infolist())
    assert size <= MOST_BYTES, f"{size / 1e6:.1f} MB unpacked; expected at most {MOST_BYTES / 1e6:.0f}"
    metadata = wheel.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    relative = re.findall(r"\]\((?!https?:)[^)]*\)", metadata)
    assert not relative, f"relative links in the description: {relative}"
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert required == ["Requires-Dist: numpy>=1.25"], required
print(f"{sys.argv[1].rsplit('/', 1)[-1]}: {len(names)} files, {size / 1e6:.1f} MB, needs NumPy alone")
