"""Running sums and products, sorting and order statistics, gather and scatter, writes, repetitions, windows."""

from __future__ import annotations

from .draw import Domain

DOMAINS: dict[str, Domain] = {}
