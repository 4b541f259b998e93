"""Corpora by name, and what makes one unfit to train on."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from spknorm.audio import AudioError
from spknorm.corpora.checks import check_records, find_bad_audio, usable
from spknorm.corpora.known import CORPORA
from spknorm.corpora.reading import read_corpus as read_sections
from spknorm.corpora.records import EMOTIONS, Utterance
from spknorm.errors import ConfigError, DataError, MissingError
from spknorm.schema import DataConfig, ExpertConfig, SpeakerCorpusConfig


def read_corpus(corpus, role="emotion", **settings):
    """Read a corpus by what its section of the configuration says."""
    demo = {key: settings.pop(key) for key in ("demo_rho", "demo_seed") if key in settings}
    settings = {"corpus": corpus, **{key: str(value) for key, value in settings.items()}}
    if role == "emotion":
        return read_sections(ExpertConfig(datarc=DataConfig(**settings, **demo)), role)
    section = SpeakerCorpusConfig(**settings)
    return read_sections(ExpertConfig(speaker_corpus=section, datarc=DataConfig(**demo)), role)


@pytest.fixture(autouse=True)
def no_roots(monkeypatch):
    for variable in ("IEMOCAP_ROOT", "VOXCELEB1_ROOT", "LIBRISPEECH_ROOT"):
        monkeypatch.delenv(variable, raising=False)


def utterances(tmp_path, emotions=("neu", "hap", "ang", "sad"), speakers=("a", "b", "a", "b")):
    return [
        Utterance(id=f"u{number}", path=tmp_path / f"{number}.wav", emotion=emotion, speaker=who)
        for number, (emotion, who) in enumerate(zip(emotions, speakers, strict=True))
    ]


def write_audio(records):
    noise = np.random.default_rng(0).normal(0, 0.1, 1600)
    for record in records:
        soundfile.write(record.path, noise, 16000)


def test_a_corpus_that_is_nowhere_says_where_it_was_looked_for_and_what_to_do():
    with pytest.raises(MissingError) as error:
        read_corpus("iemocap")
    assert str(error.value) == (
        "The emotion corpus IEMOCAP was not found: `downstream_expert.datarc.root` is not set, "
        "nor is IEMOCAP_ROOT.\n"
        "Say where it is in one of three ways:\n"
        "  -o config.downstream_expert.datarc.root=FOLDER on the command line\n"
        "  downstream_expert.datarc.root: FOLDER in the configuration file given by -c\n"
        "  export IEMOCAP_ROOT=FOLDER in the environment\n"
        "Or try the embedded demo: -o config.downstream_expert.datarc.corpus=demo, "
        "or ./run_downstream.sh"
    )


def test_a_root_that_is_no_folder_is_named_with_where_it_came_from(tmp_path, monkeypatch):
    monkeypatch.setenv("VOXCELEB1_ROOT", str(tmp_path / "env"))
    for options, said in (
        ({}, f"VOXCELEB1_ROOT is {tmp_path / 'env'}, which is not a folder"),
        (
            {"root": tmp_path / "no"},
            f"`downstream_expert.speaker_corpus.root` is {tmp_path / 'no'}, which is not a folder",
        ),
    ):
        with pytest.raises(MissingError) as error:
            read_corpus("voxceleb1", role="speaker", **options)
        first = f"The speaker corpus VoxCeleb1 was not found: {said}."
        assert str(error.value).splitlines()[0] == first


def test_the_root_comes_from_the_environment_and_a_given_one_goes_first(tmp_path, monkeypatch):
    for name in ("env", "given"):
        folder = tmp_path / name / "dev-clean/1/2"
        folder.mkdir(parents=True)
        (folder / f"1-2-{name}.flac").write_bytes(b"sound")
    monkeypatch.setenv("LIBRISPEECH_ROOT", str(tmp_path / "env"))
    (found,) = read_corpus("librispeech", role="speaker")
    assert found.id == "1-2-env"
    (found,) = read_corpus("librispeech", role="speaker", root=tmp_path / "given")
    assert found.id == "1-2-given"


def test_settings_that_cannot_take_effect_are_refused(tmp_path):
    with pytest.raises(ConfigError) as error:
        read_corpus("msp")
    assert str(error.value) == (
        f"`corpus` must be one of {', '.join(CORPORA)} with the role "
        "emotion or speaker, but they are `msp` and `emotion`."
    )
    with pytest.raises(ConfigError) as error:
        read_corpus("manifest", role="speaker")
    assert str(error.value) == (
        "The speaker corpus is a manifest, so `downstream_expert.speaker_corpus.manifest` must "
        "name the .csv or .jsonl file."
    )
    with pytest.raises(ConfigError) as error:
        read_corpus("iemocap", root=tmp_path, manifest="a.csv")
    assert str(error.value) == (
        "`downstream_expert.datarc.manifest` has no effect with the corpus `iemocap`: set "
        "`corpus: manifest`, or leave it out."
    )


def test_a_manifest_is_read_by_name(tmp_path):
    (tmp_path / "a.csv").write_text("path,gender\na.wav,f\n")
    (found,) = read_corpus("manifest", role="speaker", manifest=tmp_path / "a.csv")
    assert found.labels == {"gender": "f"}


def test_the_demo_is_read_by_the_readers_of_the_real_corpora(tmp_path, monkeypatch):
    from iemocap_trees import write_iemocap

    import spknorm.demo

    vox = tmp_path / "vox"
    for speaker in ("id10001", "id10002"):
        (vox / "dev/wav" / speaker / "x").mkdir(parents=True)
        (vox / "dev/wav" / speaker / "x/00001.wav").write_bytes(b"sound")
    (vox / "list.txt").write_text("1 id10001/x/00001.wav\n3 id10002/x/00001.wav\n")
    write_iemocap(tmp_path / "iemocap", {"Session1": (1, 1, 1, 1)})
    asked = []

    def make(*, rho, seed):
        asked.append((rho, seed))
        return spknorm.demo.DemoRoots(tmp_path / "iemocap", vox, vox / "list.txt")

    monkeypatch.setattr(spknorm.demo, "make_demo_corpora", make)
    assert len(read_corpus("demo", demo_rho=0.5, demo_seed=3)) == 4
    assert [one.split for one in read_corpus("demo", role="speaker")] == ["train", "test"]
    assert asked == [(0.5, 3), (0.8, 0)]


def test_a_good_corpus_passes(tmp_path):
    check_records(utterances(tmp_path), role="emotion")
    check_records(utterances(tmp_path), role="speaker")
    labelled = [
        Utterance(id=name, path=tmp_path / name, labels={"channel": name}) for name in ("a", "b")
    ]
    check_records(labelled, role="speaker", label="channel")


@pytest.mark.parametrize(
    ("options", "role", "said"),
    [
        (
            {"emotions": ("neu", "hap", "ang", None)},
            "emotion",
            "1 utterances of the emotion corpus have no label `emotion`:\n  `u3`",
        ),
        (
            {"emotions": ("neu", "hap", "happy", "sad")},
            "emotion",
            "1 utterances have an emotion that is none of neu, hap, ang, sad:\n  `u2`: `happy`",
        ),
        (
            {"emotions": ("neu", "hap", "neu", "hap")},
            "emotion",
            "The emotion corpus has no utterance of ang, sad.",
        ),
        (
            {"speakers": ("a", "a", "a", "a")},
            "speaker",
            "The speaker corpus has a single `speaker`, `a`. Normalising them away needs at least "
            "2.",
        ),
        (
            {"speakers": ("a", "b", None, None)},
            "speaker",
            "2 utterances of the speaker corpus have no label `speaker`:\n  `u2`\n  `u3`",
        ),
        (
            {"speakers": (None,) * 4},
            "speaker",
            "No utterance of the speaker corpus has a label `speaker`.",
        ),
    ],
)
def test_a_corpus_that_cannot_serve_is_refused(tmp_path, options, role, said):
    with pytest.raises(DataError) as error:
        check_records(utterances(tmp_path, **options), role=role)
    assert str(error.value) == said
    assert error.value.exit_code == 3


def test_a_column_that_no_utterance_has_is_told_with_the_nearest(tmp_path):
    records = [replace(one, labels={"age": "20"}) for one in utterances(tmp_path)]
    with pytest.raises(DataError, match=r"has a label `Age`\. Did you mean `age`\?"):
        check_records(records, role="speaker", label="Age")


def test_a_recording_that_is_listed_under_two_labels_is_told(tmp_path, caplog):
    rows = [
        Utterance(id=f"{name}{k}", path=tmp_path / f"{k}.wav", speaker=speaker, emotion=emotion)
        for k, emotion in enumerate(EMOTIONS)
        for name, speaker in (("a", "s"), ("b", "s"))
    ]
    check_records(rows, role="emotion")
    check_records([*rows[:1], replace(rows[-1], speaker="t")], role="speaker")
    assert caplog.messages == []
    rows[1] = replace(rows[1], emotion="sad", speaker="t")
    parts = [replace(rows[0], id=f"p{k}", start=k * 1.0, end=k + 1.0) for k in range(2)]
    check_records([*rows, *parts, replace(parts[0], id="q", emotion="ang")], role="emotion")
    assert caplog.messages == [
        "2 recordings are listed more than once and labelled differently, which trains and scores "
        "both: 0.wav (`a0` neu, `b0` sad; `a0` s, `b0` t), 0.wav (`p0` neu, `q` ang). Correct the "
        "list."
    ]


def test_no_utterances_and_ids_that_occur_twice_are_refused(tmp_path):
    with pytest.raises(DataError) as error:
        check_records([], role="emotion")
    assert str(error.value) == "The emotion corpus has no utterances."
    with pytest.raises(DataError) as error:
        check_records(utterances(tmp_path) + utterances(tmp_path)[1:2], role="emotion")
    assert str(error.value) == (
        "1 ids of the emotion corpus occur more than once:\n  `u1`, 2 times"
    )
    with pytest.raises(ConfigError) as error:
        check_records(utterances(tmp_path), role="both")
    assert str(error.value) == "`role` must be one of emotion, speaker, but is `both`."


def test_records_can_be_hashed_and_sent_to_other_processes(tmp_path):
    record = Utterance(id="a", path=tmp_path, labels={"gender": "f"})
    assert pickle.loads(pickle.dumps(record)) == record
    assert len({record, Utterance(id="a", path=tmp_path, labels={"gender": "f"})}) == 1


def test_bad_audio_stops_a_run_naming_20_files_and_the_count(tmp_path):
    records = [Utterance(id=f"u{number}", path=tmp_path / f"{number}.wav") for number in range(30)]
    write_audio(records[:5])
    with pytest.raises(DataError) as error:
        usable(records, work_dir=tmp_path / "work", skip_bad=False)
    lines = str(error.value).splitlines()
    assert lines[0] == (
        "25 of 30 audio files cannot be used (`--skip-bad` leaves them out and records which):"
    )
    assert lines[1].startswith(f"  {tmp_path / '5.wav'}: there is no such file.")
    assert len(lines) == 22
    assert lines[-1] == "  ... and 5 more"


def test_bad_audio_is_left_out_and_recorded_if_asked(tmp_path, caplog):
    records = utterances(tmp_path)
    write_audio(records)
    records[1].path.write_bytes(b"no sound")
    soundfile.write(records[2].path, np.full(1600, np.nan), 16000, subtype="FLOAT")
    assert usable(records, work_dir=tmp_path / "work") == [records[0], records[3]]
    skipped = json.loads((tmp_path / "work/skipped.json").read_text())
    assert {path: (one["id"], one["kind"]) for path, one in skipped.items()} == {
        str(records[1].path): ("u1", "not_audio"),
        str(records[2].path): ("u2", "nonfinite"),
    }
    assert caplog.messages == [
        "2 of 4 audio files cannot be used and are left out; "
        f"{tmp_path / 'work/skipped.json'} lists them"
    ]
    assert usable(records, work_dir=tmp_path / "work") == [records[0], records[3]]


def test_good_audio_passes_and_is_looked_at_once(tmp_path, monkeypatch):
    records = utterances(tmp_path)
    write_audio(records)
    assert usable(records, work_dir=tmp_path / "work", skip_bad=False) == records
    monkeypatch.setattr("spknorm.audio.index.read_info", None)
    assert usable(records, work_dir=tmp_path / "work", skip_bad=False) == records
    with pytest.raises(TypeError):  # never decoded to its end so far
        usable(records, work_dir=tmp_path / "work", skip_bad=True)


def test_a_file_that_vanished_after_listing_is_named_as_such(tmp_path):
    records = utterances(tmp_path)
    write_audio(records)
    usable(records, work_dir=tmp_path, skip_bad=False)
    records[0].path.unlink()
    ((utterance, error),) = find_bad_audio(records)
    assert utterance == records[0]
    assert isinstance(error, AudioError)
    assert error.kind == "vanished"
    assert str(error) == (
        f"{records[0].path}: the file was there when the corpus was listed and is gone now. "
        "Put it back, or list the corpus anew."
    )
