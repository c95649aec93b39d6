"""The kinds of host arrays, one for each row of docs/array-libraries.md, by the row's name; most hold 1, 2, 3, 4."""

from __future__ import annotations

import array
import ctypes
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ml_dtypes
import numpy as np

from tests.peers import peer

VALUES = np.array([1, 2, 3, 4], "f4")


def plain(dtype: Any = "f4") -> np.ndarray:
    return VALUES.astype(dtype)


def filled(view: np.ndarray) -> np.ndarray:
    view[...] = VALUES
    return view


def read_only() -> np.ndarray:
    values = plain()
    values.flags.writeable = False
    return values


def memory_map(mode: str) -> np.memmap:
    with TemporaryDirectory() as folder:  # what is mapped stays when its name is gone
        path = Path(folder, "values")
        plain().tofile(path)
        return np.memmap(path, "f4", mode)


def matrix() -> np.matrix:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.matrix(plain())


class Convertible:
    """What other libraries have whose arrays are converted, and may be copied: h5py, xarray, dask."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return plain()


def tensor(**options: Any) -> Any:
    torch = peer("torch")
    options = {name: getattr(torch, value) if name == "dtype" else value for name, value in options.items()}
    return torch.tensor(VALUES, **options)


def conjugated() -> Any:
    return tensor(dtype="complex64").conj()


def arrow(*values: Any) -> Any:
    pyarrow = peer("pyarrow")
    return pyarrow.array(values or VALUES, pyarrow.float32())


def strict(dtype: str) -> Any:
    library = peer("array_api_strict")
    return library.asarray([1, 2, 3, 4], dtype=getattr(library, dtype))


#: Of arrays in the host's memory.
KINDS: dict[str, Callable[[], Any]] = {
    "NumPy, in C order": plain,
    "NumPy, in Fortran order": lambda: np.asfortranarray(plain().reshape(2, 2)),
    "NumPy, every second element": lambda: filled(np.zeros(8, "f4")[::2]),
    "NumPy, reversed": lambda: filled(np.zeros(4, "f4")[::-1]),
    "NumPy, 0-d": lambda: np.array(2, "f4"),
    "NumPy, empty": lambda: np.zeros((0, 3), "f4"),
    "NumPy, of float16": lambda: plain("f2"),
    "NumPy, of float64": lambda: plain("f8"),
    "NumPy, a float field of records": lambda: filled(np.zeros(4, [("a", "i4"), ("b", "f4")])["b"]),
    "NumPy, a subclass": lambda: plain().view(type("Own", (np.ndarray,), {})),
    "`numpy.matrix`": matrix,
    "NumPy, broadcast": lambda: np.lib.stride_tricks.as_strided(plain(), (4,), (0,)),
    "NumPy, read-only": read_only,
    "`numpy.float32`": lambda: np.float32(2),
    "NumPy, misaligned": lambda: filled(np.frombuffer(bytearray(17), "u1")[1:].view("f4")),
    "NumPy, of other byte order": lambda: plain(plain().dtype.newbyteorder("S")),
    "NumPy, of integers": lambda: plain("i8"),
    "NumPy, of bool": lambda: plain("?"),
    "NumPy, of complex numbers": lambda: plain("c8"),
    "NumPy, of objects": lambda: plain(object),
    "NumPy, of records": lambda: np.zeros(4, [("a", "f4")]),
    "NumPy, masked": lambda: np.ma.masked_array(plain()),
    '`numpy.memmap`, mode "r+"': lambda: memory_map("r+"),
    '`numpy.memmap`, mode "c"': lambda: memory_map("c"),
    '`numpy.memmap`, mode "r"': lambda: memory_map("r"),
    "ml_dtypes, bfloat16": lambda: plain(ml_dtypes.bfloat16),
    "ml_dtypes, float8_e4m3fn": lambda: plain(ml_dtypes.float8_e4m3fn),
    "ml_dtypes, int4": lambda: plain(ml_dtypes.int4),
    "PyTorch": tensor,
    "PyTorch, bfloat16": lambda: tensor(dtype="bfloat16"),
    "PyTorch, expanded": lambda: tensor()[1:2].expand(4),
    "PyTorch, `requires_grad`": lambda: tensor(requires_grad=True),
    "PyTorch, `Parameter`": lambda: peer("torch").nn.Parameter(tensor()),
    "PyTorch, conjugated": conjugated,
    "PyTorch, negated": lambda: conjugated().imag,
    "PyTorch, sparse": lambda: tensor().to_sparse(),
    "PyTorch, float8_e4m3fn": lambda: tensor(dtype="float8_e4m3fn"),
    "PyTorch, integers": lambda: tensor(dtype="int64"),
    "PyTorch, on `meta`": lambda: tensor(device="meta"),
    "JAX": lambda: peer("jax").numpy.asarray(VALUES),
    "JAX, bfloat16": lambda: peer("jax").numpy.asarray(plain(ml_dtypes.bfloat16)),
    "array-api-strict": lambda: strict("float32"),
    "array-api-strict, integers": lambda: strict("int32"),
    "PyArrow, `Array` without nulls": arrow,
    "PyArrow, `Array` with nulls": lambda: arrow(1, None, 3, 4),
    "PyArrow, `ChunkedArray`": lambda: peer("pyarrow").chunked_array([arrow()]),
    "PyArrow, `Buffer`": lambda: arrow().buffers()[1],
    "PyArrow, `Tensor`": lambda: peer("pyarrow").Tensor.from_numpy(plain()),
    "pandas, `Series`": lambda: peer("pandas").Series(plain()),
    "pandas, `DataFrame`": lambda: peer("pandas").DataFrame({"a": plain()}),
    "polars, `Series`": lambda: peer("polars").Series(plain()),
    "`memoryview` of floats": lambda: memoryview(plain()),
    "`memoryview` of floats, read-only": lambda: memoryview(plain().tobytes()).cast("f"),
    "`memoryview` of bytes": lambda: memoryview(bytearray(plain().tobytes())),
    '`array.array("f")`': lambda: array.array("f", VALUES),
    '`array.array("i")`': lambda: array.array("i", plain("i4")),
    "ctypes, array of `c_float`": lambda: (ctypes.c_float * 4)(*VALUES),
    "ctypes, pointer": lambda: ctypes.pointer((ctypes.c_float * 4)(*VALUES)),
    "`bytes`": lambda: plain().tobytes(),
    "`bytearray`": lambda: bytearray(plain().tobytes()),
    "`list`": plain().tolist,
    "`float`": lambda: 2.0,
    "`str`": lambda: "1 2 3 4",
    "`__array__` alone": Convertible,
}


def values_of(given: Any) -> np.ndarray:
    """What an array that was accepted holds now."""
    return (given.double().numpy() if type(given).__module__ == "torch" else np.asarray(given)).astype("f8")
