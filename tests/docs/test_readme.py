"""What README shows runs as it is typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minisegnet as ms
from minisegnet_kernels import backends

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def run(line: str, folder: Path) -> str:
    """One line of a shell block whose command is `minisegnet`; comments are left out."""
    program, *arguments = shlex.split(line, comments=True)
    assert program == "minisegnet"
    done = subprocess.run([sys.executable, "-m", program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def test_the_python_blocks_run_one_after_the_other():
    names: dict = {}
    found = blocks("python")
    assert len(found) == 2
    for block in found if backends.available()["cuda"] else found[:1]:
        exec(compile(block, "README.md", "exec"), names)
    assert names["scores"].shape == (1, 2, 64, 64) and names["labels"].shape == (1, 64, 64)
    assert next(names["model"].parameters()).grad is not None


@pytest.mark.parametrize("line", re.findall(r"`(minisegnet (?:equation|models|ladder)[^`]*)`", README))
def test_commands_in_the_text_run(line, tmp_path):
    assert len(run(line, tmp_path).splitlines()) > 10


@pytest.mark.slow
def test_the_lines_for_your_own_images_run_one_after_the_other(tmp_path):
    """As typed, so with 150 training steps; the folder and the photo are made from the image in the package."""
    image, mask = ms.data.nuclei("train")[0]
    grey = np.clip(image[0] / image.max() * 255, 0, 255).astype(np.uint8)
    for name in ("images", "masks"):
        (tmp_path / "my_cells" / name).mkdir(parents=True)
    for k, column in enumerate(range(0, grey.shape[1] - 127, 64)):
        Image.fromarray(grey[:128, column : column + 128]).save(tmp_path / f"my_cells/images/{k}.png")
        Image.fromarray(mask[:128, column : column + 128].astype(np.uint8)).save(tmp_path / f"my_cells/masks/{k}.png")
    Image.fromarray(grey[128:256, :128]).save(tmp_path / "photo.png")
    (lines,) = (block for block in blocks("sh") if "my_cells" in block)
    for line in lines.splitlines():
        run(line, tmp_path)
    assert list((tmp_path / "labels").iterdir()) and (tmp_path / "runs/cells/predictions.png").exists()
    assert (tmp_path / "sheet.png").exists()
    run("minisegnet segment photo.png", tmp_path)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (Path(__file__).parents[2] / target).exists()


def test_contributing_counts_its_steps():
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    title, steps = re.search(r"^## Add an operation in (\w+) steps$(.*?)^## ", text, re.M | re.S).groups()
    numbers = list(map(int, re.findall(r"^(\d+)\. ", steps, re.M)))
    assert numbers == list(range(1, len(numbers) + 1)) and title == {7: "seven", 8: "eight", 9: "nine"}[len(numbers)]
