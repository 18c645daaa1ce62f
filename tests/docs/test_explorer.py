"""The explorer: what its pages hold, and how they answer in a browser."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.browser import in_a_browser

from minisegnet.learn.formulas import compute
from minisegnet_kernels import backends, registry

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("explorer_build", ROOT / "docs" / "explorer" / "build.py")
explorer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(explorer)
SCENES = explorer.SCENES
EQUATIONS = [(scene, name) for scene in SCENES.values() for name in scene.equations]
each_scene = pytest.mark.parametrize("scene", SCENES.values(), ids=lambda s: s.page)


@pytest.mark.parametrize(("scene", "name"), EQUATIONS, ids=lambda v: getattr(v, "page", v))
def test_the_goldens_are_what_the_formula_and_numpy_compute(scene, name):
    number = list(scene.equations).index(name)
    for setting in scene.settings()[::7]:
        arrays, options = scene.case(name, setting)
        golden = explorer.goldens(scene, setting)[number]
        programs = [compute(f"{scene.operation}.{name}", *arrays, **options)]
        result = registry.get(f"{scene.operation}.{name}").program("numpy")(*arrays, **options)
        programs.append(result if isinstance(result, tuple) else (result,))
        for results in programs:
            for values, expected in zip(results, golden, strict=True):
                np.testing.assert_allclose(np.ravel(values), expected, rtol=1e-12, atol=1e-12, err_msg=f"{name} at {setting}")


@each_scene
def test_a_page_fetches_nothing_and_is_small(scene, folder):
    text = (folder / f"{scene.page}.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 300_000
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.search(
        r"""(?:src|href)\s*=\s*["'](?!\w+\.html)|url\(|@import|\bimport\b\s*["'(]|fetch\(|XMLHttp""",
        re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S),
    )


def test_pages_are_the_same_each_time(folder):
    scene = SCENES["label"]
    assert (folder / "label.html").read_text(encoding="utf-8") == explorer.page(scene)


@pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")
@pytest.mark.parametrize(("scene", "name"), EQUATIONS, ids=lambda v: getattr(v, "page", v))
def test_a_recorded_access_stands_in_the_line_that_it_names(scene, name):
    """Every array of the equation is read and each result is written. A line that reads an array contains its name or a tag for it."""
    equation, number = registry.get(f"{scene.operation}.{name}"), list(scene.equations).index(name)
    source = equation.source("cuda").path.read_text(encoding="utf-8").split("\n")
    for setting in scene.traced:
        launches = explorer.traces(scene, setting)[number]
        seen = {}
        for launch in launches:
            for *_, array, _, write, line in zip(*(launch["accesses"][k::6] for k in range(6)), strict=True):
                seen.setdefault((launch["arrays"][array], bool(write)), set()).add(line)
        for argument in equation.arguments:
            assert (argument, False) in seen, f"{name}: no thread reads {argument}"
        golden = explorer.goldens(scene, setting)[number]
        results = equation.returns.split() or [explorer.formula(equation.id).statements[0].name]
        for result in [
            name for name, values in zip(results, golden, strict=True) if values != [-1]
        ]:  # −1: the host has set it, and the kernel leaves it
            assert (result, True) in seen, f"{name}: no thread writes {result}"
        for (array, _), lines in seen.items():
            if array in equation.arguments and all(launch["files"] == ["kernel.cu"] for launch in launches):
                for line in lines:
                    assert re.search(rf"\b{array}\b|\b(?:maximum|sum_of_won|read|fetch|pixel)\b", source[line - 1]), (
                        name,
                        array,
                        line,
                        source[line - 1],
                    )


# --- in a browser


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer")
    explorer.write(folder)
    return folder


@in_a_browser
@each_scene
def test_every_array_in_every_setting_equals_the_loops(scene, opened):
    page = opened(f"{scene.page}.html")
    page.wait("document.body.dataset.compared")
    results = sum(len(group) for group in explorer.goldens(scene, scene.settings()[0]))
    count = len(scene.settings()) * results
    assert page.run("document.body.dataset.compared") == f"{count}/{count}"
    assert page.text("#golden").startswith(f"✓ {count} of {count}")


@in_a_browser
@pytest.mark.parametrize("slip", ["golden", "formula"])
def test_the_page_says_so_when_a_number_differs(slip, folder, browser):
    text = (folder / "conv2d.html").read_text(encoding="utf-8")
    head, data, tail = re.split(r'(?<=id="data">)(.*?)(?=</script>)', text, maxsplit=1, flags=re.S)
    contents = json.loads(data)
    if slip == "golden":
        contents["golden"][7][1][1][0][3] += 1
    else:  # stride and dilation change places in k = i s + u d − p
        tree = json.dumps(contents["equations"]["forward"]["statements"])
        swapped = tree.replace('"s_h"', '"?"').replace('"d_h"', '"s_h"').replace('"?"', '"d_h"')
        contents["equations"]["forward"]["statements"] = json.loads(swapped)
    (folder / "slip.html").write_text(head + json.dumps(contents).replace("</", "<\\/") + tail, encoding="utf-8")
    browser.open(folder / "slip.html")
    browser.wait("document.body.dataset.compared")
    assert re.match(r"✗ \d+ of 240 arrays differ from formula.py: ", browser.text("#golden"))


def now(page):
    return page.all("#grids td.now", "dataset.array + ':' + e.dataset.index")


@in_a_browser
def test_a_cell_answers_with_its_sum_its_window_and_its_line(opened):
    page = opened("conv2d.html")
    page.hover('td[data-array="y"][data-index="0,0,2,1"]')
    assert page.text("#sum") == "y[0,0,2,1] = 7 = 1 + (−1)·0 + 0·1 + 1·1 + (−2)·0 + 0·1 + 2·2 + (−1)·0 + 0·1 + 1·1"
    assert len(page.all('.array[data-array="x"] td.on')) == 9
    assert page.all("#code .row.now code") == ["                y[n, o, i, j] += w[o, c, u, v] * x[n, o * G // O * (C // G) + c, k, l]"]
    assert now(page) == ["x:0,0,1,0", "w:0,0,0,0"]


@in_a_browser
def test_stepping_goes_through_the_terms(opened):
    page = opened("conv2d.html")
    page.hover('td[data-array="y"][data-index="0,0,2,1"]')
    for _ in range(5):
        page.click("#next")
    assert now(page) == ["x:0,0,2,2", "w:0,0,1,2"]
    assert page.text("#sum .now") == "2·2"
    assert page.text("#where").endswith("k = 2·1 + 1·1 − 1 = 2   ·   l = 1·1 + 2·1 − 1 = 2")
    page.click("#back")
    assert now(page) == ["x:0,0,2,1", "w:0,0,1,1"]
    page.hover('td[data-array="x"][data-index="0,0,3,0"]')
    assert page.text("#sum .now") == "(−1)·0"
    assert now(page) == ["x:0,0,3,0", "w:0,0,2,0"]


@in_a_browser
def test_a_term_answers_with_its_lines_and_a_line_with_its_terms(opened):
    page = opened("conv2d.html")
    page.hover('#formula [data-term="k"]')
    assert any("i * sh + u * dh - ph" in line for line in page.all("#code .row.hot code"))
    page.click('#views [data-key="numpy"]')
    page.hover('#formula [data-term="x"]')
    assert any("np.einsum" in line for line in page.all("#code .row.hot code"))
    line = next(row for row in page.all("#code .row", "dataset.line + '|' + e.textContent") if "::sh, ::sw" in row).partition("|")[0]
    page.hover(f'#code .row[data-line="{line}"]')
    assert {"k", "l", "s_h"} <= set(page.all("#formula .hot", "dataset.term"))


@in_a_browser
@pytest.mark.parametrize("scene", SCENES.values(), ids=lambda s: s.page)
def test_every_term_of_every_formula_has_its_line_in_every_program(scene, opened):
    page = opened(f"{scene.page}.html")
    for name in scene.equations:
        page.click(f'#equations [data-key="{name}"]')
        for view in explorer.VIEWS:
            page.click(f'#views [data-key="{view}"]')
            for term in page.run("scene.equation.terms"):
                page.run(f"change({{term: '{term}', lines: null}})")
                assert page.all("#code > .function .row.hot"), f"{name}: no line of {view} for {term}"
            page.run("change({term: null, step: 0})")
            assert view == "cuda" or page.all("#code > .function .row.now"), f"{name}: no line of {view} for a step"


@in_a_browser
@pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")
def test_two_clicks_from_the_page_to_the_recorded_line_of_the_weight_gradient(opened):
    page = opened("conv2d.html")
    page.click('#equations [data-key="grad_weight"]')
    page.click('#views [data-key="cuda"]')
    assert [line.strip() for line in page.all("#code .row.now code")] == [
        "if (l >= 0 && l < x.shape[3]) sum += g(n, o, i, j) * x(n, channel, k, l);"
    ]
    assert re.search(r"conv2d_grad_weight<float>: \d+ threads", page.text("#trace"))
    page.choose('select[data-key="d_h"]', 2)
    assert "the nearest setting that was" in page.text("#trace")
    page.click("#nearest")
    assert page.text("#trace").startswith("As the emulator recorded it")


@in_a_browser
def test_stride_two_leaves_a_checkerboard_in_the_gradient(opened):
    page = opened("conv2d.html")
    page.click('#equations [data-key="grad_input"]')
    page.choose('select[data-key="s_h"]', 2)
    counts = {}
    for k in range(5):
        for l in range(5):
            page.run(f"change({{result: 'xbar', cell: [0, 0, {k}, {l}]}})")
            counts[k, l] = len(page.all("#sum [data-step]"))
    assert counts[2, 2] == 1 and counts[1, 2] == 2 and counts[1, 1] == 4


@in_a_browser
def test_keys_move_through_cells_and_terms(opened):
    page = opened("conv2d.html")
    page.click('td[data-array="y"][data-index="0,0,2,2"]')
    page.press("ArrowRight")
    page.press("ArrowDown")
    assert page.text("#sum").startswith("y[0,0,3,3] = ")
    page.run("document.getElementById('step').focus()")
    page.press("ArrowRight")
    assert page.run("state.step") == 1
    page.run("document.getElementById('formula').focus()")
    page.press("ArrowRight")
    assert page.all("#formula .hot")


@in_a_browser
@each_scene
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_on_a_phone_nothing_scrolls_sideways_and_a_tap_answers(scene, dark, opened):
    page = opened(f"{scene.page}.html", width=390, height=844, dark=dark, touch=True)
    result = page.run("state.result")
    for name in scene.equations:
        page.run(f"change({{equation: '{name}', result: null, cell: null, step: 0, term: null, lines: null}})")
        for view in explorer.VIEWS:
            page.run(f"change({{view: '{view}'}})")
            assert page.run("document.documentElement.scrollWidth") <= 390, (name, view)
    page.run(f"change({{equation: '{next(iter(scene.equations))}', result: null, cell: null}})")
    cell = page.all(f'td[data-array="{result}"]', "dataset.index")[0]
    page.tap(f'td[data-array="{result}"][data-index="{cell}"]')
    shown = f"shown_name('{result}') + '{f'[{cell}]' if cell else ''} = '"
    page.wait(f"document.getElementById('sum').textContent.startsWith({shown})", seconds=10)
