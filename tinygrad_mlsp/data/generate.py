"""Data sets that are made by recipe, from a seed: the eight of 2007, and the toys of the lectures.

Every image and every point depends on the seed, its part (train, valid, test) and its number alone: the numbers are
drawn on the host from `Generator`, so they are the same on every device, and a smaller set is the beginning of a larger
one. The sets of 2007 are H. Larochelle, D. Erhan, A. Courville, J. Bergstra, Y. Bengio, An Empirical Evaluation of Deep
Architectures on Problems with Many Factors of Variation, 2007; their files are not used, their recipes are.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import DataError, MissingDependency, OptionError, ShapeError
from ..random import Generator
from .augment import transformed
from .datasets import Dataset, _floating, mnist
from .loader import shuffled

Array = NDArray[Any]
_SIDE = 28
_CHUNK = 1000  # images made at once, with a generator of their own
_SOURCE = "by the recipe of Larochelle, Erhan, Courville, Bergstra, Bengio, 2007"


def rectangles(
    n_train: int = 1000, n_valid: int = 200, n_test: int = 50_000, seed: int = 0, dtype: DTypeLike = np.float32,
    flatten: bool = True,
) -> Dataset:  # fmt: skip
    """White outlines of rectangles on black, 28 × 28: is it wider (1) or taller (0)?

    Height and width are uniform from 2 to 27, drawn again while they differ by less than 3; the corner is uniform among
    the places where the rectangle fits.
    Shapes: x [n, 784], or [n, 28, 28] with flatten=False; y [n].
    """

    def chunk(n: int, generator: Generator) -> tuple[Array, Array]:
        height, width = _sides(n, generator, 2, 27, lambda h, w: abs(h - w) >= 3)
        return _boxes(n, height, width, generator)[1], width > height

    return _dataset("rectangles", chunk, (n_train, n_valid, n_test), seed, dtype, flatten)


def rectangles_image(
    n_train: int = 10_000, n_valid: int = 2000, n_test: int = 50_000, seed: int = 0, dtype: DTypeLike = np.float32,
    flatten: bool = True, images: Sequence[Any] | None = None,
) -> Dataset:  # fmt: skip
    """Rectangles of one image patch in front of another, 28 × 28: is it wider (1) or taller (0)?

    Sides from 10 to 28 that differ by 5 or more, areas from a quarter to three quarters of the image. `images` are what
    patches are cut from: see `patches`.
    Shapes: x [n, 784], or [n, 28, 28] with flatten=False; y [n].
    """
    cut, whole = patches(images), _SIDE * _SIDE

    def chunk(n: int, generator: Generator) -> tuple[Array, Array]:
        def fits(h: Array, w: Array) -> Array:
            return (abs(h - w) >= 5) & (4 * h * w >= whole) & (4 * h * w <= 3 * whole)

        height, width = _sides(n, generator, 10, 28, fits)
        inside = _boxes(n, height, width, generator)[0]
        return np.where(inside, cut(n, generator), cut(n, generator)), width > height

    return _dataset("rectangles_image", chunk, (n_train, n_valid, n_test), seed, dtype, flatten)


def convex(
    n_train: int = 6000, n_valid: int = 2000, n_test: int = 50_000, seed: int = 0, dtype: DTypeLike = np.float32,
    flatten: bool = True,
) -> Dataset:  # fmt: skip
    """White shapes on black, 28 × 28: is the shape convex (1) or not (0)?

    A convex one is an intersection of 2 to 6 random half-planes, another a union of 2 to 4 intersections of 3 to 8 each
    that `is_convex` finds not to be convex. Areas are from 30 to 600 pixels, and distributed alike in both classes, in
    steps of 30, so that the area alone says nothing.
    Shapes: x [n, 784], or [n, 28, 28] with flatten=False; y [n].
    """
    return _dataset("convex", _convex_chunk, (n_train, n_valid, n_test), seed, dtype, flatten)


def mnist_rot(
    n_train: int = 10_000, n_valid: int = 2000, n_test: int = 50_000, seed: int = 0, dtype: DTypeLike = np.float32,
    flatten: bool = True, digits: Dataset | None = None,
) -> Dataset:  # fmt: skip
    """MNIST's digits, each turned by an angle uniform in [0, 2π).

    Of MNIST's 70,000 images those that are used are drawn without repetition, so no digit is in two parts; `digits`
    are the set to draw from where it is not mnist().
    Shapes: x [n, 784], or [n, 28, 28] with flatten=False; y [n].
    Raises: DataError when MNIST is not there; OptionError when it has too few digits.
    """
    return _variant("mnist_rot", True, None, (n_train, n_valid, n_test), seed, dtype, flatten, digits)


def mnist_back_rand(
    n_train: int = 10_000, n_valid: int = 2000, n_test: int = 50_000, seed: int = 0, dtype: DTypeLike = np.float32,
    flatten: bool = True, digits: Dataset | None = None,
) -> Dataset:  # fmt: skip
    """MNIST's digits and uniform noise, at each pixel the brighter of the two: see `mnist_rot`."""
    sizes = (n_train, n_valid, n_test)
    return _variant("mnist_back_rand", False, _uniform_noise, sizes, seed, dtype, flatten, digits)


def mnist_back_image(
    n_train: int = 10_000, n_valid: int = 2000, n_test: int = 50_000, seed: int = 0, dtype: DTypeLike = np.float32,
    flatten: bool = True, digits: Dataset | None = None, images: Sequence[Any] | None = None,
) -> Dataset:  # fmt: skip
    """MNIST's digits and image patches, at each pixel the brighter of the two: see `mnist_rot` and `patches`."""
    sizes = (n_train, n_valid, n_test)
    return _variant("mnist_back_image", False, patches(images), sizes, seed, dtype, flatten, digits)


def mnist_rot_back_image(
    n_train: int = 10_000, n_valid: int = 2000, n_test: int = 50_000, seed: int = 0, dtype: DTypeLike = np.float32,
    flatten: bool = True, digits: Dataset | None = None, images: Sequence[Any] | None = None,
) -> Dataset:  # fmt: skip
    """MNIST's digits, turned, and image patches, at each pixel the brighter: see `mnist_rot` and `patches`."""
    sizes = (n_train, n_valid, n_test)
    return _variant("mnist_rot_back_image", True, patches(images), sizes, seed, dtype, flatten, digits)


def patches(
    images: Sequence[Any] | None = None, side: int = _SIDE, least_std: float = 0.2
) -> Callable[[int, Generator], Array]:
    """A function (n, generator) → [n, side, side] that cuts random patches, of a standard deviation ≥ `least_std`.

    `images` are grey [height, width] or coloured [height, width, 3], of integers from 0 to 255 or numbers in [0, 1];
    without them scikit-learn's two, china.jpg and flower.jpg, are taken if it is installed. Grey is 0.299 R + 0.587 G +
    0.114 B. Patches with less contrast are drawn again.
    Raises: MissingDependency without images and scikit-learn; DataError when (nearly) no patch has enough contrast;
    ShapeError for images of another form.
    """
    if images is None:
        try:
            from sklearn.datasets import load_sample_images
        except ImportError as error:
            raise MissingDependency(
                "patches: there are no images to cut from. Give some as images=[…], grey [height, width] or coloured "
                "[height, width, 3]; or install scikit-learn and Pillow (pip install scikit-learn pillow), whose two "
                "sample pictures are taken then"
            ) from error
        try:
            images = load_sample_images().images
        except ImportError as error:
            raise MissingDependency(
                "patches: scikit-learn reads its sample pictures with Pillow: pip install pillow"
            ) from error
    if not isinstance(images, (Sequence, np.ndarray)):
        raise ShapeError(f"patches: images is a list of images, got {images!r}")
    grey = [_grey(image, side) for image in images]
    if not grey:
        raise ShapeError("patches: images is empty, give one or more")
    windows = [np.lib.stride_tricks.sliding_window_view(image, (side, side)) for image in grey]
    places = np.cumsum([0, *(w.shape[0] * w.shape[1] for w in windows)])

    def cut(n: int, generator: Generator) -> Array:
        made, missing, tries = np.empty((n, side, side), np.float32), np.arange(n), 0
        while missing.size:
            # every place in every image is equally likely
            place = (generator.uniform(len(missing), dtype=np.float64) * places[-1]).astype(np.int64)
            which = np.searchsorted(places, place, side="right") - 1
            for i, w in enumerate(windows):
                mine = which == i
                made[missing[mine]] = w[np.unravel_index(place[mine] - places[i], w.shape[:2])]
            missing = missing[made[missing].std(axis=(1, 2)) < least_std]
            tries += 1
            if tries == 1000:
                raise DataError(
                    f"patches: hardly any patch of {side} × {side} has a standard deviation of {least_std}; give "
                    "images with more contrast, or a smaller least_std"
                )
        return made

    return cut


def is_convex(shapes: Any) -> Array:
    """Whether each filled shape holds every pixel of its own convex hull: a truth value a shape.

    Exact, in whole numbers: in each row the hull reaches as far as the lines from the end of a row above to the end of
    a row below, and what is between its two ends must be as many pixels as the shape has there.
    Shapes: shapes [n, height, width] or [height, width], what is not 0 belongs to the shape; the result [n] or [].
    """
    shapes = np.asarray(shapes) != 0
    if shapes.ndim == 2:
        return is_convex(shapes[None])[0]
    if shapes.ndim != 3:
        raise ShapeError(f"is_convex: wants shapes [n, height, width], got {list(shapes.shape)}")
    h, w = shapes.shape[1:]
    there = shapes.any(2)
    pixels = shapes.sum(2).T  # [row, shape], as everything here: a row's shapes together
    pairs = [(a, b) for a in range(h - 2) for b in range(a + 2, h)]
    inside = np.full(pixels.shape, 2 - w)  # with both reaches added: how many pixels of the row are in the hull
    for ends in (w - 1 - shapes[:, :, ::-1].argmax(2), w - 1 - shapes.argmax(2)):  # both measured outwards
        reach = np.where(there, ends, -w).T.astype(np.int32)
        hull = reach.copy()
        for a, b in pairs:
            both = np.flatnonzero(there[:, a] & there[:, b])
            if both.size:
                r = np.arange(a + 1, b, dtype=np.int32)[:, None]
                line = (reach[a, both] * (b - r) + reach[b, both] * (r - a)) // (b - a)
                hull[a + 1 : b, both] = np.maximum(hull[a + 1 : b, both], line)
        inside += hull
    return np.asarray((np.maximum(inside, 0) == pixels).all(0))


# the parts of the recipes


def _dataset(
    name: str, chunk: Callable[[int, Generator], tuple[Array, Array]], sizes: tuple[int, int, int], seed: int,
    dtype: DTypeLike, flatten: bool,
) -> Dataset:  # fmt: skip
    real = _floating(dtype)
    parts: list[Any] = []
    for part, size in enumerate(_sizes(name, sizes)):
        x, y = np.empty((size, _SIDE, _SIDE), real), np.empty(size, np.int64)
        for i, start in enumerate(range(0, size, _CHUNK)):
            # a chunk is always made whole, so that the first images do not depend on how many are wanted
            pixels, labels = chunk(_CHUNK, _stream(seed, part, i))
            room = x[start : start + _CHUNK]
            room[:], y[start : start + _CHUNK] = pixels[: len(room)], labels[: len(room)]
        parts += [x.reshape(size, _SIDE * _SIDE) if flatten else x, y]
    return Dataset(parts[0], parts[1], parts[4], parts[5], name, _SOURCE, parts[2], parts[3])


def _sizes(name: str, sizes: Sequence[int]) -> list[int]:
    try:
        found = [operator.index(n) for n in sizes]
    except TypeError:
        found = [-1]
    if min(found) < 0:
        raise OptionError(f"{name}: the sizes of its parts are whole numbers of 0 or more, got {list(sizes)}")
    return found


def _stream(seed: int, part: int, chunk: int) -> Generator:
    """The random numbers of one chunk, apart from all others and from generators that count from 0."""
    generator = Generator(seed)
    generator.counter = 1 << 255 | part << 128 | chunk << 64
    return generator


def _integers(generator: Generator, low: Any, high: Any, n: int) -> Array:
    """Uniform from low to high, both included."""
    return low + (generator.uniform(n, dtype=np.float64) * (np.asarray(high) - low + 1)).astype(np.int64)


def _sides(
    n: int, generator: Generator, low: int, high: int, fits: Callable[[Array, Array], Array]
) -> tuple[Array, Array]:
    height, width, missing = np.empty(n, np.int64), np.empty(n, np.int64), np.arange(n)
    while missing.size:
        height[missing] = _integers(generator, low, high, missing.size)
        width[missing] = _integers(generator, low, high, missing.size)
        missing = missing[~fits(height[missing], width[missing])]
    return height, width


def _boxes(n: int, height: Array, width: Array, generator: Generator) -> tuple[Any, Any]:
    """Rectangles at random places, filled and as outlines of one pixel: [n, 28, 28] truth values."""
    top = _integers(generator, 0, _SIDE - height, n)[:, None, None]
    left = _integers(generator, 0, _SIDE - width, n)[:, None, None]
    bottom, right = top + height[:, None, None] - 1, left + width[:, None, None] - 1
    r, q = np.arange(_SIDE)[:, None], np.arange(_SIDE)
    inside = (top <= r) & (r <= bottom) & (left <= q) & (q <= right)
    return inside, inside & ((r == top) | (r == bottom) | (q == left) | (q == right))


def _half_planes(n: int, k: tuple[int, int], generator: Generator) -> Array:
    """n intersections of k[0] to k[1] half-planes, each bounded by a random line through a random point."""
    most = k[1]
    angle, down, across = generator.uniform((3, n * most), dtype=np.float64)
    used = np.arange(most) < _integers(generator, k[0], k[1], n)[:, None]
    normal = np.stack([np.sin(2 * np.pi * angle), np.cos(2 * np.pi * angle)])
    offset = (normal[0] * down + normal[1] * across) * (_SIDE - 1)
    offset[~used.reshape(-1)] = 1e6
    grid = np.arange(_SIDE, dtype=np.float64)
    # a pixel is in when sin·row + cos·column is at most the offset of every line
    rows = (normal[0, :, None] * grid - offset[:, None]).reshape(n, most, _SIDE)
    columns = (normal[1, :, None] * grid).reshape(n, most, _SIDE)
    shape = np.ones((n, _SIDE, _SIDE), bool)
    for i in range(most):
        shape &= rows[:, i, :, None] + columns[:, i, None, :] <= 0
    return shape


def _convex_chunk(n: int, generator: Generator) -> tuple[Array, Array]:
    whole = _found(n - n // 2, generator, lambda m: _half_planes(m, (2, 6), generator))
    steps = whole.sum((1, 2)) // 30
    wanted = np.bincount(steps, minlength=21)

    def union(m: int) -> Array:
        parts = _half_planes(4 * m, (3, 8), generator).reshape(m, 4, _SIDE, _SIDE)
        many = _integers(generator, 2, 4, m)
        return np.asarray((parts & (np.arange(4) < many[:, None])[:, :, None, None]).any(1))

    broken: list[Array] = []
    while wanted.any():
        found = union(1000)
        area = found.sum((1, 2))
        step = area // 30
        keep = np.flatnonzero((area >= 30) & (area <= 600) & (wanted[np.minimum(step, 20)] > 0))
        keep = keep[~is_convex(found[keep])]
        for i in keep:
            if wanted[step[i]]:
                wanted[step[i]] -= 1
                broken.append(found[i])
    shapes = np.concatenate([whole, np.stack(broken)])
    order = generator.permutation(n)
    return shapes[order], (np.arange(n) < len(whole))[order]


def _found(n: int, generator: Generator, draw: Callable[[int], Array]) -> Array:
    """n shapes with areas from 30 to 600 pixels."""
    kept: list[Array] = []
    while sum(map(len, kept)) < n:
        shapes = draw(2 * n)
        area = shapes.sum((1, 2))
        kept.append(shapes[(area >= 30) & (area <= 600)])
    return np.concatenate(kept)[:n]


def _uniform_noise(n: int, generator: Generator) -> Array:
    return np.asarray(generator.uniform((n, _SIDE, _SIDE)))


def _grey(image: Any, side: int) -> Array:
    image = np.asarray(image)
    if not ((image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)) and min(image.shape[:2]) >= side):
        raise ShapeError(
            f"patches: wants images [height, width] or [height, width, 3] of {side} × {side} pixels or more, got "
            f"{list(image.shape)}"
        )
    grey = image.astype(np.float32) / np.float32(255 if image.dtype.kind in "iu" else 1)
    if grey.ndim == 3:
        grey = grey @ np.array([0.299, 0.587, 0.114], np.float32)
    if not (grey.min() >= 0 and grey.max() <= 1 + 1e-6):
        raise DataError(
            f"patches: wants whole numbers from 0 to 255 or others in [0, 1], got {grey.min()} to {grey.max()}"
        )
    return grey


def _variant(
    name: str, turned: bool, background: Callable[[int, Generator], Array] | None, sizes: tuple[int, int, int],
    seed: int, dtype: DTypeLike, flatten: bool, digits: Dataset | None,
) -> Dataset:  # fmt: skip
    real, counts = _floating(dtype), _sizes(name, sizes)
    given = mnist() if digits is None else digits
    pictures = [np.asarray(part).reshape(-1, _SIDE, _SIDE) for part in (given.train_x, given.valid_x, given.test_x)
                if len(part)]  # fmt: skip
    labels = np.concatenate([given.train_y, given.valid_y, given.test_y])
    ends = np.cumsum([0, *map(len, pictures)])
    if sum(counts) > len(labels):
        raise OptionError(f"{name}: {sum(counts):,} images are asked for, {given.name} has {len(labels):,}")
    order = shuffled(len(labels), seed)
    # to train on from the beginning of the order, to validate on what follows, to test on from its end
    starts = [0, counts[0], len(order) - counts[2]]
    parts: list[Any] = []
    for part, (start, size) in enumerate(zip(starts, counts, strict=True)):
        rows = order[start : start + size][:: -1 if part == 2 else 1]
        x = np.empty((size, _SIDE, _SIDE), real)
        for i, at in enumerate(range(0, size, _CHUNK)):
            mine, generator = rows[at : at + _CHUNK], _stream(seed, part, i)
            chunk = np.empty((len(mine), _SIDE, _SIDE), np.float32)
            for j, picture in enumerate(pictures):
                inside = (ends[j] <= mine) & (mine < ends[j + 1])
                chunk[inside] = picture[mine[inside] - ends[j]]
            if turned:
                angles = generator.uniform(_CHUNK, 0.0, 2 * math.pi, dtype=np.float64)[: len(mine)]
                chunk = transformed(chunk[:, None], angles)[:, 0]
            if background is not None:
                behind = background(_CHUNK, generator)[: len(mine)]
                np.maximum(chunk, behind, out=chunk)
            x[at : at + _CHUNK] = chunk
        parts += [x.reshape(size, _SIDE * _SIDE) if flatten else x, labels[rows]]
    source = f"{given.source}; changed {_SOURCE}"
    return Dataset(parts[0], parts[1], parts[4], parts[5], name, source, parts[2], parts[3])
