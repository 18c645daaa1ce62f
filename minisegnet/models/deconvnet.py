"""DeconvNet: a classifier that shrinks the image to a single vector, followed by its mirror image.

Noh, Hong & Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015, figure 2,
in the form of the authors' Caffe network (HyeonwooNoh/DeconvNet,
``DeconvNet_inference_deploy.prototxt``), with its layer names.

VGG-16 with batch normalisation shrinks an object proposal of 224 × 224 pixels to one vector (fc7). A 7×7 transposed
convolution, unpools with the indices of the encoder's pools, and 3×3 transposed convolutions build the scores from it.
Every layer has batch normalisation.

Departures:

* one image instead of the sum over object proposals, and no training in two stages;
* any size from 193 rows on: pools round up, and each unpool gets the size to restore. An image larger than 224 gives a
  coarse map of vectors instead of a single one;
* `bottleneck` sets the kernel size of fc6, for smaller images: 4 for 128 rows;
* the initial values of all layers are He's, not normal with deviation 0.01; batch normalisation removes the scale.
"""

from __future__ import annotations

from functools import partial

from .. import nn
from ..tensor import Tensor
from . import vgg
from .common import widths
from .segnet import caffe_initial_values


class DeconvNet(nn.Module):
    """DeconvNet: VGG-16 down to a vector and its mirror image back up; images of at least 193 rows.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    bottleneck : int
        Kernel size of fc6, 1/32 of the smallest image.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, bottleneck: int = 7):
        c = widths(width)
        self.in_channels, self.num_classes, self.bottleneck = in_channels, num_classes, bottleneck
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5 = vgg.stages(in_channels, c, norm=True)
        self.pool = nn.MaxPool2d(2, return_indices=True, ceil_mode=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.fc6 = nn.Sequential(nn.Conv2d(c(512), c(4096), bottleneck), nn.BatchNorm2d(c(4096)), nn.ReLU())
        self.fc7 = nn.Sequential(nn.Conv2d(c(4096), c(4096), 1), nn.BatchNorm2d(c(4096)), nn.ReLU())
        self.fc6_deconv = nn.Sequential(nn.ConvTranspose2d(c(4096), c(512), bottleneck), nn.BatchNorm2d(c(512)), nn.ReLU())
        up = partial(vgg.units, norm=True, make=nn.ConvTranspose2d)
        self.destage5 = up(["5_1", "5_2", "5_3"], [c(512)] * 4)
        self.destage4 = up(["4_1", "4_2", "4_3"], [c(512)] * 3 + [c(256)])
        self.destage3 = up(["3_1", "3_2", "3_3"], [c(256)] * 3 + [c(128)])
        self.destage2 = up(["2_1", "2_2"], [c(128), c(128), c(64)])
        self.destage1 = up(["1_1", "1_2"], [c(64)] * 3)
        self.seg_score = nn.Conv2d(c(64), num_classes, 1)
        self.apply(caffe_initial_values)

    def size_for(self, size: int) -> int:
        """The smallest number of rows (or columns) of an image whose output has at least `size`."""
        return max(size, 32 * self.bottleneck - 31)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W).

        Raises
        ------
        ValueError
            If fewer than `bottleneck` rows or columns remain at fc6.
        """
        least = self.size_for(1)
        if x.ndim == 4 and min(x.shape[2:]) < least:
            raise ValueError(
                f"deconvnet: the image must have at least {least} × {least} pixels for bottleneck={self.bottleneck}, "
                f"got {x.shape[2]} × {x.shape[3]}; bottleneck={max(1, -(-min(x.shape[2:]) // 32))} takes this one"
            )
        kept = []
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4, self.stage5):
            x = stage(x)  # 64, 128, 256, 512, 512 channels and 224, 112, 56, 28, 14 rows
            size = x.shape[2:]
            x, indices = self.pool(x)
            kept.append((indices, size))
        #                                                      channels, rows
        x = self.fc7(self.fc6(x))  #                               4096,    1
        x = self.fc6_deconv(x)  #                                   512,    7
        for stage in (self.destage5, self.destage4, self.destage3, self.destage2, self.destage1):
            x = stage(self.unpool(x, *kept.pop()))  # 512, 256, 128, 64, 64 channels and 14, 28, 56, 112, 224 rows
        return self.seg_score(x)
