import contextlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from audit_benches import EMOTIONS, make_audit_corpora, make_bench, quicken
from trained_folders import make_trained

from spknorm.errors import ConfigError, DataError, MissingError
from spknorm.probe.arrays import Layers
from spknorm.probe.audit import audit, judging, pooling, probing, table

NUM_EMOTIONAL = 5 * 2 * 10
NUM_SPEAKING = 4 * 10


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    return make_audit_corpora(tmp_path_factory.mktemp("corpora"))


@contextlib.contextmanager
def _counted():
    """Count the utterances that an upstream hears."""
    from s3prl.upstream.hubert.expert import UpstreamExpert

    count = []
    forward = UpstreamExpert.forward

    def counting(self, wavs):
        count.append(sum(len(wav) != 16000 for wav in wavs))  # s3prl's Featurizer tries a second
        return forward(self, wavs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UpstreamExpert, "forward", counting)
        yield count


class Audited(NamedTuple):
    """A benchmark's folder, its audit, and how many utterances were heard for it."""

    folder: Path
    rows: list
    num_heard: int
    num_heard_again: int


@pytest.fixture(scope="module")
def audited(tmp_path_factory, corpora, tiny_hubert):
    """The audit of a benchmark with a run of every stage, done twice, with a cache of its own."""
    root = tmp_path_factory.mktemp("audited")
    stages = ("none", "SNP", "TAP", "SNP-frozen", "none-frozen")
    folder = make_bench(root / "bench", corpora, tiny_hubert, *stages)
    with pytest.MonkeyPatch.context() as patch, _counted() as heard:
        patch.setenv("SPKNORM_CACHE", str(root / "cache"))
        quicken(patch)
        rows = audit(folder)
        first = sum(heard)
        audit(folder / "TAP")
        return Audited(folder, rows, first, sum(heard) - first)


@pytest.fixture(scope="module")
def unaudited(tmp_path_factory, corpora, tiny_hubert):
    """A benchmark's folder with a run of SNP, to be copied, and a cache for all."""
    root = tmp_path_factory.mktemp("unaudited")
    return make_bench(root / "bench", corpora, tiny_hubert, "SNP"), root / "cache"


@pytest.fixture
def single(tmp_path, unaudited, monkeypatch):
    """A benchmark's folder of the test's own with a run of SNP; probes that learn as in use."""
    folder, cache = unaudited
    monkeypatch.setenv("SPKNORM_CACHE", str(cache))
    monkeypatch.setattr(probing, "KINDS", ("linear", "eer"))
    return shutil.copytree(folder, tmp_path / "bench")


@pytest.fixture
def quick(single, monkeypatch):
    """The same, whose probes learn little."""
    quicken(monkeypatch)
    return single


def test_each_upstream_hears_each_utterance_once(audited):
    num_upstreams = 5  # raw, none, SNP, TAP and SNP on the raw one; frozen none is the raw one
    assert audited.num_heard == num_upstreams * (NUM_EMOTIONAL + NUM_SPEAKING)
    assert audited.num_heard_again == 0


def test_every_stage_stands_beside_its_controls(audited):
    rows = audited.rows
    kinds = {(row.stage, row.frozen) for row in rows}
    assert kinds == {("raw", True), ("none", False), ("SNP", False), ("TAP", False), ("SNP", True)}
    for stage, frozen in kinds:
        for corpus in ("speaker", "emotion"):
            found = {
                (row.probe, row.control)
                for row in rows
                if (row.stage, row.frozen, row.corpus) == (stage, frozen, corpus)
                and (row.label, row.layer) == ("speaker", "head")
                and row.control != "chance"
            }
            assert found == {
                (probe, control)
                for probe in ("linear", "mlp", "knn", "eer")
                for control in (None, "shuffled")
            }
        assert any(
            row.label == "emotion" and (row.stage, row.frozen) == (stage, frozen) for row in rows
        )
    chance = [row for row in rows if row.control == "chance" and row.probe == "linear"]
    assert {(row.corpus, row.label): row.accuracy for row in chance} == {
        ("speaker", "speaker"): 0.25,
        ("emotion", "speaker"): 0.1,
        ("emotion", "emotion"): 0.3,
    }


def test_probe_json_lies_beside_each_result_and_reads_as_a_report_wants_it(audited):
    from spknorm import runs

    for name, stages in (
        ("none", {"raw", "none"}),
        ("SNP", {"raw", "SNP"}),
        ("TAP", {"raw", "TAP"}),
        ("SNP-frozen", {"raw", "SNP"}),
        ("none-frozen", {"raw"}),
    ):
        content = json.loads((audited.folder / name / "probe.json").read_text())
        assert content["schema"] == "spknorm.probe/1"
        assert {row["stage"] for row in content["rows"]} == stages
        # TAP was audited once more, without its control: the rows of the first time stay.
        off = {row["stage"] for row in content["adversary_off"]}
        assert off == ({"none"} if name in ("SNP", "TAP") else set())
        assert content["complete"] is True
    results = runs.read(audited.folder)
    assert sum(len(run.probes) for run in results.runs) > 100


def test_features_for_a_picture_are_small_and_told_apart(audited):
    from spknorm.runs.pooled import read_features

    paths = sorted(audited.folder.rglob("features_*.npz"))
    assert {read_features(path).stage for path in paths} == {"raw", "none", "SNP", "TAP"}
    for path in paths:
        with np.load(path) as file:
            assert file["features"].dtype == np.float16
            assert file["features"].shape == (NUM_EMOTIONAL, 32)
            assert set(file["emotion"]) == set(EMOTIONS)
            assert len(set(file["speaker"])) == 10


def test_one_run_of_each_variant_is_probed_unless_all_are_asked_for(quick, tiny_hubert, corpora):
    make_trained(
        quick / "SNP-fold2",
        tiny_hubert,
        strategy="SNP",
        datarc={
            "corpus": "manifest",
            "manifest": str(corpora / "emotion.csv"),
            "test_fold": "fold2",
        },
        speaker_corpus={"corpus": "manifest", "manifest": str(corpora / "speaker.csv")},
    )
    told = []
    audit(quick, tell=told.append)
    assert len(told) == 2
    rows = audit([quick / "SNP", quick / "SNP-fold2"], every_run=True)
    assert {row.run for row in rows if row.stage == "SNP"} == {"SNP", "SNP-fold2"}
    assert " (2 runs)  " in table(rows)


def test_any_column_and_every_layer_can_be_probed(quick):
    rows = audit(quick, labels=("channel",), every_layer=True)
    layers = {row.layer for row in rows if row.stage == "SNP" and row.label == "channel"}
    assert layers == {"head", "weighted", "0", "1", "2"}
    assert {row.layer for row in rows if row.stage == "raw"} == {"head", "weighted", "0", "1", "2"}
    channel = next(row for row in rows if row.label == "channel")
    assert (channel.corpus, channel.num_classes) == ("speaker", 2)


def test_a_column_is_asked_of_each_corpus_that_has_it(quick):
    asked = {(row.corpus, row.label) for row in audit(quick, labels=("speaker", "session"))}
    assert asked == {
        ("speaker", "speaker"),
        ("emotion", "speaker"),
        ("emotion", "session"),
        ("emotion", "emotion"),
    }


def test_the_table_has_a_line_per_probe_and_control_and_a_column_per_stage(audited):
    upstream, head, *lines = table(audited.rows).splitlines()
    assert upstream == "hubert_local"
    assert re.split("  +", head) == [
        *("corpus", "label", "probe", "layer", "control"),
        *("raw", "none", "SNP", "SNP (frozen)", "TAP", "chance", "n"),
    ]
    first, shuffled = (re.split("  +", line) for line in lines[:2])
    interval = r"\d+\.\d \[\d+\.\d to \d+\.\d\]"
    assert first[:4] == ["speaker", "speaker", "linear", "head"]
    assert all(re.fullmatch(interval, cell) for cell in first[4:9])
    assert first[9:] == ["25.0", "8"]
    assert shuffled[:5] == ["speaker", "speaker", "linear", "head", "shuffled"]
    assert all(re.fullmatch(interval, cell) for cell in shuffled[5:10])
    assert sum(line.startswith("emotion  emotion  linear") for line in lines) == 4


def test_what_cannot_be_audited_is_told(tmp_path, quick):
    (tmp_path / "none").mkdir()
    with pytest.raises(MissingError) as caught:
        audit(tmp_path / "none")
    assert str(caught.value) == (
        f"{tmp_path / 'none'} holds no finished experiment (no dev-best.ckpt in it or below it)."
    )
    with pytest.raises(DataError):
        audit(quick, labels=("weather",))


def test_an_audit_finds_speakers_where_they_are(single, monkeypatch):
    """Features that are the speaker's pitch: every probe must name it, and say so of no other."""

    def pitch(run, reader, utterances, corpus):
        number = np.array([int(u.speaker[-1]) for u in utterances])
        generator = np.random.default_rng(0)
        scale = 1 + generator.normal(0, 0.01, (len(number), 1, 1))
        found = (scale * np.eye(12)[number][:, None]).repeat(2, axis=1)
        return Layers.of(found.astype(np.float32))

    monkeypatch.setattr(pooling, "read_through", pitch)
    rows = audit(single)
    for row in rows:
        if row.label == "speaker" and row.control is None:
            assert row.accuracy == (0.0 if row.probe == "eer" else 1.0)
        if row.control == "shuffled" and row.probe == "linear" and row.corpus == "emotion":
            assert row.accuracy < 0.5


@pytest.fixture
def deaf(single, tmp_path, monkeypatch):
    """A verifier that hears the pitch, and nobody in what `deaf` names; counts what it hears."""
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))  # it has heard nothing yet
    heard, deaf = [], []

    def load(device="cpu"):
        def hears(wave):
            heard.append(len(wave))
            return np.zeros(256, np.float32) if deaf else _pitch_code(wave)

        return hears

    monkeypatch.setattr(judging, "load_verifier", load)
    monkeypatch.setattr(judging, "version", lambda name: "of a test")
    return deaf, heard


def _pitch_code(wave):
    spectrum = np.abs(np.fft.rfft(wave, 4096))[:256]
    return (spectrum / np.linalg.norm(spectrum)).astype(np.float32)


def test_an_independent_verifier_judges_recordings_once_and_features_of_every_stage(quick, deaf):
    rows = audit(quick, verifier=True)
    judged = {
        (row.stage, row.corpus, row.layer, row.control): row
        for row in rows
        if row.probe == "verifier"
    }
    layers = {"raw": ("recording", "head"), "SNP": ("head",)}
    assert set(judged) == {
        (stage, corpus, layer, control)
        for stage in layers
        for corpus in ("speaker", "emotion")
        for layer in layers[stage]
        for control in (None, "shuffled")
    }
    assert judged["raw", "emotion", "recording", None].accuracy < 0.05
    assert judged["raw", "emotion", "recording", "shuffled"].accuracy == pytest.approx(0.5, abs=0.1)
    assert judged["raw", "emotion", "head", None].num_classes == 10
    assert len(deaf[1]) == NUM_EMOTIONAL + NUM_SPEAKING
    lines = [line.split() for line in table(rows).splitlines()]
    assert [line for line in lines if line[:4] == ["emotion", "speaker", "verifier", "recording"]]
    asked = json.loads((quick / "SNP" / "probe.json").read_text())["asked"]
    assert asked["verifier"] is True
    assert audit(quick, verifier=True) == rows
    assert len(deaf[1]) == NUM_EMOTIONAL + NUM_SPEAKING


def test_without_the_verifier_probe_json_is_as_it_was(quick):
    rows = audit(quick)
    assert "verifier" not in json.loads((quick / "SNP" / "probe.json").read_text())["asked"]
    assert not any(row.probe == "verifier" or row.layer == "recording" for row in rows)


def test_recordings_in_which_the_verifier_hears_nobody_are_told(quick, deaf):
    deaf[0].append("all")
    text = (
        "The verifier hears someone speak in 0 of 40 recordings of the speaker corpus: "
        "Verification needs two speakers and two utterances of one of them in the test set."
    )
    with pytest.raises(DataError, match=re.escape(text)):
        audit(quick, verifier=True)


def test_a_verifier_that_is_not_installed_is_told_before_anything_is_heard(quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    with pytest.raises(ConfigError, match=r"^The independent verifier needs Resemblyzer"):
        audit(quick, verifier=True)
    assert not (quick / "SNP" / "probe.json").exists()
