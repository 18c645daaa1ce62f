"""Another size: interpolation (equations ``resize.*``) and padding."""

from __future__ import annotations

import math

import numpy as np

from minisegnet_kernels import checks
from minisegnet_kernels import resize as kernels
from minisegnet_kernels.arrays import scatter
from minisegnet_kernels.layout import uninitialised

from ..tensor import Tensor, differentiable


@differentiable
def _bilinear(input, size, align_corners):
    before = input.shape[2:]
    y = kernels.bilinear(input, output_size=size, align_corners=align_corners)
    return y, lambda g: (lambda: kernels.grad_bilinear(g, input_size=before, align_corners=align_corners),)


@differentiable
def _nearest(input, size):
    before = input.shape[2:]
    return kernels.nearest(input, output_size=size), lambda g: (lambda: kernels.grad_nearest(g, input_size=before),)


def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None):
    """Resize the images of a batch.

    Parameters
    ----------
    input : Tensor, (N, C, H, W)
    size : int or (int, int), optional
    scale_factor : float or (float, float), optional
        Instead of `size`: the output has ⌊H · scale_factor⌋ rows.
    mode : {"nearest", "bilinear"}
    align_corners : bool, optional
        Bilinear only. True: the centres of the corner pixels stay where they are. False or None:
        the outer edges of the corner pixels stay where they are.
    recompute_scale_factor : bool, optional
        If H · scale_factor is not a whole number, row i of the output lies at ``i / scale_factor``; with True it lies at
        ``i · H / P``, computed from the two sizes.

    Returns
    -------
    Tensor, (N, C, P, Q)

    Raises
    ------
    ValueError
        If not exactly one of `size` and `scale_factor` is given, the mode is unknown, or `recompute_scale_factor` is
        given with `size`.

    Notes
    -----
    Equations ``resize.bilinear``, ``resize.nearest`` and their gradients, which gather in a
    fixed order, so that they are the same from run to run.
    """
    name = "interpolate"
    checks.rank(name, "input", input, "N C H W")
    if (size is None) == (scale_factor is None):
        checks.fail(
            name, "which size?", expected="exactly one of size and scale_factor", actual=f"size={size}, scale_factor={scale_factor}"
        )
    if mode not in ("nearest", "bilinear") or (mode == "nearest" and align_corners is not None):
        expected = '"nearest" (without align_corners) or "bilinear"'
        checks.fail(name, "unknown mode", expected=expected, actual=f"mode={mode!r}, align_corners={align_corners}")
    if size is not None:
        if recompute_scale_factor:
            checks.fail(name, "no scale to recompute", expected="recompute_scale_factor with scale_factor only", actual=f"size={size}")
        return _to_size(input, checks.pair(name, "size", size, least=1), mode, align_corners)
    scales = (scale_factor,) * 2 if isinstance(scale_factor, int | float) else tuple(scale_factor)
    if len(scales) != 2 or not all(scale > 0 for scale in scales):
        checks.fail(name, "scale_factor does not fit", expected="a number above 0, or two (rows, columns)", actual=f"{scale_factor!r}")
    exact = [n * s for n, s in zip(input.shape[2:], scales, strict=True)]
    size = checks.pair(name, f"the size for scale_factor={scale_factor}", tuple(map(math.floor, exact)), least=1)
    if recompute_scale_factor or align_corners or all(p == e for p, e in zip(size, exact, strict=True)):
        return _to_size(input, size, mode, align_corners)
    if mode == "nearest":
        places = [np.minimum(np.floor(np.arange(p) / s).astype(int), n - 1) for p, s, n in zip(size, scales, input.shape[2:], strict=True)]
        return _mirrored_pad(input, [None, None, *places])
    rows, columns = (_tents(n, p, s) for n, p, s in zip(input.shape[2:], size, scales, strict=True))
    return _separable(input, rows, columns)


def _to_size(input, size, mode, align_corners):
    return _bilinear(input, size, bool(align_corners)) if mode == "bilinear" else _nearest(input, size)


def _tents(length, outputs, scale):
    """(outputs, length): the weight of each element in each result of a linear interpolation by `scale`."""
    position = np.maximum((np.arange(outputs) + 0.5) / scale - 0.5, 0)
    low = np.minimum(np.floor(position).astype(int), length - 1)
    share, k = np.minimum(position - low, 1), np.arange(outputs)
    weights = np.zeros((outputs, length))
    weights[k, low] = 1 - share
    weights[k, np.minimum(low + 1, length - 1)] += share
    return weights


@differentiable
def _separable(input, rows, columns):
    """``rows @ x @ columnsᵀ`` for each image and channel."""
    rows, columns = (np.asarray(w, dtype=input.dtype, like=input) for w in (rows, columns))
    return rows @ input @ columns.T, lambda g: (lambda: rows.T @ g @ columns,)


@differentiable
def _constant_pad(input, before, size, value):
    # Positions in the output are positions in the input plus `before`; what falls outside is cropped.
    shape = input.shape
    outer = tuple(slice(max(b, 0), max(min(b + n, p), 0)) for b, n, p in zip(before, shape, size, strict=True))
    inner = tuple(slice(o.start - b, o.stop - b) for o, b in zip(outer, before, strict=True))
    y = uninitialised(input, size)
    y[...] = value
    y[outer] = input[inner]

    def grad(g):
        back = uninitialised(g, shape)
        back[...] = 0
        back[inner] = g[outer]
        return back

    return y, lambda g: (lambda: grad(g),)


@differentiable
def _mirrored_pad(input, places):
    """Take the elements at ``places[k]`` along each axis k; an element may be taken several times."""
    shape = input.shape

    def grad(g):
        """Add up the gradients of all copies of an element, one axis after the other."""
        for axis, (index, length) in enumerate(zip(places, shape, strict=True)):
            if index is not None:
                back = np.zeros_like(g, shape=(length, *g.shape[:axis], *g.shape[axis + 1 :]))
                scatter(np.add, back, np.asarray(index, like=g), np.moveaxis(g, axis, 0))
                g = np.moveaxis(back, 0, axis)
        return g

    y = input
    for axis, index in enumerate(places):
        y = y if index is None else np.take(y, np.asarray(index, like=y), axis=axis)
    return y, lambda g: (lambda: grad(g),)


def pad(input: Tensor, pad: tuple, mode: str = "constant", value: float | None = None) -> Tensor:
    """Add a border (or, with negative numbers, crop one).

    Parameters
    ----------
    input : Tensor
        Any shape.
    pad : tuple of int
        ``(left, right)``, ``(left, right, top, bottom)``, ...: from the last axis forward, any number of axes.
    mode : {"constant", "reflect", "replicate", "circular"}
        "reflect" mirrors at the border element, which is not repeated; "replicate" repeats the border element;
        "circular" continues at the other end.
    value : float, optional
        Value of a "constant" border; 0 if not given.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the widths do not fit the input, or `value` is given for another mode than "constant".
    """
    pad = tuple(checks.whole("pad", "a width", p) for p in pad)
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        checks.fail(
            "pad",
            "the widths do not fit",
            expected=f"pairs (before, after) for at most {input.ndim} axes, last axis first",
            actual=f"pad = {pad}",
        )
    pairs = [(0, 0)] * (input.ndim - len(pad) // 2) + [pad[k : k + 2] for k in range(len(pad) - 2, -1, -2)]
    shape = input.shape
    size = tuple(n + a + b for n, (a, b) in zip(shape, pairs, strict=True))
    if min(size, default=0) < 0:
        checks.fail("pad", "more is cropped than there is", expected="sizes ≥ 0", actual=f"{shape} with pad = {pad} → {size}")
    if mode == "constant":
        return _constant_pad(input, tuple(before for before, _ in pairs), size, 0.0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        checks.fail("pad", "unknown mode", expected='"constant", "reflect", "replicate" or "circular"', actual=repr(mode))
    if value is not None:
        checks.fail("pad", f"mode {mode!r} takes its values from the input", expected="no value", actual=f"value = {value}")
    for n, pair in zip(shape, pairs, strict=True):
        if (mode == "reflect" and max(pair) >= max(n, 1)) or (mode == "circular" and max(pair) > n) or (n == 0 and max(pair) > 0):
            allowed = {"reflect": "less than the length of its axis", "circular": "at most the length of its axis"}.get(
                mode, "an axis that is not empty"
            )
            checks.fail("pad", f"the widths do not fit mode {mode!r}", expected=f"each width {allowed}", actual=f"{shape}, pad = {pad}")
    return _mirrored_pad(input, [_places(n, pair, mode) if pair != (0, 0) else None for n, pair in zip(shape, pairs, strict=True)])


def _places(length: int, pair: tuple[int, int], mode: str) -> np.ndarray:
    """The index of the element at each place of a padded axis."""
    before, after = pair
    place = np.arange(-before, length + after)
    if mode == "reflect":
        return length - 1 - np.abs(length - 1 - np.abs(place))
    if mode == "replicate":
        return np.clip(place, 0, length - 1)
    first = max(-before, 0)  # the first element that is left after cropping; only the remaining ones repeat
    return first + (place - first) % (length - first + min(after, 0))
