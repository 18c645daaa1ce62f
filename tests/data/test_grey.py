"""Grey masks whose values are not class numbers: what is said of them, and how they are read on request."""

import io

import numpy as np
import pytest
from PIL import Image
from support.layouts import put

from minisegnet import data
from minisegnet.cli import main

SIZE = (48, 40)


def areas(*values, dtype=np.uint8):
    """A mask in vertical stripes of these values."""
    return np.repeat(np.array(values, dtype), -(-SIZE[1] // len(values)))[None, : SIZE[1]].repeat(SIZE[0], 0)


def folder(root, *masks, suffix="png"):
    rng = np.random.default_rng(0)
    for k, mask in enumerate(masks or [areas(0, 1)]):
        put(root / "images" / f"{k}.png", rng.integers(0, 256, SIZE).astype(np.uint8))
        put(root / "masks" / f"{k}.{suffix}", mask)
    return root


def disc(soft):
    """A disc of 255, whose edge falls off over about `soft` pixels."""
    row, column = np.ogrid[: SIZE[0], : SIZE[1]]
    away = np.hypot(row - 23, column - 19) - 12
    return np.rint(255 * np.clip(0.5 - away / soft, 0, 1)).astype(np.uint8)


def jpeg(mask, quality=60):
    """A mask that was a JPEG once."""
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def flattened(*classes):
    return np.asarray(Image.fromarray(data.palette(21)[areas(*classes)]).convert("L"))


STRETCHED = areas(0, 128 * 257, 65535, dtype=np.uint16)
UNCERTAIN = {
    "four levels": (
        "levels",
        areas(0, 85, 170, 255),
        "4 values in all masks together are 0 (25.00%), 85 (25.00%), 170 (25.00%), 255 (25.00%)",
    ),
    "three levels": ("levels", areas(0, 128, 255), "0 (35.00%), 128 (35.00%), 255 (30.00%)"),
    "one level": ("levels", areas(0, 200), "0 (50.00%), 200 (50.00%)"),
    "from one": ("levels", areas(1, 2, 3), "1 (35.00%), 2 (35.00%), 3 (30.00%)"),
    "a gap": ("levels", areas(0, 1, 3), "3 (30.00%)"),
    "levels in 16 bits": ("levels", STRETCHED, "32896 (35.00%), 65535 (30.00%)"),
    "levels up to white in 16 bits": ("levels", areas(0, 32767, 65535, dtype=np.uint16), "32767 (35.00%)"),
    "levels of 8 bits in 16": ("levels", areas(0, 128, 255, dtype=np.uint16), "128 (35.00%)"),
    "soft edges in 16 bits": ("soft", disc(6).astype(np.uint16) * 257 // 256 * 256 + (disc(6) == 255) * np.uint16(255), "65535 ("),
    "soft edges": ("soft", disc(6), "0 ("),
    "JPEG": ("jpeg", jpeg(np.where(disc(0.01) > 0, 255, 0).astype(np.uint8)), " others"),
    "JPEG of three levels": ("jpeg", jpeg(areas(0, 128, 255)[:, ::-1] // 2 + disc(0.01) // 4), " others"),
    "VOC": ("flattened", flattened(0, 1, 8, 15), "4 values"),
    "VOC with its rim": ("flattened", np.where(disc(0.01) == 255, 220, flattened(0, 1, 15)).astype(np.uint8), "4 values"),
    "a grey palette": ("levels", Image.fromarray(areas(0, 85, 170)).convert("P"), "85 (35.00%)"),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_grey_values_that_are_not_class_numbers_are_named_with_their_shares(tmp_path, capsys, name):
    kind, mask, words = UNCERTAIN[name]
    folder(tmp_path, mask, mask)
    with pytest.raises(data.DataError) as caught:
        data.Folder(tmp_path)
    assert list(caught.value.problems) == [kind] and words in str(caught.value)
    assert "masks='" in str(caught.value), "the message says what to do"
    assert main(["data", "check", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert words in shown and "1 error" in shown and "class 1" not in shown  # no table of made-up classes


def test_what_can_be_class_numbers_is_read_as_before(tmp_path):
    for k, values in enumerate([(0, 1, 2), (0, 1, 2, 255), (0, 255), (0, 1)]):
        assert len(data.Folder(folder(tmp_path / str(k), areas(*values))).classes) == len(set(values) - ({255} if k == 1 else set()))
    gaps = folder(tmp_path / "gaps", areas(0, 1, 3))
    assert len(data.Folder(gaps, masks="classes").classes) == len(data.Folder(gaps, classes=4).classes) == 4


def test_levels_are_classes_in_rising_order_and_255_is_one_of_them(tmp_path):
    root = folder(tmp_path, areas(0, 85, 170), areas(0, 170, 255))
    found = data.Folder(root, masks="levels")
    assert found.levels == (0, 85, 170, 255) and found.classes == ("level 0", "level 85", "level 170", "level 255")
    np.testing.assert_array_equal(found[0][1], areas(0, 1, 2))
    np.testing.assert_array_equal(found[1][1], areas(0, 2, 3))
    assert data.Folder(root, masks="levels", classes=["a", "b", "c", "d"]).classes == ("a", "b", "c", "d")
    ignored = data.Folder(root, masks="levels", ignore_index=255)
    np.testing.assert_array_equal(ignored[1][1], areas(0, 2, 255))
    assert len(ignored.classes) == 3 and ignored.ignore_index == 255


def test_given_levels_keep_their_ranks_where_one_is_missing(tmp_path):
    root = folder(tmp_path, areas(0, 170))
    found = data.Folder(root, masks="levels", levels=[0, 85, 170, 255])
    np.testing.assert_array_equal(found[0][1], areas(0, 2))
    with pytest.raises(data.DataError, match=r"masks/0.png: 170 \(the levels are \(0, 85\)\)"):
        data.Folder(root, masks="levels", levels=[0, 85])
    put(root / "masks" / "0.png", areas(0, 7))
    with pytest.raises(data.DataError, match=r"0\.png: the value 7 is not one of the levels 0, 85, 170, 255"):
        found[0]
    for wrong in ({"levels": [0, 1]}, {"masks": "levels", "levels": [3, 1]}, {"threshold": 0.3}, {"masks": "soft", "threshold": 0.0}):
        with pytest.raises(ValueError, match=r"Folder: (levels|threshold)="):
            data.Folder(root, **wrong)


@pytest.mark.parametrize("mask", [disc(9), jpeg(disc(0.01))], ids=["soft", "jpeg"])
def test_soft_masks_are_not_levels(tmp_path, mask):
    with pytest.raises(data.DataError, match="masks='soft'") as caught:
        data.Folder(folder(tmp_path, mask), masks="levels")
    assert "soft" in caught.value.problems or "jpeg" in caught.value.problems


def test_soft_edges_are_cut_at_a_threshold(tmp_path):
    soft = disc(9)
    forms = {"8": soft, "16": soft.astype(np.uint16) * 257, "rgb": np.repeat(soft[..., None], 3, 2), "float": soft.astype(np.float32) / 255}
    for name, mask in forms.items():
        root = folder(tmp_path / name, mask, suffix="tif" if name == "float" else "png")
        np.testing.assert_array_equal(data.Folder(root, masks="soft")[0][1], soft >= 128, err_msg=name)
        np.testing.assert_array_equal(data.Folder(root, masks="soft", threshold=0.2)[0][1], soft >= 51, err_msg=name)
    bits = folder(tmp_path / "1", Image.fromarray(soft).convert("1", dither=Image.Dither.NONE))
    np.testing.assert_array_equal(data.Folder(bits, masks="soft")[0][1], soft >= 128)
    with pytest.raises(data.DataError, match="all background"):
        data.Folder(folder(tmp_path / "dark", soft // 3), masks="soft")


def test_fractions_are_no_damage(tmp_path, capsys):
    root = folder(tmp_path, disc(6).astype(np.float32) / 255, suffix="tif")
    assert main(["data", "check", str(root)]) == 2
    assert "masks with fractions (1)" in (said := capsys.readouterr().err) and "masks='soft'" in said and "damaged" not in said
    assert main(["data", "check", str(root), "--masks", "soft"]) == 0


def test_objects_numbered_in_8_bits_are_not_taken_for_classes(tmp_path):
    root = folder(tmp_path, *(areas(*range(n)) for n in (10, 5, 8, 4)))
    with pytest.raises(data.DataError, match=r"masks='instances' \(--masks instances\) if each is an object") as caught:
        data.Folder(root)
    assert list(caught.value.problems) == ["guess"]
    assert data.Folder(root, masks="instances").classes == ("background", "object")
    same = folder(tmp_path / "same", *(areas(*range(10)) for _ in range(4)))
    assert len(data.Folder(same).classes) == 10


def test_a_gif_is_read_by_its_colours(tmp_path):
    """The writer of a GIF numbers the palette as it likes: here white is 0."""
    gif = Image.fromarray(areas(1, 0))
    gif.putpalette([255, 255, 255, 0, 0, 0])
    found = data.Folder(folder(tmp_path, gif, suffix="gif"))
    assert found.kind == "binary"
    np.testing.assert_array_equal(found[0][1], areas(0, 1))
