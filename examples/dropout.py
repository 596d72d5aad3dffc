"""Dropout: fewer errors from 10,000 digits, and its test-time rule, which with one hidden layer is exact.

1. A net of two hidden layers of 800 ReLUs, with and without dropout (0.2 of the inputs, 0.5 of the hidden units),
   trained until the validation error rises no more.
2. A small net with one hidden layer: the outputs' geometric mean over all 2ⁿ masks, normalized, is what one pass with
   the expected mask gives (the test-time rule). With two hidden layers it is not. All masks are enumerated.

Source: Hinton et al., "Improving neural networks by preventing co-adaptation of feature detectors", 2012.
"""

import itertools
import time

import numpy as np
from _evidence import decayed, errors, mnist, options, picture, table, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim


def net(drop: bool, generator: tg.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n, m, p in ((784, 800, 0.2), (800, 800, 0.5), (800, 10, 0.5)):
        if drop:
            layers.append(nn.Dropout(p, generator=generator))
        layers += [nn.Linear(n, m, generator=generator)] + ([nn.ReLU()] if m > 10 else [])
    return nn.Sequential(*layers)


def rule(hidden: tuple[int, ...], seed: int) -> float:
    """How far the expected mask's answer is from the normalized geometric mean over all masks."""
    random = np.random.default_rng(seed)
    sizes = (4, *hidden, 3)
    weights = [random.standard_normal((m, n)) for n, m in itertools.pairwise(sizes)]
    x = random.standard_normal(4)

    def answer(masks: list[np.ndarray]) -> tg.Tensor:
        h = tg.Tensor(x, dtype="float64")
        for i, w in enumerate(weights):
            if i:
                h = tg.maximum(h, 0.0) * tg.Tensor(masks[i - 1], dtype="float64")
            h = tg.Tensor(w, dtype="float64") @ h
        return tg.log_softmax(h)

    all_masks = itertools.product(*(list(itertools.product([0.0, 1.0], repeat=n)) for n in hidden))
    logs = np.mean([answer([np.array(m) for m in masks]).numpy() for masks in all_masks], axis=0)
    mean = np.exp(logs) / np.exp(logs).sum()
    return float(np.abs(mean - np.exp(answer([np.full(n, 0.5) for n in hidden]).numpy())).max())


def main() -> None:
    args = options(__doc__, seeds=3, epochs=40)
    started = time.perf_counter()
    exact, apart = (max(rule(hidden, s) for s in range(5)) for hidden in ((8,), (5, 5)))
    print(f"test-time rule: one hidden layer off by {exact:.1e} at most, two by {apart:.1e}\n")

    x, y, test_x, test_y = mnist(args, 12000)
    cut = len(x) * 5 // 6
    rows, curves = [], {}
    for seed in range(args.seeds):
        found = []
        for drop in (False, True):
            generator = tg.Generator(seed)
            model = net(drop, generator)
            optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            history = []
            for _ in decayed(model, x[:cut], y[:cut], args.epochs, optimizer, 0.95, seed, batch=100, clip=2.0):
                history.append((errors(model, x[cut:], y[cut:]), errors(model, test_x, test_y)))
            curves[f"{'dropout' if drop else 'plain'}, seed {seed}"] = [h[1] for h in history]
            found.append(min(history)[1])
        rows.append((seed, *found, 100 * (1 - found[1] / found[0])))
        table(("seed", "plain, %", "dropout, %", "fewer errors, %"), rows[-1:])
    without, with_dropout = (float(np.mean([r[i] for r in rows])) for i in (1, 2))
    print(f"means: {without:.3f} % and {with_dropout:.3f} %, {100 * (1 - with_dropout / without):.1f} % fewer errors")

    def draw(figure) -> None:
        axes = figure.subplots()
        for name, values in curves.items():
            axes.plot(range(1, len(values) + 1), values, "-" if "dropout" in name else "--", label=name)
        axes.set(xlabel="epoch", ylabel="test error, %", ylim=(1, 5), title="10,000 digits, with and without dropout")
        axes.legend(fontsize=8)

    picture(args, "dropout", draw)
    verdict(
        args,
        {
            "dropout makes at least 10 % fewer errors, in the mean over the seeds": with_dropout <= 0.9 * without,
            "with one hidden layer the test-time rule is the geometric mean, to 1e-12": exact < 1e-12,
            "with two it is not": apart > 1e-3,
        },
        started,
    )


if __name__ == "__main__":
    main()
