"""The options of ``minisegnet train``: those of `Recipe`, of `Data` and `Machine`, and those that are declared here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from ..options import FLAG, Option, number, option, options_of, text
from ..training.recipe import Recipe
from .common import Machine
from .dataset import data_options

_network, _output = (partial(option, section=name) for name in ("network", "output"))


@dataclass(frozen=True)
class Network:
    """Which network is trained."""

    model: str = _network("unet", text("NAME"), "the network; minisegnet models lists them")
    width: float = _network(0.25, number("a number above 0", lambda x: x > 0), "multiplies the number of channels of every layer")
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
