"""U-Net as it is used today: padded, with batch normalisation.

The U is from Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI
2015; `unet_paper` follows their drawing exactly. This file has the changes that have become usual:

* convolutions are padded by 1, so the output has the size of the input;
* each convolution is followed by batch normalisation and therefore has no bias;
* an enlarged map that is a pixel smaller than its skip connection is padded with zeros, so any size from 16 pixels on
  works;
* no dropout, and PyTorch's default initial values.

Parameter names are those of milesial/Pytorch-UNet, so that its checkpoints load.
"""

from __future__ import annotations

from .. import functional as F
from .. import nn
from ..tensor import Tensor
from .common import widths


class DoubleConv(nn.Module):
    """Twice [3×3 convolution, batch normalisation, ReLU]: (N, inputs, H, W) → (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, middle: int | None = None):
        middle = middle or outputs
        self.double_conv = nn.Sequential(
            nn.Conv2d(inputs, middle, 3, padding=1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.double_conv(x)


class Down(nn.Module):
    """Halve, then convolve: (N, inputs, H, W) → (N, outputs, ⌊H/2⌋, ⌊W/2⌋)."""

    def __init__(self, inputs: int, outputs: int):
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.maxpool_conv(x)


class Up(nn.Module):
    """Double the size, prepend the skip connection, convolve: the skip's rows and columns, `outputs` channels."""

    def __init__(self, below: int, skip: int, outputs: int, bilinear: bool):
        if bilinear:  # interpolation keeps the channels; the first convolution reduces them
            self.up: nn.Module = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(skip + below, outputs, (skip + below) // 2)
        else:
            self.up = nn.ConvTranspose2d(below, skip, 2, stride=2)
            self.conv = DoubleConv(skip + skip, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        rows, columns = (s - n for s, n in zip(skip.shape[2:], x.shape[2:], strict=True))  # 0 or 1
        if rows or columns:
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return self.conv(F.cat([skip, x], dim=1))


class OutConv(nn.Module):
    """From features to class scores, pixel by pixel."""

    def __init__(self, inputs: int, outputs: int):
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class UNet(nn.Module):
    """U-Net as used today: padded, with batch normalisation; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    bilinear : bool
        Whether to enlarge by interpolation instead of a transposed convolution, which needs fewer parameters.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, bilinear: bool = False):
        c = widths(width)
        half = 2 if bilinear else 1
        self.in_channels, self.num_classes, self.bilinear = in_channels, num_classes, bilinear
        self.inc = DoubleConv(in_channels, c(64))
        self.down1 = Down(c(64), c(128))
        self.down2 = Down(c(128), c(256))
        self.down3 = Down(c(256), c(512))
        self.down4 = Down(c(512), c(1024 // half))
        self.up1 = Up(c(1024 // half), c(512), c(512 // half), bilinear)
        self.up2 = Up(c(512 // half), c(256), c(256 // half), bilinear)
        self.up3 = Up(c(256 // half), c(128), c(128 // half), bilinear)
        self.up4 = Up(c(128 // half), c(64), c(64), bilinear)
        self.outc = OutConv(c(64), num_classes)

    @staticmethod
    def size_for(size: int) -> int:
        """The smallest number of rows (or columns) of an image whose output has at least `size`."""
        return max(size, 16)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W).

        Raises
        ------
        ValueError
            If the image is smaller than 16 × 16: it is halved four times.
        """
        if x.ndim == 4 and min(x.shape[2:]) < 16:
            raise ValueError(
                f"unet: the image must have at least 16 × 16 pixels (it is halved four times), got {x.shape[2]} × {x.shape[3]}"
            )
        #                               channels, rows   (width 1, 256 rows)
        x1 = self.inc(x)  #                   64, 256
        x2 = self.down1(x1)  #               128, 128
        x3 = self.down2(x2)  #               256,  64
        x4 = self.down3(x3)  #               512,  32
        x5 = self.down4(x4)  #              1024,  16   (512 if bilinear)
        x = self.up1(x5, x4)  #              512,  32   (256)
        x = self.up2(x, x3)  #               256,  64   (128)
        x = self.up3(x, x2)  #               128, 128   (64)
        x = self.up4(x, x1)  #                64, 256
        return self.outc(x)  #       num_classes, 256
