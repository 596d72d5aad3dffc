"""Modules of modules."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any, overload

from ..errors import IndexingError
from ..tensor import Tensor, current_tracer
from .module import Module


class _Ordered(Module):
    """Children under the names "0", "1", …"""

    def _add(self, modules: Iterable[Module]) -> None:
        for module in modules:
            self.register_module(str(len(self)), module)

    def _list(self) -> list[Module]:
        return [m for m in vars(self).values() if isinstance(m, Module)]

    def append(self, module: Module) -> Any:
        self._add([module])
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        self._add(modules)
        return self

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

    def _name(self, index: Any) -> str:
        names = [name for name, value in vars(self).items() if isinstance(value, Module)]
        try:
            return names[operator.index(index)]
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
