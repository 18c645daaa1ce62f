"""Image files of any common kind, read as float32 (C, H, W)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
_GREY = {"1", "L", "LA", "La", "I", "F"}
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's "L"


@dataclass(frozen=True)
class Header:
    """What is known of a file before its pixels are decoded."""

    size: tuple[int, int]  # height, width, as shown
    mode: str
    channels: int
    frames: int


def header(path: Path) -> Header:
    """Size, mode and number of frames of a file. The checksums of a PNG are verified.

    A damaged file can make Pillow raise nearly any exception: `OSError`, `SyntaxError`, `ValueError`, ...
    """
    from PIL import Image

    with Image.open(path) as picture:
        width, height = picture.size
        # For a PNG without EXIF, getexif() would decode the whole image, because the data may stand after the pixels.
        tags = picture.getexif() if picture.format != "PNG" or "exif" in picture.info else {}
        if tags.get(0x0112, 1) in (5, 6, 7, 8):  # to be turned by 90 degrees
            width, height = height, width
        found = Header(
            (height, width),
            picture.mode,
            1 if picture.mode in _GREY or picture.mode.startswith("I;16") else 3,
            getattr(picture, "n_frames", 1),
        )
        checked = picture.format == "PNG" and found.frames == 1
    if checked:
        with Image.open(path) as picture:  # opened again, because verify() requires an image that was not read from
            picture.verify()
    return found


def open_upright(path: str | os.PathLike) -> Any:
    """The decoded Pillow image, turned as its EXIF tag demands."""
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        picture.load()
        return ImageOps.exif_transpose(picture)


def read_image(path: str | os.PathLike, channels: int | None = None) -> np.ndarray:
    """An image file as an array.

    Grey, palette, RGB, 16-bit grey and float images are read. An alpha channel is dropped, not blended. Integers
    are divided by the largest value of their type, so that they lie in 0…1; floats are not changed.
    (Pillow reads RGB with 16 bits per channel as 8 bits.)

    Parameters
    ----------
    path : path
    channels : {1, 3}, optional
        Convert to grey (luminance) or to colour; by default the channels are those of the file.

    Returns
    -------
    array, float32, (C, H, W)

    Raises
    ------
    OSError
        If the file does not exist or cannot be decoded; names it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = _pixels(open_upright(path))
    except UnidentifiedImageError as error:
        raise OSError(f"{path}: this is not an image that can be read (PNG, JPEG, TIFF, BMP, WebP), or it is damaged") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such file") from error
    except Image.DecompressionBombError as error:  # the size in the header, which may be damaged
        raise OSError(f"{path}: {error}; cut the image into tiles, or set PIL.Image.MAX_IMAGE_PIXELS if the size is right") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise OSError(f"{path}: the image cannot be decoded ({error}); is it damaged or cut off?") from error
    return image if channels is None else to_channels(image, channels)


def _pixels(picture: Any) -> np.ndarray:
    mode = picture.mode
    if mode not in _GREY and not mode.startswith("I;16"):
        # Through RGBA, so that transparent entries of a palette keep their colours.
        picture = (
            picture.convert("RGBA" if "transparency" in picture.info or mode == "PA" else "RGB")
            if mode not in ("RGB", "RGBA", "RGBX")
            else picture
        )
    array = np.asarray(picture)
    array = array[..., None] if array.ndim == 2 else array[..., : 1 if mode in ("LA", "La") else 3]
    array = np.ascontiguousarray(np.moveaxis(array, 2, 0))
    if array.dtype.kind == "f" or array.dtype == bool:
        return array.astype(np.float32)
    if array.dtype.itemsize == 4:  # mode "I": usually a 16-bit image in a wider type
        return array.astype(np.float32) / np.float32(65535 if array.min() >= 0 and array.max() <= 65535 else np.iinfo(array.dtype).max)
    return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Convert (C, H, W) to another number of channels: grey is repeated, colour becomes its luminance.

    Raises
    ------
    ValueError
        For any conversion except between 1 and 3.
    """
    if image.shape[0] == channels:
        return image
    if (image.shape[0], channels) == (1, 3):
        return np.repeat(image, 3, axis=0)
    if (image.shape[0], channels) == (3, 1):
        return np.tensordot(_LUMINANCE, image, axes=1)[None].astype(np.float32)
    raise ValueError(f"an image of {image.shape[0]} channels cannot be converted to {channels}; only 1 and 3 convert into each other")
