"""Every rung of the convolution ladder on a GPU: awkward layers, both layouts, the result beside NumPy's in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minisegnet_kernels.conv2d import reference
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


def trials() -> Iterator[tuple[str, float]]:
    """What was run, and its largest error as a share of the largest value. A rung runs if it serves the case and the GPU can run it."""
    import cupy

    rng = np.random.default_rng(0)
    for name, (N, C, O, size, k, s, p, d, groups) in LAYERS.items():
        options = {"stride": (s, s), "padding": ((p, p), (p, p)), "dilation": (d, d), "groups": groups}
        output = tuple(output_size(n, k, s, (p, p), d) for n in size)
        x, w, b, g = (rng.normal(size=a).astype(np.float32) for a in ((N, C, *size), (O, C // groups, k, k), (O,), (N, O, *output)))
        calls = {
            "conv2d.forward": ((x, w, b), {}),
            "conv2d.grad_input": ((g, w), {"input_size": size}),
            "conv2d.grad_weight": ((g, x), {"kernel_size": (k, k)}),
        }
        for rung in RUNGS:
            arrays, more = calls[rung.equation]
            exact = getattr(reference, rung.equation.partition(".")[2])(*(a.astype(np.float64) for a in arrays), **more, **options)
            for layout in ("rows first", "channels last"):
                turn = channels_last if layout == "channels last" else lambda a: a
                moved = [turn(cupy.asarray(a)) if a is x or a is g else cupy.asarray(a) for a in arrays]
                case = Case.of(rung.equation, *moved[:2], **more, **options)
                if rung.capability <= capability_of(moved[0]) and rung.serves(case):
                    with allow_tf32(True):
                        found = rung.run(*moved, **more, **options)
                    label = f"{rung.equation} by rung {rung.label} {rung.name}, layer {name}, {layout}"
                    yield label, float(np.abs(found.get() - exact).max() / np.abs(exact).max())


def check() -> int:
    """Print every trial with its error; the number of those whose error is too large: 2⁻⁹ where TF32 rounds, 2⁻¹⁷ elsewhere."""
    wrong = 0
    for label, error in trials():
        bound = 2**-9 if "tf32" in label else 2**-17
        bad = not error <= bound  # NaN too
        wrong += bad
        print(f"{'WRONG' if bad else 'right'}  {error:.1e}  {label}", flush=True)
    return wrong
