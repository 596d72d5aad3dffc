"""The libraries compared, a module each, with a function for each workload: problem → step."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

# The column's title: the module here, and what must be installed for it.
PEERS = {
    "tinygrad_mlsp": ("ours", "tinygrad_mlsp"),
    "PyTorch": ("pytorch", "torch"),
    "autograd": ("hips_autograd", "autograd"),
    "MyGrad": ("my_grad", "mygrad"),
    "NumPy by hand": ("by_hand", "numpy"),
    "scikit-learn": ("scikit_learn", "sklearn"),
}


def installed(peer: str) -> bool:
    return importlib.util.find_spec(PEERS[peer][1]) is not None


def load(peer: str) -> ModuleType:
    return importlib.import_module(f"peers.{PEERS[peer][0]}")
