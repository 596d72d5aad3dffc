"""Spectral normalization: weights whose largest singular value is 1."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

from ..errors import OptionError
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of, wrap
from . import functional
from .convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .module import Module, Parameter

M = TypeVar("M", bound=Module)
_moved, _reshape, _matmul = record_of("permute_dims"), record_of("reshape"), record_of("matmul")


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None,
    *, generator: Generator | None = None,
) -> M:  # fmt: skip
    """W/σ with σ = uᵀ W v, an estimate of the largest singular value of W: the layer stretches nothing

    The parameter becomes `weight_orig`; u and v are buffers, `weight_u` and `weight_v`, to which each forward in
    training adds `n_power_iterations` steps of v ← Wᵀu/‖Wᵀu‖, u ← Wv/‖Wv‖. Outputs are on the axis `dim` of the weight:
    0, but 1 in transposed convolutions. What W/σ takes for its gradient holds u and v fixed.

    Source: Miyato et al., "Spectral normalization for generative adversarial networks", 2018.
    """
    if isinstance(n_power_iterations, bool) or not isinstance(n_power_iterations, int) or n_power_iterations < 1:
        raise OptionError(f"spectral_norm: n_power_iterations is a whole number from 1 on, not {n_power_iterations!r}")
    if not isinstance(module, Module):
        raise OptionError(f"spectral_norm: takes a Module, not {type(module).__name__}")
    if isinstance(module, _SpectralNormed):
        raise OptionError(f"spectral_norm: {type(module).__name__} has spectral norm already")
    weight = vars(module).get(name)
    if not isinstance(weight, Parameter) or not weight.ndim:
        raise OptionError(f"spectral_norm: {type(module).__name__} has no parameter {name!r} with axes")
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    if not -weight.ndim <= dim < weight.ndim:
        raise OptionError(f"spectral_norm: dim {dim} is not one of a weight of shape {list(weight.shape)}")
    dim %= weight.ndim
    rows = weight.shape[dim]
    generator = generator or default_generator()
    drawn = [
        wrap(generator.normal((n,), dtype=weight.dtype, device=weight.device), None)
        for n in (rows, weight.size // max(rows, 1))
    ]
    del vars(module)[name]
    kind: Any = type(module)
    module.__class__ = _spectral_normed(kind, name, dim, n_power_iterations, eps)
    module.register_parameter(f"{name}_orig", weight)
    for part, vector in zip("uv", drawn, strict=True):
        module.register_buffer(f"{name}_{part}", functional.normalize(vector, dim=0, eps=eps))
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Puts the one parameter W/σ, as it is now, back in the place of `weight_orig`, u and v."""
    if not isinstance(module, _SpectralNormed) or module.normed[0] != name:
        raise OptionError(f"remove_spectral_norm: {name!r} of {type(module).__name__} has no spectral norm")
    weight = getattr(module, name).detach()
    module.__class__ = type(module).__mro__[2]
    for part in ("orig", "u", "v"):
        del vars(module)[f"{name}_{part}"]
    kept = {buffer: saved for buffer, saved in module._buffers.items() if buffer[:-1] != f"{name}_"}
    vars(module)["_buffers"] = kept
    setattr(module, name, Parameter(weight, dtype=weight.dtype, device=weight.device))
    return module


class _SpectralNormed(Module):
    """Marks a module whose weight is divided by σ; `_spectral_normed` puts it above the module's own class."""

    normed: tuple[str, int, int, float]  # the name, the axis of outputs, the steps a forward, ε

    def __reduce__(self) -> Any:
        return _rebuilt, (type(self).__mro__[2], self.normed), self.__dict__


def _rebuilt(kind: Any, normed: tuple[str, int, int, float]) -> Any:
    kind = _spectral_normed(kind, *normed)
    return kind.__new__(kind)


def _matrix(weight: Tensor, dim: int) -> Tensor:
    if dim:
        weight = _moved(weight, (dim, *(a for a in range(weight.ndim) if a != dim)))
    return _reshape(weight, (weight.shape[0], -1))


@functools.cache
def _spectral_normed(kind: Any, name: str, dim: int, steps: int, eps: float) -> Any:
    def weight(self: Any) -> Tensor:
        W, u, v = (vars(self)[f"{name}_{part}"] for part in ("orig", "u", "v"))
        found: Tensor = W / _matmul(u, _matmul(_matrix(W, dim), v))
        return found

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.training:
            with no_grad():
                W, u, v = _matrix(vars(self)[f"{name}_orig"], dim), vars(self)[f"{name}_u"], vars(self)[f"{name}_v"]
                for _ in range(steps):
                    v = functional.normalize(_matmul(u, W), dim=0, eps=eps)
                    u = functional.normalize(_matmul(W, v), dim=0, eps=eps)
            setattr(self, f"{name}_u", u)
            setattr(self, f"{name}_v", v)
        return kind.forward(self, *args, **kwargs)

    members = {name: property(weight), "forward": forward, "normed": (name, dim, steps, eps), "__doc__": kind.__doc__}
    return type(kind.__name__, (_SpectralNormed, kind), members)
