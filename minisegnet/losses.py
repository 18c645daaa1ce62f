"""Losses. `CrossEntropyLoss` lives in `minisegnet.nn`, as in PyTorch, and is offered here too."""

from .nn.loss import CrossEntropyLoss

__all__ = ["CrossEntropyLoss"]
