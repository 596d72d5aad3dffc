"""Scans, order statistics, gather and scatter, windows, and assignment as an operation: what the registry's property
cannot say of them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from domains import CORNERS, DOMAINS, Draw

import tinygrad_mlsp as tg
from tinygrad_mlsp.backend import numpy_space
from tinygrad_mlsp.errors import DTypeError, Error, GraphError, IndexingError, OptionError, ShapeError
from tinygrad_mlsp.modes import record_everything
from tinygrad_mlsp.op import registry
from tinygrad_mlsp.tensor import VIEWS

inf, nan = np.inf, np.nan
Make = Callable[..., Any]


@pytest.fixture
def leaf(device: str) -> Make:
    return lambda data, dtype=np.float64: tg.Tensor(np.asarray(data, dtype), requires_grad=True, device=device)


@pytest.fixture
def make(device: str) -> Make:
    return lambda data, dtype=None: tg.Tensor(np.asarray(data, dtype), device=device)


def same(tensor: Any, expected: Any, tolerance: float = 1e-12) -> None:
    assert tensor is not None
    expected = np.asarray(expected)
    assert tensor.shape == expected.shape
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=tolerance, atol=tolerance)


def slope(f: Callable[..., Any], x: Any, weights: Any = None) -> Any:
    """∂⟨weights, f⟩/∂x; the weights 1, 2, 3, … unless told, so that every entry of f is told from the others."""
    y = f(x)
    weights = np.arange(1.0, y.size + 1).reshape(y.shape) if weights is None else np.asarray(weights, float)
    return tg.grad(lambda t: (f(t) * tg.Tensor(weights, device=x.device)).sum())(x)


def numeric(f: Callable[[Any], Any], x: Any, h: float = 1e-6) -> Any:
    out = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        d = np.zeros_like(x)
        d[i] = h
        out[i] = (f(x + d) - f(x - d)) / (2 * h)
    return out


# Running sums and products


PRODUCTS: list[Any] = [  # entries, slopes of the sum of all running products, and of the whole product
    (np.float32([0, 0, *[1e10] * 6]), [1, *[0] * 7], [0] * 8),
    (np.array([0, 0, 1e200, 1e200, 1e200]), [1, 0, 0, 0, 0], [0] * 5),
    (np.array([1e200, 0, 1e200, 1e-300]), [1, inf, 0, 0], [0, 1e100, 0, 0]),
    (np.array([1e-200, 1e-200, 1e200, 1e200]), [1e200, 1e200, 1e-200, 1e-200], [1e200, 1e200, 1e-200, 1e-200]),
    (np.array([2.0, 0, inf]), [nan, inf, 0], [nan, inf, 0]),
]


@pytest.mark.parametrize(("x", "running", "whole"), PRODUCTS)
def test_products_that_overflow_on_the_way(x: Any, running: Any, whole: Any, leaf: Make) -> None:
    with np.errstate(all="ignore"):
        g = tg.grad(lambda t: tg.cumulative_prod(t).sum())(leaf(x, x.dtype))
        np.testing.assert_allclose(g.numpy(), running, rtol=1e-6, atol=0)
        g = tg.grad(tg.prod)(leaf(x, x.dtype))
        np.testing.assert_allclose(g.numpy(), whole, rtol=1e-6, atol=0)


def test_a_product_comes_back_from_where_no_float_is(make: Make) -> None:
    x = make([[1e200, 1e200, 1e-300], [1e-200, 1e-200, 1e300], [2.0, 3.0, 4.0]])
    with np.errstate(over="ignore"):
        same(tg.prod(x, axis=1) / make([1e100, 1e-100, 24.0]), [1, 1, 1])
        same(tg.prod(x * 1j, axis=1) / make([1e100, 1e-100, 24.0]), [-1j, -1j, -1j])
        assert tg.prod(make([[1e200, 2.0], [1e200, 1e-300]]), axis=(0, 1), keepdims=True).shape == (1, 1)
        same(tg.cumulative_prod(x, axis=1)[:, 2] / make([1e100, 1e-100, 24.0]), [1, 1, 1])
        y = tg.cumulative_prod(x, axis=1, include_initial=True).numpy()
    assert np.array_equal(y[:, 0], [1, 1, 1]) and y[0, 2] == inf and y[1, 2] == 0


def test_a_recurrence_is_finite_where_the_truth_is(make: Make, leaf: Make) -> None:
    a = [1, 1e200, 1e200, 1, 1]
    same(tg.linear_recurrence(make(a), make([0.0, 0, 0, 1, 1])), [0, 0, 0, 1, 2])
    same(tg.linear_recurrence(make(a[::-1]), make([1.0, 1, 0, 0, 0]), reverse=True), [2, 1, 0, 0, 0])
    with np.errstate(over="ignore"):
        same(tg.linear_recurrence(make([1, 1e200, 1e200, 0, 1]), make([1.0, 0, 0, 1, 1]))[3:], [1, 2])
    y = tg.linear_recurrence(make([1, 1e-200, 1e-200, 1e200]), make([1e300, 0.0, 0, 1])).numpy()
    np.testing.assert_allclose(y, [1e300, 1e100, 1e-100, 1e100], rtol=1e-14)
    random = np.random.default_rng(0)
    for n in range(1, 9):
        a, b = (random.normal(size=(2, n)) + 1j * random.normal(size=(2, n)) for _ in range(2))
        a[random.random(a.shape) < 0.2] = 0
        want = np.zeros_like(b)
        for k in range(n):
            want[:, k] = a[:, k] * (want[:, k - 1] if k else 0) + b[:, k]
        for x, y, z in ((a, b, want), (a.real, b.real, None)):
            for size in (1.0, 2.0**60):  # the second goes the long way
                found = tg.linear_recurrence(make(x), make(y * size), axis=1).numpy() / size
                if z is not None:
                    np.testing.assert_allclose(found, z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("zeros", [(), (0,), (2,), (1, 3), (0, 1, 2, 3, 4)])
def test_running_products_have_every_derivative_at_zeros(zeros: tuple[int, ...], leaf: Make) -> None:
    """Against polynomials: ∂ and ∂² of Σ wₖ x₁⋯xₖ, written out."""
    x0 = np.array([1.5, -2.0, 0.5, 3.0, -1.0])
    x0[list(zeros)] = 0
    w = np.arange(1.0, 6)

    def product(k: int, but: set[int]) -> float:
        return float(np.prod([x0[j] for j in range(k + 1) if j not in but]))

    first = [sum(w[k] * product(k, {i}) for k in range(i, 5)) for i in range(5)]
    second = [
        [0 if i == j else sum(w[k] * product(k, {i, j}) for k in range(max(i, j), 5)) for j in range(5)]
        for i in range(5)
    ]
    x = leaf(x0)
    weights = tg.Tensor(w, device=x.device)

    def f(t: Any) -> Any:
        return (tg.cumulative_prod(t) * weights).sum()

    same(tg.grad(f)(x), first)
    same(tg.hessian(f)(x), second)


def test_running_products_do_not_overflow_where_the_slope_is_finite(leaf: Make) -> None:
    found = slope(tg.cumulative_prod, leaf([1e-200, 1e150, 1e40]), [0.0, 0.0, 1.0])
    same(found / found.detach(), [1, 1, 1])
    np.testing.assert_allclose(found.numpy(), [1e190, 1e-160, 1e-50], rtol=1e-12)


def test_running_sums_and_products_start_where_told(make: Make, device: str) -> None:
    x = make([[1.0, 2.0], [3.0, 4.0]])
    same(tg.cumulative_sum(x, axis=1, include_initial=True), [[0, 1, 3], [0, 3, 7]])
    same(tg.cumulative_prod(x, axis=0, include_initial=True), [[1, 1], [1, 2], [3, 8]])
    empty = make(np.zeros((2, 0)))
    same(tg.cumulative_sum(empty, axis=1, include_initial=True), np.zeros((2, 1)))
    same(tg.cumulative_prod(empty, axis=1, include_initial=True), np.ones((2, 1)))
    assert tg.cumulative_sum(make([1, 2, 3])).dtype == np.int64
    assert tg.cumulative_sum(make([1, 2], np.float32)).dtype == np.float32


def test_a_running_extreme_gives_its_slope_to_the_last_that_ties(leaf: Make) -> None:
    x = leaf([1.0, 3.0, 2.0, 3.0, 0.0])
    same(slope(tg.cumulative_max, x), [1, 2 + 3, 0, 4 + 5, 0])
    x = leaf([1.0, 1.0, 2.0, 1.0])
    same(slope(tg.cumulative_min, x), [1, 2 + 3, 0, 4])
    x = leaf([1.0, nan, 3.0])  # which is no number any more
    np.testing.assert_array_equal(tg.cumulative_max(x).numpy(), [1, nan, nan])
    same(slope(tg.cumulative_max, x), [1, 2 + 3, 0])


def test_logcumsumexp_at_extremes(leaf: Make) -> None:
    x = leaf([-inf, -inf, -1000.0, -999.0, 0.0, 1000.0, 999.0, -inf])
    y = tg.logcumsumexp(x)
    with np.errstate(divide="ignore"):
        want = np.logaddexp.accumulate(x.numpy())
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-14)
    found = slope(tg.logcumsumexp, x).numpy()
    exponent = np.subtract.outer(x.numpy(), np.where(np.isinf(want), 0, want))
    want = (np.exp(np.where(np.triu(np.ones((8, 8))), exponent, -inf)) * np.arange(1.0, 9)).sum(1)
    np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-300)
    second = tg.hessian(lambda t: tg.logcumsumexp(t)[-1])(x).numpy()
    p = np.exp(x.numpy() - y.numpy()[-1])
    np.testing.assert_allclose(second, np.diag(p) - np.outer(p, p), atol=1e-12)


def test_logcumsumexp_at_infinity_spares_what_came_before(leaf: Make) -> None:
    x = leaf([0.0, inf, 1.0, inf])
    same(tg.logcumsumexp(x), [0, inf, inf, inf])
    same(slope(tg.logcumsumexp, x), [1, 2 + 3 + 4, 0, 0])


def test_a_recurrence_is_what_a_loop_makes(leaf: Make, make: Make) -> None:
    random = np.random.default_rng(0)
    a, b = leaf(random.normal(size=(3, 17))), leaf(random.normal(size=(3, 17)))
    y = tg.linear_recurrence(a, b)
    state, loop = 0.0 * b[:, 0], []
    for k in range(17):
        state = a[:, k] * state + b[:, k]
        loop.append(state)
    same(y, tg.stack(loop, axis=1).numpy())
    u = make(random.normal(size=(3, 17)))
    ours = tg.grad(lambda a, b: (tg.linear_recurrence(a, b) * u).sum(), argnums=(0, 1))(a, b)
    (tg.stack(loop, axis=1) * u).sum().backward()
    same(ours[0], a.grad.numpy())
    same(ours[1], b.grad.numpy())
    with pytest.raises(ShapeError, match=r"a and b must have one shape, not \[3, 17\] and \[17\]"):
        tg.linear_recurrence(a, b[0])


# Order


def test_entries_that_tie_keep_their_order_and_slopes(leaf: Make) -> None:
    x = leaf([2.0, 1.0, 2.0, 1.0])
    same(slope(tg.sort, x), [3, 1, 4, 2])
    same(slope(lambda t: tg.sort(t, descending=True), x), [1, 3, 2, 4])
    assert tg.argsort(x, descending=True).tolist() == [0, 2, 1, 3]
    assert tg.argsort(x, descending=True, stable=False).tolist() == [0, 2, 1, 3]


def test_nan_is_the_largest(make: Make) -> None:
    x = make([2.0, nan, 1.0, inf])
    np.testing.assert_array_equal(tg.sort(x).numpy(), [1, 2, inf, nan])
    np.testing.assert_array_equal(tg.sort(x, descending=True).numpy(), [nan, inf, 2, 1])
    assert tg.argsort(x).tolist() == [2, 0, 3, 1]
    values, indices = tg.topk(x, 2)
    np.testing.assert_array_equal(values.numpy(), [nan, inf])
    assert indices.tolist() == [1, 3]
    assert np.isnan(tg.median(x).item()) and np.isnan(tg.quantile(x, 0.1).item())


def test_topk(leaf: Make) -> None:
    x = leaf([[3.0, 1.0, 2.0], [0.0, 5.0, 5.0]])
    values, indices = tg.topk(x, 2)
    same(values, [[3, 2], [5, 5]])
    assert indices.tolist() == [[0, 2], [1, 2]] and not indices.requires_grad
    same(slope(lambda t: tg.topk(t, 2)[0], x), [[1, 0, 2], [0, 3, 4]])
    same(tg.topk(x, 1, axis=0, largest=False)[0], [[0, 1, 2]])
    same(tg.topk(x, 0)[0], np.zeros((2, 0)))
    with pytest.raises(ShapeError, match=r"topk: 4 entries of axis 1, which has 3 in shape \(2, 3\)"):
        tg.topk(x, 4)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1, 0), (0, 1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_median_and_quantile_are_numpys(axis: Any, keepdims: bool, leaf: Make) -> None:
    x0 = np.random.default_rng(1).normal(size=(3, 4, 5))
    x = leaf(x0)
    same(tg.median(x, axis, keepdims), np.median(x0, axis, keepdims=keepdims))
    for q in (0.0, 0.3, 1.0, [0.25, 0.5], [[0.0, 0.1], [0.9, 1.0]]):
        for method in ("linear", "lower", "higher", "midpoint", "nearest"):
            want = np.quantile(x0, q, axis, method=method, keepdims=keepdims)
            same(tg.quantile(x, q, axis, keepdims, method), want)
    same(
        slope(lambda t: tg.quantile(t, [0.2, 0.7], axis, keepdims), x),
        numeric(
            lambda v: (
                lambda y: float((y * np.arange(1.0, y.size + 1).reshape(y.shape)).sum())
            )(np.quantile(v, [0.2, 0.7], axis, keepdims=keepdims)),
            x0,
        ),
        1e-8,
    )  # fmt: skip


def test_median_and_quantile_at_their_corners(leaf: Make, make: Make) -> None:
    same(slope(tg.median, leaf([2.0, 1.0, 1.0, 2.0]), 1.0), [0.5, 0, 0.5, 0])  # in a stable order: 1 1₂ | 2₁ 2
    same(slope(tg.median, leaf([1.0, 1.0, 1.0]), 1.0), [0, 1, 0])
    same(tg.median(make([inf, inf, -inf, 3.0])), inf)
    same(tg.quantile(make([inf, 1.0, inf]), [0.5, 1.0, 0.0]), [inf, inf, 1])
    same(tg.median(make([1, 2])), 1.5)
    assert tg.median(make([1, 2])).dtype == np.float32
    same(tg.median(make(3.0)), 3.0)
    with pytest.raises(OptionError, match="fraction from 0 to 1"):
        tg.quantile(make([1.0]), 1.5)
    with pytest.raises(OptionError, match="method is 'linear'"):
        tg.quantile(make([1.0]), 0.5, method="weibull")
    with pytest.raises(ShapeError, match=r"median: there are no entries along axis 1 of shape \(2, 0\)"):
        tg.median(make(np.zeros((2, 0))), 1)


def test_searchsorted(make: Make) -> None:
    x, v = make([3.0, 1.0, 2.0]), make([[0.0, 2.0], [2.5, 9.0]])
    sorter = tg.argsort(x)
    assert tg.searchsorted(x, v, sorter=sorter).tolist() == [[0, 1], [2, 3]]
    assert tg.searchsorted(tg.sort(x), v, side="right").tolist() == [[0, 2], [2, 3]]
    with pytest.raises(ShapeError, match="side is 'left' or 'right', not 'up'"):
        tg.searchsorted(x, v, side="up")


# Differences, gather and scatter


def test_diff_is_numpys(leaf: Make, make: Make) -> None:
    x0 = np.random.default_rng(2).normal(size=(3, 4))
    x = leaf(x0)
    for axis in (0, 1, -1):
        for n in (0, 1, 2, 5):
            same(tg.diff(x, axis=axis, n=n), np.diff(x0, n, axis))
    edge = make(x0[:, :1])
    same(tg.diff(x, prepend=edge, append=edge), np.diff(x0, prepend=x0[:, :1], append=x0[:, :1]))
    same(tg.diff(x, prepend=0.0), np.diff(x0, prepend=0.0))
    same(slope(lambda t: tg.diff(t, n=2), leaf([1.0, 2.0, 4.0, 8.0])), [1, -2 + 2, 1 - 4, 2])
    assert tg.diff(make([True, False, False])).tolist() == [True, False]


def test_gather_and_put_along_axis(leaf: Make, make: Make) -> None:
    x0, i0 = np.arange(6.0).reshape(2, 3), np.array([[2, 0], [1, -1]])
    x, i, v = leaf(x0), make(i0), leaf([[10.0, 20.0], [30.0, 40.0]])
    same(tg.gather(x, i, 1), np.take_along_axis(x0, i0, 1))
    y = tg.put_along_axis(x, i, v, 1)
    want = x0.copy()
    np.put_along_axis(want, i0, v.numpy(), 1)
    same(y, want)
    same(x, x0)
    (y * make(np.arange(1.0, 7).reshape(2, 3))).sum().backward()
    same(x.grad, [[0, 2, 0], [4, 0, 0]])
    same(v.grad, [[3, 1], [5, 6]])
    with pytest.raises(ShapeError, match="as many axes"):
        tg.put_along_axis(x, make([0]), 1.0, 1)


def test_of_several_values_for_one_place_the_last_counts(leaf: Make, make: Make) -> None:
    x, v = leaf([1.0, 2.0, 3.0]), leaf([10.0, 20.0, 30.0, 40.0])
    for index in (make([0, 2, 0, 2]), [0, 2, -3, -1]):
        y = tg.set_at(x, v, index=index)
        same(y, [30, 2, 40])
        same(slope(lambda t, index=index: tg.set_at(t, v, index=index), x), [0, 2, 0])
        same(slope(lambda t, index=index: tg.set_at(x, t, index=index), v), [0, 0, 1, 3])
    # whatever the order in which the memory is written
    i = make(np.asfortranarray([[0, 1], [1, 0]]))
    same(tg.set_at(make([0.0, 0.0]), make([[1.0, 2.0], [3.0, 4.0]]), index=i), [4, 3])


def test_additions_at_one_place_add_up(leaf: Make, make: Make) -> None:
    x, v = leaf([1.0, 2.0, 3.0]), leaf([10.0, 20.0, 30.0])
    same(tg.add_at(x, v, index=make([0, 2, 0])), [41, 2, 23])
    same(slope(lambda t: tg.add_at(x, t, index=make([0, 2, 0])), v), [1, 3, 1])
    same(slope(lambda t: tg.add_at(t, v, index=make([0, 2, 0])), x), [1, 2, 3])
    same(tg.add_at(x, 5.0, index=slice(1, None)), [1, 7, 8])
    m = make(np.zeros((2, 3)))
    same(tg.index_add(m, make([2, 0, 2]), make(np.ones((2, 3))), axis=1), [[1, 0, 2], [1, 0, 2]])
    with pytest.raises(ShapeError, match=r"index_add: source of shape \(2, 2\) .* axis 1 of shape \(2, 3\)"):
        tg.index_add(m, make([2, 0, 2]), make(np.ones((2, 2))), axis=-1)
    with pytest.raises(IndexingError):
        tg.add_at(x, 1.0, index=make([3]))
    row = leaf([[1.0, 2.0, 3.0]])  # axes of length one before the others
    same(slope(lambda t: tg.add_at(x, t, index=slice(None)), row), [[1, 2, 3]])
    same(slope(lambda t: tg.set_at(x, t, index=make([2, 1, 0])), row), [[3, 2, 1]])
    assert tg.add_at(make([1.0], np.float32), make([2.0], np.float64), index=0).dtype == np.float32


def test_masks(leaf: Make, make: Make) -> None:
    x, m = leaf([[1.0, 2.0], [3.0, 4.0]]), make([True, False])
    same(tg.masked_fill(x, m, 0.0), [[0, 2], [0, 4]])
    same(slope(lambda t: tg.masked_fill(t, m, -inf), leaf([1.0, 2.0]), [1.0, 1.0]), [0, 1])
    fill = leaf(7.0)
    same(slope(lambda t: tg.masked_fill(x, m, t), fill), 1 + 3)
    same(tg.masked_select(x, m), [1, 3])
    same(slope(lambda t: tg.masked_select(t, x > 1.5), x), [[0, 1], [2, 3]])
    with pytest.raises(ShapeError, match=r"a mask of shape \(3,\) does not broadcast to x, of shape \(2, 2\)"):
        tg.masked_fill(x, make([True, False, True]), 0.0)
    with pytest.raises(DTypeError, match="a mask is of truths"):
        tg.masked_fill(x, x, 0.0)


# Repetitions and windows


def test_repeat_one_number_for_each(leaf: Make, make: Make) -> None:
    x0 = np.arange(6.0).reshape(2, 3)
    x = leaf(x0)
    same(tg.repeat(x, [2, 0, 1], axis=1), np.repeat(x0, [2, 0, 1], 1))
    same(tg.repeat(x, make([2, 1, 0, 0, 1, 3])), np.repeat(x0, [2, 1, 0, 0, 1, 3]))
    same(tg.repeat(x, [2], axis=0), np.repeat(x0, 2, 0))
    same(slope(lambda t: tg.repeat(t, [2, 0, 1]), leaf([5.0, 6.0, 7.0])), [1 + 2, 0, 3])
    with pytest.raises(OptionError, match="3 entries are repeated"):
        tg.repeat(x, [1, 2], axis=1)


def test_windows_are_a_view_and_their_writes_are_seen(leaf: Make, make: Make, device: str) -> None:
    x = make([1.0, 2.0, 3.0, 4.0])
    y = tg.unfold(x, axis=0, size=2)
    same(y, [[1, 2], [2, 3], [3, 4]])
    if device == "cpu":
        assert np.shares_memory(y.data, x.data) and not y.data.flags.writeable
    w = leaf([1.0, 1.0])
    z = (y * w).sum()  # saves y, whose memory is x's
    x[0] = 9.0
    with pytest.raises(GraphError, match="changed in place"):
        z.backward()
    for size, step in ((5, 1), (0, 1), (2, 0)):
        with pytest.raises(ShapeError, match="do not lie in axis 0 of length 4"):
            tg.unfold(x, axis=0, size=size, step=step)


# Assignment into a graph


@pytest.fixture(params=["lean", "full"])
def recording(request: Any) -> Any:
    with record_everything() if request.param == "full" else tg.enable_grad():
        yield


def test_assignment_into_a_computed_tensor(leaf: Make, recording: Any) -> None:
    x, v = leaf([1.0, 2.0, 3.0]), leaf(5.0)
    y = x * x
    before, view = y * 1.0, y[0:2]
    y[0] = v * v
    y[1] += y[2]
    same(y, [25, 4 + 9, 9])
    same(before, [1, 4, 9])
    same(view, [1, 4])  # a view made before keeps the old values
    (y.sum() + 100 * view.sum() + 1000 * before.sum()).backward()
    same(x.grad, [200 + 2000, 4 + 400 + 4000, 6 + 6 + 6000])
    same(v.grad, 10)


def test_assignment_of_a_computed_value(leaf: Make, make: Make, recording: Any) -> None:
    v = leaf([1.0, 2.0, 3.0])
    out = make(np.zeros(3))
    name, state = out, make(np.float64(0.0))
    for t in range(3):
        state = 2 * state + v[t]
        out[t] = state
    assert name is out and out.requires_grad and not out.is_leaf
    same(name, [1, 4, 11])
    (out * make([1.0, 10.0, 100.0])).sum().backward()
    same(v.grad, [1 + 20 + 400, 10 + 200, 100])


def test_assignment_by_masks(leaf: Make, recording: Any) -> None:
    x = leaf([[-1.0, 2.0], [3.0, -4.0]])
    y = x * x * x
    y[y < 0] = 0.0
    y[x > 2] *= x[x > 2]
    same(y, [[0, 8], [81, 0]])
    y.sum().backward()
    same(x.grad, [[0, 12], [108, 0]])


def test_assignment_is_right_to_second_order(leaf: Make, make: Make) -> None:
    def f(x: Any) -> Any:
        y = x * x * x
        y[1:] = y[:-1] * x[1:]
        y[make([0, 0])] = x[1:] * x[:2]  # the last one counts: x₂ x₁
        return (y * y).sum()

    def by_hand(x: Any) -> Any:
        return (x[2] * x[1]) ** 2 + (x[0] ** 3 * x[1]) ** 2 + (x[1] ** 3 * x[2]) ** 2

    x = leaf([0.7, -1.2, 0.4])
    same(f(x), by_hand(x).numpy())
    same(tg.grad(f)(x), tg.grad(by_hand)(x).numpy())
    same(tg.hessian(f)(x), tg.hessian(by_hand)(x).numpy())
    t = make([1.0, 2.0, 3.0])
    same(tg.jvp(f, (x,), (t,))[1], tg.jvp(by_hand, (x,), (t,))[1].numpy())
    same(tg.hvp(f, x, t), tg.hvp(by_hand, x, t).numpy())


def test_kept_gradients_go_along_and_hooks_stay(leaf: Make, recording: Any) -> None:
    x = leaf([1.0, 2.0])
    y = (x * 3).retain_grad()
    seen: list[Any] = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y[0] = 7.0
    (y * y).sum().backward()
    assert seen == [[0.0, 12.0]]  # what arrives at the value that the hook was put on
    same(y.grad, [14, 12])  # of the tensor as it is now
    same(x.grad, [0, 36])


def test_assignment_keeps_dtype_shape_and_saved_values(leaf: Make, make: Make, recording: Any) -> None:
    x = leaf([1.0, 2.0], np.float32)
    y = tg.exp(x)
    z = tg.exp(y)  # saves its own result, and exp(x) its own, y's array
    y[0] = leaf(3.0, np.float64) * 1
    assert y.dtype == np.float32 and y.shape == (2,)
    z.sum().backward()
    e = np.exp(np.array([1.0, 2.0], np.float32))
    same(x.grad, np.exp(e) * e, 1e-5)
    with pytest.raises(ShapeError, match=r"set_at\(x: float32 \[2\].*value: float32 \[3\]"):
        y[:] = [1.0, 2.0, 3.0]
    with pytest.raises(IndexingError, match="set_at"):
        y[5] = 0.0
    with pytest.raises(DTypeError, match="complex values do not fit"):
        y[0] = make([1j])[0]
    whole = make([1, 2])
    with pytest.raises(GraphError, match="no gradient goes through dtype int64"):
        whole[0] = x[0]
    assert whole.tolist() == [1, 2]


def test_assignment_to_a_view_is_no_silent_loss(leaf: Make, make: Make, recording: Any) -> None:
    x, out = leaf([[1.0, 2.0], [3.0, 4.0]]), make(np.zeros((2, 2)))
    y = x * 2
    for write in (
        lambda: y[0].__setitem__(1, 5.0),
        lambda: out[0].__setitem__(1, x[0, 0]),
        lambda: y.reshape(4).__setitem__(1, 5.0),
    ):
        with pytest.raises(GraphError, match=r"a view of another.*copy"):
            write()
    row = +y[0]
    row[1] = 5.0
    same(row, [2, 5])
    moved = tg.roll(x, 1)  # to NumPy a view, but of memory that nobody else has
    moved[0, 0] = 7.0
    free = tg.roll(out, 1)
    free[0, 0] = x[0, 0]
    same(free, [[1, 0], [0, 0]])
    same(moved, [[7, 1], [2, 3]])
    same(y, [[2, 4], [6, 8]])


def test_what_may_lie_in_an_arguments_memory_is_known(device: str) -> None:
    if device != "cpu":
        pytest.skip("asked of NumPy")
    inner = {"alias", "transfer", "last_written"}  # on the same device, and where nothing is named twice
    for name, domain in DOMAINS.items():
        for corner in range(CORNERS):
            case = domain.case(Draw(Random(corner), corner))
            options = {o: "cpu" if o in ("source", "target") else v for o, v in case.options.items()}
            with np.errstate(all="ignore"):
                y = registry[name].forward(numpy_space, *case.arguments, **options)
            given = [
                v for a in case.arguments for v in (a if isinstance(a, list) else [a]) if isinstance(v, np.ndarray)
            ]
            for part in y if isinstance(y, (tuple, list)) else [y]:
                if any(np.shares_memory(part, v) for v in given):
                    assert name in VIEWS | inner, f"{name} gives a view: name it in tensor.VIEWS"


def test_assignment_in_place_where_no_gradient_is_involved(leaf: Make, make: Make) -> None:
    x = make([1.0, 2.0])
    view = x[0:1]
    x[0] = 5.0
    same(view, [5])
    y = leaf([1.0, 2.0]) * 2
    with tg.no_grad():
        memory = y.data
        y[0] = 5.0
        assert y.data is memory
    same(y, [5, 4])


def test_a_write_that_no_rule_minds_is_no_error_under_full_recording(leaf: Make, make: Make) -> None:
    c, x = make([1.0, 2.0]), leaf([3.0, 4.0])
    with record_everything():
        y = (x + c) * 2.0
        c[0] = 9.0
        y.sum().backward()
        same(x.grad, [2, 2])
        z = x * c
        c[0] = 8.0
        with pytest.raises(GraphError, match="changed in place"):
            z.sum().backward()


# Errors


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: tg.cumulative_sum(x), r"cumulative_sum\(x: float32 \[2, 3\].*axis= is needed.*2 dimensions"),
        (lambda x: tg.cumulative_prod(x, axis=2), r"cumulative_prod\(x: float32 \[2, 3\].*axis 2 is not one of"),
        (lambda x: tg.cumulative_sum(x, axis="a"), r"cumulative_sum\(.*axis 'a' is not one of"),
        (lambda x: tg.take_along_axis(x, [[0]], axis=5), r"take_along_axis\(.*axis 5 is not one of"),
        (lambda x: tg.gather(x, [[0]], 2), r"gather: axis 2 is not one of"),
        (lambda x: tg.gather(x, 1, np.zeros((2, 1), int)), r"gather: axis of shape \(2, 1\) is not one of"),
        (lambda x: tg.scatter_along_axis(x, [[0], [0]], (2, 3), 2), r"scatter_along_axis\(.*axis 2 is not one of"),
        (lambda x: tg.unfold(x, axis=2, size=1), r"unfold\(.*axis 2 is not one of"),
        (lambda x: tg.overlap_add(x, (4,), 3), r"overlap_add\(.*axis 3 is not one of"),
        (lambda x: tg.diff(x, n=1.5), "diff: n is a whole number, not 1.5"),
        (lambda x: tg.topk(x, 2.0), "topk: k is a whole number, not 2.0"),
        (lambda x: tg.topk(x, True), "topk: k is a whole number, not True"),
        (lambda x: tg.quantile(x, "a"), "quantile: q is a fraction from 0 to 1"),
        (lambda x: tg.quantile(x * 1j, 0.5), r"quantile: sort\(.*complex numbers have no order"),
        (lambda x: tg.roll(x, 1.7), r"roll\(.*shift is a whole number, not 1.7"),
        (lambda x: tg.cumulative_max(x, axis=-3), r"cumulative_max\(.*axis -3 is not one of"),
        (lambda x: tg.logcumsumexp(x), r"logcumsumexp\(.*axis= is needed"),
        (lambda x: tg.sort(x, axis=2), r"sort\(x: float32 \[2, 3\].*axis=2.*axis 2 is out of"),
        (lambda x: tg.roll(x, 1, axis=5), r"roll\(x: float32 \[2, 3\].*5 is out of"),
        (lambda x: tg.diff(x, axis=3), r"diff: axis 3 is not one of a tensor of shape \(2, 3\)"),
        (lambda x: tg.median(x, axis=3), r"median: axis 3 is not one of a tensor of shape \(2, 3\)"),
        (
            lambda x: tg.set_at(x, [1.0, 2.0], index=0),
            r"set_at\(x: float32 \[2, 3\].*, value: float32 \[2\].*does not fit x\[index\], of shape \(3,\)",
        ),
        (lambda x: tg.set_at(x, "a", index=0), "set_at: Tensor: .*not numeric"),
        (lambda x: tg.sort(x * 1j), r"sort\(.*complex numbers have no order"),
        (lambda x: tg.cumulative_max(x * 1j, axis=0), r"cumulative_max\(.*complex numbers have no order"),
    ],
)  # fmt: skip
def test_errors_name_shapes_and_axis(call: Callable[[Any], Any], words: str, make: Make) -> None:
    with pytest.raises(Error, match=words):
        call(make(np.ones((2, 3)), np.float32))
