"""The loader beyond arrays: data sets, dicts, transforms, threads that work ahead; subsets, splits and folds."""

import gc
import itertools
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import backend, data
from tinygrad_mlsp.data import augment
from tinygrad_mlsp.data import loader as loader_module
from tinygrad_mlsp.errors import OptionError, ShapeError
from tinygrad_mlsp.tensor import Tensor


class Squares:
    """A data set of items (i, i²)."""

    def __init__(self, n, bad=None, wait=0.0):
        self.n, self.bad, self.wait, self.asked = n, bad, wait, []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.asked.append(i)
        time.sleep(self.wait * ((i * 7) % 3))
        if i == self.bad:
            raise ValueError("this item is spoilt")
        return np.full(2, i, np.float32), i * i


def listed(batch):
    if isinstance(batch, dict):
        return {name: listed(part) for name, part in batch.items()}
    return [listed(part) for part in batch] if isinstance(batch, tuple) else batch.tolist()


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("Loader")]


def add_noise(batch, generator):
    return (batch[0] + generator.uniform(batch[0].shape, dtype=np.float64), *batch[1:])


# what it takes


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_data_set_is_loaded_item_by_item(shuffle):
    loader = data.Loader(Squares(10), batch_size=4, shuffle=shuffle, seed=2)
    batches = list(loader)
    assert [x.shape for x, _ in batches] == [(4, 2), (4, 2), (2, 2)] and batches[0][0].dtype == np.float32
    numbers = np.concatenate([x[:, 0] for x, _ in batches])
    assert [y for _, b in batches for y in b.tolist()] == (numbers**2).tolist()
    (plain,) = zip(*data.Loader(np.arange(10), batch_size=4, shuffle=shuffle, seed=2))
    assert numbers.tolist() == np.concatenate(plain).tolist()  # the same order as an array's


def test_dicts_and_tuples_keep_their_form():
    x = np.arange(12.0)
    for batch in data.Loader({"x": x, "both": (x.reshape(12, 1), Tensor(x))}, batch_size=5):
        assert set(batch) == {"x", "both"} and isinstance(batch["both"][1], Tensor)
        assert batch["x"].tolist() == batch["both"][0][:, 0].tolist() == batch["both"][1].numpy().tolist()
    for a, b in data.Loader((x, x + 1), batch_size=5):
        assert (b == a + 1).all()
    for pair, a in data.Loader(Squares(12), x, batch_size=5):  # several sources: a tuple with a batch of each
        assert (pair[0][:, 0] == a).all() and (pair[1] == a * a).all()
    assert next(iter(data.Loader((1, 2, 3), shuffle=False)))[0].tolist() == [1, 2, 3]  # numbers are one array


class Pieces:
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_items_are_stacked_whatever_they_are():
    (batch,) = data.Loader(Pieces([3.0, 4.0]), shuffle=False)
    assert isinstance(batch, tuple) and batch[0].tolist() == [3, 4]
    (batch,) = data.Loader(Pieces([{"x": np.zeros(2), "y": (1, Tensor([2.0]))}] * 3))
    assert batch["x"].shape == (3, 2) and batch["y"][0].tolist() == [1, 1, 1] and batch["y"][1].shape == (3, 1)
    with pytest.raises(ShapeError, match=r"the items of a batch differ in shape, \[\(2,\), \(3,\)\]; pad or crop"):
        list(data.Loader(Pieces([np.zeros(2), np.zeros(3)])))


def test_sources_of_unequal_length_and_of_no_length():
    with pytest.raises(ShapeError, match=r"one length along axis 0, got shapes \[\(10, '…'\), \(9,\)\]"):
        data.Loader(Squares(10), np.zeros(9))
    with pytest.raises(ShapeError, match="one array or more"):
        data.Loader(iter([1, 2]))
    with pytest.raises(ShapeError, match="one array or more"):
        data.Loader({})


def test_arrays_in_dicts_are_indexed_where_they_live():
    if not backend.available().cuda:
        pytest.skip("no GPU, nor a stand-in for one")
    x = Tensor(np.arange(20.0), device="cuda")
    for batch in data.Loader({"x": x, "n": np.arange(20)}, batch_size=6, workers=2):
        assert batch["x"].device == "cuda:0" and batch["x"].numpy().tolist() == batch["n"].tolist()
    for a, n in data.Loader(data.Subset((x, np.arange(20)), np.arange(5, 15)), batch_size=6):
        assert a.device == "cuda:0" and a.numpy().tolist() == n.tolist()
    step = augment.noise(0.1)
    moved = step(Tensor(np.zeros((3, 4, 4), np.float32), device="cuda"), tg.Generator(0))
    assert moved.device == "cuda:0"
    np.testing.assert_array_equal(moved.numpy(), step(np.zeros((3, 4, 4), np.float32), tg.Generator(0)))


# transforms


def test_a_transform_is_the_same_whatever_came_before(workers=0):
    x = np.zeros((50, 4))

    def run(**options):
        return [listed(b) for _ in range(2) for b in data.Loader(x, batch_size=8, transform=add_noise, **options)]

    first = run(seed=1)
    assert first[:7] == first[7:] and run(seed=1, workers=3) == first and run(seed=2) != first
    loader = data.Loader(x, batch_size=8, transform=add_noise, seed=1)
    epochs = [[listed(b) for b in loader] for _ in range(3)]
    assert epochs[0] == first[:7] and epochs[0] != epochs[1] != epochs[2]
    drawn = [v for e in epochs for (batch,) in e for row in batch for v in row]
    assert len(set(drawn)) == len(drawn)  # no two batches see the same numbers
    later = data.Loader(x, batch_size=8, transform=add_noise, seed=1, workers=2)
    later.load_state_dict({**later.state_dict(), "epoch": 2, "position": 24})
    assert [listed(b) for b in later] == epochs[2][3:]


def test_a_transforms_numbers_are_not_the_orders():
    orders = set(np.random.Philox(key=1, counter=1 << 192).random_raw(1000).tolist())
    seen = []
    list(data.Loader(np.arange(64), seed=1, transform=lambda b, g: seen.extend(g.bits(50).tolist())))
    assert len(seen) == 100 and not orders & set(seen)
    assert not set(tg.Generator(1).bits(1000).tolist()) & set(seen)


# workers


@pytest.mark.parametrize("workers", [1, 2, 5, 30])
def test_the_order_does_not_depend_on_the_workers(workers):
    def run(workers, dataset):
        loader = data.Loader(dataset, batch_size=4, seed=3, workers=workers)
        return [(loader.state_dict(), listed(b)) for _ in range(2) for b in loader]

    assert run(workers, Squares(30, wait=0.0005)) == run(0, Squares(30))
    assert not threads()


@pytest.mark.parametrize("stop", range(9))
def test_resumes_after_any_batch_with_workers(stop):
    def make(workers):
        return data.Loader(Squares(10), batch_size=3, seed=5, workers=workers)

    def run(loader):
        while loader.epoch < 2:
            for batch in loader:
                yield loader.epoch, listed(batch)

    whole, first = list(run(make(0))), make(3)
    part = list(itertools.islice(run(first), stop))
    second = make(2)
    second.load_state_dict(first.state_dict())  # what is prepared but not handed out does not count
    assert part + list(run(second)) == whole


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_in_an_item_comes_out_and_names_it(workers):
    loader = data.Loader(Squares(20, bad=13), batch_size=4, shuffle=False, workers=workers)
    seen = []
    with pytest.raises(ValueError, match="this item is spoilt") as caught:
        for _, y in loader:
            seen += y.tolist()
    assert len(seen) == 12 and loader.position == 12  # all that came before it
    assert caught.value.__notes__ == [
        "Loader: item 13 of Squares",
        "Loader: in the batch of samples 12 to 15 of epoch 0's order",
    ]
    assert not threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_transform_names_the_batch(workers):
    with pytest.raises(ZeroDivisionError) as caught:
        list(data.Loader(np.arange(10), batch_size=4, transform=lambda b, g: 1 / 0, workers=workers))
    assert caught.value.__notes__ == ["Loader: in the batch of samples 0 to 3 of epoch 0's order"]


def test_threads_end_with_the_pass():
    loader = data.Loader(Squares(40, wait=0.001), batch_size=2, workers=3)
    for _ in loader:
        assert len(threads()) == 3
        break
    gc.collect()
    assert not threads()
    passing = iter(loader)
    next(passing)
    passing.close()
    assert not threads()
    passing = iter(loader)
    assert not threads()  # none before the first batch
    del passing
    with pytest.raises(KeyError):
        for _ in loader:
            raise KeyError
    gc.collect()
    assert not threads()


def test_workers_do_not_run_far_ahead():
    dataset = Squares(1000)
    passing = iter(data.Loader(dataset, batch_size=1, shuffle=False, workers=2))
    for _ in range(5):
        next(passing)
    time.sleep(0.1)
    assert 5 <= len(dataset.asked) <= 5 + 2 * 2
    passing.close()


def test_what_is_left_when_a_pass_is_left_is_not_prepared():
    dataset = Squares(10, wait=0.1)
    passing = iter(data.Loader(dataset, batch_size=1, shuffle=False, workers=1))
    next(passing)
    passing.close()
    assert dataset.asked in ([0], [0, 1])  # the one at work is finished, the next one was ordered but is not begun


def test_workers_see_the_context_of_the_loop():
    x = Tensor(np.zeros(8), requires_grad=True)
    seen = []
    with tg.no_grad():
        list(data.Loader(x, batch_size=4, workers=1, transform=lambda b, g: seen.append(tg.is_grad_enabled())))
    list(data.Loader(x, batch_size=4, workers=1, transform=lambda b, g: seen.append(tg.is_grad_enabled())))
    assert seen == [False, False, True, True]


def test_ctrl_c_does_not_wait_for_an_item_that_never_comes():
    code = """
import os, signal, threading, time
from tinygrad_mlsp import data
signal.signal(signal.SIGINT, signal.default_int_handler)
class Stuck:
    def __len__(self): return 100
    def __getitem__(self, i): time.sleep(1000 if i > 5 else 0); return i
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.perf_counter()
try:
    for batch in data.Loader(Stuck(), batch_size=2, shuffle=False, workers=2): pass
except KeyboardInterrupt:
    print("stopped", time.perf_counter() - start < 4, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stdout == "stopped True\n" and done.stderr == ""


def test_leaving_early_does_not_wait_for_an_item_that_never_comes(monkeypatch):
    monkeypatch.setattr(loader_module, "_PATIENCE", 0.05)
    release = threading.Event()

    class Stuck(Squares):
        def __getitem__(self, i):
            return release.wait(60) if i > 1 else i

    start = time.perf_counter()
    for _ in data.Loader(Stuck(100), batch_size=2, shuffle=False, workers=2):
        break
    gc.collect()
    assert time.perf_counter() - start < 10
    release.set()
    for thread in threads():
        thread.join(10)
    assert not threads()


def test_workers_is_a_number():
    with pytest.raises(OptionError, match="workers must be an integer of at least 0, got -1"):
        data.Loader(np.arange(3), workers=-1)


# subsets and splits


def test_a_subset_is_a_view_until_it_is_used():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    part = data.Subset((x, y), [7, 2, -1])
    assert len(part) == 3 and part[1][0].tolist() == [4, 5] and part[2][1] == 9
    assert part[np.array([0, 2])][1].tolist() == [7, 9] and part[:2][1].tolist() == [7, 2]
    x[7] = 0  # not a copy
    assert part[0][0].tolist() == [0, 0]
    assert [y.tolist() for _, y in data.Loader(part, batch_size=2, shuffle=False)] == [[7, 2], [9]]
    items = data.Subset(Squares(10), np.arange(10) > 6)
    assert [y.tolist() for _, y in data.Loader(items, batch_size=2, shuffle=False)] == [[49, 64], [81]]
    twice = data.Subset(part, [2, 0])
    assert twice[0][1] == 9 and listed(twice[np.arange(2)])[1] == [9, 7]
    assert [y.tolist() for _, y in data.Loader(twice, shuffle=False)] == [[9, 7]]
    assert data.Subset({"a": y}, [3])[0] == {"a": 3} and len(data.Subset(y, [])) == 0


@pytest.mark.parametrize("indices", [[10], [-11], [0.5], [[1]], [True] * 9])
def test_indices_that_do_not_fit(indices):
    with pytest.raises(OptionError, match="Subset: indices"):
        data.Subset(np.arange(10), indices)


def test_train_test_split():
    x, y = np.arange(40).reshape(20, 2), np.arange(20)
    a, b, c, d = data.train_test_split(x, y, test_size=0.25, seed=1)
    assert len(a) == 15 and len(b) == 5 and sorted([*c, *d]) == list(range(20)) and c.tolist() != sorted(c.tolist())
    assert (a[:, 0] == 2 * c).all() and (b[:, 0] == 2 * d).all()
    assert data.train_test_split(y, test_size=0.25, seed=1)[1].tolist() == d.tolist()
    assert data.train_test_split(y, test_size=0.25, seed=2)[1].tolist() != d.tolist()
    assert [len(p) for p in data.train_test_split(y, test_size=3)] == [17, 3]
    assert [len(p) for p in data.train_test_split(y, test_size=0.31)] == [13, 7]  # rounded up, as scikit-learn does
    train, test = data.train_test_split(x, test_size=4, shuffle=False)
    assert np.shares_memory(train, x) and np.shares_memory(test, x) and test[0, 0] == 32
    train, test = data.train_test_split(Tensor(x), test_size=4)
    assert isinstance(train, Tensor) and test.shape == (4, 2)
    train, test = data.train_test_split(Squares(20), test_size=4, seed=1)
    assert isinstance(train, data.Subset) and len(test) == 4


@pytest.mark.parametrize("size", [0.2, 0.37, 7, 33])
def test_a_stratified_split_keeps_the_classes_in_proportion(size):
    y = np.repeat(["a", "b", "c"], [50, 37, 13])
    n = size if isinstance(size, int) else int(np.ceil(100 * size))
    for seed in range(5):
        train, test = data.train_test_split(y, test_size=size, stratify=y, seed=seed)
        counts = np.array([(test == c).sum() for c in "abc"])
        assert counts.sum() == n and len(train) == 100 - n
        assert (abs(counts - np.array([50, 37, 13]) * n / 100) < 1).all()
    rows = [data.train_test_split(np.arange(100), test_size=size, stratify=y, seed=s)[1].tolist() for s in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


def test_splits_that_cannot_be():
    y = np.arange(10)
    for size in (0, 10, 0.0, 1.0, 1.5, -1):
        with pytest.raises(OptionError, match="test_size"):
            data.train_test_split(y, test_size=size)
    with pytest.raises(OptionError, match="a class has 1 rows, and 2 are needed"):
        data.train_test_split(y, stratify=y)
    with pytest.raises(OptionError, match="stratify needs shuffle"):
        data.train_test_split(y, stratify=y // 5, shuffle=False)
    with pytest.raises(ShapeError, match=r"one class a row, shape \[10\], got \[9\]"):
        data.train_test_split(y, stratify=y[1:])
    with pytest.raises(ShapeError, match="train_test_split: arrays must be of one length"):
        data.train_test_split(y, y[1:])


@pytest.mark.parametrize(("n", "k"), [(10, 2), (10, 10), (23, 5)])
def test_folds(n, k):
    folds = list(data.k_fold(n, k, seed=1))
    assert len(folds) == k and sorted(i for _, test in folds for i in test) == list(range(n))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(n)) and n // k <= len(test) <= -(-n // k)
    if k < n:
        assert [t.tolist() for _, t in folds] != [t.tolist() for _, t in data.k_fold(n, k, seed=2)]
        assert [t.tolist() for _, t in folds] == [t.tolist() for _, t in data.k_fold(np.zeros(n), k, seed=1)]


def test_stratified_folds():
    y = np.repeat([5, 7, 9], [31, 17, 12])
    for train, test in data.k_fold(60, 5, stratify=y):
        assert len(test) == 12 and len(train) == 48
        counts = [(y[test] == c).sum() for c in (5, 7, 9)]
        assert all(np.floor(m / 5) <= c <= np.ceil(m / 5) for c, m in zip(counts, (31, 17, 12)))
    with pytest.raises(OptionError, match="a class has 12 rows, and 13 are needed"):
        data.k_fold(60, 13, stratify=y)
    with pytest.raises(OptionError, match="k must be an integer from 2 to 60"):
        data.k_fold(60, 61)


def test_random_split_and_shuffle():
    x, y = np.arange(10.0), np.arange(10)
    parts = data.random_split((x, y), [0.5, 0.3, 0.2], seed=1)
    assert [len(p) for p in parts] == [5, 3, 2]
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    assert [len(p) for p in data.random_split(x, [1 / 3] * 3)] == [4, 3, 3]
    assert [len(p) for p in data.random_split(x, [7, 3])] == [7, 3]
    with pytest.raises(OptionError, match=r"lengths add up to the data's, 10, or shares to 1; got \[7, 4\]"):
        data.random_split(x, [7, 4])
    a, b = data.shuffle(x, y, seed=3)
    assert (a == b).all() and sorted(b) == list(range(10)) and b.tolist() != list(range(10))
    assert data.shuffle(y, seed=3).tolist() == b.tolist()


def test_only_some_classes():
    d = data.digits().only(1, 0)
    assert set(d.train_y) == {0, 1} and "classes 1, 0" in d.name
    whole = data.digits()
    np.testing.assert_array_equal(d.train_x[d.train_y == 0], whole.train_x[whole.train_y == 1])
    np.testing.assert_array_equal(d.test_x[d.test_y == 1], whole.test_x[whole.test_y == 0])
    for classes in [(), (1, 1), (1, 10)]:
        with pytest.raises(OptionError, match="name some of the classes"):
            whole.only(*classes)


def test_held_out():
    d = data.digits()
    h = d.held_out(297)
    assert len(h.train_y) == 1000 and np.shares_memory(h.valid_x, d.train_x)
    np.testing.assert_array_equal(np.r_[h.train_y, h.valid_y], d.train_y)
    assert "valid (297, 64)" in repr(h) and "valid" not in repr(d)
    with pytest.raises(OptionError, match="of 1,297 training images, 1297 cannot be held out"):
        d.held_out(1297)


def test_no_warnings_on_the_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(data.Loader(Squares(5), workers=2))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: data.Loader([[1.0, 2.0], [3.0]]), "Loader: a list whose rows differ in length"),
        (lambda: data.Loader({"a": [[1], [2, 3]]}), "Loader: a list whose rows differ in length"),
        (lambda: data.Subset([[1], [2, 3]], [0]), "Subset: a list whose rows differ in length"),
        (lambda: data.shuffle([[1], [2, 3]]), "shuffle: a list whose rows differ in length"),
    ],
)
def test_ragged_lists_are_named(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: data.Loader(x, batch_size=0), "^Loader: batch_size must be an integer"),
        (lambda x: data.Loader(x, transform=3), "^Loader: transform is a function"),
        (lambda x: data.Loader(x).load_state_dict(3), "wants what state_dict.. gave, got int"),
        (lambda x: data.k_fold(x, 1), "^k_fold: k must be an integer from 2 to 6, got 1"),
        (lambda x: data.k_fold(None), "^k_fold: the data is a number of rows"),
        (lambda x: data.k_fold(x, seed=None), "^k_fold: seed must be"),
        (lambda x: data.train_test_split(x, test_size="a"), "^train_test_split: test_size"),
        (lambda x: data.train_test_split(x, test_size=float("nan")), "^train_test_split: test_size"),
        (lambda x: data.shuffle(x, seed="a"), "^shuffle: seed must be an integer"),
        (lambda x: data.random_split(x, 3), "^random_split: lengths is a list"),
        (lambda x: data.random_split(x, ["a"]), "^random_split: a length must be a finite number"),
        (lambda x: data.toys.two_moons(4, noise=-1), "^two_moons: noise must be a finite number of 0 or more, got -1"),
        (lambda x: data.toys.ring(4, std="a"), "^ring: std must be"),
        (lambda x: data.toys.parity(0), "^parity: bits must be"),
        (lambda x: data.toys.ring_centres(-1), "^ring_centres: modes must be"),
        (lambda x: data.text.Windows(x, 0, 2), "^Windows: batch_size must be"),
        (lambda x: data.text.Vocabulary(3), "wants a text"),
        (lambda x: data.mnist(validation=-1), "^mnist: validation must be an integer from 0"),
        (lambda x: data.mnist(folder=3), "the folder is a path, got 3"),
        (lambda x: data.digits().held_out(1.5), "1.5 cannot be held out"),
        (lambda x: augment.affine(scale=2), "augment: scale is a pair"),
        (lambda x: augment.rotate("a"), "augment: degrees must be a finite number of 0 or more, got 'a'"),
        (lambda x: augment.rotate(float("inf")), "augment: degrees must be"),
        (lambda x: augment.rotate(3, fill=None), "augment: fill must be"),
        (lambda x: augment.crop(2.5), "crop's size must be an integer"),
        (lambda x: augment.crop(2, padding=-1), "crop's padding must be an integer of at least 0"),
        (lambda x: augment.drop("a"), "drop's p must be a finite number from 0 to 1"),
        (lambda x: augment.compose(3), "compose takes steps"),
        (lambda x: augment.noise(1)(x, 3), "draws from a tinygrad_mlsp.Generator, got 3"),
    ],
)
def test_wrong_arguments_name_the_function(call, message, monkeypatch):
    monkeypatch.setattr(data.datasets, "_stored", None)  # nothing is fetched before they are checked
    with pytest.raises(OptionError, match=message):
        call(np.ones((6, 3, 3)))
