"""Pictures: label maps, predictions beside the truth, training curves, the graph of a computation.

Matplotlib is imported when something is drawn with it, never before, and its global state
(``pyplot``) is not used: no window opens, no backend has to be chosen, threads may draw.
"""

from ..data.colours import class_palette, palette
from ..files import write_atomically
from .confusion import confusion
from .contact import contact_sheet
from .diagram import graph, graph_dot
from .gallery import Panel, gallery
from .insight import attribution, doubt, features, filters, trace
from .pictures import colourise, overlay, save_label_png
from .progress import curves
from .sheet import predictions

__all__ = [
    "Panel",
    "attribution",
    "class_palette",
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
    "palette",
    "predictions",
    "save_label_png",
    "trace",
    "write_atomically",
]
