"""At the door: NumPy's functions on Tensors, numbers and arrays beside them, DLPack, the display, the array API."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import scipy.special
from support import Make, holds, maker, shared

import tinygrad_mlsp as tg
from tinygrad_mlsp import interop
from tinygrad_mlsp.errors import DeviceError, DTypeError, Error, ShapeError
from tinygrad_mlsp.op import registry


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


# ---- NumPy's functions on Tensors

X = np.array([[0.5, -0.25, 0.75], [0.1, 0.9, -0.6]])

NUMPY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any] | None]] = {
    "sin": (np.sin, np.cos), "exp": (np.exp, np.exp), "arcsin": (np.arcsin, lambda x: 1 / np.sqrt(1 - x**2)),
    "arctan2": (lambda x: np.arctan2(x, 2.0), lambda x: 2 / (4 + x**2)), "absolute": (np.absolute, np.sign),
    "power": (lambda x: np.power(x, 3), lambda x: 3 * x**2),
    "true_divide": (lambda x: np.true_divide(1.0, x), lambda x: -(x**-2)),
    "maximum": (lambda x: np.maximum(x, 0.0), lambda x: x > 0), "negative": (np.negative, lambda x: -np.ones_like(x)),
    "logaddexp": (lambda x: np.logaddexp(x, x), lambda x: np.ones_like(x)), "square": (np.square, lambda x: 2 * x),
    "matmul": (lambda x: np.matmul(x, np.ones(3)), lambda x: np.ones_like(x)),
    "conjugate": (np.conjugate, lambda x: np.ones_like(x)),
    "sum": (lambda x: np.sum(x, axis=0), lambda x: np.ones_like(x)),
    "mean": (np.mean, lambda x: np.full_like(x, 1 / 6)),
    "mean keepdims": (lambda x: np.mean(x, axis=1, keepdims=True), lambda x: np.full_like(x, 1 / 3)),
    "var": (np.var, lambda x: (x - x.mean()) / 3),
    "var ddof": (lambda x: np.var(x, ddof=1), lambda x: (x - x.mean()) / 2.5),
    "amax": (lambda x: np.amax(x, axis=1), lambda x: x == x.max(1, keepdims=True)),
    "min": (np.min, lambda x: x == x.min()),
    "prod": (np.prod, lambda x: x.prod() / x), "clip": (lambda x: np.clip(x, 0.0, 0.7), lambda x: (x > 0) & (x < 0.7)),
    "clip by name": (lambda x: np.clip(x, a_min=0.0, a_max=0.7), lambda x: (x > 0) & (x < 0.7)),
    "where": (lambda x: np.where(x > 0, x, 0.0), lambda x: x > 0),
    "concatenate": (lambda x: np.concatenate([x, x]), lambda x: 2 + 0 * x),
    "concat": (lambda x: np.concat([x, x], axis=1), lambda x: 2 + 0 * x),
    "stack": (lambda x: np.stack([x, x], axis=1), lambda x: 2 + 0 * x),
    "reshape": (lambda x: np.reshape(x, (3, 2)), np.ones_like), "transpose": (np.transpose, np.ones_like),
    "transpose by axes": (lambda x: np.transpose(x, (1, 0)), np.ones_like),
    "squeeze": (lambda x: np.squeeze(x[:1]), None),
    "expand_dims": (lambda x: np.expand_dims(x, 1), np.ones_like),
    "swapaxes": (lambda x: np.swapaxes(x, 0, 1), np.ones_like),
    "moveaxis": (lambda x: np.moveaxis(x, 0, 1), np.ones_like), "flip": (lambda x: np.flip(x, 1), np.ones_like),
    "broadcast_to": (lambda x: np.broadcast_to(x, (4, 2, 3)), lambda x: np.full_like(x, 4.0)),
    "pad": (lambda x: np.pad(x, 1), np.ones_like),
    "take": (lambda x: np.take(x, [0, 0], axis=1), lambda x: np.array([2.0, 0, 0]) + 0 * x),
    "einsum": (lambda x: np.einsum("ij,ij->i", x, x), lambda x: 2 * x),
    "matrix_transpose": (np.matrix_transpose, np.ones_like),
    "permute_dims": (lambda x: np.permute_dims(x, (1, 0)), np.ones_like),
    "std": (np.std, lambda x: (x - x.mean()) / x.std() / 6),
    "linalg.matmul": (lambda x: np.linalg.matmul(x, x.T)[0, 1], None),
    "sign": (np.sign, None), "floor": (np.floor, None), "isfinite": (np.isfinite, None),
    "argmax": (lambda x: np.argmax(x, axis=1), None),
    "rint": (np.rint, None), "round": (np.round, None), "greater": (lambda x: np.greater(x, 0.2), None),
    "any": (lambda x: np.any(x > 0), None),
    "logical_and": (lambda x: np.logical_and(x > 0, x < 0.5), None), "zeros_like": (np.zeros_like, None),
    "ones_like": (np.ones_like, None),
    "full_like": (lambda x: np.full_like(x, 2.5), None), "invert": (lambda x: np.invert(x > 0), None),
    "all": (lambda x: np.all(x < 1), None),
    "split": (lambda x: np.split(x, 3, axis=1)[1], None),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.argmax(x, axis=1)[:, None], axis=1), None),
    "shape": (np.shape, None), "ndim": (np.ndim, None), "size": (np.size, None),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY)
def test_numpys_functions_reach_ours_with_their_gradients(name: str, make: Make, device: str) -> None:
    f, slope = NUMPY[name]
    x = make(X, True)
    if name == "matmul" and device != "cpu":
        pytest.skip("it names an array of NumPy's")
    y = f(x)
    expected = f(X)
    if name in ("shape", "ndim", "size"):
        assert y == expected
        return
    assert type(y) is tg.Tensor and y.device == x.device
    holds(y, expected, expected.dtype)
    if slope is not None:
        y.sum().backward()
        holds(x.grad, slope(X))


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda x: np.deg2rad(x), "numpy.deg2rad has no counterpart here that carries a gradient; use .numpy()"),
        (lambda x: np.add.reduce(x), r"numpy.add.reduce has no counterpart"),
        (lambda x: np.multiply.outer(x, x), "multiply.outer"),
        (lambda x: np.add.at(x, [0], 1.0), "numpy.add.at"), (lambda x: np.linalg.norm(x), "numpy.linalg.norm has no"),
        (lambda x: np.allclose(x, x), "numpy.allclose"), (lambda x: np.dot(x, x), "numpy.dot has no"),
        (lambda x: np.nancumsum(x), "numpy.nancumsum"), (lambda x: np.partition(x, 1), "numpy.partition"),
        (lambda x: np.fft.fft2(x), "numpy.fft"), (lambda x: np.lexsort(x), "numpy.lexsort"),
        (lambda x: np.modf(x), "numpy.modf"),
        (lambda x: np.add(x, 1.0, out=np.ones((2, 3))), "numpy.add .* takes no out; assign the result instead"),
        (lambda x: np.add(np.ones((2, 3)), 1.0, out=x), "numpy.add on a Tensor takes no out"),
        (lambda x: operator.iadd(np.ones((2, 3)), x), "numpy.add on a Tensor takes no out"),
        (lambda x: np.sin(x, where=X > 0), "takes no where"), (lambda x: np.sin(x, dtype="f4"), "takes no dtype"),
        (lambda x: np.sum(x, out=np.zeros(())), "numpy.sum on a Tensor: .*'out'"),
        (lambda x: np.mean(x, dtype="f4"), "'dtype'"),
        (lambda x: np.max(x, initial=3.0), "'initial'"),
        (lambda x: np.round(x, 2), "numpy.round on a Tensor: .*argument"),
        (lambda x: np.pad(x, 1, mode="edge"), "'mode'"),
    ],
)  # fmt: skip
def test_numpys_functions_that_have_no_counterpart_say_so(call: Any, says: str, make: Make) -> None:
    x = make(X, True)
    with pytest.raises(DTypeError, match=says):
        call(x)
    assert np.array_equal(x.numpy(), X)


def test_numpys_functions_never_return_arrays_of_objects(make: Make) -> None:
    """Every public function of NumPy's: a Tensor, a library error, or an honest answer from the bare values."""
    x = make([0.5, 0.25], True)
    for name in sorted(np.__all__):
        function = getattr(np, name)
        if not isinstance(function, np.ufunc):
            continue
        arguments = [x if i == 0 else 0.5 for i in range(function.nin)]
        try:
            with np.errstate(all="ignore"):
                result = function(*arguments)
        except Error:
            continue
        assert type(result) is tg.Tensor, name
        assert result.dtype != object, name


def test_values_for_numpy_on_the_cpu(device: str, make: Make) -> None:
    x = make([1.0, 2.0], True)
    if device == "cpu":
        assert shared(np.asarray(x), x) and np.asarray(x).dtype == np.float32
        assert np.asarray(x, dtype="f8").dtype == np.float64
        assert not shared(np.array(x), x)
        assert np.array([x, x * 2]).shape == (2, 2)
        with pytest.raises(ValueError, match="copy"):
            np.asarray(x, dtype="f8", copy=False)
        assert math.isclose(np.float64(3) * x.sum().item(), 9)
        return
    for convert in (np.asarray, np.array, lambda x: np.array([x, x])):
        with pytest.raises((DeviceError, TypeError, ValueError)) as caught:
            convert(x)
        assert "unasked; use .numpy(), which copies" in f"{caught.value} {caught.value.__cause__}"
    assert np.array_equal(x.numpy(), [1.0, 2.0])


def test_arrays_and_numpys_scalars_on_the_left(make: Make) -> None:
    x = make([1.0, 2.0], True)
    matrix = make([[1.0, 2.0], [3.0, 4.0]]).data
    for y, expected in [
        (matrix @ x, [5.0, 11.0]), (matrix * x, [[1.0, 4.0], [3.0, 8.0]]), (matrix - x, [[0.0, 0.0], [2.0, 2.0]]),
        (np.float64(3) * x, [3.0, 6.0]), (np.float64(3) - x, [2.0, 1.0]), (np.float64(2) ** x, [2.0, 4.0]),
        (np.int64(3) / x, [3.0, 1.5]), (np.float16(1) + x, [2.0, 3.0]), (np.bool_(True) * x, [1.0, 2.0]),
    ]:  # fmt: skip
        assert type(y) is tg.Tensor
        holds(y, expected, "float32")
        assert y.requires_grad
    for y, expected in [(matrix > x, [[False, False], [True, True]]), (np.float64(1) == x, [True, False])]:
        assert type(y) is tg.Tensor
        holds(y, expected, "bool")
    (np.float64(3) * (matrix @ x)).sum().backward()
    holds(x.grad, [12.0, 18.0], "float32")
    with pytest.raises(ShapeError, match=r"matmul\(.*inner dimensions disagree: 2 against 3"):
        matrix @ make([1.0, 2.0, 3.0])


# ---- DLPack


def test_dlpack_shares_memory_both_ways(device: str, make: Make) -> None:
    x = make([1.0, 2.0])
    array = x.data
    back = tg.from_dlpack(array)
    assert back.device == x.device and shared(back, array)
    assert shared(tg.from_dlpack(x), x)
    assert x.__dlpack_device__()[0] == (1 if device == "cpu" else 2)
    if device == "cpu":
        out = np.from_dlpack(x)
        assert shared(out, x)
        x.copy_([5.0, 6.0])
        assert np.array_equal(out, [5.0, 6.0])
        holds(tg.from_dlpack(np.ones((2, 0), "f2")), np.ones((2, 0)), "float16")
        holds(tg.from_dlpack(X.T), X.T, "float64")


def test_dlpack_carries_no_graph(make: Make) -> None:
    x = make([1.0, 2.0], True)
    for t in (x, x * 2):
        with pytest.raises(DTypeError, match=r"DLPack carries no graph; use detach\(\) first"):
            np.from_dlpack(t)
    assert not tg.from_dlpack(x).requires_grad


def test_dlpack_of_an_unknown_device_or_object() -> None:
    class Elsewhere:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 7, 0

    with pytest.raises(DeviceError, match="device type 7 is neither CPU nor CUDA"):
        tg.from_dlpack(Elsewhere())
    with pytest.raises(DTypeError, match=r"from_dlpack: .*list"):
        tg.from_dlpack([1.0])


# ---- the display


class Page(HTMLParser):
    """Reads a page, and holds it to be well-formed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


@pytest.mark.parametrize(
    "data",
    [
        2.5, [], [1.0, -2.0], [[1, 2], [3, 4]], [True, False], [1 + 2j], [math.nan, math.inf, 1.0], [math.nan],
        np.zeros((2, 3, 4)), np.ones((40, 50)), np.zeros((0, 3)), np.array([1.5], "f2"),
    ],
)  # fmt: skip
def test_the_notebook_display_is_a_well_formed_table(data: Any, make: Make) -> None:
    x = make(data)
    page = Page(x._repr_html_())
    size = np.asarray(data).size
    if x.ndim > 2 or size == 0:
        assert page.counts == {"pre": 1} and "Tensor(" in page.text
    else:
        assert f"Tensor {list(x.shape)} {x.dtype} on {x.device}" in page.text
        shown = np.atleast_2d(np.asarray(data))[:10, :10]
        assert page.counts["td"] >= shown.size and page.counts["tr"] <= 11
        assert ("…" in page.text) == (size > 100)


def test_the_notebook_display_says_where_a_tensor_comes_from_and_escapes(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = make([1.0, -2.0], True)
    assert "a leaf" in Page(x._repr_html_()).text and "-2" in Page(x._repr_html_()).text
    y = tg.tanh(x)
    assert "made by tanh" in Page(y._repr_html_()).text
    monkeypatch.setattr(y._node.recipe.op, "name", "<script>&</script>")
    for t in (y, tg.tanh(make(np.zeros((1, 1, 2)), True))):
        page = Page(t._repr_html_())
        assert "script" not in page.counts and "<script>&</script>" in page.text
    assert "a leaf" not in Page(make([1.0])._repr_html_()).text


# ---- the library as an array namespace

ONE, TWO = np.array([0.5, 0.25, 0.75]), np.array([0.75, 0.5, 0.25])
WHOLE = np.array([6, 3, 1])
UNARY = """
    abs acos acosh asin asinh atan atanh ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan log log1p log2
    log10 logical_not negative positive real reciprocal round sign signbit sin sinh square sqrt tan tanh trunc
"""
BINARY = """
    add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp logical_and
    logical_or logical_xor maximum minimum multiply nextafter not_equal pow remainder subtract
"""
BITWISE = "bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor"


@pytest.mark.parametrize("name", UNARY.split())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elementwise_functions_of_one_array(name: str, dtype: str, make: Make) -> None:
    x = np.array([1.0, 1.5, 2.5], dtype) if name == "acosh" else np.array([0.5, -0.25, 0.75], dtype)
    x = abs(x) if name in ("log", "log2", "log10", "sqrt") else x
    expected = getattr(np, name)(x)
    y = getattr(tg, name)(make(x))
    holds(y, expected, expected.dtype)


@pytest.mark.parametrize("name", BINARY.split())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elementwise_functions_of_two_arrays(name: str, dtype: str, make: Make) -> None:
    f, ours = getattr(np, name), getattr(tg, name)
    a, b = ONE.astype(dtype), TWO.astype(dtype)
    holds(ours(make(a), make(b)), f(a, b), f(a, b).dtype)
    holds(ours(make(a)[:, None], make(b)), f(a[:, None], b), f(a, b).dtype)
    expected = f(a, np.asarray(0.75, dtype))
    holds(ours(make(a), 0.75), expected, expected.dtype)
    holds(ours(0.75, make(b)), f(np.asarray(0.75, dtype), b), expected.dtype)


@pytest.mark.parametrize("name", BITWISE.split())
def test_bitwise_functions(name: str, make: Make) -> None:
    a, b = WHOLE, np.array([1, 0, 2])
    holds(getattr(tg, name)(make(a), make(b)), getattr(np, name)(a, b), "int64")
    holds(tg.bitwise_invert(make(a)), ~a, "int64")


@pytest.mark.parametrize(
    "ours, expected",
    [
        (lambda x: tg.sigmoid(x), scipy.special.expit(X)), (lambda x: tg.erf(x), scipy.special.erf(X)),
        (lambda x: tg.softplus(x), np.log1p(np.exp(X))), (lambda x: tg.log_sigmoid(x), scipy.special.log_expit(X)),
        (lambda x: tg.relu(x), np.maximum(X, 0)), (lambda x: tg.leaky_relu(x), np.where(X > 0, X, 0.01 * X)),
        (lambda x: tg.elu(x), np.where(X > 0, X, np.expm1(X))),
        (lambda x: tg.clip(x, -0.1, 0.5), np.clip(X, -0.1, 0.5)),
        (lambda x: tg.clip(x, min=0.0), np.clip(X, 0, None)),
        (lambda x: tg.sum(x), X.sum()), (lambda x: tg.mean(x, axis=1), X.mean(1)),
        (lambda x: tg.var(x, correction=1), X.var(ddof=1)),
        (lambda x: tg.std(x, axis=0, keepdims=True), X.std(0, keepdims=True)),
        (lambda x: tg.max(x, axis=-1), X.max(-1)),
        (lambda x: tg.min(x), X.min()), (lambda x: tg.prod(x, axis=0), X.prod(0)),
        (lambda x: tg.logsumexp(x, axis=1), scipy.special.logsumexp(X, 1)),
        (lambda x: tg.softmax(x), scipy.special.softmax(X, -1)),
        (lambda x: tg.log_softmax(x, axis=0), scipy.special.log_softmax(X, 0)),
        (lambda x: tg.argmax(x, axis=1), X.argmax(1)),
        (lambda x: tg.argmin(x), X.argmin()), (lambda x: tg.any(x > 0.8), True),
        (lambda x: tg.all(x > 0, axis=1), (X > 0).all(1)),
        (lambda x: tg.reshape(x, (3, 2)), X.reshape(3, 2)), (lambda x: tg.permute_dims(x, (1, 0)), X.T),
        (lambda x: tg.matrix_transpose(x), X.T),
        (lambda x: tg.broadcast_to(x, (2, 2, 3)), np.broadcast_to(X, (2, 2, 3))),
        (lambda x: tg.broadcast_arrays(x, x[0])[1], np.broadcast_to(X[0], (2, 3))),
        (lambda x: tg.concat([x, x], axis=None), np.tile(X.ravel(), 2)),
        (lambda x: tg.stack([x, x], axis=1), np.stack([X, X], 1)), (lambda x: tg.split(x, [1], axis=1)[1], X[:, 1:]),
        (lambda x: tg.unstack(x, axis=1)[2], X[:, 2]), (lambda x: tg.squeeze(tg.expand_dims(x, axis=0), axis=0), X),
        (lambda x: tg.flip(x), X[::-1, ::-1]),
        (lambda x: tg.pad(x, ((1, 0), (0, 2)), constant_values=9.0), np.pad(X, ((1, 0), (0, 2)), constant_values=9.0)),
        (lambda x: tg.matmul(x, x.T), X @ X.T), (lambda x: tg.einsum("ij,kj->ik", x, x), X @ X.T),
        (lambda x: tg.linear(x, x), X @ X.T),
        (lambda x: tg.take(x, [2, 0], axis=1), X[:, [2, 0]]),
        (lambda x: tg.where(x > 0, x, -1.0), np.where(X > 0, X, -1)),
        (lambda x: tg.moveaxis(x, 0, -1), X.T), (lambda x: tg.swapaxes(x, 0, 1), X.T),
        (lambda x: tg.astype(x, "int64"), X.astype(int)),
        (lambda x: tg.full_like(x, 3.0), np.full((2, 3), 3.0)), (lambda x: tg.zeros_like(x), 0 * X),
        (lambda x: tg.ones_like(x), 0 * X + 1),
        (lambda x: tg.asarray(x), X), (lambda x: tg.mse(x, 0.0), (X**2).mean()),
        (lambda x: tg.binary_cross_entropy_with_logits(x, 0.25), np.logaddexp(0, X) - 0.25 * X),
    ],
)  # fmt: skip
def test_the_other_functions(ours: Any, expected: Any, make: Make) -> None:
    expected = np.asarray(expected)
    holds(ours(make(X)), expected, expected.dtype)


def test_losses_and_indices(make: Make) -> None:
    logs = scipy.special.log_softmax(X, -1)
    holds(tg.cross_entropy(make(X), make([2, 0])), [-logs[0, 2], -logs[1, 0]])
    holds(tg.take_along_axis(make(X), make([[2], [0]]), axis=1), [[0.75], [0.1]])


def test_creation(device: str) -> None:
    for made, expected, dtype in [
        (tg.zeros((2, 3), device=device), np.zeros((2, 3)), "f4"), (tg.ones(3, device=device), np.ones(3), "f4"),
        (tg.full((2,), 2.5, device=device), [2.5, 2.5], "f4"), (tg.full((2,), 3, device=device), [3, 3], "i8"),
        (tg.full((), True, device=device), True, "?"), (tg.eye(2, 3, device=device), np.eye(2, 3), "f4"),
        (tg.eye(2, device=device), np.eye(2), "f4"),
        (tg.arange(3, device=device), [0, 1, 2], "i8"), (tg.arange(1, 4, 2, device=device), [1, 3], "i8"),
        (tg.arange(0.0, 1.0, 0.25, device=device), [0, 0.25, 0.5, 0.75], "f4"),
        (tg.linspace(0, 1, 3, device=device), [0, 0.5, 1], "f4"),
        (tg.zeros(2, dtype=tg.int32, device=device), [0, 0], "i4"),
        (tg.tensor([1, 2], dtype="float64", device=device), [1, 2], "f8"),
        (tg.asarray([1.0], device=device), [1.0], "f4"),
    ]:  # fmt: skip
        holds(made, expected, dtype)
        assert made.device.startswith(device) and not made.requires_grad
    assert tg.empty((2, 3), device=device).shape == (2, 3)
    assert tg.empty_like(tg.ones(3, device=device)).device == tg.ones(3, device=device).device
    assert tg.tensor([1.0], requires_grad=True).requires_grad


def test_a_tensor_that_fits_is_handed_on_with_its_graph(make: Make) -> None:
    x = make([1.0, 2.0], True)
    assert tg.asarray(x) is x and tg.asarray(x, dtype="float32") is x
    copied = tg.asarray(x, copy=True)
    assert not shared(copied, x)
    (tg.asarray(x, dtype="float64") * copied).sum().backward()
    holds(x.grad, [2.0, 4.0], "float32")


def test_functions_take_arrays_lists_and_numbers(device: str, make: Make) -> None:
    array = make([1.0, 2.0]).data
    holds(tg.exp(array), np.exp([1.0, 2.0]), "float32")
    holds(tg.exp([1.0, 2.0]), np.exp([1.0, 2.0]), "float32")
    holds(tg.exp(0.0), 1.0, "float32")
    holds(tg.add(1, 2), 3, "int64")
    holds(tg.concat([array, array]), [1, 2, 1, 2])
    holds(tg.stack([1.0, 2.0]), [1, 2])
    assert tg.exp(array).device.startswith(device)


def test_names_dtypes_and_constants(make: Make) -> None:
    assert make([1.0]).__array_namespace__() is tg
    assert (tg.pi, tg.e, tg.inf, tg.newaxis) == (math.pi, math.e, math.inf, None) and math.isnan(tg.nan)
    for name in [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
        "complex64",
        "complex128",
    ]:
        assert getattr(tg, name) == np.dtype(name) and tg.zeros(1, dtype=getattr(tg, name)).dtype == np.dtype(name)
    assert tg.result_type(make([1.0]), 2.0, 1) == np.float32 and tg.result_type(tg.float32, np.ones(1)) == np.float64
    assert tg.finfo("float32").eps == np.finfo("f4").eps and tg.iinfo("int8").max == 127
    assert set(registry) <= set(dir(tg)) and {"Tensor", "grad", "nn", "optim", "zeros"} <= set(dir(tg))
    assert {"np", "math", "builtins", "Any", "Callable", "record_of", "wrap", "registry"} & set(dir(tg)) == set()
    assert all(hasattr(tg, name) for name in dir(tg))
    for wrong in ("np", "builtins", "record_of", "tanj", "Relu", "_private"):
        with pytest.raises(AttributeError, match=wrong):
            getattr(tg, wrong)
    assert all(interop._ours(name) is not None for name in [*interop._NAMES.values(), *interop._COMPOSED])
    assert callable(tg.tensor), "the function, not the module of that name"
