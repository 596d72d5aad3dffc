"""cupyx.scipy.special, computed by SciPy."""

import scipy.special
from cupy import _gate

__getattr__ = _gate.namespace("cupyx.scipy.special", lambda name: getattr(scipy.special, name, None), globals())
