"""State dicts in files: NumPy's npz or safetensors.

In both formats, the name of a state array combines its parameter and kind ("weight.m", "0.m"), "steps" holds the counts
of updates, and the rest is JSON: the array "metadata" in npz, the entry "fastopt" of the metadata in safetensors.
"""

from __future__ import annotations

import json
import os
from types import ModuleType
from typing import Any
from urllib.parse import quote

from fastopt.common.messages import brief
from fastopt.optim import file_npz, file_safetensors, state_dicts
from fastopt.optim.atomic import replacing
from fastopt.optim.stored import Arrays

#: Version of the file's content; other versions are refused.
VERSION = 2

#: The modules that write and read, by the suffix of the path.
KINDS = {".npz": file_npz, ".safetensors": file_safetensors}


def save(optimizer: state_dicts.Optimizer, path: str | os.PathLike[str]) -> None:
    """Write an optimizer's state to a file, whose suffix selects the format."""
    path = os.fspath(path)
    kind = _kind(path)
    metadata, arrays = _apart(state_dicts.view(optimizer))
    with replacing(path) as file:
        kind.write(file, metadata, arrays)


def load(optimizer: state_dicts.Optimizer, path: str | os.PathLike[str]) -> None:
    """Read an optimizer's state from a file; after an error, nothing has changed."""
    path = os.fspath(path)
    kind = _kind(path)
    own = state_dicts.view(optimizer)
    metadata, arrays = _apart(own)
    longest = 4 * len(metadata) + (1 << 16)  # numbers may have more digits than in the optimizer's own metadata
    with open(path, "rb") as file:
        try:
            state = _together(kind.read(file, arrays, longest), own)
        except MemoryError:
            raise
        except Exception as error:  # the readers may raise anything for invalid bytes
            raise ValueError(
                f"{path} is not a checkpoint of this {type(optimizer).__name__}, or damaged: {error}"
            ) from error
    state_dicts.give(optimizer, state)


def _kind(path: Any) -> ModuleType:
    if not isinstance(path, str):
        raise TypeError(f"path is {brief(path)}, a {type(path).__name__}; expected a str or a path")
    for ending, kind in KINDS.items():
        if path.endswith(ending):
            return kind
    raise ValueError(f"path is {brief(path)}; expected it to end in {' or '.join(KINDS)}")


# ---- Metadata and arrays


def _apart(state: dict[str, Any]) -> tuple[str, Arrays]:
    """Return everything except the arrays as JSON, and the arrays by their names in files."""
    arrays = {"steps": state["steps"]}
    for name, own in state_dicts.by_name(state["state"]):
        arrays.update({_key(name, kind): array for kind, array in own.items()})
    rest = {name: value for name, value in state.items() if name not in ("steps", "state")}
    return json.dumps({"version": VERSION, **rest}), arrays


def _together(read: tuple[str, Arrays], own: dict[str, Any]) -> dict[str, Any]:
    """Return the state dict from the data read; ``own``, the optimizer's own, gives its structure."""
    metadata, arrays = read
    state: dict[str, Any] = json.loads(metadata)
    version = state.pop("version")
    if version != VERSION:
        raise ValueError(f"its version is {version}; expected {VERSION}")
    found = {
        name: {kind: arrays[_key(name, kind)] for kind in kinds} for name, kinds in state_dicts.by_name(own["state"])
    }
    return {
        **state,
        "steps": arrays["steps"],
        "state": found if isinstance(own["state"], dict) else list(found.values()),
    }


def _key(name: str | int, kind: str) -> str:
    """Return the name of an array in a file; characters that zip files would alter are percent-encoded."""
    return f"{quote(str(name), errors='surrogatepass')}.{kind}"
