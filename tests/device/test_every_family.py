"""Runs of every family of upstreams, and of what else can be set, on the pretended device."""

import pytest
import tiny_families

MOST = 3
"""Waits of a step of TAP that is measured: one pass, the other, and how they compare."""
BASE = {"strategy": "TAP", "update": "relative", "precision": "auto"}
FAMILIES = ("distiller", *tiny_families.FAMILIES)
QUICK = ("wav2vec2", "wavlm ungated", "data2vec", "distiller", "hf xls-r", "hf whisper")
OF_TRANSFORMERS = {"hf wav2vec2-bert": 2, "hf sew-d": 2}
"""Further waits, one of each pass, since transformers looks at masks, or makes them on the host."""


@pytest.mark.parametrize(
    "families",
    [QUICK, pytest.param(sorted({*FAMILIES} - {*QUICK}), marks=pytest.mark.slow)],
    ids=["some", "all others"],
)
def test_every_family_trains_and_predicts_on_the_device_and_waits_three_times_at_most(
    ask, families
):
    found = ask("waits_of", {"runs": [{**BASE, "family": family} for family in families]})
    for family, row in zip(families, found, strict=True):
        assert (row["steps"], row["lost"], row["predicted"]) == (2, 0, 4), family
        assert row["precision"] == "bf16"
        assert max(row["waits"]) <= MOST + OF_TRANSFORMERS.get(family, 0), family


def _method(**settings):
    return {**BASE, "method": settings}


def _upstream(**settings):
    return {**BASE, "other": {"upstream": {"cache": "off", **settings}}}


def _head(**settings):
    return {**BASE, "expert": {"modelrc": {"speaker_head": settings}}}


SETTINGS = {
    "relative to the loss, attentive pooling, clipped by groups": {
        **_method(adversary="confusion", relative_to="loss"), "clip": "group",
        "expert": {"modelrc": {"UtteranceLevel": {"pooling": "AttentivePooling"}}},
    },
    "entropy, literal, clipped, SGD": {
        **_method(adversary="entropy", ascent_clip=1e-3), "update": "literal",
        "other": {"optimizer": {"torch_optim_name": "SGD", "momentum": 0.9}},
    },
    "raw, NAdam, front end": {
        **_method(ascent_direction="raw", train_feature_extractor=True),
        "other": {"optimizer": {"torch_optim_name": "NAdam"}},
    },
    "BatchNorm, one at a time, recomputed": {
        **_upstream(checkpoint_activations=True), **_head(batch_norm=True, dropout=0.2),
        "micro_batch": 1,
    },
    "three of two, LoRA": {
        **_upstream(lora={"rank": 2}), "gradient_accumulate_steps": 3, "micro_batch": 2,
    },
    "dimensions, in pieces": {**BASE, "rated": True, "micro_batch": 2},
    "biases": _upstream(bitfit=True),
    "weighted sum": {
        **_method(ascend_layer_weights=True),
        "flags": {"upstream_feature_selection": "hidden_states",
                  "upstream_feature_normalize": True},
    },
    "frozen, kept": {
        **BASE, "strategy": "SNP", "flags": {"upstream_trainable": False},
        "other": {"upstream": {"cache": "auto"}},
    },
}  # fmt: skip
"""Settings that have nothing to do with each other are set together: their waits would add up."""


def test_whatever_is_set_a_step_waits_three_times_at_most(ask):
    found = ask("waits_of", {"runs": list(SETTINGS.values())})
    most = {name: max(row["waits"]) for name, row in zip(SETTINGS, found, strict=True)}
    assert {name: waits for name, waits in most.items() if waits > MOST} == {}
    assert all((row["steps"], row["lost"]) == (2, 0) for row in found)


def test_torchs_adafactor_waits_twice_for_each_weight(ask):
    run = {**BASE, "other": {"optimizer": {"torch_optim_name": "Adafactor"}}}
    (row,) = ask("waits_of", {"runs": [run]})
    assert max(row["waits"]) == MOST + 2 * row["weights"]


def test_each_further_speaker_batch_is_one_wait_more(ask):
    found = ask("waits_of", {"runs": [_method(speaker_steps=number) for number in (2, 3)]})
    assert [max(row["waits"]) for row in found] == [MOST + 1, MOST + 2]


FROZEN = {**BASE, "strategy": "SNP", "flags": {"upstream_trainable": False}}


def test_features_that_are_computed_each_time_do_not_leave_the_device(ask):
    (row,) = ask("waits_of", {"runs": [FROZEN]})  # the cache is off
    assert max(row["waits"]) <= MOST + 2 * 5  # s3prl's own, two for each of five lengths


ERASED = {
    **BASE, "strategy": "none", "flags": {"upstream_trainable": False},
    "other": {"upstream": {"cache": "auto"}}, "method": {"erasure": "znorm"},
}  # fmt: skip
LESS = {
    "frozen": {**FROZEN, "method": {"held_out_every": 1, "speaker_pretrain_steps": 2}},
    "frozen, kept": {
        **SETTINGS["frozen, kept"], "method": {"held_out_every": 1, "speaker_pretrain_steps": 2},
    },
    "erased": ERASED,
    "dimensions": {**SETTINGS["dimensions, in pieces"], "precision": "fp16"},
    "LoRA": {**_upstream(lora={"rank": 2}), "family": "hf wavlm", "update": "adaptive",
             "method": {"ascent_lr": 1e-6, "held_out_every": 1}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("names", "times"),
    [(["frozen, kept"], 6), pytest.param([*LESS], 12, marks=pytest.mark.slow)],
    ids=["some", "all"],
)
@pytest.mark.parametrize("again", [0, 40])
def test_a_run_ends_well_whichever_allocation_fails_once_its_models_are_there(
    ask, names, times, again
):
    asked = {"runs": [LESS[name] for name in names], "times": times, "again": again}
    found = ask("run_out_in_runs", asked, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    ends = [end for of_run in found for end in of_run]
    assert len(ends) == len(names) * (times + 1)
    lost = [end for end in ends if end[0] != 0]
    if not again:
        assert lost == []
    assert len(lost) <= len(names)  # twice in one attempt is more than some can do with
    assert all(status == 2 and "emory" in line for status, line in lost)


@pytest.mark.parametrize("trainable", [True, False], ids=["TAP", "frozen SNP"])
def test_a_run_begun_on_the_cpu_goes_on_on_a_gpu(ask, trainable):
    run = BASE if trainable else FROZEN
    asked = {"run": {**run, "flags": {"upstream_trainable": trainable}}}
    found = ask("goes_on", {**asked, "here": "cpu", "there": "cuda"})
    assert found["steps"] == 4
    assert found["counted"] == ["cuda"]  # by fused optimisers
    assert found["computed"] == [
        "computed in fp32 on cpu", "computed in bf16 on pretended card of sm_90",
    ]  # fmt: skip


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_run_begun_on_a_gpu_goes_on_on_the_cpu(ask, precision):
    run = {**FROZEN, "precision": precision}
    found = ask("goes_on", {"run": run, "here": "cuda:1", "there": "cpu"}, cards=2)
    assert (found["steps"], found["counted"]) == (4, ["cpu"])
    assert found["computed"][-1] == "computed in fp32 on cpu"


def test_on_another_card_it_goes_on_too(ask):
    asked = {"run": {**BASE, "flags": {}}, "here": "cuda:1", "there": "cuda:0"}
    assert ask("goes_on", asked, cards=2)["steps"] == 4


@pytest.mark.parametrize("run", [BASE, SETTINGS["frozen, kept"]], ids=["TAP", "frozen SNP"])
def test_on_the_second_card_nothing_lies_on_the_first(ask, run):
    found = ask("on_the_second_card", {"run": run}, cards=2)
    assert found == {"first": 0, "second": True, "rows": True}


@pytest.mark.parametrize(
    ("name", "value"), [("lora", {"rank": 2}), ("freeze_layers", 1)], ids=["lora", "layers"]
)
def test_a_trained_front_end_beside_what_keeps_it_is_one_line(ask, name, value):
    run = {**_upstream(**{name: value}), "method": {"train_feature_extractor": True}}
    [[status, line]] = ask("told_of", {"runs": [run]})
    assert status == 2
    assert line.startswith(
        "spknorm: `config.downstream_expert.spknorm.train_feature_extractor` has no effect beside "
        f"`config.upstream.{name}`, which "
    )


def test_of_two_unlike_cards_each_is_known_by_what_it_rounds(ask):
    kept = {**SETTINGS["frozen, kept"], "precision": "fp32"}
    cards = ("cpu", "cuda:0", "cuda:1", "cuda")
    runs = [{**kept, "flags": {"upstream_trainable": False, "device": card}} for card in cards]
    found = ask("computed_with", {"runs": runs}, cards=2, PRETENDED_CAPABILITY_1="75")
    assert [row["device"].removeprefix("pretended card of ") for row in found] == [
        "cpu", "sm_90", "sm_75", "sm_90",
    ]  # fmt: skip
    assert [row["tf32"] for row in found] == [[], ["convolutions"], [], ["convolutions"]]
    assert [row["stores"] for row in found] == [1, 2, 3, 3]  # what one kept the other may not use


def test_the_card_that_is_named_decides_the_precision(ask):
    runs = [{**BASE, "flags": {"device": card}} for card in ("cuda:0", "cuda:1")]
    found = ask("computed_with", {"runs": runs}, cards=2, PRETENDED_CAPABILITY_1="75")
    assert [row["precision"] for row in found] == ["bf16", "fp32"]
    assert [row["attention"] for row in found] == [
        ["flash, on packed frames"], ["memory-efficient, on padded frames"],
    ]  # fmt: skip
