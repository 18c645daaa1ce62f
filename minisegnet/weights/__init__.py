"""Weights from elsewhere: other libraries' names, and a report of what fitted."""

from .layouts import LAYOUTS, Layout
from .pretrained import Entry, Report, load_pretrained

__all__ = ["LAYOUTS", "Entry", "Layout", "Report", "load_pretrained"]
