"""Five ways to compute a mean IoU from the same counts.

Benchmarks agree on the counts. They differ in how they treat a class without an IoU (0/0: it is neither in the
truth nor predicted), and a pixel for which no class is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Convention:
    """How the values of the classes are averaged.

    Attributes
    ----------
    name : str
    absent : {"left out", "nan", "zero"}
        What happens to a class whose value is 0/0: it is left out, it makes the mean NaN, or it counts as 0.
    may_abstain : bool
        Whether a prediction may be `ignore_index`. Such a pixel is a false negative of its true class and a false
        positive of none.
    source : str
        Who averages in this way.
    """

    name: str
    absent: Literal["left out", "nan", "zero"]
    may_abstain: bool
    source: str

    def mean(self, figures: np.ndarray) -> float:
        """The mean of the values of the classes, float (K,), in which NaN stands for 0/0."""
        if self.absent == "zero":
            figures = np.nan_to_num(figures, nan=0.0)
        elif self.absent == "left out":
            figures = figures[~np.isnan(figures)]
        return float(figures.mean()) if figures.size else float("nan")


CONVENTIONS: dict[str, Convention] = {
    c.name: c
    for c in (
        Convention("nanmean", "left out", False, "torchmetrics, mmsegmentation and most papers; the default here"),
        Convention("fcn", "left out", False, "Long et al., CVPR 2015, score.py: as nanmean; reported with the frequency-weighted IoU"),
        Convention("voc", "nan", False, "Pascal VOC development kit, VOCevalseg.m: the plain mean of all 21 classes"),
        Convention("cityscapes", "left out", True, "cityscapesScripts, evalPixelLevelSemanticLabeling.py"),
        Convention(
            "segnet", "zero", False, "Badrinarayanan et al., PAMI 2017, compute_test_results.m: always divided by the number of classes"
        ),
    )
}


def convention(name: str) -> Convention:
    """A convention by its name.

    Raises
    ------
    ValueError
        If there is no convention of this name; lists all names.
    """
    if name not in CONVENTIONS:
        raise ValueError(f"convention is one of {', '.join(map(repr, CONVENTIONS))}, not {name!r}")
    return CONVENTIONS[name]
