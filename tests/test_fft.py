"""`tg.fft`: every function against NumPy's, gradients against differences: odd and even lengths, cut and filled up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import errors, fft

NORMS = ["backward", "ortho", "forward"]
ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
SEVERAL = ["fftn", "ifftn", "rfftn", "irfftn"]
REAL_IN = ["rfft", "ihfft", "rfftn"]


def numbers(*shape: int, complex: bool, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    x = random.normal(size=shape)
    return x + 1j * random.normal(size=shape) if complex else x


def differences(f: Any, x: Any) -> Any:
    """∂f/∂Re x + i ∂f/∂Im x of a quadratic or linear function: central differences are exact."""
    slope, x = np.zeros_like(x), x.copy()
    for place in np.ndindex(x.shape):
        for unit in (1, 1j) if x.dtype.kind == "c" else (1,):
            at = x[place]
            x[place] = at + unit
            up = f(x)
            x[place] = at - unit
            slope[place] += (up - f(x)) / 2 * unit
            x[place] = at
    return slope


def energy(y: tg.Tensor) -> tg.Tensor:
    """Σ w |y − c|²: every entry counts, real and imaginary parts by themselves."""
    random = np.random.default_rng(7)
    w, c = (tg.Tensor(random.uniform(0.5, 2, y.shape), device=y.device) for _ in range(2))
    off = tg.real(y) - c
    return (w * off * off).sum() + ((c * tg.imag(y) ** 2).sum() if y.dtype.kind == "c" else 0)


def check(name: str, x: Any, options: dict[str, Any], device: str) -> None:
    """Values, gradients and second derivatives of one call."""
    ours, theirs = getattr(fft, name), getattr(np.fft, name)
    leaf = tg.Tensor(x, requires_grad=True, device=device)
    y = ours(leaf, **options)
    want = theirs(x, **options)
    holds(y, want, want.dtype, 1e-12)
    energy(y).backward()
    slope = differences(lambda v: energy(ours(tg.Tensor(v, device=device), **options)).item(), x)
    np.testing.assert_allclose(leaf.grad.numpy(), slope, rtol=1e-9, atol=1e-9 * (1 + np.abs(slope).max()))
    v = numbers(*x.shape, complex=x.dtype.kind == "c", seed=2)
    second = tg.hvp(lambda z: energy(ours(z, **options)), leaf.detach(), tg.Tensor(v, device=device)).numpy()

    def first(at: Any) -> Any:
        z = tg.Tensor(at, requires_grad=True, device=device)
        energy(ours(z, **options)).backward()
        return z.grad.numpy()

    along = (first(x + v) - first(x - v)) / 2
    np.testing.assert_allclose(second, along, rtol=1e-9, atol=1e-9 * (1 + np.abs(along).max()))


@pytest.mark.parametrize("n", [None, 1, 2, 3, 6, 7])
@pytest.mark.parametrize("name", ONE)
def test_along_one_axis(name: str, n: int | None, device: str) -> None:
    for norm in NORMS:
        for length in (4, 5):
            for complex in (False,) if name in REAL_IN else (False, True):
                check(name, numbers(length, complex=complex), {"n": n, "norm": norm}, device)
        x = numbers(3, 2, complex=name not in REAL_IN)
        check(name, x, {"n": n, "axis": 0, "norm": norm}, device)


@pytest.mark.parametrize("name", SEVERAL)
def test_along_several_axes(name: str, device: str) -> None:
    x = numbers(2, 3, 4, complex=name not in REAL_IN)
    for norm in NORMS:
        for axes, s in ((None, None), ((0, 2), None), ((-1, 0), (3, 3)), ((1,), (5,)), ((0, 1, 2), (1, 4, 3))):
            check(name, x, {"s": s, "axes": axes, "norm": norm}, device)
    y = getattr(fft, name)(maker(device)(x), s=(3, 3))
    holds(y, getattr(np.fft, name)(x, (3, 3), (-2, -1)), tolerance=1e-12)


@pytest.mark.parametrize("n", [4, 5])
def test_a_real_transform_leaves_out_what_has_no_place(n: int, device: str) -> None:
    """The imaginary parts at frequency 0 and n/2 change nothing and have gradient 0."""
    x = maker(device)(numbers(3, complex=True), True)
    energy(fft.irfft(x, n=n)).backward()
    g = x.grad.numpy()
    assert g[0].imag == 0 and (n % 2 or g[2].imag == 0)
    assert g[1].imag != 0 and (n % 2 == 0 or g[2].imag != 0)


def test_each_undoes_the_other(device: str) -> None:
    x, z = numbers(3, 5, complex=False), numbers(3, 5, complex=True)
    tensor = maker(device)
    for norm in NORMS:
        holds(fft.ifftn(fft.fftn(tensor(z), norm=norm), norm=norm), z, "complex128", 1e-12)
        holds(fft.irfftn(fft.rfftn(tensor(x), norm=norm), s=(3, 5), norm=norm), x, "float64", 1e-12)
        holds(fft.hfft(fft.ihfft(tensor(x), norm=norm), n=5, norm=norm), x, "float64", 1e-12)


def test_precision_is_kept(device: str) -> None:
    x, z = (numbers(2, 4, complex=c).astype(d) for c, d in ((False, "float32"), (True, "complex64")))
    tensor = maker(device)
    assert fft.fft(tensor(x)).dtype == fft.rfft(tensor(x)).dtype == fft.ifftn(tensor(z)).dtype == np.complex64
    assert fft.irfft(tensor(z)).dtype == fft.hfft(tensor(z)).dtype == np.float32
    assert fft.fft(tensor(np.arange(4))).dtype == np.complex64
    leaf = tensor(x, True)
    tg.abs(fft.fft(leaf)).sum().backward()
    assert leaf.grad.dtype == np.float32


def test_parseval(device: str) -> None:
    """The gradient of the energy of an orthonormal transform is that of the energy itself."""
    x = maker(device)(numbers(6, complex=True), True)
    (tg.abs(fft.fft(x, norm="ortho")) ** 2).sum().backward()
    holds(x.grad, 2 * x.numpy(), tolerance=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_frequencies_and_shifts(n: int, device: str) -> None:
    holds(fft.fftfreq(n, d=0.5, dtype="float64", device=device), np.fft.fftfreq(n, 0.5), "float64", 1e-15)
    holds(fft.rfftfreq(n, d=0.5, device=device), np.fft.rfftfreq(n, 0.5), "float32")
    x = numbers(n, 3, complex=False)
    leaf = maker(device)(x, True)
    for axes in (None, 0, (0, 1), -1):
        holds(fft.fftshift(leaf, axes=axes), np.fft.fftshift(x, axes))
        holds(fft.ifftshift(fft.fftshift(leaf, axes=axes), axes=axes), x)
    w = numbers(n, 3, complex=False, seed=1)
    (fft.fftshift(leaf) * maker(device)(w)).sum().backward()
    holds(leaf.grad, np.fft.ifftshift(w))


def test_numpys_functions_reach_them() -> None:
    x = tg.Tensor(numbers(4, 3, complex=False), requires_grad=True)
    holds(np.fft.fft(x, 5, 0), np.fft.fft(x.numpy(), 5, 0), tolerance=1e-12)
    holds(np.fft.irfftn(np.fft.rfftn(x, (4, 3)), s=(4, 3), axes=(0, 1), norm=None), x.numpy(), tolerance=1e-12)
    holds(np.fft.fftshift(x, 0), np.fft.fftshift(x.numpy(), 0))
    with pytest.raises(errors.DTypeError, match=r"numpy.fft.fft2 has no counterpart"):
        np.fft.fft2(x)


WRONG: list[Any] = [
    ("fft", (3,), {"norm": "unitary"}, errors.OptionError, "fft: norm is 'backward', 'ortho' or 'forward'"),
    ("hfft", (3,), {"norm": "unitary"}, errors.OptionError, "hfft: norm is"),
    ("fft", (3,), {"axis": 1}, errors.ShapeError, r"fft: axis 1 is not one of a tensor of shape \(3,\)"),
    ("fft", (3,), {"axis": 1.0}, errors.AxisError, "fft: axis 1.0 is not one of"),
    ("fft", (3,), {"axis": "a"}, errors.AxisError, "fft: axis 'a' is not one of"),
    ("fft", (3,), {"n": "a"}, errors.OptionError, "fft: n is a whole number, not 'a'"),
    ("fft", (3,), {"norm": []}, errors.OptionError, r"fft: norm is .*not \[\]"),
    ("fftn", (3,), {"s": 5}, errors.OptionError, "fftn: s is a list of whole numbers, not 5"),
    ("fftn", (3,), {"axes": 0}, errors.OptionError, "fftn: axes is a list of whole numbers, not 0"),
    ("fftn", (3,), {"axes": "ab"}, errors.OptionError, "fftn: axes is a list"),
    ("fftshift", (3,), {"axes": "a"}, errors.AxisError, "fftshift: axis 'a'"),
    ("fft", (), {}, errors.ShapeError, "which has 0"),
    ("fftn", (), {}, errors.ShapeError, "no axes to transform"),
    ("fftn", (2, 3), {"axes": (0, -2)}, errors.ShapeError, "each axis once"),
    ("fftn", (2, 3), {"axes": (0, 1), "s": (3,)}, errors.ShapeError, "a length each"),
    ("fftn", (2, 3), {"s": (3, 3, 3)}, errors.ShapeError, "each axis once"),
    ("rfft", (3,), {"n": 0}, errors.ShapeError, r"rfft: lengths \[0\]"),
    ("fft", (2, 0), {}, errors.ShapeError, "each is 1 or more"),
    ("irfft", (1,), {}, errors.ShapeError, "each is 1 or more"),
    ("fftshift", (3,), {"axes": 2}, errors.ShapeError, "axis 2 is not one"),
]  # fmt: skip


@pytest.mark.parametrize("name, shape, options, error, words", WRONG)
def test_bad_input(name: str, shape: Any, options: Any, error: Any, words: str, device: str) -> None:
    with pytest.raises(error, match=words):
        getattr(fft, name)(maker(device)(np.ones(shape)), **options)


def test_a_complex_tensor_has_no_real_transform(device: str) -> None:
    with pytest.raises(errors.DTypeError, match="rfft: takes real numbers, not complex128; use fft"):
        fft.rfft(maker(device)(numbers(3, complex=True)))
    for d in ("a", 0):
        with pytest.raises(errors.OptionError, match="fftfreq: d is the distance of the samples"):
            fft.fftfreq(4, d=d)  # type: ignore[arg-type]
    with pytest.raises(errors.DTypeError, match=r"fftfreq: .*int32 does not hold"):
        fft.fftfreq(4, dtype="int32")
    with pytest.raises(errors.DTypeError, match=r"fft: Tensor: .*not numeric"):
        fft.fft("a")
    with pytest.raises(errors.OptionError, match="fftfreq: n is a whole number from 1 on, not 0"):
        fft.fftfreq(0)
