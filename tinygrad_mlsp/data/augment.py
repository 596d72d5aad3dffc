"""Training data made more of: images turned, shifted, bent and spoilt at random, a batch at a time.

Each function here gives a step, something to be called as `step(x, generator)`; `compose` puts steps in a row, and a
Loader takes a step as its `transform`. A step takes images as [n, height, width], as [n, channels, height, width], or
flat as [n, pixels] where they are square, and gives them back in the form, the dtype and on the device that they had;
of a batch that is a tuple it changes the first entry. It computes with NumPy, so images on a GPU make the trip to the
host and back.

>>> from tinygrad_mlsp.data import Loader, augment, digits
>>> step = augment.compose(augment.affine(degrees=15, shift=1), augment.noise(0.1))
>>> x, y = next(iter(Loader(digits().train_x, digits().train_y, batch_size=10, transform=step)))
>>> x.shape
(10, 64)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backend import device_of, to_device, to_numpy
from ..errors import DTypeError, OptionError, ShapeError
from ..random import Generator
from ..tensor import Tensor
from .loader import _integer, _number

Array = NDArray[Any]
_CHUNK = 256  # images worked on at once: their coordinates fit in the cache


def bilinear(images: Array, rows: Array, columns: Array, fill: float = 0.0) -> Array:
    """y[n, c, …] = image n's channel c at (rows[n, …], columns[n, …]), weighted from the four pixels around it.

    Pixel centres have whole coordinates; outside lies `fill`.
    Shapes: images [n, c, h, w]; rows and columns [n, …]; the result [n, c, …].
    """
    n, c, h, w = images.shape
    dtype = images.dtype
    # a frame two pixels wide at the far sides and one at the near ones: clipped coordinates find `fill` around them
    framed = np.full((n, c, h + 3, w + 3), fill, dtype)
    framed[:, :, 1 : h + 1, 1 : w + 1] = images
    each = (n, math.prod(rows.shape[1:]))
    r, q = np.clip(rows + 1, 0, h + 1).reshape(each), np.clip(columns + 1, 0, w + 1).reshape(each)
    r0, q0 = r.astype(np.intp), q.astype(np.intp)  # towards zero, and nothing is below zero
    dr, dq = (r - r0).astype(dtype, copy=False), (q - q0).astype(dtype, copy=False)
    size, step = (h + 3) * (w + 3), w + 3
    r0 *= step
    r0 += q0
    flat, y = framed.reshape(-1), np.empty((n, c, r.shape[1]), dtype)
    for channel in range(c):
        at = r0 + (np.arange(n, dtype=np.intp) * c + channel)[:, None] * size
        near = flat[at]
        near += dq * (flat[at + 1] - near)
        at += step
        far = flat[at]
        far += dq * (flat[at + 1] - far)
        far -= near
        far *= dr
        np.add(near, far, out=y[:, channel])
    return y.reshape(n, c, *rows.shape[1:])


@dataclass(frozen=True, repr=False)
class Step:
    """One augmentation; `act(images [n, c, h, w], generator)` does it."""

    act: Callable[[Array, Generator], Array]
    name: str
    chunked: bool = False  # what draws per image can be done some images at a time; it saves memory traffic

    def __call__(self, x: Any, generator: Generator) -> Any:
        """The images changed; of a batch that is a tuple, its first entry."""
        if not isinstance(generator, Generator):
            raise OptionError(f"augment: {self.name} draws from a tinygrad_mlsp.Generator, got {generator!r}")
        if isinstance(x, tuple) and x:
            return (self(x[0], generator), *x[1:])
        return _as_images(x, self.name, lambda images: self._acted(images, generator))

    def _acted(self, images: Array, generator: Generator) -> Array:
        if not self.chunked or len(images) <= _CHUNK:
            return self.act(images, generator)
        return np.concatenate([self.act(images[i : i + _CHUNK], generator) for i in range(0, len(images), _CHUNK)])

    def __repr__(self) -> str:
        return self.name


def compose(*steps: Callable[[Any, Generator], Any]) -> Callable[[Any, Generator], Any]:
    """The steps one after the other."""

    for step in steps:
        if not callable(step):
            raise OptionError(f"augment: compose takes steps, functions of images and a generator; got {step!r}")

    def composed(x: Any, generator: Generator) -> Any:
        for step in steps:
            x = step(x, generator)
        return x

    return composed


def affine(
    degrees: float = 0.0, scale: tuple[float, float] = (1.0, 1.0), shift: float = 0.0, fill: float = 0.0
) -> Step:
    """Turns about the centre by an angle from ±degrees, scales by a factor from `scale`, shifts by ± `shift` pixels.

    All are uniform, but the factor, whose logarithm is, so that growing and shrinking weigh the same; all are done
    together, so that the pixels are interpolated once.
    """
    try:
        low, high = (float(_number("", factor)) for factor in scale)
    except (TypeError, ValueError):
        low = high = 0.0
    if not 0 < low <= high:
        raise OptionError(f"augment: scale is a pair of positive factors, the smaller one first, got {scale!r}")
    for name, value in (("degrees", degrees), ("shift", shift)):
        _number(f"augment: {name}", value, 0)
    _number("augment: fill", fill)

    def act(images: Array, generator: Generator) -> Array:
        n, u = len(images), generator.uniform((len(images), 4), -1.0, 1.0, dtype=np.float64)
        middle, half = (math.log(low) + math.log(high)) / 2, (math.log(high) - math.log(low)) / 2
        factor = np.exp(middle + half * u[:, 1]) if half else np.full(n, low)
        return transformed(images, np.radians(degrees) * u[:, 0], factor, shift * u[:, 2], shift * u[:, 3], fill)

    return Step(act, f"affine(degrees={degrees}, scale={scale}, shift={shift})", chunked=True)


def transformed(
    images: Array, angles: Array, factors: Array | float = 1.0, down: Array | float = 0.0, right: Array | float = 0.0,
    fill: float = 0.0,
) -> Array:  # fmt: skip
    """Each image turned counter-clockwise by its angle [radians], scaled and shifted [pixels], about its centre.

    Shapes: images [n, c, h, w], the others [n] or a number.
    """
    n, _, h, w = images.shape
    real = images.dtype
    one = np.ones(n)
    cosine, sine = (np.cos(angles) / factors * one), (np.sin(angles) / factors * one)
    r = np.arange(h, dtype=real)[:, None] - (h - 1) / 2
    q = np.arange(w, dtype=real)[None, :] - (w - 1) / 2

    def each(values: Any) -> Array:
        return (values * one).astype(real)[:, None, None]

    # where each pixel of the result comes from: the inverse map; rows count downwards
    r, q = r[None] - each(down), q[None] - each(right)
    rows = each(cosine) * r + each(sine) * q + real.type((h - 1) / 2)
    columns = each(cosine) * q - each(sine) * r + real.type((w - 1) / 2)
    return bilinear(images, rows, columns, fill)


def rotate(degrees: float, fill: float = 0.0) -> Step:
    """Turns each image about its centre by an angle uniform in ±degrees."""
    return affine(degrees=degrees, fill=fill)


def scale(low: float, high: float, fill: float = 0.0) -> Step:
    """Scales each image about its centre by a factor from low to high."""
    return affine(scale=(low, high), fill=fill)


def shift(pixels: float, fill: float = 0.0) -> Step:
    """Shifts each image by up to so many pixels either way, down and across; not by whole pixels."""
    return affine(shift=pixels, fill=fill)


def elastic(alpha: float = 34.0, sigma: float = 4.0, fill: float = 0.0) -> Step:
    """Moves pixel p to p + alpha · (G_sigma * u)(p), with u uniform in ±1 at each pixel and G_sigma a Gaussian.

    The Gaussian sums to 1 and the field is not normalized after it; the defaults shift a pixel by 1.4 in the root mean
    square, as handwriting does.
    Source: P. Simard, D. Steinkraus, J. Platt, Best Practices for Convolutional Neural Networks, 2003, section 2.
    """
    _number("augment: elastic's alpha", alpha, 0)
    _number("augment: elastic's fill", fill)
    if not _number("augment: elastic's sigma", sigma, 0) > 0:
        raise OptionError(f"augment: elastic's sigma must be positive, got {sigma}")

    def act(images: Array, generator: Generator) -> Array:
        n, _, h, w = images.shape
        real = images.dtype
        field = generator.uniform((n, 2, h, w), -1.0, 1.0).astype(real, copy=False)
        # the smoothing as two products, down and across
        field = _gaussian(h, sigma, real) @ field @ _gaussian(w, sigma, real).T
        field *= real.type(alpha)
        rows = field[:, 0] + np.arange(h, dtype=real)[:, None]
        return bilinear(images, rows, field[:, 1] + np.arange(w, dtype=real), fill)

    return Step(act, f"elastic(alpha={alpha}, sigma={sigma})", chunked=True)


def _gaussian(n: int, sigma: float, dtype: Any) -> Array:
    """[n, n], each row a Gaussian about its place, cut off at the ends without being scaled up for it."""
    reach = np.arange(-math.ceil(4 * sigma), math.ceil(4 * sigma) + 1)
    total = np.exp(-0.5 * (reach / sigma) ** 2).sum()
    apart = np.subtract.outer(np.arange(n), np.arange(n))
    return (np.exp(-0.5 * (apart / sigma) ** 2) / total * (np.abs(apart) <= reach[-1])).astype(dtype)


def noise(std: float) -> Step:
    """x + std · ε, ε normal, at each pixel."""
    _number("augment: noise's std", std, 0)
    return Step(
        lambda images, generator: (
            images + generator.normal(images.shape, std=std, dtype=np.float64).astype(images.dtype)
        ),
        f"noise(std={std})",
    )


def drop(p: float, fill: float = 0.0) -> Step:
    """Each pixel is `fill` with probability p, in all channels at once; the others stay as they are."""
    _number("augment: drop's p", p, 0, 1)
    _number("augment: drop's fill", fill)

    def act(images: Array, generator: Generator) -> Array:
        n, _, h, w = images.shape
        return np.where(generator.bernoulli(p, (n, 1, h, w)), images.dtype.type(fill), images)

    return Step(act, f"drop(p={p})")


def flip(p: float = 0.5, axis: int = -1) -> Step:
    """Each image is mirrored with probability p: left to right, or top to bottom with axis=-2."""
    _number("augment: flip's p", p, 0, 1)
    if axis not in (-1, -2):
        raise OptionError(f"augment: flip's axis is -1 (across) or -2 (down), got {axis!r}")

    def act(images: Array, generator: Generator) -> Array:
        chosen = generator.bernoulli(p, (len(images), 1, 1, 1))
        return np.where(chosen, np.flip(images, axis), images)

    return Step(act, f"flip(p={p}, axis={axis})")


def crop(size: int | tuple[int, int], padding: int = 0, fill: float = 0.0) -> Step:
    """A window of `size` [pixels] from a random place in each image, after `padding` pixels of `fill` on every side."""
    pair = size if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2:
        raise OptionError(f"augment: crop's size is one number of pixels or two, got {size!r}")
    high, wide = (_integer("augment: crop's size", n, 1) for n in pair)
    padding, _ = _integer("augment: crop's padding", padding, 0), _number("augment: crop's fill", fill)

    def act(images: Array, generator: Generator) -> Array:
        n, c, h, w = images.shape
        if not (0 < high <= h + 2 * padding and 0 < wide <= w + 2 * padding):
            raise ShapeError(f"augment: a crop of {high} × {wide} does not fit images of {h} × {w} padded by {padding}")
        framed = np.full((n, c, h + 2 * padding, w + 2 * padding), fill, images.dtype)
        framed[:, :, padding : padding + h, padding : padding + w] = images
        u = generator.uniform((n, 2), dtype=np.float64)
        top, left = (u * [framed.shape[2] - high + 1, framed.shape[3] - wide + 1]).astype(int).T
        windows = np.lib.stride_tricks.sliding_window_view(framed, (high, wide), axis=(2, 3))
        return windows[np.arange(n), :, top, left]

    return Step(act, f"crop(size={size}, padding={padding})")


@dataclass(frozen=True)
class Mixed:
    """What `mixup` gives: the images, both their targets, and the share of the first."""

    x: Any
    target: Any
    other: Any
    share: float

    def loss(self, loss_fn: Callable[[Any, Any], Any], prediction: Any) -> Any:
        """share · loss(prediction, target) + (1 − share) · loss(prediction, other)."""
        return loss_fn(prediction, self.target) * self.share + loss_fn(prediction, self.other) * (1 - self.share)


def mixup(x: Any, y: Any, generator: Generator, alpha: float = 0.2) -> Mixed:
    """x̃ = λ x + (1 − λ) x[π], with λ from Beta(alpha, alpha), one for the batch, and π a random permutation.

    >>> import numpy as np
    >>> from tinygrad_mlsp import Generator
    >>> m = mixup(np.eye(3), np.arange(3), Generator(0))
    >>> bool(np.allclose(m.x, m.share * np.eye(3) + (1 - m.share) * np.eye(3)[m.other]))
    True

    Source: H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, mixup: Beyond Empirical Risk Minimization, 2018.
    """
    if not isinstance(generator, Generator):
        raise OptionError(f"augment: mixup draws from a tinygrad_mlsp.Generator, got {generator!r}")
    if not (hasattr(x, "shape") and hasattr(y, "shape")):
        raise DTypeError(f"augment: mixup takes arrays, got {type(x).__name__} and {type(y).__name__}")
    if not _number("augment: mixup's alpha", alpha) > 0:
        raise OptionError(f"augment: mixup wants a positive alpha, got {alpha}")
    if len(x) != len(y):
        raise ShapeError(f"augment: mixup wants a target an image, got {len(x)} images and {len(y)} targets")
    key = int(generator.bits(1)[0])
    share = float(np.random.Generator(np.random.Philox(key=key)).beta(alpha, alpha))
    pairs = generator.permutation(len(x))
    there = to_device(pairs, _device(x))
    return Mixed(x * share + x[there] * (1 - share), y, y[to_device(pairs, _device(y))], share)


def _device(x: Any) -> str:
    return x.device if isinstance(x, Tensor) else device_of(x)


def _as_images(x: Any, name: str, act: Callable[[Array], Array]) -> Any:
    """Does to x, whatever form it has, what `act` does to [n, c, h, w] on the host."""
    if not hasattr(x, "shape"):
        raise DTypeError(
            f"augment: {name} takes images as an array, or as the first entry of a tuple, got {type(x).__name__}; for "
            "batches of another form write the transform as a function of batch and generator"
        )
    raw = x.data if isinstance(x, Tensor) else x
    host = to_numpy(raw)
    if host.dtype.kind != "f":
        raise DTypeError(f"augment: {name} works on floating-point images, got {host.dtype}; use x.astype('float32')")
    shape = host.shape
    if host.ndim == 2 and (side := math.isqrt(shape[1])) ** 2 == shape[1]:
        images = host.reshape(len(host), 1, side, side)
    elif host.ndim in (3, 4):
        images = host if host.ndim == 4 else host[:, None]
    else:
        raise ShapeError(
            f"augment: {name} takes images [n, height, width], [n, channels, height, width] or, where they are "
            f"square, [n, pixels]; got {list(shape)}"
        )
    y = act(images)
    y = y.reshape(len(y), math.prod(y.shape[1:])) if host.ndim == 2 else y if host.ndim == 4 else y[:, 0]
    y = to_device(y.astype(host.dtype, copy=False), _device(x))
    return Tensor(y) if isinstance(x, Tensor) else y
