"""Arithmetic, functions of a number, reductions, shapes, indexing, products, layers and losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special

from .draw import Case, Domain, Draw, binary, moving, per_case, reduction, unary


def apart(d: Draw) -> Case:
    """Two arrays without ties."""
    left, right = d.shapes(2)
    return Case((d.apart(left), d.apart(right, offset=0.2)), {})


def remainder(d: Draw) -> Case:
    """x/d away from whole numbers, both signs of both."""
    left, right = d.shapes(2)
    whole, sign = d.random.integers(-3, 3, left), d.random.choice([-1, 1], right)
    return Case((whole + d.random.uniform(0.45, 0.6, left), sign * d.random.uniform(1, 1.08, right)), {})


def permutation(d: Draw) -> Any:
    shape = d.shape()
    axes = [int(a) - len(shape) * int(d.random.integers(2)) for a in d.random.permutation(len(shape))]
    return shape, {"axes": tuple(axes)}


def broadcast_target(d: Draw) -> Any:
    shape, other = d.shapes(2)
    return shape, {"shape": np.broadcast_shapes(shape, other)}


def flip_axes(d: Draw) -> Any:
    shape = d.shape()
    return shape, {"axis": d.axes(len(shape))}


PICKS: list[tuple[tuple[int, ...], Callable[[Draw], Any]]] = [  # a shape, and an index of it
    (
        (2, 3),
        lambda d: d.one([0, -1, (1, 2), (slice(None), 1), slice(None, None, -1), (slice(0, 2), slice(1, None, 2))]),
    ),
    ((4,), lambda d: d.integers((3,), 4)),
    ((3, 2), lambda d: d.random.random((3, 2)) < 0.5),
    ((3, 2), lambda d: (d.integers((2, 2), 3), d.integers((2,), 2))),
    (
        (2, 3, 2),
        lambda d: d.one(
            [(..., 0), (None, 1, ..., None), (slice(None), d.integers((2,), 3)), (0, d.integers((2,), 3), 1)]
        ),
    ),
    ((2, 3, 2), lambda d: (d.integers((2,), 2), slice(None), d.integers((2,), 2))),
    ((3,), lambda d: (np.array([False, True, True]), None)),
    ((), lambda d: d.one([(), ..., None, (None, ...)])),
    ((0, 3), lambda d: d.one([slice(None), (slice(None), d.integers((4,), 3)), np.zeros((0, 3), bool)])),
]


def getitem(d: Draw) -> Case:
    shape, index = d.each(PICKS)
    return Case((d.values(shape),), {"index": index(d)})


def scatter(d: Draw) -> Case:
    shape, make = d.each(PICKS)
    index = make(d)
    return Case((d.values(np.empty(shape)[index].shape),), {"index": index, "shape": shape})


def scattered(g: Any, *, index: Any, shape: Any) -> Any:
    out = np.zeros(shape, g.dtype)
    np.add.at(out, index, g)
    return out


TAKES: list[Any] = [  # shape, indices' shape, axis
    ((4,), (3,), 0), ((2, 3), (2, 2), 1), ((2, 3), (), -1), ((2, 3), (0,), 0), ((3, 2, 2), (4,), -2), ((0, 3), (2,), 1),
    ((1,), (3, 1), 0), ((2, 3), (5,), -2), ((2, 2, 3), (1, 2), 2),
]  # fmt: skip


def take(d: Draw) -> Case:
    shape, indices, axis = d.each(TAKES)
    return Case((d.values(shape), d.integers(indices, shape[axis])), {"axis": axis})


ALONG: list[Any] = [  # shape, indices' shape, axis, shape of the result
    ((3,), (2,), 0, (2,)), ((2, 3), (2, 2), -1, (2, 2)), ((2, 3), (4, 3), 0, (4, 3)),
    ((2, 3, 2), (2, 1, 2), 1, (2, 1, 2)), ((2, 3), (1, 2), 1, (2, 2)), ((1, 3), (2, 2), 1, (2, 2)),
    ((2, 3), (2, 0), -1, (2, 0)), ((0, 3), (0, 2), 1, (0, 2)), ((3, 1), (1, 2), -2, (1, 2)),
]  # fmt: skip


def take_along_axis(d: Draw) -> Case:
    shape, indices, axis, _ = d.each(ALONG)
    return Case((d.values(shape), d.integers(indices, shape[axis])), {"axis": axis})


def scatter_along_axis(d: Draw) -> Case:
    shape, indices, axis, result = d.each(ALONG)
    return Case((d.values(result), d.integers(indices, shape[axis])), {"shape": shape, "axis": axis})


def where(d: Draw) -> Case:
    condition, a, b = d.shapes(3)
    return Case((d.random.random(condition) < 0.5, d.values(a), d.values(b)), {})


PRODUCTS: list[Any] = [
    ((2, 3), (3, 2)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 2, 3), (3, 2)), ((2, 1, 2, 2), (2, 2, 2)),
    ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((1, 2, 3), (2, 3, 1)), ((2, 2), (2, 2)),
    ((0, 2, 3), (3, 2)), ((2, 1, 3), (1, 3)),
]  # fmt: skip


def matmul(d: Draw) -> Case:
    pairs = [p for p in PRODUCTS if p[0][-1] == (p[1][-2] if len(p[1]) > 1 else p[1][0])]
    a, b = d.each(pairs)
    return Case((d.values(a), d.values(b)), {})


def linear(d: Draw) -> Case:
    n, m = 3, d.one([1, 2])
    lead = d.each([(2,), (), (2, 2), (0,), (1,), (3, 1)])
    bias = d.values((m,)) if d.one([True, True, False]) else None
    return Case((d.values((*lead, n)), d.values((m, n)), bias), {})


EQUATIONS: list[Any] = [
    ("ij,jk->ik", (2, 3), (3, 2)), ("ii->i", (3, 3)), ("ii", (2, 2)), ("i,j->ij", (2,), (3,)), ("ij->", (2, 3)),
    ("...ij,...jk->...ik", (2, 2, 3), (3, 2)), ("bij,bjk,bk->bi", (2, 2, 3), (2, 3, 2), (2, 2)), ("ij,j", (2, 3), (3,)),
    ("i,i", (3,), (3,)), ("iij,j->i", (2, 2, 3), (3,)), (",ij->ji", (), (2, 3)), ("i...->...", (2, 3)),
    ("ij,kj", (0, 3), (2, 3)), ("ij->j", (0, 3)), ("ij,ij->ij", (1, 3), (0, 3)), ("ij,kj->k", (0, 3), (2, 3)),
    ("...,...", (2, 3), (3,)), ("iii->i", (2, 2, 2)), ("ij,ij,ij->i", (2, 3), (2, 3), (2, 3)), ("ba", (2, 3)),
    (" i j -> j i ", (2, 3)), ("i,j->i", (2,), (3,)), ("...i,...i->...", (2, 1, 3), (2, 3)),
    ("ij,ij->ij", (1, 3), (2, 3)),
]  # fmt: skip


def einsum(d: Draw) -> Case:
    third = len(EQUATIONS) // 3 + 1
    equation, *shapes = d.one(d.each([EQUATIONS[:third], EQUATIONS[third : 2 * third], EQUATIONS[2 * third :]]))
    return Case(([d.values(s) for s in shapes],), {"equation": equation})


def cross_entropy(d: Draw) -> Case:
    lead, classes = d.each([(2,), (), (2, 2), (0,), (1,)]), d.one([1, 2, 3])
    return Case((d.values((*lead, classes), -3, 3), d.integers(lead, classes, low=0)), {})


def negative_log_likelihood(logits: Any, target: Any) -> Any:
    logs = scipy.special.log_softmax(logits, axis=-1) if logits.size else logits
    return -np.take_along_axis(logs, target[..., None], axis=-1)[..., 0]


def standardize(d: Draw) -> Case:
    shape, axis = d.each([((3, 2), 0), ((2, 3), (-1,)), ((2, 2, 2), (0, 2)), ((3,), 0), ((3, 0), (0,)), ((2, 1), 1)])
    return Case((d.apart(shape),), {"axis": axis, "eps": d.one([1e-5, 0.1]) if shape != (2, 1) else 0.1})


def standardized(x: Any, axis: Any, eps: float) -> tuple[Any, ...]:
    mean, variance = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return (x - mean) / (variance + eps) ** 0.5, mean, variance


def lstm_cell(d: Draw) -> Case:
    lead, hidden = d.each([(2,), (), (0,), (1,), (2, 2)]), d.one([1, 2])
    return Case((d.values((*lead, 4 * hidden)), d.values((*lead, hidden))), {})


def lstm_step(gates: Any, c: Any) -> tuple[Any, ...]:
    i, f, u, o = np.split(gates, 4, axis=-1)
    sigmoid, new = scipy.special.expit, scipy.special.expit(f) * c + scipy.special.expit(i) * np.tanh(u)
    return sigmoid(o) * np.tanh(new), new, sigmoid(gates), np.tanh(u)


def transfer(d: Draw) -> Case:
    devices = ["cpu"] if d.device == "cpu" else ["cpu", "cuda:0"]
    return Case((d.values(d.shape()),), {"source": devices[-1], "target": d.one(devices)})


def whole(n: int, low: int = -4, high: int = 5) -> Callable[[Draw], Case]:
    """Arrays of integers or of booleans."""

    def draw(d: Draw) -> Case:
        kind = d.one(["int64", "bool"]) if low < 0 else "int64"
        return Case(tuple(d.random.integers(low, high, s).astype(kind) for s in d.shapes(n)), {})

    return draw


def special(d: Draw) -> Case:
    """Numbers of every sort, NaN and infinities among them."""
    x = d.values(d.shape())
    return Case(
        (np.where(d.random.random(x.shape) < 0.4, d.random.choice([np.nan, np.inf, -np.inf, 0.0, -0.0], x.shape), x),),
        {},
    )


def ties(d: Draw) -> Case:
    """Small whole numbers as floats, which often tie, and a second array without zeros."""
    left, right = d.shapes(2)
    return Case((d.random.integers(-3, 4, left) * 1.0, d.random.choice([-2.0, -1.0, 1.0, 2.0], right)), {})


def tied(d: Draw, shape: Any) -> Any:
    return d.random.integers(-2, 3, shape) * 1.0


def rounded(d: Draw) -> Case:
    return Case((d.random.integers(-9, 10, d.shape()) / 4,), {})


def softened(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of SciPy that NumPy's zero-size arrays are kept from."""
    return lambda x, **options: function(x, **options) if x.size else x


def bce(x: Any, t: Any) -> Any:
    return scipy.special.xlog1py(t - 1, -scipy.special.expit(x)) - t * scipy.special.log_expit(x)


def bordered(x: Any, pad_width: Any, constant_values: float) -> Any:
    return np.pad(x, pad_width, "constant", constant_values=constant_values)


positive, nonzero, cut = (0.3, 3.0), (-2.0, 2.0, (0.0,)), (-0.85, 0.85)
below = (-3.0, 3.0)

DOMAINS: dict[str, Domain] = {
    # arithmetic
    "add": binary(expect=np.add, complex=True),
    "subtract": binary(expect=np.subtract, complex=True),
    "multiply": binary(expect=np.multiply, complex=True),
    "divide": binary(b=nonzero, expect=np.divide, complex=True),
    "negative": unary(expect=np.negative, complex=True),
    "positive": unary(expect=np.positive, complex=True),
    "alias": unary(expect=np.positive, complex=True),
    "reciprocal": unary(*nonzero, expect=np.reciprocal, complex=True),
    "square": unary(expect=np.square, complex=True),
    "sqrt": unary(*positive, expect=np.sqrt, complex=True),
    "pow": binary(a=(0.3, 2.0), expect=np.power, complex=True),
    "abs": unary(*nonzero, expect=np.abs, complex=True),
    "maximum": Domain(apart, np.maximum),
    "minimum": Domain(apart, np.minimum),
    "remainder": Domain(remainder, np.remainder),
    "hypot": binary(nonzero, nonzero, expect=np.hypot),
    "copysign": binary(nonzero, nonzero, expect=np.copysign),
    "clip": unary(-2, 2, (-1, 0.5, 1), expect=np.clip, min=[None, -1, -1.0], max=[None, 1, 0.5]),
    "astype": unary(dtype=[np.dtype("float64"), np.dtype("complex128")], expect=lambda x, dtype: x.astype(dtype)),
    "transfer": Domain(transfer, lambda x, **_: x, complex=True),
    "real": unary(expect=np.real, complex=True),
    "imag": unary(expect=np.imag, complex=True),
    "conj": unary(expect=np.conj, complex=True),
    # elementwise
    "exp": unary(expect=np.exp, complex=True),
    "expm1": unary(expect=np.expm1, complex=True),
    "log": unary(*positive, expect=np.log, complex=True),
    "log2": unary(*positive, expect=np.log2, complex=True),
    "log10": unary(*positive, expect=np.log10, complex=True),
    "log1p": unary(-0.6, 2.0, expect=np.log1p, complex=True),
    "logaddexp": binary(below, below, expect=np.logaddexp),
    "sin": unary(expect=np.sin, complex=True),
    "cos": unary(expect=np.cos, complex=True),
    "tan": unary(-1.1, 1.1, expect=np.tan, complex=True),
    "asin": unary(*cut, expect=np.arcsin, complex=True),
    "acos": unary(*cut, expect=np.arccos, complex=True),
    "atan": unary(expect=np.arctan, complex=True),
    "atan2": binary(nonzero, nonzero, expect=np.arctan2),
    "sinh": unary(expect=np.sinh, complex=True),
    "cosh": unary(expect=np.cosh, complex=True),
    "tanh": unary(expect=np.tanh, complex=True),
    "asinh": unary(expect=np.arcsinh, complex=True),
    "acosh": unary(1.3, 3.0, expect=np.arccosh, complex=True),
    "atanh": unary(*cut, expect=np.arctanh, complex=True),
    "sigmoid": unary(*below, expect=scipy.special.expit),
    "softplus": unary(*below, expect=lambda x: np.logaddexp(0, x)),
    "log_sigmoid": unary(*below, expect=scipy.special.log_expit),
    "relu": unary(*nonzero, expect=lambda x: np.maximum(x, 0)),
    "leaky_relu": unary(
        *nonzero, negative_slope=[0.01, 0.3], expect=lambda x, negative_slope: x * np.where(x < 0, negative_slope, 1)
    ),
    "elu": unary(*nonzero, alpha=[1.0, 0.5], expect=lambda x, alpha: np.where(x < 0, alpha * (np.exp(x) - 1), x)),
    "erf": unary(expect=scipy.special.erf),
    # reductions
    "sum": reduction(expect=np.sum, complex=True),
    "mean": reduction(least=1, expect=np.mean, complex=True),
    "var": reduction(least=2, correction=[0, 1, 0.5], expect=np.var),
    "std": reduction(Draw.apart, least=2, correction=[0, 1, 0.5], expect=np.std),
    "max": reduction(Draw.apart, least=1, expect=np.max),
    "min": reduction(Draw.apart, least=1, expect=np.min),
    "prod": reduction(expect=np.prod, complex=True),
    "logsumexp": reduction(least=1, expect=lambda x, **how: np.log(np.sum(np.exp(x), **how))),
    "softmax": reduction(least=1, keepdims=False, expect=softened(scipy.special.softmax)),
    "log_softmax": reduction(least=1, keepdims=False, expect=softened(scipy.special.log_softmax)),
    # shape
    "reshape": per_case(
        ((2, 3), {"shape": (3, 2)}), ((2, 3), {"shape": -1}), ((), {"shape": (1, 1)}), ((1,), {"shape": ()}),
        ((0, 3), {"shape": (3, 0, 2)}), ((2, 2, 3), {"shape": (4, -1)}), ((6,), {"shape": (2, 3)}),
        expect=np.reshape,
    ),
    "permute_dims": moving(permutation, np.transpose),
    "matrix_transpose": per_case(
        ((2, 3), {}), ((2, 2), {}), ((2, 1, 3), {}), ((0, 2), {}), expect=lambda x: np.swapaxes(x, -1, -2)
    ),
    "broadcast_to": moving(broadcast_target, np.broadcast_to),
    "expand_dims": per_case(
        ((2, 3), {"axis": 0}), ((), {"axis": 0}), ((2, 3), {"axis": -1}), ((2, 3), {"axis": (0, 2)}),
        ((0,), {"axis": 1}), expect=np.expand_dims,
    ),
    "squeeze": per_case(
        ((2, 1, 3), {"axis": None}), ((1, 3), {"axis": 0}), ((1, 3, 1), {"axis": (0, -1)}), ((1,), {"axis": None}),
        ((), {"axis": None}), ((2, 3), {"axis": None}), ((0, 1), {"axis": -1}), expect=np.squeeze,
    ),
    "flip": moving(flip_axes, np.flip),
    "concat": per_case(
        ([(2, 3), (1, 3)], {"axis": 0}), ([(2, 3), (2, 1), (2, 2)], {"axis": -1}), ([(2,), (3,)], {"axis": 0}),
        ([(2, 2), (), (3,)], {"axis": None}), ([(0, 3), (2, 3)], {"axis": 0}), ([(2, 3)], {"axis": 1}),
        ([(2, 2), (2, 2)], {"axis": 1}), expect=np.concatenate,
    ),
    "stack": per_case(
        ([(2, 3), (2, 3)], {"axis": 0}), ([(3,), (3,), (3,)], {"axis": -1}), ([(), ()], {"axis": 0}),
        ([(2, 3)], {"axis": 1}), ([(0,), (0,)], {"axis": 1}), expect=np.stack,
    ),
    "split": per_case(
        ((4,), {"sections": 2, "axis": 0}), ((2, 3), {"sections": 3, "axis": -1}),
        ((5, 2), {"sections": [1, 3], "axis": 0}), ((3,), {"sections": [1, 1], "axis": 0}),
        ((0, 2), {"sections": 2, "axis": 1}), ((3, 2), {"sections": [2, 7], "axis": -2}),
        ((5,), {"sections": (-2,), "axis": 0}), expect=lambda x, sections, axis: tuple(np.split(x, sections, axis)),
    ),
    "pad": per_case(
        ((2, 3), {"pad_width": 1, "constant_values": 0}), ((2,), {"pad_width": (1, 2), "constant_values": 3.0}),
        ((2, 3), {"pad_width": ((1, 0), (0, 2)), "constant_values": -1}),
        ((2, 2), {"pad_width": ((0, 1),), "constant_values": 0}), ((0, 2), {"pad_width": 1, "constant_values": 2}),
        ((), {"pad_width": 0, "constant_values": 0}),
        ((2, 3), {"pad_width": [(0, 0), (1, 1)], "constant_values": 0}), expect=bordered,
    ),
    "unstack": per_case(
        ((2, 3), {"axis": 0}), ((2, 3), {"axis": -1}), ((3,), {"axis": 0}), ((2, 1, 2), {"axis": 1}),
        ((2, 0), {"axis": 0}), expect=lambda x, axis: tuple(np.moveaxis(x, axis, 0)),
    ),
    # indexing
    "getitem": Domain(getitem, lambda x, index: x[index], complex=True),
    "scatter_at": Domain(scatter, scattered, complex=True),
    "take": Domain(take, np.take, complex=True),
    "take_along_axis": Domain(take_along_axis, np.take_along_axis, complex=True),
    "scatter_along_axis": Domain(scatter_along_axis, None, complex=True),
    "where": Domain(where, np.where, complex=True),
    # products
    "matmul": Domain(matmul, np.matmul, complex=True),
    "linear": Domain(linear, lambda x, w, b: x @ w.T + (0 if b is None else b), complex=True),
    "einsum": Domain(einsum, lambda arrays, equation: np.einsum(equation, *arrays), complex=True),
    # layers
    "standardize": Domain(standardize, standardized),
    "lstm_cell": Domain(lstm_cell, lstm_step),
    # losses
    "cross_entropy": Domain(cross_entropy, negative_log_likelihood),
    "binary_cross_entropy_with_logits": binary(below, (0.1, 0.9), expect=bce),
    # no slope
    "sign": Domain(special, np.sign),
    "floor": Domain(rounded, np.floor),
    "ceil": Domain(rounded, np.ceil),
    "trunc": Domain(rounded, np.trunc),
    "round": Domain(rounded, np.round),
    "signbit": Domain(special, np.signbit),
    "isnan": Domain(special, np.isnan),
    "isinf": Domain(special, np.isinf),
    "isfinite": Domain(special, np.isfinite),
    "logical_not": Domain(special, np.logical_not),
    "bitwise_invert": Domain(whole(1), np.invert),
    "equal": Domain(ties, np.equal),
    "not_equal": Domain(ties, np.not_equal),
    "less": Domain(ties, np.less),
    "less_equal": Domain(ties, np.less_equal),
    "greater": Domain(ties, np.greater),
    "greater_equal": Domain(ties, np.greater_equal),
    "floor_divide": Domain(ties, np.floor_divide),
    "logical_and": Domain(ties, np.logical_and),
    "logical_or": Domain(ties, np.logical_or),
    "logical_xor": Domain(ties, np.logical_xor),
    "bitwise_and": Domain(whole(2), np.bitwise_and),
    "bitwise_or": Domain(whole(2), np.bitwise_or),
    "bitwise_xor": Domain(whole(2), np.bitwise_xor),
    "bitwise_left_shift": Domain(whole(2, 0), np.left_shift),
    "bitwise_right_shift": Domain(whole(2, 0), np.right_shift),
    "nextafter": Domain(ties, np.nextafter),
    "argmax": reduction(tied, least=1, several=False, expect=np.argmax),
    "argmin": reduction(tied, least=1, several=False, expect=np.argmin),
    "any": reduction(lambda d, shape: d.random.random(shape) < 0.3, expect=np.any),
    "all": reduction(lambda d, shape: d.random.random(shape) < 0.7, expect=np.all),
    "zeros_like": unary(expect=np.zeros_like, complex=True),
    "ones_like": unary(expect=np.ones_like, complex=True),
    "eye_like": unary(n=[0, 1, 3], expect=lambda x, n: np.eye(n), complex=True),
}  # fmt: skip
