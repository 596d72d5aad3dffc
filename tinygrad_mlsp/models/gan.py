"""Generative adversarial nets: a generator against a discriminator, and the signs by which the game is judged."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..backend import space_of
from ..derivatives import grad
from ..errors import DTypeError, OptionError, ShapeError, TrainingWarning
from ..namespace import asarray, concat, stack
from ..nn import Module
from ..nn.module import _size
from ..optim import Adam, Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of, wrap
from .probabilistic import as_data, is_number, normals, settled, split, unheard, update, with_labels

_softplus, _vector_norm = record_of("softplus"), record_of("vector_norm")
GAMES = ("non-saturating", "minimax", "least-squares", "wasserstein")

# The games, by the discriminator's scores s: logits, but for least squares numbers near 1 for real and 0 for made ones


def discriminator_loss(real: Tensor, fake: Tensor, game: str = "non-saturating") -> Tensor:
    """L_D = −E ln σ(s_real) − E ln(1 − σ(s_fake)), in nats, whose best scores are ln p/q

    At them it is 2 ln 2 − 2 JSD(p ‖ q). For "least-squares" ½ E(s_real − 1)² + ½ E s_fake², best at p/(p + q); for
    "wasserstein" E s_fake − E s_real, which for scores of slope 1 at most is least at −W₁(p, q).

    Source: Goodfellow et al., "Generative adversarial nets", 2014, proposition 1; Mao et al., "Least squares generative
    adversarial networks", 2017; Arjovsky, Chintala and Bottou, "Wasserstein GAN", 2017. Lecture 1, "Deep Neural
    Networks for Unsupervised Learning" (GAN).
    """
    if _game(game) == "least-squares":
        return (((real - 1.0) * (real - 1.0)).mean() + (fake * fake).mean()) * 0.5
    if game == "wasserstein":
        return fake.mean() - real.mean()
    return _softplus(-real).mean() + _softplus(fake).mean()


def generator_loss(fake: Tensor, game: str = "non-saturating") -> Tensor:
    """L_G = −E ln σ(s_fake); "minimax" E ln(1 − σ(s_fake)); "least-squares" ½ E(s_fake − 1)²; "wasserstein" −E s_fake

    The slopes of the first two by s are −σ(−s) and −σ(s): where the discriminator is sure of what was made, s ≪ 0, the
    second has none left to learn from.
    """
    if _game(game) == "least-squares":
        return ((fake - 1.0) * (fake - 1.0)).mean() * 0.5
    if game == "wasserstein":
        return -fake.mean()
    return -_softplus(fake).mean() if game == "minimax" else _softplus(-fake).mean()


def between(real: Tensor, fake: Tensor, generator: Generator | None = None) -> Tensor:
    """Points drawn uniformly on lines between real and made examples, where a critic's slope is held at 1."""
    if real.shape != fake.shape:
        raise ShapeError(f"between: as many real as made examples, got {list(real.shape)} and {list(fake.shape)}")
    shape = (len(real),) + (1,) * (real.ndim - 1)
    drawn = (generator or default_generator()).uniform(shape, dtype=real.dtype, device=real.device)
    share = wrap(drawn, None)
    return (real * share + fake * (1.0 - share)).detach()


def gradient_penalty(critic: Callable[[Tensor], Tensor], points: Tensor, target: float = 1.0) -> Tensor:
    """E (‖∇ₓ s(x)‖ − c)² at these points, c = `target`; its own gradient goes back through ∇ₓ s, by double backward

    With c = 1 and points `between` real and made ones it is WGAN-GP's, with c = 0 and real ones the R₁ penalty.
    (On a line c = 1 keeps a critic as it is: to turn, its slope would have to pass 0, which costs the whole penalty.)
    Source: Gulrajani et al., "Improved training of Wasserstein GANs", 2017; Mescheder, Geiger and Nowozin, "Which
    training methods for GANs do actually converge?", 2018.
    """
    slopes = grad(lambda x: critic(x).sum())(points).reshape((len(points), -1))
    if target == 0:
        return (slopes * slopes).sum(axis=-1).mean()
    away = _vector_norm(slopes, axis=-1) - target
    return (away * away).mean()


def _game(game: str) -> str:
    if game not in GAMES:
        raise OptionError(f"the game is one of {', '.join(GAMES)}, got {game!r}")
    return game


class GAN(Module):
    """z ~ N(0, I), x = G(z); D(x) is a score a row, high for real x

    With `classes` both are given a label y, as one-hot numbers beside z and beside x, which is then [batch, data].

    Shapes: z [batch, latent], x [batch, …], scores [batch].
    Source: Goodfellow et al., 2014; Mirza and Osindero, "Conditional generative adversarial nets", 2014.
    """

    def __init__(
        self, generator: Module, discriminator: Module, latent: int, game: str = "non-saturating", classes: int = 0
    ) -> None:
        for name, part in (("generator", generator), ("discriminator", discriminator)):
            if not isinstance(part, Module):
                raise DTypeError(f"GAN: the {name} is a Module, got {part!r}")
        if _size("GAN: classes", classes) == 1:
            raise OptionError(f"GAN: classes is 0 or at least 2, got {classes!r}")
        self.latent, self.game, self.classes = _size("GAN: latent", latent, 1), _game(game), classes
        self.generator, self.discriminator = generator, discriminator

    def extra_repr(self) -> str:
        return f"latent={self.latent}, game={self.game!r}, classes={self.classes}"

    def forward(self, z: Tensor, y: Any = None) -> Tensor:
        """G(z)"""
        return self.generator(with_labels("GAN", z, y, self.classes))

    def score(self, x: Tensor, y: Any = None) -> Tensor:
        """D(x)    [batch]"""
        found = self.discriminator(with_labels("GAN", x, y, self.classes))
        if found.size != len(x):
            raise ShapeError(f"GAN: the discriminator gives one score an example, it gave {list(found.shape)}")
        return found.reshape((-1,))

    def noise(self, n: int, generator: Generator | None = None) -> Tensor:
        """n draws of z"""
        return normals((n, self.latent), next(iter(self.generator.parameters())), generator)

    def sample(self, n: int, y: Any = None, generator: Generator | None = None) -> Tensor:
        """n draws of x, in evaluation mode, unrecorded"""
        n, was = _size("GAN.sample: n", n), self.generator.training
        self.generator.eval()
        try:
            with no_grad():
                return self(self.noise(n, generator), y)
        finally:
            self.generator.train(was)


# How the game goes


@dataclass
class GameHistory:
    """What a game gave, a mean an epoch, and what it means: see `verdict`."""

    game: str = "non-saturating"
    discriminator_loss: list[float] = field(default_factory=list)  # without the penalty
    generator_loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)  # of D: the share of real and of made ones told apart
    discriminator_gradient: list[float] = field(default_factory=list)  # the joint norm
    generator_gradient: list[float] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)  # the share of real examples with a made one near

    def verdict(self) -> str:
        """What the last epochs say, in a word and its reasons: "vanishing", "collapse", "overpowered", "balanced"

        vanishing: D is right in over 95 % and G's gradient is below a hundredth of its greatest. collapse: fewer than
        half of the real examples have a made one near. overpowered: D is right in over 95 %, but G still has a gradient
        to learn from. What is right for a critic (wasserstein) is a score on its side of the two means' middle; being
        right is then no fault, and is not counted as such.
        """
        if not self.accuracy:
            return "no epoch was played"
        last = slice(-max(1, len(self.accuracy) // 10), None)
        right, covered = float(np.mean(self.accuracy[last])), float(np.mean(self.coverage[last]))
        gradients = np.array(self.generator_gradient)  # NaN in an epoch without a step of G
        if np.isnan(gradients).all():
            return "no step of the generator was played"
        greatest = float(np.nanmax(gradients))
        slope = float(np.nanmean(gradients[last])) if not np.isnan(gradients[last]).all() else greatest
        facts = (
            f"D is right in {right:.0%}, G's gradient is {slope:.2g} (greatest {greatest:.2g}), coverage {covered:.0%}"
        )
        sure = right > 0.95 and self.game != "wasserstein"
        if sure and slope < 0.01 * greatest:
            return f"vanishing: {facts}. Take the non-saturating loss, or fewer or smaller steps for D"
        if covered < 0.5:
            return f"collapse: {facts}. Take a gradient penalty, another game, or larger batches"
        if sure:
            return f"overpowered: {facts}. Take smaller steps for D, or a gradient penalty"
        return f"balanced: {facts}"


def coverage(real: Any, fake: Any, k: int = 5) -> float:
    """The share of real examples that have a made one nearer than their own k-th real neighbour

    For two draws from one distribution about 1 − 2⁻ᵏ.
    Source: Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020.
    """
    real, fake = asarray(real), asarray(fake)
    if real.ndim < 1 or fake.ndim < 1 or not real.size or not fake.size:
        raise ShapeError(f"coverage: wants examples, [n, …], got {list(real.shape)} and {list(fake.shape)}")
    a, b = (x.detach()._array.reshape(len(x), -1) for x in (real, fake))
    if not 1 <= k < len(a) or not len(b) or a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"coverage: wants more than {k} real examples, and made ones of their size, got {list(real.shape)} and "
            f"{list(fake.shape)}"
        )
    xp = space_of(a)
    own = _squared_distances(xp, a, a)
    radius = xp.sort(own, axis=1)[:, k]  # the 0-th is the example itself
    return float((_squared_distances(xp, a, b).min(axis=1) <= radius).mean())


def _squared_distances(xp: Any, a: Any, b: Any) -> Any:
    a, b = a.astype(np.float64), b.astype(np.float64)
    found = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    return xp.maximum(found, 0)


class Modes(NamedTuple):
    """How many centres are covered, how many points lie near any, and each centre's share of these."""

    covered: int
    quality: float
    shares: np.ndarray[Any, Any]


def modes_covered(points: Any, centres: Any, std: float, within: float = 3.0) -> Modes:
    """The centres that have at least a tenth of their fair share of the points within so many standard deviations

    Shapes: points [n, d], centres [modes, d].
    """
    x, c = (asarray(a).numpy() for a in (points, centres))
    if x.ndim != 2 or c.ndim != 2 or x.shape[1] != c.shape[1] or not len(x):
        raise ShapeError(f"modes_covered: points [n, d] and centres [modes, d], got {list(x.shape)}, {list(c.shape)}")
    squared = ((x[:, None] - c) ** 2).sum(axis=2)
    near = squared.min(axis=1) <= (within * std) ** 2
    shares = np.bincount(squared.argmin(axis=1)[near], minlength=len(c)) / len(x)
    return Modes(int((shares >= 0.1 / len(c)).sum()), float(near.mean()), shares)


# The game


def train_gan(
    model: GAN, data: Iterable[Any], epochs: int = 1, optimizers: tuple[Optimizer, Optimizer] | None = None, *,
    critic_steps: int | None = None, penalty: float | None = None, penalty_at: str | None = None,
    clip_norm: float | None = None, generator: Generator | None = None,
    after: Callable[[GameHistory], Any] | None = None,
) -> GameHistory:  # fmt: skip
    """Plays: for each batch a step of D, and after every `critic_steps` of them one of G

    `data` gives batches x, or (x, y) for a conditional model. `optimizers` are G's and D's, Adam with rate 2e-4 and
    betas (0.5, 0.999) unless given. `penalty` is the factor of the gradient penalty, `penalty_at` "between" (‖∇s‖ held
    at 1 between real and made examples) or "real" (held at 0 at real ones, where the factor is halved). For
    "wasserstein" they are 10 and "between", with 5 steps of D, unless given; else there is none, and one step.
    `after(history)` is called after each epoch.

    Raises: OptionError, ShapeError for data that do not suit; DivergenceError, naming player and layer.
    """
    wasserstein = model.game == "wasserstein"
    critic_steps = (
        (5 if wasserstein else 1) if critic_steps is None else _size("train_gan: critic_steps", critic_steps, 1)
    )
    penalty = (10.0 if wasserstein else 0.0) if penalty is None else penalty
    penalty_at = ("between" if wasserstein or not penalty else "real") if penalty_at is None else penalty_at
    if penalty_at not in ("between", "real") or not (is_number(penalty) and penalty >= 0):
        raise OptionError(
            f'train_gan: penalty is not negative, penalty_at "between" or "real"; got {penalty!r}, {penalty_at!r}'
        )
    epochs = _size("train_gan: epochs", epochs)
    if optimizers is not None and not (isinstance(optimizers, (tuple, list)) and len(optimizers) == 2):
        raise DTypeError(f"train_gan: optimizers are two, the generator's and the discriminator's; got {optimizers!r}")
    g_optimizer, d_optimizer = optimizers or (
        Adam(model.generator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        Adam(model.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999)),
    )
    like = next(iter(model.generator.parameters()))
    history, step = GameHistory(model.game), 0
    model.train()
    for _ in range(epochs):
        d_facts: list[Tensor] = []
        g_facts: list[Tensor] = []
        kept: list[Tensor] = []
        for batch in data:
            x, y = split(batch)
            x = as_data(x, "train_gan", None, like)
            with unheard():
                with no_grad():
                    fake = model(model.noise(len(x), generator), y)
                if fake.shape != x.shape:
                    raise ShapeError(f"train_gan: the generator makes {list(fake.shape)}, the data are {list(x.shape)}")
                real_score, fake_score = model.score(x, y), model.score(fake, y)
                played = loss = discriminator_loss(real_score, fake_score, model.game)
                if penalty:
                    judge = functools.partial(model.score, y=y)
                    if penalty_at == "between":
                        loss = loss + gradient_penalty(judge, between(x, fake, generator)) * penalty
                    else:
                        loss = loss + gradient_penalty(judge, x, 0.0) * (0.5 * penalty)
                norm = update("train_gan: D", loss, model.discriminator, d_optimizer, step, clip_norm)
                d_facts.append(_facts(played, norm, _accuracy(real_score, fake_score, model.game)))
                step += 1
                if step % critic_steps == 0:
                    loss = generator_loss(model.score(model(model.noise(len(x), generator), y), y), model.game)
                    norm = update("train_gan: G", loss, model.generator, g_optimizer, step - 1, clip_norm)
                    g_facts.append(_facts(loss, norm))
            if sum(len(part) for part in kept) < 512:
                kept.append(x)
        if not kept:
            raise OptionError("train_gan: the data gave no batches (an iterator is used up after the first epoch)")
        _note(history, model, stack(d_facts), stack(g_facts) if g_facts else None, concat(kept, axis=0), y, generator)
        if after is not None:
            after(history)
    settled("train_gan", model)
    if epochs and step < critic_steps:
        warnings.warn(
            f"train_gan: the generator made no step, for the discriminator made only {step}, and the generator's come "
            f"after every {critic_steps} (critic_steps)",
            TrainingWarning,
            stacklevel=2,
        )
    return history


def _facts(loss: Tensor, *more: Tensor) -> Tensor:
    return stack([t.detach().astype(np.float64).to(loss.device) for t in (loss, *more)])


def _accuracy(real: Tensor, fake: Tensor, game: str) -> Tensor:
    real, fake = real.detach(), fake.detach()
    middle: Any = (
        (real.mean() + fake.mean()) * 0.5 if game == "wasserstein" else 0.5 if game == "least-squares" else 0.0
    )
    right = [(real > middle).astype(np.float64).mean(), (fake < middle).astype(np.float64).mean()]
    return (right[0] + right[1]) * 0.5


def _note(
    history: GameHistory, model: GAN, d_facts: Tensor, g_facts: Tensor | None, real: Tensor, y: Any,
    generator: Generator | None,
) -> None:  # fmt: skip
    loss, norm, right = d_facts.mean(axis=0).tolist()
    history.discriminator_loss.append(loss)
    history.discriminator_gradient.append(norm)
    history.accuracy.append(right)
    loss, norm = (float("nan"), float("nan")) if g_facts is None else g_facts.mean(axis=0).tolist()
    history.generator_loss.append(loss)
    history.generator_gradient.append(norm)
    labels = None
    if model.classes:
        drawn = (generator or default_generator()).uniform((len(real),), 0, model.classes, dtype=np.float64)
        labels = drawn.astype(np.int64)
    fake = model.sample(len(real), labels, generator)
    history.coverage.append(coverage(real, fake) if len(real) > 5 else float("nan"))
