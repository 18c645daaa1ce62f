"""The formulas run: each computes what its literal loops compute, and a slip in a formula changes what it computes."""

import copy
import inspect
import re
from collections import Counter, defaultdict
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from operations import TABLE, Case, as_tuple, map_arrays

from minisegnet.learn.formulas import Formula, FormulaError, compute, formula
from minisegnet.learn.slips import slips
from minisegnet_kernels import registry
from minisegnet_kernels.pool2d.formula import pooled_size

EQUATIONS = [e.id for e in registry.equations()]
ROWS = {row.equation: row for row in TABLE}

# --- cases that the table does not draw ------------------------------------------------------------

MORE: dict[str, list[Case]] = defaultdict(list)


def _windows_over_the_edge():
    """Averages of windows that extend past the padding, in rows or in columns; padding counts or does not count."""
    for (H, W), (U, V), padding, counts in product(
        ((5, 4), (4, 6)), ((3, 2), (2, 3)), (((1, 0), (0, 1)), ((0, 1), (1, 0)), ((0, 0), (1, 1))), (True, False)
    ):
        options = {"kernel_size": (U, V), "stride": (2, 2), "padding": padding, "count_include_pad": counts}
        P, Q = (pooled_size(size, k, 2, pad, 1, True) for size, k, pad in zip((H, W), (U, V), padding, strict=True))
        MORE["pool2d.average"].append(Case({"x": np.arange(1.0, H * W + 1).reshape(1, 1, H, W)}, {**options, "ceil_mode": True}))
        MORE["pool2d.grad_average"].append(Case({"g": np.arange(1.0, P * Q + 1).reshape(1, 1, P, Q)}, {**options, "input_size": (H, W)}))


def _points_in_no_region():
    for place in ((1, 1, 2), (0, 1, 0), (1, 0, 1)):
        x = np.arange(24.0).reshape(2, 2, 2, 3)
        x[place[0], 1, place[1], place[2]] = np.inf
        MORE["label.prototypes"].append(Case({"x": x, "p": np.array([[1.0, 0.0], [0.0, 30.0]]), "l": np.array([4, 7])}, {"default": 3}))


def _pixels_that_do_not_count():
    x = np.array([[[[1.0, 2.0, 0.5]], [[0.0, -1.0, 0.25]]]])
    targets = (([255, 255, 255], [1.0, 2.0]), ([0, 255, 255], [1.0, 2.0]), ([0, 255, 255], [0.0, 2.0]), ([0, 1, 255], [0.5, 2.0]))
    for reduction, (t, w) in product(("mean", "sum", "none"), targets):
        arrays = {"x": x, "t": np.array([[t]]), "w": np.array(w)}
        options = {"ignore_index": 255, "label_smoothing": 0.1, "reduction": reduction}
        g = np.array([[[3.0, 2.0, 1.0]]]) if reduction == "none" else np.array(3.0)
        MORE["cross_entropy.forward"].append(Case(arrays, options))
        MORE["cross_entropy.forward_and_grad"].append(Case(arrays, options))
        MORE["cross_entropy.grad_input"].append(Case({"g": g, **arrays}, options))


def _a_relu_of_exactly_zero():
    one, x = np.ones(1), np.array([[[[-1.0, 0.0, 1.0]]]])
    arrays = {"g": np.array([[[[3.0, 2.0, 1.0]]]]), "x": x, "gamma": one, "beta": one / 2, "mu": one / 2, "rho": one}  # y = x
    MORE["batch_norm.grad_affine_relu"].append(Case(arrays))
    MORE["batch_norm.grad_input_relu"].append(Case({**arrays, "gammabar": 2 * one, "betabar": 3 * one}))


for _add in (_windows_over_the_edge, _points_in_no_region, _pixels_that_do_not_count, _a_relu_of_exactly_zero):
    _add()


def cases(id: str, count: int) -> list[Case]:
    """Random cases in float64, each of them again with its numbers rounded, so that there are ties and zeros; and the cases of `MORE`."""
    drawn: list[Case] = []

    @settings(
        max_examples=count, derandomize=True, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(ROWS[id].cases)
    def draw(case):
        drawn.append(case.cast(np.float64))

    draw()
    rounded = [
        Case(
            {name: map_arrays(lambda a: np.round(2 * a) if a.dtype.kind == "f" else a, value) for name, value in case.arrays.items()},
            case.options,
        )
        for case in drawn
    ]
    return [*drawn, *(rounded if id.partition(".")[0] not in ("optimiser", "batch_norm", "lrn") else []), *MORE[id]]


def loops(id: str, case: Case) -> tuple:
    """The result of the oracle for a case; for an equation that updates in place, the arguments after the call."""
    arrays = copy.deepcopy(list(case.arrays.values()))
    made = registry.get(id).oracle(*arrays, **case.options)
    return tuple(arrays) if made is None else as_tuple(made)


def agree(a, b) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(map(agree, a, b))
    return np.shape(a) == np.shape(b) and np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-11, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("id", EQUATIONS)
def test_a_formula_computes_what_its_loops_compute(id):
    checked = 0
    for case in cases(id, 12):
        expected, made = loops(id, case), compute(id, *case.arrays.values(), **case.options)
        assert len(made) == len(expected)
        assert all(map(agree, made, expected)), f"{id} {case}\nformula {made}\nloops   {expected}"
        checked += 1
    assert checked >= 10


@pytest.mark.parametrize("id", EQUATIONS)
def test_every_name_is_explained_and_nothing_else_is(id):
    """A symbol of the table may explain a second one after a semicolon; index letters are explained at the top of their file."""
    entry = registry.get(id)
    texts = entry.symbols.values()
    twins = {name: text[1] for name, text in ((n, re.search(r"; (\w+)\b", m)) for n, m in entry.symbols.items()) if text}
    sizes = {size for text in texts for shape in re.findall(r"\(([^()]+,[^()]*)\)", text) for size in re.findall(r"[A-Z]", shape)}
    letters = set(
        re.findall(
            r"\b[a-z]\b", re.search(r"Index letters(.*?)\n\n\S|index i runs", inspect.getmodule(entry.oracle).__doc__ + "\n\n.", re.S)[0]
        )
    )
    used = formula(id).names()
    assert used - entry.symbols.keys() - set(twins.values()) <= sizes | letters
    assert {name for name in entry.symbols if name not in used and twins.get(name) not in used} == set()


def test_reading_outside_needs_a_word():
    symbols = {"x": "input, (H,)", "y": "output, (P,)"}
    with pytest.raises(FormulaError, match=r"x\[3\] lies outside of its shape \(3,\)"):
        Formula(r"y_i = x_{i + 1}", symbols)({"x": np.arange(3.0)}, {}, {"y": (3,)})
    assert Formula(r"y_i = x_{i + 1},\quad x = 0 \text{ outside}", symbols)({"x": np.arange(3.0)}, {}, {"y": (3,)})["y"].tolist() == [
        1,
        2,
        0,
    ]


@pytest.mark.parametrize(
    ("tex", "message"),
    [
        (r"y_i = a +", "ends in the middle"),
        (r"y_i = (a", r"expected \) before the end"),
        (r"y_i = \sum_{x_i} x_i", "expected a condition"),
        (r"y_i = x_i + unknown_i", "u has no value"),
        (r"y_i = x_{i/2}", "indices are whole numbers"),
        (r"y_i = x_{i,i}", "1 axes, and 2 indices"),
    ],
)
def test_what_cannot_be_computed_is_named(tex, message):
    with pytest.raises(FormulaError, match=message):
        Formula(tex, {"x": "input, (H,)", "y": "output, (H,)", "a": "a number"})({"x": np.arange(3.0)}, {}, {"y": (3,)})


def test_a_letter_has_one_range():
    with pytest.raises(FormulaError, match="i would run to 3 and, in w, to 2"):
        Formula(r"y_i = x_i w_i", {})({"x": np.ones(3), "w": np.ones(2)}, {}, {"y": (3,)})


# --- planted slips ---------------------------------------------------------------------------------

# What makes no difference, and why: (equation, kind, left side).
EQUIVALENT = {
    ("activation.leaky_relu", "edge", "y"): "at x = 0 both cases are 0",
    ("conv2d.grad_bias", "indices changed over", "bbar"): "the sum runs over both letters, whichever axis each has",
    ("pool2d.grad_bias", "indices changed over", "bbar"): "the sum runs over both letters, whichever axis each has",
    **{
        (f"cross_entropy.{name}", "max and min", "m"): "m cancels; it only keeps exponentials from overflowing"
        for name in ("forward", "grad_input", "forward_and_grad")
    },
}


def missed_slips(id: str, kinds=None) -> tuple[Counter, list]:
    """The number of slips of each kind that are planted in a formula, and the slips that change no result."""
    original, entry = formula(id), registry.get(id)
    wanted = entry.returns.split() or [original.statements[0].name]
    data = [(case, loops(id, case)) for case in cases(id, 30)]
    data.sort(key=lambda pair: sum(np.size(a) for value in pair[1] for a in (value if isinstance(value, list) else [value])))

    def differs(changed: Formula) -> bool:
        for case, expected in data:
            given = dict(zip(entry.arguments, case.arrays.values(), strict=True))
            in_place = isinstance(expected[0], list)
            try:
                made = changed(given, case.options, {} if in_place else {n: np.shape(a) for n, a in zip(wanted, expected, strict=True)})
            except (FormulaError, ArithmeticError, ValueError, KeyError, TypeError, IndexError):
                return True
            values = [made.get(n, given[n]) for n in entry.arguments] if in_place else [made[n] for n in wanted]
            if not all(map(agree, values, expected)):
                return True
        return False

    assert not differs(original)
    planted: Counter = Counter()
    missed = []
    for slip in slips(original):
        if kinds is not None and slip.kind not in kinds:
            continue
        name = original.statements[slip.statement].name
        planted[slip.kind] += 1
        if not differs(slip.planted(original)) and (id, slip.kind, name) not in EQUIVALENT:
            missed.append((slip.kind, name, slip.sentence))
    return planted, missed


@pytest.mark.slow
@pytest.mark.parametrize("id", EQUATIONS)
def test_every_planted_slip_changes_what_a_formula_computes(id):
    planted, missed = missed_slips(id)
    assert sum(planted.values()) > 0
    assert not missed, f"{len(missed)} of {sum(planted.values())} slips go unnoticed: {missed}"


@pytest.mark.parametrize(
    ("id", "kinds"), [("conv2d.forward", {"d_h for s_h", "sign", "v for u", "C for O"}), ("batch_norm.forward", {"mean forgotten"})]
)
def test_slips_that_a_comparison_of_letters_misses_are_noticed(id, kinds):
    """Stride and dilation swapped, a wrong sign of the padding, rows and columns swapped, groups, a mean."""
    planted, missed = missed_slips(id, kinds)
    assert set(planted) == kinds
    assert not missed
