"""Users' own operations, gradients written over, pieces computed again, and matrices in blocks."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import errors, nn
from tinygrad_mlsp.op import Operation, elementwise, general, registry


@pytest.fixture
def x(device: str) -> tg.Tensor:
    return tg.Tensor([0.3, -1.2, 2.0], True, "float64", device)


@pytest.fixture
def declared() -> Iterator[list[str]]:
    """Names of operations that a test declares; forgotten afterwards."""
    names: list[str] = []
    yield names
    for name in names:
        registry.pop(name, None)


def test_a_users_operation_has_all_that_the_librarys_have(x: tg.Tensor, declared: list[str]) -> None:
    declared.append("softsquare")

    @elementwise
    def softsquare(xp, x, *, scale=1.0):
        """y = x²/(s + x²)     dy/dx = 2 s x/(s + x²)²"""
        return x * x / (scale + x * x)

    softsquare.slopes(x=lambda x, scale: 2 * scale * x / ((scale + x * x) * (scale + x * x)))

    def composed(x: tg.Tensor) -> tg.Tensor:
        return x * x / (2.0 + x * x)

    def alone(x: tg.Tensor) -> tg.Tensor:
        return tg.softsquare(x, scale=2.0)

    assert np.allclose(alone(x).numpy(), composed(x).numpy())
    for order in (tg.jacobian, lambda f: tg.jacobian(tg.jacobian(f)), lambda f: tg.jacobian(f, mode="forward")):
        np.testing.assert_allclose(order(alone)(x).numpy(), order(composed)(x).numpy(), rtol=1e-12)


def test_at_a_prompt_an_operation_is_declared_again(declared: list[str], x: tg.Tensor) -> None:
    declared.append("retried")

    def once(factor: float) -> Operation:
        def retried(xp, x):
            return x * factor

        retried.__module__ = "__main__"
        return elementwise(retried).slopes(x=lambda xp, x: xp.ones_like(x) * factor)

    once(2.0)
    assert np.allclose(tg.retried(x).numpy(), x.numpy() * 2)
    once(3.0)
    assert np.allclose(tg.retried(x).numpy(), x.numpy() * 3)
    with pytest.raises(errors.OptionError, match="declared already"):

        @general
        def retried(xp, x):
            return x


# custom_vjp


def test_a_gradient_written_over(x: tg.Tensor) -> None:
    @tg.custom_vjp
    def through(x):
        """Rounds, with the identity's gradient."""
        return tg.round(x)

    through.adjoints(x=lambda g: g)
    (through(x) * x).sum().backward()
    assert np.allclose(x.grad.numpy(), x.numpy() + np.round(x.numpy()))
    assert "through" in repr(through(x)) and through.__doc__ == "Rounds, with the identity's gradient."


def test_its_rules_are_differentiated_to_any_order(x: tg.Tensor) -> None:
    log1pexp = tg.custom_vjp(lambda x: tg.log(1 + tg.exp(x)))
    log1pexp.adjoints(x=lambda g, x: g * tg.sigmoid(x)).tangents(x=lambda t, x: t * tg.sigmoid(x))
    for order in (tg.grad, lambda f: tg.grad(lambda x: tg.grad(f)(x).sum()), tg.hessian):
        mine = order(lambda x: log1pexp(x).sum())(x)
        np.testing.assert_allclose(mine.numpy(), order(lambda x: tg.softplus(x).sum())(x).numpy(), atol=1e-12)
    _, moved = tg.jvp(log1pexp, (x,), (tg.ones_like(x),))
    np.testing.assert_allclose(moved.numpy(), tg.sigmoid(x).numpy())


def test_several_arguments_options_and_results(x: tg.Tensor) -> None:
    @tg.custom_vjp
    def polar(a, b, *, scale) -> tuple[tg.Tensor, tg.Tensor]:
        r = tg.sqrt(a * a + b * b)
        return r * scale, tg.atan2(b, a)

    def none(g):
        return 0.0 if g is None else g

    polar.adjoints(
        a=lambda g, a, b, scale: none(g[0]) * scale * a / tg.hypot(a, b) - none(g[1]) * b / (a * a + b * b),
        b=lambda g, a, b, scale: none(g[0]) * scale * b / tg.hypot(a, b) + none(g[1]) * a / (a * a + b * b),
    )

    def plain(x, y):
        return 2.0 * tg.sqrt(x * x + y * y), tg.atan2(y, x)

    y = (x * x + 0.5).detach()
    for pick in (lambda r, a: (r * a).sum(), lambda r, a: r.sum(), lambda r, a: a.sum()):
        mine = tg.grad(lambda x, y, pick=pick: pick(*polar(x, y, scale=2.0)), argnums=(0, 1))(x, y)
        want = tg.grad(lambda x, y, pick=pick: pick(*plain(x, y)), argnums=(0, 1))(x, y)
        for a, b in zip(mine, want, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_what_is_declared_wrongly_is_named(x: tg.Tensor) -> None:
    total = tg.custom_vjp(lambda x: x.sum()).adjoints(x=lambda g: g)
    with pytest.raises(errors.ShapeError, match=r"gradient of x must be a Tensor of its shape \[3\], got Tensor \[\]"):
        total(x).backward()
    nothing = tg.custom_vjp(lambda x: x * 2).adjoints(x=lambda g: None)
    with pytest.raises(errors.ShapeError, match="got NoneType"):
        nothing(x).sum().backward()
    backward_only = tg.custom_vjp(lambda x: x * 2).adjoints(x=lambda g: g * 2)
    with pytest.raises(errors.OptionError, match=r"forward mode needs a rule; declare \.tangents\(x=\.\.\.\)"):
        tg.jvp(backward_only, (x,), (x.detach(),))
    with pytest.raises(errors.OptionError, match="names \\['h'\\]"):
        tg.custom_vjp(lambda x: x).adjoints(x=lambda h: h)
    with pytest.raises(errors.OptionError, match="annotate it so"):
        tg.custom_vjp(lambda x: (x, x)).adjoints(x=lambda g: g)(x)
    with pytest.raises(errors.OptionError, match="cannot be called y"):
        tg.custom_vjp(lambda x, y: x)
    with pytest.raises(errors.OptionError, match=r"takes \*args"):
        tg.custom_vjp(lambda *args: args[0])


# checkpoint


def net(device: str) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3)).to(device)


def test_a_checkpoint_changes_nothing_but_the_memory(device: str) -> None:
    tg.manual_seed(1)
    layers = [net(device) for _ in range(3)]

    def gradients(again: bool) -> list[np.ndarray]:
        tg.manual_seed(2)
        start = tg.Tensor(np.arange(6.0).reshape(2, 3), True, "float32", device)
        parameters = [p for layer in layers for p in layer.parameters()]
        for p in parameters:
            p.grad = None
        h = tg.tanh(start)
        for layer in layers:
            h = tg.checkpoint(layer, h) if again else layer(h)
        loss = h.sum() + tg.Generator(0).uniform((), device=device).sum()
        loss.backward()
        return [loss.numpy(), start.grad.numpy(), *(p.grad.numpy() for p in parameters)]

    for a, b in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_inside_is_let_go_of(x: tg.Tensor) -> None:
    seen = []

    def inside(x):
        y = tg.exp(x)  # its slope keeps y
        seen.append(weakref.ref(y.data))
        return tg.sin(y)

    gc.disable()
    try:
        plain, again = inside(x), tg.checkpoint(inside, x)
        assert [r() is None for r in seen] == [False, True]
        (plain + again).sum().backward()
        assert len(seen) == 3 and all(r() is None for r in seen)
    finally:
        gc.enable()


def test_a_checkpoint_is_differentiated_to_any_order(x: tg.Tensor) -> None:
    def inner(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        return (tg.exp(tg.sin(x) * w) * x).sum()

    def again(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
        return tg.checkpoint(lambda a: (tg.exp(a * w) * x).sum(), tg.sin(x))  # w and x are captured

    w = tg.Tensor([0.5, 1.5, -0.5], True, "float64", x.device)
    for f in (
        lambda h: tg.grad(h, argnums=(0, 1))(x, w),
        lambda h: tg.grad(lambda x, w: (tg.grad(h)(x, w) * w).sum(), argnums=(0, 1))(x, w),
        lambda h: (tg.hessian(h)(x, w), tg.jacobian(tg.grad(h, 1))(x, w)),
    ):
        for a, b in zip(f(again), f(inner), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_checkpoints_nest_and_take_trees(x: tg.Tensor) -> None:
    def outer(parts: dict, factor: float) -> tuple:
        y = tg.checkpoint(lambda a: tg.tanh(a) * factor, parts["a"])
        return y, {"n": 3, "z": y * parts["b"]}

    def total(run) -> tuple:
        a, b = x.detach().requires_grad_(), tg.Tensor(x.numpy() * 2, True, device=x.device)
        y, more = run({"a": a, "b": b})
        assert more["n"] == 3
        (y * more["z"]).sum().backward()
        return a.grad.numpy(), b.grad.numpy()

    want = total(lambda parts: outer(parts, 2.0))
    got = total(lambda parts: tg.checkpoint(outer, parts, factor=2.0))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_function_that_does_not_repeat_itself_is_refused(x: tg.Tensor) -> None:
    calls = []

    def counting(x):
        calls.append(1)
        return x * len(calls)

    with pytest.raises(errors.GraphError, match="counting computed something else the second time"):
        tg.checkpoint(counting, x).sum().backward()
    w = tg.Tensor([1.0, 2.0, 3.0], True, "float64", x.device)
    y = tg.checkpoint(lambda x: x * w, x)
    with tg.no_grad():
        w *= 2.0
    with pytest.raises(errors.GraphError, match="something else the second time"):
        y.sum().backward()


def test_without_recording_a_checkpoint_is_a_call(x: tg.Tensor) -> None:
    with tg.no_grad():
        assert not tg.checkpoint(tg.exp, x).requires_grad
    assert not tg.checkpoint(tg.exp, x.detach()).requires_grad
    _, moved = tg.jvp(lambda x: tg.checkpoint(tg.exp, x), (x,), (tg.ones_like(x),))
    np.testing.assert_allclose(moved.numpy(), np.exp(x.numpy()))


# Matrices in blocks


@pytest.mark.parametrize("mode", ["reverse", "forward"])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_blocks_make_up_the_jacobian(x: tg.Tensor, mode: str, size: int) -> None:
    def f(x):
        return tg.sin(tg.expand_dims(x, 0) * tg.Tensor([[1.0], [2.0]], dtype="float64", device=x.device))

    whole = tg.jacobian(f, mode=mode)
    blocks = list(whole.chunks(size, x))
    n = 6 if mode == "reverse" else 3
    assert [(s.start, s.stop) for s, _ in blocks] == [(i, min(i + size, n)) for i in range(0, n, size)]
    joined = np.concatenate([b.numpy() for _, b in blocks], axis=0 if mode == "reverse" else -1)
    np.testing.assert_array_equal(joined.reshape(2, 3, 3), whole(x).numpy())


def test_blocks_make_up_the_hessian(x: tg.Tensor) -> None:
    def f(x):
        return tg.exp(x * tg.flip(x, axis=0)).sum()

    joined = np.concatenate([b.numpy() for _, b in tg.hessian(f).chunks(2, x)], axis=-1)
    np.testing.assert_array_equal(joined, tg.hessian(f)(x).numpy())
    with pytest.raises(errors.OptionError, match=r"hessian\.chunks: 0 sweeps"):
        tg.hessian(f).chunks(0, x)
