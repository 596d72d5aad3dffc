"""Linear algebra and the Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .draw import Case, Domain, Draw

SQUARE = [(3, 3), (2, 2), (1, 1), (2, 3, 3), (0, 0), (2, 1, 2, 2), (0, 2, 2), (2, 0, 0), (4, 4)]
WIDE = [(3, 3), (2, 3), (3, 2), (4, 2), (2, 4), (2, 3, 2), (1, 1), (0, 2), (3, 0), (2, 0, 2), (1, 3), (3, 1)]


def unitary(d: Draw, batch: tuple[int, ...], n: int) -> Any:
    return np.linalg.qr(d.values((*batch, n, n)))[0]


def matrix(d: Draw, shape: tuple[int, ...], rank: int | None = None) -> Any:
    """Singular values between 1 and 3, none near another."""
    *batch, n, m = shape
    k = min(n, m)
    s = 1 + 2 * (np.arange(k)[::-1] + d.random.uniform(0, 0.5, (*batch, k))) / max(k, 1)
    if rank is not None:
        s = s * (np.arange(k) < rank)
    u, v = unitary(d, tuple(batch), n), unitary(d, tuple(batch), m)
    return np.matmul(u[..., :k] * s[..., None, :], v[..., :k, :])


def symmetric(d: Draw, shape: tuple[int, ...], positive: bool = False) -> Any:
    """Hermitian, its eigenvalues apart."""
    *batch, n, _ = shape
    w = 1 + 2 * (np.arange(n) + d.random.uniform(0, 0.5, (*batch, n))) / max(n, 1)
    q = unitary(d, tuple(batch), n)
    return np.matmul(q * (w if positive else w - 1.9)[..., None, :], q.conj().swapaxes(-1, -2))


def decided(vectors: Any) -> bool:
    """Whether each column has a largest entry by far: it decides the sign."""
    sizes = np.sort(np.abs(vectors), axis=-2)
    return vectors.shape[-2] < 2 or bool(np.all(sizes[..., -1, :] - sizes[..., -2, :] > 0.1))


def eigh(d: Draw) -> Case:
    shape = d.each(SQUARE)
    while not decided(np.linalg.eigh(x := symmetric(d, shape))[1]):
        pass
    return Case((x,), {"apart": d.one([False, True])})


def of_square(expect: Any, complex: bool = True, rank: bool = False, make: Any = matrix, **options: Any) -> Domain:
    """Square matrices; some of a rank too few if `rank`."""

    def draw(d: Draw) -> Case:
        shape = d.each(SQUARE)
        drawn = {o: d.one(c) for o, c in options.items()}
        if rank and shape[-1] > 1 and d.one([False, True]):
            return Case((make(d, shape, shape[-1] - 1),), drawn)
        return Case((make(d, shape),), drawn)

    return Domain(draw, expect, complex)


def positive(d: Draw, shape: tuple[int, ...]) -> Any:
    return symmetric(d, shape, positive=True)


def of_any(expect: Any, complex: bool = True, shapes: Sequence[Any] = WIDE, **options: Any) -> Domain:
    """Matrices of any shape, of full rank."""

    def draw(d: Draw) -> Case:
        return Case((matrix(d, d.each(shapes)),), {o: d.one(c) for o, c in options.items()})

    return Domain(draw, expect, complex)


SYSTEMS: list[Any] = [
    ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 2, 2), (2,)), ((2, 2, 2), (2, 3)), ((2, 2), (2, 2, 3)), ((1, 1), (1,)),
    ((2, 1, 2, 2), (3, 2, 1)), ((0, 0), (0, 2)), ((0, 2, 2), (2, 3)), ((2, 2), (2, 0)), ((2, 2, 2), (2, 2, 2)),
]  # fmt: skip


def solve(d: Draw) -> Case:
    a, b = d.each(SYSTEMS)
    return Case((matrix(d, a), d.values(b)), {})


def svd(d: Draw) -> Case:
    """One more row or column than the other has is completed up to a sign; more, up to a rotation."""
    shape = d.each([s for s in WIDE if 0 not in s])
    full = d.one([False, True]) if abs(shape[-1] - shape[-2]) < 2 else False
    while True:
        x = matrix(d, shape)
        u, s, vh = np.linalg.svd(x)
        if decided(u) and decided(vh[..., s.shape[-1] :, :].swapaxes(-1, -2)):
            return Case((x,), {"full_matrices": full, "apart": d.one([False, True])})


def qr(d: Draw) -> Case:
    shape = d.each(WIDE)
    free = shape[-2] - shape[-1]  # columns that complete q
    mode = d.one(["reduced", "complete"]) if free < (1 if d.complex else 2) else "reduced"

    def signs(x: Any) -> Any:
        return np.sign(np.diagonal(np.linalg.qr(x)[1], 0, -2, -1).real)

    while True:  # LAPACK's signs of r's diagonal jump where a pivot's real part is 0
        x = matrix(d, shape)
        if all(np.array_equal(signs(x), signs(x + 0.05 * d.values(shape))) for _ in range(16)):
            return Case((x,), {"mode": mode})


def pinv(d: Draw) -> Case:
    return Case((matrix(d, d.each(WIDE)),), {"rtol": d.one([None, 1e-3])})


def cofactors(x: Any) -> Any:
    """Minor by minor."""
    n = x.shape[-1]
    y = np.empty_like(x)
    for i in range(n):
        for j in range(n):
            rest = np.delete(np.delete(x, i, -2), j, -1)
            y[..., i, j] = (-1) ** (i + j) * np.linalg.det(rest)
    return y


def half(x: Any) -> Any:
    return (x + x.conj().swapaxes(-1, -2)) / 2


def rank(d: Draw) -> Case:
    shape = d.each(WIDE)
    return Case((matrix(d, shape, d.one([None, 0, 1, 2])),), {"rtol": d.one([None, 0.5])})


def ranks(x: Any, rtol: Any) -> Any:
    if 0 in x.shape[-2:]:
        return np.zeros(x.shape[:-2], int)
    return np.asarray(np.linalg.matrix_rank(x, rtol=rtol))


PAIRS: list[Any] = [
    ((3,), (3,), -1), ((2, 3), (3,), -1), ((2, 3), (2, 3), 0), ((2, 1, 3), (2, 3), -1), ((3, 2), (3, 1), -2),
    ((0,), (0,), 0), ((0, 3), (1, 3), -1), ((1,), (1,), -1), ((2, 3, 2), (1, 3, 2), 1),
]  # fmt: skip
THREES: list[Any] = [
    ((3,), (3,), -1), ((2, 3), (3,), -1), ((3, 2), (3, 2), 0), ((2, 1, 3), (2, 3), -1), ((3, 2), (3, 1), -2),
    ((0, 3), (1, 3), -1), ((2, 3, 2), (1, 3, 2), 1),
]  # fmt: skip


def pair(pairs: Sequence[Any]) -> Callable[[Draw], Case]:
    def draw(d: Draw) -> Case:
        a, b, axis = d.each(pairs)
        return Case((d.values(a), d.values(b)), {"axis": axis})

    return draw


def outer(d: Draw) -> Case:
    n, m = d.each([(2, 3), (1, 1), (0, 2), (3, 0), (3, 3), (1, 2)])
    return Case((d.values((n,)), d.values((m,))), {})


def diagonal(d: Draw) -> Case:
    shape, axes = d.each(
        [
            ((3, 3), (0, 1)), ((2, 3), (0, 1)), ((3, 2), (-2, -1)), ((2, 3, 2), (0, 1)), ((2, 3, 2), (-1, 0)),
            ((2, 2, 3), (1, 2)), ((0, 3), (0, 1)), ((1, 1), (1, 0)), ((2, 0, 3), (2, 0)),
        ]
    )  # fmt: skip
    return Case((d.values(shape),), {"offset": d.one([0, 0, 1, -1, 2, -2, 5]), "axis1": axes[0], "axis2": axes[1]})


def triangle(d: Draw) -> Case:
    shape = d.each([(3, 3), (2, 3), (3, 2), (2, 2, 3), (0, 3), (1, 1), (2, 0, 2)])
    return Case((d.values(shape),), {"k": d.one([0, 1, -1, 2, -3])})


def vector_norm(d: Draw) -> Case:
    """No entry near 0, and no two of one size."""
    shape = d.each([(3,), (2, 3), (), (1,), (2, 2, 2), (0, 2), (2, 0), (2, 1, 3), (3, 1)])
    ord = d.one([2, 2, 1, 3, 1.5, 0.5, -1, -2, 0, float("inf"), -float("inf")])
    axis = d.axes(len(shape))
    if 0 in shape:
        axis, ord = shape.index(2), 2
    size = 0.4 * (1 + d.random.permutation(int(np.prod(shape)))).reshape(shape)
    turn = d.random.uniform(0, 6, shape)
    x = size * (np.exp(1j * turn) if d.complex else np.where(turn < 3, -1, 1))
    return Case((x,), {"axis": axis, "keepdims": d.one([False, True]), "ord": ord})


def norm(x: Any, axis: Any, keepdims: bool, ord: float) -> Any:
    return np.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)


def turned(vectors: Any) -> Any:
    """The signs that make the largest entries of columns positive."""
    if not vectors.size:
        return np.ones((*vectors.shape[:-2], 1, vectors.shape[-1]))
    return np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(-2)[..., None, :], -2))


def eigenvectors(x: Any, apart: bool) -> Any:
    w, q = np.linalg.eigh(half(x))
    return w, q * turned(q)


def singular_vectors(x: Any, full_matrices: bool, apart: bool) -> Any:
    u, s, vh = np.linalg.svd(x, full_matrices)
    signs, k = turned(u), s.shape[-1]
    v = vh.swapaxes(-1, -2)
    rest = turned(v[..., k:])
    return u * signs, s, (v * np.concatenate([signs[..., :k], rest], -1)).swapaxes(-1, -2)


# Fourier

TRANSFORMS: list[Any] = [  # shape, s, axes; cut, filled up, odd and even
    ((4,), None, None), ((5,), None, (0,)), ((4,), (6,), (-1,)), ((5,), (3,), (0,)), ((2, 3), None, None),
    ((3, 4), (4, 3), (0, 1)), ((2, 3), (3, 4), (1, 0)), ((2, 3, 2), None, (0, 2)), ((1,), None, (0,)),
    ((0, 3), None, (1,)), ((2, 3), (2,), None), ((3, 2), (1,), (0,)), ((2, 5), (4,), (-1,)),
]  # fmt: skip
HALVES: list[Any] = [  # of real transforms; the default length needs two entries or more
    ((3,), None, None), ((3,), (5,), (0,)), ((3,), (4,), (-1,)), ((4,), (3,), (0,)), ((2,), (6,), (0,)),
    ((2, 3), None, None), ((3, 2), (2, 3), (0, 1)), ((2, 3), (3, 4), (1, 0)), ((1,), (1,), (0,)), ((2, 1), (2,), (1,)),
    ((0, 3), None, (1,)), ((2, 3), (4,), None), ((3, 3), (1,), (-1,)), ((2, 3, 2), None, (0, 2)),
]  # fmt: skip
NORMS = ["backward", "ortho", "forward"]


def transform(cases: Sequence[Any], complex: bool = True) -> Callable[[Draw], Case]:
    def draw(d: Draw) -> Case:
        shape, s, axes = d.each(cases)
        return Case((d.values(shape),), {"s": s, "axes": axes, "norm": d.one(NORMS)})

    return draw


def by_matrices(inverse: bool) -> Callable[..., Any]:
    """The transform axis by axis, as a product with its matrix."""

    def account(x: Any, s: Any, axes: Any, norm: str) -> Any:
        if axes is None:
            axes = range(x.ndim)[-len(s) :] if s is not None else range(x.ndim)
        for axis, n in zip(axes, s or [x.shape[a] for a in axes], strict=True):
            kept = np.moveaxis(x, axis, -1)[..., :n]
            x = np.zeros((*kept.shape[:-1], n), complex)
            x[..., : kept.shape[-1]] = kept
            turn = np.exp((2j if inverse else -2j) * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
            scale = {"ortho": n**0.5, "backward": n if inverse else 1, "forward": 1 if inverse else n}[norm]
            x = np.moveaxis(x @ turn / scale, -1, axis)
        return x

    return account


def half_of(x: Any, s: Any, axes: Any, norm: str) -> Any:
    y = by_matrices(False)(x, s, axes, norm)
    last = -1 if axes is None else axes[-1]
    return np.take(y, range(y.shape[last] // 2 + 1), axis=last)


def from_half(x: Any, s: Any, axes: Any, norm: str) -> Any:
    return np.fft.irfftn(x, s, range(x.ndim)[-len(s) :] if axes is None and s else axes, norm)


DOMAINS: dict[str, Domain] = {
    "inv": of_square(np.linalg.inv),
    "solve": Domain(solve, np.linalg.solve, complex=True),
    "det": of_square(np.linalg.det, rank=True),
    "cofactor": of_square(cofactors),
    "slogdet": of_square(lambda x: tuple(np.linalg.slogdet(x))),
    "cholesky": of_square(lambda x, upper: np.linalg.cholesky(x, upper=upper), make=positive, upper=[False, True]),
    "eigh": Domain(eigh, eigenvectors),
    "eigvalsh": of_square(lambda x: np.linalg.eigvalsh(half(x)), make=symmetric),
    "svd": Domain(svd, singular_vectors),
    "svdvals": of_any(np.linalg.svdvals),
    "qr": Domain(qr, lambda x, mode: tuple(np.linalg.qr(x, mode)), complex=True),
    "pinv": Domain(pinv, lambda x, rtol: np.linalg.pinv(x), complex=True),
    "matrix_rank": Domain(rank, ranks, complex=True),
    "outer": Domain(outer, np.outer, complex=True),
    "vecdot": Domain(pair(PAIRS), np.vecdot, complex=True),
    "cross": Domain(pair(THREES), np.cross, complex=True),
    "diagonal": Domain(diagonal, np.diagonal, complex=True),
    "trace": Domain(diagonal, np.trace, complex=True),
    "tril": Domain(triangle, np.tril, complex=True),
    "triu": Domain(triangle, np.triu, complex=True),
    "vector_norm": Domain(vector_norm, norm, complex=True),
    "fftn": Domain(transform(TRANSFORMS), by_matrices(False), complex=True),
    "ifftn": Domain(transform(TRANSFORMS), by_matrices(True), complex=True),
    "rfftn": Domain(transform(TRANSFORMS), half_of),
    "irfftn": Domain(transform(HALVES), from_half, complex=True),
}
