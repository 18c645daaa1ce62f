"""`training.fit` learns, resumes exactly, and leaves no file half written."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.training import read_log

import minisegnet as ms
from minisegnet import models, random, training
from minisegnet.data import Arrays, augmentation
from minisegnet.exchange import checkpoint
from minisegnet.training import build
from minisegnet.training.evaluation import headline, measure


def discs(count=3, size=(40, 48), seed=0):
    """Bright discs on a dark background: easy to learn."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = [
        (rows - r) ** 2 + (columns - c) ** 2 < 90 for r, c in zip(rng.integers(10, 30, count), rng.integers(10, 38, count), strict=True)
    ]
    images = [mask + 0.3 * rng.normal(size=size) for mask in masks]
    return Arrays(images, [mask.astype(np.uint8) for mask in masks], ("background", "disc"))


def network(seed=0, **options):
    random.manual_seed(seed)
    return models.create("unet", 1, 2, width=1 / 16, **options)


def fit(out=None, model=None, steps=6, **options):
    options = {"batch_size": 2, "crop": 32, "progress": False, "eval_every": 2, "learning_rate": 1e-2, **options}
    return training.fit(model or network(), discs(), discs(2, seed=1), steps=steps, out=out, **options)


class Stop:
    """A callback that interrupts after a step."""

    def __init__(self, step):
        self.step = step

    def __call__(self, row):
        if row["step"] == self.step:
            raise KeyboardInterrupt


def weights(path):
    return {name: value.numpy().copy() for name, value in checkpoint.read(path).weights.items()}


@pytest.mark.quick
def test_learns_and_leaves_everything_in_its_folder(tmp_path):
    out = tmp_path / "a" / "run"
    history = fit(out, steps=30)
    assert history.losses[-1] < 0.6 * history.losses[0]
    name, score = headline(history.confusion)
    assert name == "disc IoU" and score > 0.5
    assert sorted(p.name for p in out.iterdir()) == [
        "best.safetensors", "config.json", "curves.png", "last.safetensors", "log.csv", "predictions.png",
    ]  # fmt: skip
    rows = read_log(out / "log.csv")
    assert [row["loss"] for row in rows] == history.losses
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert [row["step"] for row in rows if "val_iou_disc" in row] == list(range(2, 31, 2))
    best = max((row["val_iou_disc"], -row["step"]) for row in rows if "val_iou_disc" in row)
    assert (history.best_score, -history.best_step) == best
    assert checkpoint.read_about(out / "best.safetensors").step == history.best_step
    config = json.loads((out / "config.json").read_text())
    assert config["options"]["steps"] == 30 and config["model"] == {"name": "unet", "in_channels": 1, "num_classes": 2, "width": 1 / 16}


def test_last_evaluation_is_the_one_of_the_checkpoint(tmp_path):
    history = fit(tmp_path / "run")
    again = training.evaluate(ms.inference.load_model(tmp_path / "run" / "last.safetensors"), discs(2, seed=1), batch_size=1)
    np.testing.assert_array_equal(again.matrix, history.confusion.matrix)


def test_same_seed_same_losses_other_seed_others():
    assert fit(seed=3).losses == fit(seed=3).losses != fit(seed=4).losses


EVERYTHING = {
    "optimizer": "sgd", "schedule": "poly", "warmup": 3, "weight_decay": 1e-3, "lr_factors": {"outc": 10.0, "up4": 2.0}, "loss": "ce+0.5*dice",
    "class_weights": "median", "label_smoothing": 0.1, "accumulate": 2, "batch_size": 1, "clip_norm": 0.5, "ema": 0.8, "best_by": "loss", "patience": 9,
    "transform": augmentation(32, scale=(0.7, 1.4), rotate=10, jitter=0.2, blur=1.0, noise=0.1),
}  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": "sgd"}, {"schedule": "cosine"}, EVERYTHING], ids=["plain", "sgd", "cosine", "everything"]
)
def test_resume_is_exact(tmp_path, options):
    whole = fit(tmp_path / "whole", steps=10, **options)
    with pytest.raises(training.Interrupted):
        fit(tmp_path / "half", steps=10, callback=Stop(5), **options)
    second = fit(tmp_path / "half", model=network(seed=9), steps=10, resume=tmp_path / "half", **options)
    assert second.losses == whole.losses
    assert len(second.rows) == 10
    assert (second.best_score, second.best_step) == (whole.best_score, whole.best_step)
    ours, theirs = (weights(tmp_path / name / "last.safetensors") for name in ("half", "whole"))
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name])
    ours, theirs = ((tmp_path / name / "predictions.png").read_bytes() for name in ("half", "whole"))
    assert ours == theirs
    columns = [[{k: v for k, v in row.items() if k != "seconds"} for row in read_log(tmp_path / f / "log.csv")] for f in ("half", "whole")]
    assert columns[0] == columns[1]


# --- the options of a run -----------------------------------------------------------------------


def test_rates_of_warm_up_and_schedule(tmp_path):
    """The rates equal their formulas: a warm-up of 4 steps from a hundredth of the rate, then 6 steps of the schedule."""
    warm = [0.1 * (0.01 + 0.99 * t / 4) for t in range(4)]
    after = {
        "cosine": [0.1 * (1 + np.cos(np.pi * t / 6)) / 2 for t in range(6)],
        "poly": [0.1 * (1 - t / 6) ** 0.9 for t in range(6)],
        "step": [0.1, 0.1, 0.01, 0.01, 0.001, 0.001],
        None: [0.1] * 6,
    }
    for schedule, expected in after.items():
        recipe = training.Recipe(steps=10, learning_rate=0.1, optimizer="sgd", schedule=schedule, warmup=4)
        optimizer = build.make_optimizer(recipe, small())
        schedule = build.make_schedule(recipe, optimizer)
        rates = []
        for _ in range(10):
            rates.append(schedule.get_last_lr()[0])
            schedule.step()
        np.testing.assert_allclose(rates, warm + expected, rtol=1e-12)
    assert [row["lr"] for row in fit(steps=3, warmup=2, learning_rate=0.1, model=small()).rows] == pytest.approx([0.001, 0.0505, 0.1])


class Small(ms.nn.Module):
    """A network of two convolutions without batch normalisation."""

    def __init__(self):
        self.body, self.head = ms.nn.Conv2d(1, 4, 3, padding=1), ms.nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.head(ms.functional.relu(self.body(x)))


def small(dtype=np.float64):
    random.manual_seed(0)
    return Small().to(dtype)


def change(**options):
    """The change of each parameter in one step of plain gradient descent."""
    model = small()
    before = {name: value.array.copy() for name, value in model.state_dict().items()}
    fit(model=model, steps=1, optimizer=ms.optim.SGD, **options)
    return {name: value.array - before[name] for name, value in model.state_dict().items()}


def test_the_head_learns_at_ten_times_the_rate():
    plain, fast = change(), change(lr_factors={"head": 10})
    for name in plain:
        np.testing.assert_allclose(fast[name], plain[name] * (10 if name.startswith("head") else 1), rtol=1e-9)
        assert np.abs(plain[name]).max() > 0
    deeper = change(lr_factors={"head": 10, "head.bias": 0})
    np.testing.assert_array_equal(deeper["head.bias"], 0)
    np.testing.assert_allclose(deeper["head.weight"], fast["head.weight"], rtol=1e-12)


def test_accumulated_batches_are_one_large_batch():
    """Equal, because items and augmentation are the same, each loss is a mean over equally many pixels, and nothing is batch-normalised."""
    whole, parts = small(), small()
    losses = [fit(model=model, steps=4, batch_size=b, accumulate=a).losses for model, b, a in ((whole, 6, 1), (parts, 2, 3))]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    for name, value in whole.state_dict().items():
        np.testing.assert_allclose(parts.state_dict()[name].array, value.array, rtol=1e-7, atol=1e-12)


def test_clipping_shortens_the_step_and_the_log_tells_the_norm(tmp_path):
    plain = change()
    length = np.sqrt(sum((d**2).sum() for d in plain.values())) / 1e-2  # the learning rate
    history = fit(tmp_path / "run", model=small(), steps=1, optimizer=ms.optim.SGD, clip_norm=1e9)
    assert history.rows[0]["grad_norm"] == pytest.approx(length, rel=1e-9)
    assert read_log(tmp_path / "run" / "log.csv")[0]["grad_norm"] == history.rows[0]["grad_norm"]
    for name, moved in change(clip_norm=length / 4).items():
        np.testing.assert_allclose(moved, plain[name] / 4, rtol=1e-5)


def test_weight_decay_pulls_towards_zero():
    model = small()
    before = {name: value.array.copy() for name, value in model.state_dict().items()}
    plain, decayed = change(), change(weight_decay=0.5)
    for name in plain:
        np.testing.assert_allclose(decayed[name], plain[name] - 1e-2 * 0.5 * before[name], rtol=1e-9, atol=1e-15)


def test_the_average_of_the_weights_by_its_formula():
    rng = np.random.default_rng(0)
    model = small()
    values = rng.normal(size=(30, 4))
    model.body.bias.data.copy_(values[0])
    average = training.ExponentialMovingAverage(model, 0.7)
    expected = values[0]
    for t in range(1, 30):
        model.body.bias.data.copy_(values[t])
        average.update(model, t)
        d = min(0.7, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * values[t]
    np.testing.assert_allclose(average.weights["body.bias"].array, expected, rtol=1e-12)
    np.testing.assert_allclose(average.model.body.bias.array, expected, rtol=1e-12)
    np.testing.assert_array_equal(model.body.bias.array, values[29])


def test_the_average_is_what_is_evaluated_and_kept_and_does_not_disturb(tmp_path):
    model = network()
    memory = next(model.parameters())._memory
    before = memory.changes
    history = fit(tmp_path / "run", model=model, ema=0.9)
    assert (
        memory.changes - before == len(history.losses) + 1
    )  # each step, and the average at the end: no evaluation writes into the network
    plain = network()
    assert fit(model=plain).losses == history.losses
    for path in (tmp_path / "run" / "last.safetensors", None):
        averaged = ms.inference.load_model(path) if path else model
        again = training.evaluate(averaged, discs(2, seed=1))
        np.testing.assert_array_equal(again.matrix, history.confusion.matrix)
    found = checkpoint.read(tmp_path / "run" / "last.safetensors")
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(found.training_weights[name].array, value.array)
    assert any((found.training_weights[n].array != w.array).any() for n, w in found.weights.items())
    best = checkpoint.read(tmp_path / "run" / "best.safetensors")
    assert best.training_weights is best.weights and not best.state


@pytest.mark.parametrize(
    ("best_by", "column", "sign"), [("mean_iou", "val_iou", 1), ("dice", "val_dice_disc", 1), ("loss", "val_loss", -1)]
)
def test_the_best_checkpoint_is_that_of_the_chosen_figure(tmp_path, best_by, column, sign):
    history = fit(tmp_path / "run", steps=12, eval_every=1, best_by=best_by, learning_rate=0.1)
    if best_by == "dice":
        values = [2 * row["val_iou_disc"] / (1 + row["val_iou_disc"]) for row in history.rows]
    else:
        values = [row[column] for row in history.rows]
    best = int(np.argmax(sign * np.array(values)))
    assert history.best_step == best + 1 and history.best_score == pytest.approx(values[best], rel=1e-12)
    assert checkpoint.read_about(tmp_path / "run" / "best.safetensors").step == best + 1
    assert history.score_name == {"mean_iou": "mean IoU", "dice": "disc Dice", "loss": "validation loss"}[best_by]


def test_patience_stops_early_and_a_larger_patience_continues(tmp_path):
    stuck = {"learning_rate": 1e-30, "eval_every": 1, "model": small(), "best_by": "loss"}
    history = fit(tmp_path / "run", steps=50, patience=3, **stuck)
    assert history.stopped_early and history.step == 4 and history.best_step == 1 and history.stale == 3
    assert "stopped early" in str(history)
    assert checkpoint.read_about(tmp_path / "run" / "last.safetensors").step == 4
    with pytest.raises(ValueError, match=r"stopped early after step 4: 3 evaluations .* step 1; .*--patience"):
        fit(steps=50, patience=3, resume=tmp_path / "run", **stuck)
    assert fit(steps=50, patience=5, resume=tmp_path / "run", **stuck).step == 6
    with pytest.raises(ValueError, match="without validation data"):
        training.fit(small(), discs(), steps=2, crop=32, patience=2, progress=False)


def test_auxiliary_outputs_count_with_their_weight():
    class Two(Small):
        def __init__(self):
            super().__init__()
            self.second = ms.nn.Conv2d(4, 2, 1)

        def forward(self, x):
            features = ms.functional.relu(self.body(x))
            return (self.head(features), self.second(features)) if self.training else self.head(features)

    def first_loss(weight):
        random.manual_seed(0)
        return fit(model=Two().double(), steps=1, aux_weight=weight).losses[0]

    losses = [first_loss(w) for w in (0.0, 0.4, 1.0)]
    assert losses[0] == pytest.approx(fit(model=small(), steps=1).losses[0], rel=1e-12)
    assert losses[1] - losses[0] == pytest.approx(0.4 * (losses[2] - losses[0]), rel=1e-9) and losses[2] > losses[0]


@pytest.mark.parametrize("loss", ["ce", "dice", "lovasz", "ohem", "boundary", "weighted"])
def test_the_validation_loss_does_not_depend_on_the_batch_size(loss):
    """The images have two sizes and different shares of ignored pixels; one is ignored altogether."""
    rng = np.random.default_rng(0)
    sizes = [(16, 16), (16, 16), (16, 16), (20, 16), (20, 16), (16, 16)]
    images = [rng.normal(size=size) for size in sizes]
    masks = [rng.choice([0, 0, 0, 1, 255], size=size) if k != 2 else np.full(size, 255) for k, size in enumerate(sizes)]
    masks[0][:12] = 255
    data, model = Arrays(images, masks, ("background", "disc")), small()
    weight = np.array([1.0, 5.0]) if loss == "weighted" else None
    criterion = ms.losses.create("ce" if loss == "weighted" else loss, weight=weight, ignore_index=255)
    found = [measure(model, data, batch_size, criterion)[1] for batch_size in (1, 2, 3, 6)]
    np.testing.assert_allclose(found, found[0], rtol=1e-12)
    with ms.no_grad():
        each = [criterion(model(ms.tensor(image[None].astype(np.float64))), mask[None]).item() for image, mask in data]
    counted = [(mask != 255).sum() for _, mask in data]
    assert found[0] == pytest.approx(np.average(np.nan_to_num(each), weights=counted), rel=1e-9)
    if loss == "ce":  # cross-entropy is the mean over all counted pixels
        with ms.no_grad():
            scores = [model(ms.tensor(image[None].astype(np.float64))).array[0] for image, _ in data]
        right = [
            np.take_along_axis(s - np.log(np.exp(s).sum(0)), np.minimum(m, 1)[None], 0)[0][m != 255]
            for s, (_, m) in zip(scores, data, strict=True)
        ]
        assert found[0] == pytest.approx(-np.concatenate(right).mean(), rel=1e-9)


def test_class_weights_are_computed_once_and_recorded(tmp_path):
    fit(tmp_path / "run", steps=1, class_weights="inverse", loss="focal")
    options = json.loads((tmp_path / "run" / "config.json").read_text())["options"]
    assert options["class_weights"] == pytest.approx(list(ms.losses.class_weights(discs(), "inverse"))) and options["loss"] == "focal"


def test_a_finished_run_can_be_made_longer(tmp_path):
    whole = fit(steps=10, eval_every=1)
    fit(tmp_path / "run", steps=5, eval_every=1)
    assert fit(tmp_path / "run", steps=10, eval_every=1, resume=tmp_path / "run").losses == whole.losses


def test_a_run_that_goes_on_in_another_folder_takes_its_best_along(tmp_path):
    first = fit(tmp_path / "first", steps=4)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "best.safetensors").write_text("of another run")
    with pytest.raises(FileExistsError, match="not empty"):
        fit(tmp_path / "other", steps=6, resume=tmp_path / "first")
    assert (tmp_path / "other" / "best.safetensors").read_text() == "of another run"
    second = fit(tmp_path / "second", steps=6, eval_every=6, learning_rate=1e-2, resume=tmp_path / "first")
    about = checkpoint.read_about(tmp_path / "second" / "best.safetensors")
    assert about.step == second.best_step >= first.best_step
    assert checkpoint.read_about(tmp_path / "first" / "last.safetensors").step == 4


def test_settings_may_contain_anything_and_options_may_be_numpy_numbers(tmp_path):
    fit(tmp_path / "run", steps=1, crop=np.int64(32), settings={"data": tmp_path, "share": np.float32(0.5)})
    about = checkpoint.read_about(tmp_path / "run")
    assert about.run["settings"] == {"data": str(tmp_path), "share": 0.5} and about.run["options"]["crop"] == 32
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"] == about.run["settings"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text(path.read_text()[:-9]),
        lambda path: path.write_text(path.read_text().rpartition("4,")[0]),
        lambda path: path.write_bytes(path.read_bytes() + bytes(40)),
        lambda path: path.write_text("nonsense"),
    ],
    ids=["gone", "cut off", "a line lost", "zeros at its end", "another text"],
)
def test_the_log_is_derived_from_the_checkpoint_and_never_believed(tmp_path, damage):
    whole = fit(tmp_path / "whole", steps=8, ema=0.5)
    fit(tmp_path / "run", steps=4, ema=0.5)
    damage(tmp_path / "run" / "log.csv")
    again = fit(tmp_path / "run", model=network(7), steps=8, ema=0.5, resume=tmp_path / "run")
    assert again.losses == whole.losses and again.best_step == whole.best_step
    timeless = lambda folder: [{k: v for k, v in row.items() if k != "seconds"} for row in read_log(folder / "log.csv")]
    assert timeless(tmp_path / "run") == timeless(tmp_path / "whole")


def test_nothing_is_best_where_nothing_was_measured(tmp_path):
    good = discs()
    unknown = Arrays([i for i, _ in good], [np.full((40, 48), 255)] * 3, good.classes)
    history = training.fit(network(), unknown, unknown, steps=1, batch_size=2, crop=32, progress=False)
    assert "best" not in str(history)


def test_resume_with_dropout_restores_the_random_numbers(tmp_path):
    class Net(ms.nn.Module):
        def __init__(self):
            self.conv, self.drop = ms.nn.Conv2d(1, 2, 3, padding=1), ms.nn.Dropout(0.5)

        def forward(self, x):
            return self.conv(self.drop(x))

    def make():
        random.manual_seed(0)
        return Net()

    whole = fit(tmp_path / "whole", model=make(), steps=6)
    fit(tmp_path / "half", model=make(), steps=3, eval_every=1)
    random.manual_seed(77)
    assert fit(tmp_path / "half", model=make(), steps=6, resume=tmp_path / "half").losses == whole.losses


def test_resume_after_a_crash_cuts_the_log_back_to_the_checkpoint(tmp_path):
    whole = fit(tmp_path / "whole", steps=6)

    def crash(row):
        if row["step"] == 5:  # the last checkpoint is of step 4
            raise RuntimeError("power failure")

    with pytest.raises(RuntimeError, match="power"):
        fit(tmp_path / "run", steps=6, callback=crash)
    assert len(read_log(tmp_path / "run" / "log.csv")) == 5
    assert fit(tmp_path / "run", steps=6, resume=tmp_path / "run").losses == whole.losses
    assert len(read_log(tmp_path / "run" / "log.csv")) == 6


def test_resume_refuses_other_conditions(tmp_path):
    fit(tmp_path / "run", steps=2)
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match="batch_size=2 \\(now 1\\)"):
        fit(tmp_path / "run", steps=4, batch_size=1, resume=tmp_path / "run")
    with pytest.raises(ValueError, match="has done 2 steps already"):
        fit(tmp_path / "run", steps=2, resume=tmp_path / "run")
    with pytest.raises(ValueError, match=r"best.*holds weights only"):
        fit(tmp_path / "run", steps=4, resume=tmp_path / "run" / "best.safetensors")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fit(steps=4, resume=tmp_path / "nowhere")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def test_interrupt_saves_and_draws(tmp_path):
    with pytest.raises(training.Interrupted, match=r"after step 3.*last\.safetensors") as caught:
        fit(tmp_path / "run", callback=Stop(3))
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.history.step == 3
    assert checkpoint.read_about(tmp_path / "run" / "last.safetensors").step == 3
    assert {"curves.png", "predictions.png"} <= {p.name for p in (tmp_path / "run").iterdir()}


def test_a_loss_that_is_not_finite_stops_and_keeps_the_good_checkpoint(tmp_path):
    criterion, calls = ms.nn.CrossEntropyLoss(), []

    def loss(scores, labels):
        calls.append(scores.requires_grad)
        return criterion(scores, labels) * (float("nan") if sum(calls) == 4 else 1.0)

    with pytest.raises(training.DivergedError, match=r"loss became nan at step 4.*last\.safetensors.*learning rate"):
        fit(tmp_path / "run", loss=loss)
    about = checkpoint.read_about(tmp_path / "run" / "last.safetensors")
    assert about.step == 2
    assert all(np.isfinite(value).all() for value in weights(tmp_path / "run" / "last.safetensors").values())
    assert not list((tmp_path / "run").glob(".*"))


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    model = network()

    def spoil(row):
        if row["step"] == 3:
            model.outc.conv.bias.array[0] = np.inf

    def loss(scores, labels):  # does not check its arguments
        return (scores * 0.0 + 1.0).mean() if np.isfinite(scores.array).all() else ms.tensor(1.0, requires_grad=True) * 1.0

    with pytest.raises(training.DivergedError, match=r"outc\.conv\.bias"):
        fit(tmp_path / "run", model=model, loss=loss, callback=spoil)
    assert checkpoint.read_about(tmp_path / "run" / "last.safetensors").step == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps: expected a whole number, 1 or more, not 0"),
        ({"steps": None}, "steps= or epochs="),
        ({"steps": 1, "epochs": 1}, "as steps or as epochs, not as both"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate: expected a number above 0, not 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number above 0, not nan"),
        ({"optimizer": "adma"}, "adam, adamw, sgd.*'adma'"),
        ({"schedule": "steps"}, "cosine, poly, step"),
        ({"warmup": 6}, "warmup must be shorter than the training of 6 steps"),
        ({"accumulate": 0}, "accumulate: expected a whole number, 1 or more"),
        ({"clip_norm": 0.0}, "clip_norm: expected a number above 0"),
        ({"ema": 1.0}, "ema: expected a number from 0 to less than 1"),
        ({"patience": 0}, "patience: expected a whole number, 1 or more"),
        ({"jitter": 2}, "jitter: expected a number from 0 to 1"),
        ({"transform": None, "rotate": 3}, "either a transform of your own or the recipe's"),
        ({"best_by": "accuracy"}, "iou, mean_iou, dice, loss"),
        ({"loss": "dise"}, "did you mean 'dice'"),
        ({"loss": "dice", "class_weights": "median"}, "does not take class weights"),
        ({"loss": lambda scores, labels: scores.mean(), "label_smoothing": 0.1}, "go with the name of a loss"),
        ({"class_weights": [1.0]}, "expected 2 numbers"),
        ({"class_weights": [1.0, -1.0]}, "class_weights: expected median, inverse, or a number of 0 or more"),
        ({"class_weights": "rare"}, "class_weights: expected median, inverse"),
        ({"lr_factors": {"out": 10}}, r"no parameters under 'out'.*parts of this network are inc, down1, .*outc"),
        ({"crop": 0}, "crop"),
        ({"crop": 8}, "16 × 16"),
        ({"seed": -1}, "seed"),
        ({"eval_every": 0}, "eval_every"),
    ],
)
def test_bad_options_are_refused_before_a_folder_is_made(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        fit(tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


class Counted:
    """A data set that counts how often an item is read."""

    def __init__(self, dataset):
        self.dataset, self.reads = dataset, 0

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, k):
        self.reads += 1
        return self.dataset[k]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "steps"}, "cosine, poly, step"),
        ({"warmup": 6}, "warmup must be shorter"),
        ({"optimizer": "adma"}, "adma"),
        ({"loss": "dice"}, "does not take class weights"),
        ({"lr_factors": {"out": 10}}, "no parameters under 'out'"),
        ({"model": models.create("unet", 3, 2, width=1 / 16)}, "takes 3 channels"),
        ({"out": Path(__file__).parent}, "is not empty"),
        ({"resume": "nowhere"}, "nowhere"),
    ],
)
def test_nothing_is_read_before_everything_is_checked(options, message):
    data = Counted(discs())
    arguments = {"steps": 6, "batch_size": 2, "crop": 32, "progress": False, "class_weights": "median", **options}
    with pytest.raises((ValueError, OSError), match=message):
        training.fit(arguments.pop("model", None) or network(), data, **arguments)
    assert data.reads == 0


def test_a_refused_run_makes_no_folder_not_even_for_a_moment(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(Path, "mkdir", lambda self, *args, **options: made.append(self))
    with pytest.raises(ValueError, match="16 × 16"):
        fit(tmp_path / "a" / "run", crop=8)
    with pytest.raises(ValueError, match="3 channels"):
        fit(tmp_path / "a" / "run", model=models.create("unet", 3, 2, width=1 / 16))
    assert made == []


def test_weights_of_other_data_are_not_those_of_the_run(tmp_path):
    fit(tmp_path / "run", steps=1, class_weights="median")
    options = {"batch_size": 2, "crop": 32, "progress": False, "eval_every": 2, "learning_rate": 1e-2, "class_weights": "median"}
    with pytest.raises(ValueError, match=r"started with class_weights=\[.*now \["):
        training.fit(network(), discs(size=(40, 64)), discs(2, seed=1), steps=2, resume=tmp_path / "run", **options)


def test_network_and_data_that_do_not_fit_are_refused(tmp_path):
    random.manual_seed(0)
    with pytest.raises(ValueError, match=r"takes 3 channels and tells 2 classes apart.*1 channels and 2 classes: background, disc"):
        fit(tmp_path / "run", model=models.create("unet", 3, 2, width=1 / 16))
    with pytest.raises(ValueError, match="5 classes apart"):
        fit(tmp_path / "run", model=models.create("unet", 1, 5, width=1 / 16))
    with pytest.raises(ValueError, match="2 × 2 scores of 32 × 32 pixels"):
        fit(tmp_path / "run", model=models.create("article2", 1, 2, width=1 / 64, as_printed=True))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_in_use_or_cannot_be_written(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"full is not empty.*--overwrite"):
        fit(tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    fit(tmp_path / "full", steps=2, overwrite=True)
    assert (tmp_path / "full" / "mine.txt").read_text() == "precious"
    with pytest.raises(OSError, match=r"cannot write .*mine\.txt"):
        fit(tmp_path / "full" / "mine.txt" / "run")


def test_overwriting_leaves_nothing_of_the_earlier_run(tmp_path):
    fit(tmp_path / "run", steps=4)
    training.fit(network(), discs(), steps=1, batch_size=2, crop=32, progress=False, out=tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "best.safetensors").exists()  # the earlier run's is deleted
    assert len(read_log(tmp_path / "run" / "log.csv")) == 1


def test_data_that_break_at_the_first_step_leave_no_folder(tmp_path):
    class Broken(Arrays):
        def __getitem__(self, k):
            raise OSError("disk on fire")

    good = discs()
    broken = Broken([i for i, _ in good], [m for _, m in good], good.classes)
    with pytest.raises(OSError, match="fire"):
        training.fit(network(), broken, steps=2, crop=32, progress=False, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_valid_network_learns_from_the_middle(tmp_path):
    random.manual_seed(0)
    model = models.create("unet_paper", 1, 2, width=1 / 64)
    images = discs(1, size=(60, 70))
    history = training.fit(model, images, images, steps=2, batch_size=1, crop=204, progress=False)
    assert history.confusion.matrix.sum() == 60 * 70  # the whole image, although the network cuts a border off


def test_evaluate_does_not_depend_on_batches_and_keeps_the_mode():
    model = network()
    images = [np.random.default_rng(k).normal(size=(20 + 4 * (k // 2), 30)) for k in range(5)]
    dataset = Arrays(images, [(i > 0).astype(int) for i in images], ("a", "b"))
    model.down1.eval()
    one, many = (training.evaluate(model, dataset, batch_size=b).matrix for b in (1, 3))
    np.testing.assert_array_equal(one, many)
    assert one.sum() == sum(i.size for i in images)
    assert model.training and not model.down1.training


def test_whole_images_in_float64():
    history = training.fit(network().double(), discs(), steps=2, batch_size=2, crop=None, progress=False)
    assert all(np.isfinite(history.losses)) and history.confusion is None


def test_the_articles_function(capsys):
    model = network()
    history = training.train_segmentation_network(model, discs(4, size=(16, 16)), 2, num_epochs=51, learning_rate=1e-3)
    assert len(history.rows) == 102
    assert capsys.readouterr().out == ""  # an epoch has 2 steps: never 100
    few = discs(1, size=(16, 16))
    whole = Arrays([few[0][0]] * 200, [few[0][1]] * 200, few.classes)
    history = training.train_segmentation_network(network(), whole, 2, num_epochs=2, learning_rate=1e-3)
    assert capsys.readouterr().out == "".join(f"Epoch: [{e}/2], Step: [100/100], Loss: {history.losses[100 * e - 1]:.4f}\n" for e in (1, 2))


def test_ctrl_c_in_a_real_process(tmp_path):
    program = (
        "import sys; from minisegnet.cli import main\n"
        "sys.exit(main(['train', '--data', 'shapes', '--width', '0.03', '--crop', '32', '--steps', '100000', '--eval-every', '50000', '--out', sys.argv[1]]))"
    )
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", program, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not (out / "log.csv").exists() or len((out / "log.csv").read_text().splitlines()) < 4:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in errors and "stopped after step" in errors
    about = checkpoint.read_about(out / "last.safetensors")
    assert about.step == read_log(out / "log.csv")[-1]["step"]
    assert (out / "predictions.png").exists() and (out / "curves.png").exists()
    assert not list(out.glob(".*"))
