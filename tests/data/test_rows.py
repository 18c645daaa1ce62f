"""PNG and TIFF files read row by row: the pixels are those that were written, in whatever order rows are read."""

import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minisegnet.data.rows import RowReader, UnsupportedError

pytest.importorskip("pyvips", reason="pyvips is not installed (extra large)")
RNG = np.random.default_rng(0)
SMOOTH = (np.add.outer(np.arange(70), np.arange(53) ** 1.3) * 3).astype(np.uint8)
NOISE = RNG.integers(0, 256, (70, 53), dtype=np.uint8)


def saved(path, array, mode=None):
    picture = Image.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(path)
    return RowReader(path)


@pytest.mark.parametrize("grey", [SMOOTH, NOISE, np.zeros((700, 900), np.uint8), NOISE[:1], NOISE[:, :1]])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_rows_are_those_that_pillow_wrote(tmp_path, grey, suffix):
    colour = np.dstack([grey, grey // 2, 255 - grey])
    for array, samples in (
        (grey, 1), (colour, 3), (np.dstack([grey, grey]), 1), (np.dstack([colour, grey]), 3), (grey.astype(np.uint16) * 251 + 3, 1),
    ):  # fmt: skip
        reader = saved(tmp_path / f"a.{suffix}", array)
        assert reader.size == grey.shape
        found = reader.rows(0, len(grey))
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array.reshape(*grey.shape, -1)[..., :samples])
        reader.close()


def test_colour_of_16_bits_keeps_them(tmp_path):
    """Written by hand, because Pillow reduces such files to 8 bits."""
    pixels = RNG.integers(0, 65536, (70, 53, 3)).astype(np.uint16)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunk = lambda kind, data: len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    head = (53).to_bytes(4, "big") + (70).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    found = RowReader(tmp_path / "a.png").rows(10, 70)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, pixels[10:])


def test_a_palette_becomes_its_colours(tmp_path):
    reader = saved(tmp_path / "a.png", np.dstack([SMOOTH, NOISE, NOISE]), "P")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(reader.rows(0, 70), np.asarray(picture.convert("RGB")))


@given(st.lists(st.tuples(st.integers(0, 69), st.integers(1, 70)), min_size=1, max_size=6))
def test_rows_in_any_order(tmp_path_factory, asked):
    reader = saved(tmp_path_factory.mktemp("png") / "a.png", NOISE)
    for start, count in asked:
        stop = min(start + count, 70)
        np.testing.assert_array_equal(reader.rows(start, stop)[..., 0], NOISE[start:stop])


def test_what_is_not_read_row_by_row_says_so(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(NOISE).save(tmp_path / "a.jpg")
    Image.fromarray(NOISE).save(tmp_path / "turned.png", exif=turned)
    Image.fromarray(np.dstack([NOISE] * 4), "CMYK").save(tmp_path / "ink.tif")
    for name, reason in (
        ("a.jpg", "this is neither PNG nor TIFF"),
        ("turned.png", "the image is stored turned"),
        ("ink.tif", "the colours are cmyk"),
    ):
        with pytest.raises(UnsupportedError, match=rf"{name}: {reason}"):
            RowReader(tmp_path / name)


@pytest.mark.parametrize("damage", ["cut", "bit", "ends early", "header"])
def test_damage_is_found_and_named(tmp_path, damage):
    path = tmp_path / "a.png"
    saved(path, NOISE).close()
    good = bytearray(path.read_bytes())
    if damage == "cut":
        del good[len(good) // 2 :]
    elif damage == "bit":
        good[len(good) // 2] ^= 1
    elif damage == "header":
        del good[20:]
    else:  # a header with a valid checksum that promises more rows than the file has
        good[20:24] = (80).to_bytes(4, "big")
        good[29:33] = zlib.crc32(good[12:29]).to_bytes(4, "big")
    path.write_bytes(good)
    with pytest.raises(OSError, match=r"a\.png: the image cannot be decoded"):
        RowReader(path).rows(0, 70 if damage != "ends early" else 80)


def test_without_pyvips_there_is_no_reader(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(ImportError):
        RowReader(tmp_path / "a.png")
