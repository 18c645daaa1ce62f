"""Every term of an explored formula has its line in every program; a program that loses one is noticed."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from minisegnet.learn import mathml
from minisegnet.learn.formulas import formula
from minisegnet.learn.terms import factors, program, terms
from minisegnet_kernels import registry

_spec = importlib.util.spec_from_file_location("explorer_build", Path(__file__).parents[2] / "docs" / "explorer" / "build.py")
_build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_build)
EXPLORED = [registry.get(f"{scene.operation}.{name}") for scene in _build.SCENES.values() for name in scene.equations]


def lost(equation, view):
    """The terms that no line in the body of a plain function shows, and "step" if no line is one."""
    plain = [function for function in program(equation, view) if function.plain]
    shown = {term for function in plain for term in function.terms} | {"step" for f in plain for line in f.lines if line.step}
    return {*terms(equation), "step"} - shown


@pytest.mark.parametrize("view", registry.VIEWS)
@pytest.mark.parametrize("equation", EXPLORED, ids=lambda e: e.id)
def test_every_term_has_a_line_in_the_plain_program(equation, view):
    assert not lost(equation, view)


def test_the_terms_of_a_convolution():
    assert list(terms(registry.get("conv2d.forward"))) == ["y", "k", "l", "b", "w", "x", "G", "s_h", "d_h", "p_h", "s_w", "d_w", "p_w"]
    assert terms(registry.get("conv2d.forward"))["s_h"] == {"s_h", "sh", "stride"}
    assert factors(registry.get("pool2d.grad_max")) == {"g"}  # m decides whether g counts


@pytest.mark.parametrize(
    ("view", "old", "new", "gone"),
    [
        ("numpy", "  #: k, l", "", {"k", "l"}),
        ("numpy", "  #: w, x", "", {"step"}),
        ("numba", "  #: l\n", "\n", {"l"}),
        ("cuda", "sum += w(o, c, u, v) * x(n, first + c, k, l)", "sum += product(o, c, u, v, n, first, k, l)", {"step"}),
    ],
)
def test_a_program_that_loses_a_term_is_noticed(view, old, new, gone, tmp_path, monkeypatch):
    equation = registry.get("conv2d.forward")
    source = equation.source(view)
    whole = source.path.read_text(encoding="utf-8")
    assert old in source.text
    path = tmp_path / source.path.name
    path.write_text(whole.replace(old, new), encoding="utf-8")
    changed = replace(source, path=path, text=source.text.replace(old, new))
    monkeypatch.setattr(registry.Equation, "source", lambda self, view: changed)
    assert lost(equation, view) == gone


@pytest.mark.parametrize("equation", registry.equations(), ids=lambda e: e.id)
def test_the_lines_of_a_program_are_those_of_its_file(equation):
    for view in registry.VIEWS:
        if source := equation.source(view):
            text = source.path.read_text(encoding="utf-8").split("\n")
            functions = program(equation, view)
            assert any(f.plain for f in functions)
            for function in functions:
                assert all(text[line.number - 1].startswith(line.text) for line in function.lines), (view, function.name)


@pytest.mark.parametrize("equation", registry.equations(), ids=lambda e: e.id)
def test_a_formula_is_shown_whole(equation):
    """Its MathML is well formed and names every symbol that the formula names."""
    from xml.etree import ElementTree

    read = formula(equation.id)
    shown = [ElementTree.fromstring(f"<p>{math.replace('&nbsp;', ' ')}</p>") for math in mathml.formula(read)]
    named = {element.get("data-term") for math in shown for element in math.iter()}
    functions = {function.removeprefix("\\") for function in read.functions}
    assert read.names() - functions <= named
