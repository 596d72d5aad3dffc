"""What a gradient check found: a verdict, the worst element, and one page of it as text or HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ..errors import Error

VERDICTS = ("pass", "kink", "undecidable", "fail")  # the later one decides
SYMBOLS = {"pass": "·", "kink": "∧", "undecidable": "?", "fail": "✕"}
MEANING = {
    "pass": "every derivative that was checked agrees with the numeric one",
    "kink": "the one-sided slopes differ at this point, so there is no derivative to compare with",
    "undecidable": "the numeric derivative is too uncertain here to judge",
    "fail": "at least one derivative is wrong",
}


class GradientCheckError(AssertionError, Error):
    """A gradient check that did not pass; the message is the report, which is `report` besides."""

    def __init__(self, message: str, report: Report | None = None) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True)
class Element:
    """One element ∂(output)/∂(input) of the Jacobian: what the analytic side says, and what was measured."""

    argument: int  # its place among the arguments of f
    name: str  # the argument's name in f, as far as it has one
    index: tuple[int, ...]
    output: int  # which of f's outputs, as they come when nested ones are flattened
    output_index: tuple[int, ...]
    analytic: float
    numeric: float
    error_bar: float  # of the numeric value
    tolerance: float  # by how much the two may differ: the bar and the rounding of the analytic side
    mode: str
    order: int
    verdict: str
    ok: bool
    left: float = math.nan  # the one-sided slopes; infinite where they grow without bound, nan where there are none
    right: float = math.nan
    part: str = ""  # "re" or "im" of a complex input
    output_part: str = ""
    why: str = ""
    kink: bool = False  # the one-sided slopes are what it is judged by
    direction: int | None = None  # in a check of projections: which one

    @property
    def measured(self) -> str:
        """The numeric side in a few words: a value and its error bar, or the one-sided slopes."""
        if self.kink:
            return f"slopes {number(self.left)} | {number(self.right)}"
        return f"{number(self.numeric)} ± {small(self.error_bar)}"

    @property
    def where(self) -> str:
        """∂y[0]/∂x[2, 1]"""
        if self.direction is not None:
            return f"projection {self.direction}"
        y = "y" + (str(self.output) if self.output else "") + _index(self.output_index)
        x = self.name + _index(self.index)
        y, x = (f"{part} {what}" if part else what for part, what in ((self.output_part, y), (self.part, x)))
        return f"∂{y}/∂{x}"


def _index(index: Sequence[int]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def number(x: float) -> str:
    """Ten digits at most: 0.5, 1.234567891e-09, inf."""
    return f"{x:.10g}"


def small(x: float) -> str:
    """A size, in two digits: 3.1e-12."""
    return f"{x:.2g}"


@dataclass
class Report:
    """The outcome of `check`. True exactly if `ok`: so `assert check(f, x)` does what it reads."""

    function: str
    verdict: str  # "pass", "kink", "undecidable" or "fail"
    ok: bool  # pass, or kinks only with each analytic value among the one-sided slopes
    worst: Element | None
    counts: dict[str, int]
    checked: int  # elements of the Jacobian, each mode and order counted
    method: str
    notes: list[str] = field(default_factory=list)
    flagged: list[Element] = field(default_factory=list)  # what is not a plain pass, worst first, 20 at most
    inputs: list[str] = field(default_factory=list)  # "x: float64 [3, 4]"
    outputs: list[str] = field(default_factory=list)
    modes: tuple[str, ...] = ()
    order: int = 1
    evaluations: int = 0
    seconds: float = 0.0
    disagreement: float | None = None  # of the modes with one another: the largest, relative to the row's largest
    grid: list[str] = field(default_factory=list)  # the Jacobian's verdicts, a row an output, if it is small
    reason: str = ""  # what decided the verdict, where it was not an element

    def __bool__(self) -> bool:
        return self.ok

    def raise_if_failed(self) -> Report:
        """Itself if `ok`; otherwise raises GradientCheckError with the page as its text."""
        if not self.ok:
            raise GradientCheckError(str(self), self)
        return self

    assert_ok = raise_if_failed

    @property
    def headline(self) -> str:
        """One line: the verdict and what it means."""
        if self.reason:
            return f"{self.verdict}: {self.reason}"
        meaning = MEANING[self.verdict]
        if self.verdict == "kink":
            meaning += "; the analytic value lies among them" if self.ok else "; the analytic value is not among them"
        if not self.checked and self.verdict == "pass":
            meaning = "there is no element to check"
        return f"{self.verdict}: {meaning}"

    def facts(self) -> list[tuple[str, str]]:
        """What the page says, as pairs of a name and a text."""
        found = ", ".join(f"{self.counts[v]} {v}" for v in VERDICTS if self.counts.get(v))
        rows = [
            ("inputs", "; ".join(self.inputs)),
            ("outputs", "; ".join(self.outputs)),
            ("checked", f"{self.checked} elements ({found})" if found else f"{self.checked} elements"),
            ("modes", ", ".join(self.modes) + (f", to order {self.order}" if self.order > 1 else "")),
            ("numeric side", self.method),
            ("cost", f"{self.evaluations} evaluations, {self.seconds:.2g} s"),
        ]
        if self.disagreement is not None:
            rows.insert(
                4, ("mode to mode", f"they differ by {small(self.disagreement)} of a row's largest element at most")
            )
        return [(name, text) for name, text in rows if text]

    def details(self) -> list[tuple[str, str]]:
        """The worst element, as pairs."""
        w = self.worst
        if w is None:
            return []
        order = f", order {w.order}" if self.order > 1 else ""
        rows = [
            ("element", f"{w.where}   ({w.mode}{order}): {w.verdict}"),
            ("analytic", number(w.analytic)),
        ]
        if w.kink:
            rows.append(("slopes", f"{number(w.left)} from the left, {number(w.right)} from the right"))
        else:
            rows.append(("numeric", f"{number(w.numeric)} ± {small(w.error_bar)}"))
            rows.append(("difference", f"{small(abs(w.analytic - w.numeric))}, allowed {small(w.tolerance)}"))
        if w.why:
            rows.append(("why", w.why))
        return rows

    def __str__(self) -> str:
        lines = [f"gradient check of {self.function}: {self.headline}", ""]
        lines += [f"  {name:18}{text}" for name, text in self.facts()]
        if self.worst is not None:
            lines += ["", "  worst element" if self.verdict != "pass" else "  element with the least room"]
            lines += [f"    {name:16}{text}" for name, text in self.details()]
        if len(self.flagged) > 1:
            lines += ["", "  and"]
            for e in self.flagged[1:9]:
                lines.append(
                    f"    {e.verdict:12}{e.where:28} {e.mode:10} analytic {number(e.analytic)}, numeric {e.measured}"
                )
            if len(self.flagged) > 9:
                lines.append("    …")
        if self.notes:
            lines += ["", *(f"  note: {note}" for note in self.notes)]
        return "\n".join(lines)

    __repr__ = __str__

    def to_html(self) -> str:
        """The page as one HTML document that needs nothing else."""
        title = f"Gradient check of {escape(self.function)}"
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width, initial-scale=1"><title>{title}</title></head>'
            f'<body style="margin:0"><style>main {{ min-height: 100vh }}</style>{self._repr_html_()}</body></html>'
        )

    def _repr_html_(self) -> str:
        worst = "Worst element" if self.verdict != "pass" else "Element with the least room"
        parts = [
            f"<style>{_CSS}</style><main class='tg-check {self.verdict}{'' if self.ok else ' bad'}'>",
            f"<h1>Gradient check of <code>{escape(self.function)}</code></h1>",
            f"<p class='verdict'><b>{SYMBOLS[self.verdict] if self.verdict != 'pass' else '✓'} {self.verdict}</b>"
            f"{escape(self.headline.removeprefix(self.verdict))}</p>",
            _pairs(self.facts()),
        ]
        if self.worst is not None:
            parts.append(f"<h2>{worst}</h2>{_pairs(self.details())}")
        if len(self.flagged) > 1:
            rows = "".join(
                f"<tr class='{e.verdict}'><td>{SYMBOLS[e.verdict]} {e.verdict}</td><td>{escape(e.where)}</td>"
                f"<td>{escape(e.mode)}</td><td>{number(e.analytic)}</td>"
                f"<td>{escape(e.measured)}</td></tr>"
                for e in self.flagged
            )
            head = "".join(f"<th>{h}</th>" for h in ("verdict", "element", "mode", "analytic", "numeric"))
            parts.append(
                f"<h2>What is not a plain pass</h2><div class='scroll' tabindex='0'><table><thead><tr>{head}</tr>"
                f"</thead><tbody>{rows}</tbody></table></div>"
            )
        if self.grid:
            legend = ", ".join(f"{s} {v}" for v, s in SYMBOLS.items())
            parts.append(
                "<h2>The Jacobian</h2><p class='soft'>a row an output, a column an input; the worst verdict of each: "
                f"{legend}</p><pre>{escape(chr(10).join(self.grid))}</pre>"
            )
        if self.notes:
            parts.append(f"<h2>Notes</h2><ul>{''.join(f'<li>{escape(n)}</li>' for n in self.notes)}</ul>")
        return "".join([*parts, "</main>"])


def _pairs(rows: Sequence[tuple[str, Any]]) -> str:
    cells = "".join(f"<tr><th scope='row'>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<div class='scroll' tabindex='0'><table class='pairs'>{cells}</table></div>"


_CSS = """
.tg-check { color-scheme: light dark; --paper: #fdfdfb; --ink: #1c2024; --soft: #565d66; --line: #d8dce1;
  --panel: #f1f3f5; --tone: #14633f; background: var(--paper); color: var(--ink); padding: 1.5rem 1.25rem 2rem;
  box-sizing: border-box;
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
.tg-check.kink { --tone: #0b5ea8; } .tg-check.undecidable, .tg-check.kink.bad { --tone: #8a4b00; }
.tg-check.fail { --tone: #a3201a; }
@media (prefers-color-scheme: dark) {
  .tg-check { --paper: #14171a; --ink: #e6e8ea; --soft: #a4abb3; --line: #363c43; --panel: #1e2327; --tone: #7fd6a8; }
  .tg-check.kink { --tone: #7db8f0; } .tg-check.undecidable, .tg-check.kink.bad { --tone: #f0b866; }
  .tg-check.fail { --tone: #ff9a92; } }
.tg-check > * { max-width: 54rem; margin-left: auto; margin-right: auto; }
.tg-check h1 { font-size: 1.5rem; line-height: 1.25; margin-top: 0; margin-bottom: .75rem; overflow-wrap: anywhere; }
.tg-check h2 { font-size: 1.1rem; margin-top: 1.75rem; margin-bottom: .5rem; }
.tg-check .verdict { border-left: 4px solid var(--tone); padding: .6rem .9rem; background: var(--panel); }
.tg-check .verdict b { color: var(--tone); }
.tg-check .soft { color: var(--soft); font-size: .925rem; }
.tg-check .scroll { overflow-x: auto; }
.tg-check table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; width: 100%; }
.tg-check th, .tg-check td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; color: var(--ink); background: none; white-space: pre-wrap; }
.tg-check th { font-weight: 600; color: var(--soft); white-space: nowrap; }
.tg-check .pairs th { width: 9.5rem; }
.tg-check pre { background: var(--panel); color: var(--ink); padding: .75rem; overflow: auto; line-height: 1.25;
  letter-spacing: .35em; max-height: 24rem; }
.tg-check li { margin-bottom: .4rem; }
"""
