"""Inputs at the corners of an equation: windows that extend past the padding, points in no region, batches in which no pixel counts, ...

Random inputs do not reach them, and some slips show nowhere else. `minisegnet.learn.cases.cases` adds them for a function that
takes the options that they need.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from minisegnet_kernels import registry
from minisegnet_kernels.pool2d.formula import pooled_size

Case = tuple[list[Any], dict[str, Any]]


def corners(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    """Arguments and options, in the form that the equation's literal loops take; `accepted` are the options that the function takes."""
    for arrays, options in _CORNERS.get(equation.operation, lambda name: iter(()))(equation.name):
        if options.keys() <= accepted:
            yield [arrays[a] for a in equation.arguments], options


def _windows_over_the_edge(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Averages of windows that extend past the padding at the bottom and right; padding counts or does not count."""
    if name not in ("average", "grad_average"):
        return
    for (H, W), (U, V), padding, counts in product(
        ((5, 4), (4, 6)), ((3, 2), (2, 3)), (((1, 0), (0, 1)), ((0, 1), (1, 0)), ((0, 0), (1, 1))), (True, False)
    ):
        P, Q = (pooled_size(size, k, 2, pad, 1, True) for size, k, pad in zip((H, W), (U, V), padding, strict=True))
        arrays = {"x": np.arange(1.0, H * W + 1).reshape(1, 1, H, W), "g": np.arange(1.0, P * Q + 1).reshape(1, 1, P, Q)}
        options = {"kernel_size": (U, V), "stride": (2, 2), "padding": padding, "count_include_pad": counts}
        yield arrays, options | ({"ceil_mode": True} if name == "average" else {"input_size": (H, W)})


def _points_in_no_region(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """A point at infinity is nearest to no prototype."""
    if name == "prototypes":
        for n, i, j in ((1, 1, 2), (0, 1, 0), (1, 0, 1)):
            x = np.arange(24.0).reshape(2, 2, 2, 3)
            x[n, 1, i, j] = np.inf
            yield {"x": x, "p": np.array([[1.0, 0.0], [0.0, 30.0]]), "l": np.array([4, 7])}, {"default": 3}


def _pixels_that_do_not_count(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """No pixel counts; one counts; one counts, but its class has the weight 0; two count, with different weights."""
    x = np.array([[[[1.0, 2.0, 0.5]], [[0.0, -1.0, 0.25]]]])
    targets = (([255, 255, 255], [1.0, 2.0]), ([0, 255, 255], [1.0, 2.0]), ([0, 255, 255], [0.0, 2.0]), ([0, 1, 255], [0.5, 2.0]))
    for reduction, (t, w) in product(("mean", "sum", "none"), targets):
        g = np.array([[[3.0, 2.0, 1.0]]]) if reduction == "none" else np.array(3.0)
        arrays = {"g": g, "x": x, "t": np.array([[t]]), "w": np.array(w)}
        yield arrays, {"ignore_index": 255, "label_smoothing": 0.1, "reduction": reduction}


def _a_relu_of_exactly_zero(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    if name in ("grad_affine_relu", "grad_input_relu"):
        one = np.ones(1)
        normalised = {"gamma": one, "beta": one / 2, "mu": one / 2, "rho": one}  # y = x
        above = {"g": np.array([[[[3.0, 2.0, 1.0]]]]), "gammabar": 2 * one, "betabar": 3 * one}
        yield {"x": np.array([[[[-1.0, 0.0, 1.0]]]]), **normalised, **above}, {}


def _results_of_one_and_two_rows(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """With `align_corners`, the distance between rows divides by P − 1, or by 1 if there is one row: P = 1 and P = 2."""
    if "bilinear" in name:
        for (P, Q), corners_meet in product(((1, 5), (5, 1), (2, 5), (5, 2)), (False, True)):
            arrays = {"x": np.arange(12.0).reshape(1, 1, 3, 4) ** 2, "g": np.arange(1.0, P * Q + 1).reshape(1, 1, P, Q)}
            size = {"input_size": (3, 4)} if "grad" in name else {"output_size": (P, Q)}
            yield arrays, size | {"align_corners": corners_meet}


_CORNERS = {
    "pool2d": _windows_over_the_edge,
    "label": _points_in_no_region,
    "cross_entropy": _pixels_that_do_not_count,
    "batch_norm": _a_relu_of_exactly_zero,
    "resize": _results_of_one_and_two_rows,
}
