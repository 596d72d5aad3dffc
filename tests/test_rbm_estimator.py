"""train.BernoulliRBM: scikit-learn's own checks, and what its BernoulliRBM does in its place."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tinygrad_mlsp import data, train
from tinygrad_mlsp.errors import DivergenceError, NotFitted, OptionError, TrainingWarning

sklearn = pytest.importorskip("sklearn")
from scipy.special import expit  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402

X = (np.random.default_rng(0).random((60, 6)) < [0.9, 0.1, 0.5, 0.5, 0.2, 0.7]).astype(np.float64)


def test_every_check_of_scikit_learn_passes() -> None:
    """In a process of its own, for one of the checks needs SciPy to be told before it is imported."""
    code = """
import warnings
warnings.simplefilter("ignore")
from sklearn.utils.estimator_checks import check_estimator
from tinygrad_mlsp import train
found = check_estimator(train.BernoulliRBM(), on_fail=None, on_skip=None)
rest = [(one["check_name"], one["status"], str(one["exception"])[:99]) for one in found if one["status"] != "passed"]
print(len(found), rest)
"""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, rest = done.stdout.split(maxsplit=1)
    assert int(count) > 40 and rest == "[]\n"


def test_it_has_what_scikit_learns_has() -> None:
    from sklearn.neural_network import BernoulliRBM

    ours, theirs = (
        kind(n_components=4, n_iter=3, random_state=0, learning_rate=0.05)
        for kind in (train.BernoulliRBM, BernoulliRBM)
    )
    assert set(theirs.get_params()) <= set(ours.get_params())
    ours.fit(X)
    theirs.fit(X)
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
    assert ours.n_features_in_ == 6 and list(ours.get_feature_names_out()) == [f"bernoullirbm{i}" for i in range(4)]
    np.testing.assert_allclose(ours.transform(X), expit(X @ ours.components_.T + ours.intercept_hidden_), atol=1e-12)
    assert ours.gibbs(X).shape == X.shape and ours.gibbs(X).dtype == bool
    assert ours.fit_transform(X).dtype == np.float64 and ours.fit_transform(X.astype(np.float32)).dtype == np.float32
    theirs.components_ = ours.components_
    theirs.intercept_hidden_, theirs.intercept_visible_ = ours.intercept_hidden_, ours.intercept_visible_
    one_at_a_time = [theirs.score_samples(X).mean() for _ in range(300)]  # n ln p of a single feature, drawn
    assert np.mean(one_at_a_time) == pytest.approx(ours.score_samples(X).mean(), abs=0.1)
    assert (ours.score_samples(X) == ours.score_samples(X)).all()


def test_it_stands_in_a_pipeline() -> None:
    """Features of the small digits, then a linear classifier: as good as with scikit-learn's machine, and searched."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import BernoulliRBM
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    d = data.digits()
    train_x, test_x = d.train_x.reshape(-1, 64)[:800], d.test_x.reshape(-1, 64)
    scores = []
    for kind in (train.BernoulliRBM, BernoulliRBM):
        rbm = kind(n_components=60, learning_rate=0.06, n_iter=20, random_state=0)
        pipe = make_pipeline(MinMaxScaler(clip=True), rbm, LogisticRegression(C=10, max_iter=3000))
        scores.append(pipe.fit(train_x, d.train_y[:800]).score(test_x, d.test_y))
    assert scores[0] > 0.87 and scores[0] > scores[1] - 0.02
    pipe = make_pipeline(train.BernoulliRBM(n_components=4, n_iter=1, random_state=0), LogisticRegression())
    grid = GridSearchCV(pipe, {"bernoullirbm__n_components": [1, 4]}, cv=2)
    assert grid.fit(X, X[:, 2] > 0).best_params_


def test_it_goes_on_and_repeats() -> None:
    how = {"n_components": 3, "random_state": 1, "batch_size": 60}
    whole = train.BernoulliRBM(n_iter=4, **how).fit(X)
    parts = train.BernoulliRBM(**how)
    for _ in range(4):
        parts.partial_fit(X)
    again = train.BernoulliRBM(n_iter=4, **how).fit(X)
    other = train.BernoulliRBM(n_iter=4, sampler="cd", steps=2, momentum=0.5, **how).fit(X)
    assert (whole.components_ == parts.components_).all() and (whole.components_ == again.components_).all()
    assert (whole.components_ != other.components_).any() and whole.n_iter_ == 4


def test_what_is_wrong_is_said() -> None:
    with pytest.raises((NotFitted, NotFittedError), match="call fit first"):
        train.BernoulliRBM().transform(X)
    assert not hasattr(train.BernoulliRBM(), "components_")
    with pytest.warns(TrainingWarning, match="MinMaxScaler"):
        train.BernoulliRBM(n_components=2, n_iter=1).fit(3 * X)
    with (
        pytest.warns(TrainingWarning),
        pytest.raises(DivergenceError, match="smaller learning rate"),
        np.errstate(all="ignore"),
    ):
        train.BernoulliRBM(n_components=2, n_iter=90, learning_rate=1e30).fit(1e30 * X.astype(np.float32))
    for wrong in ({"n_components": 0}, {"batch_size": 0}, {"n_iter": -1}, {"learning_rate": 0.0}, {"momentum": 1.0},
                  {"sampler": "gibbs"}, {"steps": 0}):  # fmt: skip
        with pytest.raises(OptionError, match=next(iter(wrong))):
            train.BernoulliRBM(**wrong).fit(X)


def test_it_runs_on_the_device(device: str) -> None:
    found: Any = [
        train.BernoulliRBM(n_components=3, n_iter=2, random_state=0, device=d).fit(X).components_
        for d in (None, device)
    ]
    np.testing.assert_allclose(*found, rtol=1e-6)
