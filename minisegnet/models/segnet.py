"""SegNet and SegNet-Basic: the decoder gets only the positions of the maxima from the encoder.

Badrinarayanan, Kendall & Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for
Image Segmentation", TPAMI 2017, figures 2 and 3, in the form of the authors' Caffe networks
(alexgkendall/SegNet-Tutorial, ``Models/segnet_train.prototxt``, ``segnet_basic_train.prototxt``).
The layer names are theirs.

A pool keeps the index of each maximum. The decoder's unpool writes a value to that pixel and zeros around it, and
convolutions fill the gaps. Pools round up, and each unpool gets the size to restore: 360 rows become 180, 90, 45, 23,
12 and return through the same sizes. Therefore any size works.

Departures: in evaluation, batch normalisation uses running averages. (The authors' Caffe layer had none; the
statistics were computed over the training set afterwards and folded into the weights.)
"""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor
from . import vgg
from .common import he_normal, widths


def caffe_initial_values(module: nn.Module) -> None:
    """He's normal ("msra") for convolutions; batch normalisation starts with scale 1 and shift 0.001."""
    he_normal(module)
    if isinstance(module, nn.BatchNorm2d) and module.bias is not None:
        nn.init.constant_(module.bias, 0.001)


class SegNet(nn.Module):
    """SegNet: VGG-16's convolutions, and their mirror image with unpools; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0):
        c = widths(width)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5 = vgg.stages(in_channels, c, norm=True)
        self.pool = nn.MaxPool2d(2, return_indices=True, ceil_mode=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.stage5_D = vgg.units(["5_3_D", "5_2_D", "5_1_D"], [c(512)] * 4, norm=True)
        self.stage4_D = vgg.units(["4_3_D", "4_2_D", "4_1_D"], [c(512)] * 3 + [c(256)], norm=True)
        self.stage3_D = vgg.units(["3_3_D", "3_2_D", "3_1_D"], [c(256)] * 3 + [c(128)], norm=True)
        self.stage2_D = vgg.units(["2_2_D", "2_1_D"], [c(128), c(128), c(64)], norm=True)
        self.stage1_D = vgg.units(["1_2_D"], [c(64), c(64)], norm=True)
        self.conv1_1_D = nn.Conv2d(c(64), num_classes, 3, padding=1)
        self.apply(caffe_initial_values)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W)."""
        kept = []
        # 64, 128, 256, 512, 512 channels; 360, 180, 90, 45, 23 rows, and 12 after the last pool
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4, self.stage5):
            x = stage(x)
            size = x.shape[2:]
            x, indices = self.pool(x)
            kept.append((indices, size))
        # 23, 45, 90, 180, 360 rows; 512, 256, 128, 64, 64 channels
        for stage in (self.stage5_D, self.stage4_D, self.stage3_D, self.stage2_D, self.stage1_D):
            x = stage(self.unpool(x, *kept.pop()))
        return self.conv1_1_D(x)


class SegNetBasic(nn.Module):
    """SegNet-Basic: four 7×7 convolutions down and four up, 64 channels each; any input size.

    Local response normalisation comes first, and there is no ReLU in the decoder.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0):
        channels = widths(width)(64)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.pool = nn.MaxPool2d(2, return_indices=True, ceil_mode=True)
        self.unpool = nn.MaxUnpool2d(2)
        for level in (1, 2, 3, 4):
            inputs = in_channels if level == 1 else channels
            unit = {"conv": nn.Conv2d(inputs, channels, 7, padding=3), "bn": nn.BatchNorm2d(channels), "relu": nn.ReLU()}
            self.add_module(f"encode{level}", nn.Sequential(unit))
        for level in (4, 3, 2, 1):
            unit = {"conv": nn.Conv2d(channels, channels, 7, padding=3), "bn": nn.BatchNorm2d(channels)}
            self.add_module(f"decode{level}", nn.Sequential(unit))
        self.conv_classifier = nn.Conv2d(channels, num_classes, 1)
        self.apply(caffe_initial_values)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W).

        360 rows become 180, 90, 45, 23 and return through the same sizes.
        """
        kept = []
        x = self.norm(x)
        for level in (1, 2, 3, 4):
            x = self.get_submodule(f"encode{level}")(x)
            size = x.shape[2:]
            x, indices = self.pool(x)
            kept.append((indices, size))
        for level in (4, 3, 2, 1):
            x = self.get_submodule(f"decode{level}")(self.unpool(x, *kept.pop()))
        return self.conv_classifier(x)
