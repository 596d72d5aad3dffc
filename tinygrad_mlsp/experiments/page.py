"""The report's page: one HTML file that explains what was measured and needs nothing from the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from .vanishing import CLIP, MOMENTUM, NETS, Result, Settings

MARK = '<meta name="generator" content="tinygrad_mlsp vanishing">'
SYMBOLS = {"healthy": "●", "vanishes": "▼", "explodes": "▲", "zero": "○", "diverged": "✕"}


@dataclass(frozen=True)
class Picture:
    """A drawing in the page: its element, and what it shows in words."""

    element: str
    caption: str
    words: str = ""


# Numbers and lists in words


def number(x: float) -> str:
    """0.38, 12, 8.1 × 10⁻¹⁹"""
    if not math.isfinite(x):
        return "not finite"
    if x == 0:
        return "0"
    if 0.01 <= abs(x) < 10_000:
        return f"{x:#.2g}".rstrip(".") if abs(x) < 99.5 else f"{x:,.0f}"
    digits, exponent = f"{x:.1e}".split("e")
    return f"{digits} × 10<sup>{int(exponent)}</sup>".replace("-", "−")


def times(x: float) -> str:
    """× 0.244"""
    return f"×\N{NO-BREAK SPACE}{x:.3f}" if 0.1 <= x < 10 else f"×\N{NO-BREAK SPACE}{number(x)}"


def power(x: float) -> str:
    """The nearest power of ten: 10⁻¹⁸"""
    return f"10<sup>{round(math.log10(x))}</sup>".replace("-", "−") if 0 < x < math.inf else number(x)


def percent(x: float) -> str:
    return f"{100 * x:.1f}\N{NO-BREAK SPACE}%"


def several(names: Sequence[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def the(results: Sequence[Result]) -> str:
    """the plain sigmoid net and the LSTM"""
    deep = [r.title for r in results if not r.recurrent]
    titles = [f"the {several(deep)} net{'s' if len(deep) > 1 else ''}"] if deep else []
    return several([*titles, *(f"the {r.title}" for r in results if r.recurrent)])


def ends(results: Sequence[Result]) -> str:
    """tanh ended at 88.4 % and ReLU at 73.6 %"""
    return several([f"{r.title} at {percent(r.accuracies[-1])}" for r in results])


# Equations, in MathML


def _mi(name: str) -> str:
    return f"<mi>{name}</mi>"


def _mn(digits: object) -> str:
    return f"<mn>{digits}</mn>"


def _row(*parts: str) -> str:
    """The parts in a row; whatever is not markup is an operator."""
    return f"<mrow>{''.join(p if p.startswith('<') else f'<mo>{p}</mo>' for p in parts)}</mrow>"


def _sub(base: str, index: str) -> str:
    return f"<msub>{base}{index}</msub>"


def _both(base: str, index: str, exponent: str) -> str:
    return f"<msubsup>{base}{index}{exponent}</msubsup>"


def _product(first: str, last: str, *factors: str) -> str:
    return _row(f"<munderover><mo>∏</mo>{first}{last}</munderover>", *factors)


def _d(of: str, by: str) -> str:
    return f"<mfrac>{_row('∂', of)}{_row('∂', by)}</mfrac>"


def _math(*parts: str) -> str:
    return f"<math>{_row(*parts)}</math>"


def _display(*parts: str) -> str:
    return f'<math display="block">{_row(*parts)}</math>'


_L, _h, _W, _b, _z, _c, _F, _T, _phi = map(_mi, ("ℒ", "h", "W", "b", "z", "c", "F", "T", "φ"))
_k, _l, _t, _1 = _mi("k"), _mi("l"), _mi("t"), _mn(1)
_transpose, _diag = '<mi mathvariant="normal">T</mi>', '<mi mathvariant="normal">diag</mi>'
_slope = f"<msup>{_phi}<mo>′</mo></msup>"
_gap = '<mspace width="1.5em"/>'


def _before(index: str) -> str:
    return _row(index, "−", _1)


def _after(index: str, start: str) -> str:
    return _row(index, "=", start, "+", _1)


_h_l, _h_before = _sub(_h, _l), _sub(_h, _before(_l))

RESIDUAL = _display(
    _h_l, "=", _h_before, "+", _F, "(", _h_before, ")", _gap, _d(_h_l, _h_before), "=", _mi("I"), "+", _d(_F, _h_before)
)
HIGHWAY = _display(
    _h_l, "=", "(", _1, "−", _T, ")", "⊙", _h_before, "+", _T, "⊙", _F, "(", _h_before, ")", _gap,
    _T, "=", _mi("σ"), "(", _sub(_W, _T), _h_before, "+", _sub(_b, _T), ")",
)  # fmt: skip
DENSE = _display(
    _h_l, "=", _phi, "(", _sub(_W, _l), "[", _sub(_h, _1), ",", _sub(_h, _mn(2)), ",", "…", ",", _h_before, "]", "+",
    _sub(_b, _l), ")",
)  # fmt: skip
CELL = _display(
    _sub(_c, _t), "=", _sub(_mi("f"), _t), "⊙", _sub(_c, _before(_t)), "+", _sub(_mi("i"), _t), "⊙", _sub(_mi("u"), _t),
    _gap, _sub(_h, _t), "=", _sub(_mi("o"), _t), "⊙", '<mi mathvariant="normal">tanh</mi>', _sub(_c, _t),
)  # fmt: skip
LAYER = _math(_h_l, "=", _phi, "(", _sub(_z, _l), ")")
WEIGHTED = _math(_sub(_z, _l), "=", _sub(_W, _l), _h_before, "+", _sub(_b, _l))
WEIGHT_GRADIENT = _math(
    _d(_L, _sub(_W, _k)), "=", "(", _slope, "(", _sub(_z, _k), ")", "⊙", _d(_L, _sub(_h, _k)), ")",
    _both(_h, _before(_k), _transpose),
)  # fmt: skip


def _through_layers(last: int) -> str:
    """∂ℒ/∂hₖ as a product over the layers from k + 1 to the last hidden one."""
    factors = _both(_W, _l, _transpose), _diag, "(", _slope, "(", _sub(_z, _l), ")", ")"
    return _display(
        _d(_L, _sub(_h, _k)), "=", _product(_after(_l, _k), _mn(last), *factors), "·", _d(_L, _sub(_h, _mn(last)))
    )


def _through_time(last: int) -> str:
    """The same over the time steps."""
    factors = _both(_W, _h, _transpose), _diag, "(", _1, "−", _both(_h, _t, _mn(2)), ")"
    return _display(
        _d(_L, _sub(_h, _k)), "=", _product(_after(_t, _k), _mn(last), *factors), "·", _d(_L, _sub(_h, _mn(last)))
    )


# The page's sections


def _lede(settings: Settings, results: Sequence[Result]) -> str:
    """What was done, and what came out, in a few sentences."""
    many = len(results) > 1
    count = ["One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"][len(results) - 1]
    trained = f"for {settings.epochs} epoch{'s' if settings.epochs > 1 else ''}"
    text = (
        f"{count} net{'s' if many else ''} {'learn' if many else 'learns'} to read handwritten digits, from the same "
        "seed and with the same optimizer, "
        f"{trained if settings.epochs else 'or will: they have not been trained here'}. The gradient was measured at "
        "every layer or time step, before the first update and then on."
    )
    for word, says in (
        ("vanishes", "In {} it <strong>vanishes</strong>: what lies far from the loss hears nothing of it."),
        ("explodes", "In {} it <strong>explodes</strong>: what lies far from the loss gets the most of it."),
        ("zero", "In {} it is <strong>exactly zero</strong>."),
        ("diverged", "The training of {} <strong>diverged</strong>."),
        ("healthy", "In {} it <strong>arrives</strong> about as large at the first as it left the last."),
    ):
        if chosen := [r for r in results if r.verdict.word == word]:
            text += " " + says.format(the(chosen))
    if settings.epochs and many:
        order = sorted(results, key=lambda r: r.accuracies[-1])
        worst, best = order[0], order[-1]
        guess = ", no better than guessing" if worst.accuracies[-1] < 0.15 else ""
        text += (
            f" In the end {the([worst])} reads {percent(worst.accuracies[-1])} of unseen digits right{guess}; "
            f"{the([best])} reads {percent(best.accuracies[-1])}."
        )
    return f'<p class="lede">{text}</p>'


def _scrolling(label: str, content: str, kind: str = "scroll") -> str:
    """A box that scrolls by itself when it is too wide, by mouse, finger or keyboard."""
    return f'<div class="{kind}" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def _heads(*names: str) -> str:
    cells = "".join(f'<th scope="col">{name}</th>' for name in names)
    return f"<thead><tr>{cells}</tr></thead>"


def _results(results: Sequence[Result]) -> str:
    """The table of what came out."""
    groups = ""
    for recurrent in (False, True):
        chosen = [r for r in results if r.recurrent == recurrent]
        if not chosen:
            continue
        last = chosen[0].norms.shape[1]
        what = (
            f"Nets that read the image step by step: ‖∂ℒ/∂h‖ at step 1 and at step {last}, where the loss is"
            if recurrent
            else f"Deep nets: ‖∂ℒ/∂W‖ of layer 1 and of layer {last}, the output"
        )
        rows = f'<tr><th scope="rowgroup" colspan="7" class="group"><span>{what}</span></th></tr>'
        for r in chosen:
            word, _, rest = r.verdict.sentence.replace("'", "’").partition(":")
            cells = [
                number(r.norms[0, 0]), number(r.norms[0, -1]), "–" if math.isnan(r.factor) else times(r.factor),
                percent(r.accuracies[0]), percent(r.accuracies[-1]) if r.losses else "not trained",
            ]  # fmt: skip
            rows += (
                f'<tr><th scope="row"><a href="#graph-{r.net}">{r.title}</a></th>'
                + "".join(f"<td>{cell}</td>" for cell in cells)
                + f'<td class="verdict {r.verdict.word}"><span aria-hidden="true">{SYMBOLS[r.verdict.word]}</span> '
                + f"<strong>{word}</strong>{':' if rest else ''}{rest}</td></tr>"
            )
        groups += f"<tbody>{rows}</tbody>"
    heads = _heads("Net", "Gradient at the first", "Gradient at the last", "Factor per layer or step",
                   "Test accuracy before", "Test accuracy after", "Verdict")  # fmt: skip
    caption = (
        "The gradient’s norm before the first update, and what the net made of it. Guessing gives about 10&nbsp;%."
    )
    return (
        _scrolling("Table of results", f"<table><caption><span>{caption}</span></caption>{heads}{groups}</table>")
        + '<p class="note">A gradient <em>vanishes</em> when the first layer’s norm is below 1/100 of the last one’s, '
        "it <em>explodes</em> above 100 times, and is <em>healthy</em> in between. The factor is what one layer, or "
        "one time step, multiplies the norm by on its way back, on the (geometric) average.</p>"
    )


def _figure(picture: Picture | None, missing: str) -> str:
    if picture is None:
        return f'<p class="note">{escape(missing)}</p>'
    return f"<figure>{_scrolling('Plot', picture.element)}<figcaption>{picture.caption}</figcaption></figure>"


def _gains(results: Sequence[Result]) -> str:
    """The table of local gains, net by net."""
    rows = ""
    for r in results:
        if len(r.hidden) < 2 or not min(r.hidden) > 0 or not math.isfinite(max(r.hidden)):
            continue
        apart = [times(r.slope), times(r.gain / r.slope)] if r.slope else ["–", "–"]
        whole = f"{times(r.hidden[0] / r.hidden[-1])} over {len(r.hidden) - 1} {'steps' if r.recurrent else 'layers'}"
        cells = "".join(f"<td>{cell}</td>" for cell in [*apart, times(r.gain), whole])
        rows += f'<tr><th scope="row">{r.title}</th>{cells}</tr>'
    heads = _heads("Net", "Slopes φ′", "Weights (and batch norm)", "Together, per layer or step", "Multiplied out")
    caption = (
        "What the norm of ∂ℒ/∂h was multiplied by on its way back, before the first update: geometric means over the "
        "layers or steps. Where other paths lead around the activation, the two cannot be told apart."
    )
    return _scrolling(
        "Table of local gains", f"<table><caption><span>{caption}</span></caption>{heads}<tbody>{rows}</tbody></table>"
    )


def _why(settings: Settings, results: Sequence[Result]) -> str:
    """The product of local gains, with those that were measured."""
    by = {r.net: r for r in results}
    points = []
    if (r := by.get("sigmoid")) and r.slope and r.gain < 1:
        points.append(
            f"<strong>Sigmoid.</strong> Its slope σ′ = σ (1 − σ) is never above 1/4. Measured: {times(r.slope)} for "
            f"the slopes, {times(r.gain)} together with the weights, which do not make up for it. {len(r.hidden) - 1} "
            f"such layers leave {power(r.hidden[0] / r.hidden[-1])} of the gradient."
        )
    if (r := by.get("tanh")) and r.slope:
        points.append(
            "<strong>Tanh.</strong> Its slope 1 − h² is at most 1, and near 1 where the input is small. Measured: "
            f"{times(r.slope)}, and {times(r.gain)} together with the weights."
        )
    if (r := by.get("relu")) and r.slope:
        points.append(
            "<strong>ReLU.</strong> Its slope is 0 or 1. Half of the units are off, which takes about √½ = 0.71 of "
            f"the norm (measured: {times(r.slope)}); He’s initialization makes the weights √2 larger to give it back."
        )
    if r := by.get("batchnorm"):
        points.append(
            "<strong>Batch norm</strong> keeps the signal at size 1 on the way forward, and pays for it on the way "
            f"back: {times(r.gain)} a layer, measured. For wide ReLU nets at the start theory gives √(π/(π − 1)) = "
            "1.211 (Yang et al., <cite>A mean field theory of batch normalization</cite>, 2019): without skip "
            "connections, normalization makes the gradient of a deep net explode."
        )
    if (r := by.get("rnn")) and r.slope:
        steps = len(r.hidden)
        points.append(
            "<strong>RNN.</strong> Through time the product is the same, with one matrix for all "
            f"steps:{_through_time(steps)}Measured: {times(r.slope)} for the slopes, {times(r.gain)} together with "
            f"the weights. At the start the net cannot learn to use at step {steps} what it read at step 1."
        )
    return f"""
<p>A plain layer computes {LAYER} with {WEIGHTED}. Backprop is the chain rule: to come from layer {_math(_l)} to the
one before it, the gradient is multiplied by the slopes of the activation and then by the weights, transposed. From
the last hidden layer back to layer {_math(_k)} that makes a product with as many factors as there are layers
between:</p>
{_through_layers(settings.depth - 1)}
<p>A product of many factors below 1 dies exponentially; one of many factors above 1 explodes exponentially. A
constant factor is a straight line on the logarithmic scale above. The gradient of a layer’s own weights is made of
it, {WEIGHT_GRADIENT}. These are the factors that were measured here:</p>
{_gains(results)}
{_list(points)}"""


def _list(points: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{p}</li>" for p in points) + "</ul>" if points else ""


def _alive(settings: Settings, results: Sequence[Result]) -> str:
    """What residual, highway, dense nets and the LSTM do about it."""
    by = {r.net: r for r in results}
    parts = ""
    if r := by.get("residual"):
        parts += f"""
<h3>Residual: add, do not replace</h3>{RESIDUAL}
<p>Multiplied out, the product of all these factors holds the identity by itself, beside the paths through one F, two,
three: however small the slopes in the F are, the gradient of the last layer reaches every layer. Measured:
{times(r.gain)} a layer. (Here F is batch norm, activation and weights, in this order; the sum itself is left
alone.)</p>"""
    if r := by.get("highway"):
        bias, gate = math.log(settings.depth), 1 / (1 + settings.depth)
        parts += f"""
<h3>Highway: a gate decides</h3>{HIGHWAY}
<p>Where the gate T is nearly closed, a layer passes on 1 − T of what it gets. Its bias starts at −ln {settings.depth}
= −{bias:.1f}, so T is about {number(gate)}, and all layers together keep about 1/e. Measured: {times(r.gain)} a
layer.</p>"""
    if r := by.get("dense"):
        parts += f"""
<h3>Dense: everybody sees everybody</h3>{DENSE}
<p>The output layer sees every layer directly, so each one’s gradient is a sum whose first term no layer in between
has multiplied. Measured: {times(r.gain)} a layer.</p>"""
    if (r := by.get("lstm")) and r.cell_norms is not None:
        first, last, steps = r.cell_norms[0, 0], r.cell_norms[0, -1], r.cell_norms.shape[1] - 1
        parts += f"""
<h3>LSTM: a cell that is added to</h3>{CELL}
<p>On the cell’s own path there is no matrix and no slope, only the forget gate: ∂c<sub>t</sub>/∂c<sub>t−1</sub> =
diag f<sub>t</sub>. With a forget bias of 2, f is about σ(2) = 0.88: {steps} such steps alone would leave
{number(0.8808**steps)}. Beside it stand the paths through h and the gates, which here add to it. Measured:
{times(r.cell_gain)} a step, {times(first / last)} over {steps} steps for ‖∂ℒ/∂c‖. The hidden state is made from the
cell, so this is also what keeps ‖∂ℒ/∂h‖ alive, which the table gives for both recurrent nets.</p>"""
    return f'<h2 id="alive">What keeps it alive</h2>{parts}' if parts else ""


def _learning(settings: Settings, results: Sequence[Result], pictures: Mapping[str, Picture], missing: str) -> str:
    if not settings.epochs:
        return ""
    updates = (results[0].updates[-1] + 1) // settings.epochs
    return f"""
<h2 id="learning">While they learn</h2>
<p>The same optimizer for all, {settings.epochs} epochs of {updates} updates. Layers that no gradient reaches stay as
random as they were, and hand on noise to those that could learn.</p>
{_figure(pictures.get("training"), missing)}
{_figure(pictures["ratios"], missing) if "ratios" in pictures else ""}"""


def _limits(settings: Settings, results: Sequence[Result]) -> str:
    """What must not be read out of the figures."""
    healthy = [r for r in results if r.verdict.word == "healthy" and not r.recurrent and r.losses]
    plain = [r for r in healthy if r.net in ("tanh", "relu")]
    skips = [r for r in healthy if r.net in ("residual", "highway", "dense")]
    compared = f" Here {ends(plain)} ended below {ends(skips)}." if plain and skips else ""
    if compared and max(r.accuracies[-1] for r in plain) >= min(r.accuracies[-1] for r in skips):
        compared = f" Here {ends([*plain, *skips])}."
    points = [
        "<strong>A healthy norm is necessary, not sufficient.</strong> It says that something arrives, not that it is "
        "of use." + compared,
        f"<strong>Gradients are clipped</strong>, in all nets, to a norm of {CLIP:g} over all parameters before each "
        "update; all norms here were measured before that. Clipping scales all layers alike. It tames an explosion; "
        "it changes no ratio, and cannot bring back what has vanished.",
    ]
    if recurrent := [r for r in results if r.recurrent]:
        text = "<strong>Recurrent nets: this holds for the start, and for this initialization.</strong> "
        if settings.epochs:
            changes = [f"{number(r.ratios[0])} to {number(r.ratios[-1])} in the {r.title}" for r in recurrent]
            text += (
                "Training makes the recurrent weights grow, and the gradient with them: the part of the last step’s "
                f"that reaches the first went from {several(changes)}. "
            )
        if settings.init is None:
            text += (
                "The weights start uniform within ±1/√width, a gain below 1, and the LSTM’s forget bias at 2, chosen "
                "to show the effect; with Xavier’s initialization the gap is smaller: <code>tinygrad-mlsp vanishing "
                "--nets rnn,lstm --init xavier</code>."
            )
        points.append(text)
    points.append(
        f"<strong>One seed, one small data set.</strong> These are the figures of seed {settings.seed}; another "
        "<code>--seed</code> gives others, of the same orders of magnitude for most nets, less so for the RNN, whose "
        "factor hangs on one random matrix."
    )
    if any(r.net == "dense" for r in results):
        points.append(
            "<strong>Layers of different shapes.</strong> A norm is taken over a whole matrix. The first layer’s and "
            "the last one’s are of other shapes than those between, and in the dense net every layer has more inputs "
            "than the one before."
        )
    return _list(points)


def _graphs(results: Sequence[Result], graphs: Mapping[str, Picture], missing: str) -> str:
    parts = ""
    for r in results:
        if r.net not in graphs:
            parts += f'<p class="note" id="graph-{r.net}">{r.title}: {escape(missing)}</p>'
            continue
        picture = graphs[r.net]
        parts += (
            f'<details id="graph-{r.net}"><summary><strong>{r.title}</strong>: {picture.caption}</summary>'
            + _scrolling(f"Graph of {r.title}", picture.element, "scroll graph")
            + f"<details><summary>The same in words</summary><pre>{escape(picture.words)}</pre></details></details>"
        )
    return parts


def _how(settings: Settings, results: Sequence[Result], about: str, command: str) -> str:
    """What it takes to measure the same again."""
    rows = {"Data": about}
    if any(not r.recurrent for r in results):
        rows["Deep nets"] = (
            f"{settings.depth} layers of weights, the output layer included, of {settings.width} units (in the dense "
            f"net 8 a layer after the first); the activation of {several([NETS[n].title for n in OTHERS])} is "
            f"{settings.activation or 'relu'}; weights start by "
            f"{settings.init or 'He’s rule for ReLU, Xavier’s for others'}, biases at 0. Measured: the Frobenius norm "
            "of the gradient of each layer’s weight matrix."
        )
    if recurrent := [r for r in results if r.recurrent]:
        rows["Recurrent nets"] = (
            f"{settings.width} units, {recurrent[0].norms.shape[1]} steps, the loss at the last step only. Measured: "
            "the norm of the gradient of the hidden state at every step, over the batch; of the LSTM’s cell state, "
            "the norm of what each step gets back from the next along the cell."
        )
    rows["Training"] = (
        f"gradient descent with momentum {MOMENTUM:g}, learning rate {settings.learning_rate:g}, batches of "
        f"{settings.batch_size}, the gradient’s norm clipped to {CLIP:g}, {settings.epochs} epochs, in float64 on "
        f"{escape(settings.device)}, seed {settings.seed}. The norms are those of one batch’s gradient, before "
        "clipping: before the first update, twice an epoch, and at the last update."
    )
    links = {"figures.csv": "the table", "profiles.csv": "every measurement", "gains.csv": "local gains",
             "curves.csv": "loss and accuracy"}  # fmt: skip
    rows["Figures"] = ", ".join(f'<a href="{name}">{name}</a> ({what})' for name, what in links.items())
    rows["Again"] = f"<code>{escape(command)}</code> gives the same figures."
    return "<dl>" + "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in rows.items()) + "</dl>"


OTHERS = ("batchnorm", "residual", "highway", "dense")  # the deep nets that are not named after their activation


def page(
    settings: Settings, results: Sequence[Result], pictures: Mapping[str, Picture], graphs: Mapping[str, Picture],
    missing: str, about: str, command: str,
) -> str:  # fmt: skip
    """The whole page. `missing` says why pictures are not there, `about` describes the data, `command` repeats it."""
    profiles = "".join(_figure(pictures[name], missing) for name in ("layers", "steps") if name in pictures)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{MARK}
<title>Where the gradient dies, and what keeps it alive</title>
<style>
{resources.files(__package__).joinpath("page.css").read_text("utf-8")}</style>
</head>
<body>
<header>
<h1>Where the gradient dies, and what keeps it alive</h1>
{_lede(settings, results)}
</header>
<main>
<h2 id="results">What came out</h2>
{_results(results)}
<h2 id="profiles">The gradient on its way back</h2>
<p>Read from right to left: the loss is at the right end, and the gradient travels back to the input at the left. The
scale is logarithmic.</p>
{profiles or _figure(None, missing)}
<h2 id="why">Why: a product of local gains</h2>
{_why(settings, results)}
{_alive(settings, results)}
{_learning(settings, results, pictures, missing)}
<h2 id="limits">What this does not show</h2>
{_limits(settings, results)}
<h2 id="graphs">The graphs</h2>
<p>The operations of a net’s first update, from the image and the parameters to the loss, folded to a readable size.
On each edge stands ‖∂L‖, the norm of the gradient that came back along it; darker and wider is larger. The drawings
are also in the folder <code>graphs</code>; <code>tinygrad-mlsp draw</code> makes larger ones.</p>
{_graphs(results, graphs, missing)}
<h2 id="again">How it was measured, and how to do it again</h2>
{_how(settings, results, about, command)}
</main>
</body>
</html>
"""
