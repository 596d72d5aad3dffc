"""Linear algebra and the Fourier transforms."""

from __future__ import annotations

from .draw import Domain

DOMAINS: dict[str, Domain] = {}
