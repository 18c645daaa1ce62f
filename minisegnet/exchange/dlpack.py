"""Arrays of other libraries, used without copying."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor


def from_dlpack(source: Any) -> Tensor:
    """Make a tensor that shares its memory with an array or tensor of another library.

    Parameters
    ----------
    source : object with ``__dlpack__`` and ``__dlpack_device__``
        An array of NumPy, CuPy, PyTorch, JAX, ... on the CPU or a CUDA device.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> from_dlpack(np.arange(3)).tolist()
    [0, 1, 2]
    """
    kind, _ = source.__dlpack_device__()
    if kind == 1:  # kDLCPU
        return Tensor(np.from_dlpack(source))
    import cupy

    return Tensor(cupy.from_dlpack(source))
