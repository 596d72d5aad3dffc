"""tinygrad_mlsp: reverse-mode automatic differentiation on NumPy and CuPy, built to be read.

    import tinygrad_mlsp as tg

    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = tg.tanh(x * x).sum()
    y.backward()
    x.grad

The package is an array namespace (tg.exp, tg.where, tg.concat, …) whose functions record what they did;
tg.nn, tg.optim, tg.data, tg.train, tg.models and tg.viz are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import interop, namespace, torch_names  # noqa: F401 (torch_names adds methods to Tensor)
from .derivatives import grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
from .errors import Error
from .interop import from_dlpack
from .namespace import tensor
from .tensor import Tensor, enable_grad, is_grad_enabled, no_grad

__version__ = "0.1.0"
__all__ = [
    "Error", "Generator", "Tensor", "check", "checkpoint", "custom_vjp", "detect_anomaly", "enable_grad", "from_dlpack",
    "grad", "hessian", "hvp", "interop", "is_grad_enabled", "jacobian", "jvp", "manual_seed", "namespace", "no_grad",
    "tensor", "value_and_grad", "vjp",
]  # fmt: skip

_rooms = (
    "linalg", "fft", "nn", "optim", "energy", "data", "train", "models", "viz", "interpret", "checking", "experiments",
    "backend", "random", "amp",
)  # fmt: skip

_from = {
    "detect_anomaly": "viz.anomaly", "Generator": "random", "manual_seed": "random", "check": "checking",
    "checkpoint": "custom", "custom_vjp": "custom", "autocast": "amp",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """A room of the library, or a function of the array namespace, by its name."""
    if name in _rooms:
        return importlib.import_module(f".{name}", __name__)
    if name in _from:
        found = getattr(importlib.import_module(f".{_from[name]}", __name__), name)
    else:
        # What namespace.py itself imports is no part of it.
        found = getattr(namespace, name) if name in namespace.__all__ else namespace.__getattr__(name)
        if not getattr(getattr(found, "operation", None), "lasting", True):
            return found
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *_rooms, *dir(namespace)})
