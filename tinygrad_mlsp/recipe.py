"""A node of the graph, and the recipe that says how one application is undone.

A recipe is made once an operation. It knows what to keep for the backward pass, from the names in the
operation's rules, and its pullback is written out for exactly that, as `dataclasses` writes an `__init__`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappush
from itertools import count
from typing import Any

from .errors import GraphError
from .op import Operation, names
from .source import inlined

Wrap = Callable[[Any, "Node | None"], Any]  # makes a Tensor of an array and its node

next_order = count(-1, -1).__next__


class Node:
    """One recorded application, or a leaf (`recipe` is None). It knows its parents' nodes, never a Tensor."""

    __slots__ = ("order", "recipe", "shape", "watch")

    order: int  # falls with creation: the smallest is the newest, as a heap wants it
    recipe: Any  # Recipe, FullRecipe or PART; None for a leaf
    links: Any  # the parents' nodes, then the values that the rules name; None for a leaf, and once freed
    shape: Any  # of the result, a tuple; where there are several results, their number
    watch: Watch | None  # who wants to see the gradient that arrives here

    @property
    def parents(self) -> tuple[Node | None, ...]:
        """One node a differentiable argument; None where no gradient is wanted."""
        return () if self.links is None else self.recipe.parents(self.links)

    def free(self) -> None:
        """Lets go of the links."""
        self.links = None


class OtherNode(Node):
    """A leaf, one of several results, or an application of which everything is kept."""

    __slots__ = ("links",)


def make_node(recipe: Any, links: Any, shape: Any, watch: Watch | None = None) -> Node:
    node = OtherNode()
    node.order, node.recipe, node.links, node.shape, node.watch = next_order(), recipe, links, shape, watch
    return node


FREED: Any = object()  # stands in the slots of a node whose links are gone


def node_class(op: Operation, slots: Sequence[str]) -> type[Node]:
    """The nodes of one operation, with a slot for each link: an application makes one object, where links in a tuple
    would make two, and the garbage collector has half as many to visit."""

    def links(node: Node) -> tuple[Any, ...] | None:
        found = tuple([getattr(node, slot) for slot in slots])
        return None if found[0] is FREED else found

    def free(node: Node) -> None:
        for slot in slots:
            setattr(node, slot, FREED)

    return type(f"{op.name}_node", (Node,), {"__slots__": tuple(slots), "links": property(links), "free": free})


def freed(op: Operation) -> GraphError:
    return GraphError(
        f"backward through {op.name}, whose graph an earlier backward() has freed. "
        "Pass retain_graph=True to the earlier call, or run the forward pass again."
    )


class Watch:
    """What is wanted of the gradient that arrives at a node: keep it as `.grad`, and call the hooks."""

    __slots__ = ("complex", "grad", "hooks", "keep")

    def __init__(self, keep: bool, is_complex: bool) -> None:
        self.keep, self.grad, self.complex = keep, None, is_complex
        self.hooks: dict[int, Callable[[Any], Any]] = {}


class Recipe:
    """How one application is undone: what to keep for it, and its pullback, written out once for exactly that.

    `slots` says where each kept value comes from: ("argument", i), ("y",), or ("fact",) for metadata.
    `captures` says the same to the recorder: an expression, and the arguments whose gradient needs it.
    """

    __slots__ = ("captures", "carry", "lead", "names", "node", "op", "pull", "slots")

    def __init__(self, op: Operation) -> None:
        self.op = op
        self.lead = 1 if op.list_argument else len(op.differentiable)  # links before the kept values
        wanted: dict[str, set[str]] = {}
        for argument, rule in op.backward_rules.items():
            for need in names(rule):
                if need not in ("xp", "g", "needed"):
                    wanted.setdefault(need, set()).add(argument)
        everyone = set(op.differentiable)
        self.slots: list[tuple[Any, ...]] = []
        self.captures: list[tuple[str, tuple[str, ...] | None]] = []
        for need, users in wanted.items():
            expression, slot = _capture(op, need)
            self.slots.append(slot)
            self.captures.append((expression, None if users == everyone else tuple(sorted(users))))
        if op.several:
            self.slots.append(("fact",))
            self.captures.append(("len(Y)", None))
        kept = [*wanted, *(["outputs"] if op.several else [])]
        parents = ["parents"] if op.list_argument else [f"p_{a}" for a in op.differentiable]
        self.names = [*parents, *("v_" + k for k in kept)]  # of the node's slots, parents first
        self.node = node_class(op, self.names)
        self.pull, self.carry = _write_pullback(op, self.names)

    def parents(self, links: tuple[Any, ...]) -> tuple[Node | None, ...]:
        return links[0] if self.op.list_argument else links[: self.lead]

    def link(self, parents: tuple[Node | None, ...], kept: Sequence[Any]) -> tuple[Any, ...]:
        """The links of a node: a list argument's parents are one entry."""
        return (parents, *kept) if self.op.list_argument else (*parents, *kept)

    def revive(self, node: Node, wrap: Wrap) -> Sequence[Any]:
        """The kept values, with arrays as Tensors that stand in the graph where they stood when kept."""
        parents = dict(
            zip(self.op.differentiable, [node.links[0]] if self.op.list_argument else node.links, strict=False)
        )
        kept = []
        for slot, value in zip(self.slots, node.links[self.lead :], strict=True):
            if slot[0] == "argument":
                value = _lift(value, parents.get(self.op.arguments[slot[1]]), wrap)
            elif slot[0] == "y":
                value = _lift_result(node, value, wrap)
            kept.append(value)
        return kept


def _capture(op: Operation, need: str) -> tuple[str, tuple[Any, ...]]:
    if need == "y":
        return "Y", ("y",)
    if need in op.options:
        return need, ("fact",)
    if need in op.arguments:
        return f"A_{need}", ("argument", op.arguments.index(need))
    argument, fact = need.rsplit("_", 1)
    if argument == op.list_argument:
        return f"tuple([a.{fact} for a in A_{argument}])", ("fact",)
    return f"A_{argument}.{fact}", ("fact",)


# `give`, written out to save its call at every edge; tests hold that recording for backward and recording
# everything, which calls `give`, agree to the last bit.
_GIVE = """\
        key = p_{argument}.order
        if key not in arrived:
            arrived[key] = part
            nodes[key] = p_{argument}
            if p_{argument}.recipe is not None: heappush(pending, key)
        elif key in owned:
            arrived[key] += part
        else:
            arrived[key] = arrived[key] + part
            owned.add(key)
"""
_STEP = """\
    if p_{argument} is not None:
        part = {call}
        if part.shape != p_{argument}.shape:
            part = unbroadcast(xp, part, p_{argument}.shape)
"""


def _write_pullback(op: Operation, links: list[str]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Two functions, written once an operation from its rules' names, as dataclasses write theirs.

    pull(xp, g, links) returns one contribution a parent, None for a parent that wants none;
    carry(xp, g, node, retain, arrived, nodes, pending, owned) is `pull`, `give` and `free` in one, without the loop.
    """
    scope: dict[str, Any] = {
        "absent_as_none": absent_as_none, "unbroadcast": unbroadcast, "heappush": heappush, "give": give,
        "op": op, "FREED": FREED, "freed": freed,
    }  # fmt: skip
    opening = []
    if op.several:
        opening.append("g = absent_as_none(g, v_outputs)")
    if op.list_argument:
        opening.append("needed = [p is not None for p in parents]")
    calls = {}
    for argument in op.differentiable:
        rule = op.backward_rules[argument]
        scope[f"rule_{argument}"] = rule
        passed = [n if n in ("xp", "g", "needed") else "v_" + n for n in names(rule)]
        call = inlined(rule, passed) or f"rule_{argument}({', '.join(passed)})"
        calls[argument] = f"g * {call}" if argument in op.slope else call
    pull = [
        f"def pull_{op.name}(xp, g, links):",
        f"    {', '.join(links)}, = links",
        *(f"    {line}" for line in opening),
    ]
    carry = [
        f"def carry_{op.name}(xp, g, node, retain, arrived, nodes, pending, owned):",
        *(f"    {link} = node.{link}" for link in links),
        f"    if {links[0]} is FREED: raise freed(op)",
        f"    if not retain: {' = '.join(f'node.{link}' for link in links)} = FREED",
        *(f"    {line}" for line in opening),
    ]
    if op.list_argument:
        pull.append(f"    return {calls[op.list_argument]}")
        carry.append(f"    for p, part in zip(parents, {calls[op.list_argument]}):")
        carry.append("        if p is not None: give(xp, p, part, arrived, nodes, pending, owned)")
    else:
        wanted = [f"{call} if p_{a} is not None else None" for a, call in calls.items()]
        pull.append(f"    return {', '.join(wanted)},")
        for argument, call in calls.items():
            if op.kind == "elementwise" and len(op.arguments) == 1:  # nothing to broadcast, and nobody else to ask
                carry.append(f"    if True:\n        part = {call}\n")
            else:
                carry.append(_STEP.format(argument=argument, call=call))
            carry.append(_GIVE.format(argument=argument))
    exec("\n".join([*pull, *carry]), scope)
    return scope[f"pull_{op.name}"], scope[f"carry_{op.name}"]


def absent_as_none(cotangents: dict[int, Any], outputs: int) -> tuple[Any, ...]:
    """The cotangents that arrived at an operation with several outputs, in order."""
    return tuple([cotangents.get(i) for i in range(outputs)])


def give(
    xp: Any,
    parent: Node,
    part: Any,
    arrived: dict[int, Any],
    nodes: dict[int, Node],
    pending: list[int],
    owned: set[int],
) -> Any:
    """Adds one contribution to what has arrived at a parent; returns it, broadcast undone."""
    if part.shape != parent.shape:
        part = unbroadcast(xp, part, parent.shape)
    key = parent.order
    if key not in arrived:
        arrived[key] = part
        nodes[key] = parent
        if parent.recipe is not None:  # a leaf waits for the end, without a place in the order
            heappush(pending, key)
    elif key in owned:  # a sum that the sweep itself has made: a rule's arrays are never written
        arrived[key] += part
    else:
        arrived[key] = arrived[key] + part
        owned.add(key)
    return part


def carry_by_pull(recipe: Any, xp: Any, g: Any, node: Node, retain: bool, *sweep: Any) -> None:
    """`carry` of any recipe, by way of its `pull`."""
    links = node.links
    if links is None:
        raise freed(recipe.op)
    if not retain:
        node.free()
    for parent, part in zip(recipe.parents(links), recipe.pull(xp, g, links), strict=True):
        if parent is not None and part is not None:
            give(xp, parent, part, *sweep)


class FullRecipe:
    """Keeps everything of an application (arguments, result, options), so that forward mode can use it too."""

    __slots__ = ("op",)
    lead = 1
    carry = carry_by_pull

    def __init__(self, op: Operation) -> None:
        self.op = op

    def parents(self, links: tuple[Any, ...]) -> tuple[Node | None, ...]:
        return links[0]

    def link(self, parents: tuple[Node | None, ...], kept: Sequence[Any]) -> tuple[Any, ...]:
        return (parents, *kept)

    def revive(self, node: Node, wrap: Wrap) -> Sequence[Any]:
        parents, arguments, y, options = node.links
        sources = (
            {self.op.list_argument: parents}
            if self.op.list_argument
            else dict(zip(self.op.differentiable, parents, strict=True))
        )
        lifted = [_lift(value, sources.get(a), wrap) for a, value in zip(self.op.arguments, arguments, strict=True)]
        return lifted, _lift_result(node, y, wrap), options

    def pull(self, xp: Any, g: Any, links: tuple[Any, ...]) -> Sequence[Any]:
        op, (parents, *kept) = self.op, links
        given = {"xp": xp, "g": absent_as_none(g, len(kept[1])) if op.several else g}
        if op.list_argument:
            given["needed"] = [p is not None for p in parents]
            return op.pull_argument(op.list_argument, given, *kept)
        named = zip(op.differentiable, parents, strict=True)
        return [None if parent is None else op.pull_argument(a, given, *kept) for a, parent in named]

    def push(self, xp: Any, tangents: Sequence[Any], kept: Sequence[Any]) -> Any:
        """`tangents` is aligned with the parents; the operation wants them aligned with its arguments."""
        op = self.op
        placed = (
            {op.list_argument: tangents} if op.list_argument else dict(zip(op.differentiable, tangents, strict=True))
        )
        return op.push_forward(xp, [placed.get(a) for a in op.arguments], *kept)


class _Part:
    """The recipe of a node that stands for one output of an operation with several; its `links` are the
    operation's node and which output it is."""

    op = None

    def parents(self, links: tuple[Any, ...]) -> tuple[Node, ...]:
        return links[:1]


PART = _Part()


def unbroadcast(xp: Any, g: Any, shape: tuple[int, ...]) -> Any:
    """Sums g over the axes along which an argument of this shape was broadcast."""
    extra = len(g.shape) - len(shape)
    if extra > 0:
        g = xp.sum(g, axis=(0,) if extra == 1 else tuple(range(extra)))
    if g.shape != shape:
        axes = tuple([i for i, n in enumerate(shape) if n == 1 and g.shape[i] != 1])
        g = xp.reshape(xp.sum(g, axis=axes), shape)
    return g


def _lift(value: Any, source: Any, wrap: Wrap) -> Any:
    if isinstance(value, (list, tuple)):
        nodes = source if isinstance(source, tuple) else (None,) * len(value)
        return [_lift(v, n, wrap) for v, n in zip(value, nodes, strict=True)]
    return wrap(value, source) if hasattr(value, "dtype") else value


def _lift_result(node: Node, y: Any, wrap: Wrap) -> Any:
    if isinstance(y, tuple):
        return tuple(wrap(v, make_node(PART, (node, i), v.shape)) for i, v in enumerate(y))
    return wrap(y, node)
