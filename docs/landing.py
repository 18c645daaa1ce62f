"""The landing page of the site: the explorer, running, with a sentence, a command, three doors and a strip of computed facts.

It exists in English and, around the explorer, in Chinese, the language of the article that the library starts from.
"""

from __future__ import annotations

from explorer import build as explorer

from minisegnet.models import list_models
from minisegnet_kernels import registry

COMMAND = "pip install . && minisegnet train --out runs/first"
FILES = {"en": "index.html", "zh": "index.zh.html"}
PROMISE = {
    "en": "Every formula of a segmentation network, beside the five programs that compute it. Point at a term, a cell or a line: the other two answer.",
    "zh": "图像分割网络的每一个公式，旁边就是计算它的五个程序。指向公式中的一项、数字格中的一格或程序中的一行，另外两处会作出回应。",
}
DOORS = {
    "docs/learn.html": {"en": ("Learn", "by writing the formulas yourself"), "zh": ("学习", "亲手写出公式")},
    "docs/mapping/README.html": {"en": ("Look up", "an equation, its programs, its gradients"), "zh": ("查阅", "公式、程序与梯度")},
    "docs/use.html": {"en": ("Use", "it on your own images"), "zh": ("使用", "分割你自己的图像")},
}
OTHER = {"en": ("zh", "中文"), "zh": ("en", "English")}


def facts() -> list[tuple[str, dict[str, str]]]:
    """Numbers that describe the library, counted anew for each page."""
    equations = registry.equations()
    programs = sum(e.source(view) is not None for e in equations for view in registry.VIEWS)
    scenes = explorer.SCENES.values()
    arrays = sum(len(scene.settings()) * sum(map(len, explorer.goldens(scene, scene.settings()[0]))) for scene in scenes)
    return [
        (str(len(equations)), {"en": "formulas that run", "zh": "个可以执行的公式"}),
        (str(programs), {"en": "programs, compared with them", "zh": "个与公式比对过的程序"}),
        (f"{arrays:,}", {"en": "arrays that the explorers compare when they open", "zh": "个数组，打开页面时自动比对"}),
        (str(len(list_models())), {"en": "networks, each read beside its paper", "zh": "个网络，与论文对照阅读"}),
    ]


def page(language: str = "en") -> str:
    """The page in a language, as HTML."""
    strip = "".join(f"<li><b>{number}</b> {what[language]}</li>" for number, what in facts())
    doors = "".join(f'<a href="{target}"><b>{door[language][0]}</b>{door[language][1]}</a>' for target, door in DOORS.items())
    other, name = OTHER[language]
    above = f"""<section class="landing" lang="{language}">
  <h1>minisegnet</h1>
  <p class="promise">{PROMISE[language]}</p>
  <p class="command"><code>{COMMAND}</code> <a href="{FILES[other]}" lang="{other}">{name}</a></p>
  <nav class="doors" aria-label="doors">{doors}</nav>
</section>"""
    below = f'<ul class="facts" lang="{language}">{strip}</ul>'
    return explorer.page(explorer.SCENES["conv2d"], above=above, below=below, folder="explorer/")
