"""Train the checkpoint that ships with the library: ``python docs/train_nuclei.py FIELDS``.

FIELDS is a folder with ``images/`` and ``masks/`` (16-bit instance ids) of the fluorescence fields of the 2018 Data Science
Bowl (BBBC038, CC0). The network is trained on 80 % of them and on the left three quarters of the embedded field, which is
counted 16 times because its nuclei are larger. It is evaluated on the rest. The weights are those of the last step, so the
held-out part did not influence their choice. They are stored as float16, which halves the file.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from minisegnet import data, models, training
from minisegnet.data.transforms import augmentation
from minisegnet.exchange import checkpoint
from minisegnet.inference import load_model
from minisegnet.random import manual_seed
from minisegnet.training import evaluate

TARGET = Path(__file__).parents[1] / "minisegnet" / "exchange" / "weights" / "nuclei.safetensors"
OPTIONS: dict[str, Any] = {"steps": 2000, "batch_size": 4, "learning_rate": 3e-3, "schedule": "cosine", "seed": 0}
CLASSES = ("background", "nucleus")


def together(parts: list[tuple[Any, int]]) -> data.Arrays:
    """Concatenate datasets, repeating each the given number of times."""
    items = [dataset[k] for dataset, times in parts for _ in range(times) for k in range(len(dataset))]
    images, masks = zip(*items, strict=True)
    return data.Arrays(images, masks, CLASSES, standardise=False)  # the images are standardised already


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fields", type=Path)
    parser.add_argument("--out", type=Path, default=TARGET)
    args = parser.parse_args()
    train, held_out = data.split(data.Folder(args.fields), 0.2, 0)

    manual_seed(OPTIONS["seed"])
    model = models.create("unet", in_channels=1, num_classes=2, width=0.125, bilinear=True)
    recipe = augmentation(96, scale=(0.5, 2.0), rotate=15, jitter=0.3, blur=1.0, noise=0.1)
    mixture = together([(train, 1), (data.nuclei("train"), 16)])
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        training.fit(model, mixture, together([(held_out, 1)]), crop=96, transform=recipe, out=run, eval_every=1000, **OPTIONS)
        about = checkpoint.read_about(run / "last.safetensors")
    about = replace(about, resume={}, metrics={}, run={})
    model.to("float16")
    checkpoint.write(args.out, model, about)

    shipped = load_model(args.out)
    metrics = {
        "iou_held_out_fields": float(evaluate(shipped, held_out).iou[1]),
        "iou_embedded_test": float(evaluate(shipped, data.nuclei("test")).iou[1]),
    }
    provenance = {
        "what": "cell nuclei in fluorescence microscopy",
        "data": f"{len(train)} fields of the 2018 Data Science Bowl (BBBC038, CC0) and the left three quarters of the embedded field",
        "held_out": f"{len(held_out)} other fields of BBBC038, and the right quarter of the embedded field",
        "options": OPTIONS,
        "transform": repr(recipe),
        "script": "docs/train_nuclei.py",
    }
    checkpoint.write(args.out, model, replace(about, metrics=metrics, run=provenance))
    print(f"{args.out}: {args.out.stat().st_size:,} bytes, {metrics}")


if __name__ == "__main__":
    main()
