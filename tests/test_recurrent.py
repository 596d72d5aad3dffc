"""Recurrent layers: against PyTorch's recorded figures, and both ways of going through time against each other;
packed sequences, truncated backpropagation, attention."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import holds, maker

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, viz
from tinygrad_mlsp.errors import DTypeError, OptionError, ShapeError
from tinygrad_mlsp.nn import functional as F
from tinygrad_mlsp.nn import utils
from tinygrad_mlsp.nn.utils import rnn
from tinygrad_mlsp.random import Generator

sys.path.insert(0, str(Path(__file__).parent / "evidence"))
import recurrent_reference as reference

RECORDED = json.loads(reference.DATA.read_text())["cases"]


def draw(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def fill(module: nn.Module, seed: int = 0) -> Any:
    for i, p in enumerate(module.parameters()):
        p.copy_(0.5 * draw(seed + i, *p.shape))
    return module


def _place(device: str) -> dict[str, Any]:
    return {"device": device, "dtype": np.float64}


def step_by_step(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(net, "_in_one", lambda: False)


# Against PyTorch


def test_every_case_is_recorded() -> None:
    assert list(RECORDED) == list(reference.CASES), "python tests/evidence/recurrent_reference.py"


@pytest.mark.parametrize("way", ["in one", "step by step"])
@pytest.mark.parametrize("name", reference.CASES)
def test_layers_are_pytorchs(name: str, way: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, want = reference.CASES[name], RECORDED[name]
    net = getattr(nn, case["kind"])(
        reference.INPUT, reference.HIDDEN, **case["options"], device=device, dtype=np.float64
    )
    assert {k: list(v.shape) for k, v in net.state_dict().items()} == want["parameters"]
    assert list(net.state_dict()) == list(want["parameters"])
    if way == "step by step":
        step_by_step(net, monkeypatch)
    make = maker(device)
    given: Any = reference.arrays(name, [(k, tuple(s)) for k, s in want["parameters"].items()])
    given["as"] = make
    for k, p in net.named_parameters():
        p.copy_(given[k])
    ran = reference.run(case, given, net, nn, lambda a: make(a, True))
    for k, found in ran["results"].items():
        holds(found, np.reshape(want[k], found.shape), tolerance=1e-9)
    leaves = {**ran["leaves"], **dict(net.named_parameters())}
    assert list(leaves) == list(want["gradients"])
    for k, leaf in leaves.items():
        holds(leaf.grad, np.reshape(want["gradients"][k], leaf.shape), tolerance=1e-9)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_cell_is_a_step_of_its_layer(kind: str, device: str) -> None:
    make, place = maker(device), _place(device)
    net, cell = fill(getattr(nn, kind)(2, 3, **place)), getattr(nn, kind + "Cell")(2, 3, **place)
    assert list(cell.state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    for p, q in zip(cell.parameters(), net.parameters(), strict=True):
        p.copy_(q.detach())
    x: Any = make(draw(7, 3, 2, 2))
    state: Any = None
    for t in range(3):
        state = cell(x[t], state)
    h = state[0] if kind == "LSTM" else state
    holds(h, net(x)[0][-1].numpy(), tolerance=1e-12)
    single = cell(x[0, 0])
    holds(single[0] if kind == "LSTM" else single, net(x[:1, 0])[0][0].numpy(), tolerance=1e-12)


# Both ways through time


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_one_operation_and_many_agree_to_rounding(kind: str, dtype: str, device: str) -> None:
    net = fill(getattr(nn, kind)(4, 5, 2, bidirectional=True, device=device, dtype=dtype))
    make = maker(device)
    found = []
    for traced in (False, True):
        x = make(draw(1, 20, 3, 4).astype(dtype), True)
        for p in net.parameters():
            p.grad = None
        if traced:
            with viz.trace() as seen:
                y, last = net(x)
                (y * y).sum().backward()
            scopes = {s for n in seen.graph().nodes for s in n.scope}
            assert {f"t={t}" for t in range(1, 21)} <= scopes
            assert not any("sequence" in n.op for n in seen.graph().nodes)
        else:
            y, last = net(x)
            (y * y).sum().backward()
        last = last if isinstance(last, tuple) else (last,)
        found.append([y, *last, x.grad, *[p.grad for p in net.parameters()]])
    for a, b in zip(*found, strict=True):
        assert a.dtype == dtype and a.shape == b.shape
        scale = float(abs(b).max())
        assert float(abs(a - b).max()) <= (1e-13 if dtype == "float64" else 1e-5) * scale


def test_without_a_trace_a_layer_is_one_operation() -> None:
    for net in (nn.RNN(2, 3), nn.LSTM(2, 3), nn.GRU(2, 3)):
        names = [n.op for n in viz.graph_of(net(tg.ones((6, 2, 2)))[0]).nodes]
        assert sum(name.endswith("_sequence") for name in names) == 1 and len(names) < 12


def test_the_positive_part_has_no_slope_at_zero(device: str) -> None:
    x = maker(device)(np.zeros((2, 1, 1)), True)
    weights = [maker(device)(np.ones((1, 1)), True) for _ in range(2)]
    h = tg.rnn_sequence([x, maker(device)(np.zeros((1, 1))), *weights], nonlinearity="relu")
    h.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[[0.0]], [[0.0]]]


def test_sequences_that_do_not_fit_are_refused() -> None:
    x, h, w, v = tg.ones((3, 2, 4)), tg.ones((2, 5)), tg.ones((5, 4)), tg.ones((5, 5))
    with pytest.raises(ShapeError, match=r"rnn_sequence: the shapes after x are .*\(5, 4\), \(5, 5\)"):
        tg.rnn_sequence([x, h, v, w])
    with pytest.raises(ShapeError, match=r"x is \[time, batch, features\]"):
        tg.rnn_sequence([x[0], h, w, v])
    with pytest.raises(
        ShapeError, match=r"sizes are 3 whole numbers that do not rise, from at most 2; got \[1, 2, 1\]"
    ):
        tg.rnn_sequence([x, h, w, v], sizes=(1, 2, 1))


def test_a_layer_without_values_knows_its_shapes() -> None:
    from tinygrad_mlsp.interpret import shapes

    found = shapes.cost(lambda x: shapes.like(nn.GRU(4, 6, bidirectional=True))(x)[0], shapes.spec((5, 3, 4)))
    assert found.shapes == ((5, 3, 12),) and found.flops > 5 * 3 * 2 * 2 * 18 * (4 + 6)


# Variants


def by_hand(x: Any, w: dict[str, Any], coupled: bool, size: int) -> Any:
    """A peephole LSTM with NumPy alone."""
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    h = c = np.zeros((x.shape[1], size))
    found = []
    for v in x:
        z = v @ w["weight_ih_l0"].T + h @ w["weight_hh_l0"].T + w["bias_ih_l0"] + w["bias_hh_l0"]
        parts = np.split(z, 3 if coupled else 4, axis=1)
        g = dict(zip("fuo" if coupled else "ifuo", parts, strict=True))
        see = lambda gate: w.get(f"weight_c{gate}_l0", 0.0)
        f = sigmoid(g["f"] + see("f") * c)
        i = 1 - f if coupled else sigmoid(g["i"] + see("i") * c)
        c = f * c + i * np.tanh(g["u"])
        h = sigmoid(g["o"] + see("o") * c) * np.tanh(c)
        found.append(h)
    return np.array(found)


@pytest.mark.parametrize(
    ("peephole", "coupled"), [(True, False), ("fo", False), ("i", False), (True, True), (False, True)]
)
def test_peepholes_and_coupled_gates(peephole: Any, coupled: bool, device: str) -> None:
    net = fill(nn.LSTM(2, 3, peephole=peephole, coupled=coupled, device=device, dtype=np.float64))
    seen = {True: "fo" if coupled else "ifo", False: ""}.get(peephole, peephole)
    assert [n for n in net.state_dict() if n.startswith("weight_c")] == [f"weight_c{g}_l0" for g in seen]
    assert net.weight_ih_l0.shape == (9 if coupled else 12, 2)
    w = {n: p.numpy() for n, p in net.named_parameters()}
    x = draw(5, 4, 2, 2)
    y, _ = net(maker(device)(x))
    holds(y, by_hand(x, w, coupled, 3), tolerance=1e-12)
    y.sum().backward()
    for name, p in net.named_parameters():
        direction = draw(11, *p.shape)
        moved = [by_hand(x, {**w, name: w[name] + s * direction}, coupled, 3).sum() for s in (1e-6, -1e-6)]
        np.testing.assert_allclose((p.grad.numpy() * direction).sum(), (moved[0] - moved[1]) / 2e-6, rtol=1e-6)
    cell = nn.LSTMCell(2, 3, peephole=peephole, coupled=coupled, device=device, dtype=np.float64)
    for p, q in zip(cell.parameters(), net.parameters(), strict=True):
        p.copy_(q.detach())
    holds(cell(maker(device)(x[0]))[0], by_hand(x[:1], w, coupled, 3)[0], tolerance=1e-12)


def test_what_is_no_variant_is_refused() -> None:
    wrong: Any
    for wrong in ("x", "ii", 3):
        with pytest.raises(OptionError, match="peephole is True, False, or some of the gates 'ifo'"):
            nn.LSTM(2, 3, peephole=wrong)
    with pytest.raises(OptionError, match="some of the gates 'fo'"):
        nn.LSTMCell(2, 3, peephole="i", coupled=True)
    with pytest.raises(OptionError, match="proj_size 3 must be smaller"):
        nn.LSTM(2, 3, proj_size=3)
    with pytest.raises(OptionError, match="GRU: dropout must be a number from 0 to 1"):
        nn.GRU(2, 3, dropout=1.5)
    assert repr(nn.LSTM(2, 3, bidirectional=True, dropout=0.5, peephole="f")) == (
        "LSTM(2, 3, dropout=0.5, bidirectional=True, peephole='f')"
    )


def test_states_of_the_wrong_shape_are_refused() -> None:
    x = tg.ones((4, 2, 3))
    with pytest.raises(ShapeError, match=r"GRU: h of a batch wants shape \[2, 2, 5\], got \[1, 2, 5\]"):
        nn.GRU(3, 5, bidirectional=True)(x, tg.ones((1, 2, 5)))
    with pytest.raises(ShapeError, match=r"LSTM: c of one sequence wants shape \[1, 5\], got \[1, 4\]"):
        nn.LSTM(3, 5)(x[:, 0], (tg.ones((1, 5)), tg.ones((1, 4))))
    with pytest.raises(ShapeError, match="the state is"):
        nn.LSTM(3, 5)(x, (tg.ones((1, 2, 5)),))


H = tg.zeros((2, 3))
nets: Any = nn  # given what its hints forbid
STATES: dict[str, tuple[Any, type[Exception], str]] = {
    "a word": (lambda x: nets.RNNCell(2, 3)(x, "a"), DTypeError, "RNNCell: h must be a Tensor, not str"),
    "a pair": (lambda x: nets.GRUCell(2, 3)(x, (H, H)), DTypeError, "GRUCell: h must be a Tensor, not tuple"),
    "one row": (lambda x: nets.GRUCell(2, 3)(x, H[:1]), ShapeError, r"GRUCell: .* the shape \[2, 3\], got \[1, 3\]"),
    "no pair": (lambda x: nets.LSTMCell(2, 3)(x, H), DTypeError, r"LSTMCell: the state is a pair .* got Tensor"),
    "half a pair": (lambda x: nets.LSTMCell(2, 3)(x, (H,)), ShapeError, "LSTMCell: the state is a pair .* tuple of 1"),
    "no c": (lambda x: nets.LSTMCell(2, 3)(x, (H, None)), DTypeError, "LSTMCell: c must be a Tensor, not NoneType"),
    "wide c": (lambda x: nets.LSTMCell(2, 3)(x, (H, tg.zeros((2, 4)))), ShapeError, r"LSTMCell: .* c .*got \[2, 4\]"),
    "no input": (lambda x: nets.LSTMCell(2, 3)(None), DTypeError, "LSTMCell: the input must be a Tensor, not NoneType"),
    "no sequence": (lambda x: nets.LSTM(2, 3)(None), DTypeError, "LSTM: the input must be a Tensor, not NoneType"),
    "a pair for a GRU": (lambda x: nets.GRU(2, 3)(x, (H, H)), DTypeError, "GRU: h must be a Tensor, not a tuple of 2"),
    "a number": (lambda x: nets.RNN(2, 3)(x, 3), DTypeError, "RNN: h must be a Tensor, not int"),
    "one for an LSTM": (lambda x: nets.LSTM(2, 3)(x, H), DTypeError, "LSTM: the state is a pair .* got Tensor"),
    "nothing for an LSTM": (lambda x: nets.LSTM(2, 3)(x, (None, H)), DTypeError, "LSTM: h must be a Tensor, not None"),
    "unroll": (lambda x: nets.GRU(2, 3).unroll(x, (H,)), DTypeError, "GRU: h must be a Tensor, not a tuple of 1"),
    "dropout": (lambda x: nets.GRU(2, 3, dropout="a"), OptionError, "GRU: dropout must be a number from 0 to 1"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", STATES.values(), ids=STATES)
def test_states_of_the_wrong_kind_are_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(tg.ones((2, 2)))


def test_the_functions_of_sequences_are_imported_as_in_pytorch() -> None:
    from tinygrad_mlsp.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    packed = pack_padded_sequence(tg.ones((3, 2, 1)), [3, 1])
    assert pad_packed_sequence(packed)[1].tolist() == [3, 1]
    nn.LSTM(2, 3).flatten_parameters()


def test_dropout_stands_between_the_layers(device: str) -> None:
    x = maker(device)(draw(0, 5, 2, 3))
    net = fill(nn.GRU(3, 4, 2, dropout=0.5, device=device, dtype=np.float64, generator=Generator(1)))
    whole = net.eval()(x)[0].numpy()
    holds(net(x)[0], whole)
    assert np.abs(net.train()(x)[0].numpy() - whole).max() > 1e-3
    net.dropout = 1.0
    y, last = net(x)
    net.eval()
    holds(last[0], net(x)[1][0].numpy())  # below nothing is dropped
    zero = net.train()(0 * x + 1)[0]
    holds(y, zero.numpy())  # above nothing arrives


# Packed sequences


def test_packing_and_unpacking(device: str) -> None:
    make = maker(device)
    x = make(np.arange(12.0).reshape(4, 3), True)  # time, batch
    packed: Any = rnn.pack_padded_sequence(x, [2, 4, 1], enforce_sorted=False)
    assert packed.data.tolist() == [1, 0, 2, 4, 3, 7, 10] and packed.batch_sizes.tolist() == [3, 2, 1, 1]
    assert packed.sorted_indices.tolist() == [1, 0, 2] and packed.unsorted_indices.tolist() == [1, 0, 2]
    padded, lengths = rnn.pad_packed_sequence(packed, padding_value=-1.0)
    assert lengths.tolist() == [2, 4, 1]
    assert padded.tolist() == [[0, 1, 2], [3, 4, -1], [-1, 7, -1], [-1, 10, -1]]
    (padded * padded).sum().backward()
    there = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 0], [0, 1, 0]])
    holds(x.grad, 2 * np.arange(12.0).reshape(4, 3) * there)

    padded, _ = rnn.pad_packed_sequence(packed, batch_first=True, total_length=5)
    assert padded.shape == (3, 5) and padded[1].tolist() == [1, 4, 7, 10, 0]
    assert [s.tolist() for s in rnn.unpack_sequence(packed)] == [[0, 3], [1, 4, 7, 10], [2]]
    falling = rnn.pack_padded_sequence(x.T, make([4, 2, 2], dtype="int64"), batch_first=True)
    assert falling.sorted_indices is None and falling.data.tolist() == [0, 1, 2, 3, 4, 5, 6, 9]
    inverse: Any = rnn.invert_permutation(make([2, 0, 1], dtype="int64"))
    assert inverse.tolist() == [1, 2, 0]


def test_padding_a_list(device: str) -> None:
    parts = [maker(device)(draw(i, n, 2), True) for i, n in enumerate((2, 3, 1))]
    right = rnn.pad_sequence(parts, padding_value=9.0)
    left = rnn.pad_sequence(parts, batch_first=True, padding_side="left")
    assert right.shape == (3, 3, 2) and left.shape == (3, 3, 2)
    holds(right[:2, 0], parts[0].numpy())
    assert (right[2, 0].numpy() == 9).all() and (left[2, :2].numpy() == 0).all()
    holds(left[2, 2:], parts[2].numpy())
    for a, b in zip(rnn.unpad_sequence(right, [2, 3, 1]), parts, strict=True):
        holds(a, b.numpy())
    for a, b in zip(rnn.unpack_sequence(rnn.pack_sequence(parts, enforce_sorted=False)), parts, strict=True):
        holds(a, b.numpy())
    (right * right).sum().backward()
    for p in parts:
        holds(p.grad, 2 * p.numpy())


def test_packing_refuses_what_does_not_fit() -> None:
    x = tg.ones((4, 3, 2))
    with pytest.raises(OptionError, match=r"\[1, 2, 3\] are not in falling order; pass enforce_sorted=False"):
        rnn.pack_padded_sequence(x, [1, 2, 3])
    for lengths in ([4, 2], [4, 0, 1], [5, 2, 1]):
        with pytest.raises(ShapeError, match="wants 3 lengths from 1 to 4"):
            rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    with pytest.raises(OptionError, match="total_length is 2, the longest sequence has 4 steps"):
        rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [4, 2, 1]), total_length=2)
    with pytest.raises(ShapeError, match="pad_sequence"):
        rnn.pad_sequence([tg.ones((2, 3)), tg.ones((2, 4))])
    with pytest.raises(OptionError, match="padding_side"):
        rnn.pad_sequence([tg.ones((2, 3))], padding_side="middle")
    with pytest.raises(ShapeError, match="packed data"):
        nn.RNN(5, 3)(rnn.pack_padded_sequence(x, [4, 2, 1]))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_each_packed_sequence_is_as_by_itself(kind: str, device: str) -> None:
    net = fill(getattr(nn, kind)(2, 3, 2, bidirectional=True, device=device, dtype=np.float64))
    parts = [maker(device)(draw(i, n, 2)) for i, n in enumerate((2, 5, 1, 5))]
    outputs, last = net(rnn.pack_sequence(parts, enforce_sorted=False))
    last = last if isinstance(last, tuple) else (last,)
    for b, (part, found) in enumerate(zip(parts, rnn.unpack_sequence(outputs), strict=True)):
        alone, end = net(part)
        holds(found, alone.numpy(), tolerance=1e-12)
        for a, e in zip(last, end if isinstance(end, tuple) else (end,), strict=True):
            holds(a[:, b], e.numpy(), tolerance=1e-12)


def test_a_packed_batch_can_be_cut_in_time(device: str) -> None:
    net = fill(nn.LSTM(2, 3, device=device, dtype=np.float64))
    packed = rnn.pack_sequence([maker(device)(draw(i, n, 2), True) for i, n in enumerate((5, 3, 3, 1))])
    whole, (h, _) = net(packed)
    parts, (last, _) = net(packed, detach_every=2)
    holds(parts.data, whole.data.numpy(), tolerance=1e-12)
    holds(last, h.numpy(), tolerance=1e-12)


# Truncated backpropagation through time


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_cut_lets_no_gradient_through(kind: str, device: str) -> None:
    net = fill(getattr(nn, kind)(2, 3, device=device, dtype=np.float64))
    x = maker(device)(draw(0, 10, 2, 2), True)

    def reach(every: int | None) -> list[float]:
        x.grad = None
        net(x, detach_every=every)[0][-1].sum().backward()
        return [float(abs(x.grad[t]).max()) for t in range(10)]

    whole, cut = net(x)[0].numpy(), net(x, detach_every=4)[0]
    holds(cut, whole, tolerance=1e-12)
    assert min(reach(None)) > 0
    found = reach(4)  # windows 0–3, 4–7, 8–9
    assert found[:8] == [0.0] * 8 and min(found[8:]) > 0

    # In a trace the cuts are there to see, and the gradient of every h_t behind one is exactly 0.
    x.grad = None
    with viz.trace() as seen:
        states = net.unroll(x, detach_every=4)
        hs = [s[0] if kind == "LSTM" else s for s in states]
        for h in hs:
            h.retain_grad()
        hs[-1].sum().backward()
    norms = [float(abs(h.grad).max()) for h in hs]
    assert norms[:8] == [0.0] * 8 and min(norms[8:]) > 0
    assert [float(abs(x.grad[t]).max()) for t in range(10)] == pytest.approx(found, rel=1e-12)
    graph = seen.graph()
    cuts = {n.id for n in graph.nodes if n.op == "cut"}
    assert len(cuts) == 2 * (2 if kind == "LSTM" else 1)
    assert all(e.norm == 0.0 for e in graph.edges if e.target in cuts)
    assert "cut" in graph.text() and graph.dot().count("dashed,filled") == len(cuts)


def test_without_a_trace_what_is_behind_a_cut_is_let_go() -> None:
    net = nn.RNN(2, 3)
    hs = net.unroll(tg.ones((6, 1, 2)), detach_every=3)
    for h in hs:
        h.retain_grad()
    hs[-1].sum().backward()
    assert [h.grad is None for h in hs] == [True, True, True, False, False, False]


@pytest.mark.parametrize(("k1", "k2"), [(3, 3), (2, 5), (3, 4), (1, 10), (20, 20)])
@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_windows_whose_gradient_goes_further_back(kind: str, k1: int, k2: int, device: str) -> None:
    net = fill(getattr(nn, kind)(2, 3, batch_first=True, device=device, dtype=np.float64))
    x = maker(device)(draw(0, 2, 10, 2), True)
    whole, end = net(x)
    start = 0
    last: Any = None
    for outputs, state in utils.truncated(net, x, k1=k1, k2=k2):
        last = state
        stop = start + outputs.shape[1]
        assert stop == min(start + k1, 10)
        holds(outputs, whole[:, start:stop].numpy(), tolerance=1e-12)
        x.grad = None
        outputs[:, -1].sum().backward()
        norms = [float(abs(x.grad[:, t]).max()) for t in range(10)]
        first = max(0, stop - k2)
        assert norms[:first] == [0.0] * first and min(norms[first:stop]) > 0 and norms[stop:] == [0.0] * (10 - stop)
        start = stop
    assert start == 10
    for a, b in zip(last if kind == "LSTM" else (last,), end if kind == "LSTM" else (end,), strict=True):
        holds(a, b.numpy(), tolerance=1e-12)


def test_truncated_training_has_the_gradient_of_its_windows(device: str) -> None:
    """k₁ = 2, k₂ = 3: each loss of the last two steps of three, the state before them held."""
    net = fill(nn.GRU(2, 3, device=device, dtype=np.float64))
    x = maker(device)(draw(0, 6, 2, 2))
    for outputs, _ in utils.truncated(net, x, k1=2, k2=3):
        (outputs * outputs).sum().backward()
    found = [p.grad.numpy().copy() for p in net.parameters()]
    for p in net.parameters():
        p.grad = None
    for first, stop in ((0, 2), (1, 4), (3, 6)):
        state = net(x[:first])[1].detach() if first else None
        outputs = net(x[first:stop], state)[0][-2:]
        (outputs * outputs).sum().backward()
    for a, p in zip(found, net.parameters(), strict=True):
        holds(p.grad, a, tolerance=1e-12)


def test_truncation_refuses_what_makes_no_sense() -> None:
    both = nn.RNN(2, 3, bidirectional=True)
    with pytest.raises(OptionError, match="both ways"):
        both(tg.ones((4, 1, 2)), detach_every=2)
    with pytest.raises(OptionError, match="knows the future"):
        next(utils.truncated(both, tg.ones((4, 1, 2)), k1=2))
    with pytest.raises(OptionError, match="detach_every must be a whole number"):
        nn.RNN(2, 3)(tg.ones((4, 1, 2)), detach_every=0)
    with pytest.raises(OptionError, match="wants 1 ≤ k1 ≤ k2, got k1=3, k2=2"):
        next(utils.truncated(nn.RNN(2, 3), tg.ones((4, 1, 2)), k1=3, k2=2))
    with pytest.raises(OptionError, match="unroll"):
        both.unroll(tg.ones((4, 1, 2)))


# Attention


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


@pytest.mark.parametrize("kind", ["additive", "dot", "general"])
def test_attention(kind: str, device: str) -> None:
    make, place = maker(device), _place(device)
    layer: Any = {
        "additive": lambda: nn.AdditiveAttention(3, 4, 5, **place),
        "dot": lambda: nn.DotAttention(),
        "general": lambda: nn.DotAttention(3, 4, **place),
    }[kind]()
    fill(layer)
    width = 3 if kind == "dot" else 4
    q, k, v = draw(0, 2, 6, 3), draw(1, 2, 5, width), draw(2, 2, 5, 2)
    mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 1]], bool)

    def score(q: Any, k: Any) -> float:
        if kind == "additive":
            inner = np.tanh(layer.query.weight.numpy() @ q + layer.key.weight.numpy() @ k)
            return float((layer.score.weight.numpy() @ inner)[0])
        return float(q @ (k if kind == "dot" else layer.key.weight.numpy() @ k))

    weights = np.zeros((2, 6, 5))
    for b in range(2):
        for i in range(6):
            scores = np.array([score(q[b, i], k[b, j]) for j in range(5)])
            weights[b, i, mask[b]] = softmax(scores[mask[b]])
    found, a = layer(make(q), make(k), make(v), make(mask))
    holds(a, weights, tolerance=1e-12)
    holds(found, weights @ v, tolerance=1e-12)
    one, a = layer(make(q[:, 2]), make(k), make(v), make(mask))
    holds(one, (weights @ v)[:, 2], tolerance=1e-12)
    assert a.shape == (2, 5) and layer(make(q), make(k))[0].shape == (2, 6, width)

    blind, a = layer(make(q), make(k), mask=make(np.zeros((2, 5), bool)))
    assert (blind.numpy() == 0).all() and (a.numpy() == 0).all()
    wanted: Any = [make(q, True), make(k, True), make(v, True)]
    y = layer(*wanted, make(mask))[0]
    (y * y).sum().backward()
    assert (wanted[1].grad.numpy()[~mask] == 0).all() and (wanted[2].grad.numpy()[~mask] == 0).all()
    if device == "cpu":
        assert tg.check(lambda q, k, v: layer(q, k, v, make(mask))[0].sum(axis=(0, 1)), *wanted, elements="projection")


def test_dot_attention_is_scaled_dot_product_attention_without_the_scale() -> None:
    q, k = tg.Tensor(draw(0, 2, 3, 4)), tg.Tensor(draw(1, 2, 5, 4))
    holds(nn.DotAttention()(q, k)[0], F.scaled_dot_product_attention(q, k, k, scale=1.0).numpy(), tolerance=1e-12)


def test_attention_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="DotAttention: wants queries"):
        nn.DotAttention()(tg.ones((2, 3)), tg.ones((3, 4, 3)))
    with pytest.raises(ShapeError, match=r"the mask is \[2, 4\]"):
        nn.DotAttention()(tg.ones((2, 3)), tg.ones((2, 4, 3)), mask=tg.ones((4, 2)) > 0)
    with pytest.raises(ShapeError, match="give both"):
        nn.DotAttention(3)
