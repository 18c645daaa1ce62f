"""The files that ``minisegnet segment`` writes beside the labels: stacks, and objects in the forms of other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

# form → the end of the file's name
FORMS = {"csv": "_objects.csv", "numbers": "_objects.png", "geojson": "_objects.geojson", "rois": "_rois.zip", "coco": "coco.json"}


class Collected:
    """The objects of all images of a call.

    Parameters
    ----------
    forms : sequence of str
        Keys of `FORMS`.
    classes : sequence of str
    smallest : int
        Smaller objects are left out.
    out : Path
        The folder of the one file for all images.

    Raises
    ------
    ValueError
        If a package is missing; the message says how to install it.
    """

    def __init__(self, forms: Sequence[str], classes: Sequence[str], smallest: int, out: Path):
        from ..exchange.outlines import Coco

        try:
            import roifile  # noqa: F401
            import skimage  # noqa: F401
        except ImportError as error:
            raise ValueError(f"--objects needs scikit-image and roifile ({error}): pip install scikit-image roifile") from error
        self._forms, self._classes, self._smallest, self._out = forms, classes, smallest, out
        self._coco = Coco(classes)

    def add(self, source: Path, files: dict[str, Path], labels: Sequence[Path], place: Any = None) -> int:
        """Find and write the objects of a file of images; `labels` are the files of their labels. Returns the number of objects."""
        import numpy as np
        from PIL import Image

        from ..exchange import outlines
        from ..inference.objects import find_objects, measure_objects
        from ..viz import background_of

        found: list[tuple[int | None, Any]] = []
        maps = []
        for frame, file in enumerate(labels):
            with Image.open(file) as picture:
                ids, classes_of = find_objects(np.asarray(picture), self._classes, background_of(self._classes), self._smallest)
            number = None if len(labels) == 1 else frame
            objects = measure_objects(ids, classes_of, self._classes, _stored(source, number))
            found += [(number, one) for one in objects]
            self._coco.add(source.name, ids.shape, objects, number)
            maps.append(ids)
        if "csv" in self._forms:
            _write_table(found, files["csv"])
        if "numbers" in self._forms:
            _write_numbers(maps, files["numbers"], place)
        if "geojson" in self._forms:
            outlines.write_geojson(found, files["geojson"])
        if "rois" in self._forms:
            outlines.write_rois(found, files["rois"])
        return len(found)

    def finish(self) -> None:
        """Write the file for all images, if it was asked for."""
        if "coco" in self._forms:
            self._coco.write(self._out / FORMS["coco"])


def write_stack(pages: Iterable[Any], path: Path, place: Any = None, no_data: int | None = None) -> None:
    """Write pictures of Pillow as the pages of one compressed TIFF; of an iterator, one at a time is in memory.

    `place` are the tags of a GeoTIFF that each page gets, and `no_data` is the value of pixels that were not measured; see `tiff.place_of`.
    """
    from PIL.TiffImagePlugin import AppendingTiffWriter

    from ..data.tiff import with_place
    from ..files import replaced

    tags = {"tiffinfo": with_place(place, no_data)} if place else {}
    with replaced(path) as temporary, AppendingTiffWriter(str(temporary), new=True) as stack:
        for page in pages:
            page.save(stack, format="TIFF", compression="tiff_adobe_deflate", **tags)
            stack.newFrame()


def pictures(files: Iterable[Path]) -> Iterator[Any]:
    """The pictures in some files, one after the other."""
    from PIL import Image

    for file in files:
        with Image.open(file) as picture:
            yield picture


def _stored(source: Path, frame: int | None) -> Any:
    """The pixels of an image as they are stored, (C, H, W), for the mean intensity."""
    import numpy as np

    from ..data.images import read_image

    if source.suffix.lower() == ".npy":
        array = np.load(source, mmap_mode="r")
        return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    return read_image(source, frame=frame, unit=False)


def _write_table(found: Sequence[tuple[int | None, Any]], path: Path) -> None:
    from ..files import write_text
    from ..inference.objects import COLUMNS

    lines = io.StringIO(newline="")
    table = csv.writer(lines)
    stack = any(frame is not None for frame, _ in found)
    table.writerow([*(["frame"] if stack else []), *COLUMNS])
    for frame, one in found:
        values = {"object": one.number, "class": one.label, **one.measures}
        cells = [f"{v:.4f}" if isinstance(v := values.get(c, ""), float) else v for c in COLUMNS]
        table.writerow([*([frame] if stack else []), *cells])
    write_text(path, lines.getvalue())


def _write_numbers(maps: Sequence[Any], path: Path, place: Any) -> None:
    """The numbers of the objects as a grey image of 16 bits, or a stack of them; at its place on the Earth if that is known."""
    import numpy as np
    from PIL import Image

    from ..files import write_atomically

    most = max(int(ids.max(initial=0)) for ids in maps)
    if most > 65535:
        raise ValueError(f"{path}: {most} objects are more than 16 bits can number; leave out small ones (--smallest)")
    pages = (Image.fromarray(ids.astype(np.uint16)) for ids in maps)
    if path.suffix == ".png":
        write_atomically(path, lambda stream: next(pages).save(stream, "PNG"))
    else:
        write_stack(pages, path, place)
