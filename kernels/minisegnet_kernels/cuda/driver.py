"""Questions to the NVIDIA driver, without any package."""

from __future__ import annotations

import ctypes
import os
from functools import cache


@cache
def device_count() -> int:
    """GPUs that the driver knows; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0
