"""Derivatives of functions: against closed forms, finite differences and each other, to third order, in any nesting."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import Make, holds, maker, shared

import tinygrad_mlsp as tg
from tinygrad_mlsp import derivatives
from tinygrad_mlsp.errors import DTypeError, GraphError, OptionError, ShapeError

Function = Callable[[tg.Tensor], tg.Tensor]


@pytest.fixture
def make(device: str) -> Make:
    """A Tensor where the tests compute, float64 unless told."""
    plain = maker(device)
    return lambda data, requires_grad=False, dtype="float64": plain(data, requires_grad, dtype)


A = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75], [0.1, 1.0, 0.3]])
POINT = np.array([0.4, -0.7, 1.2])
ALONG = np.array([0.3, 1.1, -0.6])

FUNCTIONS: dict[str, Callable[[Callable[[Any], tg.Tensor]], Function]] = {
    "quartic": lambda t: lambda x: (x**4).sum(),
    "net": lambda t: lambda x: (tg.tanh(t(A) @ tg.sigmoid(t(A.T) @ x)) ** 2).mean(),
    "logsumexp": lambda t: lambda x: tg.logsumexp(x * t([1.0, 2.0, 3.0])),
    "product": lambda t: lambda x: tg.prod(x) * x[0],
    "quotient": lambda t: lambda x: (x @ x) / (1 + tg.exp(x).sum()),
    "gather": lambda t: lambda x: (x[[0, 0, 2]] * tg.sin(x[[1, 2, 2]])).sum(),
    "einsum": lambda t: lambda x: tg.einsum("i,j,ij,j->", x, x, t(A), x),
    "pieces": lambda t: lambda x: (tg.where(x > 0, tg.sin(x), x**3) + tg.softplus(x)).sum(),
    "moves": lambda t: lambda x: (tg.concat([x[::-1], x**2]).reshape(2, 3).T @ t([1.0, -2.0])) @ tg.exp(x),
    "cross entropy": lambda t: lambda x: tg.cross_entropy(t(A) * x, tg.asarray(t([0, 2, 1]), dtype="int64")).sum(),
    "tiny": lambda t: lambda x: 1e-6 * (tg.sin(x) * tg.exp(x)).sum(),
    "huge": lambda t: lambda x: 1e6 * (tg.sin(x) * tg.exp(x)).sum(),
    "std": lambda t: lambda x: tg.std(x) * tg.var(x),
}


def slope(f: Callable[[float], Any], h: float = 1e-3) -> Any:
    """f'(0) by five points: the error is h⁴/30 f⁽⁵⁾."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def close(found: Any, expected: Any, tolerance: float = 1e-8) -> None:
    """Equal to within the tolerance, relative to the largest entry: a small scale excuses nothing."""
    found, expected = (np.asarray(x.numpy() if isinstance(x, tg.Tensor) else x) for x in (found, expected))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= tolerance * np.abs(expected).max(initial=0)


def at(f: Any, make: Make) -> Callable[[Any], Any]:
    """f on NumPy's arrays."""
    return lambda x: f(make(x)).numpy()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_and_second_order_against_finite_differences(name: str, make: Make) -> None:
    f = FUNCTIONS[name](make)
    x, v, e = make(POINT), make(ALONG), np.eye(3)
    value, gradient = tg.value_and_grad(f)(x)
    close(value, f(x))
    close(gradient, [slope(lambda h, i=i: at(f, make)(POINT + h * i)) for i in e])
    g = at(tg.grad(f), make)
    hessian = np.array([slope(lambda h, i=i: g(POINT + h * i)) for i in e])
    close(tg.hessian(f)(x), hessian)
    close(tg.hvp(f, x, v), hessian @ ALONG)
    _, pull = tg.vjp(f, x)
    close(pull(2.0)[0], 2 * gradient.numpy())
    value, moved = tg.jvp(f, (x,), (v,))
    close(value, f(x))
    close(moved, gradient.numpy() @ ALONG)
    for mode in ("forward", "reverse", "auto"):
        close(tg.jacobian(tg.grad(f), mode=mode)(x), hessian)
        close(tg.jacobian(f, mode=mode)(x), gradient.numpy(), 1e-14)


def step(kind: str, f: Function, v: tg.Tensor) -> Function:
    """The slope of f along v, in one of four ways."""
    return {
        "grad": lambda x: (tg.grad(f)(x) * v).sum(),
        "jvp": lambda x: tg.jvp(f, (x,), (v,))[1],
        "vjp": lambda x: (tg.vjp(f, x)[1](tg.ones_like(f(x)))[0] * v).sum(),
        "value_and_grad": lambda x: tg.value_and_grad(f)(x)[1] @ v,
    }[kind]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_nesting_gives_the_same_third_derivative(name: str, make: Make) -> None:
    f = FUNCTIONS[name](make)
    x, v = make(POINT), make(ALONG)
    second = step("grad", step("grad", f, v), v)
    third = slope(lambda h: at(second, make)(POINT + h * ALONG))
    for word in itertools.product(("grad", "jvp", "vjp"), repeat=3):
        nested = f
        for kind in word:
            nested = step(kind, nested, v)
        close(nested(x), third, 1e-7)
    g = at(lambda x: second(x), make)
    gradient = [slope(lambda h, i=i: g(POINT + h * i)) for i in np.eye(3)]
    close(tg.grad(lambda x: tg.hvp(f, x, v) @ v)(x), gradient, 1e-7)
    close(tg.grad(lambda x: v @ (tg.hessian(f)(x) @ v))(x), gradient, 1e-7)
    close(tg.jacobian(lambda x: tg.hvp(f, x, v))(x) @ v, gradient, 1e-7)
    close(tg.hvp(step("jvp", f, v), x, v), gradient, 1e-7)
    close(tg.hvp(step("value_and_grad", f, v), x, v), gradient, 1e-7)


@pytest.mark.parametrize(
    "f, derivatives",
    [
        (tg.sin, [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin]),
        (tg.exp, [np.exp] * 4),
        (lambda x: x**5, [lambda x: 5 * x**4, lambda x: 20 * x**3, lambda x: 60 * x**2, lambda x: 120 * x]),
        (tg.log, [lambda x: 1 / x, lambda x: -(x**-2), lambda x: 2 * x**-3, lambda x: -6 * x**-4]),
        (lambda x: x * x + 3 * x, [lambda x: 2 * x + 3, lambda x: 2.0, lambda x: 0.0, lambda x: 0.0]),
    ],
    ids=["sin", "exp", "fifth power", "log", "parabola"],
)
def test_closed_forms_to_fourth_order(f: Any, derivatives: Any, make: Make) -> None:
    one = make(1.0)
    for kinds in itertools.product(("grad", "jvp"), repeat=4):
        nested = f
        for order, kind in enumerate(kinds):
            nested = step(kind, nested, one)
            if kinds[order + 1 :] == ("grad",) * (3 - order):  # each nesting once
                holds(nested(make(0.7)), derivatives[order](0.7), "float64", 1e-11)


def test_a_derivative_does_not_see_the_variable_of_another(make: Make) -> None:
    x = make(1.0)
    push = lambda f: lambda x: step("jvp", f, make(1.0))(x)
    for outer, inner in itertools.product((tg.grad, push), repeat=2):
        holds(outer(lambda x, d=inner: x * d(lambda y: x + y)(make(1.0)))(x), 1.0)
        holds(outer(lambda x, d=inner: x * d(lambda y: x * y)(make(2.0)))(make(3.0)), 6.0)
        holds(outer(lambda x, d=inner: d(lambda y: x * y * y)(x))(make(3.0)), 12.0)
        holds(outer(lambda x, d=inner: d(lambda y: d(lambda z: x * y * z)(y))(x))(make(3.0)), 1.0)


def test_gradients_of_gradients_reach_what_the_function_closed_over(make: Make) -> None:
    a, p = np.array([1.5, -0.5]), np.array([0.3, 0.8])

    def penalty(w: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        g = tg.grad(lambda x: tg.sin(w * x).sum())(x)
        return (g * g).sum()

    c, s = np.cos(a * p), np.sin(a * p)
    expected = 2 * a * c * (c - a * p * s)
    w = make(a, True)
    penalty(w, make(p)).backward()
    close(w.grad, expected, 1e-14)
    close(tg.grad(penalty)(make(a), make(p)), expected, 1e-14)
    close(tg.grad(lambda w: penalty(w, make(p)))(make(a)), expected, 1e-14)
    _, moved = tg.jvp(lambda w: penalty(w, make(p)), (make(a),), (make([1.0, 2.0]),))
    close(moved, expected @ [1.0, 2.0], 1e-14)
    w.grad = None
    tg.hvp(lambda x: tg.sin(w * x).sum(), make(p), make([1.0, 1.0])).sum().backward()
    close(w.grad, -2 * a * s - a * a * p * c, 1e-14)
    w.grad = None
    tg.jacobian(lambda x: tg.sin(w * x))(make(p)).sum().backward()
    close(w.grad, c - a * p * s, 1e-14)
    w.grad = None
    tg.vjp(lambda x: tg.sin(w * x), make(p))[1]([1.0, 2.0])[0].sum().backward()
    close(w.grad, (c - a * p * s) * [1.0, 2.0], 1e-14)
    w.grad = None
    tg.jvp(lambda x: tg.sin(w * x), (make(p),), (make([1.0, 2.0]),))[1].sum().backward()
    close(w.grad, (c - a * p * s) * [1.0, 2.0], 1e-14)
    value, _ = tg.value_and_grad(lambda x: tg.sin(w * x).sum())(make(p))
    w.grad = None
    value.backward()
    close(w.grad, p * c, 1e-14)


def test_a_leaf_that_is_differentiated_keeps_its_own_gradient(make: Make) -> None:
    x = make([1.0, 2.0], True)
    g = tg.grad(lambda x: (x**3).sum())(x)
    assert x.grad is None and g.requires_grad
    g.sum().backward()
    holds(x.grad, [6.0, 12.0])
    y = x * 2
    g = tg.grad(lambda y: (y**3).sum())(y)
    x.grad = None
    g.sum().backward()
    holds(x.grad, [24.0, 48.0])
    assert not tg.grad(lambda y: (y**3).sum())(x.detach()).requires_grad


# ---- structure


def test_arguments_may_be_nested_and_results_have_their_form(make: Make) -> None:
    Layer = namedtuple("Layer", "weight bias")
    tree = {
        "first": Layer(make(A), make(POINT)), "rest": [make(2.0), (make([1.0]), OrderedDict(z=make(3.0), a=make(4.0)))],
        "numbers": [1.0, 2.0], "matrix": [[1.0, 2.0], [3.0, 4.0]], "number": 5.0, "array": make([1.0, 2.0]).data,
    }  # fmt: skip

    def f(t: Any) -> tg.Tensor:
        deep = t["rest"][1][1]
        used = (t["first"].weight @ t["first"].bias).sum() * t["rest"][0] * deep["a"] + t["rest"][1][0].sum()
        numbers = (t["numbers"] * 3.0).sum() + (t["matrix"][0] * t["number"]).sum()  # they are on the CPU
        return used + numbers.to(used.device) + (t["array"] ** 2).sum()

    g = tg.grad(f)(tree)
    assert list(g) == list(tree) and type(g["first"]) is Layer and type(g["rest"]) is list
    assert type(g["rest"][1]) is tuple and type(g["rest"][1][1]) is OrderedDict
    assert list(g["rest"][1][1]) == ["z", "a"]
    close(g["first"].weight, 8 * np.broadcast_to(POINT, (3, 3)), 1e-14)
    close(g["first"].bias, 8 * A.sum(0), 1e-14)
    holds(g["rest"][1][1]["z"], 0.0, "float64")
    holds(g["numbers"], [3.0, 3.0], "float32")
    holds(g["matrix"], [[5.0, 5.0], [0.0, 0.0]], "float32")
    holds(g["number"], 3.0, "float32")
    holds(g["array"], [2.0, 4.0], "float64")


def test_nested_results_of_the_other_functions(make: Make) -> None:
    tree = {"w": make([1.0, 2.0]), "b": (make(3.0),)}
    along = {"w": make([1.0, -1.0]), "b": (make(0.5),)}
    f = lambda t: {"y": t["w"] * t["b"][0], "z": [t["w"].sum() ** 2, make(7.0)]}
    value, moved = tg.jvp(f, (tree,), (along,))
    holds(value["y"], [3.0, 6.0])
    holds(moved["y"], [1.0 * 3 + 1 * 0.5, -1.0 * 3 + 2 * 0.5])
    holds(moved["z"][0], 0.0)
    holds(moved["z"][1], 0.0)
    value, pull = tg.vjp(f, tree)
    for scale in (1.0, 2.0):  # as often as one likes
        (back,) = pull({"y": [scale, 0.0], "z": [scale, 1.0]})
        holds(back["w"], [scale * 3 + scale * 6, scale * 6])
        holds(back["b"][0], scale * 1.0)
    scalar = lambda t: (t["w"] ** 3).sum() * t["b"][0] ** 2
    h = tg.hvp(scalar, tree, along)
    holds(h["w"], [6 * 1.0 * 9 + 3 * 6 * 0.5, 6 * 2 * 9 * -1 + 12 * 6 * 0.5])
    holds(h["b"][0], 6 * (3 * 1 - 12) + 2 * 9 * 0.5)
    _, pull = tg.vjp(lambda a, b: a * b, make([1.0, 2.0]), make(3.0))
    a, b = pull([1.0, 1.0])
    holds(a, [3.0, 3.0])
    holds(b, 3.0)
    _, moved = tg.jvp(lambda a, b: a * b, (make([1.0, 2.0]), make(3.0)), ([1.0, 0.0], 1.0))
    holds(moved, [4.0, 2.0])


def test_argnums_and_keywords(make: Make) -> None:
    def f(a: Any, b: Any, c: Any, *, scale: float = 1.0) -> tg.Tensor:
        """A product."""
        return (a * a * b * c).sum() * scale

    a, b, c = make([1.0, 2.0]), make(3.0), 5
    holds(tg.grad(f)(a, b, c), [30.0, 60.0])
    holds(tg.grad(f, 1)(a, b, c, scale=2.0), 50.0)
    holds(tg.grad(f, -2)(a, b, c), 25.0)
    both = tg.grad(f, (1, 0))(a, b, c)
    assert type(both) is tuple
    holds(both[0], 25.0)
    holds(both[1], [30.0, 60.0])
    (alone,) = tg.grad(f, (0,))(a, b, c)
    holds(alone, [30.0, 60.0])
    value, g = tg.value_and_grad(f, argnums=(0, 1))(a, b, c, scale=2.0)
    holds(value, 150.0)
    holds(g[1], 50.0)
    assert tg.grad(f).__name__ == "f" and tg.value_and_grad(f).__doc__ == "A product."
    holds(tg.jacobian(f, 1)(a, b, c, scale=2.0), 50.0)
    holds(tg.jacobian(f, -2)(a, b, c), 25.0)
    holds(tg.hessian(f, 0)(a, b, c, scale=2.0), [[60.0, 0.0], [0.0, 60.0]])
    holds(tg.hessian(f, -2)(a, b, c), 0.0)
    for derivative in (tg.grad, tg.value_and_grad, tg.jacobian, tg.hessian):
        for argnums in (3, -4):
            with pytest.raises(
                OptionError, match=r"(grad|jacobian|hessian): argnums \(-?\d,\) do not fit a call with 3 argument"
            ):
                derivative(f, argnums)(a, b, c)


@pytest.mark.parametrize(
    "x, y",
    [((), ()), ((2,), (3,)), ((3,), (2,)), ((2, 3), (2,)), ((), (2, 2)), ((2, 2), ()), ((0,), (2,)), ((2,), (0,))],
)
def test_jacobians_have_the_shapes_of_both(x: tuple[int, ...], y: tuple[int, ...], make: Make) -> None:
    rows, columns = math.prod(y), math.prod(x)
    matrix = np.random.default_rng(0).normal(size=(rows, columns))
    f = lambda t: (make(matrix) @ tg.sin(t).reshape(columns)).reshape(y)
    point = np.linspace(0.1, 1.0, columns).reshape(x)
    expected = (matrix * np.cos(point.reshape(-1))).reshape((*y, *x))
    for mode in ("forward", "reverse", "auto"):
        holds(tg.jacobian(f, mode=mode)(make(point)), expected, "float64", 1e-14)


def test_a_jacobian_takes_the_fewer_sweeps(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps = {"forward": 0, "backward": 0}
    for name in sweeps:
        original = getattr(derivatives, name)

        def counted(*args: Any, name: str = name, original: Any = original, **kwargs: Any) -> Any:
            sweeps[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(derivatives, name, counted)
    tg.jacobian(lambda x: x[:2])(make(np.ones(5)))
    assert sweeps == {"forward": 0, "backward": 2}
    tg.jacobian(lambda x: tg.concat([x, x, x]))(make(np.ones(2)))
    assert sweeps == {"forward": 2, "backward": 2}
    tg.hessian(lambda x: (x**2).sum())(make(np.ones(3)))
    tg.grad(lambda x: (x**2).sum())(make(np.ones(3)))
    assert sweeps["forward"] == 2 + 3


# ---- what is not reached, and what cannot be


def test_what_the_result_does_not_reach_has_zeros(make: Make) -> None:
    for bad in (1.0, math.inf, math.nan):
        x, y = make([bad, 2.0]), make([1.0, 2.0])
        for recorded in (False, True):
            w = make(2.0, recorded)
            a, b = tg.grad(lambda x, y, w=w: (y * w).sum(), (0, 1))(x, y)
            holds(a, [0.0, 0.0], "float64")
            holds(b, [2.0, 2.0])
            _, moved = tg.jvp(lambda x, x0=x, w=w: (x0 * w, x * w), (y,), (y,))
            holds(moved[0], [0.0, 0.0])
            holds(moved[1], [2.0, 4.0])
    constant = lambda x: make(3.0)
    x = make([1.0, 2.0])
    holds(tg.grad(constant)(x), [0.0, 0.0])
    holds(tg.vjp(constant, x)[1](1.0)[0], [0.0, 0.0])
    holds(tg.jvp(constant, (x,), (x,))[1], 0.0)
    holds(tg.jacobian(constant)(x), [0.0, 0.0])
    holds(tg.hessian(constant)(x), np.zeros((2, 2)))
    holds(tg.hvp(constant, x, x), [0.0, 0.0])
    holds(tg.hessian(lambda x: x.sum())(x), np.zeros((2, 2)))
    holds(tg.grad(lambda x: tg.grad(lambda x: x.sum())(x).sum())(x), [0.0, 0.0])
    holds(tg.grad(lambda x: x.detach().sum() + tg.floor(x).sum())(x), [0.0, 0.0])
    with tg.no_grad():
        stopped = tg.grad(lambda x: x.sum())(x)
    holds(stopped, [1.0, 1.0])

    def partly(x: tg.Tensor) -> tg.Tensor:
        with tg.no_grad():
            fixed = x * 10
        return (x * fixed).sum()

    holds(tg.grad(partly)(x), [10.0, 20.0])


def test_inside_no_grad(make: Make) -> None:
    w = make([2.0, 3.0], True)
    x = make([0.5, 1.0])
    f = lambda x: (w * x**3).sum()
    with tg.no_grad():
        results = [
            tg.grad(f)(x), tg.value_and_grad(f)(x)[0], tg.hvp(f, x, x), tg.hessian(f)(x), tg.jacobian(f)(x),
            tg.jvp(f, (x,), (x,))[1], tg.vjp(f, x)[1](1.0)[0], tg.grad(lambda x: tg.grad(f)(x).sum())(x),
        ]  # fmt: skip
        assert not tg.is_grad_enabled()
    for r in results:
        assert not r.requires_grad and r.is_leaf
    close(results[0], [3 * 2 * 0.25, 9.0], 1e-14)
    close(results[2], [6 * 2 * 0.25, 18.0], 1e-14)
    close(results[-1], [6 * 2 * 0.5, 18.0], 1e-14)


@pytest.mark.parametrize(
    "wrong, kind, says",
    [
        (
            lambda x: tg.grad(lambda x: x * 2)(x),
            ShapeError,
            r"grad: the function must return one scalar, it returned \[\(2,\)\]",
        ),
        (
            lambda x: tg.grad(lambda x: (x.sum(), x.sum()))(x),
            ShapeError,
            r"returned \[\(\), \(\)\]; reduce it, or use vjp",
        ),
        (lambda x: tg.grad(lambda x: 2.0)(x), DTypeError, "grad: the function must return tensors, not float"),
        (
            lambda x: tg.jvp(lambda x: None, (x,), (x,)),
            DTypeError,
            "jvp: the function must return tensors, not NoneType",
        ),
        (
            lambda x: tg.grad(lambda x: x * 2)(2),
            DTypeError,
            "grad: can only differentiate .* floating-point .*, not int64",
        ),
        (lambda x: tg.vjp(lambda x: x, x > 1), DTypeError, "vjp: .* not bool"),
        (lambda x: tg.jacobian(lambda x: x)([1, 2]), DTypeError, "jacobian: .* not int64"),
        (
            lambda x: tg.grad(lambda x: (x * 1j).sum())(x),
            GraphError,
            "complex number; take its real part or abs, or use vjp",
        ),
        (lambda x: tg.vjp(lambda x: x * 2, x)[1](1.0), ShapeError, r"vjp: a cotangent has shape \(\), expected \(2,\)"),
        (
            lambda x: tg.vjp(lambda x: (x, x), x)[1](x),
            ShapeError,
            "vjp: the cotangents must be nested as .*: a tuple of 2, not a Tensor",
        ),
        (
            lambda x: tg.jvp(lambda x: x * 2, (x,), (1.0,)),
            ShapeError,
            r"jvp: a tangent has shape \(\), expected \(2,\)",
        ),
        (
            lambda x: tg.jvp(lambda x: x * 2, (x,), (x, x)),
            ShapeError,
            "jvp: the tangents must be nested as .*: a tuple of 1, not a tuple of 2",
        ),
        (lambda x: tg.hvp(lambda x: x * 2, x, x), ShapeError, "must return one scalar"),
        (lambda x: tg.hessian(lambda x: x * 2)(x), ShapeError, "must return one scalar"),
        (lambda x: tg.jacobian(lambda x: (x, x))(x), ShapeError, "one tensor in, one tensor out; use vjp or jvp"),
        (
            lambda x: tg.jacobian(lambda x: x, mode="sideways"),
            OptionError,
            "'auto', 'forward' or 'reverse', not 'sideways'",
        ),
        (lambda x: tg.grad(lambda s: s)("a"), DTypeError, "numeric"),
    ],
)
def test_errors(wrong: Any, kind: type[Exception], says: str, make: Make) -> None:
    with pytest.raises(kind, match=says):
        wrong(make([1.0, 2.0]))


def test_a_pullback_refuses_what_was_changed_before_it_was_called(make: Make) -> None:
    x = make([1.0, 2.0])
    c = make([1.0, 2.0])

    def changed(x: tg.Tensor) -> tg.Tensor:
        y = x * c
        c.copy_([0.0, 0.0])
        return y

    _, pull = tg.vjp(changed, x)
    with pytest.raises(GraphError, match=r"multiply: .* changed in place"):
        pull([1.0, 1.0])


# ---- dtypes, memory, devices, complex numbers


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_stay(dtype: str, make: Make) -> None:
    x = make([0.5, 1.0], dtype=dtype)
    f = lambda x: (2.5 * tg.sin(x) * x**2 / 3).sum()
    results = [
        tg.grad(f)(x), *tg.value_and_grad(f)(x), tg.hvp(f, x, [1.0, 2.0]), tg.hessian(f)(x), tg.jacobian(tg.sin)(x),
        *tg.jvp(f, (x,), ([1, 2],)), *tg.vjp(f, x)[1](np.float64(1)), tg.grad(lambda x: tg.grad(f)(x).sum())(x),
    ]  # fmt: skip
    assert {str(r.dtype) for r in results} == {dtype}
    assert all(r.device == x.device for r in results)
    assert tg.grad(lambda x: x * x)(2.0).dtype == np.float32
    if dtype == "float64":
        assert tg.grad(lambda x: (x * make([1.0, 2.0], dtype="float32")).sum())(x).dtype == np.float64
        assert tg.grad(lambda x: (x.astype("float32") * 2).sum())(x).dtype == np.float64


LINEAR = [
    lambda x: x, lambda x: +x, lambda x: x.reshape(2, 1), lambda x: (x, x), lambda x: [x.T, x + 0],
    lambda x: tg.alias(x),
    lambda x: x[::-1], lambda x: tg.broadcast_to(x, (3, 2)), lambda x: tg.concat([x, x]), lambda x: tg.split(x, 2),
    lambda x: (x + x, x - 0), lambda x: tg.exp(x),
]  # fmt: skip


@pytest.mark.parametrize("f", LINEAR)
def test_results_share_no_memory(f: Any, make: Make) -> None:
    x, t = make([1.0, 2.0]), make([3.0, 4.0])
    _, moved = tg.jvp(f, (x,), (t,))
    value, pull = tg.vjp(f, x)
    cotangents = derivatives.flatten(value)[1]([make(np.ones(y.shape)) for y in derivatives.flatten(value)[0]])
    (back,), (again,) = pull(cotangents), pull(cotangents)
    results = [*derivatives.flatten(moved)[0], back, again]
    givens = [x, t, *derivatives.flatten(cotangents)[0]]
    for i, a in enumerate(results):
        for b in results[i + 1 :] + givens:
            assert not shared(a, b)


def test_gradients_of_several_arguments_share_no_memory(make: Make) -> None:
    a, b = tg.grad(lambda a, b: (a + b).sum(), (0, 1))(make([1.0, 2.0]), make([3.0, 4.0]))
    assert not shared(a, b)
    x = make([1.0, 2.0])
    a, b = tg.grad(lambda a, b: (a * b).sum(), (0, 1))(x, x)
    assert not shared(a, b) and not shared(a, x) and not shared(b, x)
    holds(a, [1.0, 2.0])
    value, g = tg.value_and_grad(lambda x: x)(make(2.0))
    assert not shared(value, g)


def test_complex_arguments_follow_pytorchs_convention(make: Make) -> None:
    c = lambda x: make(x, dtype="complex128")
    z = np.array([1 + 2j, -0.5j])
    holds(tg.grad(lambda z: tg.real(z * tg.conj(z)).sum())(c(z)), 2 * z, "complex128", 1e-14)  # uphill
    holds(tg.grad(lambda z: tg.real(z * z).sum())(c(z)), np.conj(2 * z), "complex128", 1e-14)
    holds(tg.grad(lambda z: tg.abs(z).sum())(c(z)), z / abs(z), "complex128", 1e-14)
    cube = lambda z: z * z * z
    value, moved = tg.jvp(cube, (c(z),), (c([1j, 2.0]),))
    holds(value, z**3, tolerance=1e-14)
    holds(moved, 3 * z**2 * [1j, 2.0], tolerance=1e-14)
    (back,) = tg.vjp(cube, c(z))[1](c([1j, 2.0]))
    holds(back, np.conj(3 * z**2) * [1j, 2.0], tolerance=1e-14)
    # Re⟨u, J t⟩ = Re⟨Jᴴ u, t⟩
    u, t = np.array([0.3 + 1j, -2.0]), np.array([1 - 1j, 0.5j])
    f = lambda z: tg.sin(z) * tg.conj(z) + tg.exp(z)
    left = np.vdot(u, tg.jvp(f, (c(z),), (c(t),))[1].numpy()).real
    assert math.isclose(left, np.vdot(tg.vjp(f, c(z))[1](c(u))[0].numpy(), t).real, rel_tol=1e-13)
    for mode in ("forward", "reverse", "auto"):
        holds(tg.jacobian(cube, mode=mode)(c(z)), np.diag(3 * z**2), tolerance=1e-14)
    holds(tg.jacobian(lambda x: x * (1 + 2j))(make([1.0, 2.0])), np.eye(2) * (1 + 2j), tolerance=1e-14)
    holds(tg.hvp(lambda z: tg.real(cube(z)).sum(), c(z), c([1.0, 1j])), np.conj(6 * z * [1.0, 1j]), tolerance=1e-14)
    gradient = tg.grad(lambda z: tg.abs(tg.grad(lambda z: tg.real(z**3).sum())(z)).sum())(c(z))
    holds(gradient, 6 * z, tolerance=1e-14)  # of |3 z²| = 3 |z|²


def test_hooks_and_retained_gradients_of_outer_tensors_stay_as_they_are(make: Make) -> None:
    w = make([2.0, 3.0], True)
    h = w * 2
    h.retain_grad()
    calls: list[Any] = []
    w.register_hook(calls.append)
    tg.grad(lambda x: (x * h).sum())(make([1.0, 1.0]))
    tg.hvp(lambda x: (x * x * h).sum(), make([1.0, 1.0]), make([1.0, 1.0]))
    assert w.grad is None and h.grad is None and not calls


def test_a_pullback_can_be_differentiated(make: Make) -> None:
    x = make([0.5, 1.0])

    def f(u: tg.Tensor) -> tg.Tensor:
        _, pull = tg.vjp(lambda x: tg.sin(x), x)
        return (pull(u)[0] ** 2).sum()

    u = np.array([1.0, 2.0])
    holds(tg.grad(f)(make(u)), 2 * u * np.cos([0.5, 1.0]) ** 2, tolerance=1e-14)
    _, pull = tg.vjp(lambda x: tg.sin(x), x)
    u_leaf = make(u, True)
    pull(u_leaf)[0].sum().backward()
    holds(u_leaf.grad, np.cos([0.5, 1.0]), tolerance=1e-14)
    # jvp is linear in its tangent, so its vjp is J u: the double-vjp trick
    _, transposed = tg.vjp(lambda t: tg.jvp(tg.sin, (x,), (t,))[1], make([0.0, 0.0]))
    holds(transposed(u)[0], u * np.cos([0.5, 1.0]), tolerance=1e-14)
