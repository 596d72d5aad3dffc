"""Matrices taken apart: inverse and determinant, Cholesky, QR, eigenvalues and singular values. Batches lead.

Cotangents arrive transposed, not conjugated (see `sweep`). Where a result is not holomorphic in x, a rule takes the
conjugate of what arrives, reckons with aᴴ alone, as for ⟨ḡ, dy⟩ = Re tr ḡᴴ dy, and hands back the conjugate.

Eigenvectors, singular vectors, and the columns that complete a basis are fixed only up to a sign, a phase or a
rotation. A function's gradient is right where its value does not depend on that choice, and means nothing where it
does. Where values are equal, the terms between them are left out, which is right for a function that treats them alike
(a projector on all their vectors) and not for others, q f(w) qᴴ among them. Of real eigenvectors and singular vectors
only the signs are to choose; these are fixed: the largest entry is positive.
"""

from __future__ import annotations

from math import nan
from typing import Any

from ..op import constant, general
from .reductions import others


def conjugate(xp: Any, a: Any) -> Any:
    """ā; a real array as it is."""
    return xp.conj(a) if a.dtype.kind == "c" else a


def adjoint(xp: Any, a: Any) -> Any:
    """aᴴ"""
    return conjugate(xp, xp.matrix_transpose(a))


def hermitian(xp: Any, a: Any) -> Any:
    """½(a + aᴴ)"""
    return (a + adjoint(xp, a)) / 2


def column(xp: Any, v: Any) -> Any:
    """Vectors as columns, which scale the rows of what they multiply."""
    return xp.expand_dims(v, -1)


def row(xp: Any, v: Any) -> Any:
    """Vectors as rows, which scale the columns of what they multiply."""
    return xp.matrix_transpose(column(xp, v))


def diagonal_of(xp: Any, a: Any) -> Any:
    """The main diagonals of matrices."""
    return xp.diagonal(a, 0, -2, -1)


def inverse(xp: Any, d: Any, small: Any = 0) -> Any:
    """1/d, and 0 where d is no more than `small`: a term between equal values is left out."""
    none = xp.abs(d) <= small
    return xp.where(none, 0, 1 / xp.where(none, 1, d))


def rounding(xp: Any, w: Any) -> Any:
    """How far values of this size are known, n ε of the largest: nearer ones count as equal."""
    n = w.shape[-1]
    return xp.max(xp.abs(w), axis=-1, keepdims=True) * (n * epsilon(w.dtype)) if n else 0


def epsilon(dtype: Any) -> float:
    """From 1 to the next float of a real dtype."""
    return 2.0**-23 if dtype.itemsize == 4 else 2.0**-52


def columns(xp: Any, a: Any, start: int, stop: int) -> Any:
    """Columns of matrices."""
    return xp.getitem(a, (..., slice(start, stop)))


def product(xp: Any, *matrices: Any) -> Any:
    """The matrices multiplied, from the left."""
    total = matrices[0]
    for matrix in matrices[1:]:
        total = xp.matmul(total, matrix)
    return total


def square(*shapes: Any) -> str:
    """Why a shape is not that of square matrices; nothing where it is."""
    if len(shapes[0]) < 2 or shapes[0][-1] != shapes[0][-2]:
        return f"takes square matrices [..., n, n], and {list(shapes[0])} is not"
    return ""


def matrices(*shapes: Any) -> str:
    """Why a shape is not that of matrices; nothing where it is."""
    return f"takes matrices [..., n, m], and {list(shapes[0])} is not" if len(shapes[0]) < 2 else ""


@general
def inv(xp, x):
    """y = x⁻¹     x: [..., n, n]     x̄ = −yᵀ ȳ yᵀ

    Raises: MatrixError for a singular matrix; on a GPU, where nobody waits for the answer, it has NaN instead.
    """
    return xp.inv(x)


inv.adjoints(x=lambda xp, g, y: -product(xp, xp.matrix_transpose(y), g, xp.matrix_transpose(y)))
inv.tangents(x=lambda xp, t, y: -product(xp, y, t, y)).on_failure(square)


@general
def solve(xp, a, b):
    """y = a⁻¹ b     a: [..., n, n]   b: [n] or [..., n, m]   y like b     b̄ = a⁻ᵀ ȳ   ā = −b̄ yᵀ

    Batches broadcast; b is a vector only if it has one dimension, as the array API has it.

    Raises: MatrixError for a singular a; on a GPU, where nobody waits for the answer, y has NaN instead.
    """
    if len(b.shape) == 1:
        return xp.squeeze(solve.forward(xp, a, column(xp, b)), -1)
    return xp.solve(a, b)


def _solve_right(xp, g, a, b_shape):
    a = xp.matrix_transpose(a)
    # A vector b that met several matrices has as many cotangents: columns by themselves.
    return xp.squeeze(xp.solve(a, column(xp, g)), -1) if len(b_shape) == 1 else xp.solve(a, g)


def _solve_left(xp, g, a, b_shape, y):
    back = _solve_right(xp, g, a, b_shape)
    if len(b_shape) == 1:
        return -column(xp, back) * row(xp, y)
    return -xp.matmul(back, xp.matrix_transpose(y))


def _solve_moved(xp, t, a, b_shape, y):
    if len(b_shape) == 1:
        return -xp.squeeze(xp.solve(a, xp.matmul(t, column(xp, y))), -1)
    return -xp.solve(a, xp.matmul(t, y))


def _system(a, b):
    if problem := square(a):
        return f"a {problem}"
    if not b:
        return "b is a vector [n] or matrices [..., n, m], not a number"
    n = b[0] if len(b) == 1 else b[-2]
    if n != a[-1]:
        vectors = "; several vectors are the columns of a matrix, b[..., None]" if b[-1] == a[-1] else ""
        return f"a has {a[-1]} rows, b has {n}{vectors}"
    if len(b) > 1 and any(p != q and 1 not in (p, q) for p, q in zip(a[-3::-1], b[-3::-1], strict=False)):
        return f"the batches {list(a[:-2])} and {list(b[:-2])} disagree"
    return ""


solve.adjoints(a=_solve_left, b=_solve_right).on_failure(_system)
solve.tangents(
    a=_solve_moved,
    b=lambda xp, t, a, b_shape: xp.squeeze(xp.solve(a, column(xp, t)), -1) if len(b_shape) == 1 else xp.solve(a, t),
)


@general
def cofactor(xp, x):
    """yᵢⱼ = ∂ det x / ∂xᵢⱼ, the determinant without row i and column j, signed: xᵀ's adjugate, singular or not

    y = det(u) det(vᴴ) ū diag(Πₖ≠ᵢ sₖ) v̄ᴴ with the singular values and vectors of x.
    """
    u, s, vh = xp.svd(x)
    phase = column(xp, column(xp, xp.det(u) * xp.det(vh)))
    return phase * xp.matmul(conjugate(xp, u) * row(xp, others(xp, s, -1)), conjugate(xp, vh))


def _second_cofactor(xp, x, t):
    """The change of the cofactors along t, a symmetric map: on singular vectors, products of all s but two."""
    u, s, vh = xp.svd(x)
    n = s.shape[-1]
    eye = xp.eye_like(s, n)
    pairs = others(xp, xp.where(eye == 1, 1, row(xp, s)), -1) * (1 - eye)
    t = product(xp, adjoint(xp, u), t, adjoint(xp, vh))
    turned = xp.matmul(pairs, column(xp, diagonal_of(xp, t))) * eye - pairs * xp.matrix_transpose(t)
    phase = column(xp, column(xp, xp.det(u) * xp.det(vh)))
    return phase * product(xp, conjugate(xp, u), turned, conjugate(xp, vh))


cofactor.adjoints(x=lambda xp, g, x: _second_cofactor(xp, x, g)).on_failure(square)
cofactor.tangents(x=lambda xp, t, x: _second_cofactor(xp, x, t))
cofactor.at_kink("exact where x is singular; further derivatives of it want singular values that differ")


@general
def det(xp, x):
    """y = det x     x: [..., n, n]     x̄ = ȳ · cofactors, which are right where x is singular too

    So is the second derivative; the third wants singular values that differ.
    """
    return xp.det(x)


det.adjoints(x=lambda xp, g, x: column(xp, column(xp, g)) * xp.cofactor(x)).on_failure(square)
det.tangents(x=lambda xp, t, x: xp.sum(t * xp.cofactor(x), axis=(-2, -1)))


@general
def slogdet(xp, x) -> tuple:
    """s, y = det x / |det x|, ln |det x|     x: [..., n, n]     x̄ = (ȳ + i Im(s̄ s)) x⁻ᵀ

    A singular matrix has s = 0, y = −∞ and no gradient: an error on the way back (NaN on a GPU).
    """
    return xp.slogdet(x)


def _slogdet_back(xp, g, x, y):
    weight = g[1]
    if x.dtype.kind == "c" and g[0] is not None:
        turn = xp.imag(g[0] * y[0]) * 1j
        weight = turn if weight is None else weight + turn
    if weight is None:
        return xp.zeros_like(x)
    return column(xp, column(xp, weight)) * xp.matrix_transpose(xp.inv(x))


def _slogdet_forth(xp, t, x, y):
    change = xp.sum(t * xp.matrix_transpose(xp.inv(x)), axis=(-2, -1))
    return (y[0] * (xp.imag(change) * 1j) if x.dtype.kind == "c" else xp.zeros_like(change)), xp.real(change)


slogdet.adjoints(x=_slogdet_back).tangents(x=_slogdet_forth).on_failure(square)
slogdet.at_kink("none where x is singular: an error, as the slope is ∞")


def _half_lower(xp, a):
    """Φ: the lower triangle, with half the diagonal."""
    return (xp.tril(a) + xp.tril(a, -1)) / 2


@general
def cholesky(xp, x, *, upper=False):
    """y yᴴ = ½(x + xᴴ), y lower with a positive diagonal; with upper, yᴴ y

    x: [..., n, n], positive definite. The Hermitian part of x is what counts, so x̄ = ½(k + kᴴ) is Hermitian too, with
    k = y⁻ᴴ Φ(yᴴ ȳ) y⁻¹, Φ the lower triangle with half the diagonal.

    Raises: MatrixError where x is not positive definite (on a GPU y is wrong without an error).
    """
    y = xp.cholesky(hermitian(xp, x))
    return adjoint(xp, y) if upper else y


def _cholesky_back(xp, g, y, upper):
    g = conjugate(xp, g)
    if upper:
        g, y = adjoint(xp, g), adjoint(xp, y)
    under = xp.inv(y)
    k = product(xp, adjoint(xp, under), _half_lower(xp, xp.matmul(adjoint(xp, y), g)), under)
    return conjugate(xp, hermitian(xp, k))


def _cholesky_forth(xp, t, y, upper):
    y = adjoint(xp, y) if upper else y
    under = xp.inv(y)
    moved = xp.matmul(y, _half_lower(xp, product(xp, under, hermitian(xp, t), adjoint(xp, under))))
    return adjoint(xp, moved) if upper else moved


cholesky.adjoints(x=_cholesky_back).tangents(x=_cholesky_forth).on_failure(square)


@general
def eigh(xp, x, *, apart=False) -> tuple:
    """w, q: ½(x + xᴴ) q = q diag(w), w rising, q unitary     x: [..., n, n]   w: [..., n]

    x̄ = ½(k + kᴴ), k = q (diag(w̄) + f ∘ qᴴ q̄) qᴴ with fᵢⱼ = 1/(wⱼ − wᵢ), and 0 where they are equal. The Hermitian part
    of x is what counts. The phase of a column of q is arbitrary: only what does not depend on it has a gradient.
    With `apart` equal eigenvalues are refused: f is NaN between them.
    """
    return xp.eigh(hermitian(xp, x))


def _gaps(xp, w, apart):
    """1/(wⱼ − wᵢ), and 0 where they are equal; NaN for two of those that have to be apart."""
    gap, small = row(xp, w) - column(xp, w), _wide(xp, rounding(xp, w))
    found = inverse(xp, gap, small)
    return xp.where((xp.abs(gap) <= small) & (xp.eye_like(w, w.shape[-1]) == 0), nan, found) if apart else found


def _wide(xp, small):
    return column(xp, small) if hasattr(small, "shape") else small


def _eigh_back(xp, g, y, apart):
    (gw, gq), (w, q) = g, y
    total = 0 if gw is None else q * row(xp, gw)
    if gq is not None:
        total = total + xp.matmul(q, _gaps(xp, w, apart) * xp.matmul(adjoint(xp, q), conjugate(xp, gq)))
    return conjugate(xp, hermitian(xp, xp.matmul(total, adjoint(xp, q))))


def _eigh_forth(xp, t, y, apart):
    w, q = y
    t = product(xp, adjoint(xp, q), hermitian(xp, t), q)
    return xp.real(diagonal_of(xp, t)), xp.matmul(q, _gaps(xp, w, apart) * t)


eigh.adjoints(x=_eigh_back).tangents(x=_eigh_forth).on_failure(square)
eigh.at_kink(
    "between eigenvalues that are equal up to rounding no term: right for a function of the space that their vectors "
    "span together, such as its projector, but not for one that weighs the vectors one by one"
)


@general
def eigvalsh(xp, x):
    """w = the eigenvalues of ½(x + xᴴ), rising     x: [..., n, n]   w: [..., n]     x̄ = q diag(w̄) qᴴ

    Equal eigenvalues: right for a function that is symmetric in them, such as their sum. The second derivative is
    NaN there: it would want that of the function first.
    """
    return xp.eigvalsh(hermitian(xp, x))


def _eigvalsh_back(xp, g, x):
    _, q = xp.eigh(hermitian(xp, x), apart=True)
    return conjugate(xp, hermitian(xp, xp.matmul(q * row(xp, g), adjoint(xp, q))))


def _eigvalsh_forth(xp, t, x):
    _, q = xp.eigh(hermitian(xp, x), apart=True)
    return xp.real(diagonal_of(xp, product(xp, adjoint(xp, q), hermitian(xp, t), q)))


eigvalsh.adjoints(x=_eigvalsh_back).tangents(x=_eigvalsh_forth).on_failure(square)
eigvalsh.at_kink("equal eigenvalues share the slope as one choice of their vectors has it; no second derivative: NaN")


@general
def svd(xp, x, *, full_matrices=True, apart=False) -> tuple:
    """u, s, vᴴ: x = u diag(s) vᴴ, s falling     x: [..., n, m]   s: [..., k], k = min(n, m)

    u: [..., n, n] and vᴴ: [..., m, m], or [..., n, k] and [..., k, m] without full_matrices. The phase that a column of
    u shares with its row of vᴴ is arbitrary, and so is the basis of what full_matrices adds: only what does not depend
    on them has a gradient. With `apart` equal singular values, and those of 0, are refused: slopes are NaN.
    """
    return xp.svd(x, full_matrices)


def _coupling(xp, s, apart):
    """1/(sⱼ² − sᵢ²), and 0 where they are equal; NaN for two of those that have to be apart, and for one of 0."""
    gap, small = row(xp, s) - column(xp, s), _wide(xp, rounding(xp, s))
    found = inverse(xp, gap, small) * inverse(xp, row(xp, s) + column(xp, s), small)
    if not apart:
        return found
    alone = (xp.eye_like(s, s.shape[-1]) == 1) & (row(xp, s) > small)
    return xp.where((xp.abs(gap) <= small) & ~alone, nan, found)


def _completed(xp, g, q, k):
    """The cotangent of the first k columns of q, where the others follow them: dq₂ = −q₁ dq₁ᴴ q₂."""
    if q.shape[-1] == k:
        return g, q
    first, rest = columns(xp, q, 0, k), columns(xp, q, k, q.shape[-1])
    turned = product(xp, rest, adjoint(xp, columns(xp, g, k, q.shape[-1])), first)
    return columns(xp, g, 0, k) - turned, first


def _following(xp, moved, q, k):
    """The tangent of all columns of q from that of the first k."""
    if q.shape[-1] == k:
        return moved
    first, rest = columns(xp, q, 0, k), columns(xp, q, k, q.shape[-1])
    return xp.concat([moved, -product(xp, first, adjoint(xp, moved), rest)], axis=-1)


def _svd_back(xp, g, y, apart):
    u, s, vh = y
    k = s.shape[-1]
    gu, gs, gv = g
    v, f, under = adjoint(xp, vh), _coupling(xp, s, apart), inverse(xp, s, rounding(xp, s))
    gu, u = (None, columns(xp, u, 0, k)) if gu is None else _completed(xp, conjugate(xp, gu), u, k)
    gv, v = (None, columns(xp, v, 0, k)) if gv is None else _completed(xp, xp.matrix_transpose(gv), v, k)
    parts = []
    if gs is not None:
        parts.append(xp.matmul(u * row(xp, gs), adjoint(xp, v)))
    for z, one, other in ((gu, u, v), (gv, v, u)):
        if z is None:
            continue
        inner = xp.matmul(adjoint(xp, one), z)
        turned = (f * inner + adjoint(xp, f * inner)) * row(xp, s)
        if u.dtype.kind == "c":  # half of the phase that the two share is each one's
            turned = turned + xp.eye_like(s, k) * row(xp, xp.imag(diagonal_of(xp, inner)) * under * 0.5j)
        part = xp.matmul(one, turned)
        if one.shape[-2] > k:
            part = part + (z - xp.matmul(one, inner)) * row(xp, under)
        part = xp.matmul(part, adjoint(xp, other))
        parts.append(part if z is gu else adjoint(xp, part))
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return conjugate(xp, total)


def _svd_forth(xp, t, y, apart):
    u, s, vh = y
    k, n, m = s.shape[-1], u.shape[-2], vh.shape[-1]
    v, f, under = adjoint(xp, vh), _coupling(xp, s, apart), inverse(xp, s, rounding(xp, s))
    u1, v1 = columns(xp, u, 0, k), columns(xp, v, 0, k)
    p = product(xp, adjoint(xp, u1), t, v1)
    ph = adjoint(xp, p)
    du = xp.matmul(u1, f * (p * row(xp, s) + column(xp, s) * ph))
    dv = xp.matmul(v1, f * (column(xp, s) * p + ph * row(xp, s)))
    if n > k:
        du = du + (xp.matmul(t, v1) - xp.matmul(u1, p)) * row(xp, under)
    if m > k:
        dv = dv + (xp.matmul(adjoint(xp, t), u1) - xp.matmul(v1, ph)) * row(xp, under)
    if u.dtype.kind == "c":
        turn = row(xp, xp.imag(diagonal_of(xp, p)) * under * 0.5j)
        du, dv = du + u1 * turn, dv - v1 * turn
    return _following(xp, du, u, k), xp.real(diagonal_of(xp, p)), adjoint(xp, _following(xp, dv, v, k))


svd.adjoints(x=_svd_back).tangents(x=_svd_forth).on_failure(matrices)
svd.at_kink(
    "between singular values that are equal up to rounding, and for those of 0, no term: right for a function of the "
    "spaces that their vectors span together, but not for one that weighs the vectors one by one"
)


@general
def svdvals(xp, x):
    """s = the singular values of x, falling     x: [..., n, m]   s: [..., min(n, m)]     x̄ = u diag(s̄) vᴴ

    Equal singular values: right for a function that is symmetric in them, such as their sum. The second derivative
    is NaN there, and where one is 0.
    """
    return xp.svd(x, False, False)


def _svdvals_back(xp, g, x):
    u, s, vh = xp.svd(x, False, apart=True)
    return conjugate(xp, xp.matmul(u * row(xp, xp.where(s == 0, 0, g)), vh))


def _svdvals_forth(xp, t, x):
    u, s, vh = xp.svd(x, False, apart=True)
    return xp.where(s == 0, 0, xp.real(diagonal_of(xp, product(xp, adjoint(xp, u), t, adjoint(xp, vh)))))


svdvals.adjoints(x=_svdvals_back).tangents(x=_svdvals_forth).on_failure(matrices)
svdvals.at_kink(
    "0 for a singular value of 0; equal ones share the slope as one choice of their vectors has it; no second "
    "derivative there: NaN"
)


@general
def qr(xp, x, *, mode="reduced") -> tuple:
    """q r = x, q with orthonormal columns, r upper with a real diagonal     x: [..., n, m]   k = min(n, m)

    q: [..., n, k] and r: [..., k, m]; with mode="complete" q: [..., n, n] and r: [..., n, m], where only what does not
    depend on the basis that completes q has a gradient. The first k columns of x must be independent.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"mode is 'reduced' or 'complete', not {mode!r}")
    return xp.qr(x, mode)


def _qr_back(xp, g, y):
    q, r = y
    n, m = q.shape[-2], r.shape[-1]
    k = n if n < m else m
    gq = xp.zeros_like(q) if g[0] is None else conjugate(xp, g[0])
    gr = xp.zeros_like(r) if g[1] is None else conjugate(xp, g[1])
    gq, q = _completed(xp, gq, q, k)
    if r.shape[-2] > k:
        r, gr = (xp.getitem(a, (..., slice(0, k), slice(None))) for a in (r, gr))
    rest = None
    if m > k:  # q is fixed by the first columns, and the others of r by it: r₂ = qᴴ x₂
        g2, r2 = columns(xp, gr, k, m), columns(xp, r, k, m)
        rest = xp.matmul(q, g2)
        gq = gq + product(xp, q, r2, adjoint(xp, g2))
        r, gr = columns(xp, r, 0, k), columns(xp, gr, 0, k)
    c = xp.matmul(r, adjoint(xp, gr)) - xp.matmul(adjoint(xp, gq), q)
    c = hermitian(xp, xp.tril(c) + xp.tril(c, -1))
    first = xp.matmul(gq + xp.matmul(q, c), adjoint(xp, xp.inv(r)))
    return conjugate(xp, first if rest is None else xp.concat([first, rest], axis=-1))


def _qr_forth(xp, t, y):
    q, r = y
    n, m = q.shape[-2], r.shape[-1]
    k = n if n < m else m
    whole, q = q, columns(xp, q, 0, k)
    top = r if r.shape[-2] == k else xp.getitem(r, (..., slice(0, k), slice(None)))
    r1 = columns(xp, top, 0, k)
    t1 = xp.matmul(columns(xp, t, 0, k), xp.inv(r1))
    c = xp.matmul(adjoint(xp, q), t1)
    upper = xp.triu(c, 1) + xp.triu(hermitian(xp, xp.tril(c) + xp.tril(c, -1)))
    dq, dr = t1 - xp.matmul(q, upper), xp.matmul(upper, r1)
    if m > k:
        moved = columns(xp, t, k, m) - xp.matmul(dq, columns(xp, top, k, m))
        dr = xp.concat([dr, xp.matmul(adjoint(xp, q), moved)], axis=-1)
    if r.shape[-2] > k:
        below = xp.getitem(r, (..., slice(k, r.shape[-2]), slice(None)))
        dr = xp.concat([dr, xp.zeros_like(below)], axis=-2)
    return _following(xp, dq, whole, k), dr


qr.adjoints(x=_qr_back).tangents(x=_qr_forth).on_failure(matrices)
qr.at_kink("none where the first min(n, m) columns are dependent: an error (NaN on a GPU)")


def _cutoff(xp, s, x, rtol):
    """Below this a singular value counts as 0."""
    if rtol is None:
        n, m = x.shape[-2:]
        rtol = (n if n > m else m) * epsilon(s.dtype)
    elif (
        isinstance(rtol, (str, bytes, complex))
        or not hasattr(rtol, "__float__")
        or (not hasattr(rtol, "shape") and not rtol >= 0)
    ):
        raise ValueError(f"rtol is a number from 0 on, or one a matrix, not {rtol!r}")
    return xp.max(s, axis=-1, keepdims=True) * (column(xp, rtol) if hasattr(rtol, "shape") else rtol)


@general
def pinv(xp, x, *, rtol=None):
    """y = x⁺, the pseudo-inverse     x: [..., n, m]   y: [..., m, n]

    Singular values up to `rtol` of the largest count as 0; by default max(n, m) ε. The gradient is that at constant
    rank: with a = y yᴴ and b = yᴴ y, ẏ = −y ẋ y + a ẋᴴ (1 − x y) + (1 − y x) ẋᴴ b.
    """
    if 0 in x.shape[-2:]:
        return xp.zeros_like(xp.matrix_transpose(x))
    u, s, vh = xp.svd(x, False)
    under = xp.where(s > _cutoff(xp, s, x, rtol), 1 / xp.where(s == 0, 1, s), 0)
    return xp.matmul(adjoint(xp, vh) * row(xp, under), adjoint(xp, u))


def _pinv_back(xp, g, x, y):
    g, yh = conjugate(xp, g), adjoint(xp, y)
    gh = adjoint(xp, g)
    left, right = product(xp, gh, y, yh), product(xp, yh, y, gh)
    total = left - product(xp, x, y, left) + right - product(xp, right, y, x) - product(xp, yh, g, yh)
    return conjugate(xp, total)


def _pinv_forth(xp, t, x, y):
    yh, th = adjoint(xp, y), adjoint(xp, t)
    left, right = product(xp, y, yh, th), product(xp, th, yh, y)
    return left - product(xp, left, x, y) + right - product(xp, y, x, right) - product(xp, y, t, y)


pinv.adjoints(x=_pinv_back).tangents(x=_pinv_forth).on_failure(matrices)
pinv.at_kink("where the rank changes: the slope at constant rank")


@constant
def matrix_rank(xp, x, *, rtol=None):
    """y = how many singular values are above `rtol` of the largest, by default max(n, m) ε     x: [..., n, m]"""
    s = xp.svdvals(x)
    if not s.shape[-1]:
        return xp.sum(s > 0, axis=-1)
    return xp.sum(s > _cutoff(xp, s, x, rtol), axis=-1)


matrix_rank.on_failure(matrices)
