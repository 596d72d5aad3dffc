"""The variational bound: ln p(v) = bound(q) + KL(q ‖ p(h | v)), for any q over binary hidden units.

A q has `sample(n, generator)`, hidden states [n, batch, hidden]; `log_prob(h)`, [n, batch]; and `states()`, all the
states there are, [states, 1, hidden]. Here are three: factorial, in layers, and a table of all states.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import DivergenceError, DTypeError, OptionError, ShapeError
from ..namespace import asarray, concat
from ..nn import Module
from ..optim import Adam
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of, wrap
from .enumeration import binary_states

_exp, _logsumexp, _sigmoid, _softplus, _less, _where, _stack, _expand_dims, _argmax, _take = map(
    record_of,
    ("exp", "logsumexp", "sigmoid", "softplus", "less", "where", "stack", "expand_dims", "argmax", "take"),
)


def bernoulli(logits: Tensor, generator: Generator | None = None) -> Tensor:
    """0 or 1 drawn with P(1) = σ(logit), of the same shape; nothing is recorded"""
    with no_grad():
        p = _sigmoid(logits)
        drawn = (generator or default_generator()).uniform(p.shape, dtype=p.dtype, device=p.device)
        return _less(wrap(drawn, None), p).astype(p.dtype)


def log_bernoulli(x: Tensor, logits: Tensor) -> Tensor:
    """Σᵢ ln P(xᵢ) with P(xᵢ = 1) = σ(zᵢ): Σ xᵢ zᵢ − ln(1 + e^zᵢ)    [...], summed over the last axis"""
    return (x * logits - _softplus(logits)).sum(axis=-1)


class Posterior(Protocol):
    """What a q must have."""

    def sample(self, n: int, generator: Generator | None = None) -> Tensor: ...
    def log_prob(self, h: Tensor) -> Tensor: ...
    def states(self) -> Tensor: ...


class Factorial:
    """q(h) = Πᵢ q(hᵢ), q(hᵢ = 1) = σ(zᵢ): mean field, with the logits z as its parameters

    Shapes: logits [batch, hidden].
    """

    def __init__(self, logits: Tensor) -> None:
        if logits.ndim != 2:
            raise ShapeError(f"Factorial: the logits are [batch, hidden], got {list(logits.shape)}")
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        """E[h] = σ(z)    [batch, hidden]"""
        return _sigmoid(self.logits)

    def log_prob(self, h: Tensor) -> Tensor:
        """ln q(h)    [..., batch]"""
        return log_bernoulli(h, self.logits)

    def entropy(self) -> Tensor:
        """−E[ln q] = Σ ln(1 + e^z) − z σ(z), in nats    [batch]"""
        return (_softplus(self.logits) - self.logits * self.mean).sum(axis=-1)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        return bernoulli(_stack([self.logits.detach()] * n), generator)

    def states(self) -> Tensor:
        return _states(self.logits.shape[-1], self.logits)


class Layered:
    """q(h₁, h₂, … | v) = q(h₁ | v) q(h₂ | h₁) …, each factor factorial: what an upward pass of a net says

    `logits` are functions, one a layer, of the layer below; h is the layers side by side.
    Shapes: v [batch, visible], h [..., batch, sum of sizes].
    """

    def __init__(self, v: Tensor, logits: Sequence[Callable[[Tensor], Tensor]], sizes: Sequence[int]) -> None:
        self.v, self.logits, self.sizes = v, tuple(logits), tuple(sizes)

    def log_prob(self, h: Tensor) -> Tensor:
        layers = split(h, self.sizes)
        terms = [
            log_bernoulli(layer, f(x)) for layer, f, x in zip(layers, self.logits, [self.v, *layers], strict=False)
        ]
        return sum(terms[1:], start=terms[0])

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        with no_grad():
            x, layers = self.v, []
            for i, f in enumerate(self.logits):
                z = f(x)
                x = bernoulli(_stack([z] * n) if i == 0 else z, generator)
                layers.append(x)
            return concat(layers, axis=-1)

    def states(self) -> Tensor:
        return _states(sum(self.sizes), self.v)


class Table:
    """q by its logarithm for every state, such as an exact posterior

    Shapes: states [states, 1, hidden], log_weights [states, batch]; they need not be normalized.
    """

    def __init__(self, states: Tensor, log_weights: Tensor) -> None:
        self._states, self.log_weights = states, log_weights - _logsumexp(log_weights, axis=0)

    def log_prob(self, h: Tensor) -> Tensor:
        """ln q(h) of binary h, counted as `binary_states` counts"""
        if h is self._states:
            return self.log_weights
        n = h.shape[-1]
        powers = Tensor(2 ** np.arange(n - 1, -1, -1), dtype=h.dtype, device=h.device)
        of = Tensor(np.arange(len(self._states)), dtype=h.dtype, device=h.device)
        hit = _expand_dims((h * powers).sum(axis=-1), axis=-1) == of  # [..., batch, states]
        return _where(hit, self.log_weights.mT, 0.0).sum(axis=-1)

    def mean(self) -> Tensor:
        """E[h]    [batch, hidden]"""
        return _exp(self.log_weights).mT @ self._states[:, 0]

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        with no_grad():
            scores = _stack([self.log_weights.mT] * n)
            u = (generator or default_generator()).uniform(scores.shape, dtype=scores.dtype, device=scores.device)
            tiny = float(np.finfo(scores.dtype).tiny)
            chosen = _argmax(scores - (-(wrap(u, None) + tiny).log()).log(), axis=-1)  # Gumbel's maximum
            flat = _take(self._states[:, 0], chosen.reshape(-1), axis=0)
            return flat.reshape((*chosen.shape, flat.shape[-1]))

    def states(self) -> Tensor:
        return self._states


def posterior(log_joint: Callable[[Tensor], Tensor], states: Tensor) -> Table:
    """p(h | v) ∝ p(v, h), exactly, from ln p(v, h) at every state [states, 1, hidden]"""
    return Table(states, log_joint(states))


class VariationalBound:
    """ln p(v) = E_q[ln p(v, h)] − E_q[ln q(h)] + KL(q ‖ p(h | v)): without the last term, never negative, a bound

    The first term is minus the expected energy (of the normalized model), the second the entropy of q. They are
    computed by summing over all states of h, or, with `samples`, estimated from so many draws of q. `log_joint` is
    h ↦ ln p(v, h) for a batch of v that it knows. A bound for an unnormalized model is had by subtracting ln Z.

    All terms are [batch], in nats, and differentiable: exact ones with respect to everything. With samples their
    gradient is with respect to p alone; what q learns by is `loss`.

    Shapes: h [states or samples, batch or 1, hidden], log_joint(h) [states or samples, batch].
    Source: Neal and Hinton, "A view of the EM algorithm that justifies incremental, sparse, and other variants", 1998;
    lecture 2, "Topics: variational bound".
    """

    def __init__(
        self, log_joint: Callable[[Tensor], Tensor], q: Posterior, *, samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if samples is not None and operator.index(samples) < 1:
            raise OptionError(f"VariationalBound: samples must be at least 1, or None for all states; got {samples!r}")
        self.q, self.samples = q, samples
        self.h = q.states() if samples is None else q.sample(samples, generator)
        self.log_p, self.log_q = log_joint(self.h), q.log_prob(self.h)
        if self.log_p.shape != self.log_q.shape:
            raise ShapeError(
                f"VariationalBound: for states {list(self.h.shape)} log_joint gave {list(self.log_p.shape)} and q's "
                f"log_prob {list(self.log_q.shape)}; both are [states or samples, batch]"
            )

    def _expected(self, values: Tensor) -> Tensor:
        return values.mean(axis=0) if self.samples else (_exp(self.log_q) * values).sum(axis=0)

    @property
    def expected_energy(self) -> Tensor:
        """−E_q[ln p(v, h)]"""
        return -self._expected(self.log_p)

    @property
    def entropy(self) -> Tensor:
        """−E_q[ln q(h)]"""
        return -self._expected(self.log_q)

    @property
    def value(self) -> Tensor:
        """The bound: entropy − expected energy"""
        return self._expected(self.log_p - self.log_q)

    @property
    def log_evidence(self) -> Tensor:
        """ln p(v) = ln Σ_h p(v, h), exactly; from samples ln mean p(v, h)/q(h), a bound that more samples tighten

        Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016.
        """
        if self.samples is None:
            return _logsumexp(self.log_p, axis=0)
        return _logsumexp(self.log_p - self.log_q, axis=0) - math.log(self.samples)

    @property
    def gap(self) -> Tensor:
        """KL(q ‖ p(h | v)) = Σ q ln(q / p(h | v)), exactly

        Raises: OptionError for a bound from samples, which knows no p(h | v).
        """
        if self.samples is not None:
            raise OptionError("VariationalBound.gap: the posterior is summed over all states; leave `samples` out")
        return self._expected(self.log_q - (self.log_p - _logsumexp(self.log_p, axis=0)))

    def loss(self) -> Tensor:
        """−mean bound, with a gradient for q even from samples

        From samples q's gradient is that of the likelihood ratio, E[(ln p − ln q − baseline) ∂ ln q], where a sample's
        baseline is the mean over the example's other samples.

        Source: Mnih and Rezende, "Variational inference for Monte Carlo objectives", 2016 (the baseline).
        """
        if self.samples is None:
            return -self.value.mean()
        if self.samples < 2:
            raise OptionError("VariationalBound.loss: the baseline is the other samples' mean; draw 2 samples or more")
        signal = (self.log_p - self.log_q).detach()
        advantage = (signal - signal.mean(axis=0)) * (self.samples / (self.samples - 1))
        learned = (advantage * self.log_q).mean(axis=0)
        return -(self._expected(self.log_p) - self._expected(self.log_q.detach()) + learned - learned.detach()).mean()


def local_expectation_loss(
    log_joint: Callable[[Tensor], Tensor], q: Factorial, samples: int = 1, *, generator: Generator | None = None
) -> Tensor:
    """−mean bound for a factorial q, whose gradient sums each unit out and samples only the others

    ∂/∂zᵢ = σ′(zᵢ) E[ln p(hᵢ = 1, rest) − ln p(hᵢ = 0, rest)] + that of the entropy, which is exact. It varies far less
    than the likelihood ratio's, for two evaluations of log_joint a hidden unit.

    Source: Titsias and Lázaro-Gredilla, "Local expectation gradients for black box variational inference", 2015.
    """
    if operator.index(samples) < 1:
        raise OptionError(f"local_expectation_loss: samples must be at least 1, got {samples!r}")
    h, mean = q.sample(samples, generator), q.mean
    with no_grad():
        eye = Tensor(np.eye(h.shape[-1]), dtype=h.dtype, device=h.device)
        slopes = _stack(
            [(log_joint(h * (1 - one) + one) - log_joint(h * (1 - one))).mean(axis=0) for one in eye], axis=-1
        )
    pull = (mean * slopes).sum(axis=-1)
    energy = log_joint(h).mean(axis=0)
    return -(energy + pull - pull.detach() + q.entropy()).mean()


def fit_mean_field(
    log_joint: Callable[[Tensor], Tensor], q: Factorial, *, steps: int = 100, lr: float = 0.1,
    samples: int | None = None, generator: Generator | None = None,
) -> list[float]:  # fmt: skip
    """Raises the bound by changing q's logits, which become a leaf of their own; returns the mean bound at each step

    The gradient is exact, over all states, or with `samples` by local expectations. The model is not changed.
    """
    q.logits = Tensor(q.logits.detach()._array.copy(), True)
    optimizer, trace = Adam([q.logits], lr), []
    for _ in range(steps):
        if samples is None:
            loss = VariationalBound(log_joint, q).loss()
        else:
            loss = local_expectation_loss(log_joint, q, samples, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trace.append(-loss.item())
    return trace


def split(h: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Layers that stand side by side, one by one."""
    if h.shape[-1] != sum(sizes):
        raise ShapeError(f"layers of {' + '.join(map(str, sizes))} units, but the states are {list(h.shape)}")
    ends = list(itertools.accumulate(sizes, initial=0))
    return [h[..., a:b] for a, b in itertools.pairwise(ends)]


def _states(n: int, like: Tensor) -> Tensor:
    return _expand_dims(binary_states(n, like.dtype, like.device), axis=1)


def log_sum_rows(log_joint: Callable[[Tensor], Tensor], states: Tensor, rows: int) -> Tensor:
    """ln Σ over the states [states, 1, hidden] of log_joint [states, rows], in pieces that fit into memory    [rows]"""
    step = max(1, (1 << 16) // max(1, rows))
    parts = [_logsumexp(log_joint(states[i : i + step]), axis=0) for i in range(0, len(states), step)]
    return parts[0] if len(parts) == 1 else _logsumexp(_stack(parts), axis=0)


def checked(x: Any, width: int, what: str, like: Tensor, low: float = 0.0) -> Tensor:
    """The data as a Tensor of the dtype and on the device of `like`: rows of so many values from `low` to 1

    Raises: ShapeError; DTypeError for sparse or complex data; OptionError for NaN, infinity and values out of range.
    """
    if hasattr(x, "toarray"):
        raise DTypeError(f"{what}: the data are a sparse matrix; give dense ones, x.toarray()")
    x = asarray(x)
    if x.dtype.kind not in "biuf":
        raise DTypeError(f"{what}: the data must be real numbers, not {x.dtype}")
    if x.ndim != 2 or x.shape[1] != width or not len(x):
        raise ShapeError(f"{what}: wants [batch, {width}] with at least one row, got {list(x.shape)}")
    values = x.numpy()
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise OptionError(f"{what}: the data have {values[row, column]} in row {row}, column {column}")
    if values.min() < low or values.max() > 1:
        raise OptionError(
            f"{what}: values from {values.min():.4g} to {values.max():.4g}, outside [{low:g}, 1]; rescale them"
        )
    return x.to(like.device, like.dtype)


def finite(loss: Tensor, model: Module, what: str, limit: float = 1e9) -> Tensor:
    """The loss, if it is a finite number, of a size that some units can have: |L| ≤ `limit` nats

    Saturated units hide weights without bounds from NaN, so the size is asked too.
    Raises: DivergenceError, which names the parameters that are not finite.
    """
    if not abs(value := loss.item()) <= limit:
        values = {name: p.numpy() for name, p in model.named_parameters()}
        bad = [name for name, p in values.items() if not np.isfinite(p).all()]
        sizes = ", ".join(f"{name} up to {np.abs(p).max():.3g}" for name, p in values.items())
        where = f"not finite: {', '.join(bad)}" if bad else f"the parameters are finite: {sizes}"
        advice = "Try a smaller learning rate, or weight decay"
        if math.isnan(value) and not bad:
            advice = (
                f"Look for NaN in the data, or no rows, with {type(model).__name__}.check_data; or " + advice.lower()
            )
        raise DivergenceError(f"{what}: the loss is {value:.4g}; {where}. {advice}")
    return loss
