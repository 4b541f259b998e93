"""Effects as they are stated at the fields, held against tiny runs: same bits, or other ones."""

import json
from pathlib import Path

import pytest
import tiny_runs
import torch

from spknorm.config import effects
from spknorm.errors import ConfigError
from spknorm.schema.marks import LENGTH, NOTHING, NUMBERS

STEPS = {"total_steps": 2, "eval_step": 2, "save_step": 2, "log_step": 1}
FLAGS = {
    "tuned": {},
    "frozen": {"upstream_trainable": False},
    "layers": {"upstream_trainable": False, "upstream_feature_selection": "hidden_states"},
}


@pytest.fixture(scope="module")
def run(tiny_hubert, tiny_corpora, tmp_path_factory):
    """A function that trains a run with some settings by path and returns all its numbers."""
    kept = {}

    def train(kind="tuned", strategy="TAP", **changes):
        key = repr((kind, strategy, sorted(changes.items())))
        if key not in kept:
            cache = tmp_path_factory.getbasetemp() / f"cache{'upstream.cache_limit_gb' in changes}"
            other = {"runner": dict(STEPS), "upstream": {"cache_dir": str(cache)}}
            for path, value in {"upstream.cache": "auto", **changes}.items():
                *sections, name = path.split(".")
                section = other
                for one in sections:
                    section = section.setdefault(one, {})
                section[name] = value
            update = "literal" if strategy != "none" else "reversal"
            settings = tiny_runs.settings_of(
                tiny_corpora, strategy=strategy, update=update, other=other
            )
            folder = tmp_path_factory.mktemp("run") / "run"
            runner = tiny_runs.train(tiny_hubert, settings, folder, **FLAGS[kind])
            kept[key] = _numbers(folder), runner
        return kept[key]

    return train


def _numbers(folder: Path):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    scores = [one for one in lines if one["split"] != "train"]
    predictions = {p.name: p.read_text() for p in sorted(folder.glob("*_predict.txt"))}
    return tiny_runs.weights_of(folder), scores, predictions


def same(one, other):
    weights = one[0].keys() == other[0].keys() and all(
        torch.equal(tensor, other[0][name]) for name, tensor in one[0].items()
    )
    return weights and one[1:] == other[1:]


NO_ROOM = {"upstream.cache_limit_gb": 1e-9}
OFF = {"upstream.cache": "off"}
BF16 = {"runner.precision": "bf16"}
FIXED = {"downstream_expert.speaker_corpus.crops": "fixed"}
DRAWN = {"downstream_expert.speaker_corpus.crops": "drawn"}
LEACE = {"downstream_expert.spknorm.erasure": "leace"}


CACHED = [
    ("tuned", "TAP", {}),
    ("tuned", "TAP", FIXED),
    ("tuned", "none", BF16),
    ("tuned", "TAP", {**BF16, **FIXED}),
    ("frozen", "none", {}),
    ("layers", "none", {}),
    ("frozen", "none", BF16),
    ("frozen", "none", LEACE),
    ("layers", "SNP", {}),
    ("frozen", "SNP", DRAWN),
    ("frozen", "SNP", BF16),
]


@pytest.mark.parametrize(
    ("kind", "strategy", "common", "change"),
    [
        pytest.param(
            *(kind, strategy, common, change),
            id=f"{kind}-{strategy}-{common}-{name}",
            marks=[pytest.mark.slow] * (name != "off" and common != {}),
        )
        for name, change in (("off", OFF), ("no room", NO_ROOM))
        for kind, strategy, common in CACHED
    ],
)
def test_a_cache_that_cannot_be_used_costs_time_and_not_a_bit(run, kind, strategy, common, change):
    cached, runner = run(kind, strategy, **common)
    without, other = run(kind, strategy, **common, **change)
    assert same(cached, without)
    assert runner.source.is_cached
    assert runner.source.holds("emotion")
    if kind == "tuned" or strategy == "SNP":  # a pooled corpus is small enough for memory
        assert not other.source.holds("emotion")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("downstream_expert.datarc.num_workers", 1),
        ("downstream_expert.datarc.pre_load", False),
        ("upstream.checkpoint_activations", True),
        ("upstream.keep_freed_memory", False),
        ("runner.log_step", 2),
        ("runner.save_step", 1),
        ("runner.max_keep", 3),
        ("runner.max_oom", 0),
        ("runner.max_nonfinite", 1),
    ],
)
def test_what_changes_nothing_does_not_change_a_bit(run, path, value):
    assert effects.effect_of(path) is NOTHING
    assert same(run()[0], run(**{path: value})[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("downstream_expert.datarc.eval_batch_size", 1),
        ("downstream_expert.datarc.valid_ratio", 0.4),
        ("downstream_expert.speaker_corpus.crops", "fixed"),
        ("downstream_expert.speaker_corpus.max_seconds", 0.1),
        ("downstream_expert.spknorm.speaker_lambda", 0.1),
        ("downstream_expert.modelrc.speaker_head.hidden", [4]),
        ("optimizer.groups.upstream.lr", 1e-3),
        ("runner.gradient_clipping", 0.1),
        ("runner.precision", "bf16"),
        ("runner.total_steps", 4),
        ("upstream.packed", False),
        ("upstream.bucket", True),
    ],
)
def test_what_changes_numbers_does(run, path, value):
    assert effects.effect_of(path) in (NUMBERS, LENGTH)
    assert not same(run()[0], run(**{path: value})[0])


def test_settings_decide_how_speakers_are_cropped_and_the_result_says_so(run):
    def crops(kind, strategy, **changes):
        folder = run(kind, strategy, **changes)[1].expdir
        return json.loads((folder / "result.json").read_text())["speaker_crops"]

    assert crops("tuned", "TAP") == "drawn"
    assert crops("tuned", "TAP", **FIXED) == "fixed"
    assert crops("frozen", "SNP") == crops("frozen", "SNP", **OFF) == "fixed"
    assert crops("frozen", "SNP", **DRAWN) == "drawn"
    assert crops("frozen", "none") is None


def test_padding_is_a_question_of_packed_and_not_of_the_cache(run):
    padded = {"upstream.packed": False}
    cached, runner = run("frozen", "none", **padded)
    assert same(cached, run("frozen", "none", **padded, **OFF)[0])
    assert not runner.source.is_cached


def test_an_eraser_needs_crops_that_stay(run):
    with pytest.raises(ConfigError, match=r"and no speaker_corpus\.crops drawn\.$"):
        run("frozen", "none", **LEACE, **DRAWN)
