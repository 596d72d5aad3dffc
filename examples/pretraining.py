"""Greedy pre-training helps deep sigmoid nets.

Four layers of 400 sigmoid units and a softmax, 10,000 digits, SGD at the rate 0.1 for 40 epochs: from RBMs trained one
after the other (CD-1), from denoising autoencoders, and from random weights: Glorot's, those times 4 (right for the
sigmoid), and U(±1/√fan-in), the common small start, which never gets off. Then the first and the third with dropout, of
which 40 epochs are too few to see more than that it goes together with pre-training. --depths 1 adds one to four layers
from RBMs, autoencoders and random weights, --widths 1 hidden layers of 50 to 800 units from each (minutes more).

Published for depth 4 on MNIST-small: 4.47 % from random weights, 3.39 % from autoencoders, 2.72 % from RBMs.

Source: Larochelle et al., "An empirical evaluation of deep architectures", 2007; Erhan et al., "Why does unsupervised
pre-training help deep learning?", 2010; lecture 2, "Impact of initialization".
"""

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from _evidence import errors, mnist, options, picture, table, trained, verdict
from _greedy import cd1

import tinygrad_mlsp as tg
from tinygrad_mlsp import energy, models, nn, optim

Net = nn.Sequential


def rbms(x: np.ndarray, depth: int, epochs: int, seed: int, width: int = 400) -> Net:
    generator = tg.Generator(seed)
    widths = [x.shape[1], *[width] * depth]
    stack = [energy.RBM(n, m, generator=generator) for n, m in pairwise(widths)]
    return models.greedy_pretrain(x, stack, cd1(epochs, generator), output=10, generator=generator)


def denoisers(x: np.ndarray, depth: int, epochs: int, seed: int, width: int = 400) -> Net:
    generator = tg.Generator(seed)
    make = lambda n: models.DenoisingAutoencoder([n, width], 0.25, generator=generator)
    train = lambda module, h: module.fit(h, epochs, generator=generator)
    return models.greedy_pretrain(x, [make] * depth, train, output=10, generator=generator)


def random(depth: int, gain: float | None, seed: int, width: int = 400) -> Net:
    """Glorot's weights times the gain and no biases, or, without, U(±1/√fan-in)."""
    generator = tg.Generator(seed)
    net = models.MLP([784, *[width] * depth, 10], nn.Sigmoid, generator=generator)
    for layer in net:
        if isinstance(layer, nn.Linear) and gain is not None:
            nn.init.xavier_uniform_(layer.weight, gain if layer.out_features > 10 else 1.0, generator=generator)
            nn.init.zeros_(layer.bias)
    return net


def dropped(net: Net, generator: tg.Generator) -> Net:
    """The same net with dropout: 0.2 of the inputs, 0.5 of the hidden units; weights grow so that means stay."""
    layers: list[nn.Module] = [nn.Dropout(0.2, generator=generator)]
    for layer in net:
        layers.append(layer)
        if isinstance(layer, nn.Sigmoid):
            layers.append(nn.Dropout(0.5, generator=generator))
    return nn.Sequential(*layers)


def course(net: Net, x, y, test_x, test_y, epochs: int, batch: int, seed: int) -> list[float]:
    """The test error after every epoch (every few)."""
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    found = []
    for epoch in range(epochs):
        trained(net, x, y, 1, optimizer, batch=batch, seed=1000 * seed + epoch)
        if epoch % 5 == 4 or epoch + 1 == epochs:
            found.append(errors(net, test_x, test_y))
    return found


def main() -> None:
    args = options(__doc__, seeds=2, epochs=40, batch=20, pretraining=10, depths=0, widths=0, dropout=1)
    started = time.perf_counter()
    x, y, test_x, test_y = mnist(args, 10000)
    epochs, before = (2, 1) if args.quick else (args.epochs, args.pretraining)
    starts: dict[str, Callable[[int], Net]] = {
        "RBMs": lambda seed: rbms(x, 4, before, seed),
        "denoising autoencoders": lambda seed: denoisers(x, 4, before, seed),
        "random, 4 × Glorot": lambda seed: random(4, 4.0, seed),
        "random, Glorot": lambda seed: random(4, 1.0, seed),
        "random, 1/√fan-in": lambda seed: random(4, None, seed),
    }
    if args.dropout:
        starts["RBMs, dropout"] = lambda seed: dropped(rbms(x, 4, before, seed), tg.Generator(seed + 500))
        starts["random, 4 × Glorot, dropout"] = lambda seed: dropped(random(4, 4.0, seed), tg.Generator(seed + 500))
    curves: dict[str, list[list[float]]] = {name: [] for name in starts}
    for name, make in starts.items():
        for seed in range(1 if name in ("random, Glorot", "random, 1/√fan-in") and not args.quick else args.seeds):
            start = time.perf_counter()
            net = make(seed)
            between = time.perf_counter()
            curves[name].append(course(net, x, y, test_x, test_y, epochs, args.batch, seed))
            table(
                ("start", "seed", "test error, %", "pre-training, s", "training, s"),
                [(name, seed, curves[name][-1][-1], between - start, time.perf_counter() - between)],
            )
    last = {name: float(np.mean([c[-1] for c in many])) for name, many in curves.items()}

    kinds: dict[str, Callable[[int, int], Net]] = {
        "RBMs": lambda depth, width: rbms(x, depth, before, 0, width),
        "autoencoders": lambda depth, width: denoisers(x, depth, before, 0, width),
        "random": lambda depth, width: random(depth, 4.0, 0, width),
    }
    shapes = {"hidden layers": [(d, 400) for d in range(1, 5)] if args.depths else [],
              "units in each of two": [(2, w) for w in (50, 100, 200, 400, 800)] if args.widths else []}  # fmt: skip
    studies: dict[str, dict[str, list[float]]] = {
        what: {kind: [] for kind in kinds} for what, tried in shapes.items() if tried
    }
    for what, of_kinds in studies.items():
        for shape in shapes[what]:
            for kind, found in of_kinds.items():
                found.append(course(kinds[kind](*shape), x, y, test_x, test_y, epochs, args.batch, 0)[-1])
            print(f"{shape[0]} × {shape[1]}: " + ", ".join(f"{k} {v[-1]:.2f}" for k, v in of_kinds.items()) + " %")

    def draw(figure) -> None:
        left, *rest = np.ravel(figure.subplots(1, 1 + len(studies)))
        for name, many in curves.items():
            for values in many:
                at = [min(5 * (i + 1), epochs) for i in range(len(values))]
                (line,) = left.plot(at, values, "--" if "random" in name else "-")
                line.set_color(f"C{[*curves].index(name)}")
            line.set_label(name)
        left.set(xlabel="epoch", ylabel="test error, %", ylim=(2, 12), title="4 × 400 sigmoid units, 10,000 digits")
        left.legend(fontsize=7, loc="upper right")
        for axes, (what, of_kinds) in zip(rest, studies.items(), strict=True):
            at = [depth if what == "hidden layers" else width for depth, width in shapes[what]]
            for kind, values in of_kinds.items():
                axes.plot(at, values, "o-", label=kind)
            axes.set(xlabel=what, ylabel="test error, %", xscale="linear" if at[-1] < 10 else "log")
            axes.set_xticks(at, [str(n) for n in at])
            axes.minorticks_off()
            axes.legend(fontsize=8)

    picture(args, "pretraining", draw, (7 + 4 * len(studies), 4.5))
    best_random = min(last["random, 4 × Glorot"], last["random, Glorot"])
    claims = {
        f"RBMs first: at least 0.8 points below the best random start ({last['RBMs']:.2f}, {best_random:.2f} %)":
            last["RBMs"] <= best_random - 0.8,
        "the small start is still above 50 %": last["random, 1/√fan-in"] > 50,
        "denoising autoencoders first: below the best random start": last["denoising autoencoders"] < best_random,
    }  # fmt: skip
    if args.dropout:
        gain = last["random, 4 × Glorot, dropout"] - last["RBMs, dropout"]
        claims[f"with dropout too pre-training helps (by {gain:.2f} points)"] = gain > 0
        both = last["RBMs, dropout"]
        claims[f"both together are below plain backpropagation ({both:.2f}, {best_random:.2f} %)"] = both < best_random
    if args.depths:
        four = {kind: values[3] for kind, values in studies["hidden layers"].items()}
        claims["with four layers both kinds of pre-training are below the random start"] = (
            max(four["RBMs"], four["autoencoders"]) < four["random"]
        )
    if args.widths:
        largest = {kind: values[-1] for kind, values in studies["units in each of two"].items()}
        claims["with 800 units RBMs are below the random start"] = largest["RBMs"] < largest["random"]
    verdict(args, claims, started)


if __name__ == "__main__":
    main()
