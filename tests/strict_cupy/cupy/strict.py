"""What the stand-in adds to CuPy: trips from the device to the host are counted and can be forbidden.

before = cupy.strict.synchronizations
with cupy.strict.no_synchronization():
    train_step()                # float(loss), x.get(), x[mask], bool(x) ... raise here
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

synchronizations = 0
_forbidden: ContextVar[bool] = ContextVar("forbidden", default=False)


class SynchronizationError(RuntimeError):
    """The host waited for the device inside no_synchronization()."""


def synchronize(what: str) -> None:
    """Counts one wait for the device, or refuses it."""
    global synchronizations
    if _forbidden.get():
        raise SynchronizationError(f"{what} waits for the device, inside cupy.strict.no_synchronization()")
    synchronizations += 1


@contextlib.contextmanager
def no_synchronization() -> Iterator[None]:
    """Makes every wait for the device an error, in this thread."""
    token = _forbidden.set(True)
    try:
        yield
    finally:
        _forbidden.reset(token)
