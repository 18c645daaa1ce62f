"""Run the sources in ``src/`` and write the notebooks, with their outputs: ``python tutorials/build.py``.

One direction only: a notebook is made from its source, never the other way round. Cell ids are
their numbers, and times are left out of the metadata, so that only real changes show.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebook_from(source: Path) -> nbformat.NotebookNode:
    """The cells of a ``# %%`` script, without outputs."""
    cells = []
    for number, part in enumerate(re.split(r"^# %%", source.read_text(), flags=re.M)[1:]):
        kind, _, body = part.partition("\n")
        if "[markdown]" in kind:
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines())
            cell = nbformat.v4.new_markdown_cell(text)
        else:
            cell = nbformat.v4.new_code_cell(body.strip())
        cell["id"] = f"cell-{number:02}"
        cells.append(cell)
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})


def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Execute all cells; the first that raises stops the build with its traceback."""
    NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(HERE)}}).execute()
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return notebook


def target_of(source: Path) -> Path:
    return HERE / f"{source.stem}.ipynb"


if __name__ == "__main__":
    for source in [Path(name) for name in sys.argv[1:]] or sorted((HERE / "src").glob("*.py")):
        nbformat.write(run(notebook_from(source)), target_of(source))
        print(f"{target_of(source)}: {target_of(source).stat().st_size // 1024} KB")
