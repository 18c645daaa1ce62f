"""``ms.check``: compare a reader's own function with an equation's oracle, and say where it differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minisegnet_kernels import registry

_PLAIN = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}

# An exercise: the axes of the result, in the equation's letters; growing sizes, so that
# the first failure is the smallest; the arguments and options for a size.
_EXERCISES: dict[str, tuple[str, Callable[..., tuple[list, dict]]]] = {
    "conv2d.forward": ("n o i j", lambda a: ([a("x"), a("w"), a("b")], _PLAIN)),
    "conv2d.grad_weight": ("o c u v", lambda a: ([a("g"), a("x")], {"kernel_size": (3, 3), **_PLAIN})),
    "conv2d.grad_input": ("n c k l", lambda a: ([a("g"), a("w")], {"input_size": a.size, **_PLAIN})),
    "conv2d.grad_bias": ("o", lambda a: ([a("g")], {})),
    "activation.relu": ("n c i j", lambda a: ([a("x")], {})),
}
_SIZES = [(1, 1, 1, 3, 3), (1, 1, 1, 4, 5), (1, 2, 1, 4, 5), (1, 1, 3, 4, 5), (2, 3, 2, 5, 6)]


class _Arguments:
    """Random arrays of the right shapes for one size (N, C, O, H, W) and a 3 × 3 kernel."""

    def __init__(self, N: int, C: int, O: int, H: int, W: int):
        self.size = (H, W)
        self._shapes = {"x": (N, C, H, W), "w": (O, C, 3, 3), "b": (O,), "g": (N, O, H - 2, W - 2)}
        self._rng = np.random.default_rng(0)

    def __call__(self, name: str) -> np.ndarray:
        return self._rng.integers(-3, 4, self._shapes[name]).astype(np.float64)


def check(id: str, function: Callable[..., Any]) -> bool:
    """Compare a function with the oracle of an equation, on shapes of growing size, and print the result.

    Parameters
    ----------
    id : str
        An equation that has an exercise: ``conv2d.forward``, ``conv2d.grad_weight``, ...
    function : callable
        Takes the equation's arrays, in order, and computes it for stride 1 without padding. Returning None means "not written yet".

    Returns
    -------
    bool
        Whether all results agree.

    Raises
    ------
    KeyError
        If the equation has no exercise.
    """
    if id not in _EXERCISES:
        raise KeyError(f"no exercise for {id!r}; there are {', '.join(_EXERCISES)}")
    axes, build = _EXERCISES[id]
    for sizes in _SIZES:
        arrays, options = build(_Arguments(*sizes))
        expected = registry.get(id).oracle(*arrays, **options)
        try:
            actual = function(*[a.copy() for a in arrays])
        except Exception as error:
            print(f"✗ {id}: for shapes {_shapes(arrays)} it raised {type(error).__name__}: {error}")
            return False
        if actual is None:
            print(f"… {id}: not yet (the function returned None)")
            return False
        problem = _difference(np.asarray(actual), expected, axes)
        if problem:
            print(f"✗ {id}: for shapes {_shapes(arrays)} {problem}")
            return False
    print(f"✓ {id}: equal to the oracle on {len(_SIZES)} sizes")
    return True


def _shapes(arrays: list[np.ndarray]) -> str:
    return ", ".join(str(a.shape) for a in arrays)


def _difference(actual: np.ndarray, expected: np.ndarray, axes: str) -> str:
    if actual.shape != expected.shape:
        return f"the result must have shape {expected.shape} ({axes}), and has {actual.shape}"
    wrong = ~np.isclose(actual, expected, rtol=1e-9, atol=1e-9)
    if not wrong.any():
        return ""
    first = np.unravel_index(int(wrong.argmax()), wrong.shape)
    place = ", ".join(f"{letter} = {k}" for letter, k in zip(axes.split(), first, strict=True))
    hint = "the sign is the other way round" if np.allclose(actual, -expected) else f"{wrong.sum()} of {wrong.size} values differ"
    return f"the first wrong value is at {place}: expected {expected[first]:g}, got {actual[first]:g} ({hint})"
