"""The files of ``torch.save``, read without PyTorch and without unpickling.

Such a file is a zip archive with these entries: ``NAME/data.pkl``, a pickle that describes objects; ``NAME/data/0``,
``NAME/data/1``, ..., the numbers, one entry per storage; and ``NAME/byteorder``. In the pickle a tensor is a call of
``torch._utils._rebuild_tensor_v2`` with a reference to a storage, an offset into it, a shape and strides.
`pickles.run` allows this call, the types of storages, parameters and OrderedDict.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import pickles
from .archive import entries, read

WEIGHTS = ("state_dict", "model_state_dict", "model", "net", "network")
"""The names under which training programs keep the weights in a checkpoint; see `load_torch`."""

_BFLOAT16 = "bfloat16"  # NumPy lacks it. Its bits are the upper half of those of a float32
_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


def load_torch(archive: zipfile.ZipFile, path: Path, key: str | None = None) -> dict[str, np.ndarray]:
    """The tensors of a file that ``torch.save`` wrote.

    Parameters
    ----------
    archive : ZipFile
    path : Path
        The path of the archive, for its size and for messages.
    key : str, optional
        The entry of a checkpoint that contains the weights. By default the file itself, if it contains tensors by
        name; otherwise the only entry of `WEIGHTS` that does.

    Returns
    -------
    dict of str to array
        Each array has its own memory. bfloat16 becomes float32, which represents its values exactly. Other entries
        beside the tensors, such as a number of epochs, are left out.

    Raises
    ------
    ValueError
        If the archive is damaged, has another format, or contains anything except tensors and plain containers.
    """
    if any(name.endswith("/constants.pkl") for name in archive.namelist()):
        raise ValueError(
            "this is a TorchScript archive, a program with its weights. To extract the weights with PyTorch: "
            f'torch.save(torch.jit.load("{path.name}").state_dict(), "{path.stem}_weights.pth")'
        )
    names = entries(archive, path, stored_only=True)
    indices = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(indices) != 1:
        raise ValueError(f"a zip archive, but not one of torch.save: it has no NAME/data.pkl ({', '.join(list(names)[:5]) or 'empty'})")
    storages = _Storages(archive, names, indices[0].removesuffix("data.pkl"), path)
    try:
        found = pickles.run(read(archive, names[indices[0]], pickles.LARGEST).tobytes(), storages.known(), storages.storage)
    except ValueError as error:
        raise ValueError(
            f"{error}. Only tensors in plain containers are read. To save only the weights with PyTorch: "
            f'torch.save(torch.load("{path.name}", weights_only=True)["state_dict"], "{path.stem}_weights.pth")'
        ) from error
    return _named_tensors(found, key)


def legacy_error(path: Path) -> ValueError:
    """The error for a plain pickle, as PyTorch before 1.6 wrote it; says how to convert the file."""
    return ValueError(
        f"{path}: this is a plain pickle, as PyTorch before 1.6 wrote it, and not an archive. To convert it with PyTorch: "
        f'torch.save(torch.load("{path.name}", weights_only=True), "{path.stem}_zip.pth")'
    )


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers with these upper halves (uint16)."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


# --- tensors ------------------------------------------------------------------------------


class _Storage:
    """The numbers of one entry, as a flat array; `used` once a tensor has taken over the memory."""

    def __init__(self, values: np.ndarray, dtype: str):
        self.values, self.dtype, self.used = values, dtype, False


class _Storages:
    """The storages of an archive, each read when a tensor first refers to it."""

    def __init__(self, archive: zipfile.ZipFile, names: Mapping[str, zipfile.ZipInfo], folder: str, path: Path):
        self.archive, self.names, self.folder = archive, names, folder
        self.read: dict[str, _Storage] = {}
        order = read(archive, names[f"{folder}byteorder"]).tobytes() if f"{folder}byteorder" in names else b"little"
        if order not in (b"little", b"big"):
            raise ValueError(f'byteorder is {order!r}, expected "little" or "big"')
        self.big = order == b"big"
        # A tensor can be larger than its storage (stride 0), so a malicious file could exhaust the memory.
        self.budget = 8 * path.stat().st_size

    def known(self) -> dict[str, pickles.Known]:
        """The names that the pickle may use."""
        calls: dict[str, Callable] = {
            "collections OrderedDict": _ordered_dict,
            "torch._utils _rebuild_tensor_v2": self.tensor,
            "torch._utils _rebuild_parameter": _parameter,
        }
        types = {f"torch {name}": pickles.Known(f"torch.{name}", meaning=dtype) for name, dtype in _DTYPES.items()}
        return {**types, **{name: pickles.Known(name.replace(" ", "."), call=call) for name, call in calls.items()}}

    def storage(self, reference: Any) -> _Storage:
        """``("storage", type, key, location, number of elements)`` → its numbers."""
        if type(reference) is not tuple or len(reference) != 5 or reference[0] != "storage":
            raise ValueError(f"expected a reference to a storage, found {reference!r:.80}")
        _, kind, key, _, count = reference
        if not isinstance(kind, pickles.Known) or kind.meaning is None or type(key) is not str or not _is_size(count):
            raise ValueError(f"this is not a reference to a storage: {reference!r:.80}")
        if key not in self.read:
            self.read[key] = self._read(key, kind.meaning, count)
        found = self.read[key]
        if found.dtype != kind.meaning or found.values.size != count:
            raise ValueError(f"storage {key!r} is {found.values.size} × {found.dtype} at one place and {count} × {kind.meaning} at another")
        return found

    def _read(self, key: str, dtype: str, count: int) -> _Storage:
        name = f"{self.folder}data/{key}"
        if name not in self.names:
            raise ValueError(f"storage {key!r} is not in the archive")
        stored = np.dtype("uint16" if dtype == _BFLOAT16 else dtype)
        if count * stored.itemsize != self.names[name].file_size:
            raise ValueError(f"storage {key!r}: {count} × {dtype} do not have the {self.names[name].file_size} bytes of its entry")
        values = read(self.archive, self.names[name]).view(stored.newbyteorder(">" if self.big else "<"))
        if dtype == "bool" and (values.view(np.uint8) > 1).any():
            raise ValueError(f"storage {key!r}: a bool is neither 0 nor 1")
        if dtype == _BFLOAT16:
            return _Storage(from_bfloat16(values), dtype)
        return _Storage(values.astype(stored, copy=False), dtype)

    def tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None, metadata: Any = None
    ):
        """The elements of a storage that make up a tensor, in their own memory."""
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        if not _is_size(offset) or not _are_sizes(size) or not _are_sizes(stride) or len(size) != len(stride) or len(size) > 32:
            raise ValueError(f"offset, shape and strides do not make a tensor: {offset!r:.20}, {size!r:.60}, {stride!r:.60}")
        count = math.prod(size)
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if count and last >= storage.values.size:
            raise ValueError(f"a tensor reaches element {last} of a storage with {storage.values.size}")
        self.budget -= count * storage.values.itemsize
        if self.budget < 0:
            raise ValueError("the tensors are more than eight times as large as the file")
        if count == storage.values.size and not storage.used and stride == _contiguous(size):
            storage.used = True
            return storage.values.reshape(size)
        step = storage.values.itemsize
        start = storage.values[offset:] if count else storage.values[:0]
        return np.lib.stride_tricks.as_strided(start, size, [s * step for s in stride] if count else None).copy()


def _contiguous(size: tuple) -> tuple:
    """The strides of a tensor whose elements lie in row-major order."""
    return tuple(math.prod(size[axis + 1 :]) for axis in range(len(size)))


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _are_sizes(values: Any) -> bool:
    return type(values) is tuple and all(map(_is_size, values))


def _ordered_dict(*items: Any) -> dict:
    if items:
        raise ValueError("an OrderedDict is filled item by item")
    return {}


def _parameter(data: Any, *_: Any) -> np.ndarray:
    if not isinstance(data, np.ndarray):
        raise ValueError("a parameter without a tensor")
    return data


# --- which of them are the weights --------------------------------------------------------


def _named_tensors(found: Any, key: str | None) -> dict[str, np.ndarray]:
    if type(found) is not dict:
        raise ValueError(f"expected tensors by name, found {_kind(found)}; save model.state_dict()")
    if key is not None:
        if key not in found:
            raise ValueError(f"there is no entry {key!r}; there are {_listed(found)}")
        chosen = found[key]
        if not _has_tensors(chosen):
            raise ValueError(f"the entry {key!r} is {_kind(chosen)}; expected tensors by name")
    elif _has_tensors(found):
        chosen = found
    else:
        places = [name for name in WEIGHTS if _has_tensors(found.get(name))]
        if len(places) != 1:
            which = f"they could be those of {' or '.join(map(repr, places))}" if places else "no entry is known to hold them"
            raise ValueError(f"which weights? {which}. Choose an entry with load(path, key=...); there are {_listed(found)}")
        chosen = found[places[0]]
    tensors = {name: value for name, value in chosen.items() if isinstance(value, np.ndarray)}
    if strange := [name for name in tensors if type(name) is not str]:
        raise ValueError(f"names of tensors are strings, not {strange[0]!r}")
    return tensors


def _has_tensors(value: Any) -> bool:
    return type(value) is dict and any(isinstance(v, np.ndarray) for v in value.values())


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"one tensor {value.shape}"
    return f"a {type(value).__name__} of {len(value)}" if type(value) in (dict, list, tuple) else f"a {type(value).__name__}"


def _listed(found: dict) -> str:
    return ", ".join(f"{name!r} ({_kind(value)})" for name, value in list(found.items())[:12]) or "none"
