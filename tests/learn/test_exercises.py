"""``ms.check``: right answers pass, wrong ones are located."""

import numpy as np
import pytest

from minisegnet.learn.exercises import check
from minisegnet_kernels import registry
from minisegnet_kernels.conv2d import reference

PLAIN = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
ANSWERS = {
    "conv2d.forward": lambda x, w, b: reference.forward(x, w, b, **PLAIN),
    "conv2d.grad_weight": lambda g, x: reference.grad_weight(g, x, kernel_size=(3, 3), **PLAIN),
    "conv2d.grad_input": lambda g, w: reference.grad_input(g, w, input_size=(g.shape[2] + 2, g.shape[3] + 2), **PLAIN),
    "conv2d.grad_bias": lambda g: g.sum((0, 2, 3)),
    "activation.relu": lambda x: np.maximum(x, 0),
}


@pytest.mark.parametrize("id", ANSWERS)
def test_a_right_answer_passes(id, capsys):
    assert check(id, ANSWERS[id])
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, w, b: None, "not yet"),
        (lambda x, w, b: ANSWERS["conv2d.forward"](x, w[..., ::-1], b), "n = 0, o = 0, i = 0, j = 0"),
        (lambda x, w, b: -ANSWERS["conv2d.forward"](x, w, b), "sign"),
        (lambda x, w, b: ANSWERS["conv2d.forward"](x, w, b)[:, 0], "must have shape (1, 1, 1, 1)"),
        (lambda x, w, b: x @ w[0, 0, 0, :2], "raised ValueError"),
        (
            lambda x, w, b: ANSWERS["conv2d.forward"](x, w[:, :1], b) if x.shape[1] > 1 else ANSWERS["conv2d.forward"](x, w, b),
            "(1, 2, 4, 5)",
        ),
    ],
)
def test_a_wrong_answer_is_located(function, words, capsys):
    assert not check("conv2d.forward", function)
    assert words in capsys.readouterr().out


def test_an_equation_without_exercise():
    with pytest.raises(KeyError, match="no exercise"):
        check("resize.bilinear", lambda x: x)


def test_all_exercises_are_equations():
    assert all(registry.get(id) for id in ANSWERS)
