"""The result of the build: every kernel of every family, once for each instruction set."""

import ast
from importlib.machinery import EXTENSION_SUFFIXES
from inspect import getsource
from pathlib import Path

import pytest

import fastopt.kernels
from fastopt.backends.cython import built_isas
from fastopt.codegen.norm import TILE_KERNELS
from fastopt.codegen.parse import parse_functions, rules_of
from fastopt.codegen.random import random_rules_of
from fastopt.rules import random as random_rules
from fastopt.rules import update as update_rules
from fastopt.specs.kernels import KERNEL_TYPES
from fastopt.specs.scaling import SCALING_KERNELS
from tests.support import run_python

#: Prints all addresses: by family and type, and then by the kernel's name.
ADDRESSES = """
from fastopt.backends.cython import _MODULES
print({key: module.addresses for key, module in _MODULES.items()})
"""


def expected(family, dtype):
    """How many variants each of a family's kernels has."""
    if family == "update":
        return {rule.name: len(rule.variants) for rule in rules_of(parse_functions(getsource(update_rules)))}
    if family == "norm":
        return {kernel.name: len(kernel.variants) for kernel in TILE_KERNELS}
    if family == "scaling":
        return {kernel.name: 1 for kernel in SCALING_KERNELS}
    return dict.fromkeys(random_rules_of(getsource(random_rules), dtype), 1)


@pytest.mark.parametrize("isa", built_isas())
def test_every_kernel_is_there_once(isa):
    modules = ast.literal_eval(run_python(ADDRESSES, FASTOPT_ISA=isa))
    assert set(modules) == {(family, dtype) for family, dtypes in KERNEL_TYPES.items() for dtype in dtypes}
    everywhere = []
    for (family, dtype), kernels in modules.items():
        variants = {name: each if isinstance(each, tuple) else (each,) for name, each in kernels.items()}
        assert {name: len(each) for name, each in variants.items()} == expected(family, dtype), (family, dtype)
        if (family, dtype) == ("norm", "float64"):  # everything is evaluated in float64
            wide = [name for name in variants if name.startswith("wide_")]
            assert wide
            for name in wide:
                assert variants.pop(name) == variants[name.removeprefix("wide_")]
        everywhere += [address for each in variants.values() for address in each]
    assert all(everywhere)
    assert len(set(everywhere)) == len(everywhere)


def test_there_is_one_library_for_each_instruction_set():
    folder = Path(fastopt.kernels.__path__[0])
    libraries = {path.name.partition(".")[0] for suffix in EXTENSION_SUFFIXES for path in folder.glob(f"*{suffix}")}
    assert libraries - {"typed"} <= {"plain", "x86_64_v2", "x86_64_v3", "x86_64_v4"}
    assert {isa.replace("-", "_") for isa in built_isas()} <= libraries
