"""The graph: what it keeps and for how long, changes behind its back, hooks, depth, leaks, threads."""

from __future__ import annotations

import asyncio
import copy
import gc
import operator
import pickle
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from support import Make, holds, maker, shared

import tinygrad_mlsp as tg
from tinygrad_mlsp import backend, sweep
from tinygrad_mlsp.errors import GraphError, ShapeError
from tinygrad_mlsp.modes import FULL, LEAN, _mode, record_everything
from tinygrad_mlsp.op import registry


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


@pytest.fixture
def leaf(make: Make) -> Make:
    """A Tensor that wants a gradient."""
    return lambda data, dtype=None: make(data, True, dtype)


# ---- backward: the graph is freed, kept, changed


def test_a_freed_graph_says_so_and_a_retained_one_runs_again(leaf: Make) -> None:
    x = leaf([1.0, 2.0])
    y = x * x
    y.sum().backward(retain_graph=True)
    y.sum().backward(retain_graph=True)
    holds(x.grad, [4.0, 8.0])
    y.sum().backward()
    with pytest.raises(GraphError, match=r"backward through multiply, whose graph .* freed\. Pass retain_graph=True"):
        y.sum().backward()
    holds(x.grad, [6.0, 12.0])
    loss = tg.exp(y.detach() + x).sum()
    loss.backward()
    with pytest.raises(GraphError, match="backward through sum"):
        loss.backward()
    with pytest.raises(GraphError, match="freed"):
        (y + loss).sum().backward(create_graph=True)


def test_graphs_that_share_only_leaves_do_not_free_each_other(leaf: Make) -> None:
    x = leaf(2.0)
    a, b = x * 3, x * 5
    a.backward()
    b.backward()
    holds(x.grad, 8.0)


def stand_in(t: tg.Tensor) -> tg.Tensor:
    """Another Tensor of the same memory."""
    return tg.Tensor(t.data)


CHANGES: dict[str, Callable[[tg.Tensor], Any]] = {
    "copy_": lambda t: t.copy_([5.0, 6.0, 7.0, 8.0]),
    "setitem": lambda t: operator.setitem(t, 0, 5.0),
    "setitem with an array": lambda t: operator.setitem(t, [0, 1], 5.0),
    "a view": lambda t: operator.setitem(stand_in(t)[1:3], 0, 5.0),
    "a view of a view": lambda t: operator.setitem(stand_in(t).reshape(2, 2).T[1], 0, 5.0),
    "detach": lambda t: t.detach().copy_([5.0, 6.0, 7.0, 8.0]),
    "from a stored view": lambda t: tg.Tensor(t.data[::2]).copy_([1.0, 2.0]),
    "an optimizer": lambda t: (t.data.__iadd__(1.0), sweep.wrote(t.data)),
    "an optimizer's arena": lambda t: (t.data.__iadd__(1.0), sweep.wrote(t.data[1:])),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("recorded", ["backward", "create_graph", "forward mode", "full"])
def test_a_change_after_saving_is_an_error(change: Any, recorded: str, leaf: Make, make: Make) -> None:
    x, c = leaf([1.0, 2.0, 3.0, 4.0]), make([1.0, 2.0, 3.0, 4.0])

    def changing(x: tg.Tensor) -> tg.Tensor:
        y = x * c
        with tg.no_grad():
            change(c)
        return y.sum()

    with pytest.raises(GraphError, match=r"multiply: a tensor of shape \(4,\) and dtype float32 .* changed in place"):
        if recorded == "forward mode":
            tg.jvp(changing, (x.detach(),), (x.detach(),))
        elif recorded == "full":
            from tinygrad_mlsp.modes import record_everything

            with record_everything():
                y = changing(x)
            y.backward()
        else:
            changing(x).backward(create_graph=recorded == "create_graph")
    assert x.grad is None


@pytest.mark.parametrize(
    "build, victim",
    [
        (lambda x, w: tg.exp(x), "y"), (lambda x, w: tg.sin(x), "x"), (lambda x, w: x @ w, "x"),
        (lambda x, w: x @ w, "w"),
        (lambda x, w: x / w, "w"), (lambda x, w: tg.concat([x, w]) * x[:1], "x"),
        (lambda x, w: tg.einsum("i,i->", x, w), "w"),
        (lambda x, w: tg.where(w > 2, x, w) * w, "w"), (lambda x, w: tg.max(x), "x"), (lambda x, w: x**w, "x"),
    ],
)  # fmt: skip
def test_a_change_of_anything_a_rule_kept_is_an_error(build: Any, victim: str, leaf: Make) -> None:
    x, w = leaf([1.0, 2.0, 3.0]), leaf([3.0, 2.0, 1.0])
    y = build(x, w)
    with tg.no_grad():
        {"x": x, "w": w, "y": y}[victim].copy_(y.detach() if victim == "y" else [9.0, 8.0, 7.0])
    with pytest.raises(GraphError, match="changed in place"):
        y.sum().backward()
    assert x.grad is None and w.grad is None


def test_an_index_changed_after_indexing_is_an_error(leaf: Make, make: Make) -> None:
    x, index = leaf([1.0, 2.0, 3.0]), make([0, 1])
    for pick in (index, (index,), (None, index)):
        y = x[pick].sum()
        index[0] = 2
        with pytest.raises(GraphError, match="getitem"):
            y.backward()
    for pick in ([0, 1], [[0, 1]], ([0, 1], None)):
        y = x[pick].sum()
        (pick[0] if isinstance(pick[0], list) else pick)[0] = 2  # the list is the user's: it was copied
        x.grad = None
        y.backward()
        holds(x.grad, [1.0, 1.0, 0.0])


def test_changes_that_no_rule_minds_are_no_error(leaf: Make, make: Make) -> None:
    x, c, other = leaf([1.0, 2.0]), make([3.0, 4.0]), make([5.0, 6.0])
    y = ((x + c) * other[0] - c).sum()  # add, subtract and sum keep nothing; multiply keeps its other factor only
    with tg.no_grad():
        c.copy_([0.0, 0.0])
        x.copy_([7.0, 8.0])
        make([1.0]).copy_([2.0])
        y[()] = 9.0
    y.backward()
    holds(x.grad, [5.0, 5.0])
    before = make([1.0, 2.0])
    before.copy_([3.0, 4.0])  # changed before it was saved
    z = (x * before).sum()
    other.copy_([0.0, 0.0])  # another change since
    x.grad = None
    z.backward()
    holds(x.grad, [3.0, 4.0])


def test_training_steps_write_between_forward_passes(leaf: Make) -> None:
    w = leaf([1.0, 2.0])
    for _ in range(3):
        w.grad = None
        (w * w).sum().backward()
        with tg.no_grad():
            w.copy_(w - 0.25 * w.grad)
    holds(w, [0.125, 0.25])


def test_no_false_alarm_when_memory_or_identities_are_reused(leaf: Make, make: Make) -> None:
    x = leaf(np.ones(64))
    for _ in range(200):
        scratch = make(np.ones(64))
        y = (x * make(np.full(64, 2.0))).sum()
        scratch.copy_(0.0)  # a later array may get its address
        del scratch
        z = (x * make(np.full(64, 3.0))).sum()
        (y + z).backward()
    holds(x.grad, np.full(64, 1000.0))
    del y, z
    gc.collect()
    written = make(np.ones(3))
    kept = len(sweep._writes)
    written.copy_(2.0)
    assert len(sweep._writes) == kept + 1
    del written
    assert len(sweep._writes) == kept, "what is gone is forgotten"


def test_a_backward_pass_that_fails_leaves_every_gradient_alone(leaf: Make) -> None:
    a, b, c = leaf([1.0]), leaf([2.0]), leaf([3.0])
    (a + b + c).sum().backward()
    x, y = tg.exp(a), b * 2
    y.register_hook(lambda g: 1 / 0)
    kept = [t.grad.numpy().copy() for t in (a, b, c)]
    for build in (lambda: (x + y * c).sum() + c.sum(), lambda: (y + x).sum() * c.sum()):
        with pytest.raises(ZeroDivisionError):
            build().backward()
        for t, g in zip((a, b, c), kept, strict=True):
            assert np.array_equal(t.grad.numpy(), g)
    h = tg.exp(a + b)
    h.retain_grad()
    with pytest.raises(ZeroDivisionError):
        (h + y).sum().backward()  # h has its gradient long before y fails
    assert h.grad is None
    for t in (a, b, c):
        remove = t.register_hook(lambda g: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            (a + b * c).sum().backward()
        remove()
        assert all(np.array_equal(t.grad.numpy(), g) for t, g in zip((a, b, c), kept, strict=True))
    freed = a * b
    freed.sum().backward()
    kept = [t.grad.numpy().copy() for t in (a, b, c)]
    with pytest.raises(GraphError):
        (c * 2 + freed + a).sum().backward()
    assert all(np.array_equal(t.grad.numpy(), g) for t, g in zip((a, b, c), kept, strict=True))


# ---- hooks, and gradients of what was computed


def test_retain_grad(leaf: Make, make: Make) -> None:
    x = leaf([1.0, 2.0])
    y = x * 3
    z = y * y
    assert y.retain_grad() is y
    z.sum().backward()
    holds(y.grad, [6.0, 12.0])
    holds(x.grad, [18.0, 36.0])
    assert z.grad is None, "not asked for"
    with pytest.raises(GraphError, match="does not require a gradient; set requires_grad=True"):
        make(1.0).retain_grad()
    s = leaf(2.0) * 3
    s.retain_grad()
    (s * s).backward(retain_graph=True)
    holds(s.grad, 12.0)
    (s * 1).backward()
    holds(s.grad, 13.0)


def test_hooks_run_in_order_replace_and_can_be_removed(leaf: Make, make: Make) -> None:
    x = leaf([1.0, 2.0])
    y = x * 1
    seen: list[Any] = []
    removers = [
        y.register_hook(lambda g: seen.append(("first", g.numpy().copy()))),
        y.register_hook(lambda g: g * 2),
        y.register_hook(lambda g: seen.append(("third", g.numpy().copy())) or g + 1),
    ]
    y.retain_grad()
    loss = (y * y).sum()
    loss.backward(retain_graph=True)
    assert [name for name, _ in seen] == ["first", "third"]
    assert np.array_equal(seen[0][1], [2.0, 4.0]) and np.array_equal(seen[1][1], [4.0, 8.0])
    holds(y.grad, [5.0, 9.0])
    holds(x.grad, [5.0, 9.0])
    assert removers[1]() is None
    removers[1]()  # twice does no harm
    loss.backward(retain_graph=True)
    holds(x.grad, [5.0 + 3.0, 9.0 + 5.0])
    for remove in removers:
        remove()
    loss.backward()
    holds(x.grad, [8.0 + 2.0, 14.0 + 4.0])
    assert len(seen) == 4
    with pytest.raises(GraphError, match="does not require a gradient"):
        make(1.0).register_hook(print)


def test_a_hook_sees_the_whole_gradient_once(leaf: Make) -> None:
    x = leaf(3.0)
    seen: list[float] = []
    x.register_hook(lambda g: seen.append((g * 1).item()))
    y = x * 2
    y.register_hook(lambda g: seen.append((g * 1).item()))
    (y * y + y + x).backward()
    assert seen == [13.0, 27.0]
    holds(x.grad, 27.0)


def test_a_hook_on_a_leaf_changes_what_is_added(leaf: Make) -> None:
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g.clip(-1.0, 1.0))
    for _ in range(2):
        (x * 10).sum().backward()
    holds(x.grad, [2.0, 2.0])


def test_what_a_hook_returns_is_held_to_shape_and_dtype(leaf: Make) -> None:
    def after(hook: Any) -> Any:
        x = leaf([1.0, 2.0])
        y = x * 2
        y.register_hook(hook)
        y.sum().backward()
        return x.grad

    for hook in (lambda g: g.numpy() * 3.0, lambda g: [3, 3], lambda g: tg.Tensor(np.full(2, 3.0), device=g.device)):
        holds(after(hook), [6.0, 6.0], "float32")
    with pytest.raises(ShapeError, match=r"hook: returned a gradient of shape \(3,\) for a tensor of shape \(2,\)"):
        after(lambda g: [1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="hook"):
        after(lambda g: g.sum())


def test_hooks_under_create_graph_are_recorded(leaf: Make) -> None:
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * x)
    y.backward(create_graph=True)
    holds(x.grad, 8.0)  # 2 x · x
    g, x.grad = x.grad, None
    g.backward()
    holds(x.grad, 8.0)  # d(2 x²) = 4 x
    x.grad = None


# ---- whose memory a gradient is

BLOCKS: dict[str, Callable[[tg.Tensor, tg.Tensor], tg.Tensor]] = {
    "a + b": lambda a, b: a + b, "x + x": lambda a, b: a + a + b, "a - b": lambda a, b: a - b, "positive": lambda a,
    b: +a + +b,
    "f(h) + h": lambda a, b: tg.sin(h := a + b) + h, "reshape": lambda a, b: a.reshape(2, 2).reshape(4) + b.reshape(4),
    "transpose": lambda a, b: a.reshape(2, 2).T.reshape(4) + b, "flip": lambda a, b: tg.flip(a) + tg.flip(b),
    "concat": lambda a, b: tg.concat([a, b]), "stack": lambda a, b: tg.stack([a, b]), "slice": lambda a,
    b: tg.concat([a, b])[1:7],
    "alias": lambda a, b: tg.alias(a) + tg.alias(b), "split": lambda a, b: sum(tg.split(a, 2)) + sum(tg.split(b, 2)),
    "exp": lambda a, b: tg.exp(a) + tg.exp(b), "sum": lambda a, b: a.sum() + b.sum(), "same dtype": lambda a,
    b: a.astype(a.dtype) + b,
    "broadcast": lambda a, b: tg.broadcast_to(a, (4,)) + tg.broadcast_to(b, (3, 4)), "multiply": lambda a, b: a * b,
}  # fmt: skip


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_no_gradient_shares_memory(block: Any, retain: bool, leaf: Make, make: Make) -> None:
    a, b = leaf([1.0, 2.0, 3.0, 4.0]), leaf([5.0, 6.0, 7.0, 8.0])
    y = block(a, b)
    y.retain_grad()
    upstream = make(np.linspace(1, 2, y.size, dtype="f4").reshape(y.shape))
    seen: list[Any] = []
    for t in (a, b, y):
        t.register_hook(lambda g: seen.append(g))
    y.backward(upstream, retain_graph=retain)
    holders = {"a.grad": a.grad, "b.grad": b.grad, "y.grad": y.grad, "upstream": upstream, "a": a, "b": b, "y": y}
    named = list(holders.items())
    for i, (name, t) in enumerate(named):
        for other_name, other in named[i + 1 :]:
            if not {name, other_name} <= {"a", "b", "y"}:
                assert not shared(t, other), f"{name} shares memory with {other_name}"
    for g in seen:
        assert not shared(g, a.grad) and not shared(g, b.grad) and not shared(g, y.grad), (
            "what a hook saw is kept by the user"
        )
    before = b.grad.numpy().copy(), upstream.numpy().copy(), y.numpy().copy()
    a.grad.copy_(0.0)
    assert all(np.array_equal(x, t.numpy()) for x, t in zip(before, (b.grad, upstream, y), strict=True))


def test_a_rule_that_changes_its_gradient_would_show(leaf: Make) -> None:
    h = leaf([1.0, 2.0])
    (tg.positive(h) + h + tg.negative(h) * 0 + h.reshape(2)).sum().backward()
    holds(h.grad, [3.0, 3.0])  # f(h) + h gives 4 where a backward works in place


class Counting:
    """The copies that a sweep makes in order to own what it delivers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
        self.made = 0
        space = backend.space_for(device)[0]
        copy = space.copy

        def counted(array: Any) -> Any:
            self.made += 1
            return copy(array)

        monkeypatch.setattr(space, "copy", counted)


def test_a_fresh_gradient_is_not_copied(leaf: Make, make: Make, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = Counting(monkeypatch, device)
    x, w = leaf(np.ones((3, 4))), leaf(np.ones((4, 5)))
    tg.tanh(tg.sin(x) @ tg.exp(w)).sum().backward()
    (x * 2 + x * 3).sum().backward()
    assert copies.made == 0
    x.grad = None
    y = x + 0
    y.backward(make(np.ones((3, 4))))
    assert copies.made == 1, "the user's own array is copied, once"
    a, b = leaf([1.0]), leaf([2.0])
    tg.exp(a + b).sum().backward()
    assert copies.made == 2, "of two leaves that were given one array, one keeps it"
    tg.grad(lambda x: tg.sin(x).sum())(x)
    assert copies.made == 2


# ---- what is kept, and until when

KEPT: list[tuple[str, Callable[[Any, Any], Any], str, str]] = [
    ("add", lambda a, b: a + b, "ab", ""), ("subtract", lambda a, b: a - b, "ab", ""),
    ("multiply", lambda a, b: a * b, "ab", "ab"), ("multiply", lambda a, b: a * b, "a", "b"),
    ("multiply", lambda a, b: a * b, "b", "a"), ("matmul", lambda a, b: a @ b, "a", "b"),
    ("matmul", lambda a, b: a @ b, "b", "a"), ("linear", lambda a, b: tg.linear(a, b), "a", "b"),
    ("divide", lambda a, b: a / b, "a", "b"), ("divide", lambda a, b: a / b, "ab", "ab"),
    ("maximum", tg.maximum, "ab", "ab"), ("exp", lambda a, b: tg.exp(a), "a", "y"),
    ("tanh", lambda a, b: tg.tanh(a), "a", "y"), ("sigmoid", lambda a, b: tg.sigmoid(a), "a", "y"),
    ("relu", lambda a, b: tg.relu(a), "a", "y"), ("sqrt", lambda a, b: tg.sqrt(a), "a", "y"),
    ("sin", lambda a, b: tg.sin(a), "a", "a"), ("square", lambda a, b: a**2, "a", "a"),
    ("softmax", lambda a, b: tg.softmax(a), "a", "y"), ("max", lambda a, b: tg.max(a, axis=0), "a", "ay"),
    ("sum", lambda a, b: a.sum(axis=0), "a", ""), ("mean", lambda a, b: a.mean(axis=0), "a", ""),
    ("reshape", lambda a, b: a.reshape(-1), "a", ""), ("transpose", lambda a, b: a.T, "a", ""),
    ("getitem", lambda a, b: a[1:], "a", ""), ("concat", lambda a, b: tg.concat([a, b]), "ab", ""),
    ("einsum", lambda a, b: tg.einsum("ij,jk->ik", a, b), "a", "ab"),
    ("where", lambda a, b: tg.where(a > 2, a, b), "ab", ""),
    ("astype", lambda a, b: a.astype("float32"), "a", ""), ("greater", lambda a, b: a > b, "ab", ""),
    ("no gradient", lambda a, b: tg.exp(a) * b, "", ""),
]  # fmt: skip


@pytest.mark.parametrize("name, f, wanting, kept", KEPT, ids=[f"{k[0]}-{k[2]}" for k in KEPT])
def test_only_what_a_rule_names_is_kept_and_only_for_who_wants_it(
    name: str, f: Any, wanting: str, kept: str, make: Make
) -> None:
    a = make(np.arange(1.0, 10.0).reshape(3, 3), "a" in wanting)
    b = make(np.arange(9.0, 0.0, -1.0).reshape(3, 3), "b" in wanting)
    y = f(a, b)
    arrays = {"a": weakref.ref(a.data), "b": weakref.ref(b.data), "y": weakref.ref(y.data)}
    loss = y.sum()
    del a, b, y
    assert {n for n, r in arrays.items() if r() is not None} == set(kept)
    if loss.requires_grad:
        loss.backward(retain_graph=True)
        assert {n for n, r in arrays.items() if r() is not None} == set(kept), "a retained graph keeps them"
        loss.backward()
    assert not any(r() is not None for r in arrays.values()), "the backward pass lets them go"


def test_nothing_is_kept_under_no_grad(make: Make, leaf: Make) -> None:
    w = leaf(np.ones((3, 3)))
    with tg.no_grad():
        h = tg.exp(w)
        r = weakref.ref(h.data)
        y = tg.tanh(h @ w)
    assert not y.requires_grad and y._node is None
    del h
    assert r() is None


def test_the_graph_is_freed_while_the_sweep_passes(leaf: Make) -> None:
    x = leaf([1.0, 2.0])
    y = x
    arrays, alive = [], []
    for i in range(10):
        y = tg.exp(y * 0.1)
        arrays.append(weakref.ref(y.data))
        y.register_hook(lambda g, i=i: alive.append((i, [r() is not None for r in arrays])))
    loss = y.sum()
    del y
    loss.backward()
    for i, living in alive:  # when the gradient arrives at link i, all later links are gone
        assert living == [True] * (i + 1) + [False] * (9 - i)


def test_a_loop_of_training_holds_one_graph_at_a_time(leaf: Make, make: Make) -> None:
    w = leaf(np.ones((10, 10)))
    graphs, left = [], []
    tracemalloc.start()
    try:
        for _ in range(12):
            before = tracemalloc.get_traced_memory()[0]
            h = make(np.ones((10, 10)))
            for _ in range(20):
                h = tg.tanh(h @ w)
            graphs.append(tracemalloc.get_traced_memory()[0] - before)
            w.grad = None
            h.sum().backward()
            gc.collect()  # Python's own store of empty tuples, that is
            left.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert left[-1] - left[3] < graphs[-1] / 10


def work(kind: str, make: Make) -> Any:
    """One use of the library; returns what must be gone when it is let go of."""
    x = make([0.5, 1.5, 2.0, 3.0], True)
    if kind == "backward":
        y = tg.tanh(x * 2)
        y.sum().backward()
        return x, y
    if kind == "hooks":
        y = tg.tanh(x * 2)
        y.retain_grad()
        y.register_hook(lambda g: g * 2)
        x.register_hook(lambda g: None)
        y.sum().backward(retain_graph=True)
        return x, y
    if kind == "several outputs":
        a, b = tg.split(x, 2)
        y = tg.concat([a, b * a])
        y.sum().backward()
        return x, a, y
    if kind == "no backward":
        return x, tg.exp(x) @ x
    if kind == "errors":
        for fails in (lambda: x @ x[:2], lambda: x.backward(), lambda: tg.sum(x, axis=9), lambda: tg.Tensor("a")):
            with pytest.raises(Exception):  # noqa: B017
                fails()
        y = x * 2
        y.register_hook(lambda g: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            y.sum().backward()
        return x, y
    if kind == "derivatives":
        x = x.detach()
        f = lambda x: (tg.tanh(x) * x).sum()
        return (
            x, tg.grad(lambda x: (tg.grad(f)(x) ** 2).sum())(x), tg.hvp(f, x, x), tg.hessian(f)(x),
            tg.jacobian(tg.sin)(x),
            tg.jvp(tg.grad(f), (x,), (x,)), *tg.vjp(tg.sin, x)[1](x),
        )  # fmt: skip
    if kind == "a closed generator":

        @tg.no_grad()
        def steps(x: Any) -> Iterator[Any]:
            while True:
                yield tg.exp(x)

        made = steps(x)
        y = next(made)
        made.close()
        return x, y
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind", ["backward", "hooks", "several outputs", "no backward", "errors", "derivatives", "a closed generator"]
)
def test_nothing_waits_for_the_cycle_collector(kind: str, make: Make) -> None:
    work(kind, make)  # what is made once, at the first use
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        result = work(kind, make)
        flat = [t for r in result for t in (r if isinstance(r, tuple) else (r,))]
        refs = [weakref.ref(thing) for t in flat for thing in (t, t.data)]
        del result, flat
        assert [r() for r in refs if r() is not None] == []
        gc.collect()
        mine = [o for o in gc.garbage if type(o).__module__.startswith("tinygrad_mlsp")]
        assert mine == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_the_interpreter_exits_in_silence() -> None:
    code = """
import tinygrad_mlsp as tg
x = tg.Tensor([1.0, 2.0], requires_grad=True)
x.register_hook(lambda g: g)
y = tg.tanh(x * 2)
y.retain_grad()
kept = tg.Tensor([1.0]).copy_([2.0])
y.sum().backward(create_graph=True)
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- depth


@pytest.fixture
def deep(device: str) -> int:
    """Many operations: fewer on the stand-in, which checks each call."""
    return 100_000 if device == "cpu" else 5_000


@contextmanager
def shallow() -> Iterator[None]:
    """Room for some 60 nested calls and no more."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 60)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def test_the_room_for_calls_is_small() -> None:
    def nested(n: int) -> int:
        return nested(n - 1) if n else 0

    with shallow():
        nested(10)
        with pytest.raises(RecursionError):
            nested(100)


def chain(x: tg.Tensor, n: int) -> tg.Tensor:
    """(x · 1.0001 + x − x) over and over, n operations; its slope is 1.0001^(n/3)."""
    y, factor = x, tg.Tensor(1.0001, dtype=x.dtype, device=x.device)
    for _ in range(n // 3):
        y = y * factor + x - x
    return y


def test_a_deep_chain_runs_backward_and_is_freed(leaf: Make, deep: int) -> None:
    x = leaf(np.ones(1), "float64")
    slope = [1.0001 ** (deep // 3)]
    with shallow():
        y = chain(x, deep)
        assert "op=subtract" in repr(y)
        y.sum().backward()
        holds(x.grad, slope, tolerance=1e-9)
        del y
        x.grad = None
        y = chain(x, deep)
        y.sum().backward(retain_graph=True)
        y.sum().backward()
        holds(x.grad, [2 * slope[0]], tolerance=1e-9)
        y = chain(x, deep)
        del y  # never swept
        y = chain(x, deep)
        with pytest.raises(GraphError):
            pickle.dumps(y)
        with pytest.raises(GraphError):
            copy.deepcopy(y)
        holds(pickle.loads(pickle.dumps(x)), [1.0])
        holds(copy.deepcopy(x).grad, [2 * slope[0]], tolerance=1e-9)
        assert y.detach().numpy() == pytest.approx(slope)
        del x, y


def test_a_deep_chain_under_create_graph_and_forward_mode(leaf: Make, make: Make, deep: int) -> None:
    n = deep // 10
    with shallow():
        x = leaf(np.full(1, 0.5), "float64")
        y = x
        for _ in range(n):
            y = y + tg.sin(y) * 1e-5
        y.sum().backward(create_graph=True)
        g, x.grad = x.grad, None
        g.sum().backward()
        second = x.grad.item()
        del y, g
        x = make(np.full(1, 0.5))

        def f(x: tg.Tensor) -> tg.Tensor:
            y = x
            for _ in range(n):
                y = y + tg.sin(y) * 1e-5
            return y.sum()

        value, moved = tg.jvp(f, (x,), (make(np.ones(1)),))
        assert tg.hvp(f, x, make(np.ones(1))).item() == pytest.approx(second, rel=1e-9)
    slope, curve, at = 1.0, 0.0, 0.5
    for _ in range(n):
        curve = curve * (1 + 1e-5 * np.cos(at)) - 1e-5 * np.sin(at) * slope**2
        slope *= 1 + 1e-5 * np.cos(at)
        at += 1e-5 * np.sin(at)
    assert value.item() == pytest.approx(at, rel=1e-9)
    assert moved.item() == pytest.approx(slope, rel=1e-9)
    assert second == pytest.approx(curve, rel=1e-6)


def test_forward_mode_over_a_deep_chain(make: Make, deep: int) -> None:
    with shallow():
        _, moved = tg.jvp(lambda x: chain(x, deep), (make(np.ones(1)),), (make(np.ones(1)),))
    holds(moved, [1.0001 ** (deep // 3)], tolerance=1e-9)


def test_wide_graphs(leaf: Make, device: str) -> None:
    n = 20_000 if device == "cpu" else 2_000
    with shallow():
        x = leaf([1.0, 2.0], "float64")
        total = tg.stack([x * i for i in range(n)]).sum()  # one result of many
        total.backward()
        holds(x.grad, [n * (n - 1) / 2] * 2)
        leaves = [leaf(1.0, "float64") for _ in range(n)]
        s = leaves[0]
        for t in leaves[1:]:
            s = s + t
        s.backward()
        assert {t.grad.item() for t in leaves} == {1.0}
        parts = tg.split(leaf(np.ones(n)), n)  # many results of one
        tg.concat(list(parts)).sum().backward()


def slots(f: Callable[[tg.Tensor], tg.Tensor], x: tg.Tensor, n: int) -> tuple[float, float, float]:
    """Bytes an operation: held after n of them, on top while the sweep runs, left when all is let go."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        y = x
        for _ in range(n):
            y = f(y)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        y.backward()
        peak = tracemalloc.get_traced_memory()[1]
        del y
        x.grad = None
        gc.collect()  # Python's own store of empty tuples, that is
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return (held - before) / n, (peak - held) / n, (left - before) / n


ONE = tg.Tensor(1.0)


@pytest.mark.parametrize(
    "f",
    [lambda y: y + ONE, lambda y: y * ONE, tg.tanh, lambda y: y.reshape(())],
    ids=["add", "multiply", "tanh", "reshape"],
)
def test_memory_grows_linearly_with_depth(f: Any, device: str) -> None:
    if device != "cpu":
        pytest.skip("the stand-in's arrays have another size")
    x = tg.Tensor(0.5, requires_grad=True)
    n = 20_000
    slots(f, x, 100)
    held, peak, left = slots(f, x, n)
    twice, _, _ = slots(f, x, 2 * n)
    assert held < 400
    assert twice == pytest.approx(held, rel=0.05)
    assert peak < 40, "the sweep frees as it goes"
    assert left < 1


@pytest.mark.slow
def test_a_million_operations(device: str) -> None:
    if device != "cpu":
        pytest.skip("a test of the engine, not of the device")
    with shallow():
        x = tg.Tensor(1.0, requires_grad=True, dtype="float64")
        y = chain(x, 1_000_000)
        y.backward()
        assert x.grad.item() == pytest.approx(1.0001**333_333, rel=1e-9)
        del y
        y = chain(x, 1_000_000)
        repr(y)
        del y  # never swept
    held, peak, left = slots(lambda y: y * ONE, tg.Tensor(1.0, requires_grad=True), 1_000_000)
    assert held < 400 and peak < 40 and left < 1


# ---- recording on and off


def test_no_grad_and_enable_grad_nest_and_survive_exceptions(leaf: Make) -> None:
    x = leaf(1.0)
    assert tg.is_grad_enabled() and (x * 2).requires_grad
    with tg.no_grad():
        assert not tg.is_grad_enabled() and not (x * 2).requires_grad
        with tg.enable_grad():
            assert tg.is_grad_enabled() and (x * 2).requires_grad
            with tg.no_grad():
                assert not tg.is_grad_enabled()
            assert tg.is_grad_enabled()
        assert not tg.is_grad_enabled()
        with pytest.raises(ZeroDivisionError), tg.enable_grad():
            1 / 0  # noqa: B018
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()
    again = tg.no_grad()
    with again, again:
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()

    @tg.no_grad()
    def fails() -> None:
        assert not tg.is_grad_enabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert tg.is_grad_enabled() and fails.__name__ == "fails"


def test_a_failing_function_leaves_the_mode_as_it_was(make: Make) -> None:
    def fails(x: tg.Tensor) -> tg.Tensor:
        raise ZeroDivisionError

    x = make([1.0])
    for derivative in (
        lambda: tg.grad(fails)(x), lambda: tg.jvp(fails, (x,), (x,)), lambda: tg.vjp(fails, x),
        lambda: tg.hessian(fails)(x),
    ):  # fmt: skip
        with pytest.raises(ZeroDivisionError):
            derivative()
        assert _mode.get() == LEAN
        with tg.no_grad(), pytest.raises(ZeroDivisionError):
            derivative()


def test_to_record_is_never_to_record_less(make: Make) -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        with tg.enable_grad():
            return tg.sin(x)

    holds(tg.jvp(f, (make(0.5),), (make(1.0),))[1], np.cos(0.5))
    with record_everything():
        with tg.enable_grad():
            assert _mode.get() == FULL
        assert _mode.get() == FULL


def test_a_generator_under_no_grad_does_not_leak_it(leaf: Make) -> None:
    x = leaf(1.0)
    inside: list[bool] = []

    @tg.no_grad()
    def numbers(n: int) -> Iterator[Any]:
        try:
            for i in range(n):
                inside.append(tg.is_grad_enabled())
                got = yield i
                if got is not None:
                    yield ("got", got, tg.is_grad_enabled())
        except KeyError:
            yield ("caught", tg.is_grad_enabled())
        finally:
            inside.append(tg.is_grad_enabled())
        return "the end"

    for i in numbers(3):
        assert tg.is_grad_enabled() and (x * i).requires_grad
    assert inside == [False] * 4
    made = numbers(3)
    assert next(made) == 0 and made.send("this") == ("got", "this", False)
    assert made.throw(KeyError("that")) == ("caught", False)
    with pytest.raises(StopIteration) as end:
        next(made)
    assert end.value.value == "the end"
    inside.clear()
    made = numbers(3)
    next(made)
    made.close()
    assert inside == [False, False] and tg.is_grad_enabled(), "the generator's finally ran, without recording"
    made = numbers(3)
    next(made)
    with pytest.raises(ZeroDivisionError):
        made.throw(ZeroDivisionError)
    assert tg.is_grad_enabled()


def test_tasks_have_their_own_mode() -> None:
    seen: list[tuple[str, bool]] = []

    async def note(name: str, pause: int) -> None:
        for _ in range(pause):
            await asyncio.sleep(0)
        seen.append((name, tg.is_grad_enabled()))

    @tg.no_grad()
    async def without() -> str:
        await note("without", 3)
        return "value"

    async def within() -> None:
        with tg.no_grad():
            await note("within", 2)
            await asyncio.create_task(note("child", 1))
        await note("after", 1)

    async def plain() -> None:
        for _ in range(8):
            await note("plain", 1)

    async def everything() -> Any:
        results = await asyncio.gather(within(), without(), plain())
        assert tg.is_grad_enabled()
        return results

    assert asyncio.run(everything())[1] == "value"
    assert set(seen) == {("within", False), ("child", False), ("without", False), ("after", True), ("plain", True)}


# ---- threads


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def together(work: Callable[[int], Any], threads: int = 8) -> list[Any]:
    """The results of `work(0)`, `work(1)`, …, all begun at once."""
    barrier = threading.Barrier(threads)

    def begin(i: int) -> Any:
        barrier.wait()
        return work(i)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


@pytest.mark.usefixtures("hasty")
def test_derivatives_nested_in_eight_threads(make: Make, device: str) -> None:
    def work(i: int) -> list[str]:
        wrong = []
        for k in range(25 if device == "cpu" else 5):
            a = 0.5 + 0.25 * i + 0.01 * k
            f = lambda x, a=a: tg.sin(x * a).sum() * a
            x = np.array([0.3, 0.7])
            sin, cos = np.sin(a * x), np.cos(a * x)
            v = make(np.array([1.0, -2.0]))
            found = {
                "grad": (tg.grad(f)(make(x)), a * a * cos),
                "second": (tg.grad(lambda x, f=f: tg.grad(f)(x).sum())(make(x)), -(a**3) * sin),
                "hvp": (tg.hvp(f, make(x), v), -(a**3) * sin * [1.0, -2.0]),
                "third": (tg.grad(lambda x, f=f, v=v: tg.hvp(f, x, v).sum())(make(x)), -(a**4) * cos * [1.0, -2.0]),
                "jvp": (tg.jvp(f, (make(x),), (v,))[1], a * a * (cos * [1.0, -2.0]).sum()),
            }
            with tg.no_grad():
                found["no_grad"] = (tg.grad(f)(make(x)), a * a * cos)
            wrong += [
                f"{i}.{k} {n}" for n, (got, want) in found.items() if not np.allclose(got.numpy(), want, rtol=1e-12)
            ]
        return wrong

    assert together(work) == [[]] * 8


@pytest.mark.usefixtures("hasty")
def test_eight_threads_add_to_one_gradient(leaf: Make, device: str) -> None:
    x = leaf(np.zeros(20_000))  # so large that NumPy lets other threads run while it adds
    times = 40 if device == "cpu" else 10

    def work(i: int) -> None:
        for _ in range(times):
            (x * 1.0).sum().backward()

    together(work)
    holds(x.grad, np.full(20_000, 8.0 * times))


def test_no_grad_in_one_thread_is_not_seen_in_another() -> None:
    inside, done = threading.Event(), threading.Event()
    seen: dict[str, bool] = {}

    def off() -> None:
        with tg.no_grad():
            inside.set()
            done.wait(10)
            seen["off"] = tg.is_grad_enabled()

    thread = threading.Thread(target=off)
    thread.start()
    assert inside.wait(10)
    seen["main"] = tg.is_grad_enabled()
    with tg.no_grad():
        fresh = threading.Thread(target=lambda: seen.update(fresh=tg.is_grad_enabled()))
        fresh.start()
        fresh.join()
    done.set()
    thread.join()
    assert seen == {"off": False, "main": True, "fresh": True}


@pytest.mark.usefixtures("hasty")
def test_an_operation_may_be_used_first_in_many_threads(make: Make) -> None:
    for name in ("tanh", "logsumexp", "concat"):
        registry[name]._record = None
    results = together(lambda i: tg.grad(lambda x: registry["tanh"](x).sum())(make([0.5])).item())
    assert np.allclose(results, 1 - np.tanh(0.5) ** 2)


@pytest.mark.usefixtures("hasty")
def test_changes_in_one_thread_do_not_trouble_another(make: Make, leaf: Make, device: str) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            make([1.0, 2.0]).copy_([3.0, 4.0])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(300 if device == "cpu" else 30):
            x = leaf([1.0, 2.0])
            tg.tanh(x * make([2.0, 3.0])).sum().backward()
    finally:
        stop.set()
        thread.join()
