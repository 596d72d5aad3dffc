"""What a user gets wrong: one clear error at once, which names the operation and what to do."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support import Make, holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn
from tinygrad_mlsp import op as operations
from tinygrad_mlsp.errors import AxisError, DeviceError, DTypeError, GraphError, IndexingError, OptionError, ShapeError


@pytest.fixture
def make(device: str) -> Make:
    return maker(device)


# Writing


WRITES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "copy_": (lambda x, y: y.copy_([5.0, 6.0]), "copy_: writing into"),
    ".data": (lambda x, y: setattr(y, "data", [5.0, 6.0]), ".data: writing into"),
    "index": (lambda x, y: operator.setitem(x, 0, 5.0), "index: a leaf that wants a gradient .* tg.set_at"),
    "copy_ of a computed value": (lambda x, y: x.detach().copy_(y), "copy_: no gradient .* detach"),
    "index of a view": (lambda x, y: operator.setitem(y[:], 0, 5.0), "a view of another"),
    "index of a computed value": (
        lambda x, y: operator.setitem(x.detach().astype("int64"), 0, y[0]),
        "no gradient .* detach",
    ),
    "index of a list": (lambda x, y: operator.setitem(x.detach(), slice(0, 2), [y[0], y[1]]), "tg.stack"),
}


@pytest.mark.parametrize("write, message", WRITES.values(), ids=WRITES)
def test_writing_that_a_gradient_would_not_see(write: Any, message: str, make: Make) -> None:
    x = make([1.0, 2.0], True)
    y = x * 2
    with pytest.raises(GraphError, match=message):
        write(x, y)
    holds(y, [2.0, 4.0])


@pytest.mark.parametrize("name", ["copy_", ".data", "index", "copy_ of a computed value"])
def test_writing_is_free_under_no_grad_and_into_leaves(name: str, make: Make) -> None:
    x = make([1.0, 2.0], True)
    y = x * 2
    with tg.no_grad():
        WRITES[name][0](x, y)
    x.copy_([3.0, 4.0])
    x.data = [5.0, 6.0]
    holds(x, [5.0, 6.0])


# Lists of tensors


LISTS: list[Callable[[Any], Any]] = [
    lambda x: tg.Tensor([x[0], x[1]]),
    lambda x: tg.Tensor([[x[0]], [x[1]]]),
    lambda x: tg.Tensor((1.0, x[1])),
    lambda x: tg.exp([x[0], x[1]]),
    lambda x: operator.add(x, [x[0], x[1]]),
]


@pytest.mark.parametrize("use", LISTS)
def test_a_list_of_tensors_keeps_its_graph_or_says_so(use: Any, make: Make, device: str) -> None:
    with pytest.raises(GraphError, match=r"tg\.stack"):
        use(make([1.0, 2.0], True))
    plain = make([1.0, 2.0])
    if device == "cpu":
        assert use(plain).size == 2
    else:
        with pytest.raises(DeviceError, match=r"tg\.stack"):
            use(plain)


# Operators


@pytest.mark.parametrize("other", [None, "a", {}, object(), len])
def test_operators_leave_unknown_operands_to_python(other: Any, make: Make) -> None:
    x = make([1.0, 2.0], True)
    assert (x == other) is False and (other == x) is False
    assert (x != other) is True
    assert other not in [x]
    for use in (operator.add, operator.pow, operator.matmul, operator.lt, operator.floordiv):
        for pair in ((x, other), (other, x)):
            with pytest.raises(TypeError, match=r"support|concatenate"):
                use(*pair)
    with pytest.raises(DTypeError, match=r"add: |not numeric"):
        tg.add(x, other)


def test_operators_ask_the_other_operand(make: Make) -> None:
    class Other:
        def __radd__(self, x: Any) -> str:
            return "asked"

    assert make([1.0]) + Other() == "asked"


def test_operators_keep_their_own_errors(make: Make) -> None:
    x = make([1.0, 2.0])
    with pytest.raises(ShapeError, match="add"):
        x + make([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="unequal"):
        operator.add(x, [[1.0], [1.0, 2.0]])
    with pytest.raises(DTypeError, match="masked"):
        x + np.ma.array([1.0, 2.0], mask=[True, False])
    holds(operator.add(x, [0, 1]), [1.0, 3.0])


def test_divmod_round_and_take(make: Make) -> None:
    x = make([5.0, 7.6])
    for found, expected in zip((*divmod(x, 2), *divmod(10, x)), ([2, 3], [1, 1.6], [2, 1], [0, 2.4]), strict=True):
        holds(found, expected, tolerance=1e-5)
    holds(round(x), [5, 8])
    holds(tg.take(x, [1]), [7.6])
    holds(x.take([1]), [7.6])
    with pytest.raises(OptionError, match="round"):
        round(x, 2)
    with pytest.raises(ShapeError, match="take: a tensor of 2 dimensions needs axis="):
        tg.take(make([[1.0]]), [0])


# Creation


CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "shape apart": (lambda: tg.ones(2, 3), DTypeError, r"ones: .* as a tuple"),
    "shape in words": (lambda: tg.ones("a"), ShapeError, "ones: shape 'a'"),
    "negative shape": (lambda: tg.zeros((2, -1)), ShapeError, r"zeros: shape \(2, -1\)"),
    "half an axis": (lambda: tg.empty((2, 1.5)), ShapeError, "empty: shape"),
    "full": (lambda: tg.full("a", 1.0), ShapeError, "full: shape 'a'"),
    "negative eye": (lambda: tg.eye(-1), ShapeError, "eye: -1"),
    "step 0": (lambda: tg.arange(0, 5, 0), OptionError, "arange: step is 0"),
    "arange of a word": (lambda: tg.arange("a"), OptionError, "arange: "),
    "negative number": (lambda: tg.linspace(0, 1, -1), OptionError, "linspace: "),
    "no such dtype": (lambda: tg.zeros(3, dtype="float3"), DTypeError, "zeros: 'float3' is not a dtype"),
    "no such dtype of a Tensor": (lambda: tg.Tensor([1.0], dtype="float3"), DTypeError, "'float3' is not a dtype"),
    "objects": (lambda: tg.Tensor([1.0], dtype="object"), DTypeError, "object is not numeric"),
    "astype": (lambda: tg.astype([1.0], "nope"), DTypeError, "astype: 'nope'"),
    "requires_grad in words": (lambda: tg.Tensor([1.0], requires_grad="no"), DTypeError, "requires_grad is True or"),
    "dtype in its place": (lambda: tg.Tensor([1.0], tg.float64), DTypeError, "requires_grad .* dtype="),
    "masked": (lambda: tg.Tensor(np.ma.array([1.0], mask=[True])), DTypeError, "masked"),
    "unknown device": (lambda: tg.Tensor([1.0]).to("float3"), DeviceError, "float3"),
    "hook": (lambda: tg.Tensor([1.0], True).register_hook(3), DTypeError, "register_hook: "),
    "grad": (lambda: tg.grad(3), DTypeError, "grad: takes a function"),
    "vjp": (lambda: tg.vjp(3, [1.0]), DTypeError, "vjp: takes a function"),
    "hvp": (lambda: tg.hvp(lambda x: x, [1.0], [1.0]), ShapeError, "hvp: the function must return one scalar"),
    "hvp tangent": (lambda: tg.hvp(lambda x: x.sum(), [1.0], [1.0, 2.0]), ShapeError, "hvp: a tangent"),
    "hessian": (lambda: tg.hessian(lambda x: x)([1.0]), ShapeError, "hessian: the function must return one scalar"),
    "value_and_grad": (lambda: tg.value_and_grad(lambda x: x)([1.0]), ShapeError, "value_and_grad: the function"),
    "mode": (lambda: tg.jacobian(tg.exp, mode="a"), OptionError, "jacobian: mode"),
    "argnums": (lambda: tg.grad(tg.sum, argnums="a"), OptionError, "grad: argnums"),
    "norm": (lambda: np.linalg.norm(tg.Tensor([1.0])), DTypeError, r"numpy\.linalg\.norm"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", CALLS.values(), ids=CALLS)
def test_one_clear_error(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_dtype_by_its_name_and_a_truth_of_numpy(make: Make) -> None:
    x = make([1.0, 2.0])
    assert x.to("float64").dtype == np.float64 and x.to("float64").device == x.device
    assert tg.Tensor([1.0], np.bool_(True)).requires_grad
    assert not tg.Tensor([1.0], np.bool_(False)).requires_grad


def test_a_hook_is_removed_by_a_call_or_by_remove(make: Make) -> None:
    seen: list[Any] = []
    for way in (lambda handle: handle(), lambda handle: handle.remove()):
        x = make(2.0, True)
        handle = x.register_hook(seen.append)
        way(handle)
        way(handle)
        (x * x).backward()
    assert not seen


# Nets


X: Any = tg.Tensor([[1.0, -2.0], [3.0, -4.0]])
net: Any = nn  # given what its hints forbid
NETS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "std": (lambda: net.init.normal_(tg.zeros(3), 0.0, -1.0), OptionError, "normal_: std must be a number of 0"),
    "range": (lambda: net.init.uniform_(tg.zeros(3), 2.0, 1.0), OptionError, "uniform_: a must not be above b"),
    "gain": (lambda: net.init.xavier_uniform_(tg.zeros((3, 3)), "a"), OptionError, "xavier_uniform_: gain must be"),
    "slope": (lambda: net.init.kaiming_uniform_(tg.zeros((3, 3)), "a"), OptionError, "calculate_gain: the slope"),
    "groups": (lambda: net.init.dirac_(tg.zeros((3, 3, 3)), 0), OptionError, "dirac_: groups"),
    "init of nothing": (lambda: net.init.zeros_(None), DTypeError, "constant_: writes into a Tensor, not into None"),
    "init of an array": (lambda: net.init.normal_(np.zeros(3)), DTypeError, "normal_: writes .* not into ndarray"),
    "momentum": (lambda: net.BatchNorm1d(3, momentum="a"), OptionError, "BatchNorm1d: momentum .* got 'a'"),
    "eps": (lambda: net.LayerNorm(3, eps=-1), OptionError, "LayerNorm: eps must be a number of 0 or more, got -1"),
    "noise": (lambda: net.GaussianNoise(-1), OptionError, "GaussianNoise: std"),
    "noisy": (lambda: net.NoisyReLU(-1), OptionError, "NoisyReLU: std"),
    "dropout": (lambda: net.Dropout2d("a"), OptionError, "Dropout2d: p must be a probability"),
    "hardtanh": (lambda: net.Hardtanh(1, 0), OptionError, "Hardtanh: min_val must be below max_val, got 1 and 0"),
    "of functions": (lambda: net.functional.hardtanh(X, 1, 0), OptionError, "hardtanh: wants .* got 1 and 0"),
    "threshold": (lambda: net.Threshold("a", 1), OptionError, "Threshold: threshold must be a number, got 'a'"),
    "axis": (lambda: net.Softmax("a"), OptionError, "Softmax: dim is the number of an axis, not 'a'"),
    "variance": (lambda: net.functional.gaussian_nll_loss(X, X, -1.0), OptionError, "var must not be negative, .* -1"),
    "smoothing": (lambda: net.CrossEntropyLoss(label_smoothing=2), OptionError, "CrossEntropyLoss: label_smoothing"),
    "max_norm": (lambda: net.Embedding(3, 2, max_norm="a"), OptionError, "Embedding: max_norm"),
    "padding_idx": (lambda: net.Embedding(3, 2, padding_idx="a"), OptionError, "Embedding: padding_idx"),
    "no table": (lambda: net.Embedding.from_pretrained([[1.0]]), DTypeError, "table must be a Tensor, not list"),
    "classes": (lambda: net.functional.one_hot([1], "a"), OptionError, "one_hot: num_classes"),
    "mode": (lambda: net.ReLU().train("x"), OptionError, "ReLU.train: mode is True or False, not 'x'"),
    "apply": (lambda: net.ReLU().apply(3), DTypeError, "ReLU.apply: takes a function"),
    "no layers": (lambda: net.TransformerEncoder(net.TransformerEncoderLayer(4, 2), 0), OptionError, "num_layers must"),
    "a word for a layer": (lambda: net.TransformerEncoder("a", 2), DTypeError, "encoder_layer is a module"),
    "clip": (lambda: net.utils.clip_grad_norm_("a", 1.0), DTypeError, "clip_grad_norm_: takes Tensors, not str"),
    "clip a net": (lambda: net.utils.clip_grad_norm_(net.Linear(2, 2), 1.0), DTypeError, r"write its parameters\(\)"),
    "clip by a word": (lambda: net.utils.clip_grad_value_([X], "a"), OptionError, "clip_grad_value_: clip_value"),
    "names": (lambda: net.ModuleDict({1: net.ReLU()}), DTypeError, "ModuleDict: the name of a module is a string"),
    "pairs": (lambda: net.ModuleDict([1]), DTypeError, "ModuleDict: takes a dictionary, or pairs"),
    "no list": (lambda: net.ModuleList(3), DTypeError, "ModuleList: takes a list of modules, not int"),
    "a net for a list": (lambda: net.ModuleList(net.Linear(2, 2)), DTypeError, "takes a list of modules, not Linear"),
    "place": (lambda: net.Sequential().insert(3, net.ReLU()), IndexingError, "Sequential.insert: no place 3"),
    "place by name": (lambda: net.Sequential(net.ReLU())["a"], IndexingError, "found by its number, not by 'a'"),
    "a parameter": (lambda: net.ParameterList(["a"]), DTypeError, "a parameter is a Tensor of numbers, not str"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", NETS.values(), ids=NETS)
def test_nets_say_what_they_are_made_of(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


LAYERS: list[nn.Module] = [
    nn.Linear(2, 2), nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), nn.ReLU(), nn.PReLU(), nn.GELU(), nn.CELU(0.5),
    nn.GLU(), nn.Softmax(-1), nn.Softplus(2.0), nn.Hardshrink(), nn.Threshold(1, 1), nn.NoisyReLU(), nn.Maxout(2, 2),
    nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), nn.GaussianNoise(), nn.Flatten(), nn.BatchNorm1d(2),
    nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.InstanceNorm1d(2), nn.RMSNorm(2), nn.LocalResponseNorm(2),
    nn.Conv2d(1, 1, 1),
    nn.MaxPool2d(2), nn.RNN(2, 2), nn.LSTM(2, 2), nn.GRUCell(2, 2), nn.Embedding(2, 2), nn.PositionalEncoding(2),
    nn.TransformerEncoderLayer(2, 1),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("wrong", [None, "a"])
def test_layers_take_tensors(layer: nn.Module, wrong: Any) -> None:
    with pytest.raises(DTypeError, match=r"not (NoneType|None|str)|takes a Tensor"):
        layer(wrong)


def test_a_fault_in_a_users_forward_is_told_as_it_is() -> None:
    class Faulty(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.shapes

    for x in (X, None):
        with pytest.raises(AttributeError, match="'shapes'"):
            Faulty()(x)


LOSSES: list[Any] = [
    nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.HuberLoss(), nn.KLDivLoss(), nn.HingeEmbeddingLoss(),
    nn.SoftMarginLoss(), nn.BCELoss(), nn.BCEWithLogitsLoss(), nn.PoissonNLLLoss(), nn.NLLLoss(), nn.CrossEntropyLoss(),
    nn.MultiMarginLoss(),
]  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("wrong", [None, "a"])
def test_losses_take_tensors(loss: Any, wrong: Any) -> None:
    with pytest.raises(DTypeError, match="the input must be a Tensor"):
        loss(wrong, X)
    with pytest.raises(DTypeError, match="the target must be a Tensor"):
        loss(X, wrong)


# Messages


SHAPES: dict[str, tuple[Callable[[Make], Any], type[Exception], str]] = {
    "where": (
        lambda make: tg.where(make([True, False, True]), make([1.0, 2.0]), make([1.0, 2.0, 3.0])),
        ShapeError, "dimension -1 disagrees: condition has 3, a has 2, b has 3",
    ),
    "concat": (
        lambda make: tg.concat([make([[1.0]]), make([[1.0, 2.0]]), make([[3.0]])]),
        ShapeError, r"arrays\[1\] \[1, 2\] against arrays\[0\] \[1, 1\]",
    ),
    "stack": (
        lambda make: tg.stack([make([1.0]), make([1.0, 2.0])]),
        ShapeError, r"arrays\[1\] \[2\] against arrays\[0\] \[1\]",
    ),
    "reshape": (lambda make: make([1.0]).reshape("a"), DTypeError, "whole numbers"),
    "split": (lambda make: tg.split(make([1.0, 2.0]), 2, axis=3), IndexingError, "axis 3 is out of range"),
    "unstack": (lambda make: tg.unstack(make([1.0, 2.0]), axis=3), IndexingError, "axis 3 is out of range"),
    "gather": (lambda make: tg.gather(make([1.0]), [[0]], 0), ShapeError, r"gather: take_along_axis\("),
    "add_at": (lambda make: tg.add_at(make([1.0]), 1.0, index=[5]), IndexingError, "add_at: "),
    "index_add": (lambda make: tg.index_add(make([1.0]), [5], make([1.0]), 0), IndexingError, "index_add: "),
    "put_along_axis": (
        lambda make: tg.put_along_axis(make([1.0]), [5], 1.0, 0), IndexingError,
        r"put_along_axis: set_at\(.*int64 \[1\]",
    ),
    "scatter": (lambda make: tg.scatter(make([1.0]), [0], 1.0, 1), AxisError, "scatter: put_along_axis: axis 1"),
    "masked_fill": (lambda make: tg.masked_fill(make([1.0]), [True], "a"), DTypeError, "masked_fill: where: "),
    "clip": (lambda make: tg.clip(make([1.0, 2.0]), [1.0, 2.0, 3.0]), ShapeError, r"clip: greater_equal\("),
    "unique_all": (lambda make: tg.unique_all("a"), DTypeError, "unique_all: Tensor: "),
    "polygamma": (lambda make: tg.polygamma(1, make([1.0, 2.0])), OptionError, r"not an array of shape \(2,\)$"),
    "moveaxis": (lambda make: tg.moveaxis(make([[1.0]]), 5, 0), ShapeError, "moveaxis: axis 5"),
    "swapaxes": (lambda make: tg.swapaxes(make([[1.0]]), 0, -3), ShapeError, "swapaxes: axis -3"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", SHAPES.values(), ids=SHAPES)
def test_the_message_says_what_disagrees(call: Any, error: type[Exception], message: str, make: Make) -> None:
    with pytest.raises(error, match=message):
        call(make)


def test_what_is_shown() -> None:
    x = tg.Tensor([1.0, 2.0], True)
    assert repr(x) == "Tensor([1., 2.], dtype=float32, requires_grad=True)"
    assert "op=split" in repr(tg.split(x, 2)[0])
    assert "made by split" in tg.split(x, 2)[0]._repr_html_()
    assert repr(tg.zeros((0, 3))) == "Tensor([], shape=(0, 3), dtype=float32)"
    assert "0.35)'>-128<" in tg.Tensor(np.array([-128, 127], "i1"))._repr_html_()


@pytest.fixture
def undeclared() -> Iterator[Any]:
    """A user's operation without any rule."""

    def bare(xp, x):  # type: ignore[no-untyped-def]
        """y = eˣ"""
        return xp.exp(x)

    yield operations.elementwise(bare)
    del operations.registry["bare"]


def test_an_operation_without_rules_refuses_a_gradient(undeclared: Any, make: Make) -> None:
    x = make([0.0], True)
    with pytest.raises(OptionError, match=r"bare: declared elementwise.*@constant"):
        undeclared(x)
    with tg.no_grad():
        holds(undeclared(x), [1.0])
    holds(undeclared(make([0.0])), [1.0])
