"""The program on the page about serving, run by FastAPI's own client."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minisegnet as ms
from minisegnet.exchange.weights import NUCLEI

pytest.importorskip("fastapi", reason="FastAPI is not installed (extra serve)")
pytest.importorskip("httpx", reason="httpx is not installed: FastAPI's client needs it")
PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


@pytest.fixture(scope="module")
def served():
    """The names of the program, and a client of its application."""
    from fastapi.testclient import TestClient

    (code,) = re.findall(r"<!-- serve\.py -->\n```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHECKPOINT", str(NUCLEI))
        exec(compile(code.replace("from __future__", "#"), str(PAGE), "exec", dont_inherit=True), names)
    with TestClient(names["app"]) as client:  # one event loop for all requests, as in a server
        yield names, client


def file(array, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind)
    return stream.getvalue()


def test_requests_in_parallel_get_their_own_labels(served):
    names, client = served
    assert client.get("/classes").json() == list(names["model"].about.classes)
    field = ms.data.nuclei_field()[0]
    images = [field[k : k + 48, 3 * k : 3 * k + 64] for k in range(0, 96, 16)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda image: client.post("/labels", content=file(image)), images))
    for image, answer in zip(images, answers, strict=True):
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
        found = Image.open(io.BytesIO(answer.content))
        assert found.mode == "P"
        np.testing.assert_array_equal(np.asarray(found), ms.inference.segment_image(names["model"], image))


def test_colour_and_orientation(served):
    names, client = served
    photo = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    stream, note = io.BytesIO(), Image.Exif()
    note[0x0112] = 6
    Image.fromarray(photo).save(stream, "PNG", exif=note)
    found = np.asarray(Image.open(io.BytesIO(client.post("/labels", content=stream.getvalue()).content)))
    np.testing.assert_array_equal(found, ms.inference.segment_image(names["model"], np.rot90(photo, -1)))


def test_what_is_refused(served, monkeypatch):
    names, client = served
    monkeypatch.setitem(names, "MOST_BYTES", 10_000)
    noise = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)
    assert client.post("/labels", content=file(noise)).status_code == 413
    large = client.post("/labels", content=file(np.zeros((2001, 2000), np.uint8)))
    assert large.status_code == 413 and "2000 × 2001 pixels" in large.json()["detail"]
    for content in (b"", b"no image", file(noise[:40, :40])[:200]):
        assert client.post("/labels", content=content).status_code == 415
