"""The two networks of the article on which this library is based, as printed and repaired.

The article gives one network in PyTorch and one in Keras. Both contain mistakes that are instructive, so both exist
here as printed and in a repaired form.

**The first** has eleven blocks [3×3 convolution, batch normalisation, ReLU] at full resolution and a 1×1 convolution
to the classes.

* It never shrinks the image: an output pixel sees 23 × 23 input pixels, and a 256 × 256 image costs 3.3 · 10¹²
  multiplications. This is why encoders exist.
* As printed, the last layer is such a block as well. With batch normalisation and ReLU, the class scores cannot be
  negative. Repaired, the last layer is only a convolution.

**The second** has eleven such blocks with stride 2 and then one transposed convolution.

* As printed, 256 rows have become 1 row after eight blocks, and the output is 2 × 2. (The printed program does not
  run: the transposed convolution gets the keywords ``num_filters`` and ``filter_size``, and ``Reshape`` two unknown
  sizes. Here the keywords mean what they should, and ``Reshape`` is left out.)
* Repaired, it has the same twelve layers with the same channels and the same number of parameters. The last six are
  transposed convolutions that mirror the first six, so the output has the size of the input, and the last one is
  only a convolution.
"""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor
from .common import crop, widths

CHANNELS = (64, 128, 256, 512, 1024, 2048, 1024, 512, 256, 128, 64)


class ConvLayer(nn.Sequential):
    """Convolution, batch normalisation and ReLU, or only the convolution if `plain`."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, padding: int, plain: bool = False):
        super().__init__({"conv": nn.Conv2d(inputs, outputs, kernel_size, 1, padding)})
        if not plain:
            self.bn = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU()


class ArticleNetwork1(nn.Sequential):
    """The article's first network: eleven blocks at full resolution and a 1×1 convolution.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    as_printed : bool
        Whether to apply batch normalisation and ReLU to the class scores as well.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, as_printed: bool = False):
        c = widths(width)
        sizes = [in_channels, *map(c, CHANNELS)]
        #        (N, sizes[k], H, W) → (N, sizes[k + 1], H, W)
        blocks = {f"conv{k + 1}": ConvLayer(sizes[k], sizes[k + 1], 3, 1) for k in range(11)}
        super().__init__({**blocks, "conv12": ConvLayer(sizes[-1], num_classes, 1, 0, plain=not as_printed)})
        self.in_channels, self.num_classes, self.as_printed = in_channels, num_classes, as_printed


def keras_norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with Keras' defaults: eps 0.001, and a running average that keeps 0.99 of its old value."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class ConvBlock(nn.Sequential):
    """3×3 convolution with stride 2 and TensorFlow's "same" padding, batch normalisation, ReLU: H → ⌈H/2⌉.

    For an even H this padding is one row at the bottom and none at the top, unlike ``padding=1``.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__({"conv": nn.Conv2d(inputs, outputs, 3, 2, "same"), "bn": keras_norm(outputs), "relu": nn.ReLU()})


class UpBlock(nn.Module):
    """The mirror of `ConvBlock`: a transposed 3×3 convolution with stride 2, ⌈H/2⌉ → H.

    The convolution that it mirrors reads 2·⌈H/2⌉ + 1 rows: its input and the padding, of which the smaller half is at
    the top. The transposed convolution writes all of these rows, and the padding is cut off.
    """

    def __init__(self, inputs: int, outputs: int, plain: bool = False):
        self.conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2)
        self.after = nn.Sequential() if plain else nn.Sequential({"bn": keras_norm(outputs), "relu": nn.ReLU()})

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = self.conv(x)
        top, left = ((full - wanted) // 2 for full, wanted in zip(x.shape[2:], size, strict=True))
        return self.after(crop(x, *size, top, left))


class ArticleNetwork2(nn.Module):
    """The article's second network: stride 2 in every layer, repaired to return the size of the input.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    as_printed : bool
        Whether to use eleven shrinking blocks and one that doubles the size: the output is 2 × 2 for up to 2048 rows.
    glorot : bool
        Whether to use the initial values of Keras (Glorot uniform, zero biases) instead of PyTorch's.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, as_printed: bool = False, glorot: bool = True):
        c = widths(width)
        sizes = [in_channels, *map(c, CHANNELS)]
        self.in_channels, self.num_classes, self.as_printed = in_channels, num_classes, as_printed
        depth = 11 if as_printed else 6
        self.down = nn.ModuleList(ConvBlock(sizes[k], sizes[k + 1]) for k in range(depth))
        self.up = nn.ModuleList(UpBlock(sizes[k], sizes[k + 1]) for k in range(depth, 11))
        self.up.append(UpBlock(sizes[-1], num_classes, plain=True))
        if glorot:
            self.apply(glorot_uniform)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W).

        Rows, from 256: 128, 64, 32, 16, 8, 4 down and 8, 16, 32, 64, 128, 256 up. As printed:
        128, 64, 32, 16, 8, 4, 2, 1, 1, 1, 1 down and 2 up.
        """
        sizes = []
        for block in self.down:
            sizes.append(x.shape[2:])
            x = block(x)
        if self.as_printed:
            sizes = [(2 * x.shape[2], 2 * x.shape[3])]
        for block, size in zip(self.up, reversed(sizes), strict=True):
            x = block(x, size)
        return x


def glorot_uniform(module: nn.Module) -> None:
    """Keras' default: uniform with variance 2/(fan_in + fan_out), biases zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
