"""Kernels and the engine called by address, from C and C++, and by typed functions: the same bits."""

from __future__ import annotations

import copy
import ctypes
import os
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt.engine.update.run import run_many
from fastopt.kernels import typed
from fastopt.rules import update as rules
from fastopt.specs.updates import UPDATES
from fastopt.updates.adam import ADAMW
from tests.cases import BY_NAME, CASES, WD
from tests.support import ROOT, assert_same_bits, cpus, lost_by, run_python, write_files_of

# ---- Which kernel a function runs

RULES = {
    "momentum-nesterov": "nesterov",
    "momentum-step-nesterov": "nesterov",
    "rmsprop-centered": "rmsprop_centered",
    "rmsprop-momentum": "rmsprop_momentum",
    "rmsprop-centered-momentum": "rmsprop_centered_momentum",
    "adam-amsgrad": "amsgrad",
    "accumulate-anew": "accumulate_anew",
    "adamw": "adam",
    "adamw-amsgrad": "amsgrad",
}
FIXED = {"nesterov", "decoupled_weight_decay"}  # by the choice of the kernel


def kernel_and_scalars(case, step, dtype):
    family = case.name.partition("-")[0]
    name = RULES.get(case.name, family)
    if name == "radam" and step < 6:
        name = "radam_unrectified"
    given = case.hyperparameters(step)
    decoupled = UPDATES[family].decoupled is True or family == "asgd" or "decoupled" in case.name
    coupled = "weight_decay" in given and (not decoupled or family == "asgd")
    kernel = fastopt.kernel(name, dtype, weight_decay=coupled, decay=decoupled)
    return kernel, kernel.prepare(**{name: value for name, value in given.items() if name not in FIXED})


# ---- Ways to call it

get_name = ctypes.pythonapi.PyCapsule_GetName
get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def pointers(arrays):
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


def from_python(kernel, arrays, scalars):
    kernel(*arrays, scalars=scalars)


def by_address(kernel, arrays, scalars):
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)
    prototype(kernel.address)(pointers(arrays), arrays[0].size, scalars.ctypes.data)


def by_typed_function(kernel, arrays, scalars):
    """As a module in Cython finds it."""
    capsule = typed.__pyx_capi__[f"{kernel.name}_{kernel.dtype}"]
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays), ctypes.c_ssize_t, ctypes.c_void_p)
    function = prototype(get_pointer(capsule, get_name(capsule)))
    function(*(array.ctypes.data for array in arrays), arrays[0].size, scalars.ctypes.data)


WAYS = [from_python, by_address, by_typed_function]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_bits_as_the_function(case, dtype, way):
    for step in (1, 7):
        called, expected = case.make_arrays(1003, dtype), case.make_arrays(1003, dtype)
        kernel, scalars = kernel_and_scalars(case, step, dtype)
        assert kernel.arrays == tuple(called)
        way(kernel, list(called.values()), scalars)
        case.run(expected, step)
        assert_same_bits(called, expected)


@pytest.mark.parametrize("way", [from_python, by_typed_function])
def test_subnormal_numbers_are_flushed(way):
    kernel = fastopt.kernel("momentum", "float32")
    param, grad, velocity = np.ones(20, "f4"), np.zeros(20, "f4"), np.full(20, 2e-38, "f4")
    way(kernel, [param, grad, velocity], kernel.prepare(lr=0.1, momentum=0.5))
    assert np.all(velocity == 0)


def test_an_infinite_parameter_stays_what_it_is():
    kernel = fastopt.kernel("adam", "float32")
    for way in WAYS:
        arrays = [np.full(5, -np.inf, "f4"), np.ones(5, "f4"), np.zeros(5, "f4"), np.zeros(5, "f4")]
        way(kernel, arrays, kernel.prepare(step=1))
        assert np.all(arrays[0] == -np.inf)


# ---- What is said of kernels


def test_every_rule_has_a_kernel():
    names = {
        name
        for name, rule in vars(rules).items()
        if getattr(rule, "__code__", None) and rule.__module__ == rules.__name__
    }
    names -= {"gradient", "decayed_gradient", "descend", "decayed_descend"}
    addresses = {fastopt.kernel(name, dtype).address for name in names for dtype in ("float32", "float64")}
    assert len(addresses) == 2 * len(names)
    with pytest.raises(ValueError, match="expected one of ") as refused:
        fastopt.kernel("adamw", np.float32)
    assert set(re.findall(r"\w+", str(refused.value).partition("expected one of ")[2])) == names


@pytest.mark.parametrize(
    ("file", "struct"),
    [
        ("include/fastopt_rules.h", r"struct {{\n    {c_type} (.*?);\n}} fastopt_{name}_scalars_{dtype};"),
        ("kernels/typed.pxd", r"cdef struct {name}_scalars_{dtype}:\n((?:    {c_type} \w+\n)*)\n"),
    ],
)
def test_structs_are_the_scalars_in_order(file, struct):
    """What the build wrote is of the rules as they are."""
    text = (Path(fastopt.__file__).parent / file).read_text()
    for case in CASES:
        kernel, _ = kernel_and_scalars(case, 7, "float32")
        for dtype, c_type in {"float32": "float", "float64": "double"}.items():
            (fields,) = re.findall(struct.format(name=kernel.name, dtype=dtype, c_type=c_type), text)
            assert tuple(re.findall(r"\w+", fields.replace(f"{c_type} ", ""))) == kernel.scalars


def test_attributes():
    kernel = fastopt.kernel("adam", np.float64, decay=True)
    assert (kernel.name, kernel.dtype, kernel.weight_decay, kernel.decay) == ("adam", np.float64, False, True)
    assert kernel.scalars[:4] == ("grad_scale", "weight_decay", "decay", "step_size")
    assert repr(kernel).startswith("Kernel('adam', 'float64', weight_decay=False, decay=True, ")
    assert fastopt.kernel("average", "f4").prepare(decay=0.75).tolist() == [1, 0, 0, 0.75, 0.25]


ADAM = fastopt.kernel("adam", "float32")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fastopt.kernel("sgd", "float16"), TypeError, "dtype is 'float16'; expected one of float32, float64"),
        (lambda: fastopt.kernel("sgd", None), TypeError, "dtype is None; expected one of float32, float64"),
        (lambda: fastopt.kernel("sgd", "nonsense"), TypeError, "dtype is 'nonsense'; expected one of"),
        (lambda: fastopt.kernel("sgd", "f4", decay=True), ValueError, "decay is True; expected False: sgd has no"),
        (lambda: ADAM.prepare(step=0), ValueError, "step is 0"),
        (
            lambda: ADAM.prepare(),
            TypeError,
            "missing a required argument: 'step'; expected the hyperparameters of adam",
        ),
        (lambda: ADAM.prepare(step=1, momentum=0.5), TypeError, "'momentum'; expected the hyperparameters of adam"),
        (
            lambda: ADAM.prepare(step=1, **WD),
            ValueError,
            r"weight_decay is 0\.0\d*; expected 0, because this kernel is the variant",
        ),
        (
            lambda: fastopt.kernel("asgd", "f4").prepare(step=1),
            ValueError,
            r"the other is .*'asgd', 'float32', decay=True",
        ),
        (
            lambda: fastopt.kernel("radam", "f4").prepare(step=5),
            ValueError,
            "this one uses kernel 'radam_unrectified'",
        ),
        (
            lambda: fastopt.kernel("radam_unrectified", "f4").prepare(step=6),
            ValueError,
            "this one uses kernel 'radam'",
        ),
        (lambda: fastopt.kernel("rmsprop", "f4").prepare(momentum=0.5), ValueError, "momentum is 0.5"),
    ],
)
def test_what_there_is_no_kernel_for(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda a, s: (a[:3], s), ValueError, "3 arrays given; expected 4: param, grad, m, v"),
        (lambda a, s: ([*a[:3], a[3].astype("f8")], s), TypeError, "v has dtype float64; expected float32"),
        (
            lambda a, s: ([*a[:3], np.ones(40, "f4")[::2]], s),
            ValueError,
            r"v has strides \(8,\); expected a C-contiguous array",
        ),
        (lambda a, s: ([*a[:3], np.ones(21, "f4")], s), ValueError, r"v has shape \(21,\); expected \(20,\)"),
        (lambda a, s: ([*a[:3], a[0]], s), ValueError, "v overlaps param"),
        (lambda a, s: ([*a[:3], np.broadcast_to(np.float32(1), 20)], s), TypeError, "v is read-only"),
        (
            lambda a, s: (a, s[:-1]),
            ValueError,
            r"scalars is of float32 and shape \(9,\); expected float32, \(10,\): grad_",
        ),
        (lambda a, s: (a, s.astype("f8")), ValueError, r"scalars is of float64 and shape \(10,\); expected float32"),
        (
            lambda a, s: (a, np.concatenate([[s[0], 0.5], s[2:]], dtype="f4")),
            ValueError,
            "weight_decay is 0.5; expected 0",
        ),
        (
            lambda a, s: (a, np.where(np.arange(10) == 3, np.float32("nan"), s)),
            ValueError,
            "step_size is nan; expected a number",
        ),
    ],
)
def test_a_call_is_refused_before_anything_is_written(change, error, message):
    arrays = [np.ones(20, "f4") for _ in range(4)]
    given, scalars = change(arrays, ADAM.prepare(step=1))
    with pytest.raises(error, match=message):
        ADAM(*given, scalars=scalars)
    assert all(np.all(array == 1) for array in [*arrays, *given])


def test_a_call_lifts_an_eps_that_would_divide_zero_by_zero():
    scalars = ADAM.prepare(step=1)
    scalars[ADAM.scalars.index("eps")] = 0
    param, *others = np.ones(3, "f4"), *(np.zeros(3, "f4") for _ in range(3))
    ADAM(param, *others, scalars=scalars)
    assert np.all(param == 1)


# ---- C and C++

API = get_pointer(fastopt._c_api, b"fastopt._c_api")


@pytest.fixture(scope="module", params=["gcc -std=c11", "g++ -x c++ -std=c++11"])
def library(request, tmp_path_factory):
    """A library in each language, compiled without a warning."""
    path = tmp_path_factory.mktemp("c") / "calls.so"
    source = ROOT / "tests" / "downstream" / "c" / "calls.c"
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-O2", "-shared", "-fPIC"]
    command = [*request.param.split(), *flags, f"-I{fastopt.get_include()}", str(source), "-o", str(path)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(path)


STORAGES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}


def run_list(library, rule, scalars, tensors, threads):
    """Hand a list of tensors, each a list of arrays, to the engine through C."""
    flat = [array for arrays in tensors for array in arrays]
    storages = (ctypes.c_int * len(flat))(*(STORAGES[array.dtype.name] for array in flat))
    counts = (ctypes.c_ssize_t * len(tensors))(*(arrays[0].size for arrays in tensors))
    named = ctypes.c_void_p(API), rule.encode(), ctypes.c_void_p(scalars.ctypes.data)
    return library.run_list(*named, pointers(flat), storages, counts, ctypes.c_ssize_t(len(tensors)), threads)


@pytest.mark.parametrize("threads", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "dtypes",
    [
        ["float32"],
        ["float64"],
        ["float16"],
        [ml_dtypes.bfloat16, ml_dtypes.bfloat16, "float32", "float32"],
        ["float32", "float16", "float32", "float64"],
    ],
    ids=str,
)
def test_the_engine_from_c(library, dtypes, threads):
    case = BY_NAME["adamw"]
    sizes = [1, 0, 100_003, 1000, 40_000]
    called, expected = (
        [
            [
                array.astype(dtypes[i % len(dtypes)])
                for i, array in enumerate(case.make_arrays(size, seed=size).values())
            ]
            for size in sizes
        ]
        for _ in range(2)
    )
    scalars = fastopt.kernel("adam", "float64", decay=True).prepare(step=3, lr=0.1)
    with cpus(4):
        assert run_list(library, "adam", scalars, called, threads) == 0
    for arrays in expected:
        fastopt.adamw(*arrays, step=3, lr=0.1, num_threads=1)
    for got, wanted in zip(called, expected, strict=True):
        assert_same_bits(dict(zip("pgmv", got, strict=True)), dict(zip("pgmv", wanted, strict=True)))


def test_what_the_engine_allocates_for_c_is_freed(library):
    tensors = [[np.ones(20, "f2"), np.ones(20, "f2")] for _ in range(20)]
    scalars = fastopt.kernel("sgd", "float64").prepare(lr=0.1)
    assert lost_by(lambda: run_list(library, "sgd", scalars, tensors, 1)) == 0


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")])
def test_one_compute_type_for_a_list(library, dtypes):
    """float64 if any array of the list is, as in a call from Python."""
    case = BY_NAME["adamw"]
    called = [list(case.make_arrays(100, dtype).values()) for dtype in dtypes]
    expected = copy.deepcopy(called)
    scalars = fastopt.kernel("adam", "float64", decay=True).prepare(step=3)
    assert run_list(library, "adam", scalars, called, 1) == 0
    run_many(ADAMW.updates[()], [tuple(arrays) for arrays in expected], (3, 1e-3, 0.9, 0.999, 1e-8, 0.01, 1.0), None, 1)
    for got, wanted in zip(called, expected, strict=True):
        assert_same_bits(dict(enumerate(got)), dict(enumerate(wanted)))


def test_scalars_are_rounded_to_nearest_whatever_the_caller_does(library):
    """The number of the mode is of x86-64 and of ARM; elsewhere none is set, and the test is one of plain bits."""
    mode = {"x86_64": 0x800, "aarch64": 0x400000}.get(platform.machine(), 0)  # upward
    system = ctypes.CDLL(None)
    called, expected = ([np.zeros(20, "f4"), np.ones(20, "f4")] for _ in range(2))
    scalars = fastopt.kernel("sgd", "float64").prepare(lr=0.3)
    scalars[-1] = np.nextafter(np.float32(0.3), np.float32(0)).astype("f8") * (1 + 2.0**-30)
    fastopt.sgd(*expected, lr=float(scalars[-1]))
    assert system.fesetround(mode) == 0
    try:
        error = run_list(library, "sgd", scalars, [called], 1)
    finally:
        system.fesetround(0)
    assert error == 0
    assert_same_bits(dict(enumerate(called)), dict(enumerate(expected)))


@pytest.mark.parametrize(("dtype", "form"), [("float32", 1), ("float64", 2)])
def test_a_kernel_from_c(library, dtype, form):
    kernel = fastopt.kernel("adam", dtype, weight_decay=form == 1, decay=form == 2)
    scalars = kernel.prepare(step=2, **WD)
    called, expected = (BY_NAME["adam"].make_arrays(500, dtype) for _ in range(2))
    arrays, n, given = pointers(list(called.values())), ctypes.c_ssize_t(500), ctypes.c_void_p(scalars.ctypes.data)
    library.run_kernel(ctypes.c_void_p(API), b"adam", STORAGES[dtype], form, arrays, n, given)
    (fastopt.adam if form == 1 else fastopt.adamw)(**expected, step=2, **WD)
    assert_same_bits(called, expected)


def test_what_the_engine_refuses_from_c(library):
    """Each refusal has its number, and nothing was written before it."""
    line = library.refusals(ctypes.c_void_p(API))
    assert line == 0, f"line {line} of calls.c"


# ---- The module of docs/calling-from-c.md


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """Make the page's extension module by the page's commands; return the folder that it is in."""
    folder = tmp_path_factory.mktemp("training")
    commands = write_files_of("calling-from-c.md", folder)["sh"]
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    found = os.pathsep.join(filter(None, [str(Path(fastopt.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": found}
    subprocess.run(["bash", "-euc", commands], cwd=folder, env=environment, check=True)
    return folder


def test_the_pages_module(training):
    program = """
        import sys
        import numpy as np
        sys.path.append(sys.argv[1])
        import fastopt, training
        from tests.cases import BY_NAME
        from tests.support import assert_same_bits
        called, expected = (BY_NAME["adamw"].make_arrays(300_000) for _ in range(2))
        for step in (1, 2, 3):
            training.adamw(*called.values(), step, 0.1)
            fastopt.adamw(**expected, step=step, lr=0.1)
        assert_same_bits(called, expected)
        for arrays, message in (
            ([*called.values()][:3] + [called["v"][1:]], "arrays differ in size"),
            ([called["param"]] * 4, "two arrays of one tensor overlap in memory"),
        ):
            try:
                training.adamw(*arrays, 1, 0.1)
            except ValueError as error:
                assert str(error) == message, error
            else:
                raise AssertionError(message)
        assert_same_bits(called, expected)
    """
    run_python(textwrap.dedent(program), str(training))


@pytest.mark.parametrize(
    ("version", "more", "wrong"),
    [
        (1, 8, ""),
        (2, 0, "has version 2, {size} bytes; expected version 1, {size} bytes or more"),
        (1, -8, "expected version 1"),
    ],
)
def test_versions(training, version, more, wrong):
    """A struct of another version, or a shorter one, is refused; a longer one is welcome."""
    size = 2 * ctypes.sizeof(ctypes.c_size_t) + 3 * ctypes.sizeof(ctypes.c_void_p)
    program = f"""
        import ctypes, sys
        import fastopt
        sys.path.append(sys.argv[1])
        class Other(ctypes.Structure):
            _fields_ = [("version", ctypes.c_int), ("size", ctypes.c_size_t)]
        other, name = Other({version}, {size + more}), ctypes.c_char_p(b"fastopt._c_api")
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        fastopt._c_api = new(ctypes.addressof(other), name, None)
        try:
            import training
        except ImportError as error:
            print(error)
    """
    said = run_python(textwrap.dedent(program), str(training))
    assert bool(said) == bool(wrong)
    assert wrong.format(size=size) in said


def test_what_compiled_programs_rely_on():
    """Whoever changes a rule's arrays or scalars raises FASTOPT_ABI_VERSION, and writes the new version's table."""
    version = re.search(r"#define FASTOPT_ABI_VERSION (\d+)", Path(fastopt.get_include(), "fastopt.h").read_text())
    table = (ROOT / "tests" / "downstream" / f"abi_{version[1]}.txt").read_text().splitlines()[1:]
    assert len(table) == 24
    for row in table:
        arrays, _, scalars = row.partition(" / ")
        name, *arrays = arrays.split()
        kernel = fastopt.kernel(name, "float32")
        assert (list(kernel.arrays), list(kernel.scalars)) == (arrays, scalars.split())
