"""Run recorded launches again under the compiler's sanitizers, in a program of their own.

This is a second opinion beside the emulator's own watch. ``"address"`` is AddressSanitizer with UndefinedBehaviorSanitizer, which
also catch an access to the wrong array. ``"thread"`` is ThreadSanitizer, which treats each CUDA thread as a thread of its own;
only barriers order their accesses.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..cuda.source import Source
from . import build
from .run import Recorded

_REPORTS_ALL = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "halt_on_error=1 history_size=4", "UBSAN_OPTIONS": "print_stacktrace=1"}


def replay(source: Source, launches: Sequence[Recorded], sanitizer: str) -> str:
    """Run launches of the kernels of one file again.

    Parameters
    ----------
    source : Source
    launches : list of Recorded
        From ``emulator.recording()``; launches of other files are ignored.
    sanitizer : {"address", "thread"}

    Returns
    -------
    str
        The sanitizer's report; empty if it has nothing to report.

    Raises
    ------
    RuntimeError
        If the program cannot be run at all.
    """
    program = build.program(source, sanitizer)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "launches"
        path.write_bytes(b"".join(_packed(launch, source) for launch in launches if launch.path == source.path))
        done = subprocess.run([str(program), str(path)], env={**os.environ, **_REPORTS_ALL}, capture_output=True, text=True, check=False)
    if done.returncode == 3 or (done.returncode == 0 and "launches" not in done.stdout):
        raise RuntimeError(f"the recorded launches could not be read: {done.stderr}")
    said = re.sub(r"^.*ASan doesn't fully support makecontext.*\n", "", done.stderr, flags=re.M)  # fibers.h tells it what it needs
    return said.strip() or (f"exit code {done.returncode}" if done.returncode else "")


def _packed(launch: Recorded, source: Source) -> bytes:
    """One launch in the form that replay.cpp reads."""
    kernel = build.instances(source).index((source.kernels[launch.kernel], launch.instance))
    head = struct.pack(
        "<4i6I2Q",
        kernel,
        launch.schedule,
        len(launch.arrays),
        len(launch.parameters),
        *launch.grid,
        *launch.block,
        launch.shared,
        launch.seed,
    )
    arrays = b"".join(struct.pack("<2Q", address, len(content)) + content for address, content in launch.arrays)
    return head + arrays + b"".join(struct.pack("<Q", len(p)) + p for p in launch.parameters)
