"""A user's own folders: which files are read, how masks are interpreted, and the messages about problems."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisegnet import data
from minisegnet.data.images import read_image

RNG = np.random.default_rng(0)
FIELDS = Path(__file__).parents[3] / "shared" / "data" / "nuclei"


def grey(height=12, width=10, top=256):
    return RNG.integers(0, top, (height, width)).astype(np.uint8)


def labels(*values, size=(12, 10), dtype=np.uint8):
    """A mask that holds exactly these values."""
    return np.resize(np.array(values), size[0] * size[1]).reshape(size).astype(dtype)


def palette_mask(mask, colours=((1, 2, 3), (200, 0, 0), (0, 200, 0))):
    picture = Image.fromarray(mask)
    picture.putpalette([c for colour in colours for c in colour])
    return picture


def tree(root, images, masks):
    """Write a folder: file name → array, Pillow image or bytes."""
    for part, files in (("images", images), ("masks", masks)):
        (root / part).mkdir()
        for name, content in files.items():
            if isinstance(content, bytes):
                (root / part / name).write_bytes(content)
            else:
                (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(root / part / name)
    return root


def pairs(root, mask, count=2, image=None):
    """A folder with several copies of one mask."""
    image = grey() if image is None else image
    return tree(root, {f"{k}.png": image for k in range(count)}, {f"{k}.png": mask for k in range(count)})


# --- kinds of masks ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "kind", "classes", "expected"),
    [
        (labels(0, 1, 2, 255), "classes", 3, labels(0, 1, 2, 255)),
        (labels(0, 255), "binary", 2, labels(0, 1)),
        (labels(0, 1), "binary", 2, labels(0, 1)),
        (Image.fromarray(labels(0, 255)).convert("1"), "binary", 2, labels(0, 1)),
        (labels(0, 65535, dtype=np.uint16), "binary", 2, labels(0, 1)),
        (labels(0, 3, 255, 900, dtype=np.uint16), "instances", 2, labels(0, 1, 1, 1)),
        (labels(0, 3, 70000, dtype=np.int32), "instances", 2, labels(0, 1, 1)),
        (palette_mask(labels(0, 1, 2)), "palette", 3, labels(0, 1, 2)),
        (np.repeat(labels(0, 2, 1)[..., None], 3, 2), "classes", 3, labels(0, 2, 1)),
        (np.repeat(labels(0, 255)[..., None], 4, 2), "binary", 2, labels(0, 1)),
    ],
    ids=["grey", "0-255", "0-1", "1-bit", "0-65535", "16-bit", "32-bit", "palette", "grey-as-RGB", "grey-as-RGBA"],
)
def test_the_kind_of_the_masks_is_detected(tmp_path, mask, kind, classes, expected):
    suffix = "tif" if isinstance(mask, np.ndarray) and mask.dtype == np.int32 else "png"
    tree(tmp_path, {"a.png": grey(), "b.png": grey()}, {f"a.{suffix}": mask, f"b.{suffix}": mask})
    folder = data.Folder(tmp_path)
    assert isinstance(folder, data.Dataset)
    assert (folder.kind, len(folder.classes)) == (kind, classes)
    assert folder.names == ["a", "b"] and folder.palette.shape == (classes, 3)
    image, found = folder[1]
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int64 and image.dtype == np.float32 and image.shape == (1, 12, 10)
    assert kind in repr(folder) and folder.kind_reason in repr(folder)


def test_the_kind_can_be_forced(tmp_path):
    pairs(tmp_path, labels(0, 1, 2, 7))
    assert len(data.Folder(tmp_path, masks="classes").classes) == 8
    assert data.Folder(tmp_path, masks="instances").classes == ("background", "object")
    assert data.Folder(tmp_path, masks="instances")[0][1].max() == 1
    with pytest.raises(data.DataError, match=r"4 values, a binary mask"):
        data.Folder(tmp_path, masks="binary")
    assert data.Folder(tmp_path, masks="instances", classes=["ground", "cell"]).classes == ("ground", "cell")


def test_small_16_bit_values_are_classes_when_the_classes_are_given(tmp_path):
    pairs(tmp_path, labels(0, 1, 2, dtype=np.uint16))
    assert data.Folder(tmp_path).kind == "instances"
    folder = data.Folder(tmp_path, classes=["sky", "road", "car"])
    assert folder.kind == "classes" and folder.classes == ("sky", "road", "car")
    np.testing.assert_array_equal(folder[0][1], labels(0, 1, 2))


def test_a_boundary_can_be_made_from_instances(tmp_path):
    ids = np.kron([[0, 5], [9, 9]], np.ones((5, 5))).astype(np.uint16)
    pairs(tmp_path, ids, image=grey(10, 10))
    folder = data.Folder(tmp_path, boundary=True)
    assert folder.classes == ("background", "interior", "boundary")
    np.testing.assert_array_equal(folder[0][1], data.semantic(ids, boundary=True))


def test_a_palette_keeps_its_own_colours_and_its_indices(tmp_path):
    """Two indices share a colour. They would become one class if the mask were ever read as RGB."""
    pairs(tmp_path, palette_mask(labels(0, 1, 2), ((9, 9, 9), (5, 5, 5), (5, 5, 5))))
    np.testing.assert_array_equal(data.Folder(tmp_path)[0][1], labels(0, 1, 2))
    other = tmp_path / "other"
    other.mkdir()
    pairs(other, palette_mask(labels(0, 1, 2)))
    assert data.Folder(other).palette.tolist() == [[1, 2, 3], [200, 0, 0], [0, 200, 0]]


def test_colours_need_their_meaning(tmp_path):
    mask = np.array([[0, 0, 0], [128, 64, 128], [70, 130, 180]], np.uint8)[labels(0, 1, 2)]
    tree(tmp_path, {"a.png": grey(), "b.png": grey()}, {"a.png": mask, "b.png": np.zeros_like(mask)})
    with pytest.raises(data.DataError, match=r'(?s)masks?.*RGB.*3 colours.*colours=\{.*"#804080".*masks/a.png'):
        data.Folder(tmp_path)
    folder = data.Folder(tmp_path, colours={"road": "#804080", "sky": (70, 130, 180), "ignore": "#000000"})
    assert folder.classes == ("road", "sky") and folder.palette.tolist() == [[128, 64, 128], [70, 130, 180]]
    np.testing.assert_array_equal(folder[0][1], np.array([255, 0, 1])[labels(0, 1, 2)])
    assert (folder[1][1] == 255).all()
    with pytest.raises(data.DataError, match=r"(?s)colour that is not a class.*masks/a.png: #4682b4"):
        data.Folder(tmp_path, colours={"road": "#804080", "ground": "#000000"})


def test_255_may_be_a_class_and_another_value_ignored(tmp_path):
    pairs(tmp_path, labels(0, 1, 11))
    folder = data.Folder(tmp_path, classes=["a", "b"], ignore_index=11)
    assert set(np.unique(folder[0][1])) == {0, 1, 11} and folder.ignore_index == 11
    with pytest.raises(ValueError, match="ignore_index=1 is also"):
        data.Folder(tmp_path, classes=12, ignore_index=1)


# --- images -----------------------------------------------------------------------------


def test_images_are_standardised_and_brought_to_one_number_of_channels(tmp_path):
    colour = RNG.integers(0, 256, (12, 10, 3)).astype(np.uint8)
    mask = labels(0, 1, 2)
    tree(tmp_path, {"a.png": colour, "b.png": colour, "c.png": colour[..., 0]}, dict.fromkeys(["a.png", "b.png", "c.png"], mask))
    folder = data.Folder(tmp_path)
    assert folder.in_channels == 3 and any("1 of 3 images" in note for note in folder.notes)
    np.testing.assert_array_equal(folder[0][0], data.standardise(read_image(tmp_path / "images" / "a.png")))
    plain = data.Folder(tmp_path, standardise=False)
    np.testing.assert_allclose(plain[0][0], np.moveaxis(colour, 2, 0) / 255, rtol=1e-6)
    np.testing.assert_allclose(plain[2][0], np.stack([colour[..., 0]] * 3) / 255, rtol=1e-6)
    narrow = data.Folder(tmp_path, in_channels=1, standardise=False)
    np.testing.assert_allclose(narrow[0][0][0], colour @ [0.299, 0.587, 0.114] / 255, atol=1e-6)


# --- problems ---------------------------------------------------------------------------


def cut(tmp_path, keep=600, flip=None):
    """The bytes of a damaged PNG."""
    file = tmp_path / "whole.png"
    Image.fromarray(grey(64, 64)).save(file)
    content = bytearray(file.read_bytes())
    if flip is not None:
        content[flip] ^= 0xFF
        return bytes(content)
    return bytes(content[:keep])


def test_everything_that_is_wrong_comes_in_one_report(tmp_path):
    good, mask = grey(), labels(0, 1, 2)
    images = {f"{n}.png": good for n in ("ok", "small", "range", "alone", "two")}
    images |= {"cut.png": cut(tmp_path), "bits.png": cut(tmp_path, flip=900), "two.bmp": good}
    masks = {f"{n}.png": mask for n in ("ok", "cut", "bits", "two", "left_over")}
    masks |= {"small.png": labels(0, 1, size=(8, 8)), "range.png": labels(0, 1, 9)}
    root = tmp_path / "data"
    root.mkdir()
    tree(root, images, masks)
    with pytest.raises(data.DataError) as caught:
        data.Folder(root, classes=["a", "b", "c"])
    message = str(caught.value)
    for words in (
        f"{root}: 7 problems",
        "images/cut.png",
        "images/bits.png",
        "image without a mask (1)",
        "images/alone.png",
        "mask without an image (1)",
        "masks/left_over.png",
        "masks/small.png: 8×8, its image is 10×12",
        "masks/range.png: 9 (classes are 0 to 2, 255 is ignored)",
        "masks='instances'",
        "images/two.bmp and two.png",
    ):
        assert words in message
    assert "ok.png" not in message
    assert set(caught.value.problems) == {"unreadable", "no mask", "no image", "size", "label", "twice"}


def test_a_long_list_is_cut_short(tmp_path):
    images = {f"{k:02}.png": grey() for k in range(30)}
    tree(tmp_path, images, {"00.png": labels(0, 1)})
    with pytest.raises(data.DataError, match=r"(?s)image without a mask \(29\).*… and 19 more") as caught:
        data.Folder(tmp_path)
    assert str(caught.value).count("images/") == 10 + 1  # and one in the hint
    assert len(caught.value.problems["no mask"]) == 29


def test_masks_named_after_their_images_get_a_hint(tmp_path):
    tree(tmp_path, {"cell.png": grey(), "a.png": grey()}, {"cell_mask.png": labels(0, 1), "a.png": labels(0, 1)})
    with pytest.raises(data.DataError, match=r"cell_mask.png looks like the mask of 'cell': rename it to cell.png"):
        data.Folder(tmp_path)


def test_a_folder_without_data_gets_an_explanation(tmp_path):
    with pytest.raises(data.DataError, match=r"nowhere: there is no such folder.*images/ and masks/"):
        data.Folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(data.DataError, match="a file, not a folder"):
        data.Folder(tmp_path / "file")
    (tmp_path / "pictures").mkdir()
    with pytest.raises(data.DataError, match=r"no images/ in it, only pictures/"):
        data.Folder(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(data.DataError, match=r"no masks/ in it.*masks_dir= \(--masks-dir\)"):
        data.Folder(tmp_path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(data.DataError, match="images: the folder contains no images and is empty"):
        data.Folder(tmp_path)
    (tmp_path / "images" / "a.txt").write_text("x")
    with pytest.raises(data.DataError, match=r"of other kinds \(\.txt\).*png"):
        data.Folder(tmp_path)
    (tmp_path / "images" / "a.txt").unlink()
    Image.fromarray(grey()).save(tmp_path / "images" / "a.png")
    Image.fromarray(labels(0, 1)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(data.DataError, match=rf"Perhaps you mean {tmp_path}"):
        data.Folder(tmp_path / "images")


def test_masks_without_two_classes_are_refused(tmp_path):
    pairs(tmp_path, labels(0))
    with pytest.raises(data.DataError, match=r"nothing to learn.*\n.*single value 0"):
        data.Folder(tmp_path)
    with pytest.raises(data.DataError, match="all background"):
        data.Folder(tmp_path, masks="binary")


def test_soft_edges_and_jpeg_are_not_read_as_labels(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    tree(tmp_path, {"a.png": grey(64, 64)}, {"a.jpg": mask})
    with pytest.raises(data.DataError, match=r"stored as JPEG.*PNG"):
        data.Folder(tmp_path)
    soft = tmp_path / "soft"
    soft.mkdir()
    pairs(soft, np.arange(120, dtype=np.uint8).reshape(12, 10))
    with pytest.raises(data.DataError, match=r"(?s)values may be objects.*masks='instances'.*120 different values"):
        data.Folder(soft)
    assert len(data.Folder(soft, classes=120).classes) == 120
    assert data.Folder(soft, masks="instances").kind == "instances"


def test_a_mask_of_fractions_and_a_stack_of_pictures_are_refused(tmp_path):
    tree(tmp_path, {"a.png": grey(), "b.png": grey()}, {"a.tif": labels(0, 1).astype(np.float32) / 2, "b.tif": labels(0, 1)})
    first = Image.fromarray(labels(0, 1))
    first.save(tmp_path / "masks" / "b.tif", save_all=True, append_images=[first])
    with pytest.raises(
        data.DataError, match=r"(?s)images/b.png holds 1, its mask masks/b.tif holds 2.*masks/a.tif: the mask contains fractions"
    ):
        data.Folder(tmp_path)


def test_a_number_of_classes_that_does_not_fit_the_masks(tmp_path):
    pairs(tmp_path, labels(0, 3, 900, dtype=np.uint16))
    with pytest.raises(data.DataError, match=r"read as instances.*makes 2 classes, but classes=5"):
        data.Folder(tmp_path, classes=5)


def test_wrong_options_are_errors(tmp_path):
    pairs(tmp_path, labels(0, 1, 2))
    with pytest.raises(ValueError, match="masks is 'auto' or one of"):
        data.Folder(tmp_path, masks="guess")
    with pytest.raises(ValueError, match="in_channels is a number of channels, 1 or more, not 0"):
        data.Folder(tmp_path, in_channels=0)
    with pytest.raises(data.DataError, match=r"images/0.png: 1, expected 2"):
        data.Folder(tmp_path, in_channels=2)
    with pytest.raises(ValueError, match="boundary=True"):
        data.Folder(tmp_path, boundary=True, masks="classes")
    with pytest.raises(ValueError, match="needs colours="):
        data.Folder(tmp_path, masks="colours")
    with pytest.raises(ValueError, match="same colour"):
        data.Folder(tmp_path, colours={"a": "#000000", "b": (0, 0, 0)})
    with pytest.raises(ValueError, match="'#rrggbb' or three numbers"):
        data.Folder(tmp_path, colours={"a": "black"})


def test_a_file_that_breaks_later_is_named_by_the_loader(tmp_path):
    pairs(tmp_path, labels(0, 1))
    folder = data.Folder(tmp_path)
    (tmp_path / "images" / "1.png").write_bytes(b"gone")
    with pytest.raises(data.DataError, match=r"images/1\.png"):
        list(data.Loader(folder, 1))
    Image.fromarray(labels(0, 1, size=(3, 3))).save(tmp_path / "masks" / "0.png")
    with pytest.raises(data.DataError, match=r"masks/0\.png: the mask is \(3, 3\) and its image \(12, 10\)"):
        folder[0]


@pytest.mark.skipif(not FIELDS.is_dir(), reason="needs the 260 nuclei fields in ../shared/data/nuclei")
def test_the_260_fields():
    folder = data.Folder(FIELDS)
    assert len(folder) == 260 and folder.in_channels == 1 and folder.kind == "instances"
    image, mask = folder[0]
    assert image.shape == (1, 256, 256) and set(np.unique(mask)) == {0, 1}
    ids = np.asarray(Image.open(FIELDS / "masks" / f"{folder.names[0]}.png"))
    np.testing.assert_array_equal(mask, ids > 0)
    assert set(np.unique(data.Folder(FIELDS, boundary=True)[0][1])) == {0, 1, 2}
