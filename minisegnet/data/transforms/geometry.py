"""Transforms that move the pixels of an image and of its mask in the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import Pair, contiguous


@dataclass(frozen=True)
class RandomCrop:
    """A window of a given size at a random place.

    If the image is too small, it is padded on both sides: the image by reflection, so that no false edge appears,
    and the mask with `ignore_index`, so that nothing is learnt from the padding.

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
        rows, columns = self.size if isinstance(self.size, tuple | list) else (self.size, self.size)
        return int(rows), int(columns)

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
        return contiguous(image[:, *window], mask[window])


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
        return contiguous(image, mask)


@dataclass(frozen=True)
class QuarterTurn:
    """Turn by 0, 90, 180 or 270 degrees. An image that is not square is turned by 0 or 180, which keeps its shape."""

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        turns = int(rng.integers(4))
        if mask.shape[0] != mask.shape[1]:
            turns = turns // 2 * 2
        return contiguous(np.rot90(image, turns, axes=(1, 2)), np.rot90(mask, turns))


@dataclass(frozen=True)
class RandomScale:
    """Enlarge or shrink by a random factor, drawn evenly on a logarithmic scale from `low` to `high`.

    The image is interpolated (bilinear, with smoothing when it shrinks). A pixel of the mask takes the label of
    the nearest pixel, so that no label appears that was not there.
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
    """Resize an image (C, H, W), bilinear, and its mask (H, W), nearest, to (height, width).

    The centre of pixel i lies at i + ½ in both, so that the image and the mask stay aligned.
    """
    from PIL import Image

    height, width = size
    channels = [Image.fromarray(np.ascontiguousarray(c, np.float32)).resize((width, height), Image.Resampling.BILINEAR) for c in image]
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(size, mask.shape, strict=True))
    return contiguous(np.stack([np.asarray(c) for c in channels]), mask[np.ix_(rows, columns)])


@dataclass(frozen=True)
class RandomRotation:
    """Turn about the middle by an angle drawn uniformly from −`degrees` to `degrees`; the size stays the same.

    The image is interpolated (bilinear), and a pixel of the mask takes the label of the nearest pixel. Corners that
    lie outside the original are filled as in `RandomCrop`: the image by reflection, the mask with `ignore_index`.

    Parameters
    ----------
    degrees : float
        0 to 180.
    ignore_index : int
    """

    degrees: float
    ignore_index: int = 255

    def __post_init__(self) -> None:
        if not 0 <= self.degrees <= 180:
            raise ValueError(f"RandomRotation: degrees lie between 0 and 180, not {self.degrees}")

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        return rotate(image, mask, float(rng.uniform(-self.degrees, self.degrees)), self.ignore_index)


def rotate(image: np.ndarray, mask: np.ndarray, degrees: float, ignore_index: int = 255) -> Pair:
    """Turn an image (C, H, W), bilinear, and its mask (H, W), nearest, counter-clockwise about the middle."""
    height, width = mask.shape
    middle = (height - 1) / 2, (width - 1) / 2
    i, j = (grid - m for grid, m in zip(np.mgrid[:height, :width], middle, strict=True))
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    # The place from which each pixel comes is turned the other way. Rows grow downwards.
    rows, columns = cosine * i + sine * j + middle[0], cosine * j - sine * i + middle[1]
    nearest = np.rint(rows).astype(int), np.rint(columns).astype(int)
    inside = (nearest[0] >= 0) & (nearest[0] < height) & (nearest[1] >= 0) & (nearest[1] < width)
    labels = np.full_like(mask, ignore_index)
    labels[inside] = mask[nearest[0][inside], nearest[1][inside]]

    above, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - above).astype(np.float32), (columns - left).astype(np.float32)
    turned = np.zeros_like(image)
    for a, weight_a in ((above, 1 - down), (above + 1, down)):
        for b, weight_b in ((left, 1 - right), (left + 1, right)):
            turned += weight_a * weight_b * image[:, _reflected(a, height), _reflected(b, width)]
    return contiguous(turned, labels)


def _reflected(index: np.ndarray, size: int) -> np.ndarray:
    """Reflect indices outside 0 … size − 1 at the first and the last pixel, which are not repeated."""
    period = max(2 * (size - 1), 1)
    index = abs(index) % period
    return np.minimum(index, period - index)
