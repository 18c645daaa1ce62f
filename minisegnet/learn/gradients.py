"""``ms.check_grads``: the gradients of a reader's function against central differences, one argument after the other."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .verdict import Grid, Verdict

_STEP = 1e-5


def check_grads(
    function: Callable[..., Any], gradients: Callable[..., Any], *arrays: Any, names: Sequence[str] | None = None, seed: int = 0
) -> Verdict:
    """Compare the gradients of a reader's function with central differences, one argument after the other.

    Each gradient is tested with a random g: with a g of ones, a gradient that is flipped in space would pass.

    Parameters
    ----------
    function : callable (*arrays) -> array
        The function to differentiate. Its inputs should be clear of ties and kinks.
    gradients : callable (g, *arrays) -> tuple of arrays
        The gradient with respect to each array of ``L = (g * function(*arrays)).sum()``. None or ``...`` in the tuple stands for one
        that is not written yet.
    *arrays : array_like
        The arguments at which the gradients are tested.
    names : sequence of str, optional
        Names of the arrays, for the messages; by default those of the function's parameters.
    seed : int
        The seed from which the random g is drawn.

    Returns
    -------
    Verdict
        One part for each argument; true if all gradients are right.

    Examples
    --------
    >>> check_grads(lambda a, b: a * b, lambda g, a, b: (g * b, g * b), [1.0, 2.0], [3.0, 5.0])
    ✓ ∂L/∂a: equal to central differences
    ✗ ∂L/∂b: first wrong value: ∂L/∂b[0]: expected 0.12573, got 0.37719 (2 of 2 values are wrong)
    <BLANKLINE>
      ∂L/∂b[:] expected        got
         0.12573 -0.26421    [0.37719] -0.66053*
    """
    given = [np.array(a, dtype=float) for a in arrays]
    names = list(names or inspect.signature(function).parameters)[: len(given)]
    y = np.asarray(function(*copy.deepcopy(given)))
    g = np.random.default_rng(seed).normal(size=y.shape)
    try:
        made = gradients(g.copy(), *copy.deepcopy(given))
    except NotImplementedError:
        made = None
    if made is None or made is Ellipsis:
        return Verdict("gradients", "not yet", ["not yet: the function returns no gradient"])
    made = made if isinstance(made, tuple | list) else (made,)
    if len(made) != len(given):
        return Verdict("gradients", "wrong", [f"{len(given)} gradients are expected ({', '.join(names)}), and there are {len(made)}"])
    parts = [_gradient(function, k, name, given, g, mine) for k, (name, mine) in enumerate(zip(names, made, strict=True))]
    state = next((state for state in ("wrong", "not yet") if any(part.state == state for part in parts)), "right")
    return Verdict("gradients", state, [], parts=parts)


def _gradient(function: Callable, k: int, name: str, arrays: list[np.ndarray], g: np.ndarray, mine: Any) -> Verdict:
    subject = f"∂L/∂{name}"
    if mine is None or mine is Ellipsis:
        return Verdict(subject, "not yet", ["not yet"])
    mine, expected = np.asarray(mine), _differences(function, k, arrays, g)
    if mine.dtype.kind not in "biuf":
        return Verdict(subject, "wrong", [f"it has to be an array of numbers, and its type is {mine.dtype}"])
    if mine.shape != expected.shape:
        hint = "; what was broadcast has to be summed back" if mine.size > expected.size else ""
        return Verdict(subject, "wrong", [f"it has to have the shape of {name}, {expected.shape}, and it has {mine.shape}{hint}"])
    if _near(mine, expected):
        return Verdict(subject, "right", ["equal to central differences"])
    mistake = next((sentence for sentence, other in _gradient_mistakes(function, k, arrays, g, expected) if _near(mine, other)), "")
    expected = np.where(np.isclose(mine, expected, rtol=1e-5, atol=1e-6), mine, expected)  # what agrees is not painted
    grid = Grid(subject, (), expected, mine)
    return Verdict(subject, "wrong", [f"first wrong value: {grid.sentence()}"], grid, mistake)


def _differences(function: Callable, k: int, arrays: list[np.ndarray], g: np.ndarray) -> np.ndarray:
    """Central differences of ``(g * function(*arrays)).sum()`` with respect to array k."""
    made = np.zeros_like(arrays[k])
    for at in np.ndindex(made.shape):
        sides = []
        for step in (_STEP, -_STEP):
            moved = copy.deepcopy(arrays)
            moved[k][at] += step
            sides.append((g * np.asarray(function(*moved))).sum())
        made[at] = (sides[0] - sides[1]) / (2 * _STEP)
    return made


def _near(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-5, atol=1e-6))


def _gradient_mistakes(
    function: Callable, k: int, arrays: list[np.ndarray], g: np.ndarray, right: np.ndarray
) -> list[tuple[str, np.ndarray]]:
    made = [
        ("the sign is wrong", -right),
        ("it is twice too large", 2 * right),
        ("it is half as large as it has to be", right / 2),
        ("g is not used (1 stands in its place)", _differences(function, k, arrays, np.ones_like(g))),
        ("all values are 0", np.zeros_like(right)),
    ]
    if g.ndim >= 2:
        made.append(("g is turned by 180°", _differences(function, k, arrays, g[..., ::-1, ::-1])))
    if right.ndim >= 2:
        made += [("it is turned by 180°", right[..., ::-1, ::-1]), ("its last two axes are exchanged", right.swapaxes(-1, -2))]
    for other in range(len(arrays)):
        if other != k:
            made.append((f"it is the gradient with respect to argument {other + 1}", _differences(function, other, arrays, g)))
    return made
