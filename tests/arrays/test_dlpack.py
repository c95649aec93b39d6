"""DLPack tensors from handmade capsules, valid and invalid."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt import optim
from tests.peers import peer

FLOAT, BFLOAT = 2, 4


class Device(ctypes.Structure):
    """Where memory is."""

    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class DataType(ctypes.Structure):
    """What elements are."""

    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", Device),
        ("ndim", ctypes.c_int32),
        ("dtype", DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Unversioned(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", Deleter)]


class Versioned(ctypes.Structure):
    """DLManagedTensorVersioned."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype, new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
capsule_name = ctypes.pythonapi.PyCapsule_GetName
capsule_name.restype, capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]


class Exporter:
    """Exports an array as a tensor of which anything may be said otherwise; counts what is given back."""

    def __init__(
        self, array: np.ndarray, *, versioned: bool = True, major: int = 1, flags: int = 0, **said: Any
    ) -> None:
        self.array, self.versioned, self.deleted = array, versioned, 0
        self.deleter = Deleter(self.delete)
        shape, strides = said.pop("shape", array.shape), said.pop("strides", None)
        ndim = said.pop("ndim", len(shape or ()))
        self.extents = None if shape is None else (ctypes.c_int64 * max(len(shape), 1))(*shape)
        self.steps = None if strides is None else (ctypes.c_int64 * max(len(strides), 1))(*strides)
        code = BFLOAT if array.dtype == ml_dtypes.bfloat16 else FLOAT
        tensor = Tensor(
            data=said.pop("data", array.ctypes.data),
            device=Device(1, 0),
            ndim=ndim,
            dtype=DataType(code, said.pop("bits", 8 * array.itemsize), said.pop("lanes", 1)),
            shape=self.extents,
            strides=self.steps,
            byte_offset=said.pop("byte_offset", 0),
        )
        assert not said
        self.managed: Any = Unversioned(tensor, None, self.deleter)
        if versioned:
            self.managed = Versioned(major, 0, None, self.deleter, flags, tensor)
        self.name = b"dltensor_versioned" if versioned else b"dltensor"
        self.capsules: list[Any] = []

    def delete(self, address: int) -> None:
        """Take the memory back."""
        assert address == ctypes.addressof(self.managed)
        self.deleted += 1

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **options: Any) -> Any:
        self.capsules.append(new_capsule(ctypes.addressof(self.managed), self.name, None))
        return self.capsules[-1]

    def expect_given_back(self) -> None:
        """See that the one capsule was taken, and its memory given back once."""
        assert self.deleted == len(self.capsules) == 1
        assert capsule_name(self.capsules[0]) == b"used_" + self.name


both = pytest.mark.parametrize("versioned", [False, True])


def refuse(exporter: Exporter, error: type[Exception], message: str) -> None:
    """Every way in refuses it by its argument's name, writes nothing, and gives it back."""
    before = exporter.array.tobytes()
    other = np.ones(exporter.array.shape, "f4")
    with pytest.raises(error, match=message.format("param")):
        fastopt.sgd(exporter, other, lr=0.5)
    exporter.expect_given_back()
    for call, name in (
        (lambda: fastopt.sgd(other, exporter, lr=0.5), "grad"),
        (lambda: optim.SGD([other], lr=0.5).step([exporter]), r"grad of params\[0\]"),
        (lambda: fastopt.residual_add(other, exporter), "residual"),
        (lambda: fastopt.dropout_forward(exporter, p=0.5, seed=1), "x"),
    ):
        exporter.deleted, exporter.capsules = 0, []
        with pytest.raises(error, match=message.format(name)):
            call()
        exporter.expect_given_back()
    assert exporter.array.tobytes() == before
    np.testing.assert_array_equal(other, 1)


@both
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16])
def test_a_whole_tensor(versioned: bool, dtype: Any) -> None:
    param = Exporter(np.ones((3, 4), dtype), versioned=versioned)
    grad = Exporter(np.ones((3, 4), dtype), versioned=versioned)
    fastopt.sgd(param, grad, lr=0.5)
    np.testing.assert_array_equal(param.array.astype("f8"), 0.5)
    param.expect_given_back()
    grad.expect_given_back()


@pytest.mark.parametrize("major", [0, 2, 99])
def test_another_major_version_is_not_read(major: int) -> None:
    """Only the deleter is read: in other versions the layout after it is unknown."""
    exporter = Exporter(np.ones(3, "f4"), major=major)
    ctypes.memset(
        ctypes.byref(exporter.managed, Versioned.flags.offset), 0xFF, ctypes.sizeof(Versioned) - Versioned.flags.offset
    )
    refuse(exporter, BufferError, rf"^{{}} is exported by version {major}\.0 of DLPack; expected version 1")


def test_a_read_only_tensor_is_read_and_not_written() -> None:
    grad, param = Exporter(np.ones(3, "f4"), flags=1), np.ones(3, "f4")
    fastopt.sgd(param, grad, lr=0.5)
    np.testing.assert_array_equal(param, 0.5)
    target = Exporter(np.ones(3, "f4"), flags=1)
    with pytest.raises(TypeError, match=r"^param is read-only"):
        fastopt.sgd(target, param, lr=0.5)
    with pytest.raises(TypeError, match=r"^out is read-only"):
        fastopt.residual_add(param, param, out=Exporter(np.ones(3, "f4"), flags=1))
    np.testing.assert_array_equal(target.array, 1)
    target.expect_given_back()
    fastopt.sgd(Exporter(np.ones(3, "f4"), flags=2), param, lr=0.5)  # a copy, that says: it may be written


@both
def test_elements_begin_behind_the_byte_offset(versioned: bool) -> None:
    memory = np.arange(10, dtype="f4")
    param = Exporter(memory, versioned=versioned, shape=(2, 2), strides=(3, 1), byte_offset=8)
    fastopt.sgd(param, np.full((2, 2), 100, "f4"), lr=1.0)
    np.testing.assert_array_equal(memory, [0, 1, -98, -97, 4, -95, -94, 7, 8, 9])


BROKEN = {
    "negative extent": ({"shape": (2, -1)}, r"^{} has shape \(2, -1\); expected extents of 0 or more"),
    "too many elements": ({"shape": (2**32, 2**31)}, r"^{} has shape .*; expected an array of less than 2\*\*63 bytes"),
    "too many, and none": ({"shape": (0, 2**62)}, r"^{} has shape .*; expected an array of less than 2\*\*63 bytes"),
    "an overflow to 0": ({"shape": (2**32, 2**32)}, r"^{} has shape .*; expected an array of less than 2\*\*63 bytes"),
    "too long a stride": (
        {"shape": (3,), "strides": (2**62,)},
        r"^{} has shape \(3,\), strides .*less than 2\*\*63 bytes",
    ),
    "the least stride": (
        {"shape": (3,), "strides": (-(2**63),)},
        r"^{} has shape \(3,\), strides .*less than 2\*\*63 bytes",
    ),
    "strides too far": (
        {"shape": (2**30, 2**30), "strides": (2**31, 2**31)},
        r"^{} has shape .*, strides .*; expected an array of less than 2\*\*63 bytes",
    ),
    "65 dimensions": ({"shape": (1,) * 65}, "^{} has 65 dimensions; expected 0 to 64"),
    "negative dimensions": ({"ndim": -1}, "^{} has -1 dimensions; expected 0 to 64"),
    "no shape": ({"shape": None, "ndim": 1}, "^{} has 1 dimensions but no shape"),
    "no data": ({"data": None}, "^{} has no memory of its own"),
}


@both
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_tensor_is_refused_by_name(kind: str, versioned: bool) -> None:
    said, message = BROKEN[kind]
    refuse(Exporter(np.ones(3, "f4"), versioned=versioned, **said), ValueError, message)


@both
@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ({"lanes": 4}, "float32 in vectors of 4"),
        ({"bits": 12}, "float12"),
        ({"bits": 0}, "float0"),
        ({"lanes": 0}, "float32 in"),
    ],
)
def test_another_dtype_is_refused_by_name(said: Any, dtype: str, versioned: bool) -> None:
    refuse(
        Exporter(np.ones(3, "f4"), versioned=versioned, **said),
        TypeError,
        rf"^{{}} has dtype {dtype}.*; expected float16",
    )


def test_no_data_and_no_elements_is_legal() -> None:
    fastopt.sgd(Exporter(np.ones((0, 3), "f4"), data=None), np.ones((0, 3), "f4"), lr=0.5)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"shape": (2, -1)}, ValueError, r"^x has shape \(2, -1\); expected extents of 0 or more"),
        ({"shape": (2**32, 2**32)}, ValueError, r"^x has shape .*; expected an array of less than 2\*\*63 bytes"),
        ({"shape": (0, 2**62)}, ValueError, r"^x has shape .*; expected an array of less than 2\*\*63 bytes"),
        (
            {"shape": (3,), "strides": (2**62,)},
            ValueError,
            r"^x has shape .*; expected an array of less than 2\*\*63 bytes",
        ),
        (
            {"shape": (1,), "strides": (2**64,)},
            ValueError,
            r"^x has shape .*; expected an array of less than 2\*\*63 bytes",
        ),
        ({"shape": (3,), "strides": (4, 4)}, ValueError, r"^x has 1 extents and strides \(4, 4\)"),
        ({"shape": (1,) * 65}, ValueError, "^x has 65 extents"),
        ({"shape": (2.0,)}, TypeError, r"^x has shape \(2.0,\); expected whole numbers"),
        ({"shape": 3}, TypeError, r"^x has shape 3; expected whole numbers"),
        ({"strides": ("4",)}, TypeError, r"^x has strides \('4',\); expected whole numbers"),
        ({"data": (-8, False)}, TypeError, "^x is at address -8; expected a whole number of 64 bits"),
        ({"data": ("8", False)}, TypeError, "^x is at address '8'; expected a whole number of 64 bits"),
    ],
)
def test_a_broken_cuda_array_interface_is_refused_by_name(said: Any, error: type[Exception], message: str) -> None:
    peer("numba_cuda")
    from fastopt.device import protocol as interface

    given = {"shape": (3,), "typestr": "<f4", "data": (64, False), "version": 3, **said}
    with pytest.raises(error, match=message):
        interface.import_array(SimpleNamespace(__cuda_array_interface__=given), "x")
