"""One run: its state, and its parts: a step, an evaluation, a checkpoint, pictures."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import functional as F
from .. import losses, random
from ..data import Dataset, Loader
from ..inference import evaluating, predict_within
from ..losses.combined import all_outputs
from ..nn import Module
from ..nn.utils import clip_grad_norm_
from ..tensor import Tensor, no_grad
from ..version import __version__
from . import build
from .average import ExponentialMovingAverage
from .evaluation import MOST, SCORES, figures, headline, measure
from .folder import LAST, RunFolder
from .gpu import GPUSteps, Unread
from .history import DivergedError, History
from .identity import ACCEPT, changes, identity, in_words
from .recipe import Recipe

_PICTURES = 4  # rows of predictions.png


class Run:
    """The state of a training, which changes from step to step."""

    def __init__(
        self,
        model: Module,
        recipe: Recipe,
        loader: Loader,
        train: Dataset,
        validation: Dataset | None,
        settings: dict[str, Any],
    ):
        self.model, self.recipe, self.loader = model, recipe, loader
        self.train, self.validation, self.settings = train, validation, settings
        first = next(iter(model.parameters()))
        self.dtype, self.device = first.dtype, first.device
        self._check_sizes()
        if validation is None and (recipe.patience is not None or recipe.best_by != "iou"):
            raise ValueError("patience and best_by compare evaluations, and without validation data there are none")
        self.loss: losses.AuxiliaryLoss  # made by `read_data`: its weights may come from the data
        self.optimizer = build.make_optimizer(recipe, model)
        self.schedule = build.make_schedule(recipe, self.optimizer)
        self.average = None if recipe.ema is None else ExponentialMovingAverage(model, recipe.ema)
        self.history = History()
        self.folder: RunFolder | None = None
        self.earlier: Path | None = None  # the folder of a resumed run
        self.recorded: dict[str, Any] = {}  # the settings of a resumed run
        self.accept_changes = False
        self.owed = False  # whether the evaluation of the last step was interrupted
        self._data: dict[str, Any] = {}  # the identity of the data
        self.steps_on_gpu: GPUSteps | None = None  # made by the first step, if the network is on a GPU
        self._unread = Unread()
        self._unlogged: list[dict[str, Any]] = []
        random.manual_seed(recipe.seed)  # for dropout

    # --- before the first step ---------------------------------------------------------

    def _check_sizes(self) -> None:
        """Compare the network's channels and classes with those of the data, and listed class weights with the classes."""
        channels, classes = getattr(self.model, "in_channels", None), getattr(self.model, "num_classes", None)
        classes = 2 if classes == 1 else classes  # one logit
        for data in (self.train, self.validation):
            if data is not None and (channels or data.in_channels, classes or len(data.classes)) != (data.in_channels, len(data.classes)):
                raise ValueError(
                    f"the network takes {channels} channels and tells {classes} classes apart; the data have "
                    f"{data.in_channels} channels and {len(data.classes)} classes: {', '.join(data.classes)}"
                )
        if not isinstance(self.recipe.class_weights, str):
            build.make_class_weights(self.recipe, self.train)

    def choose_folder(
        self, out: str | os.PathLike | None, overwrite: bool, resume: str | os.PathLike | None, files: Mapping[str, str]
    ) -> None:
        """Check that the folder of the run can be written to: `out`, or that of the run to resume. Nothing is written yet."""
        earlier = None if resume is None else Path(resume)
        if earlier is not None and not earlier.is_dir():  # its last.safetensors
            earlier = earlier.parent
        path = earlier if out is None else Path(out)
        if path is None:
            return
        self.folder = RunFolder(path, overwrite, earlier is not None and path.resolve() == earlier.resolve(), files)
        self.history.out = path
        self.earlier = earlier

    def read_data(self) -> None:
        """Read what training has to know about the data: one image, and the frequencies of the classes if they become weights.

        Raises
        ------
        ValueError
            If the network cannot be trained on such an image, or data or weights are not those of the run to resume.
        """
        weights = build.make_class_weights(self.recipe, self.train)
        self.recipe = replace(self.recipe, class_weights=weights)
        self._data = {"train": identity(self.train), "validation": identity(self.validation)}
        if self.recorded and not self.accept_changes:
            self.recipe.check_same_run(self.recorded["options"])
            if differences := changes(self.recorded["data"], self._data):
                raise ValueError(f"{'; '.join(differences)}. {ACCEPT}")
        self.loss = build.make_loss(self.recipe, weights, self.train.ignore_index, self.dtype, self.device)
        image, mask = self.train[0]
        if self.loader.transform is not None:
            image, mask = self.loader.transform(image, mask, np.random.default_rng(self.recipe.seed))
        with evaluating(self.model), no_grad():
            found = self.model(self._tensor(image[None]))
        F.label(found)  # compiled now, before the first step is timed
        size = found.shape[2:]
        size_for = getattr(self.model, "size_for", lambda rows: rows)
        # The output of a network without padding may be smaller, as `size_for` says: then it is compared with the middle of the mask.
        if any(made != rows != size_for(made) for made, rows in zip(size, mask.shape, strict=True)):
            raise ValueError(
                f"the network makes {size[0]} × {size[1]} scores of {mask.shape[0]} × {mask.shape[1]} pixels: "
                "they cannot be compared with the mask pixel by pixel"
            )

    # --- the steps ---------------------------------------------------------------------

    def step(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
        """Forward and backward for each batch, then one update with the mean of their gradients; returns the row of the log.

        On a GPU the row's ``loss`` and ``grad_norm`` are None until `read` is called.

        Raises
        ------
        DivergedError
            If a loss, or the norm of the gradients, is not finite; the weights are not updated then. On a GPU `read` raises it.
        """
        self.model.train()
        row: dict[str, Any] = {"step": self.history.step + 1, "loss": None, "lr": float(self.optimizer.param_groups[0]["lr"])}
        if self.device == "cuda":
            self._step_on_gpu(row, list(batches))
        else:
            self._step(row, batches)
        if self.schedule is not None:
            self.schedule.step()
        if self.average is not None:
            self.average.update(self.model, row["step"])
        return row

    def _step(self, row: dict[str, Any], batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        self.optimizer.zero_grad()
        step, count, total, taken = row["step"], self.recipe.accumulate, 0.0, 0
        for images, masks in batches:
            taken += 1
            outputs = all_outputs(self.model(self._tensor(images)))
            target = Tensor(_middle(masks, outputs[0].shape[2:])).to(self.device)
            loss = self.loss(outputs, target) / count
            total += (value := loss.item())
            if not math.isfinite(value):
                raise self.diverged(f"the loss became {value} at step {step}")
            loss.backward()
        self._check_count(step, taken)
        row["loss"] = total
        if self.recipe.clip_norm is not None:
            row["grad_norm"] = clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
            if not math.isfinite(row["grad_norm"]):
                raise self.diverged(f"the norm of the gradients became {row['grad_norm']} at step {step}")
        self.optimizer.step()

    def _check_count(self, step: int, taken: int) -> None:
        if taken != self.recipe.accumulate:  # the loss of a step without batches would be 0
            raise RuntimeError(f"step {step} needs {self.recipe.accumulate} batches, and the loader gave {taken}")

    def _step_on_gpu(self, row: dict[str, Any], batches: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._check_count(row["step"], len(batches))
        if self.steps_on_gpu is None:
            self.steps_on_gpu = GPUSteps(self.model, self.loss, self.optimizer, self.recipe, _middle)
        if len(self._unread) == Unread.ROOM:
            self.read()
        self._unread.add(row, self.steps_on_gpu.take(batches))

    def read(self) -> None:
        """Read what the last steps have left on the GPU, into their rows.

        Raises
        ------
        DivergedError
            If a figure is not finite. Later steps may have updated the weights since; the last checkpoint is good.
        """
        for row in self._unread.read():
            for name, what in (("loss", "loss"), ("grad_norm", "norm of the gradients")):
                if not math.isfinite(row.get(name, 0.0)):
                    self._unlogged = [r for r in self._unlogged if r["step"] < row["step"]]
                    self._log()
                    raise self.diverged(f"the {what} became {row[name]} at step {row['step']}")
        self._log()

    def record(self, row: dict[str, Any]) -> None:
        """Add a row to the history and, when its figures are known, to the log. The first row makes the folder and its files."""
        self.history.rows.append(row)
        self._unlogged.append(row)
        if not self._unread:
            self._log()

    def _log(self) -> None:
        rows, self._unlogged = self._unlogged, []
        if self.folder is None:
            return
        for row in rows:
            if not self.folder.begun:
                self.folder.begin(self.config(), self.columns(), [r for r in self.history.rows if r["step"] < row["step"]])
            self.folder.log(row)

    def evaluate(self, row: dict[str, Any], go_on: Callable[[], bool] = lambda: True) -> str:
        """Evaluate on the validation images, add the figures to the row, and return a line about them; "" if there are none."""
        if self.validation is None:
            return ""
        found = measure(self.kept, self.validation, self.recipe.batch_size, self.loss, go_on, most=self.most_pixels)
        if found is None:
            return ""
        confusion, loss = found
        history, score = self.history, SCORES[self.recipe.best_by]
        history.confusion = confusion
        row.update(figures(confusion, loss))
        history.score_name, value = score.measure(confusion, loss)
        if score.better(value, history.best_score):
            history.best_score, history.best_step = value, row["step"]
        said = f"step {row['step']:>{len(str(self.recipe.steps))}}  loss {row['loss']:.4f}  validation loss {loss:.4f}"
        name, iou = headline(confusion)
        return f"{said}  {name} {iou:.4f}" + (
            "" if history.score_name in (name, "validation loss") else f"  {history.score_name} {value:.4f}"
        )

    @property
    def most_pixels(self) -> int:
        """Most pixels that an evaluation computes at once: without gradients, it keeps less than a third of what a step keeps of a pixel."""
        rows = self.recipe.crop
        return MOST if rows is None else min(max(3 * self.recipe.batch_size * rows**2, 1 << 16), MOST)

    def out_of_patience(self) -> bool:
        """Whether the last `patience` evaluations brought nothing better."""
        return self.recipe.patience is not None and self.history.stale >= self.recipe.patience

    @property
    def kept(self) -> Module:
        """The network that is evaluated and saved: the one with averaged weights, if the recipe asks for an average."""
        return self.model if self.average is None else self.average.model

    def shown(self) -> dict[str, str]:
        """The figures of the last evaluation that the progress bar shows."""
        confusion = self.history.confusion
        return {} if confusion is None else {"IoU": f"{headline(confusion)[1]:.3f}"}

    def due(self, row: dict[str, Any]) -> bool:
        """Whether this step is evaluated."""
        return row["step"] % self.recipe.eval_every == 0 or row["step"] == self.recipe.steps

    def use_average(self) -> None:
        """Give the network its averaged weights for good."""
        if self.average is not None:
            self.model.load_state_dict(self.average.weights)

    def draw(self) -> None:
        """``curves.png`` and ``predictions.png``."""
        if self.folder is None or not self.folder.begun:
            return
        from .. import viz

        best = (self.history.score_name, self.history.best_score, self.history.best_step) if self.history.best_step else None
        viz.curves(self.history.rows, self.folder / "curves.png", title=f"Training of {type(self.model).__name__}", best=best)
        data = self.validation if self.validation is not None else self.train
        shown = np.linspace(0, len(data) - 1, min(_PICTURES, len(data))).astype(int)
        images, truths = zip(*(data[int(k)] for k in shown), strict=True)
        viz.predictions(
            images,
            truths,
            [predict_within(self.model, image, self.most_pixels) for image in images],
            data.classes,
            data.palette,
            self.folder / "predictions.png",
            names=[data.names[k] for k in shown],
            title=f"{'Validation' if self.validation is not None else 'Training'} images after {self.history.step} steps",
            ignore_index=data.ignore_index,
        )

    def close(self) -> None:
        if self.folder is not None:
            self.folder.close()

    # --- helpers -----------------------------------------------------------------------

    def _tensor(self, images: np.ndarray) -> Tensor:
        layout = "channels_last" if self.device == "cuda" else None
        return Tensor(images.astype(self.dtype, copy=False)).to(self.device, memory_format=layout)

    def columns(self) -> list[str]:
        names = ["step", "loss", "lr", "seconds", *(["grad_norm"] if self.recipe.clip_norm is not None else [])]
        if self.validation is None:
            return names
        classes = self.validation.classes
        return [*names, "val_loss", "val_iou", "val_dice", *([f"val_iou_{c}" for c in classes] if len(classes) <= 20 else [])]

    def config(self) -> dict[str, Any]:
        versions = {"minisegnet": __version__, "python": platform.python_version(), "numpy": np.__version__}
        return {
            "options": self.recipe.record(),
            "model": getattr(self.model, "recipe", None) or type(self.model).__name__,
            "data": {"classes": list(self.train.classes), **self._data},
            "transform": in_words(self.loader.transform),
            "settings": self.settings,
            "versions": versions,
        }

    def diverged(self, what: str) -> DivergedError:
        last = self.folder / LAST if self.folder is not None and self.folder.begun else None
        where = f"The last good checkpoint is {last}. " if last and last.exists() else "No checkpoint had been written yet. "
        rate = self.recipe.learning_rate
        return DivergedError(
            f"{what}. {where}Try a smaller learning rate (it is {rate:g}); to find the operation that made it, train inside ms.detect_anomaly()"
        )


def _middle(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of the masks that an output of this size covers: all of it, or the middle, for a network without padding."""
    top, left = ((n - s) // 2 for n, s in zip(masks.shape[1:], size, strict=True))
    return np.ascontiguousarray(masks[:, top : top + size[0], left : left + size[1]])
