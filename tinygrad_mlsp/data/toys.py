"""Small problems that can be looked at: points in the plane, parities, sums over time, curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import OptionError, ShapeError
from ..random import Generator
from .datasets import _floating
from .loader import _integer, _number

Array = NDArray[Any]


def ring(
    n: int, modes: int = 8, radius: float = 2.0, std: float = 0.02, seed: int = 0, dtype: DTypeLike = np.float32
) -> tuple[Array, Array]:
    """Points from a ring of Gaussians, all equally likely, the first at (radius, 0), and which one each is from.

    Shapes: x [n, 2], y [n] from 0 to modes − 1.
    """
    n, modes, generator = _integer("ring: n", n, 0), _integer("ring: modes", modes, 1), Generator(seed)
    radius, std = _number("ring: radius", radius), _number("ring: std", std, 0)
    y = _whole(generator, modes, n)
    angle = 2 * np.pi / modes * y
    x = radius * np.stack([np.cos(angle), np.sin(angle)], 1) + generator.normal((n, 2), std=std, dtype=np.float64)
    return x.astype(_floating(dtype)), y


def ring_centres(modes: int = 8, radius: float = 2.0) -> Array:
    """The centres of the ring's Gaussians.

    Shapes: [modes, 2].
    """
    modes, radius = _integer("ring_centres: modes", modes, 1), _number("ring_centres: radius", radius)
    angle = 2 * np.pi / modes * np.arange(modes)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def two_moons(n: int, noise: float = 0.1, seed: int = 0, dtype: DTypeLike = np.float32) -> tuple[Array, Array]:
    """Points on two half circles of radius 1 that reach into each other, with Gaussian noise; which one each is on.

    The one is about (0, 0) and open below, the other about (1, ½) and open above; they have ⌈n/2⌉ and ⌊n/2⌋ points.
    Shapes: x [n, 2], y [n].
    """
    n, noise, generator = _integer("two_moons: n", n, 0), _number("two_moons: noise", noise, 0), Generator(seed)
    y = (generator.permutation(n) >= -(-n // 2)).astype(np.int64)
    angle = math.pi * generator.uniform(n, dtype=np.float64)
    sign = 1 - 2 * y
    x = np.stack([y + sign * np.cos(angle), 0.5 * y + sign * np.sin(angle)], 1)
    return (x + generator.normal((n, 2), std=noise, dtype=np.float64)).astype(_floating(dtype)), y


def xor(n: int, noise: float = 0.2, seed: int = 0, dtype: DTypeLike = np.float32) -> tuple[Array, Array]:
    """Points about the corners (±1, ±1), with Gaussian noise; 1 where the corner's signs differ.

    Shapes: x [n, 2], y [n].
    """
    n, noise, generator = _integer("xor: n", n, 0), _number("xor: noise", noise, 0), Generator(seed)
    corner = _whole(generator, 4, n)
    signs = np.stack([corner // 2, corner % 2], 1)
    x = 2.0 * signs - 1 + generator.normal((n, 2), std=noise, dtype=np.float64)
    return x.astype(_floating(dtype)), signs[:, 0] ^ signs[:, 1]


def parity(bits: int, n: int | None = None, seed: int = 0, dtype: DTypeLike = np.float32) -> tuple[Array, Array]:
    """Rows of bits, and whether the number of ones is odd: all 2^bits rows in the order of counting, or n random ones.

    Shapes: x [n, bits], y [n].
    Raises: OptionError for more than 20 bits without an n.
    """
    bits = _integer("parity: bits", bits, 1, 20 if n is None else None)
    if n is None:
        x = np.arange(2**bits)[:, None] >> np.arange(bits)[::-1] & 1
    else:
        x = Generator(seed).bernoulli(0.5, (_integer("parity: n", n, 0), bits))
    return x.astype(_floating(dtype)), (x.sum(1) % 2).astype(np.int64)


def adding(n: int, T: int = 100, seed: int = 0, dtype: DTypeLike = np.float32) -> tuple[Array, Array]:
    """Sequences of (number in [0, 1), mark): the target is the sum of the two marked numbers.

    One mark is in the first half of the steps and one in the second, uniformly; the others are 0. Who answers 1 always
    has a mean squared error of 1/6.
    Shapes: x [n, T, 2], y [n, 1].
    Source: S. Hochreiter, J. Schmidhuber, Long Short-Term Memory, 1997, experiment 4, in the form of Q. Le, N. Jaitly,
    G. Hinton, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units, 2015.
    """
    n, T, generator = _integer("adding: n", n, 0), _integer("adding: T", T, 2), Generator(seed)
    x = np.zeros((n, T, 2))
    x[:, :, 0] = generator.uniform((n, T), dtype=np.float64)
    rows, half = np.arange(n), T // 2
    first, second = _whole(generator, half, n), half + _whole(generator, T - half, n)
    x[rows, first, 1] = x[rows, second, 1] = 1
    y = (x[rows, first, 0] + x[rows, second, 0])[:, None]
    return x.astype(_floating(dtype)), y.astype(_floating(dtype))


def curve(x: Any) -> Any:
    """f(x) = sin(πx) + x/2: the truth that `noisy_curve` hides."""
    return np.sin(np.pi * np.asarray(x)) + 0.5 * np.asarray(x)


def noisy_curve(n: int, noise: float = 0.3, seed: int = 0, dtype: DTypeLike = np.float32) -> tuple[Array, Array]:
    """Points x uniform in [−1, 1) and y = curve(x) + noise · ε: draw many, fit each, and see bias and variance.

    Shapes: x [n, 1], y [n, 1].
    """
    n, noise, generator = _integer("noisy_curve: n", n, 0), _number("noisy_curve: noise", noise, 0), Generator(seed)
    x = generator.uniform((n, 1), -1.0, 1.0, dtype=np.float64)
    y = curve(x) + generator.normal((n, 1), std=noise, dtype=np.float64)
    return x.astype(_floating(dtype)), y.astype(_floating(dtype))


def polynomial_features(x: Any, degree: int) -> Array:
    """(x, x², …, x^degree); a constant is the layer's bias.

    Shapes: x [n, 1] or [n]; the result [n, degree].
    """
    x = np.asarray(x)
    if x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[1] != 1):
        raise ShapeError(f"polynomial_features: wants x [n, 1] or [n], got {list(x.shape)}")
    degree = _integer("polynomial_features: degree", degree, 1)
    if x.dtype.kind != "f":
        raise OptionError(f"polynomial_features: powers of {x.dtype} may overflow; use floating-point numbers")
    return np.multiply.accumulate(np.repeat(x.reshape(-1, 1), degree, 1), 1)


def _whole(generator: Generator, below: int, n: int) -> NDArray[np.int64]:
    return np.asarray((generator.uniform(n, dtype=np.float64) * below).astype(np.int64))
