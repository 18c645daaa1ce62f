"""The rule: which rung of the ladder computes a convolution, and on which GPU. Nothing is launched here.

`RULE` lists the rungs of each equation in the order in which they are tried. `by_rule` takes the first one that the GPU can
run, that TF32's switch allows, that is worth it for the case (`_is_worth_it`) and that serves it. The last one, rung 1,
serves every case. `use_rung` chooses by hand instead. `examples` shows which rungs typical layers go to.
"""

from functools import cache

from ..backends import BackendError
from ..cuda import capability_of
from ._geometry import is_worth_a_tile
from .ladder import Case, chosen_rung, find, rung2_tile, statistics, tf32_allowed
from .ladder.rung1_direct import grad_bias

__all__ = [
    "RULE",
    "by_rule",
    "choose",
    "forward",
    "forward_relu",
    "forward_statistics",
    "grad_bias",
    "grad_input",
    "grad_weight",
    "why_not",
]

RULE = {
    "conv2d.forward": ("tf32_tuned", "winograd", "tf32", "asynchronous", "register_tile", "tile", "implicit_gemm", "direct"),
    "conv2d.grad_input": ("tf32_tuned", "winograd", "tf32", "asynchronous", "register_tile", "tile", "direct"),
    "conv2d.grad_weight": ("tf32_tuned", "asynchronous", "register_tile", "tile", "direct"),
}
#: The least number of channels of the result, in a group, for which a matrix product is worth it: a tile has 64, or 16 in the
#: implicit GEMM.
_WIDE = 16


def choose(case, capability):
    """The rung that a case goes to.

    Parameters
    ----------
    case : Case
    capability : (int, int)
        Compute capability of the GPU: (7, 5) for a T4, (8, 0) for an A100.

    Returns
    -------
    Rung

    Raises
    ------
    BackendError
        If `use_rung` chose a rung that does not serve the case, that the GPU cannot run, or that ``allow_tf32(False)`` forbids.
    """
    if name := chosen_rung(case.equation):
        return _by_hand(find(name, case.equation), case, capability)
    return by_rule(case, capability, tf32_allowed())


@cache
def by_rule(case, capability, tf32):
    """The rung that the rule gives a case to, whatever `use_rung` says; `tf32` is whether TF32 is allowed."""
    tf32 = tf32 and capability >= (8, 0)
    for rung in (find(name, case.equation) for name in RULE[case.equation]):
        if not why_not(rung, case, capability, tf32):
            return rung
    raise BackendError(f"{case.equation}: no rung serves {case}")


def why_not(rung, case, capability, tf32):
    """Why the rule passes over a rung; empty if it does not."""
    if rung.capability > capability:
        return f"its instructions need compute capability {_dotted(rung.capability)}"
    if rung.tf32 and not tf32:
        return "it rounds to TF32, which is not allowed"
    if not rung.serves(case):
        return f"it serves {rung.needs}"
    return "" if _is_worth_it(rung, case, tf32) else "another rung does this layer with less work (docs/ladder.md)"


def _by_hand(rung, case, capability):
    rung.check(case)
    if rung.tf32 and not tf32_allowed():
        raise BackendError(f"{case.equation}: rung {rung.label} ({rung.name}) rounds to TF32, and allow_tf32(False) forbids it")
    if rung.capability > capability:
        raise BackendError(
            f"{case.equation}: rung {rung.label} ({rung.name}) needs a GPU of compute capability {_dotted(rung.capability)}; "
            f"this one has {_dotted(capability)}"
        )
    return rung


def _dotted(capability):
    return ".".join(map(str, capability))


def _is_worth_it(rung, case, tf32):
    """Whether a rung is worth it for a case that it serves: from counts of the emulator (docs/ladder.md).

    None of it has been measured on a GPU. The tile of tf32_tuned is 32 channels wide, but of a 1 × 1 kernel it reads x only
    once, so two channels are enough there. Winograd's tile is 32 output channels wide; those of rungs 5 and 6 are 64. Up to 32
    channels it therefore does 1/4.5 of their multiplications and is chosen. Above that the advantage is at most 2.25, part
    of which its transforms cost, so it has to be chosen by hand, except where the channels that are summed are not a
    multiple of 4 and rung 5 cannot run.
    """
    if rung.name == "direct":
        return True
    if rung.name == "tile":
        output = case.x_shape[2:] if case.equation == "conv2d.grad_input" else case.output
        return is_worth_a_tile(rung2_tile.tile(), case.kernel_size, output)
    if rung.name == "implicit_gemm":
        return case.width >= _WIDE and case.channels * case.taps >= _WIDE
    if rung.name == "winograd":
        summed = case.outputs if case.equation == "conv2d.grad_input" else case.channels
        alone = summed % 4 != 0 and not tf32
        return case.channels_last and case.width >= _WIDE and (case.width <= 32 or alone)
    once = rung.name == "tf32_tuned" and case.taps == 1 and case.equation != "conv2d.grad_weight"
    return case.width >= (2 if once else _WIDE)


# --- the programs of the equations -------------------------------------------------------------------


def forward(x, w, b, *, stride, padding, dilation, groups):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _rung("conv2d.forward", x, w, **options).program(x, w, b, **options)


def forward_relu(x, w, b, *, stride, padding, dilation, groups):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _rung("conv2d.forward", x, w, **options).program(x, w, b, relu=True, **options)


def forward_statistics(x, w, b, *, stride, padding, dilation, groups):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return statistics.forward_statistics(_rung("conv2d.forward", x, w, **options), x, w, b, **options)


def grad_input(g, w, *, input_size, stride, padding, dilation, groups):
    options = {"input_size": input_size, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _rung("conv2d.grad_input", g, w, **options).program(g, w, **options)


def grad_weight(g, x, *, kernel_size, stride, padding, dilation, groups):
    options = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _rung("conv2d.grad_weight", g, x, **options).program(g, x, **options)


def _rung(equation, first, second, **options):
    return choose(Case.of(equation, first, second, **options), capability_of(first))
