"""The ways of all optimizers on a saddle, in a valley and under noise, as a picture and an animation.

    python examples/optimizer_trajectories.py [--out FOLDER] [--quick]

Lecture 000 shows such animations (Alec Radford's) to the question "What difference does it make?". Here each of the
package's optimizers starts at the same point: beside a saddle x² − y² + y⁴, in Beale's long valley, and in a ravine
whose gradient has noise in it, as that of small batches has. Crosses mark where they end, a star the minima, a plus
the saddle points.
Written are optimizer_trajectories.png and optimizer_trajectories.gif.
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_mlsp as tg
from tinygrad_mlsp import optim, viz

FIRST = {  # method: its rate on each surface
    "sgd": (0.05, 0.01, 0.02), "momentum": (0.03, 0.002, 0.005), "nesterov": (0.03, 0.002, 0.005),
    "delta-bar-delta": (0.01, 0.005, 0.01), "adagrad": (0.1, 0.3, 0.3), "rmsprop": (0.02, 0.02, 0.03),
    "adadelta": (5.0, 10.0, 10.0), "adam": (0.05, 0.05, 0.06), "nadam": (0.03, 0.03, 0.03),
    "radam": (0.05, 0.02, 0.02), "lion": (0.01, 0.015, 0.02), "rprop": (0.02, 0.02, 0.02),
}  # fmt: skip
SECOND = ("cg-fr", "cg", "bfgs", "l-bfgs", "newton", "newton-damped", "hessian-free")
STYLES = ("-", "--", ":")


def saddle(p):
    return p[0] ** 2 - p[1] ** 2 + p[1] ** 4


def beale(p):
    x, y = p[0], p[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def beale_residuals(p):
    x, y = p[0], p[1]
    return tg.stack([1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3])


def ravine(p):
    return 0.5 * p[0] ** 2 + 10 * (p[1] - 0.2 * p[0] ** 2) ** 2


def noisy(f, strength=1.5, seed=0):
    """f with a random slope, another one at each evaluation."""
    draw = np.random.default_rng(seed)
    return lambda p: f(p) + (p * (strength * draw.standard_normal(2))).sum()


# title, what is drawn, what is minimized (made anew for each method), residuals, start, window
SURFACES = [
    ("Saddle: x² − y² + y⁴", saddle, lambda: saddle, None, (-1.0, 0.01), ((-1.2, 0.8), (-1.0, 1.2))),
    ("Valley: Beale", beale, lambda: beale, beale_residuals, (0.7, 1.4), ((-0.4, 4.4), (-1.2, 1.8))),
    ("Ravine, gradient with noise", ravine, lambda: noisy(ravine), None, (-2.2, 0.1),
     ((-2.6, 1.4), (-0.9, 1.9))),
]  # fmt: skip


def ways(steps):
    """For each surface, each method's points."""
    found = []
    for i, (_, _, make, residuals, start, _) in enumerate(SURFACES):
        rows = [{}, {}]
        for method, rates in FIRST.items():
            rows[0][method] = optim.minimize(make(), [*start], method, max_iter=steps, lr=rates[i]).trajectory
        for method in SECOND:
            if method != "hessian-free":
                rows[1][method] = optim.minimize(make(), [*start], method, max_iter=steps // 4).trajectory
            elif residuals is not None:
                square = lambda r: (r * r).sum()
                rows[1][method] = optim.minimize(
                    residuals, [*start], method, max_iter=steps // 4, loss=square
                ).trajectory
        found.append([{name: np.array(points) for name, points in row.items()} for row in rows])
    return found


def draw(figure, found):
    """The surfaces with all ways; returns a function that shows the ways up to a share of their steps."""
    import matplotlib

    grid = figure.subplots(2, len(SURFACES))
    colors = matplotlib.colormaps["tab10"]
    shown, handles = [], [{}, {}]
    for column, (title, f, _, _, start, window) in enumerate(SURFACES):
        marks = viz.critical_points(f, window)
        for row in range(2):
            axes = viz.landscape(f, window, critical=marks, axes=grid[row][column])
            axes.set(xlabel="x" if row else "", ylabel="" if column else "y")
            axes.set_title(f"{title}, {('first', 'second')[row]} order", fontsize=10)
            axes.plot(*start, "o", color="black", markersize=5, zorder=5)
            names = list(FIRST) if row == 0 else list(SECOND)
            for name, points in found[column][row].items():
                at = names.index(name)
                style = {"color": colors(at % 10), "linestyle": STYLES[at // 10], "linewidth": 1.4}
                (line,) = axes.plot(*points.T, **style, label=name, alpha=0.9)
                (end,) = axes.plot(
                    *points[-1], "X", color=style["color"], markeredgecolor="white", markersize=8, zorder=7
                )
                shown.append((points, line, end))
                handles[row].setdefault(name, line)
    for row in range(2):
        grid[row][-1].legend(
            handles[row].values(), handles[row].keys(), loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=9
        )

    def until(step):
        for points, line, end in shown:
            part = points[: step + 1]
            line.set_data(*part.T)
            end.set_data([part[-1][0]], [part[-1][1]])

    return until


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=".", help="folder for the picture and the animation")
    parser.add_argument("--quick", action="store_true", help="few steps and frames, to see that it runs")
    args = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.figure import Figure

    steps = 40 if args.quick else 160
    found = ways(steps)
    for (title, f, *_), rows in zip(SURFACES, found, strict=True):
        print(title)
        for name, points in {**rows[0], **rows[1]}.items():
            print(f"  {name:16} {len(points) - 1:4} steps, f = {f(points[-1]):.3g}")
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(14, 8), layout="constrained")
    until = draw(figure, found)
    figure.savefig(folder / "optimizer_trajectories.png", dpi=110)
    figure.set_dpi(50)
    figure.canvas.draw()
    figure.set_layout_engine("none")
    frames = [*range(0, 20), *range(20, steps, 20 if args.quick else 5), *[steps] * 6]
    moving = FuncAnimation(figure, until, frames=frames, interval=100)
    moving.save(folder / "optimizer_trajectories.gif", writer=PillowWriter(fps=10), dpi=50)
    print("drawn:", folder / "optimizer_trajectories.png", "and", folder / "optimizer_trajectories.gif")


if __name__ == "__main__":
    main()
