"""Samplers against densities whose moments are known, and nets whose posterior is a Gaussian in closed form.

Most chains start from exact draws: then every point of a right sampler is an exact draw too, however few steps it
makes, and the chains are independent. Bounds are five standard errors (false alarm 6e-7 a figure), p-values above 1e-5.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support import maker
from test_nn import numeric
from test_vae import GRID, WEIGHTS, near

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, nn, optim
from tinygrad_mlsp.errors import DivergenceError, OptionError, ShapeError, TrainingWarning
from tinygrad_mlsp.random import Generator

BEND = 0.5
COVARIANCE = np.array([[1.0, 0.6], [0.6, 0.8]])


def bent(q: tg.Tensor) -> tg.Tensor:
    """x ~ N(0, 1), y ~ N(BEND (x² − 1), 1): a banana"""
    x, y = q[:, 0], q[:, 1]
    away = y - (x * x - 1) * BEND
    return (x * x + away * away) * -0.5


def draws(n: int, seed: int = 0) -> Any:
    x, e = np.random.default_rng(seed).standard_normal((2, n))
    return np.stack([x, BEND * (x**2 - 1) + e], 1)


def gaussian(device: str) -> Any:
    precision = maker(device)(np.linalg.inv(COVARIANCE))
    return lambda q: (q @ precision * q).sum(axis=-1) * -0.5


def is_bent(points: Any) -> None:
    """The moments of the banana, and its two independent normals by Kolmogorov and Smirnov."""
    x, y = points.T
    near(np.stack([x, y, x**2, y**2, x * y, x**2 * y], 1), [0, 0, 1, 1 + 2 * BEND**2, 0, 2 * BEND])
    for normal in (x, y - BEND * (x**2 - 1)):
        assert stats.kstest(normal, "norm").pvalue > 1e-5


# The dynamics


def test_leapfrog_goes_back_keeps_volumes_and_nearly_the_energy(device: str) -> None:
    make = maker(device)
    gradient = tg.grad(lambda q: bent(q).sum())
    q, p = (make(a) for a in np.random.default_rng(0).standard_normal((2, 5, 2)))
    there, moment, slope = models.leapfrog(gradient, q, p, 0.3, 12)
    back, moment, _ = models.leapfrog(gradient, there, -moment, 0.3, 12)
    np.testing.assert_allclose(back.numpy(), q.numpy(), atol=1e-12)
    np.testing.assert_allclose(moment.numpy(), -p.numpy(), atol=1e-12)
    np.testing.assert_allclose(slope.numpy(), gradient(there).numpy(), atol=1e-12)

    def flow(state: tg.Tensor) -> tg.Tensor:
        q, p, _ = models.leapfrog(gradient, state[None, :2], state[None, 2:], 0.3, 12)
        return tg.concat([q[0], p[0]])

    jacobian = tg.jacobian(flow)(make(np.array([0.3, -1.0, 0.5, 0.2]))).numpy()
    assert abs(np.linalg.det(jacobian) - 1) < 1e-9

    def change(steps: int) -> float:
        q1, p1, _ = models.leapfrog(gradient, q, p, 1.5 / steps, steps)
        energies = [0.5 * (m.numpy() ** 2).sum(1) - bent(x).numpy() for x, m in ((q, p), (q1, p1))]
        return float(np.abs(energies[1] - energies[0]).max())

    assert 3.5 < change(20) / change(40) < 4.5


@pytest.mark.parametrize("step, steps", [(0.9, 3), (1.2, 1)])
def test_hamiltonian_leaves_the_density_as_it_is(device: str, step: float, steps: int) -> None:
    """With steps so long that a good part is refused: without the refusals, or with wrong ones, it would not."""
    found = models.hamiltonian(
        bent, maker(device)(draws(20000)), 6, step_size=step, leapfrogs=steps, generator=Generator(0), keep_every=6
    )
    assert 0.5 < found.acceptance < 0.9
    is_bent(found.pooled.numpy())
    np.testing.assert_allclose(found.log_density.numpy()[0], bent(found.points[0]).numpy(), atol=1e-12)


def test_a_wrong_acceptance_would_be_seen(device: str) -> None:
    """The test above, of the same dynamics without a refusal: it finds the fault."""
    gradient, make = tg.grad(lambda q: bent(q).sum()), maker(device)
    q, random = make(draws(20000)), np.random.default_rng(1)
    for _ in range(2):
        q, _, _ = models.leapfrog(gradient, q, make(random.standard_normal(q.shape)), 0.7, 3)
    with pytest.raises(AssertionError):
        is_bent(q.numpy())


@pytest.mark.parametrize("sampler", ["hamiltonian", "langevin"])
def test_detailed_balance(device: str, sampler: str) -> None:
    """As many go from A to B as from B to A, for every pair of nine regions."""
    start = draws(40000, seed=3)
    if sampler == "hamiltonian":
        found = models.hamiltonian(bent, maker(device)(start), 1, step_size=0.8, leapfrogs=2, generator=Generator(0))
    else:
        found = models.langevin(bent, maker(device)(start), 1, step_size=1.2, generator=Generator(0))
    place = lambda q: 3 * np.digitize(q[:, 0], [-0.5, 0.5]) + np.digitize(q[:, 1], [-0.7, 0.5])
    counts = np.zeros((9, 9))
    np.add.at(counts, (place(start), place(found.pooled.numpy())), 1)
    upper = np.triu_indices(9, 1)
    there, back = counts[upper], counts.T[upper]
    enough = there + back > 10
    statistic = ((there - back)[enough] ** 2 / (there + back)[enough]).sum()
    assert enough.sum() > 25 and stats.chi2.sf(statistic, enough.sum()) > 1e-5
    assert 0.4 < found.acceptance < 0.95 and (there + back).sum() > 10000


def test_the_adjusted_langevin_proposal_is_accepted_as_its_formula_says(device: str) -> None:
    """One leapfrog step is the proposal N(q + ½ε ∇, ε), with Metropolis and Hastings' ratio."""
    epsilon, q = 0.7, np.array([[0.4, -0.3]])
    p = np.array([[0.8, -1.1]])
    make, gradient = maker(device), tg.grad(lambda q: bent(q).sum())
    q1, p1, _ = models.leapfrog(gradient, make(q), make(p), math.sqrt(epsilon), 1)
    mean = q + 0.5 * epsilon * gradient(make(q)).numpy()
    np.testing.assert_allclose(q1.numpy(), mean + math.sqrt(epsilon) * p)
    back = q1.numpy() + 0.5 * epsilon * gradient(q1).numpy()
    ratio = (
        bent(q1).numpy()[0] - bent(make(q)).numpy()[0]
        + stats.norm.logpdf(q, back, math.sqrt(epsilon)).sum()
        - stats.norm.logpdf(q1.numpy(), mean, math.sqrt(epsilon)).sum()
    )  # fmt: skip
    change = bent(q1).numpy()[0] - bent(make(q)).numpy()[0] + 0.5 * ((p**2).sum() - (p1.numpy() ** 2).sum())
    np.testing.assert_allclose(change, ratio, rtol=1e-12)


def test_hamiltonian_from_a_wrong_start_finds_the_gaussian(device: str) -> None:
    found = models.hamiltonian(
        gaussian(device), maker(device)(np.full((8, 2), 9.0)), 800, step_size=1e-3, leapfrogs=6, burn=200, target=0.8,
        generator=Generator(0),
    )  # fmt: skip
    assert 0.65 < found.acceptance < 0.93 and found.step_size > 0.1  # tuned
    worth = models.effective_size(found.points)
    assert (worth > 1000).all() and (models.split_rhat(found.points) < 1.02).all()
    points = found.pooled.numpy()
    assert (np.abs(points.mean(0)) < 5 * np.sqrt(np.diag(COVARIANCE) / worth)).all()
    np.testing.assert_allclose(np.cov(points.T), COVARIANCE, atol=0.15)


def test_unadjusted_langevin_is_off_just_as_its_step_says(device: str) -> None:
    """On N(0, 1) it is q' = (1 − ε/2) q + √ε n, whose variance is ε/(1 − (1 − ε/2)²) = 1/(1 − ε/4)."""
    epsilon = 0.8
    start = np.random.default_rng(0).standard_normal((20000, 1)) / math.sqrt(1 - epsilon / 4)
    log_density = lambda q: (q * q).sum(axis=-1) * -0.5
    found = models.langevin(
        log_density, maker(device)(start), 12, step_size=epsilon, adjusted=False, generator=Generator(1), keep_every=4
    )
    assert found.points.shape == (3, 20000, 1) and found.acceptance == 1.0
    last = found.points[2].numpy()
    near(last**2, 1 / (1 - epsilon / 4))
    assert (last**2).mean() > 1.2
    np.testing.assert_allclose(found.log_density.numpy(), log_density(found.pooled).numpy().reshape(3, -1))
    adjusted = models.langevin(
        log_density, maker(device)(np.random.default_rng(0).standard_normal((20000, 1))), 12, step_size=epsilon,
        generator=Generator(1),
    )  # fmt: skip
    near(adjusted.points[11].numpy() ** 2, 1.0)


def test_stochastic_gradients_and_a_falling_step_find_the_posterior(device: str) -> None:
    """The mean of 400 numbers of variance 1, with a wide prior: the posterior is N(their mean, 1/400)."""
    make, random = maker(device), np.random.default_rng(0)
    data, picks = random.standard_normal(400) + 2.0, np.random.default_rng(1)

    def estimate(q: tg.Tensor) -> tg.Tensor:
        batch = make(data[picks.integers(0, 400, 100)])
        away = q - batch  # [chains, 1] − [batch]
        return (away * away).sum(axis=-1) * (-0.5 * 4)

    found = models.langevin(
        estimate, make(np.zeros((200, 1))), 600, step_size=lambda t: 0.002 / (1 + t / 20) ** 0.8, adjusted=False,
        burn=300, generator=Generator(0),
    )  # fmt: skip
    points = found.pooled.numpy()
    assert abs(points.mean() - data.mean()) < 0.02 and 0.04 < points.std() < 0.065


def test_what_chains_are_worth_by_their_correlation(device: str) -> None:
    """An autoregression with coefficient a is worth n (1 − a)/(1 + a)."""
    random, a = np.random.default_rng(0), 0.8
    x = np.zeros((6000, 8, 1))
    for t in range(1, 6000):
        x[t] = a * x[t - 1] + math.sqrt(1 - a**2) * random.standard_normal((8, 1))
    found = models.effective_size(maker(device)(x))
    np.testing.assert_allclose(found, 48000 * (1 - a) / (1 + a), rtol=0.1)
    np.testing.assert_allclose(models.split_rhat(maker(device)(x)), 1.0, atol=0.01)
    x[:, 0] += 3.0  # a chain elsewhere
    assert models.effective_size(maker(device)(x)) < 300 and models.split_rhat(maker(device)(x)) > 1.2
    with pytest.raises(ShapeError, match="4 points"):
        models.effective_size(maker(device)(x[:3]))


def test_samplers_refuse_and_warn(device: str) -> None:
    make = maker(device)
    start = make(np.zeros((3, 2)))
    with pytest.raises(ShapeError, match=r"hamiltonian: start has the shape \[chains, dim\]"):
        models.hamiltonian(bent, make(np.zeros(2)), 1)
    with pytest.raises(ShapeError, match=r"hamiltonian: the log-density of \[3, 2\] is \[3\], got \[\]"):
        models.hamiltonian(lambda q: bent(q).sum(), start, 1)
    with pytest.raises(OptionError, match="hamiltonian: the log-density is nan at the start of chain 0"):
        models.hamiltonian(lambda q: bent(q) * np.nan, start, 1)
    for options in ({"step_size": 0.0}, {"leapfrogs": 0}, {"target": 0.8}, {"target": 2.0, "burn": 3}):
        with pytest.raises(OptionError, match="hamiltonian: "):
            models.hamiltonian(bent, start, 1, **options)
    with pytest.raises(OptionError, match="langevin: "):
        models.langevin(bent, start, 1, step_size=lambda t: 0.1)
    with pytest.raises(OptionError, match="langevin: step_size"):
        models.langevin(bent, start, 1, step_size=-1.0, adjusted=False)
    with pytest.warns(TrainingWarning, match="only .* of the proposals were accepted"):
        found = models.hamiltonian(bent, make(draws(50)), 20, step_size=50.0, generator=Generator(0))
    assert np.isfinite(found.points.numpy()).all()
    with pytest.warns(TrainingWarning, match="chains went to infinity"):
        models.langevin(lambda q: bent(q) * 100, make(draws(5)), 300, step_size=1.0, adjusted=False)


# Nets


def linear_posterior(x: Any, y: Any, noise: float, prior_std: float) -> tuple[Any, Any]:
    """Mean and covariance of (w, b) in y = w·x + b + noise, w ~ N(0, s²/k), b ~ N(0, s²)"""
    design = np.concatenate([x, np.ones((len(x), 1))], 1)
    prior = np.full(design.shape[1], prior_std / math.sqrt(x.shape[1]))
    prior[-1] = prior_std
    covariance = np.linalg.inv(design.T @ design / noise**2 + np.diag(prior**-2.0))
    return covariance @ design.T @ y[:, 0] / noise**2, covariance


def problem(n: int = 12) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    x = random.standard_normal((n, 2))
    return x, x @ [[1.0], [-0.5]] + 0.3 + 0.4 * random.standard_normal((n, 1))


def test_a_linear_nets_posterior_is_the_closed_form(device: str) -> None:
    """And its MAP estimate the ridge regression, its predictive density a Gaussian's."""
    make, (x, y) = maker(device), problem()
    net = models.BayesianMLP([2, 1], noise=0.4, prior_std=1.5)
    mean, covariance = linear_posterior(x, y, 0.4, 1.5)
    density = net.log_posterior(make(x), make(y))
    theta = np.random.default_rng(1).multivariate_normal(mean, covariance, size=(5,))
    exact = stats.multivariate_normal.logpdf(theta, mean, covariance)
    found = density(make(theta)).numpy()
    np.testing.assert_allclose(found - found[0], exact - exact[0], rtol=1e-9)
    best = net.map_estimate(make(x), make(y), net.draw(3, Generator(0), np.float64, device), steps=800, lr=0.05)
    np.testing.assert_allclose(best.numpy()[0], mean, atol=1e-4)
    drawn = models.hamiltonian(
        density, best.numpy().repeat(20, 0) if device == "cpu" else make(best.numpy().repeat(20, 0)), 300,
        step_size=0.1, leapfrogs=8, burn=200, target=0.8, generator=Generator(0),
    )  # fmt: skip
    points = drawn.pooled
    worth = models.effective_size(drawn.points)
    assert (np.abs(points.numpy().mean(0) - mean) < 5 * np.sqrt(np.diag(covariance) / worth)).all()
    np.testing.assert_allclose(np.cov(points.numpy().T), covariance, atol=0.1 * covariance.max())
    at, target = np.array([[0.5, -2.0], [4.0, 1.0]]), np.array([[1.0], [6.0]])
    design = np.concatenate([at, np.ones((2, 1))], 1)
    std = np.sqrt(np.einsum("ni,ij,nj->n", design, covariance, design) + 0.4**2)
    wanted = stats.norm.logpdf(target[:, 0], design @ mean, std)
    np.testing.assert_allclose(net.predictive(points, make(at), make(target)).numpy(), wanted, atol=0.15)


def test_a_net_is_the_module_of_the_same_weights(device: str) -> None:
    make, net = maker(device), models.BayesianMLP([3, 4, 2], noise="learned")
    theta = net.draw(2, Generator(0), np.float64, device)
    x = np.random.default_rng(0).standard_normal((5, 3))
    module = models.MLP([3, 4, 2], nn.Tanh, dtype=np.float64).to(device)
    for c in range(2):
        values, at = theta.numpy()[c], 0
        for p, (a, b) in zip([(module[0].weight, module[0].bias), (module[2].weight, module[2].bias)], net.shapes):
            p[0].copy_(values[at : at + a * b].reshape(a, b).T)
            p[1].copy_(values[at + a * b : at + (a + 1) * b])
            at += (a + 1) * b
        np.testing.assert_allclose(net(theta, make(x)).numpy()[c], module(make(x)).numpy(), rtol=1e-12)
    y = np.random.default_rng(1).standard_normal((5, 2))
    wanted = stats.norm.logpdf(y, net(theta, make(x)).numpy(), np.exp(theta.numpy()[:, -1])[:, None, None]).sum(-1)
    np.testing.assert_allclose(net.log_likelihood(theta, make(x), make(y)).numpy(), wanted, rtol=1e-10)
    drawn = net.draw(20000, Generator(1), np.float64, device)
    scales = net.scales(drawn).numpy()
    middle = np.zeros(net.size)
    middle[-1] = math.log(0.5)
    near(((drawn.numpy() - middle) / scales) ** 2, 1.0)
    wanted = stats.norm.logpdf(theta.numpy(), middle, scales).sum(1)
    np.testing.assert_allclose(net.log_prior(theta).numpy(), wanted, rtol=1e-12)
    assert scales[0] == pytest.approx(1 / math.sqrt(3)) and scales[12] == 1.0


def test_a_net_of_classes(device: str) -> None:
    make, net = maker(device), models.BayesianMLP([2, 3], noise="classes")
    theta = net.draw(4, Generator(0), np.float64, device)
    x, y = np.random.default_rng(0).standard_normal((5, 2)), np.array([0, 2, 1, 1, 0])
    logits = net(theta, make(x))
    found = net.log_likelihood(theta, make(x), make(y)).numpy()
    for c in range(4):
        wanted = -nn.functional.cross_entropy(logits[c], make(y), reduction="none").numpy()
        np.testing.assert_allclose(found[c], wanted, rtol=1e-12)
    np.testing.assert_allclose(net.predictive(theta, make(x), make(y)).numpy(), np.log(np.exp(found).mean(0)))
    with pytest.raises(ShapeError, match="class numbers"):
        net.log_likelihood(theta, make(x), make(x))
    with pytest.raises(ShapeError, match=r"x has the shape \[batch, 2\]"):
        net(theta, make(x[:, :1]))
    with pytest.raises(ShapeError, match="θ has the shape"):
        net(theta[:, 1:], make(x))
    for options in ({"noise": "none"}, {"noise": -1.0}, {"prior_std": 0.0}):
        with pytest.raises(OptionError, match="BayesianMLP: "):
            models.BayesianMLP([2, 3], **options)
    with pytest.raises(ShapeError, match="the targets have the shape"):
        models.BayesianMLP([2, 1], 0.1).log_likelihood(theta[:, :3], make(x), make(x))


# Variational layers


def layer(device: str, **options: Any) -> Any:
    made = models.VariationalLinear(2, 1, dtype=np.float64, generator=Generator(0), **options)
    return made.to(device)


def test_local_reparametrization_has_the_outputs_distribution(device: str) -> None:
    """Mean and variance of y are those of y = w·x + b with drawn weights; the divergence is that of its parts."""
    make, one = maker(device), layer(device, std=0.3, prior_std=1.5)
    one.log_std.copy_(np.log([[0.3, 0.7]]))
    x = np.array([[1.0, -2.0]])
    mean = (x @ one.weight.numpy().T + one.bias.numpy()).item()
    variance = (x**2 @ (one.log_std.exp().numpy() ** 2).T + 0.3**2).item()
    drawn = one(make(np.repeat(x, 20000, 0))).numpy()
    near(drawn, mean)
    near((drawn - mean) ** 2, variance)
    random = np.random.default_rng(0)
    weights = one.weight.numpy() + one.log_std.exp().numpy() * random.standard_normal((20000, 2))
    bias = one.bias.numpy() + 0.3 * random.standard_normal((20000, 1))
    near(weights @ x.T + bias - mean, 0.0)
    near((weights @ x.T + bias - mean) ** 2, variance)
    z = one.weight.numpy().T + one.log_std.exp().numpy().T * GRID
    parts = stats.norm.logpdf(z, one.weight.numpy().T, one.log_std.exp().numpy().T) - stats.norm.logpdf(
        z, 0, 1.5 / math.sqrt(2)
    )
    at = one.bias.numpy() + 0.3 * GRID
    of_bias = stats.norm.logpdf(at, one.bias.numpy(), 0.3) - stats.norm.logpdf(at, 0, 1.5)
    wanted = (parts @ WEIGHTS).sum() + of_bias @ WEIGHTS
    assert one.divergence().item() == pytest.approx(wanted, rel=1e-10)
    assert models.weight_divergence(nn.Sequential(one)).item() == one.divergence().item()
    one.eval()
    np.testing.assert_allclose(one(make(x)).item(), mean)
    one.sampling = True
    assert abs(one(make(x)).item() - mean) > 1e-6


def test_the_gradient_of_a_variational_layer(device: str) -> None:
    one, make = layer(device), maker(device)
    x, noise = (make(a) for a in (np.random.default_rng(0).standard_normal((3, 2)), np.array([[0.5], [-1.0], [2.0]])))
    loss = lambda: (one(x, noise) ** 2).sum() + one.divergence()
    loss().backward()
    for p in one.parameters():
        before = p.numpy().copy()

        def at(values: Any, p: Any = p) -> float:
            p.copy_(values)
            return float(loss().item())

        wanted = numeric(at, before)
        p.copy_(before)
        np.testing.assert_allclose(p.grad.numpy(), wanted, rtol=1e-5, atol=1e-7)


def test_bayes_by_backprop_finds_the_best_factorized_posterior(device: str) -> None:
    """For a Gaussian posterior with precision Λ the best independent Gaussians have its mean and variances 1/Λᵢᵢ."""
    make, (x, y) = maker(device), problem(16)
    mean, covariance = linear_posterior(x, y, 0.4, 1.0)
    one = layer(device)
    regressor = models.NormalRegressor(one, noise=0.4)
    log_density = lambda x, y: regressor.log_density(x, y)
    for lr in (0.03, 0.003):
        bounds = models.train_variational(
            regressor, log_density, [(make(x), make(y))], 16, 700, optim.Adam(one.parameters(), lr=lr), warm_up=50
        )
    found = np.append(one.weight.numpy().ravel(), one.bias.numpy())
    std = np.exp(np.append(one.log_std.numpy().ravel(), one.bias_log_std.numpy()))
    best = np.diag(np.linalg.inv(covariance)) ** -0.5
    np.testing.assert_allclose(found, mean, atol=0.35 * best.min())
    np.testing.assert_allclose(std, best, rtol=0.1)
    # the bound is the evidence less the divergence to the posterior, both known
    design = np.concatenate([x, np.ones((16, 1))], 1)
    prior = np.diag([0.5, 0.5, 1.0])
    evidence = stats.multivariate_normal.logpdf(y[:, 0], np.zeros(16), design @ prior @ design.T + 0.16 * np.eye(16))
    gap = 0.5 * (np.linalg.slogdet(covariance)[1] - 2 * np.log(best).sum())
    assert np.mean(bounds[-300:]) * 16 == pytest.approx(evidence - gap, abs=0.5)
    at, target = make(np.array([[0.5, -2.0]])), make(np.array([[1.0]]))
    spread = math.sqrt((np.array([0.25, 4.0, 1.0]) * best**2).sum() + 0.16)
    wanted = stats.norm.logpdf(1.0, np.array([0.5, -2.0, 1.0]) @ mean, spread)
    logp = models.predictive_log_density(regressor, log_density, at, target, samples=2000)
    assert logp.item() == pytest.approx(wanted, abs=0.1)
    assert one.training and not one.sampling


def test_variational_training_refuses(device: str) -> None:
    make, one = maker(device), layer(device)
    regressor = models.NormalRegressor(one, noise=0.4)
    with pytest.raises(OptionError, match="no variational layer"):
        models.weight_divergence(nn.Linear(2, 1))
    with pytest.raises(OptionError, match="no batches"):
        models.train_variational(regressor, regressor.log_density, [], 3)
    with pytest.raises(DivergenceError, match=r"train_variational: the loss is .*net"):
        data = [(make(np.ones((3, 2))), make(np.full((3, 1), np.nan)))]
        models.train_variational(regressor, regressor.log_density, data, 3)
    with pytest.raises(OptionError, match="VariationalLinear: prior_std"):
        models.VariationalLinear(2, 1, prior_std=0.0)


def test_the_divergence_is_shared_by_all_examples_not_by_a_batchs(device: str) -> None:
    layer = models.VariationalLinear(2, 1, dtype=np.float64, generator=Generator(0)).to(device)
    x, wanted = maker(device)(np.ones((10, 2))), -models.weight_divergence(layer).item() / 20
    still = optim.SGD(layer.parameters(), lr=0.0)
    (bound,) = models.train_variational(layer, lambda x, y: layer(x).sum(axis=-1) * 0, [x, x], 20, 1, still)
    assert abs(bound - wanted) < 1e-12
