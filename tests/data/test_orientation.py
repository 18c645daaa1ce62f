"""An image that has to be turned is turned by every command, wherever the file says so; and a file of several images is never cut to one."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.layouts import put

from minisegnet import data
from minisegnet.cli import main
from minisegnet.data.imagefile import FramesError, ImageFile, header
from minisegnet.data.images import read_image
from minisegnet.data.masks import read_raw
from minisegnet.data.orientation import orientation, upright
from minisegnet.inference import LargeImage

STORED = np.random.default_rng(0).integers(0, 256, (20, 33)).astype(np.uint8)
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description tiff:Orientation="{}" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"/></rdf:RDF></x:xmpmeta>'


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def exif(turn):
    found = Image.Exif()
    found[0x0112] = turn
    return found.tobytes()


def png(path, note, behind=False):
    """A PNG with a note before or behind its pixels."""
    Image.fromarray(STORED).save(path)
    content = path.read_bytes()
    place = content.index(b"IEND") - 4 if behind else content.index(b"IDAT") - 4
    path.write_bytes(content[:place] + note + content[place:])


def in_exif(turn):
    return chunk(b"eXIf", exif(turn).removeprefix(b"Exif\0\0"))


def in_xmp(turn):
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.format(turn).encode())


def in_profile(turn, name=b"exif"):
    text = exif(turn)
    return chunk(b"zTXt", b"Raw profile type " + name + b"\0\0" + zlib.compress(f"\nexif\n{len(text):8}\n{text.hex()}\n".encode()))


def in_old_profile(turn):
    return in_profile(turn, b"APP1")


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("note", [in_exif, in_xmp, in_profile, in_old_profile])
def test_every_note_of_a_png_turns_it_for_every_reader(tmp_path, note, behind):
    file = tmp_path / "a.png"
    for turn in (1, 3, 6):
        png(file, note(turn), behind)
        shown = upright(STORED, turn)
        assert orientation(file) == turn and header(file).size == shown.shape
        np.testing.assert_array_equal(read_image(file)[0], shown / np.float32(255))
        np.testing.assert_array_equal(read_raw(file), shown)
        with LargeImage(file, 1) as image:
            assert image.size == shown.shape
            np.testing.assert_allclose(image.rows(0, shown.shape[0]), data.standardise(shown[None]), atol=1e-5)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_the_turn_is_pillows(tmp_path, turn, suffix):
    file = tmp_path / f"a.{suffix}"
    tags = Image.Exif()
    tags[0x0112] = turn
    Image.fromarray(STORED).convert("RGB").save(file, exif=tags)
    with Image.open(file) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(read_image(file), np.moveaxis(expected, 2, 0) / np.float32(255))
    assert header(file).size == expected.shape[:2]
    if suffix == "png":  # what libvips decodes is turned by NumPy
        np.testing.assert_array_equal(upright(STORED, turn), expected[..., 0])


def test_a_note_that_is_nonsense_turns_nothing(tmp_path):
    for note in (in_exif(0), in_exif(9), chunk(b"tEXt", b"Raw profile type exif\0gibberish")):
        png(tmp_path / "a.png", note)
        assert orientation(tmp_path / "a.png") == 1
        np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], STORED / np.float32(255))


def test_a_turned_image_meets_its_mask_in_training_and_in_segment(tmp_path):
    """The mask was drawn on what was shown; `data check` used to call it one of another size."""
    for k in range(2):
        put(tmp_path / "data" / "masks" / f"{k}.png", (upright(STORED, 6) > np.median(STORED)).astype(np.uint8))
        (tmp_path / "data" / "images").mkdir(exist_ok=True)
        png(tmp_path / "data" / "images" / f"{k}.png", in_exif(6), behind=True)
    image, mask = data.Folder(tmp_path / "data")[0]
    assert image.shape[1:] == mask.shape == (33, 20)
    np.testing.assert_array_equal(image[0] > np.median(image), mask == 1)
    assert main(["segment", str(tmp_path / "data" / "images" / "0.png"), "--out", str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out" / "0.png") as labels:
        assert labels.size == (20, 33)


# --- several images in a file -----------------------------------------------------------------


def several(path, count=3, **options):
    frames = [Image.fromarray(np.roll(STORED, 3 * k, 1)).convert("RGB") for k in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.webp", "a.gif"])
def test_several_images_are_never_cut_to_the_first(tmp_path, name):
    several(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    assert header(tmp_path / name).frames == 3
    for read in (read_image, lambda path: LargeImage(path)):
        with pytest.raises(FramesError, match=rf"{name}: several images in one file, 3 of them \(a stack or an animation\)"):
            read(tmp_path / name)
    second = np.roll(STORED, 3, 1)
    np.testing.assert_allclose(read_image(tmp_path / name, 1, frame=1)[0], second / 255, atol=1e-6)
    with pytest.raises(FramesError, match=rf"{name}: there is no image 3; the file holds 3"):
        read_image(tmp_path / name, frame=3)


def test_the_second_picture_of_a_phone_is_not_a_frame(tmp_path):
    """Phones write MPO under the name .jpg: the photograph, and a preview or a depth map behind it."""
    several(tmp_path / "a.mpo", 2)
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    assert header(tmp_path / "a.jpg").frames == 1
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg", 1)[0], STORED / 255, atol=0.2)


def test_previews_in_a_tiff_are_not_frames(tmp_path):
    whole, small = Image.fromarray(STORED), Image.fromarray(STORED[::2, ::2].copy())
    small.encoderinfo = {"tiffinfo": {254: 1}}
    whole.save(tmp_path / "a.tif", save_all=True, append_images=[small])
    assert ImageFile(tmp_path / "a.tif").frames == [[0]]
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0], STORED / np.float32(255))
