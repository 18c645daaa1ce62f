"""Datasets, augmentation and batches. See `Dataset` for what a dataset is."""

from minisegnet.data import transforms
from minisegnet.data.base import Arrays, DataError, Dataset, Subset, split, standardise
from minisegnet.data.colours import class_palette, palette
from minisegnet.data.embedded import nuclei, nuclei_field
from minisegnet.data.folder import Folder
from minisegnet.data.images import read_image, to_channels
from minisegnet.data.instances import semantic
from minisegnet.data.loader import Loader
from minisegnet.data.shapes import Shapes
from minisegnet.data.transforms import augmentation

__all__ = [
    "Arrays",
    "DataError",
    "Dataset",
    "Folder",
    "Loader",
    "Shapes",
    "Subset",
    "augmentation",
    "class_palette",
    "nuclei",
    "nuclei_field",
    "palette",
    "read_image",
    "semantic",
    "split",
    "standardise",
    "to_channels",
    "transforms",
]
