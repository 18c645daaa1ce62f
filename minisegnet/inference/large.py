"""Images of any size in bounded memory: read in bands, labelled in tiles, written in strips."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ..data import class_palette, palette, read_image, to_channels
from ..data.png import PngReader, UnsupportedError, png_writer
from ..nn import Module
from .tiling import Tiling, blend
from .whole import prepare, scores

_BAND = 256  # rows that are read at once for the statistics
_OVERVIEW = 2048  # the most rows and columns of an overview


class LargeImage:
    """An image whose rows are read when they are needed, and then are as `prepare` makes them.

    Parameters
    ----------
    source : path or array
        An array (H, W) or (H, W, 1 to 4), for example a memory map; a ``.npy`` file of such an array, which
        is mapped; or a PNG, which is decoded row by row. Other files are decoded as a whole: 4 bytes for each
        pixel and channel.
    channels : int, optional
        What it is converted to: 1 or 3.

    Attributes
    ----------
    size : (int, int)
        H, W.

    Raises
    ------
    OSError
        If the file cannot be read; names it.
    ValueError
        If it is no image.
    """

    def __init__(self, source: str | os.PathLike | np.ndarray, channels: int | None = None):
        self._channels = channels
        self._close: Callable[[], None] = lambda: None
        self._name = "the image" if isinstance(source, np.ndarray) else str(source)
        self._read = self._open(source)
        self._statistics: tuple[float, float] | None = None

    def __enter__(self) -> LargeImage:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; rows that were read stay."""
        self._close()

    def _open(self, source: Any) -> Callable[[int, int], np.ndarray]:
        """The function that reads rows, (h, W) or (h, W, C)."""
        if not isinstance(source, np.ndarray):
            try:
                reader = PngReader(source)
                self.size, self._close = reader.size, reader.close
                return reader.rows
            except FileNotFoundError:
                raise FileNotFoundError(f"{source}: there is no such file") from None
            except (UnsupportedError, OSError):  # another format, or a PNG that only Pillow reads; or neither, which it will say
                whole = str(source).lower().endswith(".npy")
                source = np.load(source, mmap_mode="r") if whole else np.moveaxis(read_image(source), 0, 2)
        prepare(source[:1, :1])  # complains about what is no image
        self.size = source.shape[:2]
        return lambda start, stop: source[start:stop]

    def _planes(self, start: int, stop: int) -> np.ndarray:
        """(C, h, W), float32, as they come."""
        rows = self._read(start, stop)
        planes = rows[None] if rows.ndim == 2 else np.moveaxis(rows, 2, 0)
        planes = planes[: 1 if len(planes) < 3 else 3].astype(np.float32)
        return planes if self._channels is None else to_channels(planes, self._channels)

    @property
    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the whole image; computed once, in bands."""
        if self._statistics is None:
            count, mean, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
            for start in range(0, self.size[0], _BAND):
                band = self._planes(start, min(start + _BAND, self.size[0])).astype(np.float64)
                if not np.isfinite(band).all():
                    raise ValueError(f"{self._name} holds NaN or infinity")
                # Chan, Golub & LeVeque 1983: means and squared deviations of two parts give those of both.
                away, share = band.mean() - mean, band.size / (count + band.size)
                squares += ((band - band.mean()) ** 2).sum() + away**2 * count * share
                mean, count = mean + away * share, count + band.size
                low, high = min(low, band.min()), max(high, band.max())
            self._statistics = (float(mean), float(np.sqrt(squares / count)) if low < high else 0.0)
        return self._statistics

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows standardised as the whole image would be, float32 (C, stop − start, W)."""
        mean, deviation = self.statistics
        planes = self._planes(start, stop) - mean
        return planes / deviation if deviation else np.zeros_like(planes)


def tiled_scores(
    model: Module, image: np.ndarray, tiling: Tiling | None = None, scorer: Callable[[Module, Any], Any] = scores
) -> np.ndarray:
    """The class scores of an image, computed tile by tile.

    Parameters
    ----------
    model : Module
    image : array, (C, H, W)
        Prepared: standardised as a whole.
    tiling : Tiling, optional
    scorer : callable
        What computes the scores of a batch: `scores`, or for example `augmented_scores`.

    Returns
    -------
    array, (K, H, W)
    """
    image = np.asarray(image)
    if image.ndim != 3:
        raise ValueError(f"an image that is prepared has the shape (C, H, W); got {image.shape}")
    size = (image.shape[1], image.shape[2])
    strips = blend(lambda tile: scorer(model, tile[None]).cpu().array[0], lambda a, b: image[:, a:b], size, tiling or Tiling())
    return np.concatenate([strip for _, strip in strips], axis=1)


def segment_large(
    model: Module,
    image: LargeImage | str | os.PathLike | np.ndarray,
    labels: str | os.PathLike,
    *,
    confidence: str | os.PathLike | None = None,
    overview: str | os.PathLike | None = None,
    tiling: Tiling | None = None,
    colours: np.ndarray | None = None,
    background: int | None = 0,
    scorer: Callable[[Module, Any], Any] = scores,
    progress: Callable[[], Any] = lambda: None,
) -> np.ndarray:
    """Label an image of any size and write the labels to a PNG, with memory for one row of tiles.

    Parameters
    ----------
    model : Module
    image : LargeImage, path or array
        See `LargeImage`. A file is converted to the channels of the network.
    labels : path
        The palette PNG that is written, in strips.
    confidence : path, optional
        A grey PNG of the probability of each label, 255 for 1.
    overview : path, optional
        A PNG of the image under its labels, every k-th row and column of it, 2048 at most.
    tiling : Tiling, optional
    colours : uint8, (K, 3), optional
    background : int or None
        The class that the overview leaves clear.
    scorer : callable
        As in `tiled_scores`.
    progress : callable
        Called when a strip is written.

    Returns
    -------
    array, int64, (K,)
        How many pixels got each label.

    Raises
    ------
    OSError, ValueError
        If the image cannot be read or a file cannot be written. No file is then half written.
    """
    counts = np.zeros(0, np.int64)
    with ExitStack() as files:
        if not isinstance(image, LargeImage):
            image = files.enter_context(LargeImage(image, getattr(model, "in_channels", None)))
        height, width = image.size
        glance = _Overview(image.size)
        table = palette(256)
        if colours is not None:
            table[: len(colours)] = colours
        label_file = files.enter_context(png_writer(labels, height, width, table))
        doubt_file = None if confidence is None else files.enter_context(png_writer(confidence, height, width))

        def rows(start: int, stop: int) -> np.ndarray:
            band = image.rows(start, stop)
            glance.see(start, band)
            return band

        for start, strip in blend(lambda tile: scorer(model, tile[None]).cpu().array[0], rows, image.size, tiling or Tiling()):
            if len(strip) > 256:
                raise ValueError(f"a palette PNG holds 256 labels, and the network tells {len(strip)} classes apart")
            found = strip.argmax(axis=0)  # equation label.argmax: the first of equals
            counts = np.bincount(found.ravel(), minlength=len(strip)) + (counts if counts.size else 0)
            label_file.write(found.astype(np.uint8))
            glance.label(start, found)
            if doubt_file is not None:
                doubt_file.write(np.rint(255 / np.exp(strip - strip.max(axis=0)).sum(axis=0)).astype(np.uint8))
            progress()
    if overview is not None:
        glance.save(Path(overview), class_palette(len(counts)) if colours is None else colours, background)
    return counts


class _Overview:
    """Every k-th row and column of an image and of its labels."""

    def __init__(self, size: tuple[int, int]):
        self._step = max(1, -(-max(size) // _OVERVIEW))
        self._image: dict[int, np.ndarray] = {}
        self._labels: dict[int, np.ndarray] = {}

    def _kept(self, start: int, count: int) -> range:
        return range(-(-start // self._step) * self._step, start + count, self._step)

    def see(self, start: int, band: np.ndarray) -> None:
        self._image.update({row: band[:, row - start, :: self._step].copy() for row in self._kept(start, band.shape[1])})

    def label(self, start: int, found: np.ndarray) -> None:
        self._labels.update({row: found[row - start, :: self._step].astype(np.uint8) for row in self._kept(start, len(found))})

    def save(self, path: Path, colours: np.ndarray, background: int | None) -> None:
        from PIL import Image

        from ..files import write_atomically
        from ..viz import overlay

        image, labels = (
            np.stack([self._image[k] for k in sorted(self._image)], 1),
            np.stack([self._labels[k] for k in sorted(self._labels)]),
        )
        picture = overlay(image, labels, colours, background=background, ignore_index=-1)
        write_atomically(path, lambda stream: Image.fromarray(picture).save(stream, "PNG"))
