"""Files of arrays by name: the safetensors format, read with a check of every number in it, and written whole or not.

A file is 8 bytes with the header's length n, little-endian; n bytes of JSON, {name: {"dtype", "shape", "data_offsets"}}
and "__metadata__" with strings; then the arrays' bytes, in C order, end to end. Nothing in it can be run. Files that
are written here carry in their metadata a SHA-256 of the whole file, so one changed bit is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from ..errors import CheckpointError, DTypeError, MissingCheckpoint, OptionError

FORMAT = "tinygrad_mlsp"
VERSION = 1
LONGEST_HEADER = 100_000_000  # the format's own limit
DEEPEST = 64  # axes that NumPy has
DTYPES = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in DTYPES.items()}
_UNSIGNED = "0" * 64  # what stands where the SHA-256 goes while it is computed


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Writes beside the file, waits for the disk, and renames: a reader sees the old file or the new one.

    Raises: DTypeError for a dtype that the format lacks; CheckpointError for a path where no file can be; OSError.
    """
    path = as_path("save", path)
    if path.is_dir():
        raise CheckpointError(f"cannot write {path}: it is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise MissingCheckpoint(f"cannot write {path}: its folder is not there; make that first")
    table: dict[str, Any] = {}
    # the largest items first, so that each array starts at a multiple of its item's size
    whole = {name: np.asarray(a) for name, a in arrays.items()}
    order = sorted(whole, key=lambda name: (-whole[name].dtype.itemsize, name))
    at = 0
    for name in order:
        array = whole[name]
        kind = _NAMES.get(array.dtype.newbyteorder("<"))
        if kind is None:
            raise DTypeError(f"save: {name!r} is {array.dtype}; a file holds {', '.join(str(d) for d in _NAMES)}")
        if name == "__metadata__":
            raise OptionError("save: an array cannot be named '__metadata__', which names the metadata in the file")
        table[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        whole[name] = array.astype(DTYPES[kind], copy=False)
        at += array.nbytes
    marked = {"format": FORMAT, "version": str(VERSION), **metadata, "sha256": _UNSIGNED}
    text = json.dumps({"__metadata__": marked, **table}, allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    # in C order, whatever the order was: a transposed array written as it lies would be read back as another one
    bodies = [whole[name].reshape(-1).view(np.uint8).data for name in order if whole[name].nbytes]
    head = len(text).to_bytes(8, "little")
    digest = hashlib.sha256(head + text)
    for body in bodies:
        digest.update(body)
    # the last of the metadata's own values: what comes before is text of ours, what comes after are arrays' names
    place = text.index(f'"sha256": "{_UNSIGNED}"'.encode()) + len('"sha256": "')
    text = text[:place] + digest.hexdigest().encode() + text[place + 64 :]
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb") as file:
            file.write(head + text)
            for body in bodies:
                file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # not every system can wait for a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """The arrays and the metadata of a file. BF16, which NumPy lacks, is read as float32, exactly.

    Raises: CheckpointError, with the file and the reason; it is a FileNotFoundError too where there is none.
    """
    path = as_path("load", path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, for ever
            raise _refused(path, "it is not a file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(8)
            if len(head) < 8:
                raise _refused(path, f"it has {size} bytes, and the length of the header alone takes 8")
            length = int.from_bytes(head, "little")
            if length > min(LONGEST_HEADER, size - 8):
                raise _refused(
                    path,
                    f"its header would have {length} bytes, there are {size - 8}: it is cut off, or not safetensors",
                )
            text = file.read(length)
            data = bytearray(size - 8 - length)
            if len(text) < length or file.readinto(data) < len(data) or file.read(1):
                raise _refused(path, "it changed while it was read")
    except FileNotFoundError:
        raise MissingCheckpoint(f"cannot read {path}: there is no such file") from None
    except OSError as problem:
        raise _refused(path, str(problem)) from problem
    table, metadata = _parsed(path, text)
    if "sha256" in metadata or metadata.get("format") == FORMAT:
        _check_sum(path, head, text, data, metadata.get("sha256", ""))
    return _cut(path, table, data), metadata


def as_path(who: str, path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        kind = repr(path) if isinstance(path, (str, int, float, NoneType)) else type(path).__name__
        raise OptionError(f"{who}: the path of a file is needed, got {kind}")
    return Path(path)


def _refused(path: Any, reason: str) -> CheckpointError:
    return CheckpointError(f"cannot read {os.fspath(path)}: {reason}")


def strict_json(text: str) -> Any:
    """What json.loads gives, but without NaN, infinities and names that come twice. Raises: ValueError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name comes twice")
        return found

    def never(what: str) -> None:
        raise ValueError(f"{what} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=never)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _parsed(path: Any, text: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    if not text.startswith(b"{"):
        raise _refused(path, "its header does not begin with '{': it is not a safetensors file")
    try:
        table = strict_json(text.decode())
    except ValueError as problem:
        raise _refused(path, f"its header is not JSON ({problem})") from None
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _refused(path, "its metadata are not texts by name")
    if metadata.get("format") == FORMAT:
        version = metadata.get("version", "")
        if version.isdecimal() and len(version) < 10 and int(version) > VERSION:
            raise _refused(
                path, f"a newer version of this library wrote it (format {version}, this one reads {VERSION})"
            )
    return table, metadata


def _check_sum(path: Any, head: bytes, text: bytes, data: bytearray, found: str) -> None:
    if len(found) == 64 and found.isascii():
        value = found.encode()
        place = text.rfind(b'"sha256": "' + value)
        digest = hashlib.sha256(head + text[:place] + text[place:].replace(value, _UNSIGNED.encode(), 1))
        digest.update(data)
        if place >= 0 and digest.hexdigest() == found:
            return
    raise _refused(path, "it is damaged: its SHA-256 is not the one that it was written with")


def _cut(path: Any, table: dict[str, Any], data: bytearray) -> dict[str, np.ndarray[Any, Any]]:
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    at = 0
    for name, entry in sorted(table.items(), key=lambda item: _offsets(path, *item)):
        begin, end = _offsets(path, name, entry)
        if begin != at:
            raise _refused(path, f"{name!r} starts at byte {begin} of the data, the array before it ends at {at}")
        at = end
        kind, shape = entry["dtype"], entry["shape"]
        code = "<u2" if kind == "BF16" else DTYPES.get(kind) if isinstance(kind, str) else None
        if code is None:
            raise _refused(path, f"{name!r} has dtype {str(kind)[:40]!r}; known are {', '.join([*DTYPES, 'BF16'])}")
        if not isinstance(shape, list) or len(shape) > DEEPEST or not all(_natural(n) for n in shape):
            raise _refused(path, f"the shape of {name!r} is not a list of up to {DEEPEST} numbers of 0 or more")
        if math.prod(shape) * np.dtype(code).itemsize != end - begin:
            raise _refused(path, f"{name!r} is {kind} {shape}, which does not take {end - begin} bytes")
        if end > len(data):
            raise _refused(path, f"{name!r} ends at byte {end} of the data, there are {len(data)}: it is cut off")
        try:
            array = np.frombuffer(data, code, math.prod(shape), begin) if begin < end else np.empty(0, code)
            array = array.reshape(shape)
        except ValueError as problem:
            raise _refused(path, f"{name!r} cannot have the shape {shape}: {problem}") from None
        if kind == "BF16":
            array = (array.astype("<u4") << np.uint32(16)).view("<f4")
        arrays[name] = array.astype(array.dtype.newbyteorder("="))  # a copy: aligned, and the arrays' own
    if at != len(data):
        raise _refused(path, f"its arrays take {at} bytes, there are {len(data)}")
    return {name: arrays[name] for name in table}


def _offsets(path: Any, name: str, entry: Any) -> tuple[int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _refused(path, f"{name!r} is not described by dtype, shape and data_offsets")
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_natural(n) for n in offsets):
        raise _refused(path, f"the data_offsets of {name!r} are not two numbers of 0 or more")
    if offsets[0] > offsets[1]:
        raise _refused(path, f"{name!r} ends before it starts")
    return offsets[0], offsets[1]


def _natural(value: Any) -> bool:
    return type(value) is int and value >= 0
