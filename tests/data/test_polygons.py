"""Polygons of COCO, labelme and CVAT become label maps, pixel by pixel."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from minisegnet import data
from minisegnet.cli import main
from minisegnet.data.base import DataError
from minisegnet.data.polygons import _unpacked, read_shapes

pytest.importorskip("skimage", reason="scikit-image is not installed (extra objects)")
SIZE = (20, 30)


def photo(folder, name="a.png"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)).save(folder / name)


def coco(folder, annotations, name="a.png"):
    photo(folder, name)
    content = {
        "images": [{"id": 7, "file_name": name, "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 3, "name": "rust"}, {"id": 1, "name": "crack"}],
        "annotations": [{"image_id": 7, **annotation} for annotation in annotations],
    }
    (folder / "c.json").write_text(json.dumps(content), encoding="utf-8-sig")
    return folder / "c.json"


def square(top, left, bottom, right):
    """The corners of a rectangle of whole pixels, and its pixels."""
    pixels = np.zeros(SIZE, bool)
    pixels[top:bottom, left:right] = True
    return [left, top, right, top, right, bottom, left, bottom], pixels


def masks(out):
    return np.asarray(Image.open(next((out / "masks").rglob("*.png"))))


def test_coco_from_file_to_data_set(tmp_path, capsys):
    (one, first), (two, second) = square(2, 3, 9, 12), square(5, 8, 15, 25)
    file = coco(tmp_path / "in", [{"category_id": 1, "segmentation": [one]}, {"category_id": 3, "segmentation": [two]}], "day 1/a.b.png")
    assert main(["draw", str(file), "--out", str(tmp_path / "out")]) == 0
    expected = np.where(second, 2, np.where(first, 1, 0))  # the later one is on top
    np.testing.assert_array_equal(masks(tmp_path / "out"), expected)
    found = data.open(tmp_path / "out")
    assert found.classes == ("background", "crack", "rust") and found.names == ["day 1/a.b"]
    np.testing.assert_array_equal(found[0][1], expected)
    assert main(["draw", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["draw", str(file), "--out", str(tmp_path / "b"), "--classes", "sky,rust,crack"]) == 0
    np.testing.assert_array_equal(masks(tmp_path / "b"), np.where(second, 1, np.where(first, 2, 0)))


def test_a_pixel_belongs_to_a_polygon_if_its_centre_does(tmp_path):
    file = coco(tmp_path, [{"category_id": 1, "segmentation": [[0, 0, 20, 0, 0, 20]]}])
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    (drawn,) = read_shapes(file)
    found, inside = drawn.labels(["background", "crack"]), rows + columns < 20
    on_the_edge = rows + columns == 20
    np.testing.assert_array_equal(found[~on_the_edge], inside[~on_the_edge])


def packed(lengths):
    """COCO's packing, written from its description."""
    text = ""
    for k, length in enumerate(lengths):
        value = length - (lengths[k - 2] if k > 2 else 0)
        more = True
        while more:
            code = value & 31
            value >>= 5
            more = not (value == 0 and not code & 16) and not (value == -1 and code & 16)
            text += chr(48 + (code | 32 * more))
    return text


def test_runs_of_coco(tmp_path):
    pixels = np.random.default_rng(0).random(SIZE) < 0.3
    flat = pixels.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *([0] if flat[0] else []), *edges, flat.size]).tolist()
    assert packed([0, 3, 500, 7, 2]) == packed([0, 3, 500, 7, 2]) and _unpacked(packed(lengths)) == lengths
    for counts in (lengths, packed(lengths)):
        file = coco(tmp_path, [{"category_id": 1, "segmentation": {"counts": counts, "size": SIZE}}])
        np.testing.assert_array_equal(read_shapes(file)[0].labels(["background", "crack"]), pixels)


def test_packed_runs_are_those_of_pycocotools():
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    pixels = np.random.default_rng(1).random((37, 53)) < 0.5
    text = mask.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"].decode()
    lengths = _unpacked(text)
    np.testing.assert_array_equal(np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(53, 37).T, pixels)


def test_labelme(tmp_path, capsys):
    stream = io.BytesIO()
    Image.fromarray(np.eye(4, dtype=bool)).save(stream, "PNG")
    corners, pixels = square(2, 3, 9, 12)
    shapes = [
        {"label": "a", "shape_type": "polygon", "points": np.reshape(corners, (-1, 2)).tolist()},
        {"label": "b", "shape_type": "rectangle", "points": [[29, 19], [20, 10]]},
        {"label": "c", "shape_type": "circle", "points": [[22, 5], [22, 8]]},
        {"label": "d", "shape_type": "mask", "points": [[1, 12], [4, 15]], "mask": base64.b64encode(stream.getvalue()).decode()},
        {"label": "e", "shape_type": "linestrip", "points": [[1, 1], [2, 2]]},
    ]
    photo(tmp_path / "in" / "site 1")
    content = {"version": "5.5", "shapes": shapes, "imagePath": "a.png", "imageData": None, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
    (tmp_path / "in" / "site 1" / "a.json").write_text(json.dumps(content))
    assert main(["draw", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    expected = pixels.astype(np.uint8)
    expected[10:19, 20:29] = 2
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    expected[np.hypot(rows - 5, columns - 22) < 2.999] = 3
    expected[range(12, 16), range(1, 5)] = 4
    np.testing.assert_array_equal(masks(tmp_path / "out"), expected)
    assert "1 points and lines are left out" in capsys.readouterr().out


def test_cvat(tmp_path):
    photo(tmp_path)
    (tmp_path / "a.xml").write_text(
        f"""<annotations><version>1.1</version><image id="0" name="a.png" width="{SIZE[1]}" height="{SIZE[0]}">
        <polygon label="car" points="3,2;12,2;12,9;3,9" z_order="1"></polygon>
        <box label="road" xtl="8" ytl="5" xbr="25" ybr="15" z_order="0"></box>
        <mask label="sky" left="1" top="16" width="3" height="2" rle="1, 2, 2, 1" z_order="2"></mask></image></annotations>"""
    )
    assert main(["draw", str(tmp_path / "a.xml"), "--out", str(tmp_path / "out")]) == 0
    expected = np.where(square(2, 3, 9, 12)[1], 1, np.where(square(5, 8, 15, 25)[1], 2, 0))
    expected[16, 2:4], expected[17, 3] = 3, 3
    np.testing.assert_array_equal(masks(tmp_path / "out"), expected)


def test_our_own_outlines_come_back(tmp_path):
    """The outline of an object that runs along the edges of its pixels gives these pixels."""
    from minisegnet.exchange.outlines import rings

    pixels = np.zeros(SIZE, bool)
    pixels[3:9, 4:20] = pixels[9:14, 10:13] = pixels[14, 5:13] = True
    (ring,) = rings(pixels)
    file = coco(tmp_path, [{"category_id": 1, "segmentation": [[n for row, column in ring for n in (column, row)]]}])
    np.testing.assert_array_equal(read_shapes(file)[0].labels(["background", "crack"]), pixels)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "{}", "expected COCO"),
        ("a.json", "[1", "not JSON"),
        ("a.json", '{"images": [], "annotations": [{}], "categories": []}', "not as COCO has it"),
        ("a.xml", "<a/>", "expected the XML of CVAT"),
        ("a.xml", "<a", "not as CVAT has it"),
        (
            "b.json",
            '{"shapes": [{"label": "a", "points": [[1, 2]]}], "imagePath": "a", "imageHeight": 1, "imageWidth": 1}',
            "three or more",
        ),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name}: .*{words}"):
        read_shapes(tmp_path / name)


def test_an_image_outside_of_the_folder_is_refused(tmp_path, capsys):
    file = coco(tmp_path / "in", [{"category_id": 1, "segmentation": [square(2, 3, 9, 12)[0]]}])
    file.write_text(file.read_text(encoding="utf-8-sig").replace('"a.png"', '"../a.png"'))
    photo(tmp_path)
    assert main(["draw", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "outside of" in capsys.readouterr().err and not (tmp_path / "out").exists()
