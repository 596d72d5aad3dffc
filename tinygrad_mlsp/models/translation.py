"""Unpaired translation: two sets of pictures, none of which shows the same thing, and a way there and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError, ShapeError
from ..namespace import concat, stack
from ..nn import Module
from ..nn.module import _size
from ..optim import Adam, Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad
from .gan import _game, discriminator_loss, generator_loss
from .probabilistic import as_data, settled, split, unheard, update


class Translation(NamedTuple):
    """The generators' loss in its terms, the factors of which it is not yet multiplied by"""

    fooling: Tensor  # both judges, by what was made
    cycle: Tensor  # E|back(there(a)) − a| + E|there(back(b)) − b|, means over pixels
    identity: Tensor  # E|there(b) − b| + E|back(a) − a|


class CycleGAN(Module):
    """b̂ = G(a), â = F(b), learned from unpaired a and b, so that F(G(a)) ≈ a, G(F(b)) ≈ b, and judges are fooled

        L = fooling + λ cycle + μ identity

    `to_b` (G) and `to_a` (F) give pictures of their argument's shape; `judge_b` and `judge_a` give scores, one a
    picture or one a patch. λ = `cycle` and μ = `identity`; with μ = 0 that term is not computed.

    Shapes: a, b [batch, …].
    Source: Zhu, Park, Isola and Efros, "Unpaired image-to-image translation using cycle-consistent adversarial
    networks", 2017; lecture 3, "Conditional Generation" (horse and zebra).
    """

    def __init__(
        self, to_b: Module, to_a: Module, judge_b: Module, judge_a: Module, *, cycle: float = 10.0,
        identity: float = 5.0, game: str = "least-squares",
    ) -> None:  # fmt: skip
        if not (0 <= cycle < math.inf and 0 <= identity < math.inf):
            raise OptionError(f"CycleGAN: cycle and identity must not be negative, got {cycle!r} and {identity!r}")
        self.to_b, self.to_a, self.judge_b, self.judge_a = to_b, to_a, judge_b, judge_a
        self.cycle, self.identity, self.game = cycle, identity, _game(game)

    def extra_repr(self) -> str:
        return f"cycle={self.cycle}, identity={self.identity}, game={self.game!r}"

    def forward(self, a: Tensor) -> Tensor:
        """G(a)"""
        return self.to_b(a)

    def terms(self, a: Tensor, b: Tensor) -> tuple[Translation, Tensor, Tensor]:
        """The generators' terms, and what they made of a and b"""
        made_b, made_a = self.to_b(a), self.to_a(b)
        if made_b.shape != a.shape or made_a.shape != b.shape:
            raise ShapeError(
                f"CycleGAN: the generators keep their argument's shape; {list(a.shape)} became {list(made_b.shape)}, "
                f"{list(b.shape)} became {list(made_a.shape)}"
            )
        fooling = generator_loss(self.judge_b(made_b), self.game) + generator_loss(self.judge_a(made_a), self.game)
        cycle = abs(self.to_a(made_b) - a).mean() + abs(self.to_b(made_a) - b).mean()
        identity = abs(self.to_b(b) - b).mean() + abs(self.to_a(a) - a).mean() if self.identity else cycle.detach() * 0
        return Translation(fooling, cycle, identity), made_a, made_b

    def loss(self, terms: Translation) -> Tensor:
        """L"""
        return terms.fooling + terms.cycle * self.cycle + terms.identity * self.identity

    def judges_loss(self, a: Tensor, b: Tensor, made_a: Tensor, made_b: Tensor) -> Tensor:
        """Both judges' loss; what was made is held constant"""
        of_a = discriminator_loss(self.judge_a(a), self.judge_a(made_a.detach()), self.game)
        return of_a + discriminator_loss(self.judge_b(b), self.judge_b(made_b.detach()), self.game)


class Pool:
    """The last `size` pictures made: each one given is handed on, or, with probability ½, put in place of an old one,
    which is handed on instead, so that a judge does not forget what it has learned

    Source: Shrivastava et al., "Learning from simulated and unsupervised images through adversarial training", 2017.
    """

    def __init__(self, size: int = 50, generator: Generator | None = None) -> None:
        size = _size("Pool: size", size)
        self.size, self.generator, self.kept = size, generator, None

    kept: Tensor | None

    def __call__(self, made: Tensor) -> Tensor:
        made = made.detach()
        if not self.size:
            return made
        if self.kept is None:
            self.kept = made[: self.size]
            return made
        if len(self.kept) < self.size:
            self.kept = concat([self.kept, made[: self.size - len(self.kept)]], axis=0)
            return made
        generator = self.generator or default_generator()
        n = min(len(made), self.size)
        swap = np.flatnonzero(generator.uniform((n,)) < 0.5)
        if not len(swap):
            return made
        # one gather each way, over the two sets side by side
        old = generator.permutation(self.size)[: len(swap)]
        both, given = concat([made, self.kept], axis=0), np.arange(len(made))
        kept = len(made) + np.arange(self.size)
        given[swap], kept[old] = kept[old].copy(), swap
        self.kept = both[Tensor(kept, device=made.device)]
        return both[Tensor(given, device=made.device)]


@dataclass
class TranslationHistory:
    """What a training gave, a mean an epoch."""

    fooling: list[float] = field(default_factory=list)
    cycle: list[float] = field(default_factory=list)
    identity: list[float] = field(default_factory=list)
    judges: list[float] = field(default_factory=list)


def train_translation(
    model: CycleGAN, a_data: Iterable[Any], b_data: Iterable[Any], epochs: int = 1,
    optimizers: tuple[Optimizer, Optimizer] | None = None, *, pool: int = 50, clip_norm: float | None = None,
    generator: Generator | None = None, after: Callable[[TranslationHistory], Any] | None = None,
) -> TranslationHistory:  # fmt: skip
    """For each pair of batches, of a and of b by themselves: a step of both generators, then one of both judges

    An epoch ends with the shorter of the two. `optimizers` are the generators' and the judges', Adam with rate 2e-4 and
    betas (0.5, 0.999) unless given. The judges see made pictures from a `Pool` of that size.

    Raises: OptionError, ShapeError for data that do not suit; DivergenceError, naming player and layer.
    """
    epochs = _size("train_translation: epochs", epochs)
    makers, judges = _Both(model.to_b, model.to_a), _Both(model.judge_b, model.judge_a)
    g_optimizer, d_optimizer = optimizers or (
        Adam(makers.parameters(), lr=2e-4, betas=(0.5, 0.999)),
        Adam(judges.parameters(), lr=2e-4, betas=(0.5, 0.999)),
    )
    like = next(iter(makers.parameters()))
    pools, history, step = (Pool(pool, generator), Pool(pool, generator)), TranslationHistory(), 0
    model.train()
    for _ in range(epochs):
        facts = []
        for first, second in zip(a_data, b_data, strict=False):
            a, b = (as_data(split(batch)[0], "train_translation", None, like) for batch in (first, second))
            with unheard():
                terms, made_a, made_b = model.terms(a, b)
                update("train_translation: generators", model.loss(terms), makers, g_optimizer, step, clip_norm)
                with no_grad():
                    old_a, old_b = pools[0](made_a), pools[1](made_b)
                loss = model.judges_loss(a, b, old_a, old_b)
                update("train_translation: judges", loss, judges, d_optimizer, step, clip_norm)
            facts.append(stack([t.detach() for t in (*terms, loss)]))
            step += 1
        if not facts:
            raise OptionError("train_translation: the data gave no batches")
        means = stack(facts).mean(axis=0).tolist()
        for name, value in zip(("fooling", "cycle", "identity", "judges"), means, strict=True):
            getattr(history, name).append(value)
        if after is not None:
            after(history)
    settled("train_translation", model)
    return history


class _Both(Module):
    def __init__(self, to_b: Module, to_a: Module) -> None:
        self.b, self.a = to_b, to_a
