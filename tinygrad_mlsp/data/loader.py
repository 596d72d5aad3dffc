"""Minibatches in a seeded order that can be resumed bit for bit."""

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import device_of, to_device
from ..errors import OptionError, ShapeError
from ..tensor import Tensor


def shuffled(n: int, seed: int, epoch: int = 0) -> NDArray[np.int64]:
    """The numbers 0 … n − 1 in an order that depends on nothing but n, seed and epoch.

    They are sorted by raw 64-bit draws of Philox, which NumPy promises never to change; it does not promise that of
    `Generator.permutation`. Epoch e counts from (e + 1) · 2¹⁹² on: epochs never overlap each other, nor a generator
    that has the same seed and counts from 0.
    """
    draws = np.random.Philox(key=seed, counter=(epoch + 1) << 192).random_raw(n)
    return np.argsort(draws, kind="stable")


class Loader:
    """Minibatches of arrays that belong together: `for x, y in Loader(train_x, train_y, batch_size=64)`.

    Each pass is one epoch, and epoch e's order is a function of seed and e alone. Arrays on a GPU are indexed there.
    Without shuffling the batches are views. A pass that was left early counts as an epoch, so the next pass is a whole
    one, in the next order; after `load_state_dict` the next pass is the rest of the saved one.

    Shapes: arrays [n, …] each; a batch is a tuple with one [batch_size, …] an array, the last one shorter, or left
    out with drop_last=True.
    Raises: ShapeError when the arrays differ in length; OptionError for an option out of its range.
    """

    def __init__(
        self, *arrays: Any, batch_size: int = 32, shuffle: bool = True, seed: int = 0, drop_last: bool = False
    ) -> None:
        self.arrays = tuple(a if hasattr(a, "shape") else np.asarray(a) for a in arrays)
        if not arrays or any(len(a.shape) == 0 for a in self.arrays):
            raise ShapeError(
                f"Loader: needs one array or more with a first axis to divide into batches, got shapes "
                f"{[tuple(a.shape) for a in self.arrays]}"
            )
        self.length: int = self.arrays[0].shape[0]
        if any(a.shape[0] != self.length for a in self.arrays):
            raise ShapeError(
                f"Loader: arrays must be of one length along axis 0, got shapes {[tuple(a.shape) for a in self.arrays]}"
            )
        self.batch_size = _integer("batch_size", batch_size, 1, self.length if drop_last and self.length else None)
        self.seed = _integer("seed", seed, 0, 2**64 - 1)
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.epoch = 0
        self.position = 0  # samples of this epoch handed out so far
        self._resume = False

    def __len__(self) -> int:
        """The number of batches in a whole epoch."""
        return self.length // self.batch_size if self.drop_last else -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if self.position and not self._resume:
            self.epoch, self.position = self.epoch + 1, 0
        self._resume = False
        epoch, start, end = self.epoch, self.position, min(self.length, len(self) * self.batch_size)
        if self.shuffle:
            order = shuffled(self.length, self.seed, epoch)
            # each array is indexed where it lives: one transfer an epoch, not one a batch
            orders = [to_device(order, a.device if isinstance(a, Tensor) else device_of(a)) for a in self.arrays]
        while start < end:
            stop = min(start + self.batch_size, end)
            self.epoch, self.position = epoch, stop
            if self.shuffle:
                yield tuple(a[o[start:stop]] for a, o in zip(self.arrays, orders, strict=True))
            else:
                yield tuple(a[start:stop] for a in self.arrays)
            start = stop
        self.epoch, self.position = epoch + 1, 0

    def state_dict(self) -> dict[str, int | bool]:
        """Where the loader stands, and the options that the order depends on; a batch handed out counts as done."""
        return {"epoch": self.epoch, "position": self.position, **self._options()}

    def load_state_dict(self, state: dict[str, int | bool]) -> None:
        """Go on with the batch after the last one handed out when `state` was taken.

        Raises: OptionError when this loader would not give the same batches.
        """
        for name, mine in self._options().items():
            if state.get(name) != mine:
                raise OptionError(
                    f"Loader.load_state_dict: the saved {name} is {state.get(name)}, this loader's is "
                    f"{mine}; make the loader with the saved one to resume in the same order"
                )
        self.epoch = _integer("epoch", state.get("epoch"), 0)
        self.position = _integer("position", state.get("position"), 0, self.length)
        self._resume = True

    def _options(self) -> dict[str, int | bool]:
        return {
            "length": self.length,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
        }


def _integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if number < low or (high is not None and number > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise OptionError(f"Loader: {name} must be an integer {span}, got {value!r}")
    return number
