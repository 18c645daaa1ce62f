"""The options of ``minisegnet train``: those of `Recipe`, of `Data` and `Machine`, and those that are declared here."""

# ruff: noqa: RUF009  (an option is a `dataclasses.field`)

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..options import FLAG, Kind, Option, number, option, options_of, text
from ..training.recipe import Recipe
from .common import Machine
from .dataset import data_options


def read_options(given: str) -> dict[str, Any]:
    """Options of a network from ``NAME=VALUE,...``: numbers, true, false and none as such, any other value as text."""
    found: dict[str, Any] = {}
    for part in given.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name.isidentifier() and equals):
            raise ValueError(part)
        found[name] = _VALUES[value.lower()] if value.lower() in _VALUES else _number_or_text(value)
    return found


def _number_or_text(value: str) -> Any:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


_VALUES: dict[str, Any] = {"true": True, "false": False, "none": None}
OPTIONS = Kind("NAME=VALUE[,NAME=VALUE...], such as backbone=resnet34", read_options, lambda v: isinstance(v, dict), "NAME=VALUE[,...]")

_network, _output = (partial(option, section=name) for name in ("network", "output"))


@dataclass(frozen=True)
class Network:
    """Which network is trained."""

    model: str = _network("unet", text("NAME"), "the network; minisegnet models lists them")
    width: float = _network(0.25, number("a number above 0", lambda x: x > 0), "multiplies the number of channels of every layer")
    one_logit: bool = _network(False, FLAG, "with two classes: one output for each pixel, the logit of class 1, in place of two scores")
    option: dict[str, Any] = _network({}, OPTIONS, "options of the network's class, such as backbone=resnet34")
    weights: str | None = _network(
        None,
        text("FILE"),
        "begin with these weights: of another run, or of another library (see docs/weights.md). With another number of classes, "
        "the last layer begins anew",
        unset="random weights",
    )
    aux: float | None = _network(
        None,
        number("a number above 0", lambda x: x > 0, "WEIGHT"),
        "train with the network's auxiliary head, whose loss has this weight (0.4 in PSPNet)",
        unset="no auxiliary head",
    )


@dataclass(frozen=True)
class Output:
    """What a run writes, and where the options come from."""

    out: str | None = _output(None, text("DIR"), "folder of the run", unset="runs/MODEL-DATA")
    overwrite: bool = _output(False, FLAG, "replace the run that is in the folder")
    resume: str | None = _output(
        None, text("RUN"), "continue the run in this folder, under the options with which it was started", in_file=False
    )
    accept_changes: bool = _output(
        False, FLAG, "with --resume: go on although the images or best.safetensors are no longer those of the run", in_file=False
    )
    quiet: bool = _output(False, FLAG, "print the result only, no progress")
    config: str | None = _output(None, text("FILE"), "read options from a TOML file; the command line wins over the file", in_file=False)
    write_config: str | None = _output(None, text("FILE"), "write the options to a TOML file, and do not train", in_file=False)


_SECTIONS = ("data", "network", "training", "loss", "augmentation", "evaluation", "output", "options")


def train_options() -> dict[str, Option]:
    """Every option of the command, by name, in the order of ``--help``."""
    found = {
        **data_options('"nuclei"', "train, with val held out"),
        **options_of(Network),
        **options_of(Recipe),
        **options_of(Output),
        **options_of(Machine),
    }
    found["steps"] = replace(found["steps"], default=150)  # `fit` has no default: there the length has to be given
    return dict(sorted(found.items(), key=lambda item: _SECTIONS.index(item[1].section)))
