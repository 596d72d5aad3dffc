"""check: right gradients pass, wrong ones fail, and where neither can be said it says why."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import Make, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import check, checking
from tinygrad_mlsp.errors import DTypeError, OptionError, ShapeError

X = np.random.default_rng(0).normal(size=5)
ZERO = np.array([0.0])


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


def verdict(f: Callable[..., Any], *inputs: Any, **options: Any) -> str:
    """The verdict, with an exclamation mark if the report is not ok."""
    report = check(f, *inputs, **options)
    return report.verdict + ("" if report else "!")


# Right gradients


@pytest.mark.parametrize(
    "f, x",
    [
        (tg.sin, X * 1e6), (lambda x: tg.exp(1000 * x), np.array([0.1, 0.3])),
        (tg.log, np.array([1e-30, 1e-9, 1e-4, 1.0, 1e8])), (lambda x: 1 / x, np.array([1e-30, 1e-9, 1.0, 1e8, -1e20])),
        (lambda x: (x + 1) ** 2, np.array([1e-9, 1e-12, 0.0])), (lambda x: x * 0 + 3, X), (lambda x: x + 1e8, X),
        (tg.tanh, np.array([18.0, 10, -20, 5, 300])), (tg.sigmoid, np.array([40.0, -40, 700, -700])),
        (lambda x: tg.exp(-50 * x * x), X * 3), (lambda x: tg.softmax(x, axis=-1), X.reshape(1, 5) * 20),
        (lambda x: tg.logsumexp(x, axis=-1), X * 50), (lambda x: x * tg.abs(x), np.array([0.0, 1, -2])),
        (lambda x: 1e12 * x[0] + x[1], X), (tg.floor, np.array([1.3, 2.7])), (lambda x: x * x, np.array([1e150, 1e12])),
        (tg.sin, X.astype("f4")), (tg.sin, X.astype("f2")), (tg.exp, (3 * X).astype("f2")),
        (tg.sigmoid, np.array([20.0, -20, 8], "f2")), (tg.nn.functional.softplus, np.array([800.0, -800, 0])),
        (lambda x: ((x + 1000) - 1000) ** 2, X.astype("f4")), (lambda x: 1e-9 * tg.sin(x), X.astype("f4")),
        (lambda x: tg.sin(x.astype("float32")).astype("float64"), X),
        (tg.exp, X + 1j * X[::-1]), (tg.abs, X + 1j * X[::-1]), (lambda x: x * x, (X + 2j * X[::-1]).astype("c8")),
        (lambda x: tg.relu(x), np.array([1e-12, -1e-12, 1e-8, -1e-8, 1e-5, -1e-5, 1e-15])),
        (lambda x: tg.relu(x - 1) + 3.7 * tg.sin(x), 1 + np.array([1e-8, -1e-8])),
        (lambda x: x * 2, 1.5), (lambda x: x * 2, [1.5, 2.0]), (lambda x: (x * 2, tg.argmax(x)), X),
        (lambda p: (p["a"] * p["b"]).sum(), {"a": X, "b": X[::-1]}), (lambda x: x[::-1] * 2, X[::-2]),
        (lambda x: (x * 2, {"a": x.sum(), "b": [tg.exp(x[0])]}), X), (lambda x: tg.max(x), X),
    ],
)  # fmt: skip
def test_right_gradients_pass(f: Callable[..., Any], x: Any) -> None:
    report = check(f, x)
    assert report.verdict == "pass", report
    assert report.checked > 0 and report.counts["pass"] == report.checked


def test_several_arguments_and_argnums(device: str, make: Make) -> None:
    a, b = make(X[:4].reshape(2, 2), dtype="float64"), make(X[:2], dtype="float64")
    report = check(lambda a, b: tg.tanh(a @ b), a, b)
    assert report.verdict == "pass" and report.checked == 2 * 2 * 6
    assert [line.split(":")[0] for line in report.inputs] == ["a", "b"]
    one = check(lambda a, b: tg.tanh(a @ b), a, b, argnums=1)
    assert one.verdict == "pass" and one.checked == 2 * 2 * 2
    assert verdict(lambda x, i: x[i], b, make([1, 1, 0])) == "pass"  # whole numbers are passed through
    assert verdict(tg.exp, b, order=2) == "pass"
    assert verdict(tg.sin, make(X, dtype="float32")) == "pass"


@pytest.mark.parametrize("order", [2, 3])
def test_higher_orders(order: int) -> None:
    report = check(lambda x: tg.sin(x) * x, X[:2], order=order)
    assert report.verdict == "pass" and report.order == order
    assert report.checked > check(lambda x: tg.sin(x) * x, X[:2]).checked
    assert verdict(lambda x: tg.exp(tg.sin(x)), X[:2].astype("f4"), order=order) == "pass"


def test_the_gradient_of_a_gradient_that_forgets_a_term_fails() -> None:
    def half_recorded(x: tg.Tensor) -> tg.Tensor:
        return tg.exp(x) * tg.exp(x.detach())

    assert verdict(half_recorded, X) == "fail!"
    assert verdict(lambda x: tg.exp(2 * x), X, order=2) == "pass"


def test_zero_size_and_0d() -> None:
    for f in (lambda x: x * 2, lambda x: x.sum()):
        report = check(f, np.zeros((0, 3)))
        assert report.verdict == "pass" and report.checked == 0
        assert "shapes" in report.notes[0]
    with pytest.raises(DTypeError, match="returns no floating-point number"):
        check(lambda x: tg.argmax(x), X)
    assert check(lambda x: x * x, 0.5).worst.index == ()
    assert verdict(lambda x: np.zeros(0), X, vjp=lambda x, v: X) == "fail!"


# Wrong ones


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-9, 1e-12, 1e-100])
@pytest.mark.parametrize("factor", [5, 9, 1.01, 1 + 1e-6, -1, 0])
def test_a_wrong_factor_fails_at_any_scale(scale: float, factor: float) -> None:
    f, df = (lambda x: (scale * np.sin(x)).sum()), (lambda x: scale * np.cos(x))
    assert verdict(f, X, gradient=df) == "pass"
    assert verdict(f, X, gradient=lambda x: factor * df(x)) == "fail!"


@pytest.mark.parametrize("scale", [1e-6, 1e-9, 1e-12])
def test_a_small_wrong_gradient_fails_beside_large_values(scale: float) -> None:
    for f, df in ((np.sin, np.cos), (np.abs, np.sign)):
        wrong = check(lambda x, f=f: (1 + scale * f(x)).sum(), X, gradient=lambda x, df=df: 5 * scale * df(x))
        assert wrong.verdict == "fail", wrong
    assert verdict(lambda x: 0 * x.sum(), X, gradient=lambda x: 0 * x + scale) == "fail!"


def test_low_precision_is_judged_fairly() -> None:
    x = X.astype("f4")
    assert verdict(np.sin, x[0], gradient=np.cos) == "pass"
    assert verdict(np.sin, x[0], gradient=lambda x: 1.01 * np.cos(x)) == "fail!"

    def only32(x: Any) -> Any:
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.sin(x).sum()

    report = check(only32, x, gradient=np.cos)
    assert report.verdict == "pass" and "float32" in report.method
    assert "does not take float64" in report.notes[0]
    assert verdict(only32, x, gradient=lambda x: 1.01 * np.cos(x)) == "fail!"
    # right in float64, wrong in the dtype that is used
    assert verdict(np.sin, x[0], gradient=lambda x: np.cos(x) * (1 if x.dtype == np.float64 else 1.01)) == "fail!"


def test_every_element_is_seen() -> None:
    a = np.random.default_rng(1).normal(size=(20, 20))
    for i, j in ((0, 0), (7, 13), (19, 19)):
        wrong = a.copy()
        wrong[i, j] *= 2
        report = check(lambda x: a @ x, a[0], jacobian=lambda x, wrong=wrong: wrong)
        assert report.verdict == "fail" and report.counts["fail"] == 1
        assert (report.worst.output_index, report.worst.index) == ((i,), (j,))
        assert report.worst.analytic == wrong[i, j] and math.isclose(report.worst.numeric, a[i, j])


def test_projections_say_what_they_give_up() -> None:
    a = np.random.default_rng(1).normal(size=(20, 20))
    wrong = a.copy()
    wrong[3, 4] *= 2
    f = lambda x: a @ x
    for kind, right, bad in (
        ("jacobian", lambda x: a, lambda x: wrong),
        ("vjp", lambda x, v: a.T @ v, lambda x, v: wrong.T @ v),
        ("jvp", lambda x, t: a @ t, lambda x, t: wrong @ t),
    ):
        report = check(f, a[0], elements="projection", **{kind: right})
        assert report.verdict == "pass" and report.checked < 400
        assert "cancel" in report.notes[-1] and "probability" in report.notes[-1]
        assert verdict(f, a[0], elements="projection", **{kind: bad}) == "fail!"
    report = check(lambda x: tg.tanh(x) * x, np.linspace(-1, 1, 100), elements="projection", directions=4)
    assert report.verdict == "pass" and report.evaluations < 400


def test_wrong_shapes_and_kinds_fail() -> None:
    f = lambda x: (x * x).sum()
    for gradient, word in (
        (lambda x: 2 * x[:2], "shape (2,)"), (lambda x: None, "None"), (lambda x: (x, x), "2 array(s)"),
        (lambda x: 2j * x, "complex"), (lambda x: "2 x", "str"), (lambda x: 2 * x[None], "shape (1, 5)"),
    ):  # fmt: skip
        report = check(f, X, gradient=gradient)
        assert report.verdict == "fail" and word in report.reason and word in str(report)
    assert "shape" in check(np.sin, X, jvp=lambda x, t: t[:2]).reason


# Foreign functions


def test_functions_of_numpy_with_a_derivative_beside_them() -> None:
    assert verdict(lambda x: np.sin(x).sum(), X, gradient=np.cos) == "pass"
    assert verdict(math.sin, 0.5, gradient=math.cos) == "pass"
    assert verdict(np.sin, X, jacobian=lambda x: np.diag(np.cos(x))) == "pass"
    assert verdict(np.sin, X, vjp=lambda x, v: np.cos(x) * v, jvp=lambda x, t: np.cos(x) * t) == "pass"
    two = lambda x, y: (x * y, x.sum())
    assert verdict(two, X, X + 1, vjp=lambda x, y, v: (v[0] * y + v[1], v[0] * x)) == "pass"
    assert verdict(lambda x, y: (x * y).sum(), X, X + 1, gradient=lambda x, y: [y, x]) == "pass"
    assert verdict(lambda x, n: (x**n).sum(), X, 3, gradient=lambda x, n: n * x ** (n - 1)) == "pass"
    assert verdict(lambda x: (x * tg.exp(x)).sum(), tg.Tensor(X), gradient=lambda x: (1 + x) * tg.exp(x)) == "pass"


def test_the_complex_step_is_believed_only_where_it_agrees() -> None:
    smooth = check(lambda x: np.sin(x).sum(), X, gradient=np.cos)
    assert smooth.method.startswith("complex step") and smooth.worst.error_bar < 1e-12
    for f, df in (
        (lambda x: np.abs(x).sum(), np.sign),  # the complex step gives 0 (the modulus is real)
        (lambda x: (x * np.conj(x)).real.sum(), lambda x: 2 * x),
        (lambda x: np.real(np.exp(np.conj(x))).sum(), np.exp),
    ):
        report = check(f, X, gradient=df)
        assert report.verdict == "pass" and report.method.startswith("central differences")
    assert "no complex step" in check(lambda x: tg.relu(x), X, method="complex step").notes[0]
    assert check(tg.sin, X, method="differences").method.startswith("central differences")


def test_torch_through_dlpack() -> None:
    torch = pytest.importorskip("torch")

    def gradient(x: Any) -> Any:
        x = x.clone().requires_grad_()
        (x.sin() * x).sum().backward()
        return x.grad

    x = torch.tensor(X)
    assert verdict(lambda x: (x.sin() * x).sum(), x, gradient=gradient) == "pass"
    assert verdict(lambda x: (x.sin() * x).sum(), x, gradient=lambda x: 2 * gradient(x)) == "fail!"


# Kinks and singular points


@pytest.mark.parametrize(
    "f, x, left, right",
    [
        (tg.relu, ZERO, 0, 1), (tg.abs, ZERO, -1, 1), (lambda x: tg.clip(x, 0, 1), ZERO, 0, 1),
        (lambda x: tg.clip(x, 0, 1), ZERO + 1, 1, 0), (lambda x: tg.maximum(x, 2 * x), ZERO, 1, 2),
        (tg.sqrt, ZERO, math.nan, math.inf), (lambda x: tg.where(x > 0, tg.sqrt(x), 0), ZERO, 0, math.inf),
        (tg.floor, ZERO + 2, 0, 0), (tg.sign, ZERO, 0, 0), (lambda x: x**1.5, ZERO, math.nan, 0),
    ],
)  # fmt: skip
def test_kinks_with_their_slopes(f: Callable[..., Any], x: Any, left: float, right: float) -> None:
    report = check(f, x)
    assert report.verdict == "kink" and report.ok, report
    worst = report.worst
    np.testing.assert_allclose([worst.left, worst.right], [left, right], atol=1e-6)
    assert "slopes" in str(report) and worst.why


def test_ties_and_norms() -> None:
    assert verdict(lambda x: x.max(), np.array([1.0, 1.0, 0.0])) == "kink"
    assert verdict(lambda x, y: tg.maximum(x, y), np.array([1.0]), np.array([1.0])) == "kink"
    norm = lambda x: np.sqrt((x * x).sum())
    assert verdict(norm, np.zeros(3), gradient=lambda x: 0 * x) == "kink"
    report = check(norm, np.zeros(3), gradient=lambda x: x / norm(x))  # 0/0
    assert report.verdict == "fail" and "nan" in report.worst.why


def test_at_a_kink_a_value_outside_the_slopes_fails() -> None:
    report = check(lambda x: np.maximum(x, 0).sum(), ZERO, gradient=lambda x: x + 5)
    assert report.verdict == "fail" and "outside" in report.worst.why
    assert (report.worst.left, report.worst.right) == (0, 1)
    assert verdict(lambda x: np.floor(x).sum(), ZERO, gradient=lambda x: x + 4) == "fail!"
    assert verdict(lambda x: np.cbrt(x).sum(), ZERO, gradient=lambda x: x + np.inf) == "kink"
    report = check(lambda x: np.cbrt(x).sum(), ZERO, gradient=lambda x: x + 1)  # the slope is infinite
    assert report.verdict == "kink" and not report.ok and "convention" in report.worst.why


def test_beside_a_kink_the_step_adapts() -> None:
    relu = lambda x: np.maximum(x, 0).sum()
    for f, right, distances in ((relu, 1.0, (1e-12, 1e-8, 1e-3)), (lambda x: relu(x) + relu(3 - x), 0.0, (1e-8, 1e-3))):
        for beside in distances:
            assert verdict(f, np.array([beside]), gradient=lambda x, r=right: 0 * x + r) == "pass"
            assert verdict(f, np.array([beside]), gradient=lambda x, r=right: 0 * x + r - 1) == "fail!"


def test_a_kink_seen_at_the_second_order() -> None:
    report = check(tg.relu, np.array([0.0, 1.0]), order=2)
    assert report.verdict == "kink" and report.ok


# What cannot be decided


def test_undecidable_says_why_and_what_to_do() -> None:
    report = check(lambda x: np.float32(1e8) + np.sin(x.astype("f4")), X.astype("f4")[0], gradient=np.cos)
    assert report.verdict == "undecidable" and not report.ok
    assert "noise" in report.worst.why and "float64" in report.worst.why
    report = check(lambda x: 1 / x, ZERO)
    assert report.verdict == "undecidable" and "inf" in report.worst.why
    assert check(lambda x: tg.exp(x), np.array([12.0], "f2")).verdict == "undecidable"  # overflows float16


def test_nondeterminism_is_named() -> None:
    generator = np.random.default_rng()
    dropout = check(lambda x: x * tg.Tensor(generator.random(5) > 0.5), X)
    assert dropout.verdict == "undecidable" and "not deterministic" in dropout.reason
    report = check(lambda x: (x * x).sum(), X, gradient=lambda x: 2 * x * generator.random(5))
    assert report.verdict == "fail" and "not deterministic" in report.reason


def test_a_function_that_changes_its_inputs_is_named() -> None:
    def shift(x: Any) -> Any:
        x += 1
        return (x * x).sum()

    report = check(shift, X.copy(), gradient=lambda x: 2 * x)
    assert report.verdict == "fail" and "changes its inputs" in report.reason


def test_values_that_are_not_finite_are_named() -> None:
    assert "nan" in check(tg.log, np.array([-1.0, 1.0])).worst.why
    assert "not finite at [1]" in check(tg.sin, np.array([1.0, np.nan])).reason
    report = check(lambda x: np.sin(x).sum(), X, gradient=lambda x: x * np.nan)
    assert report.verdict == "fail" and "nan" in report.worst.why


# The report


def test_the_report() -> None:
    good = check(tg.sin, X)
    assert good and good.raise_if_failed() is good and good.assert_ok() is good
    assert str(good).startswith("gradient check of sin: pass") and "complex step" in str(good)
    assert good.modes == ("reverse", "forward") and good.disagreement < 1e-12 and good.seconds > 0
    bad = check(lambda x: np.sin(x).sum(), X, gradient=lambda x: 2 * np.cos(x))
    assert not bad and bad.worst.where == "∂y/∂x[1]".replace("[1]", str([*bad.worst.index]))
    assert "analytic / numeric = 2" in str(bad)
    with pytest.raises(checking.GradientCheckError, match="fail") as caught:
        bad.raise_if_failed()
    assert isinstance(caught.value, AssertionError) and isinstance(caught.value, tg.Error)
    assert caught.value.report is bad
    with pytest.raises(AssertionError):
        assert bad
    assert len(str(check(lambda x: np.sin(x).sum(), np.ones(200), gradient=lambda x: x)).splitlines()) < 40


def test_the_page_stands_alone_and_escapes() -> None:
    def f(x: Any) -> Any:
        return np.sin(x).sum()

    f.__name__ = "<script>alert(1)</script>"
    page = check(f, X, gradient=lambda x: 2 * np.cos(x)).to_html()
    assert "<script" not in page and html.escape(f.__name__) in page
    assert "http" not in page and "prefers-color-scheme: dark" in page
    assert page.startswith("<!doctype html>") and "✕ fail" in page
    assert "<main" in check(tg.relu, ZERO)._repr_html_()


def test_it_is_counted() -> None:
    from tinygrad_mlsp.checking import tally

    with tally.counting() as counted:
        report = check(tg.sin, X)
    assert counted.elements == report.checked


def test_a_hundred_elements_take_no_time() -> None:
    x = np.random.default_rng(2).normal(size=100)
    start = time.perf_counter()
    assert check(lambda x: tg.tanh(x) * x, x)
    assert time.perf_counter() - start < 2  # about 0.1 s on a free machine


# Bad input


def test_calls_that_make_no_sense_are_answered() -> None:
    for call, error, words in (
        (lambda: check(3, X), DTypeError, "takes a function"),
        (lambda: check(tg.sin), DTypeError, "no input"),
        (lambda: check(lambda x: x, np.arange(3)), DTypeError, "no input"),
        (lambda: check(lambda x: x.numpy(), X), DTypeError, "gradient="),
        (lambda: check(lambda x: "text", X, gradient=np.cos), DTypeError, "array of numbers"),
        (lambda: check(np.sin, X, gradient=np.cos), ShapeError, "jacobian="),
        (lambda: check(np.sin, X, gradient=3), DTypeError, "gradient is a function"),
        (lambda: check(np.sum, X, gradient=np.cos, order=2), OptionError, "order=2"),
        (lambda: check(tg.sin, X, order=0), OptionError, "order"),
        (lambda: check(tg.sin, X, modes="backward"), OptionError, "reverse"),
        (lambda: check(tg.sin, X, elements="some"), OptionError, "projection"),
        (lambda: check(tg.sin, X, tolerence=1e-3), OptionError, "tolerance"),
        (lambda: check(tg.sin, X, tolerance=2), OptionError, "tolerance"),
        (lambda: check(tg.sin, X, directions=0), OptionError, "directions"),
        (lambda: check(tg.sin, X, method="magic"), OptionError, "differences"),
        (lambda: check(tg.sin, X, argnums=2), OptionError, "argnums"),
        (lambda: check(tg.sin, X, argnums="x"), OptionError, "argnums"),
        (lambda: check(lambda x, i: x[i], X, np.array([1]), argnums=1), DTypeError, "no derivative"),
        (lambda: check(tg.sin, np.zeros(10_000)), OptionError, "projection"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            call()


def test_modes_alone() -> None:
    assert check(tg.sin, X, modes="forward").modes == ("forward",)
    assert check(tg.sin, X, modes=("reverse",)).disagreement is None


def test_the_smallest_numbers_and_the_fastest_turns() -> None:
    assert check(lambda x: x * x, np.array([5e-324, 2.2e-308])).verdict == "pass"
    for frequency in (1e12, 1e300):  # no step is small enough to follow, or to tell these turns from noise
        assert check(lambda x, w=frequency: tg.sin(w * x), np.array([1.0])).verdict == "undecidable"
    assert check(lambda x: tg.sin(1e6 * x), np.array([1.0])).verdict == "pass"


def test_a_point_without_a_gradient_that_no_axis_shows() -> None:
    """The median of three equal numbers stands still along each axis, but not along others."""
    report = check(tg.sort, np.array([1.0, 1.0, 1.0]))
    assert report.verdict == "kink" and report.ok
    wrong = check(np.sort, np.array([1.0, 1.0, 1.0]), jacobian=lambda x: np.diag([1.0, 7.0, 1.0]))
    assert wrong.verdict == "fail"
