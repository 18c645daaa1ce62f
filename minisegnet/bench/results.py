"""What a benchmark finds out, and how it is read back from a record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from minisegnet_kernels.cost import Roof


@dataclass(frozen=True)
class Result:
    """Timings of one phase of one case in one library.

    Attributes
    ----------
    case, phase, library : str
    seconds : float
        Median.
    quartiles : (float, float)
    peak_mib : float
        Largest memory of the worker so far, in MiB.
    operations, bytes : int
        Of the phase, from the cost model: the same for all libraries, whatever they really do.
    roof_seconds : float
        The least time for these under the roof that was measured in the same run.
    precision : {"float32", "tf32"}
        Of the library's matrix products, and so whose roof that was.
    error : float
        Largest difference of any result of the case from the first library's, over two seeds, relative to
        the largest value of that result.
    deterministic : bool or None
        Whether two runs gave the same bits.
    layout : {"rows first", "channels last"}
        How images lie in memory.
    lines : int or None
        Of code, without comments: of this library's programs for the equations of the phase.
    kernels : sequence of dict
        What was launched on a GPU: ``name``, ``registers`` of a thread, bytes of ``shared`` memory of a block.
    """

    case: str
    phase: str
    library: str
    seconds: float
    quartiles: Sequence[float]
    peak_mib: float
    operations: int = 0
    bytes: int = 0
    roof_seconds: float = 0.0
    precision: str = "float32"
    error: float = 0.0
    deterministic: bool | None = None
    layout: str = "rows first"
    lines: int | None = None
    kernels: Sequence[dict[str, Any]] = ()

    @property
    def peer(self) -> str:
        """PyTorch in the same precision and layout, as it is called on a GPU."""
        return "torch" + ("-last" if self.layout == "channels last" else "") + ("-fp32" if self.precision == "float32" else "")


@dataclass(frozen=True)
class Failure:
    """A library that has no times for a case (None: for any), and why."""

    case: str | None
    library: str
    reason: str

    def __str__(self) -> str:
        return f"no times of {self.library}{f' for {self.case}' if self.case else ''}: {self.reason}"


@dataclass(frozen=True)
class Run:
    """What was measured together.

    Attributes
    ----------
    results : list of Result
    roofs : dict
        Of each precision.
    device : {"cpu", "cuda"}
    launches : dict
        By library, on a GPU: seconds that launching an empty kernel takes the ``host``, and that it takes the ``device``
        from one event to another.
    failures : list of Failure
    """

    results: list[Result]
    roofs: dict[str, Roof]
    device: str = "cpu"
    launches: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Run:
        """The inverse; what a younger version has written beside it is passed over."""
        known = {f.name for f in fields(Result)}
        return cls(
            [Result(**{name: value for name, value in r.items() if name in known}) for r in record["results"]],
            {kind: Roof(**roof) for kind, roof in record["roofs"].items()},
            record.get("device", "cpu"),
            record.get("launches", {}),
            [Failure(**f) for f in record.get("failures", [])],
        )

    def peer_of(self, result: Result) -> Result | None:
        """PyTorch's result for the same phase, at equal precision and layout; None for PyTorch's own."""
        name = "torch" if self.device == "cpu" else result.peer
        if result.library.startswith("torch"):
            return None
        return next((r for r in self.results if (r.case, r.phase, r.library) == (result.case, result.phase, name)), None)


def load(paths: Sequence[Path]) -> list[Run]:
    """All runs of some records: of `report.save_json`, or of ``tests/on_gpu.py``, which has several in one file.

    Raises
    ------
    ValueError
        If a file has none.
    """
    runs = []
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            parts = [record, *record.values()]
        except (UnicodeDecodeError, json.JSONDecodeError, AttributeError):
            parts = []
        found = [Run.from_dict(part) for part in parts if isinstance(part, dict) and {"results", "roofs"} <= part.keys()]
        if not found:
            raise ValueError(f"{path}: no benchmark's record; minisegnet bench --json writes one")
        runs += found
    return runs
