"""The pages of the mapping agree with the current registry."""

import importlib.util
from pathlib import Path

import pytest

from minisegnet_kernels import registry

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)


@pytest.mark.parametrize("operation", registry.OPERATIONS)
def test_the_page_of_an_operation_is_current(operation):
    assert (build.HERE / "mapping" / f"{operation}.md").read_text() == build.page(operation), "stale: run python docs/build.py"


def test_the_index_is_current():
    assert (build.HERE / "mapping" / "README.md").read_text() == build.index(), "stale: run python docs/build.py"


def test_there_is_no_other_page():
    assert {path.stem for path in (build.HERE / "mapping").iterdir()} == {"README", *registry.OPERATIONS}


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
