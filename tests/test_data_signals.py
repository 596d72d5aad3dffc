"""Text and its windows, wav files, spectra, levels of noise; faces. What needs real files skips without them."""

import hashlib
import itertools
import math
import wave

import numpy as np
import pytest
from scipy.signal import ShortTimeFFT

from tinygrad_mlsp import data
from tinygrad_mlsp.data import audio, text
from tinygrad_mlsp.errors import DataError, DTypeError, OptionError, ShapeError

RNG = np.random.default_rng(0)


# text


def test_a_vocabulary_there_and_back():
    written = "To be, or not to be:\nthat is the question. ¿Größe?"
    v = text.Vocabulary(written)
    numbers = v.encode(written)
    assert numbers.dtype == np.int64 and numbers.max() == len(v) - 1 and v.decode(numbers) == written
    assert list(v.characters) == sorted(set(written)) and v.decode([]) == "" and len(v.encode("")) == 0
    with pytest.raises(DataError, match="'z', character 2 of the text, is none of its"):
        v.encode("toz")
    for wrong in ([len(v)], [-1], [0.5], [[1]]):
        with pytest.raises(DataError, match=f"decodes whole numbers from 0 to {len(v) - 1} along one axis"):
            v.decode(wrong)
    with pytest.raises(OptionError):
        text.Vocabulary("")


@pytest.mark.parametrize("n", [7, 24, 25, 26, 31, 100])
@pytest.mark.parametrize(("batch", "length"), [(1, 4), (3, 4), (6, 1), (2, 50)])
def test_windows_go_on_where_the_last_one_ended(n, batch, length):
    sequence = RNG.integers(0, 9, n)
    windows = text.Windows(sequence, batch, length)
    parts = list(windows)
    assert len(parts) == len(windows)
    x, y = (np.concatenate([p[i] for p in parts], 1) for i in (0, 1))
    steps = (n - 1) // batch
    assert x.shape == (batch, steps) and all(p[0].shape == (batch, length) for p in parts[:-1])
    for b in range(batch):
        np.testing.assert_array_equal(x[b], sequence[b * steps : (b + 1) * steps])
        np.testing.assert_array_equal(y[b], sequence[b * steps + 1 : (b + 1) * steps + 1])
    assert all(np.shares_memory(p[0], sequence) for p in parts)
    for (x, y), (u, v) in zip(text.Windows(sequence, batch, length, batch_first=False), parts, strict=True):
        assert (x == u.T).all() and (y == v.T).all()


@pytest.mark.parametrize("stop", range(7))
def test_windows_resume(stop):
    def make():
        return text.Windows(np.arange(50), 4, 3)

    whole = [x.tolist() for x, _ in make()]
    first = make()
    part = [x.tolist() for x, _ in itertools.islice(first, stop)]
    second = make()
    second.load_state_dict(first.state_dict())
    if stop < len(whole) or first.position:
        assert part + [x.tolist() for x, _ in second] == whole
    assert [x.tolist() for x, _ in second] == whole  # and the next pass is whole
    with pytest.raises(OptionError, match="the saved length is 3, here it is 4"):
        text.Windows(np.arange(50), 4, 4).load_state_dict(first.state_dict())


def test_windows_of_too_short_a_sequence():
    with pytest.raises(ShapeError, match=r"4 streams need a sequence of 5 or more, got \[4\]"):
        text.Windows(np.arange(4), 4, 3)
    with pytest.raises(OptionError, match="length must be"):
        text.Windows(np.arange(40), 4, 0)


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No folder is named, and the cache is empty."""
    monkeypatch.delenv("TINYGRAD_MLSP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(text, "MIRRORS", ())
    return tmp_path


def test_shakespeare_is_found_fetched_or_missed(alone, monkeypatch):
    written = b"First Citizen:\n"
    monkeypatch.setattr(text, "_SHA256", hashlib.sha256(written).hexdigest())
    with pytest.raises(DataError, match=r"expected tinyshakespeare\.txt and no folder was named\. Name its folder as"):
        text.tinyshakespeare(download=False)
    with pytest.raises(DataError, match=r"Try again later, or fetch it as tinyshakespeare\.txt by other means"):
        text.tinyshakespeare()
    with pytest.raises(DataError, match=r"in .*here or its subfolder text, it is not there"):
        text.tinyshakespeare(alone / "here")
    (alone / "here" / "text").mkdir(parents=True)
    file = alone / "here" / "text" / "tinyshakespeare.txt"
    file.write_bytes(written)
    assert text.tinyshakespeare(alone / "here") == text.tinyshakespeare(alone / "here/text") == written.decode()
    monkeypatch.setenv("TINYGRAD_MLSP_DATA", str(alone / "here"))
    assert text.tinyshakespeare(download=False) == written.decode()
    monkeypatch.delenv("TINYGRAD_MLSP_DATA")
    monkeypatch.setattr(text, "MIRRORS", ((alone / "absent").as_uri(), file.as_uri()))
    assert text.tinyshakespeare() == written.decode()  # into the cache
    monkeypatch.setattr(text, "MIRRORS", ())
    assert text.tinyshakespeare(download=False) == written.decode()
    file.write_bytes(b"something else")
    with pytest.raises(DataError, match="is not the original: expected 1,115,394 bytes with SHA-256"):
        text.tinyshakespeare(alone / "here")


def test_the_real_shakespeare():
    try:
        written = text.tinyshakespeare(download=False)
    except DataError as error:
        pytest.skip(str(error))
    v = text.Vocabulary(written)
    assert len(written) == 1_115_394 and len(v) == 65 and v.decode(v.encode(written)) == written
    x, y = next(iter(text.Windows(v.encode(written), 32, 100)))
    assert v.decode(x[0]).startswith("First Citizen:\nBefore we proceed") and (x[:, 1:] == y[:, :-1]).all()


# wav


@pytest.mark.parametrize("channels", [1, 2])
def test_wav_there_and_back(tmp_path, channels):
    x = RNG.uniform(-1, 1, (1000, channels)).squeeze()
    audio.write_wav(tmp_path / "a.wav", x)
    y, rate = audio.read_wav(tmp_path / "a.wav")
    assert rate == 16_000 and y.shape == x.shape and y.dtype == np.float32
    assert abs(x - y).max() <= 0.5 / 32768 + 1e-7
    again = audio.read_wav(tmp_path / "a.wav", np.float64)[0]
    audio.write_wav(tmp_path / "b.wav", again, 8000)
    assert (audio.read_wav(tmp_path / "b.wav", np.float64)[0] == again).all()  # exact from then on
    audio.write_wav(tmp_path / "c.wav", [-2.0, 2.0, 0.0])
    assert audio.read_wav(tmp_path / "c.wav")[0].tolist() == [-1, np.float32(32767 / 32768), 0]


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_all_widths_equal_scipys(tmp_path, width):
    from scipy.io import wavfile

    raw = RNG.integers(0, 256, 60 * width, np.uint8).tobytes()
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, width, 44_100, 30, "NONE", ""))
        file.writeframes(raw)
    rate, theirs = wavfile.read(tmp_path / "a.wav")
    x, mine = audio.read_wav(tmp_path / "a.wav", np.float64)
    scale = {1: 128, 2: 2**15, 3: 2**31, 4: 2**31}[width]
    assert mine == rate
    np.testing.assert_array_equal(x, (theirs.astype(float) - (128 if width == 1 else 0)) / scale)


def test_files_that_are_no_sound(tmp_path):
    path = tmp_path / "a.wav"
    with pytest.raises(DataError, match=r"cannot read .*a.wav: No such file"):
        audio.read_wav(path)
    for content in (b"", b"hello", b"RIFF" + b"\0" * 40):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot read .*it must be an uncompressed \(PCM\) wav file"):
            audio.read_wav(path)
    audio.write_wav(path, np.zeros(100))
    path.write_bytes(path.read_bytes()[:-51])
    with pytest.raises(DataError, match="is damaged: expected 100 samples of 2 bytes"):
        audio.read_wav(path)
    with pytest.raises(DTypeError):
        audio.read_wav(path, np.int16)
    with pytest.raises(DataError, match="not finite"):
        audio.write_wav(path, [0.0, math.nan])
    with pytest.raises(ShapeError):
        audio.write_wav(path, np.zeros((2, 2, 2)))
    with pytest.raises(DataError, match="cannot write"):
        audio.write_wav(tmp_path / "absent" / "a.wav", [0.0])


# spectra


@pytest.mark.parametrize("n", [1, 100, 511, 512, 1024, 1025, 5000])
@pytest.mark.parametrize(("size", "hop"), [(1024, None), (1024, 512), (64, 10), (6, 1)])
def test_spectra_and_back(n, size, hop):
    x = RNG.standard_normal((2, n))
    spectra = audio.stft(x, size, hop)
    assert spectra.shape[-1] == size // 2 + 1 and spectra.dtype == np.complex128
    np.testing.assert_allclose(audio.istft(spectra, n, size, hop), x, atol=1e-12)
    single = audio.istft(audio.stft(x[0].astype(np.float32), size, hop), n, size, hop)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, x[0], atol=2e-6)


def test_spectra_equal_scipys():
    x = RNG.standard_normal(5000)
    scipys = ShortTimeFFT(audio.hann(1024), 256, fs=16_000)
    mine = audio.stft(x)
    for m in range(mine.shape[0]):
        theirs = scipys.stft(x, p0=m, p1=m + 1)[:, 0] * np.exp(0j)
        np.testing.assert_allclose(abs(mine[m]), abs(theirs), atol=1e-9)
    by_hand = np.r_[np.zeros(512), x, np.zeros(2000)]
    t = np.arange(1024)
    frame = by_hand[3 * 256 : 3 * 256 + 1024] * np.sin(np.pi * t / 1024) ** 2
    np.testing.assert_allclose(mine[3, 77], (frame * np.exp(-2j * np.pi * 77 * t / 1024)).sum(), atol=1e-9)


def test_a_tone_stands_where_it_belongs():
    t = np.arange(16_000) / 16_000
    spectra = abs(audio.stft(np.sin(2 * np.pi * 1000 * t)))
    assert (spectra[3:-3].argmax(1) == 64).all()  # 1000 Hz of 16 kHz / 1024
    np.testing.assert_allclose(spectra[3:-3, 64], 256, rtol=1e-3)  # half of the window's sum, 512


def test_the_inverse_is_the_least_squares_one():
    spectra = RNG.standard_normal((9, 33)) + 1j * RNG.standard_normal((9, 33))
    spectra[:, [0, 32]] = spectra[:, [0, 32]].real
    x = audio.istft(spectra, 120, 64, 16)
    again = audio.stft(np.r_[x, np.zeros(8)], 64, 16)
    assert again.shape == spectra.shape

    def distance(x):
        # both sides of the spectrum count, as in the time domain
        frames = np.fft.irfft(audio.stft(np.r_[x, np.zeros(8)], 64, 16) - spectra, 64)
        return (frames**2).sum()

    for _ in range(20):
        assert distance(x) <= distance(x + 1e-3 * RNG.standard_normal(120) * (np.arange(120) < 80))


def test_spectra_of_wrong_forms():
    with pytest.raises(ShapeError, match=r"wants \[\.\.\., samples\], got \[0\]"):
        audio.stft([])
    for size, hop in ((5, None), (2, None), (64, 33), (64, 0)):
        with pytest.raises(OptionError, match="size is even and 4 or more, hop from 1 to half of it"):
            audio.stft(np.ones(9), size, hop)
    with pytest.raises(ShapeError, match=r"wants \[\.\.\., frames, 513\] for size 1024, got \[3, 512\]"):
        audio.istft(np.ones((3, 512)))
    with pytest.raises(ShapeError, match="3 frames 256 apart hold up to 512 samples, not 513"):
        audio.istft(np.ones((3, 513)), 513)


def test_noise_measures():
    s = RNG.standard_normal(100_000)
    noise = RNG.standard_normal(100_000)
    assert audio.snr(s, s + 0.1 * noise) == pytest.approx(20, abs=0.1)
    assert audio.si_sdr(s, s + 0.1 * noise) == pytest.approx(20, abs=0.1)
    assert audio.si_sdr(s, 3 * (s + 0.1 * noise)) == pytest.approx(audio.si_sdr(s, s + 0.1 * noise))  # any loudness
    assert audio.snr(s, 3 * s) == pytest.approx(-20 * math.log10(2)) and audio.snr(s, s) == math.inf
    # by hand: s = (1, 0), ŝ = (2, 1): α = 2, the target (2, 0), the rest (0, 1)
    assert audio.si_sdr([1, 0], [2, 1]) == pytest.approx(10 * math.log10(4))
    assert audio.snr([1, 0], [2, 1]) == pytest.approx(10 * math.log10(1 / 2))
    assert audio.snr([[1, 0], [1, 1]], [[2, 1], [2, 2]]).shape == (2,)
    with pytest.raises(ShapeError):
        audio.snr(s, s[1:])
    with pytest.raises(DataError, match="the clean signal is silent"):
        audio.si_sdr(np.zeros(3), np.ones(3))


def test_pairs_of_speech(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYGRAD_MLSP_DATA", raising=False)
    with pytest.raises(
        DataError, match=r"expected pairs clean_<name>.wav and noisy_<name>.wav and no folder was named"
    ):
        audio.speech()
    folder = tmp_path / "speech"
    folder.mkdir()
    for name, n in (("clean_b", 50), ("noisy_b", 60), ("clean_a", 30), ("noisy_a", 30)):
        audio.write_wav(folder / f"{name}.wav", np.full(n, 0.25 if "clean" in name else 0.5))
    pairs = audio.speech(tmp_path)
    assert [(len(c), len(n)) for c, n in pairs] == [(30, 30), (50, 50)] and pairs[0][0][0] == 0.25
    (folder / "noisy_a.wav").unlink()
    with pytest.raises(DataError, match=r"noisy_a\.wav"):
        audio.speech(folder)
    audio.write_wav(folder / "noisy_a.wav", np.zeros(9), rate=8000)
    with pytest.raises(DataError, match="has 8000 samples a second"):
        audio.speech(folder)


def test_the_real_speech():
    try:
        pairs = audio.speech()
    except DataError as error:
        pytest.skip(str(error))
    assert sum(len(c) for c, _ in pairs) / 16_000 == pytest.approx(28.9, abs=0.1)
    levels = [audio.snr(c, n) for c, n in pairs]
    assert min(levels) == pytest.approx(-0.7, abs=0.05) and max(levels) == pytest.approx(14.6, abs=0.05)
    for clean, _ in pairs:
        assert abs(audio.istft(audio.stft(clean), len(clean)) - clean).max() < 1e-6


# faces


def test_faces(tmp_path, monkeypatch):
    monkeypatch.delenv("TINYGRAD_MLSP_DATA", raising=False)
    with pytest.raises(DataError, match=r"expected orl_faces_28x23.npz and no folder was named"):
        data.faces()
    (tmp_path / "faces").mkdir()
    path = tmp_path / "faces" / "orl_faces_28x23.npz"
    images = RNG.integers(0, 256, (12, 28, 23), np.uint8)
    np.savez(path, images=images, subject=np.repeat([1, 2, 3], 4), shot=np.tile([4, 3, 2, 1], 3))
    d = data.faces(tmp_path, train_shots=1, flatten=False)
    assert d.train_x.shape == (3, 28, 23) and d.train_y.tolist() == [0, 1, 2] and len(d.test_y) == 9
    np.testing.assert_array_equal(np.rint(d.train_x * 255), images[[3, 7, 11]])  # the first shots
    assert data.faces(tmp_path / "faces", train_shots=2).train_x.shape == (6, 644)
    with pytest.raises(OptionError, match="train_shots is from 1 to 3"):
        data.faces(tmp_path, train_shots=4)
    for wrong in (b"", b"PK\3\4 no zip"):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match="is not the file expected"):
            data.faces(tmp_path)
    np.savez(path, images=images[:, :5], subject=np.zeros(12, int), shot=np.zeros(12, int))
    with pytest.raises(DataError, match="is not the file expected"):
        data.faces(tmp_path)
    np.savez(path, images=images)
    with pytest.raises(DataError, match="is not the file expected"):
        data.faces(tmp_path)


def test_the_real_faces():
    try:
        d = data.faces()
    except DataError as error:
        pytest.skip(str(error))
    assert d.train_x.shape == d.test_x.shape == (200, 644)
    assert np.bincount(d.train_y).tolist() == np.bincount(d.test_y).tolist() == [5] * 40
