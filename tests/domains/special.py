"""Special functions: the gamma and Bessel families, the error function and its inverse, logarithms with limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from .draw import Domain, binary, unary

signed = (-2.2, 3.0, (0.0, -1.0, -2.0))  # away from the poles of the gamma function


def sinc(x: Any, n: int) -> Any:
    """The n-th derivative of the integral of cos(πxs) over s from 0 to 1, by Gauss' quadrature."""
    s, w = np.polynomial.legendre.leggauss(40)
    s, w = (s + 1) / 2, w / 2
    return np.sum(w * (np.pi * s) ** n * np.cos(np.pi * x[..., None] * s + n * np.pi / 2), axis=-1)


DOMAINS: dict[str, Domain] = {
    "erfc": unary(expect=scipy.special.erfc),
    "erfinv": unary(-0.85, 0.85, expect=scipy.special.erfinv),
    "lgamma": unary(*signed, expect=scipy.special.gammaln),
    "digamma": unary(*signed, expect=scipy.special.psi),
    "polygamma": unary(*signed, n=[0, 1, 2], expect=lambda x, n: scipy.special.polygamma(n, x)),
    "i0": unary(expect=scipy.special.i0),
    "i1": unary(expect=scipy.special.i1),
    "i0e": unary(-2, 2, (0.0,), expect=scipy.special.i0e),
    "i1e": unary(-2, 2, (0.0,), expect=scipy.special.i1e),
    "iv": unary(-9, 9, n=[0, 1, 2, 3], expect=lambda x, n: scipy.special.iv(n, x)),
    "ive": unary(-9, 9, (0.0,), n=[0, 1, 2, 3], expect=lambda x, n: scipy.special.ive(n, x)),
    "sinc": unary(-3, 3, n=[0, 1, 2], expect=sinc),
    "xlogy": binary((0.3, 3.0), (0.3, 3.0), expect=scipy.special.xlogy),
    "xlog1py": binary((-0.6, 2.0), (-0.6, 2.0), expect=scipy.special.xlog1py),
}
