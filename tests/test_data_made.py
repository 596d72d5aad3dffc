"""Data sets made by recipe: the eight of 2007 and the toys; what the recipes promise, and that they never change."""

import hashlib

import numpy as np
import pytest

from tinygrad_mlsp import data
from tinygrad_mlsp.data import generate, toys
from tinygrad_mlsp.errors import DataError, DTypeError, MissingDependency, OptionError, ShapeError
from tinygrad_mlsp.random import Generator

SMALL = {"n_train": 1500, "n_valid": 30, "n_test": 70}
GREYS = np.random.default_rng(0).integers(0, 256, (60, 50, 1))
PICTURES = [(GREYS * [1.0, 0.9, 0.5]).astype(np.uint8), np.linspace(0, 1, 1600).reshape(40, 40)]


def fake_mnist():
    """Digits of MNIST's form: an image's corner pixels hold its number, so that it can be followed."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (400, 28, 28)).astype(np.float32) * 0.5
    y = np.arange(400) % 10
    return data.Dataset(x[:300].reshape(300, -1), y[:300], x[300:].reshape(100, -1), y[300:], "fake", "made up")


def make(name, **options):
    if name.startswith("mnist"):
        options = {"digits": fake_mnist(), "n_train": 200, "n_valid": 30, "n_test": 70} | options
    if "image" in name:
        options = {"images": PICTURES} | options
    return getattr(data, name)(**{**SMALL, **options})


NAMES = ["rectangles", "rectangles_image", "convex", "mnist_rot", "mnist_back_rand", "mnist_back_image",
         "mnist_rot_back_image"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_what_it_promises(name):
    d = make(name, flatten=False, seed=3)
    n = 200 if name.startswith("mnist") else 1500
    assert d.train_x.shape == (n, 28, 28) and d.valid_x.shape == (30, 28, 28) and d.test_x.shape == (70, 28, 28)
    assert d.train_y.shape == (n,) and d.valid_y.shape == (30,) and d.test_y.shape == (70,)
    assert d.train_x.dtype == np.float32 and d.train_y.dtype == np.int64 and d.name == name and "2007" in d.source
    assert d.train_x.min() >= 0 and d.train_x.max() <= 1
    assert set(d.train_y) == set(range(10 if name.startswith("mnist") else 2))
    flat = make(name, seed=3, dtype=np.float64)
    assert flat.train_x.dtype == np.float64
    np.testing.assert_array_equal(flat.train_x.astype(np.float32).reshape(d.train_x.shape), d.train_x)
    assert not np.array_equal(make(name, seed=4, flatten=False).train_x, d.train_x)
    # the parts differ, and a smaller set is the beginning of a larger one
    assert not np.array_equal(d.train_x[:30], d.valid_x) and not np.array_equal(d.test_x[:30], d.valid_x)
    few = make(name, n_train=20, n_valid=0, n_test=10, flatten=False, seed=3)
    np.testing.assert_array_equal(few.train_x, d.train_x[:20])
    np.testing.assert_array_equal(few.test_x, d.test_x[:10])
    np.testing.assert_array_equal(few.test_y, d.test_y[:10])
    assert len(few.valid_x) == 0 and make(name, n_valid=0).valid_x.shape == (0, 784)


def test_the_published_sizes_are_the_defaults():
    import inspect

    sizes = {name: tuple(p.default for p in list(inspect.signature(getattr(data, name)).parameters.values())[:4])
             for name in NAMES}  # fmt: skip
    variants = (10_000, 2000, 50_000, 0)
    expected = {name: variants for name in NAMES}
    assert sizes == expected | {"rectangles": (1000, 200, 50_000, 0), "convex": (6000, 2000, 50_000, 0)}


@pytest.mark.parametrize(("name", "expected"), [("rectangles", "57bb57ce75cc99a1"), ("convex", "a03a127296bb20e0")])
def test_a_set_never_changes(name, expected):
    d = getattr(data, name)(n_train=300, n_valid=20, n_test=20)
    parts = [d.train_x, d.valid_x, d.test_x]
    assert all(set(np.unique(p)) == {0, 1} for p in parts)
    packed = b"".join(np.packbits(p.astype(bool)).tobytes() for p in parts) + np.r_[d.train_y, d.test_y].tobytes()
    assert hashlib.sha256(packed).hexdigest()[:16] == expected


def boxes(x):
    """Height, width, top and left of what is not black."""
    rows, columns = x.any(2), x.any(1)
    return rows.sum(1), columns.sum(1), rows.argmax(1), columns.argmax(1)


def test_rectangles_are_outlines_and_their_label_is_right():
    d = data.rectangles(4000, 0, 0, flatten=False)
    height, width, top, left = boxes(d.train_x)
    np.testing.assert_array_equal(d.train_y, width > height)
    assert (abs(height - width) >= 3).all()
    assert height.min() == width.min() == 2 and height.max() == width.max() == 27
    assert abs(d.train_y.mean() - 0.5) < 0.03
    for i in range(200):
        drawn = np.zeros((28, 28))
        drawn[top[i] : top[i] + height[i], left[i] : left[i] + width[i]] = 1
        drawn[top[i] + 1 : top[i] + height[i] - 1, left[i] + 1 : left[i] + width[i] - 1] = 0
        np.testing.assert_array_equal(d.train_x[i], drawn)
    # the corner: uniform over the places, 28 − height of them and one more
    share = top / np.maximum(28 - height, 1)
    assert (top + height <= 28).all() and abs(share.mean() - 0.5) < 0.02 and abs(share[height < 8].std() - 0.3) < 0.03


def test_rectangles_of_images():
    black_white = [np.zeros((40, 40)), np.ones((40, 40))]
    generator, cut = Generator(0), generate.patches(PICTURES)
    d = data.rectangles_image(400, 0, 0, flatten=False, images=PICTURES)
    assert np.unique(d.train_x).size > 1000
    with pytest.raises(DataError, match=r"hardly any patch of 28 × 28 has a standard deviation of 0\.2"):
        data.rectangles_image(1, 0, 0, images=black_white)
    # the geometry, seen by putting flat patches in the place of the pictures
    flat = iter([1.0, 0.0])  # inside, then outside
    original, generate.patches = generate.patches, lambda images: lambda n, g: np.full((n, 28, 28), next(flat))
    try:
        d = data.rectangles_image(1000, 0, 0, flatten=False)
    finally:
        generate.patches = original
    height, width, _, _ = boxes(d.train_x)
    np.testing.assert_array_equal(d.train_x.sum((1, 2)), height * width)
    np.testing.assert_array_equal(d.train_y, width > height)
    area = height * width / 784
    assert (area >= 0.25).all() and (area <= 0.75).all() and (abs(height - width) >= 5).all()
    assert min(height.min(), width.min()) == 10 and area.min() < 0.27 and area.max() > 0.7
    assert cut(3, generator).shape == (3, 28, 28)


# convexity, against a hull worked out in another way


def hull_holds_more(shape):
    """Whether the convex hull of a shape's pixels holds a pixel that is not in the shape (Andrew's monotone chain)."""
    points = [(int(r), int(q)) for r, q in np.argwhere(shape)]
    if len(points) < 2:
        return False

    def cross(o, a, b):
        return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])

    def chain(points):
        kept = []
        for p in points:
            while len(kept) > 1 and cross(kept[-2], kept[-1], p) <= 0:
                kept.pop()
            kept.append(p)
        return kept[:-1]

    corners = chain(sorted(points)) + chain(sorted(points, reverse=True))
    r, q = np.indices(shape.shape)
    inside = np.ones(shape.shape, bool)
    for a, b in zip(corners, corners[1:] + corners[:1]):
        inside &= (b[0] - a[0]) * (q - a[1]) - (b[1] - a[1]) * (r - a[0]) >= 0
    if len(corners) == 2:  # a line: both sides are inside, but not what lies beyond its ends
        (top, bottom), (left, right) = sorted(c[0] for c in corners), sorted(c[1] for c in corners)
        inside &= (r >= top) & (r <= bottom) & (q >= left) & (q <= right)
    return bool((inside & ~shape.astype(bool)).any())


def test_convexity_against_the_hull():
    rng, generator = np.random.default_rng(0), Generator(5)
    small = rng.random((3000, 4, 5)) < rng.choice([0.3, 0.6, 0.9], (3000, 1, 1))  # dense in odd cases
    found = data.is_convex(small)
    assert found.tolist() == [not hull_holds_more(s) for s in small] and 100 < found.sum() < 2900
    whole = generate._half_planes(150, (2, 6), generator)
    assert data.is_convex(whole).all()  # an intersection of half-planes holds its hull
    spoilt = whole[whole.sum((1, 2)) > 5]
    for s in spoilt:  # one pixel less or more
        r, q = rng.integers(28, size=2) if rng.random() < 0.3 else rng.choice(np.argwhere(s))
        s[r, q] ^= True
    unions = generate._half_planes(300, (3, 8), generator).reshape(150, 2, 28, 28).any(1)
    shapes = np.concatenate([spoilt, unions])
    found = data.is_convex(shapes)
    assert found.tolist() == [not hull_holds_more(s) for s in shapes] and 20 < found.sum() < len(shapes) - 20


def test_convexity_of_plain_shapes():
    def picture(*rows):
        return np.array([[c == "#" for c in row] for row in rows])

    assert data.is_convex(picture("....", "....")) and data.is_convex(picture("#...", "...."))
    assert data.is_convex(picture("#..", ".#.", "..#")) and data.is_convex(picture("####", "####"))
    assert not data.is_convex(picture("#.#", "...", "...")) and not data.is_convex(picture("#..", "...", "#.."))
    assert not data.is_convex(picture("##.", "#..", "##.")) and not data.is_convex(picture("#..", "...", "..#"))
    assert data.is_convex(picture("#....", "...#.")), "no pixel's centre is between"
    assert data.is_convex(picture("#..", "...", ".#.")), "nor here, in a row that is empty"
    with pytest.raises(ShapeError, match=r"wants shapes \[n, height, width\], got \[3\]"):
        data.is_convex([1, 0, 1])


def test_convex_shapes_and_their_areas():
    d = data.convex(2000, 0, 0, flatten=False)
    np.testing.assert_array_equal(data.is_convex(d.train_x), d.train_y == 1)
    assert [not hull_holds_more(x) for x in d.train_x[:150]] == (d.train_y[:150] == 1).tolist()
    area = d.train_x.sum((1, 2))
    assert area.min() >= 30 and area.max() <= 600 and d.train_y.mean() == 0.5
    steps = [np.bincount((area[d.train_y == c] // 30).astype(int), minlength=21) for c in (0, 1)]
    np.testing.assert_array_equal(*steps)  # alike in both classes
    assert abs(area[d.train_y == 1].mean() - area[d.train_y == 0].mean()) < 3


# the variants of MNIST


def test_parts_of_mnist_have_no_image_in_common_and_keep_their_labels():
    digits = fake_mnist()
    d = data.mnist_back_rand(200, 100, 100, digits=digits)
    every = np.concatenate([digits.train_x, digits.test_x])
    labels = np.r_[digits.train_y, digits.test_y]
    d0 = generate._variant("plain", False, None, (200, 100, 100), 0, np.float32, True, digits)
    rows = [int(np.flatnonzero((every == x).all(1))[0]) for part in (d0.train_x, d0.valid_x, d0.test_x) for x in part]
    assert sorted(rows) == list(range(400))
    assert labels[rows].tolist() == [*d.train_y, *d.valid_y, *d.test_y]
    with pytest.raises(OptionError, match="401 images are asked for, fake has 400"):
        data.mnist_rot(201, 100, 100, digits=digits)


def test_backgrounds_lie_behind_the_digit():
    white = np.zeros((400, 28, 28), np.float32)
    white[:, 10:20, 10:20] = 1
    digits = data.Dataset(white[:300], np.arange(300) % 10, white[300:], np.arange(100) % 10, "fake", "made up")
    behind = ~white[0].astype(bool)
    d = data.mnist_back_rand(300, 0, 0, digits=digits, flatten=False)
    assert (d.train_x[:, ~behind] == 1).all()
    grey = data.Dataset(digits.train_x / 2, digits.train_y, digits.test_x / 2, digits.test_y, "fake", "made up")
    half = data.mnist_back_rand(50, 0, 0, digits=grey, flatten=False).train_x[:, ~behind]
    assert half.min() == 0.5 and abs((half > 0.5).mean() - 0.5) < 0.03  # the brighter of the two
    noise = np.sort(d.train_x[:, behind].ravel())
    assert abs(noise - np.linspace(0, 1, noise.size)).max() < 0.01  # uniform
    assert abs(np.corrcoef(d.train_x[:, 0, :9].T) - np.eye(9)).max() < 0.2
    d = data.mnist_back_image(100, 0, 0, digits=digits, flatten=False, images=PICTURES[1:])
    assert (d.train_x[:, ~behind] == 1).all()
    patch = np.where(behind, d.train_x, np.nan)
    np.testing.assert_allclose(patch[:, 1:, :9] - patch[:, :-1, :9], 40 / 1599, atol=1e-6)  # the ramp's rows


def test_digits_are_turned_all_the_way_round():
    hand = np.zeros((300, 28, 28), np.float32)
    hand[:, 12:16, 14:26] = 1  # points right
    digits = data.Dataset(hand, np.arange(300) % 10, hand[:100], np.arange(100) % 10, "fake", "made up")
    d = data.mnist_rot(300, 0, 0, digits=digits, flatten=False)
    r, q = np.indices((28, 28)) - 13.5
    mass = d.train_x.sum((1, 2))
    np.testing.assert_allclose(mass, 48, rtol=0.05)
    angle = np.sort(np.arctan2(-(d.train_x * r).sum((1, 2)), (d.train_x * q).sum((1, 2))))
    assert abs(angle - np.linspace(-np.pi, np.pi, 300)).max() < 0.35  # uniform on the circle
    both = data.mnist_rot_back_image(300, 0, 0, digits=digits, flatten=False, images=PICTURES)
    assert (both.train_x >= d.train_x).all() and both.train_x.mean() > 0.3  # the same turn, then the background


def test_patches_come_from_everywhere_and_have_contrast():
    halves = np.concatenate([np.full((100, 60), 0.5), np.random.default_rng(0).random((100, 60))], 1)
    cut = data.patches([halves, PICTURES[1]])
    made = cut(2000, Generator(0))
    assert made.shape == (2000, 28, 28) and made.dtype == np.float32 and (made.std((1, 2)) >= 0.2).all()
    np.testing.assert_array_equal(cut(2000, Generator(0)), made)
    # in the places of each image in proportion; the ramp has 13 × 13, all with contrast, the other 73 × 33 full ones
    assert (np.ptp(made[:, :, 0], axis=1) > 0.6).mean() > 0.02
    grey = data.patches([PICTURES[0]])(1, Generator(1))[0]
    weighed = PICTURES[0].astype(float) @ [0.299, 0.587, 0.114] / 255
    windows = np.lib.stride_tricks.sliding_window_view(weighed, (28, 28))
    assert abs(windows - grey).max((2, 3)).min() < 1e-6


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ShapeError, "images is empty"),
        ([np.zeros((20, 40))], ShapeError, r"of 28 × 28 pixels or more, got \[20, 40\]"),
        ([np.zeros((40, 40, 4))], ShapeError, r"got \[40, 40, 4\]"),
        ([np.full((40, 40), 255.0)], DataError, r"others in \[0, 1\], got 255.0 to 255.0"),
    ],
)
def test_images_of_a_wrong_form(images, error, message):
    with pytest.raises(error, match=message):
        data.patches(images)


def test_without_images_and_scikit_learn_the_error_says_what_to_do(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependency, match=r"Give some as images=.*pip install scikit-learn pillow"):
        data.rectangles_image(1, 0, 0)


def test_scikit_learns_images_are_taken():
    pytest.importorskip("sklearn.datasets")
    pytest.importorskip("PIL")
    d = data.rectangles_image(5, 0, 0)
    assert d.train_x.std() > 0.1


def test_options_of_the_sets():
    with pytest.raises(OptionError, match=r"whole numbers of 0 or more, got \[-1, 0, 0\]"):
        data.rectangles(-1, 0, 0)
    with pytest.raises(OptionError, match="whole numbers"):
        data.convex(1.5, 0, 0)
    with pytest.raises(DTypeError):
        data.rectangles(1, 0, 0, dtype=int)
    with pytest.raises(OptionError, match="seed"):
        data.rectangles(1, 0, 0, seed=-1)


# toys


def test_ring():
    x, y = toys.ring(8000, std=0.1, seed=1)
    assert x.shape == (8000, 2) and x.dtype == np.float32 and min(np.bincount(y)) > 850
    centres = toys.ring_centres()
    for mode in range(8):
        mine = x[y == mode]
        np.testing.assert_allclose(mine.mean(0), centres[mode], atol=0.02)
        np.testing.assert_allclose(mine.std(0), 0.1, atol=0.01)
    np.testing.assert_allclose(centres[[0, 2]], [[2, 0], [0, 2]], atol=1e-12)


def test_two_moons_are_half_circles():
    x, y = toys.two_moons(501, noise=0)
    assert np.bincount(y).tolist() == [251, 250]
    assert (abs(np.hypot(*x[y == 0].T) - 1) < 1e-6).all() and (x[y == 0, 1] >= -1e-6).all()
    assert (abs(np.hypot(*(x[y == 1] - [1, 0.5]).T) - 1) < 1e-6).all() and (x[y == 1, 1] <= 0.5 + 1e-6).all()
    noisy = toys.two_moons(5000, noise=0.2, dtype=np.float64)[0]
    assert abs((noisy - toys.two_moons(5000, noise=0, dtype=np.float64)[0]).std() - 0.2) < 0.01


def test_xor_and_parity():
    x, y = toys.xor(1000)
    assert ((x[:, 0] * x[:, 1] < 0) == y).mean() > 0.99 and abs(y.mean() - 0.5) < 0.06
    x, y = toys.parity(3)
    assert x.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
    assert y.tolist() == [0, 1, 1, 0, 1, 0, 0, 1]
    x, y = toys.parity(40, n=500)
    assert x.shape == (500, 40) and abs(x.mean() - 0.5) < 0.02 and (y == x.sum(1) % 2).all()
    with pytest.raises(OptionError, match="bits must be an integer from 1 to 20"):
        toys.parity(21)


@pytest.mark.parametrize("T", [2, 3, 100])
def test_adding(T):
    x, y = toys.adding(4000, T, seed=2, dtype=np.float64)
    assert x.shape == (4000, T, 2) and y.shape == (4000, 1) and set(np.unique(x[..., 1])) <= {0, 1}
    assert (x[:, : T // 2, 1].sum(1) == 1).all() and (x[:, T // 2 :, 1].sum(1) == 1).all()
    np.testing.assert_allclose(y[:, 0], (x[..., 0] * x[..., 1]).sum(1), rtol=1e-12)
    assert abs(((y - 1) ** 2).mean() - 1 / 6) < 0.01
    first, half = x[:, : T // 2, 1].argmax(1), T // 2
    assert abs(first.mean() - (half - 1) / 2) < 0.02 * half + 1e-9
    np.testing.assert_array_equal(toys.adding(4000, T, seed=2, dtype=np.float64)[0], x)


def test_curves():
    x, y = toys.noisy_curve(5000, noise=0.3)
    assert abs((y - toys.curve(x)).std() - 0.3) < 0.01 and x.min() >= -1 and x.max() < 1
    np.testing.assert_allclose(toys.polynomial_features(np.array([2.0, -3.0]), 3), [[2, 4, 8], [-3, 9, -27]])
    with pytest.raises(ShapeError, match=r"wants x \[n, 1\] or \[n\], got \[2, 2\]"):
        toys.polynomial_features(np.ones((2, 2)), 2)
    with pytest.raises(OptionError, match="powers of int64"):
        toys.polynomial_features(np.arange(2), 2)


def test_toys_depend_on_their_seed_alone():
    for toy in (toys.ring, toys.two_moons, toys.xor, toys.adding, toys.noisy_curve):
        a, b, c = toy(50, seed=1), toy(50, seed=1), toy(50, seed=2)
        assert all(np.array_equal(p, q) for p, q in zip(a, b)) and not np.array_equal(a[0], c[0])
        assert toy(50, dtype=np.float64)[0].dtype == np.float64 and len(toy(0)[0]) == 0
        with pytest.raises(OptionError, match="n must be"):
            toy(-1)
