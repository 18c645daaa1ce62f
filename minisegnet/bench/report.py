"""The results of a benchmark as tables for the screen and as JSON records."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minisegnet_kernels.cost import Cost

from ..files import write_atomically
from .breakdown import roof_line
from .results import Result, Run

PEER = "torch"


def environment(threads: int) -> dict[str, Any]:
    """The environment of a benchmark: date, processor, GPU, threads, versions and git hash."""
    packages = {}
    for name in ("minisegnet", "numpy", "numba", "numba-cuda", "cupy-cuda12x", "cupy-cuda13x", "torch"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        **_gpu(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "packages": packages,
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _gpu() -> dict[str, Any]:
    """Name, driver and clocks of the first GPU, from ``nvidia-smi``; empty without a GPU."""
    query = ["name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.limit"]
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"gpu": dict(zip(query, done.stdout.splitlines()[0].split(", "), strict=True))}


def _commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def table(run: Run) -> str:
    """Milliseconds of each case and phase, the ratio of each backend to PyTorch, and the rate that the last of our backends reaches."""
    results = run.results
    libraries = list(dict.fromkeys(r.library for r in results))
    ours = [name for name in libraries if not name.startswith("torch")]
    found = {(r.case, r.phase, r.library): r for r in results}
    rows = list(dict.fromkeys((r.case, r.phase) for r in results))
    wide = max(len(case) for case, _ in rows)
    columns = {name: max(12, len(name) + 4) for name in libraries}
    ratios = [f"{name}/torch" for name in ours] if PEER in libraries else []
    judged = ours[-1] if ours else libraries[0]
    lines = [
        f"{'case':{wide}}  {'phase':8}"
        + "".join(f"{name + ' ms':>{columns[name]}}" for name in libraries)
        + "".join(f"{name:>13}" for name in ratios)
        + f"{judged + ' reaches':>18}{'of roof':>9}"
    ]
    for case, phase in rows:
        cells = {name: found.get((case, phase, name)) for name in libraries}
        line = f"{case:{wide}}  {phase:8}" + "".join(
            f"{1e3 * c.seconds:{columns[name]}.3f}" if c else f"{'-':>{columns[name]}}" for name, c in cells.items()
        )
        peer = cells.get(PEER)
        for name in ours if ratios else ():
            own = cells[name]
            line += f"{own.seconds / peer.seconds:13.2f}" if own and peer else f"{'-':>13}"
        rate, share = _reached(cells[judged], run)
        lines.append(line + f"{rate:>18}{share:>9}")
    lines += ["", *_closing(run)]
    if len({case for case, _ in rows}) == 1:  # the peak covers all cases, so it is only shown if there is one
        peaks = {name: max(r.peak_mib for r in results if r.library == name) for name in libraries}
        lines.append("peak memory: " + ", ".join(f"{name} {mib:.0f} MiB" for name, mib in peaks.items()))
    return "\n".join(lines)


_COLUMNS = ("case", "phase", "library", "memory", "ms", "25 %", "75 %", "reached", "of roof", "FLOP/B")
_MORE = ("of PyTorch's speed", "error", "same bits", "lines", "registers", "shared B")


def details(run: Run) -> str:
    """One line for each case, phase and library.

    Columns: median time and quartiles, rate, percent of the roof, arithmetic intensity, percent of PyTorch's speed at equal
    precision and layout, error, whether a second run gives the same bits, and lines of code; on a GPU also the largest number
    of registers per thread and of bytes of shared memory per block among the kernels.
    """
    order = list(dict.fromkeys(r.case for r in run.results))
    rows: list[tuple[str, ...]] = [(*_COLUMNS, *_MORE)]
    for r in sorted(run.results, key=lambda r: order.index(r.case)):
        peer = run.peer_of(r)
        rows.append(
            (
                r.case,
                r.phase,
                r.library,
                f"{r.layout}, {r.precision}",
                *(f"{1e3 * s:.3f}" for s in (r.seconds, *r.quartiles)),
                *_reached(r, run),
                f"{r.operations / r.bytes:.1f}" if r.bytes else "-",
                f"{peer.seconds / r.seconds:.0%}" if peer and r.bytes else "-",
                f"{r.error:.1e}",
                {True: "yes", False: "no", None: "-"}[r.deterministic],
                str(r.lines or "-"),
                str(max((k["registers"] for k in r.kernels), default="-")),
                str(max((k["shared"] for k in r.kernels), default="-")),
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) if k < 4 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))) for row in rows]
    return "\n".join([*lines, "", *_closing(run)])


def _reached(result: Result | None, run: Run) -> tuple[str, str]:
    """GFLOP/s if arithmetic limits the case, GB/s if memory does; and percent of the roof."""
    if result is None or not result.bytes:
        return "-", "-"
    bound = run.roofs[result.precision].bound(Cost(result.operations, result.bytes))
    amount, unit = (result.operations, "GFLOP/s") if bound == "arithmetic" else (result.bytes, "GB/s")
    return f"{amount / result.seconds / 1e9:.1f} {unit:7}", f"{result.roof_seconds / result.seconds:.0%}"


def _closing(run: Run) -> list[str]:
    """The roofs, the time of an empty launch, and the libraries without times with the reason."""
    lines = [f"{kind}: {roof_line(roof)}" for kind, roof in run.roofs.items()]
    for library, took in run.launches.items():
        lines.append(f"empty kernel of {library}: {1e6 * took['host']:.1f} µs on the host, {1e6 * took['device']:.1f} µs on the device")
    return [*lines, *map(str, run.failures)]


def save_json(run: Run, path: Path, *, threads: int) -> None:
    """Write a run as a JSON record; ``minisegnet bench --from`` makes tables and pictures of it."""
    save_record(run.to_dict(), path, threads=threads)


def save_record(results: dict[str, Any], path: Path, *, threads: int) -> None:
    """Write results as JSON, together with the environment in which they were measured."""
    document = {"environment": environment(threads), **results}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
