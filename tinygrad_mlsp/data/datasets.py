"""Real data: digits that are bundled, MNIST from a folder or from the network, faces from a folder."""

import gzip
import hashlib
import io
import math
import operator
import os
import sys
import uuid
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import DataError, DTypeError, OptionError
from .loader import _integer, shuffled

T = TypeVar("T")
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

    A part to validate on is empty where the set has none.
    Shapes: x [n, pixels] or [n, height, width], y [n] int64.
    """

    train_x: NDArray[np.floating[Any]]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.floating[Any]]
    test_y: NDArray[np.int64]
    name: str
    source: str
    valid_x: NDArray[np.floating[Any]] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    valid_y: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def only(self, *classes: int) -> "Dataset":
        """The images of these classes alone, numbered anew from 0 in the order given: `digits().only(0, 1)`.

        Raises: OptionError for no class at all, one named twice, or one that the set does not have.
        """
        there = np.unique(self.train_y)
        if not classes or len(set(classes)) < len(classes) or not np.isin(classes, there).all():
            raise OptionError(f"{self.name}.only: name some of the classes {there.tolist()}, once each; got {classes}")
        number = np.full(there.max() + 1, -1, np.int64)
        number[list(classes)] = np.arange(len(classes))
        parts = {}
        for part in ("train", "valid", "test"):
            x, y = getattr(self, f"{part}_x"), number[getattr(self, f"{part}_y")]
            parts[f"{part}_x"], parts[f"{part}_y"] = x[y >= 0], y[y >= 0]
        return replace(self, name=f"{self.name}, classes {', '.join(map(str, classes))}", **parts)

    def held_out(self, n: int) -> "Dataset":
        """The last n training images to validate on, the others to train on; views, nothing is copied.

        Raises: OptionError when that leaves none to train on.
        """
        try:
            right = 0 <= operator.index(n) < len(self.train_y)
        except TypeError:
            right = False
        if not right:
            raise OptionError(f"{self.name}: of {len(self.train_y):,} training images, {n!r} cannot be held out")
        cut = len(self.train_y) - n
        x, y = self.train_x, self.train_y
        return replace(self, train_x=x[:cut], train_y=y[:cut], valid_x=x[cut:], valid_y=y[cut:])

    def __repr__(self) -> str:
        valid = f"valid {self.valid_x.shape}, " if len(self.valid_y) else ""
        return (
            f"Dataset({self.name}: train {self.train_x.shape}, {valid}test {self.test_x.shape}, {self.train_x.dtype})"
        )


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
    validation: int = 0,
) -> Dataset:
    """MNIST: 60,000 handwritten digits of 28 × 28 pixels to train on and 10,000 to test on, in their original order.

    The four idx files, gzipped or not, are taken from `folder` or its subfolder mnist; without that argument from the
    folder that the environment variable TINYGRAD_MLSP_DATA names, or its subfolder mnist; then from the user's cache
    (tinygrad_mlsp/mnist in $XDG_CACHE_HOME or ~/.cache), into which download=True fetches what it lacks (11 MB).
    The last `validation` training images are held out to validate on; 10,000 gives the usual 50,000 / 10,000 / 10,000.
    Shapes: x [n, 784], or [n, 28, 28] with flatten=False; y [n].
    Raises: DataError when a file is missing, damaged or not the original; DTypeError when dtype is not floating-point.
    Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST Database of Handwritten Digits, 1998, licensed CC BY-SA 3.0.
    """
    _floating(dtype)  # before 11 MB are fetched
    validation = _integer("mnist: validation", validation, 0, 59_999)
    place, is_cache = _locate(folder)
    stored = [_stored(place, name, is_cache, download) for name in _MNIST]
    train_x, test_x = (_scaled(images, 255, dtype, flatten) for images in stored[::2])
    train_y, test_y = (labels.astype(np.int64) for labels in stored[1::2])
    source = "Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST Database of Handwritten Digits, 1998; CC BY-SA 3.0"
    return Dataset(train_x, train_y, test_x, test_y, "mnist", source).held_out(validation)


def faces(
    folder: str | os.PathLike[str] | None = None,
    dtype: DTypeLike = np.float32,
    flatten: bool = True,
    train_shots: int = 5,
) -> Dataset:
    """The ORL faces: 40 people, 10 grey pictures each, of 28 × 23 pixels; the first `train_shots` of each to train on.

    orl_faces_28x23.npz (images [400, 28, 23] uint8, subject and shot [400]) is taken from `folder`, or the folder that
    the environment variable TINYGRAD_MLSP_DATA names, or its subfolder faces. There is no download.
    Shapes: x [n, 644], or [n, 28, 23] with flatten=False; y [n], the person, from 0.
    Raises: DataError when the file is missing or of another form; DTypeError when dtype is not floating-point.
    Source: F. Samaria, A. Harter, Parameterisation of a Stochastic Model for Human Face Identification, 1994; the
    database is AT&T Laboratories Cambridge's, who ask for that credit.
    """
    _floating(dtype)
    name = "orl_faces_28x23.npz"
    path = in_folder("faces", name, folder, "faces")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            images, people, shots = stored["images"], stored["subject"], stored["shot"]
        if images.dtype != np.uint8 or images.shape != (len(people), 28, 23) or shots.shape != people.shape:
            raise ValueError(f"images are {images.dtype} {images.shape}, people {people.shape}, shots {shots.shape}")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"faces: {path} is not the file expected, with images [n, 28, 23] uint8, subject [n] and shot [n] "
            f"({error}). Put the right one in its place"
        ) from error
    people = np.unique(people, return_inverse=True)[1].astype(np.int64)  # whatever number they start from
    nth = np.empty(len(people), np.int64)  # of the same person
    for person in range(people.max() + 1):
        mine = np.flatnonzero(people == person)
        nth[mine[np.argsort(shots[mine], kind="stable")]] = np.arange(len(mine))
    train = nth < train_shots
    if not 0 < train.sum() < len(train):
        raise OptionError(f"faces: train_shots is from 1 to {nth.max()}, got {train_shots}")
    x = _scaled(images, 255, dtype, flatten)
    source = "ORL faces, AT&T Laboratories Cambridge, 1992 to 1994"
    return Dataset(x[train], people[train], x[~train], people[~train], "faces", source)


def in_folder(who: str, name: str, folder: str | os.PathLike[str] | None, subfolder: str) -> Path:
    """The path of a file in `folder`, or the one that the variable names, or its subfolder; DataError without it."""
    path = found_in(name, folder, subfolder)
    if path is None:
        given = folder if folder is not None else os.environ.get(_VARIABLE)
        where = f"in {given} or its subfolder {subfolder}, it is not there" if given else "and no folder was named"
        raise DataError(f"{who}: expected {name} {where}. Name its folder as folder= or in {_VARIABLE}")
    return path


def _folder(folder: Any) -> str | os.PathLike[str]:
    if not isinstance(folder, (str, os.PathLike)):
        raise OptionError(f"data: the folder is a path, got {folder!r}")
    return folder


def found_in(name: str, folder: str | os.PathLike[str] | None, subfolder: str) -> Path | None:
    """The path of a file in `folder`, or the one that the variable names, or its subfolder, if it is there."""
    named = os.environ.get(_VARIABLE) if folder is None else _folder(folder)
    places = (Path(named).expanduser(), Path(named).expanduser() / subfolder) if named else ()
    return next((place / name for place in places if (place / name).is_file()), None)


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


def cache(name: str) -> Path:
    """The user's folder for what was downloaded."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tinygrad_mlsp", name)


def _file(place: Path, name: str) -> Path | None:
    return next((path for path in (place / name, place / f"{name}.gz") if path.is_file()), None)


def _locate(folder: str | os.PathLike[str] | None) -> tuple[Path, bool]:
    """The first folder that holds any of the files, and whether it is the cache."""
    named = os.environ.get(_VARIABLE) if folder is None else _folder(folder)
    if named:
        given = Path(named).expanduser()
        for place in (given, given / "mnist"):
            if any(_file(place, name) for name in _MNIST):
                return place, False
        if folder is not None or not given.is_dir():
            return given, False  # a folder asked for, or a misspelt one, is not passed over in silence
    return cache("mnist"), True


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
    urls = [f"{mirror}{name}.gz" for mirror in MIRRORS]
    return fetched(
        "mnist", place / f"{name}.gz", urls, lambda blob, url: _verified(blob, name, url, ""), "the four files"
    )


def fetched(who: str, target: Path, urls: Sequence[str], verified: Callable[[bytes, str], T], what: str) -> T:
    """Fetch a file from the first address whose copy is the original, and put it in its place whole or not at all."""
    import urllib.request  # here, because it is slow to import
    from http.client import HTTPException

    failures = []
    for url in urls:
        print(f"downloading {url}", file=sys.stderr)
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
                blob = response.read(100_000_000)
            result = verified(blob, url)
        except (OSError, HTTPException, DataError) as error:
            failures.append(f"{url}: {error}")
        else:
            _write(who, target, blob)
            return result
    reasons = "\n  ".join(failures)
    raise DataError(
        f"{who}: expected {target.name} from one of the mirrors, found\n  {reasons}\nTry again later, or fetch "
        f"{what} by other means and name their folder as folder= or in {_VARIABLE}"
    )


def _write(who: str, target: Path, blob: bytes) -> None:
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
            f"{who}: cannot write {target}: {error.strerror}. Set XDG_CACHE_HOME to a folder that can be written"
        ) from error
