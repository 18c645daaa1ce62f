"""The site: it builds without a warning, its links lead somewhere, it fetches nothing, and its pages answer in a browser."""

import importlib.util
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from support.browser import in_a_browser

from minisegnet_kernels import backends

pytest.importorskip("myst_nb", reason='the site needs pip install ".[docs]"')
pytest.importorskip("furo", reason='the site needs pip install ".[docs]"')
DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.site


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "html"
    assert load("website").main(folder) == 0, "sphinx-build warns; python docs/website.py shows of what"
    return folder


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.loads, self.anchors = set(), set(), set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        target = found.get("href") or found.get("src")
        if target and tag == "a":
            self.links.add(target)
        elif target:
            self.loads.add(target)


@pytest.fixture(scope="module")
def pages(folder):
    return {path: Page(path) for path in folder.rglob("*.html")}


def test_every_link_leads_to_a_page_and_a_place_on_it(folder, pages):
    assert len(pages) > 60
    broken = []
    for path, page in pages.items():
        for target in page.links | page.loads:
            if re.match(r"https?:|mailto:|data:|javascript:", target):
                continue
            file, _, anchor = unquote(target).partition("#")
            goal = (path.parent / file.partition("?")[0]).resolve() if file else path
            goal = goal / "index.html" if goal.is_dir() else goal
            if not goal.exists() or (anchor and goal in pages and anchor not in pages[goal].anchors):
                broken.append(f"{path.relative_to(folder)} → {target}")
    assert not broken, "\n".join(sorted(broken)[:20])


def test_no_page_loads_anything_from_elsewhere(folder, pages):
    for path, page in pages.items():
        assert not {target for target in page.loads if re.match(r"(https?:)?//", target)}, path
    for path in folder.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", path.read_text(encoding="utf-8")), path


def test_every_formula_of_the_registry_is_on_its_page(folder):
    from minisegnet_kernels import registry

    for operation in registry.OPERATIONS:
        text = (folder / "docs" / "mapping" / f"{operation}.html").read_text(encoding="utf-8")
        assert text.count('class="katex-display"') >= len(registry.equations(operation))
        assert "katex-error" not in text and "```" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.S)


def test_a_term_of_the_glossary_shows_its_meaning_when_it_is_pointed_at(folder):
    text = (folder / "docs" / "rungs" / "rung2_tile.html").read_text(encoding="utf-8")
    assert re.search(r'<a [^>]*href="\.\./glossary\.html#halo"[^>]* title="The border of cells [^"]+"', text)


def test_a_formula_that_katex_does_not_understand_and_another_version_are_refused(folder, monkeypatch, tmp_path):
    sys.path.insert(0, str(DOCS / "_ext"))
    import prerendered

    assert "katex" in prerendered.render(r"\sum_i x_i")
    with pytest.raises(Exception, match="Undefined control sequence"):
        prerendered.render(r"\quadZ")
    style = tmp_path / "katex.min.css"
    style.write_text('.katex-version:after{content:"0.16.21"}')
    monkeypatch.setattr(prerendered, "STYLE", style)
    with pytest.raises(Exception, match=r"brings KaTeX 0\.16\.22, and .* is of 0\.16\.21"):
        prerendered.katex.__wrapped__()


# --- in a browser


@in_a_browser
def test_the_landing_page_is_the_explorer_running_and_two_clicks_lead_to_the_line_of_the_weight_gradient(opened, folder):
    page = opened("index.html", width=1280)
    page.wait("document.body.dataset.compared")
    right, _, all_ = page.run("document.body.dataset.compared").partition("/")
    assert right == all_ != "0"
    assert len(page.all(".doors a")) == 3 and len(page.all(".facts li")) >= 4
    page.click('#equations [data-key="grad_weight"]')
    page.click('#views [data-key="cuda"]')
    assert any("sum += g(n, o, i, j) * x(n, channel, k, l)" in line for line in page.all("#code .row.now code"))
    assert (folder / "index.html").stat().st_size < 350_000


@in_a_browser
@pytest.mark.parametrize(
    "path",
    [
        "index.html",
        "docs/mapping/conv2d.html",
        "docs/rungs/rung4_register_tile.html",
        "docs/derivations/cross_entropy.html",
        "docs/article.html",
        "index.zh.html",
        "explorer/nuclei.html",
    ],
)
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_a_page_does_not_scroll_sideways(path, width, dark, opened):
    page = opened(path, width=width, dark=dark, touch=width < 400)
    assert page.run("document.documentElement.scrollWidth") <= width


@in_a_browser
def test_formulas_of_the_mapping_fit_a_phone(opened):
    """Except those with a distinction of cases that is wide in itself, which scroll inside their box."""
    wide = {}
    for operation in ("conv2d", "pool2d", "batch_norm", "cross_entropy", "label", "resize", "lrn", "activation", "optimiser"):
        page = opened(f"docs/mapping/{operation}.html", width=390, touch=True)
        wide[operation] = page.run("[...document.querySelectorAll('.math-block')].filter(e => e.scrollWidth > e.clientWidth + 1).length")
    assert wide.pop("pool2d") <= 2 and wide.pop("resize") <= 2
    assert not any(wide.values()), wide


@in_a_browser
def test_search_finds_a_page(opened):
    page = opened("search.html", query="q=checkerboard")
    found = "[...document.querySelectorAll('ul.search li a')].some(a => a.textContent.includes('gradients of convolution'))"
    page.wait(found, 30)


@in_a_browser
def test_an_explorer_inside_of_a_page_gets_the_height_that_it_needs(opened):
    page = opened("docs/mapping/lrn.html", width=1280)
    page.run("document.querySelector('iframe').scrollIntoView()")
    page.wait("document.querySelector('iframe').style.height !== ''", 30)


@in_a_browser
@pytest.mark.skipif(not backends.available()["cuda"], reason="no C++ compiler")
def test_the_replay_of_a_rung_counts_as_the_emulator_does_and_shows_the_race_without_its_barrier(opened):
    page = opened("explorer/replay.html", width=390, touch=True)
    assert page.run("document.body.dataset.compared") == "true"
    assert page.run("document.documentElement.scrollWidth") <= 390
    page.run("change({warp: 1, step: steps().findIndex(s => s[INTERVAL] === 1)})")
    assert "passed the barrier" in page.text("#said") and "race" not in page.text("#said")
    page.click("#removed")
    assert "A race: another warp stages" in page.text("#said")
    page.run("data.counted.turns += 1; compare()")
    assert page.text("#golden").startswith("✗ 374 turns and 206 sectors; the emulator counted 375")


@in_a_browser
def test_regions_are_dragged_over_nuclei(opened):
    page = opened("explorer/nuclei.html", width=1280)
    page.wait("document.body.dataset.compared")
    assert page.run("document.body.dataset.compared") == "6/6"
    before = page.text("#score")
    page.run(
        "document.querySelector('#sliders input').value = 30; document.querySelector('#sliders input').dispatchEvent(new Event('input'))"
    )
    assert page.text("#score") != before
    page.click('#kinds [data-key="prototypes"]')
    before = page.text("#score")
    page.click("#values")  # the nearer prototype jumps to the middle
    assert page.text("#score") != before and page.run("state.values.prototypes.includes(128) || state.values.prototypes.includes(127)")
