"""What a user gets wrong: one clear error at once, which names the operation and what to do."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support import Make, holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import op as operations
from tinygrad_mlsp.errors import AxisError, DeviceError, DTypeError, GraphError, IndexingError, OptionError, ShapeError


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


# Writing


WRITES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "copy_": (lambda x, y: y.copy_([5.0, 6.0]), "copy_: writing into"),
    ".data": (lambda x, y: setattr(y, "data", [5.0, 6.0]), ".data: writing into"),
    "index": (lambda x, y: operator.setitem(x, 0, 5.0), "index: a leaf that wants a gradient .* tg.set_at"),
    "copy_ of a computed value": (lambda x, y: x.detach().copy_(y), "copy_: no gradient .* detach"),
    "index of a view": (lambda x, y: operator.setitem(y[:], 0, 5.0), "a view of another"),
    "index of a computed value": (
        lambda x, y: operator.setitem(x.detach().astype("int64"), 0, y[0]),
        "no gradient .* detach",
    ),
    "index of a list": (lambda x, y: operator.setitem(x.detach(), slice(0, 2), [y[0], y[1]]), "tg.stack"),
}


@pytest.mark.parametrize("write, message", WRITES.values(), ids=WRITES)
def test_writing_that_a_gradient_would_not_see(write: Any, message: str, make: Make) -> None:
    x = make([1.0, 2.0], True)
    y = x * 2
    with pytest.raises(GraphError, match=message):
        write(x, y)
    holds(y, [2.0, 4.0])


@pytest.mark.parametrize("name", ["copy_", ".data", "index", "copy_ of a computed value"])
def test_writing_is_free_under_no_grad_and_into_leaves(name: str, make: Make) -> None:
    x = make([1.0, 2.0], True)
    y = x * 2
    with tg.no_grad():
        WRITES[name][0](x, y)
    x.copy_([3.0, 4.0])
    x.data = [5.0, 6.0]
    holds(x, [5.0, 6.0])


# Lists of tensors


LISTS: list[Callable[[Any], Any]] = [
    lambda x: tg.Tensor([x[0], x[1]]),
    lambda x: tg.Tensor([[x[0]], [x[1]]]),
    lambda x: tg.Tensor((1.0, x[1])),
    lambda x: tg.exp([x[0], x[1]]),
    lambda x: operator.add(x, [x[0], x[1]]),
]


@pytest.mark.parametrize("use", LISTS)
def test_a_list_of_tensors_keeps_its_graph_or_says_so(use: Any, make: Make, device: str) -> None:
    with pytest.raises(GraphError, match=r"tg\.stack"):
        use(make([1.0, 2.0], True))
    plain = make([1.0, 2.0])
    if device == "cpu":
        assert use(plain).size == 2
    else:
        with pytest.raises(DeviceError, match=r"tg\.stack"):
            use(plain)


# Operators


@pytest.mark.parametrize("other", [None, "a", {}, object(), len])
def test_operators_leave_unknown_operands_to_python(other: Any, make: Make) -> None:
    x = make([1.0, 2.0], True)
    assert (x == other) is False and (other == x) is False
    assert (x != other) is True
    assert other not in [x]
    for use in (operator.add, operator.pow, operator.matmul, operator.lt, operator.floordiv):
        for pair in ((x, other), (other, x)):
            with pytest.raises(TypeError, match=r"support|concatenate"):
                use(*pair)
    with pytest.raises(DTypeError, match=r"add: |not numeric"):
        tg.add(x, other)


def test_operators_ask_the_other_operand(make: Make) -> None:
    class Other:
        def __radd__(self, x: Any) -> str:
            return "asked"

    assert make([1.0]) + Other() == "asked"


def test_operators_keep_their_own_errors(make: Make) -> None:
    x = make([1.0, 2.0])
    with pytest.raises(ShapeError, match="add"):
        x + make([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="unequal"):
        operator.add(x, [[1.0], [1.0, 2.0]])
    with pytest.raises(DTypeError, match="masked"):
        x + np.ma.array([1.0, 2.0], mask=[True, False])
    holds(operator.add(x, [0, 1]), [1.0, 3.0])


def test_divmod_round_and_take(make: Make) -> None:
    x = make([5.0, 7.6])
    for found, expected in zip((*divmod(x, 2), *divmod(10, x)), ([2, 3], [1, 1.6], [2, 1], [0, 2.4]), strict=True):
        holds(found, expected, tolerance=1e-5)
    holds(round(x), [5, 8])
    holds(tg.take(x, [1]), [7.6])
    holds(x.take([1]), [7.6])
    with pytest.raises(OptionError, match="round"):
        round(x, 2)
    with pytest.raises(ShapeError, match="take: a tensor of 2 dimensions needs axis="):
        tg.take(make([[1.0]]), [0])


# Creation


CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "shape apart": (lambda: tg.ones(2, 3), DTypeError, r"ones: .* as a tuple"),
    "shape in words": (lambda: tg.ones("a"), ShapeError, "ones: shape 'a'"),
    "negative shape": (lambda: tg.zeros((2, -1)), ShapeError, r"zeros: shape \(2, -1\)"),
    "half an axis": (lambda: tg.empty((2, 1.5)), ShapeError, "empty: shape"),
    "full": (lambda: tg.full("a", 1.0), ShapeError, "full: shape 'a'"),
    "negative eye": (lambda: tg.eye(-1), ShapeError, "eye: -1"),
    "step 0": (lambda: tg.arange(0, 5, 0), OptionError, "arange: step is 0"),
    "arange of a word": (lambda: tg.arange("a"), OptionError, "arange: "),
    "negative number": (lambda: tg.linspace(0, 1, -1), OptionError, "linspace: "),
    "no such dtype": (lambda: tg.zeros(3, dtype="float3"), DTypeError, "zeros: 'float3' is not a dtype"),
    "no such dtype of a Tensor": (lambda: tg.Tensor([1.0], dtype="float3"), DTypeError, "'float3' is not a dtype"),
    "objects": (lambda: tg.Tensor([1.0], dtype="object"), DTypeError, "object is not numeric"),
    "astype": (lambda: tg.astype([1.0], "nope"), DTypeError, "astype: 'nope'"),
    "requires_grad in words": (lambda: tg.Tensor([1.0], requires_grad="no"), DTypeError, "requires_grad is True or"),
    "dtype in its place": (lambda: tg.Tensor([1.0], tg.float64), DTypeError, "requires_grad .* dtype="),
    "masked": (lambda: tg.Tensor(np.ma.array([1.0], mask=[True])), DTypeError, "masked"),
    "unknown device": (lambda: tg.Tensor([1.0]).to("float3"), DeviceError, "float3"),
    "hook": (lambda: tg.Tensor([1.0], True).register_hook(3), DTypeError, "register_hook: "),
    "grad": (lambda: tg.grad(3), DTypeError, "grad: takes a function"),
    "vjp": (lambda: tg.vjp(3, [1.0]), DTypeError, "vjp: takes a function"),
    "hvp": (lambda: tg.hvp(lambda x: x, [1.0], [1.0]), ShapeError, "hvp: the function must return one scalar"),
    "hvp tangent": (lambda: tg.hvp(lambda x: x.sum(), [1.0], [1.0, 2.0]), ShapeError, "hvp: a tangent"),
    "hessian": (lambda: tg.hessian(lambda x: x)([1.0]), ShapeError, "hessian: the function must return one scalar"),
    "value_and_grad": (lambda: tg.value_and_grad(lambda x: x)([1.0]), ShapeError, "value_and_grad: the function"),
    "mode": (lambda: tg.jacobian(tg.exp, mode="a"), OptionError, "jacobian: mode"),
    "argnums": (lambda: tg.grad(tg.sum, argnums="a"), OptionError, "grad: argnums"),
    "norm": (lambda: np.linalg.norm(tg.Tensor([1.0])), DTypeError, r"numpy\.linalg\.norm"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", CALLS.values(), ids=CALLS)
def test_one_clear_error(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_dtype_by_its_name_and_a_truth_of_numpy(make: Make) -> None:
    x = make([1.0, 2.0])
    assert x.to("float64").dtype == np.float64 and x.to("float64").device == x.device
    assert tg.Tensor([1.0], np.bool_(True)).requires_grad
    assert not tg.Tensor([1.0], np.bool_(False)).requires_grad


def test_a_hook_is_removed_by_a_call_or_by_remove(make: Make) -> None:
    seen: list[Any] = []
    for way in (lambda handle: handle(), lambda handle: handle.remove()):
        x = make(2.0, True)
        handle = x.register_hook(seen.append)
        way(handle)
        way(handle)
        (x * x).backward()
    assert not seen


# Messages


SHAPES: dict[str, tuple[Callable[[Make], Any], type[Exception], str]] = {
    "where": (
        lambda make: tg.where(make([True, False, True]), make([1.0, 2.0]), make([1.0, 2.0, 3.0])),
        ShapeError, "dimension -1 disagrees: condition has 3, a has 2, b has 3",
    ),
    "concat": (
        lambda make: tg.concat([make([[1.0]]), make([[1.0, 2.0]]), make([[3.0]])]),
        ShapeError, r"arrays\[1\] \[1, 2\] against arrays\[0\] \[1, 1\]",
    ),
    "stack": (
        lambda make: tg.stack([make([1.0]), make([1.0, 2.0])]),
        ShapeError, r"arrays\[1\] \[2\] against arrays\[0\] \[1\]",
    ),
    "reshape": (lambda make: make([1.0]).reshape("a"), DTypeError, "whole numbers"),
    "split": (lambda make: tg.split(make([1.0, 2.0]), 2, axis=3), IndexingError, "axis 3 is out of range"),
    "unstack": (lambda make: tg.unstack(make([1.0, 2.0]), axis=3), IndexingError, "axis 3 is out of range"),
    "gather": (lambda make: tg.gather(make([1.0]), [[0]], 0), ShapeError, r"gather: take_along_axis\("),
    "add_at": (lambda make: tg.add_at(make([1.0]), 1.0, index=[5]), IndexingError, "add_at: "),
    "index_add": (lambda make: tg.index_add(make([1.0]), [5], make([1.0]), 0), IndexingError, "index_add: "),
    "put_along_axis": (
        lambda make: tg.put_along_axis(make([1.0]), [5], 1.0, 0), IndexingError,
        r"put_along_axis: set_at\(.*int64 \[1\]",
    ),
    "scatter": (lambda make: tg.scatter(make([1.0]), [0], 1.0, 1), AxisError, "scatter: put_along_axis: axis 1"),
    "masked_fill": (lambda make: tg.masked_fill(make([1.0]), [True], "a"), DTypeError, "masked_fill: where: "),
    "clip": (lambda make: tg.clip(make([1.0, 2.0]), [1.0, 2.0, 3.0]), ShapeError, r"clip: greater_equal\("),
    "unique_all": (lambda make: tg.unique_all("a"), DTypeError, "unique_all: Tensor: "),
    "polygamma": (lambda make: tg.polygamma(1, make([1.0, 2.0])), OptionError, r"not an array of shape \(2,\)$"),
    "moveaxis": (lambda make: tg.moveaxis(make([[1.0]]), 5, 0), ShapeError, "moveaxis: axis 5"),
    "swapaxes": (lambda make: tg.swapaxes(make([[1.0]]), 0, -3), ShapeError, "swapaxes: axis -3"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", SHAPES.values(), ids=SHAPES)
def test_the_message_says_what_disagrees(call: Any, error: type[Exception], message: str, make: Make) -> None:
    with pytest.raises(error, match=message):
        call(make)


def test_what_is_shown() -> None:
    x = tg.Tensor([1.0, 2.0], True)
    assert repr(x) == "Tensor([1., 2.], dtype=float32, requires_grad=True)"
    assert "op=split" in repr(tg.split(x, 2)[0])
    assert "made by split" in tg.split(x, 2)[0]._repr_html_()
    assert repr(tg.zeros((0, 3))) == "Tensor([], shape=(0, 3), dtype=float32)"
    assert "0.35)'>-128<" in tg.Tensor(np.array([-128, 127], "i1"))._repr_html_()


@pytest.fixture
def undeclared() -> Iterator[Any]:
    """A user's operation without any rule."""

    def bare(xp, x):  # type: ignore[no-untyped-def]
        """y = eˣ"""
        return xp.exp(x)

    yield operations.elementwise(bare)
    del operations.registry["bare"]


def test_an_operation_without_rules_refuses_a_gradient(undeclared: Any, make: Make) -> None:
    x = make([0.0], True)
    with pytest.raises(OptionError, match=r"bare: declared elementwise.*@constant"):
        undeclared(x)
    with tg.no_grad():
        holds(undeclared(x), [1.0])
    holds(undeclared(make([0.0])), [1.0])
