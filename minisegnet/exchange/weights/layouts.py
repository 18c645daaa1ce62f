"""The table of other libraries' names: how a checkpoint is recognised, and what its tensors are called here.

Most networks of `minisegnet.models` have the names of the library that published weights for them, so
for those a row of the table says little more than how to recognise the file. A new library is a new row.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and training frameworks put before every name."""


@dataclass(frozen=True)
class Layout:
    """A row: how one library names its tensors.

    Attributes
    ----------
    name : str
        What `load_pretrained` calls it.
    marks : tuple of str
        Beginnings of names, each of which some tensor in the file must have.
    rules : tuple of (str, str)
        Beginning of a name there and here; the first that fits is replaced.
    skip : dict of str to str
        Beginnings of names (here) for which a network may have no place, and why: not an error,
        if it has nothing at all under that beginning.
    roots : tuple of str
        What may have to be put before the names here; the one under which the network has them.
    fills : tuple of str
        Beginnings of names (here, behind the root) which the file has to fill. What lies outside keeps
        its values: a backbone has no head. ``("",)`` is the whole network.
    fully_connected : tuple of str
        Weights (O, C·U·V) there that are convolutions (O, C, U, V) here.
    """

    name: str
    marks: tuple[str, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    skip: tuple[tuple[str, str], ...] = ()
    roots: tuple[str, ...] = ("",)
    fills: tuple[str, ...] = ("",)
    fully_connected: tuple[str, ...] = ()

    def recognises(self, names: Iterable[str]) -> bool:
        names = list(names)
        return all(any(name.startswith(mark) for name in names) for mark in self.marks)

    def root_for(self, own: Collection[str]) -> str:
        """The root under which a network has names of `fills`; the first if none does."""
        found = [root for root in self.roots if any(name.startswith(root + part) for name in own for part in self.fills)]
        return (found or list(self.roots))[0]

    def translate(self, name: str) -> str:
        """The name here, without the root, of a tensor of the file."""
        for there, here in self.rules:
            if name.startswith(there):
                return here + name.removeprefix(there)
        return name


def _vgg(norm: bool) -> Iterator[tuple[str, str]]:
    """VGG-16 numbers its layers through; here they have the names of the paper."""
    index = 0
    for stage, count in enumerate((2, 2, 3, 3, 3), start=1):
        for k in range(1, count + 1):
            yield f"features.{index}.", f"stage{stage}.conv{stage}_{k}."
            if norm:
                yield f"features.{index + 1}.", f"stage{stage}.bn{stage}_{k}."
            index += 3 if norm else 2  # convolution, batch normalisation, ReLU
        index += 1  # pool
    yield "classifier.0.", "fc6.0."
    yield "classifier.3.", "fc7.0."


_STAGES = tuple(f"stage{k}." for k in range(1, 6))
_CLASSES_OF_IMAGENET = "the last layer of a classifier of images"
_FULLY_CONNECTED = (
    ("fc6.0.", "a fully connected layer of the classifier"),
    ("fc7.0.", "a fully connected layer of the classifier"),
    ("classifier.6.", _CLASSES_OF_IMAGENET),
)

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "torchvision segmentation",  # fcn_resnet50/101, deeplabv3_resnet50/101
        marks=("backbone.layer1.", "classifier.0."),
        skip=(("aux_classifier.", "an auxiliary head for training, without which the network was made (aux=True)"),),
    ),
    Layout(
        "segmentation_models.pytorch",  # Unet, DeepLabV3Plus, PSPNet on a ResNet
        marks=("encoder.layer1.", "decoder.", "segmentation_head.0."),
        skip=(
            ("encoder.layer3.", "a stage of the encoder that PSPNet does not use"),
            ("encoder.layer4.", "a stage of the encoder that PSPNet does not use"),
        ),
    ),
    Layout("milesial/Pytorch-UNet", marks=("inc.double_conv.", "outc.conv.")),
    Layout(
        "hszhao/semseg PSPNet",
        marks=("layer0.", "ppm.features.", "cls."),
        skip=(("aux.", "an auxiliary head for training, without which the network was made (aux=True)"),),
    ),
    Layout(
        "torchvision vgg16_bn",  # → SegNet, DeconvNet
        marks=("features.1.running_mean", "classifier.6."),
        rules=tuple(_vgg(norm=True)),
        skip=_FULLY_CONNECTED,
        fills=_STAGES,
        fully_connected=("fc6.0.weight", "fc7.0.weight"),
    ),
    Layout(
        "torchvision vgg16",  # → FCN-32s/16s/8s, the dilated network
        marks=("features.28.weight", "classifier.6."),
        rules=tuple(_vgg(norm=False)),
        skip=_FULLY_CONNECTED,
        roots=("", "front_end."),
        fills=(*_STAGES, "fc6.0.", "fc7.0."),
        fully_connected=("fc6.0.weight", "fc7.0.weight"),
    ),
    Layout(
        "torchvision resnet",  # classification: ResNet-18 to 152 → the encoder of every network on a ResNet
        marks=("conv1.", "layer1.", "layer4.", "fc."),
        skip=(
            ("fc.", _CLASSES_OF_IMAGENET),
            ("layer3.", "a stage that the network does not use"),
            ("layer4.", "a stage that the network does not use"),
        ),
        roots=("backbone.", "encoder."),
    ),
    Layout("minisegnet"),  # names as they are here: recognises every file, therefore the last
)


def find(name: str | None, names: Collection[str]) -> Layout:
    """The layout of that name, or else the first that recognises the names in a file.

    Raises
    ------
    ValueError
        If there is no layout of that name.
    """
    if name is None:
        return next(layout for layout in LAYOUTS if layout.recognises(names))
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise ValueError(f"no layout {name!r}: there are {', '.join(repr(layout.name) for layout in LAYOUTS)}")


def without_wrappers(names: Collection[str], own: Collection[str]) -> dict[str, str]:
    """Names without what wrappers put before all of them: {name in the file: name}.

    A prefix goes only if every name in the file has it and none of the network's own does.
    """
    shorter = {name: name for name in names}
    while prefix := next((p for p in WRAPPERS if shorter and all(n.startswith(p) for n in shorter.values())), None):
        if any(name.startswith(prefix) for name in own):
            break
        shorter = {name: short.removeprefix(prefix) for name, short in shorter.items()}
    return shorter


def is_counter(name: str) -> bool:
    """Whether a tensor counts the batches that a batch normalisation has seen: no weight, and not in every file."""
    return re.search(r"(^|\.)num_batches_tracked$", name) is not None
