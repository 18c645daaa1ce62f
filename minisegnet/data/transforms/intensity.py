"""Transforms that change the values of the image and not its mask.

They receive standardised images: one gain and one offset were applied to all channels. Everything here is linear
in the values, or a shift, and therefore has the same effect before and after standardising.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import Pair, contiguous


@dataclass(frozen=True)
class BrightnessContrast:
    """Stretch the image about its mean by up to 1 ± `contrast` and shift it by up to ± `brightness`.

    The shift is in units of the image. For a standardised image these are standard deviations.
    """

    brightness: float = 0.2
    contrast: float = 0.2

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        shift, stretch = rng.uniform(-1, 1, 2) * (self.brightness, self.contrast)
        mean = image.mean(dtype=np.float64)
        return contiguous(((image - np.float32(mean)) * np.float32(1 + stretch) + np.float32(mean + shift)), mask)


_LUMA = np.array([0.299, 0.587, 0.114])  # shares of red, green and blue in the perceived brightness (ITU-R BT.601)
_TO_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_TO_YIQ[1:] -= _TO_YIQ[1:].mean(axis=1, keepdims=True)  # so that grey has exactly no colour
_TO_RGB = np.linalg.inv(_TO_YIQ)


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast, saturation and hue, each changed by a random amount.

    Parameters
    ----------
    brightness, contrast : float
        As in `BrightnessContrast`: a shift of up to ± `brightness`, in units of the image, and a stretch of 1 ± `contrast`.
    saturation : float
        The difference from grey is multiplied by 1 ± `saturation`.
    hue : float
        Colours are rotated about the grey axis by up to ± `hue` of a full turn, 0 to 0.5, and keep their brightness.

    Notes
    -----
    Only an image of three channels has saturation and hue; any other is changed only in brightness and contrast.
    The hue is rotated in the plane of YIQ and not along the hexagon of HSV: a rotation is linear, so it can be
    applied to standardised values.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.05

    def __post_init__(self) -> None:
        if not (self.brightness >= 0 and 0 <= self.contrast <= 1 and 0 <= self.saturation <= 1 and 0 <= self.hue <= 0.5):
            raise ValueError(f"{self}: expected brightness ≥ 0, contrast and saturation from 0 to 1, hue from 0 to 0.5")

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        image, mask = BrightnessContrast(self.brightness, self.contrast)(image, mask, rng)
        strength, turn = rng.uniform(-1, 1, 2) * (self.saturation, self.hue)
        return contiguous(adjust_colour(image, 1 + strength, turn) if len(image) == 3 else image, mask)


def adjust_colour(image: np.ndarray, saturation: float = 1.0, hue: float = 0.0) -> np.ndarray:
    """An image (3, H, W) with its colours scaled by `saturation` and rotated by `hue` of a full turn."""
    angle = 2 * np.pi * hue
    turned = saturation * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    change = np.eye(3)
    change[1:, 1:] = turned
    return np.tensordot((_TO_RGB @ change @ _TO_YIQ).astype(image.dtype), image, axes=1)


@dataclass(frozen=True)
class GaussianBlur:
    """Blur with a Gaussian whose deviation is drawn uniformly from `low` to `high` pixels. The edge pixels are repeated outside."""

    low: float = 0.1
    high: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"GaussianBlur: expected 0 < low <= high, got {self.low} and {self.high}")

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        return contiguous(blur(image, float(rng.uniform(self.low, self.high))), mask)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve an image (C, H, W) with a Gaussian of deviation `sigma`, cut off at 3 σ, one axis after the other."""
    reach = int(np.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(image.dtype)
    for axis in (1, 2):
        padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=axis)
        image = windows @ weights
    return image


@dataclass(frozen=True)
class GaussianNoise:
    """Add independent normal noise, with a deviation drawn uniformly from 0 to `std`, in units of the image."""

    std: float = 0.1

    def __post_init__(self) -> None:
        if not self.std >= 0:
            raise ValueError(f"GaussianNoise: std must not be negative, got {self.std}")

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, self.std))
        return contiguous(image + noise, mask)
