"""U-Net as it was published: valid convolutions, crops, 572 × 572 in and 388 × 388 out.

Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015: figure 1, section 2 (architecture) and section 3 (initial values). Read it beside figure 1.

Where the paper does not say, this file chooses:

* dropout "at the end of the contracting path" has probability 0.5 and follows the last two steps (``dropout=0``
  removes it);
* "cropping" takes the middle;
* biases start at zero.

No convolution reads beyond the border, so an output pixel depends on pixels of the image only. The price is a margin
of 92 pixels on each side and few legal sizes: every pool needs an even size, which is the case for 188, 204, 220, ...,
the sizes that are 12 modulo 16.
"""

from __future__ import annotations

from .. import functional as F
from .. import nn
from ..tensor import Tensor
from .common import center_crop, he_normal, widths

MARGIN = 184  # rows in minus rows out
SMALLEST = 188


def legal_size(size: int) -> bool:
    """Whether an image may have this number of rows or columns."""
    return size >= SMALLEST and size % 16 == 12


def nearest_legal_sizes(size: int) -> tuple[int, int]:
    """The largest legal size up to `size`, and the smallest from `size` on."""
    below = max(SMALLEST, (size - 12) // 16 * 16 + 12)
    return below, below if below >= size else below + 16


def pair_of_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Twice [3×3 convolution without padding, ReLU], which removes 4 rows and 4 columns."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.ReLU(), nn.Conv2d(outputs, outputs, 3), nn.ReLU())


class UNetPaper(nn.Module):
    """U-Net as published: valid convolutions and crops, 572 → 388.

    Parameters
    ----------
    in_channels, num_classes : int
        1 and 2 in the paper.
    width : float
    dropout : float
        Probability of the dropout after the last two steps of the contracting path.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, dropout: float = 0.5):
        c = widths(width)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.contract1 = pair_of_convolutions(in_channels, c(64))
        self.contract2 = pair_of_convolutions(c(64), c(128))
        self.contract3 = pair_of_convolutions(c(128), c(256))
        self.contract4 = pair_of_convolutions(c(256), c(512))
        self.contract5 = pair_of_convolutions(c(512), c(1024))
        self.up4 = nn.ConvTranspose2d(c(1024), c(512), 2, stride=2)
        self.expand4 = pair_of_convolutions(2 * c(512), c(512))
        self.up3 = nn.ConvTranspose2d(c(512), c(256), 2, stride=2)
        self.expand3 = pair_of_convolutions(2 * c(256), c(256))
        self.up2 = nn.ConvTranspose2d(c(256), c(128), 2, stride=2)
        self.expand2 = pair_of_convolutions(2 * c(128), c(128))
        self.up1 = nn.ConvTranspose2d(c(128), c(64), 2, stride=2)
        self.expand1 = pair_of_convolutions(2 * c(64), c(64))
        self.out = nn.Conv2d(c(64), num_classes, 1)
        self.apply(he_normal)  # section 3

    @staticmethod
    def size_for(size: int) -> int:
        """The smallest number of rows (or columns) of an image whose output has at least `size`."""
        return nearest_legal_sizes(size + MARGIN)[1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H − 184, W − 184).

        Raises
        ------
        ValueError
            If H or W is not one of 188, 204, 220, ...; names the nearest legal sizes.
        """
        if x.ndim == 4 and not all(map(legal_size, x.shape[2:])):
            near = " and ".join(
                f"{name} {' or '.join(map(str, sorted(set(nearest_legal_sizes(n)))))}"
                for name, n in zip(("rows", "columns"), x.shape[2:], strict=True)
                if not legal_size(n)
            )
            raise ValueError(
                f"unet_paper: rows and columns must be 188, 204, 220, ... (12 modulo 16), got {x.shape[2]} × {x.shape[3]}. Nearest: {near}. Pad by reflection (nn.ReflectionPad2d) or crop"
            )
        #                                              channels, rows
        x1 = self.contract1(x)  #                            64, 568
        x2 = self.contract2(self.pool(x1))  #               128, 280
        x3 = self.contract3(self.pool(x2))  #               256, 136
        x4 = self.dropout(self.contract4(self.pool(x3)))  # 512,  64
        x5 = self.dropout(self.contract5(self.pool(x4)))  # 1024, 28
        x = self.expand4(join(x4, self.up4(x5)))  #         512,  52   (2 × 28 − 4)
        x = self.expand3(join(x3, self.up3(x)))  #          256, 100
        x = self.expand2(join(x2, self.up2(x)))  #          128, 196
        x = self.expand1(join(x1, self.up1(x)))  #           64, 388
        return self.out(x)  #                       num_classes, 388


def join(skip: Tensor, x: Tensor) -> Tensor:
    """Concatenate the middle of the skip connection and the enlarged map along the channels."""
    return F.cat([center_crop(skip, *x.shape[2:]), x], dim=1)
