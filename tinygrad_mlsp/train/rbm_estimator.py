"""The RBM with scikit-learn's interface: `train.BernoulliRBM`, a transformer for its pipelines."""

from __future__ import annotations

import numbers
import warnings
from typing import Any

import numpy as np

from ..energy import RBM, FromData, Persistent, contrastive_divergence, pseudo_likelihood
from ..errors import OptionError, TrainingWarning
from ..optim import SGD
from ..random import Generator
from ..tensor import Tensor, no_grad


class _BernoulliRBM:
    """A restricted Boltzmann machine of binary units, trained by persistent contrastive divergence

    Hyper-parameters, attributes and methods are those of scikit-learn's BernoulliRBM, for which it can stand; beside
    them `momentum`, `sampler` ("pcd", or "cd" for chains that start at the data) with `steps` rounds an update, and
    `device`. Samples are values from 0 to 1; others are warned of. `rbm_` is the machine itself, a Module. Float32
    samples are learnt in float32, all others in float64. `score_samples` is the pseudo-likelihood in nats over all
    features, not over one drawn at random, so it is the same at every call.
    """

    def __init__(
        self, n_components: int = 256, *, learning_rate: float = 0.1, batch_size: int = 10, n_iter: int = 10,
        verbose: bool = False, random_state: Any = None, momentum: float = 0.0, sampler: str = "pcd", steps: int = 1,
        device: str | None = None,
    ) -> None:  # fmt: skip
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.momentum = momentum
        self.sampler = sampler
        self.steps = steps
        self.device = device

    def fit(self, X: Any, y: Any = None) -> Any:
        """Learns from samples X [n, features], n_iter times over, in the order in which they are."""
        X = self._checked(X, fresh=True)
        self._start(X)
        self.n_iter_ = 0
        for _ in range(self.n_iter):
            self._epoch(X)
            self.n_iter_ += 1
            if self.verbose:
                print(f"epoch {self.n_iter_}, pseudo-likelihood {self.score_samples(X[:1000]).mean():.4g}")
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """One update, from these samples as one batch."""
        fresh = "rbm_" not in vars(self)
        X = self._checked(X, fresh)
        if fresh:
            self._start(X)
        self._update(X)
        return self

    def transform(self, X: Any) -> np.ndarray[Any, Any]:
        """P(h = 1 | v), the features    [n, n_components]"""
        v = self._given(X)
        with no_grad():
            return self.rbm_(v).numpy()

    def score_samples(self, X: Any) -> np.ndarray[Any, Any]:
        """The pseudo-likelihood of each sample, Σᵢ ln p(vᵢ | the others), in nats    [n]"""
        v = self._given(X)
        parts = [pseudo_likelihood(self.rbm_, v[i : i + 100]).numpy() for i in range(0, len(v), 100)]
        return np.concatenate(parts)

    def gibbs(self, v: Any) -> np.ndarray[Any, Any]:
        """v after one round of Gibbs sampling    [n, features]"""
        return self.rbm_.gibbs(self._given(v), generator=self._generator).numpy().astype(bool)

    @property
    def components_(self) -> np.ndarray[Any, Any]:
        """The weights, [n_components, features], as scikit-learn has them."""
        return self._learnt().weight.numpy().T

    @property
    def intercept_hidden_(self) -> np.ndarray[Any, Any]:
        """The biases of the hidden units."""
        return self._learnt().hidden.bias.numpy()

    @property
    def intercept_visible_(self) -> np.ndarray[Any, Any]:
        """The biases of the visible units."""
        return self._learnt().visible.bias.numpy()

    @property
    def _n_features_out(self) -> int:
        return self._learnt().hidden.size

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _learnt(self) -> RBM:
        if "rbm_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has learnt nothing before fit")
        return self.rbm_

    def _given(self, X: Any) -> Tensor:
        from sklearn.utils.validation import validate_data

        from .estimators import _not_fitted

        if "rbm_" not in vars(self):
            raise _not_fitted(f"this {type(self).__name__} has learnt nothing yet: call fit first")
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        weight = self.rbm_.weight
        return Tensor(X.astype(weight.dtype, copy=False)).to(weight.device)

    def _checked(self, X: Any, fresh: bool) -> np.ndarray[Any, Any]:
        from sklearn.utils.validation import validate_data

        name = type(self).__name__
        for option, right in (
            ("n_components", _whole(self.n_components)), ("batch_size", _whole(self.batch_size)),
            ("n_iter", _whole(self.n_iter, 0)), ("steps", _whole(self.steps)),
            ("learning_rate", isinstance(self.learning_rate, numbers.Real) and self.learning_rate > 0),
            ("momentum", isinstance(self.momentum, numbers.Real) and 0 <= self.momentum < 1),
            ("sampler", self.sampler in ("pcd", "cd")),
        ):  # fmt: skip
            if not right:
                raise OptionError(f"{name}: {option} cannot be {getattr(self, option)!r}")
        X = validate_data(self, X, reset=fresh, dtype=[np.float64, np.float32], order="C")
        if X.min() < 0 or X.max() > 1:
            warnings.warn(
                f"{name}: values from {X.min():.4g} to {X.max():.4g}; binary units stand for values from 0 to 1: scale "
                "the samples, with MinMaxScaler for one",
                TrainingWarning,
                stacklevel=3,
            )
        return X

    def _start(self, X: np.ndarray[Any, Any]) -> None:
        from sklearn.utils import check_random_state

        self._generator = Generator(int(check_random_state(self.random_state).randint(2**31 - 1)))
        self.rbm_ = RBM(X.shape[1], int(self.n_components), generator=self._generator, dtype=X.dtype)
        if self.device is not None:
            self.rbm_.to(self.device)
        self._optimizer = SGD(self.rbm_.parameters(), lr=self.learning_rate, momentum=self.momentum)
        kind = Persistent if self.sampler == "pcd" else FromData
        self._samples = kind(self.rbm_, int(self.steps), generator=self._generator)

    def _epoch(self, X: np.ndarray[Any, Any]) -> None:
        for start in range(0, len(X), self.batch_size):
            self._update(X[start : start + self.batch_size])

    def _update(self, X: np.ndarray[Any, Any]) -> None:
        self._optimizer.zero_grad()
        v = Tensor(X).to(self.rbm_.weight.device)
        contrastive_divergence(self.rbm_, v, self._samples).backward()
        self._optimizer.step()


def _whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least
