"""The version of the library: read by the build, by checkpoints, by exported files and by ``minisegnet --version``."""

__version__ = "0.1.0"
