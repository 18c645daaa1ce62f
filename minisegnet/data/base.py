"""What a dataset is, and how to split one."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np


class DataError(ValueError):
    """Data that cannot be used. The message names the files and says what to do.

    Attributes
    ----------
    problems : dict, str → list of str
        The problems by kind, if a whole folder was checked.
    """

    def __init__(self, message: str, problems: dict[str, list[str]] | None = None):
        super().__init__(message)
        self.problems = problems or {}


@runtime_checkable
class Dataset(Protocol):
    """Images with their label maps.

    ``dataset[k]`` is ``(image, mask)``: float32 of shape (C, H, W) and int64 of shape (H, W).

    Attributes
    ----------
    classes : tuple of str
        The name of each class; class k has the label k.
    palette : uint8, (K, 3)
        A colour for each class.
    in_channels : int
        C.
    ignore_index : int
        The label of pixels that are excluded from the loss and from the metrics.
    names : sequence of str
        A name for each item.
    """

    classes: tuple[str, ...]
    palette: np.ndarray
    in_channels: int
    ignore_index: int

    @property
    def names(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]: ...


def standardise(image: np.ndarray) -> np.ndarray:
    """Shift and scale an image to mean 0 and standard deviation 1 over all its pixels and channels.

    Microscopes, cameras and scanners differ in gain and offset. Standardised images do not depend on either.
    Training and inference both standardise. A constant image becomes zeros. NaN means that nothing was measured: it counts neither for
    the mean nor for the deviation, and becomes 0, the mean.

    Parameters
    ----------
    image : array of any shape, any real dtype

    Returns
    -------
    array, float32, of the same shape

    Raises
    ------
    ValueError
        If the image is empty, contains infinity, or contains nothing but NaN.
    """
    image = np.asarray(image)
    if not image.size:
        raise ValueError(f"standardise: the image is empty, its shape is {image.shape}")
    missing = np.isnan(image) if image.dtype.kind == "f" else np.False_
    if missing.any():
        if missing.all():
            raise ValueError("standardise: the image contains nothing but NaN, which means that nothing was measured")
        measured = standardise(image[~missing])
        filled = np.zeros(image.shape, np.float32)
        filled[~missing] = measured
        return filled
    mean = float(image.mean(dtype=np.float64))
    if not np.isfinite(mean):
        raise ValueError("standardise: the image contains infinity")
    if image.min() == image.max():  # the computed deviation of a constant is not exactly 0, because of rounding
        return np.zeros(image.shape, np.float32)
    # 8 and 16 bits fit into float32. Wider types are centred in float64: in float32 a large offset would cost the digits of the image.
    centred = image.astype(np.result_type(image.dtype, np.float32)) - mean
    return (centred / float(centred.std(dtype=np.float64))).astype(np.float32)


class Arrays:
    """Images and masks that are already in memory.

    Parameters
    ----------
    images : sequence of arrays, (C, H, W) or (H, W)
    masks : sequence of integer arrays, (H, W)
    classes : sequence of str
    palette : uint8, (K, 3), optional
    names : sequence of str, optional
    ignore_index : int
    standardise : bool
        Whether to standardise each image (see `standardise`) or only to convert it to float32.

    Raises
    ------
    DataError
        If a shape or label is wrong; names the item.
    """

    def __init__(self, images, masks, classes, *, palette=None, names=None, ignore_index=255, standardise=True):
        from .colours import class_palette

        if len(images) != len(masks) or not len(images):
            raise DataError(f"there must be as many masks as images, and at least one; got {len(images)} images and {len(masks)} masks")
        self.classes = tuple(classes)
        self.palette = class_palette(len(self.classes)) if palette is None else np.asarray(palette, np.uint8)
        self.names = list(names) if names is not None else [f"item {k}" for k in range(len(images))]
        self.ignore_index = ignore_index
        self._items = [self._checked(*item, standardise) for item in zip(self.names, images, masks, strict=True)]
        self.in_channels = self._items[0][0].shape[0]
        mixed = {image.shape[0] for image, _ in self._items}
        if len(mixed) > 1:
            raise DataError(f"all images need the same number of channels; these have {sorted(mixed)}")

    def _checked(self, name, image, mask, standardised):
        image, mask = np.asarray(image), np.asarray(mask)
        image = image[None] if image.ndim == 2 else image
        if image.ndim != 3 or mask.ndim != 2 or image.shape[1:] != mask.shape:
            raise DataError(f"{name}: an image (C, H, W) needs a mask (H, W); got {image.shape} and {mask.shape}")
        check_labels(name, mask, len(self.classes), self.ignore_index)
        image = standardise(image) if standardised else image.astype(np.float32)
        return np.ascontiguousarray(image), np.ascontiguousarray(mask, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self._items[k]
        return image.copy(), mask.copy()  # the caller may change them


def check_labels(name: str, mask: np.ndarray, num_classes: int, ignore_index: int) -> None:
    """Raise `DataError` if a label is neither a class nor `ignore_index`; names the labels."""
    if mask.dtype.kind not in "iub":
        raise DataError(f"{name}: a mask contains integer labels, not {mask.dtype}")
    stray = mask[((mask < 0) | (mask >= num_classes)) & (mask != ignore_index)]
    if stray.size:
        found = ", ".join(map(str, np.unique(stray)[:10]))
        raise DataError(
            f"{name}: label {found} is out of range: there are {num_classes} classes, 0 to {num_classes - 1}, and {ignore_index} is ignored"
        )


class Subset:
    """Some items of a dataset, in the given order, with the attributes of the whole dataset."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]):
        self.dataset = dataset
        self.indices = [int(k) for k in indices]
        wrong = [k for k in self.indices if not 0 <= k < len(dataset)]
        if wrong:
            raise IndexError(f"Subset: no item {wrong[0]} in a dataset of {len(dataset)}")
        self.classes, self.palette = dataset.classes, dataset.palette
        self.in_channels, self.ignore_index = dataset.in_channels, dataset.ignore_index
        self.standardise = getattr(dataset, "standardise", True)
        self.names = [dataset.names[k] for k in self.indices]
        groups: Sequence[str] = getattr(dataset, "groups", dataset.names)
        self.groups = [groups[k] for k in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self.dataset[self.indices[k]]


def split(dataset: Dataset, fraction: float = 0.2, seed: int = 0) -> tuple[Subset, Subset]:
    """Split a dataset at random into a training part and a held-out part.

    Each item draws a number from its name and the seed, and those with the smallest numbers are held out. So the split
    depends neither on the order of the items nor on their number: when items come or go, the others keep their numbers, and only
    those at the edge of the share can change sides. Items with the same entry in ``dataset.groups``, such as the frames of a film, stay
    together unless all items are of one group.

    Parameters
    ----------
    dataset : Dataset
        At least two items.
    fraction : float
        The held-out share, in (0, 1). Each part gets at least one item.
    seed : int
        The same seed gives the same split.

    Returns
    -------
    train, held_out : Subset
        Disjoint, and together all items. Both keep the order of the dataset.

    Raises
    ------
    ValueError
        If `fraction` is outside (0, 1); `DataError` if the dataset has fewer than two items.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"split: fraction is the held-out share, between 0 and 1, not {fraction}")
    if len(dataset) < 2:
        raise DataError(f"split: a dataset of {len(dataset)} item cannot be split into a training part and a held-out part")
    held = min(max(round(len(dataset) * fraction), 1), len(dataset) - 1)
    groups: Sequence[str] = getattr(dataset, "groups", dataset.names)
    for other in (dataset.names, [str(k) for k in range(len(dataset))]):
        groups = groups if len(set(groups)) > 1 else other
    sizes, taken, count = Counter(groups), set(), 0
    for group in sorted(sizes, key=lambda group: _draw(group, seed))[:-1]:  # something is left to train on
        if count >= held:
            break
        taken.add(group)
        count += sizes[group]
    parts = ([k for k, group in enumerate(groups) if (group in taken) == held_out] for held_out in (False, True))
    train, held_out = (Subset(dataset, part) for part in parts)
    return train, held_out


def _draw(name: str, seed: int) -> bytes:
    """A number drawn by a name: the same on every system, also where a file system decomposes accents."""
    return hashlib.blake2b(f"{seed}/{unicodedata.normalize('NFC', name)}".encode(), digest_size=8).digest()
