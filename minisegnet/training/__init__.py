"""Training: `fit` and what goes with it."""

from .average import ExponentialMovingAverage
from .capture import CapturedStep, CaptureError
from .evaluation import evaluate
from .history import DivergedError, History, Interrupted
from .loop import fit, train_segmentation_network

__all__ = [
    "CaptureError",
    "CapturedStep",
    "DivergedError",
    "ExponentialMovingAverage",
    "History",
    "Interrupted",
    "evaluate",
    "fit",
    "train_segmentation_network",
]
