"""Logistic regression and a net with one hidden layer on MNIST: the figures of the Theano tutorials, 7.49 and 1.65 %.

The weights that a logistic regression learns for "0 or 1" are drawn: a template of each digit, as in the lecture.
Early stopping on 10,000 images that are not trained on chooses the epoch. Source: deeplearning.net's tutorials, 2013.
"""

import time

import numpy as np
from _evidence import decayed, errors, mnist, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim


def best(
    model: nn.Module, optimizer: optim.Optimizer, parts: dict, epochs: int, seed: int, decay: float, batch: int
) -> float:
    """The test error, in per cent, at the epoch with the least error on the validation images."""
    found = []
    for _ in decayed(model, *parts["train"], epochs, optimizer, decay, seed, batch=batch):
        found.append((errors(model, *parts["valid"]), errors(model, *parts["test"])))
    return min(found)[1]


def main() -> None:
    args = options(__doc__, seeds=1, epochs=50)
    started = time.perf_counter()
    x, y, test_x, test_y = mnist(args, 60000)
    cut = len(x) * 5 // 6
    parts = {"train": (x[:cut], y[:cut]), "valid": (x[cut:], y[cut:]), "test": (test_x, test_y)}
    rows = []
    for seed in range(args.seeds):
        generator = tg.Generator(seed)
        linear = nn.Linear(784, 10, generator=generator)
        logistic = best(linear, optim.Adam(linear.parameters(), lr=1e-3), parts, args.epochs, seed, 0.9, 100)
        net = nn.Sequential(
            nn.Linear(784, 500, generator=generator), nn.Tanh(), nn.Linear(500, 10, generator=generator)
        )
        decayed = [{"params": [p for p in net.parameters() if p.ndim == 2], "weight_decay": 2e-4},
                   {"params": [p for p in net.parameters() if p.ndim == 1]}]  # fmt: skip
        mlp = best(net, optim.SGD(decayed, lr=0.1, momentum=0.9), parts, args.epochs, seed, 0.95, 50)
        rows.append((seed, logistic, mlp))
    table(("seed", "logistic regression, %", "one hidden layer of 500, %"), rows)

    few = np.isin(y[:cut], (0, 1))
    pair = nn.Linear(784, 2, generator=tg.Generator(0))
    trained(pair, x[:cut][few], y[:cut][few], 3, optim.Adam(pair.parameters(), lr=1e-3, weight_decay=1e-3))
    two = np.isin(test_y, (0, 1))
    print(f'"0 or 1": {errors(pair, test_x[two], test_y[two]):.2f} % wrong')

    def draw(figure) -> None:
        for digit, axes in enumerate(figure.subplots(1, 2)):
            weights = pair.weight.numpy()[digit].reshape(28, 28)
            top = np.abs(weights).max()
            axes.imshow(weights, cmap="RdBu", vmin=-top, vmax=top)
            axes.set(title=f"weights towards {digit}", xticks=[], yticks=[])

    picture(args, "logistic_and_mlp", draw, (6, 3))
    verdict(
        args,
        {
            "logistic regression: at most 7.6 % wrong": max(r[1] for r in rows) <= 7.6,
            "one hidden layer: at most 1.8 % wrong": max(r[2] for r in rows) <= 1.8,
        },
        started,
    )


if __name__ == "__main__":
    main()
