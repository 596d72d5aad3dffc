"""A generator finds all of a ring of eight Gaussians, and makes digits of the class asked for.

1. The ring (radius 2, standard deviation 0.05): nets of two hidden layers of 128, 2,400 updates, by the
   non-saturating loss with a penalty on the discriminator's slope at real points, by Wasserstein's with WGAN-GP's
   penalty, and, to compare, by the minimax loss without any. A mode is found when at least a tenth of its fair share
   of 2,500 points lies within 3 standard deviations. The diagnosis printed is the library's, made from the game alone.
2. Digits: a conditional generator 32 + 10 → 128 → 256 → 784 on 10,000 digits of MNIST. A classifier trained on the same
   digits, which the generator never sees, says which class each made digit is of.

Sources: Goodfellow et al., "Generative adversarial nets", 2014; Metz et al., "Unrolled generative adversarial
networks", 2017 (the ring); Mirza and Osindero, 2014. Lecture 1, "Deep Neural Networks for Unsupervised Learning" (GAN).
"""

import time

import numpy as np
from _evidence import errors, mnist, options, picture, table, trained, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, models, nn, optim

STD = 0.05
GAMES = {
    "non-saturating": ("non-saturating", 0.5),
    "wasserstein": ("wasserstein", 1.0),
    "minimax, bare": ("minimax", 0.0),
}


def play(
    model: models.GAN, x: tuple[np.ndarray, ...], epochs: int, lr: float, batch: int, penalty: float, seed: int
) -> models.GameHistory:
    """Both players by Adam without momentum, at a rate that falls to 0, one step each in turn."""
    players = tuple(
        optim.Adam(part.parameters(), lr=lr, betas=(0.0, 0.99)) for part in (model.generator, model.discriminator)
    )

    def fall(history: models.GameHistory) -> None:
        for player in players:
            player.param_groups[0]["lr"] = lr * (1 - len(history.accuracy) / (epochs + 1))

    return models.train_gan(
        model, data.Loader(*x, batch_size=batch, seed=seed), epochs, players, penalty=penalty, critic_steps=1,
        generator=tg.Generator(seed), after=fall,
    )  # fmt: skip


def ring(game: str, penalty: float, epochs: int, seed: int) -> tuple[np.ndarray, models.GameHistory]:
    generator = tg.Generator(seed)
    x, _ = data.toys.ring(12800, std=STD, seed=seed)
    model = models.GAN(
        models.MLP([8, 128, 128, 2], generator=generator), models.MLP([2, 128, 128, 1], generator=generator), 8, game
    )
    history = play(model, (x,), epochs, 2e-3, 128, penalty, seed)
    return model.sample(2500, generator=generator).numpy(), history


class Louder(nn.Module):
    """net([x, 5 y]): beside hundreds of pixels a label's single 1 would hardly be heard."""

    def __init__(self, *layers: nn.Module) -> None:
        self.net = nn.Sequential(*layers)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.net(tg.concat([x[:, :-10], x[:, -10:] * 5.0], axis=1))


def digits(x: np.ndarray, y: np.ndarray, epochs: int, seed: int) -> tuple[models.GAN, models.GameHistory]:
    generator = tg.Generator(seed)
    leaky = lambda: nn.LeakyReLU(0.2)
    maker = Louder(models.MLP([32 + 10, 128, 256, 784], leaky, generator=generator), nn.Sigmoid())
    judge = Louder(models.MLP([784 + 10, 256, 128, 1], leaky, generator=generator))
    model = models.GAN(maker, judge, 32, classes=10)
    return model, play(model, (x, y), epochs, 1e-3, 100, 2.0, seed)


def main() -> None:
    args = options(__doc__, seeds=3, epochs=24, digit_epochs=12)
    started = time.perf_counter()
    rows, shown, centres = [], {}, data.toys.ring_centres()
    for name, (game, penalty) in GAMES.items():
        for seed in range(args.seeds):
            points, history = ring(game, penalty, 2 if args.quick else args.epochs, seed)
            found = models.modes_covered(points, centres, STD)
            rows.append((name, seed, found.covered, found.quality, history.verdict().split(". ")[0]))
            shown.setdefault(name, points)
    table(("game", "seed", "modes of 8", "near a mode", "diagnosis"), rows)

    x, y, test_x, test_y = mnist(args, 10000)
    judge = nn.Sequential(
        nn.Linear(784, 100, generator=tg.Generator(0)), nn.ReLU(), nn.Linear(100, 10, generator=tg.Generator(1))
    )
    trained(judge, x, y, 1 if args.quick else 8, optim.Adam(judge.parameters()))
    print(f"\nclassifier: {errors(judge, test_x, test_y):.2f} % wrong on test digits")
    wanted, of_digits, pictures = np.repeat(np.arange(10), 100), [], None
    for seed in range(args.seeds):
        model, history = digits(x, y, 1 if args.quick else args.digit_epochs, seed)
        made = model.sample(1000, wanted, tg.Generator(seed))
        said = judge(made).numpy().argmax(1)
        right = [float((said[wanted == c] == c).mean()) for c in range(10)]
        spread = float(made.numpy().reshape(10, 100, -1).std(1).mean() / np.mean([x[y == c].std(0) for c in range(10)]))
        diagnosis = history.verdict().split(". ")[0]
        of_digits.append((seed, 100 * float(np.mean(right)), sum(r >= 0.5 for r in right), spread, diagnosis))
        table(("seed", "of the class asked for, %", "classes made", "spread / data's", "diagnosis"), of_digits[-1:])
        pictures = pictures if pictures is not None else made.numpy().reshape(10, 100, 28, 28)

    def draw(figure) -> None:
        left, right = figure.subfigures(1, 2, width_ratios=(1.5, 1))
        for axes, (name, points) in zip(left.subplots(1, 3), shown.items(), strict=True):
            axes.plot(*points[:1000].T, ".", markersize=2, alpha=0.4)
            axes.plot(*centres.T, "x", color="#D55E00", markersize=4)
            axes.set(title=name, xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xticks=[], yticks=[])
        axes = right.subplots()
        axes.imshow(pictures[:, :8].transpose(0, 2, 1, 3).reshape(280, 224), cmap="gray_r")
        axes.set(title="digits made, a class a row", xticks=[], yticks=[])

    picture(args, "gan_ring", draw, (10, 4))
    penalized = [r for r in rows if r[0] != "minimax, bare"]
    verdict(
        args,
        {
            "at least 7 of 8 modes, with a penalty, in either game and every seed": all(r[2] >= 7 for r in penalized),
            "digits of all ten classes, at least 80 % of the class asked for": all(
                r[1] >= 80 and r[2] == 10 for r in of_digits
            ),
        },
        started,
    )


if __name__ == "__main__":
    main()
