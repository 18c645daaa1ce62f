"""Build the site: ``python docs/website.py [FOLDER]``, in ``docs/_build/html`` unless told otherwise. A warning is an error."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

HERE = Path(__file__).parent


def main(folder: Path) -> int:
    return build_main(["-q", "-W", "--keep-going", "-c", str(HERE), "-d", str(folder.parent / "doctrees"), str(HERE.parent), str(folder)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the site.")
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "_build" / "html", help="where to (default: %(default)s)")
    sys.exit(main(parser.parse_args().folder))
