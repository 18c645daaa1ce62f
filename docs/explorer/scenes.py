"""What the explorer shows of each operation: its equations, its controls, and the numbers in its arrays.

The numbers are small integers, so that a reader can add them up and that every program gives them exactly.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
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
    values: tuple[int, ...]
    first: int


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
    """

    operation: str
    title: str
    equations: dict[str, str]
    controls: tuple[Control, ...]
    sizes: dict[str, int]
    arrays: dict[str, np.ndarray]
    made: dict[str, dict[str, str]]
    traced: tuple[dict[str, int], ...]

    def settings(self) -> list[dict[str, int]]:
        """Every combination of the controls that is a case."""
        combinations = product(*(control.values for control in self.controls))
        found = [dict(zip((c.sets[0] for c in self.controls), values, strict=True)) for values in combinations]
        return [s for s in found if all(s.get(axis, 0) % s.get("G", 1) == 0 for axis in "CO")]

    def symbols(self, setting: dict[str, int]) -> dict[str, int]:
        """The value of each symbol: options, and sizes of axes."""
        values = self.sizes | {symbol: setting[c.sets[0]] for c in self.controls for symbol in c.sets}
        if "s_h" in values:
            for size, kernel, name, axis in (("H", "U", "P", "h"), ("W", "V", "Q", "w")):
                reach = values[size] + 2 * values[f"p_{axis}"] - values[f"d_{axis}"] * (values[kernel] - 1) - 1
                values[name] = reach // values[f"s_{axis}"] + 1
        return values

    def shape(self, equation: registry.Equation, name: str, values: dict[str, int]) -> tuple[int, ...]:
        """The shape of an argument."""
        return tuple(_size(axis, values) for axis in axes(equation.symbols[name]))

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
                arrays.append(array[tuple(slice(n) for n in self.shape(equation, argument, values))].copy())
        return arrays, {option: _option(option, values) for option in _options(equation)}


def _size(axis: str, values: dict[str, int]) -> int:
    first, *divisors = (int(part) if part.isdigit() else values[part] for part in axis.split("/"))
    for divisor in divisors:
        first //= divisor
    return first


def _options(equation: registry.Equation) -> list[str]:
    return [p.name for p in inspect.signature(equation.oracle).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _option(name: str, v: dict[str, int]) -> Any:
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
    }[name]()


def _integers(seed: int, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.float32)


def _with(array: np.ndarray, first: list[list[int]]) -> np.ndarray:
    """The first plane is a given one."""
    array[(0,) * (array.ndim - 2)] = first
    return array


STRIDE, DILATION = ("s_h", "s_w"), ("d_h", "d_w")
_ONE = {"C": 1, "O": 1, "G": 1, "s_h": 1, "p_h": 1, "d_h": 1}
SCENES = {
    scene.operation: scene
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
    )
}
