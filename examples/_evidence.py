"""What the evidence scripts share: their options, MNIST, the table, the verdict and the picture."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_mlsp import data, nn, no_grad, optim, train
from tinygrad_mlsp.tensor import Tensor


def options(doc: str, seeds: int = 1, **more: Any) -> argparse.Namespace:
    """The command line: where MNIST is, where the picture goes, how many seeds, and a quick look."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with MNIST's four files (else TINYGRAD_MLSP_DATA, else downloaded)")
    parser.add_argument("--out", default=".", help="folder for the picture")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs; no verdict")
    for name, default in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


def mnist(args: argparse.Namespace, n: int, shape: tuple[int, ...] = (784,)) -> tuple[Any, Any, Any, Any]:
    """The first n training images, and the test images, as arrays of this shape in [0, 1]."""
    digits = data.mnist(args.data)
    n, tests = (n // 10, 1000) if args.quick else (n, len(digits.test_x))
    x, test_x = (a.reshape(-1, *shape) for a in (digits.train_x[:n], digits.test_x[:tests]))
    return x, digits.train_y[:n], test_x, digits.test_y[:tests]


def trained(
    model: nn.Module, x: Any, y: Any, epochs: int, optimizer: optim.Optimizer, batch: int = 128, seed: int = 0,
    after: Callable[[Any], Any] | None = None, clip: float | None = None, cosine: bool = False,
    loss: Callable[[Any, Any], Any] = nn.functional.cross_entropy, transform: Any = None,
) -> Any:  # fmt: skip
    """Trains, with a rate that falls along a cosine if asked; returns the history. A loss not finite ends it."""
    falling = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs) if cosine else None
    return train.fit(
        model, loss, optimizer, data.Loader(x, y, batch_size=batch, seed=seed, transform=transform), epochs=epochs,
        evaluate=after, clip_norm=clip, progress=sys.stderr.isatty(),
        callbacks=[lambda state: falling.step()] if falling else [],
    )  # fmt: skip


def decayed(
    model: nn.Module, x: Any, y: Any, epochs: int, optimizer: optim.Optimizer, decay: float, seed: int = 0, **how: Any
) -> Iterator[int]:
    """Trains epoch by epoch, with a rate that falls by the factor `decay` after each; yields the epoch's number."""
    for epoch in range(epochs):
        trained(model, x, y, 1, optimizer, seed=1000 * seed + epoch, **how)
        yield epoch
        for group in optimizer.param_groups:
            group["lr"] *= decay


def loss_of(model: nn.Module, x: Any, y: Any, batch: int = 1000) -> float:
    """The mean cross-entropy, in evaluation mode."""
    model.eval()
    with no_grad():
        parts = [
            nn.functional.cross_entropy(model(Tensor(x[i : i + batch])), y[i : i + batch], reduction="sum").item()
            for i in range(0, len(x), batch)
        ]
    model.train()
    return float(np.sum(parts)) / len(x)


def errors(model: nn.Module, x: Any, y: Any) -> float:
    """The share of wrong answers, in per cent."""
    return 100 * (1 - train.accuracy(model, x, y))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints columns, numbers with four digits."""
    text = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*text, strict=True)]
    for row in text:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def verdict(args: argparse.Namespace, claims: dict[str, bool], started: float) -> None:
    """Prints each claim with its verdict; leaves with 1 if one does not hold."""
    print()
    for claim, holds in claims.items():
        print(f"{'not judged' if args.quick else 'HOLDS' if holds else 'DOES NOT HOLD':13}  {claim}")
    print(f"({time.perf_counter() - started:.0f} s)")
    sys.exit(0 if args.quick or all(claims.values()) else 1)


def picture(
    args: argparse.Namespace, name: str, draw: Callable[[Any], None], size: tuple[float, float] = (7, 4)
) -> None:
    """A figure drawn by `draw(figure)`, as name.png in the folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    path = Path(args.out) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print("drawn:", path)
