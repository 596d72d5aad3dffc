"""Second-order optimizers: against SciPy on the standard test functions, on saddle points, and on a real net."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.optimize

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, nn, optim
from tinygrad_mlsp.derivatives import gauss_newton, ggnvp, grad, hessian, jacobian
from tinygrad_mlsp.optim import newton
from tinygrad_mlsp.optim.line_search import Point, cubic_minimum, strong_wolfe
from tinygrad_mlsp.optim.newton import conjugate_gradient, trust_region_step


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def beale(p: Any) -> Any:
    x, y = p[0], p[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def himmelblau(p: Any) -> Any:
    x, y = p[0], p[1]
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def booth(p: Any) -> Any:
    x, y = p[0], p[1]
    return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


def bowl(p: Any) -> Any:
    return (tg.asarray(np.logspace(0, 4, 10), device=getattr(p, "device", "cpu")) * (p - 1) ** 2).sum()


def saddle(p: Any) -> Any:
    return p[0] ** 2 - p[1] ** 2 + p[1] ** 4


def monkey(p: Any) -> Any:
    return p[0] ** 3 - 3 * p[0] * p[1] ** 2


FUNCTIONS = {
    "Rosenbrock": (rosenbrock, [-1.2, 1.0]),
    "Rosenbrock 10": (rosenbrock, [-1.2, 1.0] * 5),
    "Beale": (beale, [1.0, 1.0]),
    "Himmelblau": (himmelblau, [0.5, 0.2]),
    "Booth": (booth, [-5.0, 3.0]),
    "bowl": (bowl, [0.0] * 10),
}
SCIPY = {"bfgs": "BFGS", "cg": "CG", "cg-fr": "CG", "l-bfgs": "L-BFGS-B", "newton": "trust-exact",
         "newton-damped": "Newton-CG"}  # fmt: skip


def on(device: str, x0: Any) -> Any:
    return tg.Tensor(np.asarray(x0, np.float64), device=device)


@pytest.mark.parametrize("method", SCIPY)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_scipy(name: str, method: str, device: str) -> None:
    f, x0 = FUNCTIONS[name]
    mine = optim.minimize(f, on(device, x0), method, max_iter=1000, tolerance_grad=1e-6)
    slope = lambda x: grad(f)(x).numpy()
    curved = {"hess": lambda x: hessian(f)(x).numpy()} if "newton" in method else {}
    theirs = scipy.optimize.minimize(
        lambda x: float(f(tg.Tensor(x))), np.asarray(x0), jac=slope, method=SCIPY[method], **curved,
        options={"gtol": 1e-6} if method in ("bfgs", "cg", "cg-fr", "newton") else {},
    )  # fmt: skip
    assert mine.success
    x = mine.x.numpy()
    assert np.abs(slope(x)).max() <= 1e-6 and np.linalg.eigvalsh(hessian(f)(x).numpy())[0] > 0  # a minimum
    if name == "Rosenbrock 10":  # has a second one, at 3.99
        assert min(mine.fun, abs(mine.fun - 3.986579)) < 1e-5
    else:
        np.testing.assert_allclose(x, theirs.x, rtol=1e-3, atol=1e-3)
        assert mine.fun <= theirs.fun + 1e-8
    if method != "newton-damped":  # truncated in SciPy, exact here
        reached = next(i for i, loss in enumerate(mine.losses) if loss <= theirs.fun * (1 + 1e-9) + 1e-12)
        assert reached <= 2 * theirs.nit + 10 and mine.nfev <= 3 * mine.nit + 3
    assert len(mine.trajectory) == len(mine.losses) == mine.nit + 1
    assert mine.losses[0] == pytest.approx(float(f(tg.Tensor(np.asarray(x0)))))
    assert mine.losses[-1] == pytest.approx(mine.fun, abs=1e-12)
    if method != "cg":
        assert all(b <= a + 1e-12 for a, b in zip(mine.losses, mine.losses[1:], strict=False))


@pytest.mark.parametrize("method", ["newton", "newton-damped"])
@pytest.mark.parametrize("start", [(0.0, 0.0), (0.5, 0.0), (1e-9, 1e-9), (0.3, -0.01)])
def test_newton_leaves_a_saddle_even_from_the_point_itself(method: str, start: Any, device: str) -> None:
    found = optim.minimize(saddle, on(device, start), method)
    assert found.success and found.nit < 40
    np.testing.assert_allclose(np.abs(found.x.numpy()), [0, math.sqrt(0.5)], atol=1e-6)
    assert found.fun == pytest.approx(-0.25)
    pure = np.asarray(start, float)  # the lectures' step, −H⁻¹∇C, goes to the saddle
    for _ in range(20):
        pure = pure - np.linalg.solve(hessian(saddle)(pure).numpy(), grad(saddle)(pure).numpy())
    assert saddle(pure) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("method", ["newton", "newton-damped", "bfgs", "l-bfgs", "cg"])
def test_the_monkey_saddle_is_left(method: str, device: str) -> None:
    with np.errstate(all="ignore"):  # the way down has no end
        found = optim.minimize(monkey, on(device, (0.1, 0.01)), method, max_iter=12)
    assert found.fun < -1  # nothing holds it from there on


def test_trust_region_steps_are_the_best_in_the_ball() -> None:
    rng = np.random.default_rng(0)
    for case in range(60):
        bends = np.sort(rng.standard_normal(4) + (case % 3 - 1))
        parts = rng.standard_normal(4)
        if case % 4 == 0:
            parts[0] = 0  # the hard case, if the lowest bend is negative
        radius = 10.0 ** rng.uniform(-2, 1)
        s = trust_region_step(np, bends, parts, radius)
        assert np.linalg.norm(s) <= radius * (1 + 1e-5)
        value = lambda s, bends=bends, parts=parts: parts @ s + 0.5 * bends @ (s * s)
        others = rng.standard_normal((4000, 4))
        others *= radius * rng.random((4000, 1)) ** 0.25 / np.linalg.norm(others, axis=1, keepdims=True)
        near = s + 1e-3 * radius * rng.standard_normal((4000, 4))
        near *= np.minimum(1, radius / np.linalg.norm(near, axis=1, keepdims=True))
        best = min(value(o) for o in [*others[::10], *near[::10]])
        assert value(s) <= best + 1e-5 * abs(best)


def test_the_gauss_newton_product_is_the_dense_matrixs(device: str) -> None:
    rng = np.random.default_rng(1)
    w, x, labels = rng.standard_normal((5, 3)), rng.standard_normal((7, 5)), rng.integers(0, 3, 7)
    x, labels = tg.Tensor(x, device=device), tg.Tensor(labels, device=device)
    f = lambda w: tg.tanh(x @ w) * 2
    losses = [lambda z: nn.functional.cross_entropy(z, labels), lambda z: (z * z * z).sum()]
    for loss in losses:
        weights = on(device, w)
        J = jacobian(f)(weights).numpy().reshape(21, 15)
        z = f(weights)
        H = hessian(loss)(z).numpy().reshape(21, 21)
        G = J.T @ H @ J
        value, slope, product = gauss_newton(f, loss, weights)
        assert float(value) == pytest.approx(float(loss(z)))
        np.testing.assert_allclose(slope.numpy(), grad(lambda w, loss=loss: loss(f(w)))(weights).numpy(), rtol=1e-10)
        for seed in range(3):
            v = np.random.default_rng(seed).standard_normal((5, 3))
            for found in (product(on(device, v)), ggnvp(f, loss, weights, on(device, v))):
                np.testing.assert_allclose(found.numpy().reshape(-1), G @ v.reshape(-1), rtol=1e-9, atol=1e-12)
    assert np.linalg.eigvalsh(G)[0] < 0  # of the second loss, which is not convex
    nested = ggnvp(
        lambda t: t["a"] * t["b"], lambda z: (z * z).sum(), {"a": [2.0], "b": [3.0]}, {"a": [1.0], "b": [0.0]}
    )
    assert nested["a"].tolist() == [18.0] and nested["b"].tolist() == [12.0]


def test_the_gauss_newton_product_can_be_differentiated() -> None:
    f, loss = lambda x: x * x, lambda z: (z * z).sum()
    v = tg.Tensor(np.array([1.0, -2.0]))
    found = grad(lambda x: (ggnvp(f, loss, x, v) * v).sum())(np.array([0.5, 3.0]))  # of Σ 2 (2 x v)²
    np.testing.assert_allclose(found.numpy(), 16 * np.array([0.5, 3.0]) * v.numpy() ** 2)


def test_line_search_meets_both_conditions() -> None:
    curves: list[Any] = [
        lambda t: (t - 3) ** 2,
        lambda t: -t / (t * t + 2),  # Moré and Thuente's first
        lambda t: np.cos(3 * t) + 0.1 * t * t - 0.3 * t,
        lambda t: (t - 1e-3) ** 4 if t < 2 else math.inf,
        lambda t: np.exp(-4 * t) + t,
    ]
    for f in curves:
        slope = lambda t, f=f: (f(t + 1e-6) - f(t - 1e-6)) / 2e-6
        at = lambda t, f=f, slope=slope: Point(t, float(f(t)), float(slope(t)), None)
        start = at(0.01) if slope(0) >= 0 else at(0.0)
        for step in (1e-3, 0.3, 1.0, 5.0, 60.0):
            for c2 in (0.1, 0.9):
                move = lambda t, start=start, at=at: at(start.t + t)._replace(t=t)
                if start.slope >= 0:
                    continue
                point, asked = strong_wolfe(move, start._replace(t=0.0), step, c2=c2)
                assert point.f <= start.f + 1e-4 * point.t * start.slope + 1e-12
                assert abs(point.slope) <= c2 * abs(start.slope) + 1e-9
                assert asked <= 25
    assert cubic_minimum(Point(0, 0, -1, None), Point(3, 0, 1, None)) == pytest.approx(1.5)


def test_conjugate_gradient_solves_and_keeps_iterates() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((30, 30))
    A, b = a @ a.T + np.eye(30), rng.standard_normal(30)
    kept, count = conjugate_gradient(lambda v: A @ v, b, np.zeros(30), 200, progress=1e-14)
    np.testing.assert_allclose(kept[-1], np.linalg.solve(A, b), rtol=1e-5, atol=1e-6)
    assert len(kept) < 18 and count < 80
    quadratic = [0.5 * x @ A @ x - b @ x for x in kept]
    assert all(b < a + 1e-12 for a, b in pairwise(quadratic))
    early, fewer = conjugate_gradient(lambda v: A @ v, b, np.zeros(30), 200)
    assert fewer < count  # stops once it gains little
    assert 0.5 * early[-1] @ A @ early[-1] - b @ early[-1] < 0.95 * quadratic[-1]


def digits_net(device: str, n: int = 300) -> tuple[Any, Any, Any]:
    digits = data.digits()
    x = tg.Tensor(digits.train_x[:n].reshape(n, -1).astype(np.float64), device=device)
    labels = tg.Tensor(digits.train_y[:n], device=device)
    net = nn.Sequential(nn.Linear(64, 8, dtype=np.float64, generator=tg.Generator(0)), nn.Tanh(),
                        nn.Linear(8, 10, dtype=np.float64, generator=tg.Generator(1))).to(device)  # fmt: skip
    return net, x, labels


@pytest.mark.parametrize("kind", [optim.LBFGS, optim.BFGS, optim.NonlinearCG])
def test_a_net_for_digits_is_learned_by_heart(kind: Any, device: str) -> None:
    net, x, labels = digits_net(device)
    optimizer = kind(net.parameters(), max_iter=60, line_search_fn="strong_wolfe", max_eval=400)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        return loss

    first = float(optimizer.step(closure))
    assert first > 2 and float(closure()) < 0.05
    if kind is optim.LBFGS:  # SciPy's, from the same start, gets about as far in as many evaluations
        net, x, labels = digits_net(device)
        ps = list(net.parameters())
        starts = np.cumsum([0, *[p.size for p in ps]])

        def both(v: Any) -> tuple[float, Any]:
            for p, a, b in zip(ps, starts, starts[1:], strict=False):
                p.copy_(v[a:b].reshape(p.shape))
            net.zero_grad()
            loss = nn.functional.cross_entropy(net(x), labels)
            loss.backward()
            return float(loss), np.concatenate([p.grad.numpy().reshape(-1) for p in ps])

        start = np.concatenate([p.numpy().reshape(-1) for p in ps])
        theirs = scipy.optimize.minimize(both, start, jac=True, method="L-BFGS-B",
                                         options={"maxiter": 60, "maxcor": 100})  # fmt: skip
        assert float(closure()) < 0.05 and optimizer.state  # `closure` sees the new net; SciPy's result
        assert theirs.fun < 0.05


def test_hessian_free_learns_digits_in_a_few_steps(device: str) -> None:
    net, x, labels = digits_net(device)
    optimizer = optim.HessianFree(net.parameters(), max_iter=15, damping=0.1)
    losses: list[float] = []
    optimizer.watch = lambda x, loss, g: losses.append(loss)
    loss = lambda z: nn.functional.cross_entropy(z, labels)
    first = float(optimizer.step(lambda: net(x), loss))
    assert first > 2 and losses[-1] < 0.02 and all(b < a for a, b in zip([first, *losses], losses, strict=False))
    state = optimizer.state_dict()
    assert state["state"][0]["lambda"] < 0.1 and state["state"][0]["n_iter"] == 15
    assert float(loss(net(x))) == pytest.approx(losses[-1])
    assert all(p.requires_grad and p.is_leaf and p.grad is None for p in net.parameters())


def test_hessian_free_on_a_function_is_gauss_newton(device: str) -> None:
    residuals = lambda p: tg.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])
    found = optim.minimize(residuals, on(device, [-1.2, 1.0]), "hessian-free", loss=lambda r: (r * r).sum(),
                           max_iter=120, tolerance_grad=1e-6)  # fmt: skip
    assert found.success and found.fun < 1e-12
    np.testing.assert_allclose(found.x.numpy(), [1, 1], atol=1e-5)


def test_newton_on_a_small_net(device: str) -> None:
    x = tg.Tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=np.float64, device=device)
    y = tg.Tensor([[0.0], [1.0], [1.0], [0.0]], dtype=np.float64, device=device)
    for method in ("trust region", "damped"):
        net = nn.Sequential(nn.Linear(2, 4, dtype=np.float64, generator=tg.Generator(3)), nn.Tanh(),
                            nn.Linear(4, 1, dtype=np.float64, generator=tg.Generator(4))).to(device)  # fmt: skip
        optimizer = optim.Newton(net.parameters(), max_iter=60, method=method)
        loss = lambda net=net: nn.functional.mse_loss(net(x), y)
        first = optimizer.step(loss)
        assert float(first) > 0.2 and float(loss()) < 1e-10, method


MAKERS = [
    lambda ps: optim.LBFGS(ps, max_iter=3, line_search_fn="strong_wolfe"),
    lambda ps: optim.BFGS(ps, max_iter=3),
    lambda ps: optim.NonlinearCG(ps, max_iter=3),
    lambda ps: optim.Newton(ps, max_iter=2),
]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("way", ["state_dict", "pickle"])
def test_saved_and_resumed_bit_for_bit(maker: Any, way: str, device: str) -> None:
    def closure(optimizer: Any, a: Any, b: Any) -> Any:
        def compute() -> Any:
            optimizer.zero_grad()
            loss = rosenbrock(tg.concat([a.reshape(-1), b]))
            if not isinstance(optimizer, optim.Newton):
                loss.backward()
            return loss

        return compute

    def advance(optimizer: Any) -> None:
        a, b = optimizer.param_groups[0]["params"]
        for _ in range(2):
            optimizer.step(closure(optimizer, a, b))

    ps = [nn.Parameter([[-1.2, 1.0]], dtype=np.float64, device=device),
          nn.Parameter([0.5, 2.0, 0.1], dtype=np.float64, device=device)]  # fmt: skip
    optimizer = maker(ps)
    advance(optimizer)
    if way == "pickle":
        twin = pickle.loads(pickle.dumps(optimizer))
    else:
        twin = maker([nn.Parameter(p.numpy().copy(), device=device) for p in ps])
        twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    before = ps[0].tolist()
    advance(twin)
    assert ps[0].tolist() == before
    advance(optimizer)
    for p, q in zip(ps, twin.param_groups[0]["params"], strict=True):
        assert p.tolist() == q.tolist()
    with pytest.raises(tg.errors.OptionError):
        twin.load_state_dict({"state": {0: {"exp_avg": 1}}, "param_groups": optimizer.state_dict()["param_groups"]})


@pytest.mark.parametrize("method", ["sgd", "momentum", "nesterov", "delta-bar-delta", "adagrad", "rmsprop", "adadelta",
                                    "adam", "adamw", "adamax", "nadam", "radam", "lion", "rprop"])  # fmt: skip
def test_first_order_methods_by_name(method: str, device: str) -> None:
    rates = {
        "adadelta": 10.0,
        "adagrad": 0.5,
        "delta-bar-delta": 0.02,
        "lion": 0.02,
        "sgd": 0.02,
        "momentum": 0.01,
        "nesterov": 0.01,
    }
    found = optim.minimize(booth, on(device, [-2.0, 3.0]), method, max_iter=400, lr=rates.get(method, 0.1))
    assert found.fun < 0.1 < found.losses[0] and len(found.trajectory) == found.nit + 1
    assert found.trajectory[0].tolist() == [-2.0, 3.0]


def test_minimize_takes_nests_and_leaves_its_start_alone() -> None:
    start = {"a": np.array([3.0, 4.0]), "b": 2.0}
    found = optim.minimize(lambda t: (t["a"] ** 2).sum() + (t["b"] - 1) ** 2, start, "l-bfgs")
    assert start["a"].tolist() == [3.0, 4.0] and found.success
    np.testing.assert_allclose([*found.x["a"].numpy(), float(found.x["b"])], [0, 0, 1], atol=1e-6)
    single = optim.minimize(booth, np.array([0, 0], np.float32), "bfgs", tolerance_grad=1e-3)
    assert single.x.dtype == np.float32
    np.testing.assert_allclose(single.x.numpy(), [1, 3], atol=1e-3)


def test_damped_newton_steps_by_the_size_of_the_curvature(device: str) -> None:
    found = optim.minimize(saddle, on(device, [0.5, 0.1]), "newton-damped", max_iter=1)
    np.testing.assert_allclose(found.trajectory[1], [0, 0.1 + 0.196 / 1.88], rtol=1e-9, atol=1e-12)


def test_conjugate_gradient_starts_anew(device: str) -> None:
    """At first; where successive gradients are alike; and when its turn has come."""
    p = nn.Parameter([1.0, 2.0], dtype=np.float64, device=device)
    optimizer = optim.NonlinearCG([p], method="FR", restart=2)
    array = lambda values: on(device, values).data
    gradients = [[1.0, 0.0], [0.9, 0.2], [0.0, 1.0], [0.5, 0.0], [0.0, 0.5]]
    anew = []
    for g in map(array, gradients):
        d = optimizer._direction(g)
        anew.append(bool((d == -g).all()))
        optimizer._memory.update(d=d, prev_flat_grad=g)
    assert anew == [True, True, False, False, True]


def test_hessian_free_raises_its_damping_where_the_quadratic_lies(device: str) -> None:
    x, y = nn.Parameter([0.7], dtype=np.float64, device=device), nn.Parameter([1.4], dtype=np.float64, device=device)
    optimizer = optim.HessianFree([x, y], damping=1e-3)
    residuals = lambda: tg.stack([1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3])
    factors, losses, last = set(), [], 1e-3
    for _ in range(25):
        losses.append(float(optimizer.step(residuals, lambda r: (r * r).sum())))
        now = optimizer.state[x]["lambda"]
        factors.add(round(now / last, 6))
        last = now
    assert factors == {1.5, 1.0, round(2 / 3, 6)} or factors == {1.5, round(2 / 3, 6)}
    assert all(b <= a for a, b in pairwise(losses))


def test_hessian_free_goes_back_to_an_earlier_iterate(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newton, "conjugate_gradient", lambda product, b, x, limit: ([0.1 * b, 0.5 * b, 30 * b], 3))
    p = nn.Parameter([1.0, -1.0], dtype=np.float64, device=device)
    optimizer = optim.HessianFree([p])
    optimizer.step(lambda: p * 1.0, lambda z: 0.5 * (z * z).sum())
    np.testing.assert_allclose(p.numpy(), [0.5, -0.5])
    np.testing.assert_allclose(optimizer.state[p]["d"].numpy(), [-30.0, 30.0])  # where the next search starts


@pytest.mark.parametrize("method", ["bfgs", "adam", "newton"])
def test_minimize_names_what_is_wrong(method: str) -> None:
    def bowl(x: Any) -> Any:
        return (x**2).sum()

    for f, x0, options, message in (
        (lambda x: 3.0, [1.0], {}, "f must give a Tensor of one number, got 3.0"),
        (lambda x: x * 2, [1.0, 2.0], {}, r"got shape \[2\]"), (lambda x: None, [1.0], {}, "got None"),
        (bowl, "abc", {}, "x0 is made of real numbers and arrays, got 'abc'"), (bowl, None, {}, "got None"),
        (bowl, [1j], {}, "x0 is made of real numbers"), (3, [1.0], {}, "f and loss are functions"),
        (bowl, [1.0], {"max_iter": 1.5}, "max_iter is a whole number"), (bowl, [1.0], {"max_iter": -1}, "max_iter"),
        (bowl, [1.0], {"tolerance_grad": "a"}, "tolerance_grad a number"), (bowl, [1.0], {"foo": 1}, "foo"),
    ):  # fmt: skip
        with pytest.raises(tg.errors.OptionError, match=f"^(minimize|Adam): .*{message}"):
            optim.minimize(f, x0, method, **options)


def test_conjugate_gradient_goes_on_where_values_are_lost_in_rounding() -> None:
    # float32 numbers near 1e8 are 8 apart: only the slopes know that x² falls
    x = tg.Tensor(np.array([1.0, -0.5], np.float32), requires_grad=True)
    scales, optimizer = tg.tensor(np.array([1.0, 3.0], np.float32)), optim.NonlinearCG([x])

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = (scales * x * x).sum() + 1e8
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)
    assert float(abs(x).max()) < 1e-3


def test_conjugate_gradient_moves_again_after_a_search_that_found_nothing() -> None:
    x = tg.Tensor(np.array([1.0, -0.5]), requires_grad=True)
    optimizer, sign = optim.NonlinearCG([x], max_iter=1), -1.0

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        x.grad = x.grad * sign  # at first a wrong gradient, along which the loss rises
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert x.tolist() == [1.0, -0.5]
    sign = 1.0
    for _ in range(10):
        optimizer.step(closure)
    assert float(abs(x).max()) < 1e-6
