"""Whole nets."""

from .deep import DeepNet, SequenceClassifier

__all__ = ["DeepNet", "SequenceClassifier"]
