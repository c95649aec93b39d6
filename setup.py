"""Configures the build: the engine, and the kernels of fastopt/rules for each type and instruction set.

Static metadata is in pyproject.toml; the compilation of C files is in fastopt/codegen/build.py. This file writes the
kernels' source under build/ (never committed), and Cython translates each pair of a family and a type to one C file.
The modules of all pairs are linked into one library for each instruction set.
"""

import os
import platform
import re
import sys
from pathlib import Path
from types import ModuleType

import Cython
import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent

# The package can't be imported before it is built; this stub replaces it, so that its pure Python modules can be.
package = ModuleType("fastopt")
package.__path__ = [str(ROOT / "fastopt")]
sys.modules["fastopt"] = package

from fastopt.codegen.build import JOBS, Build, KernelLibrary  # noqa: E402
from fastopt.codegen.cython.interface import c_header, cython_declarations, cython_functions  # noqa: E402
from fastopt.codegen.cython.norm import norm_module  # noqa: E402
from fastopt.codegen.cython.random import random_module  # noqa: E402
from fastopt.codegen.cython.scaling import scaling_module  # noqa: E402
from fastopt.codegen.cython.update import cython_module  # noqa: E402
from fastopt.specs.c_header import c_specs  # noqa: E402
from fastopt.specs.kernels import KERNEL_TYPES  # noqa: E402

#: The address of the repository's pages at its newest state, such as ".../blob/main/", once there is one.
ADDRESS = ""

GENERATED = ROOT / "build" / "generated"
ENGINE = "fastopt/engine"
INCLUDE = "fastopt/include"

X86_LEVELS = ["x86-64-v2", "x86-64-v3", "x86-64-v4"]
WRITERS = {"update": cython_module, "norm": norm_module, "scaling": scaling_module, "random": random_module}


def write(path: Path, text: str) -> str:
    """Write a file unless it already has this content, so that dependent files are not compiled again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return os.path.relpath(path, ROOT)


def rules(family: str) -> str:
    return (ROOT / "fastopt" / "rules" / f"{family}.py").read_text()


def long_description() -> str:
    """The README as a package index shows it: no link is relative. Without an address a link is its text."""
    text = (ROOT / "README.md").read_text()
    if not ADDRESS:
        text = re.sub(r"!\[[^\]]*\]\((?!https?:)[^)]*\)\n*", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?:)([^)]*)\)", rf"[\1]({ADDRESS}\2)" if ADDRESS else r"\1", text)


def kernel_modules() -> list[Extension]:
    """Return one module for each family and type; its text does not depend on the instruction set."""
    names = [(family, dtype) for family, dtypes in KERNEL_TYPES.items() for dtype in dtypes]
    return [
        Extension(
            f"fastopt.kernels.{family}_{dtype}",
            [write(GENERATED / f"{family}_{dtype}.pyx", WRITERS[family](rules(family), dtype))],
        )
        for family, dtype in names
    ]


def kernel_libraries(c_files: list[str]) -> list[Extension]:
    """Return one library per instruction set, with all kernel modules; Build omits sets unknown to the compiler."""
    levels = X86_LEVELS if platform.machine().lower() in ("x86_64", "amd64") else []
    return [
        KernelLibrary(
            f"fastopt.kernels.{isa.replace('-', '_')}",
            c_files,
            include_dirs=["fastopt/codegen/cython", ENGINE, os.path.relpath(GENERATED, ROOT)],
            extra_compile_args=[] if isa == "plain" else [f"-march={isa}"],
        )
        for isa in ["plain", *levels]
    ]


def interface_module() -> Extension:
    """Write the interface of the rules for other languages; it is packaged like compiled modules."""
    source = rules("update")
    write(ROOT / INCLUDE / "fastopt_rules.h", c_header(source))
    write(ROOT / "fastopt" / "kernels" / "typed.pxd", cython_declarations(source))
    path = write(GENERATED / "typed.pyx", cython_functions(source))
    return Extension("fastopt.kernels.typed", [path], include_dirs=[ENGINE, INCLUDE])


def engine_modules() -> list[Extension]:
    """Return the modules that run the kernels, each with its C files."""
    modules = {
        "core/cpu": [],
        "core/hyperparameters": [],
        "core/dlpack": [],
        "core/exchange": [],
        "core/pins": [],
        "core/intake": [],
        "threads/threads": ["threads/limits", "threads/pool", "threads/parallel_for"],
        "update/update": [],
        "call": ["core/scratch_pool"],
        "update/run": ["update/job", "core/scratch_pool"],
        "update/plan": ["update/job", "core/scratch_pool", "update/sum_squares"],
        "rows/gather": ["rows/rows"],
        "rows/augment": ["rows/windows"],
        "capi/c_api": ["update/job"],
        "random/random": ["update/job"],
        "norm/norm": [
            "core/scratch_pool",
            *sorted(f"norm/{path.stem}" for path in (ROOT / ENGINE / "norm").glob("*.c")),
        ],
        "scaling/scaling": ["scaling/scale", "scaling/column_stats", "core/scratch_pool"],
    }
    return [
        Extension(
            f"fastopt.engine.{module.replace('/', '.')}",
            [f"{ENGINE}/{module}.pyx", *(f"{ENGINE}/{name}.c" for name in sources)],
            include_dirs=[ENGINE, INCLUDE, os.path.relpath(GENERATED, ROOT), numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
            extra_link_args=["-pthread"],
        )
        for module, sources in modules.items()
    ]


if __name__ == "__main__":  # Cython's worker processes may import this file
    write(GENERATED / "fastopt_specs.h", c_specs())
    kernels = kernel_modules()
    # Remove C files that were generated with another version of NumPy (pip builds with the newest one).
    versions, stamp = f"Cython {Cython.__version__}, NumPy {numpy.__version__}", ROOT / "build" / "cython" / "versions"
    modules = cythonize(
        [*kernels, *engine_modules(), interface_module()],
        nthreads=JOBS,
        force=not stamp.exists() or stamp.read_text() != versions,
        build_dir="build/cython",
        language_level=3,
    )
    write(stamp, versions)
    c_files = [module.sources[0] for module in modules[: len(kernels)]]
    setup(
        long_description=long_description(),
        long_description_content_type="text/markdown",
        ext_modules=[*kernel_libraries(c_files), *modules[len(kernels) :]],
        cmdclass={"build_ext": Build},
    )
