"""Mistakes that readers make, each a program that computes the wrong result. `minisegnet.learn.check` compares a wrong answer with them.

A mistake in one place of the formula is a slip, and `slips` derives slips from the formula itself. This file has the others: a kernel that
is turned, a result with its axes exchanged, an option that is not used, a padding with the wrong values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from minisegnet_kernels import registry

from .extra import read
from .formulas import FormulaError
from .slips import Slip, slips

Arrays = list[Any]
Options = dict[str, Any]
Program = Callable[[registry.Equation, Arrays, Options], tuple]
_CANNOT = (FormulaError, ArithmeticError, ValueError, KeyError, TypeError, IndexError)


class Mistake(NamedTuple):
    """A mistake: what it is, in words that complete "Your result equals the equation, but ...", and a program that makes it."""

    sentence: str
    program: Program
    slip: Slip | None = None

    def results(self, equation: registry.Equation, arrays: Arrays, options: Options) -> tuple | None:
        """What the mistake computes; None if it cannot be made with these arguments."""
        try:
            with np.errstate(all="ignore"):
                return self.program(equation, copy.deepcopy(arrays), options)
        except _CANNOT:
            return None


def element(mistake: Mistake, name: str, place: tuple[int, ...], equation: registry.Equation, arrays: Arrays, options: Options) -> Any:
    """One value of a result with a slip; None if it cannot be computed. One value costs a fraction of what all values cost."""
    try:
        planted = mistake.slip.planted(read(equation.id))  # type: ignore[union-attr]
        return planted.element(name, place, dict(zip(equation.arguments, arrays, strict=True)), options, _shapes(equation, arrays, options))
    except _CANNOT:
        return None


def right(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
    """What the literal loops compute; for an equation that updates its arguments, the arrays afterwards, one after another."""
    given = copy.deepcopy(arrays)
    results = equation.oracle(*given, **options)
    return updated(given) if results is None else results if isinstance(results, tuple) else (results,)


def updated(lists: Arrays) -> tuple:
    return tuple(a for arrays in lists for a in arrays)


def mistakes(equation: registry.Equation) -> Iterator[Mistake]:
    """The mistakes that can be made with an equation, the most telling first."""
    for operations, names, mistake in _TABLE:
        if (not operations or equation.operation in operations) and (not names or any(name in equation.name for name in names)):
            yield mistake
    for slip in slips(read(equation.id)):
        yield Mistake(slip.sentence, _program(slip), slip)


def _shapes(equation: registry.Equation, arrays: Arrays, options: Options) -> dict[str, tuple[int, ...]]:
    """The shape of each result."""
    names = equation.returns.split() or [read(equation.id).statements[0].name]
    return {name: shape for name, (shape, _) in zip(names, equation.results(*arrays, **options), strict=False)}


def _program(slip: Slip) -> Program:
    def program(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
        shapes = _shapes(equation, arrays, options)
        made = slip.planted(read(equation.id))(dict(zip(equation.arguments, arrays, strict=True)), options, shapes)
        if shapes:
            return tuple(made[name] for name in shapes)
        return updated([made.get(name, given) for name, given in zip(equation.arguments, arrays, strict=True)])

    return program


# --- how a mistake is made ---------------------------------------------------------------------------


def _with(name: str, change: Callable[[np.ndarray], Any]) -> Program:
    """An argument is changed before the equation is computed."""

    def program(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
        k = equation.arguments.index(name)
        return right(equation, [*arrays[:k], change(arrays[k]), *arrays[k + 1 :]], options)

    return program


def _option(change: Callable[[Options], Options]) -> Program:
    """An option is changed."""

    def program(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
        return right(equation, arrays, {**options, **change(options)})

    return program


def _exchanged(name: str) -> Program:
    return _option(lambda options: {name: options[name][::-1]})


def _result(change: Callable[[np.ndarray], np.ndarray]) -> Program:
    """The first result is changed."""

    def program(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
        first, *others = right(equation, arrays, options)
        return (change(first), *others)

    return program


def _divided(count: Callable[[np.ndarray], int]) -> Program:
    """The gradient of a mean: the result is divided by a number that depends on the shape of g."""
    return lambda equation, arrays, options: tuple(r / count(arrays[0]) for r in right(equation, arrays, options))


def _padded(value: float | str) -> Program:
    """The input is padded with `value` first, and the equation then runs without padding: its windows see cells that should not count."""

    def program(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
        k, pad = equation.arguments.index("x"), [(0, 0), (0, 0), *options["padding"]]
        x = np.pad(arrays[k], pad, mode=value) if isinstance(value, str) else np.pad(arrays[k], pad, constant_values=value)  # type: ignore[call-overload]
        return right(equation, [*arrays[:k], x, *arrays[k + 1 :]], {**options, "padding": ((0, 0), (0, 0))})

    return program


def _chosen_before_weighting(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
    x, w, b = arrays
    m = right(equation, [x, np.ones_like(w), np.zeros_like(b)], options)[1]
    best = right(equation, [x, np.ones_like(w), np.zeros_like(b)], options)[0]
    weights = np.take_along_axis(w.reshape(1, len(w), -1), m.reshape(*m.shape[:2], -1).astype(int), axis=2).reshape(m.shape)
    return weights * best + b[:, None, None], m


def _flat_winners(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
    from minisegnet_kernels.pool2d import flat_indices

    y, m = right(equation, arrays, options)
    kernel = options["kernel_size"] if "kernel_size" in options else arrays[1].shape[1:]
    geometry = {name: options[name] for name in ("stride", "padding", "dilation")}
    return y, np.asarray(flat_indices(m, input_size=arrays[0].shape[2:], kernel_size=kernel, **geometry))


def _statistics(axes: tuple[int, ...], ddof: int = 0) -> Program:
    """Batch normalisation with the statistics of other axes, or with another divisor."""

    def program(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
        x, gamma, beta = arrays
        mu, v = x.mean(axes, keepdims=True), x.var(axes, keepdims=True, ddof=ddof)
        y = gamma[:, None, None] * (x - mu) / np.sqrt(v + options["eps"]) + beta[:, None, None]
        return (np.maximum(y, 0) if equation.name.endswith("relu") else y,)

    return program


def _softmax_along(axis: int) -> Program:
    def program(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
        *before, x, t, w = arrays
        shifted = x - x.max(axis, keepdims=True)
        log = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
        # The equation would apply its own softmax along the classes on top of these values. So the loss is computed here.
        picked = np.take_along_axis(log, t[:, None], axis=1)[:, 0]
        if options != {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "mean"} or before:
            raise ValueError("only the plain loss")
        return (-(w[t] * picked).sum() / w[t].sum(),)

    return program


def _softmax_over(axis: int) -> Program:
    def program(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
        shifted = np.exp(arrays[0] - arrays[0].max(axis, keepdims=True))
        return (shifted / shifted.sum(axis, keepdims=True),)

    return program


def _mean_of_pixels(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
    t, w = arrays[-2], arrays[-1]
    counts = t != options["ignore_index"]
    first, *others = right(equation, arrays, options)
    scale = w[t[counts]].sum() / counts.sum()
    return (first * scale, *(other * scale for other in others))


def _turned(a: np.ndarray) -> np.ndarray:
    return a[..., ::-1, ::-1]


def _first_image(a: np.ndarray) -> np.ndarray:
    return a * (np.arange(len(a)) == 0).reshape(-1, *[1] * (a.ndim - 1))


_FORWARD = ("forward",)
_POOLS = ("forward", "max")
_GEOMETRY = ("conv2d", "pool2d")

# A row for each mistake: the operations and the parts of names for which it is tried (empty: all), its sentence, and its program.
_TABLE: list[tuple[tuple[str, ...], tuple[str, ...], Mistake]] = [
    (("conv2d",), _FORWARD, Mistake("the kernel is turned by 180°", _with("w", _turned))),
    (("conv2d",), ("grad_input",), Mistake("the kernel is not turned by 180°", _with("w", _turned))),
    (("conv2d",), ("grad_weight",), Mistake("the result is turned by 180°", _result(_turned))),
    (("conv2d",), ("grad_weight",), Mistake("g is turned by 180°", _with("g", _turned))),
    (("conv2d",), _FORWARD, Mistake("the rows of the kernel are turned over", _with("w", lambda w: w[..., ::-1, :]))),
    (("conv2d",), _FORWARD, Mistake("the columns of the kernel are turned over", _with("w", lambda w: w[..., ::-1]))),
    (("conv2d", "pool2d"), _FORWARD, Mistake("the bias is missing", _with("b", np.zeros_like))),
    (("conv2d",), _FORWARD, Mistake("the bias is added once for each channel c", lambda e, a, o: right(e, [*a[:2], a[2] * a[1].shape[1]], o))),
    (("conv2d", "pool2d"), _FORWARD, Mistake("the bias is added along the columns j", lambda e, a, o: _bias_along(-1, e, a, o))),
    (("conv2d", "pool2d"), _FORWARD, Mistake("the bias is added along the rows i", lambda e, a, o: _bias_along(-2, e, a, o))),
    (("conv2d",), ("weight", "bias"), Mistake("only the first image of the batch counts", _with("g", _first_image))),
    (("pool2d",), ("weight", "bias"), Mistake("only the first image of the batch counts", _with("g", _first_image))),
    (("conv2d", "pool2d"), ("weight", "bias"), Mistake("it is a mean over n, i, j, where the sum belongs", _divided(lambda g: g.size // g.shape[1]))),
    (("conv2d", "pool2d"), ("weight", "bias"), Mistake("it is a mean over the images n, where the sum belongs", _divided(len))),
    (("conv2d", "pool2d"), ("weight", "bias"), Mistake("it is a mean over i, j, where the sum belongs", _divided(lambda g: g[0, 0].size))),
    (("conv2d", "pool2d"), ("grad",), Mistake("g is not used (1 stands in its place)", _with("g", np.ones_like))),
    (_GEOMETRY, (), Mistake("stride and dilation are exchanged", _option(lambda o: {"stride": o["dilation"], "dilation": o["stride"]}))),
    (_GEOMETRY, (), Mistake("the stride is not used", _option(lambda o: {"stride": (1, 1)}))),
    (_GEOMETRY, (), Mistake("the dilation is not used", _option(lambda o: {"dilation": (1, 1)}))),
    (_GEOMETRY, (), Mistake("the padding is not used", _option(lambda o: {"padding": ((0, 0), (0, 0))}))),
    *[
        (_GEOMETRY, (), Mistake(f"the {name} of rows and columns is exchanged", _exchanged(name)))
        for name in ("stride", "padding", "dilation", "kernel_size")
    ],
    (_GEOMETRY, (), Mistake("the stride of the rows is used for the columns too", _option(lambda o: {"stride": o["stride"][:1] * 2}))),
    (_GEOMETRY, (), Mistake("the padding stands on one side only", _option(lambda o: {"padding": tuple((p, 0) for p, _ in o["padding"])}))),
    (_GEOMETRY, (), Mistake("the padding of one side is used for both sides", _option(lambda o: {"padding": tuple((p, p) for p, _ in o["padding"])}))),
    (("conv2d",), (), Mistake("the groups are not used", _option(lambda o: {"groups": 1}))),
    (("conv2d",), (), Mistake("the border is repeated outside, where zeros belong", _padded("edge"))),
    (("conv2d",), (), Mistake("indices below 0 wrap around to the other side of the image", _padded("wrap"))),
    (("pool2d",), _POOLS, Mistake("the padding is filled with 0 and can win; cells outside have to be left out", _padded(0.0))),
    (("pool2d",), _POOLS, Mistake("the padding is filled with −∞, which a negative weight turns into the largest of all; cells outside have to be left out", _padded(-np.inf))),
    (("pool2d",), _FORWARD, Mistake("the weights are not used", _with("w", np.ones_like))),
    (("pool2d",), _FORWARD, Mistake("the largest x is chosen and weighted afterwards; the largest w·x has to be chosen", _chosen_before_weighting)),
    (("pool2d",), _FORWARD, Mistake("the kernel is turned by 180°", _with("w", _turned))),
    (("pool2d",), _POOLS, Mistake("m is the place of the winner in the image, k·W + l; its place in the window belongs there, u·V + v", _flat_winners)),
    (("pool2d",), _POOLS, Mistake("m counts the places of the window down the columns", lambda e, a, o: _down_the_columns(e, a, o))),
    (("pool2d",), ("average",), Mistake("cells of the padding are counted the other way round", _option(lambda o: {"count_include_pad": not o["count_include_pad"]}))),
    (("label",), (), Mistake("the result holds the numbers of the regions, where their labels l belong", _with("l", lambda l: np.arange(len(l))))),
    (("label",), ("argmax",), Mistake("the smallest score wins", _with("x", np.negative))),
    (("cross_entropy",), (), Mistake("the weights of the classes are not used", _with("w", np.ones_like))),
    (("cross_entropy",), (), Mistake("the sum is divided by the number of pixels, where the sum of their weights Z belongs", _mean_of_pixels)),
    (("cross_entropy",), (), Mistake("the mean is forgotten: the loss is a sum", _option(lambda o: {"reduction": "sum"}))),
    (("cross_entropy",), (), Mistake("the smoothing is not used", _option(lambda o: {"label_smoothing": 0.0}))),
    (("cross_entropy",), (), Mistake("ignored pixels are counted in the last class", lambda e, a, o: right(e, [*a[:-2], np.where(a[-2] == o["ignore_index"], len(a[-1]) - 1, a[-2]), a[-1]], o))),
    (("cross_entropy",), _FORWARD, Mistake("the softmax is taken over the columns, where the classes belong", _softmax_along(3))),
    (("cross_entropy",), _FORWARD, Mistake("the softmax is taken over the rows, where the classes belong", _softmax_along(2))),
    (("cross_entropy",), _FORWARD, Mistake("the softmax is taken over the images, where the classes belong", _softmax_along(0))),
    (("batch_norm",), _FORWARD, Mistake("the statistics are those of the batch at each pixel; they have to be those of a whole channel", _statistics((0,)))),
    (("batch_norm",), _FORWARD, Mistake("every image has statistics of its own; they have to be those of the whole batch", _statistics((2, 3)))),
    (("batch_norm",), _FORWARD, Mistake("the statistics run over all channels together; each channel has its own", _statistics((0, 1, 2, 3)))),
    (("batch_norm",), _FORWARD, Mistake("the variance is divided by M − 1, where M belongs", _statistics((0, 2, 3), ddof=1))),
    (("batch_norm",), (), Mistake("eps is not used", _option(lambda o: {"eps": 0.0}))),
    (("metrics",), (), Mistake("pixels that are 1 in both are counted twice in the denominator", lambda e, a, o: (a[0][a[1] == 1].sum() / (a[0].sum() + a[1].sum()),))),
    (("metrics",), (), Mistake("it is the share of all pixels that are labelled rightly", lambda e, a, o: ((a[0] == a[1]).mean(),))),
    (("probability",), (), Mistake("it is the logarithm of the probability", _result(np.log))),
    (("probability",), (), Mistake("the exponentials overflow: the largest score has to be subtracted first", lambda e, a, o: (np.exp(a[0]) / np.exp(a[0]).sum(1, keepdims=True),))),
    *[
        (("probability",), (), Mistake(f"the sum runs over the {axis}, where it has to run over the classes", _softmax_over(number)))
        for axis, number in (("columns", 3), ("rows", 2), ("images", 0))
    ],
    ((), (), Mistake("every sign is wrong", lambda e, a, o: tuple(-r for r in right(e, a, o)))),
    ((), (), Mistake("the first result has the wrong sign", _result(np.negative))),
    ((), (), Mistake("the result is twice too large", _result(lambda r: 2 * r))),
    ((), (), Mistake("the result is half as large as it has to be", _result(lambda r: r / 2))),
    ((), (), Mistake("the result is turned by 180°", _result(_turned))),
    ((), (), Mistake("the rows of the result are turned over", _result(lambda r: r[..., ::-1, :]))),
    ((), (), Mistake("the columns of the result are turned over", _result(lambda r: r[..., ::-1]))),
    ((), (), Mistake("the last two axes of the result are exchanged", _result(lambda r: r.swapaxes(-1, -2)))),
    ((), (), Mistake("the first two axes of the result are exchanged", _result(lambda r: r.swapaxes(0, 1)))),
]  # fmt: skip


def _bias_along(axis: int, equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
    y, *others = right(equation, [*arrays[:2], np.zeros_like(arrays[2])], options)
    b = arrays[2] if axis == -1 else arrays[2][:, None]
    return (y + b, *others)


def _down_the_columns(equation: registry.Equation, arrays: Arrays, options: Options) -> tuple:
    y, m = right(equation, arrays, options)
    U, V = options["kernel_size"] if "kernel_size" in options else arrays[1].shape[1:]
    return y, m % V * U + m // V
