"""The strict stand-in for CuPy refuses what CuPy refuses, and behaves as a device does where NumPy does not."""

import copy
import inspect
import pickle
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent / "strict_cupy"


@pytest.fixture(scope="module")
def strict() -> Iterator[Any]:
    """A stand-in of these tests' own: whatever `cupy` the other tests use stays in sys.modules."""

    def ours() -> dict[str, Any]:
        return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("cupy", "cupyx")}

    kept = ours()
    for name in kept:
        del sys.modules[name]
    sys.path.insert(0, str(HERE))
    try:
        import cupy
        import cupyx
        import cupyx.scipy.special
    finally:
        sys.path.remove(str(HERE))
        loaded = ours()
        for name in loaded:
            del sys.modules[name]
        sys.modules.update(kept)
    assert Path(cupy.__file__).is_relative_to(HERE)
    yield SimpleNamespace(cupy=cupy, cupyx=cupyx, special=cupyx.scipy.special, modules=loaded)


@pytest.fixture
def cupy(strict: Any) -> Any:
    return strict.cupy


@pytest.fixture
def x(cupy: Any) -> Any:
    """[[0, 1, 2], [3, 4, 5]]"""
    return cupy.arange(6, dtype=cupy.float32).reshape(2, 3)


HOST = np.ones((2, 3), np.float32)


def each(texts: str) -> Any:
    """Runs a test once for every expression between bars."""
    return pytest.mark.parametrize("text", [text.strip() for text in texts.split("|")])


def run(text: str, strict: Any, x: Any) -> Any:
    index = strict.cupy.asarray([0, 1])
    names = {"cupy": strict.cupy, "cupyx": strict.cupyx, "special": strict.special, "x": x, "i": index, "host": HOST}
    return eval(text, {**names, "np": np, "scalar": strict.cupy.asarray(1), "rng": strict.cupy.random.default_rng(0)})


# ---- nothing goes to the host unasked


@each("""
    np.asarray(x) | np.array(x) | np.array([x, x]) | np.ones(3)[i] | host + [x] | host.__setitem__(0, x[0])
""")
def test_implicit_conversion_to_numpy_is_refused(text: str, strict: Any, x: Any) -> None:
    with pytest.raises(TypeError, match=r"Implicit conversion|index|cupy\.ndarray"):
        run(text, strict, x)


@each("""
    x + host | host + x | x.__iadd__(host) | x < host | host == x | x @ host.T | host.T @ x | x ** host |
    cupy.add(x, host) | cupy.exp(host) | special.erf(host) | cupy.add(x, x, out=host) | x + np.array(2.0) |
    cupy.where(x, host, x) | cupy.where(host, x, x) | cupy.sum(host) | cupy.matmul(x, host.T) |
    cupy.concatenate([x, host]) | cupy.stack((host, x)) | cupy.einsum('ij,ij', x, host) |
    cupy.take(x, np.array([0])) | cupy.take_along_axis(x, host.astype(int), 0) | cupy.clip(x, host, None) |
    cupy.full((2, 3), host) | cupy.broadcast_arrays(x, host) | cupy.array([x, host]) | cupy.asarray([x, 1.0]) |
    x[np.array([0])] | x[[np.array(0)]] | x[0, host[0] > 0] | x[host > 0] | x[[i[0]]] |
    x.__setitem__(0, host[0]) | x.__setitem__(i, host) | x.__setitem__(np.array([0]), 0.0) | x.fill(host) |
    x.dot(host.T) | x.reshape(np.array([3, 2])) | cupyx.scatter_add(x, i, host) | cupy.add.at(x, i, host) |
    np.add(x, host) | np.concatenate([host, x]) | np.where(host, x, x) | rng.uniform(host, 1.0) |
    cupy.linalg.solve(x, host) | special.logsumexp(host) | cupy.empty_like(host)
""")
def test_host_arrays_do_not_mix(text: str, strict: Any, x: Any) -> None:
    with pytest.raises(TypeError):
        run(text, strict, x)


@each("""
    x + [1.0] | [1.0] * x | cupy.exp([1.0]) | cupy.sum([1.0]) | cupy.sum(2.0) | cupy.matmul(x, 2.0) | x @ 2.0 |
    cupy.dot(x, 2.0) | cupy.where(True, x, x) | cupy.broadcast_to(1.0, (2,)) | cupy.stack([[1.0], [2.0]]) |
    cupy.concatenate([x, [[1.0]]]) | cupy.maximum(x, [1.0]) | cupy.linalg.norm([1.0]) | x + 'a' | x + None |
    x < None | x.__setitem__(0, [1.0, 2.0, 3.0]) | cupy.take_along_axis(x, [[0]], 0) | cupy.exp('a')
""")
def test_lists_and_numbers_do_not_stand_for_arrays(text: str, strict: Any, x: Any) -> None:
    with pytest.raises(TypeError):
        run(text, strict, x)


@each("""
    cupy.sum(x, axis=scalar) | x.reshape((scalar, 6)) | range(scalar) | [1, 2][scalar] | cupy.zeros(scalar) |
    x[:scalar] | hash(x) | round(scalar)
""")
def test_a_device_array_is_no_python_number(text: str, strict: Any, x: Any) -> None:
    with pytest.raises(TypeError):
        run(text, strict, x)


def test_the_explicit_ways_work_and_copy(cupy: Any) -> None:
    host = np.ones((2, 3))
    device = cupy.asarray(host)
    host[0, 0] = 7
    assert device.get()[0, 0] == 1
    back = cupy.asnumpy(device)
    assert type(back) is np.ndarray
    back[0, 0] = 9
    assert device[0, 0].item() == 1
    device.set(host)
    assert float(device[0, 0]) == 7
    assert cupy.asarray(device) is device and cupy.array(device) is not device
    assert cupy.asarray([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert cupy.asarray([device[0], device[1]]).shape == (2, 3)
    assert cupy.get_array_module(host, device) is cupy and cupy.get_array_module(host) is np
    with pytest.raises(BufferError, match="device memory"):
        np.from_dlpack(device)
    assert cupy.from_dlpack(device).base is device


# ---- CuPy's names, parameters and dtypes, and no others


@each("""
    cupy.vecdot | cupy.matvec | cupy.errstate | cupy.unstack | cupy.linalg.vecdot | cupy.linalg.multi_dot |
    cupy.linalg.diagonal | cupy.random.PCG64 | cupy.random.Philox | cupy.float128 | cupy.longdouble |
    cupy.object_ | cupy.str_ | cupy.nosuch | cupyx.nosuch | special.nosuch | cupy.cuda.nosuch |
    cupy.cuda.runtime.nosuch | rng.normal | rng.permutation | rng.choice | rng.shuffle | rng.bit_generator |
    x.itemset | x.ctypes | x.to_device | x.__index__ | x.__contains__ | x.__array_interface__ | x._hidden.get |
    x.flags.writeable | setattr(x, 'note', 1)
""")
def test_names_that_cupy_lacks(text: str, strict: Any, x: Any) -> None:
    with pytest.raises(AttributeError):
        run(text, strict, x)


@each("""
    cupy.sum(x, where=x > 0) | cupy.max(x, initial=0) | x.sum(where=x > 0) | x.min(initial=0) |
    cupy.mean(x, where=x > 0) | cupy.var(x, correction=1) | cupy.exp(x, where=x > 0) | cupy.exp(x, order='C') |
    cupy.sort(x, stable=True) | cupy.clip(x, min=0, max=1) | cupy.clip(x, 0) | cupy.reshape(x, shape=(3, 2)) |
    cupy.empty(3, device=0) | cupy.asarray(x, device=0) | cupy.linalg.svd(x, hermitian=True) |
    x.sum(0, None, None, 1, 2) | cupy.linalg.cholesky(x, upper=True) | cupy.einsum('ij->ji', x, out=x.T) |
    cupy.meshgrid(i, foo=1) | x.astype('f8', casting='safe') |
    special.logsumexp(x, keepdims=True, where=x > 0) | rng.random(3, foo=1) | np.sum(x, initial=0) |
    np.exp(x, where=x > 0) | cupy.sum(x, 0, axis=0) | cupy.add(x) | cupy.add(x, x, x, x) | np.vecdot(x, x) |
    np.putmask(host, x, x) | np.linalg.multi_dot([x, x])
""")
def test_parameters_that_cupy_lacks(text: str, strict: Any, x: Any) -> None:
    with pytest.raises(TypeError):
        run(text, strict, x)


@each("""
    cupy.empty(2, object) | cupy.zeros(2, 'g') | cupy.asarray('text') | cupy.asarray([None]) |
    cupy.asarray(np.ones(2, np.longdouble))
""")
def test_dtypes_that_cupy_lacks(text: str, strict: Any, x: Any) -> None:
    with pytest.raises(ValueError, match="Unsupported dtype"):
        run(text, strict, x)


@each("""
    special.erf(x.astype('F')) | cupy.floor(x.astype('F')) | x.astype('F') % x |
    cupy.add.at(x.astype('F'), i, 1) | cupy.maximum.at(x.astype('e'), i, 1) | cupy.equal(x, x, dtype='f4') |
    cupy.exp(x, dtype='g') | x + np.longdouble(1)
""")
def test_mixtures_without_a_loop(text: str, strict: Any, x: Any) -> None:
    with pytest.raises(TypeError):
        run(text, strict, x)


@each("""
    cupy.exp.reduce(x) | cupy.maximum.reduce(x) | cupy.maximum.accumulate(x) | cupy.multiply.at(x, i, 1)
""")
def test_methods_that_only_some_ufuncs_have(text: str, strict: Any, x: Any) -> None:
    with pytest.raises(NotImplementedError):
        run(text, strict, x)


def test_no_name_of_ndarray_is_missing_from_the_snapshot(cupy: Any) -> None:
    known = set(cupy._gate.SNAPSHOT["names"]["cupy.ndarray"]) | set(dir(object)) | {"__weakref__", "__annotations__"}
    assert {n for n in vars(cupy.ndarray) if not n.startswith("_") or n.startswith("__")} <= known
    known = set(cupy._gate.SNAPSHOT["names"]["cupy"])
    public = {n for n, thing in vars(cupy).items() if not n.startswith("_") and not inspect.ismodule(thing)}
    assert public - known == {"Any", "Callable"}


def test_device_code_is_accepted_and_never_run(strict: Any, x: Any) -> None:
    cupy = strict.cupy
    for kernel in (
        cupy.ElementwiseKernel("T x", "T y", "y = x", "k"),
        cupy.RawKernel("code", "k"),
        cupy.fuse(lambda a: a),
        cupy.fuse(kernel_name="k")(lambda a: a),
    ):
        with pytest.raises(NotImplementedError, match="the stand-in runs no device code"):
            kernel(x)


# ---- results are what a device gives


@each("""
    x.sum() | cupy.max(x) | cupy.mean(x, axis=(0, 1)) | x[0, 1] | x[0][0] | cupy.dot(x[0], x[0]) |
    cupy.linalg.norm(x) | cupy.argmax(x) | cupy.count_nonzero(x) | cupy.allclose(x, x) |
    cupy.array_equal(x, x) | scalar + 1 | cupy.exp(1.0) | cupy.einsum('ij->', x) | rng.random() | np.sum(x) |
    next(iter(x[0])) | cupy.take(x, 0) | x.all() | cupy.trapezoid(x[0])
""")
def test_scalars_are_0d_arrays(text: str, strict: Any, x: Any) -> None:
    result = run(text, strict, x)
    assert type(result) is strict.cupy.ndarray and result.shape == ()


@each("""
    x + 1.0 -> f4 | x * 2 -> f4 | 2.0 / x -> f4 | x + True -> f4 | x + 1j -> c8 | x + np.float64(1) -> f8 |
    np.float64(1) * x -> f8 | x + np.float32(1) -> f4 | i + 1.0 -> f8 | i / i -> f8 | x.astype('e') + x -> f4 |
    x.astype('e') * 2.5 -> f2 | cupy.where(x > 0, x, 0.0) -> f4 | cupy.maximum(x, 0) -> f4 | i.sum() -> i8 |
    i.astype('i4').sum() -> i8 | x.mean() -> f4 | cupy.exp(i) -> f8 | cupy.exp(i.astype('?')) -> f2 |
    x.argmax(dtype='i4') -> i4 | cupy.zeros(2) -> f8 | special.erf(x) -> f4 |
    special.erf(x.astype('e')) -> f8 | cupy.random.normal(size=2, dtype='f4') -> f4 |
    rng.uniform(0, 1, 2, dtype='f4') -> f4 | cupyx.rsqrt(x) -> f4 | cupy.linalg.inv(x[:, :2]) -> f4 |
    cupy.fft.fft(x) -> c8 | i.astype('u1') + 1.0 -> f8 |
    special.beta(i.astype('i1'), x[0, :2]) -> f4 | x == None -> ? | np.float32(2) < x -> ?
""")
def test_dtypes_of_results(text: str, strict: Any, x: Any) -> None:
    expression, dtype = text.split(" -> ")
    assert run(expression, strict, x).dtype == np.dtype(dtype)


def test_out_of_range_integer_arrays_wrap_around(cupy: Any) -> None:
    x, i = cupy.arange(4) * 10, cupy.asarray([5, -5])
    assert x[i].tolist() == [10, 30]
    assert cupy.take(x, i).tolist() == x.take([5, -5]).tolist() == [10, 30]
    assert cupy.take_along_axis(x, i, 0).tolist() == [10, 30]
    assert x.reshape(2, 2)[cupy.asarray([2]), 1].tolist() == [10]
    assert x.reshape(2, 2)[..., cupy.asarray([3])].tolist() == [[10], [30]]
    assert x.reshape(1, 2, 2)[x.reshape(1, 2, 2)[:, :, 0] >= 0, cupy.asarray([3])].tolist() == [10, 30]
    x[i] = cupy.asarray([1, 2])
    assert x.tolist() == [0, 1, 20, 2]
    with pytest.raises(IndexError):
        x[4]  # an integer is checked on the host
    with pytest.raises(IndexError):
        x[x * 1.0]


def test_of_several_writes_to_one_place_the_last_does_not_win(strict: Any) -> None:
    cupy = strict.cupy
    i, v = cupy.asarray([1, 1, 0]), cupy.asarray([1.0, 2.0, 3.0])
    x = cupy.zeros(3)
    x[i] = v
    assert x.tolist() == [3, 1, 0]
    y = cupy.zeros((3, 3)).T[:, 1:]
    y[:, 0][i] = v
    assert y[:, 0].tolist() == [3, 1, 0]
    y[i, 0] = 5.0
    assert y[:, 0].tolist() == [5, 5, 0]
    z = cupy.zeros(3)
    cupy.put(z, i, v)
    assert z.tolist() == [3, 1, 0]
    z = cupy.zeros(3)
    cupy.put_along_axis(z, i, v, 0)
    assert z.tolist() == [3, 1, 0]
    strict.cupyx.scatter_add(x, i, v)
    assert x.tolist() == [6, 4, 0]
    cupy.add.at(x, cupy.asarray([4, 4]), 1.0)
    assert x.tolist() == [6, 6, 0]
    x[x > 5] = 1.0
    assert x.tolist() == [1, 1, 0]


def test_views_know_their_root(cupy: Any) -> None:
    root = cupy.zeros((4, 6))
    views = [
        root[1:],
        root[0],
        root[0, 0],
        root.T,
        root.reshape(24),
        root[1:][:, 2],
        cupy.squeeze(root[None]),
        root.mT,
        cupy.broadcast_to(root, (2, 4, 6)),
        cupy.split(root, 2)[1],
        root.view(),
        cupy.diagonal(root),
        cupy.moveaxis(root, 0, 1),
        cupy.expand_dims(root, 0),
        cupy.einsum("ij->ji", root),
        root.swapaxes(0, 1),
        cupy.lib.stride_tricks.sliding_window_view(root, (2, 2)),
        cupy.from_dlpack(root),
    ]
    assert all(v.base is root for v in views)
    assert all(v[...].base is root for v in views)
    assert root.base is None and (root + 1).base is None and root[cupy.asarray([0])].base is None
    assert root[0].flags.owndata is False and root.flags.owndata is True
    assert root.squeeze() is root and root.real is root and root[0].T.base is root
    assert views[0].squeeze() is views[0] and cupy.asarray(views[0]) is views[0]
    root[1:][0] = 3.0
    assert root[1].tolist() == [3.0] * 6
    root[0, 0][...] = 4.0
    assert float(root[0, 0]) == 4.0
    taken = root[cupy.asarray(0)]
    taken[...] = 5.0
    assert taken.base is None and float(root[0, 0]) == 4.0
    assert root[1].data.ptr - root.data.ptr == root.strides[0]
    alive = weakref.ref(root)
    assert alive() is root
    del root, views
    assert alive() is None


def test_layout_of_results(cupy: Any, x: Any) -> None:
    assert x.T.flags.f_contiguous and not x.T.flags["C_CONTIGUOUS"]
    assert (x.T + 1).flags.c_contiguous  # NumPy would keep the order
    assert x.nbytes == 24 and x.itemsize == 4 and x.ndim == 2 and x.device == cupy.cuda.Device(0) and x.device.id == 0
    y = cupy.zeros(6)
    y.shape = (2, 3)
    assert y.shape == (2, 3)


def test_a_failed_factorization_raises_only_when_asked(strict: Any) -> None:
    cupy = strict.cupy
    singular = cupy.zeros((2, 2))
    assert bool(cupy.isnan(cupy.linalg.inv(singular)).all())
    assert cupy.linalg.solve(singular, cupy.ones((2, 1))).shape == (2, 1)
    assert not bool(cupy.isnan(cupy.linalg.cholesky(-cupy.eye(2))).any())
    with strict.cupyx.errstate(linalg="raise"), pytest.raises(cupy.linalg.LinAlgError):
        cupy.linalg.cholesky(-cupy.eye(2))
    with pytest.raises(cupy.linalg.LinAlgError):
        cupy.linalg.inv(cupy.zeros((2, 3)))


@pytest.mark.filterwarnings("error")
def test_a_device_warns_of_nothing(cupy: Any) -> None:
    zero = cupy.zeros(2)
    assert bool(cupy.isnan(zero / zero).all()) and bool(cupy.isinf(cupy.log(zero)).all())
    assert bool(cupy.isinf(cupy.sum(zero + 1e308)))


# ---- waiting for the device


@each("""
    x.get() | cupy.asnumpy(x) | x[0, 0].item() | x.tolist() | x.tobytes() | float(scalar) | int(scalar) |
    bool(scalar) | complex(scalar) | repr(x) | str(x) | f'{scalar}' | 1.0 in x[0] | x[x > 2] |
    x[0][[True, False, True]] | x.__setitem__(x > 2, 0.0) | cupy.nonzero(x) | x.nonzero() | cupy.argwhere(x) |
    cupy.where(x) | cupy.unique(x) | cupy.compress(x[0] > 1, x, 1) | cupy.bincount(i) |
    cupy.cuda.Device(0).synchronize() | cupy.cuda.Stream.null.synchronize() |
    cupy.cuda.runtime.deviceSynchronize()|
    1 if (x > 2).any() else 0
""")
def test_synchronizations_are_counted_and_can_be_forbidden(text: str, strict: Any, x: Any) -> None:
    before = strict.cupy.strict.synchronizations
    run(text, strict, x)
    assert strict.cupy.strict.synchronizations > before
    with pytest.raises(strict.cupy.strict.SynchronizationError), strict.cupy.strict.no_synchronization():
        run(text, strict, x)


def test_ordinary_work_does_not_wait(strict: Any, x: Any) -> None:
    cupy, before = strict.cupy, strict.cupy.strict.synchronizations
    with cupy.strict.no_synchronization():
        y = cupy.where(x > 1, x, 0.0) @ x.T
        y[0] = y.sum(axis=0)
        y += cupy.concatenate([x, x]).max()
        y[cupy.asarray([0])] = 1.0
        for row in y:
            row *= 2
        cupy.allclose(y, y), cupy.linalg.solve(y, y), len(y), y.shape, y == y, cupy.asarray(HOST)
        np.add(y, 1.0, out=y)
    assert cupy.strict.synchronizations == before
    assert float(y[0, 0]) == 3.0
    assert cupy.strict.synchronizations == before + 1


# ---- the other protocols


class Other:
    """Leaves nothing to the array on the left."""

    __array_ufunc__ = None

    def __radd__(self, other: Any) -> str:
        return "other"


class Overriding:
    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **kwargs: Any) -> str:
        return function.__name__

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> str:
        return function.__name__


def test_operators_defer_as_cupy_does(x: Any) -> None:
    assert x + Other() == "other"
    assert (x * Overriding(), x < Overriding()) == ("multiply", "less")
    assert np.concatenate([x, Overriding()]) == "concatenate"
    with pytest.raises(TypeError):
        x * Other()


def test_numpy_functions_dispatch(cupy: Any, x: Any) -> None:
    for result in (np.exp(x), np.sum(x, 0), np.concatenate([x, x]), np.linalg.norm(x), np.transpose(x), np.add(1.0, x)):
        assert type(result) is cupy.ndarray
    assert np.shape(x) == (2, 3) and np.add.reduce(x).tolist() == [3, 5, 7]
    assert cupy.modf(x + 0.5)[1].tolist() == x.tolist() and divmod(x, 2.0)[1][0].tolist() == [0, 1, 0]


def test_copies_and_pickles(strict: Any, x: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for made in (copy.copy(x), copy.deepcopy(x), x.copy()):
        assert made.tolist() == x.tolist() and made.base is None and made is not x
    for name, module in strict.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    assert pickle.loads(pickle.dumps(x)).tolist() == x.tolist()


def test_random_numbers(cupy: Any) -> None:
    def draw(seed: int) -> Any:
        return cupy.random.default_rng(seed).random(4).tolist()

    assert draw(1) == draw(1) != draw(2)
    assert draw(1) != np.random.Generator(np.random.Philox(1)).random(4).tolist()
    bits = cupy.random.Philox4x3210(1)
    assert cupy.random.Generator(bits).standard_normal((2, 3), dtype="f4").shape == (2, 3)
    cupy.random.seed(3)
    first = cupy.random.permutation(5).tolist()
    cupy.random.seed(3)
    assert cupy.random.permutation(5).tolist() == first
    filled = cupy.zeros(3)
    assert cupy.random.default_rng(0).random(out=filled) is filled and float(filled[0]) != 0


def test_one_device(cupy: Any) -> None:
    assert cupy.cuda.runtime.getDeviceCount() == 1 and cupy.cuda.is_available() and cupy.is_available()
    with cupy.cuda.Device(0) as device, cupy.cuda.Stream() as stream:
        assert device.id == 0 and stream.record().done
    with pytest.raises(cupy.cuda.runtime.CUDARuntimeError), cupy.cuda.Device(1):
        pass
    assert cupy.get_default_memory_pool().used_bytes() == 0
