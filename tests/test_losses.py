"""Losses against what PyTorch gave; CTC against the enumeration of all alignments; conventions and errors."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn
from tinygrad_mlsp.errors import DTypeError, Error, IndexingError, OptionError, ShapeError
from tinygrad_mlsp.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent / "evidence"))
import layers_reference as reference

RECORDED = reference.recorded()
LOSSES = [t for t, c in reference.CASES.items() if re.search("[Ll]oss|kl_div|entropy|similarity|distance", c.make)]


def leaf(data: Any, device: str) -> tg.Tensor:
    return tg.Tensor(np.asarray(data, float), requires_grad=True, device=device)


@pytest.mark.parametrize("title", LOSSES)
def test_equals_pytorch(title: str, device: str) -> None:
    """Value, gradients and 20 steps of gradient descent."""
    found = reference.plain(reference.account(reference.here(device), reference.CASES[title]))
    assert not reference.apart(found, RECORDED[title], reference.LOOSE.get(title, (1e-12,))[0])


def test_all_that_is_recorded_is_compared() -> None:
    assert list(RECORDED) == list(reference.CASES), "python tests/evidence/layers_reference.py (needs PyTorch)"


@pytest.mark.parametrize("part", ["value", "gradients", "losses"])
def test_the_comparison_sees_what_differs(part: str) -> None:
    title = "nn.HuberLoss()"
    found = reference.plain(reference.account(reference.here(), reference.CASES[title]))
    change = found[part] if part == "losses" else found[part][1] if part == "value" else found[part][0][1]
    change[-1] += 1e-10
    assert reference.apart(found, RECORDED[title], 1e-12)


# CTC


def read(path: Any, blank: int) -> list[int]:
    """What an alignment reads as."""
    return [k for k, _ in itertools.groupby(path) if k != blank]


def enumerated(p: Any, target: list[int], blank: int) -> tuple[float, Any]:
    """−ln of the summed probability of all alignments, and its gradient in the logarithms of p."""
    steps, classes = p.shape
    total, touched = 0.0, np.zeros_like(p)
    for path in itertools.product(range(classes), repeat=steps):
        if read(path, blank) == target:
            one = np.prod(p[np.arange(steps), list(path)])
            total += one
            touched[np.arange(steps), list(path)] += one
    return -np.log(total), -touched / total


TARGETS = ([1, 2], [1, 1], [], [2], [2, 1, 2], [1, 2, 2, 1][:2])


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_is_the_sum_over_all_alignments(blank: int, device: str) -> None:
    p = np.random.default_rng(3).dirichlet(np.ones(3), (5, len(TARGETS)))
    targets = [[(k + blank) % 3 for k in t] for t in TARGETS]
    lengths = [5, 5, 4, 1, 5, 3]
    logp = leaf(np.log(p), device)
    joined = np.array([k for t in targets for k in t])
    losses = F.ctc_loss(logp, joined, lengths, [len(t) for t in targets], blank, reduction="none")
    losses.sum().backward()
    assert logp.grad is not None
    for n, target in enumerate(targets):
        value, gradient = enumerated(p[: lengths[n], n], target, blank)
        np.testing.assert_allclose(losses.numpy()[n], value, rtol=1e-12)
        np.testing.assert_allclose(logp.grad.numpy()[: lengths[n], n], gradient, rtol=0, atol=1e-12)
        assert not logp.grad.numpy()[lengths[n] :, n].any()


def test_ctc_has_derivatives_of_every_order(device: str) -> None:
    x = tg.Tensor(np.random.default_rng(0).standard_normal((4, 1, 3)), device=device)
    loss = lambda x: F.ctc_loss(F.log_softmax(x, -1), [[1, 2]], [4], [2])
    tg.check(loss, x)
    H = tg.hessian(loss)(x).numpy().reshape(12, 12)
    np.testing.assert_allclose(H, H.T, atol=1e-14)
    step = 1e-5 * np.eye(12)[5].reshape(4, 1, 3)
    ends = [tg.grad(loss)(tg.Tensor(x.numpy() + s * step, device=device)).numpy().ravel() for s in (1, -1)]
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, H[5], atol=1e-9)


def test_ctc_of_what_does_not_fit(device: str) -> None:
    logp = leaf(np.log(np.full((2, 2, 3), 1 / 3)), device)
    losses = F.ctc_loss(logp, [[1, 1], [1, 2]], [2, 2], [2, 2], reduction="none")
    assert losses.numpy()[0] == np.inf and np.isclose(losses.numpy()[1], 2 * np.log(3))
    losses.sum().backward()
    assert logp.grad is not None and not logp.grad.numpy()[:, 0].any() and logp.grad.numpy()[:, 1].any()
    zero = F.ctc_loss(logp, [[1, 1], [1, 2]], [2, 0], [2, 2], reduction="none", zero_infinity=True)
    assert zero.numpy().tolist() == [0, 0]
    assert F.ctc_loss(logp, [[1, 1], [1, 2]], [0, 0], [0, 1], reduction="none").numpy().tolist() == [0, np.inf]


def test_ctc_over_many_steps_in_float32(device: str) -> None:
    x = np.random.default_rng(1).standard_normal((300, 2, 20))
    targets = np.random.default_rng(2).integers(1, 20, (2, 40))
    found = []
    for dtype in (np.float32, np.float64):
        logits = tg.Tensor(x, requires_grad=True, dtype=dtype, device=device)
        loss = F.ctc_loss(F.log_softmax(logits, -1), targets, [300, 250], [40, 33])
        loss.backward()
        assert loss.dtype == dtype and logits.grad is not None
        found.append((loss.item(), logits.grad.numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[1, 9]], [4], [2]), "classes 0 to 2"),
        (([[1, 2]], [5], [2]), "more steps than there are, 4"),
        (([[1, 2]], [4], [3]), r"target_lengths \[3\] do not fit"),
        (([1, 2], [4], [1]), r"target_lengths \[1\] do not fit"),
        (([[1, 2]], [4, 4], [2]), "input_lengths must be 1 whole"),
        (([[1.5, 2]], [4], [2]), "targets are whole numbers"),
    ],
)
def test_ctc_says_what_is_wrong(arguments: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        F.ctc_loss(tg.zeros((4, 1, 3)), *arguments)


# The rest


def test_a_wrong_certainty_costs_a_hundred_nats(device: str) -> None:
    x = leaf([0.0, 1.0, 0.5], device)
    losses = F.binary_cross_entropy(x, [1.0, 0.0, 1.0], reduction="none")
    np.testing.assert_allclose(losses.numpy(), [100, 100, np.log(2)])
    losses.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [-1e12, 1e12, -2])


def test_probabilities_and_logits_give_the_same_loss(device: str) -> None:
    x, t = leaf(reference.entries(7), device), reference.shares(7)
    np.testing.assert_allclose(
        nn.BCELoss()(tg.sigmoid(x), t).item(), nn.BCEWithLogitsLoss()(x, t).item(), rtol=1e-14
    )  # fmt: skip


def test_a_divergence_is_0_only_of_equals_and_batchmean_is_a_samples(device: str) -> None:
    p, q = reference.normal(3, 4), reference.normal(4, 3).T[:, :4]
    q = q / q.sum(-1, keepdims=True)
    here = tg.Tensor(np.log(p), device=device)
    assert abs(nn.KLDivLoss(reduction="batchmean")(here, tg.Tensor(p, device=device)).item()) < 1e-16
    want = np.sum(q * np.log(q / p)) / 3
    assert want > 0
    np.testing.assert_allclose(
        nn.KLDivLoss(reduction="batchmean")(here, tg.Tensor(q, device=device)).item(), want, rtol=1e-12
    )  # fmt: skip


def test_losses_refuse_what_does_not_fit() -> None:
    x = tg.ones((2, 3))
    for loss in (F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.kl_div, F.soft_margin_loss, F.binary_cross_entropy):
        with pytest.raises(ShapeError, match=rf"{loss.__name__}.*\[2, 4\]"):
            loss(x, tg.ones((2, 4)))
        with pytest.raises(OptionError, match="reduction"):
            loss(x, tg.ones((2, 3)), reduction="means")
    with pytest.raises(IndexingError, match="multi_margin_loss: the target has class 3"):
        F.multi_margin_loss(x, [0, 3])
    with pytest.raises(IndexingError, match="class -2"):
        F.multi_margin_loss(x, [0, -2])
    with pytest.raises(DTypeError, match="class numbers"):
        F.multi_margin_loss(x, x)
    with pytest.raises(OptionError, match="p is 1 or 2"):
        F.multi_margin_loss(x, [0, 1], p=3)
    with pytest.raises(OptionError, match="delta must be positive"):
        F.huber_loss(x, x, delta=0)
    with pytest.raises(ShapeError, match="gaussian_nll_loss: var"):
        F.gaussian_nll_loss(x, x, tg.ones((3,)))
    with pytest.raises(ShapeError, match="cosine_embedding_loss"):
        F.cosine_embedding_loss(x, x, [1, 1, 1])
    with pytest.raises(Error, match="triplet_margin_loss"):
        F.triplet_margin_loss(x, x, tg.ones((3,)))


def test_reprs_name_what_is_not_the_default() -> None:
    assert repr(nn.L1Loss()) == "L1Loss()"
    assert repr(nn.HuberLoss(reduction="sum", delta=0.5)) == "HuberLoss(delta=0.5, reduction='sum')"
    assert repr(nn.CTCLoss(blank=2)) == "CTCLoss(blank=2, zero_infinity=False)"


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_a_weight_an_entry(name: str, reduction: str, device: str) -> None:
    """PyTorch's mean is over the weights, but that of the Huber loss, which is over the entries."""
    rng = np.random.default_rng(0)
    x, t, w = rng.standard_normal((3, 4)) * 3, rng.standard_normal((3, 4)), rng.uniform(0.1, 2, (3, 4))
    d = x - t
    losses = {"mse_loss": d**2, "l1_loss": np.abs(d),
              "huber_loss": np.where(np.abs(d) < 1, d * d / 2, np.abs(d) - 0.5)}[name] * w  # fmt: skip
    size = 12 if name == "huber_loss" else w.sum()
    want = {"mean": losses.sum() / size, "sum": losses.sum(), "none": losses}[reduction]
    a, weight = leaf(x, device), leaf(w, device)
    y = getattr(F, name)(a, tg.Tensor(t, device=device), reduction=reduction, weight=weight)
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-12)
    y.sum().backward()
    assert a.grad is not None and weight.grad is not None
    with pytest.raises(ShapeError, match=rf"{name}: weight has shape \[4\]"):
        getattr(F, name)(a, a.detach(), weight=w[0])


OLDER = [(True, None, "mean"), (False, None, "sum"), (None, False, "none"), (None, True, "mean"), (False, True, "sum"),
         (False, False, "none")]  # fmt: skip


@pytest.mark.parametrize("size_average, reduce, reduction", OLDER)
def test_pytorchs_older_arguments(size_average: Any, reduce: Any, reduction: str) -> None:
    x, classes = tg.Tensor(np.random.default_rng(0).uniform(0.1, 0.9, (3, 4))), [0, 3, 1]
    older: dict[str, Any] = {"size_average": size_average, "reduce": reduce}
    calls: dict[str, tuple[Any, ...]] = {
        **dict.fromkeys(("mse", "l1", "smooth_l1", "soft_margin", "hinge_embedding", "poisson_nll"), (x, x / 2)),
        "multi_margin": (x, classes), "margin_ranking": (x, x / 2, x), "triplet_margin": (x, x / 2, x * 2),
        "cosine_embedding": (x, x / 2, [1, -1, 1]), "nll": (x, classes),
    }  # fmt: skip
    functions = {getattr(F, f"{name}_loss"): inputs for name, inputs in calls.items()}
    functions |= {F.cross_entropy: (x, classes), F.kl_div: (x, x), F.binary_cross_entropy: (x, x),
                  F.binary_cross_entropy_with_logits: (x, x)}  # fmt: skip
    for function, inputs in functions.items():
        with pytest.warns(FutureWarning, match=rf"{function.__name__}: .*write reduction='{reduction}'"):
            found = function(*inputs, **older)
        np.testing.assert_array_equal(found.numpy(), function(*inputs, reduction=reduction).numpy())
    for kind in (nn.MSELoss, nn.L1Loss, nn.BCELoss, nn.KLDivLoss, nn.CrossEntropyLoss, nn.TripletMarginLoss):
        with pytest.warns(FutureWarning, match=kind.__name__):
            assert kind(**older).reduction == reduction
    with pytest.warns(FutureWarning, match="CrossEntropyLoss"):
        assert nn.CrossEntropyLoss(None, size_average, -100, reduce).reduction == reduction  # in PyTorch's places


def test_what_is_no_probability_is_refused_and_what_is_one_costs_nothing(device: str) -> None:
    for reduction in ("mean", "none"):
        for wrong in ([0.5, 1.5], [-0.1, 0.5]):
            x = tg.Tensor(wrong, device=device)
            if device == "cpu":
                with pytest.raises(OptionError, match="binary_cross_entropy: the input must be probabilities"):
                    F.binary_cross_entropy(x, x * 0, reduction=reduction)
            else:  # not waited for
                assert np.isnan(F.binary_cross_entropy(x, x * 0, reduction=reduction).numpy()).any()
    ends = tg.Tensor([0.0, 1.0], device=device)
    assert F.binary_cross_entropy(ends, ends).item() == 0
    assert np.isnan(F.binary_cross_entropy(ends * float("nan"), ends).item())  # NaN is passed on


def test_losses_check_their_options_when_they_are_made() -> None:
    for kind in (nn.MSELoss, nn.L1Loss, nn.CrossEntropyLoss, nn.BCEWithLogitsLoss, nn.CTCLoss, nn.GaussianNLLLoss):
        with pytest.raises(OptionError, match=rf"{kind.__name__}: reduction is 'mean', 'sum' or 'none', not 'avg'"):
            kind(reduction="avg")
    with pytest.raises(OptionError, match="'none' or 'batchmean', not 'avg'"):
        nn.KLDivLoss(reduction="avg")
