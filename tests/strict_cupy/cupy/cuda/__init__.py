"""cupy.cuda: one device, numbered 0, whose waits are counted in cupy.strict."""

from typing import Any

from .. import _gate, strict
from . import runtime


class Device:
    """Device 0, the only one."""

    compute_capability = "90"
    mem_info = (1 << 34, 1 << 34)

    def __init__(self, device: Any = None) -> None:
        self.id = int(device or 0)

    def use(self) -> None:
        runtime.setDevice(self.id)

    def __enter__(self) -> "Device":
        self.use()
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def synchronize(self) -> None:
        strict.synchronize("Device.synchronize()")

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


class Event:
    """A mark in a stream."""

    done = True

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        pass

    def record(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        strict.synchronize("Event.synchronize()")


class Stream:
    """A queue of work, which is always done."""

    null: "Stream"
    done = True

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: Any = None):
        pass

    def use(self) -> "Stream":
        return self

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def synchronize(self) -> None:
        strict.synchronize("Stream.synchronize()")

    def record(self, event: Event | None = None) -> Event:
        return event or Event()

    def wait_event(self, event: Event) -> None:
        pass

    def is_capturing(self) -> bool:
        return False

    def begin_capture(self, mode: Any = None) -> None:
        raise NotImplementedError("the stand-in runs no device code, so there is nothing to capture")


Stream.null = Stream(null=True)


class MemoryPool:
    """Keeps nothing."""

    def used_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return 0

    def free_all_blocks(self, stream: Any = None) -> None:
        pass

    def set_limit(self, size: Any = None, fraction: Any = None) -> None:
        pass


def is_available() -> bool:
    return True


def get_current_stream(device_id: int = -1) -> Stream:
    return Stream.null


def get_device_id() -> int:
    return 0


__getattr__ = _gate.namespace("cupy.cuda", lambda name: None, globals())
