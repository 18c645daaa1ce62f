"""How good a segmentation is: metrics from counted pixels, and metrics of the boundaries.

`ConfusionMatrix` counts every pixel and computes the usual metrics; `CONVENTIONS` lists the ways in which their
means are taken. `BoundaryIoU` and `BoundaryF1` look only at the contours, which hardly matter in a mean over
pixels. `BoundaryErrors` separates errors near a boundary from others. `PerImage` keeps the images apart. All of them accumulate label
maps, with counts in int64.
"""

from .boundary import BoundaryF1, BoundaryIoU
from .confusion import ConfusionMatrix
from .conventions import CONVENTIONS, Convention
from .errors import BoundaryErrors, near_boundary
from .images import PerImage

__all__ = ["CONVENTIONS", "BoundaryErrors", "BoundaryF1", "BoundaryIoU", "ConfusionMatrix", "Convention", "PerImage", "near_boundary"]
