"""Functions and ufuncs of the stand-in: unwrap the hidden arrays, let NumPy compute, wrap what comes back.

The snapshot of the real CuPy is the gate: a name, parameter or dtype that it lacks is refused here.
"""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import strict
from ._ndarray import SCALARS, ndarray, new, scatter, wrap

SNAPSHOT = json.loads(Path(__file__).parent.with_name("snapshot.json").read_text())
VERSION = SNAPSHOT["cupy"]
Converter = Callable[[Any], Any]


def words(text: str) -> list[str]:
    return text.split()


# What CuPy takes for a parameter goes by the parameter's name.
def array(value: Any) -> Any:
    """A cupy.ndarray and nothing else: CuPy converts neither NumPy arrays nor lists, and seldom numbers."""
    if type(value) is ndarray:
        return value._hidden
    raise TypeError(f"must be a cupy.ndarray, not {type(value)}")


def operand(value: Any) -> Any:
    """A cupy.ndarray or a number."""
    if type(value) is ndarray:
        return value._hidden
    if type(value) in SCALARS or value is None:
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def arrays(value: Any) -> Any:
    """A list or tuple of cupy.ndarrays."""
    return [array(v) for v in value] if isinstance(value, (list, tuple)) else array(value)


def loose(value: Any) -> Any:
    """Anything without a NumPy array in it."""
    if type(value) is ndarray:
        return value._hidden
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return type(value)(map(loose, value)) if type(value) in (list, tuple) else value


def plain(value: Any) -> Any:
    """Anything that lives on the host for CuPy too: an axis, a shape, a dtype, a flag."""
    if isinstance(value, (ndarray, np.ndarray)):
        raise TypeError(f"{type(value)} cannot be interpreted as a Python number or a tuple of them")
    return value


CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys(
        words(
            "A a a1 a2 ar ar1 ar2 arr arr1 arr2 array ary aweights b choices condition dst element f filt fp fweights "
            "m mask out p prototype sample sorter src test_elements v w weights where x x1 x2 xp y z"
        ),
        array,
    ),
    **dict.fromkeys(
        words("a_max a_min append default fill_value left max min prepend right to_begin to_end val vals value values"),
        operand,
    ),
    **dict.fromkeys(words("choicelist condlist keys tup"), arrays),
    **dict.fromkeys(
        words("args arrays arrays_and_dtypes arys bins ind indices multi_index operands varargs xi"), loose
    ),
}
EXCEPTIONS: dict[tuple[str, str], Converter] = {
    ("allclose", "a"): operand,
    ("allclose", "b"): operand,
    ("digitize", "bins"): array,
    ("isclose", "a"): operand,
    ("isclose", "b"): operand,
    ("iscomplexobj", "x"): loose,
    ("isrealobj", "x"): loose,
    ("isscalar", "element"): loose,
    ("iterable", "y"): loose,
    ("matmul", "args"): array,
    ("ndim", "a"): loose,
    ("put_along_axis", "indices"): array,
    ("searchsorted", "v"): operand,
    ("shape", "a"): loose,
    ("size", "a"): loose,
    ("take_along_axis", "indices"): array,
    ("tril_indices", "m"): plain,
    ("triu_indices", "m"): plain,
    ("where", "x"): operand,
    ("where", "y"): operand,
}
# What the snapshot's bare **kwargs stand for.
KEYWORDS = {
    "einsum": "dtype=None, optimize=False",
    "meshgrid": "indexing='xy', copy=True, sparse=False",
    "pad": "*, stat_length=None, constant_values=0, end_values=0, reflect_type='even'",
    "rand": "dtype=None",
    "randn": "dtype=None",
}
# Some wait without saying so in their docstrings; two only with certain arguments.
SYNCHRONIZES = {name.rpartition(".")[2] for name in SNAPSHOT["synchronizes"]} - {"average", "where"}
SYNCHRONIZES |= set(
    words(
        "argwhere array2string array_repr array_str intersect1d setdiff1d setxor1d trim_zeros union1d "
        "unique_all unique_counts unique_inverse unique_values"
    )
)
# NumPy returns Python's bool or int; CuPy an array on the device.
NUMBERS = {"allclose", "array_equal", "array_equiv", "count_nonzero"}


def function(
    scope: str, name: str, run: Callable[..., Any], all_by: Converter | None = None, own: str = ""
) -> Callable[..., Any]:
    """Returns CuPy's function `name`, computed by `run` on hidden arrays; `all_by` converts all its arguments.

    All work that does not depend on the arguments is done here, once a function. `own` is the parameter that a method
    has before those of the snapshot.
    """
    text = SNAPSHOT["names"][scope][name].replace("(", "(" + own, 1)
    head = text[1:-1].replace("**kwargs", KEYWORDS.get(name, "")).replace("**kwarg", KEYWORDS.get(name, ""))
    parsed = ast.parse(f"def f({head.rstrip(', ')}): 0").body[0]
    assert isinstance(parsed, ast.FunctionDef)
    spec = parsed.args

    def converter(parameter: str) -> Converter:
        return all_by or EXCEPTIONS.get((name, parameter)) or CONVERTERS.get(parameter, plain)

    parameters = spec.posonlyargs + spec.args
    defaults: Sequence[Any] = [None] * (len(parameters) - len(spec.defaults)) + list(spec.defaults)
    order = [(p.arg, converter(p.arg), d) for p, d in zip(parameters, defaults)]
    optional = order + [(p.arg, converter(p.arg), d) for p, d in zip(spec.kwonlyargs, spec.kw_defaults)]
    # name -> (converter, whether None means "not given")
    keywords = {p: (c, isinstance(d, ast.Constant) and d.value is None) for p, c, d in optional}
    rest = converter(spec.vararg.arg) if spec.vararg else None
    synchronizes, number = name in SYNCHRONIZES, name in NUMBERS

    def call(*args: Any, **kwargs: Any) -> Any:
        positional, named = [], {}
        for (parameter, convert, default), value in zip(order, args):
            if default is None:
                positional.append(convert(value))
            elif parameter in kwargs:
                raise TypeError(f"{name}() got multiple values for argument '{parameter}'")
            elif value is not None or not keywords[parameter][1]:
                named[parameter] = convert(value)
        if len(args) > len(order):
            if rest is None:
                raise TypeError(f"{name}() takes {len(order)} positional arguments but {len(args)} were given: {text}")
            positional += map(rest, args[len(order) :])
        for parameter, value in kwargs.items():
            if parameter not in keywords:
                raise TypeError(f"{name}() got an unexpected keyword argument '{parameter}': CuPy {VERSION} has {text}")
            convert, absent = keywords[parameter]
            if value is not None or not absent:
                named[parameter] = convert(value)
        if synchronizes:
            strict.synchronize(f"{name}()")
        with np.errstate(all="ignore"):  # a device warns of nothing
            result = run(*positional, **named)
        if number:
            result = np.asarray(result)
        return wrap(result, (*args, *kwargs.values()))

    call.__name__ = call.__qualname__ = name
    return call


def method(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
    return function("cupy.ndarray", name, run, own="a, ")


def namespace(
    scope: str, find: Callable[[str], Any], cache: dict[str, Any], all_by: Converter | None = None
) -> Callable[[str], Any]:
    """Returns a module's __getattr__: makes a name at its first use, if CuPy has it and `find` what runs for it."""
    names = SNAPSHOT["names"][scope]

    def __getattr__(name: str) -> Any:
        kind = names.get(name)
        if kind is None:
            raise AttributeError(f"module '{scope}' has no attribute '{name}': CuPy {VERSION} lacks it")
        run = find(name)
        if run is None:
            raise AttributeError(f"CuPy {VERSION} has {scope}.{name}, the stand-in has nothing to run for it")
        if kind == "ufunc":
            run = ufunc(scope, name, run)
        elif kind.startswith("("):
            run = function(scope, name, run, all_by)
        cache[name] = run
        return run

    return __getattr__


class ufunc:
    """An elementwise function with the loops that CuPy has: a mixture of dtypes without a loop is refused."""

    def __init__(self, scope: str, name: str, run: Callable[..., Any]) -> None:
        self.nin, self.nout, types = SNAPSHOT["ufuncs"][scope][name]
        self.nargs = self.nin + self.nout
        self.name = self.__name__ = f"cupy_{name}"
        self.types = types.split()
        self._run = run
        self._options = {"order": "C"} if isinstance(run, np.ufunc) else {}  # CuPy's outputs are C-contiguous
        self._loops = [tuple(tuple(map(np.dtype, side)) for side in t.split("->")) for t in self.types]
        self._found: dict[tuple[Any, ...], tuple[np.dtype[Any], ...]] = {}
        self._short = name

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}'>"

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None, casting: str = "same_kind") -> Any:
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(f"Wrong number of arguments for '{self.name}': {len(args)}")
        if len(args) > self.nin:
            if out is not None:
                raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
            args, out = args[: self.nin], args[self.nin :]
        hidden, key = [], []
        for value in args:
            kind = type(value)
            if kind is ndarray:
                value = value._hidden
                key.append(value.dtype)
            elif kind in SCALARS:
                key.append(kind)
            else:
                raise TypeError(f"Unsupported type {kind}")
            hidden.append(value)
        expected = self._outputs(tuple(key), dtype)
        options = self._options
        if dtype is not None and options:
            options = {**options, "dtype": dtype, "casting": casting}
        with np.errstate(all="ignore"):  # a device warns of nothing
            if out is not None:
                return self._into(out, hidden, options, casting)
            result = self._run(*hidden, **options)
        if self.nout > 1:
            return tuple(new(np.asarray(r, d)) for r, d in zip(result, expected))
        if type(result) is not np.ndarray or result.dtype != expected[0]:
            result = np.asarray(result, expected[0])
        return new(result)

    def _into(self, out: Any, hidden: list[Any], options: Mapping[str, Any], casting: str) -> Any:
        outs = out if isinstance(out, tuple) else (out,)
        if len(outs) != self.nout:
            raise ValueError("'out' must be a tuple of arrays, one an output")
        targets = tuple(None if o is None else array(o) for o in outs)
        if isinstance(self._run, np.ufunc):
            results = self._run(*hidden, out=targets, **{**options, "casting": casting})
        else:
            results = np.asarray(self._run(*hidden))
            np.copyto(targets[0], results, casting=casting)  # type: ignore[arg-type]
        results = results if isinstance(results, tuple) else (results,)
        wrapped = tuple(o if o is not None else new(np.asarray(r)) for o, r in zip(outs, results))
        return wrapped if self.nout > 1 else wrapped[0]

    def _outputs(self, key: tuple[Any, ...], dtype: Any) -> tuple[np.dtype[Any], ...]:
        """The dtypes of the outputs: the first loop that the inputs can be cast to, Python's numbers being weak."""
        if dtype is not None:
            wanted = np.dtype(dtype)
            if not any(all(o == wanted for o in outs) for _, outs in self._loops):
                raise TypeError(f"Wrong type ({wanted}) of arguments for {self.name}: CuPy {VERSION} has no such loop")
            return (wanted,) * self.nout
        if (found := self._found.get(key)) is None:
            kinds = [(np.dtype(k), k if k is int or k is float or k is complex else None) for k in key]
            strong = [self._rank(d) for d, weak in kinds if not weak]
            weak_ranks = [self._rank(d) for d, weak in kinds if weak]
            use_weak = bool(strong and weak_ranks) and max(strong) >= max(weak_ranks)
            for ins, outs in self._loops:
                if all(
                    np.can_cast(d, i) or (use_weak and w and np.result_type(w(0), i) == i)
                    for (d, w), i in zip(kinds, ins)
                ):
                    found = self._found[key] = outs
                    break
            else:
                names = ", ".join(str(d) for d, _ in kinds)
                raise TypeError(f"Wrong type ({names}) of arguments for {self.name}: CuPy {VERSION} has no such loop")
        return found

    @staticmethod
    def _rank(dtype: np.dtype[Any]) -> int:
        return {"b": 0, "i": 1, "u": 1}.get(dtype.kind, 2)

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        if self._short not in SNAPSHOT["reduces"]:
            raise NotImplementedError(f"`{self.name}.reduce` is not supported yet")
        return (array.sum if self._short == "add" else array.prod)(axis, dtype, out, keepdims)

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        if self._short not in SNAPSHOT["reduces"]:
            raise NotImplementedError(f"`{self.name}.accumulate` is not supported yet")
        return (array.cumsum if self._short == "add" else array.cumprod)(axis, dtype, out)

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        return self(A.reshape(A.shape + (1,) * B.ndim), B.reshape((1,) * A.ndim + B.shape), **kwargs)

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        dtypes = SNAPSHOT["at"].get(self._short)
        if dtypes is None:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        scatter(getattr(np, self._short), dtypes, a, indices, b)
