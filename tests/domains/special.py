"""Special functions: the gamma and Bessel families, the error function and its inverse, logarithms with limits."""

from __future__ import annotations

from .draw import Domain

DOMAINS: dict[str, Domain] = {}
