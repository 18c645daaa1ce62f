"""Which rung narrow and unusual layers go to, as docs/ladder.md says: ``python tests/cuda/test_ladder_narrow.py`` counts its table again."""

from pathlib import Path

import numpy as np
import pytest

from minisegnet_kernels import backends, conv2d, cost, emulator
from minisegnet_kernels.conv2d.ladder import allow_tf32
from minisegnet_kernels.layout import channels_last

EQUATIONS = ("forward", "grad_input", "grad_weight")
#: C, side, O, kernel, stride, padding, dilation, whether the channels lie last.
LAYERS = {
    "3×3, 1 → 64": (1, 32, 64, 3, 1, 1, 1, True),
    "3×3, 3 → 64": (3, 32, 64, 3, 1, 1, 1, True),
    "3×3, 3 → 64, rows first": (3, 32, 64, 3, 1, 1, 1, False),
    "3×3, 5 → 16": (5, 32, 16, 3, 1, 1, 1, True),
    "3×3, 16 → 16": (16, 32, 16, 3, 1, 1, 1, True),
    "3×3, 16 → 16, rows first": (16, 32, 16, 3, 1, 1, 1, False),
    "3×3, 16 → 16, dilation 2": (16, 32, 16, 3, 1, 2, 2, True),
    "1×1, 64 → 64": (64, 16, 64, 1, 1, 0, 1, True),
    "1×1, 64 → 5": (64, 16, 5, 1, 1, 0, 1, True),
    "2×2, stride 2, transposed 64 → 32": (32, 32, 64, 2, 2, 0, 1, True),
}
MODES = {"float32": False, "TF32": True}


def case(layer, equation):
    C, side, O, kernel, stride, padding, dilation, last = LAYERS[layer]
    rng, lay = np.random.default_rng(0), channels_last if last else np.asarray
    options = {"stride": (stride,) * 2, "padding": ((padding,) * 2,) * 2, "dilation": (dilation,) * 2, "groups": 1}
    P = conv2d.output_size(side, kernel, stride, (padding,) * 2, dilation)
    x, g = lay(rng.standard_normal((1, C, side, side), np.float32)), lay(rng.standard_normal((1, O, P, P), np.float32))
    w, b = rng.standard_normal((O, C, kernel, kernel), np.float32), np.zeros(O, np.float32)
    arrays = {"forward": (x, w, b), "grad_input": (g, w), "grad_weight": (g, x)}[equation]
    more = {"forward": {}, "grad_input": {"input_size": x.shape[2:]}, "grad_weight": {"kernel_size": w.shape[2:]}}[equation]
    return arrays, {**more, **options}


def rung(kernel, equation):
    return kernel.partition("<")[0].removeprefix(f"conv2d_{equation}").removeprefix("__") or "plain"


def counted(layer, equation, tf32):
    """``"tile 2.9"``: the rung, and the bytes of the sectors that it touches as a multiple of the bytes of the arrays."""
    arrays, options = case(layer, equation)
    with backends.use("cuda"), allow_tf32(tf32), emulator.options(watched=True), emulator.launches() as seen:
        getattr(conv2d, equation)(*arrays, **options)
    least = cost.of(f"conv2d.{equation}", arrays, **options).bytes
    return f"{rung(seen[0].kernel, equation)} {32 * sum(launch.counters['sectors'] for launch in seen) / least:.1f}"


def rows():
    """The rows of the table in docs/ladder.md: layer, mode, and a cell for each equation."""
    lines = (Path(__file__).parents[2] / "docs" / "ladder.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if row[0] in LAYERS]


@pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator")
def test_the_table_says_which_rung_runs():
    assert [(layer, mode) for layer, mode, *_ in rows()] == [(layer, mode) for layer in LAYERS for mode in MODES]
    for layer, mode, *cells in rows():
        for equation, cell in zip(EQUATIONS, cells, strict=True):
            arrays, options = case(layer, equation)
            with backends.use("cuda"), allow_tf32(MODES[mode]), emulator.recording(run=False) as launches:
                getattr(conv2d, equation)(*arrays, **options)
            assert rung(launches[0].kernel, equation) == cell.split()[0], (layer, mode, equation)


@pytest.mark.slow
@pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator")
@pytest.mark.parametrize("layer", LAYERS)
def test_the_table_says_what_was_counted(layer):
    for name, mode, *cells in rows():
        if name == layer:
            assert [counted(layer, equation, MODES[mode]) for equation in EQUATIONS] == cells


if __name__ == "__main__":
    for layer in LAYERS:
        for mode, tf32 in MODES.items():
            print("|", " | ".join([layer, mode, *(counted(layer, equation, tf32) for equation in EQUATIONS)]), "|", flush=True)
