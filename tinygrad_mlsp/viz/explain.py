"""A worked derivation of one backward pass, as a lecture writes it on the board: in text, Markdown and HTML.

    print(viz.explain(loss))
    viz.explain(loss, model).save("derivation.html")

The formulas are those of the rules themselves, with the letters of this computation put in, and, where everything
is a number, the numbers.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from ..errors import OptionError
from ..tensor import Tensor
from .dot import path, visible
from .layout import target, write_whole
from .tape import trace
from .walk import Argument, Step, Value, Walk, walk

_BAR = {"bar": "\u0304", "dot": "\u0307", "": ""}


def explain(
    loss: Tensor | Callable[[], Tensor] | Walk,
    model: Any = None,
    *,
    names: Mapping[str, Tensor] | None = None,
    title: str = "",
    keep: int = 6,
) -> Explanation:
    """The derivation of the gradient of a scalar, step by step; see the top of this file.

    `loss` is a Tensor, a function without arguments that computes one (then nothing is missing, as inside
    `viz.trace()`), or a Walk. `names` gives your own letters to tensors: {"h": h}. Arrays show their shape, norm and
    first `keep` entries. No `.grad` changes, and the graph stays.

    Raises: GraphError for a Tensor without a graph, or with one that backward() has freed.
    """
    if not isinstance(loss, (Walk, Tensor)):
        if not callable(loss):
            raise OptionError(f"explain: takes a scalar Tensor, or a function that computes one; got {loss!r}")
        with trace(model) as seen:
            loss = loss()
        return Explanation(walk(loss, model, names=names, title=title, keep=keep, trace=seen))
    return Explanation(loss if isinstance(loss, Walk) else walk(loss, model, names=names, title=title, keep=keep))


@dataclass(frozen=True)
class Line:
    """One line of a derivation: a formula (in text and in LaTeX), what it comes to, and a remark."""

    formula: str
    latex: str = ""
    result: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Part:
    """A heading and its lines."""

    heading: str
    lines: tuple[Line, ...]
    scope: str = ""


class Explanation:
    """A derivation; print it, or ask for `text()`, `markdown()` or `html()`, or `save()` it."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.forward = tuple(self._forward(step) for step in walk.steps)
        self.backward = tuple(self._backward(step) for step in walk.backward_steps())
        self.results = tuple(self._leaves())

    # Letters and numbers

    def _letter(self, step: Step, letter: str, number: int | None, mark: str, latex: bool) -> str:
        if letter == "y":
            name = step.letter if number is None or len(step.results) == 1 else f"{step.letter},{number}"
        else:
            argument = _find(step, letter, number)
            if argument is None:
                name = letter if number is None else f"{letter}{number}"
            elif argument.source is None:
                name = _number(argument.value) if argument.value is not None and argument.value.size == 1 else letter
            else:
                name = self.walk.nodes[argument.source].letter
        return _latex_letter(name, mark) if latex else barred(name, mark)

    def _numbers(self, step: Step, letter: str, number: int | None, mark: str) -> str:
        values: Any = None
        if letter == "y":
            place = 0 if number is None else number - 1
            values = (step.upstream if mark else step.results)[place]
        else:
            argument = _find(step, letter, number)
            if argument is not None:
                values = argument.contribution if mark else argument.value
        if values is None or values.size != 1:
            raise _NotANumber
        text = _number(values)
        return f"({text})" if text.startswith("−") or "·" in text else text

    def _filled(self, step: Step, text: str, style: str) -> str:
        template = step.template(style)
        assert template is not None
        return template.filled(
            text, lambda letter, number, mark: self._letter(step, letter, number, mark, style == "latex")
        )

    def _with_numbers(self, step: Step, text: str, result: Value | None) -> str:
        """The right side with numbers for letters and "= ", or "" where something is no number or nothing is gained."""
        template = step.template()
        assert template is not None
        if "=" not in text or ",  " in text or result is None or result.size != 1:
            return ""
        try:
            put = template.filled(text.split(" = ", 1)[1], lambda *hole: self._numbers(step, *hole))
        except _NotANumber:
            return ""
        put = _TWICE.sub(r"(\1)", _BETWEEN.sub(" · ", put))
        return "" if put in (_number(result), _bracketed(result)) else f"{put} = "

    # The parts

    def _forward(self, step: Step) -> Part:
        text, latex = step.template(), step.template("latex")
        if text is None:
            formula = f"{step.letter} = {step.op}({', '.join(self._name(a) for a in step.arguments)})"
            line = Line(formula, "", self._value(step.value, step))
        else:
            put = self._with_numbers(step, text.formula.forward, step.value)
            formula = self._filled(step, text.formula.forward, "text")
            line = Line(
                formula,
                self._filled(step, latex.formula.forward, "latex") if latex else "",
                put + self._value(step.value, step) if len(step.results) == 1 else "",
            )
        each = enumerate(step.results, 1) if len(step.results) > 1 else ()
        parts = (Line(f"{step.letter},{i}", _latex_letter(f"{step.letter},{i}", ""), _kept(v)) for i, v in each)
        return Part(step.letter, (line, *parts), path(step.scope))

    def _backward(self, step: Step) -> Part:
        lines = []
        upstream = barred(step.letter, "bar")
        users = self.walk.users(step.id)
        came = [a.contribution for _, a in users if a.contribution is not None]
        if not came:
            remark = "the start: ∂L/∂L" if any(g and g.entries == (1,) for g in step.upstream) else "the start"
        elif len(came) > 1:
            remark = "summed over " + " and ".join(s.letter for s, a in users if a.contribution is not None)
        else:
            remark = ""
        for i, came_here in enumerate(step.upstream, 1):
            if came_here is not None:
                number = f",{i}" if len(step.upstream) > 1 else ""
                lines.append(
                    Line(upstream + number, _latex_letter(step.letter + number, "bar"), _shown(came_here), remark)
                )
        text, latex = step.template(), step.template("latex")
        for argument in step.arguments:
            if argument.contribution is None:
                continue
            name = argument.name.split("[")[0]
            given = self._name(argument)
            rule = text.formula.derivatives.get(name) if text is not None else None
            if rule is None:
                lines.append(Line(f"to {given}", "", _shown(argument.contribution)))
                continue
            written = self._filled(step, rule, "text")
            in_latex = self._filled(step, latex.formula.derivatives.get(name, ""), "latex") if latex else ""
            put = self._with_numbers(step, rule, argument.local or argument.contribution)
            if argument.local is not None:
                local = put + _shown(argument.local)
                if argument.local.size > 1:
                    local += f", from {_plain(argument.local.low)} to {_plain(argument.local.high)}"
                lines.append(Line(written, in_latex, local))
                back = f"{barred(given, 'bar')} ← {upstream} · ∂{step.letter}/∂{given}"
                if argument.local.size == 1 and step.gradient is not None and step.gradient.size == 1:
                    product = f"{_bracketed(step.gradient)} · {_bracketed(argument.local)} = "
                else:
                    product = ""
                lines.append(Line(back, "", product + _shown(argument.contribution), _gain(argument)))
            else:
                listed = argument.number is not None and ",  " in written
                if listed and argument.number != 1:
                    lines.append(Line(barred(given, "bar"), "", _shown(argument.contribution), _gain(argument)))
                    continue
                lines.append(Line(written, in_latex, put + _shown(argument.contribution), _gain(argument)))
        heading = self._filled(step, text.formula.forward, "text") if text is not None else step.letter
        return Part(f"{step.op}: {heading}", tuple(lines), path(step.scope))

    def _leaves(self) -> list[Line]:
        lines = []
        for leaf in self.walk.leaves:
            if leaf.kind == "constant" or leaf.gradient is None:
                continue
            paths = [(s, a) for s, a in self.walk.users(leaf.id) if a.contribution is not None]
            remark = ""
            if len(paths) > 1 and leaf.gradient.size == 1:
                terms = " + ".join(
                    f"{_bracketed(a.contribution)} by {s.letter}" for s, a in paths if a.contribution is not None
                )
                remark = f"{terms}: a sum over the {len(paths)} paths"
            elif len(paths) > 1:
                remark = f"summed over {len(paths)} paths"
            if isinstance(next(iter(leaf.gradient.entries), None), complex):
                remark = "; ".join([*([remark] if remark else []), "conjugated, as .grad is"])
            name = f" ({visible(leaf.name, 60)})" if leaf.name and leaf.name != leaf.letter else ""
            lines.append(
                Line(
                    f"∂L/∂{leaf.letter}{name}",
                    rf"\frac{{\partial L}}{{\partial {_latex_letter(leaf.letter, '')}}}",
                    _shown(leaf.gradient),
                    remark,
                )
            )
        return lines

    def _name(self, argument: Argument) -> str:
        if argument.source is not None:
            return self.walk.nodes[argument.source].letter
        return _number(argument.value) if argument.value is not None and argument.value.size == 1 else argument.name

    def _value(self, value: Value | None, step: Step) -> str:
        return f"{_shape(step.shape)}, its values not kept" if value is None else _shown(value)

    # Written

    def _opening(self) -> list[str]:
        named = [
            f"{leaf.letter} is {visible(leaf.name, 60)}, {_shape(leaf.shape)}"
            for leaf in self.walk.leaves
            if leaf.name and leaf.name != leaf.letter
        ]
        missing = any(step.value is None for step in self.walk.steps)
        last = self.walk.steps[-1].letter
        lines = [f"z̄ stands for ∂L/∂z, what a small change of z does to L{'' if last == 'L' else f' = {last}'}."]
        if named:
            lines.append("; ".join(named) + ".")
        if missing:
            lines.append(
                "Some values were not kept, for no derivative needs them; compute inside viz.trace(), or pass "
                "explain() a function, to see them all."
            )
        return lines

    def text(self) -> str:
        """The derivation in plain lines."""
        title = visible(self.walk.title or "One backward pass, step by step")
        out = [title, "", *self._opening(), "", "Forward", ""]
        scope = ""
        for part in self.forward:
            if part.scope != scope:
                scope = part.scope
                out.append(f"  in {visible(scope, 80)}:" if scope else "  outside all modules:")
            out += [_plain_line(line) for line in part.lines]
        out += ["", "Backward", ""]
        for i, part in enumerate(self.backward, 1):
            where = f", in {visible(part.scope, 80)}" if part.scope else ""
            out.append(f"{i}. {part.heading}{where}")
            out += [_plain_line(line) for line in part.lines]
            out.append("")
        out += ["The gradients", ""]
        out += [_plain_line(line) for line in self.results]
        return "\n".join(out).rstrip() + "\n"

    __str__ = text

    def __repr__(self) -> str:
        return f"<Explanation of {len(self.walk.steps)} steps; print() it>"

    def markdown(self) -> str:
        """The derivation in Markdown, its formulas in LaTeX."""

        def line(one: Line) -> str:
            formula = f"${one.latex}$" if one.latex else f"`{one.formula}`"
            rest = "".join(
                [
                    f" = {_escaped(one.result)}" if one.result else "",
                    f" *({_escaped(one.remark)})*" if one.remark else "",
                ]
            )
            return f"- {formula}{rest}"

        out = [
            f"# {_escaped(self.walk.title or 'One backward pass, step by step')}",
            "",
            *map(_escaped, self._opening()),
            "",
        ]
        out += ["## Forward", ""] + [line(one) for part in self.forward for one in part.lines] + ["", "## Backward", ""]
        for i, part in enumerate(self.backward, 1):
            out += [f"### {i}. {_escaped(part.heading)}", "", *map(line, part.lines), ""]
        return "\n".join([*out, "## The gradients", "", *map(line, self.results)]) + "\n"

    def html(self) -> str:
        """The derivation as a page that stands alone, without script or network."""

        def rows(lines: tuple[Line, ...]) -> str:
            return "".join(
                f"<tr><td class='f'>{html.escape(visible(one.formula))}</td><td>{html.escape(visible(one.result))}"
                + (f" <i>{html.escape(visible(one.remark))}</i>" if one.remark else "")
                + "</td></tr>"
                for one in lines
            )

        title = html.escape(visible(self.walk.title or "One backward pass, step by step"))
        parts = [f"<h1>{title}</h1>", *(f"<p>{html.escape(line)}</p>" for line in self._opening())]
        parts.append("<h2>Forward</h2><table>" + "".join(rows(part.lines) for part in self.forward) + "</table>")
        parts.append("<h2>Backward</h2><ol>")
        for part in self.backward:
            where = f" <small>{html.escape(visible(part.scope, 80))}</small>" if part.scope else ""
            parts.append(f"<li><h3>{html.escape(part.heading)}{where}</h3><table>{rows(part.lines)}</table></li>")
        parts.append(f"</ol><h2>The gradients</h2><table>{rows(self.results)}</table>")
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
            f"<body><main>{''.join(parts)}</main></body></html>\n"
        )

    def _repr_html_(self) -> str:
        page = self.html()
        return page[page.index("<main>") : page.index("</body>")]

    def save(self, where: str | PathLike[str]) -> None:
        """Writes .txt, .md or .html."""
        file, format = target(where, ("txt", "md", "html"))
        made = {"txt": self.text, "md": self.markdown, "html": self.html}[format]()
        write_whole(file, made.encode())


class _NotANumber(Exception):
    """A letter stands for an array, or for what was not kept."""


def _find(step: Step, letter: str, number: int | None) -> Argument | None:
    return next((a for a in step.arguments if a.letter == letter and a.number == number), None)


def barred(name: str, mark: str) -> str:
    """z̄₁: the mark over the first character."""
    return unicodedata.normalize("NFC", name[:1] + _BAR[mark]) + name[1:]


_BETWEEN = re.compile(r"(?<=[\d)⁰¹²³⁴⁵⁶⁷⁸⁹]) (?=[\d(])")  # two numbers side by side
_TWICE = re.compile(r"\(\(([^()]*)\)\)")  # ((−0.7))
_NORMAL = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


_IN_LATEX = {
    "<": r"\lt{}", ">": r"\gt{}", "\\": r"\backslash{}", "^": r"\hat{}", "~": r"\sim{}", "$": r"\$", "`": "'", "−": "-",
} | {c: f"\\{c}" for c in "_{}#&%"}  # fmt: skip


def _latex_letter(name: str, mark: str) -> str:
    letter = re.fullmatch(r"(.*?)([₀-₉]*)(,\d+)?", name, re.DOTALL)
    assert letter is not None
    head, number = letter[1], (letter[2] + (letter[3] or "")).translate(_NORMAL).lstrip(",")
    head = "".join(_IN_LATEX.get(c, c) for c in visible(head, 60))
    if len(head) > 1 and not head.replace(".", "").replace("-", "").isdigit():
        head = rf"\mathrm{{{head}}}"
    if mark:
        head = rf"\{mark}{{{head}}}"
    return f"{head}_{{{number}}}" if number else head


def _plain(x: float) -> str:
    """0.4621, −1.5·10⁻⁷"""
    if isinstance(x, (bool, int)):
        return str(x).replace("-", "−")
    if isinstance(x, complex):
        return f"{x:.4g}".replace("-", "−")
    text = f"{x + 0.0:.4g}"  # no −0
    if "e" in text:
        digits, power = text.split("e")
        text = f"{digits}·10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
    return text.replace("-", "−")


def _number(value: Value | None) -> str:
    return _plain(value.entries[0]) if value is not None and value.size == 1 else ""


def _bracketed(value: Value) -> str:
    text = _number(value)
    return f"({text})" if text.startswith("−") or "·" in text else text


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) if shape else "a number"


def _shown(value: Value) -> str:
    """A number; or the first entries of an array, its shape and its norm."""
    if value.size == 1 and not any(value.shape[:-1]):
        return _plain(value.entries[0])
    entries = ", ".join(map(_plain, value.entries[:6]))
    more = ", …" if value.size > min(len(value.entries), 6) else ""
    norm = "" if math.isnan(value.norm) else f", norm {_plain(value.norm)}"
    return f"[{entries}{more}] {_shape(value.shape)}{norm}" + (f", {value.odd} not finite" if value.odd else "")


def _kept(value: Value | None) -> str:
    return "not kept" if value is None else _shown(value)


def _gain(argument: Argument) -> str:
    if argument.gain is None or argument.contribution is None or argument.contribution.size == 1:
        return ""
    return f"the norm × {_plain(argument.gain)}"


def _plain_line(line: Line) -> str:
    text = f"   {line.formula}" + (f" = {line.result}" if line.result else "")
    return visible(text) + (f"    ({visible(line.remark)})" if line.remark else "")


def _escaped(text: str) -> str:
    text = visible(text)
    for mark in "\\`*_#<>[]|":
        text = text.replace(mark, f"\\{mark}")
    return text


_STYLE = """
:root{color-scheme:light dark;--ink:#1b2430;--soft:#5a6675;--paper:#fff;--line:#d8dee6;--tint:#f3f5f8}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#a5afbb;--paper:#14181d;--line:#333b45;--tint:#1d232a}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem;overflow-wrap:anywhere}
h3{font-size:1rem;margin:1rem 0 .2rem;font-family:ui-monospace,monospace}small,i{color:var(--soft);font-weight:400}
table{border-collapse:collapse;width:100%}
td{border-bottom:1px solid var(--line);padding:.25rem .5rem;vertical-align:top}
td.f{font-family:ui-monospace,"DejaVu Sans Mono",monospace;width:45%}ol{padding-left:1.5rem}
"""
