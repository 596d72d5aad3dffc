"""The Boltzmann machine, every unit coupled to every other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backend import float32
from ..errors import OptionError, ShapeError
from ..namespace import concat, zeros
from ..nn import Module, Parameter
from ..nn.module import _size
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of, wrap
from .enumeration import binary_states, log_sum
from .rbm import _mask
from .units import amount
from .variational import Table, checked, finite, posterior

_triu, _sigmoid, _where, _less, _logsumexp, _expand_dims = map(
    record_of, ("triu", "sigmoid", "where", "less", "logsumexp", "expand_dims")
)


class BoltzmannMachine(Module):
    """E(x) = −Σ_{i<j} xᵢ wᵢⱼ xⱼ − Σᵢ bᵢ xᵢ with x = (v, h) in {0, 1}ⁿ; p(x) = e^(−E)/Z

    A coupling is stored once, above the diagonal of `weight`; what lies on the diagonal and below counts for nothing
    and gets no gradient. So ∂E/∂wᵢⱼ = −xᵢxⱼ. The symmetric matrix is `couplings()`.

    Shapes: x [batch, visible + hidden], v [batch, visible], weight [n, n], bias [n]. Energies are in nats, [batch].
    Source: Ackley, Hinton and Sejnowski, "A learning algorithm for Boltzmann machines", 1985; lecture 0,
    "Energy minimization" (where θ = −b).
    """

    def __init__(
        self, visible: int, hidden: int = 0, *, std: float = 0.01, generator: Generator | None = None,
        dtype: Any = float32, device: str = "cpu",
    ) -> None:  # fmt: skip
        std = amount("BoltzmannMachine: std of the initial weights", std)
        self.visible = _size("BoltzmannMachine: visible", visible, 1)
        self.hidden = _size("BoltzmannMachine: hidden", hidden)
        n = self.visible + self.hidden
        drawn = (generator or default_generator()).normal((n, n), 0.0, std, dtype=np.dtype(dtype))
        self.weight = Parameter(np.triu(drawn, 1))
        self.bias = Parameter(zeros((n,), dtype=dtype))
        self.to(device, dtype)

    def extra_repr(self) -> str:
        return f"{self.visible}, {self.hidden}"

    def couplings(self) -> Tensor:
        """W, symmetric with a zero diagonal    [n, n]"""
        upper = _triu(self.weight, k=1)
        return upper + upper.mT

    def energy(self, x: Tensor) -> Tensor:
        """E(x)    [batch]"""
        return -((x @ _triu(self.weight, k=1)) * x).sum(axis=-1) - x @ self.bias

    def total_input(self, x: Tensor) -> Tensor:
        """zᵢ = Σⱼ wᵢⱼ xⱼ + bᵢ = E(xᵢ = 0) − E(xᵢ = 1), so that P(xᵢ = 1 | all others) = σ(zᵢ)    [batch, n]"""
        return x @ self.couplings() + self.bias

    # Sampling

    def gibbs(
        self, x: Tensor, sweeps: int = 1, *, clamp: Any = None, beta: float = 1.0, generator: Generator | None = None
    ) -> Tensor:
        """x after so many sweeps, each of which draws every unit once, given all others, in a random order

        The units of a sweep follow one another, as each depends on those before it: a step of the host a unit, over
        all chains at once. `clamp` is a mask of units, [n] or [batch, n], True where the value given stays. Nothing is
        recorded.
        """
        with no_grad():
            generator = generator or default_generator()
            mask, free = self._free(x, clamp)
            couplings, x = self.couplings(), x + 0
            for _ in range(_size("BoltzmannMachine.gibbs: sweeps", sweeps)):
                drawn = generator.uniform((len(free), len(x)), dtype=x.dtype, device=x.device)
                for u, at in zip(drawn, generator.permutation(len(free)), strict=True):
                    i = free[int(at)]
                    p = _sigmoid((x @ couplings[i] + self.bias[i]) * beta)
                    new = _less(wrap(u, None), p).astype(x.dtype)
                    x[:, i] = new if mask is None or mask.ndim == 1 else _where(mask[:, i], x[:, i], new)
            return x

    def _free(self, x: Tensor, clamp: Any) -> tuple[Tensor | None, list[int]]:
        n = self.visible + self.hidden
        if x.ndim != 2 or x.shape[1] != n:
            raise ShapeError(
                f"BoltzmannMachine.gibbs: states are [batch, {n}], visible then hidden, not {list(x.shape)}"
            )
        if clamp is None:
            return None, [*range(n)]
        mask = _mask(clamp, x, "BoltzmannMachine.gibbs")
        always: list[bool] = np.atleast_2d(mask.numpy()).all(axis=0).tolist()  # type: ignore[assignment]
        return mask, [i for i in range(n) if not always[i]]

    def anneal(
        self, x: Tensor, temperatures: Iterable[float] | None = None, *, clamp: Any = None,
        generator: Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """x after a sweep at each of these falling temperatures: simulated annealing, the search for a low energy

        Unless told, 100 temperatures from 10 to 0.1, each the same share of the one before.
        Source: Kirkpatrick, Gelatt and Vecchi, "Optimization by simulated annealing", 1983.
        """
        for t in (10 * 0.01 ** (i / 99) for i in range(100)) if temperatures is None else temperatures:
            if not t > 0:
                raise OptionError(f"BoltzmannMachine.anneal: a temperature must be positive, got {t!r}")
            x = self.gibbs(x, clamp=clamp, beta=1 / t, generator=generator)
        return x

    def random(self, n: int, generator: Generator | None = None) -> Tensor:
        """n states of fair coins    [n, visible + hidden]"""
        shape, of = (_size("BoltzmannMachine: n", n), self.visible + self.hidden), self.weight
        drawn = (generator or default_generator()).bernoulli(0.5, shape, of.device)
        return wrap(drawn, None).astype(of.dtype)

    def sample(
        self, n: int, sweeps: int = 1000, *, start: Tensor | None = None, clamp: Any = None,
        generator: Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """n states, visible units and hidden, after so many sweeps from fair coins, or from `start`"""
        if start is None and clamp is not None:
            raise OptionError("BoltzmannMachine.sample: clamp marks units of `start`, which is missing")
        x = self.random(n, generator) if start is None else start
        if len(x) != n:
            raise ShapeError(f"BoltzmannMachine.sample: {n} states start from {n} rows, got {len(x)}")
        return self.gibbs(x, sweeps, clamp=clamp, generator=generator)

    # Exact, for small machines

    def log_joint(self, v: Tensor, h: Tensor) -> Tensor:
        """−E(v, h), that is ln p(v, h) + ln Z; leading axes of h are broadcast, as in [states, 1, hidden]"""
        m, upper = self.visible, _triu(self.weight, k=1)
        sent = v @ upper[:m, m:] + self.bias[m:]
        return (
            ((v @ upper[:m, :m]) * v).sum(axis=-1) + v @ self.bias[:m]
            + ((h @ upper[m:, m:]) * h).sum(axis=-1) + (sent * h).sum(axis=-1)
        )  # fmt: skip

    def _hidden_states(self) -> Tensor:
        return _expand_dims(binary_states(self.hidden, self.weight.dtype, self.weight.device), axis=1)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = −ln Σ_h e^(−E(v, h)), by enumeration, so that p(v) = e^(−F(v))/Z    [batch]"""
        return -_logsumexp(self.log_joint(v, self._hidden_states()), axis=0)

    def log_partition(self) -> Tensor:
        """ln Z, by summing over all 2ⁿ states; gradients flow through it"""
        states = binary_states(self.visible + self.hidden, self.weight.dtype, self.weight.device)
        return log_sum(lambda x: -self.energy(x), states)

    def log_likelihood(self, v: Tensor, log_partition: Any = None) -> Tensor:
        """ln p(v) = −F(v) − ln Z, in nats    [batch]; its gradient is the exact learning rule"""
        return -self.free_energy(v) - (self.log_partition() if log_partition is None else log_partition)

    def posterior(self, v: Tensor) -> Table:
        """p(h | v), exactly"""
        return posterior(lambda h: self.log_joint(v, h), self._hidden_states())

    def check_data(self, v: Any, what: str) -> Tensor:
        """The data as a Tensor, where the machine is; see `checked`."""
        return checked(v, self.visible, what, self.weight)


class TwoPhases:
    """L = ⟨E⟩ with the visible units clamped − ⟨E⟩ free, whose gradient is −(⟨xᵢxⱼ⟩_clamped − ⟨xᵢxⱼ⟩_free)

    Called with a batch of v it samples both phases and returns L; samples are constant. The hidden units of the
    clamped phase start from fair coins and take `clamped` sweeps; the free phase's `chains` go on where they stood,
    `free` sweeps a call. With `annealed` temperatures both phases begin by these.

    >>> machine = BoltzmannMachine(4, 2)
    >>> loss = TwoPhases(machine)(zeros((8, 4)))
    >>> loss.backward()
    """

    def __init__(
        self, machine: BoltzmannMachine, chains: int = 100, *, clamped: int = 10, free: int = 10,
        annealed: Iterable[float] = (), generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.machine, self.generator, self.annealed = machine, generator, tuple(annealed)
        self.clamped, self.free = _size("TwoPhases: clamped", clamped, 1), _size("TwoPhases: free", free, 1)
        self.chains = machine.random(_size("TwoPhases: chains", chains, 1), generator)

    def __call__(self, v: Tensor) -> Tensor:
        machine, generator = self.machine, self.generator
        hidden = machine.random(len(v), generator)[:, machine.visible :]
        x, clamp = concat([v, hidden], axis=-1), np.arange(machine.visible + machine.hidden) < machine.visible
        if machine.hidden:
            x = machine.anneal(x, self.annealed, clamp=clamp, generator=generator)
            x = machine.gibbs(x, self.clamped, clamp=clamp, generator=generator)
        self.chains = machine.anneal(self.chains, self.annealed, generator=generator)
        self.chains = machine.gibbs(self.chains, self.free, generator=generator)
        return finite(machine.energy(x).mean() - machine.energy(self.chains).mean(), machine, "TwoPhases")
