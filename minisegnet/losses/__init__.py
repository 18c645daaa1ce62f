"""Losses: how wrong the scores of each pixel are.

Each is a module, called as ``loss(scores, labels)`` with logits (N, C, H, W) and integers (N, H, W). `CrossEntropyLoss`
lives in `minisegnet.nn`, as in PyTorch, and is offered here too. `create` makes one from its name.
"""

from ..nn.loss import CrossEntropyLoss
from .boundary import BoundaryWeightedCrossEntropyLoss, unet_weight_map
from .combined import AuxiliaryLoss, WeightedSum
from .create import create, list_losses
from .hard import FocalLoss, OhemCrossEntropyLoss
from .region import DiceLoss, LovaszSoftmaxLoss, lovasz_extension
from .weights import class_weights

__all__ = [
    "AuxiliaryLoss",
    "BoundaryWeightedCrossEntropyLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "LovaszSoftmaxLoss",
    "OhemCrossEntropyLoss",
    "WeightedSum",
    "class_weights",
    "create",
    "list_losses",
    "lovasz_extension",
    "unet_weight_map",
]
