"""Which layers of AlexNet matter? Take some away, and train again: depth does, not one layer alone.

A small AlexNet (five convolutions, three linear layers) on 10,000 digits, whole and with layers left out, as in the
lecture's table: without layer 7; without 6 and 7; without the convolutions 3 and 4; without 3, 4, 6 and 7.
Source: Krizhevsky, Sutskever and Hinton, 2012; Zeiler and Fergus, "Visualizing and understanding", 2014; lecture 3.
"""

import time

import numpy as np
from _evidence import errors, mnist, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, optim

LEFT_OUT = {"whole": (), "no 7": (7,), "no 6, 7": (6, 7), "no 3, 4": (3, 4), "no 3, 4, 6, 7": (3, 4, 6, 7)}


def main() -> None:
    args = options(__doc__, seeds=1, epochs=4, width=8, hidden=128)
    started = time.perf_counter()
    x, y, test_x, test_y = mnist(args, 10000, (1, 28, 28))
    rows = []
    for name, left_out in LEFT_OUT.items():
        wrong = []
        for seed in range(args.seeds):
            net = models.AlexNet(
                1, 10, 28, remove=left_out, width=args.width, hidden=args.hidden, generator=tg.Generator(seed)
            )
            trained(net, x, y, args.epochs, optim.Adam(net.parameters(), lr=1e-3), batch=64, seed=seed)
            wrong.append(errors(net, test_x, test_y))
        rows.append((name, sum(p.size for p in net.parameters()), float(np.mean(wrong))))
        table(("net", "parameters", "test error, %"), rows[-1:])
    print()
    table(("net", "parameters", "test error, %"), rows)
    found = {name: wrong for name, _, wrong in rows}

    def draw(figure) -> None:
        axes = figure.subplots()
        axes.bar_label(axes.bar([r[0] for r in rows], [r[2] for r in rows]), fmt="%.2f")
        axes.set(ylabel="test error, %", title="AlexNet with layers left out")

    picture(args, "alexnet_ablation", draw)
    verdict(
        args,
        {
            "one linear layer less costs little: within a point": abs(found["no 7"] - found["whole"]) < 1,
            "four layers less cost the most": max(found.values()) == found["no 3, 4, 6, 7"],
        },
        started,
    )


if __name__ == "__main__":
    main()
