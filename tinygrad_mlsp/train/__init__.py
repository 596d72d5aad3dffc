"""Training a model on minibatches: the loop, a Trainer that can be stopped and resumed, and what goes around them."""

from importlib import import_module
from typing import Any

from .callbacks import Checkpoints, EarlyStopping, GradientFlow, Log, read_log
from .checkpoint import load, load_state, save, save_state
from .loop import Callback, History, State, accuracy, fit
from .metrics import RMSE, Accuracy, Confusion, Metric, TopK
from .search import Integers, Result, Trial, Uniform, search
from .trainer import Trainer

__all__ = [
    "RMSE", "Accuracy", "Callback", "Checkpoints", "Confusion", "EarlyStopping", "GradientFlow", "History", "Integers",
    "Log", "Metric", "Result", "State", "TopK", "Trainer", "Trial", "Uniform", "accuracy", "fit", "load", "load_state",
    "read_log", "save", "save_state", "search",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The estimators, which need scikit-learn, when they are asked for."""
    if name in ("BernoulliRBM", "NetClassifier", "NetRegressor"):
        return getattr(import_module(".estimators", __name__), name)
    raise AttributeError(f"module {__name__} has no attribute {name!r}")
