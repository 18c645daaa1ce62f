"""DeepLab v3: atrous spatial pyramid pooling at 1/8 of the resolution.

Chen, Papandreou, Schroff & Adam, "Rethinking Atrous Convolution for Semantic Image
Segmentation", arXiv:1706.05587, 2017, figure 5. Parameter names are torchvision's
(``deeplabv3_resnet50``), so that its checkpoints load. Departures from the paper, as in torchvision:

* no multi-grid: all convolutions of a dilated stage have the same rate, except that its first block has the rate of
  the stage before;
* rates 12, 24, 36 (the paper's for output stride 8) for every output stride;
* a 3×3 convolution and dropout between the pyramid and the scores;
* the scores are enlarged to the size of the image in training as well;
* an optional auxiliary head on layer3.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import functional as F
from .. import nn
from ..tensor import Tensor
from .common import conv_norm_relu, resize, widths
from .fcn_resnet import BackboneAndHead
from .resnet import ResNet


class ImagePooling(nn.Sequential):
    """The image-level feature: the mean of each channel and a 1×1 convolution, repeated over the whole map."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(nn.AdaptiveAvgPool2d(1), *conv_norm_relu(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return resize(super().forward(x), x.shape[2:], align_corners=False)  # one value: any interpolation is a copy


class SeparableConv(nn.Sequential):
    """A 3×3 convolution of each channel separately, then a 1×1 convolution that mixes the channels; no bias."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1):
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )


def separable_norm_relu(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """`SeparableConv`, batch normalisation, ReLU."""
    return nn.Sequential(SeparableConv(inputs, outputs, dilation), nn.BatchNorm2d(outputs), nn.ReLU())


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: five branches with different receptive fields on the same map.

    Parameters
    ----------
    inputs, outputs : int
        Channels. Each branch has `outputs` channels, and so has the projection of all five.
    rates : sequence of int
        Dilations of the 3×3 convolutions.
    separable : bool
        Whether these are depthwise separable (DeepLab v3+).
    """

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int], separable: bool = False):
        atrous = separable_norm_relu if separable else lambda i, o, rate: conv_norm_relu(i, o, 3, rate)
        windows = [conv_norm_relu(inputs, outputs, 1), *(atrous(inputs, outputs, rate) for rate in rates), ImagePooling(inputs, outputs)]
        self.convs = nn.ModuleList(windows)
        self.project = nn.Sequential(*conv_norm_relu(len(windows) * outputs, outputs, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H, W)."""
        return self.project(F.cat([window(x) for window in self.convs], dim=1))


class DeepLabHead(nn.Sequential):
    """Pyramid, 3×3 convolution, scores: 2048 → 256 → 256 → num_classes channels at width 1."""

    def __init__(self, inputs: int, middle: int, num_classes: int):
        super().__init__(ASPP(inputs, middle, (12, 24, 36)), *conv_norm_relu(middle, middle, 3), nn.Conv2d(middle, num_classes, 1))


class DeepLabV3(BackboneAndHead):
    """DeepLab v3 of torchvision: a dilated ResNet and a pyramid of atrous convolutions; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    backbone : {"resnet50", "resnet101", ...}
    aux : bool
        Whether to add an auxiliary head on layer3. In training the network then returns two maps of scores.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, backbone: str = "resnet50", aux: bool = False):
        resnet = ResNet(backbone, in_channels, width, output_stride=8, dilate_first=False)
        super().__init__(in_channels, num_classes, resnet, DeepLabHead(resnet.channels[-1], widths(width)(256), num_classes), aux)
