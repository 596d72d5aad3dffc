"""The deep belief net: a restricted Boltzmann machine on top of layers that are directed downward."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import OptionError, ShapeError
from ..namespace import asarray, concat, zeros
from ..nn import Linear, Module, ModuleList, Parameter, Sequential
from ..nn.module import _size
from ..random import Generator
from ..tensor import Tensor, no_grad, record_of
from .divergence import FromData, contrastive_divergence
from .rbm import RBM, _layer
from .units import Bernoulli, Joint, Softmax, Units, as_units
from .variational import Layered, VariationalBound, finite, log_sum_rows, split

_expand_dims = record_of("expand_dims")


def log_conditional(units: Units, x: Tensor, sent: Tensor) -> Tensor:
    """ln p(x | what the other layer sends): −A(x) + s(x)·y − log normalizer(b + y), for units of any kind    [...]"""
    return (units.scaled(x) * sent).sum(axis=-1) - units.energy(x) - units.log_normalizer(units.bias + sent)


class Directed(Module):
    """A layer of a deep belief net: p(v | h) downward by `weight` and the visible units' biases, q(h | v) upward by
    `recognition` and the hidden units'

    Made from an RBM, whose weights both directions start from; from then on they are two.
    Shapes: weight and recognition [visible, hidden].
    """

    def __init__(self, rbm: RBM) -> None:
        self.visible, self.hidden = copy.deepcopy(rbm.visible), copy.deepcopy(rbm.hidden)
        weight = rbm.weight.detach()
        self.weight, self.recognition = (Parameter(weight._array.copy()) for _ in range(2))
        if rbm.hidden_offset is not None:
            self.visible.shift_bias(-(weight @ rbm.hidden_offset))
        if rbm.visible_offset is not None:
            self.hidden.shift_bias(-(rbm.visible_offset @ weight))

    def extra_repr(self) -> str:
        return f"{self.visible.size}, {self.hidden.size}"

    def up(self, v: Tensor) -> Tensor:
        """The hidden units' total input    [..., hidden]"""
        return self.visible.scaled(v) @ self.recognition + self.hidden.bias

    def down(self, h: Tensor) -> Tensor:
        """The visible units' total input    [..., visible]"""
        return self.hidden.scaled(h) @ self.weight.mT + self.visible.bias

    def log_up(self, v: Tensor, h: Tensor) -> Tensor:
        """ln q(h | v)    [...]"""
        return log_conditional(self.hidden, h, self.visible.scaled(v) @ self.recognition)

    def log_down(self, v: Tensor, h: Tensor) -> Tensor:
        """ln p(v | h)    [...]"""
        return log_conditional(self.visible, v, self.hidden.scaled(h) @ self.weight.mT)


class DBN(Module):
    """p(v, h₁, …, h_L) = p(v | h₁) ⋯ p(h_{L−2} | h_{L−1}) p(h_{L−1}, h_L), the last factor an RBM's

    A net begins as one RBM, `DBN(rbm)`, and grows by `add`: the RBM on top becomes a directed layer, and a new RBM
    over its hidden units takes its place. With `labels` units the new one also sees a class, one-hot, so that it is
    an associative memory of features and labels; nothing can be added on top of it. `greedy` does all of it.

    Under the top RBM the hidden states are h = (h₁, …, h_{L−1}), side by side, [..., batch, hidden]; its own hidden
    units are always summed out. Labels are [batch, labels], one-hot, or class numbers [batch].

    Source: Hinton, Osindero and Teh, "A fast learning algorithm for deep belief nets", 2006; lecture 2,
    "DEEP BELIEF NETWORK"; lecture 0, "Deep Belief Networks (DBN)".
    """

    def __init__(self, bottom: RBM, labels: int = 0) -> None:
        if not isinstance(bottom, RBM) or bottom.weight.ndim != 2:
            raise OptionError(f"DBN: begins with an RBM that is not convolutional, got {bottom!r}")
        parts = bottom.visible.parts if isinstance(bottom.visible, Joint) else ()
        if _size("DBN: labels", labels) and not (parts and isinstance(parts[-1], Softmax) and parts[-1].size == labels):
            raise OptionError(
                f"DBN: with {labels} labels the RBM's visible units end in Softmax({labels}); they are "
                f"{bottom.visible!r}"
            )
        self.directed = ModuleList()
        self.top, self.labels = bottom, labels

    @property
    def layers(self) -> list[Directed]:
        """The directed layers, the lowest first."""
        return [layer for layer in self.directed if isinstance(layer, Directed)]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of the hidden layers under the top RBM's own."""
        return tuple(layer.hidden.size for layer in self.layers)

    @property
    def visible(self) -> Units:
        """The visible units, without the labels."""
        if len(self.directed):
            return self.layers[0].visible
        units = self.top.visible
        return units.parts[0] if isinstance(units, Joint) and self.labels else units

    # Growing

    def add(
        self, hidden: int | Units, labels: int = 0, *, tied: bool | None = None, std: float = 0.01,
        generator: Generator | None = None,
    ) -> RBM:  # fmt: skip
        """Puts a layer on top; returns its RBM, to be trained on `top_data`

        A tied start takes the transposed weights of the layer below, and its biases. Then the net of before and after
        have the same distribution, so the variational bound with the layer below as q is what it was, and each step
        that raises the new RBM's likelihood of q's samples raises it. It needs as many hidden units as the layer below
        has visible ones, or more (which start with no weights), of the same kinds, and no labels. Unless told, the
        start is tied where that is possible with equally many units, else random.
        """
        if self.labels:
            raise OptionError("DBN.add: the top RBM has label units; nothing can be added on top of it")
        below, units = self.top, as_units(hidden, "DBN.add: hidden")
        layer = Directed(below)
        fits = type(units) is type(layer.visible) is Bernoulli and units.size >= layer.visible.size and not labels
        if tied and not fits:
            raise OptionError(
                f"DBN.add: a tied start needs at least {layer.visible.size} binary hidden units over binary visible "
                f"ones, and no labels; got {units!r} over {layer.visible!r}, labels={labels}"
            )
        seen = copy.deepcopy(layer.hidden)
        weight = below.weight
        top = RBM(
            Joint(seen, Softmax(labels)) if labels else seen, units, std=std, generator=generator, dtype=weight.dtype,
            device=weight.device,
        )  # fmt: skip
        if tied or (tied is None and fits and units.size == layer.visible.size):
            with no_grad():
                top.weight.copy_(0.0)
                top.weight[:, : layer.visible.size] = weight.detach().mT
                units.bias[: layer.visible.size] = layer.visible.bias.detach()
        self.directed.append(layer)
        self.top, self.labels = top, labels
        return top

    @classmethod
    def greedy(
        cls, visible: int | Units, hidden: Sequence[int], v: Any, y: Any = None, *, labels: int = 0,
        learn: Callable[[RBM, Tensor], Any], sampled: bool = False, tied: bool | None = False, std: float = 0.01,
        generator: Generator | None = None, dtype: Any = np.float32, device: str = "cpu",
    ) -> DBN:  # fmt: skip
        """A net trained layer by layer: `learn(rbm, data)` trains each RBM on what the layers below make of v

        The data of a layer are the means of the hidden units below or, with `sampled`, draws, which is what the bound
        asks for. With `labels` the last RBM sees the one-hot y too.
        Source: lecture 0, "Greedy learning"; lecture 2, "Topics: variational bound".
        """
        if not isinstance(hidden, Sequence) or isinstance(hidden, str) or not hidden:
            raise OptionError(f"DBN.greedy: takes the sizes of one or more hidden layers, got {hidden!r}")
        if not callable(learn):
            raise OptionError(f"DBN.greedy: learn is a function of an RBM and its data, got {learn!r}")
        if bool(labels) != (y is not None):
            raise OptionError("DBN.greedy: label units need y, and y label units; give both or neither")
        units = as_units(visible, "DBN.greedy: visible")
        if labels and len(hidden) == 1:
            units = Joint(units, Softmax(labels))
        how: dict[str, Any] = {"std": std, "generator": generator}
        net = cls(RBM(units, hidden[0], **how, dtype=dtype, device=device), labels if len(hidden) == 1 else 0)
        for i, size in enumerate(hidden):
            if i:
                last = i + 1 == len(hidden)
                net.add(size, labels if last else 0, tied=tied and not (last and labels), **how)
            net.fit_layer(learn, v, y if net.labels else None, sampled=sampled, generator=generator)
        return net

    def fit_layer(
        self, learn: Callable[[RBM, Tensor], Any], v: Any, y: Any = None, *, sampled: bool = False,
        generator: Generator | None = None,
    ) -> Any:  # fmt: skip
        """Trains the top RBM, all below held constant; returns what `learn(rbm, data)` returns

        Raises: ShapeError, DTypeError or OptionError for data that do not suit; DivergenceError, with the layer.
        """
        data = self.top_data(self.check_data(v, "DBN.fit_layer"), y, sampled=sampled, generator=generator)
        result = learn(self.top, data)
        with no_grad():
            finite(self.top.free_energy(data[:100]).mean(), self.top, f"DBN: layer {len(self.directed) + 1}")
        return result

    def top_data(
        self, v: Tensor, y: Any = None, *, sampled: bool = False, generator: Generator | None = None
    ) -> Tensor:
        """What the top RBM sees of v (and of the labels y), outside the graph    [batch, top visible]"""
        with no_grad():
            x = self.up(v, sampled=sampled, generator=generator)[-1]
            return x if not self.labels else concat([x, self.one_hot(y, len(x))], axis=-1)

    def one_hot(self, y: Any, n: int) -> Tensor:
        """The labels as the label units have them    [n, labels]"""
        like = self.top.weight
        if y is None or not self.labels:
            raise OptionError(
                f"DBN: the top RBM has {self.labels} label units, and y is {'missing' if y is None else 'given'}"
            )
        y = asarray(y)
        if y.ndim == 1 and y.dtype.kind in "iu":
            if int(y.min()) < 0 or int(y.max()) >= self.labels:
                raise OptionError(f"DBN: classes are 0 to {self.labels - 1}, got {int(y.min())} to {int(y.max())}")
            y = _expand_dims(y.to(like.device), axis=1) == Tensor(np.arange(self.labels), device=like.device)
            y = y.astype(like.dtype)
        if y.shape != (n, self.labels):
            raise ShapeError(
                f"DBN: labels are class numbers [{n}] or one-hot [{n}, {self.labels}], got {y.dtype} {list(y.shape)}"
            )
        return y.to(like.device, like.dtype)

    def check_data(self, v: Any, what: str) -> Tensor:
        """The data as a Tensor, where the net is; see `RBM.check_data`."""
        bottom = RBM.__new__(RBM)
        bottom.visible, bottom.weight = self.visible, (self.layers[0] if len(self.directed) else self.top).weight
        return bottom.check_data(v, what)

    # Up and down

    def up(self, v: Tensor, *, sampled: bool = False, generator: Generator | None = None) -> list[Tensor]:
        """v, h₁, …, h_{L−1}: the layers' means given those below or, with `sampled`, draws"""
        layers = [v]
        for layer in self.layers:
            z = layer.up(layers[-1])
            layers.append(layer.hidden.sample(z, 1.0, generator) if sampled else layer.hidden.mean(z))
        return layers

    def down(self, h: Tensor, *, sampled: bool = False, generator: Generator | None = None) -> list[Tensor]:
        """v, h₁, …, h_{L−1} from a state of h_{L−1}: hidden layers are drawn, v is its mean unless `sampled`"""
        layers = [h]
        for i, layer in reversed(list(enumerate(self.layers))):
            z = layer.down(layers[0])
            drawn = i > 0 or sampled
            layers.insert(0, layer.visible.sample(z, 1.0, generator) if drawn else layer.visible.mean(z))
        return layers

    def forward(self, v: Tensor) -> Tensor:
        """The means of the top hidden units, from recognition means upward, no label set    [batch, top hidden]"""
        x = self.up(v)[-1]
        return self.top(concat([x, zeros((len(x), self.labels), x.dtype, x.device)], axis=-1) if self.labels else x)

    def sample(
        self, n: int, steps: int = 1000, *, labels: Any = None, start: Tensor | None = None, sampled: bool = False,
        generator: Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """n fantasies: so many rounds of Gibbs sampling in the top RBM, then down; means of v unless `sampled`

        With `labels` these are clamped: fantasies of the classes. `start` is data to begin from.    [n, visible]
        """
        if labels is not None and not self.labels:
            raise OptionError("DBN.sample: this net has no label units to clamp")
        top, features = self.top, self.top.visible.size - self.labels
        with no_grad():
            state = top.sample(n, 0, generator=generator)
            if start is not None:
                if len(start) != n:
                    raise ShapeError(f"DBN.sample: {n} fantasies start from {n} rows, got {len(start)}")
                x = self.up(start, sampled=True, generator=generator)[-1]
                state = x if not self.labels else concat([x, self.top.class_probabilities(x)], axis=-1)
            if labels is not None:
                state = concat([state[:, :features], self.one_hot(labels, n)], axis=-1)
            clamp = None if labels is None else np.arange(top.visible.size) >= features
            state = top.gibbs(state, steps, clamp=clamp, generator=generator)
            if not len(self.directed):  # an RBM alone: v is its mean given a last draw of h
                h = top.sample_hidden(state, 1.0, generator)
                return (state if sampled else top.visible.mean(top.visible_input(h)))[:, :features]
            return self.down(state[:, :features], sampled=sampled, generator=generator)[0]

    # The bound and the likelihood

    def log_joint(self, v: Tensor, h: Tensor, y: Any = None, log_partition: Any = None) -> Tensor:
        """ln p(v, h₁, …, h_{L−1}) (with labels: and y), in nats    [..., batch]; the top hidden units are summed out

        ln Z of the top RBM is exact, unless an estimate is given, such as annealed importance sampling's.
        """
        layers = split(h, self.sizes)
        top, log_z = self.top, self.top.log_partition() if log_partition is None else log_partition
        x = layers[-1] if layers else v
        if self.labels:
            given = self.one_hot(y, len(v))
            x = concat([x + given[:, :1] * 0, given + x[..., :1] * 0], axis=-1)
        value = -top.free_energy(x) - log_z
        for layer, below, above in zip(self.layers, [v, *layers], layers, strict=False):
            value = value + layer.log_down(below, above)
        return value

    def q(self, v: Tensor) -> Layered:
        """q(h | v): the recognition pass, each layer factorial given the one below; binary hidden units"""
        if any(type(layer.hidden) is not Bernoulli for layer in self.layers):
            raise OptionError(
                "DBN.q: the hidden units under the top RBM are binary, or there is no sum over their states"
            )
        return Layered(v, [layer.up for layer in self.layers], self.sizes)

    def bound(
        self, v: Tensor, y: Any = None, *, samples: int | None = None, log_partition: Any = None,
        generator: Generator | None = None,
    ) -> VariationalBound:  # fmt: skip
        """The variational bound on ln p(v) (with labels: on ln p(v, y)) with the recognition pass as q

        Exactly, by enumeration, or with `samples` draws of q; ln Z exactly, unless an estimate is given.
        """
        if not len(self.directed):
            raise OptionError("DBN.bound: one RBM alone has no bound, its likelihood is top.log_likelihood")
        log_z = self.top.log_partition() if log_partition is None else log_partition
        return VariationalBound(
            lambda h: self.log_joint(v, h, y, log_z), self.q(v), samples=samples, generator=generator
        )

    def log_likelihood(self, v: Tensor, y: Any = None) -> Tensor:
        """ln p(v) (with labels: ln p(v, y)), exactly, by summing over all states of h₁, …, h_{L−1}    [batch]"""
        log_z = self.top.log_partition()
        if not len(self.directed):
            return self.log_joint(v, v[:, :0], y, log_z)
        states = self.q(v).states()
        return log_sum_rows(lambda h: self.log_joint(v, h, y, log_z), states, len(v))

    # Classes

    def label_log_probabilities(self, v: Tensor) -> Tensor:
        """ln p(y | h_{L−1}), from the free energies of the top RBM with each label, h_{L−1} by an upward pass of means

        [batch, labels]
        """
        if not self.labels:
            raise OptionError("DBN: this net has no label units to classify with")
        return self.top.class_log_probabilities(self.up(v)[-1])

    def classify(self, v: Tensor, batch: int = 500) -> Tensor:
        """The class of the least free energy    [batch]"""
        with no_grad():
            return concat(
                [self.label_log_probabilities(v[i : i + batch]).argmax(axis=-1) for i in range(0, len(v), batch)]
            )

    # Other nets from this one

    def to_mlp(self, outputs: int | None = None, *, generator: Generator | None = None) -> Sequential:
        """The recognition net as layers for backprop: Linear and Sigmoid by turns, with `outputs` a Linear on top

        Copies; of a top RBM with labels the labels' weights are left out. Its answer is that of `forward`.
        An Identity stands for the activation of Gaussian units.
        """
        layers: list[Module] = []
        for layer in self.layers:
            layers += _layer(layer.recognition.mT, layer.visible, None, layer.hidden)
        top, seen = Directed(self.top), self.top.visible
        features = seen.parts[0] if isinstance(seen, Joint) and self.labels else seen
        layers += _layer(top.recognition[: features.size].mT, features, None, top.hidden)
        if outputs is not None:
            like = self.top.weight
            size = self.top.hidden.size
            layers.append(Linear(size, outputs, device=like.device, dtype=like.dtype, generator=generator))
        return Sequential(*layers)

    def unroll(self) -> Sequential:
        """A deep autoencoder: `encoder`, the recognition net, and `decoder`, the generative one, mirrored

        Both start from the net's weights; nothing is shared, so from then on they are free. Its answer are the means
        of the visible units.
        Source: Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", 2006.
        """
        if self.labels:
            raise OptionError("DBN.unroll: the top RBM has label units; an autoencoder is made of a net without")
        layers: list[Module] = []
        for layer in (Directed(self.top), *reversed(self.layers)):
            layers += _layer(layer.weight, layer.hidden, None, layer.visible)
        return Sequential({"encoder": self.to_mlp(), "decoder": Sequential(*layers)})


class UpDown(NamedTuple):
    """What `up_down` gives: the sum, and its three terms."""

    loss: Tensor
    wake: Tensor  # −ln p of each layer given the drawn one above
    top: Tensor  # contrastive divergence of the top RBM
    sleep: Tensor  # −ln q of each layer given the dreamt one below


def up_down(net: DBN, v: Tensor, y: Any = None, *, steps: int = 3, generator: Generator | None = None) -> UpDown:
    """L = −Σ ln p(below | above) awake + [F(top) − F(top after `steps` rounds)] − Σ ln q(above | below) in the dream

    An upward pass draws the hidden states and trains the generative weights; the associative memory on top is trained
    by contrastive divergence from where that pass ended, labels included; what its chain ended in goes down, and
    trains the recognition weights. The three terms have no parameters in common, and all states are constant.

    Shapes: v [batch, visible], y [batch] or [batch, labels].
    Raises: DivergenceError.
    Source: Hinton, Osindero and Teh, "A fast learning algorithm for deep belief nets", 2006, appendix B.
    """
    if not isinstance(net, DBN) or not len(net.directed):
        raise OptionError("up_down: the net has one layer, an RBM; train that by contrastive divergence")
    with no_grad():
        awake = net.up(v, sampled=True, generator=generator)
        x = awake[-1] if not net.labels else concat([awake[-1], net.one_hot(y, len(v))], axis=-1)
    ends: list[Tensor] = []

    def chain(data: Tensor, z: Tensor) -> Tensor:
        ends.append(FromData(net.top, steps, generator=generator)(data, z))
        return ends[0]

    top = contrastive_divergence(net.top, x, chain)
    with no_grad():
        dreamt = net.down(ends[0][:, : awake[-1].shape[-1]], sampled=True, generator=generator)
    layers = net.layers
    wake = [-layer.log_down(below, above).mean() for layer, below, above in zip(layers, awake, awake[1:], strict=False)]
    sleep = [
        -layer.log_up(below, above).mean() for layer, below, above in zip(layers, dreamt, dreamt[1:], strict=False)
    ]
    w, s = sum(wake[1:], start=wake[0]), sum(sleep[1:], start=sleep[0])
    return UpDown(finite(w + top + s, net, "up_down"), w, top, s)
