"""Activations, normalization, dropout and its kin, initial values and penalties: PyTorch's figures, and the papers'."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import holds

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim
from tinygrad_mlsp.errors import DTypeError, GraphError, OptionError, ShapeError
from tinygrad_mlsp.nn import functional as F
from tinygrad_mlsp.nn import init, utils
from tinygrad_mlsp.random import Generator

sys.path.insert(0, str(Path(__file__).parent / "evidence"))
import layers_reference as reference
from test_losses import LOSSES, RECORDED


def leaf(data: Any, device: str = "cpu") -> tg.Tensor:
    return tg.Tensor(np.asarray(data, float), requires_grad=True, device=device)


def draw(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def masks(n: int, device: str = "cpu") -> list[tuple[Any, tg.Tensor]]:
    """Every mask of n entries."""
    return [(np.array(m), tg.Tensor(np.array(m), device=device)) for m in itertools.product([True, False], repeat=n)]


@pytest.mark.parametrize("title", [t for t in reference.CASES if t not in LOSSES])
def test_equals_pytorch(title: str, device: str) -> None:
    """Value, gradients, 20 steps of gradient descent, keys of the state, running statistics, evaluation."""
    found = reference.plain(reference.account(reference.here(device), reference.CASES[title]))
    assert not reference.apart(found, RECORDED[title], reference.LOOSE.get(title, (1e-12,))[0])


# Activations


def test_lecuns_tanh_is_made_for_targets_of_one(device: str) -> None:
    x = leaf([-1.0, 1.0, 0.0, 50.0], device)
    y = nn.LeCunTanh()(x)
    np.testing.assert_allclose(y.numpy(), [-1, 1, 0, 1.7159], atol=1e-4)
    np.testing.assert_allclose(y.numpy(), 1.7159 * np.tanh(2 * x.numpy() / 3), rtol=1e-14)
    third = lambda v: tg.grad(lambda x: tg.grad(lambda x: tg.grad(lambda x: F.lecun_tanh(x))(x))(x))(leaf(v)).item()
    assert abs(third(1.0)) < 0.06 < abs(third(0.5))  # the second derivative is largest near 1


def test_noisy_relu_in_both_lectures_forms(device: str) -> None:
    x, n = leaf([-1.0, 0.5, 2.0, -40.0], device), tg.Tensor([2.0, -1.0, 1.0, 1.0], dtype=float, device=device)
    holds(F.noisy_relu(x, 0.3, noise=n), [0, 0.2, 2.3, 0])
    spread = np.sqrt(1 / (1 + np.exp(-x.numpy())))
    y = F.noisy_relu(x, noise=n)
    holds(y, np.maximum(0, x.numpy() + n.numpy() * spread), tolerance=1e-14)
    y.sum().backward()
    slope = 1 + n.numpy() * spread * (1 - spread**2) / 2
    holds(x.grad, slope * (y.numpy() > 0), tolerance=1e-14)

    large = nn.NoisyReLU(generator=Generator(0))
    x = tg.full((200_000,), 3.0, dtype=float, device=device)
    y = large(x).numpy()
    np.testing.assert_allclose([y.mean(), y.var()], [3, 1 / (1 + math.exp(-3))], atol=0.01)
    assert large.eval()(x).numpy().tolist() == x.numpy().tolist() and repr(nn.NoisyReLU(0.1)) == "NoisyReLU(std=0.1)"
    np.testing.assert_allclose(nn.NoisyReLU(0.2, generator=Generator(1))(x).numpy().std(), 0.2, rtol=0.01)


def test_maxout_is_the_largest_of_linear_functions(device: str) -> None:
    layer = nn.Maxout(3, 2, pieces=4, generator=Generator(0)).double().to(device)
    x = leaf(draw(0, 5, 3), device)
    W, b = layer.linear.weight.numpy(), layer.linear.bias.numpy()
    z = (x.numpy() @ W.T + b).reshape(5, 2, 4)
    holds(layer(x), z.max(-1), tolerance=1e-14)
    layer(x).sum().backward()
    one = W.reshape(2, 4, 3)[np.arange(2), z.argmax(-1)]
    holds(x.grad, one.sum(1), tolerance=1e-13)
    # |x| is a maxout of two pieces
    holds(F.maxout(tg.stack([x, -x], axis=-1).reshape((5, 6)), 2), np.abs(x.numpy()))
    with pytest.raises(ShapeError, match="3 each"):
        F.maxout(x, 3) if x.shape[-1] % 3 else F.maxout(x[:, :2], 3)


def test_activations_refuse_what_they_cannot_do() -> None:
    with pytest.raises(ShapeError, match=r"prelu: .*3 here; got shape \[2\]"):
        nn.PReLU(2)(tg.ones((4, 3)))
    with pytest.raises(OptionError, match="approximate"):
        nn.GELU("erf")(tg.ones((2,)))
    with pytest.raises(ShapeError, match="two halves"):
        nn.GLU()(tg.ones((2, 3)))
    with pytest.raises(OptionError, match="alpha must not be 0"):
        nn.CELU(0.0)(tg.ones((2,)))


IN_PLACE: dict[str, tuple[Any, Any]] = {
    **{kind.__name__: (kind, kind(inplace=True)) for kind in (
        nn.ReLU, nn.SiLU, nn.Mish, nn.SELU, nn.ReLU6, nn.Hardsigmoid, nn.Hardswish, nn.ELU, nn.CELU, nn.LeakyReLU,
        nn.Hardtanh)},
    "Threshold": (lambda: nn.Threshold(0.5, 2.0), nn.Threshold(0.5, 2.0, True)),
    **{f.__name__: (lambda f=f: f, lambda x, f=f: f(input=x, inplace=True)) for f in (
        F.relu, F.silu, F.mish, F.selu, F.relu6, F.hardsigmoid, F.hardswish, F.elu, F.celu, F.leaky_relu, F.hardtanh)},
}  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_the_input_becomes_the_result(name: str, device: str) -> None:
    plain, in_place = IN_PLACE[name]
    x = tg.Tensor([-2.0, -0.3, 0.7, 1.5], True, device=device)
    h, grads = x * 2.0, []
    y = in_place(h)
    assert y is h
    for z in (h * h, plain()(x * 2.0) ** 2):
        x.grad = None
        z.sum().backward()
        assert x.grad is not None
        grads.append((z.numpy(), x.grad.numpy()))
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-6)
    free = tg.Tensor([-2.0, 0.5], device=device)
    half = free[:1]
    assert in_place(free) is free
    np.testing.assert_array_equal(half.numpy(), free.numpy()[:1])  # a view sees it
    with pytest.raises(GraphError, match=rf"{name}: inplace=True .* leaf"):
        in_place(x)


def test_dropout_in_place_and_inplace_that_is_set_later(device: str) -> None:
    x = tg.ones((4, 50), device=device)
    for layer in (nn.Dropout(0.5, True), nn.AlphaDropout(0.5, True)):
        h = x * 1.0
        assert layer(h) is h and (h.numpy() != 1).any()
        assert layer.eval()(x) is x
        assert "inplace=True" in repr(layer)
    h = tg.ones((2, 5, 3), device=device)
    assert F.dropout1d(h, 0.5, True, True) is h
    relu, h = nn.ReLU(True), -x
    relu.inplace = False
    assert (relu(h).numpy() == 0).all() and (h.numpy() == -1).all() and repr(relu) == "ReLU()"


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_without_dim_the_axis_is_pytorchs_and_a_warning_says_so(name: str, device: str) -> None:
    function = getattr(F, name)
    layer: Any = {"softmax": nn.Softmax, "log_softmax": nn.LogSoftmax, "softmin": nn.Softmin}[name]
    for shape, axis in (((3,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 4, 5), 1)):
        x = tg.Tensor(np.random.default_rng(0).standard_normal(shape), device=device)
        for call in (function, layer()):
            with pytest.warns(UserWarning, match=rf"{name}: no dim .* the axis {axis}") as warned:
                found = call(x)
            assert warned[0].filename == __file__
            np.testing.assert_array_equal(found.numpy(), function(x, axis).numpy())
    x = tg.Tensor([1, 2], device=device)
    assert function(x, 0, dtype="float64").dtype == np.float64
    assert abs(function(tg.Tensor(3.0, device=device), 0).item() - (name != "log_softmax")) < 1e-7


def test_erfc_in_single_precision_is_that_in_double_to_rounding(device: str) -> None:
    x = np.concatenate([np.linspace(-6, 10, 4001), [0.0, -0.0, np.inf, -np.inf, 40.0, -40.0]]).astype(np.float32)
    found, want = (tg.erfc(tg.Tensor(x, dtype=d, device=device)).numpy() for d in ("float32", "float64"))
    assert found.dtype == np.float32 and found[-5] == found[-6] == 1 and np.isnan(tg.erfc(float("nan")).item())
    size = np.spacing(np.maximum(want, 1e-37).astype(np.float32)).astype(float)
    assert np.max(np.abs(found - want) / size) <= 8
    assert np.abs(nn.GELU()(tg.Tensor([-3.0, 3.0], device=device)).numpy() - [-0.0040496942, 2.9959503]).max() < 1e-6


def test_softplus_is_straight_above_its_threshold(device: str) -> None:
    x = tg.Tensor([0.5, 1.5, 30.0], True, dtype="float64", device=device)
    y = F.softplus(x, 2.0, 2.0)
    y.sum().backward()
    np.testing.assert_allclose(y.numpy(), [np.log1p(np.e) / 2, 1.5, 30.0], rtol=1e-12)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [1 / (1 + np.exp(-1)), 1, 1], rtol=1e-12)
    np.testing.assert_allclose(nn.Softplus()(x).numpy(), np.log1p(np.exp(x.numpy())), rtol=1e-12)


def test_empty_batches_and_single_values_are_normalized_as_in_pytorch(device: str) -> None:
    norm = nn.BatchNorm1d(3, device=device)
    y = norm(tg.zeros((0, 3), device=device))
    y.sum().backward()
    assert y.shape == (0, 3) and norm.weight is not None and norm.weight.grad is not None
    assert norm.running_mean is not None and norm.running_mean.tolist() == [0, 0, 0]
    assert norm.running_var is not None and norm.running_var.tolist() == [1, 1, 1]
    assert nn.GroupNorm(2, 4, device=device)(tg.zeros((0, 4), device=device)).shape == (0, 4)
    assert nn.GroupNorm(4, 4, device=device)(tg.ones((2, 4), device=device)).numpy().tolist() == [[0] * 4] * 2
    with pytest.raises(ShapeError, match=r"group_norm: one sample with one value a group .*\[1, 4\]"):
        nn.GroupNorm(4, 4, device=device)(tg.ones((1, 4), device=device))


def test_small_activations_keep_their_digits() -> None:
    """Where a composition would lose them: far out on the left, and at large numbers."""
    x = leaf([-10.0, -30.0])
    y = F.gelu(x)
    np.testing.assert_allclose(y.numpy(), [-7.6198530241605e-23, -30 * 4.906713927148187e-198], rtol=1e-9)
    y = F.softsign(x := leaf([1e9, -1e12]))
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [1e-18, 1e-24], rtol=1e-8)


# Initial values


def test_the_factor_4_belongs_to_the_sigmoid(device: str) -> None:
    """Glorot and Bengio's range is for tanh; the slide has it at the sigmoid, and four times as much at tanh."""
    W = tg.zeros((200, 300), device=device)
    a = math.sqrt(6 / 500)
    assert 0.99 * a < np.abs(init.xavier_for_(W, "tanh", Generator(0)).numpy()).max() <= a
    assert 3.96 * a < np.abs(init.xavier_for_(W, "sigmoid", Generator(0)).numpy()).max() <= 4 * a

    def slopes(f: Any, scale: float) -> float:
        """The mean slope of the tenth layer: how much of a gradient it passes."""
        h = tg.Tensor(draw(1, 200, 100) * 0.5)
        for k in range(10):
            z = h @ init.xavier_uniform_(tg.zeros((100, 100), dtype=float), scale, Generator(k)).T
            h = f(z) if f is tg.tanh else f(z) - 0.5
        return float(tg.grad(lambda z: f(z).sum())(z).numpy().mean())

    assert slopes(tg.tanh, 1) > 0.75 > 0.35 > slopes(tg.tanh, 4)  # as on the slide: most units saturate
    gain = {scale: slopes(tg.sigmoid, scale) * scale for scale in (1.0, 4.0)}
    assert gain[1.0] < 0.26 and gain[4.0] > 0.8  # a gradient's factor a layer, for the sigmoid
    with pytest.raises(OptionError, match="'relu'"):
        init.xavier_for_(W, "relu")


def test_the_lectures_first_rules(device: str) -> None:
    """Weights from N(0, 1) make a sum of variance n; from N(0, 1/√n) one of variance 1."""
    x = tg.Tensor(draw(0, 400, 256), device=device)
    for rule, variance in ((init.normal_, 256), (init.scaled_normal_, 1)):
        z = x @ rule(tg.zeros((256, 256), dtype=float, device=device), generator=Generator(3)).T
        assert z.numpy().var() == pytest.approx(variance, rel=0.05)


def test_trunc_normal(device: str) -> None:
    x = init.trunc_normal_(tg.zeros((200_000,), device=device), 1.0, 2.0, -1.0, 2.0, Generator(0)).numpy()
    assert x.min() >= -1 and x.max() <= 2
    low, high = -1.0, 0.5
    phi, Phi = lambda t: math.exp(-t * t / 2) / math.sqrt(2 * math.pi), lambda t: math.erfc(-t / math.sqrt(2)) / 2
    mass = Phi(high) - Phi(low)
    ratio = (phi(low) - phi(high)) / mass
    variance = 1 + (low * phi(low) - high * phi(high)) / mass - ratio**2
    np.testing.assert_allclose([x.mean(), x.std()], [1 + 2 * ratio, 2 * math.sqrt(variance)], atol=0.01)
    with pytest.raises(OptionError, match="a < b"):
        init.trunc_normal_(tg.zeros((2,)), a=1, b=0)


def test_sparse_eye_dirac(device: str) -> None:
    W = init.sparse_(tg.zeros((10, 7), device=device), 0.25, 0.5, Generator(0)).numpy()
    assert ((W == 0).sum(axis=0) == 3).all() and len({tuple(c) for c in (W == 0).T.tolist()}) > 1
    holds(init.eye_(tg.zeros((2, 3), device=device), 2.0), [[2, 0, 0], [0, 2, 0]])
    kernel = init.dirac_(tg.zeros((4, 2, 3, 3), device=device), groups=2).numpy()
    want = np.zeros((4, 2, 3, 3))
    want[0, 0, 1, 1] = want[1, 1, 1, 1] = want[2, 0, 1, 1] = want[3, 1, 1, 1] = 1
    np.testing.assert_array_equal(kernel, want)
    assert np.argwhere(init.dirac_(tg.ones((3, 2, 4))).numpy()).tolist() == [[0, 0, 2], [1, 1, 2]]
    for wrong in (lambda: init.sparse_(tg.zeros((2,)), 0.5), lambda: init.eye_(tg.zeros((2,))),
                  lambda: init.dirac_(tg.zeros((2, 2)))):  # fmt: skip
        with pytest.raises(ShapeError):
            wrong()


def test_an_identity_recurrence_keeps_its_state(device: str) -> None:
    cell = init.identity_rnn_(nn.RNNCell(3, 4, nonlinearity="relu"), generator=Generator(0)).to(device)
    assert isinstance(cell, nn.RNNCell)
    h = start = tg.Tensor(np.abs(draw(0, 2, 4)), dtype=np.float32, device=device)
    for _ in range(50):
        h = cell(tg.zeros((2, 3), device=device), h)
    holds(h, start.numpy())
    assert 0 < np.abs(cell.weight_ih.numpy()).max() < 0.01


def test_lsuv_gives_every_layer_unit_variance(device: str) -> None:
    layers = [m for k in range(6) for m in (nn.Linear(32 if k else 20, 32), nn.ReLU())]
    model = nn.Sequential(*layers, nn.Linear(32, 5)).double().to(device)
    x = tg.Tensor(3 * draw(0, 500, 20) + 1, device=device)
    reached = init.lsuv_(model, x, tolerance=1e-3, generator=Generator(1))
    assert list(reached) == ["0", "2", "4", "6", "8", "10", "12"] and max(abs(v - 1) for v in reached.values()) < 1e-3
    h = x
    for m in model:
        h = m(h)
        if isinstance(m, nn.Linear):
            assert abs(h.numpy().var() - 1) < 1e-3
            W = m.weight.numpy()  # orthogonal still: one factor for all
            gram = W @ W.T if len(W) <= W.shape[1] else W.T @ W
            np.testing.assert_allclose(gram, gram[0, 0] * np.eye(len(gram)), atol=1e-10)
            assert not m.bias.numpy().any()
    assert not any("forward" in vars(m) for m in model.modules())


def test_the_highway_gate_knows_its_depth() -> None:
    for depth in (10, 56, 100):
        bias = nn.Highway(4, depth=depth).gate.bias.numpy()
        np.testing.assert_allclose(bias, -math.log(depth), rtol=1e-6)
        carried = (1 - 1 / (1 + np.exp(-bias[0]))) ** depth
        assert 0.35 < carried < 0.42  # about 1/e, at any depth
    assert nn.Highway(4, depth=56).gate.bias.numpy()[0] < -4  # where a trial trained; at −2 it did not


# Normalization


def test_a_cumulative_average_is_that_of_all_batches(device: str) -> None:
    layer, seen = nn.BatchNorm2d(2, momentum=None).double().to(device), []
    for seed in range(4):
        x = draw(seed, 3, 2, 2, 2)
        layer(tg.Tensor(x, device=device))
        seen.append((x.mean((0, 2, 3)), x.var((0, 2, 3), ddof=1)))
    holds(layer.running_mean, np.mean([m for m, _ in seen], axis=0), tolerance=1e-13)
    holds(layer.running_var, np.mean([v for _, v in seen], axis=0), tolerance=1e-13)


def test_normalizations_refuse_other_shapes() -> None:
    for layer, shape in (
        (nn.BatchNorm2d(3), (2, 3)), (nn.BatchNorm3d(3), (2, 3, 4, 4)), (nn.InstanceNorm1d(3), (2, 4, 5)),
        (nn.InstanceNorm2d(3), (2, 3)), (nn.LayerNorm((2, 3)), (3, 2)), (nn.GroupNorm(2, 4), (2, 3, 2)),
        (nn.RMSNorm(3), (2, 4)), (nn.InstanceNorm1d(3), (2, 3, 1)), (nn.LocalResponseNorm(2), (3,)),
    ):  # fmt: skip
        with pytest.raises(ShapeError):
            layer(tg.ones(shape))
    with pytest.raises(OptionError, match="do not divide into 3 groups"):
        nn.GroupNorm(3, 4)


def test_layer_norm_does_not_mix_samples(device: str) -> None:
    x = leaf(draw(0, 3, 5), device)
    (nn.LayerNorm(5).double().to(device)(x)[0] * tg.Tensor(draw(1, 5), device=device)).sum().backward()
    assert x.grad.numpy()[0].any() and not x.grad.numpy()[1:].any()


def test_weight_norm_changes_the_parameters_not_the_function(device: str) -> None:
    layer = nn.Linear(4, 3, generator=Generator(0)).double().to(device)
    x = leaf(draw(0, 2, 4), device)
    before, weight = layer(x).numpy(), layer.weight.numpy().copy()
    assert utils.weight_norm(layer) is layer
    assert [n for n, _ in layer.named_parameters()] == ["bias", "weight_g", "weight_v"] and isinstance(layer, nn.Linear)
    holds(layer(x), before, tolerance=1e-14)
    (layer(x) ** 2).sum().backward()
    g, v = layer.weight_g, layer.weight_v
    np.testing.assert_allclose((v.grad.numpy() * v.numpy()).sum(axis=1), 0, atol=1e-12)
    holds(g, np.linalg.norm(weight, axis=1, keepdims=True), tolerance=1e-14)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        holds(other(x), before, tolerance=1e-14)
        other.weight_g.copy_(other.weight_g.numpy() * 2)
        holds(other.weight, 2 * weight, tolerance=1e-14)
    holds(layer.weight, weight, tolerance=1e-14)
    with pytest.raises(OptionError, match="already"):
        utils.weight_norm(layer)
    utils.remove_weight_norm(layer)
    assert type(layer) is nn.Linear and sorted(layer.state_dict()) == ["bias", "weight"]
    holds(layer(x), before, tolerance=1e-14)
    with pytest.raises(OptionError, match="has no weight norm"):
        utils.remove_weight_norm(layer)
    with pytest.raises(OptionError, match="no parameter 'w'"):
        utils.weight_norm(layer, "w")


# Whitened layers


def correlated(seed: int, n: int = 400) -> Any:
    return draw(seed, n, 4) @ np.array([[3, 1, 0, 0], [0, 0.5, 0.2, 0], [0, 0, 1, 1], [0, 0, 0, 0.3]]) + [5, -2, 0, 1]


def test_whitening_does_not_change_the_function(device: str) -> None:
    net = nn.Sequential(nn.WhitenedLinear(4, 6), nn.Tanh(), nn.WhitenedLinear(6, 2)).double().to(device)
    first = net[0]
    x = leaf(correlated(0), device)
    before = net(x)
    before.sum().backward()
    gradient = x.grad.numpy().copy()
    for _ in range(3):
        nn.whiten(net)
        x.grad = None
        after = net(x)
        after.sum().backward()
        holds(after, before.numpy(), tolerance=1e-12)
        np.testing.assert_allclose(x.grad.numpy(), gradient, atol=1e-12)
        white = (x.numpy() - first.mean.numpy()) @ first.whitening.numpy().T
        np.testing.assert_allclose(white.mean(0), 0, atol=1e-10)
        np.testing.assert_allclose(np.cov(white.T, ddof=0), np.eye(4), atol=0.03)  # but for ε
    other = nn.Sequential(nn.WhitenedLinear(4, 6), nn.Tanh(), nn.WhitenedLinear(6, 2)).double().to(device)
    other.load_state_dict(net.state_dict())
    holds(other.eval()(x), before.numpy(), tolerance=1e-12)


def test_whitening_at_every_third_batch(device: str) -> None:
    layer = nn.WhitenedLinear(4, 2, every=3).double().to(device)
    plain = nn.Linear(4, 2).double().to(device)
    plain.load_state_dict({"weight": layer.weight.numpy(), "bias": layer.bias.numpy()})
    moved = []
    for seed in range(7):
        x = tg.Tensor(correlated(seed, 50), device=device)
        holds(layer(x), plain(x).numpy(), tolerance=1e-11)
        moved.append(layer.mean.numpy().copy())
    assert not moved[1].any() and moved[2].any() and (moved[3] == moved[4]).all() and (moved[4] != moved[5]).all()
    np.testing.assert_allclose(moved[2], np.concatenate([correlated(s, 50) for s in range(3)]).mean(0), rtol=1e-12)
    layer.eval()(tg.Tensor(correlated(9, 50), device=device))
    assert int(layer.steps) == 7


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_the_optimizers_state_goes_along(kind: str, device: str) -> None:
    """Averages of gradients are what they would be, had the layer been whitened before these gradients came."""
    make = {
        "SGD": lambda p: optim.SGD(p, lr=0.0, momentum=0.9),
        "Adam": lambda p: optim.Adam(p, lr=0.0),
    }[kind]  # fmt: skip
    found = []
    for early in (True, False):
        layer = nn.WhitenedLinear(4, 2, generator=Generator(0)).double().to(device)
        layer(tg.Tensor(correlated(0), device=device))
        optimizer = make(layer.parameters())
        if early:
            layer.whiten(optimizer)
        for seed in range(3):
            layer.train(False)
            (layer(tg.Tensor(correlated(seed), device=device)) ** 2).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        if not early:
            layer.whiten(optimizer)
        state = optimizer.state[layer.weight]
        name = "momentum_buffer" if kind == "SGD" else "exp_avg"
        found.append((state[name].numpy().copy(), layer.weight.numpy(), state.get("exp_avg_sq")))
    np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-10)
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-12)
    if kind == "Adam":
        assert (found[1][2].numpy() > 0).all()


def test_whitening_helps_where_inputs_are_correlated() -> None:
    """Linear regression on badly scaled inputs: 60 steps of gradient descent, each with its best rate of three."""
    x, t = tg.Tensor(correlated(0)), tg.Tensor(correlated(0) @ draw(1, 4, 1))
    left = {}
    for whitened, rate in itertools.product((False, True), (0.01, 0.1, 0.3)):
        layer = (nn.WhitenedLinear(4, 1, every=1, generator=Generator(2)) if whitened else
                 nn.Linear(4, 1, generator=Generator(2))).double()  # fmt: skip
        optimizer = optim.SGD(layer.parameters(), lr=rate)
        with np.errstate(all="ignore"):
            for _ in range(60):
                loss = F.mse_loss(layer(x), t)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        left[whitened] = min(left.get(whitened, np.inf), loss.item() if np.isfinite(loss.item()) else np.inf)
    assert left[True] < 1e-3 * left[False]


# Dropout and its kin


def test_dropouts_three_forms_have_one_mean(device: str) -> None:
    """Masks in training and their expectation at test time, or inverted masks: averaged over all masks, equal."""
    x, p = tg.Tensor(draw(0, 6), device=device), 0.3
    plain, inverted = nn.Dropout(p, inverted=False), nn.Dropout(p)
    means = {plain: 0.0, inverted: 0.0}
    for array, mask in masks(6, device):
        weight = np.prod(np.where(array, 1 - p, p))
        for layer in means:
            means[layer] += weight * layer(x, mask).numpy()
    np.testing.assert_allclose(means[plain], plain.eval()(x).numpy(), atol=1e-15)
    np.testing.assert_allclose(means[inverted], inverted.eval()(x).numpy(), atol=1e-15)
    np.testing.assert_allclose(means[plain], (1 - p) * means[inverted], atol=1e-15)
    assert repr(plain) == "Dropout(p=0.3, inverted=False)"


@pytest.mark.parametrize("p", [0.5, 0.3])
def test_with_one_hidden_layer_the_expectation_is_the_geometric_mean_of_all_nets(p: float, device: str) -> None:
    """Seed 002's rule: softmax of the expected hidden layer is the normalized geometric mean over all 2⁸ masks."""
    hidden, drop = nn.Linear(5, 8, generator=Generator(0)), nn.Dropout(p, inverted=False)
    out = nn.Linear(8, 3, generator=Generator(1))
    net = nn.Sequential(hidden, nn.Tanh(), drop, out, nn.LogSoftmax(-1)).double().to(device)
    x = tg.Tensor(3 * draw(0, 4, 5), device=device)
    logs = np.zeros((4, 3))
    for array, mask in masks(8, device):
        h = drop(tg.tanh(hidden(x)), tg.broadcast_to(mask, (4, 8)))
        logs += np.prod(np.where(array, 1 - p, p)) * F.log_softmax(out(h), -1).numpy()
    geometric = np.exp(logs) / np.exp(logs).sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(net.eval()(x).numpy()), geometric, rtol=0, atol=1e-12)
    arithmetic = np.exp(net.eval()(x).numpy()) - np.mean(
        [np.exp(F.log_softmax(out(tg.tanh(hidden(x)) * m), -1).numpy()) for _, m in masks(8, device)], axis=0
    )
    assert np.abs(arithmetic).max() > 1e-3  # which the arithmetic mean is not


def test_spatial_dropout_drops_whole_channels(device: str) -> None:
    for layer, shape in ((nn.Dropout1d(0.4, generator=Generator(0)), (50, 20, 3)),
                         (nn.Dropout2d(0.4, generator=Generator(0)), (50, 20, 2, 2)),
                         (nn.Dropout3d(0.4, generator=Generator(0)), (50, 20, 2, 1, 2))):  # fmt: skip
        y = layer(tg.ones(shape, device=device)).numpy().reshape(50, 20, -1)
        assert (y == y[:, :, :1]).all() and np.unique(y).tolist() == [0, np.float32(1 / 0.6)]
        assert 0.55 < (y > 0).mean() < 0.65
        assert layer(tg.ones(shape[1:], device=device)).shape == shape[1:]
        assert (layer.eval()(tg.ones(shape, device=device)).numpy() == 1).all()
        with pytest.raises(ShapeError, match=type(layer).__name__):
            layer.train()(tg.ones((3,)))


def test_alpha_dropout_keeps_mean_and_variance(device: str) -> None:
    x = tg.Tensor(draw(0, 400_000), device=device)
    y, mask = nn.AlphaDropout(0.2, generator=Generator(0))(x, return_mask=True)
    np.testing.assert_allclose([y.numpy().mean(), y.numpy().var()], [0, 1], atol=0.01)
    a = 1 / math.sqrt(0.8 * (1 + 0.2 * 1.7580993408473766**2))
    b = 0.2 * a * 1.7580993408473766
    want = a * np.where(mask.numpy(), x.numpy(), -1.7580993408473766) + b
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-10, atol=1e-12)
    assert nn.AlphaDropout(0.2).eval()(x) is x


def test_zoneout_keeps_old_states(device: str) -> None:
    new, old = leaf(draw(0, 2, 3), device), leaf(draw(1, 2, 3), device)
    mask = tg.Tensor(np.array([[True, False, True], [False, False, True]]), device=device)
    y = nn.Zoneout(0.4)(new, old, mask)
    holds(y, np.where(mask.numpy(), new.numpy(), old.numpy()))
    y.sum().backward()
    holds(old.grad, ~mask.numpy() * 1.0)
    holds(nn.Zoneout(0.4).eval()(new, old), 0.6 * new.numpy() + 0.4 * old.numpy())
    drawn = F.zoneout(tg.ones((10_000,)), tg.zeros((10_000,)), 0.4, generator=Generator(0)).numpy()
    assert 0.58 < drawn.mean() < 0.62
    with pytest.raises(DTypeError, match="booleans"):
        F.zoneout(new, old, mask=new)


def test_dropconnect_drops_connections(device: str) -> None:
    layer = nn.DropConnect(2, 3, 0.3, generator=Generator(0)).double().to(device)
    x = tg.Tensor(draw(0, 4, 2), device=device)
    W, b = layer.weight.numpy(), layer.bias.numpy()
    mean = 0.0
    for array, _ in masks(6):
        mask = tg.Tensor(array.reshape(3, 2), device=device)
        y = layer(x, mask)
        holds(y, x.numpy() @ (W * array.reshape(3, 2) / 0.7).T + b, tolerance=1e-13)
        mean = mean + np.prod(np.where(array, 0.7, 0.3)) * y.numpy()
    np.testing.assert_allclose(mean, layer.eval()(x).numpy(), atol=1e-14)
    own = np.random.default_rng(0).random((4, 3, 2)) < 0.5
    layer.train()
    holds(layer(x, tg.Tensor(own, device=device)), np.einsum("bi,boi->bo", x.numpy(), W * own / 0.7) + b)
    assert (layer(x).numpy() != layer(x).numpy()).any()


def test_shakeouts_mean_is_the_weight(device: str) -> None:
    """All masks of its inputs: −c sign W with probability τ, else (W + c τ sign W)/(1 − τ)."""
    tau, c = 0.4, 0.3
    layer = nn.Shakeout(3, 2, tau, c, generator=Generator(0)).double().to(device)
    W, b, x = layer.weight.numpy(), layer.bias.numpy(), draw(0, 1, 3)
    mean = 0.0
    for array, _ in masks(3):
        y = layer(tg.Tensor(x, device=device), tg.Tensor(array[None], device=device))
        shaken = np.where(array, (W + c * tau * np.sign(W)) / (1 - tau), -c * np.sign(W))
        holds(y, x @ shaken.T + b, tolerance=1e-13)
        mean = mean + np.prod(np.where(array, 1 - tau, tau)) * y.numpy()
    np.testing.assert_allclose(mean, layer.eval()(tg.Tensor(x, device=device)).numpy(), atol=1e-14)
    slide = (1 - tau) * (0.5 * W + 0.5 * c) + tau * -c  # the slide's rule, with α = ½
    assert np.abs(slide - W).max() > 0.1
    holds(F.shakeout(leaf(x), leaf(W), None, 0.4, 0.0, mask=tg.Tensor(np.array([[True, False, True]]))),
          F.dropout(leaf(x), 0.4, mask=tg.Tensor(np.array([[True, False, True]]))).numpy() @ W.T)  # fmt: skip


@pytest.mark.parametrize("multiplicative", [False, True])
def test_whiteouts_noise_is_that_of_its_connections(multiplicative: bool, device: str) -> None:
    """Its one number a unit has the variance of noise drawn for each connection, N(0, σ²|w|^(−γ) + λ)."""
    sigma, gamma, lambd = 0.4, 0.6, 0.2
    layer = nn.Whiteout(3, 2, sigma, gamma, lambd, multiplicative, generator=Generator(0)).double().to(device)
    x, W = draw(0, 3), layer.weight.numpy()
    y = layer(tg.Tensor(np.tile(x, (100_000, 1)), device=device)).numpy()
    e = np.random.default_rng(1).standard_normal((100_000, 2, 3)) * np.sqrt(sigma**2 * np.abs(W) ** -gamma + lambd)
    one_by_one = (W * (x * (1 + e) if multiplicative else x + e)).sum(-1) + layer.bias.numpy()
    np.testing.assert_allclose(y.mean(0), layer.eval()(tg.Tensor(x, device=device)).numpy(), atol=0.01)
    np.testing.assert_allclose(y.std(0), one_by_one.std(0), rtol=0.015)
    n = tg.Tensor(draw(2, 5, 2), device=device)
    tg.check(lambda x, w: F.whiteout(x, w, None, sigma, gamma, lambd, multiplicative, noise=n),
             tg.Tensor(draw(3, 5, 3), device=device), tg.Tensor(W, device=device))  # fmt: skip
    with pytest.raises(OptionError, match="gamma"):
        F.whiteout(tg.ones((2, 3)), tg.ones((2, 3)), gamma=3)


def test_gaussian_noise_and_dropout(device: str) -> None:
    x = tg.full((200_000,), 2.0, dtype=float, device=device)
    y = nn.GaussianNoise(0.3, generator=Generator(0))(x).numpy()
    np.testing.assert_allclose([y.mean(), y.std()], [2, 0.3], atol=0.003)
    y = nn.GaussianDropout(0.2, generator=Generator(0))(x).numpy()
    np.testing.assert_allclose([y.mean(), y.std()], [2, 2 * 0.5], atol=0.01)  # those of dropout: √(p/(1 − p))
    n = tg.Tensor(draw(0, 3), device=device)
    holds(F.gaussian_noise(x[:3], 0.5, noise=n), 2 + 0.5 * n.numpy())
    holds(F.gaussian_dropout(x[:3], 0.2, noise=n), 2 * (1 + 0.5 * n.numpy()))
    for layer in (nn.GaussianNoise(), nn.GaussianDropout()):
        assert layer.eval()(x) is x


@pytest.mark.parametrize(
    "make",
    [
        lambda g: nn.Dropout(generator=g), lambda g: nn.Dropout2d(generator=g), lambda g: nn.AlphaDropout(generator=g),
        lambda g: nn.GaussianNoise(generator=g), lambda g: nn.GaussianDropout(generator=g),
        lambda g: nn.NoisyReLU(generator=g), lambda g: nn.DropConnect(4, 2, generator=g),
        lambda g: nn.Shakeout(4, 2, generator=g), lambda g: nn.Whiteout(4, 2, generator=g),
    ],
)  # fmt: skip
def test_noise_comes_from_the_generator_alone(make: Any, device: str) -> None:
    x = tg.Tensor(draw(0, 3, 4, 4, 4), dtype=np.float32, device=device)
    first, second = (make(Generator(5)).to(device)(x) for _ in range(2))
    third = make(Generator(6)).to(device)(x)
    assert (first.numpy() == second.numpy()).all() and (first.numpy() != third.numpy()).any()
    assert first.dtype == np.float32 and first.device == x.device


def test_mixup(device: str) -> None:
    x, t = tg.Tensor(draw(0, 4, 3), device=device), tg.Tensor(np.array([0, 1, 2, 1]), device=device)
    mixed = F.mixup(x, t, share=0.7, order=tg.Tensor(np.array([1, 0, 3, 2]), device=device))
    holds(mixed.input, 0.7 * x.numpy() + 0.3 * x.numpy()[[1, 0, 3, 2]])
    assert mixed.first.numpy().tolist() == [0, 1, 2, 1] and mixed.second.numpy().tolist() == [1, 0, 1, 2]
    shares = [F.mixup(x, t, 0.2, generator=Generator(k)).share for k in range(400)]
    assert abs(np.mean(shares) - 0.5) < 0.06 and abs(np.var(shares) - 0.25 / 1.4) < 0.02  # those of Beta(0.2, 0.2)
    drawn = F.mixup(x, t, 1.0, generator=Generator(3))
    assert drawn.share == F.mixup(x, t, 1.0, generator=Generator(3)).share
    assert F.mixup(x, t, 0.0).share == 1.0


LAYERS = {
    "PReLU": lambda: nn.PReLU(6), "Maxout": lambda: nn.Maxout(5, 5), "NoisyReLU": nn.NoisyReLU,
    "BatchNorm1d": lambda: nn.BatchNorm1d(6), "InstanceNorm1d": lambda: nn.InstanceNorm1d(6, track_running_stats=True),
    "LayerNorm": lambda: nn.LayerNorm(5), "RMSNorm": lambda: nn.RMSNorm(5), "GroupNorm": lambda: nn.GroupNorm(2, 6),
    "LocalResponseNorm": lambda: nn.LocalResponseNorm(3), "Dropout1d": nn.Dropout1d, "AlphaDropout": nn.AlphaDropout,
    "GaussianNoise": nn.GaussianNoise, "GaussianDropout": nn.GaussianDropout, "Whiteout": lambda: nn.Whiteout(5, 5),
    "DropConnect": lambda: nn.DropConnect(5, 5), "Shakeout": lambda: nn.Shakeout(5, 5), "GELU": nn.GELU,
    "WhitenedLinear": lambda: nn.WhitenedLinear(5, 5), "weight_norm": lambda: utils.weight_norm(nn.Linear(5, 5)),
    "CELU": lambda: nn.CELU(0.5), "Hardswish": nn.Hardswish, "Softshrink": nn.Softshrink, "GLU": lambda: nn.GLU(1),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_float32_stays_and_shapes_are_known_without_numbers(name: str, device: str) -> None:
    layer = LAYERS[name]().to(device)
    x = tg.Tensor(draw(0, 4, 6, 5), requires_grad=True, dtype=np.float32, device=device)
    y = layer(x)
    y.sum().backward()
    for tensor in (y, x.grad, *(p.grad for p in layer.parameters())):
        assert tensor.dtype == np.float32
    shapes = nn.summary(LAYERS[name](), (4, 6, 5), training=True)
    assert " × ".join(map(str, y.shape)) in str(shapes) or str(list(y.shape)) in str(shapes), str(shapes)


# Penalties


def test_penalties_of_weights_or_of_all(device: str) -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)).double().to(device)
    weights = [net[0].weight.numpy(), net[2].weight.numpy()]
    rest = [net[0].bias.numpy(), net[1].weight.numpy(), net[1].bias.numpy(), net[2].bias.numpy()]
    assert utils.l1_penalty(net).item() == pytest.approx(sum(np.abs(w).sum() for w in weights))
    assert utils.l2_penalty(net).item() == pytest.approx(sum((w**2).sum() / 2 for w in weights))
    assert utils.l1_penalty(net, weights_only=False).item() == pytest.approx(
        sum(np.abs(w).sum() for w in weights + rest)
    )  # fmt: skip
    (0.1 * utils.l2_penalty(net)).backward()
    holds(net[0].weight.grad, 0.1 * weights[0])
    assert net[0].bias.grad is None and net[1].weight.grad is None
    with pytest.raises(OptionError, match="nothing to penalize"):
        utils.l1_penalty([net[0].bias])


def test_l2_is_weight_decay_and_l1_moves_towards_0(device: str) -> None:
    """The slide's + α λ/m sign w makes weights grow; the gradient step subtracts it."""
    w = draw(0, 3, 2)
    found = {}
    for kind in ("decay", "l2", "l1"):
        p = nn.Parameter(w, device=device)
        optimizer = optim.SGD([p], lr=0.1, weight_decay=0.3 if kind == "decay" else 0.0)
        loss = (p * 0.0).sum()
        if kind != "decay":
            loss = loss + 0.3 * {"l2": utils.l2_penalty, "l1": utils.l1_penalty}[kind](p)
        loss.backward()
        optimizer.step()
        found[kind] = p.numpy()
    np.testing.assert_allclose(found["decay"], found["l2"], rtol=1e-14)
    np.testing.assert_allclose(found["l1"], w - 0.03 * np.sign(w), rtol=1e-14)
    slide = w + 0.03 * np.sign(w)
    assert np.abs(found["l1"]).sum() < np.abs(w).sum() < np.abs(slide).sum()
