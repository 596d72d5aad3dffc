"""What nobody meant to ask of the unsupervised and generative models: an error that names it, never silent NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import Generator, models, nn, optim
from tinygrad_mlsp.errors import DivergenceError, DTypeError, OptionError, ShapeError, TrainingWarning

X = np.random.default_rng(0).random((20, 6)).astype(np.float32)
START = np.zeros((2, 2))


def autoencoder() -> models.DeepAutoencoder:
    return models.DeepAutoencoder([6, 3], generator=Generator(0))


def vae(**options: Any) -> models.VAE:
    return models.VAE([6, 5, 2], generator=Generator(0), **options)


def gan(**options: Any) -> models.GAN:
    return models.GAN(models.MLP([3, 5, 6]), models.MLP([6, 5, 1]), 3, **options)


def bell(q: tg.Tensor) -> tg.Tensor:
    return -(q * q).sum(axis=-1)


def bayesian(x: Any, **options: Any) -> Any:
    net = models.BayesianMLP([6, 3, 1])
    return net.map_estimate(x, np.zeros((20, 1)), net.draw(2, Generator(0)), steps=3, **options)


def distilled(x: Any, **options: Any) -> Any:
    return models.distill(models.MLP([6, 3]), models.MLP([6, 3]), [x], **options)


def variational(x: Any = X, n: int = 20) -> Any:
    model = models.VariationalLinear(6, 1)
    return models.train_variational(model, lambda x, y: -(model(x) ** 2.0).sum(axis=-1), [x], n)


class Ruin(optim.SGD):
    """Its step leaves weights that are not finite, and no loss is computed after."""

    def __init__(self, parameters: Any) -> None:
        self.ruined = list(parameters)
        super().__init__(self.ruined, lr=0.1)

    def step(self, closure: Any = None) -> Any:
        for p in self.ruined:
            p.copy_(tg.full(p.shape, math.inf))


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: autoencoder().fit(X, optimizer="adam"), DTypeError, "optimizer is an Optimizer"),
        (lambda: autoencoder().fit(X, generator=3), DTypeError, "generator is a Generator"),
        (lambda: autoencoder().fit(X, 1, optimizer=Ruin), DivergenceError, "encoder.0.weight is not finite after 1"),
        (lambda: models.DeepAutoencoder([6, 3], activation="relu"), OptionError, "activation makes a Module"),
        (lambda: models.DeepAutoencoder([6, 3], nn.Tanh()), OptionError, "activation makes a Module"),
        (lambda: models.SubspaceAnalysis(6, 4).fit(X, epochs="a"), OptionError, "SubspaceAnalysis: epochs"),
        (lambda: models.greedy_pretrain(X, [autoencoder()], 3), DTypeError, "train is a function"),
        (lambda: models.unroll(3), OptionError, "unroll: wants a list"),
        (lambda: models.KernelPCA(2, gamma=-1.0), OptionError, "gamma"),
        (lambda: models.neighbours(X, 2.5), OptionError, "neighbours: k"),
        (lambda: models.whitening(X[:0]), ShapeError, "at least 1"),
        (lambda: models.VAE("abc"), ShapeError, "VAE: sizes"),
        (lambda: models.VAE([6, 0]), OptionError, "VAE: a size"),
        (lambda: models.VAE([6, 2], "gaussian", None), OptionError, "noise is 'each', 'shared' or a positive number"),
        (lambda: models.VAE([6, 2], classes="a"), OptionError, "VAE: classes"),
        (lambda: vae().sample(-1), OptionError, "VAE.sample: n"),
        (lambda: vae().importance_bound(tg.Tensor(X), samples=0), OptionError, "samples"),
        (lambda: models.binarized(X * np.nan), OptionError, "from 0 to 1"),
        (lambda: models.train_vae(vae(), [X], "a"), OptionError, "train_vae: epochs"),
        (lambda: models.train_vae(vae(), [X], 1, samples=0), OptionError, "train_vae: samples"),
        (lambda: models.train_vae(vae(), [X], 1, warm_up=-1), OptionError, "train_vae: warm_up"),
        (lambda: models.train_vae(vae(), [X], 1, "adam"), DTypeError, "the optimizer is an Optimizer"),
        (lambda: models.train_vae(m := vae(), [X], 1, Ruin(m.parameters())), DivergenceError, "after the last"),
        (lambda: models.GAN(3, 4, 2), DTypeError, "the generator is a Module"),
        (lambda: gan(classes="a"), OptionError, "GAN: classes"),
        (lambda: gan().sample(-1), OptionError, "GAN.sample: n"),
        (lambda: models.train_gan(gan(), [X], "a"), OptionError, "train_gan: epochs"),
        (lambda: models.train_gan(gan(), [X], penalty="a"), OptionError, "penalty"),
        (lambda: models.train_gan(gan(), [X], 1, optim.SGD(gan().parameters(), 0.1)), DTypeError, "optimizers are two"),
        (lambda: models.coverage(X[:0], X), ShapeError, "wants examples"),
        (lambda: models.Pool("a"), OptionError, "Pool: size"),
        (lambda: models.hamiltonian(bell, START, 1.5), OptionError, "hamiltonian: n"),
        (lambda: models.hamiltonian(bell, START, 2, keep_every=5), OptionError, "none would be kept"),
        (lambda: models.hamiltonian(bell, START, 2, step_size="a"), OptionError, "positive step_size"),
        (lambda: models.hamiltonian(lambda q: 3.0, START, 2), ShapeError, "gives a Tensor"),
        (lambda: models.langevin(bell, START, 0, adjusted=False), OptionError, "langevin: n"),
        (lambda: models.langevin(bell, START, 2, burn=-1, adjusted=False), OptionError, "langevin: burn"),
        (lambda: models.langevin(bell, START, 2, step_size=-1), OptionError, "step_size must be positive"),
        (lambda: models.langevin(bell, START, 2, keep_every=0, adjusted=False), OptionError, "keep_every"),
        (lambda: models.effective_size(np.zeros((9, 2))), ShapeError, "kept, chains, dim"),
        (lambda: models.split_rhat(np.full((9, 2, 2), np.nan)), OptionError, "not finite"),
        (lambda: models.BayesianMLP(3), ShapeError, "sizes are"),
        (lambda: models.BayesianMLP([2, 1], prior_std="a"), OptionError, "prior_std"),
        (lambda: bayesian(X * np.nan), DivergenceError, "density is not finite"),
        (lambda: bayesian(X, lr=1e30), DivergenceError, "density is not finite"),
        (lambda: variational(X * np.nan), OptionError, "train_variational: the data have nan"),
        (lambda: variational(n=0), OptionError, "train_variational: n"),
        (lambda: models.NormalRegressor(models.MLP([6, 2]), noise=None), OptionError, "noise is"),
        (lambda: models.NormalRegressor(models.MLP([6, 2]), 0), OptionError, "targets"),
        (lambda: distilled(X * np.nan), DivergenceError, "the loss is nan at batch 1"),
        (lambda: distilled(X[:0]), ShapeError, "one row"),
        (lambda: distilled(X, optimizer="adam"), DTypeError, "optimizer"),
        (lambda: distilled(X, temperature="a"), OptionError, "temperature"),
        (lambda: models.random_inputs(6, 1), ShapeError, "random_inputs: the shape"),
        (lambda: models.random_inputs((6,), 1, std=-1.0), OptionError, "random_inputs: std"),
        (lambda: models.random_inputs((5,), 1, like=tg.Tensor(X)), ShapeError, "like has inputs"),
    ],
)  # fmt: skip
def test_it_is_named(make: Callable[[], Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        make()


def test_a_game_without_a_step_of_the_generator_says_so() -> None:
    with pytest.warns(TrainingWarning, match="generator made no step"):
        history = models.train_gan(gan(), [X], 1, critic_steps=5, generator=Generator(0))
    assert history.verdict() == "no step of the generator was played"


def test_no_draws_are_no_rows() -> None:
    assert vae().sample(0).shape == (0, 6)


def test_a_variational_training_takes_arrays_as_the_others_do() -> None:
    assert math.isfinite(variational()[0])
