"""Cross-entropy: the front door. It checks the arguments and runs the selected view.

Equations: ``cross_entropy.forward``, ``cross_entropy.grad_input``, and
``cross_entropy.forward_and_grad``, which computes both in one sweep.
"""

from __future__ import annotations

import numpy as np

from .. import checks
from ..backends import device_of, run

__all__ = ["forward", "forward_and_grad", "grad_input"]

_REDUCTIONS = ("mean", "sum", "none")
_LABELS = tuple(map(np.dtype, ("uint8", "int32", "int64")))  # those that the kernels read


def forward(x, t, w=None, *, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    """Cross-entropy of softmax scores (equation ``cross_entropy.forward``).

    Parameters
    ----------
    x : array, (N, C, H, W)
        Scores, before the softmax.
    t : array of integers, (N, H, W)
        The true class of each pixel, 0 ... C − 1 or `ignore_index`. Kernels read uint8, int32 and int64; other
        integers are first copied to int64.
    w : array, (C,), optional
        Weight of each class; 1 if not given.
    ignore_index : int
        Pixels with this target are left out of the loss, of the mean and of the gradient. No pixel has a target that
        does not fit in the dtype of t, such as −100 in uint8.
    label_smoothing : float
        The share of the target, 0 ... 1, that is spread evenly over all classes.
    reduction : {"mean", "sum", "none"}
        The mean is weighted: Σ ℓ / Σ w[t] over the pixels that are not ignored.

    Returns
    -------
    array, () or with ``reduction="none"`` (N, H, W)

    Raises
    ------
    ValueError
        If a shape, a dtype, an option or a target does not fit. Targets on a GPU are not checked, because the CPU
        would have to wait for them; a target outside 0 ... C − 1 makes the loss NaN there.

    Notes
    -----
    Equals ``torch.nn.functional.cross_entropy`` with one exception. If no pixel counts, because all are ignored or
    their weights sum to 0, the mean is 0 and not NaN, so that a crop without labels does not end a training.
    """
    x, t, w, options = _check("cross_entropy.forward", x, t, w, ignore_index, label_smoothing, reduction)
    return run("cross_entropy.forward", x, t, w, **options)


def forward_and_grad(x, t, w=None, *, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    """The loss, and its gradient for x, in one sweep (equation ``cross_entropy.forward_and_grad``).

    Arguments as `forward`.

    Returns
    -------
    loss : array, () or (N, H, W)
        As `forward`.
    xbar : array, (N, C, H, W)
        `grad_input` for g = 1. The gradient is proportional to g: for another g it is ``g * xbar``, or
        ``g[:, None] * xbar`` with ``reduction="none"``.
    """
    x, t, w, options = _check("cross_entropy.forward_and_grad", x, t, w, ignore_index, label_smoothing, reduction)
    return run("cross_entropy.forward_and_grad", x, t, w, **options)


def grad_input(g, x, t, w=None, *, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    """Gradient for the scores (equation ``cross_entropy.grad_input``).

    Parameters
    ----------
    g : array, () or with ``reduction="none"`` (N, H, W)
        Gradient for what `forward` returned.
    x, t, w, ignore_index, label_smoothing, reduction
        As in `forward`.

    Returns
    -------
    array, (N, C, H, W)
    """
    equation = "cross_entropy.grad_input"
    x, t, w, options = _check(equation, x, t, w, ignore_index, label_smoothing, reduction)
    checks.floats(equation, g=g, x=x)
    expected = t.shape if reduction == "none" else ()
    if g.shape != expected:
        checks.fail(
            equation,
            "g does not have the shape of the loss",
            expected=f"g.shape = {tuple(expected)} with reduction = {reduction!r}",
            actual=f"g.shape = {tuple(g.shape)}",
        )
    return run(equation, g, x, t, w, **options)


def _check(equation, x, t, w, ignore_index, label_smoothing, reduction):
    checks.rank(equation, "x", x, "N C H W")
    checks.rank(equation, "t", t, "N H W")
    checks.floats(equation, x=x, w=w)
    if (x.shape[0], *x.shape[2:]) != t.shape:
        checks.fail(
            equation,
            "scores and target do not fit",
            expected=f"t (N, H, W) = {(x.shape[0], *x.shape[2:])}",
            actual=f"x {checks.shape('N C H W', x)}, t {checks.shape('N H W', t)}",
        )
    if t.dtype.kind not in "iu":
        checks.fail(
            equation,
            "the target does not hold classes",
            expected="t of an integer dtype",
            actual=f"t.dtype = {t.dtype}",
            hint="t.astype('int64')",
        )
    if w is not None and w.shape != x.shape[1:2]:
        checks.fail(equation, "weights and scores do not fit", expected=f"w (C,) = ({x.shape[1]},)", actual=f"w.shape = {tuple(w.shape)}")
    if reduction not in _REDUCTIONS:
        checks.fail(equation, "unknown reduction", expected='"mean", "sum" or "none"', actual=f"reduction = {reduction!r}")
    if not 0 <= label_smoothing <= 1:
        checks.fail(
            equation, "label_smoothing is out of range", expected="0 ≤ label_smoothing ≤ 1", actual=f"label_smoothing = {label_smoothing!r}"
        )
    ignore_index = checks.whole(equation, "ignore_index", ignore_index)
    if t.dtype.kind == "u" and t.itemsize == 8:  # in int64 a number from 2⁶³ on would become another label
        _check_target(equation, t.astype("uint64"), x.shape[1], ignore_index)
    t = t if t.dtype in _LABELS else t.astype("int64")
    _check_target(equation, t, x.shape[1], ignore_index)
    w = np.ones_like(x, shape=x.shape[1]) if w is None else w
    return x, t, w, {"ignore_index": ignore_index, "label_smoothing": float(label_smoothing), "reduction": reduction}


def _check_target(equation, t, classes, ignore_index):
    """Check the target on a CPU. On a GPU nothing is checked, because the CPU would have to wait for the result."""
    if device_of(t) != "cpu":
        return
    outside = t.view(f"u{t.itemsize}") >= classes  # a negative number is a huge unsigned one: one comparison for both ends
    if not outside.any():
        return
    outside &= t != ignore_index
    if outside.any():
        n, i, j = (int(index) for index in np.argwhere(outside)[0])
        checks.fail(
            equation,
            f"the target is not a class, at pixel (n, i, j) = ({n}, {i}, {j})",
            expected=f"0 ≤ t ≤ {classes - 1}, for the {classes} classes of x, or ignore_index = {ignore_index}",
            actual=f"t[{n}, {i}, {j}] = {int(t[n, i, j])}",
            hint="more classes, or ignore_index",
        )
