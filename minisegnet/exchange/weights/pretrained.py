"""Load weights of other libraries and of earlier runs into a network, with a report of every tensor."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...nn import Module
from ...tensor import Tensor
from ..checkpoint import network_weights
from . import layouts
from .layouts import Layout

_TITLES = {
    "matched": "loaded",
    "new head": "not loaded, because the file has another number of classes: they keep their initial values",
    "kept": "not in the file, which contains only a backbone: they keep their values",
    "skipped": "in the file, but not needed",
    "missing": "needed, but not in the file",
    "unexpected": "in the file, but not in the network",
    "wrong shape": "with another shape in the file",
}
_WRONG = ("missing", "unexpected", "wrong shape")


@dataclass(frozen=True)
class Entry:
    """One tensor: its status, its name in the network and in the file (None if it is not there), and the two shapes.

    `status` is "matched", "new head", "kept", "skipped", "missing", "unexpected" or "wrong shape".
    """

    status: str
    name: str | None
    source: str | None
    shape: tuple[int, ...] | None
    source_shape: tuple[int, ...] | None
    note: str = ""

    def __str__(self) -> str:
        names = self.name or self.source or ""
        if self.name and self.source and self.name != self.source:
            names += f" ← {self.source}"
        shapes = [str(s) for s in dict.fromkeys((self.shape, self.source_shape)) if s is not None]
        return f"{names}  {', in the file '.join(shapes)}" + f"  ({self.note})" * bool(self.note)


@dataclass(frozen=True)
class Report:
    """What `load_pretrained` did with each tensor. ``print`` shows a summary, `table` everything.

    Attributes
    ----------
    source : str
        The file.
    network : str
    layout : str
        The library whose names the file has.
    entries : tuple of Entry
    """

    source: str
    network: str
    layout: str
    entries: tuple[Entry, ...]

    def of(self, *statuses: str) -> list[Entry]:
        """The entries with one of these statuses."""
        return [entry for entry in self.entries if entry.status in statuses]

    @property
    def matched(self) -> list[str]:
        """Names in the network of the tensors that were loaded."""
        return [entry.name for entry in self.of("matched") if entry.name]

    @property
    def missing(self) -> list[str]:
        """Names in the network of the tensors that are not in the file."""
        return [entry.name for entry in self.of("missing") if entry.name]

    @property
    def unexpected(self) -> list[str]:
        """Names in the file of the tensors that the network does not have."""
        return [entry.source for entry in self.of("unexpected") if entry.source]

    @property
    def new_head(self) -> list[str]:
        """Names in the network of the tensors that keep their initial values, because the number of classes differs."""
        return [entry.name for entry in self.of("new head") if entry.name]

    def __str__(self) -> str:
        return self.table(most=6)

    def table(self, most: int | None = None) -> str:
        """All entries by status. With `most`, at most this many of each problem, and only the number of successes."""
        numbers = sum(int(np.prod(entry.shape or ())) for entry in self.of("matched"))
        lines = [f"{self.source} → {self.network}; names as in {self.layout}"]
        for status, title in _TITLES.items():
            entries = self.of(status)
            if not entries and status not in ("matched", "missing", "unexpected"):
                continue
            size = f", {numbers:,} numbers" if status == "matched" else ""
            lines.append(f"  {len(entries):>4} {status:<11} {title}{size}")
            shown = entries if most is None else _grouped(entries) if status in ("skipped", "kept") else entries[:most]
            if status != "matched" or most is None:
                lines += [f"         {entry}" for entry in shown]
            if most is not None and status in ("new head", *_WRONG) and len(entries) > most:
                lines.append(f"         ... and {len(entries) - most} more")
        return "\n".join(lines)


def _grouped(entries: list[Entry]) -> list[str]:
    """The tensors of each module as one line."""
    counts: dict[str, int] = {}
    for entry in entries:
        name = (entry.name or entry.source or "").split(".")
        group = f"{name[0]}.*" + f"  ({entry.note})" * bool(entry.note) if not layouts.is_counter(".".join(name)) else "num_batches_tracked"
        counts[group] = counts.get(group, 0) + 1
    return [f"{count} × {group}" for group, count in counts.items()]


def load_pretrained(
    model: Module,
    source: str | os.PathLike | Mapping[str, Any],
    *,
    layout: str | None = None,
    key: str | None = None,
    new_head: bool = False,
    strict: bool = True,
) -> Report:
    """Load weights of this library or another into a network.

    Parameters
    ----------
    model : Module
    source : path, or mapping of names to tensors or arrays
        A file that `ms.load` reads: ``.safetensors``, ``.npz``, PyTorch's ``.pt`` and ``.pth``; or the folder of a run.
    layout : str, optional
        The library whose names the tensors have, one of `weights.LAYOUTS`. By default it is recognised by the names.
    key : str, optional
        The entry of a checkpoint that contains the weights; see `ms.load`.
    new_head : bool
        Whether the network may have another number of classes than the file. The tensors that depend on it then keep
        their initial values, and the report lists them; otherwise they are an error.
    strict : bool
        Whether missing and unexpected tensors are errors. A wrong shape always is.

    Returns
    -------
    Report
        ``print`` it to see what was loaded, skipped, missing or unexpected, with shapes.

    Raises
    ------
    ValueError
        If the file cannot be read or does not fit the network, also with ``strict=False`` if no tensor fits. The message is
        the report; nothing is changed.

    Notes
    -----
    The prefix of a wrapper, such as "module." (DataParallel), "_orig_mod." (torch.compile) or "model." (Lightning), is
    removed. Tensors that do not have it, such as the mean and the deviation of the images, are skipped and listed. Batch counters (``num_batches_tracked``) are loaded if both sides have them and are never
    reported as missing. The weights of a classifier fill the backbone of a network and leave the rest unchanged.

    Examples
    --------
    >>> model = ms.models.create("deeplabv3", num_classes=21)              # doctest: +SKIP
    >>> print(ms.load_pretrained(model, "deeplabv3_resnet50_coco.pth"))    # doctest: +SKIP
    """
    given = source if isinstance(source, Mapping) else network_weights(source, key)
    file = "the given tensors" if isinstance(source, Mapping) else str(source)
    own = model.state_dict()
    short = layouts.without_prefix(given, own, layout)
    row = layouts.find(layout, short.values())
    sources = {row.root_for(own) + row.translate(name): original for original, name in short.items()}

    entries: list[Entry] = [
        Entry("skipped", None, name, None, tuple(np.shape(given[name])), "beside the network") for name in given if name not in short
    ]
    chosen: dict[str, Any] = {}
    for name, original in sources.items():
        entry, value = _fit(model, row, own, name, original, given[original], new_head)
        entries.append(entry)
        if entry.status == "matched":
            chosen[name] = value
    root = row.root_for(own)
    for name in own:
        if name not in sources and not layouts.is_counter(name):
            needed = any(name.startswith(root + part) for part in row.fills)
            entries.append(Entry("missing" if needed else "kept", name, None, own[name].shape, None))

    report = Report(file, type(model).__name__, row.name, tuple(entries))
    if all(layouts.is_counter(name) for name in report.matched) and not report.of("wrong shape", "new head"):
        raise ValueError(_nothing(report, given, own))
    if report.of("wrong shape") or (strict and report.of(*_WRONG)):
        raise ValueError(_refusal(report))
    model.load_state_dict(chosen, strict=False)
    return report


def _fit(model: Module, row: Layout, own: Mapping[str, Tensor], name: str, source: str, value: Any, new_head: bool) -> tuple[Entry, Any]:
    """The entry for a tensor of the file, and its values in the shape that the network needs."""
    shape = tuple(np.shape(value))
    root = row.root_for(own)
    if name not in own:
        why = next((reason for part, reason in row.skip if _absent(name, root, part, own)), "")
        status = "skipped" if why or layouts.is_counter(name) else "unexpected"
        return Entry(status, None, source, None, shape, why), None
    wanted = own[name].shape
    if name.removeprefix(root) in row.fully_connected and len(shape) == 2 and np.prod(shape) == np.prod(wanted) and shape[0] == wanted[0]:
        value = (value.array if isinstance(value, Tensor) else np.asarray(value)).reshape(wanted)
        return Entry("matched", name, source, wanted, shape, "a fully connected layer as a convolution"), value
    if shape == wanted:
        return Entry("matched", name, source, wanted, shape), value
    classes = getattr(model, "num_classes", None)
    if len(shape) == len(wanted) and all(a in (b, classes) for a, b in zip(wanted, shape, strict=True)):
        if new_head:
            return Entry("new head", name, source, wanted, shape), None
        return Entry("wrong shape", name, source, wanted, shape, "number of classes"), None
    return Entry("wrong shape", name, source, wanted, shape), None


def _absent(name: str, root: str, part: str, own: Mapping[str, Tensor]) -> bool:
    """Whether a name belongs to a part that the network does not have at all."""
    return name.startswith(root + part) and not any(other.startswith(root + part) for other in own)


def _nothing(report: Report, given: Mapping[str, Any], own: Mapping[str, Tensor]) -> str:
    """The error when no tensor was loaded: what both sides hold."""

    def some(tensors: Mapping[str, Any]) -> str:
        shown = [f"{name} {tuple(np.shape(value))}" for name, value in list(tensors.items())[:4]]
        return ", ".join(shown) + f", ... ({len(tensors)} tensors)" * (len(tensors) > len(shown)) or "no tensors"

    return (
        f"{report.source}: none of its tensors fits {report.network}, so nothing was loaded\n"
        f"  the file has     {some(given)}\n"
        f"  the network has  {some(own)}\n"
        "  Try: create the network that the file was made with (minisegnet models lists them), with its width and channels"
    )


def _refusal(report: Report) -> str:
    advice = []
    wrong = report.of("wrong shape")
    if wrong and all(entry.note for entry in wrong):
        advice.append("new_head=True keeps the network's own head, for its number of classes")
    elif wrong:
        advice.append("create the network with the width, channels and backbone of the file")
    if report.of("missing", "unexpected"):
        advice.append("create the network that the file was made with; strict=False loads what fits")
    return f"{report}\n  Nothing was loaded. Try: {'; '.join(advice)}"
