"""Another size: interpolation (equations ``resize.*``) and padding."""

from __future__ import annotations

import numpy as np

from minisegnet_kernels import checks
from minisegnet_kernels import resize as kernels

from ..tensor import Tensor, differentiable


@differentiable
def _bilinear(input, size, align_corners):
    y = kernels.bilinear(input, output_size=size, align_corners=align_corners)
    return y, lambda g: (lambda: kernels.grad_bilinear(g, input_size=input.shape[2:], align_corners=align_corners),)


@differentiable
def _nearest(input, size):
    return kernels.nearest(input, output_size=size), lambda g: (lambda: kernels.grad_nearest(g, input_size=input.shape[2:]),)


def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """Resize the images of a batch.

    Parameters
    ----------
    input : Tensor, (N, C, H, W)
    size : int or (int, int), optional
    scale_factor : float or (float, float), optional
        Instead of `size`: the output has ⌊H · scale_factor⌋ rows. Coordinates are computed from
        the two sizes (PyTorch: ``recompute_scale_factor=True``).
    mode : {"nearest", "bilinear"}
    align_corners : bool, optional
        Bilinear only. True: the centres of the corner pixels stay where they are. False or None:
        the outer edges of the corner pixels stay where they are.

    Returns
    -------
    Tensor, (N, C, P, Q)

    Raises
    ------
    ValueError
        If not exactly one of `size` and `scale_factor` is given, or the mode is unknown.

    Notes
    -----
    Equations ``resize.bilinear``, ``resize.nearest`` and their gradients, which gather in a
    fixed order, so that they are the same from run to run.
    """
    checks.rank("interpolate", "input", input, "N C H W")
    if (size is None) == (scale_factor is None):
        checks.fail(
            "interpolate",
            "which size?",
            expected="exactly one of size and scale_factor",
            actual=f"size={size}, scale_factor={scale_factor}",
        )
    if size is None:
        scales = (scale_factor, scale_factor) if np.isscalar(scale_factor) else tuple(scale_factor)
        size = tuple(int(n * s) for n, s in zip(input.shape[2:], scales, strict=True))
    size = checks.pair("interpolate", "size", size, least=1)
    if mode == "bilinear":
        return _bilinear(input, size, bool(align_corners))
    if mode == "nearest" and align_corners is None:
        return _nearest(input, size)
    expected = '"nearest" (without align_corners) or "bilinear"'
    checks.fail("interpolate", "unknown mode", expected=expected, actual=f"mode={mode!r}, align_corners={align_corners}")


@differentiable
def _constant_pad(input, before, size, value):
    # Positions in the output are positions in the input plus `before`; what falls outside is cropped.
    outer = tuple(slice(max(b, 0), max(min(b + n, p), 0)) for b, n, p in zip(before, input.shape, size, strict=True))
    inner = tuple(slice(o.start - b, o.stop - b) for o, b in zip(outer, before, strict=True))
    y = np.full_like(input, value, shape=size)
    y[outer] = input[inner]

    def grad(g):
        back = np.zeros_like(input)
        back[inner] = g[outer]
        return back

    return y, lambda g: (lambda: grad(g),)


@differentiable
def _take_pad(input, rows, columns):
    def grad(g):
        """Cells that appear several times in the output add up: first over columns, then over rows."""
        across = np.zeros_like(g, shape=(*g.shape[:3], input.shape[3]))
        np.add.at(across, (..., columns), g)
        back = np.zeros_like(input)
        np.add.at(back, (slice(None), slice(None), rows), across)
        return back

    return input[:, :, rows[:, None], columns], lambda g: (lambda: grad(g),)


def pad(input: Tensor, pad: tuple, mode: str = "constant", value: float = 0.0) -> Tensor:
    """Add a border (or, with negative numbers, crop one).

    Parameters
    ----------
    input : Tensor
        Any axes for "constant"; (N, C, H, W) for the others.
    pad : tuple of int
        ``(left, right)``, ``(left, right, top, bottom)``, ...: from the last axis forward.
    mode : {"constant", "reflect", "replicate"}
        "reflect" mirrors at the border pixel, which is not repeated.
    value : float
        Of the border, for "constant".

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the widths do not fit the input.
    """
    pad = tuple(int(p) for p in pad)
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        checks.fail(
            "pad",
            "the widths do not fit",
            expected=f"pairs (before, after) for at most {input.ndim} axes, last axis first",
            actual=f"pad = {pad}",
        )
    pairs = [(0, 0)] * (input.ndim - len(pad) // 2) + [pad[k : k + 2] for k in range(len(pad) - 2, -1, -2)]
    size = tuple(n + a + b for n, (a, b) in zip(input.shape, pairs, strict=True))
    if min(size) < 1:
        checks.fail("pad", "nothing would be left", expected="sizes ≥ 1", actual=f"{input.shape} with pad = {pad} → {size}")
    if mode == "constant":
        return _constant_pad(input, tuple(before for before, _ in pairs), size, value)
    if mode not in ("reflect", "replicate"):
        checks.fail("pad", "unknown mode", expected='"constant", "reflect" or "replicate"', actual=repr(mode))
    checks.rank("pad", "input", input, "N C H W")
    if min(pad) < 0 or len(pad) > 4 or (mode == "reflect" and any(max(p) >= n for p, n in zip(pairs, input.shape, strict=True) if max(p))):
        checks.fail(
            "pad",
            "the widths do not fit",
            expected="rows and columns only, not negative, and for reflect less than the image",
            actual=f"{input.shape}, pad = {pad}",
        )
    rows, columns = (
        np.pad(np.arange(n), p, mode="reflect" if mode == "reflect" else "edge") for n, p in zip(input.shape[2:], pairs[2:], strict=True)
    )
    return _take_pad(input, rows, columns)
