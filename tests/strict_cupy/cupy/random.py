"""cupy.random: the methods that CuPy's generators have, and numbers that are not NumPy's for the same seed."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _gate


def _drawn(run: Callable[..., Any]) -> Callable[..., Any]:
    """Returns arrays where NumPy returns numbers, and takes a dtype where NumPy takes none."""

    def drawn(*args: Any, dtype: Any = None, **options: Any) -> Any:
        try:
            result = run(*args, **options) if dtype is None else run(*args, dtype=dtype, **options)
        except TypeError as error:
            if "dtype" not in str(error):
                raise
            result = np.asarray(run(*args, **options)).astype(dtype)
        return result if result is None else np.asarray(result)

    return drawn


class BitGenerator:
    """A source of random bits. Its state cannot be read or set, as in CuPy."""

    def __init__(self, seed: Any = None, *, size: int = -1) -> None:
        name = zlib.crc32(type(self).__name__.encode())
        self._bits = np.random.Philox(None if seed is None else np.random.SeedSequence([seed, name]))


class XORWOW(BitGenerator):
    pass


class MRG32k3a(BitGenerator):
    pass


class Philox4x3210(BitGenerator):
    pass


class Generator:
    """As cupy.random.Generator: without normal, permutation, choice, shuffle and much else of NumPy's."""

    def __init__(self, bit_generator: BitGenerator) -> None:
        generator = np.random.Generator(bit_generator._bits)
        self._find = _gate.namespace(
            "cupy.random.Generator", lambda name: _drawn(getattr(generator, name)), self.__dict__, _gate.loose
        )

    def __getattr__(self, name: str) -> Any:
        return self._find(name)


def default_rng(seed: Any = None) -> Generator:
    return Generator(seed if isinstance(seed, BitGenerator) else XORWOW(seed))


_state = np.random.RandomState()


def seed(seed: Any = None) -> None:
    _state.seed(None if seed is None else (seed + 1) % 2**32)


def _legacy(name: str) -> Any:
    run = getattr(_state, {"ranf": "random_sample", "sample": "random_sample"}.get(name, name), None)
    return run and _drawn(run)


__getattr__ = _gate.namespace("cupy.random", _legacy, globals(), _gate.loose)
