"""Run the sources in ``src/`` and write the notebooks, with their outputs: ``python tutorials/build.py [SOURCE...]``.

One direction only: a notebook is made from its source, never the other way round. Built twice on one machine, a notebook is the same
byte for byte, except for the outputs of cells with the tag ``timing``: cell ids are their numbers, and no time is recorded.

The Chinese notebooks in ``zh/`` have the code and the outputs of the English ones. Their sources in ``src/zh/`` hold the text alone, and
begin with a fingerprint of the English source, so that a test notices when that has changed: ``python tutorials/build.py zh``.

A source is a Python script whose cells begin with ``# %%``. ``# %% [markdown]`` begins text, ``# %% [setup]`` stands for the cell that
makes the library importable, and ``# %% [timing]`` is a cell whose output differs from run to run.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
RECORD = HERE.parent / "minisegnet" / "learn" / "recorded.json"  # what the emulator shows, for readers without a C++ compiler
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
SETUP = """\
# Set-up: on your own machine there is nothing to do. In Colab, upload the repository as a ZIP file first (folder symbol on the left).
import importlib.util, os, shutil, subprocess, sys
from pathlib import Path

if importlib.util.find_spec("minisegnet") is None:
    for packed in Path().glob("*minisegnet*.zip"):
        shutil.unpack_archive(packed)
    clone = next((d.resolve() for d in (Path(".."), *Path().glob("*")) if (d / "kernels" / "minisegnet_kernels").is_dir()), None)
    assert clone, "the repository is not here: upload it as minisegnet.zip, and run this cell again"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", str(clone), "numba-cuda>=0.30,<0.31"], check=True)
    os.chdir(clone / "tutorials")"""


DEEPER = [('Path("..")', 'Path("../..")'), ('"../docs', '"../../docs'), ('clone / "tutorials")', 'clone / "tutorials" / "zh")')]


def notebook_from(source: Path) -> nbformat.NotebookNode:
    """The cells of a ``# %%`` script, without outputs."""
    cells = []
    for number, part in enumerate(re.split(r"^# %%", source.read_text(encoding="utf-8"), flags=re.M)[1:]):
        kind, _, body = part.partition("\n")
        if "[markdown]" in kind:
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines())
            cell = nbformat.v4.new_markdown_cell(text)
        else:
            cell = nbformat.v4.new_code_cell(SETUP if "[setup]" in kind else body.strip())
        cell["metadata"] = {"tags": ["timing"]} if "[timing]" in kind else {}
        cell["id"] = f"cell-{number:02}"
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})


def translated(source: Path) -> nbformat.NotebookNode:
    """The English notebook of a source in ``src/zh``, with its outputs and the translated text."""
    notebook = nbformat.read(HERE / f"{source.stem}.ipynb", 4)
    texts = [cell["source"] for cell in notebook_from(source)["cells"]]
    english = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    for cell, text in zip(english, texts, strict=True):
        cell["source"] = text
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":  # the folder is one deeper
            for shallow, deep in DEEPER:
                cell["source"] = cell["source"].replace(shallow, deep)
    return notebook


def fingerprint(source: Path) -> str:
    """Of the English source, for the first line of its translation."""
    return hashlib.sha256(source.read_bytes()).hexdigest()[:12]


def run(notebook: nbformat.NotebookNode, **environment: str) -> nbformat.NotebookNode:
    """Execute all cells; the first that raises stops the build with its traceback. `environment` replaces variables of this process's own."""
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # Jupyter's own shows the pictures
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(HERE)}})
    client.execute(env={**inherited, **environment})
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook["cells"]:
        cell["metadata"] = {"tags": cell["metadata"]["tags"]} if cell["metadata"].get("tags") else {}
        if cell["cell_type"] == "code":
            cell["outputs"] = joined(cell["outputs"])
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output["data"].pop("image/jpeg", None)  # Pillow offers both
                output["data"]["image/png"] = small(output["data"]["image/png"])
                output["data"]["text/plain"] = "a picture"  # its representation has an address in memory
    return notebook


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Pieces of printed text that follow each other become one: the kernel splits a text where it happens to send it."""
    found: list[nbformat.NotebookNode] = []
    for output in outputs:
        if found and output["output_type"] == "stream" == found[-1]["output_type"] and output["name"] == found[-1]["name"]:
            found[-1]["text"] += output["text"]
        else:
            found.append(output)
    return found


def small(png: str) -> str:
    """A picture with a palette of 128 colours, base64 as before: a quarter of the bytes, and hardly a difference to see."""
    picture, buffer = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), io.BytesIO()
    picture.quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def target_of(source: Path) -> Path:
    return HERE / ("zh" if source.parent.name == "zh" else "") / f"{source.stem}.ipynb"


if __name__ == "__main__":
    if len(sys.argv) == 1:
        RECORD.unlink(missing_ok=True)  # runs that no notebook shows any more are left out
    asked = [Path(name) for name in sys.argv[1:] if name != "zh"]
    for source in asked or (sorted((HERE / "src").glob("*.py")) if len(sys.argv) == 1 else []):
        nbformat.write(run(notebook_from(source), MINISEGNET_RECORD=str(RECORD)), target_of(source))
        print(f"{target_of(source)}: {target_of(source).stat().st_size // 1024} KB")
    for source in sorted((HERE / "src" / "zh").glob("*.py")):
        nbformat.write(translated(source), target_of(source))
