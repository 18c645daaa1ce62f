"""`Recipe`: an option is declared once, and the command line, the file, the checks and the page follow from it."""

import dataclasses
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from minisegnet import losses, training
from minisegnet.options import options_of, table
from minisegnet.training import Recipe, build
from minisegnet.training.evaluation import SCORES
from minisegnet.training.recipe import CLASS_WEIGHTS

ROOT = Path(__file__).parents[2]
FIELDS = options_of(Recipe)


def test_fit_shows_every_field_in_its_signature_and_its_help():
    shown = inspect.signature(training.fit).parameters
    assert set(FIELDS) <= set(shown) and "fields" not in shown
    for name, about in FIELDS.items():
        assert f"        {name} : {about.kind.expected}\n" in training.fit.__doc__
        assert f"    {name} : {about.kind.expected}\n" in Recipe.__doc__


def test_every_default_is_one_that_the_option_takes_and_every_field_has_help():
    assert Recipe() == Recipe(**{f.name: getattr(Recipe(), f.name) for f in dataclasses.fields(Recipe)})
    for about in FIELDS.values():
        assert about.help and about.section and about.kind.expected


def test_the_table_in_the_docs_is_made_from_the_fields():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert table(Recipe) in page, "stale: replace the tables under “All options” by what minisegnet.options.table(Recipe) returns"


def test_every_name_that_a_recipe_takes_can_be_built():
    assert FIELDS["optimizer"].kind.choices == tuple(build.OPTIMIZERS)
    assert set(FIELDS["schedule"].kind.choices) == set(build.SCHEDULES)
    assert FIELDS["best_by"].kind.choices == tuple(SCORES)
    assert losses.weights.METHODS == CLASS_WEIGHTS
    assert all(name in FIELDS["loss"].help for name in losses.list_losses())


def test_fields_replace_those_of_a_recipe_and_an_unknown_one_is_named():
    recipe = training.recipe.from_fields(Recipe(steps=3, clip_norm=1.0), {"clip_norm": 2.0})
    assert recipe == Recipe(steps=3, clip_norm=2.0)
    with pytest.raises(TypeError, match=r"fit\(\) got an unexpected keyword argument 'clip_nrom': did you mean 'clip_norm'\?"):
        training.fit(None, [], clip_nrom=1.0)


def test_the_length_is_given_in_steps_or_in_epochs():
    assert Recipe(epochs=3, batch_size=4, accumulate=2).for_data(17).steps == 9
    assert Recipe(steps=25).for_data(17).eval_every == 3
    with pytest.raises(ValueError, match="warmup must be shorter than the training of 9 steps"):
        Recipe(epochs=3, batch_size=4, accumulate=2, warmup=9).for_data(17)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch_size": True}, "batch_size: expected a whole number, 1 or more, not True"),
        ({"batch_size": 2.0}, "batch_size: expected a whole number"),
        ({"learning_rate": "0.1"}, "learning_rate: expected a number above 0, not '0.1'"),
        ({"batch_size": None}, "batch_size: expected a whole number, 1 or more, not None"),
        ({"lr_factors": {"outc": -1}}, "lr_factors: expected NAME=FACTOR"),
        ({"scale": (2, 1)}, "scale: expected two numbers"),
        ({"class_weights": "rare"}, "class_weights: expected median, inverse"),
        ({"optimizer": "adma"}, "optimizer: expected one of adam, adamw, sgd"),
        ({"loss": "dise"}, "did you mean 'dice'"),
        ({"loss": "dice", "class_weights": "median"}, "does not take class weights"),
    ],
)
def test_a_recipe_is_checked_when_it_is_made(fields, words):
    with pytest.raises(ValueError, match=words):
        Recipe(**fields)


def test_numpy_numbers_and_arrays_are_numbers_and_the_record_is_plain():
    recipe = Recipe(steps=np.int64(5), learning_rate=np.float32(0.5), class_weights=np.array([1.0, 2.0]), scale=(0.5, np.float64(2)))
    record = recipe.record()
    assert json.loads(json.dumps(record)) == record
    assert (record["steps"], record["class_weights"], record["scale"]) == (5, [1.0, 2.0], [0.5, 2.0])
    assert Recipe(loss=lambda scores, labels: scores.mean(), optimizer=build.optim.SGD).record()["optimizer"] == "SGD"


def test_the_record_of_the_version_before_recipes_is_that_of_the_same_recipe():
    earlier = {
        "steps": 10, "batch_size": 4, "learning_rate": 0.001, "crop": 128, "optimizer": "adam", "schedule": None, "seed": 0, "eval_every": 1,
        "loss": "ce", "class_weights": [1.0, 2.0], "label_smoothing": 0.0, "aux_weight": 0.4, "weight_decay": None, "lr_factors": {"outc": 10.0},
        "warmup": 0, "accumulate": 1, "clip_norm": None, "ema": None, "patience": None, "best_by": "iou",
    }  # fmt: skip
    recipe = Recipe(steps=20, class_weights=[1, 2], lr_factors={"outc": 10}, scale=(0.5, 2), patience=3)
    recipe.check_same_run(earlier)
    with pytest.raises(ValueError, match=r"started with crop=64 \(now 128\), clip_norm=1.0 \(now None\): resume it"):
        recipe.check_same_run({**earlier, "crop": 64, "clip_norm": 1.0})
    with pytest.raises(ValueError, match=r"scale=\[0.5, 1\]"):
        recipe.check_same_run({**earlier, "scale": [0.5, 1]})


def test_a_training_option_is_declared_in_one_file():
    """Only its declaration and the code that uses its value name an option."""
    files = [path for folder in ("training", "cli") for path in (ROOT / "minisegnet" / folder).glob("*.py")]
    naming = {path.name for path in files if "label_smoothing" in path.read_text(encoding="utf-8")}
    assert naming == {"recipe.py", "build.py"}
