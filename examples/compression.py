"""Model compression: a small net learns more from a large net's answers than from the labels.

A teacher of two hidden layers of 800 units, trained with dropout and shifts of up to two pixels on 10,000 labelled
digits, is asked; students of one hidden layer of 300 units, without dropout or shifts, learn with as many updates each
from the labels; from the teacher's softened answers on the same digits, which carry over even what the shifts taught it
(Hinton); from its answers on 50,000 digits, most of which have no label for anybody (Bucilă); and from its answers to
random inputs (lecture 0). The answers on 50,000 digits close two thirds of the gap between student and teacher; those
on the same 10,000 close 47 % of it, not quite the half.

What random means matters. Normal inputs with the mean and the covariance of the digits' pixels teach more than the
labels do, though the student never sees a digit. When each pixel is drawn for itself, the teacher says "8" to all of
them, and the student learns nothing: 90 % wrong.

Full size: --labelled 60000 --images 60000 --teacher 1200 --hidden 800 --teacher-epochs 100 --updates 24000.
Source: Bucilă et al., "Model compression", 2006; Hinton, Vinyals and Dean, "Distilling the knowledge", 2015.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from _evidence import errors, mnist, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import models, nn, optim
from tinygrad_mlsp.data import augment

BATCH = 100
WAYS = ("labels", "answers, same digits", "answers, all digits", "random inputs, as digits vary", "random pixels")


def teacher(width: int, generator: tg.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n, m, p in ((784, width, 0.2), (width, width, 0.5), (width, 10, 0.5)):
        layers += [nn.Dropout(p, generator=generator), nn.Linear(n, m, generator=generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def student(hidden: int, seed: int) -> nn.Sequential:
    generator = tg.Generator(seed)
    return nn.Sequential(
        nn.Linear(784, hidden, generator=generator), nn.ReLU(), nn.Linear(hidden, 10, generator=generator)
    )


class Correlated:
    """Batches of normal inputs with the mean and the covariance of x [n, pixels], drawn anew at every pass."""

    def __init__(self, x: Any, batches: int, seed: int) -> None:
        values, vectors = np.linalg.eigh(np.cov(x.T))
        self.root = (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32).T
        self.mean, self.batches, self.generator = x.mean(axis=0), batches, tg.Generator(seed)

    def __iter__(self) -> Iterator[tg.Tensor]:
        for _ in range(self.batches):
            yield tg.Tensor(self.generator.normal((BATCH, len(self.root))) @ self.root + self.mean)


def main() -> None:
    args = options(
        __doc__, seeds=3, labelled=10000, images=50000, teacher=800, teacher_epochs=50, hidden=300, updates=4000,
        temperature=4.0,
    )  # fmt: skip
    started = time.perf_counter()
    updates = args.updates // 10 if args.quick else args.updates
    images, y, test_x, test_y = mnist(args, max(args.images, args.labelled))
    labelled = args.labelled // 10 if args.quick else args.labelled
    x, y = images[:labelled], y[:labelled]

    large = teacher(args.teacher, tg.Generator(0))
    optimizer = optim.SGD(large.parameters(), lr=0.1, momentum=0.9)
    epochs = args.teacher_epochs // 5 if args.quick else args.teacher_epochs
    trained(large, x, y, epochs, optimizer, BATCH, clip=2.0, cosine=True, transform=augment.shift(2))
    best = errors(large, test_x, test_y)
    large.eval()
    with tg.no_grad():
        said = np.concatenate([large(tg.Tensor(images[i : i + 1000])).numpy() for i in range(0, len(images), 1000)])

    def soft(logits: tg.Tensor, answer: tg.Tensor) -> tg.Tensor:
        return models.distillation_loss(logits, answer, temperature=args.temperature)

    def learned(way: str, seed: int) -> float:
        """The test error of a student that learned in this way, in per cent."""
        net = student(args.hidden, seed)
        adam = optim.Adam(net.parameters())
        parts = {"labels": (x, y), "answers, same digits": (x, said[:labelled]), "answers, all digits": (images, said)}
        if way in parts:
            passes = max(1, updates * BATCH // len(parts[way][0]))
            loss = nn.functional.cross_entropy if way == "labels" else soft
            trained(net, *parts[way], passes, adam, BATCH, seed, cosine=True, loss=loss)
        else:
            schedule, asked = optim.lr_scheduler.CosineAnnealingLR(adam, 20), max(1, updates // 20)
            pixels = models.random_inputs((784,), asked, BATCH, like=tg.Tensor(x), generator=tg.Generator(seed))
            batches = pixels if way == "random pixels" else Correlated(x, asked, seed)
            for _ in range(20):
                models.distill(large, net, batches, args.temperature, optimizer=adam)
                schedule.step()
        return errors(net, test_x, test_y)

    print(f"teacher, {sum(p.size for p in large.parameters()):,} parameters: {best:.2f} % wrong")
    print(f"student, {sum(p.size for p in student(args.hidden, 0).parameters()):,} parameters, learns from")
    rows = [(seed, *(learned(way, seed) for way in WAYS)) for seed in range(args.seeds)]
    table(("seed", *(f"{way}, %" for way in WAYS)), rows)
    mean = dict(zip(WAYS, np.mean([r[1:] for r in rows], axis=0).tolist(), strict=True))
    gap = mean["labels"] - best
    closed = {way: (mean["labels"] - wrong) / gap for way, wrong in mean.items()}
    print(f"of the gap of {gap:.2f} points close: " + ", ".join(f"{way} {closed[way]:.0%}" for way in WAYS[1:-1]))

    def draw(figure) -> None:
        axes = figure.subplots()
        names = ["teacher", *(way.replace(", ", ",\n") for way in WAYS)]
        colors = ["#0b5394", "#999999", "#6aa84f", "#6aa84f", "#b45f06", "#b45f06"]
        axes.bar_label(axes.bar(names, [best, *mean.values()], color=colors), fmt="%.2f")
        top = 1.25 * max(best, *(mean[way] for way in WAYS[:-1]))
        axes.set(
            ylabel="test error, %", ylim=(0, top), title=f"A teacher, and what students of {args.hidden} learn from"
        )
        axes.text(len(names) - 1, top * 0.93, f"{mean[WAYS[-1]]:.0f} %", ha="center", color="white", weight="bold")

    picture(args, "compression", draw, (9, 4))
    verdict(
        args,
        {
            "the teacher's answers on all digits close at least half of the gap, for every seed": all(
                r[1] - r[3] >= 0.5 * (r[1] - best) for r in rows
            ),
            "those on the same digits teach more than the labels, for every seed": all(r[2] < r[1] for r in rows),
            "those to random inputs that vary as digits do, too": all(r[4] < r[1] for r in rows),
            "those to random pixels, each drawn for itself, teach nothing: more than half wrong": mean[WAYS[4]] > 50,
        },
        started,
    )


if __name__ == "__main__":
    main()
