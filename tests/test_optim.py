"""Optimizers against their formulas written out one number at a time; arenas, state, and what can go wrong."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support import holds, root

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim
from tinygrad_mlsp.errors import DTypeError, GraphError, OptionError, ShapeError
from tinygrad_mlsp.optim import optimizer as implementation

SHAPES = [(3, 4), (), (5,), (0, 2), (7, 1), (2, 2)]


def draw(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def parameters(device: str, dtype: Any = np.float64, shapes: Any = SHAPES) -> list[nn.Parameter]:
    return [nn.Parameter(np.asarray(draw(i, *s)), dtype=dtype, device=device) for i, s in enumerate(shapes)]


def set_gradients(ps: Any, step: int, skip: Any = ()) -> None:
    for i, p in enumerate(ps):
        p.grad = None if i in skip else draw(100 * step + i, *p.shape)


def values(ps: Any) -> list[Any]:
    return [p.numpy().copy() for p in ps]


# The formulas, one number at a time


def sgd(
    p: float, gradients: Any, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False
) -> float:  # type: ignore[no-untyped-def]
    b = None
    for g in gradients:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            b = g if b is None else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        p -= lr * g
    return p


def adam(
    p: float, gradients: Any, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False
) -> float:  # type: ignore[no-untyped-def]
    m = v = top = 0.0
    for t, g in enumerate(gradients, 1):
        g = (-g if maximize else g) + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        top = max(top, v)
        corrected = (top if amsgrad else v) / (1 - betas[1] ** t)
        p -= lr * m / (1 - betas[0] ** t) / (math.sqrt(corrected) + eps)
    return p


def lion(p: float, gradients: Any, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, maximize=False) -> float:  # type: ignore[no-untyped-def]
    m = 0.0
    for g in gradients:
        g = -g if maximize else g
        p -= lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p)
        m = betas[1] * m + (1 - betas[1]) * g
    return p


def delta_bar_delta(
    p: float, gradients: Any, lr=1e-2, kappa=1e-3, phi=0.1, theta=0.7, weight_decay=0.0, maximize=False
) -> float:  # type: ignore[no-untyped-def]
    rate, mean = lr, 0.0
    for g in gradients:
        g = (-g if maximize else g) + weight_decay * p
        rate = rate + kappa if mean * g > 0 else rate * (1 - phi) if mean * g < 0 else rate
        mean = theta * mean + (1 - theta) * g
        p -= rate * g
    return p


CASES: list[tuple[Any, Callable[..., float], dict[str, Any]]] = [
    (optim.SGD, sgd, {}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True, "maximize": True, "weight_decay": 0.2}),
    (optim.SGD, sgd, {"lr": 0.1, "maximize": True}),
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.Adam, adam, {"lr": 0.1, "amsgrad": True, "maximize": True}),
    (optim.Lion, lion, {"lr": 0.01}),
    (optim.Lion, lion, {"lr": 0.1, "betas": (0.0, 0.8), "maximize": True}),
    (optim.Lion, lion, {"lr": 0.1, "betas": (0.7, 0.8), "weight_decay": 0.3}),
    (optim.DeltaBarDelta, delta_bar_delta, {}),
    (
        optim.DeltaBarDelta,
        delta_bar_delta,
        {"lr": 0.1, "kappa": 0.05, "phi": 0.4, "theta": 0.5, "weight_decay": 0.2, "maximize": True},
    ),
]
OPTIMIZERS = [
    lambda ps: optim.SGD(ps, 0.1, 0.9, weight_decay=0.01),
    lambda ps: optim.Adam(ps, 0.1, amsgrad=True, weight_decay=0.01),
    lambda ps: optim.AdamW(ps, 0.1),
    lambda ps: optim.NAdam(ps, 0.1, weight_decay=0.01),
    lambda ps: optim.RAdam(ps, 0.1, weight_decay=0.01),
    lambda ps: optim.ASGD(ps, 0.1, t0=3, weight_decay=0.01),
    lambda ps: optim.Adafactor(ps, 0.1, weight_decay=0.01),
    lambda ps: optim.Adamax(ps, 0.1, weight_decay=0.01),
    lambda ps: optim.Adagrad(ps, 0.1, initial_accumulator_value=0.1, weight_decay=0.01),
    lambda ps: optim.RMSprop(ps, 0.1, momentum=0.5, centered=True, weight_decay=0.01),
    lambda ps: optim.Adadelta(ps, 0.1, weight_decay=0.01),
    lambda ps: optim.DeltaBarDelta(ps, 0.1, weight_decay=0.01),
    lambda ps: optim.Rprop(ps, 0.1),
    lambda ps: optim.Lion(ps, 0.1, weight_decay=0.01),
]


@pytest.fixture(params=["blocks of 4", "one block"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Small blocks cut parameters in pieces and put others together; the results may not depend on it."""
    if request.param == "blocks of 4":
        monkeypatch.setattr(implementation, "BLOCK", 4)
        monkeypatch.setattr(implementation, "LARGE", 4)
    yield request.param


@pytest.mark.parametrize(("kind", "formula", "options"), CASES, ids=lambda c: getattr(c, "__name__", str(c)))
def test_trajectories(kind: Any, formula: Any, options: dict[str, Any], blocks: str, device: str) -> None:
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        ps = parameters(device, dtype)
        start, optimizer, gradients = values(ps), kind(ps, **options), []
        for step in range(5):
            set_gradients(ps, step)
            gradients.append([p.grad.numpy().copy() for p in ps])
            optimizer.step()
            for p, g in zip(ps, gradients[-1], strict=True):
                np.testing.assert_array_equal(p.grad.numpy(), g)  # what was given is not changed
        for i, p in enumerate(ps):
            expected = np.empty(p.shape)
            for at in np.ndindex(*p.shape):
                expected[at] = formula(float(start[i][at]), [float(g[i][at]) for g in gradients], **options)
            holds(p, expected, dtype, tolerance)


def test_parameters_become_views_of_one_arena(device: str) -> None:
    ps = [*parameters(device, np.float32), *parameters(device, np.float64, [(2, 3)])]
    before = values(ps)
    optimizer = optim.SGD(ps, 0.1)
    assert [v.tolist() for v in values(ps)] == [v.tolist() for v in before]
    roots = {id(root(p.data)) for p in ps}
    assert len(roots) == 2  # one a dtype
    assert all(type(p) is nn.Parameter and p.requires_grad for p in ps)
    assert "7 parameters: lr=0.1" in repr(optimizer)
    ps[0].copy_(np.ones((3, 4)))
    set_gradients(ps, 0)
    g = ps[0].grad.numpy().copy()
    optimizer.step()
    holds(ps[0], 1 - 0.1 * g)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_parameters_without_a_gradient_rest_and_count_no_step(make: Any, blocks: str, device: str) -> None:
    ps, alone = parameters(device), parameters(device)
    together, each = make(ps), [make([p]) for p in alone]
    for step, skip in enumerate([(), (0, 2), (2, 5), (), range(6), (1, 4)]):
        for set_ in (ps, alone):
            set_gradients(set_, step, skip)
        together.step()
        for i, optimizer in enumerate(each):
            if i not in skip:
                optimizer.step()
    for p, q in zip(ps, alone, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())
    assert [together.state[p]["step"] for p in ps] == [4, 4, 3, 5, 4, 4]


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saved_state_goes_on_bit_for_bit(make: Any, dtype: Any, blocks: str, device: str) -> None:
    def advance(ps: Any, optimizer: Any, steps: range) -> None:
        for step in steps:
            set_gradients(ps, step, [step % 3])
            optimizer.step()

    ps = parameters(device, dtype)
    optimizer = make(ps)
    advance(ps, optimizer, range(4))
    state = optimizer.state_dict()
    saved, saved_values = copy.deepcopy(state), values(ps)
    advance(ps, optimizer, range(4, 8))
    for i, entry in saved["state"].items():  # what was saved does not move with the training
        for name, value in entry.items():
            now = state["state"][i][name]
            assert now.tolist() == value.tolist() if isinstance(value, tg.Tensor) else now == value

    for text in (saved, pickle.loads(pickle.dumps(saved))):
        again = [nn.Parameter(v, dtype=dtype, device=device) for v in saved_values]
        other = make(again)
        other.param_groups[0]["lr"] = 77.0
        other.load_state_dict(text)
        assert other.param_groups[0]["lr"] == 0.1
        advance(again, other, range(4, 8))
        for p, q in zip(ps, again, strict=True):
            np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_state_has_pytorchs_form(device: str) -> None:
    ps = parameters(device, np.float32, [(2,), (3,)])
    optimizer = optim.Adam([{"params": ps[:1]}, {"params": ps[1:], "lr": 0.5}])
    assert optimizer.state_dict()["state"] == {}
    set_gradients(ps, 0)
    optimizer.step()
    state = optimizer.state_dict()
    assert list(state["state"]) == [0, 1] and list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq", "scale"]
    assert [g["params"] for g in state["param_groups"]] == [[0], [1]]
    assert [g["lr"] for g in state["param_groups"]] == [1e-3, 0.5]
    g = ps[0].grad.numpy()
    holds(state["state"][0]["exp_avg"], 0.1 * g / state["state"][0]["scale"][0])
    assert list(optimizer.state[ps[0]]) == ["step", "exp_avg", "exp_avg_sq"]
    holds(optimizer.state[ps[0]]["exp_avg"], 0.1 * g)
    holds(optimizer.state[ps[0]]["exp_avg_sq"], 0.001 * g * g, tolerance=1e-9)
    momentum = optim.SGD([nn.Parameter([1.0], device=device)], 0.1, 0.9)
    theirs = {
        "state": {0: {"momentum_buffer": np.array([2.0])}},
        "param_groups": [
            {**momentum.state_dict()["param_groups"][0], "lr": 0.3, "momentum": 0.5, "params": [0], "foreach": None}
        ],
    }
    momentum.load_state_dict(theirs)
    p = momentum.param_groups[0]["params"][0]
    p.grad = [1.0]
    momentum.step()
    holds(p, [1 - 0.3 * (0.5 * 2 + 1)])


def test_adam_takes_pytorchs_state_and_other_betas_on_the_way(blocks: str, device: str) -> None:
    options = {"lr": 0.1, "amsgrad": True}
    ps = parameters(device, shapes=[(3, 4), (5,)])
    m, v, top = (np.abs(draw(i, 12)) for i in range(3))
    optimizer = optim.Adam([{"params": ps[:1]}, {"params": ps[1:]}], **options)
    theirs = optimizer.state_dict()
    theirs["state"] = {0: {"step": np.float32(3.0), "exp_avg": m.reshape(3, 4), "exp_avg_sq": v.reshape(3, 4),
                           "max_exp_avg_sq": top.reshape(3, 4)}}  # fmt: skip
    optimizer.load_state_dict(theirs)
    expected = ps[0].numpy().reshape(-1).copy()
    for t, betas in enumerate([(0.9, 0.999), (0.5, 0.99), (0.5, 0.99), (0.0, 0.9)], 4):
        optimizer.param_groups[0]["betas"] = betas
        set_gradients(ps, t)
        g = ps[0].grad.numpy().reshape(-1)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        top = np.maximum(top, v)
        expected -= 0.1 * m / (1 - betas[0] ** t) / (np.sqrt(top / (1 - betas[1] ** t)) + 1e-8)
        optimizer.step()
    holds(ps[0], expected.reshape(3, 4), tolerance=1e-12)
    for name, value in {"exp_avg": m, "exp_avg_sq": v, "max_exp_avg_sq": top}.items():
        holds(optimizer.state[ps[0]][name], value.reshape(3, 4), tolerance=1e-12)
    assert optimizer.state[ps[1]]["step"] == 4


def test_loading_what_does_not_fit_changes_nothing(device: str) -> None:
    ps = parameters(device, shapes=[(2,), (3,)])
    optimizer = optim.Adam(ps)
    set_gradients(ps, 0)
    optimizer.step()
    good = optimizer.state_dict()
    wrong_shape, wrong_name, wrong_option = (copy.deepcopy(good) for _ in range(3))
    wrong_shape["state"][1]["exp_avg"] = tg.zeros((4,))
    wrong_name["state"][0]["momentum_buffer"] = tg.zeros((2,))
    wrong_option["param_groups"][0]["lr"] = -1.0
    with pytest.raises(ShapeError, match=r"exp_avg of parameter 1 has shape \[4\], the parameter \[3\]"):
        optimizer.load_state_dict(wrong_shape)
    with pytest.raises(OptionError, match="no state 'momentum_buffer'"):
        optimizer.load_state_dict(wrong_name)
    with pytest.raises(OptionError, match="lr must be a finite number"):
        optimizer.load_state_dict(wrong_option)
    with pytest.raises(OptionError, match=r"groups of \[1\] parameters were saved, these are groups of \[2\]"):
        optimizer.load_state_dict(optim.Adam([nn.Parameter([1.0])]).state_dict())
    for i, entry in optimizer.state_dict()["state"].items():
        assert entry["exp_avg"].tolist() == good["state"][i]["exp_avg"].tolist() and entry["step"] == 1


def test_groups_have_their_own_options_and_can_be_added(device: str) -> None:
    a, b, c = parameters(device, shapes=[(2,), (3,), (1,)])
    optimizer = optim.SGD([{"params": [a], "lr": 1.0}, {"params": [b]}], lr=0.1)
    optimizer.add_param_group({"params": c, "momentum": 0.5})
    before = values([a, b, c])
    set_gradients([a, b, c], 0)
    optimizer.step()
    optimizer.param_groups[1]["lr"] = 0.0
    optimizer.step()
    for p, v, factor in zip([a, b, c], before, [2.0, 0.1, 0.1 * 2.5], strict=True):
        holds(p, v - factor * p.grad.numpy(), tolerance=1e-12)
    assert [g["momentum"] for g in optimizer.param_groups] == [0, 0, 0.5]
    named = optim.SGD(nn.Linear(2, 2).named_parameters(), lr=0.1)
    assert [p.shape for p in named.param_groups[0]["params"]] == [(2, 2), (2,)]
    for group, message in (
        ({"params": [a]}, "given twice"),
        ({"params": [tg.ones(1)], "speed": 1}, "speed"),
        ({"lr": 1.0}, "'params'"),
    ):
        with pytest.raises(OptionError, match=message):
            optimizer.add_param_group(group)


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_parameters_that_were_given_other_arrays(make: Any, device: str) -> None:
    ps, same = parameters(device), parameters(device)
    optimizer, reference = make(ps), make(same)
    for step in range(3):
        for p, q in zip(ps, same, strict=True):
            p.data = p.data * 0.5  # a new array
            q.copy_(q.numpy() * 0.5)  # the same, in place
        for set_ in (ps, same):
            set_gradients(set_, step)
        optimizer.step()
        reference.step()
    for p, q in zip(ps, same, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_a_model_can_move_after_its_optimizer_was_made(device: str) -> None:
    model, twin = (nn.Linear(3, 2, dtype=np.float64, generator=tg.Generator(0)) for _ in range(2))
    optimizer, reference = optim.Adam(model.parameters(), 0.1), optim.Adam(twin.parameters(), 0.1)
    for step in range(4):
        if step == 2:
            model.to(device, np.float32)
        for m in (model, twin):
            set_gradients(m.parameters(), step)
        optimizer.step()
        reference.step()
    assert model.weight.dtype == np.float32 and model.weight.device.startswith(device)
    holds(model.weight, twin.weight.numpy(), tolerance=1e-5)
    assert (
        optimizer.state[model.weight]["step"] == 4
        and optimizer.state[model.weight]["exp_avg"].device == model.weight.device
    )


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))], ids=["deepcopy", "pickle"]
)
def test_copies_of_model_and_optimizer_belong_together(make: Any, duplicate: Any, device: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2, device=device), nn.Tanh(), nn.Linear(2, 1, device=device))
    optimizer = make(model.parameters())

    def train(model: Any, optimizer: Any) -> None:
        for step in range(3):
            set_gradients(model.parameters(), step)
            optimizer.step()

    train(model, optimizer)
    twin, other = duplicate((model, optimizer))
    before = values(model.parameters())
    train(twin, other)
    for p, v in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.numpy(), v)
    train(model, optimizer)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())
    assert other.param_groups[0]["params"][0] is twin[0].weight


def test_two_optimizers_may_share_a_parameter(device: str) -> None:
    p = nn.Parameter([1.0, 2.0], device=device)
    one, two = optim.SGD([p], 0.1), optim.SGD([p], 1.0)
    p.grad = [1.0, 1.0]
    for optimizer in (one, two, one):
        optimizer.step()
    holds(p, [-0.2, 0.8], tolerance=1e-6)


def test_a_graph_from_before_the_step_refuses(device: str) -> None:
    layer, x = nn.Linear(2, 2, device=device), tg.Tensor([[1.0, 2.0]], requires_grad=True, device=device)
    optimizer = optim.SGD(layer.parameters(), 0.1)
    loss, stale = (tg.tanh(layer(x)).sum() for _ in range(2))
    loss.backward()
    optimizer.step()
    with pytest.raises(GraphError, match=r"backward of linear.*changed in place afterwards"):
        stale.backward()
    fresh = layer(x).sum()
    fresh.backward()
    stale = layer(x).sum()
    optimizer.zero_grad()
    optimizer.step()  # nothing to do, nothing changed
    stale.backward()
    stale = layer(x).sum()
    layer.weight.data = layer.weight.data * 2  # a new array, which the step copies into the arena
    optimizer.zero_grad()
    optimizer.step()
    with pytest.raises(GraphError, match="changed in place"):
        stale.backward()


def test_gradients_of_any_layout_and_kind(device: str) -> None:
    p, q = nn.Parameter(draw(0, 3, 4), device=device), nn.Parameter(draw(0, 3, 4), device=device)
    g = draw(1, 4, 3)
    p.grad, q.grad = tg.Tensor(g, device=device).data.T, g.T.copy()
    for parameter in (p, q):
        optim.SGD([parameter], 0.1).step()
    np.testing.assert_array_equal(p.numpy(), q.numpy())
    x = nn.Parameter([3.0], device=device)
    optimizer = optim.SGD([x], 0.5)
    (x * x).sum().backward(create_graph=True)  # a gradient that is itself in a graph
    assert x.grad.requires_grad
    optimizer.step()
    holds(x, [0.0])


def test_frozen_parameters_stay(device: str) -> None:
    a, b = parameters(device, shapes=[(2,), (2,)])
    optimizer = optim.Adam([a, b])
    a.requires_grad = False
    before = a.tolist()
    optimizer.zero_grad()
    b.grad = [1.0, 1.0]
    optimizer.step()
    assert a.tolist() == before and b.grad is not None
    optimizer.zero_grad(set_to_none=False)
    assert b.grad.tolist() == [0, 0] and a.grad is None
    optimizer.zero_grad()
    assert b.grad is None


def test_closure_and_a_whole_minimization(device: str) -> None:
    p = nn.Parameter([3.0, -2.0], dtype=np.float64, device=device)
    optimizer = optim.SGD([p], 0.3, momentum=0.5, nesterov=True)

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        first = optimizer.step(closure)
    assert float(first) == 13
    for _ in range(60):
        last = optimizer.step(closure)
    assert float(last) < 1e-12
    assert optimizer.step() is None


def test_wrong_arguments_are_named() -> None:
    p = nn.Parameter([1.0])
    for make, message in (
        (lambda: optim.SGD([p], lr=-1), "SGD: lr must be a finite number of 0 or more, got -1"),
        (lambda: optim.SGD([p], nesterov=True), "nesterov wants a momentum"),
        (lambda: optim.Adam([p], betas=(0.9, 1.0)), "betas are two numbers"),
        (lambda: optim.Adam([p], eps=math.nan), "eps must be a finite number of 0 or more, got nan"),
        (lambda: optim.Adam([]), "got no parameters"),
        (lambda: optim.Adam(p), "not one Tensor"),
        (lambda: optim.Adam([p, p]), r"shape \[1\] is given twice"),
    ):
        with pytest.raises(OptionError, match=message):
            make()
    with pytest.raises(DTypeError, match="not ndarray"):
        optim.SGD([np.ones(3)])
    with pytest.raises(DTypeError, match="real floating-point numbers, not complex64"):
        optim.SGD([tg.Tensor([1j], requires_grad=True)])
    with pytest.raises(GraphError, match="computed from others"):
        optim.SGD([p * 2])
    with pytest.raises(NotImplementedError):
        base = optim.Optimizer([p], {"lr": 0.1})
        p.grad = [1.0]
        base.step()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda p: optim.SGD(p, lr=math.inf), "lr.*got inf"),
        (lambda p: optim.SGD(p, lr=math.nan), "lr.*got nan"),
        (lambda p: optim.SGD(p, lr="a"), "lr.*got 'a'"),
        (lambda p: optim.Adam(p, betas=0.9), "betas are two numbers.*got 0.9"),
        (lambda p: optim.SGD(nn.Linear(2, 2)), "got a module, Linear; pass model.parameters()"),
        (lambda p: optim.SGD(3), "not 3"),
        (lambda p: optim.SGD(p).load_state_dict({}), r"SGD.load_state_dict.*'param_groups', got the keys \[\]"),
        (lambda p: optim.Adam(p).load_state_dict(None), "Adam.load_state_dict.*got NoneType"),
        (lambda p: optim.Adam(p).load_state_dict(optim.SGD(p).state_dict()), "lack betas, eps, amsgrad"),
        (lambda p: optim.SGD(p).load_state_dict(optim.Adam(p).state_dict()), "lack momentum, dampening, nesterov"),
    ],
)
def test_wrong_options_and_states_are_named(make: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make([nn.Parameter([1.0])])


def test_a_tensor_without_gradient_is_refused_a_frozen_parameter_is_not() -> None:
    with pytest.raises(GraphError, match="wants no gradient"):
        optim.SGD([tg.ones(2)])
    assert optim.SGD([nn.Parameter([1.0], requires_grad=False)])
