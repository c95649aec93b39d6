"""State dicts in files: NumPy's npz, or safetensors.

In both, an array of a parameter's state is called by the parameter and what it is ("weight.m", "0.m"), the counts of
updates are "steps", and all else is JSON: the array "metadata" in npz, the entry "fastopt" of safetensors' metadata.
"""

from __future__ import annotations

import importlib
import json
import os
import zipfile
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import numpy as np

from fastopt.errors import BackendUnavailable
from fastopt.optim import state_dicts
from fastopt.optim.atomic import replacing

if TYPE_CHECKING:
    from fastopt.optim.optimizer import Optimizer

#: Of what is in a file; another one is refused.
VERSION = 1

_Arrays = dict[str, np.ndarray[Any, Any]]


class _Format(NamedTuple):
    """A kind of file."""

    #: Writes the metadata and the arrays to a path.
    write: Callable[[str, str, _Arrays], None]
    #: Reads them from an open file.
    read: Callable[[IO[bytes]], tuple[str, _Arrays]]


def save(optimizer: Optimizer, path: str | os.PathLike[str]) -> None:
    """Write an optimizer's state to a file, whose ending says of which kind."""
    path = os.fspath(path)
    write = _format(path).write
    metadata, arrays = _apart(state_dicts.view(optimizer))
    with replacing(path) as temporary:
        write(temporary, metadata, arrays)


def load(optimizer: Optimizer, path: str | os.PathLike[str]) -> None:
    """Read an optimizer's state from a file; with an error, nothing has changed."""
    path = os.fspath(path)
    read = _format(path).read
    with open(path, "rb") as file:
        try:
            state = _together(*read(file))
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # whatever the readers say of bytes that they do not understand
            raise ValueError(f"{path} is no checkpoint of fastopt, or not a whole one: {error}") from error
    state_dicts.give(optimizer, state)


def _format(path: Any) -> _Format:
    if not isinstance(path, str):
        raise TypeError(f"path is {path!r}, a {type(path).__name__}; expected a str or a path")
    if path.endswith(".npz"):
        return _Format(_write_npz, _read_npz)
    if path.endswith(".safetensors"):
        _require("safetensors")
        return _Format(_write_safetensors, _read_safetensors)
    raise ValueError(f"path is {path!r}; expected it to end in .npz or .safetensors")


def _require(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise BackendUnavailable(f"{package} is needed for this, and not installed: pip install {package}") from error


# ---- Metadata and arrays


def _apart(state: dict[str, Any]) -> tuple[str, _Arrays]:
    """Return all but the arrays as JSON, and the arrays by the names that they have in files."""
    arrays = {"steps": state["steps"]}
    kinds = []
    for name, own in state_dicts.by_name(state["state"]):
        kinds.append(list(own))
        arrays.update({_key(name, kind): array for kind, array in own.items()})
    rest = {name: value for name, value in state.items() if name != "steps"}
    return json.dumps({"version": VERSION, **rest, "state": kinds}), arrays


def _together(metadata: str, arrays: _Arrays) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(metadata)
    version = state.pop("version")
    if version != VERSION:
        raise ValueError(f"it is of version {version}; expected {VERSION}")
    names = [name for group in state["groups"] for name in group["names"]]
    own = {
        name: {kind: arrays.pop(_key(name, kind)) for kind in kinds}
        for name, kinds in zip(names, state["state"], strict=True)
    }
    state["state"] = own if any(isinstance(name, str) for name in names) else list(own.values())
    state["steps"] = arrays.pop("steps")
    if arrays:
        raise ValueError(f"it has {', '.join(arrays)}, which its metadata does not know")
    return state


def _key(name: str | int, kind: str) -> str:
    """Return what an array is called in a file: some signs, which zip files would alter, are written as in URLs."""
    return f"{quote(str(name), errors='surrogatepass')}.{kind}"


# ---- npz


def _write_npz(path: str, metadata: str, arrays: _Arrays) -> None:
    # NumPy's files know no bfloat16; nothing else is stored as uint16.
    known: dict[str, Any] = {
        name: array.view(np.uint16) if array.dtype.name == "bfloat16" else array for name, array in arrays.items()
    }
    with open(path, "wb") as file:
        np.savez(file, **{"metadata": np.array(metadata), **known})


def _read_npz(file: IO[bytes]) -> tuple[str, _Arrays]:
    if not zipfile.is_zipfile(file):
        raise ValueError("it is no zip file")
    file.seek(0)
    with np.load(file, allow_pickle=False) as known:
        arrays = {name: known[name] for name in known.files}
    metadata = str(arrays.pop("metadata"))
    return metadata, {name: _bfloat16(a) if a.dtype == np.uint16 else a for name, a in arrays.items()}


def _bfloat16(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.view(_require("ml_dtypes").bfloat16)


# ---- safetensors


def _write_safetensors(path: str, metadata: str, arrays: _Arrays) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        # It writes memory as it lies, whatever the strides say.
        save_file({name: np.asarray(a, order="C") for name, a in arrays.items()}, path, {"fastopt": metadata})
    except SafetensorError as error:
        raise OSError(f"safetensors could not write the file: {error}") from error


def _read_safetensors(file: IO[bytes]) -> tuple[str, _Arrays]:
    from safetensors import safe_open

    with safe_open(file.name, framework="np") as known:
        metadata, names = known.metadata() or {}, known.keys()
        return metadata["fastopt"], {name: known.get_tensor(name) for name in names}
