"""What PyTorch's attention and transformer layers give, into tests/data/models.json (needs torch).

    python tests/evidence/models_reference.py

`CASES` says how each is made and called; parameters and inputs are waves, so that both sides know them. Recorded are
outputs, the gradients of a squared error, and its course over 20 steps of gradient descent.
`tests/test_models.py` compares with what is recorded, and needs no PyTorch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[1] / "data" / "models.json"
STEPS, RATE = 20, 0.05


def wave(k: int, *shape: int) -> Any:
    """Numbers in (−1, 1) without pattern enough to cancel, the same everywhere."""
    n = int(np.prod(shape))
    return np.sin(1.7 * np.arange(n) ** 1.01 + 0.9 * k + 0.3).reshape(shape)


def attention(options: dict[str, Any], q: Any, k: Any = None, v: Any = None, **call: Any) -> dict[str, Any]:
    """A MultiheadAttention of 4 features and 2 heads, called on waves of these shapes."""
    return {"make": "MultiheadAttention", "options": {"embed_dim": 4, "num_heads": 2, **options},
            "inputs": [s for s in (q, k, v) if s], "call": call}  # fmt: skip


def encoder(options: dict[str, Any], x: Any, **call: Any) -> dict[str, Any]:
    """A TransformerEncoderLayer of 4 features and 2 heads."""
    options = {"d_model": 4, "nhead": 2, "dim_feedforward": 6, "dropout": 0.0, **options}
    return {"make": "TransformerEncoderLayer", "options": options, "inputs": [x], "call": call}


CAUSAL3 = [[False, True, True], [False, False, True], [False, False, False]]
PADDING = [[False, False, True], [False, False, False]]
SOME = [[0.0, -1.5, 0.5], [0.3, 0.0, -9.0], [1.0, 0.0, 0.0]]
CASES: dict[str, dict[str, Any]] = {
    "self": attention({}, (3, 2, 4)),
    "self, batch first": attention({"batch_first": True}, (2, 3, 4), attn_mask=CAUSAL3, key_padding_mask=PADDING),
    "cross": attention({}, (3, 2, 4), (5, 2, 4), (5, 2, 4)),
    "keys are values": attention({"batch_first": True}, (2, 3, 4), (2, 5, 4)),
    "sizes of their own": attention({"kdim": 3, "vdim": 5}, (3, 2, 4), (2, 2, 3), (2, 2, 5)),
    "no bias": attention({"bias": False}, (3, 2, 4), average_attn_weights=False),
    "added keys": attention(
        {"add_bias_kv": True, "add_zero_attn": True}, (3, 2, 4), attn_mask=CAUSAL3, key_padding_mask=PADDING
    ),
    "numbers as masks": attention({}, (3, 2, 4), attn_mask=SOME, key_padding_mask=[[0.0, -1.0, 0.5], [0.0, 0.0, 2.0]]),
    "a mask a head": attention({}, (3, 1, 4), attn_mask=[SOME, CAUSAL3]),
    "one sample": attention({}, (3, 4), attn_mask=CAUSAL3),
    "causal": attention({"batch_first": True}, (2, 3, 4), attn_mask=CAUSAL3, is_causal=True, need_weights=False),
    "block": encoder({}, (3, 2, 4)),
    "block, norm first": encoder({"norm_first": True, "batch_first": True}, (2, 3, 4), src_mask=CAUSAL3),
    "block, gelu": encoder({"activation": "gelu", "layer_norm_eps": 1e-3}, (3, 2, 4), src_key_padding_mask=PADDING),
    "block, no bias": encoder({"bias": False, "norm_first": True}, (3, 2, 4)),
    "encoder": {**encoder({"batch_first": True}, (2, 3, 4), mask=CAUSAL3), "stack": 2},
}
QUERIES = {
    "plain": {},
    "causal": {"is_causal": True},
    "causal, more keys": {"is_causal": True, "keys": 5},
    "mask": {"attn_mask": [[True, False, True], [False, False, False], [True, True, True]]},
    "numbers": {"attn_mask": SOME},
    "scale": {"scale": 0.7},
    "grouped": {"enable_gqa": True},
}  # fmt: skip


def qkv(case: dict[str, Any]) -> list[Any]:
    """The arguments of scaled_dot_product_attention: [2, 4, 3, 5] queries."""
    heads, keys = 2 if case.get("enable_gqa") else 4, case.get("keys", 3)
    return [wave(0, 2, 4, 3, 5), wave(1, 2, heads, keys, 5), wave(2, 2, heads, keys, 6)]


def run(make: Any, parameter: Any, tensor: Any, rest: Any, descend: Any, case: dict[str, Any]) -> dict[str, Any]:
    """One case, on whichever side: `make` its module, and give back what is to be compared."""
    module = make(case)
    names = [name for name, _ in module.named_parameters()]
    for i, (_, p) in enumerate(sorted(module.named_parameters())):
        parameter(p, 0.6 * wave(i + 7, *p.shape) + (1.0 if len(p.shape) == 1 and i % 2 else 0.0))
    inputs = [tensor(wave(i, *shape), True) for i, shape in enumerate(case["inputs"])]
    arguments = (inputs + inputs[-1:] * 2)[:3] if case["make"] == "MultiheadAttention" else inputs
    call = {name: rest(value) for name, value in case["call"].items()}
    found: dict[str, Any] = {"keys": sorted(names), "losses": []}
    target = None
    for step in range(STEPS):
        result = module(*arguments, **call)
        y, weights = result if isinstance(result, tuple) else (result, None)
        target = tensor(wave(5, *y.shape), False) if target is None else target
        loss = ((y - target) * (y - target)).mean()
        loss.backward()
        found["losses"].append(loss.item())
        if not step:
            found["y"] = y.detach().tolist()
            found["weights"] = None if weights is None else weights.detach().tolist()
            found["x grads"] = [x.grad.tolist() for x in inputs]
            found["gradients"] = {n: p.grad.tolist() for n, p in sorted(module.named_parameters())}
        descend(module, RATE)
    return found


def pytorchs() -> dict[str, Any]:
    """All cases, by PyTorch."""
    import torch

    torch.set_default_dtype(torch.float64)

    def make(case: dict[str, Any]) -> Any:
        layer = getattr(torch.nn, case["make"])(**case["options"])
        return (
            torch.nn.TransformerEncoder(layer, case["stack"], enable_nested_tensor=False) if "stack" in case else layer
        )

    def rest(value: Any) -> Any:
        if isinstance(value, list) and isinstance(value[0][0], list):
            return torch.stack([torch.tensor(v, dtype=torch.float64) for v in value])
        return torch.tensor(value) if isinstance(value, list) else value

    def descend(module: Any, rate: float) -> None:
        torch.optim.SGD(module.parameters(), rate).step()
        module.zero_grad()

    def parameter(p: Any, value: Any) -> None:
        p.data.copy_(torch.tensor(value))

    def tensor(value: Any, wants: bool) -> Any:
        return torch.tensor(value, requires_grad=wants)

    found = {name: run(make, parameter, tensor, rest, descend, case) for name, case in CASES.items()}
    for name, case in QUERIES.items():
        given = [tensor(x, True) for x in qkv(case)]
        call = {k: rest(v) for k, v in case.items() if k != "keys"}
        y = torch.nn.functional.scaled_dot_product_attention(*given, **call)
        (y * torch.tensor(wave(5, *y.shape))).sum().backward()
        found[f"query: {name}"] = {"y": y.tolist(), "x grads": [x.grad.tolist() for x in given]}
    return found


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    DATA.write_text(json.dumps(rounded(pytorchs()), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{DATA.name}: {DATA.stat().st_size:,} bytes")
