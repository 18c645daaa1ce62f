"""Image files of every common kind become arrays."""

import numpy as np
import pytest
from PIL import Image

from minisegnet.data.images import read_image

RNG = np.random.default_rng(0)


def grey(height=12, width=10, top=256):
    return RNG.integers(0, top, (height, width)).astype(np.uint8)


def labels(*values, size=(12, 10), dtype=np.uint8):
    """A mask that holds exactly these values."""
    return np.resize(np.array(values), size[0] * size[1]).reshape(size).astype(dtype)


def palette_mask(mask, colours=((1, 2, 3), (200, 0, 0), (0, 200, 0))):
    picture = Image.fromarray(mask)
    picture.putpalette([c for colour in colours for c in colour])
    return picture


def rgba(transparent):
    return np.dstack([RNG.integers(0, 256, (4, 5, 3)), np.full((4, 5), 0 if transparent else 255)]).astype(np.uint8)


@pytest.mark.parametrize("transparent", [False, True])
def test_alpha_is_dropped_and_not_blended(tmp_path, transparent):
    array = rgba(transparent)
    Image.fromarray(array).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), np.moveaxis(array[..., :3], 2, 0) / 255, rtol=1e-6)
    Image.fromarray(array[..., :2].copy(), "LA").save(tmp_path / "b.png")
    np.testing.assert_allclose(read_image(tmp_path / "b.png"), array[None, ..., 0] / 255, rtol=1e-6)


def test_16_bit_float_1_bit_and_palette_images(tmp_path):
    deep = RNG.integers(0, 65536, (6, 5)).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        np.testing.assert_allclose(read_image(tmp_path / name)[0], deep / 65535, rtol=1e-6)
    Image.fromarray(deep.astype(np.int32)).save(tmp_path / "i.tif")
    np.testing.assert_allclose(read_image(tmp_path / "i.tif")[0], deep / 65535, rtol=1e-6)
    real = RNG.normal(size=(6, 5)).astype(np.float32)
    Image.fromarray(real).save(tmp_path / "f.tiff")
    np.testing.assert_array_equal(read_image(tmp_path / "f.tiff")[0], real)
    Image.fromarray(labels(0, 255)).convert("1").save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bit.png")[0], labels(0, 1))
    palette_mask(labels(0, 1, 2)).save(tmp_path / "p.png")
    np.testing.assert_allclose(read_image(tmp_path / "p.png")[:, 0, 1], [200 / 255, 0, 0], rtol=1e-6)


def test_bmp_webp_and_jpeg_are_read(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 32).astype(np.uint8), (32, 32))
    for suffix, exact in (("bmp", True), ("webp", False), ("jpg", False)):
        Image.fromarray(smooth.copy()).save(tmp_path / f"a.{suffix}")
        found = read_image(tmp_path / f"a.{suffix}", channels=1)
        np.testing.assert_allclose(found[0], smooth / 255, atol=1e-6 if exact else 0.03)


def test_a_photograph_taken_upright_is_turned(tmp_path):
    picture = Image.fromarray(grey(6, 9))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_allclose(read_image(tmp_path / "a.png")[0], np.rot90(np.asarray(picture), -1) / 255, rtol=1e-6)


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.png: there is no such file"):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(OSError, match=r"b\.png: this is not an image"):
        read_image(tmp_path / "b.png")
    Image.fromarray(grey(64, 64)).save(tmp_path / "c.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:700])
    with pytest.raises(OSError, match=r"c\.png: the image cannot be decoded"):
        read_image(tmp_path / "c.png")


def test_an_image_that_is_too_large_is_named(tmp_path, monkeypatch):
    Image.fromarray(grey(64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(
        OSError, match=r"a\.png: the image has 4,096 pixels by its header, more than the 2,000.*MINISEGNET_MAX_PIXELS=4096$"
    ):
        read_image(tmp_path / "a.png")
    monkeypatch.setenv("MINISEGNET_MAX_PIXELS", "4095")
    with pytest.raises(OSError, match="4,096 pixels"):
        read_image(tmp_path / "a.png")
    monkeypatch.setenv("MINISEGNET_MAX_PIXELS", "4096")
    assert read_image(tmp_path / "a.png").shape == (1, 64, 64)
    monkeypatch.setenv("MINISEGNET_MAX_PIXELS", "many")
    with pytest.raises(OSError, match="MINISEGNET_MAX_PIXELS=many: expected the number of pixels"):
        read_image(tmp_path / "a.png")
