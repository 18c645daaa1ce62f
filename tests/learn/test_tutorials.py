"""The notebooks are made from their sources, run from top to bottom, print what is committed, and their solutions pass their checks."""

import ast
import base64
import importlib.util
import io
import json
import re
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisegnet.learn.recorded import NOTE

nbformat = pytest.importorskip("nbformat", reason='the notebooks need the extra "test"')
pytest.importorskip("nbclient", reason='the notebooks need the extra "test"')
ROOT = Path(__file__).parents[2] / "tutorials"
_spec = importlib.util.spec_from_file_location("tutorials_build", ROOT / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)
SOURCES = sorted((ROOT / "src").glob("*.py"))
TRANSLATIONS = sorted((ROOT / "src" / "zh").glob("*.py"))
QUICK = "03_the_window_that_chooses"  # the notebook of the quick profile
each_source = pytest.mark.parametrize("source", [pytest.param(s, marks=pytest.mark.quick if s.stem == QUICK else ()) for s in SOURCES], ids=lambda p: p.stem)  # fmt: skip
CHECKS = ("ms.check(", "ms.check_grads(", "check_kernel(", "check_count(")


def committed(source):
    return json.loads(build.target_of(source).read_text(encoding="utf-8"))["cells"]


def without_code(markdown):
    return re.sub(r"```.*?```|`[^`]*`", "", markdown, flags=re.S)


@pytest.mark.quick
@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_the_notebook_is_made_from_its_source(source):
    cells = committed(source)
    actual = [(c["cell_type"], "".join(c["source"]), c["metadata"]) for c in cells]
    assert actual == [(c["cell_type"], c["source"], c["metadata"]) for c in build.notebook_from(source)["cells"]], (
        "stale: run python tutorials/build.py"
    )
    code = [c for c in cells if c["cell_type"] == "code"]
    assert all(c["execution_count"] for c in code), "committed without its outputs"
    assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert build.target_of(source).stat().st_size < 300_000
    lines = [line for c in code for line in "".join(c["source"]).splitlines() if line.strip()]
    assert len(lines) - len(build.SETUP.splitlines()) <= 150
    text = "".join("".join(c["source"]) for c in cells)
    for promise in ("## What you have learnt", "**To explain to a friend:**", "minutes."):
        assert promise in text
    exercises = [
        c for c in code if re.search(r"^(ms\.check|ms\.check_grads|check_kernel|check_count)\(.*\bmy_|// yours", "".join(c["source"]), re.M)
    ]
    assert len(exercises) <= text.count("<summary>Solution</summary>")
    for cell in exercises:
        assert any("not yet" in "".join(o.get("data", {}).get("text/plain", "")) for o in cell["outputs"]), "an exercise begins as a stub"


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_links_lead_somewhere(source):
    for cell in committed(source):
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", without_code("".join(cell["source"]))):
                assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_formulas_are_plain_latex(source):
    """KaTeX, which renders the site, refuses a × that is typed as such; and a formula has no code in it."""
    for cell in build.notebook_from(source)["cells"]:
        if cell["cell_type"] == "markdown":
            for formula in re.findall(r"\$\$.*?\$\$|\$[^$]+\$", without_code(cell["source"]), re.S):
                assert formula.isascii(), formula


def with_solutions(notebook):
    """The notebook, and after each solution a cell that runs it and, if it belongs to a check, the check."""
    cells, check = [], None
    for cell in notebook["cells"]:
        cells.append(cell)
        if cell["cell_type"] == "code":
            last = ast.parse(cell["source"]).body[-1:]
            expression = ast.unparse(last[0]) if last else ""
            check = expression if expression.startswith(CHECKS) else None
        for solution in re.findall(r"<summary>Solution</summary>\n\n```python\n(.*?)```", cell["source"], re.S):
            added = nbformat.v4.new_code_cell(solution + (f"_verdict = {check}\nassert _verdict, _verdict" if check else ""))
            added["metadata"] = {"tags": ["solution"]}
            cells.append(added)
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook["metadata"])


def outputs(cell):
    """Printed text, joined as the kernel may split it; then each shown value."""
    shown = [("text", "".join("".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream"))]
    for output in cell["outputs"]:
        for kind, value in sorted(output.get("data", {}).items()):
            shown.append((kind, value if isinstance(value, str) else "".join(value)))
    return shown


def assert_alike(made, expected):
    assert [kind for kind, _ in made] == [kind for kind, _ in expected]
    for (kind, a), (_, b) in zip(made, expected, strict=True):
        if kind == "image/png":
            first, second = (np.asarray(Image.open(io.BytesIO(base64.b64decode(p))).convert("RGB"), float) for p in (a, b))
            assert first.shape == second.shape
            assert np.abs(first - second).mean() < 3, "another picture"
        elif not a.startswith(("<Figure", "Figure(")):
            assert a == b


@pytest.mark.notebook
@each_source
def test_every_cell_runs_and_shows_what_is_committed(source):
    run = build.run(with_solutions(build.notebook_from(source)))
    made = [c for c in run["cells"] if "solution" not in c["metadata"].get("tags", [])]
    for cell, expected in zip(made, committed(source), strict=True):
        if cell["cell_type"] == "code" and "timing" not in cell["metadata"].get("tags", []):
            assert_alike(outputs(cell), outputs(expected))


@pytest.mark.quick
@pytest.mark.parametrize("source", TRANSLATIONS, ids=lambda p: p.stem)
def test_a_translation_is_in_step_with_its_source(source):
    """Its first line has the fingerprint of the English source; a changed source makes the test fail until the text has been looked at."""
    first, _, text = source.read_text(encoding="utf-8").partition("\n")
    name, digest = re.fullmatch(r"# translated from ([\w.]+), (\w+)", first).groups()
    english = ROOT / "src" / name
    assert digest == build.fingerprint(english), f"{name} has changed since it was translated"
    plain = lambda cells: [(c["cell_type"], "".join(c["source"]), c["metadata"], c.get("outputs")) for c in cells]
    assert plain(committed(source)) == plain(json.loads(nbformat.writes(build.translated(source)))["cells"]), (
        "stale: run python tutorials/build.py zh"
    )
    original = build.notebook_from(english)["cells"]
    for theirs, ours in zip([c for c in original if c["cell_type"] == "markdown"], build.notebook_from(source)["cells"], strict=True):
        for piece in (r"^#+ ", r"<details>", r"```python\n.*?```", r"\$\$.*?\$\$", r"^\| "):
            found = [re.findall(piece, cell["source"], re.M | re.S) for cell in (theirs, ours)]
            assert len(found[0]) == len(found[1]), f"{piece}: {ours['source'][:60]}"
        assert re.findall(r"```python\n.*?```", theirs["source"], re.S) == re.findall(r"```python\n.*?```", ours["source"], re.S)
    for cell in committed(source):
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", without_code("".join(cell["source"]))):
                assert target.startswith("http") or (ROOT / "zh" / target).exists(), target
            for formula in re.findall(r"\$\$.*?\$\$|\$[^$]+\$", without_code("".join(cell["source"])), re.S):
                assert formula.isascii(), formula
    assert text.count("（[English](../") == 1


NEED_COMPILER = ("07_a_threads_eye_view", "08_climbing_the_ladder")


@pytest.mark.notebook
@pytest.mark.parametrize("source", [s for s in SOURCES if s.stem in NEED_COMPILER], ids=lambda p: p.stem)
def test_without_a_compiler_the_recorded_runs_are_shown(source):
    """What is shown differs only by a line that says so; and by the first cell of notebook 7, which says that nothing can run."""
    run = build.run(build.notebook_from(source), PATH="", CXX="")
    noted = 0
    for cell, expected in zip(run["cells"], committed(source), strict=True):
        if cell["cell_type"] != "code" or "timing" in cell["metadata"].get("tags", []):
            continue
        made = [(kind, without_note(value)) for kind, value in outputs(cell)]
        noted += made != outputs(cell)
        if "can_run()" in cell["source"]:
            assert made[0][1].endswith("False\n")
        else:
            assert_alike(made, outputs(expected))
    assert noted >= 2, "stale: run python tutorials/build.py"


def without_note(text):
    return re.sub(rf"(<div>|\n  )?\({re.escape(NOTE)}\)(</div>|\n)?", lambda m: "\n" if m[1] == "\n  " and m[2] else "", text)


def test_the_set_up_cell_installs_from_a_zip_file(tmp_path, monkeypatch):
    """In Colab: an empty folder with the ZIP file of the repository, and no minisegnet."""
    packed = tmp_path / "minisegnet-main.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("minisegnet-main/kernels/minisegnet_kernels/__init__.py", "minisegnet-main/tutorials/README.md"):
            archive.writestr(name, "")
    asked = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: asked.append(command))
    monkeypatch.chdir(tmp_path)
    exec(build.SETUP, {})
    assert asked[0][1:5] == ["-m", "pip", "install", "-q"] and asked[0][5] == str(tmp_path / "minisegnet-main")
    assert Path.cwd() == tmp_path / "minisegnet-main" / "tutorials"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(AssertionError, match="the repository is not here: upload it as"):
        exec(build.SETUP, {})


def test_a_changed_output_is_noticed():
    """Text and pictures; a picture may differ by a little, since fonts do."""
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), "white").save(picture, "PNG")
    other = io.BytesIO()
    Image.new("RGB", (4, 4), (245, 245, 245)).save(other, "PNG")
    white, grey = (base64.b64encode(p.getvalue()).decode() for p in (picture, other))
    cell = lambda text, image: {
        "outputs": [{"output_type": "stream", "text": text}, {"output_type": "display_data", "data": {"image/png": image}}]
    }
    assert_alike(outputs(cell(["a", "b"], white)), outputs(cell("ab", white)))
    for text, image in (("ac", white), ("ab", grey)):
        with pytest.raises(AssertionError):
            assert_alike(outputs(cell(text, image)), outputs(cell("ab", white)))


def test_pieces_of_printed_text_are_joined():
    """Where the kernel splits a text depends on the moment; what is committed does not."""
    piece = lambda text, name="stdout": nbformat.v4.new_output("stream", name=name, text=text)
    picture = nbformat.v4.new_output("display_data", {"text/plain": "a picture"})
    made = build.joined([piece("a"), piece("b\n"), piece("c", "stderr"), picture, piece("d"), piece("e")])
    assert [o.get("text") for o in made] == ["ab\n", "c", None, "de"]


def test_solutions_are_found():
    notebook = build.notebook_from(next(s for s in SOURCES if s.stem == QUICK))
    added = [c["source"] for c in with_solutions(notebook)["cells"] if c["metadata"].get("tags") == ["solution"]]
    assert len(added) >= 3 and sum("assert _verdict" in source for source in added) == 2
