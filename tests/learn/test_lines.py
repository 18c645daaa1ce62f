"""A formula in lines: the same formula, and no line too wide for a phone."""

import pytest

from minisegnet.learn.formulas import Formula, formula
from minisegnet.learn.lines import LINE, broken, width
from minisegnet_kernels import registry

EQUATIONS = registry.equations()
#: The count of the cells of a window has two conditions for each axis: its lines scroll on a phone.
WIDE = {"pool2d.average", "pool2d.grad_average"}


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda e: e.id)
def test_the_lines_are_read_into_the_same_tree(equation):
    once, again = formula(equation.id), Formula(broken(equation.tex), equation.symbols)
    assert (again.statements, again.outside, again.empty, again.functions) == (once.statements, once.outside, once.empty, once.functions)


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda e: e.id)
def test_a_line_fits_a_phone(equation):
    widest = max(width(row) for row in broken(equation.tex).split("\n"))
    assert (widest > 1.3 * LINE) == (equation.id in WIDE)


def test_where_a_line_ends():
    assert broken(r"y = a", 20) == "y = a"
    assert broken(r"y = a - \Big(b + c\Big)", 8).split("\n") == [
        r"\begin{aligned}",
        r"y &= a \\",
        r"&\quad - \Big(b \\",
        r"&\quad + c\Big)",
        r"\end{aligned}",
    ]
    assert "+ 1" in broken(r"y = \sum_u (u + 1)\, x_u + z", 5).split("\n")[1]  # brackets of ordinary size are not divided
    assert broken(r"m = \min \{ k : x_k = y,\; k < K \}", 12).count("\\\\") == 1
