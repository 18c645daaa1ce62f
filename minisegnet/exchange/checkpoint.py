"""Checkpoints: a network's weights, and everything that is needed to use the network or to continue its training.

A checkpoint is one safetensors file. It contains the network's ``state_dict`` under its own names, so that any program
that reads safetensors can use the weights. A file from which training continues also contains the state of the
optimiser, under names that begin with ``optimizer/``, and the columns of the log, under ``log/``. If the network's weights are
an average, the weights with which training continues are there as well, under ``training/``. Everything else is JSON in the
metadata: the *description*, whose entries are declared once, in `description`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..nn import Module
from ..tensor import Tensor
from . import description
from . import tensors as serialization

FORMAT = 2  # the first format had neither the log nor the digest of the tensors
_KEY, _STATE, _RAW, _LOG = "minisegnet", "optimizer/", "training/", "log/"


@dataclass(frozen=True)
class About:
    """The description in a checkpoint: everything except the tensors.

    Attributes
    ----------
    recipe : dict or None
        Arguments of `models.create`; None if the network was made in another way.
    classes : tuple of str
    palette : list of [red, green, blue]
    in_channels : int
    ignore_index : int
    standardise : str
        How images are prepared, one of `data.preparation.WAYS`: ``"per image"`` is `data.standardise`.
    step : int
        Number of training steps.
    metrics : dict
        Metrics of the last evaluation.
    run : dict
        The settings of the run, as in ``config.json``.
    resume : dict
        What a run needs to continue: state of the optimiser and of the random numbers, the best metric.
    digest : str
        BLAKE2b of all tensors; "" in files of format 1, which are not checked.
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
    digest: str = ""
    format: int = FORMAT


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint: `about`, the network's `weights`, the tensors of the optimiser's `state`, the columns of the `log`.

    Training continues with `training_weights`. They equal `weights`, unless `weights` are an average.
    """

    about: About
    weights: dict[str, Tensor]
    state: dict[str, Tensor]
    path: Path
    training_weights: dict[str, Tensor]
    log: dict[str, Tensor]


def write(
    path: str | os.PathLike,
    model: Module,
    about: About,
    state: Mapping[str, Any] | None = None,
    training_weights: Mapping[str, Any] | None = None,
    log: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint. The file appears only when it is complete.

    Parameters
    ----------
    path : path
        Ends in ``.safetensors``.
    model : Module
    about : About
    state : mapping of str to Tensor, optional
        The tensors of the optimiser's state; see `pack_optimizer`.
    training_weights : mapping of str to Tensor, optional
        If the weights of the model are an average: the weights with which training continues.
    log : mapping of str to array, optional
        The columns of the log.
    """
    tensors = {
        **model.state_dict(),
        **{_STATE + name: value for name, value in (state or {}).items()},
        **{_RAW + name: value for name, value in (training_weights or {}).items()},
        **{_LOG + name: value for name, value in (log or {}).items()},
    }
    about = replace(about, digest=_digest(tensors))
    serialization.save(tensors, path, {_KEY: json.dumps(asdict(about), default=plain)})


def _digest(tensors: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of all names and values. safetensors has no checksum of its own."""
    state = hashlib.blake2b(digest_size=8)
    for name in sorted(tensors):
        value = tensors[name]
        array = np.ascontiguousarray(value.cpu().array if isinstance(value, Tensor) else value)
        state.update(f"{name} {array.dtype.str} {array.shape}".encode())
        state.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return state.hexdigest()


def plain(value: Any) -> Any:
    """Convert a value for JSON: a NumPy number to a Python number, anything else, such as a path, to text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def read(path: str | os.PathLike) -> Checkpoint:
    """Read a checkpoint. For the folder of a run, the best one is read; see `find`.

    Raises
    ------
    FileNotFoundError
        If there is no checkpoint.
    ValueError
        If the file is damaged, is not a checkpoint of this library, or was written by a newer version.
    """
    path = find(path)
    about = read_about(path)
    tensors = serialization.load(path)
    if about.digest and _digest(tensors) != about.digest:
        raise ValueError(f"{path}: the tensors are not those that were written: the file is damaged or was edited. Take an earlier copy")
    prefixes = (_STATE, _RAW, _LOG)
    weights = {name: value for name, value in tensors.items() if not name.startswith(prefixes)}
    state, raw, log = ({n.removeprefix(p): v for n, v in tensors.items() if n.startswith(p)} for p in prefixes)
    return Checkpoint(about, weights, state, path, raw or weights, log)


def network_weights(path: str | os.PathLike, key: str | None = None) -> dict[str, Tensor]:
    """The weights of a network: in a checkpoint, the folder of a run, or any file that `tensors.load` reads. The state of an optimiser is left out."""
    return {name: value for name, value in serialization.load(find(path), key).items() if not name.startswith((_STATE, _RAW))}


def read_about(path: str | os.PathLike) -> About:
    """The description in a checkpoint, read without its tensors; raises what `read` raises."""
    path = find(path)
    text = serialization.load_metadata(path).get(_KEY)
    if text is None:
        raise ValueError(
            f"{path}: the file contains tensors, but is not a checkpoint of minisegnet: it has no description of the network and "
            "its classes. To load only weights into a network: ms.load_pretrained(model, path)"
        )
    try:
        entries = json.loads(text)
        version = entries["format"] if isinstance(entries, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise ValueError(
                f"{path}: written by a newer minisegnet (format {version}; this one reads up to {FORMAT}). Update minisegnet, and try again"
            )
        description.check(entries)
    except (json.JSONDecodeError, KeyError, RecursionError, description.DescriptionError) as error:
        raise ValueError(f"{path}: the description in the checkpoint is damaged ({error})") from error
    return About(**{**entries, "classes": tuple(entries["classes"])})


def find(path: str | os.PathLike, names: tuple[str, ...] = ("best", "last")) -> Path:
    """The path itself, or for the folder of a run the first ``NAME.safetensors`` that exists.

    A run writes ``last`` before ``best``. If it was killed between the two, ``last`` holds the best weights: then it is returned in
    the place of ``best``.

    Raises
    ------
    FileNotFoundError
        If there is no checkpoint, or the run's best checkpoint has been removed.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise FileNotFoundError(f"no checkpoint {path}")
        return path
    there = {name: path / f"{name}.safetensors" for name in names if (path / f"{name}.safetensors").exists()}
    if not there:
        raise FileNotFoundError(f"no checkpoint in the folder {path}: expected {' or '.join(f'{n}.safetensors' for n in names)}")
    if "best" in names and "last" in there:
        best_is_last, missing = _best_is_last(there.get("best"), there["last"])
        if missing:
            raise FileNotFoundError(
                f"{path}: best.safetensors, with the weights of step {missing}, has been removed. Put it back, or name {there['last']} "
                "for the weights of the last step"
            )
        if best_is_last:
            return there["last"]
    return there[next(name for name in names if name in there)]


def _best_is_last(best: Path | None, last: Path) -> tuple[bool, int]:
    """Whether ``last`` holds the best weights and ``best`` does not; and the step of the best weights if neither file has them."""
    try:
        about = read_about(last)
    except ValueError:  # whoever needs `last` is told; `best` is as good as before
        return False, 0
    step = about.resume.get("best_step", 0)
    if best is not None:
        return step == about.step and read_about(best).step != step, 0
    return step == about.step, step if step not in (0, about.step) else 0


def pack_optimizer(state_dict: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the ``state_dict`` of an optimiser into tensors, named ``NUMBER/NAME``, and the rest, which fits into JSON."""
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
        state.setdefault(int(key), {})[name] = value
    return {"state": state, "param_groups": rest["param_groups"]}
