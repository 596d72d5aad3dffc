"""Real data, and minibatches of it in a seeded order that can be resumed bit for bit."""

from .datasets import Dataset, digits, mnist
from .loader import Loader

__all__ = ["Dataset", "Loader", "digits", "mnist"]
