"""How many checks were really executed, for whoever wants to know: a property, the pytest plugin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

listeners: list[Callable[[str, str, int], None]] = []
profile = "quick"  # how far a property looks that does not say; the pytest plugin sets it
EXAMPLES = {"quick": 25, "thorough": 500}


class Tally:
    """Verdicts counted, the elements that were compared for them, and the contracts tried."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.elements = 0
        self.contracts = 0

    def add(self, kind: str, verdict: str, number: int) -> None:
        """One report. What a check could not decide was not checked."""
        if kind == "contracts":
            self.contracts += number
            return
        self.verdicts[verdict] += 1
        self.elements += 0 if verdict == "undecidable" else number

    @property
    def executed(self) -> int:
        """Elements compared and contracts tried."""
        return self.elements + self.contracts


def note(kind: str, report: Any) -> None:
    """Tells of one report: kind is "check" or "contracts"."""
    for listener in list(listeners):
        listener(kind, report.verdict, report.checked)


@contextmanager
def counting() -> Iterator[Tally]:
    """Counts the checks that run inside."""
    tally = Tally()
    listeners.append(tally.add)
    try:
        yield tally
    finally:
        listeners.remove(tally.add)
