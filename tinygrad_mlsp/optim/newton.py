"""Optimizers on the engine's own second derivatives: Newton, for small models, and Hessian-free."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..derivatives import gauss_newton, hessian, value_and_grad
from ..errors import OptionError
from ..tensor import Tensor, no_grad, wrap
from .quasi_newton import WholeBatch, dot, size_of


@contextmanager
def _standing_in(parameters: list[Tensor], flat: Tensor) -> Iterator[None]:
    """The parameters are pieces of `flat`, so that what is computed from them is a function of it."""
    kept, at = [(p._array, p._node) for p in parameters], 0
    try:
        for p in parameters:
            piece = flat[at : at + p.size].reshape(p.shape)
            at += p.size
            p._array, p._node = piece._array, piece._node
        yield
    finally:
        for p, (array, node) in zip(parameters, kept, strict=True):
            p._array, p._node = array, node


class OfTheGraph(WholeBatch):
    """Optimizers whose closures only compute; what is differentiated, and how often, is theirs to say."""

    def _function(self, compute: Callable[[], Any]) -> Callable[[Tensor], Any]:
        """The closure as a function of all parameters in one vector."""

        def f(flat: Tensor) -> Any:
            with _standing_in(self.param_groups[0]["params"], flat):
                return compute()

        return f

    def _value(self, f: Callable[[Tensor], Any], x: Any) -> float:
        self._count("func_evals")
        with no_grad():
            return float(f(wrap(x, None)))


class Newton(OfTheGraph):
    """x ← x + d with (H + μ I) d = −g in a trust region, or (|H| + …)d = −g with backtracking; for small models

    Both take H apart into eigenvectors, so that an indefinite H is no obstacle, and leave saddle points:
    method="trust region": d is least for gᵀd + ½ dᵀHd within the radius, exactly; the radius follows how well that
    model predicts the loss. method="damped": eigenvalues λ become max(|λ|, δ max |λ|), with δ = damping, and d is
    halved until the loss has fallen enough; where g vanishes, d is a downward-bent eigenvector. `lr` is the first
    radius, or the first step.

    The closure computes the loss and returns it, and does not call backward.

    Source: Moré and Sorensen, "Computing a trust region step", 1983; Dauphin et al., "Identifying and attacking the
    saddle point problem in high-dimensional non-convex optimization", 2014; Nocedal and Wright, 2006, chapters 3, 4.
    Lectures 000 (Second-order updates) and 004 (Hessian): ΔW = −α H⁻¹∇C, which climbs to saddles and maxima.
    """

    remembered = (*WholeBatch.remembered, "radius")

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, max_iter: int = 20, tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-12, method: str = "trust region", damping: float = 1e-8,
    ) -> None:  # fmt: skip
        options = {"lr": lr, "max_iter": max_iter, "tolerance_grad": tolerance_grad,
                   "tolerance_change": tolerance_change, "method": method, "damping": damping}  # fmt: skip
        super().__init__(params, options)

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "tolerance_grad", "tolerance_change", "damping")
        self._check_counts(options, "max_iter")
        if options["method"] not in ("trust region", "damped"):
            raise OptionError(f"Newton: method is 'trust region' or 'damped', not {options['method']!r}")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations. Returns: the loss before them."""
        if closure is None:
            raise OptionError("Newton.step: wants a closure that computes the loss")
        arena, options, memory = self._arena, self.param_groups[0], self._memory
        xp, f = arena.xp, self._function(closure)
        damped = options["method"] == "damped"
        small = float(xp.finfo(arena.dtype).eps)
        first = None
        for _ in range(options["max_iter"]):
            here = wrap(xp.asarray(arena.values, copy=True), None)
            x = here._array
            value, slope = value_and_grad(f)(here)
            loss, g = float(value), slope._array
            self._count("func_evals")
            first = value if first is None else first
            bends, axes = xp.linalg.eigh(hessian(f)(here)._array)
            downward = float(bends[0]) < -math.sqrt(small) * max(1.0, size_of(bends))
            if not math.isfinite(loss) or (size_of(g) <= options["tolerance_grad"] and not downward):
                break
            self._count("n_iter")
            parts = axes.T @ g
            if damped:
                d, new = self._damped(f, x, loss, g, bends, axes, parts, downward)
            else:
                d, new = self._trusted(f, x, loss, bends, axes, parts)
            if d is None:
                break
            self._move(x + d)
            if self.watch is not None:
                self.watch(arena.values, new, g)
            if size_of(d) <= options["tolerance_change"] or (abs(new - loss) <= small * abs(loss) and not downward):
                break
        memory.setdefault("n_iter", 0)
        return first

    def _damped(
        self, f: Any, x: Any, loss: float, g: Any, bends: Any, axes: Any, parts: Any, downward: bool
    ) -> tuple[Any, float]:
        xp, options = self._arenas[0][0].xp, self.param_groups[0]
        least = max(options["damping"] * size_of(bends), float(xp.finfo(bends.dtype).tiny) ** 0.5)
        d = -(axes @ (parts / xp.maximum(xp.abs(bends), least)))
        if downward and size_of(g) <= math.sqrt(float(xp.finfo(g.dtype).eps)):
            d = d + axes[:, 0] * (-1.0 if float(parts[0]) > 0 else 1.0)
        slope, bend = dot(g, d), float((axes.T @ d) ** 2 @ bends)
        t = options["lr"]
        for _ in range(60):
            new = self._value(f, x + t * d)
            if new <= loss + 1e-4 * (t * slope + 0.5 * t * t * min(0.0, bend)):
                return t * d, new
            t *= 0.5
        return None, loss

    def _trusted(self, f: Any, x: Any, loss: float, bends: Any, axes: Any, parts: Any) -> tuple[Any, float]:
        xp, options = self._arenas[0][0].xp, self.param_groups[0]
        radius = self._memory.get("radius", options["lr"])
        for _ in range(60):
            s = trust_region_step(xp, bends, parts, radius)
            length = math.sqrt(dot(s, s))
            promised = -dot(parts, s) - 0.5 * dot(bends * s, s)
            d = axes @ s
            new = self._value(f, x + d)
            noise = 8 * float(xp.finfo(bends.dtype).eps) * abs(loss)
            ratio = (loss - new + noise) / (promised + noise) if promised + noise > 0 else 0.0
            if not ratio >= 0.25:  # also what is not a number
                radius = 0.25 * min(radius, length)
            elif ratio > 0.75 and length > 0.9 * radius:
                radius *= 2
            self._memory["radius"] = radius
            if ratio > 1e-4:
                return d, new
        return None, loss


def trust_region_step(xp: Any, bends: Any, parts: Any, radius: float) -> Any:
    """The least of gᵀs + ½ Σ λ s² with ‖s‖ ≤ radius, in the eigenvectors' coordinates (g there is `parts`)"""
    lowest = float(bends[0])

    def at(mu: float) -> Any:
        below = bends + mu
        return xp.where(below > 0, -parts / xp.where(below > 0, below, xp.ones_like(below)), xp.zeros_like(parts))

    if lowest > 0:
        s = at(0.0)
        if math.sqrt(dot(s, s)) <= radius:
            return s
    scale = max(size_of(bends), math.sqrt(dot(parts, parts)) / radius, 1e-300)
    low = max(0.0, -lowest)
    edge = low + 1e-12 * scale
    s = at(edge)
    length = math.sqrt(dot(s, s))
    if length < radius and lowest <= 0:  # the hard case: nothing pulls along the lowest eigenvector; go along it
        more = math.sqrt(radius * radius - length * length)
        s[0] += -more if float(parts[0]) > 0 else more
        return s
    high = edge + math.sqrt(dot(parts, parts)) / radius + scale * 1e-12
    for _ in range(200):  # bisection: ‖s‖ falls as μ grows
        middle = 0.5 * (edge + high)
        s = at(middle)
        length = math.sqrt(dot(s, s))
        if abs(length - radius) <= 1e-6 * radius or high - edge <= 1e-15 * high:
            break
        edge, high = (middle, high) if length > radius else (edge, middle)
    return s


class HessianFree(OfTheGraph):
    """x ← x + t d with (G + λ I) d = −g by conjugate gradients, G the Gauss–Newton matrix, seen only in products

    Conjugate gradients start from 0.95 times the last d and stop when the quadratic's relative progress over the last
    k = max(10, i/10) iterations is below 5e-4 k; of its iterates, kept ever more sparsely, the last is taken, and then
    those before while the loss is lower there. λ shrinks by 2/3 where the quadratic predicted the loss well (ρ > ¾)
    and grows by 3/2 where not (ρ < ¼). t falls from lr by 0.8 until the loss has fallen enough.

    `step(forward, loss)`: forward computes the net's outputs, and loss a number from them; loss is convex. The
    structural damping and the preconditioner of the paper are left out.

    Source: Martens, "Deep learning via Hessian-free optimization", 2010. Lecture 002 names it.
    """

    remembered = (*WholeBatch.remembered, "d", "lambda", "cg_iterations")

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, max_iter: int = 1, damping: float = 1.0, max_cg: int = 250,
        decay: float = 0.95, tolerance_grad: float = 1e-7,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "max_iter": max_iter, "damping": damping, "max_cg": max_cg, "decay": decay,
                                  "tolerance_grad": tolerance_grad})  # fmt: skip

    def _check(self, options: Mapping[str, Any]) -> None:
        self._check_numbers(options, "lr", "damping", "decay", "tolerance_grad")
        self._check_counts(options, "max_iter", "max_cg")

    def step(self, forward: Callable[[], Any] | None = None, loss: Callable[[Any], Any] | None = None) -> Any:
        """Up to max_iter iterations. Returns: the loss before them."""
        if forward is None or loss is None:
            raise OptionError("HessianFree.step: wants forward, which computes the outputs, and loss, a number of them")
        arena, options, memory = self._arena, self.param_groups[0], self._memory
        xp, outputs = arena.xp, self._function(forward)
        f = lambda x: loss(outputs(x))
        first = None
        for _ in range(options["max_iter"]):
            x = xp.asarray(arena.values, copy=True)
            value, slope, product = gauss_newton(outputs, loss, wrap(x, None))
            self._count("func_evals")
            first = value if first is None else first
            before, g = float(value), slope._array
            if size_of(g) <= options["tolerance_grad"]:
                break
            self._count("n_iter")
            damping = memory.get("lambda", options["damping"])
            curved = lambda v, product=product: product(wrap(v, None))._array
            damped = lambda v, curved=curved, damping=damping: curved(v) + damping * v
            start = memory["d"] * options["decay"] if "d" in memory else xp.zeros_like(g)
            iterates, asked = conjugate_gradient(damped, -g, start, options["max_cg"])
            memory["cg_iterations"] = memory.get("cg_iterations", 0) + asked
            memory["d"] = iterates[-1]  # the next start; what is taken may be an earlier one
            d = iterates.pop()
            new = self._value(f, x + d)
            while iterates:
                earlier = self._value(f, x + iterates[-1])
                if not (earlier < new or math.isnan(new)):
                    break
                d, new = iterates.pop(), earlier
            promised = dot(g, d) + 0.5 * dot(d, curved(d))
            ratio = (new - before) / promised if promised else 0.0
            if not ratio >= 0.25:
                damping *= 1.5
            elif ratio > 0.75:
                damping *= 2 / 3
            memory["lambda"] = damping
            t, lead = options["lr"], dot(g, d)
            if t != 1:
                new = self._value(f, x + t * d)
            for _ in range(60):
                if new <= before + 1e-2 * t * lead:
                    break
                t *= 0.8
                new = self._value(f, x + t * d)
            else:
                t, new = 0.0, before
                memory.pop("d")
            self._move(x + t * d)
            if self.watch is not None:
                self.watch(arena.values, new, g)
        memory.setdefault("n_iter", 0)
        return first


def conjugate_gradient(
    product: Callable[[Any], Any], b: Any, x: Any, limit: int, progress: float = 5e-4
) -> tuple[list[Any], int]:
    """Iterates towards A x = b for a positive definite A given by its product, the last last, and their number

    Kept are iterates 1, 2, 3, 4, 6, 8, … (⌈1.3ʲ⌉) and the last. Stops as HessianFree's docstring says.
    """
    r = product(x) - b
    p, square, kept, values, due = -r, dot(r, r), [], [0.5 * dot(x, r - b)], 1.0
    i = 0
    while i < limit and square > 0:
        Ap = product(p)
        bend = dot(p, Ap)
        if not bend > 0:
            break
        i += 1
        step = square / bend
        x = x + step * p
        r = r + step * Ap
        last, square = square, dot(r, r)
        p = (square / last) * p - r
        values.append(0.5 * dot(x, r - b))
        if i == math.ceil(due):
            kept.append(x)
            while math.ceil(due) <= i:
                due *= 1.3
        k = max(10, i // 10)
        if i > k and values[i] < 0 and (values[i] - values[i - k]) / values[i] < k * progress:
            break
    if not kept or kept[-1] is not x:
        kept.append(x)
    return kept, i
