"""Long memory: add two numbers that are marked among 100. An LSTM learns it; a tanh RNN stays at the mean, 1/6.

At each step comes a number from [0, 1] and a mark, 1 at one place in each half and 0 elsewhere; after the last the net
says the sum of the two marked numbers. To say 1 always has a mean squared error of 1/6.
After 4,000 updates the LSTM had 0.006, 0.008 and 0.065 with seeds 0 to 2: the third left the mean late. After 6,000 it
has 0.0011, 0.0004 and 0.0010, the RNN 0.170 with each.
Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997; Arjovsky et al., 2016, for the form used here.
"""

import time

import numpy as np
from _evidence import options, picture, table, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim
from tinygrad_mlsp.data.toys import adding


class Summer(nn.Module):
    """A recurrent net whose last state says a number."""

    def __init__(self, kind: str, hidden: int, generator: tg.Generator) -> None:
        self.net = (nn.LSTM if kind == "LSTM" else nn.RNN)(2, hidden, batch_first=True, generator=generator)
        self.out = nn.Linear(hidden, 1, generator=generator)
        if kind == "LSTM":  # a forget gate that starts open (Gers et al., 2000)
            with tg.no_grad():
                self.net.bias_ih_l0[hidden : 2 * hidden] = 1.0

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.out(self.net(x)[0][:, -1])


def main() -> None:
    args = options(__doc__, seeds=3, steps=100, hidden=64, updates=6000)
    started = time.perf_counter()
    updates = args.updates // 50 if args.quick else args.updates
    curves, rows = {}, []
    for seed in range(args.seeds):
        for kind in ("RNN", "LSTM"):
            net = Summer(kind, args.hidden, tg.Generator(seed))
            optimizer = optim.Adam(net.parameters(), lr=2e-3)
            schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
            losses = []
            for update in range(updates):  # 50 fresh sequences each
                x, y = adding(50, args.steps, seed=1_000_000 * (seed + 1) + update)
                loss = nn.functional.mse_loss(net(tg.Tensor(x)), tg.Tensor(y))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            with tg.no_grad():
                x, y = adding(2000, args.steps, seed=999)
                rows.append((kind, seed, nn.functional.mse_loss(net(tg.Tensor(x)), tg.Tensor(y)).item()))
            curves[kind, seed] = losses
    table(("net", "seed", "test MSE"), rows)

    def draw(figure) -> None:
        axes = figure.subplots()
        for (kind, seed), losses in curves.items():
            width = max(1, len(losses) // 50)
            smooth = np.convolve(losses, np.ones(width) / width, "valid")
            axes.semilogy(smooth, color={"RNN": "#b45f06", "LSTM": "#0b5394"}[kind], label=None if seed else kind)
        axes.axhline(1 / 6, color="grey", linestyle=":", label="always 1")
        axes.set(xlabel="updates", ylabel="mean squared error", title=f"Adding two of {args.steps} numbers")
        axes.legend()

    picture(args, "adding_problem", draw)
    verdict(
        args,
        {
            "LSTM: test MSE below 0.01": max(r[2] for r in rows if r[0] == "LSTM") < 0.01,
            "RNN: test MSE 0.14 or more": min(r[2] for r in rows if r[0] == "RNN") >= 0.14,
        },
        started,
    )


if __name__ == "__main__":
    main()
