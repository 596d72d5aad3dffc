"""Module: parameters, buffers and other modules, found where they are: among the attributes."""

from __future__ import annotations

import builtins
import copy
import operator
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..backend import space_for, to_device
from ..convert import as_dtype
from ..errors import DTypeError, OptionError, ShapeError
from ..modes import current_tracer
from ..tensor import Hook, Tensor, _names_dtype
from .hooks import Hooked


class Parameter(Tensor):
    """A Tensor that a Module registers as its own, and an optimizer changes."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None, device: str | None = None) -> None:
        super().__init__(data, requires_grad, dtype, device)


class LoadedKeys(NamedTuple):
    """What `load_state_dict(strict=False)` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """The parent of every layer and net. Write `forward`; call the module.

    A Parameter or Module that is assigned to an attribute is registered by that, under the attribute's name, in the
    order of assignment. A list of modules is not: use ModuleList.
    """

    training: bool = True
    _buffers: Mapping[str, bool] = MappingProxyType({})  # names of buffers, and whether they are saved

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tracer = current_tracer()
        try:
            if tracer is None:
                return self.forward(*args, **kwargs)
            with tracer.module(self):
                return self.forward(*args, **kwargs)
        except AttributeError as problem:
            self._refuse_argument(problem, (*args, *kwargs.values()))
            raise

    def _refuse_argument(self, problem: AttributeError, arguments: tuple[Any, ...]) -> None:
        """An error that says so, where what failed is an argument that is no Tensor."""
        wrong = problem.obj
        known = wrong is None or isinstance(wrong, (str, bytes, int, float, complex, list, tuple, dict, set))
        if known and hasattr(Tensor, str(problem.name)) and any(wrong is argument for argument in arguments):
            raise DTypeError(
                f"{type(self).__name__}: takes a Tensor, not {type(wrong).__name__} ({problem})"
            ) from problem

    # Registration

    def __setattr__(self, name: str, value: Any) -> None:
        if not (value is None or isinstance(value, Parameter)):
            if isinstance(self.__dict__.get(name), Parameter):
                raise DTypeError(
                    f"{type(self).__name__}.{name} is a Parameter; assigning {type(value).__name__} would silently "
                    "stop its training. Assign nn.Parameter(...), or write into it with copy_()"
                )
            if name in self._buffers and not isinstance(value, Tensor):
                raise DTypeError(
                    f"{type(self).__name__}.{name} is a buffer; assign a Tensor or None, not {type(value).__name__}"
                )
        object.__setattr__(self, name, value)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Registers a Tensor that belongs to the state but is not trained, such as a running mean."""
        self._register(name, tensor, Tensor, "buffer")
        self.__dict__["_buffers"] = {**self._buffers, name: persistent}

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """The same as assigning to the attribute, for a name that is computed."""
        self._register(name, parameter, Parameter, "parameter")

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as assigning to the attribute, for a name that is computed."""
        self._register(name, module, Module, "module")

    add_module = register_module

    def _register(self, name: str, value: Any, kind: builtins.type, what: str) -> None:
        if not isinstance(name, str):
            raise DTypeError(
                f"{type(self).__name__}: the name of a {what} is a string, not {type(name).__name__} {name!r}"
            )
        if not name or "." in name or (hasattr(self, name) and name not in self.__dict__):
            raise OptionError(f"{type(self).__name__}: {name!r} cannot name a {what}: it is empty, dotted, or taken")
        if value is not None and not isinstance(value, kind):
            raise DTypeError(
                f"{type(self).__name__}.{name}: a {what} is a {kind.__name__} or None, not {type(value).__name__}"
            )
        setattr(self, name, value)

    # What is in it

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly in this one, each once."""
        seen = set()
        for name, value in vars(self).items():
            if isinstance(value, Module) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all inside it, each once, parents first, with dotted names; with remove_duplicate=False
        once a name."""
        seen = set()
        stack: list[tuple[str, Module, tuple[Module, ...]]] = [(prefix, self, ())]
        while stack:
            name, module, above = stack.pop()
            if not remove_duplicate:
                self._refuse_inside(module, above, name)
            elif id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            path = f"{name}." if name else ""
            above = (*above, module)
            inside = [(path + n, m, above) for n, m in vars(module).items() if isinstance(m, Module)]
            stack.extend(reversed(inside))

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def _named(
        self, prefix: str, recurse: bool, own: Callable[[Module], Iterator[tuple[str, Any]]], once: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        for path, module in self.named_modules(prefix, once) if recurse else [(prefix, self)]:
            for name, value in own(module):
                if not once or id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its dotted name; a shared one under its first name (under all its names with
        remove_duplicate=False)."""
        return self._named(prefix, recurse, _own_parameters, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        return self._named(prefix, recurse, _own_buffers, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module of that dotted name."""
        module = dict(self.named_modules()).get(target)
        if module is None:
            raise OptionError(f"{type(self).__name__} has no module {target!r}")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module in the place of that dotted name; with `strict` only where there is one already."""
        path, _, name = target.rpartition(".") if isinstance(target, str) else ("", "", "")
        if not name or not isinstance(module, Module):
            raise OptionError(
                f"{type(self).__name__}.set_submodule: wants a dotted name and a module, got {target!r} and "
                f"{type(module).__name__}"
            )
        parent = self.get_submodule(path)
        old = vars(parent).get(name)
        if (strict and old is None) or not (old is None or isinstance(old, Module)):
            raise OptionError(f"{type(self).__name__}.set_submodule: there is no module {target!r} to replace")
        parent.register_module(name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of that dotted name."""
        parameter = self._entries().get(target)
        if not isinstance(parameter, Parameter):
            raise OptionError(f"{type(self).__name__} has no parameter {target!r}")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of that dotted name."""
        buffer = dict(self.named_buffers(remove_duplicate=False)).get(target)
        if buffer is None:
            raise OptionError(f"{type(self).__name__} has no buffer {target!r}")
        return buffer

    # Hooks: while there are none, a module is called as if hooks did not exist

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Hook:
        """Calls `hook(module, args)` before every forward; what it returns, if not None, is used in place of args.

        With `with_kwargs` it is `hook(module, args, kwargs)`, which returns None or a new pair of them.
        Returns a handle: call it, or its `remove()`, to remove the hook.
        """
        return Hooked.of(self).add("before", hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Hook:
        """Calls `hook(module, args, output)` after every forward; what it returns, if not None, is the output.

        With `with_kwargs` it is `hook(module, args, kwargs, output)`. Returns a handle, as above.
        """
        return Hooked.of(self).add("after", hook, prepend, with_kwargs)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> Hook:
        """Calls `hook(module, grad_input, grad_output)` when the gradient has passed the module; what it returns, if
        not None, goes on in place of grad_input.

        Both are tuples, an entry a positional argument and an output: None for what is no Tensor, wants no gradient
        or got none. The module may not be given Tensors inside lists. Returns a handle, as above.
        """
        return Hooked.of(self).add("backward", hook, prepend)

    # Modes and moves

    def apply(self, function: Callable[[Module], Any]) -> Module:
        """Calls the function with every module once, children before their parents, this one last."""
        if not callable(function):
            raise DTypeError(f"{type(self).__name__}.apply: takes a function of a module, not {function!r}")
        done: set[int] = set()
        stack: list[tuple[Module, bool]] = [(self, False)]
        while stack:
            module, inside_done = stack.pop()
            if inside_done:
                function(module)
            elif id(module) not in done:
                done.add(id(module))
                stack.append((module, True))
                stack.extend((child, False) for child in reversed(list(module.children())))
        return self

    def train(self, mode: bool = True) -> Module:
        """Training mode for this module and all inside it: dropout drops, batch norm uses the batch's statistics."""
        if not isinstance(mode, (bool, np.bool_)):
            raise OptionError(f"{type(self).__name__}.train: mode is True or False, not {mode!r}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Evaluation mode: see `train`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Whether the parameters want gradients; False freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else np.zeros(parameter.shape)

    def to(self, device: Any = None, dtype: Any = None) -> Module:
        """Moves parameters and buffers, in place, to a device and/or a floating-point dtype; integers keep theirs.

        A dtype may stand in the first place too, and be named by its name: `to("cuda", "float64")`, `to(tg.float64)`.
        """
        if device is not None and dtype is None and (not isinstance(device, str) or _names_dtype(device)):
            device, dtype = None, device
        if device is not None and not isinstance(device, str):
            raise DTypeError(f"{type(self).__name__}.to: takes a device ('cpu', 'cuda:0') and a dtype, not {device!r}")
        if device is not None:
            space_for(device)  # a device that is not there fails before anything has moved
        if dtype is not None:
            dtype = as_dtype(dtype, f"{type(self).__name__}.to")
            if dtype.kind not in "fc":
                raise DTypeError(f"{type(self).__name__}.to: parameters are floating-point numbers, not {dtype}")
        for tensor in [*self.parameters(), *self.buffers()]:
            gradient = tensor.grad
            tensor._array = _moved(tensor._array, device, dtype)
            if gradient is not None:
                tensor.grad = _moved(gradient._array, device, dtype)
        return self

    def cuda(self, device: int = 0) -> Module:
        """Moves everything to a GPU."""
        return self.to(f"cuda:{device}")

    def cpu(self) -> Module:
        """Moves everything to the CPU."""
        return self.to("cpu")

    def type(self, dst_type: Any) -> Module:
        """Parameters and buffers as floating-point numbers of this dtype."""
        return self.to(dtype=dst_type)

    def float(self) -> Module:
        """Parameters and buffers in float32."""
        return self.to(dtype=np.float32)

    def double(self) -> Module:
        """Parameters and buffers in float64."""
        return self.to(dtype=np.float64)

    def half(self) -> Module:
        """Parameters and buffers in float16, which is slow on a CPU and overflows at 65504."""
        return self.to(dtype=np.float16)

    # State

    def _refuse_inside(self, module: Module, above: tuple[Module, ...], path: str) -> None:
        if any(module is m for m in above):
            raise OptionError(f"{type(self).__name__}: the module {path!r} is inside itself")

    def _entries(self) -> dict[str, Tensor]:
        """Parameters and saved buffers by dotted name, under every name that they have."""
        entries: dict[str, Tensor] = {}
        for path, module in self.named_modules(remove_duplicate=False):
            for name, value in [*_own_parameters(module), *_own_buffers(module, saved=True)]:
                entries[f"{path}.{name}" if path else name] = value
        return entries

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """A copy of every parameter and buffer, by its dotted name; training on does not change it.

        The names begin with `prefix`. With `keep_vars` it is they themselves, and not copies.
        """
        entries = self._entries().items()
        return {prefix + name: tensor if keep_vars else Tensor(tensor._array.copy()) for name, tensor in entries}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> LoadedKeys:
        """Copies the values in. If anything does not fit, nothing is changed and the error lists all of it.

        With strict=False names that only one side has are left out, and returned. With `assign` parameters and buffers
        take over dtype and device of what is loaded, where they otherwise keep theirs; they stay the same objects.
        Raises: OptionError for names; ShapeError for shapes.
        """
        if not isinstance(state_dict, Mapping):
            raise OptionError(
                f"{type(self).__name__}.load_state_dict: wants what state_dict() gives, a dictionary of tensors by "
                f"name, got {type(state_dict).__name__}"
            )
        entries = self._entries()
        missing = [name for name in entries if name not in state_dict]
        unexpected = [name for name in state_dict if name not in entries]
        common = {name: state_dict[name] for name in entries if name in state_dict}
        misfits = [
            f"{name} is {list(entries[name].shape)}, loaded {list(np.shape(value))}"
            for name, value in common.items()
            if tuple(entries[name].shape) != tuple(np.shape(value) if not hasattr(value, "shape") else value.shape)
        ]
        problems = []
        if strict and missing:
            problems.append(f"missing: {', '.join(missing)}")
        if strict and unexpected:
            problems.append(f"unexpected: {', '.join(unexpected)}")
        if misfits:
            problems.append(f"other shapes: {'; '.join(misfits)}")
        if problems:
            kind = OptionError if strict and (missing or unexpected) else ShapeError
            name = type(self).__name__
            raise kind(f"load_state_dict: nothing was loaded, the state does not fit {name}: {'; '.join(problems)}")
        if assign:
            taken = {name: Tensor(value) for name, value in common.items()}
            for name, value in taken.items():
                if entries[name].requires_grad and value.dtype.kind not in "fc":
                    raise DTypeError(f"load_state_dict: {name} wants a gradient, it cannot become {value.dtype}")
            for name, value in taken.items():
                if entries[name].grad is not None:
                    entries[name].grad = None
                entries[name]._array = value._array
            return LoadedKeys(missing, unexpected)
        values = {name: Tensor(v, dtype=entries[name].dtype, device=entries[name].device) for name, v in common.items()}
        for name, value in values.items():
            entries[name].copy_(value)
        return LoadedKeys(missing, unexpected)

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        """A copy of everything inside. What is shared stays shared; a computed Tensor that was kept as an attribute
        is copied without its graph."""
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and not value.is_leaf and id(value) not in memo:
                memo[id(value)] = copy.deepcopy(value.detach())
            new.__dict__[name] = copy.deepcopy(value, memo)
        return new

    # Display

    def extra_repr(self) -> str:
        """What stands in the parentheses of the repr."""
        return ""

    def _lines(self) -> list[str]:
        """What stands under the name in the repr, an entry a line."""
        return [f"({name}): {child!r}" for name, child in vars(self).items() if isinstance(child, Module)]

    def __repr__(self) -> str:
        own = self.extra_repr()
        lines = [line.replace("\n", "\n  ") for line in self._lines()]
        if not lines:
            return f"{type(self).__name__}({own})"
        return "\n  ".join([f"{type(self).__name__}(", *([own] if own else []), *lines]) + "\n)"


def _size(name: str, value: Any, least: int = 0) -> int:
    """The value, if it is a whole number of `least` or more; `name` is the layer's and the option's."""
    try:
        size = operator.index(value)
    except TypeError:
        size = least - 1
    if size < least:
        raise OptionError(f"{name} must be a whole number of {least} or more, got {value!r}")
    return size


def _own_parameters(module: Module) -> Iterator[tuple[str, Parameter]]:
    return ((name, value) for name, value in vars(module).items() if isinstance(value, Parameter))


def _own_buffers(module: Module, saved: bool = False) -> Iterator[tuple[str, Tensor]]:
    for name, persistent in module._buffers.items():
        value = module.__dict__.get(name)
        if value is not None and (persistent or not saved):
            yield name, value


def _moved(array: Any, device: str | None, dtype: Any) -> Any:
    if dtype is not None and array.dtype.kind in "fc":
        array = array.astype(dtype, copy=False)
    return array if device is None else to_device(array, device)
