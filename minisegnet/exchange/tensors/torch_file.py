"""The files of ``torch.save``, read without PyTorch and without unpickling.

Since PyTorch 1.6 such a file is a zip archive with these entries: ``NAME/data.pkl``, a pickle that describes objects;
``NAME/data/0``, ``NAME/data/1``, ..., the numbers, one entry per storage; and ``NAME/byteorder``. Before, it was one stream
(`legacy`). In the pickle a tensor is a call of ``torch._utils._rebuild_tensor_v2`` with a reference to a storage, an offset
into it, a shape and strides. `pickles.run` allows this call, the types of storages, parameters and OrderedDict, and reads
past everything else. The numbers are read afterwards, and only those of the weights: the state of an optimiser stays on disk.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from . import pickles
from .archive import entries, read

WEIGHTS = ("state_dict", "model_state_dict", "model", "net", "network", "network_weights", "weights")
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
    """The tensors of a zip archive that ``torch.save`` wrote.

    Parameters
    ----------
    archive : ZipFile
    path : Path
        The path of the archive, for its size and for messages.
    key : str, optional
        The entry of a checkpoint that contains the weights; see `named_tensors`.

    Returns
    -------
    dict of str to array
        Each array has its own memory. bfloat16 becomes float32, which represents its values exactly. Other entries
        beside the tensors, such as a number of epochs, are left out.

    Raises
    ------
    ValueError
        If the archive is damaged, has another format, or contains no tensors by name.
    """
    if any(name.endswith("/constants.pkl") for name in archive.namelist()):
        raise ValueError(
            "this is a TorchScript archive, a program with its weights. To extract the weights with PyTorch: "
            f'torch.save(torch.jit.load("{path.name}", map_location="cpu").state_dict(), "{path.stem}_weights.pth")'
        )
    names = entries(archive, path, stored_only=True)
    indices = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(indices) != 1:
        raise ValueError(f"a zip archive, but not one of torch.save: it has no NAME/data.pkl ({', '.join(list(names)[:5]) or 'empty'})")
    folder = indices[0].removesuffix("data.pkl")
    order = read(archive, names[f"{folder}byteorder"]).tobytes() if f"{folder}byteorder" in names else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f'byteorder is {order!r}, expected "little" or "big"')
    storages = Archived(archive, names, folder, order == b"big")
    found = pickles.run(read(archive, names[indices[0]], pickles.LARGEST).tobytes(), known(), storages.storage)
    return named_tensors(found, key, most=8 * path.stat().st_size)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers with these upper halves (uint16)."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


# --- storages and tensors -----------------------------------------------------------------


class Storage:
    """The numbers of one storage, as a flat array that is read when a tensor first needs it.

    Parameters
    ----------
    key : str
    dtype : str
    count : int
        Number of elements.
    read : callable
        Returns the bytes, as a writable uint8 array.
    big : bool
        Whether the numbers are stored with the most significant byte first.
    """

    def __init__(self, key: str, dtype: str, count: int, read: Callable[[], np.ndarray], big: bool = False):
        self.key, self.dtype, self.count, self.big = key, dtype, count, big
        self.stored = np.dtype("uint16" if dtype == _BFLOAT16 else dtype)
        self.used = False  # whether a tensor has taken over the memory
        self._read = read
        self._values: np.ndarray | None = None

    @property
    def values(self) -> np.ndarray:
        if self._values is None:
            values = self._read().view(self.stored.newbyteorder(">" if self.big else "<"))
            if self.dtype == "bool" and (values.view(np.uint8) > 1).any():
                raise ValueError(f"storage {self.key!r}: a bool is neither 0 nor 1")
            self._values = from_bfloat16(values) if self.dtype == _BFLOAT16 else values.astype(self.stored, copy=False)
        return self._values


class Stored:
    """A tensor in a file: the place of its elements in a storage. `array` reads them."""

    def __init__(self, storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]):
        self.storage, self.offset, self.shape, self.stride = storage, offset, size, stride

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.storage.stored.itemsize

    def array(self) -> np.ndarray:
        """The elements, in their own memory."""
        storage, count = self.storage, math.prod(self.shape)
        if count == storage.count and not storage.used and self.stride == _contiguous(self.shape):
            storage.used = True
            return storage.values.reshape(self.shape)
        step = storage.values.itemsize
        start = storage.values[self.offset :] if count else storage.values[:0]
        return np.lib.stride_tricks.as_strided(start, self.shape, [s * step for s in self.stride] if count else None).copy()


class Storages:
    """The storages to which a pickle refers, by their keys; `make` says where the numbers of a new one are."""

    def __init__(self) -> None:
        self.found: dict[str, Storage] = {}

    def make(self, key: str, dtype: str, count: int) -> Storage:
        raise NotImplementedError

    def storage(self, reference: Any) -> Any:
        """``("storage", type, key, location, number of elements)`` → the storage."""
        if type(reference) is not tuple or len(reference) < 5 or reference[0] != "storage":
            raise ValueError(f"expected a reference to a storage, found {pickles.brief(reference)}")
        _, kind, key, _, count, *view = reference
        if (
            not isinstance(kind, pickles.Known)
            or kind.meaning is None
            or type(key) is not str
            or not _is_size(count)
            or view not in ([], [None])
        ):
            raise ValueError(f"this is not a reference to a storage that can be read: {pickles.brief(reference)}")
        if key not in self.found:
            self.found[key] = self.make(key, kind.meaning, count)
        found = self.found[key]
        if found.dtype != kind.meaning or found.count != count:
            raise ValueError(f"storage {key!r} is {found.count} × {found.dtype} at one place and {count} × {kind.meaning} at another")
        return found


class Archived(Storages):
    """The storages of a zip archive: each is an entry."""

    def __init__(self, archive: zipfile.ZipFile, names: Mapping[str, zipfile.ZipInfo], folder: str, big: bool):
        super().__init__()
        self.archive, self.names, self.folder, self.big = archive, names, folder, big

    def make(self, key: str, dtype: str, count: int) -> Storage:
        name = f"{self.folder}data/{key}"
        if name not in self.names:
            raise ValueError(f"storage {key!r} is not in the archive")
        made = Storage(key, dtype, count, lambda: read(self.archive, self.names[name]), self.big)
        if count * made.stored.itemsize != self.names[name].file_size:
            raise ValueError(f"storage {key!r}: {count} × {dtype} do not have the {self.names[name].file_size} bytes of its entry")
        return made


def known() -> dict[str, pickles.Known]:
    """The names that mean something in a pickle of tensors."""
    calls: dict[str, Callable] = {
        "collections OrderedDict": _ordered_dict,
        "torch._utils _rebuild_tensor": _tensor,
        "torch._utils _rebuild_tensor_v2": _tensor,
        "torch._utils _rebuild_parameter": _parameter,
        "torch._utils _rebuild_parameter_with_state": _parameter,
    }
    types = {f"torch {name}": pickles.Known(f"torch.{name}", meaning=dtype) for name, dtype in _DTYPES.items()}
    return {**types, **{name: pickles.Known(name.replace(" ", "."), call=call) for name, call in calls.items()}}


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None, metadata: Any = None
) -> Stored:
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    if not _is_size(offset) or not _are_sizes(size) or not _are_sizes(stride) or len(size) != len(stride) or len(size) > 32:
        raise ValueError(
            f"offset, shape and strides do not make a tensor: {pickles.brief(offset)}, {pickles.brief(size)}, {pickles.brief(stride)}"
        )
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if math.prod(size) and last >= storage.count:
        raise ValueError(f"a tensor reaches element {last} of a storage with {storage.count}")
    return Stored(storage, offset, size, stride)


def _contiguous(size: tuple) -> tuple:
    """The strides of a tensor whose elements lie in row-major order."""
    return tuple(math.prod(size[axis + 1 :]) for axis in range(len(size)))


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _are_sizes(values: Any) -> bool:
    return type(values) is tuple and all(map(_is_size, values))


def _ordered_dict(*items: Any) -> dict:
    """An empty dictionary, or one of the pairs that Python 2 wrote: ``OrderedDict([[key, value], ...])``."""
    if not items:
        return {}
    if (
        len(items) != 1
        or type(items[0]) is not list
        or not all(type(p) in (list, tuple) and len(p) == 2 and type(p[0]) is str for p in items[0])
    ):
        raise ValueError("an OrderedDict is filled item by item, or from a list of names and values")
    return dict(items[0])


def _parameter(data: Any, *_: Any) -> Stored:
    if not isinstance(data, Stored):
        raise ValueError("a parameter without a tensor")
    return data


# --- which of them are the weights --------------------------------------------------------


def named_tensors(found: Any, key: str | None, most: int) -> dict[str, np.ndarray]:
    """The weights among what a file contains.

    These are the tensors of the entry `key`; by default those of the only entry of `WEIGHTS` that has tensors by name, else those
    of the file itself, else those of the only entry that has any. A module that was saved as a whole stands for its ``state_dict()``.

    Parameters
    ----------
    found : object
        What the pickle describes.
    key : str or None
    most : int
        Bytes that the tensors may have together. A tensor can be larger than its storage (stride 0), so a malicious file could
        exhaust the memory.

    Raises
    ------
    ValueError
        If there are no tensors by name, or several entries could be meant; lists the entries.
    """
    named = _named(found)
    if named is None:
        raise ValueError(f"expected tensors by name, found {_kind(found)}; save model.state_dict()")
    if key is not None:
        if key not in named:
            raise ValueError(f"there is no entry {key!r}; there are {_listed(named)}")
        chosen = _named(named[key])
        if not _has_tensors(chosen):
            raise ValueError(f"the entry {key!r} is {_kind(named[key])}; expected tensors by name")
    else:
        inside = [name for name, value in named.items() if _has_tensors(_named(value))]
        places = [name for name in WEIGHTS if name in inside]
        if not places and _has_tensors(named):
            chosen = named
        elif len(places or inside) == 1:
            chosen = _named(named[(places or inside)[0]])
        else:
            which = f"they could be those of {' or '.join(map(repr, places or inside))}" if inside else "no entry holds tensors by name"
            raise ValueError(f"which weights? {which}. Choose an entry with load(path, key=...); there are {_listed(named)}")
    assert chosen is not None
    tensors = {name: value for name, value in chosen.items() if isinstance(value, Stored)}
    if strange := [name for name in tensors if type(name) is not str]:
        raise ValueError(f"names of tensors are strings, not {strange[0]!r}")
    if sum(tensor.nbytes for tensor in tensors.values()) > most:
        raise ValueError("the tensors are more than eight times as large as the file")
    return {name: value.array() for name, value in tensors.items()}


def _named(value: Any) -> dict | None:
    """What an object holds by name: the items of a dictionary, or the ``state_dict()`` of a module; None for anything else."""
    if type(value) is dict:
        return value
    if not isinstance(value, pickles.Foreign):
        return None
    return dict(_state(value, "", set())) if "_modules" in value.attributes else value.items


def _state(module: pickles.Foreign, prefix: str, above: set[int]) -> Iterator[tuple[str, Any]]:
    """The ``state_dict()`` of a pickled module: its parameters and buffers, then those of the modules in it."""
    if id(module) in above:
        raise ValueError(f"the module {module.name} contains itself")
    parts = {name: module.attributes.get(name) or {} for name in ("_parameters", "_buffers", "_modules")}
    if not all(type(part) is dict for part in parts.values()):
        raise ValueError(f"the module {module.name} has no parameters, buffers and modules by name")
    unsaved = getattr(module.attributes.get("_non_persistent_buffers_set"), "members", ())
    for part in ("_parameters", "_buffers"):
        named = {name: value for name, value in parts[part].items() if isinstance(value, Stored) and name not in unsaved}
        yield from ((f"{prefix}{name}", value) for name, value in named.items())
    for name, inner in parts["_modules"].items():
        if isinstance(inner, pickles.Foreign):
            yield from _state(inner, f"{prefix}{name}.", above | {id(module)})


def _has_tensors(value: dict | None) -> bool:
    return value is not None and any(isinstance(v, Stored) for v in value.values())


def _kind(value: Any) -> str:
    if isinstance(value, Stored):
        return f"one tensor {value.shape}"
    if isinstance(value, pickles.Foreign):
        return f"an object of {value.name}"
    return f"a {type(value).__name__} of {len(value)}" if type(value) in (dict, list, tuple) else f"a {type(value).__name__}"


def _listed(found: dict) -> str:
    return ", ".join(f"{name!r} ({_kind(value)})" for name, value in list(found.items())[:12]) or "none"
