"""The options of several commands about data, and opening the data that they name."""

# ruff: noqa: RUF009  (an option is a `dataclasses.field`)
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options import FLAG, Kind, Option, changed, number, one_of, option, options_of, text, whole

if TYPE_CHECKING:
    from ..data import Dataset
    from ..data.record import Drift


def _read_classes(given: str) -> int | list[str]:
    return int(given) if given.strip().lstrip("+-").isdigit() else [name.strip() for name in given.split(",")]


def _are_classes(value: Any) -> bool:
    if isinstance(value, int):
        return value >= 2
    return len(value) >= 2 and all(value) and len(set(value)) == len(value)


def _read_colours(given: str) -> dict[str, str]:
    from ..data.colours import rgb

    pairs = [word.strip().rpartition("=") for word in given.split(",")]
    for name, _, colour in pairs:
        if not name or not rgb(colour):
            raise ValueError
    return {name: colour for name, _, colour in pairs}


@dataclass(frozen=True)
class Data:
    """The options about the data of a command. What happens without ``--data`` and ``--split`` differs: see `data_options`."""

    data: str | None = option(
        None,
        text("DATA"),
        "a folder with images/ and masks/ or folders of other usual names, or with train/, val/ and test/; "
        "or with Pascal VOC, Cityscapes, CamVid or the 2018 Data Science Bowl in their own layouts; "
        'or "nuclei", the embedded field of cells; or "shapes", synthetic scenes',
        section="data",
    )
    split: str | None = option(None, text("NAME"), "a split, of a published data set or of a folder that is divided", section="data")
    val_data: str | None = option(
        None,
        text("DIR"),
        "the images to hold out for validation, in a folder of their own",
        section="data",
        unset="a split or a share of the data",
    )
    images: str | None = option(
        None, text("NAME"), "the folder of the images in DATA", section="data", unset="images, img and other usual names"
    )
    masks_dir: str | None = option(
        None, text("NAME"), "the folder of the masks in DATA", section="data", unset="masks, labels and other usual names"
    )
    mask_suffix: str | None = option(
        None,
        text("TEXT"),
        "what the names of masks have behind those of their images, such as _mask",
        section="data",
        unset="found in the names",
    )
    classes: int | list[str] | None = option(
        None,
        Kind("a number of classes, 2 or more, or different names with commas between them", _read_classes, _are_classes, "N|NAMES"),
        "number of classes, or their names with commas between them",
        section="data",
        unset="what the masks hold",
    )
    masks: str = option(
        "auto",
        one_of("auto", "classes", "binary", "levels", "soft", "instances", "palette", "colours"),
        "what the values in the masks mean; auto finds out. levels: in rising order they are the classes; soft: a threshold cuts soft edges",
        section="data",
    )
    threshold: float = option(
        0.5,
        number("a number above 0 and up to 1", lambda x: 0 < x <= 1, "F"),
        "with --masks soft: the least value of the object, as a share of full scale",
        section="data",
    )
    levels: list[int] | None = option(
        None,
        Kind(
            "two or more rising grey values with commas between them",
            lambda given: [int(word) for word in given.split(",")],
            lambda values: len(values) > 1 and values == sorted(set(values)),
            "V,V,...",
        ),
        "with --masks levels: the grey value of each class",
        section="data",
        unset="those that occur",
    )
    colours: dict[str, str] | None = option(
        None,
        Kind(
            "names with colours, such as road=#804080,sky=#4682b4; the name ignore marks pixels that do not count",
            _read_colours,
            lambda values: isinstance(values, dict) and len(values) > 1,
            "NAME=#RRGGBB,...",
        ),
        "the colour of each class in masks in RGB, in the order of the classes",
        section="data",
        unset="those of labelmap.txt in the folder",
    )
    ignore_index: int | None = option(
        None, whole(), "label of the pixels that do not count", section="data", unset="255; none with --masks levels"
    )
    boundary: bool = option(False, FLAG, "learn the boundaries of objects as a class of its own, from masks of instances", section="data")
    standardise: str = option(
        "per-image",
        one_of("per-image", "imagenet", "unit"),
        "how the values of images are prepared: to mean 0 and deviation 1; with the mean and deviation of ImageNet's colours, which "
        "pretrained encoders expect; or to 0…1",
        section="data",
    )
    val_fraction: float = option(
        0.2,
        number("a number above 0 and below 1", lambda x: 0 < x < 1, "F"),
        "share of a folder's images that is held out for validation",
        section="training",
    )


def data_options(data: str | None = None, split: str | None = None) -> dict[str, Option]:
    """The options about data for a command: `data` and `split` say what happens without them; None if the command lacks one."""
    found = options_of(Data)
    for name, unset in (("data", data), ("split", split)):
        if unset is None:
            del found[name]
        else:
            found[name] = replace(found[name], unset=unset)
    return found


def given(data: Data, but: Iterable[str] = ()) -> str:
    """The options about data that differ from their defaults, as the user types them; "" if all are at their defaults."""
    return ", ".join(f"--{about.key}" for about in changed(data, ("data", *but)))


_ALLOWED: dict[str, tuple[str, ...]] = {"nuclei": ("boundary",), "shapes": ("classes",)}  # the options that go with embedded data


WHERE = ("images", "masks_dir")  # the options about the layout of a folder that decide how it is recognised
FOLDER = (*WHERE, "mask_suffix", "classes", "masks", "levels", "threshold", "colours", "ignore_index", "boundary")  # those of `Folder`
RECORDED = ("parts", "masks", "classes", "levels", "colours")  # the settings that a run has found out about its data


def data_settings(data: Data) -> dict[str, Any]:
    """The options about data, as they are kept in a checkpoint.

    Raises
    ------
    DataError
        If the folder does not exist, or its layout is unknown.
    ValueError
        If an option does not go with the data: no option is ignored.
    """
    name = data.data or "nuclei"
    if name in _ALLOWED:
        if idle := given(data, but=_ALLOWED[name]):
            raise ValueError(f"{idle}: this is for a folder and does not go with --data {name}")
        if isinstance(data.classes, list):
            raise ValueError("--classes: the shapes have names of their own; give a number, from 2 to 8")
    else:
        name = str(Path(name).resolve())
        _check_options(data, name)
    val_data = None if data.val_data is None else str(Path(data.val_data).resolve())
    return {
        "data": name,
        "val_data": val_data,
        "standardise": data.standardise.replace("-", " "),
        **{n: getattr(data, n) for n in ("split", *FOLDER)},
    }


def _check_options(asked: Data, folder: str) -> None:
    """Raise ValueError for an option that the layout of the folder leaves no choice about."""
    from .. import data

    found = data.detect(folder, asked.images, asked.masks_dir)
    if issubclass(found, data.Folder):
        return
    if idle := given(
        asked, but=("split", "val_data", "standardise") if found.parts else ("boundary", "val_fraction", "val_data", "standardise")
    ):
        raise ValueError(f"{idle}: {folder} is {found.title}, whose layout decides this")


def tells_data(settings: dict[str, Any]) -> bool:
    """Whether the settings in a checkpoint were written by ``minisegnet train``, so that the data can be opened again.

    Raises
    ------
    ValueError
        If a version wrote them that did not record which images it held out.
    """
    if not {"data", "masks", "val_fraction", "seed"} <= settings.keys():
        return False
    if not {"parts", *FOLDER} <= settings.keys():
        raise ValueError(
            "the run was made by a version that did not record which images it trained on, so these cannot be told from the others: "
            "name images that it has not seen (--data), or train again"
        )
    return True


def open_parts(settings: dict[str, Any]) -> tuple[Dataset, Dataset, dict[str, Any]]:
    """The images to train on, those that are held out, and what a run keeps of them in its settings (`RECORDED`).

    Parameters
    ----------
    settings : dict
        Those of `data_settings`, with ``val_fraction`` and ``seed``.

    Raises
    ------
    ValueError
        If the split to train on shares images with the held-out one.
    """
    from .. import data
    from ..data.record import record

    split, held_split = _splits(settings)
    train: Any = _open(settings, split)
    settled, other = _settled(train), settings["val_data"] or settings["data"]
    if settings["val_data"] is not None:
        of_other = _splits({**settings, "data": other, "split": None})
        held_split = of_other[1] or of_other[0]
    if settings["val_data"] is None and held_split is None:
        train, held_out = data.split(train, settings["val_fraction"], settings["seed"])
        held_split = split
    else:
        held_out = _open({**settings, **settled, "data": other}, held_split, train.in_channels)
        if other == settings["data"] and settings["data"] not in _EMBEDDED and (shared := {*train.names} & {*held_out.names}):
            raise ValueError(f"--split {split}: {len(shared)} of its images are also in {held_split!r}, which is held out for validation")
    kept = {
        "train": {"data": settings["data"], "split": split, "items": record(train)},
        "held out": {"data": other, "split": held_split, "items": record(held_out)},
    }
    return train, held_out, {**settled, "parts": kept}


def _settled(train: Any) -> dict[str, Any]:
    """How the masks of a folder were read, so that they are read in the same way when the folder has changed."""
    from .. import data

    while isinstance(train, data.Subset):
        train = train.dataset
    if not isinstance(train, data.Folder):
        return {}
    colours = None if train.colours is None else {name: list(rgb) for name, rgb in train.colours.items()}
    levels = None if train.levels is None else list(train.levels)
    return {"masks": train.kind, "classes": list(train.classes), "levels": levels, "colours": colours}


def open_part(settings: dict[str, Any], part: str, in_channels: int | None = None) -> tuple[Dataset, Drift]:
    """A part of the data of a run as the run recorded it, as far as it is still there, and what has changed since.

    Parameters
    ----------
    settings : dict
        Those of the run.
    part : {"train", "held out"}
    in_channels : int, optional
        Channels to which the images are converted.

    Raises
    ------
    ValueError
        If none of its images is left.
    """
    from .. import data
    from ..data.record import Drift, drift, record

    kept, parts = settings["parts"][part], settings["parts"].values()
    whole = _open({**settings, "data": kept["data"]}, kept["split"], in_channels)
    if not kept["items"]:  # embedded, so it cannot change
        return whole, Drift()
    left = data.Subset(whole, [k for k, name in enumerate(whole.names) if name in kept["items"]])
    if not len(left):
        raise ValueError(f"{kept['data']}: none of the {len(kept['items'])} images is left that the run recorded as {part}")
    elsewhere = {name for other in parts if (other["data"], other["split"]) == (kept["data"], kept["split"]) for name in other["items"]}
    return left, drift(kept["items"], record(left), [name for name in whole.names if name in kept["items"] or name not in elsewhere])


def open_all(settings: dict[str, Any], in_channels: int | None = None) -> Dataset:
    """All images of a folder; or the split that is named, else the held-out one, of data that have splits."""
    split = settings.get("split") or _splits(settings)[1]
    return _open(settings, split, in_channels)


_EMBEDDED = {"nuclei": ("train", "test"), "shapes": ("train", "val")}


def _splits(settings: dict[str, Any]) -> tuple[str | None, str | None]:
    """The split to train on and the held-out one; the second is None if images have to be held out of the first."""
    from .. import data

    name = settings["data"]
    train, held_out = _EMBEDDED[name] if name in _EMBEDDED else data.parts(name, *(settings[n] for n in WHERE))
    return settings.get("split") or train, held_out


def _open(settings: dict[str, Any], split: str | None, in_channels: int | None = None) -> Any:
    from .. import data

    name, classes = settings["data"], settings["classes"]
    if name == "nuclei":
        return data.nuclei(str(split), boundary=settings["boundary"])
    if name == "shapes":
        count = classes if isinstance(classes, int) else len(classes) if classes else 4
        # Different seeds, so that no scene is in both splits.
        return data.Shapes(200, classes=count, seed=1) if split == "train" else data.Shapes(20, classes=count, seed=2)
    found = data.detect(name, *(settings[n] for n in WHERE))
    options: dict[str, Any]
    if issubclass(found, data.Folder):
        options = {n: settings[n] for n in FOLDER}
    else:
        options = {"in_channels": 3} | ({} if found.parts else {"boundary": settings["boundary"]})
    options["standardise"] = settings.get("standardise", "per image")
    return data.open(name, split, **options | ({} if in_channels is None else {"in_channels": in_channels}))
