"""Optimizers that look at signs: delta-bar-delta, Rprop, Lion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import OptionError
from .optimizer import Arena, Block, Optimizer


class DeltaBarDelta(Optimizer):
    """p ← p − r g with r ← r + κ where ḡ g > 0, r ← (1 − φ) r where ḡ g < 0, and then ḡ ← θ ḡ + (1 − θ) g

    A rate r for each number, lr at first (what lr is later has no effect): it grows by steps while the gradient keeps
    its sign, and shrinks by a factor when the sign turns. ḡ is an average of the gradients before this one. Since r
    is nowhere bounded, κ is small.

    Source: Jacobs, "Increased rates of convergence through learning rate adaptation", 1988. Lecture 004.
    """

    saved = ("rate", "grad_avg")  # the rate is kept as r/lr

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, kappa: float = 1e-3, phi: float = 0.1, theta: float = 0.7,
        weight_decay: float = 0.0, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "kappa": kappa, "phi": phi, "theta": theta, "weight_decay": weight_decay,
                   "maximize": maximize}  # fmt: skip
        super().__init__(params, options)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "kappa", "phi", "theta", "weight_decay")
        if not (options["phi"] < 1 and options["theta"] < 1):
            raise OptionError("DeltaBarDelta: phi and theta must be below 1")

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t = arena.xp, arena.values[block.span], arena.spare(g)
        r, mean = arena.buffer("rate")[block.span], arena.buffer("grad_avg")[block.span]
        if block.steps == 1:
            r[...] = options["lr"]
        g = self._gradient(arena, block, g, options)
        xp.multiply(mean, g, t)
        xp.multiply(r, 1 - options["phi"] * (t < 0), r)
        xp.add(r, options["kappa"] * (t > 0), r)
        xp.multiply(mean, options["theta"], mean)
        xp.add(mean, xp.multiply(g, 1 - options["theta"], t), mean)
        xp.subtract(p, xp.multiply(r, g, t), p)


class Rprop(Optimizer):
    """p ← p − sign(g) s with s ← η₊ s where g keeps its sign, s ← η₋ s where it turns (and p waits a step there)

    Steps s start at lr and stay within step_sizes. For gradients of all the data, not of batches.

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP
    algorithm", 1993; the form without going back is Igel and Hüsken's iRprop−, 2000.
    """

    saved = ("prev", "step_size")

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0), *, maximize: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "etas": tuple(etas), "step_sizes": tuple(step_sizes), "maximize": maximize}
        super().__init__(params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr")
        try:
            (down, up), (least, most) = options["etas"], options["step_sizes"]
            right = 0 < down < 1 < up and 0 <= least <= most
        except (TypeError, ValueError):
            right = False
        if not right:
            raise OptionError(
                "Rprop: etas are a number from 0 to 1 and one above 1, step_sizes the least and the most, "
                f"got {options['etas']!r} and {options['step_sizes']!r}"
            )

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t = arena.xp, arena.values[block.span], arena.spare(g)
        last, size = arena.buffer("prev")[block.span], arena.buffer("step_size")[block.span]
        (down, up), (least, most) = options["etas"], options["step_sizes"]
        if block.steps == 1:
            size[...] = options["lr"]
        g = self._gradient(arena, block, g, options)
        xp.multiply(last, g, t)
        xp.sign(t, t)  # 1 kept, −1 turned, 0 at the start and after a turn
        last[...] = g
        xp.multiply(last, t != -1, last)
        # a parabola through η₋, 1, η₊ at −1, 0, 1
        xp.multiply(size, 1 + t * ((up - down) / 2) + t * t * ((up + down) / 2 - 1), size)
        xp.clip(size, least, most, out=size)
        xp.sign(last, t)
        xp.subtract(p, xp.multiply(t, size, t), p)


class Lion(Optimizer):
    """p ← p − lr (sign(β₁ m + (1 − β₁) g) + λ p) with m ← β₂ m + (1 − β₂) g afterwards

    Every number moves by lr, so lr is three to ten times smaller than Adam's, and weight_decay λ larger.

    Source: Chen et al., "Symbolic discovery of optimization algorithms", 2023 (PyTorch has none).
    """

    saved = ("exp_avg",)

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "weight_decay")
        self._check_betas(options)

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t = arena.xp, arena.values[block.span], arena.spare(g)
        m, (beta1, beta2) = arena.buffer("exp_avg")[block.span], options["betas"]
        g = self._gradient(arena, block, g, options, decay=False)
        if options["weight_decay"]:
            xp.multiply(p, 1 - options["lr"] * options["weight_decay"], p)
        if beta1:  # sign(β₁ m + (1 − β₁) g) = sign(m + (1 − β₁)/β₁ g)
            xp.multiply(g, (1 - beta1) / beta1, t)
            xp.sign(xp.add(t, m, t), t)
        else:
            xp.sign(g, t)
        xp.subtract(p, xp.multiply(t, options["lr"], t), p)
        xp.multiply(m, beta2, m)
        xp.add(m, xp.multiply(g, 1 - beta2, t), m)
