"""A rung that the user chooses instead of the rule: `use_rung`, which users reach as ``ms.backend.use_rung``."""

from __future__ import annotations

from ...modes import Mode, Switch
from .table import find

_chosen: Mode[dict[str, str]] = Mode("rungs", {})  # equation: name of the rung


class use_rung(Switch):
    """Choose rungs of the convolution ladder by hand for the backend ``cuda``, for good or for a ``with`` block.

    Without it the rule in ``conv2d/kernel.py`` chooses; ``minisegnet ladder`` lists the rungs. A chosen rung gets every
    case of its equation, and a case that it does not serve is a `BackendError`.

    Parameters
    ----------
    forward, grad_input, grad_weight : str, optional
        The name of a rung, such as ``"winograd"``, for each equation; None leaves the choice to the rule.

    Raises
    ------
    KeyError
        If the equation has no rung of that name; the message lists those that it has.

    Examples
    --------
    >>> with use_rung(forward="winograd", grad_input="asynchronous"):
    ...     chosen_rung("conv2d.forward")
    'winograd'
    >>> chosen_rung("conv2d.forward")
    """

    def __init__(self, forward: str | None = None, *, grad_input: str | None = None, grad_weight: str | None = None):
        given = {"conv2d.forward": forward, "conv2d.grad_input": grad_input, "conv2d.grad_weight": grad_weight}
        super().__init__(_chosen, {equation: find(name, equation).name for equation, name in given.items() if name is not None})


def chosen_rung(equation: str) -> str | None:
    """The rung that `use_rung` chose for an equation; None if the rule chooses."""
    return _chosen.get().get(equation)
