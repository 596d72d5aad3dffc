"""Averages of a model's weights over training: stochastic weight averaging, exponential moving averages."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import OptionError, ShapeError
from ..nn.module import Module
from ..nn.norm import _BatchNorm
from ..tensor import Tensor, no_grad
from .lr_scheduler import LRScheduler
from .optimizer import Optimizer

Average = Callable[[Any, Any, int], Any]  # the average so far, the new value, how many so far
MultiAverage = Callable[[Sequence[Any], Sequence[Any], int], None]  # the same for lists, in place


def get_swa_avg_fn() -> Average:
    """a ← a + (p − a)/(n + 1): all alike"""
    return lambda average, value, count: average + (value - average) / (count + 1)


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """a ← decay · a + (1 − decay) p: the late ones count most"""
    if not 0 <= decay <= 1:
        raise OptionError(f"get_ema_avg_fn: decay is a number from 0 to 1, got {decay!r}")
    return lambda average, value, count: decay * average + (1 - decay) * value


def get_swa_multi_avg_fn() -> MultiAverage:
    """`get_swa_avg_fn` for lists of averages and values, which writes into the averages"""
    return _written(get_swa_avg_fn())


def get_ema_multi_avg_fn(decay: float = 0.999) -> MultiAverage:
    """`get_ema_avg_fn` for lists of averages and values, which writes into the averages"""
    return _written(get_ema_avg_fn(decay))


def _written(of_one: Average) -> MultiAverage:
    def of_all(averages: Sequence[Any], values: Sequence[Any], count: Any) -> None:
        for average, value in zip(averages, values, strict=True):
            average.copy_(of_one(average, value, int(count)))

    return of_all


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of that model's: `update_parameters(model)` takes one more in

    `avg_fn(average, value, count)` is the mean by default; `get_ema_avg_fn` gives another. `multi_avg_fn` takes lists
    of all averages and values in its place, and writes into the averages. With use_buffers, buffers of real numbers are
    averaged too; otherwise they are the model's own at the last update, and `update_bn` makes batch norm's fit the
    average.

    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization", 2018; Polyak and
    Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device: str | None = None, avg_fn: Average | None = None,
        multi_avg_fn: MultiAverage | None = None, use_buffers: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(model, Module):
            raise OptionError(f"AveragedModel: takes a Module, not {type(model).__name__}")
        for name, given in (("avg_fn", avg_fn), ("multi_avg_fn", multi_avg_fn)):
            if given is not None and not callable(given):
                raise OptionError(f"AveragedModel: {name} is a function (average, value, count), not {given!r}")
        if avg_fn is not None and multi_avg_fn is not None:
            raise OptionError("AveragedModel: give avg_fn or multi_avg_fn, not both")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", Tensor(np.zeros((), np.int64)))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn or get_swa_avg_fn(), multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """One more set of weights; the first is taken as it is."""
        if not isinstance(model, Module):
            raise OptionError(f"AveragedModel.update_parameters: takes a Module, not {type(model).__name__}")
        mine, theirs = ([list(p.shape) for p in m.parameters()] for m in (self.module, model))
        if mine != theirs:
            raise ShapeError(
                "AveragedModel.update_parameters: the model's parameters are not those that are averaged: "
                f"of shapes {theirs}, not {mine}"
            )
        count = int(self.n_averaged.item())
        pairs: list[tuple[Tensor, Tensor]] = [*zip(self.module.parameters(), model.parameters(), strict=True)]
        fresh: list[tuple[Tensor, Tensor]] = []  # what is not averaged
        for pair in zip(self.module.buffers(), model.buffers(), strict=True):
            (pairs if self.use_buffers and pair[0].dtype.kind == "f" else fresh).append(pair)
        with no_grad():
            for kept, new in fresh if count else pairs + fresh:
                kept.copy_(_where_it_is(kept, new))
            if count and self.multi_avg_fn is not None:
                values = [_where_it_is(kept, new) for kept, new in pairs]
                self.multi_avg_fn([kept.detach() for kept, _ in pairs], values, count)
            elif count:
                for kept, new in pairs:
                    kept.copy_(self.avg_fn(kept.detach(), _where_it_is(kept, new), count))
        self.n_averaged.copy_(np.int64(count + 1))


def _where_it_is(kept: Tensor, new: Tensor) -> Tensor:
    """The new value on the device of the one that is kept."""
    value = new.detach()
    return value if value.device == kept.device else value.to(kept.device)


def update_bn(loader: Iterable[Any], model: Module, device: str | None = None) -> None:
    """Works batch norm's running estimates out anew, as the plain mean over a loader's batches

    Batches are inputs, or tuples that begin with them; they are moved to `device`, if one is given.
    """
    if not isinstance(model, Module) or not isinstance(loader, Iterable) or isinstance(loader, Tensor):
        raise OptionError(
            "update_bn: takes a loader of batches, such as a list of Tensors, and a Module, not "
            f"{type(loader).__name__} and {type(model).__name__}"
        )
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    before, training = [m.momentum for m in norms], model.training
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the plain mean
    model.train()
    try:
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (tuple, list)) else batch
                model(x if device is None else x.to(device))
    finally:
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
        if isinstance(swa_lr, bool) or not isinstance(swa_lr, (int, float)):
            raise OptionError(f"SWALR: swa_lr must be a number, got {swa_lr!r}")
        self.swa_lr, self.anneal_epochs, self.anneal_strategy = swa_lr, anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        def share(epoch: int) -> float:
            t = max(0.0, min(1.0, epoch / max(1, self.anneal_epochs))) if self.anneal_epochs else 1.0
            return (1 - math.cos(math.pi * t)) / 2 if self.anneal_strategy == "cos" else t

        now = share(self.last_epoch)
        return [base + (self.swa_lr - base) * now for base in self.base_lrs]
