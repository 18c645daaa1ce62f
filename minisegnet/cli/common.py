"""What several commands share: their options about data and the machine, and opening the data."""

# ruff: noqa: RUF009  (an option is a `dataclasses.field`)
from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..options import FLAG, Kind, Option, changed, number, one_of, option, options_of, text, whole
from .config import add_options

if TYPE_CHECKING:
    from ..data import Dataset


def add_command(subparsers: Any, name: str, help: str, description: str, examples: str, run: Any) -> argparse.ArgumentParser:
    """A subcommand with a description, examples and the function that runs it."""
    command = subparsers.add_parser(
        name, help=help, description=description, epilog="examples:\n" + examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.set_defaults(run=run)
    return command


@dataclass(frozen=True)
class Machine:
    """The options about where a command computes, and with which programs."""

    backend: str | None = option(
        None,
        one_of("formula", "numpy", "numba", "numba_cuda", "cuda"),
        "the programs that compute the formulas",
        section="options",
        unset="the fastest for the device",
    )
    device: str = option("cpu", one_of("cpu", "cuda"), "where to compute; cuda is the GPU", section="options")


def add_backend(command: argparse.ArgumentParser) -> None:
    """Declare the options of `Machine`."""
    add_options(command, options_of(Machine).values())


def use_backend(machine: Machine | argparse.Namespace) -> None:
    """Select the backend, and check that the device can be used.

    Raises
    ------
    BackendError
        If one of them does not run here; the message says why, and what would mend it.
    """
    if machine.device == "cuda":
        require_gpu()
    if machine.backend is None:
        return
    from minisegnet_kernels import backends

    found = backends.available()[machine.backend]
    if not found:
        raise backends.BackendError(
            f"backend {machine.backend!r} does not run here: {found.reason}" + (f". To fix it: {found.mend}" if found.mend else "")
        )
    backends.use(machine.backend)


def require_gpu() -> None:
    """Raise BackendError if no GPU can be used; the message says what is missing, and what would mend it."""
    from minisegnet_kernels import backends

    if not backends.gpu_count():
        raise backends.BackendError("there is no GPU here: the NVIDIA driver does not answer. See: minisegnet doctor")
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        raise backends.BackendError(
            f'a GPU is here, but CuPy is not ({error}): pip install ".[cuda12]" in the clone, or ".[cuda13]"'
        ) from error


def _read_classes(given: str) -> int | list[str]:
    return int(given) if given.strip().lstrip("+-").isdigit() else [name.strip() for name in given.split(",")]


def _are_classes(value: Any) -> bool:
    if isinstance(value, int):
        return value >= 2
    return len(value) >= 2 and all(value) and len(set(value)) == len(value)


@dataclass(frozen=True)
class Data:
    """The options about the data of a command. What happens without ``--data`` and ``--split`` differs: see `data_options`."""

    data: str | None = option(
        None,
        text("DATA"),
        "a folder with images/ and masks/; or with Pascal VOC, Cityscapes, CamVid or the 2018 Data Science Bowl in their own layouts; "
        'or "nuclei", the embedded field of cells; or "shapes", synthetic scenes',
        section="data",
    )
    split: str | None = option(None, text("NAME"), "the split of a published data set", section="data")
    classes: int | list[str] | None = option(
        None,
        Kind("a number of classes, 2 or more, or different names with commas between them", _read_classes, _are_classes, "N|NAMES"),
        "number of classes, or their names with commas between them",
        section="data",
        unset="what the masks hold",
    )
    masks: str = option(
        "auto",
        one_of("auto", "classes", "binary", "instances", "palette", "colours"),
        "what the values in the masks mean; auto finds out",
        section="data",
    )
    ignore_index: int = option(255, whole(), "label of the pixels that do not count", section="data")
    boundary: bool = option(False, FLAG, "learn the boundaries of objects as a class of its own, from masks of instances", section="data")
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
    names = ("split", "classes", "masks", "ignore_index", "boundary")
    return {"data": name, **{n: getattr(data, n) for n in names}}


def _check_options(asked: Data, folder: str) -> None:
    """Raise ValueError for an option that the layout of the folder leaves no choice about."""
    from .. import data

    found = data.detect(folder)
    if issubclass(found, data.Folder):
        if asked.split is not None:
            raise ValueError(
                f"--split {asked.split}: {folder} is not a published data set; a part of it is held out at random (--val-fraction)"
            )
    elif idle := given(asked, but=("split",) if found.parts else ("boundary", "val_fraction")):
        raise ValueError(f"{idle}: {folder} is {found.title}, whose layout decides this")


def tells_data(settings: dict[str, Any]) -> bool:
    """Whether the settings in a checkpoint were written by ``minisegnet train``, so that `open_data` can open the data again."""
    return {"data", "classes", "masks", "ignore_index", "boundary", "val_fraction", "seed"} <= settings.keys()


def open_data(settings: dict[str, Any], part: str, in_channels: int | None = None) -> Dataset:
    """The dataset that settings describe.

    Parameters
    ----------
    settings : dict
        Those of `data_settings`, with ``val_fraction`` and ``seed`` for a part of a folder.
    part : {"train", "held out", "all"}
    in_channels : int, optional
        Channels to which the images of a folder are converted.

    Raises
    ------
    ValueError
        If the split to train on shares images with the held-out one.
    """
    from .. import data

    name, classes = settings["data"], settings["classes"]
    if name == "nuclei":
        return data.nuclei({"held out": "test"}.get(part, part), boundary=settings["boundary"])
    if name == "shapes":
        count = classes if isinstance(classes, int) else len(classes) if classes else 4
        # Different seeds, so that no scene is in both parts.
        return data.Shapes(200, classes=count, seed=1) if part == "train" else data.Shapes(20, classes=count, seed=2)
    found = data.detect(name)
    whole: Any
    if issubclass(found, data.Folder):
        options = {n: settings[n] for n in ("masks", "ignore_index", "boundary")}
        whole = found(name, classes=classes, in_channels=in_channels, **options)
    elif found.parts:
        return _published(found, settings, part, in_channels or 3)
    else:
        whole = data.open(name, boundary=settings["boundary"], in_channels=in_channels or 3)
    if part == "all":
        return whole
    train, held_out = data.split(whole, settings["val_fraction"], settings["seed"])
    return train if part == "train" else held_out


def _published(format: Any, settings: dict[str, Any], part: str, in_channels: int) -> Dataset:
    """A split of a published data set; "all" is the held-out split, unless another is named."""
    name, wanted, (train, held_out) = settings["data"], settings.get("split"), format.parts
    if part == "held out":
        return format(name, held_out, in_channels=in_channels)
    found = format(name, wanted or (train if part == "train" else held_out), in_channels=in_channels)
    if part == "train" and wanted is not None and (shared := {*found.names} & {*format(name, held_out).names}):
        raise ValueError(f"--split {wanted}: {len(shared)} of its images are also in {held_out!r}, which is held out for validation")
    return found
