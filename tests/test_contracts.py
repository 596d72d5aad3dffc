"""The contracts: correct functions keep them all, and each is broken by a fault planted for it."""

from __future__ import annotations

import contextvars
import itertools
import time
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from domains import DOMAINS, Draw

import tinygrad_mlsp as tg
from tinygrad_mlsp import op as op_module
from tinygrad_mlsp import sweep
from tinygrad_mlsp.checking import GradientCheckError, contracts
from tinygrad_mlsp.checking.contracts import _OURS, _THEIRS
from tinygrad_mlsp.derivatives import flatten
from tinygrad_mlsp.errors import OptionError
from tinygrad_mlsp.op import Operation, registry
from tinygrad_mlsp.tensor import Tensor

X = np.array([[0.5, -1.25, 0.75], [1.5, 0.25, -0.5]])
W = np.array([[0.3, 1.1], [-0.7, 0.2], [0.9, -0.4]])


def operation(forward: Callable[..., Any], kind: str = "general", **adjoints: Callable[..., Any]) -> Operation:
    """An operation of a user, outside the registry, so that nothing is left of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(op_module, "registry", {})
        patch.setattr(op_module, "on_declaration", [])
        return Operation(forward, kind, "planted").adjoints(**adjoints)


def same(xp: Any, x: Any) -> Any:
    return xp.positive(x)


def changing(value: Any, by: float) -> Any:
    """The value, changed in place if it is an array."""
    if not isinstance(value, Tensor):
        value *= by
    return value


# Correct functions


class Layer(tg.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = tg.nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.linear(x)


CORRECT: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "matmul": (lambda x, w: tg.tanh(x @ w), (X, W)),
    "two of one shape": (lambda x, y: x * y + tg.sin(x), (X, X + 1)),
    "broadcast": (lambda x, b: x / b, (X, np.array([1.0, 2.0, -3.0]))),
    "several results": (lambda x: (x.sum(), {"max": x.max(axis=0)}), (X,)),
    "nested arguments": (lambda p: tg.exp(p["x"] @ p["w"]), ({"x": X, "w": W},)),
    "complex": (lambda x: x * tg.conj(x) + x, (X + 1j * X[::-1],)),
    "0-d": (lambda x: tg.exp(x), (np.array(0.3),)),
    "empty": (lambda x: x.sum(axis=0) * 2, (np.zeros((0, 3)),)),
    "indices": (lambda x, i: tg.take(x, i, axis=0), (X, np.array([0, 1, 1]))),
    "one of the results is an argument": (lambda x: (x, 2 * x), (X,)),
    "a view": (lambda x: x.T, (X,)),
    "an argument without use": (lambda x, y: 2 * x, (X, X)),
    "float32": (lambda x: tg.softmax(x, axis=-1), (X.astype("float32"),)),
    "Fortran order": (lambda x: x.reshape((3, 2)) * 2.0, (np.asfortranarray(X),)),
    "a fixed result": (lambda x: (x * 2, Tensor(X, device=x.device)), (X,)),
}


@pytest.mark.parametrize("name", CORRECT)
def test_a_correct_function_keeps_every_contract(name: str, device: str) -> None:
    f, inputs = CORRECT[name]
    leaves, like = flatten(inputs)
    report = contracts(f, *like([Tensor(x, device=device) for x in leaves]))
    assert report.ok and report.verdict == "pass" and report.broken == (), str(report)
    assert report.assert_ok() is report
    assert [c.name for c in report.results] == [*_OURS]
    assert report.checked >= 10


# By design: a dtype that is asked for stays, the mean of nothing has no gradient, and two sides of an LSTM's arrays
# may have one length without being one side.
# "zero size" takes axes of one length for one side, which they are not in these.
EXCEPTIONS = {
    "astype": "float32 stays float32", "lstm_cell": "zero size", "convolution_input": "zero size",
    "max_pool_pick": "zero size",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in DOMAINS if registry[name].differentiable])
def test_every_operation_keeps_every_contract(name: str) -> None:
    """At one place each, on the CPU; `test_registry` is the long account of an operation."""
    case = DOMAINS[name].case(Draw(Random(name), 0))
    leaves, like = flatten(case.arguments)
    places = [i for i, x in enumerate(leaves) if isinstance(x, np.ndarray)]

    def f(*tensors: Any) -> Any:
        filled = list(leaves)
        for i, x in zip(places, tensors, strict=True):
            filled[i] = x
        return registry[name](*like(filled), **case.options)

    report = contracts(f, *[leaves[i] for i in places], threads=2, skip=["second order"])
    assert {*report.broken} <= {EXCEPTIONS.get(name)}, str(report)


def test_parameters_keep_their_gradients() -> None:
    layer = Layer()
    layer(Tensor(X.astype("float32"))).sum().backward()
    before = [p.grad for p in layer.parameters()]
    kept = [g.numpy().copy() for g in before if g is not None]
    assert len(kept) == 2
    contracts(layer, X.astype("float32")).assert_ok()
    for p, old in zip(layer.parameters(), kept, strict=True):
        assert p.grad is not None and np.array_equal(p.grad.numpy(), old)


def test_what_does_not_apply_is_skipped_with_the_reason() -> None:
    report = contracts(lambda x: 2 * x, np.array(1.0))
    assert report["the same tensor twice"].verdict == "skip"
    assert "no two arguments" in report["the same tensor twice"].reason
    assert report["zero size"].reason == "f takes no empty arguments"
    assert "skip  zero size" in str(report)
    with pytest.raises(OptionError, match="there is none named 'speed'"):
        report["speed"]


def test_a_function_without_slope_has_little_to_keep() -> None:
    report = contracts(tg.floor, X)
    assert report.ok and report["accumulation"].reason == "no result depends on a floating-point argument"
    assert report["no_grad"].verdict == "pass" and report["gradients own their memory"].verdict == "skip"


def test_what_a_broken_contract_wrote_over_is_put_back() -> None:
    mine = np.array(X[::-1], order="F")[::-1]
    report = contracts(operation(writes_into_its_argument, x=lambda g: g), mine)
    assert "inputs unchanged" in report.broken and "double backward" not in report.broken
    assert np.array_equal(mine, X)


def test_only_and_skip() -> None:
    report = contracts(lambda x: 2 * x, X, only=["threads", "deterministic"], skip=["threads"])
    assert [c.name for c in report.results] == ["deterministic"]
    with pytest.raises(OptionError, match="there are inputs unchanged"):
        contracts(lambda x: 2 * x, X, only=["speed"])


def test_inputs_must_be_differentiable_and_results_tensors() -> None:
    with pytest.raises(OptionError, match="floating-point"):
        contracts(lambda x: x, np.array([1, 2]))
    report = contracts(lambda x: 3.0, X)
    assert not report.ok
    assert "must return tensors, not float" in report["inputs unchanged"].reason


# Faults


def writes_into_its_argument(xp: Any, x: Any) -> Any:
    x += 1
    return xp.positive(x)


def only_when_zero_stride(xp: Any, g: Any) -> Any:
    return 2 * g if not isinstance(g, Tensor) and 0 in g.strides else g


def in_memory_order(xp: Any, g: Any) -> Any:
    if isinstance(g, Tensor):
        return xp.positive(g)
    return np.asarray(g).ravel(order="K").reshape(g.shape)


def pops(stack: list[Any]) -> Operation:
    def forward(xp: Any, x: Any) -> Any:
        stack.append(1.0)
        return xp.positive(x)

    return operation(forward, x=lambda g: g * stack.pop())


SCRATCH: dict[str, Any] = {}
KEPT = np.empty((2, 3))
RANDOM = np.random.default_rng(0)


def through_scratch(xp: Any, x: Any) -> Any:
    SCRATCH["x"] = x
    time.sleep(1e-4)
    return xp.positive(SCRATCH["x"])


def recording_in_spite(x: Any) -> Any:
    with tg.enable_grad():
        return 2 * x


def leaves_it_off(x: Any) -> Any:
    y = 2 * x
    tg.no_grad().__enter__()
    return y


def counter(values: Any = None) -> Operation:
    calls = itertools.count(1)
    return operation(same, x=lambda g: g * next(calls))


def noise(xp: Any, x: Any) -> Any:
    return x + RANDOM.normal(size=x.shape)


def frozen(v: Any) -> Any:
    return v.detach() if isinstance(v, Tensor) else v


PLANTED: dict[str, tuple[str, Callable[[], Callable[..., Any]], tuple[Any, ...], str]] = {
    "forward writes into its argument": (
        "inputs unchanged", lambda: operation(writes_into_its_argument, x=lambda g: g), (X,), "computing f changed",
    ),
    "backward writes into an argument": (
        "inputs unchanged", lambda: operation(same, x=lambda g, x: g + 0 * changing(x, 2)), (X,),
        "computing the gradient changed argument 0",
    ),
    "the second argument is written": (
        "inputs unchanged",
        lambda: operation(lambda xp, a, b: a * changing(b, 2), a=lambda g, b: g * b, b=lambda g, a: g * a), (X, X + 1),
        "argument 1",
    ),
    "backward writes into g": (
        "upstream gradient unchanged", lambda: operation(same, x=lambda g: changing(g, -1)), (X,), "wrote into",
    ),
    "a gradient of another dtype": (
        "shape and dtype", lambda: operation(same, x=lambda xp, g: g.astype("float32")), (X,), "float32",
    ),
    "forward reads memory in its order": (
        "layout of the inputs", lambda: operation(in_memory_order_forward, x=lambda g: g), (X,), "transposed",
    ),
    "backward reads memory in its order": (
        "layout of the upstream gradient", lambda: operation(same, x=in_memory_order), (X,), "transposed",
    ),
    "backward stumbles over a zero stride": (
        "layout of the upstream gradient", lambda: operation(same, x=only_when_zero_stride), (X,), "zero-stride",
    ),
    "a shortcut for the same tensor": (
        "the same tensor twice", lambda: lambda x, y: x * y if x is not y else 2 * x, (X, X + 1), r"f\(x, x\)",
    ),
    "half of the gradient for the same tensor": (
        "the same tensor twice", lambda: lambda x, y: x * y if x is not y else x * x.detach(), (X, X + 1),
        "not the sum",
    ),
    "a gradient that counts": ("accumulation", counter, (X,), "twice"),
    "a gradient once only": ("retain_graph", lambda: pops([]), (X,), "raised IndexError"),
    "no gradient for nothing": (
        "zero size", lambda: operation(same, x=lambda xp, g, x: g * (xp.max(x) == xp.max(x))), (X,), "raises",
    ),
    "noise": ("deterministic", lambda: operation(noise, x=lambda g: g), (X,), "another value"),
    "a noisy gradient": ("deterministic", counter, (X,), "the gradient is another one"),
    "a recorded gradient of its own": (
        "double backward", lambda: operation(same, x=lambda g: -g if isinstance(g, Tensor) else g), (X,),
        "create_graph",
    ),
    "a frozen slope": (
        "second order",
        lambda: operation(lambda xp, x: x * x, x=lambda g, x: 2 * g * frozen(x)).tangents(x=lambda t, x: 2 * x * t),
        (X,), "fail",
    ),
    "a scratch buffer": ("threads", lambda: operation(through_scratch, x=lambda g: g), (X,), "8 threads"),
    "recording in spite": ("no_grad", lambda: recording_in_spite, (X,), "records its making"),
    "recording left off": ("recording restored", lambda: leaves_it_off, (X,), "recording is off"),
    "a wide constant": (
        "float32 stays float32", lambda: operation(lambda xp, x: x * np.ones(()), x=lambda g: g * np.ones(())), (X,),
        "float64",
    ),
    "a wide gradient": (
        "float32 stays float32", lambda: operation(same, x=lambda g, x: g * np.ones(3)), (X,), "float64",
    ),
}  # fmt: skip


def in_memory_order_forward(xp: Any, x: Any) -> Any:
    return x.ravel(order="K").reshape(x.shape)


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_breaks_its_contract(planted: str) -> None:
    name, make, inputs, words = PLANTED[planted]
    report = contextvars.copy_context().run(contracts, make(), *[x.copy() for x in inputs], only=[name])
    assert report.broken == (name,) and report.verdict == "fail"
    with pytest.raises(GradientCheckError, match=words):
        report.assert_ok()


def test_gradients_that_share_memory_break_their_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep copies what a rule hands out twice; without that, the contract is broken in each of its parts."""
    add = operation(lambda xp, a, b: a + b, a=lambda g: g, b=lambda g: g)
    report = contracts(add, X, X + 1, only=["gradients own their memory"])
    assert report.ok
    monkeypatch.setattr(sweep, "sole", lambda xp, holder: holder.pop())
    report = contracts(add, X, X + 1, only=["gradients own their memory"])
    assert "shares memory with" in report["gradients own their memory"].reason
    buffered = operation(same, x=lambda g: np.multiply(g, 1, out=KEPT))
    report = contracts(buffered, X, only=["gradients own their memory"])
    assert "a later one" in report["gradients own their memory"].reason


def test_every_contract_has_a_planted_fault() -> None:
    assert {name for name, *_ in PLANTED.values()} | {"gradients own their memory"} == {*_OURS}


# Functions that are not ours


def power(x: Any, y: Any) -> Any:
    return (x * x * y).sum()


def slopes(x: Any, y: Any) -> Any:
    return 2 * x * y, x * x


def test_a_hand_written_gradient_keeps_the_contracts() -> None:
    report = contracts(power, X, X + 1, gradient=slopes)
    assert report.ok and [c.name for c in report.results] == [*_THEIRS], str(report)
    assert all(c.verdict == "pass" for c in report.results), str(report)
    assert contracts(lambda x: float(x @ x), X[0], gradient=lambda x: 2 * x).ok


def into_a_buffer(x: Any, y: Any) -> Any:
    return 2 * x * y, np.multiply(x, x, out=KEPT)


def by_scratch(x: Any, y: Any) -> Any:
    SCRATCH["x"] = x.copy()
    time.sleep(1e-4)
    return 2 * SCRATCH["x"] * y, x * x


THEIRS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "argument written": ("inputs unchanged", lambda x, y: (2 * y * changing(x, 1.5), x * x), "argument 0"),
    "buffer": ("gradients own their memory", into_a_buffer, "a later one"),
    "argument handed out": ("gradients own their memory", lambda x, y: (x, x * x), "shares memory with argument 0"),
    "one array for two": ("gradients own their memory", lambda x, y: [2 * x * y] * 2, "shares memory"),
    "shape": ("shape and dtype", lambda x, y: (2 * x * y, (x * x)[0]), "shape"),
    "memory order": (
        "layout of the inputs", lambda x, y: ((2 * x * y).ravel("K").reshape(x.shape), x * x), "transposed",
    ),
    "identity": ("the same tensor twice", lambda x, y: (0 * x if x is y else 2 * x * y, x * x), r"f\(x, x\)"),
    "empty": ("zero size", lambda x, y: (2 * x * y / x.max() * x.max(), x * x), "raises"),
    "noise": ("deterministic", lambda x, y: (2 * x * y + RANDOM.random(), x * x), "another one"),
    "threads": ("threads", by_scratch, "threads"),
    "float32": ("float32 stays float32", lambda x, y: (2 * x * y * np.ones(3), x * x), "float64"),
}  # fmt: skip


@pytest.mark.parametrize("planted", THEIRS)
def test_a_planted_fault_in_a_hand_written_gradient_is_noticed(planted: str) -> None:
    name, gradient, words = THEIRS[planted]
    report = contracts(power, X.copy(), X + 1, gradient=gradient, only=[name])
    with pytest.raises(GradientCheckError, match=words):
        report.assert_ok()


def test_every_contract_of_theirs_has_a_planted_fault() -> None:
    assert {name for name, *_ in THEIRS.values()} == {*_THEIRS}


def test_a_gradient_of_too_few_arrays_is_named() -> None:
    report = contracts(power, X, X, gradient=lambda x, y: (x,), only=["shape and dtype"])
    assert "1 arrays for 2 arguments" in report["shape and dtype"].reason
