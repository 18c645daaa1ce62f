"""Local response normalisation: the front door. It checks the arguments and runs the selected view.

Equations: ``lrn.forward``, ``lrn.grad_input``.
"""

from __future__ import annotations

import math

from .. import checks
from ..backends import run

__all__ = ["forward", "grad_input"]


def forward(x, *, size, alpha=1e-4, beta=0.75, k=1.0):
    """Local response normalisation across channels (equation ``lrn.forward``).

    Parameters
    ----------
    x : array, (N, C, H, W)
    size : int
        Channels in a neighbourhood; if even, one more lies before c than after it.
    alpha, beta, k : float
        ``x / (k + alpha / size · Σ x²) ** beta``: alpha and beta at least 0, k above 0.

    Returns
    -------
    array, (N, C, H, W)

    Raises
    ------
    ValueError
        If a shape, a dtype or an option does not fit.
    """
    equation = "lrn.forward"
    checks.rank(equation, "x", x, "N C H W")
    checks.floats(equation, x=x)
    return run(equation, x, **_options(equation, size, alpha, beta, k))


def grad_input(g, x, *, size, alpha=1e-4, beta=0.75, k=1.0):
    """Gradient of `forward` for its input (equation ``lrn.grad_input``).

    Parameters
    ----------
    g, x : array, (N, C, H, W)
    size, alpha, beta, k
        As in `forward`.

    Returns
    -------
    array, (N, C, H, W)
    """
    equation = "lrn.grad_input"
    checks.rank(equation, "g", g, "N C H W")
    checks.rank(equation, "x", x, "N C H W")
    checks.floats(equation, g=g, x=x)
    if g.shape != x.shape:
        checks.fail(
            equation,
            "gradient and input do not fit",
            expected="equal shapes",
            actual=f"g {checks.shape('N C H W', g)}, x {checks.shape('N C H W', x)}",
        )
    return run(equation, g, x, **_options(equation, size, alpha, beta, k))


def _options(equation, size, alpha, beta, k):
    if isinstance(size, bool) or not math.isfinite(size) or int(size) != size or size < 1:
        checks.fail(
            equation, "size does not fit", expected="size: an int ≥ 1, the number of channels in a neighbourhood", actual=f"size = {size!r}"
        )
    if not (math.isfinite(alpha) and math.isfinite(beta) and math.isfinite(k) and alpha >= 0 and beta >= 0 and k > 0):
        checks.fail(
            equation,
            "an option would make the divisor 0 or infinite",
            expected="alpha ≥ 0, beta ≥ 0, k > 0, all finite",
            actual=f"alpha = {alpha!r}, beta = {beta!r}, k = {k!r}",
        )
    return {"size": int(size), "alpha": float(alpha), "beta": float(beta), "k": float(k)}
