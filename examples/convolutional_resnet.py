"""A convolutional residual net against the plain net of the same depth, on 2,000 digits.

ResNet-n has n = 6k + 2 layers, three stages of k blocks; the plain net is the same without the shortcuts.
Source: He et al., "Deep residual learning for image recognition", 2016.
"""

import time

from _evidence import errors, loss_of, mnist, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, optim


def main() -> None:
    args = options(__doc__, seeds=1, epochs=6, depth=32)
    started = time.perf_counter()
    x, y, test_x, test_y = mnist(args, 2000, (1, 28, 28))
    test_x, test_y = test_x[:2000, :, ::2, ::2].copy(), test_y[:2000]
    x = x[:, :, ::2, ::2].copy()  # 14 × 14, for the sake of time
    rows, curves, final = [], {}, {}
    for depth in (8, args.depth):
        for residual in (False, True):
            name = f"{'residual' if residual else 'plain'}-{depth}"
            net = models.ResNet(depth, 1, 10, widths=(8, 16, 32), residual=residual, generator=tg.Generator(0))
            optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
            curves[name] = trained(net, x, y, args.epochs, optimizer, batch=64, clip=1.0).loss
            final[name] = loss_of(net, x, y, 500)
            rows.append((name, final[name], errors(net, test_x, test_y)))
            table(("net", "training NLL", "test error, %"), rows[-1:])
    print()
    table(("net", "training NLL", "test error, %"), rows)

    def draw(figure) -> None:
        axes = figure.subplots()
        for name, losses in curves.items():
            axes.semilogy(range(1, len(losses) + 1), losses, "--" if name.startswith("plain") else "-", label=name)
        axes.set(xlabel="epoch", ylabel="training loss, nats", title="Convolutional nets, with and without shortcuts")
        axes.legend()

    picture(args, "convolutional_resnet", draw)
    verdict(
        args,
        {
            f"residual-{args.depth} trains better than plain-{args.depth}": (
                final[f"residual-{args.depth}"] < final[f"plain-{args.depth}"]
            ),
            f"depth costs the plain net more: plain-{args.depth} is worse than plain-8": (
                final[f"plain-{args.depth}"] > final["plain-8"]
            ),
        },
        started,
    )


if __name__ == "__main__":
    main()
