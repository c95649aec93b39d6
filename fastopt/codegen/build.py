"""Compiles C files into libraries, each file once for each instruction set, in parallel.

Environment variables: ``FASTOPT_BUILD=native`` builds kernels only for this machine's instruction set, in half of the
time. ``FASTOPT_SANITIZE=address,undefined`` is for .ci/sanitize: kernels of one instruction set; the sanitizers'
runtime must be preloaded.

A full build takes about 112 s on one core of an EPYC with AVX-512 (gcc 12, Cython 3.3): Cython 17 s, the kernels of
norms 60 s (20 s for each instruction set), other kernels 12 s, the engine 23 s. Three measures save 53 s of 165 s:
Cython translates kernels once, not once for each instruction set (36 s); the codecs are compiled for one family of
kernels, not for all (10 s); and the C code that Cython generates for the engine is compiled with `GLUE_FLAGS` (7 s).
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError
from setuptools.modified import newer_group

#: The number of processors that this process may use.
JOBS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

# Flags for identical bits everywhere: no contraction of a*b + c, no reassociation, never -ffast-math. The first two
# -fno options let gcc vectorise sqrt (1.2 -> 0.29 ms per million roots) and conditional expressions. Zeros are stored
# in loops: the processor's instruction for long fills starts slowly (batch norm of 256x64, forward: 6.2 -> 5.8 us).
# Copy loops are not replaced by calls, so that copies can stay in registers. Loops of 8 and more iterations are not
# unrolled before vectorisation: gcc would make scalars of them if relu is a branch (x86-64-v3, channels last: 4.5 ms,
# not 2.3). Nor are outer loops unrolled into them (NCHW 32x256x14x14, forward: 0.58 ms, not 0.25).
REQUIRED_FLAGS = ["-std=c11", "-O3", "-ffp-contract=off"]
FLAGS = ["-g0", "-pthread", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-fno-tree-loop-distribute-patterns", "--param=max-completely-peel-times=7", "-fno-loop-unroll-and-jam"]
FLAGS += ["-mmemset-strategy=unrolled_loop:512:noalign,libcall:-1:noalign"]

# The C code that Cython generates for the engine has no loops over elements: -O3 makes its compilation a third slower
# and calls no faster (adam of 4 elements 0.98 us, batch norm of 4x3 1.49 us).
GLUE_FLAGS = ["-O2"]

SANITIZE = os.environ.get("FASTOPT_SANITIZE")
SANITIZE_FLAGS = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-O1", "-g", "-fno-omit-frame-pointer"]

MACHINES = os.environ.get("FASTOPT_BUILD", "all")
if MACHINES not in ("all", "native"):
    raise ValueError(f"FASTOPT_BUILD is {MACHINES!r}; expected 'native' or 'all' (the default)")


class KernelLibrary(Extension):
    """The kernels for one instruction set, which is omitted if the compiler does not support it."""


class Build(build_ext):
    """A build that omits what the compiler does not support, and recompiles only what has changed."""

    def run(self) -> None:
        """Build, and remove libraries of earlier builds, which would otherwise be used or packaged."""
        super().run()
        folders = {Path(self.build_lib)} | ({Path()} if self.inplace else set())
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        built = {Path(folder, self.get_ext_filename(e.name)) for folder in folders for e in self.extensions}
        for folder in folders:
            for library in (folder / "fastopt").rglob(f"*{suffix}"):
                if library not in built:
                    library.unlink()

    def build_extensions(self) -> None:
        """Compile all objects, then link them."""
        if not self.compiles(REQUIRED_FLAGS):
            raise CompileError(
                f"no working C compiler that accepts {' '.join(REQUIRED_FLAGS)}: {self.compiler.compiler}"
            )
        flags = REQUIRED_FLAGS + [flag for flag in FLAGS if self.compiles([flag])] + SANITIZE_FLAGS * bool(SANITIZE)
        needed = self.needed([e for e in self.extensions if isinstance(e, KernelLibrary)])
        self.extensions = [e for e in self.extensions if e in needed or not isinstance(e, KernelLibrary)]
        self.parallel = self.parallel or JOBS
        self.compile_all(flags)
        super().build_extensions()

    def needed(self, kernels: list[Extension]) -> list[Extension]:
        """Return the kernel libraries to build: those without an instruction set, then by level."""
        known = [e for e in kernels if self.compiles(REQUIRED_FLAGS + e.extra_compile_args)]
        levels = known[1:] or known  # with instruction sets, the plain kernels are not needed
        if SANITIZE:
            return levels[:1]
        return levels[: max(self.x86_level() - 1, 1)][-1:] if MACHINES == "native" else levels

    def compile_all(self, flags: list[str]) -> None:
        """Compile the objects of all extensions; a C file that several extensions use is compiled once."""
        objects = {}
        for extension in self.extensions:
            folder = os.path.join(self.build_temp, *extension.extra_compile_args)
            paths = self.compiler.object_filenames(extension.sources, output_dir=folder)
            for path, source in zip(paths, extension.sources, strict=True):
                objects[path] = (source, folder, extension, flags)
            extension.sources, extension.extra_objects, extension.depends = [], paths, paths
            extension.extra_link_args += SANITIZE_FLAGS[:1] * bool(SANITIZE)
        # Start with the longest, so that all processors finish at about the same time.
        ordered = sorted(objects.items(), key=lambda each: os.path.getsize(each[1][0]), reverse=True)
        pool = ThreadPoolExecutor(self.parallel)
        try:
            for compiled in [pool.submit(self.compile, path, *given) for path, given in ordered]:
                compiled.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def compile(self, path: str, source: str, folder: str, extension: Extension, flags: list[str]) -> None:
        """Compile an object unless it is newer than its sources and headers, which the compiler lists."""
        listed = Path(path).with_suffix(".d")
        if listed.exists() and not self.force:
            read = listed.read_text().replace("\\\n", " ").split()[1:]
            if not newer_group([*read, __file__], path, missing="newer"):
                return
        is_glue = source.startswith("build") and not isinstance(extension, KernelLibrary)
        self.compiler.compile(
            [source],
            folder,
            macros=extension.define_macros,
            include_dirs=extension.include_dirs,
            extra_postargs=[*extension.extra_compile_args, *flags, *GLUE_FLAGS * (is_glue and not SANITIZE), "-MMD"],
        )

    def compiles(self, flags: list[str]) -> bool:
        """Return True if the compiler accepts these flags and can link a program."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.program(folder, "int main(void) { return 0; }", flags)
            except Exception:  # distutils raises a dozen types
                return False
        return True

    def x86_level(self) -> int:
        """Return the x86-64 level of this machine."""
        with tempfile.TemporaryDirectory() as folder:
            text = '#include "core/cpu.h"\nint main(void) { return x86_level(); }'
            return subprocess.run([self.program(folder, text, ["-Ifastopt/engine"])]).returncode

    def program(self, folder: str, text: str, flags: list[str]) -> str:
        """Compile and link a program."""
        source = Path(folder) / "probe.c"
        source.write_text(text)
        objects = self.compiler.compile([str(source)], folder, extra_postargs=[*flags, "-Werror"])
        self.compiler.link_executable(objects, "probe", folder, extra_postargs=flags)
        return str(Path(folder) / "probe")
