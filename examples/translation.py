"""Digits become zebras and plain digits again, learned from two sets of pictures of which no two show the same.

Set A: MNIST digits of 14 × 14 pixels, white on black. Set B: other digits, black on white, with stripes across their
strokes: b = 1 − a · stripes. Two small convolutional generators, two judges, the cycle loss; no pair is ever shown.
Since the mapping is known, the result is measured: the mean error a pixel against it on test digits, and how many of
the made pictures a classifier, trained on true ones, takes for the right digit. Without the cycle loss (λ = 0)
nothing asks that the digit stays what it is.

Source: Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks", 2017. Lecture 3,
"Conditional Generation" (horse and zebra).
"""

import time

import numpy as np
from _evidence import errors, mnist, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, models, nn, optim

SIDE, CHANNELS = 14, 12
STRIPES = np.where(np.arange(SIDE) % 4 < 2, 1.0, 0.35)[:, None].astype(np.float32)


def plain(images: np.ndarray) -> np.ndarray:
    return images.reshape(-1, 1, SIDE, 2, SIDE, 2).mean((3, 5))


def striped(a: np.ndarray) -> np.ndarray:
    return 1 - a * STRIPES


class Painter(nn.Module):
    """conv … conv [x, where]: pictures of x's size, with a learned map of the place beside x."""

    def __init__(self, generator: tg.Generator) -> None:
        self.where = nn.Parameter(generator.normal((1, 2, SIDE, SIDE), std=0.5))
        conv = lambda a, b: nn.Conv2d(a, b, 3, padding=1, generator=generator)
        self.net = nn.Sequential(
            conv(3, CHANNELS), nn.LeakyReLU(0.2), conv(CHANNELS, CHANNELS), nn.LeakyReLU(0.2), conv(CHANNELS, 1),
        )  # fmt: skip

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.net(tg.concat([x, tg.broadcast_to(self.where, (len(x), 2, SIDE, SIDE))], axis=1))


def judge(generator: tg.Generator) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1, generator=generator), nn.LeakyReLU(0.2),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, generator=generator), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(32 * 16, 1, generator=generator),
    )  # fmt: skip


def translator(a: np.ndarray, b: np.ndarray, epochs: int, cycle: float, seed: int) -> models.CycleGAN:
    generator = tg.Generator(seed)
    model = models.CycleGAN(
        Painter(generator), Painter(generator), judge(generator), judge(generator), cycle=cycle, identity=0.0
    )
    players = (
        optim.Adam([*model.to_b.parameters(), *model.to_a.parameters()], lr=2e-3, betas=(0.5, 0.99)),
        optim.Adam([*model.judge_b.parameters(), *model.judge_a.parameters()], lr=1e-3, betas=(0.5, 0.99)),
    )

    def fall(history: models.translation.TranslationHistory) -> None:
        for player, lr in zip(players, (2e-3, 1e-3), strict=True):
            player.param_groups[0]["lr"] = lr * (1 - len(history.cycle) / (epochs + 1))

    loaders = (data.Loader(s, batch_size=25, seed=seed, drop_last=True) for s in (a, b))
    models.train_translation(model, *loaders, epochs, players, generator=generator, after=fall)
    return model


def classifier(x: np.ndarray, y: np.ndarray, epochs: int) -> nn.Module:
    net = models.MLP([SIDE * SIDE, 100, 10], generator=tg.Generator(0))
    trained(net, x, y, epochs, optim.Adam(net.parameters()))
    return net


def main() -> None:
    args = options(__doc__, seeds=3, epochs=8, n=4000)
    started = time.perf_counter()
    x, y, test_x, test_y = mnist(args, 2 * args.n)
    half, epochs = len(x) // 2, 1 if args.quick else args.epochs
    a, b = plain(x[:half]), striped(plain(x[half:]))  # no digit in both
    test_a, test_y = plain(test_x[:1000]), test_y[:1000]
    test_b = striped(test_a)
    of_a, of_b = classifier(a, y[:half], 2 * epochs), classifier(1 - b, y[half:], 2 * epochs)
    true_a, true_b = 100 - errors(of_a, test_a, test_y), 100 - errors(of_b, 1 - test_b, test_y)
    print(f"classifiers of true pictures: of A {true_a:.1f}, of B {true_b:.1f} % right")
    blind = [float(np.abs(s.mean(0) - test).mean()) for s, test in ((b, test_b), (a, test_a))]
    print(f"error a pixel of the mean picture: of B {blind[0]:.3f}, of A {blind[1]:.3f}")
    rows, shown = [], None
    for seed in range(args.seeds):
        for cycle in (5.0, 0.0):
            model = translator(a, b, epochs, cycle, seed)
            with tg.no_grad():
                made_b, made_a = model.to_b(tg.Tensor(test_a)), model.to_a(tg.Tensor(test_b))
                again = model.to_a(made_b)
            rows.append((
                seed, cycle,
                float(np.abs(made_b.numpy() - test_b).mean()), float(np.abs(made_a.numpy() - test_a).mean()),
                100 - errors(of_b, 1 - made_b, test_y), 100 - errors(of_a, made_a, test_y),
                float(np.abs(again.numpy() - test_a).mean()),
            ))  # fmt: skip
            head = ("seed", "λ", "error a to b", "b to a", "right digit in b, %", "in a, %", "error there and back")
            table(head, rows[-1:])
            shown = shown or (made_b.numpy(), again.numpy(), made_a.numpy())

    def draw(figure) -> None:
        lines = {"a": test_a, "made b": shown[0], "true b": test_b, "a again": shown[1], "made a, of b": shown[2]}
        for row, (name, images) in zip(figure.subplots(5, 10), lines.items(), strict=True):
            for axes, image in zip(row, images, strict=False):
                axes.imshow(image[0], cmap="gray", vmin=0, vmax=1)
                axes.set(xticks=[], yticks=[])
            row[0].set_ylabel(name, fontsize=7)

    picture(args, "translation", draw, (8, 4.2))
    kept = [r for r in rows if r[1] > 0]
    verdict(
        args,
        {
            "both mappings are found: an error a pixel under half of the mean picture's": all(
                r[2] < blind[0] / 2 and r[3] < blind[1] / 2 for r in kept
            ),
            "the digit stays what it is: at most 10 points fewer are recognized than of true pictures": all(
                r[4] >= true_b - 10 and r[5] >= true_a - 10 for r in kept
            ),
            "there and back is nearer with the cycle loss than without": float(np.mean([r[6] for r in kept]))
            < float(np.mean([r[6] for r in rows if r[1] == 0])),
        },
        started,
    )


if __name__ == "__main__":
    main()
