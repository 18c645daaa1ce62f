"""Programs that are written for PyTorch run here with their imports changed, and print the same numbers."""

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "loops"
#: The whole port.
IMPORTS = {
    "import torch.nn.functional as F": "import minisegnet.functional as F",
    "from torch import nn": "from minisegnet import nn",
    "import torch": "import minisegnet as torch",
}


def draw(*shape, scale=1.0):
    return (scale * RNG.standard_normal(shape)).astype(np.float32)


RNG = np.random.default_rng(5)


def micrograd():
    points = draw(10, 2)
    return {
        "weights": [draw(4, 2), draw(3, 4), draw(1, 3)],
        "points": points,
        "signs": [1 if p[0] * p[1] > 0 else -1 for p in points],
    }


def regression():
    features, true = draw(50, 2), np.array([2, -3.4], np.float32)
    return {"features": features, "labels": features @ true + 4.2 + draw(50, scale=0.01), "order": RNG.permutation(50), "w": draw(2, 1)}


def makemore():
    return {
        "C": draw(9, 3),
        "W1": draw(9, 8, scale=0.5),
        "W2": draw(8, 9, scale=0.1),
        "X": RNG.integers(0, 9, (60, 3)),
        "Y": RNG.integers(0, 9, 60),
        "batches": RNG.integers(0, 60, (20, 16)),
    }


def examples():
    x = np.linspace(-1.5, 1.5, 200, dtype=np.float32)
    return {"x": x, "y": np.sin(2 * x), "start": [float(v) for v in draw(4)]}


def nn_tutorial():
    x, y = draw(64, 64, scale=0.3), RNG.integers(0, 4, 64)
    x[np.arange(64), y] += 2
    shapes = {"conv1.weight": (4, 1, 3, 3), "conv1.bias": (4,), "conv2.weight": (4, 4, 3, 3), "conv2.bias": (4,)}
    return {"x": x, "y": y, "weights": draw(64, 4, scale=0.125), "kernels": {name: draw(*s, scale=0.3) for name, s in shapes.items()}}


@pytest.mark.parametrize("data", [micrograd, regression, makemore, examples, nn_tutorial], ids=lambda f: f.__name__)
def test_only_the_import_is_changed(data):
    pytest.importorskip("torch")
    path = FOLDER / f"{data.__name__}.py"
    source, given = path.read_text(), data()
    ours = source
    for theirs, mine in IMPORTS.items():
        ours = ours.replace(f"{theirs}\n", f"{mine}\n")
    assert "import torch" not in ours and ours != source
    found = []
    for text in (ours, source):
        names = {"DATA": given}
        exec(compile(text, path, "exec"), names)
        found.append(np.concatenate([np.ravel(line) for line in names["printed"]]))
    assert np.isfinite(found[0]).all() and len(np.unique(found[0])) > 4
    np.testing.assert_allclose(found[0], found[1], rtol=2e-4, atol=2e-6)
