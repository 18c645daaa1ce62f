"""How good a segmentation is: figures from counted pixels, and figures of the boundaries.

`ConfusionMatrix` counts every pixel and has the figures that everybody reports; `CONVENTIONS` are the
ways in which their means are taken. `BoundaryIoU` and `BoundaryF1` look only at the contours, which a
mean over pixels hardly sees; `BoundaryErrors` tells errors near them from others. All of them take label maps one after the other and add in int64.
"""

from .boundary import BoundaryF1, BoundaryIoU
from .confusion import ConfusionMatrix
from .conventions import CONVENTIONS, Convention
from .errors import BoundaryErrors, near_boundary

__all__ = ["CONVENTIONS", "BoundaryErrors", "BoundaryF1", "BoundaryIoU", "ConfusionMatrix", "Convention", "near_boundary"]
