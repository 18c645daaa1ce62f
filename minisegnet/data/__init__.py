"""Datasets, augmentation and batches. `Dataset` says what a dataset is; `open` reads one from a folder."""

from . import transforms
from .base import Arrays, DataError, Dataset, Subset, split, standardise
from .colours import class_palette, palette
from .doctor.checkup import Checkup
from .doctor.examine import check
from .embedded import nuclei, nuclei_field
from .folder import Folder
from .formats import detect, open, parts
from .images import read_image, to_channels
from .instances import semantic
from .loader import Loader
from .preparation import prepared
from .published.camvid import CamVid
from .published.cityscapes import Cityscapes
from .published.dsb import DSB2018
from .published.official import Official
from .published.voc import PascalVOC
from .scenes import Shapes
from .transforms import augmentation

__all__ = [
    "DSB2018",
    "Arrays",
    "CamVid",
    "Checkup",
    "Cityscapes",
    "DataError",
    "Dataset",
    "Folder",
    "Loader",
    "Official",
    "PascalVOC",
    "Shapes",
    "Subset",
    "augmentation",
    "check",
    "class_palette",
    "detect",
    "nuclei",
    "nuclei_field",
    "open",
    "palette",
    "parts",
    "prepared",
    "read_image",
    "semantic",
    "split",
    "standardise",
    "to_channels",
    "transforms",
]
