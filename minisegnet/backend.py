"""``ms.backend``: which program of a formula runs; for convolutions also which rung of the ladder, and whether in TF32.

The switches come from `minisegnet_kernels.backends`, which knows no operation, and from convolution's ladder.
"""

from minisegnet_kernels.backends import (
    NAMES,
    Availability,
    BackendError,
    available,
    computes,
    current,
    device_of,
    gpu_count,
    use,
)
from minisegnet_kernels.conv2d.ladder import allow_tf32, chosen_rung, tf32_allowed, use_rung

__all__ = [
    "NAMES",
    "Availability",
    "BackendError",
    "allow_tf32",
    "available",
    "chosen_rung",
    "computes",
    "current",
    "device_of",
    "gpu_count",
    "tf32_allowed",
    "use",
    "use_rung",
]
