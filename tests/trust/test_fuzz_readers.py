"""Damaged and hostile files: every reader answers with a ValueError or an OSError, or reads what is there; never with another exception.

The number of files follows the profile (``--profile thorough`` draws many). A file that fails once is kept in `KEPT`.
"""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import minisegnet as ms
from minisegnet import data
from minisegnet.cli import config, train_options
from minisegnet.exchange import checkpoint
from minisegnet.exchange.tensors import load, load_metadata

HOSTILE = [
    b"",
    b"\0",
    b"\xff" * 8,
    b"-1",
    b"1e400",
    b"null",
    b"[[",
    b'"',
    b"9" * 30,
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"NaN",
    b"true",
]


def mutated(content: bytes, seed: int) -> bytes:
    """One to four changes: a bit, a cut, a piece taken out, doubled, moved, or replaced by something hostile; a number by another one."""
    rng = np.random.default_rng(seed)
    changed = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        size = len(changed)
        if not size:
            break
        # Most of the structure stands at the beginning and at the end.
        at = int(rng.choice([rng.integers(size), rng.integers(min(size, 200)), max(size - 1 - rng.integers(min(size, 100)), 0)]))
        length = int(rng.integers(1, 20))
        kind = rng.integers(7)
        if kind == 0:
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        elif kind == 4:
            changed[at : at + length] = HOSTILE[rng.integers(len(HOSTILE))]
        elif kind == 5:
            changed[at:at] = HOSTILE[rng.integers(len(HOSTILE))]
        else:
            digits = [k for k, byte in enumerate(changed) if 48 <= byte <= 57]
            if digits:
                k = digits[rng.integers(len(digits))]
                changed[k : k + 1] = HOSTILE[rng.integers(len(HOSTILE))] or b"7"
    return bytes(changed)


def tensors() -> bytes:
    return _saved(lambda path: ms.save({"a.weight": np.arange(6.0).reshape(2, 3), "n": np.arange(3)}, path, {"note": "x"}), "a.safetensors")


def described() -> bytes:
    def write(path):
        ms.manual_seed(0)
        about = checkpoint.About(
            None, ("a", "b"), [[0, 0, 0], [255, 0, 0]], 1, run={"options": {}, "data": {}, "transform": "None", "settings": {}},
            resume={"optimizer": {"state": {"0": {"step": 1}}, "param_groups": [{"params": [0]}]}, "random": {"bit_generator": "PCG64"},
                    "score_name": "", "best_score": 0.5, "best_step": 0, "owed": False},
        )  # fmt: skip
        checkpoint.write(path, ms.nn.Conv2d(1, 2, 1), about)

    return _saved(write, "c.safetensors")


def _saved(write, name) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(12.0).reshape(3, 4), b=np.arange(5))
    return stream.getvalue()


def pth() -> bytes:
    torch = pytest.importorskip("torch")
    stream = io.BytesIO()
    torch.save({"state_dict": {"a.weight": torch.arange(6.0).reshape(2, 3), "n": torch.arange(3)}, "epoch": 3}, stream)
    return stream.getvalue()


def index_of_pth() -> bytes:
    with zipfile.ZipFile(io.BytesIO(pth())) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


def with_index(content: bytes) -> bytes:
    """A file of torch.save whose pickle is `content`: zip's checksums, which would refuse most changes, are right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(pth())) as source, zipfile.ZipFile(stream, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, content if name.endswith("data.pkl") else source.read(name))
    return stream.getvalue()


def picture(form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)).convert("P" if form == "GIF" else "L").save(stream, form)
    return stream.getvalue()


TOML = b'[training]\nsteps = 10\nlr = 0.01\nlr-factor = ["outc=10"]\n\n[augmentation]\nscale = [0.5, 2.0]\nflip = "turns"\n'
READERS = {
    "safetensors": (tensors, "a.safetensors", load),
    "metadata": (tensors, "a.safetensors", load_metadata),
    "checkpoint": (described, "a.safetensors", checkpoint.read),
    "npz": (npz, "a.npz", load),
    "pth": (pth, "a.pth", load),
    "index of pth": (index_of_pth, "a.pth", load),
    "toml": (lambda: TOML, "a.toml", lambda path: config.read(str(path), train_options.train_options())),
    **{form: (lambda form=form: picture(form), f"a.{form.lower()}", data.read_image) for form in ("PNG", "TIFF", "BMP", "GIF", "JPEG")},
}
KEPT: dict[str, list[bytes]] = {
    "safetensors": [b"\x02\0\0\0\0\0\0\0[]", b'\x1d\0\0\0\0\0\0\0{"__metadata__":5,"a":[1e400]}', b"\x10'\0\0\0\0\0\0" + b"[" * 10_000],
    "checkpoint": [b"", b"\0" * 8],
    "toml": [b"a" + b".a" * 40_000 + b" = 1", b"x = " + b"[" * 5000],
}


def survives(name: str, content: bytes, path) -> str:
    path.write_bytes(content)
    try:
        with np.errstate(all="ignore"):
            READERS[name][2](path)
    except (ValueError, OSError) as error:
        return type(error).__name__ if str(error) else "nothing"
    return "read"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "TIFF")) for name in READERS])
def test_no_file_raises_anything_else(name, tmp_path_factory):
    make, file, _ = READERS[name]
    sound, path = make(), tmp_path_factory.mktemp("fuzz") / file
    wrap = with_index if name == "index of pth" else bytes
    assert survives(name, wrap(sound), path) == "read"
    for content in KEPT.get(name, []):
        assert survives(name, content, path) != "read"

    @given(st.integers(0, 2**32 - 1))
    def draw(seed):
        assert survives(name, wrap(mutated(sound, seed)), path) != "nothing", "an error without a word"

    draw()


def test_the_mutations_reach_the_content():
    """Not all files are refused at the first byte, and not all are read."""
    sound = tensors()
    changed = {mutated(sound, seed) for seed in range(200)}
    assert len(changed) > 180 and sum(len(c) == len(sound) for c in changed) > 10
