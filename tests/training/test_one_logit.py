"""A network with one output for each pixel, trained, measured and used as the two classes that it tells apart."""

import json

import numpy as np
import pytest
from PIL import Image

import minisegnet as ms
from minisegnet import functional as F
from minisegnet import inference, losses, models, random, training
from minisegnet.cli import main
from minisegnet.data import Arrays
from minisegnet.exchange import checkpoint
from minisegnet.training.evaluation import measure


def squares(seed=0):
    rng = np.random.default_rng(seed)
    masks = np.zeros((4, 40, 48), np.uint8)
    for mask in masks:
        row, column = rng.integers(4, 16, 2)
        mask[row : row + 20, column : column + 24] = 1
    return Arrays(list(masks + 0.3 * rng.normal(size=masks.shape)), list(masks), ("background", "square"))


def network():
    random.manual_seed(0)
    return models.create("unet", 1, 1, width=1 / 16)


def logit(model, image):
    with ms.no_grad():
        return model.eval()(ms.tensor(image[None])).array[0, 0]


def test_two_scores_are_the_logit_and_their_cross_entropy_is_the_binary_one():
    rng = np.random.default_rng(0)
    z = ms.tensor(5 * rng.normal(size=(2, 1, 6, 7)), requires_grad=True)
    target = rng.integers(0, 2, (2, 6, 7))
    loss = F.cross_entropy(F.class_scores(z), target)
    loss.backward()
    gradient, z.grad = z.grad.array, None
    other = F.binary_cross_entropy_with_logits(z, ms.tensor(target[:, None].astype(np.float64)))
    other.backward()
    np.testing.assert_allclose(loss.item(), other.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, z.grad.array, rtol=1e-10, atol=1e-18)
    three = ms.tensor(rng.normal(size=(1, 3, 2, 2)))
    assert F.class_scores(three) is three


@pytest.mark.parametrize("loss", ["ce", "ce+dice", "focal", "lovasz", "ohem", "boundary"])
def test_it_learns_with_every_loss(loss):
    steps = 40 if loss == "ce" else 10
    options = {"steps": steps, "batch_size": 4, "crop": 32, "learning_rate": 1e-2, "loss": loss, "progress": False, "eval_every": steps}
    history = training.fit(network(), squares(), squares(1), **options)
    losses = [row["loss"] for row in history.rows]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.01
    assert history.confusion.classes == ("background", "square")
    if loss == "ce":
        assert history.best_score > 0.5, history


def test_labels_and_validation_loss_are_those_of_the_logit():
    model, data = network(), squares()
    image, mask = data[0]
    z = logit(model, image)
    z = z - np.median(z)  # some of each label
    model.outc.conv.bias.data -= np.float32(np.median(logit(model, image)))
    np.testing.assert_array_equal(inference.predict(model, image), z > 0)
    confusion, loss = measure(model, data, 2, losses.AuxiliaryLoss(losses.create("ce"), by_class=True))
    own = [F.binary_cross_entropy_with_logits(ms.tensor(logit(model, x)), ms.tensor(t.astype(np.float32))).item() for x, t in data]
    np.testing.assert_allclose(loss, np.mean(own), rtol=1e-5)
    assert confusion.matrix.sum() == 4 * mask.size and (confusion.matrix > 0).all()


def test_a_loss_of_the_user_gets_the_logit(monkeypatch):
    seen = []

    def own(z, target):
        seen.append(z.shape[1])
        return F.binary_cross_entropy_with_logits(z[:, 0], target.to(z.dtype))

    training.fit(network(), squares(), squares(1), steps=1, batch_size=2, crop=32, loss=own, progress=False)
    assert seen == [1] * 5


def test_the_commands(tmp_path, capsys):
    def run(*argv):
        assert main([str(a) for a in argv]) == 0, capsys.readouterr().err

    out = tmp_path / "run"
    run("train", "--one-logit", "--width", "0.06", "--crop", "64", "--steps", "30", "--lr", "0.01", "--out", out, "--quiet")
    assert checkpoint.read_about(out).recipe["num_classes"] == 1
    run("evaluate", out, "--json", tmp_path / "f.json", "--boundaries", "--pictures", tmp_path / "p.png", "--confusion", tmp_path / "c.png")
    assert "iou_nucleus" in json.loads((tmp_path / "f.json").read_text())["per_image"][0]
    cell = np.asarray(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80), np.uint8)))
    Image.fromarray(cell).save(tmp_path / "a.png")
    run(
        "segment",
        tmp_path / "a.png",
        "--checkpoint",
        out,
        "--out",
        tmp_path / "s",
        "--confidence",
        "--overlay",
        "--objects",
        "csv",
        "--flip",
    )
    run("explain", tmp_path / "a.png", "--checkpoint", out, "--out", tmp_path / "e")
    model = inference.load_model(out)
    z = logit(model, inference.prepare(cell, 1))
    found, confidence = inference.segment_image(model, cell, confidence=True)
    np.testing.assert_array_equal(found, z > 0)
    np.testing.assert_allclose(confidence, 1 / (1 + np.exp(-abs(z))), rtol=1e-5)

    runtime = pytest.importorskip("onnxruntime")
    for output, expected in ("labels", found), ("probabilities", np.stack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))])):
        run("export", out, "--out", tmp_path / f"{output}.onnx", "--output", output)
        session = runtime.InferenceSession(str(tmp_path / f"{output}.onnx"), providers=["CPUExecutionProvider"])
        (value,) = session.run(None, {"image": inference.prepare(cell, 1)[None]})
        assert [d for d in session.get_outputs()[0].shape if isinstance(d, int)] == ([] if output == "labels" else [2])
        np.testing.assert_allclose(value[0], expected, atol=1e-5)


def test_one_output_cannot_tell_three_classes_apart(tmp_path, capsys):
    assert main(["train", "--data", "shapes", "--one-logit", "--out", str(tmp_path / "no")]) == 2
    assert "one output tells two classes apart, and the data have 4" in capsys.readouterr().err
