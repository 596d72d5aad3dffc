"""Plain nets get worse with depth, residual nets do not; highway nets train at 56 layers; residual nets at 200.

Fully connected nets on 5,000 digits of MNIST, batch norm in all but the highway net, one optimizer.
Sources: He et al., "Deep residual learning", 2016; Srivastava et al., "Training very deep networks", 2015.
"""

import time

from _evidence import loss_of, mnist, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, optim

NETS = [  # name, kind, depth, rate
    ("plain-20", "batchnorm", 20, 0.02),
    ("plain-56", "batchnorm", 56, 0.02),
    ("residual-20", "residual", 20, 0.02),
    ("residual-56", "residual", 56, 0.02),
    ("residual-100", "residual", 100, 0.02),
    ("residual-200", "residual", 200, 0.02),
    ("plain-56, no norm", "relu", 56, 0.1),
    ("highway-56", "highway", 56, 0.1),
]


def main() -> None:
    args = options(__doc__, seeds=3, epochs=15)
    started = time.perf_counter()
    x, y, test_x, test_y = mnist(args, 5000)
    curves: dict[str, list[float]] = {}
    final: dict[str, float] = {}
    rows = []
    for name, kind, depth, rate in NETS:
        losses = []
        for seed in range(args.seeds):
            generator = tg.Generator(seed)
            net = models.DeepNet(kind, 784, 10, width=64, depth=depth, generator=generator)
            optimizer = optim.SGD(net.parameters(), lr=rate, momentum=0.9)
            history = trained(net, x, y, args.epochs, optimizer, seed=seed, clip=1.0)
            losses.append(loss_of(net, x, y))
            curves.setdefault(name, history.loss)
        final[name] = sum(losses) / len(losses)
        rows.append((name, final[name], loss_of(net, test_x, test_y)))
        table(("net", "training NLL", "test NLL"), rows[-1:])
    print()
    table(("net", "training NLL", "test NLL"), rows)

    def draw(figure) -> None:
        axes = figure.subplots()
        for name, losses in curves.items():
            style = "--" if name.startswith("plain") else "-"
            axes.semilogy(range(1, len(losses) + 1), losses, style, label=name)
        axes.set(xlabel="epoch", ylabel="training loss, nats", title="Depth: plain nets degrade, residual nets do not")
        axes.legend(fontsize=8)

    picture(args, "residual_and_plain", draw)
    verdict(
        args,
        {
            "plain-56 is more than 5 times as bad as plain-20": final["plain-56"] > 5 * final["plain-20"],
            "residual-56 is better than plain-20": final["residual-56"] < final["plain-20"],
            "residual-100 and residual-200 train: both better than plain-20": (
                max(final["residual-100"], final["residual-200"]) < final["plain-20"]
            ),
            "highway-56 ≤ 0.3 where plain-56 without norm ≥ 1.5": (
                final["highway-56"] <= 0.3 and final["plain-56, no norm"] >= 1.5
            ),
        },
        started,
    )


if __name__ == "__main__":
    main()
