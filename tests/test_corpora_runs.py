"""Each layout end to end: a small tree with voices, the doctor, a training of two steps."""

import json

import pytest
import tiny_runs

from spknorm import config
from spknorm.corpora.known import CORPORA
from spknorm.demo.corpus_trees import TREES, write_tree
from spknorm.doctor import examine, status_of
from spknorm.protocols import folds_of
from spknorm.schema import DataConfig


def settings_of(root, corpus, tiny_corpora, **data):
    """Independent of speakers where they are known and more than two."""
    by_speaker = {"protocol": "loso-group", "groups": 3, "dev": "speaker_disjoint"}
    protocol = (
        {"protocol": "sd", "dev": "superb"} if corpus in ("tess", "msp_podcast") else by_speaker
    )
    section = {"corpus": corpus, "root": str(root), **protocol, **data}
    return tiny_runs.settings_of(
        tiny_corpora, strategy="none", expert={"datarc": section}, total_steps=2
    )


def some(corpora):
    """All of them are slow; one is run each time."""
    return [one if one in ("savee", "vctk") else pytest.param(one, marks=pytest.mark.slow)
            for one in corpora]  # fmt: skip


@pytest.mark.parametrize("corpus", some(one for one in TREES if "emotion" in CORPORA[one].roles))
def test_it_is_found_examined_and_trained_on(
    corpus, tiny_corpora, tiny_hubert, tmp_path, monkeypatch
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    few = corpus in ("tess", "msp_podcast")
    written = write_tree(tmp_path / "tree", corpus, num_speakers=4, per_emotion=3 if few else 1)
    further = {"labels": "all"} if corpus == "meld" else {}  # minor roles have one clip each
    settings = settings_of(tmp_path / "tree", corpus, tiny_corpora, **further)
    checks = examine(config.parse(settings), folder=tmp_path / "result", audio=True)
    assert [check for check in checks if check.status == "fail"] == []
    said = next(check.detail for check in checks if check.name == "emotion corpus")
    speakers = {name.speaker for name in written} - {"Unknown"}
    assert said.startswith(f"{corpus}: ")
    assert f"of {len(speakers)} speakers" in said
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["test"]["n"] > 0
    assert result["steps"] == 2
    begins = "Ses" if corpus == "iemocap" else f"{corpus}_"  # its names are as s3prl's users know
    assert all(name.startswith(begins) for name in result["test"]["by_speaker"])


@pytest.mark.parametrize("corpus", some(one for one in TREES if CORPORA[one].roles == ("speaker",)))
def test_a_speaker_corpus_is_examined_and_normalised_away(
    corpus, tiny_corpora, tiny_hubert, tmp_path
):
    written = write_tree(tmp_path / "tree", corpus, num_speakers=20)
    settings = tiny_runs.settings_of(
        tiny_corpora,
        strategy="TAP",
        expert={"speaker_corpus": {"corpus": corpus, "root": str(tmp_path / "tree")}},
        total_steps=2,
    )
    checks = examine(config.parse(settings), folder=tmp_path / "result", audio=True)
    assert [check for check in checks if check.status == "fail"] == []
    said = next(check.detail for check in checks if check.name == "speaker corpus")
    assert said.startswith(f"{corpus}: ")
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["corpora"]["speaker"]["num_utterances"] <= len(written)


def test_eight_classes_train_predict_and_export_independently_of_the_speaker(
    tiny_corpora, tiny_hubert, tmp_path
):
    from spknorm.export import export
    from spknorm.predict import load

    write_tree(tmp_path / "tree", "ravdess", num_speakers=4, per_emotion=2)
    settings = settings_of(tmp_path / "tree", "ravdess", tiny_corpora, labels="all")
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    classes = ["neu", "hap", "ang", "sad", "calm", "dis", "fea", "sur"]
    assert result["test"]["classes"] == classes
    wav = next((tmp_path / "tree").rglob("*.wav"))
    (row,) = load(tmp_path / "run").predict_file(wav)
    assert list(row.probabilities) == classes
    exported = export(tmp_path / "run").folder
    labels = json.loads(next(exported.rglob("config.json")).read_text())["id2label"]
    assert list(labels.values()) == classes
    card = next(exported.rglob("README.md")).read_text()
    assert "RAVDESS (speech): CC BY-NC-SA 4.0; a commercial licence is sold" in card


def test_without_sessions_the_doctor_says_what_to_take_instead(tiny_corpora, tmp_path):
    write_tree(tmp_path / "tree", "casia", num_speakers=4, per_emotion=1)
    settings = settings_of(tmp_path / "tree", "casia", tiny_corpora, protocol="si5", dev="superb")
    checks = examine(config.parse(settings), folder=tmp_path / "result")
    assert status_of(checks) == "fail"
    said = next(check.detail for check in checks if check.name == "si5 fold1")
    assert "(protocol loso-group, dev speaker_disjoint)" in said
    assert folds_of(DataConfig(protocol="loso-group", groups=3)) == ("fold1", "fold2", "fold3")
