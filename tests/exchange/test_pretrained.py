"""Weights of other libraries: recognising their names, converting them, and accounting for every tensor."""

from pathlib import Path

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import models, nn
from minisegnet.exchange import checkpoint
from minisegnet.exchange.weights import LAYOUTS, NUCLEI, load_pretrained
from minisegnet.exchange.weights.layouts import find, without_prefix

ROOT = Path(__file__).parents[2]


def values(model, seed=0):
    """The state of a network as arrays, filled with random numbers."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.random(value.shape).astype(value.dtype) if value.dtype.kind == "f" else value.array + 7
        for name, value in model.state_dict().items()
    }


def unet(num_classes=2, width=1 / 16):
    return models.create("unet", 1, num_classes, width=width)


def small(name, **options):
    return models.create(name, 3, 4, width=1 / 16, **options)


def loaded(model, given, but=()):
    return all(np.array_equal(model.state_dict()[name].array, value) for name, value in given.items() if name not in but)


@pytest.fixture
def given():
    return values(unet())


# --- a file that fits --------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module."])
def test_names_of_wrappers_are_taken_off_if_all_have_them(given, wrapper):
    model = unet()
    report = load_pretrained(model, {wrapper + name: value for name, value in given.items()})
    assert loaded(model, given)
    assert report.matched == list(given)
    assert report.layout == "milesial/Pytorch-UNet"
    assert not report.missing and not report.unexpected and not report.new_head


def test_a_wrapper_that_not_all_have_stays(given):
    name = next(iter(given))
    with pytest.raises(ValueError, match=rf"1 missing .*\n\s+{name}  \(4, 1, 3, 3\)\n +1 unexpected .*\n\s+module\.{name}  \(4, 1, 3, 3\)"):
        load_pretrained(unet(), {"module." + name: given.pop(name), **given})


def test_a_network_that_has_such_a_name_itself_keeps_it():
    network = nn.Sequential({"module": nn.Conv2d(1, 2, 3)})
    given = values(network)
    assert set(without_prefix(given, network.state_dict(), None).values()) == {"module.weight", "module.bias"}
    load_pretrained(network, given)
    assert loaded(network, given)


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_every_format_that_load_reads(tmp_path, given, ending):
    path = tmp_path / f"weights.{ending}"
    ms.save(given, path) if ending == "safetensors" else np.savez(path, **given)
    model = unet()
    report = ms.load_pretrained(model, path)
    assert loaded(model, given)
    assert report.source == str(path)


def test_counters_of_batches_are_never_missed_and_never_unexpected(given):
    weights = {name: value for name, value in given.items() if not name.endswith("num_batches_tracked")}
    model = unet()
    report = load_pretrained(model, weights)
    assert loaded(model, weights) and not report.missing
    assert model.inc.double_conv[1].num_batches_tracked.item() == 0

    class Frozen(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(np.zeros(3, np.float32))

    report = load_pretrained(Frozen(), {"weight": np.ones(3, np.float32), "num_batches_tracked": np.int64(3)})
    assert [entry.status for entry in report.entries] == ["matched", "skipped"]


def test_values_take_the_dtype_of_the_network(given):
    model = unet()
    load_pretrained(model, {name: value.astype("float16") if value.dtype.kind == "f" else value for name, value in given.items()})
    assert model.outc.conv.weight.dtype == np.float32
    np.testing.assert_allclose(model.outc.conv.weight.array, given["outc.conv.weight"], rtol=1e-3)


# --- another number of classes -----------------------------------------------------------


def test_a_new_head_keeps_its_initial_values_and_says_so(given):
    model = unet(num_classes=5)
    before = {name: value.array.copy() for name, value in model.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"outc\.conv\.weight  \(5, 4, 1, 1\), in the file \(2, 4, 1, 1\)  \(number of classes\)[\s\S]*new_head=True"
    ):
        load_pretrained(model, given)
    assert loaded(model, before), "a refused checkpoint changed the network"
    report = load_pretrained(model, given, new_head=True)
    head = ["outc.conv.weight", "outc.conv.bias"]
    assert report.new_head == head
    assert loaded(model, given, but=head)
    assert all(np.array_equal(model.state_dict()[name].array, before[name]) for name in head)
    assert "2 new head" in str(report)


def test_new_head_allows_no_other_wrong_shape(given):
    given["inc.double_conv.0.weight"] = np.zeros((4, 3, 3, 3), np.float32)
    with pytest.raises(
        ValueError, match=r"inc\.double_conv\.0\.weight  \(4, 1, 3, 3\), in the file \(4, 3, 3, 3\)\n[\s\S]*width, channels and backbone"
    ):
        load_pretrained(unet(num_classes=5), given, new_head=True)


# --- what does not fit -------------------------------------------------------------------


def test_missing_and_unexpected_tensors_are_reported_and_change_nothing(given):
    model = unet()
    before = {name: value.array.copy() for name, value in model.state_dict().items()}
    del given["up1.up.weight"]
    given["extra"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"1 missing .*\n\s+up1\.up\.weight  \(64, 32, 2, 2\)\n\s+1 unexpected .*\n\s+extra  \(3,\)"):
        load_pretrained(model, given)
    assert loaded(model, before)
    report = load_pretrained(model, given, strict=False)
    assert (report.missing, report.unexpected) == (["up1.up.weight"], ["extra"])
    assert loaded(model, given, but=["extra"])


@pytest.mark.parametrize("strict", [True, False])
def test_a_file_of_which_nothing_fits_is_an_error_that_says_what_both_sides_hold(given, strict):
    message = r"none of its tensors fits UNet.*\n  the file has     blob\.w \(3,\), blob\.num_batches_tracked \(\)\n  the network has  inc\.double_conv\.0\.weight \(4, 1, 3, 3\), .*\(\d+ tensors\)"
    with pytest.raises(ValueError, match=message):
        load_pretrained(unet(), {"blob.w": np.zeros(3), "blob.num_batches_tracked": np.zeros(())}, strict=strict)


def test_tensors_beside_the_network_are_skipped(given):
    model = unet()
    beside = {"mean": np.zeros(3), "criterion.weight": np.zeros(2)}
    report = load_pretrained(model, {"net." + name: value for name, value in given.items()} | beside)
    assert loaded(model, given)
    assert [(entry.source, entry.note) for entry in report.of("skipped")] == [(name, "beside the network") for name in beside]


def test_a_network_that_is_in_the_file_twice_has_to_be_chosen(given):
    both = {who + name: value for who in ("student.", "teacher.") for name, value in given.items()}
    with pytest.raises(ValueError, match=r"the network 2 times, under 'student\.', 'teacher\.'\. Choose one: load_pretrained\(model, "):
        load_pretrained(unet(), both)


def test_another_width_is_refused_even_if_not_strict(given):
    with pytest.raises(ValueError, match=r"\d+ wrong shape[\s\S]* more\n"):
        load_pretrained(unet(width=1 / 8), given, strict=False)


def test_the_table_holds_every_tensor(given):
    table = load_pretrained(unet(), given).table()
    assert all(name in table for name in given)


def test_layouts_by_name(given):
    assert load_pretrained(unet(), given, layout="minisegnet").layout == "minisegnet"
    with pytest.raises(ValueError, match="no layout 'keras': there are 'torchvision segmentation'"):
        load_pretrained(unet(), given, layout="keras")
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)


# --- the names of other libraries ---------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "options", "layout"),
    [
        ("fcn_resnet", {}, "torchvision segmentation"),
        ("deeplabv3", {}, "torchvision segmentation"),
        ("unet_resnet", {}, "segmentation_models.pytorch"),
        ("deeplabv3plus", {}, "segmentation_models.pytorch"),
        ("pspnet_smp", {}, "segmentation_models.pytorch"),
        ("pspnet", {}, "hszhao/semseg PSPNet"),
        ("unet", {}, "milesial/Pytorch-UNet"),
        ("article1", {}, "minisegnet"),
    ],
)
def test_which_layout_is_recognised(network, options, layout):
    model = small(network, **options)
    given = values(model)
    report = load_pretrained(model, given)
    assert report.layout == layout
    assert loaded(model, given)


def test_an_auxiliary_head_may_be_left_in_the_file_but_not_be_missing_there():
    with_aux, without = (small("deeplabv3", backbone="resnet50", aux=aux) for aux in (True, False))
    report = load_pretrained(without, values(with_aux))
    skipped = [entry.source for entry in report.of("skipped")]
    assert skipped and all(name.startswith("aux_classifier.") for name in skipped)
    assert "auxiliary head" in str(report)
    with pytest.raises(ValueError, match=r"missing .*\n\s+aux_classifier"):
        load_pretrained(with_aux, values(without))


def test_only_a_part_that_the_network_lacks_as_a_whole_is_skipped():
    """PSPNet of segmentation_models does not use layer3, so it is skipped. A layer3 deeper than the network's is an error."""
    given = values(small("unet_resnet", backbone="resnet34"))
    with pytest.raises(ValueError, match="unexpected"):
        load_pretrained(small("unet_resnet", backbone="resnet18"), given)
    psp = small("pspnet_smp", backbone="resnet34")
    report = load_pretrained(
        psp, {**values(psp), **{k: v for k, v in given.items() if k.startswith(("encoder.layer3.", "encoder.layer4."))}}
    )
    assert len(report.of("skipped")) == sum(k.startswith(("encoder.layer3.", "encoder.layer4.")) for k in given)


@pytest.mark.parametrize(("network", "root"), [("unet_resnet", "encoder."), ("fcn_resnet", "backbone."), ("pspnet_smp", "encoder.")])
def test_a_classifier_fills_the_backbone_and_leaves_the_rest(network, root):
    model = small(network, backbone="resnet50")
    names = small("deeplabv3", backbone="resnet50").backbone  # conv1, bn1, layer1 ... layer4
    given = {**values(names), "fc.weight": np.zeros((1000, 128), np.float32), "fc.bias": np.zeros(1000, np.float32)}
    before = {name: value.array.copy() for name, value in model.state_dict().items()}
    report = load_pretrained(model, given)
    assert report.layout == "torchvision resnet"
    assert {entry.source for entry in report.of("skipped")} >= {"fc.weight", "fc.bias"}
    for name, value in model.state_dict().items():
        inside = name.startswith(root)
        assert np.array_equal(value.array, given[name.removeprefix(root)] if inside else before[name]), name
    assert {entry.name for entry in report.of("kept")} == {n for n in before if not n.startswith(root) and not n.endswith("tracked")}
    del given["layer2.0.conv1.weight"]
    with pytest.raises(ValueError, match=rf"1 missing .*\n\s+{root}layer2\.0\.conv1\.weight"):
        load_pretrained(model, given)


VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # numbers of the convolutions in torchvision's vgg16
NAMES = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3", "5_1", "5_2", "5_3")


def test_the_names_of_vgg():
    plain, norm = find("torchvision vgg16", ()), find("torchvision vgg16_bn", ())
    assert [plain.translate(f"features.{index}.weight") for index in VGG16] == [f"stage{n[0]}.conv{n}.weight" for n in NAMES]
    # with batch normalisation, each earlier convolution moves the next ones back by one place
    numbers = [index + k for k, index in enumerate(VGG16)]
    assert [norm.translate(f"features.{index}.weight") for index in numbers] == [f"stage{n[0]}.conv{n}.weight" for n in NAMES]
    assert [norm.translate(f"features.{index + 1}.running_var") for index in numbers] == [f"stage{n[0]}.bn{n}.running_var" for n in NAMES]
    assert plain.translate("classifier.0.weight") == "fc6.0.weight"
    assert plain.translate("classifier.3.bias") == "fc7.0.bias"


def vgg16_of_width(width, norm=False):
    """torchvision's vgg16 with narrower layers, as arrays by its names."""
    rng, given, inputs, index = np.random.default_rng(3), {}, 3, 0
    c = lambda channels: max(1, round(channels * width))
    for stage, count in zip((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), strict=True):
        for _ in range(count):
            given[f"features.{index}.weight"] = rng.random((c(stage), inputs, 3, 3), np.float32)
            given[f"features.{index}.bias"] = rng.random(c(stage), np.float32)
            if norm:
                given |= {
                    f"features.{index + 1}.{n}": rng.random(c(stage), np.float32) for n in ("weight", "bias", "running_mean", "running_var")
                }
            inputs, index = c(stage), index + (3 if norm else 2)
        index += 1
    for name, shape in {"0": (c(4096), c(512) * 49), "3": (c(4096), c(4096)), "6": (1000, c(4096))}.items():
        given[f"classifier.{name}.weight"] = rng.random(shape, np.float32)
        given[f"classifier.{name}.bias"] = rng.random(shape[0], np.float32)
    return given


@pytest.mark.parametrize(("network", "root"), [("fcn8s", ""), ("fcn16s", ""), ("fcn32s", ""), ("dilated", "front_end.")])
def test_vgg16_fills_the_networks_that_are_made_of_it(network, root):
    given, model = vgg16_of_width(1 / 16), small(network)
    report = load_pretrained(model, given)
    state = model.state_dict()
    assert not report.missing and not report.unexpected
    np.testing.assert_array_equal(state[f"{root}stage5.conv5_3.bias"].array, given["features.28.bias"])
    # output o of the first fully connected layer reads cell (c, u, v) of the last map at c·49 + 7u + v
    fc6 = state[f"{root}fc6.0.weight"].array
    assert fc6[5, 3, 2, 6] == given["classifier.0.weight"][5, 3 * 49 + 2 * 7 + 6]
    np.testing.assert_array_equal(state[f"{root}fc7.0.weight"].array[:, :, 0, 0], given["classifier.3.weight"])
    del given["features.21.weight"]
    with pytest.raises(ValueError, match=rf"1 missing .*\n\s+{root}stage4\.conv4_3\.weight"):
        load_pretrained(model, given)


@pytest.mark.parametrize("network", ["segnet", "deconvnet"])
def test_vgg16_with_batch_normalisation_fills_the_encoders(network):
    given, model = vgg16_of_width(1 / 16, norm=True), small(network)
    report = load_pretrained(model, given)
    assert not report.missing and not report.unexpected
    np.testing.assert_array_equal(model.state_dict()["stage3.bn3_2.running_var"].array, given["features.18.running_var"])
    del given["features.18.running_var"]
    with pytest.raises(ValueError, match=r"missing .*\n\s+stage3\.bn3_2\.running_var"):
        load_pretrained(model, given)


# --- the weights in the package ------------------------------------------------------------


def iou(model, dataset):
    from minisegnet.training import evaluate

    return float(evaluate(model, dataset).iou[1])


def test_the_network_that_comes_along_finds_nuclei_that_it_never_saw():
    from minisegnet import data
    from minisegnet.inference import load_model

    assert NUCLEI.stat().st_size < 1_000_000
    model = load_model(NUCLEI)
    found = iou(model, data.nuclei("test"))
    assert found > 0.85
    assert found == pytest.approx(model.about.metrics["iou_embedded_test"], abs=1e-3), "the IoU differs from the one in the file"
    assert f"**{found:.3f}**" in NUCLEI.with_name("README.md").read_text()


def test_it_says_where_it_comes_from_and_names_no_folder_of_its_maker():
    run = checkpoint.read_about(NUCLEI).run
    assert {"what", "data", "held_out", "options", "transform", "script"} <= set(run)
    assert (ROOT / run["script"]).exists()
    assert "/" not in str({**run, "script": ""})


def test_segment_works_at_once_and_says_what_it_uses(tmp_path, capsys):
    from PIL import Image

    from minisegnet import data
    from minisegnet.cli import main

    image, instances = data.nuclei_field()
    Image.fromarray(image[:, 384:]).save(tmp_path / "cells.png")
    assert main(["segment", str(tmp_path / "cells.png"), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "nuclei.safetensors" in told and "fluorescence microscopy" in told
    labels = np.asarray(Image.open(tmp_path / "out" / "cells.png"))
    truth = instances[:, 384:] > 0
    assert (labels.astype(bool) & truth).sum() / (labels.astype(bool) | truth).sum() > 0.85
