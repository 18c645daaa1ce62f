"""Everything that needs a GPU, in one command and under ten minutes: ``python tests/on_gpu.py [FOLDER]``.

It needs CuPy (for CUDA 12 or 13), pytest, hypothesis, numba-cuda and the packages that minisegnet itself needs. If PyTorch
is installed, it is measured as well.

Correctness comes first and takes about three minutes; later parts may be cut off:

1. every rung of the convolution ladder against NumPy (`support.rungs`); the tests marked ``gpu``, whose skips are failures
   here; memcheck and racecheck over small cases of every kernel, if the machine has compute-sanitizer. The tests run in one
   process for each GPU backend, because an illegal access ends the whole process;
2. ``minisegnet bench`` with PyTorch beside it: the ladder's rungs, a training step eager, as a graph and compiled, and the
   step equation by equation;
3. the rest: all operations on the GPU and on the CPU, pictures, synccheck and initcheck.

The record goes to ``docs/benchmarks/<device>-<date>.json`` (or to FOLDER), with pictures beside it. It is written again
after each part, so that nothing is lost if a later part hangs. The exit code is 0 if the tests and benchmarks
passed and no sanitizer complained.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Those that run early, and those that run if there is time.
SANITIZERS = ("memcheck", "racecheck"), ("synccheck", "initcheck")
#: Seconds for the rungs, for the tests of each backend, for each sanitizer.
RUNGS, TESTS, SANITIZER = 40, {"cuda": 50, "numba_cuda": 40}, 30
#: Seconds for everything. A part that would go beyond is cut off, and later ones are not begun.
BUDGET = 570
BENCH = [sys.executable, "-m", "minisegnet", "bench"]
#: Parts of the record that ``minisegnet bench`` makes: options, and seconds that each may take.
PARTS = {
    "ladder": (["--device", "cuda", "--ladder", "--rounds", "3"], 60),
    "step": (
        ["--device", "cuda", "--only", "step", "--who", "cuda-last,cuda-graph,torch-last,torch-compile", "--rounds", "3"],
        60,
    ),
    "breakdown": (["--device", "cuda", "--breakdown"], 25),
    "cuda": (["--device", "cuda", "--rounds", "2"], 100),
    "cpu": (["--rounds", "1", "--who", "numpy,numba,torch", "--threads", str(min(os.cpu_count() or 1, 16))], 45),
}
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
    "MINISEGNET_REQUIRE_GPU": "1",
    "MPLBACKEND": "Agg",
    "PYTHONUNBUFFERED": "1",  # what was printed before a part was cut off is kept
}
_started = time.monotonic()


def call(command: list[str], limit: float) -> tuple[int, str, float]:
    """Exit code (124: it ran out of time, and whatever it had started was ended with it), what was printed, seconds."""
    limit = min(limit, BUDGET - (time.monotonic() - _started))
    if limit < 1:
        return 124, "no time was left for it", 0.0
    start = time.perf_counter()
    print("$", " ".join(command), flush=True)
    with tempfile.TemporaryFile() as printed:  # no pipe: one that a grandchild keeps open is waited for without end
        process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = 124
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    seconds = time.perf_counter() - start
    print(text[-3000:], f"-> exit code {code} after {seconds:.0f} s", flush=True)
    return code, text, round(seconds, 1)


def rungs() -> dict:
    """Every rung of the ladder against NumPy; what was wrong, if anything was."""
    code, text, seconds = call([sys.executable, "-c", "import sys; from support import rungs; sys.exit(rungs.check() > 0)"], RUNGS)
    lines = [line for line in text.splitlines() if line.startswith(("right", "WRONG"))]
    found = {"passed": code == 0, "tried": len(lines), "wrong": [line for line in lines if line.startswith("WRONG")], "seconds": seconds}
    return found if code == 0 else {**found, "report": text[-3000:]}


def tests(backend: str) -> dict:
    """The tests marked ``gpu`` of one backend. Only files that have some: another that cannot be imported here does not matter."""
    files = [str(f.relative_to(ROOT)) for f in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in f.read_text(encoding="utf-8")]
    other = {"cuda": "not numba_cuda", "numba_cuda": "numba_cuda"}[backend]
    options = ["-q", "-m", "gpu", "-k", other, "--profile", "gpu", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    code, text, seconds = call([sys.executable, "-m", "pytest", *options, *files], TESTS[backend])
    closing = re.findall(r"^.*\b(?:passed|failed|error).*$", text, re.M)
    found = {"passed": code == 0, "said": closing[-1].strip("= ") if closing else "", "seconds": seconds}
    return found if code == 0 else {**found, "report": text[-6000:]}


def benchmark(options: list[str], part: Path, limit: float) -> dict:
    """A part of the record: what was measured, if only in some cases, and what was printed."""
    code, text, seconds = call([*BENCH, *options, "--json", str(part)], limit)
    measured = json.loads(part.read_text(encoding="utf-8")) if part.exists() else {}
    return {**measured, "passed": code == 0, "said": text[-6000:], "seconds": seconds}


def draw(folder: Path, stem: Path) -> dict:
    """Bars, roofs and the waterfall, of the parts that there are."""
    from minisegnet.bench import breakdown, pictures, results

    drawn: dict[str, str] = {}
    records = [folder / f"{name}.json" for name in ("cpu", "cuda", "ladder") if (folder / f"{name}.json").exists()]
    for name in ("bars", "roofline", "step"):
        path = stem.with_name(f"{stem.name}-{name}.png")
        try:
            if name == "step":
                record = json.loads((folder / "breakdown.json").read_text(encoding="utf-8"))
                pictures.waterfall(breakdown.from_dict(record), path)
            else:
                getattr(pictures, name)(results.load(records), path)
            drawn[name] = path.name
        except Exception as error:  # without the picture the measurements are still there
            drawn[name] = f"not drawn: {type(error).__name__}: {error}"
    return drawn


def sanitizers(tools, keep) -> dict:
    """Some of the tools over the small cases; that they run here at all is tried first."""
    program = shutil.which("compute-sanitizer") or next(iter(sorted(Path("/usr/local").glob("cuda*/bin/compute-sanitizer"))), None)
    if program is None:
        return {tool: {"ran": False, "reason": "compute-sanitizer is not installed"} for tool in tools}
    run = lambda tool, line, limit: call([str(program), "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", line], limit)
    code, text, _ = run("memcheck", "import cupy; (cupy.arange(8) + 1).sum().item()", 20)
    if code:
        return {tool: {"ran": False, "reason": f"not run: it does not run here: {text.strip()[-300:]}"} for tool in tools}
    found: dict[str, dict] = {}
    for tool in tools:
        code, text, seconds = run(tool, "import on_gpu; on_gpu.small_cases()", SANITIZER)
        if code == 124:
            found[tool] = {"ran": False, "reason": "out of time", "seconds": seconds}
        else:
            summary = re.findall(r"ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard", text)
            errors = sum(int(n) for pair in summary for n in pair if n)
            found[tool] = {
                "ran": True,
                "errors": errors,
                "exit_code": code,
                "seconds": seconds,
                **({"report": text[-3000:]} if code else {}),
            }
        keep(found)
    return found


def small_cases() -> None:
    """A few cases of every row of the table on both GPU backends (what runs under the sanitizers)."""
    from support.mutants import cases
    from support.targets import ON_DEVICE

    from minisegnet_kernels import registry

    for operation in registry.OPERATIONS:
        for row, case in cases(operation, 2):
            for target in ON_DEVICE:
                target.run(row, case.cast("float32"))
    from support import rungs

    for _ in rungs.trials():
        pass


def main(arguments: list[str]) -> int:
    from minisegnet.bench.report import environment
    from minisegnet_kernels import backends

    if not backends.gpu_count():
        print("there is no GPU here: the driver reports none")
        return 2
    where = environment(os.cpu_count() or 1)
    folder = Path(arguments[0]) if arguments else ROOT / "docs" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", where.get("gpu", {}).get("name", "gpu").lower()).strip("-")
    stem = folder / f"{name}-{datetime.now(UTC):%Y-%m-%d}"
    target = stem.with_name(f"{stem.name}.json")  # not with_suffix: a name may have a dot
    record: dict = {"environment": where}

    def keep(part: str, found: dict) -> None:
        record[part] = found
        target.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def sanitize(tools: tuple[str, ...]) -> None:
        before = record.get("sanitizers", {})
        keep("sanitizers", {**before, **sanitizers(tools, lambda found: keep("sanitizers", {**before, **found}))})

    first, last = SANITIZERS
    keep("rungs", rungs())
    for backend in TESTS:
        keep(f"tests {backend}", tests(backend))
    sanitize(first)
    with tempfile.TemporaryDirectory() as parts:
        for part, (options, limit) in PARTS.items():
            keep(part, benchmark(options, Path(parts) / f"{part}.json", limit))
        keep("pictures", draw(Path(parts), stem))
    sanitize(last)
    print("wrote", target)
    clean = all(s.get("errors", 0) == 0 and s.get("exit_code", 0) == 0 for s in record["sanitizers"].values())
    right = all(record[part]["passed"] for part in ("rungs", *(f"tests {backend}" for backend in TESTS), *PARTS))
    return 0 if right and clean else 1


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]
    sys.exit(main(sys.argv[1:]))
