"""Where each operation is tested: `DOMAINS` names every operation of the registry; a chapter of them a file."""

from . import convolution, core, layers, linalg, recurrent, scans, special
from .draw import CORNERS, Case, Domain, Draw

CHAPTERS = (core, special, convolution, scans, linalg, layers, recurrent)
DOMAINS: dict[str, Domain] = {name: domain for chapter in CHAPTERS for name, domain in chapter.DOMAINS.items()}

__all__ = ["CORNERS", "DOMAINS", "Case", "Domain", "Draw"]
