"""The expert under s3prl's own, unmodified Runner."""

import copy
import importlib
import inspect
import json

import pytest
import tiny_runs
import torch
from stock_trees import make_iemocap, make_voxceleb1

from spknorm import config, registry
from spknorm.errors import ConfigError

registry.register()
from s3prl.downstream.runner import Runner  # noqa: E402 (after compat has put things back)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    return make_iemocap(folder / "iemocap"), make_voxceleb1(folder / "voxceleb1")


def settings(corpora, strategy="TAP", **runner):
    iemocap, voxceleb1 = corpora
    task = config.load_yaml(registry.config_path("emotion_spknorm"))
    return config.merge(
        task,
        {
            "runner": {
                "engine": "s3prl", "total_steps": 4, "gradient_accumulate_steps": 1,
                "log_step": 1, "eval_step": 2, "save_step": 2, "early_stopping": None, **runner,
            },
            "optimizer": {"groups": None},
            "downstream_expert": {
                "datarc": {"root": str(iemocap), "num_workers": 0, "train_batch_size": 8},
                "speaker_corpus": {
                    "root": str(voxceleb1), "max_seconds": 0.2, "batch_size": 4,
                    "micro_batch_size": None,
                },
                "modelrc": {"projector_dim": 8, "speaker_head": {"hidden": [8]}},
                "spknorm": {
                    "strategy": strategy, "update": "reversal", "speaker_pretrain_steps": 0,
                },
            },
        },
    )  # fmt: skip


def make_runner(upstream, mapping, expdir, **flags):
    mapping = copy.deepcopy(mapping)
    mapping["optimizer"].pop("groups", None)
    return tiny_runs.make_runner(upstream, mapping, expdir, runner=Runner, **flags)


@pytest.mark.parametrize("strategy", ["none", "SNP", "TAP"])
def test_it_trains_evaluates_and_resumes_under_the_unmodified_runner(
    corpora, tiny_hubert, tmp_path, strategy
):
    assert Runner.__module__ == "s3prl.downstream.runner"
    assert "site-packages" in inspect.getfile(Runner)
    runner = make_runner(tiny_hubert, settings(corpora, strategy), tmp_path)
    before = {k: v.clone() for k, v in runner.upstream.model.state_dict().items()}
    runner.train()
    moved = [k for k, v in runner.upstream.model.state_dict().items() if not v.equal(before[k])]
    assert moved
    assert {path.name for path in tmp_path.iterdir()} >= {
        "states-4.ckpt", "dev-best.ckpt", "log.log", "metrics.jsonl", "result.json",
        "dev_fold1_predict.txt", "dev_fold1_truth.txt",
        "test_fold1_predict.txt", "test_fold1_truth.txt",
    }  # fmt: skip
    truth = (tmp_path / "test_fold1_truth.txt").read_text().splitlines()
    assert len(truth) == 10
    assert truth[0] == "Ses01F_impro01_F000 neu"
    again = make_runner(
        tiny_hubert,
        settings(corpora, strategy, total_steps=6),
        tmp_path,
        init_ckpt=str(tmp_path / "states-4.ckpt"),
    )
    for ours, theirs in zip(
        again.downstream.model.parameters(), runner.downstream.model.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    again.train()
    assert (tmp_path / "states-6.ckpt").exists()


def test_result_and_metrics_tell_what_was_measured(corpora, tiny_hubert, tmp_path):
    make_runner(tiny_hubert, settings(corpora), tmp_path).train()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["split"]) for line in lines] == [
        (1, "train"), (2, "train"), (2, "dev"), (2, "test"),
        (3, "train"), (4, "train"), (4, "dev"), (4, "test"),
    ]  # fmt: skip
    assert all(line["speaker_loss"] > 0 for line in lines if line["split"] == "train")
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["strategy"], result["update"], result["fold"]) == ("TAP", "reversal", "fold1")
    best = max((line["wa"], -line["step"]) for line in lines if line["split"] == "dev")
    assert (result["dev"]["wa"], result["best_step"]) == (best[0], -best[1])
    tested = next(
        line for line in lines if line["split"] == "test" and line["step"] == result["best_step"]
    )
    assert result["test"]["wa"] == tested["wa"]
    assert sum(map(sum, result["test"]["confusion"])) == 10


def test_inference_of_a_wav_file_says_an_emotion(corpora, tiny_hubert, tmp_path):
    wav = corpora[0] / "Session2/sentences/wav/Ses02M_impro01/Ses02M_impro01_M001.wav"
    runner = make_runner(
        tiny_hubert, settings(corpora), tmp_path, mode="inference", evaluate_split=str(wav)
    )
    runner.inference()
    name, emotion = (tmp_path / "inference.txt").read_text().split()
    assert name == "Ses02M_impro01_M001"
    assert emotion in ("neu", "hap", "ang", "sad")


@pytest.mark.parametrize("fold", [f"fold{k}" for k in range(1, 6)])
def test_the_split_is_that_of_s3prls_emotion_task_index_by_index(corpora, tmp_path, fold):
    iemocap, _ = corpora
    stock = importlib.import_module("s3prl.downstream.emotion.expert").DownstreamExpert(
        4,
        downstream_expert={
            "datarc": {
                "root": str(iemocap), "meta_data": str(iemocap / "meta_data"), "test_fold": fold,
                "pre_load": False, "valid_ratio": 0.2,
            },
            "modelrc": {"select": "UtteranceLevel", "projector_dim": 4},
        },
        expdir=str(tmp_path),
    )  # fmt: skip
    for meta_data in (str(iemocap / "meta_data"), None):
        mapping = settings(corpora, "none")["downstream_expert"]
        mapping["datarc"]["meta_data"] = meta_data
        ours = importlib.import_module("s3prl.downstream.emotion_spknorm.expert").DownstreamExpert(
            4, 320, downstream_expert=mapping, expdir=str(tmp_path), downstream_variant=fold
        )
        names = {
            "train": [stock.train_dataset[i][2] for i in range(len(stock.train_dataset))],
            "dev": [stock.dev_dataset[i][2] for i in range(len(stock.dev_dataset))],
            "test": [stock.test_dataset[i][2] for i in range(len(stock.test_dataset))],
        }
        for split, expected in names.items():
            found = [utterance.id for utterance in getattr(ours.split, split)]
            if meta_data is None:  # stock's JSON is in the order of os.listdir, which is any order
                found, expected = sorted(found), sorted(expected)
                if split != "test":
                    continue
            assert found == expected, split


def test_settings_are_checked_before_corpora_are_read(tmp_path):
    expert = importlib.import_module("s3prl.downstream.emotion_spknorm.expert").DownstreamExpert
    with pytest.raises(ConfigError, match="Did you mean `strategy`"):
        expert(4, 320, downstream_expert={"spknorm": {"stratgy": "TAP"}}, expdir=str(tmp_path))
