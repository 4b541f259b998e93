"""The trainer: what it writes, what it refuses, and that an interruption changes nothing."""

import contextlib
import json
import logging
import re
import signal

import pytest
import tiny_upstreams
import torch
from tiny_runs import make_runner, outcome_of, settings_of, train, weights_of

from spknorm.errors import CheckpointError, ConfigError, NonFiniteError
from spknorm.files import FolderLock
from spknorm.runner import prepare_folder
from spknorm.runner.engine import SpknormRunner
from spknorm.runs import checkpoint

STRATEGIES = [("none", "literal"), ("SNP", "literal"), ("TAP", "reversal"), ("TAP", "literal")]


@contextlib.contextmanager
def at_step(monkeypatch, step, action):
    """Do `action` when training has done that many steps, before they are logged."""
    log = SpknormRunner._log_training

    def wrapped(self):
        if self.counters.step == step:
            action()
        log(self)

    with monkeypatch.context() as patched:
        patched.setattr(SpknormRunner, "_log_training", wrapped)
        yield


class KilledError(Exception):
    pass


def kill():
    raise KilledError


def same_weights(one, other):
    ours, theirs = weights_of(one), weights_of(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def metrics_of(expdir):
    return [json.loads(line) for line in (expdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tiny_hubert, tiny_corpora, tmp_path_factory):
    """The folder of one whole run of each kind, trained when first asked for."""
    done = {}

    def folder_of(strategy, update, **options):
        key = json.dumps([strategy, update, options])
        if key not in done:
            done[key] = tmp_path_factory.mktemp("whole") / "run"
            mapping = settings_of(tiny_corpora, strategy=strategy, update=update, **options)
            train(tiny_hubert, mapping, done[key])
        return done[key]

    return folder_of


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
        "ascents_paused", "ascents_skipped", "drift",
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


@pytest.mark.parametrize(("strategy", "update"), STRATEGIES)
@pytest.mark.parametrize(
    "step", [4, pytest.param(1, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.slow)]
)
def test_a_killed_run_goes_on_bit_for_bit(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch, strategy, update, step
):
    mapping = settings_of(tiny_corpora, strategy=strategy, update=update)
    with at_step(monkeypatch, step, kill), pytest.raises(KilledError):
        train(tiny_hubert, mapping, tmp_path)
    train(tiny_hubert, mapping, tmp_path, resume=True)
    assert same_weights(tmp_path, undisturbed(strategy, update))
    assert outcome_of(tmp_path) == outcome_of(undisturbed(strategy, update))


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(
    ("strategy", "update"), [("none", "literal"), ("SNP", "literal"), ("SNP", "relative")]
)
def test_a_killed_run_on_cached_features_goes_on_bit_for_bit(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch, strategy, update, trainable
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    cached = {"upstream": {"cache": "auto"}}
    mapping = settings_of(tiny_corpora, strategy=strategy, update=update, other=cached)
    flags = {"upstream_trainable": trainable}
    with at_step(monkeypatch, 3, kill), pytest.raises(KilledError):
        train(tiny_hubert, mapping, tmp_path / "run", **flags)
    train(tiny_hubert, mapping, tmp_path / "run", resume=True, **flags)
    train(tiny_hubert, mapping, tmp_path / "whole", **flags)
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    assert outcome_of(tmp_path / "run") == outcome_of(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["SNP", "TAP"])
@pytest.mark.parametrize(
    ("update", "method"),
    [
        ("adaptive", {"ascent_lr": 1e-5}),
        ("relative", {"speaker_lambda": 0.3}),
        ("relative", {"speaker_lambda": 0.3, "ascent_direction": "preconditioned"}),
    ],
)
def test_a_killed_adaptive_or_relative_run_goes_on_bit_for_bit(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch, strategy, update, method
):
    mapping = settings_of(tiny_corpora, strategy=strategy, update=update, method=method)
    with at_step(monkeypatch, 3, kill), pytest.raises(KilledError):
        train(tiny_hubert, mapping, tmp_path)
    train(tiny_hubert, mapping, tmp_path, resume=True)
    whole = undisturbed(strategy, update, method=method)
    assert same_weights(tmp_path, whole)
    assert outcome_of(tmp_path) == outcome_of(whole)


def test_dropout_accumulation_crops_and_schedules_survive_a_kill_bit_for_bit(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    options = {
        "gradient_accumulate_steps": 2,
        "log_step": 3,
        "method": {"speaker_steps": 2, "schedule": "dann", "adversary": "confusion"},
        "expert": {
            "modelrc": {"speaker_head": {"dropout": 0.5, "batch_norm": True}},
            "speaker_corpus": {"max_seconds": 0.1},
        },
        "other": {
            "scheduler": {"name": "linear_schedule_with_warmup", "num_warmup_steps": 2},
        },
    }
    mapping = settings_of(tiny_corpora, update="literal", **options)
    whole = undisturbed("TAP", "literal", **options)
    with at_step(monkeypatch, 3, kill), pytest.raises(KilledError):
        train(tiny_hubert, mapping, tmp_path)
    train(tiny_hubert, mapping, tmp_path, resume=True)
    assert same_weights(tmp_path, whole)
    assert outcome_of(tmp_path) == outcome_of(whole)
    rates = [line["lr"] for line in metrics_of(whole) if line["split"] == "train"]
    assert rates == pytest.approx([7.5e-5, 0.0])


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
@pytest.mark.fault("signal")
def test_a_signal_finishes_the_step_saves_and_says_so_by_its_status(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch, number, status
):
    mapping = settings_of(tiny_corpora)
    with (
        at_step(monkeypatch, 3, lambda: signal.raise_signal(number)),
        pytest.raises(SystemExit) as ended,
    ):
        train(tiny_hubert, mapping, tmp_path)
    assert ended.value.code == status
    assert checkpoint.latest(tmp_path)[0].name == "states-3.ckpt"
    assert "interrupted at step 3, which was saved" in (tmp_path / "log.log").read_text()
    train(tiny_hubert, mapping, tmp_path, resume=True)
    assert outcome_of(tmp_path) == outcome_of(undisturbed("TAP", "literal"))


@pytest.mark.fault("signal")
def test_a_signal_within_an_evaluation_leaves_it_to_the_resumed_run(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    mapping = settings_of(tiny_corpora)
    predict, calls = SpknormRunner._predict, []

    def interrupted_once(self, split):
        calls.append(split)
        if len(calls) in (2, 5):  # dev at step 4; test, after dev at 4 and 6
            signal.raise_signal(signal.SIGTERM)
        return predict(self, split)

    monkeypatch.setattr(SpknormRunner, "_predict", interrupted_once)
    for _ in range(2):
        with pytest.raises(SystemExit):
            train(tiny_hubert, mapping, tmp_path, resume=True)
    train(tiny_hubert, mapping, tmp_path, resume=True)
    assert calls == ["dev", "dev", "dev", "dev", "test", "test"]
    assert outcome_of(tmp_path) == outcome_of(undisturbed("TAP", "literal"))


def test_a_complete_run_is_left_as_it_is(undisturbed, tiny_hubert, tiny_corpora):
    folder = undisturbed("SNP", "literal")
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"}
    train(tiny_hubert, settings_of(tiny_corpora, strategy="SNP"), folder, resume=True)
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != ".lock"} == before


def test_more_steps_go_on_as_if_they_had_been_asked_for_at_once(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path
):
    train(tiny_hubert, settings_of(tiny_corpora, total_steps=4), tmp_path)
    train(tiny_hubert, settings_of(tiny_corpora), tmp_path, resume=True)
    assert same_weights(tmp_path, undisturbed("TAP", "literal"))
    assert outcome_of(tmp_path) == outcome_of(undisturbed("TAP", "literal"))


@pytest.mark.fault("changed settings")
def test_other_settings_are_named_and_refused_or_accepted_as_asked(
    tiny_hubert, tiny_corpora, tmp_path
):
    train(tiny_hubert, settings_of(tiny_corpora, total_steps=2), tmp_path)
    changed = settings_of(tiny_corpora, method={"speaker_lambda": 0.5})
    with pytest.raises(ConfigError) as refused:
        train(tiny_hubert, changed, tmp_path, resume=True, seed=7)
    assert str(refused.value) == (
        "The run cannot go on with other settings: args.seed was 1337, is 7; "
        "config.downstream_expert.spknorm.speaker_lambda was 0.001, is 0.5. Put them back, start "
        "a new experiment (-n or -p), or set config.runner.on_config_change to fork or accept."
    )
    changed["runner"]["on_config_change"] = "accept"
    train(tiny_hubert, changed, tmp_path, resume=True)
    assert checkpoint.latest(tmp_path)[1]["Step"] == 6


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


def test_the_front_end_is_trained_on_request_alone(tiny_hubert, tiny_corpora, tmp_path):
    moved = {}
    for asked in (False, True):
        mapping = settings_of(
            tiny_corpora, total_steps=1, method={"train_feature_extractor": asked}
        )
        runner = make_runner(tiny_hubert, mapping, tmp_path / str(asked))
        name, weight = next(
            (n, p) for n, p in runner.upstream.model.named_parameters() if "conv_layers.0" in n
        )
        before = weight.detach().clone()
        runner.train()
        moved[asked] = not torch.equal(weight, before)
        result = json.loads((tmp_path / str(asked) / "result.json").read_text())
        assert result["train_feature_extractor"] is asked
    assert moved == {False: False, True: True}, name


def test_snp_moves_no_upstream_weight_by_the_speaker_loss(tiny_hubert, tiny_corpora, tmp_path):
    """With emotion learning at rate zero only equations (3) and (4) move anything."""
    rates = {"upstream": {"lr": 0.0}, "gate": {"lr": 0.0}, "emotion_head": {"lr": 0.0}}
    mapping = settings_of(
        tiny_corpora, strategy="SNP", total_steps=3, method={"speaker_lambda": 0.1},
        other={"optimizer": {"groups": {**rates, "speaker_head": {"lr": 0.01}}}},
    )  # fmt: skip
    runner = make_runner(tiny_hubert, mapping, tmp_path)
    parts = {"upstream": runner.upstream.model, "heads": runner.expert.heads}
    before = {
        (part, name): weight.detach().clone()
        for part, module in parts.items()
        for name, weight in module.named_parameters()
    }
    runner.train()
    runner = make_runner(
        tiny_hubert, mapping, tmp_path / "x", init_ckpt=f"{tmp_path}/states-3.ckpt"
    )
    parts = {"upstream": runner.upstream.model, "heads": runner.expert.heads}
    moved = {
        (part, name.split(".")[0])
        for part, module in parts.items()
        for name, weight in module.named_parameters()
        if not torch.equal(weight, before[part, name])
    }
    assert moved == {("heads", "gate"), ("heads", "speaker_head")}


def test_the_ceiling_pauses_the_ascent(tiny_hubert, tiny_corpora, tmp_path):
    mapping = settings_of(tiny_corpora, method={"ceiling": 0.01, "speaker_warmup_steps": 0})
    train(tiny_hubert, mapping, tmp_path)
    rates = [line["speaker_lambda"] for line in metrics_of(tmp_path) if line["split"] == "train"]
    assert rates == [0.0] * 6
    lines = (tmp_path / "log.log").read_text().splitlines()
    (paused,) = [line for line in lines if line.startswith("the ascent")]
    assert re.fullmatch(
        r"the ascent pauses at step 0: the held-out speaker loss is 1\.\d+, above 0\.011 "
        r"\(a guess has 1\.1\)",
        paused,
    )


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


@pytest.mark.parametrize("strategy", ["none", "SNP"])
def test_an_upstream_without_parameters_trains(tiny_corpora, tmp_path, strategy):
    mapping = settings_of(tiny_corpora, strategy=strategy, total_steps=2)
    train(None, mapping, tmp_path, upstream="fbank", upstream_feature_selection="hidden_states")
    assert "Upstream" in checkpoint.latest(tmp_path)[1]


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["last_hidden_state", "hidden_states"])
@pytest.mark.parametrize("strategy", ["SNP", "TAP"])
@pytest.mark.parametrize(
    ("upstream", "make"),
    [
        ("wav2vec2_local", lambda folder: tiny_upstreams.make_wav2vec2(folder / "wav2vec2.pt")),
        ("wavlm_local", lambda folder: tiny_upstreams.make_wavlm(folder / "wavlm.pt")),
        ("hf_hubert_custom", lambda folder: tiny_upstreams.make_hugging_face(folder, "hubert")),
        ("hf_wav2vec2_custom", lambda folder: tiny_upstreams.make_hugging_face(folder, "wav2vec2")),
    ],
)
def test_any_upstream_trains_and_goes_on_bit_for_bit(
    tiny_corpora, tmp_path, monkeypatch, upstream, make, strategy, selection
):
    (tmp_path / "upstream").mkdir()
    ckpt = make(tmp_path / "upstream")
    flags = {"upstream": upstream, "upstream_feature_selection": selection}
    mapping = settings_of(tiny_corpora, strategy=strategy, total_steps=4)
    whole = train(ckpt, mapping, tmp_path / "whole", **flags)
    assert hasattr(whole.featurizer.model, "weights") == (selection == "hidden_states")
    with at_step(monkeypatch, 3, kill), pytest.raises(KilledError):
        train(ckpt, mapping, tmp_path / "run", **flags)
    train(ckpt, mapping, tmp_path / "run", resume=True, **flags)
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    assert outcome_of(tmp_path / "run") == outcome_of(tmp_path / "whole")


def test_a_frozen_upstream_is_not_saved(tiny_hubert, tiny_corpora, tmp_path, monkeypatch):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    for strategy in ("none", "SNP"):
        mapping = settings_of(
            tiny_corpora, strategy=strategy, total_steps=2, other={"upstream": {"cache": "auto"}}
        )
        train(tiny_hubert, mapping, tmp_path / strategy, upstream_trainable=False)
        assert "Upstream" not in checkpoint.latest(tmp_path / strategy)[1]
        result = json.loads((tmp_path / strategy / "result.json").read_text())
        assert result["frozen"] is True


@pytest.mark.parametrize("erasure", ["leace", "znorm"])
def test_erasure_trains_on_a_frozen_upstreams_pooled_features_without_the_speaker(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch, erasure
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    mapping = settings_of(
        tiny_corpora, strategy="none", total_steps=2, method={"erasure": erasure},
        other={"upstream": {"cache": "auto"}},
    )  # fmt: skip
    runner = train(tiny_hubert, mapping, tmp_path / "run", upstream_trainable=False)
    batch = runner.expert.emotion_stream().silenced()[0]
    features = torch.cat(runner._source(batch, corpus="emotion"))
    mapping["downstream_expert"]["spknorm"]["erasure"] = "none"
    plain = make_runner(tiny_hubert, mapping, tmp_path / "plain", upstream_trainable=False)
    before = torch.cat(plain._source(batch, corpus="emotion"))
    assert features.shape == before.shape == (4, 32)
    if erasure == "znorm":
        everything = runner._source._cache.pooled("emotion")[:, 0]
        speakers = [runner.expert.speakers_of(part) for part in ("train", "dev", "test")]
        first = [name == "Ses02_F" for part in speakers for name in part]
        assert abs(everything[first].mean(axis=0)).max() < 1e-5
    else:  # three speakers: two directions
        assert torch.linalg.matrix_rank(before - features, rtol=1e-3) <= 2
    assert not torch.allclose(before, features)


def test_an_erasure_that_leaves_nothing_ends_the_run(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("spknorm.probe.erasure.MIN_VARIANCE_LEFT", 0.999)
    mapping = settings_of(
        tiny_corpora, strategy="none", method={"erasure": "leace"},
        other={"upstream": {"cache": "auto"}},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="of the variance of the emotion corpus' features"):
        make_runner(tiny_hubert, mapping, tmp_path / "run", upstream_trainable=False)


def test_erasure_of_a_fine_tuned_upstream_is_refused(tiny_hubert, tiny_corpora, tmp_path):
    mapping = settings_of(tiny_corpora, strategy="none", method={"erasure": "znorm"})
    with pytest.raises(ConfigError, match="works on the pooled features of a frozen upstream"):
        make_runner(tiny_hubert, mapping, tmp_path)


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


@pytest.mark.fault("folder")
def test_a_folder_in_use_is_refused_before_a_model_is_loaded(tiny_corpora, tmp_path):
    with FolderLock(tmp_path):
        (tmp_path / ".lock").write_text("process 1 on elsewhere\n")
        with pytest.raises(ConfigError) as refused:
            make_runner("no such file", settings_of(tiny_corpora), tmp_path)
    assert str(refused.value) == (
        f"The folder {tmp_path} is in use by process 1 on elsewhere. "
        "Wait for it to end, or choose another folder with -p."
    )


def test_a_folder_that_this_process_has_locked_already_is_its_own(tmp_path):
    with FolderLock(tmp_path):
        assert prepare_folder(tmp_path) is None


def test_leftovers_of_killed_writes_are_removed(tiny_hubert, tiny_corpora, tmp_path):
    (tmp_path / ".states-2.ckpt.abc.tmp").write_bytes(b"half")
    make_runner(tiny_hubert, settings_of(tiny_corpora), tmp_path)._lock.release()
    assert not list(tmp_path.glob(".*.tmp"))


def test_weights_that_do_not_fit_are_named(undisturbed, tiny_hubert, tiny_corpora, tmp_path):
    mapping = settings_of(tiny_corpora, expert={"modelrc": {"projector_dim": 9}})
    start = undisturbed("TAP", "literal") / "states-6.ckpt"
    with pytest.raises(CheckpointError, match=r"The weights of Downstream in .* do not fit"):
        make_runner(tiny_hubert, mapping, tmp_path, init_ckpt=str(start))


def test_a_checkpoint_of_s3prls_runner_is_not_gone_on_from(
    undisturbed, tiny_hubert, tiny_corpora, tmp_path
):
    states = checkpoint.read(undisturbed("TAP", "literal") / "states-6.ckpt")
    del states["Spknorm"]
    checkpoint.save(tmp_path / "states-6.ckpt", states)
    with pytest.raises(CheckpointError, match=r"is not one of spknorm's engine"):
        train(tiny_hubert, settings_of(tiny_corpora), tmp_path, resume=True)


@pytest.mark.fault("not finite")
def test_non_finite_steps_leave_the_weights_alone_and_end_the_run(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    mapping = settings_of(
        tiny_corpora, max_nonfinite=3, total_steps=9,
        expert={"modelrc": {"speaker_head": {"batch_norm": True}}},
    )  # fmt: skip
    runner = make_runner(tiny_hubert, mapping, tmp_path)
    modules = (runner.upstream.model, runner.expert.heads)
    kind = type(runner._source)
    features_of, before, seen = kind.__call__, [], []

    def broken(self, batch, *, corpus):
        """Break both corpora from step 2 on."""
        features = features_of(self, batch, corpus=corpus)
        if runner.counters.step == 2 and not before:
            before.extend(v.clone() for m in modules for v in m.state_dict().values())
        if runner.counters.step < 2:
            return features
        seen.extend(batch.ids)
        return [frames * float("nan") for frames in features]

    monkeypatch.setattr(kind, "__call__", broken)
    monkeypatch.setattr(runner, "_evaluate_if_due", lambda: None)
    with pytest.raises(NonFiniteError) as ended:
        runner.train()
    assert ended.value.exit_code == 4
    assert str(ended.value).startswith(
        "3 steps in a row had a loss or gradient that is not finite, the last with the utterances "
        f"{', '.join(seen[-8:])}. The weights are as they were before."
    )
    after = [v for m in modules for v in m.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert "weights untouched" in (tmp_path / "log.log").read_text()


@pytest.mark.fault("not finite")
def test_a_single_bad_batch_is_counted_and_survived(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    runner = make_runner(tiny_hubert, settings_of(tiny_corpora), tmp_path)
    kind = type(runner._source)
    features_of = kind.__call__

    def broken_once(self, batch, *, corpus):
        features = features_of(self, batch, corpus=corpus)
        bad = corpus == "emotion" and runner.counters.step == 2 and runner.expert.training
        return [frames * float("inf") for frames in features] if bad else features

    monkeypatch.setattr(kind, "__call__", broken_once)
    runner.train()
    counters = checkpoint.latest(tmp_path)[1]["Spknorm"]["counters"]
    assert counters["nonfinite_in_a_row"] == 0
    broken = [line for line in metrics_of(tmp_path) if line["emotion_loss"] is None]
    assert [line["step"] for line in broken] == [3]
    for tensor in weights_of(tmp_path).values():
        assert torch.isfinite(tensor).all()


@pytest.mark.fault("out of memory")
def test_out_of_memory_skips_batches_and_then_gives_advice(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    runner = make_runner(tiny_hubert, settings_of(tiny_corpora, max_oom=2), tmp_path)
    kind = type(runner._source)
    features_of = kind.__call__

    def too_large(self, batch, *, corpus):
        if runner.expert.training and runner.counters.step in (1, 3, 4, 5):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return features_of(self, batch, corpus=corpus)

    monkeypatch.setattr(kind, "__call__", too_large)
    with pytest.raises(ConfigError) as ended:
        runner.train()
    assert str(ended.value) == (
        "Out of memory at step 6; 2 batches in a row were skipped for that reason before. Lower "
        "datarc.train_batch_size and raise runner.gradient_accumulate_steps, set "
        "upstream.checkpoint_activations, or use runner.precision bf16."
    )
    assert "out of memory at step 2, batch skipped: Ses0" in (tmp_path / "log.log").read_text()
    assert [line["step"] for line in metrics_of(tmp_path) if line["split"] == "train"] == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.fault("runaway ascent")
def test_collapse_is_said_with_the_setting_to_try(tiny_hubert, tiny_corpora, tmp_path, caplog):
    mapping = settings_of(
        tiny_corpora, total_steps=10, eval_step=1, strategy="none",
        other={"optimizer": {"lr": 0.0, "groups": {"upstream": {"lr": 0.0}}}},
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, "spknorm.runner"):
        train(tiny_hubert, mapping, tmp_path)
    assert (
        "Collapse at step 5: dev UA has been at chance (0.25) for 5 evaluations: try a lower "
        "optimizer.groups.upstream.lr or speaker_lambda." in caplog.text
    )


def test_bucketed_training_batches_know_how_long_their_utterances_are(
    tiny_hubert, tiny_corpora, tmp_path
):
    mapping = settings_of(tiny_corpora, strategy="none", other={"upstream": {"bucket": True}})
    expert = make_runner(tiny_hubert, mapping, tmp_path).expert
    lengths = expert.emotion_stream().order._lengths
    assert lengths.tolist() == [0.3] * len(expert.split.train)
