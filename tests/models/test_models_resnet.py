"""Networks on a ResNet: parameter names and counts of other libraries, and outputs compared with twins in PyTorch."""

import numpy as np
import pytest
from support import torch_models

from minisegnet import nn, random
from minisegnet.models import create
from minisegnet.models.resnet import ResNet
from minisegnet.tensor import Tensor

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(autouse=True)
def seed():
    random.manual_seed(0)


def image(*shape):
    return Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


# --- parameters: figures published by torchvision, or added up from the definitions -----------

COUNTS = [
    ("fcn_resnet", 3, 21, {"aux": True}, 35_322_218),
    ("fcn_resnet", 3, 21, {"aux": True, "backbone": "resnet101"}, 54_314_346),
    ("fcn_resnet", 3, 21, {}, 32_957_013),
    ("fcn_resnet", 3, 21, {"backbone": "resnet101"}, 51_949_141),
    ("deeplabv3", 3, 21, {"aux": True}, 42_004_074),
    ("deeplabv3", 3, 21, {"aux": True, "backbone": "resnet101"}, 60_996_202),
    ("unet_resnet", 3, 1, {}, 24_436_369),
    ("deeplabv3plus", 3, 1, {}, 22_437_457),
    ("deeplabv3plus", 3, 1, {"backbone": "resnet50"}, 26_677_585),
    ("pspnet", 3, 21, {}, 46_716_373),
    ("pspnet", 3, 21, {"aux": True}, 49_081_578),
]


@pytest.mark.parametrize(("name", "in_channels", "num_classes", "options", "expected"), COUNTS, ids=str)
def test_number_of_parameters(name, in_channels, num_classes, options, expected):
    with nn.init.skip():
        assert trainable(create(name, in_channels, num_classes, **options)) == expected


@pytest.mark.parametrize(("depth", "expected"), [(18, 11_176_512), (34, 21_284_672), (50, 23_508_032), (101, 42_500_160)])
def test_number_of_parameters_of_the_backbones(depth, expected):
    with nn.init.skip():
        assert trainable(ResNet(f"resnet{depth}", 3)) == expected


# --- names ------------------------------------------------------------------------------------


def conv(path, bias=False):
    return [f"{path}.weight"] + [f"{path}.bias"] * bias


def norm(path):
    return [f"{path}.{name}" for name in NORM]


def conv_norm(path, first=0):
    return conv(f"{path}.{first}") + norm(f"{path}.{first + 1}")


def resnet_names(prefix, counts, convolutions, stages=4):
    """conv1, bn1 and the blocks of torchvision's ResNet."""
    names = conv(f"{prefix}conv1") + norm(f"{prefix}bn1")
    for stage, count in enumerate(counts[:stages], start=1):
        for k in range(count):
            block = f"{prefix}layer{stage}.{k}"
            for n in range(1, convolutions + 1):
                names += conv(f"{block}.conv{n}") + norm(f"{block}.bn{n}")
            if k == 0 and (stage > 1 or convolutions == 3):
                names += conv_norm(f"{block}.downsample")
    return names


R34, R50 = ((3, 4, 6, 3), 2), ((3, 4, 6, 3), 3)


def test_names_of_torchvision():
    aux = conv_norm("aux_classifier") + conv("aux_classifier.4", bias=True)
    head = conv_norm("classifier") + conv("classifier.4", bias=True)
    assert list(create("fcn_resnet", width=1 / 64, aux=True).state_dict()) == resnet_names("backbone.", *R50) + head + aux
    pyramid = [name for k in range(4) for name in conv_norm(f"classifier.0.convs.{k}")]
    pyramid += conv_norm("classifier.0.convs.4", 1) + conv_norm("classifier.0.project")
    head = pyramid + conv_norm("classifier", 1) + conv("classifier.4", bias=True)
    assert list(create("deeplabv3", width=1 / 64, aux=True).state_dict()) == resnet_names("backbone.", *R50) + head + aux


def test_names_of_segmentation_models():
    def names(name):
        return list(create(name, width=1 / 64).state_dict())

    head = conv("segmentation_head.0", bias=True)
    blocks = [n for k in range(5) for half in ("conv1", "conv2") for n in conv_norm(f"decoder.blocks.{k}.{half}")]
    assert names("unet_resnet") == resnet_names("encoder.", *R34) + blocks + head

    aspp = conv_norm("decoder.aspp.0.convs.0")
    for k in (1, 2, 3):
        aspp += [f"decoder.aspp.0.convs.{k}.0.{half}.weight" for half in (0, 1)] + norm(f"decoder.aspp.0.convs.{k}.1")
    aspp += conv_norm("decoder.aspp.0.convs.4", 1) + conv_norm("decoder.aspp.0.project")
    aspp += ["decoder.aspp.1.0.weight", "decoder.aspp.1.1.weight", *norm("decoder.aspp.2"), *conv_norm("decoder.block1")]
    aspp += ["decoder.block2.0.0.weight", "decoder.block2.0.1.weight", *norm("decoder.block2.1")]
    assert names("deeplabv3plus") == resnet_names("encoder.", *R34) + aspp + head

    psp = conv("decoder.psp.blocks.0.pool.1.0", bias=True) + [n for k in (1, 2, 3) for n in conv_norm(f"decoder.psp.blocks.{k}.pool.1")]
    assert names("pspnet_smp") == resnet_names("encoder.", *R34, stages=2) + psp + conv_norm("decoder.conv") + head


def test_names_of_semseg():
    stem = conv_norm("layer0") + conv_norm("layer0", 3) + conv_norm("layer0", 6)
    layers = [name for name in resnet_names("", *R50) if name.startswith("layer")]
    heads = [n for k in range(4) for n in conv_norm(f"ppm.features.{k}", 1)]
    heads += [n for path in ("cls", "aux") for n in conv_norm(path) + conv(f"{path}.4", bias=True)]
    assert list(create("pspnet", width=1 / 64, aux=True).state_dict()) == stem + layers + heads


# --- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fcn_resnet", "deeplabv3", "deeplabv3plus", "pspnet", "pspnet_smp", "unet_resnet"])
@pytest.mark.parametrize("size", [(1, 1), (17, 40), (65, 33)])
def test_any_size(name, size):
    model = create(name, 2, 5, width=1 / 64).eval()
    assert model(image(1, 2, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize(("stride", "rows"), [(32, [112, 56, 28, 14, 7]), (16, [112, 56, 28, 14, 14]), (8, [112, 56, 28, 28, 28])])
def test_stages_of_table_1(stride, rows):
    maps = ResNet("resnet18", 3, 1 / 64, output_stride=stride)(image(1, 3, 224, 224))
    assert [m.shape[2] for m in maps] == rows
    with nn.init.skip():
        assert ResNet("resnet50", 3, 1).channels == [64, 256, 512, 1024, 2048]


def test_auxiliary_scores_come_in_training_only():
    model = create("fcn_resnet", 3, 4, width=1 / 64, aux=True)
    scores, aux = model(image(2, 3, 32, 40))
    assert scores.shape == aux.shape == (2, 4, 32, 40)
    assert model.eval()(image(2, 3, 32, 40)).shape == (2, 4, 32, 40)


@pytest.mark.parametrize(
    ("options", "words"), [({"backbone": "resnet51"}, "no backbone 'resnet51'.*resnet50"), ({"output_stride": 4}, "8, 16 or 32, got 4")]
)
def test_what_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        create("deeplabv3plus", **options)


# --- twins ------------------------------------------------------------------------------------

TWINS = [
    ("fcn_resnet", {"backbone": "resnet50", "aux": True}, torch_models.torchvision_segmentation),
    ("deeplabv3", {"backbone": "resnet50"}, torch_models.torchvision_segmentation),
    ("deeplabv3", {"backbone": "resnet18"}, torch_models.torchvision_segmentation),
    ("unet_resnet", {}, torch_models.smp_unet),
    ("deeplabv3plus", {"backbone": "resnet50"}, torch_models.smp_deeplabv3plus),
    ("deeplabv3plus", {"output_stride": 8}, lambda t, x: torch_models.smp_deeplabv3plus(t, x, 8)),
    ("pspnet_smp", {}, torch_models.smp_pspnet),
    ("pspnet", {"aux": True}, torch_models.semseg_pspnet),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("name", "options", "twin"), TWINS, ids=lambda v: "twin" if callable(v) else str(v))
def test_equals_its_twin(name, options, twin, training):
    torch = pytest.importorskip("torch")
    model = create(name, 2, 3, width=1 / 32, **options).double().train(training)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    # the decoders of segmentation_models enlarge by factors: multiples of 32
    size = (64, 96) if name in ("unet_resnet", "deeplabv3plus", "pspnet_smp") else (57, 72)
    torch_models.compare(torch, model, twin, (2, 2, *size), rtol=1e-8)
