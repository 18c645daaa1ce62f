"""The derivations: every step that a page says is computed is computed here, and equals the loops of the gradient."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from operations import TABLE, Case, as_tuple

from minisegnet.learn.formulas import Formula
from minisegnet_kernels import registry

FOLDER = Path(__file__).parents[2] / "docs" / "derivations"
PAGES = sorted(FOLDER.glob("*.md"))
STEP = re.compile(r"<!-- computes ([\w.]+)(?: where ([^>]*?))? -->\n```math\n(.*?)\n```", re.S)
STEPS = [(page.stem, *match) for page in PAGES for match in STEP.findall(page.read_text(encoding="utf-8"))]


def restricted(case: Case, conditions: str) -> bool:
    """The case if its options are as a step demands, ``stride = 1, groups = 1``; padding may be anything."""
    wanted = dict(re.findall(r"(\w+) = (\d+)", conditions))
    return all(np.all(np.equal(case.options[name], int(value))) for name, value in wanted.items())


def consistent(id: str, case: Case) -> Case:
    """The table draws each argument of a gradient by itself. A derivation uses that they belong to one forward pass."""
    if id != "batch_norm.grad_input":
        return case
    g, x, gamma = (case.arrays[name] for name in ("g", "x", "gamma"))
    _, mu, _, rho = registry.get("batch_norm.forward").oracle(x, gamma, np.zeros_like(gamma), eps=1e-5)
    gammabar, betabar = registry.get("batch_norm.grad_affine").oracle(g, x, mu, rho)
    return Case({**case.arrays, "mu": mu, "rho": rho, "gammabar": gammabar, "betabar": betabar}, case.options)


def computed(id: str, conditions: str, tex: str, count: int = 3) -> list[tuple]:
    """For drawn cases: what the step computes, and what the loops compute."""
    entry, row, pairs = registry.get(id), next(row for row in TABLE if row.equation == id), []

    @settings(
        max_examples=40, derandomize=True, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(row.cases)
    def draw(case):
        case = consistent(id, case.cast(np.float64))
        if len(pairs) >= count or not restricted(case, conditions) or sum(np.size(a) for a in case.arrays.values()) > 80:
            return
        read = Formula(tex, entry.symbols)
        shapes = [shape for shape, _ in entry.results(*case.arrays.values(), **case.options)]
        names = entry.returns.split() or [read.statements[0].name]
        values = read(case.arrays, case.options, dict(zip(names, shapes, strict=True)))
        pairs.append(([values[n] for n in names], as_tuple(entry.oracle(*case.arrays.values(), **case.options))))

    draw()
    return pairs


@pytest.mark.parametrize(("page", "id", "conditions", "tex"), STEPS, ids=[f"{s[0]}-{s[1]}-{k}" for k, s in enumerate(STEPS)])
def test_a_step_computes_the_gradient(page, id, conditions, tex):
    pairs = computed(id, conditions, tex)
    assert len(pairs) >= 2, "no case is drawn that fits the conditions"
    for made, expected in pairs:
        for mine, theirs in zip(made, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("id", "old", "new"),
    [
        ("conv2d.grad_input", "k + p_h - u", "k + p_h + u"),
        ("conv2d.grad_weight", "[q = o]", "[q = c]"),
        ("batch_norm.grad_input", r"\rho_c^3", r"\rho_c^2"),
        ("pool2d.grad_max", "uV + v", "vU + u"),
        ("cross_entropy.grad_input", "[k = c]", "[k = i]"),
    ],
)
def test_a_slip_in_a_step_is_noticed(id, old, new):
    conditions, tex = next((c, tex) for _, i, c, tex in STEPS if i == id and old in tex)
    assert any(
        not all(np.allclose(m, e, rtol=1e-9, atol=1e-11) for m, e in zip(made, expected, strict=True))
        for made, expected in computed(id, conditions, tex.replace(old, new), 8)
    )


def test_every_marked_step_is_computed_and_every_computed_step_is_marked():
    for page in PAGES:
        if page.stem == "README":
            continue
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"▶", text)) <= len(STEP.findall(text)), page.name
        assert text.count("<!-- computes") == len(STEP.findall(text)), page.name


def test_every_gradient_of_the_derived_operations_has_a_step():
    derived = {"conv2d.forward", "pool2d.forward", "pool2d.max", "pool2d.average", "cross_entropy.forward", "batch_norm.forward"}
    derived |= {"activation.relu", "activation.leaky_relu", "resize.bilinear", "resize.nearest", "lrn.forward"}
    assert {id for _, id, _, _ in STEPS} == {e.id for e in registry.equations() if e.grad_of in derived}
