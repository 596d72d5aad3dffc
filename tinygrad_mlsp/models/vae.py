"""The variational autoencoder: a deep latent variable model, and the bound by which it learns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..backend import float32
from ..errors import OptionError, ShapeError, TrainingWarning
from ..namespace import asarray, broadcast_to, concat, stack
from ..nn import Module, Parameter, Tanh
from ..nn.module import _size
from ..optim import Adam, Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of, wrap
from .mlp import MLP, Make
from .probabilistic import (
    as_data,
    bernoulli_log_density,
    floored,
    log_mean,
    noise_of,
    normal_divergence,
    normal_log_density,
    normals,
    settled,
    split,
    unheard,
    update,
    with_labels,
)

_sigmoid, _exp, _less = (record_of(name) for name in ("sigmoid", "exp", "less"))
_ROWS = 1 << 13  # latent vectors that are decoded together


class Bound(NamedTuple):
    """ln p(x) ≥ E_q ln p(x | z) − KL(q(z | x) ‖ p(z)): its two terms for every example, in nats    [batch] each"""

    likelihood: Tensor
    divergence: Tensor

    def value(self, beta: float = 1.0) -> Tensor:
        """likelihood − β divergence    [batch]"""
        return self.likelihood - (self.divergence if beta == 1 else self.divergence * beta)


class VAE(Module):
    """z ~ N(0, I), x ~ p(x | decoder(z)); q(z | x) = N(μ(x), σ(x)²) from the encoder

    `sizes` are those of the data, of the encoder's hidden layers and of z: VAE([784, 400, 20]); the decoder has the
    same in the other order. A module given as `encoder` (it gives 2·latent numbers, μ and ln σ) or `decoder` takes the
    place of the net made. `outputs` is "bernoulli", whose decoder gives logits, or "gaussian", with `noise`: "each"
    (the decoder gives μ and ln σ), "shared" (one ln σ for each of the data's numbers, a parameter), or a number σ.
    `least_std` is added to every learned σ of x, since a pixel that is always the same has a density without bound.
    With `classes`, everything is given a label y too, as one-hot numbers beside x and beside z.

    Shapes: x [batch, data], y [batch], z [batch, latent], or [samples, batch, latent].
    Source: Kingma and Welling, "Auto-encoding variational Bayes", 2014; lecture 1, "Deep Neural Networks for
    Unsupervised Learning". Labels: Kingma et al., "Semi-supervised learning with deep generative models", 2014.
    """

    def __init__(
        self, sizes: Sequence[int], outputs: str = "bernoulli", noise: str | float = "each", classes: int = 0,
        activation: Make = Tanh, *, encoder: Module | None = None, decoder: Module | None = None,
        least_std: float = 1e-2, generator: Generator | None = None, dtype: Any = float32, device: str = "cpu",
    ) -> None:  # fmt: skip
        if isinstance(sizes, str) or not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise ShapeError(f"VAE: sizes are those of the data, of hidden layers, and of z, got {sizes!r}")
        sizes = [_size("VAE: a size", n, 1) for n in sizes]
        classes = _size("VAE: classes", classes)
        if outputs not in ("bernoulli", "gaussian"):
            raise OptionError(f'VAE: outputs are "bernoulli" or "gaussian", got {outputs!r}')
        noise_of("VAE", noise, "each", "shared")
        if classes == 1 or not least_std >= 0:
            raise OptionError(
                f"VAE: classes is 0 or at least 2, and least_std not negative; got {classes!r} and {least_std!r}"
            )
        data, *hidden, latent = sizes
        self.data, self.latent, self.classes, self.outputs = data, latent, classes, outputs
        self.noise, self.least_std = noise, least_std
        self.twice = outputs == "gaussian" and noise == "each"
        self.encoder: Module = encoder or MLP([data + classes, *hidden, 2 * latent], activation, generator=generator)
        self.decoder: Module = decoder or MLP(
            [latent + classes, *hidden[::-1], data * (2 if self.twice else 1)], activation, generator=generator
        )
        if outputs == "gaussian" and noise == "shared":
            self.log_std = Parameter(np.zeros(data, np.float32))
        self.to(device, dtype)

    def extra_repr(self) -> str:
        return f"{self.data}, latent={self.latent}, outputs={self.outputs!r}, classes={self.classes}"

    # The two distributions

    def encode(self, x: Tensor, y: Any = None) -> tuple[Tensor, Tensor]:
        """μ and ln σ of q(z | x)    [batch, latent] each"""
        out = self.encoder(self._beside(x, y))
        if out.shape[-1] != 2 * self.latent:
            raise ShapeError(f"VAE: the encoder must give 2 · {self.latent} numbers, it gives {out.shape[-1]}")
        return out[..., : self.latent], out[..., self.latent :]

    def decode(self, z: Tensor, y: Any = None) -> tuple[Tensor, Any]:
        """What p(x | z) is made of: logits and None, or μ and ln σ    […, data]"""
        rows = z.reshape((-1, z.shape[-1]))
        out = self.decoder(self._beside(rows, y))
        if out.shape[-1] != self.data * (2 if self.twice else 1):
            raise ShapeError(f"VAE: the decoder of {self.data} data gave {out.shape[-1]} numbers")
        out = out.reshape((*z.shape[:-1], out.shape[-1]))
        if self.outputs == "bernoulli":
            return out, None
        if self.twice:
            return out[..., : self.data], floored(out[..., self.data :], self.least_std)
        return out, floored(self.log_std, self.least_std) if self.noise == "shared" else math.log(float(self.noise))

    def _beside(self, rows: Tensor, y: Any) -> Tensor:
        return with_labels("VAE", rows, y, self.classes)

    def log_likelihood_given(self, x: Any, z: Tensor, y: Any = None) -> Tensor:
        """ln p(x | z), for z [batch, latent] or [samples, batch, latent]    z's shape without its last axis"""
        mean, log_std = self.decode(z, y)
        if self.outputs == "gaussian":
            return normal_log_density(x, mean, log_std)
        return bernoulli_log_density(x if mean.ndim == 2 else broadcast_to(x, mean.shape), mean)

    # The bounds

    def bound(self, x: Tensor, y: Any = None, noise: Tensor | None = None, generator: Generator | None = None) -> Bound:
        """The bound with one z = μ + σ ε an example, ε from `noise` [batch, latent] or drawn; the divergence is exact

        The gradient goes through z to the encoder: the reparametrized estimator.
        """
        mean, log_std = self.encode(x, y)
        if noise is None:
            noise = normals(mean.shape, mean, generator)
        z = mean + _exp(log_std) * noise
        return Bound(self.log_likelihood_given(x, z, y), normal_divergence(mean, log_std))

    def log_weights(
        self, x: Tensor, y: Any = None, samples: int = 1, noise: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """ln w = ln p(x | z) + ln p(z) − ln q(z | x) for z from q, whose mean weight is p(x)    [samples, batch]"""
        mean, log_std = self.encode(x, y)
        if noise is None:
            samples = _size("VAE: samples", samples, 1)
            noise = normals((samples, *mean.shape), mean, generator)
        z = mean + _exp(log_std) * noise
        # ln q(z | x) in terms of ε, so that nothing is divided by a small σ
        return (
            self.log_likelihood_given(x, z, y)
            + normal_log_density(z)
            - normal_log_density(noise)
            + log_std.sum(axis=-1)
        )

    def importance_bound(
        self, x: Tensor, y: Any = None, samples: int = 50, noise: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """ln (1/k) Σ w, whose mean is at most ln p(x) and grows with k, for k = `samples`    [batch]

        Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", 2016.
        """
        return log_mean(self.log_weights(x, y, samples, noise, generator))

    def log_likelihood(self, x: Any, y: Any = None, samples: int = 100, generator: Generator | None = None) -> Tensor:
        """`importance_bound` as an estimate of ln p(x), unrecorded, in pieces that fit the memory    [batch]"""
        samples = _size("VAE.log_likelihood: samples", samples, 1)
        x = self.check_data(x, "VAE.log_likelihood")
        labels = None if y is None else asarray(y, device=x.device)
        pieces = []
        with no_grad():
            for i in range(0, len(x), _ROWS):
                part, part_y = x[i : i + _ROWS], None if labels is None else labels[i : i + _ROWS]
                most, logs = max(1, _ROWS // len(part)), []
                for done in range(0, samples, most):
                    logs.append(self.log_weights(part, part_y, min(most, samples - done), generator=generator))
                pieces.append(log_mean(concat(logs, axis=0)))
            return concat(pieces, axis=0)

    # What one does with it

    def forward(self, x: Tensor, y: Any = None) -> Tensor:
        """The reconstruction: E[x | z] at z = μ(x)    [batch, data]"""
        return self._mean(self.encode(x, y)[0], y)

    reconstruct = forward

    def _mean(self, z: Tensor, y: Any) -> Tensor:
        out, _ = self.decode(z, y)
        return _sigmoid(out) if self.outputs == "bernoulli" else out

    def sample(
        self, n: int, y: Any = None, *, mean: bool = False, z: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        """n draws of x; with `mean` E[x | z] of n draws of z, which is what pictures usually show    [n, data]"""
        n = _size("VAE.sample: n", n)
        with no_grad():
            like = next(iter(self.parameters()))
            z = normals((n, self.latent), like, generator) if z is None else z
            out, log_std = self.decode(z, y)
            if self.outputs == "bernoulli":
                p = _sigmoid(out)
                return p if mean else _bernoulli(p, generator)
            if mean:
                return out
            std = _exp(log_std) if isinstance(log_std, Tensor) else math.exp(log_std)
            return out + normals(out.shape, out, generator) * std

    def check_data(self, x: Any, what: str) -> Tensor:
        """The data as a Tensor, where the model is; see `as_data` for what is refused."""
        like = next(iter(self.parameters()))
        low, high = (0.0, 1.0) if self.outputs == "bernoulli" else (None, None)
        return as_data(x, what, self.data, like, low, high)


def _bernoulli(p: Tensor, generator: Generator | None) -> Tensor:
    drawn = (generator or default_generator()).uniform(p.shape, dtype=p.dtype, device=p.device)
    return _less(wrap(drawn, None), p).astype(p.dtype)


def binarized(x: Any, generator: Generator | None = None) -> Tensor:
    """0 and 1, drawn with the greys as probabilities: what a Bernoulli likelihood of pictures is a likelihood of

    Source: Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks", 2008.
    """
    x = asarray(x)
    if x.size and not (float(x.min()) >= 0 and float(x.max()) <= 1):  # NaN too
        raise OptionError(f"binarized: probabilities are from 0 to 1, got {float(x.min()):.4g} to {float(x.max()):.4g}")
    return _bernoulli(x, generator)


# Training


@dataclass
class VAEHistory:
    """What a training gave, an entry an epoch, in nats an example: the bound, and its terms."""

    bound: list[float] = field(default_factory=list)
    likelihood: list[float] = field(default_factory=list)
    divergence: list[float] = field(default_factory=list)
    beta: list[float] = field(default_factory=list)  # at the epoch's end


def train_vae(
    model: VAE, data: Iterable[Any], epochs: int = 1, optimizer: Optimizer | None = None, *, warm_up: int = 0,
    samples: int = 1, clip_norm: float | None = None, generator: Generator | None = None,
    after: Callable[[VAEHistory], Any] | None = None,
) -> VAEHistory:  # fmt: skip
    """Raises the mean bound: for each batch x, or (x, y) for a conditional model, one step of the optimizer

    Over the first `warm_up` updates the divergence's factor β rises from 0 to 1, so that z is of use before it costs.
    With `samples` > 1 the importance-weighted bound takes the bound's place (it has no β). The optimizer is Adam with
    its defaults unless given. `after(history)` is called after each epoch.

    TrainingWarning of a posterior collapse: at the end no z carries more than 0.01 nats.
    Raises: OptionError, ShapeError for data that do not suit; DivergenceError, naming the layer.
    """
    epochs, samples = _size("train_vae: epochs", epochs), _size("train_vae: samples", samples, 1)
    warm_up = _size("train_vae: warm_up", warm_up)
    if samples > 1 and warm_up:
        raise OptionError("train_vae: the importance-weighted bound has no divergence to warm up; leave out warm_up")
    optimizer = Adam(model.parameters()) if optimizer is None else optimizer
    history, step, kept = VAEHistory(), 0, None
    model.train()
    for _ in range(epochs):
        sums, count = np.zeros(2), 0
        for batch in data:
            x, y = split(batch)
            x = model.check_data(x, "train_vae")
            beta = min(1.0, (step + 1) / warm_up) if warm_up else 1.0
            with unheard():
                if samples > 1:
                    value = model.importance_bound(x, y, samples, generator=generator)
                    terms = Bound(value, value * 0)
                else:
                    terms = model.bound(x, y, generator=generator)
                    value = terms.value(beta)
                update("train_vae", -value.mean(), model, optimizer, step, clip_norm)
            sums += stack([t.detach().sum() for t in terms]).numpy()
            step, count, kept = step + 1, count + len(x), (x, y)
        if not count:
            raise OptionError("train_vae: the data gave no batches (an iterator is used up after the first epoch)")
        likelihood, divergence = (float(s) for s in sums / count)
        history.bound.append(likelihood - divergence)
        history.likelihood.append(likelihood)
        history.divergence.append(divergence)
        history.beta.append(beta)
        if after is not None:
            after(history)
    settled("train_vae", model)
    if kept is not None and (most := float(latent_divergences(model, *kept).max())) < 0.01:
        warnings.warn(
            f"train_vae: posterior collapse: no dimension of z carries more than {most:.2g} nats, q(z | x) is the "
            "prior and the decoder does not use z. Warm the divergence up (warm_up=), train longer, or make the "
            "decoder weaker",
            TrainingWarning,
            stacklevel=2,
        )
    return history


def latent_divergences(model: VAE, x: Any, y: Any = None) -> Tensor:
    """The mean KL(q(zᵢ | x) ‖ p(zᵢ)) of each dimension of z, in nats; near 0 it is not used    [latent]"""
    with no_grad():
        mean, log_std = model.encode(model.check_data(x, "latent_divergences"), y)
        return normal_divergence(mean.reshape((*mean.shape, 1)), log_std.reshape((*log_std.shape, 1))).mean(axis=0)
