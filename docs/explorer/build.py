"""Write the explorer: ``python docs/explorer/build.py [FOLDER]``, one page an operation, in ``docs/_build/explorer`` unless told otherwise.

A page is one file that fetches nothing. It holds the formulas as trees, which its JavaScript computes; the programs with the terms of
their lines; and, for every setting that a reader can choose, the numbers of the literal loops, with which it compares its own when it
opens. Where there is a C++ compiler, it also holds what every thread of the CUDA program reads and writes, recorded by the emulator.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT), str(ROOT / "kernels")]

import nuclei  # noqa: E402
import replay  # noqa: E402
from scenes import SCENES, Scene  # noqa: E402

from minisegnet.learn import mathml, symbols  # noqa: E402
from minisegnet.learn.formulas import formula  # noqa: E402
from minisegnet.learn.terms import program, terms  # noqa: E402
from minisegnet_kernels import backends, emulator, registry  # noqa: E402

VIEWS = {"formula": "loops", "numpy": "NumPy", "numba": "Numba · CPU", "numba_cuda": "Numba · GPU", "cuda": "CUDA C++"}

NO_REPLAY = '<!doctype html><meta charset="utf-8"><title>Rung 2</title><p>The replay is recorded by a C++ compiler; this site was built without one.</p>'


def page(scene: Scene, above: str = "", below: str = "", folder: str = "") -> str:
    """One page, as HTML, with more HTML above and below; `folder` leads to the other pages."""
    data = json.dumps(contents(scene), ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    text = (HERE / "page.html").read_text(encoding="utf-8")
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("formula.js", "embed.js", "explorer.js"))
    parts = {
        "TITLE": scene.title,
        "HEADING": "h2" if above else "h1",
        "ABOVE": above,
        "BELOW": below,
        "NOTE": f'<p class="note">{scene.note}</p>' if scene.note else "",
        "PAGES": _links(scene.page, folder),
        "STYLE": (HERE / "explorer.css").read_text(encoding="utf-8"),
        "DATA": data,
        "SCRIPT": script,
    }
    for name, part in parts.items():
        text = text.replace(f"{{{{{name}}}}}", part)
    return text


def _links(current: str, folder: str = "") -> str:
    pages = {scene.page: scene.title for scene in SCENES.values()} | {"nuclei": "Labelling nuclei"}
    here = ' aria-current="page"'
    return "".join(f'<a href="{folder}{page}.html"{here if page == current else ""}>{title}</a>' for page, title in pages.items())


def contents(scene: Scene) -> dict[str, Any]:
    """What a page knows."""
    files: dict[str, dict[str, Any]] = {}
    return {
        "operation": scene.operation,
        "views": VIEWS,
        "sizes": scene.sizes,
        "controls": [{"label": c.label, "sets": c.sets, "values": c.values, "first": c.first} for c in scene.controls],
        "equations": {name: _equation(scene, name, label, files) for name, label in scene.equations.items()},
        "files": files,
        "golden": [[list(setting.values()), goldens(scene, setting)] for setting in scene.settings()],
        "traced": [[list(setting.values()), traces(scene, setting)] for setting in scene.traced] if backends.available()["cuda"] else [],
    }


def _equation(scene: Scene, name: str, label: str, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    equation, read = registry.get(f"{scene.operation}.{name}"), formula(f"{scene.operation}.{name}")
    returns = equation.returns.split() or [read.statements[0].name]
    arrays = {
        a: _flat(scene.arrays.get(f"{name}.{a}", scene.arrays.get(a))) for a in equation.arguments if a not in scene.made.get(name, {})
    }
    return {
        "id": equation.id,
        "label": label,
        "tex": equation.tex,
        "math": mathml.formula(read),
        "symbols": equation.symbols,
        "terms": list(terms(equation)),
        "arguments": equation.arguments,
        "returns": returns,
        "axes": {a: scene.axes_of(equation, a) for a in (*equation.arguments, *returns)},
        "ranges": symbols.letters(read.symbols, read.statements, (*equation.arguments, *returns)),
        "outside": sorted(read.outside),
        "empty": {which: mathml.tree(value) for which, value in read.empty.items()},
        "functions": {name: [parameter, mathml.tree(body)] for name, (parameter, body) in read.functions.items()},
        "statements": [[s.name, s.letters, mathml.tree(s.value)] for s in read.statements],
        "arrays": arrays,
        "made": scene.made.get(name, {}),
        "programs": {view: _program(equation, view, files) for view in VIEWS},
    }


def _flat(array: np.ndarray) -> dict[str, Any]:
    return {"shape": array.shape, "data": array.ravel().tolist()}


def _program(equation: registry.Equation, view: str, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The functions of a view by name, each with its terms by line; their text is kept once, in `files`."""
    source = equation.source(view)
    assert source is not None, f"{equation.id} has no {view} view"
    path = source.path.relative_to(ROOT).as_posix()
    texts = files.setdefault(path, {})
    functions = program(equation, view)
    for f in functions:
        texts[f.name] = [f.lines[0].number, "\n".join(line.text for line in f.lines)]
    lines = {line.number: " ".join(line.terms) for f in functions for line in f.lines if line.terms}
    steps = [line.number for f in functions if f.plain for line in f.lines if line.step]
    return {
        "file": path,
        "plain": [f.name for f in functions if f.plain],
        "fast": [f.name for f in functions if not f.plain],
        "terms": lines,
        "steps": steps,
    }


def goldens(scene: Scene, setting: dict[str, int]) -> list[list[list[float]]]:
    """The results of every equation by its literal loops."""
    made = []
    for name in scene.equations:
        arrays, options = scene.case(name, setting)
        results = registry.get(f"{scene.operation}.{name}").oracle(*arrays, **options)
        results = results if isinstance(results, tuple) else (results,)
        made.append([[_short(v) for v in result.ravel().tolist()] for result in results])
    return made


def _short(value: float) -> float:
    return int(value) if value == int(value) else value


def traces(scene: Scene, setting: dict[str, int]) -> list[list[dict[str, Any]]]:
    """For every equation its launches, with every access: thread, barrier interval, array, element, whether it writes, line."""
    made = []
    for name in scene.equations:
        arrays, options = scene.case(name, setting)
        with emulator.tracing() as launches:
            _plain_cuda(scene.operation, name)(*(a if a.ndim else a[()] for a in arrays), **options)
        made.append([_trace(launch) for launch in launches])
    return made


def _plain_cuda(operation: str, name: str) -> Any:
    """The host side of the kernel that the page shows. For convolution this is always the first rung of a ladder."""
    if operation == "conv2d":
        from minisegnet_kernels.conv2d.ladder import rung1_direct

        return getattr(rung1_direct, name)
    from importlib import import_module

    return getattr(import_module(f"minisegnet_kernels.{operation}.kernel"), name)


def _trace(launch: Any) -> dict[str, Any]:
    arrays = list(dict.fromkeys(a.array for a in launch.accesses))
    threads = launch.block[0] * launch.block[1] * launch.block[2]
    steps = [
        [
            a.block * threads + a.thread,
            a.interval,
            arrays.index(a.array),
            a.offset // a.size,
            int(a.write),
            int(a.line.rpartition(":")[2].replace("?", "0")),
        ]
        for a in launch.accesses
    ]
    files = {a.line.rpartition(":")[0] for a in launch.accesses}
    return {
        "kernel": launch.kernel,
        "block": threads,
        "arrays": arrays,
        "files": sorted(files),
        "accesses": [n for step in steps for n in step],
    }


def write(folder: Path) -> list[Path]:
    """Write all pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for scene in SCENES.values():
        paths.append(folder / f"{scene.page}.html")
        paths[-1].write_text(page(scene), encoding="utf-8")
    paths.append(folder / "nuclei.html")
    paths[-1].write_text(nuclei.page(_links("nuclei")), encoding="utf-8")
    paths.append(folder / "replay.html")
    paths[-1].write_text(replay.page() if backends.available()["cuda"] else NO_REPLAY, encoding="utf-8")
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the explorer's pages.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE.parent / "_build" / "explorer", help="where to (default: %(default)s)")
    for path in write(parser.parse_args().folder):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
