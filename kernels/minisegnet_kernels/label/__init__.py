"""Labelling: the front door. It checks the arguments and runs the selected view.

Equations: ``label.argmax``, ``label.intervals``, ``label.prototypes``: the documented formula
``S(x,y) = l_k if F(x,y) ∈ R_k`` for three kinds of region.
"""

from __future__ import annotations

import numpy as np

from .. import checks
from ..backends import computes, run

__all__ = ["argmax", "intervals", "prototypes"]


def argmax(x, labels=None):
    """Label of the largest score (equation ``label.argmax``).

    Of equal scores the first wins; the first NaN wins over numbers, as in NumPy.

    Parameters
    ----------
    x : array, (N, C, H, W)
    labels : integers, (C,), optional
        Default: 0 … C − 1 as int64.

    Returns
    -------
    array, (N, H, W)
        In the dtype of `labels`.

    Raises
    ------
    ValueError
        If a shape or a dtype does not fit.
    """
    equation = "label.argmax"
    checks.rank(equation, "x", x, "N C H W")
    checks.floats(equation, x=x)
    if x.shape[1] == 0:
        checks.fail(equation, "there is no score", expected="at least one channel", actual=f"x {checks.shape('N C H W', x)}")
    return run(equation, x, _labels(equation, labels, x.shape[1], "channels of x", x))


def intervals(x, regions, labels=None, *, default=None):
    """Label of the interval that a value lies in (equation ``label.intervals``).

    Parameters
    ----------
    x : array, (N, H, W) or (N, 1, H, W)
    regions : sequence of (low, high), or array, (K, 2)
        Half-open intervals low ≤ x < high; ±inf is allowed. Where intervals overlap, the first
        wins. Bounds are rounded to the dtype of x and compared in it.
    labels : integers, (K,), optional
        Default: 0 … K − 1 as int64.
    default : int, optional
        Label of points in no region; a NaN is in no region. Without a default such points are an error.

    Returns
    -------
    array, (N, H, W)
        In the dtype of `labels`.

    Raises
    ------
    ValueError
        If a shape, a dtype or an interval does not fit, or a point lies in no region and
        there is no default.
    """
    equation = "label.intervals"
    if getattr(x, "ndim", 0) == 4 and x.shape[1] == 1:
        x = x[:, 0]
    checks.rank(equation, "x", x, "N H W")
    checks.floats(equation, x=x)
    try:
        regions = np.asarray(regions, dtype=x.dtype, like=x)
    except (TypeError, ValueError):  # ragged, or no numbers
        checks.fail(equation, "the regions do not fit", expected="K pairs (low, high)", actual=f"regions = {regions!r}")
    if regions.ndim != 2 or regions.shape[1] != 2 or not len(regions):
        checks.fail(equation, "the regions do not fit", expected="K ≥ 1 pairs (low, high)", actual=f"regions.shape = {regions.shape}")
    if not bool((regions[:, 0] < regions[:, 1]).all()):
        k = int((~(regions[:, 0] < regions[:, 1])).argmax())
        low, high = (float(bound) for bound in regions[k])
        checks.fail(equation, f"region {k} is empty", expected=f"low < high, in {x.dtype}", actual=f"[{low:.9g}, {high:.9g})")
    labels = _labels(equation, labels, len(regions), "regions", x)
    _check_default(equation, default, labels)
    label_map, outside = run(equation, x, regions, labels, default=default)
    _refuse_outside(equation, x[:, None], outside, default)
    return label_map


def prototypes(x, prototypes, labels=None, *, default=None):
    """Label of the nearest prototype (equation ``label.prototypes``), by squared Euclidean distance.

    Of equal distances the first wins.

    Parameters
    ----------
    x : array, (N, C, H, W)
    prototypes : array, (K, C)
        In the dtype of x.
    labels : integers, (K,), optional
        Default: 0 … K − 1 as int64.
    default : int, optional
        Label of points without a finite distance to any prototype (NaN, infinity, overflow).
        Without a default such points are an error.

    Returns
    -------
    array, (N, H, W)
        In the dtype of `labels`.

    Raises
    ------
    ValueError
        If a shape or a dtype does not fit, or a point lies in no region and there is no default.
    """
    equation = "label.prototypes"
    checks.rank(equation, "x", x, "N C H W")
    checks.rank(equation, "prototypes", prototypes, "K C")
    checks.floats(equation, x=x, prototypes=prototypes)
    if prototypes.shape[1] != x.shape[1] or 0 in prototypes.shape:
        checks.fail(
            equation,
            "features and prototypes do not fit",
            expected="equal C ≥ 1, and K ≥ 1",
            actual=f"x {checks.shape('N C H W', x)}, prototypes {checks.shape('K C', prototypes)}",
        )
    labels = _labels(equation, labels, len(prototypes), "prototypes", x)
    _check_default(equation, default, labels)
    label_map, outside = run(equation, x, prototypes, labels, default=default)
    _refuse_outside(equation, x, outside, default)
    return label_map


def _labels(equation, labels, count, of, like):
    """The labels as an integer array on the device of x, one for each region."""
    labels = np.arange(count, dtype=np.int64, like=like) if labels is None else np.asarray(labels, like=like)
    if labels.dtype.kind not in "iu":
        checks.fail(equation, "the labels are not integers", expected="an integer dtype", actual=f"labels: {labels.dtype}")
    if labels.shape != (count,):
        checks.fail(
            equation,
            f"the labels do not fit the {of}",
            expected=f"labels (K,) = ({count},), one each",
            actual=f"labels.shape = {labels.shape}",
        )
    return labels


def _check_default(equation, default, labels):
    if default is None:
        return
    limits = np.iinfo(labels.dtype)
    whole = isinstance(default, int | np.integer) and not isinstance(default, bool)
    if not whole or not limits.min <= default <= limits.max:
        checks.fail(
            equation,
            "the default label does not fit",
            expected=f"an integer that {labels.dtype} holds, as the labels",
            actual=f"default = {default!r}",
        )


def _refuse_outside(equation, x, outside, default):
    """Raise if a point lies in no region and there is no default. On a GPU the CPU waits for `outside` here."""
    if default is not None or not computes() or not len(x) or int(outside[0]) < 0:
        return
    n, rest = divmod(int(outside[0]), x.shape[2] * x.shape[3])
    i, j = divmod(rest, x.shape[3])
    values = [float(value) for value in x[n, :8, i, j]]
    shown = f"{values[0]:.9g}" if x.shape[1] == 1 else f"({', '.join(f'{v:.9g}' for v in values)}{', …' if x.shape[1] > 8 else ''})"
    checks.fail(
        equation,
        "a point lies in no region",
        expected="every point in a region, or a default label",
        actual=f"x = {shown} at n = {n}, i = {i}, j = {j} (the first such point)",
        hint="default=255, or regions that reach to -inf and inf",
    )
