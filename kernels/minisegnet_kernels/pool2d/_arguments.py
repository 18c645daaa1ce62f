"""The front door of pooling checks its arguments here and brings them to the form that the views take."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..backends import device_of
from .formula import pooled_size, winner_dtype


def options(equation, input_size, kernel_size, stride, padding, dilation, ceil_modes=(False, True), outputs=None) -> dict[str, Any]:
    """Options in the form that the views take. For a gradient, `outputs` is its size, which some ceil_mode must explain."""
    kernel_size = checks.pair(equation, "kernel_size", kernel_size, least=1)
    stride = kernel_size if stride is None else checks.pair(equation, "stride", stride, least=1)
    dilation = checks.pair(equation, "dilation", dilation, least=1)
    if not np.isscalar(padding) and len(padding) == 2 and not np.isscalar(padding[0]):
        padding = tuple(checks.pair(equation, "padding", side, least=0) for side in padding)
    else:
        padding = tuple((p, p) for p in checks.pair(equation, "padding", padding, least=0))
    axes = list(zip(input_size, kernel_size, stride, padding, dilation, strict=True))
    sizes = [[pooled_size(*axis, bool(mode)) for axis in axes] for mode in ceil_modes]
    if outputs is not None:
        if not any(tuple(outputs) == tuple(size) for size in sizes):
            expected = " or, with ceil_mode, ".join(str(tuple(size)) for size in sizes)
            checks.fail(
                equation,
                "the gradient does not have the shape of the output",
                expected=f"(P, Q) = {expected} for an input of {tuple(input_size)}",
                actual=f"(P, Q) = {tuple(outputs)}",
            )
        sizes = [outputs]
    for name, windows, axis in zip(("rows", "columns"), sizes[0], axes, strict=True):
        size, kernel, _, pad, spread = axis
        reach = spread * (kernel - 1) + 1
        if windows < 1:
            checks.fail(
                equation,
                f"the window is larger than the padded input in its {name}",
                expected=f"at least {reach} {name}",
                actual=f"{size} with padding {pad}",
                hint="more padding, a smaller window, or a larger input",
            )
        if not _every_window_meets_the_input(windows, *axis):
            checks.fail(
                equation,
                f"a window contains only padding ({name})",
                expected="at least one cell of the input in each window",
                actual=f"{size} {name}, padding {pad}, a window that reaches over {reach}, dilation {spread}",
                hint="padding of at most half the window",
            )
    return {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation}


def _every_window_meets_the_input(windows, size, kernel, stride, padding, dilation) -> bool:
    reach = dilation * (kernel - 1) + 1
    if (
        padding[0] >= reach or (windows - 1) * stride - padding[0] >= size
    ):  # the first window or the last one; then there are not many between
        return False
    starts = np.arange(windows) * stride - padding[0]
    first = np.maximum(-(starts // dilation), 0)  # of each window, the first cell at 0 or behind
    return bool(((first < kernel) & (starts + first * dilation < size)).all())


def weights(equation, w, channels):
    if not hasattr(w, "ndim") or w.ndim not in (2, 3) or (w.ndim == 3 and w.shape[0] != channels):
        checks.fail(
            equation,
            "the weights do not fit",
            expected=f"w (U, V), or (C, U, V) with C = {channels}",
            actual=f"w.shape = {getattr(w, 'shape', type(w).__name__)}",
        )
    return np.broadcast_to(w, (channels, *w.shape[-2:]))


def bias(equation, b, x):
    if b is None or np.isscalar(b):
        return np.full_like(x, 0 if b is None else b, shape=x.shape[1])
    if not hasattr(b, "shape") or tuple(b.shape) not in ((), (1,), (x.shape[1],)):
        checks.fail(
            equation,
            "the bias does not fit",
            expected=f"b (C,) = ({x.shape[1]},), or a number",
            actual=f"b.shape = {getattr(b, 'shape', type(b).__name__)}",
        )
    return np.broadcast_to(b, (x.shape[1],))


def gradient_and_winner(equation, g, winner, name="g"):
    checks.rank(equation, name, g, "N C P Q")
    checks.rank(equation, "winner", winner, "N C P Q")
    if g.shape != winner.shape:
        checks.fail(
            equation,
            f"{name} and winner do not fit",
            expected="equal shapes",
            actual=f"{name} {checks.shape('N C P Q', g)}, winner {checks.shape('N C P Q', winner)}",
        )
    integers(equation, winner)


def integers(equation, winner):
    if winner.dtype.kind not in "iu":
        checks.fail(equation, "winner is not an array of indices", expected="an integer dtype", actual=f"winner: {winner.dtype}")


def places(equation, winner, kernel_size):
    """The winners of a maximum in the dtype that the views take."""
    U, V = kernel_size
    _in_range(equation, winner, U * V, f"winner < U·V = {U}·{V} = {U * V}", "its window", "the winners of `max` or `forward`, as they are")
    return winner.astype(winner_dtype(kernel_size), copy=False)


def indices(equation, winner, size):
    """The flat indices of an unpooling in the dtype that the views take."""
    H, W = size
    _in_range(
        equation, winner, H * W, f"winner < H·W = {H}·{W} = {H * W}", "the output", "the output_size that the input of the pooling had"
    )
    return winner.astype(np.int64, copy=False)


def _in_range(equation, winner, end, condition, whole, hint):
    """Check winners on a CPU. On a GPU the CPU would have to wait for the result; there the kernels skip winners outside."""
    if device_of(winner) == "cpu" and winner.size and (winner.min() < 0 or winner.max() >= end):
        wrong = winner[(winner < 0) | (winner >= end)][0]
        checks.fail(equation, f"a winner lies outside of {whole}", expected=f"0 ≤ {condition}", actual=f"winner = {wrong}", hint=hint)


def not_empty(equation, size):
    if 0 in size:
        checks.fail(
            equation, "there is nothing to average", expected="at least one row and one column", actual=f"{tuple(size)} (rows, columns)"
        )
