"""The bounds of the page on accuracy, held on a small grid, and the ends of the range, where nothing may overflow."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import maker

import tinygrad_mlsp as tg
from tinygrad_mlsp.op import registry

sys.path.insert(0, str(Path(__file__).parent / "evidence"))
import accuracy
from accuracy import CLAIMS, DTYPES, PAGE, Claim

POINTS = 120
EXACT = {"add", "subtract", "negative", "positive", "multiply"}  # to the last rounding, by IEEE 754


@pytest.mark.parametrize("name", CLAIMS)
def test_the_bounds_hold(name: str) -> None:
    for dtype in DTYPES:
        index = DTYPES.index(dtype)
        value, slope = accuracy.measure(name, dtype, POINTS)
        assert value[0] <= CLAIMS[name].forward[index], f"{dtype}: {value[0]:.3g} ULP at {value[1]}"
        assert slope[0] <= CLAIMS[name].slope[index], f"{dtype}, slope: {slope[0]:.3g} ULP at {slope[1]}"


def test_every_function_of_numbers_has_a_bound() -> None:
    unbounded = {n for n, op in registry.items() if op.kind == "elementwise" and op.forward.__module__ in CHAPTERS}
    assert unbounded - set(CLAIMS) - EXACT == set(), "state in evidence/accuracy.py how accurate these are"


CHAPTERS = {f"tinygrad_mlsp.rules.{c}" for c in ("arithmetic", "elementwise", "special", "losses")}


def test_the_page_states_these_bounds() -> None:
    text = PAGE.read_text(encoding="utf-8")
    stated = re.sub(r"(?m)(?<=\d) \([\d.e+-]+\)(?= \|)", "", text)
    again = "python tests/evidence/accuracy.py --write"
    assert accuracy.table() in stated, f"docs/accuracy.md is out of date: {again}"
    assert all(part in text for part in (*accuracy.INTRODUCTION.split("{points}"), accuracy.EXTREMES)), again


def test_the_measure_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    import mpmath as mp

    def claim(call: Any, **how: Any) -> None:
        monkeypatch.setitem(CLAIMS, "wrong", Claim(mp.log1p, lambda x: 1 / (1 + x), low=-0.9, call=call, **how))

    claim(lambda x: tg.log(1 + x))
    assert accuracy.measure("wrong", "float64", 60)[0][0] > 1e6
    claim(lambda x: tg.log1p(x) * (1 + 1e-12))
    assert accuracy.measure("wrong", "float64", 60)[1][0] > 1e3
    claim(lambda x: tg.log1p(x * x / x))  # NaN and overflow where the truth is finite
    assert accuracy.measure("wrong", "float64", 60)[0][0] == np.inf
    claim(tg.log1p)
    value, slope = accuracy.measure("wrong", "float64", 60)
    assert value[0] < 4 and slope[0] < 4


# The ends of the range

INF = np.inf
ENDS: dict[str, tuple[Any, list[Any], Any, list[Any]]] = {  # function, arguments, value, slopes
    "sigmoid": (tg.sigmoid, [[1e4, -1e4, 40]], [1, 0, 1], [[0, 0, 0]]),
    "softplus": (tg.softplus, [[1e30, -1e30, 1e4]], [1e30, 0, 1e4], [[1, 0, 1]]),
    "log_sigmoid": (tg.log_sigmoid, [[1e30, -1e30]], [0, -1e30], [[0, 1]]),
    "tanh": (tg.tanh, [[1e30, -INF]], [1, -1], [[0, 0]]),
    "elu": (tg.elu, [[-1e30, 1e30, -INF]], [-1, 1e30, -1], [[0, 1, 0]]),
    "log1p": (tg.log1p, [[np.nextafter(-1, 0)]], [-36.7368005696771], [[2.0**53]]),
    "hypot": (
        tg.hypot, [[1e300, 1e-300, 0, INF], [1e300, 1e-300, 0, 1]], [2**0.5 * 1e300, 2**0.5 * 1e-300, 0, INF],
        [[0.5**0.5, 0.5**0.5, 0, np.nan], [0.5**0.5, 0.5**0.5, 0, 0]],
    ),
    "atan2": (
        tg.atan2, [[1e200, 1e-200, 0.0, 0.0], [1e200, 1e-200, 0.0, -2.0]], [np.pi / 4, np.pi / 4, 0, np.pi],
        [[5e-201, 5e199, 0, -0.5], [-5e-201, -5e199, 0, 0]],
    ),
    "logaddexp": (
        tg.logaddexp, [[INF, -INF, INF, -INF, 1e308], [INF, -INF, 0, 0, -1e308]], [INF, -INF, INF, 0, 1e308],
        [[0.5, 0.5, 1, 0, 1], [0.5, 0.5, 0, 1, 0]],
    ),
    "xlogy": (
        tg.xlogy, [[0, 0, 0, 2, 0], [0, -1, 2, 1, INF]], [0, 0, 0, 0, 0],
        [[0, 0, np.log(2), 0, INF], [0, 0, 0, 2, 0]],
    ),
    "xlog1py": (
        tg.xlog1py, [[0, 0, 0, 2], [-1, -2, 1, 0]], [0, 0, 0, 0], [[0, 0, np.log(2), 0], [0, 0, 0, 2]],
    ),
    "acosh": (tg.acosh, [[1e200]], [np.log(2) + 200 * np.log(10)], [[1e-200]]),
    "binary cross entropy": (
        tg.binary_cross_entropy_with_logits, [[1e30, -1e30, 1e4], [1, 0, 0]], [0, 0, 1e4],
        [[0, 0, 1], [-1e30, 1e30, -1e4]],
    ),
    "cross entropy": (
        lambda x: tg.cross_entropy(x, [0, 0, 0, 1]), [[[1e30, -1e30], [-1e30, 1e30], [0, -INF], [-INF, 0]]],
        [0, 2e30, 0, 0], [[[0, 0], [-1, 1], [0, 0], [0, 0]]],
    ),
    "cross entropy of the impossible": (
        lambda x: tg.cross_entropy(x, [0]), [[[-INF, 0]]], [INF], [[[-1, 1]]],
    ),
    "logsumexp": (
        lambda x: tg.logsumexp(x, axis=1), [[[-INF, -INF], [1e30, 1e30], [-INF, 0]]], [-INF, 1e30, 0],
        [[[0, 0], [0.5, 0.5], [0, 1]]],
    ),
    "logsumexp far out": (
        lambda x: tg.logsumexp(x, axis=0), [np.float32([5e5, 5e5 + 1])], 500001.3125, [[0.26894142, 0.7310586]],
    ),
    "softmax of −∞": (
        lambda x: tg.softmax(x)[:, 0], [[[-INF, -INF], [-INF, 0], [1e30, -1e30]]], [np.nan, 0, 1],
        [[[np.nan, np.nan], [0, 0], [0, 0]]],
    ),
    "logsumexp, the whole range": (lambda x: tg.logsumexp(x, axis=0), [[1e308, -1e308]], 1e308, [[1, 0]]),
    "logcumsumexp, the whole range": (lambda x: tg.logcumsumexp(x), [[1e308, -1e308]], [1e308, 1e308], [[2, 0]]),
    "softmax, the whole range": (tg.softmax, [[1e308, -1e308]], [1, 0], [[0, 0]]),
    "log_softmax, the whole range": (lambda x: tg.log_softmax(x)[:1], [[1e308, -1e308]], [0], [[0, 0]]),
    "cross entropy, the whole range": (lambda x: tg.cross_entropy(x, 0), [[1e308, -1e308]], 0, [[0, 0]]),
    "sinc": (tg.sinc, [[1e308, -1e308]], [0, 0], [[1e-308, -1e-308]]),
    "std": (
        lambda x: tg.std(x, axis=1), [[[1e300, -1e300], [1e-300, -1e-300], [2, 2]]], [1e300, 1e-300, 0],
        [[[0.5, -0.5], [0.5, -0.5], [0, 0]]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_the_ends_of_the_range(name: str, device: str) -> None:
    function, arguments, value, slopes = ENDS[name]
    make = maker(device)
    arrays = [a if isinstance(a, np.ndarray) else np.asarray(a, float) for a in arguments]
    leaves = [make(a, requires_grad=True) for a in arrays]
    with np.errstate(all="ignore"):
        y = function(*leaves)
        y.backward(tg.ones_like(y))
    np.testing.assert_allclose(y.numpy(), value, rtol=1e-7 if arrays[0].dtype == "f4" else 1e-13, atol=1e-300)
    for x, slope in zip(leaves, slopes, strict=True):
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-6 if arrays[0].dtype == "f4" else 1e-13, atol=3e-16)


@pytest.mark.parametrize("name", [n for n in ENDS if n.endswith("whole range") or n == "sinc"])
def test_right_answers_come_without_warnings(name: str) -> None:
    function, arguments, _, _ = ENDS[name]
    x = tg.Tensor(np.asarray(arguments[0], float), requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = function(x)
        y.backward(tg.ones_like(y))


def test_a_mean_is_finite_where_its_sum_is_not() -> None:
    with np.errstate(over="ignore"):
        assert tg.mean(np.array([1e308, 1e308])).item() == 1e308
        for axis in (None, 0, (0,)):
            y = tg.mean(np.full(10, 3e38, "f4"), axis=axis)
            assert y.dtype == np.float32 and abs(y.item() / 3e38 - 1) < 1e-6
        assert tg.mean(np.array([[1e308, 1e308], [1, INF]]), axis=1).tolist() == [1e308, INF]
        assert np.isnan(tg.mean(np.array([1.0, np.nan])).item())


def test_half_precision_does_not_overflow_where_the_truth_is_finite(device: str) -> None:
    make = maker(device)
    x = np.float16([-65504, -300, -17, -1, 0, 1, 17, 300, 65504])
    for name in ("softplus", "log_sigmoid", "sigmoid", "tanh", "elu", "erf", "erfc", "asinh", "atan", "i0e", "sinc"):
        leaf = make(x, requires_grad=True)
        with np.errstate(over="ignore"):
            y = getattr(tg, name)(leaf)
            y.backward(tg.ones_like(y))
        assert y.dtype == np.float16 and leaf.grad is not None and leaf.grad.dtype == np.float16, name
        assert np.isfinite(y.numpy()).all() and np.isfinite(leaf.grad.numpy()).all(), name
