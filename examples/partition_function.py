"""Annealed importance sampling finds the partition function that enumeration finds.

1. Machines of 64 × 16, trained on small digits: ln Z from 100 temperatures, within 0.1 nat of the sum over all 65,536
   states of the hidden layer.
2. Machines of 784 × 20 on MNIST: within 0.5 nat at 1,450 temperatures and 100 chains, from the base distribution with
   the data's means; what fewer temperatures and a uniform base give; the reverse estimate, from exact samples, which
   closes the bracket; and the effective sample size that says which of the estimates to trust.

Source: Salakhutdinov and Murray, "On the quantitative analysis of deep belief networks", 2008 (with 14,500
temperatures); Grosse, Ghahramani and Adams, "Sandwiching the marginal likelihood using bidirectional Monte Carlo",
2015.
Reduced: 10,000 digits, ten epochs, and a tenth of the temperatures.
"""

import time

import numpy as np
from _evidence import mnist, options, picture, table, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, energy, optim


def machine(x: np.ndarray, hidden: int, epochs: int, seed: int) -> energy.RBM:
    generator = tg.Generator(seed)
    model = energy.RBM(x.shape[1], hidden, generator=generator)
    energy.fit(
        model, x, optim.SGD(model.parameters(), lr=0.05, momentum=0.5), energy.Persistent(model, generator=generator),
        epochs=epochs, binarize=True, start_from_data=True, generator=generator,
    )  # fmt: skip
    return model


def estimates(model: energy.RBM, x: np.ndarray, counts: list[int], seed: int) -> list[tuple]:
    """Name, temperatures, error, reverse error, effective sample size and trust of each estimate."""
    with tg.no_grad():
        exact = float(model.log_partition())
    samples = model.sample_exact(100, tg.Generator(900 + seed))
    rows = []
    for n in counts:
        for name, base in (("data's means", tg.Tensor(x)), ("uniform", None)):
            if base is None and n != max(counts):
                continue
            found = energy.annealed_importance_sampling(
                model, n, 100, data=base, exact_samples=samples, generator=tg.Generator(seed)
            )
            errors = found.log_z - exact, found.reverse - exact
            trust = "yes" if found.trusted else "no: " + found.reasons[0].split(";")[0]
            rows.append((name, n, exact, *errors, found.effective_sample_size, trust))
    return rows


def main() -> None:
    args = options(__doc__, seeds=3, epochs=10)
    started = time.perf_counter()
    head = ("machine", "seed", "base", "temperatures", "ln Z", "error", "reverse", "effective of 100", "trusted")
    small = data.digits().train_x.reshape(-1, 64)
    small = (small / small.max()).astype(np.float32)
    big, *_ = mnist(args, 10000)
    counts = [20, 50, 145] if args.quick else [145, 433, 1450]
    epochs = 1 if args.quick else args.epochs
    rows: list[tuple] = []
    for seed in range(args.seeds):
        model = machine(small, 16, 3 * epochs, seed)
        rows += [("64 x 16", seed, *row) for row in estimates(model, small, [100], seed)]
        model = machine(big, 12 if args.quick else 20, epochs, seed)
        rows += [("784 x 20", seed, *row) for row in estimates(model, big, counts, seed)]
    table(head, rows)

    def of(name: str, base: str, n: int, column: int = 5) -> np.ndarray:
        return np.array([r[column] for r in rows if r[:1] == (name,) and r[2] == base and r[3] == n])

    most = counts[-1]
    trusted = [r for r in rows if r[8] == "yes"]

    def draw(figure) -> None:
        axes = figure.subplots()
        for seed in range(args.seeds):
            mine = [r for r in rows if r[0] == "784 x 20" and r[1] == seed and r[2] != "uniform"]
            axes.plot([r[3] for r in mine], [r[5] for r in mine], "C0-o", label="forward" if seed == 0 else None)
            axes.plot([r[3] for r in mine], [r[6] for r in mine], "C1-s", label="reverse" if seed == 0 else None)
            uniform = [r for r in rows if r[0] == "784 x 20" and r[1] == seed and r[2] == "uniform"]
            label = "uniform base" if seed == 0 else None
            axes.plot([r[3] for r in uniform], [r[5] for r in uniform], "C3x", label=label)
        axes.axhline(0, color="k", lw=0.8)
        axes.set(xscale="log", xlabel="temperatures", ylabel="estimate − ln Z, nats", title="784 × 20, 100 chains")
        axes.set_xticks(counts, [str(n) for n in counts])
        axes.minorticks_off()
        axes.legend()

    picture(args, "partition_function", draw)
    verdict(
        args,
        {
            "64 x 16: within 0.1 nat at 100 temperatures": abs(of("64 x 16", "data's means", 100)).max() <= 0.1,
            f"784 x 20: within 0.5 nat at {most} temperatures": abs(of("784 x 20", "data's means", most)).max() <= 0.5,
            "no estimate that says it is to be trusted is off by more than 0.5 nat": all(
                abs(r[5]) <= 0.5 for r in trusted
            ),
        },
        started,
    )


if __name__ == "__main__":
    main()
