"""What is measured: each workload states its sizes, data and first parameters as plain NumPy arrays.

A peer (a module of `peers`) turns a problem into `step`, a function without arguments that does one whole
step and returns what all peers must agree on: the loss, and gradients where nothing is updated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np


def normal(seed: int, *shape: int, scale: float = 1.0) -> Any:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def layers(sizes: tuple[int, ...], gain: float) -> list[Any]:
    """W₁, b₁, W₂, b₂, …, with W of shape [outputs, inputs]."""
    arrays = []
    for i, (n, m) in enumerate(pairwise(sizes)):
        arrays += [normal(i, m, n, scale=(gain / n) ** 0.5), normal(99 + i, m, scale=0.01)]
    return arrays


def chain(operations: int = 200, numbers: int = 32) -> SimpleNamespace:
    """x ← tanh(x w + b), as `operations` single operations; w and b are leaves."""
    w, b = 1 + normal(1, numbers, scale=0.1), normal(2, numbers, scale=0.1)
    return SimpleNamespace(operations=operations, x=normal(0, numbers), w=w, b=b)


def mlp(
    sizes: tuple[int, ...] = (784, 128, 64, 10), batch: int = 32, optimizer: str = "adam", rate: float = 1e-3
) -> SimpleNamespace:
    """Linear layers with ReLU between them, cross-entropy, and one step of an optimizer (or none)."""
    labels = np.random.default_rng(5).integers(0, sizes[-1], batch)
    x = np.abs(normal(4, batch, sizes[0], scale=0.5))
    return SimpleNamespace(sizes=sizes, x=x, labels=labels, parameters=layers(sizes, 2), optimizer=optimizer, rate=rate)


def deep(depth: int = 100, width: int = 64, batch: int = 64) -> SimpleNamespace:
    """`depth` layers tanh(W x + b), mean squared error, and plain gradient descent."""
    sizes = (width,) * (depth + 1)
    x, y = normal(6, batch, width), normal(7, batch, width, scale=0.5)
    return SimpleNamespace(depth=depth, x=x, y=y, parameters=layers(sizes, 1), rate=0.01)


def lstm(steps: int = 100, batch: int = 32, inputs: int = 128, hidden: int = 128) -> SimpleNamespace:
    """A cell applied step by step, or a layer, mean squared error at the last step, and plain gradient descent.
    Gates are stacked in PyTorch's order: input, forget, cell, output."""
    scale = hidden**-0.5
    parameters = [normal(i, 4 * hidden, n, scale=scale) for i, n in enumerate((inputs, hidden))]
    parameters += [normal(i, 4 * hidden, scale=scale) for i in (2, 3)]
    x, y = normal(8, steps, batch, inputs), normal(9, batch, hidden, scale=0.5)
    return SimpleNamespace(x=x, y=y, parameters=parameters, hidden=hidden, rate=0.01)


def lenet(batch: int = 64, size: int = 28, rate: float = 0.01) -> SimpleNamespace:
    """5 × 5 convolutions to 6 and 16 channels, the first with a border of 2, ReLU and 2 × 2 max-pooling after each;
    layers of 120, 84 and 10; cross-entropy and plain gradient descent."""
    inside = 16 * (((size // 2) - 4) // 2) ** 2
    parameters = [normal(1, 6, 1, 5, 5, scale=0.25), normal(2, 6, scale=0.01)]
    parameters += [normal(3, 16, 6, 5, 5, scale=0.1), normal(4, 16, scale=0.01), *layers((inside, 120, 84, 10), 2)]
    labels = np.random.default_rng(10).integers(0, 10, batch)
    return SimpleNamespace(x=normal(11, batch, 1, size, size), labels=labels, parameters=parameters, rate=rate)


def update(sizes: tuple[int, ...] = (784, 128, 64, 10), rate: float = 1e-3) -> SimpleNamespace:
    """One step of Adam alone on a net's parameters, with given gradients."""
    parameters = layers(sizes, 2)
    gradients = [normal(50 + i, *a.shape) for i, a in enumerate(parameters)]
    return SimpleNamespace(parameters=parameters, gradients=gradients, rate=rate, optimizer="adam")


def additions(count: int = 1_000_000) -> SimpleNamespace:
    """y ← y + 1 from a leaf of one number, `count` times, backward, and the graph let go."""
    return SimpleNamespace(count=count, x=np.ones(1, np.float32), one=np.ones(1, np.float32))


def contrastive(visible: int = 784, hidden: int = 500, batch: int = 100, rate: float = 1e-4) -> SimpleNamespace:
    """One update of a binary RBM by contrastive divergence: v, then h, v and h again, the first two drawn. Each peer
    draws numbers of its own, so the rate is so small that the weights must agree all the same."""
    x = (np.random.default_rng(12).random((batch, visible)) < 0.2).astype(np.float32)
    return SimpleNamespace(x=x, weight=normal(13, visible, hidden, scale=0.01), rate=rate)


@dataclass
class Workload:
    name: str
    title: str
    build: str  # the name of the peers' function
    problem: Callable[..., SimpleNamespace]
    sizes: dict[str, Any] = field(default_factory=dict)
    small: dict[str, Any] = field(default_factory=dict)  # the sizes in miniature, for the test
    target: dict[str, float] = field(default_factory=dict)  # quantity: the ratio to PyTorch aimed at
    beside: dict[str, float] = field(default_factory=dict)  # other peer: the ratio of the times aimed at
    isolated: bool = False  # each measurement in a process of its own, with its peak memory


WORKLOADS = [
    Workload("W1", "chain of 200 operations on 32 numbers", "chain", chain, {}, {"operations": 8}, {"time": 0.55}),
    Workload("W2", "784-128-64-10, batch 32, Adam", "mlp", mlp, {}, {"sizes": (6, 5, 4, 3), "batch": 4}, {"time": 0.6}),
    Workload(
        "W3", "784-1024-1024-10, batch 128, SGD with momentum", "mlp", mlp,
        {"sizes": (784, 1024, 1024, 10), "batch": 128, "optimizer": "momentum", "rate": 0.01},
        {"sizes": (6, 5, 4, 3), "batch": 4, "optimizer": "momentum", "rate": 0.1}, {"time": 0.85},
    ),
    Workload(
        "W4", "100 tanh layers of width 64, batch 64, SGD", "deep", deep, {},
        {"depth": 3, "width": 4, "batch": 5}, {"time": 0.5},
    ),
    Workload(
        "W4w", "the same while viz.watch records every step", "deep_watched", deep, {},
        {"depth": 3, "width": 4, "batch": 5},
    ),
    Workload(
        "W5", "LSTM step by step, T = 100, 128 inputs, 128 hidden, batch 32, SGD", "lstm", lstm, {},
        {"steps": 3, "batch": 2, "inputs": 3, "hidden": 4}, {"time": 0.95},
    ),
    Workload(
        "W5b", "LSTM as a layer, T = 100, 128 inputs, 128 hidden, batch 32, SGD", "lstm_layer", lstm, {},
        {"steps": 3, "batch": 2, "inputs": 3, "hidden": 4}, {"time": 1.7},
    ),
    Workload(
        "W6", "LeNet, batch 64, SGD", "lenet", lenet, {}, {"batch": 3, "size": 12}, {"time": 0.9},
    ),
    Workload(
        "W8", "chain of 1,000,000 additions: forward, backward, free", "additions", additions, {}, {"count": 50},
        {"time": 0.5, "memory": 0.5}, isolated=True,
    ),
    Workload(
        "W10", "8 layers, 1,024 wide, 10 classes, batch 4,096: forward and backward", "mlp", mlp,
        {"sizes": (1024,) * 8 + (10,), "batch": 4096, "optimizer": ""},
        {"sizes": (4,) * 4, "batch": 5, "optimizer": ""}, {"memory": 0.6}, isolated=True,
    ),
    Workload("W11", "a step of Adam on 109,386 parameters", "update", update, {}, {"sizes": (6, 5, 4)}, {"time": 0.5}),
    Workload(
        "W12", "CD-1 of an RBM of 784 × 500, batch 100", "contrastive", contrastive, {},
        {"visible": 6, "hidden": 4, "batch": 5}, {"time": 1.3}, {"scikit-learn": 0.5},
    ),
]  # fmt: skip
