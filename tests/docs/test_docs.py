"""The pages of the mapping agree with the current registry."""

import importlib.util
import re
from pathlib import Path

import pytest

from minisegnet_kernels import registry
from minisegnet_kernels.conv2d.ladder import RUNGS

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)


@pytest.mark.parametrize("operation", registry.OPERATIONS)
def test_the_page_of_an_operation_is_current(operation):
    assert (build.HERE / "mapping" / f"{operation}.md").read_text() == build.page(operation), "stale: run python docs/build.py"


def test_the_index_is_current():
    assert (build.HERE / "mapping" / "README.md").read_text() == build.index(), "stale: run python docs/build.py"


@pytest.mark.parametrize("stem", build.course.BUILT_ON)
def test_the_page_of_a_rung_is_current(stem):
    assert (build.HERE / "rungs" / f"{stem}.md").read_text() == build.course.page(stem), "stale: run python docs/build.py"


def test_every_program_of_the_ladder_has_its_page_after_those_that_it_is_built_on():
    order = list(build.course.BUILT_ON)
    assert {build.course.source_of(stem) for stem in order} == {rung.path for rung in RUNGS}
    assert order == sorted(order), "the site shows them in the order of their names"


def test_there_is_no_other_page():
    folders = (build.HERE / "mapping", build.HERE / "rungs")
    assert {path for folder in folders for path in folder.iterdir()} == set(build.pages())


def test_the_difference_of_two_programs_gives_both_of_them():
    """Without its new lines the old program is left, and without the lines that fall away the new one."""
    old = ["int a = read(x);", "{", "    write(y, a);", "}"]
    new = ["int a = read(x);", "{", "    a = multiply(a, 2);", "    write(y, a);", "}", "}"]
    lines = list(build.course.difference(old, new))
    assert [line[1:] for line in lines if line[0] in " -"] == old
    assert [line[1:] for line in lines if line[0] in " +"] == new
    assert " int a = read(x);" in lines and "+    a = multiply(a, 2);" in lines
    assert not [line for line in build.course.difference(["}"], ["else", "}"]) if line[0] == " "], "a brace alone matches nothing"


def test_a_page_of_a_rung_compares_it_with_the_rung_below_that_computes_the_same():
    """The numbers stand in benchmarks/ladder.json: rung 4 requests 332 KiB, rung 3 1233; below rung 8's gradients are those of the tile."""
    page = build.course.page
    assert "| forward, channels last | 3 implicit_gemm | 4 register_tile | change |" in page("rung4_register_tile")
    assert "| KiB that threads request from memory | 1,233 | 332 | 1/3.7 |" in page("rung4_register_tile")
    assert "| weight gradient, channels last | 2 tile | 8 asynchronous | change |" in page("rung8_grad_weight")
    assert "| 3×3, 64 → 64, 128² | input gradient | – | – |" in page("rung8_register_tile_grad_input")
    assert "sends none of the [typical layers]" in page("rung3_implicit_gemm")


def test_the_first_use_of_a_term_links_to_the_glossary():
    text = "# A warp\n\nA `warp` [warp](w.md) and two warps: a warp. Bank conflicts differ.\n\n```text\na sector\n```\nNo bank conflicts.\n"
    linked = build.course.glossary.linked(text, "g.md")
    assert "and two [warps](g.md#warp): a warp." in linked and "No [bank conflicts](g.md#bank-conflict)." in linked
    assert linked.count("](") == 3


def test_the_glossary_is_in_order_and_every_link_leads_to_a_term():
    glossary = build.course.glossary
    text = glossary.PAGE.read_text(encoding="utf-8")
    for part in text.split("\n## ")[1:]:
        found = re.findall(r"^### (.+)$", part, re.M)
        assert found == sorted(found, key=str.lower) and found
    anchors = {glossary.anchor(term) for term in glossary.terms()}
    assert len(anchors) == text.count("\n### ")
    for page in [*build.HERE.glob("*.md"), *build.HERE.glob("*/*.md")]:
        assert set(re.findall(r"glossary\.md#([^)]+)\)", page.read_text(encoding="utf-8"))) <= anchors, page


@pytest.mark.parametrize("equation", registry.equations(), ids=lambda e: e.id)
def test_the_source_of_a_view_is_what_lies_at_its_lines(equation):
    for view in registry.VIEWS:
        source = equation.source(view)
        if source is None:
            continue
        lines = source.path.read_text().splitlines()[source.first_line - 1 : source.last_line]
        assert "\n".join(lines) in source.text
        declared = f"{equation.operation}_{equation.name}" if view == "cuda" else f"def {equation.name}("
        assert any(declared in line for line in lines)


def test_the_costs_of_a_layer():
    """A 3 × 3 convolution from 16 to 16 channels on 8 × 128²: 2 · 9 · 16 operations an output; x, y, w and b once."""
    found = build.costs.of(registry.get("conv2d.forward"))
    outputs = 8 * 16 * 128 * 128
    assert (found.operations, found.bytes) == (2 * 9 * 16 * outputs, 4 * (2 * outputs + 16 * 16 * 9 + 16))
    assert "| `conv2d.forward` | 604 M | 16.01 | 36.0 |" in build.page("conv2d")
    assert "What it costs" not in build.page("optimiser")
