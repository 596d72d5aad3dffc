"""What happens when an operation meets Tensors: unwrap, compute, and keep what the rules name.

`build_record` writes that function out once an operation, from its declaration. Whatever does not go
straight through (numbers, arrays, mixed dtypes) is made ready in `_retry` and sent through again; what
fails is explained in `explain`, so success pays for neither.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from . import op as op_module
from .backend import device_of, spaces
from .convert import common_dtype, number
from .errors import AxisError, DeviceError, DTypeError, Error, IndexingError, MatrixError, OptionError, ShapeError
from .modes import OFF, _mode, _observer
from .op import Operation
from .recipe import PART, FullRecipe, Node, Recipe, make_node, next_order
from .source import inlined
from .tensor import Tensor, wrap

F = TypeVar("F", bound=Callable[..., Any])


def build_record(op: Operation) -> Callable[..., Any]:
    """Writes the function that applies `op` to Tensors, for exactly its arguments, options and rules."""
    args, differentiable = op.arguments, op.differentiable
    joined = [a for a in _joined(op) if a != op.list_argument]
    signature = [f"{a}=None" if a in op.optional else a for a in args]
    scope: dict[str, Any] = {
        "forward": op.forward, "op": op, "spaces": spaces, "Tensor": Tensor, "new": object.__new__, "Node": Node,
        "recording": _mode.get, "next_order": next_order, "retry": _retry, "explain": explain, "special": _special,
        "several": several, "wrap": wrap, "float64": np.dtype("float64"), "generic": np.generic,
        "undeclared": _undeclared, "unordered": _unordered, "narrowed": _narrowed,
    }  # fmt: skip
    if op.options:
        for option, default in op.options.items():
            scope[f"default_{option}"] = default
            signature.append(option if default is inspect.Parameter.empty else f"{option}=default_{option}")
    options = "{" + ", ".join(f"'{o}': {o}" for o in op.options) + "}"
    tensors = "(" + "".join(f"{a}, " for a in args) + ")"
    again = f"return retry(op, {tensors}, {options})"
    lines = [f"def {op.name}({', '.join(signature)}):"]
    for option, default in op.options.items():
        if type(default) in (int, float):  # a NumPy number would widen what it meets
            lines.append(f"    if isinstance({option}, generic): {option} = {option}.item()")
    lines.append("    try:")
    for a in args:
        if a == op.list_argument:
            lines.append(f"        A_{a} = [t._array for t in {a}]")
        else:
            lines.append(f"        A_{a} = {a}._array" + (f" if {a} is not None else None" if a in op.optional else ""))
    lines += ["    except (AttributeError, TypeError):", f"        {again}"]
    first = f"A_{args[0]}"
    if op.list_argument:
        first = f"A_{op.list_argument}[0]"
        lines += [
            f"    if not A_{op.list_argument} or any([x.dtype is not {first}.dtype for x in A_{op.list_argument}]):"
        ]
        lines += [f"        {again}"]
    elif len(joined) > 1:
        lead, *rest = joined
        tests = [f"A_{r}.dtype is not A_{lead}.dtype" for r in rest]
        tests = [f"(A_{r} is not None and {t})" if r in op.optional else t for r, t in zip(rest, tests, strict=True)]
        lines += [f"    if {' or '.join(tests)}:", f"        {again}"]
    if op.compares:
        lines += [f"    if {first}.dtype.kind == 'c':", f"        raise unordered(op, {tensors}, {options})"]
    passed = ["xp", *(f"A_{a}" for a in args)]
    call = (
        inlined(op.forward, passed, op.options) or f"forward({', '.join([*passed, *(f'{o}={o}' for o in op.options)])})"
    )
    lines += [
        "    try:",
        f"        kind = {first}.__class__",
        "        xp = spaces[kind]",
        f"        Y = {call}",
        "    except Exception as problem:",
        f"        raise explain(op, problem, {tensors}, {options}) from problem",
    ]
    if op.several:
        lines.append("    Y = tuple([y if y.__class__ in spaces else xp.asarray(y) for y in Y])")
    else:
        lines += ["    if Y.__class__ is not kind and Y.__class__ not in spaces:", "        Y = xp.asarray(Y)"]
    node = "None"
    if differentiable:
        recipe = Recipe(op)
        scope.update(recipe=recipe, Node=recipe.node)
        if op.list_argument:
            lines.append(f"    parents = tuple([t._node for t in {op.list_argument}])")
            lines.append("    if any(parents):")
            parents, leading = "parents", ["parents"]
        else:
            for a in differentiable:
                lines.append(f"    N_{a} = {a}._node" + (f" if {a} is not None else None" if a in op.optional else ""))
            everyone = [f"N_{a} is not None" for a in differentiable]
            lines.append(f"    if {' or '.join(everyone)}:")
            leading = [f"N_{a}" for a in differentiable]
            parents = f"({''.join(f'{link}, ' for link in leading)})"
        kept = []
        for expression, users in recipe.captures:
            if users is not None and not op.list_argument:
                expression = f"{expression} if {' or '.join(f'N_{u} is not None' for u in users)} else None"
            kept.append(expression)
        lines += [
            "        if recording() != 1:",
            f"            return special(op, ({''.join(f'A_{a}, ' for a in args)}), Y, {options}, {parents})",
            "        node = new(Node)",
            "        node.order = next_order()",
            "        node.recipe = recipe",
            "        node.watch = None",
            *(f"        node.{slot} = {link}" for slot, link in zip(recipe.names, [*leading, *kept], strict=True)),
        ]
        if op.several:
            lines += ["        node.shape = len(Y)", "        return several(Y, node)"]
        else:
            # Where the shape stays, so does the tuple: less memory, and less for the garbage collector to visit.
            above = None if op.list_argument else f"N_{differentiable[0]}"
            same = f"{above}.shape if {above} is not None and {above}.shape == S else S" if above else "S"
            lines += [
                "        S = Y.shape",
                f"        node.shape = {same}",
                "    else:",
                "        node = None",
            ]
            node = "node"
    elif op.kind != "constant":
        for a in args:
            each = f"t in {a}" if a == op.list_argument else f"t in ({a},)"
            lines.append(
                f"    if recording() and any(t is not None and t._node is not None for {each}): undeclared(op)"
            )
    if op.kind != "constant" and not op.several and "dtype" not in op.options:
        lead = first if op.list_argument else f"A_{_joined(op)[0]}"
        indent = "        " if differentiable else "    "
        lines.append(f"{indent}if Y.dtype is not {lead}.dtype and {lead}.dtype.kind in 'iub':")
        lines.append(f"{indent}    Y = narrowed(op, xp, Y, ({''.join(f'A_{a}, ' for a in args)}), {options})")
    if op.several:
        lines.append("    return tuple([wrap(y, None) for y in Y])")
    else:
        lines += [
            "    tensor = new(Tensor)",
            "    tensor._array = Y",
            f"    tensor._node = {node}",
            "    return tensor",
        ]
    exec("\n".join(lines), scope)  # written once an operation, as dataclasses do
    function = scope[op.name]
    function.__doc__, function.__module__, function.__qualname__ = op.__doc__, op.__module__, op.name
    function.operation = op
    return function


op_module.build_record = build_record  # type: ignore[assignment]


operators: list[Callable[..., Any]] = []  # all that `as_operator` has made


def as_operator(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of an operation for Tensor's operators: NotImplemented beside what is neither array nor number.

    Another copy of the same code, so that the way of two Tensors stays as short as it is.
    """
    scope = {**function.__globals__, "retry": _retry_operator}
    made = types.FunctionType(function.__code__.replace(), scope, function.__name__, function.__defaults__)
    made.__doc__, made.__module__, made.__qualname__ = function.__doc__, function.__module__, function.__qualname__
    made.operation = function.operation  # type: ignore[attr-defined]
    operators.append(made)
    return made


def _retry_operator(op: Operation, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    try:
        return _retry(op, arguments, options)
    except DTypeError:
        if all(map(_is_operand, arguments)):
            raise
        return NotImplemented


def _is_operand(value: Any) -> bool:
    if isinstance(value, (Tensor, int, float, complex, np.generic)) or type(value) in spaces:
        return True
    if isinstance(value, (str, bytes, type)):
        return False
    return isinstance(value, Sequence) or hasattr(value, "__array__") or hasattr(value, "__dlpack__")


_DEFAULT = {np.dtype("f8"): np.dtype("f4"), np.dtype("c16"): np.dtype("c8")}


def _narrowed(op: Operation, xp: Any, Y: Any, arrays: Sequence[Any], options: dict[str, Any]) -> Any:
    """The result of whole numbers in the default float: NumPy makes float64 of wide ones, float16 of int8 and truths,
    whatever the width of everything around."""
    if Y.dtype == np.float16:
        joined = _joined(op)
        return op.forward(xp, *[_single(a) if n in joined else a for n, a in zip(op.arguments, arrays)], **options)
    return Y.astype(_DEFAULT[Y.dtype]) if Y.dtype in _DEFAULT else Y


def _single(array: Any) -> Any:
    if isinstance(array, list):
        return [_single(a) for a in array]
    return None if array is None else array.astype(np.float32)


def _unordered(op: Operation, tensors: Sequence[Any], options: dict[str, Any]) -> BaseException:
    return explain(op, TypeError("complex numbers have no order; take their abs, real or imag first"), tensors, options)


def _undeclared(op: Operation) -> None:
    raise OptionError(
        f"{op.name}: declared {op.kind}, but with no slopes or adjoints, so no gradient passes through it; "
        "declare them, or declare the operation @constant"
    )


def several(Y: tuple[Any, ...], node: Node) -> tuple[Tensor, ...]:
    return tuple([wrap(y, make_node(PART, (node, i), y.shape)) for i, y in enumerate(Y)])


def _special(op: Operation, arrays: Any, Y: Any, options: dict[str, Any], parents: tuple[Node | None, ...]) -> Any:
    """The end of an application when recording is off, or keeps everything."""
    if _mode.get() == OFF:
        return tuple(wrap(y, None) for y in Y) if op.several else wrap(Y, None)
    node = make_node(FullRecipe(op), (parents, arrays, Y, options), len(Y) if op.several else Y.shape)
    observer = _observer.get()
    if observer is not None:
        observer.applied(node)
    return several(Y, node) if op.several else wrap(Y, node)


def _joined(op: Operation) -> tuple[str, ...]:
    """The arguments that meet in one dtype; the others are conditions, indices and the like."""
    return op.arguments if op.kind == "elementwise" else op.differentiable or op.arguments


def _retry(op: Operation, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """Once more, after numbers and arrays have become Tensors and dtypes agree."""
    if len(arguments) == 2 and _joined(op) == op.arguments:  # the commonest case, x * 2.0 or 2.0 * x, made short
        for x, n, order in ((*arguments, 1), (*arguments[::-1], -1)):
            if type(n) in (int, float) and isinstance(x, Tensor) and x._array.dtype.kind == "f":
                return op.record(*(x, wrap(number(n, x._array.dtype, x._array), None))[::order], **options)
    flat: list[Any] = []
    for name, value in zip(op.arguments, arguments, strict=True):
        if name == op.list_argument:
            try:
                value = list(value)
            except TypeError:
                raise DTypeError(f"{op.name}: {name} must be a list of tensors, not {type(value).__name__}") from None
            if not value:
                raise ShapeError(f"{op.name}: needs at least one tensor")
            flat += value
        elif value is None and name not in op.optional:
            raise DTypeError(f"{op.name}: {name} must be a tensor, an array or a number, not None")
        else:
            flat.append(value)
    like = next((v for v in flat if isinstance(v, Tensor)), None)
    weak = [isinstance(v, (bool, int, float, complex, np.generic)) for v in flat]
    given = [w or (v is None and not op.list_argument) for v, w in zip(flat, weak, strict=True)]
    flat = [v if g else _lift_argument(op, v, like) for v, g in zip(flat, given, strict=True)]
    joined = _joined(op)
    if op.list_argument:
        joins = [True] * len(flat)
    else:
        joins = [name in joined for name in op.arguments]
    strong = [v for v, w, j in zip(flat, weak, joins, strict=True) if j and not w and v is not None]
    numbers = [v for v, w, j in zip(flat, weak, joins, strict=True) if j and w]
    dtype = common_dtype([t.dtype for t in strong], numbers)
    beside = next((v._array for v in flat if isinstance(v, Tensor)), None)
    ready = []
    for v, w, j in zip(flat, weak, joins, strict=True):
        if w:
            kind = dtype if j else np.asarray(v).dtype
            # Alone, it may itself become the result, which can be written to: not one of the kept numbers, then.
            ready.append(wrap(np.asarray(v, kind) if beside is None else number(v, kind, beside), None))
        elif j and v is not None and v.dtype is not dtype:
            ready.append(v.astype(dtype) if v.dtype != dtype else wrap(v._array.astype(dtype), v._node))
        else:
            ready.append(v)
    if op.list_argument:
        return op.record(ready, **options)
    return op.record(*ready, **options)


def _lift_argument(op: Operation, value: Any, like: Tensor | None) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if value is None or isinstance(value, (str, bytes, dict, set)) or callable(value):
        raise DTypeError(f"{op.name}: takes tensors, arrays and numbers, not {type(value).__name__}")
    tensor = Tensor(value)
    if like is not None and isinstance(value, (list, tuple)):
        return tensor.to(like.device)
    return tensor


def explain(op: Operation, problem: Exception, tensors: Sequence[Any], options: dict[str, Any]) -> BaseException:
    """The error that says which operation failed, on what, and where the shapes disagree."""
    if isinstance(problem, Error):
        return problem
    facts: list[str] = []
    found: list[Tensor] = []
    for name, value in zip(op.arguments, tensors, strict=True):
        for i, t in enumerate(value) if isinstance(value, (list, tuple)) else [(None, value)]:
            if isinstance(t, Tensor):
                found.append(t)
                where = "" if t.device == "cpu" else f" on {t.device}"
                facts.append(f"{name if i is None else f'{name}[{i}]'}: {t.dtype} {list(t.shape)}{where}")
    shown = ", ".join(f"{k}={_shown(v)}" for k, v in options.items() if not hasattr(v, "dtype"))
    call = f"{op.name}({', '.join(facts)}{'; ' + shown if shown else ''})"
    devices = sorted({t.device for t in found})
    if isinstance(problem, TypeError):  # an index may be elsewhere too
        parts = [p for v in options.values() for p in (v if isinstance(v, tuple) else (v,))]
        devices = sorted({*devices, *(device_of(p) for p in parts if type(p) in spaces)})
    if len(devices) > 1:
        return DeviceError(f"{call}: arguments are on {' and '.join(devices)}; move one with .to('{devices[-1]}')")
    if isinstance(problem, (ValueError, TypeError, IndexError, ZeroDivisionError)):
        reason = _disagreement(op, problem, [t.shape for t in found], tensors)
        if isinstance(problem, TypeError) and "integer" in str(problem):
            wanted = [f"{o}={v!r}" for o, v in options.items() if o in ("shape", "axis", "axes", "sections")]
            reason = f"{', '.join(wanted)} must be whole numbers ({problem})" if wanted else str(problem)
        elif isinstance(problem, TypeError) and any(w in str(problem) for w in _UNDEFINED):
            reason = _undefined(op, [t.dtype for t in found])
        elif _beyond(problem, options.get("axis"), found):
            reason = f"axis {options['axis']} is out of range for a tensor of {found[0].ndim} dimensions"
        elif isinstance(problem, IndexError) or not reason:  # an index out of range is no matter of shapes
            reason = f"{problem} ({reason})" if op.diagnose is not None and reason else str(problem)
        kind: type[Error] = DTypeError if isinstance(problem, TypeError) else ShapeError
        if isinstance(problem, IndexError) and not isinstance(problem, ValueError):
            kind = IndexingError
        elif isinstance(problem, np.exceptions.AxisError) or reason.startswith("axis "):
            kind = AxisError
        elif kind is ShapeError and re.match(r"\w+ is a (whole )?number", reason):
            kind = OptionError
        if isinstance(problem, np.linalg.LinAlgError) and reason == str(problem):
            kind, reason = MatrixError, f"{reason}: {_REMEDIES.get(reason, 'are there NaN or infinities in it?')}"
        return kind(f"{call}: {reason}")
    problem.add_note(f"while computing {call}")
    return problem


def _shown(value: Any) -> str:
    """An option as it is written, arrays by dtype and shape alone."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} {list(value.shape)}" if value.shape else repr(value)
    if type(value) in (tuple, list):
        inside = ", ".join(map(_shown, value))
        return f"[{inside}]" if type(value) is list else f"({inside}{',' if len(value) == 1 else ''})"
    return repr(value)


def named(function: F) -> F:
    """A composition, whose errors name it and not only the operation inside it that failed."""
    name = getattr(function, "__name__", "")

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except Error as problem:
            if re.match(rf"{name}\b", str(problem)):
                raise
            raise type(problem)(f"{name}: {problem}") from problem
        except ValueError as problem:  # of `axis_of`, and of `whole`
            if not re.match(r"axis |.* is a whole number, not ", str(problem)):
                raise
            raise (AxisError if str(problem).startswith("axis ") else OptionError)(f"{name}: {problem}") from None

    return cast(F, call)


_REMEDIES = {
    "Singular matrix": "use pinv, or add a small multiple of the identity",
    "Matrix is not positive definite": "add a small multiple of the identity, or use eigh",
}


_UNDEFINED = ("ufunc", "Wrong type", "numpy boolean")  # in what NumPy and CuPy say of a dtype they do not take


def _undefined(op: Operation, dtypes: Sequence[Any]) -> str:
    """That NumPy and CuPy have no such function of these dtypes, and what to do."""
    hint = "use astype"
    if op.name.startswith("bitwise"):
        hint = "bits are of whole numbers and truths; use astype, or the logical functions"
    elif any(d.kind == "c" for d in dtypes):
        hint = "take their real or imag part, or abs"
    elif any(d.kind == "b" for d in dtypes):
        hint = "use the logical functions, or astype"
    return f"is not defined for {' and '.join(sorted({str(d) for d in dtypes}))}; {hint}"


def _beyond(problem: Exception, axis: Any, found: list[Tensor]) -> bool:
    """Whether the problem is an axis that the tensor does not have."""
    return (
        isinstance(problem, IndexError)
        and "tuple index" in str(problem)
        and isinstance(axis, int)
        and len(found) == 1
        and not -found[0].ndim <= axis < found[0].ndim
    )


def _disagreement(op: Operation, problem: Exception, shapes: list[tuple[int, ...]], tensors: Sequence[Any] = ()) -> str:
    """Which dimension disagrees, in words."""
    if op.diagnose is not None:
        return op.diagnose(*shapes)
    if "broadcast" in str(problem) and op.list_argument is None:
        for axis in range(1, max(map(len, shapes)) + 1):
            sizes = {
                name: t.shape[-axis]
                for name, t in zip(op.arguments, tensors, strict=True)
                if isinstance(t, Tensor) and t.ndim >= axis and t.shape[-axis] != 1
            }
            if len({*sizes.values()}) > 1:
                if len(sizes) == 2:
                    return f"dimension -{axis} disagrees: {' against '.join(map(str, sizes.values()))}"
                return f"dimension -{axis} disagrees: {', '.join(f'{n} has {k}' for n, k in sizes.items())}"
    return ""
