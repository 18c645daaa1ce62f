"""Activations: the front door. It checks the arguments and runs the selected view.

Equations: ``activation.relu``, ``activation.grad_relu``, ``activation.leaky_relu``,
``activation.grad_leaky_relu``. (Sigmoid and softmax are plain array arithmetic.)
"""

from __future__ import annotations

from .. import checks
from ..backends import run

__all__ = ["grad_leaky_relu", "grad_relu", "leaky_relu", "relu"]


def relu(x):
    """Replace negative values by zero (equation ``activation.relu``).

    Parameters
    ----------
    x : array, any shape

    Returns
    -------
    array, the shape of x

    Raises
    ------
    ValueError
        If the dtype is not float32 or float64.
    """
    checks.floats("activation.relu", x=x)
    return run("activation.relu", x)


def grad_relu(g, y):
    """Gradient for the input of `relu` (equation ``activation.grad_relu``).

    Parameters
    ----------
    g, y : array, any shape
        Gradient for the output, and the output itself, which replaces x here: x need not be kept.

    Returns
    -------
    array, the shape of y

    Raises
    ------
    ValueError
        If the shapes or the dtypes differ.
    """
    _check_pair("activation.grad_relu", g, "y", y)
    return run("activation.grad_relu", g, y)


def leaky_relu(x, *, slope=0.01):
    """Multiply negative values by a slope (equation ``activation.leaky_relu``).

    Parameters
    ----------
    x : array, any shape
    slope : float
        The factor below zero.

    Returns
    -------
    array, the shape of x

    Raises
    ------
    ValueError
        If the dtype is not float32 or float64.
    """
    checks.floats("activation.leaky_relu", x=x)
    return run("activation.leaky_relu", x, slope=float(slope))


def grad_leaky_relu(g, x, *, slope=0.01):
    """Gradient for the input of `leaky_relu` (equation ``activation.grad_leaky_relu``).

    Parameters
    ----------
    g, x : array, any shape
        Gradient for the output, and the input. The output would not do: with a slope of 0 or below
        it does not determine the sign of the input.
    slope : float

    Returns
    -------
    array, the shape of x

    Raises
    ------
    ValueError
        If the shapes or the dtypes differ.
    """
    _check_pair("activation.grad_leaky_relu", g, "x", x)
    return run("activation.grad_leaky_relu", g, x, slope=float(slope))


def _check_pair(equation, g, name, array):
    checks.floats(equation, g=g, **{name: array})
    if g.shape != array.shape:
        checks.fail(
            equation,
            f"g and {name} do not fit",
            expected=f"g of the shape of {name}, {tuple(array.shape)}",
            actual=f"g.shape = {tuple(g.shape)}",
        )
