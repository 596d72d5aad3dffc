"""A linear autoencoder is PCA; and PCA of whitened data is the identity: linear layers cannot be stacked to a gain.

1. 64-8-64 without activations on the 8 × 8 digits, trained by L-BFGS: the subspace of its decoder against that of the 8
   largest principal components, by the sine of the largest angle, and its loss against what PCA leaves. Its units are
   some basis of that subspace; with orthonormal weights and the loss over the first 1, 2, … 8 of them they are the
   principal axes themselves.
2. The same code, whitened, is given to a second linear autoencoder of 4 units: all variances are 1, so every subspace
   is as good, two starts end in two different ones, and keeping all 8 there is the identity W = 1 that changes nothing.

Source: Baldi and Hornik, "Neural networks and principal component analysis", 1989; lecture 0, the stacked PCA ("W₁ = I
since W₂ x is whitened already") and "Neural net PCA"; lecture 1, "Deep neural networks for unsupervised learning".
"""

import time

import numpy as np
from _evidence import options, picture, table, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, models, nn, optim
from tinygrad_mlsp.viz import pictures


def sine(a: np.ndarray, b: np.ndarray) -> float:
    """Of the largest angle between the spans of the columns."""
    a, b = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    return float(np.linalg.norm(a - b @ (b.T @ a), 2))


def minimized(model: nn.Module, x: tg.Tensor, steps: int) -> nn.Module:
    """Trained on all rows at once, until L-BFGS finds nothing more to do."""
    optimizer = optim.LBFGS(
        model.parameters(), max_iter=steps, tolerance_grad=1e-9, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


def linear(x: tg.Tensor, k: int, seed: int, steps: int) -> models.DeepAutoencoder:
    model = models.DeepAutoencoder(
        [x.shape[1], k], nn.Identity, output=nn.Identity, loss="squared", generator=tg.Generator(seed), dtype="float64"
    )
    return minimized(model, x, steps)


def main() -> None:
    args = options(__doc__, seeds=3, components=8)
    started = time.perf_counter()
    k, steps = args.components, 30 if args.quick else 2000
    x = data.digits().train_x.astype(np.float64)
    centred = x - x.mean(axis=0)
    _, singular, vt = np.linalg.svd(centred, full_matrices=False)
    axes, left = vt[:k].T, float((singular[k:] ** 2).sum() / len(x))

    rows = []
    for seed in range(args.seeds):
        model = linear(tg.Tensor(x), k, seed, steps)
        decoder = model.decoder[0].weight.numpy()
        cosines = np.abs(decoder.T @ axes) / np.linalg.norm(decoder, axis=0)[:, None]
        ordered = models.NeuralPCA(x.shape[1], k, ordered=True, generator=tg.Generator(seed), dtype="float64")
        ordered.fit(x, steps // 40, 100, lambda p: optim.Adam(p, lr=0.01), generator=tg.Generator(seed))
        minimized(ordered, tg.Tensor(x), steps)
        own = np.abs((ordered.basis.numpy() * axes).sum(axis=0))
        rows.append((
            seed, sine(decoder, axes), model.loss(tg.Tensor(x)).item() / left - 1, float(cosines.max(axis=1).min()),
            sine(ordered.basis.numpy(), axes), float(own.min()),
        ))  # fmt: skip
    table(
        ("seed", "sine of the angle", "loss/PCA's − 1", "a unit's cosine with an axis, least", "ordered: sine",
         "ordered: cosine, least"), rows,
    )  # fmt: skip

    mean, whitener = models.whitening(tg.Tensor(x), k)
    white = (tg.Tensor(x) - mean) @ whitener.mT
    variances = np.linalg.eigvalsh(np.cov(white.numpy().T, bias=True))
    seconds = [linear(white, k // 2, seed, steps) for seed in (0, 1)]
    spans = [m.decoder[0].weight.numpy() for m in seconds]
    apart, losses = sine(*spans), [m.loss(white).item() for m in seconds]
    whole = linear(white, k, 0, steps)
    through = whole.decoder[0].weight.numpy() @ whole.encoder[0].weight.numpy()
    identity = float(np.abs(through - np.eye(k)).max())
    _, again = models.whitening(white, k)
    turn = float(np.abs(again.numpy() @ again.numpy().T - np.eye(k)).max())
    print(
        f"\nwhitened: variances from {variances[0]:.9f} to {variances[-1]:.9f}; whitened again, turned: to {turn:.0e}"
    )
    print(f"two autoencoders of {k // 2} units on it: losses {losses[0]:.6f} and {losses[1]:.6f} (any {k // 2} axes "
          f"leave {k - k // 2}), the sine between their subspaces {apart:.3f}")  # fmt: skip
    print(f"one of all {k}: its product of weights is the identity to {identity:.0e}")

    def draw(figure) -> None:
        left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
        above, middle, below = left.subplots(3, 1)
        pictures.filters(axes.T, columns=k, title="principal axes", axes=above)
        pictures.filters(model.decoder[0].weight.numpy().T, columns=k, title="the autoencoder's units", axes=middle)
        pictures.filters(ordered.basis.numpy().T, columns=k, title="orthonormal and ordered", axes=below)
        bars = right.subplots()
        bars.bar(range(1, k + 1), singular[:k] ** 2 / len(x), label="of the data")
        bars.plot(range(1, k + 1), variances, "ko-", label="whitened")
        bars.set(xlabel="component", ylabel="variance")
        bars.legend(fontsize=8)

    picture(args, "linear_autoencoder", draw, (10, 4))
    verdict(
        args,
        {
            "the same subspace as PCA's, to 1e-3": max(r[1] for r in rows) < 1e-3,
            "the loss that PCA leaves, to 1e-5": max(abs(r[2]) for r in rows) < 1e-5,
            "its units are not the principal axes": all(r[3] < 0.99 for r in rows),
            "orthonormal and ordered they are, to a cosine of 0.999": all(r[5] > 0.999 for r in rows),
            "whitened, all variances are 1, to 1e-6": float(np.abs(variances - 1).max()) < 1e-6,
            "two second layers have one loss, to 1e-6, and other subspaces":
                abs(losses[0] - losses[1]) < 1e-6 and apart > 0.1,
            "a second layer that keeps all is the identity, to 1e-4": identity < 1e-4,
        },
        started,
    )  # fmt: skip


if __name__ == "__main__":
    main()
