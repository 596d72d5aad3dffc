"""`tg.linalg`: what the properties of the registry do not say. Conventions at singular points, functions that do not
depend on the choice of eigenvectors, extreme numbers, compositions, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import errors, linalg
from tinygrad_mlsp.op import registry

inf = float("inf")


def numbers(*shape: int, complex: bool = False, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    x = random.normal(size=shape)
    return x + 1j * random.normal(size=shape) if complex else x


def hermitian(x: Any) -> Any:
    return (x + x.conj().swapaxes(-1, -2)) / 2


def differences(f: Callable[[Any], float], x: Any, step: float = 1e-3) -> Any:
    """∂f/∂Re x + i ∂f/∂Im x by a stencil of fourth order."""
    x = x.copy()
    slope = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        for unit in (1, 1j) if x.dtype.kind == "c" else (1,):
            at, found = x[place], 0.0
            for by, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
                x[place] = at + by * step * unit
                found += weight * f(x)
            x[place] = at
            slope[place] += found / (12 * step) * unit
    return slope


def gradient(f: Callable[[tg.Tensor], tg.Tensor], x: Any, device: str) -> Any:
    leaf = tg.Tensor(x, requires_grad=True, device=device)
    f(leaf).backward()
    assert leaf.grad is not None
    return leaf.grad.numpy()


def agrees(f: Callable[[tg.Tensor], tg.Tensor], x: Any, device: str, tolerance: float = 1e-7) -> None:
    """The gradient of a real scalar is that of differences."""
    want = differences(lambda v: f(tg.Tensor(v, device=device)).item(), x)
    np.testing.assert_allclose(gradient(f, x, device), want, rtol=tolerance, atol=tolerance * (1 + np.abs(want).max()))


def weighed(y: tg.Tensor, seed: int = 9) -> tg.Tensor:
    """A real number from all entries of a tensor."""
    weights = numbers(*y.shape, complex=y.dtype.kind == "c", seed=seed)
    return tg.real(y * tg.Tensor(weights, device=y.device)).sum()


def directional(f: Callable[[tg.Tensor], tg.Tensor], seed: int = 3) -> Callable[[tg.Tensor], tg.Tensor]:
    """⟨∇f, v⟩ for some direction v, recorded."""

    def along(x: tg.Tensor) -> tg.Tensor:
        leaf = x if x.requires_grad else tg.Tensor(x.data, requires_grad=True)
        g = tg.grad(f)(leaf)
        v = tg.Tensor(numbers(*x.shape, complex=x.dtype.kind == "c", seed=seed), device=x.device)
        return tg.real(tg.conj(g) * v).sum()

    return along


def adjoint(x: tg.Tensor) -> tg.Tensor:
    return tg.conj(x.mT)


def exponential(x: tg.Tensor) -> tg.Tensor:
    w, q = linalg.eigh(x)
    return (q * tg.exp(w)) @ adjoint(q)


# What does not depend on the choice of vectors


FREE: dict[str, Callable[[tg.Tensor], tg.Tensor]] = {
    "eigh, a projector": lambda x: weighed(linalg.eigh(x)[1][:, :2] @ adjoint(linalg.eigh(x)[1][:, :2])),
    "eigh, values and sizes": lambda x: weighed(linalg.eigh(x)[0]) + weighed(tg.abs(linalg.eigh(x)[1])),
    "eigh, a function of x": lambda x: weighed(exponential(x)),
    "eigvalsh": lambda x: weighed(linalg.eigvalsh(x)),
    "svd, the unitary factor": lambda x: weighed(linalg.svd(x)[0] @ linalg.svd(x)[2]),
    "svd, values and sizes": lambda x: weighed(linalg.svd(x)[1]) + weighed(tg.abs(linalg.svd(x)[0])),
    "svd, sizes on the right": lambda x: weighed(tg.abs(linalg.svd(x)[2])),
    "cholesky": lambda x: weighed(linalg.cholesky(x @ adjoint(x))),
    "slogdet": lambda x: tg.real(linalg.slogdet(x)[0]) + linalg.slogdet(x)[1],
}  # fmt: skip


@pytest.mark.parametrize("complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("name", FREE)
def test_gradients_that_do_not_depend_on_the_choice_of_vectors(name: str, complex: bool, device: str) -> None:
    x = numbers(3, 3, complex=complex)
    agrees(FREE[name], x, device)
    agrees(directional(FREE[name]), x, device, 1e-6)


@pytest.mark.parametrize("complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3)])
def test_the_basis_that_completes_is_differentiated_as_a_space(shape: Any, complex: bool, device: str) -> None:
    k = min(shape)

    def outside(x: tg.Tensor) -> tg.Tensor:
        u, s, vh = linalg.svd(x)
        rest, more = u[:, k:], vh[k:]
        return weighed(rest @ adjoint(rest)) + weighed(adjoint(more) @ more, 4) + weighed(s)

    def beside(x: tg.Tensor) -> tg.Tensor:
        q, r = linalg.qr(x, mode="complete")
        return weighed(q[:, k:] @ adjoint(q[:, k:])) + weighed(r[:k])

    for f in (outside, beside):
        agrees(f, numbers(*shape, complex=complex), device)
        agrees(directional(f), numbers(*shape, complex=complex), device, 1e-6)


@pytest.mark.parametrize("complex", [False, True], ids=["real", "complex"])
def test_the_largest_entry_of_a_vector_is_positive(complex: bool, device: str) -> None:
    x = numbers(5, 4, 3, complex=complex)
    tensor = maker(device)
    _, q = linalg.eigh(tensor(hermitian(x[:, :3])))
    u, s, vh = linalg.svd(tensor(x))
    wide = linalg.svd(tensor(x.swapaxes(-1, -2)))
    for vectors in (q, u, wide.U, wide.Vh.mT[..., 3:]):
        v = vectors.numpy()
        top = np.take_along_axis(v, np.abs(v).argmax(-2)[:, None], -2)
        assert np.all(top.real > 0) and np.abs(top.imag).max() < 1e-15
    holds((u[..., :3] * s[:, None]) @ vh, x, tolerance=1e-12)
    holds((wide.U * wide.S[:, None]) @ wide.Vh[:, :3], x.swapaxes(-1, -2), tolerance=1e-12)


def test_factors_multiply_to_what_they_are_of(device: str) -> None:
    tensor = maker(device)
    for complex in (False, True):
        x = numbers(2, 4, 3, complex=complex)
        for mode in ("reduced", "complete"):
            q, r = linalg.qr(tensor(x), mode=mode)
            holds(q @ r, x, tolerance=1e-12)
            holds(adjoint(q) @ q, np.broadcast_to(np.eye(q.shape[-1]), (2, q.shape[-1], q.shape[-1])), tolerance=1e-12)
        p = x.swapaxes(-1, -2).conj() @ x
        lower, upper = linalg.cholesky(tensor(p)), linalg.cholesky(tensor(p), upper=True)
        holds(lower @ adjoint(lower), p, tolerance=1e-12)
        holds(upper, np.linalg.cholesky(p).conj().swapaxes(-1, -2), tolerance=1e-12)
        w, q = linalg.eigh(tensor(p))
        holds((q * w[:, None]) @ adjoint(q), p, tolerance=1e-12)


def test_of_x_the_hermitian_part_counts(device: str) -> None:
    x = numbers(3, 3) + 5 * np.eye(3)
    tensor = maker(device)
    holds(linalg.cholesky(tensor(x)), np.linalg.cholesky(hermitian(x)), tolerance=1e-12)
    holds(linalg.eigvalsh(tensor(x)), np.linalg.eigvalsh(hermitian(x)), tolerance=1e-12)
    g = gradient(lambda x: weighed(linalg.cholesky(x)), hermitian(x), device)
    assert np.array_equal(g, g.T)


# Equal eigenvalues, singular matrices


def test_equal_eigenvalues(device: str) -> None:
    eye = np.eye(3)
    for x in (eye, np.diag([2.0, 2.0, 5.0]), 0 * eye):
        holds(maker(device)(gradient(lambda x: linalg.eigvalsh(x).sum(), x, device)), eye, tolerance=1e-12)
        holds(maker(device)(gradient(lambda x: (linalg.eigvalsh(x) ** 2).sum(), x, device)), 2 * x, tolerance=1e-12)
        if x.any():
            g = gradient(lambda x: linalg.svdvals(x).sum(), x, device)
            np.testing.assert_allclose(g, eye, atol=1e-12)
    turn = np.linalg.qr(numbers(4, 4))[0]
    x = (turn * [1.0, 1.0, 3.0, 3.0]) @ turn.T

    def projector(x: tg.Tensor) -> tg.Tensor:
        q = linalg.eigh(x)[1][:, :2]
        return weighed(q @ q.mT)

    agrees(projector, x, device)
    for f in (lambda x: weighed(linalg.eigh(x)[1]), lambda x: weighed(linalg.svd(x)[0]), directional(projector)):
        assert np.isfinite(gradient(f, eye, device)).all()
    assert "no term" in registry["eigh"].kink and "no term" in registry["svd"].kink


@pytest.mark.parametrize("complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_the_determinant_is_differentiated_at_singular_matrices(rank: int, complex: bool, device: str) -> None:
    x = numbers(3, rank, complex=complex) @ numbers(rank, 3, complex=complex, seed=1)
    agrees(lambda x: tg.real(linalg.det(x)), x, device)
    agrees(directional(lambda x: tg.real(linalg.det(x))), x, device)
    g = gradient(lambda x: tg.real(linalg.det(x)), x, device)
    assert np.abs(g).max() > 0.01 if rank > 1 else np.abs(g).max() < 1e-12


def test_singular_systems(device: str) -> None:
    tensor = maker(device)
    x = tensor(np.ones((2, 2)))
    if device != "cpu":  # nobody waits for the GPU's answer
        assert np.isnan(linalg.inv(x).numpy()).all() and np.isnan(linalg.solve(x, tensor(np.ones(2))).numpy()).all()
        return
    with pytest.raises(errors.MatrixError, match=r"inv\(x: float64 \[2, 2\]\): Singular matrix: use pinv, or add"):
        linalg.inv(x)
    with pytest.raises(errors.MatrixError, match=r"solve\(a: float64 \[2, 2\], b: float64 \[2\]\): Singular matrix"):
        linalg.solve(x, tensor(np.ones(2)))
    with pytest.raises(errors.MatrixError, match="not positive definite: add a small multiple"):
        linalg.cholesky(-x)
    with pytest.raises(errors.MatrixError, match=r"matrix_power|inv\(x.*Singular"):
        linalg.matrix_power(x, -1)
    with pytest.raises(errors.MatrixError, match="are there NaN or infinities in it"):
        linalg.svdvals(x * np.nan)
    sign, y = linalg.slogdet(x)
    holds(sign, 0.0)
    holds(y, -inf)
    for f in (lambda x: linalg.slogdet(x)[1], lambda x: linalg.qr(x)[1].sum()):
        for way in (tg.grad(f), lambda x, f=f: tg.jvp(f, (x,), (x,)), tg.grad(lambda x, f=f: tg.grad(f)(x).sum())):
            with pytest.raises(errors.MatrixError, match=r"(backward|forward mode) through (slogdet|qr): .*Singular"):
                way(tensor(np.zeros((2, 2))))
        with pytest.raises(errors.MatrixError, match="add a small multiple of the identity"):
            gradient(f, np.zeros((2, 2)), device)


def test_determinants_whose_cofactors_overflow_on_the_way(device: str) -> None:
    def diagonal(*x: float) -> Any:
        with np.errstate(all="ignore"):
            return gradient(linalg.det, np.diag(x), device)

    assert not diagonal(1e200, 1e200, 0, 0).any()
    np.testing.assert_allclose(np.diagonal(diagonal(1e200, 1e200, 1e-200, 1e-150)), [1e-150, 1e-150, 1e250, 1e200])


def test_no_second_derivative_of_values_that_are_equal(device: str) -> None:
    tensor = maker(device)

    def hessian(f: Any, x: Any) -> Any:
        with np.errstate(all="ignore"):
            return [
                h.numpy().reshape(x.size, x.size)
                for h in (tg.hessian(f)(tensor(x)), tg.jacobian(tg.grad(f))(tensor(x)))
            ]

    symmetric = np.array([[2.0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 2]])
    for h in hessian(lambda x: (linalg.eigvalsh(x) ** 2).sum(), np.diag([1.0, 3.0])):
        np.testing.assert_allclose(h, symmetric, atol=1e-12)
    for h in hessian(lambda x: (linalg.svdvals(x) ** 2).sum(), np.diag([3.0, 1.0])):
        np.testing.assert_allclose(h, 2 * np.eye(4), atol=1e-12)
    for h in hessian(lambda x: (linalg.eigvalsh(x) ** 2).sum(), np.eye(2)):
        assert np.isnan(h).any(axis=1).all()
    for x in (np.eye(2), np.eye(2, 3), np.diag([1.0, 0.0])):
        for h in hessian(lambda x: (linalg.svdvals(x) ** 2).sum(), x):
            assert np.isnan(h).any(axis=1).all()


def test_equal_singular_values(device: str) -> None:
    """Their sum, the nuclear norm, has the unitary factor for a slope; values of 0 count nothing."""
    for x in (np.eye(3)[:2], 2 * np.linalg.qr(numbers(3, 3))[0]):
        u, _, vh = np.linalg.svd(x, full_matrices=False)
        np.testing.assert_allclose(gradient(lambda x: linalg.svdvals(x).sum(), x, device), u @ vh, atol=1e-12)
    x = np.diag([1.0, 0.0])
    np.testing.assert_allclose(gradient(lambda x: linalg.svdvals(x).sum(), x, device), x, atol=1e-12)


def test_pinv_of_a_singular_matrix_has_the_slope_at_constant_rank(device: str) -> None:
    x = np.diag([2.0, 0.5, 0.0])
    g = gradient(lambda x: linalg.pinv(x).sum(), x, device)
    moved = np.linalg.pinv(x + 1e-7 * np.outer([1, 0, 0], [1, 0, 0])).sum() - np.linalg.pinv(x).sum()
    np.testing.assert_allclose(g[0, 0], moved / 1e-7, rtol=1e-5)
    assert np.isfinite(g).all()
    holds(linalg.pinv(maker(device)(x), rtol=0.4), np.diag([0.5, 0, 0]), tolerance=1e-12)
    stack = np.stack([x, x])
    holds(
        linalg.pinv(maker(device)(stack), rtol=maker(device)([0.4, 0.1])), [np.diag([0.5, 0, 0]), np.diag([0.5, 2, 0])]
    )
    holds(linalg.matrix_rank(maker(device)(stack), rtol=maker(device)([0.4, 0.1])), [1, 2], "int64")


# Norms


ORDERS = [2, 1, 3, 1.5, 0.5, -1, -2, 0, inf, -inf]
MATRIX_ORDERS: list[Any] = ["fro", "nuc", 1, -1, 2, -2, inf, -inf]


@pytest.mark.parametrize("ord", ORDERS)
def test_vector_norms_at_zero_and_at_extremes(ord: float, device: str) -> None:
    tensor = maker(device)
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        for x in (np.zeros(3), np.zeros((2, 2), complex), np.array([0.0, 1.0, -2.0])):
            first = gradient(lambda x: linalg.vector_norm(x, ord=ord), x, device)
            second = 0 * first
            if ord and (x.dtype.kind == "c" or ord not in (1, inf, -inf)):  # else nothing depends on x any more
                second = gradient(directional(lambda x: linalg.vector_norm(x, ord=ord)), x, device)
            assert np.isfinite(first).all() and np.isfinite(second).all()
            assert not first[x == 0].any() and (x.any() or not second.any())
        for scale in (1e200, 1e-200, 1e-310):
            x = np.array([3.0, 4.0, -12.0]) * scale
            y = linalg.vector_norm(tensor(x), ord=ord).item()
            unit = np.linalg.norm([3.0, 4.0, 12.0], ord)
            assert y == pytest.approx(unit if ord == 0 else unit * scale, rel=1e-10)
            if scale > 1e-300:
                near = gradient(lambda x: linalg.vector_norm(x, ord=ord), x / scale, device)
                g = gradient(lambda x: linalg.vector_norm(x, ord=ord), x, device)
                np.testing.assert_allclose(g, near, rtol=1e-12)
    assert linalg.vector_norm(tensor([inf, 1.0]), ord=ord).item() == np.linalg.norm([inf, 1.0], ord)
    assert np.isnan(linalg.vector_norm(tensor([np.nan, 1.0])).item())


@pytest.mark.parametrize("complex", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("ord", MATRIX_ORDERS)
def test_matrix_norms(ord: Any, complex: bool, device: str) -> None:
    x = numbers(2, 3, 4, complex=complex)
    for keepdims in (False, True):
        y = linalg.matrix_norm(maker(device)(x), ord=ord, keepdims=keepdims)
        holds(y, np.linalg.matrix_norm(x, ord=ord, keepdims=keepdims), "float64", 1e-12)
    agrees(lambda x: weighed(linalg.matrix_norm(x, ord=ord)), x, device)
    g = gradient(lambda x: linalg.matrix_norm(x, ord=ord).sum(), 0 * x, device)
    assert not g.any()
    big = linalg.matrix_norm(maker(device)(x * 1e200), ord=ord)
    holds(big / 1e200, np.linalg.matrix_norm(x, ord=ord), tolerance=1e-12)


def test_ties_share_the_slope_of_a_norm(device: str) -> None:
    g = gradient(lambda x: linalg.vector_norm(x, ord=inf), np.array([2.0, -2.0, 1.0]), device)
    assert g.tolist() == [0.5, -0.5, 0]
    np.testing.assert_allclose(gradient(lambda x: linalg.matrix_norm(x, ord=2), np.eye(2), device), np.eye(2) / 2)


# Compositions


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 5, 8])
def test_matrix_power(n: int, device: str) -> None:
    for complex in (False, True):
        x = numbers(2, 3, 3, complex=complex) / 3 + 2 * np.eye(3)
        y = linalg.matrix_power(maker(device)(x), n)
        want = np.linalg.matrix_power(x, n)
        holds(y / np.abs(want).max(), want / np.abs(want).max(), tolerance=1e-11)
        if n:
            agrees(lambda x: weighed(linalg.matrix_power(x, n)), x, device)
    holds(linalg.matrix_power(maker(device)(np.zeros((0, 0))), n), np.zeros((0, 0)), "float64")


PAIRS: list[Any] = [
    ((2, 3, 4), (4, 3), 1), ((2, 3, 4), (3, 4, 2), 2), ((3,), (3,), 0), ((3, 2), (2, 3), ([0, 1], [1, 0])),
    ((), (3,), 0), ((2, 3), (4, 3), (1, 1)), ((2, 0), (0, 3), 1), ((2, 3), (4, 3), ([-1], [-1])), ((2,), (), 0),
]  # fmt: skip


@pytest.mark.parametrize("left, right, axes", PAIRS)
def test_tensordot(left: Any, right: Any, axes: Any, device: str) -> None:
    x, z = np.asarray(numbers(*left, complex=True)), np.asarray(numbers(*right, complex=True, seed=1))
    tensor = maker(device)
    holds(linalg.tensordot(tensor(x), tensor(z), axes=axes), np.tensordot(x, z, axes), tolerance=1e-12)
    agrees(lambda x: weighed(tg.tensordot(x, tensor(z), axes=axes)), x, device) if x.size else None
    agrees(lambda z: weighed(tg.tensordot(tensor(x), z, axes=axes)), z, device) if z.size else None


KRON = [((2, 3), (3, 2)), ((3,), (2,)), ((2, 1, 2), (3, 2)), ((), (3,)), ((0, 2), (2, 2))]


@pytest.mark.parametrize("left, right", KRON)
def test_kron(left: Any, right: Any, device: str) -> None:
    x, z = np.asarray(numbers(*left, complex=True)), np.asarray(numbers(*right, complex=True, seed=1))
    tensor = maker(device)
    holds(tg.kron(tensor(x), tensor(z)), np.kron(x, z), tolerance=1e-12)
    if x.size:
        agrees(lambda x: weighed(linalg.kron(x, tensor(z))), x, device)
        agrees(lambda z: weighed(linalg.kron(tensor(x), z)), z, device)


def test_the_standards_signatures(device: str) -> None:
    tensor = maker(device)
    x = numbers(2, 3, 3)
    assert linalg.eigh(tensor(hermitian(x))).eigenvectors.shape == (2, 3, 3)
    assert linalg.slogdet(tensor(x)).logabsdet.shape == (2,)
    assert linalg.svd(tensor(x[:, :2]), full_matrices=False).Vh.shape == (2, 2, 3)
    assert linalg.qr(tensor(x[:, :2]), mode="reduced").R.shape == (2, 2, 3)
    holds(linalg.diagonal(tensor(x), offset=1), np.linalg.diagonal(x, offset=1))
    holds(linalg.trace(tensor(x), offset=-1), np.linalg.trace(x, offset=-1))
    holds(linalg.trace(tensor(np.eye(3, dtype="int32"))), 3, "int64")
    holds(linalg.trace(tensor(np.eye(3, dtype="int32")), dtype="float32"), 3.0, "float32")
    holds(linalg.matrix_rank(tensor(x)), [3, 3], "int64")
    holds(linalg.vecdot(tensor(x), tensor(x), axis=0), (x * x).sum(0))
    holds(linalg.cross(tensor(x[0]), tensor(x[1]), axis=0), np.cross(x[0], x[1], axis=0))
    holds(linalg.matrix_transpose(tensor(x)), x.swapaxes(-1, -2))
    holds(linalg.matmul(tensor(x), tensor(x)), x @ x)
    holds(linalg.outer(tensor(x[0, 0]), tensor(x[0, 1])), np.outer(x[0, 0], x[0, 1]))
    holds(linalg.inv(tensor([[2, 0], [0, 4]])), [[0.5, 0], [0, 0.25]], "float32")
    holds(linalg.det(tensor(np.eye(2, dtype="float32"))), 1, "float32")
    assert all(hasattr(linalg, name) for name in linalg.__all__) and tg.linalg is linalg


def test_numpys_functions_reach_them() -> None:
    x = tg.Tensor(numbers(3, 3), requires_grad=True)
    holds(np.linalg.inv(x), np.linalg.inv(x.numpy()), tolerance=1e-12)
    assert np.linalg.det(x).requires_grad and np.linalg.eigh(x)[1].requires_grad and np.trace(x).requires_grad
    assert np.linalg.matrix_norm(x).requires_grad and np.tensordot(x, x, 1).requires_grad
    with pytest.raises(errors.DTypeError, match=r"numpy.linalg.eig has no counterpart"):
        np.linalg.eig(x)


# Bad input


WRONG: list[Any] = [
    ("inv", [(2, 3)], {}, errors.ShapeError, r"inv\(x: float64 \[2, 3\].*\): takes square matrices"),
    ("inv", [(3,)], {}, errors.ShapeError, "takes square matrices"),
    ("det", [(2, 3)], {}, errors.ShapeError, "takes square matrices"),
    ("slogdet", [(2, 3)], {}, errors.ShapeError, "takes square matrices"),
    ("cholesky", [(2, 3)], {}, errors.ShapeError, "takes square matrices"),
    ("eigh", [(2, 3)], {}, errors.ShapeError, "takes square matrices"),
    ("eigvalsh", [(3,)], {}, errors.ShapeError, "takes square matrices"),
    ("svd", [(3,)], {}, errors.ShapeError, "takes matrices"),
    ("svdvals", [(3,)], {}, errors.ShapeError, "takes matrices"),
    ("qr", [(3,)], {}, errors.ShapeError, "takes matrices"),
    ("pinv", [(3,)], {}, errors.ShapeError, "takes matrices"),
    ("matrix_rank", [()], {}, errors.ShapeError, "takes matrices"),
    ("solve", [(2, 3), (2,)], {}, errors.ShapeError, "a takes square matrices"),
    ("solve", [(2, 2), (3,)], {}, errors.ShapeError, "a has 2 rows, b has 3"),
    ("solve", [(2, 2), ()], {}, errors.ShapeError, "not a number"),
    ("solve", [(4, 3, 3), (4, 3)], {}, errors.ShapeError, r"several vectors are the columns of a matrix"),
    ("solve", [(4, 3, 3), (2, 3, 1)], {}, errors.ShapeError, r"the batches \[4\] and \[2\] disagree"),
    ("matrix_norm", [(0, 2)], {"ord": inf}, errors.ShapeError, "matrix_norm: max"),
    ("vector_norm", [(3,)], {"ord": float("nan")}, errors.OptionError, "vector_norm.*not nan"),
    ("vector_norm", [(3,)], {"axis": "a"}, errors.AxisError, "vector_norm: axis 'a' is not one of"),
    ("pinv", [(3, 3)], {"rtol": -1}, errors.OptionError, "pinv.*rtol is a number from 0 on.*not -1"),
    ("pinv", [(3, 3)], {"rtol": "a"}, errors.OptionError, "pinv.*rtol is a number from 0 on.*not 'a'"),
    ("inv", ["a"], {}, errors.DTypeError, "inv: Tensor: .*not numeric"),
    ("tensordot", [(2, 3), (2, 3)], {"axes": 1.5}, errors.OptionError, "tensordot: axes is how many"),
    ("tensordot", [(2, 3), (2, 3)], {"axes": (0,)}, errors.OptionError, "tensordot: axes is how many"),
    ("matrix_norm", [(3,)], {}, errors.ShapeError, "matrix_norm: takes matrices"),
    ("matrix_norm", [(3, 3)], {"ord": 3}, errors.OptionError, "ord is 'fro', 'nuc'"),
    ("matrix_norm", [(3, 3)], {"ord": "max"}, errors.OptionError, "not 'max'"),
    ("vector_norm", [(3,)], {"ord": "fro"}, errors.OptionError, "matrix_norm knows"),
    ("matrix_power", [(3, 2), 2], {}, errors.ShapeError, "square"),
    ("matrix_power", [(3, 3), 0.5], {}, errors.DTypeError, "whole number"),
    ("qr", [(3, 3)], {"mode": "full"}, errors.OptionError, "'reduced' or 'complete'"),
    ("outer", [(3, 3), (3,)], {}, errors.ShapeError, "takes two vectors"),
    ("cross", [(2,), (2,)], {}, errors.ShapeError, "2 and 2 entries, where 3 and 3 belong"),
    ("vecdot", [(3,), ()], {}, errors.ShapeError, "not a number"),
    ("vecdot", [(3,), (2,)], {}, errors.ShapeError, "along axis -1 they have 3 and 2 entries"),
    ("vecdot", [(3,), (3,)], {"axis": 1}, errors.ShapeError, "axis 1 is not one of both"),
    ("vecdot", [(2, 3), (3,)], {"axis": 0}, errors.ShapeError, "count it from the end"),
    ("tensordot", [(2, 3), (2, 3)], {}, None, ""),
    ("tensordot", [(2, 3), (2, 3)], {"axes": 1}, errors.ShapeError, "do not pair up"),
    ("tensordot", [(2, 3), (2, 3)], {"axes": 3}, errors.ShapeError, "axes=3"),
    ("diagonal", [(3,)], {}, errors.ShapeError, "two axes"),
    ("trace", [()], {}, errors.ShapeError, "two axes"),
]  # fmt: skip


@pytest.mark.parametrize("name, shapes, options, error, words", WRONG)
def test_bad_input(name: str, shapes: Any, options: Any, error: Any, words: str, device: str) -> None:
    given = [maker(device)(np.ones(s)) if isinstance(s, tuple) else s for s in shapes]
    if error is None:
        getattr(linalg, name)(*given, **options)
        return
    with pytest.raises(error, match=words):
        getattr(linalg, name)(*given, **options)
    with pytest.raises(errors.Error, match="two axes"):
        tg.tril(maker(device)(np.ones(3)))
    with pytest.raises(errors.OptionError, match=r"triu\(.*k is a whole number, not 0.5"):
        tg.triu(maker(device)(np.ones((2, 2))), k=0.5)
