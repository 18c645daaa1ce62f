"""The landing page of the site: the explorer, running, with a sentence, a command, three doors and a strip of computed facts."""

from __future__ import annotations

from explorer import build as explorer

from minisegnet.models import list_models
from minisegnet_kernels import registry

COMMAND = "pip install . && minisegnet train --out runs/first"


def facts() -> list[tuple[str, str]]:
    """Numbers that describe the library, counted anew for each page."""
    equations = registry.equations()
    programs = sum(e.source(view) is not None for e in equations for view in registry.VIEWS)
    arrays = sum(len(scene.settings()) * sum(map(len, explorer.goldens(scene, scene.settings()[0]))) for scene in explorer.SCENES.values())
    return [
        (str(len(equations)), "formulas that run"),
        (str(programs), "programs, compared with them"),
        (f"{arrays:,}", "arrays that these pages compare when they open"),
        (str(len(list_models())), "networks, each read beside its paper"),
    ]


def page() -> str:
    """The page, as HTML."""
    strip = "".join(f"<li><b>{number}</b> {what}</li>" for number, what in facts())
    above = f"""<section class="landing">
  <h1>minisegnet</h1>
  <p class="promise">Every formula of a segmentation network, beside the five programs that compute it. Point at a term, a cell or a line: the other two answer.</p>
  <p class="command"><code>{COMMAND}</code></p>
  <nav class="doors" aria-label="three doors">
    <a href="docs/learn.html"><b>Learn</b>by writing the formulas yourself</a>
    <a href="docs/mapping/README.html"><b>Look up</b>an equation, its programs, its gradients</a>
    <a href="docs/use.html"><b>Use</b>it on your own images</a>
  </nav>
</section>"""
    below = f'<ul class="facts" aria-label="computed facts">{strip}</ul>'
    return explorer.page(explorer.SCENES["conv2d"], above=above, below=below, folder="explorer/")
