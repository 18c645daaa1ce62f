"""What the explorer shows of each operation: its equations, its controls, and the numbers in its arrays.

The numbers are small integers, so that a reader can add them up. Where nothing is divided, they are float32 and every program gives them
exactly; elsewhere they are float64.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from minisegnet.learn.symbols import axes
from minisegnet_kernels import registry

BLOB = [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 2, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]
SOBEL = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]


@dataclass(frozen=True)
class Control:
    """A setting that the reader chooses: the symbols that get its value, and its values, the first choice last."""

    label: str
    sets: tuple[str, ...]
    values: tuple[float, ...]
    first: float


@dataclass(frozen=True)
class Scene:
    """One page.

    Attributes
    ----------
    equations : tuple of str
        Names in the operation, with what the reader sees on the tab.
    sizes : dict
        The sizes of the axes that no control sets.
    arrays : dict of str to array
        The numbers of each array at its largest; a setting takes the first elements of each axis.
    made : dict
        For an equation, the arguments that another equation makes: ``{"grad_max": {"m": "max"}}``.
    traced : tuple of dict
        The settings for which the CUDA program's accesses are recorded.
    name : str
        The page's, if it is not the operation's.
    axes : dict
        The axes of arguments whose shape depends on an option: ``{"g": ()}`` for a number.
    output : tuple of str
        The axes that the option `output_size` sets.
    note : str
        A sentence for the reader, if the page needs one.
    """

    operation: str
    title: str
    equations: dict[str, str]
    controls: tuple[Control, ...]
    sizes: dict[str, int]
    arrays: dict[str, np.ndarray]
    made: dict[str, dict[str, str]]
    traced: tuple[dict[str, float], ...]
    name: str = ""
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    output: tuple[str, str] = ("P", "Q")
    note: str = ""

    @property
    def page(self) -> str:
        """The name of the page."""
        return self.name or self.operation

    def axes_of(self, equation: registry.Equation, name: str) -> tuple[str, ...]:
        """The axes of an argument or a result."""
        return self.axes.get(name, axes(equation.symbols[name]))

    def settings(self) -> list[dict[str, float]]:
        """Every combination of the controls that is a case."""
        combinations = product(*(control.values for control in self.controls))
        found = [dict(zip((c.sets[0] for c in self.controls), values, strict=True)) for values in combinations]
        return [s for s in found if all(s.get(axis, 0) % s.get("G", 1) == 0 for axis in "CO")]

    def symbols(self, setting: dict[str, int]) -> dict[str, int]:
        """The value of each symbol: options, and sizes of axes."""
        values = self.sizes | {symbol: setting[c.sets[0]] for c in self.controls for symbol in c.sets}
        if "s_h" in values:
            for size, kernel, name, axis in (("H", "U", "P", "h"), ("W", "V", "Q", "w")):
                reach = values[size] + 2 * values[f"p_{axis}"] - values.get(f"d_{axis}", 1) * (values[kernel] - 1) - 1
                values[name] = reach // values[f"s_{axis}"] + 1
        return values

    def shape(self, equation: registry.Equation, name: str, values: dict[str, int]) -> tuple[int, ...]:
        """The shape of an argument."""
        return tuple(_size(axis, values) for axis in self.axes_of(equation, name))

    def case(self, name: str, setting: dict[str, int]) -> tuple[list[np.ndarray], dict[str, Any]]:
        """The arguments and options of an equation, as its programs take them."""
        equation, values = registry.get(f"{self.operation}.{name}"), self.symbols(setting)
        made = self.made.get(name, {})
        arrays = []
        for argument in equation.arguments:
            if argument in made:
                other = registry.get(f"{self.operation}.{made[argument]}")
                given, options = self.case(made[argument], setting)
                arrays.append(other.oracle(*given, **options)[other.returns.split().index(argument)])
            else:
                array = self.arrays.get(f"{name}.{argument}", self.arrays.get(argument))
                arrays.append(np.array(array[tuple(slice(n) for n in self.shape(equation, argument, values))]))
        return arrays, {option: _option(option, values, self.output) for option in _options(equation)}


def _size(axis: str, values: dict[str, int]) -> int:
    first, *divisors = (int(part) if part.isdigit() else values[part] for part in axis.split("/"))
    for divisor in divisors:
        first //= divisor
    return first


def _options(equation: registry.Equation) -> list[str]:
    return [p.name for p in inspect.signature(equation.oracle).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _option(name: str, v: dict[str, Any], output: tuple[str, str]) -> Any:
    pairs = {"stride": "s", "dilation": "d"}
    if name in pairs:
        return v[f"{pairs[name]}_h"], v[f"{pairs[name]}_w"]
    if name == "padding":
        return (v["p_h"], v["p_h"]), (v["p_w"], v["p_w"])
    return {
        "groups": lambda: v["G"],
        "input_size": lambda: (v["H"], v["W"]),
        "kernel_size": lambda: (v["U"], v["V"]),
        "ceil_mode": lambda: False,
        "default": lambda: v["default"],
        "output_size": lambda: (v[output[0]], v[output[1]]),
        "count_include_pad": lambda: bool(v["count_include_pad"]),
        "align_corners": lambda: bool(v["align_corners"]),
        "size": lambda: v["Z"],
        "alpha": lambda: v["alpha"],
        "beta": lambda: v["beta"],
        "k": lambda: v["k"],
        "eps": lambda: v["epsilon"],
        "ignore_index": lambda: v["ignore_index"],
        "label_smoothing": lambda: v["alpha"],
        "reduction": lambda: "sum" if v["sum"] else "mean",
    }[name]()


def _integers(seed: int, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.float32)


def _doubles(seed: int, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    return _integers(seed, shape, low, high).astype(np.float64)


def _with(array: np.ndarray, first: list[list[int]]) -> np.ndarray:
    """The first plane is a given one."""
    array[(0,) * (array.ndim - 2)] = first
    return array


STRIDE, DILATION = ("s_h", "s_w"), ("d_h", "d_w")
_ONE = {"C": 1, "O": 1, "G": 1, "s_h": 1, "p_h": 1, "d_h": 1}
SCENES = {
    scene.page: scene
    for scene in (
        Scene(
            "conv2d",
            "Convolution",
            {"forward": "output y", "grad_input": "gradient of x", "grad_weight": "gradient of w", "grad_bias": "gradient of b"},
            (
                Control("input channels C", ("C",), (1, 2), 1),
                Control("output channels O", ("O",), (1, 2), 1),
                Control("groups G", ("G",), (1, 2), 1),
                Control("stride s", STRIDE, (1, 2), 1),
                Control("padding p", ("p_h", "p_w"), (0, 1, 2), 1),
                Control("dilation d", DILATION, (1, 2), 1),
            ),
            {"N": 1, "H": 5, "W": 5, "U": 3, "V": 3},
            {
                "x": _with(_integers(1, (1, 2, 5, 5), 0, 3), BLOB),
                "w": _with(_integers(2, (2, 2, 3, 3), -2, 2), SOBEL),
                "b": np.array([1, -2], np.float32),
                "g": _integers(3, (1, 2, 7, 7), -2, 2),
            },
            {},
            (_ONE, _ONE | {"s_h": 2}),
        ),
        Scene(
            "pool2d",
            "Pooling",
            {
                "max": "maximum y",
                "grad_max": "gradient of x",
                "forward": "weighted maximum y",
                "grad_input": "its gradient of x",
                "grad_weight": "its gradient of w",
                "grad_bias": "its gradient of b",
            },
            (
                Control("channels C", ("C",), (1, 2), 1),
                Control("window U × V", ("U", "V"), (2, 3), 2),
                Control("stride s", STRIDE, (1, 2), 2),
                Control("padding p", ("p_h", "p_w"), (0, 1), 0),
                Control("dilation d", DILATION, (1, 2), 1),
            ),
            {"N": 1, "H": 6, "W": 6},
            {
                "x": _integers(4, (1, 2, 6, 6), -4, 6),
                "w": _with(_integers(5, (2, 3, 3), -2, 2), [[1, 2, 1], [-1, 1, 1], [1, -2, 1]]),
                "b": np.array([1, -1], np.float32),
                "g": _integers(6, (1, 2, 7, 7), -3, 3),
            },
            {"grad_max": {"m": "max"}, "grad_input": {"m": "forward"}, "grad_weight": {"m": "forward"}},
            ({"C": 1, "U": 2, "s_h": 2, "p_h": 0, "d_h": 1}, {"C": 1, "U": 3, "s_h": 1, "p_h": 1, "d_h": 1}),
        ),
        Scene(
            "label",
            "Labelling",
            {"argmax": "by the largest score", "intervals": "by intervals", "prototypes": "by prototypes"},
            (Control("regions K", ("K", "C"), (2, 3), 3), Control("default label", ("default",), (-1, 0), -1)),
            {"N": 1, "H": 4, "W": 4},
            {
                "argmax.x": _integers(7, (1, 3, 4, 4), 0, 6),
                "intervals.x": _integers(8, (1, 4, 4), 0, 9),
                "prototypes.x": _integers(9, (1, 3, 4, 4), 0, 6),
                "l": np.array([10, 20, 30]),
                "r": np.array([[0, 3], [2, 6], [6, 8]], np.float32),
                "p": np.array([[1, 1, 0], [5, 2, 4], [2, 6, 3]], np.float32),
            },
            {},
            ({"K": 3, "default": -1},),
        ),
        Scene(
            "conv2d",
            "Transposed convolution",
            {"grad_input": "output x̄ of the input g", "forward": "gradient of the input", "grad_weight": "gradient of w"},
            (
                Control("stride s", STRIDE, (1, 2), 2),
                Control("padding p", ("p_h", "p_w"), (0, 1), 1),
                Control("dilation d", DILATION, (1, 2), 1),
            ),
            {"N": 1, "C": 1, "O": 1, "G": 1, "H": 5, "W": 5, "U": 3, "V": 3},
            {
                "g": _integers(21, (1, 1, 5, 5), 1, 4),
                "w": _with(_integers(22, (1, 1, 3, 3), -2, 2), [[1, 2, 1], [2, 4, 2], [1, 2, 1]]),
                "b": np.zeros(1, np.float32),
                "x": _integers(23, (1, 1, 5, 5), -2, 2),
            },
            {},
            ({"s_h": 2, "p_h": 1, "d_h": 1},),
            name="conv_transpose2d",
            note="A transposed convolution is the gradient of a convolution with respect to its input, read forwards: it takes g and makes x̄, which with"
            " stride 2 has about twice as many rows and columns. Its own gradient with respect to g is then the convolution.",
        ),
        Scene(
            "pool2d",
            "Average pooling",
            {"average": "average y", "grad_average": "gradient of x"},
            (
                Control("window U × V", ("U", "V"), (2, 3), 2),
                Control("stride s", STRIDE, (1, 2), 2),
                Control("padding p", ("p_h", "p_w", "q_h", "q_w"), (0, 1), 1),
                Control("padding counts", ("count_include_pad",), (0, 1), 1),
            ),
            {"N": 1, "C": 1, "H": 5, "W": 5},
            {"x": _doubles(10, (1, 1, 5, 5), 0, 9), "g": _doubles(11, (1, 1, 6, 6), -3, 3)},
            {},
            ({"U": 2, "s_h": 2, "p_h": 1, "count_include_pad": 1},),
            name="average_pooling",
        ),
        Scene(
            "pool2d",
            "Unpooling",
            {"unpool": "output y", "grad_unpool": "gradient of x"},
            (Control("channels C", ("C",), (1, 2), 1),),
            {"N": 1, "H": 4, "W": 4, "P": 2, "Q": 2},
            {
                "x": _integers(12, (1, 2, 2, 2), 1, 9),
                "m": np.array([[[[0, 6], [9, 6]], [[5, 3], [12, 15]]]], np.int64),  # two values go to cell 6: the last one stays
                "g": _integers(13, (1, 2, 4, 4), -3, 3),
            },
            {},
            ({"C": 1},),
            name="unpooling",
            output=("H", "W"),
        ),
        Scene(
            "resize",
            "Resizing",
            {"bilinear": "bilinear y", "grad_bilinear": "its gradient of x", "nearest": "nearest y", "grad_nearest": "its gradient of x "},
            (Control("output P × Q", ("P", "Q"), (2, 3, 6), 6), Control("align corners", ("align_corners",), (0, 1), 0)),
            {"N": 1, "C": 1, "H": 3, "W": 3},
            {"x": _doubles(14, (1, 1, 3, 3), 0, 9), "g": _doubles(15, (1, 1, 6, 6), -3, 3)},
            {},
            ({"P": 6, "align_corners": 0},),
        ),
        Scene(
            "cross_entropy",
            "Cross-entropy",
            {"forward": "loss L", "grad_input": "gradient of x"},
            (
                Control("classes C", ("C",), (2, 3), 3),
                Control("label smoothing α", ("alpha",), (0, 0.1), 0),
                Control("sum, not mean", ("sum",), (0, 1), 0),
            ),
            {"N": 1, "H": 2, "W": 3, "none": 0, "ignore_index": 255},
            {
                "x": _doubles(16, (1, 3, 2, 3), -2, 3),
                "t": np.array([[[0, 1, 1], [255, 0, 1]]]),
                "w": np.array([1.0, 2.0, 1.0]),
                "g": np.array(1.0),
            },
            {},
            ({"C": 3, "alpha": 0, "sum": 0},),
            axes={"g": (), "L": ()},
        ),
        Scene(
            "batch_norm",
            "Batch normalisation",
            {"forward": "output y", "grad_affine": "gradients of γ and β", "grad_input": "gradient of x"},
            (Control("images N", ("N",), (1, 2), 2), Control("channels C", ("C",), (1, 2), 1)),
            {"H": 2, "W": 3, "epsilon": 0.5},
            {
                "x": _doubles(17, (2, 2, 2, 3), 0, 6),
                "gamma": np.array([2.0, -1.0]),
                "beta": np.array([1.0, 0.0]),
                "g": _doubles(18, (2, 2, 2, 3), -2, 2),
            },
            {
                "grad_affine": {"mu": "forward", "rho": "forward"},
                "grad_input": {"mu": "forward", "rho": "forward", "gammabar": "grad_affine", "betabar": "grad_affine"},
            },
            ({"N": 2, "C": 1},),
        ),
        Scene(
            "lrn",
            "Local response normalisation",
            {"forward": "output y", "grad_input": "gradient of x"},
            (Control("neighbourhood Z", ("Z",), (1, 3, 4), 3), Control("power β", ("beta",), (0.75, 1), 1)),
            {"N": 1, "C": 5, "H": 1, "W": 3, "alpha": 1, "k": 1},
            {"x": _doubles(19, (1, 5, 1, 3), -2, 3), "g": _doubles(20, (1, 5, 1, 3), -2, 2)},
            {},
            ({"Z": 3, "beta": 1},),
        ),
    )
}
