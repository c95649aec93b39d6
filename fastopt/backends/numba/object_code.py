"""Machine code that does without Numba: an object file, which llvmlite makes of a kernel's LLVM text, and loads.

So the first call of a process is not Numba's import, of 0.3 s, and the 0.5 s that Numba takes to read its own cache.
"""

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding as llvm

#: What a kernel is called in its object file.
ENTRY = "fastopt_kernel"

#: What was loaded, for good: the engine has the addresses, and two threads may load the same code.
_loaded: list[Any] = []

#: What it may call, as every process can: an instruction mostly, but on LLVM's text it still has these names.
OF_THE_SYSTEM = {"sqrt", "sqrtf"}


class NotSelfContainedError(Exception):
    """Code needs functions that are not in it: Numba's, for errors that a kernel does not have."""


def processor() -> tuple[str, str]:
    """Return the name and the features of the processor that code is for: this one, or what Numba was told."""
    name = os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()
    return name, os.environ.get("NUMBA_CPU_FEATURES", llvm.get_host_cpu_features().flatten())


def emit(text: str, name: str) -> bytes:
    """Return an object file of LLVM's text, as Numba has optimised it, with nothing but what one function needs.

    Numba lets other code call all functions, so that it can't know what they return. Alone, a kernel's loop is seen to
    raise no error, and with the handling of errors goes all that would call Numba. Loops are not touched again.
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
    """Bring an object file into memory, and return the function's address."""
    linker = llvm.create_lljit_compiler(_machine())
    # The process has memcpy and the like, which LLVM may put in the place of loops.
    builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(ENTRY)
    library = builder.link(linker, ENTRY)
    _loaded.append((library, linker))
    address: int = library[ENTRY]
    return address


def _machine() -> Any:
    """What code is generated for, with addresses of any distance: memory is where the system gives it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = processor()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=name, features=features, opt=3, reloc="static", codemodel="jitdefault", jit=True
    )
