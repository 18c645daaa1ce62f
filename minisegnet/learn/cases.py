"""Test inputs for a reader's function: small ones for each equation, the smallest first, chosen so that a wrong function does not pass.

Rows and columns differ in number, as do input and output channels. There are two images. Every option that the function takes differs from
its default. Values are random, of both signs, often equal where ties matter, and never symmetric. Two cases have the same shapes but
different numbers. Most numbers are small integers, so that a reader can follow a case with a pencil.

>>> arrays, options = cases("conv2d.forward", {"stride"})[0]
>>> [a.shape for a in arrays], options["stride"]
([(1, 1, 2, 3), (1, 1, 2, 3), (1,)], (1, 1))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minisegnet_kernels import registry
from minisegnet_kernels.pool2d.formula import pooled_shape

from .corners import Case, corners
from .extra import find

_NO_PADDING = ((0, 0), (0, 0))


class _Numbers:
    """Random arrays."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)

    def whole(self, *shape: int, most: int = 5) -> np.ndarray:
        """Integers from −most to most, as float64: sums of products are exact."""
        return self.rng.integers(-most, most + 1, shape).astype(np.float64)

    def biases(self, count: int) -> np.ndarray:
        """Integers that differ, none of them 0."""
        return self.rng.choice([-6.0, -4.0, -3.0, -2.0, 2.0, 3.0, 4.0, 5.0], count, replace=False)

    def real(self, *shape: int) -> np.ndarray:
        return np.round(self.rng.normal(size=shape), 2)

    def positive(self, *shape: int) -> np.ndarray:
        return 0.5 + np.round(self.rng.random(shape), 2)


def cases(id: str, accepted: set[str]) -> list[Case]:
    """Arguments and options to test a function with.

    Parameters
    ----------
    id : str
        An equation.
    accepted : set of str
        The options that the function takes. The others stay at their defaults: stride 1, no padding, ...

    Returns
    -------
    list of (arrays, options)
        Both in the form that the equation's literal loops take.
    """
    equation = find(id)
    return [*_BUILDERS[equation.operation](equation, accepted), *corners(equation, accepted)]


def _kept(options: dict[str, Any], plain: dict[str, Any], accepted: set[str]) -> dict[str, Any]:
    """The options; those that the function does not take have their defaults."""
    return {name: value if name in accepted else plain[name] for name, value in options.items()}


# --- convolution -----------------------------------------------------------------------------------

_CONV = {"stride": (1, 1), "padding": _NO_PADDING, "dilation": (1, 1), "groups": 1}
# images, channels in and out, kernel, output, and options
_CONV_STEPS: list[tuple[int, int, int, tuple[int, int], tuple[int, int], dict[str, Any]]] = [
    (1, 1, 1, (2, 3), (1, 1), {}),
    (1, 1, 1, (2, 3), (2, 3), {}),
    (2, 1, 1, (3, 2), (3, 2), {}),
    (1, 3, 2, (3, 3), (2, 3), {}),
    (2, 2, 3, (2, 3), (3, 4), {}),
    (2, 2, 3, (2, 3), (3, 4), {}),
    (1, 1, 1, (2, 3), (3, 2), {"stride": (2, 3)}),
    (1, 1, 1, (3, 2), (3, 5), {"padding": ((1, 0), (2, 1))}),
    (1, 1, 1, (2, 3), (2, 3), {"dilation": (3, 2)}),
    (2, 4, 2, (2, 3), (2, 2), {"groups": 2}),
    (2, 2, 6, (3, 2), (3, 2), {"stride": (2, 3), "padding": ((1, 2), (2, 1)), "dilation": (2, 3), "groups": 2}),
]


def _conv2d(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    for seed, (N, C, O, kernel, output, more) in enumerate(_CONV_STEPS):
        if more and not more.keys() & accepted:
            continue
        options = _kept({**_CONV, **more}, _CONV, accepted)
        # With a stride, the last rows and columns may lie in no window. A function that does not get the
        # input's size cannot know about them.
        spare = [s - 1 if "input_size" in accepted or equation.name != "grad_input" else 0 for s in options["stride"]]
        H, W = (
            (p - 1) * s + d * (u - 1) + 1 - sum(pad) + rest
            for p, s, d, u, pad, rest in zip(output, options["stride"], options["dilation"], kernel, options["padding"], spare, strict=True)
        )
        numbers = _Numbers(seed)
        shapes = {"x": (N, C, H, W), "w": (O, C // options["groups"], *kernel), "b": (O,), "g": (N, O, *output)}
        options |= {"input_size": (H, W)} if equation.name == "grad_input" else {}
        options |= {"kernel_size": kernel} if equation.name == "grad_weight" else {}
        arrays = {"b": numbers.biases(O)} | {name: numbers.whole(*shape) for name, shape in shapes.items() if name != "b"}
        yield [arrays[a] for a in equation.arguments], {} if equation.name == "grad_bias" else options


# --- pooling ---------------------------------------------------------------------------------------

_TILES = {
    "kernel_size": (2, 2),
    "stride": (2, 2),
    "padding": _NO_PADDING,
    "dilation": (1, 1),
    "ceil_mode": False,
    "count_include_pad": True,
}
# shape, and options; the padding never hides a window
_POOL_STEPS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 1, 2, 2), {}),
    ((1, 1, 4, 6), {}),
    ((2, 1, 5, 4), {}),
    ((2, 3, 4, 5), {}),
    ((2, 3, 4, 5), {}),
    ((1, 1, 5, 6), {"kernel_size": (2, 3)}),
    ((1, 2, 6, 7), {"kernel_size": (3, 2), "stride": (1, 2)}),
    ((1, 1, 5, 4), {"kernel_size": (3, 2), "padding": ((1, 1), (0, 1))}),
    ((1, 2, 6, 7), {"kernel_size": (2, 3), "dilation": (3, 2)}),
    ((1, 1, 5, 6), {"kernel_size": (2, 3), "stride": (2, 2), "ceil_mode": True}),
    ((1, 1, 4, 5), {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((1, 1), (1, 0)), "count_include_pad": False}),
    ((2, 2, 7, 6), {"kernel_size": (3, 2), "stride": (2, 1), "padding": ((1, 2), (1, 0)), "dilation": (1, 2), "ceil_mode": True}),
]
_WEIGHTED = ("forward", "grad_input", "grad_weight", "grad_bias")


def _pool2d(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    if equation.name in ("adaptive_average", "grad_adaptive_average"):
        yield from _adaptive(equation, accepted)
    elif equation.name in ("unpool", "grad_unpool"):
        yield from _unpooled(equation, accepted)
    else:
        yield from _windows(equation, accepted)


def _windows(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    weighted, average = equation.name in _WEIGHTED, "average" in equation.name
    plain = {**_TILES, "stride": (1, 1)} if weighted else _TILES
    free = accepted | {"kernel_size"} if weighted else accepted  # the weights say how large the window is
    wanted = [
        name for name in plain if name in ("kernel_size", "stride", "padding") or name == ("count_include_pad" if average else "dilation")
    ]
    for seed, (shape, more) in enumerate(_POOL_STEPS):
        if more and not more.keys() & free:
            continue
        numbers = _Numbers(seed)
        whole = _kept({**plain, **more}, plain, free)
        if weighted and not more and shape[2] > 2:
            whole["kernel_size"] = (2, 3)
        geometry = {name: whole[name] for name in wanted}
        outputs = pooled_shape(np.empty(shape), **{"ceil_mode": whole["ceil_mode"], **geometry})
        arrays = {
            "x": numbers.whole(*shape, most=3),
            "w": numbers.whole(shape[1], *whole["kernel_size"], most=2),
            "b": numbers.biases(shape[1]),
            "g": numbers.whole(*outputs),
        }
        if "m" in equation.arguments:
            loops, given = ("forward", ("x", "w", "b")) if weighted else ("max", ("x",))
            taken = {k: v for k, v in geometry.items() if k != "kernel_size" or not weighted} | {"ceil_mode": whole["ceil_mode"]}
            arrays["m"] = registry.get(f"pool2d.{loops}").oracle(*(arrays[a] for a in given), **taken)[1]
        if equation.name == "grad_bias":
            geometry = {}
        elif equation.name in ("forward", "max", "average"):
            geometry |= {"ceil_mode": whole["ceil_mode"]}
        elif equation.name != "grad_weight":
            geometry |= {"input_size": shape[2:]}
        if equation.name in ("forward", "grad_input"):
            geometry.pop("kernel_size")
        if equation.name == "grad_input":
            geometry["input_size"] = shape[2:]
        yield [arrays[a] for a in equation.arguments], geometry


def _adaptive(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    backwards = equation.grad_of is not None
    steps = [((1, 1, 2, 3), (1, 1)), ((2, 3, 4, 3), (1, 1)), ((1, 1, 4, 6), (2, 3)), ((1, 2, 5, 7), (2, 3)), ((2, 2, 3, 2), (5, 4))]
    for seed, (shape, regions) in enumerate(steps):
        if regions == (1, 1) or accepted & {"output_size", "input_size"}:
            numbers = _Numbers(seed)
            if backwards:
                yield [numbers.whole(*shape[:2], *regions)], {"input_size": shape[2:]}
            else:
                yield [numbers.whole(*shape)], {"output_size": regions}


def _unpooled(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    for seed, (planes, pooled, whole) in enumerate(
        [((1, 1), (1, 1), (2, 2)), ((1, 1), (2, 3), (4, 6)), ((2, 1), (3, 2), (6, 4)), ((2, 3), (2, 3), (3, 5)), ((1, 2), (3, 3), (2, 3))]
    ):
        numbers = _Numbers(seed)
        if "output_size" not in accepted and equation.name == "unpool":
            whole = (2 * pooled[0], 2 * pooled[1])
        m = numbers.rng.integers(0, whole[0] * whole[1], (*planes, *pooled))
        if equation.name == "unpool":
            yield [numbers.whole(*planes, *pooled), m], {"output_size": whole}
        else:
            yield [numbers.whole(*planes, *whole), m], {}


# --- labels and the loss ---------------------------------------------------------------------------


def _label(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    for seed, ((N, H, W), K, C) in enumerate(
        [((1, 1, 1), 2, 1), ((1, 2, 3), 3, 2), ((2, 3, 2), 4, 3), ((2, 4, 3), 5, 2), ((2, 4, 3), 5, 2)]
    ):
        numbers = _Numbers(seed)
        l = numbers.rng.permutation(np.arange(2, 2 + 2 * K))[:K]  # labels that differ from the regions' numbers
        options = {"default": 99} if "default" in accepted else {"default": None}
        if equation.name == "argmax":
            yield [numbers.whole(N, K, H, W, most=2), l], {}
        elif equation.name == "prototypes":
            yield [numbers.whole(N, C, H, W, most=3), numbers.whole(K, C, most=3), l], options
        else:
            x = numbers.whole(N, H, W, most=4)
            edges = np.concatenate([[-np.inf], np.sort(numbers.rng.choice(np.arange(-3, 5), K - 1, replace=False)), [np.inf]])
            r = numbers.rng.permutation(np.stack([edges[:-1], edges[1:]], axis=1))
            if "default" in accepted and seed > 1:  # regions that overlap and leave gaps
                low = numbers.whole(K, most=4)
                r = np.stack([low, low + numbers.rng.integers(1, 4, K)], axis=1)
            yield [x, r, l], options


def _cross_entropy(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    plain = {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "mean"}
    steps: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((1, 2, 1, 1), {}),
        ((1, 3, 1, 2), {}),
        ((2, 3, 2, 3), {}),
        ((2, 4, 3, 2), {}),
        ((2, 3, 2, 3), {"ignore_index": 255}),
        ((2, 3, 3, 2), {"label_smoothing": 0.25}),
        ((1, 3, 2, 3), {"reduction": "sum"}),
        ((2, 3, 2, 3), {"reduction": "none"}),
        ((2, 4, 2, 3), {"ignore_index": 255, "label_smoothing": 0.5, "reduction": "none"}),
        ((2, 3, 2, 3), {}),
    ]
    for seed, ((N, C, H, W), more) in enumerate(steps):
        if more and not more.keys() & accepted:
            continue
        numbers, options = _Numbers(seed), _kept({**plain, **more}, plain, accepted)
        x, t, w = numbers.real(N, C, H, W), numbers.rng.integers(0, C, (N, H, W)), numbers.positive(C)
        if seed == len(steps) - 1:
            x *= 800  # exp(800) overflows: the largest score has to be subtracted first
        if options["ignore_index"] == 255:
            t[..., 0] = 255
        g = [numbers.whole(*(t.shape if options["reduction"] == "none" else ()))] if equation.name == "grad_input" else []
        yield [*g, x, t, w], options


def _metrics(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    for seed, shape in enumerate([(1, 2), (2, 3), (4, 3), (5, 6), (5, 6)]):
        numbers = _Numbers(seed)
        p, t = numbers.rng.integers(0, 2, (2, *shape))
        p.flat[0] = t.flat[0] = 1  # one pixel is right, one is wrong
        p.flat[1], t.flat[1] = seed % 2, 1 - seed % 2
        yield [p, t], {}


def _probability(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    for seed, shape in enumerate([(1, 2, 1, 1), (1, 3, 1, 2), (2, 3, 2, 4), (2, 4, 3, 2), (2, 3, 2, 4)]):
        numbers = _Numbers(seed)
        yield [numbers.real(*shape) * (10_000 if seed == 4 else 1)], {}  # exp(10 000) overflows


# --- the other operations --------------------------------------------------------------------------


def _batch_norm(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    for seed, (N, C, H, W) in enumerate([(1, 1, 1, 3), (2, 1, 2, 3), (2, 3, 3, 2), (2, 3, 3, 2), (3, 2, 4, 5)]):
        numbers = _Numbers(seed)
        arrays = {"x": numbers.real(N, C, H, W) + 1, "g": numbers.real(N, C, H, W)}
        arrays |= {name: numbers.real(C) for name in ("beta", "mu", "gammabar", "betabar")} | {
            "gamma": numbers.positive(C) * (-1) ** np.arange(C)
        }
        arrays |= {"v": numbers.positive(C), "rho": numbers.positive(C)}
        eps = {"eps": 0.1 if "eps" in accepted and seed % 2 else 1e-5}
        takes = equation.name in ("forward", "forward_relu", "inference", "inference_relu", "grad_inference")
        yield [arrays[a] for a in equation.arguments], eps if takes else {}


def _activation(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    for seed, shape in enumerate([(3,), (2, 5), (2, 3, 2, 4)]):
        numbers = _Numbers(seed)
        arrays = {name: numbers.whole(*shape, most=2) for name in equation.arguments}
        for name in set(arrays) - {"g"}:
            arrays[name].flat[:3] = (2, 0, -1)  # both sides, and the kink
        slope = {"slope": 0.3 if "slope" in accepted else 0.01} if "leaky" in equation.name else {}
        yield list(arrays.values()), slope


def _resize(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    backwards, sized = equation.grad_of is not None, accepted & {"input_size", "output_size"}
    steps = [((1, 1, 1, 2), (2, 4)), ((1, 1, 2, 3), (4, 6)), ((2, 3, 3, 2), (6, 4)), ((2, 2, 5, 4), (3, 7)), ((1, 2, 3, 4), (1, 2))]
    for seed, ((N, C, H, W), (P, Q)) in enumerate(steps):
        if (P, Q) != (2 * H, 2 * W) and not sized:
            continue
        for aligned in (False, True) if "align_corners" in accepted else (False,):
            numbers = _Numbers(seed)
            options: dict[str, Any] = {"input_size": (H, W)} if backwards else {"output_size": (P, Q)}
            options |= {"align_corners": aligned} if "bilinear" in equation.name else {}
            yield [numbers.whole(N, C, *((P, Q) if backwards else (H, W)))], options


def _lrn(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    plain = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}
    more = [{}, {"size": 2, "alpha": 0.5, "beta": 0.5, "k": 2.0}, {"size": 3, "alpha": 0.3}, {"size": 4, "alpha": 0.5, "beta": 1.5}]
    for seed, (shape, others) in enumerate(zip([(1, 2, 1, 1), (1, 3, 1, 2), (2, 6, 2, 3), (2, 7, 3, 2)], more, strict=True)):
        numbers = _Numbers(seed)
        yield [numbers.whole(*shape) for _ in equation.arguments], _kept({**plain, **others}, plain, accepted)


_STEPS_PLAIN = {
    "sgd": {"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "first": False},
    "adam": {"step": 1, "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "decoupled": False},
    "rmsprop": {"lr": 0.01, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0, "momentum": 0.0, "centered": False},
}
_STEPS_MORE: dict[str, list[dict[str, Any]]] = {
    "sgd": [
        {"momentum": 0.9, "first": True},
        {"momentum": 0.9},
        {"lr": 0.3, "weight_decay": 0.2},
        {"momentum": 0.8, "dampening": 0.5},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
    "adam": [
        {"lr": 0.1, "step": 3},
        {"weight_decay": 0.2, "step": 2},
        {"weight_decay": 0.2, "decoupled": True},
        {"eps": 0.1, "beta1": 0.5, "beta2": 0.7},
    ],
    "rmsprop": [
        {"weight_decay": 0.2},
        {"centered": True, "alpha": 0.7},
        {"momentum": 0.9},
        {"momentum": 0.5, "centered": True, "eps": 0.1, "lr": 0.2},
    ],
}


def _optimiser(equation: registry.Equation, accepted: set[str]) -> Iterator[Case]:
    plain = _STEPS_PLAIN[equation.name]
    for seed, more in enumerate([{}, {}, *_STEPS_MORE[equation.name]]):
        if more and not more.keys() & accepted:
            continue
        numbers = _Numbers(seed)
        shapes = [(2,)] if seed == 0 else [(2, 3), (4,)]
        arrays = {name: [numbers.real(*shape) for shape in shapes] for name in equation.arguments}
        if "m" in arrays:
            arrays["v"] = [np.square(v) + 0.1 for v in arrays["v"]]
        if equation.name == "rmsprop":
            arrays["v"] = [v + np.square(m) for v, m in zip(arrays["v"], arrays["m"], strict=True)]
        yield list(arrays.values()), _kept({**plain, **more}, plain, accepted)


_BUILDERS: dict[str, Callable[[registry.Equation, set[str]], Iterator[Case]]] = {
    "conv2d": _conv2d,
    "pool2d": _pool2d,
    "label": _label,
    "cross_entropy": _cross_entropy,
    "batch_norm": _batch_norm,
    "activation": _activation,
    "resize": _resize,
    "lrn": _lrn,
    "optimiser": _optimiser,
    "metrics": _metrics,
    "probability": _probability,
}
