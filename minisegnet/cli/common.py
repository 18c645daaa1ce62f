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
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute; cuda is the GPU (default: cpu)")


def use_backend(args: argparse.Namespace) -> None:
    """Select what ``--backend`` says, and find out whether ``--device`` is there.

    Raises
    ------
    BackendError
        If one does not run here; tells why, and what would mend it.
    """
    if args.device == "cuda":
        require_gpu()
    if args.backend is None:
        return
    from minisegnet_kernels import backends

    found = backends.available()[args.backend]
    if not found:
        raise backends.BackendError(
            f"backend {args.backend!r} does not run here: {found.reason}" + (f". To mend it: {found.mend}" if found.mend else "")
        )
    backends.use(args.backend)


def require_gpu() -> None:
    """Refuse where no GPU can be used.

    Raises
    ------
    BackendError
        Tells what is missing, and what would mend it.
    """
    from minisegnet_kernels import backends

    if not backends.gpu_count():
        raise backends.BackendError("there is no GPU here: the NVIDIA driver does not answer. See: minisegnet doctor")
    try:
        import cupy  # noqa: F401
    except ImportError as error:
        raise backends.BackendError(f'a GPU is here, but CuPy is not ({error}): pip install "minisegnet[cuda12]", or cuda13') from error


def add_data(command: argparse.ArgumentParser, default: str | None, split: str | None) -> None:
    """The arguments about data.

    Parameters
    ----------
    default : str or None
        What happens without ``--data``, in words; None if the command names its data otherwise.
    split : str or None
        What ``--split`` means, in words; None if the command has no such argument.
    """
    group = command.add_argument_group("data")
    if default is not None:
        group.add_argument(
            "--data",
            metavar="DATA",
            help="a folder with images/ and masks/; or with Pascal VOC, Cityscapes, CamVid or the Data Science Bowl's nuclei in their own "
            f'layouts; or "nuclei", the field of cells that comes along; or "shapes", synthetic scenes ({default})',
        )
    if split is not None:
        group.add_argument("--split", metavar="NAME", help=split)
    group.add_argument(
        "--classes",
        type=_classes,
        metavar="N|NAMES",
        help="number of classes, or their names with commas between (default: what the masks hold)",
    )
    group.add_argument("--masks", choices=MASKS, default="auto", help="what the values in the masks mean (default: found out)")
    group.add_argument("--ignore-index", type=int, default=255, metavar="N", help="value in the masks that counts nowhere (default: 255)")
    group.add_argument("--boundary", action="store_true", help="from masks of instances, learn their boundaries as a class of its own")


_DEFAULTS = {"split": None, "classes": None, "masks": "auto", "ignore_index": 255, "boundary": False, "val_fraction": 0.2}
_ALLOWED: dict[str, tuple[str, ...]] = {"nuclei": ("boundary",), "shapes": ("classes",)}  # what the data that come along can be told


def given(args: argparse.Namespace, but: tuple[str, ...] = ()) -> str:
    """The arguments about data that were given, as they are typed; "" if none was."""
    options = [name for name, default in _DEFAULTS.items() if name not in but and getattr(args, name, default) != default]
    return ", ".join(f"--{name.replace('_', '-')}" for name in options)


def data_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_data`, as they are kept in a checkpoint.

    Raises
    ------
    DataError
        If there is no such folder, or it has no layout that is known.
    ValueError
        If an argument does not go with the data: nothing that was asked for is left out in silence.
    """
    name = args.data or "nuclei"
    if name in _ALLOWED:
        if idle := given(args, but=_ALLOWED[name]):
            raise ValueError(f"{idle}: that is for a folder and does not go with --data {name}")
        if isinstance(args.classes, list):
            raise ValueError("--classes: the shapes have names of their own; give a number, from 2 to 8")
    else:
        name = str(Path(name).resolve())
        _check_options(args, name)
    names = ("split", "classes", "masks", "ignore_index", "boundary")
    return {"data": name, **{n: getattr(args, n) for n in names}}


def _check_options(args: argparse.Namespace, folder: str) -> None:
    """Raise ValueError if the layout of a folder decides what was asked for."""
    from .. import data

    found = data.detect(folder)
    if issubclass(found, data.Folder):
        if args.split is not None:
            raise ValueError(
                f"--split {args.split}: {folder} is no published data set; a part of it is held out at random (--val-fraction)"
            )
    elif idle := given(args, but=("split",) if found.parts else ("boundary", "val_fraction")):
        raise ValueError(f"{idle}: {folder} is {found.title}, whose layout decides that")


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

    Raises
    ------
    ValueError
        If the split to train on has images of the one that is held out.
    """
    from .. import data

    name, classes = settings["data"], settings["classes"]
    if name == "nuclei":
        return data.nuclei({"held out": "test"}.get(part, part), boundary=settings["boundary"])
    if name == "shapes":
        count = classes if isinstance(classes, int) else len(classes) if classes else 4
        # Seeds of their own, so that no scene is in both parts.
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
    """A split of a published data set; what "all" means there is the one that is held out, unless another is named."""
    name, wanted, (train, held_out) = settings["data"], settings.get("split"), format.parts
    if part == "held out":
        return format(name, held_out, in_channels=in_channels)
    found = format(name, wanted or (train if part == "train" else held_out), in_channels=in_channels)
    if part == "train" and wanted is not None and (shared := {*found.names} & {*format(name, held_out).names}):
        raise ValueError(
            f"--split {wanted}: {len(shared)} of its images are in {held_out!r}, too, which is held out to measure what is learned"
        )
    return found


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
