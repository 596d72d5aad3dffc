"""Files of weights and checkpoints: exact, whole or not there, and safe to read whatever is in them."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim, train
from tinygrad_mlsp.data import Loader
from tinygrad_mlsp.errors import CheckpointError, DTypeError, OptionError
from tinygrad_mlsp.nn import functional as F
from tinygrad_mlsp.random import Generator
from tinygrad_mlsp.train.tensorfile import DTYPES, read_arrays, write_arrays


def net(seed: int = 0, device: str = "cpu") -> nn.Module:
    g = Generator(seed)
    return nn.Sequential(nn.Linear(4, 6, generator=g), nn.Tanh(), nn.BatchNorm1d(6), nn.Linear(6, 2, generator=g)).to(
        device
    )


def trainer(folder: Path | None = None, device: str = "cpu", seed: int = 0) -> train.Trainer:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4)).astype(np.float32), np.arange(20) % 2
    model = net(seed)
    loader = Loader(x, y, batch_size=8, seed=3)
    callbacks = [train.EarlyStopping("loss"), train.GradientFlow()]
    callbacks += [] if folder is None else [train.Checkpoints(folder, steps=1)]
    return train.Trainer(
        model, F.cross_entropy, optim.Adam(model.parameters()), loader, metrics=[train.Confusion(2)],
        callbacks=callbacks, device=device, progress=False,
    )  # fmt: skip


# Weights


def test_weights_come_back_exactly(device: str, tmp_path: Path) -> None:
    model, other = net(0, device), net(1, device)
    train.save(model, tmp_path / "a.safetensors")
    assert train.load(other, tmp_path / "a.safetensors") is other
    for (name, mine), theirs in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert mine.dtype == theirs.dtype and (mine.numpy() == theirs.numpy()).all(), name
    arrays = train.load(None, tmp_path / "a.safetensors")
    assert list(arrays) and all(type(a) is np.ndarray and a.flags.writeable for a in arrays.values())
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("kind", DTYPES)
def test_every_dtype_shape_and_layout(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = (rng.standard_normal((3, 4, 5)) * 100).astype(np.int64).astype(DTYPES[kind])
    given = {
        "plain": base, "transposed": base.T, "strided": base[::-1, ::2], "fortran": np.asfortranarray(base[0]),
        "big-endian": base.astype(base.dtype.newbyteorder(">")), "empty": base[:0], "scalar": base[1, 2, 3],
        "broadcast": np.broadcast_to(base[0], (2, 4, 5)), 'quote" \\ é\n sha256': base,
    }  # fmt: skip
    train.save(given, tmp_path / "a")
    found = train.load(None, tmp_path / "a")
    assert set(found) == set(given)
    for name, array in given.items():
        assert found[name].shape == array.shape and found[name].dtype == base.dtype
        assert (found[name] == array).all(), name
        assert found[name].flags.aligned and found[name].dtype.isnative


def test_nan_payloads_and_signed_zeros_survive(tmp_path: Path) -> None:
    bits = np.array([0x7FC00001, 0xFFC12345, 0x7F800001, 0x80000000, 0x00000001], np.uint32)
    train.save({"a": bits.view(np.float32)}, tmp_path / "a")
    assert (train.load(None, tmp_path / "a")["a"].view(np.uint32) == bits).all()


def test_what_the_format_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(DTypeError, match="'a' is complex128"):
        train.save({"a": np.ones(2, complex)}, tmp_path / "a")
    with pytest.raises(OptionError, match="__metadata__"):
        train.save({"__metadata__": np.ones(2)}, tmp_path / "a")
    with pytest.raises(DTypeError, match=r"callbacks\.0 is a function"):
        train.save_state({"callbacks": [lambda: 0]}, tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    train.save({"a": np.ones(2)}, path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        train.save({"a": np.zeros(2)}, path)
    assert os.listdir(tmp_path) == ["a"] and (train.load(None, path)["a"] == 1).all()


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    train.save(nn.Linear(3, 2), tmp_path / "a")
    model = nn.Linear(4, 2)
    before = model.weight.numpy().copy()
    with pytest.raises(CheckpointError, match=r"a does not fit the model.*weight is \[2, 4\], loaded \[2, 3\]"):
        train.load(model, tmp_path / "a")
    with pytest.raises(CheckpointError, match="missing"):
        train.load(nn.Sequential(nn.Linear(3, 2)), tmp_path / "a")
    assert (model.weight.numpy() == before).all()
    assert train.load(nn.Linear(3, 2, bias=False), tmp_path / "a", strict=False) is not None
    with pytest.raises(FileNotFoundError):
        train.load(model, tmp_path / "b")
    with pytest.raises(CheckpointError, match="no training state"):
        train.load_state(tmp_path / "a")


def test_the_safetensors_library_reads_ours_and_we_read_its(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.numpy")
    model = net()
    train.save(model, tmp_path / "a")
    found = theirs.load_file(tmp_path / "a")
    for name, tensor in model.state_dict().items():
        assert (found[name] == tensor.numpy()).all()
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "é": np.array(3), "none": np.empty((0, 2), np.int8)}
    theirs.save_file(arrays, tmp_path / "b", {"format": "pt"})
    back = train.load(None, tmp_path / "b")
    assert set(back) == set(arrays) and all(
        (back[k] == v).all() and back[k].shape == v.shape for k, v in arrays.items()
    )


@pytest.mark.slow
def test_pytorch_state_dicts_come_and_go(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    st = pytest.importorskip("safetensors.torch")
    torch_net = torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 2)
    )
    st.save_file(torch_net.state_dict(), tmp_path / "t")
    model = train.load(net(), tmp_path / "t").eval()
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    expected = torch_net.eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model(tg.Tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)
    train.save(net(3), tmp_path / "o")
    torch_net.load_state_dict(st.load_file(tmp_path / "o"))
    half = torch.arange(8).to(torch.bfloat16) / 3
    st.save_file({"h": half}, tmp_path / "h")
    assert (train.load(None, tmp_path / "h")["h"] == half.float().numpy()).all()


# States


def test_a_state_comes_back_exactly(tmp_path: Path) -> None:
    state = {
        "numbers": [1, -(2**127), True, None, 0.1, 5e-324, math.inf, -math.inf, -0.0, 1e308],
        1: (2, (3, [])), "1": {"": {}}, "nan": math.nan, "text": 'é"\\\n\x00 {"dict": []}', ("a", 1): "tuple",
        "array": np.arange(6).reshape(2, 3).T, "tensor": tg.Tensor([1.0, 2.0]), "scalar": np.float32(0.1),
        "complex": 1 + 2j, "wide": np.array([[1 + 2j, 3]]), "0-d": np.array(1j), "empty": np.empty((0, 3)),
        "float64": np.float64(1 / 3), "a": {"b": np.ones(1), "b'": np.zeros(1)}, "a.b": np.full(1, 2.0),
    }  # fmt: skip
    train.save_state(state, tmp_path / "s")
    back = train.load_state(tmp_path / "s")

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, dict):
            return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
        if isinstance(a, (list, tuple)):
            return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
        if isinstance(a, tg.Tensor):
            return isinstance(b, tg.Tensor) and same(a.numpy(), b.numpy())
        if hasattr(a, "dtype"):
            return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        return type(a) is type(b) and repr(a) == repr(b)

    assert same(state, back)


def test_weights_of_a_checkpoint_can_be_loaded(tmp_path: Path) -> None:
    t = trainer()
    t.fit(1)
    t.save(tmp_path / "c.safetensors")
    model = train.load(net(5), tmp_path / "c.safetensors")
    assert all((a.numpy() == b.numpy()).all() for a, b in zip(model.parameters(), t.model.parameters(), strict=True))


# What is damaged or foreign


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran_code",)


def raw(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": list(offsets)}


FOREIGN = {
    "nothing": (b"", "0 bytes"),
    "text": (b"hello, this is not a checkpoint", "cut off, or not safetensors"),
    "pickle": (pickle.dumps(Evil()), "not safetensors"),
    "zip": (b"PK\x03\x04" + bytes(100), "not safetensors"),
    "numpy": (b"\x93NUMPY\x01\x00v\x00" + bytes(100), "not safetensors"),
    "huge header": (raw({}, length=2**63), "cut off"),
    "largest header": (raw({}, length=2**64 - 1), "cut off"),
    "header over its limit": (raw(b"{}" + b" " * 20, length=100_000_001), "cut off"),
    "no object": (raw([1]), "does not begin"),
    "number": (raw(b"1"), "does not begin"),
    "cut JSON": (raw(b'{"a": {'), "not JSON"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "not JSON"),
    "NaN": (raw(b'{"a": NaN}'), "NaN is not JSON"),
    "infinite": (raw(b'{"a": -Infinity}'), "not JSON"),
    "twice": (raw(b'{"a": %s, "a": %s}' % ((json.dumps(entry()).encode(),) * 2), b"1234"), "a name comes twice"),
    "deep lists": (raw(b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "nested too deeply"),
    "deep objects": (raw(b'{"a":' * 200_000 + b"1" + b"}" * 200_000), "nested too deeply"),
    "long number": (raw(b'{"a": ' + b"9" * 10_000 + b"}"), "not JSON"),
    "no description": (raw({"a": 1}), "not described"),
    "more in the description": (raw({"a": {**entry(), "b": 1}}, b"1234"), "not described"),
    "metadata": (raw({"__metadata__": {"a": 1}}), "not texts"),
    "metadata list": (raw({"__metadata__": []}), "not texts"),
    "wrong dtype": (raw({"a": entry("F33")}, b"1234"), "dtype 'F33'"),
    "dtype list": (raw({"a": entry([])}, b"1234"), "dtype"),
    "object dtype": (raw({"a": entry("O", (1,), (0, 8))}, b"12345678"), "dtype 'O'"),
    "negative offset": (raw({"a": entry(offsets=(-4, 0))}, b"1234"), "data_offsets"),
    "backwards": (raw({"a": entry(offsets=(4, 0))}, b"1234"), "ends before"),
    "float offset": (raw({"a": entry(offsets=(0, 4.0))}, b"1234"), "data_offsets"),
    "true offset": (raw({"a": entry("U8", (1,), (False, True))}, b"1"), "data_offsets"),
    "three offsets": (raw({"a": entry(offsets=(0, 4, 8))}, b"1234"), "data_offsets"),
    "beyond the end": (raw({"a": entry(shape=(2,), offsets=(0, 8))}, b"1234"), "cut off"),
    "far beyond": (raw({"a": entry(shape=(2**60,), offsets=(0, 2**62))}, b"1234"), "cut off"),
    "other size": (raw({"a": entry(shape=(2,))}, b"1234"), "does not take"),
    "negative shape": (raw({"a": entry(shape=(-1, -1))}, b"1234"), "shape"),
    "float shape": (raw({"a": entry(shape=(1.0,))}, b"1234"), "shape"),
    "shape no list": (raw({"a": entry(shape=1)}, b"1234"), "shape"),
    "many axes": (raw({"a": entry(shape=(1,) * 65)}, b"1234"), "up to 64"),
    "empty and huge": (raw({"a": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}), "cannot have the shape"),
    "overlap": (raw({"a": entry(), "b": entry(offsets=(2, 6))}, b"123456"), "the array before it ends"),
    "hole": (raw({"a": entry(), "b": entry(offsets=(8, 12))}, b"123456789012"), "the array before it ends"),
    "more data": (raw({"a": entry()}, b"12345678"), "there are 8"),
    "no sum": (raw({"__metadata__": {"format": "tinygrad_mlsp", "version": "1"}}), "damaged"),
    "wrong sum": (raw({"__metadata__": {"sha256": "0" * 64}}), "damaged"),
    "sum of another kind": (raw({"__metadata__": {"sha256": "é" * 64}}), "damaged"),
    "newer": (raw({"__metadata__": {"format": "tinygrad_mlsp", "version": "2"}}), "newer version.*format 2"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_named_with_the_reason(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content, reason = FOREIGN[name]
    Path("a.safetensors").write_bytes(content)
    for read in (lambda p: train.load(None, p), train.load_state, trainer().resume):
        began = time.monotonic()
        with pytest.raises(CheckpointError, match=rf"a\.safetensors: .*{reason}"):
            read("a.safetensors")
        assert time.monotonic() - began < 5
    assert os.listdir() == ["a.safetensors"]


def test_pipes_folders_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in ((tmp_path / "pipe", "not a file"), (tmp_path, "not a file"), ("/dev/zero", "not a file")):
        with pytest.raises(CheckpointError, match=reason):
            train.load(None, path)


@pytest.mark.parametrize(
    "tree",
    [
        "", "[", "NaN", '{"a": 1, "b": 2}', "{}",
        '{"array": "gone"}', '{"array": ["a"]}', '{"dict": 1}', '{"dict": [1]}',
        '{"dict": [[{"dict": []}, 1]]}', '{"float": "1"}', '{"complex": [1]}', '{"scalar": "two"}', '{"exec": "a"}',
        '{"complex array": "one"}', '{"tuple": null}', "[" * 100_000 + "]" * 100_000, "1", "[]", '{"dict": []}',
        '{"dict": [["kind", "trainer"]]}', '{"dict": [["kind", "trainer"], ["schedules", 1]]}',
        '{"dict": [["kind", {"__reduce__": "os.system"}]]}',
    ],
)  # fmt: skip
def test_a_whole_file_with_a_strange_state(tree: str, tmp_path: Path) -> None:
    """Signed as ours are, so it gets past the sum."""
    write_arrays(tmp_path / "a.safetensors", {"one": np.ones(1, np.float32), "two": np.ones(2)}, {"state": tree})
    t = trainer()
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        t.resume(tmp_path / "a.safetensors")


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """A file that something happened to."""
    n = int.from_bytes(whole[:8], "little")
    changed = bytearray(whole)
    where = rng.randrange(8)
    if where == 0:  # one bit, anywhere
        changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    elif where == 1:  # one bit of the header
        changed[rng.randrange(8 + n)] ^= 1 << rng.randrange(8)
    elif where == 2:  # cut off
        del changed[rng.randrange(len(whole)) :]
    elif where == 3:  # a part is missing
        at = rng.randrange(len(whole))
        del changed[at : at + rng.randint(1, 200)]
    elif where == 4:  # a part comes twice
        at = rng.randrange(len(whole))
        changed[at:at] = whole[at : at + rng.randint(1, 200)]
    elif where == 5:  # another length of the header
        changed[:8] = rng.getrandbits(rng.choice([8, 16, 32, 64])).to_bytes(8, "little")
    elif where == 6:  # zeros, as a disk leaves them
        at = rng.randrange(len(whole))
        end = min(len(whole), at + rng.randint(1, 4096))
        changed[at:end] = bytes(end - at)
    else:  # other digits in the header
        digits = [i for i in range(8, 8 + n) if whole[i : i + 1].isdigit()]
        for i in rng.sample(digits, rng.randint(1, 3)):
            changed[i] = rng.choice(b"0123456789-eE.")
    return bytes(changed)


@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_corrupted_checkpoints_give_our_error(times: int, tmp_path: Path) -> None:
    t = trainer()
    t.fit(1)
    path = tmp_path / "c.safetensors"
    t.save(path)
    whole, rng = path.read_bytes(), random.Random(times)
    refused = 0
    while refused < times:
        content = damaged(whole, rng)
        if content == whole:
            continue
        path.write_bytes(content)
        began = time.monotonic()
        with pytest.raises(CheckpointError, match=r"c\.safetensors"):
            t.resume(path)
        assert time.monotonic() - began < 2
        refused += 1
    path.write_bytes(whole)
    assert t.resume(path)


@pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_every_single_bit_counts(stride: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    train.save({"a": np.arange(2, dtype=np.int8)}, path)
    whole = path.read_bytes()
    for i in range(0, len(whole) * 8, stride):
        changed = bytearray(whole)
        changed[i // 8] ^= 1 << i % 8
        path.write_bytes(changed)
        with pytest.raises(CheckpointError):
            read_arrays(path)


# Resuming


def test_nothing_changes_when_a_checkpoint_does_not_fit(tmp_path: Path) -> None:
    t = trainer()
    t.fit(1)
    t.save(tmp_path / "c.safetensors")
    before = pickle.dumps([p.numpy() for p in t.model.parameters()])
    state = t.state_dict()
    for change in (
        lambda s: s["optimizer"]["param_groups"][0].pop("lr"), lambda s: s["loader"].update(seed=99),
        lambda s: s.update(kind="x"), lambda s: s["metrics"].append({}), lambda s: s["callbacks"].update({"X 1": {}}),
        lambda s: s.pop("place"), lambda s: s["history"].update(x=1), lambda s: s["keep"].update(x=1),
        lambda s: s["model"]["weights"].pop("0.weight"), lambda s: s["model"]["generators"].update({"9.g": {}}),
        lambda s: s["model"]["weights"].update({"0.weight": tg.zeros((6, 4), dtype=np.float64)}),
    ):  # fmt: skip
        wrong = train.load_state(tmp_path / "c.safetensors")
        wrong["model"]["weights"]["3.bias"] = tg.ones((2,)) * 77
        change(wrong)
        with pytest.raises(CheckpointError, match="does not fit"):
            t.load_state_dict(wrong)
        assert pickle.dumps([p.numpy() for p in t.model.parameters()]) == before
        assert t.state_dict()["loader"] == state["loader"] and t.step == 3


def test_a_folder_with_a_damaged_newest_checkpoint(tmp_path: Path) -> None:
    t = trainer(tmp_path)
    t.fit(2)
    names = [p.name for p in train.Checkpoints.files(tmp_path)]
    assert names == [f"step-{n:09d}.safetensors" for n in (4, 5, 6)]
    (tmp_path / names[-1]).write_bytes(b"lost")
    other = trainer(tmp_path)
    with pytest.warns(UserWarning, match="step-000000006.*going back"):
        assert other.resume(tmp_path)
    assert other.step == 5
    for name in names:
        (tmp_path / name).write_bytes(b"lost")
    with pytest.warns(UserWarning), pytest.raises(CheckpointError):
        other.resume(tmp_path)
    assert not trainer().resume(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        trainer().resume(tmp_path / "step-000000099.safetensors")


RUN = """
import sys, time
import numpy as np
import tinygrad_mlsp as tg
from tinygrad_mlsp import nn, optim, train
from tinygrad_mlsp.data import Loader
from tinygrad_mlsp.random import Generator

folder, pause = sys.argv[1], float(sys.argv[2])
tg.manual_seed(11)
rng = np.random.default_rng(0)
x, y = rng.standard_normal((150, 6)).astype(np.float32), rng.integers(0, 3, 150)
g = Generator(5)
model = nn.Sequential(nn.Linear(6, 16, generator=g), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.3, generator=g),
                      nn.Linear(16, 8, generator=g), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3, generator=g))
optimizer = optim.Adam([{"params": model[0].parameters()}, {"params": list(model.parameters())[2:], "lr": 0.003}], 0.01)

class Decay:
    def __init__(self): self.n = 0
    def step(self):
        self.n += 1
        for group in optimizer.param_groups: group["lr"] *= 0.999
    def state_dict(self): return {"n": self.n}
    def load_state_dict(self, state): self.n = state["n"]

class Tell(train.Callback):
    def on_step(self, state):
        told.write(f"{state.step}\\n"); told.flush(); time.sleep(pause)

told = open(folder + "/told", "a")
trainer = train.Trainer(
    model, nn.CrossEntropyLoss(), optimizer, Loader(x, y, batch_size=16, seed=2),
    Loader(x[:40], y[:40], batch_size=16), metrics=[train.Accuracy(), train.Confusion(3)],
    schedule=Decay(), schedule_every="step", clip_norm=1.0, accumulate=2,
    callbacks=[Tell(), train.EarlyStopping(patience=100), train.GradientFlow(3),
               train.Log(folder + "/log.csv", steps=2), train.Log(folder + "/log.jsonl"),
               train.Checkpoints(folder + "/c", steps=3, epochs=1, monitor="val_loss")],
    progress=False)
trainer.resume(folder + "/c")
trainer.fit(12)
trainer.save(folder + "/end.safetensors")
"""


def run(folder: Path, pause: float) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    quiet = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder), str(pause)], env=quiet, stderr=subprocess.PIPE)


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment(kills: int, tmp_path: Path) -> None:
    """Killed and resumed again and again, a training ends in the same file, bit for bit, as one left alone."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = run(whole, 0.0)
    assert process.communicate()[1] == b"" and process.returncode == 0
    last = 60
    rng, done = random.Random(kills), 0
    while done < kills:
        process = run(cut, 0.004 if kills == 2 else rng.choice([0.0, 0.001, 0.004]))
        before = (cut / "told").stat().st_size if (cut / "told").exists() else 0
        while process.poll() is None and (not (cut / "told").exists() or (cut / "told").stat().st_size == before):
            time.sleep(0.002)  # it has begun
        time.sleep(rng.random() * (0.15 if kills == 2 else 0.08))
        process.send_signal(signal.SIGKILL)
        error = process.communicate()[1]
        done += process.returncode == -signal.SIGKILL
        assert process.returncode in (0, -signal.SIGKILL), error.decode()
        steps = [int(n) for n in (cut / "told").read_text().split()]
        saved = train.Checkpoints.files(cut / "c")
        assert steps[-1] - (int(saved[-1].stem[5:]) if saved else 0) <= 3
        if process.returncode == 0 or steps[-1] >= last - 6:  # from the start again
            if (cut / "end.safetensors").exists():
                assert (cut / "end.safetensors").read_bytes() == (whole / "end.safetensors").read_bytes()
            shutil.rmtree(cut)
    process = run(cut, 0.0)
    assert process.communicate()[1] == b"" and process.returncode == 0
    for name in ("end.safetensors", "log.csv", "log.jsonl", "c/best.safetensors", "c/step-000000060.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    assert sorted(os.listdir(cut / "c")) == sorted(os.listdir(whole / "c"))


def test_paths_where_there_is_nothing(tmp_path: Path) -> None:
    """Errors of ours, which are FileNotFoundErrors too."""
    model, missing, nowhere = nn.Linear(2, 2), tmp_path / "none.safetensors", tmp_path / "none" / "a.safetensors"
    for error in (CheckpointError, FileNotFoundError):
        for read in (lambda: train.load(model, missing), lambda: train.load_state(missing)):
            with pytest.raises(error, match=r"cannot read .*none.safetensors: there is no such file"):
                read()
        for write in (lambda: train.save(model, nowhere), lambda: train.save_state({}, nowhere)):
            with pytest.raises(error, match=r"cannot write .*: its folder is not there"):
                write()
    with pytest.raises(CheckpointError, match="it is a folder; name a file in it"):
        train.save(model, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m: train.save("a", m), r"the model comes first, then the path: save\(model, path\)"),
        (lambda m: train.load("a", m), r"the model comes first, then the path: load\(model, path\)"),
        (lambda m: train.save([1], "a"), "saves a Module, or arrays by name; got list"),
        (lambda m: train.save({3: np.ones(2)}, "a"), "arrays by name"),
        (lambda m: train.load(3, "a"), "copies into a Module, or gives arrays for None; got int"),
        (lambda m: train.save(m, None), "the path of a file is needed, got None"),
        (lambda m: train.save_state("a", {}), "the path of a file is needed, got dict"),
    ],
)
def test_arguments_in_the_wrong_places(call: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        call(nn.Linear(2, 2))
