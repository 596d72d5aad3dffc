"""A rate for each number: Adagrad, RMSprop, Adadelta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import OptionError
from .optimizer import Arena, Block, Optimizer


class Adagrad(Optimizer):
    """p ← p − lr/(1 + (t − 1) lr_decay) · g/(√s + ε) with s ← s + g²

    With weight_decay λ, g stands for g + λ p; with maximize, for −g.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011. Lectures 003, 004 (AdaGrad Scheme), and 000,
    whose slide sums the squares of what is a running sum already: its steps shrink far faster than 1/√t.
    """

    saved = ("sum",)

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10, *, maximize: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
                   "initial_accumulator_value": initial_accumulator_value, "eps": eps,
                   "maximize": maximize}  # fmt: skip
        super().__init__(params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t = arena.xp, arena.values[block.span], arena.spare(g)
        s = arena.buffer("sum")[block.span]
        if block.steps == 1:
            s[...] = options["initial_accumulator_value"]
        g = self._gradient(arena, block, g, options)
        xp.multiply(g, g, t)
        xp.add(s, t, s)
        xp.sqrt(s, t)
        xp.add(t, options["eps"], t)
        xp.divide(g, t, t)
        xp.multiply(t, options["lr"] / (1 + (block.steps - 1) * options["lr_decay"]), t)
        xp.subtract(p, t, p)


class RMSprop(Optimizer):
    """p ← p − lr b with b ← momentum · b + g/(√v + ε), v ← α v + (1 − α) g²

    With centered, v − a² stands under the root, a ← α a + (1 − α) g: the variance instead of the mean square. With
    weight_decay λ, g stands for g + λ p; with maximize, for −g.

    Source: Tieleman and Hinton, "Lecture 6.5: rmsprop", 2012; Graves, "Generating sequences with recurrent neural
    networks", 2013 (centered). Lectures 000, 003, 004 (the last two with ε under the root).
    """

    saved = ("square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, *, maximize: bool = False,
        **implementation: Any,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                   "weight_decay": weight_decay, "maximize": maximize}  # fmt: skip
        super().__init__(params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "momentum", "alpha", "eps", "weight_decay")
        if options["alpha"] > 1:
            raise OptionError(f"RMSprop: alpha is a number from 0 to 1, got {options['alpha']!r}")

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t, alpha = arena.xp, arena.values[block.span], arena.spare(g), options["alpha"]
        v = arena.buffer("square_avg")[block.span]
        g = self._gradient(arena, block, g, options)
        xp.multiply(v, alpha, v)
        xp.multiply(g, g, t)
        xp.add(v, xp.multiply(t, 1 - alpha, t), v)
        if options["centered"]:
            mean = arena.buffer("grad_avg")[block.span]
            xp.multiply(mean, alpha, mean)
            xp.add(mean, xp.multiply(g, 1 - alpha, t), mean)
            xp.multiply(mean, mean, t)
            xp.sqrt(xp.subtract(v, t, t), t)
        else:
            xp.sqrt(v, t)
        xp.add(t, options["eps"], t)
        xp.divide(g, t, t)
        if options["momentum"]:
            b = arena.buffer("momentum_buffer")[block.span]
            xp.multiply(b, options["momentum"], b)
            t = xp.multiply(xp.add(b, t, b), options["lr"], t)
        else:
            xp.multiply(t, options["lr"], t)
        xp.subtract(p, t, p)


class Adadelta(Optimizer):
    """p ← p − lr d with d = √(u + ε)/√(v + ε) g, v ← ρ v + (1 − ρ) g², u ← ρ u + (1 − ρ) d²

    The steps have the units of p, so that lr = 1 fits everything. With weight_decay λ, g stands for g + λ p; with
    maximize, for −g.

    Source: Zeiler, "Adadelta: an adaptive learning rate method", 2012.
    """

    saved = ("square_avg", "acc_delta")

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0,
        *, maximize: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "rho", "eps", "weight_decay")
        if options["rho"] > 1:
            raise OptionError(f"Adadelta: rho is a number from 0 to 1, got {options['rho']!r}")

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t, own, rho = arena.xp, arena.values[block.span], arena.spare(g), arena.own(g), options["rho"]
        v, u = arena.buffer("square_avg")[block.span], arena.buffer("acc_delta")[block.span]
        g = self._gradient(arena, block, g, options)
        xp.multiply(v, rho, v)
        xp.multiply(g, g, t)
        xp.add(v, xp.multiply(t, 1 - rho, t), v)
        xp.sqrt(xp.add(v, options["eps"], t), t)
        g = xp.divide(g, t, own)
        xp.sqrt(xp.add(u, options["eps"], t), t)
        d = xp.multiply(t, g, t)
        xp.multiply(u, rho, u)
        xp.multiply(d, d, own)
        xp.add(u, xp.multiply(own, 1 - rho, own), u)
        xp.subtract(p, xp.multiply(d, options["lr"], d), p)
