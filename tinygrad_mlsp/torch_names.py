"""The methods that a lesson written for PyTorch calls on a Tensor. The array API's own names are the ones used here.

`x.size` is the number of entries, as in NumPy; where PyTorch writes `x.size(0)`, write `x.shape[0]` or `len(x)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import DTypeError
from .tensor import Tensor, record_of


def _permute(x: Tensor, *axes: Any) -> Tensor:
    """The axes in this order, given as numbers or as one tuple."""
    return record_of("permute_dims")(x, axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes)


def _unsqueeze(x: Tensor, dim: int) -> Tensor:
    """A new axis of length 1 at this place; `expand_dims` in the array API."""
    return record_of("expand_dims")(x, axis=dim)


def _masked_fill(x: Tensor, mask: Any, value: float) -> Tensor:
    """The value where the mask is True, else x."""
    mask = mask if isinstance(mask, Tensor) else Tensor(mask, device=x.device)
    if mask.dtype.kind != "b":
        raise DTypeError(f"masked_fill: the mask must be of booleans, not {mask.dtype}; compare something")
    return record_of("where")(mask, value, x)


def _fill_(x: Tensor, value: float) -> Tensor:
    """Every entry this number, in place; see `copy_`."""
    return x.copy_(np.asarray(value, x.dtype))


def _cuda(x: Tensor, device: int | None = None) -> Tensor:
    """On the GPU."""
    return x.to("cuda" if device is None else f"cuda:{device}")


Tensor.view = Tensor.reshape  # type: ignore[attr-defined]
Tensor.permute = _permute  # type: ignore[attr-defined]
Tensor.unsqueeze = _unsqueeze  # type: ignore[attr-defined]
Tensor.masked_fill = _masked_fill  # type: ignore[attr-defined]
Tensor.fill_ = _fill_  # type: ignore[attr-defined]
Tensor.zero_ = lambda x: _fill_(x, 0)  # type: ignore[attr-defined]
Tensor.dim = lambda x: x.ndim  # type: ignore[attr-defined]
Tensor.numel = lambda x: x.size  # type: ignore[attr-defined]
Tensor.contiguous = lambda x: x  # type: ignore[attr-defined]  # memory layout is the engine's affair
Tensor.cpu = lambda x: x.to("cpu")  # type: ignore[attr-defined]
Tensor.cuda = _cuda  # type: ignore[attr-defined]
for _name, _dtype in {"half": "float16", "float": "float32", "double": "float64", "int": "int32", "long": "int64",
                      "bool": "bool"}.items():  # fmt: skip
    setattr(Tensor, _name, lambda x, dtype=_dtype: x.astype(dtype))
