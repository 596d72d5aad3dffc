"""Random numbers from an explicit generator, whose whole state is a key and a counter.

The bits are those of Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), a function
of key and counter alone, so a stream can be saved, resumed bit for bit, and is the same on every device. They are
drawn on the host and sent to the device. Uniforms, masks and permutations use nothing but integers and exact
scalings of them, so they too are the same everywhere; normals go through log, cos and sin, whose last bit is the
host's.
"""

from __future__ import annotations

import math
import operator
import os
import threading
from typing import Any

import numpy as np

from .backend import float32, to_device
from .errors import DTypeError, OptionError

_WORDS = 4  # 64-bit words that one value of the counter gives


class Generator:
    """A stream of random numbers; `seed` is its key, a number from 0 to 2¹²⁸ − 1, or None for one from the system.

    Every draw starts at a fresh value of the counter, so what a draw gives depends on how many values were drawn
    before, not on how they were used. Threads may share a generator: no two get the same numbers.

    >>> a, b = Generator(7), Generator(7)
    >>> bool((a.uniform((3,)) == b.uniform((3,))).all())
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        try:
            key = int.from_bytes(os.urandom(16), "little") if seed is None else operator.index(seed)
        except TypeError:
            key = -1
        if not 0 <= key < 1 << 128:
            raise OptionError(f"Generator: seed must be a whole number from 0 to 2**128 - 1, got {seed!r}")
        self.key, self.counter = key, 0
        self._lock = threading.Lock()

    def bits(self, n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The next n words of 64 random bits, on the host."""
        with self._lock:
            start = self.counter
            self.counter += -(-n // _WORDS)
        return np.random.Philox(key=self.key, counter=start).random_raw(n)

    def _bits32(self, n: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
        return self.bits(-(-n // 2)).astype("<u8", copy=False).view("<u4")[:n]

    def uniform(
        self, shape: Any = (), low: float = 0.0, high: float = 1.0, dtype: Any = float32, device: str = "cpu"
    ) -> Any:
        """Uniform on [low, high): 24 random bits in a float32, 53 in a float64."""
        n, shape, dtype = _size(shape), _shape(shape), _float(dtype)
        if dtype.itemsize == 8:
            drawn = (self.bits(n) >> np.uint64(11)).astype(dtype)
            drawn *= 2.0**-53
        else:
            drawn = (self._bits32(n) >> np.uint32(8)).view(np.int32).astype(float32)
            drawn *= 2.0**-24
        if low != 0.0 or high != 1.0:
            drawn *= high - low
            drawn += low
        return to_device(drawn.astype(dtype, copy=False).reshape(shape), device)

    def normal(
        self, shape: Any = (), mean: float = 0.0, std: float = 1.0, dtype: Any = float32, device: str = "cpu"
    ) -> Any:
        """Normal with this mean and standard deviation, two from two uniforms: √(−2 ln u) (cos 2πv, sin 2πv)."""
        n, shape, dtype = _size(shape), _shape(shape), _float(dtype)
        half = -(-n // 2)
        u, v = self.uniform((2, half), dtype=np.float64)
        radius = np.sqrt(-2.0 * np.log1p(-u))  # 1 − u is never 0
        drawn = np.concatenate([radius * np.cos(2 * math.pi * v), radius * np.sin(2 * math.pi * v)])[:n]
        return to_device((drawn * std + mean).astype(dtype, copy=False).reshape(shape), device)

    def bernoulli(self, p: float, shape: Any = (), device: str = "cpu") -> Any:
        """A mask that is True with probability p (rounded to a multiple of 2⁻³²)."""
        if not 0.0 <= p <= 1.0:
            raise OptionError(f"bernoulli: p must be a probability from 0 to 1, got {p!r}")
        n, shape, threshold = _size(shape), _shape(shape), round(p * 2**32)
        drawn = self._bits32(n)
        mask = np.ones(n, bool) if threshold == 1 << 32 else drawn < np.uint32(threshold)
        return to_device(mask.reshape(shape), device)

    def permutation(self, n: int, device: str = "cpu") -> Any:
        """The numbers 0 … n − 1 in random order."""
        return to_device(np.argsort(self.bits(n), kind="stable"), device)

    def spawn(self, n: int = 1) -> list[Generator]:
        """n generators with keys of their own, drawn from this one."""
        return [Generator(int(high) << 64 | int(low)) for high, low in self.bits(2 * n).reshape(n, 2)]

    def state_dict(self) -> dict[str, int]:
        """The whole state."""
        return {"key": self.key, "counter": self.counter}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on exactly where the generator stood that gave this state."""
        if set(state) != {"key", "counter"}:
            raise OptionError(f"Generator.load_state_dict: wants a key and a counter, got {sorted(state)}")
        with self._lock:
            self.key, self.counter = int(state["key"]), int(state["counter"])

    def __getstate__(self) -> dict[str, int]:
        return self.state_dict()

    def __setstate__(self, state: dict[str, int]) -> None:
        self._lock = threading.Lock()
        self.load_state_dict(state)

    def __repr__(self) -> str:
        return f"Generator(key={self.key}, counter={self.counter})"


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(shape) if isinstance(shape, (tuple, list)) else (operator.index(shape),)


def _size(shape: Any) -> int:
    return math.prod(_shape(shape))


def _float(dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise DTypeError(f"random: draws floating-point numbers, not {dtype}")
    return dtype


_default = Generator()


def default_generator() -> Generator:
    """The generator that is used where none is given; its seed is the system's until `manual_seed` sets one."""
    return _default


def manual_seed(seed: int) -> Generator:
    """Starts the default generator anew from this seed, and returns it."""
    _default.load_state_dict(Generator(seed).state_dict())
    return _default
