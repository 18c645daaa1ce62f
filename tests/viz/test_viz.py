"""Pictures: the tests open the files again and read their pixels."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minisegnet import data, viz
from minisegnet.viz.gallery import Panel, gallery
from minisegnet.viz.pictures import as_rgb
from minisegnet.viz.progress import LINES, smooth
from minisegnet.viz.sheet import CONFUSED, FALSE, FOUND, MISSED, SKIPPED, error_map

RNG = np.random.default_rng(0)


def pixels(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.array(picture.convert("RGB"))


def count(picture, colour):
    return int((picture == np.array(colour)).all(-1).sum())


# --- colours and label maps -------------------------------------------------------------


def test_the_palette_is_that_of_pascal_voc():
    """The colours as published by the VOC challenge."""
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 7: (128, 128, 128)}
    known |= {8: (64, 0, 0), 15: (192, 128, 128), 16: (0, 64, 0), 20: (0, 64, 128), 255: (224, 224, 192)}
    found = data.palette(256)
    assert {k: tuple(found[k].tolist()) for k in known} == known
    assert len(np.unique(found, axis=0)) == 256
    np.testing.assert_array_equal(data.palette(21), found[:21])
    with pytest.raises(ValueError, match="up to 256 colours, not 300"):
        data.palette(300)


@pytest.mark.parametrize("n", [1, 2, 8, 9, 256])
def test_classes_have_colours_of_their_own(n):
    found = data.class_palette(n)
    assert found.shape == (n, 3) and found.dtype == np.uint8 and len(np.unique(found, axis=0)) == n


def luminance(colour):
    """Relative luminance, WCAG 2."""
    c = np.array(colour) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def test_the_error_colours_differ_in_brightness_from_the_darkened_image():
    for colour in (FOUND, FALSE, MISSED, CONFUSED, SKIPPED):
        assert (luminance(colour) + 0.05) / (luminance((30, 30, 30)) + 0.05) > 3


def test_labels_become_their_colours():
    labels = np.array([[0, 1, 2], [255, 2, 0]])
    found = viz.colourise(labels, data.palette(3))
    assert found.dtype == np.uint8
    assert found.tolist() == [[[0, 0, 0], [128, 0, 0], [0, 128, 0]], [[224, 224, 192], [0, 128, 0], [0, 0, 0]]]
    with pytest.raises(ValueError, match=r"label 2 has no colour.*2 colours"):
        viz.colourise(labels, data.palette(2))
    with pytest.raises(ValueError, match=r"\(H, W\).*\(1, 2, 3\)"):
        viz.colourise(labels[None], data.palette(3))
    with pytest.raises(ValueError, match="integer labels"):
        viz.colourise(labels / 2, data.palette(3))


def test_an_overview_is_every_kth_row_and_column_of_the_overlay_whatever_the_strips(tmp_path, monkeypatch):
    monkeypatch.setattr("minisegnet.viz.overview._LARGEST", 20)
    image, labels = RNG.integers(0, 255, (3, 70, 41), dtype=np.uint8), RNG.integers(0, 2, (70, 41))
    glance = viz.Overview((70, 41))
    for start, stop in ((0, 3), (3, 30), (30, 31), (31, 70)):
        glance.add(start, image[:, start:stop], labels[start:stop])
    with Image.open(glance.save(tmp_path / "o.png", data.palette(2), background=None)) as found:
        expected = viz.overlay(image[:, ::4, ::4], labels[::4, ::4], data.palette(2), background=None)
        np.testing.assert_array_equal(np.asarray(found), expected)


def test_an_overlay_blends_regions_leaves_the_background_and_draws_rims():
    image = np.full((9, 9, 3), 100, np.uint8)
    labels = np.zeros((9, 9), int)
    labels[2:7, 2:7] = 1
    labels[0, 0] = 255
    found = viz.overlay(image, labels, np.array([[0, 0, 0], [200, 0, 50]]), alpha=0.5)
    assert found[0, 0].tolist() == found[1, 1].tolist() == [100, 100, 100]
    assert found[4, 4].tolist() == [150, 50, 75]
    assert found[2, 4].tolist() == [200, 0, 50]
    np.testing.assert_array_equal(viz.overlay(image, labels, data.palette(2), alpha=0), image)
    assert viz.overlay(image, labels, data.palette(2), alpha=1, background=None)[1, 4].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="between 0 and 1, not 3"):
        viz.overlay(image, labels, data.palette(2), alpha=3)
    with pytest.raises(ValueError, match=r"\(9, 9\).*\(9, 8\)"):
        viz.overlay(image, labels[:, :8], data.palette(2))


@pytest.mark.parametrize("shape", [(5, 6), (1, 5, 6), (2, 5, 6), (3, 5, 6), (4, 5, 6)])
def test_any_image_can_be_shown_whatever_its_scale(shape):
    image = RNG.normal(size=shape).astype(np.float32)
    shown = as_rgb(image)
    assert shown.shape == (5, 6, 3) and shown.dtype == np.uint8 and (shown.min(), shown.max()) == (0, 255)
    np.testing.assert_allclose(as_rgb(image * 300 + 7).astype(int), shown, atol=1)
    assert as_rgb(np.full(shape, 3.5)).max() == 0
    with pytest.raises(ValueError, match="shape"):
        as_rgb(np.zeros(4))


def test_8_bit_images_are_shown_as_they_are():
    image = RNG.integers(50, 200, (5, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(as_rgb(image), image)
    np.testing.assert_array_equal(as_rgb(np.moveaxis(image, 2, 0)), image)


def test_a_label_png_holds_the_labels_and_shows_the_colours(tmp_path):
    labels = RNG.integers(0, 4, (13, 17))
    labels[0, 0] = 255
    colours = data.class_palette(4)
    path = viz.save_label_png(labels, colours, tmp_path / "labels.png")
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.array(picture), labels)
    np.testing.assert_array_equal(pixels(path), viz.colourise(labels, colours))
    with pytest.raises(ValueError, match="0 to 255; these go from 0 to 256"):
        viz.save_label_png(np.array([[0, 256]]), colours, tmp_path / "wide.png")
    assert sorted(os.listdir(tmp_path)) == ["labels.png"]


# --- sheets of predictions --------------------------------------------------------------


def test_the_error_map_distinguishes_the_kinds_of_error():
    image = np.full((1, 1, 6), 100, np.uint8)
    truth, guess = np.array([[0, 1, 0, 1, 1, 255]]), np.array([[0, 1, 1, 0, 2, 1]])
    found = error_map(image, truth, guess)
    assert [tuple(c) for c in found[0].tolist()] == [(45, 45, 45), FOUND, FALSE, MISSED, CONFUSED, SKIPPED]
    found = error_map(image, truth, guess, background=None)
    assert [tuple(c) for c in found[0].tolist()] == [(45,) * 3, (45,) * 3, FALSE, FALSE, FALSE, SKIPPED]


@pytest.mark.parametrize(("rows", "size", "classes"), [(1, (40, 40), 2), (3, (64, 16), 3), (2, (20, 60), 21)])
def test_a_sheet_shows_truth_prediction_and_errors(tmp_path, rows, size, classes):
    truths = RNG.integers(0, 2, (rows, *size))
    guesses = RNG.integers(0, 2, (rows, *size))
    colours = data.class_palette(classes)
    names = [f"class {k}" for k in range(classes)]
    path = viz.predictions(RNG.normal(size=(rows, 3, *size)), truths, guesses, names, colours, tmp_path / "new" / "p.png", background=0)
    sheet = pixels(path)
    assert path == tmp_path / "new" / "p.png" and sheet.shape[1] > 900
    # The areas on the sheet are in proportion to the pixels, and both panels are there.
    area = {k: count(sheet, colours[k]) for k in (0, 1)}
    pixel_area = (area[0] + area[1]) / (truths.size + guesses.size)
    for k in (0, 1):
        expected = ((truths == k).sum() + (guesses == k).sum()) * pixel_area
        assert area[k] == pytest.approx(expected, rel=0.05)
    for colour, where in ((FOUND, truths & guesses), (FALSE, (1 - truths) & guesses), (MISSED, truths & (1 - guesses))):
        assert count(sheet, colour) == pytest.approx(where.sum() * pixel_area, rel=0.1)
    edges = np.concatenate([sheet[:6].reshape(-1, 3), sheet[-6:].reshape(-1, 3), sheet[:, :6].reshape(-1, 3), sheet[:, -6:].reshape(-1, 3)])
    assert (edges == 255).all(), "something touches the edge of the sheet"


def test_a_sheet_without_a_path_is_a_picture_and_a_wrong_one_an_error():
    image, labels = np.zeros((1, 8, 8)), np.zeros((8, 8), int)
    assert isinstance(viz.predictions([image], [labels], [labels], ["a", "b"]), Image.Image)
    with pytest.raises(ValueError, match="no image"):
        viz.predictions([], [], [], ["a", "b"])
    with pytest.raises(ValueError, match=r"row 0 .*\(8, 8\).*\(7, 8\)"):
        viz.predictions([image], [labels], [labels[:7]], ["a", "b"])


# --- curves -----------------------------------------------------------------------------


def log(steps=100):
    rows = [{"step": s, "loss": 1 / s + RNG.random() * 0.05, "lr": 1e-3} for s in range(1, steps + 1)]
    for row in rows[9::10]:
        row |= {"val_loss": 1 / row["step"], "val_iou": 1 - 1 / row["step"], "val_iou_nucleus": 0.5}
    return rows


BLUE, ORANGE, INK, GREEN = (0, 114, 178), (213, 94, 0), (27, 30, 43), (0, 158, 115)


def test_curves_are_drawn_from_rows_and_from_a_file_alike(tmp_path):
    rows = log()
    columns = ["step", "loss", "lr", "val_loss", "val_iou", "val_iou_nucleus"]
    text = [",".join(columns), *(",".join(str(row.get(c, "")) for c in columns) for row in rows)]
    (tmp_path / "log.csv").write_text("\n".join(text), encoding="utf-8-sig")  # as a spreadsheet saves it
    found = pixels(viz.curves(rows, tmp_path / "rows.png"))
    np.testing.assert_array_equal(pixels(viz.curves(tmp_path / "log.csv", tmp_path / "file.png")), found)
    assert found.shape[0] == 630
    middle = round(150 * 5.1)  # the left axes end at 4.7 inches, the right ones begin at 5.6
    left, right = found[:, :middle], found[:, middle:]
    assert count(left, BLUE) > 500 and count(left, ORANGE) > 200
    assert count(right, INK) > 500 and count(right, GREEN) > 200 and count(right, BLUE) == 0


@pytest.mark.parametrize(
    "rows", [log(1), log(3), [{"epoch": 1, "loss": "nan"}], [{"val_iou": 0.5}, {"val_iou": ""}], [{"loss": 0}, {"loss": "inf"}]]
)
def test_curves_of_little_are_drawn_too(rows):
    width, height = viz.curves(rows).size
    assert height == 630 and width >= 1400


def test_the_checkpoint_that_was_kept_is_marked_and_the_legend_stands_beside_the_plot():
    """The mean is largest at the end; the run kept the checkpoint of another figure and another step."""
    rows = [{"step": s, "loss": 1 / s, "val_loss": 1 / s, "val_iou": s / 200, "val_iou_Car": 1 - s / 200} for s in range(10, 160, 10)]
    marked = np.array(viz.curves(rows, best=("Car IoU", 0.85, 30)))
    plain = np.array(viz.curves(rows))
    left, right, top, bottom = (round(150 * x) for x in (0.65 + 4.05 + 0.9, 0.65 + 2 * 4.05 + 0.9, 4.2 * 0.21, 4.2 * 0.87))
    column = right - left
    dotted = (marked[top:bottom, left:right] == ORANGE).all(-1).sum(0)
    low, high = 10 - 0.05 * 140, 150 + 0.05 * 140  # Matplotlib leaves 5 % free on either side
    at = (30 - low) / (high - low) * column
    assert abs(int(dotted.argmax()) - at) < 12 and dotted.max() > 70
    assert (plain[top:bottom, left:right] == ORANGE).all(-1).sum(0).max() < 40
    beside = marked[:, right + 10 :]
    assert count(beside, INK) > 50 and count(beside, GREEN) > 20


def test_twenty_lines_can_be_told_apart_also_by_the_colour_blind():
    linear = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in LINES]) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    machado = {
        "most people": np.eye(3),
        "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    oklab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    for matrix in machado.values():
        seen = np.cbrt(np.clip(linear @ np.array(matrix).T, 0, 1) @ np.array(cones).T) @ np.array(oklab).T
        away = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(LINES))
        assert len(LINES) == 20 and away.min() > 0.07


def test_long_captions_of_a_gallery_are_not_cut():
    words = "down4.maxpool_conv.1.double_conv.5 ConvTranspose2d  ‖g‖ 1.2e-05"
    panel = Panel(words, np.zeros((10, 10)), "gray", scale=False)
    tall, short = (gallery([Panel(text, panel.picture, "gray", scale=False)] * 2, columns=2, cell=2.0) for text in (words, "up1"))
    assert tall.size[0] == short.size[0] and tall.size[1] > short.size[1]
    heading = np.array(tall)[: tall.size[1] - round(150 * 2.1)]
    rows = np.flatnonzero((heading[60:, : round(150 * 2.35)] < 128).any(axis=(1, 2)))
    assert (np.diff(rows) > 3).sum() == 3, "three lines of text above the panel"


def test_curves_of_nothing_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no rows"):
        viz.curves([])
    with pytest.raises(ValueError, match="neither a loss nor an IoU; its columns are step, lr"):
        viz.curves([{"step": 1, "lr": 2}])
    with pytest.raises(FileNotFoundError):
        viz.curves(tmp_path / "none.csv")


@given(st.integers(1, 80), st.floats(1, 10), st.integers(0, 2**32 - 1))
def test_smoothing_is_a_weighted_mean_of_the_neighbours(length, width, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=length)
    values[rng.random(length) < 0.2] = np.nan
    values[rng.random(length) < 0.1] = np.inf
    found = smooth(values, width)
    reach = int(3 * width)
    for k in range(length):
        total = weight = 0.0
        for m in range(max(k - reach, 0), min(k + reach + 1, length)):
            if np.isfinite(values[m]):
                w = np.exp(-0.5 * ((m - k) / width) ** 2)
                total, weight = total + w * values[m], weight + w
        np.testing.assert_allclose(found[k], total / weight if weight else np.nan, rtol=1e-6, atol=1e-9)


# --- writing ----------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    labels = np.zeros((2, 2), int)
    with pytest.raises(OSError, match=r"cannot write .*file/out\.png: the folder .*file cannot be made or written to"):
        viz.save_label_png(labels, data.palette(2), tmp_path / "file" / "out.png")
    with pytest.raises(OSError, match=r"cannot write .*: it is a folder"):
        viz.save_label_png(labels, data.palette(2), tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write anywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="cannot be made or written to"):
            viz.save_label_png(np.zeros((2, 2), int), data.palette(2), tmp_path / "out.png")
    finally:
        tmp_path.chmod(0o700)


def test_matplotlib_is_not_imported_until_something_is_drawn_and_pyplot_never():
    code = (
        "import sys; from minisegnet import data, metrics, viz; assert 'matplotlib' not in sys.modules;"
        "viz.curves([{'step': 1, 'loss': 2}]); assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
