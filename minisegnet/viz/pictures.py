"""Label maps as pictures: plain NumPy and Pillow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.colours import palette as voc_palette
from ..files import write_atomically

IGNORED = (224, 224, 192)  # the colour that Pascal VOC gives to the label 255


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An image of any kind as uint8 (H, W, 3), for display.

    Parameters
    ----------
    image : array
        (H, W) or (C, H, W), or uint8 (H, W, 3). uint8 is not changed. Any other image is stretched so that all but the
        darkest and brightest half per cent of its values are in range. NaN becomes black.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3:
        raise ValueError(f"an image has the shape (H, W), (C, H, W) or, as uint8, (H, W, 3); got {image.shape}")
    if not (image.dtype == np.uint8 and image.shape[2] == 3 and image.shape[0] not in (1, 3)):
        image = np.moveaxis(image[:3] if image.shape[0] >= 3 else image[:1], 0, 2)
    if image.dtype != np.uint8:
        low, high = np.nanpercentile(image, (0.5, 99.5)) if not np.isnan(image).all() else (0, 1)
        image = np.nan_to_num(np.clip((image - low) / (high - low or 1), 0, 1) * 255)
        image = np.rint(image).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def colourise(labels: np.ndarray, palette: np.ndarray, ignore_index: int = 255) -> np.ndarray:
    """A label map in colours.

    Parameters
    ----------
    labels : integer array, (H, W)
    palette : uint8, (K, 3)
    ignore_index : int
        The label of ignored pixels, which become cream.

    Returns
    -------
    array, uint8, (H, W, 3)

    Raises
    ------
    ValueError
        If a label has no colour; names the label.
    """
    labels, palette = _whole(labels), np.asarray(palette, np.uint8)
    ignored = labels == ignore_index
    stray = labels[~ignored & ((labels < 0) | (labels >= len(palette)))]
    if stray.size:
        raise ValueError(f"label {stray[0]} has no colour: the palette has {len(palette)} colours")
    colours = palette[np.where(ignored, 0, labels)]
    colours[ignored] = IGNORED
    return colours


def overlay(
    image: np.ndarray, labels: np.ndarray, palette: np.ndarray, alpha: float = 0.45, *, background: int | None = 0, ignore_index: int = 255
):
    """An image with its labels laid over it like stained glass.

    Parameters
    ----------
    image : array, (H, W) or (C, H, W), or uint8 (H, W, 3)
    labels : integer array, (H, W)
    palette : uint8, (K, 3)
    alpha : float
        From 0, only the image, to 1, only the colours. The rim of each region is always drawn at full strength.
    background : int or None
        The class that is not coloured; None colours every class. Ignored pixels are never coloured.

    Returns
    -------
    array, uint8, (H, W, 3)
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"overlay: alpha lies between 0 and 1, not {alpha}")
    base, labels = as_rgb(image), _whole(labels)
    if base.shape[:2] != labels.shape:
        raise ValueError(f"overlay: the image is {base.shape[:2]} and its labels are {labels.shape}")
    colours = colourise(labels, palette, ignore_index)
    strength = np.full(labels.shape, alpha)
    if alpha:
        strength[_rims(labels)] = 1.0
    strength[labels == ignore_index] = 0.0
    if background is not None:
        strength[labels == background] = 0.0
    return np.rint(base + strength[..., None] * (colours.astype(float) - base)).astype(np.uint8)


def background_of(classes: Sequence[str]) -> int | None:
    """The background class: 0 if there are two classes, or class 0 has a name like "background" or no name of its own; otherwise None."""
    return 0 if len(classes) == 2 or classes[0].lower().startswith("background") or classes[0] in ("class 0", "level 0") else None


def _rims(labels: np.ndarray) -> np.ndarray:
    """Pixels with another label above, below, left or right."""
    padded = np.pad(labels, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    return (padded[:-2, 1:-1] != centre) | (padded[2:, 1:-1] != centre) | (padded[1:-1, :-2] != centre) | (padded[1:-1, 2:] != centre)


def save_label_png(labels: np.ndarray, palette: np.ndarray, path: str | os.PathLike) -> Path:
    """Write a label map as a palette PNG: the file stores the labels themselves, and programs show them in colour.

    Parameters
    ----------
    labels : integer array, (H, W), 0 to 255
    palette : uint8, (K, 3)
        Labels from K on get the colours of Pascal VOC.
    path : path

    Returns
    -------
    Path
    """
    from PIL import Image

    labels = _whole(labels)
    if labels.size and not 0 <= labels.min() <= labels.max() <= 255:
        raise ValueError(f"a palette PNG stores labels from 0 to 255; these go from {labels.min()} to {labels.max()}")
    colours = voc_palette(256)
    colours[: len(palette)] = palette
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(colours.tobytes())  # changes the mode from grey to palette; the pixels stay the same
    return write_atomically(path, lambda stream: picture.save(stream, "PNG", optimize=True))


def _whole(labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise ValueError(f"a label map has integer labels and the shape (H, W); got {labels.dtype} of shape {labels.shape}")
    return labels.astype(np.int64)
