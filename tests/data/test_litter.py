"""What operating systems leave in folders is no data, in no layout and for no command."""

import ast
from pathlib import Path

import numpy as np
import pytest
from support.layouts import camvid_tutorial, cityscapes, colour, dsb, labels, put, voc

import minisegnet.data
from minisegnet import data
from minisegnet.cli import main

APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(50)


def own(root):
    for k in range(3):
        put(root / "images" / f"{k}.png", colour(k))
        put(root / "masks" / f"{k}.png", labels(k, [0, 1, 2]))


def strew(root):
    """Leave what macOS, Windows and Synology leave: beside each file, and in each folder."""
    for file in sorted(root.rglob("*")):
        if file.is_file():
            (file.parent / f"._{file.name}").write_bytes(APPLE_DOUBLE)
    for folder in [root, *(p for p in sorted(root.rglob("*")) if p.is_dir())]:
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(b"\0\0\0\1Bud1")
        for name in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
            (folder / name / "images").mkdir(parents=True)
            (folder / name / "images" / "._a.png").write_bytes(APPLE_DOUBLE)


@pytest.mark.parametrize("make", [own, voc, cityscapes, camvid_tutorial, dsb])
def test_litter_changes_nothing(tmp_path, make):
    make(tmp_path)
    before = data.check(tmp_path).to_dict()
    strew(tmp_path)
    assert data.check(tmp_path).to_dict() == before
    found = data.open(tmp_path)
    for k in range(len(found)):
        assert found[k][0].shape[0] in (1, 3)


def test_segment_labels_no_litter(tmp_path):
    put(tmp_path / "scans" / "a.png", np.random.default_rng(0).integers(0, 255, (20, 20)).astype(np.uint8))
    strew(tmp_path / "scans")
    assert main(["segment", str(tmp_path / "scans"), "--out", str(tmp_path / "out")]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.png"]


def test_folders_are_listed_in_one_place_only():
    """`listing.files_in` and `listing.folders_in` leave litter out; whoever lists a folder by other means would forget to."""
    for file in Path(minisegnet.data.__file__).parent.rglob("*.py"):
        if file.name == "listing.py":
            continue
        called = {
            n.func.attr for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)
        }
        assert not called & {"iterdir", "glob", "rglob", "listdir", "scandir"}, file.name
