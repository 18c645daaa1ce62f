"""``ms.guess`` and ``ms.check_grads``."""

import numpy as np
import pytest

import minisegnet as ms


@pytest.mark.parametrize(
    ("mine", "truth", "within", "right"),
    [
        ((1, 4, 5, 5), (1, 4, 5, 5), 0, True),
        ([1, 4, 5, 5], (1, 4, 5, 5), 0, True),
        ((4, 5, 5), (1, 4, 5, 5), 0, False),
        (0.1 + 0.2, 0.3, 0, True),
        (100, 199, 1.0, True),
        (100, 201, 1.0, False),
        (-100, 100, 1.0, False),
        (0, 100, 1.0, False),
        ("Max", "max", 0, True),
        (3, "max", 0, False),
        ([[1, 2], [3]], (1, 2), 0, False),
    ],
)
def test_a_guess_is_right_or_wrong(mine, truth, within, right):
    guess = ms.guess("How many?", mine, truth, within)
    assert bool(guess) is right
    assert str(guess).startswith("✓" if right else "✗")
    assert right or str(truth) in str(guess)


@pytest.mark.parametrize("mine", [..., None])
def test_the_truth_is_folded_until_there_is_a_guess(mine):
    guess = ms.guess("The shape of y?", mine, (7, 13))
    assert not guess and "13" not in str(guess)
    before, _, after = guess._repr_html_().partition("<details>")
    assert "13" not in before and "13" in after


def test_a_tolerance_is_not_negative():
    with pytest.raises(ValueError, match="0 or larger, and got -1"):
        ms.guess("How many?", 3, 4, within=-1)


A, B = np.array([[1.0, -2.0], [3.0, 0.5], [1.5, 2.0]]), np.array([4.0, -1.0])


def _f(a, b):
    return a * a * b


@pytest.mark.parametrize(
    ("gradients", "words"),
    [
        (lambda g, a, b: (2 * g * a * b, (g * a * a).sum(0)), ["✓ ∂L/∂a", "✓ ∂L/∂b"]),
        (lambda g, a, b: None, ["not yet"]),
        (lambda g, a, b: (2 * g * a * b, None), ["✓ ∂L/∂a", "… ∂L/∂b: not yet"]),
        (lambda g, a, b: (2 * g * a * b, ...), ["… ∂L/∂b: not yet"]),
        (lambda g, a, b: (g * a * b, (g * a * a).sum(0)), ["half as large", "✓ ∂L/∂b"]),
        (lambda g, a, b: (-2 * g * a * b, (g * a * a).sum(0)), ["the sign is wrong"]),
        (lambda g, a, b: (2 * a * b, (g * a * a).sum(0)), ["g is not used"]),
        (lambda g, a, b: (2 * g * a * b, g * a * a), ["the shape of b, (2,), and it has (3, 2); what was broadcast has to be summed back"]),
        (lambda g, a, b: (2 * (g * a * b)[::-1], (g * a * a).sum(0)), ["first wrong value: ∂L/∂a[0, 0]"]),
        (lambda g, a, b: (0 * a, (g * a * a).sum(0)), ["all values are 0"]),
        (lambda g, a, b: (2 * g * a * b,), ["2 gradients are expected (a, b), and there are 1"]),
        (lambda g, a, b: (2 * g[::-1, ::-1] * a * b, (g * a * a).sum(0)), ["g is turned by 180°"]),
    ],
)
def test_gradients_term_by_term(gradients, words):
    verdict = ms.check_grads(_f, gradients, A, B)
    assert all(word in str(verdict) for word in words), verdict
    assert bool(verdict) is ("✗" not in str(verdict) and "…" not in str(verdict))
    assert words[0].split()[0] in verdict._repr_html_()


def test_a_stub_that_raises():
    def gradients(g, a, b):
        raise NotImplementedError

    assert ms.check_grads(_f, gradients, A, B).state == "not yet"
