"""The command line: `tinygrad-mlsp vanishing`, `draw`, and to look into one backward pass `explain`, `play`, `diff`,
`flow`."""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .errors import Error, OptionError

if TYPE_CHECKING:
    from .experiments.subject import Subject

PROGRAM = "tinygrad-mlsp"
# What the job can train, kept here so that --help needs none of it; a test holds it equal to experiments.vanishing's.
NETS = ("sigmoid", "tanh", "relu", "batchnorm", "residual", "highway", "dense", "rnn", "lstm")
ACTIVATIONS = ("sigmoid", "tanh", "relu")
INITS = ("xavier", "he", "scaled")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter, **kwargs})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _whole(low: int, high: int) -> Callable[[str], int]:
    """The type of an option that is a whole number from low to high."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,30}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"expected a whole number from {low:,} to {high:,}, got {text!r}")
        return int(text)

    return parse


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _nets(text: str) -> tuple[str, ...]:
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in NETS:
            raise argparse.ArgumentTypeError(f"no net is called {name!r}; the nets are {', '.join(NETS)}")
    return tuple(dict.fromkeys(names))


def _device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,4})?", text):
        raise argparse.ArgumentTypeError(f"expected cpu, cuda or cuda:N, got {text!r}")
    return text


def _text(text: str) -> str:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="See gradients vanish in deep and in recurrent nets, and what keeps them alive.",
        epilog=f"Without a command, {PROGRAM} runs vanishing.\n{PROGRAM} COMMAND --help tells a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)

    vanishing = commands.add_parser(
        "vanishing",
        help="train deep nets on handwritten digits and report the gradient at every layer",
        description=(
            "Trains deep nets on handwritten digits, all from one seed and with one\n"
            "optimizer, measures the gradient at every layer or time step before and\n"
            "during the training, and writes a report: index.html, which needs no network,\n"
            "with its graphs, plots and figures beside it. By default this takes well under\n"
            "a minute."
        ),
        epilog=(
            "nets:\n"
            "  sigmoid, tanh, relu   plain nets of that activation\n"
            "  batchnorm             plain, with batch normalization before every activation\n"
            "  residual              x + F(x) in every layer, batch normalization first in F\n"
            "  highway               gates that choose between x and F(x)\n"
            "  dense                 every layer sees the outputs of all layers before it\n"
            "  rnn, lstm             read pixel by pixel (MNIST: row by row), answer at the end\n"
            "\n"
            "examples:\n"
            f"  {PROGRAM} vanishing\n"
            f"  {PROGRAM} vanishing --nets sigmoid,residual --depth 50 --output deeper\n"
            f"  {PROGRAM} vanishing --nets rnn,lstm --init xavier --seed 1"
        ),
    )
    add = vanishing.add_argument
    add("--nets", type=_nets, default=NETS, metavar="LIST", help="which nets, separated by commas (default: all nine)")
    add("--data", choices=("digits", "mnist"), default="digits",
        help="digits: 1,797 images of 8x8 pixels, bundled (default); mnist: 70,000 of 28x28, found or "
             "downloaded")  # fmt: skip
    add("--data-folder", type=_text, metavar="FOLDER",
        help="where MNIST's four files are (default: $TINYGRAD_MLSP_DATA, then a cache that a download "
             "fills)")  # fmt: skip
    add("--epochs", type=_whole(0, 100_000), default=20, metavar="N",
        help="passes over the training images; 0 only measures the start (default: 20)")  # fmt: skip
    add("--learning-rate", type=_positive, default=0.05, metavar="X",
        help="of gradient descent with momentum 0.9 (default: 0.05)")  # fmt: skip
    add("--batch-size", type=_whole(2, 10_000), default=64, metavar="N", help="images an update (default: 64)")
    add("--output", type=_text, default="vanishing-report", metavar="FOLDER",
        help="the report's folder; an older report there is replaced (default: vanishing-report)")  # fmt: skip
    _add_model_options(vanishing)

    draw = commands.add_parser(
        "draw",
        help="draw one net's graph of operations, with the gradient on every edge",
        description=(
            "Draws the graph of operations of one net, on one batch of the digits, before\n"
            "any training; after a backward pass every edge shows the norm of the gradient\n"
            "that came back along it."
        ),
        epilog=f"example:\n  {PROGRAM} draw lstm --output lstm.svg",
    )
    draw.add_argument("net", choices=NETS, metavar="NET", help=f"one of {', '.join(NETS)}")
    draw.add_argument("--output", type=_text, metavar="FILE",
                      help="a file ending in .svg, .dot, .png or .pdf (default: NET.svg); png and pdf need the dot "
                           "program")  # fmt: skip
    draw.add_argument("--backward", action=argparse.BooleanOptionalAction, default=True,
                      help="with the gradients of a backward pass (default), or without")  # fmt: skip
    draw.add_argument("--limit", type=_whole(8, 100_000), default=400, metavar="N",
                      help="fold modules and time steps until so many nodes are left; .dot is never folded "
                           "(default: 400)")  # fmt: skip
    draw.add_argument("--batch-size", type=_whole(2, 1_000), default=64, metavar="N", help="images (default: 64)")
    _add_model_options(draw)

    looks = {
        "explain": ("derive the gradient of one backward pass, step by step, with the numbers",
                    "Prints the derivation, or writes it to a file ending in .txt, .md or .html."),
        "play": ("write the step player of one backward pass: one page, in which one steps forward and back",
                 "Writes one page that needs no network: open it in a browser."),
        "diff": ("tell what differs between two backward passes, in structure and in numbers",
                 "Prints what came, what went and which norms changed; --output draws both graphs in one."),
        "flow": ("tell where the gradient dies or grows, layer by layer or step by step, and what to try",
                 "Prints what reached each layer (of a recurrent net: each time step), dead and\n"
                 "saturated units, and the verdict; --output draws it."),
    }  # fmt: skip
    for name, (short, long) in looks.items():
        look = commands.add_parser(
            name,
            help=short,
            description=f"{long}\n\nTARGET is a bundled net ({', '.join(NETS)}) on one batch of\nthe digits, or a "
            "computation of your own: script.py, which defines loss() (or\nends with a Tensor called loss; a Module "
            "called model names the parameters),\nscript.py:function, or module:function.",
            epilog=f"examples:\n  {PROGRAM} {name} tanh{' residual' if name == 'diff' else ''} --depth 4\n"
            f"  {PROGRAM} {name} my_script.py{' my_script.py:other' if name == 'diff' else ''}",
        )
        look.add_argument("target", type=_text, metavar="TARGET", help="what to look at")
        if name == "diff":
            look.add_argument("other", type=_text, metavar="OTHER", help="what to compare it with")
        endings = {
            "explain": ".txt, .md or .html",
            "play": ".html",
            "diff": ".svg, .dot, .png, .pdf or .txt",
            "flow": ".svg, .png or .pdf",
        }[name]
        default = " (default: player.html)" if name == "play" else " (default: none, it is printed)"
        look.add_argument("--output", type=_text, metavar="FILE", help=f"a file ending in {endings}{default}")
        look.add_argument("--batch-size", type=_whole(2, 1_000), default=8, metavar="N", help="images (default: 8)")
        _add_model_options(look, depth=3, width=8)
    return parser


def _add_model_options(parser: argparse.ArgumentParser, depth: int = 30, width: int = 32) -> None:
    add = parser.add_argument
    add("--depth", type=_whole(3, 1_000), default=depth, metavar="N",
        help=f"weight layers of the deep nets, the output layer included (default: {depth})")  # fmt: skip
    add("--width", type=_whole(1, 4_096), default=width, metavar="N", help=f"units a layer (default: {width})")
    add("--activation", choices=ACTIVATIONS,
        help="of the batch norm, residual, highway and dense nets (default: relu)")  # fmt: skip
    add("--init", choices=INITS,
        help="how weights start (default: he for relu, else xavier; rnn and lstm: uniform within "
             "1/sqrt(width))")  # fmt: skip
    add("--device", type=_device, default="cpu", metavar="NAME", help="cpu (default), cuda or cuda:N")
    add("--seed", type=_whole(0, 2**63 - 1), default=0, metavar="N",
        help="of the weights and of the order of the images (default: 0)")  # fmt: skip


def _vanishing(options: argparse.Namespace) -> None:
    from .experiments import report, vanishing

    chosen = {name: value for name, value in vars(options).items() if name not in ("command", "output")}
    settings = vanishing.Settings(**chosen)
    folder = report.Folder(options.output)  # before the work: a folder that cannot be written is known at once
    images = vanishing.load(settings)
    with _Progress(len(settings.nets), vanishing.updates(settings, images)) as progress:
        results = vanishing.run(settings, images, progress)
        progress.says("drawing")
        notes = report.write(settings, results, images.about, _command(options), folder)
    print(report.table(results), *notes, sep="\n")


def _command(options: argparse.Namespace) -> str:
    """The command line that gives the same figures, with the options that are not the default."""
    default = _parser().parse_args([options.command])
    words = [PROGRAM, options.command]
    for name, value in vars(options).items():
        if value != getattr(default, name) and name != "output":
            words += [f"--{name.replace('_', '-')}", ",".join(value) if isinstance(value, tuple) else str(value)]
    return shlex.join(words)


class _Progress:
    """A progress bar on a terminal; elsewhere a line a net."""

    def __init__(self, nets: int, updates: int) -> None:
        self._nets, self._updates, self._seen = nets, updates, 0
        self._net = ""

    def __enter__(self) -> _Progress:
        from tqdm import tqdm

        self._bar = tqdm(total=self._nets * self._updates, unit=" updates", disable=None, leave=False)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, net: str, updates: int) -> None:
        """So many more updates of this net are done."""
        if net != self._net:
            self._net, self._seen = net, self._seen + 1
            self.says(f"{net} ({self._seen} of {self._nets})")
        self._bar.update(updates)

    def says(self, what: str) -> None:
        """What is being done now."""
        if self._bar.disable:
            print(what, file=sys.stderr, flush=True)
        else:
            self._bar.set_description(what)


def _draw(options: argparse.Namespace) -> None:
    from .experiments import vanishing

    names = ("depth", "width", "activation", "init", "device", "seed", "batch_size")
    settings = vanishing.Settings(nets=(options.net,), **{name: getattr(options, name) for name in names})
    print(vanishing.draw(settings, options.output or f"{options.net}.svg", options.backward, options.limit))


def _look(options: argparse.Namespace) -> None:
    from . import viz
    from .experiments import vanishing
    from .experiments.subject import subject

    names = ("depth", "width", "activation", "init", "device", "seed", "batch_size")
    settings = vanishing.Settings(**{name: getattr(options, name) for name in names})
    output = options.output or ("player.html" if options.command == "play" else None)
    first = subject(options.target, settings)
    made: viz.Explanation | viz.Player | viz.Diff | _Flow
    if options.command == "diff":
        second = subject(options.other, settings)
        made = viz.diff(first.walk(), second.walk(), names=(options.target, options.other))
    elif options.command == "flow":
        made = _Flow(first)
    else:
        made = (viz.explain if options.command == "explain" else viz.play)(first.walk())
    if output is None:
        print(str(made).rstrip())
        return
    try:
        made.save(output)
    except OSError as problem:
        raise vanishing.FileError(f"cannot write {output}: {problem.strerror or problem}") from problem
    print(f"{output}: {options.command} of {options.target}")


class _Flow:
    """The gradient through time, where something recurs; else layer by layer."""

    def __init__(self, subject: Subject) -> None:
        from . import viz
        from .errors import GraphError

        self.text: str
        try:
            through = viz.through_time(subject.walk(keep=1))
            self.text, self.profile = through.text(), through.profile
            return
        except GraphError:
            pass
        if subject.compute is None or subject.model is None:
            raise OptionError(
                f"{subject.title}: flow looks at a Module while it computes; the script needs a function loss(), and "
                "the net as `model` (or let the function return both)"
            )
        with viz.watch(subject.model, every=1) as flow:
            subject.compute().backward()
        self.text, self.profile = flow.text(), flow.profile

    def __str__(self) -> str:
        return self.text

    def save(self, path: str) -> None:
        from .viz.plots import save_figure

        figure: Any = self.profile().figure
        save_figure(figure, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 when the work failed, 2 for wrong options, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without a character shows "?", not a traceback
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "vanishing")
        print(f"{PROGRAM}: no command given, so this runs `{PROGRAM} vanishing`: it trains nine nets on handwritten "
              "digits and shows where the gradient dies.", file=sys.stderr)  # fmt: skip
    try:
        parser = _parser()
        options = parser.parse_args(arguments)
        if options.command == "vanishing" and options.data_folder and options.data != "mnist":
            parser.error("--data-folder is for --data mnist; the digits are bundled")
        {"vanishing": _vanishing, "draw": _draw}.get(options.command, _look)(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\n{PROGRAM}: interrupted; nothing was written", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left: nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _fail("not enough memory; try a smaller --depth, --width or --batch-size")
    except (Error, OSError) as problem:
        return _fail(str(problem), 2 if isinstance(problem, OptionError) else 1)
    return 0


def _fail(message: str, code: int = 1) -> int:
    print(f"{PROGRAM}: error: {' '.join(message.split())}", file=sys.stderr)
    return code
