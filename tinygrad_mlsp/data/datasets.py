"""Two sets of handwritten digits: a small one that is bundled, and MNIST from a folder or from the network."""

import gzip
import hashlib
import io
import math
import os
import sys
import uuid
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import DataError, DTypeError
from .loader import shuffled

MIRRORS = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")
_TIMEOUT = 30  # seconds without a byte
_VARIABLE = "TINYGRAD_MLSP_DATA"

# file: (MD5 of the uncompressed bytes, shape)
_MNIST: dict[str, tuple[str, tuple[int, ...]]] = {
    "train-images-idx3-ubyte": ("6bbc9ace898e44ae57da46a324031adb", (60_000, 28, 28)),
    "train-labels-idx1-ubyte": ("a25bea736e30d166cdddb491f175f624", (60_000,)),
    "t10k-images-idx3-ubyte": ("2646ac647ad5339dbf082846283269ea", (10_000, 28, 28)),
    "t10k-labels-idx1-ubyte": ("27ae3e4e09519cfbb04c329615203637", (10_000,)),
}


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images in [0, 1] and their class numbers, in a part to train on and a part to test on.

    Shapes: x [n, pixels] or [n, height, width], y [n] int64.
    """

    train_x: NDArray[np.floating[Any]]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.floating[Any]]
    test_y: NDArray[np.int64]
    name: str
    source: str

    def __repr__(self) -> str:
        return f"Dataset({self.name}: train {self.train_x.shape}, test {self.test_x.shape}, {self.train_x.dtype})"


def digits(dtype: DTypeLike = np.float32, flatten: bool = True) -> Dataset:
    """1,797 real handwritten digits of 8 × 8 pixels in 17 greys, bundled: 1,297 to train on, 500 to test on.

    The split is fixed: the same in every version and on every machine, shuffled once with seed 1998.
    Shapes: x [n, 64], or [n, 8, 8] with flatten=False; y [n].
    Raises: DTypeError when dtype is not a floating-point one.
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
    https://doi.org/10.24432/C50P49, licensed CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). The file is
    the set's test part as scikit-learn's load_digits gives it, in its order, stored as uint8; nothing else was changed.
    """
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        images, labels, source = stored["images"], stored["labels"].astype(np.int64), str(stored["source"])
    x = _scaled(images, 16, dtype, flatten)
    train, test = np.split(shuffled(len(x), seed=1998), [1297])
    return Dataset(x[train], labels[train], x[test], labels[test], "digits", source)


def mnist(
    folder: str | os.PathLike[str] | None = None,
    dtype: DTypeLike = np.float32,
    flatten: bool = True,
    download: bool = True,
) -> Dataset:
    """MNIST: 60,000 handwritten digits of 28 × 28 pixels to train on and 10,000 to test on, in their original order.

    The four idx files, gzipped or not, are taken from `folder` or its subfolder mnist; without that argument from the
    folder that the environment variable TINYGRAD_MLSP_DATA names, or its subfolder mnist; then from the user's cache
    (tinygrad_mlsp/mnist in $XDG_CACHE_HOME or ~/.cache), into which download=True fetches what it lacks (11 MB).
    Shapes: x [n, 784], or [n, 28, 28] with flatten=False; y [n].
    Raises: DataError when a file is missing, damaged or not the original; DTypeError when dtype is not floating-point.
    Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST Database of Handwritten Digits, 1998, licensed CC BY-SA 3.0.
    """
    _floating(dtype)  # before 11 MB are fetched
    place, is_cache = _locate(folder)
    stored = [_stored(place, name, is_cache, download) for name in _MNIST]
    train_x, test_x = (_scaled(images, 255, dtype, flatten) for images in stored[::2])
    train_y, test_y = (labels.astype(np.int64) for labels in stored[1::2])
    source = "Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST Database of Handwritten Digits, 1998; CC BY-SA 3.0"
    return Dataset(train_x, train_y, test_x, test_y, "mnist", source)


def _floating(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.kind != "f":
        raise DTypeError(f"data: images lie in [0, 1] and need a floating-point dtype such as float32, got {dtype!r}")
    return found


def _scaled(images: NDArray[np.uint8], white: int, dtype: DTypeLike, flatten: bool) -> NDArray[np.floating[Any]]:
    x = images.astype(_floating(dtype))
    x /= white
    return x.reshape(len(x), -1) if flatten else x


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tinygrad_mlsp", "mnist")


def _file(place: Path, name: str) -> Path | None:
    return next((path for path in (place / name, place / f"{name}.gz") if path.is_file()), None)


def _locate(folder: str | os.PathLike[str] | None) -> tuple[Path, bool]:
    """The first folder that holds any of the files, and whether it is the cache."""
    named = os.environ.get(_VARIABLE) if folder is None else folder
    if named:
        given = Path(named).expanduser()
        for place in (given, given / "mnist"):
            if any(_file(place, name) for name in _MNIST):
                return place, False
        if folder is not None or not given.is_dir():
            return given, False  # a folder asked for, or a misspelt one, is not passed over in silence
    return _cache(), True


def _stored(place: Path, name: str, is_cache: bool, download: bool) -> NDArray[np.uint8]:
    path = _file(place, name)
    if path is None:
        if is_cache and download:
            return _download(place, name)
        raise DataError(
            f"mnist: expected {name} or {name}.gz in {place}, found neither. Put it there, name another "
            f"folder as folder= or in {_VARIABLE}, or leave both out for a download (download=True)"
        )
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise DataError(f"mnist: cannot read {path}: {error.strerror}. Make it readable") from error
    remedy = "Delete it to have it downloaded again" if is_cache else "Put the original file in its place"
    return _verified(blob, name, str(path), remedy)


def _verified(blob: bytes, name: str, where: str, remedy: str) -> NDArray[np.uint8]:
    """The array in an idx file, gzipped or not, once size and checksum are the original's."""
    md5, shape = _MNIST[name]
    header = 4 + 4 * len(shape)
    size = header + math.prod(shape)
    try:
        # one byte more than expected shows a file that is too long, without unpacking all of it
        raw = gzip.GzipFile(fileobj=io.BytesIO(blob)).read(size + 1) if blob[:2] == b"\x1f\x8b" else blob
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"mnist: {where} is damaged: expected gzip data that unpacks to {size:,} bytes, found "
            f"{len(blob):,} bytes that do not unpack ({error}). {remedy}"
        ) from error
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if found != md5:
        length = f"{len(raw):,}" if len(raw) <= size else f"more than {size:,}"
        raise DataError(
            f"mnist: {where} is not the original {name}: expected {size:,} bytes with MD5 {md5} "
            f"(unpacked), found {length} bytes with MD5 {found}. {remedy}"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _download(place: Path, name: str) -> NDArray[np.uint8]:
    """Fetch a file from the first mirror whose copy is the original, and put it into `place` whole or not at all."""
    import urllib.request  # here, because it is slow to import
    from http.client import HTTPException

    target = place / f"{name}.gz"
    failures = []
    for mirror in MIRRORS:
        url = f"{mirror}{name}.gz"
        print(f"downloading {url}", file=sys.stderr)
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
                blob = response.read(100_000_000)
            array = _verified(blob, name, url, "")
        except (OSError, HTTPException, DataError) as error:
            failures.append(f"{url}: {error}")
        else:
            _write(target, blob)
            return array
    reasons = "\n  ".join(failures)
    raise DataError(
        f"mnist: expected {name}.gz from one of the mirrors, found\n  {reasons}\nTry again later, or fetch "
        f"the four files by other means and name their folder as folder= or in {_VARIABLE}"
    )


def _write(target: Path, blob: bytes) -> None:
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(blob)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"mnist: cannot write {target}: {error.strerror}. Set XDG_CACHE_HOME to a folder that can be written"
        ) from error
