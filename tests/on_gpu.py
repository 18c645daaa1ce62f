"""Everything that needs a GPU, in one command and under ten minutes: ``python tests/on_gpu.py``.

It needs what is installed beside this repository and nothing else: CuPy (for CUDA 12 or 13), pytest,
hypothesis, numba, numba-cuda; PyTorch as a peer if it is there.

1. the tests marked ``gpu``, whose skips are failures here;
2. compute-sanitizer (memcheck, racecheck, synccheck, initcheck) over small cases of every kernel, where
   the machine has it and lets it run;
3. ``minisegnet bench --device cuda`` with PyTorch beside it.

What came out goes to ``docs/benchmarks/<device>-<date>.json``, with a picture beside it. The exit code is
0 if the tests passed and no sanitizer complained.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
    "MINISEGNET_REQUIRE_GPU": "1",
    "MPLBACKEND": "Agg",
}


def call(command: list[str], limit: int) -> tuple[int, str, float]:
    """Exit code (124: it ran out of time), what was printed, seconds."""
    start = time.perf_counter()
    print("$", " ".join(command), flush=True)
    try:
        done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=limit, check=False)
        code, text = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        code, text = 124, (late.stdout or b"").decode(errors="replace")
    seconds = time.perf_counter() - start
    print(text[-3000:], f"-> exit code {code} after {seconds:.0f} s", flush=True)
    return code, text, round(seconds, 1)


def tests() -> dict:
    code, text, seconds = call([sys.executable, "-m", "pytest", "-q", "--maxfail=30", "-m", "gpu", "-p", "no:cacheprovider"], 300)
    closing = re.findall(r"^.*\b(?:passed|failed|error).*$", text, re.M)
    return {"passed": code == 0, "said": closing[-1].strip("= ") if closing else "", "seconds": seconds}


def sanitizer(tool: str) -> dict:
    """One tool over the small cases; that it runs at all is tried first."""
    program = shutil.which("compute-sanitizer") or next(iter(sorted(Path("/usr/local").glob("cuda*/bin/compute-sanitizer"))), None)
    if program is None:
        return {"ran": False, "reason": "compute-sanitizer is not installed"}
    tiny = [str(program), "--tool", tool, "--error-exitcode", "9", sys.executable, "-c"]
    code, text, _ = call([*tiny, "import cupy; (cupy.arange(8) + 1).sum().item()"], 60)
    if code:
        return {"ran": False, "reason": f"it does not run here: {text.strip()[-300:]}"}
    code, text, seconds = call([*tiny, f"import sys; sys.path[:0] = ['{ROOT / 'tests'}']; import on_gpu; on_gpu.small_cases()"], 90)
    if code == 124:
        return {"ran": False, "reason": "out of time"}
    summary = re.findall(r"ERROR SUMMARY: (\d+) error|RACECHECK SUMMARY: (\d+) hazard", text)
    errors = sum(int(n) for pair in summary for n in pair if n)
    return {"ran": True, "errors": errors, "exit_code": code, "seconds": seconds, **({"report": text[-3000:]} if code else {})}


def small_cases() -> None:
    """A few cases of every row of the table on both GPU backends (what runs under the sanitizers)."""
    from mutants import cases
    from targets import ON_DEVICE

    from minisegnet_kernels import registry

    for operation in registry.OPERATIONS:
        for row, case in cases(operation, 2):
            for target in ON_DEVICE:
                target.run(row, case.cast("float32"))


def benchmark(json_file: Path, picture: Path) -> dict:
    command = [sys.executable, "-m", "minisegnet", "bench", "--device", "cuda", "--rounds", "3"]
    code, text, seconds = call(
        [*command, "--json", str(json_file), "--picture", str(picture), "--roofline", str(picture.with_stem(picture.stem + "-roofline"))],
        240,
    )
    return {"passed": code == 0, "said": text[-6000:], "seconds": seconds}


def main() -> int:
    from minisegnet.bench.report import environment

    where = environment(os.cpu_count() or 1)
    if "gpu" not in where:
        print("there is no GPU here: nvidia-smi does not answer")
        return 2
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", where["gpu"]["name"].lower()).strip("-")
    target = folder / f"{name}-{datetime.now(UTC):%Y-%m-%d}.json"
    record: dict = {"environment": where}

    def keep() -> None:  # after each part: what is known stays known if a later one hangs
        target.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    record["tests"] = tests()
    keep()
    record["benchmark"] = benchmark(folder / f"{name}-timings.json", folder / f"{name}.png")
    timings = folder / f"{name}-timings.json"
    if timings.exists():
        record |= {key: value for key, value in json.loads(timings.read_text()).items() if key in ("roofs", "results")}
        timings.unlink()
    keep()
    record["sanitizers"] = {}
    for tool in SANITIZERS:
        record["sanitizers"][tool] = sanitizer(tool)
        keep()
    print("wrote", target)
    clean = all(s.get("errors", 0) == 0 and s.get("exit_code", 0) == 0 for s in record["sanitizers"].values())
    return 0 if record["tests"]["passed"] and record["benchmark"]["passed"] and clean else 1


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests")]
    sys.exit(main())
