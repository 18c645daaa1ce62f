"""Image files of any common kind, read as arrays (C, H, W)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .imagefile import FramesError, ImageFile, is_grey, too_many_pixels
from .orientation import upright
from .rows import RowReader, UnsupportedError

_TURNS = (0, 3, 1, 5, 4, 6, 2)  # the numbers of Pillow's transpositions for the orientations 2 to 8
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in Pillow's "L"


def open_upright(path: str | os.PathLike, frame: int | None = None) -> Any:
    """The decoded Pillow image, turned as its note of orientation demands; `frame` is the number of one image among several."""
    file = ImageFile(path)
    return _picture(file, file.chosen(frame)[0])


def _picture(file: ImageFile, page: int) -> Any:
    from PIL import Image

    with Image.open(file.path) as picture:
        if page:
            picture.seek(page)
        picture.load()
        turn = 1 if picture.format == "TIFF" else file.turn(page)  # Pillow itself turns a TIFF, and nothing else
        return picture.copy() if turn == 1 else picture.transpose(Image.Transpose(_TURNS[turn - 2]))


def read_image(path: str | os.PathLike, channels: int | None = None, frame: int | None = None, unit: bool = True) -> np.ndarray:
    """An image file as an array.

    Grey, palette, RGB, any number of bands, 8, 16 and 32 bits and floats are read. A declared alpha channel is dropped, not blended.
    Integers are divided by the largest value of their type, so that they lie in 0…1; floats are not changed. Pixels that the file calls
    "no data" are NaN. What Pillow would cut off (bits beyond 8 a colour, bands beyond three) is decoded by libvips
    (``pip install "pyvips[binary]>=3"``).

    Parameters
    ----------
    path : path
    channels : int, optional
        Convert to 1, grey (luminance), or to 3, colour; by default the channels are those of the file.
    frame : int, optional
        The number of the image, from 0, in a file that holds several.
    unit : bool
        Whether to divide integers by the largest value of their type; if not, they keep their values.

    Returns
    -------
    array, float32, (C, H, W)
        float64 for integers above 16 bits and for doubles: an offset could cost the digits of the image in float32.

    Raises
    ------
    OSError
        If the file does not exist or cannot be decoded; names it.
    ValueError
        If the file holds several images and `frame` is not given (`FramesError`), or the channels cannot be converted.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        file = ImageFile(path)
        pages = file.chosen(frame)
        image = np.concatenate([_planes(file, page, unit) for page in pages])
    except UnidentifiedImageError as error:
        raise OSError(f"{path}: this is not an image that can be read (PNG, JPEG, TIFF, BMP, WebP, GIF), or it is damaged") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such file") from error
    except Image.DecompressionBombError as error:  # the size in the header, which may be damaged
        raise OSError(f"{path}: {too_many_pixels(error)}") from error
    except (FramesError, UnreadableError):
        raise
    except Exception as error:  # a damaged file makes decoders raise nearly anything
        raise OSError(f"{path}: the image cannot be decoded ({error}); is it damaged or cut off?") from error
    if channels is None:
        return image
    check_pages(path, len(pages), channels)
    return to_channels(image, channels)


def check_pages(path: str | os.PathLike, pages: int, channels: int) -> None:
    """Raise ValueError if a file says that so many pages are the channels of one image, and they cannot be converted to `channels`."""
    if pages > 1 and pages != channels and {pages, channels} != {1, 3}:
        name = Path(path).name
        raise ValueError(
            f"{path}: the file says that its {pages} pages are the channels of one image, and {channels} {'is' if channels == 1 else 'are'} "
            "needed. If they are images of their own, such as the frames of a film, let the file say so: "
            f"tifffile.imwrite(\"{name}\", tifffile.imread(\"{name}\"), imagej=True, metadata={{'axes': 'TYX'}})"
        )


class UnreadableError(OSError):
    """A sound file that needs a package which is not installed, or has a form that nothing here reads; the message says which."""


def _planes(file: ImageFile, page: int, unit: bool) -> np.ndarray:
    """A page as (C, H, W)."""
    beyond = file.beyond_pillow(page)
    if file.array is not None:
        array = np.atleast_3d(file.array)
    else:
        array = _decoded_by_vips(file, page, beyond) if beyond else _array(_picture(file, page))
    planes = np.ascontiguousarray(np.moveaxis(array, 2, 0))
    planes = _unit(planes) if unit else planes.astype(np.result_type(planes.dtype, np.float32))
    return missing_as_nan(planes, array, file.no_data(page))


def _decoded_by_vips(file: ImageFile, page: int, beyond: str) -> np.ndarray:
    if beyond.endswith("of 64 bits"):
        return upright(_decoded_by_tifffile(file, page), file.turn(page))
    try:
        reader = RowReader(file.path, page, stored=True)
    except ImportError as error:
        raise UnreadableError(
            f"{file.path}: the image has {beyond}, of which Pillow reads less; libvips reads all: pip install 'pyvips[binary]>=3'"
        ) from error
    except UnsupportedError as error:
        raise UnreadableError(f"{error} ({beyond})") from error
    array = reader.rows(0, reader.size[0])
    reader.close()
    return upright(array, file.turn(page))


def _decoded_by_tifffile(file: ImageFile, page: int) -> np.ndarray:
    """Doubles, which libvips does not read."""
    try:
        import tifffile
    except ImportError as error:
        raise UnreadableError(f"{file.path}: the numbers have 64 bits; tifffile reads them: pip install tifffile") from error
    array = tifffile.imread(file.path, key=page)
    return array[..., None] if array.ndim == 2 else array


def missing_as_nan(image: np.ndarray, stored: np.ndarray, no_data: float | None) -> np.ndarray:
    """An image (C, H, W) with NaN in the pixels whose stored numbers (H, W, C) are all the value that means "no data"."""
    if no_data is None or np.isnan(no_data):
        return image
    missing = (stored == no_data).all(axis=2)
    if missing.any():
        image[:, missing] = np.nan
    return image


def _array(picture: Any) -> np.ndarray:
    """The pixels of a Pillow image, (H, W, C), as they are stored and without alpha."""
    mode = picture.mode
    if not is_grey(mode):
        # Through RGBA, so that transparent entries of a palette keep their colours.
        picture = (
            picture.convert("RGBA" if "transparency" in picture.info or mode == "PA" else "RGB")
            if mode not in ("RGB", "RGBA", "RGBX")
            else picture
        )
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array[..., : 1 if mode in ("LA", "La") else 3]


def _unit(array: np.ndarray) -> np.ndarray:
    """Integers in 0…1, and floats as they are; float64 where float32 could lose digits."""
    if array.dtype.kind == "f":
        return array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
    if array.dtype == bool:
        return array.astype(np.float32)
    if array.dtype.itemsize == 4:  # usually a 16-bit image in a wider type
        if array.min(initial=0) >= 0 and array.max(initial=0) <= 65535:
            return array.astype(np.float32) / np.float32(65535)
        return array / float(np.iinfo(array.dtype).max)
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
        return np.tensordot(_LUMINANCE, image, axes=1)[None].astype(image.dtype)
    raise ValueError(f"an image of {image.shape[0]} channels cannot be converted to {channels}; only 1 and 3 convert into each other")
