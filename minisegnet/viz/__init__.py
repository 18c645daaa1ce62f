"""Pictures: label maps, predictions beside the truth, training curves, the graph of a computation.

Matplotlib is imported only when something is drawn with it. Its global state (``pyplot``) is not used, so no
window opens, no backend has to be chosen, and several threads may draw at once.
"""

from .confusion import confusion
from .contact import contact_sheet
from .diagram import graph, graph_dot
from .gallery import Panel, gallery
from .insight import doubt, features, filters
from .overview import Overview
from .pictures import background_of, colourise, overlay, save_label_png
from .progress import curves
from .sheet import predictions

__all__ = [
    "Overview",
    "Panel",
    "background_of",
    "colourise",
    "confusion",
    "contact_sheet",
    "curves",
    "doubt",
    "features",
    "filters",
    "gallery",
    "graph",
    "graph_dot",
    "overlay",
    "predictions",
    "save_label_png",
]
