"""Files of named tensors: safetensors written and read, ``.npz`` and PyTorch's ``.pth`` read.

A safetensors file consists of eight bytes with the length of the header, the header (JSON: name, dtype, shape and
place of each tensor, and a dictionary of strings), and the numbers. The other two are zip archives (`npz`,
`torch_file`), except that PyTorch before 1.6 wrote a stream (`legacy`). Reading any of the three runs no code. The files of ``torch.save`` contain a pickle, which is not
unpickled but interpreted by a machine that can only make tensors and plain containers (`pickles`).
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from ...files import write_atomically
from ...tensor import Tensor
from .legacy import load_legacy
from .npz import load_npz
from .torch_file import from_bfloat16, load_torch

_OTHERS = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".npz")  # endings of other formats
_ZIP = b"PK\x03\x04"
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # the beginning of a pickle of protocol 2 to 5
_SHORT = bytes(6)  # follows these bytes if they are instead the length of a short safetensors header (640, 896, ...)

_NAMES_OF_DTYPES = {
    **{f"{kind}{size}": f"{letter}{8 * size}" for kind, letter in ("iI", "uU") for size in (1, 2, 4, 8)},
    **{"f2": "F16", "f4": "F32", "f8": "F64", "b1": "BOOL"},
}
_SAFETENSORS_DTYPES = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
# The exceptions that a damaged file causes in zipfile; a MemoryError comes from an impossible size.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OverflowError, MemoryError),
    SafetensorError,
)


def save(obj: Any, path: str | os.PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors to a file. The file appears only when it is complete.

    A crash or a full disk leaves an older file of the same name unchanged (see `files.replaced`).

    Parameters
    ----------
    obj : Module, or mapping of str to Tensor or array
        The ``state_dict()`` of a module is saved.
    path : path
        Ends in ``.safetensors``. Missing folders are created.
    metadata : mapping of str to str, optional
        Strings that `load_metadata` returns.

    Raises
    ------
    TypeError
        If a value is not a tensor, or a name or a metadata entry is not a string; names it.
    ValueError
        If the path has the ending of another format.
    OSError
        If the file cannot be written; names it.
    """
    path = Path(path)
    if path.suffix.lower() in _OTHERS:
        raise ValueError(f"save writes safetensors, but {path.name!r} has the ending of another format: name it {path.stem}.safetensors")
    named = obj.state_dict() if hasattr(obj, "state_dict") else obj
    if not isinstance(named, Mapping):
        raise TypeError(f"save: expected a module or a mapping of names to tensors, got {type(obj).__name__}")
    arrays = {name: _as_array(name, value) for name, value in named.items()}
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata maps strings to strings, but {key!r} is {text!r}: use str() or json.dumps()")

    try:
        write_atomically(path, lambda stream: _write(stream, arrays, dict(metadata or {})))
    except OSError as error:
        if str(path) in str(error):
            raise
        raise OSError(f"cannot write {path}: {error}") from error  # for example a full disk


def _write(stream: BinaryIO, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write a file of safetensors, array by array.

    The library's own writer makes a second copy of all arrays in memory, or a temporary file that a killed process leaves under a
    name that cannot be found again.
    """
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # the widest first, so that all of them are aligned
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name in names:
        begin, end = end, end + arrays[name].nbytes
        dtype = _NAMES_OF_DTYPES[arrays[name].dtype.str[1:]]
        header[name] = {"dtype": dtype, "shape": list(arrays[name].shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    stream.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        little = arrays[name].astype(arrays[name].dtype.newbyteorder("<"), copy=False)
        stream.write(little.reshape(-1).view(np.uint8).data if little.size else b"")


def load(path: str | os.PathLike, key: str | None = None) -> dict[str, Tensor]:
    """The tensors of a file, by name, on the CPU.

    Parameters
    ----------
    path : path
        A file of safetensors, ``numpy.savez``, or ``torch.save``. The format is recognised by the content, not by the
        ending. No code in the file is run, and PyTorch need not be installed.
    key : str, optional
        The entry with the weights, for a checkpoint of PyTorch that contains more than weights. By default the entry
        ``"state_dict"``, ``"model_state_dict"``, ``"model"``, ``"net"``, ``"network"``, ``"network_weights"`` or ``"weights"``
        is used, if exactly one of them contains tensors by name; if none does, the file itself; if it has none either,
        the only entry that has any. A module that was saved as a whole stands for its ``state_dict()``.

    Returns
    -------
    dict of str to Tensor
        Under the names in the file. bfloat16, which NumPy lacks, becomes float32.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file is damaged, has another format, contains no tensors by name, or asks for a function that does harm;
        says which. No content of a file leads to another exception.

    See Also
    --------
    minisegnet.load_pretrained : loads weights into a network and translates the names of other libraries.
    """
    path = Path(path)
    try:
        arrays = _arrays(path, key)
    except _DAMAGED as error:
        raise ValueError(f"{path}: damaged, or in an unknown dtype: {error or type(error).__name__}. Download or save it again") from error
    return {name: Tensor(array) for name, array in arrays.items()}


def load_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The strings that were saved in a safetensors file; raises what `load` raises. Other formats have none."""
    path = Path(path)
    start = _start(path)
    return {} if start.startswith(_ZIP) or _is_pickle(start) else dict(_header(path).get("__metadata__", {}))


def _arrays(path: Path, key: str | None) -> dict[str, np.ndarray]:
    start = _start(path)
    if not start.startswith(_ZIP) and not _is_pickle(start):
        if key is not None:
            raise ValueError(f"{path}: key={key!r} is for checkpoints of PyTorch; this file has its tensors by name")
        return _load_safetensors(path)
    try:
        if _is_pickle(start):
            return load_legacy(path, key)
        with zipfile.ZipFile(path) as archive:
            if not all(name.endswith(".npy") for name in archive.namelist()):
                return load_torch(archive, path, key)
            if key is not None:
                raise ValueError(f"key={key!r} is for checkpoints of PyTorch; this file has its arrays by name")
            return load_npz(archive, path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _load_safetensors(path: Path) -> dict[str, np.ndarray]:
    header = _header(path)
    arrays = {}
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118  (it is not a dictionary)
            dtype, (begin, end) = header[name]["dtype"], header[name]["data_offsets"]
            if dtype == "BF16":  # NumPy has none
                bits = np.fromfile(path, "<u2", (end - begin) // 2, offset=path.stat().st_size - _data_size(header) + begin)
                arrays[name] = from_bfloat16(bits).reshape(header[name]["shape"])
            elif dtype not in _SAFETENSORS_DTYPES:
                raise ValueError(f"{path}: {name!r} is in {dtype}, for which NumPy has no dtype")
            else:
                arrays[name] = file.get_tensor(name)
    return arrays


def _data_size(header: Mapping[str, Any]) -> int:
    """Bytes behind the header."""
    return max((int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"), default=0)


def _start(path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    if not path.is_file():  # to read a pipe could take for ever
        raise ValueError(f"{path}: this is a folder, a pipe or a device; expected a file")
    with path.open("rb") as file:
        return file.read(8)


def _is_pickle(start: bytes) -> bool:
    return start.startswith(_PICKLES) and start[2:] != _SHORT


def _as_array(name: Any, value: Any) -> np.ndarray:
    if not isinstance(name, str):
        raise TypeError(f"save: names are strings, got {name!r}")
    if isinstance(value, Tensor):
        value = value.detach().cpu().array
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.str[1:] not in _NAMES_OF_DTYPES:
        what = f"of dtype {value.dtype}" if hasattr(value, "dtype") else f"of type {type(value).__name__}"
        raise TypeError(
            f"save: {name!r} is {what}; expected a tensor or array of numbers. Put text into metadata and flatten a nested dict"
        )
    return np.ascontiguousarray(value).reshape(value.shape)


def _header(path: Path) -> dict[str, Any]:
    """The header of a file, after checking that the file has the length that it implies."""
    start = _start(path)
    with path.open("rb") as file:
        file.seek(8)
        size, length = path.stat().st_size, int.from_bytes(start, "little")
        text = file.read(length) if length <= size else b""
    try:
        header = json.loads(text)
        behind = _data_size(header)
        entries = header.get("__metadata__", {})
        if not all(isinstance(text, str) for text in entries.values()):
            raise TypeError("__metadata__ maps strings to strings")
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: not a safetensors file (or cut off in its header); it has {size} bytes") from error
    expected = 8 + length + behind
    if size != expected:
        raise ValueError(
            f"{path}: {'truncated' if size < expected else 'damaged'}: expected {expected} bytes, got {size}. Download or save it again"
        )
    return header
