"""Pictures of what happens in a network: the tests read their pixels."""

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from minisegnet import data, models, random, viz
from minisegnet.diagnostics import Attribution, follow_pixel
from minisegnet.viz.gallery import Panel

RNG = np.random.default_rng(0)


def pixels(picture):
    return np.asarray(picture.convert("RGB"))


def holds(picture, colour, tolerance=3):
    """How many pixels have a colour."""
    return int((np.abs(pixels(picture).astype(int) - np.asarray(colour)).max(-1) <= tolerance).sum())


def test_a_gallery_shows_every_panel_in_its_colours(tmp_path):
    solid = lambda *colour: np.full((10, 20, 3), colour, np.uint8)
    panels = [
        Panel("red", solid(200, 10, 10)),
        Panel("green", solid(10, 200, 10)),
        Panel("numbers", np.full((10, 20), 0.25), "viridis", (0, 1)),
    ]
    picture = viz.gallery(panels, title="Three", columns=2, cell=2)
    area = (2 * 150) * (1 * 150)  # inches at 150 dots an inch
    number = np.array(colormaps["viridis"](0.25)[:3]) * 255
    for colour in ((200, 10, 10), (10, 200, 10), number):
        assert 0.9 * area < holds(picture, colour) < 1.1 * area
    assert viz.gallery(panels, tmp_path / "deep" / "a.png") == tmp_path / "deep" / "a.png"
    with Image.open(tmp_path / "deep" / "a.png") as again:
        assert again.format == "PNG"
    with pytest.raises(ValueError, match="nothing to show"):
        viz.gallery([])


def test_boxes_and_points_are_marked():
    plain = Panel("p", np.zeros((40, 40)))
    mark = (0, 229, 255)
    assert holds(viz.gallery([plain]), mark, 40) == 0
    assert holds(viz.gallery([Panel("p", np.zeros((40, 40)), box=(5, 20, 5, 20))]), mark, 40) > 200
    assert holds(viz.gallery([Panel("p", np.zeros((40, 40)), point=(20, 20))]), mark, 40) > 20


def test_constant_and_broken_numbers_are_drawn():
    viz.gallery([Panel("constant", np.ones((4, 4))), Panel("nan", np.full((4, 4), np.nan))])


def test_doubt_is_on_one_scale_for_all_images():
    """0.5 has the middle colour of the scale, although it is the largest value in the image."""
    picture = viz.doubt(
        np.zeros((8, 8)), np.zeros((8, 8), int), {"margin": np.full((8, 8), 0.5), "entropy": np.full((8, 8), 0.5)}, data.class_palette(2)
    )
    for name in ("viridis", "inferno"):
        assert holds(picture, np.array(colormaps[name](0.5)[:3]) * 255) > 50_000


def test_heat_lies_where_it_is():
    heat = np.zeros((20, 20))
    heat[:10] = 1
    picture = Attribution(heat, "down4", 1, 2.0).draw(np.full((20, 20, 3), 100, np.uint8), "nucleus")
    assert holds(picture, (100, 100, 100)) > 80_000  # the image, and the lower half of the third panel
    assert holds(picture, np.array(colormaps["inferno"](1.0)[:3]) * 255) > 50_000


def test_feature_maps_that_vary_are_shown_and_signs_have_colours():
    values = RNG.normal(0, 0.01, (40, 6, 6))
    values[:3] = RNG.choice([-1.0, 1.0], (3, 6, 6))
    values[3] = 1000  # constant: nothing to see
    picture = viz.features(values)
    for end in (0.0, 1.0):
        assert holds(picture, np.array(colormaps["RdBu_r"](end)[:3]) * 255) > 10_000
    with pytest.raises(ValueError, match=r"\(6, 6\)"):
        viz.features(values[0])


def test_filters_of_one_three_and_many_channels():
    one = np.zeros((2, 1, 3, 3))
    one[0, 0, 1, 1], one[1, 0, 0, 0] = 2.0, -2.0
    picture = viz.filters(one)
    for end in (0.0, 1.0):
        assert holds(picture, np.array(colormaps["RdBu_r"](end)[:3]) * 255) > 2000
    coloured = np.zeros((1, 3, 2, 2))
    coloured[0, 0] = 1
    assert holds(viz.filters(coloured), (255, 128, 128)) > 10_000
    assert viz.filters(RNG.standard_normal((64, 5, 3, 3))).size[0] > 500
    assert viz.filters(np.zeros((2, 4, 3, 3))).size[0] > 200
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        viz.filters(one[0, 0])


def test_the_path_of_a_pixel_is_drawn(tmp_path):
    random.manual_seed(0)
    model, image = models.create("unet", 1, 2, 1 / 32), RNG.standard_normal((1, 32, 32)).astype(np.float32)
    path = follow_pixel(model, image, (10, 20), 1).draw(image, tmp_path / "t.png", classes=("ground", "cell"))
    with Image.open(path) as picture:
        assert picture.size[0] > 1000 and holds(picture, (0, 229, 255), 40) > 200
