"""minisegnet: how a segmentation network works, from the formula down to the GPU."""

__version__ = "0.1.0"
