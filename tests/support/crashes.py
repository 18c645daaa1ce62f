"""Stops a training before every operation on the disk, resumes it, and compares its folder with that of an undisturbed run.

The training is tiny and runs on NumPy, so that a process can be forked for every stop. ``python tests/support/crashes.py power 0 4``
stops in one way, before every fourth operation, and prints the figures.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import minisegnet as ms
from minisegnet import backend, training, viz
from minisegnet.data import Arrays
from minisegnet.files import write_text
from minisegnet.training import loop

#: How a run is stopped: by a signal, or by a power failure. After a power failure either the names of files that were not synced are
#: lost ("power"), or the names are there and the content that was not synced is zeros ("zeros").
WAYS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT, "power": None, "zeros": None}


# --- the training --------------------------------------------------------------------------------------


class Network(ms.nn.Module):
    """Small, and with everything that a checkpoint has to hold: running statistics and dropout."""

    def __init__(self):
        self.body, self.norm, self.drop = ms.nn.Conv2d(1, 3, 3, padding=1), ms.nn.BatchNorm2d(3), ms.nn.Dropout(0.2)
        self.head = ms.nn.Conv2d(3, 2, 1)

    def forward(self, x):
        return self.head(self.drop(ms.functional.relu(self.norm(self.body(x)))))


def data(seed: int, count: int) -> Arrays:
    rng = np.random.default_rng(seed)
    masks = [rng.integers(0, 2, (8, 8)) for _ in range(count)]
    return Arrays([mask + rng.normal(size=mask.shape) for mask in masks], masks, ("a", "b"))


RECIPE = training.Recipe(
    steps=6,
    eval_every=2,
    batch_size=1,
    accumulate=2,
    crop=8,
    learning_rate=0.5,
    ema=0.3,
    clip_norm=1.0,
    schedule="poly",
    warmup=2,
    jitter=0.1,
)


def train(folder: Path, **options) -> None:
    """Begin the run in a folder, or continue it if it has a checkpoint."""
    ms.manual_seed(0)
    how = {"resume": folder} if (folder / "last.safetensors").exists() else {"overwrite": True}
    with backend.use("numpy"):
        training.fit(Network(), data(0, 3), data(1, 2), RECIPE, out=folder, progress=False, files={"run.toml": "x = 1\n"}, **how, **options)


def _curves(rows, path, **told):
    write_text(path, repr(([sorted(row.items()) for row in rows], told)))


def _predictions(images, truths, labels, classes, palette, path, **told):
    write_text(path, repr(([*map(np.ndarray.tolist, labels)], told)))


#: Pictures take seconds to draw. Instead, a text says what they would show.
PICTURES = {"curves": _curves, "predictions": _predictions}


def make_comparable() -> None:
    """No clock, and quick pictures."""
    loop.time = SimpleNamespace(perf_counter=lambda: 0.0)
    for name, quick in PICTURES.items():
        setattr(viz, name, quick)


# --- the disk ------------------------------------------------------------------------------------------


class Disk:
    """Counts the operations on files and stops the process before one of them.

    It also keeps what a power failure leaves: of each folder the names that it had when it was last synced, of each file the content.
    """

    def __init__(self, root: Path, stop: int, way: str):
        self.root, self.stop, self.way, self.count = root, stop, way, 0
        self.names: dict[Path, dict[str, int]] = {root: {}}  # folder → name → number of the file
        self.content: dict[int, bytes] = {}
        self.real = {name: getattr(os, name) for name in ("mkdir", "open", "write", "ftruncate", "fsync", "replace", "unlink", "chmod")}
        for name in self.real:
            setattr(os, name, self._counted(name))
        self._open, io.open = io.open, self._open_counted

    def _counted(self, name):
        def call(*args, **options):
            if name != "open" or args[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                self._before()
            found = self.real[name](*args, **options)
            if name == "mkdir":
                self.names[Path(args[0])] = {}  # it is a folder, whatever is in it
            if name == "fsync":
                self._synced(args[0])
            return found

        return call

    def _open_counted(self, path, mode="r", *args, **options):
        if not set(mode) & set("wax+") or not str(path).startswith(str(self.root)):
            return self._open(path, mode, *args, **options)
        if set(mode) & set("wx"):
            self._before()
        return Writes(self._open(path, mode, *args, **options), self._before)

    def _synced(self, number: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{number}"))
        if path.is_dir():
            self.names[path] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self.content[os.fstat(number).st_ino] = self._read(path)

    def _read(self, path: Path) -> bytes:
        with self._open(path, "rb") as stream:
            return stream.read()

    def _before(self) -> None:
        self.count += 1
        if self.count != self.stop:
            return
        if WAYS[self.way] is not None:
            os.kill(os.getpid(), WAYS[self.way])
            return
        if self.way == "power":
            image = self._image(self.root)
        else:
            image = {
                path: self.content.get(path.stat().st_ino, bytes(path.stat().st_size)) for path in self.root.rglob("*") if path.is_file()
            }
        for name, call in self.real.items():
            setattr(os, name, call)
        io.open = self._open
        shutil.rmtree(self.root)
        self.root.mkdir()
        for path, content in image.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if content is None else path.write_bytes(content)
        os.kill(os.getpid(), signal.SIGKILL)

    def _image(self, folder: Path) -> dict[Path, bytes | None]:
        """The content of each file in a folder and those below it, and None for a folder."""
        found: dict[Path, bytes | None] = {}
        for name, number in self.names[folder].items():
            path = folder / name
            found |= {path: None, **self._image(path)} if path in self.names else {path: self.content.get(number, b"")}
        return found


class Writes:
    """An open file that reports each write before it happens."""

    def __init__(self, stream, before):
        self._stream, self._before = stream, before

    def write(self, content):
        self._before()
        return self._stream.write(content)

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stream.close()


# --- stops ---------------------------------------------------------------------------------------------


def forked(work) -> int:
    """Run `work` in a process of its own; its exit status, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        work()
        status = 0
    except KeyboardInterrupt:
        status = 3
    finally:
        os._exit(status)


def finish(root: Path) -> int:
    """Resume the run, and once more: then it must say that it is done. The exit status of the process, 0 if all went well."""

    def work():
        for _ in range(2):
            try:
                train(root / "run")
            except ValueError as error:
                if "has done 6 steps already" in str(error):
                    return
                raise
        raise AssertionError("a finished run was resumed again")

    return forked(work)


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def undisturbed(root: Path) -> tuple[dict[str, bytes], int]:
    """The files of an undisturbed run, and the number of its operations on files."""
    counted, told = os.pipe()

    def work():
        disk = Disk(root, -1, "kill")
        train(root / "run")
        disk.real["write"](told, str(disk.count).encode())

    assert forked(work) == 0
    return content(root), int(os.read(counted, 20))


def stops(way: str, shard: int, shards: int, folder: Path) -> Counter:
    """Stop before every `shards`-th operation, beginning with number `shard`; count what differs after the run was resumed.

    The way "all" takes the five ways in turn.
    """
    expected, operations = undisturbed(folder / "whole")
    found: Counter = Counter()
    ways = cycle(WAYS if way == "all" else [way])
    for stop, way in zip(range(1 + shard, operations + 1, shards), ways, strict=False):
        root = folder / f"{way}-{stop}"
        root.mkdir()
        status = forked(partial(_stopped, root, stop, way))
        found["stopped"] += status != 0
        compare(root, expected, found, f"{way} before operation {stop}")
        shutil.rmtree(root)
    return found | Counter(operations=operations)


def at_the_end(folder: Path) -> Counter:
    """The files of a finished run that a power failure would change."""
    told, tell = os.pipe()

    def work():
        disk = Disk(folder, -1, "kill")
        train(folder / "run")
        image = {path: text for path, text in disk._image(folder).items() if text is not None}
        lost = [str(path) for path in sorted(folder.rglob("*")) if path.is_file() and image.get(path) != disk._read(path)]
        disk.real["write"](tell, json.dumps([len(image), lost]).encode())

    assert forked(work) == 0
    files, lost = json.loads(os.read(told, 1 << 16))
    return Counter({"files": files, **dict.fromkeys(lost, 1)})


def _stopped(root: Path, stop: int, way: str) -> None:
    Disk(root, stop, way)
    train(root / "run")


def compare(root: Path, expected: dict[str, bytes], found: Counter, where: str) -> None:
    status, now = finish(root), content(root)
    found["runs"] += 1
    found["failed"] += status != 0
    found["left over"] += bool(set(now) - set(expected))
    different = sorted(name for name in expected if now.get(name) != expected[name])
    found["differ"] += bool(different)
    if status or different or set(now) - set(expected):
        print(f"{where}: status {status}, different {different}, left over {sorted(set(now) - set(expected))}", file=sys.stderr)


def random_kills(kills: int, seed: int, folder: Path) -> Counter:
    """Kill runs at random times until `kills` processes have died; each run is resumed and killed again up to four times."""
    rng, found = random.Random(seed), Counter()
    begin = time.monotonic()
    expected, _ = undisturbed(folder / "whole")
    seconds = time.monotonic() - begin
    while found["kills"] < kills:
        root = folder / f"run-{found['runs']}"
        root.mkdir()
        for _ in range(rng.randint(1, 4)):
            found["kills"] += _killed(
                root, rng.uniform(0, 1.2 * seconds), rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            )
        compare(root, expected, found, f"run {found['runs']} of seed {seed}")
        shutil.rmtree(root)
    return found


def _killed(root: Path, after: float, number: int) -> bool:
    child = os.fork()
    if not child:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
        try:
            train(root / "run")
        except BaseException:
            os._exit(3)
        os._exit(0)
    time.sleep(after)
    os.kill(child, number)
    return os.waitpid(child, 0)[1] != 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True  # it would count as an operation on files
    make_comparable()
    way, shard, shards = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as name:
        counted = (
            at_the_end(Path(name))
            if way == "end"
            else random_kills(shards, shard, Path(name))
            if way == "random"
            else stops(way, shard, shards, Path(name))
        )
    print(json.dumps(counted))
