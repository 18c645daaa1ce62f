"""The U-Net of ``models/unet.py`` in PyTorch, layer by layer, with the same parameter names.

Benchmarks compare with it, and tests use it as a second oracle. No other file of the package imports PyTorch at its top.
"""

import torch
from torch import nn


def _double(inputs: int, outputs: int) -> nn.ModuleDict:
    layers: list[nn.Module] = []
    for a, b in ((inputs, outputs), (outputs, outputs)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.ModuleDict({"double_conv": nn.Sequential(*layers)})


class UNet(nn.Module):
    """(N, in_channels, H, W) → (N, num_classes, H, W), for H and W that are multiples of 16."""

    def __init__(self, in_channels: int, num_classes: int, width: float):
        super().__init__()
        c = [max(1, round(n * width)) for n in (64, 128, 256, 512, 1024)]
        self.inc = _double(in_channels, c[0])
        for k in range(4):
            down = nn.ModuleDict({"maxpool_conv": nn.Sequential(nn.MaxPool2d(2), _double(c[k], c[k + 1]))})
            self.add_module(f"down{k + 1}", down)
        for k in range(4):
            up = nn.ModuleDict({"up": nn.ConvTranspose2d(c[4 - k], c[3 - k], 2, stride=2), "conv": _double(2 * c[3 - k], c[3 - k])})
            self.add_module(f"up{k + 1}", up)
        self.outc = nn.ModuleDict({"conv": nn.Conv2d(c[0], num_classes, 1)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = [self.inc["double_conv"](x)]
        for k in range(1, 5):
            pool, double = getattr(self, f"down{k}")["maxpool_conv"]
            skips.append(double["double_conv"](pool(skips[-1])))
        x = skips.pop()
        for k in range(1, 5):
            up = getattr(self, f"up{k}")
            x = up["conv"]["double_conv"](torch.cat([skips.pop(), up["up"](x)], 1))
        return self.outc["conv"](x)
