"""Adam and its relatives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .optimizer import Arena, Block, Optimizer


class Adam(Optimizer):
    """p ← p − lr m̂/(√v̂ + ε) with m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ)

    With amsgrad, v̂ comes from the largest v so far. With weight_decay λ, g stands for g + λ p (with
    decoupled_weight_decay, p shrinks by lr λ p instead); with maximize, for −g.

    Source: Kingma and Ba, "Adam", 2015; Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018. Lectures
    000, 003, 004 (Adam Scheme: it divides by 1 − ρ where the paper has 1 − ρᵗ, which is the same at the first step
    only; in the end its steps are √(1 − ρ₂)/(1 − ρ₁) ≈ 0.3 times as long. 000 leaves the correction out).
    """

    saved: tuple[str, ...] = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, amsgrad: bool = False, *, maximize: bool = False,
        decoupled_weight_decay: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        betas = tuple(betas) if isinstance(betas, list) else betas
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                   "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
        super().__init__(params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "eps", "weight_decay")
        self._check_betas(options)

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        """m and v are kept as m/(1 − β₁) and v/(1 − β₂), which saves a pass over each; the factors go into lr and ε."""
        xp, p, t = arena.xp, arena.values[block.span], arena.spare(g)
        m, v = arena.buffer("exp_avg")[block.span], arena.buffer("exp_avg_sq")[block.span]
        beta1, beta2 = options["betas"]
        if options["weight_decay"] or options["maximize"]:
            g = self._decayed(arena, block, g, options)
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

    def _decayed(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> Any:
        """The gradient with weight decay in it, or, where that is decoupled, the parameters shrunk."""
        apart = options["decoupled_weight_decay"]
        if apart and options["weight_decay"]:
            p = arena.values[block.span]
            arena.xp.multiply(p, 1 - options["lr"] * options["weight_decay"], p)
        return self._gradient(arena, block, g, options, decay=not apart)

    def _moments(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> tuple[Any, Any]:
        """m ← β₁ m + (1 − β₁) g and v ← β₂ v + (1 − β₂) g², in the paper's units."""
        xp, t = arena.xp, arena.spare(g)
        m, v = arena.buffer("exp_avg")[block.span], arena.buffer("exp_avg_sq")[block.span]
        beta1, beta2 = options["betas"]
        xp.multiply(m, beta1, m)
        xp.add(m, xp.multiply(g, 1 - beta1, t), m)
        xp.multiply(v, beta2, v)
        xp.multiply(g, g, t)
        xp.add(v, xp.multiply(t, 1 - beta2, t), v)
        return m, v

    def _shown(self, entry: dict[str, Any]) -> dict[str, Any]:
        if "scale" not in entry:
            return entry
        scale = dict(zip(self.saved, (*entry["scale"], entry["scale"][1]), strict=True))
        return {
            name: value * scale[name] if name in scale else value for name, value in entry.items() if name != "scale"
        }


class AdamW(Adam):
    """Adam with p ← p − lr λ p instead of λ p in the gradient: the decay is not divided by √v̂.

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True,
            **implementation,
        )  # fmt: skip


class NAdam(Adam):
    """p ← p − lr (μₜ₊₁ m/(1 − Πₜ₊₁) + (1 − μₜ) g/(1 − Πₜ))/(√v̂ + ε), μₜ = β₁(1 − ½ 0.96^(t ψ)), Πₜ = μ₁ ⋯ μₜ

    Adam with Nesterov's momentum; ψ is momentum_decay.

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    saved = ("exp_avg", "exp_avg_sq")
    counted = ("step", "mu_product")

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *,
        maximize: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay,
                   "momentum_decay": momentum_decay, "maximize": maximize,
                   "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
        Optimizer.__init__(self, params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        super()._check(options)
        self._check_numbers(options, "momentum_decay")

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t, steps = arena.xp, arena.values[block.span], arena.spare(g), block.steps
        (beta1, beta2), decay = options["betas"], options["momentum_decay"]
        now, following = (beta1 * (1 - 0.5 * 0.96 ** (at * decay)) for at in (steps, steps + 1))
        block.scale = product = (block.scale or 1.0) * now
        g = self._decayed(arena, block, g, options)
        m, v = self._moments(arena, block, g, options)
        xp.multiply(v, 1 / (1 - beta2**steps), t)
        xp.sqrt(t, t)
        xp.add(t, options["eps"], t)
        g = xp.multiply(g, options["lr"] * (1 - now) / (1 - product), arena.own(g))
        xp.subtract(p, xp.divide(g, t, g), p)
        xp.multiply(m, options["lr"] * following / (1 - product * following), g)
        xp.subtract(p, xp.divide(g, t, g), p)

    def _scale_entry(self, scale: Any) -> dict[str, Any]:
        return {"mu_product": scale}

    def _scale_from(self, entry: Mapping[str, Any]) -> Any:
        return float(entry["mu_product"]) if "mu_product" in entry else None


class RAdam(Adam):
    """p ← p − lr r m̂/(√v̂ + ε) once the variance of 1/√v̂ is bounded (ρₜ > 5), and p ← p − lr m̂ before

    ρ∞ = 2/(1 − β₂) − 1, ρₜ = ρ∞ − 2 t β₂ᵗ/(1 − β₂ᵗ), r² = (ρₜ − 4)(ρₜ − 2)ρ∞/((ρ∞ − 4)(ρ∞ − 2)ρₜ): a warm-up that
    nobody has to set. As in PyTorch, ε is added to √v before its correction.

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", 2020.
    """

    saved = ("exp_avg", "exp_avg_sq")

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, decoupled_weight_decay: bool = False, *, maximize: bool = False,
        **implementation: Any,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                   "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
        Optimizer.__init__(self, params, options, implementation)

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t, steps = arena.xp, arena.values[block.span], arena.spare(g), block.steps
        g = self._decayed(arena, block, g, options)
        m, v = self._moments(arena, block, g, options)
        beta1, beta2 = options["betas"]
        rate, left = options["lr"] / (1 - beta1**steps), 1 - beta2**steps
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * steps * beta2**steps / left
        if length > 5:
            known = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            xp.sqrt(v, t)
            xp.add(t, options["eps"], t)
            xp.divide(m, t, t)
            xp.multiply(t, rate * math.sqrt(known * left), t)
        else:
            xp.multiply(m, rate, t)
        xp.subtract(p, t, p)


class Adamax(Optimizer):
    """p ← p − lr m̂/u with m ← β₁ m + (1 − β₁) g, m̂ = m/(1 − β₁ᵗ), u ← max(β₂ u, |g| + ε)

    Adam with the largest |g| of late in place of √v̂.

    Source: Kingma and Ba, "Adam", 2015, section 7.1.
    """

    saved = ("exp_avg", "exp_inf")

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, *, maximize: bool = False, **implementation: Any,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options, implementation)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "eps", "weight_decay")
        self._check_betas(options)

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        xp, p, t = arena.xp, arena.values[block.span], arena.spare(g)
        m, u = arena.buffer("exp_avg")[block.span], arena.buffer("exp_inf")[block.span]
        beta1, beta2 = options["betas"]
        g = self._gradient(arena, block, g, options)
        xp.multiply(m, beta1, m)
        xp.add(m, xp.multiply(g, 1 - beta1, t), m)
        xp.multiply(u, beta2, u)
        xp.abs(g, t)
        xp.add(t, options["eps"], t)
        xp.maximum(u, t, out=u)
        xp.divide(m, u, t)
        xp.multiply(t, options["lr"] / (1 - beta1**block.steps), t)
        xp.subtract(p, t, p)
