"""What all first-order optimizers share: groups of parameters, their arenas, and the state that is saved.

An arena is one flat buffer that holds the parameters of a group (of one dtype and device) end to end; each parameter
becomes a view of it. The optimizer's state lies beside it in buffers of the same layout. So a step is a few array
operations a block, whatever the number of parameters, in memory that is allocated once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from ..backend import space_of, to_device
from ..errors import DTypeError, GraphError, OptionError, ShapeError
from ..sweep import wrote
from ..tensor import Tensor, enable_grad, wrap

BLOCK = 1 << 17  # entries: on a CPU, a block and its state stay in the cache from one operation to the next
LARGE = 1 << 15  # entries: from here on, a gradient is used where it is; smaller ones are gathered into a block
SCHEDULED = ("initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")  # what schedules note in a group


class Block:
    """A part of an arena that is updated at once: several small parameters, or one, or a piece of a large one."""

    __slots__ = ("parameters", "piece", "scale", "span", "steps")

    def __init__(self, start: int, size: int, parameters: list[Tensor], first: int = 0) -> None:
        self.span = slice(start, start + size)
        self.parameters = parameters
        self.piece = slice(first, first + size)  # of the parameter, if there is only one
        self.steps = 0  # updates so far
        self.scale: Any = None  # the units of the state, for an optimizer that chooses them

    @property
    def progress(self) -> tuple[int, Any]:
        """What must be known of a state besides its buffers."""
        return self.steps, self.scale

    @progress.setter
    def progress(self, value: tuple[int, Any]) -> None:
        self.steps, self.scale = value

    def divided(self, progress: list[tuple[int, Any]]) -> list[Block]:
        """One block a parameter, each with its own progress."""
        starts = accumulate((p.size for p in self.parameters), initial=self.span.start)
        parts = [Block(at, p.size, [p]) for at, p in zip(starts, self.parameters, strict=False)]
        for part, value in zip(parts, progress, strict=True):
            part.progress = value
        return parts


class Arena:
    """Parameters of one dtype and device in one buffer, with buffers for the optimizer's state.

    With `apart` each parameter is a block, for steps that depend on its shape.
    """

    def __init__(self, parameters: list[Tensor], apart: bool = False) -> None:
        self.parameters = parameters
        self.xp, self.dtype, self.device = space_of(parameters[0]._array), parameters[0].dtype, parameters[0].device
        self.starts = list(accumulate((p.size for p in parameters), initial=0))
        self.values = self.xp.concat([p._array.reshape(-1) for p in parameters])
        self.state: dict[str, Any] = {}
        self.views = [self.part(self.values, i) for i in range(len(parameters))]
        for parameter, view in zip(parameters, self.views, strict=True):
            parameter._array = view
        whole = self.values.size  # on a GPU, a block for all: there each operation costs more than its numbers
        if apart:
            self.blocks = [Block(at, p.size, [p]) for at, p in zip(self.starts, parameters, strict=False)]
        else:
            self.blocks = list(self._divide(BLOCK, LARGE) if self.xp.name == "cpu" else self._divide(whole, whole))
        longest = max(block.span.stop - block.span.start for block in self.blocks)
        self._gathered, self._spare = (self.xp.empty((longest,), dtype=self.dtype) for _ in range(2))

    def part(self, buffer: Any, i: int) -> Any:
        """The view of a buffer that belongs to one parameter."""
        return buffer[self.starts[i] : self.starts[i + 1]].reshape(self.parameters[i].shape)

    def spare(self, like: Any) -> Any:
        """Scratch memory of the length of a block; there is one of it."""
        return self._spare[: like.size]

    def own(self, g: Any) -> Any:
        """Where a changed gradient goes: the memory in which gradients are gathered."""
        return self._gathered[: g.size]

    def buffer(self, name: str) -> Any:
        """The state of that name for the whole arena; zeros at first."""
        if name not in self.state:
            self.state[name] = self.xp.zeros_like(self.values)
        return self.state[name]

    def _divide(self, limit: int, large: int) -> Iterator[Block]:
        together: list[Tensor] = []
        start = size = 0
        for parameter in self.parameters:
            if together and (parameter.size > large or size + parameter.size > limit):
                yield Block(start, size, together)
                together, start, size = [], start + size, 0
            if parameter.size > large:
                for first in range(0, parameter.size, limit):
                    yield Block(start + first, min(limit, parameter.size - first), [parameter], first)
                start += parameter.size
            else:
                together, size = [*together, parameter], size + parameter.size
        if together:
            yield Block(start, size, together)

    def moved(self) -> bool:
        """Takes parameters back in that were given other arrays; whether one is now of another kind or place."""
        for parameter, view in zip(self.parameters, self.views, strict=True):
            if parameter._array is not view:
                if parameter.dtype != self.dtype or parameter.device != self.device or parameter.shape != view.shape:
                    return True
                view[...] = parameter._array
                wrote(view)
                parameter._array = view
        return False

    def gradients(self) -> Iterator[tuple[Block, Any]]:
        """Each block that has a gradient, and that, flat. See `own`."""
        for block in tuple(self.blocks):
            found = _gradients(block.parameters)
            if len(found) == 1:
                if found[0] is not None:
                    yield block, found[0].reshape(-1)[block.piece]
            elif all([g is not None for g in found]):
                gathered = self._gathered[: block.span.stop - block.span.start]
                self.xp.concatenate(found, axis=None, out=gathered)
                yield block, gathered
            elif any([g is not None for g in found]):  # some count steps that others do not: divided, for good
                parts = block.divided([block.progress] * len(found))
                place = self.blocks.index(block)
                self.blocks[place : place + 1] = parts
                yield from [(part, g.reshape(-1)) for part, g in zip(parts, found, strict=True) if g is not None]

    def progress(self) -> list[tuple[int, Any]]:
        """How far each parameter's state is."""
        found = {id(p): block.progress for block in self.blocks for p in block.parameters}
        return [found[id(p)] for p in self.parameters]

    def set_progress(self, values: list[tuple[int, Any]]) -> None:
        """The opposite of `progress`; blocks whose parameters differ are divided."""
        wanted = {id(p): value for p, value in zip(self.parameters, values, strict=True)}
        blocks = []
        for block in self.blocks:
            block.progress, *others = found = [wanted[id(p)] for p in block.parameters]
            blocks += [block] if all([value == block.progress for value in others]) else block.divided(found)
        self.blocks = blocks


def _gradients(parameters: list[Tensor]) -> list[Any]:
    """The raw gradients; None where there is none."""
    try:
        found = [p._node.watch.grad for p in parameters]  # type: ignore[union-attr]
    except AttributeError:
        found = [None if p.grad is None else p.grad._array for p in parameters]
    return [g._array if isinstance(g, Tensor) else g for g in found]


def _keep_freed_memory() -> None:
    """Takes 30 MB and gives them back, untouched. From then on the C library of Linux keeps what is freed (up to twice
    as much), where it would return a step's temporaries to the system and have all their pages cleared anew at the
    next step: up to a third of a step's time."""
    np.empty(30 << 20, np.uint8)


def _check_implementation(name: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """PyTorch's keywords that choose how a step is computed: those without effect here pass, others are refused."""
    for option, value in given.items():
        if option in ("foreach", "fused"):
            if value not in (None, True, False):
                raise OptionError(f"{name}: {option} is None, True or False, not {value!r}")
        elif option == "differentiable":
            if value:
                raise OptionError(
                    f"{name}: differentiable=True is not here: steps are not recorded. Write the step with operations, "
                    "p = p - lr * tg.grad(...), and differentiate through that"
                )
        elif option == "capturable":
            if value:
                raise OptionError(f"{name}: capturable=True is for CUDA graphs, which are not used here; leave it out")
        else:
            raise OptionError(f"{name}: has no option {option!r}, only {', '.join(options)}")


class Optimizer:
    """Parameters in groups, each with its own options: `param_groups` is a list of dictionaries, as PyTorch's is.

    PyTorch's keywords `foreach` and `fused`, which choose an implementation, are taken and have no effect;
    `capturable=True` and `differentiable=True` are refused.

    Making an optimizer moves the parameters' values into its arenas. Arrays taken from `parameter.data` before that
    keep the old values and see no update.
    """

    saved: tuple[str, ...] = ()  # names of the buffers in the state
    counted: tuple[str, ...] = ("step", "scale")  # and of what else is in it
    apart = False  # whether each parameter is a block of its own

    def __init__(
        self, params: Iterable[Any], defaults: dict[str, Any], implementation: Mapping[str, Any] | None = None
    ) -> None:
        name = type(self).__name__
        if implementation:
            _check_implementation(name, implementation, defaults)
        if callable(getattr(params, "parameters", None)):
            raise OptionError(f"{name}: got a module, {type(params).__name__}; pass model.parameters()")
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            one = "one Tensor" if isinstance(params, Tensor) else repr(params)
            raise OptionError(f"{name}: params is a list of parameters or groups, not {one}")
        _keep_freed_memory()
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self._arenas: list[list[Arena]] = []
        groups = list(params)
        if not groups:
            raise OptionError(f"{name}: got no parameters")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """One more group of parameters, {"params": [...], "lr": ...}; options that it lacks are the defaults."""
        name = type(self).__name__
        unknown = set(group) - {"params", *self.defaults}
        if unknown or "params" not in group:
            raise OptionError(f"{name}: a group has 'params' and {', '.join(self.defaults)}; got {sorted(group)}")
        given = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        parameters = [p[1] if isinstance(p, tuple) else p for p in given]  # named_parameters() will do too
        seen = {id(p) for g in self.param_groups for p in g["params"]}
        for p in parameters:
            if not isinstance(p, Tensor):
                raise DTypeError(f"{name}: parameters are Tensors, not {type(p).__name__}")
            if not p.is_leaf:
                raise GraphError(f"{name}: got a tensor that is computed from others; optimize those")
            if p.dtype.kind != "f":
                raise DTypeError(f"{name}: parameters are real floating-point numbers, not {p.dtype}")
            if type(p) is Tensor and not p.requires_grad:  # a frozen Parameter may be thawed later
                raise GraphError(
                    f"{name}: a tensor of shape {list(p.shape)} wants no gradient and would never change; make it with "
                    "requires_grad=True, or an nn.Parameter"
                )
            if id(p) in seen:
                raise OptionError(f"{name}: a parameter of shape {list(p.shape)} is given twice")
            seen.add(id(p))
        options = {**self.defaults, **{k: v for k, v in group.items() if k != "params"}}
        self._check(options)
        self.param_groups.append({"params": parameters, **options})
        self._arenas.append(_arenas(parameters, self.apart))

    def _check(self, options: Mapping[str, Any]) -> None:
        """Raises OptionError for an option out of its range."""

    def _check_numbers(self, options: Mapping[str, Any], *names: str) -> None:
        for name in names:
            try:
                right = math.isfinite(options[name]) and options[name] >= 0
            except (TypeError, ValueError):
                right = False
            if not right:
                raise OptionError(
                    f"{type(self).__name__}: {name} must be a finite number of 0 or more, got {options[name]!r}"
                )

    def _check_betas(self, options: Mapping[str, Any]) -> None:
        try:
            beta1, beta2 = options["betas"]
            right = 0 <= beta1 < 1 and 0 <= beta2 < 1
        except (TypeError, ValueError):
            right = False
        if not right:
            raise OptionError(
                f"{type(self).__name__}: betas are two numbers from 0 to below 1, got {options['betas']!r}"
            )

    def _gradient(self, arena: Arena, block: Block, g: Any, options: dict[str, Any], decay: bool = True) -> Any:
        """−g with maximize, and g + λ p with weight_decay λ (unless that is taken apart from the gradient)."""
        if options["maximize"]:
            g = arena.xp.negative(g, arena.own(g))
        if decay and options.get("weight_decay"):
            t = arena.xp.multiply(arena.values[block.span], options["weight_decay"], arena.spare(g))
            g = arena.xp.add(g, t, arena.own(g))
        return g

    def _update(self, arena: Arena, block: Block, g: Any, options: dict[str, Any]) -> None:
        """Updates one block. `g` may be a view of a parameter's gradient; what changes it goes into `arena.own(g)`."""
        raise NotImplementedError

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient; `closure`, if given, computes the loss anew and is run before.

        A graph recorded before the step, and not yet differentiated, refuses its backward pass from now on.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for i, group in enumerate(self.param_groups):
            if any([arena.moved() for arena in self._arenas[i]]):
                self._rebuild(i)
            for arena in self._arenas[i]:
                changed = False
                for block, g in arena.gradients():
                    block.steps += 1
                    self._update(arena, block, g, group)
                    changed = True
                if changed:
                    wrote(arena.values)
        return loss

    def _rebuild(self, i: int) -> None:
        """New arenas for a group whose parameters have moved to another dtype or device, with the state so far."""
        parameters = self.param_groups[i]["params"]
        state = {id(p): entry for arena in self._arenas[i] for p, entry in self._entries(arena)}
        self._arenas[i] = _arenas(parameters, self.apart)
        for arena in self._arenas[i]:
            self._restore(arena, [state[id(p)] for p in arena.parameters])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters (or, with set_to_none=False, makes them 0)."""
        for group in self.param_groups:
            for parameter in group["params"]:
                watch = None if parameter._node is None else parameter._node.watch
                if watch is not None and watch.grad is not None:
                    array = parameter._array
                    watch.grad = None if set_to_none else space_of(array).zeros_like(array)

    # State

    def _entries(self, arena: Arena) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        """Each parameter's state: views of the buffers, the number of its steps, and the units if there are any."""
        for i, (parameter, (steps, scale)) in enumerate(zip(arena.parameters, arena.progress(), strict=True)):
            entry = {name: wrap(arena.part(buffer, i), None) for name, buffer in arena.state.items()}
            if scale is not None:
                entry.update(self._scale_entry(scale))
            yield parameter, {"step": steps, **entry} if steps else {}

    def _scale_entry(self, scale: Any) -> dict[str, Any]:
        """How what a block keeps besides its buffers is saved, and (below) read again."""
        return {"scale": scale}

    def _scale_from(self, entry: Mapping[str, Any]) -> Any:
        return tuple(map(float, entry["scale"])) if "scale" in entry else None

    def _restore(self, arena: Arena, entries: list[Mapping[str, Any]]) -> None:
        scales = [self._scale_from(entry) for entry in entries]
        steps = [int(entry.get("step", bool(entry))) for entry in entries]  # PyTorch's SGD counts none
        arena.set_progress(list(zip(steps, scales, strict=True)))
        arena.state = {}
        for i, entry in enumerate(entries):
            for name, value in entry.items():
                if name in self.saved and value is not None:
                    value = value._array if isinstance(value, Tensor) else value
                    arena.part(arena.buffer(name), i)[...] = to_device(value, arena.device)

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """Each parameter's state by name, as PyTorch keeps it."""
        return {p: self._shown(entry) for p, entry in self._all_entries()}

    def _shown(self, entry: dict[str, Any]) -> dict[str, Any]:
        """An entry in plain units."""
        return entry

    def _all_entries(self) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        return (found for arenas in self._arenas for arena in arenas for found in self._entries(arena))

    def state_dict(self) -> dict[str, Any]:
        """A copy of state and options, in PyTorch's form: parameters are numbers, in the order of the groups.

        An entry "scale" says by what its buffers are to be multiplied to be in PyTorch's units; loading knows both.
        """
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers[id(p)] = len(numbers)
            groups.append({**group, "params": [numbers[id(p)] for p in group["params"]]})
        state = {
            numbers[id(p)]: {k: Tensor(v._array.copy()) if isinstance(v, Tensor) else v for k, v in entry.items()}
            for p, entry in self._all_entries()
            if entry
        }
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on exactly where the optimizer stood that gave this state. If it does not fit, nothing is changed.

        Raises: OptionError, ShapeError.
        """
        name = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            got = f"the keys {list(state_dict)}" if isinstance(state_dict, Mapping) else type(state_dict).__name__
            raise OptionError(
                f"{name}.load_state_dict: wants what state_dict() gives, a dictionary with 'state' and "
                f"'param_groups', got {got}"
            )
        groups, state = state_dict["param_groups"], state_dict["state"]
        if not isinstance(state, Mapping) or not all(isinstance(entry, Mapping) for entry in state.values()):
            raise OptionError(f"{name}.load_state_dict: 'state' is a dictionary of dictionaries, one a parameter")
        if not isinstance(groups, (list, tuple)) or not all(isinstance(g, Mapping) and "params" in g for g in groups):
            raise OptionError(
                f"{name}.load_state_dict: 'param_groups' is a list of dictionaries, each with 'params', not "
                f"{groups!r:.100}"
            )
        mine, theirs = [len(g["params"]) for g in self.param_groups], [len(g["params"]) for g in groups]
        if mine != theirs:
            raise OptionError(
                f"{name}.load_state_dict: groups of {theirs} parameters were saved, these are groups of {mine}"
            )
        entries: dict[int, Mapping[str, Any]] = {}
        for group, saved in zip(self.param_groups, groups, strict=True):
            missing = [option for option in self.defaults if option not in saved]  # PyTorch's groups have more options
            if missing:
                raise OptionError(
                    f"{name}.load_state_dict: the saved options lack {', '.join(missing)}; is it another "
                    f"optimizer's state? It has {', '.join(option for option in saved if option != 'params')}"
                )
            self._check({**group, **saved})
            for p, number in zip(group["params"], saved["params"], strict=True):
                entries[id(p)] = entry = state.get(number, {})
                for key, value in entry.items():
                    if key not in (*self.counted, *self.saved):
                        raise OptionError(
                            f"{name}.load_state_dict: has no state {key!r}, only {', '.join(self.saved) or 'none'}"
                        )
                    if key in self.saved and value is not None and tuple(value.shape) != p.shape:
                        raise ShapeError(f"{name}.load_state_dict: {key} of parameter {number} has shape "
                                         f"{list(value.shape)}, the parameter {list(p.shape)}")  # fmt: skip
        for i, (group, saved) in enumerate(zip(self.param_groups, groups, strict=True)):
            group.update({k: v for k, v in saved.items() if k in self.defaults or k in SCHEDULED})
            if any([arena.moved() for arena in self._arenas[i]]):
                self._rebuild(i)
            for arena in self._arenas[i]:
                self._restore(arena, [entries[id(p)] for p in arena.parameters])

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the parameters themselves, and the state as it would be saved."""
        return {"defaults": self.defaults, "param_groups": self.param_groups, "saved_state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.defaults, self.param_groups = state["defaults"], state["param_groups"]
        self._arenas = [_arenas(group["params"], self.apart) for group in self.param_groups]
        self.load_state_dict(state["saved_state"])

    def __repr__(self) -> str:
        lines = [
            f"  {len(g['params'])} parameters: " + ", ".join(f"{k}={v}" for k, v in g.items() if k != "params")
            for g in self.param_groups
        ]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])


def _arenas(parameters: list[Tensor], apart: bool = False) -> list[Arena]:
    """One arena a dtype and device."""
    kinds: dict[Any, list[Tensor]] = {}
    for parameter in parameters:
        kinds.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    return [Arena(together, apart) for together in kinds.values()]
