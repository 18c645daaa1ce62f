"""PSPNet: context for each pixel, averaged over regions of four sizes.

Zhao, Shi, Qi, Wang & Jia, "Pyramid Scene Parsing Network", CVPR 2017, figure 3, in two forms:

* `PSPNet` is the form of the first author's code (hszhao/semseg) and has its parameter names: a ResNet with a stem of
  three 3×3 convolutions at 1/8 of the resolution, 512 channels for each of four region sizes, a 3×3 convolution, and
  an optional auxiliary head on layer3.
* `PSPNetSMP` is the form of segmentation_models.pytorch (``PSPNet``): the first three stages of an ordinary ResNet
  and a 1×1 convolution, small enough for a laptop.

Both average over a grid of 1, 2, 3 and 6 regions per side and align the corners when they interpolate, which is why
semseg requires images of 8k + 1 rows. Here the scores are enlarged to the size of the image, whatever it is. A
checkpoint of segmentation_models.pytorch also contains the two stages of its encoder that are not used
(``encoder.layer3``, ``encoder.layer4``); they do not exist here.
"""

from __future__ import annotations

from .. import functional as F
from .. import nn
from ..tensor import Tensor
from .common import conv_norm_relu, resize, widths
from .resnet import ResNet, kaiming_fan_out, make_layers

BINS = (1, 2, 3, 6)


def region_means(bins: int, inputs: int, outputs: int) -> nn.Sequential:
    """Means over bins × bins regions, reduced to `outputs` channels. The layers are numbered 0 to 3, as in semseg."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(bins), *conv_norm_relu(inputs, outputs, 1))


class PyramidPooling(nn.Module):
    """The map itself, followed by its means over regions of four sizes: 2048 → 2048 + 4 · 512 channels."""

    def __init__(self, inputs: int, outputs: int):
        self.features = nn.ModuleList(region_means(bins, inputs, outputs) for bins in BINS)

    def forward(self, x: Tensor) -> Tensor:
        return F.cat([x, *(resize(pool(x), x.shape[2:], align_corners=True) for pool in self.features)], dim=1)


def head(inputs: int, middle: int, num_classes: int) -> nn.Sequential:
    """3×3 convolution, dropout of whole channels, 1×1 convolution to scores."""
    return nn.Sequential(*conv_norm_relu(inputs, middle, 3), nn.Dropout2d(0.1), nn.Conv2d(middle, num_classes, 1))


class PSPNet(nn.Module):
    """PSPNet of semseg: a dilated ResNet with pyramid pooling; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    backbone : {"resnet50", "resnet101", "resnet152"}
    aux : bool
        Whether to add an auxiliary head on layer3. In training the network then returns two maps of scores.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, backbone: str = "resnet50", aux: bool = False):
        c = widths(width)
        self.in_channels, self.num_classes = in_channels, num_classes
        stem = [nn.Conv2d(in_channels, c(64), 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(c(64)), nn.ReLU()]
        self.layer0 = nn.Sequential(*stem, *conv_norm_relu(c(64), c(64), 3), *conv_norm_relu(c(64), c(128), 3), nn.MaxPool2d(3, 2, 1))
        layers, channels = zip(*make_layers(backbone, c(128), c, output_stride=8, dilate_first=True), strict=True)
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.apply(kaiming_fan_out)
        self.ppm = PyramidPooling(channels[-1], c(512))
        self.cls = head(channels[-1] + len(BINS) * c(512), c(512), num_classes)
        self.aux = head(channels[-2], c(256), num_classes) if aux else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W).

        In training with an auxiliary head, it returns a pair: these scores and the auxiliary scores, whose loss has
        weight 0.4 in the paper.
        """
        size = x.shape[2:]
        #                                             channels, rows of 473
        x = self.layer2(self.layer1(self.layer0(x)))  #    512, 60
        layer3 = self.layer3(x)  #                        1024, 60
        x = self.ppm(self.layer4(layer3))  #    2048 + 4 · 512, 60
        scores = resize(self.cls(x), size, align_corners=True)
        if self.aux is None or not self.training:
            return scores
        return scores, resize(self.aux(layer3), size, align_corners=True)


class PSPBlock(nn.Module):
    """One pool of `PSPNetSMP`. The pool over the whole image has a bias and no batch normalisation."""

    def __init__(self, bins: int, inputs: int, outputs: int):
        reduce = conv_norm_relu(inputs, outputs, 1) if bins > 1 else nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.Identity(), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(bins), reduce)

    def forward(self, x: Tensor) -> Tensor:
        return resize(self.pool(x), x.shape[2:], align_corners=True)


class PSPModule(nn.Module):
    """The means of a map over regions of four sizes, followed by the map itself."""

    def __init__(self, inputs: int):
        self.blocks = nn.ModuleList(PSPBlock(bins, inputs, max(1, inputs // len(BINS))) for bins in BINS)

    def forward(self, x: Tensor) -> Tensor:
        return F.cat([*(block(x) for block in self.blocks), x], dim=1)


class PSPDecoder(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        self.psp = PSPModule(inputs)
        self.conv = conv_norm_relu(inputs + len(BINS) * max(1, inputs // len(BINS)), outputs, 1)
        self.dropout = nn.Dropout2d(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return nn.chain(x, self.psp, self.conv, self.dropout)


class PSPNetSMP(nn.Module):
    """PSPNet of segmentation_models.pytorch: three stages of a ResNet with pyramid pooling; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    backbone : {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"}
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, backbone: str = "resnet34"):
        c = widths(width)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.encoder = ResNet(backbone, in_channels, width, depth=3)
        self.decoder = PSPDecoder(self.encoder.channels[-1], c(512))
        self.segmentation_head = nn.Sequential(nn.Conv2d(c(512), num_classes, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W). For 512 rows: 64 after the encoder, then 512."""
        scores = self.segmentation_head(self.decoder(self.encoder(x)[-1]))
        return resize(scores, x.shape[2:], align_corners=True)
