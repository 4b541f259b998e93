"""Sound in mp4, m4a, avi and webm through PyAV; channels; excerpts of files."""

import pickle
import sys

import numpy as np
import pytest
import soundfile
from shorten import sphere

from spknorm.audio import AudioError, AudioIndex, Excerpt, Walk, load_audio, read_info
from spknorm.corpora.records import Utterance
from spknorm.demo.containers import write_container

RATE = 48000


@pytest.fixture(scope="module")
def surround():
    """Six channels (L, 6): the sine of each has its own pitch, 200 Hz and up."""
    time = np.arange(2 * RATE) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * (200 + 100 * i) * time) for i in range(6)], axis=1)


def pitch(samples):
    return int(np.abs(np.fft.rfft(samples)).argmax() * 16000 / len(samples) + 0.5)


@pytest.fixture(params=["a.mp4", "a.m4a", "a.avi", "a.webm"])
def file(request, surround, tmp_path):
    path = tmp_path / request.param
    write_container(path, surround[:, 0], RATE, video=path.suffix in (".mp4", ".avi"))
    return path


def test_a_container_is_read_and_its_length_is_known(file):
    samples = load_audio(file)
    assert pitch(samples) == 200
    info = read_info(file)
    assert (info.sample_rate, info.num_channels) == (RATE, 1)
    assert -(-info.num_samples // 3) == len(samples)
    assert 2.0 <= info.seconds < 2.1


def test_crops_and_excerpts_equal_that_part_of_the_whole(file):
    whole = load_audio(file)
    for seed in range(4):
        crop = load_audio(file, max_seconds=0.5, crop_seed=seed)
        starts = np.flatnonzero(whole[: len(whole) - len(crop) + 1] == crop[0])
        assert any(np.array_equal(whole[at : at + len(crop)], crop) for at in starts)
    part = load_audio(Excerpt(file, start=0.3, end=1.1))
    assert np.array_equal(part, whole[4800:17600])
    assert read_info(Excerpt(file, start=0.3, end=1.1)).seconds == pytest.approx(0.8)


def test_a_copy_of_a_container_sounds_the_same(file, tmp_path):
    copy = tmp_path / f"copy{file.suffix}"
    copy.write_bytes(file.read_bytes())
    assert np.array_equal(load_audio(copy), load_audio(file))


def test_half_a_container_is_found(file, tmp_path):
    half = tmp_path / f"half{file.suffix}"
    content = file.read_bytes()
    half.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError) as error:
        load_audio(half)
    assert error.value.kind in ("truncated", "corrupt")


def test_without_pyav_one_line_says_what_to_install(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError) as error:
        load_audio(file)
    kind = {".avi": "AVI video", ".webm": "WebM or Matroska"}.get(file.suffix, "MPEG-4 (m4a, mp4)")
    assert str(error.value) == (
        f"{file}: {kind} is read where PyAV is installed: `pip install 'spknorm[containers]'` "
        "(or `pip install av`)."
    )


@pytest.fixture
def spoken():
    """Whole numbers (16000,) of 16 bits."""
    noise = np.random.default_rng(0).normal(0, 50, 16000)
    return (3000 * np.sin(np.arange(16000) * 0.05) + noise).astype(np.int16)


@pytest.mark.parametrize("name", ["a.sph", "a.wav"])  # LDC calls them wav, too
def test_sphere_packed_by_shorten_is_read_sample_by_sample(name, spoken, tmp_path):
    (tmp_path / name).write_bytes(sphere(spoken))
    assert np.array_equal(load_audio(tmp_path / name), spoken.astype(np.float32) / 32768)
    crop = load_audio(Excerpt(tmp_path / name, None, 0.25, 0.5))
    assert np.array_equal(crop, spoken[4000:8000].astype(np.float32) / 32768)


def test_half_of_a_packed_sphere_file_is_found(spoken, tmp_path):
    content = sphere(spoken)
    (tmp_path / "a.sph").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError) as error:
        load_audio(tmp_path / "a.sph")
    assert error.value.kind == "truncated"


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW"])
def test_plain_sphere_is_read_without_pyav(subtype, spoken, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    both = np.stack([spoken, -spoken], axis=1)
    soundfile.write(tmp_path / "a.sph", both, 16000, format="NIST", subtype=subtype)
    first = load_audio(Excerpt(tmp_path / "a.sph", "1"))
    assert np.abs(first - spoken / 32768).max() < (1e-9 if subtype == "PCM_16" else 0.01)


def test_a_video_without_sound_is_empty(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 32), np.uint8), "yuv420p")
        file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    with pytest.raises(AudioError, match="without a sound stream"):
        load_audio(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.wav"])
def test_the_centre_of_surround_sound_can_be_heard_alone(name, surround, tmp_path):
    path = tmp_path / name
    if path.suffix == ".mp4":
        write_container(path, surround, RATE)
    else:
        soundfile.write(path, surround, RATE)
    assert pitch(load_audio(Excerpt(path, "centre"))) == 400
    assert np.array_equal(load_audio(Excerpt(path, "centre")), load_audio(Excerpt(path, "3")))
    assert pitch(load_audio(Excerpt(path, "1"))) == 200
    mean = load_audio(path)
    assert np.abs(mean).max() < 0.9 * np.abs(load_audio(Excerpt(path, "centre"))).max() * 6


def test_the_centre_of_stereo_is_its_mean(surround, tmp_path):
    soundfile.write(tmp_path / "a.wav", surround[:, :2], RATE)
    path = tmp_path / "a.wav"
    assert np.array_equal(load_audio(Excerpt(path, "centre")), load_audio(path))


def test_a_channel_that_is_not_there_is_refused(surround, tmp_path):
    soundfile.write(tmp_path / "a.wav", surround[:, :2], RATE)
    with pytest.raises(AudioError) as error:
        load_audio(Excerpt(tmp_path / "a.wav", "3"))
    assert str(error.value) == (
        f"{tmp_path}/a.wav: channel 3 of 2 is asked for. Expected `1` and on, up to the number of "
        "its channels, or `centre`; correct the corpus' list."
    )


@pytest.mark.parametrize("rate", [16000, 44100])
def test_an_excerpt_is_that_part_of_the_whole_file_at_any_rate(rate, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 2 * rate), rate)
    whole = load_audio(path)
    assert np.array_equal(load_audio(Excerpt(path, None, 0.25, 1.5)), whole[4000:24000])
    assert np.array_equal(load_audio(Excerpt(path, None, 0.25, None)), whole[4000:])
    crop = load_audio(Excerpt(path, None, 0.25, 1.5), max_seconds=0.5)
    assert np.array_equal(crop, whole[4000:12000])


def test_an_excerpt_after_the_end_of_its_file_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(16000), 16000)
    assert len(load_audio(Excerpt(path, None, 0.5, 1.3))) == 8000  # lists are off by some frames
    with pytest.raises(AudioError) as error:
        load_audio(Excerpt(path, None, 0.5, 2.0))
    assert (
        f"{path}: the audio is truncated or damaged (0.5 to 2 s is asked for, it has 1.00 s)"
        in (str(error.value))
    )


def test_excerpts_of_one_file_are_kept_apart_by_the_index(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(16000), 16000)
    ones = [Utterance(id=str(n), path=path, start=n / 4, end=(n + 1) / 4).audio for n in range(4)]
    for _ in range(2):
        infos = AudioIndex(tmp_path).infos([path, *ones])
        assert infos.records["samples"].tolist() == [16000, 4000, 4000, 4000, 4000]
    assert Excerpt(path).key == str(path)
    assert pickle.loads(pickle.dumps(ones[0])) == ones[0]


def test_containers_are_walked_only_where_a_corpus_comes_in_them(tmp_path):
    for name in ("a.wav", "a.mp4", "b.m4a"):
        (tmp_path / name).touch()
    assert [file.name for file in Walk().files(tmp_path)] == ["a.wav"]
    both = [file.name for file in Walk(containers=True).files(tmp_path)]
    assert both == ["a.mp4", "a.wav", "b.m4a"]
