"""U-Net with a ResNet as its contracting path.

The contracting path of U-Net (Ronneberger et al., `unet_paper`) is replaced by a ResNet, which may be pretrained on a
larger data set. Parameter names are those of segmentation_models.pytorch (``Unet``), so that its checkpoints load.
Departures from the paper, as in that library:

* the first skip connection has half the resolution of the image, and the last step of the expanding path has none;
* maps are enlarged by repetition (nearest neighbour), not by up-convolutions;
* convolutions are padded and followed by batch normalisation, and there is no dropout;
* the convolution to the scores is 3×3.

Here each map is enlarged to the size of its skip connection, not by a factor of 2. For multiples of 32 the result is
the same, and any other size works as well.
"""

from __future__ import annotations

from .. import functional as F
from .. import nn
from ..tensor import Tensor
from .common import conv_norm_relu, widths
from .resnet import ResNet


class DecoderBlock(nn.Module):
    """Enlarge, append the skip connection if there is one, convolve twice."""

    def __init__(self, inputs: int, skip: int, outputs: int):
        self.conv1 = conv_norm_relu(inputs + skip, outputs, 3)
        self.conv2 = conv_norm_relu(outputs, outputs, 3)

    def forward(self, x: Tensor, size: tuple[int, int], skip: Tensor | None) -> Tensor:
        x = F.interpolate(x, size, mode="nearest")
        return self.conv2(self.conv1(x if skip is None else F.cat([x, skip], dim=1)))


class Decoder(nn.Module):
    """The expanding path: one block for each halving of the encoder."""

    def __init__(self, encoder: list[int], outputs: list[int]):
        skips = [*encoder[-2::-1], 0]  # coarse to fine; none for the last block
        inputs = [encoder[-1], *outputs]
        self.blocks = nn.ModuleList(DecoderBlock(i, s, o) for i, s, o in zip(inputs, skips, outputs, strict=False))

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        x, *skips = maps[::-1]
        sizes = [*(skip.shape[2:] for skip in skips), size]
        for block, rows_and_columns, skip in zip(self.blocks, sizes, [*skips, None], strict=True):
            x = block(x, rows_and_columns, skip)
        return x


class UNetResNet(nn.Module):
    """U-Net of segmentation_models.pytorch: a ResNet as contracting path; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    backbone : {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"}
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, backbone: str = "resnet34"):
        c = widths(width)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.encoder = ResNet(backbone, in_channels, width)
        self.decoder = Decoder(self.encoder.channels, [c(256), c(128), c(64), c(32), c(16)])
        self.segmentation_head = nn.Sequential(nn.Conv2d(c(16), num_classes, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W).

        256 rows become 128, 64, 32, 16, 8, and then 16, 32, 64, 128, 256 with 256, 128, 64, 32, 16 channels.
        """
        return self.segmentation_head(self.decoder(self.encoder(x), x.shape[2:]))
