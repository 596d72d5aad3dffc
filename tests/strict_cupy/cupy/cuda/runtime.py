"""cupy.cuda.runtime: what a program asks before it starts."""

from typing import Any

from .. import _gate, strict


class CUDARuntimeError(RuntimeError):
    pass


def getDeviceCount() -> int:
    return 1


def getDevice() -> int:
    return 0


def setDevice(device: int) -> None:
    if device != 0:
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")


def getDeviceProperties(device: int) -> dict[str, Any]:
    setDevice(device)
    return {"name": b"strict stand-in", "major": 9, "minor": 0, "totalGlobalMem": 1 << 34, "multiProcessorCount": 1}


def memGetInfo() -> tuple[int, int]:
    return 1 << 34, 1 << 34


def runtimeGetVersion() -> int:
    return 13000


def driverGetVersion() -> int:
    return 13000


def deviceSynchronize() -> None:
    strict.synchronize("deviceSynchronize()")


__getattr__ = _gate.namespace("cupy.cuda.runtime", lambda name: None, globals())
