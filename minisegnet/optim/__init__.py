"""Optimisers and learning-rate schedules; names, arguments and defaults are PyTorch's."""

from . import lr_scheduler
from .lr_scheduler import CosineAnnealingLR, LinearWarmup, LRScheduler, PolynomialLR, StepLR
from .optimizer import SGD, Adam, AdamW, Optimizer, RMSprop, parameter_groups

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "LRScheduler",
    "LinearWarmup",
    "Optimizer",
    "PolynomialLR",
    "RMSprop",
    "StepLR",
    "lr_scheduler",
    "parameter_groups",
]
