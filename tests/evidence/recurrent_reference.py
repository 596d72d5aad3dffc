"""What PyTorch's recurrent layers give: outputs, last states and all gradients, recorded in tests/data/recurrent.json.

    python tests/evidence/recurrent_reference.py        (needs PyTorch)

Weights and data are drawn by NumPy from a case's own seed (`arrays`), here and in tests/test_recurrent.py, so that only
results are stored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

HERE = Path(__file__).resolve()
DATA = HERE.parents[1] / "data" / "recurrent.json"
INPUT, HIDDEN, TIME, BATCH = 2, 3, 4, 3
LENGTHS = [2, 4, 1]


def _cases() -> dict[str, dict[str, Any]]:
    """A layer's kind and options, and how it is called: "state", "packed", "unbatched"."""
    found: dict[str, dict[str, Any]] = {}
    for kind in ("RNN", "LSTM", "GRU"):
        for name, options, call in (
            ("plain", {}, []),
            ("state", {}, ["state"]),
            ("no bias", {"bias": False}, []),
            ("two layers, both ways", {"num_layers": 2, "bidirectional": True}, ["state"]),
            ("batch first", {"batch_first": True, "num_layers": 2}, ["state"]),
            ("unbatched", {"bidirectional": True}, ["unbatched", "state"]),
            ("packed", {}, ["packed"]),
            ("packed, both ways", {"num_layers": 2, "bidirectional": True}, ["packed", "state"]),
        ):
            found[f"{kind}, {name}"] = {"kind": kind, "options": options, "call": call}
    found["RNN, relu"] = {"kind": "RNN", "options": {"nonlinearity": "relu"}, "call": ["state"]}
    for call in (["state"], ["packed", "state"]):
        options = {"proj_size": 2, "num_layers": 2, "bidirectional": True}
        found[f"LSTM, projected {'packed' * (len(call) - 1)}".strip()] = {
            "kind": "LSTM",
            "options": options,
            "call": call,
        }
    return found


CASES = _cases()


def arrays(name: str, parameters: list[tuple[str, tuple[int, ...]]]) -> dict[str, Any]:
    """All that a case needs, by name: every parameter, x, h, c, and what the outputs are weighed with."""
    random = np.random.default_rng(crc32(name.encode()))
    case, found = CASES[name], {}
    for key, shape in parameters:
        found[key] = random.uniform(-0.8, 0.8, shape)
    options, call = case["options"], case["call"]
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    batch = () if "unbatched" in call else (BATCH,)
    first = options.get("batch_first", False)
    found["x"] = random.normal(size=(*batch, TIME, INPUT) if first else (TIME, *batch, INPUT))
    width = options.get("proj_size", HIDDEN)
    found["h"], found["c"] = random.normal(size=(layers, *batch, width)), random.normal(size=(layers, *batch, HIDDEN))
    ways = 2 if options.get("bidirectional") else 1
    found["weigh"] = random.normal(size=(*batch, TIME, width * ways) if first else (TIME, *batch, width * ways))
    found["weigh h"] = random.normal(size=found["h"].shape)
    found["weigh c"] = random.normal(size=found["c"].shape)
    return found


def run(case: dict[str, Any], given: dict[str, Any], net: Any, nn: Any, tensor: Any) -> dict[str, Any]:
    """The case in one library or the other: results, and the leaves whose gradients are wanted."""
    call, x = case["call"], tensor(given["x"])
    state = None
    leaves = {"x": x}
    if "state" in call:
        leaves["h"] = tensor(given["h"])
        state = leaves["h"]
        if case["kind"] == "LSTM":
            leaves["c"] = tensor(given["c"])
            state = (state, leaves["c"])
    inputs = nn.utils.rnn.pack_padded_sequence(x, LENGTHS, enforce_sorted=False) if "packed" in call else x
    outputs, last = net(inputs, state)
    if "packed" in call:
        outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs)
    h, *c = last if case["kind"] == "LSTM" else (last,)
    total = (outputs * given["as"](given["weigh"])).sum() + (h * given["as"](given["weigh h"])).sum()
    for part in c:
        total = total + (part * given["as"](given["weigh c"])).sum()
    total.backward()
    return {"results": {"outputs": outputs, "h_n": h, **dict(zip(["c_n"], c, strict=False))}, "leaves": leaves}


def record() -> dict[str, Any]:
    import torch

    found = {}
    for name, case in CASES.items():
        net = getattr(torch.nn, case["kind"])(INPUT, HIDDEN, **case["options"]).double()
        given = arrays(name, [(k, tuple(p.shape)) for k, p in net.named_parameters()])
        given["as"] = torch.from_numpy
        with torch.no_grad():
            for k, p in net.named_parameters():
                p.copy_(torch.from_numpy(given[k]))
        ran = run(case, given, net, torch.nn, lambda a: torch.tensor(a, requires_grad=True))
        gradients = {k: v.grad for k, v in {**ran["leaves"], **dict(net.named_parameters())}.items()}
        found[name] = {
            "parameters": {k: list(p.shape) for k, p in net.named_parameters()},
            **{k: v.detach().reshape(-1).tolist() for k, v in ran["results"].items()},
            "gradients": {k: v.reshape(-1).tolist() for k, v in gradients.items()},
        }
    return {"torch": torch.__version__.split("+")[0], "cases": found}


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.12g}") if isinstance(value, float) else value


if __name__ == "__main__":
    text = json.dumps(rounded(record()), separators=(",", ":")).replace('},"', '},\n"')
    DATA.write_text(text + "\n")
    print(f"{len(CASES)} cases, {len(text):,} characters")
