"""Padding, decoders, bags, distances, sampling, unpooling and labels: PyTorch's figures; and PyTorch's names."""

from __future__ import annotations

import copy
import functools
import json
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import holds

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim
from tinygrad_mlsp.errors import DTypeError, IndexingError, OptionError, ShapeError
from tinygrad_mlsp.nn import functional as F
from tinygrad_mlsp.nn import utils
from tinygrad_mlsp.random import Generator

sys.path.insert(0, str(Path(__file__).parent / "evidence"))
import more_layers_reference as reference

RECORDED = reference.recorded()


def leaf(data: Any, device: str = "cpu") -> tg.Tensor:
    return tg.Tensor(np.asarray(data, float), requires_grad=True, device=device)


@pytest.mark.parametrize("title", reference.CASES)
def test_equals_pytorch(title: str, device: str) -> None:
    """Value, gradients, keys of the state, some through 20 steps of gradient descent."""
    assert not reference.differences(title, RECORDED["cases"][title], device)


def test_what_is_recorded_is_what_is_compared() -> None:
    assert list(RECORDED["cases"]) == list(reference.CASES)


def test_every_name_of_pytorchs_is_here_or_listed_as_absent() -> None:
    names = json.loads(reference.NAMES.read_text(encoding="utf-8"))
    assert names.pop("version") == RECORDED["version"] and sum(map(len, names.values())) > 300
    page = (Path(__file__).parents[1] / "docs" / "torch_names.md").read_text(encoding="utf-8")
    listed: dict[str, list[str]] = {room: [] for room in names}
    for room, absent in re.findall(r"^\| `([\w.]+)` \| ((?:`\w+` ?)+) \|", page, re.M):
        listed[room] += re.findall(r"`(\w+)`", absent)
    for room, theirs in names.items():
        mine = functools.reduce(getattr, room.split("."), tg)
        absent = listed[room]
        assert len(set(absent)) == len(absent) and set(absent) <= set(theirs), room
        assert [name for name in theirs if not hasattr(mine, name)] == sorted(absent), room
    assert len(re.findall(r"^\| `", page, re.M)) == len(re.findall(r"^\| `[\w.]+` \| (?:`\w+` ?)+ \|", page, re.M))


# Borders


def test_borders_refuse_what_they_cannot_do(device: str) -> None:
    x = tg.ones((1, 2, 3), device=device)
    with pytest.raises(OptionError, match=r"ZeroPad2d: padding is a whole number, or 4 of them.*\(1, 2, 3\)"):
        nn.ZeroPad2d((1, 2, 3))
    with pytest.raises(OptionError, match="ReflectionPad1d: padding"):
        nn.ReflectionPad1d(1.5)
    with pytest.raises(ShapeError, match=r"'reflect' has no 3 entries before .* length 3"):
        nn.ReflectionPad1d((3, 0))(x)
    with pytest.raises(ShapeError, match=r"ReplicationPad2d: wants \[batch, channels, height, width\].*\[3\]"):
        nn.ReplicationPad2d(1)(x[0, 0])
    with pytest.raises(ShapeError, match="cuts off more"):
        nn.ZeroPad1d((-2, -2))(x)
    assert repr(nn.ConstantPad1d(2, 0.5)) == "ConstantPad1d(padding=(2, 2), value=0.5)"
    assert repr(nn.CircularPad2d((1, 2, 3, 4))) == "CircularPad2d((1, 2, 3, 4))"


# Transformers


def test_a_causal_decoder_does_not_look_ahead(device: str) -> None:
    net = nn.Transformer(8, 2, 1, 2, 16, 0.1, batch_first=True, generator=Generator(0)).to(device).eval()
    src, tgt = (tg.Tensor(np.random.default_rng(i).normal(size=(2, 5, 8)), dtype=np.float32) for i in (0, 1))
    src, tgt = src.to(device), tgt.to(device)
    mask = nn.Transformer.generate_square_subsequent_mask(5, device)
    y = net(src, tgt, tgt_mask=mask, tgt_is_causal=True)
    holds(net(src, tgt, tgt_is_causal=True), y.numpy())  # the mask may be left out
    holds(net(src, tgt[:, :3], tgt_mask=mask[:3, :3]), y[:, :3].numpy(), tolerance=1e-5)
    assert np.abs((net(src, tgt) - y).numpy()[:, 0]).max() > 1e-3
    first, second = net.decoder.layers
    assert not np.array_equal(first.linear1.weight.numpy(), second.linear1.weight.numpy())  # drawn each for itself
    again = nn.Transformer(8, 2, 1, 2, 16, 0.1, batch_first=True).to(device).eval()
    again.load_state_dict(net.state_dict())
    holds(again(src, tgt), net(src, tgt).numpy())
    holds(copy.deepcopy(net)(src, tgt), net(src, tgt).numpy())
    assert np.abs((net.train()(src, tgt) - y).numpy()).max() > 1e-3  # dropout
    with pytest.raises(ShapeError, match=r"Transformer: .*batch on axis 0.*\[2, 5, 8\] and \[3, 5, 8\]"):
        net(src, tg.ones((3, 5, 8), device=device))
    with pytest.raises(ShapeError, match="d_model=8"):
        net(src, tg.ones((2, 5, 6), device=device))
    with pytest.raises(OptionError, match="TransformerDecoderLayer: activation"):
        nn.TransformerDecoderLayer(4, 2, activation="swish")
    with pytest.raises(OptionError, match="TransformerDecoder: num_layers"):
        nn.TransformerDecoder(first, 0)
    for make, why in ((lambda: nn.TransformerDecoder(3, 2), "decoder_layer is a module"),
                      (lambda: nn.TransformerDecoder(first, 2, 3), "norm is a module or None, not 3"),
                      (lambda: nn.Transformer(8, 2, custom_decoder=3), "custom_decoder is a module")):  # fmt: skip
        with pytest.raises(DTypeError, match=why):
            make()


# Draws


def test_feature_alpha_dropout_equals_pytorchs_for_its_mask(device: str) -> None:
    drawn = RECORDED["feature_alpha_dropout"]
    mask = tg.Tensor(np.array(drawn["mask"])[:, :, :1], device=device)
    layer = nn.FeatureAlphaDropout(0.4)
    holds(layer(leaf(drawn["x"], device), mask), drawn["y"], tolerance=1e-14)
    layer = nn.FeatureAlphaDropout(0.4, generator=Generator(3))
    x = tg.Tensor(np.random.default_rng(0).normal(size=(4000, 2, 3)), device=device)
    y = layer(x).numpy()
    values, counts = np.unique(y, return_counts=True)
    low = y == values[counts.argmax()]
    assert (low == low[:, :, :1]).all() and abs(low.mean() - 0.4) < 0.02  # whole channels are dropped
    np.testing.assert_allclose([y.mean(), y.var()], [0, 1], atol=0.05)
    assert layer.eval()(x) is x
    with pytest.raises(OptionError, match="probability"):
        nn.FeatureAlphaDropout(1.5)
    with pytest.raises(ShapeError, match=r"\[batch, channels, …\]"):
        F.feature_alpha_dropout(tg.ones((3,)), 0.5, True)


def test_gumbel_softmax_draws_classes_with_their_probabilities(device: str) -> None:
    p = np.array([0.1, 0.6, 0.3])
    logits = tg.Tensor(np.broadcast_to(np.log(p), (20_000, 3)).copy(), device=device)
    y = F.gumbel_softmax(logits, tau=0.5, hard=True, generator=Generator(0)).numpy()
    assert set(np.round(y.reshape(-1), 12)) == {0.0, 1.0} and np.allclose(y.sum(1), 1)
    np.testing.assert_allclose(y.mean(0), p, atol=0.01)
    with pytest.raises(OptionError, match="tau must be positive"):
        F.gumbel_softmax(logits, tau=0)


def test_activations_written_into_their_input(device: str) -> None:
    for name, more in (("relu", ()), ("leaky_relu", (0.3,)), ("elu", (0.5,)), ("selu", ()), ("celu", (0.5,)),
                       ("hardtanh", (-0.5, 0.7)), ("threshold", (0.1, -3.0)), ("rrelu", (0.2, 0.4))):  # fmt: skip
        x, y = leaf([-1.0, 0.4, 2.0], device), leaf([-1.0, 0.4, 2.0], device)
        held = x * 1.0
        assert getattr(F, name + "_")(held, *more) is held
        wanted = getattr(F, name)(y, *more)
        holds(held, wanted.numpy(), tolerance=0)
        held.sum().backward()
        wanted.sum().backward()
        holds(x.grad, y.grad.numpy(), tolerance=0)


def test_rrelu_draws_its_slopes(device: str) -> None:
    layer, x = nn.RReLU(0.1, 0.3, generator=Generator(0)), leaf(-np.ones(20_000), device)
    y = layer(x)
    y.sum().backward()
    drawn = -y.numpy()
    assert 0.1 <= drawn.min() < 0.1001 and 0.2999 < drawn.max() < 0.3 and abs(drawn.mean() - 0.2) < 0.002
    holds(x.grad, drawn)
    holds(F.rrelu(leaf([-2.0, 3.0], device), training=True, slopes=leaf([0.5, 0.5], device)), [-1, 3])
    with pytest.raises(OptionError, match="lower must not be above upper"):
        nn.RReLU(0.4, 0.3)


# Bags, pairs, images, labels


def test_bags_refuse_what_they_cannot_do(device: str) -> None:
    weight, numbers = tg.ones((4, 2), device=device), tg.Tensor(np.array([0, 1, 3]), device=device)
    for offsets in (None, [1, 2], [0, 4], [0, 2, 1]):
        with pytest.raises(ShapeError, match="offsets that begin with 0"):
            F.embedding_bag(numbers, weight, offsets)
    with pytest.raises(IndexingError, match="index 4 is not one of 0 to 3"):
        F.embedding_bag(numbers + 1, weight, [0])
    with pytest.raises(OptionError, match="mode='sum'"):
        F.embedding_bag(numbers, weight, [0], per_sample_weights=tg.ones((3,), device=device))
    with pytest.raises(OptionError, match="'sum', 'mean' or 'max', not 'min'"):
        nn.EmbeddingBag(4, 2, mode="min")
    with pytest.raises(OptionError, match="sparse"):
        nn.EmbeddingBag(4, 2, sparse=True)
    layer = nn.EmbeddingBag.from_pretrained(weight, mode="sum")
    holds(layer(numbers, tg.Tensor(np.array([0, 0, 3]), device=device)), [[0, 0], [3, 3], [0, 0]])
    assert not layer.weight.requires_grad and repr(layer) == "EmbeddingBag(4, 2, mode='sum')"
    holds(F.embedding_bag(numbers[:0], weight, [0, 0], mode="max"), np.zeros((2, 2)))


def test_unpooling_overlapping_windows_counts_each_place_once(device: str) -> None:
    x = leaf([[[1.0, 3.0, 2.0, 0.0]]], device)
    y = F.max_unpool1d(*F.max_pool1d(x, 2, 1, return_indices=True), 2, 1)
    holds(y, [[[0, 3, 2, 0]]])
    y.sum().backward()
    holds(x.grad, [[[0, 1, 1, 0]]])
    values, places = F.max_pool1d(x, 2, return_indices=True)
    with pytest.raises(IndexingError, match="index 9 is not one of 0 to 3"):
        F.max_unpool1d(values, places + 7, 2)
    with pytest.raises(OptionError, match=r"output_size=\(9,\) must be nearer to \(4,\)"):
        F.max_unpool1d(values, places, 2, output_size=(9,))
    with pytest.raises(DTypeError, match="return_indices=True"):
        F.max_unpool1d(values, values, 2)
    with pytest.raises(ShapeError, match="indices have shape"):
        F.max_unpool1d(values, places[..., :1], 2)
    with pytest.raises(OptionError, match="norm_type"):
        nn.LPPool1d(0, 2)(x)


def test_sampling_refuses_what_it_cannot_do(device: str) -> None:
    x, grid = tg.ones((1, 2, 3, 3), device=device), tg.zeros((1, 2, 2, 2), device=device)
    for options, why in (({"mode": "cubic"}, "not 'cubic'"), ({"padding_mode": "edge"}, "not 'edge'")):
        with pytest.raises(OptionError, match=why):
            F.grid_sample(x, grid, **options)
    with pytest.raises(ShapeError, match=r"\[1, 2, 3, 3\] and \[1, 2, 2\]"):
        F.grid_sample(x, grid[0][None, ..., 0])
    with pytest.raises(DTypeError, match="one dtype"):
        F.grid_sample(x, grid.astype("float64"))
    with pytest.raises(ShapeError, match="affine_grid: wants theta"):
        F.affine_grid(tg.ones((2, 2, 2), device=device), (2, 1, 3, 3))
    with pytest.raises(ShapeError, match="in 4 equal groups"):
        F.channel_shuffle(x, 4)
    nowhere = F.grid_sample(x, grid * float("nan"), mode="nearest")
    holds(nowhere, np.zeros((1, 2, 2, 2)))
    with pytest.raises(ShapeError, match="bilinear: wants"):
        nn.Bilinear(3, 2, 4)(tg.ones((5, 3)), tg.ones((5, 3)))
    with pytest.raises(IndexingError, match="from 0 to 2"):
        F.multilabel_margin_loss(tg.ones((3,), device=device), tg.Tensor(np.array([3, -1, 0]), device=device))
    with pytest.raises(DTypeError, match="class numbers"):
        F.multilabel_margin_loss(tg.ones((3,), device=device), tg.ones((3,), device=device))


# Utilities


def test_spectral_norm_finds_the_largest_singular_value(device: str) -> None:
    layer = utils.spectral_norm(nn.Linear(6, 4, generator=Generator(1)), n_power_iterations=50, generator=Generator(0))
    layer.double().to(device)
    W = layer.weight_orig.numpy()
    assert [*layer.state_dict()] == ["bias", "weight_orig", "weight_u", "weight_v"]
    x = tg.Tensor(np.random.default_rng(0).normal(size=(3, 6)), device=device)
    y = layer(x)
    holds(layer.weight, W / np.linalg.svd(W)[1][0], tolerance=1e-9)
    u = layer.weight_u.numpy()
    layer.eval()(x)
    holds(layer.weight_u, u, tolerance=0)  # only training goes on
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        holds(twin(x), y.numpy(), tolerance=1e-9)
    first, second = layer.train()(x), layer(x)  # both can be differentiated: nothing is written over
    (first.sum() - second.sum()).backward()
    with pytest.raises(OptionError, match="already"):
        utils.spectral_norm(layer)
    plain = utils.remove_spectral_norm(layer)
    assert type(plain) is nn.Linear and sorted(plain.state_dict()) == ["bias", "weight"]
    holds(plain(x), y.numpy(), tolerance=1e-9)
    with pytest.raises(OptionError, match="has no spectral norm"):
        utils.remove_spectral_norm(plain)
    with pytest.raises(OptionError, match="n_power_iterations"):
        utils.spectral_norm(plain, n_power_iterations=0)
    with pytest.raises(OptionError, match="no parameter 'kernel'"):
        utils.spectral_norm(plain, "kernel")


def test_parameters_and_gradients_as_one(device: str) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).to(device)
    vector = utils.parameters_to_vector(model.parameters())
    assert vector.shape == (13,)
    (vector * tg.Tensor(np.arange(13.0), dtype=np.float32, device=device)).sum().backward()
    np.testing.assert_array_equal(model[0].bias.grad.numpy(), [6, 7, 8])
    parameters = list(model.parameters())
    total = utils.get_total_norm([p.grad for p in parameters])
    np.testing.assert_allclose(total.numpy(), np.sqrt((np.arange(13.0) ** 2).sum()))
    utils.clip_grads_with_norm_(parameters, 1.0, total)
    np.testing.assert_allclose(utils.clip_grad_norm_(parameters, 9.0, foreach=True).numpy(), 1, rtol=1e-6)
    utils.vector_to_parameters(tg.Tensor(np.arange(13.0), dtype=np.float32, device=device), parameters)
    np.testing.assert_array_equal(model[1].weight.numpy(), [[9, 10, 11]])
    with pytest.raises(ShapeError, match=r"shape \[13\].*got shape \[12\]"):
        utils.vector_to_parameters(vector[1:], parameters)
    with pytest.raises(OptionError, match="no parameters"):
        utils.parameters_to_vector([])


# Optimizers, schedules, averages


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "RMSprop", "Adadelta", "Rprop", "ASGD",
             "Adafactor"],
)  # fmt: skip
def test_optimizers_take_or_refuse_pytorchs_keywords(name: str) -> None:
    make, p = getattr(optim, name), nn.Parameter([1.0])
    optimizer = make([p], foreach=True, fused=None, capturable=False, differentiable=False)
    assert "foreach" not in optimizer.param_groups[0]
    for option, why in (("differentiable", "steps are not recorded"), ("capturable", "CUDA graphs")):
        with pytest.raises(OptionError, match=f"{name}: {option}=True.*{why}"):
            make([p], **{option: True})
    with pytest.raises(OptionError, match=f"{name}: fused is None, True or False, not 'yes'"):
        make([p], fused="yes")
    with pytest.raises(OptionError, match=f"{name}: has no option 'learning_rate', only lr"):
        make([p], learning_rate=0.1)


def test_adafactor_keeps_rows_and_columns_alone(device: str) -> None:
    p = nn.Parameter(np.ones((300, 500)), dtype=np.float32, device=device)
    b = nn.Parameter(np.ones(500), dtype=np.float32, device=device)
    optimizer = optim.Adafactor([p, b])
    for _ in range(2):
        p.grad, b.grad = tg.ones(p.shape, device=device), tg.ones(b.shape, device=device)
        optimizer.step()
    state = optimizer.state_dict()
    assert {k: v.shape for k, v in state["state"][0].items() if k != "step"} == {
        "row_var": (300, 1),
        "col_var": (1, 500),
    }
    assert state["state"][1]["variance"].shape == (500,) and p.dtype == np.float32
    state["state"][0]["row_var"] = tg.ones((2, 1))
    with pytest.raises(ShapeError, match=r"row_var of parameter 0 has shape \[2, 1\], not \[300, 1\]"):
        optimizer.load_state_dict(state)
    with pytest.raises(OptionError, match="Adafactor: eps"):
        optim.Adafactor([p], eps=1e-3)


def test_schedules_and_averages_say_what_they_want() -> None:
    schedules = optim.lr_scheduler
    optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.1)
    wrong: list[tuple[Any, str]] = [
        (lambda: schedules.LambdaLR(optimizer, 3), "LambdaLR: lr_lambda is a function of the epoch.*not 3"),
        (lambda: schedules.MultiplicativeLR(optimizer, [3]), "MultiplicativeLR: lr_lambda"),
        (lambda: schedules.LambdaLR(3, 3), "LambdaLR: takes an optimizer, not int"),
        (lambda: schedules.MultiStepLR(optimizer, 3), "milestones are a list of epochs, not 3"),
        (lambda: schedules.MultiStepLR(optimizer, [1.5]), "a milestone must be a whole number"),
        (lambda: schedules.ExponentialLR(optimizer, "half"), "ExponentialLR: gamma must be a number, got 'half'"),
        (lambda: schedules.StepLR(optimizer, 2, None), "StepLR: gamma must be a number"),
        (lambda: schedules.ReduceLROnPlateau(optimizer).step(), "wants what is watched.*got nothing"),
        (lambda: schedules.ReduceLROnPlateau(optimizer).step("low"), "got 'low'"),
        (lambda: schedules.CyclicLR(optimizer, 0.1, 0.2, mode="square"), "mode is 'triangular'.*not 'square'"),
        (lambda: schedules.CyclicLR(optimizer, 0.1, 0.2, step_size_up=0), "step_size_up must be a whole number"),
        (lambda: schedules.CyclicLR(optim.Rprop([nn.Parameter([1.0])]), 0.1, 0.2), "cycle_momentum=False"),
        (lambda: schedules.SequentialLR(optimizer, [3], []), "schedulers is a list of schedules"),
        (lambda: schedules.ChainedScheduler(3), "ChainedScheduler: schedulers is a list of schedules, not 3"),
        (lambda: optim.swa_utils.AveragedModel(3), "AveragedModel: takes a Module, not int"),
        (lambda: optim.swa_utils.AveragedModel(nn.Linear(2, 2), avg_fn=0.9), "avg_fn is a function.*not 0.9"),
        (lambda: optim.swa_utils.AveragedModel(nn.Linear(2, 2)).update_parameters(3), "takes a Module, not int"),
        (lambda: optim.swa_utils.AveragedModel(nn.Linear(2, 2)).update_parameters(nn.Linear(2, 3)),
         r"shapes \[\[3, 2\]"),
        (lambda: optim.swa_utils.update_bn(3, nn.Linear(2, 2)), "update_bn: takes a loader.*int and Linear"),
        (lambda: optim.swa_utils.update_bn([], 3), "list and int"),
        (lambda: optim.swa_utils.SWALR(optimizer, None), "SWALR: swa_lr must be a number"),
        (lambda: optimizer.load_state_dict({"state": {}, "param_groups": [{"lr": 0.1}]}), "each with 'params'"),
        (lambda: optimizer.load_state_dict({"state": {}, "param_groups": 3}), "list of dictionaries.*3"),
        (lambda: optimizer.load_state_dict({"state": 3, "param_groups": []}), "dictionary of dictionaries"),
    ]  # fmt: skip
    for call, why in wrong:
        with pytest.raises((OptionError, ShapeError), match=why):
            call()
    norm = nn.Sequential(nn.BatchNorm1d(2))
    with pytest.raises(ShapeError):
        optim.swa_utils.update_bn([tg.ones((3, 5))], norm.eval())
    assert norm[0].momentum == 0.1 and not norm.training  # as before, after a failure too


def test_averages_of_all_weights_at_once_are_those_of_each(device: str) -> None:
    swa = optim.swa_utils
    for one, many in ((swa.get_swa_avg_fn(), swa.get_swa_multi_avg_fn()),
                      (swa.get_ema_avg_fn(0.7), swa.get_ema_multi_avg_fn(0.7))):  # fmt: skip
        model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).to(device)
        first = swa.AveragedModel(model, avg_fn=one, use_buffers=True)
        second = swa.AveragedModel(model, multi_avg_fn=many, use_buffers=True)
        for step in range(4):
            with tg.no_grad():
                for i, p in enumerate(model.parameters()):
                    p.copy_(np.cos(np.arange(p.size) + i + 5 * step).reshape(p.shape).astype(np.float32))
            model(tg.Tensor(np.sin(np.arange(8.0) * step).reshape(4, 2), dtype=np.float32, device=device))
            first.update_parameters(model)
            second.update_parameters(model)
        for name, value in first.state_dict().items():
            holds(second.state_dict()[name], value.numpy(), tolerance=0)
        assert int(first.n_averaged.item()) == 4
        assert np.abs(first.module[1].running_mean.numpy() - model[1].running_mean.numpy()).max() > 1e-3
    swa.update_bn([tg.ones((4, 2))], model, device)  # moved there
    with pytest.raises(OptionError, match="not both"):
        swa.AveragedModel(model, avg_fn=one, multi_avg_fn=many)


def test_cyclic_rates_follow_a_function_of_ones_own() -> None:
    optimizer = optim.Adam([nn.Parameter([1.0])], lr=7.0, betas=(0.9, 0.99))
    schedule = optim.lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, 2, scale_fn=lambda step: 1 / (1 + step),
                                           scale_mode="iterations", base_momentum=0.5, max_momentum=0.75)  # fmt: skip
    found = []
    for _ in range(5):
        found.append((schedule.get_last_lr()[0], optimizer.param_groups[0]["betas"][0]))
        schedule.step()
    np.testing.assert_allclose(found, [(0, 0.75), (0.25, 0.6875), (1 / 3, 2 / 3), (0.125, 0.71875), (0, 0.75)])
    assert "own_scale" not in schedule.state_dict()
