"""Networks by name: ``create("unet", in_channels=3, num_classes=2, width=0.25)``.

`width` multiplies the channels of every layer, ``c(x) = max(1, round(x·width))``, except those of the image and of
the classes. The architecture stays the same and becomes small enough for a laptop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from ..nn import Module
from .article import ArticleNetwork1, ArticleNetwork2
from .deconvnet import DeconvNet
from .deeplabv2 import DeepLabV2
from .deeplabv3 import DeepLabV3
from .deeplabv3plus import DeepLabV3Plus
from .dilated import Dilated
from .fcn import FCN8s, FCN16s, FCN32s
from .fcn_resnet import FCNResNet
from .pspnet import PSPNet, PSPNetSMP
from .receptive import measured_receptive_field, receptive_field
from .segnet import SegNet, SegNetBasic
from .summary import summary
from .unet import UNet
from .unet_paper import UNetPaper
from .unet_resnet import UNetResNet

__all__ = ["create", "list_models", "measured_receptive_field", "receptive_field", "summary"]

# name -> a class whose arguments begin with (in_channels, num_classes, width)
_MODELS: dict[str, Callable[..., Module]] = {
    "article1": ArticleNetwork1,
    "article2": ArticleNetwork2,
    "deconvnet": DeconvNet,
    "deeplabv2": DeepLabV2,
    "deeplabv3": DeepLabV3,
    "deeplabv3plus": DeepLabV3Plus,
    "dilated": Dilated,
    "fcn32s": FCN32s,
    "fcn16s": FCN16s,
    "fcn8s": FCN8s,
    "fcn_resnet": FCNResNet,
    "pspnet": PSPNet,
    "pspnet_smp": PSPNetSMP,
    "segnet": SegNet,
    "segnet_basic": SegNetBasic,
    "unet": UNet,
    "unet_paper": UNetPaper,
    "unet_resnet": UNetResNet,
}


def list_models() -> dict[str, str]:
    """The name of each network that `create` can make, with a one-line description."""
    return {name: (model.__doc__ or "").strip().splitlines()[0] for name, model in _MODELS.items()}


def create(name: str, in_channels: int = 3, num_classes: int = 2, width: float = 1.0, **options: Any) -> Module:
    """Make a network with new random weights.

    Parameters
    ----------
    name : str
        One of `list_models`.
    in_channels : int
        Channels of the image: 1 for grey, 3 for colour.
    num_classes : int
        Background included.
    width : float
        Multiplies the channels of every layer.
    **options
        Options of the network's class.

    Returns
    -------
    Module
        Maps (N, in_channels, H, W) to scores (logits), (N, num_classes, H', W'). Its attribute `recipe` contains the
        arguments of this call. A checkpoint stores it, so that the network can be built again.

    Raises
    ------
    ValueError
        If there is no network of this name, or a number is not positive.
    TypeError
        If the network does not take an option.
    """
    if name not in _MODELS:
        near = get_close_matches(name, _MODELS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no model {name!r}: {hint}There are {', '.join(_MODELS)}")
    if in_channels < 1 or num_classes < 1 or not 0 < width < math.inf:
        raise ValueError(f"in_channels, num_classes and width must be positive and finite, got {in_channels}, {num_classes}, {width}")
    network = _MODELS[name](in_channels, num_classes, width, **options)
    network.recipe = {"name": name, "in_channels": in_channels, "num_classes": num_classes, "width": width, **options}
    return network
