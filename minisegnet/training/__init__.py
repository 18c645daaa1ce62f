"""Training: `fit` and what goes with it."""

from .evaluation import evaluate
from .history import DivergedError, History, Interrupted
from .loop import fit, train_segmentation_network

__all__ = ["DivergedError", "History", "Interrupted", "evaluate", "fit", "train_segmentation_network"]
