"""Which layers of AlexNet matter? Take some away, and train again: depth does, not one layer alone.

A small AlexNet (five convolutions, three linear layers) and the same with layers left out, as in the lecture's table:
without layer 7; without 6 and 7; without the convolutions 3 and 4; without 3, 4, 6 and 7. The lecture's figures, for
ImageNet: 1.1 points worse without layer 7, 33.5 without all four.

A net for which depth is to matter must find its task hard: here the digits are turned by any angle, the first layer has
four filters, and nothing is dropped out. On upright digits, with eight filters and half of the units dropped out, after
four epochs of 10,000, it does not matter: 4.8 % wrong whole, 3.3 without 6 and 7, 7.0 without 3 and 4, 4.2 without all.
The other way, with two filters, layer 7 alone already cost 8 points with one seed. The regime was chosen between.
Source: Krizhevsky, Sutskever and Hinton, 2012; Zeiler and Fergus, "Visualizing and understanding", 2014, table 3;
lecture 3.
"""

import time

import numpy as np
from _evidence import errors, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, models, optim

LEFT_OUT = {"whole": (), "no 7": (7,), "no 6, 7": (6, 7), "no 3, 4": (3, 4), "no 3, 4, 6, 7": (3, 4, 6, 7)}


def main() -> None:
    args = options(__doc__, seeds=3, images=16000, epochs=6, width=4, hidden=64, dropout=0.0)
    started = time.perf_counter()
    n, tests = (args.images // 10, 1000) if args.quick else (args.images, 10000)
    turned = data.generate.mnist_rot(n, 10, tests, flatten=False, digits=data.mnist(args.data))
    x, test_x = turned.train_x[:, None], turned.test_x[:, None]
    rows, found = [], {}
    for name, left_out in LEFT_OUT.items():
        wrong = []
        for seed in range(args.seeds):
            net = models.AlexNet(
                1, 10, 28, remove=left_out, width=args.width, hidden=args.hidden, dropout=args.dropout,
                generator=tg.Generator(seed),
            )  # fmt: skip
            adam = optim.Adam(net.parameters(), lr=3e-3)
            trained(net, x, turned.train_y, args.epochs, adam, batch=64, seed=seed, clip=1.0, cosine=True)
            wrong.append(errors(net, test_x, turned.test_y))
        found[name] = float(np.mean(wrong))
        rows.append((name, sum(p.size for p in net.parameters()), *wrong, found[name], found[name] - found["whole"]))
    table(("net", "parameters", *(f"seed {s}, %" for s in range(args.seeds)), "mean test error, %", "more"), rows)

    def draw(figure) -> None:
        axes = figure.subplots()
        axes.bar_label(axes.bar(list(found), list(found.values())), fmt="%.1f")
        axes.set(ylabel="test error, %", title="AlexNet with layers left out, on turned digits")

    picture(args, "alexnet_ablation", draw)
    more = {name: wrong - found["whole"] for name, wrong in found.items()}
    verdict(
        args,
        {
            "one linear layer less costs little: within a point": abs(more["no 7"]) < 1,
            "two convolutions less cost more than two linear layers less": more["no 3, 4"] > more["no 6, 7"],
            "four layers less cost the most, for every seed": all(
                max(column) == column[-1] for column in list(zip(*rows, strict=True))[2:-2]
            ),
            "and more than the two pairs' losses together: it is depth": (
                more["no 3, 4, 6, 7"] > max(0, more["no 6, 7"]) + more["no 3, 4"]
            ),
        },
        started,
    )


if __name__ == "__main__":
    main()
