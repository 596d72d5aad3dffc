"""The deep Boltzmann machine: layers of binary units, each coupled to its neighbours, nothing directed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import float32
from ..errors import OptionError, ShapeError
from ..namespace import concat, zeros
from ..nn import Module, ModuleList, Parameter, ParameterList
from ..nn.module import _size
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of
from .annealing import RBMPath
from .rbm import RBM, _mask
from .units import Bernoulli, Joint, Units, amount
from .variational import Factorial, VariationalBound, checked, finite, log_sum_rows, split

_abs, _where = record_of("abs"), record_of("where")


class Bipartite(RBM):
    """An RBM whose weight is computed from the parameters of another model, anew whenever it is asked for

    Those parameters, and the units, are the other model's own: what trains the one trains the other.
    """

    def __init__(
        self, visible: Units, hidden: Units, parameters: list[Parameter], weight: Callable[[], Tensor]
    ) -> None:
        self.visible, self.hidden, self._computed = visible, hidden, weight
        self.borrowed = ParameterList(parameters)
        self.register_buffer("visible_offset", None)
        self.register_buffer("hidden_offset", None)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self._computed()

    def center(self, v: Tensor, rate: float = 0.01) -> None:
        raise OptionError("this RBM borrows its parameters; it cannot be centred")


class DBM(Module):
    """E(v, h₁, h₂, …) = −vᵀW₁h₁ − h₁ᵀW₂h₂ − … − Σ b·(each layer); p = e^(−E)/Z

    `DBM(784, 500, 1000)`: 784 visible units, then hidden layers. Given the odd layers the even ones are independent,
    and the other way round, so the machine is an RBM between the two, `rbm()`: Gibbs sampling, the exact ln Z of small
    machines and its estimate by annealed importance sampling are the RBM's.

    Shapes: v [batch, visible], h the hidden layers side by side [..., batch, hidden], `weights[l]` [below, above].
    Source: Salakhutdinov and Hinton, "Deep Boltzmann machines", 2009.
    """

    def __init__(
        self, visible: int, *hidden: int, std: float = 0.01, generator: Generator | None = None, dtype: Any = float32,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        if len(hidden) < 2:
            raise OptionError("DBM: takes the sizes of two or more hidden layers; with one it is an RBM")
        std = amount("DBM: std of the initial weights", std)
        self.sizes = tuple(_size("DBM: a layer's size", n, 1) for n in (visible, *hidden))
        generator = generator or default_generator()
        self.units = ModuleList(Bernoulli(n) for n in self.sizes)
        self.weights = ParameterList(
            Parameter(generator.normal(pair, 0.0, std, dtype=np.dtype(dtype)))
            for pair in itertools.pairwise(self.sizes)
        )
        self.to(device, dtype)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.sizes))

    @property
    def layers(self) -> list[Bernoulli]:
        """The units, layer by layer, the visible ones first."""
        return [units for units in self.units if isinstance(units, Bernoulli)]

    @property
    def visible(self) -> Bernoulli:
        """The visible units."""
        return self.layers[0]

    @property
    def hidden(self) -> int:
        """Hidden units of all layers."""
        return sum(self.sizes[1:])

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h)    [..., batch]"""
        layers = [v, *split(h, self.sizes[1:])]
        terms = [units.energy(x) for units, x in zip(self.layers, layers, strict=True)]
        terms += [-((a @ w) * b).sum(axis=-1) for a, w, b in zip(layers, self.weights, layers[1:], strict=False)]
        return sum(terms[1:], start=terms[0])

    def total_input(self, layers: list[Tensor], at: int) -> Tensor:
        """What the layer `at` gets from its neighbours, and its biases    [..., size]"""
        z: Tensor = self.layers[at].bias
        if at > 0:
            z = layers[at - 1] @ self.weights[at - 1] + z
        return z if at + 1 == len(layers) else layers[at + 1] @ self.weights[at].mT + z

    def rbm(self) -> RBM:
        """The machine as an RBM: (v, h₂, …) on one side, (h₁, h₃, …) on the other; the parameters are the same"""
        even, odd = range(0, len(self.sizes), 2), range(1, len(self.sizes), 2)

        def weight() -> Tensor:
            rows = []
            for i in even:
                blocks: list[Tensor] = []
                for j in odd:
                    if j == i + 1:
                        blocks.append(self.weights[i])
                    elif j == i - 1:
                        blocks.append(self.weights[j].mT)
                    else:
                        like = self.weights[0]
                        blocks.append(zeros((self.sizes[i], self.sizes[j]), like.dtype, like.device))
                rows.append(concat(blocks, axis=1) if len(blocks) > 1 else blocks[0])
            return concat(rows, axis=0)

        sides: list[Units] = []
        for side in (even, odd):
            units = [self.layers[i] for i in side]
            sides.append(Joint(*units) if len(units) > 1 else units[0])
        return Bipartite(sides[0], sides[1], list(self.weights), weight)

    # Sampling

    def gibbs(
        self, v: Tensor, h: Tensor, steps: int = 1, *, clamp: Any = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(v, h) after so many rounds: all odd layers given the even ones, then all even ones; nothing is recorded

        `clamp` is a mask of visible units, [visible] or [batch, visible], True where the value given stays: the rest is
        sampled conditionally; with all of them clamped, h is from its posterior.
        """
        with no_grad():
            kept, layers = None if clamp is None else _mask(clamp, v, "DBM.gibbs"), [v, *split(h, self.sizes[1:])]
            for _ in range(_size("DBM.gibbs: steps", steps)):
                for i in (*range(1, len(layers), 2), *range(0, len(layers), 2)):
                    layers[i] = self.layers[i].sample(self.total_input(layers, i), 1.0, generator)
                    if i == 0 and kept is not None:
                        layers[0] = _where(kept, v, layers[0])
            return layers[0], concat(layers[1:], axis=-1)

    def sample(
        self, n: int, steps: int = 1000, *, start: Tensor | None = None, clamp: Any = None,
        generator: Generator | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """n pairs (v, h) after so many rounds from the biases alone, or with v from `start`

        With `clamp`, a mask, the marked units of `start` stay.
        """
        if start is None and clamp is not None:
            raise OptionError("DBM.sample: clamp marks units of `start`, which is missing")
        if start is not None and start.shape != (n, self.sizes[0]):
            raise ShapeError(f"DBM.sample: the start is [{n}, {self.sizes[0]}], got {list(start.shape)}")
        like = self.weights[0]
        with no_grad():
            layers = [
                units.sample(zeros((n, units.size), like.dtype, like.device) + units.bias, 1.0, generator)
                for units in self.layers
            ]
            v = layers[0] if start is None else start
            return self.gibbs(v, concat(layers[1:], axis=-1), steps, clamp=clamp, generator=generator)

    # The positive phase

    def mean_field(self, v: Tensor, steps: int = 30, *, tolerance: float = 1e-5) -> Factorial:
        """The factorial q of the best bound that this way finds: each layer's logits are its input from its
        neighbours' means, layer after layer, until no mean moves further than `tolerance`

        Every update is the best for its layer, so the bound never falls. Starts from an upward pass with doubled
        input, which stands for what is not yet known above. Nothing is recorded.
        """
        with no_grad():
            layers, logits = [v], []
            for i in range(1, len(self.sizes)):
                last = i + 1 == len(self.sizes)
                logits.append(layers[-1] @ self.weights[i - 1] * (1 if last else 2) + self.layers[i].bias)
                layers.append(self.layers[i].mean(logits[-1]))
            for _ in range(steps):
                moved = 0.0
                for i in range(1, len(layers)):
                    before = layers[i]
                    logits[i - 1] = self.total_input(layers, i)
                    layers[i] = self.layers[i].mean(logits[i - 1])
                    moved = max(moved, _abs(layers[i] - before).max().item())
                if moved <= tolerance:
                    break
            return Factorial(concat(logits, axis=-1))

    def forward(self, v: Tensor) -> Tensor:
        """The mean-field means of all hidden units    [batch, hidden]"""
        return self.mean_field(v).mean

    def log_joint(self, v: Tensor, h: Tensor, log_partition: Any = None) -> Tensor:
        """ln p(v, h)    [..., batch]; ln Z exactly, unless an estimate of it is given"""
        return -self.energy(v, h) - (self.log_partition() if log_partition is None else log_partition)

    def bound(self, v: Tensor, q: Factorial | None = None, *, log_partition: Any = None) -> Tensor:
        """E_q[ln p(v, h)] + entropy of q = −E(v, μ) + H(q) − ln Z, for a factorial q, mean field's unless given

        [batch]: exactly, as the energy is linear in each unit; no states are summed. ln Z exactly, unless given.
        """
        q = self.mean_field(v) if q is None else q
        return self.log_joint(v, q.mean, log_partition) + q.entropy()

    def variational_bound(self, v: Tensor, q: Any, *, log_partition: Any = None, **how: Any) -> VariationalBound:
        """The bound for any q, with its terms and its gap; see `VariationalBound`"""
        log_z = self.log_partition() if log_partition is None else log_partition
        return VariationalBound(lambda h: self.log_joint(v, h, log_z), q, **how)

    # Exact, for small machines

    def log_partition(self) -> Tensor:
        """ln Z, by summing over the states of the odd layers or the even ones, whichever are fewer"""
        return self.rbm().log_partition()

    def log_likelihood(self, v: Tensor, log_partition: Any = None) -> Tensor:
        """ln p(v), by summing over all states of the hidden units    [batch]; gradients flow through it"""
        states = Factorial(zeros((1, self.hidden), v.dtype, v.device)).states()
        log_z = self.log_partition() if log_partition is None else log_partition
        return log_sum_rows(lambda h: -self.energy(v, h), states, len(v)) - log_z

    def annealing(self, visible_bias: Tensor | None = None) -> RBMPath:
        """The path of annealed importance sampling, the RBM's; the base has biases for v, or as the machine has"""
        with no_grad():
            rbm = self.rbm()
            weight, bias = rbm.weight, rbm.visible.bias
            if visible_bias is not None:
                bias = concat([visible_bias, bias[self.sizes[0] :]])
            return RBMPath(Bipartite(rbm.visible, rbm.hidden, [], lambda: weight), bias)

    def check_data(self, v: Any, what: str) -> Tensor:
        """The data as a Tensor, where the machine is; see `checked`."""
        return checked(v, self.sizes[0], what, self.weights[0])

    # Learning

    def pretraining_rbm(self, at: int) -> RBM:
        """The RBM of the layers `at` and `at` + 1 to train before all, with this machine's own parameters

        In the whole machine a layer has neighbours on both sides, which an RBM of its own would not know. So the side
        that gets further input later gets the input of this RBM twice: at the bottom there are two copies of the
        visible units, at the top two of the hidden ones, and between them weights count double. Its data, with the
        copies, are given by `pretraining_data`; any way to train an RBM will do.

        Source: Salakhutdinov and Hinton, "Deep Boltzmann machines", 2009, section 3.1; lecture 0, "Greedy learning".
        """
        self._check_layer(at, "DBM.pretraining_rbm")
        below, above = self.layers[at], self.layers[at + 1]
        bottom, top = at == 0, at + 2 == len(self.sizes)
        w = self.weights[at]
        if bottom:
            return Bipartite(Joint(below, below), above, [w], lambda: concat([w, w], axis=0))
        if top:
            return Bipartite(below, Joint(above, above), [w], lambda: concat([w, w], axis=1))
        return Bipartite(below, above, [w], lambda: w * 2.0)

    def pretraining_data(self, v: Tensor, at: int) -> Tensor:
        """What `pretraining_rbm(at)` is trained on: v twice, or the means of the layer from the RBMs below"""
        self._check_layer(at, "DBM.pretraining_data")
        with no_grad():
            x = v
            for i in range(at):
                x = self.layers[i + 1].mean((x @ self.weights[i]) * 2.0 + self.layers[i + 1].bias)
            return concat([x, x], axis=-1) if at == 0 else x

    def _check_layer(self, at: int, what: str) -> None:
        if _size(f"{what}: the layer", at) > len(self.sizes) - 2:
            raise OptionError(f"{what}: layers 0 to {len(self.sizes) - 2}, got {at!r}")


class MeanFieldPersistent:
    """L = mean E(v, μ) − mean E(chains): mean field where the data are clamped, persistent chains for the model

    Its gradient is that of −mean bound, but for the chains' estimate of the model's part; μ and the chains' states are
    constant. Called with a batch of v. The chains go on where they stood, `steps` rounds a call.

    Source: Salakhutdinov and Hinton, "Deep Boltzmann machines", 2009, algorithm 1.
    """

    def __init__(
        self, machine: DBM, chains: int = 100, *, steps: int = 5, mean_field: int = 30,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.machine, self.steps = machine, _size("MeanFieldPersistent: steps", steps, 1)
        self.mean_field, self.generator = _size("MeanFieldPersistent: mean_field", mean_field, 1), generator
        self.v, self.h = machine.sample(_size("MeanFieldPersistent: chains", chains, 1), 1, generator=generator)

    def __call__(self, v: Tensor) -> Tensor:
        machine = self.machine
        if v.ndim != 2 or v.shape[1] != machine.sizes[0] or not len(v):
            raise ShapeError(f"MeanFieldPersistent: data are [batch, {machine.sizes[0]}], got {list(v.shape)}")
        means = machine.mean_field(v, self.mean_field).mean.detach()
        self.v, self.h = machine.gibbs(self.v, self.h, self.steps, generator=self.generator)
        loss = machine.energy(v, means).mean() - machine.energy(self.v, self.h).mean()
        return finite(loss, machine, "MeanFieldPersistent")
