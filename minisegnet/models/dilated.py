"""The dilated network: dilation instead of the last two pools, and a module that gathers context.

Yu & Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016, sections 3 and
4 and table 1, in the form of the authors' Caffe networks (fyu/dilation, ``network.py`` and
``dilation8_pascal_voc_deploy.prototxt``), with their layer names.

The **front end** is VGG-16 without its last two pools. The layers after them are dilated instead (conv5 by 2, fc6 by
4), so the scores have 1/8 of the resolution. The **context module** maps scores to scores: 3×3 convolutions with
dilations 1, 1, 2, 4, 8, 16, 1, whose receptive field grows to 67 × 67 without loss of resolution, and a 1×1
convolution. Its initial weights make it the identity.

As published, only the first layer of the context module is padded, by 33 for all of its layers. 900 rows give 66,
with a margin of 186 on each side, which the authors fill by reflection. A frozen bilinear transposed convolution
enlarges 66 to 528. This is ``published=True``; it maps n rows to n − 372. By default each convolution has its own
padding and pools round up, so that an image of any size gives scores of the same size.

Departures: the initial values of the front end are He's, since there is no pretrained VGG here.
"""

from __future__ import annotations

import numpy as np

from .. import nn
from ..tensor import Tensor
from . import vgg
from .common import crop, he_normal, widths

MARGIN = 372  # rows in minus rows out, as published
DILATIONS = (1, 1, 2, 4, 8, 16, 1)
LARGE = (2, 2, 4, 8, 16, 32, 32)  # channels of the large context module, in multiples of the classes


class FrontEnd(nn.Module):
    """VGG-16 with dilation instead of its last two pools: scores at 1/8 of the resolution.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
    valid : bool
        Whether to use no padding: n rows → (n − 372)/8. Otherwise n → ⌈n/8⌉.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, valid: bool = False):
        c = widths(width)
        pad = (lambda reach: 0) if valid else (lambda reach: reach)
        plain = {"padding": pad(1)}
        self.stage1 = vgg.stage(1, in_channels, c, **plain)
        self.stage2 = vgg.stage(2, c(64), c, **plain)
        self.stage3 = vgg.stage(3, c(128), c, **plain)
        self.stage4 = vgg.stage(4, c(256), c, **plain)
        self.stage5 = vgg.stage(5, c(512), c, padding=pad(2), dilation=2)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.fc6 = nn.Sequential(nn.Conv2d(c(512), c(4096), 7, padding=pad(12), dilation=4), nn.ReLU(), nn.Dropout(0.5))
        self.fc7 = nn.Sequential(nn.Conv2d(c(4096), c(4096), 1), nn.ReLU(), nn.Dropout(0.5))
        self.final = nn.Conv2d(c(4096), num_classes, 1)
        self.apply(he_normal)

    def forward(self, x: Tensor) -> Tensor:
        #                                            channels, rows of 900 (as published)
        x = self.pool(self.stage1(x))  #                    64, 448
        x = self.pool(self.stage2(x))  #                   128, 222
        x = self.pool(self.stage3(x))  #                   256, 108
        x = self.stage5(self.stage4(x))  #                 512, 102, then 90
        return self.final(self.fc7(self.fc6(x)))  # num_classes, 66


class ContextModule(nn.Sequential):
    """Map scores to scores of the same size, each computed from 67 × 67 others.

    Parameters
    ----------
    num_classes : int
    large : bool
        Whether every layer has more channels (table 1, "large").
    padded_at_once : bool
        Whether all padding, 33, comes before the first layer, as published; otherwise each layer has its own.
    """

    def __init__(self, num_classes: int, large: bool = False, padded_at_once: bool = False):
        names = ("conv1_1", "conv1_2", "conv2_1", "conv3_1", "conv4_1", "conv5_1", "fc1")
        sizes = [num_classes, *(num_classes * (factor if large else 1) for factor in LARGE)]
        modules: dict[str, nn.Module] = {}
        for k, (name, dilation) in enumerate(zip(names, DILATIONS, strict=True)):
            padding = dilation if not padded_at_once else sum(DILATIONS) if k == 0 else 0
            modules[f"ctx_{name}"] = nn.Conv2d(sizes[k], sizes[k + 1], 3, padding=padding, dilation=dilation)
            modules[f"ctx_relu_{name}"] = nn.ReLU()
        modules["ctx_final"] = nn.Conv2d(sizes[-1], num_classes, 1)
        super().__init__(modules)
        for module in self:
            if isinstance(module, nn.Conv2d):
                identity_(module, num_classes, noise=0.01 if large else 0.0)


def identity_(layer: nn.Conv2d, classes: int, noise: float = 0.0) -> None:
    """Set a layer's weights to the identity: section 4, equations (4) and (5) of the paper.

    The channels are divided equally among the C classes. Between an input and an output of the same class, the centre
    of the kernel is C/c', where c' is the number of output channels. All other weights are normal with a deviation of
    `noise` times that value. The factors of all layers multiply to 1.
    """
    outputs, inputs, rows, columns = layer.weight.shape
    value = classes / outputs
    nn.init.zeros_(layer.weight)
    if noise:
        nn.init.normal_(layer.weight, std=noise * value)
    same = np.arange(outputs)[:, None] * classes // outputs == np.arange(inputs) * classes // inputs
    centre = layer.weight.array[:, :, rows // 2, columns // 2]
    centre[same] = value
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Dilated(nn.Module):
    """Dilated network of Yu & Koltun: VGG-16 at 1/8 of the resolution and a context module; any input size.

    Parameters
    ----------
    in_channels, num_classes : int
    width : float
        Width of the front end; the channels of the context module are those of the classes.
    context : {"basic", "large", None}
    published : bool
        Whether to omit the padding, so that n rows become n − 372; see the head of this module.
    """

    def __init__(self, in_channels: int, num_classes: int, width: float = 1.0, *, context: str | None = "basic", published: bool = False):
        if context not in ("basic", "large", None):
            raise ValueError(f'context must be "basic", "large" or None, got {context!r}')
        self.in_channels, self.num_classes, self.published = in_channels, num_classes, published
        self.front_end = FrontEnd(in_channels, num_classes, width, valid=published)
        self.context = ContextModule(num_classes, context == "large", padded_at_once=published) if context else nn.Identity()
        # Each class is enlarged separately: 16×16, stride 8, n rows → 8n.
        self.upsample = nn.ConvTranspose2d(num_classes, num_classes, 16, stride=8, padding=4, groups=num_classes, bias=False)
        nn.init.bilinear_(self.upsample.weight)
        self.upsample.requires_grad_(False)

    def size_for(self, size: int) -> int:
        """The smallest number of rows (or columns) of an image whose output has at least `size`."""
        return MARGIN + 8 * max(1, -(-size // 8)) if self.published else size

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) → scores (N, num_classes, H, W), or (N, num_classes, H − 372, W − 372) as published.

        Raises
        ------
        ValueError
            With ``published=True``, if H or W is not 372 plus a multiple of 8.
        """
        if self.published and x.ndim == 4 and any(n <= MARGIN or (n - MARGIN) % 8 for n in x.shape[2:]):
            raise ValueError(
                f"dilated: as published, rows and columns must be 380, 388, ... (372 plus a multiple of 8), got {x.shape[2]} × {x.shape[3]}"
            )
        size = tuple(n - MARGIN if self.published else n for n in x.shape[2:])
        return crop(self.upsample(self.context(self.front_end(x))), *size)
