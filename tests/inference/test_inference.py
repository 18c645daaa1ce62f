"""From an image of any kind and size to its labels, and from a file to the network."""

import json

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import inference, models, random
from minisegnet.data import class_palette, standardise
from minisegnet.exchange import checkpoint


def network(name="unet", in_channels=1, num_classes=3, width=1 / 16):
    random.manual_seed(1)
    return models.create(name, in_channels, num_classes, width=width)


def about(model, **changes):
    names = ("ground", "disc", "ring")
    return checkpoint.About(model.recipe, names, class_palette(3).tolist(), 1, **changes)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (1, 1), (5, 40), (64, 33)])
def test_labels_have_the_size_of_the_image(size):
    labels = inference.segment_image(network(), np.random.default_rng(0).random(size))
    assert labels.shape == size and labels.dtype == np.int64
    assert 0 <= labels.min() <= labels.max() < 3


def test_the_label_is_the_largest_score_of_the_bare_network():
    model = network().eval()
    image = np.random.default_rng(0).random((32, 48)).astype(np.float32)
    with ms.no_grad():
        plain = model(ms.Tensor(standardise(image)[None, None])).array
    labels, confidence = inference.segment_image(model, image, confidence=True)
    np.testing.assert_array_equal(labels, plain[0].argmax(0))
    e = np.exp(plain[0].astype(np.float64))
    np.testing.assert_allclose(confidence, (e / e.sum(0)).max(0), rtol=1e-5)


def test_valid_network_its_border_is_reflected_and_cut_off():
    """The labels are not shifted against the image: without padding, shifting the image shifts the labels equally."""
    model = network("unet_paper", width=1 / 64).eval()
    rng = np.random.default_rng(0)
    image = standardise(rng.random((1, 1, 20, 37)))
    found = inference.scores(model, image).array
    assert found.shape == (1, 3, 20, 37)
    # By hand: 20 rows need an output of at least 20, which 204 rows give exactly; 37 columns need 236, which give 52.
    by_hand = np.pad(image, ((0, 0), (0, 0), (92, 92), (99, 100)), mode="reflect")
    with ms.no_grad():
        whole = model(ms.Tensor(by_hand)).array
    assert whole.shape[2:] == (20, 52)
    np.testing.assert_array_equal(found, whole[:, :, :, 7:44])


def test_an_output_that_does_not_cover_the_image_is_an_error():
    model = models.create("article2", 1, 2, width=1 / 64, as_printed=True)
    with pytest.raises(ValueError, match=r"64 × 64 pixels is 2 × 2: too small to cover"):
        inference.segment_image(model, np.random.default_rng(0).random((64, 64)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
def test_every_dtype_gives_the_same_labels(dtype):
    model = network()
    image = np.random.default_rng(0).integers(0, 200, (24, 24))
    expected = inference.segment_image(model, image.astype(np.float32))
    np.testing.assert_array_equal(inference.segment_image(model, image.astype(dtype)), expected)
    brighter = (image * 50 + 3).astype(np.uint16)  # the gain and offset of a camera do not matter
    assert (inference.segment_image(model, brighter) == expected).mean() > 0.999


def test_grey_and_colour_convert_into_what_the_network_takes():
    grey, colour = network(), network(in_channels=3)
    image = np.random.default_rng(0).integers(0, 255, (24, 30), dtype=np.uint8)
    same = np.repeat(image[..., None], 3, axis=2)
    for model in (grey, colour):
        one = inference.segment_image(model, image)
        for form in (image[..., None], np.dstack([image, np.full_like(image, 7)]), same, np.dstack([same, np.full_like(image, 99)])):
            assert (inference.segment_image(model, form) == one).mean() > 0.999
    red = np.zeros((24, 30, 3), np.uint8)
    red[..., 0] = image
    prepared = inference.prepare(red, 1)
    np.testing.assert_allclose(prepared, standardise(image.astype(np.float32) * 0.299)[None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 20, 20)), r"np\.moveaxis"),
        (np.zeros((20,)), r"\(20,\)"),
        (np.zeros((0, 5)), "empty"),
        (np.zeros((20, 20, 5)), r"\(20, 20, 5\)"),
        (np.full((20, 20), np.nan), "NaN"),
        (np.full((20, 20), 1j), "complex"),
    ],
)
def test_an_array_that_is_not_an_image_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        inference.segment_image(network(), image)


def test_modes_are_restored_and_no_history_is_kept():
    model = network()
    model.down2.eval()
    batches = model.inc.double_conv[1].num_batches_tracked.item()
    found = inference.scores(model, np.random.default_rng(0).random((1, 1, 16, 16), np.float32))
    assert not found.requires_grad and found.is_leaf
    assert model.training and model.inc.training and not model.down2.training and not model.down2.maxpool_conv.training
    assert model.inc.double_conv[1].num_batches_tracked.item() == batches


def test_mode_is_restored_after_an_error():
    model = network()
    with pytest.raises(ValueError, match="UNet"):
        inference.predict(model, np.zeros((2, 16, 16), np.float32))  # two channels
    assert model.training and model.inc.training


def test_predict_takes_one_image_or_many():
    images = np.random.default_rng(0).normal(size=(2, 1, 20, 20)).astype(np.float32)
    labels = inference.predict(network(), images)
    assert labels.shape == (2, 20, 20)
    np.testing.assert_array_equal(inference.predict(network(), images[1]), labels[1])
    np.testing.assert_array_equal(inference.predict(network().double(), images[1]), labels[1])


def test_a_checkpoint_is_all_that_is_needed(tmp_path):
    model = network()
    checkpoint.write(tmp_path / "a.safetensors", model, about(model, step=7, metrics={"val_iou": 0.5}))
    again = inference.load_model(tmp_path / "a.safetensors")
    assert not again.training
    assert (again.about.step, again.about.classes, again.about.metrics) == (7, ("ground", "disc", "ring"), {"val_iou": 0.5})
    image = np.random.default_rng(0).random((20, 24))
    np.testing.assert_array_equal(inference.segment_image(again, image), inference.segment_image(model, image))


def test_the_folder_of_a_run_means_its_best(tmp_path):
    model = network()
    checkpoint.write(tmp_path / "last.safetensors", model, about(model, step=2))
    assert inference.load_model(tmp_path).about.step == 2
    checkpoint.write(tmp_path / "best.safetensors", model, about(model, step=1))
    assert inference.load_model(tmp_path).about.step == 1


def test_a_network_of_ones_own(tmp_path):
    class Net(ms.nn.Module):
        def __init__(self):
            self.conv = ms.nn.Conv2d(1, 3, 1)

        def forward(self, x):
            return self.conv(x)

    model = Net()
    checkpoint.write(tmp_path / "a.safetensors", model, checkpoint.About(None, ("a", "b", "c"), [[0, 0, 0]] * 3, 1))
    with pytest.raises(ValueError, match="model=your_model"):
        inference.load_model(tmp_path / "a.safetensors")
    again = inference.load_model(tmp_path / "a.safetensors", Net())
    np.testing.assert_array_equal(again.conv.weight.array, model.conv.weight.array)


def test_damaged_checkpoints(tmp_path):
    model, path = network(), tmp_path / "a.safetensors"
    checkpoint.write(path, model, about(model))
    good = path.read_bytes()

    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match=r"a\.safetensors: truncated"):
        inference.load_model(path)
    path.write_bytes(b"no tensors here")
    with pytest.raises(ValueError, match="not a safetensors file"):
        inference.load_model(path)
    with pytest.raises(FileNotFoundError, match=r"b\.safetensors"):
        inference.load_model(tmp_path / "b.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"best\.safetensors or last\.safetensors"):
        inference.load_model(tmp_path / "empty")

    ms.save(model, path)
    with pytest.raises(ValueError, match="not a checkpoint of minisegnet"):
        inference.load_model(path)
    ms.save(model, path, {"minisegnet": "{"})
    with pytest.raises(ValueError, match="damaged"):
        inference.load_model(path)
    ms.save(model, path, {"minisegnet": json.dumps({"format": 99})})
    with pytest.raises(ValueError, match="newer minisegnet"):
        inference.load_model(path)
    recipe = {**model.recipe, "width": 1 / 8}
    checkpoint.write(path, model, checkpoint.About(recipe, ("a", "b", "c"), [[0, 0, 0]] * 3, 1))
    with pytest.raises(ValueError, match="wrong shapes"):
        inference.load_model(path)
    checkpoint.write(path, model, checkpoint.About({"name": "unet", "wdith": 1}, ("a", "b", "c"), [[0, 0, 0]] * 3, 1))
    with pytest.raises(ValueError, match="wdith"):
        inference.load_model(path)
    checkpoint.write(path, model, checkpoint.About({**model.recipe, "name": "unett"}, ("a", "b", "c"), [[0, 0, 0]] * 3, 1))
    with pytest.raises(ValueError, match=r"a\.safetensors: .*did you mean 'unet'"):
        inference.load_model(path)
