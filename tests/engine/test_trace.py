"""The tracer: every function with its arguments, every layer with its output, and nothing left behind."""

import numpy as np
import pytest

from minisegnet import functional as F
from minisegnet import nn
from minisegnet.tensor import Tensor
from minisegnet.trace import dry_run, functions_recorded, layers_recorded, leaves


def network():
    return nn.Sequential({"conv": nn.Conv2d(2, 3, 3, padding=1), "relu": nn.ReLU(), "same": nn.Identity(), "pool": nn.MaxPool2d(2)})


def test_functions_are_recorded_in_order_with_all_arguments_and_their_results():
    x = Tensor(np.ones((1, 2, 4, 4), np.float32))
    with functions_recorded() as calls:
        y = F.leaky_relu(x)
        z = y + 1
    F.relu(z)  # not recorded
    assert [call.function for call in calls] == ["leaky_relu", "add"]
    assert calls[0].arguments["input"] is x and calls[0].arguments["negative_slope"] == 0.01
    assert calls[0].results[0] is y and calls[1].arguments["a"] is y and calls[1].results[0] is z


def test_layers_are_recorded_at_every_call_and_not_fused_meanwhile():
    model = network()
    x = Tensor(np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32))
    with layers_recorded(leaves(model)) as outputs:
        result = model(x)
        model.relu(x)
    assert [output.path for output in outputs] == ["conv", "relu", "same", "pool", "relu"]
    assert outputs[0].layer is model.conv and outputs[3].tensor is result
    assert (outputs[0].tensor.array < 0).any(), "the convolution was fused with its ReLU"
    assert not any(module._hooks() for module in model.modules())
    with pytest.raises(RuntimeError, match="inside"), layers_recorded(leaves(model)):
        raise RuntimeError("inside")
    assert not any(module._hooks() for module in model.modules())


def test_a_dry_run_has_the_shapes_and_leaves_the_network_as_it_was():
    model = nn.Sequential({"conv": nn.Conv2d(2, 3, 3), "norm": nn.BatchNorm2d(3)}).train()
    before = {name: value.array.copy() for name, value in model.state_dict().items()}
    run = dry_run(model, (2, 2, 8, 9), graph=True)
    assert run.returned.shape == (2, 3, 6, 7) and model.training and model.norm.training
    assert all(np.array_equal(value.array, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match=r"channels|C"):
        dry_run(model, (1, 5, 8, 8))


def test_a_node_belongs_to_the_layer_that_made_it_and_not_to_one_that_returns_its_input():
    run = dry_run(network(), (1, 2, 8, 8), graph=True)
    assert [path for path, _ in run.layers.values()] == ["conv", "relu", "pool"]
    assert run.layers[run.returned._node][0] == "pool"
    assert not dry_run(nn.Sequential(nn.Identity()), (1, 2, 8, 8), graph=True).layers


def test_without_a_graph_neighbours_are_recorded_as_the_one_function_that_computes_them():
    names = [call.function for call in dry_run(network(), (1, 2, 8, 8)).calls]
    assert names == ["conv2d_relu", "_max_pool"]
    assert [call.function for call in dry_run(network(), (1, 2, 8, 8), graph=True).calls] == ["conv2d", "relu", "_max_pool"]
