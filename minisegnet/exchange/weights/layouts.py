"""The table of other libraries' names: how to recognise a checkpoint, and the names of its tensors here.

Most networks of `minisegnet.models` have the names of the library that published weights for them. For these a row of
the table says little more than how to recognise the file. To support another library, add a row.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

WRAPPERS = ("module.", "_orig_mod.", "model.")
"""Prefixes that DataParallel, torch.compile and training frameworks add to every name."""


@dataclass(frozen=True)
class Layout:
    """How one library names its tensors. "Here" means the names of the network, "there" those in the file.

    Attributes
    ----------
    name : str
        The name of the layout for `load_pretrained`.
    marks : tuple of str
        Prefixes that identify the library: for each there must be a tensor in the file.
    rules : tuple of (str, str)
        A prefix there and its replacement here; the first that matches is used.
    skip : tuple of (str, str)
        A prefix here that the network may lack as a whole, and the reason. Such tensors are skipped without an error.
    roots : tuple of str
        Prefixes to add to the names here; the first under which the network has tensors is used.
    fills : tuple of str
        Prefixes (here, after the root) of the tensors that the file has to provide. All others keep their values: a
        backbone has no head. ``("",)`` stands for the whole network.
    fully_connected : tuple of str
        Weights that are (O, C·U·V) there and convolutions (O, C, U, V) here.
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
        """The first root under which the network has names of `fills`; if no root has, the first of all."""
        found = [root for root in self.roots if any(name.startswith(root + part) for name in own for part in self.fills)]
        return (found or list(self.roots))[0]

    def translate(self, name: str) -> str:
        """The name here, without the root, of a tensor in the file."""
        for there, here in self.rules:
            if name.startswith(there):
                return here + name.removeprefix(there)
        return name


def _vgg(norm: bool) -> Iterator[tuple[str, str]]:
    """torchvision numbers the layers of VGG-16; here they have the names of the paper."""
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
    Layout("minisegnet"),  # the names here: recognises every file, and is therefore the last
)


def find(name: str | None, names: Collection[str]) -> Layout:
    """The layout with this name, or without a name the first that recognises the names in a file.

    Raises
    ------
    ValueError
        If there is no layout of this name.
    """
    if name is None:
        return next(layout for layout in LAYOUTS if layout.recognises(names))
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise ValueError(f"no layout {name!r}: there are {', '.join(repr(layout.name) for layout in LAYOUTS)}")


def without_prefix(names: Collection[str], own: Collection[str], layout: str | None) -> dict[str, str]:
    """Names without the prefix under which the file has the network: {name in the file: shorter name}.

    A training program wraps a network: DataParallel ("module."), torch.compile ("_orig_mod."), Lightning ("model.", or any other
    attribute). Prefixes that all names have and no name of the network has are removed. Then, of all prefixes in the file, that one is
    removed under which more names of the network are found than without it. Names that do not begin with it are left out: they belong
    to something beside the network.

    Raises
    ------
    ValueError
        If several prefixes fit equally well, such as those of a teacher and a student.
    """
    shorter = {name: name for name in names}
    while prefix := next((p for p in WRAPPERS if shorter and all(n.startswith(p) for n in shorter.values())), None):
        if any(name.startswith(prefix) for name in own):
            break
        shorter = {name: short.removeprefix(prefix) for name, short in shorter.items()}
    candidates = {""} | {".".join(n.split(".")[:depth]) + "." for n in shorter.values() for depth in (1, 2) if n.count(".") >= depth}
    found = {prefix: _count(prefix, shorter.values(), own, layout) for prefix in candidates}
    best = max(found.values())
    if found[""] == best:
        return shorter
    first, *others = sorted(prefix for prefix, count in found.items() if count == best)
    if others:
        raise ValueError(
            f"the file has the network {len(others) + 1} times, under {', '.join(map(repr, (first, *others)))}. Choose one: "
            f'load_pretrained(model, {{k.removeprefix("{first}"): v for k, v in ms.load(path).items() if k.startswith("{first}")}})'
        )
    return {name: short.removeprefix(first) for name, short in shorter.items() if short.startswith(first)}


def _count(prefix: str, names: Iterable[str], own: Collection[str], layout: str | None) -> int:
    """How many tensors of the network a file has under a prefix."""
    inside = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    row = find(layout, inside)
    root = row.root_for(own)
    return sum(root + row.translate(name) in own for name in inside)


def is_counter(name: str) -> bool:
    """Whether a tensor is the batch counter of a batch normalisation, which is not a weight and missing in some files."""
    return re.search(r"(^|\.)num_batches_tracked$", name) is not None
