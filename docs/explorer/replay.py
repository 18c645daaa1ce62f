"""The page that replays rung 2 of the ladder: what each warp reads and writes, step by step, as the emulator recorded it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from minisegnet_kernels import emulator
from minisegnet_kernels.conv2d.ladder import find

HERE = Path(__file__).parent
WARP = 32
ROWS, COLUMNS = 8, 32  # of x and of y: the tile of one block
HALO = (10, 34)  # the cells under it, for a 3 × 3 kernel


def record() -> tuple[Any, dict[str, int]]:
    """One launch of the tile kernel with every access, and what the emulator counted of it."""
    x = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(1, 1, ROWS, COLUMNS)
    w, b = np.ones((4, 1, 3, 3), np.float32), np.zeros(4, np.float32)
    with emulator.tracing() as traced, emulator.launches() as counted:
        find("tile").run(x, w, b, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1)
    return traced[0], counted[0].counters


def steps(launch: Any) -> list[list[list[Any]]]:
    """For each warp its requests in order: [interval, line, array, writes, lanes, elements].

    The accesses that the lanes of a warp make at one line, each for the same time, are one request.
    """
    times: Counter = Counter()
    order: dict[tuple, int] = {}
    warps: list[dict[tuple, tuple[list[int], list[int]]]] = [{} for _ in range(launch.block[0] // WARP)]
    for a in launch.accesses:
        line = int(a.line.rpartition(":")[2])
        same = (a.thread, line, a.array, a.write)
        lanes, elements = warps[a.thread // WARP].setdefault((a.interval, line, a.array, a.write, times[same]), ([], []))
        order.setdefault((a.interval, line, times[same]), len(order))
        times[same] += 1
        lanes.append(a.thread % WARP)
        elements.append(a.offset // a.size)

    def before(request: tuple) -> tuple:
        """A lane that copies a cell from outside of x reads nothing and writes 0: the reads of a line come before its writes."""
        (interval, line, _, write, time), _ = request
        return interval, order[interval, line, time], write

    return [
        [[interval, line, array, int(write), *found] for (interval, line, array, write, _), found in sorted(warp.items(), key=before)]
        for warp in warps
    ]


def contents() -> dict[str, Any]:
    """What the page knows."""
    launch, counters = record()
    lines = find("tile").path.read_text(encoding="utf-8").splitlines()
    first = next(k for k, line in enumerate(lines) if "__device__ void stage(" in line)
    kernel = next(k for k, line in enumerate(lines) if " conv2d_forward__tile(" in line)
    last = next(k for k in range(kernel, len(lines)) if lines[k] == "}")
    return {
        "warps": steps(launch),
        "counted": {"turns": counters["shared_wavefronts"], "sectors": counters["sectors"]},
        "halo": HALO,
        "tile": [ROWS, COLUMNS],
        "weights": 3 * 3 * 4,
        "first": first + 1,
        "code": lines[first : last + 1],
    }


def page() -> str:
    """The page, as HTML."""
    text = (HERE / "replay.html").read_text(encoding="utf-8")
    parts = {
        "STYLE": (HERE / "explorer.css").read_text(encoding="utf-8"),
        "DATA": json.dumps(contents(), separators=(",", ":")).replace("</", "<\\/"),
        "SCRIPT": "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("embed.js", "replay.js")),
    }
    for name, part in parts.items():
        text = text.replace(f"{{{{{name}}}}}", part)
    return text
