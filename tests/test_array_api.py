"""The library as an array namespace: what the array API standard 2024.12 says of names, dtypes, values and errors.

docs/array_api.md lists what the library does otherwise, and why.
"""

from __future__ import annotations

import inspect
import math
import operator
import os
import subprocess
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.array_api import make_strategies_namespace
from support import Make, holds, maker, shared

import tinygrad_mlsp as tg
from tinygrad_mlsp import errors
from tinygrad_mlsp.errors import AxisError, DTypeError, IndexingError, OptionError, ShapeError

inf, nan = math.inf, math.nan
BOOL, SIGNED, UNSIGNED = ["bool"], ["int8", "int16", "int32", "int64"], ["uint8", "uint16", "uint32", "uint64"]
INTEGERS, FLOATS, COMPLEX = SIGNED + UNSIGNED, ["float32", "float64"], ["complex64", "complex128"]
REAL, INEXACT = INTEGERS + FLOATS, FLOATS + COMPLEX
NUMERIC, ALL = REAL + COMPLEX, BOOL + REAL + COMPLEX

xps = make_strategies_namespace(tg, api_version="2024.12")


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


def sample(dtype: str, shape: tuple[int, ...] = (3,), low: int = 0) -> np.ndarray[Any, Any]:
    """Small numbers that every dtype holds; of truths both."""
    values = np.arange(low, low + math.prod(shape)) % 5 + 1
    return (values % 2 if dtype == "bool" else values).reshape(shape).astype(dtype)


# Names and signatures

words = str.split
NAMESPACE = """
    arange(start, /, stop=None, step=1, *, dtype=None, device=None)
    asarray(obj, /, *, dtype=None, device=None, copy=None)
    empty(shape, *, dtype=None, device=None)                 empty_like(x, /, *, dtype=None, device=None)
    eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None)
    from_dlpack(x, /, *, device=None, copy=None)
    full(shape, fill_value, *, dtype=None, device=None)      full_like(x, /, fill_value, *, dtype=None, device=None)
    linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True)
    meshgrid(*arrays, indexing='xy')
    ones(shape, *, dtype=None, device=None)                  ones_like(x, /, *, dtype=None, device=None)
    tril(x, /, *, k=0)                                       triu(x, /, *, k=0)
    zeros(shape, *, dtype=None, device=None)                 zeros_like(x, /, *, dtype=None, device=None)
    astype(x, dtype, /, *, copy=True, device=None)           can_cast(from_, to, /)
    finfo(type, /)      iinfo(type, /)      isdtype(dtype, kind)      result_type(*arrays_and_dtypes)
    take(x, indices, /, *, axis=None)                        take_along_axis(x, indices, /, *, axis=-1)
    matmul(x1, x2, /)   matrix_transpose(x, /)   tensordot(x1, x2, /, *, axes=2)   vecdot(x1, x2, /, *, axis=-1)
    broadcast_arrays(*arrays)         broadcast_to(x, /, shape)           concat(arrays, /, *, axis=0)
    expand_dims(x, /, *, axis=0)      flip(x, /, *, axis=None)            moveaxis(x, source, destination, /)
    permute_dims(x, /, axes)          repeat(x, repeats, /, *, axis=None)
    reshape(x, /, shape, *, copy=None)         roll(x, /, shift, *, axis=None)      squeeze(x, /, axis)
    stack(arrays, /, *, axis=0)       tile(x, repetitions, /)             unstack(x, /, *, axis=0)
    argmax(x, /, *, axis=None, keepdims=False)               argmin(x, /, *, axis=None, keepdims=False)
    count_nonzero(x, /, *, axis=None, keepdims=False)        nonzero(x, /)
    searchsorted(x1, x2, /, *, side='left', sorter=None)     where(condition, x1, x2, /)
    unique_all(x, /)    unique_counts(x, /)    unique_inverse(x, /)    unique_values(x, /)
    argsort(x, /, *, axis=-1, descending=False, stable=True) sort(x, /, *, axis=-1, descending=False, stable=True)
    cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)
    cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False)
    max(x, /, *, axis=None, keepdims=False)                  min(x, /, *, axis=None, keepdims=False)
    mean(x, /, *, axis=None, keepdims=False)
    prod(x, /, *, axis=None, dtype=None, keepdims=False)     sum(x, /, *, axis=None, dtype=None, keepdims=False)
    std(x, /, *, axis=None, correction=0.0, keepdims=False)  var(x, /, *, axis=None, correction=0.0, keepdims=False)
    all(x, /, *, axis=None, keepdims=False)                  any(x, /, *, axis=None, keepdims=False)
    diff(x, /, *, axis=-1, n=1, prepend=None, append=None)   clip(x, /, min=None, max=None)
    __array_namespace_info__()
"""
UNARY = words("""
    abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan
    log log1p log2 log10 logical_not negative positive real reciprocal round sign signbit sin sinh square sqrt
    tan tanh trunc
""")
BINARY = words("""
    add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide equal
    floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor maximum
    minimum multiply nextafter not_equal pow remainder subtract
""")
LINALG = """
    cholesky(x, /, *, upper=False)    cross(x1, x2, /, *, axis=-1)    det(x, /)    diagonal(x, /, *, offset=0)
    eigh(x, /)    eigvalsh(x, /)      inv(x, /)     matmul(x1, x2, /)
    matrix_norm(x, /, *, keepdims=False, ord='fro')    matrix_power(x, n, /)    matrix_rank(x, /, *, rtol=None)
    matrix_transpose(x, /)            outer(x1, x2, /)                pinv(x, /, *, rtol=None)
    qr(x, /, *, mode='reduced')       slogdet(x, /)                   solve(x1, x2, /)
    svd(x, /, *, full_matrices=True)  svdvals(x, /)                   tensordot(x1, x2, /, *, axes=2)
    trace(x, /, *, offset=0, dtype=None)               vecdot(x1, x2, /, *, axis=-1)
    vector_norm(x, /, *, axis=None, keepdims=False, ord=2)
"""
FFT = """
    fft(x, /, *, n=None, axis=-1, norm='backward')      ifft(x, /, *, n=None, axis=-1, norm='backward')
    fftn(x, /, *, s=None, axes=None, norm='backward')   ifftn(x, /, *, s=None, axes=None, norm='backward')
    rfft(x, /, *, n=None, axis=-1, norm='backward')     irfft(x, /, *, n=None, axis=-1, norm='backward')
    rfftn(x, /, *, s=None, axes=None, norm='backward')  irfftn(x, /, *, s=None, axes=None, norm='backward')
    hfft(x, /, *, n=None, axis=-1, norm='backward')     ihfft(x, /, *, n=None, axis=-1, norm='backward')
    fftfreq(n, /, *, d=1.0, dtype=None, device=None)    rfftfreq(n, /, *, d=1.0, dtype=None, device=None)
    fftshift(x, /, *, axes=None)                        ifftshift(x, /, *, axes=None)
"""


def signatures(table: str) -> dict[str, inspect.Signature]:
    scope: dict[str, Any] = {}
    for declared in table.replace(")", ")\n").split("\n"):
        if declared.strip():
            exec(f"def {declared.strip()}: pass", scope)
    return {name: inspect.signature(f) for name, f in scope.items() if inspect.isfunction(f)}


STANDARD = {
    **{("", name): s for name, s in signatures(NAMESPACE).items()},
    **{("", name): inspect.signature(lambda x, /: None) for name in UNARY},
    **{("", name): inspect.signature(lambda x1, x2, /: None) for name in BINARY},
    **{("linalg", name): s for name, s in signatures(LINALG).items()},
    **{("fft", name): s for name, s in signatures(FFT).items()},
}


def takes(function: Any, wanted: inspect.Signature) -> None:
    """Every call that the standard's signature allows is one that the function takes, with the same meaning."""
    found = inspect.signature(function)
    ours = list(found.parameters.values())
    for place, p in enumerate(wanted.parameters.values()):
        if p.kind is p.KEYWORD_ONLY:
            assert p.name in found.parameters, f"{p.name} is missing in {found}"
            mine = found.parameters[p.name]
            assert mine.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        else:
            mine = ours[place]
            assert p.kind is p.POSITIONAL_ONLY or (mine.name, mine.kind) == (p.name, p.kind), found
            assert mine.kind in (p.kind, p.POSITIONAL_OR_KEYWORD), found
        assert p.default is p.empty or mine.default == p.default, f"{mine} against {p}"
    for mine in ours[len(wanted.parameters) :]:
        optional = mine.default is not mine.empty or mine.kind in (mine.VAR_KEYWORD, mine.VAR_POSITIONAL)
        assert optional or mine.name in wanted.parameters, f"{mine} is wanted besides"


@pytest.mark.parametrize("where, name", STANDARD, ids=[".".join(filter(None, key)) for key in STANDARD])
def test_every_function_of_the_standard_is_there_with_its_signature(where: str, name: str) -> None:
    takes(getattr(getattr(tg, where) if where else tg, name), STANDARD[where, name])


METHODS = words("""
    __abs__ __bool__ __complex__ __float__ __index__ __int__ __invert__ __neg__ __pos__ __getitem__ __setitem__
    __array_namespace__ __dlpack__ __dlpack_device__ to_device
    __add__ __sub__ __mul__ __truediv__ __floordiv__ __mod__ __pow__ __matmul__ __and__ __or__ __xor__ __lshift__
    __rshift__ __radd__ __rsub__ __rmul__ __rtruediv__ __rfloordiv__ __rmod__ __rpow__ __rmatmul__ __rand__ __ror__
    __rxor__ __rlshift__ __rrshift__ __lt__ __le__ __gt__ __ge__ __eq__ __ne__
""")


def test_the_array_object(make: Make, device: str) -> None:
    x = make([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert [n for n in METHODS if not callable(getattr(x, n, None))] == []
    assert (x.shape, x.ndim, x.size, x.dtype) == ((3, 2), 2, 6, tg.float32)
    holds(x.T, x.numpy().T)
    holds(x.mT, x.numpy().T)
    assert x.to_device(x.device) is x and x.to_device("cpu").device == "cpu"
    assert x.device in tg.__array_namespace_info__().devices()
    takes(x.__array_namespace__, inspect.signature(lambda *, api_version=None: None))
    takes(x.to_device, inspect.signature(lambda device, /, *, stream=None: None))
    given = inspect.signature(lambda *, stream=None, max_version=None, dl_device=None, copy=None: None)
    takes(x.__dlpack__, given)
    with pytest.raises(errors.DeviceError, match="stream"):
        x.to_device("cpu", stream=1)


def test_the_namespace_says_which_it_is(make: Make) -> None:
    x = make([1.0])
    for version in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        assert x.__array_namespace__(api_version=version) is tg
    with pytest.raises(OptionError, match=r"2024\.12"):
        x.__array_namespace__(api_version="1999.01")
    assert tg.__array_api_version__ == "2024.12"
    for name in ("__array_api_version__", "__array_namespace_info__", "isdtype", "sum", "bool"):
        assert hasattr(tg.namespace, name)


# Dtypes


def meet(a: str, b: str) -> str | None:
    """The standard's promotion table; None where it says nothing."""
    bits = lambda d: int("".join(filter(str.isdigit, d)))
    if a == b:
        return a
    for kind in (SIGNED, UNSIGNED):
        if a in kind and b in kind:
            return max(a, b, key=bits)
    if {a, b} <= {*INTEGERS}:
        signed, unsigned = (a, b) if a in SIGNED else (b, a)
        wide = max(bits(signed), 2 * bits(unsigned))
        return f"int{wide}" if wide <= 64 else None
    if {a, b} <= {*INEXACT}:
        both = max(bits(d) // (2 if d in COMPLEX else 1) for d in (a, b))
        return f"complex{2 * both}" if {a, b} & {*COMPLEX} else f"float{both}"
    return None


@pytest.mark.parametrize("a", ALL)
def test_dtypes_meet_as_the_table_says(a: str, make: Make) -> None:
    for b in ALL:
        if (expected := meet(a, b)) is not None:
            x, y = make(sample(a)), make(sample(b))
            assert tg.result_type(getattr(tg, a), getattr(tg, b)) == expected
            assert tg.result_type(x, y) == tg.result_type(x, getattr(tg, b)) == expected
            assert tg.can_cast(getattr(tg, a), getattr(tg, b)) is (expected == b)
            assert tg.can_cast(x, getattr(tg, b)) is (expected == b)
            assert tg.where(x == x, x, y).dtype == tg.concat([x, y]).dtype == tg.stack([x, y]).dtype == expected
            if a != "bool":
                assert (x + y).dtype == tg.multiply(x, y).dtype == tg.pow(x, y).dtype == expected


NUMBERS = {"bool": BOOL, "int": INTEGERS, "float": FLOATS, "complex": COMPLEX}
OPERATORS: dict[str, list[str]] = {
    **dict.fromkeys(("add", "sub", "mul", "pow", "iadd", "isub", "imul", "ipow"), NUMERIC),
    **dict.fromkeys(("truediv", "itruediv"), INEXACT),
    **dict.fromkeys(("floordiv", "mod", "ifloordiv", "imod"), REAL),
    **dict.fromkeys(("and_", "or_", "xor", "iand", "ior", "ixor"), BOOL + INTEGERS),
    **dict.fromkeys(("lshift", "rshift", "ilshift", "irshift"), INTEGERS),
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_python_numbers_never_widen(symbol: str, make: Make) -> None:
    """bool, int, float and complex beside an array of at least their kind leave its dtype, on either side."""
    act = getattr(operator, symbol)
    for dtype in OPERATORS[symbol]:
        for value in (True, 2, 2.0, 2j):
            kind = (
                "bool" if dtype == "bool" else "int" if dtype in INTEGERS else "float" if dtype in FLOATS else "complex"
            )
            order = ["bool", "int", "float", "complex"]
            if order.index(type(value).__name__) > order.index(kind):
                continue
            if (dtype == "bool") != isinstance(value, bool):
                continue  # truths beside numbers: the standard does not say
            x = make(sample(dtype))
            assert act(x, value).dtype == dtype, (dtype, value)
            assert tg.result_type(x, value) == tg.result_type(value, getattr(tg, dtype)) == dtype
            if not symbol.startswith("i"):
                assert act(value, x).dtype == dtype


def test_functions_take_python_numbers_too(make: Make) -> None:
    x, n = make([1.5, 2.5]), make([5, 6], dtype="int8")
    for name in (
        "add",
        "atan2",
        "copysign",
        "divide",
        "hypot",
        "logaddexp",
        "maximum",
        "nextafter",
        "pow",
        "remainder",
    ):
        f = getattr(tg, name)
        holds(f(x, 2.0), f(x, make([2.0, 2.0])).numpy(), "float32")
        holds(f(2.0, x), f(make([2.0, 2.0]), x).numpy(), "float32")
    for name in ("bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor"):
        holds(getattr(tg, name)(n, 2), getattr(tg, name)(n, make([2, 2], dtype="int8")).numpy(), "int8")
        holds(getattr(tg, name)(2, n), getattr(tg, name)(make([2, 2], dtype="int8"), n).numpy(), "int8")
    for name in ("equal", "greater", "greater_equal", "less", "less_equal", "not_equal"):
        assert getattr(tg, name)(x, 2).dtype == getattr(tg, name)(2, n).dtype == tg.bool
    holds(tg.where(x > 2, x, 0), [0, 2.5], "float32")
    holds(tg.where(x > 2, 1, n), [5, 1], "int8")
    holds(tg.logical_or(x > 2, True), [True, True], "bool")
    assert tg.result_type(x, np.int8) == tg.float32 and tg.can_cast(np.int8, "int16")
    with pytest.raises(DTypeError, match="300 does not fit a tensor of dtype int8"):
        n + 300


UNARY_DTYPES: dict[str, tuple[list[str], str]] = {  # which arguments, and the dtype of the result
    **dict.fromkeys(("floor", "ceil", "trunc"), (REAL, "same")), **dict.fromkeys(("round", "sign"), (NUMERIC, "same")),
    **dict.fromkeys(("negative", "positive", "square", "conj"), (NUMERIC, "same")), "abs": (NUMERIC, "real"),
    "real": (INEXACT, "real"), "imag": (COMPLEX, "real"), "reciprocal": (INEXACT, "same"), "signbit": (FLOATS, "bool"),
    **dict.fromkeys(("isfinite", "isinf", "isnan"), (NUMERIC, "bool")), "logical_not": (BOOL, "bool"),
    "bitwise_invert": (BOOL + INTEGERS, "same"),
    **dict.fromkeys(
        words("acos acosh asin asinh atan atanh cos cosh exp expm1 log log1p log2 log10 sin sinh sqrt tan tanh"),
        (INEXACT, "same"),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of arguments beyond a function's domain
@pytest.mark.parametrize("name", UNARY_DTYPES)
def test_functions_of_one_array_keep_its_dtype(name: str, make: Make) -> None:
    assert set(UNARY_DTYPES) == set(UNARY)
    arguments, result = UNARY_DTYPES[name]
    for dtype in arguments:
        real = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
        expected = {"same": dtype, "real": real, "bool": "bool"}[result]
        for shape in ((), (2, 3), (0,)):
            y = getattr(tg, name)(make(sample(dtype, shape)))
            assert (y.dtype, y.shape) == (expected, shape)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_of_whole_numbers_and_truths_make_the_default_float(make: Make) -> None:
    """Where the standard says nothing: never float16, which NumPy makes of int8 and truths, and never float64."""
    for dtype in BOOL + INTEGERS:
        x = make(sample(dtype))
        for name in ("sqrt", "exp", "log", "log1p", "sin", "mean", "var", "logsumexp", "reciprocal", "divide"):
            y = tg.divide(x, x) if name == "divide" else getattr(tg, name)(x)
            values = x.numpy().astype("f8")
            assert y.dtype == tg.float32
            if hasattr(np, name) and name != "divide":
                with np.errstate(divide="ignore"):
                    holds(y, getattr(np, name)(values))


def test_what_is_whole_or_true_wants_no_gradient(make: Make) -> None:
    for dtype in BOOL + INTEGERS:
        with pytest.raises(DTypeError, match="floating-point"):
            make(sample(dtype), True)
        assert not tg.astype(make([1.0], True), getattr(tg, dtype)).requires_grad
        assert not tg.sum(make([1.0], True), dtype=getattr(tg, dtype)).requires_grad


def test_kinds_of_dtypes() -> None:
    kinds = {
        "bool": BOOL, "signed integer": SIGNED, "unsigned integer": UNSIGNED, "integral": INTEGERS,
        "real floating": FLOATS, "complex floating": COMPLEX, "numeric": NUMERIC,
    }  # fmt: skip
    for dtype, (kind, members) in product(ALL, kinds.items()):
        assert tg.isdtype(getattr(tg, dtype), kind) is (dtype in members)
        assert tg.isdtype(getattr(tg, dtype), (kind, tg.bool)) is (dtype in members or dtype == "bool")
        for other in ALL:
            assert tg.isdtype(getattr(tg, dtype), getattr(tg, other)) is (dtype == other)
    with pytest.raises(OptionError, match="real floating"):
        tg.isdtype(tg.int8, "integer")


def test_limits_of_dtypes_are_python_numbers(make: Make) -> None:
    for dtype in INEXACT:
        facts, numpys = tg.finfo(getattr(tg, dtype)), np.finfo(dtype)
        assert tg.finfo(make(sample(dtype))) == facts
        assert type(facts.bits) is int and facts.bits == numpys.bits
        assert facts.dtype == {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
        for limit in ("eps", "max", "min", "smallest_normal"):
            assert type(getattr(facts, limit)) is float and getattr(facts, limit) == getattr(numpys, limit)
    for dtype in INTEGERS:
        limits = tg.iinfo(getattr(tg, dtype))
        assert tg.iinfo(make(sample(dtype))) == limits and limits.dtype == dtype
        assert {type(v) for v in (limits.bits, limits.max, limits.min)} == {int}
        assert (limits.max, limits.min) == (np.iinfo(dtype).max, np.iinfo(dtype).min)
    with pytest.raises(DTypeError, match="iinfo"):
        tg.finfo(tg.int8)
    with pytest.raises(DTypeError, match="finfo"):
        tg.iinfo(tg.float32)


def test_what_the_library_says_of_itself(device: str) -> None:
    info = tg.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}
    assert info.default_device() in info.devices() and any(d.startswith(device) for d in info.devices())
    for where in (None, *info.devices()):
        defaults = info.default_dtypes(device=where)
        assert defaults == {
            "real floating": tg.float32, "complex floating": tg.complex64, "integral": tg.int64, "indexing": tg.int64,
        }  # fmt: skip
        assert list(info.dtypes(device=where)) == ALL and all(d == n for n, d in info.dtypes().items())
    assert list(info.dtypes(kind=("bool", "real floating"))) == BOOL + FLOATS
    assert tg.asarray(1.0).dtype == tg.float32 and tg.asarray(1).dtype == tg.int64 and tg.asarray(1j).dtype == "c8"
    assert tg.zeros((64,)).ndim == 1 and tg.zeros((1,) * 64).ndim == 64


@pytest.mark.parametrize("name", ["sum", "prod"])
def test_sums_and_products_widen_small_whole_numbers(name: str, make: Make) -> None:
    reduce = getattr(tg, name)
    for dtype in NUMERIC:
        x = make(sample(dtype, (2, 3)))
        wide = "uint64" if dtype in UNSIGNED else "int64" if dtype in SIGNED else dtype
        for options in ({}, {"axis": 0}, {"axis": (0, 1)}, {"axis": -1, "keepdims": True}):
            holds(reduce(x, **options), getattr(np, name)(x.numpy(), **options), wide)
        for wanted in NUMERIC if dtype not in COMPLEX else COMPLEX:
            y = reduce(x, axis=0, dtype=getattr(tg, wanted))
            holds(y, getattr(np, name)(x.numpy(), axis=0, dtype=wanted), wanted)
    holds(reduce(make(np.zeros((0, 2)))), {"sum": 0, "prod": 1}[name], "float64")
    x = make([1.0, 2.0], True)
    getattr(x, name)(dtype=tg.float64).backward()
    holds(x.grad, {"sum": [1, 1], "prod": [2, 1]}[name], "float32")


def test_products_of_whole_numbers_keep_their_dtype(make: Make) -> None:
    for a, b in (
        ("int8", "int8"),
        ("int16", "uint8"),
        ("uint32", "uint32"),
        ("float32", "float64"),
        ("complex64",) * 2,
    ):
        x, y, wide = make(sample(a, (2, 2))), make(sample(b, (2, 2))), np.result_type(a, b)
        expected = x.numpy().astype(wide) @ y.numpy().astype(wide)
        holds(tg.matmul(x, y), expected, wide)
        holds(x @ y, expected, wide)
        holds(tg.tensordot(x, y, axes=1), expected, wide)
        holds(tg.vecdot(x, y), (x.numpy() * y.numpy()).sum(-1), wide)
        holds(tg.linalg.outer(x[0], y[0]), np.outer(x[0].numpy(), y[0].numpy()), wide)


def test_other_reductions(make: Make) -> None:
    x = make([[1.0, 0.0, 3.0], [4.0, nan, 6.0]])
    holds(tg.count_nonzero(x), 5, "int64")
    holds(tg.count_nonzero(x, axis=0), [2, 1, 2], "int64")
    holds(tg.count_nonzero(x, axis=1, keepdims=True), [[2], [3]], "int64")
    holds(tg.count_nonzero(make([True, False])), 1, "int64")
    for name in ("max", "min", "mean", "sum", "prod", "std", "var"):
        holds(getattr(tg, name)(x, axis=1), getattr(np, name)(x.numpy(), axis=1))  # NaN comes through
    for correction in (0, 1, 0.5, 1.0):
        for name in ("std", "var"):
            expected = getattr(np, name)(x.numpy()[0], ddof=correction)
            holds(getattr(tg, name)(x[0], correction=correction), expected)
    for dtype in REAL:
        y = make(sample(dtype, (2, 3)))
        assert tg.max(y).dtype == tg.min(y, axis=0).dtype == dtype
        assert tg.argmax(y).dtype == tg.argmin(y, axis=1, keepdims=True).dtype == tg.int64
    holds(tg.all(make(np.zeros((0,)))), True, "bool")
    holds(tg.any(x, axis=(0, 1)), True, "bool")


# Special values, of functions whose library calls differ

SPECIAL: list[tuple[str, tuple[float, ...], float]] = [
    ("abs", (-0.0,), 0.0), ("abs", (-inf,), inf), ("acos", (1.0,), 0.0), ("acos", (1.5,), nan), ("acosh", (0.5,), nan),
    ("acosh", (inf,), inf), ("asin", (-0.0,), -0.0), ("asinh", (-inf,), -inf), ("atan", (-0.0,), -0.0),
    ("atanh", (-1.0,), -inf), ("atanh", (2.0,), nan), ("ceil", (-0.3,), -0.0), ("cosh", (-inf,), inf),
    ("expm1", (-inf,), -1.0), ("expm1", (-0.0,), -0.0), ("exp", (-inf,), 0.0), ("floor", (-0.0,), -0.0),
    ("log", (0.0,), -inf), ("log", (-1.0,), nan), ("log1p", (-1.0,), -inf), ("log1p", (-0.0,), -0.0),
    ("log2", (1.0,), 0.0), ("log10", (inf,), inf), ("reciprocal", (-0.0,), -inf), ("reciprocal", (-inf,), -0.0),
    ("round", (0.5,), 0.0), ("round", (-0.5,), -0.0), ("round", (2.5,), 2.0), ("sign", (-0.0,), 0.0),
    ("sign", (nan,), nan), ("sqrt", (-0.0,), -0.0), ("sqrt", (-1.0,), nan), ("tan", (-0.0,), -0.0),
    ("tanh", (-inf,), -1.0), ("trunc", (-0.7,), -0.0), ("square", (-inf,), inf), ("signbit", (-0.0,), True),
    ("signbit", (0.0,), False), ("isfinite", (inf,), False), ("isnan", (nan,), True), ("isinf", (-inf,), True),
    ("add", (inf, -inf), nan), ("add", (-0.0, -0.0), -0.0), ("add", (-0.0, 0.0), 0.0), ("atan2", (0.0, -0.0), math.pi),
    ("atan2", (-0.0, 1.0), -0.0), ("atan2", (1.0, -inf), math.pi), ("copysign", (1.0, -0.0), -1.0),
    ("copysign", (nan, 1.0), nan), ("divide", (1.0, -0.0), -inf), ("divide", (0.0, 0.0), nan),
    ("hypot", (nan, inf), inf),
    ("logaddexp", (-inf, -inf), -inf), ("logaddexp", (inf, -inf), inf), ("logaddexp", (nan, 1.0), nan),
    ("logaddexp", (inf, nan), nan), ("maximum", (nan, 1.0), nan), ("minimum", (1.0, nan), nan),
    ("multiply", (inf, 0.0), nan), ("nextafter", (0.0, 0.0), 0.0), ("nextafter", (1.0, nan), nan),
    ("floor_divide", (inf, 2.0), inf), ("floor_divide", (inf, -2.0), -inf), ("floor_divide", (-inf, 2.0), -inf),
    ("floor_divide", (-inf, -2.0), inf), ("floor_divide", (inf, inf), nan), ("floor_divide", (2.0, -inf), -0.0),
    ("floor_divide", (-2.0, inf), -0.0), ("floor_divide", (2.0, inf), 0.0), ("floor_divide", (-0.0, 1.0), -0.0),
    ("floor_divide", (1.0, -0.0), -inf), ("floor_divide", (0.0, 0.0), nan), ("floor_divide", (nan, 1.0), nan),
    ("floor_divide", (-7.0, 2.0), -4.0), ("remainder", (5.0, inf), 5.0), ("remainder", (-5.0, inf), inf),
    ("remainder", (5.0, -inf), -inf), ("remainder", (-0.0, 1.0), 0.0), ("remainder", (0.0, -1.0), -0.0),
    ("remainder", (1.0, 0.0), nan), ("remainder", (inf, 1.0), nan), ("remainder", (-7.0, 3.0), 2.0),
    ("pow", (nan, 0.0), 1.0), ("pow", (1.0, nan), 1.0), ("pow", (-1.0, inf), 1.0), ("pow", (0.5, -inf), inf),
    ("pow", (-0.0, -3.0), -inf), ("pow", (-0.0, -2.0), inf), ("pow", (-0.0, 3.0), -0.0), ("pow", (-inf, 3.0), -inf),
    ("pow", (-inf, -3.0), -0.0), ("pow", (-8.0, 1 / 3), nan), ("pow", (-inf, 0.5), inf), ("pow", (-0.0, 0.5), 0.0),
    ("equal", (nan, nan), False), ("equal", (0.0, -0.0), True), ("not_equal", (nan, nan), True),
    ("less", (nan, 1.0), False),
    ("greater_equal", (inf, inf), True),
]  # fmt: skip


def same(found: Any, expected: Any) -> bool:
    """Equal with the signs of zeros, NaN equal to NaN."""
    if isinstance(expected, bool):
        return found is expected
    return (math.isnan(found) and math.isnan(expected)) or (
        math.isclose(found, expected, rel_tol=1e-6) and math.copysign(1, found) == math.copysign(1, expected)
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_values(make: Make) -> None:
    wrong = []
    for dtype in FLOATS:
        for name, arguments, expected in SPECIAL:
            found = getattr(tg, name)(*[make([v], dtype=dtype) for v in arguments])
            if not same(found.item(), expected):
                wrong.append((name, arguments, expected, found))
    assert wrong == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_values_of_complex_numbers(make: Make) -> None:
    z = make([3 + 4j, 0, -2j, complex(nan, 1)])
    holds(tg.sign(z), [0.6 + 0.8j, 0, -1j, complex(nan, nan)], "complex64")
    holds(tg.abs(z), [5, 0, 2, nan], "float32")
    holds(tg.conj(z[:3]), [3 - 4j, 0, 2j], "complex64")
    assert tg.isnan(z).tolist() == [False, False, False, True] and tg.isfinite(z).tolist() == [True, True, True, False]
    holds(tg.sqrt(make([-4 + 0j, complex(-4, -0.0)])), [2j, -2j], "complex64")
    holds(tg.exp(make([complex(-inf, 1)])), [0], "complex64")
    holds(tg.real(tg.log(make([0j]))), [-inf])
    holds(tg.round(make([1.5 + 2.5j])), [2 + 2j], "complex64")
    z = make([3 + 4j, 1j], True)
    tg.real(tg.sum(tg.sign(z))).backward()
    holds(z.grad, [0.8 * (0.8 - 0.6j) / 5, 1])  # of Re z/|z|: along the circle only


def test_truths_and_numbers_out(make: Make) -> None:
    assert bool(make(True)) is True and bool(make(0)) is False and int(make(-3)) == -3 and float(make(2.5)) == 2.5
    assert complex(make(1 + 2j)) == 1 + 2j and complex(make(2)) == 2 and operator.index(make(3, dtype="uint8")) == 3
    assert [1, 2, 3][make(1)] == 2 and range(4)[make(2)] == 2
    for dtype in INTEGERS:
        assert type(operator.index(make(sample(dtype, ())))) is int
    with pytest.raises(TypeError):
        operator.index(make(1.0))
    with pytest.raises(TypeError):
        float(make(1j))
    with pytest.raises(OverflowError):
        int(make(inf))
    with pytest.raises(ValueError, match="NaN"):
        int(make(nan))


# Creation


def test_creation(device: str) -> None:
    put: dict[str, Any] = {"device": device}
    for dtype in [None, *ALL]:
        kind = None if dtype is None else getattr(tg, dtype)
        real = dtype or "float32"
        for shape in ((), 3, (2, 0), (2, 3)):
            size = (shape,) if isinstance(shape, int) else shape
            holds(tg.zeros(shape, dtype=kind, **put), np.zeros(size), real)
            holds(tg.ones(shape, dtype=kind, **put), np.ones(size), real)
            assert (tg.empty(shape, dtype=kind, **put).shape, tg.empty(shape, dtype=kind, **put).dtype) == (size, real)
            holds(tg.full(shape, 1, dtype=kind, **put), np.ones(size), dtype or "int64")
        for k in (-4, -1, 0, 2):
            holds(tg.eye(3, dtype=kind, k=k, **put), np.eye(3, k=k), real)
            holds(tg.eye(2, 4, dtype=kind, k=k, **put), np.eye(2, 4, k=k), real)
        if dtype != "bool":
            holds(tg.arange(3, dtype=kind, **put), [0, 1, 2], dtype or "int64")
            holds(tg.arange(5, 1, -2, dtype=kind, **put), [5, 3], dtype or "int64")
            holds(tg.arange(4, stop=4, step=2, dtype=kind, **put), [], dtype or "int64")
            holds(tg.linspace(0, 4, 5, dtype=kind, **put), [0, 1, 2, 3, 4], real)
            holds(tg.linspace(0, 4, num=4, dtype=kind, endpoint=False, **put), [0, 1, 2, 3], real)
    for value, dtype in ((True, "bool"), (1, "int64"), (1.0, "float32"), (1j, "complex64")):
        assert tg.full((2,), value).dtype == dtype and tg.asarray([value]).dtype == dtype
    holds(tg.arange(0.0, 1.0, 0.25, **put), [0, 0.25, 0.5, 0.75], "float32")
    holds(tg.linspace(0, 1j, 3, **put), [0, 0.5j, 1j], "complex64")
    holds(tg.linspace(1, 2, 0, **put), [], "float32")
    with pytest.raises(OptionError, match="linspace"):
        tg.linspace(0, 1, -1)


def test_like_another(device: str, make: Make) -> None:
    for dtype in ALL:
        x = make(sample(dtype, (2, 3)))
        for name, value in (("zeros_like", 0), ("ones_like", 1)):
            holds(getattr(tg, name)(x), np.full((2, 3), value), dtype)
            holds(getattr(tg, name)(x, dtype=tg.float64), np.full((2, 3), value), "float64")
            assert getattr(tg, name)(x, device="cpu").device == "cpu"
            assert getattr(tg, name)(x).device == x.device
        holds(tg.full_like(x, 1), np.ones((2, 3)), dtype)
        holds(tg.full_like(x, 1, dtype=tg.int16), np.ones((2, 3)), "int16")
        assert tg.full_like(x, 1).device == tg.empty_like(x).device == x.device
        assert tg.empty_like(x, dtype=tg.int8).dtype == tg.int8 and tg.empty_like(x, device="cpu").device == "cpu"


def test_a_gradient_goes_through_full(make: Make) -> None:
    value = make(2.0, True)
    tg.sum(tg.full((2, 3), value) * 2).backward()
    holds(value.grad, 12)
    assert tg.full((2,), make(3, dtype="int16")).dtype == tg.int16


def test_lists_and_numbers_become_arrays(device: str) -> None:
    holds(tg.asarray([[1, 2], [3, 4]], device=device), [[1, 2], [3, 4]], "int64")
    holds(tg.asarray([True, False], dtype=tg.float32), [1, 0], "float32")
    big = 2**64 - 1
    assert tg.asarray([big, 0], dtype=tg.uint64).tolist() == [big, 0]
    assert tg.asarray([-(2**63), 2**53 + 1], dtype=tg.int64).tolist() == [-(2**63), 2**53 + 1]
    assert tg.asarray(big, dtype=tg.uint64).item() == big
    for values, dtype in (([300], "int8"), ([-1], "uint8"), (2**64, "uint64")):
        with pytest.raises(DTypeError, match=f"do not fit dtype {dtype}"):
            tg.asarray(values, dtype=dtype)
    holds(tg.asarray([tg.asarray(1.0), 2]), [1, 2], "float32")
    holds(tg.asarray([[tg.asarray(0.1, dtype="float64")], [2.5]]), [[0.1], [2.5]], "float64", 1e-16)
    holds(tg.asarray(tg.unstack(tg.asarray([1j, 2.0], dtype="complex128"))), [1j, 2], "complex128")
    holds(tg.asarray(memoryview(b"ab")), [97, 98], "uint8")


def test_copies(make: Make, device: str) -> None:
    x = make([[1.0, 2.0], [3.0, 4.0]])
    raw = x.data
    assert tg.asarray(x) is x and tg.asarray(x, copy=False) is x and shared(tg.asarray(raw, copy=False), raw)
    for again in (tg.asarray(x, copy=True), tg.asarray(raw, copy=True), tg.asarray(x, dtype=tg.float64)):
        assert not shared(again, x)
    assert not shared(tg.asarray(make([True]), copy=True), make([True]))
    assert tg.astype(x, tg.float32, copy=False) is x and not shared(tg.astype(x, tg.float32), x)
    assert tg.astype(x, tg.int8, device="cpu").device == "cpu"
    assert shared(tg.reshape(x, (4,), copy=False), x) and not shared(tg.reshape(x, (4,), copy=True), x)
    assert tg.reshape(make(np.zeros((0, 2))), (0,), copy=False).shape == (0,)
    for impossible in (
        lambda: tg.asarray([1.0], copy=False),
        lambda: tg.asarray(x, dtype=tg.float64, copy=False),
        lambda: tg.asarray(raw, dtype=tg.float64, copy=False),
        lambda: tg.reshape(x.T, (4,), copy=False),
    ):
        with pytest.raises(ValueError, match="copy=False"):
            impossible()
    y = make([1.0, 2.0], True)
    tg.sum(tg.reshape(tg.asarray(y, copy=True), (2, 1), copy=True) * 3).backward()
    holds(y.grad, [3, 3])


def test_memory_of_others(make: Make, device: str) -> None:
    x = make([1.0, 2.0])
    assert shared(tg.from_dlpack(x), x) and shared(tg.from_dlpack(x, copy=False), x)
    assert not shared(tg.from_dlpack(x, copy=True), x) and tg.from_dlpack(x, device="cpu").device == "cpu"
    assert int(x.__dlpack_device__()[0]) == (1 if device == "cpu" else 2)
    if device == "cpu":
        array = np.from_dlpack(x)
        assert np.shares_memory(array, x.data) and shared(tg.from_dlpack(array), array)
        assert x.__dlpack__(max_version=(1, 0), dl_device=(1, 0), copy=True) is not None
    with pytest.raises(DTypeError, match="detach"):
        make([1.0], True).__dlpack__()


def test_grids(make: Make) -> None:
    vectors = [sample("float64", (n,)) for n in (2, 3, 4)]
    for indexing in ("xy", "ij"):
        for n in range(4):
            found = tg.meshgrid(*[make(v) for v in vectors[:n]], indexing=indexing)
            assert isinstance(found, list) and len(found) == n
            for ours, numpys in zip(found, np.meshgrid(*vectors[:n], indexing=indexing), strict=True):
                holds(ours, numpys, "float64")
    x = make([1.0, 2.0], True)
    tg.sum(tg.meshgrid(x, make([1.0, 10.0, 100.0]))[0]).backward()
    holds(x.grad, [3, 3])
    a, b = tg.broadcast_arrays(make([[1], [2]]), make([1.0, 2.0]))
    assert a.shape == b.shape == (2, 2) and (a.dtype, b.dtype) == (tg.int64, tg.float32)
    with pytest.raises(ShapeError, match=r"\(2,\), \(3,\) do not fit"):
        tg.broadcast_arrays(make([1, 2]), make([1, 2, 3]))
    with pytest.raises(OptionError, match="'xy' or 'ij'"):
        tg.meshgrid(indexing="yx")


# What depends on values


@given(x=xps.arrays(xps.scalar_dtypes(), xps.array_shapes(min_dims=0, min_side=0, max_side=4)))
def test_different_values(x: tg.Tensor, device: str) -> None:
    x = x.to(device)
    array = x.numpy()
    if array.dtype.kind == "c" and np.isnan(array).any():
        return  # their order is nobody's
    values, indices, inverse, counts = tg.unique_all(x)
    flat = array.reshape(-1)
    assert values.dtype == x.dtype and inverse.shape == x.shape and values.shape == indices.shape == counts.shape
    assert {t.dtype for t in (indices, inverse, counts)} == {tg.int64}
    np.testing.assert_array_equal(flat[indices.numpy()], values.numpy())
    np.testing.assert_array_equal(values.numpy()[inverse.numpy()], array)
    assert counts.numpy().sum() == array.size
    if array.dtype.kind != "c":
        finite = [v for v in values.tolist() if v == v]
        assert finite == sorted(set(finite)) and len(finite) + np.isnan(flat).sum() == values.size
    for found, expected in (
        (tg.unique_values(x), [values]), (tg.unique_counts(x), [values, counts]),
        (tg.unique_inverse(x), [values, inverse]),
    ):  # fmt: skip
        for a, b in zip([found] if isinstance(found, tg.Tensor) else found, expected, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert tg.unique_counts(x)._fields == ("values", "counts")
    assert tg.unique_inverse(x)._fields == ("values", "inverse_indices")


@given(x=xps.arrays(xps.scalar_dtypes(), xps.array_shapes(min_side=0, max_side=4)), data=st.data())
def test_places_and_counts(x: tg.Tensor, data: Any, device: str) -> None:
    x = x.to(device)
    places = tg.nonzero(x)
    assert len(places) == x.ndim and all(p.dtype == tg.int64 for p in places)
    np.testing.assert_array_equal([p.numpy() for p in places], np.nonzero(x.numpy()))
    holds(tg.count_nonzero(x), np.count_nonzero(x.numpy()), "int64")
    axis = data.draw(xps.valid_tuple_axes(x.ndim))
    holds(tg.count_nonzero(x, axis=axis), np.count_nonzero(x.numpy(), axis=axis), "int64")
    index = data.draw(xps.indices(x.shape, allow_newaxis=True))
    assert x[index].dtype == x.dtype
    np.testing.assert_array_equal(x[index].numpy(), x.numpy()[index])
    mask = x == x
    assert x[mask].shape == (int(tg.count_nonzero(mask)),)


def test_shapes(make: Make) -> None:
    x = make(sample("int8", (2, 3, 4)))
    n = x.numpy()
    for source, destination in ((0, 2), (-1, 0), ((0, 1), (2, 0)), ((2, 0), (0, -1)), ((), ())):
        holds(tg.moveaxis(x, source, destination), np.moveaxis(n, source, destination), "int8")
    for axis in (-4, 0, 3):
        holds(tg.expand_dims(x, axis=axis), np.expand_dims(n, axis))
    holds(tg.squeeze(x[:1, :, :1], (0, 2)), np.squeeze(n[:1, :, :1], (0, 2)))
    for axis in (0, -1):
        for ours, numpys in zip(tg.unstack(x, axis=axis), np.unstack(n, axis=axis), strict=True):
            holds(ours, numpys, "int8")
    holds(tg.flip(x, axis=(0, -1)), np.flip(n, (0, -1)))
    holds(tg.concat([x, x], axis=None), np.concatenate([n, n], axis=None))
    holds(tg.permute_dims(x, (2, 0, 1)), n.transpose(2, 0, 1))


def test_clip(make: Make) -> None:
    x = make([1.0, 2.0, 3.0, nan])
    holds(tg.clip(x), [1, 2, 3, nan], "float32")
    holds(tg.clip(x, 2), [2, 2, 3, nan], "float32")
    holds(tg.clip(x, min=None, max=2.5), [1, 2, 2.5, nan], "float32")
    holds(tg.clip(x, make([0.0, 3.0, nan, 0.0]), 2.5), [1, 2.5, nan, nan], "float32")
    holds(tg.clip(x, max=make(1.5)), [1, 1.5, 1.5, nan], "float32")
    holds(tg.clip(make([1.0, 9.0]), make([[2.0], [3.0]]), make([4.0, 5.0])), [[2, 5], [3, 5]], "float32")
    holds(tg.clip(make([5, -5], dtype="int8"), -2, make([3, 3], dtype="int16")), [3, -2], "int8")
    holds(tg.clip(make([0.1], dtype="float64"), 0.3, make([0.2], dtype="float64")), [0.2], "float64", 1e-15)
    holds(x.clip(make([2.0, 2.0, 2.0, 2.0])), [2, 2, 3, nan])
    x, low, high = make([1.0, 2.0, 3.0], True), make([2.0, 2.0, 2.0], True), make(2.5, True)
    tg.sum(tg.clip(x, low, high) * make([1.0, 10.0, 100.0])).backward()
    holds(x.grad, [0, 10, 0])
    holds(low.grad, [1, 0, 0])
    holds(high.grad, 100)


# What is refused

COMPLEX_ORDER = [
    "less", "less_equal", "greater", "greater_equal", "maximum", "minimum", "relu", "clip", "max", "min", "argmax",
    "argmin", "sort", "argsort", "logaddexp", "softplus", "elu", "leaky_relu", "log_sigmoid",
]  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX_ORDER)
def test_complex_numbers_have_no_order(name: str, make: Make) -> None:
    z = make([1j, 2.0])
    two = name in BINARY
    with pytest.raises(DTypeError, match=f"{name}.*: complex numbers have no order"):
        getattr(tg, name)(z, z) if two else getattr(tg, name)(z, 0) if name == "clip" else getattr(tg, name)(z)
    if two:
        with pytest.raises(DTypeError, match=f"{name}.*: complex numbers have no order"):
            getattr(tg, name)(make([1.0, 2.0]), 1j)


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "& of floats": (lambda x: x & x, DTypeError, "bitwise_and.*not defined for float32; bits are of whole numbers"),
    "<< of floats": (lambda x: x << 1, DTypeError, "bitwise_left_shift.*not defined for float32"),
    "~ of floats": (lambda x: ~x, DTypeError, "bitwise_invert.*not defined for float32"),
    "− of truths": (lambda x: -(x > 0), DTypeError, "negative.*not defined for bool; use the logical functions"),
    "difference of truths": (lambda x: (x > 0) - (x > 0), DTypeError, "subtract.*not defined for bool"),
    "floor of complex": (lambda x: tg.floor(x * 1j), DTypeError, "floor.*not defined for complex64; take their real"),
    "complex as real": (lambda x: tg.astype(x * 1j, tg.float32), DTypeError, "complex64 does not fit float32"),
    "a letter that is none": (lambda x: tg.einsum("i2->i", x), ShapeError, "einsum: '2' in 'i2->i' is no letter"),
    "too many letters": (lambda x: tg.einsum("ij->i", x), ShapeError, r"'ij' in .* names 2 axes, but .* \(2,\) has 1"),
    "a letter from nowhere": (lambda x: tg.einsum("i->k", x), ShapeError, "'k' of the result of .* is in no operand"),
    "a letter twice": (lambda x: tg.einsum("i->ii", x), ShapeError, "'i' is twice in the result"),
    "no equation": (lambda x: tg.einsum(3, x), (ShapeError, DTypeError), "a string such as 'ij,jk->ik', not 3"),
    "missing operand": (lambda x: tg.einsum("i,i->i", x), ShapeError, "2 operand.*, 1 were given"),
    "an axis beyond": (lambda x: tg.sum(x, axis=3), AxisError, "sum.*axis 3"),
    "a new axis beyond": (lambda x: tg.expand_dims(x, axis=5), AxisError, "expand_dims.*axis 5"),
    "a slice axis beyond": (lambda x: tg.unstack(x, axis=2), IndexingError, "unstack.*axis 2 is out of range"),
    "an axis to move": (lambda x: tg.moveaxis(x, 1, 0), AxisError, "moveaxis: axis 1"),
    "axes to no place": (lambda x: tg.moveaxis(x, (0,), ()), ShapeError, "moveaxis.*as many"),
    "an axis that is long": (lambda x: tg.squeeze(x, 0), ShapeError, "squeeze"),
    "places of a number": (lambda x: tg.nonzero(x[0]), ShapeError, "nonzero: a 0-d tensor"),
    "an argument number": (lambda x: tg.grad(tg.sum, argnums=4)(x), OptionError, r"argnums \(4,\) do not fit"),
    "nothing to meet": (lambda x: tg.result_type(), OptionError, "at least one"),
}  # fmt: skip


@pytest.mark.parametrize("act, kind, message", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(act: Any, kind: Any, message: str, make: Make) -> None:
    with pytest.raises(kind, match=message):
        act(make([1.0, 2.0]))


def test_a_wrong_axis_is_both_a_matter_of_shapes_and_of_indices() -> None:
    assert issubclass(AxisError, (ShapeError)) and issubclass(AxisError, IndexingError)
    assert issubclass(AxisError, ValueError) and issubclass(AxisError, IndexError)


# Code that knows only the standard


def whiten(x: Any) -> Any:
    """Centred, scaled and with its largest entries held, in nothing but the standard's words."""
    xp = x.__array_namespace__()
    x = xp.asarray(x, copy=True)
    centred = x - xp.mean(x, axis=0, keepdims=True)
    scale = xp.std(x, axis=0, correction=1.0, keepdims=True)
    scaled = centred / xp.where(scale == 0, xp.ones_like(scale), scale)
    held = xp.clip(scaled, -2.0, xp.max(scaled, axis=0, keepdims=True) * 0.5)
    column = xp.linspace(0.0, 1.0, x.shape[1], dtype=x.dtype, device=x.device)
    grid = xp.meshgrid(xp.arange(x.shape[0], dtype=x.dtype, device=x.device), column)[1]
    joined = xp.concat([held, xp.permute_dims(grid, (1, 0))], axis=1)
    return xp.sum(joined * xp.flip(joined, axis=1), axis=-1) + xp.astype(xp.count_nonzero(held > 0), x.dtype)


def test_code_for_any_library_runs_and_has_gradients(make: Make) -> None:
    values = np.random.default_rng(4).normal(size=(5, 3))
    x = make(values, True)
    y = whiten(x)
    holds(y, whiten(values), "float64", 1e-12)
    weights = np.arange(1.0, 6)
    tg.sum(y * make(weights)).backward()
    step, slopes = 1e-6, np.zeros_like(values)
    for i in np.ndindex(values.shape):
        moved = [values.copy(), values.copy()]
        moved[0][i] += step
        moved[1][i] -= step
        slopes[i] = (whiten(moved[0]) - whiten(moved[1])) @ weights / (2 * step)
    holds(x.grad, slopes, "float64", 1e-5)


SCIPY = """
import os
os.environ["SCIPY_ARRAY_API"] = "1"
import numpy as np, scipy.special, scipy.stats, scipy.integrate, scipy.cluster.vq, scipy.signal
from scipy.differentiate import derivative
from scipy.optimize import elementwise
import tinygrad_mlsp as tg

def check(f, x, slopes=True):
    mine = tg.Tensor(x, requires_grad=slopes)
    y = f(mine)
    assert isinstance(y, tg.Tensor), type(y)
    np.testing.assert_allclose(y.detach().numpy(), f(x), rtol=1e-12, atol=1e-14)
    if slopes:
        tg.sum(y).backward()
        steps = np.eye(x.size).reshape(-1, *x.shape) * 1e-6
        expected = [np.sum(f(x + s) - f(x - s)) / 2e-6 for s in steps]
        np.testing.assert_allclose(mine.grad.numpy().reshape(-1), expected, rtol=1e-5, atol=1e-7)

x = np.array([0.3, 1.5, 2.5, 0.7])
s, t, i = scipy.special, scipy.stats, scipy.integrate
for f in (s.logsumexp, s.softmax, s.log_softmax, t.zscore, t.skew, t.kurtosis, t.gmean, t.hmean, t.sem, t.variation,
          t.circmean, i.trapezoid, i.cumulative_trapezoid, lambda x: t.moment(x, 3), lambda x: t.pmean(x, 2)):
    check(f, x)
for f in (s.gamma, s.expit, s.entr, t.entropy, scipy.signal.detrend, lambda x: t.pearsonr(x, x * x).pvalue,
          lambda x: t.ttest_ind(x, x * x).pvalue, lambda x: t.mode(x).mode, lambda x: s.xlogy(x, x)):
    check(f, x, slopes=False)
at = tg.asarray(x)
np.testing.assert_allclose(derivative(tg.exp, at).df.numpy(), np.exp(x), rtol=1e-8)
bracket = (tg.asarray([0.0], dtype="float64"), tg.asarray([2.0], dtype="float64"))
root = elementwise.find_root(lambda v: tg.cos(v) - v, bracket).x
assert isinstance(root, tg.Tensor) and abs(root.item() - 0.7390851332151607) < 1e-12
centres = tg.asarray([[0.0, 1.0], [6.0, 7.0]], dtype="float64")
codes, distances = scipy.cluster.vq.vq(tg.asarray(np.arange(8.0).reshape(4, 2)), centres)
assert codes.tolist() == [0, 0, 1, 1] and isinstance(distances, tg.Tensor)
"""


def test_scipy_computes_on_tensors(device: str) -> None:
    """SciPy's functions that know the array API, with the gradients of those that are written in it alone."""
    if device != "cpu":
        pytest.skip("SciPy's compiled functions are on the CPU")
    env = {**os.environ, "SCIPY_ARRAY_API": "1"}
    run = subprocess.run([sys.executable, "-c", SCIPY], capture_output=True, text=True, env=env)
    assert run.returncode == 0, run.stderr[-3000:]
