"""The RBM against enumeration: every conditional, normalizer, gradient and sampler; then its training.

Where samples are compared with exact probabilities, it is by a chi-squared or normal test at a fixed seed whose
chance of a false alarm, over seeds, is 1e-4 (`FALSE_ALARM`). The last part plants faults and shows which test, named
there, notices.
"""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit, logsumexp
from support import Make, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import energy as E
from tinygrad_mlsp import optim
from tinygrad_mlsp.energy.annealing import RBMPath
from tinygrad_mlsp.energy.samplers import swap_probability
from tinygrad_mlsp.energy.training import Sparsity
from tinygrad_mlsp.errors import DivergenceError, DTypeError, OptionError, ShapeError, TrainingWarning

FALSE_ALARM = 1e-4
F64 = np.float64


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "binary": lambda: (5, 4),
    "more hidden": lambda: (3, 5),
    "softmax visible": lambda: (E.Softmax(3, groups=2), 4),
    "label": lambda: (E.Joint(E.Bernoulli(3), E.Softmax(3)), 4),
    "softmax hidden": lambda: (4, E.Softmax(3)),
    "counts hidden": lambda: (4, E.ReLU(2, copies=3)),
    "gaussian visible": lambda: (E.Gaussian(3, std=0.7), 4),
    "gaussian and bits": lambda: (E.Joint(E.Gaussian(2, std=1.3, learned=True), E.Bernoulli(2)), 3),
}
DISCRETE = [k for k in KINDS if "gaussian" not in k]


def machine(kind: str = "binary", device: str = "cpu", std: float = 0.8, seed: int = 0, centred: bool = False) -> E.RBM:
    """A small machine with strong weights and biases everywhere, in float64."""
    g = tg.Generator(seed)
    visible, hidden = KINDS[kind]()
    model = E.RBM(visible, hidden, std=std, generator=g, dtype=F64)
    for units in (model.visible, model.hidden):
        units.shift_bias(tg.Tensor(g.normal((units.size,), 0, 0.7, dtype=F64)))
    if centred:
        model.visible_offset = tg.Tensor(g.uniform((model.visible.size,), dtype=F64))
        model.hidden_offset = tg.Tensor(g.uniform((model.hidden.size,), dtype=F64))
    return model.to(device)


def table(model: E.RBM) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """All states of either layer and −E of every pair, [visible states, hidden states]."""
    v, h = model.visible.states(), model.hidden.states()
    pairs = [-model.energy(v, h[j : j + 1] + v[:, :1] * 0.0).numpy() for j in range(len(h))]
    return v.numpy(), h.numpy(), np.stack(pairs, 1)


def by_hand(model: E.RBM) -> tuple[np.ndarray[Any, Any], ...]:
    return tuple(p.numpy() for p in (model.weight, model.visible.bias, model.hidden.bias))


def frequencies(samples: Any, states: Any) -> np.ndarray[Any, Any]:
    """How often each state was drawn."""
    rows = {tuple(row): i for i, row in enumerate(states.round(6).tolist())}
    return np.bincount([rows[tuple(row)] for row in np.asarray(samples).round(6).tolist()], minlength=len(states))


def agree(counts: np.ndarray[Any, Any], p: np.ndarray[Any, Any]) -> None:
    """Pearson's test, rare states pooled."""
    order = np.argsort(p)
    expected, counts = p[order] * counts.sum(), counts[order]
    few = max(int(np.searchsorted(np.cumsum(expected), 10.0)) + 1, 1)
    expected = np.concatenate([[expected[:few].sum()], expected[few:]])
    found = np.concatenate([[counts[:few].sum()], counts[few:]])
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > FALSE_ALARM


# The energy, and what is summed


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", DISCRETE)
def test_the_partition_function_four_ways(kind: str, centred: bool, device: str) -> None:
    model = machine(kind, device, centred=centred)
    _v, _h, minus_energy = table(model)
    pairs = logsumexp(minus_energy)
    over_v = E.log_sum(lambda s: -model.free_energy(s), model.visible.states())
    over_h = E.log_sum(lambda s: -model.hidden_free_energy(s), model.hidden.states(), batch=5)
    for found in (over_v, over_h, model.log_partition()):
        assert float(found) == pytest.approx(pairs, abs=1e-11)


def test_the_energy_written_out() -> None:
    model = machine()
    w, b, c = by_hand(model)
    for v, h in itertools.product(E.binary_states(5).numpy()[::7], E.binary_states(4).numpy()[::5]):
        expected = -b @ v - c @ h - v @ w @ h
        assert float(model.energy(tg.Tensor(v[None]), tg.Tensor(h[None]))[0]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", DISCRETE)
def test_free_energies_sum_the_other_layer_out(kind: str, centred: bool, device: str) -> None:
    model = machine(kind, device, centred=centred)
    _, _, minus_energy = table(model)
    free = model.free_energy(model.visible.states()).numpy()
    np.testing.assert_allclose(free, -logsumexp(minus_energy, axis=1), atol=1e-11)
    hidden = model.hidden_free_energy(model.hidden.states()).numpy()
    np.testing.assert_allclose(hidden, -logsumexp(minus_energy, axis=0), atol=1e-11)
    v = model.visible.states()
    assert (model.free_energy(v, model.hidden_input(v)).numpy() == free).all()


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", DISCRETE)
def test_every_conditional_mean(kind: str, centred: bool, device: str) -> None:
    model = machine(kind, device, centred=centred)
    v, h, minus_energy = table(model)
    p = np.exp(minus_energy - logsumexp(minus_energy))
    given_v, given_h = p / p.sum(1, keepdims=True), p / p.sum(0)
    np.testing.assert_allclose(model(model.visible.states()).numpy(), given_v @ h, atol=1e-12)
    back = model.visible.mean(model.visible_input(model.hidden.states())).numpy()
    np.testing.assert_allclose(back, given_h.T @ v, atol=1e-12)
    np.testing.assert_allclose(
        model.reconstruct(model.visible.states()).numpy(),
        model.visible.mean(model.visible_input(model(model.visible.states()))).numpy(),
    )


def test_the_log_likelihood_sums_to_one(device: str) -> None:
    for kind in DISCRETE:
        model = machine(kind, device)
        assert np.exp(model.log_likelihood(model.visible.states()).numpy()).sum() == pytest.approx(1, abs=1e-12)
        given = model.log_likelihood(model.visible.states(), 3.0) + 3.0
        np.testing.assert_allclose(given.numpy(), -model.free_energy(model.visible.states()).numpy(), atol=1e-12)


def test_gaussian_visible_units_against_quadrature() -> None:
    """ln Z and E[v], E[v²] by numerical integration over one and two dimensions, with another σ each."""
    for n in (1, 2):
        g = tg.Generator(3)
        model = E.RBM(E.Gaussian(n, std=0.6), 3, std=0.9, generator=g, dtype=F64)
        model.visible.log_std.copy_(np.log([0.6, 1.4][:n]))
        model.visible.bias.copy_(g.normal((n,), dtype=F64))
        model.hidden.bias.copy_(g.normal((3,), dtype=F64))
        w, b, c = by_hand(model)
        sigma = np.array([0.6, 1.4][:n])

        def density(*x: float, w: Any = w, b: Any = b, c: Any = c, sigma: Any = sigma) -> float:
            v = np.array(x)
            inner = c + (v / sigma**2) @ w
            return float(np.exp(-((v - b) ** 2 / (2 * sigma**2)).sum() + np.logaddexp(0, inner).sum()))

        limits = [(-8.0, 8.0), (-14.0, 14.0)][:n]
        z, _ = integrate.nquad(density, limits, opts={"epsabs": 1e-9, "epsrel": 1e-9})
        assert float(model.log_partition()) == pytest.approx(math.log(z), abs=1e-8)
        point = np.linspace(-1, 1, n)
        assert float(-model.free_energy(tg.Tensor(point[None]))[0]) == pytest.approx(
            math.log(density(*point)), abs=1e-12
        )

        def moment(*x: float, density: Any = density) -> float:
            return x[0] * density(*x)

        first, _ = integrate.nquad(moment, limits, opts={"epsabs": 1e-9})
        slope = float(tg.grad(lambda b, model=model: log_partition_with(model, b))(model.visible.bias.detach())[0])
        assert slope * 0.6**2 == pytest.approx(first / z - b[0], abs=1e-7)


def log_partition_with(model: E.RBM, bias: tg.Tensor) -> tg.Tensor:
    other = copy.deepcopy(model)
    object.__setattr__(other.visible, "bias", bias)
    return other.log_partition()


def test_gaussians_on_both_sides() -> None:
    """p(v) is normal: the free energy's slopes and the integral of e^(−F)."""
    model = E.RBM(E.Gaussian(1), E.Gaussian(1, std=0.5), std=0.0, dtype=F64)
    model.weight.copy_([[0.3]])
    model.hidden.bias.copy_([0.2])
    with pytest.raises(OptionError, match="continuum"):
        model.log_partition()
    total, _ = integrate.quad(lambda x: math.exp(-float(model.free_energy(tg.Tensor([[x]], dtype=F64))[0])), -20, 20)
    pairs, _ = integrate.dblquad(
        lambda h, v: math.exp(-float(model.energy(tg.Tensor([[v]], dtype=F64), tg.Tensor([[h]], dtype=F64))[0])),
        -7, 7, -4, 4, epsabs=1e-4, epsrel=1e-4,
    )  # fmt: skip
    assert total == pytest.approx(pairs, rel=1e-4)


# The units by themselves, at any temperature

UNITS: dict[str, Callable[[], E.Units]] = {
    "Bernoulli": lambda: E.Bernoulli(3, dtype=F64),
    "Softmax": lambda: E.Softmax(3, groups=2, dtype=F64),
    "ReLU": lambda: E.ReLU(2, copies=4, dtype=F64),
    "Joint": lambda: E.Joint(E.Bernoulli(2, dtype=F64), E.Softmax(3, dtype=F64)),
}


def unit_table(units: E.Units, y: np.ndarray[Any, Any], beta: float) -> tuple[Any, Any]:
    """All states, and ln weights at β, the count of a ReLU's states taken apart into its copies."""
    if isinstance(units, E.ReLU):
        copies = E.binary_states(units.size * units.copies).numpy()
        each = copies.reshape(len(copies), units.size, units.copies)
        shift = np.arange(units.copies) + 0.5
        log_weight = beta * (each * ((units.bias.numpy() + y)[:, None] - shift)).sum((1, 2))
        return each.sum(2), log_weight
    states = units.states().numpy()
    return states, beta * (states @ (units.bias.numpy() + y))


@pytest.mark.parametrize("beta", [1.0, 0.3, 2.5])
@pytest.mark.parametrize("name", UNITS)
def test_units_at_any_temperature(name: str, beta: float, device: str) -> None:
    units = UNITS[name]()
    g = tg.Generator(1)
    units.shift_bias(tg.Tensor(g.normal((units.size,), dtype=F64)))
    y = g.normal((units.size,), dtype=F64)
    states, log_weight = unit_table(units, y, beta)
    units.to(device)
    z = tg.Tensor((units.bias.numpy() + y)[None], device=device)
    assert float(units.log_normalizer(z, beta)[0]) == pytest.approx(logsumexp(log_weight), abs=1e-11)
    p = np.exp(log_weight - logsumexp(log_weight))
    np.testing.assert_allclose(units.mean(z, beta).numpy()[0], p @ states, atol=1e-12)
    n = 20000
    drawn = units.sample(tg.Tensor(np.repeat(z.numpy(), n, 0), device=device), beta, tg.Generator(2)).numpy()
    kept, which = np.unique(states, axis=0, return_inverse=True)
    agree(frequencies(drawn, kept), np.bincount(which.ravel(), weights=p))


def test_the_energy_of_a_count_is_that_of_all_its_copies(device: str) -> None:
    units = UNITS["ReLU"]().to(device)
    states, log_weight = unit_table(units, np.zeros(2), 1.0)
    for row in units.states().numpy():
        ways = logsumexp(log_weight[(states == row).all(1)])
        found = units.energy(tg.Tensor(row[None], device=device))
        assert float(-found[0]) == pytest.approx(ways, abs=1e-12)


def test_rectified_units_are_a_count_without_end() -> None:
    """The normalizer by direct summation of its states; the mean and variance of the noisy rectified unit beside the
    count's own."""
    units = E.ReLU(1, dtype=F64)
    for z in (-3.0, -0.4, 0.0, 0.4, 3.0, 12.0):
        x = np.arange(80.0)
        log_weight = np.array([-float(units.energy(tg.Tensor([[k]], dtype=F64))) for k in x]) + z * x
        given = tg.Tensor([[z]], dtype=F64)
        assert float(units.log_normalizer(given)) == pytest.approx(logsumexp(log_weight), abs=2e-8)
        p = np.exp(log_weight - logsumexp(log_weight))
        mean, variance = p @ x, p @ x**2 - (p @ x) ** 2
        assert float(units.mean(given)) == pytest.approx(mean, abs=0.011)
        assert expit(z) == pytest.approx(variance, abs=0.02)
        slope = tg.grad(lambda q: units.log_normalizer(q).sum())(given)
        assert float(slope) == pytest.approx(mean, abs=1e-7)
    many = E.ReLU(1, copies=60, dtype=F64)
    at = tg.Tensor([[2.3]], dtype=F64)
    assert float(many.log_normalizer(at)) == pytest.approx(float(units.log_normalizer(at)), abs=2e-8)


def test_noisy_rectified_samples(device: str) -> None:
    """max(0, z + N(0, σ(z))): its distribution function, by Kolmogorov and Smirnov; zeros as often as they should."""
    units = E.ReLU(1, dtype=F64).to(device)
    for z in (-1.0, 0.5, 4.0):
        x = units.sample(tg.Tensor(np.full((20000, 1), z), device=device), 1.0, tg.Generator(4)).numpy().ravel()
        zeros = float(stats.norm.cdf(-z / math.sqrt(expit(z))))
        assert stats.binomtest(int((x == 0).sum()), len(x), zeros).pvalue > FALSE_ALARM
        part = stats.truncnorm(-z / math.sqrt(expit(z)), np.inf, z, math.sqrt(expit(z)))
        assert stats.kstest(x[x > 0], part.cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize("beta", [1.0, 0.4, 3.0])
def test_gaussian_units_at_any_temperature(beta: float, device: str) -> None:
    units = E.Gaussian(2, std=0.7, dtype=F64)
    units.bias.copy_([0.4, -1.0])
    units.log_std.copy_(np.log([0.7, 1.6]))
    units.to(device)
    z = np.array([1.1, -0.3])
    y = z - [0.4, -1.0]
    expected = 0.0
    for b, s, pull in zip([0.4, -1.0], [0.7, 1.6], y, strict=True):
        part = integrate.quad(
            lambda x, b=b, s=s, pull=pull: math.exp(beta * (-((x - b) ** 2) / (2 * s * s) + x / s**2 * pull)), -25, 25
        )
        expected += math.log(part[0])
    given = tg.Tensor(z[None], device=device)
    assert float(units.log_normalizer(given, beta)[0]) == pytest.approx(expected, abs=1e-8)
    x = units.sample(tg.Tensor(np.repeat(z[None], 5000, 0), device=device), beta, tg.Generator(5)).numpy()
    for i, s in enumerate([0.7, 1.6]):
        assert stats.kstest(x[:, i], stats.norm(z[i], s / math.sqrt(beta)).cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize("name", ["Bernoulli", "Softmax", "Joint", "Gaussian", "ReLU"])
def test_biases_for_the_datas_means(name: str) -> None:
    g = tg.Generator(6)
    units = (
        E.Gaussian(3, dtype=F64) if name == "Gaussian" else E.ReLU(3, dtype=F64) if name == "ReLU" else UNITS[name]()
    )
    x = units.sample(tg.Tensor(g.normal((1, units.size), dtype=F64)) + tg.Tensor(np.zeros((500, 1))), 1.0, g)
    bias = units.bias_for(x)
    np.testing.assert_allclose(units.mean(bias[None]).numpy()[0], x.numpy().mean(0), atol=0.02)
    assert np.isfinite(units.bias_for(x * 0).numpy()).all()


# Gradients


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", DISCRETE)
def test_the_exact_gradient_against_enumeration(kind: str, centred: bool) -> None:
    """∂/∂θ of the mean of −ln p: every parameter, by E over all pairs (v, h) and by differences."""
    model = machine(kind, centred=centred)
    v, h, minus_energy = table(model)
    p = np.exp(minus_energy - logsumexp(minus_energy))
    x = v[[0, 3, 3, 5]]
    E.exact_divergence(model, tg.Tensor(x)).backward()
    given = np.exp(minus_energy - logsumexp(minus_energy, axis=1, keepdims=True))[[0, 3, 3, 5]]
    mu = 0.0 if model.visible_offset is None else model.visible_offset.numpy()
    lam = 0.0 if model.hidden_offset is None else model.hidden_offset.numpy()
    model_mean = np.einsum("ab,ai,bj->ij", p, v - mu, h - lam)
    data_mean = np.einsum("ab,ai,bj->ij", given, x - mu, h - lam) / 4
    np.testing.assert_allclose(model.weight.grad.numpy(), model_mean - data_mean, atol=1e-12)
    biases = {
        "visible": p.sum(1) @ v - x.mean(0),
        "hidden": p.sum(0) @ h - given.mean(0) @ h,
    }
    for side, expected in biases.items():
        units = getattr(model, side)
        parts = units.parts if isinstance(units, E.Joint) else (units,)
        found = np.concatenate([part.bias.grad.numpy() for part in parts])
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_gradient_of_a_learned_width() -> None:
    model = machine("gaussian and bits")
    x = tg.Tensor(tg.Generator(1).normal((6, 4), dtype=F64) * [1, 1, 0, 0] + np.array([0, 0, 1, 0.0]))
    E.exact_divergence(model, x).backward()
    for p in model.parameters():
        values, flat = p.numpy().copy(), []
        for i in np.ndindex(p.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = values.copy()
                moved[i] += step
                p.copy_(moved)
                ends.append(float(E.exact_divergence(model, x)))
            flat.append((ends[0] - ends[1]) / 2e-5)
        p.copy_(values)
        np.testing.assert_allclose(p.grad.numpy().ravel(), flat, atol=1e-8)


def check_contrastive_gradient(loss: Callable[..., Any] = E.contrastive_divergence) -> None:
    """The formula of the textbooks at given samples: −(v₀ᵀp₀ − v₁ᵀp₁)/batch, and the biases'."""
    model = machine(std=0.5)
    w, _b, c = by_hand(model)
    g = tg.Generator(7)
    v0, v1 = ((g.uniform((6, 5)) < 0.4).astype(F64) for _ in range(2))
    loss(model, tg.Tensor(v0), lambda v, z: tg.Tensor(v1)).backward()
    p0, p1 = expit(v0 @ w + c), expit(v1 @ w + c)
    np.testing.assert_allclose(model.weight.grad.numpy(), -(v0.T @ p0 - v1.T @ p1) / 6, atol=1e-13)
    np.testing.assert_allclose(model.visible.bias.grad.numpy(), -(v0 - v1).mean(0), atol=1e-13)
    np.testing.assert_allclose(model.hidden.bias.grad.numpy(), -(p0 - p1).mean(0), atol=1e-13)


def test_the_contrastive_gradient_is_the_formula() -> None:
    check_contrastive_gradient()


def test_known_inputs_change_nothing_and_samples_are_constant() -> None:
    model, v = machine(), tg.Tensor(E.binary_states(5).numpy()[5:12])
    results = []
    for known in (None, model.hidden_input(v)):
        model.zero_grad()
        E.contrastive_divergence(model, v, E.FromData(model, generator=tg.Generator(0)), known).backward()
        results.append([p.grad.numpy() for p in model.parameters()])
    for a, b in zip(*results, strict=True):
        assert (a == b).all()


@pytest.mark.parametrize("sampler", [E.FromData, E.Persistent, E.Exact, E.FastPersistent, E.Tempered])
def test_a_sampler_records_nothing(sampler: Any, device: str) -> None:
    model = machine("binary", device)
    v = model.visible.states()[:7]
    drawn = sampler(model, generator=tg.Generator(0))(v, model.hidden_input(v).detach())
    assert drawn.shape == (7, 5) and drawn.is_leaf and not drawn.requires_grad and drawn.device == v.device


# Sampling


def chains_of(model: E.RBM, n: int = 20000) -> tg.Tensor:
    return model.sample_exact(n, tg.Generator(11))


def probabilities(model: E.RBM) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = np.exp(model.log_likelihood(model.visible.states()).numpy())
    return found


@pytest.mark.parametrize("kind", DISCRETE)
def test_exact_samples(kind: str, device: str) -> None:
    model = machine(kind, device)
    agree(frequencies(chains_of(model).numpy(), model.visible.states().numpy()), probabilities(model))


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", DISCRETE)
def test_gibbs_sampling_leaves_the_distribution(kind: str, centred: bool, device: str) -> None:
    model = machine(kind, device, centred=centred)
    after = model.gibbs(chains_of(model), 2, generator=tg.Generator(12))
    agree(frequencies(after.numpy(), model.visible.states().numpy()), probabilities(model))


def test_gibbs_sampling_moves_as_the_conditionals_say(device: str) -> None:
    """One round from one state: v' with Σ_h p(v' | h) p(h | v), exactly."""
    for kind in ("binary", "label"):
        model = machine(kind, device)
        v, _h, minus_energy = table(model)
        to_h = np.exp(minus_energy - logsumexp(minus_energy, axis=1, keepdims=True))
        to_v = np.exp(minus_energy - logsumexp(minus_energy, axis=0))
        start = model.visible.states()[3:4] + tg.Tensor(np.zeros((20000, 1)), device=device)
        for z in (None, model.hidden_input(start)):
            if z is None:
                after = model.gibbs(start, 1, generator=tg.Generator(13))
            else:
                after = E.FromData(model, generator=tg.Generator(14))(start, z)
            agree(frequencies(after.numpy(), v), to_h[3] @ to_v.T)


def test_several_rounds_from_the_data(device: str) -> None:
    model = machine("binary", device)
    v, _h, minus_energy = table(model)
    to_h = np.exp(minus_energy - logsumexp(minus_energy, axis=1, keepdims=True))
    once = to_h @ np.exp(minus_energy - logsumexp(minus_energy, axis=0)).T
    start = model.visible.states()[9:10] + tg.Tensor(np.zeros((20000, 1)), device=device)
    after = E.FromData(model, 3, generator=tg.Generator(15))(start, model.hidden_input(start))
    agree(frequencies(after.numpy(), v), (once @ once @ once)[9])
    means = E.FromData(model, 1, mean_field=True, generator=tg.Generator(15))(start, model.hidden_input(start))
    np.testing.assert_allclose(means.numpy().mean(0), once[9] @ v, atol=0.02)
    assert means.numpy().min() > 0 and means.numpy().max() < 1


def test_clamped_sampling_is_the_conditional_distribution(device: str) -> None:
    for kind in ("binary", "label"):
        model = machine(kind, device, std=0.5)
        states, p = model.visible.states().numpy(), probabilities(model)
        clamp = np.zeros(model.visible.size, bool)
        clamp[[0, 2]] = True
        kept = states[:, clamp] == [1.0, 0.0]
        wanted = np.where(kept.all(1), p, 0)
        start = tg.Tensor(np.repeat(states[np.flatnonzero(kept.all(1))[:1]], 20000, 0), device=device)
        drawn = model.gibbs(start, 40, clamp=clamp, generator=tg.Generator(16)).numpy()
        assert (drawn[:, clamp] == [1.0, 0.0]).all()
        inside = kept.all(1)
        agree(frequencies(drawn, states)[inside], wanted[inside] / wanted.sum())
    each = np.zeros(start.shape, bool)
    each[:5] = True
    drawn = model.sample(len(start), 3, start=start, clamp=each, generator=tg.Generator(0)).numpy()
    assert (drawn[:5] == start.numpy()[:5]).all() and (drawn[5:] != start.numpy()[5:]).any()
    with pytest.raises(ShapeError, match="clamp is a mask of booleans"):
        model.gibbs(start, 1, clamp=np.zeros(3, bool))
    with pytest.raises(OptionError, match="start"):
        model.sample(3, clamp=clamp)


def test_fantasies(device: str) -> None:
    model = machine("binary", device, std=0.5)
    drawn = model.sample(20000, 60, generator=tg.Generator(17)).numpy()
    agree(frequencies(drawn, model.visible.states().numpy()), probabilities(model))


def test_sampling_at_another_temperature(device: str) -> None:
    """gibbs(beta=β) has e^(−βE) as its distribution."""
    model = machine("binary", device)
    v, _, minus_energy = table(model)
    log_p = logsumexp(0.4 * minus_energy, axis=1)
    drawn = model.gibbs(chains_of(model), 30, beta=0.4, generator=tg.Generator(18)).numpy()
    agree(frequencies(drawn, v), np.exp(log_p - logsumexp(log_p)))


def check_persistent(kind: Any = E.Persistent) -> None:
    """Chains go on where they stood: after many calls with one and the same batch they have left it, and stand where
    so many rounds lead; and with the weights at rest they are the model's."""
    model = machine(std=0.6)
    v = model.visible.states()[:1] + tg.Tensor(np.zeros((20000, 1)))
    sampler = kind(model, 2, generator=tg.Generator(19))
    for _ in range(25):
        drawn = sampler(v, model.hidden_input(v))
    agree(frequencies(drawn.numpy(), model.visible.states().numpy()), probabilities(model))
    assert (sampler.chains.numpy() == drawn.numpy()).all()


def test_persistent_chains_reach_the_model() -> None:
    check_persistent()


def test_persistent_chains_start_where_told() -> None:
    model = machine()
    start = model.visible.states()[:3]
    sampler = E.Persistent(model, start=start, generator=tg.Generator(0))
    assert sampler(model.visible.states()[:9], None).shape == (3, 5)
    for wrong in (start[:, :4], start[:0], start[0]):
        with pytest.raises(ShapeError, match="Persistent: start: data of 5 visible units"):
            E.Persistent(model, start=wrong)
    for kind in (E.Persistent, E.FromData):
        with pytest.raises(OptionError, match="steps"):
            kind(model, 0)


def test_fast_weights_written_out() -> None:
    """W_fast ← decay W_fast − rate ∂L/∂W at the samples drawn, and chains of W + W_fast; the model is not touched."""
    model = machine()
    before = [p.numpy().copy() for p in model.parameters()]
    v = model.visible.states()[4:10]
    sampler = E.FastPersistent(model, rate=0.3, decay=0.8, generator=tg.Generator(20))
    fast = [0.0 * p for p in before]
    for _ in range(3):
        pushed = copy.deepcopy(model)
        for p, own, f in zip(pushed.parameters(), before, fast, strict=True):
            p.copy_(own + f)
        twin = copy.deepcopy(sampler.generator)
        expected = pushed.gibbs(v if sampler.chains is None else sampler.chains, 1, generator=twin)
        drawn = sampler(v)
        assert (drawn.numpy() == expected.numpy()).all()
        model.zero_grad()
        E.contrastive_divergence(model, v, lambda v, z, drawn=drawn: drawn).backward()
        fast = [0.8 * f - 0.3 * p.grad.numpy() for f, p in zip(fast, model.parameters(), strict=True)]
        for mine, own in zip(fast, sampler.fast, strict=True):
            np.testing.assert_allclose(own.numpy(), mine, atol=1e-12)
    assert all((p.numpy() == b).all() for p, b in zip(model.parameters(), before, strict=True))
    with pytest.raises(OptionError, match="decay"):
        E.FastPersistent(model, decay=1.0)


def test_fast_weights_move_chains_that_stand_still() -> None:
    """Two modes far apart that plain chains never leave."""
    model = E.RBM(8, 2, std=0.0, dtype=F64)
    model.weight.copy_(np.full((8, 2), 4.0))
    model.visible.bias.copy_(np.full(8, -4.0))
    model.hidden.bias.copy_(np.full(2, -16.0))
    v = tg.Tensor(np.repeat([[0.0] * 8, [1.0] * 8], 50, 0))

    def moved(kind: Any, **how: Any) -> float:
        sampler = kind(model, 1, start=tg.Tensor(np.zeros((100, 8))), generator=tg.Generator(21), **how)
        return max(float(sampler(v).mean()) for _ in range(150))

    assert moved(E.Persistent) < 0.1 < 0.4 < moved(E.FastPersistent, rate=0.5)


# Parallel tempering


def test_swaps_keep_detailed_balance() -> None:
    """p_a(x) p_b(y) a(x, y) = p_a(y) p_b(x) a(y, x) for all pairs of states."""
    for kind, centred in (("binary", False), ("label", False), ("softmax hidden", True)):
        model = machine(kind, centred=centred)
        path = RBMPath(model, tg.Tensor(tg.Generator(1).normal((model.visible.size,), dtype=F64)))
        v = model.visible.states().numpy()
        first, second = (
            a.reshape(-1, v.shape[1]) for a in (np.repeat(v[:, None], len(v), 1), np.repeat(v[None], len(v), 0))
        )
        x, y = (path.state(tg.Tensor(a)) for a in (first, second))
        there = swap_probability(path, x, y, 0.3, 0.8).numpy()
        back = swap_probability(path, y, x, 0.3, 0.8).numpy()
        flow = (path.log_density(x, 0.3) + path.log_density(y, 0.8)).numpy() + np.log(there)
        against = (path.log_density(y, 0.3) + path.log_density(x, 0.8)).numpy() + np.log(back)
        np.testing.assert_allclose(flow, against, atol=1e-10)
        assert np.maximum(there, back).min() == 1.0


@pytest.mark.parametrize("betas", [3, 4, [0.0, 0.2, 0.7, 0.9, 1.0]])
def test_tempered_chains_keep_every_distribution(betas: Any, device: str) -> None:
    model = machine("binary", device)
    sampler = E.Tempered(model, betas, chains=4000, generator=tg.Generator(22))
    bias = tg.Tensor(np.zeros(5), device=device)
    path = RBMPath(model, bias)
    for _ in range(30):
        top = sampler(model.visible.states()[:1])
    states = model.visible.states()
    for i, beta in enumerate(sampler.betas.tolist()):
        log_p = path.log_density(path.state(states), beta).numpy()
        counts = frequencies(sampler.state[i].numpy(), states.numpy())
        agree(counts, np.exp(log_p - logsumexp(log_p)))
    assert (top.numpy() == sampler.state[-1].numpy()).all() and top.shape == (4000, 5)
    assert (sampler.swapped > 0.05).all() and (sampler.swapped <= 1).all()


def test_tempered_chains_cross_where_plain_ones_do_not() -> None:
    """Two modes of nearly the same weight, 16 nats apart: from one of them, plain chains never see the other."""
    model = E.RBM(8, 2, std=0.0, dtype=F64)
    model.weight.copy_(np.full((8, 2), 4.0))
    model.visible.bias.copy_(np.full(8, -4.0))
    model.hidden.bias.copy_(np.full(2, -16.0))
    exact = probabilities(model) @ model.visible.states().numpy().mean(1)
    start = tg.Tensor(np.zeros((100, 8)))
    assert float(model.gibbs(start, 200, generator=tg.Generator(0)).mean()) < 0.15 < 0.3 < exact
    sampler = E.Tempered(model, 12, chains=100, generator=tg.Generator(23))
    values = [float(sampler(start).mean()) for _ in range(400)][50:]
    assert np.mean(values) == pytest.approx(exact, abs=0.05)


def test_a_samplers_statistics_train() -> None:
    """Every source of samples brings a small machine's exact likelihood near what the exact gradient reaches."""
    bars = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], F64)
    v = tg.Tensor(np.repeat(bars, 25, 0))
    found = {}
    for name, kind in {
        "cd": lambda m, g: E.FromData(m, 1, generator=g), "cd5": lambda m, g: E.FromData(m, 5, generator=g),
        "pcd": lambda m, g: E.Persistent(m, generator=g), "exact": lambda m, g: E.Exact(m, generator=g),
        "fast": lambda m, g: E.FastPersistent(m, rate=0.05, generator=g),
        "tempered": lambda m, g: E.Tempered(m, 5, generator=g),
    }.items():  # fmt: skip
        g = tg.Generator(1)
        model = E.RBM(4, 4, std=0.5, generator=g, dtype=F64)
        optimizer, samples = optim.SGD(model.parameters(), lr=0.2, momentum=0.5), kind(model, g)
        for lr, epochs in ((0.4, 100), (0.05, 40)):
            optimizer.param_groups[0]["lr"] = lr
            E.fit(model, v, optimizer, samples, epochs=epochs, batch_size=50, generator=g)
        found[name] = float(model.log_likelihood(v).mean())
    assert all(value > -1.75 for value in found.values()), found  # ln ¼ = −1.386, independent units −2.77
    assert found["exact"] > -1.6


# Centring


@pytest.mark.parametrize("kind", ["binary", "label", "gaussian visible", "gaussian and bits"])
def test_centring_leaves_the_distribution(kind: str) -> None:
    model = machine(kind)
    g = tg.Generator(2)
    v = model.visible.sample(tg.Tensor(g.normal((9, model.visible.size), dtype=F64)), 1.0, g)
    before = model.log_likelihood(v).numpy()
    for rate in (0.3, 1.0, 0.1):
        model.center(v, rate)
        np.testing.assert_allclose(model.log_likelihood(v).numpy(), before, atol=1e-11)
        features = model(v).numpy()
    assert model.visible_offset is not None and "hidden_offset" in model.state_dict()
    model.center(v, 1.0)
    np.testing.assert_allclose(model.visible_offset.numpy(), model.visible.scaled(v).numpy().mean(0))
    np.testing.assert_allclose(model(v).numpy(), features, atol=1e-12)


def test_the_centred_gradient() -> None:
    """With offsets at the means, the weights' gradient is the difference of covariances."""
    model = machine()
    v = tg.Tensor(E.binary_states(5).numpy()[3:20])
    model.center(v, 1.0)
    v1 = tg.Tensor(E.binary_states(5).numpy()[1:18])
    E.contrastive_divergence(model, v, lambda v, z: v1).backward()
    mu, lam = model.visible_offset.numpy(), model.hidden_offset.numpy()
    expected = [(x.numpy() - mu).T @ (model(x).numpy() - lam) / 17 for x in (v, v1)]
    np.testing.assert_allclose(model.weight.grad.numpy(), expected[1] - expected[0], atol=1e-12)


# Labels and the measures


@pytest.mark.parametrize("centred", [False, True])
def test_classes_by_free_energy(centred: bool, device: str) -> None:
    model = machine("label", device, centred=centred)
    states, p = model.visible.states().numpy(), probabilities(model)
    x = np.unique(states[:, :3], axis=0)
    found = model.class_probabilities(tg.Tensor(x, device=device)).numpy()
    for row, mine in zip(x, found, strict=True):
        here = (states[:, :3] == row).all(1)
        classes = states[here][:, 3:].argmax(1)
        expected = np.zeros(3)
        expected[classes] = p[here] / p[here].sum()
        np.testing.assert_allclose(mine, expected, atol=1e-12)
    with pytest.raises(ShapeError, match=r"\[batch, 3\]"):
        model.class_probabilities(tg.Tensor(states, device=device))
    with pytest.raises(OptionError, match="label units"):
        machine().class_probabilities(tg.Tensor(x))


def test_classes_by_free_energy_learn(device: str) -> None:
    """Generatively, then by the gradient of ln p(y | x) itself: on bars, all right."""
    g = tg.Generator(3)
    y = np.arange(90) % 3
    pixels = np.repeat(np.eye(3), 2, 1)[y]
    pixels = np.where(g.uniform(pixels.shape) < 0.1, 1 - pixels, pixels)
    v = tg.Tensor(np.concatenate([pixels, np.eye(3)[y]], 1), dtype="float32", device=device)
    model = E.RBM(E.Joint(E.Bernoulli(6), E.Softmax(3)), 12, generator=g, device=device)
    E.fit(model, v, optim.SGD(model.parameters(), lr=0.3), epochs=40, batch_size=30, generator=g)
    right = model.class_probabilities(v[:, :6]).numpy().argmax(1) == y
    assert right.mean() > 0.9
    other = E.RBM(E.Joint(E.Bernoulli(6), E.Softmax(3)), 12, generator=g, device=device)
    optimizer = optim.SGD(other.parameters(), lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        (-(other.class_log_probabilities(v[:, :6]) * v[:, 6:]).sum() / 90).backward()
        optimizer.step()
    assert (other.class_probabilities(v[:, :6]).numpy().argmax(1) == y).mean() > 0.9


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", ["binary", "more hidden", "softmax visible", "label", "counts hidden"])
def test_the_pseudo_likelihood_against_enumeration(kind: str, centred: bool, device: str) -> None:
    model = machine(kind, device, centred=centred)
    states, p = model.visible.states().numpy(), probabilities(model)
    groups = {"binary": [[i] for i in range(5)], "more hidden": [[i] for i in range(3)],
              "counts hidden": [[i] for i in range(4)],
              "softmax visible": [[0, 1, 2], [3, 4, 5]], "label": [[0], [1], [2], [3, 4, 5]]}[kind]  # fmt: skip
    expected = np.zeros(len(states))
    for group in groups:
        rest = np.delete(np.arange(states.shape[1]), group)
        for i, row in enumerate(states):
            same = (states[:, rest] == row[rest]).all(1)
            expected[i] += math.log(p[i] / p[same].sum())
    v = tg.Tensor(states, device=device)
    np.testing.assert_allclose(E.pseudo_likelihood(model, v).numpy(), expected, atol=1e-11)
    draws = [E.pseudo_likelihood(model, v, 2, generator=tg.Generator(s)).numpy() for s in range(400)]
    error = np.std(draws, 0) / 20 + 1e-9
    assert (abs(np.mean(draws, 0) - expected) < 5 * error).all()


def test_the_pseudo_likelihood_scales_as_the_likelihood_does() -> None:
    """Equal to it for independent units; twice that for two machines side by side, also when units are drawn."""
    flat = machine(std=0.0)
    v = flat.visible.states()
    np.testing.assert_allclose(E.pseudo_likelihood(flat, v).numpy(), flat.log_likelihood(v).numpy(), atol=1e-12)
    one = machine()
    two = E.RBM(10, 8, dtype=F64)
    two.weight.copy_(np.kron(np.eye(2), one.weight.numpy()))
    two.visible.bias.copy_(np.tile(one.visible.bias.numpy(), 2))
    two.hidden.bias.copy_(np.tile(one.hidden.bias.numpy(), 2))
    doubled = tg.Tensor(np.tile(v.numpy(), (1, 2)))
    whole = E.pseudo_likelihood(one, v).numpy()
    np.testing.assert_allclose(E.pseudo_likelihood(two, doubled).numpy(), 2 * whole, atol=1e-11)
    drawn = np.mean([E.pseudo_likelihood(two, doubled, 3, generator=tg.Generator(s)).numpy() for s in range(300)], 0)
    np.testing.assert_allclose(drawn, 2 * whole, rtol=0.15)
    with pytest.raises(OptionError, match="Gaussian"):
        E.pseudo_likelihood(machine("gaussian visible"), v[:, :3])


def test_the_other_measures() -> None:
    model = machine()
    v = model.visible.states()
    w, b, c = by_hand(model)
    back = expit(expit(v.numpy() @ w + c) @ w.T + b)
    assert E.reconstruction_error(model, v) == pytest.approx(((v.numpy() - back) ** 2).mean(), abs=1e-12)
    gap = model.log_likelihood(v[:8]).numpy().mean() - model.log_likelihood(v[8:]).numpy().mean()
    assert E.free_energy_gap(model, v[:8], v[8:]) == pytest.approx(gap, abs=1e-11)
    value, log_z = E.log_likelihood(model, v)
    assert value == pytest.approx(model.log_likelihood(v).numpy().mean()) and isinstance(log_z, float)


# Training


def bars(n: int = 200, seed: int = 0) -> np.ndarray[Any, Any]:
    g = np.random.default_rng(seed)
    rows = np.repeat(g.integers(0, 2, (n, 3)), 2, 1).astype(np.float32)
    return np.where(g.random(rows.shape) < 0.05, 1 - rows, rows).astype(np.float32)


def test_fit_is_the_loop_by_hand() -> None:
    """Batches, updates and figures as if written out, bit for bit; decay and momentum are the optimizer's."""
    x = bars(90)
    ours, hand = (E.RBM(6, 4, generator=tg.Generator(1)) for _ in range(2))
    how = {"lr": 0.1, "momentum": 0.5, "weight_decay": 1e-3}
    g = tg.Generator(2)
    record = E.fit(ours, x, optim.SGD(ours.parameters(), **how), E.Persistent(ours, generator=tg.Generator(3)),
                   epochs=3, batch_size=20, validation=x[:7], generator=g)  # fmt: skip
    g, optimizer = tg.Generator(2), optim.SGD(hand.parameters(), **how)
    samples = E.Persistent(hand, generator=tg.Generator(3))
    for _ in range(3):
        order = g.permutation(90)
        for i in range(0, 90, 20):
            optimizer.zero_grad()
            E.contrastive_divergence(hand, tg.Tensor(x)[tg.Tensor(order[i : i + 20])], samples).backward()
            optimizer.step()
        E.pseudo_likelihood(hand, tg.Tensor(x[:100]), 50, generator=g)
    for a, b in zip(ours.parameters(), hand.parameters(), strict=True):
        assert (a.numpy() == b.numpy()).all()
    assert {len(values) for values in record.values()} == {3}
    assert record["gap"][-1] == pytest.approx(E.free_energy_gap(hand, tg.Tensor(x), tg.Tensor(x[:7])))
    assert record["reconstruction"][-1] == E.reconstruction_error(hand, tg.Tensor(x))


def test_fit_learns_and_says_so(device: str) -> None:
    x = bars()
    model = E.RBM(6, 6, generator=tg.Generator(0), device=device)
    record = E.fit(model, x, epochs=60, batch_size=20, optimizer=optim.SGD(model.parameters(), lr=0.3, momentum=0.5),
                   start_from_data=True, likelihood=30, measures={"norm": lambda m: float((m.weight**2).sum())},
                   generator=tg.Generator(1))  # fmt: skip
    assert np.isnan(record["log_likelihood"][0]) and record["log_likelihood"][-1] > -3.4  # ln ⅛ and the noise: −3.07
    assert record["log_likelihood"][29] < record["log_likelihood"][-1] + 0.2
    assert record["log_likelihood"][-1] == pytest.approx(
        model.log_likelihood(tg.Tensor(x, device=device)).numpy().mean(), abs=1e-4
    )
    assert record["reconstruction"][-1] < 0.5 * record["reconstruction"][0]
    assert record["pseudo_likelihood"][-1] > record["pseudo_likelihood"][0]
    assert record["norm"][-1] > record["norm"][0]


def test_centred_training_makes_no_difference_between_a_picture_and_its_negative() -> None:
    x, found = bars(), []
    for data in (x, 1 - x):
        model = E.RBM(6, 6, generator=tg.Generator(0))
        E.fit(model, data, epochs=40, batch_size=20, center=0.05, generator=tg.Generator(1),
              optimizer=optim.SGD(model.parameters(), lr=0.3, momentum=0.5))  # fmt: skip
        assert model.visible_offset is not None
        found.append(float(model.log_likelihood(tg.Tensor(data)).mean()))
    assert min(found) > -3.6 and abs(found[0] - found[1]) < 0.2


def test_sparsity_reaches_its_target() -> None:
    x, activity = bars(), []
    for sparsity in (None, (0.1, 3.0)):
        model = E.RBM(6, 8, generator=tg.Generator(0))
        E.fit(model, x, epochs=60, batch_size=20, sparsity=sparsity, generator=tg.Generator(1),
              optimizer=optim.SGD(model.parameters(), lr=0.1))  # fmt: skip
        activity.append(float(model(tg.Tensor(x)).mean()))
    assert activity[0] > 0.3 and activity[1] == pytest.approx(0.1, abs=0.04)


def test_the_slope_of_sparsity() -> None:
    """cost · (q − target) at the hidden bias, the same times the visible means at the weights; q runs along."""
    model, v = machine(), tg.Tensor(E.binary_states(5).numpy()[4:9])
    penalty = Sparsity(0.2, 0.7, decay=0.6)
    means = model(v).numpy().mean(0)
    penalty(model, model.hidden_input(v))
    shifted = tg.Tensor(1 - v.numpy())
    running = 0.6 * means + 0.4 * model(shifted).numpy().mean(0)
    penalty(model, model.hidden_input(shifted)).backward()
    np.testing.assert_allclose(model.hidden.bias.grad.numpy(), 0.7 * (running - 0.2), atol=1e-12)
    expected = np.outer(shifted.numpy().mean(0), 0.7 * (running - 0.2))
    np.testing.assert_allclose(model.weight.grad.numpy(), expected, atol=1e-12)
    for wrong in ((0.0, 1.0), (0.1, -1.0), (0.1, 1.0, 1.0)):
        with pytest.raises(OptionError, match="Sparsity"):
            Sparsity(*wrong)
    with pytest.raises(OptionError, match="binary hidden units"):
        E.fit(machine("softmax hidden"), v.numpy()[:, :4], sparsity=(0.1, 1.0))


def test_binarized_batches_and_callbacks() -> None:
    seen = []

    def samples(v: tg.Tensor, z: tg.Tensor) -> tg.Tensor:
        seen.append(v.numpy().copy())
        return v

    model = E.RBM(4, 2, generator=tg.Generator(0))
    grey = np.full((500, 4), 0.3, np.float32)
    grey[0] = 0.2
    E.fit(model, grey, samples=samples, epochs=9, batch_size=250, binarize=True, generator=tg.Generator(1),
          callbacks=[lambda m, record: len(record["reconstruction"]) == 4])  # fmt: skip
    drawn = np.concatenate(seen)
    assert len(seen) == 8 and set(np.unique(drawn)) == {0.0, 1.0}
    assert stats.binomtest(int(drawn.sum()), drawn.size, 0.3).pvalue > FALSE_ALARM


def test_gaussian_and_rectified_units_learn_with_the_default_rate() -> None:
    """The rate that is safe for bits blows real-valued units up in other libraries; here the default does not."""
    g = np.random.default_rng(0)
    x = np.where(g.random((400, 1)) < 0.5, 2.0, -2.0) * [1, 1, -1, 0] + g.standard_normal((400, 4))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    for hidden in (16, E.ReLU(16), E.ReLU(8, copies=3)):
        model = E.RBM(E.Gaussian(4), hidden, std=0.1, generator=tg.Generator(1))
        record = E.fit(model, x, epochs=12, batch_size=10, generator=tg.Generator(2))
        assert record["reconstruction"][-1] < 0.99 * record["reconstruction"][0]
        assert all(np.isfinite(values).all() for values in record.values()) and "pseudo_likelihood" not in record


# What is wrong with the data, or with the rate


@pytest.mark.parametrize(
    "data, error, says",
    [
        (np.full((9, 5), np.nan), OptionError, "nan in row 0, column 0"),
        (np.full((9, 5), 2.0), OptionError, r"outside \[0, 1\].*Gaussian"),
        (np.full((9, 5), -0.1), OptionError, r"outside \[0, 1\]"),
        (np.full((9, 5), np.inf), OptionError, "inf in row"),
        (np.zeros((9, 4)), ShapeError, r"\[batch, 5\]"),
        (np.zeros((0, 5)), ShapeError, "at least one row"),
        (np.zeros(5), ShapeError, r"\[batch, 5\]"),
        (np.zeros((9, 5), complex), DTypeError, "real numbers"),
    ],
)
def test_data_that_the_units_cannot_stand_for(data: Any, error: Any, says: str) -> None:
    model = machine()
    before = model.weight.numpy().copy()
    with pytest.raises(error, match=says):
        E.fit(model, data)
    with pytest.raises(error, match="validation.*" + says):
        E.fit(model, np.zeros((9, 5)), validation=data)
    assert (model.weight.numpy() == before).all()


def test_sparse_and_labelled_data_that_do_not_fit() -> None:
    from scipy.sparse import csr_array

    with pytest.raises(DTypeError, match="toarray"):
        E.fit(machine(), csr_array(np.zeros((9, 5))))
    with pytest.raises(OptionError, match=r"units 3 to 5.*sum to 1"):
        E.fit(machine("label"), np.zeros((9, 6)))
    with pytest.raises(OptionError, match="outside"):
        E.fit(E.RBM(E.ReLU(2, copies=3), 2), np.full((9, 2), 4.0))


@pytest.mark.parametrize(
    "data, says",
    [(np.zeros((40, 5)), "all zero.*visible bias"), (np.full((40, 5), 0.5), "all the same"),
     (bars(1)[:, :5], "one example"), (bars(3)[:, :5], r"more hidden units \(4\) than examples \(3\)")],
)  # fmt: skip
def test_data_with_little_to_learn_are_named(data: Any, says: str) -> None:
    model = machine()
    with pytest.warns(TrainingWarning, match=says):
        record = E.fit(model, data, epochs=2, generator=tg.Generator(0))
    assert all(np.isfinite(p.numpy()).all() for p in model.parameters())
    assert np.isfinite(record["reconstruction"]).all()


@pytest.mark.parametrize("visible, hidden", [(E.Gaussian(3), 4), (E.Gaussian(3), E.ReLU(4)), (3, E.Gaussian(4))])
def test_a_rate_that_diverges_is_an_error_with_the_layers_name(visible: Any, hidden: Any) -> None:
    model = E.RBM(copy.deepcopy(visible), copy.deepcopy(hidden), std=0.5, generator=tg.Generator(0))
    x = np.abs(np.random.default_rng(0).standard_normal((60, 3))).clip(0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DivergenceError, match=r"(weight|bias).*smaller learning rate"):
            E.fit(model, x, optim.SGD(model.parameters(), lr=1e3), epochs=60, batch_size=10, generator=tg.Generator(1))


def test_a_nan_in_a_layer_is_found_and_named() -> None:
    for key, says in (("hidden.bias", "hidden bias"), ("visible.bias", "visible bias"), ("weight", "weight")):
        model = machine()
        model.get_parameter(key).copy_(np.nan * model.get_parameter(key).numpy())
        with pytest.raises(DivergenceError, match=f"fit: {says} of the RBM"):
            E.fit(model, bars()[:, :5], epochs=1)


def test_binary_units_at_a_wild_rate_are_warned_of() -> None:
    model = E.RBM(5, 4, generator=tg.Generator(0))
    with pytest.warns(TrainingWarning, match="weight of the RBM has entries up to") as seen:
        E.fit(model, bars()[:, :5], optim.SGD(model.parameters(), lr=1000.0), epochs=4, batch_size=10)
    assert len(seen) == 1 and seen[0].filename == __file__  # once, and at the line that called


def test_the_same_real_valued_example_again_and_again() -> None:
    with pytest.warns(TrainingWarning, match="all the same; the weights learn nothing"):
        E.fit(E.RBM(E.Gaussian(5), 2), np.full((9, 5), 3.0), epochs=1)


def test_wrong_options() -> None:
    x, model = bars()[:, :5], machine()
    for how, says in (
        ({"epochs": -1}, "epochs"), ({"batch_size": 0}, "batch_size"), ({"center": 0.0}, "center"),
        ({"optimizer": "adam"}, "optim"), ({"sparsity": (2.0, 1.0)}, "Sparsity"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=says):
            E.fit(model, x, **how)
    with pytest.raises(OptionError, match="copies"):
        E.ReLU(3, copies=0)
    with pytest.raises(OptionError, match="too many"):
        E.ReLU(3).states()
    with pytest.raises(OptionError, match=r"too many|2\^40"):
        E.RBM(40, 40).sample_exact(3)
    grey = E.RBM(E.Gaussian(5), 2)
    for call, says in (
        (lambda: E.RBM(5, 4, std=math.inf), "std"), (lambda: E.RBM(5, 4, std="small"), "std"),  # type: ignore[arg-type]
        (lambda: E.Gaussian(3, "wide"), "std"), (lambda: E.Softmax(3, "two"), "groups"),  # type: ignore[arg-type]
        (lambda: model.gibbs(tg.Tensor(x), 1.5), "steps"), (lambda: model.sample_exact(-1), "n must"),  # type: ignore[arg-type]
        (lambda: E.FromData(model, "one"), "steps"), (lambda: E.Tempered(model, chains=0), "chains"),  # type: ignore[arg-type]
        (lambda: E.fit(grey, 3 * x, binarize=True), "binarize wants probabilities"),
        (lambda: E.FastPersistent(E.DBM(5, 4, 3).pretraining_rbm(0)), "borrows"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=says):
            call()
    for start in (x[:3], np.zeros((0, 5))):
        with pytest.raises(ShapeError, match="4 fantasies start from 4 rows"):
            model.sample(4, 1, start=tg.Tensor(start))
    with pytest.raises(ShapeError, match="at least one row"):
        model.center(tg.Tensor(x[:0]))


def test_what_fit_does_not_train() -> None:
    """Another kind of model, and the optimizer or the samples of another machine, which would train nothing."""
    x, model, other = bars()[:, :5], machine(), machine()
    for wrong, says in ((E.DBM(5, 3, 2), "not a DBM"), (E.BoltzmannMachine(5, 2), "TwoPhases"), (E.RBM, "not a RBM")):
        with pytest.raises(OptionError, match=says):
            E.fit(wrong, x)  # type: ignore[arg-type]
    for how, says in (
        ({"optimizer": optim.SGD(other.parameters(), lr=0.1)}, "optimizer is another model's"),
        ({"samples": E.Persistent(other)}, "samples is another model's"), ({"samples": "cd"}, "called with a batch"),
        ({"callbacks": print}, "put this one into a list"), ({"sparsity": 0.1}, "sparsity is"),
        ({"likelihood": -1}, "likelihood"), ({"center": "half"}, "center"),
    ):  # fmt: skip
        with pytest.raises(OptionError, match=says):
            E.fit(model, x, **how)  # type: ignore[arg-type]
    for measure in (E.reconstruction_error, E.pseudo_likelihood, E.log_likelihood):
        with pytest.raises(OptionError, match=f"{measure.__name__}: a DBM has no"):
            measure(E.DBM(5, 3, 2), tg.Tensor(x))  # type: ignore[arg-type]
    assert len(E.fit(model, x, sparsity=[0.1, 0.1], epochs=1)["free_energy"]) == 1  # type: ignore[arg-type]


def test_contrastive_divergence_of_a_loop_by_hand_says_what_is_not_finite() -> None:
    """The same loop as in the README: neither NaN in the data nor weights that ran away pass in silence."""
    model = machine()
    x = tg.Tensor(np.full((3, 5), np.nan))
    with pytest.raises(DivergenceError, match=r"loss is nan.*Look for NaN in the data.*RBM\.check_data"):
        E.contrastive_divergence(model, x, E.FromData(model))
    model.hidden.bias.copy_(np.full(4, np.nan))
    with pytest.raises(DivergenceError, match=r"not finite: hidden\.bias\. Try a smaller"):
        E.contrastive_divergence(model, tg.Tensor(bars()[:, :5]), E.FromData(model))


# The convolutional machine


def image_machine(device: str = "cpu", gaussian: bool = False) -> E.ConvolutionalRBM:
    g = tg.Generator(0)
    model = E.ConvolutionalRBM(E.Gaussian(1, std=0.8) if gaussian else 1, 2, (2, 3), 2, std=0.8, generator=g, dtype=F64)
    model.visible.shift_bias(tg.Tensor([-0.3], dtype=F64))
    model.hidden.shift_bias(tg.Tensor([0.2, -0.4], dtype=F64))
    return model.to(device)


def image_table(model: E.ConvolutionalRBM) -> tuple[Any, Any, Any]:
    """All images of 3 × 4 bits, all states of the hidden maps of 2 × 2, and −E by loops."""
    v = E.binary_states(12).numpy().reshape(-1, 3, 4)
    block = np.concatenate([np.zeros((1, 4)), np.eye(4)]).reshape(5, 2, 2)
    h = np.array([[a, b] for a in block for b in block])
    w, b, c = by_hand(model)
    minus_energy = b[0] * v.sum((1, 2))[:, None] + np.einsum("hkij,k->h", h, c)
    for k, i, j in np.ndindex(2, 2, 2):
        window = (v[:, i : i + 2, j : j + 3] * w[k, 0]).sum((1, 2))
        minus_energy = minus_energy + window[:, None] * h[:, k, i, j]
    return v[:, None], h, minus_energy


def test_the_convolutional_machine_against_enumeration(device: str) -> None:
    model = image_machine(device)
    v, h, minus_energy = image_table(model)
    x, maps = tg.Tensor(v, device=device), tg.Tensor(h, device=device)
    some = np.arange(0, len(v), 163)
    paired = model.energy(x[tg.Tensor(some[:25], device=device)], maps[: len(some[:25])])
    np.testing.assert_allclose(paired.numpy(), -minus_energy[some[:25], np.arange(len(some[:25]))], atol=1e-12)
    np.testing.assert_allclose(model.free_energy(x).numpy(), -logsumexp(minus_energy, axis=1), atol=1e-11)
    p_h = np.exp(minus_energy - logsumexp(minus_energy, axis=1, keepdims=True))
    np.testing.assert_allclose(model(x).numpy(), np.einsum("vh,hkij->vkij", p_h, h), atol=1e-12)
    on = np.einsum("vh,hk->vk", p_h, h.sum((2, 3)))
    np.testing.assert_allclose(model.features(x).numpy()[:, :, 0, 0], on, atol=1e-12)
    p_v = np.exp(minus_energy - logsumexp(minus_energy, axis=0))
    back = model.visible.mean(model.visible_input(maps)).numpy()
    np.testing.assert_allclose(back, np.einsum("vh,vcij->hcij", p_v, v), atol=1e-12)
    hidden = model.hidden_free_energy(maps + x[:1, :1, :1, :1] * 0).numpy()
    flat = [-logsumexp(minus_energy[:, i]) for i in range(len(h))]
    places = model.visible.log_normalizer(model.visible_input(maps)).numpy() + h.sum((2, 3)) @ model.hidden.bias.numpy()
    np.testing.assert_allclose(-places, flat, atol=1e-11)
    np.testing.assert_allclose(hidden, flat, atol=1e-11)


def test_the_convolutional_machines_gradient() -> None:
    """Of mean F(v) − mean F(samples): exact statistics of the pairs, by the table."""
    model = image_machine()
    v, h, minus_energy = image_table(model)
    p_h = np.exp(minus_energy - logsumexp(minus_energy, axis=1, keepdims=True))
    data, other = np.array([5, 77, 1234]), np.array([9, 800, 4000])
    E.contrastive_divergence(model, tg.Tensor(v[data]), lambda x, z: tg.Tensor(v[other])).backward()
    means = np.einsum("vh,hkij->vkij", p_h, h)
    expected = np.zeros((2, 1, 2, 3))
    for k, i, j in np.ndindex(2, 2, 2):
        for rows, sign in ((data, -1), (other, 1)):
            part = (v[rows, 0, i : i + 2, j : j + 3] * means[rows, k, i, j][:, None, None]).mean(0)
            expected[k, 0] += sign * part
    np.testing.assert_allclose(model.weight.grad.numpy(), expected, atol=1e-12)
    slope = means[other].sum((2, 3)).mean(0) - means[data].sum((2, 3)).mean(0)
    np.testing.assert_allclose(model.hidden.bias.grad.numpy(), slope, atol=1e-12)
    slope = v[other].sum((1, 2, 3)).mean() - v[data].sum((1, 2, 3)).mean()
    np.testing.assert_allclose(model.visible.bias.grad.numpy(), [slope], atol=1e-12)


def test_the_convolutional_machines_samples(device: str) -> None:
    """Of the hidden maps as the table says, one at most in a block; Gibbs sampling from exact images leaves them so."""
    model = image_machine(device)
    v, h, minus_energy = image_table(model)
    p_h = np.exp(minus_energy[99] - logsumexp(minus_energy[99]))
    many = tg.Tensor(np.repeat(v[99:100], 20000, 0), device=device)
    drawn = model.sample_hidden(many, generator=tg.Generator(1)).numpy()
    assert drawn.sum((2, 3)).max() == 1
    agree(frequencies(drawn.reshape(len(drawn), -1), h.reshape(len(h), -1)), p_h)
    log_p = logsumexp(minus_energy, axis=1)
    p = np.exp(log_p - logsumexp(log_p))
    rows = np.random.default_rng(2).choice(len(p), 20000, p=p)
    after = model.gibbs(tg.Tensor(v[rows], device=device), 2, generator=tg.Generator(3)).numpy()
    agree(frequencies(after.reshape(len(after), -1), v.reshape(len(v), -1)), p)
    assert model.sample(3, 2, shape=(5, 6), generator=tg.Generator(0)).shape == (3, 1, 5, 6)
    for unknown in (model.log_partition, lambda: model.sample_exact(2), lambda: E.annealed_importance_sampling(model)):
        with pytest.raises(OptionError, match="ConvolutionalRBM"):
            unknown()


def test_the_convolutional_machine_learns() -> None:
    """Diagonal strokes at any place: filters that the exact likelihood likes, binary and real-valued."""
    g = np.random.default_rng(0)
    x = np.zeros((200, 1, 6, 6), np.float32)
    for row, i, j, way in zip(x, *g.integers(0, 4, (2, 200)), g.integers(0, 2, 200), strict=True):
        stroke = np.eye(3)[:, ::-1] if way else np.eye(3)
        row[0, i : i + 3, j : j + 3] = stroke
    for visible, data, rate in ((1, x, 0.02), (E.Gaussian(1, std=0.5), (x - x.mean()) / x.std(), 0.002)):
        model = E.ConvolutionalRBM(visible, 6, 3, 2, std=0.05, generator=tg.Generator(1))
        record = E.fit(model, data, optim.SGD(model.parameters(), lr=rate, momentum=0.5), epochs=25, batch_size=10,
                       start_from_data=True, generator=tg.Generator(2))  # fmt: skip
        assert record["reconstruction"][-1] < 0.8 * record["reconstruction"][0]
    for wrong, says in ((x[:, 0], "images have the shape"), (x[:, :, :5], "do not fill"), (x * np.nan, "nan"),
                        (x + 1, "outside")):  # fmt: skip
        with pytest.raises((ShapeError, OptionError), match=says):
            E.fit(E.ConvolutionalRBM(1, 6, 3, 2), wrong)
    with pytest.raises(OptionError, match="Bernoulli or Gaussian"):
        E.ConvolutionalRBM(E.Softmax(3), 6, 3)
    small = E.ConvolutionalRBM(1, 6, 3)
    with pytest.raises(OptionError, match="height, width"):
        small.sample(2)
    for kernel in ("three", 0, (3, 3, 3), 2.5):
        with pytest.raises(OptionError, match="kernel"):
            E.ConvolutionalRBM(1, 6, kernel)  # type: ignore[arg-type]
    for no_layer in (small.encoder, small.decoder):
        with pytest.raises(OptionError, match="no Linear layer"):
            no_layer()
    with pytest.raises(OptionError, match="not convolutional"):
        E.DBN(small)


def test_images_chains_and_masks() -> None:
    """Persistent chains of a convolutional machine start at images, and a mask of one image's pixels clamps."""
    model, x = image_machine(), tg.Tensor(np.random.default_rng(0).integers(0, 2, (4, 1, 3, 4)).astype(F64))
    assert E.Persistent(model, start=x[:3])(x).shape == (3, 1, 3, 4)
    mask = np.zeros((1, 3, 4), bool)
    mask[:, 1] = True
    drawn = model.sample(4, 20, start=x, clamp=mask, generator=tg.Generator(0)).numpy()
    assert (drawn[:, :, 1] == x.numpy()[:, :, 1]).all() and (drawn != x.numpy()).any()
    with pytest.raises(ShapeError, match=r"\[1, 3, 4\] or \[4, 1, 3, 4\]"):
        model.gibbs(x, clamp=np.ones(4, bool))  # a row of pixels is no image


# Planted faults, each with the test that notices


def flipped(model: E.RBM, v: tg.Tensor, samples: Any) -> tg.Tensor:
    z = model.hidden_input(v)
    return model.free_energy(v, z).mean() + model.free_energy(samples(v, z.detach())).mean()


def data_flipped(model: E.RBM, v: tg.Tensor, samples: Any) -> tg.Tensor:
    z = model.hidden_input(v)
    return -model.free_energy(v, z).mean() - model.free_energy(samples(v, z.detach())).mean()


class Stale(E.Persistent):
    """Chains that start at the batch every time."""

    def __call__(self, v: tg.Tensor, z: Any = None) -> tg.Tensor:
        self.chains = self.model.gibbs(v, 1, generator=self.generator)
        return self.chains


class Frozen(E.Persistent):
    """Chains that do not advance."""

    def __call__(self, v: tg.Tensor, z: Any = None) -> tg.Tensor:
        self.chains = v if self.chains is None else self.chains
        return self.chains


def swapped_biases(self: E.RBM, h: tg.Tensor) -> tg.Tensor:
    return h @ self.weight.mT + self.hidden.bias.mean()


def hidden_without_bias(self: E.RBM, v: tg.Tensor) -> tg.Tensor:
    return v @ self.weight + self.visible.bias.mean()


def noticed(test: Callable[..., Any], *args: Any) -> bool:
    try:
        test(*args)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("fault", [flipped, data_flipped])
def test_a_flipped_sign_is_noticed_by_the_contrastive_gradient(fault: Any) -> None:
    assert noticed(check_contrastive_gradient, fault) and not noticed(check_contrastive_gradient)


@pytest.mark.parametrize("fault", [Stale, Frozen])
def test_a_stale_chain_is_noticed_by_persistent_chains_reach_the_model(fault: Any) -> None:
    assert noticed(check_persistent, fault) and not noticed(check_persistent)


@pytest.mark.parametrize("where, fault", [("visible_input", swapped_biases), ("hidden_input", hidden_without_bias)])
def test_swapped_biases_are_noticed_by_the_partition_function_and_the_energy(
    monkeypatch: pytest.MonkeyPatch, where: str, fault: Any
) -> None:
    tests = {
        "visible_input": [(test_every_conditional_mean, "binary", False, "cpu")],
        "hidden_input": [(test_the_energy_written_out,), (check_contrastive_gradient,)],
    }[where]
    tests += [(test_the_partition_function_four_ways, "binary", False, "cpu"),
              (test_free_energies_sum_the_other_layer_out, "binary", False, "cpu")]  # fmt: skip
    assert not any(noticed(*test) for test in tests)
    monkeypatch.setattr(E.RBM, where, fault)
    assert all(noticed(*test) for test in tests)


@pytest.mark.parametrize(
    "fault",
    [lambda path, a, b, beta_a, beta_b: 1.0 / swap_probability(path, a, b, beta_a, beta_b),
     lambda path, a, b, beta_a, beta_b: swap_probability(path, a, b, beta_a, beta_b) * 0 + 0.5],
    ids=["upside down", "always half"],
)  # fmt: skip
def test_wrong_swaps_are_noticed_by_tempered_chains_keep_every_distribution(
    monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    from tinygrad_mlsp.energy import samplers

    monkeypatch.setattr(samplers, "swap_probability", fault)
    assert noticed(test_tempered_chains_keep_every_distribution, 3, "cpu")
