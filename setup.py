"""Builds the compiled part: the engine, and the kernels of fastopt/rules/update.py for each type and instruction set.

What can't change is in pyproject.toml. This file asks the compiler what it can do, writes the kernels' source
under build/ (never committed) and says how each piece is compiled.
"""

import os
import platform
import sys
import tempfile
from copy import copy
from pathlib import Path
from types import ModuleType

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).parent
sys.path.append(str(ROOT / "fastopt"))

# The package can't be imported before it is built; this stands for it, so that its registry can be.
registry = ModuleType("fastopt")
registry.__path__ = [str(ROOT / "fastopt")]
sys.modules["fastopt"] = registry

# Not as fastopt.codegen: that package can't be imported before it is built.
from codegen.cython.interface import c_header, cython_declarations, cython_functions  # noqa: E402
from codegen.cython.norm import panels_module  # noqa: E402
from codegen.cython.random import random_module  # noqa: E402
from codegen.cython.scaling import columns_module  # noqa: E402
from codegen.cython.update import cython_module  # noqa: E402
from fastopt.specs.dtypes import COMPUTE_TYPES, STORAGES  # noqa: E402

GENERATED = ROOT / "build" / "generated"
ENGINE = "fastopt/engine"
INCLUDE = "fastopt/include"

# Same bits everywhere: no contraction of a*b + c, no reassociation; never -ffast-math. The first two -fno let gcc
# vectorise sqrt (1.2 -> 0.29 ms per million roots) and conditional expressions. Zeros are written as any numbers are:
# the processor's instruction for long runs of them begins slowly (batch norm of 256x64, forward: 6.2 -> 5.8 us). Loops
# that copy stay loops: what a call has copied is not kept in registers. So do loops of 8 and more until they are
# vectorised: unrolled, gcc makes scalars of them where relu is a branch (x86-64-v3, channels last: 4.5 ms, not 2.3).
# Nor are loops around them unrolled into them: that makes scalars (NCHW 32x256x14x14, forward: 0.58 ms, not 0.25).
REQUIRED_FLAGS = ["-std=c11", "-O3", "-ffp-contract=off"]
FLAGS = ["-g0", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fno-tree-loop-distribute-patterns", "--param=max-completely-peel-times=7", "-fno-loop-unroll-and-jam"]
FLAGS += ["-mmemset-strategy=unrolled_loop:512:noalign,libcall:-1:noalign"]
X86_LEVELS = ["x86-64-v2", "x86-64-v3", "x86-64-v4"]

# Sanitizers, for .ci/sanitize: address,undefined. Their runtime must be preloaded. One instruction set is built.
SANITIZE = os.environ.get("FASTOPT_SANITIZE")
SANITIZE_FLAGS = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-O1", "-g", "-fno-omit-frame-pointer"]


def write(path: Path, text: str) -> None:
    """Write a file unless that is what it holds: what depends on it is not compiled anew."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def headers() -> list[str]:
    """All C headers of the package but those that are written: which module reads which, is not asked."""
    found = [path for folder in ("codegen", "engine") for path in (ROOT / "fastopt" / folder).rglob("*.h")]
    return sorted(os.path.relpath(path, ROOT) for path in [*found, ROOT / INCLUDE / "fastopt.h"])


def kernel_extensions() -> list[Extension]:
    """For rules, norms and feature scaling, one module per type and instruction set, all from the same text."""
    GENERATED.mkdir(parents=True, exist_ok=True)
    levels = X86_LEVELS if platform.machine().lower() in ("x86_64", "amd64") else []
    extensions = []
    writers = {
        "update": cython_module,
        "norm": panels_module,
        "scaling": columns_module,
        "random": random_module,
    }
    for family, write_module in writers.items():
        source = (ROOT / "fastopt" / "rules" / f"{family}.py").read_text()
        for dtype in [each.name for each in STORAGES if each.in_norm_kernels] if family == "norm" else COMPUTE_TYPES:
            for isa in ["plain", *levels]:
                name = f"{family}_{dtype}_{isa.replace('-', '_')}"
                path = GENERATED / f"{name}.pyx"
                write(path, write_module(source, dtype))
                extensions.append(
                    Extension(
                        f"fastopt.kernels.{name}",
                        [os.path.relpath(path, ROOT)],
                        include_dirs=["fastopt/codegen/cython", ENGINE],
                        depends=[*headers(), f"{ENGINE}/core/codecs.c", f"{ENGINE}/core/draw.c"],
                        extra_compile_args=[] if isa == "plain" else [f"-march={isa}"],
                    )
                )
    return extensions


def interface_extension() -> Extension:
    """The rules for other languages: what their compilers read goes into the package, as compiled modules do."""
    source = (ROOT / "fastopt" / "rules" / "update.py").read_text()
    write(ROOT / INCLUDE / "fastopt_rules.h", c_header(source))
    write(ROOT / "fastopt" / "kernels" / "typed.pxd", cython_declarations(source))
    path = GENERATED / "typed.pyx"
    write(path, cython_functions(source))
    return Extension("fastopt.kernels.typed", [os.path.relpath(path, ROOT)], include_dirs=[ENGINE, INCLUDE])


def engine_extensions() -> list[Extension]:
    """What runs the kernels: each module with its C files."""
    modules = {
        "core/cpu": [],
        "core/hyperparameters": [],
        "core/dlpack": [],
        "core/exchange": [],
        "core/pins": [],
        "core/intake": [],
        "threads/threads": ["threads/limits", "threads/pool", "threads/parallel_for"],
        "update/update": [],
        "update/run": ["update/job", "core/scratch_pool"],
        "update/plan": ["update/job", "core/scratch_pool", "update/sum_squares"],
        "rows/gather": ["rows/rows"],
        "capi/c_api": ["update/job"],
        "random/random": ["update/job"],
        "norm/norm": [
            "core/scratch_pool",
            *sorted(f"norm/{path.stem}" for path in (ROOT / ENGINE / "norm").glob("*.c")),
        ],
        "scaling/scaling": ["scaling/run", "core/scratch_pool"],
    }
    return [
        Extension(
            f"fastopt.engine.{module.replace('/', '.')}",
            [f"{ENGINE}/{module}.pyx", *(f"{ENGINE}/{name}.c" for name in sources)],
            include_dirs=[ENGINE, INCLUDE, numpy.get_include()],
            depends=headers(),
        )
        for module, sources in modules.items()
    ]


class Build(build_ext):
    """Leaves out what the compiler does not know."""

    def build_extensions(self) -> None:
        if not self.compiles(REQUIRED_FLAGS):
            raise CompileError(f"no working C compiler that knows {' '.join(REQUIRED_FLAGS)}: {self.compiler.compiler}")
        known = REQUIRED_FLAGS + [flag for flag in FLAGS if self.compiles([flag])]
        self.extensions = [e for e in self.extensions if self.compiles(REQUIRED_FLAGS + e.extra_compile_args)]
        if any(e.extra_compile_args for e in self.extensions):  # instruction sets can be chosen: plain is not needed
            self.extensions = [e for e in self.extensions if not e.name.endswith("_plain")]
        if SANITIZE:
            others = [f"-march={level}" for level in X86_LEVELS[1:]]
            self.extensions = [e for e in self.extensions if not set(others).intersection(e.extra_compile_args)]
            known += SANITIZE_FLAGS
        for extension in self.extensions:
            extension.extra_compile_args += known
            extension.extra_link_args += SANITIZE_FLAGS[:1] if SANITIZE else []
            extension.define_macros.append(("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"))
            if extension.name == "fastopt.engine.threads.threads" and self.compiles(["-pthread"]):
                extension.extra_compile_args += ["-pthread"]
                extension.extra_link_args += ["-pthread"]
        self.parallel = self.parallel or os.cpu_count()
        super().build_extensions()

    def build_extension(self, extension: Extension) -> None:
        """Build it in a folder of its own: modules with C files in common are built at once."""
        apart = copy(self)
        apart.build_temp = os.path.join(self.build_temp, extension.name)
        super(Build, apart).build_extension(extension)

    def compiles(self, flags: list[str]) -> bool:
        """True if the compiler takes these flags and makes a program."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.c"
            source.write_text("int main(void) { return 0; }")
            try:
                objects = self.compiler.compile([str(source)], folder, extra_postargs=[*flags, "-Werror"])
                self.compiler.link_executable(objects, "probe", folder, extra_postargs=flags)
            except Exception:  # distutils has a dozen
                return False
        return True


setup(
    ext_modules=cythonize(
        [*engine_extensions(), *kernel_extensions(), interface_extension()], build_dir="build/cython", language_level=3
    ),
    cmdclass={"build_ext": Build},
)
