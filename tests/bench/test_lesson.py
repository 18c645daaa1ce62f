"""What tutorial 8 shows of the ladder: counts, the newest times of a GPU, and the roofline."""

import json
from pathlib import Path

import numpy as np
import pytest

from minisegnet.bench import lesson
from minisegnet.bench.ladder import Layer
from minisegnet.learn import recorded

RECORD = Path(__file__).parents[2] / "docs" / "benchmarks" / "ladder.json"


def forward(names):
    return [c for c in lesson.recorded(RECORD)[1] if c.equation == "conv2d.forward" and c.name in names]


def test_the_record_serves_without_a_compiler(monkeypatch, capsys):
    monkeypatch.setattr(lesson, "can_run", lambda: False)
    found = lesson.counted(["tile", "register_tile"], RECORD)
    assert [c.name for c in found] == ["tile", "register_tile"]
    assert capsys.readouterr().out == f"({recorded.NOTE})\n"
    with pytest.raises(
        ValueError, match=r"counting the layer 3×3, 4 → 8 channels, 1 × 8² needs a C\+\+ compiler: ladder\.json is a record"
    ):
        lesson.counted(["tile"], RECORD, Layer(4, 8, 8))


@pytest.mark.skipif(not recorded.can_run(), reason="no C++ compiler")
def test_counts_are_made_where_there_is_a_compiler():
    (made,) = lesson.counted(["tile"], RECORD, Layer(4, 8, 8))
    assert made.bytes == made.predicted_bytes > made.least_bytes
    assert made.title == forward(["tile"])[0].title


def test_limits():
    """Rung 3 reads two numbers for a product where the machine gives 32 for 128 products: an eighth."""
    assert lesson.shared_limit(2000 / 32, 64e12) == pytest.approx(64e12 / 8)
    assert lesson.shared_limit(0) == float("inf")
    assert lesson.H100.ridge == 20


def test_the_roofline_shows_every_rung():
    plain = np.asarray(lesson.roofline(forward(["direct"])), int)
    more = np.asarray(lesson.roofline(forward(["direct", "tile", "implicit_gemm", "register_tile"])), int)
    red = lambda picture: int(((picture[..., 0] > 150) & (picture[..., 1] < 60)).sum())
    assert plain.shape == more.shape and red(more) > red(plain) + 100, "two rungs are limited by shared memory"


def run(rung="3 implicit_gemm", device="cuda"):
    result = {
        "case": "conv2d.forward  3×3, 256 → 256 channels, 8 × 64²", "phase": "forward", "library": rung, "seconds": 1e-3,
        "quartiles": [1e-3, 1e-3], "peak_mib": 1, "operations": 8 * 10**9, "bytes": 10**8, "roof_seconds": 1e-4,
    }  # fmt: skip
    return {"results": [result], "roofs": {"float32": {"peak": 67e12, "bandwidth": 3e12}}, "device": device}


def test_the_newest_times_of_a_gpu(tmp_path):
    """Also of a record that has several runs; not those of a CPU, nor of whole networks."""
    about = lambda date, name: {"environment": {"date": date, "gpu": {"name": name}}}
    files = {
        "old": {**about("2026-01-01", "T4"), **run()},
        "new": {**about("2026-03-01", "H100"), "ladder": run(), "cuda": run("cuda")},
        "cpu": {**about("2026-04-01", "none"), **run(device="cpu")},
        "steps": {**about("2026-05-01", "H200"), **run("cuda")},
        "list": [1, 2],
    }
    assert lesson.newest_times(tmp_path) is None
    for name, record in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    (tmp_path / "broken.json").write_text("{")
    found = lesson.newest_times(tmp_path)
    assert (found.gpu, found.date) == ("H100", "2026-03-01")
    assert "3 implicit_gemm             1000.0       8.0          10%" in str(found)
