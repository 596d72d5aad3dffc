"""Modules of modules."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from ..errors import DTypeError, IndexingError
from ..modes import current_tracer
from ..tensor import Tensor
from .module import Module, Parameter


class _Ordered(Module):
    """Children under the names "0", "1", …"""

    def _add(self, modules: Iterable[Module]) -> None:
        if (isinstance(modules, Module) and not isinstance(modules, _Ordered)) or not isinstance(modules, Iterable):
            raise DTypeError(f"{type(self).__name__}: takes a list of modules, not {type(modules).__name__}")
        for module in list(modules):
            self.register_module(str(len(self)), module)

    def _list(self) -> list[Module]:
        return [m for m in vars(self).values() if isinstance(m, Module)]

    def append(self, module: Module) -> Any:
        self._add([module])
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        self._add(modules)
        return self

    __iadd__ = extend

    def __add__(self, other: Iterable[Module]) -> Any:
        return self[:].extend(other)

    def __len__(self) -> int:
        return len(self._list())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._list())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Any: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            part = type(self).__new__(type(self))
            part._add(self._list()[index])
            return part
        return vars(self)[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.register_module(self._name(index), module)

    def __delitem__(self, index: int | slice) -> None:
        kept = self._list()
        del kept[index]
        for name in [name for name, value in vars(self).items() if isinstance(value, Module)]:
            delattr(self, name)
        self._add(kept)

    def insert(self, index: int, module: Module) -> Any:
        """Puts a module before the one at `index`; those after it move up by one."""
        kept = self._list()
        if not isinstance(module, Module):
            raise DTypeError(f"{type(self).__name__}.insert: takes a module, not {type(module).__name__}")
        if not -len(kept) <= self._index(index) <= len(kept):
            raise IndexingError(f"{type(self).__name__}.insert: no place {index}, there are {len(kept)} modules")
        kept.insert(index, module)
        del self[:]
        self._add(kept)
        return self

    def pop(self, key: int | slice) -> Any:
        """Takes a module out, or several; those after it move down."""
        taken = self[key]
        del self[key]
        return taken

    def _index(self, index: Any) -> int:
        try:
            return operator.index(index)
        except TypeError:
            raise IndexingError(f"{type(self).__name__}: a module is found by its number, not by {index!r}") from None

    def _name(self, index: Any) -> str:
        names = [name for name, value in vars(self).items() if isinstance(value, Module)]
        place = self._index(index)
        try:
            return names[place]
        except IndexError:
            raise IndexingError(f"{type(self).__name__}: no module {index}, there are {len(names)}") from None


class Sequential(_Ordered):
    """y = … f₂(f₁(x)): each module takes the result of the one before

    Takes modules, or one dictionary of names and modules.
    """

    def __init__(self, *modules: Module | dict[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, module in modules[0].items():
                self.register_module(name, module)
        else:
            self._add(modules)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        traced = current_tracer() is not None  # asked once for all
        for module in self._list():
            x = module(x) if traced else module.forward(x)
        return x


class ModuleList(_Ordered):
    """A list of modules that are registered; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._add(modules)


class _Named(Module):
    """What is held under names of one's own: a dictionary of `kind`, in the order in which it was filled."""

    kind: type = Module

    def __init__(self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        self.update({} if entries is None else entries)

    def _dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if isinstance(value, self.kind)}

    def update(self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Adds entries, or puts others in their places."""
        if not isinstance(entries, Iterable) or isinstance(entries, (str, bytes)):
            raise DTypeError(f"{type(self).__name__}: takes a dictionary, or pairs, not {type(entries).__name__}")
        pairs = list(entries.items() if isinstance(entries, Mapping) else entries)
        if any(not isinstance(pair, (tuple, list)) or len(pair) != 2 for pair in pairs):
            raise DTypeError(f"{type(self).__name__}: takes a dictionary, or pairs of a name and a value")
        for name, value in pairs:
            self[name] = value

    def keys(self) -> list[str]:
        return list(self._dict())

    def values(self) -> list[Any]:
        return list(self._dict().values())

    def items(self) -> list[tuple[str, Any]]:
        return list(self._dict().items())

    def pop(self, key: str) -> Any:
        """Takes an entry out."""
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        for key in self.keys():
            del self[key]

    def __len__(self) -> int:
        return len(self._dict())

    def __iter__(self) -> Iterator[str]:
        return iter(self._dict())

    def __contains__(self, key: object) -> bool:
        return key in self._dict()

    def __getitem__(self, key: str) -> Any:
        entries = self._dict()
        if key not in entries:
            raise IndexingError(f"{type(self).__name__}: no entry {key!r}, there are {', '.join(entries) or 'none'}")
        return entries[key]

    def __delitem__(self, key: str) -> None:
        self[key]  # so that what is not there is told of
        delattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        raise NotImplementedError


class ModuleDict(_Named):
    """A dictionary of modules that are registered; it has no forward of its own."""

    def __setitem__(self, key: str, module: Module) -> None:
        self.register_module(key, module)


class ParameterDict(_Named):
    """A dictionary of parameters that are registered. A Tensor, or numbers, that are put in become a Parameter."""

    kind = Parameter

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, _parameter(value))

    def _lines(self) -> list[str]:
        return _facts(self.items())


class ParameterList(Module):
    """A list of parameters that are registered. A Tensor, or numbers, that are put in become a Parameter."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.extend(values)

    def _list(self) -> list[Parameter]:
        return [p for p in vars(self).values() if isinstance(p, Parameter)]

    def append(self, value: Any) -> ParameterList:
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        if not isinstance(values, Iterable):
            raise DTypeError(f"ParameterList: takes a list of parameters, not {type(values).__name__}")
        for value in values:
            self.append(value)
        return self

    def __len__(self) -> int:
        return len(self._list())

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._list())

    @overload
    def __getitem__(self, index: int) -> Parameter: ...
    @overload
    def __getitem__(self, index: slice) -> ParameterList: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ParameterList(self._list()[index])
        return self._list()[self._at(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        self.register_parameter(str(self._at(index)), _parameter(value))

    def _at(self, index: int) -> int:
        try:
            return range(len(self))[operator.index(index)]
        except IndexError:
            raise IndexingError(f"ParameterList: no parameter {index}, there are {len(self)}") from None

    def _lines(self) -> list[str]:
        return _facts((str(i), p) for i, p in enumerate(self))


def _parameter(value: Any) -> Parameter:
    if isinstance(value, Parameter):
        return value
    if isinstance(value, Tensor) and not value.is_leaf:
        raise DTypeError("a computed tensor is no parameter: its graph would be lost; detach() it")
    try:
        return Parameter(value)
    except DTypeError as error:
        raise DTypeError(f"a parameter is a Tensor of numbers, not {type(value).__name__}; {error}") from None


def _facts(entries: Iterable[tuple[str, Parameter]]) -> list[str]:
    return [f"({name}): Parameter of shape {list(p.shape)}, {p.dtype}" for name, p in entries]
