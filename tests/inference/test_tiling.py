"""Tiles cover an image, and their seams do not show in the result."""

import sys
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import minisegnet as ms
from minisegnet import inference, models, random
from minisegnet.data import standardise
from minisegnet.inference import LargeImage, Tiling, blend, segment_large, tiled_scores

RNG = np.random.default_rng(0)


def network(name="unet", in_channels=1, num_classes=3, width=1 / 16, **options):
    random.manual_seed(1)
    return models.create(name, in_channels, num_classes, width=width, **options).eval()


def whole(predict, image, tiling):
    strips = list(blend(predict, lambda a, b: image[:, a:b], image.shape[1:], tiling))
    starts = np.cumsum([0, *(strip.shape[1] for _, strip in strips)])
    assert [start for start, _ in strips] == starts[:-1].tolist() and starts[-1] == image.shape[1]
    return np.concatenate([strip for _, strip in strips], axis=1)


# --- geometry ---------------------------------------------------------------------------


def test_the_example_of_nnunet():
    assert Tiling(64, 0.5, align=1).along(110) == [(0, 64), (23, 87), (46, 110)]


tilings = st.builds(
    lambda tile, overlap, margin, align: (tile, overlap, margin, align),
    st.integers(1, 60), st.sampled_from([0, 0.1, 0.25, 0.5, 0.8]), st.integers(0, 12), st.sampled_from([1, 4, 16]),
)  # fmt: skip


@given(tilings, st.integers(1, 300))
def test_tiles_cover_the_image_and_overlap_as_promised(numbers, length):
    tile, overlap, margin, align = numbers
    if min(int(tile * (1 - overlap)), tile - 2 * margin) < align:
        with pytest.raises(ValueError, match="cannot advance"):
            Tiling(*numbers)
        return
    tiling = Tiling(*numbers)
    found = tiling.along(length)
    assert found[0][0] == 0 and found[-1][1] == length
    assert all(start % align == 0 for start, _ in found)
    assert all(stop - start == tile for start, stop in found[:-1])
    assert found[-1][1] - found[-1][0] <= tile + align - 1
    shared = [a[1] - b[0] for a, b in pairwise(found)]
    assert all(s >= max(tile * overlap - 1e-9, 2 * margin) for s in shared)
    total = np.zeros(length)
    for (start, stop), w in zip(found, tiling.weights(length), strict=True):
        assert (w >= 0).all()
        assert start == 0 or not w[:margin].any()
        assert stop == length or not w[len(w) - margin :].any()
        total[start:stop] += w
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_the_weight_falls_from_the_middle_like_a_gaussian():
    (w,) = Tiling(64, align=1).weights(64)
    np.testing.assert_allclose(w, 1)  # where there is only one tile, its weight is 1
    first, second = Tiling(64, 0.5, align=1).weights(96)
    i = np.arange(32)  # the common half: rows 32 to 63 of the first tile, 0 to 31 of the second
    g = lambda k: np.exp(-0.5 * ((k - 31.5) / 8.0) ** 2)
    np.testing.assert_allclose(first[32:], g(32 + i) / (g(32 + i) + g(i)), rtol=1e-12)
    np.testing.assert_allclose(second[:32], g(i) / (g(32 + i) + g(i)), rtol=1e-12)


@pytest.mark.parametrize(
    "numbers", [(0, 0.5, 0, 1), (64, 1.0, 0, 1), (64, -0.1, 0, 1), (64, 0.5, -1, 1), (64, 0.5, 0, 0), (64, 0.5, 32, 1), (64, 0.9, 0, 16)]
)
def test_tilings_that_make_no_sense_are_refused(numbers):
    with pytest.raises(ValueError, match=str(numbers[0])):
        Tiling(*numbers)


# --- the same as the whole ----------------------------------------------------------------


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 9))
def test_a_pointwise_predictor_does_not_notice(height, width, seed):
    image = np.random.default_rng(seed).standard_normal((2, height, width))
    predict = lambda tile: np.stack([tile[0] * tile[1], tile[0] - 2, np.sin(tile[1])])
    np.testing.assert_allclose(whole(predict, image, Tiling(24, 0.3, 2, 4)), predict(image), rtol=1e-12, atol=1e-12)


def test_with_a_margin_as_wide_as_the_receptive_field_nothing_changes():
    """Two 3×3 convolutions reach 2 pixels in each direction; without that margin the seams show."""
    random.manual_seed(0)
    net = ms.nn.Sequential(ms.nn.Conv2d(1, 4, 3, padding=1), ms.nn.ReLU(), ms.nn.Conv2d(4, 3, 3, padding=1)).double()
    image = RNG.standard_normal((1, 75, 90))
    plain = inference.scores(net, image[None]).array[0]
    seamless = tiled_scores(net, image, Tiling(24, 0, margin=2, align=1))
    np.testing.assert_allclose(seamless, plain, rtol=1e-12, atol=1e-12)
    for narrow in (Tiling(24, 0, margin=1, align=1), Tiling(24, 0.5, align=1)):
        assert np.abs(tiled_scores(net, image, narrow) - plain).max() > 1e-9


def test_a_unet_in_aligned_tiles_is_the_unet_of_the_whole_image():
    """The U-Net halves four times and reaches 108 pixels in each direction. 150 columns are not a multiple of 16."""
    model = network().double()
    image = RNG.standard_normal((1, 420, 150))
    plain = inference.scores(model, image[None]).array[0]
    np.testing.assert_allclose(tiled_scores(model, image, Tiling(256, 0, margin=112)), plain, rtol=1e-9, atol=1e-10)
    off = tiled_scores(model, image, Tiling(256, 0, margin=112, align=1))  # starts at 0, 31, ...: halved between other pixels
    assert np.abs(off - plain).max() > 1e-6


def test_gaussian_blending_is_nearer_to_the_whole_than_tiles_side_by_side():
    model = network().double()
    image = RNG.standard_normal((1, 256, 256))
    plain = inference.scores(model, image[None]).array[0]
    error = lambda tiling: np.abs(tiled_scores(model, image, tiling) - plain).mean()
    assert error(Tiling(128, 0.5)) < 0.5 * error(Tiling(128, 0))


def test_scores_of_another_size_are_refused():
    with pytest.raises(ValueError, match="8 × 8 pixels got scores of shape"):
        whole(lambda tile: tile[:, 1:], np.zeros((1, 8, 8)), Tiling(8, align=1))


# --- from file to file ----------------------------------------------------------------------


@pytest.mark.parametrize("form", ["L", "RGB", "RGBA", "LA", "P", "I;16", "1", "jpg", "npy", "array"])
def test_a_large_image_is_prepared_as_a_small_one(tmp_path, form):
    grey = RNG.integers(0, 255, (61, 37), dtype=np.uint8)
    colour = np.dstack([grey, grey[::-1], grey[:, ::-1]])
    path = tmp_path / "a.png"
    if form in ("npy", "array"):
        np.save(tmp_path / "a.npy", colour)
        source = tmp_path / "a.npy" if form == "npy" else colour
        for channels in (1, 3):
            expected = inference.prepare(colour, channels)
            np.testing.assert_allclose(LargeImage(source, channels).rows(0, 61), expected, rtol=1e-5, atol=1e-5)
        return
    if form == "jpg":
        path = tmp_path / "a.jpg"
        Image.fromarray(colour).save(path)
    elif form == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 201 + 7).save(path)
    else:
        Image.fromarray(colour).convert(form).save(path)
    for channels in (1, 3):
        expected = standardise(ms.data.read_image(path, channels))
        image = LargeImage(path, channels)
        assert image.size == (61, 37)
        np.testing.assert_allclose(image.rows(0, 61), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(image.rows(20, 30), expected[:, 20:30], rtol=1e-5, atol=1e-5)


def test_statistics_do_not_lose_digits():
    """Several bands with a small deviation on a large offset."""
    values = np.float32(30000) + RNG.random((700, 11)).astype(np.float32)
    mean, deviation = LargeImage(values).statistics
    assert mean == pytest.approx(values.mean(dtype=np.float64), rel=1e-13)
    assert deviation == pytest.approx(values.astype(np.float64).std(), rel=1e-9)
    assert not LargeImage(np.full((30, 30), 7, np.uint8)).rows(0, 30).any()
    some = LargeImage(np.where(values > 30000.5, np.nan, values))  # NaN: nothing was measured
    assert some.statistics[0] == pytest.approx(values[values <= 30000.5].mean(dtype=np.float64), rel=1e-12)
    assert not some.rows(0, 700)[0][values > 30000.5].any() and np.isnan(some.rows(0, 700, missing=True)[0][values > 30000.5]).all()
    with pytest.raises(ValueError, match="infinity"):
        _ = LargeImage(np.where(values > 30000.5, np.inf, values)).statistics


def test_labels_from_file_to_file(tmp_path):
    model = network()
    image = RNG.integers(0, 255, (150, 201), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    labels, sure = inference.segment_image(model, image, confidence=True)
    counts = segment_large(
        model, tmp_path / "a.png", tmp_path / "l.png", confidence=tmp_path / "c.png", tiling=Tiling(512),
        colours=np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8),
    )  # fmt: skip
    with Image.open(tmp_path / "l.png") as found, Image.open(tmp_path / "c.png") as doubt:
        assert found.mode == "P" and found.getpalette()[:9] == list(range(1, 10))
        differing = np.asarray(found) != labels
        assert differing.mean() < 1e-3
        assert np.abs(np.asarray(doubt) / 255.0 - sure).max() < 0.5 / 255 + 1e-4
        assert counts.tolist() == np.bincount(np.asarray(found).ravel(), minlength=3).tolist()


def test_every_strip_is_handed_on_with_its_rows_of_the_image(tmp_path):
    model, image, seen = network(), RNG.integers(0, 255, (300, 70), dtype=np.uint8), []
    segment_large(model, image, tmp_path / "l.png", tiling=Tiling(96), on_strip=lambda *strip: seen.append(strip))
    assert len(seen) > 2 and [start for start, *_ in seen] == np.cumsum([0, *(len(labels) for *_, labels in seen)])[:-1].tolist()
    np.testing.assert_allclose(np.concatenate([rows for _, rows, _ in seen], axis=1), inference.prepare(image), atol=1e-5)
    with Image.open(tmp_path / "l.png") as found:
        np.testing.assert_array_equal(np.concatenate([labels for *_, labels in seen]), np.asarray(found))


def test_a_file_is_read_without_pyvips_as_well(tmp_path, monkeypatch):
    image = RNG.integers(0, 255, (60, 40), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "pyvips", None)
    np.testing.assert_allclose(LargeImage(tmp_path / "a.png").rows(5, 60), inference.prepare(image)[:, 5:], atol=1e-5)
    (tmp_path / "b.npy").write_bytes(b"no array")
    with pytest.raises(OSError, match=r"b\.npy: this is not a \.npy file"):
        LargeImage(tmp_path / "b.npy")


def test_nothing_is_half_written_when_the_image_is_damaged_further_down(tmp_path):
    Image.fromarray(RNG.integers(0, 255, (300, 64), dtype=np.uint8)).save(tmp_path / "a.png")
    good = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(good[: len(good) - 200])
    with pytest.raises(OSError, match=r"a\.png"):
        segment_large(network(), tmp_path / "a.png", tmp_path / "l.png", tiling=Tiling(64))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", ["npy", "png"])
def test_memory_is_that_of_a_row_of_tiles_whatever_the_height(tmp_path, suffix):
    if suffix == "png":
        pytest.importorskip("pyvips", reason="pyvips is not installed (extra large)")
    net, peaks, source = ms.nn.Conv2d(1, 2, 1), [], tmp_path / f"a.{suffix}"
    for height in (400, 6400):
        image = np.broadcast_to(RNG.integers(0, 255, 96, dtype=np.uint8), (height, 96)).copy()
        np.save(source, image) if suffix == "npy" else Image.fromarray(image).save(source)
        segment_large(net, source, tmp_path / "l.png", tiling=Tiling(64))  # a first call loads what stays loaded
        tracemalloc.start()
        segment_large(net, source, tmp_path / "l.png", tiling=Tiling(64))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.6 * peaks[0] + (1 << 20)
    assert peaks[1] < 4 * 2 * 6400 * 96  # the scores of the whole image alone would be larger
