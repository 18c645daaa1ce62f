"""Every rung of the convolution ladder on a GPU: awkward layers, both layouts, the result beside NumPy's in float64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from minisegnet_kernels.conv2d import kernel, reference
from minisegnet_kernels.conv2d.formula import output_size
from minisegnet_kernels.conv2d.ladder import allow_tf32
from minisegnet_kernels.conv2d.ladder.rung import Case
from minisegnet_kernels.conv2d.ladder.table import RUNGS
from minisegnet_kernels.cuda import capability_of
from minisegnet_kernels.layout import channels_last

#: N, C, O, size, kernel, stride, padding, dilation, groups: odd sizes and channels, edges of tiles, every option once.
LAYERS = {
    "odd": (1, 20, 37, (13, 11), 3, 1, 1, 1, 1),
    "stride": (2, 16, 33, (9, 10), 3, 2, 1, 1, 1),
    "dilation": (1, 8, 17, (12, 9), 3, 1, 2, 2, 1),
    "groups": (1, 8, 12, (7, 9), 3, 1, 1, 1, 2),
    "1×1": (1, 64, 64, (8, 9), 1, 1, 0, 1, 1),
    "wide": (1, 32, 132, (6, 7), 3, 1, 1, 1, 1),
}


def trials(layers: Iterable[str] = ()) -> Iterator[tuple[str, float]]:
    """Run all layers, or the named ones. Yield what was run, and its largest error as a share of the largest value.

    First every rung that the GPU has and that serves the layer, then what the rule chooses: the rung, its fused ReLU and its
    statistics, with TF32 and without.
    """
    for name in layers or LAYERS:
        layer = _Layer(name)
        for layout in ("rows first", "channels last"):
            yield from layer.by_rung(layout)
            for tf32 in (True, False):
                with allow_tf32(tf32):
                    yield from layer.by_rule(f"{layout}, {'tf32' if tf32 else 'float32'}", layout)


class _Layer:
    """A layer's arrays and options, and its results by NumPy in float64."""

    def __init__(self, name: str):
        N, C, O, size, k, s, p, d, groups = LAYERS[name]
        self.name, rng = name, np.random.default_rng(0)
        self.options = {"stride": (s, s), "padding": ((p, p), (p, p)), "dilation": (d, d), "groups": groups}
        output = tuple(output_size(n, k, s, (p, p), d) for n in size)
        shapes = ((N, C, *size), (O, C // groups, k, k), (O,), (N, O, *output))
        x, w, b, g = (rng.normal(size=a).astype(np.float32) for a in shapes)
        self.calls = {
            "conv2d.forward": ((x, w, b), {}),
            "conv2d.grad_input": ((g, w), {"input_size": size}),
            "conv2d.grad_weight": ((g, x), {"kernel_size": (k, k)}),
        }
        self.images = x, g
        exact = lambda name, arrays, more: getattr(reference, name)(*(a.astype(np.float64) for a in arrays), **more, **self.options)
        self.exact = {equation: exact(equation.partition(".")[2], *call) for equation, call in self.calls.items()}

    def _on_device(self, equation: str, layout: str) -> tuple[list, dict]:
        import cupy

        arrays, more = self.calls[equation]
        turned = lambda a: layout == "channels last" and any(a is image for image in self.images)
        moved = [channels_last(cupy.asarray(a)) if turned(a) else cupy.asarray(a) for a in arrays]
        return moved, {**more, **self.options}

    def by_rung(self, layout: str) -> Iterator[tuple[str, float]]:
        for rung in RUNGS:
            arrays, options = self._on_device(rung.equation, layout)
            case = Case.of(rung.equation, *arrays[:2], **options)
            if rung.capability <= capability_of(arrays[0]) and rung.serves(case):
                with allow_tf32(True):
                    found = rung.run(*arrays, **options)
                yield f"{rung.equation} by rung {rung.label} {rung.name}, layer {self.name}, {layout}", self._error(rung.equation, found)

    def by_rule(self, how: str, layout: str) -> Iterator[tuple[str, float]]:
        for equation in self.calls:
            arrays, options = self._on_device(equation, layout)
            label = f"by the rule, layer {self.name}, {how}"
            yield f"{equation} {label}", self._error(equation, getattr(kernel, equation.partition(".")[2])(*arrays, **options))
            if equation == "conv2d.forward":
                y = self.exact[equation]
                yield f"{equation}_relu {label}", _share(kernel.forward_relu(*arrays, **options), np.maximum(y, 0))
                found = kernel.forward_statistics(*arrays, **options)
                expected = y, y.mean((0, 2, 3)), y.var((0, 2, 3))
                yield f"{equation}_statistics {label}", max(_share(f, e) for f, e in zip(found, expected, strict=True))

    def _error(self, equation: str, found: Any) -> float:
        return _share(found, self.exact[equation])


def _share(found: Any, exact: np.ndarray) -> float:
    return float(np.abs(found.get() - exact).max() / np.abs(exact).max())


def bound(label: str) -> float:
    """The largest error of a trial that is right: 2⁻⁹ where TF32 may round, 2⁻¹⁷ elsewhere."""
    return 2**-9 if "tf32" in label else 2**-17


def check() -> int:
    """Print every trial with its error. Returns the number of trials whose error is too large."""
    wrong = 0
    for label, error in trials():
        bad = not error <= bound(label)  # NaN too
        wrong += bad
        print(f"{'WRONG' if bad else 'right'}  {error:.1e}  {label}", flush=True)
    return wrong
