"""Text as numbers: a vocabulary of characters, and windows for backpropagation through time that go on and on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, OptionError, ShapeError
from .datasets import cache, fetched, found_in, in_folder
from .loader import _array, _integer

MIRRORS = ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",)
_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def tinyshakespeare(folder: str | os.PathLike[str] | None = None, download: bool = True) -> str:
    """1,115,394 characters of Shakespeare, of 65 kinds.

    tinyshakespeare.txt is taken from `folder`, or the folder that the environment variable TINYGRAD_MLSP_DATA names, or
    its subfolder text; without that argument also from the user's cache, into which download=True fetches it (1 MB).
    Raises: DataError when the file is missing, or not the original.
    Source: the plays, in the public domain, as A. Karpathy collected them for char-rnn, 2015.
    """
    name = "tinyshakespeare.txt"
    path = in_folder("tinyshakespeare", name, folder, "text") if folder is not None else found_in(name, None, "text")
    if path is None:
        path = cache("text") / name
        if not path.is_file():
            if not download:
                return str(in_folder("tinyshakespeare", name, None, "text"))  # says what to do
            return fetched("tinyshakespeare", path, MIRRORS, _verified, f"it as {name}")
    try:
        return _verified(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"tinyshakespeare: cannot read {path}: {error.strerror}. Make it readable") from error


def _verified(blob: bytes, where: str) -> str:
    found = hashlib.sha256(blob).hexdigest()
    if found != _SHA256:
        raise DataError(
            f"tinyshakespeare: {where} is not the original: expected 1,115,394 bytes with SHA-256 {_SHA256}, found "
            f"{len(blob):,} with {found}. Put the original in its place; a text of your own needs no loader, read it "
            "with open(...).read()"
        )
    return blob.decode("ascii")


class Vocabulary:
    """The characters of a text, each with a number, in the order of their code points.

    >>> v = Vocabulary("hello")
    >>> v.encode("hole").tolist(), v.decode([1, 0, 2, 2, 3]), len(v)
    ([1, 3, 2, 0], 'hello', 4)
    """

    def __init__(self, text: Iterable[str]) -> None:
        try:
            self.characters = tuple(sorted(set(text)))
        except TypeError:
            self.characters = ()
        if not self.characters or not all(isinstance(c, str) for c in self.characters):
            raise OptionError("Vocabulary: wants a text with at least one character")
        self._number = {c: i for i, c in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> NDArray[np.int64]:
        """The number of each character.

        Raises: DataError for a character that is not in the vocabulary, with its place.
        """
        number = self._number
        if not isinstance(text, (str, Sequence)):
            raise DataError(f"Vocabulary: encodes a text, got {type(text).__name__}")
        try:
            return np.fromiter((number[c] for c in text), np.int64, len(text))
        except KeyError as error:
            at = next(i for i, c in enumerate(text) if c not in number)
            raise DataError(
                f"Vocabulary: {text[at]!r}, character {at} of the text, is none of its {len(self)}; make the "
                "vocabulary from a text that has them all"
            ) from error

    def decode(self, numbers: Any) -> str:
        """The text of these numbers, along one axis.

        Raises: DataError for a number that stands for no character.
        """
        found = _array(numbers, "Vocabulary.decode")
        whole = found.ndim == 1 and (found.dtype.kind in "iu" or not found.size)
        if not whole or (found.size and not 0 <= found.min() <= found.max() < len(self)):
            raise DataError(
                f"Vocabulary: decodes whole numbers from 0 to {len(self) - 1} along one axis, got {found.dtype} "
                f"{list(found.shape)}"
                + (f" from {found.min()} to {found.max()}" if found.size and found.dtype.kind in "iuf" else "")
            )
        return "".join(self.characters[i] for i in found.tolist())

    def __repr__(self) -> str:
        return f"Vocabulary({''.join(self.characters)!r})"


class Windows:
    """Consecutive windows (x, y) of `batch_size` streams of one sequence; y is x one place on.

    The sequence is cut into as many streams as a batch has rows, and row b of the next window goes on where row b of
    this one ended: keep the hidden state from window to window, cut off from the graph, and it has seen all that came
    before it. Each pass begins at the beginning, where the state should be zero: see `position`. The last window may be
    shorter; up to `batch_size` values at the end of the sequence are left over.

    >>> for x, y in Windows(range(11), batch_size=2, length=3):
    ...     print(x.tolist(), y.tolist())
    [[0, 1, 2], [5, 6, 7]] [[1, 2, 3], [6, 7, 8]]
    [[3, 4], [8, 9]] [[4, 5], [9, 10]]

    Shapes: sequence [n, …]; x and y [batch, time, …], or [time, batch, …] with batch_first=False; they are views.
    Raises: ShapeError when the sequence is too short; OptionError for an option out of its range.
    """

    def __init__(self, sequence: Any, batch_size: int, length: int, batch_first: bool = True) -> None:
        self.sequence: NDArray[Any] = _array(sequence, "Windows")
        self.batch_size, self.length = (
            _integer("Windows: batch_size", batch_size, 1),
            _integer("Windows: length", length, 1),
        )
        self.batch_first = batch_first
        total = len(self.sequence) if self.sequence.ndim else 0
        self.steps = (total - 1) // self.batch_size  # of each stream, in a whole pass
        if self.steps < 1:
            raise ShapeError(
                f"Windows: {batch_size} streams need a sequence of {self.batch_size + 1} or more, got "
                f"{list(self.sequence.shape)}"
            )
        self.position = 0  # steps of this pass handed out so far
        self._resume = False

    def __len__(self) -> int:
        """The number of windows in a whole pass."""
        return -(-self.steps // self.length)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        start = self.position if self._resume else 0
        self._resume = False
        used = self.batch_size * self.steps
        x = self.sequence[:used].reshape(self.batch_size, self.steps, *self.sequence.shape[1:])
        y = self.sequence[1 : used + 1].reshape(x.shape)
        while start < self.steps:
            stop = min(start + self.length, self.steps)
            self.position = stop
            window = x[:, start:stop], y[:, start:stop]
            yield window if self.batch_first else (window[0].swapaxes(0, 1), window[1].swapaxes(0, 1))
            start = stop
        self.position = 0

    def state_dict(self) -> dict[str, int]:
        """Where the pass stands; a window handed out counts as done."""
        return {"position": self.position, **self._options()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next pass goes on with the window after the last one handed out when `state` was taken.

        Raises: OptionError when these windows are not the saved ones.
        """
        if not isinstance(state, Mapping):
            raise OptionError(f"Windows.load_state_dict: wants what state_dict() gave, got {type(state).__name__}")
        for name, mine in self._options().items():
            if state.get(name) != mine:
                raise OptionError(
                    f"Windows.load_state_dict: the saved {name} is {state.get(name)}, here it is {mine}; make the "
                    "windows with the saved one to go on where they stood"
                )
        self.position, self._resume = (
            _integer("Windows.load_state_dict: position", state.get("position"), 0, self.steps),
            True,
        )

    def _options(self) -> dict[str, int]:
        return {"total": len(self.sequence), "batch_size": self.batch_size, "length": self.length}
