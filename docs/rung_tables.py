"""The tables of a rung's page: what the emulator counted, what the compiler reported, and the layers that the rule sends to it."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from minisegnet_kernels.conv2d import examples
from minisegnet_kernels.conv2d.ladder import RUNGS, Rung

HERE = Path(__file__).parent
FOLDER = HERE.parent / "kernels" / "minisegnet_kernels" / "conv2d" / "ladder"
#: The pages in order, and the rung that each is built on and compared with.
BUILT_ON = {
    "rung1_direct": None,
    "rung2_tile": "rung1_direct",
    "rung3_implicit_gemm": "rung2_tile",
    "rung4_register_tile": "rung3_implicit_gemm",
    "rung4s_winograd": "rung4_register_tile",
    "rung5_asynchronous": "rung4_register_tile",
    "rung6_tf32": "rung3_implicit_gemm",
    "rung7_tf32_tuned": "rung6_tf32",
    "rung8_grad_input": "rung5_asynchronous",
    "rung8_grad_weight": "rung5_asynchronous",
    "rung8_register_tile_grad_input": "rung4_register_tile",
    "rung8_register_tile_grad_weight": "rung8_grad_weight",
    "rung8_tf32_grad_input": "rung7_tf32_tuned",
    "rung8_tf32_grad_weight": "rung7_tf32_tuned",
}
WORDS = {"conv2d.forward": "forward", "conv2d.grad_input": "input gradient", "conv2d.grad_weight": "weight gradient"}
#: What of a count is shown: its key in ladder.json, its name, and the number by which it is divided.
COUNTS = {
    "bytes": ("KiB that threads request from memory", 1024),
    "sectors": ("sectors that the requests touch", 1),
    "least_sectors": ("the fewest that could hold the bytes", 1),
    "wavefronts": ("turns of shared memory", 1),
    "conflicts": ("turns lost to bank conflicts", 1),
}
GPUS = {"sm_75": "T4 (7.5)", "sm_80": "A100 (8.0)", "sm_90": "H100 (9.0)"}


def rungs_of(stem: str) -> list[Rung]:
    """The rungs of a ``.cu`` file, one for each equation that it computes."""
    return [rung for rung in RUNGS if rung.path == source_of(stem)]


def source_of(stem: str) -> Path:
    return FOLDER.parent / "kernel.cu" if stem == "rung1_direct" else FOLDER / f"{stem}.cu"


def below(stem: str) -> list[str]:
    """The files that a rung is built on, the nearest first."""
    under = BUILT_ON[stem]
    return [under, *below(under)] if under else []


@cache
def _counts() -> dict[str, Any]:
    return json.loads((HERE / "benchmarks" / "ladder.json").read_text(encoding="utf-8"))


def _count(rung: Rung) -> dict[str, Any] | None:
    found = [c for c in _counts()["counts"] if (c["name"], c["equation"], c["label"]) == (rung.name, rung.equation, rung.label)]
    return found[0] | {"conflicts": found[0]["wavefronts"] - found[0]["least_wavefronts"]} if found else None


def _beside(rung: Rung, stem: str) -> Rung | None:
    """The nearest rung below that computes the same equation."""
    return next((r for under in below(stem) for r in rungs_of(under) if r.equation == rung.equation and _count(r)), None)


def counted(rungs: list[Rung]) -> str:
    """What each equation requests, beside the rung below."""
    stem = next(s for s in BUILT_ON if source_of(s) == rungs[0].path)
    layer = _counts()["layer"]
    said = (
        f"One layer in the emulator: {layer['kernel']}×{layer['kernel']}, {layer['channels']} → {layer['outputs']} channels, {layer['batch']} × "
        f"{layer['size']}², float32. These are counts, the same on every machine, not times. [The ladder](../ladder.md#what-can-be-seen-with-no-gpu) "
        "shows all rungs."
    )
    tables = []
    for rung in rungs:
        mine, other = _count(rung), _beside(rung, stem)
        if mine is None:
            continue
        theirs = _count(other) if other else None
        head = [
            f"{WORDS[rung.equation]}, {mine['layout']}",
            *([f"{other.label} {other.name}"] if other else []),
            f"{rung.label} {rung.name}",
        ]
        rows = [
            [
                name,
                *([_number(theirs[key] / unit)] if theirs else []),
                _number(mine[key] / unit),
                *([_times(theirs[key], mine[key])] if theirs else []),
            ]
            for key, (name, unit) in COUNTS.items()
        ]
        head += ["change"] if theirs else []
        tables.append("\n".join(f"| {' | '.join(row)} |" for row in [head, ["---", *["---:"] * (len(head) - 1)], *rows]))
    return "\n\n".join([said, *tables])


def _number(value: float) -> str:
    return f"{value:,.0f}"


def _times(before: int, now: int) -> str:
    if before == now:
        return "the same"
    if before and abs(now / before - 1) < 0.05:
        return "nearly the same"
    if not before or not now:
        return ""
    return f"{now / before:.1f} times" if now > before else f"1/{before / now:.1f}"


def compiled(stem: str) -> str:
    """Registers and shared memory of the file's own kernels in float32."""
    key = source_of(stem).relative_to(FOLDER.parents[1]).as_posix()
    report = json.loads((HERE / "benchmarks" / "compiled.json").read_text(encoding="utf-8"))
    own = re.compile(rf"conv2d_({'|'.join(w.partition('.')[2] for w in WORDS)})(__{rungs_of(stem)[0].name})?(<.*)?$")
    found: dict[str, dict[str, dict[str, int]]] = {}
    for instance in report["kernels"][key]["instances"]:
        if own.match(instance["kernel"]) and "double" not in instance["kernel"]:
            found.setdefault(instance["kernel"], {})[instance["architecture"]] = instance
    gpus = [gpu for gpu in GPUS if any(gpu in of for of in found.values())]
    spills = sum(i["spills"] for of in found.values() for i in of.values())
    rows = [
        f"| `{kernel}` | {' | '.join(str(of[gpu]['registers']) if gpu in of else '–' for gpu in gpus)} | {next(iter(of.values()))['shared'] / 1024:g} |"
        for kernel, of in found.items()
    ]
    said = f"Registers of a thread and static shared memory of a block, by NVRTC {report['nvrtc']}; spilled registers: {spills or 'none'}."
    if "DYNAMIC_SHARED" in source_of(stem).read_text(encoding="utf-8"):
        said += " The host chooses the size of this rung's shared memory at each launch, so the compiler reports none."
    return "\n".join(
        [said, "", f"| kernel | {' | '.join(GPUS[g] for g in gpus)} | KiB shared |", f"|---|{'---:|' * (len(gpus) + 1)}", *rows]
    )


def layers(rungs: list[Rung]) -> str:
    """The typical layers that the rule sends here, by GPU."""
    rows: dict[str, dict[str, list[str]]] = {}
    for rung in rungs:
        for layer, by_gpu in examples.routes(rung.equation).items():
            for gpu, chosen in by_gpu.items():
                if chosen is rung:
                    rows.setdefault(layer, {}).setdefault(gpu, []).append(WORDS[rung.equation])
    rule = "[The rule](../../kernels/minisegnet_kernels/conv2d/kernel.py)"
    if not rows:
        argument = rungs[0].equation.partition(".")[2]
        return (
            f"{rule} sends none of the [typical layers](../ladder.md#which-rung-runs) here: it tries other rungs first, and each of these layers "
            f'goes to one of them. Choose this one by hand with `ms.backend.use_rung({argument}="{rungs[0].name}")`.'
        )
    table = [f"| {layer} | {' | '.join(', '.join(by_gpu.get(gpu, ['–'])) for gpu in examples.GPUS)} |" for layer, by_gpu in rows.items()]
    return "\n".join(
        [
            f"By {rule.replace('The', 'the')}; channels last, float32 and batch 8 unless the row says otherwise.",
            "",
            f"| layer | {' | '.join(examples.GPUS)} |",
            f"|---|{'---|' * len(examples.GPUS)}",
            *table,
        ]
    )
