"""Pictures: label maps, predictions beside the truth, training curves, the graph of a computation.

Matplotlib is imported when something is drawn with it, never before, and its global state
(``pyplot``) is not used: no window opens, no backend has to be chosen, threads may draw.
"""

from minisegnet.data.colours import class_palette, palette
from minisegnet.files import write_atomically
from minisegnet.viz.confusion import confusion
from minisegnet.viz.contact import contact_sheet
from minisegnet.viz.diagram import graph, graph_dot
from minisegnet.viz.gallery import Panel, gallery
from minisegnet.viz.insight import attribution, doubt, features, filters, trace
from minisegnet.viz.pictures import colourise, overlay, save_label_png
from minisegnet.viz.progress import curves
from minisegnet.viz.sheet import predictions

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
