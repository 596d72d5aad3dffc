"""What is recorded, by thread and task: nothing, what backward needs, or everything; and who looks on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

OFF, LEAN, FULL = 0, 1, 2  # record nothing; what backward needs; everything (forward mode, explanations)
_mode: ContextVar[int] = ContextVar("recording", default=LEAN)
_observer: ContextVar[Any] = ContextVar("observer", default=None)
_casting: ContextVar[frozenset[str]] = ContextVar("casting", default=frozenset())  # on these devices: see `amp`


class _Recording:
    """Sets the mode of recording for a block or a function. Each thread and task has its own."""

    def __init__(self, mode: int) -> None:
        self._to = mode
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        wanted = max(LEAN, _mode.get()) if self._to == LEAN else self._to  # to record is not to record less
        self._tokens.append(_mode.set(wanted))

    def __exit__(self, *_: Any) -> None:
        _mode.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode = self._to
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def steps(*args: Any, **kwargs: Any) -> Any:
                generator = function(*args, **kwargs)
                go, value = generator.send, None
                while True:  # the mode holds inside the generator only, not in whoever consumes it
                    with _Recording(mode):
                        try:
                            item = go(value)
                        except StopIteration as end:
                            return end.value
                        finally:
                            value = None  # a problem holds the frame that it passed through
                    try:
                        go, value = generator.send, (yield item)
                    except BaseException as problem:  # thrown in by the consumer; GeneratorExit when it is closed
                        go, value = generator.throw, problem

            return steps

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: Any, **kwargs: Any) -> Any:
                with _Recording(mode):
                    return await function(*args, **kwargs)

            return later

        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with _Recording(mode):
                return function(*args, **kwargs)

        return inner


def no_grad() -> _Recording:
    """Records nothing: as `with no_grad():` or as a decorator `@no_grad()`, of generators too."""
    return _Recording(OFF)


def enable_grad() -> _Recording:
    """Records again, inside a `no_grad` block."""
    return _Recording(LEAN)


def record_everything() -> _Recording:
    """Keeps all arguments and results of every operation: what forward mode and explanations need."""
    return _Recording(FULL)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded here."""
    return _mode.get() != OFF


def current_tracer() -> Any:
    """Who follows this computation (`viz.trace`): it is told of modules, time steps and backward sweeps."""
    return _observer.get()
