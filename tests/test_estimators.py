"""The estimators: every check that scikit-learn has for estimators, and what it has not."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from tinygrad_mlsp import data, train
from tinygrad_mlsp.errors import DivergenceError, MissingDependency, NotFitted, OptionError

sklearn = pytest.importorskip("sklearn")
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 5))
CLASS = np.array(["low", "mid", "top"])[np.digitize(X[:, 0] + X[:, 1] ** 2, [0.3, 1.3])]
NUMBER = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
KINDS = [("NetClassifier", CLASS), ("NetRegressor", NUMBER)]


@pytest.mark.parametrize("name", ["NetClassifier", "NetRegressor"])
def test_every_check_of_scikit_learn_passes(name: str) -> None:
    """In a process of its own, for one of the checks needs SciPy to be told before it is imported."""
    code = f"""
import warnings
warnings.simplefilter("ignore")
from sklearn.utils.estimator_checks import check_estimator
from tinygrad_mlsp import train
found = check_estimator(train.{name}(), on_fail=None, on_skip=None)
rest = [(one["check_name"], one["status"], str(one["exception"])[:99]) for one in found if one["status"] != "passed"]
print(len(found), rest)
"""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, rest = done.stdout.split(maxsplit=1)
    assert int(count) > 45 and rest == "[]\n"


@pytest.mark.parametrize("name, y", KINDS)
@pytest.mark.parametrize(
    "options", [{}, {"solver": "sgd", "learning_rate_init": 0.05},
                {"activation": "tanh", "hidden_layer_sizes": (20, 10)},
                {"activation": "logistic", "learning_rate_init": 0.03}, {"batch_size": 16},
                {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.03},
                {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1, "power_t": 0.1}],
)  # fmt: skip
def test_it_learns(name: str, y: Any, options: dict[str, Any]) -> None:
    net = getattr(train, name)(random_state=1, **{"learning_rate_init": 0.01, "n_iter_no_change": 30, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(X, y)
    assert net.score(X, y) > (0.85 if name == "NetClassifier" else 0.8)
    assert net.loss_curve_[-1] < net.loss_curve_[0] / 2 and len(net.loss_curve_) == net.n_iter_
    assert net.coefs_[0].shape[0] == 5 and len(net.coefs_) == len(net.intercepts_) == net.n_layers_ - 1


def test_it_does_as_well_as_scikit_learns_own() -> None:
    from sklearn.neural_network import MLPClassifier

    d = data.digits()
    scores = []
    for kind in (train.NetClassifier, MLPClassifier):
        net = kind(hidden_layer_sizes=(32,), random_state=0, max_iter=40, learning_rate_init=0.005)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            scores.append(net.fit(d.train_x, d.train_y).score(d.test_x, d.test_y))
        assert net.coefs_[0].dtype == np.float32
    assert scores[0] > 0.94 and scores[0] > scores[1] - 0.02


def test_one_step_equals_scikit_learns() -> None:
    """The same weights, the same samples: the same weights after, penalty and sample weights included."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    for ours, theirs, y in ((train.NetClassifier, MLPClassifier, CLASS), (train.NetRegressor, MLPRegressor, NUMBER)):
        for solver in ("adam", "sgd"):
            options = {"hidden_layer_sizes": (7,), "solver": solver, "alpha": 0.5, "batch_size": 300, "random_state": 0,
                       "shuffle": False, "max_iter": 1, "momentum": 0.0}  # fmt: skip
            a, b = ours(**options), theirs(**options)
            weight = np.linspace(0.5, 2, 300)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                b.fit(X, y)
                a.fit(X, y)
                for layer, w, c in zip(a._layers(), b.coefs_, b.intercepts_, strict=True):
                    layer.weight.copy_(w.T.copy())
                    layer.bias.copy_(c.copy())
                a._optimizer = type(a._optimizer)(list(a.net_.parameters()), a.learning_rate_init)
                b._optimizer = None
                b.set_params(warm_start=True)
                a.set_params(warm_start=True)
                b.fit(X, y, sample_weight=weight)
                a.fit(X, y, sample_weight=weight)
            for w, v in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
                np.testing.assert_allclose(w, v, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name, y", KINDS)
def test_random_state_decides(name: str, y: Any) -> None:
    def weights(**options: Any) -> np.ndarray[Any, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return getattr(train, name)(max_iter=3, batch_size=50, **options).fit(X, y).coefs_[0]

    assert (weights(random_state=3) == weights(random_state=3)).all()
    assert (weights(random_state=3) == weights(random_state=np.random.RandomState(3))).all()
    assert (weights(random_state=3) != weights(random_state=4)).any() and (weights() != weights()).any()
    assert (weights(random_state=3) != weights(random_state=3, shuffle=False)).any()


@pytest.mark.parametrize("name, y", KINDS)
def test_early_stopping_keeps_the_best(name: str, y: Any) -> None:
    net = getattr(train, name)(
        early_stopping=True, random_state=0, learning_rate_init=0.02, n_iter_no_change=20, tol=0.0
    )
    net.fit(X, y)
    assert net.n_iter_ < 200 and len(net.validation_scores_) == net.n_iter_
    assert net.best_validation_score_ == max(net.validation_scores_) > net.validation_scores_[0]
    assert np.argmax(net.validation_scores_) == net.n_iter_ - 21
    with pytest.raises(OptionError, match="partial_fit"):
        net.partial_fit(X, y)


@pytest.mark.parametrize("name, y", KINDS)
def test_warm_start_and_partial_fit_go_on(name: str, y: Any) -> None:
    options = {"random_state": 0, "batch_size": 64}
    with pytest.warns(ConvergenceWarning, match="max_iter=6"):
        whole = getattr(train, name)(max_iter=6, **options).fit(X, y)
    warm = getattr(train, name)(max_iter=3, warm_start=True, **options)
    with pytest.warns(ConvergenceWarning):
        warm.fit(X, y).fit(X, y)
    parts = getattr(train, name)(**options)
    for i in range(6):
        parts.partial_fit(X, y, **({"classes": np.unique(y)} if name == "NetClassifier" and not i else {}))
    for other in (warm, parts):
        assert all((a == b).all() for a, b in zip(whole.coefs_, other.coefs_, strict=True))
    assert warm.loss_curve_ == whole.loss_curve_ == parts.loss_curve_ and parts.n_iter_ == 6


def test_classes_are_watched() -> None:
    net = train.NetClassifier(max_iter=1).partial_fit(X[:9], CLASS[:9], classes=["low", "mid", "top", "zzz"])
    assert net.predict_proba(X).shape == (300, 4) and set(net.predict(X)) <= set(net.classes_)
    np.testing.assert_allclose(np.exp(net.predict_log_proba(X)), net.predict_proba(X))
    with pytest.raises(OptionError, match="not those of the first call"):
        net.partial_fit(X, CLASS, classes=["low", "mid"])
    with pytest.raises(OptionError, match="not among"):
        net.partial_fit(X[:1], ["new"])


def test_several_outputs() -> None:
    y = np.stack([NUMBER, X[:, 0]], 1)
    net = train.NetRegressor(learning_rate_init=0.01, random_state=0, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(X, y)
    assert net.predict(X).shape == (300, 2) and net.score(X, y) > 0.8
    with pytest.raises(OptionError, match="2 outputs were learnt"):
        net.partial_fit(X, NUMBER)


def test_in_a_pipeline_and_a_search() -> None:
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipe = make_pipeline(StandardScaler(), train.NetClassifier(max_iter=30, random_state=0))
    grid = GridSearchCV(pipe, {"netclassifier__learning_rate_init": [1e-5, 1e-2]}, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        grid.fit(100 * X + 1000, CLASS)
    assert grid.best_params_ == {"netclassifier__learning_rate_init": 1e-2}


def test_it_runs_on_the_device(device: str) -> None:
    for name, y in KINDS:
        nets = [getattr(train, name)(max_iter=4, random_state=0, early_stopping=True, device=d) for d in (None, device)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            a, b = (net.fit(X, y) for net in nets)
        np.testing.assert_allclose(a.coefs_[0], b.coefs_[0], rtol=1e-6)
        assert (device == "cpu") == (b.net_[0].weight.device == "cpu") and type(b.predict(X)) is np.ndarray


@pytest.mark.parametrize(
    "options",
    [{"hidden_layer_sizes": (0,)}, {"hidden_layer_sizes": -3}, {"activation": "step"}, {"solver": "newton"},
     {"alpha": -1},
     {"batch_size": 0}, {"batch_size": "all"}, {"learning_rate": "fast"}, {"max_iter": 0}, {"tol": -1}, {"momentum": 1},
     {"validation_fraction": 0}, {"n_iter_no_change": 0}, {"learning_rate_init": -1.0}, {"beta_1": 1.0}],
    ids=str,
)  # fmt: skip
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        train.NetRegressor(**options).fit(X, NUMBER)


def test_errors() -> None:
    for kind in (NotFitted, NotFittedError):
        with pytest.raises(kind, match="call fit first"):
            train.NetClassifier().predict(X)
    with pytest.raises(AttributeError):
        train.NetClassifier().coefs_  # noqa: B018
    with pytest.raises(DivergenceError, match="learning_rate_init"), np.errstate(all="ignore"):
        train.NetRegressor(solver="sgd", learning_rate_init=1e6).fit(X * 100, NUMBER)
    with pytest.raises(ValueError, match="Negative"):
        train.NetRegressor().fit(X, NUMBER, sample_weight=np.full(300, -1.0))
    with pytest.raises(AttributeError, match="no attribute"):
        train.estimators.NetGuesser  # noqa: B018


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nfrom tinygrad_mlsp import train, errors\n"
    code += "try:\n    train.NetClassifier\nexcept errors.MissingDependency as e:\n    print(e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'tinygrad_mlsp[estimators]'" in done.stdout, done.stderr
    assert issubclass(MissingDependency, ImportError)


OPTIONS: dict[str, tuple[list[Any], list[Any]]] = {  # two values that are right, and some that are not
    "hidden_layer_sizes": ([(), np.array([3, 2])], [0, "a", (2.5,), None]),
    "activation": (["tanh", "identity"], ["x", None, [1]]), "solver": (["adam", "sgd"], ["lbfgs", 3]),
    "alpha": ([0, 1.0], [-1, "a", None]), "batch_size": ([7, 1000], [0, "x", 2.5]),
    "learning_rate": (["constant", "adaptive"], ["x", None]), "learning_rate_init": ([0.1, 1], [0, -1, "a", math.nan]),
    "power_t": ([0.2, 1], [-1, "a", None]), "max_iter": ([1, 3], [0, "a", 1.5]), "shuffle": ([False, True], ["a"]),
    "tol": ([0, 0.01], [-1, "a"]), "verbose": ([False, 0], ["a"]), "warm_start": ([True, False], ["a"]),
    "momentum": ([0, 0.5], [1, "a"]), "nesterovs_momentum": ([False, True], ["a"]),
    "early_stopping": ([True, False], ["a"]), "validation_fraction": ([0.2, 0.5], [0, 1, "a"]),
    "beta_1": ([0, 0.5], [1, "a"]), "beta_2": ([0, 0.5], [1, "a"]), "epsilon": ([1e-3, 1], [-1, "a"]),
    "n_iter_no_change": ([1, math.inf], [0, "a", 1.5]), "device": ([None, "cpu"], []),
}  # fmt: skip


@pytest.mark.parametrize("name, y", KINDS)
def test_every_option_at_two_values_and_wrong(name: str, y: Any) -> None:
    kind = getattr(train, name)
    own = set(kind().get_params()) - {"random_state"}
    assert own == set(OPTIONS)
    for option, (right, wrong) in OPTIONS.items():
        solver = "sgd" if option in ("momentum", "nesterovs_momentum", "power_t", "learning_rate") else "adam"
        for value in right:
            options = {"max_iter": 2, "hidden_layer_sizes": (4,), "solver": solver, "random_state": 0, option: value}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                net = kind(**options).fit(X[:60], y[:60])
            assert np.isfinite(net.loss_) and len(net.predict(X)) == len(X)
        for value in wrong:
            with pytest.raises(OptionError, match=r"(Net|Adam)\w*: .*got"):
                kind(**{"solver": solver, option: value}).fit(X[:60], y[:60])
