"""What microscopists measure: stacks in, stacks out, tables, outlines; and folders in folders."""

import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.layouts import put

from minisegnet import data, inference
from minisegnet.cli import main
from minisegnet.exchange.weights import NUCLEI
from minisegnet.inference import find_objects


def run(*argv):
    return main([str(a) for a in argv])


@pytest.fixture(scope="module")
def film():
    """Three frames of 16 bits from the embedded field."""
    field = data.nuclei_field()[0].astype(np.uint16) * 150
    return np.stack([field[k * 80 : k * 80 + 96, 60:180] for k in range(3)])


def test_a_stack_gives_a_stack_a_table_and_rois(film, tmp_path, capsys):
    import roifile

    tifffile.imwrite(tmp_path / "film.tif", film, imagej=True, metadata={"axes": "TYX"})
    assert run("segment", tmp_path / "film.tif", "--out", tmp_path / "out", "--objects", "csv,numbers,geojson,rois,coco", "--overlay") == 0
    assert "3 images" in capsys.readouterr().out
    names = {"film.tif", "film_overlay.tif", "film_objects.csv", "film_objects.tif", "film_objects.geojson", "film_rois.zip", "coco.json"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names
    model = inference.load_model(NUCLEI)
    labels, numbers = (tifffile.imread(tmp_path / "out" / name) for name in ("film.tif", "film_objects.tif"))
    assert numbers.dtype == np.uint16 and labels.shape == numbers.shape == film.shape
    with (tmp_path / "out" / "film_objects.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for k in range(3):
        np.testing.assert_array_equal(labels[k], inference.segment_image(model, film[k]))
        ids, _ = find_objects(labels[k], model.about.classes)
        np.testing.assert_array_equal(numbers[k], ids)
        own = [row for row in rows if row["frame"] == str(k)]
        assert [int(row["area"]) for row in own] == np.bincount(ids.ravel())[1:].tolist() and own
        for row in own[:3]:
            assert float(row["mean_intensity"]) == pytest.approx(film[k][ids == int(row["object"])].mean(), abs=1e-3)
    rois = roifile.roiread(tmp_path / "out" / "film_rois.zip")
    assert len(rois) == len(rows) and {roi.position for roi in rois} == {1, 2, 3}
    features = json.loads((tmp_path / "out" / "film_objects.geojson").read_text())["features"]
    assert [f["properties"]["frame"] for f in features] == [int(row["frame"]) for row in rows]
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert [image["frame"] for image in coco["images"]] == [0, 1, 2] and len(coco["annotations"]) == len(rows)


def test_tiles_make_the_same_objects_file_by_file(film, tmp_path):
    put(tmp_path / "in" / "a.png", film[0])
    assert run("segment", tmp_path / "in", "--out", tmp_path / "out", "--tile", 64, "--objects", "--smallest", 20) == 0
    with (tmp_path / "out" / "a_objects.csv").open(newline="") as stream:
        areas = [int(row["area"]) for row in csv.DictReader(stream)]
    with Image.open(tmp_path / "out" / "a.png") as picture:
        ids, _ = find_objects(np.asarray(picture), ("background", "nucleus"), smallest=20)
    assert areas == np.bincount(ids.ravel())[1:].tolist() and min(areas) >= 20


def test_folders_in_folders_keep_their_places(film, tmp_path, capsys):
    for name in ("a.png", "day 1/a.png", "day 1/well B/b.png", "day 1/._a.png"):
        put(tmp_path / "in" / name, film[0][:32, :32])
    assert run("segment", tmp_path / "in", "--out", tmp_path / "flat") == 0
    assert [p.name for p in (tmp_path / "flat").iterdir()] == ["a.png"]
    assert run("segment", tmp_path / "in", "--out", tmp_path / "deep", "--recursive") == 0
    found = sorted(str(p.relative_to(tmp_path / "deep")) for p in (tmp_path / "deep").rglob("*.png"))
    assert found == ["a.png", "day 1/a.png", "day 1/well B/b.png"]
    assert "[3/3] " in capsys.readouterr().out
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    assert run("segment", tmp_path / "empty") == 2
    assert "--recursive looks deeper" in capsys.readouterr().err


def test_masks_beside_their_images_are_not_labelled(film, tmp_path, capsys):
    for name in ("a.png", "a_mask.png", "b.png", "b_mask.png", "a_left.png"):
        put(tmp_path / "in" / name, film[0][:32, :32])
    assert run("segment", tmp_path / "in", "--out", tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "a_left.png", "b.png"]
    assert "2 files with the names of masks are left out" in capsys.readouterr().out


def test_pixels_without_data_have_no_label(tmp_path, film, capsys):
    image = film[0].astype(np.float32)
    image[:20] = np.nan
    for name, options in (("whole", []), ("tiles", ["--tile", 64])):
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
        assert run("segment", tmp_path / f"{name}.tif", "--out", tmp_path / "out", "--overlay", "--confidence", *options) == 0
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            labels = np.asarray(picture)
        assert (labels[:20] == 255).all() and set(np.unique(labels[20:])) == {0, 1}
    shown = capsys.readouterr().out
    assert "100.0%" not in shown
    found = inference.segment_image(inference.load_model(NUCLEI), image)
    assert (found[:20] == 255).all()


def test_objects_that_cannot_be_are_refused_at_once(tmp_path, capsys, monkeypatch):
    put(tmp_path / "a.png", np.zeros((20, 20), np.uint8))
    assert run("segment", tmp_path / "a.png", "--smallest", 5) == 2
    assert "goes with --objects" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("segment", tmp_path / "a.png", "--objects", "csv,xls")
    assert "one or more of csv, numbers, geojson, rois, coco" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    assert run("segment", tmp_path / "a.png", "--out", tmp_path / "out", "--objects") == 2
    assert "pip install scikit-image roifile" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_frames_that_a_file_calls_channels(film, tmp_path, capsys, monkeypatch):
    """tifffile writes a stack (20, H, W) for ImageJ as 20 channels if its axes are not named. The line in the message mends the file."""
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("film.tif", film[[0, 1, 2, 0, 1]], imagej=True)
    assert run("segment", "film.tif") == 2
    said = capsys.readouterr().err
    assert "its 5 pages are the channels of one image, and 1 is needed" in said
    exec(said.partition("let the file say so: ")[2], {"tifffile": tifffile})
    assert run("segment", "film.tif", "--objects", "csv,rois") == 0
    assert tifffile.imread("segmented/film.tif").shape == (5, 96, 120)


# --- where on the Earth -------------------------------------------------------------------------


def test_the_results_of_a_geotiff_keep_its_place(tmp_path):
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    place = {33550: ("d", 3, (10.0, 10.0, 0.0)), 33922: ("d", 6, (0, 0, 0, 5e5, 5.2e6, 0.0)), 34735: ("H", len(keys), keys)}
    image = np.random.default_rng(0).integers(1, 4000, (40, 56), np.uint16)
    image[:4, :9] = 0
    extra = [(tag, kind, count, value, True) for tag, (kind, count, value) in place.items()] + [(42113, "s", 2, "0", True)]
    tifffile.imwrite(tmp_path / "scene.tif", image, extratags=extra)
    command = ["segment", tmp_path / "scene.tif", "--out", tmp_path / "out", "--overlay", "--confidence", "--objects", "numbers,csv"]
    assert main([str(word) for word in command]) == 0
    for name in ("scene", "scene_confidence", "scene_objects"):
        with tifffile.TiffFile(tmp_path / "out" / f"{name}.tif") as file:
            (page,) = file.pages
            found = {tag: tuple(page.tags[tag].value) for tag in place}
            assert found == {tag: tuple(value) for tag, (_, _, value) in place.items()}, name
            assert page.shape == image.shape
    with tifffile.TiffFile(tmp_path / "out" / "scene.tif") as file:
        labels = file.pages[0].asarray()
        assert file.pages[0].tags[42113].value == "255" and (labels[:4, :9] == 255).all() and (labels[5:] != 255).all()
    plain = inference.segment_image(inference.load_model(NUCLEI), np.where(image == 0, np.nan, image).astype(np.float32))
    np.testing.assert_array_equal(labels, plain)
    with tifffile.TiffFile(tmp_path / "out" / "scene_overlay.tif") as file:
        assert 33550 not in file.pages[0].tags
