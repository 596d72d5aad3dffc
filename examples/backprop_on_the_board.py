"""Two backward passes, written out as a lecture writes them on the board, from the rules that compute them.

1. A net with one hidden layer and squared error, L = ½ Σₙ (yₙ − vᵀhₙ)², hₙ = g(Wᵀxₙ). With eₙ = yₙ − vᵀhₙ the
   gradient is ∂L/∂v = −Σₙ eₙ hₙ and ∂L/∂hₙ = −eₙ v. The slide has the minus in the second and loses it in the first,
   where it writes +Σₙ eₙ hₙ: a step against its "gradient" would climb.
2. A classifier with a dropout mask m on its hidden layer, h = g(a) ⊙ m: the mask comes back in ā = h̄ ⊙ m ⊙ g'(a).

Source: lecture 1, "Learning MLP via Backpropagation: A Simple Example"; lecture 2, "Dropout backpropagation".
"""

import argparse
from pathlib import Path

import numpy as np

import tinygrad_mlsp as tg
from tinygrad_mlsp import viz


def regression() -> tuple[viz.Explanation, dict[str, tg.Tensor]]:
    """Two samples, two inputs, two hidden units; one row a sample."""
    of = {
        "x": tg.Tensor([[1.0, 0.5], [-1.0, 2.0]], dtype="float64"),
        "t": tg.Tensor([1.0, 0.0], dtype="float64"),
        "W": tg.Tensor([[0.3, -0.2], [0.1, 0.4]], requires_grad=True, dtype="float64"),
        "v": tg.Tensor([0.5, -1.0], requires_grad=True, dtype="float64"),
    }

    def loss() -> tg.Tensor:
        of["h"] = tg.tanh(of["x"] @ of["W"])
        of["e"] = of["t"] - of["h"] @ of["v"]
        return 0.5 * (of["e"] ** 2).sum()

    with viz.trace():
        of["L"] = loss()
        return viz.explain(of["L"], names=of, title="Lecture 1: a net with one hidden layer, squared error"), of


def dropout() -> tuple[viz.Explanation, dict[str, tg.Tensor]]:
    """One sample x, two hidden units of which the mask drops the second, two classes; the target is class 0."""
    of = {
        "x": tg.Tensor([1.0, -0.5], dtype="float64"),
        "m": tg.Tensor([1.0, 0.0], dtype="float64"),
        "W": tg.Tensor([[0.4, 0.2], [-0.3, 0.6]], requires_grad=True, dtype="float64"),
        "b": tg.Tensor([0.1, 0.0], requires_grad=True, dtype="float64"),
        "V": tg.Tensor([[0.5, -0.4], [-0.2, 0.7]], requires_grad=True, dtype="float64"),
        "c": tg.Tensor([0.0, 0.0], requires_grad=True, dtype="float64"),
    }
    with viz.trace():
        of["a"] = of["b"] + of["W"] @ of["x"]
        of["g"] = tg.sigmoid(of["a"])
        of["h"] = of["g"] * of["m"]
        of["s"] = of["c"] + of["V"] @ of["h"]
        of["f"] = tg.log_softmax(of["s"])
        of["L"] = -of["f"][0]
        return viz.explain(of["L"], names=of, title="Lecture 2: backpropagation through a dropout mask"), of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="a folder for both as HTML and Markdown, and for a step player of each")
    args = parser.parse_args()
    for name, (made, of) in {"regression": regression(), "dropout": dropout()}.items():
        print(made)
        if name == "regression":
            e, h = of["e"].numpy(), of["h"].numpy()
            print(f"By the formula −Σ e h: {-e @ h}. The slide's +Σ e h is {e @ h}: its sign is wrong.\n")
            gradient = next(leaf.gradient for leaf in made.walk.leaves if leaf.letter == "v")
            assert gradient is not None and np.allclose(gradient.entries, -e @ h)
        if args.out:
            folder = Path(args.out)
            folder.mkdir(parents=True, exist_ok=True)
            made.save(folder / f"{name}.html")
            made.save(folder / f"{name}.md")
            viz.play(made.walk).save(folder / f"{name}_player.html")
            print("written:", folder / f"{name}.html")


if __name__ == "__main__":
    main()
