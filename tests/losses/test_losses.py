"""Losses: gradients by central differences, values by independent definitions, ignored pixels, names."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisegnet import losses
from minisegnet.data import Arrays
from minisegnet.functional import softmax
from minisegnet.losses.hard import focus
from minisegnet.metrics import ConfusionMatrix
from minisegnet.tensor import Tensor

seeds = st.integers(0, 2**32 - 1)
IGNORE = 255
WEIGHT = np.array([0.3, 1.0, 2.5])
EVERY = {
    "ce": losses.CrossEntropyLoss(WEIGHT, ignore_index=IGNORE, label_smoothing=0.1),
    "focal": losses.FocalLoss(2.0, WEIGHT, ignore_index=IGNORE),
    "focal-0.5": losses.FocalLoss(0.5, ignore_index=IGNORE),
    "ohem": losses.OhemCrossEntropyLoss(0.3, 0.25, WEIGHT, ignore_index=IGNORE, label_smoothing=0.1),
    "ohem-count": losses.OhemCrossEntropyLoss(0.0, 5, ignore_index=IGNORE),
    "dice": losses.DiceLoss(ignore_index=IGNORE),
    "dice-image": losses.DiceLoss(0.0, batch=False, include_background=False, ignore_index=IGNORE),
    "lovasz": losses.LovaszSoftmaxLoss(ignore_index=IGNORE),
    "lovasz-image": losses.LovaszSoftmaxLoss("all", per_image=True, ignore_index=IGNORE),
    "lovasz-one": losses.LovaszSoftmaxLoss([1], ignore_index=IGNORE),
    "boundary": losses.BoundaryWeightedCrossEntropyLoss(10, 2, WEIGHT, ignore_index=IGNORE, label_smoothing=0.1),
    "boundary-1": losses.BoundaryWeightedCrossEntropyLoss(background=1, ignore_index=IGNORE),
    "sum": losses.WeightedSum([losses.CrossEntropyLoss(ignore_index=IGNORE), losses.DiceLoss(ignore_index=IGNORE)], [0.5, 2.0]),
}
every = pytest.mark.parametrize("name", EVERY)


def scene(seed, shape=(2, 3, 5, 6), ignored=0.15):
    """Scores and labels in which every class appears, and some pixels are ignored."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    target[rng.random(target.shape) < ignored] = IGNORE
    target.reshape(-1)[: shape[1]] = range(shape[1])
    return rng.normal(size=shape) * 2, target, rng


def gradient(loss, x, target, g=1.0):
    scores = Tensor(x.copy(), requires_grad=True)
    loss(scores, target).backward(np.asarray(g, x.dtype))
    return scores.grad.array


# --- what holds for all ---------------------------------------------------------------------


@every
@given(seed=seeds)
def test_gradient_by_central_differences(name, seed):
    """In float64, for a random upstream gradient and a random direction; a kink is hit with probability 0."""
    x, target, rng = scene(seed)
    loss, g, direction = EVERY[name], rng.normal(), rng.normal(size=x.shape)
    step = 1e-6
    above, below = (loss(Tensor(x + s * direction), target).item() for s in (step, -step))
    found = gradient(loss, x, target, g)
    assert found.dtype == np.float64 and found.shape == x.shape
    expected = g * (above - below) / (2 * step)
    assert abs((found * direction).sum() - expected) <= 1e-7 * (np.abs(found * direction).sum() + abs(expected))


@every
@given(seed=seeds)
def test_ignored_pixels_have_no_effect(name, seed):
    """The right half is ignored: value and gradient are those of the left half, whatever the scores there."""
    x, target, _ = scene(seed, (2, 3, 5, 8))
    target[0, :3, 0] = 0, 1, 2
    target[:, :, 4:] = IGNORE
    left = np.ascontiguousarray(x[..., :4]), np.ascontiguousarray(target[..., :4])
    loss = EVERY[name]
    np.testing.assert_allclose(loss(Tensor(x), target).item(), loss(Tensor(left[0]), left[1]).item(), rtol=1e-12)
    found = gradient(loss, x, target)
    np.testing.assert_allclose(found[..., :4], gradient(loss, *left), rtol=1e-9, atol=1e-14)
    assert not found[..., 4:].any()


@every
def test_all_pixels_ignored_is_0_and_not_nan(name):
    x, target, _ = scene(0)
    target[:] = IGNORE
    value = EVERY[name](Tensor(x), target).item()
    assert value == 0 if name != "lovasz-image" else abs(value) < 1e-15
    assert not gradient(EVERY[name], x, target).any()


@every
@given(seed=seeds)
def test_a_constant_on_all_scores_of_a_pixel_changes_nothing(name, seed):
    x, target, rng = scene(seed)
    shifted = x + rng.normal(size=(2, 1, 5, 6)) * 10
    np.testing.assert_allclose(EVERY[name](Tensor(shifted), target).item(), EVERY[name](Tensor(x), target).item(), rtol=1e-9)


@every
def test_float32_stays_float32_and_agrees(name):
    x, target, _ = scene(1)
    loss = EVERY[name] if name != "ce" else losses.CrossEntropyLoss(ignore_index=IGNORE)
    small = loss(Tensor(x.astype(np.float32)), target.astype(np.uint8))
    assert small.dtype == np.float32 and small.shape == ()
    np.testing.assert_allclose(small.item(), loss(Tensor(x), target).item(), rtol=2e-6)
    assert gradient(loss, x.astype(np.float32), target).dtype == np.float32


@every
def test_a_perfect_answer_costs_nothing_and_a_gradient_step_helps(name):
    x, target, _ = scene(2, ignored=0.0)
    loss = EVERY[name]
    sure = np.where(target[:, None] == np.arange(3)[:, None, None], 40.0, 0.0)
    smoothing = getattr(loss, "label_smoothing", 0)
    assert (loss(Tensor(sure), target).item() < 1e-12) == (smoothing == 0)
    step = gradient(loss, x, target)
    assert loss(Tensor(x - 1e-3 * step / np.abs(step).max()), target).item() < loss(Tensor(x), target).item()


@pytest.mark.parametrize("name", [n for n in EVERY if n != "sum"])
def test_labels_that_are_not_a_class_are_named(name):
    x, target, _ = scene(0)
    target[1, 2, 3] = 7
    with pytest.raises(ValueError, match=r"\(1, 2, 3\)[\s\S]*= 7"):
        EVERY[name](Tensor(x), target)
    with pytest.raises(ValueError, match=r"\(2, 5, 6\)|N, H, W"):
        EVERY[name](Tensor(x), target[:, :4])


# --- values by definition ---------------------------------------------------------------------


def probabilities(x):
    e = np.exp(x)
    return e / e.sum(1, keepdims=True)


def true_probability(x, target):
    counts = target != IGNORE
    return np.array([probabilities(x)[n, target[n, i, j], i, j] for n, i, j in zip(*np.nonzero(counts), strict=True)]), target[counts]


@given(seed=seeds, gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0]))
def test_focal_by_its_formula(seed, gamma):
    x, target, _ = scene(seed)
    p, t = true_probability(x, target)
    expected = np.mean(-WEIGHT[t] * (1 - p) ** gamma * np.log(p))
    np.testing.assert_allclose(losses.FocalLoss(gamma, WEIGHT, ignore_index=IGNORE)(Tensor(x), target).item(), expected, rtol=1e-10)
    if gamma == 0:
        plain = losses.CrossEntropyLoss(ignore_index=IGNORE)(Tensor(x), target).item()
        np.testing.assert_allclose(losses.FocalLoss(0, ignore_index=IGNORE)(Tensor(x), target).item(), plain, rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_focal_of_a_sure_pixel_has_a_finite_gradient(gamma, dtype):
    """At p = 1 the textbook form of the gradient is 0^(γ − 1) · 0, which is NaN for γ < 1."""
    loss = Tensor(np.array([0.0, 1e-30, 1e-8, 1.0, 200.0], dtype), requires_grad=True)
    focus(loss, gamma=gamma).backward(np.ones(5, dtype))
    assert np.isfinite(loss.grad.array).all() and loss.grad.array[0] == 0
    np.testing.assert_allclose(loss.grad.array[2], (1 + gamma) * 1e-8**gamma, rtol=1e-5)
    np.testing.assert_allclose(loss.grad.array[4], 1, rtol=1e-6)


@given(seed=seeds, thresh=st.sampled_from([0.0, 0.3, 0.7]), min_kept=st.sampled_from([0, 1, 7, 0.25, 1.0, 10**6]))
def test_ohem_by_sorting_the_probabilities(seed, thresh, min_kept):
    x, target, _ = scene(seed)
    p, t = true_probability(x, target)
    k = min(round(min_kept * len(p)) if isinstance(min_kept, float) else min_kept, len(p))
    order = np.argsort(p)
    kept = [pixel for rank, pixel in enumerate(order) if rank < k or p[pixel] < thresh]
    expected = np.sum(-WEIGHT[t[kept]] * np.log(p[kept])) / WEIGHT[t[kept]].sum() if kept else 0.0
    loss = losses.OhemCrossEntropyLoss(thresh, min_kept, WEIGHT, ignore_index=IGNORE)
    np.testing.assert_allclose(loss(Tensor(x), target).item(), expected, rtol=1e-10)
    everything = losses.OhemCrossEntropyLoss(1.0, 1.0, ignore_index=IGNORE)(Tensor(x), target).item()
    np.testing.assert_allclose(everything, losses.CrossEntropyLoss(ignore_index=IGNORE)(Tensor(x), target).item(), rtol=1e-12)


@given(seed=seeds, smooth=st.sampled_from([0.0, 1.0]), batch=st.booleans(), background=st.booleans())
def test_dice_by_its_formula(seed, smooth, batch, background):
    x, target, _ = scene(seed)
    p = probabilities(x)
    groups = [slice(None)] if batch else [slice(n, n + 1) for n in range(2)]
    found = []
    for group in groups:
        for c in range(0 if background else 1, 3):
            counts = target[group] != IGNORE
            given_, truth = p[group][:, c][counts], (target[group] == c)[counts]
            found.append((2 * given_[truth].sum() + smooth) / (given_.sum() + truth.sum() + smooth))
    loss = losses.DiceLoss(smooth, batch=batch, include_background=background, ignore_index=IGNORE)
    np.testing.assert_allclose(loss(Tensor(x), target).item(), 1 - np.mean(found), rtol=1e-10)


def lovasz_by_thresholds(errors, truth):
    """∫ Δ({pixels with error ≥ t}) dt over 0 ≤ t ≤ 1, with the Jaccard loss Δ(M) = |M| / |truth ∪ M| of wrong pixels M."""
    levels = np.unique(np.concatenate([[0.0], errors]))
    total = 0.0
    for below, above in pairwise(levels):
        wrong = {k for k, e in enumerate(errors) if e >= above}
        total += (above - below) * len(wrong) / len({k for k, t in enumerate(truth) if t} | wrong)
    return total


@given(seed=seeds, mode=st.sampled_from(["present", "all", [2, 0]]), per_image=st.booleans())
def test_lovasz_by_integrating_over_thresholds(seed, mode, per_image):
    x, target, rng = scene(seed)
    target[target == 1] = rng.choice([0, 1])  # sometimes a class is absent
    p = probabilities(x)
    images = []
    for group in [slice(n, n + 1) for n in range(2)] if per_image else [slice(None)]:
        counts, t = target[group] != IGNORE, target[group]
        classes = [c for c in range(3) if (t == c).any()] if mode == "present" else range(3) if mode == "all" else mode
        values = []
        for c in classes:
            truth = (t == c)[counts]
            values.append(lovasz_by_thresholds(np.where(truth, 1 - p[group][:, c][counts], p[group][:, c][counts]), truth))
        images.append(np.mean(values))
    loss = losses.LovaszSoftmaxLoss(mode, per_image=per_image, ignore_index=IGNORE)
    np.testing.assert_allclose(loss(Tensor(x), target).item(), np.mean(images), rtol=1e-10)


@given(seed=seeds)
def test_of_hard_answers_lovasz_is_the_iou_and_dice_the_f1(seed):
    x, target, _ = scene(seed)
    answer = x.argmax(1)
    sure = Tensor(np.where(answer[:, None] == np.arange(3)[:, None, None], 1e4, 0.0))
    confusion = ConfusionMatrix(3, IGNORE)
    confusion.update(target, answer)
    np.testing.assert_allclose(losses.LovaszSoftmaxLoss(ignore_index=IGNORE)(sure, target).item(), 1 - confusion.iou.mean(), rtol=1e-12)
    np.testing.assert_allclose(losses.DiceLoss(0, ignore_index=IGNORE)(sure, target).item(), 1 - confusion.f1.mean(), rtol=1e-12)


@given(seed=seeds)
def test_lovasz_extension_has_the_gradient_of_each_row(seed):
    rng = np.random.default_rng(seed)
    errors, truth, g, direction = rng.random((3, 11)), rng.random((3, 11)) < 0.4, rng.normal(size=3), rng.normal(size=(3, 11))
    tensor = Tensor(errors.copy(), requires_grad=True)
    losses.lovasz_extension(tensor, truth=truth).backward(g)
    above, below = (losses.lovasz_extension(Tensor(errors + s * direction), truth=truth).array for s in (1e-7, -1e-7))
    difference = g @ (above - below) / 2e-7  # the losses are rounded, so the difference is uncertain by about 1e-9
    np.testing.assert_allclose((tensor.grad.array * direction).sum(), difference, rtol=1e-6, atol=1e-8)


def test_equal_errors_are_taken_in_the_order_of_the_pixels():
    truth = np.array([[True, False, True, False]])
    tensor = Tensor(np.full((1, 4), 0.5), requires_grad=True)
    losses.lovasz_extension(tensor, truth=truth).backward(np.ones(1))
    jaccard = [0, 1 / 2, 2 / 3, 1, 1]  # Δ of the first 0, 1, 2, ... pixels: 1/2, 2/3, 3/3, 4/4
    np.testing.assert_allclose(tensor.grad.array[0], np.diff(jaccard), atol=1e-15)


def test_unets_weights_by_definition():
    cells = np.zeros((9, 11), int)
    cells[2:5, 1:4], cells[3:6, 6:10], cells[8, 0] = 1, 2, 3
    places = {k: np.argwhere(cells == k) for k in (1, 2, 3)}
    expected = np.zeros(cells.shape)
    for i, j in np.argwhere(cells == 0):
        d1, d2, _ = sorted(np.sqrt(((places[k] - (i, j)) ** 2).sum(1)).min() for k in places)
        expected[i, j] = 10 * np.exp(-((d1 + d2) ** 2) / (2 * 5**2))
    np.testing.assert_allclose(losses.unet_weight_map(cells), expected, rtol=1e-12)
    semantic = (cells > 0).astype(int)
    loss = losses.BoundaryWeightedCrossEntropyLoss(weight=[2.0, 3.0], ignore_index=IGNORE)
    np.testing.assert_allclose(loss.weights(semantic[None])[0], expected + np.where(semantic, 3, 2), rtol=1e-6)
    swapped = losses.BoundaryWeightedCrossEntropyLoss(background=1, ignore_index=IGNORE)
    np.testing.assert_allclose(swapped.weights(1 - semantic[None])[0], expected + 1, rtol=1e-12)


def test_boundary_weighted_mean_by_hand():
    x, _, _ = scene(3, (1, 2, 6, 7))
    target = np.zeros((1, 6, 7), int)
    target[0, 1:4, 0:2] = target[0, 1:4, 4:6] = 1
    loss = losses.BoundaryWeightedCrossEntropyLoss()
    pixel = losses.CrossEntropyLoss(reduction="none")(Tensor(x), target).array
    w = loss.weights(target)
    assert w[0, 2, 2] > 5 and w[0, 5, 6] < w[0, 2, 2] and w[0, 2, 0] == 1
    np.testing.assert_allclose(loss(Tensor(x), target).item(), (w * pixel).sum() / w.sum(), rtol=1e-12)


def test_gradients_equal_pytorchs_of_the_same_formulas():
    torch = pytest.importorskip("torch")
    x, target, _ = scene(4, ignored=0.0)
    t = torch.tensor(target)
    formulas = {
        "dice": lambda p, own: 1 - ((2 * (p * own).sum((0, 2, 3)) + 1) / (p.sum((0, 2, 3)) + own.sum((0, 2, 3)) + 1)).mean(),
        "focal": lambda p, own: (
            torch.tensor(WEIGHT)[t] * (1 - (p * own).sum(1)) ** 2 * torch.nn.functional.nll_loss(torch.log(p), t, reduction="none")
        ).mean(),
    }
    for name, formula in formulas.items():
        theirs = torch.tensor(x, requires_grad=True)
        value = formula(torch.softmax(theirs, 1), torch.nn.functional.one_hot(t, 3).permute(0, 3, 1, 2).double())
        value.backward()
        np.testing.assert_allclose(EVERY[name](Tensor(x), target).item(), value.item(), rtol=1e-12)
        np.testing.assert_allclose(gradient(EVERY[name], x, target), theirs.grad.numpy(), rtol=1e-9, atol=1e-15)


# --- several outputs, weights of classes, names -------------------------------------------------


def test_auxiliary_heads_add_their_share():
    x, target, rng = scene(5)
    ce = losses.CrossEntropyLoss(ignore_index=IGNORE)
    aux = Tensor(rng.normal(size=x.shape), requires_grad=True)
    main = Tensor(x, requires_grad=True)
    loss = losses.AuxiliaryLoss(ce, 0.4)
    expected = ce(main, target).item() + 0.4 * ce(aux, target).item()
    for outputs in ((main, aux), [main, aux], {"out": main, "aux": aux}):
        np.testing.assert_allclose(loss(outputs, target).item(), expected, rtol=1e-12)
    loss((main, aux), target).backward()
    np.testing.assert_allclose(aux.grad.array, 0.4 * gradient(ce, aux.array, target), rtol=1e-12)
    assert loss(main, target).item() == ce(main, target).item()
    coarse = Tensor(np.repeat(np.repeat(x[:, :, :1, :1], 5, 2), 6, 3))  # a constant, resized, is the same constant
    np.testing.assert_allclose(loss((main, Tensor(x[:, :, :1, :1])), target).item(), loss((main, coarse), target).item(), rtol=1e-12)


def test_weighted_sum():
    x, target, _ = scene(6)
    parts = losses.CrossEntropyLoss(ignore_index=IGNORE), losses.DiceLoss(ignore_index=IGNORE)
    expected = 0.5 * parts[0](Tensor(x), target).item() + 2 * parts[1](Tensor(x), target).item()
    np.testing.assert_allclose(EVERY["sum"](Tensor(x), target).item(), expected, rtol=1e-12)
    for wrong in ([], [1.0], [1.0, -1.0], [1.0, 0.0]):
        with pytest.raises(ValueError, match="positive weight for each"):
            losses.WeightedSum(parts, wrong)


def test_class_weights_by_hand():
    """Class 0: 12 of 16 pixels of two images; 1: 2 of the 6 counted in the second; 2: nowhere."""
    first, second = np.zeros((2, 5), int), np.array([[0, 0, 1], [255, 0, 0], [255, 255, 1]])
    data = Arrays([np.zeros((2, 5)), np.zeros((3, 3))], [first, second], ("a", "b", "c"))
    frequency = np.array([14 / 16, 2 / 6])
    np.testing.assert_allclose(losses.class_weights(data), [*(np.median(frequency) / frequency), 1], rtol=1e-6)
    np.testing.assert_allclose(losses.class_weights(data, "inverse"), [16 / (2 * 14), 16 / (2 * 2), 1], rtol=1e-6)
    pixels = np.array([14, 2])
    np.testing.assert_allclose((losses.class_weights(data, "inverse")[:2] * pixels).sum(), pixels.sum(), rtol=1e-6)
    with pytest.raises(ValueError, match="median or inverse"):
        losses.class_weights(data, "other")
    with pytest.raises(ValueError, match="every pixel of the data set is ignored"):
        losses.class_weights(Arrays([np.zeros((2, 2))], [np.full((2, 2), 255)], ("a", "b")))


@pytest.mark.parametrize("name", losses.list_losses())
def test_created_by_name(name):
    x, target, _ = scene(7)
    made = losses.create(name, ignore_index=IGNORE)
    assert made.ignore_index == IGNORE
    assert made(Tensor(x), target).item() > 0


def test_sums_by_name():
    x, target, _ = scene(8)
    ce, lovasz = losses.create("ce"), losses.create("lovasz")
    expected = 0.5 * ce(Tensor(x), target).item() + lovasz(Tensor(x), target).item()
    np.testing.assert_allclose(losses.create("0.5*ce + lovasz")(Tensor(x), target).item(), expected, rtol=1e-12)
    weighted = losses.create("dice+2*ce", weight=WEIGHT, label_smoothing=0.1)
    assert weighted.coefficients == (1.0, 2.0)
    np.testing.assert_array_equal(weighted.terms[1].weight.array, WEIGHT)
    assert weighted.terms[1].label_smoothing == 0.1


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("dise", {}, "did you mean 'dice'"),
        ("ce+", {}, "no loss ''"),
        ("x*ce", {}, "factor of ce must be a positive number, not 'x'"),
        ("0*ce", {}, "factor of ce"),
        ("-1*ce", {}, "factor of ce"),
        ("dice+lovasz", {"weight": [1, 2, 3]}, "does not take class weights; these losses do: ce, ohem, focal, boundary"),
        ("focal", {"label_smoothing": 0.1}, "does not take label smoothing"),
    ],
)
def test_names_that_cannot_be_used(text, options, message):
    with pytest.raises(ValueError, match=message):
        losses.create(text, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.FocalLoss(-1), "gamma"),
        (lambda: losses.OhemCrossEntropyLoss(1.5), "thresh"),
        (lambda: losses.OhemCrossEntropyLoss(0.5, 1.5), "min_kept"),
        (lambda: losses.DiceLoss(-1), "smooth"),
        (lambda: losses.LovaszSoftmaxLoss("some"), "present"),
        (lambda: losses.BoundaryWeightedCrossEntropyLoss(sigma=0), "sigma"),
        (lambda: losses.AuxiliaryLoss(losses.DiceLoss(), -1), "weight"),
        (lambda: losses.DiceLoss(include_background=False)(Tensor(np.zeros((1, 1, 2, 2))), np.zeros((1, 2, 2), int)), "no class is left"),
        (lambda: losses.LovaszSoftmaxLoss([3])(Tensor(np.zeros((1, 2, 2, 2))), np.zeros((1, 2, 2), int)), "have 2 classes"),
    ],
)
def test_options_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_softmax_probabilities_are_those_of_the_tests():
    x, _, _ = scene(9)
    np.testing.assert_allclose(softmax(Tensor(x), 1).array, probabilities(x), rtol=1e-12)
