"""ResNet: the backbone of most segmentation networks of 2016 to 2020.

He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.
A classifier shrinks its image by a factor of 32. For segmentation the last stages may keep the resolution: a stride
is removed, and the convolutions after it are dilated, so that each still sees the pixels that it was trained on
(Chen et al., DeepLab; Yu & Koltun).

============  ==============  =========================================
stage         rows of 224     layers
============  ==============  =========================================
conv1         112             7×7, stride 2 (and 3×3 max pooling: 56)
layer1        56              blocks of 64 channels
layer2        28              blocks of 128, the first with stride 2
layer3        14 (28)         blocks of 256 (output stride 8: dilation 2)
layer4        7 (14, 28)      blocks of 512 (dilation 2 or 4)
============  ==============  =========================================

The output of a `Bottleneck` block has four times these channels. Parameter names are torchvision's. The average
pooling and the fully connected layer of the classifier are left out.

Implementations with the same names and shapes differ in two details. Under the wrong choice a checkpoint loads
without an error and computes other outputs:

* `dilate_first`: whether the first block of a dilated stage is dilated like the others (semseg,
  segmentation_models.pytorch, DeepLab v2) or like the stage before (torchvision);
* `stride_in_1x1`: whether the stride of a bottleneck is in its first convolution (the paper, and Caffe's checkpoints)
  or in its 3×3 convolution (torchvision, semseg).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .. import nn
from ..tensor import Tensor
from .common import widths


def conv3x3(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A 3×3 convolution without bias whose output has ⌈H/stride⌉ rows."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)


def conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Option B of the paper: a 1×1 projection if the shapes differ, otherwise the identity (None)."""
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """``relu(x + F(x))``, F being two 3×3 convolutions; figure 5, left."""

    expansion = 1

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int, dilation: int, stride_in_1x1: bool):
        self.conv1 = conv3x3(inputs, middle, stride, dilation)
        self.bn1 = nn.BatchNorm2d(middle)
        self.relu = nn.ReLU()
        self.conv2 = conv3x3(middle, outputs, 1, dilation)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        residual = nn.chain(x, self.conv1, self.bn1, self.relu, self.conv2, self.bn2)
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """``relu(x + F(x))``, F being 1×1 down, 3×3, 1×1 up; figure 5, right."""

    expansion = 4

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int, dilation: int, stride_in_1x1: bool):
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = conv1x1(inputs, middle, first)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = conv3x3(middle, middle, second, dilation)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = conv1x1(middle, outputs)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        down = nn.chain(x, self.conv1, self.bn1, self.relu)
        residual = nn.chain(down, self.conv2, self.bn2, self.relu, self.conv3, self.bn3)
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


# name -> (block, number of blocks in layer1 ... layer4)
DEPTHS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


def make_layers(
    name: str, inputs: int, c: Callable[[int], int], output_stride: int, dilate_first: bool, stride_in_1x1: bool = False
) -> Iterator[tuple[nn.Sequential, int]]:
    """layer1 to layer4, each with its number of output channels.

    Parameters
    ----------
    name : str
        One of `DEPTHS`.
    inputs : int
        Channels of the input of layer1.
    c : function
        The width rule, `common.widths`.
    output_stride : {8, 16, 32}
        The factor by which the output of layer4 is smaller than the image.
    dilate_first, stride_in_1x1 : bool
        See the head of this module.

    Raises
    ------
    ValueError
        If there is no ResNet of this name, or the output stride is not 8, 16 or 32.
    """
    if name not in DEPTHS:
        raise ValueError(f"no backbone {name!r}: choose one of {', '.join(DEPTHS)}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride!r}")
    block, counts = DEPTHS[name]
    shrunk, dilation = 4, 1
    for number, count in enumerate(counts):
        planes = 64 * 2**number
        middle, outputs = c(planes), c(planes * block.expansion)
        stride, before = (1 if number == 0 else 2), dilation
        if shrunk * stride > output_stride:  # the stride becomes a dilation
            dilation, stride = dilation * stride, 1
        shrunk *= stride
        layer = nn.Sequential()
        for k in range(count):
            own = dilation if k or dilate_first else before
            layer.append(block(inputs, middle, outputs, 1 if k else stride, own, stride_in_1x1))
            inputs = outputs
        yield layer, outputs


class ResNet(nn.Module):
    """The convolutional part of a ResNet: from an image to a list of feature maps, fine to coarse.

    Parameters
    ----------
    name : {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"}
    in_channels : int
    width : float
    output_stride : {8, 16, 32}
        The factor by which the coarsest map is smaller than the image.
    dilate_first : bool
        Whether the first block of a dilated stage is dilated as well (torchvision: no).
    stride_in_1x1 : bool
        Whether the stride of a bottleneck is in its first convolution (torchvision: no).
    ceil_mode : bool
        Whether the max pooling rounds up (Caffe: yes).
    depth : int
        Number of stages to build, from 1 (only `conv1`) to 5 (all).

    Attributes
    ----------
    channels : list of int
        The channels of each map.
    """

    def __init__(
        self,
        name: str,
        in_channels: int,
        width: float = 1.0,
        *,
        output_stride: int = 32,
        dilate_first: bool = True,
        stride_in_1x1: bool = False,
        ceil_mode: bool = False,
        depth: int = 5,
    ):
        c = widths(width)
        self.conv1 = nn.Conv2d(in_channels, c(64), 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(c(64))
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=ceil_mode)
        self.channels, self.depth = [c(64)], depth
        layers = make_layers(name, c(64), c, output_stride, dilate_first, stride_in_1x1)
        for number, (layer, outputs) in zip(range(1, depth), layers, strict=False):
            self.add_module(f"layer{number}", layer)
            self.channels.append(outputs)
        self.apply(kaiming_fan_out)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, in_channels, H, W) → `depth` maps.

        With bottlenecks and width 1, 224 rows give maps of 64 channels and 112 rows, 256 and 56, 512 and 28, 1024 and
        14, 2048 and 7.
        """
        maps = [nn.chain(x, self.conv1, self.bn1, self.relu)]
        for number in range(1, self.depth):
            before = self.maxpool(maps[0]) if number == 1 else maps[-1]
            maps.append(self.get_submodule(f"layer{number}")(before))
        return maps


def kaiming_fan_out(module: nn.Module) -> None:
    """Initial values of the paper (section 3.4, He et al. 2015): normal with variance 2/fan out."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
