"""Training a model on minibatches."""

from .loop import Callback, History, State, accuracy, fit

__all__ = ["Callback", "History", "State", "accuracy", "fit"]
