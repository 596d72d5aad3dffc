"""Paths of distributions from one that is easy to one that is wanted, β from 0 to 1.

Annealed importance sampling walks along such a path, parallel tempering has chains everywhere on it. What both need of
a model is a Path; what a state of it is (a Tensor, or several) is the path's own business.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..errors import OptionError, ShapeError
from ..namespace import zeros
from ..random import Generator
from ..tensor import Tensor
from .rbm import RBM


class Path(Protocol):
    """Unnormalized densities p*_β with ln Σ p*_0 known, and a step of a Markov chain that leaves each as it is"""

    def log_normalizer(self) -> Tensor:
        """ln Z₀, of the distribution at β = 0    a number"""

    def start(self, chains: int, generator: Generator | None = None) -> Any:
        """States drawn from the distribution at β = 0."""

    def log_density(self, state: Any, beta: Any) -> Tensor:
        """ln p*_β    [chains]"""

    def step(self, state: Any, beta: Any, generator: Generator | None = None) -> Any:
        """States after a step that leaves p_β as it is, and for the reverse estimate keeps detailed balance."""

    def state(self, given: Tensor) -> Any:
        """States made of values of the variables, such as samples of the model."""


class RBMPath:
    """An RBM whose weights fade in: total inputs z_β = β z + (1 − β) z₀, with z₀ biases of its own on either side

    At β = 0 all units are independent, at β = 1 it is the machine. The base measure of the units (the squares of
    Gaussian ones) stays all along, so every distribution on the way is proper. `visible_bias` is z₀ of the visible
    units, zeros unless given: those of the data's means make the way much shorter (see `Units.bias_for`). Hidden units
    have z₀ = 0.

    A state is the pair of v and the hidden units' inputs, so that nothing is computed twice; β may be an array that
    goes with the chains. The hidden units are summed out in the densities.

    Shapes: v […, chains, visible].
    Source: Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks", 2008, equations 13 to 18.
    """

    def __init__(self, model: RBM, visible_bias: Tensor | None = None) -> None:
        n = model.visible.size
        if visible_bias is None:
            visible_bias = zeros((n,), dtype=model.weight.dtype, device=model.weight.device)
        if visible_bias.shape != (n,):
            raise ShapeError(f"RBMPath: one bias a visible unit, shape [{n}], got {list(visible_bias.shape)}")
        self.model, self.visible_bias = model, visible_bias
        self._bias, self._hidden_bias = model.visible.bias.detach(), model.hidden.bias.detach()

    def log_normalizer(self) -> Tensor:
        hidden = self.model.hidden
        return self.model.visible.log_normalizer(self.visible_bias) + hidden.log_normalizer(self._hidden_bias * 0.0)

    def start(self, chains: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        nothing = zeros((chains, self.model.visible.size), dtype=self._bias.dtype, device=self._bias.device)
        return self.state(self.model.visible.sample(nothing + self.visible_bias, 1.0, generator))

    def state(self, given: Tensor) -> tuple[Tensor, Tensor]:
        return given, self.model.hidden_input(given)

    def log_density(self, state: tuple[Tensor, Tensor], beta: Any) -> Tensor:
        model, (v, z) = self.model, state
        hidden = model.hidden.log_normalizer(z * beta)
        apart = 1.0 - beta if isinstance(beta, (int, float)) else (1.0 - beta)[..., 0]
        found = hidden - model.visible.energy(v) + (model.visible.scaled(v) @ (self.visible_bias - self._bias)) * apart
        if model.hidden_offset is not None:
            found = found - ((z - self._hidden_bias) @ model.hidden_offset) * (1.0 - apart)
        return found

    def step(
        self, state: tuple[Tensor, Tensor], beta: Any, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        model, (_, z) = self.model, state
        h = model.hidden.sample(z * beta, 1.0, generator)
        inputs = model.visible_input(h) * beta + self.visible_bias * (1.0 - beta)
        return self.state(model.visible.sample(inputs, 1.0, generator))


def path_of(model: Any, visible_bias: Tensor | None = None, data: Tensor | None = None) -> Any:
    """The model's path: itself if it is one, what its method `annealing` gives if it has one, or an RBM's.

    With `data` the base has the biases at which the visible units alone have the data's means.
    """
    if hasattr(model, "log_density") and hasattr(model, "step"):
        if visible_bias is not None or data is not None:
            raise OptionError("a path has its base already; visible_bias and data are for models")
        return model
    if data is not None:
        if visible_bias is not None:
            raise OptionError("the base distribution is that of `visible_bias` or that of `data`, not both")
        if hasattr(model, "check_data"):
            visible_bias = model.visible.bias_for(model.check_data(data, "annealing: data"))
    if hasattr(model, "annealing"):
        return model.annealing(visible_bias)
    if not isinstance(model, RBM):
        raise OptionError(f"no path is known from a simple distribution to a {type(model).__name__}; give a Path")
    return RBMPath(model, visible_bias)


def temperatures(betas: Any) -> np.ndarray[Any, Any]:
    """β₀ = 0 < … < 1: as given, or so many of them, closer together the nearer to 1

    Of n steps a sixth lead to 0.5, a third on to 0.8, half of them to 1. On trained machines this needs fewer than even
    steps do; the published 500, 4,000 and 10,000 up to 0.5, 0.9 and 1 want as many to be good.
    """
    if isinstance(betas, (int, np.integer)) and not isinstance(betas, bool):
        if betas < 1:
            raise OptionError(f"annealing takes one step or more, got {betas}")
        return np.interp(np.arange(betas + 1) / betas, [0, 1 / 6, 1 / 2, 1], [0, 0.5, 0.8, 1])
    try:
        values = np.asarray(betas, dtype=np.float64)
    except (TypeError, ValueError):
        raise OptionError(f"annealing: the inverse temperatures are numbers from 0 to 1, got {betas!r}") from None
    if values.ndim != 1 or len(values) < 2 or values[0] != 0 or values[-1] != 1 or not (np.diff(values) > 0).all():
        raise OptionError(
            "annealing: the inverse temperatures rise from 0 to 1; got "
            + (f"{values[0]:.4g} … {values[-1]:.4g}, {len(values)} of them" if values.ndim == 1 and len(values) else
               f"{values!r}")
        )  # fmt: skip
    return values
