"""Writes snapshot.json: the names, signatures and dtypes of the real CuPy, the gate of the stand-in beside this file.

    python -m venv scratch && scratch/bin/pip install numpy scipy cupy-cuda13x==14.2.0
    scratch/bin/python -P take_snapshot.py

No GPU is needed: CuPy imports without one, and everything read here is known before a kernel runs. The wheel alone
does (no `[ctk]` extra); -P keeps the stand-in beside this file from being taken for CuPy. Take it again when the
library moves to another CuPy, and read the difference.

    "names":        module or class -> name -> "(a, axis=None)" for a function, "ufunc", "class", "module" or "value"
    "ufuncs":       module -> name -> [inputs, outputs, the loops' types in the order in which CuPy tries them]
    "at":           ufunc -> the dtypes that its `.at` can scatter; a ufunc that is not here has no `.at`
    "reduces":      the ufuncs that have `.reduce` and `.accumulate`
    "synchronizes": functions that say that they may wait for the device
"""

import __future__

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cupy
import cupy.cuda.runtime
import cupyx.scipy.special
import numpy

SCOPES = {
    "cupy": cupy,
    "cupy.linalg": cupy.linalg,
    "cupy.fft": cupy.fft,
    "cupy.lib.stride_tricks": cupy.lib.stride_tricks,
    "cupy.random": cupy.random,
    "cupy.cuda": cupy.cuda,
    "cupy.cuda.runtime": cupy.cuda.runtime,
    "cupy.cuda.Device": cupy.cuda.Device,
    "cupy.cuda.Stream": cupy.cuda.Stream,
    "cupy.cuda.Event": cupy.cuda.Event,
    "cupy.ndarray": cupy.ndarray,
    "cupy.ufunc": cupy.ufunc,
    "cupy.random.Generator": cupy.random.Generator,
    "cupyx": cupyx,
    "cupyx.scipy": cupyx.scipy,
    "cupyx.scipy.special": cupyx.scipy.special,
}
DTYPES = "?bhilqBHILQefdFD"


def signature(function: Callable[..., Any]) -> str:
    """Returns "(a, axis=None)": without self, annotations and C types, a class as a default by its bare name."""
    try:
        found = inspect.signature(function)
        text = str(
            found.replace(
                parameters=[p.replace(annotation=p.empty) for p in found.parameters.values()],
                return_annotation=found.empty,
            )
        )
    except (TypeError, ValueError):  # Cython writes the signature into the docstring's first line
        match = re.match(r"[\w.]+(\(.*\))(?: -> .*)?$", (function.__doc__ or "").split("\n")[0])
        text = match[1] if match else "(*args, **kwargs)"
        text = re.sub(r"([(,] ?)(?:\w+ )(?=\w+[,)=])", r"\1", text)
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    return re.sub(r"^\(self(?:, /)?(?:, )?", "(", text)


def entry(thing: Any) -> str:
    if inspect.ismodule(thing) or type(thing).__name__ == "_LazyModule":
        return "module"
    if isinstance(thing, cupy.ufunc):
        return "ufunc"
    if inspect.isclass(thing):
        return "class"
    if callable(thing) or inspect.isroutine(thing):
        return signature(thing)
    return "value"


def at_dtypes(name: str) -> str:
    """The dtypes for which ufunc.at gets as far as the device."""
    accepted = ""
    for char in DTYPES:

        def array(dtype: str) -> cupy.ndarray:  # lends addresses that nothing reads
            memory = cupy.cuda.UnownedMemory(4096, 64, None, 0)
            return cupy.ndarray((2,), dtype, cupy.cuda.MemoryPointer(memory, 0))

        try:
            getattr(cupy, name).at(array(char), array("l"), array(char))
        except (TypeError, NotImplementedError):
            continue
        except Exception:
            pass  # no device: the arguments were accepted
        accepted += char
    return accepted


def main() -> None:
    if Path(cupy.__file__).is_relative_to(Path(__file__).parent):
        raise SystemExit("this is the stand-in: run python -P take_snapshot.py where the real CuPy is installed")
    names: dict[str, dict[str, str]] = {}
    ufuncs: dict[str, dict[str, list[Any]]] = {}
    synchronizes = []
    for scope_name, scope in SCOPES.items():
        special = scope is cupy.ndarray
        public = [n for n in dir(scope) if not n.startswith("_") or (special and n.startswith("__"))]
        public = [n for n in public if not special or n not in dir(object)]
        public = [n for n in public if not isinstance(getattr(scope, n), __future__._Feature)]
        names[scope_name] = {n: entry(getattr(scope, n)) for n in public}
        for n in public:
            thing = getattr(scope, n)
            if isinstance(thing, cupy.ufunc):
                ufuncs.setdefault(scope_name, {})[n] = [thing.nin, thing.nout, " ".join(thing.types)]
            if re.search(r"may\s+synchronize|performs\s+device\s+synchronization", getattr(thing, "__doc__", "") or ""):
                synchronizes.append(f"{scope_name}.{n}")
    scattering = {n: at_dtypes(n) for n in sorted(ufuncs["cupy"]) if getattr(cupy, n)._scatter_op}
    snapshot = {
        "cupy": cupy.__version__,
        "numpy": numpy.__version__,
        "names": names,
        "ufuncs": ufuncs,
        "at": scattering,
        "reduces": [n for n in ufuncs["cupy"] if getattr(cupy, n).name in ("cupy_add", "cupy_multiply")],
        "synchronizes": synchronizes,
    }
    Path(__file__).with_name("snapshot.json").write_text(json.dumps(snapshot, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
