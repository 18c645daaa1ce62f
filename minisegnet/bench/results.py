"""The results of a benchmark, and how they are read back from a record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from minisegnet_kernels.cost import Roof


@dataclass(frozen=True)
class Result:
    """The timing of one phase of one case in one library.

    Attributes
    ----------
    case, phase, library : str
    seconds : float
        Median.
    quartiles : (float, float)
    peak_mib : float
        Peak memory so far, in MiB: on a GPU, the memory that the library has reserved; on a CPU, the process's.
    operations, bytes : int
        Cost of the phase by the cost model. It is the same for all libraries, whatever a library really does.
    roof_seconds : float
        The least time that the measured roof allows for these operations and bytes.
    precision : {"float32", "tf32"}
        Precision of the library's matrix products; `roof_seconds` assumes the same precision.
    error : float
        The largest difference of any result from the first library's, over two seeds, relative to the largest value of that
        result.
    deterministic : bool or None
        Whether two runs gave the same bits; None if unknown.
    layout : {"rows first", "channels last"}
        The memory layout of images.
    lines : int or None
        Lines of code, without comments, of this library's programs for the equations of the phase; None if unknown.
    kernels : sequence of dict
        The kernels that were launched on a GPU: ``name``, ``registers`` per thread, bytes of ``shared`` memory per block.
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
        """On a GPU, the name of PyTorch's form at the same precision and layout."""
        return "torch" + ("-last" if self.layout == "channels last" else "") + ("-fp32" if self.precision == "float32" else "")


@dataclass(frozen=True)
class Failure:
    """Why a library has no times for a case. If `case` is None, it has none for any case."""

    case: str | None
    library: str
    reason: str

    def __str__(self) -> str:
        return f"no times of {self.library}{f' for {self.case}' if self.case else ''}: {self.reason}"


@dataclass(frozen=True)
class Run:
    """Results that were measured together.

    Attributes
    ----------
    results : list of Result
    roofs : dict
        The roof of each precision.
    device : {"cpu", "cuda"}
    launches : dict
        On a GPU, for each library: the seconds that launching an empty kernel takes on the ``host``, and on the ``device``
        between two events.
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
        """The inverse of `to_dict`. Fields of a result that a later version added are ignored."""
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
    """Read all runs from records of `report.save_json` or of ``tests/on_gpu.py``, which keeps several runs in one file.

    Raises
    ------
    ValueError
        If a file contains no run.
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
            raise ValueError(f"{path}: this is not a benchmark record; minisegnet bench --json writes one")
        runs += found
    return runs
