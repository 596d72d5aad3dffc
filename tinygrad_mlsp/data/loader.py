"""Minibatches in a seeded order that can be resumed bit for bit, prepared ahead of time by threads if wanted."""

from __future__ import annotations

import contextvars
import math
import operator
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Generator as Iteration
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import device_of, to_device, to_numpy
from ..errors import OptionError, ShapeError
from ..random import Generator
from ..tensor import Tensor


def shuffled(n: int, seed: int, epoch: int = 0) -> NDArray[np.int64]:
    """The numbers 0 … n − 1 in an order that depends on nothing but n, seed and epoch.

    They are sorted by raw 64-bit draws of Philox, which NumPy promises never to change; it does not promise that of
    `Generator.permutation`. Epoch e counts from (e + 1) · 2¹⁹² on: epochs never overlap each other, nor a generator
    that has the same seed and counts from 0.
    """
    draws = np.random.Philox(key=seed, counter=(epoch + 1) << 192).random_raw(n)
    return np.argsort(draws, kind="stable")


_PATIENCE = 5.0  # seconds that the end of a pass waits for a thread whose item takes its time


class Subset:
    """Some rows of arrays, or some items of a data set, in the order of `indices`; nothing is copied before it is used.

    `Subset((x, y), rows)[3]` is (x[rows[3]], y[rows[3]]), and an array of numbers in place of the 3 gives that many
    rows together. A Loader takes a subset as it takes the whole.
    Raises: OptionError for an index outside the data.
    """

    def __init__(self, dataset: Any, indices: Any) -> None:
        self.dataset, self._leaves = dataset, _leaves(_structured(dataset, "Subset"))
        n = _length(self._leaves, "Subset")
        self.indices: NDArray[np.int64] = _array(indices, "Subset: indices")
        if self.indices.dtype == bool and self.indices.shape == (n,):
            self.indices = np.flatnonzero(self.indices)
        if self.indices.ndim != 1 or (self.indices.size and self.indices.dtype.kind not in "iu"):
            raise OptionError(
                f"Subset: indices must be whole numbers along one axis, or a mask of {n} truth values, "
                f"got {self.indices.dtype} of shape {self.indices.shape}"
            )
        self.indices = self.indices.astype(np.int64, copy=False)
        if self.indices.size and not (-n <= self.indices.min() and self.indices.max() < n):
            raise OptionError(
                f"Subset: indices from {self.indices.min()} to {self.indices.max()} do not fit data of length {n}"
            )
        self.indices = np.where(self.indices < 0, self.indices + n, self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        wanted = self.indices[index]
        if wanted.ndim == 0:
            rows = [_item(leaf, int(wanted)) for leaf in self._leaves]
        else:
            rows = [_rows(leaf, wanted) for leaf in self._leaves]
        return _rebuilt(_structured(self.dataset, "Subset"), iter(rows))


class Loader:
    """Minibatches of what belongs together: `for x, y in Loader(train_x, train_y, batch_size=64)`.

    It takes arrays or Tensors, of which a batch is a tuple; or one dict or tuple of them, of which a batch has the same
    form; or one data set, an object with `__len__` and `__getitem__(i)`, whose items (arrays, numbers, tuples or dicts
    of them) are stacked. Each pass is one epoch, and epoch e's order is a function of seed and e alone. Arrays on a GPU
    are indexed there. Without shuffling the batches are views. A pass that was left early counts as an epoch, so the
    next pass is a whole one, in the next order; after `load_state_dict` the next pass is the rest of the saved one.

    `transform(batch, generator)` gives what is handed out in place of each batch: see data.augment. Its generator
    starts from the seed, the epoch and the batch's place, so augmentation too is resumed bit for bit.

    With `workers` threads the next batches are prepared while the last one is used, in the same order and with the same
    numbers as without. That helps where items come from files, or a transform spends its time in NumPy, which
    lets other threads run; not where it is plain Python. The threads end with the pass, however that ends.

    Shapes: arrays [n, …] each; in a batch [batch_size, …], the last one shorter, or left out with drop_last=True.
    Raises: ShapeError when the arrays differ in length; OptionError for an option out of its range. An error in
    an item or a transform comes out as it is, with a note that says which item or batch it was.
    """

    def __init__(
        self,
        *arrays: Any,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        workers: int = 0,
        transform: Callable[[Any, Generator], Any] | None = None,
    ) -> None:
        tree = tuple(_structured(a, "Loader") for a in arrays)
        alone = len(tree) == 1 and not hasattr(tree[0], "shape")
        self._tree: Any = tree[0] if alone else tree
        self._sources = _leaves(self._tree)
        self.length: int = _length(self._sources, "Loader")
        self.batch_size = _integer(
            "Loader: batch_size", batch_size, 1, self.length if drop_last and self.length else None
        )
        self.seed = _integer("Loader: seed", seed, 0, 2**64 - 1)
        self.workers = _integer("Loader: workers", workers, 0)
        if transform is not None and not callable(transform):
            raise OptionError(f"Loader: transform is a function of a batch and a generator, got {transform!r}")
        self.shuffle, self.drop_last, self.transform = bool(shuffle), bool(drop_last), transform
        self.epoch = 0
        self.position = 0  # samples of this epoch handed out so far
        self._resume = False

    def __len__(self) -> int:
        """The number of batches in a whole epoch."""
        return self.length // self.batch_size if self.drop_last else -(-self.length // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        if self.position and not self._resume:
            self.epoch, self.position = self.epoch + 1, 0
        self._resume = False
        epoch, start, end = self.epoch, self.position, min(self.length, len(self) * self.batch_size)
        orders = self._orders(epoch) if start < end else []

        def batch(start: int) -> Any:
            stop = min(start + self.batch_size, end)
            try:
                rows = [_rows(s, o[start:stop] if self.shuffle else slice(start, stop))
                        for s, o in zip(self._sources, orders, strict=True)]  # fmt: skip
                made = _rebuilt(self._tree, iter(rows))
                made = made if isinstance(made, (tuple, dict)) else (made,)
                return made if self.transform is None else self.transform(made, self._generator(epoch, start))
            except Exception as error:
                error.add_note(f"Loader: in the batch of samples {start} to {stop - 1} of epoch {epoch}'s order")
                raise

        starts = range(start, end, self.batch_size)
        batches = _ahead(batch, starts, self.workers) if self.workers else (batch(start) for start in starts)
        try:
            for start, made in zip(starts, batches, strict=True):
                self.epoch, self.position = epoch, min(start + self.batch_size, end)
                yield made
        finally:
            batches.close()  # the threads end here, not when the collector comes by
        self.epoch, self.position = epoch + 1, 0

    def _orders(self, epoch: int) -> list[Any]:
        """For each source the order of its rows, where the source lives: one transfer an epoch, not one a batch."""
        if not self.shuffle:
            return [None] * len(self._sources)
        order = shuffled(self.length, self.seed, epoch)
        return [to_device(order, _device(source)) if hasattr(source, "shape") else order for source in self._sources]

    def _generator(self, epoch: int, start: int) -> Generator:
        """The random numbers of one batch's transform: apart from the order's, from every other batch's and from
        those of any generator that counts from 0."""
        generator = Generator(self.seed)
        generator.counter = (epoch + 1) << 192 | (start + 1) << 64
        return generator

    def state_dict(self) -> dict[str, int | bool]:
        """Where the loader stands, and the options that the order depends on; a batch handed out counts as done."""
        return {"epoch": self.epoch, "position": self.position, **self._options()}

    def load_state_dict(self, state: dict[str, int | bool]) -> None:
        """Go on with the batch after the last one handed out when `state` was taken.

        Raises: OptionError when this loader would not give the same batches.
        """
        if not isinstance(state, Mapping):
            raise OptionError(f"Loader.load_state_dict: wants what state_dict() gave, got {type(state).__name__}")
        for name, mine in self._options().items():
            if state.get(name) != mine:
                raise OptionError(
                    f"Loader.load_state_dict: the saved {name} is {state.get(name)}, this loader's is "
                    f"{mine}; make the loader with the saved one to resume in the same order"
                )
        self.epoch = _integer("Loader.load_state_dict: epoch", state.get("epoch"), 0)
        self.position = _integer("Loader.load_state_dict: position", state.get("position"), 0, self.length)
        self._resume = True

    def _options(self) -> dict[str, int | bool]:
        return {
            "length": self.length,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
        }


# the sources: arrays, dicts and tuples of them, data sets


def _structured(source: Any, who: str) -> Any:
    """The source with lists and the like made arrays: a tree of dicts and tuples over arrays and data sets."""
    if isinstance(source, dict):
        return {name: _structured(part, who) for name, part in source.items()}
    if isinstance(source, tuple) and source and all(isinstance(p, dict) or getattr(p, "shape", ()) for p in source):
        return tuple(_structured(part, who) for part in source)
    if hasattr(source, "shape"):
        return source
    if isinstance(source, (list, tuple, range, str, bytes)) or not hasattr(source, "__getitem__"):
        return _array(source, who)
    return source


def _array(values: Any, who: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as problem:
        raise ShapeError(
            f"{who}: a list whose rows differ in length is no array ({problem}); pad the rows to one length, or give "
            "an object with __len__ and __getitem__"
        ) from None


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, (dict, tuple)):
        return [leaf for part in (tree.values() if isinstance(tree, dict) else tree) for leaf in _leaves(part)]
    return [tree]


def _rebuilt(tree: Any, leaves: Iterator[Any]) -> Any:
    """The tree with these leaves in place of its own."""
    if isinstance(tree, dict):
        return {name: _rebuilt(part, leaves) for name, part in tree.items()}
    return tuple(_rebuilt(part, leaves) for part in tree) if isinstance(tree, tuple) else next(leaves)


def _length(leaves: Sequence[Any], who: str) -> int:
    shapes = [tuple(a.shape) if hasattr(a, "shape") else (len(a), "…") for a in leaves]
    if not leaves or any(len(shape) == 0 for shape in shapes):
        raise ShapeError(
            f"{who}: needs one array or more with a first axis to divide into batches, got shapes {shapes}"
        )
    if any(shape[0] != shapes[0][0] for shape in shapes):
        raise ShapeError(f"{who}: arrays must be of one length along axis 0, got shapes {shapes}")
    return int(shapes[0][0])


def _device(source: Any) -> str:
    return source.device if isinstance(source, Tensor) else device_of(source)


def _rows(source: Any, index: Any) -> Any:
    """Several rows of a source together; `index` is a slice, or numbers where the source lives."""
    if hasattr(source, "shape"):
        return source[to_device(index, _device(source)) if isinstance(index, np.ndarray) else index]
    if isinstance(source, Subset):
        return source[index]
    numbers = range(index.start, index.stop) if isinstance(index, slice) else index.tolist()
    return stacked([_item(source, i) for i in numbers])


def _item(source: Any, i: int) -> Any:
    try:
        return source[i]
    except Exception as error:
        error.add_note(f"Loader: item {i} of {type(source).__name__}")
        raise


def stacked(items: list[Any]) -> Any:
    """Items of a data set as one batch: arrays and numbers along a new first axis, tuples and dicts part by part.

    Raises: ShapeError when the items' shapes differ.
    """
    first = items[0]
    if isinstance(first, dict):
        return {name: stacked([item[name] for item in items]) for name in first}
    if isinstance(first, (tuple, list)):
        return tuple(stacked(list(parts)) for parts in zip(*items, strict=True))
    arrays = [to_numpy(item.data) if isinstance(item, Tensor) else np.asarray(item) for item in items]
    if any(a.shape != arrays[0].shape for a in arrays):
        shapes = sorted({a.shape for a in arrays})
        raise ShapeError(
            f"Loader: the items of a batch differ in shape, {shapes}; pad or crop them in the data set's __getitem__"
        )
    return np.stack(arrays)


# threads that work ahead


def _ahead(make: Callable[[int], Any], starts: Sequence[int], workers: int) -> Iteration[Any, None, None]:
    """make(start) for every start, in order, by threads that are at most two batches each ahead of the consumer."""
    jobs: queue.SimpleQueue[tuple[int, queue.SimpleQueue[tuple[bool, Any]]] | None] = queue.SimpleQueue()
    stopping = threading.Event()

    def work() -> None:
        while (job := jobs.get()) is not None:
            if stopping.is_set():
                continue
            start, answer = job
            try:
                answer.put((True, make(start)))
            except BaseException as error:
                answer.put((False, error))
            del job, answer

    # daemons, so that an item that hangs cannot keep the interpreter from ending; each in the consumer's context, so
    # that no_grad and the like hold there too
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name=f"Loader {i}")
        for i in range(min(workers, len(starts)))
    ]
    waiting: list[queue.SimpleQueue[tuple[bool, Any]]] = []
    remaining = iter(starts)

    def order_one() -> None:
        for start in remaining:
            waiting.append(queue.SimpleQueue())
            jobs.put((start, waiting[-1]))
            return

    interrupted = False
    try:
        for thread in threads:
            thread.start()
        for _ in range(2 * workers):
            order_one()
        while waiting:
            good, made = _received(waiting.pop(0))
            order_one()
            if not good:
                raise made
            yield made
            del made
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        stopping.set()
        for _ in threads:
            jobs.put(None)
        if not interrupted:  # or Ctrl-C would wait for an item that may never come
            for thread in threads:
                if thread.ident is not None:
                    thread.join(_PATIENCE)


def _received(answer: queue.SimpleQueue[tuple[bool, Any]]) -> tuple[bool, Any]:
    while True:
        try:
            return answer.get(timeout=0.5)  # not without an end: on some systems such a wait is deaf to Ctrl-C
        except queue.Empty:
            pass


def _integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """The value as an int, if it is a whole number from `low` to `high`; `name` is the function's and the option's."""
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if number < low or (high is not None and number > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise OptionError(f"{name} must be an integer {span}, got {value!r}")
    return number


def _number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """The value, if it is a finite number from `low` to `high`; `name` is the function's and the option's."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if real and math.isfinite(value) and low <= value <= high:
        return value
    span = f"from {low:g} to {high:g}" if high < math.inf else f"of {low:g} or more" if low > -math.inf else ""
    raise OptionError(f"{name} must be a finite number{' ' + span if span else ''}, got {value!r}")
