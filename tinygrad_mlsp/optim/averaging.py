"""Averages of a model's weights over training: stochastic weight averaging, exponential moving averages."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import OptionError
from ..nn.module import Module
from ..nn.norm import _BatchNorm
from ..tensor import Tensor, no_grad
from .lr_scheduler import LRScheduler
from .optimizer import Optimizer

Average = Callable[[Any, Any, int], Any]  # the average so far, the new value, how many so far


def get_swa_avg_fn() -> Average:
    """a ← a + (p − a)/(n + 1): all alike"""
    return lambda average, value, count: average + (value - average) / (count + 1)


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """a ← decay · a + (1 − decay) p: the late ones count most"""
    if not 0 <= decay <= 1:
        raise OptionError(f"get_ema_avg_fn: decay is a number from 0 to 1, got {decay!r}")
    return lambda average, value, count: decay * average + (1 - decay) * value


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of that model's: `update_parameters(model)` takes one more in

    `avg_fn(average, value, count)` is the mean by default; `get_ema_avg_fn` gives another. With use_buffers, buffers of
    real numbers are averaged too; otherwise they are the model's own at the last update, and `update_bn` makes
    batch norm's fit the average.

    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018; Polyak and
    Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device: str | None = None, avg_fn: Average | None = None, use_buffers: bool = False
    ) -> None:
        super().__init__()
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", Tensor(np.zeros((), np.int64)))
        self.avg_fn, self.use_buffers = avg_fn or get_swa_avg_fn(), use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """One more set of weights; the first is taken as it is."""
        count = int(self.n_averaged.item())
        with no_grad():
            for mine, theirs in zip(self.module.parameters(), model.parameters(), strict=True):
                self._take(mine, theirs, count)
            for held, new in zip(self.module.buffers(), model.buffers(), strict=True):
                self._take(held, new, count if self.use_buffers and held.dtype.kind == "f" else 0)
        self.n_averaged.copy_(np.int64(count + 1))

    def _take(self, mine: Tensor, theirs: Tensor, count: int) -> None:
        value = theirs.detach()
        value = value if value.device == mine.device else value.to(mine.device)
        new = self.avg_fn(mine.detach(), value, count) if count else value
        mine.copy_(new)


def update_bn(loader: Iterable[Any], model: Module) -> None:
    """Works batch norm's running estimates out anew, as the plain mean over a loader's batches

    Batches are inputs, or tuples that begin with them.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    before, training = [m.momentum for m in norms], model.training
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the plain mean
    model.train()
    with no_grad():
        for batch in loader:
            model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    for m, momentum in zip(norms, before, strict=True):
        m.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """lr goes to swa_lr in anneal_epochs epochs, along a cosine or a line, and stays"""

    def __init__(
        self, optimizer: Optimizer, swa_lr: float, anneal_epochs: int = 10, anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(f"SWALR: anneal_strategy is 'cos' or 'linear', got {anneal_strategy!r}")
        if isinstance(anneal_epochs, bool) or not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise OptionError(f"SWALR: anneal_epochs is a whole number of 0 or more, got {anneal_epochs!r}")
        self.swa_lr, self.anneal_epochs, self.anneal_strategy = swa_lr, anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        def share(epoch: int) -> float:
            t = max(0.0, min(1.0, epoch / max(1, self.anneal_epochs))) if self.anneal_epochs else 1.0
            return (1 - math.cos(math.pi * t)) / 2 if self.anneal_strategy == "cos" else t

        now = share(self.last_epoch)
        return [base + (self.swa_lr - base) * now for base in self.base_lrs]
