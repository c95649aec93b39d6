"""Machine code that runs without Numba: llvmlite compiles a kernel's LLVM text to an object file, and loads it.

The first call of a process then avoids Numba's import, which takes 0.3 s, and Numba's own cache, which takes 0.5 s.
"""

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding as llvm

#: The name of a kernel in its object file.
ENTRY = "fastopt_kernel"

#: Loaded code, which is never freed: the engine holds the addresses, and two threads may load the same code.
_loaded: list[Any] = []

#: External functions that every process has; usually an instruction replaces the call.
OF_THE_SYSTEM = {"sqrt", "sqrtf"}


class NotSelfContainedError(Exception):
    """The code needs functions that it does not contain: Numba's, for errors that kernels do not raise."""


def processor() -> tuple[str, str]:
    """Return the name and features of the target processor: this one, or that of Numba's configuration."""
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    return name, os.environ.get("NUMBA_CPU_FEATURES", llvm.get_host_cpu_features().flatten())


def emit(text: str, name: str) -> bytes:
    """Compile LLVM text that Numba has optimised to an object file, with only the dependencies of one function.

    Numba exports all functions, so that it can't assume what they return. For a single function, LLVM finds that the
    loop raises no error, and removes the error handling together with its calls of Numba. Loops are not changed again.
    """
    module = llvm.parse_assembly(text)
    module.get_function(name).name = ENTRY
    for each in (*module.functions, *module.global_variables):
        if not each.is_declaration and each.name != ENTRY:
            each.linkage = "internal"
    machine = _machine()
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = tuning.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    outside = [each.name for each in (*module.functions, *module.global_variables) if each.is_declaration]
    if missing := [each for each in outside if not each.startswith("llvm.") and each not in OF_THE_SYSTEM]:
        raise NotSelfContainedError(", ".join(missing))
    code: bytes = machine.emit_object(module)
    return code


def load(code: bytes) -> int:
    """Load an object file, and return the function's address."""
    linker = llvm.create_lljit_compiler(_machine())
    # LLVM may replace loops by calls of memcpy and similar functions, which the process provides.
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(ENTRY)
    library = builder.link(linker, ENTRY)
    _loaded.append((library, linker))
    address: int = library[ENTRY]
    return address


def _machine() -> Any:
    """Return the code generator's target, with unrestricted distances between addresses."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = processor()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc="static", codemodel="jitdefault", jit=True
    )
