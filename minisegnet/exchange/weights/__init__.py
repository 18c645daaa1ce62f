"""Weights from elsewhere: other libraries' names, and a report of what fitted; and the weights that come along."""

from pathlib import Path

from .layouts import LAYOUTS, Layout
from .pretrained import Entry, Report, load_pretrained

NUCLEI = Path(__file__).with_name("nuclei.safetensors")
"""The checkpoint that comes along: cell nuclei in fluorescence microscopy; see README.md beside it."""

__all__ = ["LAYOUTS", "NUCLEI", "Entry", "Layout", "Report", "load_pretrained"]
