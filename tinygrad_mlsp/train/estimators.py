"""Nets with scikit-learn's interface: NetClassifier and NetRegressor, for its pipelines and searches.

The two classes are made when they are first asked for, since their parents come from scikit-learn.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import DivergenceError, MissingDependency, NotFitted, OptionError
from ..nn import Identity, Linear, Module, ReLU, Sequential, Sigmoid, Tanh, init
from ..nn import functional as F
from ..optim import SGD, Adam
from ..random import Generator
from ..tensor import Tensor, no_grad
from .rbm_estimator import _BernoulliRBM

ACTIVATIONS: dict[str, type[Module]] = {"relu": ReLU, "tanh": Tanh, "logistic": Sigmoid, "identity": Identity}
_RATES = ("constant", "invscaling", "adaptive")


class _Net:
    """What both share: hyper-parameters with scikit-learn's names and defaults, and the training."""

    _estimator_type_: str
    classes_: Any

    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: str = "relu", *, solver: str = "adam", alpha: float = 1e-4,
        batch_size: int | str = "auto", learning_rate: str = "constant", learning_rate_init: float = 1e-3,
        power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True, random_state: Any = None, tol: float = 1e-4,
        verbose: bool = False, warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool = False, validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-8, n_iter_no_change: int = 10, device: str | None = None,
    ) -> None:  # fmt: skip
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.device = device

    # What a classifier and a regressor do differently

    def _targets(self, y: Any, fresh: bool, classes: Any = None) -> np.ndarray[Any, Any]:
        raise NotImplementedError

    def _width(self, y: np.ndarray[Any, Any]) -> int:
        raise NotImplementedError

    def _losses(self, output: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    # Interface

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Learns from samples X [n, features] and targets y; with `warm_start`, from where the last fit ended.

        A sample of weight 2 counts as two samples in its batch, one of weight 0 is as if it were not there.
        """
        self._check_options()
        fresh = not (self.warm_start and hasattr(self, "net_"))
        X, y, weight = self._checked(X, y, sample_weight, fresh, None)
        if fresh:
            self._start(X, y)
        self._train(X, y, weight, self.max_iter)
        return self

    def _partial_fit(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Any:
        self._check_options()
        if self.early_stopping:
            raise OptionError(f"{type(self).__name__}: partial_fit knows no early_stopping")
        fresh = not hasattr(self, "net_")
        X, y, weight = self._checked(X, y, sample_weight, fresh, classes)
        if fresh:
            self._start(X, y)
        self._train(X, y, weight, 1, once=True)
        return self

    @property
    def coefs_(self) -> list[np.ndarray[Any, Any]]:
        """The layers' weights, [inputs, outputs] each, as scikit-learn has them."""
        return [layer.weight.numpy().T for layer in self._layers()]

    @property
    def intercepts_(self) -> list[np.ndarray[Any, Any]]:
        """The layers' biases."""
        return [layer.bias.numpy() for layer in self._layers()]

    def _layers(self) -> list[Any]:
        if "net_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no weights before fit")
        return [layer for layer in self.net_.modules() if isinstance(layer, Linear)]

    def _outputs(self, X: Any) -> np.ndarray[Any, Any]:
        from sklearn.utils.validation import validate_data

        if not hasattr(self, "net_"):
            raise _not_fitted(f"this {type(self).__name__} has learnt nothing yet: call fit first")
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        weight = self._layers()[0].weight
        with no_grad():
            return self.net_(Tensor(X.astype(weight.dtype, copy=False)).to(weight.device)).numpy()

    # Training

    def _checked(self, X: Any, y: Any, sample_weight: Any, fresh: bool, classes: Any) -> tuple[Any, Any, Any]:
        from sklearn.utils.validation import _check_sample_weight, validate_data

        X, y = validate_data(
            self, X, y, reset=fresh, dtype=[np.float64, np.float32], multi_output=True, y_numeric=False, order="C"
        )
        y = self._targets(y, fresh, classes)
        if sample_weight is None:
            return X, y, np.ones(len(X), X.dtype)
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        if not weight.any():
            raise OptionError(f"{type(self).__name__}: every sample_weight is zero; at least one must be positive")
        return X[weight > 0], y[weight > 0], weight[weight > 0]

    def _start(self, X: Any, y: Any) -> None:
        """A new net, its optimizer, and empty records."""
        from sklearn.utils import check_random_state

        self._generator = Generator(int(check_random_state(self.random_state).randint(2**31 - 1)))
        hidden = self.hidden_layer_sizes
        sizes = [X.shape[1], *([hidden] if isinstance(hidden, numbers.Integral) else hidden), self._width(y)]
        layers: list[Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layer = Linear(fan_in, fan_out, generator=self._generator)
            if self.activation == "relu":
                init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=self._generator)
            else:
                init.xavier_uniform_(layer.weight, generator=self._generator)
            if layer.bias is not None:
                init.zeros_(layer.bias)
            layers += [layer, ACTIVATIONS[self.activation]()]
        self.net_ = Sequential(*layers[:-1]).to(self.device, X.dtype)
        parameters = list(self.net_.parameters())
        self._optimizer: Any
        if self.solver == "adam":
            betas = (self.beta_1, self.beta_2)
            self._optimizer = Adam(parameters, self.learning_rate_init, betas, self.epsilon)
        else:
            nesterov = self.nesterovs_momentum and self.momentum > 0
            self._optimizer = SGD(parameters, self.learning_rate_init, self.momentum, nesterov=nesterov)
        self.n_outputs_ = sizes[-1]
        self.n_layers_ = len(sizes)
        self.n_iter_ = self.t_ = 0
        self.loss_curve_: list[float] = []

    def _train(self, X: Any, y: Any, weight: Any, epochs: int, once: bool = False) -> None:
        held: Any = None
        if self.early_stopping:
            X, y, weight, held = self._held_back(X, y, weight)
            self.validation_scores_: list[float] = []
        self.best_loss_ = math.inf
        best_score, best_state, waited = -math.inf, None, 0
        for epoch in range(epochs):
            self.loss_ = self._epoch(X, y, weight)
            self.loss_curve_.append(self.loss_)
            self.n_iter_ = self.n_iter_ + 1 if once else epoch + 1
            better = self.loss_ < self.best_loss_ - self.tol
            self.best_loss_ = min(self.best_loss_, self.loss_)
            if held is not None:
                score = self._validated(*held)
                better = score > best_score + self.tol
                self.validation_scores_.append(score)
                if score > best_score:
                    best_score, best_state = score, self.net_.state_dict()
            if self.verbose:
                print(f"epoch {len(self.loss_curve_)}, loss {self.loss_:.6g}")
            waited = 0 if better else waited + 1
            if waited >= self.n_iter_no_change and not once:
                group = self._optimizer.param_groups[0]
                if self.solver != "sgd" or self.learning_rate != "adaptive" or group["lr"] <= 1e-6:
                    break
                group["lr"], waited = group["lr"] / 5, 0
        else:
            if not once:
                from sklearn.exceptions import ConvergenceWarning

                warnings.warn(f"{type(self).__name__}: after max_iter={epochs} epochs the loss still fell; "
                              "more may help", ConvergenceWarning, stacklevel=3)  # fmt: skip
        if held is not None:
            self.best_validation_score_ = best_score
            if best_state is not None:
                self.net_.load_state_dict(best_state)

    def _epoch(self, X: Any, y: Any, weight: Any) -> float:
        """One pass; the mean loss over its samples."""
        total, layers = 0.0, self._layers()
        for rows in self._batches(len(X)):
            x, t, w = (
                Tensor(part[rows]).to(self.device) if self.device else Tensor(part[rows]) for part in (X, y, weight)
            )
            self._optimizer.zero_grad()
            loss = (self._losses(self.net_(x), t) * w).sum()
            if self.alpha:
                loss = loss + sum((layer.weight**2).sum() for layer in layers) * (0.5 * self.alpha)
            mass = float(weight[rows].sum())
            (loss / mass).backward()
            found = float(loss.item())
            if not math.isfinite(found):
                raise DivergenceError(
                    f"{type(self).__name__}: the loss is {found} in epoch {len(self.loss_curve_) + 1}; "
                    "scale the features, or lower learning_rate_init"
                )
            total += found
            if self.solver == "sgd" and self.learning_rate == "invscaling":
                self._optimizer.param_groups[0]["lr"] = self.learning_rate_init / (self.t_ + 1) ** self.power_t
            self._optimizer.step()
            self.t_ += len(rows) if isinstance(rows, np.ndarray) else rows.stop - rows.start
        return total / float(weight.sum())

    def _batches(self, n: int) -> Iterator[Any]:
        size = min(200, n) if self.batch_size == "auto" else min(int(self.batch_size), n)
        # a batch of all samples needs no order
        order = self._generator.permutation(n) if self.shuffle and size < n else None
        for start in range(0, n, size):
            rows = slice(start, min(start + size, n))
            yield rows if order is None else order[rows]

    def _held_back(self, X: Any, y: Any, weight: Any) -> tuple[Any, Any, Any, Any]:
        """Training samples, and those on which the stopping is decided."""
        from sklearn.model_selection import train_test_split

        seed = int(self._generator.bits(1)[0] % 2**32)
        label = y if hasattr(self, "classes_") else None
        try:
            parts = train_test_split(
                X, y, weight, test_size=self.validation_fraction, random_state=seed, stratify=label
            )
        except ValueError as problem:
            raise OptionError(
                f"{type(self).__name__}: with {len(X)} samples and validation_fraction={self.validation_fraction} none "
                f"can be held back to stop early: {problem}"
            ) from None
        return parts[0], parts[2], parts[4], (parts[1], parts[3], parts[5])

    def _validated(self, X: Any, y: Any, weight: Any) -> float:
        raise NotImplementedError

    def _forward(self, X: Any) -> np.ndarray[Any, Any]:
        with no_grad():
            x = Tensor(X)
            return self.net_(x.to(self.device) if self.device else x).numpy()

    def _check_options(self) -> None:
        hidden = self.hidden_layer_sizes
        listed = isinstance(hidden, (list, tuple, np.ndarray))
        sizes = list(hidden) if listed else [hidden]

        def whole(value: Any) -> bool:
            return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) > 0

        def within(value: Any, low: float, high: float = math.inf) -> bool:
            return isinstance(value, numbers.Real) and low <= float(value) < high

        def one_of(value: Any, known: Any) -> bool:
            return isinstance(value, str) and value in known

        for name in ("shuffle", "verbose", "warm_start", "nesterovs_momentum", "early_stopping"):
            if not isinstance(getattr(self, name), (bool, np.bool_, numbers.Integral)):
                raise OptionError(f"{type(self).__name__}: {name} is True or False, got {getattr(self, name)!r}")
        for name, right, wanted in (
            ("hidden_layer_sizes", all(map(whole, sizes)), "a number of 1 or more for each hidden layer"),
            ("activation", one_of(self.activation, ACTIVATIONS), f"one of {', '.join(ACTIVATIONS)}"),
            ("solver", one_of(self.solver, ("adam", "sgd")), "'adam' or 'sgd'"),
            ("alpha", within(self.alpha, 0), "a number of 0 or more"),
            ("batch_size", one_of(self.batch_size, ("auto",)) or whole(self.batch_size),
             "'auto', or a number of 1 or more"),
            ("learning_rate", one_of(self.learning_rate, _RATES), f"one of {', '.join(_RATES)}"),
            ("learning_rate_init", within(self.learning_rate_init, 0) and self.learning_rate_init > 0, "above 0"),
            ("power_t", within(self.power_t, 0), "a number of 0 or more"),
            ("max_iter", whole(self.max_iter), "a whole number of 1 or more"),
            ("tol", within(self.tol, 0), "a number of 0 or more"),
            ("momentum", within(self.momentum, 0, 1), "a number from 0 to below 1"),
            ("validation_fraction", within(self.validation_fraction, 0, 1) and self.validation_fraction > 0,
             "a number between 0 and 1"),
            ("n_iter_no_change", whole(self.n_iter_no_change) or self.n_iter_no_change == math.inf,
             "a whole number of 1 or more"),
        ):  # fmt: skip
            if not right:
                raise OptionError(f"{type(self).__name__}: {name} must be {wanted}, got {getattr(self, name)!r}")


class _NetClassifier(_Net):
    """A net of linear layers that tells classes apart: softmax over its outputs, trained on the cross-entropy in nats

    Hyper-parameters, attributes and methods are those of scikit-learn's MLPClassifier where it has them; `solver` is
    "adam" or "sgd". The penalty is (alpha/2) Σ W²/n over the weights, without the biases. `net_` is the net itself, a
    Module. `device="cuda"` trains on a GPU. Float32 samples are learnt in float32, all others in float64.
    """

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """One more epoch, on these samples. The first call must name all classes that there will be."""
        return self._partial_fit(X, y, classes, sample_weight)

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """The most likely class of each sample."""
        output = self._outputs(X)
        return self.classes_[output.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray[Any, Any]:
        """The probability of each class, [n, classes], in the order of `classes_`."""
        return F.softmax(Tensor(self._outputs(X)), -1).numpy()

    def predict_log_proba(self, X: Any) -> np.ndarray[Any, Any]:
        """The logarithms of `predict_proba`."""
        return F.log_softmax(Tensor(self._outputs(X)), -1).numpy()

    def _targets(self, y: Any, fresh: bool, classes: Any = None) -> np.ndarray[Any, Any]:
        from sklearn.utils.multiclass import check_classification_targets
        from sklearn.utils.validation import column_or_1d

        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if fresh:
            self.classes_ = np.unique(y if classes is None else classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise OptionError(f"{type(self).__name__}: classes are not those of the first call, {self.classes_}")
        number = np.searchsorted(self.classes_, y)
        if np.any(self.classes_[np.minimum(number, len(self.classes_) - 1)] != y):
            raise OptionError(f"{type(self).__name__}: y has classes that are not among {self.classes_}")
        return number

    def _width(self, y: np.ndarray[Any, Any]) -> int:
        return len(self.classes_)

    def _losses(self, output: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(output, y, reduction="none")

    def _validated(self, X: Any, y: Any, weight: Any) -> float:
        return float(np.average(self._forward(X).argmax(axis=1) == y, weights=weight))


class _NetRegressor(_Net):
    """A net of linear layers with numbers as its answer, trained on half the mean squared error

    Hyper-parameters, attributes and methods are those of scikit-learn's MLPRegressor where it has them; `solver` is
    "adam" or "sgd". The penalty is (alpha/2) Σ W²/n over the weights, without the biases. `net_` is the net itself, a
    Module. `device="cuda"` trains on a GPU. Float32 samples are learnt in float32, all others in float64.
    """

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """One more epoch, on these samples."""
        return self._partial_fit(X, y, None, sample_weight)

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """The answers, [n] or [n, outputs] as the targets were."""
        output = self._outputs(X)
        return output[:, 0] if self._flat else output

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.multi_output = True
        return tags

    def _targets(self, y: Any, fresh: bool, classes: Any = None) -> np.ndarray[Any, Any]:
        from sklearn.utils.validation import column_or_1d

        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        y = np.asarray(y, y.dtype if y.dtype == np.float32 else np.float64)
        if fresh:
            self._flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        if not fresh and y.shape[1] != self.n_outputs_:
            raise OptionError(f"{type(self).__name__}: {self.n_outputs_} outputs were learnt, y has {y.shape[1]}")
        return y

    def _width(self, y: np.ndarray[Any, Any]) -> int:
        return int(y.shape[1])

    def _losses(self, output: Tensor, y: Tensor) -> Tensor:
        return ((output - y.to(dtype=output.dtype)) ** 2).mean(axis=1) * 0.5

    def _validated(self, X: Any, y: Any, weight: Any) -> float:
        from sklearn.metrics import r2_score

        return float(r2_score(y, self._forward(X), sample_weight=weight))


def _not_fitted(message: str) -> Exception:
    """Ours, which is scikit-learn's NotFittedError at the same time."""
    from sklearn.exceptions import NotFittedError

    return type("NotFitted", (NotFitted, NotFittedError), {"__module__": __name__})(message)


def __getattr__(name: str) -> Any:
    """NetClassifier, NetRegressor and BernoulliRBM, which need scikit-learn, when they are asked for."""
    kinds: dict[str, Any] = {
        "NetClassifier": _NetClassifier, "NetRegressor": _NetRegressor, "BernoulliRBM": _BernoulliRBM,
    }  # fmt: skip
    if name not in kinds:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    try:
        from sklearn import base
    except ImportError as problem:
        raise MissingDependency(f"{name} needs scikit-learn: pip install 'tinygrad_mlsp[estimators]'") from problem
    mixins: tuple[type, ...] = (base.ClassifierMixin,) if name == "NetClassifier" else (base.RegressorMixin,)
    if name == "BernoulliRBM":
        mixins = (base.ClassNamePrefixFeaturesOutMixin, base.TransformerMixin)
    own = kinds[name]
    made = type(name, (own, *mixins, base.BaseEstimator), {"__module__": __name__, "__doc__": own.__doc__})
    globals()[name] = made
    return made
