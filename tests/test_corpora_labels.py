"""Label sets: which words of a corpus are trained, under which names, all the way to a model."""

import csv
import json

import numpy as np
import pytest
import soundfile
import tiny_runs
from iemocap_trees import write_dialogue

from spknorm import config
from spknorm.corpora.known.words import class_of
from spknorm.corpora.labels import classes_of
from spknorm.corpora.reading import label_set, read_corpus
from spknorm.errors import ConfigError, DataError
from spknorm.schema import DataConfig, ExpertConfig

SIX = ("neu", "hap", "ang", "sad", "bored", "calm")


def read(**settings):
    data = DataConfig(**settings)
    records = read_corpus(ExpertConfig(datarc=data), "emotion")
    return records, classes_of(records, label_set(data))


@pytest.fixture
def iemocap(tmp_path):
    """A session with two utterances each of excited and frustrated, one without agreement."""
    emotions = ["neu", "hap", "ang", "sad", "exc", "exc", "fru", "fru", "xxx"]
    wav = tmp_path / "silence.wav"
    soundfile.write(wav, np.zeros(400), 16000)
    root = tmp_path / "iemocap"
    write_dialogue(root, "Session1", "Ses01F_impro01", emotions, wav.read_bytes())
    return str(root)


@pytest.fixture(scope="module")
def six_classes(tmp_path_factory):
    """A manifest of ten speakers in five sessions, with six emotions."""
    folder = tmp_path_factory.mktemp("six")
    noise = np.random.default_rng(0)
    with (folder / "six.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "emotion", "speaker", "session"])
        for speaker in range(10):
            for number, emotion in enumerate(SIX):
                name = f"s{speaker}_{number}.wav"
                soundfile.write(folder / name, noise.normal(0, 0.1, 6400), 16000)
                rows.writerow([name, emotion, f"s{speaker}", f"Session{speaker // 2 + 1}"])
    return folder / "six.csv"


def test_only_words_that_mean_a_class_are_that_class():
    assert [class_of(word) for word in ("joy", "anger", "neutrality")] == ["hap", "ang", "neu"]
    apart = ("calm", "amused", "excited", "pleasant surprise", "boredom")
    assert [class_of(word) for word in apart] == list(apart)


def test_iemocaps_habit_is_four_with_excited_as_happy(iemocap):
    records, classes = read(root=iemocap)
    assert [one.emotion for one in records] == ["neu", "hap", "ang", "sad", "hap", "hap"]
    assert classes == ("neu", "hap", "ang", "sad")


def test_all_of_iemocaps_words_stand_for_themselves_but_the_lack_of_agreement(iemocap):
    records, classes = read(root=iemocap, labels="all")
    assert len(records) == 8
    assert classes == ("neu", "hap", "ang", "sad", "exc", "fru")


def test_a_map_names_a_class_for_every_word_and_keeps_the_word(iemocap):
    words = {"neu": "calm", "hap": "high", "exc": "high", "ang": "high", "sad": "low", "fru": None}
    records, classes = read(root=iemocap, labels={"map": words})
    assert classes == ("calm", "high", "low")
    assert [one.emotion for one in records] == ["calm", "high", "high", "low", "high", "high"]
    assert [one.label("original") for one in records] == ["neu", "hap", "ang", "sad", "exc", "exc"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"neu": "neu", "hap": "hap"},
            "`downstream_expert.datarc.labels.map` lacks words of the corpus (null leaves one "
            "out): ang, exc, fru, sad. The corpus has ang, exc, fru, hap, neu, sad.",
        ),
        (
            {**dict.fromkeys(("neu", "hap", "ang", "sad", "exc", "fru"), "a"), "calm": "neu"},
            "`downstream_expert.datarc.labels.map` has words that the corpus does not: calm. "
            "The corpus has ang, exc, fru, hap, neu, sad.",
        ),
    ],
)
def test_a_map_that_is_not_total_is_refused(iemocap, words, message):
    with pytest.raises(ConfigError) as error:
        read(root=iemocap, labels={"map": words})
    assert str(error.value) == message


def test_a_single_class_is_refused(iemocap):
    words = dict.fromkeys(("neu", "hap", "ang", "sad", "exc", "fru"), "speech")
    with pytest.raises(DataError) as error:
        read(root=iemocap, labels={"map": words})
    assert str(error.value) == (
        "The emotion corpus has a single class, `speech`, under `labels`: there is nothing to "
        "tell apart."
    )


@pytest.mark.parametrize("labels", ["five", {"map": {}}, {"map": {"neu": 3}}, {"mapp": {"a": "b"}}])
def test_labels_that_are_none_are_refused_before_anything_is_read(labels):
    with pytest.raises(ConfigError, match=r"`config\.downstream_expert\.datarc\.labels` must be"):
        config.parse({"downstream_expert": {"datarc": {"labels": labels}}})


def test_a_manifest_is_four_unless_it_is_asked_otherwise(six_classes):
    manifest = {"corpus": "manifest", "manifest": str(six_classes)}
    assert {one.emotion for one in read(**manifest)[0]} == set(SIX)  # refused by check_records
    records, classes = read(**manifest, labels="four")
    assert (len(records), classes) == (40, SIX[:4])
    assert read(**manifest, labels="all")[1] == SIX


def test_six_classes_train_are_scored_and_predicted(
    six_classes, tiny_corpora, tiny_hubert, tmp_path
):
    from spknorm.predict import load

    data = {"corpus": "manifest", "manifest": str(six_classes), "labels": "all", "root": None}
    settings = tiny_runs.settings_of(
        tiny_corpora, strategy="none", expert={"datarc": data}, total_steps=2
    )
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["test"]["classes"] == list(SIX)
    assert np.array(result["test"]["confusion"]).sum(axis=1).tolist() == [2] * 6
    (tmp_path / "run/result.json").unlink()  # the checkpoint knows its classes by itself
    probabilities = load(tmp_path / "run").predict(np.ones(6400, "float32"), 16000)
    assert tuple(probabilities) == SIX
