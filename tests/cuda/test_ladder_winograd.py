"""The side rung, Winograd: its products, its memory and its errors are those that its header states."""

import ctypes
import re

import numpy as np
import pytest
from support import mutants, tf32_error
from support.ladder import CASES, arguments, expected

from minisegnet_kernels import backends, emulator
from minisegnet_kernels.conv2d.ladder import find
from minisegnet_kernels.emulator import build
from minisegnet_kernels.layout import channels_last

pytestmark = pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler for the emulator")
RUNG = find("winograd")
#: N, C, H, W, O, U, V, …: whole tiles, of rung 4 too.
WHOLE = (1, 8, 16, 8, 64, 3, 3, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)


def run(rung, sizes, lay=channels_last, **changes):
    arrays, options = arguments(rung, sizes, "float32", lay, **changes)
    return rung.run(*arrays, **options), arrays, options


def products(rung):
    """Multiplications of a run, counted in a changed copy of the file."""
    module = rung.module
    counted = module.source.text.replace("sum[r][s] += a[r] * b[s];", "sum[r][s] += a[r] * b[s], ++products;")
    assert counted != module.source.text
    with mutants.changed(module, f'extern "C" {{ long long products = 0; }}\n{counted}') as source:
        number = ctypes.c_longlong.in_dll(build.library(source, "plain"), "products")
        number.value = 0
        run(rung, WHOLE)
        return number.value


def test_it_makes_four_ninths_of_the_products():
    direct = products(find("register_tile"))
    assert direct == 16 * 8 * 64 * 8 * 9
    assert direct == 2.25 * products(RUNG)
    assert "2.25 times fewer" in RUNG.path.read_text()


def test_the_errors_are_those_of_the_header():
    one, many = (tf32_error.errors(channels) for channels in (1, 64))
    stated = [float(number) for number in re.findall(r"([\d.]+)e-7", RUNG.path.read_text())]
    measured = [1e7 * errors[name][1] for errors, name in ((one, "winograd"), (one, "direct"), (many, "winograd"), (many, "direct"))]
    np.testing.assert_allclose(measured, stated, rtol=0.15)
    assert measured[0] > 1.4 * measured[1] and measured[2] < measured[3]


def test_whole_numbers_are_exact_though_weights_are_quartered():
    for name in ("odd sizes, uneven padding", "3 × 3"):
        _, arrays, options = run(RUNG, CASES[name], integers=True)
        large = [(a * 15).astype(np.float32) for a in arrays]  # up to 60: no sum reaches 2²²
        np.testing.assert_array_equal(RUNG.run(*large, **options), expected(RUNG, large, options))
    same = np.zeros((1, 1, 3, 3), np.float32)
    same[0, 0, 1, 1] = 1  # transformed, a quarter
    cells = np.arange(2**20, 2**20 + 16, dtype=np.float32).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(RUNG.run(cells, same, np.zeros(1, np.float32), **options), cells)


def counters(text=None):
    with emulator.options(watched=True), emulator.launches() as seen, mutants.changed(RUNG.module, text or RUNG.module.source.text):
        run(RUNG, WHOLE)
    return seen[0].counters


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SLAB = SLICE * ROW + 16;", "SLAB = SLICE * ROW;"),
        ("ROW = TILES + FOUR;", "ROW = TILES;"),
        ("(tile ^ tile / FOUR % 2)", "tile"),
    ],
    ids=["positions", "rows", "places"],
)
def test_there_are_no_bank_conflicts_and_without_each_measure_there_are(old, new):
    text = RUNG.module.source.text
    seen = counters()
    assert seen["shared_wavefronts"] == seen["least_wavefronts"] > 0
    assert old in text
    seen = counters(text.replace(old, new))
    assert seen["shared_wavefronts"] > 1.05 * seen["least_wavefronts"]


def test_channels_last_it_touches_no_more_sectors_than_it_must():
    seen = counters()
    assert seen["sectors"] == seen["least_sectors"]
