"""U-Net as it was published: valid convolutions, crops, 572 × 572 in and 388 × 388 out.

Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015: the drawing of figure 1, section 2 (architecture) and section 3
(initial values). To be read beside figure 1.

Departures, all of them where the paper is silent:

* dropout "at the end of the contracting path" has no rate there: here 0.5, after the last
  two steps of it (``dropout=0`` removes it);
* "cropping" takes the middle;
* biases start at zero.

Since no convolution looks beyond the border, an output pixel is a function of true pixels
only; the price is a margin of 92 pixels on each side, and few legal sizes: every pooling
must meet an even size, which holds for 188, 204, 220, ..., those with a remainder of 12
when divided by 16.
"""

from __future__ import annotations

from .. import functional as F
from .. import nn
from ..tensor import Tensor
from .common import center_crop, he_normal, widths

MARGIN = 184  # rows in minus rows out
SMALLEST = 188


def legal_size(size: int) -> bool:
    """Whether an image may have so many rows or columns."""
    return size >= SMALLEST and size % 16 == 12


def nearest_legal_sizes(size: int) -> tuple[int, int]:
    """The largest legal size that is not larger, and the smallest that is not smaller."""
    below = max(SMALLEST, (size - 12) // 16 * 16 + 12)
    return below, below if below >= size else below + 16


def pair_of_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Twice [3×3 convolution without padding, ReLU]: 4 rows and 4 columns fewer."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.ReLU(), nn.Conv2d(outputs, outputs, 3), nn.ReLU())


class UNetPaper(nn.Module):
    """U-Net as published: valid convolutions and crops, 572 → 388.

    Parameters
    ----------
    in_channels, num_classes : int
        The paper has 1 and 2.
    width : float
    dropout : float
        Probability, after the last two steps of the contracting path.
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
        """The fewest rows (or columns) of an image whose output has at least `size`."""
        return nearest_legal_sizes(size + MARGIN)[1]

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H − 184, W − 184).

        Raises
        ------
        ValueError
            If H or W is not one of 188, 204, 220, ...; names the nearest that are.
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
    """The middle of the skip connection, then the enlarged map, in the channel axis."""
    return F.cat([center_crop(skip, *x.shape[2:]), x], dim=1)
