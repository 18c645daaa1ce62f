"""What a benchmark says: a table for the screen, JSON for the record, a picture for the eye."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from minisegnet_kernels.cost import Cost

from ..files import write_atomically
from .breakdown import roof_line
from .runner import Result, Run

PEER = "torch"


def environment(threads: int) -> dict[str, Any]:
    """Where and with what a benchmark ran: processor, GPU, versions, git hash."""
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
    """Name, driver and clocks of the first GPU, as the driver's own tool tells them; nothing without one."""
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
    """Milliseconds for each case and phase, the ratio of each backend to PyTorch, and what the last of ours reached."""
    results = run.results
    libraries = list(dict.fromkeys(r.library for r in results))
    ours = [name for name in libraries if not name.startswith(PEER)]
    found = {(r.case, r.phase, r.library): r for r in results}
    rows = list(dict.fromkeys((r.case, r.phase) for r in results))
    wide = max(len(case) for case, _ in rows)
    ratios = [f"{name}/torch" for name in ours] if PEER in libraries else []
    judged = ours[-1] if ours else libraries[0]
    lines = [
        f"{'case':{wide}}  {'phase':8}"
        + "".join(f"{name + ' ms':>12}" for name in libraries)
        + "".join(f"{name:>13}" for name in ratios)
        + f"{judged + ' reaches':>18}{'of roof':>9}"
    ]
    for case, phase in rows:
        cells = [found.get((case, phase, name)) for name in libraries]
        line = f"{case:{wide}}  {phase:8}" + "".join(f"{1e3 * c.seconds:12.3f}" if c else f"{'-':>12}" for c in cells)
        if ratios:
            peer = found[case, phase, PEER].seconds
            line += "".join(
                f"{found[case, phase, name].seconds / peer:13.2f}" if (case, phase, name) in found else f"{'-':>13}" for name in ours
            )
        rate, share = _reached(found.get((case, phase, judged)), run)
        lines.append(line + f"{rate:>18}{share:>9}")
    lines += ["", *_roofs(run)]
    if len({case for case, _ in rows}) == 1:  # of several cases, nobody could say whose the largest was
        peaks = {name: max(r.peak_mib for r in results if r.library == name) for name in libraries}
        lines.append("peak memory of the process: " + ", ".join(f"{name} {mib:.0f} MiB" for name, mib in peaks.items()))
    return "\n".join(lines)


def details(run: Run) -> str:
    """A line for each case, phase and library: time and its quartiles, what it reached, error, whether the bits are the same again."""
    wide = max(len(r.case) for r in run.results)
    name = max(len("library"), *(len(r.library) for r in run.results))
    lines = [
        f"{'case':{wide}}  {'phase':8}  {'library':{name}}{'ms':>10}{'25 %':>10}{'75 %':>10}{'reached':>16}{'of roof':>9}{'FLOP/B':>8}{'error':>9}  same bits"
    ]
    for r in sorted(run.results, key=lambda r: [x.case for x in run.results].index(r.case)):
        rate, share = _reached(r, run)
        intensity = f"{r.operations / r.bytes:.1f}" if r.bytes else "-"
        again = {True: "yes", False: "no", None: "-"}[r.deterministic]
        lines.append(
            f"{r.case:{wide}}  {r.phase:8}  {r.library:{name}}{1e3 * r.seconds:10.3f}{1e3 * r.quartiles[0]:10.3f}{1e3 * r.quartiles[1]:10.3f}"
            f"{rate:>16}{share:>9}{intensity:>8}{r.error:9.1e}  {again}"
        )
    return "\n".join([*lines, "", *_roofs(run)])


def _reached(result: Result | None, run: Run) -> tuple[str, str]:
    """GFLOP/s of a case that arithmetic limits, GB/s of one that memory limits; and percent of the roof."""
    if result is None or not result.bytes:
        return "-", "-"
    bound = run.roofs[result.precision].bound(Cost(result.operations, result.bytes))
    amount, unit = (result.operations, "GFLOP/s") if bound == "arithmetic" else (result.bytes, "GB/s")
    return f"{amount / result.seconds / 1e9:.1f} {unit:7}", f"{result.roof_seconds / result.seconds:.0%}"


def _roofs(run: Run) -> list[str]:
    return [f"{kind}: {roof_line(roof)}" for kind, roof in run.roofs.items()]


def save_json(run: Run, path: Path, *, threads: int) -> None:
    """The record that tables and pictures of the documentation are made from."""
    save_record(
        {"roofs": {kind: asdict(roof) for kind, roof in run.roofs.items()}, "results": [asdict(r) for r in run.results]},
        path,
        threads=threads,
    )


def save_record(results: dict[str, Any], path: Path, *, threads: int) -> None:
    """Figures, with where and with what they were measured, as JSON."""
    document = {"environment": environment(threads), **results}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def picture(run: Run, path: Path, *, threads: int) -> None:
    """Bars of each backend's time relative to PyTorch (or to NumPy, without PyTorch)."""
    from matplotlib.figure import Figure

    results = run.results
    libraries = list(dict.fromkeys(r.library for r in results))
    base = PEER if PEER in libraries else libraries[0]
    rows = list(dict.fromkeys((r.case, r.phase) for r in results))
    found = {(r.case, r.phase, r.library): r for r in results}
    others = [name for name in libraries if name != base]
    figure = Figure(figsize=(8, 0.34 * len(rows) + 1.4), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / max(1, len(others))
    colours = {"numpy": "#b7b7b7", "numba": "#1b6ca8", "numba_cuda": "#2a9d8f", "cuda": "#d1495b", "cuda-fp32": "#e48a96"}
    for k, name in enumerate(others):
        ratio = [found[(*row, name)].seconds / found[(*row, base)].seconds if (*row, name) in found else float("nan") for row in rows]
        y = [i + (k - (len(others) - 1) / 2) * height for i in range(len(rows))]
        axes.barh(y, ratio, height * 0.9, label=name, color=colours.get(name))
    axes.axvline(1, color="#444444", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [f"{case}  {phase}" for case, phase in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"time relative to {base}, {threads} threads each (1 = equal, left of it = faster)")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", which="both", linewidth=0.3)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150))
