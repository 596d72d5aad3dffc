"""Autoencoders against closed forms, finite differences and SVD; components against scikit-learn's and the truth."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, nn, optim
from tinygrad_mlsp.errors import DivergenceError, DTypeError, OptionError, ShapeError
from tinygrad_mlsp.random import Generator

F64 = np.float64


def data(n: int = 60, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(n, width))


def adam(lr: float) -> Callable[[Any], optim.Optimizer]:
    return lambda p: optim.Adam(p, lr=lr)


def tensor(x: Any, device: str) -> tg.Tensor:
    return tg.Tensor(np.asarray(x, F64), device=device)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """The sine of the largest angle between two subspaces, given by the columns."""
    a, b = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    return float(np.linalg.norm(a - b @ (b.T @ a), 2))


def slope(loss: Callable[[], tg.Tensor], parameter: tg.Tensor, seed: int = 0) -> tuple[float, float]:
    """The derivative along a random direction: by the engine, and by central differences."""
    direction = np.random.default_rng(seed).standard_normal(parameter.shape)
    parameter.grad = None
    loss().backward()
    assert parameter.grad is not None
    found, start, h = float((parameter.grad.numpy() * direction).sum()), parameter.numpy().copy(), 1e-5
    values = []
    for step in (h, -h):
        parameter.copy_(start + step * direction)
        values.append(loss().item())
    parameter.copy_(start)
    return found, (values[0] - values[1]) / (2 * h)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


# The nets


def test_one_layer_is_the_formula(device: str) -> None:
    model = models.DeepAutoencoder([6, 3], generator=Generator(0), device=device, dtype=F64)
    x = data()
    first, back = model.encoder[0], model.decoder[0]
    w, b, v, c = (p.numpy() for p in (first.weight, first.bias, back.weight, back.bias))
    b, c = b + 0.3, c - 0.2
    first.bias.copy_(b)
    back.bias.copy_(c)
    h = sigmoid(x @ w.T + b)
    y = sigmoid(h @ v.T + c)
    np.testing.assert_allclose(model.encode(tensor(x, device)).numpy(), h, atol=1e-12)
    np.testing.assert_allclose(model(tensor(x, device)).numpy(), y, atol=1e-12)
    entropy = -(x * np.log(y) + (1 - x) * np.log(1 - y)).sum(axis=1).mean()
    np.testing.assert_allclose(model.loss(tensor(x, device)).item(), entropy, rtol=1e-12)
    model.compare = "squared"
    np.testing.assert_allclose(model.loss(tensor(x, device)).item(), ((y - x) ** 2).sum(axis=1).mean(), rtol=1e-12)
    model.compare = lambda made, wanted: abs(made - wanted).mean()
    np.testing.assert_allclose(model.loss(tensor(x, device)).item(), abs(y - x).mean(), rtol=1e-12)


def test_the_deep_one_is_symmetric_and_pictures_are_flattened(device: str) -> None:
    model = models.DeepAutoencoder([12, 8, 5, 2], code=nn.Identity, generator=Generator(0), device=device)
    widths = [layer.weight.shape for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert widths == [(8, 12), (5, 8), (2, 5), (5, 2), (8, 5), (12, 8)]
    pictures = tg.Tensor(data(4, 12).reshape(4, 3, 4), dtype=np.float32, device=device)
    assert model(pictures).shape == (4, 12) and model.encode(pictures).shape == (4, 2)
    assert len(model.fit(pictures, 2, target=pictures.numpy())) == 2
    codes = model.encode(pictures)
    np.testing.assert_allclose(model.decode(codes).numpy(), model(pictures).numpy(), atol=1e-6)


def test_tied_weights_are_one_parameter_with_both_gradients(device: str) -> None:
    model = models.DeepAutoencoder([6, 4, 2], tied=True, generator=Generator(0), device=device, dtype=F64)
    assert len(list(model.parameters())) == 2 + 2 + 2  # two weights, four biases
    x = tensor(data(), device)
    for name, parameter in model.named_parameters():
        found, numeric = slope(lambda: model.loss(x), parameter)
        assert abs(found - numeric) < 1e-6 * max(1, abs(found)), name
    again = copy.deepcopy(model)
    again.encoder[0].weight.copy_(again.encoder[0].weight.numpy() * 2)
    assert float(abs(again.decoder[2].of.weight - again.encoder[0].weight).max()) == 0
    fresh = models.DeepAutoencoder([6, 4, 2], tied=True, generator=Generator(1), device=device, dtype=F64)
    fresh.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(fresh(x).numpy(), model(x).numpy())


def test_it_learns_what_a_bottleneck_can_hold(device: str) -> None:
    hidden = np.random.default_rng(0).uniform(size=(200, 2))
    x = sigmoid((hidden - 0.5) @ np.random.default_rng(1).standard_normal((2, 8)) * 4)
    model = models.DeepAutoencoder([8, 2], generator=Generator(0), device=device)
    history = model.fit(x.astype(np.float32), 60, 20, adam(0.02), generator=Generator(1))
    made = model(tg.Tensor(x, dtype=np.float32, device=device)).numpy()
    assert len(history) == 60 and history[-1] < history[0]
    assert ((made - x) ** 2).sum() < 0.1 * ((x - x.mean(axis=0)) ** 2).sum()


def test_a_target_takes_the_place_of_the_input(device: str) -> None:
    x = data(100, 5)
    clean = x @ np.random.default_rng(3).standard_normal((5, 5)) + 1
    model = models.DeepAutoencoder(
        [5, 5], nn.Identity, output=nn.Identity, loss="squared", generator=Generator(0), device=device, dtype=F64
    )
    history = model.fit(x, 200, 20, adam(0.02), target=clean, generator=Generator(0))
    assert history[-1] < 1e-3 < history[0]


# Corruption


def test_masking_and_salt_and_pepper_do_what_they_say_in_training_alone(device: str) -> None:
    x = tensor(data(300, 200) + 1, device)
    for noise in (
        models.MaskingNoise(0.3, generator=Generator(0)),
        models.SaltAndPepper(0.3, -1.0, 5.0, generator=Generator(0)),
    ):
        found = noise(x).numpy()
        changed = found != x.numpy()
        # 60,000 coins: the share is within 5 standard deviations of 0.3; false alarm 6e-7 if the seed were drawn
        assert abs(changed.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / changed.size)
        values = np.unique(found[changed])
        if type(noise) is models.MaskingNoise:
            assert values.tolist() == [0.0]
        else:
            assert values.tolist() == [-1.0, 5.0]
            high = (found[changed] == 5.0).mean()
            assert abs(high - 0.5) < 5 * 0.5 / np.sqrt(changed.sum())
        assert noise.eval()(x) is x
    mask = tg.Tensor(np.eye(4, dtype=bool), device=device)
    np.testing.assert_array_equal(models.MaskingNoise()(tensor(np.ones((4, 4)), device), mask).numpy(), np.eye(4))


@pytest.mark.parametrize("noise", ["masking", "gaussian", "salt and pepper"])
def test_the_denoiser_compares_with_the_clean_input(noise: str, device: str) -> None:
    kinds: dict[str, Any] = {
        "masking": 0.5, "gaussian": nn.GaussianNoise(0.3, generator=Generator(5)),
        "salt and pepper": models.SaltAndPepper(0.4, generator=Generator(5)),
    }  # fmt: skip
    model = models.DenoisingAutoencoder([6, 4], kinds[noise], generator=Generator(0), device=device, dtype=F64)
    x = tensor(data(), device)
    state = (model.corruption.generator or Generator(0)).state_dict()
    found = model.loss(x).item()
    model.corruption.generator.load_state_dict(state)
    y = model(model.corruption(x)).numpy()
    np.testing.assert_allclose(
        found, -(x.numpy() * np.log(y) + (1 - x.numpy()) * np.log(1 - y)).sum(axis=1).mean(), rtol=1e-9
    )
    assert model.eval().loss(x).item() != found


def test_a_denoiser_fills_in_what_the_others_tell(device: str) -> None:
    """Each number stands twice: a masked one can be had from its twin, which an identity map would not learn."""
    x = np.tile(np.random.default_rng(0).integers(0, 2, (400, 5)), 2).astype(np.float32)
    denoiser = models.DenoisingAutoencoder([10, 20], 0.3, generator=Generator(0), device=device)
    plain = models.DeepAutoencoder([10, 20], tied=True, generator=Generator(0), device=device)
    masked = x.copy()
    masked[:, :5] = 0
    errors = []
    for model in (denoiser, plain):
        model.fit(x, 40, 20, adam(0.02), generator=Generator(1))
        made = model.eval()(tg.Tensor(masked, device=device)).numpy()
        errors.append(float(((made[:, :5] - x[:, :5]) ** 2).mean()))
    assert errors[0] < 0.01 and errors[0] < 0.3 * errors[1]


# Penalties


def test_sparsity_is_its_formula(device: str) -> None:
    h = np.random.default_rng(0).uniform(0.01, 0.99, (50, 7))
    np.testing.assert_allclose(models.l1_sparsity(tensor(h - 0.5, device)).item(), abs(h - 0.5).sum(axis=1).mean())
    rho, q = 0.1, h.mean(axis=0)
    kl = (rho * np.log(rho / q) + (1 - rho) * np.log((1 - rho) / (1 - q))).sum()
    np.testing.assert_allclose(models.kl_sparsity(tensor(h, device), rho).item(), kl, rtol=1e-9)
    assert abs(models.kl_sparsity(tensor(np.full((3, 4), 0.1), device), 0.1).item()) < 1e-12
    assert np.isfinite(models.kl_sparsity(tensor(np.zeros((3, 4)), device), 0.1).item())


@pytest.mark.parametrize("kind", ["l1", "kl"])
def test_sparse_codes_are_sparse(kind: str, device: str) -> None:
    x = data(200, 8).astype(np.float32)
    means = []
    for weight in (0.0, 0.5):
        model = models.SparseAutoencoder([8, 16], kind, weight, 0.05, generator=Generator(0), device=device)
        model.fit(x, 40, 20, adam(0.02), generator=Generator(1))
        means.append(float(model.encode(tg.Tensor(x, device=device)).mean()))
    assert means[1] < 0.5 * means[0]
    if kind == "kl":
        assert abs(means[1] - 0.05) < 0.05


def jacobian_penalty(model: Any, x: np.ndarray, device: str) -> float:
    rows = [tg.jacobian(lambda r: model.encoder(r.reshape((1, -1))).reshape(-1))(tensor(r, device)).numpy() for r in x]
    return float(np.mean([(j**2).sum() for j in rows]))


def test_contraction_closed_form_engine_and_jacobian_agree(device: str) -> None:
    x = data(5)
    model = models.ContractiveAutoencoder([6, 4], 0.7, generator=Generator(0), device=device, dtype=F64)
    rows = tensor(x, device)
    closed = models.sigmoid_contraction(model.encode(rows), model.encoder[0].weight)
    engine = models.contraction(model.encoder, rows)
    np.testing.assert_allclose(closed.item(), jacobian_penalty(model, x, device), rtol=1e-10)
    np.testing.assert_allclose(engine.item(), closed.item(), rtol=1e-12)
    of_loss = models.DeepAutoencoder.loss(model, rows) - models.DeepAutoencoder.penalty(model, rows, rows)
    assert of_loss.item() > 0
    model.zero_grad()
    closed.backward()
    first = model.encoder[0].weight.grad.numpy().copy()
    model.zero_grad()
    engine.backward()
    np.testing.assert_allclose(model.encoder[0].weight.grad.numpy(), first, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh])
def test_deep_contraction_is_the_jacobians_norm_and_has_its_gradient(activation: Any, device: str) -> None:
    x = data(4)
    model = models.ContractiveAutoencoder(
        [6, 5, 3], 0.7, activation=activation, generator=Generator(0), device=device, dtype=F64
    )
    rows = tensor(x, device)
    penalty = model.penalty(rows, model.encode(rows))
    np.testing.assert_allclose(penalty.item(), 0.7 * jacobian_penalty(model, x, device), rtol=1e-10)
    for name, parameter in model.named_parameters():
        found, numeric = slope(lambda: model.loss(rows), parameter)
        assert abs(found - numeric) < 1e-5 * max(1, abs(found)), name


def test_contraction_makes_codes_flatter(device: str) -> None:
    x = data(200, 8)
    sizes = []
    for weight in (0.0, 1.0):
        model = models.ContractiveAutoencoder([8, 12], weight, generator=Generator(0), device=device, dtype=F64)
        model.fit(x, 30, 20, adam(0.02), generator=Generator(1))
        sizes.append(jacobian_penalty(model, x[:20], device))
    assert sizes[1] < 0.3 * sizes[0]


# Bad input


@pytest.mark.parametrize(
    "make, kind, says",
    [
        (lambda: models.DeepAutoencoder([6]), OptionError, "sizes"),
        (lambda: models.DeepAutoencoder([6, 0]), OptionError, "a size"),
        (lambda: models.DeepAutoencoder([6, 3], loss="absolute"), OptionError, "loss is"),
        (lambda: models.DeepAutoencoder([6, 3], output=nn.Identity), OptionError, "Sigmoid"),
        (lambda: models.SparseAutoencoder([6, 3], "l2"), OptionError, "kind"),
        (lambda: models.SparseAutoencoder([6, 3], "kl", activation=nn.Tanh), OptionError, "Sigmoid"),
        (lambda: models.MaskingNoise(1.5), OptionError, "MaskingNoise: p"),
        (lambda: models.ContractiveAutoencoder([6, 3], -1.0), OptionError, "weight"),
        (lambda: models.kl_sparsity(tg.ones((2, 2)), 0.0), OptionError, "target"),
        (lambda: models.DeepAutoencoder([6, 3]).fit(data(5, 7)), ShapeError, "shape"),
        (lambda: models.DeepAutoencoder([6, 3]).fit(data(5, 6) * 2), OptionError, r"in \[0, 1\]"),
        (lambda: models.DeepAutoencoder([6, 3]).fit(np.full((5, 6), np.nan)), OptionError, "nan in row 0, column 0"),
        (lambda: models.DeepAutoencoder([6, 3]).fit(np.zeros((0, 6))), ShapeError, "at least 1"),
        (lambda: models.DeepAutoencoder([6, 3]).fit(data(5, 6) * 1j), DTypeError, "real"),
        (lambda: models.DeepAutoencoder([6, 3]).fit(data(5, 6), target=data(4, 6)), ShapeError, "5 rows, target 4"),
        (lambda: models.unroll([]), OptionError, "one trained"),
        (lambda: models.KernelPCA(2, "cosine"), OptionError, "kernel is"),
        (lambda: models.KernelPCA(2).encoder()(tg.ones((2, 3))), OptionError, "fit it first"),
        (lambda: models.KernelPCA(2).fit(np.ones((5, 3))), OptionError, "0 directions"),
        (lambda: models.KernelPCA(7).fit(data(5, 3)), OptionError, "directions only"),
        (lambda: models.NeuralPCA(3, 4), OptionError, "at most"),
        (lambda: models.NeuralICA(3, 3).fit(np.ones((9, 3))), OptionError, "vary in"),
        (lambda: models.NeuralNMF(3, 2).fit(data(5, 3) - 1), OptionError, "not negative"),
        (lambda: models.SubspaceAnalysis(6, 5, 2), OptionError, "subspaces of 2"),
        (lambda: models.NeighbourEmbedding(3, 2).fit(data(1, 3)), OptionError, "no neighbours"),
        (lambda: models.NeighbourEmbedding(3, 2).fit(data(9, 3), np.zeros(9, int)), OptionError, "head"),
        (lambda: models.neighbours(tg.Tensor(data(5, 3)), 5), OptionError, "from 1 to 4"),
        (lambda: models.embedding_loss(tg.ones((2, 3)), tg.ones((2, 2)), 1.0), ShapeError, "one shape"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make: Callable[[], Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        make()


def test_a_rate_that_diverges_is_an_error_with_its_place(device: str) -> None:
    model = models.DeepAutoencoder(
        [6, 3], nn.Identity, output=nn.Identity, loss="squared", generator=Generator(0), device=device
    )
    with pytest.raises(DivergenceError, match=r"DeepAutoencoder: the loss is .* in epoch"), np.errstate(all="ignore"):
        model.fit(data() * 100, 50, 10, lambda p: optim.SGD(p, lr=10.0), generator=Generator(0))
    assert model.training


def test_one_example_constant_and_zero_data_give_numbers(device: str) -> None:
    for x in (data(1), np.zeros((20, 6)), np.full((20, 6), 0.3), np.ones((3, 6))):
        model = models.DenoisingAutoencoder([6, 12], generator=Generator(0), device=device)
        history = model.fit(x.astype(np.float32), 5, 4, generator=Generator(0))
        assert np.isfinite(history).all()


# Principal, independent, non-negative


def test_neural_pca_finds_the_principal_subspace_and_ordered_the_axes(device: str) -> None:
    random = np.random.default_rng(0)
    turned = np.linalg.qr(random.standard_normal((8, 8)))[0]
    x = random.standard_normal((300, 8)) * [5, 4, 3, 0.5, 0.4, 0.3, 0.2, 0.1] @ turned + 3
    axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:3].T
    for ordered in (False, True):
        model = models.NeuralPCA(8, 3, ordered, generator=Generator(0), device=device, dtype=F64)
        for lr in (0.1, 0.01, 0.001):
            model.fit(x, 150, 300, adam(lr), generator=Generator(0))
        basis = model.basis.numpy()
        np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-12)
        assert angle(basis, axes) < 1e-3
        if ordered:
            np.testing.assert_allclose(abs(basis.T @ axes), np.eye(3), atol=5e-3)
        rows = tensor(x, device)
        np.testing.assert_allclose(model.encoder()(rows).numpy(), model.encode(rows).numpy(), atol=1e-9)
        np.testing.assert_allclose(model.decoder()(model.encode(rows)).numpy(), model(rows).numpy(), atol=1e-9)


def test_a_linear_autoencoder_spans_the_principal_subspace(device: str) -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal((200, 6)) * np.array([3, 2, 1, 0.3, 0.2, 0.1])
    x -= x.mean(axis=0)
    model = models.DeepAutoencoder(
        [6, 2], nn.Identity, output=nn.Identity, loss="squared", generator=Generator(0), device=device, dtype=F64
    )
    for lr in (0.03, 0.003, 0.0003):
        model.fit(x, 200, 200, adam(lr), generator=Generator(0))
    axes = np.linalg.svd(x, full_matrices=False)[2][:2].T
    assert angle(model.decoder[0].weight.numpy(), axes) < 1e-3


def matched(found: np.ndarray, truth: np.ndarray) -> float:
    """The least, over the true sources, of the largest correlation with a found one."""
    c = abs(np.corrcoef(found.T, truth.T)[: found.shape[1], found.shape[1] :])
    return float(c.max(axis=0).min())


def test_neural_ica_finds_the_sources_as_well_as_fastica(device: str) -> None:
    sources = np.random.default_rng(0).laplace(size=(1500, 3))
    x = sources @ np.random.default_rng(1).standard_normal((3, 3)) + 2
    model = models.NeuralICA(3, 3, generator=Generator(0), device=device, dtype=F64)
    for lr in (0.05, 0.005):
        model.fit(x, 15, 100, adam(lr), generator=Generator(0))
    found = model(tensor(x, device))
    np.testing.assert_allclose(model.encoder()(tensor(x, device)).numpy(), found.numpy(), atol=1e-9)
    ours = matched(found.numpy(), sources)
    assert ours > 0.98
    decomposition = pytest.importorskip("sklearn.decomposition")
    theirs = matched(decomposition.FastICA(3, whiten="unit-variance", random_state=0).fit_transform(x), sources)
    assert ours > theirs - 0.01


def test_whitened_data_are_white_and_their_principal_components_nothing(device: str) -> None:
    x = data(300, 5) @ np.random.default_rng(2).standard_normal((5, 5))
    mean, u = models.whitening(tensor(x, device))
    white = (x - mean.numpy()) @ u.numpy().T
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(5), atol=1e-9)
    mean, u = models.whitening(tensor(x, device), 2)
    axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:2].T
    assert u.shape == (2, 5) and angle(u.numpy().T, axes) < 1e-6


def test_neural_nmf_finds_the_parts(device: str) -> None:
    random = np.random.default_rng(0)
    parts = np.kron(np.eye(4), np.ones((3, 1))) * random.uniform(0.5, 1, (12, 4))
    x = (random.uniform(size=(400, 4)) * (random.uniform(size=(400, 4)) < 0.5)) @ parts.T
    model = models.NeuralNMF(12, 4, generator=Generator(1), device=device, dtype=F64)
    for lr in (0.02, 0.004):
        model.fit(x, 150, 50, adam(lr), generator=Generator(0))
    found = model.parts.numpy()
    assert (found >= 0).all() and (model.encode(tensor(x, device)).numpy() >= 0).all()
    cosine = (found / np.linalg.norm(found, axis=0)).T @ (parts / np.linalg.norm(parts, axis=0))
    assert cosine.max(axis=0).min() > 0.97
    ours = ((model(tensor(x, device)).numpy() - x) ** 2).mean()
    assert ours < 0.02 * (x**2).mean()
    decomposition = pytest.importorskip("sklearn.decomposition")
    nmf = decomposition.NMF(4, init="nndsvda", max_iter=2000).fit(x)
    theirs = nmf.components_.T
    both = (found / np.linalg.norm(found, axis=0)).T @ (theirs / np.linalg.norm(theirs, axis=0))
    assert both.max(axis=0).min() > 0.97


@pytest.mark.parametrize("kernel, degree", [("linear", 1), ("rbf", 1), ("poly", 3), ("arccos", 0), ("arccos", 1)])
def test_kernel_pca_is_scikit_learns(kernel: str, degree: int, device: str) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    x, new = data(40, 5) - 0.4, data(9, 5, seed=1) - 0.4
    model = models.KernelPCA(3, kernel, 0.7, degree)
    shares = model.fit(tensor(x, device))

    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        cosine = a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
        theta = np.arccos(np.clip(cosine, -1, 1))
        if degree == 0:
            return 1 - theta / np.pi
        sizes = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
        return sizes * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi

    if kernel == "arccos":
        theirs = decomposition.KernelPCA(3, kernel="precomputed")
        fitted, expected = theirs.fit_transform(between(x, x)), theirs.transform(between(new, x))
    else:
        theirs = decomposition.KernelPCA(3, kernel=kernel, gamma=0.7, degree=degree)
        fitted, expected = theirs.fit_transform(x), theirs.transform(new)
    for rows, wanted in ((x, fitted), (new, expected)):
        found = model(tensor(rows, device)).numpy()
        signs = np.sign((found * wanted).sum(axis=0))
        np.testing.assert_allclose(found * signs, wanted, atol=1e-6)
    assert len(shares) == 3 and 1 >= shares[0] >= shares[1] >= shares[2] > 0


def test_the_arccosine_kernel_is_an_infinite_layer_of_units(device: str) -> None:
    """2 E[φ(w·x) φ(w·y)] over normal w; 400,000 of them are within 5 standard errors."""
    x, y = np.array([[1.0, 0.5, -0.3]]), np.array([[0.2, -0.4, 0.9]])
    w = np.random.default_rng(0).standard_normal((400_000, 3))
    a, b = w @ x[0], w @ y[0]
    for degree, products in ((0, (a > 0) * (b > 0)), (1, a.clip(0) * b.clip(0))):
        found = models.KernelPCA(1, "arccos", degree=degree).between(tensor(x, device), tensor(y, device)).item()
        assert abs(found - 2 * products.mean()) < 5 * 2 * products.std() / np.sqrt(len(w))


def test_subspace_analysis_finds_the_subspaces(device: str) -> None:
    """Within each pair the direction is uniform and the length heavy-tailed: only the planes can be told."""
    random = np.random.default_rng(0)
    n = 3000
    lengths, turns = random.exponential(size=(n, 3)) ** 1.5, random.uniform(0, 2 * np.pi, (n, 3))
    sources = np.stack([lengths * np.cos(turns), lengths * np.sin(turns)], axis=2).reshape(n, 6)
    mixing = random.standard_normal((6, 6))
    x = sources @ mixing.T
    model = models.SubspaceAnalysis(6, 6, 2, generator=Generator(3), device=device, dtype=F64)
    model.fit(x, 30, 150, adam(0.02), generator=Generator(0))
    encoder = model.encoder()
    through = encoder[0].weight.numpy() @ mixing * sources.std(axis=0)
    energy = (through**2).reshape(3, 2, 3, 2).sum(axis=(1, 3))
    assert (energy.max(axis=1) / energy.sum(axis=1)).min() > 0.95
    assert sorted(energy.argmax(axis=1)) == [0, 1, 2]
    rows = tensor(x[:9], device)
    np.testing.assert_allclose(encoder(rows).numpy(), model(rows).numpy(), atol=1e-9)
    h = (x[:9] - model.mean.numpy()) @ encoder[0].weight.numpy().T
    np.testing.assert_allclose(model(rows).numpy(), np.sqrt((h.reshape(9, 3, 2) ** 2).sum(axis=2)), atol=1e-4)


# Embeddings


def test_embedding_loss_is_its_formula_with_its_slope(device: str) -> None:
    f, g = data(8, 3), data(8, 3, 1)
    same = np.array([1.0, 0.0] * 4)
    distance = np.linalg.norm(f - g, axis=1)
    expected = (same * distance**2 + (1 - same) * np.maximum(0, 0.6 - distance) ** 2).mean()
    loss = lambda a: models.embedding_loss(a, tensor(g, device), tensor(same, device), 0.6)
    np.testing.assert_allclose(loss(tensor(f, device)).item(), expected, atol=1e-6)
    parameter = tg.Tensor(f, True, device=device)
    found, numeric = slope(lambda: loss(parameter), parameter)
    assert abs(found - numeric) < 1e-6


def test_neighbours_are_those_of_a_search(device: str) -> None:
    x = data(50, 4)
    distance = np.linalg.norm(x[:, None] - x, axis=2) + np.diag([np.inf] * 50)
    np.testing.assert_array_equal(
        models.neighbours(tensor(x, device), 3, batch_size=17).numpy(), distance.argsort(axis=1)[:, :3]
    )


def test_an_embedding_and_three_labels_a_class_tell_two_moons(device: str) -> None:
    """The scores are what is embedded: that neighbours have like scores carries the labels along the moons."""
    random = np.random.default_rng(0)
    t = random.uniform(0, np.pi, 300)
    y = np.arange(300) % 2
    x = np.stack([np.cos(t) * (1 - 2 * y) + y, np.sin(t) * (1 - 2 * y) + 0.5 * y], axis=1)
    x += 0.06 * random.standard_normal(x.shape)
    labels = np.full(300, -1)
    for c in (0, 1):
        labels[np.flatnonzero(y == c)[:3]] = c
    right = []
    for weight in (0.0, 0.1):
        model = models.NeighbourEmbedding(
            2, 50, margin=3.0, weight=weight, head=nn.Identity(), generator=Generator(0), device=device
        )
        model.encoder.append(nn.Linear(50, 2, generator=Generator(2), device=device))
        model.fit(x.astype(np.float32), labels, 100, 50, adam(0.015), generator=Generator(0))
        scores = model(tg.Tensor(x, dtype=np.float32, device=device)).numpy()
        right.append((scores.argmax(axis=1) == y).mean())
    assert right[1] > 0.97 and right[1] > right[0] + 0.05
