"""The sigmoid belief net, directed from the top down, and the recognition net that learns to read it upward."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..backend import float32
from ..errors import OptionError
from ..namespace import concat, zeros
from ..nn import Linear, Module, ModuleList, Parameter
from ..nn.module import _size
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of, wrap
from .enumeration import binary_states
from .rbm import _mask
from .units import amount
from .variational import (
    Factorial,
    Layered,
    Table,
    bernoulli,
    checked,
    finite,
    log_bernoulli,
    log_sum_rows,
    posterior,
    split,
)

_sigmoid, _where, _less, _expand_dims = map(record_of, ("sigmoid", "where", "less", "expand_dims"))


class SigmoidBeliefNet(Module):
    """ln p(v, h) = Σ ln P(a layer | the layer above), P(xᵢ = 1 | above) = σ(bᵢ + wᵢ·above); the top has biases alone

    `SigmoidBeliefNet(784, 200, 50)` has 784 visible units, 200 hidden ones above them and 50 at the top. States of all
    hidden layers stand side by side, the lowest first.

    Shapes: v [batch, visible], h [..., batch, hidden], `down[l].weight` [layer below, layer above].
    Source: Neal, "Connectionist learning of belief networks", 1992; lecture 2, "DEEP BELIEF NETWORK".
    """

    def __init__(
        self, visible: int, *hidden: int, std: float = 0.01, generator: Generator | None = None, dtype: Any = float32,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        if not hidden:
            raise OptionError("SigmoidBeliefNet: takes the sizes of one or more hidden layers")
        std = amount("SigmoidBeliefNet: std of the initial weights", std)
        self.sizes = tuple(_size("SigmoidBeliefNet: a layer's size", n, 1) for n in (visible, *hidden))
        self.down = ModuleList(_linear(above, below, std, generator) for below, above in itertools.pairwise(self.sizes))
        self.top_bias = Parameter(zeros((hidden[-1],)))
        self.to(device, dtype)

    @property
    def hidden(self) -> int:
        """Hidden units of all layers."""
        return sum(self.sizes[1:])

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.sizes))

    def log_joint(self, v: Tensor, h: Tensor) -> Tensor:
        """ln p(v, h), in nats    [..., batch]; leading axes of h are broadcast, as in [states, 1, hidden]"""
        layers = split(h, self.sizes[1:])
        value = log_bernoulli(layers[-1], self.top_bias)
        for below, above, down in zip([v, *layers], layers, self.down, strict=False):
            value = value + log_bernoulli(below, down(above))
        return value

    # Sampling

    def sample(self, n: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """n pairs (v, h), exactly, from the top down: ancestral sampling"""
        with no_grad():
            layers = [bernoulli(zeros((n, 1), self.top_bias.dtype, self.top_bias.device) + self.top_bias, generator)]
            for down in reversed(list(self.down)):
                layers.append(bernoulli(down(layers[-1]), generator))
            v, *hidden = reversed(layers)
            return v, concat(hidden, axis=-1)

    def gibbs(
        self, v: Tensor, h: Tensor, sweeps: int = 1, *, clamp: Any = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(v, h) after so many sweeps, each of which draws every unit given all others, in a random order

        `clamp` is a mask of visible units, [visible] or [batch, visible], True where the value given stays: with some
        clamped the rest is sampled conditionally, with all clamped the posterior is. A unit's parents, children and
        the children's other parents all matter, so that each draw asks log_joint twice; small nets only.
        """
        visible = self.sizes[0]
        x = concat([v, h], axis=-1)
        mask = _mask(np.zeros(visible, bool) if clamp is None else clamp, v, "SigmoidBeliefNet.gibbs")
        always: list[bool] = np.atleast_2d(mask.numpy()).all(axis=0).tolist()  # type: ignore[assignment]
        free = [i for i in range(x.shape[1]) if i >= visible or not always[i]]
        generator = generator or default_generator()
        with no_grad():
            x = x + 0
            for _ in range(_size("SigmoidBeliefNet.gibbs: sweeps", sweeps)):
                drawn = generator.uniform((len(free), len(x)), dtype=x.dtype, device=x.device)
                for u, at in zip(drawn, generator.permutation(len(free)), strict=True):
                    i, old = free[int(at)], x[:, free[int(at)]] + 0
                    x[:, i] = 1.0
                    difference = self.log_joint(x[:, :visible], x[:, visible:])
                    x[:, i] = 0.0
                    difference = difference - self.log_joint(x[:, :visible], x[:, visible:])
                    new = _less(wrap(u, None), _sigmoid(difference)).astype(x.dtype)
                    x[:, i] = _where(mask[..., i], old, new) if i < visible else new
            return x[:, :visible], x[:, visible:]

    # Exact, for small nets

    def states(self) -> Tensor:
        """Every state of the hidden units    [states, 1, hidden]"""
        return _expand_dims(binary_states(self.hidden, self.top_bias.dtype, self.top_bias.device), axis=1)

    def log_likelihood(self, v: Tensor) -> Tensor:
        """ln p(v), by summing over all states of the hidden units    [batch]; its gradient is the exact one"""
        return log_sum_rows(lambda h: self.log_joint(v, h), self.states(), len(v))

    def posterior(self, v: Tensor) -> Table:
        """p(h | v), exactly"""
        return posterior(lambda h: self.log_joint(v, h), self.states())

    def check_data(self, v: Any, what: str) -> Tensor:
        """The data as a Tensor, where the net is; see `checked`."""
        return checked(v, self.sizes[0], what, self.top_bias)


class Recognition(Module):
    """q(h | v) = q(h₁ | v) q(h₂ | h₁) …, q(hᵢ = 1 | below) = σ(cᵢ + rᵢ·below): the upward half of a Helmholtz machine

    For the net of the same sizes. `Recognition(net)(v)` is a q for `VariationalBound`.
    Source: Dayan et al., "The Helmholtz machine", 1995.
    """

    def __init__(self, net: SigmoidBeliefNet, *, std: float = 0.01, generator: Generator | None = None) -> None:
        self.sizes = net.sizes
        self.up = ModuleList(_linear(below, above, std, generator) for below, above in itertools.pairwise(self.sizes))
        self.to(net.top_bias.device, net.top_bias.dtype)

    def forward(self, v: Tensor) -> Layered:
        return Layered(v, list(self.up), self.sizes[1:])

    def mean_field(self, v: Tensor) -> Factorial:
        """A factorial q: each layer's logits from the means of the one below"""
        x, logits = v, []
        for up in self.up:
            logits.append(up(x))
            x = _sigmoid(logits[-1])
        return Factorial(concat(logits, axis=-1))


def wake_sleep(
    net: SigmoidBeliefNet, recognition: Recognition, v: Tensor, *, generator: Generator | None = None
) -> Tensor:
    """L = −mean ln p(v, h) with h from q(h | v) − mean ln q(h′ | v′) with (v′, h′) from p; samples are constant

    Awake, the net learns to generate what recognition sees in the data; asleep, recognition learns to read what the
    net dreams. The gradient of q is that of KL(p ‖ q), not of the bound.

    Shapes: v [batch, visible].
    Source: Hinton, Dayan, Frey and Neal, "The wake-sleep algorithm for unsupervised neural networks", 1995.
    """
    h = recognition(v).sample(1, generator)[0]
    dreamt, cause = net.sample(len(v), generator)
    loss = -net.log_joint(v, h).mean() - recognition(dreamt).log_prob(cause).mean()
    return finite(loss, net, "wake_sleep")


def _linear(n: int, m: int, std: float, generator: Generator | None) -> Linear:
    """A linear layer with normal weights and no biases to begin with."""
    layer = Linear(n, m, generator=generator)
    layer.weight.copy_((generator or default_generator()).normal((m, n), 0.0, std))
    assert layer.bias is not None
    layer.bias.copy_(0.0)
    return layer
