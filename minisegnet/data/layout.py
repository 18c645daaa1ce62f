"""Find the images and masks in a user's folder.

`find` knows the layouts below. Options name folders and suffixes that it does not know.

=====================================================  ===========================================================
``images/a.jpg`` and ``masks/a.png``                   two folders; see `IMAGES` and `MASKS` for their names
``train/images/a.jpg`` and ``train/masks/a.png``       such folders in folders of splits
``images/train/a.jpg`` and ``masks/train/a.png``       folders of splits in such folders
``images/film7/a.jpg`` and ``masks/film7/a.png``       folders of other names: films, patients or sites; also in splits
``a.jpg`` and ``a_mask.png``, or ``a.jpg`` and ``a.png``   image and mask side by side; also in folders of splits
``train.txt``, ``ImageSets/Segmentation/train.txt``    lists of names, beside the two folders
=====================================================  ===========================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .base import DataError
from .imagefile import MASK_SUFFIXES, SUFFIXES
from .listing import files_in, folders_in
from .names import lines

IMAGES = (
    "images",
    "image",
    "imgs",
    "img",
    "jpegimages",
    "pngimages",
    "photos",
    "input",
    "inputs",
    "frames",
    "raw",
    "original",
    "originals",
)
MASKS = (
    "masks", "1st_manual", "labels", "label", "annotations", "annotation", "annots", "groundtruth", "ground_truth", "ground-truth", "gt", "gts",
    "segmentationclass", "segmentationclasspng", "segmentations", "segmentation", "seg", "targets", "target", "manual", "trimaps", "mask",
)  # fmt: skip
_ROLES = {
    "train": ("train", "training", "trainset", "tr"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "testset"),
}


@dataclass(frozen=True)
class Place:
    """A folder of images with its folder of masks, which may be the same.

    Attributes
    ----------
    split : str
        The name of the split that they are; "" if they are not one.
    group : str
        The name of the film, patient or site that they show, whose images are not divided between training and validation; "" if none.
    """

    images: Path
    masks: Path
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class Layout:
    """Where the files of a data set are.

    Attributes
    ----------
    places : tuple of Place
    lists : dict, split → file
        Lists of names, which divide the one place.
    """

    places: tuple[Place, ...]
    lists: dict[str, Path] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, training first and test last."""
        found = (*self.lists, *(place.split for place in self.places if place.split))
        order = ("train", "val", "", "test")
        return tuple(sorted(dict.fromkeys(found), key=lambda split: order.index(role(split))))

    @property
    def parts(self) -> tuple[str | None, str | None]:
        """The split to train on and the held-out one; None where the folder has no such split."""
        by_role = {role(split): split for split in reversed(self.splits)}
        others = [split for split in self.splits if role(split) != "test"]
        return by_role.get("train", others[0] if others else None), by_role.get("val") if "train" in by_role else None


def role(split: str) -> str:
    """ "train", "val" or "test", by any of the names that people give to a split; else ""."""
    return next((part for part, names in _ROLES.items() if split.lower() in names), "")


def find(root: Path, images: str | None = None, masks: str | None = None) -> Layout | None:
    """The layout of a folder, or None if it is not known.

    Parameters
    ----------
    root : Path
    images, masks : str, optional
        The folders of images and masks in `root` or in each of its splits, where their names are not among `IMAGES` and `MASKS`.

    Raises
    ------
    DataError
        If a named folder does not exist.
    """
    if (place := _place(root, images, masks)) is not None:
        inner = _inner(place)
        return Layout(inner, {} if any(p.split for p in inner) else _lists(root)) if inner else Layout((place,), _lists(root))
    divided = [(sub, _place(sub, images, masks) or _side_by_side(sub)) for sub in folders_in(root) if role(sub.name)]
    if found := tuple(Place(p.images, p.masks, sub.name) for sub, p in divided if p is not None):
        return Layout(found)
    if images is not None or masks is not None:
        there = ", ".join(f"{p.name}/" for p in folders_in(root)) or "no folders"
        raise DataError(
            f"{root}: there is no {' and '.join(f'{n}/' for n in (images, masks) if n)} in it, nor in its folders; it contains {there}"
        )
    inside = (_side_by_side(sub) for sub in folders_in(root) if sub.name.lower() in IMAGES)
    place = _side_by_side(root) or next((p for p in inside if p is not None), None)
    return None if place is None else Layout((place,), _lists(root))


def _place(root: Path, images: str | None, masks: str | None) -> Place | None:
    """The two folders, by the given names or by known ones."""
    there = {p.name.lower(): p for p in folders_in(root)}
    image_folder = _named(root, images) if images is not None else next((there[n] for n in IMAGES if n in there), None)
    mask_folder = (
        _named(root, masks) if masks is not None else next((there[n] for n in MASKS if n in there and _has_images(there[n])), None)
    )
    if mask_folder is None and image_folder is not None:
        mask_folder = next((there[n] for n in MASKS if n in there), image_folder if images is not None else None)
    if image_folder is None and masks is not None and mask_folder is not None:
        image_folder = root
    return None if image_folder is None or mask_folder is None else Place(image_folder, mask_folder)


def _named(root: Path, name: str) -> Path | None:
    folder = root / name
    return folder if folder.is_dir() else None


def _inner(place: Place) -> tuple[Place, ...]:
    """The splits inside the two folders, if the folder of images holds folders only; or the groups, if none has the name of a split."""
    if _has_images(place.images, deep=False):
        return ()
    masks = {p.name: p for p in folders_in(place.masks)}
    pairs = [(sub, masks[sub.name]) for sub in folders_in(place.images) if sub.name in masks]
    if place.split or not any(role(images.name) for images, _ in pairs):
        return tuple(Place(a, b, place.split, a.name) for a, b in pairs)
    splits = [Place(a, b, a.name) for a, b in pairs]
    return tuple(part for split in splits for part in _inner(split) or (split,))


def _side_by_side(folder: Path) -> Place | None:
    """The folder itself, if the names in it tell images from masks."""
    return Place(folder, folder) if mask_suffix(files_in(folder)) is not None else None


def _has_images(folder: Path, deep: bool = True) -> bool:
    return any(p.suffix.lower() in MASK_SUFFIXES for p in files_in(folder)) or (
        deep and any(_has_images(p, False) for p in folders_in(folder))
    )


def _lists(root: Path) -> dict[str, Path]:
    """Lists of names in the folder that Pascal VOC has for them; or beside the images, if the name of the list is that of a split."""
    if (folder := root / "ImageSets" / "Segmentation").is_dir():
        return {p.stem: p for p in files_in(folder, "*.txt") if lines(p)}
    return {p.stem: p for sub in (root, root / "splits") if sub.is_dir() for p in files_in(sub, "*.txt") if role(p.stem)}


# --- names of files ---------------------------------------------------------------------------

_WORDS = ("mask", "label", "manual", "annot", "truth", "gt", "seg", "target")


def mask_suffix(files: Iterable[Path]) -> str | None:
    """What the names of masks have behind those of their images in one folder: "_mask", or "" if only the ending differs; None if neither.

    Masks are never JPEG: of ``a.jpg`` and ``a.png`` the second is the mask.
    """
    pictures = [p for p in files if p.suffix.lower() in SUFFIXES]
    stems = {p.stem for p in pictures}
    behind: dict[str, int] = {}
    for stem in stems:
        for cut in range(1, len(stem)):
            if stem[:cut] in stems and not stem[cut].isalnum():
                behind[stem[cut:]] = behind.get(stem[cut:], 0) + 1
    named = [s for s in behind if any(word in s.lower() for word in _WORDS) or s == "_L"]
    if named:
        return max(named, key=lambda s: (behind[s], -len(s)))
    lossy = {p.stem for p in pictures if is_jpeg(p)}
    exact = {p.stem for p in pictures if not is_jpeg(p)}
    return "" if lossy & exact else None


def is_jpeg(path: Path) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg")


def listed_names(file: Path, known: Iterable[str]) -> list[str]:
    """The names in a list, one a line, of those that are known: as they stand, spaces and dots included; or a path, or the first of several words.

    Names that are not known are returned as well, so that somebody can say that they are missing.
    """
    there = set(known)

    def name(line: str) -> str:
        first, *others = line.split()
        forms = [line, _bare(line), first, _bare(first)]
        several = others and (
            "/" in first or _is_picture(first) or others in (["1"], ["-1"], ["0"])
        )  # paths of both files; or a mark of VOC
        return next((form for form in forms if form in there), forms[3] if several else forms[1])

    found = [name(line) for line in lines(file)]
    if not found:
        raise DataError(f"{file}: the list is empty")
    return list(dict.fromkeys(found))


def _is_picture(text: str) -> bool:
    return Path(text).suffix.lower() in SUFFIXES


def _bare(text: str) -> str:
    """The name of a file, without its folder and without the ending of an image; other dots stay."""
    name = text.rsplit("/", 1)[-1]
    return Path(name).stem if _is_picture(name) else name
