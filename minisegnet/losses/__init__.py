"""Losses: how wrong the scores of the pixels are.

Each loss is a module, called as ``loss(scores, labels)`` with logits (N, C, H, W) and integers (N, H, W).
`CrossEntropyLoss` belongs to `minisegnet.nn`, as in PyTorch, and can be imported from here as well. `create` makes a
loss from its name.
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
