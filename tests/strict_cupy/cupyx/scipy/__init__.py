"""cupyx.scipy: the special functions alone."""

import importlib
import sys
from typing import Any

import cupy

_here = sys.modules[__name__]


def get_array_module(*args: Any) -> Any:
    import scipy

    return _here if cupy.get_array_module(*args) is cupy else scipy


def __getattr__(name: str) -> Any:
    if name == "special":
        return importlib.import_module("cupyx.scipy.special")
    raise AttributeError(f"the stand-in has no cupyx.scipy.{name}")
