"""Optimisers: the front door. It checks the arguments and runs the selected view.

Equations: ``optimiser.sgd``, ``optimiser.adam``, ``optimiser.rmsprop``. All take lists of arrays, one array for
each parameter, and write their results into these arrays; they return nothing. Parameters with different step counts
(one got its first gradient later) are updated in separate calls.
"""

from __future__ import annotations

import numpy as np

from .. import checks
from ..backends import run
from .rates import only_rates

__all__ = ["adam", "rmsprop", "sgd"]


def sgd(theta, g, v=None, *, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, first=False):
    """One step of stochastic gradient descent (equation ``optimiser.sgd``).

    Parameters
    ----------
    theta : list of arrays
        Parameters; updated.
    g : list of arrays
        Their gradients.
    v : list of arrays, optional
        Velocities; updated. Without momentum they are neither read nor written, and may be None.
    lr, momentum, dampening, weight_decay : float
    nesterov : bool
        Look one step ahead along the velocity. Needs a momentum and no dampening.
    first : bool
        Whether this is the first step of these parameters: the velocity becomes the gradient, whatever it was before.

    Raises
    ------
    ValueError
        If the lists do not fit, if an array cannot be updated in place, or if an option is
        out of range.
    """
    equation = "optimiser.sgd"
    _check_range(equation, 0, np.inf, lr=lr, momentum=momentum, weight_decay=weight_decay)
    if nesterov and (momentum == 0 or dampening != 0):
        checks.fail(
            equation,
            "nesterov needs a momentum and no dampening",
            expected="momentum > 0 and dampening = 0",
            actual=f"momentum = {momentum}, dampening = {dampening}",
        )
    if v is None and momentum != 0:
        checks.fail(
            equation, "momentum without velocities", expected="v, a list of arrays like theta", actual=f"v = None, momentum = {momentum}"
        )
    v = theta if v is None else v  # a stand-in that fits and stays untouched
    _check_lists(equation, updated=("theta", "v") if momentum else ("theta",), theta=theta, g=g, v=v)
    options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
    run(equation, theta, g, v, **{k: float(o) for k, o in options.items()}, nesterov=bool(nesterov), first=bool(first))


def adam(theta, g, m, v, *, step, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False):
    """One step of Adam, or with `decoupled` of AdamW (equation ``optimiser.adam``).

    Parameters
    ----------
    theta : list of arrays
        Parameters; updated.
    g : list of arrays
        Their gradients.
    m, v : list of arrays
        First and second moments, zeros before the first step; updated.
    step : int
        1 for the first step.
    lr, beta1, beta2, eps, weight_decay : float
    decoupled : bool
        Weight decay shrinks the parameters themselves (AdamW) instead of joining the gradient.

    Raises
    ------
    ValueError
        If the lists do not fit, if an array cannot be updated in place, or if an option is
        out of range.
    """
    equation = "optimiser.adam"
    _check_range(equation, 0, np.inf, lr=lr, eps=eps, weight_decay=weight_decay)
    _check_range(equation, 0, 1, beta1=beta1, beta2=beta2)
    if step < 1 or int(step) != step:
        checks.fail(equation, "step does not fit", expected="step: an int ≥ 1, counted from the first update", actual=f"step = {step!r}")
    _check_lists(equation, updated=("theta", "m", "v"), theta=theta, g=g, m=m, v=v)
    options = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
    run(equation, theta, g, m, v, step=int(step), **{k: float(o) for k, o in options.items()}, decoupled=bool(decoupled))


def rmsprop(theta, g, v, m=None, b=None, *, lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    """One step of RMSprop (equation ``optimiser.rmsprop``).

    Parameters
    ----------
    theta : list of arrays
        Parameters; updated.
    g : list of arrays
        Their gradients.
    v : list of arrays
        Moving averages of the squared gradients, zeros before the first step; updated.
    m : list of arrays, optional
        Moving averages of the gradients, zeros before the first step; updated if `centered`, otherwise unused.
    b : list of arrays, optional
        Velocities, zeros before the first step; updated with a momentum, otherwise unused.
    lr, alpha, eps, weight_decay, momentum : float
    centered : bool
        Divide by the deviation of the gradient instead of its root mean square.

    Raises
    ------
    ValueError
        If the lists do not fit, if an array cannot be updated in place, or if an option is
        out of range.
    """
    equation = "optimiser.rmsprop"
    _check_range(equation, 0, np.inf, lr=lr, eps=eps, weight_decay=weight_decay, momentum=momentum)
    if not 0 <= alpha <= 1:
        checks.fail(equation, "alpha is out of range", expected="0 ≤ alpha ≤ 1", actual=f"alpha = {alpha!r}")
    for name, arrays, needed, option in (("m", m, centered, "centered = True"), ("b", b, momentum != 0, f"momentum = {momentum}")):
        if arrays is None and needed:
            checks.fail(equation, f"{name} is missing", expected=f"{name}, a list of arrays like theta", actual=f"{name} = None, {option}")
    m, b = (theta if arrays is None else arrays for arrays in (m, b))  # stand-ins that fit and stay untouched
    updated = ("theta", "v", *["m"] * bool(centered), *["b"] * (momentum != 0))
    _check_lists(equation, updated=updated, theta=theta, g=g, v=v, m=m, b=b)
    options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
    run(equation, theta, g, v, m, b, **{k: float(o) for k, o in options.items()}, centered=bool(centered))


def _check_range(equation, low, high, **options):
    for name, value in options.items():
        if not low <= value < high:
            bound = f"0 ≤ {name} < {high}" if np.isfinite(high) else f"{name} ≥ 0, and finite"
            checks.fail(equation, f"{name} is out of range", expected=bound, actual=f"{name} = {value!r}")


def _check_lists(equation, updated, **lists):
    """Lists of one length; at each place arrays of one shape and dtype, in one memory form. Not again for the replay of a captured step."""
    if only_rates():
        return
    for name, arrays in lists.items():
        if not isinstance(arrays, list):
            checks.fail(
                equation,
                f"{name} is not a list",
                expected="a list of arrays, one per parameter",
                actual=type(arrays).__name__,
                hint=f"[{name}]",
            )
    lengths = {name: len(arrays) for name, arrays in lists.items()}
    if len(set(lengths.values())) > 1:
        checks.fail(
            equation, "the lists differ in length", expected="as many arrays in each list as there are parameters", actual=f"{lengths}"
        )
    for k, arrays in enumerate(zip(*lists.values(), strict=True)):
        if not _fit(arrays):
            _explain(equation, k, dict(zip(lists, arrays, strict=True)))
    for name in updated:
        for k, array in enumerate(lists[name]):
            if not getattr(array.flags, "writeable", True):
                checks.fail(
                    equation,
                    f"{name}[{k}] is read-only",
                    expected="writable arrays, which are updated",
                    actual=f"{name}[{k}].flags.writeable = False",
                    hint=f"{name}[{k}].copy()",
                )


def _fit(arrays) -> bool:
    """Whether arrays can be updated together. Fast, because it runs for every parameter at every step."""
    shape, dtype = getattr(arrays[0], "shape", None), getattr(arrays[0], "dtype", None)
    return dtype in checks.FLOATS and all(
        hasattr(a, "flags") and a.shape == shape and a.dtype == dtype and a.flags.c_contiguous for a in arrays
    )


def _explain(equation, k, arrays):
    """Raise the error for the arrays at place k, which `_fit` has refused."""
    for name, array in arrays.items():
        if not hasattr(array, "flags"):
            checks.fail(
                equation,
                f"{name}[{k}] is not an array",
                expected="an array for every parameter",
                actual=type(array).__name__,
                hint="leave out parameters that have no gradient",
            )
    checks.floats(equation, **{f"{name}[{k}]": array for name, array in arrays.items()})
    shapes = {f"{name}[{k}]": tuple(array.shape) for name, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        checks.fail(equation, f"the shapes at place {k} differ", expected=f"all of the shape of theta[{k}]", actual=f"{shapes}")
    name = next(name for name, array in arrays.items() if not array.flags.c_contiguous)
    checks.fail(
        equation,
        f"{name}[{k}] is not contiguous",
        expected="C-contiguous arrays, which can be updated in place",
        actual=f"{name}[{k}].strides = {arrays[name].strides}",
        hint="np.ascontiguousarray(...) when the parameter is made",
    )
