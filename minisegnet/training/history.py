"""The results of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

from ..metrics import ConfusionMatrix


@dataclass
class History:
    """The course of a run.

    Attributes
    ----------
    rows : list of dict
        One for each step: ``step``, ``loss``, ``lr``, ``seconds``; with clipping ``grad_norm``, the norm before it; after an
        evaluation ``val_loss``, the means ``val_iou`` and ``val_dice``, and ``val_iou_CLASS``.
    confusion : ConfusionMatrix or None
        The confusion matrix of the last evaluation.
    score_name : str
        Name of the figure by which checkpoints are compared.
    best_score, best_step : float, int
        Its best value and the step of that evaluation; NaN and 0 before the first evaluation.
    stopped_early : bool
        Whether the run ended because `patience` evaluations in a row brought no improvement.
    out : Path or None
        The folder of the run.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    confusion: ConfusionMatrix | None = None
    score_name: str = ""
    best_score: float = float("nan")
    best_step: int = 0
    stopped_early: bool = False
    out: Path | None = None

    @property
    def losses(self) -> list[float]:
        """The loss of each step."""
        return [row["loss"] for row in self.rows]

    @property
    def seconds(self) -> float:
        """Time spent, evaluations included."""
        return self.rows[-1]["seconds"] if self.rows else 0.0

    @property
    def step(self) -> int:
        """Steps done."""
        return self.rows[-1]["step"] if self.rows else 0

    @property
    def stale(self) -> int:
        """Evaluations since the best one."""
        return sum("val_loss" in row and row["step"] > self.best_step for row in self.rows)

    def __str__(self) -> str:
        if not self.rows:
            return "no step done"
        text = f"{self.step} steps in {self.seconds:.1f} s, loss {self.rows[-1]['loss']:.4f}" + ", stopped early" * self.stopped_early
        return text + (f", best {self.score_name} {self.best_score:.4f} at step {self.best_step}" if self.best_step else "")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM between two steps, after everything was saved.

    Attributes
    ----------
    history : History
    signal : signal.Signals
    """

    def __init__(self, history: History, signal: Signals = Signals.SIGINT):
        where = f" The checkpoint is {history.out / 'last.safetensors'}." if history.out and history.rows else ""
        super().__init__(f"stopped after step {history.step}.{where}")
        self.history, self.signal = history, signal


class DivergedError(FloatingPointError):
    """The loss or the weights are no longer finite numbers; training cannot go on."""
