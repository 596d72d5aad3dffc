"""cupy.fft."""

import numpy as np

from . import _gate

__getattr__ = _gate.namespace("cupy.fft", lambda name: getattr(np.fft, name, None), globals())
