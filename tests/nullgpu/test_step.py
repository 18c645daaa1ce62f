"""A training step of whole networks, launch by launch: layouts, rungs, waits and how many there are of each.

Nothing is computed (`NullGPU.computes`): layouts and launches do not depend on values, so the networks have a real size.
"""

from collections import Counter

import numpy as np
import pytest
from support.training import network, steps

import minisegnet as ms

IMAGES = np.zeros((2, 3, 128, 128), np.float32), np.zeros((2, 128, 128), np.int64)


@pytest.fixture
def step(gpu, monkeypatch):
    """The calls of the second step of a network, in channels last."""
    monkeypatch.setattr(gpu, "computes", False)

    def run(name, **options):
        model = network(name, channels=3, width=1 / 4, **options).to("cuda")
        optimizer = ms.optim.Adam(model.parameters())
        first = lambda scores, labels: ms.functional.cross_entropy(scores if isinstance(scores, ms.Tensor) else scores[0], labels)
        with ms.backend.allow_tf32(True):
            for _ in steps(model, optimizer, [IMAGES, IMAGES], "cuda", first, "channels_last"):
                log = list(gpu.log)
                gpu.log.clear()
        return log

    return run


def images(call):
    """The images of a launch, by the name of the parameter: those arrays that have more than one channel."""
    arrays = {k: v for k, v in call.arguments.items() if k in ("x", "y", "g", "xbar") and getattr(v, "dtype", None) and v.dtype.names}
    return {k: v for k, v in arrays.items() if len(v["shape"]) == 4 and v["shape"][1] > 1 and np.prod(v["shape"][2:]) > 1}


NETWORKS = ["unet", "fcn8s", "unet_resnet"]


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_survives_from_the_first_convolution_to_the_last_weight_gradient(step, name):
    convolutions = [c for c in step(name) if c.kind == "launch" and c.name.startswith("conv2d") and "__sum" not in c.name]
    seen = [(c.name, k, tuple(v["shape"]), tuple(v["stride"])) for c in convolutions for k, v in images(c).items()]
    assert len(seen) > 50
    odd = [s for s in seen if s[3][1] != 1]
    assert not odd, odd


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
    log = step("unet")
    kinds = Counter(call.kind for call in log)
    assert not [call for call in log if call.blocking]
    assert kinds["launch"] <= 365 and kinds["fill"] <= 24 and kinds["copy"] <= 24, kinds
    arithmetic = Counter(c.name for c in log if c.kind == "launch" and c.name.startswith("cupy_") and not c.name.startswith("cupy_copy"))
    assert sum(arithmetic.values()) <= 32, arithmetic


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in ms.models.list_models() if n not in ("deconvnet", "unet_paper")])
def test_every_network_takes_a_step(step, name):
    assert not [call for call in step(name) if call.blocking]
