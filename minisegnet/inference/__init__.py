"""From an image to its labels: as a whole, in tiles, with augmentation, with a measure of uncertainty.

=================  ==========================================================================
`whole`            the network of a checkpoint; scores and labels of whole images
`tiling`           an image cut into overlapping tiles whose scores are blended: plain NumPy
`large`            images of any size in bounded memory, from file to file
`augmented`        scores averaged over flips and scales
`objects`          connected pieces of a class: numbered, measured, outlined
`uncertainty`      confidence, entropy, margin; Monte Carlo dropout
`speed`            frames per second
=================  ==========================================================================
"""

from ..nn.modes import evaluating
from .augmented import augmented_scores
from .large import LargeImage, predict_within, segment_large, tiled_scores
from .objects import Object, find_objects, measure_objects
from .speed import Speed, frames_per_second
from .tiling import Tiling, blend, tiling_for
from .uncertainty import Dropouts, confidence, entropy, margin, monte_carlo_dropout
from .whole import MISSING, load_model, predict, prepare, scores, segment_image, segment_prepared

__all__ = [
    "MISSING",
    "Dropouts",
    "LargeImage",
    "Object",
    "Speed",
    "Tiling",
    "augmented_scores",
    "blend",
    "confidence",
    "entropy",
    "evaluating",
    "find_objects",
    "frames_per_second",
    "load_model",
    "margin",
    "measure_objects",
    "monte_carlo_dropout",
    "predict",
    "predict_within",
    "prepare",
    "scores",
    "segment_image",
    "segment_large",
    "segment_prepared",
    "tiled_scores",
    "tiling_for",
]
