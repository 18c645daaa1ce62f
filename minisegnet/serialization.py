"""Files of named tensors, in the safetensors format.

A file is eight bytes that say how long the header is, the header (JSON: name, dtype, shape
and place of each tensor, and a dictionary of strings), and the numbers. Reading one runs no
code, unlike reading a pickle, which is what ``torch.save`` writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from .files import replaced
from .tensor import Tensor

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # torch.save, old and new; pickle


def save(obj: Any, path: str | os.PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors to a file; it is complete or it is not there.

    A crash or a full disk leaves the file that was there before as it was (see `files.replaced`).

    Parameters
    ----------
    obj : Module, or mapping of str to Tensor or array
        Of a module its ``state_dict()`` is saved.
    path : path
        Ends in ``.safetensors``. Missing folders are made.
    metadata : mapping of str to str, optional
        What `load_metadata` gives back.

    Raises
    ------
    TypeError
        If a value is no tensor, or a name or a piece of metadata no string; names it.
    ValueError
        If the path has the ending of a pickle.
    OSError
        If the file cannot be written; names it.
    """
    path = Path(path)
    if path.suffix.lower() in _PICKLES:
        raise _pickle_error(path)
    named = obj.state_dict() if hasattr(obj, "state_dict") else obj
    if not isinstance(named, Mapping):
        raise TypeError(f"save: expected a module or a mapping of names to tensors, got {type(obj).__name__}")
    arrays = {name: _as_array(name, value) for name, value in named.items()}
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata maps strings to strings, and {key!r} is {text!r}: use str() or json.dumps()")

    with replaced(path) as temporary:
        try:
            save_file(arrays, temporary, dict(metadata or {}))
        except SafetensorError as error:  # a full disk, for one
            raise OSError(f"cannot write {path}: {error}") from error


def load(path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of a file, by name, on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is a pickle (``.pt``, ``.pth``), no safetensors file, or damaged; says which.
    """
    _header(Path(path))
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged or in an unknown dtype: {error}") from error
    return {name: Tensor(array) for name, array in arrays.items()}


def load_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The strings that were saved with a file; raises what `load` raises."""
    return dict(_header(Path(path)).get("__metadata__", {}))


def _as_array(name: Any, value: Any) -> np.ndarray:
    if not isinstance(name, str):
        raise TypeError(f"save: names are strings, got {name!r}")
    if isinstance(value, Tensor):
        value = value.detach().cpu().data
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "biuf":
        what = f"of dtype {value.dtype}" if hasattr(value, "dtype") else f"of type {type(value).__name__}"
        raise TypeError(
            f"save: {name!r} is {what}; expected a tensor or array of numbers. Text belongs in metadata; a nested dict has to be flattened"
        )
    return np.ascontiguousarray(value).reshape(value.shape)


def _pickle_error(path: Path) -> ValueError:
    return ValueError(
        f"{path}: this is a pickle, which can run any program when it is read; minisegnet reads and writes .safetensors. "
        f'To convert one that you trust, with PyTorch: safetensors.torch.save_file(torch.load("{path.name}", weights_only=True), "{path.stem}.safetensors")'
    )


def _header(path: Path) -> dict[str, Any]:
    """The header of a file, after a look at whether all that it promises is there."""
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    with path.open("rb") as file:
        start = file.read(8)
        if path.suffix.lower() in _PICKLES or start.startswith(_PICKLE_STARTS):
            raise _pickle_error(path)
        size, length = path.stat().st_size, int.from_bytes(start, "little")
        text = file.read(length) if length <= size else b""
    try:
        header = json.loads(text)
        ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"{path}: not a safetensors file (or cut off in its header); it has {size} bytes") from error
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ValueError(
            f"{path}: {'truncated' if size < expected else 'damaged'}: expected {expected} bytes, got {size}. Download or save it again"
        )
    return header
