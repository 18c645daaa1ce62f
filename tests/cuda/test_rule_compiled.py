"""Every kernel that the rule selects for a GPU has been compiled for it: seven GPUs, many cases, both layouts, with TF32 and without.

``python tests/cuda/test_rule_compiled.py`` prints the table of docs/ladder.md.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support.ladder import CASES

from minisegnet import models, trace
from minisegnet_kernels.conv2d import examples, kernel
from minisegnet_kernels.conv2d.ladder import Case, allow_tf32
from minisegnet_kernels.cuda import nvrtc

TABLE = json.loads((Path(__file__).parents[2] / "docs" / "benchmarks" / "compiled.json").read_text())["kernels"]
EQUATIONS = tuple(kernel.RULE)
NETWORKS = ("unet", "fcn8s", "unet_resnet")


def geometry_of_cases():
    """x, w and options of the ladder's cases, and of the same cases with the channels of wide layers."""
    for N, C, H, W, O, U, V, stride, padding, dilation, groups in CASES.values():
        for wide in (1, 8):
            options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
            yield (N, wide * C, H, W), (wide * O, wide * C // groups, U, V), options


def geometry_of_network(name):
    """The same for the convolutions of a network, which runs without computing anything."""
    model = models.create(name, in_channels=3, num_classes=21, width=0.5)
    for call in trace.dry_run(model, (2, 3, 96, 96)).calls:
        if call.function.startswith("conv"):
            given, y = call.arguments, call.results[0]
            x = (
                y if "transpose" in call.function else given["input"]
            )  # a transposed convolution is the gradient of one that reads its result
            padding = tuple((p, p) for p in given["padding"])
            yield x.shape, given["weight"].shape, {**{k: given[k] for k in ("stride", "dilation", "groups")}, "padding": padding}


@cache
def compiled_for(path):
    """{architecture: compiled instances}, from the committed table."""
    found = {}
    for row in TABLE[nvrtc.name_of(path)]["instances"]:
        found.setdefault(row["architecture"], set()).add(row["kernel"])
    return found


def refused(geometries, architecture):
    """(rung, case) for each case whose rung has an instance that is not compiled for the GPU; and the number of cases."""
    wrong, rungs = [], set()
    for x, w, options in geometries:
        for equation in EQUATIONS:
            for dtype in ("float32", "float64"):
                for last in (True, False):
                    for tf32 in (True, False):
                        case = Case(equation, tuple(x), tuple(w), **options, dtype=np.dtype(dtype), channels_last=last)
                        with allow_tf32(tf32):
                            rung = kernel.choose(case, nvrtc.capability(architecture))
                        rungs.add((rung.label, rung.name))
                        source = rung.module.source
                        wanted = {k.expression(i) for k in source.kernels.values() for i in k.instances()}
                        if not wanted <= compiled_for(rung.path).get(architecture, set()):
                            wrong.append((rung.name, str(case)))
    return wrong, rungs


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
def test_every_case_goes_to_a_rung_that_is_compiled_for_its_gpu(architecture):
    wrong, rungs = refused(geometry_of_cases(), architecture)
    assert wrong == []
    asynchronous = {("5", "asynchronous"), ("7", "tf32_tuned"), ("8", "asynchronous"), ("8", "tf32_tuned")}
    through_registers = {("4", "register_tile"), ("8", "register_tile")}
    assert (through_registers if architecture == "sm_75" else asynchronous) <= rungs
    assert architecture != "sm_75" or not asynchronous & rungs


@pytest.mark.parametrize("network", NETWORKS)
def test_every_layer_of_a_network_goes_to_a_rung_that_is_compiled_for_its_gpu(network):
    layers = list(geometry_of_network(network))
    assert len(layers) > 20
    for architecture in nvrtc.ARCHITECTURES:
        assert refused(layers, architecture)[0] == []


def test_a_rung_that_a_gpu_cannot_run_would_be_found(monkeypatch):
    """If the rule ignored the capability, it would send wide layers to cp.async on a T4."""
    monkeypatch.setattr(nvrtc, "capability", lambda architecture: (8, 0))
    wrong, _ = refused(geometry_of_cases(), "sm_75")
    assert {"asynchronous", "tf32_tuned"} <= {name for name, _ in wrong}


def test_the_gpus_of_a_column_of_the_tables_have_the_same_rungs():
    """The pages name four GPUs in three columns; the rule sends no case elsewhere on any other GPU from 8.0 on."""
    for x, w, options in geometry_of_cases():
        for equation in EQUATIONS:
            for last in (True, False):
                case = Case(equation, x, w, **options, dtype=np.dtype("float32"), channels_last=last)
                for tf32 in (True, False):
                    with allow_tf32(tf32):
                        found = {kernel.choose(case, nvrtc.capability(a)).name for a in nvrtc.ARCHITECTURES if a != "sm_75"}
                    assert len(found) == 1


# --- the table in docs/ladder.md -------------------------------------------------------------------------


def table():
    """Which rung typical layers go to, forward, for the input gradient and for the weight gradient."""
    by_equation = [examples.routes(equation) for equation in EQUATIONS]
    lines = [f"| layer | {' | '.join(examples.GPUS)} |", f"|---|{'---|' * len(examples.GPUS)}"]
    for layer in examples.LAYERS:
        cells = ("; ".join(f"{routes[layer][gpu].label} {routes[layer][gpu].name}" for routes in by_equation) for gpu in examples.GPUS)
        lines.append(f"| {layer} | {' | '.join(cells)} |")
    return "\n".join(lines)


def test_the_page_of_the_ladder_shows_what_the_rule_says():
    assert table() in (Path(__file__).parents[2] / "docs" / "ladder.md").read_text(encoding="utf-8"), "it is what this file prints"


if __name__ == "__main__":
    print(table())
