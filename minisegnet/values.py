"""What a tensor is apart from its history: an array, its shape and dtype, and ways out of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np


class Values:
    """The array of a tensor, NumPy's or CuPy's, and what can be said of it.

    Attributes
    ----------
    data : array
    """

    data: Any
    _requires_grad = False

    if TYPE_CHECKING:  # operators and methods that functional/arithmetic.py gives to Tensor
        __add__: Any
        __radd__: Any
        __sub__: Any
        __rsub__: Any
        __mul__: Any
        __rmul__: Any
        __truediv__: Any
        __rtruediv__: Any
        __pow__: Any
        __matmul__: Any
        __neg__: Any
        __lt__: Any
        __gt__: Any
        __getitem__: Any

        def __getattr__(self, name: str) -> Any: ...

    shape = property(lambda self: tuple(self.data.shape))
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda"``."""
        return "cuda" if hasattr(self.data, "__cuda_array_interface__") else "cpu"

    @property
    def __cuda_array_interface__(self) -> dict:
        return self.data.__cuda_array_interface__

    def numpy(self) -> np.ndarray:
        """The NumPy array (shared memory). The tensor must lie on the CPU and not require a gradient."""
        if self._requires_grad:
            raise RuntimeError("this tensor requires a gradient, which NumPy would lose; write x.detach().numpy()")
        if self.device != "cpu":
            raise TypeError("this tensor lies on the GPU; write x.cpu().numpy()")
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        if self._requires_grad:
            raise BufferError("this tensor requires a gradient; export x.detach()")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple:
        return self.data.__dlpack_device__()

    def item(self) -> Any:
        """The Python number of a tensor with one element."""
        if self.data.size != 1:
            raise ValueError(f"item() needs a tensor with one element; this one has shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        return int(self.data.size)

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
