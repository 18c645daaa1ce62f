"""FCN on a dilated ResNet, as in torchvision, and the base class that it shares with `deeplabv3`.

Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, compute scores at
every place of a classifier's map and enlarge them. Their own networks, on VGG, are in `fcn`. This is the simplest
form of the idea on a later backbone. Parameter names are torchvision's (``fcn_resnet50``), so that its checkpoints
load. Departures from the paper:

* a ResNet whose last two stages are dilated: 1/8 of the resolution instead of 1/32;
* no skip connections: one head, [3×3 convolution, batch normalisation, ReLU, 1×1];
* the scores are enlarged by bilinear interpolation, without parameters;
* an optional auxiliary head on layer3, for training.
"""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor
from .common import conv_norm_relu, resize
from .resnet import ResNet


class FCNHead(nn.Sequential):
    """(N, inputs, H, W) → scores (N, num_classes, H, W), through a layer with a quarter of the channels."""

    def __init__(self, inputs: int, num_classes: int):
        middle = max(1, inputs // 4)
        super().__init__(*conv_norm_relu(inputs, middle, 3), nn.Dropout(0.1), nn.Conv2d(middle, num_classes, 1))


class BackboneAndHead(nn.Module):
    """A dilated ResNet with a head on its last map and, optionally, an auxiliary head on the map before it.

    Parameters
    ----------
    in_channels, num_classes : int
    backbone : ResNet
    classifier : Module
        The head: from the last map to scores.
    aux : bool
    """

    def __init__(self, in_channels: int, num_classes: int, backbone: ResNet, classifier: nn.Module, aux: bool):
        self.in_channels, self.num_classes = in_channels, num_classes
        self.backbone = backbone
        self.classifier = classifier
        self.aux_classifier = FCNHead(backbone.channels[-2], num_classes) if aux else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W); any size.

        In training with an auxiliary head, it returns a pair: these scores and the auxiliary scores, whose loss has
        weight 0.5 in torchvision's recipe.
        """
        size = x.shape[2:]
        *_, layer3, layer4 = self.backbone(x)  # both ⌈H/8⌉ rows
        scores = resize(self.classifier(layer4), size, align_corners=False)
        if self.aux_classifier is None or not self.training:
            return scores
        return scores, resize(self.aux_classifier(layer3), size, align_corners=False)


class FCNResNet(BackboneAndHead):
    """FCN of torchvision: a dilated ResNet, one head, scores enlarged 8 times; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    backbone : {"resnet50", "resnet101", ...}
    aux : bool
        Whether to add an auxiliary head on layer3. In training the network then returns two maps of scores.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, backbone: str = "resnet50", aux: bool = False):
        resnet = ResNet(backbone, in_channels, width, output_stride=8, dilate_first=False)
        super().__init__(in_channels, num_classes, resnet, FCNHead(resnet.channels[-1], num_classes), aux)
