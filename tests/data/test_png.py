"""PNG files written in strips: Pillow reads back what was written."""

import numpy as np
import pytest
from PIL import Image

from minisegnet.data.png import png_writer

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (70, 53), dtype=np.uint8)


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
    with pytest.raises(ValueError, match="has 70 rows, but only 3 were written"), png_writer(tmp_path / "a.png", 70, 53) as file:
        file.write(NOISE[:3])
    with pytest.raises(ValueError, match="2 at most"), png_writer(tmp_path / "a.png", 2, 53) as file:
        file.write(NOISE[:3])
    with pytest.raises(ValueError, match="uint8 rows of 53"), png_writer(tmp_path / "a.png", 70, 53) as file:
        file.write(NOISE[:9].astype(np.int64))
    assert not list(tmp_path.iterdir())
