"""Learners of features that are nets in disguise: principal, independent and non-negative components as autoencoders
with a structure to their layers; kernel PCA, independent subspaces and neighbour embeddings, to be stacked.

All are greedy modules: `fit` trains one, `encoder()` gives its features as layers of a net, or it is itself one.
Lecture 0, "Ways to constrain an autoencoder", "Neural net PCA", "… ICA", "… NMF"; lecture 2, "What kind of unsupervised
learning?".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import float32, space_of
from ..errors import OptionError, ShapeError
from ..linalg import eigh, qr
from ..namespace import argsort, concat, zeros
from ..nn import Identity, Linear, Module, Parameter, Sequential, Softplus, Tanh, init
from ..nn import functional as F
from ..nn.functional.checks import number
from ..nn.module import _size
from ..optim import Optimizer
from ..random import Generator, default_generator
from ..tensor import Tensor, no_grad, record_of
from .greedy import Optimize, descend, matrix

_abs, _softplus, _sqrt, _exp = record_of("abs"), record_of("softplus"), record_of("sqrt"), record_of("exp")
_arccos, _sin, _cos = record_of("acos"), record_of("sin"), record_of("cos")


def whitening(x: Tensor, k: int | None = None, what: str = "whitening") -> tuple[Tensor, Tensor]:
    """The mean c of the rows of x, and U with U (x − c) of unit covariance: its k largest principal components, scaled

    Computed in float64. Shapes: x [n, features], c [features], U [k, features].
    Raises: OptionError where the data do not vary in k directions.
    """
    x = matrix(what, x)
    wide = x.detach().astype("float64")
    mean = wide.mean(axis=0)
    values, vectors = eigh((wide - mean).mT @ (wide - mean) * (1 / len(x)))
    k = x.shape[1] if k is None else k
    shown = values.numpy()[::-1]
    rank = int((shown > 1e-10 * max(shown[0], 1e-30)).sum())
    if rank < k or shown[0] < 1e-12 * max(1e-30, float((mean * mean).max())):
        raise OptionError(
            f"{what}: wants data that vary in {k} directions; these {len(x)} rows of {x.shape[1]} vary in "
            f"{rank if shown[0] > 0 else 0}. Ask for fewer, or take away what is constant"
        )
    first = vectors[:, x.shape[1] - k :]
    scaled = (first * (1 / _sqrt(values[x.shape[1] - k :]))).mT
    return mean.astype(x.dtype), scaled.astype(x.dtype)


def _layer(weight: Tensor, bias: Tensor) -> Linear:
    """A Linear with copies of these."""
    out, n = weight.shape
    layer = Linear(n, out, device=weight.device, dtype=weight.dtype, generator=Generator(0))
    layer.weight.copy_(weight.detach())
    assert layer.bias is not None
    layer.bias.copy_(bias.detach())
    return layer


class _Components(Module):
    """A centre c and a matrix; what the kinds have in common."""

    mean: Tensor

    def __init__(self, features: int, components: int, generator: Generator | None, dtype: Any, device: str) -> None:
        name = type(self).__name__
        self.features = _size(f"{name}: features", features, 1)
        self.components = _size(f"{name}: components", components, 1)
        if components > features:
            raise OptionError(f"{name}: at most as many components as features, {features}; got {components}")
        raw = Tensor(np.zeros((self.features, self.components)), dtype=dtype)
        self.raw = Parameter(init.orthogonal_(raw, generator=generator), dtype=dtype, device=device)
        self.register_buffer("mean", zeros((self.features,), dtype=dtype, device=device))

    def _given(self, x: Any) -> Tensor:
        rows = matrix(f"{type(self).__name__}.fit", x, self.features)
        return rows.to(self.raw.device, self.raw.dtype)

    def extra_repr(self) -> str:
        return f"{self.features}, {self.components}"


class NeuralPCA(_Components):
    """x̂ = c + Q Qᵀ (x − c) with orthonormal Q, trained by gradients on Σᵢ (x̂ᵢ − xᵢ)²: principal components

    Q is the Q of a QR decomposition of the parameters, so it is orthonormal at every step. Any orthonormal basis of the
    principal subspace is as good; with `ordered` the loss is the mean over the reconstructions from the first 1, 2, …
    components, which only the principal axes themselves, in their order, make least. c is the data's mean.

    Shapes: x [batch, features], code [batch, components], basis Q [features, components].
    Source: lecture 0, "Neural net PCA"; Baldi and Hornik, "Neural networks and principal component analysis", 1989.
    """

    def __init__(
        self, features: int, components: int, ordered: bool = False, *, generator: Generator | None = None,
        dtype: Any = float32, device: str = "cpu",
    ) -> None:  # fmt: skip
        super().__init__(features, components, generator, dtype, device)
        self.ordered = ordered

    @property
    def basis(self) -> Tensor:
        """Q    [features, components]"""
        return qr(self.raw)[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def encode(self, x: Tensor) -> Tensor:
        return (x - self.mean) @ self.basis

    def decode(self, h: Tensor) -> Tensor:
        return h @ self.basis.mT + self.mean

    def loss(self, x: Tensor) -> Tensor:
        basis, centred = self.basis, x - self.mean
        h = centred @ basis
        if not self.ordered:
            difference = h @ basis.mT - centred
            return (difference * difference).sum() * (1 / len(x))
        k = self.components  # the i-th component is in k − i + 1 of the k reconstructions
        share = Tensor(np.arange(k, 0, -1) / k, dtype=h.dtype, device=h.device)
        return ((centred * centred).sum() - (h * h * share).sum()) * (1 / len(x))

    def fit(
        self, x: Any, epochs: int = 100, batch_size: int = 100, optimizer: Optimize | Optimizer | None = None, *,
        generator: Generator | None = None,
    ) -> list[float]:  # fmt: skip
        """Sets c and trains Q on shuffled batches; returns the mean loss of each epoch. See `Autoencoder.fit`."""
        rows = self._given(x)
        self.mean.copy_(rows.mean(axis=0))
        return descend(self, self.loss, [rows], epochs, batch_size, optimizer, generator)

    def encoder(self) -> Sequential:
        """x ↦ Qᵀ (x − c) as a layer of a net."""
        basis = self.basis.detach()
        return Sequential(_layer(basis.mT, -(self.mean @ basis)))

    def decoder(self) -> Sequential:
        """h ↦ c + Q h as a layer of a net."""
        return Sequential(_layer(self.basis.detach(), self.mean), Identity())


class NeuralICA(_Components):
    """h = W U (x − c), trained on λ ‖Wᵀ h − z‖² + Σⱼ ln cosh hⱼ, with z = U (x − c) white: independent components

    The reconstruction keeps W near orthogonal, ln cosh makes the code sparse (for sources with heavy tails).
    Shapes: x [batch, features], code [batch, components], W [components, components].
    Source: Le, Karpenko, Ngiam and Ng, "ICA with reconstruction cost", 2011; lecture 0, "Neural net ICA".
    """

    whitener: Tensor

    def __init__(
        self, features: int, components: int, weight: float = 10.0, *, generator: Generator | None = None,
        dtype: Any = float32, device: str = "cpu",
    ) -> None:  # fmt: skip
        super().__init__(features, components, generator, dtype, device)
        self.weight = number("NeuralICA: weight", weight, 0)
        square = Tensor(np.zeros((self.components, self.components)), dtype=dtype)
        self.raw = Parameter(init.orthogonal_(square, generator=generator), dtype=dtype, device=device)
        self.register_buffer("whitener", zeros((self.components, self.features), dtype=dtype, device=device))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) @ self.whitener.mT) @ self.raw.mT

    def loss(self, z: Tensor) -> Tensor:
        """Of whitened data."""
        h = z @ self.raw.mT
        difference = h @ self.raw - z
        size = _abs(h)
        log_cosh = size + _softplus(size * -2.0) - float(np.log(2))
        return (self.weight * (difference * difference).sum() + log_cosh.sum()) * (1 / len(z))

    def fit(
        self, x: Any, epochs: int = 100, batch_size: int = 100, optimizer: Optimize | Optimizer | None = None, *,
        generator: Generator | None = None,
    ) -> list[float]:  # fmt: skip
        """Whitens, then trains W. Raises: OptionError for data that do not vary in as many directions."""
        return descend(self, self.loss, [self._whitened(x)], epochs, batch_size, optimizer, generator)

    def _whitened(self, x: Any) -> Tensor:
        rows = self._given(x)
        mean, whitener = whitening(rows, self.components, f"{type(self).__name__}.fit")
        self.mean.copy_(mean)
        self.whitener.copy_(whitener)
        return (rows - mean) @ whitener.mT

    def encoder(self) -> Sequential:
        """The code as a layer of a net."""
        unmixing = (self.raw @ self.whitener).detach()
        return Sequential(_layer(unmixing, -(unmixing @ self.mean)))


class NeuralNMF(Module):
    """h = softplus(E x + b) ≥ 0, x̂ = W h with W = |raw| ≥ 0, trained on Σᵢ (x̂ᵢ − xᵢ)²: a sum of parts

    NMF's factors, but the activations of new data come from one pass through a layer.
    Shapes: x [batch, features] not negative, code [batch, components], W [features, components].
    Source: lecture 0, "Neural net NMF"; Smaragdis and Venkataramani, "A neural network alternative to non-negative
    audio models", 2017.
    """

    def __init__(
        self, features: int, components: int, sparsity: float = 0.0, *, generator: Generator | None = None,
        dtype: Any = float32, device: str = "cpu",
    ) -> None:  # fmt: skip
        self.features = _size("NeuralNMF: features", features, 1)
        self.components = _size("NeuralNMF: components", components, 1)
        self.sparsity = number("NeuralNMF: sparsity", sparsity, 0)
        self.analysis = Linear(self.features, self.components, device=device, dtype=dtype, generator=generator)
        drawn = (generator or default_generator()).uniform(
            (self.features, self.components), 0.0, 2 / self.components, dtype=np.dtype(dtype)
        )
        self.raw = Parameter(drawn, dtype=dtype, device=device)

    @property
    def parts(self) -> Tensor:
        """W ≥ 0    [features, components]"""
        return _abs(self.raw)

    def encode(self, x: Tensor) -> Tensor:
        return _softplus(self.analysis(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x) @ self.parts.mT

    def loss(self, x: Tensor) -> Tensor:
        h = self.encode(x)
        difference = h @ self.parts.mT - x
        found = (difference * difference).sum() * (1 / len(x))
        return found if not self.sparsity else found + self.sparsity * h.sum() * (1 / len(x))

    def fit(
        self, x: Any, epochs: int = 100, batch_size: int = 100, optimizer: Optimize | Optimizer | None = None, *,
        generator: Generator | None = None,
    ) -> list[float]:  # fmt: skip
        """Trains on shuffled batches. Raises: OptionError for negative data."""
        rows = matrix("NeuralNMF.fit", x, self.features).to(self.raw.device, self.raw.dtype)
        if float(rows.min()) < 0:
            raise OptionError(
                f"NeuralNMF.fit: the data go down to {float(rows.min()):.4g}; a sum of parts is not negative"
            )
        return descend(self, self.loss, [rows], epochs, batch_size, optimizer, generator)

    def encoder(self) -> Sequential:
        """The activations as layers of a net."""
        assert self.analysis.bias is not None
        return Sequential(_layer(self.analysis.weight, self.analysis.bias), Softplus())

    def decoder(self) -> Sequential:
        """The sum of parts as a layer of a net (which is free to become negative when it is fine-tuned)."""
        return Sequential(_layer(self.parts, self.parts.sum(axis=1) * 0), Identity())

    def extra_repr(self) -> str:
        return f"{self.features}, {self.components}"


class KernelPCA(Module):
    """hⱼ = Σₙ αₙⱼ k̃(xₙ, x) with the eigenvectors α/√λ of the centred kernel matrix K̃ of the data it was fit on

    `kernel`: "linear" xᵀy, "poly" (γ xᵀy + 1)^degree, "rbf" e^(−γ|x − y|²), "arccos" of order 0 or 1 (`degree`), what
    an infinite layer of random threshold or rectified units computes. γ is 1/features unless given. It is fit in closed
    form and has no parameters; stacked, by `greedy_pretrain`, it makes a multilayer kernel machine.

    Shapes: x [batch, features], code [batch, components].
    Source: Schölkopf, Smola and Müller, "Nonlinear component analysis as a kernel eigenvalue problem", 1998; Cho and
    Saul, "Kernel methods for deep learning", 2009. Lecture 2, "stacked kernel PCA".
    """

    data: Tensor | None
    alphas: Tensor | None
    means: Tensor | None

    def __init__(self, components: int, kernel: str = "rbf", gamma: float | None = None, degree: int = 1) -> None:
        self.components = _size("KernelPCA: components", components, 1)
        if kernel not in ("linear", "poly", "rbf", "arccos"):
            raise OptionError(f"KernelPCA: kernel is 'linear', 'poly', 'rbf' or 'arccos', got {kernel!r}")
        if gamma is not None:
            number("KernelPCA: gamma", gamma, 0)
        _size("KernelPCA: degree", degree)
        if kernel == "arccos" and degree not in (0, 1):
            raise OptionError(f"KernelPCA: the arc-cosine kernel is of degree 0 or 1 here, got {degree!r}")
        self.kernel, self.gamma, self.degree = kernel, gamma, degree
        for name in ("data", "alphas", "means"):
            self.register_buffer(name, None)

    def between(self, x: Tensor, y: Tensor) -> Tensor:
        """k(xᵢ, yⱼ)    [rows of x, rows of y]"""
        gamma = 1 / x.shape[1] if self.gamma is None else self.gamma
        inner = x @ y.mT
        if self.kernel == "linear":
            return inner
        if self.kernel == "poly":
            return (gamma * inner + 1) ** self.degree
        xx, yy = (x * x).sum(axis=1, keepdims=True), (y * y).sum(axis=1)
        if self.kernel == "rbf":
            return _exp(-gamma * (xx + yy - 2 * inner).clip(0.0, None))
        sizes = _sqrt(xx * yy)
        cosine = (inner / (sizes + float(np.finfo(inner.dtype).tiny))).clip(-1.0, 1.0)
        angle = _arccos(cosine)
        if self.degree == 0:
            return 1 - angle * (1 / np.pi)
        return sizes * (_sin(angle) + (np.pi - angle) * cosine) * (1 / np.pi)

    def fit(self, x: Any) -> list[float]:
        """Sets the data and α, in float64; returns the share of the variance that each component has

        Raises: OptionError where the data, in the kernel's space, do not vary in as many directions.
        """
        rows = matrix("KernelPCA.fit", x).detach()
        with no_grad():
            wide = rows.astype("float64")
            kernel = self.between(wide, wide)
            means = kernel.mean(axis=0)
            centred = kernel - means - means.reshape((-1, 1)) + means.mean()
            values, vectors = eigh((centred + centred.mT) * 0.5)
            n, k = len(rows), self.components
            shown = values.numpy()[::-1]
            rank = int((shown > 1e-9 * max(shown[0], 1e-300)).sum()) if shown[0] > 1e-12 * float(means.mean()) else 0
            if rank < k:
                raise OptionError(
                    f"KernelPCA.fit: {k} components are asked for, the {n} rows vary in {rank} directions only, in the "
                    f"space of the {self.kernel} kernel"
                )
            largest = vectors[:, n - k :] / _sqrt(values[n - k :])
            order = Tensor(np.arange(k)[::-1].copy(), device=rows.device)
            self.data, self.means = rows, means.astype(rows.dtype)
            self.alphas = largest[:, order].astype(rows.dtype)
        return [float(v / shown[shown > 0].sum()) for v in shown[:k]]

    def forward(self, x: Tensor) -> Tensor:
        if self.data is None or self.alphas is None or self.means is None:
            raise OptionError("KernelPCA: fit it first")
        if x.ndim != 2 or x.shape[1] != self.data.shape[1]:
            raise ShapeError(f"KernelPCA: was fit on [n, {self.data.shape[1]}], got {list(x.shape)}")
        # the rest of the centring is the same number in a whole row, and each α sums to 0
        return (self.between(x, self.data) - self.means) @ self.alphas

    def encoder(self) -> Module:
        """Itself."""
        return self

    def extra_repr(self) -> str:
        return f"{self.components}, kernel={self.kernel!r}, gamma={self.gamma}, degree={self.degree}"


class SubspacePool(Module):
    """pₛ = √(Σ_{j in group s} hⱼ² + ε) over groups of `size` neighbours"""

    def __init__(self, size: int, eps: float = 1e-8) -> None:
        self.size, self.eps = _size("SubspacePool: size", size, 1), eps

    def forward(self, h: Tensor) -> Tensor:
        groups = h.reshape((*h.shape[:-1], -1, self.size))
        return _sqrt((groups * groups).sum(axis=-1) + self.eps)

    def extra_repr(self) -> str:
        return f"{self.size}"


class SubspaceAnalysis(NeuralICA):
    """pₛ = √(Σ_{j in s} (Qᵀ z)ⱼ²), Q orthonormal, z = U (x − c) white, trained on Σₛ pₛ: independent subspaces

    The lengths of projections to subspaces of `size` dimensions, made sparse: features that ignore what goes on within
    a subspace, such as a phase. Q is the Q of a QR decomposition of the parameters.

    Shapes: x [batch, features], code [batch, components/size].
    Source: Hyvärinen and Hoyer, "Emergence of phase- and shift-invariant features", 2000; Le, Zou, Yeung and Ng,
    "Learning hierarchical invariant spatio-temporal features", 2011. Lecture 2, "independent subspace analysis".
    """

    def __init__(
        self, features: int, components: int, size: int = 2, *, generator: Generator | None = None,
        dtype: Any = float32, device: str = "cpu",
    ) -> None:  # fmt: skip
        super().__init__(features, components, 0.0, generator=generator, dtype=dtype, device=device)
        if size < 1 or components % size:
            raise OptionError(f"SubspaceAnalysis: {components} components do not part into subspaces of {size}")
        self.pool = SubspacePool(size)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(((x - self.mean) @ self.whitener.mT) @ qr(self.raw)[0])

    def loss(self, z: Tensor) -> Tensor:
        """Of whitened data."""
        return self.pool(z @ qr(self.raw)[0]).sum() * (1 / len(z))

    def fit(
        self, x: Any, epochs: int = 100, batch_size: int = 100, optimizer: Optimize | Optimizer | None = None, *,
        generator: Generator | None = None,
    ) -> list[float]:  # fmt: skip
        """Whitens; looks for single components half of the epochs long; puts those whose squares go together into one
        subspace; trains on, and returns the mean losses of that

        Without the first half it ends too often where half of one subspace lies beside half of another.
        Raises: OptionError for data that do not vary in as many directions.
        """
        epochs, white = _size("SubspaceAnalysis: epochs", epochs), self._whitened(x)
        if self.pool.size > 1:
            alone = SubspacePool(1)
            descend(
                self, lambda z: alone(z @ qr(self.raw)[0]).sum() * (1 / len(z)), [white], epochs // 2, batch_size,
                optimizer, generator,
            )  # fmt: skip
            self._group(white)
            epochs -= epochs // 2
        return descend(self, self.loss, [white], epochs, batch_size, optimizer, generator)

    def _group(self, white: Tensor) -> None:
        """Reorders the components: each first one left takes those whose squares correlate with its own the most."""
        basis = qr(self.raw)[0].detach()
        h = (white @ basis).numpy()
        together = np.corrcoef(h.T**2)
        left, order = list(range(self.components)), []
        while left:
            first = left[0]
            group = sorted(left, key=lambda j: (j != first, -together[first, j]))[: self.pool.size]
            order += group
            left = [j for j in left if j not in group]
        self.raw.copy_(basis[:, Tensor(np.array(order), device=basis.device)])

    def encoder(self) -> Sequential:
        """The features as layers of a net."""
        unmixing = (qr(self.raw)[0].mT @ self.whitener).detach()
        return Sequential(_layer(unmixing, -(unmixing @ self.mean)), SubspacePool(self.pool.size))


# Embeddings


def embedding_loss(f: Tensor, g: Tensor, same: Tensor | float, margin: float = 1.0) -> Tensor:
    """|f − g|² where the pair belongs together, max(0, m − |f − g|)² where not, in the mean over the pairs

    Shapes: f, g [pairs, dimensions], same [pairs], 1 or 0 (or one for all).
    Source: Weston, Ratle and Collobert, "Deep learning via semi-supervised embedding", 2008, equation 5; Hadsell,
    Chopra and LeCun, 2006.
    """
    if f.shape != g.shape:
        raise ShapeError(f"embedding_loss: pairs have one shape, got {list(f.shape)} and {list(g.shape)}")
    square = ((f - g) * (f - g)).sum(axis=-1)
    short = (margin - _sqrt(square + 1e-12)).clip(0.0, None)
    return (same * square + (1 - same) * short * short).mean()


def neighbours(x: Tensor, k: int = 5, batch_size: int = 1000) -> Tensor:
    """The numbers of the k rows nearest to each row, the nearest first, itself left out    [n, k]"""
    x = matrix("neighbours", x).detach()
    n = len(x)
    if not 0 < _size("neighbours: k", k) < n:
        raise OptionError(f"neighbours: {n} rows have from 1 to {n - 1} others each, k={k!r} were asked for")
    squares, found = (x * x).sum(axis=1), []
    with no_grad():
        for start in range(0, n, batch_size):
            part = x[start : start + batch_size]
            distance = squares - 2 * (part @ x.mT)
            xp = space_of(distance._array)
            at = xp.arange(len(part))
            distance._array[at, at + start] = xp.inf
            found.append(argsort(distance, axis=1)[:, :k])
    return concat(found)


class NeighbourEmbedding(Module):
    """h = φ(W x + b), trained so that neighbours come together and others apart; labels may help, where there are any

    For each x a near one, of its `k` nearest, and a random other: `embedding_loss` of both pairs. With labels (−1 where
    there is none) and a `head`, a Module from the code to scores, the loss is the labelled rows' cross-entropy plus
    `weight` times that: semi-supervised embedding. It carries labels furthest where the scores themselves are embedded,
    head=nn.Identity(). Layers may be appended to `encoder`. Without labels it is a greedy module.

    Shapes: x [batch, features], code [batch, components].
    Source: Weston et al., 2008; lecture 2, "stacked semi-supervised embeddings".
    """

    def __init__(
        self, features: int, components: int, activation: Any = Tanh, margin: float = 1.0, k: int = 5,
        weight: float = 1.0, *, head: Module | None = None, generator: Generator | None = None, dtype: Any = float32,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        layer = Linear(features, components, device=device, dtype=dtype, generator=generator)
        init.xavier_uniform_(layer.weight, generator=generator)
        self.encoder, self.head = Sequential(layer, activation()), head
        self.margin, self.k = number("NeighbourEmbedding: margin", margin, 0), _size("NeighbourEmbedding: k", k, 1)
        self.weight = number("NeighbourEmbedding: weight", weight, 0)

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return h if self.head is None else self.head(h)

    def loss(self, x: Tensor, near: Tensor, far: Tensor) -> Tensor:
        """Of x, one that is near to each, and one that is not."""
        h = self.encoder(x)
        together = embedding_loss(h, self.encoder(near), 1.0, self.margin)
        return together + embedding_loss(h, self.encoder(far), 0.0, self.margin)

    def fit(
        self, x: Any, y: Any = None, epochs: int = 10, batch_size: int = 100,
        optimizer: Optimize | Optimizer | None = None, *, generator: Generator | None = None,
    ) -> list[float]:  # fmt: skip
        """Trains on shuffled batches; y [n] are classes, −1 for rows without a label

        Raises: OptionError for labels without a head, or none at all among them; as `Autoencoder.fit`.
        """
        place = next(self.encoder.parameters())
        rows = matrix("NeighbourEmbedding.fit", x, place.shape[1]).to(place.device, place.dtype)
        near, n = neighbours(rows, min(self.k, len(rows) - 1)) if len(rows) > 1 else None, len(rows)
        if near is None:
            raise OptionError("NeighbourEmbedding.fit: one row has no neighbours; give two or more")
        generator = generator or default_generator()
        labels = labelled = None
        if y is not None:
            labels = y if isinstance(y, Tensor) else Tensor(np.asarray(y))
            if self.head is None or labels.shape != (n,) or not bool((labels >= 0).any()):
                raise OptionError(
                    f"NeighbourEmbedding.fit: labels want a head=, the shape [{n}], and one at least that is not −1; "
                    f"got shape {list(labels.shape)}, head {self.head!r}"
                )
            labelled = np.flatnonzero(labels.numpy() >= 0)
            labels = labels.to(place.device)

        def pick(high: int, many: int) -> Any:
            return (generator.uniform(many, dtype=np.float64) * high).astype(np.int64)

        def on(index: Any) -> Tensor:
            return Tensor(index, device=place.device)

        def loss(which: Tensor) -> Tensor:
            many = len(which)
            one = near[which, on(pick(near.shape[1], many))]
            other = (which + on(pick(n - 1, many) + 1)) % n
            found = self.loss(rows[which], rows[one], rows[other])
            if labelled is None:
                return found
            some = on(labelled[pick(len(labelled), min(many, len(labelled)))])
            assert labels is not None
            return F.cross_entropy(self(rows[some]), labels[some]) + self.weight * found

        numbers = Tensor(np.arange(n), device=place.device)
        return descend(self, loss, [numbers], epochs, batch_size, optimizer, generator)
