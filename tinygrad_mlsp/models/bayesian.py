"""Bayesian nets: the posterior of the weights, by Hamiltonian and Langevin sampling, and by a variational bound.

The samplers know nothing of nets. They take ln p up to a constant as a function of chains of points,
[chains, dim] → [chains], which is differentiated by the engine; all chains move together, as arrays.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import float32, space_of
from ..derivatives import value_and_grad
from ..errors import DivergenceError, OptionError, ShapeError, TrainingWarning
from ..namespace import asarray, stack
from ..nn import Linear, Module, Parameter
from ..nn.module import _size
from ..optim import Adam, Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of, wrap
from .mlp import flat
from .probabilistic import (
    as_data,
    is_number,
    log_mean,
    noise_of,
    normal_divergence,
    normal_log_density,
    normals,
    settled,
    split,
    unheard,
    update,
)

_linear, _exp, _sqrt, _where, _tanh = (record_of(name) for name in ("linear", "exp", "sqrt", "where", "tanh"))
_log_softmax, _take = record_of("log_softmax"), record_of("take_along_axis")

LogDensity = Callable[[Tensor], Tensor]

# Sampling


@dataclass
class Samples:
    """What a sampler gives: where the chains went, and how well they moved."""

    points: Tensor  # [kept, chains, dim]
    log_density: Tensor  # [kept, chains]
    acceptance: float  # the mean probability with which a proposal was accepted; 1 where none is refused
    step_size: float  # at the end, after any tuning

    @property
    def pooled(self) -> Tensor:
        """All points of all chains    [kept · chains, dim]"""
        return self.points.reshape((-1, self.points.shape[-1]))


def leapfrog(
    gradient: Callable[[Tensor], Tensor], q: Tensor, p: Tensor, step_size: float, steps: int,
    slope: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """p ← p + ½ε ∇ln π(q), q ← q + ε p, p ← p + ½ε ∇ln π(q), so many times: (q, p, ∇ln π(q)) at the end

    It keeps volumes, and from (q, −p) it goes back to where it came from; the error of ½p² − ln π(q) is O(ε²).
    `slope` is ∇ln π at the start, where it is known.
    Source: Neal, "MCMC using Hamiltonian dynamics", 2011.
    """
    slope = gradient(q) if slope is None else slope
    for _ in range(steps):
        p = p + slope * (0.5 * step_size)
        q = q + p * step_size
        slope = gradient(q)
        p = p + slope * (0.5 * step_size)
    return q, p, slope


def hamiltonian(
    log_density: LogDensity, start: Any, n: int, *, step_size: float = 0.1, leapfrogs: int = 10, burn: int = 0,
    keep_every: int = 1, target: float | None = None, generator: Generator | None = None,
) -> Samples:  # fmt: skip
    """Hamiltonian Monte Carlo: p ~ N(0, I); so many leapfrog steps; accepted with probability min(1, e^(H − H'))

    H = ½p² − ln π(q). A chain whose proposal is refused stays. After `burn` rounds, n are made, of which every
    `keep_every`-th is kept. With `target`, an acceptance such as 0.8, the step is tuned during `burn`, and fixed after
    it. Steps are drawn within ±10 %, so that no period of the density is met by the trajectory's length.

    Shapes: start [chains, dim].
    Raises: ShapeError, OptionError for a start where ln π is not finite. TrainingWarning where next to nothing, under
    5 %, is accepted.
    Source: Duane, Kennedy, Pendleton and Roweth, "Hybrid Monte Carlo", 1987; Neal, 2011.
    """
    q = _start("hamiltonian", start)
    generator = generator or default_generator()
    _rounds("hamiltonian", n, burn, keep_every)
    _size("hamiltonian: leapfrogs", leapfrogs, 1)
    if not is_number(step_size) or not 0 < step_size < math.inf:
        raise OptionError(f"hamiltonian: wants a positive step_size, got {step_size!r}")
    if target is not None and not (0 < target < 1 and burn):
        raise OptionError(f"hamiltonian: a target is between 0 and 1 and needs a burn; got {target!r} and {burn!r}")
    both = _value_and_slope("hamiltonian", log_density)
    points, logs, accepted = [], [], []
    size = float(step_size)
    with no_grad(), unheard():
        value, slope = both(q)
        _finite_start("hamiltonian", value)
        for t in range(burn + n):
            epsilon = size * float(generator.uniform((), 0.9, 1.1, dtype=np.float64))
            p = normals(q.shape, q, generator)
            found: list[Tensor] = []

            def gradient(x: Tensor, found: list[Tensor] = found) -> Tensor:
                found[:] = both(x)
                return found[1]

            q_new, p_new, slope_new = leapfrog(gradient, q, p, epsilon, leapfrogs, slope)
            change = found[0] - value + ((p * p).sum(axis=-1) - (p_new * p_new).sum(axis=-1)) * 0.5
            u = generator.uniform(value.shape, dtype=value.dtype, device=value.device)
            xp = space_of(u)
            chance = xp.exp(xp.minimum(xp.where(xp.isnan(change._array), -xp.inf, change._array), 0))
            taken = wrap(u < chance, None)
            wide = taken.reshape((-1, 1))
            q, slope, value = _where(wide, q_new, q), _where(wide, slope_new, slope), _where(taken, found[0], value)
            if t < burn:
                if target is not None:
                    size *= math.exp(2 * (float(chance.mean()) - target) * (t + 1) ** -0.5)
                continue
            accepted.append(wrap(chance, None).mean())
            if (t - burn + 1) % keep_every == 0:
                points.append(q)
                logs.append(value)
        rate = float(stack(accepted).mean())
    if rate < 0.05:
        warnings.warn(
            f"hamiltonian: only {rate:.1%} of the proposals were accepted; the chains hardly moved. Take a smaller "
            f"step_size (it is {size:.3g}), or tune it with target=0.8",
            TrainingWarning,
            stacklevel=2,
        )
    return Samples(stack(points), stack(logs), rate, size)


def langevin(
    log_density: LogDensity, start: Any, n: int, *, step_size: Any = 0.01, adjusted: bool = True, burn: int = 0,
    keep_every: int = 1, generator: Generator | None = None,
) -> Samples:  # fmt: skip
    """q' = q + ½ε ∇ln π(q) + √ε n; adjusted, accepted with probability min(1, π(q') p(q | q')/π(q) p(q' | q))

    The adjusted one (MALA) is Hamiltonian Monte Carlo with one leapfrog step of √ε. Without adjustment every proposal
    is taken, and the distribution is off by O(ε). Then `log_density` may be an estimate that is drawn anew at each
    call, such as the prior's plus n/batch times a minibatch's, and `step_size` a function of the round, falling: that
    is stochastic gradient Langevin dynamics (SGLD).

    Shapes: start [chains, dim].
    Source: Roberts and Tweedie, "Exponential convergence of Langevin distributions", 1996; Welling and Teh, "Bayesian
    learning via stochastic gradient Langevin dynamics", 2011.
    """
    _rounds("langevin", n, burn, keep_every)
    if not callable(step_size) and not (is_number(step_size) and 0 < step_size < math.inf):
        raise OptionError(f"langevin: step_size must be positive, got {step_size!r}")
    if adjusted:
        if callable(step_size):
            raise OptionError("langevin: a step_size that changes needs adjusted=False")
        return hamiltonian(
            log_density, start, n, step_size=math.sqrt(step_size), leapfrogs=1, burn=burn, keep_every=keep_every,
            generator=generator,
        )  # fmt: skip
    q = _start("langevin", start)
    both = _value_and_slope("langevin", log_density)
    points, logs, size = [], [], 0.0
    with no_grad(), unheard():
        for t in range(burn + n):
            size = float(step_size(t) if callable(step_size) else step_size)
            if not size > 0:
                raise OptionError(f"langevin: step_size must be positive, got {size!r} in round {t}")
            value, slope = both(q)
            if t == 0:
                _finite_start("langevin", value)
            if t > burn and (t - burn) % keep_every == 0:
                points.append(q)
                logs.append(value)
            q = q + slope * (0.5 * size) + normals(q.shape, q, generator) * math.sqrt(size)
        if n % keep_every == 0:
            points.append(q)
            logs.append(both(q)[0])
    if not bool(space_of(q._array).isfinite(q._array).all()):
        warnings.warn(
            f"langevin: chains went to infinity; take a smaller step_size (it is {size:.3g}), or adjusted=True",
            TrainingWarning,
            stacklevel=2,
        )
    return Samples(stack(points), stack(logs), 1.0, size)


def _rounds(what: str, n: Any, burn: Any, keep_every: Any) -> None:
    for name, value, least in (("n", n, 1), ("burn", burn, 0), ("keep_every", keep_every, 1)):
        _size(f"{what}: {name}", value, least)
    if keep_every > n:
        raise OptionError(f"{what}: of n={n} rounds, with keep_every={keep_every}, none would be kept")


def _chains(what: str, points: Any) -> np.ndarray[Any, Any]:
    """The chains as an array of float64. Raises: ShapeError, OptionError for what is not finite."""
    x = asarray(points).numpy().astype(np.float64)
    if x.ndim != 3:
        raise ShapeError(f"{what}: points have the shape [kept, chains, dim], got {list(x.shape)}")
    if len(x) < 4:
        raise ShapeError(f"{what}: wants 4 points of each chain or more, got {len(x)}")
    if not np.isfinite(x).all():
        raise OptionError(f"{what}: the chains have points that are not finite")
    return x


def _start(what: str, start: Any) -> Tensor:
    q = asarray(start).detach()
    if q.ndim != 2 or not q.size:
        raise ShapeError(f"{what}: start has the shape [chains, dim], got {list(q.shape)}")
    return q if q.dtype.kind == "f" else q.astype(float32)


def _value_and_slope(what: str, log_density: LogDensity) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """q ↦ (ln π, ∇ln π), a row a chain: one sweep for the sum of all chains"""

    def both(q: Tensor) -> tuple[Tensor, Tensor]:
        kept: list[Tensor] = []

        def total(x: Tensor) -> Tensor:
            value = log_density(x)
            if not isinstance(value, Tensor):
                raise ShapeError(f"{what}: the log-density gives a Tensor, a number a chain, got {value!r}")
            if value.shape != x.shape[:1]:
                raise ShapeError(
                    f"{what}: the log-density of {list(x.shape)} is {list(x.shape[:1])}, got {list(value.shape)}"
                )
            kept.append(value.detach())
            return value.sum()

        _, slope = value_and_grad(total)(q)
        return kept[0], slope

    return both


def _finite_start(what: str, value: Tensor) -> None:
    bad = value.numpy()
    if not np.isfinite(bad).all():
        chain = int(np.flatnonzero(~np.isfinite(bad))[0])
        raise OptionError(f"{what}: the log-density is {bad[chain]} at the start of chain {chain}; start elsewhere")


def effective_size(points: Tensor) -> np.ndarray[Any, Any]:
    """How many independent points the chains are worth, by each coordinate    [dim]

    n m/(1 + 2 Σ ρ_t), with autocorrelations ρ over all chains, summed as long as those of two neighbours are positive.
    Shapes: points [kept, chains, dim].
    Source: Geyer, "Practical Markov chain Monte Carlo", 1992; Gelman et al., "Bayesian data analysis", 2013, 11.5.
    """
    x = _chains("effective_size", points)
    n, chains, dim = x.shape
    away = x - x.mean(axis=0)
    spectrum = np.fft.rfft(away, 2 * n, axis=0)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), axis=0)[:n].mean(axis=1) / n
    within = covariance[0] * n / (n - 1)
    whole = within * (n - 1) / n + (x.mean(axis=0).var(axis=0, ddof=1) if chains > 1 else 0.0)
    rho = 1 - (within - covariance) / np.maximum(whole, 1e-300)
    rho[0] = 1.0
    pairs = rho[: n // 2 * 2].reshape(-1, 2, dim).sum(axis=1)
    going = np.minimum.accumulate(pairs > 0, axis=0)
    time = 2 * (pairs * going).sum(axis=0) - 1
    return n * chains / np.maximum(time, 1 / math.log10(max(10, n * chains)))


def split_rhat(points: Tensor) -> np.ndarray[Any, Any]:
    """√(whole variance/variance within half chains), near 1 where the chains tell the same    [dim]

    Shapes: points [kept, chains, dim].
    Source: Gelman and Rubin, "Inference from iterative simulation", 1992; Gelman et al., 2013, 11.4.
    """
    x = _chains("split_rhat", points)
    n = len(x) // 2
    halves = np.concatenate([x[:n], x[n : 2 * n]], axis=1)
    within = halves.var(axis=0, ddof=1).mean(axis=0)
    between = halves.mean(axis=0).var(axis=0, ddof=1)
    return np.sqrt((n - 1) / n + between / np.maximum(within, 1e-300))


# A net whose weights are one vector


class BayesianMLP:
    """y ~ N(f(x; θ), σ²), or softmax(f(x; θ)), with θ ~ N(0, s²): a net of tanh layers whose weights are one vector θ

    Chains of θ are answered together, so that samplers may move many. `sizes` are those of the input, the hidden
    layers and the output. `noise` is σ; with "learned", ln σ is the last entry of θ, with the prior N(ln ½, 1);
    with "classes" the targets are class numbers. A weight has the prior N(0, s²/fan-in), so that the function's scale
    does not grow with the width, a bias N(0, s²).

    Shapes: θ [chains, size], x [batch, sizes[0]], y [batch, sizes[-1]] or, of classes, [batch]; f [chains, batch, out].
    Source: Neal, "Bayesian learning for neural networks", 1996; lecture 1, "Deep Neural Networks for Unsupervised
    Learning" (MAP, or the full posterior).
    """

    def __init__(self, sizes: Sequence[int], noise: str | float = "learned", prior_std: float = 1.0) -> None:
        if not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise ShapeError(f"BayesianMLP: sizes are those of input, hidden layers and output, got {sizes!r}")
        noise_of("BayesianMLP", noise, "learned", "classes")
        if not (is_number(prior_std) and prior_std > 0):
            raise OptionError(f"BayesianMLP: prior_std must be positive, got {prior_std!r}")
        self.sizes, self.noise, self.prior_std = (
            tuple(_size("BayesianMLP: sizes", s, 1) for s in sizes),
            noise,
            prior_std,
        )
        self.shapes = [(a, b) for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        self.weights = sum((a + 1) * b for a, b in self.shapes)
        self.size = self.weights + (noise == "learned")

    def __repr__(self) -> str:
        return f"BayesianMLP({list(self.sizes)}, noise={self.noise!r}, prior_std={self.prior_std})"

    def scales(self, like: Tensor) -> Tensor:
        """The prior's standard deviation of each entry of θ    [size]"""
        parts = [
            part
            for a, b in self.shapes
            for part in (np.full(a * b, self.prior_std / a**0.5), np.full(b, self.prior_std))
        ]
        if self.noise == "learned":
            parts.append(np.ones(1))
        return Tensor(np.concatenate(parts), dtype=like.dtype, device=like.device)

    def draw(
        self, chains: int, generator: Generator | None = None, dtype: Any = float32, device: str = "cpu"
    ) -> Tensor:
        """θ from the prior    [chains, size]"""
        drawn = wrap((generator or default_generator()).normal((chains, self.size), dtype=dtype, device=device), None)
        return drawn * self.scales(drawn) + self._middle(drawn)

    def _middle(self, like: Tensor) -> Tensor:
        middle = np.zeros(self.size)
        if self.noise == "learned":
            middle[-1] = math.log(0.5)
        return Tensor(middle, dtype=like.dtype, device=like.device)

    def __call__(self, theta: Tensor, x: Any) -> Tensor:
        """f(x; θ)    [chains, batch, out]"""
        if theta.ndim != 2 or theta.shape[1] != self.size:
            raise ShapeError(f"BayesianMLP: θ has the shape [chains, {self.size}], got {list(theta.shape)}")
        h, at = asarray(x, device=theta.device), 0
        if h.ndim != 2 or h.shape[1] != self.sizes[0]:
            raise ShapeError(f"BayesianMLP: x has the shape [batch, {self.sizes[0]}], got {list(h.shape)}")
        h = h if h.dtype == theta.dtype else h.astype(theta.dtype)
        for k, (a, b) in enumerate(self.shapes):
            weight = theta[:, at : at + a * b].reshape((-1, a, b))
            bias = theta[:, at + a * b : at + (a + 1) * b].reshape((-1, 1, b))
            h = (_tanh(h) if k else h) @ weight + bias
            at += (a + 1) * b
        return h

    def log_prior(self, theta: Tensor) -> Tensor:
        """ln p(θ)    [chains]"""
        scales = self.scales(theta)
        return normal_log_density(theta, self._middle(theta), record_of("log")(scales))

    def log_likelihood(self, theta: Tensor, x: Any, y: Any) -> Tensor:
        """ln p(y | x, θ) of each example    [chains, batch]"""
        f = self(theta, x)
        y = asarray(y, device=f.device)
        if self.noise == "classes":
            if y.shape != f.shape[1:2] or y.dtype.kind not in "iu":
                raise ShapeError(
                    f"BayesianMLP: the targets are {f.shape[1]} class numbers, got {y.dtype} {list(y.shape)}"
                )
            picked = space_of(y._array).broadcast_to(y._array[None, :, None], (*f.shape[:2], 1))
            return _take(_log_softmax(f, axis=-1), wrap(picked, None), axis=-1)[..., 0]
        if y.shape != f.shape[1:]:
            raise ShapeError(f"BayesianMLP: the targets have the shape {list(f.shape[1:])}, got {list(y.shape)}")
        y = y if y.dtype == f.dtype else y.astype(f.dtype)
        log_std = theta[:, -1].reshape((-1, 1, 1)) if self.noise == "learned" else math.log(float(self.noise))
        return normal_log_density(y, f, log_std)

    def log_posterior(self, x: Any, y: Any) -> LogDensity:
        """θ ↦ ln p(θ) + Σ ln p(y | x, θ), the posterior's logarithm up to a constant: what samplers take"""
        return lambda theta: self.log_prior(theta) + self.log_likelihood(theta, x, y).sum(axis=-1)

    @unheard()
    def map_estimate(self, x: Any, y: Any, theta: Tensor, steps: int = 2000, lr: float = 0.01) -> Tensor:
        """θ of the greatest posterior density, by Adam from `theta` with a rate that falls to 0; the best chain

        Shapes: theta [chains, size], result [1, size].
        Raises: DivergenceError.
        """
        steps = _size("BayesianMLP.map_estimate: steps", steps)
        at, density = Parameter(theta), self.log_posterior(x, y)
        optimizer = Adam([at], lr=lr)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.zero_grad()
            (-density(at).sum()).backward()
            optimizer.step()
        with no_grad():
            found = density(at)
            if not bool(space_of(found._array).isfinite(found._array).all()):
                raise DivergenceError(
                    f"BayesianMLP.map_estimate: the posterior's density is not finite after {steps} steps; look for "
                    "NaN in x and y, or take a smaller lr"
                )
            best = int(found.argmax())
            return at.detach()[best : best + 1]

    def predictive(self, theta: Tensor, x: Any, y: Any) -> Tensor:
        """ln (1/S) Σ p(y | x, θ_s): the logarithm of the predictive density of each example    [batch]"""
        with no_grad():
            return log_mean(self.log_likelihood(theta, x, y))


# Variational layers


class VariationalLinear(Linear):
    """y ~ N(x Mᵀ + b, x² (S²)ᵀ + s_b²): a linear layer whose weights are independent Gaussians N(M, S²)

    The outputs are drawn, not the weights: the same distribution for every example by itself, with less noise in the
    gradient (local reparametrization). In evaluation mode the weights are at their means, unless `sampling` is set.
    `divergence` is the KL divergence from the prior N(0, s²/in) of the weights, and N(0, s²) of the biases.

    Shapes: x [batch, in], y [batch, out]; weight (M) and log_std (ln S) [out, in].
    Source: Blundell, Cornebise, Kavukcuoglu and Wierstra, "Weight uncertainty in neural networks", 2015; Kingma,
    Salimans and Welling, "Variational dropout and the local reparameterization trick", 2015.
    """

    bias: Parameter

    def __init__(
        self, in_features: int, out_features: int, prior_std: float = 1.0, std: float = 0.05,
        device: str | None = None, dtype: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if not (is_number(prior_std) and is_number(std) and prior_std > 0 and std > 0):
            raise OptionError(f"VariationalLinear: prior_std and std must be positive, got {prior_std!r} and {std!r}")
        super().__init__(in_features, out_features, True, device, dtype, generator=generator)
        self.prior_std, self.sampling, self.generator = prior_std, False, generator
        place: dict[str, Any] = {"dtype": self.weight.dtype, "device": self.weight.device}
        self.log_std = Parameter(np.full(self.weight.shape, math.log(std)), **place)
        self.bias_log_std = Parameter(np.full(self.bias.shape, math.log(std)), **place)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        x = flat(x)
        mean = _linear(x, self.weight, self.bias)
        if noise is None and not (self.training or self.sampling):
            return mean
        if noise is None:
            noise = normals(mean.shape, mean, self.generator)
        variance = _linear(x * x, _exp(self.log_std * 2.0), _exp(self.bias_log_std * 2.0))
        return mean + _sqrt(variance) * noise

    def divergence(self) -> Tensor:
        """KL(q(W, b) ‖ p(W, b)), in nats"""
        of_weight = normal_divergence(
            self.weight.reshape((-1,)), self.log_std.reshape((-1,)), 0.0, self.prior_std / self.in_features**0.5
        )
        return of_weight + normal_divergence(self.bias, self.bias_log_std, 0.0, self.prior_std)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, prior_std={self.prior_std}"


def weight_divergence(model: Module) -> Tensor:
    """KL(q(θ) ‖ p(θ)), in nats, of all variational layers together

    Raises: OptionError for a model without any.
    """
    parts = [layer.divergence() for layer in model.modules() if isinstance(layer, VariationalLinear)]
    if not parts:
        raise OptionError(f"weight_divergence: {type(model).__name__} has no variational layer")
    return sum(parts[1:], start=parts[0])


def train_variational(
    model: Module, log_density: Callable[[Any, Any], Tensor], data: Iterable[Any], n: int, epochs: int = 1,
    optimizer: Optimizer | None = None, *, warm_up: int = 0, clip_norm: float | None = None,
) -> list[float]:  # fmt: skip
    """Raises E_q ln p(y | x, θ) − KL(q(θ) ‖ p(θ))/n, the bound of an example, by batches of the n examples

    `log_density(x, y)` is ln p(y | x, θ) of a batch, with θ drawn as the layers do, [batch]. Over the first `warm_up`
    updates the divergence's factor rises from 0 to 1. Returns the mean bound of each epoch, in nats an example.
    Raises: ShapeError, OptionError for data that do not suit; DivergenceError, naming the layer.
    """
    epochs, n = _size("train_variational: epochs", epochs), _size("train_variational: n", n, 1)
    warm_up = _size("train_variational: warm_up", warm_up)
    optimizer = Adam(model.parameters()) if optimizer is None else optimizer
    bounds, step, like = [], 0, next(iter(model.parameters()))
    model.train()
    for _ in range(epochs):
        total, count = 0.0, 0
        for batch in data:
            x, y = split(batch)
            x = as_data(x, "train_variational", None, like)
            with unheard():
                likelihood = log_density(x, y)
                divergence = weight_divergence(model) * (1 / n)
                beta = min(1.0, (step + 1) / warm_up) if warm_up else 1.0
                update("train_variational", divergence * beta - likelihood.mean(), model, optimizer, step, clip_norm)
            total += (likelihood.mean() - divergence).item() * len(likelihood)
            step, count = step + 1, count + len(likelihood)
        if not count:
            raise OptionError("train_variational: the data gave no batches")
        bounds.append(total / count)
    settled("train_variational", model)
    return bounds


def predictive_log_density(
    model: Module, log_density: Callable[[Any, Any], Tensor], x: Any, y: Any, samples: int = 100
) -> Tensor:
    """ln (1/S) Σ p(y | x, θ_s) with S draws of the variational layers' weights    [batch]

    Weights are drawn for every example anew, which is the same predictive density.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, VariationalLinear)]
    before = [layer.sampling for layer in layers]
    mode = model.training
    model.eval()
    try:
        for layer in layers:
            layer.sampling = True
        with no_grad():
            return log_mean(stack([log_density(x, y) for _ in range(samples)]))
    finally:
        model.train(mode)
        for layer, was in zip(layers, before, strict=True):
            layer.sampling = was


__all__ = [
    "BayesianMLP", "Samples", "VariationalLinear", "effective_size", "hamiltonian", "langevin", "leapfrog",
    "predictive_log_density", "split_rhat", "train_variational", "weight_divergence",
]  # fmt: skip
