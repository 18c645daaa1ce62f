"""Augmentation: the image and its mask are changed together.

A transform is called as ``image, mask = transform(image, mask, rng)`` with float32 (C, H, W),
int64 (H, W) and a `numpy.random.Generator`, its only source of chance. It returns contiguous
arrays and leaves its arguments as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]
Transform = Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair]


def _contiguous(image: np.ndarray, mask: np.ndarray) -> Pair:
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


@dataclass(frozen=True)
class Compose:
    """Several transforms, one after the other."""

    transforms: Sequence[Transform]

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        for transform in self.transforms:
            image, mask = transform(image, mask, rng)
        return _contiguous(image, mask)


@dataclass(frozen=True)
class RandomCrop:
    """A window of a given size at a random place.

    An image that is too small is padded on both sides: the image by reflection, so that no false
    edge appears, the mask with `ignore_index`, so that nothing is learnt from it.

    Parameters
    ----------
    size : int or (int, int)
        Height and width.
    ignore_index : int
    """

    size: int | tuple[int, int]
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if min(self._window) < 1:
            raise ValueError(f"RandomCrop: the size must be positive, not {self.size}")

    @property
    def _window(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        height, width = self._window
        missing = [max(want - have, 0) for want, have in zip(self._window, mask.shape, strict=True)]
        if any(missing):
            pad = [(m // 2, m - m // 2) for m in missing]
            image = np.pad(image, [(0, 0), *pad], mode="reflect")
            mask = np.pad(mask, pad, constant_values=self.ignore_index)
        top = int(rng.integers(mask.shape[0] - height + 1))
        left = int(rng.integers(mask.shape[1] - width + 1))
        window = slice(top, top + height), slice(left, left + width)
        return _contiguous(image[:, *window], mask[window])


@dataclass(frozen=True)
class Flip:
    """Mirror left to right, and top to bottom, each with probability one half."""

    horizontal: bool = True
    vertical: bool = True

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        across, down = rng.random(2) < 0.5
        if self.horizontal and across:
            image, mask = image[..., ::-1], mask[..., ::-1]
        if self.vertical and down:
            image, mask = image[..., ::-1, :], mask[::-1]
        return _contiguous(image, mask)


@dataclass(frozen=True)
class QuarterTurn:
    """Turn by 0, 90, 180 or 270 degrees; an image that is not square only by 0 or 180, so that its shape stays."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        turns = int(rng.integers(4))
        if mask.shape[0] != mask.shape[1]:
            turns = turns // 2 * 2
        return _contiguous(np.rot90(image, turns, axes=(1, 2)), np.rot90(mask, turns))


@dataclass(frozen=True)
class RandomScale:
    """Enlarge or shrink by a random factor, drawn evenly on a logarithmic scale from `low` to `high`.

    The image is interpolated (bilinear, with smoothing when it shrinks); a pixel of the mask takes
    the label of the nearest pixel, so no label is invented between two.
    """

    low: float = 0.75
    high: float = 1.25

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"RandomScale: expected 0 < low <= high, got {self.low} and {self.high}")

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        factor = float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        return resize(image, mask, (max(round(mask.shape[0] * factor), 1), max(round(mask.shape[1] * factor), 1)))


def resize(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> Pair:
    """Image (C, H, W), bilinear, and mask (H, W), nearest, in a new size (height, width).

    Pixels are squares: the centre of pixel i lies at i + ½, in the image and in the mask alike, so
    the two stay on top of each other.
    """
    from PIL import Image

    height, width = size
    channels = [Image.fromarray(np.ascontiguousarray(c, np.float32)).resize((width, height), Image.Resampling.BILINEAR) for c in image]
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, mask.shape, strict=True))
    return _contiguous(np.stack([np.asarray(c) for c in channels]), mask[np.ix_(rows, columns)])


@dataclass(frozen=True)
class BrightnessContrast:
    """Stretch the image about its mean by 1 ± `contrast` and shift it by ± `brightness`; the mask stays.

    The shift is in units of the image: after standardising, in standard deviations.
    """

    brightness: float = 0.2
    contrast: float = 0.2

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        shift, stretch = rng.uniform(-1, 1, 2) * (self.brightness, self.contrast)
        mean = image.mean(dtype=np.float64)
        return _contiguous(((image - np.float32(mean)) * np.float32(1 + stretch) + np.float32(mean + shift)), mask)


def augmentation(crop: int | tuple[int, int], ignore_index: int = 255) -> Compose:
    """The default for training: a random crop, flips and quarter turns, none of which alters a pixel's value."""
    return Compose((RandomCrop(crop, ignore_index), Flip(), QuarterTurn()))
