"""``minisegnet data``"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from ..options import pick
from .common import add_command
from .config import add_options
from .dataset import FOLDER, Data, data_options, data_settings

if TYPE_CHECKING:
    from ..data.doctor.checkup import Checkup

EXAMPLES = """\
  minisegnet data check DIR
      the contents of a data set and its problems: files, labels, sizes, copies, balance
  minisegnet data check DIR --sheet sheet.png --json report.json
      the same as a JSON file, with a picture of images beside their labels
"""
_CELLS = 24  # on a contact sheet


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "data",
        "check a data set",
        "Read every file of a data set, count its classes, and report every problem with a way to mend it.",
        EXAMPLES,
        run,
    )
    command.add_argument("action", choices=("check",), help="what to do")
    command.add_argument("path", metavar="DIR", help="a folder with images/ and masks/, or a published data set in its own layout")
    add_options(command, (about for name, about in data_options().items() if name not in ("val_fraction", "val_data")))
    command.add_argument(
        "--sheet", metavar="FILE", help=f"write a PNG of up to {_CELLS} images with their labels, those with a problem first"
    )
    command.add_argument("--json", metavar="FILE", help="write the report to a JSON file")


def run(args: argparse.Namespace) -> int:
    """Exit code: 0 without errors (warnings may remain), 1 with errors, 2 if there is no data set to check."""
    from pathlib import Path

    from .. import data
    from ..files import check_writable, write_atomically

    for target in filter(None, (args.json, args.sheet)):
        check_writable(target)
    settings = data_settings(
        pick(Data, {**vars(args), "data": str(Path(args.path).resolve())})
    )  # resolved: a folder may be called "nuclei"
    options = {name: settings[name] for name in FOLDER}
    found = data.detect(args.path, args.images, args.masks_dir)
    if not issubclass(found, data.Folder):  # data_settings has made sure that nothing else was asked for
        options = {"boundary": args.boundary} if found.parts is None else {}
    checkup = data.check(args.path, tick=_tick if sys.stderr.isatty() else None, **options)
    print(checkup)
    if args.json:
        text = json.dumps(checkup.to_dict(), indent=2, ensure_ascii=False) + "\n"
        write_atomically(args.json, lambda stream: stream.write(text.encode()))
    if args.sheet:
        _sheet(checkup, args.sheet)
    return 1 if checkup.report.count() else 0


def _tick(done: int, total: int) -> None:
    if done % 10 == 0 or done == total:
        print(f"\r  {done} of {total} read", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _sheet(checkup: Checkup, path: str) -> None:
    """A contact sheet: first images with a problem, as far as they can be shown, then images spread evenly over all parts."""
    from ..data import DataError
    from ..viz import contact_sheet

    several = len(checkup.parts) > 1
    chosen = list(checkup.flagged)[: _CELLS // 2]
    room = (_CELLS - len(chosen)) // len(checkup.parts)
    for name, part in checkup.parts.items():
        last, many = len(part.dataset) - 1, min(room, len(part.dataset))
        wanted = {round(n * last / max(many - 1, 1)) for n in range(many)}
        chosen += [(name, k) for k in sorted(wanted) if (name, k) not in chosen]
    shown = []
    for name, k in chosen:
        dataset = checkup.parts[name].dataset
        try:
            image, mask = dataset[k]
        except DataError:
            continue  # it is in the report
        shown.append(
            (image, mask, f"{name}: {dataset.names[k]}" if several else dataset.names[k], ", ".join(checkup.flagged.get((name, k), [])))
        )
    if not shown:
        raise ValueError(f"{path}: no image can be shown, so there is no contact sheet")
    images, masks, names, flags = zip(*shown, strict=True)
    whole = next(iter(checkup.parts.values())).dataset
    contact_sheet(
        images,
        masks,
        names,
        whole.classes,
        whole.palette,
        path,
        flags=flags,
        title=f"{checkup.path.name} ({checkup.title})",
        ignore_index=whole.ignore_index,
    )
