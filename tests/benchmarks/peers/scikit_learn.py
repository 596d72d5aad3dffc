"""The one workload that scikit-learn has, too: its RBM learns by persistent chains, of which a step costs the same."""

from __future__ import annotations

from sklearn.neural_network import BernoulliRBM


def contrastive(p):
    model = BernoulliRBM(p.weight.shape[1], batch_size=len(p.x), learning_rate=p.rate, random_state=0)
    model.partial_fit(p.x)
    model.components_ = p.weight.T.copy(order="F")

    def step():
        model.partial_fit(p.x)
        return (model.components_[:, 0],)

    return step
