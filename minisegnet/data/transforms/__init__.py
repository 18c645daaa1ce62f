"""Augmentation: an image and its mask are transformed together.

A transform is called as ``image, mask = transform(image, mask, rng)`` with float32 (C, H, W), int64 (H, W) and
a `numpy.random.Generator`, its only source of randomness. It returns contiguous arrays and does not change its
arguments.
"""

from __future__ import annotations

from .base import Compose, Pair, RandomApply, Transform
from .geometry import Flip, QuarterTurn, RandomCrop, RandomRotation, RandomScale, resize, rotate
from .intensity import BrightnessContrast, ColourJitter, GaussianBlur, GaussianNoise, adjust_colour, blur

__all__ = [
    "BrightnessContrast",
    "ColourJitter",
    "Compose",
    "Flip",
    "GaussianBlur",
    "GaussianNoise",
    "Pair",
    "QuarterTurn",
    "RandomApply",
    "RandomCrop",
    "RandomRotation",
    "RandomScale",
    "Transform",
    "adjust_colour",
    "augmentation",
    "blur",
    "resize",
    "rotate",
]


def augmentation(
    crop: int | tuple[int, int] | None,
    ignore_index: int = 255,
    *,
    scale: tuple[float, float] | None = None,
    rotate: float = 0.0,
    flip: str = "both",
    quarter_turns: bool = True,
    jitter: float = 0.0,
    blur: float = 0.0,
    noise: float = 0.0,
) -> Compose:
    """The transforms of training, in order. By default they are a random crop, flips and quarter turns, which change no pixel value.

    Parameters
    ----------
    crop : int, (int, int) or None
        None for whole images.
    ignore_index : int
        The label of what lies outside the image.
    scale : (float, float), optional
        The range of `RandomScale`; 0.5 to 2 in the recipes of torchvision, DeepLab and PSPNet.
    rotate : float
        The degrees of `RandomRotation`; 10 in the recipe of PSPNet.
    flip : {"both", "horizontal", "none"}
        Use "horizontal" where up and down differ, as in street scenes.
    quarter_turns : bool
        Has an effect only with ``flip="both"``: an image that may be turned may also be mirrored.
    jitter : float
        Strength of `ColourJitter`, 0 to 1: brightness, contrast and saturation ± `jitter`, hue ± a tenth of it.
    blur : float
        The largest deviation of `GaussianBlur`, which is applied with probability one half.
    noise : float
        The largest deviation of `GaussianNoise`.

    Raises
    ------
    ValueError
        If a number lies outside its range.
    """
    if flip not in ("both", "horizontal", "none"):
        raise ValueError(f'augmentation: flip={flip!r}: expected "both", "horizontal" or "none"')
    steps: list[Transform] = []
    if scale is not None:
        steps.append(RandomScale(*scale))
    if rotate:
        steps.append(RandomRotation(rotate, ignore_index))
    if crop is not None:
        steps.append(RandomCrop(crop, ignore_index))
    if flip != "none":
        steps.append(Flip(vertical=flip == "both"))
    if quarter_turns and flip == "both":
        steps.append(QuarterTurn())
    if jitter:
        steps.append(ColourJitter(jitter, jitter, jitter, jitter / 10))
    if blur:
        steps.append(RandomApply(GaussianBlur(min(0.1, blur), blur)))
    if noise:
        steps.append(GaussianNoise(noise))
    return Compose(tuple(steps))
