"""The array API's Fourier transforms: `tg.fft`, on the operations of `rules.fourier`.

`n` or `s` are the lengths along the axes, to which x is cut or filled up with zeros. The sum over n entries is divided
by 1 forth and n back (norm="backward"), by √n both ways ("ortho"), or by n forth and 1 back ("forward").

float32 gives complex64 and float64 complex128; whole numbers are taken as float32. The gradient at a complex z is
∂L/∂Re z + i ∂L/∂Im z, as PyTorch's is. What a real transform leaves out of a complex x, the imaginary parts at
frequency 0 and n/2, has gradient 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .convert import as_dtype
from .dtypes import float32
from .errors import AxisError, DTypeError, OptionError, ShapeError
from .namespace import arange, asarray, astype
from .record import named
from .rules.shape import axis_of, whole
from .tensor import Tensor, record_of

__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn", "rfft",
    "rfftfreq", "rfftn",
]  # fmt: skip

_SINGLE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
_BACK = {"backward": "forward", "ortho": "ortho", "forward": "backward"}  # the norm of the transform the other way


def _transform(name: str, public: str, x: Any, s: Any, axes: Any, norm: str) -> Tensor:
    """One of the operations, on arguments that have been looked at."""
    x = asarray(x)
    if x.dtype.kind in "iub":
        x = astype(x, float32)
    if not isinstance(norm, str) or norm not in _BACK:
        raise OptionError(f"{public}: norm is 'backward', 'ortho' or 'forward', not {norm!r}")
    if name == "rfftn" and x.dtype.kind == "c":
        raise DTypeError(f"{public}: takes real numbers, not {x.dtype}; use fft or fftn, or the real part")
    for option, value in (("s", s), ("axes", axes)):
        if value is not None and not isinstance(value, (tuple, list, range)):
            raise OptionError(f"{public}: {option} is a list of whole numbers, not {value!r}")
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    axes = tuple([axis_of(a, x.shape) for a in axes])
    if not axes:
        raise AxisError(f"{public}: there are no axes to transform in a tensor of shape {x.shape}")
    if len({*axes}) < len(axes) or (s is not None and len(s) != len(axes)):
        raise ShapeError(f"{public}: lengths {s} for the axes {axes}; each axis once, and a length each")
    lengths = [x.shape[a] for a in axes] if s is None else [whole("n" if public in _SINGLE else "s", n) for n in s]
    if s is None and name == "irfftn":
        lengths[-1] = 2 * (lengths[-1] - 1)
    if any(n < 1 for n in lengths):
        raise ShapeError(f"{public}: lengths {lengths} along the axes {axes} of shape {x.shape}; each is 1 or more")
    return record_of(name)(x, tuple(lengths), axes, norm)


def _one(name: str, public: str, x: Any, n: int | None, axis: int, norm: str) -> Tensor:
    return _transform(name, public, x, None if n is None else (n,), (axis,), norm)


@named
def fft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """yₖ = Σⱼ xⱼ e^(−2πi jk/n) along an axis."""
    return _one("fftn", "fft", x, n, axis, norm)


@named
def ifft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """yⱼ = 1/n Σₖ xₖ e^(2πi jk/n) along an axis: undoes fft."""
    return _one("ifftn", "ifft", x, n, axis, norm)


@named
def fftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Tensor:
    """fft along several axes; along all, or the last len(s), where none are named."""
    return _transform("fftn", "fftn", x, s, axes, norm)


@named
def ifftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Tensor:
    """ifft along several axes: undoes fftn."""
    return _transform("ifftn", "ifftn", x, s, axes, norm)


@named
def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """fft of real x, of which the first n/2 + 1 entries say all."""
    return _one("rfftn", "rfft", x, n, axis, norm)


@named
def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """y, real and of length n, with rfft(y) = x; n is 2 (k − 1) for k entries unless told, so odd ones are named."""
    return _one("irfftn", "irfft", x, n, axis, norm)


@named
def rfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Tensor:
    """rfft along the last of several axes, then fft along the others."""
    return _transform("rfftn", "rfftn", x, s, axes, norm)


@named
def irfftn(
    x: Any, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str = "backward"
) -> Tensor:
    """ifft along several axes, then irfft along their last: undoes rfftn."""
    return _transform("irfftn", "irfftn", x, s, axes, norm)


@named
def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """fft of an x whose other half is its conjugate mirrored, and so real."""
    return _one("irfftn", "hfft", record_of("conj")(x), n, axis, _BACK.get(norm, norm))


@named
def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """ifft of real x, of which the first n/2 + 1 entries say all: undoes hfft."""
    return record_of("conj")(_one("rfftn", "ihfft", x, n, axis, _BACK.get(norm, norm)))


@named
def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: str | None = None) -> Tensor:
    """The frequencies of fft's entries: 0, 1, …, −2, −1, divided by n d, for n samples d apart."""
    places = _places("fftfreq", n, d, dtype, device)
    return (places - n * astype(places > (n - 1) // 2, places.dtype)) / (n * d)


@named
def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: str | None = None) -> Tensor:
    """The frequencies of rfft's entries: 0, 1, …, n/2, divided by n d, for n samples d apart."""
    return _places("rfftfreq", n, d, dtype, device)[: n // 2 + 1] / (n * d)


def _places(name: str, n: int, d: Any, dtype: Any, device: str | None) -> Tensor:
    if whole("n", n) < 1:
        raise OptionError(f"{name}: n is a whole number from 1 on, not {n!r}")
    if not isinstance(d, (int, float)) or not d:
        raise OptionError(f"{name}: d is the distance of the samples, a number that is not 0, not {d!r}")
    dtype = as_dtype(float32 if dtype is None else dtype, name)
    if dtype.kind != "f":
        raise DTypeError(f"{name}: frequencies are fractions, which {dtype} does not hold; use float32 or float64")
    return arange(n, dtype=dtype, device=device)


@named
def fftshift(x: Any, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """x with frequency 0 moved from the front to the middle, n // 2, of each axis."""
    return _moved(asarray(x), axes, lambda n: n - n // 2)


@named
def ifftshift(x: Any, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """x with frequency 0 moved from the middle back to the front: undoes fftshift."""
    return _moved(asarray(x), axes, lambda n: n // 2)


def _moved(x: Tensor, axes: Any, start: Any) -> Tensor:
    for given in range(x.ndim) if axes is None else axes if isinstance(axes, (tuple, list, range)) else (axes,):
        axis = axis_of(given, x.shape)
        before, cut = (slice(None),) * axis, start(x.shape[axis])
        x = record_of("concat")([x[(*before, slice(cut, None))], x[(*before, slice(0, cut))]], axis)
    return x
