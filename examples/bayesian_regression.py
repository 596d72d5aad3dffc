"""On few examples a Bayesian net predicts better than the best single net of the same prior.

24 noisy points of a curve (four fifths of them in the two outer thirds) are fitted by a net of 20 tanh units with the
prior N(0, s²) on its weights: by the greatest posterior density (MAP), by Hamiltonian Monte Carlo over all weights and
the noise (20 chains), and by independent Gaussians (Bayes by backprop, with the noise as the HMC found it). All are
judged by −ln p(y | x), in nats, of 400 new points of the same distribution and of 400 over a third wider range.

Sources: Neal, "Bayesian learning for neural networks", 1996; Blundell et al., "Weight uncertainty in neural networks",
2015. Lecture 1, "Deep Neural Networks for Unsupervised Learning" (MAP or the full posterior).
"""

import time

import numpy as np
from _evidence import options, picture, table, verdict

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, models, nn, optim

NOISE, PRIOR = 0.2, 3.0


def points(n: int, seed: int, wide: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """x of both outer thirds of [−1, 1] mostly, y = curve(x) + noise"""
    random = np.random.default_rng(seed)
    if wide:
        x = random.uniform(-4 / 3, 4 / 3, (n, 1))
    else:
        middle = random.uniform(size=(n, 1)) < 0.2
        outer = random.uniform(1 / 3, 1, (n, 1)) * random.choice([-1, 1], (n, 1))
        x = np.where(middle, random.uniform(-1 / 3, 1 / 3, (n, 1)), outer)
    return x, data.toys.curve(x) + NOISE * random.standard_normal((n, 1))


def variational(x: np.ndarray, y: np.ndarray, noise: float, epochs: int, seed: int) -> models.NormalRegressor:
    generator = tg.Generator(seed)
    layers = [
        models.VariationalLinear(a, b, PRIOR, dtype=np.float64, generator=generator) for a, b in ((1, 20), (20, 1))
    ]
    model = models.NormalRegressor(nn.Sequential(layers[0], nn.Tanh(), layers[1]), noise=noise)
    for lr in (0.02, 0.005):
        models.train_variational(
            model, model.log_density, [(tg.Tensor(x), tg.Tensor(y))], len(x), epochs,
            optim.Adam(model.parameters(), lr=lr), warm_up=epochs // 2,
        )  # fmt: skip
    return model


def main() -> None:
    args = options(__doc__, seeds=3, draws=500)
    started = time.perf_counter()
    draws = 20 if args.quick else args.draws
    rows, wide_rows, shown = [], [], None
    for seed in range(args.seeds):
        x, y = points(24, seed)
        near, far = points(400, 100 + seed), points(400, 200 + seed, wide=True)
        net, generator = models.BayesianMLP([1, 20, 1], prior_std=PRIOR), tg.Generator(seed)
        best = net.map_estimate(x, y, net.draw(8, generator, np.float64), steps=10 * draws)
        posterior = models.hamiltonian(
            net.log_posterior(x, y), net.draw(20, generator, np.float64) * 0.3, draws, step_size=0.02, leapfrogs=40,
            burn=draws, target=0.8, generator=generator,
        )  # fmt: skip
        theta = posterior.pooled[:: max(1, len(posterior.pooled) // 2000)]
        noise = float(theta[:, -1].mean().exp())
        factors = variational(x, y, noise, 10 * draws, seed)
        found = []
        for at, target in (near, far):
            single = -float(net.predictive(best, at, target).mean())
            full = -float(net.predictive(theta, at, target).mean())
            independent = models.predictive_log_density(
                factors, factors.log_density, tg.Tensor(at), tg.Tensor(target), 200
            )
            found.append((single, full, -float(independent.mean())))
        rhat = float(models.split_rhat(posterior.log_density.reshape((draws, -1, 1)))[0])
        rows.append((seed, *found[0], posterior.acceptance, rhat))
        wide_rows.append((seed, *found[1]))
        shown = shown or (x, y, net, best, theta)
    head = ("seed", "MAP", "Hamiltonian Monte Carlo", "mean field")
    print("new points of the same distribution, −ln p in nats:")
    table((*head, "accepted", "R̂ of ln p"), rows)
    print("over a third wider range:")
    table(head, wide_rows)

    def draw(figure) -> None:
        x, y, net, best, theta = shown
        at = np.linspace(-1.5, 1.5, 200)[:, None]
        for axes, (name, weights) in zip(
            figure.subplots(1, 2, sharey=True), {"MAP": best, "Bayesian net (HMC)": theta}.items(), strict=True
        ):
            f = net(weights, at).numpy()[..., 0]
            noise = np.exp(weights.numpy()[:, -1:])
            mean, std = f.mean(0), np.sqrt(f.var(0) + (noise**2).mean())
            axes.fill_between(at[:, 0], mean - 2 * std, mean + 2 * std, color="#56B4E9", alpha=0.35, label="±2 std")
            axes.plot(at, mean, color="#0072B2", label="mean")
            axes.plot(at, data.toys.curve(at), "k:", label="truth")
            axes.plot(x, y, "o", color="#D55E00", markersize=4, label="examples")
            axes.set(title=name, ylim=(-3.5, 3.5), xlabel="x")
        axes.legend(fontsize=7)

    picture(args, "bayesian_regression", draw, (8, 3.4))
    verdict(
        args,
        {
            "the Bayesian net's test NLL is below MAP's, every seed": all(r[2] < r[1] for r in rows),
            "over the wider range too": all(r[2] < r[1] for r in wide_rows),
            "the chains agree, R̂ of ln p below 1.2": all(r[5] < 1.2 for r in rows),
        },
        started,
    )


if __name__ == "__main__":
    main()
