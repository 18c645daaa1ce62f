"""Folders of other people as they lie, in small copies: thirteen public data sets, and what programs for labelling write."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.layouts import camvid_tutorial, colour, labels, put

from minisegnet import data
from minisegnet.cli import main
from minisegnet.cli.dataset import Data, data_settings, open_parts
from minisegnet.data.record import copies, drift, record
from minisegnet.options import pick

SIZE = (24, 30)


def opened(root, **options):
    """The parts on which `minisegnet train --data ROOT` and its options would train and measure."""
    settings = data_settings(pick(Data, {"data": str(root), **options}))
    return open_parts({**settings, "val_fraction": 0.2, "seed": 0})


def checked(root, *options):
    return main(["data", "check", str(root), *map(str, options)])


def grey(seed, size=SIZE):
    return np.asarray(colour(seed, size).convert("L"))


def binary(seed, high=255, size=SIZE):
    return labels(seed, [0, 1], size) * np.uint8(high)


def soft(seed):
    """A blurred binary mask: many values, most pixels black or white."""
    mask = np.zeros(SIZE)
    mask[4:18, 5 + seed % 5 : 24] = 255
    return np.rint((mask + np.roll(mask, 1, 0) + np.roll(mask, 1, 1) + np.roll(mask, (1, 2), (0, 1))) / 4 * 0.99 + mask * 0.01).astype(
        np.uint8
    )


# --- the thirteen -----------------------------------------------------------------------------


def camvid(root):
    camvid_tutorial(root)


def rock(root):
    """Digital rock: the folders of Pascal VOC, with four classes of its own that nothing names."""
    for k in range(6):
        put(root / "JPEGImages" / f"rock{k}.jpg", colour(k, SIZE))
        put(root / "SegmentationClass" / f"rock{k}.png", labels(k, range(4), SIZE))
    for split, names in (("train", "0123"), ("val", "4"), ("test", "5")):
        put_text(root / "ImageSets" / "Segmentation" / f"{split}.txt", "".join(f"rock{n}\n" for n in names))


def isbi(root, images="image", masks="label"):
    for k in range(5):
        put(root / images / f"{k}.png", grey(k))
        put(root / masks / f"{k}.png", binary(k))


def isbi_capital(root):
    isbi(root, "Images", "Labels")


def drive(root):
    """Retinas: TIFF images, GIF masks; in DRIVE itself mask/ is the field of view, and 1st_manual/ is the truth."""
    for part in ("training", "test"):
        for k in range(21, 25):
            put(root / part / "images" / f"{k}_{part}.tif", colour(k + len(part), SIZE), compression="tiff_lzw")
            put(root / part / "1st_manual" / f"{k}_manual1.gif", binary(k))
            put(root / part / "mask" / f"{k}_{part}_mask.gif", np.full(SIZE, 255, np.uint8))


def cracks(root):
    """Cracks in roads; the truth was a MATLAB structure with 1 and 2, saved as PNG."""
    for k in range(5):
        put(root / "image" / f"{k:03}.jpg", colour(k, SIZE))
        put(root / "groundTruth" / f"{k:03}.png", labels(k, [1, 2], SIZE))


def roads(root):
    """EPFL's roads: anti-aliased masks, and a folder of images without masks beside."""
    for k in range(5):
        put(root / "training" / "images" / f"satImage_{k:03}.png", colour(k, SIZE))
        put(root / "training" / "groundtruth" / f"satImage_{k:03}.png", soft(k))
    put(root / "test_set_images" / "test_1" / "test_1.png", colour(9, SIZE))


def tiles(root):
    """Magnetic tiles: a.jpg and a.png side by side, soft edges, every image of another size."""
    for k in range(5):
        size = (24 + k, 30 - k)
        put(root / f"exp1_num_{k}.jpg", colour(k, size).convert("L"))
        put(root / f"exp1_num_{k}.png", np.asarray(Image.fromarray(soft(k)).resize(size[::-1], Image.Resampling.BILINEAR)))


def hela(root):
    """Nuclei: one stack of 16 bits, and a stack of numbered objects."""
    rng = np.random.default_rng(0)
    for part, values in (("images", rng.integers(0, 9000, (20, *SIZE))), ("masks", rng.choice([0, 0, 3, 40, 300], (20, *SIZE)))):
        (root / part).mkdir(parents=True)
        tifffile.imwrite(root / part / "hela.tif", values.astype(np.uint16), imagej=True, metadata={"axes": "TYX"})


def omnipose(root):
    """Bacteria: a.tif beside a_cp_masks.tif, objects numbered in 8 bits, and other results of the program."""
    for k, count in enumerate((11, 8, 12, 9)):
        put(root / f"ba{k}.tif", grey(k))
        put(root / f"ba{k}_cp_masks.tif", labels(k, range(count), SIZE))
        put(root / f"ba{k}_flows.tif", colour(k, SIZE))


def ade(root):
    for part, count in (("training", 4), ("validation", 2)):
        for k in range(count):
            put(root / "images" / part / f"ADE_{part[:3]}_{k:08}.jpg", colour(k + 10 * count, SIZE))
            put(root / "annotations" / part / f"ADE_{part[:3]}_{k:08}.png", labels(k, [0, 1, 17, 150], SIZE))


def labelme(root):
    """The export of labelme: the folders of Pascal VOC without lists, and class_names.txt."""
    for k in range(3):
        put(root / "JPEGImages" / f"2011_{k:06}.jpg", colour(k, SIZE))
        put(root / "SegmentationClass" / f"2011_{k:06}.png", Image.fromarray(labels(k, [0, 1, 2, 255], SIZE)).convert("P"))
        put(root / "SegmentationClassVisualization" / f"2011_{k:06}.jpg", colour(k, SIZE))
    put_text(root / "class_names.txt", "_background_\nperson\nbus\n")


def stardist(root):
    """Images of many formats, the masks numbered objects of 16 bits."""
    for k, suffix in enumerate(("tif", "png", "tif", "png")):
        put(root / "images" / f"n{k}.{suffix}", grey(k).astype(np.uint16) * 40)
        put(root / "masks" / f"n{k}.tif", labels(k, [0, 1, 2, 7], SIZE).astype(np.uint16))


def put_text(file, text, encoding="utf-8"):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding=encoding)


# options, images to train on and held out, classes
THIRTEEN = {
    camvid: ({}, 2, 1, 11),
    rock: ({}, 4, 1, 4),
    isbi: ({}, 4, 1, 2),
    isbi_capital: ({}, 4, 1, 2),
    drive: ({}, 3, 1, 2),
    cracks: ({"masks": "levels"}, 4, 1, 2),
    roads: ({"masks": "soft"}, 4, 1, 2),
    tiles: ({"masks": "soft"}, 4, 1, 2),
    hela: ({}, 16, 4, 2),
    omnipose: ({"masks": "instances"}, 3, 1, 2),
    ade: ({"classes": 151}, 4, 2, 151),
    labelme: ({}, 2, 1, 3),
    stardist: ({}, 3, 1, 2),
}


@pytest.mark.parametrize("make", THIRTEEN, ids=lambda make: make.__name__)
def test_a_data_set_of_other_people_is_read_as_it_lies(tmp_path, make, capsys):
    options, train_items, held_items, classes = THIRTEEN[make]
    make(tmp_path)
    train, held_out, kept = opened(tmp_path, **options)
    assert (len(train), len(held_out), len(train.classes)) == (train_items, held_items, classes)
    assert kept["parts"]["train"]["items"].keys() == set(train.names) and not set(train.names) & set(held_out.names)
    for part in (train, held_out):
        for k in range(len(part)):
            image, mask = part[k]
            assert image.shape[1:] == mask.shape and abs(image.mean()) < 1e-3 and set(np.unique(mask)) <= {*range(classes), 255}
    words = [w for name, value in options.items() for w in (f"--{name}", value)]
    assert checked(tmp_path, *words) == 0, capsys.readouterr().out


def test_what_has_to_be_said_is_said_by_the_error(tmp_path):
    """Of the thirteen four leave open what their values mean; the message names the option that settles it."""
    for make, (options, *_) in THIRTEEN.items():
        if "masks" in options:
            make(tmp_path / make.__name__)
            with pytest.raises(data.DataError, match=f"--masks {options['masks']}|masks='{options['masks']}'"):
                opened(tmp_path / make.__name__)


def test_names_of_the_thirteen(tmp_path):
    for make in (rock, labelme, hela, drive):
        make(tmp_path / make.__name__)
    assert data.open(tmp_path / "labelme").classes == ("background", "person", "bus")
    assert data.open(tmp_path / "rock").classes == ("class 0", "class 1", "class 2", "class 3")
    assert data.open(tmp_path / "rock", classes=["pore", "clay", "quartz", "pyrite"]).classes[3] == "pyrite"
    found = data.open(tmp_path / "hela")
    assert found.names[:2] == ["hela[00]", "hela[01]"] and set(found.groups) == {"hela"}
    stack = tifffile.imread(tmp_path / "hela" / "images" / "hela.tif")
    np.testing.assert_allclose(found[7][0][0], data.standardise(stack[7]), atol=1e-4)
    np.testing.assert_array_equal(found[7][1], tifffile.imread(tmp_path / "hela" / "masks" / "hela.tif")[7] > 0)
    drive_test = data.open(tmp_path / "drive", "test")
    assert drive_test.names == [f"test/{k}_test" for k in range(21, 25)]
    assert (drive_test[0][1] == (binary(21) > 0)).all()


# --- programs for labelling -------------------------------------------------------------------


def cvat(root, list_name="default", names=("part 1.b", "part.2", "3"), encoding="utf-8-sig"):
    """CVAT's "Segmentation mask": RGB, labelmap.txt, one list, any names of files."""
    table = np.array([[0, 0, 0], [250, 50, 83], [50, 183, 250]], np.uint8)
    for k, name in enumerate(names):
        put(root / "JPEGImages" / f"{name}.{('png', 'jpeg', 'jpg')[k % 3]}", colour(k, SIZE))
        put(root / "SegmentationClass" / f"{name}.png", table[labels(k, range(3), SIZE)])
    put_text(root / "ImageSets" / "Segmentation" / f"{list_name}.txt", "\r\n".join(names) + "\r\n", encoding)
    put_text(
        root / "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nscratch:250,50,83::\ndeep dent:50,183,250::\n",
        encoding,
    )


def test_cvat_is_read_by_its_labelmap_and_not_as_aeroplanes(tmp_path):
    cvat(tmp_path)
    found = data.open(tmp_path)
    assert found.classes == ("background", "scratch", "deep dent") and found.palette.tolist()[1] == [250, 50, 83]
    assert found.names == ["3", "part 1.b", "part.2"] and list(found.splits) == ["default"]
    for k, name in enumerate(("part 1.b", "part.2", "3")):
        np.testing.assert_array_equal(found[found.names.index(name)][1], labels(k, range(3), SIZE))
    train, held_out, kept = opened(tmp_path)
    assert (len(train), len(held_out)) == (2, 1) and kept["masks"] == "colours" and kept["colours"]["scratch"] == [250, 50, 83]
    assert checked(tmp_path) == 0


def test_a_mask_without_any_object_is_still_in_colours(tmp_path):
    cvat(tmp_path)
    put(tmp_path / "SegmentationClass" / "3.png", np.zeros((*SIZE, 3), np.uint8))
    assert not data.open(tmp_path)[0][1].any()


def test_a_labelmap_with_palette_masks(tmp_path):
    """By the colours where the palette has them; by the index where it does not."""
    cvat(tmp_path)
    for k, name in enumerate(("part 1.b", "part.2", "3")):
        mask = Image.fromarray(labels(k, range(3), SIZE))
        mask.putpalette([50, 183, 250, 0, 0, 0, 250, 50, 83])
        put(tmp_path / "SegmentationClass" / f"{name}.png", mask)
    np.testing.assert_array_equal(data.open(tmp_path)[0][1], np.array([2, 0, 1])[labels(2, range(3), SIZE)])
    for k, name in enumerate(("part 1.b", "part.2", "3")):
        mask = Image.fromarray(labels(k, range(3), SIZE))
        mask.putpalette([1, 2, 3, 4, 5, 6, 7, 8, 9])
        put(tmp_path / "SegmentationClass" / f"{name}.png", mask)
    found = data.open(tmp_path)
    np.testing.assert_array_equal(found[0][1], labels(2, range(3), SIZE))
    assert found.classes == ("background", "scratch", "deep dent")


def test_a_list_that_names_what_is_not_there(tmp_path):
    cvat(tmp_path)
    put_text(tmp_path / "ImageSets" / "Segmentation" / "default.txt", "3\nlost one.x\n")
    with pytest.raises(data.DataError, match=r"missing[\s\S]*lost one\.x, in default\.txt"):
        data.open(tmp_path)


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 85, 170)])
def test_roboflow_masks_and_its_table_of_values(tmp_path, values):
    for split, count in (("train", 4), ("valid", 2), ("test", 1)):
        for k in range(count):
            name = f"photo{k}_jpg.rf.{k:032x}"
            put(tmp_path / split / f"{name}.jpg", colour(k + 10 * count, SIZE))
            put(tmp_path / split / f"{name}_mask.png", labels(k, values, SIZE))
        put_text(
            tmp_path / split / "_classes.csv", "Pixel Value, Class\n" + "".join(f"{v}, {n}\n" for v, n in zip(values, "abc", strict=True))
        )
    train, held_out, _ = opened(tmp_path)
    assert (len(train), len(held_out), train.classes) == (4, 2, ("a", "b", "c"))
    np.testing.assert_array_equal(train[0][1], np.searchsorted(values, labels(0, values, SIZE)))
    assert len(data.open(tmp_path, "test")) == 1 and checked(tmp_path) == 0


def test_a_label_that_the_named_classes_do_not_have(tmp_path):
    labelme(tmp_path)
    put_text(tmp_path / "class_names.txt", "_background_\nperson\n")
    with pytest.raises(data.DataError, match=r"2 \(classes are 0 to 1"):
        data.open(tmp_path)
    for text, words in (("one\n", "two or more different names"), ("a\na\n", "two or more different names")):
        put_text(tmp_path / "class_names.txt", text)
        with pytest.raises(data.DataError, match=words):
            data.open(tmp_path)
    put_text(tmp_path / "labelmap.txt", "background:0,0::\n")
    with pytest.raises(data.DataError, match=r"expected name:red,green,blue:parts:actions, got 'background:0,0::'"):
        data.open(tmp_path)


def test_pascal_voc_itself_is_still_pascal_voc(tmp_path):
    from support.layouts import voc

    voc(tmp_path)
    put_text(tmp_path / "VOCdevkit" / "VOC2012" / "class_names.txt", "\n".join(["__ignore__", *data.PascalVOC.classes]))
    assert data.detect(tmp_path) is data.PascalVOC


# --- any names --------------------------------------------------------------------------------


def test_folders_and_suffixes_can_be_named(tmp_path):
    for k in range(3):
        put(tmp_path / "plates" / f"p{k}.png", grey(k))
        put(tmp_path / "drawn" / f"p{k} (expert B).png", binary(k))
        put(tmp_path / "drawn" / f"p{k} (expert A).png", binary(k + 7))
    with pytest.raises(data.DataError, match=r"not a known layout.*[\s\S]*--images and --masks-dir"):
        data.open(tmp_path)
    found = data.open(tmp_path, images="plates", masks_dir="drawn", mask_suffix=" (expert B)")
    assert found.names == ["p0", "p1", "p2"]
    np.testing.assert_array_equal(found[1][1], binary(1) > 0)
    assert checked(tmp_path, "--images", "plates", "--masks-dir", "drawn", "--mask-suffix", " (expert A)") == 0
    with pytest.raises(data.DataError, match=r"there is no nowhere/ in it, nor in its folders; it contains drawn/, plates/"):
        data.open(tmp_path, images="nowhere")
    with pytest.raises(data.DataError, match=r"no mask has a name that ends in '_x'; they are p0 \(expert A\)"):
        data.open(tmp_path, images="plates", masks_dir="drawn", mask_suffix="_x")


def test_names_that_differ_by_fixed_parts_pair_also_if_a_mask_is_missing(tmp_path):
    for k in range(9, 13):
        put(tmp_path / "images" / f"t{k:03}.png", grey(k))
        if k != 11:
            put(tmp_path / "masks" / f"man_seg{k:03}.png", binary(k))
    with pytest.raises(data.DataError, match=r"image without a mask \(1\)[\s\S]*images/t011\.png") as caught:
        data.open(tmp_path)
    assert list(caught.value.problems) == ["no mask"]


def test_ones_own_splits_are_kept_and_another_folder_can_be_held_out(tmp_path, capsys):
    for split, count in (("train", 3), ("val", 2), ("test", 2)):
        for k in range(count):
            put(tmp_path / "mine" / split / "images" / f"{k}.png", grey(k + 10 * count))
            put(tmp_path / "mine" / split / "masks" / f"{k}.png", binary(k))
    train, held_out, kept = opened(tmp_path / "mine")
    assert train.names == ["train/0", "train/1", "train/2"] and held_out.names == ["val/0", "val/1"]
    assert kept["parts"]["held out"]["split"] == "val"
    assert len(data.open(tmp_path / "mine")) == 7 and data.parts(tmp_path / "mine") == ("train", "val")
    for k in range(4):
        put(tmp_path / "other" / "img" / f"{k}.png", colour(k, SIZE))
        put(tmp_path / "other" / "gt" / f"{k}.png", binary(k))
    _, held_out, kept = opened(tmp_path / "mine", val_data=str(tmp_path / "other"))
    assert len(held_out) == 4 and held_out.in_channels == 1 and kept["parts"]["held out"]["data"] == str(tmp_path / "other")
    with pytest.raises(data.DataError, match="no split 'tset' here; there are train, val, test"):
        opened(tmp_path / "mine", split="tset")


def test_lists_beside_the_folders_divide_them(tmp_path):
    isbi(tmp_path, "images", "masks")
    put_text(tmp_path / "train.txt", "images/0.png masks/0.png\nimages/1.png masks/1.png\n")
    put_text(tmp_path / "val.txt", "3\n")
    train, held_out, _ = opened(tmp_path)
    assert train.names == ["0", "1"] and held_out.names == ["3"]


def test_classes_are_those_of_all_splits_together(tmp_path):
    for split, values in (("train", (0, 1, 2)), ("val", (0, 1))):
        for k in range(2):
            put(tmp_path / split / "images" / f"{k}.png", grey(k))
            put(tmp_path / split / "masks" / f"{k}.png", labels(k, values, SIZE))
    train, held_out, _ = opened(tmp_path)
    assert len(train.classes) == len(held_out.classes) == 3


def test_frames_of_a_film_are_not_divided(tmp_path):
    for name in "abcde":
        for part in ("images", "masks"):
            frames = [Image.fromarray(binary(k + ord(name)) if part == "masks" else grey(k + 10 * ord(name))) for k in range(4)]
            (tmp_path / part).mkdir(exist_ok=True)
            frames[0].save(tmp_path / part / f"{name}.tif", save_all=True, append_images=frames[1:])
    train, held_out, kept = opened(tmp_path)
    assert (len(train), len(held_out)) == (16, 4) and len({name[0] for name in held_out.names}) == 1
    items = {part: kept["parts"][part]["items"] for part in ("train", "held out")}
    assert not copies(items["held out"], items["train"]) and len({d[0] for d in items["train"].values()}) == 16


def test_a_frame_that_changes_does_not_change_the_others_of_its_stack(tmp_path):
    hela(tmp_path)
    before = record(data.open(tmp_path))
    stack = tifffile.imread(tmp_path / "images" / "hela.tif")
    stack[3] += 1
    tifffile.imwrite(tmp_path / "images" / "hela.tif", stack, imagej=True, metadata={"axes": "TYX"})
    found = drift(before, record(data.open(tmp_path)), before)
    assert found.changed == ["hela[03]"] and not found.new and not found.gone


def test_colours_can_be_typed(tmp_path):
    table = np.array([[128, 64, 128], [70, 130, 180]], np.uint8)
    for k in range(3):
        put(tmp_path / "images" / f"{k}.png", grey(k))
        put(tmp_path / "masks" / f"{k}.png", table[labels(k, [0, 1], SIZE)])
    assert checked(tmp_path, "--colours", "road=#804080,sky=#4682b4") == 0
    with pytest.raises(SystemExit):
        checked(tmp_path, "--colours", "road=#80408")
    assert opened(tmp_path, colours={"road": "#804080", "sky": "#4682b4"})[0].classes == ("road", "sky")


# --- channels and numbers ---------------------------------------------------------------------


def tiff(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, **options)


def bands(count, seed=0, dtype=np.uint16):
    return np.random.default_rng(seed).integers(0, 4000, (*SIZE, count)).astype(dtype)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_bands_of_16_bits_are_read_as_they_are(tmp_path, count):
    for k in range(3):
        tiff(tmp_path / "images" / f"{k}.tif", bands(count, k), photometric="rgb" if count == 3 else "minisblack", planarconfig="contig")
        put(tmp_path / "masks" / f"{k}.png", binary(k))
    found = data.Folder(tmp_path)
    assert found.in_channels == count
    np.testing.assert_allclose(found[1][0], data.standardise(np.moveaxis(bands(count, 1), 2, 0)), atol=1e-5)


def test_a_png_of_16_bits_a_colour_keeps_them(tmp_path):
    import pyvips

    pyvips.Image.new_from_array(bands(3)).copy(interpretation="rgb16").write_to_file(str(tmp_path / "a.png"))
    np.testing.assert_allclose(data.read_image(tmp_path / "a.png"), np.moveaxis(bands(3), 2, 0) / 65535, rtol=1e-6)


def test_a_declared_alpha_is_dropped_and_an_undeclared_band_is_kept(tmp_path):
    four = bands(4, dtype=np.uint8)
    tiff(tmp_path / "alpha.tif", four, photometric="rgb", extrasamples=["unassalpha"])
    tiff(tmp_path / "infrared.tif", four, photometric="rgb", extrasamples=["unspecified"])
    assert data.read_image(tmp_path / "alpha.tif").shape[0] == 3 and data.read_image(tmp_path / "infrared.tif").shape[0] == 4


def test_a_palette_and_a_damaged_table_of_a_tiff(tmp_path):
    from minisegnet.inference import LargeImage

    palette = Image.fromarray(labels(0, range(4), SIZE))
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 9])
    palette.save(tmp_path / "p.tif")
    expected = np.moveaxis(np.asarray(palette.convert("RGB")), 2, 0)
    np.testing.assert_allclose(data.read_image(tmp_path / "p.tif"), expected / 255, atol=1e-6)
    with LargeImage(tmp_path / "p.tif", 3) as image:
        np.testing.assert_allclose(image.rows(0, SIZE[0]), data.standardise(expected), atol=1e-4)
    content = (tmp_path / "p.tif").read_bytes()
    (tmp_path / "p.tif").write_bytes(content[:10])
    with pytest.raises(OSError, match=r"p\.tif: .*damaged"):
        data.read_image(tmp_path / "p.tif")


def test_image_and_mask_side_by_side_in_a_folder_of_images(tmp_path):
    for k in range(3):
        put(tmp_path / "Imgs" / f"{k}.jpg", colour(k, SIZE))
        put(tmp_path / "Imgs" / f"{k}.png", binary(k))
    assert data.open(tmp_path).names == ["0", "1", "2"]


def test_what_cannot_be_read_is_named_for_what_it_is(tmp_path, monkeypatch):
    tiff(tmp_path / "five.tif", bands(5), photometric="minisblack", planarconfig="contig")
    monkeypatch.setitem(__import__("sys").modules, "pyvips", None)
    with pytest.raises(OSError, match=r"five\.tif: the image has 5 bands of 16 bits, of which Pillow reads less; libvips reads all: pip"):
        data.read_image(tmp_path / "five.tif")


@pytest.mark.parametrize("program", ["imagej", "ome"])
def test_pages_that_are_channels_make_one_image(tmp_path, program):
    stack = np.random.default_rng(0).integers(0, 4000, (3, 2, *SIZE)).astype(np.uint16)  # three times two channels
    if program == "imagej":
        tiff(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TCYX"})
    else:
        tiff(tmp_path / "a.tif", np.swapaxes(stack, 0, 1), ome=True, metadata={"axes": "CTYX"})
    for k in range(3):
        np.testing.assert_allclose(data.read_image(tmp_path / "a.tif", frame=k), stack[k] / 65535, rtol=1e-6)


def test_pixels_without_data_do_not_count(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(3):
        image = rng.normal(100, 5, SIZE).astype(np.float32)
        image[:6] = np.nan if k < 2 else -9999
        tiff(tmp_path / "images" / f"{k}.tif", image, **({} if k < 2 else {"extratags": [(42113, "s", 0, "-9999", False)]}))
        put(tmp_path / "masks" / f"{k}.png", binary(k))
    found = data.Folder(tmp_path)
    for k in range(3):
        image, mask = found[k]
        assert not image[:, :6].any() and (mask[:6] == 255).all() and not (mask[6:] == 255).any()
        assert abs(image[:, 6:].mean()) < 1e-5 and abs(image[:, 6:].std() - 1) < 1e-4
    report = data.check(tmp_path).to_dict()["splits"]["all"]
    assert report["ignored_pixels"] == 3 * 6 * SIZE[1]


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.float64])
def test_a_large_offset_costs_no_digits(tmp_path, dtype):
    from minisegnet.inference import LargeImage, prepare

    small = np.random.default_rng(0).integers(0, 200, SIZE)
    tiff(tmp_path / "images" / "a.tif", (small + 2**30).astype(dtype))
    tiff(tmp_path / "images" / "b.tif", (small + 2**30).astype(dtype))
    for name in "ab":
        put(tmp_path / "masks" / f"{name}.png", binary(0))
    expected = data.standardise(small)
    np.testing.assert_allclose(data.Folder(tmp_path)[0][0][0], expected, atol=1e-4)
    np.testing.assert_allclose(prepare((small + 2**30).astype(dtype))[0], expected, atol=1e-4)
    with LargeImage(tmp_path / "images" / "a.tif", 1) as image:
        np.testing.assert_allclose(image.rows(0, SIZE[0])[0], expected, atol=1e-4)


def test_an_image_and_its_mask_may_come_from_a_phone(tmp_path):
    for k in range(3):
        stream = io.BytesIO()
        colour(k, SIZE).save(stream, "MPO", save_all=True, append_images=[colour(k + 9, (10, 10))])
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{k}.jpg").write_bytes(stream.getvalue())
        put(tmp_path / "masks" / f"{k}.png", binary(k))
    assert len(data.Folder(tmp_path)) == 3


# --- films, patients and sites ----------------------------------------------------------------


def pair(images, masks, name, seed=0):
    put(images / f"{name}.png", grey(seed))
    put(masks / f"{name}.png", binary(seed))


def test_folders_inside_the_folder_of_images_are_groups(tmp_path):
    """Frames of one film look alike: if some of them are trained on and others held out, the validation is too good."""
    for film in ("film1", "film2", "film3", "film4"):
        for k in range(5):
            pair(tmp_path / "images" / film, tmp_path / "masks" / film, f"{k:03}", seed=k)
    found = data.Folder(tmp_path)
    assert len(found) == 20 and found.splits == {} and found.names[7] == "film2/002"
    train, held_out = data.split(found, 0.25, seed=0)
    films = [{name.partition("/")[0] for name in part.names} for part in (train, held_out)]
    assert len(films[0]) == 3 and len(films[1]) == 1 and not films[0] & films[1]
    assert "4 folders inside the folder of images are groups" in str(found)


def test_groups_in_splits(tmp_path):
    for split, film in (("train", "a"), ("train", "b"), ("val", "c")):
        pair(tmp_path / "images" / split / film, tmp_path / "masks" / split / film, "000")
    found = data.Folder(tmp_path)
    assert found.splits == {"train": [0, 1], "val": [2]}
    assert found.names == ["train/a/000", "train/b/000", "val/c/000"]


def test_lists_of_voc_name_files_in_folders(tmp_path):
    root = tmp_path / "VOC2012"
    for name in ("bear/2007_000001", "camel/2007_000001"):
        put(root / "JPEGImages" / f"{name}.jpg", colour(0, SIZE))
        put(root / "SegmentationClass" / f"{name}.png", labels(0, [0, 1, 255], SIZE))
    lists = root / "ImageSets" / "Segmentation"
    put_text(lists / "train.txt", "bear/2007_000001\n")
    put_text(lists / "val.txt", "camel/2007_000001\n")
    found = data.PascalVOC(root, "train")
    assert found.names == ["bear/2007_000001"] and found.files[0][1].parent.name == "bear"


# --- arrays -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, bool])
def test_npy_files_are_images_and_masks(tmp_path, dtype):
    rng = np.random.default_rng(0)
    images = rng.random((5, *SIZE, 4)).astype(np.float32)
    masks = (rng.integers(0, 2 if dtype is bool else 3, (5, *SIZE))).astype(dtype)
    for k in range(5):
        for part, values in (("images", images[k]), ("masks", masks[k])):
            (tmp_path / part).mkdir(exist_ok=True)
            np.save(tmp_path / part / f"{k}.npy", values)
    found = data.Folder(tmp_path, standardise=False)
    assert found.in_channels == 4 and len(found.classes) == (2 if dtype is bool else 3)
    for k in range(5):
        np.testing.assert_array_equal(found[k][0], images[k].transpose(2, 0, 1))
        np.testing.assert_array_equal(found[k][1], masks[k])
    assert checked(tmp_path) == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 400, 500), np.uint8), r"\(3, 400, 500\) looks like \(C, H, W\)"),
        (np.array([{}, {}]), "not a .npy file of numbers"),
        (np.zeros((2, 3, 4, 5)), r"the shape \(H, W\) or \(H, W, C\); got float64"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, values, words):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(OSError, match=rf"a\.npy: .*{words}"):
        data.read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("structure", [True, False])
def test_masks_of_matlab(tmp_path, structure):
    """CrackForest as it lies: a structure groundTruth with Segmentation, 1 and 2, and Boundaries; or a variable of its own, in doubles."""
    io_ = pytest.importorskip("scipy.io", reason="SciPy is not installed (extra voc)")
    for k in range(5):
        put(tmp_path / "image" / f"{k:03}.jpg", colour(k, SIZE))
        mask = labels(k, [1, 2], SIZE)
        (tmp_path / "groundTruth").mkdir(exist_ok=True)
        content = {"groundTruth": {"Segmentation": mask, "Boundaries": mask == 2}} if structure else {"seg": mask.astype(float), "n": 5}
        io_.savemat(tmp_path / "groundTruth" / f"{k:03}.mat", content)
    train, held_out, _ = opened(tmp_path, masks="levels")
    assert (len(train), len(held_out), len(train.classes)) == (4, 1, 2)
    k = int(train.names[0])
    np.testing.assert_array_equal(train[0][1], labels(k, [1, 2], SIZE) - 1)


def test_a_matlab_file_with_two_arrays(tmp_path):
    io_ = pytest.importorskip("scipy.io", reason="SciPy is not installed (extra voc)")
    put(tmp_path / "images" / "a.png", grey(0))
    (tmp_path / "masks").mkdir()
    io_.savemat(tmp_path / "masks" / "a.mat", {"one": np.eye(3), "two": np.eye(4)})
    with pytest.raises(data.DataError, match=r"expected one label map.*one \(3, 3\), two \(4, 4\)"):
        data.Folder(tmp_path)
