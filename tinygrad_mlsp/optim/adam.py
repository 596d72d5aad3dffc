"""Adam."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import OptionError
from .optimizer import Arena, Block, Optimizer


class Adam(Optimizer):
    """p ← p − lr m̂/(√v̂ + ε) with m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ)

    With amsgrad, v̂ comes from the largest v so far. With weight_decay λ, g stands for g + λ p; with maximize, for −g.

    Source: Kingma and Ba, "Adam", 2015; Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018.
    """

    saved = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, amsgrad: bool = False, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        betas = tuple(betas) if isinstance(betas, list) else betas
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                   "maximize": maximize}  # fmt: skip
        super().__init__(params, options)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "eps", "weight_decay")
        try:
            beta1, beta2 = options["betas"]
            right = 0 <= beta1 < 1 and 0 <= beta2 < 1
        except (TypeError, ValueError):
            right = False
        if not right:
            raise OptionError(f"Adam: betas are two numbers from 0 to below 1, got {options['betas']!r}")

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        """m and v are kept as m/(1 − β₁) and v/(1 − β₂), which saves a pass over each; the factors go into lr and ε."""
        xp, p, t = arena.xp, arena.values[block.span], arena.spare(g)
        m, v = arena.buffer("exp_avg")[block.span], arena.buffer("exp_avg_sq")[block.span]
        beta1, beta2 = options["betas"]
        if options["maximize"]:
            g = xp.negative(g, arena.own(g))
        if options["weight_decay"]:
            xp.multiply(p, options["weight_decay"], t)
            g = xp.add(g, t, arena.own(g))
        unit1, unit2 = 1 - beta1, 1 - beta2
        old1, old2 = block.scale or (1.0, 1.0)  # other than the new ones after a change of betas, or PyTorch's state
        block.scale = unit1, unit2
        xp.multiply(m, beta1 * (old1 / unit1), m)
        xp.add(m, g, m)
        xp.multiply(g, g, t)
        xp.multiply(v, beta2 * (old2 / unit2), v)
        xp.add(v, t, v)
        if options["amsgrad"]:
            largest = arena.buffer("max_exp_avg_sq")[block.span]
            if old2 != unit2:
                xp.multiply(largest, old2 / unit2, largest)
            v = xp.maximum(largest, v, out=largest)
        root = math.sqrt(unit2 / (1 - beta2**block.steps))  # √v̂ is this times the root of what is kept
        xp.sqrt(v, t)
        xp.add(t, options["eps"] / root, t)
        xp.divide(m, t, t)
        xp.multiply(t, options["lr"] * unit1 / (1 - beta1**block.steps) / root, t)
        xp.subtract(p, t, p)

    def _shown(self, entry: dict[str, Any]) -> dict[str, Any]:
        if not entry:
            return entry
        scale = dict(zip(self.saved, (*entry["scale"], entry["scale"][1]), strict=True))
        return {
            name: value * scale[name] if name in scale else value for name, value in entry.items() if name != "scale"
        }
