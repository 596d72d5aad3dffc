"""Up–down fine-tuning of a deep belief net with labels: fewer errors and a higher bound than greedy learning gives.

A net of two directed layers under an associative memory of features and labels learns the digits layer by layer, by
contrastive divergence (CD-1). Then contrastive wake–sleep, "up–down", changes all of it at once. Before and after:
the test error, by the free energies of the memory with each label, and the variational bound on ln p(image, label) of
the binarized test images, with ln Z of the memory from annealed importance sampling. As a control the memory of a copy
goes on by CD-1 for as many epochs as up–down takes.

The published net has 500-500-2000 hidden units, 60,000 images, 300 epochs of up–down and 1.25 % errors:
--sizes 500-500-2000 --images 60000 --up-down 300 (many hours on two cores). The reduced form has
smaller layers and 10,000 images.

Source: Hinton, Osindero and Teh, "A fast learning algorithm for deep belief nets", 2006; lecture 2, "Topics:
variational bound" (fine-tuning is done by the up–down algorithm); lecture 0, "So what is it good for?".
"""

import copy
import time

import numpy as np
from _evidence import mnist, options, picture, table, verdict

from tinygrad_mlsp import energy, no_grad, optim
from tinygrad_mlsp.random import Generator
from tinygrad_mlsp.tensor import Tensor


def parameters(module, rate: float, decay: float = 2e-5) -> optim.SGD:
    """SGD with momentum, and a decay of the weights alone."""
    weights = [p for p in module.parameters() if p.ndim == 2]
    biases = [p for p in module.parameters() if p.ndim == 1]
    return optim.SGD([{"params": weights, "weight_decay": decay}, {"params": biases}], lr=rate, momentum=0.5)


def bound(net: energy.DBN, x: Tensor, y, args, generator: Generator) -> tuple[float, float, str]:
    """The mean bound on ln p(v, y), its standard error, and what is said of ln Z."""
    steps, chains = (30, 10) if args.quick else (args.temperatures, 100)
    seen = net.top_data(x, y)
    log_z = energy.annealed_importance_sampling(net.top, steps, chains, data=seen, generator=generator)
    with no_grad():
        values = net.bound(x, y, samples=5, log_partition=log_z.log_z, generator=generator).value.numpy()
    return float(values.mean()), float(values.std() / np.sqrt(len(values))), str(log_z)


def main() -> None:
    args = options(__doc__, images=10000, sizes="300-300-800", epochs=30, up_down=20, rate=0.1, fine=0.05, rounds=3,
                   temperatures=4000)  # fmt: skip
    started = time.perf_counter()
    epochs, fine = (1, 1) if args.quick else (args.epochs, args.up_down)
    sizes = [int(n) // (5 if args.quick else 1) for n in args.sizes.split("-")]
    x, y, test_x, test_y = mnist(args, args.images)
    binary, labels = Tensor((test_x[:1000] > 0.5).astype(np.float32)), test_y[:1000]
    held, rows, curves, drawn = Tensor(test_x), [], [], []

    for seed in range(args.seeds):
        generator = Generator(seed)

        def learn(rbm: energy.RBM, data: Tensor, more: bool = False, generator: Generator = generator) -> None:
            optimizer = parameters(rbm, args.rate, 2e-4)

            def settle(late: bool) -> None:
                for group in optimizer.param_groups:
                    group["momentum"], group["lr"] = (0.9, 0.2 * args.rate) if late else (0.5, args.rate)

            settle(more)
            energy.fit(
                rbm, data, optimizer, epochs=fine if more else epochs, generator=generator,
                callbacks=[lambda _, record: settle(more or len(record["reconstruction"]) >= 5)],
            )  # fmt: skip

        net = energy.DBN.greedy(784, sizes, x, y, labels=10, learn=learn, generator=generator)
        figures = []
        longer = copy.deepcopy(net)
        learn(longer.top, longer.top_data(Tensor(x), y), more=True)
        for stage in ("greedy", "greedy, longer", "up–down"):
            judged = longer if stage == "greedy, longer" else net
            if stage == "up–down":
                optimizer = parameters(net, args.fine)
                for epoch in range(fine):
                    for group in optimizer.param_groups:
                        group["lr"] = args.fine * (1 - epoch / fine)
                    rounds = args.rounds * (1 + 3 * epoch // fine)
                    order = generator.permutation(len(x))
                    for i in range(0, len(x), 100):
                        batch = order[i : i + 100]
                        optimizer.zero_grad()
                        energy.up_down(
                            net, Tensor(x[batch]), y[batch], steps=rounds, generator=generator
                        ).loss.backward()
                        optimizer.step()
                    error = 100 * float((net.classify(held).numpy() != test_y).mean())
                    curves.append((seed, epoch + 1, error))
            error = 100 * float((judged.classify(held).numpy() != test_y).mean())
            value, deviation, said = bound(judged, binary, labels, args, generator)
            print(f"seed {seed}, {stage}: {error:.2f} % errors; bound {value:.2f} ± {deviation:.2f}; {said}")
            figures += [error, value]
            if seed == 0 and judged is net:
                classes = np.repeat(np.arange(10), 2)
                steps = 10 if args.quick else 500
                drawn.append(net.sample(20, steps, labels=classes, generator=generator).numpy())
        rows.append((seed, *figures[::2], *figures[1::2], int(time.perf_counter() - started)))
    table(("seed", "greedy, %", "longer, %", "up–down, %", "bound, greedy", "longer", "up–down", "s"), rows)
    fewer = float(np.mean([r[1] - r[3] for r in rows]))
    higher = [r[6] - r[4] for r in rows]
    print(f"up–down: {fewer:.2f} points fewer errors, the bound higher by {np.mean(higher):.1f} nats")

    def draw(figure) -> None:
        top, middle, low = figure.subplots(3, 1, height_ratios=(2, 2, 3))
        for axes, images, name in ((top, drawn[0], "after greedy learning"), (middle, drawn[1], "after up–down")):
            grid = images.reshape(10, 2, 28, 28).transpose(1, 2, 0, 3).reshape(56, 280)
            axes.imshow(grid, cmap="gray_r", vmin=0, vmax=1)
            axes.set(title=f"fantasies of the classes 0 to 9, {name}", xticks=[], yticks=[])
        for seed in range(args.seeds):
            line = [c for c in curves if c[0] == seed]
            low.plot([0] + [c[1] for c in line], [rows[seed][1]] + [c[2] for c in line], label=f"seed {seed}")
        low.set(xlabel="epoch of up–down", ylabel="test error, %")
        low.legend()

    picture(args, "dbn_up_down", draw, (7, 7))
    verdict(
        args,
        {
            "up–down makes at least 0.3 points fewer errors than greedy learning": fewer >= 0.3,
            "up–down raises the bound": min(higher) > 0,
            "and more so than more epochs of the memory alone": all(r[3] < r[2] and r[6] > r[5] for r in rows),
        },
        started,
    )


if __name__ == "__main__":
    main()
