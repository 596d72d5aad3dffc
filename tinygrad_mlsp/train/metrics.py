"""Measures of a model's answers, summed over minibatches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import to_device
from ..errors import OptionError, ShapeError
from ..tensor import Tensor


class Metric:
    """Sums over samples: `update` with each batch, `value` at the end, `reset` before the next pass.

    A subclass keeps its sums in `totals`, by name, so that they can be saved in the middle of a pass.
    """

    name = ""

    def __init__(self) -> None:
        self.totals: dict[str, Any] = {}
        self.reset()

    def reset(self) -> None:
        """Forgets what was seen."""
        self.totals = {"sum": 0, "samples": 0}

    def update(self, output: Any, target: Any) -> None:
        """Takes in the outputs and targets of a batch."""
        found, samples = self.measure(_host(output), _host(target))
        self.totals["sum"] += found
        self.totals["samples"] += samples

    def measure(self, output: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> tuple[Any, int]:
        """What a batch adds to the sum, and to the number of samples."""
        raise NotImplementedError

    def value(self) -> Any:
        """The mean over all samples; NaN if there were none."""
        return self.totals["sum"] / self.totals["samples"] if self.totals["samples"] else math.nan

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in self.totals.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on with these sums."""
        self.totals = dict(state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}={self.value()})"


def _host(values: Any) -> np.ndarray[Any, Any]:
    return np.asarray(to_device(values._array if isinstance(values, Tensor) else values, "cpu"))


def _classes(name: str, output: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> None:
    if output.ndim != target.ndim + 1 or output.shape[:1] + output.shape[2:] != target.shape:
        raise ShapeError(
            f"{name}: outputs are [n, classes, …] and targets [n, …], got {list(output.shape)} and {list(target.shape)}"
        )


class Accuracy(Metric):
    """The share of answers whose largest output is at the target's class.

    Shapes: output [n, classes, …], target [n, …].
    """

    name = "accuracy"

    def measure(self, output: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> tuple[int, int]:
        _classes("Accuracy", output, target)
        return int((output.argmax(axis=1) == target).sum()), target.size


class TopK(Metric):
    """The share of answers with the target's class among the k largest outputs; of equal outputs the first count.

    Shapes: output [n, classes, …], target [n, …].
    """

    def __init__(self, k: int = 5) -> None:
        if not isinstance(k, int) or k < 1:
            raise OptionError(f"TopK: k must be a whole number of 1 or more, got {k!r}")
        self.k, self.name = k, f"top{k}"
        super().__init__()

    def measure(self, output: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> tuple[int, int]:
        _classes("TopK", output, target)
        at = np.expand_dims(target, 1).astype(np.int64)
        own = np.take_along_axis(output, at, 1)
        classes = np.arange(output.shape[1]).reshape(1, -1, *[1] * (target.ndim - 1))
        before = (output > own) | ((output == own) & (classes < at))
        return int(((before.sum(axis=1) < self.k) & ~np.isnan(own[:, 0])).sum()), target.size


class RMSE(Metric):
    """√ mean (output − target)², in the target's unit"""

    name = "rmse"

    def measure(self, output: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> tuple[float, int]:
        if output.shape != target.shape:
            raise ShapeError(f"RMSE: output and target have one shape, got {list(output.shape)}, {list(target.shape)}")
        return float(((output.astype(np.float64) - target) ** 2).sum()), target.size

    def value(self) -> float:
        return math.sqrt(super().value())


class Confusion(Metric):
    """The matrix whose entry [i, j] counts the samples of class i that were taken for class j

    Shapes: output [n, classes, …], target [n, …].
    """

    name = "confusion"

    def __init__(self, classes: int) -> None:
        if not isinstance(classes, int) or classes < 1:
            raise OptionError(f"Confusion: classes must be a whole number of 1 or more, got {classes!r}")
        self.classes = classes
        super().__init__()

    def reset(self) -> None:
        self.totals = {"sum": np.zeros((self.classes, self.classes), np.int64), "samples": 0}

    def measure(self, output: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> tuple[Any, int]:
        _classes("Confusion", output, target)
        if output.shape[1] != self.classes or (target.size and not 0 <= target.min() <= target.max() < self.classes):
            raise ShapeError(f"Confusion: made for {self.classes} classes, got {output.shape[1]} outputs and targets "
                             f"from {target.min()} to {target.max()}")  # fmt: skip
        pairs = target.reshape(-1).astype(np.int64) * self.classes + output.argmax(axis=1).reshape(-1)
        return np.bincount(pairs, minlength=self.classes**2).reshape(self.classes, -1), target.size

    def value(self) -> np.ndarray[Any, Any]:
        return self.totals["sum"].copy()
