"""Batches: seeded, shuffled, and made in the background while the network computes.

A thread makes them, not processes: decoding and copying release the interpreter's lock, nothing has to be
pickled, and no worker can be orphaned. The content of a batch depends only on ``(seed, epoch, position)``,
never on the timing of the thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from itertools import islice

import numpy as np

from .base import DataError, Dataset
from .transforms import Transform

# The third word of a seed, so that different uses draw different numbers.
_ORDER, _ITEM = 1, 2


class Loader:
    """Batches of a dataset: ``for images, masks in loader``.

    ``images`` is float32 (N, C, H, W) and ``masks`` is int64 (N, H, W). Each pass over the loader is an
    epoch, with its own order and its own augmentation.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
    transform : callable, optional
        ``(image, mask, rng) -> (image, mask)``; see `minisegnet.data.transforms`.
    shuffle : bool
    seed : int
    drop_last : bool
        Whether to leave out a last batch that is smaller than the others.
    prefetch : int
        How many batches the thread may be ahead; with 0 the caller's own thread makes them.
    steps : int, optional
        Batches in an epoch. By default an epoch is one pass over the data. With `steps` the data are repeated
        as often as necessary, in a new order each time, and every batch is full.
    repeat : int
        How often each item appears in an epoch: one large image can yield many crops.

    Raises
    ------
    DataError
        While iterating, if an item cannot be read or the items of a batch differ in size; names the item.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        transform: Transform | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        prefetch: int = 2,
        steps: int | None = None,
        repeat: int = 1,
    ):
        if batch_size < 1 or repeat < 1 or prefetch < 0 or seed < 0 or (steps is not None and steps < 1):
            raise ValueError(
                "Loader: batch_size, repeat and steps must be positive, prefetch and seed not negative; "
                f"got batch_size={batch_size}, repeat={repeat}, steps={steps}, prefetch={prefetch}, seed={seed}"
            )
        if not len(dataset):
            raise DataError("Loader: the dataset is empty")
        self.dataset, self.transform = dataset, transform
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.drop_last, self.prefetch, self.steps, self.repeat = drop_last, prefetch, steps, repeat
        if not len(self):
            raise DataError(
                f"Loader: {len(dataset) * repeat} items are fewer than a batch of {batch_size}, and drop_last=True drops it; use repeat= or a smaller batch"
            )
        self._next = (0, 0)  # epoch and batch at which the next pass starts
        self._state = (0, 0)

    def __len__(self) -> int:
        """Batches in an epoch."""
        if self.steps is not None:
            return self.steps
        items = len(self.dataset) * self.repeat
        return items // self.batch_size if self.drop_last else -(-items // self.batch_size)

    # --- the position --------------------------------------------------------------------

    @property
    def state(self) -> dict[str, int]:
        """``{"epoch", "batch"}``: the first batch that was not yet returned. `load_state` continues exactly there."""
        return {"epoch": self._state[0], "batch": self._state[1]}

    def load_state(self, state: dict[str, int]) -> None:
        """Let the next pass start where `state` was taken, even in the middle of an epoch."""
        self._next = self._state = (int(state["epoch"]), int(state["batch"]))

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be the epoch of this number."""
        self.load_state({"epoch": epoch, "batch": 0})

    # --- the content of a batch -----------------------------------------------------------

    def _lap(self, epoch: int, lap: int) -> np.ndarray:
        """The indices of the items in a pass over the data; an epoch with `steps` has several."""
        indices = np.tile(np.arange(len(self.dataset)), self.repeat)
        if self.shuffle:
            np.random.default_rng((self.seed, epoch, _ORDER, lap)).shuffle(indices)
        return indices

    def _order(self, epoch: int, first: int) -> Iterator[int]:
        """The indices of the items of an epoch from a position on, drawn pass by pass: an epoch may have millions of steps."""
        count = len(self.dataset) * self.repeat
        positions = self.steps * self.batch_size if self.steps is not None else count
        for lap in range(first // count, -(-positions // count)):
            begin, end = max(first - lap * count, 0), min(positions - lap * count, count)
            yield from map(int, self._lap(epoch, lap)[begin:end])

    def _item(self, epoch: int, position: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            image, mask = self.dataset[index]
            if self.transform is not None:
                rng = np.random.default_rng((self.seed, epoch, _ITEM, position))
                image, mask = self.transform(image, mask, rng)
        except Exception as error:
            name = str(self.dataset.names[index])
            if isinstance(error, DataError) and name in str(error):
                raise
            raise DataError(f"{name}: {type(error).__name__}: {error}") from error
        return image, mask

    def _batches(self, epoch: int, first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = self._order(epoch, first * self.batch_size)
        for batch in range(first, len(self)):
            indices = list(islice(order, self.batch_size))
            items = [self._item(epoch, p, k) for p, k in enumerate(indices, batch * self.batch_size)]
            shapes = {image.shape: k for k, (image, _) in zip(indices, items, strict=True)}
            if len(shapes) > 1:
                listed = ", ".join(f"{self.dataset.names[k]} {shape}" for shape, k in list(shapes.items())[:4])
                raise DataError(
                    f"items of different shapes cannot be one batch: {listed}. Crop them (data.transforms.RandomCrop) or use batch_size=1"
                )
            yield (
                np.stack([i for i, _ in items]).astype(np.float32, copy=False),
                np.stack([m for _, m in items]).astype(np.int64, copy=False),
            )

    # --- iterating ---------------------------------------------------------------------

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        epoch, first = self._next
        self._next = (epoch + 1, 0)
        self._state = (epoch, first)
        made = self._batches(epoch, first)
        for batch, pair in enumerate(_ahead(made, self.prefetch) if self.prefetch else made, first + 1):
            self._state = (epoch, batch) if batch < len(self) else (epoch + 1, 0)
            yield pair


def _ahead(iterator: Iterator, depth: int) -> Iterator:
    """The values of an iterator, computed by a thread that is up to `depth` values ahead.

    Exceptions of the iterator are raised here. Leaving early (``break``, an exception, garbage collection) ends the thread.
    """
    shelf: queue.Queue = queue.Queue(depth)
    leave = threading.Event()

    def put(kind: str, value: object) -> bool:
        while not leave.is_set():
            try:
                shelf.put((kind, value), timeout=0.1)  # the timeout lets the thread notice that the consumer has left
                return True
            except queue.Full:
                pass
        return False

    def work() -> None:
        try:
            for value in iterator:
                if not put("value", value):
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=work, name="minisegnet-loader", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = shelf.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        leave.set()
        while not shelf.empty():  # makes room, so that a thread waiting in put() wakes at once
            shelf.get_nowait()
        thread.join()
