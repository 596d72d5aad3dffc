"""Mixed precision: what autocast casts and what not, and the scale that keeps small gradients alive."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import amp, data, nn, optim, train
from tinygrad_mlsp.errors import CheckpointError, DivergenceError, DTypeError, GraphError, OptionError
from tinygrad_mlsp.nn import functional as F
from tinygrad_mlsp.op import registry

RNG = np.random.default_rng(0)
HALF, SINGLE, DOUBLE = (np.dtype(f"float{bits}") for bits in (16, 32, 64))


def numbers(device: str, *shape: int, dtype: str = "float32", **options: Any) -> tg.Tensor:
    return tg.Tensor(RNG.standard_normal(shape), dtype=dtype, device=device, **options)


def net(device: str, seed: int = 0) -> nn.Module:
    g = tg.Generator(seed)
    return nn.Sequential(nn.Linear(6, 16, generator=g), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 3, generator=g)).to(
        device
    )


# What is cast


def test_the_values_are_those_of_casting_by_hand(device: str) -> None:
    model, x, t = net(device), numbers(device, 5, 6), tg.tensor([0, 1, 2, 1, 0], device=device)
    with amp.autocast(device):
        y = model(x)
        loss = F.cross_entropy(y, t)

    def linear(h: tg.Tensor, layer: Any) -> tg.Tensor:
        return F.linear(h.astype("float16"), layer.weight.astype("float16"), layer.bias.astype("float16"))

    by_hand = F.layer_norm(linear(x, model[0]).astype("float32"), 16, model[1].weight, model[1].bias)
    by_hand = linear(tg.tanh(by_hand), model[3])
    assert y.dtype == by_hand.dtype == HALF and loss.dtype == SINGLE
    np.testing.assert_array_equal(y.numpy(), by_hand.numpy())
    np.testing.assert_array_equal(loss.numpy(), F.cross_entropy(by_hand.astype("float32"), t).numpy())
    assert model(x).dtype == SINGLE  # outside


def test_gradients_are_float32_and_near_those_of_float32(device: str) -> None:
    model, x, t = net(device), numbers(device, 20, 6), tg.tensor(RNG.integers(0, 3, 20), device=device)
    found = []
    for enabled in (False, True):
        with amp.autocast(device, dtype=tg.float16, enabled=enabled):
            loss = F.cross_entropy(model(x), t)
        model.zero_grad()
        loss.backward()
        found.append([p.grad.numpy() for p in model.parameters()])
    for exact, mixed in zip(*found, strict=True):
        assert mixed.dtype == SINGLE
        assert 0 < np.abs(mixed - exact).max() < 4e-3 * max(1e-3, np.abs(exact).max()) + 1e-4


LAYERS = {
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 2, 5, 5), HALF),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 2), (2, 2, 5, 5), HALF),
    "LSTM": (lambda: nn.LSTM(4, 5), (3, 2, 4), HALF),
    "GRU": (lambda: nn.GRU(4, 5), (3, 2, 4), HALF),
    "RNN": (lambda: nn.RNN(4, 5), (3, 2, 4), HALF),
    "LSTMCell": (lambda: nn.LSTMCell(4, 5), (2, 4), HALF),
    "RNNCell": (lambda: nn.RNNCell(4, 5), (2, 4), HALF),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), (3, 2, 4), HALF),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(2), (2, 2, 5, 5), SINGLE),
    "GroupNorm": (lambda: nn.GroupNorm(1, 2), (2, 2, 5, 5), SINGLE),
    "Softmax": (lambda: nn.Softmax(-1), (2, 4), SINGLE),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, device: str) -> None:
    make, shape, expected = LAYERS[name]
    layer: nn.Module = make().to(device)
    x = numbers(device, *shape, requires_grad=True)
    give = (lambda: layer(x, x, x)) if name == "MultiheadAttention" else (lambda: layer(x))
    full = give()
    with amp.autocast(device):
        y = give()
    y, full = (v[0] if isinstance(v, tuple) else v for v in (y, full))
    assert y.dtype == expected
    np.testing.assert_allclose(y.numpy(), full.numpy(), atol=2e-2)
    y.sum().backward()
    assert {p.grad.dtype for p in (x, *layer.parameters())} == {SINGLE}
    assert {b.dtype for b in layer.buffers() if b.dtype.kind == "f"} <= {SINGLE}


def test_the_rest_follows_what_it_is_given(device: str) -> None:
    x = numbers(device, 3, 3)
    half, double = x.astype("float16"), x.astype("float64")
    with amp.autocast(device):
        assert (x @ x).dtype == tg.einsum("ij,jk->ik", x, x).dtype == HALF
        assert (x + x).dtype == tg.tanh(x).dtype == SINGLE and (half * half).dtype == tg.relu(half).dtype == HALF
        assert {tg.exp(half).dtype, half.sum().dtype, half.mean().dtype, (2.0**half).dtype} == {SINGLE}
        assert {F.mse_loss(half, half * 0).dtype, F.softmax(half, -1).dtype, F.l1_loss(half, x).dtype} == {SINGLE}
        assert (double @ double).dtype == tg.exp(double).dtype == DOUBLE  # is not for mixing
        assert (x @ x.data).dtype == (x.data @ x).dtype == HALF  # arrays too
        assert tg.sum(tg.ones(3, dtype="int64", device=device)).dtype.kind == "i"


def test_a_loss_does_not_overflow_where_float16_would(device: str) -> None:
    half = tg.full((4,), 300.0, dtype="float16", device=device)
    with amp.autocast(device):
        assert F.mse_loss(half, half * 0).item() == 90000.0


@pytest.mark.parametrize("name", [*amp.NARROW, *amp.WIDE])
def test_every_operation_that_is_listed_is_there_and_asks(name: str) -> None:
    with amp.autocast("cpu"):
        pass
    assert "_plain" in registry[name].record.__kwdefaults__


def test_no_operation_is_listed_twice() -> None:
    assert len({*amp.NARROW, *amp.WIDE}) == len(amp.NARROW) + len(amp.WIDE)


@pytest.mark.parametrize("name", ["cross_entropy", "mse_loss", "nll_loss", "ctc_loss", "batch_norm", "layer_norm"])
def test_losses_and_norms_ask_as_a_whole(name: str) -> None:
    with amp.autocast("cpu"):
        pass
    assert "_plain" in getattr(F, name).__kwdefaults__
    assert "_plain" not in (F.dropout.__kwdefaults__ or {})


# Where it holds


def test_it_may_be_nested_switched_off_and_put_on_functions() -> None:
    x = numbers("cpu", 2, 2)

    @tg.autocast("cpu")
    def product(a: tg.Tensor) -> tg.Tensor:
        return a @ a

    with amp.autocast("cpu"):
        with amp.autocast("cpu", enabled=False):
            assert (x @ x).dtype == SINGLE
        assert (x @ x).dtype == HALF
    assert (x @ x).dtype == SINGLE and product(x).dtype == HALF
    with pytest.raises(ZeroDivisionError), amp.autocast("cpu"):
        1 / 0  # noqa: B018
    assert (x @ x).dtype == SINGLE


def test_it_is_of_one_device_and_one_thread(device: str) -> None:
    x = numbers(device, 2, 2)
    found = []
    with amp.autocast("cuda" if device == "cpu" else "cpu"):
        assert (x @ x).dtype == SINGLE
    with amp.autocast(device):
        thread = threading.Thread(target=lambda: found.append((x @ x).dtype))
        thread.start()
        thread.join()
    assert found == [SINGLE]


def test_checkpointed_pieces_are_computed_again_in_the_same_precision(device: str) -> None:
    w = numbers(device, 3, 3, requires_grad=True)
    with amp.autocast(device):
        y = tg.checkpoint(lambda v: tg.tanh(v @ v), w)
        plain = tg.tanh(w @ w)
    y.sum().backward()
    again, w.grad = w.grad, None
    plain.sum().backward()
    assert y.dtype == HALF
    np.testing.assert_array_equal(again.numpy(), w.grad.numpy())


def test_second_derivatives_inside() -> None:
    w = numbers("cpu", 3, 3)
    with amp.autocast("cpu"):
        h = tg.hessian(lambda v: (tg.tanh(v @ v) ** 2).sum())(w)
    exact = tg.hessian(lambda v: (tg.tanh(v @ v) ** 2).sum())(w)
    np.testing.assert_allclose(h.numpy(), exact.numpy(), atol=0.05 * np.abs(exact.numpy()).max())


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (("gpu",), OptionError, "device_type is 'cuda' or 'cpu', got 'gpu'"),
        ((0,), OptionError, "device_type"),
        (("cuda", "bfloat16"), DTypeError, "neither NumPy nor CuPy has bfloat16"),
        (("cuda", np.float32), DTypeError, "the dtype is float16"),
        (("cuda", "small"), DTypeError, "the dtype is float16, got 'small'"),
    ],
)
def test_what_autocast_refuses(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        amp.autocast(*arguments)


def test_signatures_and_errors_stay() -> None:
    import inspect

    with amp.autocast("cpu"):
        assert list(inspect.signature(F.mse_loss).parameters)[:2] == ["input", "target"]
        with pytest.raises(tg.Error, match=r"matmul\(a: float16 \[2, 3\], b: float16 \[2, 3\]\)"):
            tg.matmul(tg.ones((2, 3)), tg.ones((2, 3)))


# The scale


def tiny(device: str) -> tuple[tg.Tensor, tg.Tensor]:
    """A weight whose gradient, 1e-9, float16 rounds to 0."""
    return tg.tensor([[1.0]], requires_grad=True, device=device), tg.tensor([[1.0]], device=device)


def test_a_gradient_that_underflows_survives_with_the_scale(device: str) -> None:
    found = {}
    for enabled in (False, True):
        w, x = tiny(device)
        optimizer, scaler = optim.SGD([w], lr=1e7), amp.GradScaler(device, enabled=enabled)
        with amp.autocast(device):
            loss = (x @ w).sum() * 1e-9
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        found[enabled] = w.grad.item()
        scaler.step(optimizer)
        scaler.update()
    assert found[False] == 0 and found[True] == pytest.approx(1e-9, rel=1e-3)
    assert w.item() == pytest.approx(1 - 1e7 * found[True])


def test_an_overflow_leaves_out_the_step_and_halves_the_scale(device: str) -> None:
    w, x = tiny(device)
    optimizer, scaler = optim.Adam([w], lr=0.1), amp.GradScaler(device, growth_interval=2)
    scales = []
    for factor in (1.0, 1e-3, 1e-3, 1e-3):  # 65536 overflows
        optimizer.zero_grad()
        with amp.autocast(device):
            loss = (x @ w).sum() * factor
        before = w.item()
        with np.errstate(over="ignore"):
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        assert scaler.overflowed(optimizer) == (factor == 1.0) == (w.item() == before)
        scaler.update()
        scales.append(scaler.get_scale())
    assert scales == [32768, 32768, 65536, 65536]
    again = amp.GradScaler(device)
    again.load_state_dict(scaler.state_dict())
    assert again.state_dict() == scaler.state_dict() and scaler.state_dict()["_growth_tracker"] == 1


def test_scaling_changes_nothing_else(device: str) -> None:
    """A power of two is taken out again exactly, so scaled training in float32 is training in float32."""
    weights = []
    for enabled in (False, True):
        model, scaler = net(device), amp.GradScaler(device, enabled=enabled)
        optimizer = optim.Adam(model.parameters(), 0.01)
        for seed in range(5):
            x = tg.Generator(seed).normal((8, 6))
            optimizer.zero_grad()
            scaler.scale((model(tg.Tensor(x, device=device)) ** 2).mean()).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
        weights.append([p.numpy() for p in model.parameters()])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_scaler_that_is_called_wrongly() -> None:
    w, x = tiny("cpu")
    optimizer, scaler = optim.SGD([w], 0.1), amp.GradScaler("cpu")
    with pytest.raises(GraphError, match="no parameter has a gradient"):
        scaler.step(optimizer)
    with pytest.raises(GraphError, match="call step"):
        scaler.update()
    scaler.scale((x @ w).sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(GraphError, match="unscaled already"):
        scaler.unscale_(optimizer)
    with pytest.raises(OptionError, match="no closure"):
        scaler.step(optimizer, lambda: 1.0)
    scaler.step(optimizer)
    with pytest.raises(GraphError, match="taken already"):
        scaler.step(optimizer)
    with pytest.raises(DTypeError, match="scales the loss"):
        scaler.scale(3.0)
    with pytest.raises(OptionError, match="takes an optimizer, not int"):
        scaler.unscale_(3)  # type: ignore[arg-type]
    narrow = tg.ones(2, dtype="float16").requires_grad_()
    narrow.sum().backward()
    with pytest.raises(DTypeError, match="weights stay float32"):
        scaler.unscale_(optim.SGD([narrow], 0.1))
    with pytest.raises(OptionError, match=r"wants scale.*got nothing"):
        scaler.load_state_dict({})


@pytest.mark.parametrize(
    "options", [{"init_scale": 0}, {"init_scale": "a"}, {"growth_factor": 1}, {"backoff_factor": 1.0},
                {"growth_interval": 0}, {"growth_interval": 1.5}, {"device": 65536.0}],
)  # fmt: skip
def test_what_a_scaler_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"GradScaler: .*got"):
        amp.GradScaler(**options)


def test_a_float16_loss_is_scaled_in_float32() -> None:
    loss = tg.full((), 2.0, dtype="float16").requires_grad_()
    assert amp.GradScaler("cpu").scale(loss).item() == 131072.0
    assert [s.item() for s in amp.GradScaler("cpu").scale([loss, loss])] == [131072.0] * 2


# With the Trainer


def trainer(device: str, steps_to_grow: int = 4, **options: Any) -> train.Trainer:
    g = np.random.default_rng(1)
    x = g.standard_normal((40, 6)).astype(np.float32)
    y = x[:, :3].argmax(1)
    model = net(device)
    made = train.Trainer(
        model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), 0.02), data.Loader(x, y, batch_size=10),
        data.Loader(x, y, batch_size=20), metrics=[train.Accuracy()], device=device, progress=False, clip_norm=1.0,
        **{"precision": "mixed", **options},
    )  # fmt: skip
    if made.mixed:
        made.scaler = amp.GradScaler(device, growth_interval=steps_to_grow)
    return made


def test_a_mixed_training_learns_and_skips_what_overflows(device: str) -> None:
    mixed, full = trainer(device, steps_to_grow=3), trainer(device, precision="full")
    scales: list[float] = []

    class Look(train.Callback):
        def on_step(self, state: Any) -> None:
            scales.append(state.scaler.get_scale())

    mixed.callbacks.append(Look())
    mixed.fit(epochs=15)
    full.fit(epochs=15)
    assert mixed.record["val_accuracy"] > 0.9 and abs(mixed.record["val_loss"] - full.record["val_loss"]) < 0.1
    assert any(b < a for a, b in pairwise(scales))  # it grew until it overflowed
    assert {p.dtype for p in mixed.model.parameters()} == {SINGLE}


def test_a_mixed_training_is_resumed_bit_for_bit(device: str, tmp_path: Path) -> None:
    whole = trainer(device)
    whole.fit(epochs=5)
    first = trainer(device)
    first.fit(steps=7)
    first.save(tmp_path / "a.safetensors")
    second = trainer(device, steps_to_grow=99)
    second.resume(tmp_path / "a.safetensors")
    second.fit(epochs=5)
    assert whole.scaler.state_dict() == second.scaler.state_dict() and whole.scaler.get_scale() != 65536
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert whole.history == second.history
    with pytest.raises(CheckpointError, match="precision='mixed'"):
        trainer(device, precision="full").resume(tmp_path / "a.safetensors")


def test_gradients_that_no_scale_mends_end_the_training() -> None:
    made = trainer("cpu")
    made.loss_fn = lambda y, t: tg.sqrt((y - y).sum())  # its slope at 0 is infinite, and times 0, NaN
    with np.errstate(divide="ignore"), pytest.raises(DivergenceError, match="its gradient is not"):
        made.fit(epochs=50)
    assert made.scaler.get_scale() < 1e-4


def test_optimizers_that_want_more_than_the_gradient_are_refused() -> None:
    model = net("cpu")
    for kind in (optim.LBFGS, optim.Newton, optim.HessianFree):
        with pytest.raises(OptionError, match="precision='mixed'.*not with " + kind.__name__):
            train.Trainer(model, nn.MSELoss(), kind(model.parameters()), [], precision="mixed")
    with pytest.raises(OptionError, match="'full' or 'mixed'"):
        train.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), 0.1), [], precision="half")


@pytest.mark.gpu
def test_digits_in_mixed_precision() -> None:
    d = data.digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    made = train.Trainer(
        model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), 3e-3), data.Loader(d.train_x, d.train_y),
        data.Loader(d.test_x, d.test_y), metrics=[train.Accuracy()], device="cuda", precision="mixed", progress=False,
    )  # fmt: skip
    made.fit(epochs=10)
    assert made.record["val_accuracy"] > 0.93
