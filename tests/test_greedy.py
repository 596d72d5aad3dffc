"""Greedy pre-training: each layer sees what those before make of the data, weights go over, errors name the layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import energy, models, nn, optim
from tinygrad_mlsp.errors import DivergenceError, DTypeError, Error, OptionError, ShapeError, TrainingWarning
from tinygrad_mlsp.random import Generator


def data(n: int = 80, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(n, width)).astype(np.float32)


class Seen:
    """Trains nothing, and remembers what it was given."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []

    def __call__(self, module: Any, x: tg.Tensor) -> list[float]:
        self.inputs.append((module, x))
        return [float(len(self.inputs))]


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def rbm(n: int, m: int, device: str, seed: int = 0, **units: Any) -> energy.RBM:
    model = energy.RBM(units.get("visible", n), units.get("hidden", m), std=0.7, generator=Generator(seed))
    with tg.no_grad():
        for i, part in enumerate((model.visible, model.hidden)):
            part.bias.copy_(np.random.default_rng(seed + i).standard_normal(part.bias.shape) * 0.3)
    return model.to(device)  # type: ignore[return-value]


def test_every_layer_learns_from_the_features_of_those_before(device: str) -> None:
    x, seen = data(), Seen()
    stack = [rbm(6, 5, device), rbm(5, 4, device, 1)]
    net = models.greedy_pretrain(
        tg.Tensor(x, device=device), stack, seen, output=3, batch_size=7, generator=Generator(0)
    )
    h = sigmoid(x @ stack[0].weight.numpy() + stack[0].hidden.bias.numpy())
    assert [m for m, _ in seen.inputs] == stack and net.greedy == tuple(stack) and net.history == [[1.0], [2.0]]
    np.testing.assert_allclose(seen.inputs[0][1].numpy(), x)
    np.testing.assert_allclose(seen.inputs[1][1].numpy(), h, atol=1e-6)
    top = sigmoid(h @ stack[1].weight.numpy() + stack[1].hidden.bias.numpy())
    np.testing.assert_allclose(net[:-1](tg.Tensor(x, device=device)).numpy(), top, atol=1e-6)
    assert [type(m).__name__ for m in net] == ["Linear", "Sigmoid"] * 2 + ["Linear"]
    np.testing.assert_allclose(
        net(tg.Tensor(x, device=device)).numpy(), top @ net[-1].weight.numpy().T + net[-1].bias.numpy(), atol=1e-6
    )


def test_the_net_has_copies(device: str) -> None:
    layer = models.DenoisingAutoencoder([6, 4], generator=Generator(0), device=device)
    net = models.greedy_pretrain(tg.Tensor(data(), device=device), [layer], Seen())
    before = layer.encoder[0].weight.numpy().copy()
    net[0].weight.copy_(before * 3)
    np.testing.assert_array_equal(layer.encoder[0].weight.numpy(), before)


def kinds(device: str) -> dict[str, Callable[[int], Any]]:
    how: dict[str, Any] = {"generator": Generator(0), "device": device}
    return {
        "bottleneck": lambda n: models.DeepAutoencoder([n, 4], **how),
        "deep": lambda n: models.DeepAutoencoder([n, 5, 4], **how),
        "sparse": lambda n: models.SparseAutoencoder([n, 4], "kl", **how),
        "denoising": lambda n: models.DenoisingAutoencoder([n, 4], **how),
        "contractive": lambda n: models.ContractiveAutoencoder([n, 4], **how),
        "pca": lambda n: models.NeuralPCA(n, 4, **how),
        "ica": lambda n: models.NeuralICA(n, 4, **how),
        "nmf": lambda n: models.NeuralNMF(n, 4, **how),
        "kernel pca": lambda n: models.KernelPCA(4),
        "subspaces": lambda n: models.SubspaceAnalysis(n, 4, 1, **how),
        "embedding": lambda n: models.NeighbourEmbedding(n, 4, **how),
        "rbm": lambda n: energy.RBM(n, 4, generator=Generator(0)).to(device),
    }


def trained(module: Any, x: tg.Tensor) -> Any:
    if isinstance(module, energy.RBM):
        return energy.fit(module, x, epochs=2, batch_size=20, generator=Generator(1))["reconstruction"]
    return module.fit(x) if isinstance(module, models.KernelPCA) else module.fit(x, epochs=2, generator=Generator(1))


@pytest.mark.parametrize("kind", list(kinds("cpu")))
def test_any_greedy_module_can_be_a_layer_and_be_fine_tuned(kind: str, device: str) -> None:
    x, y = tg.Tensor(data(), device=device), tg.Tensor((data().sum(axis=1) > 3).astype(np.int64), device=device)
    how = {"generator": Generator(2), "device": device}
    net = models.greedy_pretrain(
        x, [kinds(device)[kind], lambda n: models.NeuralPCA(n, 3, **how)], trained, output=2, generator=Generator(3)
    )
    assert len(net.history) == 2 and all(np.isfinite(h).all() for h in net.history)
    features = net[:-2](x)
    assert features.shape == (80, 4)
    optimizer = optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_without_train_the_layers_are_asked_to_fit(device: str) -> None:
    x = tg.Tensor(data(), device=device)
    net = models.greedy_pretrain(x, [models.KernelPCA(3), models.KernelPCA(2, "arccos")])
    first = models.KernelPCA(3)
    first.fit(x)
    second = models.KernelPCA(2, "arccos")
    second.fit(first(x))
    np.testing.assert_allclose(net(x).numpy(), second(first(x)).numpy(), atol=1e-5)


def test_a_stack_of_denoisers_learns_and_its_features_keep_the_classes(device: str) -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = (digits.data / 16).astype(np.float32)[:600], digits.target[:600]
    generator = Generator(0)
    make = lambda n: models.DenoisingAutoencoder([n, 40], 0.2, generator=generator, device=device)
    net = models.greedy_pretrain(
        tg.Tensor(x, device=device), [make, make],
        lambda m, h: m.fit(h, 10, 20, lambda p: optim.Adam(p, lr=0.01), generator=generator), output=10,
        generator=generator,
    )  # fmt: skip
    assert all(h[-1] < 0.9 * h[0] for h in net.history[:1]) and net.history[1][-1] < net.history[1][0]
    optimizer = optim.Adam(net.parameters(), lr=0.02)
    rows, labels = tg.Tensor(x[:400], device=device), tg.Tensor(y[:400], device=device)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(rows), labels).backward()
        optimizer.step()
    found = net(tg.Tensor(x[400:], device=device)).numpy().argmax(axis=1)
    assert (found == y[400:]).mean() > 0.75


# An RBM as layers of a net


def test_an_rbms_encoder_and_decoder_are_its_conditional_means(device: str) -> None:
    v = data(9)
    cases = {
        "binary": rbm(6, 4, device),
        "gaussian": rbm(6, 4, device, visible=energy.Gaussian(6, 0.5), hidden=energy.Gaussian(4, 2.0)),
        "softmax": rbm(6, 4, device, visible=energy.Softmax(3, 2), hidden=energy.Softmax(4)),
    }
    cases["centred"] = rbm(6, 4, device)
    cases["centred"].center(tg.Tensor(v, device=device), 1.0)
    for name, model in cases.items():
        x = tg.Tensor(v, device=device)
        h = model(x)
        np.testing.assert_allclose(model.encoder()(x).numpy(), h.numpy(), atol=2e-5, err_msg=name)
        np.testing.assert_allclose(
            model.decoder()(h).numpy(), model.visible.mean(model.visible_input(h)).numpy(), atol=2e-5, err_msg=name
        )


def test_unrolled_rbms_are_the_mean_field_pass_up_and_down(device: str) -> None:
    x = tg.Tensor(data(), device=device)
    stack = [rbm(6, 5, device), rbm(5, 3, device, 1, hidden=energy.Gaussian(3))]
    net = models.greedy_pretrain(x, stack, Seen())
    deep = models.unroll(net.greedy)
    code = stack[1](stack[0](x))
    below = stack[1].visible.mean(stack[1].visible_input(code))
    expected = stack[0].visible.mean(stack[0].visible_input(below))
    np.testing.assert_allclose(deep.encode(x).numpy(), code.numpy(), atol=1e-5)
    np.testing.assert_allclose(deep(x).numpy(), expected.numpy(), atol=1e-5)
    start = deep.loss(x).item()
    history = deep.fit(x, 20, 20, lambda p: optim.Adam(p, lr=0.01), generator=Generator(0))
    assert history[-1] < start
    np.testing.assert_allclose(stack[1](stack[0](x)).numpy(), code.numpy())  # the machines are as they were


def test_unrolled_autoencoders_start_as_the_stack_and_may_be_linear(device: str) -> None:
    x = tg.Tensor(data(), device=device)
    how: dict[str, Any] = {"generator": Generator(0), "device": device}
    one, two = models.DenoisingAutoencoder([6, 5], **how), models.DeepAutoencoder([5, 3], **how)
    deep = models.unroll([one, two])
    np.testing.assert_allclose(deep(x).numpy(), one.decode(two(one.encode(x))).numpy(), atol=1e-6)
    linear = models.unroll([models.NeuralPCA(6, 4, **how), models.NeuralPCA(4, 2, **how)], loss="squared")
    assert linear(x).shape == (80, 6) and linear.loss(x).item() > 0
    for name, parameter in deep.named_parameters():
        parameter.grad = None
        deep.loss(x).backward()
        assert parameter.grad is not None, name


# Bad input, and trainings that go wrong


@pytest.mark.parametrize(
    "x, kind, says",
    [
        (np.full((5, 6), np.inf), OptionError, "greedy_pretrain: the data have inf in row 0, column 0"),
        (np.zeros((0, 6)), ShapeError, "n at least 1"),
        (np.zeros(6), ShapeError, r"\[6\]"),
        (np.array([["a"]]), Error, "(?i)dtype|numbers|real"),
        (np.ones((3, 6)) * 1j, DTypeError, "real"),
    ],
)
def test_bad_data_are_refused_before_any_training(x: Any, kind: type[Exception], says: str) -> None:
    seen = Seen()
    with pytest.raises(kind, match=says):
        models.greedy_pretrain(x, [lambda n: models.DenoisingAutoencoder([n, 4])], seen)
    assert seen.inputs == []


def test_sparse_matrices_are_named() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(DTypeError, match="sparse matrix"):
        models.greedy_pretrain(sparse.eye(4), [models.KernelPCA(2)])


def test_a_layer_that_does_not_fit_or_learn_is_named(device: str) -> None:
    x = tg.Tensor(data(), device=device)
    how: dict[str, Any] = {"generator": Generator(0), "device": device}
    first = models.DenoisingAutoencoder([6, 4], **how)
    with pytest.raises(ShapeError, match=r"layer 2 \(DeepAutoencoder\): .*\[n, 5\]"):
        models.greedy_pretrain(x, [first, models.DeepAutoencoder([5, 3], **how)])
    with pytest.raises(OptionError, match=r"layer 1 \(Linear\).*no fit"):
        models.greedy_pretrain(x, [lambda n: nn.Linear(n, 3, device=device)])
    with pytest.raises(OptionError, match="Linear is no greedy module: it needs an encoder"):
        models.greedy_pretrain(x, [lambda n: nn.Linear(n, 3, device=device)], Seen())
    with pytest.raises(OptionError, match="layers is a list"):
        models.greedy_pretrain(x, [])
    with pytest.raises(Error, match=r"layer 2.*cross-entropy wants data in"):
        linear = models.NeuralPCA(6, 4, **how)
        models.greedy_pretrain(x, [linear, models.DeepAutoencoder([4, 3], **how)])


def test_a_layer_that_diverges_is_named(device: str) -> None:
    x = tg.Tensor(data(), device=device)
    how: dict[str, Any] = {"generator": Generator(0), "device": device}
    wild = models.DeepAutoencoder([4, 3], nn.Identity, output=nn.Identity, loss="squared", **how)
    first = models.DenoisingAutoencoder([6, 4], **how)

    def train(module: Any, h: tg.Tensor) -> Any:
        rate = 1e6 if module is wild else 0.1
        return module.fit(h, 30, 10, lambda p: optim.SGD(p, lr=rate), generator=Generator(0))

    with pytest.raises(DivergenceError, match=r"layer 2 \(DeepAutoencoder\): .*loss is"), np.errstate(all="ignore"):
        models.greedy_pretrain(x, [first, wild], train)

    def spoil(module: Any, h: tg.Tensor) -> Any:
        module.encoder[0].weight.copy_(module.encoder[0].weight.numpy() * np.nan)

    with pytest.raises(DivergenceError, match=r"layer 1 \(DenoisingAutoencoder\): the weights \(0.weight\)"):
        models.greedy_pretrain(x, [first], spoil)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_data_one_example_and_dead_layers_are_warned_of(value: float, device: str) -> None:
    how: dict[str, Any] = {"generator": Generator(0), "device": device}
    make = lambda n: models.DenoisingAutoencoder([n, 4], **how)
    constant = tg.Tensor(np.full((20, 6), value, np.float32), device=device)
    with pytest.warns(TrainingWarning, match=r"layer 1 \(DenoisingAutoencoder\): its 6 inputs are the same"):
        models.greedy_pretrain(constant, [make], Seen())
    with pytest.warns(TrainingWarning, match=r"layer 1 .*one example"):
        models.greedy_pretrain(constant[:1], [make])

    def saturate(module: Any, h: tg.Tensor) -> None:
        module.encoder[0].bias.copy_(module.encoder[0].bias.numpy() + 1000)

    varied = tg.Tensor(data(), device=device)
    with pytest.warns(TrainingWarning, match=r"layer 1 .*4 features are the same in all 80 rows"):
        models.greedy_pretrain(varied, [make], saturate)
    with pytest.warns(TrainingWarning, match=r"layer 2 .*4 inputs are the same"):
        models.greedy_pretrain(varied, [make, make], lambda m, h: saturate(m, h) if m.sizes[0] == 6 else None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        models.greedy_pretrain(varied, [make, make], Seen())


def test_more_hidden_units_than_data_is_no_trouble(device: str) -> None:
    how: dict[str, Any] = {"generator": Generator(0), "device": device}
    net = models.greedy_pretrain(
        tg.Tensor(data(5), device=device), [lambda n: models.DenoisingAutoencoder([n, 50], **how)],
        lambda m, h: m.fit(h, 3, generator=Generator(0)),
    )  # fmt: skip
    assert np.isfinite(net.history[0]).all()
