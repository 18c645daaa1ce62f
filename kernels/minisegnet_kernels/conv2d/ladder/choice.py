"""What a user decides instead of the rule: which rung runs (`use_rung`), and whether tensor cores may round (`allow_tf32`).

Users reach both through ``ms.backend``.
"""

from __future__ import annotations

import numpy as np

from ...modes import Mode, Switch
from .table import find

_tf32: Mode[bool] = Mode("tf32", True)
_chosen: Mode[dict[str, str]] = Mode("rungs", {})  # equation: name of the rung


class use_rung(Switch):
    """Choose rungs of the convolution ladder by hand for the backend ``cuda``: from now on, or in a ``with`` block.

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


class allow_tf32(Switch):
    """Allow or forbid tensor cores for float32 convolutions of the backend ``cuda``: from now on, or in a ``with`` block.

    They are allowed by default, as in PyTorch (``torch.backends.cudnn.allow_tf32``). A tensor core rounds inputs and
    weights to TF32 (8 bits of exponent, 10 of fraction) and adds the products in float32. The emulator rounds in the
    same way. float64 is never rounded, and no other operation uses TF32.

    The price, measured in the emulator for a 3 × 3 convolution of 64 channels with normally distributed inputs and
    weights: the largest error is 2.9e-4 of the largest output (0.7e-6 without TF32), and the errors' root mean square is
    3.0e-4 of the outputs' (0.4e-6 without). ``python tests/support/tf32_error.py`` computes these figures.

    Parameters
    ----------
    allowed : bool

    Raises
    ------
    TypeError
        If `allowed` is not a bool.

    Examples
    --------
    >>> with allow_tf32(False):
    ...     tf32_allowed()
    False
    >>> tf32_allowed()
    True
    """

    def __init__(self, allowed: bool):
        if not isinstance(allowed, bool | np.bool_):
            raise TypeError(f"allow_tf32 takes True or False; got {allowed!r}")
        super().__init__(_tf32, bool(allowed))


def tf32_allowed() -> bool:
    """Whether tensor cores are allowed, see :class:`allow_tf32`."""
    return _tf32.get()
