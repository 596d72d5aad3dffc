"""tinygrad_mlsp: reverse-mode automatic differentiation on NumPy and CuPy, built to be read."""

from . import namespace
from .tensor import Tensor, enable_grad, is_grad_enabled, no_grad

__version__ = "0.1.0"


def __getattr__(name):
    return getattr(namespace, name)
