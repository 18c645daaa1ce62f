"""What a tensor is apart from its history: an array, its shape and dtype, and the ways to get it out."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np


class Memory:
    """What all tensors on the same memory share.

    Attributes
    ----------
    changes : int
        How often the values were changed in place.
    """

    __slots__ = ("_sharers", "changes")

    def __init__(self) -> None:
        self.changes = 0
        self._sharers: list[weakref.ref[Values]] = []  # from the second tensor on

    def share(self, origin: Values, other: Values) -> None:
        """Note that `other` lies on the memory of `origin`: a view, a ``detach()``, ``data``."""
        if not self._sharers:
            self._sharers.append(weakref.ref(origin))
        other._memory = self
        self._sharers.append(weakref.ref(other))
        if len(self._sharers) % 64 == 0:  # a parameter may be viewed at every step: forget those that are gone
            self._sharers = [r for r in self._sharers if r() is not None]

    def is_shared(self) -> bool:
        """Whether several living tensors lie on this memory."""
        return len({id(tensor) for r in self._sharers if (tensor := r()) is not None}) > 1


class Values:
    """The array of a tensor, NumPy's or CuPy's, and its properties.

    Attributes
    ----------
    array : array
    """

    array: Any
    _memory: Memory
    _requires_grad = False
    __getitem__: Any

    if TYPE_CHECKING:  # methods that functional/ gives to Tensor

        def __getattr__(self, name: str) -> Any: ...

    @property
    def shape(self) -> Any:  # a tuple of ints; mypy cannot know its length
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return "cuda" if hasattr(self.array, "__cuda_array_interface__") else "cpu"

    @property
    def __cuda_array_interface__(self) -> dict:
        return self.array.__cuda_array_interface__

    def __repr__(self) -> str:
        values = np.array2string(self.array, separator=", ", threshold=200, prefix="tensor(") if self.device == "cpu" else repr(self.array)
        notes = [] if self.dtype in (np.float32, np.int64, np.bool_) else [f"dtype={self.dtype}"]
        notes += [f"grad_fn={self._node}"] if not self.is_leaf else ["requires_grad=True"] * self._requires_grad
        return f"tensor({', '.join([values, *notes])})"

    def __reduce__(self) -> tuple:
        """What pickle and ``copy.deepcopy`` keep: a leaf. History and gradient stay behind."""
        return _bare, (type(self),), {**vars(self), "grad": None, "_memory": Memory(), "_node": None, "_retains_grad": False}

    def __copy__(self) -> Values:
        """A leaf on the same memory."""
        other = _bare(type(self))
        vars(other).update(self.__reduce__()[2])
        self._memory.share(self, other)
        return other

    def numpy(self) -> np.ndarray:
        """The NumPy array, in shared memory; the tensor must be on the CPU and not require a gradient."""
        if self._requires_grad:
            raise RuntimeError("this tensor requires a gradient, which NumPy would lose; write x.detach().numpy()")
        if self.device != "cpu":
            raise TypeError("this tensor is on the GPU; write x.cpu().numpy()")
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        if self._requires_grad:
            raise BufferError("this tensor requires a gradient; export x.detach()")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple:
        return self.array.__dlpack_device__()

    def item(self) -> Any:
        """The Python number of a tensor with one element."""
        if self.array.size != 1:
            raise ValueError(f"item() needs a tensor with one element; this one has shape {self.shape}")
        return self.array.item()

    def tolist(self) -> Any:
        return self.array.tolist()

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return int(self.array.size)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a tensor with no axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())


def _bare(kind: Any) -> Any:
    return kind.__new__(kind)


def as_array(data: Any) -> Any:
    """An array unchanged; anything else as a NumPy array, in which Python floats are float32."""
    if isinstance(data, np.ndarray) or hasattr(data, "__cuda_array_interface__"):
        return data
    array = np.asarray(data)
    return array.astype(np.float32) if array.dtype == np.float64 and not hasattr(data, "dtype") else array


def device_and_dtype(target: Any, device: str | None = None, dtype: Any = None) -> tuple[str | None, np.dtype | None]:
    """The device and dtype that ``x.to(target, device=device, dtype=dtype)`` means: "cpu", "cuda" or None, and a dtype or None.

    Raises
    ------
    ValueError
        If the device or dtype does not exist. Of several GPUs only the first that the process sees is used.
    """
    if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda"):
        device = target
    elif target is not None:
        dtype = target
    if dtype is not None:
        try:
            dtype = np.dtype(dtype)
        except TypeError:
            raise ValueError(f'{dtype!r} is neither a device ("cpu", "cuda") nor a dtype such as "float32"') from None
    kind, _, number = (device or "").partition(":")
    if device is not None and (kind not in ("cpu", "cuda") or number not in ("", "0")):
        hint = "; to use another GPU, start Python with CUDA_VISIBLE_DEVICES set to its number" if kind == "cuda" else ""
        raise ValueError(f'no device {device!r}: expected "cpu" or "cuda"{hint}')
    return kind or None, dtype


def seed_of(tensor: Values, gradient: Any) -> Any:
    """The gradient at which `backward` begins, as an array of the tensor's shape and dtype; 1 for a scalar.

    Raises
    ------
    RuntimeError, ValueError
        If the tensor has several elements and no gradient is given, or the gradient has another shape.
    """
    if gradient is None and tensor.array.size != 1:
        raise RuntimeError(
            f"backward() starts at a scalar, and this tensor has shape {tensor.shape}: reduce it (.mean(), .sum()) or pass gradient="
        )
    seed = np.ones_like(tensor.array) if gradient is None else gradient.array if isinstance(gradient, Values) else gradient
    if np.shape(seed) != tensor.shape:
        raise ValueError(f"gradient must have the tensor's shape {tensor.shape}, not {np.shape(seed)}")
    return seed.astype(tensor.dtype, copy=False) if hasattr(seed, "astype") else np.asarray(seed, tensor.dtype)


def owner_of(array: Any) -> Any:
    """The object that owns an array's memory: two views of one array have one owner."""
    while (base := getattr(array, "base", None)) is not None:
        array = base
    return array


def has_nan(array: Any) -> bool:
    """Whether an array of floats holds a NaN."""
    return array.dtype.kind == "f" and bool((array != array).any())


def rank_of(dtype: Any) -> int:
    """Truth values 0, integers 1, floats 2: an array can store what has its own rank or a lower one."""
    return {"b": 0, "i": 1, "u": 1, "f": 2}.get(dtype.kind, 3)
