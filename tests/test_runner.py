"""The trainer: what it writes, what it refuses, and that an interruption changes nothing."""

import json
import traceback
from pathlib import Path

import pytest
import torch
from killed_runs import metrics_of
from tiny_runs import make_runner, settings_of, train

from spknorm.errors import ConfigError
from spknorm.method.model import Heads
from spknorm.runs import checkpoint, trained

LIBRARY = Path(checkpoint.__file__).parents[1]


def test_a_run_leaves_what_s3prl_leaves_and_its_own_results(undisturbed):
    folder = undisturbed("TAP", "literal")
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "states-6.ckpt", "dev-best.ckpt", "log.log", "metrics.jsonl", "result.json",
        "dev_fold1_predict.txt", "dev_fold1_truth.txt",
        "test_fold1_predict.txt", "test_fold1_truth.txt",
    }  # fmt: skip
    assert "states-4.ckpt" not in names
    assert any(name.startswith("events.out.tfevents") for name in names)
    states = checkpoint.read(folder / "states-6.ckpt")
    assert set(states) == {
        "Optimizer", "Step", "Epoch", "Args", "Config", "Upstream", "Featurizer", "Downstream",
        "Spknorm",
    }  # fmt: skip
    assert (states["Step"], states["Epoch"]) == (6, 0)


def test_metrics_have_a_line_for_every_logged_step_and_test_comes_once(undisturbed):
    lines = metrics_of(undisturbed("TAP", "literal"))
    assert [(line["step"], line["split"]) for line in lines[:-1]] == [
        (1, "train"), (2, "train"), (2, "dev"), (3, "train"), (4, "train"), (4, "dev"),
        (5, "train"), (6, "train"), (6, "dev"),
    ]  # fmt: skip
    result = json.loads((undisturbed("TAP", "literal") / "result.json").read_text())
    assert (lines[-1]["split"], lines[-1]["step"]) == ("test", result["best_step"])
    assert set(lines[0]) == {
        "step", "split", "emotion_loss", "wa", "ua", "macro_f1", "speaker_loss", "speaker_accuracy",
        "speaker_gain", "held_out_loss", "held_out_accuracy", "log_num_speakers",
        "speaker_lambda", "lr", "grad_norm", "ascent_share", "ascent_angle", "ascents_clipped",
        "ascents_paused", "ascents_skipped", "drift", "speaker_batches",
    }  # fmt: skip
    assert set(lines[0]["grad_norm"]) == {"upstream", "emotion_head", "speaker_head", "ascent"}
    assert lines[0]["speaker_lambda"] == 1e-3


def test_predictions_and_result_are_those_of_the_best_dev_step(undisturbed, tiny_hubert):
    folder = undisturbed("TAP", "reversal")
    result = json.loads((folder / "result.json").read_text())
    best = checkpoint.read(folder / "dev-best.ckpt")
    assert best["Step"] == result["best_step"]
    dev = [line for line in metrics_of(folder) if line["split"] == "dev"]
    assert result["dev"]["wa"] == max(line["wa"] for line in dev)
    for split in ("dev", "test"):
        pairs = [
            (folder / f"{split}_fold1_{kind}.txt").read_text().splitlines()
            for kind in ("predict", "truth")
        ]
        hits = sum(one == other for one, other in zip(*pairs, strict=True))
        assert hits / len(pairs[0]) == pytest.approx(result[split]["wa"])
    assert set(result["test"]["by_speaker"]) == {"Ses01_F", "Ses01_M"}
    assert sum(map(sum, result["test"]["confusion"])) == result["test"]["n"] == 10


def test_a_new_run_does_not_write_over_an_earlier_one(tiny_hubert, tiny_corpora, tmp_path):
    train(tiny_hubert, settings_of(tiny_corpora, total_steps=2), tmp_path)
    with pytest.raises(ConfigError) as refused:
        train(tiny_hubert, settings_of(tiny_corpora, total_steps=2), tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} holds the checkpoints of an earlier run (states-2.ckpt): "
        "go on with it (-a), or choose another folder (-n or -p)."
    )


def test_weights_from_another_folder_start_a_run_of_their_own(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path
):
    start = undisturbed("TAP", "literal") / "dev-best.ckpt"
    runner = make_runner(
        tiny_hubert, settings_of(tiny_corpora, total_steps=2), tmp_path, init_ckpt=str(start)
    )
    given = checkpoint.read(start)["Downstream"]
    assert all(torch.equal(v, given[k]) for k, v in runner.expert.state_dict().items())
    runner.train()
    assert checkpoint.latest(tmp_path)[1]["Step"] == 2


def test_a_frozen_upstream_that_was_given_weights_keeps_them(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path
):
    start = undisturbed("none", "literal") / "dev-best.ckpt"
    mapping = settings_of(tiny_corpora, total_steps=2, strategy="none")
    frozen = {"upstream_trainable": False}
    runner = make_runner(tiny_hubert, mapping, tmp_path / "a", init_ckpt=str(start), **frozen)
    given = checkpoint.read(start)["Upstream"]
    runner.train()
    for name in ("states-2.ckpt", "dev-best.ckpt"):
        kept = checkpoint.read(tmp_path / "a" / name)["Upstream"]
        assert all(torch.equal(kept[key], value) for key, value in given.items())
    found = trained.load(tmp_path / "a")
    assert all(torch.equal(v, given[k]) for k, v in found.upstream.state_dict().items())
    train(tiny_hubert, mapping, tmp_path / "b", **frozen)
    assert "Upstream" not in checkpoint.read(tmp_path / "b" / "dev-best.ckpt")


def test_early_stopping_counts_evaluations_without_a_gain(tiny_hubert, tiny_corpora, tmp_path):
    mapping = settings_of(
        tiny_corpora, total_steps=40, eval_step=1, early_stopping=3,
        other={"optimizer": {"lr": 0.0, "groups": {"upstream": {"lr": 0.0}}}}, strategy="none",
    )  # fmt: skip
    train(tiny_hubert, mapping, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["steps"], result["best_step"]) == (4, 1)
    train(tiny_hubert, mapping, tmp_path, resume=True)
    assert checkpoint.latest(tmp_path)[1]["Step"] == 4


def test_global_generators_are_as_before(tiny_hubert, tiny_corpora, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tiny_hubert, settings_of(tiny_corpora, total_steps=2), tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_the_seed_counts_from_the_first_step(tiny_hubert, tiny_corpora, tmp_path):
    for seed in (1, 2):
        train(
            tiny_hubert, settings_of(tiny_corpora, total_steps=2), tmp_path / str(seed), seed=seed
        )
    first, second = (metrics_of(tmp_path / str(seed))[0]["emotion_loss"] for seed in (1, 2))
    assert first != second


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_trains_close_to_full(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, precision
):
    runner = train(tiny_hubert, settings_of(tiny_corpora, precision=precision), tmp_path)
    full = [line["emotion_loss"] for line in metrics_of(undisturbed("TAP", "literal"))]
    lower = [line["emotion_loss"] for line in metrics_of(tmp_path)]
    assert lower == pytest.approx(full, rel=0.1)
    assert lower != full
    assert all(parameter.dtype == torch.float32 for parameter in runner.expert.parameters())


@pytest.mark.parametrize(
    ("flags", "options", "message"),
    [
        (
            {"upstream_feature_selection": "nothing"},
            {"strategy": "SNP"},
            "The upstream hubert_local has no output `nothing` (-s). Choose `hidden_states`, with "
            "-l for one of its layers.",
        ),
        (
            {"upstream_layer_selection": 1},
            {"strategy": "SNP"},
            "`-l 1` has no effect, since -s last_hidden_state is a single layer.",
        ),
        (
            {"upstream_feature_normalize": True},
            {"strategy": "SNP"},
            "`--upstream_feature_normalize` has no effect on a single layer: leave it out, or "
            "choose a weighted sum of layers with -s hidden_states.",
        ),
        (
            {"upstream_trainable": False},
            {"strategy": "TAP"},
            "Strategy TAP moves the upstream's weights (equation 3), but the upstream is frozen. "
            "Fine-tune it (leave out --frozen), or choose strategy SNP.",
        ),
        (
            {"upstream_trainable": False},
            {"strategy": "SNP", "method": {"train_feature_extractor": True}},
            "`config.downstream_expert.spknorm.train_feature_extractor` has no effect on a frozen "
            "upstream: set it to false, or leave out --frozen.",
        ),
        (
            {"upstream": "fbank", "upstream_ckpt": None},
            {"strategy": "TAP"},
            "Strategy TAP moves the upstream's weights (equation 3), but fbank has none to train. "
            "Choose strategy SNP, which needs none, or another upstream.",
        ),
    ],
)
def test_what_cannot_take_effect_is_refused(
    tiny_hubert, tiny_corpora, tmp_path, flags, options, message
):
    flags = {"upstream_ckpt": str(tiny_hubert), **flags}
    with pytest.raises(ConfigError) as refused:
        make_runner(None, settings_of(tiny_corpora, **options), tmp_path, **flags)
    assert str(refused.value) == message


def test_an_unknown_scheduler_is_refused_with_the_known_ones(tiny_hubert, tiny_corpora, tmp_path):
    mapping = settings_of(tiny_corpora, other={"scheduler": {"name": "__import__"}})
    with pytest.raises(ConfigError, match=r"`config\.scheduler\.name` must be one of linear_sch"):
        train(tiny_hubert, mapping, tmp_path)


def test_evaluate_scores_a_split_with_the_weights_given(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path
):
    folder = undisturbed("TAP", "literal")
    runner = make_runner(
        tiny_hubert, settings_of(tiny_corpora), tmp_path, mode="evaluate",
        init_ckpt=str(folder / "dev-best.ckpt"),
    )  # fmt: skip
    result = json.loads((folder / "result.json").read_text())
    assert runner.evaluate().wa == result["test"]["wa"]
    assert runner.evaluate("dev").wa == result["dev"]["wa"]
    name = "test_fold1_predict.txt"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    with pytest.raises(ConfigError, match="`-t` must be one of train, dev, test, but is `tset`"):
        runner.evaluate("tset")


def test_inference_writes_the_emotion_of_a_file(undisturbed, tiny_hubert, tiny_corpora, tmp_path):
    wav = next((tiny_corpora / "iemocap").rglob("*.wav"))
    runner = make_runner(
        tiny_hubert, settings_of(tiny_corpora), tmp_path, mode="inference",
        evaluate_split=str(wav), init_ckpt=str(undisturbed("TAP", "literal") / "dev-best.ckpt"),
    )  # fmt: skip
    runner.inference()
    name, emotion = (tmp_path / "inference.txt").read_text().split()
    assert (name, emotion in ("neu", "hap", "ang", "sad")) == (wav.stem, True)


def test_bucketed_training_batches_know_how_long_their_utterances_are(
    tiny_hubert, tiny_corpora, tmp_path
):
    mapping = settings_of(tiny_corpora, strategy="none", other={"upstream": {"bucket": True}})
    expert = make_runner(tiny_hubert, mapping, tmp_path).expert
    lengths = expert.streams.emotion().order._lengths
    assert lengths.tolist() == [0.3] * len(expert.split.train)


def test_from_the_loop_to_the_loss_there_are_four_hops(
    tmp_path, tiny_hubert, tiny_corpora, monkeypatch
):
    found = set()

    def noted(name, real):
        def call(*args, **options):
            stack = [Path(line.filename) for line in traceback.extract_stack()[:-1]]
            own = [path.stem for path in stack if path.is_relative_to(LIBRARY)]
            found.add((name, *dict.fromkeys(own)))
            return real(*args, **options)

        return call

    for name in ("emotion_of", "speaker_of"):
        monkeypatch.setattr(Heads, name, noted(name, getattr(Heads, name)))
    mapping = settings_of(tiny_corpora, total_steps=1, eval_dataloaders=[])
    train(tiny_hubert, mapping, tmp_path / "run")
    hops = ("engine", "iteration", "updates", "passes")  # and the loss in method/model.py
    assert found == {("emotion_of", *hops), ("speaker_of", *hops)}
