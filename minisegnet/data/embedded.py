"""The real data that comes with the library: one microscope image of 125 cell nuclei."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from .base import Arrays
from .instances import semantic

_TRAIN_WIDTH = 384  # three quarters of 512


def nuclei_field() -> tuple[np.ndarray, np.ndarray]:
    """The whole image as it was recorded, uint8 (512, 512), and its instance ids, uint8 (512, 512), with 0 for background.

    Source: Caicedo et al., Nature Methods 16.12, 2019 (BBBC038); see ``data/nuclei/README.md``.
    """
    from PIL import Image

    folder = files("minisegnet.data") / "nuclei"
    image, instances = (_pixels(folder / name, Image) for name in ("image.png", "instances.png"))
    return image, instances


def _pixels(resource, Image) -> np.ndarray:
    with resource.open("rb") as stream, Image.open(stream) as picture:
        return np.array(picture)


def nuclei(split: str = "train", *, boundary: bool = False, standardise: bool = True) -> Arrays:
    """Fluorescence microscopy of cell nuclei, as a dataset of one image.

    Parameters
    ----------
    split : {"train", "test", "all"}
        The left three quarters (512×384), the right quarter (512×128), or the whole image.
    boundary : bool
        False: background and nucleus. True: background, interior and boundary (see `instances.semantic`).
    standardise : bool
        Whether to standardise the part; if not, its grey values are scaled to 0…1.

    Returns
    -------
    Arrays
        One item: image (1, 512, W), mask (512, W). Crop it many times an epoch: ``Loader(..., repeat=64)``.
    """
    columns = {"train": slice(None, _TRAIN_WIDTH), "test": slice(_TRAIN_WIDTH, None), "all": slice(None)}
    if split not in columns:
        raise ValueError(f"nuclei: split is one of {', '.join(map(repr, columns))}, not {split!r}")
    image, instances = nuclei_field()
    # The rims are found before the image is cut, so that both parts agree along the cut.
    mask = semantic(instances, boundary)[:, columns[split]]
    image = image[None, :, columns[split]].astype(np.float32) / 255
    classes = ("background", "interior", "boundary") if boundary else ("background", "nucleus")
    return Arrays([image], [mask], classes, names=[f"nuclei ({split})"], standardise=standardise)
