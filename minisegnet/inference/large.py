"""Images of any size in bounded memory: read in bands, labelled in tiles, written in strips."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..data import palette, read_image, to_channels
from ..data.imagefile import FramesError, ImageFile
from ..data.images import check_pages, missing_as_nan
from ..data.png import png_writer
from ..data.preparation import constants, full_scale
from ..data.rows import RowReader, UnsupportedError
from ..nn import Module
from .tiling import Tiling, blend, tiling_for
from .whole import MISSING, check_pixels, planes, predict, scores, way_of

_BAND = 256  # rows that are read at once for the statistics


class LargeImage:
    """An image whose rows are read when they are needed and then prepared as `prepare` would prepare the whole image.

    Parameters
    ----------
    source : path or array
        - An array (H, W) or (H, W, C), for example a memory map.
        - A ``.npy`` file of such an array, which is mapped into memory.
        - A PNG or TIFF file, which is decoded row by row if pyvips is installed (``pip install "pyvips[binary]>=3"``).
        - Any other image file. It is decoded as a whole, which takes 4 bytes for each pixel and channel.
    channels : int, optional
        The number of channels to convert to.
    frame : int, optional
        The number of the image, from 0, in a file that holds several.
    way : str
        How the values are shifted and scaled, one of `data.preparation.WAYS`.

    Attributes
    ----------
    size : (int, int)
        H, W.

    Raises
    ------
    OSError
        If the file cannot be read; names it.
    ValueError
        If the array is not an image, or the file holds several images and `frame` is not given.
    """

    def __init__(
        self, source: str | os.PathLike | np.ndarray, channels: int | None = None, frame: int | None = None, way: str = "per image"
    ):
        self._channels, self._frame, self._way = channels, frame, way
        self._close: Callable[[], None] = lambda: None
        self._no_data: float | None = None
        self._samples: int | None = None
        self._name = "the image" if isinstance(source, np.ndarray) else str(source)
        self._read = self._open(source)
        self._statistics: tuple[float, float] | None = None

    def __enter__(self) -> LargeImage:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Rows that were read stay valid."""
        self._close()

    def _open(self, source: Any) -> Callable[[int, int], np.ndarray]:
        """The function that reads rows, (h, W) or (h, W, C)."""
        if isinstance(source, np.ndarray) or str(source).lower().endswith(".npy"):
            array = source if isinstance(source, np.ndarray) else _mapped(source)
            check_pixels(array, self._channels)
        else:
            try:
                reader = _row_reader(source, self._frame)
            except FileNotFoundError:
                raise FileNotFoundError(f"{source}: there is no such file") from None
            except (ImportError, UnsupportedError):
                array = np.moveaxis(read_image(source, frame=self._frame), 0, 2)
                if self._channels is not None:
                    check_pages(source, len(ImageFile(source).chosen(self._frame)), self._channels)
            else:
                self.size, self._close, self._no_data, self._samples = reader.size, reader.close, reader.no_data, reader.samples
                return reader.rows
            self._samples = array.shape[2]
        self.size = array.shape[:2]
        return lambda start, stop: array[start:stop]

    def _planes(self, start: int, stop: int) -> np.ndarray:
        stored = self._read(start, stop)
        self._full = full_scale(stored.dtype)
        if self._samples is None:  # an array does not say whether its last channel is alpha
            return planes(stored, self._channels)
        separate = np.moveaxis(stored, 2, 0).astype(np.result_type(stored.dtype, np.float32))
        separate = missing_as_nan(separate, stored, self._no_data)
        return separate if self._channels is None else to_channels(separate, self._channels)

    @property
    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the whole image, computed in bands when first needed."""
        if self._statistics is None:
            count, mean, squares, low, high = 0, 0.0, 0.0, np.inf, -np.inf
            for start in range(0, self.size[0], _BAND):
                band = self._planes(start, min(start + _BAND, self.size[0])).astype(np.float64)
                band = band[~np.isnan(band)]
                if not np.isfinite(band).all():
                    raise ValueError(f"{self._name} contains infinity")
                if not band.size:
                    continue
                # The mean and squared deviation of two parts give those of both: Chan, Golub & LeVeque 1983.
                away, share = band.mean() - mean, band.size / (count + band.size)
                squares += ((band - band.mean()) ** 2).sum() + away**2 * count * share
                mean, count = mean + away * share, count + band.size
                low, high = min(low, band.min()), max(high, band.max())
            if not count:
                raise ValueError(f"{self._name} contains nothing but NaN or no-data")
            self._statistics = (float(mean), float(np.sqrt(squares / count)) if low < high else 0.0)
        return self._statistics

    def shown(self) -> np.ndarray:
        """The whole image with its own channels and values, (C, H, W), for a picture."""
        stored = self._read(0, self.size[0])
        separate = stored[None] if stored.ndim == 2 else np.moveaxis(stored, 2, 0)
        return separate.astype(np.float32)

    def rows(self, start: int, stop: int, missing: bool = False) -> np.ndarray:
        """Rows, prepared with the statistics of the whole image if these are needed, float32 (C, stop − start, W).

        Pixels where nothing was measured are 0, or NaN if `missing`.
        """
        separate = self._planes(start, stop)
        if self._way == "per image":
            mean, deviation = self.statistics
            found = (separate - mean).astype(np.float32)
            found /= deviation or np.inf
        else:
            shift, scale = constants(self._way, len(separate))
            found = ((separate / self._full - shift) / scale).astype(np.float32)
        return found if missing else np.nan_to_num(found, copy=False)


def _row_reader(path: str | os.PathLike, frame: int | None) -> RowReader:
    try:
        pages = ImageFile(path).chosen(frame)
    except (FramesError, FileNotFoundError):
        raise
    except Exception as error:  # `read_image` says what is wrong
        raise UnsupportedError(f"{path}: {error}") from error
    if len(pages) > 1:
        raise UnsupportedError(f"{path}: the channels are pages of their own")
    return RowReader(path, pages[0])


def _mapped(path: str | os.PathLike) -> np.ndarray:
    """The array in a ``.npy`` file, as a memory map."""
    try:
        return np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    except (ValueError, EOFError) as error:
        raise OSError(f"{path}: this is not a .npy file of numbers, or it is damaged ({error})") from error


def tiled_scores(
    model: Module, image: np.ndarray, tiling: Tiling | None = None, scorer: Callable[[Module, Any], Any] = scores
) -> np.ndarray:
    """The class scores of an image, computed tile by tile.

    Parameters
    ----------
    model : Module
    image : array, (C, H, W)
        Standardised as a whole.
    tiling : Tiling, optional
    scorer : callable
        Computes the scores of a batch: `scores`, or for example `augmented_scores`.

    Returns
    -------
    array, (K, H, W)
    """
    image = np.asarray(image)
    if image.ndim != 3:
        raise ValueError(f"a prepared image has the shape (C, H, W); got {image.shape}")
    size = (image.shape[1], image.shape[2])
    strips = blend(lambda tile: scorer(model, tile[None]).cpu().array[0], lambda a, b: image[:, a:b], size, tiling or Tiling())
    return np.concatenate([strip for _, strip in strips], axis=1)


def predict_within(model: Module, image: np.ndarray, most: int) -> np.ndarray:
    """The labels of a prepared image (C, H, W), int64 (H, W), computed in tiles if it has more than `most` pixels."""
    tiling = tiling_for((image.shape[1], image.shape[2]), most)
    return predict(model, image) if tiling is None else tiled_scores(model, image, tiling).argmax(axis=0)


def segment_large(
    model: Module,
    image: LargeImage | str | os.PathLike | np.ndarray,
    labels: str | os.PathLike,
    *,
    confidence: str | os.PathLike | None = None,
    tiling: Tiling | None = None,
    colours: np.ndarray | None = None,
    scorer: Callable[[Module, Any], Any] = scores,
    on_strip: Callable[[int, np.ndarray, np.ndarray], None] = lambda start, image, labels: None,
) -> np.ndarray:
    """Label an image of any size and write the labels to a PNG, with memory for one row of tiles.

    Parameters
    ----------
    model : Module
    image : LargeImage, path or array
        A path or array is opened as a `LargeImage` with the channels of the network.
    labels : path
        The palette PNG that is written, strip by strip.
    confidence : path, optional
        A grey PNG of the probability of each label, 255 for 1.
    tiling : Tiling, optional
    colours : uint8, (K, 3), optional
        Colours of the classes in the palette; by default those of Pascal VOC.
    scorer : callable
        As in `tiled_scores`.
    on_strip : callable
        Called as ``on_strip(start, image, labels)`` after each strip is written: its first row, its rows of the
        standardised image (C, h, W), and its labels (h, W). `viz.Overview.add` is one.

    Returns
    -------
    array, int64, (K,)
        The number of pixels with each label. Pixels where nothing was measured have the label 255 and are not counted.

    Raises
    ------
    OSError, ValueError
        If the image cannot be read or a file cannot be written. Neither file exists then.
    """
    counts: Any = 0
    with ExitStack() as files:
        if not isinstance(image, LargeImage):
            image = files.enter_context(LargeImage(image, getattr(model, "in_channels", None), way=way_of(model)))
        height, width = image.size
        table = palette(256)
        if colours is not None:
            table[: len(colours)] = colours
        label_file = files.enter_context(png_writer(labels, height, width, table))
        confidence_file = None if confidence is None else files.enter_context(png_writer(confidence, height, width))
        band = np.zeros(0)  # the rows of the image that the current row of tiles covers

        def rows(start: int, stop: int) -> np.ndarray:
            nonlocal band
            band = image.rows(start, stop, missing=True)
            return np.nan_to_num(band)

        for start, strip in blend(lambda tile: scorer(model, tile[None]).cpu().array[0], rows, image.size, tiling or Tiling()):
            if len(strip) > 256:
                raise ValueError(f"a palette PNG holds 256 labels, and the network has {len(strip)} classes")
            found = strip.argmax(axis=0)  # equation label.argmax: the first of equals
            measured = ~np.isnan(band[:, : len(found)]).any(axis=0)
            counts = counts + np.bincount(found[measured], minlength=len(strip))
            found[~measured] = MISSING
            label_file.write(found.astype(np.uint8))
            if confidence_file is not None:
                confidence_file.write(np.rint(255 / np.exp(strip - strip.max(axis=0)).sum(axis=0)).astype(np.uint8))
            on_strip(start, band[:, : len(found)], found)
    return counts
