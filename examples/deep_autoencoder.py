"""A deep autoencoder beats PCA, if its layers are trained as RBMs first; and what a better optimizer does without that.

1. PCA to 30 numbers, fit on all 60,000 digits: the squared error summed over pixels, in the mean over the test digits,
   is 13.87, as published.
2. 784-500-250-100-30 and back, sigmoid units and a linear code, on 10,000 digits: RBMs trained one after the other by
   CD-1, unrolled, 12 epochs of Adam on the cross-entropy; and the same net from random (Glorot) weights. Published, for
   784-1000-500-250-30 on 60,000: 3.00. --full takes that net, all digits, and epochs as in the paper (hours).
3. A smaller net from Martens' sparse random start, on 500 digits: Hessian-free against L-BFGS and gradient descent with
   momentum, all on the whole batch with as many passes through it, by the training error; the lecture names it as the
   other way out of underfitting. (Batches of 100 with Adam, five updates a pass, are shown beside them.)

Source: Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", 2006; Martens, "Deep
learning via Hessian-free optimization", 2010; lecture 2, "Deep autoencoder".
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _evidence import mnist, options, picture, table, verdict
from _greedy import cd1

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, energy, models, nn, optim
from tinygrad_mlsp.nn.functional import binary_cross_entropy_with_logits
from tinygrad_mlsp.viz import pictures


def pca(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the first k principal axes."""
    mean = x.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh((x - mean).T @ (x - mean))
    return mean, vectors[:, : -k - 1 : -1]


def pca_error(x: np.ndarray, mean: np.ndarray, axes: np.ndarray) -> float:
    rest = (x - mean) - (x - mean) @ axes @ axes.T
    return float((rest * rest).sum(axis=1).mean())


def rebuilt(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with tg.no_grad():
        return np.concatenate([model(tg.Tensor(x[i : i + 1000])).numpy() for i in range(0, len(x), 1000)])


def error(model: nn.Module, x: np.ndarray) -> float:
    """Squared error summed over pixels, the mean over the digits."""
    return float(((rebuilt(model, x) - x) ** 2).sum(axis=1).mean())


def pretrained(x: np.ndarray, sizes: list[int], epochs: int, seed: int) -> models.Autoencoder:
    generator = tg.Generator(seed)
    units = [*sizes[1:-1], energy.Gaussian(sizes[-1])]
    stack = [energy.RBM(n, m, generator=generator) for n, m in zip(sizes, units, strict=False)]
    return models.unroll(models.greedy_pretrain(x, stack, cd1(epochs, generator, lr=0.05)).greedy)


def tuned(model: models.Autoencoder, x: np.ndarray, test: np.ndarray, epochs: int, seed: int) -> list[float]:
    """The test error before, and after every epoch."""
    optimizer, generator, found = optim.Adam(model.parameters()), tg.Generator(1000 + seed), [error(model, test)]
    for _ in range(epochs):
        model.fit(x, 1, optimizer=optimizer, generator=generator)
        found.append(error(model, test))
    return found


def sparse_start(sizes: list[int], seed: int) -> models.DeepAutoencoder:
    """15 weights N(0, 1) a unit, the others 0."""
    generator = tg.Generator(seed)
    model = models.DeepAutoencoder(sizes, code=nn.Identity, generator=generator)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.sparse_(layer.weight, max(0.0, 1 - 15 / layer.in_features), 1.0, generator)
    return model


def second_order(x: np.ndarray, sizes: list[int], passes: int, seed: int) -> dict[str, list[tuple[float, float]]]:
    """(passes through the data, training error) on the way, for each optimizer

    A pass is a forward and a backward one, of all the data; so is a Gauss–Newton product; a loss alone is a third.
    """
    whole = tg.Tensor(x)

    def loss(z: tg.Tensor) -> tg.Tensor:
        return binary_cross_entropy_with_logits(z, whole, reduction="sum") * (1 / len(x))

    def course(make: Callable[[Any], optim.Optimizer]) -> list[tuple[float, float]]:
        model, used = sparse_start(sizes, seed), 0.0
        optimizer, found = make(model.parameters()), [(0.0, error(model, x))]

        def closure() -> tg.Tensor:
            nonlocal used
            used += 1
            optimizer.zero_grad()
            value = loss(model.decoder(model.encode(whole)))
            value.backward()
            return value

        while used < passes:
            if isinstance(optimizer, optim.HessianFree):
                optimizer.step(lambda: model.decoder(model.encode(whole)), loss)
                state = optimizer.state_dict()["state"][0]
                used = state["cg_iterations"] + state["n_iter"] + state["func_evals"] / 3
            else:
                optimizer.step(closure)
            if used - found[-1][0] >= passes / 20 or used >= passes:
                found.append((used, error(model, x)))
        return found

    courses = {
        "Hessian-free": course(lambda p: optim.HessianFree(p, max_cg=100)),
        "L-BFGS": course(lambda p: optim.LBFGS(p, max_iter=1, line_search_fn="strong_wolfe")),
        "gradient descent, momentum 0.9": course(lambda p: optim.SGD(p, lr=0.01, momentum=0.9)),
    }
    model = sparse_start(sizes, seed)
    optimizer, found = optim.Adam(model.parameters()), [(0.0, error(model, x))]
    for done in range(0, passes, max(1, passes // 20)):
        model.fit(x, max(1, passes // 20), optimizer=optimizer, generator=tg.Generator(done))
        found.append((float(done + max(1, passes // 20)), error(model, x)))
    return {**courses, "Adam, batches of 100": found}


def main() -> None:
    args = options(__doc__, seeds=2, epochs=0, full=0, hf_passes=1500)
    started = time.perf_counter()
    full = bool(args.full)
    x, _, test, test_y = mnist(args, 60000 if full else 10000)
    every = data.mnist(args.data).train_x.reshape(-1, 784)
    if args.quick:
        every = x
    mean, axes = pca(every, 30)
    of_pca = pca_error(test, mean, axes)
    print(f"PCA to 30 numbers, of {len(every):,} digits: {of_pca:.3f} (the mean digit alone: "
          f"{float(((test - mean) ** 2).sum(axis=1).mean()):.2f})\n")  # fmt: skip

    sizes = [784, 1000, 500, 250, 30] if full else [784, 500, 250, 100, 30]
    epochs = args.epochs or (2 if args.quick else 200 if full else 12)
    rows, curves, best = [], {}, None
    for seed in range(args.seeds):
        start = time.perf_counter()
        deep = pretrained(x, sizes, 1 if args.quick else 50 if full else 5, seed)
        curves[f"RBMs first, seed {seed}"] = tuned(deep, x, test, epochs, seed)
        between = time.perf_counter()
        random = models.DeepAutoencoder(sizes, code=nn.Identity, generator=tg.Generator(seed))
        curves[f"random start, seed {seed}"] = tuned(random, x, test, epochs, seed)
        best = best or deep
        first, second = (curves[f"{name}, seed {seed}"] for name in ("RBMs first", "random start"))
        rows.append((seed, first[0], first[-1], between - start, second[-1], time.perf_counter() - between))
        table(("seed", "RBMs unrolled", "fine-tuned", "s", "random start", "s"), rows[-1:])

    small = [784, 50, 10] if args.quick else [784, 100, 50, 25, 6]
    found = second_order(x[:500], small, 20 if args.quick else args.hf_passes, 0)
    print("\n" + "-".join(map(str, small)) + " from a sparse random start, error on 500 training digits:")
    table(("optimizer", "passes", "error"), [(n, *course[-1]) for n, course in found.items()])
    whole = min(found[name][-1][1] for name in ("L-BFGS", "gradient descent, momentum 0.9"))

    def draw(figure) -> None:
        upper, below = figure.subfigures(2, 1, height_ratios=(3, 2))
        above, beside = upper.subplots(1, 2)
        below = below.subplots()
        for name, values in found.items():
            beside.semilogy([v[0] for v in values], [v[1] for v in values], "--" if "Adam" in name else "-", label=name)
        beside.set(xlabel="passes through the data", ylabel="squared error, training", title="-".join(map(str, small)))
        beside.legend(fontsize=8)
        which = [int(np.flatnonzero(test_y == c)[0]) for c in range(10)]
        shown = test[which]
        centred = (shown - mean) @ axes @ axes.T + mean
        pictures.reconstructions(shown, {"deep": rebuilt(best, shown), "PCA": centred}, axes=below)
        for name, values in curves.items():
            above.semilogy(range(len(values)), values, "-" if "RBM" in name else "--", label=name)
        above.axhline(of_pca, color="black", linewidth=1, label="PCA")
        above.set(xlabel="epoch", ylabel="squared error, test", title="30 numbers a digit")
        above.legend(fontsize=8)

    picture(args, "deep_autoencoder", draw, (10, 7))
    tuned_error, random_error = (float(np.mean([r[i] for r in rows])) for i in (2, 4))
    verdict(
        args,
        {
            "PCA to 30 numbers leaves 13.87 ± 0.01": abs(of_pca - 13.87) <= 0.01,
            f"RBMs first, then fine-tuned: below PCA's ({tuned_error:.2f})": max(r[2] for r in rows) < of_pca,
            f"from a random start: more than twice that ({random_error:.2f})": all(r[4] > 2 * r[2] for r in rows),
            "Hessian-free ends below the other methods of the whole batch at as many passes":
                found["Hessian-free"][-1][1] < whole,
            **({"full size: at most 3.5": max(r[2] for r in rows) <= 3.5} if full else {}),
        },
        started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
