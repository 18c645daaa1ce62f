"""DeepLab v3+: the pyramid of v3, and a decoder that recovers the boundaries.

Chen, Zhu, Papandreou, Schroff & Adam, "Encoder-Decoder with Atrous Separable Convolution for
Semantic Image Segmentation", ECCV 2018, figure 2. Parameter names are those of
segmentation_models.pytorch (``DeepLabV3Plus``), so that its checkpoints load. Departures from the paper, as in that
library:

* a ResNet instead of the modified Xception; no multi-grid;
* rates 12, 24, 36 at output stride 16 as well, where the paper has 6, 12, 18;
* an additional separable convolution after the pyramid, and one instead of two after the concatenation;
* no batch normalisation between the two halves of a separable convolution;
* bilinear interpolation aligns the corners.

Here a map is always interpolated to the size of the map that it is combined with, not by a factor. For multiples of
the output stride the result is the same, and any other size works as well.
"""

from __future__ import annotations

from .. import functional as F
from .. import nn
from ..tensor import Tensor
from .common import conv_norm_relu, resize, widths
from .deeplabv3 import ASPP, separable_norm_relu
from .resnet import ResNet


class Decoder(nn.Module):
    """Combine the enlarged map of the pyramid with a low-level map of fewer channels: 256 + 48 channels → 256."""

    def __init__(self, low_level: int, encoder: int, middle: int, reduced: int):
        self.aspp = nn.Sequential(ASPP(encoder, middle, (12, 24, 36), separable=True), *separable_norm_relu(middle, middle))
        self.block1 = conv_norm_relu(low_level, reduced, 1)
        self.block2 = separable_norm_relu(middle + reduced, middle)

    def forward(self, low_level: Tensor, x: Tensor) -> Tensor:
        x = resize(self.aspp(x), low_level.shape[2:], align_corners=True)
        return self.block2(F.cat([x, self.block1(low_level)], dim=1))


class DeepLabV3Plus(nn.Module):
    """DeepLab v3+ of segmentation_models.pytorch: atrous pyramid and a decoder; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    backbone : {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"}
    output_stride : {8, 16}
        The factor by which the pyramid's map is smaller than the image.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, backbone: str = "resnet34", output_stride: int = 16):
        c = widths(width)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.encoder = ResNet(backbone, in_channels, width, output_stride=output_stride)
        self.decoder = Decoder(self.encoder.channels[1], self.encoder.channels[-1], c(256), c(48))
        self.segmentation_head = nn.Sequential(nn.Conv2d(c(256), num_classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W).

        For 512 rows: 128 (low level) and 32 after the encoder, 128 after the decoder, then 512.
        """
        size = x.shape[2:]
        _, low_level, *_, coarse = self.encoder(x)
        return resize(self.segmentation_head(self.decoder(low_level, coarse)), size, align_corners=True)
