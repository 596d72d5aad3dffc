"""Layers, losses and initial values against NumPy written out by hand from PyTorch's documented formulas."""

from __future__ import annotations

import copy
import math
import pickle
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from support import holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, nn, viz
from tinygrad_mlsp.errors import DeviceError, DTypeError, Error, GraphError, IndexingError, OptionError, ShapeError
from tinygrad_mlsp.nn import functional as F
from tinygrad_mlsp.nn import init
from tinygrad_mlsp.random import Generator
from tinygrad_mlsp.tensor import _observer


def draw(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def fill(module: nn.Module, seed: int = 0) -> nn.Module:
    """Normal values in all parameters, the same on every device."""
    for i, p in enumerate(module.parameters()):
        p.copy_(0.5 * draw(seed + i, *p.shape))
    return module


def numeric(f: Any, x: Any, h: float = 1e-5) -> Any:
    """∂f/∂x of a number f, by central differences."""
    g = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[i] = h
        g[i] = (f(x + step) - f(x - step)) / (2 * h)
    return g


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def log_softmax(x: Any, axis: int = -1) -> Any:
    x = x - x.max(axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


# Module


class Net(nn.Module):
    def __init__(self) -> None:
        self.first = nn.Linear(3, 4)
        self.scale = nn.Parameter([2.0])
        self.register_buffer("seen", tg.zeros((2,)))
        self.register_buffer("scratch", tg.ones((1,)), persistent=False)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.rest(self.first(x)) * self.scale


def test_parameters_modules_and_buffers_are_found_in_order() -> None:
    net = Net()
    assert [n for n, _ in net.named_parameters()] == ["scale", "first.weight", "first.bias", "rest.1.weight"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "rest", "rest.0", "rest.1"]
    assert [n for n, _ in net.named_children()] == ["first", "rest"]
    assert [n for n, _ in net.named_buffers()] == ["seen", "scratch"]
    assert list(net.state_dict()) == ["scale", "seen", "first.weight", "first.bias", "rest.1.weight"]
    assert [n for n, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [n for n, _ in net.named_parameters("net")] == [
        "net.scale",
        "net.first.weight",
        "net.first.bias",
        "net.rest.1.weight",
    ]
    assert net.get_submodule("rest.1") is net.rest[1]
    assert net.get_parameter("rest.1.weight") is net.rest[1].weight
    with pytest.raises(OptionError, match=r"no module 'rest\.9'"):
        net.get_submodule("rest.9")
    with pytest.raises(OptionError, match="no parameter 'seen'"):
        net.get_parameter("seen")
    assert all(p.requires_grad and isinstance(p, nn.Parameter) for p in net.parameters())


def test_a_shared_module_counts_once_and_is_saved_under_both_names() -> None:
    act, layer = nn.ReLU(), nn.Linear(2, 2)
    net = nn.Sequential(layer, act, layer, act)
    assert len(list(net.parameters())) == 2 and len(list(net.modules())) == 3 and len(net) == 4
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    net.load_state_dict(net.state_dict())


def test_repr_reads_like_pytorchs() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(2), nn.LeakyReLU(0.2)), nn.Dropout(0.1))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=3, out_features=2, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): BatchNorm1d(2, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)\n"
        "    (1): LeakyReLU(negative_slope=0.2)\n"
        "  )\n"
        "  (2): Dropout(p=0.1)\n"
        ")"
    )
    assert repr(nn.LSTM(3, 4, num_layers=2, batch_first=True)) == "LSTM(3, 4, num_layers=2, batch_first=True)"
    assert repr(nn.RNNCell(2, 3, bias=False, nonlinearity="relu")) == "RNNCell(2, 3, bias=False, nonlinearity=relu)"
    assert repr(nn.RNN(2, 3)) == "RNN(2, 3)" and repr(nn.Tanh()) == "Tanh()"


def test_modes_zero_grad_freezing_and_apply() -> None:
    net = Net()
    assert net.training and not net.eval().rest[0].training and net.train().rest[0].training
    net(tg.ones((1, 3))).sum().backward()
    assert net.scale.grad is not None
    net.zero_grad(set_to_none=False)
    holds(net.scale.grad, [0.0])
    net.zero_grad()
    assert net.scale.grad is None
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    assert not net(tg.ones((1, 3))).requires_grad
    seen: list[nn.Module] = []
    net.apply(seen.append)
    assert seen[-1] is net and len(seen) == 5


def test_assignment_that_would_lose_a_parameter_is_refused() -> None:
    net = Net()
    with pytest.raises(DTypeError, match=r"Net.scale is a Parameter.*copy_"):
        net.scale = net.scale * 2
    with pytest.raises(DTypeError, match="seen is a buffer"):
        net.seen = 3
    net.scale = nn.Parameter([5.0])
    net.seen = tg.ones((2,))
    assert [n for n, _ in net.named_buffers()] == ["seen", "scratch"]
    with pytest.raises(OptionError, match="dotted"):
        net.register_parameter("a.b", nn.Parameter([1.0]))
    with pytest.raises(OptionError, match="'forward' cannot name a buffer"):
        net.register_buffer("forward", tg.ones(()))
    with pytest.raises(DTypeError, match="a parameter is a Parameter or None, not Tensor"):
        net.register_parameter("p", tg.ones(()))
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(1)


def test_state_is_a_copy_and_loads_all_or_nothing() -> None:
    net, other = fill(Net(), 0), fill(Net(), 10)
    state = net.state_dict()
    before = {k: v.numpy().copy() for k, v in state.items()}
    net.scale.copy_([9.0])
    holds(state["scale"], before["scale"])
    assert other.load_state_dict(state) == ([], [])
    for k, v in other.state_dict().items():
        np.testing.assert_array_equal(v.numpy(), before[k])

    fill(other, 20)
    kept = other.state_dict()
    wrong = {**state, "first.weight": np.zeros((7, 3)), "nonsense": np.zeros(1)}
    del wrong["scale"]
    with pytest.raises(OptionError) as caught:
        other.load_state_dict(wrong)
    for part in (
        "missing: scale",
        "unexpected: nonsense",
        "first.weight is [4, 3], loaded [7, 3]",
        "nothing was loaded",
    ):
        assert part in str(caught.value)
    for k, v in other.state_dict().items():
        np.testing.assert_array_equal(v.numpy(), kept[k].numpy())
    with pytest.raises(ShapeError, match=r"first.weight is \[4, 3\], loaded \[3\]"):
        other.load_state_dict({**state, "first.weight": np.zeros(3)}, strict=False)
    found = other.load_state_dict({"scale": [4.0], "nonsense": 1}, strict=False)
    assert found.unexpected_keys == ["nonsense"] and "seen" in found.missing_keys
    holds(other.scale, [4.0])
    assert isinstance(other.scale, nn.Parameter) and other.scale.requires_grad


def test_a_module_inside_itself_is_an_error_not_a_hang() -> None:
    net = nn.Sequential(nn.ReLU())
    net.register_module("self", net)
    with pytest.raises(OptionError, match="inside itself"):
        net.state_dict()


def test_moving_changes_dtype_and_device_in_place(device: str) -> None:
    net = Net()
    weight = net.first.weight
    net(tg.ones((2, 3))).sum().backward()
    net.register_buffer("count", tg.zeros((), np.int64))
    assert net.to(device, np.float64) is net and net.first.weight is weight
    assert weight.dtype == np.float64 and weight.grad.dtype == np.float64 and net.seen.dtype == np.float64
    assert net.count.dtype == np.int64
    assert weight.device.startswith(device) and weight.grad.device.startswith(device)
    y = net(tg.ones((2, 3), np.float64, device))
    y.sum().backward()
    assert net.float().first.weight.dtype == np.float32 and net.double().scale.dtype == np.float64
    assert net.to(np.float32).scale.dtype == np.float32
    with pytest.raises(DTypeError, match="floating-point"):
        net.to(dtype=np.int32)
    with pytest.raises(DeviceError):
        net.to("nowhere")


def test_copies_and_pickles_are_whole_and_apart() -> None:
    net = nn.Sequential(
        Net(),
        nn.BatchNorm1d(2),
        nn.Highway(2, depth=5),
        nn.DenseBlock(2, 1, 2),
        nn.Dropout(0.2, generator=Generator(3)),
    )
    net.add_module("cell", nn.RNNCell(2, 3, nonlinearity="relu"))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(twin) == repr(net)
        assert {k: v.tolist() for k, v in twin.state_dict().items()} == {
            k: v.tolist() for k, v in net.state_dict().items()
        }
        assert all(type(p) is nn.Parameter and p.requires_grad for p in twin.parameters())
        assert twin[4].generator.state_dict() == net[4].generator.state_dict()
        before = net[0].scale.tolist()
        twin[0].scale.copy_([7.0])
        assert net[0].scale.tolist() == before
    assert isinstance(copy.deepcopy(net)[0].seen, tg.Tensor)


def test_modules_and_time_steps_tell_the_tracer() -> None:
    told: list[str] = []

    class Tracer:
        @contextmanager
        def module(self, module: nn.Module) -> Any:
            told.append(type(module).__name__)
            yield
            told.append("/" + type(module).__name__)

        @contextmanager
        def step(self, label: str) -> Any:
            told.append(label)
            yield
            told.append("/" + label)

    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    token = _observer.set(Tracer())
    try:
        net(tg.ones((1, 1)))
        nn.RNN(1, 1)(tg.ones((2, 1, 1)))
    finally:
        _observer.reset(token)
    assert told == [
        "Sequential",
        "Linear",
        "/Linear",
        "ReLU",
        "/ReLU",
        "/Sequential",
        "RNN",
        "t=1",
        "/t=1",
        "t=2",
        "/t=2",
        "/RNN",
    ]


def test_containers_behave_like_lists() -> None:
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    net = nn.Sequential(a, b)
    assert net[0] is a and net[-1] is b and len(net) == 2 and list(net) == [a, b]
    assert list(net.append(c)[1:]) == [b, c] and isinstance(net[1:], nn.Sequential)
    net[0] = c
    assert list(net) == [c, b, c]
    with pytest.raises(IndexingError, match="no module 5, there are 3"):
        net[5]
    named = nn.Sequential({"in": nn.Linear(2, 3), "act": nn.Tanh()})
    assert list(named.state_dict()) == ["in.weight", "in.bias"]
    layers = nn.ModuleList(nn.Linear(1, 1) for _ in range(2)).extend([nn.Linear(1, 2)])
    assert len(list(layers.parameters())) == 6
    with pytest.raises(NotImplementedError):
        layers(1)


# Random numbers and initial values


def test_the_generator_is_its_key_and_counter(device: str) -> None:
    g = Generator(42)
    assert g.bits(2).tolist() == np.random.Philox(key=42, counter=0).random_raw(2).tolist()
    g.uniform((3, 5))
    state = g.state_dict()
    rest = [
        g.uniform((7,), device=device),
        g.bernoulli(0.3, (2, 9), device),
        g.normal((5,), device=device),
        g.permutation(6),
    ]
    assert state.keys() == {"key", "counter"} and g.state_dict() != state
    for twin in (Generator(1), pickle.loads(pickle.dumps(g)), copy.deepcopy(g)):
        twin.load_state_dict(state)
        again = [twin.uniform((7,)), twin.bernoulli(0.3, (2, 9)), twin.normal((5,)), twin.permutation(6)]
        for x, y in zip(rest, again, strict=True):
            assert x.dtype == y.dtype and tg.Tensor(x).tolist() == y.tolist()
    for wrong in (-1, 1 << 128, 1.5, "seed"):
        with pytest.raises(OptionError, match="seed must be a whole number"):
            Generator(wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="a key and a counter"):
        g.load_state_dict({"key": 3})
    with pytest.raises(DTypeError, match="not int64"):
        g.uniform((2,), dtype=np.int64)


def test_distributions() -> None:
    g, n = Generator(0), 200_000
    for dtype in (np.float32, np.float64):
        u = g.uniform((n,), -1.0, 3.0, dtype)
        assert (
            u.dtype == dtype
            and u.min() >= -1
            and u.max() < 3
            and abs(u.mean() - 1) < 0.02
            and abs(u.var() - 16 / 12) < 0.02
        )
        z = g.normal((n,), 2.0, 3.0, dtype)
        assert z.dtype == dtype and abs(z.mean() - 2) < 0.03 and abs(z.std() - 3) < 0.03
        assert abs(((z - 2) ** 4).mean() / 81 - 3) < 0.1
    assert abs(g.bernoulli(0.2, (n,)).mean() - 0.2) < 0.01
    assert not g.bernoulli(0.0, (100,)).any() and g.bernoulli(1.0, (100,)).all()
    assert g.uniform().shape == () and g.normal((0, 3)).shape == (0, 3) and g.uniform(3).shape == (3,)
    assert sorted(g.permutation(50).tolist()) == list(range(50))
    a, b = g.spawn(2)
    assert a.key != b.key and a.counter == 0 and not np.array_equal(a.bits(8), b.bits(8))
    with pytest.raises(OptionError, match="probability"):
        g.bernoulli(1.5)


def test_the_default_generator_starts_anew_from_a_seed() -> None:
    tg.manual_seed(5)
    one = nn.Linear(3, 3).weight.tolist()
    assert tg.manual_seed(5) is tg.manual_seed(5)
    assert nn.Linear(3, 3).weight.tolist() == one == nn.Linear(3, 3, generator=Generator(5)).weight.tolist()
    assert nn.Linear(3, 3).weight.tolist() != one
    assert Generator().key != Generator().key


@pytest.mark.parametrize(
    ("name", "options", "std"),
    [
        ("xavier_normal_", {"gain": 2.0}, 2 * math.sqrt(2 / 500)),
        ("xavier_uniform_", {}, math.sqrt(2 / 500)),
        ("kaiming_normal_", {"nonlinearity": "relu"}, math.sqrt(2 / 200)),
        ("kaiming_normal_", {"mode": "fan_out", "a": 1.0}, math.sqrt(1 / 300)),
        ("kaiming_uniform_", {"nonlinearity": "tanh"}, 5 / 3 / math.sqrt(200)),
        ("kaiming_uniform_", {"a": math.sqrt(5)}, math.sqrt(1 / 3 / 200)),
        ("scaled_normal_", {}, 1 / math.sqrt(200)),
        ("normal_", {"std": 0.3}, 0.3),
        ("uniform_", {"a": -1.0, "b": 1.0}, math.sqrt(1 / 3)),
    ],
)
def test_initial_values_have_their_variance(name: str, options: dict[str, Any], std: float, device: str) -> None:
    weight = nn.Parameter(tg.zeros((300, 200), device=device))
    assert getattr(init, name)(weight, **options, generator=Generator(1)) is weight and weight.requires_grad
    values = weight.numpy()
    assert abs(values.std() / std - 1) < 0.02 and abs(values.mean()) < 4 * std / math.sqrt(60_000)
    if "uniform" in name:
        assert abs(np.abs(values).max() / (std * math.sqrt(3)) - 1) < 0.01
    assert getattr(init, name)(tg.zeros((300, 200)), **options, generator=Generator(1)).tolist() == weight.tolist()


def test_orthogonal_constant_and_gains(device: str) -> None:
    tall, wide = (tg.zeros(s, np.float64, device) for s in ((6, 4), (3, 2, 4)))
    q = init.orthogonal_(tall, 2.0, Generator(0)).numpy()
    np.testing.assert_allclose(q.T @ q, 4 * np.eye(4), atol=1e-12)
    q = init.orthogonal_(wide, generator=Generator(0)).numpy().reshape(3, 8)
    np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-12)
    holds(init.constant_(tall, 3.0), np.full((6, 4), 3.0))
    holds(init.zeros_(tall), np.zeros((6, 4)))
    holds(init.ones_(tall), np.ones((6, 4)))
    assert init.calculate_gain("relu") == math.sqrt(2) and init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("leaky_relu", 1.0) == 1 and init.calculate_gain("leaky_relu") == math.sqrt(2 / 1.0001)
    with pytest.raises(OptionError, match="no nonlinearity 'rulu'"):
        init.calculate_gain("rulu")
    with pytest.raises(OptionError, match="'fan_in' or 'fan_out'"):
        init.kaiming_normal_(tall, mode="fan")
    for function in (init.xavier_normal_, init.orthogonal_):
        with pytest.raises(ShapeError, match="two dimensions"):
            function(tg.zeros((3,)))


# Layers


def test_linear(device: str) -> None:
    layer = fill(nn.Linear(3, 2, device=device, dtype=np.float64))
    x = maker(device)(draw(9, 5, 4, 3), True)
    w, b = layer.weight.numpy(), layer.bias.numpy()
    y = layer(x)
    holds(y, x.numpy() @ w.T + b, np.float64, 1e-12)
    u = draw(8, 5, 4, 2)
    y.backward(u)
    holds(x.grad, u @ w, tolerance=1e-12)
    holds(layer.weight.grad, np.einsum("abi,abj->ij", u, x.numpy()), tolerance=1e-12)
    holds(layer.bias.grad, u.sum((0, 1)), tolerance=1e-12)
    plain = nn.Linear(3, 2, bias=False)
    assert plain.bias is None and list(plain.state_dict()) == ["weight"]
    holds(plain(tg.ones((3,))), plain.weight.numpy().sum(1))
    bounds = nn.Linear(400, 300, generator=Generator(0))
    for p in bounds.parameters():
        assert (
            p.dtype == np.float32
            and np.abs(p.numpy()).max() <= 1 / 20
            and abs(p.numpy().std() * 20 * math.sqrt(3) - 1) < 0.1
        )
    assert nn.Linear(0, 2)(tg.ones((4, 0))).shape == (4, 2)
    with pytest.raises(ShapeError, match=r"linear.*4 features.*3"):
        nn.Linear(3, 2)(tg.ones((1, 4)))


@pytest.mark.parametrize(
    ("module", "formula"),
    [
        (nn.Sigmoid(), sigmoid),
        (nn.Tanh(), np.tanh),
        (nn.ReLU(), lambda x: np.maximum(x, 0)),
        (nn.LeakyReLU(0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
        (nn.ELU(2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
        (nn.Softplus(), lambda x: np.log1p(np.exp(x))),
        (nn.Softplus(3.0), lambda x: np.log1p(np.exp(3 * x)) / 3),
        (nn.LogSigmoid(), lambda x: np.log(sigmoid(x))),
        (nn.Softmax(-1), lambda x: np.exp(log_softmax(x))),
        (nn.Softmax(dim=0), lambda x: np.exp(log_softmax(x, 0))),
        (nn.LogSoftmax(1), lambda x: log_softmax(x, 1)),
        (nn.Identity(3, any=True), lambda x: x),
    ],
    ids=repr,
)
def test_activations(module: nn.Module, formula: Any, device: str) -> None:
    x = draw(0, 4, 3)
    holds(module(maker(device)(x)), formula(x), np.float64, 1e-12)
    assert list(module.state_dict()) == []


def test_dropout_masks_are_drawn_passed_and_returned(device: str) -> None:
    layer = nn.Dropout(0.25, generator=Generator(0))
    x = maker(device)(draw(0, 100, 50), True)
    y, mask = layer(x, return_mask=True)
    assert mask.dtype == bool and mask.device == x.device and abs(float(mask.numpy().mean()) - 0.75) < 0.03
    holds(y, np.where(mask.numpy(), x.numpy() / 0.75, 0), np.float64, 1e-12)
    y.sum().backward()
    holds(x.grad, mask.numpy() / 0.75)
    holds(layer(x, mask), y.numpy())
    holds(F.dropout(x, 0.25, mask=mask), y.numpy())
    assert layer(x).tolist() != y.tolist()  # each call draws its own
    twin = nn.Dropout(0.25, generator=Generator(0))
    assert twin.draw((100, 50), device).tolist() == mask.tolist()
    layer.eval()
    assert layer(x) is x and layer(x, mask) is x and layer(x, return_mask=True) == (x, None)
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 0.0) is x
    holds(F.dropout(x, 1.0), np.zeros((100, 50)))
    y, mask = nn.Dropout(0.0)(x, return_mask=True)
    assert mask.numpy().all() and y.tolist() == x.tolist()
    assert F.dropout(tg.ones((3,), device=device)).dtype == np.float32
    with pytest.raises(OptionError, match="from 0 to 1"):
        nn.Dropout(1.5)
    with pytest.raises(DTypeError, match="booleans"):
        F.dropout(x, 0.5, mask=tg.ones((100, 50)))


def test_batch_norm_in_training_and_evaluation(device: str) -> None:
    x, u = draw(0, 6, 3) * 2 + 1, draw(1, 6, 3)
    layer = fill(nn.BatchNorm1d(3, eps=1e-3, momentum=0.2, device=device, dtype=np.float64), 5)
    w, b = layer.weight.numpy(), layer.bias.numpy()

    def forward(x: Any, w: Any, b: Any) -> Any:
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3) * w + b

    t = maker(device)(x, True)
    y = layer(t)
    holds(y, forward(x, w, b), np.float64, 1e-12)
    y.backward(u)
    holds(t.grad, numeric(lambda x: (u * forward(x, w, b)).sum(), x), tolerance=1e-7)
    holds(layer.weight.grad, (u * (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)).sum(0), tolerance=1e-12)
    holds(layer.bias.grad, u.sum(0), tolerance=1e-12)
    mean, var = 0.2 * x.mean(0), 0.8 + 0.2 * x.var(0, ddof=1)
    holds(layer.running_mean, mean, tolerance=1e-12)
    holds(layer.running_var, var, tolerance=1e-12)
    assert int(layer.num_batches_tracked) == 1

    layer.eval()
    t = maker(device)(x, True)
    y = layer(t)
    holds(y, (x - mean) / np.sqrt(var + 1e-3) * w + b, np.float64, 1e-12)
    y.backward(u)
    holds(t.grad, u * w / np.sqrt(var + 1e-3), tolerance=1e-12)
    holds(layer.running_mean, mean, tolerance=1e-12)
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    layer.reset_parameters()
    assert (
        layer.weight.tolist() == [1, 1, 1]
        and layer.running_var.tolist() == [1, 1, 1]
        and int(layer.num_batches_tracked) == 0
    )


def test_batch_norm_of_sequences_and_without_options(device: str) -> None:
    make, x = maker(device), draw(0, 4, 3, 5)
    y = nn.BatchNorm1d(3, device=device, dtype=np.float64)
    centred = (x - x.mean((0, 2), keepdims=True)) / np.sqrt(x.var((0, 2), keepdims=True) + 1e-5)
    holds(y(make(x)), centred, tolerance=1e-12)
    n = 20
    holds(y.running_var, 0.9 + 0.1 * x.var((0, 2)) * n / (n - 1), tolerance=1e-12)
    holds(
        y.eval()(make(x)),
        (x - y.running_mean.numpy()[:, None]) / np.sqrt(y.running_var.numpy()[:, None] + 1e-5),
        tolerance=1e-12,
    )

    bare = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert list(bare.state_dict()) == [] and list(bare.parameters()) == []
    assert nn.BatchNorm1d(3, bias=False).bias is None
    holds(bare.to(device).eval()(make(x)), centred, tolerance=1e-12)

    average = nn.BatchNorm1d(3, momentum=None, device=device, dtype=np.float64)
    first, second = draw(1, 4, 3), draw(2, 8, 3)
    average(make(first)), average(make(second))
    holds(average.running_mean, (first.mean(0) + second.mean(0)) / 2, tolerance=1e-12)
    one = nn.BatchNorm1d(3, device=device)
    assert one(tg.ones((2, 3), device=device)).dtype == np.float32 and one.running_var.dtype == np.float32

    with pytest.raises(ShapeError, match="more than one value a channel"):
        one(tg.ones((1, 3), device=device))
    with pytest.raises(ShapeError, match=r"BatchNorm1d\(3\).*\[2, 4\]"):
        one(tg.ones((2, 4), device=device))
    with pytest.raises(OptionError, match="needs running_mean"):
        F.batch_norm(make(first), None, None)


def test_batch_norm_replaces_its_running_statistics(device: str) -> None:
    layer, x = nn.BatchNorm1d(2, device=device), maker(device)([[1.0, 2.0], [3.0, 5.0]], True)
    old = layer.running_mean.data
    y = layer.eval()(x)
    layer.train()(x)
    assert layer.running_mean.data is not old and old.tolist() == [0, 0]
    y.sum().backward()  # its graph saved the old ones
    assert isinstance(layer.running_mean, tg.Tensor)


def test_a_batch_norm_graph_can_be_differentiated_twice(device: str) -> None:
    layer = nn.BatchNorm1d(2, dtype=np.float64, device=device)
    x, v = draw(0, 4, 2), draw(1, 4, 2)

    def loss(t: tg.Tensor) -> tg.Tensor:
        return (layer(t) ** 3).sum()

    def gradient(x: Any) -> Any:
        return tg.grad(loss)(maker(device)(x)).numpy()

    holds(
        tg.hvp(loss, maker(device)(x), maker(device)(v)),
        (gradient(x + 1e-5 * v) - gradient(x - 1e-5 * v)) / 2e-5,
        tolerance=1e-6,
    )


# Losses


def reference_cross_entropy(
    x: Any, target: Any, weight: Any = None, ignore: int = -100, how: str = "mean", smooth: float = 0.0
) -> Any:
    """PyTorch's documented formula, classes on axis 1."""
    classes = x.shape[1]
    logp = np.moveaxis(log_softmax(x, 1), 1, -1).reshape(-1, classes)
    w = np.ones(classes) if weight is None else weight
    if target.dtype.kind == "f":
        t = np.moveaxis(target, 1, -1).reshape(-1, classes) * (1 - smooth) + smooth / classes
        losses, shares = -(w * t * logp).sum(1), np.ones(len(logp))
    else:
        t = target.reshape(-1)
        keep = t != ignore
        safe = np.where(keep, t, 0)
        shares = w[safe] * keep
        losses = -(1 - smooth) * logp[np.arange(len(t)), safe] * shares - smooth / classes * (logp * w).sum(1) * keep
    if how == "none":
        return losses.reshape(x.shape[:1] + x.shape[2:])
    return losses.sum() / (shares.sum() if how == "mean" else 1)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", ["classes", "ignored", "ignore 1", "soft"])
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 2, 2)])
def test_cross_entropy(shape: Any, form: str, weighted: bool, smoothing: float, reduction: str, device: str) -> None:
    make, x = maker(device), 2 * draw(0, *shape)
    target: Any = np.random.default_rng(1).integers(0, 4, shape[:1] + shape[2:])
    ignore = {"ignore 1": 1}.get(form, -100)
    if form == "ignored":
        target[0] = -100
    if form == "soft":
        target = np.exp(log_softmax(draw(2, *shape), 1))
    weight = np.array([0.5, 1.0, 2.0, 3.0]) if weighted else None
    t = make(x, True)
    w = None if weight is None else make(weight)
    loss = F.cross_entropy(t, make(target), w, ignore_index=ignore, reduction=reduction, label_smoothing=smoothing)

    def expected(x: Any) -> Any:
        return reference_cross_entropy(x, target, weight, ignore, reduction, smoothing)

    holds(loss, expected(x), np.float64, 1e-12)
    u = np.asarray(draw(3, *loss.shape))
    loss.backward(u)
    holds(t.grad, numeric(lambda x: float((u * expected(x)).sum()), x), tolerance=1e-7)
    module = nn.CrossEntropyLoss(w, ignore_index=ignore, reduction=reduction, label_smoothing=smoothing)
    holds(module(make(x), make(target)), loss.numpy())


def test_cross_entropy_of_one_sample_in_float32(device: str) -> None:
    x = maker(device)([1.0, 2.0, 3.0], True)
    loss = F.cross_entropy(x, maker(device)(2))
    assert loss.shape == () and loss.dtype == np.float32
    loss.backward()
    holds(x.grad, np.exp(log_softmax(x.numpy())) - [0, 0, 1])
    assert F.cross_entropy(x, maker(device)([0.0, 0.5, 0.5])).dtype == np.float32
    large = maker(device)([[1e4, -1e4], [-1e4, 1e4]], True)
    holds(F.cross_entropy(large, maker(device)([0, 0])), 1e4)
    assert F.cross_entropy(maker(device)([[1.0, 2.0]]), np.array([0], np.uint8)).shape == ()


def test_cross_entropy_says_what_is_wrong(device: str) -> None:
    x = maker(device)(draw(0, 4, 3))
    for loss in (F.cross_entropy, F.nll_loss):
        with pytest.raises(IndexingError, match=f"{loss.__name__}: the target has class 3; classes are 0 to 2"):
            loss(x, maker(device)([0, 1, 2, 3]))
        with pytest.raises(IndexingError, match=f"{loss.__name__}: the target has class -1; classes are 0 to 2"):
            loss(x, maker(device)([0, 1, -1, 2]))
        with pytest.raises(ShapeError, match=r"\[4\] class numbers or \[4, 3\] probabilities, got \[5\]"):
            loss(x, maker(device)([0, 1, 2, 0, 0]))
        with pytest.raises(ShapeError, match="class numbers must be integers, these are float32"):
            loss(x, maker(device)([0.0, 1.0, 2.0, 0.0]))
        with pytest.raises(DTypeError, match="not bool"):
            loss(x, maker(device)([True, False, True, True]))
        with pytest.raises(OptionError, match="'mean', 'sum' or 'none', not 'average'"):
            loss(x, maker(device)([0, 1, 2, 0]), reduction="average")
        with pytest.raises(ShapeError, match=r"weight has shape \[2\], the input has 3 classes"):
            loss(x, maker(device)([0, 1, 2, 0]), maker(device)([1.0, 2.0]))
        with pytest.raises(ShapeError, match="no axis of classes"):
            loss(maker(device)(1.0), maker(device)(0))
    with pytest.raises(DTypeError, match="class numbers"):
        F.nll_loss(x, x)
    with pytest.raises(OptionError, match="label_smoothing"):
        F.cross_entropy(x, maker(device)([0, 1, 2, 0]), label_smoothing=2.0)
    with pytest.raises(OptionError, match="ignore_index=1"):
        F.cross_entropy(x, x, ignore_index=1)


def test_other_losses(device: str) -> None:
    make, x, t = maker(device), draw(0, 5, 3), draw(1, 5, 3)
    labels, weight = np.array([0, 2, 1, -100, 2]), np.array([1.0, 2.0, 0.5])
    keep = labels >= 0
    picked, shares = -x[np.arange(5), labels * keep], weight[labels * keep] * keep
    holds(F.nll_loss(make(x), make(labels), make(weight)), (picked * shares).sum() / shares.sum(), tolerance=1e-12)
    holds(nn.NLLLoss(reduction="sum")(make(x), make(labels)), (picked * keep).sum(), tolerance=1e-12)
    holds(F.mse_loss(make(x), make(t)), ((x - t) ** 2).mean(), tolerance=1e-12)
    holds(nn.MSELoss(reduction="none")(make(x), t), (x - t) ** 2, tolerance=1e-12)
    p = sigmoid(t)
    bce = -p * np.log(sigmoid(x)) - (1 - p) * np.log(sigmoid(-x))
    holds(F.binary_cross_entropy_with_logits(make(x), make(p)), bce.mean(), tolerance=1e-12)
    holds(nn.BCEWithLogitsLoss(make(weight), reduction="sum")(make(x), make(p)), (bce * weight).sum(), tolerance=1e-12)
    positive = -3 * p * np.log(sigmoid(x)) - (1 - p) * np.log(sigmoid(-x))
    module = nn.BCEWithLogitsLoss(pos_weight=make(np.full(3, 3.0)))
    holds(module(make(x), make(p)), positive.mean(), tolerance=1e-12)
    assert list(module.state_dict()) == ["pos_weight"]
    holds(F.binary_cross_entropy_with_logits(make([-100.0, 100.0]), make([0.0, 1.0])), 0.0)
    assert F.mse_loss(make([1.0, 2.0]), make([1, 2])).dtype == np.float32
    for loss in (F.mse_loss, F.binary_cross_entropy_with_logits):
        with pytest.raises(ShapeError, match=rf"{loss.__name__}: the target has shape \[5\], the input \[5, 1\]"):
            loss(make(x[:, :1]), make(t[:, 0]))
        with pytest.raises(OptionError, match="reduction"):
            loss(make(x), make(t), reduction="all")


def test_clipping_keeps_the_direction(device: str) -> None:
    a, b, c = (maker(device)(np.zeros(2, np.float32), True) for _ in range(3))
    a.grad, b.grad = [3.0, 0.0], [0.0, 4.0]
    total = nn.utils.clip_grad_norm_([a, b, c], 1.0)
    assert float(total) == 5 and c.grad is None and a.grad.dtype == np.float32
    holds(a.grad, [0.6, 0], tolerance=1e-5)
    holds(b.grad, [0, 0.8], tolerance=1e-5)
    assert abs(float(nn.utils.clip_grad_norm_([a, b], 10.0)) - 1) < 1e-5
    holds(a.grad, [0.6, 0], tolerance=1e-5)
    assert abs(float(nn.utils.clip_grad_norm_(a, 1.0, float("inf"))) - 0.6) < 1e-5
    assert abs(float(nn.utils.clip_grad_norm_([a, b], 9.0, 1)) - 1.4) < 1e-5
    a.grad = [1e30, 1e30]  # squares that float32 cannot hold
    assert abs(float(nn.utils.clip_grad_norm_(a, 1.0)) / 1.4142136e30 - 1) < 1e-5
    holds(a.grad, [math.sqrt(0.5)] * 2, tolerance=1e-5)
    a.grad = [math.inf, 0.0]
    with pytest.raises(GraphError, match="norm of the gradients is inf"):
        nn.utils.clip_grad_norm_(a, 1.0, error_if_nonfinite=True)
    assert float(nn.utils.clip_grad_norm_([c], 1.0)) == 0
    with pytest.raises(OptionError, match="max_norm"):
        nn.utils.clip_grad_norm_(a, -1.0)


# Skip connections


def test_residual_adds_and_carries_the_gradient(device: str) -> None:
    make, x = maker(device), draw(0, 4, 3)
    block = fill(nn.Linear(3, 3, device=device, dtype=np.float64))
    f = x @ block.weight.numpy().T + block.bias.numpy()
    holds(nn.Residual(block)(make(x)), x + f, tolerance=1e-12)
    norm = nn.BatchNorm1d(3, affine=False, device=device, dtype=np.float64)

    def standard(x: Any) -> Any:
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    before = x + standard(x) @ block.weight.numpy().T + block.bias.numpy()
    holds(nn.Residual(block, norm)(make(x)), before, tolerance=1e-12)
    holds(nn.Residual(block, norm, "after")(make(x)), standard(x + f), tolerance=1e-12)
    init.zeros_(block.weight)  # f has no slope left: the identity alone carries
    t = make(x, True)
    nn.Residual(block)(t).backward(x)
    holds(t.grad, x)
    with pytest.raises(OptionError, match="'before' or 'after'"):
        nn.Residual(block, norm, "inside")


def test_highway_gate_knows_the_depth(device: str) -> None:
    layer = fill(nn.Highway(3, nn.Tanh(), device=device, dtype=np.float64))
    x = draw(9, 4, 3)
    h = np.tanh(x @ layer.transform.weight.numpy().T + layer.transform.bias.numpy())
    gate = sigmoid(x @ layer.gate.weight.numpy().T + layer.gate.bias.numpy())
    holds(layer(maker(device)(x)), gate * h + (1 - gate) * x, tolerance=1e-12)
    for depth in (10, 56, 1000):
        bias = nn.Highway(2, depth=depth).gate.bias.numpy()
        np.testing.assert_allclose(bias, -math.log(depth), rtol=1e-6)
        assert abs((1 - sigmoid(float(bias[0]))) ** depth - 1 / math.e) < 0.03
    assert isinstance(nn.Highway(2).activation, nn.ReLU)
    assert isinstance(nn.Highway(2, tg.tanh)(tg.ones((1, 2))), tg.Tensor)
    with pytest.raises(OptionError, match="depth"):
        nn.Highway(2, depth=0)


def test_dense_block_keeps_every_layer(device: str) -> None:
    block = fill(nn.DenseBlock(3, 2, 2, nn.Tanh(), device=device, dtype=np.float64))
    x = draw(9, 4, 3)
    expected = x
    for layer in block.layers():
        h = np.tanh(expected @ layer.weight.numpy().T + layer.bias.numpy())
        expected = np.concatenate([expected, h], 1)
    holds(block(maker(device)(x)), expected, tolerance=1e-12)
    assert block.out_features == 7 and [layer.in_features for layer in block.layers()] == [3, 5]
    assert list(block.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


# Recurrent nets


def run_rnn(x: Any, w: dict[str, Any], h: Any, act: Any, suffix: str = "") -> list[Any]:
    states = []
    for xt in x:
        h = act(
            xt @ w["weight_ih" + suffix].T
            + w["bias_ih" + suffix]
            + h @ w["weight_hh" + suffix].T
            + w["bias_hh" + suffix]
        )
        states.append(h)
    return states


def run_lstm(x: Any, w: dict[str, Any], h: Any, c: Any, suffix: str = "") -> list[tuple[Any, Any]]:
    states = []
    for xt in x:
        z = (
            xt @ w["weight_ih" + suffix].T
            + w["bias_ih" + suffix]
            + h @ w["weight_hh" + suffix].T
            + w["bias_hh" + suffix]
        )
        i, f, u, o = np.split(z, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
        h = sigmoid(o) * np.tanh(c)
        states.append((h, c))
    return states


def values(module: nn.Module) -> dict[str, Any]:
    return {name: p.numpy() for name, p in module.named_parameters()}


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_rnn_cell_and_layer(nonlinearity: str, device: str) -> None:
    make, x, h = maker(device), draw(0, 5, 2, 3), draw(1, 2, 2, 4)
    act = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}[nonlinearity]
    cell = fill(nn.RNNCell(3, 4, nonlinearity=nonlinearity, device=device, dtype=np.float64))
    assert list(cell.state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    holds(cell(make(x[0]), make(h[0])), run_rnn(x[:1], values(cell), h[0], act)[0], tolerance=1e-12)
    holds(cell(make(x[0])), run_rnn(x[:1], values(cell), 0 * h[0], act)[0], tolerance=1e-12)
    holds(cell(make(x[0, 0])), run_rnn(x[:1, 0], values(cell), 0 * h[0, 0], act)[0], tolerance=1e-12)

    net = fill(nn.RNN(3, 4, 2, nonlinearity, device=device, dtype=np.float64))
    assert list(net.state_dict()) == [
        f"{n}_l{k}" for k in (0, 1) for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    lower = run_rnn(x, values(net), h[0], act, "_l0")
    upper = run_rnn(lower, values(net), h[1], act, "_l1")
    outputs, last = net(make(x), make(h))
    holds(outputs, np.stack(upper), tolerance=1e-12)
    holds(last, np.stack([lower[-1], upper[-1]]), tolerance=1e-12)
    for state, expected in zip(net.unroll(make(x), make(h)), upper, strict=True):
        holds(state, expected, tolerance=1e-12)
    net.batch_first = True
    holds(net(make(x.swapaxes(0, 1)), make(h))[0], np.stack(upper, 1), tolerance=1e-12)


def test_lstm_cell_and_layer(device: str) -> None:
    make, x, h, c = maker(device), draw(0, 5, 2, 3), draw(1, 2, 2, 4), draw(2, 2, 2, 4)
    cell = fill(nn.LSTMCell(3, 4, device=device, dtype=np.float64))
    assert cell.weight_ih.shape == (16, 3) and cell.weight_hh.shape == (16, 4) and cell.bias_hh.shape == (16,)
    for found, expected in zip(
        cell(make(x[0]), (make(h[0]), make(c[0]))), run_lstm(x[:1], values(cell), h[0], c[0])[0], strict=True
    ):
        holds(found, expected, tolerance=1e-12)
    holds(cell(make(x[0]))[0], run_lstm(x[:1], values(cell), 0 * h[0], 0 * c[0])[0][0], tolerance=1e-12)

    net = fill(nn.LSTM(3, 4, 2, device=device, dtype=np.float64))
    lower = run_lstm(x, values(net), h[0], c[0], "_l0")
    upper = run_lstm([s[0] for s in lower], values(net), h[1], c[1], "_l1")
    outputs, (h_n, c_n) = net(make(x), (make(h), make(c)))
    holds(outputs, np.stack([s[0] for s in upper]), tolerance=1e-12)
    holds(h_n, np.stack([lower[-1][0], upper[-1][0]]), tolerance=1e-12)
    holds(c_n, np.stack([lower[-1][1], upper[-1][1]]), tolerance=1e-12)
    for state, pair in zip(net.unroll(make(x), (make(h), make(c))), upper, strict=True):
        for found, expected in zip(state, pair, strict=True):
            holds(found, expected, tolerance=1e-12)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
def test_backpropagation_through_time(kind: Any, device: str) -> None:
    net = fill(kind(2, 3, batch_first=True, device=device, dtype=np.float64))
    x, u = draw(0, 2, 4, 2), draw(1, 2, 4, 3)
    zero = np.zeros((2, 3))

    def run(x: Any, w: Any) -> list[Any]:
        return (
            run_rnn(x, w, zero, np.tanh, "_l0") if kind is nn.RNN else [s[0] for s in run_lstm(x, w, zero, zero, "_l0")]
        )

    def loss(x: Any, w: Any) -> float:
        return float((np.stack(run(x.swapaxes(0, 1), w), 1) * u).sum())

    t = maker(device)(x, True)
    net(t)[0].backward(u)
    w = values(net)
    holds(t.grad, numeric(lambda x: loss(x, w), x), tolerance=1e-7)
    for name, p in net.named_parameters():
        holds(p.grad, numeric(lambda v, name=name: loss(x, {**w, name: v}), w[name]), tolerance=1e-7)


def test_the_gradient_at_every_step_can_be_seen(device: str) -> None:
    """h_t = w h_{t−1} without activation: ∂h_T/∂h_t = w^(T − t); an LSTM with open gates carries its cell whole."""
    make = maker(device)
    net = nn.RNN(1, 1, nonlinearity="relu", device=device, dtype=np.float64)
    for p, value in zip(net.parameters(), (0.0, 0.5, 0.0, 0.0), strict=True):
        init.constant_(p, value)
    states = net.unroll(make(np.zeros((6, 1, 1))), make(np.ones((1, 1, 1))))
    for h in states:
        h.retain_grad()
    states[-1].sum().backward()
    np.testing.assert_allclose([float(h.grad) for h in states], 0.5 ** np.arange(5, -1, -1))

    net = nn.LSTM(1, 1, bias=True, device=device, dtype=np.float64)
    for p in net.parameters():
        init.zeros_(p)
    net.bias_ih_l0.copy_([-50.0, 50.0, 0.0, 50.0])  # takes nothing in, forgets nothing, shows all
    cells = [c for _, c in net.unroll(make(np.zeros((6, 1, 1))))]
    for c in cells:
        c.retain_grad()
    cells[-1].sum().backward()
    np.testing.assert_allclose([float(c.grad) for c in cells], 1.0)


def test_recurrent_start_values_and_errors(device: str) -> None:
    for net in (nn.RNN(2, 16), nn.LSTM(2, 16), nn.RNNCell(2, 16), nn.LSTMCell(2, 16)):
        assert all(np.abs(p.numpy()).max() <= 0.25 for p in net.parameters())
    bare = nn.LSTM(2, 3, bias=False, device=device)
    assert list(bare.state_dict()) == ["weight_ih_l0", "weight_hh_l0"]
    y, _ = bare(tg.ones((4, 2, 2), device=device))
    assert y.shape == (4, 2, 3) and y.dtype == np.float32
    assert nn.LSTMCell(2, 3, bias=False).bias_ih is None
    with pytest.raises(ShapeError, match=r"RNN: wants \[time, batch, input_size\] with input_size=2, got \[4, 3\]"):
        nn.RNN(2, 3)(tg.ones((4, 3)))
    with pytest.raises(ShapeError, match=r"LSTM: wants \[batch, time, input_size\]"):
        nn.LSTM(2, 3, batch_first=True)(tg.ones((4, 2, 5)))
    with pytest.raises(ShapeError, match="no steps"):
        nn.RNN(2, 3)(tg.ones((0, 2, 2)))
    with pytest.raises(ShapeError, match="RNNCell"):
        nn.RNNCell(2, 3)(tg.ones((4, 3)))
    with pytest.raises(OptionError, match="'tanh' or 'relu', not 'sigmoid'"):
        nn.RNN(2, 3, nonlinearity="sigmoid")
    for wrong in ({"hidden_size": 0}, {"num_layers": 0}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            nn.LSTM(**{"input_size": 2, "hidden_size": 3, **wrong})


# The nets of the main job


@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "relu", "batchnorm", "residual", "highway", "dense"])
def test_deep_nets_have_as_many_weights_as_layers(kind: str, device: str) -> None:
    net = models.DeepNet(kind, 6, 3, 8, 7, generator=Generator(0), device=device, dtype=np.float64)
    weights = net.weights()
    assert len(weights) == 7 and weights[0][1].shape[1] == 6 and weights[-1][1].shape[0] == 3
    F.cross_entropy(net(maker(device)(draw(0, 5, 6))), maker(device)([0, 1, 2, 0, 1])).backward()
    assert all(w.grad is not None and w.grad.dtype == np.float64 for _, w in weights)
    assert all(np.all(p.numpy() == 0) for n, p in net.named_parameters() if n.endswith("bias") and ".gate." not in n)
    again = models.DeepNet(kind, 6, 3, 8, 7, generator=Generator(0), device=device, dtype=np.float64)
    assert all(a.tolist() == b.tolist() for a, b in zip(net.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_sequence_classifiers_show_their_states(kind: str, device: str) -> None:
    net = models.SequenceClassifier(kind, 1, 3, 5, generator=Generator(0), device=device)
    x = maker(device)(draw(0, 2, 4, 1).astype(np.float32))
    states = net.states(x)
    assert len(states) == 4 and states[0][0].shape == (2, 5)
    holds(net.read(states), net(x).numpy())
    if kind == "lstm":
        bias = net.cell.bias_ih_l0.numpy() + net.cell.bias_hh_l0.numpy()
        np.testing.assert_array_equal(bias, np.repeat([0.0, 2.0, 0.0, 0.0], 5))


def test_errors_are_the_librarys_own() -> None:
    with pytest.raises(Error):
        nn.Linear(2, 2)(tg.ones((1, 3)))


# What is refused, and how it is said


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.Linear(3.5, 2), "Linear: in_features must be a whole number of 0 or more, got 3.5"),
        (lambda: nn.Linear(2, -1), "Linear: out_features must be a whole number of 0 or more, got -1"),
        (lambda: nn.Linear("a", 2), "in_features.*'a'"),
        (lambda: nn.LSTM("a", 4), "LSTM: input_size.*'a'"),
        (lambda: nn.RNN(2, 3, num_layers=1.5), "RNN: num_layers.*1 or more, got 1.5"),
        (lambda: nn.Highway(3.5), "Highway: features.*3.5"),
        (lambda: nn.DenseBlock(2, 1.5, 1), "DenseBlock: growth.*1.5"),
        (lambda: nn.BatchNorm1d(-1), "BatchNorm1d: num_features.*-1"),
        (lambda: nn.Dropout("a"), "probability from 0 to 1, got 'a'"),
        (lambda: nn.Linear(2, 2).load_state_dict(None), "Linear.load_state_dict: wants what state_dict.* got NoneType"),
    ],
)
def test_wrong_sizes_are_named(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss, F.mse_loss, F.binary_cross_entropy_with_logits])
@pytest.mark.parametrize("wrong", ["a", None])
def test_a_target_that_is_no_number_is_named(loss: Any, wrong: Any) -> None:
    with pytest.raises(DTypeError, match=f"{loss.__name__}: the target must be"):
        loss(tg.ones((2, 3)), wrong)


def test_weights_may_be_lists(device: str) -> None:
    x, y = maker(device)(draw(0, 4, 3)), tg.Tensor([0, 2, 1, 1], device=device)
    for weight in ([1, 2, 3], [1.0, 2.0, 3.0]):
        expected = F.cross_entropy(x, y, tg.Tensor([1.0, 2.0, 3.0], dtype=x.dtype, device=device))
        for given in (F.cross_entropy(x, y, weight), nn.CrossEntropyLoss(weight).to(device)(x, y)):
            holds(given, expected.numpy(), tolerance=1e-6)
    with pytest.raises(DTypeError, match="cross_entropy: the weight must be"):
        F.cross_entropy(x, y, "a")


def test_the_layers_of_a_dense_block_have_an_activation_each() -> None:
    block = nn.DenseBlock(3, 2, 3)
    with viz.trace(block) as seen:
        block(tg.ones((4, 3))).sum().backward()
    graph = seen.graph()
    scopes = [node.scope for node in graph.nodes if node.op == "relu"]
    assert len(set(scopes)) == 3
    folded = graph.collapsed(depth=1)
    place = {node.id: i for i, node in enumerate(n for n in folded.nodes if n.kind in ("operation", "group"))}
    between = [e for e in folded.edges if e.source in place and e.target in place]
    assert between and all(place[e.source] < place[e.target] for e in between)
