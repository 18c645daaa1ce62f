"""The same values in another shape, order, place or dtype: methods and indexing of `Tensor`.

Names and arguments are PyTorch's. Most pullbacks here just undo what the function did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from minisegnet_kernels.arrays import scatter
from minisegnet_kernels.layout import channels_last, full, is_channels_last, rows_first, uninitialised

from ..tensor import OPERATIONS, Tensor, differentiable
from ..values import device_and_dtype
from .arguments import axes, numpy_names, one_or_many


@differentiable
def _reshape(a, shape):
    before = a.shape
    return a.reshape(shape), lambda g: (lambda: g.reshape(before),)


def reshape(a: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be −1: it follows from the others."""
    sizes = one_or_many(shape)
    try:
        return _reshape(a, sizes)
    except ValueError as error:
        raise ValueError(
            f"reshape: a tensor of shape {tuple(a.shape)} with {math.prod(a.shape)} elements does not fit into {tuple(sizes)}"
        ) from error


@differentiable
def _permute(a, dims):
    return a.transpose(dims), lambda g: (lambda: g.transpose(np.argsort(dims)),)


def permute(a: Tensor, *dims: Any) -> Tensor:
    return _permute(a, tuple(dim % a.ndim if -a.ndim <= dim < 0 else dim for dim in one_or_many(dims)))


def transpose(a: Tensor, dim0: int, dim1: int) -> Tensor:
    """The axes `dim0` and `dim1` exchanged."""
    (first,), (second,) = (axes("transpose", dim, max(a.ndim, 1)) for dim in (dim0, dim1))
    dims = list(range(a.ndim or 1))
    dims[first], dims[second] = second, first
    return _permute(a, dims[: a.ndim])


def flatten(a: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """One axis in place of those from `start_dim` to `end_dim`; a tensor without axes gets one."""
    first, last = (axes("flatten", dim, max(a.ndim, 1))[0] for dim in (start_dim, end_dim))
    length = (
        -1 if all(a.shape) else math.prod(a.shape[first : last + 1])
    )  # −1 also holds for images of another size, in an exported network
    return _reshape(a, (*a.shape[:first], length, *a.shape[last + 1 :]))


@numpy_names
def squeeze(a: Tensor, dim: Any = None) -> Tensor:
    """Remove the axes `dim` (one or several) whose length is 1; by default all axes of length 1."""
    gone = [axis for axis in axes("squeeze", dim, a.ndim) if a.shape[axis] == 1] if dim != () else []
    return _reshape(a, tuple(size for axis, size in enumerate(a.shape) if axis not in gone)) if gone or dim is None else a


@numpy_names
def unsqueeze(a: Tensor, dim: int) -> Tensor:
    """Insert an axis of length 1 before axis `dim`; −1 puts it last."""
    (place,) = axes("unsqueeze", dim, a.ndim + 1)
    return _reshape(a, (*a.shape[:place], 1, *a.shape[place:]))


@differentiable
def _broadcast(a, shape):
    return np.broadcast_to(a, shape), lambda g: (lambda: g,)  # the engine sums it back


def expand(a: Tensor, *sizes: Any) -> Tensor:
    """The tensor repeated along axes of length 1 and along new axes in front, without a copy; −1 keeps a length."""
    sizes = one_or_many(sizes)
    new = len(sizes) - a.ndim
    if new < 0 or -1 in sizes[:new] or any(s not in (-1, n) and n != 1 for s, n in zip(sizes[new:], a.shape, strict=True)):
        raise ValueError(f"expand: expected sizes that end with those of {a.shape}, where only a 1 may change, got {tuple(sizes)}")
    return _broadcast(a, (*sizes[:new], *(n if s == -1 else s for s, n in zip(sizes[new:], a.shape, strict=True))))


@differentiable
def _tiled(a, sizes):
    shape = (1,) * (len(sizes) - a.ndim) + a.shape
    y = np.tile(a, sizes)

    def grad(g):  # every copy sends a gradient back
        apart = [n for pair in zip(sizes, shape, strict=True) for n in pair]
        return g.reshape(apart).sum(axis=tuple(range(0, len(apart), 2)))

    return y, lambda g: (lambda: grad(g),)


def repeat(a: Tensor, *sizes: Any) -> Tensor:
    """Copies of the tensor side by side: ``sizes[k]`` of them along axis k. More sizes than axes add axes in front."""
    sizes = one_or_many(sizes)
    if len(sizes) < a.ndim or any(s < 0 for s in sizes):
        raise ValueError(f"repeat: expected {a.ndim} or more sizes, none negative, for a tensor of shape {a.shape}, got {tuple(sizes)}")
    return _tiled(a, tuple(sizes))


@differentiable
def clone(a):
    """A copy, through which gradients flow."""
    return a.copy("K"), lambda g: (lambda: g,)


@numpy_names
def split(a: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts along an axis.

    Parameters
    ----------
    a : Tensor
    split_size : int or sequence of int
        The length of each part (the last may be shorter), or the lengths of all parts.
    dim : int

    Returns
    -------
    tuple of Tensor

    Raises
    ------
    ValueError
        If the lengths are negative or do not add up to the length of the axis.
    """
    (axis,) = axes("split", dim, a.ndim)
    length = a.shape[axis]
    if isinstance(split_size, Sequence):
        sizes = list(split_size)
    elif split_size > 0:
        sizes = [min(split_size, length - start) for start in range(0, length, split_size)] or [0]
    else:
        sizes = [0] * (length == 0)
    if any(size < 0 for size in sizes) or sum(sizes) != length or not sizes:
        raise ValueError(f"split: expected lengths that add up to {length}, the size of axis {dim}, got {split_size}")
    edges = [0, *accumulate(sizes)]
    return tuple(index(a, (slice(None),) * axis + (slice(*pair),)) for pair in pairwise(edges))


@numpy_names
def chunk(a: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` parts of equal length along an axis; the last may be shorter."""
    if chunks < 1:
        raise ValueError(f"chunk: expected a number of parts of at least 1, got {chunks}")
    (axis,) = axes("chunk", dim, a.ndim)
    if a.shape[axis] == 0:
        return split(a, [0] * chunks, dim)
    return split(a, -(-a.shape[axis] // chunks), dim)


@differentiable
def index(a, key):
    basic = all(isinstance(k, (int, slice, type(None), type(Ellipsis))) for k in (key if isinstance(key, tuple) else (key,)))
    shape = a.shape

    def grad(g):
        back = full(g, shape, 0)
        if basic:
            back[key] = g
        else:  # an element may be taken several times
            taken = np.arange(back.size, like=g).reshape(shape)[key]
            scatter(np.add, back.reshape(-1), taken.reshape(-1), g.reshape(-1))
        return back

    return a[key], lambda g: (lambda: grad(g),)


def array_key(key: Any) -> Any:
    """The same index with each tensor in it replaced by its array."""
    plain = lambda k: k.array if isinstance(k, Tensor) else k
    return tuple(map(plain, key)) if isinstance(key, tuple) else plain(key)


def getitem(a: Tensor, key: Any) -> Tensor:
    return index(a, array_key(key))


@differentiable
def _cat(*arrays, dim):
    edges = [0, *accumulate(a.shape[dim] for a in arrays)]
    along = lambda k: (slice(None),) * dim + (slice(edges[k], edges[k + 1]),)
    joined = uninitialised(
        arrays[0], (*arrays[0].shape[:dim], edges[-1], *arrays[0].shape[dim + 1 :]), np.result_type(*(a.dtype for a in arrays))
    )
    for k, a in enumerate(arrays):
        joined[along(k)] = a
    return joined, lambda g: tuple(lambda k=k: _without_gaps(g[along(k)], g) for k in range(len(edges) - 1))


def _without_gaps(part, whole):
    """The part, without gaps between its elements: a range of channels of a channels-last image has gaps and is copied, because
    the fast convolutions cannot read it."""
    if not is_channels_last(whole) or is_channels_last(part):
        return part
    copied = uninitialised(whole, part.shape)
    copied[...] = part
    return copied


@numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after another along an axis; all other sizes must be equal."""
    if not tensors or any(getattr(t, "ndim", 0) == 0 for t in tensors):
        given = ", ".join(str(tuple(t.shape)) if hasattr(t, "shape") else type(t).__name__ for t in tensors)
        raise ValueError(f"cat: expected one or more tensors that have axes, got {given or 'none'}")
    (axis,) = axes("cat", dim, tensors[0].ndim)
    shapes = [t.shape for t in tensors]
    if len({s[:axis] + s[axis + 1 :] for s in shapes}) != 1:
        raise ValueError(f"cat: all sizes but that of axis {dim} must be equal, got {', '.join(map(str, shapes))}")
    return _cat(*tensors, dim=axis)


@numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    if not tensors or not all(hasattr(t, "dtype") for t in tensors):
        raise TypeError(f"stack: expected one or more tensors, got {', '.join(type(t).__name__ for t in tensors) or 'none'}")
    return cat([unsqueeze(t, dim) for t in tensors], dim)


LAYOUTS = ("contiguous", "channels_last")


@differentiable
def _to(a, dtype, device, memory_format):
    y, before = a, _device(a)
    if device is not None and device != before:
        y = _move(a, device)
    if dtype is not None:
        y = y.astype(dtype, copy=False)
    if memory_format is not None:
        y = channels_last(y) if memory_format == "channels_last" else rows_first(y)
    return y, lambda g: (lambda: _move(g, before),)


def _device(a: Any) -> str:
    return "cuda" if hasattr(a, "__cuda_array_interface__") else "cpu"


def _move(a: Any, device: str) -> Any:
    if device == _device(a):
        return a
    if is_channels_last(a):  # CuPy's copies between devices write rows first
        return _move(a.transpose(0, 2, 3, 1), device).transpose(0, 3, 1, 2)
    if device == "cpu":
        return a.get()
    try:
        import cupy
    except ImportError as error:
        from minisegnet_kernels.backends import BackendError

        raise BackendError('device "cuda" needs CuPy: pip install ".[cuda12]" in the clone, or ".[cuda13]"') from error
    return cupy.asarray(a)


def to(a: Tensor, target: Any = None, *, dtype: Any = None, device: str | None = None, memory_format: str | None = None) -> Tensor:
    """Another dtype, device or layout: ``x.to("cuda")``, ``x.to("float64")``, ``x.to(memory_format="channels_last")``. Differentiable.

    Parameters
    ----------
    target : dtype or {"cpu", "cuda"}, optional
        A dtype or a device.
    dtype, device : optional
        The same by name.
    memory_format : {"contiguous", "channels_last"}, optional
        How an (N, C, H, W) tensor lies in memory. The shape stays (N, C, H, W). On a GPU the results of
        convolution, normalisation, pooling and resizing have the layout of their input.
    """
    if memory_format not in (None, *LAYOUTS):
        raise ValueError(f"no memory_format {memory_format!r}: choose one of {', '.join(LAYOUTS)}")
    device, dtype = device_and_dtype(target, device, dtype)
    if (
        (dtype is None or dtype == a.dtype)
        and (device is None or device == a.device)
        and (memory_format is None or _has_layout(a, memory_format))
    ):
        return a
    return _to(a, dtype, device, memory_format)


def contiguous(a: Tensor, memory_format: str = "contiguous") -> Tensor:
    """The tensor itself if its elements lie in this order without gaps, otherwise a copy in which they do."""
    return to(a, memory_format=memory_format)


def _has_layout(a: Tensor, memory_format: str) -> bool:
    """As `is_contiguous`, but with one channel, where both orders put values in the same places, the strides decide."""
    last = is_channels_last(a.array)
    return last if memory_format == "channels_last" else bool(a.array.flags.c_contiguous) and not last


def is_contiguous(a: Tensor, memory_format: str = "contiguous") -> bool:
    """Whether the elements lie in this order, rows first or channels last, without gaps."""
    return (
        is_channels_last(a.array) or (a.array.flags.c_contiguous and a.shape[1] == 1)
        if memory_format == "channels_last"
        else bool(a.array.flags.c_contiguous)
    )


_PLAIN = (reshape, permute, transpose, flatten, squeeze, unsqueeze, expand, repeat, clone, split, chunk, to, contiguous, is_contiguous)
_METHODS: dict[str, Any] = {
    **{function.__name__: function for function in _PLAIN},
    "view": reshape,
    "cpu": lambda a: to(a, "cpu"),
    "cuda": lambda a: to(a, "cuda"),
    "float": lambda a, memory_format=None: to(a, np.float32, memory_format=memory_format),
    "double": lambda a, memory_format=None: to(a, np.float64, memory_format=memory_format),
    "T": property(lambda a: _permute(a, tuple(range(a.ndim))[::-1])),
}
for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
OPERATIONS["getitem"] = getitem
