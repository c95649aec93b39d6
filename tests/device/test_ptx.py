"""The PTX and machine code of the updates' CUDA kernels, compiled without a device."""

from __future__ import annotations

import inspect
import re

import pytest
from numba import types

import fastopt
import fastopt.numba
from fastopt.codegen.cuda.update import LINEAR, LIST, WORDS, Kernel, Scalars, Words, unroll
from fastopt.codegen.parse import SHARED_SCALARS, parse_functions, rules_of
from fastopt.rules import update as rules
from tests.device.ptx import check, contractible, cuda, generations, ptx_of
from tests.every_function import of_every_function
from tests.support import users_kernel

RULES = {rule.name: rule for rule in rules_of(parse_functions(inspect.getsource(rules)))}
#: One tensor, a list, a tensor of two axes; and with the bfloat16 param and grad of mixed precision.
SHAPES = {"linear": LINEAR, "list": LIST, "strided": 2}
shapes = pytest.mark.parametrize("shape", SHAPES)
every_rule = pytest.mark.parametrize("rule", RULES)


def kernel_of(rule, shape="linear", dtype="float32", storages=None):
    function = RULES[rule]
    return Kernel(
        getattr(rules, rule),
        len(function.variants) - 1,
        storages or (dtype,) * len(function.arrays),
        dtype,
        SHAPES[shape],
    )


@generations
@shapes
@every_rule
def test_every_kernel(rule, shape, generation):
    assert ".f64" not in check(kernel_of(rule, shape), generation)


@generations
def test_mixed_precision(generation):
    text = check(kernel_of("adam", storages=("bfloat16", "float16", "float32", "float32")), generation)
    assert ".f64" not in text


@shapes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_function_that_a_users_rule_may_call(shape, dtype):
    rule = of_every_function._spec.only
    kernel = Kernel(rule.rule, 0, (dtype,) * len(rule.arrays), dtype, SHAPES[shape])
    assert (".f64" in check(kernel, (9, 0), most_registers=128)) == (dtype == "float64")


@pytest.mark.parametrize("shape", SHAPES)
def test_float64(shape):
    assert ".f64" in check(kernel_of("adam", shape, "float64"), (9, 0))


#: Of rules that choose by a scalar, there are two versions of the loop: arrays that both read, and that both write. The
#: second version of asgd starts the average anew, and does not read it.
CHOOSING = {"asgd": (3 + 2, 2 + 2), "average": (2 + 2, 1 + 1)}


@pytest.mark.parametrize("shape", ["linear", "list"])
@every_rule
def test_each_element_is_loaded_and_stored_once(rule, shape):
    """As counted on paper: every array read once, and all but grad written once, of each of a thread's elements."""
    function = RULES[rule]
    text = ptx_of(kernel_of(rule, shape), (9, 0))
    elements = unroll(len(function.arrays))
    loads = len(re.findall(r"\bld\.global\S*\.(?:f32|b32|u32)", text))
    read, written = CHOOSING.get(rule, (len(function.arrays), len(function.written)))
    assert loads == elements * read
    assert len(re.findall(r"\bst\.global", text)) == elements * written


@pytest.mark.parametrize("shape", ["linear", "list"])
def test_loads_come_before_arithmetic_and_stores(shape):
    """In machine code's order of issue as in PTX's: else a thread waits for one element after the other."""
    lines = ptx_of(kernel_of("adam", shape), (9, 0)).splitlines()
    at = {
        what: [i for i, line in enumerate(lines) if re.search(what, line)] for what in (r"ld\.global\S*32", r"sqrt\.")
    }
    assert max(at[r"ld\.global\S*32"]) < min(at[r"sqrt\."])


@pytest.mark.parametrize("shape", ["linear", "list"])
def test_indices_have_64_bits(shape):
    """A thread's first index is a product of 64 bits, and so is every distance in memory."""
    text = ptx_of(kernel_of("sgd", shape), (9, 0))
    assert re.search(r"mul\.wide\.u32|mul\.lo\.s64|mad\.lo\.s64|mad\.wide\.u32", text)
    assert not re.search(r"\b(?:mul|mad)\.lo\.[su]32", text), "an index may be computed in 32 bits"
    assert not re.search(r"\bshl\.b32", text)


def test_a_contraction_would_be_found():
    """The linker's own choice, without the options."""
    kernel = kernel_of("sgd")
    options, cuda.LINK_OPTIONS = cuda.LINK_OPTIONS, ("-lto",)
    try:
        assert contractible(cuda.ptx(kernel, (9, 0)))
    finally:
        cuda.LINK_OPTIONS = options


def test_machine_code_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("FASTOPT_CACHE_DIR", str(tmp_path / "cache"))
    kernel, linked = kernel_of("sgd"), []
    link = cuda.link
    monkeypatch.setattr(cuda, "link", lambda *arguments: linked.append(arguments) or link(*arguments))
    binary, name = cuda.machine_code(kernel, (9, 0))
    assert binary.startswith(b"\x7fELF")
    assert name.encode() in binary
    assert cuda.machine_code(kernel, (9, 0)) == (binary, name)
    assert len(linked) == 1
    for other, generation in ((kernel, (8, 0)), (kernel._replace(variant=0), (9, 0)), (kernel_of("momentum"), (9, 0))):
        assert cuda.machine_code(other, generation)[0] != binary
    assert len(linked) == 4
    (kept,) = (path for path in (tmp_path / "cache").iterdir() if binary in path.read_bytes())
    kept.write_bytes(kept.read_bytes()[:-1])
    assert cuda.machine_code(kernel, (9, 0))[1] == name
    assert len(linked) == 5


def test_machine_code_needs_no_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FASTOPT_CACHE_DIR", str(tmp_path / "file"))
    assert "kernel" in cuda.machine_code(kernel_of("sgd"), (9, 0))[1]


@generations
def test_scalars_from_memory(generation):
    """A kernel that reads its scalars from the device, and the one that computes them there, in float64."""
    text = check(kernel_of("adam")._replace(from_memory=True), generation)
    assert ".f64" not in text
    texts = (None, None, None, "(lr / (c0 - (c1 ** step)))", *[None] * 4, "(c2 / sqrt((c3 - (c4 ** step))))", None)
    kernel = Scalars(texts, (("lr", "float32"), ("step", "int64")), 5, "float32")
    text = ptx_of(kernel, generation)
    assert "div.rn.f64" in text
    assert ".local" not in text
    assert len(re.findall(r"\bst\.global", text)) == len(texts)


@generations
def test_words_become_memory(generation):
    """Each is stored, by itself or beside others, and nothing is read but arguments."""
    text = check(Words(), generation)
    assert sum(int(width or 1) for width in re.findall(r"\bst\.global(?:\.v(\d))?\.[bu]64", text)) == WORDS
    assert not re.search(r"\bld\.(?!param)", text)


@fastopt.rule
def users(param, grad, m, /, lr, beta=0.9, weight_decay=0.01):
    """With literals, which would be of 64 bits."""
    m = beta * m + (1 - beta) * grad
    return param - lr * ((2 * m if grad > 0 else 0.5) + weight_decay * param**2), m


@shapes
def test_a_rule_of_a_users(shape):
    kernel = Kernel(users._spec.only.rule, 0, ("float32",) * 3, "float32", SHAPES[shape])
    assert ".f64" not in check(kernel, (9, 0))


@pytest.mark.parametrize("generation", [(7, 5), (10, 0)])
@pytest.mark.parametrize("rule", ["adam", "rprop", "rmsprop_centered_momentum"])
def test_device_functions_in_a_users_kernel(rule, generation):
    """Nothing is contracted there either, though Numba's launches contract; and all is float32."""
    from numba import cuda as numba_cuda

    function = RULES[rule]
    kernel = users_kernel(getattr(fastopt.numba.cuda, rule), function.arrays)
    scalars = types.UniTuple(types.float32, len({*SHARED_SCALARS, *function.own_scalars}))
    signature = types.void(*[types.float32[::1]] * len(function.arrays), scalars)
    text, _ = numba_cuda.compile(kernel.py_func, signature, device=False, abi="numba", cc=generation, output="ptx")
    text = re.sub(r"//.*", "", text)
    assert "mul.rn.f32" in text
    assert contractible(text) == []
    assert ".f64" not in text
    assert not re.search(r"(?:div|sqrt)\.(?!rn)\S*f32", text)
