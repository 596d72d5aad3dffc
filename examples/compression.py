"""Model compression: a small net learns more from a large net's answers than from the labels.

A teacher of two hidden layers of 800 units with dropout learns 10,000 labelled digits. Students of one hidden layer
learn from the same labels; from the teacher's softened answers on 50,000 digits, most of which have no label for
anybody; and from its answers to random inputs, each pixel with the mean and spread that it has in digits.
Sources: Bucilă et al., "Model compression", 2006; Hinton, Vinyals and Dean, "Distilling the knowledge", 2015.
"""

import time

import numpy as np
from _evidence import decayed, errors, mnist, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, models, nn, optim


def teacher(generator: tg.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n, m, p in ((784, 800, 0.2), (800, 800, 0.5), (800, 10, 0.5)):
        layers += [nn.Dropout(p, generator=generator), nn.Linear(n, m, generator=generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def student(hidden: int, seed: int) -> nn.Sequential:
    generator = tg.Generator(seed)
    return nn.Sequential(
        nn.Linear(784, hidden, generator=generator), nn.ReLU(), nn.Linear(hidden, 10, generator=generator)
    )


def main() -> None:
    args = options(__doc__, seeds=3, epochs=25, hidden=100)
    started = time.perf_counter()
    unlabelled, y, test_x, test_y = mnist(args, 50000)
    x, y = unlabelled[: len(y) // 5], y[: len(y) // 5]
    large = teacher(tg.Generator(0))
    optimizer = optim.SGD(large.parameters(), lr=0.1, momentum=0.9)
    for _ in decayed(large, x, y, args.epochs, optimizer, 0.93, batch=100, clip=2.0):
        pass
    best = errors(large, test_x, test_y)

    rows = []
    for seed in range(args.seeds):
        found = []
        labels = student(args.hidden, seed)
        trained(labels, x, y, args.epochs, optim.Adam(labels.parameters()), seed=seed)
        found.append(errors(labels, test_x, test_y))
        answers, passes = student(args.hidden, seed), max(1, args.epochs // 3)
        batches = data.Loader(unlabelled, batch_size=128, seed=seed)
        models.distill(large, answers, batches, 4.0, 0.9, optimizer=optim.Adam(answers.parameters()), epochs=passes)
        found.append(errors(answers, test_x, test_y))
        blind = student(args.hidden, seed)
        asked = models.random_inputs((784,), len(batches), 128, like=tg.Tensor(x), generator=tg.Generator(seed))
        models.distill(large, blind, asked, 4.0, optimizer=optim.Adam(blind.parameters()), epochs=passes)
        found.append(errors(blind, test_x, test_y))
        rows.append((seed, *found))
    print(f"teacher, {sum(p.size for p in large.parameters()):,} parameters: {best:.2f} % wrong")
    print(f"student, {sum(p.size for p in answers.parameters()):,} parameters:")
    table(("seed", "from labels, %", "from the teacher's answers, %", "from its answers to random inputs, %"), rows)
    alone, taught, blindly = (float(np.mean([r[i] for r in rows])) for i in (1, 2, 3))
    print(
        f"of the gap of {alone - best:.2f} points the teacher's answers close {(alone - taught) / (alone - best):.0%}"
    )

    def draw(figure) -> None:
        axes = figure.subplots()
        names = ["teacher", "student,\nlabels", "student,\nteacher's answers", "student,\nrandom inputs"]
        bars = axes.bar(names, [best, alone, taught, blindly], color=["#0b5394", "#999999", "#6aa84f", "#b45f06"])
        axes.bar_label(bars, fmt="%.2f")
        axes.set(ylabel="test error, %", title="Compression of a net")

    picture(args, "compression", draw)
    verdict(
        args,
        {
            "the teacher's answers close at least half of the gap": alone - taught >= 0.5 * (alone - best),
            "answers to random inputs teach something: less than 85 % wrong, in the mean": blindly < 85,
        },
        started,
    )


if __name__ == "__main__":
    main()
