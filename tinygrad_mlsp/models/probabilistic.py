"""Nets that answer with a distribution: densities, regression and classification with learned noise, priors as decay.

What follows, the variational autoencoder and Bayesian nets, is made of the densities here. Densities are in nats and
sum over the last axis; what stands before it broadcasts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backend import space_of
from ..errors import DivergenceError, DTypeError, OptionError, ShapeError
from ..namespace import asarray, concat
from ..nn import Module, Parameter
from ..nn import functional as F
from ..nn.module import _size
from ..nn.utils import clip_grad_norm_
from ..optim import Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, record_of, wrap

_binary_cross_entropy, _logsumexp = record_of("binary_cross_entropy_with_logits"), record_of("logsumexp")
_log_softmax, _exp, _logaddexp = record_of("log_softmax"), record_of("exp"), record_of("logaddexp")
LN_2PI = math.log(2 * math.pi)

# Densities


def normal_log_density(x: Any, mean: Any = 0.0, log_std: Any = 0.0) -> Tensor:
    """Σ −½ ((x − μ)/σ)² − ln σ − ½ ln 2π"""
    standard = (x - mean) * _exp(-log_std) if isinstance(log_std, Tensor) else (x - mean) * math.exp(-log_std)
    return ((standard * standard + LN_2PI) * -0.5 - log_std).sum(axis=-1)


def bernoulli_log_density(x: Any, logits: Tensor) -> Tensor:
    """Σ x ln σ(z) + (1 − x) ln(1 − σ(z))

    For greys x between 0 and 1 it is the customary cross-entropy, and no density: theirs would have a normalizer.
    """
    return -_binary_cross_entropy(logits, x).sum(axis=-1)


def normal_divergence(mean: Tensor, log_std: Tensor, prior_mean: float = 0.0, prior_std: float = 1.0) -> Tensor:
    """KL(N(μ, σ²) ‖ N(m, s²)) = Σ ½ (σ²/s² + (μ − m)²/s² − 1) − ln σ/s

    Source: Kingma and Welling, "Auto-encoding variational Bayes", 2014, appendix B.
    """
    away = (mean - prior_mean) * (1 / prior_std)
    apart = log_std - math.log(prior_std)
    return ((_exp(apart * 2.0) + away * away - 1.0) * 0.5 - apart).sum(axis=-1)


def log_mean(logs: Tensor, axis: int = 0) -> Tensor:
    """ln (1/k) Σ e^x over an axis: what k draws say together, such as a predictive density's logarithm"""
    return _logsumexp(logs, axis=axis) - math.log(logs.shape[axis])


def normals(shape: tuple[int, ...], like: Tensor, generator: Generator | None = None) -> Tensor:
    """Standard normal numbers, of the dtype and where `like` is."""
    return wrap((generator or default_generator()).normal(shape, dtype=like.dtype, device=like.device), None)


# Priors as weight decay


def prior_decay(prior_std: float, n: int) -> float:
    """λ = 1/(n s²): the `weight_decay` with which a mean loss over n examples, in nats, is that of the MAP estimate

    −ln p(θ | data)/n = mean loss + θ²/(2 n s²) + …, with θ ~ N(0, s²); the decay's gradient is λ θ.
    Source: lecture 1, "Deep Neural Networks for Unsupervised Learning" (MAP estimation of the parameters).
    """
    if not (prior_std > 0 and n >= 1):
        raise OptionError(f"prior_decay: wants a positive prior_std and n of 1 or more, got {prior_std!r} and {n!r}")
    return 1.0 / (n * prior_std**2)


def log_prior(parameters: Module | Iterable[Tensor], prior_std: float = 1.0) -> Tensor:
    """ln p(θ) = Σ ln N(θ; 0, s²) over all parameters"""
    if not prior_std > 0:
        raise OptionError(f"log_prior: prior_std must be positive, got {prior_std!r}")
    found = list(parameters.parameters() if isinstance(parameters, Module) else parameters)
    if not found:
        raise OptionError("log_prior: there are no parameters")
    terms = [normal_log_density(p.reshape((-1,)), 0.0, math.log(prior_std)) for p in found]
    return sum(terms[1:], start=terms[0])


# Nets with noise


def floored(log_std: Tensor, least: float) -> Tensor:
    """ln(σ + least)"""
    return log_std if not least else _logaddexp(log_std, math.log(least))


class NormalRegressor(Module):
    """y ~ N(μ(x), σ(x)²), with both from the net; or one learned σ a target, or a given one

    `net` gives 2·targets numbers for noise="each", μ and then ln σ, else targets numbers. `noise` is "each",
    "shared" (the parameter log_std), or a positive number. `least_std` is added to every learned σ: without it a net
    that fits one example exactly has a likelihood without bound.

    Shapes: x [batch, …], mean and std [batch, targets], log_density [batch].
    Source: Nix and Weigend, "Estimating the mean and variance of the target probability distribution", 1994; lecture 1,
    "Deep Neural Networks for Unsupervised Learning" (deep probabilistic models).
    """

    def __init__(self, net: Module, targets: int = 1, noise: str | float = "each", least_std: float = 1e-3) -> None:
        noise_of("NormalRegressor", noise, "each", "shared")
        targets = _size("NormalRegressor: targets", targets, 1)
        if not least_std >= 0:
            raise OptionError(f"NormalRegressor: least_std must not be negative, got {least_std!r}")
        self.net, self.targets, self.noise, self.least_std = net, targets, noise, least_std
        if noise == "shared":
            like = next(iter(net.parameters()))
            self.log_std = Parameter(np.zeros(targets), dtype=like.dtype, device=like.device)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(μ, ln σ)"""
        out, k = self.net(x), self.targets
        if out.shape[-1] != (2 * k if self.noise == "each" else k):
            raise ShapeError(
                f"NormalRegressor: for {k} targets with noise={self.noise!r} the net must give "
                f"{2 * k if self.noise == 'each' else k} numbers, it gives {out.shape[-1]}"
            )
        if self.noise == "each":
            return out[..., :k], floored(out[..., k:], self.least_std)
        if self.noise == "shared":
            return out, floored(self.log_std, self.least_std)
        return out, asarray(math.log(float(self.noise)), dtype=out.dtype, device=out.device)

    def log_density(self, x: Tensor, y: Any) -> Tensor:
        """ln p(y | x)    [batch]"""
        mean, log_std = self(x)
        y = asarray(y, device=mean.device)
        if y.shape != mean.shape:
            raise ShapeError(f"NormalRegressor: the targets have shape {list(y.shape)}, the net's {list(mean.shape)}")
        return normal_log_density(y, mean, log_std)

    def loss(self, x: Tensor, y: Any) -> Tensor:
        """The mean negative log-likelihood, in nats"""
        return -self.log_density(x, y).mean()

    def extra_repr(self) -> str:
        return f"targets={self.targets}, noise={self.noise!r}"


class NoisyClassifier(Module):
    """p(c | x) = E softmax(f(x) + σ(x) ε)_c with ε ~ N(0, I): logits with a noise that the net learns of each input

    `net` gives 2·classes numbers, f and then ln σ. The expectation is the mean over `samples` draws. Where the labels
    are at odds the noise grows, and the example weighs less.

    Shapes: x [batch, …], log-probabilities [batch, classes].
    Source: Kendall and Gal, "What uncertainties do we need in Bayesian deep learning for computer vision?", 2017.
    """

    def __init__(self, net: Module, classes: int, samples: int = 10, *, generator: Generator | None = None) -> None:
        classes = _size("NoisyClassifier: classes", classes, 2)
        samples = _size("NoisyClassifier: samples", samples, 1)
        self.net, self.classes, self.samples, self.generator = net, classes, samples, generator

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """ln p(c | x); `noise` [samples, batch, classes] takes the place of drawn ε"""
        out, k = self.net(x), self.classes
        if out.shape[-1] != 2 * k:
            raise ShapeError(f"NoisyClassifier: the net must give {2 * k} numbers, it gives {out.shape[-1]}")
        if noise is None:
            noise = normals((self.samples, len(out), k), out, self.generator)
        return log_mean(_log_softmax(out[..., :k] + _exp(out[..., k:]) * noise, axis=-1))

    def loss(self, x: Tensor, y: Any, noise: Tensor | None = None) -> Tensor:
        """The mean of −ln p(y | x), in nats"""
        return F.nll_loss(self(x, noise), y)

    def extra_repr(self) -> str:
        return f"classes={self.classes}, samples={self.samples}"


# What trainings share


def as_data(
    x: Any, what: str, width: int | None, like: Tensor, low: float | None = None, high: float | None = None
) -> Tensor:
    """The data as a Tensor of the dtype and where `like` is

    Raises: ShapeError, DTypeError or OptionError for data of another width, none at all, sparse, NaN, infinite, or
    outside [low, high].
    """
    if hasattr(x, "toarray"):
        raise DTypeError(f"{what}: the data are a sparse matrix; give dense ones, x.toarray()")
    x = asarray(x)
    if x.ndim < 2 or not len(x) or (width is not None and x.shape[1:] != (width,)):
        raise ShapeError(
            f"{what}: data have the shape [batch, {'…' if width is None else width}] with at least one row, got "
            f"{list(x.shape)}"
        )
    if x.dtype.kind not in "biuf":
        raise DTypeError(f"{what}: the data must be real numbers, not {x.dtype}")
    least, most = float(x.min()), float(x.max())
    if not (math.isfinite(least) and math.isfinite(most)):
        values = x.numpy()
        place = [int(i) for i in np.argwhere(~np.isfinite(values))[0]]
        raise OptionError(f"{what}: the data have {values[tuple(place)]} at {place}")
    if (low is not None and least < low) or (high is not None and most > high):
        raise OptionError(
            f"{what}: the data go from {least:.4g} to {most:.4g}, outside [{low}, {high}]; rescale them, or choose "
            "other outputs"
        )
    return x.to(like.device, like.dtype)


def with_labels(what: str, rows: Tensor, y: Any, classes: int) -> Tensor:
    """The rows with their labels' one-hot numbers beside them; labels are repeated where there are more rows."""
    if not classes:
        if y is not None:
            raise OptionError(f"{what}: this model takes no labels; make it with classes=")
        return rows
    if y is None:
        raise OptionError(f"{what}: this model is conditional; it needs labels y, from 0 to {classes - 1}")
    labels = asarray(y, device=rows.device)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels) or len(rows) % len(labels):
        raise ShapeError(
            f"{what}: labels are whole numbers, one a row of {len(rows)}; got {labels.dtype} {list(labels.shape)}"
        )
    xp, numbers = space_of(labels._array), labels._array
    if int(numbers.min()) < 0 or int(numbers.max()) >= classes:
        raise OptionError(f"{what}: labels go from 0 to {classes - 1}, got {numbers.min()} to {numbers.max()}")
    hot = (numbers[:, None] == xp.arange(classes)).astype(rows.dtype)
    return concat([rows, wrap(xp.tile(hot, (len(rows) // len(labels), 1)), None)], axis=-1)


def noise_of(what: str, noise: Any, *names: str) -> Any:
    """The noise, if it is one of these names or a positive number. Raises: OptionError."""
    if noise in names if isinstance(noise, str) else is_number(noise) and 0 < noise < math.inf:
        return noise
    raise OptionError(f"{what}: noise is {', '.join(map(repr, names))} or a positive number, got {noise!r}")


def is_number(value: Any) -> bool:
    """Whether it is one real number of Python's or NumPy's, and no truth value."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def settled(what: str, model: Module) -> None:
    """Raises: DivergenceError where weights are not finite, as after a last update that no loss was computed from."""
    bad = next((n for n, p in model.named_parameters() if not bool(space_of(p._array).isfinite(p._array).all())), None)
    if bad is not None:
        raise DivergenceError(f"{what}: {bad} is not finite after the last update. Try a smaller learning rate")


def split(batch: Any) -> tuple[Any, Any]:
    """A batch (x, y), (x,) or x, as (x, y or None)."""
    if not isinstance(batch, (tuple, list)):
        return batch, None
    return batch[0], batch[1] if len(batch) > 1 else None


def unheard() -> Any:
    """NumPy's warnings of overflow are not heard inside: what comes of it is found by `update`, and named."""
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def update(
    what: str, loss: Tensor, model: Module, optimizer: Optimizer, step: int, clip_norm: float | None = None
) -> Tensor:
    """One step down the loss; returns the joint norm of the gradients

    Raises: DivergenceError for a loss, or gradients, that are not finite, naming the first layer concerned.
    """
    if not isinstance(optimizer, Optimizer):
        raise DTypeError(f"{what}: the optimizer is an Optimizer, got {optimizer!r}")
    optimizer.zero_grad()
    value = loss.item()
    norm = None
    if math.isfinite(value):
        loss.backward()
        mine = [p for group in optimizer.param_groups for p in group["params"]]
        norm = clip_grad_norm_(mine, clip_norm) if clip_norm is not None else gradient_norm(mine)
        if bool(space_of(norm._array).isfinite(norm._array)):
            optimizer.step()
            return norm
    raise DivergenceError(
        f"{what}: the loss is {value:.4g} at update {step + 1}" + (f", its gradient's norm {norm.item():.4g}" if norm
        is not None else "") + f"; {_first_bad(model)}. Try a smaller learning rate, or clip_norm"
    )  # fmt: skip


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """‖g‖ over all gradients together, computed in float64"""
    squares = [(p.grad._array.astype(np.float64) ** 2).sum() for p in parameters if p.grad is not None]
    if not squares:
        return Tensor(0.0, dtype=np.float64)
    xp = space_of(squares[0])
    return wrap(xp.asarray(xp.sqrt(xp.sum(xp.stack(squares)))), None)


def _first_bad(model: Module) -> str:
    for name, p in model.named_parameters():
        if not bool(space_of(p._array).isfinite(p._array).all()):
            return f"{name} is the first layer with values that are not finite"
        if p.grad is not None and not bool(space_of(p._array).isfinite(p.grad._array).all()):
            return f"{name} is the first layer with a gradient that is not finite"
    name, largest = max(((name, float(abs(p).max())) for name, p in model.named_parameters()), key=lambda pair: pair[1])
    return f"all parameters are finite, the largest, {largest:.3g}, is in {name}"
