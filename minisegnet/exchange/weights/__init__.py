"""Weights of other libraries, loaded with a report of every tensor; and the weights that come with the library."""

from pathlib import Path

from .layouts import LAYOUTS, Layout
from .pretrained import Entry, Report, load_pretrained

NUCLEI = Path(__file__).with_name("nuclei.safetensors")
"""The checkpoint that comes with the library: cell nuclei in fluorescence microscopy; see README.md beside it."""

__all__ = ["LAYOUTS", "NUCLEI", "Entry", "Layout", "Report", "load_pretrained"]
