"""The toy engine and the real one agree on random graphs."""

import random

import numpy as np
import pytest

from minisegnet.learn.toy import Value, tape
from minisegnet.tensor import tensor

OPERATIONS = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (b * b + a.__class__.one),
    lambda a, b: (a.__class__.one - a * a).exp(),
]


def graph(make, seed):
    """The gradients of the three inputs of a random program: twelve operations, some of whose results are used often, others never."""
    rng = random.Random(seed)
    inputs = [make(rng.uniform(-1, 1)) for _ in range(3)]
    values = list(inputs)
    type(inputs[0]).one = make(1.0)
    for _ in range(12):
        values.append(rng.choice(OPERATIONS)(rng.choice(values), rng.choice(values[-4:])))
    result = values[-1] + values[-2] * values[-1] + inputs[0] * inputs[1] * inputs[2]
    result.backward()
    del type(inputs[0]).one
    return inputs, result


@pytest.mark.quick
@pytest.mark.parametrize("seed", range(40))
def test_both_engines_give_the_same_gradients(seed):
    tape.clear()
    ours, y = graph(lambda number: tensor(np.array(number), requires_grad=True), seed)
    toys, z = graph(Value, seed)
    np.testing.assert_allclose(y.item(), z.data, rtol=1e-12)
    found = [0.0 if x.grad is None else x.grad.item() for x in ours]
    np.testing.assert_allclose(found, [x.grad for x in toys], rtol=1e-9, atol=1e-12)
    assert any(found)


def test_the_toy_is_thirty_lines():
    """The lines of code of the class; empty lines and the docstring do not count."""
    import inspect

    lines = [line for line in inspect.getsource(Value).splitlines() if line.strip() and '"""' not in line]
    assert len(lines) <= 30
