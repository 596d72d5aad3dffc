"""Train a small net on the bundled digits, then draw it with the gradient that came back along every edge.

Run: python examples/digits.py [folder for digits.svg]
"""

import sys
from pathlib import Path

import tinygrad_mlsp as tg
from tinygrad_mlsp import data, nn, optim, train, viz

tg.manual_seed(0)
digits = data.digits()
model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
history = train.fit(
    model,
    nn.functional.cross_entropy,
    optim.Adam(model.parameters(), lr=1e-2),
    data.Loader(digits.train_x, digits.train_y, batch_size=64, seed=0),
    epochs=10,
)
print("training loss", " ".join(f"{loss:.3f}" for loss in history.loss))
print(f"test accuracy {train.accuracy(model, digits.test_x, digits.test_y):.1%}")

with viz.trace() as seen:
    nn.functional.cross_entropy(model(tg.Tensor(digits.test_x)), digits.test_y).backward()
picture = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "digits.svg"
seen.graph(title="a small net, and what came back along every edge").save(picture)
print("drawn:", picture)
