"""Who notices what: every planted fault of tests/faults.py through this library's checks and through those of others.

    python tests/evidence/who_notices.py > docs/who_notices.md

PyTorch, JAX and autograd are asked where they are installed, each by its own gradient checker with the settings it
comes with; what is not installed is left out, and said so.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from faults import CORRECT, FAULTS, Fault, Names, NotApplicable, broken_contracts, ours

import tinygrad_mlsp as tg
from tinygrad_mlsp.checking import check

Answer = str  # "yes", "no", "n/a": whether the checker is discontent


# This library


def by_check(fault: Fault) -> bool:
    f, inputs, options = ours(fault)
    return not check(f, *inputs, **options).ok


def by_contracts(fault: Fault) -> bool:
    return bool(broken_contracts(fault))


# PyTorch


def torch_function(fault: Fault) -> Any:
    import torch

    class TorchNames(Names):
        conjugates = True

        def constant(self, array: Any, like: Any) -> Any:
            return torch.tensor(np.asarray(array), dtype=like.dtype)

        def max(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
            return torch.amax(x, dim=() if axis is None else axis, keepdim=keepdims)

        def reshape(self, x: Any, shape: Any) -> Any:
            return torch.reshape(x, shape)

        def write(self, x: Any, by: float) -> None:
            x.data.mul_(by)

        def detach(self, x: Any) -> Any:
            return x.detach()

        def cast(self, x: Any, dtype: str) -> Any:
            return x.to(getattr(torch, dtype))

        def in_memory_order(self, x: Any) -> Any:
            return torch.from_numpy(super().in_memory_order(x.detach().numpy()).copy())

        def raw(self, x: Any) -> Any:
            return np.array(x.detach().numpy())

    xp = TorchNames(torch)

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            y = fault.forward(xp, *xs)
            ctx.save_for_backward(y, *xs)
            ctx.save_for_forward(y, *xs)
            return y

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            y, *xs = ctx.saved_tensors
            return tuple(fault.vjp(xp, g, y, *xs))

        @staticmethod
        def jvp(ctx: Any, *ts: Any) -> Any:
            y, *xs = ctx.saved_tensors
            assert fault.jvp is not None
            return fault.jvp(xp, ts[0], y, *xs)

    return fault.build(Planted.apply)


def by_gradcheck(fault: Fault, **how: Any) -> bool:
    import torch

    f = torch_function(fault)
    arrays = [np.asarray(x) for x in fault.inputs]  # an empty array's strides of NumPy's would be refused
    inputs = [torch.tensor(x) if x.size else torch.zeros(x.shape, dtype=torch.float64) for x in arrays]
    inputs = [x.requires_grad_() for x in inputs]
    ask = torch.autograd.gradcheck
    if not ask(f, inputs, raise_exception=False, check_forward_ad=fault.jvp is not None, **how):
        return True
    return fault.order > 1 and not torch.autograd.gradgradcheck(f, inputs, raise_exception=False, **how)


def by_fast_gradcheck(fault: Fault) -> bool:
    import torch

    torch.manual_seed(0)
    return by_gradcheck(fault, fast_mode=True)


# JAX


def by_jax(fault: Fault) -> bool:
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)

    class JaxNames(Names):
        def constant(self, array: Any, like: Any) -> Any:
            return jnp.asarray(np.asarray(array), dtype=like.dtype)

        def write(self, x: Any, by: float) -> None:
            raise NotApplicable

        def in_memory_order(self, x: Any) -> Any:
            raise NotApplicable

        def detach(self, x: Any) -> Any:
            return jax.lax.stop_gradient(x)

    xp = JaxNames(jnp)
    rules = jax.custom_vjp if fault.jvp is None else jax.custom_jvp
    f = rules(lambda *xs: fault.forward(xp, *xs))
    if fault.jvp is None:

        def forward(*xs: Any) -> Any:
            y = fault.forward(xp, *xs)
            return y, (y, *xs)

        f.defvjp(forward, lambda kept, g: tuple(fault.vjp(xp, g, *kept)))
    else:
        rule = fault.jvp

        def both(xs: Any, ts: Any) -> Any:
            y = fault.forward(xp, *xs)
            return y, rule(xp, ts[0], y, *xs)

        f.defjvp(both)
    inputs = [jnp.asarray(x) for x in fault.inputs]
    modes = ["rev"] if fault.jvp is None else ["fwd"]
    return not content(lambda: check_grads(fault.build(f), inputs, fault.order, modes=modes))


def content(ask: Callable[[], Any]) -> bool:
    """Whether a checker that answers by an exception raises none."""
    import jax

    try:
        ask()
    except (NotApplicable, jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        raise NotApplicable from None
    except Exception:
        return False
    return True


# autograd


def by_autograd(fault: Fault) -> bool:
    import autograd.numpy as anp
    from autograd.extend import defjvp, defvjp, primitive
    from autograd.test_util import check_grads
    from autograd.tracer import getval

    class AutogradNames(Names):
        def constant(self, array: Any, like: Any) -> Any:
            return np.asarray(array, dtype=getval(like).dtype)

        def detach(self, x: Any) -> Any:
            return getval(x)

        def raw(self, x: Any) -> Any:
            return np.array(getval(x))

    xp = AutogradNames(anp)
    f = primitive(lambda *xs: fault.forward(Names(np), *xs))
    places = range(len(fault.inputs))
    defvjp(f, *[lambda y, *xs, i=i: lambda g: fault.vjp(xp, g, y, *xs)[i] for i in places])
    if fault.jvp is not None:
        rule = fault.jvp
        defjvp(f, lambda t, y, x: rule(xp, t, y, x))
    modes = ["rev"] if fault.jvp is None else ["fwd", "rev"]
    np.random.seed(0)  # which decides on the projections of check_grads
    try:
        where = list(places) if len(places) > 1 else 0
        check_grads(fault.build(f), where, modes=modes, order=fault.order)(*[np.array(x) for x in fault.inputs])
    except NotApplicable:
        raise
    except Exception:
        return True
    return False


CHECKERS: dict[str, tuple[str, str, Callable[[Fault], bool]]] = {
    "check": ("tinygrad_mlsp", "`check`", by_check),
    "contracts": ("tinygrad_mlsp", "`contracts`", by_contracts),
    "gradcheck": ("torch", "torch `gradcheck`", by_gradcheck),
    "fast": ("torch", "the same, `fast_mode`", by_fast_gradcheck),
    "jax": ("jax", "JAX `check_grads`", by_jax),
    "autograd": ("autograd", "autograd `check_grads`", by_autograd),
}


TROUBLES = {
    1: "tolerances that do not know the gradient's scale",
    2: "one wrong entry among many",
    3: "low precision",
    4: "kinks and ties",
    5: "singular points",
    6: "undoing a broadcast",
    7: "empty and 0-d arrays",
    8: "an upstream gradient that is not contiguous",
    9: "a backward pass that changes its gradient",
    10: "data changed after it was saved",
    11: "one tensor in two places, and several backward calls",
    14: "threads",
}


def answer(ask: Callable[[Fault], bool], fault: Fault) -> Answer:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return "yes" if ask(fault.fresh()) else "no"
        except NotApplicable:
            return "n/a"
        except Exception:  # an error of another kind stops the reader just as well
            return "yes"


def survey(names: list[str]) -> dict[str, dict[str, Answer]]:
    """The answer of each checker to each fault."""
    return {f.id: {n: answer(CHECKERS[n][2], f) for n in names} for f in [*FAULTS, *CORRECT]}


def page() -> str:
    installed = [n for n in CHECKERS if importlib.util.find_spec(CHECKERS[n][0]) is not None]
    missing = sorted({CHECKERS[n][0] for n in CHECKERS if n not in installed})
    packages = sorted({CHECKERS[n][0] for n in installed} - {"tinygrad_mlsp"})
    found = survey(installed)
    titles = [CHECKERS[n][1] for n in installed]

    def table(head: str, faults: list[Fault], words: dict[str, str], beside: str) -> list[str]:
        lines = [f"| {head} | {' | '.join(titles)} |", "|" + " --- |" * (1 + len(titles))]
        for f in faults:
            number = "–" if f.number is None else f.number
            cells = [beside if (n, found[f.id][n]) == ("contracts", "no") else words[found[f.id][n]] for n in installed]
            lines.append(f"| {f.name.replace('|', chr(92) + '|')} ({number}) | {' | '.join(cells)} |")
        counted = [sum(found[f.id][n] == "yes" for f in faults) for n in installed]
        asked = [sum(found[f.id][n] != "n/a" for f in faults) for n in installed]
        totals = " | ".join(f"**{c} of {a}**" for c, a in zip(counted, asked, strict=True))
        return [*lines, f"| **{words['total']}** | {totals} |"]

    either = sum("yes" in (found[f.id]["check"], found[f.id]["contracts"]) for f in FAULTS)
    versions = ", ".join(f"{p} {version(p)}" for p in packages)
    return "\n".join([
        "# Who notices what",
        "",
        f"{len(FAULTS)} planted faults and {len(CORRECT)} correct functions that look suspicious, each written once "
        "and handed to the gradient checkers of four libraries, with the settings that each comes with, in float64 "
        "unless the line says otherwise. Written by `python tests/evidence/who_notices.py`; the table of faults is "
        "`tests/faults.py`.",
        "",
        f"Asked: tinygrad_mlsp {tg.__version__}, {versions}, NumPy {np.__version__}."
        + (f" Not installed, so left out: {', '.join(missing)}." if missing else ""),
        "",
        "The number in brackets says which of the troubles that users of such libraries met it is: "
        + ", ".join(f"{n} {what}" for n, what in TROUBLES.items())
        + ".",
        "",
        "A fault counts as noticed if the checker rejects the function or stops with an error; a dash means that the "
        "fault cannot be written in that library. `contracts` asks about memory, layouts, threads and the like; it "
        "stands beside `check`, not in its place, and its cell is empty where the fault breaks no contract.",
        "",
        "## Faults",
        "",
        f"`check` and `contracts` together notice {either} of {len(FAULTS)}.",
        "",
        *table("planted fault", FAULTS, {"yes": "noticed", "no": "**missed**", "n/a": "–", "total": "noticed"}, ""),
        "",
        "## Correct functions",
        "",
        *table("correct function", CORRECT,
               {"yes": "**rejected**", "no": "accepted", "n/a": "–", "total": "falsely rejected"}, "accepted"),
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    print(page(), end="")
