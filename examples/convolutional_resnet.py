"""A convolutional residual net against the plain net of the same depth, on 2,000 digits, over three seeds.

ResNet-n has n = 6k + 2 layers, three stages of k blocks; the plain net is the same without the shortcuts.
Source: He et al., "Deep residual learning for image recognition", 2016.
"""

import time

import numpy as np
from _evidence import errors, loss_of, mnist, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, optim


def main() -> None:
    args = options(__doc__, seeds=3, epochs=6, depth=32)
    started = time.perf_counter()
    x, y, test_x, test_y = mnist(args, 2000, (1, 28, 28))
    test_x, test_y = test_x[:2000, :, ::2, ::2].copy(), test_y[:2000]
    x = x[:, :, ::2, ::2].copy()  # 14 × 14, for the sake of time
    rows, curves, final = [], {}, {}
    for depth in (8, args.depth):
        for residual in (False, True):
            name, loss, wrong = f"{'residual' if residual else 'plain'}-{depth}", [], []
            curves[name] = []
            for seed in range(args.seeds):
                generator = tg.Generator(seed)
                net = models.ResNet(depth, 1, 10, widths=(8, 16, 32), residual=residual, generator=generator)
                optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
                curves[name].append(trained(net, x, y, args.epochs, optimizer, 64, seed, clip=1.0).loss)
                loss.append(loss_of(net, x, y, 500))
                wrong.append(errors(net, test_x, test_y))
            final[name] = loss
            rows.append((name, *loss, float(np.mean(wrong))))
    table(("net", *(f"training NLL, seed {seed}" for seed in range(args.seeds)), "test error, %"), rows)

    def draw(figure) -> None:
        axes = figure.subplots()
        for number, (name, losses) in enumerate(curves.items()):
            style = {"linestyle": "--" if name.startswith("plain") else "-", "color": f"C{number}"}
            for seed, one in enumerate(losses):
                axes.semilogy(range(1, len(one) + 1), one, label=None if seed else name, **style)
        axes.set(xlabel="epoch", ylabel="training loss, nats", title="Convolutional nets, with and without shortcuts")
        axes.legend()

    picture(args, "convolutional_resnet", draw)
    verdict(
        args,
        {
            f"residual-{args.depth} trains better than plain-{args.depth}": (
                max(final[f"residual-{args.depth}"]) < min(final[f"plain-{args.depth}"])
            ),
            f"depth costs the plain net more: plain-{args.depth} is worse than plain-8": (
                min(final[f"plain-{args.depth}"]) > max(final["plain-8"])
            ),
        },
        started,
    )


if __name__ == "__main__":
    main()
