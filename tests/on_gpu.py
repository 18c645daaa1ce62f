"""Everything that needs a GPU, in one command and under ten minutes: ``python tests/on_gpu.py [FOLDER]``.

It needs CuPy (for CUDA 12 or 13), pytest, hypothesis, numba-cuda and the packages that minisegnet itself needs. If PyTorch
is installed, it is measured as well. Correctness comes first; later parts may be cut off:

1. ``rungs``: every rung of the convolution ladder against NumPy (`support.rungs`); ``tests``: those marked ``gpu``, whose
   skips are failures here, in processes of their own, because an illegal access ends a process; ``sanitizers``: memcheck
   and racecheck over small cases of every kernel, if the machine has compute-sanitizer. These run side by side;
2. ``ladder``, ``step``, ``breakdown``: ``minisegnet bench`` with PyTorch beside it: the ladder's rungs, a training step
   eager, as a graph and compiled, and the step equation by equation;
3. ``counters``: what the hardware counts while each rung runs once, if the machine has Nsight Compute (``ncu``);
4. ``cuda``, ``cpu``: all operations on the GPU and on the CPU; ``pictures``.

``--only ladder,step`` runs these parts alone, and ``--seconds 200`` ends everything after that time. The record goes to
``docs/benchmarks/<device>-<date>.json`` (or to FOLDER), with pictures beside it. It is written again after each part, so that
nothing is lost if a later part hangs. The exit code is 0 if the tests and benchmarks passed and no sanitizer complained.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Tools of compute-sanitizer.
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
#: Processes for the tests of each GPU backend. Together with the rungs and the sanitizers they share the processor.
TESTS = {"cuda": 5, "numba_cuda": 4}
#: Seconds for the rungs, the tests and the sanitizers, which run side by side; and for the hardware's counters.
CORRECTNESS, COUNTERS = 170, 60
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
    "cuda": (["--device", "cuda", "--rounds", "2"], 110),
    "cpu": (["--rounds", "1", "--who", "numpy,numba,torch", "--threads", str(min(os.cpu_count() or 1, 16))], 45),
}
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
    "MINISEGNET_REQUIRE_GPU": "1",
    "MPLBACKEND": "Agg",
    "PYTHONUNBUFFERED": "1",  # what was printed before a part was cut off is kept
}
#: What the hardware counts: Nsight Compute's sections, and single metrics.
SECTIONS = ("SpeedOfLight", "LaunchStats", "Occupancy", "SchedulerStats", "WarpStateStats")
METRICS = (
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum",
    "l1tex__t_sectors_pipe_lsu_mem_global_op_st.sum",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum",
    "l1tex__data_pipe_lsu_wavefronts_mem_shared_op_ld.sum",
    "l1tex__data_pipe_lsu_wavefronts_mem_shared_op_st.sum",
    "smsp__inst_executed.sum",
    "smsp__inst_executed_pipe_fma.sum",
)
_started = time.monotonic()
_limit = BUDGET
_printing = threading.Lock()


def call(command: list[str], limit: float) -> tuple[int, str, float]:
    """Exit code (124: it ran out of time, and whatever it had started was ended with it), what was printed, seconds."""
    limit = min(limit, _limit - (time.monotonic() - _started))
    if limit < 1:
        return 124, "no time was left for it", 0.0
    start = time.perf_counter()
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
    with _printing:
        print("$", " ".join(command), text, f"-> exit code {code} after {seconds:.0f} s", sep="\n", flush=True)
    return code, text, round(seconds, 1)


def rungs() -> dict:
    """Every rung of the ladder against NumPy; what was wrong, if anything was."""
    code, text, seconds = call([sys.executable, "-c", "import sys; from support import rungs; sys.exit(rungs.check() > 0)"], CORRECTNESS)
    lines = [line for line in text.splitlines() if line.startswith(("right", "WRONG"))]
    found = {"passed": code == 0, "tried": len(lines), "wrong": [line for line in lines if line.startswith("WRONG")], "seconds": seconds}
    return found if code == 0 else {**found, "report": text[-3000:]}


def tests(backend: str) -> dict:
    """The tests marked ``gpu`` of one backend. Only files that have some: another that cannot be imported here does not matter."""
    files = [str(f.relative_to(ROOT)) for f in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in f.read_text(encoding="utf-8")]
    other = {"cuda": "not numba_cuda", "numba_cuda": "numba_cuda"}[backend]
    options = ["-m", "gpu", "-k", other, "--profile", "gpu", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    side_by_side = ["-n", str(TESTS[backend])] if find_spec("xdist") else []
    code, text, seconds = call([sys.executable, "-m", "pytest", "--tb=short", "-v", *side_by_side, *options, *files], CORRECTNESS)
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


def _tool(name: str) -> str | None:
    """The path of a program of the CUDA toolkit."""
    installed = sorted(Path("/usr/local").glob(f"cuda*/bin/{name}")) + sorted(Path("/opt/nvidia").glob(f"nsight-compute/*/{name}"))
    return shutil.which(name) or next((str(path) for path in installed), None)


def sanitizer(tool: str) -> dict:
    """One tool over the small cases; that it runs here at all is tried first."""
    program = _tool("compute-sanitizer")
    if program is None:
        return {"ran": False, "reason": "compute-sanitizer is not installed"}
    run = lambda line, limit: call([program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", line], limit)
    code, text, _ = run("import cupy; (cupy.arange(8) + 1).sum().item()", 40)
    if code:
        return {"ran": False, "reason": f"not run: it does not run here: {text.strip()[-300:]}"}
    code, text, seconds = run("import on_gpu; on_gpu.small_cases()", CORRECTNESS)
    if code == 124:
        return {"ran": False, "reason": "out of time", "seconds": seconds}
    summary = re.findall(r"ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard", text)
    errors = sum(int(n) for pair in summary for n in pair if n)
    found = {"ran": True, "errors": errors, "exit_code": code, "seconds": seconds}
    return {**found, "report": text[-3000:]} if code else found


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


def counters(part: Path) -> dict:
    """What the hardware counted in each kernel of the rungs, by Nsight Compute."""
    program = _tool("ncu")
    if program is None:
        return {"ran": False, "reason": "ncu is not installed"}
    chosen = [*(f"--section={name}" for name in SECTIONS), f"--metrics={','.join(METRICS)}"]
    # The clocks stay as they are: the machine may serve others.
    command = [program, "--clock-control", "none", "-k", "regex:conv2d", *chosen, "--csv", "--page", "raw", "--log-file", str(part)]
    code, text, seconds = call([*command, sys.executable, "-c", "import on_gpu; on_gpu.each_rung_once()"], COUNTERS)
    lines = part.read_text(encoding="utf-8").splitlines() if part.exists() else []
    rows = list(csv.DictReader(line for line in lines if line.startswith('"')))
    if code or len(rows) < 2:
        return {"ran": False, "exit_code": code, "reason": "\n".join([text[-1000:], *lines[-20:]]), "seconds": seconds}
    units, *kernels = rows  # the second line holds the units
    order = [line for line in text.splitlines() if line.startswith("rung ")]
    kept = lambda row: {
        name: value for name, value in row.items() if value and (name == "Kernel Name" or "__" in name or "size" in name.lower())
    }
    return {
        "ran": True,
        "order": order,
        "units": {k: v for k, v in units.items() if v},
        "kernels": [kept(k) for k in kernels],
        "seconds": seconds,
    }


def each_rung_once() -> None:
    """Every rung that serves the middle layer of the ladder's benchmark (what the counters are read of)."""
    from minisegnet.bench import rungs
    from minisegnet.bench.libraries import Minisegnet

    library = Minisegnet("cuda", 1, "cuda")
    layer = rungs.LAYERS[1]
    for case, (its_layer, _) in rungs.CASES.items():
        for label in rungs.rungs_of(case) if its_layer == layer else ():
            print("rung", label, "of", case, flush=True)
            calls, _ = rungs.phases(library, case, label)
            for call in calls.values():
                call()
            library.finish()


def main(arguments: list[str]) -> int:
    global _limit
    from minisegnet.bench.report import environment
    from minisegnet_kernels import backends

    parts = ("rungs", "tests", "sanitizers", *PARTS, "counters", "pictures")
    parser = argparse.ArgumentParser(prog="tests/on_gpu.py", description="Test and measure everything on a GPU.")
    parser.add_argument(
        "folder", nargs="?", type=Path, default=ROOT / "docs" / "benchmarks", help="where the record goes (default: %(default)s)"
    )
    parser.add_argument("--only", default=",".join(parts), metavar="PARTS", help="the parts to run, with commas (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=BUDGET, help="end everything after this time (default: %(default)s)")
    options = parser.parse_args(arguments)
    chosen, _limit = options.only.split(","), options.seconds
    if unknown := set(chosen) - set(parts):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    if not backends.gpu_count():
        print("there is no GPU here: the driver reports none")
        return 2
    where = environment(os.cpu_count() or 1)
    options.folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", where.get("gpu", {}).get("name", "gpu").lower()).strip("-")
    stem = options.folder / f"{name}-{datetime.now(UTC):%Y-%m-%d}"
    target = stem.with_name(f"{stem.name}.json")  # not with_suffix: a name may have a dot
    record: dict = {"environment": where}
    writing = threading.Lock()

    def keep(part: str, found: dict) -> bool:
        with writing:
            record[part] = found
            target.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return found.get("passed", not found.get("errors") and not found.get("exit_code"))

    jobs = {
        **({"rungs": rungs} if "rungs" in chosen else {}),
        **({f"tests {backend}": lambda backend=backend: tests(backend) for backend in TESTS} if "tests" in chosen else {}),
        **({f"sanitizer {tool}": lambda tool=tool: sanitizer(tool) for tool in SANITIZERS} if "sanitizers" in chosen else {}),
    }
    with ThreadPoolExecutor(len(jobs) or 1) as side_by_side:
        right = list(side_by_side.map(lambda item: keep(item[0], item[1]()), jobs.items()))
    with tempfile.TemporaryDirectory() as folder:
        for part, (command, limit) in PARTS.items():
            if part in chosen:
                right.append(keep(part, benchmark(command, Path(folder) / f"{part}.json", limit)))
            if part == "breakdown" and "counters" in chosen:
                keep("counters", counters(Path(folder) / "counters.csv"))
        if "pictures" in chosen:
            keep("pictures", draw(Path(folder), stem))
    print("wrote", target)
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]
    sys.exit(main(sys.argv[1:]))
