"""Learning an energy: data down, the model's own samples up.

The gradient of −mean ln p(v) is that of mean F(data) − E_model[F]. What differs between the methods is where the
samples that stand for the model come from; they are held constant. A source of samples is called with the batch, and
the hidden units' inputs for it where these are known.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..nn.module import _size
from ..random import Generator
from ..tensor import Tensor, no_grad
from .rbm import RBM
from .variational import finite

Samples = Callable[[Tensor, Tensor], Tensor]


def contrastive_divergence(model: RBM, v: Tensor, samples: Samples, hidden_input: Tensor | None = None) -> Tensor:
    """L = mean F(v) − mean F(samples), whose gradient is the learning rule ⟨∂F⟩_data − ⟨∂F⟩_model

    The value of L is no likelihood: it may be negative, and says little by itself. `model.hidden_input(v)` may be
    passed where it is known.
    Shapes: v [batch, visible].
    Raises: DivergenceError, with the parameters that are not finite, where L is not.
    Source: Hinton, "Training products of experts by minimizing contrastive divergence", 2002.
    """
    z = model.hidden_input(v) if hidden_input is None else hidden_input
    return finite(phases_apart(model, v, samples, z), model, "contrastive_divergence", sys.float_info.max)


def phases_apart(model: RBM, v: Tensor, samples: Samples, z: Tensor) -> Tensor:
    """`contrastive_divergence`, whatever comes of it."""
    drawn = samples(v, z.detach())
    return model.free_energy(v, z).mean() - model.free_energy(drawn).mean()


def exact_divergence(model: RBM, v: Tensor) -> Tensor:
    """L = mean F(v) + ln Z, the negative log-likelihood, exactly, in nats; for machines small enough to enumerate"""
    return model.free_energy(v).mean() + model.log_partition()


class FromData:
    """CD-k: k rounds of Gibbs sampling from the batch itself

    The first hidden states are drawn from inputs that are already known. `mean_field` takes the visible means in place
    of the last visible sample, as is often done for pictures.
    """

    def __init__(
        self, model: RBM, steps: int = 1, *, mean_field: bool = False, generator: Generator | None = None
    ) -> None:
        self.model, self.steps = model, _size("FromData: steps", steps, 1)
        self.mean_field, self.generator = mean_field, generator

    def __call__(self, v: Tensor, z: Tensor) -> Tensor:
        model, generator = self.model, self.generator
        with no_grad():
            for step in range(self.steps):
                h = model.hidden.sample(z, 1.0, generator)
                inputs = model.visible_input(h)
                if step + 1 < self.steps:
                    z = model.hidden_input(model.visible.sample(inputs, 1.0, generator))
            return model.visible.mean(inputs) if self.mean_field else model.visible.sample(inputs, 1.0, generator)


class Persistent:
    """PCD: chains that go on where they stood at the last update, `steps` rounds each time

    The chains start at the first batch given, or at `start`.
    Source: Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", 2008.
    """

    def __init__(
        self, model: RBM, steps: int = 1, *, start: Tensor | None = None, generator: Generator | None = None
    ) -> None:
        name = type(self).__name__
        self.model, self.steps, self.generator = model, _size(f"{name}: steps", steps, 1), generator
        self.chains = None if start is None else model.check_data(start, f"{name}: start")

    def __call__(self, v: Tensor, z: Any = None) -> Tensor:
        self.chains = self.model.gibbs(v if self.chains is None else self.chains, self.steps, generator=self.generator)
        return self.chains
