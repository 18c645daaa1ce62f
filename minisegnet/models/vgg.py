"""VGG-16's thirteen convolutions: the backbone of the first segmentation networks.

Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, table 1, column
D. FCN, SegNet, DeconvNet and the dilated network all begin with it. They differ in how they pad, pool and normalise,
so what they share is a stage, not the whole backbone.

=====  ========  ============  ====================================
stage  channels  convolutions  names
=====  ========  ============  ====================================
1      64        2             conv1_1, conv1_2
2      128       2             conv2_1, conv2_2
3      256       3             conv3_1, conv3_2, conv3_3
4      512       3             conv4_1, conv4_2, conv4_3
5      512       3             conv5_1, conv5_2, conv5_3
=====  ========  ============  ====================================

Pretrained weights expect images prepared as in the program that trained them. Caffe's networks expect BGR, 0 to 255,
minus the mean (104.00699, 116.66877, 122.67892).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from .. import nn

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)


def units(names: Sequence[str], sizes: Sequence[int], *, norm: bool = False, make: Callable[..., nn.Module] = nn.Conv2d, **options: Any):
    """A sequence of [3×3 convolution with bias, batch normalisation if `norm`, ReLU], one for each name.

    Parameters
    ----------
    names : sequence of str
        ``"1_1"`` makes conv1_1, bn1_1, relu1_1.
    sizes : sequence of int
        Channels before the first unit and after each unit.
    norm : bool
    make : class
        ``nn.Conv2d``, or ``nn.ConvTranspose2d``, whose layers are named deconv, debn, derelu.
    **options
        Options of the convolution; ``padding=1`` by default.

    Returns
    -------
    Sequential
    """
    options = {"padding": 1, **options}
    de = "de" if make is nn.ConvTranspose2d else ""
    modules: dict[str, nn.Module] = {}
    for name, (inputs, outputs) in zip(names, pairwise(sizes), strict=True):
        modules[f"{de}conv{name}"] = make(inputs, outputs, 3, **options)
        if norm:
            modules[f"{de}bn{name}"] = nn.BatchNorm2d(outputs)
        modules[f"{de}relu{name}"] = nn.ReLU()
    return nn.Sequential(modules)


def stage(number: int, inputs: int, c: Callable[[int], int], **options: Any) -> nn.Sequential:
    """One of the stages 1 to 5: (N, inputs, H, W) → (N, c(channels), H, W); options as in `units`."""
    count, channels = CONVOLUTIONS[number - 1], c(CHANNELS[number - 1])
    return units([f"{number}_{k}" for k in range(1, count + 1)], [inputs, *[channels] * count], **options)


def stages(in_channels: int, c: Callable[[int], int], **options: Any) -> list[nn.Sequential]:
    """All five stages, with the same options."""
    inputs = [in_channels, *(c(channels) for channels in CHANNELS)]
    return [stage(number, inputs[number - 1], c, **options) for number in range(1, 6)]
