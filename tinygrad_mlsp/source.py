"""The source writer: a rule that is plain arithmetic, as a Python expression.

One more interpreter of the rules. It saves the recorder and the sweep a call an operation, by writing
`g * v_b` where they would call `rule(g, v_b)`; a rule that branches, compares or uses anything but its
parameters is left alone and called.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterable
from typing import Any

# Parts of the names of bytecode instructions that plain arithmetic on parameters does without, in any Python.
_NOT_PLAIN = ("JUMP", "COMPARE", "IS_OP", "CONTAINS", "GLOBAL", "DEREF", "CLOSURE", "ITER", "STORE", "FORMAT", "IMPORT")


class Source:
    """A value that writes down what is done with it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __getattr__(self, name: str) -> Source:
        if name.startswith("__"):
            raise AttributeError(name)
        return Source(f"{self.text}.{name}")

    def __call__(self, *arguments: Any, **options: Any) -> Source:
        written = [*map(_text, arguments), *(f"{k}={_text(v)}" for k, v in options.items())]
        return Source(f"{self.text}({', '.join(written)})")

    def __neg__(self) -> Source:
        return Source(f"(-{self.text})")


def _binary(name: str, symbol: str) -> None:
    setattr(Source, f"__{name}__", lambda a, b: Source(f"({a.text} {symbol} {_text(b)})"))
    setattr(Source, f"__r{name}__", lambda a, b: Source(f"({_text(b)} {symbol} {a.text})"))


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "matmul": "@"}.items():
    _binary(_name, _symbol)


def _text(value: Any) -> str:
    if isinstance(value, Source):
        return value.text
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    raise TypeError(f"{value!r} is not written into source")


def inlined(function: Callable[..., Any], passed: Iterable[str], options: Iterable[str] = ()) -> str | None:
    """What `function(*passed, **options)` computes, as one expression of those names; None if it is not plain."""
    code = getattr(function, "__code__", None)
    if code is None or any(part in i.opname for i in dis.get_instructions(code) for part in _NOT_PLAIN):
        return None
    try:
        result = function(*map(Source, passed), **{o: Source(o) for o in options})
    except (TypeError, AttributeError):
        return None
    return result.text if isinstance(result, Source) else None
