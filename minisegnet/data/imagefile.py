"""What an image file says of itself: how many images it holds, how large, with which channels, and how they have to be turned."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import tiff
from .orientation import orientation

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".npy")
MASK_SUFFIXES = (*SUFFIXES, ".mat")
_GREY = {"1", "L", "LA", "La", "I", "F"}


LIMIT = "MINISEGNET_MAX_PIXELS"
"""The environment variable that raises the limit on the pixels of an image, which Pillow sets to 178,956,970."""


def allow_pixels() -> None:
    """Let Pillow decode images of as many pixels as the environment variable `LIMIT` says.

    Raises
    ------
    ValueError
        If it is not a number above 0.
    """
    given = os.environ.get(LIMIT)
    if given is None:
        return
    if not given.isdigit() or int(given) < 1:
        raise ValueError(f"{LIMIT}={given}: expected the number of pixels that an image may have")
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = int(given) / 2  # type: ignore[assignment]  # Pillow refuses images of more than twice this number


def too_many_pixels(error: Exception) -> str:
    """What Pillow's error about the size of an image means, and what to do."""
    size, limit = [int(word) for word in re.findall(r"\d+", str(error))][:2]
    return (
        f"the image has {size:,} pixels by its header, more than the {limit:,} that are decoded, because a file of a few bytes can claim any "
        f"size and take all memory. If the size is right, allow it: {LIMIT}={size}"
    )


def is_grey(mode: str) -> bool:
    """Whether a mode of Pillow has no colours."""
    return mode in _GREY or mode.startswith("I;16")


@dataclass(frozen=True)
class Header:
    """What is known of a file before its pixels are decoded."""

    size: tuple[int, int]  # height, width, as shown
    mode: str
    channels: int
    frames: int


class FramesError(ValueError):
    """The file holds several images and no number was given, or it has no image of the given number."""


class ImageFile:
    """What a file says about its pixels: how many images it holds, and how each has to be turned. All readers of images use this class.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    array : array or None
        The pixels of a ``.npy`` file, mapped into memory.
    frames : list of list of int
        The pages of each image in the file: one, or one a channel in stacks of ImageJ and OME. The second picture of a phone's MPO file,
        previews and masks of a TIFF do not count.

    Raises
    ------
    OSError, SyntaxError, ValueError
        If the file does not exist or is damaged.
    """

    def __init__(self, path: str | os.PathLike):
        from PIL import Image

        allow_pixels()
        self.path = Path(path)
        self.array = array_in(self.path) if self.path.suffix.lower() in (".npy", ".mat") else None
        if self.array is not None:
            self._pages, self.frames = [], [[0]]
            return
        if self.path.exists() and not self.path.is_file():  # to read a pipe could take for ever
            raise OSError(f"{path}: this is a folder, a pipe or a device; expected a file")
        self._pages = tiff.pages(path) if tiff.is_tiff(path) else []
        if self._pages:
            self.frames = tiff.images(path, self._pages)
        else:
            with Image.open(path) as picture:
                self.frames = [[k] for k in range(1 if picture.format == "MPO" else getattr(picture, "n_frames", 1))]

    def chosen(self, frame: int | None) -> list[int]:
        """The pages of one image; without a number the file has to hold one only.

        Raises
        ------
        FramesError
            If it holds more, or none of this number.
        """
        if frame is None and len(self.frames) > 1:
            raise FramesError(
                f"{self.path}: several images in one file, {len(self.frames)} of them (a stack or an animation); one was expected"
            )
        if frame is not None and not 0 <= frame < len(self.frames):
            raise FramesError(f"{self.path}: there is no image {frame}; the file holds {len(self.frames)}, counted from 0")
        return self.frames[frame or 0]

    def turn(self, page: int) -> int:
        """The orientation of a page, 1 to 8."""
        if self.array is not None:
            return 1
        if self._pages:
            found = self._pages[page].orientation
            return found if found in range(1, 9) else 1
        return orientation(self.path)

    def has_alpha(self, page: int) -> bool | None:
        """Whether a page of a TIFF declares its last sample as alpha; None for other files."""
        return self._pages[page].has_alpha if self._pages else None

    def no_data(self, page: int) -> float | None:
        """The value of pixels that were not measured, or None."""
        return self._pages[page].no_data if self._pages else None

    def place(self, page: int) -> dict[int, tuple[int, object]]:
        """Where on the Earth a page lies, as the tags of a GeoTIFF; empty if the file does not say."""
        return tiff.place_of(self._pages[page]) if self._pages else {}

    def beyond_pillow(self, page: int) -> str:
        """What Pillow would lose of a page, in words; "" if it reads the page completely."""
        if self.array is not None:
            return ""
        if not self._pages:
            with self.path.open("rb") as stream:
                head = stream.read(26)
            return "16 bits a colour" if head[:4] == b"\x89PNG" and head[24] == 16 and head[25] in (2, 4, 6) else ""
        about = self._pages[page]
        if about.samples not in (1, 3):
            return f"{about.samples} bands of {about.bits} bits"
        if about.bits > 8 and about.samples > 1:
            return f"{about.bits} bits a colour"
        if about.bits > 32 or (about.bits == 32 and about.unsigned):
            return f"numbers of {about.bits} bits"
        return ""

    def header(self) -> Header:
        """Size, channels and number of images. The checksums of a PNG are verified."""
        from PIL import Image

        if self.array is not None:
            rows, columns, *channels = self.array.shape
            return Header((rows, columns), "", channels[0] if channels else 1, 1)
        first = self.frames[0]
        if self._pages and self.beyond_pillow(first[0]):
            mode, samples = "", self._pages[first[0]].samples
        else:
            with Image.open(self.path) as picture:
                size, mode = picture.size[::-1], picture.mode
                samples = 1 if is_grey(mode) else 3
                checked = picture.format == "PNG" and len(self.frames) == 1
            if checked:
                with Image.open(self.path) as picture:  # opened again, because verify() requires an image that was not read from
                    picture.verify()
        if self._pages:
            size = self._pages[first[0]].size
        if self.turn(first[0]) in (5, 6, 7, 8):
            size = size[::-1]
        return Header(size, mode, samples * len(first), len(self.frames))


def array_in(path: Path) -> np.ndarray:
    """The pixels in a ``.npy`` file, (H, W) or (H, W, C), mapped into memory; or the label map in a ``.mat`` file.

    Arrays of objects, which are pickles, are refused.

    Raises
    ------
    OSError
        If the file is damaged or is not an image; names it.
    """
    if path.suffix.lower() == ".mat":
        from .published.matlab import label_map

        return label_map(path)
    try:
        found = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError) as error:
        raise OSError(f"{path}: this is not a .npy file of numbers, or it is damaged ({error})") from error
    if found.dtype.kind not in "buif" or found.ndim not in (2, 3) or not found.size:
        raise OSError(f"{path}: an image has numbers of the shape (H, W) or (H, W, C); got {found.dtype} {found.shape}")
    if found.ndim == 3 and found.shape[2] > 16 * found.shape[0]:
        raise OSError(f"{path}: an image has the shape (H, W, C); {found.shape} looks like (C, H, W): np.moveaxis(image, 0, 2)")
    return found


def header(path: Path) -> Header:
    """Size, mode, channels and number of images of a file.

    A damaged file can make Pillow raise nearly any exception: `OSError`, `SyntaxError`, `ValueError`, ...
    """
    return ImageFile(path).header()
