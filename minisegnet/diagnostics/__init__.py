"""Why a network labels an image as it does, in numbers; results that are best seen have a method `draw`.

==============  ============================================================================
`layers`        the output of every layer
`attribution`   Seg-Grad-CAM: which places of an image raise the scores of a class
`pixel`         the path of one pixel through all layers, forwards and backwards
==============  ============================================================================
"""

from .attribution import Attribution, seg_grad_cam
from .layers import activations
from .pixel import PathStep, PixelPath, follow_pixel

__all__ = [
    "Attribution",
    "PathStep",
    "PixelPath",
    "activations",
    "follow_pixel",
    "seg_grad_cam",
]
