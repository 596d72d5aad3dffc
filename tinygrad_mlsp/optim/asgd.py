"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import OptionError
from .optimizer import Arena, Block, Optimizer


class ASGD(Optimizer):
    """p ← (1 − λ η) p − η g with η = lr/(1 + λ lr t)^α, and a ← a + μ (p − a) with μ = 1/max(1, t − t₀)

    The averages a, in the state as "ax", are p itself up to step t₀ and the mean from then on; what they are good for
    is the caller's to say. With weight_decay, g stands for g + weight_decay p; with maximize, for −g.

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    saved = ("ax",)
    counted = ("step", "eta", "mu")

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0.0, *, maximize: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                   "maximize": maximize}  # fmt: skip
        super().__init__(params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "weight_decay", "lambd", "alpha")
        if isinstance(options["t0"], bool) or not isinstance(options["t0"], (int, float)):
            raise OptionError(f"ASGD: t0 is the step from which on is averaged, a number, not {options['t0']!r}")

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t = arena.xp, arena.values[block.span], arena.spare(g)
        mean, lr, lambd = arena.buffer("ax")[block.span], options["lr"], options["lambd"]
        eta, mu = block.scale or (lr, 1.0)  # those of the step before count, as in PyTorch
        g = self._gradient(arena, block, g, options)
        xp.multiply(p, 1 - lambd * eta, p)
        xp.subtract(p, xp.multiply(g, eta, t), p)
        if mu == 1:
            mean[...] = p
        else:
            xp.multiply(xp.subtract(p, mean, t), mu, t)
            xp.add(mean, t, mean)
        block.scale = (
            lr / (1 + lambd * lr * block.steps) ** options["alpha"],
            1 / max(1, block.steps - options["t0"]),
        )

    def _scale_entry(self, scale: Any) -> dict[str, Any]:
        return {"eta": scale[0], "mu": scale[1]}

    def _scale_from(self, entry: Mapping[str, Any]) -> Any:
        return (float(entry["eta"]), float(entry["mu"])) if {"eta", "mu"} <= set(entry) else None
