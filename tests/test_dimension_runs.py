"""Short runs on the demo's trees that predict dimensions, learn from votes, or weigh classes."""

import json
from functools import partial

import pytest
import tiny_runs

from spknorm.cli import main
from spknorm.errors import ConfigError
from spknorm.runs.resume import stock

DIMENSIONS = ["arousal", "valence", "dominance"]


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """A manifest of tones with sentences, dimensions, speakers of eight, and an odd scale."""
    return tiny_runs.make_rated(tmp_path_factory.mktemp("rated"))


def settings(corpora, rated, *, strategy="none", runner=None, **data):
    section = {
        "corpus": "manifest", "manifest": str(rated), "root": str(rated.parent),
        "protocol": "loso-group", "groups": 4, "train_batch_size": 16, **data,
    }  # fmt: skip
    return tiny_runs.settings_of(
        corpora, strategy=strategy, expert={"datarc": section}, **(runner or {})
    )


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("strategy", ["none", "TAP"])
def test_dimensions_are_trained_with_their_sums_by_speaker(
    strategy, tiny_corpora, tiny_hubert, rated, tmp_path
):
    mapping = settings(
        tiny_corpora, rated, strategy=strategy, targets="dimensions", runner={"total_steps": 2}
    )
    tiny_runs.train(tiny_hubert, mapping, tmp_path / "run")
    result = result_of(tmp_path / "run")
    assert (result["dev"], result["test"]) == (None, None)
    found = result["dimensions"]
    assert found["names"] == DIMENSIONS
    assert (found["low"], found["high"]) == (1.0, 7.0)
    assert set(found["test"]["ccc"]) == set(found["dev"]["ccc"]) == set(DIMENSIONS)
    sums = found["test"]["by_speaker"]
    assert len(sums) == 2
    assert sum(speaker["arousal"][0] for speaker in sums.values()) == found["test"]["n"] == 16
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert "ccc_valence" in lines[0]
    assert "wa" not in lines[0]
    assert result["split"] == {
        "protocol": "loso-group",
        "title": "groups of speakers held out (speaker-independent)",
        "dev": "speaker_disjoint", "unseen": "speakers",
        "leaks": [], "trained_on": [], "tested_on": [],
    }  # fmt: skip
    row = (tmp_path / "run/test_fold1_predict.txt").read_text().splitlines()[0]
    assert len(row.split()[1].split(",")) == 3


def test_a_run_of_dimensions_goes_on_bit_for_bit(tiny_corpora, tiny_hubert, rated, tmp_path):
    mapping = settings(
        tiny_corpora, rated, strategy="TAP", targets="dimensions", runner={"total_steps": 4}
    )
    tiny_runs.train(tiny_hubert, mapping, tmp_path / "whole")
    short = settings(
        tiny_corpora, rated, strategy="TAP", targets="dimensions", runner={"total_steps": 2}
    )
    tiny_runs.train(tiny_hubert, short, tmp_path / "parts")
    tiny_runs.train(tiny_hubert, mapping, tmp_path / "parts", resume=True)
    whole, parts = (result_of(tmp_path / name) for name in ("whole", "parts"))
    assert whole["dimensions"] == parts["dimensions"]
    one, other = (tiny_runs.weights_of(tmp_path / name) for name in ("whole", "parts"))
    assert all((one[name] == other[name]).all() for name in one)


def test_after_another_corpus_any_ccc_is_the_best_so_far(
    tiny_corpora, tiny_hubert, rated, tmp_path, monkeypatch
):
    """Under s3prl's Runner, which goes on with the score of a checkpoint."""
    mapping = settings(tiny_corpora, rated, targets="dimensions")
    expert = tiny_runs.make_runner(tiny_hubert, mapping, tmp_path).expert
    expert.best_score.fill_(0.7)
    monkeypatch.setattr(stock, "begin", lambda *_, is_leader: False)
    expert.get_dataloader("train")
    assert expert.best_score.item() == -1.0


def test_dimensions_are_predicted_and_exported_on_the_corpus_own_scale(
    tiny_corpora, tiny_hubert, rated, tmp_path
):
    import torch
    from transformers import HubertForSequenceClassification

    from spknorm.audio import load_audio
    from spknorm.export import export
    from spknorm.predict import load, to_csv
    from spknorm.predict.page import write_page
    from spknorm.predict.serve import Server

    mapping = settings(
        tiny_corpora, rated, targets="dimensions", scale=[0, 8], runner={"total_steps": 2}
    )
    tiny_runs.train(tiny_hubert, mapping, tmp_path / "run")
    wav = rated.parent / "03.wav"
    predictor = load(tmp_path / "run")
    (row,) = predictor.predict_file(wav)
    assert row.emotion is None
    page = str(tmp_path / "page.html")
    assert main(["predict", str(tmp_path / "run"), str(wav), "--page", page]) == 2
    for show in (partial(write_page, [row], page, model=""), partial(Server, predictor, model="")):
        with pytest.raises(ConfigError, match="but this model predicts arousal, valence"):
            show()
    assert list(row.dimensions) == DIMENSIONS
    assert to_csv(row, header=True).startswith("path,start,end,arousal,valence,dominance\n")
    exported = export(tmp_path / "run")
    assert exported.classifier
    model = HubertForSequenceClassification.from_pretrained(exported.folder).eval()
    assert model.config.problem_type == "regression"
    with torch.no_grad():
        logits = model(torch.from_numpy(load_audio(wav))[None]).logits[0]
    assert logits.tolist() == pytest.approx([*row.dimensions.values()], abs=1e-4)
    card = (exported.folder / "README.md").read_text()
    assert "| arousal | " in card
    assert "values on 0 to 8" in card


def test_s3prls_own_runner_trains_dimensions_too(tiny_corpora, tiny_hubert, rated, tmp_path):
    from s3prl.downstream.runner import Runner

    mapping = settings(
        tiny_corpora,
        rated,
        targets="dimensions",
        runner={"engine": "s3prl", "total_steps": 2},
    )
    mapping["optimizer"].pop("groups")
    mapping.pop("upstream")
    runner = tiny_runs.make_runner(tiny_hubert, mapping, tmp_path / "run", runner=Runner)
    runner.train()
    assert set(result_of(tmp_path / "run")["dimensions"]["test"]["ccc"]) == set(DIMENSIONS)


def test_balanced_classes_and_selection_by_macro_f1_change_what_is_said_and_nothing_else_is_lost(
    tiny_corpora, tiny_hubert, rated, tmp_path
):
    plain = settings(tiny_corpora, rated)
    weighed = settings(
        tiny_corpora, rated, class_weights="balanced", runner={"select_by": "macro_f1"}
    )
    for name, mapping in (("plain", plain), ("weighed", weighed)):
        tiny_runs.train(tiny_hubert, mapping, tmp_path / name)
    losses = []
    for name in ("plain", "weighed"):
        text = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        lines = [json.loads(line) for line in text]
        losses.append([line["emotion_loss"] for line in lines if line["split"] == "train"])
        dev = [line for line in lines if line["split"] == "dev"]
        best = result_of(tmp_path / name)["best_step"]
        metric = "macro_f1" if name == "weighed" else "wa"
        assert next(one for one in dev if one["step"] == best)[metric] == max(
            one[metric] for one in dev
        )
    assert losses[0] != losses[1]


def test_a_class_that_is_not_tested_is_named_in_result_and_log(
    tiny_corpora, tiny_hubert, rated, tmp_path, caplog
):
    lines = rated.read_text().splitlines()
    kept = [line for line in lines if not (",ang,s0," in line or ",ang,s1," in line)]
    file = rated.parent / "without.csv"
    file.write_text("\n".join(kept) + "\n")
    mapping = settings(tiny_corpora, file, protocol="loso", runner={"total_steps": 2})
    tiny_runs.train(tiny_hubert, mapping, tmp_path / "run")
    assert result_of(tmp_path / "run")["test"]["ua_over"] == ["neu", "hap", "sad"]
    said = "The test part has no utterance of ang: UA and macro-F1 are over 3 of 4 classes."
    assert said in caplog.text


def test_a_scale_that_is_too_narrow_is_refused_before_training(
    tiny_corpora, tiny_hubert, rated, tmp_path
):
    mapping = settings(tiny_corpora, rated, targets="dimensions", scale=[1, 5])
    with pytest.raises(ConfigError, match="outside the scale 1 to 5"):
        tiny_runs.make_runner(tiny_hubert, mapping, tmp_path / "run")
