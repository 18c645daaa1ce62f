"""``python tests/support/tf32_error.py`` prints the errors quoted by ``allow_tf32`` and by the headers of the ladder."""

import numpy as np

from minisegnet_kernels import backends
from minisegnet_kernels.conv2d.ladder import find
from minisegnet_kernels.layout import channels_last

GEOMETRY = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


def errors(channels: int = 64) -> dict[str, tuple[float, float]]:
    """For each rung that serves this number of channels: (largest error / largest output, RMS error / RMS output)."""
    from minisegnet_kernels import conv2d

    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((1, channels, 16, 16), (32, channels, 3, 3)))
    b = np.zeros(32, np.float32)
    with backends.use("numpy"):
        exact = conv2d.forward(*(a.astype(np.float64) for a in (x, w, b)), padding=1)
    found = {}
    for name in ("direct", "winograd", "tf32", "tf32_tuned") if channels % 4 == 0 else ("direct", "winograd", "tf32"):
        error = find(name).run(channels_last(x), w, b, **GEOMETRY) - exact
        found[name] = (np.abs(error).max() / np.abs(exact).max(), float(np.sqrt((error**2).mean() / (exact**2).mean())))
    return found


if __name__ == "__main__":
    for channels in (1, 64):
        for name, (largest, mean) in errors(channels).items():
            print(f"{channels:2} channels  {name:12} largest {largest:.1e}   root mean square {mean:.1e}")
