"""One mean IoU, five answers: what published numbers do with a class that is not there.

The counts are the same for everybody. Benchmarks part where a class has no IoU (0/0: it is neither in
the truth nor predicted), and where a pixel is given no class at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Convention:
    """How the figures of the classes become one.

    Attributes
    ----------
    name : str
    absent : {"left out", "nan", "zero"}
        What a class whose figure is 0/0 does to the mean: nothing; makes it NaN; counts as 0.
    may_abstain : bool
        Whether a prediction may be `ignore_index`. Where the truth is a class, that is a miss (FN) of
        this class and a false alarm of none.
    source : str
        Who computes it in this way.
    """

    name: str
    absent: Literal["left out", "nan", "zero"]
    may_abstain: bool
    source: str

    def mean(self, figures: np.ndarray) -> float:
        """The mean of the figures of the classes, float (K,), in which NaN stands for 0/0."""
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
        If there is none of this name; lists those that there are.
    """
    if name not in CONVENTIONS:
        raise ValueError(f"convention is one of {', '.join(map(repr, CONVENTIONS))}, not {name!r}")
    return CONVENTIONS[name]
