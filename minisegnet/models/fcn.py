"""FCN-32s, FCN-16s and FCN-8s: a classifier turned into convolutions, whose scores are enlarged.

Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015
(and Shelhamer, Long & Darrell, TPAMI 2017), in the form of the authors' Caffe networks
(shelhamer/fcn.berkeleyvision.org, ``voc-fcn8s/net.py``), with their layer names.

VGG-16's fully connected layers become convolutions (7×7, 1×1), so an image of any size gives a coarse map of scores,
one score for 32 × 32 pixels. FCN-32s enlarges it in one step. FCN-16s first adds scores of pool4, and FCN-8s also
scores of pool3: the deep layers know what there is, the shallow ones know where.

Three details are surprising:

* conv1_1 is padded by **100**, so that even a single pixel is large enough for the 7×7 kernel of fc6;
* the pools round **up**;
* therefore the maps are not aligned, and crops by fixed **offsets** (5, 9, 31; 5, 27; 19) align them.

The transposed convolutions that enlarge are bilinear, connect class i to class i, and are **frozen**.

Departures: the initial values are He's, since there is no pretrained VGG here (the score layers start at zero, as in
the paper). The offsets of the crops are constants, not derived from the network.
"""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor
from . import vgg
from .common import crop, he_normal, widths

PADDING = 100


def enlarge(num_classes: int, factor: int) -> nn.ConvTranspose2d:
    """Bilinear interpolation by `factor` as a frozen transposed convolution: n rows → (n + 1)·factor."""
    layer = nn.ConvTranspose2d(num_classes, num_classes, 2 * factor, stride=factor, bias=False)
    nn.init.bilinear_(layer.weight)
    layer.requires_grad_(False)
    return layer


def cut(x: Tensor, size: tuple[int, int], offset: int) -> Tensor:
    """Caffe's crop: `size` rows and columns, starting at (offset, offset)."""
    return crop(x, size[0], size[1], offset, offset)


class FCN(nn.Module):
    """The common base of the three networks; `stride` determines the skip connections.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    at_once : bool
        Whether all skip connections are trained from the start instead of one after the other. The maps of pool4 and
        pool3 are then scaled by 0.01 and 0.0001, because their values are much larger than the others.
    """

    stride = 32

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, at_once: bool = False):
        c = widths(width)
        self.in_channels, self.num_classes, self.at_once = in_channels, num_classes, at_once
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5 = vgg.stages(in_channels, c)
        self.stage1[0].padding = (PADDING, PADDING)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.fc6 = nn.Sequential(nn.Conv2d(c(512), c(4096), 7), nn.ReLU(), nn.Dropout(0.5))
        self.fc7 = nn.Sequential(nn.Conv2d(c(4096), c(4096), 1), nn.ReLU(), nn.Dropout(0.5))
        self.apply(he_normal)
        self.score_fr = self._score(c(4096))
        if self.stride == 32:
            self.upscore = enlarge(num_classes, 32)
            return
        self.upscore2 = enlarge(num_classes, 2)
        self.score_pool4 = self._score(c(512))
        if self.stride == 16:
            self.upscore16 = enlarge(num_classes, 16)
            return
        self.upscore_pool4 = enlarge(num_classes, 2)
        self.score_pool3 = self._score(c(256))
        self.upscore8 = enlarge(num_classes, 8)

    def _score(self, inputs: int) -> nn.Conv2d:
        layer = nn.Conv2d(inputs, self.num_classes, 1)
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W), for any size."""
        size = x.shape[2:]
        #                                            channels, rows of 500
        x = self.pool(self.stage1(x))  #                    64, 349   (500 + 198, halved)
        x = self.pool(self.stage2(x))  #                   128, 175
        pool3 = self.pool(self.stage3(x))  #               256,  88
        pool4 = self.pool(self.stage4(pool3))  #           512,  44
        x = self.pool(self.stage5(pool4))  #               512,  22
        x = self.score_fr(self.fc7(self.fc6(x)))  # num_classes, 16
        if self.stride == 32:
            return cut(self.upscore(x), size, 19)  #      544 → 500
        x = self.upscore2(x)  #                    num_classes, 34
        x = x + cut(self.score_pool4(pool4 * 0.01 if self.at_once else pool4), x.shape[2:], 5)
        if self.stride == 16:
            return cut(self.upscore16(x), size, 27)  #    560 → 500
        x = self.upscore_pool4(x)  #               num_classes, 70
        x = x + cut(self.score_pool3(pool3 * 0.0001 if self.at_once else pool3), x.shape[2:], 9)
        return cut(self.upscore8(x), size, 31)  #         568 → 500


class FCN32s(FCN):
    """FCN-32s: VGG-16 as a convolution, scores enlarged 32 times; any input size."""

    stride = 32


class FCN16s(FCN):
    """FCN-16s: FCN-32s with scores of pool4 added; any input size."""

    stride = 16


class FCN8s(FCN):
    """FCN-8s: FCN-16s with scores of pool3 added; any input size."""

    stride = 8
