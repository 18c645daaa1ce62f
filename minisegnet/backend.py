"""``ms.backend``: which program of a formula runs, and which rung of the convolution ladder.

The switches are those of `minisegnet_kernels.backends`, which knows no operation, and `use_rung` of convolution.
"""

from minisegnet_kernels.backends import (
    NAMES,
    Availability,
    BackendError,
    allow_tf32,
    available,
    current,
    device_of,
    gpu_count,
    tf32_allowed,
    use,
)
from minisegnet_kernels.conv2d.ladder import chosen_rung, use_rung

__all__ = [
    "NAMES",
    "Availability",
    "BackendError",
    "allow_tf32",
    "available",
    "chosen_rung",
    "current",
    "device_of",
    "gpu_count",
    "tf32_allowed",
    "use",
    "use_rung",
]
