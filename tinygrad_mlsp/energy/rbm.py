"""The restricted Boltzmann machine, with units of any kind on either side."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..backend import float32
from ..errors import DTypeError, OptionError, ShapeError
from ..namespace import asarray, concat, zeros
from ..nn import Identity, Linear, Module, Parameter, Sequential, Sigmoid
from ..nn.module import _size
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of
from .enumeration import log_sum
from .units import Bernoulli, Gaussian, Joint, Softmax, Units, amount, as_units

_where, _logsumexp, _expand_dims = record_of("where"), record_of("logsumexp"), record_of("expand_dims")


class RBM(Module):
    """E(v, h) = A(v) + B(h) − (s(v) − μ)ᵀ W (s(h) − λ), with A, B and s of the units; p(v, h) = e^(−E)/Z

    For binary units on both sides E = −bᵀv − cᵀh − vᵀWh, the binary RBM. `visible` and `hidden` are numbers of
    binary units, or `Units`: Gaussian(n), Softmax(classes), Joint(Bernoulli(784), Softmax(10)) …
    The offsets μ and λ are 0 unless the machine is centred; see `center`.

    Shapes: v [batch, visible], h [batch, hidden], weight [visible, hidden]. Energies are in nats, [batch].
    Source: Smolensky, "Harmony theory", 1986; Hinton, "A practical guide to training restricted Boltzmann machines",
    2010. Centring: Montavon and Müller, "Deep Boltzmann machines and the centering trick", 2012.
    """

    def __init__(
        self, visible: int | Units, hidden: int | Units, *, std: float = 0.01, generator: Generator | None = None,
        dtype: Any = float32, device: str = "cpu",
    ) -> None:  # fmt: skip
        std = amount("RBM: std of the initial weights", std)
        self.visible, self.hidden = as_units(visible, "RBM: visible"), as_units(hidden, "RBM: hidden")
        self.visible_offset: Tensor | None
        self.hidden_offset: Tensor | None
        shape = (self.visible.size, self.hidden.size)
        drawn = (generator or default_generator()).normal(shape, 0.0, std, dtype=np.dtype(dtype))
        self.weight = Parameter(drawn)
        self.register_buffer("visible_offset", None)
        self.register_buffer("hidden_offset", None)
        self.to(device, dtype)

    def extra_repr(self) -> str:
        return f"{self.visible.size}, {self.hidden.size}"

    # What the layers send to each other

    def hidden_input(self, v: Tensor) -> Tensor:
        """z = c + Wᵀ(s(v) − μ), the hidden units' total input    [batch, hidden]"""
        seen = self.visible.scaled(v)
        if self.visible_offset is not None:
            seen = seen - self.visible_offset
        return seen @ self.weight + self.hidden.bias

    def visible_input(self, h: Tensor) -> Tensor:
        """z = b + W(s(h) − λ), the visible units' total input    [batch, visible]"""
        seen = self.hidden.scaled(h)
        if self.hidden_offset is not None:
            seen = seen - self.hidden_offset
        return seen @ self.weight.mT + self.visible.bias

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h)    [batch]"""
        seen = self.hidden.scaled(h)
        if self.hidden_offset is not None:
            seen = seen - self.hidden_offset
        sent = self.hidden_input(v) - self.hidden.bias
        return self.visible.energy(v) + self.hidden.energy(h) - (sent * seen).sum(axis=-1)

    def free_energy(self, v: Tensor, hidden_input: Tensor | None = None) -> Tensor:
        """F(v) = −ln Σ_h e^(−E(v, h)), so that p(v) = e^(−F(v))/Z    [batch]

        `hidden_input(v)` may be passed where it is known, so that nothing is computed twice.
        """
        z = self.hidden_input(v) if hidden_input is None else hidden_input
        free = self.visible.energy(v) - self.hidden.log_normalizer(z)
        return free if self.hidden_offset is None else free + (z - self.hidden.bias) @ self.hidden_offset

    def hidden_free_energy(self, h: Tensor) -> Tensor:
        """−ln Σ_v e^(−E(v, h)), so that p(h) = e^(−that)/Z    [batch]"""
        z = self.visible_input(h)
        free = self.hidden.energy(h) - self.visible.log_normalizer(z)
        return free if self.visible_offset is None else free + (z - self.visible.bias) @ self.visible_offset

    def forward(self, v: Tensor) -> Tensor:
        """E[h | v], the features    [batch, hidden]"""
        return self.hidden.mean(self.hidden_input(v))

    # Sampling

    def sample_hidden(self, v: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        """h from p(h | v) at the inverse temperature β"""
        return self.hidden.sample(self.hidden_input(v), beta, generator)

    def sample_visible(self, h: Tensor, beta: float = 1.0, generator: Generator | None = None) -> Tensor:
        """v from p(v | h) at the inverse temperature β"""
        return self.visible.sample(self.visible_input(h), beta, generator)

    def reconstruct(self, v: Tensor) -> Tensor:
        """E[v | h] at h = E[h | v]    [batch, visible]"""
        return self.visible.mean(self.visible_input(self(v)))

    def gibbs(
        self, v: Tensor, steps: int = 1, *, clamp: Any = None, beta: float = 1.0, generator: Generator | None = None
    ) -> Tensor:
        """v after so many rounds of h from p(h | v), v from p(v | h); nothing is recorded

        `clamp` is a mask of visible units, [visible] or [batch, visible], True where the value given stays.
        Values that are not finite are not looked for: units drawn from them are 0.
        """
        with no_grad():
            kept = None if clamp is None else _mask(clamp, v, "RBM.gibbs")
            x = v
            for _ in range(_size("RBM.gibbs: steps", steps)):
                x = self.sample_visible(self.sample_hidden(x, beta, generator), beta, generator)
                if kept is not None:
                    x = _where(kept, v, x)
            return x

    def sample(
        self, n: int, steps: int = 1000, *, start: Tensor | None = None, clamp: Any = None,
        generator: Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """n fantasies, after so many rounds of Gibbs sampling from the visible biases alone, or from `start`

        With `clamp`, a mask, the marked units of `start` stay.
        """
        with no_grad():
            if start is None:
                if clamp is not None:
                    raise OptionError("RBM.sample: clamp marks units of `start`, which is missing")
                nothing = zeros((n, self.visible.size), dtype=self.weight.dtype, device=self.weight.device)
                start = self.visible.sample(nothing + self.visible.bias, 1.0, generator)
            if len(start) != n:
                raise ShapeError(f"{type(self).__name__}.sample: {n} fantasies start from {n} rows, got {len(start)}")
            return self.gibbs(start, steps, clamp=clamp, generator=generator)

    # Labels

    def class_log_probabilities(self, x: Tensor) -> Tensor:
        """ln p(y | x) = −F(x, y) + ln Σ_y' e^(−F(x, y'))    [batch, classes]

        For visible units Joint(…, Softmax(classes)), of which x is all but the label. Gradients flow through it: its
        cross-entropy trains the machine to tell the classes apart.

        Shapes: x [batch, visible − classes].
        Source: Larochelle and Bengio, "Classification using discriminative restricted Boltzmann machines", 2008.
        """
        labels = self.visible.parts[-1] if isinstance(self.visible, Joint) else None
        if not isinstance(labels, Softmax) or labels.groups != 1:
            raise OptionError(
                "RBM.class_log_probabilities: the visible units must end in label units, such as "
                f"Joint(Bernoulli(784), Softmax(10)); they are {self.visible!r}"
            )
        known = self.visible.size - labels.classes
        if x.ndim != 2 or x.shape[1] != known:
            raise ShapeError(
                f"RBM.class_log_probabilities: the units that are no labels have the shape [batch, {known}], got "
                f"{list(x.shape)}"
            )
        none = zeros((len(x), labels.classes), dtype=x.dtype, device=x.device)
        z = self.hidden_input(concat([x, none], axis=1))
        weight = self.weight[known:]
        found = self.hidden.log_normalizer(_expand_dims(z, axis=1) + weight) + labels.bias
        if self.hidden_offset is not None:
            found = found - weight @ self.hidden_offset
        return found - _logsumexp(found, axis=-1, keepdims=True)

    def class_probabilities(self, x: Tensor) -> Tensor:
        """p(y | x), by free energy    [batch, classes]; see `class_log_probabilities`"""
        return self.class_log_probabilities(x).exp()

    # As layers of a net

    def encoder(self) -> Sequential:
        """v ↦ E[h | v] as layers of a net with weights of their own: Linear(visible, hidden), the units' mean"""
        return _layer(self.weight.mT, self.visible, self.visible_offset, self.hidden)

    def decoder(self) -> Sequential:
        """h ↦ E[v | h] as layers of a net with weights of their own: Linear(hidden, visible), the units' mean"""
        return _layer(self.weight, self.hidden, self.hidden_offset, self.visible)

    # Exact, for small machines

    def sample_exact(self, n: int, generator: Generator | None = None) -> Tensor:
        """n rows v drawn from p(v) itself, without a chain, by listing the states of the layer with fewer

        Raises: OptionError where both layers have too many states, or are continua.
        """
        with no_grad():
            states, hidden_first = self._listed()
            free = self.hidden_free_energy if hidden_first else self.free_energy
            weights = concat([-free(states[i : i + 4096]) for i in range(0, len(states), 4096)])
            p = np.exp(weights.numpy().astype(np.float64) - float(weights.max()))
            u = (generator or default_generator()).uniform((_size("RBM.sample_exact: n", n),), dtype=np.float64)
            ends = np.cumsum(p)
            rows = np.minimum(np.searchsorted(ends, u * ends[-1], side="right"), len(p) - 1)
            drawn = states[Tensor(rows, device=states.device)]
            return self.sample_visible(drawn, 1.0, generator) if hidden_first else drawn

    def _listed(self) -> tuple[Tensor, bool]:
        """The states of the layer with fewer, and whether it is the hidden one."""
        hidden_first = self.hidden.size <= self.visible.size
        try:
            return (self.hidden if hidden_first else self.visible).states(), hidden_first
        except OptionError:
            return (self.visible if hidden_first else self.hidden).states(), not hidden_first

    def log_partition(self) -> Tensor:
        """ln Z, exactly, by summing over the states of the layer with fewer; gradients flow through it

        Raises: OptionError where both layers have too many states, or are continua.
        """
        states, hidden_first = self._listed()
        return log_sum(lambda s: -(self.hidden_free_energy(s) if hidden_first else self.free_energy(s)), states)

    def log_likelihood(self, v: Tensor, log_partition: Any = None) -> Tensor:
        """ln p(v) = −F(v) − ln Z, in nats    [batch]; ln Z exactly, unless an estimate of it is given"""
        return -self.free_energy(v) - (self.log_partition() if log_partition is None else log_partition)

    # Centring

    def center(self, v: Tensor, rate: float = 0.01) -> None:
        """Moves the offsets μ and λ this share of the way to the means of s(v) and s(E[h | v]), and the biases so that
        the distribution stays what it is

        With rate=1 the offsets are these means. Called before each step it makes the gradient the centred one.
        """
        with no_grad():
            if v.ndim != 2 or not len(v):
                raise ShapeError(
                    f"RBM.center: wants [batch, {self.visible.size}] with at least one row, got {list(v.shape)}"
                )
            seen = self.visible.scaled(v).mean(axis=0)
            features = self.hidden.scaled(self(v)).mean(axis=0)
            old_v = seen * 0 if self.visible_offset is None else self.visible_offset
            old_h = features * 0 if self.hidden_offset is None else self.hidden_offset
            step_v, step_h = rate * (seen - old_v), rate * (features - old_h)
            self.visible.shift_bias(self.weight @ step_h)
            self.hidden.shift_bias(step_v @ self.weight)
            self.visible_offset, self.hidden_offset = old_v + step_v, old_h + step_h

    def check_data(self, v: Any, what: str) -> Tensor:
        """The data as a Tensor, where the machine is

        Raises: ShapeError, DTypeError or OptionError for data that the visible units cannot stand for: another width,
        none at all, NaN, infinity, values out of range.
        """
        if hasattr(v, "toarray"):
            raise DTypeError(f"{what}: the data are a sparse matrix; give dense ones, v.toarray()")
        x = v if isinstance(v, Tensor) else asarray(v)
        if x.ndim != 2 or x.shape[1] != self.visible.size or not len(x):
            raise ShapeError(
                f"{what}: data of {self.visible.size} visible units have the shape [batch, {self.visible.size}] with "
                f"at least one row, got {list(x.shape)}"
            )
        return self._suitable(x, what)

    def _suitable(self, x: Tensor, what: str) -> Tensor:
        """Data of the right shape, if their values are right, too."""
        values = x.numpy()
        if values.dtype.kind not in "biuf":
            raise DTypeError(f"{what}: the data must be real numbers, not {x.dtype}")
        if not np.isfinite(values).all():
            row, *place = np.argwhere(~np.isfinite(values))[0].tolist()
            at = ", ".join(map(str, place))
            raise OptionError(f"{what}: the data have {values[(row, *place)]} in row {row}, column {at}")
        if (fault := self.visible.fault(values)) is not None:
            raise OptionError(
                f"{what}: the data do not suit the visible units ({type(self.visible).__name__}): {fault}"
            )
        return x.to(self.weight.device, self.weight.dtype)


class UnitsMean(Module):
    """z ↦ E[x] of units whose total input is z, where no activation of a net stands for it"""

    def __init__(self, units: Units) -> None:
        self.units = copy.deepcopy(units)
        self.units.requires_grad_(False)

    def forward(self, z: Tensor) -> Tensor:
        return self.units.mean(z)


def _layer(weight: Tensor, seen: Units, offset: Tensor | None, units: Units) -> Sequential:
    """E[x] of `units` given those `seen`, as a Linear and an activation."""
    if weight.ndim != 2:
        raise OptionError("a convolutional RBM is no Linear layer; `hidden_input` and `features` are its way up")
    with no_grad():
        one = seen.bias * 0 + 1
        layer = Linear(seen.size, units.size, device=weight.device, dtype=weight.dtype, generator=Generator(0))
        layer.weight.copy_(weight * seen.scaled(one))
        assert layer.bias is not None
        layer.bias.copy_(units.bias if offset is None else units.bias - weight @ offset)
    mean = Sigmoid() if type(units) is Bernoulli else Identity() if type(units) is Gaussian else UnitsMean(units)
    return Sequential(layer, mean)


def _mask(clamp: Any, v: Tensor, what: str) -> Tensor:
    mask = clamp if isinstance(clamp, Tensor) else Tensor(clamp, device=v.device)
    if mask.dtype.kind != "b" or mask.shape not in (v.shape, v.shape[1:]):
        raise ShapeError(
            f"{what}: clamp is a mask of booleans of shape {list(v.shape[1:])} or {list(v.shape)}, got {mask.dtype} "
            f"{list(mask.shape)}"
        )
    return mask
