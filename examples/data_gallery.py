"""Draw a sheet with samples of every data set, and of what augmentation makes of a digit.

Run: python examples/data_gallery.py [folder for data_gallery.png]

Sets whose files are not there (MNIST, faces, speech, natural images) are left out, and the reason is printed. Name a
folder that has them in TINYGRAD_MLSP_DATA. It needs matplotlib (the extra `viz`).
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import matplotlib.pyplot as plt
import numpy as np

from tinygrad_mlsp import Generator, data
from tinygrad_mlsp.data import audio, augment, text, toys
from tinygrad_mlsp.errors import DataError, MissingDependency

SHOWN = 12
small = {"n_train": SHOWN, "n_valid": 0, "n_test": 0}
rows: list[tuple[str, np.ndarray, list[str]]] = []  # name, images, a caption each


def show(name: str, make) -> None:
    try:
        d = make()
    except (DataError, MissingDependency) as error:
        print(f"{name} left out: {error}\n")
        return
    x, y = d.train_x[:SHOWN], d.train_y[:SHOWN]
    rows.append((name, x, [str(label) for label in y]))
    print(f"{name}: {d.source}")


digits = data.digits(flatten=False)
try:
    mnist = data.mnist(flatten=False, download=False)
except DataError as error:
    print(f"MNIST left out: {error}\n")
    mnist = None

show("digits", lambda: digits)
show("digits, 0 or 1", lambda: digits.only(0, 1))
show("rectangles", lambda: data.rectangles(**small, flatten=False))
show("rectangles_image", lambda: data.rectangles_image(**small, flatten=False))
show("convex", lambda: data.convex(**small, flatten=False))
if mnist is not None:
    show("mnist", lambda: mnist)
    for variant in (data.mnist_rot, data.mnist_back_rand, data.mnist_back_image, data.mnist_rot_back_image):
        show(variant.__name__, lambda variant=variant: variant(**small, flatten=False, digits=mnist))
show("faces", lambda: data.faces(flatten=False))

one = (digits if mnist is None else mnist).train_x[:1]
one = np.repeat(one, SHOWN, 0)
for step in (
    augment.rotate(30), augment.scale(0.6, 1.4), augment.shift(4), augment.elastic(), augment.noise(0.3),
    augment.drop(0.3), augment.flip(), augment.crop(one.shape[1], padding=4),
    augment.compose(augment.affine(20, (0.8, 1.2), 2), augment.elastic(), augment.noise(0.1)),
):  # fmt: skip
    rows.append((getattr(step, "name", "composed"), step(one, Generator(0)), [""] * SHOWN))

figure = plt.figure(figsize=(15, 1.05 * len(rows) + 7))
top = figure.add_gridspec(2, 1, height_ratios=[1.05 * len(rows), 6.3], hspace=0.06)
sheet = top[0].subgridspec(len(rows), SHOWN + 3)
for i, (name, images, captions) in enumerate(rows):
    label = figure.add_subplot(sheet[i, :3])
    label.text(1, 0.5, name.replace(", s", ",\ns"), ha="right", va="center", fontsize=9)
    label.axis("off")
    for j, image in enumerate(images):
        axes = figure.add_subplot(sheet[i, 3 + j])
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(captions[j], fontsize=7, pad=1)
        axes.axis("off")

below = top[1].subgridspec(2, 4, wspace=0.25, hspace=0.35)
for place, (name, (x, y)) in enumerate(
    {"ring": toys.ring(2000), "two_moons": toys.two_moons(600), "xor": toys.xor(600)}.items()
):
    axes = figure.add_subplot(below[0, place])
    axes.scatter(*x.T, c=y, s=3, cmap="tab10")
    axes.set_title(name, fontsize=9)
    axes.set_aspect("equal", "datalim")

axes = figure.add_subplot(below[0, 3])
x, y = toys.noisy_curve(40)
grid = np.linspace(-1, 1, 200)
axes.plot(grid, toys.curve(grid), label="curve")
for degree in (1, 3, 15):
    fit = np.linalg.lstsq(np.c_[np.ones(40), toys.polynomial_features(x, degree)], y, rcond=None)[0]
    axes.plot(grid, np.c_[np.ones(200), toys.polynomial_features(grid, degree)] @ fit, lw=0.8, label=f"degree {degree}")
axes.plot(x, y, "k.", ms=3)
axes.set_ylim(-2, 2)
axes.legend(fontsize=6)
axes.set_title("noisy_curve", fontsize=9)

x, y = toys.adding(1, T=40)
axes = figure.add_subplot(below[1, 0])
axes.bar(range(40), x[0, :, 0], color=np.where(x[0, :, 1] > 0, "C3", "0.7"))
axes.set_title(f"adding: the sum of the marked is {y[0, 0]:.2f}", fontsize=9)

axes = figure.add_subplot(below[1, 1])
x, y = toys.parity(4)
axes.imshow(np.c_[x, np.full(16, np.nan), y].T, cmap="gray_r", aspect="auto")
axes.set_yticks([1.5, 5], ["bits", "odd"])
axes.set_title("parity(4)", fontsize=9)

axes = figure.add_subplot(below[1, 2])
try:
    written = text.tinyshakespeare(download=False)
    axes.text(0, 1, written[:330], fontsize=6, va="top", family="monospace")
except DataError as error:
    print(f"tinyshakespeare left out: {error}\n")
axes.axis("off")
axes.set_title("tinyshakespeare", fontsize=9)

axes = figure.add_subplot(below[1, 3])
try:
    clean, noisy = audio.speech()[0]
    level = 20 * np.log10(np.abs(audio.stft(noisy)).T + 1e-3)
    axes.imshow(level, origin="lower", aspect="auto", extent=(0, len(noisy) / 16_000, 0, 8))
    axes.set_title(f"speech: noisy, {audio.snr(clean, noisy):.1f} dB [kHz, s]", fontsize=9)
except DataError as error:
    print(f"speech left out: {error}\n")
    axes.axis("off")

picture = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "data_gallery.png"
figure.savefig(picture, dpi=80, bbox_inches="tight")
print("drawn:", picture)
