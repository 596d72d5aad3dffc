"""Fourier transforms along several axes at once. All are linear, and a transform is its own transpose.

    fftn     yₖ = Σⱼ xⱼ e^(−2πi jk/n)     ifftn   the same with +, divided by n (norm="backward"; "ortho" divides both
    rfftn    the half k ≤ n/2 of fftn of real x    irfftn  undoes rfftn           by √n, "forward" only the first by n)

`s` are the lengths along `axes`, to which x is cut or filled up with zeros. Gradients are what PyTorch's are: of a loss
L, ∂L/∂Re x + i ∂L/∂Im x; the sweeps carry its conjugate, so that no rule here needs one but those of real transforms.
"""

from __future__ import annotations

from ..op import linear


def fitted(xp, g, shape):
    """g cut or filled up with zeros to a shape: undoes the same of an argument."""
    if any(n > m for n, m in zip(g.shape, shape, strict=True)):
        g = xp.getitem(g, tuple([slice(0, m) for m in shape]))
    missing = [(0, m - n) for n, m in zip(g.shape, shape, strict=True)]
    return xp.pad(g, missing) if any(more for _, more in missing) else g


def lengths(x_shape, s, axes):
    """How long the transform is along each axis."""
    return tuple([x_shape[a] for a in axes]) if s is None else tuple(s)


def every(x_shape, s, axes):
    """`axes`, and where none are named, the last ones that `s` has lengths for, or all."""
    if axes is not None:
        return tuple(axes)
    n = len(x_shape)
    return tuple(range(n) if s is None else range(n - len(s), n))


def real_as(xp, g, dtype):
    """What arrives at a real argument is real."""
    return g if dtype.kind == "c" else xp.real(g)


@linear
def fftn(xp, x, *, s=None, axes=None, norm="backward"):
    """yₖ = Σⱼ xⱼ e^(−2πi jk/n)     x̄ = fft(ȳ), cut or filled up to x's shape"""
    axes = every(x.shape, s, axes)
    return xp.fftn(x, lengths(x.shape, s, axes), axes, norm)


@linear
def ifftn(xp, x, *, s=None, axes=None, norm="backward"):
    """yⱼ = 1/n Σₖ xₖ e^(2πi jk/n)     x̄ = ifft(ȳ), cut or filled up to x's shape"""
    axes = every(x.shape, s, axes)
    return xp.ifftn(x, lengths(x.shape, s, axes), axes, norm)


@linear
def rfftn(xp, x, *, s=None, axes=None, norm="backward"):
    """yₖ = Σⱼ xⱼ e^(−2πi jk/n) of real x, k ≤ n/2 along the last axis     x̄ = Re fft(ȳ), zeros in its other half"""
    axes = every(x.shape, s, axes)
    return xp.rfftn(x, lengths(x.shape, s, axes), axes, norm)


@linear
def irfftn(xp, x, *, s=None, axes=None, norm="backward"):
    """yⱼ = 1/n Re Σₖ mₖ xₖ e^(2πi jk/n), k ≤ n/2 along the last axis, mₖ = 2, but 1 for k = 0 and n/2

    The last length is 2 (k − 1) unless `s` names it. Imaginary parts that have no place in a real y are left out, as
    those at k = 0 and n/2, so they have gradient 0.     x̄ = m · conj(rfft(ȳ))
    """
    axes = every(x.shape, s, axes)
    return xp.irfftn(x, inverse_lengths(x.shape, s, axes), axes, norm)


def inverse_lengths(x_shape, s, axes):
    """How long a real inverse transform is along each axis."""
    return (*lengths(x_shape, None, axes[:-1]), 2 * (x_shape[axes[-1]] - 1)) if s is None else tuple(s)


def _fft_back(xp, g, x_shape, x_dtype, s, axes, norm):
    axes = every(x_shape, s, axes)
    return real_as(xp, fitted(xp, xp.fftn(g, lengths(x_shape, s, axes), axes, norm), x_shape), x_dtype)


def _ifft_back(xp, g, x_shape, x_dtype, s, axes, norm):
    axes = every(x_shape, s, axes)
    return real_as(xp, fitted(xp, xp.ifftn(g, lengths(x_shape, s, axes), axes, norm), x_shape), x_dtype)


def _irfft_back(xp, g, x_shape, x_dtype, s, axes, norm):
    axes = every(x_shape, s, axes)
    other = {"backward": "forward", "forward": "backward"}.get(norm, norm)
    y = xp.conj(xp.rfftn(g, inverse_lengths(x_shape, s, axes), axes, other))
    last, n = axes[-1] % len(x_shape), g.shape[axes[-1]]
    cuts = [(0, 1), (1, (n + 1) // 2), ((n + 1) // 2, n // 2 + 1)]
    ends = [xp.getitem(y, (slice(None),) * last + (slice(start, stop),)) for start, stop in cuts]
    y = xp.concat([ends[0], ends[1] * 2, ends[2]], axis=last)
    return real_as(xp, fitted(xp, y, x_shape), x_dtype)


def _transforms(shape):
    return "" if shape else "takes a tensor with at least one axis, not a number"


fftn.adjoints(x=_fft_back).on_failure(_transforms)
ifftn.adjoints(x=_ifft_back).on_failure(_transforms)
rfftn.adjoints(x=_fft_back).on_failure(_transforms)
irfftn.adjoints(x=_irfft_back).on_failure(_transforms)
