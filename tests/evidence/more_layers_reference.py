"""More layers and functions beside PyTorch's, and the names that PyTorch has.

    python tests/evidence/more_layers_reference.py       what PyTorch gives, into tests/data/more_layers.json, and its
                                                         names, into tests/data/torch_names.json (needs torch)

Cases and their account are as in layers_reference.py. `tests/test_more_layers.py` compares with what is recorded.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from layers_reference import Case, Library, account, apart, entries, here, plain, shares, there

DATA = Path(__file__).parents[1] / "data" / "more_layers.json"
NAMES = Path(__file__).parents[1] / "data" / "torch_names.json"
IMPORTED = {"Module", "ScalingType", "SwizzleType", "Tensor", "assert_int_or_pair", "has_torch_function",
            "has_torch_function_unary", "has_torch_function_variadic"}  # fmt: skip
CASES: dict[str, Case] = {}
LOOSE = {"nn.TransformerDecoderLayer": 1e-10}  # layer norm of what is nearly alike; 1e-12 of the largest entry else


def case(make: str, *inputs: Any, fixed: tuple[int, ...] = (), train: bool = False, call: str = "") -> None:
    title = " ".join(filter(None, (make, call, "x".join(map(str, np.shape(inputs[0]))))))
    assert title not in CASES, title
    CASES[title] = Case(make, inputs, fixed, train, call)


X, Y, Z = entries(3, 4), entries(3, 4, start=1.1), entries(3, 4, start=2.0)
LINE, PICTURE, VOLUME = entries(2, 2, 5), entries(1, 2, 4, 5), entries(1, 1, 3, 4, 3)

# Borders
for _pads in ("1", "(2, 0)", "(-1, 2)"):
    for _kind in ("ZeroPad1d({})", "ConstantPad1d({}, 1.5)", "ReflectionPad1d({})", "ReplicationPad1d({})",
                  "CircularPad1d({})"):  # fmt: skip
        case(f"nn.{_kind.format(_pads)}", LINE)
for _kind in ("ZeroPad2d({})", "ConstantPad2d({}, -0.5)", "ReflectionPad2d({})", "ReplicationPad2d({})",
              "CircularPad2d({})"):  # fmt: skip
    case(f"nn.{_kind.format('(2, 1, 0, 3)')}", PICTURE)
    case(f"nn.{_kind.format('1')}", PICTURE[0])
for _kind in ("ZeroPad3d({})", "ConstantPad3d({}, 2.0)", "ReflectionPad3d({})", "ReplicationPad3d({})",
              "CircularPad3d({})"):  # fmt: skip
    case(f"nn.{_kind.format('(1, 0, 2, 1, 0, 1)')}", VOLUME)
case("F.pad(x[0], (1, 2, 0, 1), value=0.5)", PICTURE)

# Transformers: 20 steps of gradient descent
_SETTINGS = "4, 2, 3, dropout=0.0"
_SOURCE, _TARGET = entries(4, 2, 4), entries(3, 2, 4, start=0.9)
_ADDED = np.triu(np.full((3, 3), -np.inf), 1)
_UNSEEN = np.array([[False, False, False, True], [False, False, True, True]])
for _more in ("", ", norm_first=True", ", activation='gelu'", ", bias=False", ", layer_norm_eps=0.1"):
    case(f"nn.TransformerDecoderLayer({_SETTINGS}{_more})", _TARGET, _SOURCE, train="norm_first" not in _more)
case(f"nn.TransformerDecoderLayer({_SETTINGS}, batch_first=True)", _TARGET.swapaxes(0, 1), _SOURCE.swapaxes(0, 1))
case(f"nn.TransformerDecoderLayer({_SETTINGS})", _TARGET, _SOURCE, _ADDED, _UNSEEN, fixed=(2,), train=True,
     call="m(x[0], x[1], tgt_mask=x[2], memory_key_padding_mask=x[3], tgt_is_causal=True)")  # fmt: skip
case(f"nn.TransformerDecoderLayer({_SETTINGS})", _TARGET, _SOURCE, _UNSEEN[:, :3], entries(3, 4, start=0.2), fixed=(3,),
     call="m(x[0], x[1], memory_mask=x[3], tgt_key_padding_mask=x[2])")  # fmt: skip
case(f"nn.TransformerDecoderLayer({_SETTINGS})", _TARGET[:, 0], _SOURCE[:, 0])
case(f"nn.TransformerDecoder(nn.TransformerDecoderLayer({_SETTINGS}), 2)", _TARGET, _SOURCE)
case(f"nn.TransformerDecoder(nn.TransformerDecoderLayer({_SETTINGS}, norm_first=True), 2, nn.LayerNorm(4))", _TARGET,
     _SOURCE, _ADDED, fixed=(2,), call="m(x[0], x[1], tgt_mask=x[2])")  # fmt: skip
case("nn.Transformer(4, 2, 1, 2, 3, 0.0)", _SOURCE, _TARGET, train=True)
case("nn.Transformer(4, 2, 2, 1, 3, 0.0, 'gelu', batch_first=True, norm_first=True, bias=False)",
     _SOURCE.swapaxes(0, 1), _TARGET.swapaxes(0, 1), _UNSEEN, _ADDED, fixed=(3,),
     call="m(x[0], x[1], src_key_padding_mask=x[2], memory_key_padding_mask=x[2], tgt_mask=x[3])")  # fmt: skip
case("x[0] + nn.Transformer.generate_square_subsequent_mask(3).to(x[0].device)", entries(3, 3))

# Pairs
case("nn.Bilinear(3, 2, 4)", entries(5, 3), entries(5, 2, start=1.1))
case("nn.Bilinear(3, 2, 1, bias=False)", entries(2, 2, 3), entries(2, 2, 2, start=1.1))
case("nn.CosineSimilarity()", X, Y)
case("nn.CosineSimilarity(0, 0.1)", X, Y)
case("nn.CosineSimilarity(dim=-1)", entries(2, 1, 3), entries(4, 3, start=1.1))
case("nn.PairwiseDistance()", X, Y)
case("nn.PairwiseDistance(1.0, 0.01, True)", X, Y)
case("nn.PairwiseDistance(3.0)", X[0], Y[0])
for _p in (2.0, 1.0, 0.5, 3.0, float("inf"), 0.0):
    case(f"F.pdist(x[0], {_p})" if np.isfinite(_p) else "F.pdist(x[0], float('inf'))", entries(4, 3))

# Bags
_BAGS, _LIST, _STARTS = np.array([[1, 2, 2], [0, 4, 1]]), np.array([1, 2, 2, 0, 4, 1, 1]), np.array([0, 2, 2, 6])
for _mode in ("sum", "mean", "max"):
    case(f"nn.EmbeddingBag(5, 3, mode='{_mode}')", _BAGS, train=True)
    case(f"nn.EmbeddingBag(5, 3, mode='{_mode}')", _LIST, _STARTS)
    case(f"nn.EmbeddingBag(5, 3, mode='{_mode}', padding_idx=1)", _BAGS)
    case(f"nn.EmbeddingBag(5, 3, mode='{_mode}', padding_idx=-4)", _LIST, _STARTS)
    case(f"nn.EmbeddingBag(5, 3, mode='{_mode}', include_last_offset=True)", _LIST, np.array([0, 3, 3, 7]))
    case(f"nn.EmbeddingBag(5, 3, mode='{_mode}', max_norm=0.5)", _BAGS)
case("nn.EmbeddingBag(5, 3, mode='sum')", _BAGS, shares(2, 3), call="m(x[0], per_sample_weights=x[1])")
case("nn.EmbeddingBag(5, 3, mode='sum', padding_idx=2)", _LIST, _STARTS, shares(7),
     call="m(x[0], x[1], per_sample_weights=x[2])")  # fmt: skip

# Draws, with what is drawn given
for _more in ("", ", tau=0.3", ", hard=True", ", hard=True, dim=0"):
    case(f"gumbel(x[0], x[1]{_more})", X, shares(3, 4, start=3.0), fixed=(1,))
case("nn.RReLU()", X, call="m.eval()(x[0])")
case("nn.RReLU(0.2, 0.2)", X)
case("F.rrelu(x[0], 0.1, 0.5)", X)
case("nn.FeatureAlphaDropout(0.4)", LINE, call="m.eval()(x[0])")

# Images
case("F.channel_shuffle(x[0], 2)", entries(2, 6, 3))
case("nn.ChannelShuffle(3)", entries(1, 6, 2, 2))
case("nn.Softmax2d()", PICTURE)
case("nn.Softmax2d()", PICTURE[0])
for _settings in ("2, 2", "1, 3, 2", "2, 2, 3, True", "float('inf'), 2", "-float('inf'), 2", "4.0, 3, 1"):
    case(f"nn.LPPool1d({_settings})", LINE)
case("nn.LPPool1d(2.5, 2)", shares(1, 1, 6))
case("nn.LPPool1d(2, 2)", np.array([[[0.0, 0.0, 3.0, 4.0]]]))
case("nn.LPPool2d(2, 2)", PICTURE)
case("nn.LPPool2d(2, (3, 2), stride=(2, 1), ceil_mode=True)", PICTURE)
case("nn.LPPool3d(2, 2, 1)", VOLUME)
case("nn.MaxUnpool1d(2)", LINE[..., :4], call="m(*F.max_pool1d(x[0], 2, return_indices=True))")
case("nn.MaxUnpool1d(2)", LINE, call="m(*F.max_pool1d(x[0], 2, return_indices=True), output_size=x[0].shape)")
case("nn.MaxUnpool2d(2, 2)", PICTURE, call="m(*F.max_pool2d(x[0], 2, return_indices=True), output_size=(4, 5))")
case("nn.MaxUnpool2d((2, 1))", PICTURE[0], call="m(*F.max_pool2d(x[0], (2, 1), return_indices=True))")
case("nn.MaxUnpool3d((1, 2, 3))", VOLUME, call="m(*F.max_pool3d(x[0], (1, 2, 3), return_indices=True))")

_FLOW = np.stack([entries(3, 2, start=0.3, low=-1.4, high=1.4), entries(3, 2, start=1.9, low=-1.4, high=1.4)], -1)[None]
_FLOW3 = entries(1, 2, 2, 1, 3, start=0.7, low=-1.3, high=1.3)
for _mode in ("bilinear", "nearest", "bicubic"):
    for _outside in ("zeros", "border", "reflection"):
        for _align in (False, True):
            _options = f"mode='{_mode}', padding_mode='{_outside}', align_corners={_align}"
            case(f"F.grid_sample(x[0], x[1], {_options})", PICTURE, 1.7 * _FLOW)
            if _mode != "bicubic":
                case(f"F.grid_sample(x[0], x[1], {_options})", VOLUME, _FLOW3)
_ALONG = _FLOW * np.array([1.0, 0.0])
case("F.grid_sample(x[0], x[1], align_corners=True)", PICTURE[:, :, :1], _ALONG)
for _align in (False, True):
    case(f"F.affine_grid(x[0], (2, 1, 3, 4), align_corners={_align})", entries(2, 2, 3))
    case(f"F.affine_grid(x[0], (1, 1, 2, 1, 3), align_corners={_align})", entries(1, 3, 4))
case("F.grid_sample(x[0], F.affine_grid(x[1], (1, 2, 3, 3), align_corners=False), align_corners=False)", PICTURE,
     entries(1, 2, 3, low=-0.6, high=0.6))  # fmt: skip

# Losses
_LABELS = np.array([[1, 3, -1, 0], [0, -1, 2, 1], [-1, 0, 0, 0]])
for _reduction in ("", "reduction='sum'", "reduction='none'"):
    case(f"nn.MultiLabelMarginLoss({_reduction})", X, _LABELS)
    case(f"nn.MultiLabelSoftMarginLoss({_reduction})", X, (Y > 0) * 1.0, fixed=(1,))
    case(f"nn.TripletMarginWithDistanceLoss({_reduction})", X, Y, Z)
case("nn.MultiLabelMarginLoss()", X[0], np.array([2, 0, -1, 3]))
case("nn.MultiLabelMarginLoss()", np.array([1.0, 0.0, 2.0]), np.array([0, 0, -1]))  # at the hinge's kink
case("F.multilabel_soft_margin_loss(x[0], x[1], weight=x[2])", X, (Y > 0) * 1.0, shares(4), fixed=(1, 2))
_OWN = "lambda a, b: abs(a - b).sum(-1)"
case(f"nn.TripletMarginWithDistanceLoss(distance_function={_OWN}, margin=0.3, swap=True)", X, Y, Z)

# Spectral norm, from given u and v: the steps of the power iteration too
_SPECTRAL = "begun(nn.utils.spectral_norm({}))"
case(_SPECTRAL.format("nn.Linear(3, 4)"), entries(2, 3), train=True)
case(_SPECTRAL.format("nn.Linear(3, 4, bias=False), n_power_iterations=3, dim=1"), entries(2, 3))
case(_SPECTRAL.format("nn.Conv2d(2, 3, 2)"), PICTURE)
case(_SPECTRAL.format("nn.ConvTranspose2d(2, 3, 2)"), PICTURE)


def begun(library: Library) -> Any:
    def of(module: Any) -> Any:
        """u and v that are the same in both libraries."""
        for i, (_, vector) in enumerate(module.named_buffers()):
            v = entries(*vector.shape, start=i)
            library.put(vector, v / np.sqrt((v * v).sum()))
        return module

    return of


def _mine(device: str = "cpu") -> Library:
    import tinygrad_mlsp as tg

    library = here(device)

    def gumbel(x: Any, drawn: Any, **options: Any) -> Any:
        return tg.nn.functional.gumbel_softmax(x, noise=-tg.log(drawn), **options)

    return replace(library, names={**library.names, "begun": begun(library), "gumbel": gumbel})


def _theirs() -> Library:
    import torch

    library = there()

    def gumbel(x: Any, drawn: Any, **options: Any) -> Any:
        with mock.patch.object(torch.Tensor, "exponential_", lambda self: drawn):
            return torch.nn.functional.gumbel_softmax(x, **options)

    return replace(library, names={**library.names, "begun": begun(library), "gumbel": gumbel})


def differences(title: str, wanted: Any, device: str = "cpu") -> list[str]:
    """Where what is found here differs from what is recorded."""
    tolerance = LOOSE.get(CASES[title].make.split("(")[0], 1e-12)
    return apart(plain(account(_mine(device), CASES[title])), wanted, tolerance)


def recorded() -> dict[str, Any]:
    return json.loads(DATA.read_text(encoding="utf-8"))


def feature_alpha_dropout() -> dict[str, Any]:
    """A draw of PyTorch's: the mask, seen on an input of ones, and what becomes of other numbers."""
    import torch

    function, x = torch.nn.functional.feature_alpha_dropout, torch.tensor(entries(2, 3, 4))
    torch.manual_seed(1)
    ones = function(torch.ones_like(x), 0.4, True)
    torch.manual_seed(1)
    y = function(x, 0.4, True)
    return {"x": x.tolist(), "mask": (ones > 0).tolist(), "y": y.tolist()}


def names() -> dict[str, list[str]]:
    """The public names of PyTorch's rooms: its own, without modules and what is imported for annotations."""
    import torch

    nn, optim = torch.nn, torch.optim
    rooms = {
        "nn": nn, "nn.functional": nn.functional, "nn.init": nn.init, "nn.utils": nn.utils, "optim": optim,
        "optim.lr_scheduler": optim.lr_scheduler, "optim.swa_utils": optim.swa_utils,
    }  # fmt: skip
    foreign = ("torch.overrides", "torch._jit_internal")
    found = {}
    for room, module in rooms.items():
        listed = getattr(module, "__all__", ())
        found[room] = sorted(
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and not inspect.ismodule(value) and callable(value)
            and (name in listed or str(getattr(value, "__module__", "")).startswith("torch") or "builtin" in str(value))
            and not str(getattr(value, "__module__", "")).startswith(foreign) and name not in IMPORTED
        )  # fmt: skip
    return found


def main() -> None:
    import warnings

    import torch

    warnings.simplefilter("ignore")
    lines = []
    for title, one in CASES.items():
        lines.append(f"{json.dumps(title)}: {json.dumps(plain(account(_theirs(), one)), separators=(',', ':'))}")
    version = torch.__version__.split("+")[0]
    drop = json.dumps(feature_alpha_dropout(), separators=(",", ":"))
    text = f'{{"version": "{version}", "feature_alpha_dropout": {drop}, "cases": {{\n' + ",\n".join(lines) + "\n}}\n"
    DATA.write_text(text, encoding="utf-8")
    rooms = ",\n".join(f'"{room}": {json.dumps(found)}' for room, found in names().items())
    NAMES.write_text(f'{{"version": "{version}",\n{rooms}}}\n', encoding="utf-8")
    print(f"{len(CASES)} cases, {len(text) / 1000:.0f} kB into {DATA.name}")


if __name__ == "__main__":
    main()
