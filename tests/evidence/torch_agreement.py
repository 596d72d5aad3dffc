"""Whether every operation agrees with PyTorch's: values and gradients at ordinary, tied and singular points.

    python tests/evidence/torch_agreement.py                what differs, without a reason or not any more
    python tests/evidence/torch_agreement.py --record       what PyTorch gives, into tests/data/torch.json (needs torch)
    python tests/evidence/torch_agreement.py --write        writes docs/torch.md from what is recorded

`TABLE` says how each operation is called here and there, and at which points. `tests/test_torch_agreement.py` compares
with what is recorded, and needs no PyTorch. `DIFFERENCES` has the points where the two differ, with the reason;
`NOT_IN_PYTORCH` the operations that have no counterpart.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygrad_mlsp as tg

DATA = Path(__file__).parents[1] / "data" / "torch.json"
PAGE = Path(__file__).parents[2] / "docs" / "torch.md"
inf, nan = math.inf, math.nan
Case = tuple[Any, ...]
Result = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """An operation as a formula of x, y, z, here and in PyTorch; the cases are the arguments, by name."""

    ours: str
    theirs: str
    cases: dict[str, Case]
    ulps: float = 32  # how far they may be apart, of the largest entry; PyTorch's own error counts too


TABLE: dict[str, Row] = {}


def row(title: str, ours: str, theirs: str, *cases: dict[str, Case], ulps: float = 32) -> None:
    """One line of the table; `title` is the operation, and after a colon what is special about this line."""
    merged = {label: case for part in cases for label, case in part.items()}
    TABLE[title] = Row(ours, theirs, merged, ulps)


# The points


def show(*numbers: Any) -> str:
    return ", ".join(f"{n:g}" if not isinstance(n, (bool, complex)) else str(n).strip("()") for n in numbers)


def points(*values: Any, dtype: str = "float64") -> dict[str, Case]:
    """A case for each number, or tuple of numbers."""
    found = {}
    for value in values:
        numbers = value if isinstance(value, tuple) else (value,)
        suffix = f" {dtype}" if dtype == "float32" else ""
        found[show(*numbers) + suffix] = tuple(np.asarray(n, dtype) for n in numbers)
    return found


def pairs(first: Iterable[Any], second: Iterable[Any] | None = None, dtype: str = "float64") -> dict[str, Case]:
    first = list(first)
    return points(*itertools.product(first, first if second is None else second), dtype=dtype)


def arrays(dtype: str = "float64", **values: Any) -> dict[str, Case]:
    """A case for each list of numbers, or tuple of lists; an array that is given keeps its dtype."""
    found = {}
    for name, value in values.items():
        parts = value if isinstance(value, tuple) else (value,)
        suffix = "" if dtype == "float64" else f" {dtype}"
        found[name.replace("_", " ") + suffix] = tuple(
            p if isinstance(p, np.ndarray) else np.asarray(p, dtype) for p in parts
        )
    return found


def whole(*numbers: Any) -> np.ndarray:
    return np.asarray(numbers, np.int64)


REALS = (0.0, -0.0, 1.0, -1.0, 0.3, -0.7, 2.5, -2.5, 30.0, -30.0, 800.0, 1e-9, 1e-300, 1e300, -1e300, inf, -inf, nan)
ONE = points(*REALS) | points(0.0, 0.3, -2.5, 20.0, inf, nan, dtype="float32")
TWO = pairs((0.0, 1.0, -2.0, 0.5, 1e200, inf, -inf, nan)) | points(
    (-0.0, -1.0), (-0.0, 0.0), (0.0, -0.0), (1.0, -0.0), (1e-200, 2e-200), (-0.7, -0.7), (-1.5, 0.25)
)
TWO |= points((0.5, -2.0), (0.5, 0.5), (0.0, 0.0), dtype="float32")
COMPLEX = points(0.5 + 0.25j, -2 + 1.5j, 3 - 0.5j, 0j, 1j, 1 + 0j, -1.5 + 0j, 0.25 - 2j, dtype="complex128")
COMPLEX_TWO = points((0.5 + 0.25j, -2 + 1.5j), (3 - 0.5j, 1j), (0j, 1 + 1j), (-1.5 + 0j, 0.5 + 0j), dtype="complex128")
VECTOR = arrays(
    ordinary=[0.3, -1.2, 2.5, 0.7],
    ties=[1, 2, 2, 0, 0, 2],
    equal=[2, 2, 2],
    one=[1.5],
    one_zero=[2, 0, -3],
    two_zeros=[2, 0, 0, -3],
    zeros=[0, 0, 0],
    huge=[1e200, -2e200, 1e200],
    tiny=[1e-200, -2e-200, 3e-200],
    extreme=[-1000, 0, 1000],
    NaN=[1, nan, 2],
    infinite=[1, inf, 2],
    infinite_twice=[inf, 1, inf],
    negative_infinite=[-inf, 1, 2],
    both_infinite=[inf, -inf, 0],
    all_negative_infinite=[-inf, -inf, -inf],
    empty=[],
) | arrays("float32", ordinary=[0.3, -1.2, 2.5, 0.7])
MATRIX = arrays(
    matrix=[[0.3, -1.2, 2.5], [1.5, 0.25, -0.5]],
    ties=[[1, 1, 0], [2, 2, 2]],
    zeros=[[0, 0, 0], [0, 3, 2]],
    no_columns=np.zeros((2, 0)),
    no_rows=np.zeros((0, 3)),
)
COMPLEX_VECTOR = arrays("complex128", ordinary=[0.5 + 1j, -2 - 0.5j, 1.5j, 1 + 0j], one_zero=[1 + 1j, 0, 2 - 1j])


def entries(*shape: int, dtype: str = "float64") -> np.ndarray:
    """Ordinary entries, the same in every run."""
    n = math.prod(shape)
    values = np.cos(1.7 * np.arange(n) + 0.4) * 1.5
    if dtype == "complex128":
        values = values + 1j * np.sin(2.3 * np.arange(n) + 0.1)
    return values.astype(dtype).reshape(shape)


C = "complex128"

# Of one number

_SAME = """
    abs acos acosh asin asinh atan atanh ceil cos cosh digamma erf erfc erfinv exp expm1 floor i0 isfinite isinf isnan
    lgamma log log10 log1p log2 logical_not negative positive reciprocal relu round sigmoid sign signbit sin sinc sinh
    sqrt square tan tanh trunc
"""
_ROUGH = {
    "digamma": 1e7,
    "lgamma": 100,
    "erfinv": 500,
    "erfc": 3000,
    "sinc": 100,
    "i0": 200,
    "atanh": 100,
    "asinh": 100,
}
_HOLOMORPHIC = """
    acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2 negative positive reciprocal sigmoid sin
    sinc sinh sqrt square tan tanh
"""
for _name in _SAME.split():
    row(_name, f"tg.{_name}(x)", f"torch.{_name}(x)", ONE, ulps=_ROUGH.get(_name, 32))
for _name in _HOLOMORPHIC.split():
    row(f"{_name}: complex", f"tg.{_name}(x)", f"torch.{_name}(x)", COMPLEX, ulps=100)
for _name in ("abs", "isfinite", "isnan", "isinf"):
    row(f"{_name}: complex", f"tg.{_name}(x)", f"torch.{_name}(x)", COMPLEX)
row("sign: complex", "tg.sign(x)", "torch.sgn(x)", COMPLEX)
_INTEGERS = points(-3.0, -2.0, -1.5, 1.5, 3.0, 170.0, 1e10)
for _name in ("lgamma", "digamma"):
    row(f"{_name}: whole numbers", f"tg.{_name}(x)", f"torch.{_name}(x)", _INTEGERS, ulps=1e7)
row("polygamma", "tg.polygamma(x, n=1)", "torch.polygamma(1, x)", ONE, _INTEGERS, ulps=1e7)
row("polygamma: n = 2", "tg.polygamma(x, n=2)", "torch.polygamma(2, x)", points(0.3, 1.0, 2.5, 30.0), ulps=500)
for _name in ("i0e", "i1", "i1e"):
    row(_name, f"tg.{_name}(x)", f"torch.special.{_name}(x)", ONE, ulps=200)
row("iv", "tg.iv(x, n=1)", "torch.special.i1(x)", ONE, ulps=200)
row("ive", "tg.ive(x, n=1)", "torch.special.i1e(x)", ONE, ulps=200)
row("log_sigmoid", "tg.log_sigmoid(x)", "F.logsigmoid(x)", ONE)
row("softplus", "tg.softplus(x)", "F.softplus(x)", ONE)
row("leaky_relu", "tg.leaky_relu(x, negative_slope=0.1)", "F.leaky_relu(x, 0.1)", ONE)
row("elu", "tg.elu(x, alpha=1.5)", "F.elu(x, 1.5)", ONE)
row("prelu", "tg.prelu(x, y)", "F.prelu(x, y.expand(1))", pairs((0.0, 1.0, -2.0, 1e200, inf, nan), (0.25, 0.0, -0.5)))
row("hardtanh", "tg.hardtanh(x, min_val=-0.7, max_val=1)", "F.hardtanh(x, -0.7, 1)", ONE)
row("softsign", "tg.softsign(x)", "F.softsign(x)", ONE)
row("silu", "tg.silu(x)", "F.silu(x)", ONE)
row("gelu", "tg.gelu(x)", "F.gelu(x)", ONE)
row("clip", "tg.clip(x, -1, 2.5)", "torch.clamp(x, -1, 2.5)", ONE)
row("clip: from below", "tg.clip(x, min=0)", "torch.clamp(x, min=0)", ONE)
row(
    "clip: by tensors",
    "tg.clip(x, y, z)",
    "torch.clamp(x, y, z)",
    points((0.5, 0.0, 1.0), (0.0, 0.0, 1.0), (1.0, 0.0, 1.0), (2.0, 0.0, 1.0), (-1.0, 0.0, 1.0), (0.5, 2.0, 1.0)),
)
row("alias", "tg.alias(x)", "x.view_as(x)", ONE)
row("astype", "tg.astype(x, 'float32')", "x.to(torch.float32)", points(0.3, -2.5, 1e300, nan), ulps=1e9)
row("real", "tg.real(x)", "torch.real(x)", COMPLEX)
row("imag", "tg.imag(x)", "torch.imag(x)", COMPLEX)
row("conj", "tg.conj(x)", "torch.conj(x).resolve_conj()", COMPLEX)

# Of two

_BINARY = """
    add atan2 copysign divide equal greater greater_equal hypot less less_equal logaddexp logical_and
    logical_or logical_xor maximum minimum multiply not_equal pow remainder subtract xlogy
"""
for _name in _BINARY.split():
    row(_name, f"tg.{_name}(x, y)", f"torch.{'eq' if _name == 'equal' else _name}(x, y)", TWO, ulps=64)
row(
    "nextafter",
    "tg.nextafter(x, y)",
    "torch.nextafter(x, y)",
    points((0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (inf, 0.0), (1.0, nan)),
)
row("floor_divide", "tg.floor_divide(x, y)", "torch.floor_divide(x.detach(), y.detach())", TWO)
for _name in ("add", "subtract", "multiply", "divide", "pow"):
    row(f"{_name}: complex", f"tg.{_name}(x, y)", f"torch.{_name}(x, y)", COMPLEX_TWO, ulps=100)
_BROADCAST = {
    "broadcast": (entries(2, 1) + 2, entries(3) + 2),
    "broadcast a number": (entries(2, 2) + 2, np.array(0.7)),
    "no entries": (np.zeros((0, 3)), entries(3)),
}
for _name in ("add", "divide", "logaddexp", "maximum", "multiply", "pow", "subtract"):
    row(f"{_name}: shapes", f"tg.{_name}(x, y)", f"torch.{_name}(x, y)", _BROADCAST)
row("xlog1py", "tg.xlog1py(x, y)", "torch.special.xlog1py(x, y)", TWO, points((0.0, -1.0), (1.0, -1.0), (2.0, 1e-12)))
_POWERS = {
    "-1": points(0.0, 0.5, -2.0),
    "0": points(0.0, nan, -2.0, inf),
    "0.5": points(0.0, 2.0, -2.0, inf),
    "1": points(0.0, 2.0),
    "2": points(0.0, -2.0, inf),
    "2.5": points(0.0, 2.0, -2.0),
    "3": points(0.0, -2.0),
}
for _p, _cases in _POWERS.items():
    row(f"pow: of {_p}", f"x ** {_p}", f"x ** {_p}", _cases)
row("pow: of 2", "2.0 ** x", "2.0 ** x", points(0.0, 1.5, -inf, inf, nan))
row("pow: of 0", "tg.pow(0.0, x)", "torch.pow(0.0, x)", points(0.0, 1.5, -1.0))
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift"):
    row(_name, f"tg.{_name}(x, y)", f"torch.{_name}(x, y)", {"integers": (whole(5, -6, 12), whole(3, 1, 2))})
row("bitwise_invert", "tg.bitwise_invert(x)", "torch.bitwise_not(x)", {"integers": (whole(5, -6, 0),)})
row(
    "binary_cross_entropy_with_logits",
    "tg.binary_cross_entropy_with_logits(x, y)",
    "F.binary_cross_entropy_with_logits(x, y, reduction='none')",
    pairs((0.0, 0.3, -2.5, 40.0, -40.0, 1e300, -1e300, inf, -inf, nan), (0.0, 0.3, 1.0)),
)
row(
    "binary_cross_entropy",
    "tg.binary_cross_entropy(x, y)",
    "F.binary_cross_entropy(x, y, reduction='none')",
    pairs((0.0, 0.3, 1.0, 1e-9, 1e-300), (0.0, 0.3, 1.0)),
)
IMAGE = arrays(
    ordinary=(
        [[[0.3, -1.2, 2.5, 0.7], [1.0, 0.5, -0.25, 2.0]]],
        [[[1.5, -0.5], [0.25, 2.0]], [[0.1, 0.2], [-0.3, 0.4]], [[1.0, 0.0], [0.0, -1.0]]],
        [0.5, -0.5, 0.0],
    ),
    no_batch=(np.zeros((0, 2, 4)), np.ones((3, 2, 2)), [0.5, -0.5, 0.0]),
)
row("convolution", "tg.convolution(x, y, z, stride=2, padding=1)", "F.conv1d(x, y, z, 2, 1)", IMAGE)
row(
    "convolution_input",
    "tg.convolution_input(x, y, shape=5, stride=2, padding=1)",
    "F.conv_transpose1d(x, y, None, 2, 1, 1)",
    arrays(ordinary=([[[0.3, -1.2, 2.5], [1.0, 0.5, -0.25]]], [[[1.5, -0.5]], [[0.25, 2.0]]])),
)
LINE = {name: case for name, case in VECTOR.items() if len(case[0]) > 2 and name != "NaN"}
row("max_pool", "tg.max_pool(x, axis=0, size=2)", "F.max_pool1d(x[None], 2)[0]", LINE)
row(
    "max_pool: overlapping",
    "tg.max_pool(x, axis=0, size=3, stride=1, padding=1)",
    "F.max_pool1d(x[None], 3, 1, 1)[0]",
    LINE,
)
row("sum_pool", "tg.sum_pool(x, axis=0, size=2, stride=1) / 2", "F.avg_pool1d(x[None], 2, 1)[0]", LINE)
row(
    "where",
    "tg.where(x, y, z)",
    "torch.where(x, y, z)",
    {
        "ordinary": (np.array([True, False]), np.array([1.0, 2.0]), np.array([3.0, 4.0])),
        "NaN not taken": (np.array([True, False]), np.array([1.0, nan]), np.array([inf, 4.0])),
    },
)
for _name, _formula in {
    "sqrt": "where(x > 0, {n}.sqrt(x), 0.0 * x)",
    "log": "where(x > 0, {n}.log(x), 0.0 * x)",
    "divide": "where(x > 0, 1.0 / x, 0.0 * x)",
    "pow": "where(x > 0, x**0.5, 0.0 * x)",
}.items():
    row(
        f"where: of {_name} not taken",
        "tg." + _formula.format(n="tg"),
        "torch." + _formula.format(n="torch"),
        points(0.0, 1.0),
    )

_WHOLE = points((7, 2), (-7, 2), (7, -2), (-7, -2), (0, 3), (3, 3), dtype="int64")
_TWO_WHOLE = "add divide equal floor_divide less maximum minimum multiply remainder subtract"
_ONE_WHOLE = "abs ceil exp floor isfinite isnan negative relu round sign sqrt square tanh trunc"
for _name in _TWO_WHOLE.split():
    _theirs = "eq" if _name == "equal" else _name
    row(f"{_name}: integers", f"tg.{_name}(x, y)", f"torch.{_theirs}(x, y)", _WHOLE)
row("pow: integers", "tg.pow(x, y)", "torch.pow(x, y)", points((7, 2), (-7, 3), (0, 0), (3, 0), dtype="int64"))
for _name in _ONE_WHOLE.split():
    row(f"{_name}: integers", f"tg.{_name}(x)", f"torch.{_name}(x)", points(0, 1, -4, dtype="int64"))

# Along axes

for _name in ("sum", "mean", "prod", "all", "any"):
    row(_name, f"tg.{_name}(x)", f"torch.{_name}(x)", VECTOR)
    row(f"{_name}: axis", f"tg.{_name}(x, axis=1, keepdims=True)", f"torch.{_name}(x, dim=1, keepdim=True)", MATRIX)
for _name in ("sum", "mean", "prod"):
    row(f"{_name}: complex", f"tg.{_name}(x)", f"torch.{_name}(x)", COMPLEX_VECTOR)
for _name in ("max", "min"):
    row(_name, f"tg.{_name}(x)", f"torch.a{_name}(x)", VECTOR)
    row(f"{_name}: axis", f"tg.{_name}(x, axis=1)", f"torch.a{_name}(x, dim=1)", MATRIX)
    row(f"arg{_name}", f"tg.arg{_name}(x, axis=0)", f"torch.arg{_name}(x, dim=0)", VECTOR)
for _name in ("var", "std"):
    row(_name, f"tg.{_name}(x)", f"torch.{_name}(x, correction=0)", VECTOR)
    row(f"{_name}: corrected", f"tg.{_name}(x, correction=1)", f"torch.{_name}(x, correction=1)", VECTOR)
    row(f"{_name}: axis", f"tg.{_name}(x, axis=1)", f"torch.{_name}(x, dim=1, correction=0)", MATRIX)
for _name in ("sum", "prod", "max", "min"):
    _theirs = f"a{_name}" if _name.startswith("m") else _name
    row(f"{_name}: integers", f"tg.{_name}(x)", f"torch.{_theirs}(x)", {"ties": (whole(3, 1, 3),)})
for _name in ("sum", "mean", "max", "min", "var", "std", "logsumexp", "vector_norm"):
    _ours = f"linalg.{_name}" if _name == "vector_norm" else _name
    _theirs = f"a{_name}" if _name in ("max", "min") else _ours
    _more = ", correction=0" if _name in ("var", "std") else ""
    row(
        f"{_name}: two axes",
        f"tg.{_ours}(x, axis=(0, 2), keepdims=True)",
        f"torch.{_theirs}(x, dim=(0, 2), keepdim=True{_more})",
        {"ordinary": (entries(2, 3, 4),), "ties": (np.round(entries(2, 3, 4)),), "no rows": (np.zeros((2, 0, 4)),)},
    )
row("var: complex", "tg.var(x)", "torch.var(x, correction=0)", COMPLEX_VECTOR)
row("std: complex", "tg.std(x)", "torch.std(x, correction=0)", COMPLEX_VECTOR)
row("logsumexp: complex", "tg.logsumexp(x)", "torch.logsumexp(x, 0)", COMPLEX_VECTOR)
row("logcumsumexp: complex", "tg.logcumsumexp(x)", "torch.logcumsumexp(x, 0)", COMPLEX_VECTOR)
row("logaddexp: complex", "tg.logaddexp(x, y)", "torch.logaddexp(x, y)", COMPLEX_TWO)
row("logsumexp", "tg.logsumexp(x)", "torch.logsumexp(x, 0)", VECTOR)
row("logsumexp: axis", "tg.logsumexp(x, axis=1)", "torch.logsumexp(x, 1)", MATRIX)
for _name in ("softmax", "log_softmax"):
    row(_name, f"tg.{_name}(x)", f"torch.{_name}(x, -1)", VECTOR, MATRIX)
row(
    "cross_entropy",
    "tg.cross_entropy(x, y)",
    "F.cross_entropy(x, y, reduction='none')",
    {
        f"{label}, class {k}": (np.array([value]), whole(k))
        for label, value in {
            "ordinary": [0.3, -1.2, 2.5],
            "ties": [1.0, 1.0, 1.0],
            "extreme": [1000.0, -1000.0, 0.0],
            "huge": [1e300, -1e300, 1e300],
            "negative infinite": [-inf, 0.0, 1.0],
            "infinite": [inf, 0.0, 1.0],
            "NaN": [nan, 0.0, 1.0],
            "all negative infinite": [-inf, -inf, -inf],
        }.items()
        for k in (0, 1)
    }
    | {"no rows": (np.zeros((0, 3)), np.zeros(0, np.int64))},
)
for _ord in ("1", "2", "3", "1.5", "0.5", "-1", "0", "inf", "-inf"):
    _cases = VECTOR if _ord in ("1", "2", "inf") else {k: v for k, v in VECTOR.items() if k != "empty"}
    row(
        f"vector_norm: {_ord}",
        f"tg.linalg.vector_norm(x, ord={_ord})",
        f"torch.linalg.vector_norm(x, ord={_ord})",
        _cases,
        ulps=64,
    )
    row(
        f"vector_norm: {_ord}, complex",
        f"tg.linalg.vector_norm(x, ord={_ord})",
        f"torch.linalg.vector_norm(x, ord={_ord})",
        COMPLEX_VECTOR,
    )
row("vector_norm: axis", "tg.linalg.vector_norm(x, axis=0)", "torch.linalg.vector_norm(x, dim=0)", MATRIX)
row(
    "standardize",
    "tg.standardize(x, axis=-1)[0]",
    "F.layer_norm(x, x.shape[-1:])",
    {k: v for k, v in (VECTOR | MATRIX).items() if k not in ("empty", "no columns")},
    ulps=100,
)

for _name, _theirs in {
    "cumulative_sum": "torch.cumsum(x, {})",
    "cumulative_prod": "torch.cumprod(x, {})",
    "cumulative_max": "torch.cummax(x, {}).values",
    "cumulative_min": "torch.cummin(x, {}).values",
    "cumulative_argmax": "torch.cummax(x, {}).indices",
    "cumulative_argmin": "torch.cummin(x, {}).indices",
    "logcumsumexp": "torch.logcumsumexp(x, {})",
}.items():
    row(_name, f"tg.{_name}(x, axis=0)", _theirs.format(0), VECTOR)
    row(f"{_name}: axis", f"tg.{_name}(x, axis=1)", _theirs.format(1), MATRIX)
for _name, _theirs in {"cumulative_sum": "torch.cumsum(x, 0)", "cumulative_prod": "torch.cumprod(x, 0)"}.items():
    row(f"{_name}: complex", f"tg.{_name}(x, axis=0)", _theirs, COMPLEX_VECTOR)
for _d in ("False", "True"):
    _extra = ": descending" if _d == "True" else ""
    row(
        f"sort{_extra}",
        f"tg.sort(x, descending={_d})",
        f"torch.sort(x, descending={_d}, stable=True).values",
        VECTOR,
        MATRIX,
    )
    row(
        f"argsort{_extra}",
        f"tg.argsort(x, descending={_d})",
        f"torch.argsort(x, descending={_d}, stable=True)",
        VECTOR,
        MATRIX,
    )
_SORTED = np.array([-1.0, 0.0, 0.0, 2.0])
row(
    "searchsorted",
    "tg.searchsorted(x, y)",
    "torch.searchsorted(x, y)",
    {"ties": (_SORTED, np.array([-2.0, 0.0, 1.0, 2.0, 3.0, inf, -inf, nan]))},
)
row(
    "searchsorted: right",
    "tg.searchsorted(x, y, side='right')",
    "torch.searchsorted(x, y, side='right')",
    {"ties": (_SORTED, np.array([-2.0, 0.0, 1.0, 2.0, 3.0, inf, -inf, nan]))},
)
row("sort: topk", "tg.topk(x, 2)[0]", "torch.topk(x, 2).values", {k: v for k, v in VECTOR.items() if len(v[0]) > 1})
for _q in ("0.5", "0.25"):
    row(
        f"sort: quantile {_q}",
        f"tg.quantile(x, {_q})",
        f"torch.quantile(x, {_q})",
        {k: v for k, v in VECTOR.items() if k != "empty"},
    )
row("sort: median", "tg.median(x)", "torch.quantile(x, 0.5)", {k: v for k, v in VECTOR.items() if k != "empty"})
row("subtract: diff", "tg.diff(x)", "torch.diff(x)", VECTOR)

# Shapes and places

_CUBE = {"ordinary": (entries(2, 3, 4),), "empty": (np.zeros((2, 0, 4)),), "complex": (entries(2, 3, 4, dtype=C),)}
_SQUARE = {
    "ordinary": (entries(3, 3),),
    "wide": (entries(2, 4),),
    "NaN": (np.array([[nan, inf], [1.0, nan]]),),
    "complex": (entries(3, 3, dtype=C),),
}
for _title, (_ours, _theirs) in {
    "reshape": ("tg.reshape(x, (-1, 4))", "torch.reshape(x, (x.numel() // 4, 4))"),
    "permute_dims": ("tg.permute_dims(x, (2, 0, 1))", "torch.permute(x, (2, 0, 1))"),
    "matrix_transpose": ("tg.matrix_transpose(x)", "x.mT"),
    "broadcast_to": ("tg.broadcast_to(x, (5, *x.shape))", "torch.broadcast_to(x, (5, *x.shape))"),
    "expand_dims": ("tg.expand_dims(x, axis=1)", "torch.unsqueeze(x, 1)"),
    "squeeze": ("tg.squeeze(x[:1], axis=0)", "torch.squeeze(x[:1], 0)"),
    "flip": ("tg.flip(x, axis=(0, 2))", "torch.flip(x, (0, 2))"),
    "concat": ("tg.concat([x, 2 * x, x], axis=1)", "torch.concat([x, 2 * x, x], 1)"),
    "stack": ("tg.stack([x, 3 * x], axis=1)", "torch.stack([x, 3 * x], 1)"),
    "split": ("tg.split(x, [1, 3], axis=2)[1]", "torch.tensor_split(x, (1, 3), 2)[1]"),
    "unstack": ("tg.unstack(x, axis=2)[1]", "torch.unbind(x, 2)[1]"),
    "pad": ("tg.pad(x, ((0, 0), (1, 2), (0, 3)), constant_values=7)", "F.pad(x, (0, 3, 1, 2, 0, 0), value=7)"),
    "roll": ("tg.roll(x, (1, -2), axis=(0, 2))", "torch.roll(x, (1, -2), (0, 2))"),
    "roll: flat": ("tg.roll(x, 2)", "torch.roll(x, 2)"),
    "repeat": ("tg.repeat(x, 2, axis=2)", "torch.repeat_interleave(x, 2, 2)"),
    "tile": ("tg.tile(x, (2, 1, 3))", "torch.tile(x, (2, 1, 3))"),
    "unfold": ("tg.unfold(x, axis=2, size=2, step=1)", "x.unfold(2, 2, 1)"),
    "getitem": ("x[1, ..., ::2]", "x[1, ..., ::2]"),
    "getitem: twice the same": ("x[[1, 0, 1], ..., 2]", "x[[1, 0, 1], ..., 2]"),
    "getitem: mask": ("x[x == x]", "x[x == x]"),
    "take": ("tg.take(x, [1, 0, 1], axis=0)", "torch.index_select(x, 0, torch.tensor([1, 0, 1]))"),
    "diagonal": ("tg.diagonal(x, offset=1, axis1=0, axis2=2)", "torch.diagonal(x, 1, 0, 2)"),
    "trace": ("tg.trace(x, offset=1, axis1=0, axis2=2)", "torch.diagonal(x, 1, 0, 2).sum(-1)"),
    "tril": ("tg.tril(x, k=-1)", "torch.tril(x, -1)"),
    "triu": ("tg.triu(x, k=1)", "torch.triu(x, 1)"),
    "zeros_like": ("tg.zeros_like(x)", "torch.zeros_like(x)"),
    "ones_like": ("tg.ones_like(x)", "torch.ones_like(x)"),
}.items():
    row(_title, _ours, _theirs, _CUBE)
row("tril: not numbers", "tg.tril(x)", "torch.tril(x)", _SQUARE)
row("triu: not numbers", "tg.triu(x)", "torch.triu(x)", _SQUARE)
row("trace: matrix", "tg.trace(x)", "torch.trace(x)", _SQUARE)
_PICKED = np.array([[0, 2, 2], [1, 1, 0]])
row("take_along_axis", "tg.take_along_axis(x, y, axis=1)", "torch.gather(x, 1, y)", {"ties": (entries(2, 4), _PICKED)})
row(
    "scatter_along_axis",
    "tg.scatter_along_axis(x, y, (2, 4), 1)",
    "torch.zeros(2, 4, dtype=x.dtype).scatter_add(1, y, x)",
    {"ties": (entries(2, 3), _PICKED), "NaN": (np.array([[1, nan, 2], [inf, -inf, 3]]), _PICKED)},
)
row(
    "scatter_at",
    "tg.scatter_at(x, y.numpy(), (4, 3))",
    "torch.zeros(4, 3, dtype=x.dtype).index_put((y,), x, accumulate=True)",
    {"ties": (entries(3, 3), whole(2, 0, 2))},
)
row(
    "set_at",
    "tg.set_at(x, y, index=(slice(None), 1))",
    "torch.select_scatter(x, y, 1, 1)",
    {"ordinary": (entries(2, 3), entries(2)), "NaN": (np.full((2, 3), nan), entries(2))},
)
row(
    "set_at: index_put",
    "tg.set_at(x, y, index=[2, 0])",
    "x.index_put((torch.tensor([2, 0]),), y)",
    {"ordinary": (entries(4), entries(2)), "complex": (entries(4, dtype=C), entries(2, dtype=C))},
)
row(
    "scatter_at: index_add",
    "tg.index_add(x, y, z, axis=0)",
    "torch.index_add(x, 0, y, z)",
    {"ties": (entries(4, 2), whole(1, 1, 3), entries(3, 2))},
)
row(
    "scatter_at: add_at",
    "tg.add_at(x, y, index=([1, 0, 1],))",
    "x.index_put((torch.tensor([1, 0, 1]),), y, accumulate=True)",
    {"ties": (entries(3), entries(3)), "complex": (entries(3, dtype=C), entries(3, dtype=C))},
)
row(
    "set_at: put_along_axis",
    "tg.put_along_axis(x, [[1, 3], [0, 2]], y, axis=1)",
    "x.scatter(1, torch.tensor([[1, 3], [0, 2]]), y)",
    {"ordinary": (entries(2, 4), entries(2, 2))},
)
row("permute_dims: moveaxis", "tg.moveaxis(x, 0, 2)", "torch.movedim(x, 0, 2)", _CUBE)
row("where: masked_fill", "tg.masked_fill(x, x != x, 0.0)", "torch.masked_fill(x, x != x, 0.0)", VECTOR)
row("getitem: masked_select", "tg.masked_select(x, x > 0)", "torch.masked_select(x, x > 0)", VECTOR)

# Products

_MATMUL = {
    "matrices": (entries(2, 3), entries(3, 4)),
    "vectors": (entries(3), entries(3)[::-1].copy()),
    "matrix, vector": (entries(2, 3), entries(3)),
    "vector, matrix": (entries(3), entries(3, 2)),
    "batches": (entries(2, 1, 2, 3), entries(4, 3, 2)),
    "empty": (np.zeros((2, 0)), np.zeros((0, 3))),
    "complex": (entries(2, 3, dtype=C), entries(3, 2, dtype=C)),
    "not numbers": (np.array([[1.0, inf], [0.0, 2.0]]), np.array([[nan, 1.0], [0.0, 0.0]])),
}
_VECTORS = {
    "ordinary": (entries(3), entries(3) + 1),
    "complex": (entries(3, dtype=C), entries(3, dtype=C) + 1j),
    "zeros": (np.zeros(3), np.zeros(3)),
    "not numbers": (np.array([inf, 1, nan]), np.array([0.0, -inf, 2])),
}
row("matmul", "tg.matmul(x, y)", "torch.matmul(x, y)", _MATMUL)
row(
    "linear",
    "tg.linear(x, y, z)",
    "F.linear(x, y, z)",
    {
        "ordinary": (entries(2, 3), entries(4, 3), entries(4)),
        "vector": (entries(3), entries(4, 3), entries(4)),
        "batches": (entries(2, 2, 3), entries(4, 3), entries(4)),
        "no rows": (np.zeros((0, 3)), entries(4, 3), entries(4)),
    },
)
row("vecdot", "tg.vecdot(x, y)", "torch.linalg.vecdot(x, y)", _VECTORS)
row("cross", "tg.cross(x, y)", "torch.linalg.cross(x, y)", _VECTORS)
row("outer", "tg.outer(x, y)", "torch.outer(x, y)", _VECTORS)
for _equation in ("ij,kj->ik", "ij,ij->", "ij,kl->ijkl", "ii,jk->ij"):
    row(
        f"einsum: {_equation}",
        f"tg.einsum('{_equation}', x, y)",
        f"torch.einsum('{_equation}', x, y)",
        {
            "ordinary": (entries(3, 3), entries(3, 3) + 1),
            "complex": (entries(3, 3, dtype=C), entries(3, 3, dtype=C) + 1),
        },
    )
row("einsum: diagonal", "tg.einsum('ii->i', x)", "torch.einsum('ii->i', x)", {"ordinary": (entries(3, 3),)})
row("multiply: kron", "tg.kron(x, y)", "torch.kron(x, y)", {"ordinary": (entries(2, 3), entries(2, 2))})
row(
    "matmul: tensordot",
    "tg.tensordot(x, y, axes=2)",
    "torch.tensordot(x, y, 2)",
    {
        "ordinary": (entries(2, 3, 4), entries(3, 4, 2)),
        "complex": (entries(2, 3, 4, dtype=C), entries(3, 4, 2, dtype=C)),
    },
)
_MATRIX_POWER = {"ordinary": (entries(3, 3) + 2 * np.eye(3),), "zeros": (np.zeros((2, 2)),)}
for _n in (0, 1, 3, -2):
    row(
        f"matmul: matrix_power {_n}",
        f"tg.linalg.matrix_power(x, {_n})",
        f"torch.linalg.matrix_power(x, {_n})",
        _MATRIX_POWER,
    )
row(
    "lstm_cell",
    "tg.lstm_cell(x, y)[:2]",
    "torch.lstm_cell(x, (0 * y, y), torch.eye(8, dtype=x.dtype), torch.zeros(8, 2, dtype=x.dtype))",
    {"ordinary": (entries(3, 8), entries(3, 2)), "saturated": (entries(1, 8) * 1000, entries(1, 2))},
)
_SEQUENCE = {
    "ordinary": (entries(3, 2, 4), entries(2, 2), entries(8, 4) / 4),
    "one step": (entries(1, 1, 4), entries(1, 2), entries(8, 4) / 4),
}
row(
    "lstm_sequence",
    "tg.lstm_sequence([x, y, y / 2, z, z[:, :2]])[0]",
    "torch.lstm(x, (y[None], y[None] / 2), (z, z[:, :2].contiguous()), False, 1, 0.0, False, False, False)[0]",
    _SEQUENCE,
)
row(
    "gru_sequence",
    "tg.gru_sequence([x, y, z[:6], z[:6, :2]])[0]",
    "torch.gru(x, y[None], (z[:6], z[:6, :2].contiguous()), False, 1, 0.0, False, False, False)[0]",
    _SEQUENCE,
)
for _kind in ("tanh", "relu"):
    row(
        f"rnn_sequence: {_kind}",
        f"tg.rnn_sequence([x, y, z[:2], z[:2, :2]], nonlinearity='{_kind}')",
        f"torch.rnn_{_kind}(x, y[None], (z[:2], z[:2, :2].contiguous()), False, 1, 0.0, False, False, False)[0]",
        _SEQUENCE,
    )

# Matrices taken apart

_REGULAR = {
    "ordinary": (entries(3, 3) + 2 * np.eye(3),),
    "batch": (entries(2, 3, 3) + 2 * np.eye(3),),
    "complex": (entries(3, 3, dtype=C) + 2 * np.eye(3),),
    "one": (np.array([[2.5]]),),
    "empty": (np.zeros((0, 0)),),
    "no batch": (np.zeros((0, 2, 2)),),
}
_SINGULAR = {
    "rank n − 1": (np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 1.0], [0.0, 0.0, 3.0]]),),
    "rank n − 2": (np.diag([0.0, 0.0, 3.0]),),
    "zero": (np.zeros((3, 3)),),
}
_EXACT = {"diagonal": (np.diag([3.0, 2.0, 0.0]),)}
_SYMMETRIC = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 2.0]])
_HERMITIAN = _SYMMETRIC + 1j * np.array([[0.0, 0.5, 0.2], [-0.5, 0.0, -0.3], [-0.2, 0.3, 0.0]])
_POSITIVE = {
    "ordinary": (_SYMMETRIC,),
    "complex": (_HERMITIAN,),
    "batch": (np.stack([_SYMMETRIC, 2 * _SYMMETRIC]),),
    "empty": (np.zeros((0, 0)),),
}
_WIDE = {
    "wide": (entries(2, 3),),
    "tall": (entries(3, 2),),
    "complex wide": (entries(2, 3, dtype=C),),
    "complex tall": (entries(3, 2, dtype=C),),
}
row("inv", "tg.linalg.inv(x)", "torch.linalg.inv(x)", _REGULAR, _SINGULAR, ulps=500)
row("det", "tg.linalg.det(x)", "torch.linalg.det(x)", _REGULAR, _SINGULAR, _EXACT, ulps=500)
row("slogdet", "tg.linalg.slogdet(x)", "torch.linalg.slogdet(x)", _REGULAR, _SINGULAR, ulps=500)
row("slogdet: value", "tg.linalg.slogdet(x)[1].detach()", "torch.linalg.slogdet(x)[1].detach()", _SINGULAR)
row(
    "solve",
    "tg.linalg.solve(x, y)",
    "torch.linalg.solve(x, y)",
    {k: (*v, entries(3, 2, dtype=str(v[0].dtype))) for k, v in _REGULAR.items() if v[0].shape[-1:] == (3,)},
    {k: (*v, entries(3, 2)) for k, v in _SINGULAR.items()},
    ulps=500,
)
row(
    "solve: vector",
    "tg.linalg.solve(x, y)",
    "torch.linalg.solve(x, y)",
    {"ordinary": (entries(3, 3) + 2 * np.eye(3), entries(3))},
    ulps=500,
)
row(
    "cholesky", "tg.linalg.cholesky(x)", "torch.linalg.cholesky(x)", _POSITIVE, {"indefinite": (-_SYMMETRIC,)}, ulps=500
)
row("cholesky: upper", "tg.linalg.cholesky(x, upper=True)", "torch.linalg.cholesky(x, upper=True)", _POSITIVE, ulps=500)
_DEGENERATE = {"all equal": (2 * np.eye(3),), "two equal": (np.diag([1.0, 2.0, 2.0]),), "zero": (np.zeros((2, 2)),)}
row("eigvalsh", "tg.linalg.eigvalsh(x)", "torch.linalg.eigvalsh(x)", _POSITIVE, ulps=500)
row(
    "eigvalsh: their sum", "tg.sum(tg.linalg.eigvalsh(x))", "torch.sum(torch.linalg.eigvalsh(x))", _DEGENERATE, ulps=500
)
row(
    "eigh",
    "[tg.linalg.eigh(x)[0], tg.square(tg.abs(tg.linalg.eigh(x)[1]))]",
    "[torch.linalg.eigh(x)[0], torch.square(torch.abs(torch.linalg.eigh(x)[1]))]",
    _POSITIVE,
    ulps=1000,
)
row(
    "eigh: a function of the matrix",
    "(lambda w, q: q * tg.exp(w) @ q.mT)(*tg.linalg.eigh(x))",
    "(lambda w, q: q * torch.exp(w) @ q.mT)(*torch.linalg.eigh(x))",
    {"ordinary": (_SYMMETRIC,)},
    _DEGENERATE,
    ulps=1000,
)
row("svdvals", "tg.linalg.svdvals(x)", "torch.linalg.svdvals(x)", _REGULAR, _WIDE, ulps=500)
row("svdvals: their sum", "tg.sum(tg.linalg.svdvals(x))", "torch.sum(torch.linalg.svdvals(x))", _DEGENERATE, ulps=500)
row(
    "svd",
    "(lambda u, s, v: [tg.square(tg.abs(u)), s, tg.square(tg.abs(v))])(*tg.linalg.svd(x, full_matrices=False))",
    "(lambda u, s, v: [torch.square(torch.abs(u)), s, torch.square(torch.abs(v))])"
    "(*torch.linalg.svd(x, full_matrices=False))",
    {k: v for k, v in _REGULAR.items() if v[0].size},
    _WIDE,
    ulps=2000,
)
row(
    "svd: put together again",
    "(lambda u, s, v: u * s @ v)(*tg.linalg.svd(x, full_matrices=False))",
    "(lambda u, s, v: u * s @ v)(*torch.linalg.svd(x, full_matrices=False))",
    _WIDE,
    _DEGENERATE,
    ulps=2000,
)
for _mode in ("reduced", "complete"):
    row(
        f"qr: {_mode}",
        f"(lambda q, r: [tg.square(tg.abs(q)), tg.square(tg.abs(r))])(*tg.linalg.qr(x, mode='{_mode}'))",
        f"(lambda q, r: [torch.square(torch.abs(q)), torch.square(torch.abs(r))])(*torch.linalg.qr(x, mode='{_mode}'))",
        {k: v for k, v in _REGULAR.items() if v[0].size},
        _WIDE,
        {"zero": (np.zeros((2, 2)),)},
        ulps=2000,
    )
row("pinv", "tg.linalg.pinv(x)", "torch.linalg.pinv(x)", _REGULAR, _WIDE, _SINGULAR, ulps=2000)
row("matrix_rank", "tg.linalg.matrix_rank(x)", "torch.linalg.matrix_rank(x)", _REGULAR, _WIDE, _SINGULAR)
for _ord in ("'fro'", "'nuc'", "1", "-1", "2", "-2", "inf", "-inf"):
    row(
        f"svdvals: matrix_norm {_ord}",
        f"tg.linalg.matrix_norm(x, ord={_ord})",
        f"torch.linalg.matrix_norm(x, ord={_ord})",
        {
            "ordinary": (entries(2, 3),),
            "complex": (entries(2, 3, dtype=C),),
            "zero": (np.zeros((2, 2)),),
            "equal": (np.eye(2),),
            # Of a singular value that is 0 but for rounding, the vectors are LAPACK's own affair.
            **({} if _ord in ("'nuc'", "-2") else {"rank 1": (np.array([[1.0, 2.0], [2.0, 4.0]]),)}),
            **({} if _ord in ("'nuc'", "-2") else {"ties": (np.ones((2, 2)),)}),
        },
        ulps=500,
    )

# Fourier transforms

for _norm in ("backward", "ortho", "forward"):
    for _name in ("fftn", "ifftn", "rfftn", "irfftn"):
        _cases = {
            "real": (entries(3, 4),),
            "complex": (entries(3, 4, dtype=C),),
            "empty": (np.zeros((0, 4)),),
            "NaN": (np.array([[nan, 1.0], [2.0, 3.0]]),),
        }
        if _name == "rfftn":
            del _cases["complex"]
        if _norm != "backward":
            del _cases["empty"], _cases["NaN"]
        row(
            f"{_name}: {_norm}",
            f"tg.fft.{_name}(x, norm='{_norm}')",
            f"torch.fft.{_name}(x, norm='{_norm}')",
            _cases,
            ulps=100,
        )
for _name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    _base = {"fft": "fftn", "ifft": "ifftn", "rfft": "rfftn", "irfft": "irfftn", "hfft": "irfftn", "ihfft": "rfftn"}[
        _name
    ]
    for _n in (3, 6):
        row(
            f"{_base}: {_name}, n = {_n}",
            f"tg.fft.{_name}(x, n={_n}, axis=0)",
            f"torch.fft.{_name}(x, n={_n}, dim=0)",
            {"real": (entries(5),)} if _name in ("rfft", "ihfft") else {"complex": (entries(5, dtype=C),)},
            ulps=100,
        )


# Slopes of slopes

_THEIR_NAMES = {"i0e": "special.i0e", "i1": "special.i1", "i1e": "special.i1e", "xlog1py": "special.xlog1py"}
_SMOOTH = """
    abs acos asin asinh atan atanh cos cosh erf erfc erfinv exp expm1 i0 i0e i1 i1e lgamma log log10 log1p log2
    reciprocal relu sigmoid sin sinc sinh sqrt square tan tanh
"""
_SMOOTH_OF_TWO = "atan2 divide hypot maximum multiply pow xlog1py xlogy"
_LINES = """
    cumulative_prod:cumprod(x,0) logsumexp:logsumexp(x,0) log_softmax:log_softmax(x,-1) prod:prod(x)
    softmax:softmax(x,-1) std:std(x,correction=0) var:var(x,correction=0)
"""
for _name in _SMOOTH.split():
    _theirs = f"torch.{_THEIR_NAMES.get(_name, _name)}"
    row(
        f"{_name}: its slope",
        f"tg.grad(tg.{_name})(x)",
        f"torch.autograd.grad({_theirs}(x), x, create_graph=True)[0]",
        points(0.0, 0.3, -0.7, 2.5),
        ulps=1e7 if _name == "lgamma" else 3000,
    )
for _name in _SMOOTH_OF_TWO.split():
    _theirs = f"torch.{_THEIR_NAMES.get(_name, _name)}"
    row(
        f"{_name}: its slopes",
        f"tg.grad(tg.{_name}, (0, 1))(x, y)",
        f"torch.autograd.grad({_theirs}(x, y), (x, y), create_graph=True)",
        points((0.7, 2.0), (2.5, 0.0), (0.0, 2.0), (0.0, 1.0), (0.0, 0.0), (0.5, 0.5), (2.0, -1.5)),
        ulps=200,
    )
row(
    "logaddexp: its slope",
    "tg.grad(tg.logaddexp)(x, y)",
    "torch.autograd.grad(torch.logaddexp(x, y), x, create_graph=True)[0]",
    points((0.7, 2.0), (2.5, 0.0), (0.5, 0.5), (800.0, 0.0)),
    ulps=200,
)
_LINE = arrays(ordinary=[0.3, -1.2, 0.7], ties=[1, 1, 0.5], one_zero=[2, 0, -3], two_zeros=[2, 0, 0])
_EQUAL = arrays(equal=[2, 2, 2])
for _line in _LINES.split():
    _name, _, _theirs = _line.partition(":")
    _axis = ", axis=0" if _name.startswith("cum") else ""
    row(
        f"{_name}: its slope",
        f"tg.grad(lambda x: tg.sum(tg.square(tg.{_name}(x{_axis}))))(x)",
        f"torch.autograd.grad(torch.sum(torch.square(torch.{_theirs})), x, create_graph=True)[0]",
        _LINE if _name == "log_softmax" else _LINE | _EQUAL,  # whose slope would be nothing but rounding there
        ulps=200,
    )


# What has no counterpart, and what differs

NOT_IN_PYTORCH: dict[str, str] = {
    "convolution_weight": "the adjoint of `convolution` to its kernel; PyTorch has it inside its rule",
    "cofactor": "the derivative of `det`, which PyTorch has inside its rule",
    "eye_like": "a constant that the rules need",
    "lecun_tanh": "`1.7159 * torch.tanh(2 * x / 3)`",
    "last_written": "the adjoint of `set_at` where a place is written twice, which PyTorch leaves open",
    "linear_recurrence": "PyTorch has no such scan on the CPU",
    "max_pool_pick": "the derivative of `max_pool`; PyTorch has it inside its rule",
    "max_pool_place": "the indices that PyTorch's pooling returns, of one axis",
    "max_pool_spread": "the adjoint of `max_pool`; PyTorch has it inside its rule",
    "overlap_add": "the adjoint of `unfold`; PyTorch has it inside its rule",
    "product_of_others": "the slope of `prod`; PyTorch has it inside its rule",
    "running_product_adjoint": "the adjoint of `cumulative_prod`; PyTorch has it inside its rule",
    "sum_pool_spread": "the adjoint of `sum_pool`; PyTorch has it inside its rule",
    "transfer": "moves between devices",
}


class Difference(NamedTuple):
    """Cases in which the two differ, in values, gradients or both: each of them must. Titles and cases are patterns."""

    titles: str
    cases: str
    parts: str  # "values", "gradients" or "values and gradients"
    why: str


V, G, VG = "values", "gradients", "values and gradients"
DIFFERENCES = [
    # NaN
    Difference("abs", "nan*", G, "the slope at NaN is NaN; PyTorch's sign of NaN is 0"),
    Difference("sign", "nan*", V, "the sign of NaN is NaN, as in the array API standard; PyTorch's is 0"),
    Difference("relu", "nan*", G, "NaN is not above 0, so nothing passes; PyTorch passes it whole"),
    Difference("elu", "nan*", G, "the slope at NaN is NaN; PyTorch's is 1"),
    Difference("hardtanh", "nan*", G, "NaN is not between the ends, so nothing passes; PyTorch passes it whole"),
    Difference("i1; i1e; iv; ive", "nan*", G, "the slope at NaN is NaN; PyTorch takes it for 0"),
    Difference(
        "maximum; minimum",
        "*, nan; nan, *",
        G,
        "NaN is neither larger nor smaller, so neither has a slope; "
        "PyTorch gives each the whole, twice as much as there is",
    ),
    Difference("vector_norm: 1", "NaN", G, "the slope at NaN is NaN; PyTorch's sign of NaN is 0"),
    Difference(
        "vector_norm: inf; vector_norm: -inf", "NaN", G, "nothing equals the NaN that the norm is; PyTorch has 0"
    ),
    # Where the slope is defined by a convention, or by a limit
    Difference(
        "acosh",
        "-1; -2.5*; -30; -1e+300; -inf",
        G,
        "outside the domain slope and value are NaN; PyTorch goes on with 1/√(x² − 1)",
    ),
    Difference("hypot", "0, 0; -0, 0; 0, -0; 0, 0 float32", G, "0 at the kink, as for every norm; PyTorch has 0/0"),
    Difference("logaddexp", "inf, inf; -inf, -inf", G, "½ each at the tie; PyTorch has ∞ − ∞"),
    Difference("logsumexp", "all negative infinite", G, "no entry has a share of nothing: 0; PyTorch has ∞ − ∞"),
    Difference(
        "logcumsumexp",
        "negative infinite; all negative infinite",
        G,
        "an entry of −∞ has the slope 0, its limit; PyTorch has NaN",
    ),
    Difference(
        "logcumsumexp",
        "infinite; infinite twice; both infinite",
        G,
        "the first ∞ has the whole slope; PyTorch has ∞ − ∞",
    ),
    Difference(
        "divide", "0, 0; -0, 0; 0, -0; 0, 0 float32", G, "0/b is 0 for every b, so its slope in b is 0; PyTorch has NaN"
    ),
    Difference(
        "pow", "0, -2; 0, -inf; 0, nan; -0, -1", G, "0ᵖ has the slope 0 in p, for each p alike; PyTorch has ±∞ below 0"
    ),
    Difference("pow: of 0", "-1", G, "0ᵖ has the slope 0 in p, for each p alike; PyTorch has ±∞ below 0"),
    Difference("pow: complex", "0j, 1+1j", G, "0ᵖ has the slope 0 in p, for each p alike; PyTorch has 0 · ∞"),
    Difference(
        "xlogy",
        "0, 0; -0, 0; 0, -0; 0, 0 float32",
        G,
        "0 ln a is 0 for every a, so its slope in a is 0; PyTorch has NaN",
    ),
    Difference("xlog1py", "0, -1; -0, -1", G, "0 ln(1 + a) is 0 for every a, so its slope in a is 0; PyTorch has NaN"),
    Difference(
        "where: of * not taken",
        "0",
        G,
        "a branch not taken has no say: a zero gradient stays zero at a pole; PyTorch makes 0 · ∞ of it",
    ),
    Difference(
        "nextafter",
        "0, 1; 1, 0; inf, 0; 1, nan",
        G,
        "what steps has no slope here, as `floor`; PyTorch's is 1 in the first argument",
    ),
    Difference("sort: topk", "ties", G, "of ties the earlier ones are the largest; PyTorch leaves open which"),
    Difference(
        "svdvals: their sum; svdvals: matrix_norm 'nuc'; svdvals: matrix_norm 2; svdvals: matrix_norm -2",
        "zero",
        G,
        "0 for singular values of 0, where the norm has a kink; PyTorch takes those of one basis",
    ),
    # Where PyTorch's formula overflows, vanishes, or loses its digits
    Difference("acosh", "1e+300", G, "PyTorch squares x, which overflows"),
    Difference("asinh", "1e+300; -1e+300", G, "PyTorch squares x, which overflows"),
    Difference(
        "atan2",
        "0, 1e+200; 1, 1e+200; -2, 1e+200; 0.5, 1e+200; 1e+200, 0; 1e+200, 1; 1e+200, -2; "
        "1e+200, 0.5; 1e+200, 1e+200; 1e-200, 2e-200",
        G,
        "PyTorch squares both, which overflows or vanishes",
    ),
    Difference("expm1", "-30", G, "PyTorch takes 1 + y for eˣ, with four digits left here"),
    Difference("softsign", "800", G, "PyTorch's slope is a difference of two terms that are nearly equal"),
    Difference("softsign", "inf*; -inf", G, "0, the limit; PyTorch has ∞/∞"),
    Difference("gelu", "-30", VG, "PyTorch takes ½ (1 + erf), of which nothing is left here"),
    Difference(
        "binary_cross_entropy",
        "0, *; 1, *; 1e-300, *",
        G,
        "in the target, the slope of the logarithms as they are bounded; PyTorch's are not. Its 10⁻¹² is a float32",
    ),
    Difference("sigmoid", "30", G, "1 − y has three digits left, and either loses them another way"),
    Difference("softplus", "30", G, "PyTorch takes x itself from 20 on"),
    Difference("binary_cross_entropy_with_logits", "-40, 0", V, "PyTorch takes ln(1 + e⁻ˣ) without `log1p`"),
    Difference(
        "sinc", "1; -1; 30; -30; 800; 20 float32", V, "0 at a whole number; PyTorch takes the sine of a rounded πx"
    ),
    Difference("sinc", "1e-09; 1e-300", G, "the slope −π²x/3; PyTorch's difference has lost it"),
    Difference("sinc", "1e+300; -1e+300", VG, "0 at a whole number; PyTorch takes the sine of a rounded πx"),
    Difference(
        "digamma; digamma: whole numbers",
        "-1; -30; -3; -2; -1e+300",
        G,
        "∞ at the poles; PyTorch comes near them, with a rounded πx",
    ),
    Difference(
        "polygamma", "-1; -30; -3; -2; -1e+300", V, "∞ at the poles; PyTorch comes near them, with a rounded πx"
    ),
    Difference("polygamma", "inf*", G, "0, the limit; PyTorch has NaN"),
    Difference("polygamma", "-inf", G, "NaN, as between infinitely many poles; PyTorch has −∞"),
    Difference("lgamma", "-inf", V, "−∞, as in SciPy, for want of a limit; PyTorch has ∞, as the C library"),
    Difference("i1; iv", "800; 1e+300; -1e+300", G, "∞, as the value is; PyTorch has ∞ − ∞"),
    Difference("copysign", "inf, *; -inf, *", G, "±1 everywhere but at 0; PyTorch has ∞/∞"),
    Difference(
        "prod; cumulative_prod",
        "NaN; infinite; infinite twice; negative infinite; all negative infinite",
        G,
        "the product of the others, whatever the entry is; PyTorch divides the product by it",
    ),
    Difference(
        "cumulative_prod",
        "both infinite",
        G,
        "the product of the others, whatever the entry is; PyTorch divides the product by it",
    ),
    Difference("std; std: corrected", "huge; tiny", VG, "PyTorch's squares overflow or vanish"),
    Difference("vector_norm: 2; vector_norm: 3", "huge; tiny", VG, "PyTorch's powers overflow or vanish"),
    Difference("vector_norm: 0.5", "both infinite", G, "the entry of 0 has the slope 0 by convention; PyTorch has NaN"),
    Difference("logsumexp", "huge", G, "the shares add up to 1; PyTorch's to 2, with ln 2 rounded away"),
    Difference("logcumsumexp", "huge; extreme", G, "PyTorch goes by the logarithm of the gradient, and loses digits"),
    Difference(
        "sort: quantile*; sort: median",
        "infinite twice; all negative infinite",
        V,
        "between two equal infinities lies that infinity; PyTorch has ∞ − ∞",
    ),
    Difference("sinc: its slope", "0", G, "−π²/3, the second derivative; PyTorch has NaN"),
    Difference("atan2: its slopes", "0, 0", G, "0 at the kink, to any order; PyTorch has 0/0"),
    Difference("hypot: its slopes", "0, 0", VG, "0 at the kink, to any order; PyTorch has 0/0"),
    Difference("divide: its slopes", "0, 0", VG, "0/b is 0 for every b, so its slope in b is 0; PyTorch has NaN"),
    Difference("xlogy: its slopes", "0, 0", VG, "0 ln a is 0 for every a, so its slope in a is 0; PyTorch has NaN"),
    Difference("pow: its slopes", "2.5, 0", G, "∂²xᵖ/∂x∂p = 1/x at p = 0; PyTorch takes it for 0 one way"),
    Difference("pow: its slopes", "0, 2; 0, 1; 0, 0", G, "0ᵖ has the slope 0 in p, to any order; PyTorch has NaN"),
    # Where one has no answer
    Difference(
        "sinc: complex; var: complex; std: complex; logcumsumexp: complex; logaddexp: complex",
        "*",
        VG,
        "of real numbers here, an error for others",
    ),
    Difference("vector_norm: 1.5", "huge; tiny", V, "PyTorch takes the power of a large number, and loses digits"),
    Difference("vector_norm: -1", "huge; tiny", G, "PyTorch's powers overflow or vanish"),
    Difference(
        "floor_divide",
        "1, -inf; 0.5, -inf; 1e+200, -inf; -2, inf",
        V,
        "the limit, as in the array API standard; PyTorch has Python's −1",
    ),
    Difference(
        "floor_divide",
        "inf, 1; inf, -2; inf, 0.5; inf, 1e+200; -inf, 1; -inf, -2; -inf, 0.5; -inf, 1e+200",
        V,
        "±∞, as in the array API standard; PyTorch has NaN",
    ),
    Difference("pow", "-inf, 0.5", V, "NumPy takes the root of −∞, which is NaN; PyTorch has ∞, as the C library"),
    Difference("acos: complex; acosh: complex; asin: complex", "1+0j", G, "at a pole; which parts are NaN differs"),
    Difference("atan: complex", "1j", G, "at a pole; which parts are NaN differs"),
    Difference("reciprocal: complex", "0j", G, "at a pole; which parts are NaN differs"),
    Difference(
        "slogdet", "rank n − 1; rank n − 2; zero", G, "an error, as there is no gradient; PyTorch has ∞ and NaN"
    ),
    Difference("qr: *", "zero", G, "an error, as there is no gradient; PyTorch has NaN"),
    Difference(
        "qr: complete",
        "tall; complex tall",
        G,
        "right where the function does not depend on the columns that complete q; PyTorch refuses",
    ),
    Difference("det", "rank n − 1; diagonal", G, "the cofactors, which are not 0; PyTorch gives 0"),
    Difference(
        "cholesky; cholesky: upper",
        "complex",
        G,
        "the diagonal of y is real, so the imaginary part of what arrives there has no effect; PyTorch hands it on",
    ),
    Difference(
        "eigh: a function of the matrix; svd: put together again",
        "all equal; two equal; zero",
        G,
        "finite, but right only where equal values count alike, through the space of their vectors alone, "
        "which is not so here; PyTorch has NaN",
    ),
    Difference(
        "binary_cross_entropy_with_logits",
        "inf, 1; -inf, 0; -inf, 0.3; -inf, 1",
        V,
        "0 where the target agrees with an infinite logit, ∞ where not; PyTorch has NaN",
    ),
]


# Both sides


def cotangent(like: np.ndarray) -> np.ndarray:
    """What arrives at a result: the same numbers on both sides, 1 for a single number."""
    if like.ndim == 0:
        return np.ones((), like.dtype)
    values: Any = 1 + 0.5 * np.cos(np.arange(like.size))
    if like.dtype.kind == "c":
        values = values + 0.5j * np.sin(np.arange(like.size) + 1)
    return values.reshape(like.shape).astype(like.dtype)


def _inexact(array: np.ndarray) -> bool:
    return array.dtype.kind in "fc"


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (tuple, list)) else [result]


def ours(formula: str, case: Case) -> Result:
    """Values and gradients here, or that there are none."""
    inputs = [tg.Tensor(a.copy(), requires_grad=_inexact(a)) for a in case]
    names = {"tg": tg, "inf": inf, **dict(zip("xyz", inputs))}
    try:
        outputs = _listed(eval(formula, names))
    except (tg.Error, ValueError, TypeError, np.linalg.LinAlgError) as problem:
        return {"values": f"error: {type(problem).__name__}"}
    values = [np.asarray(o.numpy()) for o in outputs]
    try:
        for output, value in zip(outputs, values):
            if output._node is not None:
                output.backward(gradient=cotangent(value), retain_graph=True)
    except (tg.Error, np.linalg.LinAlgError) as problem:
        return {"values": values, "gradients": f"error: {type(problem).__name__}"}
    gradients = [
        np.zeros_like(a) if t.grad is None else np.asarray(t.grad.numpy()) for a, t in zip(case, inputs) if _inexact(a)
    ]
    return {"values": values, "gradients": gradients}


def theirs(formula: str, case: Case) -> Result:
    """The same in PyTorch."""
    import torch

    inputs = [torch.tensor(a, requires_grad=_inexact(a)) for a in case]
    names = {"torch": torch, "F": torch.nn.functional, "inf": inf, **dict(zip("xyz", inputs))}
    try:
        outputs = _listed(eval(formula, names))
    except (RuntimeError, IndexError, ValueError) as problem:
        return {"values": f"error: {type(problem).__name__}"}
    values = [o.numpy(force=True) for o in outputs]
    wanted = [t for t in inputs if t.requires_grad]
    reached = [(o, torch.tensor(cotangent(v))) for o, v in zip(outputs, values) if o.requires_grad]
    found: Sequence[Any] = [None] * len(wanted)
    if reached and wanted:
        try:
            found = torch.autograd.grad([o for o, _ in reached], wanted, [g for _, g in reached], allow_unused=True)
        except RuntimeError as problem:
            return {"values": values, "gradients": f"error: {type(problem).__name__}"}
    gradients = [(torch.zeros_like(t) if g is None else g).numpy(force=True) for t, g in zip(wanted, found)]
    return {"values": values, "gradients": gradients}


# Recorded


def _packed(part: Any) -> Any:
    """Arrays as [dtype, shape, numbers], or a number that is a float64; numbers that JSON lacks as words."""
    if isinstance(part, str):
        return part
    packed: list[Any] = []
    for array in part:
        flat = np.ascontiguousarray(array).reshape(-1)
        numbers = flat.view(flat.real.dtype) if array.dtype.kind == "c" else flat
        plain = [n if not isinstance(n, float) or math.isfinite(n) else repr(n) for n in numbers.tolist()]
        alone = array.shape == () and array.dtype == np.float64
        packed.append(plain[0] if alone else [array.dtype.name, list(array.shape), plain])
    return packed


def _unpacked(part: Any) -> Any:
    if isinstance(part, str):
        return part
    arrays = []
    for entry in part:
        name, shape, numbers = entry if isinstance(entry, list) else ("float64", [], [entry])
        dtype = np.dtype(name)
        flat = np.array([float(n) if isinstance(n, str) else n for n in numbers], np.zeros(0, dtype).real.dtype)
        arrays.append(flat.view(dtype).reshape(shape))
    return arrays


def record() -> None:
    """Asks PyTorch, and writes its answers down."""
    import torch

    found: dict[str, dict[str, Any]] = {}
    for title, line in TABLE.items():
        found[title] = {
            label: [_packed(part) for part in theirs(line.theirs, case).values()] for label, case in line.cases.items()
        }
    DATA.parent.mkdir(exist_ok=True)
    lines = [f"{json.dumps(t)}: {json.dumps(c, separators=(',', ':'), ensure_ascii=False)}" for t, c in found.items()]
    head = f'{{"version": {json.dumps(torch.__version__.split("+")[0])}, "results": {{\n'
    DATA.write_text(head + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


def recorded() -> tuple[str, dict[str, dict[str, Result]]]:
    """PyTorch's version, and what it gave."""
    data = json.loads(DATA.read_text(encoding="utf-8"))
    return data["version"], {
        title: {k: dict(zip(("values", "gradients"), map(_unpacked, parts))) for k, parts in cases.items()}
        for title, cases in data["results"].items()
    }


# Compared


def _apart(a: Any, b: Any, ulps: float) -> bool:
    """Whether two parts of a result differ: errors, shapes, dtypes, or numbers by more than `ulps` of the largest."""
    if isinstance(a, str) or isinstance(b, str):
        return not (isinstance(a, str) and isinstance(b, str))
    if [(x.shape, x.dtype) for x in a] != [(x.shape, x.dtype) for x in b]:
        return True
    for x, y in zip(a, b):
        eps, tiny = (np.finfo(x.dtype).eps, np.finfo(x.dtype).tiny) if _inexact(x) else (0.0, 0.0)
        x, y = (n.reshape(-1).astype(complex).view(float) for n in (x, y))
        if x.size == 0:
            continue
        finite = np.isfinite(x) & np.isfinite(y)
        if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
            return True
        size = np.abs(y[finite]).max(initial=0)
        if (np.abs(x[finite] - y[finite]) > ulps * eps * size + 4 * tiny).any():
            return True
    return False


def differences() -> Iterator[tuple[str, str, str, Result, Result]]:
    """Where the two differ: the row, the case, in what, and both results."""
    _, found = recorded()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for title, line in TABLE.items():
            for label, case in line.cases.items():
                mine, other = ours(line.ours, case), found[title][label]
                parts = [
                    p for p in ("values", "gradients") if _apart(mine.get(p, "error"), other.get(p, "error"), line.ulps)
                ]
                if parts:
                    yield title, label, " and ".join(parts), mine, other


def explained() -> dict[tuple[str, str], Difference]:
    """The cases that `DIFFERENCES` names, and a mistake for a pattern that names none."""
    found: dict[tuple[str, str], Difference] = {}
    for difference in DIFFERENCES:
        for title in difference.titles.split("; "):
            lines = [t for t in TABLE if fnmatchcase(t, title)]
            for pattern in difference.cases.split("; "):
                named = [(t, c) for t in lines for c in TABLE[t].cases if fnmatchcase(c, pattern)]
                found |= dict.fromkeys(named, difference)
    return found


def disagreements() -> list[str]:
    """What differs without a reason, or not as `DIFFERENCES` says, or does not although it says so."""
    reasons, found = explained(), []
    for title, label, parts, mine, other in differences():
        reason = reasons.pop((title, label), None)
        if reason is None or reason.parts != parts:
            found.append(f"{title} | {label} | {parts} | ours {_short(mine)} | theirs {_short(other)}")
    return found + [f"{title} | {label} | agrees, but is listed" for title, label in reasons]


def covered() -> set[str]:
    """The operations in the table."""
    return {title.partition(":")[0] for title in TABLE}


def _short(result: Result) -> str:
    parts = []
    for part in result.values():
        text = (
            part
            if isinstance(part, str)
            else ", ".join(np.array2string(a, precision=4, separator=" ").replace("\n", "") for a in part)
        )
        parts.append(text)
    return " → ".join(parts)


INTRODUCTION = """# Agreement with PyTorch

Every operation that PyTorch {version} defines too is compared with it, values and gradients, in {count} cases: at
ordinary points, at ties and kinks, at singular points, at infinities and NaN, at numbers whose squares overflow or
vanish, and for arrays without entries; with complex numbers where the operation takes them, and of smooth operations
the slopes of the slopes. What PyTorch gave is recorded in the test suite, which holds every line of this page: where
nothing is said below, the two agree, and where something is, they differ.

- **Complex numbers.** Gradients are PyTorch's: of a real loss L, ∂L/∂Re z + i ∂L/∂Im z.
- **Ties.** `max` and `min` share the slope among all that tie, as `torch.amax` and `torch.amin` do (`torch.max` along
  a dimension picks one), and `maximum` and `minimum` give ½ to each. `sort` is stable, and the slopes go with the
  entries. `cumulative_max` gives it to the last of those that tie.
- **Kinks.** The slope at a kink is a subgradient: 0 for `abs`, `relu` and every norm at 0, 1 for `clip` at its bounds.
- **Poles.** A zero gradient stays zero at a pole, so that `where(x > 0, sqrt(x), 0)` has the slope 0 at 0.
- **Defaults.** `var` and `std` have `correction=0`, as the array API standard says; PyTorch's is 1. `median` is the
  mean of the two entries in the middle, as `torch.quantile(x, 0.5)`; `torch.median` is the lower one.
- **Digits.** Agreement is to a few units in the last place, of the largest entry where there are several; more for
  matrices taken apart. PyTorch's ψ₁ (the slope of `digamma`, and `polygamma` of order 1) has about ten digits, and is
  compared to nine.

*Written by `python tests/evidence/torch_agreement.py --write`.*

## Where the two differ

"""


def _brief(number: Any, size: float) -> str:
    """Three digits; what is rounding beside `size` is 0."""
    real, imaginary = (0.0 if abs(p) < 1e-9 * size else float(p) for p in (number.real, number.imag))
    return f"{real:.3g}{imaginary:+.3g}i" if imaginary else f"{real or 0:.3g}"


def _summary(part: Any) -> str:
    """A result in few characters."""
    if isinstance(part, str):
        return "an error"
    texts = []
    for array in part:
        flat = array.reshape(-1).tolist()
        size = max((abs(n) for n in flat if math.isfinite(abs(n))), default=0.0)
        numbers = " ".join(_brief(n, size) for n in flat[:4]) + (" …" if len(flat) > 4 else "")
        texts.append(f"[{numbers}]" if array.ndim else numbers)
    return "; ".join(texts)


def _place(label: str) -> str:
    """A case in the page: several numbers in brackets."""
    numbers, space, dtype = label.partition(" float")
    return f"({numbers}){space}{dtype}" if re.fullmatch(r"[-\d.einfaj+]+(, [-\d.einfaj+]+)+", numbers) else label


def page() -> str:
    """docs/torch.md"""
    version, _ = recorded()
    reasons = explained()
    seen: dict[Difference, list[tuple[str, str, Result, Result]]] = {}
    for title, label, _, mine, other in differences():
        if (title, label) in reasons:
            seen.setdefault(reasons[title, label], []).append((title, label, mine, other))
    lines = ["| operation | where | in | here | PyTorch | why |", "| --- | --- | --- | --- | --- | --- |"]
    for difference in DIFFERENCES:
        cases = seen.get(difference, [])
        titles = ", ".join(f"`{t}`" for t in dict.fromkeys(c[0] for c in cases))
        labels = list(dict.fromkeys(c[1] for c in cases))
        where = ", ".join(map(_place, labels[:4])) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
        part = "gradients" if "gradients" in difference.parts else "values"
        here, there = (_summary(r.get(part, r["values"])) for r in cases[0][2:]) if cases else ("", "")
        cells = (titles, where, difference.parts, here, there, difference.why)
        lines.append("| " + " | ".join(c.replace("|", "\\|").replace("*", "\\*") for c in cells) + " |")
    count = sum(len(line.cases) for line in TABLE.values())
    only = [f"| `{name}` | {why} |" for name, why in NOT_IN_PYTORCH.items()]
    called = [f"| `{t}` | `{line.ours}` | `{line.theirs}` | {len(line.cases)} |" for t, line in TABLE.items()]
    return (
        INTRODUCTION.format(version=version, count=f"{count:,}")
        + "\n".join(lines)
        + "\n\nThe first of the cases named is shown; of several arguments, all their gradients.\n"
        + "\n## What PyTorch has not\n\n| operation | |\n| --- | --- |\n"
        + "\n".join(only)
        + "\n\n## What is compared\n\n`F` is `torch.nn.functional`; arguments are x, y and z.\n"
        + "\n| operation | here | PyTorch | cases |\n| --- | --- | --- | --- |\n"
        + "\n".join(called)
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.record:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            record()
    if options.write:
        PAGE.write_text(page(), encoding="utf-8")
    print("\n".join(disagreements()))


if __name__ == "__main__":
    main()
