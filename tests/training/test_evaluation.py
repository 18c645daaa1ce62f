"""Evaluation of images of any size in bounded memory."""

import numpy as np
import pytest

from minisegnet import inference, losses, models, random, training
from minisegnet.data import Arrays
from minisegnet.inference import tiling_for
from minisegnet.training.evaluation import measure


@pytest.fixture
def large():
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 3, size) for size in ((300, 410), (40, 48), (40, 48), (40, 48))]
    for mask in masks:
        mask[:5] = 255
    return Arrays([mask % 3 + rng.normal(size=mask.shape) for mask in masks], masks, ("a", "b", "c"))


@pytest.fixture
def model():
    random.manual_seed(0)
    return models.create("unet", 1, 3, width=1 / 16)


def test_a_large_image_is_computed_in_tiles(model, large, monkeypatch):
    """No pass has many more pixels than allowed, and the labels and the loss are those of the tiles."""
    passes = []
    whole = inference.whole.run
    monkeypatch.setattr("minisegnet.training.evaluation.run", lambda m, x: passes.append(np.shape(x)) or whole(m, x))
    most = 160 * 160
    loss = losses.AuxiliaryLoss(losses.create("ce", ignore_index=255), by_class=True)
    confusion, value = measure(model, large, 8, loss, most=most)
    assert max(n * h * w for n, c, h, w in passes) <= 175 * 175
    assert (3, 1, 40, 48) in passes, "the small ones are computed together"
    labels = [inference.predict_within(model, image, most) for image, _ in large]
    truth = [mask for _, mask in large]
    assert confusion.matrix.sum() == sum((mask != 255).sum() for mask in truth)
    assert np.trace(confusion.matrix) == sum((found == mask).sum() for found, mask in zip(labels, truth, strict=True))

    tiling = tiling_for((300, 410), most)
    scores = inference.tiled_scores(model, large[0][0], tiling)
    counted, total = 0, 0.0
    for found, mask in zip([scores, *(inference.scores(model, x[None]).array[0] for x, _ in list(large)[1:])], truth, strict=True):
        p = np.exp(found - found.max(0)) / np.exp(found - found.max(0)).sum(0)
        there = mask != 255
        total -= np.log(np.take_along_axis(p, np.where(there, mask, 0)[None], 0)[0][there]).sum()
        counted += there.sum()
    np.testing.assert_allclose(value, total / counted, rtol=1e-5)


def test_metrics_see_whole_images(model, large):
    class Seen:
        shapes = []

        def update(self, truth, found):
            self.shapes.append(found.shape)

    measure(model, large, 2, also=[Seen()], most=160 * 160)
    assert Seen.shapes == [(1, 300, 410), (2, 40, 48), (1, 40, 48)]


@pytest.mark.parametrize(
    ("size", "most", "tile"),
    [((512, 512), 1 << 18, None), ((584, 565), 1 << 18, 384), ((2560, 2560), 1 << 18, 512), ((20, 9000), 1 << 16, 256)],
)
def test_the_tiles_are_as_small_as_their_number_allows(size, most, tile):
    found = tiling_for(size, most)
    if tile is None:
        assert found is None
        return
    assert found.tile <= tile and found.count(*size) == inference.Tiling(int(most**0.5) // 16 * 16).count(*size)


def test_a_training_evaluates_no_more_than_its_steps_allow(monkeypatch, large, model):
    seen = []
    monkeypatch.setattr("minisegnet.training.run.measure", lambda *a, most, **o: seen.append(most) or measure(*a, most=most, **o))
    training.fit(model, large, large, steps=1, batch_size=2, crop=32, progress=False)
    assert seen == [1 << 16]
