"""``ms.check``: try a reader's own function on small inputs, say where it first goes wrong, and recognise the mistake.

An answer is compared with the equation's literal loops on the inputs of `cases`. If it is wrong, it is compared with the results of
known `mistakes`, among them every slip that can be made in the formula.
"""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from minisegnet_kernels import registry

from . import mathml
from .cases import Case, cases
from .extra import find, read
from .mistakes import Mistake, element, mistakes, right, updated
from .verdict import Grid, Verdict, close

# Equations whose first result is all that a reader has to compute; the other results serve the gradients.
_FIRST_IS_ENOUGH = ("label", "batch_norm")


class _NotYet(Exception):
    """The function is a stub, or one of its results is."""


def check(id: str, function: Callable[..., Any]) -> Verdict:
    """Compare a function with an equation, on inputs of growing size.

    Parameters
    ----------
    id : str
        An equation: ``"conv2d.forward"``, ``"pool2d.grad_input"``, ...; `minisegnet equation` lists all 45. The tutorials add ``"metrics.iou"`` and ``"probability.softmax"``.
    function : callable
        It takes the equation's arrays, in order, and returns its result, or a tuple of its results. Those options that it names, such as
        ``stride``, are passed in the form that the literal loops take; the others stay at their defaults. An equation that updates its
        arguments in place, such as ``optimiser.sgd``, has to do that here too.

    Returns
    -------
    Verdict
        True if all results agree. Otherwise it names the smallest input on which they differ, the first wrong value, and the mistake if it
        is a known one. A function that returns None, or raises NotImplementedError, is "not yet" right.

    Raises
    ------
    ValueError
        If there is no such equation; the message names the nearest ids.

    Examples
    --------
    >>> check("activation.relu", lambda x: np.maximum(x, 0))
    ✓ activation.relu: equal to the literal loops on 3 inputs
    >>> print(check("conv2d.grad_bias", lambda g: g.mean((0, 2, 3))).lines[1])
    first wrong value: bbar[o=0]: expected -1, got -0.16667
    """
    equation = find(id)
    if not callable(function):
        if function is None or function is Ellipsis:
            return Verdict(id, "not yet", ["not yet: there is no function"])
        raise TypeError(f"check takes a function of ({', '.join(equation.arguments)}), and got {type(function).__name__}")
    accepted, problem = _accepted(equation, function)
    if problem:
        return Verdict(id, "wrong", [problem])
    tried: list[tuple[Case, tuple]] = []
    everything = cases(id, accepted)
    for arrays, options in everything:
        try:
            actual = _run(equation, function, arrays, options, accepted)
        except _NotYet as reason:
            return Verdict(id, "not yet", [f"not yet: {reason}"])
        except Exception as error:
            return Verdict(id, "wrong", _raised(error, equation, arrays, options, accepted))
        tried.append(((arrays, options), actual))
        problem, grid = _difference(equation, actual, right(equation, arrays, options))
        if problem or grid:
            lines = [f"wrong for {_described(equation, arrays, options, accepted)}"]
            lines += [problem] if problem else []
            lines += [f"first wrong value: {grid.sentence()}"] if grid else []
            complete = len(actual) == len(right(equation, arrays, options)) or grid is not None
            found = _recognised(equation, function, accepted, tried, everything, grid) if complete else None
            return Verdict(id, "wrong", lines, grid, *_told(equation, found))
    return Verdict(id, "right", [f"equal to the literal loops on {len(everything)} inputs"])


def _accepted(equation: registry.Equation, function: Callable) -> tuple[set[str], str]:
    """The options that a function takes, and what is wrong with its arguments; empty if nothing is."""
    options = {p.name for p in inspect.signature(equation.oracle).parameters.values() if p.kind is p.KEYWORD_ONLY}
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function of a compiled module
        return set(), ""
    parameters = signature.parameters.values()
    accepted = options if any(p.kind is p.VAR_KEYWORD for p in parameters) else options & signature.parameters.keys()
    try:
        signature.bind(*equation.arguments, **dict.fromkeys(accepted))
    except TypeError as error:
        given = ", ".join(map(str, parameters))
        return accepted, f"the function has to take ({', '.join(equation.arguments)}), and it takes ({given}): {error}"
    return accepted, ""


def _run(equation: registry.Equation, function: Callable, arrays: list, options: dict, accepted: set[str]) -> tuple:
    """The results of the reader's function, on arrays of its own."""
    given = copy.deepcopy(arrays)
    try:
        made = function(*given, **{name: options[name] for name in accepted})
    except NotImplementedError:
        raise _NotYet("the function raises NotImplementedError") from None
    in_place = isinstance(arrays[0], list)
    if in_place:
        if made is None or made is Ellipsis:
            made = updated(given)
            if all(np.array_equal(a, b) for a, b in zip(made, updated(arrays), strict=True)):
                raise _NotYet("the function leaves its arguments as they are")
        return tuple(map(np.asarray, made))
    if made is None or made is Ellipsis:
        raise _NotYet(f"the function returns {made}")
    for name, before, after in zip(equation.arguments, arrays, given, strict=True):
        if not np.array_equal(before, after):
            raise ValueError(f"the function changes its argument {name}; work on a copy")
    made = made if isinstance(made, tuple) else (made,)
    for k, part in enumerate(made):
        if part is None or part is Ellipsis:
            raise _NotYet(f"result {k + 1} of {len(made)} is {part}")
    return tuple(np.asarray(part) for part in made)


def _difference(equation: registry.Equation, actual: tuple, expected: tuple) -> tuple[str, Grid | None]:
    """What is wrong with the number or the shape of the results; and the first wrong value, if shapes agree."""
    if len(actual) != len(expected) and not (len(actual) == 1 and equation.operation in _FIRST_IS_ENOUGH):
        names = ", ".join(_names(equation, len(expected)))
        return (
            f"the function has to return {len(expected)} {'arrays' if len(expected) > 1 else 'array'} ({names}), and it returns {len(actual)}",
            None,
        )
    for name, a, b in zip(_names(equation, len(expected)), actual, expected, strict=False):
        letters = _letters(equation, name)
        if a.dtype.kind not in "biuf":
            return f"{name} has to be an array of numbers, and its type is {a.dtype}", None
        if a.shape != b.shape:
            axes = f" ({', '.join(letters)})" if len(letters) == b.ndim and letters else ""
            return f"{name} has to have the shape {b.shape}{axes}, and it has {a.shape}", None
        if not close(a, b).all():
            return "", Grid(name, letters, b, a)
    return "", None


def _names(equation: registry.Equation, count: int) -> list[str]:
    formula = read(equation.id)
    if equation.shape.__code__.co_argcount == 0:  # updates in place: the arrays of every list
        return [f"{name}{k}" for name in equation.arguments for k in range(count // len(equation.arguments))]
    return equation.returns.split() or [formula.statements[0].name]


def _letters(equation: registry.Equation, name: str) -> tuple[str, ...]:
    definition = read(equation.id).definitions.get(name)
    return definition.letters if definition else ()


def _described(equation: registry.Equation, arrays: list, options: dict, accepted: set[str]) -> str:
    """The input: ``x (1, 1, 2, 3), w (1, 1, 2, 3), b (1,), stride (2, 1)``."""
    shown = [
        f"{name} {np.shape(a)}" if not isinstance(a, list) else f"{name} of {len(a)}"
        for name, a in zip(equation.arguments, arrays, strict=True)
    ]
    return ", ".join(shown + [f"{name} = {options[name]}" for name in options if name in accepted])


def _raised(error: Exception, equation: registry.Equation, arrays: list, options: dict, accepted: set[str]) -> list[str]:
    """The error, the line of the reader's function, and what may help."""
    lines = [f"for {_described(equation, arrays, options, accepted)} it raised {type(error).__name__}: {error}"]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__ and frame.line]
    if frames:
        lines.append(f"in the line: {frames[0].line}")
    if "broadcast" in str(error):
        lines.append("shapes are compared from the right: an array of one number for each channel needs axes after it, b[:, None, None]")
    return lines


def _recognised(
    equation: registry.Equation,
    function: Callable,
    accepted: set[str],
    tried: list[tuple[Case, tuple]],
    everything: list[Case],
    grid: Grid | None,
) -> Mistake | None:
    """The first mistake that gives the reader's results on the input that failed, on all before it, and on the next two."""
    for case in everything[len(tried) : len(tried) + 2]:
        try:
            tried = [*tried, (case, _run(equation, function, *case, accepted))]
        except Exception:
            break
    failed = next(k for k, (case, actual) in enumerate(tried) if any(_difference(equation, actual, right(equation, *case))))
    order = [tried[failed], *tried[:failed], *tried[failed + 1 :]]
    if all(not np.any(part) for _, actual in order for part in actual):
        return Mistake("all values are 0", lambda *_: ())
    for mistake in mistakes(equation):
        if mistake.slip and grid and grid.letters and not isinstance(order[0][0][0][0], list):
            value = element(mistake, grid.name, grid.first, equation, *order[0][0])
            if value is None or not close(np.asarray(grid.actual[grid.first]), np.asarray(value, float)):
                continue
        if all(_same(mistake.results(equation, *case), actual) for case, actual in order):
            return mistake
    return None


def _same(made: tuple | None, actual: tuple) -> bool:
    """Whether a mistake gives these results. It may give more of them."""
    if made is None or len(made) < len(actual):
        return False
    pairs = list(zip(made, actual, strict=False))
    if any(np.shape(a) != b.shape or b.dtype.kind not in "biuf" for a, b in pairs):
        return False
    return all((close(b, np.asarray(a, float)) | (np.isnan(a) & np.isnan(b))).all() for a, b in pairs)


def _told(equation: registry.Equation, mistake: Mistake | None) -> tuple[str, str]:
    """The sentence of a mistake, and the formula with the slip, painted."""
    if mistake is None:
        return "", ""
    if mistake.slip is None:
        return mistake.sentence, ""
    wrong = mistake.slip.planted(read(equation.id), mark=True)
    return mistake.sentence, mathml.statement(wrong.statements[mistake.slip.statement])
