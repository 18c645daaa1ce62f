"""A training step of whole networks, launch by launch: layouts, rungs, and the numbers of launches and waits.

Nothing is computed (`NullGPU.computes`): layouts and launches do not depend on values, so the networks have a real size.
"""

from collections import Counter

import numpy as np
import pytest
from support.training import network, steps

import minisegnet as ms

images, labels = np.zeros((2, 3, 128, 128), np.float32), np.zeros((2, 128, 128), np.int64)


@pytest.fixture
def step(gpu, monkeypatch):
    """The calls of the second step of a network, in channels last."""
    monkeypatch.setattr(gpu, "computes", False)

    def run(name, channels=3, **options):
        model = network(name, channels=channels, width=1 / 4, **options).to("cuda", memory_format="channels_last")
        optimizer = ms.optim.Adam(model.parameters())
        first = lambda scores, labels: ms.functional.cross_entropy(scores if isinstance(scores, ms.Tensor) else scores[0], labels)
        with ms.backend.allow_tf32(True):
            for _ in steps(model, optimizer, [(images[:, :channels], labels)] * 2, "cuda", first, "channels_last"):
                log = list(gpu.log)
                gpu.log.clear()
        return log

    return run


def layouts(log):
    """Each image of each convolution, in order: (kernel, parameter, shape, layout). An image of one pixel has no layout."""
    listed = []
    for call in log:
        if call.kind == "launch" and call.name.startswith("conv2d") and not call.name.partition("<")[0].endswith(("sum", "merge")):
            for name in ("x", "y", "g", "xbar"):
                array = call.arguments.get(name)
                if array is not None and array["shape"].size == 4 and np.prod(array["shape"][1:]) > 1:
                    layout = "channels last" if array["stride"][1] == 1 else "rows first"
                    listed.append((call.name.partition("<")[0], name, tuple(map(int, array["shape"])), layout))
    return listed


NETWORKS = ["unet", "fcn8s", "unet_resnet"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_survives_from_the_first_convolution_to_the_last_weight_gradient(step, name, channels):
    listed = layouts(step(name, channels))
    assert {kernel.partition("__")[0] for kernel, *_ in listed} >= {"conv2d_grad_input", "conv2d_grad_weight"} and len(listed) > 50
    assert listed[0][1:3] == ("x", (2, channels, 128, 128)), "the first is the batch"
    assert [image for image in listed if image[3] != "channels last"] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_wide_layers_take_the_tensor_cores_in_all_three_equations(step, name):
    """Rung 7 and its gradients run wherever the channels allow it. Other layers are narrow, or their image has three channels."""
    taken = Counter()
    for call in step(name):
        if call.kind == "launch" and call.name.startswith("conv2d_") and not call.name.partition("<")[0].endswith(("sum", "merge")):
            equation, _, rung = call.name.partition("<")[0].partition("__")
            taken[equation.replace("_statistics", "").replace("_relu", ""), rung] += 1
    for equation in ("conv2d_forward", "conv2d_grad_input", "conv2d_grad_weight"):
        tuned = taken[equation, "tf32_tuned"]
        others = sum(n for (of, rung), n in taken.items() if of == equation and rung not in ("tf32_tuned", "permute"))
        assert tuned > 2 * others, (equation, taken)


def test_a_step_of_the_unet_makes_no_wait_and_few_launches(step):
    log = step("unet", channels=1)
    kinds = Counter(call.kind for call in log if call.name != "host to device")  # the batch, and the rates of Adam
    assert not [call for call in log if call.blocking]
    assert kinds["launch"] + kinds["fill"] + kinds["copy"] < 250, kinds
    arithmetic = Counter(c.name for c in log if c.kind == "launch" and c.name.startswith("cupy_"))
    assert sum(arithmetic.values()) <= 31, arithmetic  # 16 copies of concatenations and their gradients, 8 sums, and single ones


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in ms.models.list_models() if n not in ("deconvnet", "unet_paper")])
def test_every_network_takes_a_step_in_channels_last(step, name):
    log = step(name)
    assert not [call for call in log if call.blocking]
    assert [image for image in layouts(log) if image[3] != "channels last"] == []
