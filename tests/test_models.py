"""Attention and transformer blocks against PyTorch's figures; skip structures by hand; every whole net learns."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, nn, optim
from tinygrad_mlsp.errors import DTypeError, OptionError, ShapeError
from tinygrad_mlsp.nn import functional as F
from tinygrad_mlsp.random import Generator

sys.path.insert(0, str(Path(__file__).parent / "evidence"))
import models_reference as reference

RECORDED = json.loads((Path(__file__).parent / "data" / "models.json").read_text(encoding="utf-8"))
SOURCES = sorted({*RECORDED} - {f"query: {name}" for name in reference.QUERIES})


def same(found: Any, expected: Any, tolerance: float = 1e-8) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance)


# Against PyTorch


def mask_on(device: str) -> Callable[[Any], Any]:
    def rest(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        array = np.array(value)
        return tg.Tensor(array if array.dtype == bool else array.astype(np.float64), device=device)

    return rest


def ours(device: str) -> Any:
    def make(case: dict[str, Any]) -> Any:
        layer = getattr(nn, case["make"])(**case["options"], device=device, dtype=np.float64)
        return nn.TransformerEncoder(layer, case["stack"]) if "stack" in case else layer

    def descend(module: Any, rate: float) -> None:
        optim.SGD(module.parameters(), rate).step()
        module.zero_grad()

    def tensor(value: Any, wants: bool) -> Any:
        return tg.Tensor(value, wants, device=device)

    return make, lambda p, value: p.copy_(value), tensor, mask_on(device), descend


def test_the_recorded_cases_are_those_of_the_script() -> None:
    assert {*SOURCES} == {*reference.CASES}
    assert {*RECORDED} - {*SOURCES} == {f"query: {name}" for name in reference.QUERIES}


@pytest.mark.parametrize("name", SOURCES)
def test_attention_and_blocks_are_pytorchs(name: str, device: str) -> None:
    expected, found = RECORDED[name], reference.run(*ours(device), reference.CASES[name])
    assert found["keys"] == expected["keys"]
    for what in ("y", "x grads", "losses"):
        for f, e in zip(found[what], expected[what], strict=True):
            same(f, e)
    assert (found["weights"] is None) == (expected["weights"] is None)
    if found["weights"] is not None:
        same(found["weights"], expected["weights"])
    for parameter, gradient in expected["gradients"].items():
        same(found["gradients"][parameter], gradient)
    assert found["losses"][-1] < found["losses"][0]


@pytest.mark.parametrize("name", reference.QUERIES)
def test_dot_product_attention_is_pytorchs(name: str, device: str) -> None:
    case, expected = reference.QUERIES[name], RECORDED[f"query: {name}"]
    given = [tg.Tensor(x, True, device=device) for x in reference.qkv(case)]
    rest = mask_on(device)
    y = F.scaled_dot_product_attention(*given, **{k: rest(v) for k, v in case.items() if k != "keys"})
    (y * tg.Tensor(reference.wave(5, *y.shape), device=device)).sum().backward()
    same(y.tolist(), expected["y"])
    for x, g in zip(given, expected["x grads"], strict=True):
        assert x.grad is not None
        same(x.grad.tolist(), g)


# Attention, what PyTorch's figures do not say


def test_a_query_that_may_see_nothing_gets_nothing(device: str) -> None:
    layer = nn.MultiheadAttention(4, 2, batch_first=True, device=device, generator=Generator(0))
    layer.out_proj.bias.copy_(1.0)
    x = tg.Tensor(reference.wave(0, 1, 3, 4).astype(np.float32), True, device=device)
    y, weights = layer(x, x, x, key_padding_mask=tg.ones((1, 3), bool, device))
    holds(y, np.ones((1, 3, 4)))
    assert weights is not None and not weights.numpy().any()
    y.sum().backward()
    assert x.grad is not None and np.isfinite(x.grad.numpy()).all()


def test_attention_starts_as_pytorchs_does() -> None:
    layer = nn.MultiheadAttention(64, 4, add_bias_kv=True, generator=Generator(0))
    bound = math.sqrt(6 / (4 * 64))
    values = layer.in_proj_weight.numpy()
    assert bound * 0.99 < np.abs(values).max() <= bound and abs(values.std() * math.sqrt(3) / bound - 1) < 0.02
    assert layer.bias_k is not None and layer.out_proj.bias is not None and layer.in_proj_bias is not None
    assert not layer.in_proj_bias.numpy().any() and not layer.out_proj.bias.numpy().any()
    assert 0.9 / 8 < np.abs(layer.out_proj.weight.numpy()).max() <= 1 / 8
    assert abs(layer.bias_k.numpy().std() - math.sqrt(2 / (64 + 64))) < 0.03
    assert repr(nn.MultiheadAttention(8, 2, 0.1, batch_first=True)).startswith(
        "MultiheadAttention(\n  8, 2, dropout=0.1, batch_first=True\n  (out_proj): Linear("
    )


def test_dropout_of_attention_is_of_its_weights_and_in_training_only() -> None:
    layer = nn.MultiheadAttention(4, 1, dropout=0.5, batch_first=True, generator=Generator(0))
    layer.generator = Generator(1)
    x = tg.Tensor(reference.wave(0, 1, 20, 4).astype(np.float32))
    _, dropped = layer(x, x, x)
    _, whole = layer.eval()(x, x, x)
    zero = dropped.numpy() == 0
    assert 0.4 < zero.mean() < 0.6
    np.testing.assert_allclose(dropped.numpy()[~zero], 2 * whole.numpy()[~zero], rtol=1e-5)


def test_what_does_not_fit_attention_is_said() -> None:
    layer, x = nn.MultiheadAttention(4, 2), tg.ones((3, 2, 4))
    for call, problem, message in [
        (lambda: nn.MultiheadAttention(5, 2), OptionError, "2 heads do not divide embed_dim=5"),
        (lambda: layer(x, x, tg.ones((2, 2, 4))), ShapeError, r"wants \[time, batch, …\]"),
        (lambda: layer(x, x[:, :, :3], x), ShapeError, r"\[3, 2, 3\]"),
        (lambda: layer(x, x, x, attn_mask=tg.ones((2, 2), bool)), ShapeError, r"attn_mask is \[3, 3\] or \[4, 3, 3\]"),
        (lambda: layer(x, x, x, tg.ones((2, 3), np.int64)), DTypeError, "key_padding_mask is a Tensor of booleans"),
        (lambda: F.scaled_dot_product_attention(x, x[..., :2], x), ShapeError, "agree in E"),
        (lambda: F.scaled_dot_product_attention(x, x, x, tg.ones((5, 5), bool)), ShapeError, "does not fit scores"),
        (lambda: F.scaled_dot_product_attention(x, x, x, tg.ones((2, 2), bool), is_causal=True), OptionError, "both"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh"), OptionError, "'relu', 'gelu' or a function"),
        (lambda: nn.PositionalEncoding(4, max_len=2)(x), ShapeError, "max_len=2"),
    ]:
        with pytest.raises(problem, match=message):
            call()


def test_positions_are_sines_and_cosines(device: str) -> None:
    layer = nn.PositionalEncoding(6, max_len=50, device=device, dtype=np.float64)
    y = layer(tg.zeros((50, 1, 6), np.float64, device)).numpy()[:, 0]
    for t in (0, 1, 17, 49):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            np.testing.assert_allclose(y[t, 2 * i : 2 * i + 2], [math.sin(angle), math.cos(angle)], atol=1e-12)
    assert nn.PositionalEncoding(5).pe.shape == (5000, 5) and not layer.state_dict()
    first = nn.PositionalEncoding(6, batch_first=True)(tg.zeros((2, 7, 6)))
    holds(first[1], y[:7])


def test_the_copies_of_an_encoder_start_equal_or_are_made_anew() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    twins = nn.TransformerEncoder(layer, 2).layers
    assert twins[0].linear1.weight is not twins[1].linear1.weight
    assert twins[0].linear1.weight.tolist() == twins[1].linear1.weight.tolist()
    others = nn.TransformerEncoder(lambda: nn.TransformerEncoderLayer(4, 2, 8), 2).layers
    assert others[0].linear1.weight.tolist() != others[1].linear1.weight.tolist()


# Skip structures


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


class Scale(nn.Module):
    """A norm that can be told from the identity by hand."""

    def __init__(self, factor: float, shift: float) -> None:
        self.factor, self.shift = factor, shift

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return x * self.factor + self.shift


def test_the_five_orders_of_a_residual_block(device: str) -> None:
    layers = [nn.Linear(3, 3, device=device, dtype=np.float64, generator=Generator(k)) for k in range(2)]
    (w, b), (v, c) = ((p.weight.numpy(), p.bias.numpy()) for p in layers)
    x = reference.wave(3, 4, 3)

    def n1(h: Any) -> Any:
        return 2 * h - 0.3

    def n2(h: Any) -> Any:
        return 0.5 * h + 0.2

    first, second = (lambda h: h @ w.T + b), (lambda h: h @ v.T + c)
    expected = {
        "original": relu(x + n2(second(relu(n1(first(x)))))),
        "norm_after_addition": relu(n2(x + second(relu(n1(first(x)))))),
        "activation_before_addition": x + relu(n2(second(relu(n1(first(x)))))),
        "activation_only_preactivation": x + n2(second(relu(n1(first(relu(x)))))),
        "preactivation": x + second(relu(n2(first(relu(n1(x)))))),
    }
    for variant, y in expected.items():
        block = nn.ResidualBlock(layers, [Scale(2, -0.3), Scale(0.5, 0.2)], variant=variant)
        holds(block(tg.Tensor(x, device=device)), y, tolerance=1e-12)
        assert len(list(block.parameters())) == 4
    plain = nn.ResidualBlock(layers, variant="preactivation", activation=nn.Tanh, shortcut=Scale(3, 0))
    holds(plain(tg.Tensor(x, device=device)), 3 * x + second(np.tanh(first(np.tanh(x)))), tolerance=1e-12)
    with pytest.raises(OptionError, match="no variant 'post'; original, norm_after_addition"):
        nn.ResidualBlock(layers, variant="post")
    with pytest.raises(ShapeError, match="2 layers and 1 norms"):
        nn.ResidualBlock(layers, [nn.Identity()])


def test_stochastic_depth_leaves_blocks_out_and_scales_them_afterwards(device: str) -> None:
    assert [nn.survival_probability(k, 4) for k in (1, 2, 3, 4)] == [0.875, 0.75, 0.625, 0.5]
    assert nn.survival_probability(3, 3, 1.0) == 1
    norm = nn.BatchNorm1d(2, device=device)
    layer = nn.Residual(norm, survival=0.25, generator=Generator(0))
    x = tg.Tensor(reference.wave(0, 5, 2).astype(np.float32), device=device)
    kept = [not np.array_equal(layer(x).numpy(), x.numpy()) for _ in range(400)]
    assert norm.num_batches_tracked is not None
    assert sum(kept) == norm.num_batches_tracked.item() and abs(sum(kept) / 400 - 0.25) < 0.07
    holds(layer.eval()(x), x.numpy() + 0.25 * norm(x).numpy())
    w = nn.Linear(2, 2, device=device)
    block = nn.ResidualBlock([w], survival=0.25, generator=Generator(1)).eval()
    holds(block(x), relu(x.numpy() + 0.25 * w(x).numpy()))
    block.train()
    outs = [block(x).numpy() for _ in range(60)]
    whole, none = relu(x.numpy() + w(x).numpy()), relu(x.numpy())
    assert {np.allclose(o, whole, atol=1e-6) for o in outs} == {True, False}
    assert all(np.allclose(o, whole, atol=1e-6) or np.array_equal(o, none) for o in outs)
    assert "survival=0.25" in repr(block)
    for wrong in (lambda: nn.Residual(w, survival=0.0), lambda: nn.survival_probability(0, 3)):
        with pytest.raises(OptionError):
            wrong()


def test_stochastic_depth_as_a_layer_keeps_the_mean(device: str) -> None:
    x = tg.ones((2000, 2, 3), device=device)
    rows = nn.StochasticDepth(0.25, generator=Generator(0))(x).numpy()
    assert np.allclose(np.unique(rows), [0, 1 / 0.75]) and abs(rows.mean() - 1) < 0.05
    assert (rows == rows[:, :1, :1]).all()
    batch = nn.StochasticDepth(0.5, "batch", generator=Generator(1))
    assert {float(batch(x).numpy().mean()) for _ in range(20)} == {0.0, 2.0}
    assert nn.StochasticDepth(0.5).eval()(x) is x and repr(batch) == "StochasticDepth(p=0.5, mode='batch')"
    for wrong in (lambda: nn.StochasticDepth(1.0), lambda: nn.StochasticDepth(0.1, "column")):
        with pytest.raises(OptionError):
            wrong()


def test_branches_are_joined_and_channels_gated(device: str) -> None:
    x = reference.wave(0, 2, 4, 3)
    y = nn.Concat(nn.Identity(), Scale(2, 1))(tg.Tensor(x, device=device))
    holds(y, np.concatenate([x, 2 * x + 1], 1), tolerance=1e-12)
    gate = nn.SqueezeExcitation(4, 2, device=device, dtype=np.float64)
    w, b, v, c = (p.numpy() for p in gate.parameters())
    s = relu(x.mean(2) @ w.T + b) @ v.T + c
    holds(gate(tg.Tensor(x, device=device)), x / (1 + np.exp(-s))[:, :, None], tolerance=1e-12)


# Whole nets: each learns a small batch, counts its parameters, and comes back from its state


def conv(before: int, after: int, k: int) -> int:
    """Parameters of a convolution without bias, and its batch norm."""
    return before * after * k * k + 2 * after


def resnet(n: int, *widths: int) -> int:
    """Parameters of ResNet-(6n + 2), with shortcuts that have none."""
    (a, b, c) = widths
    stages = 2 * n * conv(a, a, 3) + conv(a, b, 3) + (2 * n - 1) * conv(b, b, 3) + conv(b, c, 3)
    return conv(3, a, 3) + stages + (2 * n - 1) * conv(c, c, 3) + c * 10 + 10


def residual_mlp(blocks: int) -> int:
    return 20 * 16 + 16 + blocks * 2 * (16 * 16 + 16 + 2 * 16) + 16 * 3 + 3


def inception(before: int, unit: int) -> int:
    """Parameters of an inception block of GoogLeNet(width=4), and so of 8 units of channels."""
    less = max(1, unit // 2)
    return (
        conv(before, 2 * unit, 1) + conv(before, 3 * unit, 1) + conv(3 * unit, 4 * unit, 3) + conv(before, less, 1)
        + conv(less, unit, 5) + conv(before, unit, 1)
    )  # fmt: skip


def transformer(d: int, h: int) -> int:
    return 3 * d * d + 3 * d + d * d + d + d * h + h + h * d + d + 4 * d


ALEX = {
    "conv3": 16 * 24 * 9 + 24, "conv4": 24 * 24 * 9 + 24, "conv5": 24 * 16 * 9 + 16, "fc6": 144 * 32 + 32,
    "fc7": 32 * 32 + 32, "rest": 3 * 8 * 25 + 8 + 8 * 16 * 25 + 16 + 32 * 10 + 10,
}  # fmt: skip
AFTER = ("original", "norm_after_addition")  # an activation is last in each block, so none is needed at the end
SMALL, SEQUENCE = (6, 3, 12, 12), (4, 8)
Net = tuple[Callable[..., Any], dict[str, Any], tuple[int, ...], int]
NETS: dict[str, Net] = {
    "mlp": (models.MLP, {"sizes": [20, 16, 8, 3], "norm": nn.BatchNorm1d, "dropout": 0.1}, (12, 20),
            20 * 16 + 16 + 16 * 8 + 8 + 8 * 3 + 3 + 2 * (16 + 8)),
    **{f"residual, {v}": (models.ResidualMLP, {"width": 16, "depth": 8, "variant": v}, (12, 20),
                          residual_mlp(3) + (0 if v in AFTER else 32))
       for v in nn.skip.VARIANTS},
    "plain": (models.ResidualMLP, {"width": 16, "depth": 8, "residual": False}, (12, 20), residual_mlp(3) + 32),
    "highway": (models.HighwayNet, {"width": 16, "depth": 8}, (12, 20), 20 * 16 + 16 + 12 * (16 * 16 + 16) + 51),
    "lenet, relu": (models.LeNet, {}, (6, 1, 28, 28), 156 + 2416 + 48120 + 10164 + 850),
    "lenet, tanh": (models.LeNet, {"variant": "tanh", "size": 32}, (6, 1, 32, 32), 156 + 2416 + 48120 + 10164 + 850),
    "lenet, 1998": (models.LeNet, {"variant": "1998"}, (6, 1, 28, 28), 156 + 12 + 2416 + 32 + 48120 + 10164 + 850),
    "alexnet": (models.AlexNet, {"width": 8, "hidden": 32, "dropout": 0.0}, (6, 3, 32, 32), sum(ALEX.values())),
    "alexnet without 7": (models.AlexNet, {"width": 8, "hidden": 32, "dropout": 0.0, "remove": (7,), "lrn": True},
                          (6, 3, 32, 32), sum(ALEX.values()) - ALEX["fc7"]),
    "alexnet without 6, 7": (models.AlexNet, {"width": 8, "hidden": 32, "remove": (6, 7)}, (6, 3, 32, 32),
                             sum(ALEX.values()) - ALEX["fc7"] - ALEX["fc6"] + (144 - 32) * 10),
    "alexnet without 3, 4": (models.AlexNet, {"width": 8, "hidden": 32, "dropout": 0.0, "remove": (3, 4)},
                             (6, 3, 32, 32),
                             sum(ALEX.values()) - ALEX["conv3"] - ALEX["conv4"] - (24 - 16) * 16 * 9),
    **{f"resnet, {v}": (models.ResNet, {"depth": 8, "widths": (4, 8, 8), "variant": v}, SMALL,
                        # before its layer a norm has fewer channels, and none stands in the stem
                        resnet(1, 4, 8, 8) + (0 if v in (*AFTER, "preactivation") else 16))
       for v in nn.skip.VARIANTS},
    "resnet, project": (models.ResNet, {"depth": 14, "widths": (4, 8, 8), "shortcut": "project", "last_survival": 0.8},
                        SMALL, resnet(2, 4, 8, 8) + conv(4, 8, 1) + conv(8, 8, 1)),
    "plain convolutions": (models.ResNet, {"depth": 8, "widths": (4, 8, 8), "residual": False}, SMALL,
                           resnet(1, 4, 8, 8)),
    "densenet": (models.DenseNet, {"growth": 4, "blocks": (2, 3)}, SMALL,
                 3 * 8 * 9 + sum(2 * n + n * 4 * 9 for n in (8, 12)) + 2 * 16 + 16 * 8
                 + sum(2 * n + n * 4 * 9 for n in (8, 12, 16)) + 2 * 20 + 20 * 10 + 10),
    "densenet-bc": (models.DenseNet, {"growth": 4, "blocks": (1, 1), "bottleneck": True}, SMALL,
                    3 * 8 * 9 + sum(2 * n + n * 16 + 2 * 16 + 16 * 4 * 9 for n in (8, 6)) + 2 * 12 + 12 * 6
                    + 2 * 10 + 10 * 10 + 10),
    "googlenet": (models.GoogLeNet, {"width": 4, "dropout": 0.0}, SMALL,
                  conv(3, 8, 3) + inception(8, 2) + inception(16, 3) + inception(24, 4) + inception(32, 5) + 410),
    "character rnn": (models.CharModel, {"hidden": 16, "kind": "rnn"}, SEQUENCE,
                      5 * 16 + 2 * 16 * 16 + 2 * 16 + 16 * 5 + 5),
    "character lstm": (models.CharModel, {"hidden": 16, "embedding": 6}, SEQUENCE,
                       5 * 6 + 4 * (16 * 6 + 16 * 16 + 2 * 16) + 16 * 5 + 5),
    "character gru": (models.CharModel, {"hidden": 16, "kind": "gru", "num_layers": 2}, SEQUENCE,
                      5 * 16 + 2 * 3 * (2 * 16 * 16 + 2 * 16) + 16 * 5 + 5),
    **{f"sequence to sequence, {a}": (models.Seq2Seq, {"hidden": 16, "attention": a}, SEQUENCE,
                                      2 * (5 * 16 + 3 * (2 * 256 + 32)) + more + 85)
       for a, more in ((None, 0), ("dot", 512), ("general", 768), ("additive", 1024 + 16))},
    "transformer": (models.CausalLanguageModel, {"d_model": 16, "nhead": 2, "max_len": 12}, SEQUENCE,
                    5 * 16 + 2 * transformer(16, 64) + 32),
    "transformer, learned": (models.CausalLanguageModel, {
        "d_model": 16, "nhead": 2, "num_layers": 1, "dim_feedforward": 24, "max_len": 12, "positions": "learned",
        "tie": False}, SEQUENCE, 5 * 16 + 12 * 16 + transformer(16, 24) + 32 + 85),
}  # fmt: skip


def made(name: str, device: str, seed: int = 0) -> Any:
    make, options, shape, _ = NETS[name]
    if shape == SEQUENCE:
        sizes = ("source_vocabulary", "target_vocabulary") if make is models.Seq2Seq else ("vocabulary",)
        options = {**dict.fromkeys(sizes, 5), **options}
    elif make in (models.ResidualMLP, models.HighwayNet):
        options = {"in_features": 20, "out_features": 3, **options}
    return make(**options, generator=Generator(seed), device=device)


def batch(name: str, device: str) -> Any:
    """Inputs, and the classes that are to be learned."""
    make, _, shape, _ = NETS[name]
    rng = np.random.default_rng(1)
    if shape != SEQUENCE:
        x = rng.standard_normal(shape).astype(np.float32)
        return (tg.Tensor(x, device=device),), rng.integers(0, 3, shape[0])
    tokens = rng.integers(0, 5, shape)
    if make is models.Seq2Seq:  # backwards, behind a start symbol
        target = tokens[:, ::-1].copy()
        read = np.concatenate([np.zeros((len(tokens), 1), np.int64), target[:, :-1]], axis=1)
        return (tg.Tensor(tokens, device=device), tg.Tensor(read, device=device)), target
    return (tg.Tensor(tokens[:, :-1], device=device),), tokens[:, 1:]


def loss_of(net: Any, x: Any, target: Any) -> tg.Tensor:
    y = net(*x)
    y = y[0] if isinstance(y, tuple) else y
    return F.cross_entropy(y.reshape((-1, y.shape[-1])), tg.Tensor(target.reshape(-1), device=y.device))


@pytest.mark.parametrize("name", NETS)
def test_a_net_learns_counts_and_comes_back(name: str, device: str) -> None:
    tg.manual_seed(3)
    net, (x, target) = made(name, device), batch(name, device)
    assert sum(p.size for p in net.parameters()) == NETS[name][3] == nn.summary(net, *x).parameters
    optimizer = optim.Adam(net.parameters(), 0.003 if isinstance(net, models.LeNet) else 0.01)
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        loss = loss_of(net, x, target)
        loss.backward()
        if not step:
            unreached = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.numpy().any()]
            assert unreached == []
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0] and losses[-1] < 0.6
    twin = made(name, device, seed=9)
    before = loss_of(net.eval(), x, target).item()
    assert loss_of(twin.eval(), x, target).item() != before
    twin.load_state_dict(net.state_dict())
    assert loss_of(twin, x, target).item() == before


def test_the_published_nets_have_their_published_counts() -> None:
    assert [sum(p.size for p in models.resnet(n).parameters()) for n in (3, 9)] == [269_722, 853_018]
    lenet = models.LeNet("1998", size=32)
    table = lenet.features[2]
    masked = int((table.mask.numpy() == 0).sum()) * 25
    assert sum(p.size for p in lenet.parameters()) - masked == 156 + 12 + 1516 + 32 + 48120 + 10164 + 850  # the paper's
    x = tg.ones((1, 6, 14, 14))
    x[:, 5] = 3.0  # which the first map of C3 does not see, the last does
    change = (table(x) - table(tg.ones((1, 6, 14, 14)))).numpy()
    assert not change[:, 0].any() and change[:, 15].any()
    assert repr(lenet).startswith("LeNet(\n  variant='1998'\n  (features): Sequential(")


def test_nets_take_images_as_they_come_and_refuse_what_does_not_fit() -> None:
    x = tg.ones((2, 28, 28))
    assert models.LeNet()(x).shape == models.MLP([784, 10])(x).shape == (2, 10)
    assert models.ResNet(8, 1, widths=(2, 2, 2))(x).shape == (2, 10)
    for call, problem, message in [
        (lambda: models.LeNet()(tg.ones((2, 1, 32, 32))), ShapeError, r"LeNet: wants images \[batch, 1, 28, 28\]"),
        (lambda: models.LeNet("2024"), OptionError, "'1998', 'tanh' or 'relu'"),
        (lambda: models.LeNet(size=27), OptionError, "28×28 or 32×32"),
        (lambda: models.AlexNet(remove=(1,)), OptionError, "layers 2 to 7"),
        (lambda: models.AlexNet(size=8), OptionError, "8×8 are too small"),
        (lambda: models.ResNet(21), OptionError, r"6n \+ 2"),
        (lambda: models.ResNet(shortcut="bend"), OptionError, "'pad' or 'project'"),
        (lambda: models.DenseNet(compression=0), OptionError, "compression is the share"),
        (lambda: models.GoogLeNet(width=6), OptionError, "multiple of 4"),
        (lambda: models.ResidualMLP(2, 2, depth=5), OptionError, "depth is even"),
        (lambda: models.HighwayNet(2, 2, depth=2), OptionError, "3 or more"),
        (lambda: models.MLP([3]), ShapeError, "sizes are those of the input"),
        (lambda: models.CharModel(3, kind="mlp"), OptionError, "rnn, lstm, gru are known"),
        (lambda: models.CharModel(3).sample([], 1), ShapeError, "wants symbol numbers"),
        (lambda: models.Seq2Seq(3, 3, attention="all"), OptionError, "'dot', 'general', 'additive' or None"),
        (lambda: models.CausalLanguageModel(3, positions="none"), OptionError, "'sinusoidal' or 'learned'"),
        (lambda: models.CausalLanguageModel(3, max_len=4)(tg.zeros((1, 5), np.int64)), ShapeError, "max_len=4"),
    ]:
        with pytest.raises(problem, match=message):
            call()


def test_a_residual_net_begins_as_its_shortcuts() -> None:
    net = models.ResNet(14, widths=(4, 8, 16), variant="preactivation", last_survival=0.5, generator=Generator(0))
    blocks = [b for stage in net.stages for b in stage]
    assert [b.survival for b in blocks] == pytest.approx([1 - k / 12 for k in range(1, 7)])
    for block in blocks:
        nn.init.zeros_(block.layers[1].weight)
    x = tg.Tensor(reference.wave(0, 2, 4, 8, 8).astype(np.float32))
    y = net.stages(x)
    holds(y[:, :4], x.numpy()[:, :, ::4, ::4])
    assert not y.numpy()[:, 4:].any() and y.shape == (2, 16, 2, 2)


def test_a_highway_nets_gates_know_its_depth() -> None:
    net = models.HighwayNet(4, 2, width=3, depth=30)
    assert all(np.allclose(h.gate.bias.numpy(), -math.log(30)) for h in net.layers)
    x = tg.Tensor(reference.wave(0, 5, 4).astype(np.float32), True)
    net(x).sum().backward()
    assert x.grad is not None and np.abs(x.grad.numpy()).max() > 1e-2  # what was sent through 30 layers arrives


def test_no_position_sees_what_comes_after_it(device: str) -> None:
    net = made("transformer", device).eval()
    tokens = np.array([[0, 1, 2, 3, 4, 0, 1]])
    other = tokens.copy()
    other[0, 4] = 1
    a, b = (net(tg.Tensor(t, device=device)).numpy() for t in (tokens, other))
    np.testing.assert_allclose(a[:, :4], b[:, :4], atol=1e-6)
    assert (np.abs(a[:, 4:] - b[:, 4:]).max(-1) > 1e-4).all()


def test_symbols_are_drawn_as_often_as_the_temperature_says(device: str) -> None:
    logits = tg.Tensor(np.tile([0.0, 1.0, 2.0, -1.0], (20_000, 1)), device=device)
    for temperature in (0.5, 1.0, 3.0):
        drawn = models.sampling.draw(logits, temperature, generator=Generator(0))
        p = np.exp(np.array([0.0, 1.0, 2.0, -1.0]) / temperature)
        np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20_000, p / p.sum(), atol=0.015)
    assert {*models.sampling.draw(logits, 0)} == {2}
    assert {*models.sampling.draw(logits, top_k=2, generator=Generator(1))} == {1, 2}
    with pytest.raises(OptionError, match="temperature"):
        models.sampling.draw(logits, -1.0)


def test_language_models_go_on_from_a_prompt(device: str) -> None:
    for name in ("character gru", "transformer"):
        net = made(name, device)
        go_on = net.sample if hasattr(net, "sample") else net.generate
        one = go_on([0, 1, 2], 9, 1.5, generator=Generator(4))
        assert one.shape == (1, 9) and one.dtype.kind == "i" and one.min() >= 0 and one.max() < 5 and net.training
        assert (one == go_on([[0, 1, 2]], 9, 1.5, generator=Generator(4))).all()
        assert go_on([[0, 1], [2, 3]], 0).shape == (2, 0)
        greedy = go_on([0, 1, 2], 4, 0.0)  # with its state carried on, what reading all at once would say
        seen = [0, 1, 2]
        for symbol in greedy[0]:
            y = net.eval()(tg.Tensor([seen], dtype=np.int64, device=device))
            assert symbol == (y[0] if isinstance(y, tuple) else y).numpy()[0, -1].argmax()
            seen.append(int(symbol))


def test_sequence_to_sequence_decodes_step_by_step_what_it_was_taught(device: str) -> None:
    net, ((source, read), target) = (
        made("sequence to sequence, general", device),
        batch("sequence to sequence, dot", device),
    )
    optimizer = optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(net, (source, read), target).backward()
        optimizer.step()
    symbols, looked = net.generate(source, 8)
    assert (symbols == target).all() and looked.shape == (4, 8, 8)
    np.testing.assert_allclose(looked.sum(-1), 1, atol=1e-5)
    mask = np.ones((4, 8), bool)
    mask[:, 6:] = False
    _, looked = net.generate(source, 3, source_mask=tg.Tensor(mask, device=device))
    assert not looked[:, :, 6:].any()


# Compression


def test_distillation_is_of_soft_targets_and_hard_ones(device: str) -> None:
    z, t, y = reference.wave(0, 4, 3), 3 * reference.wave(1, 4, 3), np.array([0, 2, 1, 1])

    def soft(x: Any) -> Any:
        return np.exp(x) / np.exp(x).sum(-1, keepdims=True)

    T = 2.5
    p, q = soft(t / T), soft(z / T)
    kl = (p * np.log(p / q)).sum(-1).mean() * T**2
    hard = -np.log(soft(z)[range(4), y]).mean()
    make = maker(device)
    holds(models.distillation_loss(make(z), make(t), None, T), kl, tolerance=1e-12)
    holds(models.distillation_loss(make(z), make(t), make(y), T, 0.3), 0.3 * kl + 0.7 * hard, tolerance=1e-12)
    holds(models.distillation_loss(make(t), make(t), None, T), 0.0, tolerance=1e-12)
    with pytest.raises(OptionError, match="temperature is positive"):
        models.distillation_loss(make(z), make(t), None, 0.0)


def test_a_student_learns_its_teacher_from_data_and_from_random_questions(device: str) -> None:
    teacher = models.MLP([4, 16, 3], generator=Generator(0)).to(device)
    for p in teacher.parameters():
        p.copy_(p.numpy() * 3)
    before = {k: v.tolist() for k, v in teacher.state_dict().items()}
    questions = models.random_inputs((4,), 30, 32, -1.0, 1.0, generator=Generator(1), device=device)
    student = models.MLP([4, 8, 3], generator=Generator(2)).to(device)
    adam = optim.Adam(student.parameters(), 0.02)
    losses = models.distill(teacher, student, questions, 2.0, optimizer=adam, epochs=8)
    assert losses[-1] < 0.1 * losses[0] and len(questions) == 30
    assert {k: v.tolist() for k, v in teacher.state_dict().items()} == before and teacher.training
    assert all(p.grad is None for p in teacher.parameters())
    x = next(iter(models.random_inputs((4,), 1, 1000, -1.0, 1.0, generator=Generator(7), device=device)))
    with tg.no_grad():
        answers = teacher(x).argmax(axis=-1)
    assert (student(x).argmax(axis=-1).numpy() == answers.numpy()).mean() > 0.85
    asked: list[bool] = []
    watch = teacher.register_forward_pre_hook(lambda m, x: asked.append(m.training or tg.is_grad_enabled()))
    labelled = models.distill(teacher, student, [(x, answers)], alpha=0.5)
    watch.remove()
    assert asked == [False] and student.training
    assert len(labelled) == 1
    near = next(iter(models.random_inputs((2,), 1, 4000, like=tg.Tensor([[0.0, 5.0], [2.0, 5.0]], device=device),
                                          generator=Generator(0), device=device))).numpy()  # fmt: skip
    np.testing.assert_allclose(near.mean(0), [1, 5], atol=0.1)
    np.testing.assert_allclose(near.std(0), [1, 0], atol=0.1)
    with pytest.raises(OptionError, match="no batches"):
        models.distill(teacher, student, [])


@pytest.mark.parametrize(
    "make", [lambda a: models.MLP([2, 3, 1], a), lambda a: models.ResidualMLP(2, 1, activation=a),
             lambda a: models.HighwayNet(2, 1, activation=a)],
)  # fmt: skip
def test_an_activation_that_makes_no_layer_is_named(make: Any) -> None:
    for given, said in (("relu", "got 'relu'"), (nn.ReLU(), "got one ReLU"), (F.relu, "got the function relu")):
        with pytest.raises(OptionError, match=f"activation makes a layer.*a class such as nn.ReLU.*{said}"):
            make(given)
    make(lambda: nn.LeakyReLU(0.1))


def test_what_no_mlp_can_be_made_of() -> None:
    for call, error, message in (
        (lambda: models.MLP(3), ShapeError, "sizes are those of the input"),
        (lambda: models.MLP([2, 3, 1], norm="batch"), OptionError, "norm makes a layer for a width.*got 'batch'"),
        (lambda: models.ResidualMLP(2, 1, depth=6.0), OptionError, "depth is even"),
        (lambda: models.ResidualMLP(2, 1, last_survival="a"), OptionError, "last_survival is a probability"),
        (lambda: models.HighwayNet(2, 1, depth="a"), OptionError, "depth is 3 or more"),
        (lambda: models.MLP([2, 1])(None), DTypeError, "takes a Tensor"),
    ):
        with pytest.raises(error, match=message):
            call()
