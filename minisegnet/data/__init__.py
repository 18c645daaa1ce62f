"""Datasets, augmentation and batches. See `Dataset` for what a dataset is; `open` reads any that lies in a folder."""

from minisegnet.data import transforms
from minisegnet.data.base import Arrays, DataError, Dataset, Subset, split, standardise
from minisegnet.data.camvid import CamVid
from minisegnet.data.checkup import Checkup
from minisegnet.data.cityscapes import Cityscapes
from minisegnet.data.colours import class_palette, palette
from minisegnet.data.dsb import DSB2018
from minisegnet.data.embedded import nuclei, nuclei_field
from minisegnet.data.examine import check
from minisegnet.data.folder import Folder
from minisegnet.data.formats import detect, open
from minisegnet.data.images import read_image, to_channels
from minisegnet.data.instances import semantic
from minisegnet.data.loader import Loader
from minisegnet.data.official import Official
from minisegnet.data.shapes import Shapes
from minisegnet.data.transforms import augmentation
from minisegnet.data.voc import PascalVOC

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
    "read_image",
    "semantic",
    "split",
    "standardise",
    "to_channels",
    "transforms",
]
