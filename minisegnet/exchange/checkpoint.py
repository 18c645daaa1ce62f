"""Checkpoints: a network's weights and all that is needed to use or to go on training it.

One safetensors file. Its tensors are the network's ``state_dict`` under its own names, so that any
program that reads safetensors can use them, and, in the file from which a run goes on, the state of
the optimiser under names that begin with ``optimizer/``. Where the network's weights are an average, those
that the training goes on with are there too, under ``training/``. Its metadata tell the rest, as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..nn import Module
from ..tensor import Tensor
from . import tensors as serialization

FORMAT = 1
_KEY, _STATE, _RAW = "minisegnet", "optimizer/", "training/"


@dataclass(frozen=True)
class About:
    """What a checkpoint knows beside the numbers.

    Attributes
    ----------
    recipe : dict or None
        Arguments of `models.create`; None if the network was made in another way.
    classes : tuple of str
    palette : list of [red, green, blue]
    in_channels : int
    ignore_index : int
    standardise : str
        How images are prepared: ``"per image"`` is `data.standardise`.
    step : int
        Training steps done.
    metrics : dict
        Figures of the last evaluation.
    run : dict
        How the run was started: what ``config.json`` holds.
    resume : dict
        What a run needs to go on: state of the optimiser, the random numbers, the best figure.
    format : int
    """

    recipe: dict[str, Any] | None
    classes: tuple[str, ...]
    palette: list[list[int]]
    in_channels: int
    ignore_index: int = 255
    standardise: str = "per image"
    step: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    resume: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: `about`, the network's `weights`, and the tensors of the optimiser's `state`.

    `training_weights` are those with which a run goes on: the same, unless `weights` are their average.
    """

    about: About
    weights: dict[str, Tensor]
    state: dict[str, Tensor]
    path: Path
    training_weights: dict[str, Tensor]


def write(
    path: str | os.PathLike,
    model: Module,
    about: About,
    state: Mapping[str, Any] | None = None,
    training_weights: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``.
    model : Module
    about : About
    state : mapping of str to Tensor, optional
        What the optimiser remembers; see `pack_optimizer`.
    training_weights : mapping of str to Tensor, optional
        If those of the model are an average: the weights with which the run goes on.
    """
    tensors = {
        **model.state_dict(),
        **{_STATE + name: value for name, value in (state or {}).items()},
        **{_RAW + name: value for name, value in (training_weights or {}).items()},
    }
    serialization.save(tensors, path, {_KEY: json.dumps(asdict(about), default=plain)})


def plain(value: Any) -> Any:
    """For JSON: NumPy's numbers as Python's, and what it does not know, such as a path, as text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def read(path: str | os.PathLike) -> Checkpoint:
    """Read a checkpoint; for the folder of a run its best one, or the last.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the file is damaged, no checkpoint of this library, or of a newer version of it.
    """
    path = find(path)
    about = read_about(path)
    tensors = serialization.load(path)
    weights = {name: value for name, value in tensors.items() if not name.startswith((_STATE, _RAW))}
    state, raw = ({n.removeprefix(p): v for n, v in tensors.items() if n.startswith(p)} for p in (_STATE, _RAW))
    return Checkpoint(about, weights, state, path, raw or weights)


def read_about(path: str | os.PathLike) -> About:
    """What a checkpoint knows beside the numbers, without reading them; raises what `read` raises."""
    path = find(path)
    text = serialization.load_metadata(path).get(_KEY)
    if text is None:
        raise ValueError(
            f"{path}: these are tensors, but no checkpoint of minisegnet: nothing tells the network, its classes and colours. "
            "Weights alone go into a network with ms.load_pretrained(model, path)"
        )
    try:
        entries = json.loads(text)
        version = entries["format"]
        if version > FORMAT:
            raise ValueError(
                f"{path}: written by a newer minisegnet (format {version}, this one reads {FORMAT}): pip install -U minisegnet"
            )
        return About(**{**entries, "classes": tuple(entries["classes"])})
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: the description in the checkpoint is damaged ({error})") from error


def find(path: str | os.PathLike, names: tuple[str, ...] = ("best", "last")) -> Path:
    """The file that is meant: the path itself, or in the folder of a run the first of ``NAME.safetensors`` that is there."""
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"no checkpoint {path}")
        return path
    for name in names:
        if (path / f"{name}.safetensors").exists():
            return path / f"{name}.safetensors"
    raise FileNotFoundError(f"no checkpoint in the folder {path}: expected {' or '.join(f'{n}.safetensors' for n in names)}")


def pack_optimizer(state_dict: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ``state_dict`` of an optimiser as tensors, by ``NUMBER/NAME``, and the rest, which JSON can hold."""
    tensors, numbers = {}, {}
    for key, kept in state_dict["state"].items():
        tensors.update({f"{key}/{name}": value for name, value in kept.items() if isinstance(value, Tensor | np.ndarray)})
        numbers[str(key)] = {name: value for name, value in kept.items() if not isinstance(value, Tensor | np.ndarray)}
    return tensors, {"state": numbers, "param_groups": list(state_dict["param_groups"])}


def unpack_optimizer(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `pack_optimizer`."""
    state: dict[int, dict[str, Any]] = {int(key): dict(kept) for key, kept in rest["state"].items()}
    for path, value in tensors.items():
        key, _, name = path.partition("/")
        state[int(key)][name] = value
    return {"state": state, "param_groups": rest["param_groups"]}
