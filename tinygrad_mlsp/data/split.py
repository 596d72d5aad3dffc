"""Parts of data: to train on and to test on, in folds, in another order; by a seed, with classes in proportion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import to_numpy
from ..errors import OptionError, ShapeError
from ..tensor import Tensor
from .loader import Subset, _array, _integer, _leaves, _length, _number, _rebuilt, _rows, _structured, shuffled

Indices = NDArray[np.int64]


def shuffle(*arrays: Any, seed: int = 0) -> Any:
    """The arrays' rows in a new order, the same for all: a tuple of them, or the one."""
    n = _length([leaf for a in arrays for leaf in _leaves(_structured(a, "shuffle"))], "shuffle")
    seed = _seed("shuffle", seed)
    taken = tuple(_taken(a, shuffled(n, seed)) for a in arrays)
    return taken[0] if len(taken) == 1 else taken


def train_test_split(
    *arrays: Any, test_size: float | int = 0.25, stratify: Any = None, seed: int = 0, shuffle: bool = True
) -> tuple[Any, ...]:
    """Each array's rows in two parts: `x_train, x_test, y_train, y_test = train_test_split(x, y)`.

    `test_size` is a share below 1, rounded up, or a number of rows. With `stratify`, a class number a row, each class
    has in both parts the share that it has in the whole, to within a row. With shuffle=False the last rows are for
    testing, and the parts are views.
    Raises: OptionError when a part would be empty or a class has fewer than two rows; ShapeError for unequal lengths.
    """
    leaves = [leaf for a in arrays for leaf in _leaves(_structured(a, "train_test_split"))]
    n, seed = _length(leaves, "train_test_split"), _seed("train_test_split", seed)
    share = isinstance(test_size, (float, np.floating))
    if share:
        rows = int(np.ceil(n * _number("train_test_split: test_size", test_size) - 1e-9))
    else:
        rows = _integer("train_test_split: test_size", test_size, 1)
    if not 0 < rows < n:
        raise OptionError(f"train_test_split: {test_size=} leaves one part of {n} rows empty; take a share in (0, 1)")
    if not shuffle:
        if stratify is not None:
            raise OptionError("train_test_split: classes are kept in proportion by drawing; stratify needs shuffle")
        train: Any = slice(0, n - rows)
        test: Any = slice(n - rows, n)
    else:
        order = shuffled(n, seed) if stratify is None else _mixed(_labels(stratify, n), seed, "train_test_split")
        if stratify is None:
            train, test = order[rows:], order[:rows]
        else:
            test, train = _proportional(order, _labels(stratify, n), rows)
    return tuple(_taken(a, index) for a in arrays for index in (train, test))


def random_split(dataset: Any, lengths: Sequence[float], seed: int = 0) -> list[Subset]:
    """The data set, or tuple of arrays, in disjoint random parts of these lengths or shares; nothing is copied.

    Shares that add up to 1 are rounded down, and rows left over go to the first parts, one each.
    """
    n, seed = _length(_leaves(_structured(dataset, "random_split")), "random_split"), _seed("random_split", seed)
    if not isinstance(lengths, (Sequence, np.ndarray)) or isinstance(lengths, str):
        raise OptionError(f"random_split: lengths is a list of numbers of rows or of shares, got {lengths!r}")
    lengths = [_number("random_split: a length", length, 0) for length in lengths]
    if lengths and abs(sum(lengths) - 1) < 1e-9 and n != 1:
        sizes = [int(n * share + 1e-9) for share in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
    else:
        sizes = [_integer("random_split: a length", length, 0) for length in lengths]
    if sum(sizes) != n:
        raise OptionError(f"random_split: lengths add up to the data's, {n}, or shares to 1; got {list(lengths)}")
    return [Subset(dataset, part) for part in np.split(shuffled(n, seed), np.cumsum(sizes)[:-1])]


def k_fold(data: Any, k: int = 5, stratify: Any = None, seed: int = 0) -> Iterator[tuple[Indices, Indices]]:
    """k pairs (rows to train on, rows to test on); each row is for testing once, and folds differ by a row at most.

    `data` is a number of rows, or anything with a length. With `stratify`, a class number a row, each class is spread
    evenly over the folds, to within a row. Both indices are in ascending order; for views of the data without copies
    see `Subset`.
    Raises: OptionError for fewer rows than folds, or a class with fewer rows than folds.
    """
    if not isinstance(data, (int, np.integer)) and not hasattr(data, "__len__"):
        raise OptionError(f"k_fold: the data is a number of rows or has a length, got {data!r}")
    n = _integer("k_fold: the number of rows", data, 1) if isinstance(data, (int, np.integer)) else len(data)
    k, seed = _integer("k_fold: k", k, 2, n), _seed("k_fold", seed)
    if stratify is None:
        order = shuffled(n, seed)
    else:
        labels = _labels(stratify, n)
        order = _mixed(labels, seed, "k_fold", k)
        order = order[np.argsort(labels[order], kind="stable")]  # dealt out like cards, a class after the other
    fold = np.empty(n, np.int64)
    fold[order] = np.arange(n) % k
    return ((np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k))


def _seed(who: str, seed: Any) -> int:
    return _integer(f"{who}: seed", seed, 0, 2**64 - 1)


def _labels(stratify: Any, n: int) -> NDArray[np.int64]:
    given = stratify.data if isinstance(stratify, Tensor) else stratify
    labels = to_numpy(given if hasattr(given, "shape") else _array(given, "stratify"))
    if labels.shape != (n,):
        raise ShapeError(f"stratify: one class a row, shape [{n}], got {list(labels.shape)}")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _mixed(labels: NDArray[np.int64], seed: int, who: str, least: int = 2) -> Indices:
    counts = np.bincount(labels)
    if counts.min() < least:
        raise OptionError(
            f"{who}: a class has {counts.min()} rows, and {least} are needed to have it in every part; "
            "leave it out, or do without stratify"
        )
    return shuffled(len(labels), seed)


def _proportional(order: Indices, labels: NDArray[np.int64], rows: int) -> tuple[Indices, Indices]:
    """`rows` of the order with each class in proportion (the largest remainders are rounded up), and the others."""
    exact = np.bincount(labels) * (rows / len(labels))
    counts = np.floor(exact + 1e-9).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: rows - counts.sum()]] += 1
    ordered = labels[order]
    seen = np.empty(len(order), np.int64)  # how many of its class come before each
    for c in range(len(counts)):
        mine = ordered == c
        seen[mine] = np.arange(mine.sum())
    chosen = seen < counts[ordered]
    return order[chosen], order[~chosen]


def _taken(source: Any, index: Any) -> Any:
    tree = _structured(source, "split")
    if isinstance(tree, (dict, tuple)) or hasattr(tree, "shape"):
        return _rebuilt(tree, (_rows(leaf, index) for leaf in _leaves(tree)))
    return Subset(source, np.arange(len(source))[index])
