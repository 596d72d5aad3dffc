"""Mixed precision: products in float16, sums and logarithms in float32, and a loss scaled so that nothing underflows.

    scaler = tg.amp.GradScaler("cuda")
    with tg.amp.autocast("cuda", dtype=tg.float16):
        loss = F.cross_entropy(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()

The names, defaults and lists are PyTorch's. Weights stay float32; each use casts them, and the cast's adjoint gives
their gradients in float32. CuPy multiplies float16 matrices with sums in float32, as cuBLAS does. NumPy sums in
float16, and slowly: on the CPU this is for trying out.
"""

from __future__ import annotations

import functools
import inspect
import math
import threading
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .backend import device_of, space_of, spaces
from .convert import as_dtype
from .errors import DTypeError, GraphError, OptionError
from .modes import _casting
from .op import registry
from .optim import Optimizer
from .record import operators
from .tensor import Tensor, record_of, wrap

HALF, SINGLE = np.dtype("float16"), np.dtype("float32")

# Where the time goes: matrix products, convolutions, the recurrent layers.
NARROW = (
    "matmul", "linear", "einsum", "vecdot", "outer", "convolution", "convolution_input", "convolution_weight", "prelu",
    "lstm_cell", "lstm_sequence", "gru_sequence", "rnn_sequence",
)  # fmt: skip
NARROW_FUNCTIONS = (  # of nn.functional: those that add a bias to a product
    "bilinear", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "locally_connected",
)  # fmt: skip

# What overflows or loses its digits in float16. All else takes what it is given, and the wider of two dtypes.
WIDE = (
    "softmax", "log_softmax", "logsumexp", "logaddexp", "logcumsumexp", "log_sigmoid", "softplus", "cross_entropy",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "exp", "expm1", "log", "log10", "log1p", "log2", "pow",
    "reciprocal", "xlogy", "xlog1py", "sum", "mean", "prod", "var", "std", "vector_norm", "standardize",
    "cumulative_sum", "cumulative_prod", "linear_recurrence", "acos", "asin", "cosh", "sinh", "tan", "erfinv",
    "lgamma", "digamma", "polygamma", "i0", "i0e", "i1", "i1e", "iv", "ive", "fftn", "ifftn", "rfftn", "irfftn", "inv",
    "solve", "det", "slogdet", "cholesky", "qr", "svd", "svdvals", "eigh", "eigvalsh", "pinv", "cofactor",
)  # fmt: skip
WIDE_CHAPTERS = ("loss", "labels", "ctc", "distance", "norm")  # of nn.functional: all that they have


class autocast:
    """Inside, on this kind of device, products are taken in float16, losses, norms, exponentials and sums in float32

    Everything else takes the dtype that it is given. float64 and whole numbers are left as they are. Of one thread or
    task alone; may be nested, and switched off inside with enabled=False. A function can be decorated with it. The
    backward pass stands outside: it has the dtypes of the forward pass anyway.

    Raises: OptionError; DTypeError for another dtype than float16 (bfloat16 is neither NumPy's nor CuPy's).
    Source: Micikevicius et al., "Mixed precision training", 2018.

    >>> with autocast("cpu"):
    ...     y = record_of("matmul")(Tensor([[1.0, 2.0]]), Tensor([[3.0], [4.0]]))
    >>> y
    Tensor([[11.]], dtype=float16)
    """

    def __init__(self, device_type: str, dtype: Any = None, enabled: bool = True) -> None:
        kind = device_type.partition(":")[0] if isinstance(device_type, str) else device_type
        if kind not in ("cpu", "cuda"):
            raise OptionError(f"autocast: the device_type is 'cuda' or 'cpu', got {device_type!r}")
        if dtype is not None and not _is_half(dtype):
            why = "neither NumPy nor CuPy has bfloat16; " if "bfloat16" in str(dtype) else ""
            raise DTypeError(f"autocast: {why}the dtype is float16, got {dtype!r}")
        self.device_type, self.enabled = kind, bool(enabled)
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        if self.enabled:
            _prepare()
        here = _casting.get()
        self._tokens.append(_casting.set(here | {self.device_type} if self.enabled else here - {self.device_type}))

    def __exit__(self, *_: Any) -> None:
        _casting.reset(self._tokens.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def cast(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device_type, enabled=self.enabled):
                return function(*args, **kwargs)

        return cast


def _is_half(dtype: Any) -> bool:
    try:
        return bool(as_dtype(dtype) == HALF)
    except DTypeError:
        return False


# How functions come to look whether they are inside


_lock = threading.Lock()
_prepared = False


def _prepare() -> None:
    """Puts the question, whether to cast, at the head of all the functions listed above.

    It happens at the first autocast of a process, so who never uses it never pays. They are held by name all over the
    package, and so stay the same objects: their code is changed.
    """
    global _prepared
    from .nn import functional

    with _lock:
        if _prepared:
            return
        for names, source, target in ((NARROW, SINGLE, HALF), (WIDE, HALF, SINGLE)):
            for function in [registry[name].record for name in names] + operators:
                if function.operation.name in names:  # type: ignore[attr-defined]
                    _put_at_head(function, source, target)
        for name in functional.__all__:
            function = getattr(functional, name)
            if name in NARROW_FUNCTIONS:
                _put_at_head(function, SINGLE, HALF)
            elif function.__module__.rpartition(".")[2] in WIDE_CHAPTERS and isinstance(function, types.FunctionType):
                _put_at_head(function, HALF, SINGLE)
        _prepared = True


def _put_at_head(function: Any, source: Any, target: Any) -> None:
    code = function.__code__
    plain = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    plain.__kwdefaults__ = function.__kwdefaults__

    def ready(arguments: Any) -> Any:
        kinds = _casting.get()
        return _cast(arguments, source, target, kinds) if kinds else arguments

    function.__signature__ = inspect.signature(function)
    # In this order, so that a call in another thread meets the old code or the new one, and each finds its own.
    function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), "_plain": plain, "_ready": ready}
    function.__code__ = _head.__code__.replace(co_name=code.co_name, co_freevars=code.co_freevars)


def _head(*arguments: Any, _plain: Any, _ready: Any, **options: Any) -> Any:
    return _plain(*_ready(arguments), **_ready(options))


def _cast(value: Any, source: Any, target: Any, kinds: frozenset[str]) -> Any:
    """Tensors and arrays of one dtype in another, if they are on such a device, in whatever they are packed."""
    if type(value) in (tuple, list):
        return type(value)([_cast(v, source, target, kinds) for v in value])
    if type(value) is dict:
        return {name: _cast(v, source, target, kinds) for name, v in value.items()}
    array = value._array if isinstance(value, Tensor) else value
    if type(array) not in spaces or array.dtype != source or device_of(array).partition(":")[0] not in kinds:
        return value
    with np.errstate(over="ignore"):  # too large for float16 is ∞ there; on a GPU nothing is said of it either
        return record_of("astype")(value, dtype=target) if isinstance(value, Tensor) else value.astype(target)


class GradScaler:
    """loss · s is differentiated, and the gradients are divided by s: what float16 would have rounded to 0 survives

    A step whose gradients are not all finite is left out, and s ← s · backoff_factor. After `growth_interval` good
    steps in a row s ← s · growth_factor.

    Raises: OptionError; GraphError for calls out of their order.
    Source: Micikevicius et al., "Mixed precision training", 2018, section 3.2.
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
        backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        if not isinstance(device, str):
            raise OptionError(f"GradScaler: the device is 'cuda' or 'cpu', got {device!r}; name others: init_scale=")
        self._enabled = bool(enabled)
        self._state = {
            "scale": init_scale, "growth_factor": growth_factor, "backoff_factor": backoff_factor,
            "growth_interval": growth_interval, "_growth_tracker": 0,
        }  # fmt: skip
        _check_scaler(self._state)
        self._found: dict[int, bool] = {}  # by optimizer, since the last update: whether a gradient was not finite
        self._stepped: set[int] = set()

    def get_scale(self) -> float:
        """s; 1 where the scaler is not enabled."""
        return float(self._state["scale"]) if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def scale(self, outputs: Any) -> Any:
        """outputs · s, of a Tensor, or of Tensors in a list or tuple"""
        if not self._enabled:
            return outputs
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(map(self.scale, outputs))
        if not isinstance(outputs, Tensor) or outputs.dtype.kind != "f":
            kind = outputs.dtype if isinstance(outputs, Tensor) else type(outputs).__name__
            raise DTypeError(f"GradScaler.scale: scales the loss, a Tensor of floats, or several; got {kind}")
        wide = record_of("astype")(outputs, dtype=SINGLE) if outputs.dtype == HALF else outputs
        return wide * self.get_scale()

    def unscale_(self, optimizer: Optimizer) -> None:
        """g ← g/s for the gradients of the optimizer's parameters: before they are clipped, or looked at"""
        if not self._enabled:
            return
        if not isinstance(optimizer, Optimizer):
            raise OptionError(f"GradScaler: takes an optimizer, not {type(optimizer).__name__}")
        if id(optimizer) in self._found:
            raise GraphError("GradScaler.unscale_: these gradients are unscaled already; call update() after each step")
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if (narrow := next((p for p in parameters if p.dtype == HALF), None)) is not None:
            raise DTypeError(
                f"GradScaler: a parameter of shape {list(narrow.shape)} is float16; weights stay float32, autocast "
                "casts them where they are used"
            )
        if not parameters:
            raise GraphError("GradScaler: no parameter has a gradient; call scale(loss).backward() before")
        for p in parameters:
            p.grad = wrap(p.grad._array * (1 / self.get_scale()), None)
        self._found[id(optimizer)] = not _finite(p.grad._array for p in parameters)

    def overflowed(self, optimizer: Optimizer) -> bool:
        """Whether `unscale_` met a gradient that is not finite: then `step` will do nothing."""
        return self._found.get(id(optimizer), False)

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(), after `unscale_` if that has not been called; nothing if a gradient is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise OptionError(
                "GradScaler.step: takes no closure; use an optimizer that needs none, such as SGD or Adam"
            )
        if id(optimizer) in self._stepped:
            raise GraphError("GradScaler.step: the step was taken already; call update() after each step")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return None if self._found[id(optimizer)] else optimizer.step(**kwargs)

    def update(self, new_scale: float | None = None) -> None:
        """Makes s smaller after an overflow, larger after many steps without one; or sets it."""
        if not self._enabled:
            return
        state = self._state
        if new_scale is not None:
            _check_scaler({**state, "scale": new_scale})
            state["scale"] = float(new_scale)
        elif not self._found:
            raise GraphError("GradScaler.update: no gradient was unscaled since the last update; call step() before")
        elif any(self._found.values()):
            state["scale"], state["_growth_tracker"] = state["scale"] * state["backoff_factor"], 0
        else:
            state["_growth_tracker"] += 1
            if state["_growth_tracker"] == state["growth_interval"]:
                larger = state["scale"] * state["growth_factor"]
                state["scale"], state["_growth_tracker"] = min(larger, 2.0**126), 0
        self._found, self._stepped = {}, set()

    def state_dict(self) -> dict[str, Any]:
        """What it needs to go on, with PyTorch's names; nothing where it is not enabled."""
        return dict(self._state) if self._enabled else {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on where the scaler stood that gave this state.

        Raises: OptionError.
        """
        if not self._enabled:
            return
        if not isinstance(state_dict, Mapping) or set(state_dict) != set(self._state):
            got = list(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__
            raise OptionError(
                f"GradScaler.load_state_dict: wants {', '.join(self._state)}, got {got or 'nothing'}; was the other "
                "one enabled?"
            )
        _check_scaler(state_dict)
        self._state.update(state_dict)

    def __repr__(self) -> str:
        return f"GradScaler({', '.join(f'{k}={v}' for k, v in self._state.items())}, enabled={self._enabled})"


def _check_scaler(state: Mapping[str, Any]) -> None:
    for name, right, wanted in (
        ("scale", lambda v: 0 < v < math.inf, "a positive number"),
        ("growth_factor", lambda v: 1 < v < math.inf, "above 1"),
        ("backoff_factor", lambda v: 0 < v < 1, "between 0 and 1"),
        ("growth_interval", lambda v: v >= 1 and int(v) == v, "a whole number of 1 or more"),
        ("_growth_tracker", lambda v: v >= 0 and int(v) == v, "a whole number of 0 or more"),
    ):
        try:
            good = not isinstance(state[name], bool) and right(state[name])
        except (TypeError, ValueError, OverflowError):
            good = False
        if not good:
            raise OptionError(f"GradScaler: {name} must be {wanted}, got {state[name]!r}")


def _finite(arrays: Iterable[Any]) -> bool:
    """Whether all entries are finite, asked once a device."""
    devices: dict[str, list[Any]] = {}
    for array in arrays:
        devices.setdefault(device_of(array), []).append(array)
    return all(bool(xp.all(xp.stack([xp.all(xp.isfinite(a)) for a in found])))
               for found in devices.values() if (xp := space_of(found[0])))  # fmt: skip
