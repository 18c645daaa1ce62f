"""Export to ONNX: onnxruntime computes from the file what the network computes, for every architecture and operation."""

import struct
from functools import partial

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import functional as F
from minisegnet import models, nn
from minisegnet.cli import main
from minisegnet.exchange import checkpoint
from minisegnet.exchange.onnx import ExportError, export_onnx, protobuf
from minisegnet.tensor import Tensor, no_grad, observed


def runtime():
    return pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra peers)")


def run(path, x):
    """Check the file, and return the outputs of onnxruntime by name."""
    onnx, ort = pytest.importorskip("onnx"), runtime()
    onnx.checker.check_model(str(path), full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"image": x}), strict=True))


def lively(model, seed=0):
    """Put random numbers into everything that starts as 0 or 1: statistics, shifts, score layers."""
    rng = np.random.default_rng(seed)
    for value in [*model.parameters(), *model.buffers()]:
        if value.dtype.kind == "f" and len(np.unique(value.array)) == 1:
            value.array[...] = rng.uniform(0.5, 1.5, value.shape)
    return model.eval()


def image(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ours(model, x):
    with no_grad():
        return model(Tensor(x)).array


def close(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert abs(expected).max() > 0, "the output is all zero, so the comparison would show nothing"
    assert abs(found - expected).max() <= tolerance * abs(expected).max()


# --- every architecture --------------------------------------------------------------------

# name -> options, smallest image that it takes, step between the sizes that the file takes
ARCHITECTURES = {
    "article1": ({}, 16, 1),
    "article2": ({}, 64, 64),
    "deconvnet": ({"bottleneck": 2}, 64, 1),
    "deeplabv2": ({"backbone": "resnet50"}, 33, 1),
    "deeplabv3": ({}, 33, 1),
    "deeplabv3plus": ({"backbone": "resnet18"}, 33, 16),
    "dilated": ({}, 64, 8),
    "fcn32s": ({}, 32, 1),
    "fcn16s": ({}, 32, 1),
    "fcn8s": ({}, 32, 1),
    "fcn_resnet": ({}, 33, 1),
    "pspnet": ({}, 49, 32),
    "pspnet_smp": ({"backbone": "resnet18"}, 49, 32),
    "segnet": ({}, 37, 1),
    "segnet_basic": ({}, 37, 1),
    "unet": ({}, 32, 16),
    "unet_paper": ({}, 188, 16),
    "unet_resnet": ({"backbone": "resnet18"}, 64, 1),
}


def test_no_architecture_is_left_out():
    assert set(ARCHITECTURES) == set(models.list_models())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_onnxruntime_computes_what_the_network_computes(tmp_path, name):
    runtime()
    options, size, step = ARCHITECTURES[name]
    model = lively(models.create(name, 3, 4, width=1 / 16, **options))
    told = export_onnx(model, tmp_path / "model.onnx", (1, 3, size, size))
    assert told.step == step, told.why_fixed
    for shape in [(1, 3, size, size), (2, 3, size + step, size + 2 * step)]:
        x = image(*shape)
        close(run(told.path, x)["scores"], ours(model, x))


SLOW = [name for name in ARCHITECTURES if name not in ("fcn8s", "unet_resnet")]


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.slow) for name in SLOW), "fcn8s", "unet_resnet"])
@pytest.mark.parametrize("start", ["smallest", 256])
def test_sizes_far_apart_and_not_square(tmp_path, name, start):
    """A file says which sizes it takes, and all of these give what the network gives: up to seven times as high as wide, larger and smaller."""
    runtime()
    options, smallest, step = ARCHITECTURES[name]
    model = lively(models.create(name, 3, 4, width=1 / 32, **options))
    start = smallest if start == "smallest" else 252 if name == "unet_paper" else start
    told = export_onnx(model, tmp_path / "model.onnx", (1, 3, start, start))
    assert told.step == (step if start == smallest or name in ("article2", "dilated", "unet", "unet_paper") else 1)
    least = -(-(smallest - start % told.step) // told.step)  # the first multiple of the step, plus the remainder, that the network takes
    for rows, columns in ((0, 0), (1, 2), (3, 40), (57, 5), (11, 23), (90, 1), (2, 131), (36, 64)):
        shape = [start % told.step + told.step * (least + n) for n in (rows, columns)]
        if shape[0] * shape[1] <= 100_000:
            x = image(1, 3, *shape)
            close(run(told.path, x)["scores"], ours(model, x))


@pytest.mark.parametrize(("size", "to"), [((26, 30), (64, 64)), ((52, 21), (64, 63)), ((7, 100), (19, 33))])
@pytest.mark.parametrize("dynamic", [True, False])
def test_nearest_picks_the_same_pixels(tmp_path, size, to, dynamic):
    """i·n/m in float32 falls below a whole number for some sizes, such as 26 → 64: the file computes in whole numbers."""
    runtime()
    told = export_onnx(nn.Upsample(size=to), tmp_path / "m.onnx", (1, 1, *size), dynamic=dynamic)
    x = np.arange(size[0] * size[1], dtype=np.float32).reshape(1, 1, *size)
    np.testing.assert_array_equal(run(told.path, x)["scores"], ours(nn.Upsample(size=to), x))


@pytest.mark.parametrize("name", ["unet", "segnet", "pspnet_smp"])
def test_a_fixed_size_need_not_be_a_multiple_of_the_step(tmp_path, name):
    """unet halves 37 rows to odd numbers, which needs other nodes than a multiple of 16. The file therefore fixes the size."""
    runtime()
    model = lively(models.create(name, 1, 2, width=1 / 16, **ARCHITECTURES[name][0]))
    told = export_onnx(model, tmp_path / "model.onnx", (2, 1, 37, 53), dynamic=False)
    assert told.input_shape == (2, 1, 37, 53) and told.step is None
    x = image(2, 1, 37, 53)
    close(run(told.path, x)["scores"], ours(model, x))


# --- every operation -----------------------------------------------------------------------


class Function(nn.Module):
    """A function as a network; `weights` are its parameters."""

    def __init__(self, function, **weights):
        self.function = function
        for name, shape in weights.items():
            setattr(self, name, nn.Parameter(image(*shape, seed=len(name))))

    def forward(self, x):
        return self.function(x, **{name: value for name, value in vars(self).items() if isinstance(value, nn.Parameter)})


def unpool_after(x):
    pooled, indices = F.max_pool2d(x, 3, ceil_mode=True, return_indices=True)
    return F.max_unpool2d(pooled * 2, indices, 3, output_size=x.shape[2:])


def norm(**options):
    return lively(nn.BatchNorm2d(3, **options))


OPERATIONS = {
    "conv": nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    "conv, groups, no bias": nn.Conv2d(3, 6, 3, groups=3, bias=False),
    "conv, each side": Function(partial(F.conv2d, stride=1, padding=((0, 2), (1, 0))), weight=(2, 3, 3, 3)),
    "conv, valid": Function(partial(F.conv2d, padding="valid"), weight=(2, 3, 3, 3)),
    "conv, same": nn.Conv2d(3, 2, 3, stride=2, padding="same"),
    "conv and relu": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
    "transposed conv": nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
    "transposed conv, groups": nn.ConvTranspose2d(3, 3, (2, 3), stride=(3, 2), groups=3, bias=False, dilation=2),
    "batch norm": norm(eps=1e-3),
    "batch norm and relu": nn.Sequential(norm(), nn.ReLU()),
    "batch norm, plain": norm(affine=False),
    "lrn": nn.LocalResponseNorm(3, alpha=0.3, beta=0.6, k=2.0),
    "max pool": nn.MaxPool2d(3, stride=2, padding=1),
    "max pool, ceil": nn.MaxPool2d((2, 3), ceil_mode=True),
    "max pool, dilation": nn.MaxPool2d(2, stride=1, dilation=2),
    "unpool": Function(unpool_after),
    "average pool": nn.AvgPool2d(3, stride=2, padding=1),
    "average pool, without padding": nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
    "average pool, ceil": nn.AvgPool2d(2, ceil_mode=True),
    "global average": nn.AdaptiveAvgPool2d(1),
    "adaptive average": nn.AdaptiveAvgPool2d((3, 2)),
    "bilinear": nn.Upsample(size=(7, 31), mode="bilinear", align_corners=False),
    "bilinear, corners": nn.Upsample(size=(20, 5), mode="bilinear", align_corners=True),
    "bilinear to one row": nn.Upsample(size=(1, 1), mode="bilinear", align_corners=True),
    "bilinear by a factor": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    "nearest": nn.Upsample(size=(7, 31)),
    "nearest by a factor": nn.Upsample(scale_factor=3),
    "zero pad and crop": nn.ZeroPad2d((1, -2, 0, 3)),
    "constant pad": Function(partial(F.pad, pad=(1, 0, 2, 1), value=2.5)),
    "reflection": nn.ReflectionPad2d((1, 2, 3, 0)),
    "replication": Function(partial(F.pad, pad=(1, 2, 0, 3), mode="replicate")),
    "slices": Function(lambda x: x[:, 1:, 2:-1:2, ...]),
    "a row": Function(lambda x: x[:, 0, -3]),
    "crop to a size": Function(lambda x: x[:, :, 2 : 2 + x.shape[2] // 1 - 4]),
    "cat": Function(lambda x: F.cat([x, x * 2, F.relu(x)], dim=-3)),
    "flatten": Function(lambda x: x.flatten(2)),
    "reshape and permute": Function(lambda x: x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, 3)),
    "leaky relu": nn.LeakyReLU(0.2),
    "sigmoid, tanh": Function(lambda x: F.sigmoid(x) + F.tanh(x)),
    "softmax": nn.Softmax(dim=1),
    "log softmax": Function(partial(F.log_softmax, dim=-1)),
    "arithmetic": Function(lambda x: (1 - x) * 2 / (abs(x) + 1) - x**2 + (-x).exp() + (x * x + 1).log() + (x * x).sqrt()),
    "maximum, clip": Function(lambda x: F.maximum(x, x * 0.5) + x.clip(-0.5, 0.5) + x.clip(min=0.1)),
    "reductions": Function(lambda x: x - x.mean((2, 3), keepdim=True) + x.sum(1, keepdim=True) - x.amax(-1, keepdim=True)),
    "reductions to less": Function(lambda x: x.mean(dim=1).sum(dim=(1, 2))),
    "matmul": Function(lambda x, weight: x @ weight, weight=(17, 5)),
    "dropout": nn.Sequential(nn.Dropout(0.5), nn.Conv2d(3, 2, 1), nn.Dropout2d(0.5)),
    "the image itself": nn.Identity(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(tmp_path, name):
    runtime()
    model = OPERATIONS[name]
    told = export_onnx(model, tmp_path / "model.onnx", (1, 3, 14, 17))
    for shape in [(1, 3, 14, 17), (3, 3, 14 + (told.step or 0), 17 + 3 * (told.step or 0) * (name != "matmul"))]:
        x = image(*shape)
        close(run(told.path, x)["scores"], ours(model.eval(), x))


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("conv", 1),
        ("conv, same", 1),
        ("unpool", 1),
        ("adaptive average", 1),
        ("bilinear", 1),
        ("reflection", 1),
        ("crop to a size", 1),
        ("nearest by a factor", 1),
        ("slices", 1),
        ("a row", 1),
        ("flatten", 1),
        ("reshape and permute", 1),
        ("matmul", None),
    ],
)
def test_which_operations_take_other_sizes(tmp_path, name, step):
    told = export_onnx(OPERATIONS[name], tmp_path / "model.onnx", (1, 3, 14, 17))
    assert told.step == step
    assert told.input_shape[0] == "batch"
    assert (told.why_fixed == "") == (step is not None)


@pytest.mark.parametrize(("size", "words"), [((36, 52), "multiples of 16 plus 4"), ((37, 42), "multiples of 16 plus 5, columns plus 10")])
def test_sizes_that_are_halved_to_odd_numbers(tmp_path, size, words):
    """unet pads its upsampled maps; the padding is the same for all sizes with that remainder, also for smaller ones."""
    runtime()
    model = lively(models.create("unet", 1, 2, width=1 / 16))
    told = export_onnx(model, tmp_path / "model.onnx", (1, 1, *size))
    assert told.step == 16 and words in str(told)
    for shape in [size, (size[0] + 32, size[1] - 16), (size[0] - 16, size[1] + 80)]:
        x = image(1, 1, *shape)
        close(run(told.path, x)["scores"], ours(model, x))


def test_probabilities_and_labels(tmp_path):
    runtime()
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
    x = image(2, 1, 32, 48)
    scores = ours(model, x)
    told = export_onnx(model, tmp_path / "p.onnx", (1, 1, 32, 32), output="probabilities")
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    close(run(told.path, x)["probabilities"], e / e.sum(axis=1, keepdims=True))
    told = export_onnx(model, tmp_path / "l.onnx", (1, 1, 32, 32), output="labels")
    assert told.outputs == {"labels": ("batch", "height", "width")}
    found = run(told.path, x)["labels"]
    assert found.dtype == np.int64 and len(np.unique(found)) > 1
    np.testing.assert_array_equal(found, scores.argmax(axis=1))


def test_several_outputs_by_name_or_number(tmp_path):
    runtime()
    x = image(1, 2, 5, 6)
    for returned, names in [(lambda x: {"out": x * 2, "aux": x + 1}, ["out", "aux"]), (lambda x: (x * 2, x + 1), ["scores_0", "scores_1"])]:
        told = export_onnx(Function(returned), tmp_path / "m.onnx", (1, 2, 5, 6))
        found = run(told.path, x)
        assert list(told.outputs) == names == list(found)
        np.testing.assert_array_equal(found[names[0]], x * 2)
        np.testing.assert_array_equal(found[names[1]], x + 1)


def test_what_the_file_says_of_itself(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = models.create("unet", 1, 2, width=1 / 16)
    told = export_onnx(model, tmp_path / "m.onnx", (1, 1, 32, 32))
    proto = onnx.load(str(told.path))
    assert (proto.producer_name, proto.producer_version, proto.opset_import[0].version) == ("minisegnet", ms.__version__, 17)
    facts = {entry.key: entry.value for entry in proto.metadata_props}
    assert facts["sizes"] == "rows and columns in multiples of 16"
    assert '"name": "unet"' in facts["recipe"]
    dims = [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 1, "height", "width"]
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    for name, value in model.named_parameters():
        np.testing.assert_array_equal(stored[name], value.array)
    assert not any("num_batches_tracked" in name for name in stored), "the file stores a tensor that it does not use"
    text = str(told)
    assert "multiples of 16" in text and "19 Conv" in text and "image          batch × 1 × height × width" in text


def test_training_mode_and_weights_are_left_as_they_were(tmp_path):
    model = models.create("unet", 1, 2, width=1 / 16)
    model.train()
    model.inc.eval()
    before = {name: value.array.copy() for name, value in model.state_dict().items()}
    export_onnx(model, tmp_path / "m.onnx", (1, 1, 32, 32))
    assert model.training and model.up1.training and not model.inc.training
    assert all(np.array_equal(value.array, before[name]) for name, value in model.state_dict().items())


def test_the_command(tmp_path, capsys):
    model = lively(models.create("unet", 1, 2, width=1 / 16))
    about = checkpoint.About(model.recipe, ("background", "nucleus"), [[0, 0, 0], [255, 0, 0]], in_channels=1)
    checkpoint.write(tmp_path / "c.safetensors", model, about)
    command = ["export", str(tmp_path / "c.safetensors"), "--out", str(tmp_path / "m.onnx")]
    assert main([*command, "--size", "32", "48", "--fixed", "--output", "labels"]) == 0
    told = capsys.readouterr().out
    assert "1 × 1 × 32 × 48" in told and "as asked for" in told
    content = (tmp_path / "m.onnx").read_bytes()
    assert b'["background", "nucleus"]' in content and b"per image" in content

    for wrong, words in [(["--size", "1", "2", "3"], "not 3 numbers"), (["--size", "8"], "at least 16"), (["--out", "m.pt"], "m.onnx")]:
        assert main([*command, *wrong]) == 2
        assert words in capsys.readouterr().err
    assert (tmp_path / "m.onnx").read_bytes() == content


# --- what cannot be exported -----------------------------------------------------------------


class WithConstant(nn.Module):
    def __init__(self, buffer):
        if buffer:
            self.register_buffer("table", Tensor(image(3, 1, 1)))
        else:
            self.constants = [Tensor(image(3, 1, 1))]

    def forward(self, x):
        return x * (self.table if hasattr(self, "table") else self.constants[0])


def test_a_constant_has_to_be_a_buffer(tmp_path):
    with pytest.raises(ExportError, match=r"mul is given a tensor \(3, 1, 1\) that is neither .*register_buffer"):
        export_onnx(WithConstant(buffer=False), tmp_path / "m.onnx", (1, 3, 8, 8))
    export_onnx(WithConstant(buffer=True), tmp_path / "m.onnx", (1, 3, 8, 8))


def pooled_and_indices(x):
    return F.max_pool2d(x, 2, return_indices=True)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.WeightedMaxPool2d(2), "the function weighted_max_pool has no ONNX form"),
        (Function(lambda x: F.where(x.detach().array > 0, x, 0)), r"where is given an array \(1, 3, 8, 8\) that"),
        (Function(lambda x: x.max(dim=1).values), "along"),
        (Function(lambda x: Tensor(x.array * 2)), "the output of the network is given a tensor"),
        (Function(lambda x: Tensor(x.array * 2) + 1), "add is given a tensor"),
        (Function(lambda x: F.label(x)), "the output of the network is given a tensor"),
        (Function(lambda x: 3), "the network returns int"),
        (Function(lambda x: x[:, [0, 1]]), "indexing with"),
        (Function(lambda x: x[:, :, ::-1]), "negative step"),
        (nn.BatchNorm2d(3, track_running_stats=False), "statistics of the batch"),
        (nn.LocalResponseNorm(4), "over 4 channels: for an even number"),
        (nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True), "avg_pool2d with ceil_mode, padding"),
        (Function(lambda x: F.max_unpool2d(*pooled_and_indices(x), 2, output_size=(9, 9))), r"max_unpool2d to \(1, 3, 9, 9\)"),
        (Function(lambda x: F.max_unpool2d(*F.max_pool2d(x, 3, 1, return_indices=True), 3, 1)), "overlapping windows"),
        (Function(lambda x: pooled_and_indices(x)[0] + pooled_and_indices(x)[1]), "add of a pool's indices"),
        (nn.Conv2d(3, 2, 3).double(), r"in float64.*model\.float\(\)"),
    ],
)
def test_what_has_no_form_is_named_and_nothing_is_written(tmp_path, model, words):
    with pytest.raises(ExportError, match=words):
        export_onnx(model, tmp_path / "m.onnx", (1, 3, 8, 8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("m.pb", {}, r"name it m\.onnx"),
        ("m.onnx", {"output": "masks"}, "expected one of scores, probabilities, labels"),
        ("m.onnx", {"input_shape": (1, 3, 8)}, "four positive numbers"),
        ("m.onnx", {"input_shape": (1, 3, 8, 0)}, "four positive numbers"),
        ("m.onnx", {"input_shape": (1, 3, 8, 8)}, "at least 16 × 16"),
        ("m.onnx", {"input_shape": (1, 2, 32, 32)}, "C = "),
    ],
)
def test_wrong_arguments(tmp_path, path, options, words):
    with pytest.raises(ValueError, match=words):
        export_onnx(models.create("unet", 3, 2, width=1 / 16), tmp_path / path, **options)
    assert not list(tmp_path.iterdir())


def test_a_file_of_more_than_2_GiB_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(protobuf, "LARGEST", 1000)
    with pytest.raises(ExportError, match=r"the file would have [\d,]+ bytes; an ONNX file has at most 2 GiB"):
        export_onnx(nn.Conv2d(3, 20, 3), tmp_path / "m.onnx", (1, 3, 8, 8))
    assert not list(tmp_path.iterdir())


# --- the file format, without the package onnx ------------------------------------------------


def decode(content):
    """The fields of a message, [(number, kind, value)], by an independent reader of the wire format."""
    fields, place = [], 0

    def varint():
        nonlocal place
        value, shift = 0, 0
        while True:
            byte = content[place]
            value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
            if byte < 128:
                return value

    while place < len(content):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            value = varint()
        else:
            size = 4 if kind == 5 else varint()
            value, place = bytes(content[place : place + size]), place + size
        fields.append((number, kind, value))
    return fields


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, b"\x00"), (1, b"\x01"), (127, b"\x7f"), (128, b"\x80\x01"), (150, b"\x96\x01"), (300, b"\xac\x02"), (-1, b"\xff" * 9 + b"\x01")],
)
def test_whole_numbers_as_the_format_says(value, expected):
    assert protobuf.varint(value) == expected


def test_a_message_as_the_format_says():
    dimension = protobuf.encode("Dimension", {"dim_param": "batch"})
    assert b"".join(dimension) == b"\x12\x05batch"
    shape = protobuf.encode("TensorShapeProto", {"dim": [{"dim_value": 3}, {"dim_param": "h"}]})
    assert b"".join(shape) == b"\x0a\x02\x08\x03" + b"\x0a\x03\x12\x01h"
    assert (
        b"".join(protobuf.encode("AttributeProto", protobuf.attribute("a", 0.5)))
        == b"\x0a\x01a" + b"\x15" + struct.pack("<f", 0.5) + b"\xa0\x01\x01"
    )
    assert decode(b"".join(protobuf.encode("AttributeProto", protobuf.attribute("a", [3, -1])))) == [
        (1, 2, b"a"),
        (8, 0, 3),
        (8, 0, 2**64 - 1),
        (20, 0, 7),
    ]
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    fields = decode(b"".join(bytes(c) for c in protobuf.encode("TensorProto", protobuf.tensor("w", array.astype("f4").T))))
    assert fields == [(1, 0, 3), (1, 0, 2), (2, 0, 1), (8, 2, b"w"), (9, 2, np.arange(6, dtype="<f4").reshape(2, 3).T.tobytes())]


def test_the_graph_of_a_small_network(tmp_path):
    """Read without the package onnx: every input of a node is an input of the graph, an initialiser, or the output of an earlier node."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2))
    told = export_onnx(model, tmp_path / "m.onnx", (1, 1, 8, 8))
    top = decode(told.path.read_bytes())
    assert [(n, v) for n, _, v in top if n in (1, 2)] == [(1, 8), (2, b"minisegnet")]
    graph = decode(next(v for n, _, v in top if n == 7))
    nodes = [decode(v) for n, _, v in graph if n == 1]
    assert [v.decode() for node in nodes for n, _, v in node if n == 4] == ["Conv", "BatchNormalization", "Relu", "MaxPool", "Identity"]
    there = {"image"} | {v.decode() for n, _, t in graph if n == 5 for k, _, v in decode(t) if k == 8}
    assert {"0.weight", "0.bias", "1.weight", "1.running_var"} <= there
    for node in nodes:
        assert {v.decode() for n, _, v in node if n == 1} <= there
        there |= {v.decode() for n, _, v in node if n == 2}
    assert "scores" in there
    assert told.input_shape == ("batch", 1, "height", "width")


def test_an_observer_sees_every_function():
    seen = []
    with observed(lambda function, args, options, results: seen.append((function.__name__, results[0].shape))):
        F.relu(Tensor(image(2, 3)))
        F.cat([Tensor(image(2, 3))] * 2, dim=1)
    F.relu(Tensor(image(2, 3)))
    assert seen == [("relu", (2, 3)), ("_cat", (2, 6))]
