"""Objects: numbered, measured, and outlined so exactly that other programs get the same pixels back."""

import json

import numpy as np
import pytest

from minisegnet.exchange.outlines import Coco, area, filled, rings, write_geojson, write_rois
from minisegnet.inference import find_objects, measure_objects

CLASSES = ("background", "cell", "debris")


def random_pieces(seed, size=(14, 17)):
    """Connected pieces of every shape: with holes, with pixels that touch at corners only."""
    from scipy.ndimage import label

    rng = np.random.default_rng(seed)
    found, count = label(rng.random(size) < rng.uniform(0.3, 0.95))
    return [found == k for k in range(1, count + 1)]


@pytest.mark.parametrize("seed", range(12))
def test_an_outline_surrounds_exactly_the_pixels(seed):
    for piece in random_pieces(seed):
        outline = rings(piece)
        assert area(outline) == piece.sum()
        np.testing.assert_array_equal(filled(outline, piece.shape), piece)
        assert [area([ring]) > 0 for ring in outline] == [True] + [False] * (len(outline) - 1)
        for ring in outline:
            assert len(set(ring)) == len(ring)
            for a, b, c in zip(ring, ring[1:] + ring[:1], ring[2:] + ring[:2], strict=True):
                assert (a[0] == b[0]) != (a[1] == b[1]) and (a[0] == b[0]) != (b[0] == c[0])  # each point is a corner


def test_the_outline_of_a_square_runs_clockwise_on_the_screen():
    assert rings(np.ones((2, 3), bool)) == [[(0, 0), (0, 3), (2, 3), (2, 0)]]


def labels():
    found = np.zeros((20, 24), np.uint8)
    found[2:8, 3:9] = 1  # 36 pixels
    found[4:6, 5:7] = 0  # with a hole of 4
    found[2:8, 9:12] = 2  # another class, touching
    found[15:20, 0:4] = 1  # 20 pixels, at the edge
    found[12, 20] = 1
    return found


def test_objects_are_connected_pieces_of_one_class():
    ids, classes_of = find_objects(labels(), CLASSES)
    assert classes_of == [1, 2, 1, 1] and ids.max() == 4 and ids.dtype == np.int32
    image = np.arange(20 * 24, dtype=np.float64).reshape(1, 20, 24)
    found = measure_objects(ids, classes_of, CLASSES, image)
    assert [(one.number, one.label, one.measures["area"]) for one in found] == [
        (1, "cell", 32),
        (2, "debris", 18),
        (3, "cell", 1),
        (4, "cell", 20),
    ]
    first, edge = found[0].measures, found[3].measures
    assert (
        (first["top"], first["left"], first["bottom"], first["right"]) == (2, 3, 8, 9)
        and not first["touches_edge"]
        and edge["touches_edge"]
    )
    assert first["centroid_row"] == pytest.approx(4.5) and first["centroid_column"] == pytest.approx(5.5)
    for one in found:
        assert one.measures["mean_intensity"] == pytest.approx(image[0][ids == one.number].mean())
        assert area(one.outline) == one.measures["area"]
        np.testing.assert_array_equal(filled(one.outline, ids.shape), ids == one.number)
    ids, classes_of = find_objects(labels(), CLASSES, smallest=19)
    assert classes_of == [1, 1] and set(np.unique(ids)) == {0, 1, 2}
    ids, classes_of = find_objects(labels(), ("sky", "cell", "debris"), background=None)
    assert classes_of[0] == 0 and len(classes_of) == 6  # the sky, and the piece of it in the hole


def test_a_learnt_boundary_belongs_to_its_object_and_divides_objects():
    found = np.zeros((12, 20), np.uint8)
    found[2:10, 2:10], found[2:10, 10:18] = 2, 2
    found[3:9, 3:9], found[3:9, 11:17] = 1, 1
    found[11, 19] = 2  # a boundary of nothing
    ids, classes_of = find_objects(found, ("background", "interior", "boundary"))
    assert classes_of == [1, 1]
    assert (ids[2:10, 2:10] == 1).all() and (ids[2:10, 10:18] == 2).all() and ids[11, 19] == 0


def test_geojson_rois_and_coco_hold_the_same_pixels(tmp_path):
    import roifile

    ids, classes_of = find_objects(labels(), CLASSES)
    found = measure_objects(ids, classes_of, CLASSES)
    features = json.loads(write_geojson([(None, one) for one in found], tmp_path / "a.geojson").read_text())["features"]
    assert [f["properties"]["classification"]["name"] for f in features] == ["cell", "debris", "cell", "cell"]
    for feature, one in zip(features, found, strict=True):
        corners = [[(y, x) for x, y in ring[:-1]] for ring in feature["geometry"]["coordinates"]]
        assert all(ring[0] == ring[-1] for ring in feature["geometry"]["coordinates"])
        np.testing.assert_array_equal(filled(corners, ids.shape), ids == one.number)

    rois = roifile.roiread(write_rois([(7, one) for one in found], tmp_path / "a.zip"))
    assert [roi.name for roi in rois] == [f"{one.label}-0007-{one.number:04}" for one in found] and {roi.position for roi in rois} == {8}
    for roi, one in zip(rois, found, strict=True):
        assert roi.roitype == roifile.ROI_TYPE.POLYGON
        assert [(y, x) for x, y in roi.coordinates().astype(int).tolist()] == one.outline[0]

    coco = Coco(CLASSES)
    coco.add("a.png", ids.shape, found)
    content = json.loads(coco.write(tmp_path / "coco.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "a.png", "height": 20, "width": 24}]
    for annotation, one in zip(content["annotations"], found, strict=True):
        assert annotation["area"] == one.measures["area"] and CLASSES[annotation["category_id"]] == one.label
        outline = annotation["segmentation"]
        if isinstance(outline, dict):  # with a hole: run lengths, column by column
            values = np.repeat(np.arange(len(outline["counts"])) % 2, outline["counts"])
            mask = values.reshape(outline["size"][::-1]).T == 1
        else:
            mask = filled([[(int(y), int(x)) for x, y in zip(ring[::2], ring[1::2], strict=True)] for ring in outline], ids.shape)
        np.testing.assert_array_equal(mask, ids == one.number)
