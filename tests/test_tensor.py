"""Tensor: what goes in, what it says of itself, its operators and indexing, and what backward() computes."""

from __future__ import annotations

import copy
import math
import operator
import pickle
import sys
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import Make, holds, maker, shared

import tinygrad_mlsp as tg
from tinygrad_mlsp import backend
from tinygrad_mlsp.errors import (
    DeviceError,
    DTypeError,
    Error,
    GraphError,
    IndexingError,
    MissingDependency,
    ShapeError,
)
from tinygrad_mlsp.interpret.shapes import spec


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


@pytest.fixture
def leaf(make: Make) -> Make:
    """A Tensor that wants a gradient."""
    return lambda data, dtype=None: make(data, True, dtype)


# ---- what goes in


@pytest.mark.parametrize(
    "data, dtype, shape",
    [
        (2.0, "float32", ()), (3, "int64", ()), (True, "bool", ()), (1 + 2j, "complex64", ()),
        ([1.0, 2.0], "float32", (2,)), ([1, 2], "int64", (2,)), ([True, False], "bool", (2,)),
        ([1, 2.5], "float32", (2,)), ((1.0, 2.0), "float32", (2,)), ([[1.0], [2.0]], "float32", (2, 1)),
        ([], "float32", (0,)), ([[], []], "float32", (2, 0)), (range(3), "int64", (3,)), ([1j, 2], "complex64", (2,)),
        (np.float64(2), "float64", ()), (np.float32(2), "float32", ()), (np.int8(2), "int8", ()),
        (np.arange(3), "int64", (3,)), (np.ones(2), "float64", (2,)), (np.ones((2, 0), "f2"), "float16", (2, 0)),
        (np.ones(2, ">f4"), "float32", (2,)), (np.array(1.5), "float64", ()), (np.ones(2, "c16"), "complex128", (2,)),
    ],
)  # fmt: skip
def test_construction(data: Any, dtype: str, shape: tuple[int, ...], make: Make) -> None:
    x = make(data)
    assert (x.dtype, x.shape, x.ndim, x.size) == (np.dtype(dtype), shape, len(shape), math.prod(shape))
    assert x.dtype.isnative
    assert np.array_equal(x.numpy(), np.asarray(data))
    assert not x.requires_grad
    assert x.is_leaf
    assert x.grad is None


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype("f8"), tg.float64])
def test_a_dtype_may_be_given_in_any_of_its_spellings(dtype: Any, make: Make) -> None:
    assert make([1, 2], dtype=dtype).dtype == np.float64


def test_construction_from_tensors(make: Make, leaf: Make) -> None:
    x = leaf([1.0, 2.0])
    again = tg.Tensor(x * 2)
    assert not again.requires_grad, "a new Tensor is outside the graph"
    holds(again, [2.0, 4.0])
    assert again.device == x.device
    with pytest.raises(GraphError, match=r"tg\.stack"):
        make([x[0], x[1] * 3])


def test_an_array_on_the_same_device_is_shared_and_tensor_copies(device: str, make: Make) -> None:
    array = make([1.0, 2.0]).data
    assert shared(tg.Tensor(array), array)
    assert shared(tg.Tensor(array, device=device), array)
    assert not shared(tg.Tensor(array, dtype="float64"), array)
    if device == "cpu":
        assert not shared(tg.tensor(array), array)
    assert not shared(tg.tensor([1.0, 2.0], device=device), array)


@pytest.mark.parametrize(
    "data, kind, says",
    [
        (["a", "b"], DTypeError, r"<U1 is not numeric \(from list\)"), ("text", DTypeError, r"\(from str\)"),
        (None, DTypeError, r"object is not numeric \(from NoneType\)"), ({}, DTypeError, r"\(from dict\)"),
        ([1, None], DTypeError, "object"), (object(), DTypeError, "object"), (2**70, DTypeError, "object"),
        (np.array(["x"]), DTypeError, "<U1"), (np.array(["2020-01-01"], "M8[D]"), DTypeError, "datetime64"),
        ([[1.0, 2.0], [3.0]], ShapeError, "nested lists of unequal lengths"), ([[1], 2], ShapeError, "unequal"),
    ],
)  # fmt: skip
def test_what_is_not_numbers_is_refused_by_name(data: Any, kind: type[Error], says: str, make: Make) -> None:
    with pytest.raises(kind, match=says):
        make(data)


def test_complex_values_are_not_silently_cut_to_real_ones(make: Make) -> None:
    with pytest.raises(DTypeError, match="complex values do not fit dtype float32"):
        make([1 + 2j], dtype="float32")


@pytest.mark.parametrize("name", ["tpu", "", "cpu:1", "cuda:x", "cuda:99", "CPU", 0])
def test_an_unknown_device_is_refused_by_name(name: Any, device: str) -> None:
    if device == "cpu" and str(name).startswith("cuda"):
        pytest.skip("needs a GPU or the stand-in")
    with pytest.raises(DeviceError, match=repr(name)):
        tg.Tensor([1.0], device=name)


def test_a_missing_cupy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(backend._by_name, "cuda", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tinygrad_mlsp\[gpu\]'"):
        tg.Tensor([1.0], device="cuda")
    assert backend.available().cuda == 0


@pytest.mark.parametrize("devices, says", [(0, "found no NVIDIA GPU"), (None, "no usable NVIDIA GPU or driver")])
def test_a_missing_gpu_is_one_clear_error(devices: int | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def count() -> int:
        if devices is None:
            raise RuntimeError("cudaErrorInsufficientDriver")
        return devices

    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count)))
    monkeypatch.delitem(backend._by_name, "cuda", raising=False)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(DeviceError, match=says):
        tg.zeros(3, device="cuda")


def test_an_array_of_a_device_that_was_not_named_yet_computes(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if device == "cpu":
        pytest.skip("needs CuPy or the stand-in")
    array = tg.ones(3, device=device).data
    monkeypatch.delitem(backend._by_name, "cuda")
    monkeypatch.delitem(backend.spaces, type(array))
    holds(tg.exp(tg.Tensor(array)), [math.e] * 3)


def test_requires_grad(make: Make, leaf: Make) -> None:
    x = make([1.0])
    x.requires_grad = True
    x.requires_grad = True
    (x * 3).sum().backward()
    holds(x.grad, [3.0])
    y = x * 2
    assert y.requires_grad and not y.is_leaf
    with pytest.raises(GraphError, match=r"computed tensor; use detach\(\)"):
        y.requires_grad = False
    x.requires_grad = False
    assert x.grad is None and not (x * 2).requires_grad
    for data in ([1, 2], [True]):
        with pytest.raises(
            DTypeError, match=r"only floating-point tensors have gradients, not (int64|bool); use astype"
        ):
            leaf(data)


# ---- what it says of itself


def test_repr(make: Make, leaf: Make, device: str) -> None:
    where = "" if device == "cpu" else ", device='cuda:0'"
    x = leaf([1.0, 2.5])
    assert repr(make([1.0, 2.5])) == f"Tensor([1. , 2.5], dtype=float32{where})"
    assert repr(x) == f"Tensor([1. , 2.5], dtype=float32{where}, requires_grad=True)"
    assert repr(x * 2) == f"Tensor([2., 5.], dtype=float32{where}, op=multiply)"
    assert repr(make(3)) == f"Tensor(3, dtype=int64{where})"
    assert repr(make([])) == f"Tensor([], dtype=float32{where})"
    assert repr(make([[True], [False]])) == f"Tensor([[ True],\n        [False]], dtype=bool{where})"
    assert "op=" in repr(tg.split(x, 2)[1])
    loss = (x * x).sum()
    before = repr(loss)
    loss.backward()
    assert repr(loss) == before, "also once the graph is freed"
    options = np.get_printoptions()
    long = repr(make(np.zeros((1000, 1000))))
    assert "..." in long and len(long) < 1000
    assert np.get_printoptions() == options


def test_length_iteration_and_membership(leaf: Make) -> None:
    x = leaf([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert len(x) == 3
    rows = list(x)
    assert [r.shape for r in rows] == [(2,)] * 3
    (rows[1] * 10 + rows[2]).sum().backward()
    holds(x.grad, [[0, 0], [10, 10], [1, 1]])
    first, *_ = x
    holds(first, [1.0, 2.0])
    assert len(leaf(np.zeros((0, 2)))) == 0 and list(leaf(np.zeros((0, 2)))) == []
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(leaf(1.0))
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(leaf(1.0))


def test_conversion_to_python_numbers(make: Make, leaf: Make) -> None:
    assert make([[2.5]]).item() == 2.5 and type(make(3).item()) is int and type(make(True).item()) is bool
    assert float(leaf(2.5)) == 2.5 and int(make(2.7)) == 2 and complex(make(1 + 2j)) == 1 + 2j
    assert bool(make([[3.0]])) is True and bool(make(0.0)) is False
    assert [10, 20, 30][make(1)] == 20 and list(range(make([3]))) == [0, 1, 2]
    assert f"{leaf(2.5):.2f} {make(3):d} {make(1.0)}" == f"2.50 3 {make(1.0)}"
    assert make([[1, 2]]).tolist() == [[1, 2]]
    assert math.isclose(math.sqrt(make(4.0)), 2.0)
    for convert in (operator.methodcaller("item"), float, int, complex, lambda x: f"{x:.2f}"):
        with pytest.raises(ShapeError, match=r"shape \(2,\) has 2 values"):
            convert(make([1.0, 2.0]))
    for data in ([1.0, 2.0], []):
        with pytest.raises(ShapeError, match=r"ambiguous; use .any\(\) or .all\(\)"):
            bool(make(data))
    for data in (1.0, [1, 2]):
        with pytest.raises(DTypeError, match="only a tensor of one integer is an index"):
            range(9)[make(data)]


def test_a_tensor_is_hashed_by_identity(make: Make) -> None:
    x, y = make([1.0]), make([1.0])
    assert {x: 1, y: 2}[x] == 1


# ---- operators

NUMBERS = [3, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(3), np.float16(2.5)]
ARITHMETIC = {
    operator.add: (lambda a, b: np.ones_like(a), lambda a, b: np.ones_like(a)),
    operator.sub: (lambda a, b: np.ones_like(a), lambda a, b: -np.ones_like(a)),
    operator.mul: (lambda a, b: b + 0 * a, lambda a, b: a + 0 * b),
    operator.truediv: (lambda a, b: 1 / b + 0 * a, lambda a, b: -a / b**2),
    operator.pow: (lambda a, b: b * a ** (b - 1), lambda a, b: a**b * np.log(a)),
    operator.mod: (lambda a, b: np.ones_like(a + b), lambda a, b: -np.floor(a / b)),
}


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: f"{type(n).__name__}")
@pytest.mark.parametrize("operate", ARITHMETIC, ids=lambda f: f.__name__)
def test_operators_with_numbers_on_either_side(operate: Any, number: Any, leaf: Make, device: str) -> None:
    values = np.array([1.5, 0.25, 4.0])
    by_left, by_right = ARITHMETIC[operate]
    plain = float(number)
    for result, expected, slope in [
        (lambda x: operate(x, number), operate(values, plain), by_left(values, plain)),
        (lambda x: operate(number, x), operate(plain, values), by_right(plain, values)),
    ]:
        x = leaf(values, "float32")
        y = result(x)
        assert type(y) is tg.Tensor, "NumPy's scalars leave the operator to us"
        holds(y, expected, "float32")
        assert y.device == x.device
        y.sum().backward()
        holds(x.grad, np.broadcast_to(slope, (3,)), "float32", 1e-5)


@pytest.mark.parametrize("operate", ARITHMETIC, ids=lambda f: f.__name__)
def test_operators_of_two_tensors_and_of_arrays_on_either_side(operate: Any, leaf: Make, make: Make) -> None:
    a, b = np.array([[1.5, 0.25, 4.0], [2.0, 1.0, 3.0]]), np.array([2.0, 3.0, 0.75])
    by_a, by_b = (slope(a, b) for slope in ARITHMETIC[operate])
    x, y = leaf(a), leaf(b)
    z = operate(x, y)
    holds(z, operate(a, b), "float64")
    z.sum().backward()
    holds(x.grad, np.broadcast_to(by_a, a.shape))
    holds(y.grad, np.broadcast_to(by_b, a.shape).sum(0))
    x.grad = y.grad = None
    left, right = operate(x, y.data), operate(x.data, y)
    assert type(left) is type(right) is tg.Tensor, "an array on the left is no array of objects"
    holds(left, operate(a, b))
    holds(right, operate(a, b))
    (left + right).sum().backward()
    holds(x.grad, np.broadcast_to(by_a, a.shape))
    holds(y.grad, np.broadcast_to(by_b, a.shape).sum(0))
    holds(operate(x, b.tolist()), operate(a, b.astype("f4")))
    holds(operate(a.tolist(), y), operate(a.astype("f4"), b))


def test_matmul_with_arrays_and_lists_on_either_side(leaf: Make) -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3.0)
    x, y = leaf(a), leaf(b)
    for result in (x @ y, x.data @ y, a.tolist() @ y, x @ y.data, x @ b.tolist()):
        assert type(result) is tg.Tensor
        holds(result, a @ b)
    (x.data @ y).sum().backward()
    holds(y.grad, a.sum(0))


def test_unary_operators_and_views(leaf: Make) -> None:
    a = np.array([[1.5, -2.0, 4.0]])
    x = leaf(a)
    for result, expected in [(-x, -a), (+x, a), (abs(x), abs(a)), (x.T, a.T), (x.mT, a.T), (x.flatten(), a[0])]:
        holds(result, expected)
    holds(x.reshape(3), a[0])
    holds(x.reshape((3, -1)), a.T)
    holds(x.transpose(), a.T)
    holds(x.transpose(1, 0), a.T)
    (abs(x) - (-x)).sum().backward()
    holds(x.grad, np.sign(a) + 1)


@pytest.mark.parametrize("operate", [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift])
def test_bitwise_operators(operate: Any, make: Make) -> None:
    a, b = np.array([6, 3, 1]), np.array([3, 1, 2])
    holds(operate(make(a), make(b)), operate(a, b), "int64")
    holds(operate(make(a), 2), operate(a, 2), "int64")
    holds(operate(6, make(b)), operate(6, b), "int64")
    if operate not in (operator.lshift, operator.rshift):
        holds(operate(make(a > 2), make(b > 2)), operate(a > 2, b > 2), "bool")
    holds(~make(a), ~a)
    holds(7 // make(b), 7 // b)
    holds(make(a) // 2, a // 2)
    holds(7 % make(b), 7 % b)


@pytest.mark.parametrize(
    "compare", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne], ids=lambda f: f.__name__
)
def test_comparison(compare: Any, leaf: Make) -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])
    x, y = leaf(a), leaf(b)
    for result, expected in [
        (compare(x, y), compare(a, b)), (compare(x, 2), compare(a, 2)), (compare(2.0, x), compare(2.0, a)),
        (compare(np.float64(2), x), compare(2, a)), (compare(x, np.float64(2)), compare(a, 2)),
        (compare(x.data, y), compare(a, b)), (compare(x, y.data), compare(a, b)),
    ]:  # fmt: skip
        assert type(result) is tg.Tensor and not result.requires_grad
        holds(result, expected, "bool")


@pytest.mark.parametrize("other", [None, "a", {}, object, b"x", {1}])
def test_an_operand_that_is_no_number_is_refused_by_type(other: Any, make: Make) -> None:
    for operate in (operator.add, operator.mul, operator.lt, operator.matmul):
        with pytest.raises(TypeError):
            operate(make([1.0]), other)
    for operation in (tg.add, tg.multiply, tg.equal):
        with pytest.raises(DTypeError, match=r"None|not (str|dict|type|bytes|set)"):
            operation(make([1.0]), other)
    with pytest.raises(DTypeError, match="concat"):
        tg.concat([make([1.0]), other])
    with pytest.raises(DTypeError, match="list of tensors"):
        tg.concat(3)


def test_powers(leaf: Make) -> None:
    a = np.array([0.5, 2.0, 3.0])
    for p in (2, 3, 1, 0, -1, 0.5, 2.0, -2, 2.5):
        x = leaf(a)
        y = x**p
        holds(y, a**p)
        y.sum().backward()
        holds(x.grad, p * a ** (p - 1.0))
    holds(leaf([-2.0, 3.0]) ** 2, [4.0, 9.0])
    x = leaf([0.0, 1.0])
    (x**0).sum().backward()
    holds(x.grad, [0.0, 0.0])


def test_numbers_never_widen_a_dtype_and_their_table_cannot_be_written(make: Make) -> None:
    f4, f2, i8, b = make([1.0]), make([1.0], dtype="f2"), make([1]), make([True])
    for y, dtype in [
        (f4 * 2.0, "f4"), (f4 * np.float64(2), "f4"), (np.float64(2) * f4, "f4"), (f4 + 1, "f4"), (f4**2.5, "f4"),
        (f2 * 2.0, "f2"), (i8 * 2, "i8"), (i8 * 2.5, "f4"), (b * 2.5, "f4"), (b + 1, "i8"), (f4 * i8, "f4"),
        (f4 * b, "f4"), (f4 * 1j, "c8"), (make([1.0], dtype="f8") * 1j, "c16"), (f4 * make([1.0], dtype="f8"), "f8"),
        (f2 * f4, "f4"), (tg.where(b, f4, 0.0), "f4"), (tg.maximum(0.0, f4), "f4"), (tg.stack([f4, f4]), "f4"),
        (tg.concat([f4, i8]), "f4"), (f4 == 1, "?"),
    ]:  # fmt: skip
        assert y.dtype == np.dtype(dtype)
    alone = tg.reshape(2.0, (1,))
    alone.copy_([7.0])
    holds(f4 * 2.0, [2.0])
    assert np.signbit((f4 * -0.0).numpy()[0]) and not np.signbit((f4 * 0.0).numpy()[0])


# ---- errors


def test_errors_name_the_operation_its_arguments_and_the_dimension(make: Make, device: str) -> None:
    where = "" if device == "cpu" else " on cuda:0"
    with pytest.raises(ShapeError) as caught:
        make(np.ones((2, 3), "f4")) + make(np.ones((2, 4)), dtype="f4")
    assert str(caught.value) == (
        f"add(a: float32 [2, 3]{where}, b: float32 [2, 4]{where}): dimension -1 disagrees: 3 against 4"
    )
    with pytest.raises(ShapeError, match=r"matmul\(.*\): the inner dimensions disagree: 3 against 2"):
        make(np.ones((2, 3))) @ make(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"concat\(arrays\[0\]: float64 \[2\].*arrays\[1\]: float64 \[1, 2\]"):
        tg.concat([make(np.ones(2)), make(np.ones((1, 2)))])
    with pytest.raises(ShapeError, match=r"reshape\(x: float64 \[3\].*shape=\(2,\)\)"):
        make(np.ones(3)).reshape(2)
    with pytest.raises(ShapeError, match=r"sum\(x: .*axis=5"):
        make(np.ones(3)).sum(axis=5)
    with pytest.raises(DTypeError, match="bitwise_and"):
        make([1.0]) & 1.0
    assert (
        issubclass(ShapeError, ValueError)
        and issubclass(DTypeError, TypeError)
        and issubclass(IndexingError, IndexError)
    )


def test_two_devices_are_both_named(make: Make, device: str) -> None:
    there = tg.Tensor(np.ones(2, "f4"), requires_grad=True)
    here = make(np.ones(2, "f4"), True) if device != "cpu" else spec((2,)).detach()
    here.requires_grad = True
    name = here.device
    mixtures = [
        lambda: here + there, lambda: there @ here, lambda: tg.concat([here, there]),
        lambda: tg.where(here > 0, there, 0.0),
        lambda: here + np.ones(2, "f4"), lambda: tg.stack([there * 2, here]),
    ]  # fmt: skip
    if device != "cpu":
        mixtures += [
            lambda: np.ones(2, "f4") * here, lambda: here[tg.Tensor([0])], lambda: there[make([0])],
            lambda: here[np.array([0])],
        ]  # fmt: skip
    for mixed in mixtures:
        with pytest.raises(
            DeviceError, match=rf"\w+\(.*arguments are on cpu and {name}; move one with \.to\('{name}'\)"
        ):
            mixed()
    with pytest.raises(DeviceError, match=rf"gradient is on cpu, the tensor on {name}; use \.to\(\)"):
        (here * 2).backward(there)
    with pytest.raises(DeviceError, match=rf"on cpu, the tensor on {name}"):
        here.grad = there
    y = here * 1
    y.register_hook(lambda g: there)
    with pytest.raises(DeviceError, match=rf"hook: returned a gradient on cpu for a tensor on {name}"):
        y.sum().backward()


def test_moves_carry_gradients_back(device: str, leaf: Make) -> None:
    x = leaf([1.0, 2.0, 3.0])
    assert x.to(device) is x
    assert (
        x.to(dtype="float32") is x
        and x.to(tg.float64).dtype == np.float64
        and x.to(device, "float64").device == x.device
    )
    w = tg.Tensor([2.0, 3.0, 4.0], requires_grad=True)
    y = tg.sin(x * 2).to("cpu")
    assert y.device == "cpu"
    z = tg.logsumexp(y * w, keepdims=True).to(device)
    assert z.device == x.device
    seen: list[str] = []
    for t in (x, y, w, z):
        t.register_hook(lambda g: seen.append(g.device))
    (z * x.sum()).sum().backward()
    assert seen[:2] == [z.device, "cpu"] and sorted(seen[2:]) == ["cpu", x.device]
    assert x.grad.device == x.device and w.grad.device == "cpu"

    def f(x: Any) -> Any:
        return np.log(np.exp(np.sin(x * 2) * w.numpy()).sum()) * x.sum()

    a = np.array([1.0, 2.0, 3.0])
    steps = np.eye(3) * 1e-6
    holds(x.grad, [(f(a + h) - f(a - h)) / 2e-6 for h in steps], tolerance=1e-4)
    assert x.to(tg.float64).to("cpu", "float16").dtype == np.float16


def test_moves_under_forward_mode_and_twice_backward(device: str, make: Make) -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return (tg.sin(x).to("cpu") * tg.Tensor([1.0, 2.0])).to(device).sum() * x.sum()

    x = make([0.3, 0.4])
    columns = [tg.hvp(f, x, make(e)).numpy() for e in np.eye(2, dtype="f4")]
    s, c, w = np.sin([0.3, 0.4]), np.cos([0.3, 0.4]), np.array([1.0, 2.0])
    np.testing.assert_allclose(columns, np.diag(-s * w * 0.7) + np.add.outer(c * w, c * w), rtol=1e-5)


# ---- indexing

X = np.arange(24.0).reshape(3, 4, 2) + 0.5
MASK = X > 10.2
INDICES: list[Any] = [
    0, -1, slice(None), slice(1, None), slice(None, None, -1), slice(None, None, 2), slice(5, 9), None, Ellipsis, (),
    (0, 1), (0, 1, 1), (..., 0), (None, 1), (slice(1, 3), None, 0), (..., None), (1, ..., 1), (slice(None), 2),
    np.int64(1), MASK, MASK[:, 0, 0], (slice(None), MASK[0, :, 0]), (MASK[:, :, 1], 0), MASK & False, True, False,
    [0, 0, 2], [True, False, True], [[0, 2], [2, 2]], [], ([0, 0, 1], [3, 3, 2]), (0, [1, 1]), ([2, 2], slice(None), 0),
    np.array([2, 0, 2, 2]), np.array([-1, 2, -3]), np.array([[0, 1], [1, 1]]), np.array(1), np.array([], np.int64),
    (np.array([0, 0, 1]), np.array([3, 3, 2])), (np.array([[0], [2]]), np.array([1, 1])), (..., np.array([1, 1, 0])),
    (slice(1, None), np.array([1, 1])), (np.array([0, 0]), slice(None), np.array([1, 1])), (None, np.array([1, 1])),
    (0, np.array([1, 1]), slice(None)), (np.array([1, 1], np.int8), 2), (MASK[:, 0, 0], np.array([1])),
]  # fmt: skip


def on(device: str, index: Any, as_tensor: bool = True) -> Any:
    """The index, its NumPy arrays moved to where the tests compute."""
    if isinstance(index, tuple):
        return tuple(on(device, i, as_tensor) for i in index)
    if isinstance(index, np.ndarray):
        return tg.Tensor(index, device=device) if as_tensor else tg.Tensor(index, device=device).data
    return index


@pytest.mark.parametrize("as_tensor", [True, False], ids=["Tensors", "arrays"])
@pytest.mark.parametrize("index", INDICES, ids=lambda i: repr(i).replace("\n", "")[:50])
def test_indexing(index: Any, as_tensor: bool, leaf: Make, device: str) -> None:
    x = leaf(X)
    y = x[on(device, index, as_tensor)]
    expected = X[index]
    holds(y, expected)
    weights = np.random.default_rng(0).normal(size=expected.shape)
    y.backward(weights)
    adjoint = np.zeros_like(X)
    np.add.at(adjoint, index, weights)  # an entry picked twice gets both gradients
    holds(x.grad, adjoint)
    assert not shared(x.grad, x)


@pytest.mark.parametrize(
    "index, says",
    [
        (3, "index 3"), (-4, "index -4"), ((0, 4), "index 4"), ((0, 0, 0, 0), "too many indices"),
        (1.5, "only integers"),
        ("a", "only integers"), (np.array([0, 7]), "index 7"), (np.array([-9, 0]), "index -9"), ([0, 7], "index 7"),
        ((slice(None), np.array([4])), "index 4"), ((..., np.array([2])), "index 2"), ((0, [4, 0]), "index 4"),
        ((MASK[:, 0, 0], np.array([4])), "index 4"), (np.array([0.5]), "integer"), ((None, np.array([3])), "index 3"),
    ],
)  # fmt: skip
def test_indices_out_of_range_or_of_another_kind_are_refused(index: Any, says: str, leaf: Make, device: str) -> None:
    x = leaf(X)
    with pytest.raises(IndexingError, match=says):
        x[on(device, index)]
    with pytest.raises(IndexingError, match=says), tg.no_grad():
        x[on(device, index)] = 0.0
    assert np.array_equal(x.numpy(), X)


@pytest.mark.parametrize(
    "index", [0, slice(1, None), (..., 1), (0, 2), MASK, MASK[:, 0, 0], [0, 2], np.array([2, 0])], ids=repr
)
def test_assignment(index: Any, make: Make, leaf: Make, device: str) -> None:
    expected = X.copy()
    expected[index] = 7
    for x in (make(X.copy()), leaf(X.copy())):
        with tg.no_grad():
            x[on(device, index)] = 7
        holds(x, expected)
        x.copy_(X)
        with tg.no_grad():
            x[on(device, index)] = make(np.full(X[index].shape, 7.0, "f4"), True)
        holds(x, expected, "float64")
        assert x.is_leaf


def test_assignment_into_a_leaf_is_refused(leaf: Make, make: Make) -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match=r"a leaf that wants a gradient .* tg\.set_at, or write under no_grad"):
        x[0] = 5.0
    holds(x, [1.0, 2.0])
    z = make([1.0, 2.0])
    z[0] = 5.0
    holds(z, [5.0, 2.0])
    for index, value, kind in [
        (0, [1.0, 2.0, 3.0], ShapeError),
        (slice(None), [1.0, 2.0, 3.0], ShapeError),
        (5, 0.0, IndexingError),
    ]:
        with pytest.raises(kind, match=r"assigning to an index: shape .* into shape \(2,\)"):
            z[index] = value
    with pytest.raises(ShapeError, match=r"copy_: shape \(3,\) into shape \(2,\)"):
        z.copy_([1.0, 2.0, 3.0])
    with pytest.raises(DTypeError):
        z[0] = "a"
    holds(z, [5.0, 2.0])


def test_assigning_data(leaf: Make, device: str) -> None:
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    x.data = np.array([5.0, 6.0])
    holds(x, [5.0, 6.0], "float32")
    assert x.requires_grad and x.device.startswith(device)
    y.backward()
    holds(x.grad, [2.0, 4.0])  # the graph kept the array that it saw
    with pytest.raises(ShapeError, match=r"assigning \.data: shape \(3,\) does not fit the tensor's shape \(2,\)"):
        x.data = [1.0, 2.0, 3.0]
    x.data = tg.Tensor([7.0, 8.0], device=device)
    holds(x, [7.0, 8.0])


# ---- backward: what it asks for


def test_backward_of_many_values_says_what_to_pass(leaf: Make) -> None:
    y = leaf([[1.0, 2.0]]) * 2
    with pytest.raises(ShapeError) as caught:
        y.backward()
    text = str(caught.value)
    for part in (
        "shape (1, 2) is not a scalar",
        "Pass gradient= of shape (1, 2)",
        ".sum().backward()",
        ".mean().backward()",
    ):
        assert part in text
    y.backward(gradient=[[1.0, 2.0]])


def test_backward_without_a_graph(make: Make, leaf: Make) -> None:
    x = leaf(1.0)
    with tg.no_grad():
        unrecorded = x * 2
    for y in (make(1.0), unrecorded, x.detach(), x > 0):
        with pytest.raises(GraphError, match=r"not computed from any tensor with requires_grad=True .*no_grad"):
            y.backward()


@pytest.mark.parametrize("gradient", [[1, 2], np.array([1.0, 2.0]), np.array([1.0, 2.0], "f2"), (1.0, 2.0)])
def test_a_gradient_is_taken_in_the_tensors_dtype(gradient: Any, leaf: Make) -> None:
    x = leaf([1.0, 2.0])
    (x * 3).backward(gradient)
    holds(x.grad, [3.0, 6.0], "float32")


def test_a_gradient_that_does_not_fit_is_refused(leaf: Make, make: Make) -> None:
    x = leaf([1.0, 2.0])
    for gradient in (1.0, [1.0], [[1.0, 2.0]], [1.0, 2.0, 3.0]):
        with pytest.raises(ShapeError, match=r"backward\(\): gradient has shape .*, the tensor has shape \(2,\)"):
            (x * 3).backward(gradient)
    for gradient in ("a", ["a", "b"], [1j, 1.0]):
        with pytest.raises(DTypeError, match=r"numeric|complex"):
            (x * 3).backward(gradient)
    assert x.grad is None
    with pytest.raises(ShapeError, match=r"assigning \.grad: shape \(3,\)"):
        x.grad = make([1.0, 2.0, 3.0])
    x.grad = [1, 2]
    holds(x.grad, [1.0, 2.0], "float32")
    x.grad = make([1, 2])
    holds(x.grad, [1.0, 2.0], "float32")
    with pytest.raises(GraphError, match="does not require a gradient"):
        make([1.0]).grad = make([1.0])


def test_non_contiguous_gradients(leaf: Make) -> None:
    g = np.arange(12.0).reshape(3, 4)
    for upstream in (g.T, g[::-1].T, np.asfortranarray(g.T), np.broadcast_to(g[0][:, None], (4, 3)), g[:, ::-1].T):
        x, w = leaf(np.ones((4, 3))), leaf(np.arange(3.0))
        (tg.exp(x) * w).backward(upstream)
        holds(x.grad, math.e * upstream * np.arange(3.0))
        holds(w.grad, (math.e * upstream).sum(0))


# ---- backward: sums


def test_gradients_add_up_over_calls(leaf: Make) -> None:
    for data in ([1.0, 2.0], 3.0, [], np.ones((2, 3))):
        x = leaf(data)
        for times in (1, 2, 3):
            (x * 2).sum().backward()
            holds(x.grad, np.full(x.shape, 2.0 * times), x.dtype)
            holds(x.grad * 2, np.full(x.shape, 4.0 * times))  # a number of NumPy's would not be an array
        x.grad = None
        (x * 5).sum().backward()
        holds(x.grad, np.full(x.shape, 5.0))


def test_the_same_tensor_twice_and_diamonds(leaf: Make, make: Make) -> None:
    cases: list[tuple[Callable[[tg.Tensor], tg.Tensor], Callable[[Any], Any]]] = [
        (lambda x: x + x, lambda x: 2 + 0 * x), (lambda x: x * x, lambda x: 2 * x), (lambda x: x - x, lambda x: 0 * x),
        (lambda x: x * x * x, lambda x: 3 * x**2), (lambda x: x / x, lambda x: 0 * x),
        (lambda x: tg.maximum(x, x), lambda x: 1 + 0 * x), (lambda x: tg.minimum(x, x), lambda x: 1 + 0 * x),
        (lambda x: tg.concat([x, x, x * 2]), lambda x: 4 + 0 * x), (lambda x: tg.stack([x, x]), lambda x: 2 + 0 * x),
        (lambda x: tg.einsum("i,i,i->i", x, x, x), lambda x: 3 * x**2),
        (lambda x: x.reshape(3, 1) @ x.reshape(1, 3), None),
        (lambda x: tg.where(x > 1, x, x), lambda x: 1 + 0 * x), (lambda x: x.reshape(3, 1).T + x, lambda x: 2 + 0 * x),
        (lambda x: tg.hypot(x, x), lambda x: math.sqrt(2) + 0 * x),
    ]  # fmt: skip
    values = np.array([1.0, 2.0, 3.0])
    for f, slope in cases:
        x = leaf(values)
        f(x).sum().backward()
        holds(x.grad, np.full(3, 12.0) if slope is None else slope(values))
    x = leaf(0.5)
    a = tg.sin(x)
    b, c = a * 2, tg.exp(a)
    d = b * c + a
    (d * d + x).backward()
    s, k = math.sin(0.5), math.cos(0.5)
    value, slope = 2 * s * math.exp(s) + s, k * (2 * math.exp(s) + 2 * s * math.exp(s) + 1)
    holds(x.grad, 2 * value * slope + 1)
    y = leaf(1.0)
    doubled = y
    for _ in range(20):  # a million paths through 20 nodes
        doubled = doubled + doubled
    doubled.backward()
    holds(y.grad, 2.0**20)


def test_broadcasts_are_undone(leaf: Make) -> None:
    for a, b in [
        ((2, 3), (3,)),
        ((2, 3), (1, 3)),
        ((2, 1), (1, 3)),
        ((), (2, 3)),
        ((1,), (4, 2, 3)),
        ((0, 1), (3,)),
        ((1, 1), (2, 0)),
    ]:
        x, y = leaf(np.ones(a)), leaf(np.full(b, 2.0))
        z = x * y + x
        z.backward(np.arange(float(z.size)).reshape(z.shape))
        total = np.arange(float(z.size)).sum()
        assert x.grad.shape == a and y.grad.shape == b
        assert math.isclose(x.grad.sum().item(), 3 * total) and math.isclose(y.grad.sum().item(), total)


def test_backward_from_a_leaf_and_through_several_outputs(leaf: Make) -> None:
    x = leaf(2.0)
    x.backward()
    holds(x.grad, 1.0)
    x.backward(3.0)
    holds(x.grad, 4.0)
    x = leaf([1.0, 2.0, 3.0, 4.0])
    first, second = tg.split(x, 2)
    first.retain_grad()
    calls = []
    second.register_hook(lambda g: calls.append(g.numpy()) or g * 10)
    (first * first).sum().backward(retain_graph=True)
    holds(x.grad, [2.0, 4.0, 0.0, 0.0])
    holds(first.grad, [2.0, 4.0])
    assert not calls, "no gradient arrived there"
    (first.sum() + (second * second).sum()).backward()
    holds(x.grad, [3.0, 5.0, 60.0, 80.0])
    assert len(calls) == 1 and np.array_equal(calls[0], [6.0, 8.0])


def test_complex_gradients_point_uphill_as_pytorchs(leaf: Make) -> None:
    z = leaf([1 + 2j, -3j])
    tg.real(z * tg.conj(z)).sum().backward()  # L = |z|², whose gradient is 2 z
    holds(z.grad, [2 + 4j, -6j], "complex64")
    z.grad = None
    tg.real(z * z).sum().backward()
    holds(z.grad, [2 - 4j, 6j])
    seen: list[Any] = []
    z.grad = None
    y = z * (2 + 1j)
    y.register_hook(lambda g: seen.append(g.numpy()) or g * 1j)
    tg.imag(y).sum().backward()
    assert np.allclose(seen[0], [1j, 1j])
    holds(z.grad, np.full(2, 1j * 1j * (2 - 1j)))
    z.grad = None
    (z * (2 + 1j)).backward([1.0, 1j])
    holds(z.grad, [2 - 1j, 1j * (2 - 1j)])
    x = leaf([1.0, 2.0])
    tg.abs(x * (3 + 4j)).sum().backward()
    holds(x.grad, [5.0, 5.0], "float32")


# ---- backward: higher order


@pytest.mark.parametrize(
    "f, derivatives",
    [
        (lambda x: x**4, [lambda x: 4 * x**3, lambda x: 12 * x**2, lambda x: 24 * x]),
        (lambda x: x * x * x * x, [lambda x: 4 * x**3, lambda x: 12 * x**2, lambda x: 24 * x]),
        (tg.sin, [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)]),
        (
            lambda x: x * tg.exp(x),
            [lambda x: (1 + x) * np.exp(x), lambda x: (2 + x) * np.exp(x), lambda x: (3 + x) * np.exp(x)],
        ),
        (lambda x: 1 / x, [lambda x: -(x**-2), lambda x: 2 * x**-3, lambda x: -6 * x**-4]),
        (lambda x: tg.log(x), [lambda x: 1 / x, lambda x: -(x**-2), lambda x: 2 * x**-3]),
        (
            lambda x: tg.reshape(tg.concat([x, x * x]), (2, -1))[1] * x,
            [lambda x: 3 * x**2, lambda x: 6 * x, lambda x: 6 + 0 * x],
        ),
        (
            tg.tanh,
            [
                lambda x: 1 - np.tanh(x) ** 2,
                lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
                lambda x: -2 * (1 - np.tanh(x) ** 2) * (1 - 3 * np.tanh(x) ** 2),
            ],
        ),
    ],
    ids=["pow", "products", "sin", "x exp x", "1/x", "log", "moves", "tanh"],
)
def test_create_graph_to_third_order(f: Any, derivatives: Any, leaf: Make) -> None:
    values = np.array([0.5, 1.25])
    x = leaf(values)
    y = f(x)
    for derivative in derivatives:
        x.grad = None
        y.sum().backward(create_graph=True)
        holds(x.grad, derivative(values), tolerance=1e-12)
        y = x.grad
    x.grad = None


def test_create_graph_records_under_no_grad_too_and_adds_up_with_its_graph(leaf: Make) -> None:
    x = leaf(3.0)
    y = x * x * x
    with tg.no_grad():
        y.backward(create_graph=True)
    (x * x).backward(create_graph=True)
    assert x.grad.requires_grad
    total, x.grad = x.grad, None
    total.backward()
    holds(x.grad, 6 * 3.0 + 2)
    z = x * x
    z.backward()  # added to without a graph
    holds(x.grad, 20.0 + 6.0)
    x.grad = None


def test_a_gradient_penalty_reaches_the_weights(leaf: Make) -> None:
    w, x = leaf([[1.0, 2.0], [3.0, -1.0]]), leaf([0.3, 0.4])
    tg.tanh(w @ x).sum().backward(create_graph=True)
    g, x.grad, w.grad = x.grad, None, None
    (g * g).sum().backward()
    a, v = w.numpy(), x.numpy()

    def penalty(a: Any) -> Any:
        return (((1 - np.tanh(a @ v) ** 2) @ a) ** 2).sum()

    step = 1e-6
    expected = np.empty((2, 2))
    for i in np.ndindex(2, 2):
        e = np.zeros((2, 2))
        e[i] = step
        a = a.astype("f8")
        expected[i] = (penalty(a + e) - penalty(a - e)) / (2 * step)
    holds(w.grad, expected, tolerance=1e-4)


# ---- copies


def test_leaves_are_copied_and_pickled(leaf: Make, make: Make) -> None:
    x = leaf([1.0, 2.0])
    (x * 3).sum().backward()
    deep = copy.deepcopy(x)
    holds(deep, [1.0, 2.0], "float32")
    holds(deep.grad, [3.0, 3.0])
    assert deep.requires_grad and deep.device == x.device
    assert not shared(deep, x) and not shared(deep.grad, x.grad)
    (deep * 5).sum().backward()
    holds(x.grad, [3.0, 3.0])
    tied = copy.deepcopy([x, x])
    assert tied[0] is tied[1]
    for t in (x, make([1, 2]), make(2.5), make(np.zeros((0, 3)))):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(t, protocol))
            assert (again.dtype, again.shape, again.device) == (t.dtype, t.shape, t.device)
            assert again.requires_grad is t.requires_grad and again.is_leaf
            assert np.array_equal(again.numpy(), t.numpy()) and not shared(again, t)
    y = x * 2
    for copied in (copy.deepcopy, pickle.dumps, copy.copy):
        with pytest.raises(GraphError, match=r"only leaves can be .*; detach\(\) a computed tensor first"):
            copied(y)
    holds(copy.deepcopy(y.detach()), [2.0, 4.0])


def test_detach_and_numpy_share_on_the_cpu(leaf: Make, device: str) -> None:
    x = leaf([1.0, 2.0])
    y = x * 1
    assert shared(y.detach(), y) and not y.detach().requires_grad
    assert isinstance(x.numpy(), np.ndarray)
    if device == "cpu":
        assert x.numpy() is x.data


def test_weak_references_to_tensors(leaf: Make) -> None:
    x = leaf([1.0])
    r = weakref.ref(x)
    assert r() is x
    del x
    assert r() is None


def test_methods_of_pytorchs_names(make: Make) -> None:
    values = np.arange(6.0).reshape(2, 3)
    x = make(values, requires_grad=True, dtype="float64")
    expected = {
        "view": (x.view(3, -1), values.reshape(3, 2)),
        "permute": (x.permute(1, 0), values.T),
        "permute of a tuple": (x.permute((1, 0)), values.T),
        "unsqueeze": (x.unsqueeze(1), values[:, None]),
        "unsqueeze from the end": (x.unsqueeze(-1), values[..., None]),
        "masked_fill": (x.masked_fill(x > 2, -1.0), np.where(values > 2, -1, values)),
        "contiguous": (x.contiguous(), values),
        "cpu": (x.cpu(), values),
    }
    for name, (got, wanted) in expected.items():
        np.testing.assert_array_equal(got.numpy(), wanted, err_msg=name)
    assert (x.dim(), x.numel()) == (2, 6)
    dtypes = [getattr(x, n)().dtype for n in ("half", "float", "double", "int", "long", "bool")]
    assert dtypes == [np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_]
    (x.masked_fill(x > 2, 7.0).view(-1) ** 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.where(values > 2, 0, 2 * values))
    y = make(values)
    assert y.fill_(3.0) is y and y.tolist() == [[3.0] * 3] * 2 and y.zero_().tolist() == [[0.0] * 3] * 2
    with pytest.raises(DTypeError, match="mask must be of booleans"):
        x.masked_fill([1.0, 0.0, 0.0], 2.0)
