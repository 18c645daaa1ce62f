"""The page on which a reader drags the regions of the labelling formula over an image of nuclei."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

import minisegnet as ms
from minisegnet.learn import mathml
from minisegnet.learn.formulas import formula
from minisegnet_kernels import registry

HERE = Path(__file__).parent
SIDE, TOP, LEFT = 128, 192, 0  # of the field of nuclei in the package, a corner with 15 of them
#: Regions for which the page compares its label map with the library's.
CHECKED = {"intervals": [[30], [60], [120]], "prototypes": [[20, 25, 100, 90], [10, 10, 60, 30], [90, 90, 40, 40]]}


def crop() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grey values, the mean of the 7 × 7 pixels around each, and the true class, (128, 128) each, as bytes."""
    field, instances = ms.data.nuclei_field()
    padded = np.pad(field.astype(np.float64), 3, mode="reflect")
    around = sum(padded[u : u + field.shape[0], v : v + field.shape[1]] for u in range(7) for v in range(7)) / 49
    window = np.s_[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    return field[window], np.rint(around[window]).astype(np.uint8), (instances[window] > 0).astype(np.uint8)


def labels(kind: str, values: list[int]) -> np.ndarray:
    """The label map by NumPy's program of the equation."""
    grey, around, _ = (a.astype(np.float64) for a in crop())
    if kind == "intervals":
        regions = np.array([[0.0, values[0]], [values[0], 256.0]])
        found, _ = registry.get("label.intervals").program("numpy")(grey[None], regions, np.array([0, 1]), default=None)
    else:
        points = np.array([values[:2], values[2:]], float)
        found, _ = registry.get("label.prototypes").program("numpy")(np.stack([grey, around])[None], points, np.array([0, 1]), default=None)
    return found[0]


def contents() -> dict:
    """What the page knows: pixels as base64, and the counts of found, missed and false pixels for some regions."""
    grey, around, truth = crop()
    golden = []
    for kind, choices in CHECKED.items():
        for values in choices:
            found = labels(kind, values)
            hit, miss, wrong = (int(part.sum()) for part in (found & truth, truth & (1 - found), found & (1 - truth)))
            golden.append({"kind": kind, "values": values, "hit": hit, "miss": miss, "wrong": wrong})
    pixels = {name: base64.b64encode(a.tobytes()).decode() for name, a in (("grey", grey), ("around", around), ("truth", truth))}
    return {"side": SIDE, **pixels, "golden": golden}


def page(links: str) -> str:
    """The page, as HTML."""
    text = (HERE / "nuclei.html").read_text(encoding="utf-8")
    shown = {
        kind: "".join(f"<span>{mathml.statement(s)}</span>" for s in formula(f"label.{kind}").statements if s.name != "o")
        for kind in CHECKED
    }
    parts = {
        "STYLE": (HERE / "explorer.css").read_text(encoding="utf-8"),
        "PAGES": links,
        "FORMULA": "".join(f'<span class="long" data-kind="{kind}">{math}</span>' for kind, math in shown.items()),
        "DATA": json.dumps(contents(), separators=(",", ":")),
        "SCRIPT": "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("embed.js", "nuclei.js")),
    }
    for name, part in parts.items():
        text = text.replace(f"{{{{{name}}}}}", part)
    return text
