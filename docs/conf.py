"""How the documentation is built: `python -m sphinx -W docs docs/_build/html`, offline."""

import os

import tinygrad_mlsp

project = "tinygrad_mlsp"
author = "the tinygrad_mlsp authors"
release = version = tinygrad_mlsp.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "tinygrad_mlsp"
html_math_renderer = "mathml"
exclude_patterns = ["_build"]
html_extra_path = ["_build/seeing"]  # pages that the pages show
os.makedirs(os.path.join(os.path.dirname(__file__), *html_extra_path), exist_ok=True)
autodoc_typehints = "signature"
autodoc_member_order = "bysource"


def write_operations(app):
    """The table of operations, from the registry, so that it cannot drift from what runs."""
    from pathlib import Path

    from tinygrad_mlsp.op import registry

    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - operation",
        "     - kind",
        "     - equation",
        "     - at the kink",
    ]
    for name, op in sorted(registry.items()):
        equation = (op.__doc__ or "").strip().splitlines()[0].replace("|", "\\|").replace("*", "\\*")
        lines += [f"   * - ``{name}``", f"     - {op.kind}", f"     - {equation}", f"     - {op.kink}"]
    target = Path(app.srcdir) / "_build" / "operations.inc"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


CHAPTERS = (
    "arithmetic", "elementwise", "special", "reductions", "scans", "sorting", "shape", "indexing", "linear_algebra",
    "decompositions", "fourier", "convolution", "normalization", "recurrent", "losses",
)  # fmt: skip


def write_calculus(app):
    """The table of calculus: each operation's formula and derivatives, written by running its rules on symbols."""
    from pathlib import Path

    from tinygrad_mlsp.interpret import formula
    from tinygrad_mlsp.op import registry

    by_chapter = {}
    for name, op in registry.items():
        by_chapter.setdefault(op.forward.__module__.rpartition(".")[2], {})[name] = op
    lines = []
    for chapter in sorted(by_chapter, key=lambda c: CHAPTERS.index(c) if c in CHAPTERS else len(CHAPTERS)):
        title = chapter.replace("_", " ").capitalize()
        lines += [title, "-" * len(title), ""]
        for name, op in sorted(by_chapter[chapter].items()):
            made = formula(op, style="latex")
            lines += [f"**{name}**", ""]
            for line in made.lines():
                for piece in line.split(r",\quad "):  # one equation a line
                    lines += [".. math::", "", f"   {piece}", ""]
            if made.kink:
                text = made.kink.replace("|", "\\|").replace("*", "\\*")
                lines += [f"At the kink: {text}.", ""]
    target = Path(app.srcdir) / "_build" / "calculus.inc"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_snippets(app):
    """The snippets of docs/seeing run as they stand; what they print and save is what the pages show."""
    import contextlib
    import io
    import re
    from pathlib import Path

    for page in sorted((Path(app.srcdir) / "seeing").glob("*.md")):
        folder = Path(app.srcdir) / "_build" / "seeing" / page.stem
        folder.mkdir(parents=True, exist_ok=True)
        scope = {"__name__": "__main__"}
        for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S), 1):
            said = io.StringIO()
            source = folder / f"snippet{number}.py"  # a file, so that lines can be quoted
            source.write_text(code, encoding="utf-8")
            with contextlib.chdir(folder), contextlib.redirect_stdout(said):
                exec(compile(code, source.name, "exec"), scope)
            (folder / f"out{number}.txt").write_text(said.getvalue(), encoding="utf-8")


def escape(app, what, name, obj, options, lines):
    """Docstrings are plain text with formulas: |x| and a * b are not markup."""
    lines[:] = [line if ">>>" in line else line.replace("|", "\\|").replace("*", "\\*") for line in lines]


def write_math(translator, node):
    """Mathematics as MathML, which browsers draw themselves: no script, no network."""
    from docutils import nodes
    from latex2mathml.converter import convert

    inline = isinstance(node, nodes.math)
    made = convert(node.astext(), display="inline" if inline else "block")
    translator.body.append(made if inline else f'<div style="margin:.7em 0;overflow-x:auto">{made}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(write_math, None), block_renderers=(write_math, None))
    app.connect("autodoc-process-docstring", escape)
    app.connect("builder-inited", write_operations)
    app.connect("builder-inited", write_calculus)
    app.connect("builder-inited", run_snippets)
