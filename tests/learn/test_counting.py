"""``check_count``: the right count passes, ten wrong ones do not, and the mistake is named."""

import numpy as np
import pytest

from minisegnet.bench import ladder
from minisegnet.learn.counting import _COUNTS, _field, _tile, check_count, limit, receptive_field, tile_bytes, turns, weighted_mean
from minisegnet_kernels.conv2d.ladder import RUNGS

BANKS = lambda words: np.bincount(np.asarray(words) % 32, minlength=32)

# Ten wrong answers for each exercise. A comment says for which inputs the answer would be right.
WRONG = {
    "turns": [
        (lambda words: int(BANKS(words).max()), "served one after another"),  # words that all differ
        (lambda words: int((BANKS(words) > 0).sum()), "the banks that are used"),
        (lambda words: max(len({k for k in words if k % 16 == b}) for b in range(16)), "16 banks"),  # the first 16 words
        (lambda words: len(set(words)), "all different words"),  # one bank
        (lambda words: -(-len(set(words)) // 32), "spread evenly"),  # no conflict
        (lambda words: 1, ""),  # no conflict
        (lambda words: 32 - int((BANKS(words) > 0).sum()) + 1, ""),  # a warp without words in common
        (lambda words: max(np.diff(sorted(words)), default=1), ""),  # a fixed distance that is a power of two
        (lambda words: np.gcd(words[1] - words[0], 32), ""),  # a fixed distance
        (lambda words: len(words) / int((BANKS(words) > 0).sum()), ""),  # equally many words in each bank
        (lambda words: max(len({k for k in words if k // 32 == row}) for row in range(64)), ""),
    ],
    "tile_bytes": [
        (lambda *a: tile_bytes(*a) // 4, "their bytes"),
        (lambda *a: _tile(*a, halo=0), "the halo is missing"),  # one tile
        (lambda *a: _tile(*a, padding=True), "outside of the image"),
        (lambda *a: _tile(*a, once=True), "x is read once"),  # one block for all channels
        (lambda *a: _tile(*a, weights=0), "the weights are missing"),
        (lambda *a: _tile(*a) - 36 * a[1] * a[2] * (-(-a[0] // a[3]) * -(-a[0] // a[4]) - 1), "not once for each tile"),  # one tile
        (lambda *a: _tile(*a, rest=1), "the bias is not read"),
        (lambda *a: _tile(*a, rest=0), "neither the bias nor y"),
        (lambda size, c, o, rows, columns, wide: _tile(size, c, o // wide * wide, rows, columns, wide), ""),  # channels that fit
        (lambda size, c, o, rows, columns, wide: _tile(size // rows * rows, c, o, rows, columns, wide), ""),  # tiles that fit
        (lambda *a: _tile(*a, halo=2), ""),
    ],
    "limit": [
        (lambda o, m, p, b: max(p, o / m * b), "the larger limit"),
        (lambda o, m, p, b: o / m * b, "limit of arithmetic is missing"),  # memory-bound programs
        (lambda o, m, p, b: p, "limit of memory is missing"),  # arithmetic-bound programs
        (lambda o, m, p, b: min(p, m / o * b), "upside down"),  # an intensity of 1
        (lambda o, m, p, b: max(o / p, m / b), "seconds"),
        (lambda o, m, p, b: min(p, b), ""),  # an intensity of 1
        (lambda o, m, p, b: min(p, o / m * b / 4), ""),
        (lambda o, m, p, b: min(p, o * b), ""),
        (lambda o, m, p, b: 1 / (1 / p + m / (o * b)), ""),  # one limit far below the other
        (lambda o, m, p, b: o / (o / p + m / b), ""),
        (lambda o, m, p, b: p / b, ""),
    ],
    "receptive_field": [
        (lambda layers: _field(layers, jump=False), "strides are not used"),  # strides of 1
        (lambda layers: _field(layers, reach=0), "adds k"),
        (lambda layers: _field(layers, late=True), "for the layer itself"),  # strides of 1
        (lambda layers: _field(layers[::-1]), "reverse order"),  # symmetric chains
        (lambda layers: int(np.prod([k for k, _ in layers])), "multiplied"),  # one layer
        (lambda layers: sum(k for k, _ in layers), "added"),  # one layer
        (lambda layers: _field(layers) - 1, "the first pixel"),
        (lambda layers: layers[-1][0], "only the last"),  # one layer
        (lambda layers: layers[0][0], ""),  # one layer
        (lambda layers: 1 + 2 * len(layers), ""),  # 3 × 3 without strides
        (lambda layers: _field(layers) ** 2, ""),
        (lambda layers: _field(layers) * int(np.prod([s for _, s in layers])), ""),  # strides of 1
    ],
    "weighted_mean": [
        (lambda a, w: a.mean(), "not used"),  # equal weights
        (lambda a, w: (a * w).mean(), "number of pixels"),  # weights with mean 1
        (lambda a, w: (a * w).sum(), "the division"),  # weights with sum 1
        (lambda a, w: (a * w).sum() * w.sum(), "their own sum"),  # weights with sum 1
        (lambda a, w: a.mean() * w.mean(), "multiplied by the mean"),
        (lambda a, w: (a / np.where(w, w, 1)).sum() / w.sum(), "divided by their weights"),
        (lambda a, w: np.median(a), ""),
        (lambda a, w: a[w > 0].mean(), ""),  # weights of 0 and 1
        (lambda a, w: a.flat[w.argmax()], ""),  # one weight that is not 0
        (lambda a, w: (a * w**2).sum() / (w**2).sum(), ""),  # weights of 0 and 1
        (lambda a, w: (a * w).sum() / np.count_nonzero(w), ""),  # weights of 0 and 1
    ],
}  # fmt: skip


@pytest.mark.parametrize("exercise", WRONG)
def test_ten_wrong_counts_are_refused(exercise):
    assert len(WRONG[exercise]) >= 10
    for number, (answer, word) in enumerate(WRONG[exercise]):
        verdict = check_count(exercise, answer)
        assert verdict.state == "wrong", f"answer {number} passes"
        assert word in verdict.mistake, f"answer {number}: {verdict}"


@pytest.mark.parametrize(
    ("exercise", "right"),
    [
        ("turns", turns),
        ("tile_bytes", tile_bytes),
        ("limit", limit),
        ("receptive_field", receptive_field),
        ("weighted_mean", weighted_mean),
    ],
)
def test_right_counts_pass(exercise, right):
    assert str(check_count(exercise, right)).startswith(f"✓ {exercise}: right for")
    assert check_count(exercise, lambda *a: None).state == "not yet"
    for sentence, mistake in _COUNTS[exercise].mistakes:
        assert check_count(exercise, mistake).mistake == sentence


def test_the_exercise_on_tiles_is_about_the_real_rung():
    """`bench.ladder` predicts the same, and its prediction is compared with the emulator's count."""
    tile = next(r for r in RUNGS if (r.name, r.equation) == ("tile", "conv2d.forward"))
    for layer in (ladder.Layer(), ladder.Layer(5, 10, 20), ladder.Layer(2, 5, 13)):
        numbers = tile.module.source.constants
        asked = (layer.size, layer.channels, layer.outputs, numbers["ROWS"], numbers["COLUMNS"], numbers["OUTPUTS"])
        assert tile_bytes(*asked) == ladder.predicted(tile, layer) == _tile(*asked)


def test_what_a_count_is_not():
    assert "it is called with (words)" in str(check_count("turns", lambda: 1))
    assert "return one number" in str(check_count("turns", lambda words: [1]))
    assert check_count("turns", lambda words: (_ for _ in ()).throw(NotImplementedError)).state == "not yet"
    with pytest.raises(ValueError, match="no exercise 'banks'; there are receptive_field, weighted_mean, turns, tile_bytes, limit"):
        check_count("banks", turns)
