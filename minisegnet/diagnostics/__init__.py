"""Why a network says what it says: numbers here, pictures of them in `viz`.

==============  ============================================================================
`layers`        the output of every layer; parameters at rest while gradients are taken
`attribution`   Seg-Grad-CAM: which places made the network say a class
`pixel`         the path of one pixel through all layers, forwards and back
==============  ============================================================================
"""

from .attribution import Attribution, seg_grad_cam
from .layers import activations
from .pixel import LayerTrace, PixelTrace, trace_pixel

__all__ = [
    "Attribution",
    "LayerTrace",
    "PixelTrace",
    "activations",
    "seg_grad_cam",
    "trace_pixel",
]
