"""The bundled digits, MNIST from files and mirrors, and the order of minibatches."""

import gzip
import hashlib
import http.server
import itertools
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from tinygrad_mlsp import backend, data
from tinygrad_mlsp.data import datasets
from tinygrad_mlsp.errors import DataError, DTypeError, OptionError, ShapeError
from tinygrad_mlsp.tensor import Tensor

DIGITS = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"  # SHA-256 of images, then labels
TRAIN_LABELS, TEST_LABELS = [8, 6, 7, 1, 3, 8, 8, 6, 4, 8], [0, 3, 5, 8, 9, 4, 1, 4, 0, 6]
ORDERS = [[7, 4, 2, 6, 5, 0, 1, 3], [6, 7, 5, 1, 4, 3, 0, 2]]

# digits


def test_digits_are_the_published_ones():
    d = data.digits(dtype=np.float64, flatten=False)
    assert (d.train_x.shape, d.test_x.shape, d.train_y.shape, d.test_y.shape) == (
        (1297, 8, 8),
        (500, 8, 8),
        (1297,),
        (500,),
    )
    assert np.bincount(np.r_[d.train_y, d.test_y]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # the split undone gives the file's order, and that order's bytes
    order = datasets.shuffled(1797, seed=1998)
    images = np.empty((1797, 8, 8))
    images[order] = np.concatenate([d.train_x, d.test_x]) * 16
    labels = np.empty(1797, int)
    labels[order] = np.concatenate([d.train_y, d.test_y])
    assert labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert images[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert hashlib.sha256(images.astype(np.uint8).tobytes() + labels.astype(np.uint8).tobytes()).hexdigest() == DIGITS
    assert "CC BY 4.0" in d.source and "10.24432/C50P49" in d.source


def test_digits_equal_scikit_learns():
    sklearn = pytest.importorskip("sklearn.datasets")
    theirs, order, d = sklearn.load_digits(), datasets.shuffled(1797, seed=1998), data.digits()
    np.testing.assert_array_equal(np.r_[d.train_x, d.test_x] * 16, theirs.data[order])
    np.testing.assert_array_equal(np.r_[d.train_y, d.test_y], theirs.target[order])


def test_the_split_never_changes():
    d = data.digits()
    assert d.train_y[:10].tolist() == TRAIN_LABELS and d.test_y[:10].tolist() == TEST_LABELS
    assert min(np.bincount(d.train_y)) > 110 and min(np.bincount(d.test_y)) > 35  # every class in both parts


@pytest.mark.parametrize("dtype", ["float16", "float32", np.float64])
def test_digits_dtype_and_range(dtype):
    d = data.digits(dtype=dtype)
    assert d.train_x.dtype == d.test_x.dtype == np.dtype(dtype) and d.train_y.dtype == np.int64
    assert d.train_x.shape == (1297, 64) and d.train_x.min() == 0 and d.train_x.max() == 1
    assert repr(d) == f"Dataset(digits: train (1297, 64), test (500, 64), {np.dtype(dtype)})"


@pytest.mark.parametrize("dtype", ["uint8", int, "complex64", "no such"])
@pytest.mark.parametrize("load", [data.digits, data.mnist])
def test_images_need_a_floating_point_dtype(load, dtype):
    with pytest.raises(DTypeError, match="floating-point dtype such as float32"):
        load(dtype=dtype)


# MNIST


def test_mnist_itself():
    named = os.environ.get("TINYGRAD_MLSP_DATA")
    if not named or not [*Path(named).glob("train-images-*"), *Path(named, "mnist").glob("train-images-*")]:
        pytest.skip("TINYGRAD_MLSP_DATA names no folder with the MNIST files")
    d = data.mnist(download=False)
    assert d.train_x.shape == (60_000, 784) and d.test_x.shape == (10_000, 784) and d.train_x.dtype == np.float32
    assert d.train_y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert d.test_y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(d.train_y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(d.test_y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert d.train_x.min() == 0 and d.train_x.max() == 1
    assert d.train_x.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Files of MNIST's form with a few images, their checksums in place of MNIST's, an empty cache, no mirrors."""
    rng, table, files = np.random.default_rng(0), {}, {}
    for name, (_, shape) in datasets._MNIST.items():
        shape = (6 if name.startswith("train") else 4, *shape[1:])
        header = b"\0\0\x08" + bytes([len(shape)]) + np.array(shape, ">i4").tobytes()
        files[name] = header + rng.integers(0, 10 if len(shape) == 1 else 256, shape, np.uint8).tobytes()
        table[name] = (hashlib.md5(files[name]).hexdigest(), shape)
    monkeypatch.setattr(datasets, "_MNIST", table)
    monkeypatch.setattr(datasets, "MIRRORS", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("TINYGRAD_MLSP_DATA", raising=False)
    return files


def put(folder, files, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in files.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(raw) if packed else raw)
    return folder


def cached(tmp_path):
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("subfolder", ["", "mnist"])
@pytest.mark.parametrize("how", ["argument", "variable", "cache"])
def test_mnist_is_found(small, tmp_path, monkeypatch, packed, subfolder, how):
    folder = tmp_path / "cache" / "tinygrad_mlsp" / "mnist" if how == "cache" else tmp_path / "here" / subfolder
    put(folder, small, packed)
    if how == "variable":
        monkeypatch.setenv("TINYGRAD_MLSP_DATA", str(tmp_path / "here"))
    d = data.mnist(str(tmp_path / "here") if how == "argument" else None, flatten=False)
    raw = np.frombuffer(small["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(6, 28, 28)
    np.testing.assert_array_equal(np.rint(d.train_x * 255), raw)  # in the order of the file
    assert d.train_y.tolist() == list(small["train-labels-idx1-ubyte"][8:])
    assert d.test_y.tolist() == list(small["t10k-labels-idx1-ubyte"][8:])
    assert d.test_x.shape == (4, 28, 28) and data.mnist(folder).test_x.shape == (4, 784)


def test_mnist_holds_out_its_last_training_images(small, tmp_path):
    folder = put(tmp_path / "here", small)
    whole, d = data.mnist(folder), data.mnist(folder, validation=2)
    np.testing.assert_array_equal(d.train_x, whole.train_x[:4])
    np.testing.assert_array_equal(d.valid_x, whole.train_x[4:])
    assert d.train_y.tolist() + d.valid_y.tolist() == whole.train_y.tolist() and len(whole.valid_y) == 0
    with pytest.raises(OptionError, match="of 6 training images, 6 cannot be held out"):
        data.mnist(folder, validation=6)


def test_the_argument_comes_before_the_variable_and_that_before_the_cache(small, tmp_path, monkeypatch):
    put(tmp_path / "cache" / "tinygrad_mlsp" / "mnist", dict.fromkeys(small, b"from the cache"))
    put(tmp_path / "variable", dict.fromkeys(small, b"from the variable"))
    good = put(tmp_path / "good", small)
    monkeypatch.setenv("TINYGRAD_MLSP_DATA", str(tmp_path / "variable"))
    data.mnist(good)
    with pytest.raises(DataError, match="variable"):
        data.mnist()
    monkeypatch.setenv("TINYGRAD_MLSP_DATA", str(tmp_path))  # a folder of other data is passed over
    with pytest.raises(DataError, match="cache"):
        data.mnist()


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_a_folder_that_is_not_there_is_an_error(small, tmp_path, monkeypatch, how):
    put(tmp_path / "cache" / "tinygrad_mlsp" / "mnist", small)  # would do, but is not what was asked for
    absent = tmp_path / "absent"
    monkeypatch.setenv("TINYGRAD_MLSP_DATA", str(absent))
    with pytest.raises(DataError, match=r"expected train-images-idx3-ubyte or .*absent, found neither\. Put it there"):
        data.mnist(absent if how == "argument" else None)


def test_a_missing_file_is_named(small, tmp_path):
    folder = put(tmp_path / "here", small)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"expected t10k-labels-idx1-ubyte or .* found neither"):
        data.mnist(folder)
    with pytest.raises(DataError, match="download=True"):
        data.mnist(download=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: gzip.compress(raw)[:-20], "is damaged: expected gzip data that unpacks to 14 bytes"),
        (lambda raw: gzip.compress(raw)[:5], "is damaged"),
        (lambda raw: gzip.compress(raw)[:-8] + b"\0" * 8, "is damaged"),  # its CRC
        (lambda raw: b"\x1f\x8b" + raw, "is damaged"),
        (lambda raw: gzip.compress(raw[:-1] + b"\x63"), "expected 14 bytes with MD5 .*, found 14 bytes with MD5"),
        (lambda raw: gzip.compress(raw[:-1]), "expected 14 bytes with MD5 .*, found 13 bytes"),
        (lambda raw: gzip.compress(raw + b"\0" * 9), "expected 14 bytes with MD5 .*, found more than 14 bytes"),
        (lambda raw: raw[:-3], "found 11 bytes"),
        (lambda raw: b"", "found 0 bytes"),
    ],
)
def test_a_damaged_file_is_an_error_that_says_what_to_do(small, tmp_path, damage, message):
    folder = put(tmp_path / "here", small)
    name = "train-labels-idx1-ubyte"
    (folder / f"{name}.gz").write_bytes(damage(small[name]))
    with pytest.raises(DataError, match=message) as caught:
        data.mnist(folder)
    assert str(folder / name) in str(caught.value) and str(caught.value).endswith("Put the original file in its place")


# downloads


@pytest.fixture
def server():
    """Serves what is put into `server.files`; a value of bytes is a whole answer, a tuple (length, bytes) a cut one."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = files.get(self.path)
            if body is None:
                return self.send_error(404)
            length, body = body if isinstance(body, tuple) else (len(body), body)
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    files, asked = {}, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.files, running.asked, running.url = files, asked, f"http://127.0.0.1:{running.server_port}/"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_download_tries_the_mirrors_and_fills_the_cache(small, tmp_path, monkeypatch, server, capsys):
    server.files.update({f"/b/{name}.gz": gzip.compress(raw) for name, raw in small.items()})
    wrong = gzip.compress(b"something else")
    server.files["/a/train-images-idx3-ubyte.gz"] = wrong  # a wrong file, a cut one, and two that are not there
    server.files["/a/train-labels-idx1-ubyte.gz"] = (len(wrong), gzip.compress(small["train-labels-idx1-ubyte"])[:20])
    monkeypatch.setattr(datasets, "MIRRORS", (f"{server.url}a/", f"{server.url}b/"))
    d = data.mnist()
    assert len(server.asked) == 8 and "downloading http://127.0.0.1" in capsys.readouterr().err
    assert cached(tmp_path) == sorted(f"{name}.gz" for name in small)
    np.testing.assert_array_equal(data.mnist(download=False).train_x, d.train_x)
    (tmp_path / "cache/tinygrad_mlsp/mnist/t10k-labels-idx1-ubyte.gz").unlink()
    data.mnist()  # only what is missing
    assert server.asked[8:] == ["/a/t10k-labels-idx1-ubyte.gz", "/b/t10k-labels-idx1-ubyte.gz"]


@pytest.mark.parametrize(
    "answer", [None, b"", b"<html>", gzip.compress(b"wrong"), (1000, gzip.compress(b"x" * 99)[:9])]
)
def test_a_failed_download_leaves_nothing_behind(small, tmp_path, monkeypatch, server, answer):
    server.files["/train-images-idx3-ubyte.gz"] = answer
    monkeypatch.setattr(datasets, "MIRRORS", (server.url, "http://127.0.0.1:9/"))
    with pytest.raises(DataError, match="Try again later, or fetch the four files by other means") as caught:
        data.mnist()
    assert f"{server.url}train-images-idx3-ubyte.gz: " in str(caught.value) and "127.0.0.1:9/" in str(caught.value)
    assert cached(tmp_path) == []


def test_a_write_that_fails_half_way_leaves_nothing_behind(small, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "MIRRORS", (put(tmp_path / "mirror", small).as_uri() + "/",))

    def full(part, blob):
        with open(part, "wb") as file:
            file.write(blob[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(DataError, match=r"cannot write .*No space left on device. Set XDG_CACHE_HOME"):
            data.mnist()
    assert cached(tmp_path) == []
    (tmp_path / "cache").rename(tmp_path / "old")
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="cannot write"):
        data.mnist()


# the loader


def order(loader):
    return [i for (batch,) in loader for i in batch.tolist()]


def test_every_epoch_has_every_sample_once_in_its_own_order():
    loader = data.Loader(np.arange(103), batch_size=10, seed=3)
    epochs = [order(loader) for _ in range(4)]
    assert all(sorted(e) == list(range(103)) for e in epochs) and len(set(map(tuple, epochs))) == 4
    again = data.Loader(np.arange(103), batch_size=32, seed=3)  # the batch size does not change the order
    assert [order(again) for _ in range(4)] == epochs
    assert order(data.Loader(np.arange(103), seed=4)) not in epochs
    assert loader.epoch == 4 and loader.position == 0


def test_the_order_never_changes():
    assert [datasets.shuffled(8, seed=0, epoch=e).tolist() for e in range(2)] == ORDERS


def test_the_order_is_uniform():
    seen = {tuple(datasets.shuffled(3, seed=0, epoch=e).tolist()): 0 for e in range(600)}
    for e in range(600):
        seen[tuple(datasets.shuffled(3, seed=0, epoch=e).tolist())] += 1
    assert len(seen) == 6 and all(70 < n < 130 for n in seen.values())  # 100 each, standard deviation 9


@pytest.mark.parametrize(
    ("n", "drop_last", "sizes"),
    [
        (10, False, [4, 4, 2]),
        (10, True, [4, 4]),
        (8, False, [4, 4]),
        (8, True, [4, 4]),
        (3, False, [3]),
        (0, False, []),
        (0, True, []),
    ],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_sizes(n, drop_last, sizes, shuffle):
    x = np.arange(2 * n).reshape(n, 2)
    loader = data.Loader(x, batch_size=4, shuffle=shuffle, drop_last=drop_last)
    batches = [batch for (batch,) in loader]
    assert [len(b) for b in batches] == sizes and len(loader) == len(sizes)
    if not shuffle:
        np.testing.assert_array_equal(np.concatenate([x[:0], *batches]), x[: sum(sizes)])
        assert all(np.shares_memory(b, x) for b in batches)


def test_arrays_stay_together_whatever_they_are():
    x = np.arange(20.0)
    for a, b, c in data.Loader(x.reshape(20, 1), Tensor(x), x.astype(int).tolist(), batch_size=6):
        assert isinstance(a, np.ndarray) and isinstance(b, Tensor) and isinstance(c, np.ndarray)
        assert a[:, 0].tolist() == b.numpy().tolist() == c.tolist()


@pytest.mark.parametrize("shuffle", [True, False])
def test_arrays_on_a_gpu_are_indexed_there(shuffle):
    if not backend.available().cuda:
        pytest.skip("no GPU, nor a stand-in for one")
    x = np.arange(20.0)
    there = Tensor(x, device="cuda")
    for a, b, c in data.Loader(there, there.data, x, batch_size=6, shuffle=shuffle):
        assert a.device == backend.device_of(b) == "cuda:0" and isinstance(c, np.ndarray)
        assert a.numpy().tolist() == backend.to_numpy(b).tolist() == c.tolist()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("stop", range(9))
def test_resumes_after_any_batch(stop, shuffle):
    def make():
        return data.Loader(np.arange(10), batch_size=3, shuffle=shuffle, seed=5)

    def run(loader):  # epochs 0, 1 and 2 from wherever the loader stands
        while loader.epoch < 3:
            for (batch,) in loader:
                yield loader.epoch, batch.tolist()

    whole, first = list(run(make())), make()
    part = list(itertools.islice(run(first), stop))
    state = first.state_dict()
    second = make()
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert part + list(run(second)) == whole and len(whole) == 12


def test_a_pass_left_early_is_followed_by_a_whole_one():
    loader = data.Loader(np.arange(10), batch_size=3)
    next(iter(loader))
    assert sorted(order(loader)) == list(range(10)) and loader.epoch == 2


def test_the_state_of_another_loader_is_refused():
    x = np.arange(10)
    state = data.Loader(x, batch_size=3, seed=1).state_dict()
    for other, name in [
        (data.Loader(x, batch_size=4, seed=1), "batch_size"),
        (data.Loader(x, batch_size=3), "seed"),
        (data.Loader(x[1:], batch_size=3, seed=1), "length"),
    ]:
        with pytest.raises(OptionError, match=f"the saved {name} is .* make the loader with the saved one"):
            other.load_state_dict(state)
    with pytest.raises(OptionError, match="position must be an integer from 0 to 10, got 11"):
        data.Loader(x, batch_size=3, seed=1).load_state_dict(state | {"position": 11})


@pytest.mark.parametrize(
    "option",
    [
        {"batch_size": 0},
        {"batch_size": 2.0},
        {"batch_size": "3"},
        {"seed": -1},
        {"seed": None},
        {"batch_size": 11, "drop_last": True},
    ],
)
def test_options_out_of_range(option):
    name, value = next(iter(option.items()))
    with pytest.raises(OptionError, match=f"{name} must be an integer .*, got {value!r}"):
        data.Loader(np.arange(10), **option)


def test_arrays_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"one length along axis 0, got shapes \[\(4, 2\), \(3,\)\]"):
        data.Loader(np.zeros((4, 2)), np.zeros(3))
    with pytest.raises(ShapeError, match="one array or more"):
        data.Loader()
    with pytest.raises(ShapeError, match="one array or more"):
        data.Loader(np.zeros(3), np.float64(1))
