"""The tests that faults had passed which were planted in a training, in data, metrics and pictures; `faults` plants them again."""

import numpy as np
import pytest
from PIL import Image

import minisegnet as ms
from minisegnet import data, inference, losses, training
from minisegnet.cli import main
from minisegnet.data import Arrays
from minisegnet.diagnostics import seg_grad_cam
from minisegnet.exchange import checkpoint
from minisegnet.inference import augmented_scores

CLASSES, IGNORED = ("ground", "water", "wood"), 7
WEIGHTS = [1.0, 4.0, 0.5]


class Network(ms.nn.Module):
    """In float64, with running statistics; the same in PyTorch is `twin`."""

    def __init__(self):
        self.body, self.norm, self.head = ms.nn.Conv2d(1, 4, 3, padding=1, bias=False), ms.nn.BatchNorm2d(4), ms.nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.head(ms.functional.relu(self.norm(self.body(x))))


def twin(torch):
    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.norm, self.head = (
                torch.nn.Conv2d(1, 4, 3, padding=1, bias=False),
                torch.nn.BatchNorm2d(4),
                torch.nn.Conv2d(4, 3, 1),
            )

        def forward(self, x):
            return self.head(torch.relu(self.norm(self.body(x))))

    return Twin().double()


def scenes(count, seed, size=8):
    """Unequal shares of the classes and of ignored pixels."""
    rng = np.random.default_rng(seed)
    masks = [rng.choice([0, 0, 1, 2, 2, 2, IGNORED], (size, size + 2 * k)) for k in range(count)]
    masks[0][: size // 2] = IGNORED
    return Arrays([mask % 5 + rng.normal(size=mask.shape) for mask in masks], masks, CLASSES, ignore_index=IGNORED)


RECIPE = training.Recipe(
    steps=5, eval_every=1, batch_size=2, accumulate=2, crop=8, optimizer="adamw", learning_rate=0.05, clip_norm=0.2, ema=0.8,
    class_weights=WEIGHTS, label_smoothing=0.1, best_by="loss",
)  # fmt: skip


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    """A run of `fit`, and its twin's: PyTorch's loop over the same batches, written from the documentation of the recipe."""
    torch = pytest.importorskip("torch")
    train, held_out, folder = scenes(3, 0), scenes(3, 1), tmp_path_factory.mktemp("race") / "run"
    ms.manual_seed(0)
    model, other = Network().double(), twin(torch)
    other.load_state_dict({name: torch.from_numpy(value.numpy().copy()) for name, value in model.state_dict().items()})
    with ms.backend.use("numpy"):
        history = training.fit(model, train, held_out, RECIPE, out=folder, progress=False)

    def error(scores, masks):
        weight = torch.tensor(WEIGHTS, dtype=torch.float64)
        return torch.nn.functional.cross_entropy(scores, torch.from_numpy(masks), weight, ignore_index=IGNORED, label_smoothing=0.1)

    optimizer = torch.optim.AdamW(other.parameters(), lr=0.05)
    average = {name: value.clone() for name, value in other.state_dict().items()}
    loader = data.Loader(train, 2, training.build.make_transform(RECIPE, IGNORED), seed=0, steps=10)
    rows, averages, batches = [], [], iter(loader)
    for step in range(1, 6):
        other.train()
        optimizer.zero_grad()
        total = 0.0
        for images, masks in (next(batches), next(batches)):
            loss = error(other(torch.from_numpy(images).double()), masks) / 2
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(other.parameters(), 0.2).item()
        optimizer.step()
        d = min(0.8, (1 + step) / (10 + step))
        for name, value in other.state_dict().items():
            average[name] = d * average[name] + (1 - d) * value if value.is_floating_point() else value.clone()
        averages.append({name: value.numpy().copy() for name, value in average.items()})
        rows.append({"loss": total, "grad_norm": norm, **evaluated(torch, averages[-1], held_out, error)})
    return folder, history, rows, {name: value.numpy() for name, value in other.state_dict().items()}, averages


def evaluated(torch, weights, held_out, error):
    """The pooled IoU, and the validation loss: that of each image, weighted by its counted pixels."""
    network = twin(torch)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    network.eval()
    matrix, errors, counts = np.zeros((3, 3)), [], []
    with torch.no_grad():
        for image, mask in (held_out[k] for k in range(len(held_out))):
            scores = network(torch.from_numpy(image[None]).double())
            found, there = scores.argmax(1).numpy()[0], mask != IGNORED
            np.add.at(matrix, (mask[there], found[there]), 1)
            errors.append(error(scores, mask[None]).item())
            counts.append(there.sum())
    both = np.diag(matrix)
    with np.errstate(invalid="ignore"):
        iou = both / (matrix.sum(0) + matrix.sum(1) - both)
    return {"val_loss": np.average(errors, weights=counts), **{f"val_iou_{name}": v for name, v in zip(CLASSES, iou, strict=True)}}


def test_the_rows_of_the_log_are_the_twins(race):
    _, history, rows, _, _ = race
    for ours, theirs in zip(history.rows, rows, strict=True):
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-9, err_msg=name)
    assert max(row["grad_norm"] for row in rows) > 0.2, "nothing was clipped"


def test_the_last_checkpoint_has_the_twins_weights_and_their_average(race):
    folder, _, _, weights, averages = race
    found = checkpoint.read(folder / "last.safetensors")
    assert found.weights.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_allclose(found.training_weights[name].numpy(), value, rtol=1e-9, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(found.weights[name].numpy(), averages[-1][name], rtol=1e-9, atol=1e-13, err_msg=name)


def test_the_best_checkpoint_has_the_average_of_its_step(race):
    folder, history, rows, _, averages = race
    best = min(range(5), key=lambda k: rows[k]["val_loss"])
    assert history.best_step == best + 1 and history.best_score == pytest.approx(rows[best]["val_loss"], rel=1e-9)
    for name, value in checkpoint.read(folder / "best.safetensors").weights.items():
        np.testing.assert_allclose(value.numpy(), averages[best][name], rtol=1e-9, atol=1e-13, err_msg=name)


def test_a_network_without_padding_is_compared_with_the_middle_of_the_mask():
    class Valid(ms.nn.Module):
        def __init__(self):
            self.conv = ms.nn.Conv2d(1, 3, 3)

        def forward(self, x):
            return self.conv(x)

        def size_for(self, size):
            return size + 2

    rng = np.random.default_rng(0)
    image, mask = rng.normal(size=(8, 8)), rng.integers(0, 3, (8, 8))
    dataset = Arrays([image], [mask], CLASSES, standardise=False)
    ms.manual_seed(0)
    model = Valid().double()
    with ms.no_grad():
        expected = ms.functional.cross_entropy(model(ms.tensor(dataset[0][0][None].astype(float))), mask[None, 1:-1, 1:-1]).item()
    history = training.fit(model, dataset, steps=1, batch_size=1, crop=None, transform=None, progress=False)
    assert history.losses == pytest.approx([expected], rel=1e-12)


def test_median_frequency_weights_of_three_classes():
    """Frequencies 1/2, 1/4 and 1/8: the median is 1/4, the mean another number."""
    masks = [np.array([[0, 0, 0, 0, 1, 1, 2, IGNORED]])] * 2
    found = losses.class_weights(Arrays([np.zeros((1, 8))] * 2, masks, CLASSES, ignore_index=IGNORED), "median")
    np.testing.assert_allclose(found, [2 / 4, 2 / 2, 2 / 1], rtol=1e-6)


# --- data -------------------------------------------------------------------------------------------------


def put(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def pairs(root, count, values, seed=0):
    rng = np.random.default_rng(seed)
    for k in range(count):
        mask = rng.choice(np.array(values, np.uint8), (32, 32))
        put(root / "masks" / f"{k}.png", mask)
        put(root / "images" / f"{k}.png", rng.integers(0, 255, mask.shape, dtype=np.uint8))


def test_the_command_divides_by_its_seed_and_gives_the_ignored_label_to_the_data(tmp_path, capsys):
    pairs(tmp_path / "data", 8, [0, 1, 9])
    options = ["--steps", "1", "--width", "0.03", "--crop", "32", "--batch-size", "1", "--quiet", "--ignore-index", "9", "--classes", "2"]
    assert main(["train", "--data", str(tmp_path / "data"), *options, "--seed", "3", "--out", str(tmp_path / "run")]) == 0, (
        capsys.readouterr().err
    )
    about = checkpoint.read_about(tmp_path / "run" / "last.safetensors")
    whole = data.Folder(tmp_path / "data", classes=2, ignore_index=9)
    parts = data.split(whole, 0.2, 3)
    assert sorted(parts[1].names) != sorted(data.split(whole, 0.2, 0)[1].names), "the seeds draw the same part"
    for part, names in zip(("train", "held out"), parts, strict=True):
        assert list(about.run["settings"]["parts"][part]["items"]) == list(names.names)
    assert about.ignore_index == 9


def test_masks_of_0_1_and_255_have_ignored_pixels_and_no_objects(tmp_path):
    pairs(tmp_path, 3, [0, 1, 255])
    folder = data.Folder(tmp_path)
    assert folder.kind == "classes" and len(folder.classes) == 2
    assert {*np.unique(folder[0][1])} == {0, 1, 255}


def test_a_published_mask_is_turned_as_its_exif_says(tmp_path):
    mask = np.array([[0, 1], [1, 1], [0, 0]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: to be turned by a quarter, clockwise
    put(tmp_path / "mask.png", mask, exif=exif)
    np.testing.assert_array_equal(data.pairs.read_indices(tmp_path / "mask.png"), np.rot90(mask, -1))


def test_of_two_nuclei_that_overlap_the_later_file_wins(tmp_path):
    first, second = np.zeros((2, 4, 4), np.uint8)
    first[:3, :3] = 255
    second[1:, 1:] = 255
    root = tmp_path / "stage1_train" / "cell"
    put(root / "images" / "cell.png", np.zeros((4, 4, 3), np.uint8))
    put(root / "masks" / "a.png", first)
    put(root / "masks" / "b.png", second)
    found = data.open(tmp_path).instances(0)
    np.testing.assert_array_equal(found, np.where(second, 2, np.where(first, 1, 0)))


def test_horizontal_flips_never_turn_an_image_upside_down():
    image, mask = np.arange(6.0, dtype=np.float32).reshape(1, 2, 3), np.arange(6).reshape(2, 3)
    transform = data.augmentation(None, flip="horizontal")
    found = {transform(image, mask, np.random.default_rng(seed))[1].tobytes() for seed in range(40)}
    assert found == {mask.tobytes(), np.ascontiguousarray(mask[:, ::-1]).tobytes()}


# --- what comes out ------------------------------------------------------------------------------------------


def network(size=8):
    ms.manual_seed(0)
    return Network().eval(), np.random.default_rng(0).normal(size=(1, 1, size, size)).astype(np.float32)


def test_probabilities_of_several_scales_and_flips_sum_to_1():
    model, image = network()
    found = np.exp(augmented_scores(model, image, "hv", (0.5, 1.0, 2.0)).numpy()).sum(axis=1)
    np.testing.assert_allclose(found, 1, rtol=1e-5)


def test_the_mean_over_scales_is_that_of_the_copies():
    model, image = network()
    each = [np.exp(augmented_scores(model, image, "", (scale,)).numpy()) for scale in (1.0, 2.0)]
    found = np.exp(augmented_scores(model, image, "", (1.0, 2.0)).numpy())
    np.testing.assert_allclose(found, (each[0] + each[1]) / 2, rtol=1e-5)


def test_seg_grad_cam_explains_the_pixels_of_its_class():
    model, image = network()
    labels = inference.predict(model, image[0])
    target = int(np.bincount(labels.ravel()).argmax())
    assert 0 < (labels == target).sum() < labels.size
    scores = inference.scores(model, image).numpy()[0, target]
    found = seg_grad_cam(model, image[0], target)
    assert found.score == pytest.approx(float(scores[labels == target].sum()), rel=1e-5)
    mask = np.zeros(labels.shape, bool)
    mask[2, 3] = True
    assert seg_grad_cam(model, image[0], target, mask).score == pytest.approx(float(scores[2, 3]), rel=1e-5)
