"""Special functions: values and slopes of every order where the plain formulas are singular, against mpmath; PyTorch's
conventions; what happens at poles and kinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from support import holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp.errors import OptionError
from tinygrad_mlsp.tensor import Tensor

POINTS = [-8.0, -2.5, -0.7, -1e-3, -1e-9, 0.0, 1e-160, 1e-5, 0.3, 0.4774, 0.4776, 1.0, 2.0, 9.9, 10.1, 31.7]


def tower(f: Callable[[Tensor], Tensor], x: Tensor, order: int) -> list[Any]:
    """f, f′, f″, … entry by entry."""
    found = [f]
    for _ in range(order):
        found.append(tg.grad(lambda v, last=found[-1]: last(v).sum()))
    return [g(x).numpy() for g in found]


def exact(f: Callable[[Any, int], Any], points: Any, order: int) -> list[list[float]]:
    with mp.workdps(60):
        return [[float(mp.re(f(mp.mpf(float(x)), n))) for x in points] for n in range(order + 1)]


def sinc(x: Any, n: int) -> Any:
    """The n-th derivative, by x y⁽ⁿ⁾ + n y⁽ⁿ⁻¹⁾ = πⁿ⁻¹ sin⁽ⁿ⁾(πx) with digits enough for what cancels."""
    if x == 0:
        return mp.pi**n * [1, 0, -1, 0][n % 4] / (n + 1)
    with mp.workdps(1000):
        y = mp.sinpi(x) / (mp.pi * x)
        for m in range(1, n + 1):
            turned = [mp.sinpi, mp.cospi, lambda v: -mp.sinpi(v), lambda v: -mp.cospi(v)][m % 4]
            y = (mp.pi ** (m - 1) * turned(x) - m * y) / x
        return y


def bessel(m: int) -> Callable[[Any, int], Any]:
    """The n-th derivative of Iₘ: 2⁻ⁿ Σ (n over k) Iₘ₋ₙ₊₂ₖ."""
    return lambda x, n: mp.fsum(mp.binomial(n, k) * mp.besseli(abs(m - n + 2 * k), x) for k in range(n + 1)) / 2**n


def test_sinc_and_its_derivatives_at_0_and_near_it(device: str) -> None:
    x = maker(device)(np.array(POINTS))
    want = exact(sinc, POINTS, 4)
    for n, (got, right) in enumerate(zip(tower(tg.sinc, x, 4), want, strict=True)):
        np.testing.assert_allclose(got, right, rtol=1e-13, atol=1e-14 * np.pi**n)
    small = np.array([1e-3, 1e-8, 1e-200, -1e-9])  # all digits, not only a small absolute error
    slope = -(np.pi**2) / 3 * small * (1 - (np.pi * small) ** 2 / 10)
    np.testing.assert_allclose(tower(tg.sinc, maker(device)(small), 1)[1], slope, rtol=1e-11)
    holds(tg.sinc(maker(device)([0.0, 0.5, 1.0, 1e9, 2.0])), [1, 2 / np.pi, 0, 0, 0], np.float32)


@pytest.mark.parametrize("m", [0, 1, 2, 3])
def test_bessel_functions_have_every_derivative_at_0(m: int, device: str) -> None:
    x = maker(device)(np.array(POINTS))
    functions = [*{0: [tg.i0], 1: [tg.i1]}.get(m, []), lambda v: tg.iv(v, n=m)]
    want = exact(bessel(m), POINTS, 4)
    for f in functions:
        for got, right in zip(tower(f, x, 4), want, strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-13, atol=1e-320)


def test_scaled_bessel_functions(device: str) -> None:
    points = np.array([-700.0, -9.9, -1e-8, 1e-8, 0.5, 7.9, 8.1, 1e5])
    x = maker(device)(points)
    with mp.workdps(60):
        for m, f in ((0, tg.i0e), (1, tg.i1e), (2, lambda v: tg.ive(v, n=2)), (5, lambda v: tg.ive(v, n=5))):
            scaled = lambda p, n, m=m: (
                mp.exp(-abs(p))
                * mp.fsum(mp.binomial(n, k) * (-mp.sign(p)) ** (n - k) * bessel(m)(p, k) for k in range(n + 1))
            )
            for got, right in zip(tower(f, x, 2), exact(scaled, points, 2), strict=True):
                np.testing.assert_allclose(got, right, rtol=1e-11, atol=1e-16)
    at = maker(device)(np.zeros(1))
    assert [v[0] for v in tower(tg.i0e, at, 1)] == [1, 0] and [v[0] for v in tower(tg.i1e, at, 1)] == [0, 0.5]
    assert np.isfinite(tg.iv(maker(device)(np.array([712.0])), n=2).numpy()).all()


def test_the_gamma_family_is_of_every_order(device: str) -> None:
    points = np.array([1e-5, 0.4, 1.0, 1.4616321449683623, 2.0, 2.5, 30.0, 1e8, -0.4, -1.7, -20.3])
    x = maker(device)(points)
    want = exact(
        lambda p, n: mp.polygamma(n - 1, p) if n else mp.log(abs(mp.gamma(p))) if p < 99 else mp.loggamma(p), points, 4
    )
    for got, right in zip(tower(tg.lgamma, x, 4), want, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-13, atol=1e-15)
    for n in (1, 2, 3):
        holds(tg.polygamma(x, n=n), want[n + 1], tolerance=1e-13)
    np.testing.assert_array_equal(tg.polygamma(x, n=0).numpy(), tg.digamma(x).numpy())
    far = maker(device)(np.array([-1e12 - 0.5]))  # SciPy adds up 10¹² terms here
    holds(tg.polygamma(far), [np.pi**2], tolerance=1e-11)


def test_lgamma_has_all_digits_at_its_roots(device: str) -> None:
    e = np.array([1e-15, -1e-15, 1e-9, -1e-6, 2.0**-20])
    for root in (1.0, 2.0):
        x = root + e
        with mp.workdps(50):
            want = [float(mp.loggamma(mp.mpf(float(v)))) for v in x]
        np.testing.assert_allclose(tg.lgamma(maker(device)(x)).numpy(), want, rtol=2e-15)


def test_poles_of_the_gamma_family(device: str) -> None:
    with np.errstate(all="ignore"):
        x = maker(device)(np.array([0.0, -1.0, -2.0]))
        np.testing.assert_array_equal(tg.lgamma(x).numpy(), [np.inf] * 3)
        np.testing.assert_array_equal(tg.digamma(x).numpy(), [-np.inf, np.nan, np.nan])
        np.testing.assert_array_equal(tg.polygamma(x, n=1).numpy(), [np.inf] * 3)


def test_erfc_keeps_its_digits_in_the_tail(device: str) -> None:
    points = np.array([-6.0, 0.0, 0.99, 1.01, 5.0, 19.2, 26.0])
    with mp.workdps(50):
        want = [float(mp.erfc(mp.mpf(float(v)))) for v in points]
    np.testing.assert_allclose(tg.erfc(maker(device)(points)).numpy(), want, rtol=2e-15)
    holds(tg.erfc(maker(device)([np.inf, -np.inf, 30.0, 1e30])), [0, 2, 0, 0])


def test_erfinv_undoes_erf_and_a_zero_cotangent_stays_zero_at_its_poles(device: str) -> None:
    make = maker(device)
    x = make(np.linspace(-0.999, 0.999, 21))
    holds(tg.erf(tg.erfinv(x)), x.numpy(), tolerance=1e-14)
    ends = make(np.array([-1.0, 0.0, 1.0]), requires_grad=True)
    with np.errstate(divide="ignore"):
        y = tg.erfinv(ends)
        y.backward(make(np.array([1.0, 1.0, 0.0])))
    np.testing.assert_array_equal(y.numpy(), [-np.inf, 0, np.inf])
    assert ends.grad is not None
    np.testing.assert_allclose(ends.grad.numpy(), [np.inf, np.sqrt(np.pi) / 2, 0])


def test_x_ln_y_in_an_entropy_with_empty_classes(device: str) -> None:
    """Σ p ln p, whose zeros count nothing, and whose slope there is 0 by convention."""
    make = maker(device)
    p = make(np.array([0.0, 0.25, 0.75]), requires_grad=True)
    entropy = -tg.xlogy(p, p).sum()
    entropy.backward()
    holds(entropy, -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)), tolerance=1e-14)
    holds(p.grad, [0, -np.log(0.25) - 1, -np.log(0.75) - 1], tolerance=1e-14)
    hidden = make(np.array([0.0]), requires_grad=True)  # a zero cotangent at the pole of ln
    tg.where(hidden > 0, tg.xlogy(make(np.ones(1)), hidden), 0.0).sum().backward()
    holds(hidden.grad, [0.0])


PYTORCH: dict[str, tuple[str, list[list[float]]]] = {  # our name: PyTorch's, and arguments, kinks among them
    "erfc": ("erfc", [[-3, -0.5, 0, 0.5, 9]]),
    "erfinv": ("erfinv", [[-0.99, -0.5, 0, 0.5, 0.999]]),
    "lgamma": ("lgamma", [[0.1, 1, 1.5, 2, 20, -0.5, -1.5]]),
    "digamma": ("digamma", [[0.1, 1, 1.5, 2, 20, -0.5, -1.5]]),
    "i0": ("special.i0", [[-5, -0.5, 0, 0.5, 9]]),
    "i0e": ("special.i0e", [[-5, -0.5, 0, 0.5, 9]]),
    "i1": ("special.i1", [[-5, -0.5, 0, 0.5, 9]]),
    "i1e": ("special.i1e", [[-5, -0.5, 0, 0.5, 9]]),
    "sinc": ("sinc", [[-2.5, -0.5, 0, 0.25, 3.5]]),
    "xlogy": ("xlogy", [[0, 0, 0, 2, -1.5], [1, -1, 3, 2, 0.5]]),
    "xlog1py": ("special.xlog1py", [[0, 0, 2, -1.5], [1, 3, 2, 0.5]]),
    "logaddexp": ("logaddexp", [[0, 1, -30, -np.inf], [0, -1e4, 3, 2]]),
    "atan2": ("atan2", [[0, 1, -1, 0], [0, 0, -1, -2]]),
}


@pytest.mark.parametrize("name", PYTORCH)
def test_values_and_slopes_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs: Any = torch
    for part in PYTORCH[name][0].split("."):
        theirs = getattr(theirs, part)
    arrays = [np.array(a, float) for a in PYTORCH[name][1]]
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    want = theirs(*leaves)
    want.sum().backward()
    ours = [tg.Tensor(a, requires_grad=True) for a in arrays]
    with np.errstate(invalid="ignore"):
        got = getattr(tg, name)(*ours)
        got.backward(tg.ones_like(got))
    np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=1e-12, atol=1e-15)
    for x, leaf in zip(ours, leaves, strict=True):
        near = 1e-9 if name == "digamma" else 1e-12  # PyTorch's trigamma has nine digits
        np.testing.assert_allclose(x.grad.numpy(), leaf.grad.numpy(), rtol=near, atol=1e-15)  # type: ignore[union-attr]


def test_numpys_functions_reach_these() -> None:
    x = Tensor(np.array([0.5, 1.5]), requires_grad=True)
    for f in (np.sinc, np.i0):
        y = f(x)  # type: ignore[operator]
        assert isinstance(y, Tensor) and y.requires_grad
    np.testing.assert_allclose(np.i0(x).numpy(), scipy.special.i0(x.numpy()))  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_stays(dtype: str, device: str) -> None:
    x = maker(device)(np.array([0.25, 0.5], dtype), requires_grad=True)
    for f in (
        tg.erf, tg.erfc, tg.erfinv, tg.lgamma, tg.digamma, tg.polygamma, tg.i0, tg.i1, tg.i0e, tg.i1e, tg.iv, tg.sinc,
        lambda v: tg.iv(v, n=3), lambda v: tg.polygamma(v, n=25), lambda v: tg.xlogy(v, v),
        lambda v: tg.xlog1py(v, 2.0),
    ):  # fmt: skip
        with np.errstate(over="ignore"):
            y = f(x)
            x.grad = None
            y.backward(tg.ones_like(y))
        assert y.dtype == dtype and x.grad is not None and x.grad.dtype == dtype


def test_an_order_that_does_not_exist_is_an_error(device: str) -> None:
    x = maker(device)([0.5])
    for f in (tg.iv, tg.ive, tg.polygamma, tg.sinc):
        for n in (-1, 0.5):
            with pytest.raises(OptionError, match=r"the order n is a whole number from 0 on"):
                f(x, n=n)
