"""The state of a run in ``last.safetensors``, which alone decides how the run goes on: saved after a step, taken back by a resume.

The protocol of these files is in `folder`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import random
from ..data.preparation import way_of
from ..exchange import checkpoint
from ..files import write_atomically
from ..tensor import Tensor
from .folder import BEST, LAST
from .history import History
from .identity import ACCEPT, in_words

if TYPE_CHECKING:
    from .run import Run


def save(run: Run, row: dict[str, Any]) -> None:
    """Write ``last``, and ``best`` if this evaluation is the best so far.

    Raises
    ------
    DivergedError
        If a weight is not finite. The earlier files are kept.
    """
    bad = [name for name, value in run.model.state_dict().items() if value.dtype.kind == "f" and not np.isfinite(value.cpu().array).all()]
    if bad:
        raise run.diverged(f"{bad[0]} and {len(bad) - 1} other tensors of the network are no longer finite after step {row['step']}")
    if run.folder is None:
        return
    about = describe(run, row)
    tensors, rest = checkpoint.pack_optimizer(run.optimizer.state_dict())
    resume = {
        "optimizer": rest,
        "random": random.generator().bit_generator.state,
        "score_name": run.history.score_name,
        "best_score": run.history.best_score,
        "best_step": run.history.best_step,
        "owed": run.due(row) and run.validation is not None and "val_loss" not in row,
    }
    own = None if run.average is None else run.model.state_dict()
    # The order matters: see the protocol in `folder`.
    checkpoint.write(run.folder / LAST, run.kept, replace(about, resume=resume), tensors, own, columns(run.history.rows))
    if run.history.best_step == row["step"]:
        checkpoint.write(run.folder / BEST, run.kept, about)
    run.folder.sync()


def describe(run: Run, row: dict[str, Any]) -> checkpoint.About:
    """The description of a checkpoint after the step of this row, without what a resume needs."""
    return checkpoint.About(
        recipe=getattr(run.model, "recipe", None),
        classes=tuple(run.train.classes),
        palette=np.asarray(run.train.palette).tolist(),
        in_channels=int(run.train.in_channels),
        ignore_index=int(run.train.ignore_index),
        standardise=way_of(run.train),
        step=row["step"],
        metrics={name: row[name] for name in run.columns() if name.startswith("val_") and math.isfinite(row.get(name, math.nan))},
        run=run.config(),
    )


def restore(run: Run, path: str | os.PathLike, accept_changes: bool) -> None:
    """Take back the state that a run left in its ``last.safetensors``. Nothing is written.

    Raises
    ------
    ValueError
        If there is nothing left to do, the checkpoint is not one of this run, or data or files have changed and
        `accept_changes` is not set.
    """
    found = checkpoint.read(checkpoint.find(path, ("last",)))
    about, resume = found.about, found.about.resume
    if not resume:
        raise ValueError(f"{found.path}: this checkpoint holds weights only; resume the run from its last.safetensors")
    if about.format < 2:
        version = about.run.get("versions", {}).get("minisegnet", "an earlier version")
        raise ValueError(
            f"{found.path}: the run was started by minisegnet {version}, whose checkpoints lack the log: resume it with that version"
        )
    run.recorded, run.accept_changes = about.run, accept_changes
    by_method = isinstance(run.recipe.class_weights, str)  # the record has numbers, which are compared when they are computed
    run.recipe.check_same_run(about.run["options"], but=("class_weights",) if by_method else ())
    if (transform := in_words(run.loader.transform)) != about.run["transform"] and not accept_changes:
        raise ValueError(f"the run was started with the transform {about.run['transform']} (now {transform}). {ACCEPT}")
    try:
        _take(run, found)
    except (RuntimeError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"{found.path}: {error}") from error
    _check_best(run)
    _check_unfinished(run, found.path.parent)


def _take(run: Run, found: checkpoint.Checkpoint) -> None:
    about, resume = found.about, found.about.resume
    run.model.load_state_dict(found.training_weights)
    if run.average is not None:
        run.average.model.load_state_dict(found.weights)
    run.optimizer.load_state_dict(checkpoint.unpack_optimizer(found.state, resume["optimizer"]))
    if run.schedule is not None:
        run.schedule.load_state_dict({"last_epoch": about.step})
    # The whole run is one epoch of the loader.
    run.loader.load_state({"epoch": 0, "batch": about.step * run.recipe.accumulate})
    random.generator().bit_generator.state = resume["random"]
    out = run.folder.path if run.folder is not None else None
    best = resume["score_name"], resume["best_score"], resume["best_step"]
    run.history = History(rows(found.log, about.step), None, *best, out=out)
    run.owed = resume.get("owed", False) and run.validation is not None


def _check_best(run: Run) -> None:
    """Raise ValueError if the best weights are lost; forget them if changes are accepted."""
    assert run.earlier is not None
    step, path = run.history.best_step, run.earlier / BEST
    if step in (0, run.history.step) or _step_of(path) == step:
        return
    if not run.accept_changes:
        raise ValueError(f"{path}: expected the weights of step {step}, the best so far; the file is missing or damaged. {ACCEPT}")
    run.history.best_score, run.history.best_step = float("nan"), 0


def _check_unfinished(run: Run, path: Path) -> None:
    """Raise ValueError if the run has done its steps and has left every file."""
    step, best = run.history.step, run.history.best_step
    run.history.stopped_early = run.out_of_patience()
    done = step >= run.recipe.steps or run.history.stopped_early
    lacks = (
        run.folder is not None and run.folder.path.resolve() == path.resolve() and not run.folder.complete(run.columns(), run.history.rows)
    )
    if not done or (step <= run.recipe.steps and (run.owed or lacks or (best and _step_of(path / BEST) != best))):
        return
    if run.history.stopped_early and step < run.recipe.steps:
        raise ValueError(
            f"the run in {path} stopped early after step {step}: {run.history.stale} evaluations brought "
            f"nothing better than step {best}; to continue it, allow more patience (--patience)"
        )
    raise ValueError(f"the run in {path} has done {step} steps already; to continue it, ask for more (--steps)")


def mend(run: Run, go_on: Callable[[], bool]) -> str:
    """Write what a killed run has left undone: the files that follow from ``last``, and an evaluation that was interrupted.

    In a new folder, write the files of the run so far. Returns a line about the evaluation, if one was made.
    """
    folder, earlier = run.folder, run.earlier
    if folder is None or earlier is None:
        return ""
    rows, best, copied = run.history.rows, run.history.best_step, folder.path.resolve() != earlier.resolve()
    folder.begin(run.config(), run.columns(), rows)
    if copied and best not in (0, run.history.step):
        write_atomically(folder / BEST, lambda stream: stream.write((earlier / BEST).read_bytes()))
    line = ""
    if run.owed and go_on() and (line := run.evaluate(rows[-1], go_on)):
        folder.rewrite_log(rows)
    if line or copied:
        save(run, rows[-1])
    elif best == run.history.step and _step_of(folder / BEST) != best:
        checkpoint.write(folder / BEST, run.kept, describe(run, rows[-1]))
    run.history.stopped_early = run.out_of_patience()
    return line


def _step_of(path: Path) -> int:
    """The step of a checkpoint; 0 if it is missing or cannot be read."""
    try:
        return checkpoint.read(path).about.step
    except (OSError, ValueError):
        return 0


# --- the log ----------------------------------------------------------------------------------------

_EVALUATED = "evaluated"  # the positions of the rows with figures of an evaluation


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The rows of a log as arrays: one number a row, or one a row that was evaluated."""
    if not rows:
        return {}
    evaluated = [k for k, row in enumerate(rows) if "val_loss" in row]
    found = {name: np.array([row[name] for row in rows], np.int64 if name == "step" else np.float64) for name in _always(rows[0])}
    if evaluated:
        found[_EVALUATED] = np.array(evaluated, np.int64)
        names = [name for name in rows[evaluated[0]] if name.startswith("val_")]
        found |= {name: np.array([rows[k][name] for k in evaluated], np.float64) for name in names}
    return found


def _always(row: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in row if not name.startswith("val_"))


def rows(found: Mapping[str, Tensor], steps: int) -> list[dict[str, Any]]:
    """The inverse of `columns`.

    Raises
    ------
    ValueError
        If these are not the rows of steps 1 to `steps`.
    """
    arrays = {name: value.numpy() for name, value in found.items()}
    evaluated = arrays.pop(_EVALUATED, np.zeros(0, np.int64))
    if not np.array_equal(arrays.get("step", np.zeros(0)), np.arange(1, steps + 1)) or "loss" not in arrays:
        raise ValueError(f"its log does not have a row for each of the steps 1 to {steps}")
    wrong = [name for name, values in arrays.items() if values.shape != ((evaluated if name.startswith("val_") else arrays["step"]).shape)]
    if wrong or (evaluated.size and not (0 <= evaluated.min() <= evaluated.max() < steps)):
        raise ValueError(f"its log has columns of another length ({', '.join(wrong) or _EVALUATED})")
    lists = {name: values.tolist() for name, values in arrays.items()}
    made = [{name: values[k] for name, values in lists.items() if not name.startswith("val_")} for k in range(steps)]
    for number, k in enumerate(evaluated.tolist()):
        made[k].update({name: values[number] for name, values in lists.items() if name.startswith("val_")})
    return made
