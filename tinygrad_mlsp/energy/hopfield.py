"""Hopfield's associative memories: patterns as minima of an energy, of signs and, in the modern form, of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import float32
from ..errors import OptionError, ShapeError
from ..linalg import diagonal, pinv
from ..namespace import zeros
from ..nn import Linear, Module, Parameter
from ..nn.module import _size
from ..optim import Adam, Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of
from .units import amount
from .variational import checked, finite

_exp, _softplus, _softmax, _logsumexp, _triu, _where, _abs, _stack = map(
    record_of, ("exp", "softplus", "softmax", "logsumexp", "triu", "where", "abs", "stack")
)


class Recall(NamedTuple):
    """What `Hopfield.recall` gives."""

    state: Tensor  # [batch, units]
    energies: Tensor  # at the start and after each sweep    [sweeps + 1, batch]
    converged: bool  # whether the last sweep changed nothing


class Hopfield(Module):
    """E(s) = −½ Σ_{i≠j} sᵢ wᵢⱼ sⱼ + Σᵢ θᵢ sᵢ with s in {−1, 1}ⁿ, W symmetric; a unit goes where its energy falls

    sᵢ ← sign(Σⱼ wᵢⱼ sⱼ − θᵢ), and stays where that is 0. The weight is kept as one matrix; what counts of it is
    `couplings()`, its symmetric part with a zero diagonal.

    Shapes: states and patterns [batch, units], weight [units, units], threshold [units]; energies [batch].
    Source: Hopfield, "Neural networks and physical systems with emergent collective computational abilities", 1982;
    lecture 0, "The Hopfield/Boltzmann networks" and "Energy minimization".
    """

    def __init__(self, units: int, *, dtype: Any = float32, device: str = "cpu") -> None:
        self.units = _size("Hopfield: units", units, 1)
        self.weight = Parameter(zeros((self.units, self.units), dtype, device))
        self.threshold = Parameter(zeros((self.units,), dtype, device))

    def extra_repr(self) -> str:
        return str(self.units)

    def couplings(self) -> Tensor:
        """(W + Wᵀ)/2 without its diagonal    [units, units]"""
        upper = _triu(self.weight + self.weight.mT, k=1) * 0.5
        return upper + upper.mT

    def total_input(self, s: Tensor) -> Tensor:
        """aᵢ = Σⱼ wᵢⱼ sⱼ − θᵢ; to turn unit i changes the energy by 2 sᵢ aᵢ    [batch, units]"""
        return s @ self.couplings() - self.threshold

    def energy(self, s: Tensor) -> Tensor:
        """E(s)    [batch]"""
        return -0.5 * ((s @ self.couplings()) * s).sum(axis=-1) + s @ self.threshold

    # Storing

    def store(self, patterns: Any, rule: str = "hebb") -> Hopfield:
        """Sets the weights such that the patterns are remembered; returns the memory

        "hebb": wᵢⱼ = Σ ξᵢ ξⱼ/n, which holds about 0.138 n random patterns. "pseudo_inverse": W = X⁺X, the projection on
        the patterns, which makes up to n − 1 independent ones fixed points, correlated or not.

        Raises: ShapeError and OptionError for what is no pattern of signs, or too many for the projection.
        Source: Personnaz, Guyon and Dreyfus, "Information storage and retrieval in spin-glass like neural networks",
        1985.
        """
        x = self.check_data(patterns, "Hopfield.store")
        with no_grad():
            if rule == "hebb":
                w = x.mT @ x / self.units
            elif rule == "pseudo_inverse":
                wide = x.astype(np.float64)
                w = pinv(wide) @ wide
                if diagonal(w).min().item() > 1 - 1e-9:
                    raise OptionError(
                        f"Hopfield.store: patterns that span all {self.units} dimensions leave nothing to recall by "
                        f"projection, {self.units - 1} independent ones at most"
                    )
            else:
                raise OptionError(f"Hopfield.store: rule is 'hebb' or 'pseudo_inverse', got {rule!r}")
            self.weight.copy_(w.astype(self.weight.dtype))
            self.threshold.copy_(0.0)
        return self

    def flow(self, patterns: Tensor) -> Tensor:
        """mean over the patterns of Σᵢ e^(−sᵢ aᵢ), the probability that flows from them to their neighbours; the
        energy gaps to all states that differ in one unit are 2 sᵢ aᵢ

        Source: Sohl-Dickstein, Battaglino and DeWeese, "Minimum probability flow learning", 2011; Hillar,
        Sohl-Dickstein and Koepsell, "Efficient and optimal Little-Hopfield auto-associative memory storage using
        minimum probability flow", 2012.
        """
        return _exp(-patterns * self.total_input(patterns)).sum(axis=-1).mean()

    def pseudo_likelihood(self, patterns: Tensor) -> Tensor:
        """mean over the patterns of Σᵢ ln P(sᵢ | all others) = −Σᵢ ln(1 + e^(−2 sᵢ aᵢ)), in nats"""
        return -_softplus(patterns * self.total_input(patterns) * -2.0).sum(axis=-1).mean()

    def learn(
        self, patterns: Any, steps: int = 100, *, loss: Callable[[Tensor], Tensor] | None = None,
        optimizer: Optimizer | None = None,
    ) -> list[float]:  # fmt: skip
        """Stores patterns by gradient: minimizes the flow, or another `loss`; returns its values

        The optimizer is Adam with rate 0.01 unless given. Thresholds are learned too.
        Raises: DivergenceError.
        """
        x, trace = self.check_data(patterns, "Hopfield.learn"), []
        optimizer = Adam(self.parameters(), 0.01) if optimizer is None else optimizer
        for _ in range(_size("Hopfield.learn: steps", steps)):
            value = finite((self.flow if loss is None else loss)(x), self, "Hopfield.learn", 1e300)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            trace.append(value.item())
        return trace

    # Recalling

    def asynchronous(self, s: Tensor, sweeps: int = 1, *, generator: Generator | None = None) -> Tensor:
        """s after so many sweeps: in a random order, each unit sees those before it already changed

        The energy never rises. Units follow one another, a step of the host a unit, over all states at once.
        """
        generator = generator or default_generator()
        with no_grad():
            w, s = self.couplings(), s + 0
            for _ in range(_size("Hopfield.asynchronous: sweeps", sweeps)):
                for i in generator.permutation(self.units).tolist():
                    a = s @ w[i] - self.threshold[i]
                    s[:, i] = _sign(a, s[:, i])
            return s

    def synchronous(self, s: Tensor, steps: int = 1) -> Tensor:
        """s after so many steps, all units at once; it ends in a fixed point or in a cycle of two states"""
        with no_grad():
            for _ in range(_size("Hopfield.synchronous: steps", steps)):
                s = _sign(self.total_input(s), s)
            return s

    def recall(
        self, s: Any, sweeps: int = 100, *, mode: str = "asynchronous", generator: Generator | None = None
    ) -> Recall:
        """What the memory makes of s: the state where nothing changes any more, at most `sweeps` sweeps on"""
        if mode not in ("asynchronous", "synchronous"):
            raise OptionError(f"Hopfield.recall: mode is 'asynchronous' or 'synchronous', got {mode!r}")
        s, converged = self.check_data(s, "Hopfield.recall"), False
        with no_grad():
            energies = [self.energy(s)]
            for _ in range(_size("Hopfield.recall: sweeps", sweeps)):
                before = s
                s = self.synchronous(s) if mode == "synchronous" else self.asynchronous(s, generator=generator)
                energies.append(self.energy(s))
                converged = bool((s == before).all())
                if converged:
                    break
            return Recall(s, _stack(energies), converged)

    def forward(self, s: Tensor) -> Tensor:
        """What is recalled from s; see `recall`."""
        return self.recall(s).state

    def check_data(self, s: Any, what: str) -> Tensor:
        """The states as a Tensor, where the memory is

        Raises: ShapeError, or OptionError for values other than −1 and 1.
        """
        x = checked(s, self.units, what, self.threshold, low=-1.0)
        if not bool((_abs(x) == 1).all()):
            raise OptionError(f"{what}: the units are −1 or 1; of zeros and ones x give 2 x − 1")
        return x


def _sign(a: Tensor, s: Tensor) -> Tensor:
    return _where(a > 0, 1.0, _where(a < 0, -1.0, s)).astype(s.dtype)


def bit_error(memory: Hopfield, patterns: Any, *, sweeps: int = 100, generator: Generator | None = None) -> float:
    """The share of units that differ from the pattern when recall, asynchronous, that began at it has come to rest"""
    x = memory.check_data(patterns, "bit_error")
    return float((memory.recall(x, sweeps, generator=generator).state != x).astype(x.dtype).mean().item())


class ModernHopfield(Module):
    """ξ ← Xᵀ softmax(β X ξ), whose fixed points are minima of E(ξ) = ½ ξ·ξ − ln(Σᵢ e^(β xᵢ·ξ))/β + c

    X holds the n stored patterns xᵢ as rows; c = (ln n)/β + ½ max |xᵢ|² makes E at least 0. A step never raises the
    energy, and one is often enough. `steps` of them are taken; with `tolerance` no more than until no entry moves
    further than that. Gradients flow through.

    Shapes: stored [..., patterns, features], state [..., queries, features], energies [..., queries].
    Source: Ramsauer et al., "Hopfield networks is all you need", 2021.
    """

    def __init__(self, beta: float = 1.0, steps: int = 1, tolerance: float | None = None) -> None:
        beta = amount("ModernHopfield: beta", beta, "above 0")
        if tolerance is not None:
            amount("ModernHopfield: tolerance", tolerance)
        self.beta, self.steps, self.tolerance = beta, _size("ModernHopfield: steps", steps), tolerance

    def extra_repr(self) -> str:
        return f"beta={self.beta:g}, steps={self.steps}"

    def weights(self, stored: Tensor, state: Tensor) -> Tensor:
        """softmax(β X ξ), how much each pattern is meant    [..., queries, patterns]"""
        if stored.ndim < 2 or state.ndim < 2 or stored.shape[-1] != state.shape[-1]:
            raise ShapeError(
                f"ModernHopfield: wants stored patterns [..., patterns, features] and states [..., queries, features], "
                f"got {list(stored.shape)} and {list(state.shape)}"
            )
        return _softmax((state @ stored.mT) * self.beta, axis=-1)

    def forward(self, stored: Tensor, state: Tensor) -> Tensor:
        """What is retrieved    [..., queries, features]"""
        for _ in range(self.steps):
            before, state = state, self.weights(stored, state) @ stored
            if self.tolerance is not None and _abs(state.detach() - before.detach()).max().item() <= self.tolerance:
                break
        return state

    def energy(self, stored: Tensor, state: Tensor) -> Tensor:
        """E(ξ) ≥ 0    [..., queries]"""
        attracted = _logsumexp((state @ stored.mT) * self.beta, axis=-1) / self.beta
        largest = (stored * stored).sum(axis=-1).max(axis=-1)
        constant = math.log(stored.shape[-2]) / self.beta + 0.5 * largest
        return 0.5 * (state * state).sum(axis=-1) - attracted + (constant if stored.ndim == 2 else constant[..., None])


class HopfieldLayer(Module):
    """y = V(retrieved), where queries Q(state) retrieve from keys K(stored): with one step, attention

    After the last step the values stand in for the keys: y = W_v Xᵀ softmax(β K(X) ξ). β is 1/√size unless told.

    Shapes: stored [batch, patterns, in_features], state [batch, queries, in_features], y [batch, queries,
    out_features].
    Source: Ramsauer et al., "Hopfield networks is all you need", 2021.
    """

    def __init__(
        self, in_features: int, size: int, out_features: int | None = None, beta: float | None = None, steps: int = 1,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        how: dict[str, Any] = {"bias": False, "device": device, "dtype": dtype, "generator": generator}
        size = _size("HopfieldLayer: size", size, 1)
        self.query, self.key = Linear(in_features, size, **how), Linear(in_features, size, **how)
        self.value = Linear(in_features, out_features or in_features, **how)
        if _size("HopfieldLayer: steps", steps) < 1:
            raise OptionError(f"HopfieldLayer: steps must be at least 1, got {steps!r}")
        self.memory = ModernHopfield(1 / math.sqrt(size) if beta is None else beta, steps - 1)

    def forward(self, stored: Tensor, state: Tensor | None = None) -> Tensor:
        """What each query retrieves; without a `state` the patterns query one another, self-attention"""
        keys, queries = self.key(stored), self.query(stored if state is None else state)
        return self.memory.weights(keys, self.memory(keys, queries)) @ self.value(stored)
