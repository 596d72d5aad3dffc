"""What PyTorch's convolution, pooling, upsampling and embedding give, recorded in tests/data/convolution.json.

    python tests/evidence/convolution_reference.py        (needs PyTorch)

A case is an expression that both libraries understand, with `F` and `nn` of either, and the shapes of its arrays.
Their values follow from a case's name (`values`), here and in tests/test_convolution.py, so only results are stored:
the value, and the gradients of Σ y u with u drawn alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

HERE = Path(__file__).resolve()
DATA = HERE.parents[1] / "data" / "convolution.json"

Shapes = dict[str, tuple[int, ...]]


def _functions() -> dict[str, Shapes]:
    found: dict[str, Shapes] = {}

    def case(expression: str, **shapes: tuple[int, ...]) -> None:
        found[expression] = shapes

    x1, x2, x3, small = (2, 4, 9), (1, 4, 6, 7), (1, 2, 4, 5, 4), (1, 2, 5, 4)
    case("F.conv1d(x, w)", x=x1, w=(3, 4, 3))
    case("F.conv1d(x, w, b, stride=2, padding=1, dilation=2)", x=x1, w=(3, 4, 3), b=(3,))
    case("F.conv1d(x, w, b, padding='same', groups=2)", x=x1, w=(6, 2, 4), b=(6,))
    case("F.conv1d(x, w, padding='valid')", x=(4, 9), w=(3, 4, 3))
    case("F.conv2d(x, w, b)", x=(2, 4, 6, 7), w=(3, 4, 3, 2), b=(3,))
    case("F.conv2d(x, w, b, 2, 1)", x=x2, w=(3, 4, 3, 3), b=(3,))
    case("F.conv2d(x, w, None, (2, 1), (0, 2), (1, 2), 4)", x=x2, w=(8, 1, 2, 3))
    case("F.conv2d(x, w, b, padding='same', dilation=(2, 1))", x=x2, w=(3, 4, 2, 3), b=(3,))
    case("F.conv2d(x, w, b, 3)", x=x2, w=(2, 4, 1, 1), b=(2,))
    case("F.conv2d(x, w, b, padding=2)", x=(4, 6, 7), w=(3, 4, 5, 5), b=(3,))
    case("F.conv3d(x, w, b, (1, 2, 1), (1, 0, 1), (2, 1, 1), 2)", x=x3, w=(4, 1, 2, 3, 2), b=(4,))
    case("F.conv3d(x, w, padding='same')", x=x3, w=(2, 2, 3, 2, 1))
    case("F.conv_transpose1d(x, w, b, 3, 1, 2, 2)", x=x1, w=(4, 3, 4), b=(6,))
    case("F.conv_transpose1d(x, w, None, 1, 0, 1, 1, 2)", x=x1, w=(4, 2, 3))
    case("F.conv_transpose2d(x, w, b)", x=x2, w=(4, 3, 3, 2), b=(3,))
    case("F.conv_transpose2d(x, w, b, (2, 3), (1, 0), (1, 2), 2, (1, 2))", x=x2, w=(4, 1, 3, 2), b=(2,))
    case("F.conv_transpose2d(x, w, stride=2)", x=(4, 3, 4), w=(4, 2, 2, 2))
    case("F.conv_transpose3d(x, w, b, 2, 1, (1, 0, 1))", x=(1, 2, 3, 2, 2), w=(2, 2, 3, 2, 3), b=(2,))
    case("F.max_pool1d(x, 3)", x=x1)
    case("F.max_pool1d(x, 3, 2, 1, ceil_mode=True)", x=x1)
    case("F.max_pool1d(x, 2, 5, ceil_mode=True)", x=x1)
    case("F.max_pool2d(x, 2)", x=x2)
    case("F.max_pool2d(x, (3, 2), (2, 1), (1, 0), (1, 2))", x=x2)
    case("F.max_pool2d(x, 3, 2, 1, ceil_mode=True)", x=x2)
    case("F.max_pool2d(x, 3, 2, ceil_mode=True, return_indices=True)", x=x2)
    case("F.max_pool2d(x, 3, 1, 1, return_indices=True)", x=(4, 6, 7))
    case("F.max_pool3d(x, 2, 1, return_indices=True)", x=x3)
    case("F.max_pool3d(x, (2, 3, 2), 2, 1)", x=x3)
    for options in ("3", "3, 2, 1", "2, 2, 1, False, False", "3, 2, 0, True", "3, 2, 1, True, False", "4, 3, 1, True"):
        case(f"F.avg_pool1d(x, {options})", x=x1)
        case(f"F.avg_pool2d(x, {options})", x=x2)
    case("F.avg_pool1d(x, 3, 5, 1, True, False)", x=x1)
    case("F.avg_pool2d(x, (2, 3), divisor_override=5)", x=x2)
    case("F.avg_pool3d(x, 2, 1, 1, count_include_pad=False)", x=x3)
    case("F.adaptive_avg_pool1d(x, 4)", x=x1)
    case("F.adaptive_avg_pool2d(x, (3, 5))", x=x2)
    case("F.adaptive_avg_pool2d(x, 1)", x=x2)
    case("F.adaptive_avg_pool2d(x, (None, 3))", x=x2)
    case("F.adaptive_avg_pool3d(x, (2, 3, 2))", x=x3)
    case("F.adaptive_max_pool1d(x, 4)", x=x1)
    case("F.adaptive_max_pool2d(x, (4, 3), return_indices=True)", x=x2)
    case("F.adaptive_max_pool2d(x, (3, None))", x=(4, 6, 7))
    case("F.adaptive_max_pool3d(x, (2, 2, 3), return_indices=True)", x=x3)
    for options in ("3", "(2, 3), 2, 1, (2, 1)", "2, 1, 0, 2"):
        case(f"F.unfold(x, {options})", x=x2)
    case("F.fold(x, (5, 6), 3)", x=(2, 18, 12))
    case("F.fold(x, (6, 5), (2, 3), (2, 1), 1, (1, 2))", x=(2, 12, 18))
    case("F.pixel_shuffle(x, 2)", x=x2)
    case("F.pixel_unshuffle(x, 3)", x=(1, 2, 6, 9))
    case("F.pad(x, (1, 2), value=0.5)", x=x1)
    case("F.pad(x, (1, -1, 2, 0))", x=x2)
    for mode in ("reflect", "replicate", "circular"):
        case(f"F.pad(x, (2, 1), {mode!r})", x=x1)
        case(f"F.pad(x, (3, 2, 1, 2), {mode!r})", x=small)
    for mode, x in (("linear", x1), ("bilinear", small), ("trilinear", (1, 1, 3, 4, 2)), ("bicubic", small)):
        for align in (False, True):
            case(f"F.interpolate(x, scale_factor=2, mode={mode!r}, align_corners={align})", x=x)
            case(f"F.interpolate(x, size={(5, 5, 3)[: len(x) - 2]}, mode={mode!r}, align_corners={align})", x=x)
        case(f"F.interpolate(x, scale_factor=1.7, mode={mode!r})", x=x)
    for mode in ("nearest", "nearest-exact"):
        for size in ("scale_factor=2", "scale_factor=(1.5, 0.6)", "size=(4, 10)"):
            case(f"F.interpolate(x, {size}, mode={mode!r})", x=small)
    case("F.interpolate(x, size=(4, 3), mode='area')", x=small)
    case("F.embedding(i, w)", w=(7, 3))
    case("F.embedding(i, w, padding_idx=2)", w=(7, 3))
    case("F.embedding(i, w, padding_idx=-1)", w=(7, 3))
    return found


LAYERS: dict[str, tuple[int, ...]] = {  # a layer, and the shape of its input
    "nn.Conv1d(4, 6, 3, padding=2, groups=2)": (2, 4, 7),
    "nn.Conv2d(2, 3, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2))": (2, 2, 6, 7),
    "nn.Conv2d(2, 4, 3, padding='same', bias=False)": (2, 2, 5, 4),
    "nn.Conv2d(2, 3, 3, padding=1, padding_mode='reflect')": (2, 2, 5, 4),
    "nn.Conv2d(2, 3, (2, 3), padding=(0, 2), padding_mode='reflect')": (2, 2, 5, 4),
    "nn.Conv2d(2, 3, 4, padding='same', padding_mode='replicate')": (2, 2, 5, 4),
    "nn.Conv1d(2, 3, 3, padding=2, padding_mode='circular')": (2, 2, 5),
    "nn.Conv3d(2, 3, 2, padding=1)": (1, 2, 3, 4, 3),
    "nn.ConvTranspose1d(2, 4, 3, 2, 1, 1, 2)": (2, 2, 5),
    "nn.ConvTranspose2d(2, 3, 3, stride=2, bias=False)": (2, 2, 4, 3),
    "nn.ConvTranspose3d(2, 3, 2, padding=1, dilation=2)": (1, 2, 3, 3, 3),
    "nn.MaxPool2d(3, 2, 1)": (2, 2, 7, 6),
    "nn.AvgPool2d(2, ceil_mode=True)": (2, 2, 7, 6),
    "nn.AdaptiveAvgPool2d((2, None))": (2, 2, 7, 6),
    "nn.AdaptiveMaxPool1d(2)": (2, 2, 7),
    "nn.Upsample(scale_factor=3)": (2, 2, 3, 2),
    "nn.UpsamplingBilinear2d(scale_factor=2)": (2, 2, 3, 2),
    "nn.Unfold(2, stride=2)": (2, 2, 4, 6),
    "nn.Fold((4, 6), 2, stride=2)": (2, 8, 6),
    "nn.PixelShuffle(2)": (1, 8, 2, 3),
    "nn.Flatten()": (2, 3, 4),
}

NETS: dict[str, str] = {  # trained for 20 steps
    "LeNet": (
        "nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 3), nn.ReLU(), "
        "nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4))"
    ),
    "up and down": (
        "nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.Tanh(), nn.ConvTranspose2d(3, 2, 2, stride=2), "
        "nn.Tanh(), nn.Upsample(scale_factor=0.5, mode='bilinear'), nn.AdaptiveMaxPool2d(2), nn.Flatten(), "
        "nn.Linear(8, 4))"
    ),
    "words": (
        "nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Conv1d(5, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(9, 4))"
    ),
}

FUNCTIONS = _functions()
INDICES = np.array([[0, 3, 3], [6, 2, 3]])
STEPS, RATE = 20, 0.1


def values(name: str, shape: tuple[int, ...]) -> Any:
    """Numbers in (−1, 1), no two alike, in an order that follows from the name."""
    n = int(np.prod(shape))
    order = np.random.default_rng(crc32(name.encode())).permutation(n)
    return ((2 * order + 1) / n - 1).reshape(shape)


def batch(net: str) -> tuple[Any, Any]:
    if net == "words":
        return np.random.default_rng(1).integers(0, 9, (6, 5)), np.arange(6) % 4
    return values(net, (6, 1, 12, 12)), np.arange(6) % 4


def rounded(array: Any) -> Any:
    array = np.asarray(array)
    if array.dtype.kind in "iu":
        return array.tolist()
    return [float(f"{v:.7g}") for v in array.ravel()]


def main() -> None:
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_default_dtype(torch.float64)

    def leaf(name: str, shape: tuple[int, ...]) -> Any:
        return torch.tensor(values(name, shape), requires_grad=True)

    def outcome(name: str, y: Any, leaves: dict[str, Any]) -> dict[str, Any]:
        y, indices = y if isinstance(y, tuple) else (y, None)
        (y * torch.tensor(values(name + " u", tuple(y.shape)))).sum().backward()
        found = {"shape": list(y.shape), "y": rounded(y.detach().numpy())}
        found |= {key: rounded(v.grad.numpy()) for key, v in leaves.items()}
        return found if indices is None else found | {"indices": rounded(indices.numpy())}

    functions, layers, nets = {}, {}, {}
    for name, shapes in FUNCTIONS.items():
        leaves = {key: leaf(f"{name} {key}", shape) for key, shape in shapes.items()}
        y = eval(name, {"F": F, "i": torch.tensor(INDICES), **leaves})
        functions[name] = outcome(name, y, leaves)
    for name, shape in LAYERS.items():
        layer, x = eval(name, {"nn": nn}), leaf(f"{name} x", shape)
        with torch.no_grad():
            for key, p in layer.named_parameters():
                p.copy_(torch.tensor(values(f"{name} {key}", tuple(p.shape))))
        layers[name] = outcome(name, layer(x), {"x": x, **dict(layer.named_parameters())})
        layers[name]["keys"] = list(layer.state_dict())
    for name, text in NETS.items():
        net = eval(text, {"nn": nn})
        with torch.no_grad():
            for key, p in net.named_parameters():
                p.copy_(torch.tensor(values(f"{name} {key}", tuple(p.shape)) / 2))
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9)
        x, target = map(torch.tensor, batch(name))
        losses = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        last = np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])
        nets[name] = {"losses": rounded(losses), "parameters": rounded(last), "keys": list(net.state_dict())}
    torch.manual_seed(0)
    bounds = {}
    for text in ("nn.Conv2d(3, 64, 5)", "nn.ConvTranspose2d(6, 64, 5)", "nn.Embedding(100, 50)"):
        w = eval(text, {"nn": nn}).weight.detach().numpy()
        bounds[text] = [float(np.abs(w).max()), float(w.std())]
    recorded = {"torch": torch.__version__, "functions": functions, "layers": layers, "nets": nets, "initial": bounds}
    beside = DATA.with_name(DATA.name + ".part")
    beside.write_text(json.dumps(recorded, separators=(",", ":")))
    beside.replace(DATA)
    print(f"{len(functions)} functions, {len(layers)} layers, {len(nets)} nets: {DATA.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
