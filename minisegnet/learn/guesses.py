"""``ms.guess``: the reader predicts a result before seeing it."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np


class Guess:
    """A reader's prediction beside the truth. It prints as text; a notebook keeps the truth folded until there is a prediction.

    Attributes
    ----------
    right : bool
        Whether the prediction is right; False while there is none.
    """

    def __init__(self, question: str, mine: Any, truth: Any, within: float):
        self.question, self.mine, self.truth = question, mine, truth
        self.made = not (mine is None or mine is Ellipsis)
        self.right = self.made and _equal(mine, truth, within)
        self.within = within

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        if not self.made:
            return f"? {self.question}  Replace the three dots by your guess."
        near = f" (within a factor of {1 + self.within:g} counts)" if self.within and not self.right else ""
        return f"{'✓' if self.right else '✗'} {self.question}  Your guess: {_shown(self.mine)}. " + (
            "Right." if self.right else f"It is {_shown(self.truth)}{near}."
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if self.made:
            ink = "#1a7f37" if self.right else "#b2182b"
            return f'<div style="border-left:4px solid {ink};padding:2px 10px">{escape(str(self))}</div>'
        return (
            f'<div style="border-left:4px solid #666;padding:2px 10px"><b>?</b> {escape(self.question)} Replace the three dots by your guess.'
            f"<details><summary>Show the answer</summary>{escape(_shown(self.truth))}</details></div>"
        )


def guess(question: str, mine: Any, truth: Any, within: float = 0.0) -> Guess:
    """Ask for a prediction before the result is shown.

    Parameters
    ----------
    question : str
        What to predict, such as ``"The shape of y?"``.
    mine : object
        The reader's prediction: a number, a tuple, an array or a string. ``...`` says that there is none yet.
    truth : object
        The right value, computed in the notebook.
    within : float
        For a number, the relative error that still counts as right. With 1.0 a guess is right from half the truth to twice the truth.

    Returns
    -------
    Guess

    Examples
    --------
    >>> guess("The shape of y?", ..., (3, 3))
    ? The shape of y?  Replace the three dots by your guess.
    >>> guess("The shape of y?", (5, 5), (3, 3))
    ✗ The shape of y?  Your guess: (5, 5). It is (3, 3).
    >>> guess("How many weights?", 1000, 1200, within=0.5)
    ✓ How many weights?  Your guess: 1000. Right.
    """
    if within < 0:
        raise ValueError(f"within is a relative error, 0 or larger, and got {within}")
    return Guess(question, mine, truth, within)


def _equal(mine: Any, truth: Any, within: float) -> bool:
    if isinstance(mine, str) or isinstance(truth, str):
        return str(mine).strip().lower() == str(truth).strip().lower()
    try:
        a, b = np.asarray(mine, float), np.asarray(truth, float)
    except (TypeError, ValueError):
        return False
    if a.shape != b.shape:
        return False
    if within and a.ndim == 0:
        return bool(a * b > 0 and max(a / b, b / a) <= 1 + within)
    return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
