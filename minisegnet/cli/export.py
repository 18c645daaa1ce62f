"""``minisegnet export``"""

from __future__ import annotations

import argparse
from typing import Any

from ..options import whole
from .common import add_command
from .config import typed

EXAMPLES = """\
  minisegnet export runs/mine --out cells.onnx
      for onnxruntime and other programs; the file takes any number of images, of any size that the network takes
  minisegnet export runs/mine --out cells.onnx --size 520 696 --fixed --output labels
      one image of one size; the output is labels (0, 1, ...) instead of scores
"""


def add(subparsers: Any) -> None:
    command = add_command(
        subparsers,
        "export",
        "write a checkpoint as an ONNX file",
        "Write the network of a checkpoint as an ONNX file, which onnxruntime, OpenVINO, TensorRT and others run.\n"
        "Images must be standardised as in training: subtract the mean of the image, divide by its standard deviation.",
        EXAMPLES,
        run,
    )
    command.add_argument("checkpoint", help="a .safetensors file, or the folder of a run")
    command.add_argument("--out", required=True, metavar="FILE", help="the file to write; its name ends in .onnx")
    command.add_argument(
        "--size",
        type=typed(whole(1)),
        nargs="+",
        default=[256],
        metavar="N",
        help="rows and columns, or one number for both (default: 256)",
    )
    command.add_argument("--fixed", action="store_true", help="fix the input to one image of that size, as some programs require")
    command.add_argument(
        "--output", choices=("scores", "probabilities", "labels"), default="scores", help="what the file computes (default: scores)"
    )


def run(args: argparse.Namespace) -> int:
    if len(args.size) > 2:
        raise ValueError(f"--size: rows and columns, or one number for both, not {len(args.size)} numbers")
    from ..exchange.onnx import export_onnx
    from ..inference import load_model

    model: Any = load_model(args.checkpoint)
    shape = (1, model.about.in_channels, args.size[0], args.size[-1])
    print(export_onnx(model, args.out, shape, dynamic=not args.fixed, output=args.output))
    return 0
