"""The notebooks agree with their sources, run from top to bottom, and stay small."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("nbclient", reason='the notebooks need the extra "test"')
ROOT = Path(__file__).parents[2] / "tutorials"
_spec = importlib.util.spec_from_file_location("tutorials_build", ROOT / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)
first, *others = sorted((ROOT / "src").glob("*.py"))
each_source = pytest.mark.parametrize("source", [pytest.param(first, marks=pytest.mark.quick), *others], ids=lambda p: p.stem)


@each_source
def test_the_notebook_is_made_from_its_source(source):
    notebook = json.loads(build.target_of(source).read_text())
    expected = build.notebook_from(source)
    actual = [(c["cell_type"], "".join(c["source"])) for c in notebook["cells"]]
    assert actual == [(c["cell_type"], c["source"]) for c in expected["cells"]], "stale: run python tutorials/build.py"
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    assert 5 <= len(code) <= 20
    assert all(c["execution_count"] for c in code), "committed without its outputs"
    assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert build.target_of(source).stat().st_size < 300_000


@pytest.mark.notebook
@each_source
def test_every_cell_runs(source):
    build.run(build.notebook_from(source))
