"""The module system beyond `test_nn`: hooks, containers of parameters, sharing, copies, and the summary table.

What PyTorch does in the same places was looked up by running it; the expectations below are those figures.
"""

from __future__ import annotations

import copy
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from support import holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import interpret, models, nn
from tinygrad_mlsp.errors import DeviceError, DTypeError, IndexingError, OptionError, ShapeError
from tinygrad_mlsp.nn.module import Module
from tinygrad_mlsp.random import Generator


class Two(nn.Module):
    """A module of two arguments and two results."""

    def forward(self, a: Any, b: Any, k: int = 1) -> Any:
        return a * b, a + b * k


# Hooks


def test_hooks_see_and_change_what_pytorchs_do(device: str) -> None:
    make, log = maker(device), []
    m = Two()
    m.register_forward_pre_hook(lambda m, a: (a[0] * 2, a[1]))
    m.register_forward_pre_hook(lambda m, a, k: (a, {"k": 3}), with_kwargs=True)
    m.register_forward_hook(lambda m, a, o: (o[0], o[1] * 2))
    m.register_forward_hook(lambda m, a, k, o: log.append(k), with_kwargs=True, prepend=True)
    m.register_full_backward_hook(lambda m, gi, go: log.append([None if g is None else g.tolist() for g in (*gi, *go)]))
    last = m.register_full_backward_hook(lambda m, gi, go: tuple(None if g is None else g * 10 for g in gi))
    a, b = make([1.0, 2.0], True), make([3.0, 4.0], True)
    first, second = m(a, b)
    (first.sum() + (second * second).sum()).backward()
    assert log == [{"k": 3}, [[91.0, 132.0], [266.0, 388.0], [1.0, 1.0], [44.0, 64.0]]]
    holds(a.grad, [1820.0, 2640.0])
    holds(b.grad, [2660.0, 3880.0])
    a.grad = b.grad = None
    m(a, b)[1].sum().backward()  # nothing comes back to the first result
    assert log[2:] == [{"k": 3}, [[2.0, 2.0], [6.0, 6.0], None, [1.0, 1.0]]]
    holds(a.grad, [40.0, 40.0])
    last.remove()
    last()
    a.grad = None
    m(a, b)[1].sum().backward()
    holds(a.grad, [4.0, 4.0])


def test_hooks_are_called_in_their_order_and_what_is_prepended_first() -> None:
    layer, calls = nn.ReLU(), []
    for name, prepend in (("a", False), ("b", False), ("c", True)):
        layer.register_forward_hook(lambda m, x, y, name=name: calls.append(name), prepend=prepend)
    layer(tg.ones((1,)))
    assert calls == ["c", "a", "b"]


def test_a_backward_hook_without_a_wanting_input_still_sees_the_output() -> None:
    seen: list[Any] = []
    layer = nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    layer(tg.ones((2, 2))).sum().backward()
    assert seen == [((None,), [[1.0], [1.0]])]
    with tg.no_grad():
        layer(tg.ones((2, 2)))
    layer.register_full_backward_hook(lambda m, gi, go: (tg.ones((3,)),))
    with pytest.raises(ShapeError, match=r"Linear: a backward hook returned gradients of shapes \[\(3,\)\]"):
        layer(tg.ones((1, 2), np.float32)).backward(tg.ones((1, 1)))
    with pytest.raises(DTypeError, match="a hook is a function"):
        layer.register_forward_hook(3)  # type: ignore[arg-type]
    layer.register_forward_pre_hook(lambda m, a, k: a, with_kwargs=True)
    with pytest.raises(OptionError, match="returns None or"):
        layer(tg.ones((1, 2)))


def test_hooks_leave_second_derivatives_as_they_are(device: str) -> None:
    make = maker(device)
    net = nn.Sequential(nn.Linear(2, 2, generator=Generator(0)), nn.Tanh()).to(device, np.float64)
    x, v = make([[0.3, -0.2]], dtype=np.float64), make([[1.0, 0.5]], dtype=np.float64)
    plain = tg.hvp(lambda x: net(x).sum(), x, v).tolist(), tg.grad(lambda x: net(x).sum())(x).tolist()
    net.register_full_backward_hook(lambda m, gi, go: None)
    hooked = tg.hvp(lambda x: net(x).sum(), x, v).tolist(), tg.grad(lambda x: net(x).sum())(x).tolist()
    for a, b in zip(plain, hooked, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_module_without_hooks_is_as_it_was() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    handles = [net[1].register_forward_hook(lambda *_: None), net[1].register_forward_pre_hook(lambda *_: None)]
    assert "forward" in vars(net[1])
    handles[0].remove()
    assert "forward" in vars(net[1])
    handles[1].remove()
    assert "forward" not in vars(net[1])
    assert not any("hook" in name.lower() for name in Module.__call__.__code__.co_names)


def test_hooks_run_inside_sequential_and_are_copied_with_their_module() -> None:
    calls: list[int] = []
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU())
    net[1].register_forward_hook(lambda m, a, o: calls.append(id(m)))
    twin = copy.deepcopy(net)
    twin(tg.ones((1, 1)))
    assert calls == [id(twin[1])]
    twin[1].register_forward_hook(lambda m, a, o: o + 1)
    x = tg.ones((1, 1))
    holds(twin(x), net(x).numpy() + 1)


# Order, sharing, copies


def test_apply_goes_children_first_in_their_order() -> None:
    net = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Sigmoid())
    names: list[str] = []
    net.apply(lambda m: names.append(type(m).__name__))
    assert names == ["Linear", "ReLU", "Tanh", "Sequential", "Sigmoid", "Sequential"]


class Tied(nn.Module):
    def __init__(self) -> None:
        self.a = nn.Linear(2, 2, generator=Generator(0))
        self.b = nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight
        self.register_buffer("count", tg.zeros((1,)))
        self.seen: Any = None

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        self.seen = self.a(x)
        return self.b(self.seen)


def test_a_shared_parameter_has_one_name_among_parameters_and_two_in_the_state() -> None:
    net = Tied()
    assert [n for n, _ in net.named_parameters()] == ["a.weight", "a.bias"]
    assert [n for n, _ in net.named_parameters(remove_duplicate=False)] == ["a.weight", "a.bias", "b.weight"]
    assert list(net.state_dict()) == ["count", "a.weight", "a.bias", "b.weight"]
    other = Tied()
    other.load_state_dict(net.state_dict())
    assert other.a.weight is other.b.weight
    other.a.requires_grad_(False)
    assert not other.b.weight.requires_grad
    assert net.get_parameter("b.weight") is net.a.weight and net.get_buffer("count") is net.count
    with pytest.raises(OptionError, match=r"no buffer 'a\.weight'"):
        net.get_buffer("a.weight")
    both = nn.Sequential(net.a, nn.Sequential(net.a))
    assert [n for n, _ in both.named_modules()] == ["", "0", "1"]
    assert [n for n, _ in both.named_modules(remove_duplicate=False)] == ["", "0", "1", "1.0"]


def test_a_deep_copy_keeps_sharing_and_drops_graphs() -> None:
    net = Tied()
    net(tg.ones((1, 2))).sum().backward()
    twin = copy.deepcopy(net)
    assert twin.a.weight is twin.b.weight and twin.a.weight is not net.a.weight
    assert not twin.seen.requires_grad and twin.seen.tolist() == net.seen.tolist()
    holds(twin.a.weight.grad, net.a.weight.grad.numpy())
    twin.a.weight.copy_(0.0)
    assert net.a.weight.numpy().any()
    assert net.cpu() is net and net.a.weight.device == "cpu"


# Containers


def test_a_list_of_parameters() -> None:
    ps = nn.ParameterList([tg.ones((2, 2)), nn.Parameter([1.0])]).append([3.0, 4.0])
    assert [n for n, _ in ps.named_parameters()] == ["0", "1", "2"] and len(ps) == 3 and ps[-1].shape == (2,)
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in ps) and len(ps[1:]) == 2
    ps[0] = nn.Parameter([7.0])
    assert ps.state_dict()["0"].tolist() == [7.0]
    assert repr(ps) == (
        "ParameterList(\n  (0): Parameter of shape [1], float32\n  (1): Parameter of shape [1], float32\n"
        "  (2): Parameter of shape [2], float32\n)"
    )
    with pytest.raises(IndexingError, match="no parameter 3, there are 3"):
        ps[3]
    with pytest.raises(DTypeError, match="detach"):
        ps.append(ps[0] * 2)


def test_dictionaries_of_parameters_and_modules() -> None:
    ps = nn.ParameterDict({"u": [1.0, 2.0], "v": nn.Parameter([3.0])})
    assert list(ps) == ["u", "v"] and "u" in ps and ps["v"].tolist() == [3.0] and len(ps) == 2
    assert [n for n, _ in ps.named_parameters()] == ["u", "v"]
    assert ps.pop("u").shape == (2,) and list(ps.keys()) == ["v"]
    ms = nn.ModuleDict({"in": nn.Linear(2, 3), "act": nn.ReLU()})
    ms.update([("out", nn.Linear(3, 1))])
    ms["act"] = nn.Tanh()
    assert list(ms.state_dict()) == ["in.weight", "in.bias", "out.weight", "out.bias"]
    assert [type(m).__name__ for m in ms.values()] == ["Linear", "Tanh", "Linear"] and dict(ms.items())["out"] is ms[
        "out"
    ]
    with pytest.raises(IndexingError, match="no entry 'x', there are in, act, out"):
        ms["x"]
    with pytest.raises(OptionError, match="'keys' cannot name a module"):
        ms["keys"] = nn.ReLU()
    ms.clear()
    assert len(ms) == 0


def test_modules_go_into_a_list_and_out_of_it() -> None:
    net = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    net.insert(1, nn.Sigmoid())
    assert [type(m).__name__ for m in net] == ["ReLU", "Sigmoid", "Tanh"]
    del net[0]
    assert [n for n, _ in net.named_children()] == ["0", "1"] and type(net[0]).__name__ == "Sigmoid"


def test_a_sequential_is_put_together_as_pytorchs() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Tanh())
    assert net.append(nn.ELU()) is net and net.extend([nn.SELU()]) is net and net.insert(-4, nn.Mish()) is net
    assert [type(m).__name__ for m in net] == ["Mish", "ReLU", "Tanh", "ELU", "SELU"]
    assert type(net.pop(1)).__name__ == "ReLU"
    assert [type(m).__name__ for m in net.pop(slice(2, None))] == ["ELU", "SELU"]
    assert [n for n, _ in net.named_children()] == ["0", "1"]
    longer = net + nn.Sequential(nn.ReLU())
    assert len(longer) == 3 and len(net) == 2
    net += [nn.ReLU()]
    assert type(net[2]).__name__ == "ReLU" and isinstance(net, nn.Sequential)


def test_a_module_is_put_in_the_place_of_another() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 3)), nn.ReLU())
    net.set_submodule("0.0", nn.Linear(2, 5))
    assert net(tg.ones((1, 2))).shape == (1, 5)
    net.set_submodule("0.last", nn.Tanh())
    assert repr(net.get_submodule("0.last")) == "Tanh()"
    for target, module in (("", nn.ReLU()), ("0.0.weight", nn.ReLU()), ("0.0", 3), ("4.1", nn.ReLU())):
        with pytest.raises(OptionError, match=r"set_submodule|no module"):
            net.set_submodule(target, module)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"no module '0\.other' to replace"):
        net.set_submodule("0.other", nn.ReLU(), strict=True)


def test_a_state_with_a_prefix_of_the_parameters_themselves_and_taken_over(device: str) -> None:
    net = nn.Linear(2, 3, device=device)
    assert list(net.state_dict(prefix="a.")) == ["a.weight", "a.bias"]
    assert net.state_dict(keep_vars=True)["weight"] is net.weight and net.state_dict()["weight"] is not net.weight
    state = {"weight": np.ones((3, 2)), "bias": np.zeros(3)}
    net.load_state_dict(state)
    assert net.weight.dtype == np.float32
    net(tg.ones((1, 2), device=device)).sum().backward()
    wide = {name: tg.Tensor(value, device=device) for name, value in state.items()}
    net.load_state_dict(wide, assign=True)
    assert net.weight.dtype == np.float64 and net.weight.requires_grad and net.weight.grad is None
    with pytest.raises(DTypeError, match="weight wants a gradient"):
        net.load_state_dict({"weight": np.ones((3, 2), int), "bias": np.zeros(3)}, assign=True)
    assert net.weight.dtype == np.float64


def test_dtypes_by_name_and_by_method() -> None:
    net = nn.BatchNorm1d(2)
    moves: list[tuple[Any, str]] = [
        (lambda: net.to("float64"), "f8"), (lambda: net.half(), "f2"), (lambda: net.double(), "f8"),
        (lambda: net.type("float32"), "f4"), (lambda: net.to("cpu", "float64"), "f8"), (lambda: net.float(), "f4"),
    ]  # fmt: skip
    for move, dtype in moves:
        assert move() is net
        for tensor in (net.weight, net.running_var):
            assert tensor is not None and tensor.dtype == np.dtype(dtype)
        assert net.num_batches_tracked is not None and net.num_batches_tracked.dtype == np.int64
    with pytest.raises(DeviceError, match="no device 'nope'"):
        net.to("nope")
    for wrong, message in (("int64", "floating-point numbers, not int64"), (3, "3 is not a dtype")):
        with pytest.raises(DTypeError, match=message):
            net.to(wrong)


# The summary


def test_a_summary_of_a_wide_net_costs_nothing() -> None:
    layer = nn.Linear(4096, 4096)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    tracemalloc.start()
    began = time.perf_counter()
    s = nn.summary(net, (64, 4096))
    took, (_, most) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert took < 0.5 and most < 1_000_000  # one product alone takes 67 MB of weights and 2 · 10⁹ operations
    one = 2 * 64 * 4096 * 4096 + 64 * 4096
    assert [r.operations for r in s.rows] == [2 * one + 64 * 4096, one, 64 * 4096, one]
    assert [r.parameters for r in s.rows] == [4096 * 4097, 4096 * 4097, 0, 0]
    assert (s.parameters, s.parameter_bytes, s.bytes) == (4096 * 4097, 4 * 4096 * 4097, 3 * 4 * 64 * 4096)
    assert net[0].weight.device == "cpu" and "forward" not in vars(net)


def test_a_summary_says_what_the_shape_reader_says() -> None:
    net = models.DeepNet("highway", depth=5)
    cost = interpret.shapes.cost(net.eval(), interpret.shapes.spec((3, 64)))
    s = nn.summary(net, (3, 64))
    assert (s.operations, s.bytes, s.rows[0].shape) == (cost.flops, cost.bytes, (3, 10))
    assert s.rows[0].parameters == sum(p.size for p in net.parameters()) == s.trainable
    net.layers[0].requires_grad_(False)
    frozen = nn.summary(net, tg.zeros((3, 64)), depth=1)
    assert s.parameters - frozen.trainable == 64 * 32 + 32
    assert [r.name for r in frozen.rows] == ["", "layers"] and "2,080 of them frozen" in str(frozen)
    assert frozen.records()[1]["layer"] == "Sequential"


def test_a_summary_of_several_results_and_of_integers() -> None:
    s = nn.summary(nn.LSTM(3, 4), (5, 2, 3))
    assert s.rows[0].shape == ((5, 2, 4), (1, 2, 4), (1, 2, 4)) and "[5, 2, 4], [1, 2, 4]" in str(s)
    assert nn.summary(Two(), (2, 3), np.zeros((3,), np.float32)).inputs == ((2, 3), (3,))
    with pytest.raises(OptionError, match="shape of an input"):
        nn.summary(nn.ReLU())

    class Asks(nn.Module):
        def forward(self, x: tg.Tensor) -> tg.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(DeviceError, match="knows shapes and dtypes, not values"):
        nn.summary(Asks(), (2,))


def test_a_summary_is_of_evaluation_unless_told() -> None:
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Tanh())
    assert nn.summary(net, (8, 4)).operations < nn.summary(net, (8, 4), training=True).operations
    assert net.training and net[0].num_batches_tracked.item() == 0
