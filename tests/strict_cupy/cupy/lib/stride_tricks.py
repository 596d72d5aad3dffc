"""cupy.lib.stride_tricks."""

import numpy as np

from .. import _gate

__getattr__ = _gate.namespace(
    "cupy.lib.stride_tricks", lambda name: getattr(np.lib.stride_tricks, name, None), globals()
)
