"""Hooks: functions that are called beside a module's forward and backward.

A module without hooks knows nothing of them. The first one puts a `Hooked` in the place of the module's `forward`,
among the module's own attributes; when the last one is removed, so is that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import DTypeError, OptionError, ShapeError
from ..op import Operation
from ..recipe import FullRecipe, make_node, next_order
from ..record import several
from ..tensor import Hook, Tensor, is_grad_enabled, library, wrap

if TYPE_CHECKING:
    from .module import Module

KINDS = ("before", "after", "backward")


class Hooked:
    """The forward of a module that has hooks."""

    def __init__(self, module: Module) -> None:
        self.module, self.inner = module, module.forward
        self.hooks: dict[str, dict[int, tuple[Callable[..., Any], bool]]] = {kind: {} for kind in KINDS}

    @staticmethod
    def of(module: Module) -> Hooked:
        """The one that stands in the module, made if there is none."""
        found = vars(module).get("forward")
        if not isinstance(found, Hooked):
            found = vars(module)["forward"] = Hooked(module)
        return found

    def add(self, kind: str, hook: Callable[..., Any], prepend: bool, with_kwargs: bool = False) -> Hook:
        """Registers a hook, the first or the last of its kind."""
        if not callable(hook):
            raise DTypeError(f"{type(self.module).__name__}: a hook is a function, not {type(hook).__name__}")
        key, hooks = next_order(), self.hooks[kind]
        others = dict(hooks) if prepend else {}
        hooks[key] = (hook, with_kwargs)
        for other in others:  # to the end, in their order
            hooks[other] = hooks.pop(other)
        return _Handle(self, kind, key)

    def drop_if_idle(self) -> None:
        """Goes out of the way of a module whose last hook is gone."""
        if not any(self.hooks.values()) and vars(self.module).get("forward") is self:
            del vars(self.module)["forward"]
            if self.module.forward != self.inner:  # the module had a forward of its own among its attributes
                vars(self.module)["forward"] = self.inner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module = self.module
        for hook, with_kwargs in list(self.hooks["before"].values()):
            changed = hook(module, args, kwargs) if with_kwargs else hook(module, args)
            if with_kwargs and changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise OptionError(
                        f"{type(module).__name__}: a forward pre-hook with kwargs returns None or (args, kwargs), "
                        f"not {type(changed).__name__}"
                    )
                args, kwargs = changed
            elif changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        watch = None
        if self.hooks["backward"] and is_grad_enabled():
            watch = _Watch(module, [hook for hook, _ in self.hooks["backward"].values()])
            args = watch.enter(args)
        output = self.inner(*args, **kwargs)
        for hook, with_kwargs in list(self.hooks["after"].values()):
            changed = hook(module, args, kwargs, output) if with_kwargs else hook(module, args, output)
            output = output if changed is None else changed
        return output if watch is None else watch.leave(output)


class _Handle(Hook):
    """`handle()` or `handle.remove()` removes the hook; a second time does nothing."""

    __slots__ = ("_hooked",)

    def __init__(self, hooked: Hooked, kind: str, key: int) -> None:
        super().__init__(hooked.hooks[kind], key)
        self._hooked = hooked

    def remove(self) -> None:
        """Removes the hook."""
        super().remove()
        self._hooked.drop_if_idle()

    __call__ = remove


def _passed(xp: Any, arrays: list) -> tuple:
    """yᵢ = xᵢ for all i, as one node, so that all their gradients are seen together"""
    return tuple(arrays)


def _gate(tensors: list[Tensor], see: Callable[[tuple[Tensor | None, ...]], Any]) -> list[Tensor]:
    """The same Tensors, where `see` is told of their gradients and may return others."""

    def told(xp: Any, g: Any) -> list[Any]:
        recorded = xp is library
        gradients = tuple([part if part is None or recorded else wrap(part, None) for part in g])
        changed = see(gradients)
        parts = gradients if changed is None else changed
        return [part if part is None or recorded else part._array for part in parts]

    operation = Operation(_passed, "linear", "hook", register=False).adjoints(arrays=told)
    arrays = tuple([t._array for t in tensors])
    node = make_node(
        FullRecipe(operation), (tuple([t._node for t in tensors]), (list(arrays),), arrays, {}), len(arrays)
    )
    return list(several(arrays, node))


class _Watch:
    """One call of a module, whose gradients are seen at its outputs and then at its inputs."""

    def __init__(self, module: Module, hooks: list[Callable[..., Any]]) -> None:
        self.module, self.hooks = module, hooks
        self.arrived: tuple[Tensor | None, ...] = ()
        self.inputs = 0
        self.places: list[int] = []

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.inputs, self.places = len(args), _wanting(args)
        if not self.places:
            return args
        return _replaced(args, self.places, _gate([args[i] for i in self.places], self._at_inputs))

    def leave(self, output: Any) -> Any:
        outputs = output if isinstance(output, tuple) else (output,)
        places = _wanting(outputs)
        if not places:
            return output

        def see(gradients: tuple[Tensor | None, ...]) -> None:
            self.arrived = _replaced((None,) * len(outputs), places, gradients)
            if not self.places:  # no input wants a gradient, so this is as far as it goes
                self._call((None,) * self.inputs)

        passed = _replaced(outputs, places, _gate([outputs[i] for i in places], see))
        return passed if isinstance(output, tuple) else passed[0]

    def _at_inputs(self, gradients: tuple[Tensor | None, ...]) -> Any:
        changed = self._call(_replaced((None,) * self.inputs, self.places, gradients))
        return [changed[i] for i in self.places]

    def _call(self, gradients: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.hooks:
            changed = hook(self.module, gradients, self.arrived)
            if changed is None:
                continue
            changed = changed if isinstance(changed, tuple) else (changed,)
            shapes = [getattr(g, "shape", None) for g in gradients]
            if [getattr(g, "shape", None) for g in changed] != shapes:
                raise ShapeError(
                    f"{type(self.module).__name__}: a backward hook returned gradients of shapes "
                    f"{[getattr(g, 'shape', None) for g in changed]} for inputs of shapes {shapes}"
                )
            gradients = changed
        return gradients


def _wanting(values: tuple[Any, ...]) -> list[int]:
    return [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]


def _replaced(values: tuple[Any, ...], places: list[int], others: Any) -> tuple[Any, ...]:
    found = dict(zip(places, others, strict=True))
    return tuple([found.get(i, v) for i, v in enumerate(values)])
