"""Where each operation is tested: `DOMAINS` names every operation of the registry; a chapter of them a file."""

from . import core, linalg, scans, special
from .draw import CORNERS, Case, Domain, Draw

CHAPTERS = (core, special, scans, linalg)
DOMAINS: dict[str, Domain] = {name: domain for chapter in CHAPTERS for name, domain in chapter.DOMAINS.items()}

__all__ = ["CORNERS", "DOMAINS", "Case", "Domain", "Draw"]
