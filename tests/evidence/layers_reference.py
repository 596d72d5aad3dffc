"""Layers and losses beside PyTorch's: value, gradients, state, and 20 steps of gradient descent.

    python tests/evidence/layers_reference.py            what PyTorch gives, into tests/data/layers.json (needs torch)

`CASES` names each case once: the constructor or function, which reads the same here and there, and its inputs. Inputs
that are floats are trained, and so are the parameters, by θ ← θ − 0.05 θ̄ with the sum of y · w as the loss, where w are
fixed numbers. `tests/test_losses.py` and `tests/test_layers.py` compare with what is recorded, and need no PyTorch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[1] / "data" / "layers.json"
STEPS, RATE = 20, 0.05


def entries(*shape: int, start: float = 0.4, low: float = -1.5, high: float = 1.5) -> Any:
    """Ordinary numbers, the same in every run."""
    return low + (high - low) * (0.5 + 0.5 * np.cos(1.7 * np.arange(math.prod(shape)) + start)).reshape(shape)


def shares(*shape: int, start: float = 0.4) -> Any:
    """Numbers between 0 and 1."""
    return entries(*shape, start=start, low=0.05, high=0.95)


def signs(*shape: int) -> Any:
    return np.where(np.sin(2.3 * np.arange(1, math.prod(shape) + 1)).reshape(shape) > 0, 1.0, -1.0)


def normal(*shape: int) -> Any:
    """Probabilities along the last axis."""
    x = np.exp(entries(*shape, start=1.0))
    return x / x.sum(-1, keepdims=True)


@dataclass(frozen=True)
class Case:
    """`make` is evaluated with nn and F of either library; a Module is built, a function is called as it is."""

    make: str
    inputs: tuple[Any, ...]
    fixed: tuple[int, ...] = ()  # which float inputs are not trained
    train: bool = True
    call: str = ""  # what is done with a Module m and inputs x, if not m(*x)


CASES: dict[str, Case] = {}
LOOSE = {  # where the two may be further apart than 1e-12 of the largest entry, and why
    "nn.Hardsigmoid()": (1e-7, "PyTorch's 1/6 is a float32, in float64 too"),
    "nn.Hardsigmoid() at kinks": (1e-7, "PyTorch's 1/6 is a float32, in float64 too"),
    "binary_cross_entropy at 0 and 1": (1e-7, "PyTorch's 1e-12 is a float32, in float64 too"),
    "nn.GroupNorm(1, 2)": (1e-9, "two entries a group: all but nothing of the gradient is left"),
}


def case(make: str, *inputs: Any, fixed: tuple[int, ...] = (), train: bool = True, title: str = "") -> None:
    title = title or make
    assert title not in CASES, title
    CASES[title] = Case(make, inputs, fixed, train)


X, Y = entries(3, 4), entries(3, 4, start=1.1)
KINKED = np.array([[-3.0, 0.0, 1.0, 6.0, -1.0], [3.0, -0.5, 0.5, -4.0, 7.0]])

# Activations
for _name in [
    "ReLU()",
    "LeakyReLU(0.2)",
    "ELU(0.7)",
    "SELU()",
    "CELU(1.5)",
    "CELU(0.5)",
    "GELU()",
    "GELU('tanh')",
    "SiLU()",
    "Mish()",
    "Hardtanh()",
    "Hardtanh(-0.5,0.8)",
    "ReLU6()",
    "Hardsigmoid()",
    "Hardswish()",
    "Softsign()",
    "Tanhshrink()",
    "Softshrink()",
    "Softshrink(0.3)",
    "Hardshrink()",
    "Hardshrink(0.3)",
    "Threshold(0.1,-0.3)",
    "LogSigmoid()",
    "Softplus()",
    "Softplus(2.0)",
    "Sigmoid()",
    "Tanh()",
]:
    case(f"nn.{_name}", X)
for _name in [
    "ReLU",
    "LeakyReLU",
    "ELU",
    "SELU",
    "CELU",
    "Hardtanh",
    "ReLU6",
    "Hardsigmoid",
    "Hardswish",
    "Softsign",
    "Softshrink",
    "Hardshrink",
    "SiLU",
    "GELU",
    "Mish",
    "Tanhshrink",
    "LogSigmoid",
]:
    case(f"nn.{_name}()", KINKED, train=False, title=f"nn.{_name}() at kinks")
case("nn.Threshold(0.5, 2.0)", KINKED, train=False, title="nn.Threshold at kinks")
case("nn.PReLU()", X)
case("nn.PReLU(4, 0.1)", X)
case("nn.PReLU(2)", entries(2, 2, 3))
case("nn.PReLU()", KINKED, train=False, title="nn.PReLU() at kinks")
for _name in ["GLU()", "GLU(0)", "Softmin(dim=-1)", "Softmin(0)", "Softmax(0)", "LogSoftmax(1)"]:
    case(f"nn.{_name}", entries(2, 4))

# Losses
for _reduction in ("", "reduction='sum'", "reduction='none'"):
    case(f"nn.MSELoss({_reduction})", X, Y)
    case(f"nn.L1Loss({_reduction})", X, Y)
    case(f"nn.SmoothL1Loss({_reduction})", X, Y)
    case(f"nn.HuberLoss({_reduction})", X, Y)
    case(f"nn.BCELoss({_reduction})", shares(3, 2), shares(3, 2, start=1.0), fixed=(1,))
    case(f"nn.KLDivLoss({_reduction})", np.log(normal(3, 3)), normal(3, 3), fixed=(1,))
    case(f"nn.SoftMarginLoss({_reduction})", X, signs(3, 4), fixed=(1,))
    case(f"nn.HingeEmbeddingLoss({_reduction})", X, signs(3, 4), fixed=(1,))
    case(f"nn.GaussianNLLLoss({_reduction})", X, Y, shares(3, 4) + 0.5, train=False)
    case(f"nn.PoissonNLLLoss({_reduction})", X, shares(3, 4) * 4, fixed=(1,))
    case(f"nn.MultiMarginLoss({_reduction})", X, np.array([1, 0, 3]))
    case(f"nn.CosineEmbeddingLoss({_reduction})", X, Y, np.array([1, -1, 1]))
    case(f"nn.MarginRankingLoss({_reduction})", X, Y, signs(3, 4), fixed=(2,))
    case(f"nn.TripletMarginLoss({_reduction})", X, Y, entries(3, 4, start=2.0))
    case(f"nn.CrossEntropyLoss({_reduction})", X, np.array([1, 0, 3]))
    case(f"nn.NLLLoss({_reduction})", X, np.array([1, 0, 3]))
    case(f"nn.BCEWithLogitsLoss({_reduction})", X, shares(3, 4), fixed=(1,))
case("nn.SmoothL1Loss(beta=0.3)", X, Y)
case("nn.SmoothL1Loss(beta=0.0)", X, Y)
case("nn.HuberLoss(delta=0.3)", X, Y)
for _name in ("SmoothL1Loss", "HuberLoss", "L1Loss"):
    case(f"nn.{_name}(reduction='sum')", KINKED, KINKED * 0, title=f"nn.{_name} at kinks", train=False)
case("F.binary_cross_entropy(*x, reduction='sum')", np.array([0.0, 1.0, 0.0, 1.0, 1e-14]),
     np.array([0.0, 1.0, 1.0, 0.0, 0.5]), fixed=(1,), train=False, title="binary_cross_entropy at 0 and 1")  # fmt: skip
case(
    "F.binary_cross_entropy(x[0], x[1], weight=x[2])",
    shares(2, 3),
    shares(2, 3, start=2.0),
    shares(2, 3, start=3.0),
    fixed=(1, 2),
)
case("nn.KLDivLoss(reduction='batchmean')", np.log(normal(3, 3)), normal(3, 3), train=False)
case("nn.KLDivLoss(reduction='batchmean', log_target=True)", np.log(normal(3, 3)), np.log(shares(3, 3)))
case(
    "F.kl_div(x[0], x[1], reduction='sum')", entries(4), np.array([0.0, 0.5, 0.0, 0.5]), fixed=(1,), title="kl_div of 0"
)
case("nn.HingeEmbeddingLoss(0.5)", np.array([0.5, 0.2, 0.7]), np.array([-1.0, -1.0, 1.0]), fixed=(1,), train=False)
case("nn.GaussianNLLLoss(full=True)", X, Y, shares(3, 1) + 0.5, train=False)
case("nn.GaussianNLLLoss()", X, Y, shares(3), train=False, title="nn.GaussianNLLLoss() var without the last axis")
case("nn.GaussianNLLLoss(eps=0.5)", X, Y, shares(3, 4), train=False)
case("nn.PoissonNLLLoss(log_input=False)", shares(3, 2), shares(3, 2, start=2.0), fixed=(1,))
case("nn.PoissonNLLLoss(full=True)", X, shares(3, 4) * 4, fixed=(1,))
case("nn.MultiMarginLoss(2, 0.5)", X, np.array([1, 0, 3]))
case("F.multi_margin_loss(x[0], x[1], weight=x[2])", X, np.array([1, 0, 3]), shares(4), fixed=(2,))
case("nn.CosineEmbeddingLoss(0.3)", X, Y, np.array([1, -1, -1]))
case("nn.MarginRankingLoss(0.2)", X, Y, signs(3, 4), fixed=(2,))
case("nn.TripletMarginLoss(0.4, 1.0, swap=True)", X, Y, entries(3, 4, start=2.0))
case("nn.TripletMarginLoss(2.0, 3.0)", X, Y, entries(3, 4, start=2.0))
case("nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=0)", X, np.array([1, 0, 3]))
case("F.cross_entropy(x[0], x[1], x[2])", X, np.array([1, 0, 3]), shares(4), fixed=(2,))
case("F.cross_entropy(x[0], x[1])", X, normal(3, 4), fixed=(1,))
case("F.nll_loss(x[0], x[1], x[2], ignore_index=3)", X, np.array([1, 0, 3]), shares(4), fixed=(2,))
case("F.binary_cross_entropy_with_logits(x[0], x[1], pos_weight=x[2])", X, shares(3, 4), shares(4) * 3, fixed=(1, 2))
case("F.cosine_similarity(x[0], x[1])", X, Y)
case("F.cosine_similarity(x[0], x[1], dim=0)", X, Y)
case("F.pairwise_distance(x[0], x[1])", X, Y)
case("F.pairwise_distance(x[0], x[1], p=1.0, keepdim=True)", X, Y)

# Sequences: the gradient through log_softmax, since PyTorch's of log_probs alone is another's by what that takes away
_LOGITS = entries(6, 2, 4)
_CTC = "F.ctc_loss(F.log_softmax(x[0], -1), x[1], x[2], x[3]{})"
_ONES = (np.array([[1, 2, 2], [3, 1, 0]]), np.array([6, 6]), np.array([3, 2]))
case(_CTC.format(""), _LOGITS, *_ONES, title="ctc_loss")
case(_CTC.format(", reduction='sum'"), _LOGITS, *_ONES, title="ctc_loss sum")
case(
    _CTC.format(", reduction='none', blank=3"),
    _LOGITS,
    np.array([[1, 2, 2], [0, 1, 0]]),
    *_ONES[1:],
    title="ctc_loss blank 3",
)
case(_CTC.format(""), _LOGITS, np.array([1, 2, 2, 3, 1]), *_ONES[1:], title="ctc_loss joined")
case(_CTC.format(", reduction='none'"), _LOGITS, _ONES[0], np.array([6, 4]), _ONES[2], title="ctc_loss shorter inputs")
case(
    _CTC.format(", reduction='none'"),
    _LOGITS,
    _ONES[0],
    np.array([5, 6]),
    np.array([0, 2]),
    title="ctc_loss empty target",
)
case(_CTC.format(", zero_infinity=True"), _LOGITS, np.array([[1, 1, 1], [3, 1, 0]]), np.array([4, 6]), _ONES[2],
     title="ctc_loss impossible")  # fmt: skip
case(
    _CTC.format(", reduction='none'"),
    entries(5, 3),
    np.array([1, 1]),
    np.array([5]),
    np.array([2]),
    title="ctc_loss alone",
)

# Normalization: each in training for 20 steps, then in evaluation
for _name, _shape in {
    "BatchNorm1d(4)": (5, 4), "BatchNorm1d(2, momentum=None)": (3, 2, 3), "BatchNorm1d(3, affine=False)": (4, 3),
    "BatchNorm1d(3, track_running_stats=False)": (4, 3), "BatchNorm2d(2, eps=0.1, momentum=0.3)": (2, 2, 2, 3),
    "BatchNorm3d(2)": (2, 2, 2, 1, 3), "LayerNorm(4)": (3, 4), "LayerNorm((2, 3), eps=0.01)": (2, 2, 3),
    "LayerNorm(4, bias=False)": (3, 4), "LayerNorm(4, elementwise_affine=False)": (3, 4), "GroupNorm(2, 4)": (2, 4, 3),
    "GroupNorm(4, 4, affine=False)": (2, 4, 3), "GroupNorm(1, 2)": (3, 2), "InstanceNorm1d(2)": (3, 2, 4),
    "InstanceNorm1d(2, affine=True, track_running_stats=True)": (3, 2, 4),
    "InstanceNorm2d(2, affine=True)": (2, 2, 2, 3),
    "InstanceNorm2d(2, track_running_stats=True, momentum=0.4)": (2, 2, 2, 3), "InstanceNorm3d(1)": (2, 1, 2, 2, 2),
    "RMSNorm(4)": (3, 4), "RMSNorm((2, 3), eps=0.1)": (2, 2, 3), "RMSNorm(3, elementwise_affine=False)": (2, 3),
    "LocalResponseNorm(3)": (2, 5, 2), "LocalResponseNorm(2, 0.5, 0.6, 2.0)": (2, 5, 2),
    "LocalResponseNorm(5, 1.0)": (2, 4, 2),
}.items():  # fmt: skip
    case(f"nn.{_name}", entries(*_shape))
case("nn.InstanceNorm1d(2)", entries(2, 5), title="nn.InstanceNorm1d alone")
case("nn.utils.weight_norm(nn.Linear(3, 4))", entries(2, 3))
case("nn.utils.weight_norm(nn.Linear(3, 4), dim=1)", entries(2, 3))
case("nn.utils.weight_norm(nn.Linear(3, 4), dim=None)", entries(2, 3))
case("F.normalize(x[0])", X)
case("F.normalize(x[0], p=1.0, dim=0)", X)


# One account for both libraries


@dataclass(frozen=True)
class Library:
    """What differs between the two in the words of this file."""

    names: dict[str, Any]
    tensor: Callable[[Any, bool], Any]
    numbers: Callable[[Any], Any]
    put: Callable[[Any, Any], None]
    double: Callable[[Any], Any]


def account(library: Library, one: Case) -> dict[str, Any]:
    """What a case gives in a library."""
    trained = [np.asarray(x).dtype.kind == "f" and i not in one.fixed for i, x in enumerate(one.inputs)]
    inputs = [library.tensor(np.array(x), wanted) for x, wanted in zip(one.inputs, trained)]
    found: dict[str, Any] = {}
    module = None
    if one.make.startswith(("nn.", "begun(")):
        module = library.double(eval(one.make, dict(library.names)))
        parameters = dict(module.named_parameters())
        for i, parameter in enumerate(parameters.values()):
            if "PReLU" not in one.make:
                library.put(parameter, 0.1 + entries(*parameter.shape, start=i, low=0.4, high=1.2))
        found["state"] = {name: list(value.shape) for name, value in module.state_dict().items()}
    else:
        parameters = {}
    leaves = [x for x, wanted in zip(inputs, trained) if wanted] + list(parameters.values())

    def run() -> Any:
        expression = one.call or ("m(*x)" if module is not None else one.make)
        return eval(expression, {**library.names, "m": module, "x": inputs})

    losses = []
    for step in range(STEPS if one.train else 1):
        y = run()
        weights = 1.0 if y.ndim == 0 else library.tensor(entries(*y.shape, start=2.5, low=0.2, high=1.4), False)
        loss = (y * weights).sum()
        loss.backward()
        losses.append(float(library.numbers(loss)))
        gradients = [library.numbers(x.grad) for x in leaves]
        if step == 0:
            found["value"], found["gradients"] = library.numbers(y), gradients
        for x, g in zip(leaves, gradients):
            library.put(x, library.numbers(x) - RATE * g)
            x.grad = None
    if one.train:
        found["losses"] = losses
    if module is not None and ("Norm" in one.make or "spectral" in one.make):
        found["buffers"] = {name: library.numbers(value) for name, value in module.named_buffers()}
        module.eval()
        found["evaluated"] = library.numbers(run())
    return found


def here(device: str = "cpu") -> Library:
    import tinygrad_mlsp as tg
    from tinygrad_mlsp import nn

    def put(x: Any, values: Any) -> None:
        with tg.no_grad():
            x.copy_(values)

    return Library(
        {"nn": nn, "F": nn.functional},
        lambda a, wanted: tg.Tensor(a, requires_grad=wanted, device=device),
        lambda x: np.array(x.detach().numpy()),
        put,
        lambda module: module.double().to(device),
    )


def there() -> Library:
    import torch

    def put(x: Any, values: Any) -> None:
        with torch.no_grad():
            x.copy_(torch.tensor(np.asarray(values)))

    return Library(
        {"nn": torch.nn, "F": torch.nn.functional}, lambda a, wanted: torch.tensor(a, requires_grad=wanted),
        lambda x: x.detach().numpy().copy(), put, lambda module: module.double(),
    )  # fmt: skip


def plain(found: Any) -> Any:
    """Arrays as [shape, numbers], short."""
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    if isinstance(found, list):
        return [plain(value) for value in found]
    if isinstance(found, np.ndarray):
        return [list(found.shape), [plain(v) for v in found.reshape(-1).tolist()]]
    return float(f"{found:.15g}") if isinstance(found, float) and math.isfinite(found) else found


def apart(found: Any, wanted: Any, tolerance: float, path: str = "") -> list[str]:
    """Where what is found here differs from what is recorded."""
    if isinstance(wanted, dict):
        if list(found) != list(wanted):
            return [f"{path}: {list(found)} are not {list(wanted)}"]
        return [line for name in wanted for line in apart(found[name], wanted[name], tolerance, f"{path}.{name}")]
    if path == ".gradients" or ".state." in path:
        if len(found) != len(wanted) or (".state." in path and found != wanted):
            return [f"{path}: {found} is not {wanted}"]
        if ".state." in path:
            return []
        return [m for i, (a, b) in enumerate(zip(found, wanted)) for m in apart(a, b, tolerance, f"{path}[{i}]")]
    if path != ".losses":
        if found[0] != wanted[0]:
            return [f"{path}: shape {found[0]}, not {wanted[0]}"]
        found, wanted = found[1], wanted[1]
    a, b = np.array(found, float), np.array(wanted, float)
    size = np.abs(b[np.isfinite(b)]).max(initial=0.0)
    equal = np.allclose(a, b, rtol=0, atol=tolerance * size + 1e-15, equal_nan=True)
    return [] if equal else [f"{path}: {found}, not {wanted}"]


def recorded() -> dict[str, Any]:
    return json.loads(DATA.read_text(encoding="utf-8"))["cases"]


def main() -> None:
    import warnings

    import torch

    warnings.simplefilter("ignore")
    lines = []
    for title, one in CASES.items():
        lines.append(f"{json.dumps(title)}: {json.dumps(plain(account(there(), one)), separators=(',', ':'))}")
    version = torch.__version__.split("+")[0]
    text = f'{{"version": "{version}", "cases": {{\n' + ",\n".join(lines) + "\n}}\n"
    DATA.write_text(text, encoding="utf-8")
    print(f"{len(CASES)} cases, {len(text) / 1000:.0f} kB into {DATA.name}")


if __name__ == "__main__":
    main()
