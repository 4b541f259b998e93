"""Several corpora in one run: what trains, what is tested, on whose scale; rows of a bench."""

import json

import numpy as np
import pytest
import soundfile
import tiny_runs

from spknorm.batches.emotions import read_emotions
from spknorm.bench.entries import as_protocols, folds_in
from spknorm.errors import ConfigError, DataError
from spknorm.schema import DataConfig, resolved_dev


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Three manifests of tones: `a` of four classes on 1 to 5, `b` of three on 1 to 9, `t`."""
    folder = tmp_path_factory.mktemp("several")
    for name, classes, top in (("a", "neu hap ang sad", 5), ("b", "neu hap ang", 9),
                               ("t", "neu hap sad ang", 5)):  # fmt: skip
        lines = ["path,emotion,speaker,session,arousal,valence"]
        for number in range(24):
            tone = np.sin(np.arange(4800) * (0.05 + number / 100 + len(classes) / 1e3)) / 4
            soundfile.write(folder / f"{name}{number}.wav", tone, 16000)
            emotion = classes.split()[number % len(classes.split())]
            value = 1 + (top - 1) * (number % 5) / 4
            speaker = f"s{number // 4}"
            lines.append(
                f"{name}{number}.wav,{emotion},{speaker},Session1,{value},{top + 1 - value}"
            )
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def data(folder, **known):
    return DataConfig(
        **{
            "corpus": "manifest", "manifest": str(folder / "a.csv"), "protocol": "cross",
            "train_with": ("b",), "test_on": ("t",), "labels": "all",
            "roots": {"b": str(folder / "b.csv"), "t": str(folder / "t.csv")}, **known,
        }
    )  # fmt: skip


def read(folder, tmp_path, **known):
    return read_emotions(data(folder, **known), fold="fold1", seed=0, work_dir=tmp_path)


def test_classes_in_common_are_worked_out_and_dev_is_of_the_sources(corpora, tmp_path, caplog):
    caplog.set_level("INFO")
    found = read(corpora, tmp_path)
    assert found.names == ("neu", "hap", "ang")
    assert "Classes in common: neu, hap, ang" in caplog.text
    assert "12 utterances of others are left out" in caplog.text
    said = found.splitting
    assert (said.trained_on, said.tested_on) == (("manifest", "b"), ("t",))
    assert said.dev == "speaker_disjoint"
    where = [{one.id.partition(":")[0] for one in part} for part in found.split]
    assert where == [{"manifest", "b"}, {"manifest", "b"}, {"t"}]
    # s0 of one manifest is not s0 of another
    assert {one.speaker for one in found.split.test} == {f"t:s{n}" for n in range(6)}


def test_dimensions_of_several_corpora_lie_on_one_scale(corpora, tmp_path):
    found = read(corpora, tmp_path, targets="dimensions")
    assert (found.names, found.scale) == (("arousal", "valence"), (-1.0, 1.0))
    for part in ("train", "dev", "test"):
        values = np.array(found.labels_of(part))
        assert values.min() == -1
        assert values.max() == 1


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"test_on": ("b",)}, "and what trains both name `b`"),
        ({"test_on": ("nobody",)}, "`nobody` is none of the corpora"),
        ({"test_on": ("manifest",)}, "and what trains both name `manifest`"),
    ],
)
def test_corpora_that_cannot_be_told_apart_or_found_are_refused(corpora, tmp_path, known, message):
    with pytest.raises(ConfigError, match=message):
        read(corpora, tmp_path, **known)


def test_a_speaker_of_the_target_who_trains_is_refused_unless_that_is_allowed(
    corpora, tmp_path, monkeypatch
):
    from spknorm.protocols import cross

    monkeypatch.setattr(cross, "_SAME_PEOPLE", {"t": "b"})
    with pytest.raises(DataError, match="share speakers, which cross forbids: b:s1, b:s2"):
        read(corpora, tmp_path)
    leaks = read(corpora, tmp_path, allow_leak=True).splitting.leaks
    assert leaks[0].startswith("6 of 6 test speakers also train, in 18 of 18 test utterances")


def test_a_run_across_corpora_says_what_it_trained_and_tested_on(
    corpora, tiny_corpora, tiny_hubert, tmp_path
):
    section = {
        key: value for key, value in vars(data(corpora)).items()
        if key in ("corpus", "manifest", "protocol", "train_with", "test_on", "labels", "roots")
    }  # fmt: skip
    settings = tiny_runs.settings_of(
        tiny_corpora, strategy="TAP", expert={"datarc": {**section, "root": None}}, total_steps=2
    )
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["split"]["trained_on"] == ["manifest", "b"]
    assert result["split"]["tested_on"] == ["t"]
    assert result["test"]["classes"] == ["neu", "hap", "ang"]
    assert all(name.startswith("t:") for name in result["test"]["by_speaker"])


def test_dev_is_honest_by_default_but_for_si5_on_iemocap():
    def dev(protocol, corpus, base="si5", asked="auto"):
        return resolved_dev(asked, protocol=protocol, base=base, corpus=corpus)

    assert dev("si5", "iemocap") == dev("low_resource", "iemocap") == dev("sd", "tess") == "superb"
    assert dev("si5", "manifest") == dev("loso-group", "iemocap") == "speaker_disjoint"
    assert dev("cross", "iemocap") == dev("low_resource", "manifest") == "speaker_disjoint"
    assert dev("official", "meld") == dev("emobox", "ravdess") == "given"
    assert dev("si5", "manifest", asked="superb") == "superb"


def test_one_entry_of_a_bench_is_a_row_of_the_matrix_per_corpus():
    (first, second) = as_protocols({"protocol": "cross", "corpora": ["a", "b"]})
    assert (first.protocol, first.called, second.called) == ("cross", "cross-a", "cross-b")
    assert first.data == {"protocol": "cross", "corpus": "a", "test_on": ["b"]}
    others = as_protocols({"protocol": "cross", "corpora": ["a", "b", "c"], "train": "others"})
    assert [one.called for one in others] == ["cross-to-a", "cross-to-b", "cross-to-c"]
    assert (others[0].data["corpus"], others[0].data["train_with"]) == ("b", ["c"])
    assert others[0].data["test_on"] == ["a"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"protocol": "si5", "corpora": ["a", "b"]}, "`corpora` belongs to the protocol cross"),
        ({"protocol": "cross", "corpora": ["a"]}, "a list of two and more"),
        ({"protocol": "cross", "corpora": ["a", "b"], "train": "all"}, "each"),
    ],
)
def test_an_entry_that_means_nothing_is_refused(entry, message):
    with pytest.raises(ConfigError, match=message):
        as_protocols(entry)


def test_folds_are_those_of_the_protocol_its_corpus_and_what_is_unseen():
    config = {"downstream_expert": {"datarc": {"corpus": "msp_improv"}}}
    six = [f"fold{number}" for number in range(1, 7)]

    def folds_of(entry):
        (protocol,) = as_protocols(entry)
        return folds_in(protocol, config)

    assert folds_of("emosuperb") == six
    assert folds_of("official") == ["fold1"]
    assert folds_of({"protocol": "si5", "unseen": "sentences", "groups": 3}) == six[:3]
    with pytest.raises(ConfigError, match=r"emobox must be named, as \[fold1, fold2\]: its lists"):
        folds_of("emobox")
    with pytest.raises(ConfigError, match="audb is known for"):
        folds_of("audb")
