"""Adversarial nets: the games' best answers on discrete distributions, penalties, signs, and translation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from support import maker
from test_nn import numeric

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, nn, optim
from tinygrad_mlsp.data import toys
from tinygrad_mlsp.errors import DivergenceError, OptionError, ShapeError
from tinygrad_mlsp.models.gan import GAMES
from tinygrad_mlsp.random import Generator

P, Q = np.array([4, 3, 2, 1]), np.array([1, 1, 3, 5])  # counts of ten, of data and of the model


def scores(device: str, values: Any) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
    """A score each of four states, and the scores of ten real and ten made examples."""
    table = tg.Tensor(values, True, np.float64, device)
    real, fake = (table[maker(device)(np.repeat(np.arange(4), counts))] for counts in (P, Q))
    return table, real, fake


# The games


@pytest.mark.parametrize("game", ["non-saturating", "minimax", "least-squares"])
def test_the_best_discriminator_is_the_closed_form(device: str, game: str) -> None:
    """ln p/q, or p/(p + q): the gradient is 0 there, the loss what the divergence of p and q says, and no less near."""
    p, q = P / 10, Q / 10
    best = p / (p + q) if game == "least-squares" else np.log(p / q)
    table, real, fake = scores(device, best)
    loss = models.discriminator_loss(real, fake, game)
    loss.backward()
    np.testing.assert_allclose(table.grad.numpy(), 0.0, atol=1e-15)
    m = (p + q) / 2
    shannon = 0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum()
    pearson = ((p - q) ** 2 / (p + q)).sum()  # of Mao et al., up to factors
    wanted = (2 - pearson) / 8 if game == "least-squares" else 2 * math.log(2) - 2 * shannon
    assert loss.item() == pytest.approx(wanted, rel=1e-12)
    for seed in range(5):
        _, real, fake = scores(device, best + 0.1 * np.random.default_rng(seed).standard_normal(4))
        assert models.discriminator_loss(real, fake, game).item() > loss.item()


def test_a_critic_of_slope_one_finds_the_distance(device: str) -> None:
    """On a line of states one apart the best critic of Wasserstein's game gives their distance, Σ |P(x) − Q(x)|."""
    cumulative = np.cumsum(P / 10 - Q / 10)[:-1]
    _, real, fake = scores(device, np.append(0, np.cumsum(-np.sign(cumulative))))
    assert -models.discriminator_loss(real, fake, "wasserstein").item() == pytest.approx(np.abs(cumulative).sum())


def test_the_generators_slopes(device: str) -> None:
    """Where D is sure, minimax has no slope left, the non-saturating loss its full one."""
    s = np.array([-8.0, -1.0, 0.0, 2.0])
    sigma = 1 / (1 + np.exp(-s))
    values = {
        "non-saturating": (-np.log(sigma), -(1 - sigma)), "minimax": (np.log(1 - sigma), -sigma),
        "least-squares": (0.5 * (s - 1) ** 2, s - 1), "wasserstein": (-s, -np.ones(4)),
    }  # fmt: skip
    for game in GAMES:
        x = maker(device)(s, True)
        loss = models.generator_loss(x, game)
        loss.backward()
        value, slope = values[game]
        assert loss.item() == pytest.approx(value.mean())
        np.testing.assert_allclose(x.grad.numpy(), slope / 4, rtol=1e-12)
    with pytest.raises(OptionError, match="the game is one of"):
        models.generator_loss(x, "chess")


# The gradient penalty


@pytest.mark.parametrize("target", [1.0, 0.0])
def test_the_penalty_and_its_gradient(device: str, target: float) -> None:
    """The slopes by central differences in x, their penalty's gradient by central differences in the weights."""
    make, random = maker(device), np.random.default_rng(0)
    critic = models.MLP([2, 5, 1], nn.Tanh, dtype=np.float64, generator=Generator(0)).to(device)
    for p in critic.parameters():
        p.copy_(random.standard_normal(p.shape))
    x = random.standard_normal((3, 2))

    def by_hand() -> float:
        slopes = np.array([numeric(lambda row: critic(make(row[None])).item(), row) for row in x])
        return float(((np.linalg.norm(slopes, axis=1) - target) ** 2).mean())

    penalty = models.gradient_penalty(critic, make(x), target)
    assert penalty.item() == pytest.approx(by_hand(), rel=1e-6)
    penalty.backward()
    for p in critic.parameters():
        before = p.numpy().copy()

        def at(values: Any, p: Any = p) -> float:
            p.copy_(values)
            return float(models.gradient_penalty(critic, make(x), target).item())

        wanted = numeric(at, before)
        p.copy_(before)
        found = np.zeros(p.shape) if p.grad is None else p.grad.numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_the_penalty_of_a_linear_critic_is_its_length(device: str) -> None:
    make, w = maker(device), tg.Tensor([3.0, 4.0], True, np.float64, device)
    penalty = models.gradient_penalty(lambda x: x @ w, make(np.zeros((7, 2))))
    assert penalty.item() == pytest.approx(16.0)
    penalty.backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * 4 * np.array([0.6, 0.8]))
    images = models.gradient_penalty(lambda x: x.reshape((2, -1)) @ w, make(np.zeros((2, 1, 2, 1))))
    assert images.item() == pytest.approx(16.0)
    flat = tg.Tensor([0.0, 0.0], True, np.float64, device)
    models.gradient_penalty(lambda x: x @ flat, make(np.zeros((2, 2)))).backward()  # slope 0: no NaN
    assert np.isfinite(flat.grad.numpy()).all()


def test_points_between(device: str) -> None:
    make = maker(device)
    found = models.between(make(np.zeros((2000, 2))), make(np.ones((2000, 2))), Generator(0)).numpy()
    assert (found[:, 0] == found[:, 1]).all() and 0 <= found.min() < 0.01 and 0.99 < found.max() <= 1
    with pytest.raises(ShapeError, match="as many"):
        models.between(make(np.zeros((2, 2))), make(np.zeros((3, 2))))


# Diagnostics


def test_coverage_and_modes(device: str) -> None:
    x, _ = toys.ring(600, seed=0)
    y, which = toys.ring(600, seed=1)
    make, centres = maker(device), toys.ring_centres()
    assert abs(models.coverage(make(x), make(y)) - (1 - 2**-5)) < 0.03
    half = y[which < 4]
    assert abs(models.coverage(make(x), make(half)) - 0.5) < 0.07
    assert models.coverage(make(x), make(np.zeros((5, 2)))) == 0.0
    found = models.modes_covered(make(half), centres, 0.02)
    assert found.covered == 4 and found.quality > 0.97 and found.shares[4:].sum() == 0
    everywhere = np.concatenate([y, np.full((600, 2), 0.5)])
    found = models.modes_covered(everywhere, centres, 0.02)
    assert found.covered == 8 and 0.45 < found.quality < 0.5
    few = np.concatenate([half, y[which == 5][:3]])
    assert models.modes_covered(few, centres, 0.02).covered == 4  # three points are no mode
    with pytest.raises(ShapeError, match="coverage"):
        models.coverage(make(x[:4]), make(y))
    with pytest.raises(ShapeError, match="modes_covered"):
        models.modes_covered(x[:, :1], centres, 0.02)


def test_verdicts() -> None:
    def verdict(right: float, slopes: list[float], covered: float, game: str = "minimax") -> str:
        n = len(slopes)
        return models.GameHistory(game, [0.0] * n, [0.0] * n, [right] * n, [1.0] * n, slopes, [covered] * n).verdict()

    assert verdict(0.99, [1.0, 1e-5], 0.0).startswith("vanishing: D is right in 99%")
    assert verdict(0.99, [1.0, 1.0], 0.1).startswith("collapse")
    assert verdict(0.99, [1.0, 1.0], 0.9).startswith("overpowered")
    assert verdict(0.6, [1.0, 1.0], 0.9).startswith("balanced")
    assert verdict(0.99, [1.0, 1.0], 0.9, "wasserstein").startswith("balanced")
    assert models.GameHistory().verdict() == "no epoch was played"


def line(device: str, start: float = 0.0, game: str = "non-saturating") -> models.GAN:
    """A generator x = a z + b and a discriminator of one hidden layer, for numbers."""
    made = models.GAN(
        nn.Linear(1, 1, generator=Generator(0)), models.MLP([1, 16, 1], generator=Generator(1)), 1, game
    ).to(device)
    made.generator.weight.copy_(np.ones((1, 1)))
    made.generator.bias.copy_(np.array([start]))
    return made


def test_vanishing_gradients_are_seen_in_minimax_and_not_in_the_other(device: str) -> None:
    """The data are far from what is made, and D learns fast: the generator's slope goes, and the verdict says so."""
    x = (20 + np.random.default_rng(0).standard_normal((640, 1))).astype(np.float32)
    batches = [maker(device)(x[i : i + 64]) for i in range(0, 640, 64)]
    found = {}
    for game in ("minimax", "non-saturating"):
        model = line(device, 0.0, game)
        players = (
            optim.SGD(model.generator.parameters(), lr=1e-4), optim.Adam(model.discriminator.parameters(), lr=0.02)
        )  # fmt: skip
        found[game] = models.train_gan(model, batches, 40, players, generator=Generator(0))
    assert found["minimax"].verdict().startswith("vanishing")
    assert found["minimax"].generator_gradient[-1] < 0.02 * found["non-saturating"].generator_gradient[-1]
    assert not found["non-saturating"].verdict().startswith("vanishing")


def test_a_collapse_is_seen(device: str) -> None:
    x, _ = toys.ring(512, seed=0)
    model = models.GAN(nn.Linear(2, 2), models.MLP([2, 8, 1]), 2).to(device)
    model.generator.weight.copy_(np.zeros((2, 2)))
    model.generator.bias.copy_(np.array([2.0, 0.0]))  # one point of one mode
    still = (optim.SGD(model.generator.parameters(), lr=0.0), optim.SGD(model.discriminator.parameters(), lr=0.0))
    history = models.train_gan(model, [maker(device)(x)], 2, still)
    assert history.verdict().startswith("collapse") and history.coverage[-1] <= 0.15
    assert len(history.accuracy) == len(history.generator_gradient) == len(history.discriminator_loss) == 2


@pytest.mark.parametrize("game", GAMES)
def test_every_game_finds_a_normal(device: str, game: str) -> None:
    """N(3, 0.5²) by x = a z + b, from N(0, 1)."""
    model, random = line(device, game=game), np.random.default_rng(0)
    x = (3 + 0.5 * random.standard_normal((6400, 1))).astype(np.float32)
    batches = [maker(device)(x[i : i + 64]) for i in range(0, 6400, 64)]
    players = (
        optim.Adam(model.generator.parameters(), lr=0.01, betas=(0.0, 0.9)),
        optim.Adam(model.discriminator.parameters(), lr=0.01, betas=(0.0, 0.9)),
    )
    # the penalty at 1 is no help on a line, where the critic's slope would have to pass 0 to turn
    models.train_gan(
        model, batches, 12, players, generator=Generator(0), penalty=0.3, penalty_at="real", critic_steps=1
    )
    drawn = model.sample(2000, generator=Generator(1)).numpy()
    assert abs(drawn.mean() - 3) < 0.35 and 0.2 < drawn.std() < 1.0


def test_the_first_update_of_each_player_is_what_the_losses_say(device: str) -> None:
    """D's step uses a made batch that is held constant; G's leaves D as it is."""
    model, make = line(device), maker(device)
    x = make(np.full((8, 1), 1.0, np.float32))
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    players = [optim.SGD(part.parameters(), lr=0.1) for part in (model.generator, model.discriminator)]
    models.train_gan(model, [x], 1, tuple(players), generator=Generator(5))
    after = {name: p.numpy().copy() for name, p in model.named_parameters()}

    model.load_state_dict(before)
    generator = Generator(5)
    z1, z2 = (model.noise(8, generator) for _ in range(2))
    model.zero_grad()
    models.discriminator_loss(model.score(x), model.score(model(z1).detach())).backward()
    for p in model.discriminator.parameters():
        p.copy_(p.numpy() - 0.1 * p.grad.numpy())
    model.zero_grad()
    models.generator_loss(model.score(model(z2))).backward()
    for p in model.generator.parameters():
        p.copy_(p.numpy() - 0.1 * p.grad.numpy())
    for name, p in model.named_parameters():
        np.testing.assert_allclose(after[name], p.numpy(), rtol=1e-5, atol=1e-7)


def test_a_conditional_game(device: str) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 3200)
    x = (np.where(y == 1, 2.0, -2.0) + 0.3 * random.standard_normal(3200)).astype(np.float32)[:, None]
    model = models.GAN(
        models.MLP([3, 8, 1], generator=Generator(0)), models.MLP([3, 16, 1], generator=Generator(1)), 1, classes=2
    ).to(device)
    batches = [(maker(device)(x[i : i + 64]), maker(device)(y[i : i + 64])) for i in range(0, 3200, 64)]
    players = tuple(
        optim.Adam(part.parameters(), lr=0.01, betas=(0.0, 0.9)) for part in (model.generator, model.discriminator)
    )
    models.train_gan(model, batches, 8, players, generator=Generator(0), penalty=0.5)
    for label, mean in ((0, -2.0), (1, 2.0)):
        drawn = model.sample(500, maker(device)(np.full(500, label)), Generator(1)).numpy()
        assert abs(drawn.mean() - mean) < 0.6
    with pytest.raises(OptionError, match="needs labels"):
        model.sample(3)


def test_bad_games(device: str) -> None:
    make, model = maker(device), line(device)
    x = make(np.zeros((8, 1), np.float32))
    for bad, error in (
        (np.full((8, 1), np.inf), OptionError),
        (np.zeros((0, 1)), ShapeError),
        (np.zeros((8, 2)), ShapeError),
    ):
        with pytest.raises(error, match="train_gan"):
            models.train_gan(model, [make(bad.astype(np.float32))])
    with pytest.raises(OptionError, match="no batches"):
        models.train_gan(model, [])
    with pytest.raises(OptionError, match="penalty_at"):
        models.train_gan(model, [x], penalty=1.0, penalty_at="here")
    with pytest.raises(OptionError, match="classes"):
        models.GAN(model.generator, model.discriminator, 1, classes=1)
    with pytest.raises(OptionError, match="the game is one of"):
        models.GAN(model.generator, model.discriminator, 1, "chess")
    with pytest.raises(ShapeError, match="one score an example"):
        models.GAN(model.generator, nn.Linear(1, 2).to(device), 1).score(x)
    wild = tuple(optim.SGD(part.parameters(), lr=1e25) for part in (model.generator, model.discriminator))
    with pytest.raises(DivergenceError, match=r"train_gan: [DG]: the loss is .* at update"):
        models.train_gan(model, [x + 1.0] * 20, 1, wild)
    one = models.train_gan(line(device), [make(np.zeros((1, 1), np.float32))], 2)  # one example
    assert np.isfinite(one.generator_loss).all()


# Unpaired translation


class Affine(nn.Module):
    """x ↦ s x + t, for pictures of any shape"""

    def __init__(self, scale: float, shift: float) -> None:
        self.scale = nn.Parameter(np.array(scale))
        self.shift = nn.Parameter(np.array(shift))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.scale + self.shift


def affine(device: str, **options: Any) -> models.CycleGAN:
    """b = 0.5 a + 1 and a = 2 b − 2.5, which is not quite the way back"""
    parts = [Affine(0.5, 1.0), Affine(2.0, -2.5), Affine(1.0, 0.0), Affine(-1.0, 0.5)]
    return models.CycleGAN(*parts, **options).to(device)


def test_the_terms_of_a_translation_are_the_formulas(device: str) -> None:
    make, (a, b) = maker(device), np.random.default_rng(0).standard_normal((2, 3, 4))
    model = affine(device)
    terms, made_a, made_b = model.terms(make(a), make(b))
    np.testing.assert_allclose(made_b.numpy(), 0.5 * a + 1)
    np.testing.assert_allclose(made_a.numpy(), 2 * b - 2.5)
    assert terms.cycle.item() == pytest.approx(0.5 + 0.25)  # back(there(a)) = a − 0.5, there(back(b)) = b − 0.25
    assert terms.identity.item() == pytest.approx(np.abs(1 - 0.5 * b).mean() + np.abs(a - 2.5).mean())
    fooling = 0.5 * ((0.5 * a + 1 - 1) ** 2).mean() + 0.5 * ((-(2 * b - 2.5) + 0.5 - 1) ** 2).mean()
    assert terms.fooling.item() == pytest.approx(fooling)
    assert model.loss(terms).item() == pytest.approx(fooling + 7.5 + 5 * terms.identity.item())
    judged = 0.5 * ((0.5 - a - 1) ** 2).mean() + 0.5 * ((3 - 2 * b) ** 2).mean()
    judged += 0.5 * ((b - 1) ** 2).mean() + 0.5 * ((0.5 * a + 1) ** 2).mean()
    assert model.judges_loss(make(a), make(b), made_a, made_b).item() == pytest.approx(judged)
    assert affine(device, identity=0.0).terms(make(a), make(b))[0].identity.item() == 0.0
    np.testing.assert_allclose(model(make(a)).numpy(), made_b.numpy())


def test_a_pool_hands_on_old_pictures_and_loses_none(device: str) -> None:
    pool, seen = models.Pool(6, Generator(0)), []
    for step in range(40):
        made = maker(device)(np.arange(4 * step, 4 * step + 4, dtype=float)[:, None])
        seen.append(pool(made).numpy().ravel())
        assert seen[-1].shape == (4,)
    handed, kept = np.concatenate(seen), pool.kept.numpy().ravel()
    assert np.array_equal(seen[0], np.arange(4.0))  # while it fills, what is given is handed on
    later = handed[8:]
    assert len(np.unique(later)) == len(later)  # each picture once, whether at once or later
    assert not set(later) & set(kept) and set(later) | set(kept) >= set(np.arange(8.0, 160.0))
    ages = np.repeat(np.arange(2, 40), 4) - later // 4
    assert 0.3 < (ages == 0).mean() < 0.7 and ages.max() > 2
    assert models.Pool(0)(made) is not None and models.Pool(0).kept is None
    with pytest.raises(OptionError, match="Pool: size"):
        models.Pool(-1)


def test_translation_learns_a_known_mapping_from_unpaired_examples(device: str) -> None:
    """a = (u, v) with u on two blobs, b = (1 − u, 1 − v): point by point, though no pair is ever shown."""
    random = np.random.default_rng(0)

    def points(n: int) -> Any:
        centre = np.where(random.uniform(size=(n, 1)) < 0.3, [[0.1, 0.3]], [[0.4, 0.15]])
        return centre + 0.05 * random.standard_normal((n, 2))

    a, b = points(640), 1 - points(640)
    nets = [nn.Linear(2, 2, generator=Generator(s)) for s in (0, 1)]
    nets += [models.MLP([2, 32, 1], nn.Tanh, generator=Generator(s)) for s in (2, 3)]
    model = models.CycleGAN(*nets, identity=0.0).to(device)
    players = (
        optim.Adam([*model.to_b.parameters(), *model.to_a.parameters()], lr=0.01, betas=(0.5, 0.9)),
        optim.Adam([*model.judge_b.parameters(), *model.judge_a.parameters()], lr=0.02, betas=(0.5, 0.9)),
    )
    batches = [[maker(device)(s[i : i + 64].astype(np.float32)) for i in range(0, 640, 64)] for s in (a, b)]
    history = models.train_translation(model, *batches, 60, players, generator=Generator(0))
    new = points(300)
    off = np.abs(model(maker(device)(new.astype(np.float32))).numpy() - (1 - new)).mean()
    assert off < 0.1 < np.abs(new - (1 - new)).mean()
    assert history.cycle[-1] < 0.05 < history.cycle[0] and len(history.judges) == 60


def test_bad_translations(device: str) -> None:
    model, x = affine(device), maker(device)(np.ones((2, 3)))
    with pytest.raises(OptionError, match="CycleGAN: cycle and identity"):
        affine(device, cycle=-1.0)
    with pytest.raises(OptionError, match="no batches"):
        models.train_translation(model, [], [x])
    with pytest.raises(OptionError, match="train_translation: the data have nan"):
        models.train_translation(model, [x * np.nan], [x])
    with pytest.raises(ShapeError, match="the generators keep"):
        other = models.CycleGAN(nn.Linear(3, 2), nn.Linear(3, 3), nn.Linear(3, 1), nn.Linear(3, 1)).to(device)
        models.train_translation(other, [x], [x])
    makers = [*model.to_b.parameters(), *model.to_a.parameters()]
    judges = [*model.judge_b.parameters(), *model.judge_a.parameters()]
    wild = (optim.SGD(makers, lr=1e200), optim.SGD(judges, lr=1e200))
    with pytest.raises(DivergenceError, match=r"train_translation: (generators|judges): the loss is"):
        models.train_translation(model, [x] * 5, [x + 1.0] * 5, 1, wild)


def test_the_penalty_at_real_examples_is_halved_as_in_its_paper(device: str) -> None:
    """For a linear critic the slope is w: the penalty's part of the update is −rate · c · w."""
    x, rate, factor, weights = maker(device)(np.random.default_rng(0).normal(size=(8, 2))), 0.1, 3.0, []
    for penalty in (0.0, factor):
        judge = nn.Linear(2, 1, dtype=np.float64, generator=Generator(0)).to(device)
        before = judge.weight.numpy().copy()
        made = nn.Linear(2, 2, dtype=np.float64, generator=Generator(1)).to(device)
        players = (optim.SGD(made.parameters(), lr=rate), optim.SGD(judge.parameters(), lr=rate))
        game = models.GAN(made, judge, 2)
        models.train_gan(game, [x], 1, players, penalty=penalty, penalty_at="real", generator=Generator(2))
        weights.append(judge.weight.numpy().copy())
    np.testing.assert_allclose(weights[1] - weights[0], -rate * factor * before, atol=1e-12)
