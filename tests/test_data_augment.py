"""Augmentation: the sampling against SciPy's, each step against what it says, one seed one result."""

import math

import numpy as np
import pytest
from scipy import ndimage

from tinygrad_mlsp import data
from tinygrad_mlsp.data import augment
from tinygrad_mlsp.errors import DTypeError, OptionError, ShapeError
from tinygrad_mlsp.random import Generator
from tinygrad_mlsp.tensor import Tensor

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 2, 9, 12))
STEPS = {
    "rotate": augment.rotate(30), "scale": augment.scale(0.5, 2.0), "shift": augment.shift(3),
    "affine": augment.affine(20, (0.8, 1.2), 2), "elastic": augment.elastic(20, 2), "noise": augment.noise(0.1),
    "drop": augment.drop(0.4), "flip": augment.flip(), "crop": augment.crop((9, 12), padding=2),
    "compose": augment.compose(augment.rotate(10), augment.noise(0.1)),
}  # fmt: skip


@pytest.mark.parametrize("fill", [0.0, 0.7])
def test_sampling_equals_scipys(fill):
    rows = RNG.uniform(-3, 12, (6, 5, 7))
    columns = RNG.uniform(-3, 15, (6, 5, 7))
    rows[:, 0], columns[:, 0] = np.arange(7), np.arange(7) + 2  # and at pixel centres
    rows[:, 1, :4], columns[:, 1, :4] = [-1, 8, 9, 8], [3, 11, 3, 12]  # and at the edges
    y = augment.bilinear(IMAGES, rows, columns, fill)
    assert y.shape == (6, 2, 5, 7)
    for n in range(6):
        for c in range(2):
            at = np.stack([rows[n], columns[n]])
            theirs = ndimage.map_coordinates(IMAGES[n, c], at, order=1, mode="grid-constant", cval=fill)
            np.testing.assert_allclose(y[n, c], theirs, atol=1e-12)
    far = np.full((6, 1), 1e6)
    assert (augment.bilinear(IMAGES, far, -far, fill) == fill).all()


def test_turning_by_right_angles_and_shifting_by_whole_pixels():
    square = RNG.random((4, 1, 8, 8))
    turned = augment.transformed(square, np.array([0, math.pi / 2, math.pi, -math.pi / 2]))
    for i, k in enumerate((0, 1, 2, 3)):
        np.testing.assert_allclose(turned[i, 0], np.rot90(square[i, 0], k), atol=1e-12)  # counter-clockwise
    moved = augment.transformed(square, np.zeros(4), 1.0, 2.0, -1.0)
    np.testing.assert_allclose(moved[:, :, 2:, :-1], square[:, :, :-2, 1:], atol=1e-12)
    assert (moved[:, :, :2] == 0).all() and (moved[:, :, :, -1] == 0).all()


def test_scaling_about_the_centre():
    r, q = np.indices((21, 21)) - 10.0
    disc = (np.hypot(r, q) <= 4).astype(float)[None, None]
    for factor in (0.5, 2.0):
        area = augment.transformed(disc, np.zeros(1), factor).sum()
        assert abs(area / disc.sum() - factor**2) < 0.12 * factor**2
    ramp = (r / 20)[None, None]
    np.testing.assert_allclose(
        augment.transformed(ramp, np.zeros(1), 2.0)[0, 0, 1:-1], ramp[0, 0, 1:-1] / 2, atol=1e-12
    )


def test_the_ranges_of_the_affine_step():
    r, q = np.indices((41, 41)) - 20.0
    hand = ((abs(r) <= 1) & (q >= 0) & (q <= 12)).astype(float)
    hands = np.repeat(hand[None], 2000, 0)

    def moments(x):
        mass = x.sum((1, 2))
        return (x * r).sum((1, 2)) / mass, (x * q).sum((1, 2)) / mass

    down, right = moments(augment.rotate(30)(hands, Generator(0)))
    angle = np.degrees(np.arctan2(-down, right))
    assert abs(np.sort(angle) - np.linspace(-30, 30, 2000)).max() < 2.5  # uniform
    disc = np.clip(12 - np.hypot(r, q), 0, 1)
    mass = augment.scale(0.5, 1.5)(np.repeat(disc[None], 2000, 0), Generator(0)).sum((1, 2)) / disc.sum()
    log = np.sort(np.log(mass) / 2)  # uniform: growing weighs as much as shrinking
    assert abs(log - np.linspace(math.log(0.5), math.log(1.5), 2000)).max() < 0.05
    down, right = moments(augment.shift(3)(hands, Generator(0)))
    for by in (down, right - 6):
        assert abs(np.sort(by) - np.linspace(-3, 3, 2000)).max() < 0.25
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.1
    small = np.clip(8 - np.hypot(r, q), 0, 1)
    moved = augment.affine(scale=(0.7, 1.4), shift=3)(np.repeat(small[None], 1000, 0), Generator(0))
    drawn = np.corrcoef([np.log(moved.sum((1, 2))), *moments(moved)])
    assert abs(drawn - np.eye(3)).max() < 0.15  # independent of each other
    still = augment.affine()(hands[:3], Generator(0))
    np.testing.assert_array_equal(still, hands[:3])


def test_elastic_deformation_by_its_definition():
    n, h, w, alpha, sigma = 3, 20, 26, 25.0, 3.0
    images = RNG.random((n, 1, h, w))
    y = augment.elastic(alpha, sigma)(images, Generator(4))
    field = Generator(4).uniform((n, 2, h, w), -1.0, 1.0)
    r, q = np.indices((h, w)).astype(float)
    for i in range(n):
        move = [alpha * ndimage.gaussian_filter(f.astype(float), sigma, mode="constant", truncate=4) for f in field[i]]
        at = np.stack([r + move[0], q + move[1]])
        theirs = ndimage.map_coordinates(images[i, 0], at, order=1, mode="grid-constant")
        np.testing.assert_allclose(y[i, 0], theirs, atol=1e-6)
    smooth = augment._gaussian(28, 4.0, np.float64)
    field = 34 * (smooth @ Generator(0).uniform((500, 28, 28), -1, 1) @ smooth.T)
    assert abs(field[:, 8:20, 8:20].std() - 34 / math.sqrt(3) / (2 * 4 * math.sqrt(math.pi))) < 0.05  # 1.38 pixels


def test_noise_and_dropped_pixels():
    x = np.full((200, 3, 10, 10), 0.5)
    y = augment.noise(0.2)(x, Generator(0))
    assert abs(y.std() - 0.2) < 0.003 and abs(y.mean() - 0.5) < 0.003
    y = augment.drop(0.3, fill=0.9)(x, Generator(0))
    dropped = y == 0.9
    assert set(np.unique(y)) == {0.5, 0.9} and abs(dropped.mean() - 0.3) < 0.01
    assert (dropped == dropped[:, :1]).all()  # all channels of a pixel
    assert (augment.drop(0.0)(x, Generator(0)) == x).all() and (augment.drop(1.0)(x, Generator(0)) == 0).all()


@pytest.mark.parametrize("axis", [-1, -2])
def test_flip(axis):
    x = RNG.random((1000, 3, 4))
    y = augment.flip(0.3, axis)(x, Generator(0))
    mirrored = (y == np.flip(x, axis)).all((1, 2))
    assert ((y == x).all((1, 2)) ^ mirrored).all() and abs(mirrored.mean() - 0.3) < 0.04


def test_crop():
    x = np.arange(30 * 40.0).reshape(1, 30, 40).repeat(900, 0)
    y = augment.crop((28, 37))(x, Generator(0))
    assert y.shape == (900, 28, 37)
    top, left = y[:, 0, 0].astype(int) // 40, y[:, 0, 0].astype(int) % 40
    assert all((y[i] == x[i, top[i] : top[i] + 28, left[i] : left[i] + 37]).all() for i in range(100))
    places = np.bincount(top * 4 + left)
    assert len(places) == 12 and places.min() > 45
    framed = augment.crop(4, padding=1, fill=7.0)(np.ones((500, 4, 4)), Generator(0))
    assert framed.shape == (500, 4, 4) and {(p == 7).sum() for p in framed} == {0, 4, 7}
    with pytest.raises(ShapeError, match="a crop of 5 × 5 does not fit images of 4 × 4 padded by 0"):
        augment.crop(5)(np.ones((1, 4, 4)), Generator(0))


def test_mixup():
    x, y = RNG.random((40, 5)), np.arange(40)
    m = augment.mixup(x, y, Generator(0), alpha=1.0)
    np.testing.assert_allclose(m.x, m.share * x + (1 - m.share) * x[m.other])
    assert (m.target == y).all() and sorted(m.other) == list(range(40)) and 0 < m.share < 1
    assert m.loss(lambda p, t: p * t.sum(), 2.0) == pytest.approx(2.0 * y.sum())
    t = augment.mixup(Tensor(x), Tensor(y), Generator(0), alpha=1.0)
    assert isinstance(t.x, Tensor) and t.share == m.share
    np.testing.assert_allclose(t.x.numpy(), m.x, rtol=1e-6)
    generator = Generator(1)
    shares = np.array([augment.mixup(x, y, generator, alpha=0.4).share for _ in range(600)])
    assert abs(shares.mean() - 0.5) < 0.05 and abs(shares.var() - 0.25 / 1.8) < 0.02  # Beta(a, a): 1/(4(2a + 1))
    with pytest.raises(OptionError, match="positive alpha"):
        augment.mixup(x, y, Generator(0), alpha=0)
    with pytest.raises(ShapeError, match="40 images and 39 targets"):
        augment.mixup(x, y[1:], Generator(0))


@pytest.mark.parametrize("name", STEPS)
def test_a_step_depends_on_its_generator_alone_and_keeps_form_and_dtype(name):
    step = STEPS[name]
    before = IMAGES.copy()
    y = step(IMAGES, Generator(3))
    assert y.shape == IMAGES.shape and y.dtype == np.float64 and (before == IMAGES).all()
    np.testing.assert_array_equal(step(IMAGES, Generator(3)), y)
    assert not np.array_equal(step(IMAGES, Generator(4)), y)
    assert not np.array_equal(y[0], IMAGES[0]) or name == "flip"
    assert np.unique(step(IMAGES[:1].repeat(6, 0), Generator(3)), axis=0).shape[0] > 1  # images differ among themselves
    single = step(IMAGES.astype(np.float32), Generator(3))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, y, atol=2e-5)
    one = IMAGES[:, 0]
    plain = step(one, Generator(3))
    assert plain.shape == one.shape
    np.testing.assert_array_equal(plain, step(one[:, None], Generator(3))[:, 0])
    pair = step((one, "labels"), Generator(3))
    assert isinstance(pair, tuple) and pair[1] == "labels" and (pair[0] == plain).all()
    tensor = step(Tensor(one.astype(np.float32)), Generator(3))
    assert isinstance(tensor, Tensor) and np.allclose(tensor.numpy(), plain, atol=2e-5)
    if name != "crop":
        flat = step(RNG.random((3, 49)), Generator(3))
        assert flat.shape == (3, 49)
    assert len(step(IMAGES[:0], Generator(0))) == 0


def test_a_large_batch_is_not_different():
    x = RNG.random((600, 8, 8))
    y = augment.affine(30, shift=2)(x, Generator(0))
    np.testing.assert_array_equal(y[:256], augment.affine(30, shift=2)(x[:256], Generator(0)))
    assert y.shape == x.shape and not np.array_equal(y[256:512], augment.affine(30, shift=2)(x[256:512], Generator(0)))


def test_as_a_loaders_transform():
    d = data.digits()
    steps = augment.compose(augment.affine(15, (0.9, 1.1), 1), augment.elastic(3, 2), augment.noise(0.05))

    def run(**options):
        return list(data.Loader(d.train_x[:100], d.train_y[:100], batch_size=16, transform=steps, **options))

    first, again = run(), run(workers=2)
    assert all((p == q).all() for a, b in zip(first, again, strict=True) for p, q in zip(a, b, strict=True))
    plain = list(data.Loader(d.train_x[:100], d.train_y[:100], batch_size=16))
    assert all((a[1] == b[1]).all() and a[0].shape == b[0].shape for a, b in zip(first, plain, strict=True))
    assert 0.02 < abs(first[0][0] - plain[0][0]).mean() < 0.3
    with pytest.raises(DTypeError, match="takes images as an array, or as the first entry of a tuple, got dict"):
        list(data.Loader({"x": d.train_x}, transform=augment.noise(0.1)))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((3, 50)), ShapeError, r"where they are square, \[n, pixels\]; got \[3, 50\]"),
        (np.ones(9), ShapeError, r"got \[9\]"),
        (np.ones((3, 4, 4), np.uint8), DTypeError, r"got uint8; use x.astype\('float32'\)"),
        ([[1.0]], DTypeError, "got list"),
    ],
)
def test_images_that_are_none(x, error, message):
    with pytest.raises(error, match=message):
        augment.rotate(3)(x, Generator(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: augment.rotate(-1), lambda: augment.shift(-1), lambda: augment.scale(1.2, 0.8),
        lambda: augment.scale(0, 1), lambda: augment.elastic(-1), lambda: augment.elastic(1, 0),
        lambda: augment.noise(-1), lambda: augment.drop(1.1), lambda: augment.flip(2), lambda: augment.flip(axis=1),
        lambda: augment.noise(float("nan")),
    ],
)  # fmt: skip
def test_options_out_of_range(make):
    with pytest.raises(OptionError, match="augment"):
        make()
