"""Learning rates that change from epoch to epoch (or step to step), with PyTorch's names, arguments and values.

A schedule is made of an optimizer, sets its groups' "lr" at once, and again at each `step()`, which comes after the
optimizer's. Most work from the present rate, as PyTorch's do, so that several can act on one optimizer.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import Error, OptionError
from .optimizer import Optimizer


class LRScheduler:
    """What all schedules share: `get_lr()` gives the rates at `last_epoch`, one a group."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        _check_optimizer(name, optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise OptionError(
                    f"{name}: group {i} has no initial_lr to go on from; load the optimizer's state first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def get_lr(self) -> list[float]:
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The rates that are set now."""
        return self._last_lr

    def step(self) -> None:
        """The next epoch's rates."""
        self.last_epoch += 1
        self._set(self.get_lr())

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[float]:
        return [rate * factor for rate in self._rates()]

    def state_dict(self) -> dict[str, Any]:
        """All there is to know but the optimizer and functions, which are not saved."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer" and not callable(v)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        if not isinstance(state_dict, Mapping) or set(state_dict) != set(self.state_dict()):
            got = sorted(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__
            raise OptionError(
                f"{type(self).__name__}.load_state_dict: wants what state_dict() of the same schedule gives, "
                f"{sorted(self.state_dict())}, got {got}"
            )
        self.__dict__.update(state_dict)


def _check_optimizer(name: str, optimizer: Any) -> None:
    if not isinstance(optimizer, Optimizer):
        raise OptionError(f"{name}: takes an optimizer, not {type(optimizer).__name__}")


def _number(name: str, option: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise OptionError(f"{name}: {option} must be a number, got {value!r}")
    return value


def _whole(name: str, option: str, value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name}: {option} must be a whole number of {least} or more, got {value!r}")
    return value


def _one_each(name: str, option: str, value: Any, optimizer: Optimizer) -> list[Any]:
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * groups
    if len(value) != groups:
        raise OptionError(f"{name}: {option} has {len(value)} entries for {groups} groups")
    return list(value)


class LambdaLR(LRScheduler):
    """lr = initial · f(epoch), with one function f for all groups or a list of one for each"""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        name = type(self).__name__
        _check_optimizer(name, optimizer)
        self.lr_lambdas = _one_each(name, "lr_lambda", lr_lambda, optimizer)
        if not all(callable(f) for f in self.lr_lambdas):
            raise OptionError(
                f"{name}: lr_lambda is a function of the epoch, or a list of one a group, not {lr_lambda!r}"
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [base * f(self.last_epoch) for f, base in zip(self.lr_lambdas, self.base_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in super().state_dict().items() if k != "lr_lambdas"}


class MultiplicativeLR(LambdaLR):
    """lr ← lr · f(epoch)"""

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._rates()
        return [rate * f(self.last_epoch) for f, rate in zip(self.lr_lambdas, self._rates(), strict=True)]


class StepLR(LRScheduler):
    """lr ← γ lr every `step_size` epochs"""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = _whole("StepLR", "step_size", step_size), _number("StepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        due = self.last_epoch and self.last_epoch % self.step_size == 0
        return self._scaled(self.gamma) if due else self._rates()


class MultiStepLR(LRScheduler):
    """lr ← γ lr at each of the epochs `milestones`"""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        try:
            self.milestones = sorted([_whole("MultiStepLR", "a milestone", m, 0) for m in milestones])
        except TypeError:
            raise OptionError(f"MultiStepLR: milestones are a list of epochs, not {milestones!r}") from None
        self.gamma = _number("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        times = self.milestones.count(self.last_epoch)
        return self._scaled(self.gamma**times) if times else self._rates()


class ExponentialLR(LRScheduler):
    """lr ← γ lr each epoch"""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = _number("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._scaled(self.gamma) if self.last_epoch else self._rates()


class ConstantLR(LRScheduler):
    """lr = factor · initial for the first `total_iters` epochs, and the initial rate from then on"""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 <= factor <= 1:
            raise OptionError(f"ConstantLR: factor is a number from 0 to 1, got {factor!r}")
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.factor)
        return self._scaled(1 / self.factor) if self.last_epoch == self.total_iters else self._rates()


class LinearLR(LRScheduler):
    """lr = initial · (start_factor + (end_factor − start_factor) · epoch/total_iters), a warm-up"""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not (0 < start_factor <= 1 and 0 <= end_factor <= 1):
            raise OptionError(
                f"LinearLR: start_factor and end_factor are from 0 to 1, the first above 0; "
                f"got {start_factor!r}, {end_factor!r}"
            )
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = _whole("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.start_factor)
        if self.last_epoch > self.total_iters:
            return self._rates()
        slope = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * slope
        return self._scaled(1 + slope / before)


class PolynomialLR(LRScheduler):
    """lr = initial · (1 − epoch/total_iters)^power, and 0 from there on"""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters, self.power = _whole("PolynomialLR", "total_iters", total_iters), power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch > self.total_iters:
            return self._rates()
        left, before = (1 - at / self.total_iters for at in (self.last_epoch, self.last_epoch - 1))
        return self._scaled((left / before) ** self.power)


class CosineAnnealingLR(LRScheduler):
    """lr = η + ½(initial − η)(1 + cos(π epoch/T)) with T = T_max, η = eta_min

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = _whole("CosineAnnealingLR", "T_max", T_max), eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        t, T, low = self.last_epoch, self.T_max, self.eta_min
        if t == 0:
            return self._rates()
        if (t - 1 - T) % (2 * T) == 0:  # from the lowest point on, where the quotient below is 0/0
            return [
                rate + (base - low) * (1 - math.cos(math.pi / T)) / 2
                for base, rate in zip(self.base_lrs, self._rates(), strict=True)
            ]
        ratio = (1 + math.cos(math.pi * t / T)) / (1 + math.cos(math.pi * (t - 1) / T))
        return [ratio * (rate - low) + low for rate in self._rates()]


class CosineAnnealingWarmRestarts(LRScheduler):
    """lr = η + ½(initial − η)(1 + cos(π t/T)), t from 0 again after T epochs: T_0 at first, then T_mult as many

    `step(epoch)` takes fractions of an epoch too. Source: Loshchilov and Hutter, 2017.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_0 = self.T_i = _whole("CosineAnnealingWarmRestarts", "T_0", T_0)
        self.T_mult = _whole("CosineAnnealingWarmRestarts", "T_mult", T_mult)
        self.eta_min, self.T_cur = eta_min, float(last_epoch)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        at = float(self.last_epoch + 1 if epoch is None else epoch)
        if at < 0:
            raise OptionError(f"CosineAnnealingWarmRestarts: epoch must not be negative, got {epoch!r}")
        self.last_epoch, self.T_cur, self.T_i = math.floor(at), at, self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur -= self.T_i
            self.T_i *= self.T_mult
            if self.T_mult == 1:
                self.T_cur %= self.T_i
        self._set(self.get_lr())


class OneCycleLR(LRScheduler):
    """One rise from max_lr/div_factor to max_lr and one fall to 1/final_div_factor of the start; momentum inversely

    Called after every batch. Momentum (or β₁) falls from max_momentum to base_momentum while the rate rises.

    Source: Smith and Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018.
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: float | Sequence[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85, max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        name = "OneCycleLR"
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise OptionError(f"{name}: wants total_steps, or epochs and steps_per_epoch")
            total_steps = _whole(name, "epochs", epochs) * _whole(name, "steps_per_epoch", steps_per_epoch)
        self.total_steps = _whole(name, "total_steps", total_steps)
        if not 0 <= pct_start <= 1:
            raise OptionError(f"{name}: pct_start is a number from 0 to 1, got {pct_start!r}")
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(f"{name}: anneal_strategy is 'cos' or 'linear', got {anneal_strategy!r}")
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, cycle_momentum
        up = float(pct_start * self.total_steps) - 1
        last = self.total_steps - 1.0
        down = 2 * pct_start * self.total_steps - 2 if three_phase else last
        self.phases = [(up, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
        if three_phase:
            self.phases += [(float(down), "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                            (last, "initial_lr", "min_lr", "max_momentum", "max_momentum")]  # fmt: skip
        else:
            self.phases += [(last, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        if isinstance(optimizer, Optimizer) and last_epoch == -1:
            if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
                raise OptionError(f"{name}: the optimizer has no momentum to cycle; pass cycle_momentum=False")
            many = [_one_each(name, option, value, optimizer) for option, value in
                    (("max_lr", max_lr), ("base_momentum", base_momentum), ("max_momentum", max_momentum))]  # fmt: skip
            for group, top, low, high in zip(optimizer.param_groups, *many, strict=True):
                group.update(initial_lr=top / div_factor, max_lr=top, min_lr=top / div_factor / final_div_factor)
                if cycle_momentum:
                    group.update(base_momentum=low, max_momentum=high)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise OptionError(f"OneCycleLR: step {step} of a cycle of {self.total_steps}")
        start = 0.0
        for phase in self.phases:
            if step <= phase[0] or phase is self.phases[-1]:
                break
            start = phase[0]
        end, rate_from, rate_to, momentum_from, momentum_to = phase
        share = (step - start) / (end - start)

        def between(a: float, b: float) -> float:
            return (
                b + (a - b) / 2 * (math.cos(math.pi * share) + 1)
                if self.anneal_strategy == "cos"
                else ((b - a) * share + a)
            )

        for group in self.optimizer.param_groups if self.cycle_momentum else []:
            value = between(group[momentum_from], group[momentum_to])
            group.update({"betas": (value, *group["betas"][1:])} if "betas" in group else {"momentum": value})
        return [between(group[rate_from], group[rate_to]) for group in self.optimizer.param_groups]


class CyclicLR(LRScheduler):
    """lr between base_lr and max_lr, up in step_size_up steps and down in step_size_down; momentum inversely

    Called after every batch. mode: 'triangular'; 'triangular2', half as high each cycle; 'exp_range', γ^step as high.
    `scale_fn` takes their place: a height for each cycle, 1, 2, …, or (scale_mode 'iterations') for each step. Momentum
    (or β₁) falls from max_momentum to base_momentum while the rate rises.

    Source: Smith, "Cyclical learning rates for training neural networks", 2017.
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: float | Sequence[float], max_lr: float | Sequence[float],
        step_size_up: int = 2000, step_size_down: int | None = None, mode: str = "triangular", gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle", cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8, max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        name = "CyclicLR"
        _check_optimizer(name, optimizer)
        low, high, base, most = (
            _one_each(name, option, value, optimizer)
            for option, value in (("base_lr", base_lr), ("max_lr", max_lr), ("base_momentum", base_momentum),
                                  ("max_momentum", max_momentum))
        )  # fmt: skip
        up = _whole(name, "step_size_up", step_size_up)
        down = up if step_size_down is None else _whole(name, "step_size_down", step_size_down, 0)
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise OptionError(f"{name}: mode is 'triangular', 'triangular2' or 'exp_range', not {mode!r}")
        if scale_mode not in ("cycle", "iterations") or not (scale_fn is None or callable(scale_fn)):
            raise OptionError(
                f"{name}: scale_mode is 'cycle' or 'iterations' and scale_fn a function, not {scale_mode!r} and "
                f"{scale_fn!r}"
            )
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise OptionError(f"{name}: the optimizer has no momentum to cycle; pass cycle_momentum=False")
        self.max_lrs, self.total_size, self.step_ratio = high, float(up + down), up / (up + down)
        self.mode, self.gamma, self.cycle_momentum = mode, _number(name, "gamma", gamma), cycle_momentum
        self.own_scale = scale_fn
        self.scale_mode = scale_mode if scale_fn is not None else "iterations" if mode == "exp_range" else "cycle"
        self.base_momentums, self.max_momentums = base, most
        if last_epoch == -1:
            for group, lr, lowest, highest in zip(optimizer.param_groups, low, base, most, strict=True):
                group["lr"] = lr
                if cycle_momentum:
                    group.update(base_momentum=lowest, max_momentum=highest)
        self._low = low
        super().__init__(optimizer, last_epoch)
        self.base_lrs = low

    def scale_fn(self, x: float) -> float:
        """The height of a cycle, as a share of the whole."""
        if self.own_scale is not None:
            return self.own_scale(x)
        return {"triangular": 1.0, "triangular2": 2.0 ** (1 - x), "exp_range": self.gamma**x}[self.mode]

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        height *= self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            for group, low, high in zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            ):
                value = high - (high - low) * height
                group.update({"betas": (value, *group["betas"][1:])} if "betas" in group else {"momentum": value})
        return [low + (high - low) * height for low, high in zip(self._low, self.max_lrs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        return {k: v for k, v in super().state_dict().items() if k != "own_scale"}


def _schedules(name: str, given: Any) -> list[LRScheduler]:
    if not isinstance(given, (list, tuple)) or not all(isinstance(s, LRScheduler) for s in given):
        raise OptionError(f"{name}: schedulers is a list of schedules, not {given!r:.100}")
    return list(given)


class SequentialLR(LRScheduler):
    """One schedule after the other, changing at `milestones`"""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        _check_optimizer("SequentialLR", optimizer)
        self._schedulers, self._milestones = _schedules("SequentialLR", schedulers), list(milestones)
        if not self._schedulers or any(s.optimizer is not optimizer for s in self._schedulers):
            raise OptionError("SequentialLR: wants schedules, all of this optimizer")
        if len(self._milestones) != len(self._schedulers) - 1:
            raise OptionError(
                f"SequentialLR: {len(self._schedulers)} schedules change at {len(self._schedulers) - 1} milestones, "
                f"got {len(self._milestones)}"
            )
        self.optimizer, self.last_epoch = optimizer, last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in self._schedulers:
            scheduler.last_epoch -= 1
        self._schedulers[0].step()
        self._last_lr = self._schedulers[0].get_last_lr()

    def step(self) -> None:
        self.last_epoch += 1
        at = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[at]
        if at and self._milestones[at - 1] == self.last_epoch:
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"]
        scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        if not isinstance(state_dict, Mapping):
            super().load_state_dict(state_dict)  # which says what is wrong
        parts, schedulers = state_dict.get("_schedulers", []), self._schedulers
        if len(parts) != len(schedulers):
            raise OptionError(
                f"{type(self).__name__}.load_state_dict: {len(parts)} schedules were saved, these are {len(schedulers)}"
            )
        super().load_state_dict(state_dict)
        self._schedulers = schedulers
        for scheduler, part in zip(schedulers, parts, strict=True):
            scheduler.load_state_dict(part)


class ChainedScheduler(SequentialLR):
    """All schedules at once, each acting on what the one before it left"""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self._schedulers = _schedules("ChainedScheduler", schedulers)
        if not self._schedulers or len({id(s.optimizer) for s in self._schedulers}) > 1:
            raise OptionError("ChainedScheduler: wants schedules, all of one optimizer")
        self.optimizer = self._schedulers[0].optimizer
        if optimizer is not None and optimizer is not self.optimizer:
            raise OptionError("ChainedScheduler: the schedules are of another optimizer")
        self._last_lr = self._rates()

    def step(self) -> None:
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._rates()


class ReduceLROnPlateau(LRScheduler):
    """lr ← factor · lr once the metric has been no better for more than `patience` epochs

    `step(metric)` after each epoch. Better is below best · (1 − threshold) (threshold_mode "rel") or best − threshold
    ("abs"), above with mode="max". After a cut, `cooldown` epochs do not count.
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        name = "ReduceLROnPlateau"
        _check_optimizer(name, optimizer)
        if not factor < 1:
            raise OptionError(f"{name}: factor must be below 1, got {factor!r}")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise OptionError(
                f"{name}: mode is 'min' or 'max', threshold_mode 'rel' or 'abs'; got {mode!r}, {threshold_mode!r}"
            )
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown, self.eps = threshold, threshold_mode, cooldown, eps
        self.min_lrs = _one_each(name, "min_lr", min_lr, optimizer)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = self._rates()

    def step(self, metrics: Any = None) -> None:
        try:
            current = float(metrics)
        except (TypeError, ValueError, Error):
            raise OptionError(
                "ReduceLROnPlateau.step: wants what is watched, a number such as the epoch's validation loss: "
                f"step(loss); got {'nothing' if metrics is None else repr(metrics)}"
            ) from None
        self.last_epoch += 1
        if self.is_better(current, self.best):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            lower = [max(r * self.factor, low) for r, low in zip(self._rates(), self.min_lrs, strict=True)]
            self._set([new if old - new > self.eps else old for old, new in zip(self._rates(), lower, strict=True)])
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._rates()

    @property
    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def is_better(self, a: float, best: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "abs":
            return sign * a < sign * best - self.threshold
        return sign * a < sign * best * (1 - sign * self.threshold)
