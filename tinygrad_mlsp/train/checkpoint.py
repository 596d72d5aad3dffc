"""Weights and whole trainings in files: one safetensors file each, never pickle, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..backend import to_device
from ..errors import CheckpointError, DTypeError, OptionError, ShapeError
from ..nn import Module
from ..random import Generator
from ..tensor import Tensor
from .tensorfile import FORMAT, as_path, read_arrays, strict_json, write_arrays

Path = str | os.PathLike[str]
STATE = "state"  # where, in a file's metadata, everything is that is not an array


def save(model: Module | Mapping[str, Any], path: Path) -> None:
    """Writes the weights and saved buffers of a model, or arrays by name, as a safetensors file.

    The names and the layout are PyTorch's, which reads the file with `safetensors.torch.load_file`. The file is written
    beside `path`, forced to disk and renamed: whatever happens, there is the old file or the new one.

    Raises: DTypeError for an array of a dtype that the format lacks; CheckpointError where no file can be; OSError.
    """
    if isinstance(path, (Module, Mapping)):
        raise OptionError("save: the model comes first, then the path: save(model, path)")
    arrays = model.state_dict() if isinstance(model, Module) else model
    if not isinstance(arrays, Mapping) or not all(isinstance(name, str) for name in arrays):
        raise OptionError(f"save: saves a Module, or arrays by name; got {type(model).__name__}")
    write_arrays(path, {name: _host(array) for name, array in arrays.items()}, {"kind": "weights"})


def load(model: Module | None, path: Path, strict: bool = True) -> Any:
    """Copies the weights of a file into a model and returns it; with None for the model, returns {name: array}.

    The file is one that `save`, a Trainer or PyTorch (through safetensors) has written. If something does not fit
    nothing is changed. With strict=False names that only one side has are passed over.

    Raises: CheckpointError, with the file and the reason; it is a FileNotFoundError too where there is none.
    """
    if isinstance(path, Module):
        raise OptionError("load: the model comes first, then the path: load(model, path)")
    if model is not None and not isinstance(model, Module):
        raise OptionError(f"load: copies into a Module, or gives arrays for None; got {type(model).__name__}")
    arrays, metadata = read_arrays(path)
    if STATE in metadata:
        state = _decoded(path, metadata, arrays)
        try:
            arrays = dict(state["model"]["weights"])
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"cannot read {os.fspath(path)}: it has no weights of a model") from None
    if model is None:
        return arrays
    try:
        model.load_state_dict(arrays, strict)
    except (OptionError, ShapeError, DTypeError) as problem:
        raise CheckpointError(f"{os.fspath(path)} does not fit the model: {problem}") from problem
    return model


def save_state(state: Any, path: Path) -> None:
    """Writes numbers, texts, arrays and lists, tuples and dictionaries of these as one safetensors file: see `save`."""
    as_path("save_state", path)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    tree = _encoded(state, "", arrays)
    write_arrays(path, arrays, {"kind": "state", STATE: json.dumps(tree, allow_nan=False)})


def load_state(path: Path) -> Any:
    """What `save_state` wrote, the same to the last bit; arrays and Tensors on the CPU.

    Raises: CheckpointError, with the file and the reason; it is a FileNotFoundError too where there is none.
    """
    arrays, metadata = read_arrays(path)
    if metadata.get("format") != FORMAT or STATE not in metadata:
        raise CheckpointError(f"cannot read {os.fspath(path)}: it has arrays by name and no training state; see load()")
    return _decoded(path, metadata, arrays)


# A state as JSON and arrays


def _host(array: Any) -> np.ndarray[Any, Any]:
    return np.asarray(to_device(array._array if isinstance(array, Tensor) else array, "cpu"))


def _encoded(value: Any, name: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """JSON for a value; what JSON has not is {"its type": …}, arrays go into `arrays` and leave their name."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and not isinstance(value, np.generic):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, complex) and not isinstance(value, np.generic):
        return {"complex": [_encoded(value.real, name, arrays), _encoded(value.imag, name, arrays)]}
    if isinstance(value, list):
        return [_encoded(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [_encoded(v, f"{name}.{i}", arrays) for i, v in enumerate(value)]}
    if isinstance(value, Mapping):
        return {"dict": [[_encoded(k, name, arrays), _encoded(v, f"{name}.{k}", arrays)] for k, v in value.items()]}
    if isinstance(value, Tensor) or hasattr(value, "dtype"):
        array = _host(value)
        key = name.removeprefix(".") or "value"
        while key in arrays:
            key += "'"
        kind = "tensor" if isinstance(value, Tensor) else "scalar" if isinstance(value, np.generic) else "array"
        if array.dtype == np.complex128:  # which the format lacks
            kind, array = "complex " + kind, np.stack([array.real, array.imag], -1)
        arrays[key] = array
        return {kind: key}
    raise DTypeError(f"save: {name.removeprefix('.') or 'the state'} is a {type(value).__name__}; a checkpoint keeps "
                     "numbers, texts, arrays, and lists, tuples and dictionaries of these")  # fmt: skip


def _decoded(path: Path, metadata: dict[str, str], arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    try:
        return _value(strict_json(metadata[STATE]), arrays)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as problem:
        reason = f"{type(problem).__name__}: {problem}"
        raise CheckpointError(
            f"cannot read {os.fspath(path)}: its state is not what is written here ({reason})"
        ) from None


def _value(tree: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(tree, list):
        return [_value(v, arrays) for v in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, inside),) = tree.items()
    if kind == "dict":
        return {_value(k, arrays): _value(v, arrays) for k, v in inside}
    if kind == "tuple":
        return tuple([_value(v, arrays) for v in inside])
    if kind == "float":
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[inside]
    if kind == "complex":
        real, imag = inside
        return complex(_value(real, arrays), _value(imag, arrays))
    array = arrays[inside]
    if kind.startswith("complex "):
        kind, array = kind.removeprefix("complex "), np.ascontiguousarray(array).view(np.complex128)[..., 0]
    return {"tensor": Tensor, "scalar": lambda a: a[()], "array": lambda a: a}[kind](array)


# A model, with everything that its next step depends on


def generators(model: Module) -> Iterator[tuple[str, Generator]]:
    """The generators that modules have of their own, with dotted names; one that is shared under its first name."""
    seen = set()
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Generator) and id(value) not in seen:
                seen.add(id(value))
                yield f"{path}.{name}" if path else name, value


def model_state(model: Module) -> dict[str, Any]:
    """Weights, all buffers, generators, modes, and what modules with `get_extra_state` give: see `set_model_state`."""
    weights = model.state_dict()
    hooks = {path: getattr(module, "get_extra_state", None) for path, module in model.named_modules()}
    return {
        "weights": weights,
        "buffers": {n: Tensor(b._array.copy()) for n, b in model.named_buffers() if n not in weights},
        "generators": {name: g.state_dict() for name, g in generators(model)},
        "evaluating": [path for path, module in model.named_modules() if not module.training],
        "frozen": [name for name, p in model.named_parameters() if not p.requires_grad],
        "extra": {path: hook() for path, hook in hooks.items() if callable(hook)},
    }


def set_model_state(model: Module, state: Mapping[str, Any]) -> None:
    """Puts a model where the one stood that gave the state. If that does not fit, nothing is changed.

    Raises: OptionError, ShapeError, DTypeError.
    """
    mine, buffers, modules = dict(generators(model)), dict(model.named_buffers()), dict(model.named_modules())
    for what, here, there in (
        ("generators", mine, state["generators"]), ("buffers", {**buffers, **model._entries()}, state["buffers"]),
        ("modules", modules, state["extra"]),
    ):  # fmt: skip
        if unknown := [name for name in there if name not in here]:
            raise OptionError(f"the saved model has the {what} {', '.join(unknown)}, this one lacks them")
    for name, tensor in model._entries().items():
        if name in state["weights"] and state["weights"][name].dtype != tensor.dtype:
            raise DTypeError(f"{name} is {tensor.dtype}, saved as {state['weights'][name].dtype}")
    for name, value in state["buffers"].items():
        if buffers[name].shape != value.shape:
            raise ShapeError(f"{name} is {list(buffers[name].shape)}, saved as {list(value.shape)}")
    model.load_state_dict(state["weights"])
    for name, value in state["buffers"].items():
        buffers[name].copy_(Tensor(value, device=buffers[name].device))
    for name, value in state["generators"].items():
        mine[name].load_state_dict(value)
    module: Any
    for path, module in modules.items():
        module.training = path not in state["evaluating"]
        if path in state["extra"]:
            module.set_extra_state(state["extra"][path])
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name not in state["frozen"]
