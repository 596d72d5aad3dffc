"""A stack of linear layers is one linear layer; parity needs depth.

1. Ten linear layers, trained, against the one matrix that they multiply to; and what a stack of linear layers and the
   best single layer reach on XOR: nothing, while one hidden layer of tanhs solves it.
2. The parity of n bits: one hidden layer of threshold units needs n of them (and 2ⁿ⁻¹ where it may only AND literals
   and OR the terms), a tree of XORs has log₂ n levels of 3 units each pair. Counted, and checked on all 2ⁿ inputs.
3. A net with one hidden layer learns the parity of few bits, and its training slows with n.
"""

import itertools
import time

import numpy as np
from _evidence import options, picture, table, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim


def linear_stack(seed: int) -> tuple[float, float]:
    """How far a trained stack is from its product matrix, and what it reaches on XOR."""
    generator = tg.Generator(seed)
    stack = nn.Sequential(*(nn.Linear(n, m, generator=generator) for n, m in [(2, 8)] + [(8, 8)] * 8 + [(8, 1)]))
    x, y = tg.Tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), tg.Tensor([[0.0], [1.0], [1.0], [0.0]])
    fitted(stack, x, y, 0.01)
    weight, bias = np.eye(2), np.zeros(2)
    for layer in stack:
        w, b = layer.weight.numpy().astype(float), layer.bias.numpy().astype(float)
        weight, bias = w @ weight, w @ bias + b
    z = np.random.default_rng(seed).standard_normal((100, 2))
    apart = np.abs(stack(tg.Tensor(z.astype(np.float32))).numpy() - (z @ weight.T + bias)).max()
    return float(apart), ((stack(x) - y) ** 2).mean().item()


def fitted(net: nn.Module, x: tg.Tensor, y: tg.Tensor, rate: float, steps: int = 2000, enough: float = 0.0) -> int:
    """Trains by Adam on the squared error; returns the steps until every answer was within 1/2 for good, or all."""
    optimizer = optim.Adam(net.parameters(), lr=rate)
    for step in range(steps):
        error = net(x) - y
        loss = (error * error).mean()
        if loss.item() < enough:
            return step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps


def threshold_layer(bits: np.ndarray) -> np.ndarray:
    """Parity by one hidden layer: unit k fires if at least k bits are set; they are added with signs + − + −."""
    n = bits.shape[1]
    hidden = bits.sum(axis=1, keepdims=True) >= np.arange(1, n + 1)
    return hidden @ np.resize([1, -1], n)


def minterms(n: int) -> int:
    """How many ANDs an OR needs for parity: one for each odd word, since no two of them can be joined."""
    return 2 ** (n - 1)


def tree(bits: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Parity by a tree of XORs, a XOR b = (a OR b) − (a AND b) ≥ ½: the values, the units and the layers used."""
    units = layers = 0
    columns = list(bits.T)
    while len(columns) > 1:
        pairs = [columns[i : i + 2] for i in range(0, len(columns), 2)]
        columns = [((a | b) & ~(a & b) & 1) if rest else a for a, b, rest in ((p[0], p[-1], len(p) > 1) for p in pairs)]
        units += 3 * sum(len(p) > 1 for p in pairs)
        layers += 2
    return columns[0], units, layers


def main() -> None:
    args = options(__doc__, seeds=3)
    started = time.perf_counter()
    stacks = [linear_stack(seed) for seed in range(args.seeds)]
    print(f"ten linear layers against their product: apart by {max(s[0] for s in stacks):.1e} at most")
    print(f"their squared error on XOR: {min(s[1] for s in stacks):.4f} at best; that of the best line is 0.25\n")

    rows, right = [], True
    for n in (2, 4, 8, 16):
        bits = np.array(list(itertools.product([0, 1], repeat=n)))
        want = bits.sum(axis=1) % 2
        value, units, layers = tree(bits)
        right &= bool((threshold_layer(bits) == want).all() and (value == want).all())
        rows.append((n, n, minterms(n), units, layers))
    table(("bits", "thresholds, 1 layer", "ANDs and an OR", "units of a tree", "its layers"), rows)
    print()

    learned: dict[int, list[int]] = {}
    for n in range(2, 4 if args.quick else 7):
        bits = np.array(list(itertools.product([-1.0, 1.0], repeat=n)), np.float32)
        y = tg.Tensor(bits.prod(axis=1, keepdims=True))
        for seed in range(args.seeds):
            generator = tg.Generator(seed)
            net = nn.Sequential(
                nn.Linear(n, 4 * n, generator=generator), nn.Tanh(), nn.Linear(4 * n, 1, generator=generator)
            )
            learned.setdefault(n, []).append(fitted(net, tg.Tensor(bits), y, 0.01, 6000, 0.02))
    table(("bits", "Adam steps to a squared error of 0.02, seed by seed"), [(n, s) for n, s in learned.items()])

    def draw(figure) -> None:
        left, other = figure.subplots(1, 2)
        left.semilogy(
            [r[0] for r in rows],
            [[r[2], r[1], r[3]] for r in rows],
            "o-",
            label=["ANDs and an OR", "thresholds", "a tree"],
        )
        left.set(xlabel="bits", ylabel="units", title="Units that parity takes")
        left.legend(fontsize=8)
        other.plot(list(learned), [np.median(s) for s in learned.values()], "o-")
        other.set(xlabel="bits", ylabel="Adam steps", title="Learning it with one hidden layer")

    picture(args, "collapse_and_parity", draw, (8, 3.5))
    medians = [float(np.median(s)) for s in learned.values()]
    verdict(
        args,
        {
            "a stack of linear layers is its product": max(s[0] for s in stacks) < 1e-4,
            "no linear stack is better on XOR than a constant: 0.25": min(s[1] for s in stacks) > 0.249,
            "both constructions compute parity on all inputs": right,
            "one hidden tanh layer learns parity, and more bits take longer": (
                max(medians) < 6000 and medians[-1] > medians[0]
            ),
        },
        started,
    )


if __name__ == "__main__":
    main()
