"""Convolution, pooling, upsampling and embedding: held to PyTorch's recorded figures, in blocks and in any layout."""

from __future__ import annotations

import json
import re
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import errors, nn, optim, windows
from tinygrad_mlsp.interpret import formula, shapes
from tinygrad_mlsp.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent / "evidence"))
import convolution_reference as reference

RECORDED = json.loads(reference.DATA.read_text(encoding="utf-8"))
AGAIN = "python tests/evidence/convolution_reference.py (needs PyTorch)"


def leaf(values: Any, device: str) -> tg.Tensor:
    return tg.Tensor(np.asarray(values), requires_grad=True, device=device)


def near(got: Any, want: list[float], what: str, tolerance: float = 1e-6) -> None:
    got = got.numpy() if isinstance(got, tg.Tensor) else got
    np.testing.assert_allclose(np.ravel(got), want, rtol=tolerance, atol=tolerance, err_msg=what)


def hold(name: str, y: Any, leaves: dict[str, Any], want: dict[str, Any], device: str) -> None:
    """Value and gradients are the recorded ones."""
    y, indices = y if isinstance(y, tuple) else (y, None)
    assert list(y.shape) == want["shape"]
    (y * tg.Tensor(reference.values(name + " u", y.shape), device=device)).sum().backward()
    near(y, want["y"], f"{name}: y")
    for key, v in leaves.items():
        near(v.grad, want[key], f"{name}: gradient of {key}")
    assert ("indices" in want) == (indices is not None)
    if indices is not None:
        assert indices.dtype == np.int64
        assert indices.numpy().ravel().tolist() == np.ravel(want["indices"]).tolist()


def test_what_is_recorded_is_what_is_compared() -> None:
    for kind, cases in (("functions", reference.FUNCTIONS), ("layers", reference.LAYERS), ("nets", reference.NETS)):
        assert list(RECORDED[kind]) == list(cases), AGAIN


@pytest.mark.parametrize("name", reference.FUNCTIONS)
def test_a_function_is_pytorchs(name: str, device: str) -> None:
    leaves = {k: leaf(reference.values(f"{name} {k}", s), device) for k, s in reference.FUNCTIONS[name].items()}
    y = eval(name, {"F": F, "i": tg.Tensor(reference.INDICES, device=device), **leaves})
    hold(name, y, leaves, RECORDED["functions"][name], device)


def given(net: nn.Module, name: str, scale: float = 1.0) -> dict[str, nn.Parameter]:
    """The parameters, with the values that follow from the name."""
    parameters = dict(net.named_parameters())
    for key, p in parameters.items():
        p.copy_(reference.values(f"{name} {key}", p.shape) * scale)
    return parameters


@pytest.mark.parametrize("name", reference.LAYERS)
def test_a_layer_is_pytorchs(name: str, device: str) -> None:
    layer, want = eval(name, {"nn": nn}).double().to(device), RECORDED["layers"][name]
    x = leaf(reference.values(f"{name} x", reference.LAYERS[name]), device)
    parameters = given(layer, name)
    assert list(layer.state_dict()) == want["keys"]
    hold(name, layer(x), {"x": x, **parameters}, want, device)


@pytest.mark.parametrize("name", reference.NETS)
def test_training_follows_pytorchs_path(name: str, device: str) -> None:
    net, want = eval(reference.NETS[name], {"nn": nn}).double().to(device), RECORDED["nets"][name]
    given(net, name, 0.5)
    assert list(net.state_dict()) == want["keys"]
    optimizer = optim.SGD(net.parameters(), lr=reference.RATE, momentum=0.9)
    x, target = (tg.Tensor(v, device=device) for v in reference.batch(name))
    losses = []
    for _ in range(reference.STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    near(losses, want["losses"], "losses", 1e-6)
    near(np.concatenate([p.numpy().ravel() for p in net.parameters()]), want["parameters"], "parameters", 1e-5)


@pytest.mark.parametrize("name", RECORDED["initial"])
def test_weights_start_as_pytorchs_do(name: str) -> None:
    tg.manual_seed(0)
    w = eval(name, {"nn": nn}).weight.numpy()
    largest, spread = RECORDED["initial"][name]
    assert np.std(w) == pytest.approx(spread, rel=0.05)
    if "Embedding" not in name:
        assert np.abs(w).max() == pytest.approx(largest, rel=0.01)


# The calculus: what the registry's tests do not see


def test_ties_go_to_the_first_entry_row_by_row(device: str) -> None:
    x = leaf([[[[1.0, 2.0, 0.0, 3.0], [2.0, 2.0, 3.0, 3.0]]]], device)
    y, places = F.max_pool2d(x, 2, return_indices=True)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.numpy().ravel().tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert places.numpy().ravel().tolist() == [1, 3]


@pytest.mark.parametrize("options", [{"size": 3}, {"size": 3, "stride": 1, "padding": 1}, {"size": 2, "stride": 1}])
def test_of_more_equal_entries_too(options: dict[str, Any], device: str) -> None:
    x = leaf(np.zeros(6), device)
    y = tg.max_pool(x, axis=0, **options)
    y.sum().backward()
    assert x.grad is not None
    firsts = np.array([0, 3] if options == {"size": 3} else [0, 0, 1, 2, 3, 4] if options["size"] == 3 else range(5))
    assert x.grad.numpy().tolist() == np.bincount(firsts, minlength=6).tolist()
    assert tg.max_pool_place(x, axis=0, **options).numpy().tolist() == firsts.tolist()


def test_global_pooling(device: str) -> None:
    x = tg.Tensor(reference.values("x", (2, 3, 4, 5)), device=device)
    np.testing.assert_allclose(nn.GlobalAvgPool()(x).numpy(), x.numpy().mean((2, 3)), atol=1e-12)
    assert np.array_equal(nn.GlobalMaxPool()(x).numpy(), x.numpy().max((2, 3)))
    with pytest.raises(errors.ShapeError, match="batch, channels"):
        F.global_max_pool(x[0, 0])


def test_not_a_number_wins_and_keeps_its_gradient_in_the_window(device: str) -> None:
    x = leaf([[1.0, np.nan, 2.0, 5.0]], device)
    y = tg.max_pool(x, axis=1, size=2)
    y.sum().backward()
    assert x.grad is not None
    assert np.isnan(y.numpy()).tolist() == [[True, False]]
    assert x.grad.numpy().tolist() == [[0, 1, 0, 1]]


def test_a_border_never_wins(device: str) -> None:
    y = F.max_pool2d(leaf(-1 - np.arange(9.0).reshape(1, 1, 3, 3), device), 3, 2, 1)
    assert y.numpy().ravel().tolist() == [-1, -2, -4, -5]
    whole = tg.Tensor(np.array([[[-5, -7, -9]]]), device=device)
    assert F.max_pool1d(whole, 2, 1, 1).numpy().tolist() == [[[-5, -5, -7, -9]]]


@pytest.mark.parametrize("mode", ["reverse over reverse", "forward over reverse"])
def test_hessian_of_a_small_net(mode: str, device: str) -> None:
    """Of convolution, tanh and pooling together, against differences of gradients."""
    w = reference.values("w", (2, 1, 2, 2))
    x = tg.Tensor(reference.values("x", (1, 1, 5, 5)), device=device)

    def loss(w: tg.Tensor) -> tg.Tensor:
        return (F.max_pool2d(tg.tanh(F.conv2d(x, w, padding=1)), 2) ** 2).sum() + F.avg_pool2d(x, 2).sum()

    def gradient(w: Any) -> Any:
        return tg.grad(loss)(tg.Tensor(w, device=device)).numpy()

    v = reference.values("v", w.shape)
    want = (gradient(w + 1e-5 * v) - gradient(w - 1e-5 * v)) / 2e-5
    at, along = tg.Tensor(w, device=device), tg.Tensor(v, device=device)
    if mode == "forward over reverse":
        found = tg.jvp(tg.grad(loss), at, along)[1]
    else:
        found = tg.grad(lambda w: (tg.grad(loss)(w) * along).sum())(at)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-6, atol=1e-8)


# Memory


def in_order(y: Any) -> list[int]:
    """The axes from the longest stride to the shortest."""
    return sorted(range(y.ndim), key=lambda a: -y.strides[a])


def test_a_chain_of_layers_keeps_the_batch_innermost() -> None:
    x = tg.Tensor(np.ones((3, 2, 8, 8), np.float32), requires_grad=True)
    y = nn.Conv2d(2, 4, 3)(x)
    assert in_order(y.data) == [2, 1, 3, 0]
    z = F.max_pool2d(F.relu(y), 2)
    assert in_order(z.data) == [2, 1, 3, 0]
    assert windows._laid(tg.backend.numpy_space, z.data, ((0, 0),) * 3).base is not None, "laid out without a copy"


@pytest.mark.parametrize("block", [1, 40, 500])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = reference.values("x", (3, 4, 7, 8)), reference.values("w", (6, 2, 3, 2))
    for options in ({}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"stride": (3, 1)}):
        results = []
        for limit in (1 << 19, block):
            monkeypatch.setitem(windows.BLOCK, "cpu", limit)
            a, b = leaf(x, "cpu"), leaf(w, "cpu")
            y = tg.convolution(a, b, groups=2, **options)
            y.backward(reference.values("u", y.shape))
            assert a.grad is not None and b.grad is not None
            results.append([y.numpy(), a.grad.numpy(), b.grad.numpy()])
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_windows_take_little_memory() -> None:
    """All windows of this layer at once are 290 MB."""
    x = tg.Tensor(np.ones((16, 64, 44, 44), np.float32), requires_grad=True)
    layer = nn.Conv2d(64, 8, 6)
    layer(tg.Tensor(np.ones((1, 64, 6, 6), np.float32)))
    tracemalloc.start()
    layer(x).sum().backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * x.data.nbytes
    assert peak < 64e6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_stay(dtype: str, device: str) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Fold(2, 2)
    )
    x = tg.Tensor(np.ones((1, 1, 10, 10), dtype), requires_grad=True, device=device)
    for layer in [*net.to(device, dtype)][:3]:
        x = layer(x)
        assert x.dtype == dtype
    for pooled in (
        F.avg_pool2d(x, 2, ceil_mode=True, padding=1),
        F.adaptive_avg_pool2d(x, 3),
        F.adaptive_max_pool2d(x, 3),
    ):
        assert pooled.dtype == dtype


# What the other interpreters say


def test_a_summary_counts_places_and_multiplications() -> None:
    net = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5, groups=2, bias=False))
    rows = {row.name: row for row in nn.summary(net, (64, 1, 28, 28)).rows}
    places = 64 * 28 * 28
    assert rows["0"].shape == (64, 6, 28, 28)
    assert rows["0"].operations == places * 6 * (2 * 25 + 1), "a multiply-add is 2, a bias 1"
    assert rows["1"].shape == (64, 6, 14, 14)
    assert rows["1"].operations == places * 6 // 2 + places * 6 // 4, "one comparison an entry, along each axis"
    assert rows["2"].shape == (64, 16, 10, 10)
    assert rows["2"].operations == 64 * 16 * 100 * 2 * 3 * 25
    found = shapes.cost(shapes.like(net), shapes.spec((2, 1, 28, 28), requires_grad=True), backward=True)
    assert found.backward_flops > 1.8 * found.flops, "two convolutions back for one forward"


def test_every_function_runs_on_shapes() -> None:
    for name, arrays in reference.FUNCTIONS.items():
        leaves = {k: shapes.spec(s, "float64") for k, s in arrays.items()}
        y = eval(name, {"F": F, "i": shapes.spec(reference.INDICES.shape, "int64"), **leaves})
        y = y[0] if isinstance(y, tuple) else y
        assert list(y.shape) == RECORDED["functions"][name]["shape"], name


# Embedding


def test_embedding_is_a_linear_layer_on_one_hot_inputs(device: str) -> None:
    layer = nn.Embedding(5, 3).to(device)
    index = tg.Tensor([[1, 4], [0, 1]], device=device)
    y = F.one_hot(index, 5).astype("float32") @ layer.weight
    np.testing.assert_allclose(layer(index).numpy(), y.numpy(), rtol=1e-6)
    assert F.one_hot(tg.Tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_padding_starts_at_zero_and_stays(device: str) -> None:
    layer = nn.Embedding(4, 2, padding_idx=-1).to(device)
    assert layer.padding_idx == 3
    layer(tg.Tensor([3, 3, 0], device=device)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[1, 1], [0, 0], [0, 0], [0, 0]]
    assert layer.weight[3].tolist() == [0, 0]


def test_max_norm_shortens_the_rows_in_use(device: str) -> None:
    table = tg.Tensor([[3.0, 4.0], [0.3, 0.4], [30.0, 40.0]], device=device)
    layer = nn.Embedding.from_pretrained(table, freeze=False, max_norm=1.0)
    y = layer(tg.Tensor([0, 1, 0], device=device))
    np.testing.assert_allclose(y.numpy(), [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], rtol=1e-5)
    assert layer.weight[2].tolist() == [30, 40]
    assert table[0].tolist() == [3, 4], "the table that was given is not changed"
    assert not nn.Embedding.from_pretrained(table).weight.requires_grad


# Locally connected layers


@pytest.mark.parametrize(("n", "options"), [(1, {}), (2, {"stride": (1, 2), "padding": 1}), (2, {"dilation": 2})])
def test_equal_weights_at_every_place_make_a_convolution(n: int, options: dict[str, Any], device: str) -> None:
    space = (6, 7)[:n]
    kind, convolve = (nn.LocallyConnected1d, F.conv1d) if n == 1 else (nn.LocallyConnected2d, F.conv2d)
    layer = kind(2, 3, space if n > 1 else 6, 3, **options).double().to(device)
    kernel = reference.values("kernel", (3, 2, *(3,) * n))
    spread = kernel.reshape(3, 2, *(1,) * n, *(3,) * n)
    layer.weight.copy_(np.broadcast_to(spread, layer.weight.shape))
    layer.bias.copy_(np.zeros(layer.bias.shape))
    x = leaf(reference.values("x", (2, 2, *space)), device)
    want = convolve(x, tg.Tensor(kernel, device=device), **options)
    got = layer(x)
    np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-12)
    got.sum().backward()
    assert layer.weight.grad is not None and layer.bias.grad is not None
    per_place = layer.weight.grad.numpy().sum(axis=tuple(range(2, 2 + n)))
    w = leaf(kernel, device)
    convolve(x.detach(), w, **options).sum().backward()
    assert w.grad is not None
    np.testing.assert_allclose(per_place, w.grad.numpy(), atol=1e-10)
    assert (layer.bias.grad.numpy() == 2).all()
    assert layer(x[0]).shape == got.shape[1:]


# Wrong calls


X2 = np.zeros((2, 4, 6, 7), np.float32)
WRONG: list[tuple[str, type[Exception], str]] = [
    ("F.conv2d(x, zeros((3, 3, 2, 2)))", errors.ShapeError, "the input has 4 channels.*made for 3"),
    (
        "F.conv2d(x, zeros((3, 2, 2, 2)), groups=2)",
        errors.ShapeError,
        "3 output channels cannot be dealt out to groups=2",
    ),
    ("F.conv2d(x, zeros((3, 4, 7, 2)))", errors.ShapeError, r"kernel of \[7, 2\].*larger than the input of \[6, 7\]"),
    ("F.conv2d(x, zeros((3, 4, 3, 3)), dilation=4)", errors.ShapeError, r"reaches over \[9, 9\]"),
    ("F.conv2d(x, zeros((3, 4, 2, 2)), zeros((2,)))", errors.ShapeError, r"bias has shape \[2\].*3 output channels"),
    ("F.conv2d(x, zeros((3, 4, 2)))", errors.ShapeError, "weight must have 4 dimensions"),
    ("F.conv2d(x[0, 0], zeros((3, 4, 2, 2)))", errors.ShapeError, r"wants \[batch, channels, height, width\] or"),
    ("F.conv2d(x, zeros((3, 4, 2, 2)), stride=0)", errors.OptionError, "stride must be a whole number of 1 or more"),
    ("F.conv2d(x, zeros((3, 4, 2, 2)), stride=1.5)", errors.OptionError, "stride must be a whole number.*1.5"),
    ("F.conv2d(x, zeros((3, 4, 2, 2)), padding=(1, 2, 3))", errors.OptionError, "padding must be.*or 2 of them"),
    ("F.conv2d(x, zeros((3, 4, 2, 2)), padding='full')", errors.OptionError, "'same', 'valid' or numbers"),
    ("F.conv2d(x, zeros((3, 4, 2, 2)), stride=2, padding='same')", errors.OptionError, "keeps the size, which stride"),
    ("F.conv_transpose2d(x, zeros((3, 4, 2, 2)))", errors.ShapeError, "4 channels.*made for 3"),
    ("F.conv_transpose2d(x, zeros((4, 3, 2, 2)), output_padding=1)", errors.OptionError, "smaller than stride"),
    ("F.conv_transpose2d(x, zeros((4, 3, 2, 2)), padding=9)", errors.ShapeError, "leaves nothing"),
    ("F.max_pool2d(x, 8)", errors.ShapeError, r"max_pool2d: a kernel of \[8, 8\].*larger than the input"),
    ("F.max_pool2d(x, 2, padding=2)", errors.OptionError, "more than half of the kernel's reach"),
    ("F.avg_pool2d(x, 0)", errors.OptionError, "kernel_size must be a whole number of 1 or more"),
    ("F.avg_pool2d(x, 2, divisor_override=0)", errors.OptionError, "must not be 0"),
    ("F.adaptive_avg_pool2d(x, (1, 2, 3))", errors.OptionError, "output_size is one number or 2"),
    ("F.interpolate(x)", errors.OptionError, "either size or scale_factor"),
    ("F.interpolate(x, size=3, mode='cubic')", errors.OptionError, "mode is one of"),
    ("F.interpolate(x, size=3, align_corners=True)", errors.OptionError, "align_corners is of the linear"),
    ("F.interpolate(x, scale_factor=-1)", errors.OptionError, "positive number"),
    ("F.pad(x, (1, 2, 3))", errors.OptionError, "a pair"),
    ("F.pad(x, (7, 0), 'reflect')", errors.ShapeError, "'reflect' has no 7 entries before"),
    ("F.fold(x[0], 5, 3)", errors.ShapeError, "for output_size"),
    ("F.pixel_shuffle(x, 3)", errors.ShapeError, "multiples of 9"),
    ("F.embedding([7], zeros((7, 2)))", errors.IndexingError, "index 7 is not one of 0 to 6"),
    ("F.embedding([-1], zeros((7, 2)))", errors.IndexingError, "index -1"),
    ("F.embedding([0.5], zeros((7, 2)))", errors.DTypeError, "whole numbers"),
    ("F.one_hot([3], 2)", errors.IndexingError, "index 3"),
    ("nn.Conv2d(4, 3, 2, groups=2)", errors.OptionError, "groups=2 must divide"),
    ("nn.Conv2d(3, 3, 2)(x)", errors.ShapeError, r"Conv2d: the input of shape \[2, 4, 6, 7\] has 4 channels"),
    ("nn.Conv2d(4, 3, 2, padding_mode='mirror')", errors.OptionError, "padding_mode is one of"),
    ("nn.ConvTranspose2d(4, 3, 2, 2)(x, output_size=(20, 20))", errors.ShapeError, "cannot be reached; sizes from"),
    ("nn.LocallyConnected2d(4, 3, 8, 2)(x)", errors.ShapeError, "without shared weights"),
    ("nn.Embedding(3, 2, padding_idx=3)", errors.OptionError, "is not one of 3 rows"),
    ("nn.Flatten(5)(x)", errors.AxisError, "has 4 axes"),
]


@pytest.mark.parametrize(("call", "kind", "message"), WRONG)
def test_a_wrong_call_says_what_is_wrong(call: str, kind: type[Exception], message: str, device: str) -> None:
    scope = {"F": F, "nn": nn, "x": tg.Tensor(X2), "zeros": tg.zeros}
    with pytest.raises(kind) as problem:
        eval(call, scope)
    assert re.search(message, str(problem.value)), problem.value


def test_transposed_convolution_reaches_a_size_that_is_asked_for() -> None:
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    x = tg.zeros((1, 2, 4, 5))
    assert layer(x).shape == (1, 3, 7, 9)
    assert layer(x, output_size=(8, 9)).shape == (1, 3, 8, 9)


def test_layers_show_their_settings() -> None:
    assert repr(nn.Conv2d(1, 6, 5, padding=2, groups=1, bias=False)) == (
        "Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2), bias=False)"
    )
    assert "output_padding=(1,)" in repr(nn.ConvTranspose1d(1, 1, 3, 2, output_padding=1))
    for layer in (nn.MaxPool2d(2), nn.AvgPool1d(2), nn.AdaptiveAvgPool2d(1), nn.Embedding(3, 2), nn.Upsample(2)):
        assert repr(layer).startswith(type(layer).__name__ + "(")


def test_formulas_are_readable() -> None:
    x, w = np.zeros((2, 1, 5, 5)), np.zeros((3, 1, 2, 2))
    assert str(formula("convolution", x, w)).splitlines() == [
        "y = x ⋆ W", "x̄ = convolution_input(ȳ, W, shape = (5, 5))", "W̄ = convolution_weight(x, ȳ, kernel = (2, 2))"
    ]  # fmt: skip
    assert "y = convolution(x, W, stride = (2, 1)) + b" in str(formula("convolution", x, w, np.zeros(3), stride=(2, 1)))
    found = str(formula("max_pool", x, axis=2, size=2, stride=1, padding=(0, 1)))
    assert "y = max_pool(x, axis = 2, size = 2, stride = 1, padding = (0, 1))" in found
    assert "length = 5, axis = 2, size = 2" in str(formula("sum_pool", x, axis=2, size=2))
