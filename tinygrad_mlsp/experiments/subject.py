"""What the command line looks at: a bundled net on one batch of digits, or a computation of the user's own.

mlp.py              a script that defines loss(), or ends with a Tensor called loss; `model` names its parameters
mlp.py:objective    another function of it, without arguments, that returns a scalar Tensor, or (it, model)
package.module:f    the same, imported
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import runpy
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Error, OptionError
from ..nn import Module
from ..tensor import Tensor
from ..viz import Trace, Walk, trace, walk
from .vanishing import NETS, Net, Settings, first_batch, load


@dataclass
class Subject:
    """A computation that can be looked at: its scalar, how to compute it once more, and what names its parts."""

    title: str
    loss: Tensor
    compute: Callable[[], Tensor] | None  # None where a script left only a result
    model: Module | None
    names: dict[str, Tensor]
    seen: Trace

    def walk(self, keep: int | None = None) -> Walk:
        """One backward pass of it."""
        return walk(self.loss, self.model, names=self.names, title=self.title, trace=self.seen, keep=keep)


def subject(target: str, settings: Settings) -> Subject:
    """The target, computed once.

    Raises: OptionError for a target that is none; Error, with the user's own line, where the user's code fails.
    """
    if target in NETS:
        images = load(settings)
        x, y = first_batch(settings, target, images)
        net = Net(settings, target, images)
        compute = functools.partial(net.loss, x, y)
        with trace(net.model) as seen:
            answer = compute()
        return Subject(f"{NETS[target].title} net", answer, compute, net.model, {}, seen)
    place, colon, name = target.rpartition(":")
    if not colon or (len(place) == 1 and place.isalpha()):  # C:\script.py
        place, name = target, ""
    is_file = place.endswith(".py")
    if not is_file and not name:
        raise OptionError(
            f"{target!r} is neither a net ({', '.join(NETS)}) nor a script; give script.py, script.py:function or "
            "module:function"
        )
    if is_file and not Path(place).is_file():
        raise OptionError(f"there is no file {place!r}")
    name = name or "loss"
    with trace() as seen, _of_the_user(target):
        if is_file:
            scope = _run(Path(place))
        else:
            sys.path.insert(0, "")
            try:
                scope = vars(importlib.import_module(place))
            finally:
                sys.path.remove("")
        found = scope.get(name)
        given = found if callable(found) and not isinstance(found, Tensor) else None
        if given is not None:
            found = given()
    if found is None:
        raise OptionError(f"{place} has no {name}; it needs a function loss() or a Tensor of that name")
    loss: Any
    loss, model = found if isinstance(found, tuple) and len(found) == 2 else (found, scope.get("model"))
    if not isinstance(loss, Tensor):
        raise OptionError(f"{target}: {name} gives a {type(loss).__name__}; a scalar Tensor is wanted")

    def again() -> Tensor:
        assert given is not None
        with _of_the_user(target):
            made: Any = given()
        return made[0] if isinstance(made, tuple) else made

    names = {name: value for name, value in scope.items() if isinstance(value, Tensor) and not name.startswith("_")}
    return Subject(
        target, loss, None if given is None else again, model if isinstance(model, Module) else None, names, seen
    )


def _run(path: Path) -> dict[str, Any]:
    before = sys.path[:]
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        return runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _of_the_user(target: str) -> Iterator[None]:
    """What goes wrong in the user's code is told with the user's line."""
    try:
        yield
    except SystemExit as problem:
        raise Error(f"{target} ended itself, with exit code {problem.code}") from problem
    except Exception as problem:
        frames = traceback.extract_tb(problem.__traceback__)
        others = (str(Path(__file__).parents[1]), "<", sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
        own = [f for f in frames if not f.filename.startswith(others)]
        where = f", line {own[-1].lineno} of {own[-1].filename}" if own else ""
        raise Error(f"{target}{where}: {type(problem).__name__}: {problem}") from problem
