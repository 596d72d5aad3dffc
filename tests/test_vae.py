"""The variational autoencoder against closed forms and quadrature, and nets with learned noise.

Where numbers are drawn, the seed is fixed and the bounds are five standard errors of the mean: a right implementation
would fail with another seed once in 1.7 million draws of the figure.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from support import maker
from test_nn import numeric

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, nn, optim
from tinygrad_mlsp.errors import DivergenceError, DTypeError, OptionError, ShapeError, TrainingWarning
from tinygrad_mlsp.models import probabilistic as prob
from tinygrad_mlsp.models.vae import latent_divergences
from tinygrad_mlsp.random import Generator

GRID, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()  # E f(ε), ε standard normal, is Σ w f(GRID)


def near(draws: Any, exact: Any) -> None:
    """The mean over the first axis is within five of its standard errors of the exact value."""
    draws = np.asarray(draws)
    error = draws.std(0, ddof=1) / math.sqrt(len(draws))
    assert (np.abs(draws.mean(0) - exact) <= 5 * error + 1e-12).all(), (draws.mean(0), exact, error)


def vae(device: str, *args: Any, **options: Any) -> models.VAE:
    return models.VAE(*args, generator=Generator(1), dtype=np.float64, device=device, **options)


def linear_vae(device: str, noise: float | str = 0.7) -> models.VAE:
    """x = W z + b + noise: the model whose evidence is a Gaussian."""
    model = vae(device, [4, 2], "gaussian", noise, encoder=nn.Linear(4, 4), decoder=nn.Linear(2, 4), least_std=0.0)
    for i, p in enumerate(model.parameters()):
        p.copy_(0.5 * np.random.default_rng(i).standard_normal(p.shape))
    return model


def exact(model: models.VAE, x: Any) -> Any:
    """ln p(x), and mean and covariance of p(z | x), of a linear-Gaussian model"""
    w, b = (p.numpy() for p in (model.decoder.weight, model.decoder.bias))
    variance = np.exp(2 * model.log_std.numpy()) if model.noise == "shared" else np.full(4, model.noise**2)
    total = w @ w.T + np.diag(variance)
    away = x - b
    solved = np.linalg.solve(total, away.T).T
    evidence = -0.5 * ((away * solved).sum(1) + np.linalg.slogdet(total)[1] + 4 * math.log(2 * math.pi))
    precision = np.eye(2) + (w.T / variance) @ w
    posterior = np.linalg.inv(precision)
    return evidence, (away / variance) @ w @ posterior, posterior


# Densities


def test_densities_are_scipys(device: str) -> None:
    from scipy import stats

    make, random = maker(device), np.random.default_rng(0)
    x, mean, log_std = random.standard_normal((3, 5, 4))
    found = prob.normal_log_density(make(x), make(mean), make(log_std)).numpy()
    np.testing.assert_allclose(found, stats.norm.logpdf(x, mean, np.exp(log_std)).sum(-1), rtol=1e-12)
    np.testing.assert_allclose(prob.normal_log_density(make(x)).numpy(), stats.norm.logpdf(x).sum(-1), rtol=1e-12)
    bits = (x > 0).astype(float)
    p = 1 / (1 + np.exp(-mean))
    found = prob.bernoulli_log_density(make(bits), make(mean)).numpy()
    np.testing.assert_allclose(found, stats.bernoulli.logpmf(bits.astype(int), p).sum(-1), rtol=1e-12)
    np.testing.assert_allclose(prob.log_mean(make(x)).numpy(), np.log(np.exp(x).mean(0)), rtol=1e-12)


def test_the_divergence_is_that_of_quadrature_and_of_draws(device: str) -> None:
    make, mean, log_std = maker(device), np.array([[0.3], [-2.0]]), np.array([[-1.0], [0.4]])
    found = prob.normal_divergence(make(mean), make(log_std), 0.5, 1.7).numpy()
    z = mean + np.exp(log_std) * GRID
    from scipy import stats

    difference = stats.norm.logpdf(z, mean, np.exp(log_std)) - stats.norm.logpdf(z, 0.5, 1.7)
    np.testing.assert_allclose(found, difference @ WEIGHTS, rtol=1e-10)
    drawn = mean + np.exp(log_std) * np.random.default_rng(0).standard_normal((2, 20000))
    near((stats.norm.logpdf(drawn, mean, np.exp(log_std)) - stats.norm.logpdf(drawn, 0.5, 1.7)).T, found)
    assert abs(float(prob.normal_divergence(make(np.zeros((1, 3))), make(np.zeros((1, 3)))).item())) < 1e-15


# The linear-Gaussian model, of which all is known


def test_the_bounds_gap_is_the_divergence_to_the_true_posterior(device: str) -> None:
    model, x = linear_vae(device), np.random.default_rng(5).standard_normal((3, 4))
    evidence, mean, cov = exact(model, x)
    m, s = (t.numpy() for t in model.encode(maker(device)(x)))
    s = np.exp(s)
    # KL(N(m, diag s²) ‖ N(mean, cov))
    away, precision = m - mean, np.linalg.inv(cov)
    gap = 0.5 * (
        s**2 @ np.diag(precision) + np.einsum("bi,ij,bj->b", away, precision, away) - 2
        + np.linalg.slogdet(cov)[1] - 2 * np.log(s).sum(1)
    )  # fmt: skip
    # the expectation over ε by two-dimensional quadrature, exact for this model
    a, b = np.meshgrid(GRID, GRID)
    weight = np.outer(WEIGHTS, WEIGHTS).ravel()
    noise = np.repeat(np.stack([a.ravel(), b.ravel()], 1)[:, None], 3, axis=1)
    bound = 0.0
    for e, w in zip(noise, weight, strict=True):
        if w > 1e-12:
            bound = bound + w * model.bound(maker(device)(x), noise=maker(device)(e)).value().numpy()
    np.testing.assert_allclose(bound, evidence - gap, rtol=1e-8)
    assert (gap > 0.1).all()


@pytest.mark.parametrize("noise", [0.7, "shared"])
def test_with_the_true_posterior_the_bound_is_the_likelihood_and_the_gradients_agree(
    device: str, noise: float | str
) -> None:
    """q is made the exact posterior, with W's columns orthogonal so that it is diagonal. Then every importance
    weight is p(x), and the mean over ε of the decoder's gradient is the gradient of the evidence (the gap is at its
    minimum)."""
    model, make = linear_vae(device, noise), maker(device)
    w = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 2)))[0] * [1.5, 0.6]
    model.decoder.weight.copy_(w)
    if noise == "shared":
        model.log_std.copy_(np.full(4, math.log(0.5)))
    x = np.random.default_rng(5).standard_normal((6, 4))
    evidence, _, cov = exact(model, x)
    assert abs(cov[0, 1]) < 1e-12
    variance = 0.25 if noise == "shared" else 0.49
    to_mean = cov @ w.T / variance
    model.encoder.weight.copy_(np.concatenate([to_mean, np.zeros((2, 4))]))
    model.encoder.bias.copy_(np.concatenate([-to_mean @ model.decoder.bias.numpy(), 0.5 * np.log(np.diag(cov))]))
    weights = model.log_weights(make(x), samples=7, generator=Generator(2)).numpy()
    np.testing.assert_allclose(weights, np.broadcast_to(evidence, (7, 6)), rtol=1e-10)

    def mean_evidence(values: Any) -> float:
        before = model.decoder.weight.numpy().copy()
        model.decoder.weight.copy_(values)
        found = exact(model, x)[0].mean()
        model.decoder.weight.copy_(before)
        return float(found)

    wanted = numeric(mean_evidence, w)
    drawn, generator = [], Generator(3)
    for _ in range(400):
        model.zero_grad()
        model.bound(make(x), generator=generator).value().mean().backward()
        drawn.append(
            np.concatenate([model.decoder.weight.grad.numpy().ravel(), model.encoder.weight.grad.numpy().ravel()])
        )
    near(drawn, np.concatenate([wanted.ravel(), np.zeros(16)]))


def test_the_importance_weighted_bound_grows_with_k_to_the_likelihood(device: str) -> None:
    model, x = linear_vae(device), np.random.default_rng(5).standard_normal((2, 4))
    evidence, _, _ = exact(model, x)
    logs = np.concatenate([
        model.log_weights(maker(device)(x), samples=2000, generator=Generator(s)).numpy() for s in range(4)
    ])  # fmt: skip
    near(np.exp(logs - evidence), 1.0)  # the mean weight is p(x)
    means = []
    for k in (1, 2, 8, 64, 500):
        groups = logs.reshape(-1, k, 2)
        values = np.log(np.exp(groups - evidence).mean(1))  # the bound less the evidence
        means.append(values.mean(0))
        assert (values.mean(0) < 4 * values.std(0) / math.sqrt(len(values))).all()
    assert (np.diff(means, axis=0) > 0).all()
    assert (means[0] < -0.1).all() and (np.abs(means[-1]) < 0.1).all()
    found = model.importance_bound(maker(device)(x), samples=500, generator=Generator(0)).numpy()
    first = model.log_weights(maker(device)(x), samples=500, generator=Generator(0)).numpy()
    np.testing.assert_allclose(found, np.log(np.exp(first).mean(0)), rtol=1e-12)


def test_with_one_sample_the_bounds_agree_in_the_mean(device: str) -> None:
    """ln w has the exact divergence's mean in place of it: same expectation, same noise of the likelihood."""
    model, x = linear_vae(device), np.random.default_rng(5).standard_normal((2, 4))
    make = maker(device)
    noise = np.random.default_rng(1).standard_normal((3000, 2, 2))
    many = model.log_weights(make(x), noise=make(noise)).numpy()
    parts = np.array([model.bound(make(x), noise=make(e)).value().numpy() for e in noise[:300]])
    near(many[:300] - parts, 0.0)


# Gradients of any model, with the noise held


CASES = {
    "bernoulli": {"outputs": "bernoulli"},
    "gaussian": {"outputs": "gaussian"},
    "shared": {"outputs": "gaussian", "noise": "shared"},
    "given": {"outputs": "gaussian", "noise": 0.5},
    "conditional": {"outputs": "bernoulli", "classes": 3},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("samples", [1, 3])
def test_gradients_are_those_of_finite_differences(device: str, case: str, samples: int) -> None:
    model, make, random = vae(device, [5, 4, 2], **CASES[case]), maker(device), np.random.default_rng(0)
    x = make((random.uniform(size=(3, 5)) > 0.5).astype(float))
    y = make(np.array([0, 2, 1])) if case == "conditional" else None
    noise = make(random.standard_normal((3, 2) if samples == 1 else (samples, 3, 2)))

    def loss() -> tg.Tensor:
        if samples == 1:
            return model.bound(x, y, noise).value(0.3).sum()
        return model.importance_bound(x, y, samples, noise).sum()

    loss().backward()
    for p in model.parameters():
        before = p.numpy().copy()

        def at(values: Any, p: Any = p) -> float:
            p.copy_(values)
            return float(loss().item())

        wanted = numeric(at, before)
        p.copy_(before)
        np.testing.assert_allclose(p.grad.numpy(), wanted, rtol=1e-5, atol=1e-7)


def test_the_first_update_of_a_model_is_autograds_of_the_same_written_out(device: str) -> None:
    """`bound` against the formula by hand, for Bernoulli outputs."""
    model, x = vae(device, [5, 2], encoder=nn.Linear(5, 4), decoder=nn.Linear(2, 5)), np.array([[1.0, 0, 0, 1, 1]])
    noise = np.array([[0.3, -1.0]])
    out = x @ model.encoder.weight.numpy().T + model.encoder.bias.numpy()
    mean, log_std = out[:, :2], out[:, 2:]
    z = mean + np.exp(log_std) * noise
    p = 1 / (1 + np.exp(-(z @ model.decoder.weight.numpy().T + model.decoder.bias.numpy())))
    likelihood = (x * np.log(p) + (1 - x) * np.log(1 - p)).sum(1)
    divergence = 0.5 * (np.exp(2 * log_std) + mean**2 - 1 - 2 * log_std).sum(1)
    bound = model.bound(maker(device)(x), noise=maker(device)(noise))
    np.testing.assert_allclose(bound.likelihood.numpy(), likelihood, rtol=1e-12)
    np.testing.assert_allclose(bound.divergence.numpy(), divergence, rtol=1e-12)
    np.testing.assert_allclose(bound.value(0.25).numpy(), likelihood - divergence / 4, rtol=1e-12)


# Sampling and reconstruction


def test_samples_have_the_models_moments(device: str) -> None:
    model = linear_vae(device)
    w, b = model.decoder.weight.numpy(), model.decoder.bias.numpy()
    drawn = model.sample(20000, generator=Generator(0)).numpy()
    near(drawn, b)
    away = drawn - b
    near(np.einsum("ni,nj->nij", away, away), w @ w.T + 0.49 * np.eye(4))
    means = model.sample(20000, mean=True, generator=Generator(0)).numpy() - b
    near(np.einsum("ni,nj->nij", means, means), w @ w.T)
    bits = vae(device, [3, 2])
    z = np.array([[0.5, -1.0]])
    p = bits.sample(1, z=maker(device)(z), mean=True).numpy()[0]
    drawn = bits.sample(9000, z=maker(device)(np.repeat(z, 9000, 0)), generator=Generator(1)).numpy()
    assert set(np.unique(drawn)) == {0.0, 1.0}
    near(drawn, p)
    binary = models.binarized(maker(device)(np.repeat([[0.0, 0.3, 1.0]], 5000, 0)), Generator(0)).numpy()
    near(binary, [0.0, 0.3, 1.0])


def test_reconstruction_is_the_decoders_mean_at_the_codes_mean(device: str) -> None:
    model, x = linear_vae(device), np.random.default_rng(1).standard_normal((3, 4))
    z, _ = model.encode(maker(device)(x))
    np.testing.assert_allclose(model(maker(device)(x)).numpy(), model.decoder(z).numpy())
    np.testing.assert_allclose(model.reconstruct(maker(device)(x)).numpy(), model.decoder(z).numpy())


def test_a_conditional_model_learns_what_the_label_says(device: str) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 400)
    x = np.where(y[:, None] == 1, [0.9, 0.1, 0.5], [0.1, 0.9, 0.5]) > random.uniform(size=(400, 3))
    model = vae(device, [3, 8, 1], classes=2)
    data = [(maker(device)(x[i : i + 50].astype(float)), maker(device)(y[i : i + 50])) for i in range(0, 400, 50)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # z may well collapse: the label says it all
        models.train_vae(model, data, 40, optim.Adam(model.parameters(), lr=0.02), generator=Generator(0))
    for label in (0, 1):
        labels = maker(device)(np.full(2000, label))
        found = model.sample(2000, labels, generator=Generator(1)).numpy().mean(0)
        np.testing.assert_allclose(found, x[y == label].mean(0), atol=0.1)
    with pytest.raises(OptionError, match="needs labels"):
        model.sample(3)
    with pytest.raises(OptionError, match="labels go from 0 to 1"):
        model.sample(1, np.array([2]))
    with pytest.raises(ShapeError, match="labels are whole numbers"):
        model.sample(1, np.array([0.5]))
    with pytest.raises(OptionError, match="takes no labels"):
        vae(device, [3, 1]).sample(1, np.array([0]))


# Training


def test_training_reaches_the_best_linear_gaussian_model(device: str) -> None:
    """Probabilistic PCA's maximum likelihood is known from the eigenvalues of the data's covariance."""
    random = np.random.default_rng(0)
    x = random.standard_normal((500, 2)) @ random.standard_normal((2, 4)) + 0.3 * random.standard_normal((500, 4))
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    variance = values[2:].mean()
    best = -0.5 * (np.log(values[:2]).sum() + 2 * math.log(variance) + 4 * math.log(2 * math.pi) + 4)
    model = vae(device, [4, 2], "gaussian", "shared", encoder=nn.Linear(4, 4), decoder=nn.Linear(2, 4))
    data = [maker(device)(x[i : i + 100]) for i in range(0, 500, 100)]
    for lr in (0.03, 0.003):
        history = models.train_vae(
            model, data, 120, optim.Adam(model.parameters(), lr=lr), generator=Generator(0), warm_up=100
        )
    assert history.bound[-1] == history.likelihood[-1] - history.divergence[-1]
    likelihood = float(model.log_likelihood(maker(device)(x), samples=50, generator=Generator(1)).mean())
    assert best - 0.25 < likelihood < best + 0.02  # shared noise differs by pixel here, so it may fit a little better


def test_warm_up_is_what_it_says(device: str) -> None:
    x = [maker(device)(np.eye(4))] * 2
    history = models.train_vae(vae(device, [4, 3]), x, 4, warm_up=6, generator=Generator(0))
    np.testing.assert_allclose(history.beta, [1 / 3, 2 / 3, 1, 1])
    with pytest.raises(OptionError, match="no divergence to warm up"):
        models.train_vae(vae(device, [4, 3]), x, 1, warm_up=6, samples=5)
    seen = []
    models.train_vae(vae(device, [4, 3]), x, 3, samples=5, after=lambda h: seen.append(h.bound[-1]))
    assert len(seen) == 3


def test_a_collapsed_posterior_is_named(device: str) -> None:
    model, make = vae(device, [3, 2]), maker(device)
    x = [make(np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)] * 25, float))]  # independent bits
    with pytest.warns(TrainingWarning, match="train_vae: posterior collapse: no dimension of z carries more than"):
        models.train_vae(model, x, 300, optim.Adam(model.parameters(), lr=0.05), generator=Generator(0))
    assert float(latent_divergences(model, x[0]).max()) < 0.01


@pytest.mark.parametrize(
    "x, error, match",
    [
        (np.full((2, 3), np.nan), OptionError, "the data have nan at"), (np.ones((2, 4)), ShapeError, "shape"),
        (np.full((2, 3), 2.0), OptionError, "outside"), (np.ones((0, 3)), ShapeError, "at least one row"),
        (np.ones(3), ShapeError, "shape"), (np.ones((2, 3), complex), DTypeError, "real numbers"),
    ],
)  # fmt: skip
def test_bad_data_are_refused(device: str, x: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=f"train_vae: .*{match}"):
        models.train_vae(vae(device, [3, 2]), [x])


def test_odd_data_train_without_nan(device: str) -> None:
    import scipy.sparse

    with pytest.raises(DTypeError, match="sparse"):
        models.train_vae(vae(device, [3, 2]), [scipy.sparse.eye(3).tocsr()])
    with pytest.raises(OptionError, match="gave no batches"):
        models.train_vae(vae(device, [3, 2]), [])
    for x in (np.zeros((5, 3)), np.full((5, 3), 0.5), np.ones((1, 3))):  # nothing varies, or one example
        for outputs in ("bernoulli", "gaussian"):
            model = vae(device, [3, 8, 2], outputs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                history = models.train_vae(model, [x] * 50, 4, optim.Adam(model.parameters(), lr=0.05))
            assert np.isfinite(history.bound).all()


def test_a_diverging_training_says_so(device: str) -> None:
    model = vae(device, [3, 2], "gaussian", activation=nn.ReLU)
    x = [np.random.default_rng(0).standard_normal((20, 3))] * 20
    with pytest.raises(
        DivergenceError, match=r"train_vae: the loss is .* at update .*(encoder|decoder|all parameters)"
    ):
        models.train_vae(model, x, 20, optim.SGD(model.parameters(), lr=1e4))


@pytest.mark.parametrize(
    "options",
    [{"outputs": "poisson"}, {"noise": "none"}, {"noise": 0.0}, {"classes": 1}, {"least_std": -1.0}],
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="VAE: "):
        models.VAE([3, 2], **options)
    with pytest.raises(ShapeError, match="VAE: sizes"):
        models.VAE([3])
    with pytest.raises(ShapeError, match="the encoder must give 2"):
        models.VAE([3, 2], encoder=nn.Linear(3, 3)).encode(tg.ones((1, 3), np.float32))
    with pytest.raises(ShapeError, match="the decoder"):
        models.VAE([3, 2], decoder=nn.Linear(2, 4)).sample(2)


# Regression and classification with noise


def test_the_noise_of_a_regressor_is_found(device: str) -> None:
    """Noise that grows with x, and a net that could bend to it."""
    random, make = np.random.default_rng(0), maker(device)
    x = random.uniform(-1, 1, (2000, 1))
    std = 0.1 + 0.4 * (x > 0)
    y = 2 * x + std * random.standard_normal((2000, 1))
    both, shared = (
        models.NormalRegressor(
            nn.Sequential(nn.Linear(1, 16, dtype=np.float64, generator=Generator(0)), nn.Tanh(),
                          nn.Linear(16, n, dtype=np.float64, generator=Generator(1))).to(device), noise=noise
        )
        for n, noise in ((2, "each"), (1, "shared"))
    )  # fmt: skip
    for model in (both, shared):
        optimizer = optim.Adam(model.parameters(), lr=0.02)
        for _ in range(300):
            optimizer.zero_grad()
            model.loss(make(x), make(y)).backward()
            optimizer.step()
    _, log_std = both(make(np.array([[-0.5], [0.5]])))
    np.testing.assert_allclose(np.exp(log_std.numpy()).ravel(), [0.1, 0.5], rtol=0.2)
    _, log_std = shared(make(x[:1]))
    np.testing.assert_allclose(np.exp(log_std.numpy()), math.sqrt(np.mean(std**2)), rtol=0.1)
    assert both.loss(make(x), make(y)).item() < shared.loss(make(x), make(y)).item() - 0.2


def test_a_regressors_density_and_floor(device: str) -> None:
    from scipy import stats

    make, x, y = maker(device), np.ones((2, 1)), np.array([[0.5], [1.5]])
    fixed = models.NormalRegressor(nn.Linear(1, 1, dtype=np.float64).to(device), noise=0.3)
    mean = fixed(make(x))[0].numpy()
    np.testing.assert_allclose(
        fixed.log_density(make(x), make(y)).numpy(), stats.norm.logpdf(y, mean, 0.3).sum(1), rtol=1e-12
    )
    shared = models.NormalRegressor(nn.Linear(1, 1, dtype=np.float64).to(device), noise="shared", least_std=0.25)
    shared.log_std.copy_(np.array([math.log(0.5)]))
    np.testing.assert_allclose(np.exp(shared(make(x))[1].numpy()), 0.75, rtol=1e-12)
    for noise in ("none", 0.0, -1.0):
        with pytest.raises(OptionError, match="NormalRegressor: noise"):
            models.NormalRegressor(nn.Linear(1, 1), noise=noise)
    with pytest.raises(ShapeError, match="must give 2 numbers"):
        models.NormalRegressor(nn.Linear(1, 1, dtype=np.float64).to(device))(make(x))
    with pytest.raises(ShapeError, match="the targets have shape"):
        fixed.loss(make(x), make(y[:, 0]))


def test_a_noisy_classifier_is_a_mean_of_softmaxes(device: str) -> None:
    make = maker(device)
    net = nn.Linear(2, 4, dtype=np.float64, generator=Generator(0)).to(device)
    model = models.NoisyClassifier(net, 2, samples=4000, generator=Generator(0))
    x = np.array([[0.5, -1.0]])
    f, s = np.split(net(make(x)).numpy()[0], 2)
    # p(c = 0) depends on the difference of the logits alone, which is normal
    z = f[0] - f[1] + math.hypot(*np.exp(s)) * GRID
    wanted = (1 / (1 + np.exp(-z))) @ WEIGHTS
    found = np.exp(model(make(x)).numpy())[0]
    assert abs(found[0] - wanted) < 5 * 0.5 / math.sqrt(4000) and abs(found.sum() - 1) < 1e-12
    noise = make(np.zeros((1, 1, 2)))
    assert (
        abs(model.loss(make(x), make(np.array([0])), noise).item() + math.log(1 / (1 + math.exp(f[1] - f[0])))) < 1e-12
    )
    with pytest.raises(OptionError, match="classes must be a whole number of 2 or more"):
        models.NoisyClassifier(net, 1)
    with pytest.raises(ShapeError, match="must give 6 numbers"):
        models.NoisyClassifier(net, 3)(make(x))


def test_a_prior_is_weight_decay(device: str) -> None:
    net, make = nn.Linear(3, 1, dtype=np.float64, generator=Generator(0)).to(device), maker(device)
    x, y = (make(a) for a in np.random.default_rng(0).standard_normal((2, 8, 3)))
    model = models.NormalRegressor(net, noise=0.5)

    def after_one_step(loss: Any, decay: float) -> Any:
        copy = {name: p.numpy().copy() for name, p in net.named_parameters()}
        optimizer = optim.SGD(net.parameters(), lr=0.1, weight_decay=decay)
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        found = [p.numpy().copy() for p in net.parameters()]
        net.load_state_dict(copy)
        return found

    def posterior() -> tg.Tensor:
        return model.loss(x, y[:, :1]) - prob.log_prior(net, 0.8) / 8

    by_prior = after_one_step(posterior, 0.0)
    by_decay = after_one_step(lambda: model.loss(x, y[:, :1]), prob.prior_decay(0.8, 8))
    for a, b in zip(by_prior, by_decay, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    with pytest.raises(OptionError, match="prior_decay"):
        prob.prior_decay(0.0, 8)
    with pytest.raises(OptionError, match="log_prior"):
        prob.log_prior(net, -1.0)


def test_the_likelihood_takes_as_many_draws_as_asked_in_pieces(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.VAE([3, 2], dtype=np.float64, generator=Generator(0)).to(device)
    x, asked, plain = maker(device)(np.ones((5, 3))), [], model.log_weights

    def weights(x: Any, y: Any, samples: int, **options: Any) -> Any:
        asked.append((len(x), samples))
        return plain(x, y, samples, **options)

    monkeypatch.setattr(models.vae, "_ROWS", 4)
    object.__setattr__(model, "log_weights", weights)
    assert model.log_likelihood(x, samples=3, generator=Generator(1)).shape == (5,)
    assert asked == [(4, 1)] * 3 + [(1, 3)]
