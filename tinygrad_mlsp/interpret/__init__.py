"""More interpreters of the calculus: the same rules, run on something else than numbers.

formula    text and LaTeX of every operation and its derivatives     formula("tanh").derivatives
shapes     shapes, dtypes, operations and bytes without computing    shapes.cost(model, x, backward=True)
"""

from . import shapes
from .formula import Formula, formula

__all__ = ["Formula", "formula", "shapes"]
