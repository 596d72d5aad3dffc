"""cupy.linalg: a matrix that cannot be factored raises nothing, as nobody waits for the device to know."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _gate

LinAlgError = np.linalg.LinAlgError
raises = False  # cupyx.errstate(linalg="raise")


def _silent(run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def silent(a: Any, *args: Any, **options: Any) -> Any:
        try:
            return run(a, *args, **options)
        except LinAlgError as error:
            reason = str(error)
            if raises or not ("Singular" in reason or "positive definite" in reason):
                raise
            if "positive definite" in reason:
                return np.tril(a)  # half-done: finite and wrong
            return np.full(np.shape(args[0] if args else a), np.nan, np.result_type(a, np.float32))

    return silent


__getattr__ = _gate.namespace("cupy.linalg", lambda name: _silent(getattr(np.linalg, name)), globals())
