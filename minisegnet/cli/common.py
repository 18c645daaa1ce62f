"""What several commands share: arguments and where the data come from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..data import Dataset

MASKS = ("auto", "classes", "binary", "instances", "palette", "colours")


def add_command(subparsers: Any, name: str, help: str, description: str, examples: str, run: Any) -> argparse.ArgumentParser:
    """A subcommand with a description, examples and the function that runs it."""
    command = subparsers.add_parser(
        name, help=help, description=description, epilog="examples:\n" + examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.set_defaults(run=run)
    return command


def add_backend(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--backend",
        choices=("formula", "numpy", "numba", "numba_cuda", "cuda"),
        help="which program of each formula runs (default: the fastest for the device)",
    )


def use_backend(args: argparse.Namespace) -> None:
    """Select what ``--backend`` says.

    Raises
    ------
    BackendError
        If it does not run here; tells why, and what would mend it.
    """
    if args.backend is None:
        return
    from minisegnet_kernels import backends

    found = backends.available()[args.backend]
    if not found:
        raise backends.BackendError(
            f"backend {args.backend!r} does not run here: {found.reason}" + (f". To mend it: {found.mend}" if found.mend else "")
        )
    backends.use(args.backend)


def add_data(command: argparse.ArgumentParser, default: str) -> None:
    group = command.add_argument_group("data")
    group.add_argument(
        "--data",
        metavar="DATA",
        help=f'a folder with images/ and masks/; or "nuclei", the field of cells that comes along; or "shapes", synthetic scenes ({default})',
    )
    group.add_argument(
        "--classes",
        type=_classes,
        metavar="N|NAMES",
        help="number of classes, or their names with commas between (default: what the masks hold)",
    )
    group.add_argument("--masks", choices=MASKS, default="auto", help="what the values in the masks mean (default: found out)")
    group.add_argument("--ignore-index", type=int, default=255, metavar="N", help="value in the masks that counts nowhere (default: 255)")
    group.add_argument("--boundary", action="store_true", help="from masks of instances, learn their boundaries as a class of its own")


_DEFAULTS = {"classes": None, "masks": "auto", "ignore_index": 255, "boundary": False, "val_fraction": 0.2}
_ALLOWED = {"nuclei": ("boundary",), "shapes": ("classes",)}  # what the data that come along can be told


def given(args: argparse.Namespace, but: tuple[str, ...] = ()) -> str:
    """The arguments about data that were given, as they are typed; "" if none was."""
    options = [name for name, default in _DEFAULTS.items() if name not in but and getattr(args, name, default) != default]
    return ", ".join(f"--{name.replace('_', '-')}" for name in options)


def data_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_data`, as they are kept in a checkpoint.

    Raises
    ------
    ValueError
        If one does not go with the data that come along: nothing that was asked for is left out in silence.
    """
    name = args.data or "nuclei"
    if name in _ALLOWED:
        if idle := given(args, but=_ALLOWED[name]):
            raise ValueError(f"{idle}: that is for a folder of your own and does not go with --data {name}")
        if isinstance(args.classes, list):
            raise ValueError("--classes: the shapes have names of their own; give a number, from 2 to 8")
    else:
        name = str(Path(name).resolve())
    return {"data": name, "classes": args.classes, "masks": args.masks, "ignore_index": args.ignore_index, "boundary": args.boundary}


def tells_data(settings: dict[str, Any]) -> bool:
    """Whether the settings in a checkpoint are those of this command, so that `open_data` knows what to open."""
    return {"data", "classes", "masks", "ignore_index", "boundary", "val_fraction", "seed"} <= settings.keys()


def open_data(settings: dict[str, Any], part: str, in_channels: int | None = None) -> Dataset:
    """The dataset that `data_settings` tell.

    Parameters
    ----------
    settings : dict
        With ``val_fraction`` and ``seed`` for a part of a folder.
    part : {"train", "held out", "all"}
    in_channels : int, optional
        What the images of a folder are converted to.
    """
    from .. import data

    name, classes = settings["data"], settings["classes"]
    if name == "nuclei":
        return data.nuclei({"held out": "test"}.get(part, part), boundary=settings["boundary"])
    if name == "shapes":
        count = classes if isinstance(classes, int) else len(classes) if classes else 4
        # Seeds of their own, so that no scene is in both parts.
        return data.Shapes(200, classes=count, seed=1) if part == "train" else data.Shapes(20, classes=count, seed=2)
    whole = data.Folder(
        name,
        classes=classes,
        masks=settings["masks"],
        ignore_index=settings["ignore_index"],
        boundary=settings["boundary"],
        in_channels=in_channels,
    )
    if part == "all":
        return whole
    train, held_out = data.split(whole, settings["val_fraction"], settings["seed"])
    return train if part == "train" else held_out


def _classes(text: str) -> int | list[str]:
    try:
        count = int(text)
    except ValueError:
        names = [name.strip() for name in text.split(",")]
        if len(names) < 2 or not all(names) or len(set(names)) < len(names):
            raise argparse.ArgumentTypeError(f"expected a number, or different names with commas between them, not {text!r}") from None
        return names
    if count < 2:
        raise argparse.ArgumentTypeError(f"there must be at least 2 classes, not {count}")
    return count


def positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, not {text!r}")
    return value
