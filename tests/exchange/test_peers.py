"""Checkpoints made by other libraries: same weights, same input, same output.

They need torch, torchvision and segmentation-models-pytorch (extra ``peers``). Weights and the statistics of batch
normalisation are random, so that two swapped tensors would show.
"""

import numpy as np
import pytest

import minisegnet as ms
from minisegnet import functional as F
from minisegnet.tensor import Tensor, no_grad

torch = pytest.importorskip("torch")
CLASSES = 5


def peer(module, name, *args, **options):
    """A network of another library, made without a download. If the library does not run, the test is skipped with the reason."""
    try:
        library = pytest.importorskip(module, reason=f"{module} is not installed (extra peers)")
    except (RuntimeError, OSError, AttributeError) as error:  # it is installed, but built for another PyTorch
        pytest.skip(f"{module} does not run beside torch {torch.__version__}: {error}")
    torch.manual_seed(0)
    return lively(getattr(library, name)(*args, **options))


def lively(network):
    """Give batch normalisation statistics, scales and shifts as after a training, not 0 and 1."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1, generator=rng)
                layer.running_var.uniform_(0.5, 1.5, generator=rng)
                layer.weight.uniform_(0.5, 1.5, generator=rng)
                layer.bias.normal_(0, 0.1, generator=rng)
    return network.eval()


def torchvision_network(name, aux):
    return peer("torchvision.models.segmentation", name, weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=aux)


def smp_network(name, encoder):
    return peer("segmentation_models_pytorch", name, encoder, encoder_weights=None, classes=CLASSES)


CASES = {
    "torchvision fcn_resnet50": (lambda: torchvision_network("fcn_resnet50", True), "fcn_resnet", {"backbone": "resnet50"}),
    "torchvision deeplabv3_resnet50": (lambda: torchvision_network("deeplabv3_resnet50", True), "deeplabv3", {"backbone": "resnet50"}),
    "smp Unet resnet34": (lambda: smp_network("Unet", "resnet34"), "unet_resnet", {"backbone": "resnet34"}),
    "smp DeepLabV3Plus resnet34": (lambda: smp_network("DeepLabV3Plus", "resnet34"), "deeplabv3plus", {"backbone": "resnet34"}),
    "smp PSPNet resnet34": (lambda: smp_network("PSPNet", "resnet34"), "pspnet_smp", {"backbone": "resnet34"}),
}
LARGER = {
    "torchvision fcn_resnet101": (lambda: torchvision_network("fcn_resnet101", False), "fcn_resnet", {"backbone": "resnet101"}),
    "torchvision deeplabv3_resnet101": (lambda: torchvision_network("deeplabv3_resnet101", True), "deeplabv3", {"backbone": "resnet101"}),
    "smp Unet resnet50": (lambda: smp_network("Unet", "resnet50"), "unet_resnet", {"backbone": "resnet50"}),
    "smp DeepLabV3Plus resnet50": (lambda: smp_network("DeepLabV3Plus", "resnet50"), "deeplabv3plus", {"backbone": "resnet50"}),
    "smp PSPNet resnet18": (lambda: smp_network("PSPNet", "resnet18"), "pspnet_smp", {"backbone": "resnet18"}),
}


def relative_difference(theirs, ours, channels, size=(64, 96), dtype="float32"):
    x = np.random.default_rng(2).standard_normal((2, channels, *size)).astype(dtype)
    with torch.no_grad():
        if isinstance(theirs, torch.nn.Module):
            theirs.to(getattr(torch, dtype))
        expected = theirs(torch.from_numpy(x))
    expected = (expected["out"] if isinstance(expected, dict) else expected).numpy()
    with no_grad():
        found = ours.eval().to(dtype)(Tensor(x)).array
    assert found.shape == expected.shape
    assert expected.std() > 1e-3 * abs(expected).max(), "the output is nearly constant, so the comparison would show nothing"
    return float(abs(found - expected).max() / abs(expected).max())


def checked(tmp_path, make, name, options):
    """Both networks, after a checkpoint has gone from one to the other."""
    theirs = make()
    path = tmp_path / "theirs.pth"
    torch.save({"model": theirs.state_dict(), "epoch": 3}, path)
    ours = ms.models.create(name, 3, CLASSES, **options)
    report = ms.load_pretrained(ours, path)
    assert not report.missing and not report.unexpected
    return theirs, ours


@pytest.mark.parametrize(("make", "name", "options"), CASES.values(), ids=CASES)
def test_the_same_output_from_the_same_checkpoint(tmp_path, make, name, options):
    theirs, ours = checked(tmp_path, make, name, options)
    difference = relative_difference(theirs, ours, 3)
    print(f"relative difference {difference:.1e}")
    assert difference < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("make", "name", "options"), [*CASES.values(), *LARGER.values()], ids=[*CASES, *LARGER])
def test_in_float64_the_outputs_are_equal_to_its_rounding(tmp_path, make, name, options):
    theirs, ours = checked(tmp_path, make, name, options)
    print(f"relative difference in float32 {relative_difference(theirs, ours, 3):.1e}", end=", ")
    difference = relative_difference(theirs, ours, 3, dtype="float64")
    print(f"in float64 {difference:.1e}")
    assert difference < 1e-12


def test_milesials_unet(tmp_path):
    """Milesial's U-Net is not on a package index, so the twin in PyTorch, which has its parameter names, stands in."""
    from minisegnet.bench.twin import UNet

    torch.manual_seed(0)
    theirs = lively(UNet(1, CLASSES, 0.25))
    torch.save({**theirs.state_dict(), "mask_values": [0, 1]}, tmp_path / "epoch5.pth")  # as its train.py does
    ours = ms.models.create("unet", 1, CLASSES, width=0.25)
    report = ms.load_pretrained(ours, tmp_path / "epoch5.pth")
    assert report.layout == "milesial/Pytorch-UNet"
    assert relative_difference(theirs, ours, 1) < 1e-5


def test_a_resnet_that_classifies_becomes_an_encoder(tmp_path):
    theirs = peer("torchvision.models", "resnet18", weights=None)
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    ours = ms.models.create("unet_resnet", 3, CLASSES, backbone="resnet18")
    report = ms.load_pretrained(ours, tmp_path / "resnet18.pth")
    assert report.layout == "torchvision resnet" and not report.missing
    features = torch.nn.Sequential(*list(theirs.children())[:-2])  # without the pool and the last layer
    assert relative_difference(features, LastMap(ours.encoder), 3) < 1e-5


def test_vgg16_becomes_an_fcn(tmp_path):
    """fc7 of both is equal if the classifier sees exactly 7 × 7 cells, because a fully connected layer is then a convolution."""
    theirs = peer("torchvision.models", "vgg16", weights=None)
    torch.save(theirs.state_dict(), tmp_path / "vgg16.pth")
    ours = ms.models.create("fcn32s", 3, CLASSES)
    report = ms.load_pretrained(ours, tmp_path / "vgg16.pth")
    assert report.layout == "torchvision vgg16" and not report.missing
    assert [entry.source for entry in report.of("skipped")] == ["classifier.6.weight", "classifier.6.bias"]
    assert {entry.name for entry in report.of("kept")} == {"score_fr.weight", "score_fr.bias", "upscore.weight"}
    fc7 = torch.nn.Sequential(theirs.features, theirs.avgpool, torch.nn.Flatten(), *list(theirs.classifier)[:6])
    ours.stage1[0].padding = (1, 1)  # as in VGG; FCN has 100
    assert relative_difference(lambda x: fc7(x)[:, :, None, None], UpToFc7(ours), 3, (224, 224)) < 1e-5


def test_vgg16_with_batch_normalisation_becomes_the_encoder_of_segnet(tmp_path):
    theirs = peer("torchvision.models", "vgg16_bn", weights=None)
    torch.save(theirs.state_dict(), tmp_path / "vgg16_bn.pth")
    ours = ms.models.create("segnet", 3, CLASSES)
    report = ms.load_pretrained(ours, tmp_path / "vgg16_bn.pth")
    assert report.layout == "torchvision vgg16_bn" and not report.missing
    assert all("_D" in entry.name for entry in report.of("kept"))
    assert relative_difference(theirs.features, Stages(ours), 3, (64, 96)) < 1e-5


class Stages(ms.nn.Module):
    def __init__(self, network):
        self.network = network

    def forward(self, x):
        for number in range(1, 6):
            x = F.max_pool2d(self.network.get_submodule(f"stage{number}")(x), 2)
        return x


class UpToFc7(Stages):
    def forward(self, x):
        return self.network.fc7(self.network.fc6(super().forward(x)))


class LastMap(ms.nn.Module):
    def __init__(self, encoder):
        self.encoder = encoder

    def forward(self, x):
        return self.encoder(x)[-1]
