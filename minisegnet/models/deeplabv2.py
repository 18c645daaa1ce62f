"""DeepLab v2: four atrous convolutions of one map, whose scores are added.

Chen, Papandreou, Kokkinos, Murphy & Yuille, "DeepLab: Semantic Image Segmentation with Deep
Convolutional Nets, Atrous Convolution, and Fully Connected CRFs", TPAMI 2018, section 3.2 and
figure 7 (DeepLab-ASPP-L on ResNet-101). The backbone has torchvision's layer names.

A dilated ResNet gives a map at 1/8 of the resolution. Four 3×3 convolutions with dilations 6, 12, 18 and 24 compute
scores from it. The scores are added and enlarged by bilinear interpolation. (v3 concatenates features where v2 adds
scores.)

As in the authors' Caffe network and unlike torchvision, the stride of a bottleneck is in its first convolution, all
blocks of a dilated stage are dilated, and the max pooling rounds up.

Departures: one scale instead of the maximum over three, no CRF, and batch normalisation is not frozen.
"""

from __future__ import annotations

from functools import reduce

from .. import nn
from ..tensor import Tensor
from .common import resize
from .resnet import ResNet

RATES = (6, 12, 18, 24)


def score_layer(inputs: int, num_classes: int, rate: int) -> nn.Conv2d:
    """A 3×3 atrous convolution to scores, with small initial weights."""
    layer = nn.Conv2d(inputs, num_classes, 3, padding=rate, dilation=rate)
    nn.init.normal_(layer.weight, std=0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class DeepLabV2(nn.Module):
    """DeepLab v2: a dilated ResNet and the sum of four atrous score layers; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    backbone : {"resnet50", "resnet101", ...}
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, backbone: str = "resnet101"):
        self.in_channels, self.num_classes = in_channels, num_classes
        self.backbone = ResNet(backbone, in_channels, width, output_stride=8, stride_in_1x1=True, ceil_mode=True)
        inputs = self.backbone.channels[-1]
        self.aspp = nn.ModuleList(score_layer(inputs, num_classes, rate) for rate in RATES)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W); rows of 321: 41 from the backbone, then 321."""
        features = self.backbone(x)[-1]
        scores = reduce(lambda total, layer: total + layer(features), self.aspp[1:], self.aspp[0](features))
        return resize(scores, x.shape[2:], align_corners=True)
