"""Gradient checks of functions that are not this library's: by hand, SciPy's, PyTorch's, and a bug found.

    python examples/gradient_checks.py

Each part prints the report that it got. PyTorch and HIPS autograd are wanted by their own parts only.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize

import tinygrad_mlsp as tg


def by_hand() -> None:
    """Logistic regression with a gradient written by hand, and a slip in it: the penalty's factor 2 is forgotten."""
    random = np.random.default_rng(0)
    x, t = random.standard_normal((20, 3)), random.integers(0, 2, 20)

    def loss(w: np.ndarray) -> float:
        z = x @ w
        return np.mean(np.logaddexp(0, z) - t * z) + 0.01 * w @ w

    def gradient(w: np.ndarray) -> np.ndarray:
        residual = 1 / (1 + np.exp(-x @ w)) - t
        return x.T @ residual / len(t) + 0.01 * w

    def mended(w: np.ndarray) -> np.ndarray:
        return gradient(w) + 0.01 * w

    w = random.standard_normal(3)
    print(tg.check(loss, w, gradient=gradient))
    assert tg.check(loss, w, gradient=mended).verdict == "pass"


def scipys_objective() -> None:
    """An objective of SciPy, its gradient, and, as the derivative of that, its Hessian."""
    x = np.array([-1.2, 1.0, 0.7, 2.0])
    print(tg.check(scipy.optimize.rosen, x, gradient=scipy.optimize.rosen_der))
    print(tg.check(scipy.optimize.rosen_der, x, jacobian=scipy.optimize.rosen_hess))


def pytorchs() -> None:
    """A layer of PyTorch, reached through DLPack: the arrays go there and back without a copy."""
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: this part is left out")
        return
    layer = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.GELU(), torch.nn.LayerNorm(3)).double()

    def f(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.from_dlpack(layer(torch.from_dlpack(x)))

    def vjp(x: np.ndarray, g: np.ndarray) -> np.ndarray:
        inside = torch.from_dlpack(x).requires_grad_()
        return np.from_dlpack(torch.autograd.grad(layer(inside), inside, torch.from_dlpack(g))[0])

    print(tg.check(f, np.random.default_rng(0).standard_normal((2, 4)), vjp=vjp))


def a_bug_found() -> None:
    """HIPS autograd 1.9.1: the gradient of the maximum norm is NaN, though the norm has a slope here."""
    try:
        import autograd
        import autograd.numpy as anp
    except ImportError:
        print("HIPS autograd is not installed: this part is left out")
        return

    def norm(x: np.ndarray) -> float:
        return anp.linalg.norm(x, ord=np.inf)

    print(tg.check(norm, np.array([0.3, -2.0, 1.1]), gradient=autograd.grad(norm)))
    # Ours, beside it:
    print(tg.check(lambda x: tg.linalg.vector_norm(x, ord=np.inf), np.array([0.3, -2.0, 1.1])))


if __name__ == "__main__":
    for part in (by_hand, scipys_objective, pytorchs, a_bug_found):
        print(f"\n--- {part.__doc__}\n")
        part()
