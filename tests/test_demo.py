import errno
import hashlib
import re
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import acoustics

from spknorm import demo
from spknorm.corpora.records import EMOTIONS
from spknorm.demo import make_demo_corpora, population, trees
from spknorm.demo.synthesis import Prosody, Voice, synthesize, to_pcm16
from spknorm.errors import ConfigError

MAN = Voice(f0=112.0, formant_scale=1.0, tilt=0.0, breath=-20.0)
CALM = Prosody(f0_range=0.5, rate=4.0, contour=0.0, accent=1.0, pause=0.1)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A tenth of the corpora: two emotional speakers' worth of slots, four other speakers."""
    patch = pytest.MonkeyPatch()
    patch.setattr(population, "NUM_SPEAKERS", 4)
    patch.setattr(population, "NUM_EMOTION_SPEAKERS", 2)
    yield make_demo_corpora(tmp_path_factory.mktemp("demo") / "corpora", rho=0.9, seed=3)
    patch.undo()


def read(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767


def test_an_utterance_has_the_promised_length_and_does_not_clip():
    samples = synthesize(MAN, CALM, np.random.default_rng(0))
    assert samples.shape == (22400,)
    assert 0.01 < samples.std() < 0.2
    assert np.abs(samples).max() < 0.999


def test_equal_keys_give_equal_samples_and_other_keys_other_samples():
    slot = population.emotion_slots(0)[0]
    first = population.speak_emotion(0, slot, 1)
    assert np.array_equal(first, population.speak_emotion(0, slot, 1))
    assert not np.allclose(first, population.speak_emotion(1, slot, 1))
    assert not np.allclose(first, population.speak_emotion(0, slot, 2))


def test_the_first_utterance_is_the_one_that_was_released():
    slot = population.emotion_slots(0)[0]
    content = to_pcm16(population.speak_emotion(0, slot, slot.emotion(0.8))).astype("<i2").tobytes()
    assert hashlib.sha256(content).hexdigest().startswith("a37cfa3b0fe5e5c0")


@pytest.mark.parametrize("f0", [100.0, 160.0, 230.0])
def test_the_pitch_that_was_asked_for_is_the_pitch_that_is_measured(f0):
    voice = MAN._replace(f0=f0)
    measured = [
        np.exp(np.median(frames.log_f0[frames.voicing > 0.6]))
        for frames in (
            acoustics.frame_features(synthesize(voice, CALM, np.random.default_rng(seed)))
            for seed in range(5)
        )
    ]
    assert np.median(measured) == pytest.approx(f0, rel=0.04)


def test_a_rising_contour_rises_and_a_falling_one_falls():
    def slope(contour):
        prosody = CALM._replace(contour=contour)
        slopes = []
        for seed in range(8):
            samples = synthesize(MAN, prosody, np.random.default_rng(seed))
            frames = acoustics.frame_features(samples)
            voiced = frames.voicing > 0.45
            time = np.linspace(-0.5, 0.5, len(voiced))
            slopes.append(np.polyfit(time[voiced], frames.log_f0[voiced], 1)[0])
        return np.mean(slopes) * 12 / np.log(2)  # semitones per utterance

    assert slope(6.0) == pytest.approx(6.0, abs=2.0)
    assert slope(-6.0) == pytest.approx(-6.0, abs=2.0)


def test_confounding_is_a_dial_from_independent_to_determined():
    slots = population.emotion_slots(0)
    train = [slot for slot in slots if not slot.is_test]
    share = {
        rho: np.mean([slot.emotion(rho) == slot.dominant for slot in train])
        for rho in (0.0, 0.8, 1.0)
    }
    assert share[0.0] == pytest.approx(0.25, abs=0.06)
    assert share[0.8] == pytest.approx(0.85, abs=0.06)
    assert share[1.0] == 1.0


def test_test_slots_are_balanced_whatever_the_confounding():
    for speaker in range(population.NUM_EMOTION_SPEAKERS):
        emotions = [
            slot.emotion(1.0)
            for slot in population.emotion_slots(0)
            if slot.is_test and slot.speaker == speaker
        ]
        assert np.bincount(emotions).tolist() == [16, 16, 16, 16]


def test_a_training_slot_changes_from_its_free_to_its_dominant_emotion_once():
    for slot in population.emotion_slots(5)[:48]:
        spoken = [slot.emotion(rho) for rho in (0.0, 0.4, 0.6, 0.8, 0.9, 1.0)]
        assert spoken == sorted(spoken, key=lambda emotion: emotion == slot.dominant)


def test_speakers_of_different_corpora_are_different_people():
    roles = (population.EMOTION_CORPUS, population.SPEAKER_CORPUS, population.PRETRAINING)
    voices = {population.voice_of(0, role, speaker) for role in roles for speaker in range(50)}
    assert len(voices) == 150


def test_the_iemocap_tree_has_the_release_layout(roots):
    assert sorted(path.name for path in roots.iemocap.iterdir()) == ["Session1"]
    session = roots.iemocap / "Session1"
    dialogues = sorted(path.stem for path in (session / "dialog/EmoEvaluation").glob("*.txt"))
    assert len(dialogues) == 16
    assert dialogues[0] == "Ses01F_impro01"
    assert dialogues[-1] == "Ses01M_script02_2"
    assert dialogues == sorted(path.name for path in (session / "sentences/wav").iterdir())
    assert len(list(session.rglob("*.wav"))) == 2 * (48 + 64)
    assert read(session / "sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav").shape == (22400,)


def test_evaluation_lines_are_the_releases_and_name_every_file(roots):
    session = roots.iemocap / "Session1"
    pattern = re.compile(
        r"\[\d+\.\d{4} - \d+\.\d{4}\]\t(Ses01[FM]_\w+_[FM]\d{3})\t(neu|hap|exc|ang|sad)\t"
        r"\[\d\.\d{4}, \d\.\d{4}, \d\.\d{4}\]"
    )
    named = {}
    for path in (session / "dialog/EmoEvaluation").glob("*.txt"):
        lines = path.read_text().splitlines()
        assert lines[0] == "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
        for line in lines:
            if line.startswith("["):
                name, label = pattern.fullmatch(line).groups()
                named[name] = label
    assert set(named) == {path.stem for path in session.rglob("*.wav")}
    assert set(named.values()) == {*EMOTIONS, "exc"}
    scripted = [label.replace("exc", "hap") for name, label in named.items() if "script" in name]
    assert {scripted.count(emotion) for emotion in EMOTIONS} == {32}


def test_the_voxceleb_tree_has_its_layout_and_split_list(roots):
    lines = [line.split() for line in roots.voxceleb1_split.read_text().splitlines()]
    assert [split for split, _ in lines[:16]] == ["1"] * 10 + ["2"] * 2 + ["3"] * 4
    assert lines[0][1] == "id10001/demo00video0/00001.wav"
    assert len(lines) == 4 * 16
    assert all((roots.voxceleb1 / "dev/wav" / name).is_file() for _, name in lines)


def test_a_second_call_writes_nothing(roots):
    folder = roots.iemocap.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert make_demo_corpora(folder, rho=0.9, seed=3) == roots
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.fixture
def tiny(monkeypatch):
    """A generator that writes one file."""

    def write_iemocap(root, *, rho, seed, spoken):
        root.mkdir(parents=True)
        (root / "settings").write_text(f"{rho} {seed}")
        spoken()

    monkeypatch.setattr(trees, "write_iemocap", write_iemocap)
    monkeypatch.setattr(trees, "write_voxceleb1", lambda root, split, **_: root.mkdir())


def test_other_parameters_or_another_generator_build_anew(tiny, tmp_path, monkeypatch):
    folder = tmp_path / "demo"
    make_demo_corpora(folder, rho=0.8)
    make_demo_corpora(folder, rho=0.4)
    assert (folder / "iemocap/settings").read_text() == "0.4 0"
    (folder / "iemocap/settings").write_text("made by an older generator")
    monkeypatch.setattr(demo, "_SOURCES", ("synthesis.py",))
    make_demo_corpora(folder, rho=0.4)
    assert (folder / "iemocap/settings").read_text() == "0.4 0"
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_build_that_fails_leaves_nothing(tiny, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trees, "write_voxceleb1", fail)
    with pytest.raises(OSError, match="No space left on device") as error:
        make_demo_corpora(tmp_path / "demo")
    assert error.value.filename == str(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_left_alone(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError) as error:
        make_demo_corpora(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} is not a folder of demo corpora and is not empty, so it is left alone. "
        "Name another folder."
    )
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_settings_out_of_range_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"The demo's `rho` must be within 0 and 1, but is 1.5."):
        make_demo_corpora(tmp_path, rho=1.5)
    with pytest.raises(ConfigError, match=r"The demo's `seed` must be 0 or more, but is -1."):
        make_demo_corpora(tmp_path, seed=-1)


def test_the_default_folder_is_in_the_cache_and_named_by_its_parameters(tmp_path, monkeypatch):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path))
    assert demo.default_folder(rho=0.8).parent == tmp_path
    assert demo.default_folder(rho=0.8) != demo.default_folder(rho=0.4)
    assert demo.default_folder(seed=0) != demo.default_folder(seed=1)
    assert re.fullmatch(r"demo-[0-9a-f]{12}", demo.default_folder().name)


def test_progress_counts_every_utterance(tiny, tmp_path):
    seen = []
    make_demo_corpora(tmp_path / "demo", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2400)]
    assert demo.NUM_UTTERANCES == 2400
