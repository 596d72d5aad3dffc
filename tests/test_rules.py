"""What the registry's property cannot say: kinks, masked poles, extreme values, errors, dtypes, conventions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.special
from test_registry import variant

import tinygrad_mlsp as tg
from tinygrad_mlsp.errors import DeviceError, DTypeError, IndexingError, ShapeError
from tinygrad_mlsp.op import Operation, registry

inf, ln2 = np.inf, np.log(2)


def leaf(data: Any, device: str, dtype: Any = np.float64) -> Any:
    return tg.Tensor(np.asarray(data, dtype), requires_grad=True, device=device)


def slopes(f: Callable[..., Any], *leaves: Any) -> tuple[Any, ...]:
    """The values of f, and what an upstream gradient of ones makes of the leaves."""
    y = f(*leaves)
    y.backward(tg.ones_like(y))
    return y.numpy(), *(x.grad.numpy() for x in leaves)


# Kinks: the convention that each operation declares

KINKS: dict[str, list[tuple[Any, dict[str, Any], Any]]] = {  # arguments, options, and ∂y/∂argument, one an argument
    "sqrt": [([[0.0, 4.0]], {}, [[inf, 0.25]])],
    "pow": [([[0.0, 0.0, 0.0, 2.0], [2.0, 0.5, 0.0, 0.0]], {}, [[0.0, inf, 0.0, 0.0], [0.0, 0.0, 0.0, ln2]])],
    "abs": [([[-0.0, 0.0, -3.0]], {}, [[0.0, 0.0, -1.0]])],
    "maximum": [([[1.0, 2.0, inf], [1.0, 3.0, inf]], {}, [[0.5, 0.0, 0.5], [0.5, 1.0, 0.5]])],
    "minimum": [([[1.0, 2.0, inf], [1.0, 3.0, inf]], {}, [[0.5, 1.0, 0.5], [0.5, 0.0, 0.5]])],
    "remainder": [([[2.0, -2.0, 3.0], [1.0, 1.0, -1.5]], {}, [[1.0, 1.0, 1.0], [-2.0, 2.0, 2.0]])],
    "hypot": [([[0.0, 0.0], [0.0, 2.0]], {}, [[0.0, 0.0], [0.0, 1.0]])],
    "copysign": [([[0.0, -0.0, -2.0], [1.0, -1.0, 1.0]], {}, [[0.0, 0.0, -1.0]])],
    "clip": [([[-1.0, 1.0, 2.0]], {"min": -1, "max": 1}, [[1.0, 1.0, 0.0]])],
    "logaddexp": [([[-inf, inf], [-inf, inf]], {}, [[0.5, 0.5], [0.5, 0.5]])],
    "atan2": [([[0.0, -0.0], [0.0, 0.0]], {}, [[0.0, 0.0], [0.0, 0.0]])],
    "relu": [([[0.0, -0.0, 1.0]], {}, [[0.0, 0.0, 1.0]])],
    "erfinv": [([[-1.0, 1.0]], {}, [[inf, inf]])],
    "i0e": [([[0.0, -0.0]], {}, [[0.0, 0.0]])],
    "i1e": [([[0.0, -0.0]], {}, [[0.5, 0.5]])],
    "ive": [([[0.0]], {"n": n}, [[0.5 if n == 1 else 0.0]]) for n in range(4)],
    "xlogy": [([[0.0, 0.0, 0.0], [0.0, -1.0, 1.0]], {}, [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])],
    "xlog1py": [([[0.0, 0.0, 0.0], [-1.0, -2.0, 0.0]], {}, [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])],
    "leaky_relu": [([[0.0, 1.0]], {}, [[0.01, 1.0]]), ([[0.0]], {"negative_slope": 0.3}, [[0.3]])],
    "elu": [([[0.0, 1.0]], {}, [[1.0, 1.0]]), ([[0.0]], {"alpha": 0.5}, [[0.5]])],
    "prelu": [([[0.0, -0.0, 1.0], [0.25, 0.3, 0.3]], {}, [[0.25, 0.3, 1.0], [0.0, 0.0, 0.0]])],
    "hardtanh": [
        ([[-1.0, 1.0, 0.0]], {}, [[0.0, 0.0, 1.0]]), ([[0.0, 6.0]], {"min_val": 0, "max_val": 6}, [[0.0, 0.0]]),
    ],
    "binary_cross_entropy": [([[0.0, 1.0], [0.5, 0.5]], {}, [[-5e11, 5e11], [100.0, -100.0]])],
    "std": [([[3.0, 3.0]], {}, [[[0.0, 0.0]]]), ([[[3.0, 3.0]]], {"axis": 1, "correction": 1}, [[[0.0, 0.0]]])],
    "max": [
        ([[1.0, 2.0, 2.0]], {}, [[[0.0, 0.5, 0.5]]]),
        ([[[1.0, 1.0], [3.0, 1.0]]], {"axis": 1}, [[[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]]),
        ([[[1.0, 1.0], [3.0, 1.0]]], {"axis": 0, "keepdims": True}, [[[0.0, 0.0, 1.0, 0.0], [0.0, 0.5, 0.0, 0.5]]]),
    ],
    "max_pool": [
        ([[2.0, 2.0, 1.0, 1.0]], {"axis": 0, "size": 2}, [[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]]),
        ([[1.0, 1.0, 1.0]], {"axis": 0, "size": 2, "stride": 1, "padding": (0, 1)}, [np.eye(3)]),
    ],
    "min": [
        ([[1.0, 2.0, 1.0]], {}, [[[0.5, 0.0, 0.5]]]),
        ([[[1.0, 1.0], [3.0, 1.0]]], {}, [[[1 / 3, 1 / 3, 0, 1 / 3]]]),
    ],
    "cumulative_max": [([[1.0, 3.0, 2.0, 3.0]], {}, [[[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]])],
    "cumulative_min": [([[1.0, 1.0, 2.0]], {"axis": -1}, [[[1, 0, 0], [0, 1, 0], [0, 1, 0]]])],
    "logcumsumexp": [
        ([[-inf, 0.0, inf, inf]], {}, [[[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]]]),
    ],
    "vector_norm": [
        ([[0.0, 0.0]], {}, [[[0.0, 0.0]]]),
        ([[0.0, 2.0]], {"ord": 1}, [[[0.0, 1.0]]]),
        ([[0.0, 2.0]], {"ord": 0.5}, [[[0.0, 1.0]]]),
        ([[2.0, -2.0]], {"ord": inf}, [[[0.5, -0.5]]]),
        ([[2.0, -2.0]], {"ord": -inf}, [[[0.5, -0.5]]]),
    ],
    "sort": [
        ([[2.0, 1.0, 2.0]], {}, [[[0, 1, 0], [1, 0, 0], [0, 0, 1]]]),
        ([[2.0, 1.0, 2.0]], {"descending": True}, [[[1, 0, 0], [0, 0, 1], [0, 1, 0]]]),
    ],
}  # fmt: skip


MATRICES = {"cofactor", "eigh", "eigvalsh", "pinv", "qr", "slogdet", "svd", "svdvals"}  # held in test_linalg.py


@pytest.mark.parametrize("name", [name for name, op in registry.items() if op.kink and name not in MATRICES])
def test_the_convention_at_a_kink(name: str, device: str) -> None:
    hold_convention(registry[name], device)


def hold_convention(op: Operation, device: str) -> None:
    """Both directions give the declared slopes, entry by entry, and no argument hears of another entry."""
    for arguments, options, expected in KINKS[op.name]:
        tensors = [tg.Tensor(np.array(a), device=device) for a in arguments]
        for i, slope in enumerate(expected):
            want = np.diag(slope) if np.ndim(slope) == 1 else np.array(slope)
            for mode in ("reverse", "forward"):
                with np.errstate(divide="ignore", invalid="ignore"):
                    J = tg.jacobian(partial(op, **options), i, mode)(*tensors)
                assert np.array_equal(J.numpy().reshape(want.shape), want), f"{op.name}, argument {i}, {mode}: {J}"


def test_every_kink_is_tested_and_declared() -> None:
    assert set(KINKS) | MATRICES == {name for name, op in registry.items() if op.kink}


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("relu", {"slopes": {"x": lambda y: y >= 0}}),
        ("maximum", {"slopes": {"a": lambda a, b: a >= b}}),
        ("minimum", {"slopes": {"b": lambda xp, a, b: xp.where(a == b, 0.0, xp.astype(b < a, a.dtype))}}),
        ("clip", {"slopes": {"x": lambda x, y, min, max: (x > min) & (x < max)}}),
        ("sqrt", {"adjoints": {"x": lambda g, y: g / (y + y)}}),
        ("sqrt", {"tangents": {"x": lambda t, y: t / (y + y)}}),
        ("hypot", {"slopes": {"a": lambda a, y: a / y}}),
        ("max", {"adjoints": {"x": lambda xp, g, x: xp.where(x == xp.max(x), xp.sum(g), 0)}}),
    ],
)  # fmt: skip
def test_another_convention_is_noticed(name: str, rules: Any, device: str) -> None:
    with pytest.raises(AssertionError, match=name):
        hold_convention(variant(registry[name], **rules), device)


def test_maximum_of_a_tensor_and_itself(device: str) -> None:
    a = leaf([1.0, -2.0], device)
    assert np.array_equal(slopes(lambda a: tg.maximum(a, a), a)[1], [1.0, 1.0])
    a, b = leaf(1.0, device), leaf(1.0, device)
    assert [g.item() for g in slopes(tg.maximum, a, b)[1:]] == [0.5, 0.5]


def test_complex_abs_at_zero(device: str) -> None:
    np.testing.assert_allclose(slopes(tg.abs, leaf([0j, 3 - 4j], device, complex))[1], [0, 0.6 - 0.8j])


# Poles under a mask: where(x > edge, f(x), 0) has the slope 0 beyond the edge, not NaN

MASKED: dict[str, tuple[Callable[[Any], Any], float, float]] = {  # f, a pole, a place where f is smooth
    "sqrt": (tg.sqrt, 0.0, 4.0),
    "log": (tg.log, 0.0, 2.0),
    "log2": (tg.log2, 0.0, 2.0),
    "log10": (tg.log10, 0.0, 2.0),
    "log1p": (tg.log1p, -1.0, 2.0),
    "reciprocal": (tg.reciprocal, 0.0, 2.0),
    "divide": (lambda x: 3 / x, 0.0, 2.0),
    "divide both": (lambda x: tg.square(x) / x, 0.0, 2.0),
    "root": (lambda x: x**0.7, 0.0, 2.0),
    "negative power": (lambda x: x**-1.5, 0.0, 2.0),
    "operator": (lambda x: x**0.5 + x**-1, 0.0, 2.0),
    "asin": (tg.asin, 1.0, 0.5),
    "acos": (tg.acos, -1.0, 0.5),
    "acosh": (tg.acosh, 1.0, 2.0),
    "atanh": (tg.atanh, 1.0, 0.5),
    "norm": (lambda x: tg.sqrt(tg.square(x)), 0.0, 2.0),
}


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_pole_gives_no_gradient(name: str, device: str) -> None:
    f, pole, smooth = MASKED[name]
    for dtype in (np.float64, np.float32):
        x = leaf([pole, smooth], device, dtype)

        def masked(x: Any, pole: float = pole) -> Any:
            return tg.where(x != pole, f(x), 0)

        with np.errstate(divide="ignore", invalid="ignore"):
            y, slope = slopes(masked, x)
            alone = slopes(f, leaf([smooth], device, dtype))[1]
            _, moved = tg.jvp(masked, (x.detach(),), (tg.ones_like(x.detach()),))
            bend = tg.hvp(lambda x: masked(x).sum(), x.detach(), tg.ones_like(x.detach())).numpy()
            bend_alone = tg.hvp(lambda x: f(x).sum(), x.detach()[1:], tg.ones_like(x.detach()[1:])).numpy()
        assert y[0] == 0 and slope[0] == 0 and slope[1] == alone[0] and slope.dtype == dtype
        assert moved.numpy()[0] == 0 and np.isclose(moved.numpy()[1], alone[0])
        assert bend[0] == 0 and np.isclose(bend[1], bend_alone[0])


# Extreme values

FAR = [-inf, -1000.0, 0.0, 1000.0, inf]
EXTREMES: dict[str, tuple[Callable[[Any], Any], Any, Any, Any]] = {  # f, x, f(x), slope
    "softplus": (tg.softplus, FAR, [0, 0, ln2, 1000, inf], [0, 0, 0.5, 1, 1]),
    "log_sigmoid": (tg.log_sigmoid, FAR, [-inf, -1000, -ln2, 0, 0], [1, 1, 0.5, 0, 0]),
    "sigmoid": (tg.sigmoid, FAR, [0, 0, 0.5, 1, 1], [0, 0, 0.25, 0, 0]),
    "tanh": (tg.tanh, FAR, [-1, -1, 0, 1, 1], [0, 0, 1, 0, 0]),
    "erf": (tg.erf, FAR, [-1, -1, 0, 1, 1], [0, 0, 2 / np.sqrt(np.pi), 0, 0]),
    "relu": (tg.relu, FAR, [0, 0, 0, 1000, inf], [0, 0, 0, 1, 1]),
    "leaky_relu": (tg.leaky_relu, FAR, [-inf, -10, 0, 1000, inf], [0.01, 0.01, 0.01, 1, 1]),
    "elu": (tg.elu, FAR, [-1, -1, 0, 1000, inf], [0, 0, 1, 1, 1]),
    "atan": (tg.atan, FAR, np.arctan(FAR), [0, 1 / 1000001, 1, 1 / 1000001, 0]),
    "asinh": (tg.asinh, FAR, np.arcsinh(FAR), [0, 1 / np.sqrt(1000001), 1, 1 / np.sqrt(1000001), 0]),
    "asinh of the largest": (tg.asinh, [1e38, -1e38], np.arcsinh([1e38, -1e38]), [1e-38, 1e-38]),
    "hypot of large numbers": (lambda x: tg.hypot(x, x), [1e38], [1e38 * np.sqrt(2)], [np.sqrt(2)]),
    "clip": (lambda x: tg.clip(x, -1, 1), FAR, [-1, -1, 0, 1, 1], [0, 0, 1, 0, 0]),
    "logaddexp": (lambda x: tg.logaddexp(x, 0), FAR, [0, 0, ln2, 1000, inf], [0, 0, 0.5, 1, 1]),
    "logaddexp, equal": (lambda x: tg.logaddexp(x, x), FAR, [-inf, -1000 + ln2, ln2, 1000 + ln2, inf], [1, 1, 1, 1, 1]),
    "logsumexp": (
        lambda x: tg.logsumexp(x, axis=-1), [[-inf, -inf], [1000, -1000], [-inf, 3], [1, 1]],
        [-inf, 1000, 3, 1 + ln2], [[0, 0], [1, 0], [0, 1], [0.5, 0.5]],
    ),
    "softmax": (tg.softmax, [[1000, -1000], [-inf, 3], [5, 5]], [[1, 0], [0, 1], [0.5, 0.5]], [[0, 0], [0, 0], [0, 0]]),
    "log_softmax": (
        tg.log_softmax, [[1000, -1000], [-inf, 3], [5, 5]],
        [[0, -2000], [-inf, 0], [-ln2, -ln2]], [[-1, 1], [1, -1], [0, 0]],
    ),
    "cross_entropy": (
        lambda x: tg.cross_entropy(x, tg.asarray(np.array([0, 1, 1]), device=x.device)),
        [[1000, -1000], [1000, -1000], [-inf, 3]], [0, 2000, 0], [[0, 0], [1, -1], [0, 0]],
    ),
    "binary_cross_entropy_with_logits, target 0": (
        lambda x: tg.binary_cross_entropy_with_logits(x, 0.0), [-1000, 0, 1000], [0, ln2, 1000], [0, 0.5, 1]
    ),
    "binary_cross_entropy_with_logits, target 1": (
        lambda x: tg.binary_cross_entropy_with_logits(x, 1.0), [-1000, 0, 1000], [1000, ln2, 0], [-1, -0.5, 0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_values(name: str, device: str) -> None:
    """Right, to both orders, and without a floating-point warning."""
    f, data, value, slope = EXTREMES[name]
    for dtype in (np.float32, np.float64):
        x = leaf(data, device, dtype)
        close = partial(np.testing.assert_allclose, rtol=4 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).tiny)
        with np.errstate(all="raise", under="ignore"):
            found, grad = slopes(f, x)
            close(found, np.array(value, float))
            close(grad, np.array(slope, float))
            assert found.dtype == grad.dtype == dtype
            finite = tg.Tensor(np.where(np.isfinite(x.numpy()), x.numpy(), dtype(7)), device=device)
            assert np.all(np.isfinite(tg.hvp(lambda x: f(x).sum(), finite, tg.ones_like(finite)).numpy()))


def test_infinite_winners_have_no_finite_gradient(device: str) -> None:
    """logsumexp at +∞: the others get nothing, and no made-up number."""
    with np.errstate(invalid="ignore"):
        y, slope = slopes(tg.logsumexp, leaf([inf, 3.0], device))
    assert y == inf and slope[1] == 0 and not np.isfinite(slope[0])


@pytest.mark.parametrize(("dtype", "low"), [(np.float32, -120.0), (np.float64, -760.0)])
def test_sigmoid_is_accurate_from_end_to_end(dtype: Any, low: float, device: str) -> None:
    """Relative to σ(x) itself, down to the smallest normal number; its slope below 0, where nothing cancels."""
    x = np.linspace(low, 40, 4001).astype(dtype)
    wide = x.astype(np.longdouble)
    exact = np.exp(wide) / (1 + np.exp(wide))
    with np.errstate(all="raise", under="ignore"):
        y, slope = slopes(tg.sigmoid, leaf(x, device, dtype))
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    assert np.all(np.abs(y - exact) <= 4 * eps * exact + tiny)
    below = x < 0
    assert np.all(np.abs(slope - exact * (1 - exact))[below] <= 8 * eps * exact[below] + tiny)
    near = slopes(tg.softplus, leaf(x, device, dtype))[0]
    assert np.all(np.abs(near - np.log1p(np.exp(wide))) <= 8 * eps * np.log1p(np.exp(wide)) + tiny)


def test_erf_and_log1p_and_expm1_near_zero(device: str) -> None:
    x = np.array([1e-12, -1e-9])
    for f, expected in ((tg.erf, scipy.special.erf(x)), (tg.log1p, np.log1p(x)), (tg.expm1, np.expm1(x))):
        np.testing.assert_allclose(slopes(f, leaf(x, device))[0], expected, rtol=1e-15)


# Products with zeros, powers of negative numbers, small samples


@pytest.mark.parametrize("x", [[2.0, 3.0, 5.0], [2.0, 0.0, 5.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0], [0.0], [2.0, 0.0]])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_prod_with_zeros_to_second_order(x: list[float], dtype: Any, device: str) -> None:
    n = len(x)
    gradient = [np.prod([x[k] for k in range(n) if k != i]) for i in range(n)]
    hessian = np.zeros((n, n))
    for i, j in combinations(range(n), 2):
        hessian[i, j] = hessian[j, i] = np.prod([x[k] for k in range(n) if k not in (i, j)])
    data = tg.Tensor(np.array(x, dtype), device=device)
    with np.errstate(all="raise"):
        assert np.array_equal(tg.grad(tg.prod)(data).numpy(), gradient)
        assert np.array_equal(tg.hessian(tg.prod)(data).numpy(), hessian)
        by_rows = tg.jacobian(tg.grad(tg.prod), mode="reverse")(data)
    assert np.array_equal(by_rows.numpy(), hessian)


def test_powers(device: str) -> None:
    """Whole powers of negative numbers are smooth; each way of writing a power agrees with the operation."""
    data = np.array([-2.0, -0.5, 0.0, 3.0])
    for p in (2, 3, 3.0, 5, 1, 0):
        with np.errstate(all="raise"):
            y, slope = slopes(lambda x, p=p: x**p, leaf(data, device))
            again, same = slopes(lambda x, p=p: tg.pow(x, p), leaf(data, device))
        np.testing.assert_allclose(y, data**p)
        np.testing.assert_allclose(slope, p * data ** max(p - 1, 0))
        np.testing.assert_allclose([again, same], [y, slope])
    y, slope = slopes(lambda x: 2.0**x, leaf([0.0, 3.0], device))
    np.testing.assert_allclose([y, slope], [[1, 8], [ln2, 8 * ln2]])


def test_second_derivatives_of_extremes_vanish(device: str) -> None:
    x = tg.Tensor(np.array([[1.0, 1.0], [3.0, 2.0]]), device=device)
    for f in (
        tg.max,
        tg.min,
        lambda x: tg.maximum(x, 1.0).sum(),
        lambda x: tg.relu(x - 1.0).sum(),
        lambda x: tg.abs(x).sum(),
    ):
        assert not np.any(tg.hessian(f)(x).numpy())


def test_one_sample_has_variance_zero(device: str) -> None:
    assert [v.item() for v in slopes(tg.var, leaf(5.0, device))] == [0, 0]
    assert [v.item() for v in slopes(lambda x: tg.std(x, axis=0), leaf([5.0], device))] == [0, 0]


@pytest.mark.parametrize(
    ("f", "shape"),
    [(tg.sum, ()), (tg.prod, ()), (lambda x: tg.max(x, axis=1), (0,)), (lambda x: tg.softmax(x), (0, 3))],
)
def test_reductions_over_nothing(f: Any, shape: Any, device: str) -> None:
    y, slope = slopes(f, leaf(np.zeros((0, 3)), device))
    assert y.shape == shape and slope.shape == (0, 3)


# einsum


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ii->", [(3, 3)]), ("iji->j", [(2, 3, 2)]), ("ij->", [(2, 3)]), ("ij,ik,il->jkl", [(2, 2), (2, 3), (2, 2)]),
        ("...i,i", [(2, 1, 3), (3,)]), ("a...b,b...->a...", [(2, 3, 2), (2, 3)]), ("ii,ii->i", [(2, 2), (2, 2)]),
        ("i,j->", [(2,), (3,)]), ("ij,ij", [(2, 3), (2, 3)]),
    ],
)  # fmt: skip
def test_einsum_with_repeated_missing_and_ellipsis_indices(equation: str, shapes: Any, device: str) -> None:
    """Against the gradient of the same sum, written out over every index."""
    random = np.random.default_rng(1)
    arrays = [random.uniform(-1, 1, s) for s in shapes]
    value = np.einsum(equation, *arrays)
    upstream = random.uniform(-1, 1, value.shape)
    leaves = [leaf(a, device) for a in arrays]
    y = tg.einsum(equation, *leaves)
    y.backward(tg.Tensor(upstream, device=device))
    np.testing.assert_allclose(y.numpy(), value)
    for i, a in enumerate(arrays):
        want = np.zeros(a.shape)
        for place in np.ndindex(a.shape):
            unit = np.zeros(a.shape)
            unit[place] = 1
            want[place] = np.sum(upstream * np.einsum(equation, *arrays[:i], unit, *arrays[i + 1 :]))
        np.testing.assert_allclose(leaves[i].grad.numpy(), want, atol=1e-14)


# Errors


def zeros(*shape: int, device: str, **how: Any) -> tg.Tensor:
    return tg.zeros(shape, device=device, **how)


def integers(data: Any, device: str) -> tg.Tensor:
    return tg.Tensor(np.array(data), device=device)


ERRORS: dict[str, tuple[Callable[[str], Any], Any, list[str]]] = {
    "broadcast": (
        lambda d: zeros(2, 3, device=d) + zeros(2, device=d), ShapeError,
        ["add(a: float32 [2, 3]", "b: float32 [2]", "dimension -1 disagrees: 3 against 2"],
    ),
    "broadcast, one axis further": (
        lambda d: zeros(4, 3, device=d) / zeros(2, 3, device=d), ShapeError,
        ["divide(a: float32 [4, 3]", "b: float32 [2, 3]", "dimension -2 disagrees: 4 against 2"],
    ),
    "where": (
        lambda d: tg.where(zeros(2, device=d) > 0, zeros(3, device=d), 0), ShapeError,
        ["where(condition: bool [2]", "a: float32 [3]", "disagrees: 2 against 3"],
    ),
    "matmul": (
        lambda d: zeros(2, 3, device=d) @ zeros(2, 3, device=d, dtype=np.float32), ShapeError,
        ["matmul(a: float32 [2, 3]", "b: float32 [2, 3]", "inner dimensions disagree: 3 against 2"],
    ),
    "matmul, batches": (
        lambda d: zeros(2, 3, 4, device=d) @ zeros(3, 4, 5, device=d), ShapeError,
        ["the batches (2,) and (3,) disagree"],
    ),
    "matmul, 0-d": (lambda d: zeros(device=d) @ zeros(2, 3, device=d), ShapeError, ["0-d", "use *"]),
    "linear": (
        lambda d: tg.linear(zeros(2, 3, device=d), zeros(4, 5, device=d)), ShapeError,
        ["linear(x: float32 [2, 3]", "weight: float32 [4, 5]", "3 features", "takes 5"],
    ),
    "linear, bias": (
        lambda d: tg.linear(zeros(2, 3, device=d), zeros(4, 3, device=d), zeros(5, device=d)), ShapeError,
        ["bias has shape (5,), weight gives (4,)"],
    ),
    "concat": (
        lambda d: tg.concat([zeros(2, 3, device=d), zeros(2, 2, device=d)]), ShapeError,
        ["concat(arrays[0]: float32 [2, 3]", "arrays[1]: float32 [2, 2]", "axis=0"],
    ),
    "stack": (
        lambda d: tg.stack([zeros(2, device=d), zeros(3, device=d)]), ShapeError, ["stack(arrays[0]", "same shape"],
    ),
    "reshape": (
        lambda d: zeros(2, 3, device=d).reshape(4), ShapeError, ["reshape(x: float32 [2, 3]", "shape=(4,)", "(2, 3)"],
    ),
    "split": (lambda d: tg.split(zeros(5, device=d), 2), ShapeError, ["split(x: float32 [5]", "sections=2"]),
    "einsum": (
        lambda d: tg.einsum("ij,jk->ik", zeros(2, 3, device=d), zeros(2, 3, device=d)), ShapeError,
        ["einsum(arrays[0]: float32 [2, 3]", "ij,jk->ik"],
    ),
    "axis": (lambda d: tg.sum(zeros(2, 3, device=d), axis=4), ShapeError, ["sum(x: float32 [2, 3]", "axis 4"]),
    "maximum of nothing": (lambda d: tg.max(zeros(0, 3, device=d)), ShapeError, ["max(x: float32 [0, 3]", "zero-size"]),
    "cross_entropy": (
        lambda d: tg.cross_entropy(zeros(2, 3, device=d), integers([0, 1, 2], d)), (ShapeError, IndexingError),
        ["cross_entropy(logits: float32 [2, 3]", "target: int64 [3]", "target of shape (2,)", "classes 0 to 2"],
    ),
    "a class that is not there": (
        lambda d: tg.cross_entropy(zeros(2, 3, device=d), integers([0, 7], d)), IndexingError,
        ["cross_entropy", "7 is out of bounds", "classes 0 to 2"],
    ),
    "an index out of range": (
        lambda d: zeros(2, 3, device=d)[5], IndexingError,
        ["getitem(x: float32 [2, 3]", "5 is out of bounds", "size 2"],
    ),
    "an index array out of range": (
        lambda d: zeros(2, 3, device=d)[integers([0, -3], d)], IndexingError,
        ["-3 is out of bounds", "axis 0", "size 2"],
    ),
    "take out of range": (
        lambda d: tg.take(zeros(2, 3, device=d), integers([0, 7], d), axis=1), IndexingError,
        ["take(x: float32 [2, 3]", "indices: int64 [2]", "7 is out of bounds", "size 3"],
    ),
    "take_along_axis out of range": (
        lambda d: tg.take_along_axis(zeros(2, 3, device=d), integers([[0], [7]], d), axis=1), IndexingError,
        ["take_along_axis", "7 is out of bounds"],
    ),
    "not a number": (lambda d: tg.exp("a"), DTypeError, ["exp", "not str"]),
    "nothing": (lambda d: tg.add(zeros(2, device=d), None), DTypeError, ["add", "b", "not None"]),
    "not a list": (lambda d: tg.concat(3), DTypeError, ["concat", "list", "int"]),
    "an empty list": (lambda d: tg.concat([]), ShapeError, ["concat", "at least one"]),
    "bits of floats": (
        lambda d: zeros(2, device=d) & zeros(2, device=d), DTypeError, ["bitwise_and(a: float32 [2], b: float32 [2]"],
    ),
    "a gradient for integers": (
        lambda d: tg.Tensor(np.array([1, 2]), requires_grad=True, device=d), DTypeError, ["int64", "floating-point"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_and_where(name: str, device: str) -> None:
    f, kind, words = ERRORS[name]
    with pytest.raises(kind) as caught:
        f(device)
    message = str(caught.value).replace(f" on {device}:0", "")
    for word in words:
        assert word in message


def test_tensors_on_two_devices(device: str) -> None:
    if device == "cpu":
        pytest.skip("one device only")
    here, there = tg.zeros((2,)), tg.zeros((2,), device=device)
    for f in (tg.add, tg.matmul, tg.maximum, lambda a, b: tg.concat([a, b]), lambda a, b: tg.where(a > 0, b, b)):
        with pytest.raises(DeviceError, match="cpu and cuda:0"):
            f(here, there)
    with pytest.raises(DeviceError, match=r"cpu.*cuda:0|cuda:0.*cpu"):
        there[tg.Tensor(np.array([0]))]


# Dtypes


@pytest.mark.parametrize("number", [2, 2.5, True, np.float64(2.5), np.float32(2), np.int64(3), np.bool_(True)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_number_never_widens(number: Any, dtype: Any, device: str) -> None:
    x = leaf([1.0, 2.0], device, dtype)
    for f in (
        lambda x: x + number, lambda x: number - x, lambda x: x * number, lambda x: number / x, lambda x: x**number,
        lambda x: number**x, lambda x: tg.maximum(x, number), lambda x: tg.where(x > number, x, number),
        lambda x: tg.clip(x, -number, number) if not isinstance(number, (bool, np.bool_)) else x * 1,
        lambda x: tg.logaddexp(number, x), lambda x: tg.hypot(x, number), lambda x: tg.atan2(number, x),
    ):  # fmt: skip
        y, slope = slopes(f, leaf([1.0, 2.0], device, dtype))
        assert y.dtype == slope.dtype == dtype
        assert (x < number).dtype == bool


def test_where_dtypes_meet(device: str) -> None:
    def kind(f: Callable[..., Any], *arrays: Any) -> str:
        return str(f(*(tg.Tensor(a, device=device) if isinstance(a, np.ndarray) else a for a in arrays)).dtype)

    i, f4, f8 = np.array([1, 2]), np.ones(2, np.float32), np.ones(2)
    assert kind(tg.multiply, i, 2.5) == "float32"
    assert kind(tg.multiply, i, 2) == "int64"
    assert kind(tg.add, i, f4) == kind(tg.add, f4, i) == "float32"
    assert kind(tg.add, i, f8) == kind(tg.add, f4, f8) == "float64"
    assert kind(tg.add, f4, np.ones(2, np.float16)) == "float32"
    assert kind(tg.add, np.array([True]), 1) == "int64"
    assert kind(tg.multiply, f4, 1j) == "complex64" and kind(tg.multiply, f8, 1j) == "complex128"
    assert kind(tg.where, np.array([True, False]), f4, 0) == "float32"
    assert kind(lambda a, b: tg.concat([a, b]), i, f4) == "float32"
    assert (
        str(tg.Tensor(1.5).dtype)
        == str(tg.Tensor([1.5]).dtype)
        == str(tg.where(tg.Tensor(True), 1.0, 0).dtype)
        == "float32"
    )


def test_each_argument_gets_a_gradient_of_its_own_dtype(device: str) -> None:
    narrow, wide = leaf([1.0, 2.0], device, np.float32), leaf([[3.0], [4.0]], device)
    y = tg.multiply(narrow, wide)
    y.sum().backward()
    assert y.dtype == np.float64 and narrow.grad.dtype == np.float32 and wide.grad.dtype == np.float64
    assert narrow.grad.tolist() == [7, 7] and wide.grad.tolist() == [[3], [3]]


def test_an_ndarray_on_the_left_gives_a_tensor(device: str) -> None:
    if device != "cpu":
        pytest.skip("an ndarray lives on the CPU")
    for dtype in (np.float32, np.float64):
        a = np.array([[1.0], [2.0]], dtype)
        x = leaf([1.0, 2.0, 4.0], device, dtype)
        for y in (a * x, a + x, a - x, a / x, a**x, a @ x.reshape(1, 3), a < x):
            assert type(y) is tg.Tensor and y.shape == (2, 3)
        (a * x).sum().backward()
        assert x.grad.tolist() == [3, 3, 3] and x.grad.dtype == dtype


# Complex numbers: a gradient points uphill, as PyTorch's does


@pytest.mark.parametrize(
    ("loss", "gradient"),
    [
        (lambda z: tg.real((z * z.conj()).sum()), lambda z: 2 * z),
        (lambda z: tg.square(tg.abs(z)).sum(), lambda z: 2 * z),
        (lambda z: tg.abs(z).sum(), lambda z: z / abs(z)),
        (lambda z: tg.real(z).sum(), lambda z: np.ones_like(z)),
        (lambda z: tg.imag(z).sum(), lambda z: 1j * np.ones_like(z)),
        (lambda z: tg.real(tg.conj(z) * 2j).sum(), lambda z: 2j * np.ones_like(z)),
        (lambda z: tg.real(tg.exp(z)).sum(), lambda z: np.conj(np.exp(z))),
        (lambda z: tg.real(tg.sin(z)).sum(), lambda z: np.conj(np.cos(z))),
        (lambda z: tg.imag(z**3).sum(), lambda z: 1j * np.conj(3 * z**2)),
        (lambda z: tg.real(1 / z).sum(), lambda z: np.conj(-1 / z**2)),
        (lambda z: tg.real(tg.log(z) * (1 + 2j)).sum(), lambda z: np.conj((1 + 2j) / z)),
        (lambda z: tg.real(tg.sqrt(z) * tg.tanh(z)).sum(),
         lambda z: np.conj(np.tanh(z) / (2 * np.sqrt(z)) + np.sqrt(z) * (1 - np.tanh(z) ** 2))),
        (lambda z: tg.square(tg.imag(z) - tg.real(z)).sum(), lambda z: 2 * (z.imag - z.real) * (1j - 1)),
    ],
)  # fmt: skip
def test_complex_gradients(loss: Any, gradient: Any, device: str) -> None:
    data = np.array([1 + 2j, 0.5 - 1j, 2 + 0.5j])
    for dtype in (np.complex128, np.complex64):
        z = leaf(data, device, dtype)
        loss(z).backward()
        assert z.grad.dtype == dtype
        np.testing.assert_allclose(z.grad.numpy(), gradient(data), rtol=1e-12 if dtype is np.complex128 else 1e-5)
        np.testing.assert_allclose(tg.grad(loss)(z.detach()).numpy(), z.grad.numpy())


def test_real_arguments_of_complex_results_get_real_gradients(device: str) -> None:
    """|x e^{iφ} + w|²: x and φ are real, w is complex, and so are their gradients."""
    x, phi, w = leaf(2.0, device), leaf(0.7, device), leaf(1 - 3j, device, complex)
    z = x * tg.exp(1j * phi) + w
    tg.square(tg.abs(z)).backward()
    at, turn = 2 * np.exp(0.7j) + 1 - 3j, np.exp(0.7j)
    assert x.grad.dtype == phi.grad.dtype == np.float64 and w.grad.dtype == np.complex128
    np.testing.assert_allclose(x.grad.item(), 2 * (at * turn.conj()).real)
    np.testing.assert_allclose(phi.grad.item(), 2 * (at * np.conj(2j * turn)).real)
    np.testing.assert_allclose(w.grad.item(), 2 * at)


def test_imag_of_a_real_tensor(device: str) -> None:
    y, slope = slopes(tg.imag, leaf([1.0, 2.0], device))
    assert y.tolist() == slope.tolist() == [0, 0] and slope.dtype == np.float64


# Indices


@pytest.mark.parametrize(
    "index", [[0, 0, 2], ([0, 0], [1, 1]), (slice(None), [0, 0]), [True, False, True], (..., [1, -2, 1])]
)
def test_lists_index_as_arrays_do(index: Any, device: str) -> None:
    """A list of indices may name an entry twice, and its gradient then adds up."""
    data = np.arange(6.0).reshape(3, 2)
    y, slope = slopes(lambda x: x[index], leaf(data, device))
    want = np.zeros((3, 2))
    np.add.at(want, index, 1)
    assert np.array_equal(y, data[index]) and np.array_equal(slope, want)


def test_take_along_axis_broadcasts(device: str) -> None:
    x, order = leaf(np.arange(6.0).reshape(2, 3), device), integers([[2, 0]], device)
    y, slope = slopes(lambda x: tg.take_along_axis(x, order, axis=1), x)
    assert y.tolist() == [[2, 0], [5, 3]] and slope.tolist() == [[1, 0, 1], [1, 0, 1]]


def test_mean_and_variance_of_more_entries_than_float16_can_count(device: str) -> None:
    x = tg.Tensor(np.ones(100_000, "float16"), requires_grad=True, device=device)
    x.mean().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.full(100_000, 1e-5), rtol=2e-3)
    alternating = tg.Tensor(np.resize([0.0, 0.5], 100_000).astype("float16"), device=device)
    assert alternating.var().item() == pytest.approx(0.0625, rel=2e-3)
