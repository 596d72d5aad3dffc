"""Sound: wav files, spectra over time and back, and how much noise there is."""

from __future__ import annotations

import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import DataError, OptionError, ShapeError
from .datasets import _VARIABLE, _floating

Array = NDArray[Any]


def read_wav(path: str | os.PathLike[str], dtype: DTypeLike = np.float32) -> tuple[Array, int]:
    """The samples of a PCM wav file, in [−1, 1), and how many a second.

    Shapes: [samples] for one channel, [samples, channels] for several.
    Raises: DataError when the file cannot be read, is damaged or not PCM; DTypeError when dtype is not floating-point.
    """
    real = _floating(dtype)
    try:
        with open(path, "rb") as opened, wave.open(opened) as file:
            channels, width, rate, frames = file.getparams()[:4]
            raw = file.readframes(frames)
    except (OSError, wave.Error, EOFError) as error:
        reason = getattr(error, "strerror", None) or error or "it ends too early"
        raise DataError(f"read_wav: cannot read {path}: {reason}; it must be an uncompressed (PCM) wav file") from error
    if width not in (1, 2, 3, 4) or len(raw) != frames * width * channels:
        raise DataError(
            f"read_wav: {path} is damaged: expected {frames} samples of {width} bytes on {channels} channels, found "
            f"{len(raw)} bytes. Put the original in its place"
        )
    if width == 1:
        x = (np.frombuffer(raw, np.uint8).astype(np.float64) - 128) / 128
    elif width == 3:  # no dtype of 24 bits: put three bytes into the upper part of four
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        x = wide.view("<i4")[:, 0] / 2.0**31
    else:
        x = np.frombuffer(raw, f"<i{width}") / 2.0 ** (8 * width - 1)
    x = x.astype(real)
    return (x if channels == 1 else x.reshape(-1, channels)), rate


def write_wav(path: str | os.PathLike[str], x: Any, rate: int = 16_000) -> None:
    """Writes samples in [−1, 1] as 16-bit PCM, rounded; what lies outside is cut off at the ends.

    Shapes: x [samples] or [samples, channels].
    Raises: ShapeError for another shape; DataError for samples that are not finite, or a file that cannot be written.
    """
    x = np.asarray(x, np.float64)
    if x.ndim not in (1, 2):
        raise ShapeError(f"write_wav: wants [samples] or [samples, channels], got {list(x.shape)}")
    if not np.isfinite(x).all():
        raise DataError("write_wav: some samples are not finite numbers; look for a division by 0 before this")
    pcm = np.clip(np.rint(x * 32768), -32768, 32767).astype("<i2")
    try:
        with open(path, "wb") as opened, wave.open(opened, "wb") as file:
            file.setparams((1 if x.ndim == 1 else x.shape[1], 2, int(rate), len(x), "NONE", "not compressed"))
            file.writeframes(pcm.tobytes())
    except OSError as error:
        raise DataError(f"write_wav: cannot write {path}: {error.strerror}") from error


def speech(folder: str | os.PathLike[str] | None = None) -> list[tuple[Array, Array]]:
    """Pairs (clean, noisy) of 16 kHz recordings, from files clean_<name>.wav and noisy_<name>.wav, by name.

    They are taken from `folder`, or the folder that the environment variable TINYGRAD_MLSP_DATA names, or its subfolder
    speech. There is no download; noisy and clean speech like this is in C. Valentini-Botinhao and others, Noisy Speech
    Database, Edinburgh DataShare, https://doi.org/10.7488/ds/2117, licensed CC BY 4.0.
    Shapes: [samples] each.
    Raises: DataError when there are none, one of a pair is missing, or a file is not 16 kHz and mono.
    """
    named = os.environ.get(_VARIABLE) if folder is None else folder
    places = (Path(named).expanduser(), Path(named).expanduser() / "speech") if named else ()
    found = next((files for place in places if (files := sorted(place.glob("clean_*.wav")))), None)
    if not found:
        where = f"in {named} or its subfolder speech" if named else "and no folder was named"
        raise DataError(
            f"speech: expected pairs clean_<name>.wav and noisy_<name>.wav {where}, found none. Name their folder as "
            f"folder= or in {_VARIABLE}"
        )
    pairs = []
    for path in found:
        pair = []
        for part in (path, path.with_name("noisy_" + path.name.removeprefix("clean_"))):
            x, rate = read_wav(part)
            if rate != 16_000 or x.ndim != 1:
                raise DataError(f"speech: {part} has {rate} samples a second, {x.shape}; wants 16,000 and one channel")
            pair.append(x)
        n = min(len(pair[0]), len(pair[1]))
        pairs.append((pair[0][:n], pair[1][:n]))
    return pairs


def hann(n: int) -> NDArray[np.float64]:
    """w_t = sin²(πt/n), t = 0 … n − 1: the periodic Hann window."""
    return np.sin(np.pi * np.arange(n) / n) ** 2


def stft(x: Any, size: int = 1024, hop: int | None = None) -> Array:
    """X[m, k] = Σ_t w_t x[m·hop + t − size/2] exp(−2πi kt/size), with a Hann window w and zeros beyond the ends.

    `hop` is a quarter of `size` unless given. The frame m is centred on sample m·hop, so no sample is lost.
    Shapes: x […, samples]; X […, frames, size/2 + 1], complex: 513 frequencies for the 1,024 points.
    Raises: ShapeError for an x without samples; OptionError for an odd size or a hop above half of it.
    """
    x = np.asarray(x)
    hop = _hop(size, hop)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeError(f"stft: wants [..., samples], got {list(x.shape)}")
    real = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    count = 1 + -(-x.shape[-1] // hop)
    padded = np.zeros((*x.shape[:-1], (count - 1) * hop + size), real)
    padded[..., size // 2 : size // 2 + x.shape[-1]] = x
    frames = np.lib.stride_tricks.sliding_window_view(padded, size, axis=-1)[..., ::hop, :]
    return np.fft.rfft(frames * hann(size).astype(real), axis=-1)


def istft(spectra: Any, length: int | None = None, size: int = 1024, hop: int | None = None) -> Array:
    """x_t = Σ_m w x̂_m / Σ_m w²: the samples whose spectra come closest to these, in the least squares.

    For spectra that `stft` gave it is the signal itself. Name the `length`, for spectra do not tell it.
    Shapes: spectra […, frames, size/2 + 1]; x […, length], or up to the last frame's centre without a length.
    Raises: ShapeError for another number of frequencies, or a length beyond the frames; OptionError as in `stft`.
    Source: D. Griffin, J. Lim, Signal Estimation from Modified Short-Time Fourier Transform, 1984, equation 6.
    """
    spectra = np.asarray(spectra)
    hop = _hop(size, hop)
    if spectra.ndim < 2 or spectra.shape[-1] != size // 2 + 1 or spectra.shape[-2] == 0:
        raise ShapeError(f"istft: wants [..., frames, {size // 2 + 1}] for size {size}, got {list(spectra.shape)}")
    frames = np.fft.irfft(spectra, size, axis=-1)
    window = hann(size).astype(frames.dtype)
    frames = frames * window
    count = frames.shape[-2]
    length = (count - 1) * hop if length is None else length
    if not 0 <= length <= (count - 1) * hop:
        raise ShapeError(f"istft: {count} frames {hop} apart hold up to {(count - 1) * hop} samples, not {length}")
    x = np.zeros((*frames.shape[:-2], (count - 1) * hop + size), frames.dtype)
    weight = np.zeros(x.shape[-1], frames.dtype)
    for m in range(count):
        x[..., m * hop : m * hop + size] += frames[..., m, :]
        weight[m * hop : m * hop + size] += window * window
    inside = slice(size // 2, size // 2 + length)
    return x[..., inside] / weight[inside]


def snr(clean: Any, estimate: Any) -> Any:
    """10 log₁₀ (Σ s² / Σ (ŝ − s)²): how far the signal is above what is not it [dB].

    Shapes: […, samples] both; the result […].
    """
    s, e = _pair("snr", clean, estimate)
    with np.errstate(divide="ignore"):
        return 10 * np.log10((s * s).sum(-1) / ((e - s) ** 2).sum(-1))


def si_sdr(clean: Any, estimate: Any) -> Any:
    """10 log₁₀ (|αs|² / |αs − ŝ|²) with α = ŝ·s / s·s: the SNR of the best scaling of s [dB].

    The estimate's loudness does not matter; means are not taken off.
    Shapes: […, samples] both; the result […].
    Source: J. Le Roux, S. Wisdom, H. Erdogan, J. Hershey, SDR – Half-baked or Well Done?, 2019, equation 5.
    """
    s, e = _pair("si_sdr", clean, estimate)
    target = (e * s).sum(-1, keepdims=True) / (s * s).sum(-1, keepdims=True) * s
    with np.errstate(divide="ignore"):
        return 10 * np.log10((target * target).sum(-1) / ((target - e) ** 2).sum(-1))


def _pair(who: str, clean: Any, estimate: Any) -> tuple[Array, Array]:
    s, e = np.asarray(clean, np.float64), np.asarray(estimate, np.float64)
    if s.ndim == 0 or s.shape != e.shape:
        raise ShapeError(f"{who}: wants two signals of one shape [..., samples], got {list(s.shape)}, {list(e.shape)}")
    if not (s * s).sum(-1).all():
        raise DataError(f"{who}: the clean signal is silent, so there is nothing to compare with")
    return s, e


def _hop(size: int, hop: int | None) -> int:
    hop = size // 4 if hop is None else hop
    if size < 4 or size % 2 or not 0 < hop <= size // 2:
        raise OptionError(f"stft: size is even and 4 or more, hop from 1 to half of it; got {size} and {hop}")
    return hop
