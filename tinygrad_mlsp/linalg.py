"""The array API's linear algebra: `tg.linalg`. Matrices are the last two axes; whatever leads is a batch.

The operations, with their equations and rules, are in `rules.decompositions` and `rules.linear_algebra`; here they bear
the standard's signatures, and beside them stand the compositions that need no rule of their own. Whole numbers are
taken as float32.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

from .dtypes import float32
from .errors import DTypeError, OptionError, ShapeError
from .namespace import asarray, astype, kron, tensordot
from .record import named
from .rules.shape import axis_of
from .tensor import Tensor, record_of

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "kron", "matmul", "matrix_norm", "matrix_power",
    "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot",
    "trace", "vecdot", "vector_norm",
]  # fmt: skip


class EighResult(NamedTuple):
    """What `eigh` gives."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """What `qr` gives."""

    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    """What `slogdet` gives."""

    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    """What `svd` gives."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def _inexact(x: Any) -> Tensor:
    x = asarray(x)
    return astype(x, float32) if x.dtype.kind in "iub" else x


def _matrices(name: str, x: Any) -> Tensor:
    x = _inexact(x)
    if x.ndim < 2:
        raise ShapeError(f"{name}: takes matrices [..., n, m], and {list(x.shape)} is not")
    return x


@named
def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """L Lᴴ = x, L lower with a positive diagonal; with `upper` its Lᴴ instead. Of x its Hermitian part counts.

    Shapes: x [..., n, n], positive definite
    Raises: MatrixError where x is not positive definite (a GPU gives a wrong L without an error).
    """
    return record_of("cholesky")(_inexact(x), upper)


@named
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """y = x1 × x2, of vectors of three along an axis."""
    return record_of("cross")(x1, x2, axis)


@named
def det(x: Any, /) -> Tensor:
    """y = det x; its gradient and second derivative are right where x is singular too.

    Shapes: x [..., n, n], y [...]
    """
    return record_of("det")(_inexact(x))


@named
def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """y = the entries xᵢⱼ with j − i = offset.

    Shapes: x [..., n, m], y [..., k]
    """
    return record_of("diagonal")(x, offset, -2, -1)


@named
def eigh(x: Any, /) -> EighResult:
    """x q = q diag(w): eigenvalues, rising, and eigenvectors of a Hermitian x, of which the Hermitian part counts.

    The largest entry of each vector is positive. Another phase would do as well, and where eigenvalues are equal other
    vectors; a function of them has a gradient only if it does not depend on that choice.

    Shapes: x [..., n, n], w [..., n], q [..., n, n]
    """
    return EighResult(*record_of("eigh")(_inexact(x)))


@named
def eigvalsh(x: Any, /) -> Tensor:
    """w = the eigenvalues of a Hermitian x, rising; of x its Hermitian part counts.

    Where eigenvalues are equal, the gradient of a function that is symmetric in them is right, such as their sum's; its
    second derivative is NaN. Say such a function by products of x where you can: Σ w² is Σ |x|².

    Shapes: x [..., n, n], w [..., n]
    """
    return record_of("eigvalsh")(_inexact(x))


@named
def inv(x: Any, /) -> Tensor:
    """y = x⁻¹

    Shapes: x [..., n, n]
    Raises: MatrixError for a singular matrix (a GPU gives NaN instead).
    """
    return record_of("inv")(_inexact(x))


@named
def matmul(x1: Any, x2: Any, /) -> Tensor:
    """y = x1 x2"""
    return record_of("matmul")(x1, x2)


@named
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """y = ‖x‖ of matrices: "fro" √Σ|x|², "nuc" Σ s, 2 and −2 the largest and smallest singular value s, 1 and −1 the
    largest and smallest Σ|x| of a column, ∞ and −∞ of a row. Each has the slope 0 at x = 0.

    Shapes: x [..., n, m], y [...]
    """
    x = _matrices("matrix_norm", x)
    axes = (-2, -1)
    if isinstance(ord, str) and ord == "fro":
        return record_of("vector_norm")(x, axis=axes, keepdims=keepdims)
    if not isinstance(ord, str) and ord in (1, -1, inf, -inf):
        axis = -2 if abs(ord) == 1 else -1
        sums = record_of("sum")(record_of("abs")(x), axis=axis, keepdims=True)
        y = record_of("max" if ord > 0 else "min")(sums, axis=-3 - axis, keepdims=True)
    elif ord == "nuc" or ord in (2, -2):
        s = record_of("svdvals")(x)
        name = "sum" if isinstance(ord, str) else "max" if ord > 0 else "min"
        y = record_of("expand_dims")(record_of(name)(s, axis=-1, keepdims=True), -1)
    else:
        raise OptionError(f"matrix_norm: ord is 'fro', 'nuc', 1, −1, 2, −2, inf or −inf, not {ord!r}")
    return y if keepdims else record_of("squeeze")(y, axes)


@named
def matrix_power(x: Any, n: int, /) -> Tensor:
    """y = xⁿ, by squaring; of x⁻¹ where n is negative.

    Shapes: x [..., k, k]
    """
    x = _matrices("matrix_power", x)
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power: takes square matrices [..., n, n], and {list(x.shape)} is not")
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise DTypeError(f"matrix_power: n is a whole number, not {n!r}")
    n = n.__index__()
    if n < 0:
        x, n = inv(x), -n
    if n == 0:
        eye = record_of("eye_like")(x, x.shape[-1])
        return +record_of("broadcast_to")(eye, x.shape)
    while not n % 2:
        x, n = record_of("matmul")(x, x), n // 2
    result = x
    while n := n // 2:
        x = record_of("matmul")(x, x)
        if n % 2:
            result = record_of("matmul")(result, x)
    return result


@named
def matrix_rank(x: Any, /, *, rtol: Any = None) -> Tensor:
    """y = how many singular values are above `rtol` of the largest; by default max(n, m) times the dtype's epsilon.

    Shapes: x [..., n, m], y [...], rtol a number or [...]
    """
    return record_of("matrix_rank")(_inexact(x), getattr(rtol, "_array", rtol))


@named
def matrix_transpose(x: Any, /) -> Tensor:
    """y = xᵀ, of the last two axes."""
    return record_of("matrix_transpose")(x)


@named
def outer(x1: Any, x2: Any, /) -> Tensor:
    """yᵢⱼ = x1ᵢ x2ⱼ, of two vectors."""
    return record_of("outer")(x1, x2)


@named
def pinv(x: Any, /, *, rtol: Any = None) -> Tensor:
    """y = x⁺, the pseudo-inverse; singular values up to `rtol` of the largest count as 0 (see `matrix_rank`).

    Shapes: x [..., n, m], y [..., m, n], rtol a number or [...]
    """
    return record_of("pinv")(_inexact(x), getattr(rtol, "_array", rtol))


@named
def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    """q r = x, q with orthonormal columns, r upper triangular.

    Shapes: x [..., n, m], q [..., n, k], r [..., k, m], k = min(n, m), or n with mode="complete"
    """
    if mode not in ("reduced", "complete"):
        raise OptionError(f"qr: mode is 'reduced' or 'complete', not {mode!r}")
    return QRResult(*record_of("qr")(_inexact(x), mode))


@named
def slogdet(x: Any, /) -> SlogdetResult:
    """det x = s eʸ, |s| = 1: sign and logarithm, which neither overflow nor vanish.

    Shapes: x [..., n, n], s and y [...]
    """
    return SlogdetResult(*record_of("slogdet")(_inexact(x)))


@named
def solve(x1: Any, x2: Any, /) -> Tensor:
    """y with x1 y = x2; x2 is a vector only if it has one dimension.

    Shapes: x1 [..., n, n], x2 [n] or [..., n, m]
    Raises: MatrixError for a singular x1 (a GPU gives NaN instead).
    """
    return record_of("solve")(_inexact(x1), _inexact(x2))


@named
def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    """x = u diag(s) vᴴ, s falling. The largest entry of each column of u is positive.

    Another phase would do as well, and where singular values are equal other vectors; a function of them has a gradient
    only if it does not depend on that choice, nor on the basis that `full_matrices` adds.

    Shapes: x [..., n, m], s [..., k], k = min(n, m), u [..., n, n] and vᴴ [..., m, m], else [..., n, k] and [..., k, m]
    """
    return SVDResult(*record_of("svd")(_inexact(x), bool(full_matrices)))


@named
def svdvals(x: Any, /) -> Tensor:
    """s = the singular values of x, falling.

    Where some are equal, the gradient of a function that is symmetric in them is right, such as their sum's; its second
    derivative is NaN, and so it is where one is 0.

    Shapes: x [..., n, m], s [..., min(n, m)]
    """
    return record_of("svdvals")(_inexact(x))


@named
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """y = Σ xᵢⱼ over j − i = offset, added up in `dtype`; whole numbers in 64 bits unless told.

    Shapes: x [..., n, m], y [...]
    """
    x = asarray(x)
    y = record_of("trace")(x if dtype is None else astype(x, dtype), offset, -2, -1)
    return y if dtype is None else astype(y, dtype, copy=False)


@named
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """y = Σ conj(x1) x2 along an axis."""
    return record_of("vecdot")(x1, x2, axis)


@named
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """y = (Σ |x|ᵖ)^(1/p), p = ord, any number; ∞, −∞ the largest and smallest |x|, 0 how many are not 0.

    Its slope is 0 at x = 0. Nothing overflows or vanishes on the way to a norm that fits its dtype.
    """
    if isinstance(ord, str) or not hasattr(ord, "__float__"):
        raise OptionError(f"vector_norm: ord is a number, inf or −inf, not {ord!r}; matrix_norm knows 'fro' and 'nuc'")
    x = _inexact(x)
    for one in () if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,):
        axis_of(one, x.shape)
    return record_of("vector_norm")(x, axis, keepdims, ord)
