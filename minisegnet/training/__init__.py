"""Training: `fit`, its `Recipe`, and the evaluation of a network.

Only `Recipe` is imported at once, because the command line needs it for ``--help``; the other names follow at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .recipe import Recipe

if TYPE_CHECKING:
    from .average import ExponentialMovingAverage
    from .capture import CapturedStep, CaptureError
    from .evaluation import evaluate
    from .history import DivergedError, History, Interrupted
    from .loop import fit, train_segmentation_network

_FILES = {
    "CapturedStep": "capture",
    "CaptureError": "capture",
    "DivergedError": "history",
    "ExponentialMovingAverage": "average",
    "History": "history",
    "Interrupted": "history",
    "evaluate": "evaluation",
    "fit": "loop",
    "train_segmentation_network": "loop",
}

__all__ = [
    "CaptureError",
    "CapturedStep",
    "DivergedError",
    "ExponentialMovingAverage",
    "History",
    "Interrupted",
    "Recipe",
    "evaluate",
    "fit",
    "train_segmentation_network",
]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{_FILES[name]}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
