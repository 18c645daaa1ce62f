"""PNG files row by row: read what Pillow writes, write what Pillow reads."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minisegnet.data.png import PngReader, UnsupportedError, png_writer

RNG = np.random.default_rng(0)
SMOOTH = (np.add.outer(np.arange(70), np.arange(53) ** 1.3) * 3).astype(np.uint8)  # Pillow chooses other filters for it than for noise
NOISE = RNG.integers(0, 256, (70, 53), dtype=np.uint8)


def saved(path, array, mode=None):
    picture = Image.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(path)
    return PngReader(path)


@pytest.mark.parametrize("grey", [SMOOTH, NOISE, np.zeros((700, 900), np.uint8), NOISE[:1], NOISE[:, :1]])
def test_rows_are_those_that_pillow_wrote(tmp_path, grey):
    colour = np.dstack([grey, grey // 2, 255 - grey])
    for array, samples in (
        (grey, 1), (colour, 3), (np.dstack([grey, grey]), 1), (np.dstack([colour, grey]), 3), (grey.astype(np.uint16) * 251 + 3, 1),
    ):  # fmt: skip
        reader = saved(tmp_path / "a.png", array)
        assert reader.size == grey.shape
        found = reader.rows(0, len(grey))
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array.reshape(*grey.shape, -1)[..., :samples])
        reader.close()


def test_a_palette_becomes_its_colours(tmp_path):
    reader = saved(tmp_path / "a.png", np.dstack([SMOOTH, NOISE, NOISE]), "P")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(reader.rows(0, 70), np.asarray(picture.convert("RGB")))


@given(filters=st.lists(st.integers(0, 4), min_size=1, max_size=12), seed=st.integers(0, 99), samples=st.sampled_from([1, 3]))
def test_every_filter_by_hand(tmp_path_factory, filters, seed, samples):
    """Filtered here from the definition, with Python's numbers, and written chunk by chunk."""
    height, width = len(filters), 7
    plain = np.random.default_rng(seed).integers(0, 256, (height, width * samples)).tolist()
    at = lambda i, j: plain[i][j] if i >= 0 and j >= 0 else 0
    raw = bytearray()
    for i, kind in enumerate(filters):
        raw.append(kind)
        for j in range(width * samples):
            a, b, c = at(i, j - samples), at(i - 1, j), at(i - 1, j - samples)
            near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            raw.append((at(i, j) - (0, a, b, (a + b) // 2, near)[kind]) % 256)
    body = zlib.compress(bytes(raw))
    chunk = lambda kind, data: len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0 if samples == 1 else 2, 0, 0, 0])
    path = tmp_path_factory.mktemp("png") / "a.png"
    pieces = [chunk(b"IDAT", body[k : k + 5]) for k in range(0, len(body), 5)]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(pieces) + chunk(b"IEND", b""))
    np.testing.assert_array_equal(PngReader(path).rows(0, height).reshape(height, -1), plain)
    with Image.open(path) as picture:  # what was written here is a PNG to others as well
        np.testing.assert_array_equal(np.asarray(picture).reshape(height, -1), plain)


@given(st.lists(st.tuples(st.integers(0, 69), st.integers(1, 70)), min_size=1, max_size=6))
def test_rows_in_any_order(tmp_path_factory, asked):
    path = tmp_path_factory.mktemp("png") / "a.png"
    reader = saved(path, NOISE)
    for start, count in asked:
        stop = min(start + count, 70)
        np.testing.assert_array_equal(reader.rows(start, stop)[..., 0], NOISE[start:stop])


def test_what_is_not_read_row_by_row_says_so(tmp_path):
    Image.fromarray(NOISE > 9).save(tmp_path / "bit.png")
    with pytest.raises(UnsupportedError):
        PngReader(tmp_path / "bit.png")
    Image.fromarray(NOISE).save(tmp_path / "a.jpg")
    with pytest.raises(OSError, match=r"a\.jpg: this is no PNG"):
        PngReader(tmp_path / "a.jpg")


@pytest.mark.parametrize("damage", ["cut", "bit", "ends early"])
def test_damage_is_found_and_named(tmp_path, damage):
    path = tmp_path / "a.png"
    saved(path, NOISE).close()
    good = bytearray(path.read_bytes())
    if damage == "cut":
        del good[len(good) // 2 :]
    elif damage == "bit":
        good[len(good) // 2] ^= 1
    else:  # a header that promises more rows than there are, with a checksum that is right
        good[20:24] = (80).to_bytes(4, "big")
        good[29:33] = zlib.crc32(good[12:29]).to_bytes(4, "big")
    path.write_bytes(good)
    with pytest.raises(OSError, match=r"a\.png: the image cannot be decoded"):
        PngReader(path).rows(0, 70 if damage != "ends early" else 80)


def test_what_is_written_in_strips_is_one_image(tmp_path):
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    for colours, mode in ((None, "L"), (palette, "P")):
        with png_writer(tmp_path / "a.png", 70, 53, colours) as file:
            for start in range(0, 70, 32):
                file.write(NOISE[start : start + 32])
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.mode == mode
            np.testing.assert_array_equal(np.asarray(picture), NOISE)
    with Image.open(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), palette[NOISE])


def test_half_an_image_is_never_there(tmp_path):
    with pytest.raises(ValueError, match="70 rows got 3"), png_writer(tmp_path / "a.png", 70, 53) as file:
        file.write(NOISE[:3])
    with pytest.raises(ValueError, match="2 at most"), png_writer(tmp_path / "a.png", 2, 53) as file:
        file.write(NOISE[:3])
    with pytest.raises(ValueError, match="uint8 rows of 53"), png_writer(tmp_path / "a.png", 70, 53) as file:
        file.write(NOISE[:9].astype(np.int64))
    assert not list(tmp_path.iterdir())
