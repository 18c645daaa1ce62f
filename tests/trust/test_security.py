"""What SECURITY.md promises."""

import ast
import os
from pathlib import Path

import pytest

import minisegnet as ms
from minisegnet.exchange.tensors import archive

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "minisegnet").rglob("*.py"), *(ROOT / "kernels" / "minisegnet_kernels").rglob("*.py")])
RUN = {"eval", "exec", "__import__"}
FROM_FILES = {("pickle", "load"), ("pickle", "loads"), ("marshal", "loads"), ("shelve", "open"), ("os", "system"), ("os", "popen")}


def running(tree):
    """The calls in a program that run code from a text or a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in RUN:
                yield called.id
            if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and (called.value.id, called.attr) in FROM_FILES:
                yield f"{called.value.id}.{called.attr}"
            for keyword in node.keywords:
                if keyword.arg in ("shell", "allow_pickle") and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    yield f"{keyword.arg}="
        if isinstance(node, ast.Import) and "pickle" in [name.name for name in node.names]:
            yield "import pickle"


def test_no_program_runs_what_is_in_a_file():
    assert len(SOURCES) > 200
    found = {str(path.relative_to(ROOT)): list(running(ast.parse(path.read_text(encoding="utf-8")))) for path in SOURCES}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "program", ["eval('1')", "exec(text)", "import pickle", "os.system('ls')", "run(x, shell=True)", "np.load(p, allow_pickle=True)"]
)
def test_the_search_finds_what_it_looks_for(program):
    assert list(running(ast.parse(program)))


def test_the_limits_are_those_of_the_page():
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert f"{archive.EXPANSION} times, and {archive.LARGEST >> 30} GiB together" in page


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (ms.load, ms.inference.load_model):
        with pytest.raises(ValueError, match=r"pipe: this is a folder, a pipe or a device; expected a file"):
            read(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe: this is a folder, a pipe or a device; expected a file"):
        ms.data.read_image(tmp_path / "pipe")
