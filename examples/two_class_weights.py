"""A "0 or 1" net with two hidden units and one output: its first layer picks the digits, its second is a threshold.

784-2-1 with sigmoids, on MNIST's zeros and ones, weight decay 1e-3 so that the weights can be looked at. The output's
weights start at +1 and −1, so that one unit may pick the one and the other the zero, as on the lecture's slide; from a
random start the two units became copies of each other in each of three seeds. The verdict asks what the slide shows: a
hidden unit's weights look like a digit's mean less the other's, one unit for each digit, and the second layer is a
threshold: each hidden unit by itself tells the digits apart nearly as well.

Source: lecture 0, "Example classifier", "Learned weights".
"""

import time

import numpy as np
from _evidence import mnist, options, picture, table, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, nn, optim, train


def main() -> None:
    args = options(__doc__, seeds=3, epochs=10)
    started = time.perf_counter()
    x, y, test_x, test_y = mnist(args, 60000)
    (x, y), (test_x, test_y) = ((a[b < 2], b[b < 2]) for a, b in ((x, y), (test_x, test_y)))
    difference = x[y == 1].mean(0) - x[y == 0].mean(0)
    rows, shown = [], None
    for seed in range(args.seeds):
        generator = tg.Generator(seed)
        net = nn.Sequential(
            nn.Linear(784, 2, generator=generator), nn.Sigmoid(), nn.Linear(2, 1, generator=generator), nn.Flatten(0)
        )
        net[2].weight.copy_(np.array([[1.0, -1.0]]))
        train.fit(
            net, nn.functional.binary_cross_entropy_with_logits,
            optim.Adam(net.parameters(), lr=5e-3, weight_decay=1e-3),
            data.Loader(x, y.astype(np.float32), batch_size=100, seed=seed), 1 if args.quick else args.epochs,
            progress=False,
        )  # fmt: skip
        with tg.no_grad():
            answer = net(tg.Tensor(test_x)).numpy() > 0
            hidden = net[1](net[0](tg.Tensor(test_x))).numpy()
        wrong = 100 * float((answer != test_y).mean())
        by_one = [100 * min(float(((h > 0.5) != test_y).mean()), float(((h < 0.5) != test_y).mean())) for h in hidden.T]
        weights = net[0].weight.numpy()
        alike = [float(np.corrcoef(w, difference)[0, 1]) for w in weights]
        sides = net[2].weight.numpy()[0]
        rows.append((seed, wrong, *by_one, *alike, *(float(s) for s in sides)))
        shown = shown or (weights, sides, hidden)
    head = ("seed", "wrong, %", "by unit 1", "by unit 2", "unit 1 ~ 1 − 0", "unit 2 ~ 1 − 0", "to output", "")
    table(head, rows)

    def draw(figure) -> None:
        weights, sides, hidden = shown
        panels = figure.subplots(1, 4)
        for k, axes in enumerate(panels[:2]):
            top = np.abs(weights[k]).max()
            axes.imshow(weights[k].reshape(28, 28), cmap="RdBu", vmin=-top, vmax=top)
            axes.set(title=f"unit {k + 1}, {sides[k]:+.1f} to the output", xticks=[], yticks=[])
        panels[2].imshow(difference.reshape(28, 28), cmap="RdBu", vmin=-1, vmax=1)
        panels[2].set(title="mean 1 − mean 0", xticks=[], yticks=[])
        for digit, colour in ((0, "#D55E00"), (1, "#0072B2")):
            panels[3].plot(*hidden[test_y == digit].T, ".", color=colour, markersize=2, alpha=0.5, label=str(digit))
        panels[3].set(xlabel="unit 1", ylabel="unit 2", title="the hidden layer", xlim=(0, 1), ylim=(0, 1))
        panels[3].legend(markerscale=5)

    picture(args, "two_class_weights", draw, (11, 3))
    verdict(
        args,
        {
            "less than 0.5 % of the test's zeros and ones are wrong": all(r[1] < 0.5 for r in rows),
            "both hidden units' weights look like the difference of the digits' means (|r| > 0.5)": all(
                min(abs(r[4]), abs(r[5])) > 0.5 for r in rows
            ),
            "unit 1 picks the one and is added, unit 2 picks the zero and is subtracted": all(
                r[4] > 0 > r[5] and r[6] > 0 > r[7] for r in rows
            ),
            "each hidden unit by itself tells the digits apart, less than 2 % wrong": all(
                max(r[2], r[3]) < 2 for r in rows
            ),
        },
        started,
    )


if __name__ == "__main__":
    main()
