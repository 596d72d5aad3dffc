"""Gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import OptionError
from .optimizer import Arena, Block, Optimizer


class SGD(Optimizer):
    """p ← p − lr b with b ← momentum · b + (1 − dampening) g, and b = g at the first step (and without momentum)

    Nesterov: p ← p − lr (g + momentum · b). With weight_decay λ, g stands for g + λ p; with maximize, for −g.

    With nesterov, p is the point looked ahead to, w − lr momentum b, at which the lectures' forms take their gradient.

    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; Nesterov, "A method of
    solving a convex programming problem with convergence rate O(1/k²)", 1983; Sutskever et al., "On the importance of
    initialization and momentum in deep learning", 2013. Lectures 000 (Momentum; Nesterov accelerated gradient), 003
    (Mini-batch, Momentum) and 004 (Momentum Learning; W_extend, the form that agrees with 000's; its Nesterov scheme,
    which moves first and then takes the gradient there, is plain momentum).
    """

    saved = ("momentum_buffer",)

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0, dampening: float = 0.0,
        weight_decay: float = 0.0, nesterov: bool = False, *, maximize: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                   "nesterov": nesterov, "maximize": maximize}  # fmt: skip
        super().__init__(params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "momentum", "weight_decay")
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise OptionError("SGD: nesterov wants a momentum, and no dampening")

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t = arena.xp, arena.values[block.span], arena.spare(g)
        momentum, kept = options["momentum"], 1 - options["dampening"] if block.steps > 1 else 1.0
        g = self._gradient(arena, block, g, options)
        if momentum:
            b = arena.buffer("momentum_buffer")[block.span]
            xp.multiply(b, momentum, b)
            xp.add(b, g if kept == 1 else xp.multiply(g, kept, t), b)
            if options["nesterov"]:
                xp.multiply(b, momentum, t)
                g = xp.add(t, g, t)
            else:
                g = b
        xp.subtract(p, xp.multiply(g, options["lr"], arena.own(g)), p)  # the gradient itself is not needed any more
