"""The other interpreters of the rules: shapes held to NumPy, formulas held to the rules' own numbers."""

import ast
import itertools
import re
import sys
import threading
import tracemalloc
import unicodedata
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from domains import CORNERS, DOMAINS, Case, Draw
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import tinygrad_mlsp as tg
from tinygrad_mlsp import errors, nn, rules
from tinygrad_mlsp.backend import numpy_space
from tinygrad_mlsp.interpret import formula, shapes
from tinygrad_mlsp.interpret.formula import Application
from tinygrad_mlsp.interpret.formula import space as formula_space
from tinygrad_mlsp.interpret.shape_space import ShapeArray
from tinygrad_mlsp.interpret.shape_space import space as shape_space
from tinygrad_mlsp.interpret.symbols import Symbol, same
from tinygrad_mlsp.interpret.writer import equations
from tinygrad_mlsp.op import Operation, elementwise, general, registry
from tinygrad_mlsp.recipe import unbroadcast


def used_names() -> set[str]:
    """Every name that a rule asks of its `xp`."""
    names = {op.name for op in registry.values() if op.kind == "constant"}  # some of these are asked for by getattr
    for path in Path(rules.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "xp":
                names.add(node.attr)
    return names


@pytest.mark.parametrize("space", [shape_space, formula_space], ids=["shapes", "formulas"])
def test_every_name_that_rules_use_is_there(space: Any) -> None:
    assert [name for name in sorted(used_names()) if not hasattr(space, name)] == []


def test_an_unknown_name_says_where_to_declare_it() -> None:
    with pytest.raises(AttributeError, match=r"the shape reader has no 'fft': declare it in interpret/shape_space.py"):
        _ = shape_space.fft
    with pytest.raises(AttributeError, match="fft"):
        _ = formula_space.fft


def each_case(name: str, check: Callable[[Case], None]) -> None:
    """Runs the check on a case of every corner of the operation's domain."""
    random = Random(name)
    for corner in [*range(CORNERS), *range(CORNERS), None, None]:
        case = DOMAINS[name].case(Draw(random, corner))
        try:
            check(case)
        except Exception as problem:
            problem.add_note(f"{name}, corner {corner}, {case}")
            raise


def lower(value: Any) -> Any:
    """Single precision."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(lower, value))
    kinds = {"float64": "float32", "complex128": "complex64"}
    return value.astype(kinds.get(value.dtype.name, value.dtype)) if isinstance(value, np.ndarray) else value


def as_spec(value: Any) -> Any:
    """An array's stand-in, in lists too."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(as_spec, value))
    return ShapeArray(value.shape, value.dtype) if isinstance(value, np.ndarray) else value


def as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def facts(value: Any) -> list[Any]:
    """Shapes and dtypes; a bare number has NumPy's."""
    found = []
    for v in as_list(value):
        v = v if v is None or hasattr(v, "dtype") else np.asarray(v)
        found.append(None if v is None else (tuple(v.shape), v.dtype))
    return found


def every_result(op: Operation, xp: Any, arguments: Any, options: Any, u: Any, t: Any) -> dict[str, Any]:
    """The forward function, and every rule both ways; `u` and `t` make a cotangent and tangents of a like."""
    y = op.forward(xp, *arguments, **options)
    y = tuple(y) if op.several else y
    found = {"forward": y}
    g = tuple(map(u, y)) if op.several else u(y)
    for i, name in enumerate(op.arguments):
        if name in op.differentiable and arguments[i] is not None:
            given = {"xp": xp, "g": g, "needed": [True] * len(as_list(arguments[i]))}
            found[f"backward to {name}"] = op.pull_argument(name, given, arguments, y, options)
            tangent = [t(v) for v in arguments[i]] if name == op.list_argument else t(arguments[i])
            tangents = [tangent if k == i else None for k in range(len(arguments))]
            found[f"forward from {name}"] = op.push_forward(xp, tangents, arguments, y, options)
    return found


# Shapes


@pytest.mark.parametrize("name", DOMAINS)
def test_shapes_and_dtypes_are_numpys(name: str) -> None:
    op = registry[name]

    def check(case: Case) -> None:
        for arguments in (case.arguments, lower(case.arguments)):
            options = {o: "shapes" if o in ("source", "target") else v for o, v in case.options.items()}
            real = {o: "cpu" if o in ("source", "target") else v for o, v in options.items()}
            with np.errstate(all="ignore"):
                want = every_result(op, numpy_space, arguments, real, lambda y: np.ones_like(y), np.ones_like)
            stand = as_spec(arguments)
            got = every_result(op, shape_space, stand, options, shape_space.ones_like, shape_space.ones_like)
            assert want.keys() == got.keys()
            for what, value in want.items():
                assert facts(got[what]) == facts(value), (what, case)

    each_case(name, check)


@pytest.mark.parametrize("name", [name for name in DOMAINS if name != "transfer"])
def test_the_engine_runs_on_shapes(name: str) -> None:
    op = registry[name]

    def tensors(arguments: Any, device: str) -> tuple[list[Any], list[tg.Tensor]]:
        leaves: list[tg.Tensor] = []

        def lift(argument: str, value: Any) -> Any:
            if value is None or isinstance(value, (list, tuple)):
                return None if value is None else [lift(argument, v) for v in value]
            leaf = tg.Tensor(value, device=device, requires_grad=argument in op.differentiable)
            leaves.append(leaf)
            return leaf

        return [lift(a, v) for a, v in zip(op.arguments, arguments, strict=True)], leaves

    def check(case: Case) -> None:
        found = []
        for device in ("cpu", "shapes"):
            arguments, leaves = tensors(case.arguments, device)
            with np.errstate(all="ignore"):
                ys = as_list(op(*arguments, **case.options))
                total = sum((y * y.conj() if y.dtype.kind == "c" else y * y).sum() for y in ys if y.dtype.kind in "fc")
                if isinstance(total, tg.Tensor) and total.requires_grad:
                    total.backward()
            found.append([facts(ys), [None if x.grad is None else facts(x.grad) for x in leaves]])
            assert {x.device for x in [*ys, *leaves]} == {device}
        assert found[0] == found[1], case

    each_case(name, check)


DTYPES = ["bool", "int8", "int64", "uint8", "float16", "float32", "float64", "complex64"]
NUMBERS = [True, 2, 0.5]
ELEMENTWISE = [op for op in registry.values() if hasattr(numpy_space, op.name) and op.name in DOMAINS]


@pytest.mark.parametrize(
    "name",
    [
        "add",
        "multiply",
        "divide",
        "pow",
        "maximum",
        "remainder",
        "floor_divide",
        "less",
        "hypot",
        "logaddexp",
        "bitwise_and",
        "bitwise_left_shift",
        "copysign",
        "nextafter",
    ],
)
def test_binary_dtypes_are_numpys_and_numbers_are_weak(name: str) -> None:
    for a, b in itertools.product(DTYPES, [*DTYPES, *NUMBERS]):
        real = [np.ones((2, 3), a), np.ones(3, b) if isinstance(b, str) else b]
        stand = [as_spec(v) for v in real]
        try:
            with np.errstate(all="ignore"):
                want = getattr(numpy_space, name)(*real)
        except (TypeError, OverflowError) as problem:
            with pytest.raises(type(problem)):
                getattr(shape_space, name)(*stand)
        else:
            assert facts(getattr(shape_space, name)(*stand)) == facts(want), (a, b)
            if isinstance(b, str):
                continue
            with np.errstate(all="ignore"):
                assert facts(getattr(shape_space, name)(*stand[::-1])) == facts(getattr(numpy_space, name)(*real[::-1]))


@pytest.mark.parametrize(
    "name",
    [
        "sum",
        "mean",
        "prod",
        "max",
        "argmin",
        "any",
        "exp",
        "sqrt",
        "sigmoid",
        "erf",
        "abs",
        "sign",
        "floor",
        "isnan",
        "conj",
        "real",
        "imag",
        "round",
        "negative",
        "logical_not",
        "bitwise_invert",
    ],
)
def test_unary_dtypes_are_numpys(name: str) -> None:
    for kind in DTYPES:
        try:
            with np.errstate(all="ignore"):
                want = getattr(numpy_space, name)(np.ones((2, 3), kind))
        except (TypeError, OverflowError) as problem:
            with pytest.raises(type(problem)):
                getattr(shape_space, name)(ShapeArray((2, 3), kind))
        else:
            assert facts(getattr(shape_space, name)(ShapeArray((2, 3), kind))) == facts(want), kind


def test_operators_are_those_of_arrays() -> None:
    x, y = np.ones((2, 1), np.float32), np.ones(3, np.float32)
    a, b = as_spec(x), as_spec(y)
    for f in (
        lambda p, q: p + q,
        lambda p, q: p - 2.0,
        lambda p, q: 3 * p,
        lambda p, q: 1 / q,
        lambda p, q: p // q,
        lambda p, q: p % 2,
        lambda p, q: p**2,
        lambda p, q: 2**p,
        lambda p, q: -p,
        lambda p, q: abs(p),
        lambda p, q: p < q,
        lambda p, q: p != q,
        lambda p, q: (p > 0) & (q > 0),
        lambda p, q: ~(p == q),
        lambda p, q: p.T @ p if hasattr(p, "T") else p,
    ):
        assert facts(f(a, b))[0][0] == facts(f(x, y))[0][0] or f(a, b) is a
    a += b[:1]
    assert a.shape == (2, 1)
    with pytest.raises(ValueError, match=r"\(3,\) does not broadcast into one of shape \(2, 1\)"):
        a += b
    a[0] = b[:1]
    with pytest.raises(ValueError, match="do not fit"):
        a[0] = b
    assert len(a) == 2 and a.nbytes == 8 and a.reshape(1, -1).shape == (1, 2) and a.transpose().shape == (1, 2)
    assert a.reshape(2).base is a and a.copy().base is None and a.astype("f8").dtype == np.float64


@st.composite
def indexed(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape, and an index of any mixture."""
    shape = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple))
    parts: list[Any] = []
    joint = draw(st.sampled_from([(), (2,), (3, 2), (0,), (1,)]))
    taken = draw(st.integers(0, len(shape)))
    for n in shape[:taken]:
        kinds = ["slice", "array", "mask"] + ["number"] * (n > 0)
        kind = draw(st.sampled_from(kinds))
        if kind == "slice":
            parts.append(draw(st.slices(n)))
        elif kind == "number":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "mask":
            count = joint[-1] if joint else 1
            parts.append(np.arange(n) < count if count <= n else slice(None))
        else:
            shape_of = joint if n else (*joint[:-1], 0) if joint else (0,)
            parts.append(np.zeros(shape_of, int) if draw(st.booleans()) else np.full(shape_of, n - 1))
    for extra in draw(st.lists(st.sampled_from([None, "dots"]), max_size=2, unique=True)):
        place = draw(st.integers(0, len(parts)))
        parts.insert(place if extra is None or taken == len(shape) else len(parts), None if extra is None else ...)
    return shape, tuple(parts)


@settings(max_examples=15 * settings.default.max_examples)
@given(indexed())
@example(((2, 3, 4), (0, slice(None), np.array([0, 1]))))
@example(((2, 3, 4), (np.array([0, 1]), None, np.array([0, 1]))))
@example(((2, 3, 4), (..., np.array([[0, 1]]), 1)))
@example(((2, 3), ([0, 1],)))
@example(((2, 3), (np.array(1), slice(None))))
@example(((2, 3), (np.ones((2, 3), bool),)))
@example(((2, 3), ([],)))
def test_indexing_is_numpys(case: Any) -> None:
    shape, index = case
    try:
        want = np.zeros(shape, np.float32)[index]
    except IndexError:
        with pytest.raises(IndexError):
            shape_space.getitem(ShapeArray(shape, "f4"), index)
        return
    x = ShapeArray(shape, "f4")
    assert shape_space.getitem(x, index).shape == want.shape
    assert shape_space.scatter_at(ShapeArray(want.shape, "f4"), index, shape).shape == shape
    stand = tuple(as_spec(p) if getattr(p, "dtype", None) == np.int64 else p for p in index)
    assert shape_space.getitem(x, stand).shape == want.shape


@settings(max_examples=5 * settings.default.max_examples)
@given(arrays_of.array_shapes(min_side=0, max_dims=4), st.data())
def test_basic_indexing_is_numpys_and_a_view(shape: Any, data: Any) -> None:
    index = data.draw(arrays_of.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    x = ShapeArray(shape, "f4")
    y = x[index]
    assert y.shape == np.zeros(shape)[index].shape and y.base is x


BAD: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [  # calls that NumPy refuses, on arrays of these shapes
    ("add", ((2, 3), (4,)), {}), ("where", ((2,), (3,), (2,)), {}), ("matmul", ((2, 3), (4, 2)), {}),
    ("matmul", ((), (3,)), {}), ("matmul", ((2, 2, 3), (3, 3, 2)), {}), ("reshape", ((2, 3),), {"shape": (4, 2)}),
    ("reshape", ((2, 3),), {"shape": (-1, -1)}), ("reshape", ((2, 3),), {"shape": (4, -1)}),
    ("sum", ((2, 3),), {"axis": 2}), ("reshape", ((0,),), {"shape": (0, -1)}),
    ("reshape", ((4,),), {"shape": (-2, -2)}), ("sum", ((2, 3),), {"axis": (0, 0)}), ("max", ((0, 3),), {"axis": 0}),
    ("argmax", ((0,),), {}), ("squeeze", ((2, 3),), {"axis": 0}), ("expand_dims", ((2,),), {"axis": 5}),
    ("permute_dims", ((2, 3),), {"axes": (0, 0)}), ("broadcast_to", ((2, 3),), {"shape": (2, 4)}),
    ("flip", ((2,),), {"axis": 3}), ("split", ((5,),), {"sections": 2}),
    ("concat", ([(2, 3), (2, 4)],), {"axis": 0}), ("concat", ([(2, 3), (3,)],), {}), ("concat", ([(), ()],), {}),
    ("stack", ([(2, 3), (3, 2)],), {}), ("stack", ([(2,), (2,)],), {"axis": 3}),
    ("pad", ((2, 3),), {"pad_width": ((1, 1),) * 3}), ("getitem", ((2, 3),), {"index": (0, 0, 0)}),
    ("getitem", ((2, 3),), {"index": 2}), ("getitem", ((2, 3),), {"index": np.array([0, 2])}),
    ("getitem", ((2, 3),), {"index": (np.array([0, 1]), np.array([0, 1, 2]))}),
    ("getitem", ((2, 3),), {"index": np.array([0.5])}), ("getitem", ((2, 3),), {"index": np.ones(3, bool)}),
    ("einsum", ([(2, 3), (4, 2)],), {"equation": "ij,jk->ik"}), ("einsum", ([(2, 3)],), {"equation": "i->i"}),
    ("einsum", ([(2, 3)],), {"equation": "ij->ik"}), ("einsum", ([(2, 3)],), {"equation": "ij,jk->ik"}),
    ("take_along_axis", ((2, 3), (2,)), {"axis": 0}), ("cross_entropy", ((2, 3), (3,)), {}),
    ("linear", ((2, 3), (4, 2)), {}),
]  # fmt: skip


@pytest.mark.parametrize("name, given_shapes, options", BAD, ids=lambda v: str(v)[:40])
def test_mismatches_are_errors_of_the_same_kind_and_name_the_operation(
    name: str, given_shapes: Any, options: Any
) -> None:
    messages = []
    for device in ("cpu", "shapes"):

        def lift(i: int, shape: Any, device: str = device) -> Any:
            if isinstance(shape, list):
                return [lift(i, s) for s in shape]
            integers = registry[name].arguments[i] in ("indices", "target")
            return tg.Tensor(np.zeros(shape, int if integers else np.float32), device=device)

        with pytest.raises(errors.Error) as caught:
            registry[name](*[lift(i, s) for i, s in enumerate(given_shapes)], **options)
        messages.append((type(caught.value), str(caught.value)))
    assert messages[0][0] is messages[1][0] and messages[1][1].startswith(name)


def test_out_of_bounds_numbers_are_seen_where_the_index_is_real() -> None:
    x = shapes.spec((2, 3))
    with pytest.raises(errors.IndexingError, match="index -4 is out of bounds for axis 1 with size 3"):
        x[:, np.array([0, -4])]
    with pytest.raises(errors.IndexingError, match="how many entries a mask picks depends on its values"):
        x[x > 0]
    assert x[np.array([True, False])].shape == (1, 3)


def test_there_are_no_values() -> None:
    x = shapes.spec((2, 3), requires_grad=True)
    assert repr(x) == "Tensor((2, 3), dtype=float32, device='shapes', requires_grad=True)"
    assert repr((x * 2).sum()) == "Tensor((), dtype=float32, device='shapes', op=sum)"
    for ask in (
        lambda: float(x.sum()),
        lambda: x.numpy(),
        lambda: x.sum().item(),
        lambda: bool(x.sum()),
        lambda: x.tolist(),
        lambda: x.to("cpu"),
        lambda: np.asarray(x.data),
        lambda: int(x.sum().data),
    ):
        with pytest.raises(errors.DeviceError, match=r"device 'shapes' knows shapes and dtypes, not values"):
            ask()


@pytest.fixture
def declare():
    """Declares operations for one test."""
    before = set(registry)
    yield
    for name in set(registry) - before:
        del registry[name]


def test_a_rule_that_asks_for_values_is_named(declare: None) -> None:
    @elementwise
    def halve_if_positive(xp: Any, x: Any) -> Any:
        """y = x/2 if all are positive"""
        return x / 2 if (x > 0).all() else x

    @elementwise
    def fussy(xp: Any, x: Any) -> Any:
        """y = x"""
        return xp.positive(x)

    fussy.slopes(x=lambda x: 1 if x > 0 else 0)
    with pytest.raises((errors.DeviceError, AttributeError)):
        halve_if_positive(shapes.spec((2,)))
    x = shapes.spec((2,), requires_grad=True)
    with pytest.raises(errors.DeviceError, match=r"^fussy: device 'shapes' knows shapes"):
        fussy(x).sum().backward()
    with pytest.raises(
        errors.OptionError, match=r"formula of fussy: its slope for 'x' asks for the value of x > 0, .* xp.where"
    ):
        formula("fussy")


@pytest.mark.parametrize("kind", ["forward", "adjoint", "tangent"])
def test_a_rule_that_branches_on_values_is_named(kind: str, declare: None) -> None:
    def branching(value: Any) -> Any:
        return -value if value < 1 else value

    def careless(xp, x):
        """y = x"""
        return branching(x) if kind == "forward" else xp.positive(x)

    op = general(careless)
    op.adjoints(x=(lambda g: branching(g)) if kind == "adjoint" else lambda g: g)
    op.tangents(x=(lambda t: branching(t)) if kind == "tangent" else lambda t: t)
    said = {
        "forward": "forward function asks for the value of x < 1",
        "adjoint": "adjoint for 'x' asks for the value of ȳ < 1",
        "tangent": "tangent for 'x' asks for the value of ẋ < 1",
    }[kind]
    with pytest.raises(errors.OptionError, match=f"formula of careless: its {said}"):
        formula(op)


def test_mixing_with_real_tensors_names_both_devices() -> None:
    x, w = shapes.spec((2, 3)), tg.Tensor(np.ones((3, 2), np.float32))
    for f in (
        lambda: x @ w,
        lambda: w @ x,
        lambda: x + w.T,
        lambda: w.T * x,
        lambda: tg.concat([x, w.T]),
        lambda: tg.where(x > 0, x, w.T),
    ):
        with pytest.raises(errors.DeviceError, match="arguments are on cpu and shapes"):
            f()
    assert (2 * x + np.float32(1) - [1.0, 2.0, 3.0]).shape == (2, 3)


# Cost


def test_operations_by_closed_form() -> None:
    spec = shapes.spec
    assert shapes.cost(lambda a, b: a @ b, spec((5, 7)), spec((7, 3))).flops == 2 * 5 * 7 * 3
    assert shapes.cost(lambda a, b: a @ b, spec((4, 5, 7)), spec((7, 3))).flops == 4 * 2 * 5 * 7 * 3
    assert shapes.cost(lambda a, b: a @ b, spec((7,)), spec((7,))).flops == 2 * 7
    assert shapes.cost(tg.exp, spec((5, 7))).flops == 35
    assert shapes.cost(lambda x: x.sum(axis=0), spec((5, 7))).flops == 35
    assert shapes.cost(lambda x: x.reshape(7, 5).T.copy_ and x.reshape(7, 5), spec((5, 7))).flops == 0
    assert shapes.cost(lambda a, b: tg.einsum("ij,jk->ik", a, b), spec((5, 7)), spec((7, 3))).flops == 2 * 5 * 7 * 3
    assert shapes.cost(lambda a, b: tg.einsum("i,j->ij", a, b), spec((5,)), spec((3,))).flops == 15
    assert shapes.cost(lambda a: tg.einsum("ij->ji", a), spec((5, 3))).flops == 0
    assert shapes.cost(lambda a: tg.einsum("ij->i", a), spec((5, 3))).flops == 15
    assert shapes.cost(lambda a: tg.softmax(a, axis=-1), spec((5, 3))).flops == 5 * 15  # max, −, exp, Σ, /


def test_rows_and_bytes() -> None:
    def f(x: Any, w: Any, b: Any) -> Any:
        h = tg.tanh(x @ w + b)
        return tg.tanh(tg.tanh(h)), h.argmax(axis=1)

    arrays = [np.ones((4, 3), np.float32), np.ones((3, 5), np.float32), np.ones(5, np.float32)]
    found = shapes.cost(f, *arrays)
    assert [(r.operation, r.shape, r.dtype, r.flops, r.bytes) for r in found.rows] == [
        ("matmul", (4, 5), "float32", 120, 80),
        ("add", (4, 5), "float32", 20, 80),
        ("tanh", (4, 5), "float32", 20, 80),
        ("tanh", (4, 5), "float32", 20, 80),
        ("tanh", (4, 5), "float32", 20, 80),
        ("argmax", (4,), "int64", 20, 32),
    ]
    real = f(*map(tg.Tensor, arrays))
    assert found.shapes == tuple(t.shape for t in real) and found.dtypes == tuple(str(t.dtype) for t in real)
    assert found.flops == sum(r.flops for r in found.rows) and found.bytes == sum(r.bytes for r in found.rows)
    assert found.rows[-1].bytes == real[1].data.nbytes and found.backward_flops == 0
    lines = str(found).splitlines()
    assert lines[1].split("  ")[0] == "matmul" and lines[1].split()[-2:] == ["120", "80"] and "at most 2" in lines[-1]
    assert lines[-2].split()[-2:] == ["220", "432"]


def test_rows_of_several_results_of_numbers_and_of_mixed_dtypes() -> None:
    rows = shapes.cost(lambda x: tg.split(x, 2, axis=1), shapes.spec((3, 4))).rows
    assert [(r.operation, r.shape, r.bytes) for r in rows] == [("split", ((3, 2), (3, 2)), 48)]
    rows = shapes.cost(lambda x, y: 2 * x + y, shapes.spec((3,)), shapes.spec((3,), "float64")).rows
    assert [(r.operation, r.dtype) for r in rows] == [
        ("multiply", "float32"),
        ("astype", "float64"),
        ("add", "float64"),
    ]


def test_backward_of_a_product_is_two_products() -> None:
    n, k, m = 32, 20, 7
    x, w = shapes.spec((n, k), requires_grad=True), shapes.spec((k, m), requires_grad=True)
    found = shapes.cost(lambda a, b: a @ b, x, w, backward=True)
    assert found.flops == 2 * n * k * m and found.backward_flops == 4 * n * k * m
    assert [(r.operation, r.shape, r.backward) for r in found.rows] == [
        ("matmul", (n, m), False),
        ("matmul", ((n, k), (k, m)), True),
    ]
    assert found.rows[1].bytes == 4 * (n * k + k * m) and x.grad is None
    assert shapes.cost(lambda a, b: a @ b, x.detach(), w, backward=True).backward_flops == 2 * n * k * m
    with pytest.raises(errors.GraphError, match="requires_grad=True"):
        shapes.cost(tg.exp, shapes.spec((2,)), backward=True)


def test_a_net_of_modules() -> None:
    sizes = [784, 128, 64, 10]
    layers: list[Any] = []
    for n, m in itertools.pairwise(sizes):
        layers += [nn.Linear(n, m), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    before = [(p.data, p.data.copy()) for p in net.parameters()]
    x, t = np.ones((32, 784), np.float32), np.zeros(32, int)
    found = shapes.cost(net, x)
    products = sum(2 * 32 * n * m for n, m in itertools.pairwise(sizes))
    extra = 32 * (128 + 64 + 10) + 32 * (128 + 64)  # biases, relus
    assert found.flops == products + extra and found.shapes == ((32, 10),)
    stand = shapes.like(net)
    loss = shapes.cost(lambda x, t: tg.cross_entropy(stand(x), t).mean(), x, t, backward=True)
    assert loss.shapes == ((),) and loss.flops > found.flops
    assert 2 * products - 2 * 32 * 784 * 128 < loss.backward_flops < 2 * products  # none for x
    assert sum(r.flops for r in loss.rows if r.backward) == loss.backward_flops
    assert {r.operation for r in loss.rows if r.backward} == {"linear", "relu", "cross_entropy", "mean"}
    with pytest.raises(errors.DeviceError, match="arguments are on cpu and shapes"):
        shapes.cost(lambda x: net(x), x)
    for p, (array, values) in zip(net.parameters(), before, strict=True):
        assert p.data is array and np.array_equal(array, values) and p.grad is None and p.device == "cpu"
    assert {p.device for p in stand.parameters()} == {"shapes"} and type(next(stand.parameters())) is nn.Parameter


MODULES: dict[str, tuple[Callable[[], Any], tuple[int, ...], Any]] = {
    "lstm": (lambda: nn.LSTM(1, 6), (4, 8, 1), ((4, 8, 6), (1, 8, 6), (1, 8, 6))),
    "rnn": (lambda: nn.RNN(1, 6), (4, 8, 1), ((4, 8, 6), (1, 8, 6))),
    "highway": (lambda: nn.Highway(6), (4, 6), (4, 6)),
    "dense": (lambda: nn.DenseBlock(6, 4, 3), (4, 6), (4, 18)),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)),
        (4, 6),
        (4, 2),
    ),
    "residual": (lambda: nn.Residual(nn.Sequential(nn.Linear(6, 6), nn.Sigmoid())), (4, 6), (4, 6)),
    "dropout": (lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 2)), (4, 6), (4, 2)),
    "softmax": (lambda: nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(dim=-1)), (2, 4, 6), (2, 4, 3)),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_run_on_shapes(name: str) -> None:
    make, shape, result = MODULES[name]
    found = shapes.cost(make(), shapes.spec(shape), backward=True)
    assert found.shapes == (result if isinstance(result[0], tuple) else (result,)) and found.backward_flops > 0
    moved = make().to("shapes")
    first, *_ = as_list(moved(shapes.spec(shape)))
    first.sum().backward()
    assert {p.grad.shape == p.shape and p.grad.device for p in moved.parameters()} == {"shapes"}


def test_forward_mode_and_second_derivatives_run_on_shapes() -> None:
    x = shapes.spec((3, 2), requires_grad=True)
    y = (tg.tanh(x) ** 3).sum()
    y.backward(create_graph=True)
    (x.grad * x.grad).sum().backward()
    assert x.grad.shape == (3, 2) and x.grad.device == "shapes"


def test_nothing_is_computed() -> None:
    n = 10**6
    tracemalloc.start()
    found = shapes.cost(
        lambda a, b: tg.softmax(a @ b, axis=-1).sum(),
        shapes.spec((n, n), requires_grad=True),
        shapes.spec((n, n)),
        backward=True,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.flops > 2 * n**3 and peak < 2**20


def test_peak_memory_is_numpys() -> None:
    width, depth, batch = 64, 8, 1024
    net = nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(width, width), nn.Tanh())])
    x = np.random.default_rng(0).normal(size=(batch, width)).astype(np.float32)
    t = tg.Tensor(x)

    def forward() -> Any:
        with tg.no_grad():
            return net(t)

    for f, measured in ((lambda m, v: m(v).sum(), lambda: net(t).sum().backward()), (None, forward)):
        measured()
        net.zero_grad()
        tracemalloc.start()
        kept = measured()
        real = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        del kept
        stand = shapes.like(net)
        if f is not None:
            said = shapes.cost(lambda v, stand=stand: stand(v).sum(), x, backward=True).peak_bytes
        else:
            with tg.no_grad():
                said = shapes.cost(stand, x).peak_bytes
        assert abs(said - real) / real < 0.1, (said, real)


def test_counting_ends_with_the_call_and_is_a_threads_own() -> None:
    before = sys.getprofile()
    with pytest.raises(ZeroDivisionError):
        shapes.cost(lambda x: 1 // 0, shapes.spec((2,)))
    assert sys.getprofile() is before

    def with_another(x: Any) -> Any:
        other = threading.Thread(target=lambda: [tg.exp(shapes.spec((1000,))) for _ in range(10)])
        other.start()
        other.join()
        return tg.exp(x)

    assert shapes.cost(with_another, shapes.spec((2,))).flops == 2
    assert shapes.cost(lambda x: shapes.cost(tg.exp, x).flops and tg.tanh(x), shapes.spec((3,))).flops == 3


def test_like() -> None:
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    found = shapes.like([x, np.ones((2, 2)), {"a": 1}, 3])
    assert isinstance(found, list) and found[0].requires_grad and found[0].device == "shapes"
    assert found[1].shape == (2, 2) and found[1].dtype == np.float64 and found[2:] == [{"a": 1}, 3]


def test_creation_on_the_device() -> None:
    for f, shape in (
        (lambda: tg.zeros((2, 3), device="shapes"), (2, 3)),
        (lambda: tg.ones(3, device="shapes"), (3,)),
        (lambda: tg.full((2,), 0.5, device="shapes"), (2,)),
        (lambda: tg.eye(3, device="shapes"), (3, 3)),
        (lambda: tg.arange(1, 8, 3, device="shapes"), (3,)),
        (lambda: tg.linspace(0, 1, 5, device="shapes"), (5,)),
        (lambda: tg.Tensor([[1.0], [2.0]], device="shapes"), (2, 1)),
        (lambda: tg.empty((0, 2), device="shapes"), (0, 2)),
    ):
        assert f().shape == shape and f().device == "shapes"
    assert tg.arange(3, device="shapes").dtype == np.int64 and tg.zeros_like(shapes.spec((2,), "int8")).dtype == np.int8


# Formulas

GOLDEN = {
    "tanh": ["y = tanh(x)", "∂y/∂x = 1 − y²"],
    "sigmoid": ["y = σ(x)", "∂y/∂x = y − y²"],
    "relu": ["y = max(x, 0)", "∂y/∂x = [y > 0]"],
    "square": ["y = x²", "∂y/∂x = 2 x"],
    "sqrt": ["y = √x", "x̄ = ȳ / (2 y)"],
    "divide": ["y = a / b", "ā = ȳ / b", "b̄ = −ȳ a / b²"],
    "leaky_relu": ["y = x where x > 0, else 0.01 x", "∂y/∂x = 1 where x > 0, else 0.01"],
    "matmul": ["y = a b", "ā = ȳ bᵀ", "b̄ = aᵀ ȳ"],
    "linear": ["y = x Wᵀ + b", "x̄ = ȳ W", "W̄ = ȳᵀ x", "b̄ = Σ₀ ȳ"],
    "softmax": ["y = u / (Σ₋₁ u),  u = exp(x − max₋₁(x))", "x̄ = y (ȳ − Σ₋₁ ȳ y)"],
    "mean": ["y = mean(x)", "x̄ = broadcast_to(ȳ / (n m), (n, m))"],
    "erf": ["y = erf(x)", "∂y/∂x = (2/√π) exp(−x²)"],
    "split": ["y₁, y₂, y₃ = split(x, 3, 1)", "x̄ = concat([ȳ₁, ȳ₂, ȳ₃], axis = 1)"],
}
LATEX = {
    "tanh": [r"y = \tanh(x)", r"\frac{\partial y}{\partial x} = 1 - y^{2}"],
    "matmul": ["y = a b", r"\bar a = \bar y b^\top", r"\bar b = a^\top \bar y"],
    "divide": [r"y = \frac{a}{b}", r"\bar a = \frac{\bar y}{b}", r"\bar b = -\frac{\bar y a}{b^{2}}"],
    "maximum": [
        r"y = \max(a, b)",
        r"\frac{\partial y}{\partial a} = \begin{cases} 0.5 & a = b \\ [a > b] & \mathrm{otherwise} \end{cases}",
        r"\frac{\partial y}{\partial b} = \begin{cases} 0.5 & a = b \\ [b > a] & \mathrm{otherwise} \end{cases}",
    ],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_formulas_read_as_in_a_table(name: str) -> None:
    assert formula(name).lines() == [unicodedata.normalize("NFC", line) for line in GOLDEN[name]]


@pytest.mark.parametrize("name", LATEX)
def test_latex(name: str) -> None:
    found = formula(name, style="latex")
    assert found.lines() == LATEX[name]
    assert found._repr_latex_().count("&=") == len(LATEX[name]) and formula(name)._repr_latex_() is None


def test_notes_tangents_and_kinks() -> None:
    found = formula("log")
    assert str(found) == "y = ln(x)\nx̄ = ȳ / x\n0/0 counts as 0" and found.tangents == {"x": "ẏ = ẋ / x"}
    assert "at the kink: 0 at 0" in str(formula("relu")) and formula("tanh").tangents == {"x": "ẏ = (1 − y²) ẋ"}
    assert formula("matmul").tangents == {"a": "ẏ = ȧ b", "b": "ẏ = a ḃ"}


@pytest.mark.parametrize("name", registry)
def test_every_operation_has_text_and_latex(name: str) -> None:
    from matplotlib.mathtext import MathTextParser

    op = registry[name]
    try:
        formula(op)
        sample = Case((), {})
    except errors.OptionError:  # as it may be for operations with options that have no default
        sample = DOMAINS[name].case(Draw(Random(0), 0))
    for style in ("text", "latex"):
        found = formula(op, *sample.arguments, style=style, **sample.options)
        assert set(found.derivatives) == set(found.tangents) == set(op.differentiable)
        for line in [*found.lines(), *found.tangents.values()]:
            assert re.fullmatch(r"\S.* = \S.*", line) and "…)" not in line and "Symbol" not in line, line
            if style == "latex":
                assert (
                    line.isascii()
                    and line.count("{") == line.count("}")
                    and line.count(r"\left") == line.count(r"\right")
                ), line
                if r"\begin" not in line:
                    for equation in line.split(r",\quad "):
                        MathTextParser("path").parse(f"${equation}$")


def evaluate(x: Any, values: dict[tuple[Any, ...], Any], known: dict[int, Any]) -> Any:
    """The number of a symbol, computed by NumPy from its leaves'."""
    if isinstance(x, (list, tuple)):
        return type(x)(evaluate(v, values, known) for v in x)
    if not isinstance(x, Symbol):
        return int(x) if isinstance(x, int) and not isinstance(x, bool) else x
    if id(x) not in known:
        if x.name == "symbol":
            found = np.broadcast_to(values[x.args], x.shape)
        elif x.name == "number":
            found = np.full(x.shape, x.args[0], x.dtype)
        elif x.name == "part":
            found = evaluate(x.args[0], values, known)[x.args[1]]
        else:
            args = [evaluate(a, values, known) for a in x.args]
            options = {k: evaluate(v, values, known) for k, v in x.options.items()}
            if x.name == "over":
                found = rules.arithmetic.over(numpy_space, *args)
            elif x.name == "transfer":
                found = args[0]
            else:
                found = getattr(numpy_space, x.name)(*args, **options)
            if not isinstance(found, (list, tuple)):
                found = np.broadcast_to(found, x.shape)
        known[id(x)] = found
    return known[id(x)]


@pytest.mark.parametrize("name", DOMAINS)
def test_formulas_compute_what_the_rules_compute(name: str) -> None:
    op = registry[name]
    random = np.random.default_rng(0)

    def like(v: Any) -> Any:
        v = np.asarray(v)
        return (random.normal(size=v.shape) * (1 + 0.5j if v.dtype.kind == "c" else 1)).astype(v.dtype)

    def check(case: Case) -> None:
        options = {o: "cpu" if o in ("source", "target") else v for o, v in case.options.items()}
        symbols = Application(op, case.arguments, options)
        values: dict[tuple[Any, ...], Any] = {}

        def remember(symbol: Any, value: Any) -> Any:
            for s, v in zip(as_list(symbol), as_list(value), strict=True):
                if s is not None:
                    values[s.args] = v
            return value

        for symbol, value in zip(symbols.arguments, case.arguments, strict=True):
            remember(symbol, value)
        y = op.forward(numpy_space, *case.arguments, **options)
        y = remember(symbols.y, tuple(y) if op.several else y)
        known: dict[int, Any] = {}
        keep: list[Any] = [symbols.result]

        def compare(got: Any, want: Any) -> None:
            keep.append(got)  # so that no identity is used twice
            for s, w in zip(as_list(got), as_list(want), strict=True):
                if isinstance(s, Symbol):
                    assert s.shape == np.shape(w), (s, case)
                np.testing.assert_allclose(evaluate(s, values, known), w, rtol=1e-9, atol=1e-12)

        with np.errstate(all="ignore"):
            compare(symbols.result, y)
            g = remember(symbols.mark(r"\bar"), tuple(like(v) for v in y) if op.several else like(y))
            for i, argument in enumerate(op.arguments):
                value = case.arguments[i]
                if argument not in op.differentiable or value is None:
                    continue
                given = {"xp": numpy_space, "g": g, "needed": [True] * len(as_list(value))}
                want = op.pull_argument(argument, given, case.arguments, y, options)
                want = [
                    w if np.shape(w) == v.shape else unbroadcast(numpy_space, np.asarray(w), v.shape)
                    for w, v in zip(as_list(want), as_list(value), strict=True)
                ]
                compare(symbols.pulled(i), want)
                tangent = [like(v) for v in value] if isinstance(value, list) else like(value)
                remember(symbols.marked(i, r"\dot"), tangent)
                tangents = [tangent if k == i else None for k in range(len(op.arguments))]
                compare(symbols.pushed(i), op.push_forward(numpy_space, tangents, case.arguments, y, options))
        for style in ("text", "latex"):
            assert all(formula(op, *case.arguments, style=style, **options).lines())

    each_case(name, check)


# Text is read back, and must mean the same numbers: brackets and signs are where they belong.


class Reader:
    """Evaluates a formula's text: sums, products side by side, fractions, powers, functions, conditions, cases."""

    LETTER = r"[^\W\d_⁰¹²³⁴-⁹₀-₉]"
    TOKENS = re.compile(rf"\s*(\d+(?:\.\d+)?|where|, else|{LETTER}{{2,}}|{LETTER}[\u0304\u0307]?[₀-₉]*|[⁻⁰¹²³⁴-⁹]+|.)")
    FUNCTIONS = {
        "exp": np.exp, "ln": np.log, "log₂": np.log2, "log₁₀": np.log10, "sin": np.sin, "cos": np.cos, "tan": np.tan,
        "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
        "tanh": np.tanh, "arsinh": np.arcsinh, "arcosh": np.arccosh, "artanh": np.arctanh, "σ": numpy_space.sigmoid,
        "erf": numpy_space.erf, "isinf": np.isinf, "abs": np.abs, "angle": np.arctan2, "sign": np.sign,
        "max": np.maximum, "min": np.minimum, "copysign": np.copysign, "clip": np.clip,
        "erfc": numpy_space.erfc, "erfinv": numpy_space.erfinv, "lnΓ": numpy_space.lgamma, "ψ": numpy_space.digamma,
        "ψ₀": numpy_space.digamma, "ψ₁": lambda x: numpy_space.polygamma(x, 1),
        "ψ₂": lambda x: numpy_space.polygamma(x, 2),
        "I₀": numpy_space.i0, "I₁": numpy_space.i1, "I₂": lambda x: numpy_space.iv(x, 2),
    }  # fmt: skip

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def equation(self, line: str) -> Any:
        """The right side; further equations after it define letters."""
        first, *rest = line.split(",  ")
        for definition in reversed(rest):
            letter, text = definition.split(" = ", 1)
            self.values[letter] = self.read(text)
        return self.read(first.split(" = ", 1)[1])

    def read(self, text: str) -> Any:
        text = (
            text.replace("log₂(", "ld(")
            .replace("log₁₀(", "lg(")
            .replace("atan2", "angle")
            .replace("ln 2)", "0.6931471805599453)")
        )
        text = text.replace("ln 10)", "2.302585092994046)").replace("2/√π", "1.1283791670955126")
        text = text.replace("π", "3.141592653589793")
        self.tokens = [t for t in self.TOKENS.findall(text) if t.strip()]
        value = self.cases()
        assert not self.tokens, (text, self.tokens)
        return value

    def next(self, *wanted: str) -> str | None:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in wanted else None

    def need(self, token: str) -> None:
        assert self.next(token), (token, self.tokens)

    def cases(self, inside: str = "") -> Any:
        value = self.condition(inside)
        if self.next("where"):
            holds = self.condition(inside)
            self.need(", else")
            return np.where(holds, value, self.cases(inside))
        return value

    def condition(self, inside: str) -> Any:
        value = self.comparison(inside)
        while self.next("∧"):
            value = value & self.comparison(inside)
        return value

    def comparison(self, inside: str) -> Any:
        value = self.sum(inside)
        compare = {
            "=": np.equal,
            "≠": np.not_equal,
            "<": np.less,
            "≤": np.less_equal,
            ">": np.greater,
            "≥": np.greater_equal,
        }
        symbol = self.next(*compare)
        return compare[symbol](value, self.sum(inside)) if symbol else value

    def sum(self, inside: str) -> Any:
        value = -1 * self.fraction(inside) if self.next("−") else self.fraction(inside)
        while symbol := self.next("+", "−", "mod"):
            if symbol == "mod":
                return np.remainder(value, self.sum(inside))
            term = self.fraction(inside)
            value = value + term if symbol == "+" else value - term
        return value

    def fraction(self, inside: str) -> Any:
        value = self.power(inside)
        while self.tokens and self.tokens[0] not in (*")],/+−=≠<≤>≥∧⌋", "where", ", else", "mod", inside):
            value = value * self.power(inside)
        if not self.next("/"):
            return value
        below = self.power(inside)
        return np.where((value == 0) & (below == 0), 0, value / below)  # as the notes say

    def power(self, inside: str) -> Any:
        value = self.atom(inside)
        if self.next("^"):
            return value ** self.atom(inside)
        if self.tokens and self.tokens[0][0] in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹":
            return value ** float(int(unicodedata.normalize("NFKC", self.tokens.pop(0)).replace("−", "-")))
        return value

    def atom(self, inside: str) -> Any:
        token = self.tokens.pop(0)
        if token in ("(", "["):
            value = self.cases()
            self.need(")" if token == "(" else "]")
            return value * 1
        if token == "√":
            return np.sqrt(self.atom(inside))
        if token == "∞":
            return np.inf
        if token in ("|", "⌊"):
            value = self.cases(inside="|" if token == "|" else "⌋")
            self.need("|" if token == "|" else "⌋")
            return np.abs(value) if token == "|" else np.floor(value)
        if token[0].isdigit():
            return np.float64(token)
        function = {**self.FUNCTIONS, "ld": np.log2, "lg": np.log10}.get(token)
        if function is None:
            return self.values[token]
        self.need("(")
        args = [self.cases()]
        while self.next(","):
            args.append(self.cases())
        self.need(")")
        return function(*args)


READABLE = [
    op.name
    for op in registry.values()
    if (
        op.kind == "elementwise"
        or op.name
        in (
            "divide",
            "reciprocal",
            "sqrt",
            "abs",
            "log",
            "log2",
            "log10",
            "log1p",
            "asin",
            "acos",
            "acosh",
            "atanh",
            "add",
            "subtract",
            "negative",
            "multiply",
            "where",
        )
    )
]


@pytest.mark.parametrize("name", READABLE)
def test_the_text_of_a_formula_means_its_numbers(name: str) -> None:
    op = registry[name]
    random = np.random.default_rng(1)
    low, high = (1.2, 2.0) if name == "acosh" else (0.1, 0.9)
    arguments = [random.uniform(low, high, (2, 3)) for _ in op.arguments]
    if name == "where":
        arguments[0] = random.random((2, 3)) < 0.5
    found = formula(op, *arguments)
    symbols = Application(op, arguments, {})
    y = op.forward(numpy_space, *arguments, **op.options)
    g, t = random.normal(size=(2, 3)), random.normal(size=(2, 3))
    letters = [s.args[0] for s in symbols.arguments]
    values = dict(zip(letters, arguments, strict=True))
    values |= {"y": y, "None": None} | {unicodedata.normalize("NFC", "y\u0304"): g}
    values |= {unicodedata.normalize("NFC", letter + "\u0307"): t for letter in letters}
    np.testing.assert_allclose(Reader(dict(values)).equation(found.forward), y, rtol=1e-9)
    for i, argument in enumerate(op.arguments):
        if argument not in op.differentiable:
            continue
        want = op.pull_argument(argument, {"xp": numpy_space, "g": g}, arguments, y, op.options)
        factor = g if argument in op.slope else 1
        np.testing.assert_allclose(Reader(dict(values)).equation(found.derivatives[argument]) * factor, want, rtol=1e-9)
        tangents = [t if k == i else None for k in range(len(arguments))]
        want = op.push_forward(numpy_space, tangents, arguments, y, op.options)
        np.testing.assert_allclose(Reader(dict(values)).equation(found.tangents[argument]), want, rtol=1e-9)


LETTERS = {"a": np.float64(0.7), "b": np.float64(1.3), "c": np.float64(1.9)}


def leaf(letter: str) -> Any:
    return Symbol("symbol", (letter, None, ""), {}, ShapeArray((), "float64")), LETTERS[letter]


def expressions() -> Any:
    """Pairs of a symbol and its number, grown by the functions that rules use."""
    leaves = st.sampled_from([leaf(letter) for letter in LETTERS])
    numbers = st.sampled_from([0, 1, -1, 2, 0.5, -3.0]).map(lambda v: (v, v))

    def grow(inner: Any) -> Any:
        def both(f: Callable[..., Any], *kinds: Any) -> Any:
            def apply(chosen: Any) -> Any:
                with np.errstate(all="ignore"):
                    return f(formula_space, *(s for s, _ in chosen)), f(numpy_space, *(n for _, n in chosen))

            return st.tuples(*kinds).map(apply)

        any_two = [(inner, inner), (inner, numbers), (numbers, inner)]
        grown = [
            both(lambda xp, p: -p, inner),
            both(lambda xp, p: p * p, inner),
            both(lambda xp, p: p + p, inner),
            both(lambda xp, p: xp.tanh(p), inner),
            both(lambda xp, p: xp.sqrt(xp.abs(p)), inner),
            both(lambda xp, p: xp.pow(p, 3), inner),
            both(lambda xp, p, q: p + xp.astype(q > 1, float), inner, inner),
            both(lambda xp, p: xp.expm1(xp.tanh(p)), inner),
            both(lambda xp, p, q, r: xp.where(p > q, r, p), inner, inner, inner),
            both(lambda xp, p, q: xp.maximum(p, q), inner, inner),
            both(lambda xp, p, q: rules.arithmetic.over(xp, p, q), inner, inner),
            both(lambda xp, p: xp.log1p(p * p), inner),
        ]
        for kinds in any_two:
            grown += [
                both(lambda xp, p, q: p + q, *kinds),
                both(lambda xp, p, q: p - q, *kinds),
                both(lambda xp, p, q: p * q, *kinds),
                both(lambda xp, p, q: p / q, *kinds),
            ]
        return st.one_of(grown)

    return st.recursive(leaves, grow, max_leaves=8)


@settings(max_examples=20 * settings.default.max_examples)
@given(expressions())
def test_any_expression_is_written_so_that_it_reads_back(pair: Any) -> None:
    symbol, want = pair
    assume(np.isfinite(want) and 1e-6 < abs(want) < 1e6)
    with np.errstate(all="ignore"):
        direct = evaluate(symbol, {s.args: v for s, v in map(leaf, LETTERS)}, {})
        assume(np.allclose(direct, want, rtol=1e-9))  # 0·∞ and the like: what simplifying 0·x leaves out
        text, _ = equations([("y", symbol)], latex=False)
        assert np.allclose(Reader(dict(LETTERS)).equation(text), want, rtol=1e-7), text


def test_the_reader_reads() -> None:
    read = lambda text: Reader({"a": 2.0, "b": 3.0}).equation(f"y = {text}")
    assert (
        read("a b² − 2 a / (a b)") == 2 * 9 - 4 / 6
        and read("−a + b") == 1
        and read("2 where a > b, else 1 where a = 2, else 0") == 1
    )
    assert (
        read("|−a| b") == 6
        and read("√(a b − 2)") == 2
        and read("u u,  u = a + v,  v = b") == 25
        and read("a^(−b)") == 0.125
    )


def test_what_looks_alike_along_another_axis_is_not_a_square(declare: None) -> None:
    @general
    def outer_square(xp, x):
        """y = x xᵀ"""
        return xp.expand_dims(x, -1) * xp.expand_dims(x, -2)

    assert formula("outer_square", shapes.spec((3,))).forward == "y = x expand_dims(x, −2)"


def test_elementwise_products_are_marked_beside_matrix_products(declare: None) -> None:
    @general
    def gated(xp, a, b):
        """y = (a b) ⊙ a"""
        return xp.matmul(a, b) * a + 2 * (a * b)

    square = shapes.spec((3, 3))
    assert formula("gated", square, square).forward == "y = (a b) ⊙ a + 2 a ⊙ b"
    assert formula("gated", square, square, style="latex").forward == r"y = (a b) \odot a + 2 a \odot b"


def test_own_operations_with_long_names_lists_and_several_results(declare: None) -> None:
    @general
    def expand_gas(xp, pressure, volume) -> tuple:
        """work and heat"""
        return pressure * volume, xp.log(volume)

    expand_gas.adjoints(
        pressure=lambda xp, g, volume: g[0] * volume,
        volume=lambda xp, g, pressure, volume: g[0] * pressure + g[1] / volume,
    )
    expand_gas.tangents(
        pressure=lambda xp, t, volume: (t * volume, 0 * t),
        volume=lambda xp, t, pressure, volume: (pressure * t, t / volume),
    )
    found = formula(expand_gas)
    assert found.forward == "y₁ = pressure volume,  y₂ = ln(volume)"
    assert found.derivatives["volume"] == "v̅o̅l̅u̅m̅e̅ = ȳ₁ pressure + ȳ₂ / volume"
    assert found.tangents["pressure"] == "ẏ₁ = δpressure volume,  ẏ₂ = 0"
    assert (
        formula(expand_gas, style="latex").derivatives["pressure"]
        == r"\bar \mathrm{pressure} = \bar y_{1} \mathrm{volume}"
    )


def test_an_operation_that_the_usual_sample_does_not_fit_asks_for_one(declare: None) -> None:
    @general
    def trace_of_square(xp, x):
        """y = tr x²"""
        return xp.einsum("ij,ji->", x, x)

    with pytest.raises(
        errors.OptionError, match=r"pass a sample call, formula\('trace_of_square', x\): the usual sample"
    ):
        formula(trace_of_square)
    assert formula(trace_of_square, np.ones((2, 2))).forward == "y = einsum(ij,ji→, x, x)"
    with pytest.raises(ValueError, match="index"):
        formula(trace_of_square, np.ones((2, 3)))


def test_a_sample_decides_the_branch() -> None:
    assert formula("matmul", np.ones(3), np.ones((3, 2))).derivatives == {"a": "ā = ȳ bᵀ", "b": "b̄ = a ȳ"}
    assert formula("linear", tg.ones((2, 3)), tg.ones((4, 3))).derivatives == {"x": "x̄ = ȳ W", "weight": "W̄ = ȳᵀ x"}
    assert formula("sum", shapes.spec((2, 3, 4)), axis=(0, 2)).forward == "y = Σ₀,₂ x"
    assert formula("sum", axis=1).derivatives["x"] == "x̄ = broadcast_to(ȳ, (n, m))"
    assert formula("var", correction=1).forward == "y = (Σ (x − mean(x))²) / (n m − 1)"
    assert formula("add", np.ones((2, 3)), np.ones(3)).derivatives["b"] == "b̄ = Σ₀ ȳ"
    assert (
        formula("getitem", np.ones((4, 3)), index=(np.array([2, 0]), None, ..., slice(0, 2))).forward
        == "y = x[[2 0], None, …, 0:2]"
    )
    assert (
        formula("concat", [np.ones(2), np.ones((1, 2))], axis=None).derivatives["arrays"] == "x̄₁ = ȳ[0:2],  x̄₂ = ȳ[2:4]"
    )


def test_what_cannot_be_written_is_said() -> None:
    with pytest.raises(errors.OptionError, match="no operation is named 'tanhh'"):
        formula("tanhh")
    with pytest.raises(errors.OptionError, match="style 'html' is not known; 'text' and 'latex' are"):
        formula("tanh", style="html")
    with pytest.raises(
        errors.OptionError, match=r"formula of tanh: pass a sample call, formula\('tanh', x\): axis is no option of it"
    ):
        formula("tanh", axis=1)
    with pytest.raises(errors.OptionError, match=r"formula of reshape: .*shape=…\): shape is missing"):
        formula("reshape", np.ones((2, 3)))
    with pytest.raises(errors.OptionError, match=r"formula of tanh: .* it has 1 arguments, not 2"):
        formula("tanh", np.ones(2), np.ones(2))


def test_same() -> None:
    a, _ = leaf("a")
    assert same(a * 2, leaf("a")[0] * 2) and not same(a * 2, a * 3) and not same(a, 2) and same([a, 1], [a, 1])
    assert not same(formula_space.sum(a, axis=None), formula_space.sum(a, axis=()))


@pytest.mark.parametrize("style", ["text", "latex"])
def test_every_operation_is_written_without_being_given_a_sample(style: str) -> None:
    """What the table of calculus in the documentation is made of."""
    for name, op in registry.items():
        made = formula(op, style=style)
        assert set(made.derivatives) == set(op.differentiable) - {
            a for a in op.optional if a not in made.derivatives
        }, name
        assert all(" = " in line for line in made.lines()), name
