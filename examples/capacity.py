"""Capacity: growing nets on few points, early stopping, implicit regularization, and bias against variance.

1. Two moons with noise, 60 points: decision regions of nets of 1 to 300 hidden units.
2. Early stopping: a large net's validation loss falls and rises again while the training loss goes to 0.
3. Implicit regularization: nets far larger than the data, trained to zero error, do not get worse with their size.
4. Bias and variance of polynomials of degree 1 to 12, fitted to 20 noisy points, over 200 draws of them.
"""

import time
from typing import Any

import numpy as np
from _evidence import loss_of, options, picture, table, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim
from tinygrad_mlsp.data.toys import two_moons


def net(units: int, seed: int) -> nn.Sequential:
    generator = tg.Generator(seed)
    return nn.Sequential(nn.Linear(2, units, generator=generator), nn.Tanh(), nn.Linear(units, 2, generator=generator))


def trained(model: nn.Module, x: Any, y: Any, steps: int, watch: Any = None, rate: float = 0.02) -> list[Any]:
    """Adam on all points at once; `watch(model)` is noted every 20 steps."""
    optimizer, seen = optim.Adam(model.parameters(), lr=rate), []
    for step in range(steps):
        loss = nn.functional.cross_entropy(model(tg.Tensor(x)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if watch and step % 20 == 0:
            seen.append(watch(model))
    return seen


def wrong(model: nn.Module, x: Any, y: Any) -> float:
    with tg.no_grad():
        return float((model(tg.Tensor(x)).numpy().argmax(axis=1) != y).mean())


def polynomials(degrees: range, draws: int) -> list[tuple[int, float, float]]:
    """(degree, bias², variance) of least-squares fits of sin 2πx at noisy points."""
    random, grid = np.random.default_rng(0), np.linspace(0.02, 0.98, 60)
    basis = np.polynomial.chebyshev.chebvander
    rows = []
    for degree in degrees:
        fits = []
        for _ in range(draws):
            x = np.sort(random.uniform(0, 1, 20))
            y = np.sin(2 * np.pi * x) + random.normal(0, 0.3, 20)
            w = np.linalg.lstsq(basis(2 * x - 1, degree), y, rcond=None)[0]
            fits.append(basis(2 * grid - 1, degree) @ w)
        centre = np.median(fits, axis=0)  # a fit or two of high degree are far out: the median, and quartiles' width
        spread = (np.subtract(*np.quantile(fits, [0.75, 0.25], axis=0)) / 1.349) ** 2
        rows.append((degree, float(((centre - np.sin(2 * np.pi * grid)) ** 2).mean()), float(spread.mean())))
    return rows


def main() -> None:
    args = options(__doc__, seeds=3)
    started = time.perf_counter()
    steps = 100 if args.quick else 2000
    x, y = two_moons(60, 0.25, seed=0)
    test_x, test_y = two_moons(5000, 0.25, seed=1)

    sizes = (1, 3, 10, 300)
    regions, rows = {}, []
    for units in sizes:
        nets = [net(units, seed) for seed in range(args.seeds)]
        for model in nets:
            trained(model, x, y, steps)
        regions[units] = nets[0]
        train, test = (float(np.mean([100 * wrong(m, *part) for m in nets])) for part in ((x, y), (test_x, test_y)))
        rows.append((units, train, test))
    table(("hidden units", "training error, %", "test error, %"), rows)
    print()

    model = net(300, 0)
    valid_x, valid_y = two_moons(500, 0.25, seed=2)
    seen = trained(
        model, x, y, steps, lambda m: (loss_of(m, x, y), loss_of(m, valid_x, valid_y), loss_of(m, test_x, test_y))
    )
    stop = int(np.argmin([s[1] for s in seen]))
    print(f"early stopping at step {20 * stop}: test loss {seen[stop][2]:.3f}, at the end {seen[-1][2]:.3f}\n")

    parts = polynomials(range(1, 13), 20 if args.quick else 200)
    table(("degree", "bias²", "variance"), parts)

    def draw(figure) -> None:
        axes = figure.subplots(2, 3)
        for ax, (units, m) in zip(axes.flat, regions.items(), strict=False):
            gx, gy = np.meshgrid(np.linspace(-1.8, 2.8, 120), np.linspace(-1.4, 1.9, 90))
            with tg.no_grad():
                scores = m(tg.Tensor(np.stack([gx.ravel(), gy.ravel()], 1).astype(np.float32))).numpy()
            ax.contourf(
                gx, gy, (scores[:, 1] - scores[:, 0]).reshape(gx.shape), [-1e9, 0, 1e9], colors=["#cfe2f3", "#fce5cd"]
            )
            ax.scatter(*x.T, c=np.where(y, "#b45f06", "#0b5394"), s=8)
            ax.set(title=f"{units} hidden unit{'s' if units > 1 else ''}", xticks=[], yticks=[])
        early, curve = axes.flat[4], np.array(seen)
        early.semilogy(20 * np.arange(len(curve)), curve[:, 0], label="training")
        early.semilogy(20 * np.arange(len(curve)), curve[:, 1], label="validation")
        early.axvline(20 * stop, color="grey", linestyle=":", label="stop here")
        early.set(title="early stopping", xlabel="step", ylabel="loss, nats")
        early.legend(fontsize=7)
        both = axes.flat[5]
        both.semilogy(*zip(*[(p[0], p[1]) for p in parts], strict=True), label="bias²")
        both.semilogy(*zip(*[(p[0], p[2]) for p in parts], strict=True), label="variance")
        both.set(title="polynomials", xlabel="degree")
        both.legend(fontsize=7)

    picture(args, "capacity", draw, (10, 6))
    verdict(
        args,
        {
            "one unit is too few: 1.3 times the test error of ten": rows[0][2] > 1.3 * rows[2][2],
            "training error falls with size, to 0 at 300 units": rows[-1][1] == 0 and rows[0][1] > rows[1][1],
            "early stopping has the lower test loss": seen[stop][2] < 0.8 * seen[-1][2],
            "300 units for 60 points: test error within 6 points of the best size": (
                rows[-1][2] < min(r[2] for r in rows) + 6
            ),
            "bias falls and variance grows with the degree": parts[0][1] > 10 * parts[-1][1]
            and parts[0][2] < parts[-1][2] / 2,
        },
        started,
    )


if __name__ == "__main__":
    main()
