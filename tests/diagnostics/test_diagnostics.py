"""Explanations of a prediction, compared with derivatives by hand, differences, and the geometry of the layers."""

import threading

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import diagnostics, inference, models, nn, random
from minisegnet.diagnostics import activations, follow_pixel, seg_grad_cam
from minisegnet_kernels import backends

RNG = np.random.default_rng(0)


def unet(width=1 / 16):
    random.manual_seed(1)
    return models.create("unet", 1, 3, width).eval().double()


def two_layers():
    random.manual_seed(0)
    return nn.Sequential({"first": nn.Conv2d(1, 3, 3, padding=1), "relu": nn.ReLU(), "second": nn.Conv2d(3, 2, 1)}).double()


# --- layers ------------------------------------------------------------------------------


def test_activations_are_those_of_the_layers_called_one_by_one():
    net, image = two_layers(), RNG.standard_normal((1, 7, 9))
    first = net.first(ms.Tensor(image[None]))
    found = activations(net, image)
    assert list(found) == ["first", "relu", "second"]
    np.testing.assert_allclose(found["first"], first.detach().array[0], rtol=1e-12)
    np.testing.assert_allclose(found["relu"], np.maximum(first.detach().array[0], 0), rtol=1e-12)
    np.testing.assert_allclose(found["second"], inference.scores(net, image[None]).array[0], rtol=1e-12)
    assert list(activations(net, image, ["relu"])) == ["relu"]
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(ValueError, match=r"no layer 'first\.conv'; there are first"):
        activations(net, image, ["first.conv"])


# --- Seg-Grad-CAM --------------------------------------------------------------------------


def test_seg_grad_cam_by_hand():
    """Only a 1×1 convolution follows the ReLU, so the gradient of a score with respect to A_k is its weight, at the mask's pixels."""
    net, image = two_layers(), RNG.standard_normal((1, 6, 8))
    mask = RNG.random((6, 8)) < 0.3
    found = seg_grad_cam(net, image, 1, mask, layer="relu")
    a = activations(net, image)["relu"]
    alpha = net.second.weight.array[1, :, 0, 0] * mask.sum() / 48
    expected = np.maximum((alpha[:, None, None] * a).sum(0), 0)
    assert expected.any() and not expected.all()
    np.testing.assert_allclose(found.heat, expected, rtol=1e-10, atol=1e-14)
    assert found.score == pytest.approx(inference.scores(net, image[None]).array[0, 1][mask].sum())


def test_seg_grad_cam_takes_the_coarsest_layer_and_the_labelled_pixels():
    model, image = unet(), RNG.standard_normal((1, 48, 40))
    scores = inference.scores(model, image[None]).array[0]
    target = int(np.bincount(scores.argmax(0).ravel()).argmax())
    found = seg_grad_cam(model, image, target)
    assert found.layer == "down4.maxpool_conv.1.double_conv.5" and found.heat.shape == (48, 40)
    assert found.heat.min() >= 0 and found.heat.max() > 0
    again = seg_grad_cam(model, image, target, scores.argmax(0) == target, layer=found.layer)
    np.testing.assert_array_equal(again.heat, found.heat)
    whole = seg_grad_cam(
        model, image[:, :5, :7], target, np.ones((5, 7), bool)
    )  # a border is added to an image this small, and cut off again
    assert whole.heat.shape == (5, 7)


def test_a_look_leaves_nothing_behind():
    model, image = unet().train(), RNG.standard_normal((1, 32, 32))
    model.inc.double_conv[0].weight.requires_grad_(False)
    before = {k: v.array.copy() for k, v in model.state_dict().items()}
    seg_grad_cam(model, image, 0)
    follow_pixel(model, image, (3, 4))
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert model.training and model.down1.training and not any(module._forward_hooks for module in model.modules())
    assert all(np.array_equal(v.array, before[k]) for k, v in model.state_dict().items())


def test_a_look_inside_no_grad_is_the_same_look():
    """An odd size, so that the scores are cut after the network has run."""
    model, image = unet(), RNG.standard_normal((1, 33, 30))
    looks = (
        lambda: seg_grad_cam(model, image, 0).heat,
        lambda: follow_pixel(model, image, (3, 4)).layers[0].flow,
        lambda: models.measured_receptive_field(model, (1, 1, 32, 32), images=1),
    )
    for look in looks:
        outside = look()
        with ms.no_grad():
            np.testing.assert_equal(look(), outside)
        assert np.any(outside)


def test_another_thread_may_train_the_network_that_is_read():
    """While a network is read, other threads still find it in training mode, and keep the gradients that they have accumulated."""
    model, image = two_layers(), RNG.standard_normal((1, 6, 8))
    model(ms.Tensor(image[None])).sum().backward()
    gathered = [(p.grad, p.grad.array.copy()) for p in model.parameters()]
    found = []

    def look():
        found.append([*(module.training for module in model.modules()), *(p.requires_grad for p in model.parameters())])

    def elsewhere(_, program, *arrays, **options):
        other = threading.Thread(target=look)
        other.start()
        other.join()
        return program(*arrays, **options)

    with backends.calling(elsewhere):
        seg_grad_cam(model, image, 0, layer="relu")
        follow_pixel(model, image, (3, 4))
        models.measured_receptive_field(model, (1, 1, 6, 8), images=1)
        models.receptive_field(model, (1, 1, 6, 8))
        models.summary(model, (1, 1, 6, 8))
        nn.fold(model, image[None])
    assert len(found) > 10 and all(map(all, found))
    assert all(
        p.grad is grad and np.array_equal(grad.array, values) for p, (grad, values) in zip(model.parameters(), gathered, strict=True)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 3}, "no class 3: the network has 3 classes"),
        ({"target": -1}, "no class -1"),
        ({"target": 0, "mask": np.zeros((32, 32), bool)}, "at least one pixel"),
        ({"target": 0, "mask": np.ones((3, 3), bool)}, r"\(3, 3\)"),
        ({"target": 0, "layer": "down5"}, "no layer 'down5'"),
    ],
)
def test_what_cannot_be_attributed(options, message):
    with pytest.raises(ValueError, match=message):
        seg_grad_cam(unet(), RNG.standard_normal((1, 32, 32)), **options)


# --- one pixel ------------------------------------------------------------------------------


def loss_of(model, image, pixel, target):
    s = inference.scores(model, image[None]).array[0, :, pixel[0], pixel[1]]
    return np.log(np.exp(s - s.max()).sum()) + s.max() - s[target]


def test_loss_and_gradient_of_a_pixel_against_central_differences():
    model, image, pixel = unet(), RNG.standard_normal((1, 32, 48)), (20, 17)
    found = follow_pixel(model, image, pixel, target=2)
    assert found.loss == pytest.approx(loss_of(model, image, pixel, 2), rel=1e-12)
    p = np.exp(found.scores) / np.exp(found.scores).sum()
    np.testing.assert_allclose(found.probabilities, p, rtol=1e-12)
    np.testing.assert_allclose(found.seed, p - np.eye(3)[2], rtol=1e-12)
    flow = found.layers[0].flow
    assert found.layers[0].gradient == pytest.approx(np.linalg.norm(flow))
    for place in ((20, 17), (19, 16), (22, 12)):
        moved = [image.copy(), image.copy()]
        moved[0][(0, *place)] += 1e-5
        moved[1][(0, *place)] -= 1e-5
        slope = (loss_of(model, moved[0], pixel, 2) - loss_of(model, moved[1], pixel, 2)) / 2e-5
        assert flow[place] == pytest.approx(abs(slope), rel=1e-5, abs=1e-9)


def test_the_boxes_are_the_receptive_fields():
    """With positive weights no ReLU and no maximum stops a gradient: it covers 3×3 and 1×1 pixels around the pixel, twice."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(2, 2, 3, padding=1),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(2, 2, 1),
    ).double()
    for parameter in net.parameters():
        parameter.array[...] = RNG.uniform(0.1, 1, parameter.shape)
    found = follow_pixel(net, np.ones((1, 40, 40)), (13, 20))
    boxes = {layer.kind or layer.name: layer.box for layer in found.layers}
    assert boxes["Upsample"] == (13, 14, 20, 21)
    assert boxes["AvgPool2d"] == (5, 8, 9, 12)  # around row 6, column 10 of the halved map
    assert boxes["ReLU"] == (10, 16, 18, 24)
    assert boxes["image"] == found.receptive_field == (9, 17, 17, 25)
    values = activations(net, np.ones((1, 40, 40)))["1"][:, 10:16, 18:24]
    relu = next(layer for layer in found.layers if layer.kind == "ReLU")
    assert (relu.low, relu.high) == (values.min(), values.max())


def test_where_the_network_is_certain_the_receptive_field_still_shows():
    model, image = unet(), RNG.standard_normal((1, 32, 32))
    model.outc.conv.bias.array[...] = [0, 2000, 0]
    found = follow_pixel(model, image, (16, 16))
    assert (found.label, found.target) == (1, 1) and found.probabilities[1] == 1
    assert found.loss < 1e-300 and found.layers[0].gradient < 1e-300
    top, bottom, left, right = found.receptive_field
    assert bottom - top > 20 and right - left > 20


def test_a_border_is_distinguished_from_the_image():
    model = unet()
    found = follow_pixel(model, RNG.standard_normal((1, 6, 20)), (0, 10))
    assert found.layers[0].shape == (1, 16, 20) and found.offset == (5, 0)
    assert found.receptive_field[0] == found.layers[0].box[0] - 5


def test_pooling_that_returns_indices_is_a_layer_of_the_path():
    random.manual_seed(0)
    model = models.create("segnet_basic", 1, 2, 1 / 16).eval()
    found = follow_pixel(model, RNG.standard_normal((1, 32, 32)).astype(np.float32), (16, 16))
    pooled = [layer for layer in found.layers if layer.kind == "MaxPool2d"]
    assert pooled and all(layer.gradient > 0 for layer in pooled)


def test_an_answer_that_does_not_depend_on_the_image_says_so():
    net = two_layers()
    net.second.weight.array[...] = 0
    found = follow_pixel(net, RNG.standard_normal((1, 9, 9)), (4, 5))
    assert "does not depend on it" in str(found) and found.layers[0].gradient == 0
    assert found.layers[-1].box == (4, 5, 5, 6)


def test_the_text_names_pixel_loss_and_layers():
    found = follow_pixel(two_layers(), RNG.standard_normal((1, 9, 9)), (4, 5), 0)
    lines = str(found).splitlines()
    assert "row 4, column 5" in lines[0] and "class 0" in lines[0] and f"{found.loss:.4g}" in lines[1]
    assert "rows 3 to 5 and columns 4 to 6" in lines[2]
    assert [line.split()[0] for line in lines[5:]] == ["image", "first", "relu", "second"]
    assert "3 × 9 × 9" in lines[6] and "1 × 1" in lines[6]


@pytest.mark.parametrize(
    ("pixel", "target", "message"), [((32, 0), None, "outside"), ((0, -1), None, "outside"), ((0, 0), 3, "no class 3")]
)
def test_pixels_and_classes_that_are_none(pixel, target, message):
    with pytest.raises(ValueError, match=message):
        follow_pixel(unet(), RNG.standard_normal((1, 32, 32)), pixel, target)


def test_everything_public_is_there():
    assert all(getattr(diagnostics, name).__doc__ for name in diagnostics.__all__)
