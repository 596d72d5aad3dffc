"""Further sources of the model's samples for contrastive divergence: chains that mix better, and none at all."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import OptionError
from ..namespace import concat, stack
from ..nn.module import _size
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of, wrap
from .annealing import path_of, temperatures
from .divergence import Persistent
from .rbm import RBM

_where, _less, _exp = record_of("where"), record_of("less"), record_of("exp")


class Exact:
    """As many exact samples as the batch has rows, for machines small enough to list the states of a layer"""

    def __init__(self, model: RBM, *, generator: Generator | None = None) -> None:
        self.model, self.generator = model, generator

    def __call__(self, v: Tensor, z: Any = None) -> Tensor:
        return self.model.sample_exact(len(v), self.generator)


class FastPersistent(Persistent):
    """FPCD: persistent chains of the energy with weights W + W_fast, where W_fast ← decay · W_fast − rate · ∂L/∂W

    The fast weights, one beside each parameter, push the chains away from where they are, so that they mix at rates at
    which plain persistent chains would stand still. The model itself has no part in them.

    Source: Tieleman and Hinton, "Using fast weights to improve persistent contrastive divergence", 2009.
    """

    def __init__(
        self, model: RBM, steps: int = 1, *, rate: float = 0.01, decay: float = 0.95, start: Tensor | None = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, steps, start=start, generator=generator)
        if hasattr(model, "borrowed"):  # a copy would have the same weights
            raise OptionError("FastPersistent: this RBM borrows its parameters; take Persistent or Tempered")
        if not rate >= 0 or not 0 <= decay < 1:
            raise OptionError(f"FastPersistent: rate is positive, decay from 0 to below 1; got {rate!r} and {decay!r}")
        self.rate, self.decay = rate, decay
        self._pushed = copy.deepcopy(model)  # the same machine with the fast weights added
        self.fast = [p.detach() * 0.0 for p in model.parameters()]

    def __call__(self, v: Tensor, z: Any = None) -> Tensor:
        pushed, chains = self._pushed, v if self.chains is None else self.chains
        pushed.visible_offset, pushed.hidden_offset = self.model.visible_offset, self.model.hidden_offset
        with no_grad():
            self._set([p + f for p, f in zip(self.model.parameters(), self.fast, strict=True)])
            self.chains = chains = pushed.gibbs(chains, self.steps, generator=self.generator)
            self._set(self.model.parameters())
        pushed.zero_grad()
        (pushed.free_energy(v.detach()).mean() - pushed.free_energy(chains).mean()).backward()
        with no_grad():
            slopes = [p.grad if p.grad is not None else p * 0.0 for p in pushed.parameters()]
            self.fast = [f * self.decay - self.rate * g for f, g in zip(self.fast, slopes, strict=True)]
        return chains

    def _set(self, values: Iterable[Tensor]) -> None:
        for mine, value in zip(self._pushed.parameters(), values, strict=True):
            mine.copy_(value)


class Tempered:
    """Parallel tempering: chains at inverse temperatures from 0 to 1 that change places; those at 1 are the samples

    After every round of Gibbs sampling at each temperature, neighbours swap their states with the probability
    min(1, p_i(v_j) p_j(v_i)/(p_i(v_i) p_j(v_j))), pairs (0, 1), (2, 3), … and (1, 2), (3, 4), … by turns, which leaves
    all distributions as they are. The way from 0 to 1 is that of annealed importance sampling, see `annealing.RBMPath`.

    The chains start from the distribution at β = 0. `swapped` is the share of proposals that were accepted, by pair,
    over all calls: where it is near 0 the temperatures are too far apart.

    Shapes: states [temperatures, chains, visible].
    Source: Desjardins et al., "Tempered Markov chain Monte Carlo for training of restricted Boltzmann machines", 2010.
    """

    def __init__(
        self, model: Any, betas: Any = 10, steps: int = 1, *, chains: int | None = None,
        visible_bias: Tensor | None = None, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.model, self.steps = model, _size("Tempered: steps", steps, 1)
        self.chains = None if chains is None else _size("Tempered: chains", chains, 1)
        given = isinstance(betas, (int, np.integer))
        self.betas = temperatures(np.linspace(0, 1, int(betas)) if given and betas >= 2 else betas)
        self.visible_bias, self.generator = visible_bias, generator
        self.state: Tensor | None = None
        self._round = 0
        self._accepted, self._proposed = np.zeros((2, len(self.betas) - 1))

    @property
    def swapped(self) -> np.ndarray[Any, Any]:
        """The share of swaps accepted between each β and the next."""
        return self._accepted / np.maximum(self._proposed, 1)

    def __call__(self, v: Tensor, z: Any = None) -> Tensor:
        with no_grad():
            path = path_of(self.model, self.visible_bias)
            if self.state is None:
                chains = len(v) if self.chains is None else self.chains
                drawn = [path.start(chains, self.generator)[0] for _ in self.betas]
                self.state = stack(drawn)
            beta = Tensor(self.betas.reshape(-1, 1, 1), dtype=self.state.dtype, device=self.state.device)
            x = self.state
            for _ in range(self.steps):
                x = self._swap(path, path.step(path.state(x), beta, self.generator), beta)
            self.state = x
            return x[-1]

    def _swap(self, path: Any, state: Any, beta: Tensor) -> Tensor:
        """The states after half of the pairs of neighbours were offered to change places."""
        x = state[0]
        first, self._round = self._round % 2, self._round + 1
        pairs = (len(self.betas) - first) // 2
        if not pairs:
            return x
        low, high = slice(first, first + 2 * pairs, 2), slice(first + 1, first + 2 * pairs, 2)
        a, b = (tuple(part[s] for part in state) for s in (low, high))
        p = swap_probability(path, a, b, beta[low], beta[high])
        u = (self.generator or default_generator()).uniform(p.shape, dtype=p.dtype, device=p.device)
        swap = _less(wrap(u, None), p)
        self._accepted[low] += swap.astype(p.dtype).mean(axis=1).numpy()
        self._proposed[low] += 1
        yes = swap[..., None]
        both = stack([_where(yes, b[0], a[0]), _where(yes, a[0], b[0])], axis=1)
        return concat([x[:first], both.reshape((2 * pairs, *x.shape[1:])), x[first + 2 * pairs :]])


def swap_probability(path: Any, a: Any, b: Any, beta_a: Any, beta_b: Any) -> Tensor:
    """min(1, p_a(b) p_b(a)/(p_a(a) p_b(b))), that states at two temperatures change places    [pairs, chains]"""
    here = path.log_density(a, beta_a) + path.log_density(b, beta_b)
    there = path.log_density(b, beta_a) + path.log_density(a, beta_b)
    return _exp((there - here).clip(None, 0.0))
